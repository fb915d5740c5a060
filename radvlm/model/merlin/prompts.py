"""What zero-shot classification asks: several positive and several negative sentences for each finding.

A bare "X present" against "no X" is known to give wrong signs with Merlin, so a finding always has several of
either kind, in the words of reports. Those for the 30 published findings are in ``findings.yaml`` and can be replaced
by one's own file; any other text gets sentences made around it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from pathlib import Path
from types import MappingProxyType
from typing import Any

import yaml

from radvlm.errors import FileFormatError, InputError
from radvlm.types.anatomy import NOT_OF_THE_BODY, SECTIONS, structure, structures

_AROUND_POSITIVE = ("{}.", "There is {}.", "Findings are consistent with {}.", "{} is seen.")
_AROUND_NEGATIVE = ("No {}.", "No evidence of {}.", "There is no {}.", "Normal, without {}.")


@dataclass(frozen=True)
class FindingPrompts:
    """Sentences for one finding.

    Attributes:
        finding: key, or the free text that was asked.
        words: how a report calls it.
        section: key of ``anatomy.SECTIONS``.
        site: canonical structure, "" for none.
        positive, negative: at least one sentence each.
    """

    finding: str
    words: str
    section: str
    site: str
    positive: tuple[str, ...]
    negative: tuple[str, ...]

    def __post_init__(self) -> None:
        if self.section not in SECTIONS or self.section in NOT_OF_THE_BODY:
            raise InputError(
                "a section is a key of radvlm.types.anatomy.SECTIONS and of the body",
                f"{self.finding}: {self.section!r}",
            )
        if self.site:
            structure(self.site)
        for kind in (self.positive, self.negative):
            if not kind or not all(isinstance(text, str) and text.strip() for text in kind):
                raise InputError("a finding has positive and negative sentences", self.finding)


@cache
def published_findings() -> Mapping[str, FindingPrompts]:
    """The bank that ships with the library: the 30 findings of Merlin's evaluation, in that order."""
    return _parse(files("radvlm.model.merlin").joinpath("findings.yaml").read_text(encoding="utf-8"), "findings.yaml")


def load_prompts(path: str | Path) -> Mapping[str, FindingPrompts]:
    """A bank of one's own, in the form of ``findings.yaml``; FileFormatError that names what is wrong."""
    try:
        text = Path(path).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise FileFormatError("a file of prompts can be read", f"{path}: {error}") from error
    return _parse(text, str(path))


def prompts_for(text: str) -> FindingPrompts:
    """Sentences around any text, such as ``mass of the pancreas``; its section is that of the first organ it names.

    Text that names none is put under the soft tissues, the section of what is everywhere. Raises InputError for text
    without a word.
    """
    words = " ".join(text.split()) if isinstance(text, str) else ""
    if not any(sign.isalnum() for sign in words):
        raise InputError("a finding is described by words", repr(text))
    section, site = _place(words.lower())
    return FindingPrompts(
        text,
        words,
        section,
        site,
        tuple(around.format(words) for around in _AROUND_POSITIVE),
        tuple(around.format(words) for around in _AROUND_NEGATIVE),
    )


def _place(words: str) -> tuple[str, str]:
    padded = f" {words} "
    found = [
        (padded.index(f" {s.words} "), -len(s.words), s)
        for s in structures().values()
        if s.kind == "organ" and not s.side and f" {s.words} " in padded
    ]
    if not found:
        return "soft_tissues", ""
    organ = min(found, key=lambda item: item[:2])[2]
    return organ.section, organ.name


def _parse(text: str, name: str) -> Mapping[str, FindingPrompts]:
    bank: dict[str, FindingPrompts] = {}
    try:
        rows: list[dict[str, Any]] = yaml.safe_load(text)
        for row in rows:
            prompts = FindingPrompts(**{**row, "positive": tuple(row["positive"]), "negative": tuple(row["negative"])})
            if prompts.finding in bank:
                raise InputError("a finding is in a file of prompts once", prompts.finding)
            bank[prompts.finding] = prompts
    except (yaml.YAMLError, TypeError, KeyError, InputError) as error:
        raise FileFormatError(
            "a file of prompts lists findings with words, section, site, positive and negative", f"{name}: {error}"
        ) from error
    return MappingProxyType(bank)

"""Wordings of each finding for zero-shot classification, those of training apart from those of evaluation.

A zero-shot score on wordings seen in training is no zero-shot score, so the two sets are held apart here, as data, and
``heldout_words`` says which words of the held-out set training never sees at all.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from types import MappingProxyType

import yaml

from radvlm.errors import InputError
from radvlm.types.finding_kinds import finding_kind, finding_kinds

SPLITS = ("train", "heldout")


@dataclass(frozen=True)
class Prompts:
    """Wordings that say that a finding is there (``positive``) and that it is not (``negative``)."""

    positive: tuple[str, ...]
    negative: tuple[str, ...]


def prompts(finding: str, split: str = "train") -> Prompts:
    """Wordings of one finding; InputError for another finding or split."""
    finding_kind(finding)
    if split not in SPLITS:
        raise InputError(f"a split is one of {', '.join(SPLITS)}", repr(split))
    return _table()[finding][split]


@cache
def _table() -> Mapping[str, Mapping[str, Prompts]]:
    data = yaml.safe_load(files("radvlm.dataset").joinpath("prompts.yaml").read_text(encoding="utf-8"))
    if set(data) != set(finding_kinds()):
        odd = sorted(set(data) ^ set(finding_kinds()))
        raise InputError("prompts.yaml has the findings of finding_kinds.csv", ", ".join(odd))
    return MappingProxyType(
        {
            name: MappingProxyType(
                {split: Prompts(tuple(rows[split]["positive"]), tuple(rows[split]["negative"])) for split in SPLITS}
            )
            for name, rows in data.items()
        }
    )


def normalized(text: str) -> str:
    """Lower case, words only: two wordings that differ in case or marks are the same wording."""
    return " ".join(re.findall(r"[a-z0-9]+(?:-[a-z0-9]+)*", text.lower()))


def heldout_words(seen: Iterable[str] = ()) -> dict[str, tuple[str, ...]]:
    """Finding -> words of its held-out wordings that no training wording has, nor any text in ``seen``."""
    known = {
        word
        for name in finding_kinds()
        for side in (prompts(name).positive, prompts(name).negative)
        for text in side
        for word in normalized(text).split()
    }
    known |= {word for text in seen for word in normalized(text).split()}
    found = {}
    for name in finding_kinds():
        held = prompts(name, "heldout")
        words = dict.fromkeys(w for text in (*held.positive, *held.negative) for w in normalized(text).split())
        new = tuple(w for w in words if w not in known)
        if new:
            found[name] = new
    return found

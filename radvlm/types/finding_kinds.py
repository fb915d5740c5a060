"""What a model's findings are called in a report, and which kinds of ``radvlm.interpret`` speak of the same thing.

A table of data (``model_findings.csv``). ``same`` kinds establish and deny the finding; ``narrower`` ones only
establish it (a mask of one kind of tumor says nothing of the others); ``broader`` ones do both (masks of all liver
lesions that hold none also hold no cyst). ``denied_by`` are categories that deny although their finding is present,
such as "ectatic" for an aneurysm.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from types import MappingProxyType

from radvlm.types.anatomy import structure, structures
from radvlm.types.finding import Citable, Finding

#: Importance in the impression of a finding that the table does not list.
UNLISTED_IMPORTANCE = 50
_SAYABLE = re.compile(r"[A-Za-z]+(?:[ '’/-][A-Za-z]+)*")
_UNSAYABLE_WORDS = {"no", "not", "without", "absent", "normal", "negative", "unremarkable"}


@dataclass(frozen=True)
class ModelFinding:
    """One row; see the module.

    ``aliases`` are other words for one of it, beside those that the model gives; ``denials`` are whole sentences that
    deny it without naming it; ``words_deny`` are further findings that "no <words>" would deny ("no splenic lesion" a
    splenic cyst).
    """

    finding: str
    kind: str
    same: tuple[str, ...]
    narrower: tuple[str, ...]
    broader: tuple[str, ...]
    denied_by: str
    importance: int
    aliases: tuple[str, ...]
    denials: tuple[str, ...]
    words_deny: tuple[str, ...]


@cache
def model_findings() -> Mapping[str, ModelFinding]:
    text = files("radvlm.types").joinpath("model_findings.csv").read_text(encoding="utf-8")
    return MappingProxyType(
        {
            row["finding"]: ModelFinding(
                row["finding"],
                row["kind"],
                tuple(row["same"].split()),
                tuple(row["narrower"].split()),
                tuple(row["broader"].split()),
                row["denied_by"],
                int(row["importance"]),
                tuple(filter(None, row["aliases"].split(";"))),
                tuple(filter(None, row["denials"].split(";"))),
                tuple(row["words_deny"].split()),
            )
            for row in csv.DictReader(text.splitlines())
        }
    )


def model_finding(name: str) -> ModelFinding:
    """The row of a finding; one of a vocabulary that nobody listed stands for itself alone."""
    known = model_findings().get(name)
    if known is not None:
        return known
    kind = re.sub(r"[^a-z0-9]+", "_", name.lower()).strip("_") or "finding"
    return ModelFinding(name, kind, (kind,), (), (), "", UNLISTED_IMPORTANCE, (), (), ())


def sharing(kind: str) -> frozenset[str]:
    """Findings of the table that a report puts under one kind: lytic and sclerotic bone lesions."""
    return frozenset(row.finding for row in model_findings().values() if row.kind == base_kind(kind))


def vocabulary_name(item: Citable) -> str:
    """The model's name of a finding that has source model."""
    return (item.model_term if isinstance(item, Finding) else "") or item.kind


def base_kind(kind: str) -> str:
    """The kind without its side; rule kinds have none."""
    row = structures().get(kind)
    return kind if row is None or not row.side else kind.removesuffix(f"_{row.side}")


def sided_kind(kind: str, side: str) -> str:
    """``kidney_cyst`` and ``left`` -> ``kidney_cyst_left`` where the anatomy table has it, else the kind."""
    name = f"{kind}_{side}"
    return name if side and name in structures() else kind


def side_of(site: str) -> str:
    return structure(site).side if site else ""


def is_sayable(words: str) -> bool:
    """Whether a sentence may name it so: plain words, none of them a negation."""
    return bool(_SAYABLE.fullmatch(words)) and len(words) <= 80 and not _UNSAYABLE_WORDS & set(words.lower().split())

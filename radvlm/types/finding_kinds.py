"""The findings that the project's own models are taught, and what a report and the masks call each of them.

A table of data (``finding_kinds.csv``). ``same`` kinds of ``radvlm.interpret`` establish and deny the finding;
``narrower`` ones only establish it (a mask of one kind of tumor says nothing of the others); ``broader`` ones do both
(masks of all liver lesions that hold none also hold no cyst). ``denied_by`` is a category that denies although its
finding is present, such as "ectatic" for an aneurysm.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from types import MappingProxyType

from radvlm.errors import InputError
from radvlm.types.anatomy import structure, structures
from radvlm.types.csv_tables import package_rows
from radvlm.types.finding import Citable, Finding
from radvlm.types.urgency import Urgency, importance

#: Urgency of a finding that the table does not list.
UNLISTED_URGENCY = Urgency.DAYS
_SAYABLE = re.compile(r"[A-Za-z]+(?:[ '’/-][A-Za-z]+)*")
_UNSAYABLE_WORDS = {"no", "not", "without", "absent", "normal", "negative", "unremarkable"}


@dataclass(frozen=True)
class FindingKind:
    """One row; for ``same``, ``narrower``, ``broader`` and ``denied_by`` see the module.

    Attributes:
        name: key, snake case.
        words: how a report calls one of them.
        section: report section.
        site: canonical structure it lies in without its side (``kidney``), "" where it has no single host.
        sided: it has a side.
        structure: name of its mask, ``{side}`` to be filled in; "" when it shows only in the organ.
        parent_class: class of the voxel head around it.
        kind: kind of the finding in a report; lytic and sclerotic bone lesions share one.
        urgency: how soon somebody must know of it.
        aliases: other words for one of it, beside those that the model gives.
        denials: whole sentences that deny it without naming it.
        words_deny: further findings that "no <words>" would deny ("no splenic lesion" a splenic cyst).
    """

    name: str
    words: str
    section: str
    site: str
    sided: bool
    structure: str
    parent_class: str
    kind: str
    same: tuple[str, ...]
    narrower: tuple[str, ...] = ()
    broader: tuple[str, ...] = ()
    denied_by: str = ""
    urgency: Urgency = UNLISTED_URGENCY
    aliases: tuple[str, ...] = ()
    denials: tuple[str, ...] = ()
    words_deny: tuple[str, ...] = ()

    @property
    def importance(self) -> float:
        """Place in the impression, without a size."""
        return importance(self.urgency)

    @property
    def has_voxels(self) -> bool:
        return bool(self.structure)


@cache
def finding_kinds() -> Mapping[str, FindingKind]:
    """Every finding by name, in the order of ``finding_kinds.csv``, which is the order of a model's outputs."""
    return MappingProxyType(
        {
            row["name"]: FindingKind(
                row["name"],
                row["words"],
                row["section"],
                row["site"],
                row["sided"] == "1",
                row["structure"],
                row["parent_class"],
                row["kind"],
                tuple(row["same"].split()),
                tuple(row["narrower"].split()),
                tuple(row["broader"].split()),
                row["denied_by"],
                Urgency(row["urgency"]),
                tuple(filter(None, row["aliases"].split(";"))),
                tuple(filter(None, row["denials"].split(";"))),
                tuple(row["words_deny"].split()),
            )
            for row in package_rows("radvlm.types", "finding_kinds.csv")
        }
    )


def finding_kind(name: str) -> FindingKind:
    """The finding of that name; InputError with the known names otherwise."""
    known = finding_kinds()
    if name not in known:
        raise InputError("a finding is in the vocabulary", repr(name), f"Choose one of {', '.join(known)}")
    return known[name]


def is_listed(text: str) -> bool:
    """Whether a text is a name of a listed finding, or says its words: ``Renal stones`` is, ``banana`` is not."""
    return _plain(text) in _listed_names()


@cache
def _listed_names() -> frozenset[str]:
    return frozenset(_plain(n) for kind in finding_kinds().values() for n in (kind.name, kind.words, *kind.aliases))


def _plain(text: str) -> str:
    """Words of a name in lower case, without article, side and plural."""
    words = re.findall(r"[a-z0-9]+", text.lower())
    return " ".join(w.removesuffix("s") for w in words if w not in ("a", "an", "the", "left", "right"))


def any_finding_kind(name: str) -> FindingKind:
    """The finding of that name; one of a vocabulary that nobody listed stands for itself alone."""
    known = finding_kinds().get(name)
    if known is not None:
        return known
    kind = re.sub(r"[^a-z0-9]+", "_", name.lower()).strip("_") or "finding"
    return FindingKind(name, name, "", "", False, "", "", kind, (kind,))


def sharing(kind: str) -> frozenset[str]:
    """Findings of the table that a report puts under one kind: lytic and sclerotic bone lesions."""
    return frozenset(row.name for row in finding_kinds().values() if row.kind == base_kind(kind))


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

"""What ``tiny`` is taught to see: the findings and the classes of its voxel head, as data.

Unusual: the model package knows nothing of radiology. A model stores the names below in its own config; these tables
are what a training corpus is labeled with (``radvlm.workflows.phantom_corpus``) and what prompts are made from.
"""

from __future__ import annotations

import csv
from collections.abc import Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase
from functools import cache
from importlib.resources import files
from types import MappingProxyType

from radvlm.errors import InputError


@dataclass(frozen=True)
class FindingKind:
    """One finding.

    Attributes:
        name: key, snake case.
        words: how a report calls one of them.
        section: report section.
        site: canonical structure it lies in without its side (``kidney``), "" where it has no single host.
        sided: it has a side.
        structure: name of its mask, ``{side}`` to be filled in; "" when it shows only in the organ.
        parent_class: class of the voxel head around it.
    """

    name: str
    words: str
    section: str
    site: str
    sided: bool
    structure: str
    parent_class: str

    @property
    def has_voxels(self) -> bool:
        return bool(self.structure)


@cache
def findings() -> Mapping[str, FindingKind]:
    """Every finding by name, in the order of ``findings.csv``, which is the order of a model's outputs."""
    return MappingProxyType(
        {
            row["finding"]: FindingKind(
                row["finding"],
                row["words"],
                row["section"],
                row["site"],
                row["sided"] == "1",
                row["structure"],
                row["parent_class"],
            )
            for row in _rows("findings.csv")
        }
    )


def finding_kind(name: str) -> FindingKind:
    """The finding of that name; InputError with the known names otherwise."""
    known = findings()
    if name not in known:
        raise InputError("a finding is in the vocabulary", repr(name), f"Choose one of {', '.join(known)}")
    return known[name]


@cache
def anatomy_classes() -> Mapping[str, tuple[str, ...]]:
    """Anatomical classes of the voxel head -> name patterns of the structures they join; ``outside`` is 0."""
    return MappingProxyType({row["name"]: tuple(row["structures"].split()) for row in _rows("dense_classes.csv")})


@cache
def voxel_classes() -> tuple[str, ...]:
    """Names of the voxel head's outputs: anatomy first, then every finding that has voxels."""
    return (*anatomy_classes(), *(f.name for f in findings().values() if f.has_voxels))


@cache
def part_classes() -> tuple[str, ...]:
    """Named parts that say where a finding is: outputs of the part head; ``none`` is 0."""
    levels = ("C7", *(f"T{n}" for n in range(1, 13)), *(f"L{n}" for n in range(1, 6)))
    return (
        "none",
        *(f"liver_segment_{n}" for n in range(1, 9)),
        "lung_upper_lobe_right",
        "lung_middle_lobe_right",
        "lung_lower_lobe_right",
        "lung_upper_lobe_left",
        "lung_lower_lobe_left",
        "pancreas_head",
        "pancreas_body",
        "pancreas_tail",
        *(f"vertebrae_{level}" for level in levels),
    )


def class_of(structure: str) -> int:
    """Index of the anatomical class that a structure belongs to; ``soft_tissue`` when no pattern names it."""
    for number, patterns in enumerate(anatomy_classes().values()):
        if any(fnmatchcase(structure, pattern) for pattern in patterns):
            return number
    return list(anatomy_classes()).index("soft_tissue")


def _rows(name: str) -> list[dict[str, str]]:
    text = files("radvlm.dataset").joinpath(name).read_text(encoding="utf-8")
    return list(csv.DictReader(text.splitlines()))

"""The classes of the voxel head of ``tiny``, as data.

The model package knows nothing of radiology. A model stores the names below in its own config; these tables are what a
training corpus is labeled with (``radvlm.workflows.phantom_corpus``) and what prompts are made from.
"""

from __future__ import annotations

from collections.abc import Mapping
from fnmatch import fnmatchcase
from functools import cache
from types import MappingProxyType

from radvlm.types.anatomy import LIVER_SEGMENTS, LUNG_LOBES, PANCREAS_PARTS, USUAL_LEVELS
from radvlm.types.csv_tables import package_rows
from radvlm.types.finding_kinds import finding_kinds


@cache
def anatomy_classes() -> Mapping[str, tuple[str, ...]]:
    """Anatomical classes of the voxel head -> name patterns of the structures they join; ``outside`` is 0."""
    rows = package_rows("radvlm.dataset", "dense_classes.csv")
    return MappingProxyType({row["name"]: tuple(row["structures"].split()) for row in rows})


@cache
def voxel_classes() -> tuple[str, ...]:
    """Names of the voxel head's outputs: anatomy first, then every finding that has voxels."""
    return (*anatomy_classes(), *(f.name for f in finding_kinds().values() if f.has_voxels))


@cache
def part_classes() -> tuple[str, ...]:
    """Named parts that say where a finding is: outputs of the part head; ``none`` is 0."""
    levels = USUAL_LEVELS[USUAL_LEVELS.index("C7") : USUAL_LEVELS.index("S1")]
    return ("none", *LIVER_SEGMENTS, *LUNG_LOBES, *PANCREAS_PARTS, *(f"vertebrae_{level}" for level in levels))


def class_of(structure: str) -> int:
    """Index of the anatomical class that a structure belongs to; ``soft_tissue`` when no pattern names it."""
    for number, patterns in enumerate(anatomy_classes().values()):
        if any(fnmatchcase(structure, pattern) for pattern in patterns):
            return number
    return list(anatomy_classes()).index("soft_tissue")

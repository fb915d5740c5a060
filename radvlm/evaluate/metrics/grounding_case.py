"""Grounding: do the regions that a report points at lie where the reference's do, finding by finding or by sentence.

Logic first, place second. A statement of the candidate is paired with at most one of the reference that says
the same (kind, status, related site, no opposite side), by the assignment with most pairs and then most overlap (Kuhn
1955). Only then are voxels compared. A statement without a region is allowed: it is counted as not localized, not as a
Dice of 0; a localized finding of the reference that is missed, or not localized, is no hit. Precision and recall follow
RadFact (Bannur et al. 2024, MAIRA-2), with matched findings in the place of a language model's entailment and voxels
in the place of boxes. Organs that are merely named (kind ``organ``) are left out: they would drown the rest.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from radvlm.errors import InputError
from radvlm.evaluate.metrics.measurement_error import SizeError, paired_errors
from radvlm.evaluate.metrics.overlap import (
    MaskOf,
    Place,
    RegionMasks,
    centroid_mm,
    contains,
    dice,
    iou,
    on_grid,
    pointing_voxel,
)
from radvlm.types.anatomy import structure
from radvlm.types.finding import Citable, Status
from radvlm.types.region import Region

if TYPE_CHECKING:
    from radvlm.types.region_map import RegionMap
    from radvlm.types.report import Report

UNITS = ("finding", "sentence")
#: Kinds that name what was seen or covered, not an abnormality.
IGNORED_KINDS = ("organ", "coverage", "contrast_phase")
#: Statuses that count as a statement.
STATUSES = (Status.PRESENT, Status.ABSENT, Status.INDETERMINATE)
#: Grids whose voxels differ by more than this share are not one grid (bounding boxes only).
_SAME_VOXEL = 0.01


@dataclass(frozen=True)
class GroundingRules:
    """How places are compared.

    Attributes:
        overlap: ``iou`` or ``dice``, for the thresholds.
        instance_threshold: least overlap of two instances of one structure that count as the same. IoU 0.1 is usual in
            3D lesion detection, where small lesions overlap poorly (Baumgartner et al. 2021, nnDetection).
        spatial_threshold: least overlap of two matched statements that agree in place.
        ignored_kinds: kinds of finding left out.
        statuses: of the findings that count. Denials are statements too, and most reports have many: ``("present",)``
            leaves only what is there.
    """

    overlap: str = "iou"
    instance_threshold: float = 0.1
    spatial_threshold: float = 0.1
    ignored_kinds: tuple[str, ...] = IGNORED_KINDS
    statuses: tuple[str, ...] = STATUSES

    def __post_init__(self) -> None:
        if not self.statuses or not set(self.statuses) <= set(STATUSES):
            raise InputError("statuses are of " + ", ".join(STATUSES), ", ".join(self.statuses) or "none")
        if self.overlap not in ("iou", "dice"):
            raise InputError("overlap is iou or dice", repr(self.overlap))
        for value in (self.instance_threshold, self.spatial_threshold):
            if not 0 < value <= 1:
                raise InputError("a threshold of overlap lies above 0 and up to 1", str(value))

    def measure(self, first: Place, second: Place) -> float:
        return iou(first, second) if self.overlap == "iou" else dice(first, second)


@dataclass(frozen=True)
class Statement:
    """What is grounded: a finding, or a sentence with all findings it states.

    Attributes:
        id: of the finding; for a sentence its number, from 1.
        says: (kind, status) of each finding.
        sites: structures that the findings concern.
        sides: left, right or both, of the sites and regions; empty when none is sided.
        findings: those stated. regions: of them, each once.
    """

    id: str
    says: frozenset[tuple[str, str]]
    sites: frozenset[str]
    sides: frozenset[str]
    findings: tuple[Citable, ...]
    regions: tuple[Region, ...]

    @classmethod
    def of(cls, id: str, findings: Sequence[Citable]) -> Statement:
        regions = tuple({r.id: r for f in findings for r in f.regions}.values())
        names = [f.site for f in findings if f.site] + [r.structure for r in regions]
        return cls(
            id,
            frozenset((f.kind, str(f.status)) for f in findings),
            frozenset(f.site for f in findings if f.site),
            frozenset(structure(n).side for n in names) - {""},
            tuple(findings),
            regions,
        )

    def agrees(self, other: Statement) -> bool:
        """The same kind and status, a site within the other's site, and not the opposite side."""
        if not self.says & other.says or (self.sides and other.sides and not self.sides & other.sides):
            return False
        return (
            not self.sites
            or not other.sites
            or any(_within(a, b) or _within(b, a) for a in self.sites for b in other.sites)
        )


def _within(part: str, whole: str) -> bool:
    while part and part != whole:
        part = structure(part).parent
    return part == whole


def statements_of(report: Report, unit: str, rules: GroundingRules) -> tuple[Statement, ...]:
    """Findings, or sentences of the body, that state something other than the ignored kinds."""

    def counts(finding: Citable) -> bool:
        return finding.kind not in rules.ignored_kinds and finding.status in rules.statuses

    if unit == "finding":
        return tuple(Statement.of(f.id, (f,)) for f in report.citable if counts(f))
    if unit != "sentence":
        raise InputError("grounding is by " + " or ".join(UNITS), repr(unit))
    said = []
    for number, sentence in enumerate(report.sentences, 1):
        findings = [f for f in sentence.findings if counts(f)]
        if findings and sentence.section != "impression":
            said.append(Statement.of(str(number), findings))
    return tuple(said)


@dataclass(frozen=True, eq=False)
class GroundedReport:
    """A report, where its masks come from, and the grid on which places are compared."""

    report: Report
    masks: RegionMasks

    @classmethod
    def of(cls, report: Report, masks: RegionMap | MaskOf | RegionMasks | None = None) -> GroundedReport:
        return cls(report, RegionMasks.of(masks))

    @cached_property
    def voxel_mm3(self) -> float | None:
        """Median voxel volume of the regions; None without regions."""
        sizes = [1000 * r.volume_ml / r.voxels for f in self.report.citable for r in f.regions]
        return float(np.median(sizes)) if sizes else None


@dataclass(frozen=True)
class Pair:
    """One statement of the reference, of the candidate, or of both that say the same.

    ``dice``, ``iou``, ``distance_mm``, ``hit`` and ``agrees`` are None unless both sides are localized.
    """

    reference: Statement | None
    candidate: Statement | None
    dice: float | None = None
    iou: float | None = None
    distance_mm: float | None = None
    hit: bool | None = None
    agrees: bool | None = None


@dataclass(frozen=True)
class CaseGrounding:
    """Everything that grounding found in one case.

    Attributes:
        pairs: matched statements, then those of the reference alone, then of the candidate alone.
        instances: (true positives, false positives, false negatives) of regions.
        errors: of sizes stated by both, of matched statements.
        no_place: why places could not be compared; "" when they could.
    """

    pairs: tuple[Pair, ...]
    instances: tuple[int, int, int]
    errors: tuple[SizeError, ...]
    no_place: str = ""

    @property
    def matched(self) -> tuple[Pair, ...]:
        return tuple(p for p in self.pairs if p.reference and p.candidate)


def ground_case(
    reference: GroundedReport,
    candidate: GroundedReport,
    unit: str = "finding",
    rules: GroundingRules = GroundingRules(),
) -> CaseGrounding:
    """Compare two grounded reports of one scan.

    Masks on another grid than the reference's are taken to it. When masks are not given, bounding boxes stand in, which
    needs one grid: where the voxels of the two reports differ in size, places are not compared; ``no_place`` says so.
    Raises InputError for masks that do not fit their regions.
    """
    if (reference.masks.mask_of is None) != (candidate.masks.mask_of is None):
        raise InputError(
            "both reports have masks, or both have boxes alone",
            "reference without" if reference.masks.mask_of is None else "candidate without",
        )
    said, told = (statements_of(r.report, unit, rules) for r in (reference, candidate))
    reason = _grids_differ(reference, candidate)
    places = _Places(reference, candidate, not reason)
    order = _assign(_weights(said, told, places))
    matched = [(said[i], told[j]) for i, j in order]
    pairs = [_pair(a, b, places, rules) for a, b in matched]
    taken, found = {i for i, _ in order}, {j for _, j in order}
    pairs += [Pair(a, None) for i, a in enumerate(said) if i not in taken]
    pairs += [Pair(None, b) for j, b in enumerate(told) if j not in found]
    errors = tuple(e for a, b in matched for e in _size_errors(a, b))
    instances = (0, 0, 0) if reason else _instances(said, told, places, rules)
    return CaseGrounding(tuple(pairs), instances, errors, reason)


def _grids_differ(reference: GroundedReport, candidate: GroundedReport) -> str:
    """Why places cannot be compared, or ""."""
    if reference.masks.geometry is not None and candidate.masks.geometry is not None:
        return ""
    a, b = reference.voxel_mm3, candidate.voxel_mm3
    if a is None or b is None or abs(a - b) <= _SAME_VOXEL * max(a, b):
        return ""
    return "the two reports are on different grids, and masks with their grids were not given"


class _Places:
    """Places of statements and regions, on the reference's grid, each made once."""

    def __init__(self, reference: GroundedReport, candidate: GroundedReport, comparable: bool) -> None:
        self.grounded, self.comparable = (reference, candidate), comparable
        self.grid = reference.masks.geometry
        self.spacing_mm = self.grid.spacing_mm if self.grid else (1.0, 1.0, 1.0)
        self._made: dict[tuple[int, tuple[str, ...]], Place] = {}

    def of(self, side: int, regions: Sequence[Region]) -> Place:
        key = (side, tuple(r.id for r in regions))
        if key not in self._made:
            masks = self.grounded[side].masks
            self._made[key] = on_grid(masks.place(regions), masks.geometry, self.grid) if side else masks.place(regions)
        return self._made[key]


def _weights(said: Sequence[Statement], told: Sequence[Statement], places: _Places) -> np.ndarray:
    """(R, C): 0 where two statements disagree; otherwise 1, and less than 1 more for overlap and then nearness.

    The sum of all extras stays below 1, so that more pairs always win over closer pairs.
    """
    out = np.zeros((len(said), len(told)))
    share = 1 / (1 + min(out.shape, default=0))
    for i, a in enumerate(said):
        for j, b in enumerate(told):
            if not a.agrees(b):
                continue
            out[i, j] = 1
            if a.regions and b.regions:
                near = 1 / (1 + float(np.linalg.norm(centroid_mm(a.regions) - centroid_mm(b.regions))) / 10)
                shared = iou(places.of(0, a.regions), places.of(1, b.regions)) if places.comparable else 0.0
                out[i, j] += share * (0.9 * shared + 0.09 * near)
    return out


def _assign(weights: np.ndarray) -> list[tuple[int, int]]:
    """Pairs (row, column) of the one-to-one assignment with the largest sum; pairs of weight 0 are none."""
    if not weights.any():
        return []
    from scipy.optimize import linear_sum_assignment

    rows, columns = linear_sum_assignment(weights, maximize=True)
    return [(int(i), int(j)) for i, j in zip(rows, columns, strict=True) if weights[i, j] > 0]


def _pair(a: Statement, b: Statement, places: _Places, rules: GroundingRules) -> Pair:
    if not a.regions or not b.regions:
        return Pair(a, b)
    distance = float(np.linalg.norm(centroid_mm(a.regions) - centroid_mm(b.regions)))
    if not places.comparable:
        return Pair(a, b, distance_mm=distance)
    first, second = places.of(0, a.regions), places.of(1, b.regions)
    voxel = pointing_voxel(second, places.spacing_mm)
    return Pair(
        a,
        b,
        dice(first, second),
        iou(first, second),
        distance,
        voxel is not None and contains(first, voxel),
        rules.measure(first, second) >= rules.spatial_threshold,
    )


def _instances(
    said: Sequence[Statement], told: Sequence[Statement], places: _Places, rules: GroundingRules
) -> tuple[int, int, int]:
    """(tp, fp, fn) of regions of present findings, matched one to one within each structure."""
    sides = []
    for statements in (said, told):
        by_structure: dict[str, dict[str, Region]] = {}
        for finding in (f for s in statements for f in s.findings if f.status is Status.PRESENT):
            for region in finding.regions:
                by_structure.setdefault(region.structure, {})[region.id] = region
        sides.append(by_structure)
    tp = fp = fn = 0
    for name in {*sides[0], *sides[1]}:
        ours, theirs = (list(side.get(name, {}).values()) for side in sides)
        overlap = np.array([[rules.measure(places.of(0, (a,)), places.of(1, (b,))) for b in theirs] for a in ours])
        overlap = overlap.reshape(len(ours), len(theirs))
        good = overlap >= rules.instance_threshold
        share = 1 / (1 + min(overlap.shape, default=0))
        hits = len(_assign(np.where(good, 1 + share * overlap, 0.0)))
        tp, fp, fn = tp + hits, fp + len(theirs) - hits, fn + len(ours) - hits
    return tp, fp, fn


def _size_errors(reference: Statement, candidate: Statement) -> Iterable[SizeError]:
    """Errors of the measurements that both state; in a sentence only of kinds that it states once."""
    ours, theirs = ([f.kind for f in s.findings] for s in (reference, candidate))
    for finding in reference.findings:
        if ours.count(finding.kind) == theirs.count(finding.kind) == 1:
            yield from paired_errors(candidate.findings[theirs.index(finding.kind)], finding)

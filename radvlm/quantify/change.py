"""Lesions of two scans of one patient: which is which, how much each changed, which are new and which are gone.

A change is called one only when it is larger than what the voxel grids of *both* scans can explain; and
"new" or "resolved" is said only where the other scan searched for such lesions and shows the place.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from radvlm.quantify.alignment import Alignment
from radvlm.types.anatomy import structure
from radvlm.types.measurement import Measurement
from radvlm.types.scan_measurements import LesionMeasurements, Measurements

#: Lesions farther apart after alignment (mm) are not the same, unless they are larger than that themselves.
GATE_MM = 15.0
_SIDES = ("_left", "_right")


@dataclass(frozen=True)
class LesionChange:
    """One lesion in two scans; ``current`` or ``prior`` is None for a resolved or a new one.

    Attributes:
        status: ``grown``, ``shrunk``, ``unchanged`` (within the uncertainty of both grids), ``new``, ``resolved``, or
            ``not comparable`` with the reason.
        size: ``long_axis``, or ``short_axis`` for lymph nodes: what the change is told of.
        change_mm, change_percent: current minus prior, and as percent of prior; None without a pair.
        volume_change_percent: the same of the volume.
        doubling_days: volume doubling time; negative is a halving time; None when the dates are not known or the
            volume did not change beyond its uncertainty.
        distance_mm: between both centers after alignment.
    """

    status: str
    current: LesionMeasurements | None
    prior: LesionMeasurements | None
    size: str
    change_mm: float | None = None
    change_percent: float | None = None
    volume_change_percent: float | None = None
    doubling_days: float | None = None
    distance_mm: float | None = None
    reason: str = ""

    @property
    def lesion(self) -> LesionMeasurements:
        found = self.current or self.prior
        assert found is not None, "a change has at least one lesion"
        return found


def lesion_family(name: str) -> str:
    """The name without its side: masks may be sided in one scan and not in the other."""
    for side in _SIDES:
        name = name.removesuffix(side)
    return name


def headline_size(lesion: LesionMeasurements) -> Measurement | None:
    """Short axis of a lymph node, long axis of anything else (RECIST 1.1)."""
    return lesion.measurement("short_axis" if lesion.structure == "lymph_node" else "long_axis")


def pair_lesions(
    current: Measurements, prior: Measurements, alignment: Alignment
) -> tuple[tuple[LesionMeasurements | None, LesionMeasurements | None, float | None], ...]:
    """(current, prior, distance in mm) of every lesion, each used once; the total distance of all pairs is smallest.

    A pair has the same kind of lesion and centers nearer than ``GATE_MM``, the error of the alignment, or the radius of
    the larger one. Fluid is no lesion here.
    """
    from scipy.optimize import linear_sum_assignment

    now = [x for x in current.lesions if structure(x.structure).kind == "lesion"]
    then = [x for x in prior.lesions if structure(x.structure).kind == "lesion"]
    apart = np.full((len(now), len(then)), np.inf)
    for b, old in enumerate(then):
        place = alignment.apply(old.region.centroid_mm, old.host)
        for a, new in enumerate(now):
            if lesion_family(old.structure) == lesion_family(new.structure):
                apart[a, b] = float(np.linalg.norm(np.asarray(new.region.centroid_mm) - place))
    gates = np.array(
        [[max(GATE_MM, 2 * (alignment.error_mm or 0.0), _radius(a), _radius(b)) for b in then] for a in now]
    ).reshape(apart.shape)
    allowed = apart <= gates
    cost = np.where(allowed, apart, 1e6)
    rows, columns = linear_sum_assignment(cost) if apart.size else (np.array([], int), np.array([], int))
    pairs = {int(a): int(b) for a, b in zip(rows, columns, strict=True) if allowed[a, b]}
    used = set(pairs.values())
    found: list[tuple[LesionMeasurements | None, LesionMeasurements | None, float | None]] = [
        (x, then[pairs[a]] if a in pairs else None, float(apart[a, pairs[a]]) if a in pairs else None)
        for a, x in enumerate(now)
    ]
    return (*found, *((None, x, None) for b, x in enumerate(then) if b not in used))


def _radius(lesion: LesionMeasurements) -> float:
    return (lesion.diameter_3d_mm or 0.0) / 2


def lesion_changes(
    current: Measurements, prior: Measurements, alignment: Alignment, days: float | None
) -> tuple[LesionChange, ...]:
    """Every lesion of both scans once. ``days`` from prior to current, None when not known."""
    changes = []
    for now, then, apart in pair_lesions(current, prior, alignment):
        if now is not None and then is not None:
            changes.append(_pair(now, then, apart, days))
        elif now is not None:
            reason = _not_seen(prior, now, alignment, to_prior=True)
            status = "not comparable" if reason else "new"
            changes.append(LesionChange(status, now, None, _size(now), reason=reason))
        elif then is not None:
            reason = _not_seen(current, then, alignment, to_prior=False)
            status = "not comparable" if reason else "resolved"
            changes.append(LesionChange(status, None, then, _size(then), reason=reason))
    return tuple(changes)


def _size(lesion: LesionMeasurements) -> str:
    return "short_axis" if lesion.structure == "lymph_node" else "long_axis"


def _pair(now: LesionMeasurements, then: LesionMeasurements, apart: float | None, days: float | None) -> LesionChange:
    a, b = headline_size(now), headline_size(then)
    volume_a, volume_b = now.measurement("volume"), then.measurement("volume")
    if a is None or b is None or volume_a is None or volume_b is None:
        return LesionChange("not comparable", now, then, _size(now), distance_mm=apart, reason="not measured in both")
    if now.cut_by or then.cut_by:
        return LesionChange(
            "not comparable",
            now,
            then,
            _size(now),
            distance_mm=apart,
            reason="cut by the field of view in one of the scans",
        )
    millimeters = a.value - b.value
    doubt = math.hypot(a.uncertainty or 0.0, b.uncertainty or 0.0)
    status = "unchanged" if abs(millimeters) <= doubt else "grown" if millimeters > 0 else "shrunk"
    volume = 100 * (volume_a.value / volume_b.value - 1)
    sure = abs(volume_a.value - volume_b.value) > math.hypot(volume_a.uncertainty or 0.0, volume_b.uncertainty or 0.0)
    doubling = None
    if days is not None and days > 0 and sure:
        doubling = doubling_time(volume_b.value, volume_a.value, days)
    return LesionChange(
        status, now, then, _size(now), millimeters, 100 * millimeters / b.value, volume, doubling, apart
    )


def doubling_time(prior_ml: float, current_ml: float, days: float) -> float:
    """Days in which the volume doubles at the rate between two scans (Schwartz 1961); negative for halving."""
    return days * math.log(2) / math.log(current_ml / prior_ml)


def _not_seen(other: Measurements, lesion: LesionMeasurements, alignment: Alignment, to_prior: bool) -> str:
    """Why the absence of a lesion in the other scan says nothing, or ""."""
    names = {lesion.structure, *(lesion_family(lesion.structure) + side for side in ("", *_SIDES))}
    if not any(other.searched(n) for n in names if n in _known()):
        return "the other scan was not searched for such lesions"
    point = np.asarray(lesion.region.centroid_mm)
    if to_prior:
        offset = np.asarray(alignment.offsets_mm.get(lesion.host, (0.0, 0.0, 0.0)))
        place = np.linalg.inv(alignment.matrix) @ np.append(point - offset, 1.0)
    else:
        place = np.append(alignment.apply(lesion.region.centroid_mm, lesion.host), 1.0)
    index = other.geometry.to_index(place[:3])
    if not all(-0.5 <= i <= n - 0.5 for i, n in zip(index, other.geometry.shape, strict=True)):
        return "the other scan does not show the place"
    long = lesion.measurement("long_axis")
    if long is not None and long.value < 2 * other.geometry.spacing_mm[2]:
        return "it is shorter than two slices of the other scan"
    return ""


def _known() -> frozenset[str]:
    from radvlm.types.anatomy import structures

    return frozenset(structures())

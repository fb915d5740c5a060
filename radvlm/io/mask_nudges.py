"""Masks that lie near their place but not in it: shifted by one to four centimeters, or flipped on a thin scan.

Such masks still follow some edges and hold plausible voxels, so that ``mask_fit`` alone finds nothing wrong. Here each
is compared with itself a little aside: what lies right fits worse wherever it is moved. A true shift shows in one
direction and not in the other, while masks that are a little too large or too small fit better in both. In honest
masks of phantoms and real scans (all of a product, or one to three organs; as they are, of 6 mm voxels, bent by 3 mm)
the best other place gained 0.03 nats at most, and 0.09 for a single vessel; shifted by 10 to 40 mm or flipped, 0.05 to
0.4 for nineteen in twenty.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from radvlm.io.mask_fit import MIN_INSIDE, MIN_POINTS, MaskPoints, Scorer, sample_points
from radvlm.types.anatomy import structure
from radvlm.types.segmentation import Segmentation

#: Shifts that are tried along each axis, mm.
SHIFTS_MM = (12.0, 20.0, 32.0)
#: So many structures are moved together: those with most voxels.
MOST_STRUCTURES = 12
#: Gain (nats) of one structure, and of several together; what it must reach.
GAIN_OF_ONE, GAIN_OF_MORE, REACHED = 0.1, 0.045, 0.09
#: The same for one organ among others that lie right. Only whole large organs: coarse masks of what is thin, and parts
#: of an organ whose border to the rest does not show, may gain as much.
GAIN_ALONE, REACHED_ALONE = 0.07, 0.11
_JUDGED_ALONE = re.compile(r"liver|spleen|kidney(_left|_right)?|heart|urinary_bladder|brain|lung(_.*)?")
#: The border between two lobes of a lung hardly shows: one is told only where so many more of its voxels hold lung.
LOBE_PLAUSIBLE = 0.15
#: One among others is looked at below one of these (nats, share of plausible voxels).
LOW_CONTRAST, LOW_PLAUSIBLE = 0.16, 0.9
#: The opposite shift gains less than this share of it; the share of plausible voxels falls by no more than this.
OPPOSITE, LESS_PLAUSIBLE = 0.3, 0.02
_NAMES = (("left", "right"), ("back", "front"), ("feet", "head"))
_AXES = ("x (right-left)", "y (front-back)", "z (head-foot)")


@dataclass(frozen=True)
class _Moved:
    """One other place: axis, shift in mm (0 for a flip), and what every structure gains there.

    Attributes:
        gain, then: (S,) nats more than here, and nats there; nan where too little of it lies on the scan.
        plausible: (S,) how much larger the share of plausible voxels is.
    """

    axis: int
    shift_mm: float
    gain: np.ndarray
    then: np.ndarray
    plausible: np.ndarray

    @property
    def words(self) -> str:
        if not self.shift_mm:
            return f"mirrored along {_AXES[self.axis]}"
        toward = _NAMES[self.axis][0 if self.shift_mm > 0 else 1]
        return f"shifted by about {abs(self.shift_mm):.0f} mm toward the patient's {toward}"


def nudged_together(points: MaskPoints, hu: np.ndarray) -> str:
    """How the masks as a whole look shifted or mirrored, in words; "" where they lie right or nothing tells."""
    moved = list(_moves(_largest(points), hu))
    best = _best(moved, np.ones(min(MOST_STRUCTURES, len(points.names)), bool))
    if best is None:
        return ""
    gain, then, place = best
    least = GAIN_OF_MORE if len(points.names) > 1 else GAIN_OF_ONE
    return place.words if gain >= least and then >= REACHED else ""


def nudged_alone(points: MaskPoints, segmentation: Segmentation, hu: np.ndarray) -> Iterator[tuple[str, str]]:
    """(structure, how its mask alone looks shifted or mirrored) among masks that lie right."""
    scorer = Scorer(points)
    contrast, plausible = scorer.each(hu[tuple(points.index.T)], np.ones(points.count, bool))
    is_low = (contrast < LOW_CONTRAST) | (plausible < LOW_PLAUSIBLE)
    for name in itertools.compress(points.names, is_low):
        if not _JUDGED_ALONE.fullmatch(name) or structure(name).kind == "lesion" or segmentation.is_tip(name):
            continue
        alone = sample_points(segmentation, name)
        best = None if alone is None else _best(list(_moves(alone, hu)), np.ones(1, bool))
        if best is None or best[0] < GAIN_ALONE or best[1] < REACHED_ALONE:
            continue
        if "lobe" not in name or best[2].plausible[0] >= LOBE_PLAUSIBLE:
            yield name, best[2].words


def _largest(points: MaskPoints) -> MaskPoints:
    """The points of the structures with most of them."""
    if len(points.names) <= MOST_STRUCTURES:
        return points
    counts = np.bincount(points.owner, minlength=len(points.names))
    kept = np.sort(np.argsort(-counts, kind="stable")[:MOST_STRUCTURES])
    number = np.full(len(points.names), -1)
    number[kept] = np.arange(len(kept))
    used = number[points.owner] >= 0
    names = tuple(points.names[n] for n in kept)
    return MaskPoints(
        points.index[used],
        points.inside[used],
        number[points.owner[used]],
        names,
        points.centers_mm[kept],
        points.geometry,
    )


def _moves(points: MaskPoints, hu: np.ndarray) -> Iterator[_Moved]:
    scorer, shape = Scorer(points), np.array(hu.shape)
    here, everywhere = hu[tuple(points.index.T)], np.ones(points.count, bool)
    now = scorer.each(here, everywhere)
    of_each = np.bincount(points.owner, minlength=len(points.names))
    for axis in range(3):
        shifts = [sign * mm for mm, sign in itertools.product(SHIFTS_MM, (1, -1))]
        for shift in (0.0, *shifts):
            index = points.index.copy()
            if shift:
                voxels = round(shift / points.geometry.spacing_mm[axis])
                if not voxels:
                    continue
                index[:, axis] += voxels
            else:
                index[:, axis] = shape[axis] - 1 - index[:, axis]
            on_scan = (index[:, axis] >= 0) & (index[:, axis] < shape[axis])
            if on_scan.mean() < MIN_INSIDE:
                continue
            there = np.zeros(points.count, hu.dtype)
            there[on_scan] = hu[tuple(index[on_scan].T)]
            contrast, plausible = scorer.each(there, on_scan)
            before = now if on_scan.all() else scorer.each(here, on_scan)
            count = np.bincount(points.owner[on_scan], minlength=len(of_each))
            enough = (count >= MIN_POINTS) & (count >= MIN_INSIDE * of_each)
            gain = np.where(enough, contrast - before[0], np.nan)
            yield _Moved(axis, shift, gain, np.where(enough, contrast, np.nan), plausible - before[1])


def _best(moved: list[_Moved], used: np.ndarray) -> tuple[float, float, _Moved] | None:
    """(gain, contrast there, place) of the place with the highest gain that is a place and no size of the masks."""
    found: list[tuple[float, float, _Moved]] = []
    for place in moved:
        known = used & np.isfinite(place.gain)
        if 2 * known.sum() <= used.sum():
            continue
        gain = float(place.gain[known].mean())
        plausible = place.plausible[known & np.isfinite(place.plausible)]
        if gain <= 0 or (plausible.size and float(plausible.mean()) < -LESS_PLAUSIBLE):
            continue
        opposite = [other for other in moved if other.axis == place.axis and other.shift_mm == -place.shift_mm != 0]
        gains = opposite[0].gain[used & np.isfinite(opposite[0].gain)] if opposite else np.empty(0)
        if gains.size and float(gains.mean()) > OPPOSITE * gain:
            continue
        found.append((gain, float(place.then[known].mean()), place))
    return max(found, key=lambda one: one[0]) if found else None

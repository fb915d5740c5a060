"""Rulers in the image itself that tell whether values are Hounsfield units: the air around the body, fat, soft tissue.

What the header says is not asked. Air around a body is -1000 HU (a scanner passes its tests between -1005 and -970,
ACR CT accreditation phantom), fat lies near -100 and soft tissue between 10 and 130 HU. A scan without air around it
(a crop, a circle of view with padding only) has no such ruler, and then nothing is said. The limits are wide on
purpose: an honest scan, whatever its noise, phase, padding or coverage, must not be warned of.

Everything is read off a coarse grid of at most ``GRID`` voxels an axis:

* flat values (one exact value over more than ``FLAT_SHARE`` of a face of the grid) are padding or blanked air;
* the first other value met from each face inwards is what surrounds the body, when one narrow range holds most of
  them on at least three faces; its center is the air ruler;
* a cut: an exact lowest value above ``LOWEST_CUT_HU``, or an exact highest value below ``HIGHEST_CUT_HU``, that holds
  many voxels where its neighbors hold few.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from radvlm.io.broken_values import broken_values
from radvlm.types.provenance import Decision

#: Step of the decisions that forbid to interpret attenuation.
DOUBT_STEP = "attenuation"
_PREFIX = "Attenuation is not interpreted: "
GRID = 56
#: A drawing of fewer values has no noise, and so no rulers.
FEWEST_VALUES = 16
#: An exact value over this share of a face is padding or blanked air.
FLAT_SHARE = 0.02
#: Half-width (HU) of the range that holds what surrounds the body, and the share of a face that it must hold.
AROUND_HU, AROUND_SHARE = 60.0, 0.6
AIR_HU, AIR_TOLERANCE_HU = -1000.0, 40.0
#: Where fat and soft tissue (plain or enhanced) have their peaks.
FAT_HU, SOFT_HU = (-130.0, -70.0), (10.0, 150.0)
#: Gas that proves a CT lies so near -1000 HU, and gas and fat each fill this share of the image at least.
TISSUE_AIR_HU, TISSUE_SHARE = 60.0, 0.01
#: Where their peaks are looked for.
_NEAR_FAT, _NEAR_SOFT = (-190.0, -20.0), (-10.0, 190.0)
#: What surrounds a crop of lung.
LUNG_HU = (-970.0, -550.0)
#: Below is padding. With more noise than the other, a shift by 24 HU cannot be told.
DEEP_HU, NOISY_HU = -1250.0, 35.0
#: Air, fat and soft tissue that lie off together in one direction: a shift of about 24 HU (1000 taken for 1024).
RAISED_HU, LOWERED_HU = (-981.0, -88.0, 45.0), (-1014.0, -96.0, 100.0)
#: Multiples of so many HU are too coarse for limits a few HU apart; so many rungs of them, and this share of those
#: between the lowest and the highest, are taken.
COARSE_HU, FEWEST_RUNGS, RUNGS_TAKEN = 20.0, 10, 0.9
#: A crop of soft tissue has nothing denser around it, and air so far off is a mistake, whatever was asked for.
DENSER_HU, FAR_OFF_HU = 300.0, 200.0
#: A scan is cut below when its lowest value lies above this, and above when its highest lies below.
LOWEST_CUT_HU, HIGHEST_CUT_HU = -940.0, 600.0

#: Air as a changed gray scale shows it: where it then lies, and its highest spread (HU), which tissue and foam exceed.
GRAY_AIR_HU, EVEN_HU = (-955.0, 250.0), 14.0
#: Slopes that are looked for, with air in its place.
WRONG_SLOPES = (0.75, 0.8, 0.85, 0.9, 1.1, 1.15, 1.2, 1.25, 1.3)
#: The fainter of both then holds this share of the body or more. Honest scans (phantoms, real CT): 0.06 at most, and
#: more than that where fat and soft tissue belong; slopes of 0.8 to 1.2: 0.15 to 0.37, with a third at most there.
FEWEST_MOVED = 0.1


@dataclass(frozen=True)
class Around:
    """What surrounds the body: center and spread (HU), and the number of faces on which it does."""

    center_hu: float
    spread_hu: float
    faces: int
    is_flat: bool


def doubted(doubt: str, remedy: str = "") -> Decision:
    """The decision that attenuation is not interpreted, and what would mend it. ``doubt`` is one phrase."""
    return Decision(DOUBT_STEP, f"{_PREFIX}{doubt}." + (f" {remedy}." if remedy else ""), warning=True)


def doubt_of(decisions: Iterable[Decision]) -> str:
    """Why attenuation is not interpreted, by the first such decision; "" without one."""
    for decision in decisions:
        if decision.step == DOUBT_STEP and decision.what.startswith(_PREFIX):
            return decision.what[len(_PREFIX) :].split(". ")[0].rstrip(".")
    return ""


def judged(hu: np.ndarray, step: str, asserted: bool = False) -> tuple[Decision, ...]:
    """What the rulers say against values (I, J, K) in HU, any axis order: () when nothing.

    Args:
        hu: as the rescale left it, before anything below -1024 is raised.
        step: of a decision that doubts nothing.
        asserted: the caller said how the values become HU. A doubt is then told, and the caller believed; only what was
            cut off cannot be had back by saying so.
    """
    grid = _coarse(hu)
    width = _rung_hu(grid)
    if width >= COARSE_HU:
        return (
            doubted(
                f"the values are multiples of {width:g} HU, too coarse to measure",
                "Pass the scan before it was rounded",
            ),
        )
    if grid.size < 500 or len(np.unique(grid)) < FEWEST_VALUES:
        return ()
    flat = _flat_values(grid)
    values = grid[~np.isin(grid, flat)] if flat.size else grid.ravel()
    around = _around(grid, flat) if values.size >= 500 else None
    if asserted and around is not None and _cannot_be_hu(around, values):
        told = _not_air(around, values)
        if told is not None:
            return (doubted(told[0], "Pass --rescale auto, or another SLOPE,INTERCEPT (rescale= in Python)"),)
    cut = _cut(grid)
    if cut:
        return (doubted(cut, "Pass the scan before it was windowed" + (", or another rescale" if asserted else "")),)
    if values.size < 500:
        return ()
    is_air = around is not None and abs(around.center_hu - AIR_HU) <= AIR_TOLERANCE_HU
    told = _not_air(around, values) if around is not None and not is_air else None
    told = told or _air_gone(grid, flat, values) or _gray_air(around, values)
    told = told or _no_tissue(values, around) or (_wrong_slope(values) if is_air else None)
    if told is None and around is not None and is_air:
        told = _small_shift(around, values)
    told = told or broken_values(hu)
    if told is None:
        return ()
    return (Decision(step, f"Rescaled as asked for, although {told[0]}.", True),) if asserted else (doubted(*told),)


def _rung_hu(grid: np.ndarray) -> float:
    """The step of the ladder on which all values of a body lie, 0 where they lie on none.

    Nearly every rung is taken: a drawing of few values has no noise, but no ladder either.
    """
    body = grid[(grid > -950) & (grid < 450)]
    values = np.unique(body)
    if body.size < 500 or len(values) < FEWEST_RUNGS or (values != np.rint(values)).any():
        return 0.0
    width = float(np.gcd.reduce(np.diff(values).astype(np.int64)))
    return width if len(values) >= RUNGS_TAKEN * ((values[-1] - values[0]) / width + 1) else 0.0


def _cannot_be_hu(around: Around, values: np.ndarray) -> bool:
    """True where the body is surrounded by what is denser than tissue, or by air that lies far off with all tissue."""
    off = around.center_hu - AIR_HU
    return around.center_hu > DENSER_HU or bool(abs(off) > FAR_OFF_HU and _tissue_at(values, off))


def _air_gone(grid: np.ndarray, flat: np.ndarray, values: np.ndarray) -> tuple[str, str] | None:
    """One exact value of soft tissue around the body, and air nowhere: it was set to that value."""
    if np.count_nonzero(values < -905) > 0.0002 * values.size or values.min() > -200:
        return None  # padding around a body with air in it, or a crop of soft tissue with padding
    for value in flat[flat > -500]:
        if sum(bool(np.mean(view[0] == value) >= AROUND_SHARE) for view in _rays(grid)) >= 3:
            return (
                f"the air is missing: exactly {value:g} HU surrounds the body and nothing lies below "
                f"{values.min():.0f} HU, as if air had been set to {value:g}",
                "Pass the scan before it was masked",
            )
    return None


def _gray_air(around: Around | None, values: np.ndarray) -> tuple[str, str] | None:
    """What surrounds the body is too even for tissue, lies where air does not, and nothing lies below it."""
    if around is None or not GRAY_AIR_HU[0] <= around.center_hu <= GRAY_AIR_HU[1]:
        return None
    if around.spread_hu > (EVEN_HU if around.center_hu < -200 else EVEN_HU / 4):
        return None
    depth = max(60.0, 5 * around.spread_hu)
    if np.count_nonzero(values < around.center_hu - depth) > 0.0005 * values.size:
        return None
    return (
        f"what surrounds the body is as even as air but lies at {around.center_hu:.0f} HU instead of -1000, "
        "and nothing lies below it, as in a normalized or changed gray scale or after a wrong slope",
        "Pass the scan itself, or --rescale SLOPE,INTERCEPT (rescale= in Python)",
    )


def _wrong_slope(values: np.ndarray) -> tuple[str, str] | None:
    """Air in its place, and fat and soft tissue where a slope other than 1 puts them (their distances from air are 900
    and 1050 HU), with nothing where fat belongs."""
    body = values[(values > -450) & (values < 450)]
    if body.size < max(500, 0.02 * values.size):
        return None
    counts = np.histogram(body, bins=np.arange(-450, 460, 10))[0].astype(float)

    def held(low: float, high: float) -> float:
        first, last = round((low + 450) / 10), round((high + 450) / 10)
        return float(counts[max(first, 0) : min(last, len(counts))].sum()) / body.size

    best = (0.0, 1.0)
    for slope in WRONG_SLOPES:
        fat, soft = (round((above_air * slope - 1000) / 10) * 10 for above_air in (900, 1050))
        best = max(best, (min(held(fat - 30, fat + 30), held(soft - 40, soft + 40)), slope))
    share, slope = best
    in_place = min(held(-130, -70), held(10, 90))
    if share < FEWEST_MOVED or in_place > share / 3:
        return None
    return (
        f"the air around the body is right, but fat and soft tissue lie near {900 * slope - 1000:.0f} and "
        f"{1050 * slope - 1000:.0f} HU, "
        f"as if the slope of the rescale were wrong (about {slope:g} times the right one)",
        "Pass --rescale SLOPE,INTERCEPT (rescale= in Python) if you know them",
    )


def _no_tissue(values: np.ndarray, around: Around | None) -> tuple[str, str] | None:
    """A body without soft tissue, although the air around it is right or most of it is dense."""
    body = values[values > -850]
    tissue = np.count_nonzero((body >= -200) & (body <= 250))
    dense = np.count_nonzero(body > 250)
    remedy = "Pass --rescale SLOPE,INTERCEPT (rescale= in Python) if you know them"
    if tissue < 0.1 * dense and dense >= 0.1 * values.size:
        return "almost nothing lies where fat and soft tissue do, and much lies above", remedy
    if around is None or around.is_flat or abs(around.center_hu - AIR_HU) > AIR_TOLERANCE_HU:
        return None
    thin = np.count_nonzero((values > around.center_hu + max(50.0, 4 * around.spread_hu)) & (values <= -850))
    if body.size < 0.005 * values.size and thin >= 0.05 * values.size:
        return f"everything lies near the air around it, at {around.center_hu:.0f} HU", remedy
    counts, edges = np.histogram(body, bins=np.arange(-500, 140, 20))
    fullest = int(counts.argmax())
    sunken = edges[fullest] < -160 and counts[fullest] > 5 * counts[edges[:-1] >= -140].max(initial=0)
    body = body[body > -600]  # neither lung nor the foam of a mattress
    if body.size >= max(200, 0.01 * values.size) and (tissue < 0.1 * body.size or sunken):
        low, high = np.percentile(body, (5, 95))
        return (
            f"the air around the body is right, but the body lies between {low:.0f} and {high:.0f} HU, "
            "as if the slope of the rescale were wrong",
            remedy,
        )
    return None


def _small_shift(around: Around, values: np.ndarray) -> tuple[str, str] | None:
    """Air, fat and soft tissue that lie off together by about as much as 1000 does from 1024."""
    if around.is_flat or around.spread_hu > NOISY_HU:
        return None
    center, (fat, _), (soft, _) = around.center_hu, _peak(values, *_NEAR_FAT), _peak(values, *_NEAR_SOFT)
    raised = center >= RAISED_HU[0] and fat >= RAISED_HU[1] and soft >= RAISED_HU[2]
    lowered = center <= LOWERED_HU[0] and fat <= LOWERED_HU[1] and soft <= LOWERED_HU[2]
    if not raised and not lowered:
        return None
    off = round(center - AIR_HU)
    return (
        f"air around the body, fat and soft tissue lie at {center:.0f}, {fat:.0f} and {soft:.0f} HU, "
        f"about {abs(off)} HU too {'high' if off > 0 else 'low'}",
        f"An intercept of 1000 may have been taken for 1024 or the other way round: try --rescale 1,{-off}",
    )


def _not_air(around: Around, values: np.ndarray) -> tuple[str, str] | None:
    """What data look like whose surroundings are not at -1000 HU, and the remedy; None where that may well be."""
    center, off = around.center_hu, around.center_hu - AIR_HU
    if center < DEEP_HU:
        return None  # padding
    here, there = _tissue_at(values, 0.0), _tissue_at(values, off)
    if center >= -1040 and here and 2 * here >= there:
        return None  # a crop, a bed, a filled background: fat and soft tissue are where they belong
    if there:
        return (
            f"the air around the body lies at {center:.0f} HU, and fat and soft tissue are off with it: "
            f"all values are about {abs(off):.0f} HU too {'high' if off > 0 else 'low'}",
            f"Pass --rescale 1,{-round(off)} (rescale= in Python) if that is right",
        )
    if LUNG_HU[0] <= center <= LUNG_HU[1] and not around.is_flat:
        return None
    low = float(np.percentile(values, 1))
    if around.is_flat and (low < center - 200 or center < AIR_HU):
        return None  # padding or a filled background: the scan goes on below it, or it is below air
    is_empty = around.spread_hu < 8 and abs(center) <= 12 and np.mean((values > -150) & (values < -60)) < 0.005
    if not around.is_flat and not is_empty and -200 <= center <= 250:
        return None  # a crop of soft tissue: nothing of it is air
    return (
        f"what surrounds the body lies at {center:.0f} HU instead of -1000, and fat and soft tissue are not where they "
        "belong, as in a derived map (iodine, perfusion) or a changed gray scale",
        "Pass the scan itself, or --rescale SLOPE,INTERCEPT (rescale= in Python)",
    )


def _tissue_at(values: np.ndarray, off: float) -> int:
    """How many values the fainter of the peaks of fat and soft tissue holds, were all values ``off`` too high; 0 where
    one of them is not in its place."""
    fat, of_fat = _peak(values, _NEAR_FAT[0] + off, _NEAR_FAT[1] + off)
    soft, of_soft = _peak(values, _NEAR_SOFT[0] + off, _NEAR_SOFT[1] + off)
    in_place = FAT_HU[0] <= fat - off <= FAT_HU[1] and SOFT_HU[0] <= soft - off <= SOFT_HU[1]
    return min(of_fat, of_soft) if in_place else 0


def shows_tissues_of_ct(hu: np.ndarray) -> bool:
    """Whether gas, fat and soft tissue of the voxels of a scan all have their HU, as in no map of another quantity."""
    if hu.ndim != 3 or not hu.size:
        return False
    values = _coarse(hu).ravel()
    air = np.mean((values > AIR_HU - TISSUE_AIR_HU) & (values < AIR_HU + TISSUE_AIR_HU))
    fat = np.mean((values >= FAT_HU[0]) & (values <= FAT_HU[1]))
    return bool(air >= TISSUE_SHARE and fat >= TISSUE_SHARE and _tissue_at(values, 0.0) > 0)


def _coarse(hu: np.ndarray) -> np.ndarray:
    """Every n-th voxel along each axis as float32, at most ``GRID`` an axis, both faces included where they fall so."""
    index = tuple(slice((n - 1) % s // 2, None, s) for n, s in ((n, -(-n // GRID)) for n in hu.shape))
    return np.round(np.asarray(hu[index], dtype=np.float32), 2)


def _rays(grid: np.ndarray) -> list[np.ndarray]:
    """The grid seen from each face inwards, depth first; only along axes with at least 8 voxels."""
    views = []
    for axis in range(3):
        if grid.shape[axis] >= 8:
            inwards = np.moveaxis(grid, axis, 0)
            views += [inwards, inwards[::-1]]
    return views


def _flat_values(grid: np.ndarray) -> np.ndarray:
    """Exact values that hold FLAT_SHARE or more of some face, or are padding by their size."""
    found: list[np.ndarray] = []
    for view in _rays(grid):
        values, counts = np.unique(view[0], return_counts=True)
        common = counts >= max(FLAT_SHARE * view[0].size, 12)
        for value, count in zip(values[common], counts[common], strict=True):
            near = np.count_nonzero(np.abs(view[0] - value) <= 3) - count
            if count > near:  # noise in whole numbers has neighbors
                found.append(value)
    return np.unique(np.array(found, dtype=grid.dtype))


def _around(grid: np.ndarray, flat: np.ndarray) -> Around | None:
    """What surrounds the body, None where nothing does."""
    fronts = []
    for view in _rays(grid):
        other = ~np.isin(view, flat)
        depth = other.argmax(axis=0)
        first = np.take_along_axis(view, depth[None], axis=0)[0]
        fronts.append(first[other.any(axis=0)])
    held = np.concatenate(fronts) if fronts else np.empty(0)
    if held.size >= 100:
        center = _mode(held)
        faces = sum(bool(f.size >= 12 and np.mean(np.abs(f - center) <= AROUND_HU) >= AROUND_SHARE) for f in fronts)
        if faces >= 3:
            near = held[np.abs(held - center) <= AROUND_HU]
            middle = float(np.median(near))
            return Around(_refined(grid, near, center), float(1.4826 * np.median(np.abs(near - middle))), faces, False)
    if not flat.size:
        return None
    shares = {
        float(value): sum(bool(np.mean(view[0] == value) >= AROUND_SHARE) for view in _rays(grid)) for value in flat
    }
    value, faces = max(shares.items(), key=lambda item: item[1])
    return Around(value, 0.0, faces, True) if faces >= 3 else None


def _mode(values: np.ndarray) -> float:
    """Center of the fullest 24 HU of a histogram in steps of 4 HU."""
    low = float(values.min())
    counts = np.bincount(((values - low) / 4).astype(np.int64))
    smooth = np.convolve(counts, np.ones(6), mode="full")
    return low + 4 * (float(smooth.argmax()) - 2.5 + 0.5)


def _refined(grid: np.ndarray, near: np.ndarray, center: float) -> float:
    """The median of what is near the mode, which noise on both sides of it does not move.

    Where values end at one exact value near the mode that holds a quarter of them (air cut off at -1000), those count.
    """
    close = near[np.abs(near - center) <= AROUND_HU / 2]
    if not close.size:
        return center
    whole = grid[np.abs(grid - center) <= AROUND_HU]
    lowest = float(whole.min())
    if lowest > -1020 and np.mean(whole == lowest) >= 0.25:
        close = whole
    return float(np.median(close))


def _peak(values: np.ndarray, low: float, high: float) -> tuple[float, int]:
    """Where a histogram of ``low`` to ``high`` has its fullest 20 HU, and how many values those hold; NaN for few."""
    inside = values[(values >= low) & (values < high)]
    if inside.size < 100:
        return float("nan"), 0
    counts = np.bincount(((inside - low) / 4).astype(np.int64), minlength=round((high - low) / 4))
    smooth = np.convolve(counts, np.ones(5), mode="same")
    return low + 4 * float(smooth.argmax()) + 2, int(smooth.max())


def _cut(grid: np.ndarray) -> str:
    """ "" or how the values were cut to a window."""
    values = grid[grid > -1100]
    if values.size < 500:
        return ""
    low, high = float(values.min()), float(values.max())
    below = low > LOWEST_CUT_HU and _piles_up(values, low, 0.005)
    above = high < HIGHEST_CUT_HU and _piles_up(values, high, 0.002)
    if below and above:
        return f"the values were cut to a window of {low:g} to {high:g} HU"
    if below:
        return f"all values below {low:g} HU were cut off, so air and lung cannot be told"
    return f"all values above {high:g} HU were cut off" if above else ""


def _piles_up(values: np.ndarray, end: float, share: float) -> bool:
    """True when the exact value ``end`` holds a ``share`` of all, and more than the 40 HU next to it would."""
    at = np.count_nonzero(values == end)
    near = np.count_nonzero(np.abs(values - end) <= 40) - at
    return bool(at >= share * values.size and at >= 4 * near / 40 and at >= 20)

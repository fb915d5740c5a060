"""How well masks fit the voxels of a scan, as they lie and as they would lie mirrored, turned or shifted.

Two numbers are taken from a few thousand sampled voxels. ``contrast`` is the mutual information between "inside the
structure or just outside of it" and the Hounsfield units, averaged over the structures: a mask that follows the edges
of its organ has some, whatever the contrast phase, and a mask that lies across other organs has next to none.
``plausible`` is the share of sampled voxels whose attenuation their structure can have at all. On phantoms and real
scans masks that lie right had a contrast of 0.10 to 0.57 and of the other placements none a higher one; flipped,
transposed and shifted masks had a third of what the right placement gave.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from radvlm.io.mask_check import tissue_of
from radvlm.types.anatomy import structure
from radvlm.types.geometry import Geometry
from radvlm.types.segmentation import Segmentation

#: Sampled voxels of all structures together, of one structure at most and at least.
TOTAL_POINTS, MOST_POINTS, FEWEST_POINTS = 10_000, 500, 60
#: A structure with fewer sampled voxels is left out.
MIN_POINTS = 20
#: Voxels of a structure's box that are looked at to find its points.
BOX_VOXELS = 30_000
#: How far outside a structure its surroundings are sampled, mm.
SURROUNDINGS_MM = (8.0, 16.0)
#: Borders of the classes of attenuation, HU.
HU_EDGES = np.array(
    [-960, -850, -700, -500, -300, -150, -80, -30, 0, 20, 40, 60, 80, 100, 130, 160, 200, 250, 300, 400, 600, 900.0]
)
#: Attenuation of single voxels that a kind of tissue can have, HU.
VOXEL_HU = {"solid": (-60.0, 1500.0), "bone": (60.0, 5000.0), "lung": (-1100.0, -300.0), "soft": (-100.0, 1500.0)}
#: Kinds whose outline follows no edge of the scan.
NOT_SAMPLED = ("fluid", "device", "body", "cavity", "tissue")
#: Shifts that are tried along each axis, mm.
SHIFTS_MM = (20.0, 30.0, 45.0, 60.0, 80.0)
#: An alternative counts only where this share of the sampled voxels stays on the scan.
MIN_INSIDE = 0.6
_AXES = ("x (right-left)", "y (front-back)", "z (head-foot)")
_AXIS_LETTERS = "xyz"


@dataclass(frozen=True, eq=False)
class MaskPoints:
    """Sampled voxels of structures and of their surroundings.

    Attributes:
        index: (N, 3) voxel indices on the grid of the masks.
        inside: (N,) whether the voxel is of the structure, not of its surroundings.
        owner: (N,) which of ``names`` it was sampled for.
        names: structures with enough voxels.
        centers_mm: (len(names), 3) mean RAS+ position of each.
        half_voxel_mm: (3,) half the spacing.
    """

    index: np.ndarray
    inside: np.ndarray
    owner: np.ndarray
    names: tuple[str, ...]
    centers_mm: np.ndarray
    geometry: Geometry

    @property
    def count(self) -> int:
        return len(self.index)

    def center(self, name: str) -> np.ndarray | None:
        """(3,) mean RAS+ position in mm of a sampled structure, else None."""
        return self.centers_mm[self.names.index(name)] if name in self.names else None


@dataclass(frozen=True)
class Fit:
    """Mean contrast of the structures to their surroundings in nats, and the share of plausible voxels (0 to 1)."""

    contrast: float
    plausible: float


@dataclass(frozen=True)
class Alternative:
    """Another placement of the masks that fits better: what it is, what mends it, and both fits on the same voxels."""

    what: str
    remedy: str
    now: Fit
    then: Fit
    axis: int | None = None


def sample_points(segmentation: Segmentation, only: str = "") -> MaskPoints | None:
    """Points of every structure with an outline of its own; None where there are too few to say anything.

    Lesions are sampled only where hardly anything else is there: they may look like what is around them. ``only``
    names one structure, which then has as many points as there may be.
    """
    rng = np.random.default_rng(0)
    present = (only,) if only else segmentation.present
    names = [name for name in present if structure(name).kind not in NOT_SAMPLED]
    organs = [name for name in names if structure(name).kind != "lesion"]
    names = organs or names
    most = int(np.clip(TOTAL_POINTS // max(len(names), 1), FEWEST_POINTS, MOST_POINTS))
    spacing, shape = np.array(segmentation.geometry.spacing_mm), np.array(segmentation.geometry.shape)
    index: list[np.ndarray] = []
    inside: list[np.ndarray] = []
    owner: list[np.ndarray] = []
    kept: list[str] = []
    centers: list[np.ndarray] = []
    for name in names:
        place = segmentation.places[name]
        layer = segmentation.layers[place.layer]
        found = _voxels(segmentation, name)
        if len(found) < MIN_POINTS:
            continue
        centers.append(segmentation.geometry.to_world(found.mean(axis=0)))
        if len(found) > most:
            found = found[rng.choice(len(found), most, replace=False)]
        away = rng.normal(size=found.shape)
        away *= (rng.uniform(*SURROUNDINGS_MM, len(found)) / np.linalg.norm(away, axis=1))[:, None]
        around = np.rint(found + away / spacing).astype(np.intp)
        around = around[((around >= 0) & (around < shape)).all(axis=1)]
        around = around[layer[tuple(around.T)] != place.label]
        index += [found, around]
        inside += [np.ones(len(found), bool), np.zeros(len(around), bool)]
        owner.append(np.full(len(found) + len(around), len(kept)))
        kept.append(name)
    if not kept:
        return None
    return MaskPoints(
        np.concatenate(index),
        np.concatenate(inside),
        np.concatenate(owner),
        tuple(kept),
        np.array(centers),
        segmentation.geometry,
    )


def fit_of(points: MaskPoints, hu: np.ndarray) -> Fit:
    """How the masks fit as they lie."""
    values = hu[tuple(points.index.T)]
    return Scorer(points).fit(values, np.ones(points.count, bool))


def fits_of_each(points: MaskPoints, values: np.ndarray, used: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Contrast and plausible share (nan where its attenuation may be anything) of each structure.

    ``values`` (N,) are the HU at the points and ``used`` (N,) says which of them count.
    """
    return Scorer(points).each(values, used)


def alternatives(points: MaskPoints, hu: np.ndarray) -> list[Alternative]:
    """Placements that fit better than the present one in contrast and no worse in attenuation, best first."""
    scorer = Scorer(points)
    here = hu[tuple(points.index.T)]
    found: list[Alternative] = []
    for what, remedy, axis, moved in _placements(points):
        on_scan = np.asarray(((moved >= 0) & (moved < np.array(hu.shape))).all(axis=1))
        if on_scan.mean() < MIN_INSIDE:
            continue
        there = np.zeros(points.count, hu.dtype)
        there[on_scan] = hu[tuple(moved[on_scan].T)]
        then, now = scorer.fit(there, on_scan), scorer.fit(here, on_scan)
        if then.contrast > now.contrast and then.plausible >= now.plausible - 0.02:
            found.append(Alternative(what, remedy, now, then, axis))
    return sorted(found, key=lambda a: a.now.contrast - a.then.contrast)


class Scorer:
    """Fits of the same points at changing positions."""

    def __init__(self, points: MaskPoints) -> None:
        self._points = points
        limits = [VOXEL_HU.get(tissue_of(name), (np.nan, np.nan)) for name in points.names]
        self._low, self._high = np.array(limits).T[:, points.owner]
        self._judged = points.inside & np.isfinite(self._low)
        self._group = (points.owner * 2 + points.inside) * (len(HU_EDGES) + 1)

    def fit(self, values: np.ndarray, used: np.ndarray) -> Fit:
        """Fit with ``values`` (N,) HU at the points that are ``used`` (N,)."""
        information, counts = self._information(values, used)
        enough = counts >= MIN_POINTS
        contrast = float(information[enough].mean()) if enough.any() else 0.0
        judged = self._judged & used
        fits = (values[judged] >= self._low[judged]) & (values[judged] <= self._high[judged])
        return Fit(contrast, float(fits.mean()) if fits.size else 1.0)

    def each(self, values: np.ndarray, used: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """(S,) contrast and (S,) plausible share of every structure."""
        information, _ = self._information(values, used)
        judged = self._judged & used
        fits = judged & (values >= self._low) & (values <= self._high)
        count = len(self._points.names)
        of_each = np.bincount(self._points.owner[judged], minlength=count).astype(float)
        good = np.bincount(self._points.owner[fits], minlength=count)
        return information, np.divide(good, of_each, out=np.full(count, np.nan), where=of_each > 0)

    def _information(self, values: np.ndarray, used: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """(S,) mutual information (nats) and (S,) number of points of every structure."""
        structures, classes = len(self._points.names), len(HU_EDGES) + 1
        codes = self._group[used] + np.searchsorted(HU_EDGES, values[used])
        table = np.bincount(codes, minlength=structures * 2 * classes).reshape(structures, 2, classes).astype(float)
        counts = table.sum(axis=(1, 2))
        table /= np.maximum(counts, 1)[:, None, None]
        alone = table.sum(axis=2, keepdims=True) * table.sum(axis=1, keepdims=True)
        filled = table > 0
        information = np.where(filled, table * np.log(np.where(filled, table, 1) / np.where(filled, alone, 1)), 0)
        return information.sum(axis=(1, 2)), counts


def _placements(points: MaskPoints) -> Iterator[tuple[str, str, int | None, np.ndarray]]:
    """(what it is, what mends it, mirrored axis or None, (N, 3) indices) of every other placement."""
    index, geometry = points.index, points.geometry
    last = np.array(geometry.shape) - 1
    for order in itertools.permutations(range(3)):
        for signs in itertools.product((1, -1), repeat=3):
            flipped = [axis for axis in range(3) if signs[axis] < 0]
            if order == (0, 1, 2) and not flipped:
                continue
            turned = index[:, order]
            yield (*_turn_words(order, flipped), np.where(np.array(signs) < 0, last - turned, turned))
    world = geometry.to_world(index)
    for flipped in ([0, 1], [0], [1], [2]):
        signs_mm = np.ones(3)
        signs_mm[flipped] = -1
        rows = " and ".join(_AXIS_LETTERS[axis] for axis in flipped)
        what = "the masks' coordinates look like LPS taken for RAS" if len(flipped) == 2 else _mirrored(flipped)
        remedy = f"Negate {rows} in the affine of the masks (the first rows of the matrix are x, y and z)"
        yield (what, remedy, _single(flipped), np.rint(geometry.to_index(world * signs_mm)).astype(np.intp))
    names = (("left", "right"), ("back", "front"), ("feet", "head"))
    for axis in range(3):
        for shift, sign in itertools.product(SHIFTS_MM, (1, -1)):
            moved = index.copy()
            moved[:, axis] += int(np.rint(sign * shift / geometry.spacing_mm[axis]))
            toward = names[axis][0 if sign > 0 else 1]
            yield (
                f"the masks look shifted by about {shift:.0f} mm toward the patient's {toward}",
                "Write the masks with the affine of this scan, and check that they are of this scan",
                None,
                moved,
            )


def _turn_words(order: tuple[int, ...], flipped: list[int]) -> tuple[str, str, int | None]:
    if order == (0, 1, 2):
        return _mirrored(flipped), "Flip the mask array back, or copy the affine of the scan into it", _single(flipped)
    moved = [_AXIS_LETTERS[axis] for axis in range(3) if order[axis] != axis]
    what = f"the axes {', '.join(moved[:-1])} and {moved[-1]} of the masks look exchanged"
    if flipped:
        what += f" and {'-'.join(_AXIS_LETTERS[axis] for axis in flipped)} mirrored"
    return what, "Transpose the mask array back, or copy the affine of the scan into it", None


def _mirrored(flipped: list[int]) -> str:
    return f"the masks look mirrored along {' and '.join(_AXES[axis] for axis in flipped)}"


def _single(flipped: list[int]) -> int | None:
    return flipped[0] if len(flipped) == 1 else None


def _voxels(segmentation: Segmentation, name: str) -> np.ndarray:
    """(n, 3) indices of the voxels of a structure, on a regular subsample of its box."""
    place, box = segmentation.places[name], segmentation.boxes[name]
    spacing, steps = segmentation.geometry.spacing_mm, [1, 1, 1]
    while np.prod([-(-n // s) for n, s in zip(box.shape, steps, strict=True)]) > BOX_VOXELS:
        axis = min((a for a in range(3) if box.shape[a] > steps[a]), key=lambda a: steps[a] * spacing[a])
        steps[axis] += 1
    window = tuple(
        slice(low + min(step // 2, high - low - 1), high, step)
        for low, high, step in zip(box.start, box.stop, steps, strict=True)
    )
    found = np.argwhere(segmentation.layers[place.layer][window] == place.label)
    return found * steps + [part.start for part in window]

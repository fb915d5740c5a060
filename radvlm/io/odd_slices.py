"""Slices that do not belong: empty, a copy of their neighbor, or brighter than it in everything. Told from the voxels.

An interrupted export leaves an empty slice or the same slice twice, and an offset applied to part of a scan makes a
step. Anatomy makes neither: noise differs in every slice, and from one slice to the next some of the body turns
brighter and some darker, while a step raises all of it. Contrast in vessels and bowel moves no more than a part.

Slices are looked at from foot to head and along the last stored axis, in a sample of each. What ends a scan (slices of
air or padding at its ends, as resampling leaves them) is not odd, and neither are copies all along the scan (nearest
neighbor resampling to thinner slices).
"""

from __future__ import annotations

from itertools import pairwise

import numpy as np

from radvlm.io.hu_rulers import FEWEST_VALUES, doubted
from radvlm.types.provenance import Decision

#: Pixels looked at along each side of a slice.
SAMPLE = 48
#: Copies are told where they are at most this share of all slices; more were made by resampling.
MOST_COPIES = 0.05
#: The highest value that empty slices at the ends of a scan have: air and padding.
EMPTY_END_HU = -900
#: The body in HU, in a slice and its neighbor.
BODY_HU = (-250.0, 350.0)
#: Tiles along each side of a slice; one with fewer pixels of the body says nothing.
TILES, MIN_PIXELS = 6, 12
#: A step: the median over the tiles (HU), the fewest tiles, and the share of them that has half of it or more.
STEP_HU, MIN_TILES, STEP_SHARE = 25.0, 8, 0.85
#: A step across the body: planes and pixels looked at, width of a bin of differences (HU), the least step, and the
#: share of pixels within a bin of it, against the share that usual planes have near 0. Skin, muscle and fat make steps
#: of the same height, but spread over many bins: 0.55 at most from 40 HU on, in phantoms and real scans.
PLANES, PLANE_SAMPLE, BIN_HU, ACROSS_HU, ACROSS_SHARE = 96, 32, 10.0, 40.0, 0.7
#: Steps above are those from fat to muscle, too: then nearly as many pixels as usual must be alike.
FAT_TO_MUSCLE_HU, FAT_TO_MUSCLE_SHARE = 100.0, 0.95
#: Planes with a smaller share of body than most say nothing, and neither does noise that spreads all differences; so
#: much of the body has half of the step or more.
LEAST_PLANE, LEAST_ALIKE, RISEN_SHARE = 0.4, 0.25, 0.65
#: Planes on both sides of a step hold fat and soft tissue, whose tenths lie at least so far apart (HU).
LEAST_VARIED_HU = 90.0


def odd_slices(hu: np.ndarray, affine: np.ndarray) -> tuple[Decision, ...]:
    """Warnings about empty or copied slices and steps between slices of ``hu`` (I, J, K); () when nothing is odd.

    Args:
        hu: in stored order; slices lie along the last axis or from foot to head.
        affine: 4x4 from its index to RAS+ mm. Only from foot to head does anatomy change too little to make a step.
    """
    upwards = upward_axis(hu, affine)
    if upwards is None or hu.shape[upwards] < 4:
        return ()
    stack = _sampled(hu, upwards)
    if len(np.unique(stack)) < FEWEST_VALUES:
        return ()  # a drawing
    found = _empty_and_copied(stack)
    if upwards != 2 and hu.shape[2] >= 4:
        found += _empty_and_copied(_sampled(hu, 2))
    return tuple(found + (_steps(stack) or _halves(hu, [axis for axis in range(3) if axis != upwards])))


def upward_axis(hu: np.ndarray, affine: np.ndarray) -> int | None:
    """The axis of an array that runs nearest to from foot to head; None for what is refused with the grid."""
    if hu.ndim != 3 or np.shape(affine) != (4, 4):
        return None
    lengths = np.linalg.norm(affine[:3, :3], axis=0)
    if not np.isfinite(affine).all() or not lengths.all():
        return None
    return int(np.argmax(np.abs(affine[2, :3] / lengths)))


def _sampled(hu: np.ndarray, axis: int) -> np.ndarray:
    """(slices, rows, columns) as float32."""
    steps = [1 if n == axis else max(1, size // SAMPLE) for n, size in enumerate(hu.shape)]
    sample = hu[tuple(slice(step // 2, None, step) for step in steps)]
    return np.ascontiguousarray(np.moveaxis(sample, axis, 0), dtype=np.float32)


def _empty_and_copied(stack: np.ndarray) -> list[Decision]:
    flat = stack.reshape(len(stack), -1)
    is_empty = flat.min(axis=1) == flat.max(axis=1)
    found = []
    empty = _odd_empty(is_empty, flat[:, 0])
    if empty:
        found.append(
            Decision(
                "slices",
                f"{_named(empty)} {'is' if len(empty) == 1 else 'are'} empty (one value throughout) and those beside "
                "not: part of the scan may be missing. Export it again.",
                warning=True,
            )
        )
    copies = [k for k in range(1, len(flat)) if not is_empty[k] and np.array_equal(flat[k], flat[k - 1])]
    if copies and not _is_resampling(copies, len(flat)) and _is_varied(flat, copies):
        found.append(
            Decision(
                "slices",
                f"{_named(copies)} {'is a copy' if len(copies) == 1 else 'are copies'} of the slice before: "
                "another slice may be missing. Export the scan again.",
                warning=True,
            )
        )
    return found


def _is_resampling(copies: list[int], slices: int) -> bool:
    """True for copies all along the scan or in even steps, as resampling to the nearest slice makes them."""
    gaps = np.diff(copies)
    is_even = len(gaps) > 1 and np.ptp(gaps) <= 1 and gaps.min() > 1
    return bool(len(copies) > max(1, MOST_COPIES * slices) or is_even)


def _steps(stack: np.ndarray) -> list[Decision]:
    """The doubt about steps that the steps beside do not continue."""
    heights = [step_hu(before, after) for before, after in pairwise(stack)]
    steps = [
        (k, height)
        for k, height in enumerate(heights)
        if height and all(h * height <= 0 for h in (*heights[max(0, k - 1) : k], *heights[k + 1 : k + 2]))
    ]
    if not steps:
        return []
    told = ", ".join(f"slice {k + 1} to {k + 2} by {height:+.0f} HU" for k, height in steps[:3])
    more = f" and {len(steps) - 3} more" if len(steps) > 3 else ""
    return [
        doubted(
            f"the whole body turns brighter or darker from one slice to the next ({told}{more})",
            "Export the scan again with one rescale for all slices",
        )
    ]


def _halves(hu: np.ndarray, axes: list[int]) -> list[Decision]:
    """The doubt about a part of every slice that is brighter or darker than the rest, on one side of a plane."""
    for axis in axes:
        steps = [1] * 3
        for n, size in enumerate(hu.shape):
            steps[n] = -(-size // PLANES) if n == axis else max(1, size // PLANE_SAMPLE)
        window = tuple(slice(step // 2, None, step) for step in steps)
        planes = np.ascontiguousarray(np.moveaxis(hu[window], axis, 0), dtype=np.float32)
        height = _step_across(planes)
        if height:
            return [
                doubted(
                    "the body turns brighter or darker along a plane that cuts through every slice (by "
                    f"{abs(height):.0f} HU)",
                    "Parts of two images seem to have been put together: export the scan again",
                )
            ]
    return []


def _step_across(planes: np.ndarray) -> float:
    """The step (HU) between two neighbors of ``planes`` (N, rows, columns) that nearly all of the body makes, or 0."""
    before, after = planes[:-1], planes[1:]
    low, high = BODY_HU
    where = np.nonzero((before > low) & (before < high) & (after > low) & (after < high))
    reach = int((high - low) / BIN_HU)
    bins = np.rint((after[where] - before[where]) / BIN_HU).astype(np.intp).clip(-reach, reach) + reach
    width = 2 * reach + 1
    counts = np.bincount(where[0] * width + bins, minlength=len(before) * width).reshape(-1, width)
    sizes = counts.sum(axis=1)
    is_large = sizes >= max(MIN_TILES * MIN_PIXELS, LEAST_PLANE * np.percentile(sizes, 90)) if sizes.size else sizes > 0
    if not is_large.any():
        return 0.0
    near = counts[:, :-2] + counts[:, 1:-1] + counts[:, 2:]
    shares = near.max(axis=1) / np.maximum(sizes, 1)
    heights = (near.argmax(axis=1) + 1 - reach) * BIN_HU
    usual = float(np.median(shares[is_large]))
    if usual < LEAST_ALIKE:
        return 0.0
    alike = np.where(np.abs(heights) > FAT_TO_MUSCLE_HU, FAT_TO_MUSCLE_SHARE, ACROSS_SHARE) * usual
    for k in np.flatnonzero(is_large & (np.abs(heights) >= ACROSS_HU) & (shares >= alike)):
        risen = counts[k] if heights[k] > 0 else counts[k][::-1]
        is_all = risen[reach + int(abs(heights[k]) / 2 / BIN_HU) :].sum() >= RISEN_SHARE * sizes[k]
        is_varied = min(np.ptp(_tenths(planes[n])) for n in (k, k + 1)) >= LEAST_VARIED_HU
        beside = [heights[n] * np.sign(heights[k]) for n in (k - 1, k + 1) if 0 <= n < len(heights)]
        if is_all and is_varied and max(beside, default=0) < abs(heights[k]) / 2:
            return float(heights[k])
    return 0.0


def _tenths(plane: np.ndarray) -> np.ndarray:
    """The lowest and the highest tenth (HU) of the body in a plane: far apart where it holds more than one tissue."""
    found: np.ndarray = np.percentile(plane[(plane > BODY_HU[0]) & (plane < BODY_HU[1])], (10, 90))
    return found


def _odd_empty(is_empty: np.ndarray, value: np.ndarray) -> list[int]:
    """Empty slices between others, and those at an end that are neither air nor padding."""
    full = np.flatnonzero(~is_empty)
    if not full.size:
        return []
    return [
        int(k)
        for k in np.flatnonzero(is_empty)
        if full[0] < k < full[-1] or (value[k] > EMPTY_END_HU and full.size > 1)
    ]


def _is_varied(flat: np.ndarray, copies: list[int]) -> bool:
    """True where a slice holds noise enough that no two are equal by chance."""
    return all(len(np.unique(flat[k])) >= FEWEST_VALUES for k in copies)


def _named(slices: list[int]) -> str:
    """``Slice 3`` or ``Slices 3, 4, 5 and 7 more``, counted from 1."""
    if len(slices) == 1:
        return f"Slice {slices[0] + 1}"
    more = f" and {len(slices) - 3} more" if len(slices) > 3 else ""
    return f"Slices {', '.join(str(k + 1) for k in slices[:3])}{more}"


def step_hu(before: np.ndarray, after: np.ndarray) -> float:
    """By how much (HU) all of the body is brighter in ``after`` than in the slice ``before``; 0 for no such step."""
    height, share = tile_steps(before, after)
    return height if abs(height) >= STEP_HU and share >= STEP_SHARE else 0.0


def tile_steps(before: np.ndarray, after: np.ndarray) -> tuple[float, float]:
    """Median over the tiles of the median difference in the body, and the share of tiles with half of it or more."""
    low, high = BODY_HU
    inside = (before > low) & (before < high) & (after > low) & (after < high)
    if np.count_nonzero(inside) < MIN_TILES * MIN_PIXELS:
        return 0.0, 0.0
    difference = after - before
    if abs(float(np.median(difference[inside]))) < STEP_HU / 2:
        return 0.0, 0.0
    medians = []
    rows, columns = (np.linspace(0, n, TILES + 1).astype(int) for n in before.shape)
    for top, bottom in pairwise(rows):
        for left, right in pairwise(columns):
            part = inside[top:bottom, left:right]
            if np.count_nonzero(part) >= MIN_PIXELS:
                medians.append(float(np.median(difference[top:bottom, left:right][part])))
    if len(medians) < MIN_TILES:
        return 0.0, 0.0
    height = float(np.median(medians))
    return height, float(np.mean([m * np.sign(height) >= abs(height) / 2 for m in medians]))

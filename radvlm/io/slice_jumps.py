"""Slices whose values jump against their neighbors, as one wrong RescaleIntercept or RescaleSlope makes them.

Anatomy changes from slice to slice, but never so that nearly every pixel of the body rises or falls together. Where the
header says between which slices the rescale changes, less is enough: equal tissue and air on both sides of it then
differ by just what the rescale does, or not at all.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from radvlm.io.hu_rulers import doubted
from radvlm.types.provenance import Decision

#: Pixels looked at along each side of a slice.
PIXELS = 40
#: The body's pixels jump together: by this median (HU), a fifth of them by less than this share of it.
JUMP_HU, LEAST_SHARE = 15.0, 0.25
#: Fewer pixels of the body, or less than this share of what slices usually hold (its end), say nothing.
FEWEST_PIXELS, LEAST_BODY = 40, 0.5
_BODY_HU = -500.0
#: Soft tissue and fat (HU), and the air around the body; what both slices of a pair show of them is compared.
_SOFT_HU, _AIR_HU = (-180.0, 200.0), (-1100.0, -850.0)
#: A change of rescale that moves values by less (HU) is too small to tell.
LEAST_CHANGE_HU = 8.0
#: Tissue and air follow a change of rescale by this share of it or more where it is wrong.
FOLLOWS, FOLLOWS_TOGETHER = 0.5, 1.2
#: A value that holds so much of the air is what a scanner cuts off at, or padding.
FLAT_SHARE = 0.2


def slice_jumps(stack: np.ndarray, rescales: Sequence[tuple[float, float]]) -> tuple[Decision, ...]:
    """The doubt about slices (K, rows, columns) whose headers state different rescales, where the values jump with
    them; () where each rescale is right for its slice.

    ``rescales`` are (slope, intercept) of each slice, as they were applied.
    """
    found = jumping_slices(stack) or following_slices(stack, rescales)
    if not found:
        return ()
    parts = [f"slice {k + 1} by {jump:+.0f} HU" for k, jump in found[:3]]
    more = f" and {len(found) - 3} more" if len(found) > 3 else ""
    return (
        doubted(
            f"the slices state different rescales, and their values jump with them ({', '.join(parts)}{more})",
            "Pass --rescale SLOPE,INTERCEPT (rescale= in Python) if one holds for all",
        ),
    )


def following_slices(stack: np.ndarray, rescales: Sequence[tuple[float, float]]) -> list[tuple[int, float]]:
    """(slice, step in HU) where the rescale changes and the values follow it, with the first slice after it."""
    rows, columns = (max(1, n // (4 * PIXELS)) for n in stack.shape[1:])
    grid = stack[:, ::rows, ::columns]
    found: list[tuple[int, float]] = []
    tissue: list[float] = []
    air: list[float] = []
    for k in range(1, min(len(grid), len(rescales))):
        (slope, intercept), (next_slope, next_intercept) = rescales[k - 1], rescales[k]
        if (slope, intercept) == (next_slope, next_intercept) or not slope or not next_slope:
            continue
        before, after = grid[k - 1].astype(np.float32), grid[k].astype(np.float32)
        steps = [next_slope * (hu - intercept) / slope + next_intercept - hu for hu in (0.0, -1000.0)]
        for step, limits, followed in zip(steps, (_SOFT_HU, _AIR_HU), (tissue, air), strict=True):
            share = _followed(before, after, step, limits)
            if share is not None:
                followed.append(share)
        found.append((k, steps[0]))
    shares = [float(np.median(followed)) for followed in (tissue, air) if followed]
    if not tissue or min(shares) < FOLLOWS or sum(shares) < FOLLOWS_TOGETHER * len(shares) / 2:
        return []
    return found


def _followed(before: np.ndarray, after: np.ndarray, step: float, limits: tuple[float, float]) -> float | None:
    """By which share of ``step`` (HU) what lies within ``limits`` in both slices moves; None where nothing tells.

    Exact values that are common (padding, air cut off at the end of the scale) move with every rescale and are left
    out.
    """
    if abs(step) < LEAST_CHANGE_HU:
        return None
    low, high = limits
    inside = (before > low) & (before < high) & (after > low) & (after < high)
    for values in (before, after):
        held, counts = np.unique(values[inside], return_counts=True)
        inside &= ~np.isin(values, held[counts > FLAT_SHARE * max(1, counts.sum())])
    difference = (after - before)[inside]
    return float(np.median(difference)) / step if difference.size >= 4 * FEWEST_PIXELS else None


def jumping_slices(stack: np.ndarray) -> list[tuple[int, float]]:
    """(slice, jump in HU) along axis 0: slices unlike both neighbors, and steps, told with the first slice after it."""
    rows, columns = (max(1, n // PIXELS) for n in stack.shape[1:])
    grid = np.asarray(stack[:, ::rows, ::columns], dtype=np.float32)
    if len(grid) < 4:
        return []
    body = grid > _BODY_HU
    sizes = body.sum(axis=(1, 2))
    if not (sizes >= FEWEST_PIXELS).any():
        return []
    fewest = max(FEWEST_PIXELS, LEAST_BODY * float(np.median(sizes[sizes >= FEWEST_PIXELS])))
    found: dict[int, float] = {}
    for k in range(len(grid)):
        inside = min(max(k, 1), len(grid) - 2)
        near = [n for n in (inside - 1, inside, inside + 1) if n != k][:2]
        both = body[near[0]] & body[near[1]]
        jump = _jump(grid[k] - (grid[near[0]] + grid[near[1]]) / 2, both, fewest)
        if jump and abs(_median(grid[near[1]] - grid[near[0]], both)) < abs(jump) / 2:
            found[k] = jump
    for k in range(1, len(grid)):
        if k not in found and k - 1 not in found:
            jump = _jump(grid[k] - grid[k - 1], body[k] & body[k - 1], fewest)
            if jump:
                found[k] = jump
    return sorted(found.items())


def _median(difference: np.ndarray, where: np.ndarray) -> float:
    return float(np.median(difference[where]))


def _jump(difference: np.ndarray, where: np.ndarray, fewest: float) -> float:
    """Median of the difference where nearly all of it has one sign, else 0."""
    values = difference[where]
    if values.size < fewest:
        return 0.0
    low, middle, high = np.percentile(values, (20, 50, 80))
    if middle >= JUMP_HU and low >= LEAST_SHARE * middle:
        return float(middle)
    if middle <= -JUMP_HU and high <= LEAST_SHARE * middle:
        return float(middle)
    return 0.0

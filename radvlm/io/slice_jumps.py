"""Slices whose values jump against their neighbors, as one wrong RescaleIntercept or RescaleSlope makes them.

Anatomy changes from slice to slice, but never so that nearly every pixel of the body rises or falls together.
"""

from __future__ import annotations

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


def slice_jumps(stack: np.ndarray) -> tuple[Decision, ...]:
    """The doubt about slices (K, rows, columns) whose headers state different rescales, where the values jump with
    them; () where each rescale is right for its slice."""
    found = jumping_slices(stack)
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

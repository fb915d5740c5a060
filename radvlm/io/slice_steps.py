"""Slices that lie closer by their positions than the body in them does: positions in another unit, or mere numbers.

Slices that overlap by more than half of their thickness are honest where a scanner reconstructed them so, and then
neighbors share most of what they show. Where they differ as much as places one thickness apart do in the plane, they
do not overlap.
"""

from __future__ import annotations

import numpy as np

from radvlm.types.provenance import SIZE, Decision

#: Steps below this share of the thickness are looked at; an overlap of one half is common.
SUSPECT_SHARE = 0.45
#: Neighbors differ by this share of what pixels one thickness apart do. Slabs of real scans and phantoms that overlap
#: by two thirds, with noise of up to 40 HU: 0.33 at most; slices side by side: 0.54 to 0.97.
NOT_OVERLAPPING = 0.45
#: Pixels are averaged to about this length, to lessen noise.
AVERAGED_MM = 3.0
FEWEST_SLICES, MOST_SLICES, FEWEST_PIXELS, THICKEST_MM = 6, 80, 500, 20.0
_SOFT_HU, _BODY_HU = (-250.0, 250.0), -200.0


def doubtful_steps(stack: np.ndarray, step_mm: float, thickness_mm: float, pixel_mm: float) -> tuple[Decision, ...]:
    """The warning about slices (K, rows, columns) of ``thickness_mm`` that state too small a step; () for none."""
    if not step_mm < SUSPECT_SHARE * thickness_mm or thickness_mm > THICKEST_MM or len(stack) < FEWEST_SLICES:
        return ()
    share = _unlikeness(stack, thickness_mm, pixel_mm)
    if share is None or share < NOT_OVERLAPPING:
        return ()
    what = (
        f"The slices lie {step_mm:.2g} mm apart by their positions and are {thickness_mm:.3g} mm thick, but neighbors "
        "differ as slices side by side do: their positions may be in another unit, or mere numbers. Check the slice "
        "spacing before any size is used."
    )
    return (Decision(SIZE, what, warning=True),)


def _unlikeness(stack: np.ndarray, thickness_mm: float, pixel_mm: float) -> float | None:
    """Difference of neighboring slices against that of pixels one thickness apart; None where nothing tells."""
    middle = stack[len(stack) // 6 : len(stack) - len(stack) // 6]
    middle = middle[:MOST_SLICES]
    side = max(1, round(AVERAGED_MM / pixel_mm))
    rows, columns = (n // side for n in middle.shape[1:])
    if min(rows, columns) < 8:
        return None
    soft = np.stack(
        [
            np.clip(image[: rows * side, : columns * side], *_SOFT_HU)
            .astype(np.float32)
            .reshape(rows, side, columns, side)
            .mean((1, 3))
            for image in middle
        ]
    )
    apart = max(1, round(thickness_mm / (pixel_mm * side)))
    across = _difference(soft[1:], soft[:-1])
    inside = [_difference(soft[:, apart:], soft[:, :-apart]), _difference(soft[:, :, apart:], soft[:, :, :-apart])]
    if across is None or inside[0] is None or inside[1] is None:
        return None
    length = apart * pixel_mm * side / thickness_mm
    return across / ((inside[0] + inside[1]) / 2) * float(np.sqrt(length))


def _difference(one: np.ndarray, other: np.ndarray) -> float | None:
    """Mean absolute difference where either shows the body."""
    body = (one > _BODY_HU) | (other > _BODY_HU)
    return float(np.abs(one - other)[body].mean()) or None if np.count_nonzero(body) >= FEWEST_PIXELS else None

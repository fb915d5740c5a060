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
#: Neighbors that differ by this share of what pixels one step apart do lie farther apart than their step. Phantoms and
#: real scans, also every second and third slice of them, have 0.30 to 0.78, with noise of 50 HU 0.88 at most; spacing
#: that is three times too small gives 1.18 to 1.38, five times 1.5 to 1.8, where slices do not overlap.
SQUEEZED = 1.2
#: Slices that are looked at, images of which only the middle is, and how much pixels may differ from squares.
FEW_SLICES, LARGE_IMAGE, SQUARE_SHARE = 6, 160, 0.05
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


def squeezed_slices(hu: np.ndarray, spacing_mm: tuple[float, float, float]) -> tuple[Decision, ...]:
    """The warning about slices of ``hu`` (I, J, K), in RAS+ order, that lie farther apart than stated; () for none.

    Only the middle of a few slices is looked at.
    """
    across, along, step = spacing_mm
    if hu.shape[2] < FEWEST_SLICES or abs(across - along) > SQUARE_SHARE * across:
        return ()
    first = (hu.shape[2] - min(hu.shape[2], FEW_SLICES)) // 2
    rows, columns = (slice(n // 4, n - n // 4) if n >= LARGE_IMAGE else slice(None) for n in hu.shape[:2])
    stack = np.moveaxis(hu[rows, columns, first : first + FEW_SLICES], 2, 0)
    share = _unlikeness(stack, step, across, trimmed=False)
    if share is None or share < SQUEEZED:
        return ()
    what = (
        f"The slices lie {step:.2g} mm apart by their header, but neighbors differ as places much farther apart do: "
        "the slice spacing looks too small. Check the voxel sizes before any size is used."
    )
    return (Decision(SIZE, what, warning=True),)


def _unlikeness(stack: np.ndarray, thickness_mm: float, pixel_mm: float, trimmed: bool = True) -> float | None:
    """Difference of neighboring slices against that of pixels one thickness apart; None where nothing tells."""
    ends = len(stack) // 6 if trimmed else 0
    middle = stack[ends : len(stack) - ends][:MOST_SLICES]
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

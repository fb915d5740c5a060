"""What thresholds show beside body and lung: fat by its HU window, and the table that the patient lies on.

Fat is every voxel of the body from -190 to -30 HU that does not lie between air (or lung, or gas) and something denser
than fat: a voxel at such an edge is a mixture that only looks like fat. It is not told apart into subcutaneous and
visceral fat.

The table is what lies outside the body, is denser than foam, and is there in nearly every slice at the same place, as
nothing of a patient is. It is kept where it lies on one side of the body only; otherwise (a blanket, sides of a cradle,
a phantom in a holder) nothing is said of the patient's position.
"""

from __future__ import annotations

import numpy as np

from radvlm.types.volume import Volume

#: Fat (both ends belong to it), as for the areas at L3 (Mitsiopoulos 1998; ``quantify.body.WINDOWS``).
FAT_HU = (-190, -30)
#: Below is air, lung or bowel gas; what lies in the slice between it and denser tissue may be a mixture of both.
AIR_HU = -300
#: The shell of a table is denser than this on 3 mm averages, mattress foam is not.
TABLE_HU = -700.0
#: A table is at one place in at least this share of the slices, of which there are at least so many.
TABLE_SLICES_SHARE, TABLE_MIN_SLICES = 0.8, 3
#: On its side of the body it lies beyond at least this share of the body's width, and on the opposite side beyond at
#: most a third of that.
TABLE_WIDTH_SHARE, TABLE_OTHER_SHARE = 0.3, 1 / 3
#: A body that takes up more of an edge of the image than this is cut by it, and what lies beside it is its own.
MAX_CUT_SHARE = 0.5


def fat_of_slice(hu: np.ndarray, body: np.ndarray) -> np.ndarray:
    """Fat in one axial slice, (I, J) bool; ``body`` is that of the slice."""
    fat = (hu >= FAT_HU[0]) & (hu <= FAT_HU[1]) & body
    air = hu < AIR_HU
    dense = hu > FAT_HU[1]
    for axis in (0, 1):
        before, middle, after = (
            tuple(part if a == axis else slice(None) for a in (0, 1))
            for part in (slice(None, -2), slice(1, -1), slice(2, None))
        )
        fat[middle] &= ~((air[before] & dense[after]) | (air[after] & dense[before]))
    return fat


def paint_fat(volume: Volume, body: np.ndarray, into: tuple[np.ndarray, int]) -> None:
    """Fat of the body, (I, J, K) of any integer type, painted with a label into a layer."""
    layer, label = into
    columns = np.flatnonzero(body.any(axis=(1, 2)))
    rows = np.flatnonzero(body.any(axis=(0, 2)))
    if not len(columns):
        return
    place = (slice(max(0, columns[0] - 1), columns[-1] + 2), slice(max(0, rows[0] - 1), rows[-1] + 2))  # and its edge
    for k in range(body.shape[2]):
        inside = body[*place, k] > 0
        if inside.any():
            layer[*place, k][fat_of_slice(volume.hu[*place, k], inside)] = label


def find_table(coarse: np.ndarray, body: np.ndarray, beside: np.ndarray | None) -> np.ndarray | None:
    """The table on the coarse grid, (I, J, K) bool; None where it is on no side of the body, or on several.

    ``beside`` are limbs beside the body, which are no table.
    """
    from scipy import ndimage

    held = np.flatnonzero(body.any(axis=(0, 1)))
    if len(held) < TABLE_MIN_SLICES:
        return None
    part = slice(held[0], held[-1] + 1)
    shadow: np.ndarray = np.asarray(body.any(axis=2))
    around = ndimage.binary_dilation(shadow if beside is None else shadow | beside.any(axis=2), iterations=2)
    dense = coarse[:, :, part] > TABLE_HU
    if max(shadow[0].mean(), shadow[-1].mean(), shadow[:, 0].mean(), shadow[:, -1].mean()) > MAX_CUT_SHARE:
        return None
    steady = (dense.mean(axis=2) >= TABLE_SLICES_SHARE) & ~around
    shares = _shares(shadow, steady)
    side = max(shares, key=lambda name: shares[name])
    opposite = {"posterior": "anterior", "anterior": "posterior", "left": "right", "right": "left"}[side]
    if shares[side] < TABLE_WIDTH_SHARE or shares[opposite] > TABLE_OTHER_SHARE * shares[side]:
        return None
    if side in ("left", "right") and max(shares["anterior"], shares["posterior"]) > TABLE_OTHER_SHARE * shares[side]:
        return None
    table = np.zeros(body.shape, bool)
    table[:, :, part] = (_beyond(shadow, side) & steady)[:, :, None] & dense
    return table


def _shares(body: np.ndarray, steady: np.ndarray) -> dict[str, float]:
    """Share of the body's columns (rows) beyond which something steady lies, by the side on which it does."""
    width, depth = max(1, int(body.any(axis=1).sum())), max(1, int(body.any(axis=0).sum()))
    found = {}
    for side, axis, size in (("posterior", 1, width), ("anterior", 1, width), ("left", 0, depth), ("right", 0, depth)):
        found[side] = float((_beyond(body, side) & steady).any(axis=axis).sum()) / size
    return found


def _beyond(body: np.ndarray, side: str) -> np.ndarray:
    """Pixels beyond the body on one side of it, (I, J) bool: in its columns for front and back, in its rows for the
    sides."""
    axis = 0 if side in ("left", "right") else 1
    inside = body if side in ("posterior", "left") else np.flip(body, axis)
    before = ~np.logical_or.accumulate(inside, axis=axis) & body.any(axis=axis, keepdims=True)
    return before if side in ("posterior", "left") else np.flip(before, axis)

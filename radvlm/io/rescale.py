"""Slope and intercept, applied once and without full-size temporaries."""

from __future__ import annotations

import numpy as np

from radvlm.errors import FileFormatError

INT16 = np.iinfo(np.int16)


def slabs(array: np.ndarray) -> list[np.ndarray]:
    """Views of ``array`` along its slowest axis (the largest stride), about 4 million voxels each."""
    if array.ndim == 0 or array.size == 0:
        return [array]
    axis = int(np.argmax(np.abs(array.strides)))
    count = array.shape[axis]
    step = max(1, int(count * 4_000_000 / array.size))
    moved = np.moveaxis(array, axis, 0)
    return [moved[start : start + step] for start in range(0, count, step)]


def refuse_nonfinite(array: np.ndarray, name: str) -> None:
    """Raise FileFormatError with the count when a float array holds NaN or infinity."""
    if array.dtype.kind != "f":
        return
    bad = sum(slab.size - int(np.isfinite(slab).sum()) for slab in slabs(array))
    if bad:
        raise FileFormatError(
            "every voxel is a finite number",
            f"{name}: {bad} of {array.size} voxels are NaN or inf",
            "Replace them first (in a CT, with -1024 where there is no scan)",
        )


def value_range(array: np.ndarray) -> tuple[float, float]:
    """Smallest and largest value."""
    return array.min().item(), array.max().item()


def rescaled(array: np.ndarray, slope: float, intercept: float) -> np.ndarray:
    """``array * slope + intercept`` as int16 where every result is a whole number that fits, else float32.

    Memory order is kept. Whole-number steps are done in integers, others in float64 inside a small buffer.
    """
    if array.dtype.kind in "iub" and float(slope).is_integer() and float(intercept).is_integer():
        low, high = sorted(value * int(slope) + int(intercept) for value in value_range(array))
        if INT16.min <= low and high <= INT16.max:
            result = np.empty_like(array, dtype=np.int16)
            # Arithmetic modulo 2**64 is exact here, because the final value fits.
            np.multiply(array, np.int64(slope), out=result, dtype=np.int64, casting="unsafe")
            np.add(result, np.int64(intercept), out=result, dtype=np.int64, casting="unsafe")
            return result
    result = np.empty_like(array, dtype=np.float32)
    with np.errstate(over="ignore", invalid="ignore"):
        for source, target in zip(slabs(array), slabs(result), strict=True):
            target[...] = source.astype(np.float64) * slope + intercept
    return compact(result)


def compact(array: np.ndarray) -> np.ndarray:
    """The same values as int16 where all are whole numbers that fit, else float32; no copy where none is needed."""
    if array.dtype == np.int16:
        return array
    if array.dtype.kind in "iu":
        low, high = value_range(array)
        return array.astype(np.int16 if INT16.min <= low and high <= INT16.max else np.float32)
    if array.dtype.kind == "b":
        return array.astype(np.int16)
    for slab in slabs(array):
        if not ((slab >= INT16.min) & (slab <= INT16.max) & (slab == np.trunc(slab))).all():
            with np.errstate(over="ignore"):
                return array.astype(np.float32, copy=False)
    return array.astype(np.int16)

"""Whole numbers out of mask files, and overlapping masks packed into few label maps.

Each mask is put into the first layer where none of its voxels is taken (greedy packing), so organs share one
uint8 layer and only what truly overlaps (a segment in the liver, a lesion in the segment) opens another.
"""

from __future__ import annotations

import numpy as np

from radvlm.errors import InputError
from radvlm.types.geometry import Box, Geometry
from radvlm.types.provenance import Decision
from radvlm.types.segmentation import LabelPlace

MAX_LABEL = 65535
#: A float this close to a whole number is that number (files rescaled by a header slope).
WHOLE_TOLERANCE = 1e-3


def whole_labels(array: np.ndarray, name: str) -> tuple[np.ndarray, tuple[Decision, ...]]:
    """Labels as uint8 or uint16 in the same axis order, a view where the type allows.

    Raises InputError for NaN, negative, fractional or too large values and for types that are not numbers.
    """
    if array.ndim != 3:
        raise InputError(
            "a mask has three axes",
            f"{name}: shape {array.shape}",
            "Split channels; a one-hot mask becomes a {structure: mask} mapping",
        )
    if array.dtype == bool:
        return array.view(np.uint8), ()
    if array.dtype.kind not in "uif":
        raise InputError("labels are whole numbers", f"{name}: {array.dtype}", "Convert the mask to uint8")
    low, high = (array.min(), array.max()) if array.size else (0, 0)
    if not np.isfinite([float(low), float(high)]).all():
        raise InputError("labels are finite", f"{name}: NaN or infinity", "Write 0 where there is no label")
    if low < -WHOLE_TOLERANCE:
        raise InputError(
            "labels are 0 or more",
            f"{name}: {float(low):g}",
            "This looks like an image, not a mask" if low < -100 else "Write 0 for background",
        )
    if high > MAX_LABEL + WHOLE_TOLERANCE:
        raise InputError(f"labels are at most {MAX_LABEL}", f"{name}: {float(high):g}", "Renumber the labels")
    dtype = np.dtype(np.uint8 if high < 255.5 else np.uint16)
    if array.dtype.kind != "f":
        return array.astype(dtype, copy=False), ()
    return _from_float(array, dtype, name), (
        Decision("masks", f"Labels of {name} are stored as {array.dtype}; all are whole numbers and were taken so."),
    )


def _from_float(array: np.ndarray, dtype: np.dtype, name: str) -> np.ndarray:
    out = np.empty_like(array, dtype=dtype)
    axis = int(np.argmax(np.abs(array.strides)))
    moved, moved_out = np.moveaxis(array, axis, 0), np.moveaxis(out, axis, 0)
    for part, part_out in zip(moved, moved_out, strict=True):
        whole = np.rint(part)
        if np.abs(part - whole).max(initial=0.0) > WHOLE_TOLERANCE:
            odd = part[np.abs(part - whole) > WHOLE_TOLERANCE].flat[0]
            raise InputError(
                "a mask holds whole numbers",
                f"{name}: a value of {float(odd):.4g}",
                "Threshold a probability map first, such as (p > 0.5), and resample masks with nearest neighbor",
            )
        part_out[...] = whole
    return out


def count_labels(labels: np.ndarray) -> np.ndarray:
    """Voxels per label value, slice by slice."""
    size = 256 if labels.dtype == np.uint8 else int(labels.max(initial=0)) + 1
    total = np.zeros(size, np.int64)
    for part in np.moveaxis(labels, int(np.argmax(np.abs(labels.strides))), 0):
        total += np.bincount(part.ravel(order="K"), minlength=size)
    return total


class LayerPacker:
    """Builds the layers of a Segmentation one mask at a time; holds nothing but the layers themselves."""

    def __init__(self, geometry: Geometry) -> None:
        self.geometry = geometry
        self.layers: list[np.ndarray] = []
        self.places: dict[str, LabelPlace] = {}
        self._used: list[int] = []

    def add(self, structure: str, mask: np.ndarray, box: Box) -> None:
        """Add the voxels of a structure: ``mask`` is boolean, of the shape of ``box``, and not empty.

        A second mask of the same structure is united with the first.
        """
        if structure in self.places:
            mask, box = self._taken_out(structure, mask, box)
        for number, layer in enumerate(self.layers):
            window = layer[box.slices]
            if self._used[number] < 255 and not window[mask].any():
                break
        else:
            number = len(self.layers)
            self.layers.append(np.zeros(self.geometry.shape, np.uint8, order="F"))
            self._used.append(0)
            window = self.layers[number][box.slices]
        self._used[number] += 1
        window[mask] = self._used[number]
        self.places[structure] = LabelPlace(number, self._used[number])

    def _taken_out(self, structure: str, mask: np.ndarray, box: Box) -> tuple[np.ndarray, Box]:
        """The union of ``mask`` and what the structure already has, which is erased."""
        place = self.places.pop(structure)
        layer = self.layers[place.layer]
        whole = layer == place.label
        whole[box.slices] |= mask
        layer[layer == place.label] = 0
        used = [np.flatnonzero(whole.any(axis=tuple(a for a in range(3) if a != axis))) for axis in range(3)]
        union = Box(tuple(u[0] for u in used), tuple(u[-1] + 1 for u in used))
        return whole[union.slices], union

    def finished(self) -> tuple[np.ndarray, ...]:
        """The layers; one of zeros when no mask had a voxel."""
        return tuple(self.layers) or (np.zeros(self.geometry.shape, np.uint8, order="F"),)

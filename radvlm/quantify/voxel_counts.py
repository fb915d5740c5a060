"""One pass over a structure: voxels, centroid, exposed faces and HU.

The pass runs over the bounding box in slabs of about two million voxels in the order of memory, so the
working arrays stay small whatever the structure. A mask here is always ``array == value``, which serves a label
map and a map of components alike.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from radvlm.quantify.statistics import HuStatistics, HuTally

SLAB_VOXELS = 1 << 21


@dataclass(frozen=True)
class Tally:
    """What one pass found.

    Attributes:
        voxels: number of voxels.
        center: mean index along each axis, counted from the start of the box.
        faces: voxel faces between the mask and something else, per axis of their normal. Faces on the border of
            the box count, those on the border of the scan too.
        hu: statistics of the HU, None without a CT.
    """

    voxels: int
    center: tuple[float, float, float]
    faces: tuple[int, int, int]
    hu: HuStatistics | None


def sampling(spacing_mm: Sequence[float], sample_mm: float) -> tuple[tuple[slice, ...], tuple[float, float, float]]:
    """Slices that take voxels about ``sample_mm`` apart, never farther, and how far apart (mm) these then are."""
    steps = [max(1, int(sample_mm / s)) for s in spacing_mm]
    every = tuple(slice(None, None, step) for step in steps)
    x, y, z = (s * step for s, step in zip(spacing_mm, steps, strict=True))
    return every, (x, y, z)


def memory_order(array: np.ndarray) -> tuple[int, int, int]:
    """Axes from the slowest to the fastest in memory."""
    return tuple(sorted(range(3), key=lambda a: -abs(array.strides[a])))  # type: ignore[return-value]


def slabs(array: np.ndarray, order: tuple[int, int, int]) -> Iterator[slice]:
    """Ranges along axis ``order[0]`` that hold about SLAB_VOXELS each."""
    length = array.shape[order[0]]
    step = max(1, SLAB_VOXELS * length // max(1, array.size))
    for start in range(0, length, step):
        yield slice(start, min(start + step, length))


def tally(array: np.ndarray, value: int, hu: np.ndarray | None) -> Tally:
    """Count the voxels of ``array == value`` (I, J, K), a tight box; ``hu`` has the same shape or is None."""
    order = memory_order(array)
    view = array.transpose(order)
    hu_view = None if hu is None else hu.transpose(order)
    profiles = [np.zeros(n, dtype=np.int64) for n in view.shape]
    faces = [0, 0, 0]
    values = HuTally()
    last = np.zeros(view.shape[1:], dtype=bool)
    for part in slabs(array, order):
        mask = view[part] == value
        profiles[0][part] = [np.count_nonzero(plane) for plane in mask]
        flat = mask.sum(axis=0, dtype=np.int32)
        profiles[1] += flat.sum(axis=1)
        profiles[2] += flat.sum(axis=0)
        faces[0] += int(np.count_nonzero(mask[0] != last))
        faces[0] += int(np.count_nonzero(mask[1:] != mask[:-1]))
        faces[1] += int(np.count_nonzero(mask[:, 1:] != mask[:, :-1]))
        faces[1] += int(np.count_nonzero(mask[:, 0])) + int(np.count_nonzero(mask[:, -1]))
        faces[2] += int(np.count_nonzero(mask[:, :, 1:] != mask[:, :, :-1]))
        faces[2] += int(np.count_nonzero(mask[:, :, 0])) + int(np.count_nonzero(mask[:, :, -1]))
        last = mask[-1].copy()
        if hu_view is not None:
            values.add(hu_view[part][mask])
    faces[0] += int(np.count_nonzero(last))
    voxels = int(profiles[0].sum())
    center = [0.0, 0.0, 0.0]
    ordered_faces = [0, 0, 0]
    for position, axis in enumerate(order):
        profile = profiles[position]
        center[axis] = float((profile * np.arange(len(profile))).sum() / max(voxels, 1))
        ordered_faces[axis] = faces[position]
    return Tally(voxels, tuple(center), tuple(ordered_faces), values.result())  # type: ignore[arg-type]


def volume_uncertainty_ml(faces: tuple[int, int, int], voxel_ml: float) -> float:
    """Change of volume in mL when the whole outline moves by half a voxel.

    The faces of a voxelized surface add up to 3/2 of the area of a smooth one (mean of |cos| over directions), so
    half a voxel times two thirds of the faces, i.e. a third of a voxel per exposed face.
    """
    return sum(faces) * voxel_ml / 3

"""Label maps onto another grid by nearest neighbor, both in RAS+ order.

When the axes of the two grids are parallel (nearly always), resampling is three index lookups and never an
interpolation; a rotated grid goes through ``scipy.ndimage.affine_transform`` on the box that holds labels only.
Halfway positions round toward the higher index, with a small allowance for float noise, so that the result does
not depend on how a file was stored.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from radvlm.types.geometry import Box, Geometry

#: Grids count as parallel when their axes drift apart by less than this many source voxels across the target.
PARALLEL_DRIFT = 0.05
_HALF = 0.5 + 1e-4
#: Masks of which so many neighboring planes are the same were made on voxels 1.3 times as long.
COARSE_SHARE = 0.25


def onto_grid(labels: np.ndarray, source: Geometry, target: Geometry) -> np.ndarray:
    """``labels`` (source.shape) at the voxel centers of ``target``; 0 where the source has no voxel."""
    out = np.zeros(target.shape, labels.dtype, order="F")
    placed = onto_box(labels, source, target)
    if placed is not None:
        part, box = placed
        out[box.slices] = part
    return out


def onto_box(labels: np.ndarray, source: Geometry, target: Geometry) -> tuple[np.ndarray, Box] | None:
    """Like ``onto_grid``, but only the box of ``target`` that the labels can reach; None when they reach nothing."""
    box = label_box(labels)
    window = None if box is None else _window(source.cropped(box), target)
    if box is None or window is None:
        return None
    labels, source, target = labels[box.slices], source.cropped(box), target.cropped(window)
    out = np.zeros(target.shape, labels.dtype, order="F")
    lookup = _axis_lookup(source, target)
    if lookup is None:
        _resample(labels, source, target, out)
        return out, window
    inside = [np.flatnonzero((index >= 0) & (index < n)) for index, n in zip(lookup, source.shape, strict=True)]
    if all(part.size for part in inside):
        picks = [_steps(index[part[0] : part[-1] + 1]) for index, part in zip(lookup, inside, strict=True)]
        reached = tuple(slice(int(part[0]), int(part[-1]) + 1) for part in inside)
        out[reached] = labels[picks[0]][:, picks[1]][:, :, picks[2]]
    return out, window


def coverage(target: Geometry, source: Geometry) -> float:
    """Share (0 to 1) of ``target``'s voxels that ``source`` has a voxel for."""
    lookup = _axis_lookup(source, target)
    if lookup is None:
        return target.overlap_fraction(source)
    shares = [((index >= 0) & (index < n)).mean() for index, n in zip(lookup, source.shape, strict=True)]
    return float(np.prod(shares))


def shared_coverage(target: Geometry, sources: Sequence[Geometry]) -> float:
    """Share (0 to 1) of ``target`` that any of ``sources`` has a voxel for; of several it is sampled (0.03)."""
    if len(sources) == 1:
        return coverage(target, sources[0])
    samples = np.stack(np.meshgrid(*[np.linspace(0, n - 1, min(n, 33)) for n in target.shape], indexing="ij"), -1)
    places = target.to_world(samples.reshape(-1, 3))
    held = np.zeros(len(places), bool)
    for source in sources:
        index = source.to_index(places)
        held |= ((index >= -_HALF) & (index <= np.array(source.shape) - 1 + _HALF)).all(axis=1)
    return float(held.mean())


def covered_box(target: Geometry, source: Geometry) -> Box | None:
    """The box of ``target`` that ``source`` has voxels for; None for all of it, none of it, or where it is no box."""
    lookup = _axis_lookup(source, target)
    if lookup is None:
        return None
    inside = [np.flatnonzero((index >= 0) & (index < n)) for index, n in zip(lookup, source.shape, strict=True)]
    if not all(part.size for part in inside) or all(len(p) == n for p, n in zip(inside, target.shape, strict=True)):
        return None
    return Box(tuple(int(p[0]) for p in inside), tuple(int(p[-1]) + 1 for p in inside))  # type: ignore[arg-type]


def label_box(labels: np.ndarray) -> Box | None:
    """Tight box of the non-zero voxels, or None."""
    flat: np.ndarray = np.any(labels, axis=2)
    rows, columns = np.flatnonzero(np.any(flat, axis=1)), np.flatnonzero(np.any(flat, axis=0))
    if rows.size == 0:
        return None
    window = labels[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    depth = np.flatnonzero(window.any(axis=(0, 1)))
    return Box((rows[0], columns[0], depth[0]), (rows[-1] + 1, columns[-1] + 1, depth[-1] + 1))


def is_coarse(labels: np.ndarray) -> bool:
    """Whether a label map was made on larger voxels: neighboring planes are often the same along some axis."""
    box = label_box(labels)
    if box is None:
        return False
    for axis in range(3):
        planes = np.moveaxis(labels[box.slices], axis, 0)
        if len(planes) > 3 and float((planes[1:] == planes[:-1]).all(axis=(1, 2)).mean()) >= COARSE_SHARE:
            return True
    return False


def _axis_lookup(source: Geometry, target: Geometry) -> list[np.ndarray] | None:
    """For each axis the source index of every target index, or None when the axes are not parallel."""
    step = np.linalg.inv(source.affine) @ target.affine
    lengths = np.array(target.shape) - 1
    drift = np.abs(step[:3, :3] * lengths)
    np.fill_diagonal(drift, 0.0)
    if drift.sum(axis=1).max() > PARALLEL_DRIFT:
        return None
    middle = step[:3, :3] @ (lengths / 2) + step[:3, 3]
    return [
        np.floor(middle[a] + step[a, a] * (np.arange(n) - lengths[a] / 2) + _HALF).astype(np.intp)
        for a, n in enumerate(target.shape)
    ]


def _steps(index: np.ndarray) -> np.ndarray | slice:
    """A slice where the index runs without gaps or repeats, which numpy copies many times faster."""
    if index.size and (np.diff(index) == 1).all():
        return slice(int(index[0]), int(index[-1]) + 1)
    return index


def _window(source: Geometry, target: Geometry) -> Box | None:
    """The box of target voxels that can touch ``source``."""
    corners = target.to_index(source.corners_mm)
    low = np.maximum(np.floor(corners.min(axis=0)).astype(int) - 1, 0)
    high = np.minimum(np.ceil(corners.max(axis=0)).astype(int) + 2, target.shape)
    return None if (high <= low).any() else Box(tuple(low), tuple(high))


def _resample(labels: np.ndarray, source: Geometry, target: Geometry, out: np.ndarray) -> None:
    from scipy.ndimage import affine_transform

    step = np.linalg.inv(source.affine) @ target.affine
    padded = np.pad(labels, 1)  # so that "nearest" reaches half a voxel beyond the outermost centers
    affine_transform(
        padded,
        step[:3, :3],
        offset=step[:3, 3] + 1 + (_HALF - 0.5),
        output_shape=target.shape,
        output=out,
        order=0,
        mode="constant",
        cval=0,
    )

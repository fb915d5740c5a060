"""Largest distance between two points of a mask's surface in 3D, edge to edge.

The surface points are the midpoints of voxel faces, the 3D form of the outline in ``outline.py``. One
voxel is then an octahedron, so a point, a line and a plane of voxels need no special case.
"""

from __future__ import annotations

import contextlib

import numpy as np

_ROWS_AT_ONCE = 1024


def diameter_3d(
    mask: np.ndarray, spacing_mm: tuple[float, float, float]
) -> tuple[float, tuple[float, float, float], tuple[float, float, float]]:
    """Largest 3D diameter of a boolean (I, J, K) mask with a voxel: mm and both ends in fractional indices."""
    from scipy.spatial import ConvexHull, QhullError

    spacing = np.array(spacing_mm)
    centers = corner_voxels(mask).astype(float)
    if len(centers) > 50:
        # hull(centers + octahedron) = hull(centers) + octahedron, so most voxels can go first; Qhull refuses voxels
        # that lie in one plane or line, but never the face midpoints below, which span all three axes.
        with contextlib.suppress(QhullError):
            centers = centers[ConvexHull(centers * spacing).vertices]
    steps = np.concatenate([np.eye(3), -np.eye(3)]) * 0.5
    points = (centers[:, None, :] + steps[None]).reshape(-1, 3)
    points = points[ConvexHull(points * spacing).vertices]
    points = points[np.lexsort(points.T[::-1])]
    best, ends = -1.0, (0, 0)
    mm = (points - points.mean(axis=0)) * spacing
    held = _outermost(mm)
    points, mm = points[held], mm[held]
    squares = (mm**2).sum(axis=1)
    for start in range(0, len(mm), _ROWS_AT_ONCE):
        rows = mm[start : start + _ROWS_AT_ONCE]
        apart = squares[start : start + _ROWS_AT_ONCE, None] + squares[None] - 2 * (rows @ mm.T)
        a, b = divmod(int(apart.argmax()), len(mm))
        exact = float(((mm[start + a] - mm[b]) ** 2).sum())  # the sum above is rounded
        if exact > best + 1e-9:
            best, ends = exact, (start + a, b)
    a_point, b_point = points[ends[0]], points[ends[1]]
    return float(np.sqrt(best)), tuple(map(float, a_point)), tuple(map(float, b_point))  # type: ignore[return-value]


def _outermost(points_mm: np.ndarray) -> np.ndarray:
    """(n,) which points may be an end of the largest distance: exact, since no distance exceeds the sum of two radii.

    The radii are those about the middle of a long chord, found by walking to the farthest point a few times.
    """
    at, length, middle = points_mm.mean(axis=0), 0.0, points_mm.mean(axis=0)
    for _ in range(4):
        away = ((points_mm - at) ** 2).sum(axis=1)
        far = points_mm[int(away.argmax())]
        step = float(np.linalg.norm(far - at))
        if step > length:
            length, middle = step, (far + at) / 2
        at = far
    radii = np.sqrt(((points_mm - middle) ** 2).sum(axis=1))
    return np.asarray(radii + radii.max() >= length - 1e-6)


def corner_voxels(mask: np.ndarray) -> np.ndarray:
    """(n, 3) voxels that are first or last in their line along every axis; every hull vertex is one of them."""
    columns = np.argwhere(mask.any(axis=2))
    lines = mask[columns[:, 0], columns[:, 1]]  # (columns, K): first and last of each at once, the bulk goes here
    first, last = lines.argmax(axis=1), mask.shape[2] - 1 - lines[:, ::-1].argmax(axis=1)
    corners = np.concatenate([np.column_stack([columns, first]), np.column_stack([columns, last])[first != last]])
    for axis in range(2):
        others = [a for a in range(3) if a != axis]
        line = corners[:, others[0]] * mask.shape[others[1]] + corners[:, others[1]]
        order = np.lexsort((corners[:, axis], line))
        line = line[order]
        new = np.r_[True, line[1:] != line[:-1]]
        keep = new | np.r_[new[1:], True]
        corners = corners[order[keep]]
    return corners

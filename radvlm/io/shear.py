"""Images whose axes are not perpendicular, as converters write a CT that was taken with a tilted gantry.

TotalSegmentator's own data set holds over a hundred. They are put on a perpendicular grid as a tilted DICOM series is
(``radvlm.io.dicom_grid``): each slice is moved within its plane, a scan by linear interpolation, masks by whole voxels.
"""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np

from radvlm.errors import GridError
from radvlm.io.dicom_grid import shifted
from radvlm.io.hounsfield import LOWEST_HU
from radvlm.io.raw import RawImage
from radvlm.types.geometry import PERPENDICULAR_COSINE
from radvlm.types.provenance import Decision

#: A slice plane that leans further than this is no gantry tilt.
MAX_TILT_DEGREES = 45
#: Moving the slices may not enlarge them by more than this.
MAX_GROWTH = 4


def perpendicular(raw: RawImage, *, is_scan: bool) -> RawImage:
    """The image on a perpendicular grid, recorded; the same object where its axes are perpendicular already.

    Raises GridError when no two axes are perpendicular, and for a tilt beyond 45 degrees.
    """
    if np.shape(raw.affine) != (4, 4):
        return raw  # refused with the grid
    matrix = np.asarray(raw.affine, dtype=np.float64)[:3, :3]
    spacing = np.linalg.norm(matrix, axis=0)
    if raw.array.ndim != 3 or not np.isfinite(matrix).all() or spacing.min() < 1e-6:
        return raw
    directions = matrix / spacing
    cosines = np.abs(directions.T @ directions - np.eye(3))
    if cosines.max() <= PERPENDICULAR_COSINE or abs(np.linalg.det(directions)) < 1e-3:
        return raw
    planes = [
        axis
        for axis in range(3)
        if cosines[tuple(other for other in range(3) if other != axis)] <= PERPENDICULAR_COSINE
    ]
    if not planes:
        raise GridError(
            "at least two axes of a grid are perpendicular",
            f"angles that are off by up to {math.degrees(math.asin(min(1.0, cosines.max()))):.1f} degrees in each pair",
            "Resample the image to a perpendicular grid first",
        )
    across = max(planes, key=lambda axis: (round(spacing[axis], 3), axis))
    return _straightened(raw, across, is_scan)


def _straightened(raw: RawImage, across: int, is_scan: bool) -> RawImage:
    """Slices stay as they are; each is moved within its plane so that they lie over each other along their normal."""
    first, second = (axis for axis in range(3) if axis != across)
    affine = np.array(raw.affine, dtype=np.float64)
    plane = affine[:3, [first, second]]
    normal = np.cross(plane[:, 0], plane[:, 1])
    normal *= np.sign(normal @ affine[:3, across]) / np.linalg.norm(normal)
    step = float(normal @ affine[:3, across])
    drift = affine[:3, across] - normal * step
    angle = math.degrees(math.atan2(float(np.linalg.norm(drift)), step))
    if angle > MAX_TILT_DEGREES:
        raise GridError(
            f"slices lean by at most {MAX_TILT_DEGREES} degrees",
            f"a grid sheared by {angle:.0f} degrees",
            "Resample the image to a perpendicular grid first",
        )
    count = raw.array.shape[across]
    per_slice = np.linalg.lstsq(plane, drift, rcond=None)[0]
    moves = np.outer(np.arange(count), per_slice)  # (slices, 2) in voxels of the first and the second axis
    low, high = np.floor(moves.min(axis=0) + 1e-6), np.ceil(moves.max(axis=0) - 1e-6)
    extra = (int(high[0] - low[0]), int(high[1] - low[1]))
    size = (raw.array.shape[first], raw.array.shape[second])
    if (size[0] + extra[0]) * (size[1] + extra[1]) > MAX_GROWTH * size[0] * size[1]:
        raise GridError(
            "slices of a scan lie over each other",
            f"slices of {size[0]} x {size[1]} voxels that are moved by up to {extra[0]} and {extra[1]} voxels",
            "Resample the image to a perpendicular grid first",
        )
    slices = np.moveaxis(raw.array, across, 0)
    out = np.empty((count, size[1] + extra[1], size[0] + extra[0]), raw.array.dtype).transpose(0, 2, 1)
    for number, image in enumerate(slices):
        along_first, along_second = moves[number] - low
        if is_scan:
            moved = shifted(image, along_first, along_second, extra, LOWEST_HU)
            out[number] = np.rint(moved) if out.dtype.kind in "iu" else moved
        else:
            out[number] = 0
            top, left = round(along_first), round(along_second)
            out[number, top : top + size[0], left : left + size[1]] = image
    affine[:3, 3] += plane @ low
    affine[:3, across] = normal * step
    reach = float(np.linalg.norm(drift)) * (count - 1)
    how = "linear interpolation" if is_scan else "whole voxels"
    what = (
        f"Voxel axes are sheared by {angle:.1f} degrees, as after a gantry tilt: slices shifted in their plane by up "
        f"to {reach:.1f} mm, to a perpendicular grid, by {how}."
    )
    return replace(
        raw,
        array=np.moveaxis(out, 0, across),
        affine=affine,
        decisions=(*raw.decisions, Decision("grid", what, warning=is_scan)),
    )

"""How far round a vessel a tumor touches it: the angle about the center line, the length, or the distance.

Nothing is dilated. The two masks are brought to one fine grid by shape, points are put on the wall of the vessel round
its center line, and each is asked for its distance to the tumor. The angle within a distance t grows linearly with t
where a tumor turns away from the wall, and does not grow where it ends abruptly; so the angle is read for several t and
extrapolated to t = 0. That makes it unbiased for both, where any single t > 0 is too large.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from radvlm.quantify.centerline import (
    RAYS,
    Branch,
    along_line,
    center_lines,
    local_line,
    ray_directions,
    smoothed,
    to_centroid,
    wall,
)
from radvlm.types.geometry import Box

#: Farthest distance that is stated; beyond it a tumor is simply "not near".
REACH_MM = 20.0
#: The fine grid on which angles are read is at least and at most this fine (mm).
FINEST_MM, COARSEST_MM = 0.5, 1.0
#: Distances at which the angle is read, in steps of the fine grid.
_READ_AT = (1.0, 1.25, 1.5, 1.75, 2.0, 2.25, 2.5, 2.75, 3.0)
#: Angles are averaged over this length of vessel (mm), or over half of a shorter contact.
WINDOW_MM = 5.0
#: A wall that comes this near to the tumor (steps of the fine grid) touches it.
_TOUCHES = 0.75
#: A ray this many times as long as the median of its section runs into a branch.
_LONG_RAY = 2.0
_MARGIN_MM = 12.0
#: Distances within a slice count up to this share of the slice spacing.
_DEEP = 0.6
#: Width of the cleft between two masks that interpolation alone can open, in the largest voxel side.
_CLEFT = 0.15
#: What the grid takes from an arc at each end, in steps of the fine grid (measured on arcs of known angle).
_LOST = 0.15
_STEP_MM = 1.0
#: Smallest contact that has an angle (degrees): less is a corner of a voxel.
MIN_ANGLE_DEGREES = 5.0
NO_LINE = "the vessel beside the tumor is too short or too narrow for a center line"


@dataclass(frozen=True)
class Contact:
    """Contact of one lesion with one vessel or branch.

    Attributes:
        touches: whether they touch.
        distance_mm: smallest distance of the two surfaces; 0 when they touch, None when beyond ``REACH_MM``.
        uncertainty_mm: size of a voxel along that distance; None with it.
        angle_degrees: largest angle about the center line, None when they do not touch or there is no center line.
        length_mm: length of the center line along which they touch; None as above.
        points_mm: the nearest points of vessel and lesion in RAS+ mm, () when not near.
        reason: why there is no angle although they touch.
    """

    touches: bool
    distance_mm: float | None = None
    uncertainty_mm: float | None = None
    angle_degrees: float | None = None
    length_mm: float | None = None
    reason: str = ""


def surface_distance(
    lesion: np.ndarray, vessel: np.ndarray, spacing_mm: tuple[float, float, float]
) -> tuple[float, float] | None:
    """Smallest distance (mm) of the surfaces of two masks on one grid, edge to edge, and the voxel size along it.

    None when they are farther apart than ``REACH_MM`` or one of them is empty; 0 where they touch or overlap.
    """
    from scipy.spatial import cKDTree

    spacing = np.array(spacing_mm)
    a, b = _rim(lesion), _rim(vessel)
    if not (a.size and b.size):
        return None
    distances, nearest = cKDTree(b * spacing).query(a * spacing, distance_upper_bound=REACH_MM + 2 * spacing.max())
    at = int(distances.argmin())
    if not np.isfinite(distances[at]):
        return None
    steps = np.abs(a[at] - b[nearest[at]])
    if not steps.any():
        return 0.0, float(spacing.min())
    direction = steps * spacing / np.linalg.norm(steps * spacing)
    voxel = float(np.linalg.norm(direction * spacing))
    # every pair of voxels as near as this one, edge to edge: a gap of n voxels is n voxel sizes
    gap = float(np.linalg.norm(np.maximum(steps - 1, 0) * spacing))
    return (gap, voxel) if gap <= REACH_MM else None


def _rim(mask: np.ndarray) -> np.ndarray:
    """(n, 3) voxels of a mask with a face neighbor outside it."""
    from scipy.ndimage import binary_erosion

    return np.argwhere(mask & ~binary_erosion(mask))


def measure_contact(lesion: np.ndarray, vessel: np.ndarray, spacing_mm: tuple[float, float, float]) -> Contact:
    """Contact of a lesion with a vessel, both boolean (I, J, K) on one grid; the vessel may branch.

    Voxels of both masks count as lesion where they overlap. The angle is the largest over the branches.
    """
    near = near_box(lesion, spacing_mm)
    if near is None or not vessel[near.slices].any():
        return Contact(False)
    lesion, vessel = lesion[near.slices], vessel[near.slices]
    apart = surface_distance(lesion, vessel, spacing_mm)
    if apart is None:
        return Contact(False)
    if apart[0] > 1.5 * max(spacing_mm):
        return Contact(False, *apart)
    spacing = np.array(spacing_mm)
    tight = _touching_box(lesion, vessel, spacing)
    fine_lesion, fine_vessel, step = finer(lesion[tight.slices], vessel[tight.slices], spacing)
    lines = center_lines(smoothed(fine_vessel), np.full(3, step), min_branch_mm=6.0)
    profiles = [p for p in (_profile(branch, fine_vessel, fine_lesion, step) for branch in lines) if p is not None]
    if not profiles:
        touching = apart[0] <= 0
        return Contact(touching, 0.0 if touching else apart[0], apart[1], reason=NO_LINE if touching else "")
    return _judged(profiles, step, apart)


def near_box(lesion: np.ndarray, spacing_mm: tuple[float, float, float]) -> Box | None:
    """The box within reach of a lesion, None when it has no voxel."""
    from scipy.ndimage import find_objects

    found = find_objects(lesion.astype(np.uint8))
    if not found or found[0] is None:
        return None
    return Box.from_slices(found[0]).grown([int(np.ceil((REACH_MM + 2 * s) / s)) for s in spacing_mm], lesion.shape)


def _touching_box(lesion: np.ndarray, vessel: np.ndarray, spacing: np.ndarray) -> Box:
    """The box around the part of the vessel near the lesion, with room for the direction of the vessel."""
    from scipy.ndimage import find_objects

    box = Box.from_slices(find_objects(lesion.astype(np.uint8))[0])
    margin = [int(np.ceil(_MARGIN_MM / s)) for s in spacing]
    around = box.grown(margin, lesion.shape)
    held = find_objects(vessel[around.slices].astype(np.uint8))
    if not held or held[0] is None:
        return around
    inner = Box.from_slices(held[0])
    part = Box(
        tuple(a + b for a, b in zip(inner.start, around.start, strict=True)),  # type: ignore[arg-type]
        tuple(a + b for a, b in zip(inner.stop, around.start, strict=True)),  # type: ignore[arg-type]
    )
    return part.grown([int(np.ceil(4.0 / s)) + 1 for s in spacing], lesion.shape)


# -- one fine grid ----------------------------------------------------------------------------------------------------


def finer(lesion: np.ndarray, vessel: np.ndarray, spacing: np.ndarray) -> tuple[np.ndarray, np.ndarray, float]:
    """Both masks on a cubic grid, by interpolating their signed distances; with the step of that grid in mm.

    The first voxel keeps its center. Signed distances are taken within the slices across the coarsest axis, so that a
    slanting vessel keeps its course between slices.
    """
    step = float(np.clip(spacing.min(), FINEST_MM, COARSEST_MM))
    vessel = vessel & ~lesion
    own, tube, both = (_resampled(m, spacing, step) for m in (lesion, vessel, lesion | vessel))
    # each mask alone would leave a cleft between the two where slices are thick; what both together fill is tumor
    filled = (own > 0) | ((both > 0) & (own > -_CLEFT * float(spacing.max())))
    return filled & ~(tube > 0), tube > 0, step


def _resampled(mask: np.ndarray, spacing: np.ndarray, step: float) -> np.ndarray:
    from scipy.ndimage import affine_transform

    if np.allclose(spacing, step, rtol=1e-3):
        return np.where(mask, 1.0, -1.0)
    field = signed_distance(mask, spacing)
    counts = np.maximum(1, np.floor((np.array(mask.shape) - 1) * spacing / step).astype(int) + 1)
    return np.asarray(affine_transform(field, step / spacing, output_shape=tuple(counts), order=1, mode="nearest"))


def signed_distance(mask: np.ndarray, spacing: np.ndarray) -> np.ndarray:
    """float32 (I, J, K): mm to the outline, positive inside; within slices where one axis is much coarser."""
    from scipy.ndimage import distance_transform_edt

    axis = int(spacing.argmax())
    planar = spacing[axis] > 1.4 * np.sort(spacing)[1]
    if not planar:
        return _signed(mask, spacing)
    field = np.empty(mask.shape, dtype=np.float32)
    others = np.delete(spacing, axis)
    far = _DEEP * float(spacing[axis])  # beyond it the outline lies half way between a full and an empty place
    slices = np.moveaxis(mask, axis, 0)
    out = np.moveaxis(field, axis, 0)
    for n, plane in enumerate(slices):
        if plane.any() and not plane.all():
            signed = np.where(
                plane, distance_transform_edt(plane, sampling=others), -distance_transform_edt(~plane, sampling=others)
            ) - _half(plane, others)
            out[n] = np.clip(signed, -far, far)
        else:
            out[n] = far if plane.all() and plane.size else -far
    return field


def _half(mask: np.ndarray, spacing: np.ndarray) -> np.ndarray:
    """Half a voxel toward the outline: distances run from center to center."""
    return np.where(mask, 0.5, -0.5) * float(spacing.min())


def _signed(mask: np.ndarray, spacing: np.ndarray) -> np.ndarray:
    from scipy.ndimage import distance_transform_edt

    if not mask.any() or mask.all():
        return np.full(mask.shape, 1e3 if mask.any() else -1e3, dtype=np.float32)
    inside, outside = (distance_transform_edt(m, sampling=spacing) for m in (mask, ~mask))
    return np.asarray(np.where(mask, inside, -outside) - _half(mask, spacing), dtype=np.float32)


# -- angles -----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class Profile:
    """Along one branch: (sections, readings) angle in degrees within each distance of ``_READ_AT``, and the smallest
    distance (sections,) of the wall to the lesion, in steps of the grid."""

    angles: np.ndarray
    nearest: np.ndarray
    step_mm: float


def _profile(branch: Branch, vessel: np.ndarray, lesion: np.ndarray, step: float) -> Profile | None:
    from scipy.ndimage import map_coordinates

    if len(branch.points_mm) < 3 or branch.radius_mm.max() < step:
        return None
    spacing = np.full(3, step)
    field = smoothed(vessel)
    radius = np.maximum(np.median(branch.radius_mm), step)
    reach = 2.5 * float(branch.radius_mm.max()) + 4.0
    line = _extended(branch.points_mm, float(radius), step * (np.array(vessel.shape) - 1))
    radii = np.full(len(line), radius)
    for turn in range(3):
        along = along_line(line)
        _, tangents = local_line(line, along, along, np.full(len(line), np.clip(1.2 * radius, 3.0, 10.0)))
        rays = ray_directions(tangents)
        lengths = wall(field, spacing, line, rays, reach)
        if turn < 2:
            bounded = np.minimum(lengths, _LONG_RAY * np.median(lengths, axis=1, keepdims=True))
            inside = np.asarray((lengths > 0).all(axis=1))
            line = line + np.where(inside[:, None], to_centroid(bounded, rays, radii), 0.0)
            line = local_line(line, along, along, np.full(len(line), 1.5))[0]
    middle = np.median(lengths, axis=1, keepdims=True)
    valid = (lengths > 0) & (lengths <= _LONG_RAY * middle) & (lengths < reach)
    walls = line[:, None, :] + lengths[:, :, None] * rays
    away = -_signed(lesion, spacing)
    distance = map_coordinates(away, (walls / step).transpose(2, 0, 1), order=1, mode="nearest") / step
    distance = np.where(valid, distance, np.inf)
    usable = (lengths > 0).mean(axis=1) > 0.5
    if not usable.any():
        return None
    distance = distance[usable]
    angles = np.stack([(distance <= t).mean(axis=1) * 360.0 for t in _READ_AT], axis=1)
    spread = float(np.linalg.norm(np.diff(line, axis=0), axis=1).mean())
    return Profile(angles, distance.min(axis=1), spread)


def _extended(points: np.ndarray, radius: float, corner: np.ndarray) -> np.ndarray:
    """The line with one radius more at each end, because a path ends one radius before the end of its vessel."""
    count = max(1, round(radius / _STEP_MM))
    reach = np.arange(1, count + 1)[:, None] * _STEP_MM
    take = min(len(points), 6)
    first = points[0] - points[take - 1]
    last = points[-1] - points[-take]
    unit = [v / max(np.linalg.norm(v), 1e-9) for v in (first, last)]
    line = np.concatenate([(points[0] + reach * unit[0])[::-1], points, points[-1] + reach * unit[1]])
    inside = ((line >= 0) & (line <= corner)).all(axis=1)
    return np.asarray(line[inside])


def _judged(profiles: list[Profile], step: float, apart: tuple[float, float]) -> Contact:
    best_angle, length, nearest = 0.0, 0.0, np.inf
    for profile in profiles:
        touching = int((profile.nearest <= 1).sum())
        width = max(1, min(round(WINDOW_MM / max(profile.step_mm, 1e-6)), touching // 2))
        at_zero = _extrapolated(_running_mean(profile.angles, width))
        best_angle = max(best_angle, float(at_zero.max()))
        nearest = min(nearest, float(profile.nearest.min()))
        reading = [float((profile.nearest <= t).sum()) * profile.step_mm for t in _READ_AT]
        length = max(length, float(_extrapolated(np.array([reading]))[0]))
    if nearest > _TOUCHES or best_angle < MIN_ANGLE_DEGREES:
        gap = max(apart[0], nearest * step) if np.isfinite(nearest) else apart[0]
        return Contact(False, gap, apart[1])
    return Contact(True, 0.0, apart[1], min(best_angle, 360.0), max(length, step))


def _running_mean(values: np.ndarray, width: int) -> np.ndarray:
    """(n, m) mean over ``width`` neighboring rows; the mean of all where there are fewer."""
    if len(values) <= width:
        return np.asarray(values.mean(axis=0, keepdims=True))
    total = np.concatenate([np.zeros((1, values.shape[1])), np.cumsum(values, axis=0)])
    return np.asarray((total[width:] - total[:-width]) / width)


def _extrapolated(values: np.ndarray) -> np.ndarray:
    """(n, readings) -> (n,) value at distance zero: a straight line through the readings, never above the first."""
    at = np.array(_READ_AT)
    centered = at - at.mean()
    slope = (values * centered).sum(axis=1) / (centered**2).sum()
    return np.clip(values.mean(axis=1) - slope * (at.mean() - _LOST), 0.0, values[:, 0])


__all__ = ["RAYS", "REACH_MM", "Contact", "finer", "measure_contact", "near_box", "signed_distance", "surface_distance"]

"""The largest ball inside a vessel, where it is wider than every round section across the center line.

A saccular aneurysm bulges from one side: the sections through it are not round, or the center line passes it by, so
that the widest round section is that of the vessel beside it. The largest ball that fits into the mask is no wider than
the vessel anywhere, whatever its shape, and tells the sac.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from radvlm.quantify.centerline import smoothed, wall
from radvlm.quantify.vessel import RAY_STEP_MM, Section
from radvlm.types.geometry import Box
from radvlm.types.measurement import VESSEL_BALL, Measurement
from radvlm.types.segmentation import Segmentation

#: A ball is told in place of the widest round section when it is wider by this share and by half a voxel. In a tube it
#: is a tenth smaller than the chord; at a fork or at the sinuses of the root it is a little wider than beside it.
WIDER = 1.1
#: Where it is so much wider than the vessel usually is (median section), it is a sac, and any wider ball is told.
SAC = 1.4
#: Distance of the voxels among which balls are looked for first (mm).
_COARSE_MM = 3.0
#: How many of the deepest voxels are tried as the center of the ball, and rays from each.
_CENTERS, _RAYS = 16, 240
#: Share (percent) of the rays that may be shorter than the radius: a step of the voxels makes no ball smaller.
_SHORTER = 5.0


@dataclass(frozen=True, eq=False)
class Depths:
    """Some voxels of a vessel: index in the volume (n, 3), distance to the wall (n,) in mm, number of the section that
    is nearest (n,); ``usual_mm`` is the median diameter of all sections."""

    voxels: np.ndarray
    depth_mm: np.ndarray
    nearest: np.ndarray
    usual_mm: float = 0.0


def vessel_depths(segmentation: Segmentation, name: str, sections: Sequence[Section]) -> Depths:
    """How deep the voxels of a vessel lie, on a grid of about 3 mm; what is outside the scan counts as outside it."""
    from scipy.ndimage import distance_transform_edt
    from scipy.spatial import cKDTree

    geometry = segmentation.geometry
    spacing = np.array(geometry.spacing_mm)
    every = np.maximum(np.round(_COARSE_MM / spacing).astype(int), 1)
    box = segmentation.boxes[name]
    coarse = segmentation.mask_in_box(name, box)[tuple(slice(e // 2, None, e) for e in every)]
    where = np.argwhere(coarse)
    if not len(where) or not sections:
        return Depths(np.empty((0, 3), int), np.empty(0), np.empty(0, int))
    depth = distance_transform_edt(np.pad(coarse, 1), sampling=spacing * every)[tuple((where + 1).T)]
    voxels = where * every + every // 2 + np.array(box.start)
    _, nearest = cKDTree(np.array([s.center_mm for s in sections])).query(geometry.to_world(voxels))
    usual_mm = float(np.median([s.largest_mm for s in sections]))
    return Depths(voxels, depth, nearest, usual_mm)


def wider_ball(
    segmentation: Segmentation, name: str, depths: Depths, numbers: Sequence[int], widest: Measurement
) -> Measurement | None:
    """The diameter of the largest ball near the sections of these ``numbers``, where it is wider than the widest round
    one."""
    spacing = np.array(segmentation.geometry.spacing_mm)
    wider, sac = widest.value + 0.5 * float(spacing.max()), SAC * depths.usual_mm
    least = max(min(WIDER * widest.value, max(widest.value, sac)), wider)
    here = np.isin(depths.nearest, numbers)
    if not here.any():
        return None
    at = int(np.where(here, depths.depth_mm, -1.0).argmax())
    depth = float(depths.depth_mm[at])
    if 2 * depth + max(_COARSE_MM, float(spacing.max())) < least:
        return None
    radius, center = _ball(segmentation, name, depths.voxels[at], depth)
    if 2 * radius < least:
        return None
    x, y, z = (float(v) for v in center)
    ends = ((x - radius, y, z), (x + radius, y, z))
    return Measurement(widest.quantity, 2 * radius, VESSEL_BALL, float(spacing.max()), name, ends)


def _ball(segmentation: Segmentation, name: str, voxel: np.ndarray, depth_mm: float) -> tuple[float, np.ndarray]:
    """Radius (mm) and center (RAS+ mm) of the largest ball whose center is near a voxel."""
    from scipy.ndimage import distance_transform_edt

    geometry = segmentation.geometry
    spacing = np.array(geometry.spacing_mm)
    margin = np.ceil((depth_mm + 3 * _COARSE_MM) / spacing).astype(int) + 2
    box = Box(tuple(voxel), tuple(voxel + 1)).grown(margin.tolist(), geometry.shape)
    cut = [(int(low == 0), int(high == n)) for low, high, n in zip(box.start, box.stop, geometry.shape, strict=True)]
    mask = np.pad(segmentation.mask_in_box(name, box), cut)
    start = np.array(box.start) - np.array([low for low, _ in cut])
    depth = distance_transform_edt(mask, sampling=spacing)
    places = np.argwhere(mask)
    near = np.linalg.norm((places + start - voxel) * spacing, axis=1) <= 2 * max(_COARSE_MM, float(spacing.max()))
    places = places[near]
    centers = places[np.argsort(-depth[tuple(places.T)], kind="stable")[:_CENTERS]]
    points, field, reach = centers * spacing, smoothed(mask), depth_mm + 3 * _COARSE_MM
    around = (np.indices((3, 3, 3)).reshape(3, -1).T - 1) * spacing
    for step in (0.5, 0.25, 0.0):  # the middle of the ball lies between the voxels
        rays = np.broadcast_to(_directions(_RAYS), (len(points), _RAYS, 3))
        lengths = np.percentile(wall(field, spacing, points, rays, reach, RAY_STEP_MM), _SHORTER, axis=1)
        best, radius = points[int(lengths.argmax())], float(lengths.max())
        points = best + step * around
    return radius, geometry.to_world(best / spacing + start)


def _directions(count: int) -> np.ndarray:
    """(count, 3) unit vectors spread evenly over the sphere (Fibonacci's spiral)."""
    n = np.arange(count) + 0.5
    up = 1 - 2 * n / count
    angle = n * np.pi * (1 + 5**0.5)
    return np.stack([np.sqrt(1 - up**2) * np.cos(angle), np.sqrt(1 - up**2) * np.sin(angle), up], axis=-1)

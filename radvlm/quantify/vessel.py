"""Largest diameter of a tubular vessel, in the plane perpendicular to its center line.

A section is not an image but the lengths of rays from the center line to the wall, so one array (sections, rays) holds
the whole vessel. A median along the vessel then removes what only one or two sections show, such as the mouth of a
small branch, and the center line is the row of centroids of those outlines, not a skeleton. The wall is the half level
of the mask smoothed by half a voxel, as the outline of ``outline.py`` but in 3D. Definition of the diameter: ACR
incidental findings 2013 (perpendicular to the center line, outer wall to outer wall).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from radvlm.quantify.centerline import (
    along_line,
    coarse_copy,
    edges,
    finite,
    graph,
    local_line,
    local_tangents,
    ray_directions,
    smoothed,
    to_centroid,
    wall,
)
from radvlm.types.geometry import Box, Geometry
from radvlm.types.measurement import VESSEL_CHORD, Measurement, Omission
from radvlm.types.segmentation import Segmentation

#: Structures whose mask is one tube, so that its widest section is a diameter.
TUBES = ("aorta", "iliac_artery_left", "iliac_artery_right")
METHOD = VESSEL_CHORD
#: A section longer than this many times its width is cut obliquely, or is a branching.
MAX_RATIO = 1.6
#: Distance of neighboring sections, and of samples along a ray.
STEP_MM, RAY_STEP_MM = 3.0, 0.75
#: A narrower tube has too few voxels across for a direction (in voxels of the largest spacing).
MIN_RADIUS_VOXELS = 0.75
_RAYS = 60
_MEDIAN = 5
_REFINEMENTS = 2
#: Sections near an end meet its cap, which moves their centroids: directions come from the others, where there are any.
_FEWEST_FOR_A_DIRECTION = 4
#: Finest copy of the mask on which the line is searched.
_COARSE_MM = 1.5
_PIECE_SHARE = 0.1
#: A piece shorter than this many radii has no direction.
_MIN_LENGTH = 2.5
TOO_SHORT = "the imaged part is too short for a section perpendicular to its center line"
TOO_NARROW = "the vessel is too narrow on this grid for a section perpendicular to its center line"
NO_ROUND = "no section perpendicular to its center line is round enough to be a diameter"


@dataclass(frozen=True)
class Section:
    """One section of a vessel by the plane perpendicular to its center line.

    Attributes:
        largest_mm: largest distance of two points of its outline.
        smallest_mm: smallest distance of two parallel lines that hold the outline between them.
        ends_mm: both ends of the largest chord in RAS+ mm.
        voxel_mm: size of a voxel in the direction of that chord.
        area_mm2: area inside the outline.
        center_mm: where the center line crosses the section, RAS+ mm.
        piece: number of the piece of the vessel, largest first. along_mm: place along the center line of that piece.
    """

    largest_mm: float
    smallest_mm: float
    ends_mm: tuple[tuple[float, float, float], tuple[float, float, float]]
    voxel_mm: float
    area_mm2: float = 0.0
    center_mm: tuple[float, float, float] = (0.0, 0.0, 0.0)
    piece: int = 0
    along_mm: float = 0.0

    @property
    def is_round(self) -> bool:
        return self.largest_mm <= MAX_RATIO * self.smallest_mm

    @property
    def height_mm(self) -> float:
        return (self.ends_mm[0][2] + self.ends_mm[1][2]) / 2


def measure_diameter(
    segmentation: Segmentation,
    name: str,
    is_wanted: Callable[[float], bool] | None = None,
    cuts: tuple[list[Section], str] | None = None,
) -> tuple[Measurement | Omission, str]:
    """Largest diameter (mm) of a vessel of ``TUBES``, or why there is none; and a note, "" mostly.

    Args:
        is_wanted: of the height (mm) of a section, whether it belongs to the part that is asked for; when no round
            section does, the whole vessel counts.
        cuts: what ``vessel_sections`` gave for it, where that is known already.

    The note says when a wider section was left out because it is not round.
    """
    sections, reason = vessel_sections(segmentation, name) if cuts is None else cuts
    if not sections:
        return Omission("diameter", name, reason), ""
    wanted = sections if is_wanted is None else [s for s in sections if is_wanted(s.height_mm)]
    if not any(s.is_round for s in wanted):
        wanted = sections
    kept = [s for s in wanted if s.is_round]
    if not kept:
        return Omission("diameter", name, NO_ROUND), ""
    widest = max(kept, key=lambda s: s.largest_mm)
    wider = [s for s in wanted if not s.is_round and s.smallest_mm > widest.smallest_mm]
    note = ""
    if wider:
        count = f"{len(wider)} section{'s' if len(wider) > 1 else ''}"
        note = (
            f"{count} of {name} wider than its diameter of {widest.largest_mm:.0f} mm left out: longer than "
            f"{MAX_RATIO:g} times the width, as where a vessel branches."
        )
    return Measurement("diameter", widest.largest_mm, METHOD, widest.voxel_mm, name, widest.ends_mm), note


def vessel_sections(segmentation: Segmentation, name: str) -> tuple[list[Section], str]:
    """Sections every 3 mm along a vessel, off its ends by one radius; with the reason when there is none.

    Sections that reach the edge of the field of view are left out. Every piece of the vessel with at least a tenth
    of its voxels is measured, so an arch above the scan leaves the ascending and the descending aorta.
    """
    geometry = segmentation.geometry
    box = segmentation.boxes[name].grown(2, geometry.shape)
    spacing = np.array(geometry.spacing_mm)
    field = smoothed(segmentation.mask_in_box(name, box))
    limits = _limits(box, geometry)
    faces_mm = (limits + np.array([-1.0, 1.0])) * spacing[:, None]
    origin = geometry.cropped(box)
    sections: list[Section] = []
    reasons = []
    for piece, (line, radius, judged) in enumerate(_center_lines(field, spacing, faces_mm)):
        if radius.max() < MIN_RADIUS_VOXELS * spacing.max():
            reasons.append(TOO_NARROW)
        elif not judged.any():
            reasons.append(TOO_SHORT)
        else:
            sections += _sections(field, spacing, limits, origin, line, radius, judged, piece)
    return sections, next(iter(reasons), TOO_SHORT if field.min() >= 0.5 else TOO_NARROW)


def sections_along(
    field: np.ndarray, segmentation: Segmentation, box: Box, line: np.ndarray, radius: np.ndarray, *, piece: int = 0
) -> list[Section]:
    """Sections every 3 mm along a given line (n, 3) in mm from the first voxel of ``box``; [] for a short line.

    ``field`` is the smoothed mask inside ``box``. Sections within half a radius of the ends are left out.
    """
    geometry = segmentation.geometry
    spacing = np.array(geometry.spacing_mm)
    if len(line) < 4:
        return []
    along = along_line(line)
    low, high = 0.5 * float(radius[0]), float(along[-1]) - 0.5 * float(radius[-1])
    if high - low < 2 * STEP_MM:
        return []
    where = np.linspace(low, high, int((high - low) / STEP_MM) + 1)
    there = np.interp(where, along, radius)
    points = local_line(line, along, where, np.clip(0.6 * there, 3.0, 12.0))[0]
    limits = _limits(box, geometry)
    faces = (limits + np.array([-1.0, 1.0])) * spacing[:, None]
    judged = _to_faces(points, faces) >= there
    return _sections(field, spacing, limits, geometry.cropped(box), points, there, judged, piece)


def _limits(box: Box, geometry: Geometry) -> np.ndarray:
    """(3, 2) indices within the box beyond which a wall would lie on the edge of the field of view."""
    return np.array(
        [
            [-np.inf if lo > 0 or n == 1 else 0.5, np.inf if hi < n or n == 1 else size - 1.5]
            for lo, hi, size, n in zip(box.start, box.stop, box.shape, geometry.shape, strict=True)
        ]
    )


def _center_lines(
    field: np.ndarray, spacing: np.ndarray, faces_mm: np.ndarray
) -> list[tuple[np.ndarray, np.ndarray, np.ndarray]]:
    """Per piece: (n, 3) points in mm from the first voxel, their radii, and which are off the ends by a radius.

    ``faces_mm`` (3, 2): the faces of the field of view that cut the vessel, infinite where none does.
    """
    from scipy.ndimage import distance_transform_edt, label

    coarse, coarse_mm = coarse_copy(field, spacing, _COARSE_MM)
    if not coarse.any() or coarse.all():
        return []
    depth = distance_transform_edt(coarse, sampling=coarse_mm)
    numbered, _ = label(coarse, np.ones((3, 3, 3)))
    sizes = np.bincount(numbered.ravel())[1:]
    return [
        _center_line(numbered == n, depth, coarse_mm, faces_mm)
        for n in np.flatnonzero(sizes >= _PIECE_SHARE * sizes.sum()) + 1
    ]


def _center_line(
    piece: np.ndarray, depth: np.ndarray, voxel_mm: np.ndarray, faces_mm: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The path between the two ends of a piece that runs deepest inside it, every 3 mm."""
    from scipy.sparse.csgraph import dijkstra

    nodes = np.argwhere(piece)
    radius = depth[piece]
    first, second, lengths = edges(piece, nodes, voxel_mm)
    plain = graph(first, second, lengths, len(nodes))
    start = int(finite(dijkstra(plain, directed=False, indices=int(radius.argmax()))).argmax())
    end = int(finite(dijkstra(plain, directed=False, indices=start)).argmax())
    cost = lengths * (1 / radius[first] ** 2 + 1 / radius[second] ** 2)
    _, before = dijkstra(
        graph(first, second, cost, len(nodes)), directed=False, indices=start, return_predecessors=True
    )
    path = [end]
    while path[-1] != start:
        path.append(int(before[path[-1]]))
    points, radii = nodes[path] * voxel_mm, radius[path]
    along = along_line(points)
    head, tail = _end_length(along, radii), _end_length(along[-1] - along[::-1], radii[::-1])
    inside = along[_to_faces(points, faces_mm) >= radii / 2]
    low = max(head / 2, inside.min(initial=along[-1]))
    high = min(along[-1] - tail / 2, inside.max(initial=0.0))
    if high - low < 2 * STEP_MM or along[-1] < _MIN_LENGTH * radii.max():
        return points[:1], radii, np.zeros(1, dtype=bool)
    where = np.linspace(low, high, int((high - low) / STEP_MM) + 1)
    radii_there = np.interp(where, along, radii)
    line, _ = local_line(points, along, where, np.clip(0.6 * radii_there, 4.0, 12.0))
    judged = (where >= head) & (where <= along[-1] - tail) & (_to_faces(line, faces_mm) >= radii_there)
    return line, radii_there, judged


def _to_faces(points: np.ndarray, faces_mm: np.ndarray) -> np.ndarray:
    """(n,) distance of points to the nearest face of the field of view that cuts the vessel."""
    return np.abs(points[:, :, None] - faces_mm).min(axis=(1, 2))


def _end_length(along: np.ndarray, radii: np.ndarray) -> float:
    """Length from an end after which the path is farther from the end than the vessel is wide there (one radius)."""
    for at in along:
        ahead = radii[(along >= at) & (along <= 1.5 * at + 6.0)]
        if at >= ahead.max():
            return float(at)
    return float(along[-1])


def _sections(
    field: np.ndarray,
    spacing: np.ndarray,
    limits: np.ndarray,
    origin: Geometry,
    line: np.ndarray,
    radius: np.ndarray,
    judged: np.ndarray,
    piece: int,
) -> list[Section]:
    """Outline each section, move the line to their centroids, outline again, and measure the judged ones."""
    from scipy.ndimage import median_filter

    reach = 2.5 * float(radius.max()) + 8.0
    smoothing = np.clip(0.6 * radius, 4.0, 12.0)
    sure = judged if judged.sum() >= _FEWEST_FOR_A_DIRECTION else np.ones_like(judged)
    for turn in range(_REFINEMENTS + 1):
        along = along_line(line)
        known, there = line[sure], along[sure]
        if turn < _REFINEMENTS:
            _, tangents = local_line(known, there, along, smoothing)
        else:  # the line is in the middle by now
            tangents = local_tangents(known, there, along, smoothing)
        rays = ray_directions(tangents, _RAYS)
        lengths = wall(field, spacing, line, rays, reach, RAY_STEP_MM)
        smooth = median_filter(lengths, size=(_MEDIAN, 1), mode="nearest")
        outline = line[:, None, :] + smooth[:, :, None] * rays
        if turn < _REFINEMENTS:
            line = line + to_centroid(smooth, rays, radius)
    index = (line[:, None, :] + lengths[:, :, None] * rays) / spacing
    free = ((index >= limits[:, 0]) & (index <= limits[:, 1])).all(axis=(1, 2))
    closed = (smooth > 0).all(axis=1) & (smooth < reach).all(axis=1)
    return [
        _section(outline[n], smooth[n], rays[n], spacing, origin, line[n], piece, float(along[n]))
        for n in np.flatnonzero(judged & free & closed)
    ]


def _section(
    outline: np.ndarray,
    lengths: np.ndarray,
    rays: np.ndarray,
    spacing: np.ndarray,
    origin: Geometry,
    center: np.ndarray,
    piece: int,
    along_mm: float,
) -> Section:
    apart = np.linalg.norm(outline[:, None] - outline[None], axis=2)
    a, b = divmod(int(apart.argmax()), len(outline))
    offsets = lengths[:, None] * rays
    extents = np.ptp(offsets @ rays[: _RAYS // 2].T, axis=0)
    direction = (outline[b] - outline[a]) / apart[a, b]
    ends = origin.to_world(np.stack([outline[a], outline[b], center]) / spacing)
    points: Sequence[tuple[float, float, float]] = [(float(x), float(y), float(z)) for x, y, z in ends]
    area = 0.5 * np.sin(2 * np.pi / _RAYS) * float((lengths * np.roll(lengths, 1)).sum())
    return Section(
        float(apart[a, b]),
        float(extents.min()),
        (points[0], points[1]),
        float(1 / np.linalg.norm(direction / spacing)),
        area,
        points[2],
        piece,
        along_mm,
    )

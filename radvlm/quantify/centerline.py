"""Center lines of a tubular mask that may branch: a tree of smooth lines, and sections across each of them.

No skeleton is thinned. A line is the path from an end that runs deepest inside the mask, found on a coarse copy of it;
what is left farther from that path than its radius becomes a branch of its own, the longest first. The line is then
moved to the centroids of its own cross sections. The result does not depend on the order of the axes. The functions
that cut a tube across its line serve ``vessel.py`` and ``contact.py`` alike.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from scipy.sparse import csr_matrix

#: Finest copy of the mask on which paths are searched (mm), and the number of its voxels that makes it coarser.
COARSE_MM, MAX_NODES = 1.0, 30_000
#: A side branch is kept when it is at least this long beyond the wall of its parent: mm, and radii of its parent.
MIN_BRANCH_MM, MIN_BRANCH_RADII = 8.0, 1.5
#: More branches than this are the twigs of a tree that nobody measures.
MAX_BRANCHES = 12
RAYS = 72
RAY_STEP_MM = 0.5
#: Samples of every ray that are read at once, from the line outwards.
_RAY_SAMPLES = 8
_LINE_STEP_MM = 1.0


@dataclass(frozen=True, eq=False)
class Branch:
    """One unbranched stretch of a vessel, from its root outwards.

    Attributes:
        points_mm: (n, 3) about every millimeter, in mm from the center of the first voxel of the array.
        radius_mm: (n,) distance to the nearest wall.
        parent: index of the branch that it leaves, -1 for a root.
        leaves_at_mm: where it leaves its parent, in mm along the parent.
    """

    points_mm: np.ndarray
    radius_mm: np.ndarray
    parent: int = -1
    leaves_at_mm: float = 0.0

    @property
    def along_mm(self) -> np.ndarray:
        """(n,) distance from the first point along the line."""
        return along_line(self.points_mm)

    @property
    def length_mm(self) -> float:
        return float(self.along_mm[-1])


def along_line(points_mm: np.ndarray) -> np.ndarray:
    """(n,) distance of each point of a line (n, 3) from its first one, along the line."""
    return np.concatenate([[0.0], np.cumsum(np.linalg.norm(np.diff(points_mm, axis=0), axis=1))])


def coarse_copy(field: np.ndarray, spacing_mm: np.ndarray, finest_mm: float) -> tuple[np.ndarray, np.ndarray]:
    """A vessel on a coarse grid of about ``MAX_NODES`` voxels of it, none below ``finest_mm``, and their size in mm."""
    from scipy.ndimage import affine_transform

    volume_mm3 = float(np.count_nonzero(field >= 0.5)) * float(np.prod(spacing_mm))
    target = max(finest_mm, (volume_mm3 / MAX_NODES) ** (1 / 3))
    shape = np.array(field.shape)
    counts = np.where(shape == 1, 1, np.maximum(2, np.ceil((shape - 1) * spacing_mm / target).astype(int) + 1))
    steps = np.where(counts == 1, 1.0, (shape - 1) / np.maximum(counts - 1, 1))
    coarse = affine_transform(field, steps, output_shape=tuple(counts), order=1, mode="nearest") >= 0.5
    return coarse, steps * spacing_mm


def smoothed(mask: np.ndarray, sigma_voxels: float = 0.5) -> np.ndarray:
    """float32 (I, J, K): the mask blurred a little, so that a slanted wall has no steps; its half level is the wall."""
    from scipy.ndimage import gaussian_filter

    blurred: np.ndarray = gaussian_filter(mask, sigma_voxels, output=np.float32, mode="nearest", truncate=2.0)
    return blurred


def center_lines(
    field: np.ndarray,
    spacing_mm: np.ndarray,
    near_mm: np.ndarray | None = None,
    *,
    min_branch_mm: float = MIN_BRANCH_MM,
) -> list[Branch]:
    """The tree of center lines of the largest piece of a vessel; [] when it has fewer than two voxels across.

    Args:
        field: (I, J, K) in 0..1, the vessel where it is at least one half.
        near_mm: a point (mm from the first voxel); the tree is rooted at the end nearest to it. Without one, at one of
            the two ends that are farthest apart.
    """
    from scipy.ndimage import distance_transform_edt, label
    from scipy.sparse.csgraph import dijkstra

    coarse, voxel_mm = coarse_copy(field, spacing_mm, COARSE_MM)
    numbered, pieces = label(coarse, np.ones((3, 3, 3)))
    if pieces == 0 or coarse.all():
        return []
    piece = numbered == int(np.bincount(numbered.ravel())[1:].argmax()) + 1
    nodes = np.argwhere(piece)
    if len(nodes) < 2:
        return []
    radius = distance_transform_edt(np.pad(piece, 1), sampling=voxel_mm)[1:-1, 1:-1, 1:-1][piece]
    first, second, lengths = edges(piece, nodes, voxel_mm)
    plain = graph(first, second, lengths, len(nodes))
    places = nodes * voxel_mm
    if near_mm is not None:
        start = int(np.linalg.norm(places - near_mm, axis=1).argmin())
        start = _end_near(plain, start, radius)
    else:
        start = int(finite(dijkstra(plain, directed=False, indices=int(radius.argmax()))).argmax())
    cost = lengths * (1 / radius[first] ** 2 + 1 / radius[second] ** 2)
    _, before = dijkstra(
        graph(first, second, cost, len(nodes)), directed=False, indices=start, return_predecessors=True
    )
    far = finite(dijkstra(plain, directed=False, indices=start))
    found: list[tuple[list[int], int, int]] = [(_back(before, int(far.argmax()), {start}), -1, 0)]
    owner = {node: (0, n) for n, node in enumerate(found[0][0])}
    while len(found) < MAX_BRANCHES:
        tree = np.fromiter(owner, dtype=int)
        away = finite(dijkstra(plain, directed=False, indices=tree, min_only=True))
        away[_covered(places, radius, tree)] = 0.0
        tip = int(away.argmax())
        path = _back(before, tip, set(owner))
        parent, at = owner[path[0]]
        least = max(min_branch_mm, MIN_BRANCH_RADII * radius[path[0]])
        if away[tip] - radius[path[0]] < least:
            break
        found.append((path, parent, at))
        owner.update({node: (len(found) - 1, n) for n, node in enumerate(path) if node not in owner})
    return _branches(found, places, radius)


def _end_near(plain: csr_matrix, start: int, radius: np.ndarray) -> int:
    """The tip of the vessel that is nearest to a node: the farthest node from the deepest one within three radii."""
    from scipy.sparse.csgraph import dijkstra

    away = finite(dijkstra(plain, directed=False, indices=start))
    close = np.flatnonzero((away >= 0) & (away <= 2 * float(radius.max()) + 2.0))
    deep = int(away.argmax())  # the other end of the vessel
    back = finite(dijkstra(plain, directed=False, indices=deep))
    return int(close[back[close].argmax()])


def _back(before: np.ndarray, node: int, known: set[int]) -> list[int]:
    """Nodes from the first known one (included) to ``node``."""
    path = [node]
    while path[-1] not in known and before[path[-1]] >= 0:
        path.append(int(before[path[-1]]))
    return path[::-1]


def _covered(places: np.ndarray, radius: np.ndarray, tree: np.ndarray) -> np.ndarray:
    """Which nodes lie within the vessel that the tree's paths already stand for."""
    from scipy.spatial import cKDTree

    distance, nearest = cKDTree(places[tree]).query(places)
    return np.asarray(distance <= 1.3 * radius[tree[nearest]] + 1.5)


def _branches(found: list[tuple[list[int], int, int]], places: np.ndarray, radius: np.ndarray) -> list[Branch]:
    branches: list[Branch] = []
    lengths: list[np.ndarray] = []
    for path, parent, at in found:
        points, radii = places[path], radius[path]
        along = along_line(points)
        lengths.append(along)
        where = np.linspace(0.0, along[-1], max(2, int(along[-1] / _LINE_STEP_MM) + 1))
        radii_there = np.interp(where, along, radii)
        sigma = np.clip(0.6 * radii_there, 2.0, 12.0)
        line = local_line(points, along, where, sigma)[0] if len(path) > 3 else points[[0, -1]]
        radii_there = radii_there if len(path) > 3 else radii[[0, -1]]
        leaves = float(lengths[parent][at]) if parent >= 0 else 0.0
        branches.append(Branch(line, radii_there, parent, leaves))
    return branches


# -- graph of a mask ------------------------------------------------------------------------------------------------


def finite(distances: np.ndarray) -> np.ndarray:
    """Distances with -1 for what cannot be reached, so that ``argmax`` never finds it."""
    return np.where(np.isfinite(distances), distances, -1.0)


def edges(piece: np.ndarray, nodes: np.ndarray, voxel_mm: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Neighbors (26) of a piece: node numbers of both ends, and the length in mm."""
    number = np.full(np.array(piece.shape) + 2, -1, dtype=np.int32)
    number[1:-1, 1:-1, 1:-1][piece] = np.arange(len(nodes), dtype=np.int32)
    offsets = np.argwhere(np.ones((3, 3, 3))) - 1
    first, second, lengths = [], [], []
    for offset in offsets[14:]:
        there = number[tuple((nodes + 1 + offset).T)]
        inside = np.flatnonzero(there >= 0)
        first.append(inside)
        second.append(there[inside])
        lengths.append(np.full(len(inside), np.linalg.norm(offset * voxel_mm)))
    return np.concatenate(first), np.concatenate(second), np.concatenate(lengths)


def graph(first: np.ndarray, second: np.ndarray, weights: np.ndarray, size: int) -> csr_matrix:
    from scipy.sparse import csr_matrix

    return csr_matrix((weights, (first, second)), shape=(size, size))


# -- sections across a line -----------------------------------------------------------------------------------------


def local_line(
    points: np.ndarray, along: np.ndarray, where: np.ndarray, sigma_mm: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Points and unit tangents (n, 3) of a straight line fitted around each place with Gaussian weights."""
    apart = along[None, :] - where[:, None]
    weight = np.exp(-0.5 * (apart / sigma_mm[:, None]) ** 2)
    weight /= weight.sum(axis=1, keepdims=True)
    mean = (weight * apart).sum(axis=1)
    center = weight @ points
    spread = (weight * (apart - mean[:, None]) ** 2).sum(axis=1)
    slope = ((weight * (apart - mean[:, None])) @ points) / spread[:, None]
    return center - slope * mean[:, None], slope / np.linalg.norm(slope, axis=1, keepdims=True)


def local_tangents(points: np.ndarray, along: np.ndarray, where: np.ndarray, sigma_mm: np.ndarray) -> np.ndarray:
    """Unit tangents (n, 3) of a parabola fitted around each place with Gaussian weights: true at the ends of a bend,
    where a straight line would have the direction of what lies behind."""
    apart = (along[None, :] - where[:, None]) / sigma_mm[:, None]
    weight = np.exp(-0.5 * (apart**2 - (apart**2).min(axis=1, keepdims=True)))
    terms = np.stack([np.ones_like(apart), apart, apart**2], axis=2)  # (n, points, 3)
    weighted = terms * weight[:, :, None]
    slope = np.linalg.solve(weighted.transpose(0, 2, 1) @ terms, weighted.transpose(0, 2, 1) @ points)[:, 1]
    return np.asarray(slope / np.linalg.norm(slope, axis=1, keepdims=True))


def ray_directions(tangents: np.ndarray, rays: int = RAYS) -> np.ndarray:
    """(sections, rays, 3) unit vectors in the plane across each tangent, turning as little as possible."""
    across = np.empty_like(tangents)
    last = np.eye(3)[int(np.abs(tangents[0]).argmin())]
    for n, tangent in enumerate(tangents):
        last = last - (last @ tangent) * tangent
        last = last / np.linalg.norm(last)
        across[n] = last
    second = np.cross(tangents, across)
    angle = np.arange(rays) * (2 * np.pi / rays)
    return np.cos(angle)[None, :, None] * across[:, None, :] + np.sin(angle)[None, :, None] * second[:, None, :]


def wall(
    field: np.ndarray,
    spacing: np.ndarray,
    line: np.ndarray,
    rays: np.ndarray,
    reach: float,
    step_mm: float = RAY_STEP_MM,
) -> np.ndarray:
    """(sections, rays) distance to the first crossing of one half; 0 when the line is outside, ``reach`` when none."""
    from scipy.ndimage import map_coordinates

    steps = np.arange(0.0, reach + step_mm, step_mm)
    values = np.ones((*rays.shape[:2], len(steps)), field.dtype)
    crossed = np.zeros(rays.shape[:2], dtype=bool)
    ahead = np.arange(len(line))  # sections with a ray that has not met the wall yet; the wall is mostly near
    for low in range(0, len(steps), _RAY_SAMPLES):
        here = steps[low : low + _RAY_SAMPLES]
        places = (line[ahead, None, None, :] + here[:, None] * rays[ahead, :, None, :]) / spacing
        sampled = map_coordinates(field, np.moveaxis(places, -1, 0), order=1, mode="constant", cval=0.0)
        values[ahead, :, low : low + _RAY_SAMPLES] = sampled
        crossed[ahead] |= (sampled < 0.5).any(axis=2)
        ahead = ahead[~crossed[ahead].all(axis=1)]
        if not len(ahead):
            break
    at = (values < 0.5).argmax(axis=2)
    inner = np.take_along_axis(values, np.maximum(at - 1, 0)[..., None], axis=2)[..., 0]
    outer = np.take_along_axis(values, at[..., None], axis=2)[..., 0]
    share = np.where(at > 0, (inner - 0.5) / np.where(at > 0, inner - outer, 1.0), 0.0)
    return np.where(crossed, np.maximum(at - 1 + share, 0.0) * step_mm, reach)


def to_centroid(lengths: np.ndarray, rays: np.ndarray, radius: np.ndarray) -> np.ndarray:
    """(sections, 3) step from the line to the centroid of each outline, at most half a radius."""
    area = (lengths**2).mean(axis=1)
    step = (2 / 3) * (lengths[:, :, None] ** 3 * rays).mean(axis=1) / np.maximum(area, 1e-9)[:, None]
    size = np.linalg.norm(step, axis=1)
    allowed = np.minimum(1.0, 0.5 * radius / np.maximum(size, 1e-9))
    return np.asarray(step * allowed[:, None])

"""Shapes whose diameters, lengths, contact angles and heights are formulas; shared with eval/truth_vessels.py."""

from __future__ import annotations

import numpy as np
from scipy.spatial import cKDTree

GRIDS = ((1.0, 1.0, 1.0), (0.7, 0.7, 3.0), (2.0, 2.0, 3.0))


def line(kind: str, length: float) -> np.ndarray:
    """(400, 3) points in mm of a center line: straight along z, oblique, or an arc of 25 mm radius."""
    s = np.linspace(-length / 2, length / 2, 400)
    if kind == "curved":
        turn = s / max(25.0, length / np.pi)
        radius = max(25.0, length / np.pi)
        return np.stack([radius * np.cos(turn) - radius, 0 * s, radius * np.sin(turn)], axis=1)
    direction = {"straight": (0.0, 0.0, 1.0), "oblique": (0.5, 0.35, 0.79)}[kind]
    return s[:, None] * (np.array(direction) / np.linalg.norm(direction))


def frames(points: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Unit tangents and two unit vectors across them that do not twist."""
    tangents = np.gradient(points, axis=0)
    tangents /= np.linalg.norm(tangents, axis=1)[:, None]
    last, first = np.array([0.3, 0.9, 0.2]), []
    for tangent in tangents:
        last = last - (last @ tangent) * tangent
        last = last / np.linalg.norm(last)
        first.append(last)
    u = np.array(first)
    return tangents, u, np.cross(tangents, u)


def grid(points: np.ndarray, margin: float, spacing, rng: np.random.Generator) -> tuple[np.ndarray, tuple[int, ...]]:
    """(n, 3) voxel centers that hold the points with a margin, at a random sub-voxel place, and the shape."""
    spacing = np.array(spacing)
    low = points.min(axis=0) - margin - 3 + rng.uniform(0, 1, 3) * spacing
    shape = np.ceil((points.max(axis=0) + margin + 3 - low) / spacing).astype(int)
    axes = [low[a] + np.arange(shape[a]) * spacing[a] for a in range(3)]
    return np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1).reshape(-1, 3), tuple(shape)


def tube(kind: str, radius, spacing, rng: np.random.Generator, length: float = 120.0) -> np.ndarray:
    """A tube with flat ends; ``radius`` is a number or (400,) along it."""
    points = line(kind, length)
    radii = np.broadcast_to(radius, 400)
    places, shape = grid(points, float(radii.max()), spacing, rng)
    reach = float(radii.max()) + length / 40 + 1
    near = np.isfinite(cKDTree(points[::20]).query(places, distance_upper_bound=reach)[0])
    distance, nearest = np.full(len(places), np.inf), np.zeros(len(places), dtype=int)
    distance[near], nearest[near] = cKDTree(points).query(places[near])
    tangents = frames(points)[0]
    inside = np.abs(((places - points[nearest]) * tangents[nearest]).sum(axis=1)) < length / 399
    return ((distance <= radii[nearest]) & inside).reshape(shape)


def vessel_and_tumor(
    kind: str,
    spacing,
    radius: float,
    degrees: float,
    rng: np.random.Generator,
    *,
    gap: float = 0.0,
    thick: float = 8.0,
    length: float = 20.0,
) -> tuple[np.ndarray, np.ndarray]:
    """A vessel 60 mm long and a tumor that covers an arc of its wall along ``length`` of it, ``gap`` away from it."""
    points = line(kind, 60.0)
    places, shape = grid(points, radius + gap + thick, spacing, rng)
    tree = cKDTree(points)
    near = np.isfinite(cKDTree(points[::20]).query(places, distance_upper_bound=radius + gap + thick + 5)[0])
    nearest = np.zeros(len(places), dtype=int)
    nearest[near] = tree.query(places[near])[1]
    tangents, u, v = frames(points)
    away = places - points[nearest]
    x, y = ((away * axis[nearest]).sum(axis=1) for axis in (u, v))
    inside = np.abs((away * tangents[nearest]).sum(axis=1)) < 1.0
    distance = np.hypot(x, y)
    angle = (np.degrees(np.arctan2(y, x)) - rng.uniform(0, 360)) % 360
    along = (nearest / 399 - 0.5) * 60.0
    vessel = (distance <= radius) & inside
    tumor = (
        (distance > radius + gap)
        & (distance <= radius + gap + thick)
        & inside
        & (angle < degrees)
        & (np.abs(along) < length / 2)
    )
    return vessel.reshape(shape), tumor.reshape(shape)


def vertebra(
    anterior: float,
    middle: float,
    posterior: float,
    spacing,
    rng: np.random.Generator,
    *,
    depth: float = 34.0,
    width: float = 44.0,
    tilt_degrees: float = 0.0,
    box: tuple | None = None,
    center=(0.0, 0.0, 0.0),
) -> tuple[np.ndarray, np.ndarray]:
    """A body with the three heights (endplates are parabolas through them), pedicles, canal and spinous process.

    Returns the mask and the body alone. ``box``: (low, shape) of the grid in mm, by default one that holds it.
    """
    spacing = np.array(spacing)
    turn = np.radians(tilt_degrees)
    if box is None:
        reach = np.array([width / 2 + 6, depth + 46, 40.0])
        low = -reach + rng.uniform(0, 1, 3) * spacing
        shape = tuple(np.ceil((2 * reach) / spacing).astype(int))
    else:
        low, shape = box
    axes = [low[a] + np.arange(shape[a]) * spacing[a] - center[a] for a in range(3)]
    x, y0, z0 = np.meshgrid(*axes, indexing="ij", sparse=True)
    y = y0 * np.cos(turn) + z0 * np.sin(turn)
    z = -y0 * np.sin(turn) + z0 * np.cos(turn)
    share = np.clip(y / depth + 0.5, 0, 1)  # 0 at the back, 1 at the front
    a, b = posterior, anterior
    c = 4 * middle - 2 * (a + b)
    height = a * (1 - share) + b * share + (c) * share * (1 - share)
    body = (np.abs(y) <= depth / 2) & ((x / (width / 2)) ** 2 + (y / (depth / 2)) ** 4 <= 1) & (np.abs(z) <= height / 2)
    behind = -depth / 2
    pedicles = (np.abs(np.abs(x) - 14) <= 4.5) & (y < behind + 3) & (y > behind - 14) & (np.abs(z - 2) <= 5)
    lamina = (np.abs(x) <= 18) & (y < behind - 14) & (y > behind - 20) & (np.abs(z - 1) <= 7)
    process = (np.abs(x) <= 3.5) & (y < behind - 18) & (y > behind - 42) & (np.abs(z + 4) <= 7)
    return body | pedicles | lamina | process, body

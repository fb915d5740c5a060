"""Implicit shapes in the patient's frame, evaluated on any grid or on a list of points.

A shape never sees voxels. It asks a coordinate source for linear forms ``w . p + b`` of the position (`GridCoords` adds
three index vectors, `PointCoords` multiplies a matrix), so oblique grids cost no extra arrays and axis-aligned grids
stay separable. Values are negative inside, roughly mm, and their gradient is at most about 1 near the surface; the
renderer takes exact widths from finite differences.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from typing import Protocol

import numpy as np

Vector = Sequence[float] | np.ndarray
Bounds = tuple[np.ndarray, np.ndarray]


class Coords(Protocol):
    """Positions in the patient's frame (RAS+ mm) on which a shape is evaluated."""

    def linear(self, weights: Vector, offset: float = 0.0) -> np.ndarray:
        """``weights . position + offset`` as float32, broadcastable to the positions' shape."""


@dataclass(frozen=True, eq=False)
class PointCoords:
    """(N, 3) positions in mm."""

    points: np.ndarray

    def linear(self, weights: Vector, offset: float = 0.0) -> np.ndarray:
        return (self.points @ np.asarray(weights, dtype=float) + offset).astype(np.float32)


@dataclass(frozen=True, eq=False)
class GridCoords:
    """A box of a grid in (k, j, i) array order; ``matrix`` and ``origin`` map index (i, j, k) to mm."""

    matrix: np.ndarray
    origin: np.ndarray
    start: tuple[int, int, int]  # k, j, i
    shape: tuple[int, int, int]  # k, j, i

    def linear(self, weights: Vector, offset: float = 0.0) -> np.ndarray:
        w = np.asarray(weights, dtype=float)
        per_index = self.matrix.T @ w
        total = np.full((1, 1, 1), float(w @ self.origin) + offset)
        for axis in range(3):  # k, then j, then i
            step = per_index[2 - axis]
            if abs(step) > 1e-9:
                line = step * np.arange(self.start[axis], self.start[axis] + self.shape[axis], dtype=float)
                view = [1, 1, 1]
                view[axis] = -1
                if axis == 2:
                    total = total.astype(np.float32)
                    line = line.astype(np.float32)
                total = total + line.reshape(view)
        return total.astype(np.float32, copy=False)


class Shape(Protocol):
    def bounds(self) -> Bounds: ...

    def value(self, at: Coords) -> np.ndarray: ...


def rotation(x_deg: float = 0.0, y_deg: float = 0.0, z_deg: float = 0.0) -> np.ndarray:
    """3x3 rotation: first about x, then y, then z, right handed, degrees."""
    cx, cy, cz = (math.cos(math.radians(a)) for a in (x_deg, y_deg, z_deg))
    sx, sy, sz = (math.sin(math.radians(a)) for a in (x_deg, y_deg, z_deg))
    about_x = np.array([[1, 0, 0], [0, cx, -sx], [0, sx, cx]])
    about_y = np.array([[cy, 0, sy], [0, 1, 0], [-sy, 0, cy]])
    about_z = np.array([[cz, -sz, 0], [sz, cz, 0], [0, 0, 1]])
    return about_z @ about_y @ about_x


@dataclass(frozen=True, eq=False)
class Ellipsoid:
    """Ellipsoid, or with ``flat`` a drum with nearly flat ends along its third axis.

    Attributes:
        center: mm.
        semi: three semi-axes in mm.
        axes: 3x3, column a = unit direction of semi-axis a.
        bends: (target, source, coefficient per mm): local coordinate ``target`` is shifted by
            ``coefficient * source**2``. Such a shear keeps the volume exactly.
    """

    center: Vector
    semi: Vector
    axes: np.ndarray | None = None
    flat: bool = False
    bends: tuple[tuple[int, int, float], ...] = ()

    @cached_property
    def directions(self) -> np.ndarray:
        return np.eye(3) if self.axes is None else np.asarray(self.axes, dtype=float)

    @property
    def volume_ml(self) -> float:
        """Analytic: 4/3 pi abc; flat: pi abc times the integral of sqrt(1 - t**4) over -1..1 = 1.748038."""
        a, b, c = self.semi
        return (1.7480383695280799 if self.flat else 4 / 3) * math.pi * a * b * c / 1000.0

    def bounds(self) -> Bounds:
        semi = np.asarray(self.semi, dtype=float)
        low, high = -semi.copy(), semi.copy()
        for target, source, coefficient in self.bends:
            reach = coefficient * semi[source] ** 2 * 1.0
            low[target] += min(0.0, reach)
            high[target] += max(0.0, reach)
        middle, half = (low + high) / 2, (high - low) / 2
        center = np.asarray(self.center, dtype=float) + self.directions @ middle
        if self.bends or self.flat:
            reach3 = np.abs(self.directions) @ half
        else:
            reach3 = np.sqrt((self.directions**2) @ (half**2))
        return center - reach3, center + reach3

    def value(self, at: Coords) -> np.ndarray:
        center = np.asarray(self.center, dtype=float)
        local = []
        for axis in range(3):
            w = self.directions[:, axis] / self.semi[axis]
            local.append(at.linear(w, -float(w @ center)))
        for target, source, coefficient in self.bends:
            factor = np.float32(coefficient * self.semi[source] ** 2 / self.semi[target])
            local[target] = local[target] - factor * local[source] ** 2
        if self.flat:
            planar = local[0] ** 2 + local[1] ** 2
            radius = np.sqrt(np.sqrt(planar**2 + local[2] ** 4))
        else:
            radius = np.sqrt(local[0] ** 2 + local[1] ** 2 + local[2] ** 2)
        return (radius - np.float32(1)) * np.float32(min(self.semi))


@dataclass(frozen=True, eq=False)
class Capsule:
    """Straight piece of a tube from ``a`` to ``b`` with radii ``ra`` and ``rb``, round ends (mm).

    With ``front_of`` only what lies in front of (anterior to) that y in mm: gas above a fluid level.
    """

    a: Vector
    b: Vector
    ra: float
    rb: float
    front_of: float | None = None

    def bounds(self) -> Bounds:
        a, b = np.asarray(self.a, dtype=float), np.asarray(self.b, dtype=float)
        return np.minimum(a - self.ra, b - self.rb), np.maximum(a + self.ra, b + self.rb)

    def value(self, at: Coords) -> np.ndarray:
        a, b = np.asarray(self.a, dtype=float), np.asarray(self.b, dtype=float)
        along = b - a
        length2 = max(float(along @ along), 1e-6)
        t = np.clip(at.linear(along / length2, -float(a @ along) / length2), 0, 1)
        total: np.ndarray | float = 0.0
        for axis in range(3):
            e = np.zeros(3)
            e[axis] = 1.0
            d = at.linear(e, -a[axis]) - np.float32(along[axis]) * t
            total = total + d * d
        radius = np.float32(self.ra) + np.float32(self.rb - self.ra) * t
        value = np.sqrt(total) - radius
        return value if self.front_of is None else np.maximum(value, at.linear((0, -1, 0), self.front_of))


@dataclass(frozen=True, eq=False)
class Clipped:
    """The part of ``shape`` where ``weights . p + offset < 0``."""

    shape: Shape
    weights: Vector
    offset: float

    def bounds(self) -> Bounds:
        return self.shape.bounds()

    def value(self, at: Coords) -> np.ndarray:
        return np.maximum(self.shape.value(at), at.linear(self.weights, self.offset))


@dataclass(frozen=True, eq=False)
class Grown:
    """``shape`` grown by ``margin_mm`` (smaller when negative)."""

    shape: Shape
    margin_mm: float

    def bounds(self) -> Bounds:
        low, high = self.shape.bounds()
        grow = max(self.margin_mm, 0.0) * 3.0
        return low - grow, high + grow

    def value(self, at: Coords) -> np.ndarray:
        return self.shape.value(at) - np.float32(self.margin_mm)


@dataclass(frozen=True, eq=False)
class Field:
    """Any implicit function inside a box."""

    box: Bounds
    function: Callable[[Coords], np.ndarray]

    def bounds(self) -> Bounds:
        return self.box

    def value(self, at: Coords) -> np.ndarray:
        return self.function(at)


def smooth_max(a: np.ndarray, b: np.ndarray, radius_mm: float) -> np.ndarray:
    """Maximum with an edge rounded over about ``radius_mm`` (polynomial; intersection of two shapes)."""
    r = np.float32(radius_mm)
    overlap = np.maximum(r - np.abs(a - b), 0)
    return np.maximum(a, b) + overlap * overlap * (np.float32(0.25) / r)


def smooth_min(a: np.ndarray, b: np.ndarray, radius_mm: float) -> np.ndarray:
    """Minimum with a rounded edge (union of two shapes)."""
    return -smooth_max(-a, -b, radius_mm)


def spline(points: Sequence[Vector], steps: int) -> np.ndarray:
    """Catmull-Rom curve through rows of any width (position and radius, say), ``steps`` pieces per interval."""
    p = np.asarray(points, dtype=float)
    ends = np.vstack([2 * p[0] - p[1], p, 2 * p[-1] - p[-2]])
    t = np.linspace(0, 1, steps, endpoint=False)[:, None]
    out = []
    for n in range(len(p) - 1):
        a, b, c, d = ends[n : n + 4]
        out.append(0.5 * (2 * b + (c - a) * t + (2 * a - 5 * b + 4 * c - d) * t**2 + (3 * b - a - 3 * c + d) * t**3))
    return np.vstack([*out, p[-1:]])


def tube(points: Sequence[Vector], steps: int = 3) -> tuple[Capsule, ...]:
    """Capsules along a spline through (x, y, z, radius) rows."""
    curve = spline(points, steps)
    return tuple(Capsule(p[:3], q[:3], max(float(p[3]), 0.3), max(float(q[3]), 0.3)) for p, q in pairwise(curve))


class Profile:
    """A smooth function of height from knots, looked up in a table of 0.25 mm steps."""

    def __init__(self, heights_mm: Sequence[float], values: Sequence[float]) -> None:
        z = np.arange(heights_mm[0], heights_mm[-1] + 0.25, 0.25)
        raw = np.interp(z, heights_mm, values)
        width = 81  # 20 mm
        padded = np.pad(raw, width // 2, mode="edge")
        kernel = np.hanning(width + 2)[1:-1]
        self.first = np.float32(heights_mm[0])
        self.table = np.convolve(padded, kernel / kernel.sum(), mode="valid").astype(np.float32)

    def __call__(self, z: np.ndarray) -> np.ndarray:
        index = ((z - self.first) * np.float32(4) + np.float32(0.5)).astype(np.int32)
        return np.take(self.table, index, mode="clip")

    def at(self, z: float) -> float:
        return float(self(np.array([z], dtype=np.float32))[0])

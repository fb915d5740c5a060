"""Where an endplate of a vertebral body lies, finer than a voxel, from all columns of voxels that cross it.

A mask says of each column only between which two voxels the surface passes. One column leaves it open by a voxel. A
smooth surface that passes between the right two voxels of *every* column is held much closer wherever the
endplate is a little tilted or curved against the grid, because its steps then lie in many places. The surface is a
parabola from back to front and straight across. The middle between the lowest and the highest one that fits is the
answer and half of their distance its error: as wide as the voxels leave it open, a whole voxel from end to end where a
flat endplate runs along the grid. Where no parabola fits every column, as on a ragged mask, each column may be missed
by as much as the best one must, and a half more.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from radvlm.types.geometry import Geometry

#: Half the width of the strip of columns (mm), and the share of the depth left out in front and behind: rounded edges.
STRIP_MM, EDGE_SHARE = 10.0, 0.1
#: Fewer columns say nothing of a slope.
MIN_COLUMNS = 8
#: Voxels on each side that are asked: of all columns the closest ones to the surface, and some evenly spread.
CLOSEST, SPREAD = 40, 24
#: A column farther than this from the parabola (voxels along it, and robust standard deviations) is an osteophyte or a
#: fault of the mask.
FAR_VOXELS, FAR_DEVIATIONS = 1.0, 4.0
#: How much farther than the best parabola needs a column may be passed: a factor, and a share of a voxel.
ROOM, ROOM_VOXELS = 1.5, 0.02
#: Forms that are tried: how far from the least-squares one (voxels at the ends), how many of slope, bend and tilt, and
#: how often, each time where the last ones fitted.
SEARCH_VOXELS, LATTICE, SEARCHES = 1.3, (15, 13, 9), 3


@dataclass(frozen=True, eq=False)
class BodyFrame:
    """Place and axes of a vertebral body: its middle (RAS+ mm), unit vectors up and to its front, half its depth."""

    middle_mm: np.ndarray
    up: np.ndarray
    forward: np.ndarray
    half_depth_mm: float

    @property
    def across(self) -> np.ndarray:
        return np.cross(self.forward, self.up)


@dataclass(frozen=True)
class Endplate:
    """Distance (mm) of an endplate from the middle of the body at the places asked for, with half-widths of error."""

    distance_mm: tuple[float, ...]
    error_mm: tuple[float, ...]


def measure_endplates(
    mask: np.ndarray, grid: Geometry, frame: BodyFrame, places: Sequence[float]
) -> tuple[Endplate, Endplate] | None:
    """The upper and the lower endplate of a body; None where too few columns of voxels cross one of them.

    Args:
        mask: (I, J, K) bool, one vertebra. grid: its geometry.
        places: shares of the depth from the back, at which the endplates are wanted.
    """
    sides = [_columns(mask, grid, frame, sign) for sign in (1.0, -1.0)]
    kept = [_fitting(inner, outer) for inner, outer in sides]
    if any(len(inner) < MIN_COLUMNS for inner, _ in kept):
        return None
    at = _basis(2 * np.asarray(places) - 1, np.zeros(len(places)))
    upper, lower = (_bounds(inner, outer, at) for inner, outer in kept)
    return upper, lower


def _columns(mask: np.ndarray, grid: Geometry, frame: BodyFrame, sign: float) -> tuple[np.ndarray, np.ndarray]:
    """(n, 3) last voxel inside and first voxel outside of each column that leaves the body on one side.

    Each row is: along from -1 (back) to 1 (front), across from -1 to 1, and mm from the middle towards that side.
    """
    axis = int(np.abs(grid.directions.T @ frame.up).argmax())
    vectors = np.stack([frame.forward, frame.across, sign * frame.up])
    steps = vectors @ grid.affine[:3, :3]  # (3 coordinates, 3 axes of the grid): mm for each voxel
    start = vectors @ (grid.affine[:3, 3] - frame.middle_mm)
    index = np.indices(mask.shape, sparse=True)
    along, across, away = (start[n] + sum(steps[n, a] * index[a] for a in range(3)) for n in range(3))
    along, across, away, solid = (np.moveaxis(x, axis, -1) for x in (along, across, away, mask))
    if steps[2, axis] < 0:
        along, across, away, solid = (x[..., ::-1] for x in (along, across, away, solid))
    outside = ~solid & (away > 0)
    first = outside.argmax(axis=-1)
    last = np.maximum(first - 1, 0)
    rows, cols = np.indices(first.shape)
    left = outside.any(axis=-1) & solid[rows, cols, last]
    both = [np.stack([x[rows, cols, k] for x in (along, across, away)], axis=-1)[left] for k in (last, first)]
    middle = (both[0] + both[1]) / 2
    near = np.abs(middle[:, 0]) <= (1 - 2 * EDGE_SHARE) * frame.half_depth_mm
    near &= np.abs(middle[:, 1]) <= STRIP_MM
    for points in both:
        points[:, 0] /= frame.half_depth_mm
        points[:, 1] /= STRIP_MM
    return both[0][near], both[1][near]


def _basis(along: np.ndarray, across: np.ndarray) -> np.ndarray:
    return np.stack([np.ones_like(along), along, along**2, across], axis=-1)


def _fitting(inner: np.ndarray, outer: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The columns without those that lie far from a parabola through their middles."""
    for _ in range(3):
        if len(inner) < MIN_COLUMNS:
            break
        middle = (inner + outer) / 2
        basis = _basis(middle[:, 0], middle[:, 1])
        away = middle[:, 2] - basis @ np.linalg.lstsq(basis, middle[:, 2], rcond=None)[0]
        spread = 1.4826 * float(np.median(np.abs(away - np.median(away))))
        voxel = float(np.median(outer[:, 2] - inner[:, 2]))
        near = np.abs(away) <= max(FAR_VOXELS * voxel, FAR_DEVIATIONS * spread)
        if near.all():
            break
        inner, outer = inner[near], outer[near]
    return inner, outer


def _bounds(inner: np.ndarray, outer: np.ndarray, at: np.ndarray) -> Endplate:
    """Lowest and highest parabola at each place, of those that pass between the two voxels of every column.

    Slope, bend and tilt are tried on a lattice, and on a finer one where those lie that fit; the height of a parabola
    of given form is bounded by its highest voxel inside and its lowest one outside.
    """
    middle = (inner + outer) / 2
    voxel = float(np.median(outer[:, 2] - inner[:, 2]))
    fitted = np.linalg.lstsq(_basis(middle[:, 0], middle[:, 1]), middle[:, 2], rcond=None)[0]
    inner, outer = (_telling(x, fitted) for x in (inner, outer))
    below, above = (_basis(x[:, 0], x[:, 1])[:, 1:] for x in (inner, outer))
    form = fitted[1:]
    low, high = form - SEARCH_VOXELS * voxel, form + SEARCH_VOXELS * voxel
    for _ in range(SEARCHES):
        axes = [np.linspace(a, b, n) for a, b, n in zip(low, high, LATTICE, strict=True)]
        forms = np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1).reshape(-1, 3)
        least = (inner[:, 2] - _product(forms, below)).max(axis=1)
        most = (outer[:, 2] - _product(forms, above)).min(axis=1)
        needed = (least - most) / 2
        room = max(0.0, ROOM * float(needed.min())) + ROOM_VOXELS * voxel
        fit = needed <= room
        step = (high - low) / (np.array(LATTICE) - 1)
        low, high = forms[fit].min(axis=0) - step, forms[fit].max(axis=0) + step
    there = _product(forms[fit], at[:, 1:])
    lowest = (there + (least[fit] - room)[:, None]).min(axis=0)
    highest = (there + (most[fit] + room)[:, None]).max(axis=0)
    return Endplate(tuple(map(float, (lowest + highest) / 2)), tuple(map(float, (highest - lowest) / 2)))


def _telling(points: np.ndarray, fitted: np.ndarray) -> np.ndarray:
    """The voxels on one side of a surface that bound it: those closest to it, and some evenly spread."""
    away = np.abs(points[:, 2] - _basis(points[:, 0], points[:, 1]) @ fitted)
    close = np.argsort(away, kind="stable")[:CLOSEST]
    even = np.linspace(0, len(points) - 1, min(SPREAD, len(points))).astype(int)
    return points[np.union1d(close, even)]


def _product(forms: np.ndarray, basis: np.ndarray) -> np.ndarray:
    """(forms, points) values; small, so that no threads are woken for it."""
    return np.einsum("fk,nk->fn", forms, basis)

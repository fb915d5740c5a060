"""The voxel grid of a scan in world space.

World coordinates are RAS+ millimeters everywhere (x grows to the patient's right, y to anterior, z to
superior), as in nibabel. DICOM's LPS+ is converted in ``radvlm.io`` and nowhere else. An index (i, j, k)
names the *center* of a voxel; a voxel reaches half a voxel further on each side, so the extent of a grid is
edge to edge. Grids are compared by the distance of their corners in mm, never by comparing floats, because
headers store float32.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from radvlm.errors import GridError, InputError

#: Largest |cosine| between two voxel axes that still counts as perpendicular (0.06 degrees).
PERPENDICULAR_COSINE = 1e-3
#: Two grids whose corners all lie within this distance are the same grid.
SAME_GRID_MM = 0.1
#: More voxels than this in one axis is a broken header, not a scan.
MAX_AXIS = 16384


@dataclass(frozen=True)
class Box:
    """A half-open box of voxel indices: ``start`` is inside, ``stop`` is not."""

    start: tuple[int, int, int]
    stop: tuple[int, int, int]

    def __post_init__(self) -> None:
        if len(self.start) != 3 or len(self.stop) != 3:
            raise InputError("a Box has three start and three stop indices", f"{self.start}, {self.stop}")
        object.__setattr__(self, "start", tuple(int(v) for v in self.start))
        object.__setattr__(self, "stop", tuple(int(v) for v in self.stop))
        if any(lo < 0 or hi <= lo for lo, hi in zip(self.start, self.stop, strict=True)):
            raise InputError("a Box holds at least one voxel", f"start {self.start}, stop {self.stop}")

    @classmethod
    def from_slices(cls, slices: Sequence[slice]) -> Box:
        """Box from three slices as ``scipy.ndimage.find_objects`` returns them."""
        return cls(tuple(s.start for s in slices), tuple(s.stop for s in slices))

    @property
    def slices(self) -> tuple[slice, slice, slice]:
        return tuple(slice(lo, hi) for lo, hi in zip(self.start, self.stop, strict=True))  # type: ignore[return-value]

    @property
    def shape(self) -> tuple[int, int, int]:
        return tuple(hi - lo for lo, hi in zip(self.start, self.stop, strict=True))  # type: ignore[return-value]

    def grown(self, margin: int | Sequence[int], shape: Sequence[int]) -> Box:
        """Grown by ``margin`` voxels on each side (one number or one per axis), kept inside ``shape``."""
        margins = (margin,) * 3 if isinstance(margin, int) else tuple(margin)
        start = tuple(max(0, lo - m) for lo, m in zip(self.start, margins, strict=True))
        stop = tuple(min(n, hi + m) for hi, m, n in zip(self.stop, margins, shape, strict=True))
        return Box(start, stop)  # type: ignore[arg-type]

    def intersection(self, other: Box) -> Box | None:
        start = tuple(max(a, b) for a, b in zip(self.start, other.start, strict=True))
        stop = tuple(min(a, b) for a, b in zip(self.stop, other.stop, strict=True))
        if any(hi <= lo for lo, hi in zip(start, stop, strict=True)):
            return None
        return Box(start, stop)  # type: ignore[arg-type]

    def union(self, other: Box) -> Box:
        return Box(
            tuple(min(a, b) for a, b in zip(self.start, other.start, strict=True)),  # type: ignore[arg-type]
            tuple(max(a, b) for a, b in zip(self.stop, other.stop, strict=True)),  # type: ignore[arg-type]
        )

    def meets(self, other: Box) -> bool:
        """Whether the two have a voxel in common."""
        return self.intersection(other) is not None

    def within(self, outer: Box) -> Box:
        """The box that is counted from the start of ``outer``, in the indices of ``outer``: undoes ``relative_to``."""
        return Box(
            tuple(a + b for a, b in zip(self.start, outer.start, strict=True)),  # type: ignore[arg-type]
            tuple(a + b for a, b in zip(self.stop, outer.start, strict=True)),  # type: ignore[arg-type]
        )

    def relative_to(self, outer: Box) -> Box:
        """The same box counted from the start of ``outer``."""
        return Box(
            tuple(a - b for a, b in zip(self.start, outer.start, strict=True)),  # type: ignore[arg-type]
            tuple(a - b for a, b in zip(self.stop, outer.start, strict=True)),  # type: ignore[arg-type]
        )


@dataclass(frozen=True, eq=False)
class Geometry:
    """Shape (I, J, K) and 4x4 affine from index to RAS+ mm. Finite, invertible, perpendicular axes.

    Raises GridError for anything else; a sheared grid (gantry tilt) must be resampled by the reader first.

    Example:
        >>> import numpy as np, radvlm
        >>> radvlm.Geometry((512, 512, 100), np.diag([-0.8, -0.8, 3.0, 1.0]))
        Geometry(512 x 512 x 100 voxels of 0.8 x 0.8 x 3 mm, LPS)
    """

    shape: tuple[int, int, int]
    affine: np.ndarray

    def __post_init__(self) -> None:
        shape = tuple(int(n) for n in self.shape)
        if len(shape) != 3 or any(n < 1 or n > MAX_AXIS for n in shape):
            raise GridError(
                f"a grid has three axes of 1 to {MAX_AXIS} voxels",
                f"shape {tuple(self.shape)}",
                "Pass one 3D volume; split time series and channels first",
            )
        affine = np.array(self.affine, dtype=np.float64)
        if affine.shape != (4, 4) or not np.isfinite(affine).all():
            raise GridError("the affine is a finite 4x4 matrix", f"shape {affine.shape}, values {affine.tolist()}")
        if not np.allclose(affine[3], (0, 0, 0, 1)):
            raise GridError("the last row of an affine is 0 0 0 1", str(affine[3].tolist()))
        spacing = np.linalg.norm(affine[:3, :3], axis=0)
        if (spacing < 1e-3).any() or (spacing > 1e3).any():
            raise GridError(
                "voxel spacing lies between 0.001 and 1000 mm",
                f"{spacing.tolist()} mm",
                "Repair the header; world units must be mm",
            )
        directions = affine[:3, :3] / spacing
        cosines = np.abs(directions.T @ directions - np.eye(3))
        if cosines.max() > PERPENDICULAR_COSINE:
            angle = float(np.degrees(np.arcsin(min(1.0, cosines.max()))))
            raise GridError(
                "voxel axes are perpendicular",
                f"a grid sheared by {angle:.2f} degrees",
                "Resample it to a perpendicular grid first",
            )
        affine.setflags(write=False)
        object.__setattr__(self, "shape", shape)
        object.__setattr__(self, "affine", affine)

    def __repr__(self) -> str:
        spacing = " x ".join(f"{s:.3g}" for s in self.spacing_mm)
        return f"Geometry({' x '.join(map(str, self.shape))} voxels of {spacing} mm, {self.axis_codes})"

    @cached_property
    def spacing_mm(self) -> tuple[float, float, float]:
        """Distance of neighboring voxel centers along each axis, in mm."""
        return tuple(float(s) for s in np.linalg.norm(self.affine[:3, :3], axis=0))  # type: ignore[return-value]

    @cached_property
    def directions(self) -> np.ndarray:
        """3x3, column a = unit world vector of array axis a."""
        return self.affine[:3, :3] / np.linalg.norm(self.affine[:3, :3], axis=0)

    @property
    def voxel_volume_mm3(self) -> float:
        return float(abs(np.linalg.det(self.affine[:3, :3])))

    @property
    def extent_mm(self) -> tuple[float, float, float]:
        """Edge-to-edge size along each axis in mm."""
        return tuple(n * s for n, s in zip(self.shape, self.spacing_mm, strict=True))  # type: ignore[return-value]

    @cached_property
    def axis_codes(self) -> str:
        """Direction that each array axis points to, such as ``RAS`` or ``LPS`` (nearest world axis)."""
        order, signs = canonical_order(self.affine)
        codes = [""] * 3
        for world, (axis, sign) in enumerate(zip(order, signs, strict=True)):
            codes[axis] = ("LR", "PA", "IS")[world][sign > 0]
        return "".join(codes)

    @property
    def is_canonical(self) -> bool:
        """True when i runs most nearly to the right, j to anterior and k to superior."""
        return self.axis_codes == "RAS"

    @property
    def obliquity_degrees(self) -> float:
        """Largest angle between a voxel axis and its nearest world axis."""
        best = np.abs(self.directions).max(axis=0).min()
        return float(np.degrees(np.arccos(min(1.0, best))))

    def to_world(self, index: np.ndarray | Sequence[float]) -> np.ndarray:
        """Index (..., 3) to RAS+ mm (..., 3); whole numbers are voxel centers."""
        return np.asarray(index, dtype=float) @ self.affine[:3, :3].T + self.affine[:3, 3]

    def to_index(self, point_mm: np.ndarray | Sequence[float]) -> np.ndarray:
        """RAS+ mm (..., 3) to fractional index (..., 3)."""
        inverse = np.linalg.inv(self.affine)
        return np.asarray(point_mm, dtype=float) @ inverse[:3, :3].T + inverse[:3, 3]

    @cached_property
    def corners_mm(self) -> np.ndarray:
        """(8, 3) world positions of the outer corners (edge to edge), in index order."""
        ends = [(-0.5, n - 0.5) for n in self.shape]
        return self.to_world(np.array(list(itertools.product(*ends))))

    def corner_distance_mm(self, other: Geometry) -> float:
        """Largest distance between matching corners of two grids; inf when the shapes differ."""
        if self.shape != other.shape:
            return float("inf")
        return float(np.linalg.norm(self.corners_mm - other.corners_mm, axis=1).max())

    def same_grid(self, other: Geometry, tolerance_mm: float = SAME_GRID_MM) -> bool:
        return self.corner_distance_mm(other) <= tolerance_mm

    def overlap_fraction(self, other: Geometry) -> float:
        """Share of this grid's volume (0 to 1) whose voxels also lie inside ``other`` (sampled, 0.05)."""
        samples = np.stack(np.meshgrid(*[np.linspace(-0.5, n - 0.5, 20) for n in self.shape], indexing="ij"), -1)
        index = other.to_index(self.to_world(samples.reshape(-1, 3)))
        inside = ((index >= -0.5 - 1e-6) & (index <= np.array(other.shape) - 0.5 + 1e-6)).all(axis=1)
        return float(inside.mean())

    def cropped(self, box: Box) -> Geometry:
        """Geometry of the voxels inside ``box``."""
        affine = self.affine.copy()
        affine[:3, 3] = self.to_world(box.start)
        return Geometry(box.shape, affine)

    def reordered(self, order: Sequence[int], signs: Sequence[int]) -> Geometry:
        """Geometry after ``array.transpose(order)`` and then flipping the axes whose sign is -1."""
        shape = tuple(self.shape[a] for a in order)
        affine = np.eye(4)
        origin = self.affine[:3, 3].copy()
        for new, (axis, sign) in enumerate(zip(order, signs, strict=True)):
            column = self.affine[:3, axis]
            affine[:3, new] = column * sign
            if sign < 0:
                origin = origin + column * (self.shape[axis] - 1)
        affine[:3, 3] = origin
        return Geometry(shape, affine)  # type: ignore[arg-type]


def canonical_order(affine: np.ndarray) -> tuple[tuple[int, int, int], tuple[int, int, int]]:
    """Array axes in the order right, anterior, superior, and +1 or -1 for the direction of each.

    Of the six ways to assign array axes to world axes, the one with the largest sum of |cosines| wins, which
    no permutation or flip of the array can change.
    """
    directions = affine[:3, :3] / np.linalg.norm(affine[:3, :3], axis=0)
    best = max(
        itertools.permutations(range(3)),
        key=lambda order: round(sum(abs(directions[world, axis]) for world, axis in enumerate(order)), 9),
    )
    signs = tuple(1 if directions[world, axis] >= 0 else -1 for world, axis in enumerate(best))
    return best, signs  # type: ignore[return-value]


def to_canonical(array: np.ndarray, affine: np.ndarray) -> tuple[np.ndarray, Geometry, str]:
    """RAS+-ordered view of a stored (I, J, K) array, its Geometry, and the stored axis codes (such as ``LPS``)."""
    stored = Geometry(array.shape, affine)
    order, signs = canonical_order(stored.affine)
    return reorder_array(array, order, signs), stored.reordered(order, signs), stored.axis_codes


def reorder_array(array: np.ndarray, order: Sequence[int], signs: Sequence[int]) -> np.ndarray:
    """A view of ``array`` with its axes in ``order``, flipped where the sign is -1."""
    view = array.transpose(order)
    return view[tuple(slice(None, None, int(sign)) for sign in signs)]

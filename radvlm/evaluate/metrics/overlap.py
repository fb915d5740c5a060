"""Voxels of cited regions, on one grid, and how much two sets of them share.

Nothing is painted into a full volume. A place is a bounding box and a boolean array of its shape, so two
lesions in a 512 x 512 x 300 scan cost a few thousand voxels. Masks of another grid (a candidate computed on resampled
images) are looked up voxel by voxel at the centers of the reference's voxels, nearest neighbor.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from radvlm.errors import GridError, InputError
from radvlm.types.geometry import Box, Geometry
from radvlm.types.region_map import RegionMap

if TYPE_CHECKING:
    from radvlm.types.region import Region

#: From a region to its box and the boolean array of that box, as ``radvlm.quantify.region_mask`` gives them.
MaskOf = Callable[["Region"], tuple[Box, np.ndarray]]


@dataclass(frozen=True, eq=False)
class Place:
    """A set of voxels: ``mask`` is boolean, of the shape of ``box``; None for no voxel on this grid."""

    box: Box | None
    mask: np.ndarray | None

    @property
    def voxels(self) -> int:
        return 0 if self.mask is None else int(np.count_nonzero(self.mask))


NOWHERE = Place(None, None)


@dataclass(frozen=True, eq=False)
class RegionMasks:
    """Where the masks of one report's regions come from.

    Attributes:
        mask_of: called with a Region; None to stand each region's bounding box in for its mask.
        geometry: grid of those masks; None when unknown, and then both reports are on one grid.
    """

    mask_of: MaskOf | None
    geometry: Geometry | None = None

    @classmethod
    def of(cls, source: RegionMap | MaskOf | RegionMasks | None, geometry: Geometry | None = None) -> RegionMasks:
        """From a RegionMap, a callable (with the grid of its masks), or None for bounding boxes."""
        if source is None or isinstance(source, RegionMasks):
            return source or cls(None, geometry)
        if isinstance(source, RegionMap):
            return cls(_lookup(source), source.geometry)
        if not callable(source):
            raise InputError("masks come from a RegionMap or from a callable of a Region", type(source).__name__)
        return cls(source, geometry)

    def place(self, regions: Sequence[Region]) -> Place:
        """The union of regions, on the grid of these masks; InputError when a mask does not fit its region."""
        return union([self._one(region) for region in regions])

    def _one(self, region: Region) -> Place:
        if self.mask_of is None:
            return Place(region.box, np.ones(region.box.shape, dtype=bool))
        box, mask = self.mask_of(region)
        mask = np.asarray(mask)
        if mask.shape != box.shape:
            raise InputError("a mask has the shape of its box", f"{region.id}: {mask.shape}, {box.shape}")
        if self.geometry is not None and any(stop > n for stop, n in zip(box.stop, self.geometry.shape, strict=True)):
            raise GridError("a region lies on the grid of its masks", f"{region.id}: {box}, {self.geometry}")
        return Place(box, mask.astype(bool, copy=False))


def _lookup(regions: RegionMap) -> MaskOf:
    def mask_of(region: Region) -> tuple[Box, np.ndarray]:
        row = regions.row(region.id)
        if row is None:
            raise InputError(
                "a cited region is in the label map", region.id, "Pass the map that was painted for this report"
            )
        if any(stop > n for stop, n in zip(region.box.stop, regions.labels.shape, strict=True)):
            raise GridError("a region lies on the grid of its label map", f"{region.id}: {region.box}")
        return region.box, np.isin(regions.labels[region.box.slices], (row.label, *row.also))

    return mask_of


def union(places: Sequence[Place]) -> Place:
    """All voxels of several places."""
    some = [p for p in places if p.box is not None]
    if len(some) < 2:
        return some[0] if some else NOWHERE
    outer = some[0].box
    for place in some[1:]:
        outer = outer.union(place.box)  # type: ignore[union-attr,arg-type]
    mask = np.zeros(outer.shape, dtype=bool)  # type: ignore[union-attr]
    for place in some:
        mask[place.box.relative_to(outer).slices] |= place.mask  # type: ignore[union-attr,arg-type]
    return Place(outer, mask)


def on_grid(place: Place, source: Geometry | None, target: Geometry | None) -> Place:
    """The same place on another grid, nearest neighbor; as it is when the grids agree or one is unknown."""
    if place.box is None or place.mask is None or source is None or target is None or source.same_grid(target):
        return place
    ends = np.array([[lo - 0.5, hi - 0.5] for lo, hi in zip(place.box.start, place.box.stop, strict=True)])
    corners = np.stack(np.meshgrid(*ends, indexing="ij"), axis=-1).reshape(-1, 3)
    index = target.to_index(source.to_world(corners))
    start = np.maximum(np.floor(index.min(axis=0)).astype(int), 0)
    stop = np.minimum(np.ceil(index.max(axis=0)).astype(int) + 1, target.shape)
    if (stop <= start).any():
        return NOWHERE
    box = Box(tuple(start), tuple(stop))
    centers = np.stack(np.meshgrid(*[np.arange(a, b) for a, b in zip(start, stop, strict=True)], indexing="ij"), -1)
    at = np.rint(source.to_index(target.to_world(centers.reshape(-1, 3)))).astype(int) - np.array(place.box.start)
    inside = ((at >= 0) & (at < np.array(place.mask.shape))).all(axis=1)
    mask = np.zeros(len(at), dtype=bool)
    mask[inside] = place.mask[tuple(at[inside].T)]
    return Place(box, mask.reshape(box.shape)) if mask.any() else NOWHERE


def shared_voxels(first: Place, second: Place) -> int:
    """Voxels in both; the two places are on one grid."""
    if first.box is None or second.box is None:
        return 0
    common = first.box.intersection(second.box)
    if common is None:
        return 0
    a = first.mask[common.relative_to(first.box).slices]  # type: ignore[index]
    b = second.mask[common.relative_to(second.box).slices]  # type: ignore[index]
    return int(np.count_nonzero(a & b))


def dice(first: Place, second: Place) -> float:
    """2 |A and B| / (|A| + |B|) (Dice 1945); 0 when neither has a voxel on this grid."""
    total = first.voxels + second.voxels
    return 2 * shared_voxels(first, second) / total if total else 0.0


def iou(first: Place, second: Place) -> float:
    """|A and B| / |A or B|; 0 when neither has a voxel on this grid."""
    shared = shared_voxels(first, second)
    total = first.voxels + second.voxels - shared
    return shared / total if total else 0.0


def pointing_voxel(place: Place, spacing_mm: Sequence[float] = (1.0, 1.0, 1.0)) -> tuple[int, int, int] | None:
    """The voxel of the place nearest to its own center of mass: a point that surely lies in it; None when empty."""
    if place.mask is None or place.box is None or not place.mask.any():
        return None
    voxels = np.argwhere(place.mask)
    distance = (((voxels - voxels.mean(axis=0)) * np.asarray(spacing_mm)) ** 2).sum(axis=1)
    return tuple(int(v) for v in voxels[int(distance.argmin())] + np.array(place.box.start))  # type: ignore[return-value]


def contains(place: Place, voxel: Sequence[int]) -> bool:
    """Does the place have that voxel."""
    if place.box is None or place.mask is None:
        return False
    at = tuple(v - lo for v, lo in zip(voxel, place.box.start, strict=True))
    return all(0 <= v < n for v, n in zip(at, place.mask.shape, strict=True)) and bool(place.mask[at])


def centroid_mm(regions: Sequence[Region]) -> np.ndarray:
    """(3,) center of mass of several regions in RAS+ mm, weighted by volume, from the regions themselves."""
    weights = np.array([r.volume_ml for r in regions])
    return np.asarray((np.array([r.centroid_mm for r in regions]) * weights[:, None]).sum(axis=0) / weights.sum())

"""A set of voxels of a Segmentation, without the voxels themselves."""

from __future__ import annotations

import math
from dataclasses import dataclass

from radvlm.errors import InputError
from radvlm.types.anatomy import structure
from radvlm.types.geometry import Box


@dataclass(frozen=True)
class Region:
    """A set of voxels in the Segmentation: a whole structure, or one 26-connected instance of it.

    Attributes:
        id: unique in a report, such as ``liver`` or ``liver_lesion/2``.
        structure: canonical structure name.
        box: tight bounding box in voxels of the RAS+ grid.
        voxels: number of voxels, at least 1.
        volume_ml: volume in mL.
        centroid_mm: center of mass, RAS+ mm.
        seed: index of one voxel of the instance; None for a whole structure.
    """

    id: str
    structure: str
    box: Box
    voxels: int
    volume_ml: float
    centroid_mm: tuple[float, float, float]
    seed: tuple[int, int, int] | None = None

    def __post_init__(self) -> None:
        structure(self.structure)
        if self.voxels < 1 or not self.volume_ml > 0:
            raise InputError("a region has at least one voxel and a positive volume", f"{self.voxels} voxels")
        if not all(math.isfinite(v) for v in self.centroid_mm):
            raise InputError("a centroid is finite", str(self.centroid_mm))

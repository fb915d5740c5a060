"""The cited regions of a report painted into one label map, for files and for the page."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from radvlm.errors import GridError
from radvlm.types.geometry import Geometry
from radvlm.types.region import Region


@dataclass(frozen=True)
class RegionLabel:
    """One label of the map. ``also`` lists labels painted over this region (a lesion over its organ)."""

    label: int
    region: Region
    also: tuple[int, ...] = ()


@dataclass(frozen=True, eq=False)
class RegionMap:
    """``labels`` is (I, J, K) uint8 or uint16 on ``geometry``; a region is its label plus those in ``also``."""

    labels: np.ndarray
    geometry: Geometry
    rows: tuple[RegionLabel, ...]

    def __post_init__(self) -> None:
        if self.labels.shape != self.geometry.shape:
            raise GridError("the label map has the shape of its grid", f"{self.labels.shape}, {self.geometry.shape}")

    def row(self, region_id: str) -> RegionLabel | None:
        return next((row for row in self.rows if row.region.id == region_id), None)

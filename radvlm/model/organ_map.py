"""Masks of a user on the grid of an encoder's input: one small number a voxel says which organ it is in.

An organ is a list of name patterns (``lung_*``), so that one table serves every label scheme. Where organs
overlap, the later one in the table has the voxel. The map keeps the grid of the input and not of the masks, because
only the encoder ever reads it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase

import numpy as np

from radvlm.errors import InputError
from radvlm.types.anatomy import SECTIONS
from radvlm.types.geometry import Geometry
from radvlm.types.segmentation import Segmentation

#: Organs of a table: an organ map is uint8 and 0 is none.
MOST_ORGANS = 255


@dataclass(frozen=True)
class Organ:
    """One organ of organ-level learning and of region tokens.

    Attributes:
        name: key of its own. structures: patterns of structure names whose voxels it has.
        section: section of the report that speaks of it. labels: names of labels that make it abnormal.
    """

    name: str
    structures: tuple[str, ...]
    section: str
    labels: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if not self.name or not self.structures:
            raise InputError("an organ has a name and at least one structure", repr(self))
        if self.section not in SECTIONS:
            raise InputError(
                "an organ's section is a key of radvlm.types.anatomy.SECTIONS",
                f"{self.name}: {self.section}",
                f"Choose one of {', '.join(SECTIONS)}",
            )


def organ_map(segmentation: Segmentation, organs: Sequence[Organ], grid: Geometry) -> np.ndarray:
    """(X, Y, Z) uint8 on ``grid``: 1 + number of the organ, 0 for none; nearest voxel, 0 outside the masks."""
    if len(organs) > MOST_ORGANS:
        raise InputError(f"a table has at most {MOST_ORGANS} organs", str(len(organs)))
    source = np.zeros(segmentation.geometry.shape, np.uint8)
    for number, organ in enumerate(organs, 1):
        by_layer: dict[int, list[int]] = {}
        for name, place in segmentation.places.items():
            if any(fnmatchcase(name, pattern) for pattern in organ.structures):
                by_layer.setdefault(place.layer, []).append(place.label)
        for layer, labels in by_layer.items():
            source[np.isin(segmentation.layers[layer], labels)] = number
    return nearest(source, segmentation.geometry, grid)


def nearest(values: np.ndarray, geometry: Geometry, grid: Geometry) -> np.ndarray:
    """Values (I, J, K) on ``geometry`` read at the voxel centers of ``grid``, nearest neighbor; 0 outside."""
    change = np.linalg.inv(geometry.affine) @ grid.affine  # index of grid -> index of geometry
    out = np.zeros(grid.shape, values.dtype)
    rows = np.stack(np.meshgrid(*(np.arange(n) for n in grid.shape[:2]), indexing="ij"), -1)  # (X, Y, 2)
    plane = rows @ change[:3, :2].T + change[:3, 3]  # (X, Y, 3) at z = 0
    limits = np.array(values.shape)
    for z in range(grid.shape[2]):
        index = np.rint(plane + z * change[:3, 2]).astype(np.intp)  # (X, Y, 3)
        inside = ((index >= 0) & (index < limits)).all(-1)
        i, j, k = index[inside].T
        out[..., z][inside] = values[i, j, k]
    return out

"""From the voxel head's maps to regions on the CT's own grid.

Unusual: the maps are on twice the encoder's spacing (6 mm for ``tiny``), so a region of a model is blocky and says
where, not how large; it lies in a Segmentation of its own and is never measured.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from radvlm.finding import Region
from radvlm.geometry import Box, Geometry
from radvlm.segmentation import LabelPlace, Segmentation

#: A voxel belongs to a finding when its probability is at least this share of the finding's peak ...
PEAK_SHARE = 0.5
#: ... and at least this much.
LEAST = 0.15


@dataclass(frozen=True)
class Patch:
    """Cells (x, y, z) of the coarse map that show ``structure``; ``peak`` is the strongest of them."""

    key: str
    structure: str
    cells: np.ndarray
    peak: tuple[int, int, int]
    whole: bool = False


def cells_of(probability: np.ndarray, allowed: np.ndarray | None = None) -> tuple[np.ndarray, tuple[int, int, int]]:
    """Cells of a finding and its peak, from its map (x, y, z) of probabilities, within ``allowed``."""
    inside = probability if allowed is None else np.where(allowed, probability, 0.0)
    peak = np.unravel_index(int(np.argmax(inside)), inside.shape)
    cells = inside >= max(LEAST, PEAK_SHARE * float(inside[peak]))
    cells[peak] = True
    return cells, tuple(int(v) for v in peak)  # type: ignore[return-value]


def to_scan(patches: Sequence[Patch], coarse_affine: np.ndarray, geometry: Geometry
            ) -> tuple[Segmentation | None, Mapping[str, Region]]:
    """Patches as a Segmentation on the CT's grid, and the Region of each by key; None where none falls inside.

    ``coarse_affine`` maps the index of a map cell's centre to RAS+ mm; the maps share the axes of the CT.
    Patches of one structure share its label; where structures overlap, each has its own layer.
    """
    if not patches:
        return None, {}
    index = np.linalg.inv(coarse_affine) @ geometry.affine  # CT voxel -> cell; diagonal up to rounding
    axes = [np.rint(index[a, a] * np.arange(n) + index[a, 3]).astype(int) for a, n in enumerate(geometry.shape)]
    layers: list[np.ndarray] = []
    places: dict[str, LabelPlace] = {}
    drawn: dict[str, np.ndarray] = {}
    held: list[tuple[Patch, Box, np.ndarray]] = []
    for patch in patches:
        box, mask = _resample(patch, axes)
        if box is None or not mask.any():
            continue
        held.append((patch, box, mask))
    for structure in dict.fromkeys(p.structure for p, _, _ in held):
        full = np.zeros(geometry.shape, bool)
        for patch, box, mask in held:
            if patch.structure == structure:
                full[box.slices] |= mask
        drawn[structure] = full
        for number, layer in enumerate(layers):
            if not layer[full].any() and int(layer.max()) < 255:
                label = int(layer.max()) + 1
                layer[full] = label
                places[structure] = LabelPlace(number, label)
                break
        else:
            layer = np.zeros(geometry.shape, np.uint8)
            layer[full] = 1
            layers.append(layer)
            places[structure] = LabelPlace(len(layers) - 1, 1)
    if not held:
        return None, {}
    segmentation = Segmentation(tuple(layers), places, frozenset(places), geometry, scheme="model")
    counts: dict[str, int] = {}
    regions = {}
    for patch, box, mask in held:
        alone = sum(p.structure == patch.structure for p, _, _ in held) == 1
        region = _region(patch, drawn[patch.structure], geometry, None if alone or patch.whole else box, mask, counts)
        regions[patch.key] = region
    return segmentation, regions


def _resample(patch: Patch, axes: Sequence[np.ndarray]) -> tuple[Box | None, np.ndarray]:
    """The patch on the CT's grid: its box and the mask in it; nearest cell."""
    start, stop = [], []
    for axis, cells in enumerate(axes):
        other = tuple(a for a in range(3) if a != axis)
        there = np.flatnonzero(patch.cells.any(axis=other))
        where = np.flatnonzero((cells >= there[0]) & (cells <= there[-1]))
        if where.size == 0:
            return None, np.zeros((0, 0, 0), bool)
        start.append(int(where[0]))
        stop.append(int(where[-1]) + 1)
    picked = [cells[a:b] for cells, a, b in zip(axes, start, stop, strict=True)]
    return Box(tuple(start), tuple(stop)), patch.cells[np.ix_(*picked)]  # type: ignore[arg-type]


def _region(patch: Patch, full: np.ndarray, geometry: Geometry, within: Box | None, mask: np.ndarray,
            counts: dict[str, int]) -> Region:
    """Whole structure, or the connected instance of it that holds most of this patch."""
    from scipy.ndimage import find_objects, label

    if within is None:
        box, name, seed = Box.from_slices(find_objects(full.astype(np.uint8))[0]), patch.structure, None
        part = full[box.slices]
    else:
        numbered, _ = label(full, structure=np.ones((3, 3, 3)))
        inside = numbered[within.slices][mask]
        own = int(np.bincount(inside[inside > 0]).argmax())
        box = Box.from_slices(find_objects(numbered)[own - 1])
        part = numbered[box.slices] == own
        counts[patch.structure] = counts.get(patch.structure, 0) + 1
        name = f"{patch.structure}/{counts[patch.structure]}"
        first = np.argwhere(part)[0]
        seed = tuple(int(v + lo) for v, lo in zip(first, box.start, strict=True))
    points = np.argwhere(part).mean(axis=0) + np.array(box.start)
    centre = geometry.affine[:3, :3] @ points + geometry.affine[:3, 3]
    voxels = int(part.sum())
    return Region(name, patch.structure, box, voxels, voxels * geometry.voxel_volume_mm3 / 1000,
                  tuple(float(v) for v in centre), seed)  # type: ignore[arg-type]

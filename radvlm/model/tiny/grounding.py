"""From the voxel head's maps to regions on the CT's own grid.

The maps are on twice the encoder's spacing (6 mm for ``tiny``), so a region of a model is blocky and says
where, not how large; it lies in a Segmentation of its own and is never measured.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import reduce

import numpy as np

from radvlm.types.geometry import Box, Geometry
from radvlm.types.region import Region
from radvlm.types.segmentation import LabelPlace, Segmentation

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


def to_scan(
    patches: Sequence[Patch], coarse_affine: np.ndarray, geometry: Geometry, searched: Collection[str] = ()
) -> tuple[Segmentation | None, Mapping[str, Region]]:
    """Patches as a Segmentation on the CT's grid, and the Region of each by key.

    ``coarse_affine`` maps the index of a map cell's center to RAS+ mm; the maps share the axes of the CT.
    Patches of one structure share its label; where structures overlap, each has its own layer. A patch that no voxel
    of the CT falls into has no region. ``searched``: structures that were looked for, whether a patch shows them or
    not. None where no patch falls inside and nothing was searched.
    """
    index = np.linalg.inv(coarse_affine) @ geometry.affine  # CT voxel -> cell; diagonal up to rounding
    axes = [np.rint(index[a, a] * np.arange(n) + index[a, 3]).astype(int) for a, n in enumerate(geometry.shape)]
    groups: dict[str, list[tuple[Patch, Box, np.ndarray]]] = {}
    for patch in patches:
        box, mask = _resample(patch, axes)
        if box is not None and mask.any():
            groups.setdefault(patch.structure, []).append((patch, box, mask))
    if not groups and not searched:
        return None, {}
    layers: list[np.ndarray] = []
    labels: list[int] = []  # how many each layer has
    places: dict[str, LabelPlace] = {}
    regions: dict[str, Region] = {}
    for structure, group in groups.items():
        around = reduce(Box.union, [box for _, box, _ in group])
        drawn = np.zeros(around.shape, bool)  # the structure in that box; a full array each would fill the memory
        for _, box, mask in group:
            drawn[_inside(box, around)] |= mask
        number = next(
            (n for n, layer in enumerate(layers) if labels[n] < 255 and not layer[around.slices][drawn].any()),
            len(layers),
        )
        if number == len(layers):
            layers.append(np.zeros(geometry.shape, np.uint8))
            labels.append(0)
        labels[number] += 1
        layers[number][around.slices][drawn] = labels[number]
        places[structure] = LabelPlace(number, labels[number])
        count = 0
        for patch, box, mask in group:
            whole = len(group) == 1 or patch.whole
            count += not whole
            name = structure if whole else f"{structure}/{count}"
            part = None if whole else _inside(box, around)
            regions[patch.key] = _region(name, structure, drawn, around, geometry, part, mask)
    return Segmentation(
        tuple(layers), places, frozenset(searched) | frozenset(places), geometry, scheme="model"
    ), regions


def _inside(box: Box, around: Box) -> tuple[slice, ...]:
    return tuple(slice(a - c, b - c) for a, b, c in zip(box.start, box.stop, around.start, strict=True))


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


def _region(
    name: str,
    structure: str,
    drawn: np.ndarray,
    around: Box,
    geometry: Geometry,
    within: tuple[slice, ...] | None,
    mask: np.ndarray,
) -> Region:
    """Whole structure (``within`` None), or the connected instance of it that holds most of the patch ``mask`` there.

    ``drawn`` is the structure in the box ``around``.
    """
    from scipy.ndimage import find_objects, label

    seed = None
    if within is None:
        slices = find_objects(drawn.astype(np.uint8))[0]
        part = drawn[slices]
    else:
        numbered, _ = label(drawn, structure=np.ones((3, 3, 3)))
        own = int(np.bincount(numbered[within][mask]).argmax())
        slices = find_objects(numbered)[own - 1]
        part = numbered[slices] == own
    start = np.array([s.start + lo for s, lo in zip(slices, around.start, strict=True)])
    box = Box(tuple(int(v) for v in start), tuple(int(v) for v in start + part.shape))  # type: ignore[arg-type]
    voxels = np.argwhere(part) + start
    if within is not None:
        seed = tuple(int(v) for v in voxels[0])
    center = geometry.to_world(voxels.mean(axis=0))
    return Region(
        name,
        structure,
        box,
        len(voxels),
        len(voxels) * geometry.voxel_volume_mm3 / 1000,
        tuple(float(v) for v in center),  # type: ignore[arg-type]
        seed,  # type: ignore[arg-type]
    )

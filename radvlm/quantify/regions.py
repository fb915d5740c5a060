"""Voxels of a region, and many regions painted into one label map without loss.

The painted map gives a label to every *combination* of regions that occurs (liver alone; liver and segment VI; liver,
segment VI and lesion 1), so overlapping regions come back exactly: a region's mask is the union of
``RegionLabel.label`` and ``RegionLabel.also``.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import numpy as np

from radvlm.errors import InputError
from radvlm.quantify.components import connected_components, connected_instances
from radvlm.quantify.voxel_counts import memory_order, slabs
from radvlm.types.anatomy import structure
from radvlm.types.geometry import Box
from radvlm.types.region import Region
from radvlm.types.region_map import RegionLabel, RegionMap
from radvlm.types.scan_measurements import focus_kind_of
from radvlm.types.segmentation import Segmentation

#: Kinds in the order of painting; a kind that is not listed comes with the organs.
_PAINT_FIRST = {"body": 0, "cavity": 1, "tissue": 2, "muscle": 3}
_PAINT_LAST = {"part": 5, "fluid": 6, "device": 7, "lesion": 8}
#: What attenuation alone shows lies uppermost.
_PAINT_FOCUS = 9


def region_mask(segmentation: Segmentation, region: Region) -> tuple[Box, np.ndarray]:
    """The voxels of a region: its box and a boolean array of the shape of that box.

    Raises StructureError when the structure is not in the masks, InputError when the voxels are not there.
    """
    mask = segmentation.mask_in_box(region.structure, region.box)
    if region.seed is not None and np.count_nonzero(mask) != region.voxels:
        # Within its tight box an instance is complete, so its component here is its component in the scan.
        seed = tuple(s - lo for s, lo in zip(region.seed, region.box.start, strict=True))
        if all(0 <= s < n for s, n in zip(seed, mask.shape, strict=True)) and mask[seed]:
            numbered = connected_components(mask)
            if region.structure in segmentation.findings:
                numbered = connected_instances(segmentation.instances_in_box(region.structure, region.box))
            mask = numbered == numbered[seed]
    held = int(np.count_nonzero(mask))
    if held != region.voxels:
        raise InputError(
            "a region belongs to the segmentation that it was measured on",
            f"{region.id} has {region.voxels} voxels, this segmentation {held} there",
            "Pass the Segmentation that was given to measure_scan",
        )
    return region.box, mask


def paint_regions(
    segmentation: Segmentation, regions: Iterable[Region], voxels: Mapping[str, np.ndarray] | None = None
) -> RegionMap:
    """One label map, on the grid of ``segmentation``, from which the mask of every region comes back exactly.

    Organs are painted first, then parts, then fluid and lesions. ``RegionLabel.label`` is the label of the voxels
    where the region lies uppermost (or its largest label, when it is covered everywhere), ``also`` are the labels
    of the other voxels of the region. Two regions with the same voxels have the same labels. Labels run from 1
    without gaps; the map is uint8 up to 255 of them, else uint16. ``voxels`` holds, by id, those of regions that no
    mask names (``Focus.voxels``), which come last.

    Raises InputError when more than 65535 combinations occur or a region is not in ``segmentation``.
    """
    unique = {region.id: region for region in regions}
    ordered = sorted(unique.values(), key=lambda r: (_rank(r), r.seed is not None, -r.voxels, r.id))
    shape, layers = segmentation.geometry.shape, segmentation.layers
    labels = np.zeros_like(layers[0], dtype=np.uint8) if layers else np.zeros(shape, dtype=np.uint8)
    order = memory_order(labels)  # that of the masks, or painting would jump through memory
    drawn = voxels or {}
    combinations: list[tuple[str, ...]] = [()]  # label -> ids of the regions there, the uppermost last
    counts = [labels.size]
    for region in ordered:
        own = drawn.get(region.id)
        box, mask = region_mask(segmentation, region) if own is None else (region.box, own)
        under = np.zeros(len(combinations), dtype=np.int64)
        inside = mask.transpose(order)
        for part in slabs(mask, order):
            window = labels[box.slices].transpose(order)[part]
            under += np.bincount(window[inside[part]], minlength=len(combinations))
        lut = np.arange(len(combinations), dtype=np.uint16)
        for old in np.flatnonzero(under):
            if under[old] == counts[old] and old:  # covered completely: the label goes on under its new meaning
                combinations[old] = (*combinations[old], region.id)
                continue
            lut[old] = len(combinations)
            combinations.append((*combinations[old], region.id))
            counts[old] -= int(under[old])
            counts.append(int(under[old]))
        if len(combinations) > np.iinfo(np.uint16).max:
            raise InputError(
                "a region map has at most 65535 labels",
                f"{len(combinations)} combinations of regions",
                "Paint fewer regions at once",
            )
        if len(combinations) > 256 and labels.dtype == np.uint8:
            labels = labels.astype(np.uint16)
        lut = lut.astype(labels.dtype)
        for part in slabs(mask, order):
            window = labels[box.slices].transpose(order)[part]
            window[inside[part]] = lut[window[inside[part]]]
    labels, combinations, counts = _renumber(labels, combinations, counts)
    rows = tuple(_row(region, combinations, counts) for region in ordered)
    return RegionMap(labels, segmentation.geometry, rows)


def _rank(region: Region) -> int:
    if focus_kind_of(region):
        return _PAINT_FOCUS
    kind = structure(region.structure).kind
    return _PAINT_FIRST.get(kind, _PAINT_LAST.get(kind, 4))


def _renumber(
    labels: np.ndarray, combinations: list[tuple[str, ...]], counts: list[int]
) -> tuple[np.ndarray, list[tuple[str, ...]], list[int]]:
    """Labels in the order in which their regions were painted (uppermost region, then fewest regions below)."""
    painted: dict[str, int] = {}
    for combination in combinations:
        for region_id in combination:
            painted.setdefault(region_id, len(painted))
    order = sorted(range(1, len(combinations)), key=lambda n: (painted[combinations[n][-1]], len(combinations[n]), n))
    lut = np.zeros(len(combinations), dtype=labels.dtype)
    for new, old in enumerate(order, 1):
        lut[old] = new
    axes = memory_order(labels)
    view = labels.transpose(axes)
    for part in slabs(labels, axes):
        view[part] = lut[view[part]]
    return labels, [(), *(combinations[n] for n in order)], [counts[0], *(counts[n] for n in order)]


def _row(region: Region, combinations: list[tuple[str, ...]], counts: list[int]) -> RegionLabel:
    held = [label for label, ids in enumerate(combinations) if region.id in ids]
    uppermost = [label for label in held if combinations[label][-1] == region.id]
    main = max(uppermost or held, key=lambda label: counts[label])
    return RegionLabel(main, region, tuple(label for label in held if label != main))


def merge_maps(base: RegionMap, top: RegionMap) -> RegionMap:
    """Two painted maps of one grid as one: each combination of their labels gets a label of its own."""
    inside = top.labels > 0
    under, over = base.labels[inside].astype(np.int64), top.labels[inside].astype(np.int64)
    width = int(top.labels.max(initial=0)) + 1
    codes, place = np.unique(under * width + over, return_inverse=True)
    first = int(base.labels.max(initial=0)) + 1
    if first + len(codes) > np.iinfo(np.uint16).max:
        raise InputError("a region map has at most 65535 labels", f"{first + len(codes)} combinations of regions")
    labels = base.labels.astype(np.uint16)
    labels[inside] = (first + np.arange(len(codes), dtype=np.uint16))[place]
    counts = np.bincount(labels.ravel(order="K"), minlength=first + len(codes))
    used = [n for n in range(1, len(counts)) if counts[n]]
    lut = np.zeros(len(counts), dtype=np.uint16 if len(used) > 255 else np.uint8)
    lut[used] = np.arange(1, len(used) + 1)
    pairs = [(first + n, int(code) // width, int(code) % width) for n, code in enumerate(codes)]

    def row(old: RegionLabel, column: int, kept: Sequence[int]) -> RegionLabel:
        own = {old.label, *old.also}
        held = [n for n in kept if n in own and counts[n]] + [pair[0] for pair in pairs if pair[column] in own]
        main = old.label if column == 1 and old.label in held else max(held, key=lambda n: int(counts[n]))
        return RegionLabel(int(lut[main]), old.region, tuple(sorted(int(lut[n]) for n in held if n != main)))

    rows = (*(row(r, 1, range(1, first)) for r in base.rows), *(row(r, 2, ()) for r in top.rows))
    return RegionMap(lut[labels], base.geometry, rows)

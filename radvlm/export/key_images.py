"""Key images: one native axial crop per lesion or important finding, for the page and for paper.

The gray image is a PNG at the resolution of the scan, never enlarged or smoothed here; outline and calipers
are drawn over it as vectors along the voxel edges, in mm, so they stay sharp in print and show the mask exactly.
"""

from __future__ import annotations

import base64
import io
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np

from radvlm.export.regions import Caliper, caliper_slice
from radvlm.export.windows import WINDOWS, Window, gray_levels
from radvlm.types.anatomy import structure
from radvlm.types.finding import Citable, Finding, Status
from radvlm.types.region import Region
from radvlm.types.region_map import RegionMap
from radvlm.types.report import Report
from radvlm.types.scan_measurements import Measurements
from radvlm.types.volume import Volume

#: Narrowest field of a key image, so that a small nodule is seen in its surroundings.
SMALLEST_FIELD_MM = 70.0
#: The field is this many times the largest extent of the region in the slice.
FIELD_PER_EXTENT = 1.7


@dataclass(frozen=True)
class KeyLine:
    """A caliper in the picture, in mm from its upper left corner. ``label`` is the value with its unit."""

    x1: float
    y1: float
    x2: float
    y2: float
    label: str
    quantity: str


@dataclass(frozen=True)
class KeyImage:
    """One picture. ``png`` is base64; sizes in mm; ``outline`` is an SVG path in mm."""

    region: Region
    png: str
    width_mm: float
    height_mm: float
    outline: str
    lines: tuple[KeyLine, ...]
    slice_index: int
    z_mm: float
    window: Window
    bar_mm: int


def chosen_regions(report: Report, measurements: Measurements | None, limit: int) -> tuple[Region, ...]:
    """Regions worth a picture: of important findings first, then measured lesions, at most ``limit``."""
    important = sorted(
        (
            f
            for f in report.citable
            if f.status in (Status.PRESENT, Status.INDETERMINATE) and f.regions and f.importance > 0
        ),
        key=lambda f: -f.importance,
    )
    chosen: dict[str, Region] = {}
    for finding in important:
        for region in _pictured(finding):
            chosen.setdefault(region.id, region)
    for lesion in sorted(measurements.lesions, key=lambda item: -item.volume_ml) if measurements else ():
        if structure(lesion.structure).kind == "lesion":
            chosen.setdefault(lesion.region.id, lesion.region)
    for region in report.regions:
        if structure(region.structure).kind == "lesion":
            chosen.setdefault(region.id, region)
    return tuple(chosen.values())[:limit]


def _pictured(finding: Citable) -> tuple[Region, ...]:
    """At most three regions of a finding, so that thirty ribs do not fill the page; no organ that a model points at."""
    return () if isinstance(finding, Finding) and finding.grounding == "organ" else finding.regions[:3]


def key_image(
    volume: Volume,
    region_map: RegionMap | None,
    region: Region,
    lines: Iterable[Caliper],
    window: Window = WINDOWS["soft"],
) -> KeyImage:
    """Crop of the slice of the calipers, else of the slice where the region is largest."""
    lines = tuple(line for line in lines if line.region_id == region.id)
    box, shape, spacing = region.box, volume.geometry.shape, volume.geometry.spacing_mm
    mask = _mask(region_map, region)
    k = caliper_slice(lines, region.id)
    if k is None or not box.start[2] <= k < box.stop[2]:
        k = box.start[2] + (int(mask.sum(axis=(0, 1)).argmax()) if mask is not None else box.shape[2] // 2)
    flat = None if mask is None else mask[:, :, k - box.start[2]]
    lo, hi = np.array(box.start[:2]), np.array(box.stop[:2])
    if flat is not None and flat.any():
        where = np.argwhere(flat)
        lo, hi = lo + where.min(axis=0), lo + where.max(axis=0) + 1
    crop = _field(lo, hi, shape, spacing)
    window_hu = volume.hu[crop[0], crop[1], k]
    gray = gray_levels(window_hu, window)[::-1, ::-1].T  # rows: anterior first; columns: patient's right first
    placed = None
    if flat is not None:
        placed = np.zeros(window_hu.shape, dtype=bool)
        _paste(placed, flat, (box.start[0] - crop[0].start, box.start[1] - crop[1].start))
    width, height = gray.shape[1] * spacing[0], gray.shape[0] * spacing[1]
    outline = _box_outline(lo, hi, crop, spacing) if placed is None else mask_outline(placed[::-1, ::-1].T, spacing[:2])
    z = float(volume.geometry.to_world(((crop[0].start + crop[0].stop) / 2, (crop[1].start + crop[1].stop) / 2, k))[2])
    drawn = tuple(_line(line, crop, spacing) for line in lines if _in_slice(line, k))
    bar = 50 if width > 180 else 20 if width > 75 else 10
    return KeyImage(region, _png(gray), width, height, outline, drawn, k, z, window, bar)


def _mask(region_map: RegionMap | None, region: Region) -> np.ndarray | None:
    row = region_map.row(region.id) if region_map else None
    if region_map is None or row is None:
        return None
    mask = np.isin(region_map.labels[region.box.slices], (row.label, *row.also), kind="table")
    return mask if mask.any() else None


def _field(lo: np.ndarray, hi: np.ndarray, shape: tuple[int, ...], spacing: tuple[float, ...]) -> tuple[slice, slice]:
    """Square field around the region, moved inside the grid; smaller only where the grid is smaller."""
    side = max(SMALLEST_FIELD_MM, FIELD_PER_EXTENT * max((hi - lo) * np.array(spacing[:2])))
    out = []
    for axis in (0, 1):
        length = min(shape[axis], math.ceil(side / spacing[axis]))
        start = (int(lo[axis]) + int(hi[axis]) - length) // 2
        start = min(max(0, start), shape[axis] - length)
        out.append(slice(start, start + length))
    return out[0], out[1]


def _paste(target: np.ndarray, mask: np.ndarray, at: tuple[int, int]) -> None:
    """Paint ``mask`` with its corner at ``at``, cut where it leaves ``target``."""
    spans = []
    for axis in (0, 1):
        start, stop = max(0, at[axis]), min(target.shape[axis], at[axis] + mask.shape[axis])
        if stop <= start:
            return
        spans.append((slice(start, stop), slice(start - at[axis], stop - at[axis])))
    target[spans[0][0], spans[1][0]] = mask[spans[0][1], spans[1][1]]


def mask_outline(mask: np.ndarray, spacing_mm: tuple[float, float]) -> str:
    """SVG path (mm) of the voxel edges around ``mask`` (rows, columns), as closed loops.

    Every loop keeps the mask on its right; a corner that two voxels share is passed so that they stay apart.
    """
    padded = np.pad(mask, 1)
    steps: dict[tuple[int, int], list[tuple[int, int]]] = {}

    def add(start: tuple[int, int], stop: tuple[int, int]) -> None:
        steps.setdefault(start, []).append(stop)

    inside = padded[1:-1, 1:-1]
    for neighbor, start, stop in (
        (padded[:-2, 1:-1], (0, 0), (1, 0)),
        (padded[1:-1, 2:], (1, 0), (1, 1)),
        (padded[2:, 1:-1], (1, 1), (0, 1)),
        (padded[1:-1, :-2], (0, 1), (0, 0)),
    ):
        for row, column in np.argwhere(inside & ~neighbor).tolist():
            add((column + start[0], row + start[1]), (column + stop[0], row + stop[1]))
    parts = []
    while steps:
        first = min(steps)
        path, point, heading = [first], first, (0, 0)
        while True:
            options = steps[point]
            turned = [(p[0] - point[0], p[1] - point[1]) for p in options]
            # of two ways out, turn right (clockwise on the screen, y down): the loop stays with its own voxel
            pick = 0 if len(options) == 1 else turned.index((-heading[1], heading[0]))
            following = options.pop(pick)
            if not options:
                del steps[point]
            direction = (following[0] - point[0], following[1] - point[1])
            if direction == heading:
                path[-1] = following
            else:
                path.append(following)
            point, heading = following, direction
            if point == first:
                break
        sx, sy = spacing_mm
        parts.append("M" + "L".join(f"{x * sx:.2f} {y * sy:.2f}" for x, y in path[:-1]) + "Z")
    return "".join(parts)


def _box_outline(lo: np.ndarray, hi: np.ndarray, crop: tuple[slice, slice], spacing: tuple[float, ...]) -> str:
    x1, x2 = (crop[0].stop - hi[0]) * spacing[0], (crop[0].stop - lo[0]) * spacing[0]
    y1, y2 = (crop[1].stop - hi[1]) * spacing[1], (crop[1].stop - lo[1]) * spacing[1]
    return f"M{x1:.2f} {y1:.2f}L{x2:.2f} {y1:.2f}L{x2:.2f} {y2:.2f}L{x1:.2f} {y2:.2f}Z"


def _in_slice(line: Caliper, k: int) -> bool:
    if line.is_planar:
        return line.slice_index == k
    return abs(line.start[2] - k) <= 0.5 and abs(line.stop[2] - k) <= 0.5


def _line(line: Caliper, crop: tuple[slice, slice], spacing: tuple[float, ...]) -> KeyLine:
    def place(point: tuple[float, float, float]) -> tuple[float, float]:
        return (crop[0].stop - 0.5 - point[0]) * spacing[0], (crop[1].stop - 0.5 - point[1]) * spacing[1]

    (x1, y1), (x2, y2) = place(line.start), place(line.stop)
    return KeyLine(x1, y1, x2, y2, f"{line.value:.0f} {line.unit}", line.quantity)


def _png(gray: np.ndarray) -> str:
    from PIL import Image

    out = io.BytesIO()
    Image.fromarray(np.ascontiguousarray(gray)).save(out, format="PNG", optimize=True)
    return base64.b64encode(out.getvalue()).decode("ascii")


def key_images(
    report: Report,
    volume: Volume,
    region_map: RegionMap | None,
    measurements: Measurements | None,
    lines: tuple[Caliper, ...],
    windows: Mapping[str, Window],
    limit: int,
) -> tuple[KeyImage, ...]:
    """Pictures of the chosen regions; ``windows`` gives the window by region id."""
    return tuple(
        key_image(volume, region_map, region, lines, windows.get(region.id, WINDOWS["soft"]))
        for region in chosen_regions(report, measurements, limit)
    )

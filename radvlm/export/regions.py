"""Names, places and calipers of the cited regions, and the table beside ``regions.nii.gz``.

A region's ``home`` (where the page scrolls to) is a voxel inside it: on the slice of its calipers, else on
the axial slice where its area is largest, the voxel nearest to the centroid of that slice.
"""

from __future__ import annotations

import csv
import io
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from radvlm.export.view import ViewGrid
from radvlm.types.anatomy import structure
from radvlm.types.finding import Source
from radvlm.types.measurement import Measurement
from radvlm.types.model_output import MODEL_REGION
from radvlm.types.region import Region
from radvlm.types.region_map import RegionMap
from radvlm.types.report import Report
from radvlm.types.scan_measurements import FOCUS_WORDS, Measurements, focus_kind_of
from radvlm.wording.sentences import capital

#: How a caliper is called on the page.
CALIPER_WORDS = {"long_axis": "long axis", "short_axis": "short axis", "diameter_3d": "3D diameter"}


@dataclass(frozen=True)
class Caliper:
    """Two end points in fractional voxel indices of the native grid. ``slice_index`` None: not bound to a slice."""

    region_id: str
    quantity: str
    value: float
    unit: str
    start: tuple[float, float, float]
    stop: tuple[float, float, float]
    slice_index: int | None

    @property
    def is_planar(self) -> bool:
        """Whether both ends lie on its slice, so that the line is as long there as it is."""
        ends = (self.start[2], self.stop[2])
        return self.slice_index is not None and all(abs(end - self.slice_index) <= 0.5 for end in ends)


def region_name(region: Region, numbered: bool = True) -> str:
    """Words for a person: ``right kidney``, ``liver lesion 2``, ``hepatic cyst (model)``."""
    words = structure(region.structure).words
    kind = focus_kind_of(region)
    if kind:
        return f"{FOCUS_WORDS[kind][0]}, {words}"
    _, _, instance = region.id.partition("/")
    words = f"{words} {instance}" if instance and numbered else words
    return f"{words} (model)" if is_of_model(region) else words


def is_of_model(region: Region) -> bool:
    """Whether the region lies in a model's own segmentation, so that nothing of it was measured."""
    return region.id.startswith(MODEL_REGION)


def region_names(regions: Iterable[Region]) -> dict[str, str]:
    """Words by region id; an instance is numbered only where its structure has more than one."""
    known = list(regions)
    instances = Counter((r.structure, is_of_model(r)) for r in known if "/" in r.id)
    return {r.id: capital(region_name(r, instances[r.structure, is_of_model(r)] > 1)) for r in known}


def all_regions(report: Report, region_map: RegionMap | None, measurements: Measurements | None) -> dict[str, Region]:
    """Every region that the page can name, by id: cited ones first, then painted ones, then measured lesions."""
    found = {region.id: region for region in report.regions}
    for row in region_map.rows if region_map else ():
        found.setdefault(row.region.id, row.region)
    for lesion in measurements.lesions if measurements else ():
        found.setdefault(lesion.region.id, lesion.region)
    return found


def model_regions(report: Report) -> frozenset[str]:
    """Ids of regions that only findings of a model name."""
    by_source: dict[bool, set[str]] = {True: set(), False: set()}
    for finding in report.findings:
        by_source[finding.source is Source.MODEL].update(r.id for r in finding.regions)
    return frozenset(by_source[True] - by_source[False])


def calipers(report: Report, measurements: Measurements | None, to_index: np.ndarray) -> tuple[Caliper, ...]:
    """Every measurement with two end points, once. ``to_index``: 4x4, RAS+ mm to native index."""
    numbers: list[Measurement] = [m for item in report.citable for m in item.measurements]
    if measurements is not None:
        numbers += [m for lesion in measurements.lesions for m in lesion.measurements]
        numbers += [m for record in measurements.structures for m in record.measurements]
    found: dict[tuple[str, str, float], Caliper] = {}
    for m in numbers:
        if len(m.points_mm) != 2 or not m.region_id:
            continue
        start, stop = (np.asarray(m.points_mm, dtype=float) @ to_index[:3, :3].T + to_index[:3, 3]).tolist()
        found.setdefault(
            (m.region_id, m.quantity, m.value),
            Caliper(m.region_id, m.quantity, m.value, m.unit, tuple(start), tuple(stop), m.slice_index),
        )
    return tuple(found.values())


def caliper_slice(lines: Iterable[Caliper], region_id: str) -> int | None:
    """Native axial slice of a region's calipers; None when it has none."""
    return next((c.slice_index for c in lines if c.region_id == region_id and c.slice_index is not None), None)


def home_voxel(
    region: Region, labels: frozenset[int], copy: np.ndarray | None, grid: ViewGrid, native_slice: int | None
) -> tuple[int, int, int]:
    """Voxel (i, j, k) of the copy that the page scrolls to; inside the region whenever ``copy`` shows it.

    Args:
        labels: the label values that together are the region; empty when it is not painted.
        copy: label map of the copy, page order (k, j, i); None without one.
        native_slice: slice of the calipers.
    """
    window = grid.box_to_view(region.box)
    mask = None
    if copy is not None and labels:
        crop = copy[tuple(window.slices[::-1])]
        mask = np.isin(crop, np.array(sorted(labels), dtype=crop.dtype), kind="table")
    wanted = None if native_slice is None else native_slice // grid.factors[2] - window.start[2]
    if mask is None or not mask.any():
        middle = grid.to_view(grid.native.to_index(region.centroid_mm))
        place = np.clip(np.rint(middle), 0, np.array(grid.shape) - 1).astype(int)
        if wanted is not None:
            place[2] = min(max(0, wanted + window.start[2]), grid.shape[2] - 1)
        return tuple(place.tolist())
    areas = mask.sum(axis=(1, 2))
    k = wanted if wanted is not None and 0 <= wanted < len(areas) and areas[wanted] else int(areas.argmax())
    jj, ii = np.nonzero(mask[k])
    spacing = grid.spacing_mm
    distance = ((ii - ii.mean()) * spacing[0]) ** 2 + ((jj - jj.mean()) * spacing[1]) ** 2
    nearest = int(distance.argmin())
    return (int(ii[nearest]) + window.start[0], int(jj[nearest]) + window.start[1], k + window.start[2])


def regions_table(region_map: RegionMap) -> str:
    """CSV that names the labels of ``regions.nii.gz``, one line per region.

    A region is all voxels of ``label`` and of the labels in ``also`` (blank-separated), which other regions were
    painted over it with.
    """
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(
        (
            "label",
            "region",
            "structure",
            "words",
            "side",
            "volume_ml",
            "voxels",
            "snomed_code",
            "snomed_meaning",
            "also",
        )
    )
    for row in region_map.rows:
        what = structure(row.region.structure)
        is_focus = bool(focus_kind_of(row.region))  # in the organ, not the organ
        writer.writerow(
            (
                row.label,
                row.region.id,
                what.name,
                region_name(row.region),
                what.side,
                f"{row.region.volume_ml:.4f}",
                row.region.voxels,
                "" if is_focus else what.snomed_code,
                "" if is_focus else what.snomed_meaning,
                " ".join(map(str, row.also)),
            )
        )
    return out.getvalue()

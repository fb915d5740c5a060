"""RT structure sets: contours drawn in the slices of a scan, to masks on the grid of that scan.

A voxel belongs to a structure when its center lies inside an odd number of the contours of its slice (the even-odd
rule), so holes are drawn as contours within contours or as one contour with a keyhole (DICOM PS3.3 C.8.8.6.3), and two
separate contours are two pieces. Only slices with a contour are filled: what lies between is not made up. How far the
masks are from the area that the contours themselves enclose is recorded.
"""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from radvlm.errors import FileFormatError, GridError
from radvlm.io.dicom_bytes import plain
from radvlm.io.dicom_files import parsing, sop_class_of
from radvlm.io.dicom_frames import patient_key
from radvlm.io.file_bytes import file_bytes
from radvlm.types.geometry import Geometry
from radvlm.types.provenance import Decision, SourceFile
from radvlm.types.study import Study

RTSTRUCT_CLASS = "1.2.840.10008.5.1.4.1.1.481.3"
#: A contour lies in a slice when all its points are within this share of the slice distance of the slice's middle.
PLANE_TOLERANCE = 0.25
#: Volumes of mask and contours that differ by more than this are worth a warning, in structures of MIN_VOXELS or more.
MAX_VOLUME_ERROR = 0.1
MIN_VOXELS = 500
_FILLED = frozenset({"CLOSED_PLANAR", "CLOSEDPLANAR_XOR"})


@dataclass(frozen=True, eq=False)
class Contours:
    """The contours of one region of interest: (N, 3) points each, in RAS+ mm; ``left_out`` counts points and lines."""

    name: str
    color: tuple[int, int, int] | None
    polygons_mm: tuple[np.ndarray, ...]
    left_out: int


@dataclass(frozen=True, eq=False)
class StructureSet:
    """One RT structure set: its regions of interest, and the identity that the file states."""

    regions: tuple[Contours, ...]
    study: Study
    source: SourceFile


@dataclass(frozen=True, eq=False)
class Filled:
    """The mask of one region of interest on the whole grid, and its volume against that of the contours themselves.

    ``unfilled_slices`` counts gaps of one or two slices only; longer ones lie between two pieces. ``outside`` counts
    slices beyond the scan.
    """

    mask: np.ndarray
    contours_ml: float
    mask_ml: float
    unfilled_slices: int
    outside: int


def read_structure_set(path: Path) -> StructureSet:
    """Read an RT structure set. Raises FileFormatError for another object, damage, and contours that are no points."""
    import pydicom

    content, source = file_bytes(path)
    with parsing(path.name, "an RT structure set can be parsed"):
        header = pydicom.dcmread(io.BytesIO(plain(content, path.name)))
        if str(header.get("SOPClassUID", "")) != RTSTRUCT_CLASS:
            raise FileFormatError("the DICOM file is an RT structure set", path.name, "Pass the RTSTRUCT object")
        names = {int(item.ROINumber): str(item.get("ROIName") or "") for item in header.StructureSetROISequence}
        regions = tuple(
            _contours(item, names.get(int(item.ReferencedROINumber), ""), path.name)
            for item in header.get("ROIContourSequence") or []
        )
        frames = {str(item.get("ReferencedFrameOfReferenceUID") or "") for item in header.StructureSetROISequence}
        frame = str(header.get("FrameOfReferenceUID") or "") or (frames.pop() if len(frames) == 1 else "")
        study = Study(
            modality="RTSTRUCT",
            patient_key=patient_key(header),
            study_uid=str(header.get("StudyInstanceUID") or ""),
            series_uid=str(header.get("SeriesInstanceUID") or ""),
            frame_of_reference_uid=frame,
        )
    if not any(region.polygons_mm for region in regions):
        raise FileFormatError(
            "an RT structure set holds closed contours",
            f"{path.name}: none",
            "Export the structures with their contours",
        )
    return StructureSet(regions, study, source)


def _contours(item: Any, name: str, file: str) -> Contours:
    polygons, left_out = [], 0
    for contour in item.get("ContourSequence") or []:
        data = np.array([float(value) for value in contour.get("ContourData") or []], dtype=np.float64)
        if data.size % 3 or not np.isfinite(data).all():
            raise FileFormatError(
                "a contour is points of three finite numbers",
                f"{file}: {name!r}",
                "The file is damaged; export it again",
            )
        if str(contour.get("ContourGeometricType") or "CLOSED_PLANAR").upper() in _FILLED and data.size >= 9:
            polygons.append(data.reshape(-1, 3) * np.array([-1.0, -1.0, 1.0]))
        else:
            left_out += 1
    color = [int(value) for value in item.get("ROIDisplayColor") or []]
    shown = (color[0], color[1], color[2]) if len(color) == 3 and all(0 <= part <= 255 for part in color) else None
    return Contours(name, shown, tuple(polygons), left_out)


def is_structure_set(path: Path) -> bool:
    """True when a file is DICOM and says that it is an RT structure set."""
    return sop_class_of(path) == RTSTRUCT_CLASS


def slice_axis(structures: StructureSet, grid: Geometry) -> int:
    """Which axis of ``grid`` runs across the slices that all contours were drawn in.

    Raises GridError when they lie in no slices of this grid, or only in every second slice or fewer.
    """
    polygons = [grid.to_index(points) for region in structures.regions for points in region.polygons_mm]
    spread = np.array([np.ptp(points, axis=0) for points in polygons])
    axis = next((axis for axis in (2, 1, 0) if (spread[:, axis] <= PLANE_TOLERANCE).all()), None)
    if axis is None:
        raise GridError(
            "contours are drawn in the slices of the scan",
            f"{structures.source.name}: contours that are oblique to them",
            "Pass the scan that they were drawn on, or convert them to a mask where they were drawn",
        )
    middle = np.array([points[:, axis].mean() for points in polygons])
    if (np.abs(middle - np.rint(middle)) > PLANE_TOLERANCE).mean() > 0.02:
        raise GridError(
            "contours are drawn in the slices of the scan",
            f"{structures.source.name}: contours between its slices, which are {grid.spacing_mm[axis]:.3g} mm apart",
            "Pass the scan that they were drawn on, or convert them to a mask where they were drawn",
        )
    planes = np.unique(np.rint(middle))
    if len(planes) > 2 and np.diff(planes).min() > 1:
        raise GridError(
            "contours are drawn in neighboring slices of the scan",
            f"{structures.source.name}: at most in every {np.diff(planes).min():.0f}th slice, "
            f"{np.diff(planes).min() * grid.spacing_mm[axis]:.3g} mm apart",
            "Pass the scan that they were drawn on; slices between contours are not made up",
        )
    return axis


def filled(contours: Contours, grid: Geometry, axis: int) -> Filled:
    """The voxels of ``grid`` whose centers lie inside an odd number of the contours of their slice."""
    mask = np.zeros(grid.shape, bool, order="F")
    first, second = (other for other in range(3) if other != axis)
    pixel_mm2 = grid.spacing_mm[first] * grid.spacing_mm[second]
    by_slice: dict[int, list[np.ndarray]] = {}
    for points in contours.polygons_mm:
        index = grid.to_index(points)
        by_slice.setdefault(round(float(index[:, axis].mean())), []).append(index[:, [first, second]])
    own_mm2, outside = 0.0, 0
    for number, polygons in by_slice.items():
        area = even_odd_area(polygons) * pixel_mm2
        if not 0 <= number < grid.shape[axis]:
            outside += 1
            continue
        own_mm2 += area
        plane = np.moveaxis(mask, axis, 2)[:, :, number]
        plane |= even_odd(polygons, (plane.shape[0], plane.shape[1]))
    planes = sorted(number for number in by_slice if 0 <= number < grid.shape[axis])
    thickness = grid.spacing_mm[axis] / 1000
    return Filled(
        mask,
        own_mm2 * thickness,
        float(mask.sum()) * pixel_mm2 * thickness,
        sum(gap - 1 for gap in np.diff(planes).tolist() if gap in (2, 3)),
        outside,
    )


def even_odd(polygons: Sequence[np.ndarray], shape: tuple[int, int]) -> np.ndarray:
    """(I, J) boolean: whole numbers (i, j) inside an odd number of polygons, each (N, 2) in index coordinates.

    A center on the lower side of an edge is inside, on the upper side outside, so neighbors share no voxel.
    """
    toggles = np.zeros((shape[0] + 1, shape[1]), np.int32)
    for points in polygons:
        start, end = points, np.roll(points, -1, axis=0)
        low = np.where(start[:, 1] <= end[:, 1], start[:, 1], end[:, 1])
        high = np.where(start[:, 1] <= end[:, 1], end[:, 1], start[:, 1])
        bottom = np.clip(np.ceil(low), 0, shape[1]).astype(np.intp)
        top = np.clip(np.ceil(high), 0, shape[1]).astype(np.intp)  # exclusive
        count = np.maximum(top - bottom, 0)
        edge = np.repeat(np.arange(len(points)), count)
        row = np.arange(count.sum()) - np.repeat(np.cumsum(count) - count, count) + bottom[edge]
        run = end[edge, 1] - start[edge, 1]
        crossing = start[edge, 0] + (row - start[edge, 1]) / run * (end[edge, 0] - start[edge, 0])
        column = np.clip(np.ceil(crossing), 0, shape[0]).astype(np.intp)
        np.add.at(toggles, (column, row), 1)
    return np.cumsum(toggles, axis=0)[:-1] % 2 == 1


def even_odd_area(polygons: Sequence[np.ndarray]) -> float:
    """What polygons that do not cross enclose by the even-odd rule: one inside another is taken away, and so on."""
    total = 0.0
    for number, points in enumerate(polygons):
        depth = sum(_is_inside(points[0], other) for position, other in enumerate(polygons) if position != number)
        total += abs(_shoelace(points)) * (-1 if depth % 2 else 1)
    return total


def _shoelace(points: np.ndarray) -> float:
    x, y = points[:, 0] - points[0, 0], points[:, 1] - points[0, 1]
    return float(np.sum(x * np.roll(y, -1) - np.roll(x, -1) * y) / 2)


def _is_inside(point: np.ndarray, polygon: np.ndarray) -> bool:
    x, y = polygon[:, 0], polygon[:, 1]
    next_x, next_y = np.roll(x, -1), np.roll(y, -1)
    spans = (y <= point[1]) != (next_y <= point[1])
    at = x[spans] + (point[1] - y[spans]) / (next_y - y)[spans] * (next_x - x)[spans]
    return bool((at > point[0]).sum() % 2)


def contour_decisions(results: Mapping[str, Filled], file: str) -> tuple[Decision, ...]:
    """What to tell of masks made from contours: the rule, how far they are from the contours, gaps, what is cut off."""
    errors = {name: (r.mask_ml / r.contours_ml - 1) for name, r in results.items() if r.contours_ml > 0}
    said = f"Contours of {file} became masks by the even-odd rule at voxel centers"
    if errors:
        worst = max(errors, key=lambda name: abs(errors[name]))
        said += (
            f"; volumes of masks and contours differ by {errors[worst]:+.1%} at most ({worst}: "
            f"{results[worst].mask_ml:.4g} mL, contours {results[worst].contours_ml:.4g} mL)"
        )
    large = [
        name
        for name, error in errors.items()
        if abs(error) > MAX_VOLUME_ERROR and np.count_nonzero(results[name].mask) >= MIN_VOXELS
    ]
    decisions = [Decision("masks", said + ".", warning=bool(large))]
    gaps = [f"{name} ({r.unfilled_slices} slices)" for name, r in results.items() if r.unfilled_slices]
    if gaps:
        decisions.append(
            Decision(
                "masks",
                f"Slices without a contour between slices with one were left empty, not made up: {', '.join(gaps)}.",
                warning=True,
            )
        )
    cut = [f"{name} ({r.outside})" for name, r in results.items() if r.outside]
    if cut:
        decisions.append(
            Decision("masks", f"Contours lie outside the scan and were left out: {', '.join(cut)}.", warning=True)
        )
    return tuple(decisions)

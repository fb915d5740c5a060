"""The frames of a DICOM segmentation on one regular grid.

A SEG may leave out every frame that holds nothing, so the distance between two frames is not the distance between
two slices. The spacing is the stated one where the positions of the frames agree with it, otherwise that of the
scan or of the frames themselves, and never more than either: a lesion that was drawn on two slices must not fill
those between them. Frames may come in any order, at any in-plane offset, and segments may overlap.
"""

from __future__ import annotations

import math
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from radvlm.errors import FileFormatError, GridError
from radvlm.io.raw import RawImage
from radvlm.types.geometry import MAX_AXIS, Geometry
from radvlm.types.provenance import Decision

#: A FRACTIONAL segment holds a voxel from this probability or occupancy on.
FRACTION_THRESHOLD = 0.5
#: Frames may lie this share of the spacing away from a regular grid.
POSITION_TOLERANCE = 0.1
#: Two spacings within this share of each other are the same.
SPACING_TOLERANCE = 0.05
#: Stated and true spacing differ by at most this share, because headers round.
ROUNDING = 0.01
#: Frames closer than this along the normal lie in one slice.
SAME_PLACE_MM = 0.05
#: This many equal distances, and this share of all, are the slices of a stack rather than gaps between lesions.
RUN, RUN_SHARE = 3, 0.8
#: A regular grid of more voxels than this is not made.
MAX_VOXELS = 2**31
_DEFLATED_FRAMES = "1.2.840.10008.1.2.8.1"
_TO_RAS = np.diag([-1.0, -1.0, 1.0, 1.0])


@dataclass(frozen=True)
class SliceHints:
    """What may tell how thick a slice is, each in mm or None.

    Attributes:
        stated_mm: SpacingBetweenSlices.
        thickness_mm: SliceThickness.
        scan_mm: slice spacing of the scan along the same normal.
    """

    stated_mm: float | None
    thickness_mm: float | None
    scan_mm: float | None


@dataclass(frozen=True, eq=False)
class _Places:
    """Where the frames lie, in DICOM's LPS+ system.

    ``positions_mm`` is (frames, 3); ``pixel_mm`` is (between rows, between columns); ``numbers`` are the segment
    numbers of the frames, None for a label map.
    """

    positions_mm: np.ndarray
    row_cosine: np.ndarray
    column_cosine: np.ndarray
    pixel_mm: tuple[float, float]
    numbers: list[int] | None
    hints: SliceHints

    @property
    def normal(self) -> np.ndarray:
        return np.cross(self.row_cosine, self.column_cosine)


def label_maps(seg: Any, name: str, scan: Geometry | None) -> tuple[list[RawImage], list[Decision]]:
    """Label maps of segment numbers from a parsed SEG: one where segments do not overlap, else as few as it takes.

    Raises:
        FileFormatError: no position for a frame (a projection image), a tiled slide, or a header at odds with itself.
        GridError: frames that are not parallel, or whose slices cannot be told.
    """
    places = _places(seg, name, scan)
    decisions: list[Decision] = []
    offsets = places.positions_mm @ places.normal
    spacing, doubt = slice_spacing(offsets, places.hints)
    if doubt:
        decisions.append(Decision("masks", f"{name} {doubt}", warning=True))
    steps = (offsets - offsets.min()) / spacing
    slices = np.rint(steps).astype(np.int64)
    if np.abs(steps - slices).max() > POSITION_TOLERANCE and not doubt:
        decisions.append(
            Decision(
                "masks",
                f"The frames of {name} do not lie at regular distances; each fills the slice of {spacing:.3g} mm that "
                "is nearest to it.",
                warning=True,
            )
        )
    rows, columns, low = _shifts(places)
    shape = (int(slices.max()) + 1, int(seg.Rows) + int(rows.max()), int(seg.Columns) + int(columns.max()))
    if max(shape) > MAX_AXIS or math.prod(shape) > MAX_VOXELS:
        raise GridError(
            f"the frames of a segmentation span a grid of at most {MAX_AXIS} voxels along each axis",
            f"{name}: {' x '.join(map(str, shape))} (slices, rows, columns)",
            "A frame lies far from the others; export the segmentation again",
        )
    highest = max(places.numbers) if places.numbers else int(np.iinfo(np.uint16).max)
    if places.numbers is None and int(seg.get("BitsAllocated") or 0) == 8:
        highest = 255
    maps = [np.zeros(shape, np.uint8 if highest < 256 else np.uint16)]
    for index, frame in enumerate(_pixels(seg, name)):
        place = np.s_[slices[index], rows[index] : rows[index] + frame.shape[0]]
        window = (*place, np.s_[columns[index] : columns[index] + frame.shape[1]])
        if places.numbers is None:
            np.copyto(maps[0][window], frame, where=frame != 0, casting="unsafe")
        elif frame.any():
            _fill(maps, window, frame, places.numbers[index])
    if str(seg.SegmentationType).upper() == "FRACTIONAL":
        kind = str(seg.get("SegmentationFractionalType") or "fraction").lower()
        decisions.append(
            Decision("masks", f"{name} holds fractions ({kind}); a voxel counts from {FRACTION_THRESHOLD:g} on.")
        )
    if len(maps) > 1:
        decisions.append(Decision("masks", f"Segments of {name} overlap and were kept in {len(maps)} layers."))
    affine = np.eye(4)
    affine[:3, 0] = places.normal * spacing
    affine[:3, 1] = places.column_cosine * places.pixel_mm[0]
    affine[:3, 2] = places.row_cosine * places.pixel_mm[1]
    first = places.positions_mm[int(np.argmin(offsets))]
    in_plane = first - places.normal * (first @ places.normal)
    affine[:3, 3] = places.normal * offsets.min() + in_plane + affine[:3, 1] * low[0] + affine[:3, 2] * low[1]
    return [RawImage(held, _TO_RAS @ affine) for held in maps], decisions


def slice_spacing(offsets_mm: np.ndarray, hints: SliceHints) -> tuple[float, str]:
    """Slice spacing in mm of frames at ``offsets_mm`` along their normal, and a doubt to tell the reader ("" for none).

    Raises GridError for frames in a single slice of which nothing says how thick it is.
    """
    ordered = np.sort(offsets_mm)
    first = np.flatnonzero(np.r_[True, np.diff(ordered) > SAME_PLACE_MM])
    places = np.add.reduceat(ordered, first) / np.diff(np.r_[first, ordered.size])
    stated, thickness, scan = hints.stated_mm, hints.thickness_mm, hints.scan_mm
    gaps = np.diff(places)
    if not gaps.size:
        if stated and (not thickness or _alike(stated, thickness)):
            return stated, ""
        known = [value for value in (stated, thickness, scan) if value]
        if not known:
            raise GridError(
                "a segmentation of a single slice says how thick it is",
                "neither SpacingBetweenSlices nor SliceThickness, and no scan to compare with",
                "Pass the scan as well, or export the segmentation again",
            )
        return (scan if scan else min(known)), ""
    least = float(gaps.min())
    as_scanned = bool(scan and _alike(least, scan) and _is_stack(gaps, least))  # then no slice lies between two frames
    if stated and _divides(stated, places) and not (as_scanned and least > 1.5 * stated):
        return _fitted(stated, places), ""
    doubt = ""
    if stated:
        doubt = (
            f"states slices {stated:.3g} mm apart, but its frames lie {least:.3g} mm apart; their positions were taken."
        )
    spacing = _unstated(places, gaps, thickness, scan)
    return _fitted(spacing, places) if _divides(spacing, places) else spacing, doubt


def _unstated(places: np.ndarray, gaps: np.ndarray, thickness: float | None, scan: float | None) -> float:
    least = float(gaps.min())
    stack = _is_stack(gaps, least)
    if scan:
        if _divides(scan, places):
            own = stack and thickness is not None and least > 1.5 * scan and _alike(thickness, least)
            return least if own else scan
        return least if stack else min(least, scan)
    if thickness and thickness < least * (1 - SPACING_TOLERANCE) and (_divides(thickness, places) or not stack):
        return thickness
    return least


def _alike(first: float, second: float) -> bool:
    return abs(first - second) <= SPACING_TOLERANCE * max(first, second)


def _is_stack(gaps: np.ndarray, least: float) -> bool:
    """Whether most frames follow each other at the smallest distance, as the slices of a stack do."""
    near = np.abs(gaps - least) <= SPACING_TOLERANCE * least
    return bool(near.sum() >= RUN and near.mean() >= RUN_SHARE)


def _divides(spacing: float, places: np.ndarray) -> bool:
    """Whether every place lies on a grid of that spacing."""
    steps = (places - places[0]) / _fitted(spacing, places)
    return bool(np.abs(steps - np.rint(steps)).max() <= POSITION_TOLERANCE and np.diff(np.rint(steps)).min() >= 1)


def _fitted(spacing: float, places: np.ndarray) -> float:
    """The spacing near ``spacing`` that fits a whole number of times between the outermost places."""
    length = float(places[-1] - places[0])
    fitted = length / max(1, round(length / spacing))
    return fitted if abs(fitted / spacing - 1) <= ROUNDING else spacing


def _shifts(places: _Places) -> tuple[np.ndarray, np.ndarray, tuple[int, int]]:
    """Whole pixels (rows, columns) by which each frame starts after the outermost, and where that is from the first."""
    first = places.positions_mm[int(np.argmin(places.positions_mm @ places.normal))]
    drift = places.positions_mm - first
    rows = np.rint(drift @ places.column_cosine / places.pixel_mm[0]).astype(np.int64)
    columns = np.rint(drift @ places.row_cosine / places.pixel_mm[1]).astype(np.int64)
    low = (int(rows.min()), int(columns.min()))
    return rows - low[0], columns - low[1], low


def _fill(maps: list[np.ndarray], window: tuple[Any, ...], mask: np.ndarray, number: int) -> None:
    """Put a frame of one segment into the first map that is free there."""
    for held in maps:
        part = held[window]
        if not (under := part[mask]).any() or (under[under != 0] == number).all():
            part[mask] = number
            return
    maps.append(np.zeros_like(maps[0]))
    maps[-1][window][mask] = number


# -- what the header says -------------------------------------------------------------------------------------------


def _places(seg: Any, name: str, scan: Geometry | None) -> _Places:
    per_frame = list(seg.get("PerFrameFunctionalGroupsSequence") or [])
    shared = next(iter(seg.get("SharedFunctionalGroupsSequence") or []), None)
    count = int(seg.get("NumberOfFrames") or 1)
    groups = [[group for group in (own, shared) if group is not None] for own in per_frame]
    found = [_value(group, "PlanePositionSequence", "ImagePositionPatient") for group in groups]
    if _is_tiled(seg, groups):
        raise FileFormatError(
            "a segmentation lies in the body",
            f"{name}: a tiled segmentation of a microscopic slide",
            "Pass a segmentation of the CT",
        )
    if all(position is None for position in found):
        raise FileFormatError(
            "a segmentation says where each frame lies in the body (PlanePositionSequence)",
            f"{name}: no position, as in a segmentation of a projection image or a photograph",
            "Pass a segmentation that was drawn on the slices of the CT",
        )
    if len(groups) != count:
        raise FileFormatError(
            "a segmentation says of each of its frames where it lies",
            f"{name}: {count} frames, {len(groups)} places",
            "Export the segmentation again",
        )
    position = _numbers(found, 3, name, "position (ImagePositionPatient)")
    orientation = _numbers(
        [_value(group, "PlaneOrientationSequence", "ImageOrientationPatient") for group in groups],
        6,
        name,
        "orientation (ImageOrientationPatient)",
    )
    pixel = _numbers(
        [_value(group, "PixelMeasuresSequence", "PixelSpacing") for group in groups], 2, name, "PixelSpacing"
    )
    if np.abs(orientation - orientation[0]).max() > 1e-3 or np.abs(pixel / pixel[0] - 1).max() > 1e-3:
        raise GridError(
            "the frames of a segmentation are parallel and of one pixel spacing",
            f"{name}: they are not",
            "Export the segmentation again from one series",
        )
    row, column = _axes(orientation[0], name)
    if pixel.min() <= 0:
        raise FileFormatError("pixel spacing is above 0", f"{name}: {pixel[0].tolist()} mm", "Export it again")
    normal_ras = np.cross(row, column) * (-1.0, -1.0, 1.0)
    return _Places(
        position,
        row,
        column,
        (float(pixel[0][0]), float(pixel[0][1])),
        _frame_segments(seg, groups, name),
        SliceHints(
            _length(_value(groups[0], "PixelMeasuresSequence", "SpacingBetweenSlices")),
            _length(_value(groups[0], "PixelMeasuresSequence", "SliceThickness")),
            _spacing_along(scan, normal_ras),
        ),
    )


def _is_tiled(seg: Any, groups: list[list[Any]]) -> bool:
    return (
        str(seg.get("DimensionOrganizationType") or "").startswith("TILED")
        or "TotalPixelMatrixRows" in seg
        or any("PlanePositionSlideSequence" in part for group in groups[:1] for part in group)
    )


def _value(groups: list[Any], macro: str, keyword: str) -> Any:
    """A value from the frame's own functional groups or the shared ones."""
    for group in groups:
        for item in group.get(macro) or []:
            if item.get(keyword) is not None:
                return item.get(keyword)
    return None


def _numbers(values: list[Any], count: int, name: str, what: str) -> np.ndarray:
    """(frames, count) finite numbers; FileFormatError names the first frame without them."""
    out = np.zeros((len(values), count))
    for index, value in enumerate(values):
        try:
            numbers = [float(number) for number in value]
        except (TypeError, ValueError):
            numbers = []
        if len(numbers) != count or not all(math.isfinite(number) and abs(number) < 1e6 for number in numbers):
            raise FileFormatError(
                f"every frame of a segmentation has a {what}",
                f"{name}: frame {index + 1} of {len(values)} has none",
                "Export the segmentation again",
            )
        out[index] = numbers
    return out


def _axes(orientation: np.ndarray, name: str) -> tuple[np.ndarray, np.ndarray]:
    row, column = orientation[:3], orientation[3:]
    lengths = np.linalg.norm(row), np.linalg.norm(column)
    if min(lengths) < 0.9 or max(lengths) > 1.1 or abs(row @ column) > 0.02:
        raise FileFormatError(
            "the orientation of a frame is two perpendicular directions of length 1",
            f"{name}: {orientation.tolist()}",
            "Export the segmentation again",
        )
    row = row / lengths[0]
    column = column - (column @ row) * row
    return row, column / np.linalg.norm(column)


def _frame_segments(seg: Any, groups: list[list[Any]], name: str) -> list[int] | None:
    """Segment number of each frame; None for a label map, whose pixels are the numbers."""
    if str(seg.get("SegmentationType") or "").upper() == "LABELMAP":
        return None
    only = [int(item.SegmentNumber) for item in seg.SegmentSequence]
    numbers = []
    for index, group in enumerate(groups):
        found = _value(group, "SegmentIdentificationSequence", "ReferencedSegmentNumber")
        if found is None and len(only) > 1:
            raise FileFormatError(
                "every frame of a segmentation says which segment it shows (ReferencedSegmentNumber)",
                f"{name}: frame {index + 1} of {len(groups)} does not",
                "Export the segmentation again",
            )
        numbers.append(only[0] if found is None else int(found))
    if min(numbers) < 1 or max(numbers) > np.iinfo(np.uint16).max:
        raise FileFormatError(
            "segment numbers lie between 1 and 65535",
            f"{name}: {min(numbers)} to {max(numbers)}",
            "Export the segmentation again",
        )
    return numbers


def _length(value: Any) -> float | None:
    """A length in mm; None for what is none. A negative spacing only says in which order the slices are counted."""
    try:
        length = abs(float(value))
    except (TypeError, ValueError):
        return None
    return length if 1e-3 < length < 1e3 else None


def _spacing_along(scan: Geometry | None, normal_ras: np.ndarray) -> float | None:
    """Slice spacing of the scan when one of its axes runs along the normal (within 2.5 degrees)."""
    if scan is None:
        return None
    directions = scan.affine[:3, :3] / np.linalg.norm(scan.affine[:3, :3], axis=0)
    along = np.abs(normal_ras @ directions)
    axis = int(np.argmax(along))
    return float(scan.spacing_mm[axis]) if along[axis] > 0.999 else None


# -- pixels ---------------------------------------------------------------------------------------------------------


def _pixels(seg: Any, name: str) -> Iterator[np.ndarray]:
    """Frames in stored order: segment numbers of a label map, otherwise True where the segment is."""
    rows, columns, count = int(seg.Rows), int(seg.Columns), int(seg.get("NumberOfFrames") or 1)
    kind = str(seg.get("SegmentationType") or "BINARY").upper()
    least = 1
    if kind == "FRACTIONAL":
        least = max(1, math.ceil(FRACTION_THRESHOLD * int(seg.get("MaximumFractionalValue") or 255)))
    background = int(seg.get("PixelPaddingValue") or 0)
    number = 0
    for frame in _stored(seg, rows, columns, count):
        number += 1
        if frame.shape != (rows, columns):
            raise ValueError(f"a frame of {frame.shape} pixels instead of {rows} x {columns}")
        if kind == "LABELMAP":
            yield np.where(frame == background, 0, frame) if background else frame
        else:
            yield frame >= least
    if number != count:
        raise ValueError(f"{number} frames of pixels instead of {count}")


def _stored(seg: Any, rows: int, columns: int, count: int) -> Iterator[np.ndarray]:
    syntax = seg.file_meta.TransferSyntaxUID
    if str(syntax) == _DEFLATED_FRAMES:
        yield from _inflated(seg, rows, columns, count)
    elif int(seg.BitsAllocated) == 1 and not syntax.is_encapsulated:
        packed = np.frombuffer(seg.PixelData, np.uint8)
        size = rows * columns
        if packed.size * 8 < size * count:
            raise ValueError(f"{packed.size} bytes of pixels for {count} frames of {rows} x {columns}")
        for index in range(count):
            start = index * size
            bits = np.unpackbits(packed[start // 8 : (start + size + 7) // 8], bitorder="little")
            yield bits[start % 8 : start % 8 + size].reshape(rows, columns)
    else:
        from pydicom.pixels import iter_pixels

        yield from iter_pixels(seg, raw=True)


def _inflated(seg: Any, rows: int, columns: int, count: int) -> Iterator[np.ndarray]:
    """Frames of the transfer syntax Deflated Image Frame Compression, each a raw deflate stream."""
    from pydicom.encaps import generate_frames

    bits = int(seg.BitsAllocated)
    size = (rows * columns * bits + 7) // 8
    for frame in generate_frames(seg.PixelData, number_of_frames=count):
        content = zlib.decompressobj(-zlib.MAX_WBITS).decompress(frame, size)
        if bits == 1:
            yield np.unpackbits(np.frombuffer(content, np.uint8), bitorder="little")[: rows * columns].reshape(
                rows, columns
            )
        else:
            yield np.frombuffer(content, f"<u{bits // 8}").reshape(rows, columns)

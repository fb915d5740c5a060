"""One record per image frame of a DICOM header, the same for classic CT (one frame a file) and enhanced CT.

Nothing is assumed of UIDs. Anonymisers empty them, so a series without a UID is told apart by its folder,
and images are recognized by what they hold rather than by their SOP class.
"""

from __future__ import annotations

import hashlib
import math
from dataclasses import dataclass, field, replace
from typing import Any

from radvlm.errors import FileFormatError
from radvlm.io.dicom_files import DicomFile, parsing
from radvlm.io.dicom_persons import DATE_TAGS, PERSON_TAGS, Person, person_of
from radvlm.io.dicom_values import PixelValues, pixel_values
from radvlm.types.geometry import MAX_AXIS


@dataclass(frozen=True)
class Mark:
    """An attribute that may tell the acquisitions of one series apart; ``index`` is its place in ``Frame.marks``.

    A weak one is about the writing of images rather than the scan; a modulated one is changed by the scanner as it
    goes, so that only one steady value for each acquisition means anything.
    """

    name: str
    index: int
    is_weak: bool = False

    @property
    def is_modulated(self) -> bool:
        return self.name in ("Exposure", "XRayTubeCurrent")


_SCAN_MARKS = (
    "AcquisitionNumber",
    "TemporalPositionIdentifier",
    "TemporalPositionIndex",
    "NominalPercentageOfCardiacPhase",
    "AcquisitionUID",
    "AcquisitionDateTime",
    "AcquisitionTime",
    "FrameReferenceDateTime",
    "KVP",
    "ImageType",
    "ConvolutionKernel",
    "FilterType",
    "ReconstructionAlgorithm",
    "ReconstructionDiameter",
    "SliceThickness",
    "ContrastBolusAgent",
    "ScanOptions",
    "EchoNumbers",
    "StackID",
    "PatientPosition",
    "Exposure",
    "XRayTubeCurrent",
    "SeriesNumber",
    "SeriesDescription",
    "ProtocolName",
)
_WRITING_MARKS = ("ContentTime", "SeriesTime", "InstanceCreationTime", "folder", "InstanceNumber")
#: What may tell acquisitions of one series apart, in the order in which it is tried.
MARKS = (
    *(Mark(name, index) for index, name in enumerate(_SCAN_MARKS)),
    *(Mark(name, index, is_weak=True) for index, name in enumerate(_WRITING_MARKS, len(_SCAN_MARKS))),
)
#: Places of AcquisitionNumber, SliceThickness and ReconstructionDiameter in ``Frame.marks``.
ACQUISITION_NUMBER = _SCAN_MARKS.index("AcquisitionNumber")
SLICE_THICKNESS = _SCAN_MARKS.index("SliceThickness")
RECONSTRUCTION_DIAMETER = _SCAN_MARKS.index("ReconstructionDiameter")
_NUMBER = next(mark.index for mark in MARKS if mark.name == "InstanceNumber")
#: Names of an attribute in the functional groups of an enhanced image, where they differ.
_FRAME_NAMES = {
    "AcquisitionNumber": "FrameAcquisitionNumber",
    "AcquisitionDateTime": "FrameAcquisitionDateTime",
    "ImageType": "FrameType",
}
#: Everything that is read from each header while scanning.
TAGS = (
    *(mark.name for mark in MARKS if mark.name != "folder"),
    "SOPClassUID",
    "SOPInstanceUID",
    "SeriesInstanceUID",
    "StudyInstanceUID",
    "FrameOfReferenceUID",
    "Modality",
    "PatientID",
    "IssuerOfPatientID",
    *PERSON_TAGS,
    *(name for name in DATE_TAGS if name != "AcquisitionDateTime"),
    "StudyID",
    "AccessionNumber",
    "PatientOrientation",
    "PhotometricInterpretation",
    "Rows",
    "Columns",
    "SamplesPerPixel",
    "NumberOfFrames",
    "ImagePositionPatient",
    "ImageOrientationPatient",
    "PixelSpacing",
    "RescaleSlope",
    "RescaleIntercept",
    "RescaleType",
    "RealWorldValueMappingSequence",
    "DerivationDescription",
    "VolumeBasedCalculationTechnique",
    "SharedFunctionalGroupsSequence",
    "PerFrameFunctionalGroupsSequence",
    "ImagesInAcquisition",
    "NumberOfSeriesRelatedInstances",
)
_STUDY_FACTS = ("StudyDate", "StudyID", "AccessionNumber", "PatientBirthDate", "PatientSex")
_CT_CLASSES = tuple(f"1.2.840.10008.5.1.4.1.1.2{more}" for more in ("", ".1", ".2"))
Vector = tuple[float, float, float]


class Facts(dict[str, Any]):
    """What was read of a header, by keyword: asked for many values of many files, a pydicom Dataset takes its time."""

    def __init__(self, header: Any) -> None:
        super().__init__((element.keyword, element.value) for element in header.values())
        self.file_meta = header.file_meta


@dataclass(frozen=True)
class StudyIdentity:
    """What tells one study from another: its UID, and facts (date, numbers, birth date, sex) where that is empty."""

    uid: str = ""
    facts: tuple[str, ...] = ()

    def contradicts(self, other: StudyIdentity) -> bool:
        """True when both say something of one thing, and not the same."""
        if self.uid and other.uid:
            return self.uid != other.uid
        return any(a and b and a != b for a, b in zip(self.facts, other.facts, strict=True))


@dataclass(frozen=True)
class LeftOut:
    """An image that is not read as a slice of its series, and where it lies if its header says so.

    ``number`` is its InstanceNumber, -1 without one; ``normal`` is None where its direction is unknown.
    """

    what: str
    series_key: str
    position_mm: Vector | None = None
    normal: Vector | None = None
    number: int = -1


@dataclass(frozen=True)
class Frame:
    """Where one image lies and which stack it belongs to.

    ``position_mm`` and the cosines are in DICOM's LPS+ system; ``pixel_spacing_mm`` is (between rows, between
    columns). ``slope`` and ``intercept`` are None where the header has none. ``contradiction`` is PatientOrientation
    where it says another direction than ImageOrientationPatient; "" where it agrees, or says nothing.
    ``stated_images`` are ImagesInAcquisition and NumberOfSeriesRelatedInstances, 0 where the header has none.
    """

    file: DicomFile
    number: int
    sop_uid: str
    series_key: str
    series_uid: str
    series_number: str
    description: str
    patient_key: str
    study: StudyIdentity
    frame_of_reference_uid: str
    rows: int
    columns: int
    position_mm: Vector | None
    row_cosine: Vector | None
    column_cosine: Vector | None
    pixel_spacing_mm: tuple[float, float] | None
    is_localizer: bool
    contradiction: str
    slope: float | None
    intercept: float | None
    values: PixelValues
    marks: tuple[str, ...]
    stated_images: tuple[int, int] = (0, 0)
    person: Person = field(default_factory=Person)

    @property
    def has_place(self) -> bool:
        return None not in (self.position_mm, self.row_cosine, self.column_cosine, self.pixel_spacing_mm)

    @property
    def normal(self) -> Vector:
        """Unit vector across the slice, row direction x column direction."""
        assert self.row_cosine is not None and self.column_cosine is not None
        return _cross(self.row_cosine, self.column_cosine)

    def left_out(self, what: str) -> LeftOut:
        """The record of this frame where it is not read."""
        number = self.marks[_NUMBER]
        normal = None if self.row_cosine is None or self.column_cosine is None else self.normal
        return LeftOut(what, self.series_key, self.position_mm, normal, int(number) if number.isdigit() else -1)


def patient_key(header: Any) -> str:
    """One-way hash of issuer and PatientID; "" where there is no PatientID."""
    identifier = str(header.get("PatientID") or "").strip()
    issuer = str(header.get("IssuerOfPatientID") or "").strip()
    return hashlib.sha256(f"{issuer}\0{identifier}".encode()).hexdigest() if identifier else ""


def short_text(value: Any, limit: int) -> str:
    """One printable line of at most ``limit`` characters: headers are not trusted to keep DICOM's lengths."""
    text = "" if value is None else str(value)[: 4 * limit]
    return " ".join("".join(c if c.isprintable() else " " for c in text).split())[:limit]


def is_ct(header: Any) -> bool:
    """True for Modality CT, and where Modality is missing for the SOP classes of CT images."""
    modality = str(header.get("Modality") or "").strip()
    if modality:
        return modality == "CT"
    meta = getattr(header, "file_meta", {})
    return str(header.get("SOPClassUID") or meta.get("MediaStorageSOPClassUID") or "") in _CT_CLASSES


def is_cut_short(header: Any) -> bool:
    """True for a header that ends before its image: of the class of CT images, or of none, and without Rows.

    Reports, presentation states and raw data say their class, which is another one.
    """
    if header.get("Rows") and header.get("Columns"):
        return False
    meta = getattr(header, "file_meta", {})
    classes = {str(header.get("SOPClassUID") or ""), str(meta.get("MediaStorageSOPClassUID") or "")} - {""}
    return bool(classes & set(_CT_CLASSES)) or (not classes and not header.get("Modality"))


def left_out(file: DicomFile, header: Any) -> LeftOut | None:
    """Why an object has no frames: no size, color, or no CT; None when it has some."""
    with parsing(file.name, "the header of a DICOM image can be read"):
        photometric = str(header.get("PhotometricInterpretation") or "").upper()
        if not is_ct(header):
            what = f"{short_text(header.get('Modality'), 16) or 'no modality'} files"
        elif not header.get("Rows") or not header.get("Columns"):
            what = "images without Rows and Columns" if "ImagePositionPatient" in header else "objects without an image"
        elif int(header.get("SamplesPerPixel") or 1) != 1 or photometric in ("RGB", "PALETTE COLOR"):
            what = "color images"
        else:
            return None
        position = _numbers(header.get("ImagePositionPatient"), 3)
        row, column = _unit_axes(_numbers(header.get("ImageOrientationPatient"), 6))
        number = _mark_text(header.get("InstanceNumber"))
        return LeftOut(
            what,
            series_key(file, header),
            position,  # type: ignore[arg-type]
            None if row is None or column is None else _cross(row, column),
            int(number) if number.isdigit() else -1,
        )


def _cross(a: Vector, b: Vector) -> Vector:
    return (a[1] * b[2] - a[2] * b[1], a[2] * b[0] - a[0] * b[2], a[0] * b[1] - a[1] * b[0])


def series_key(file: DicomFile, header: Any) -> str:
    """What the images of one series share: its UID, or the folder and SeriesNumber where that was removed."""
    return str(header.get("SeriesInstanceUID") or "") or f"{file.folder}#{header.get('SeriesNumber') or ''}"


def frames_of(file: DicomFile, header: Any) -> list[Frame]:
    """Frames of the header of a CT image. Raises FileFormatError for unusable sizes."""
    with parsing(file.name, "the header of a DICOM image can be read"):
        shared = _first(header, "SharedFunctionalGroupsSequence")
        per_frame = header.get("PerFrameFunctionalGroupsSequence") or []
        count = int(header.get("NumberOfFrames") or 1)
        if max(int(header["Rows"]), int(header["Columns"])) > MAX_AXIS or not 1 <= count <= MAX_AXIS:
            raise FileFormatError(
                f"an image has 1 to {MAX_AXIS} rows, columns and frames",
                f"{file.name}: {header['Rows']} x {header['Columns']}, {count} frames",
                "The header is damaged; copy or download the file again",
            )
        if count > 1 and len(per_frame) != count:
            per_frame = []  # a multi-frame image without a place for each frame
        frames = [
            _frame(
                file,
                header,
                number,
                [group for group in (per_frame[number] if per_frame else None, shared) if group is not None],
            )
            for number in range(count)
        ]
        if count > 1 and not per_frame:
            return [replace(frame, position_mm=None) for frame in frames]
        return frames


def _frame(file: DicomFile, header: Any, number: int, groups: list[Any]) -> Frame:
    orientation = _numbers(_lookup(header, groups, "PlaneOrientationSequence", "ImageOrientationPatient"), 6)
    row, column = _unit_axes(orientation)
    position = _numbers(_lookup(header, groups, "PlanePositionSequence", "ImagePositionPatient"), 3)
    spacing = _numbers(_lookup(header, groups, "PixelMeasuresSequence", "PixelSpacing"), 2)
    slope = _numbers([_lookup(header, groups, "PixelValueTransformationSequence", "RescaleSlope")], 1)
    intercept = _numbers([_lookup(header, groups, "PixelValueTransformationSequence", "RescaleIntercept")], 1)
    image_type = _words(_lookup(header, groups, "CTImageFrameTypeSequence", "FrameType")) or _words(
        header.get("ImageType")
    )
    series_uid = str(header.get("SeriesInstanceUID") or "")
    return Frame(
        file=file,
        number=number,
        sop_uid=str(header.get("SOPInstanceUID") or ""),
        series_key=series_key(file, header),
        series_uid=series_uid,
        series_number=short_text(header.get("SeriesNumber"), 16),
        description=short_text(header.get("SeriesDescription"), 64),
        patient_key=patient_key(header),
        study=StudyIdentity(
            str(header.get("StudyInstanceUID") or ""), tuple(short_text(header.get(name), 32) for name in _STUDY_FACTS)
        ),
        frame_of_reference_uid=str(header.get("FrameOfReferenceUID") or ""),
        rows=int(header["Rows"]),
        columns=int(header["Columns"]),
        position_mm=position,  # type: ignore[arg-type]
        row_cosine=row,
        column_cosine=column,
        pixel_spacing_mm=spacing if spacing and min(spacing) > 0 else None,  # type: ignore[arg-type]
        is_localizer=bool({"LOCALIZER", "SCOUT", "TOPOGRAM"} & set(image_type)),
        contradiction=_contradiction(header.get("PatientOrientation"), row, column),
        slope=slope[0] if slope else None,
        intercept=intercept[0] if intercept else None,
        values=_values(header, groups, image_type),
        marks=_marks(file, header, groups, image_type),
        stated_images=_stated_images(header),
        person=person_of(header),
    )


def _stated_images(header: Any) -> tuple[int, int]:
    """ImagesInAcquisition and NumberOfSeriesRelatedInstances of an image of one frame."""
    if int(header.get("NumberOfFrames") or 1) > 1:
        return 0, 0
    counts = (_numbers([header.get(name)], 1) for name in ("ImagesInAcquisition", "NumberOfSeriesRelatedInstances"))
    one, other = (int(count[0]) if count else 0 for count in counts)
    return one, other


def _values(header: Any, groups: list[Any], image_type: tuple[str, ...]) -> PixelValues:
    mappings = next(
        (group.RealWorldValueMappingSequence for group in groups if group.get("RealWorldValueMappingSequence")),
        header.get("RealWorldValueMappingSequence") or [],
    )
    codes = [_first(mapping, "MeasurementUnitsCodeSequence") for mapping in mappings]
    derivations = (
        header.get("SeriesDescription"),
        _lookup(header, groups, "DerivationImageSequence", "DerivationDescription"),
    )
    return pixel_values(
        str(header.get("SOPClassUID") or ""),
        image_type,
        short_text(_lookup(header, groups, "PixelValueTransformationSequence", "RescaleType"), 32),
        tuple(short_text(code.get("CodeValue"), 32) for code in codes if code is not None and code.get("CodeValue")),
        short_text(_lookup(header, groups, "CTImageFrameTypeSequence", "VolumeBasedCalculationTechnique"), 32),
        tuple(short_text(text, 256) for text in derivations),
    )


def _first(dataset: Any, keyword: str) -> Any | None:
    sequence = dataset.get(keyword)
    return sequence[0] if sequence else None


def _lookup(header: Any, groups: list[Any], macro: str, keyword: str) -> Any:
    """A value from the frame's own functional groups, the shared ones, or the top level."""
    for group in groups:
        item = _first(group, macro)
        if item is not None and item.get(keyword) is not None:
            return item.get(keyword)
    return header.get(keyword)


def _marks(file: DicomFile, header: Any, groups: list[Any], image_type: tuple[str, ...]) -> tuple[str, ...]:
    """Values of ``MARKS`` as text; from the functional groups of an enhanced image where they are there."""
    inner: dict[str, Any] = {}
    for group in reversed(groups):  # the frame's own come last and win
        inner.update(_attributes(group))
    is_one_of_many = int(header.get("NumberOfFrames") or 1) > 1
    found = {"folder": file.folder, "ImageType": "/".join(image_type)}
    for mark in MARKS:
        if mark.name not in found:
            value = inner.get(_FRAME_NAMES.get(mark.name, mark.name), inner.get(mark.name, header.get(mark.name)))
            found[mark.name] = "" if value is None or (mark.is_weak and is_one_of_many) else _mark_text(value)
    return tuple(found[mark.name] for mark in MARKS)


def _mark_text(value: Any) -> str:
    parts = value if isinstance(value, (list, tuple)) or hasattr(value, "append") else [value]
    return "/".join(short_text(part, 64) for part in parts)


_WANTED = {name for mark in MARKS for name in (mark.name, _FRAME_NAMES.get(mark.name, mark.name))}


def _attributes(group: Any) -> dict[str, Any]:
    """Wanted attributes of the first item of every macro of a functional group, by keyword."""
    found: dict[str, Any] = {}
    for element in group:
        if element.VR == "SQ" and element.value:
            found.update((inner.keyword, inner.value) for inner in element.value[0] if inner.keyword in _WANTED)
    return found


def _numbers(value: Any, count: int) -> tuple[float, ...] | None:
    """``count`` finite numbers, or None."""
    if value is None or isinstance(value, (str, bytes)):
        return None
    try:
        numbers = tuple(float(v) for v in value if v is not None)
    except (TypeError, ValueError):
        return None
    if len(numbers) != count or not all(math.isfinite(v) and abs(v) < 1e6 for v in numbers):
        return None
    return numbers


def _unit_axes(orientation: tuple[float, ...] | None) -> tuple[Vector | None, Vector | None]:
    """Row and column direction made exactly perpendicular and of length 1; None when they are not directions."""
    if orientation is None:
        return None, None
    row, column = orientation[:3], orientation[3:]
    length = math.hypot(*row)
    if not 0.9 < length < 1.1 or not 0.9 < math.hypot(*column) < 1.1:
        return None, None
    unit = tuple(v / length for v in row)
    along = sum(a * b for a, b in zip(unit, column, strict=True))
    if abs(along) > 0.02:
        return None, None
    rest = tuple(c - along * r for c, r in zip(column, unit, strict=True))
    size = math.hypot(*rest)
    return unit, tuple(v / size for v in rest)  # type: ignore[return-value]


#: Letters of PatientOrientation (PS3.3 C.7.6.1.1.1) as directions in LPS+.
_LETTERS: dict[str, Vector] = {
    "L": (1, 0, 0),
    "R": (-1, 0, 0),
    "P": (0, 1, 0),
    "A": (0, -1, 0),
    "H": (0, 0, 1),
    "F": (0, 0, -1),
}


def _contradiction(words: Any, row: Vector | None, column: Vector | None) -> str:
    """PatientOrientation such as ``L/P`` where a first letter points away from the axis; "" where nothing is wrong."""
    if row is None or column is None or words is None or isinstance(words, str) or len(words) != 2:
        return ""
    texts = [str(word).strip().upper() for word in words]
    if not all(text and len(text) <= 3 and set(text) <= set(_LETTERS) for text in texts):
        return ""  # not of the standard, or a position such as HFS in the wrong place
    for text, axis in zip(texts, (row, column), strict=True):
        along = [sum(a * b for a, b in zip(_LETTERS[letter], axis, strict=True)) for letter in text]
        if along[0] < -0.3 or max(along) < 0.5:
            return "/".join(texts)
    return ""


def _words(value: Any) -> tuple[str, ...]:
    if value is None:
        return ()
    return (value.upper(),) if isinstance(value, str) else tuple(str(v).upper() for v in value)

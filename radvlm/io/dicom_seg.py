"""DICOM SEG objects (BINARY, FRACTIONAL, LABELMAP) to label maps with named structures.

Frames without any segment are usually left out of the file, so the grid that comes back covers only what
is filled; nothing outside it was left unsearched. A segment is named by its label or, where that says nothing, by
its SNOMED CT codes with laterality; when the two contradict each other about the side, the file is refused.
"""

from __future__ import annotations

import hashlib
import io
import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from types import MappingProxyType
from typing import Any

from radvlm.errors import FileFormatError, InputError, StructureError
from radvlm.io.dicom_bytes import plain
from radvlm.io.dicom_files import parsing, sop_class_of
from radvlm.io.dicom_seg_frames import label_maps
from radvlm.io.raw import RawImage
from radvlm.types.anatomy import structure, structures
from radvlm.types.geometry import Geometry
from radvlm.types.label_scheme import fold, near_names, structure_from_name
from radvlm.types.provenance import Decision, SourceFile
from radvlm.types.study import Study

SEG_CLASSES: Mapping[str, str] = MappingProxyType(
    {
        "1.2.840.10008.5.1.4.1.1.66.4": "Segmentation Storage",
        "1.2.840.10008.5.1.4.1.1.66.7": "Label Map Segmentation Storage",
    }
)
_SIDES: Mapping[str, str] = MappingProxyType({"24028007": "right", "7771000": "left"})
#: SNOMED CT codes of what a segment is, when its region code tells where (neoplasm, mass, lesion, nodule, cyst,
#: primary and secondary malignant neoplasm; DICOM CID 7159 and pydicom.sr).
_MORPHOLOGY: Mapping[str, str] = MappingProxyType(
    {
        "108369006": "tumor",
        "4147007": "lesion",
        "52988006": "lesion",
        "27925004": "lesion",
        "367643001": "cyst",
        "86049000": "tumor",
        "14799000": "tumor",
    }
)


@dataclass(frozen=True, eq=False)
class DicomSeg:
    """One SEG object.

    Attributes:
        parts: label maps in stored order whose values are segment numbers; several where segments overlap.
        names: segment number -> label as written in the file.
        structures: segment number -> canonical structure, for the segments that could be named.
        study: identity as stated in the file.
    """

    parts: tuple[RawImage, ...]
    names: Mapping[int, str]
    structures: Mapping[int, str]
    study: Study
    sources: tuple[SourceFile, ...]
    decisions: tuple[Decision, ...]


def is_dicom_seg(path: Path) -> bool:
    """True when a file is DICOM and says that it is a segmentation."""
    return sop_class_of(path) in SEG_CLASSES


def read_dicom_seg(path: Path, scan: Geometry | None = None) -> DicomSeg:
    """Read a SEG file; ``scan`` tells how thick a slice is where the file does not.

    Raises:
        FileFormatError: not a SEG, damaged, or without pixel data or positions.
        GridError: frames that are not parallel, or slices of a thickness that cannot be told.
        InputError: a segment whose label and codes name different sides.
    """
    import pydicom

    try:
        content = path.read_bytes()
    except OSError as error:
        raise FileFormatError("the file can be read", f"{path}: {error.strerror}", "Check the path") from error
    source = SourceFile(path.name, len(content), hashlib.sha256(content).hexdigest())
    with parsing(path.name, "a DICOM segmentation can be parsed"):
        content = plain(content, path.name)
        header = pydicom.dcmread(io.BytesIO(content))
        found = str(header.get("SOPClassUID", ""))
        if found not in SEG_CLASSES:
            raise FileFormatError(
                "the DICOM file is a segmentation (SEG)",
                f"{path.name}: {_class_words(header)}",
                "Pass the SEG object, or convert RT structure sets to NIfTI masks first",
            )
        _require_parts(header, path.name)
        described = {int(item.SegmentNumber): item for item in header.SegmentSequence if int(item.SegmentNumber) > 0}
        names = {number: str(item.get("SegmentLabel") or "") for number, item in described.items()}
        meanings = {number: segment_meaning(item) for number, item in described.items()}
        parts, decisions = label_maps(header, path.name, scan)
        identity = _identity(header)
    for number, meaning in meanings.items():
        if meaning.doubt:
            decisions.append(Decision("masks", f"Segment {number} of {path.name}: {meaning.doubt}", warning=True))
    return DicomSeg(
        tuple(parts),
        MappingProxyType(names),
        MappingProxyType({number: meaning.structure for number, meaning in meanings.items() if meaning.structure}),
        identity,
        (source,),
        tuple(decisions),
    )


def _require_parts(header: Any, name: str) -> None:
    for keyword, what in (
        ("PixelData", "pixel data"),
        ("SegmentSequence", "a description of its segments (SegmentSequence)"),
        ("SegmentationType", "a SegmentationType"),
        ("Rows", "a number of rows"),
        ("Columns", "a number of columns"),
    ):
        if not header.get(keyword):
            raise FileFormatError(
                f"a DICOM segmentation has {what}", f"{name}: none", "It was stripped or is truncated; export it again"
            )
    if str(header.SegmentationType).upper() not in ("BINARY", "FRACTIONAL", "LABELMAP"):
        raise FileFormatError(
            "a DICOM segmentation is BINARY, FRACTIONAL or LABELMAP",
            f"{name}: {str(header.SegmentationType)[:40]}",
            "Export it as one of these",
        )


@dataclass(frozen=True)
class SegmentMeaning:
    """What one segment is: its canonical structure (None when unknown), and a doubt for the reader ("" for none)."""

    structure: str | None
    doubt: str = ""


def segment_structure(description: Any) -> str | None:
    """Canonical structure of one item of SegmentSequence, by its label, then by its codes; None when unknown.

    Raises InputError when label and laterality code contradict each other.
    """
    return segment_meaning(description).structure


def segment_meaning(description: Any) -> SegmentMeaning:
    """What one item of SegmentSequence is. Its label wins over its codes, because that is what people see and edit.

    Raises InputError when label and laterality code contradict each other.
    """
    label = str(description.get("SegmentLabel") or "")
    by_code, side = _by_codes(description)
    by_label = structure_from_name(label) if label else None
    if by_label is None and label and side:
        by_label = structure_from_name(f"{side} {label}")
    if by_label is None and description.get("SegmentDescription"):
        by_label = structure_from_name(str(description.SegmentDescription))
    if by_label is not None and side and structure(by_label).side not in ("", side):
        raise InputError(
            "a segment's label and its codes name the same side",
            f"label {label!r} with laterality {side}",
            "Correct the DICOM segmentation",
        )
    if by_label is None:
        return SegmentMeaning(by_code)
    chosen = by_label
    morphology = next(
        (
            word
            for item in description.get("SegmentedPropertyTypeCodeSequence") or []
            if (word := _MORPHOLOGY.get(_code_value(item)))
        ),
        None,
    )
    if morphology and structure(by_label).kind not in ("lesion", "fluid"):
        own = _lesion_of(by_label, morphology, side or structure(by_label).side)
        same_host = by_code is not None and _related(by_label, by_code)
        chosen = (by_code if same_host and by_code else own) or by_label
    elif side and not structure(by_label).side and f"{by_label}_{side}" in structures():
        chosen = f"{by_label}_{side}"
    if by_code is None or _related(chosen, by_code):
        return SegmentMeaning(chosen)
    return SegmentMeaning(
        chosen,
        f"its label {label!r} and its code ({structure(by_code).words}) disagree; it was taken as "
        f"{structure(chosen).words}, because the label is what its author wrote.",
    )


def _related(first: str, second: str) -> bool:
    """Whether two structures may be two names of one segment: the same, or one within the other."""
    one, other = structure(first), structure(second)
    if first == second or (one.snomed_code == other.snomed_code != "" and one.kind == other.kind != "lesion"):
        return True
    up_first, up_second = _wider(first), _wider(second)
    if first in up_second or second in up_first:
        return True
    words = [frozenset(fold(structure(name).words).replace("pulmonary", "lung").split()) for name in (first, second)]
    names = [frozenset(fold(name).split()) for name in (first, second)]
    return any(a <= b or b <= a for a, b in (words, names))


def _wider(name: str) -> frozenset[str]:
    """A structure and all that it is a part of, with the tables' own words for everything of a kind."""
    found = {name}
    while (item := structure(name)).parent:
        name = item.parent
        found.add(name)
    for of_kind, everything in (("bone", "bones"), ("muscle", "skeletal_muscle")):
        found |= {everything} if structure(name).kind == of_kind else set()
    if structure(name).section == "bowel":
        found.add("intestine")
    sides = {re.sub(r"_(left|right)$", "", one) for one in found}
    return frozenset(found | sides | {"body"})


def require_same_patient(seg: DicomSeg, scan: Study) -> tuple[Decision, ...]:
    """InputError when the file states another patient or frame of reference than the scan.

    The same study and frame of reference are the same patient, whatever PatientID says: UIDs are unique, and programs
    that remove identities give scan and masks different names.
    """
    name, ours, theirs = seg.sources[0].name, scan, seg.study
    frames = (ours.frame_of_reference_uid, theirs.frame_of_reference_uid)
    same_study = bool(ours.study_uid) and ours.study_uid == theirs.study_uid
    other_patient = bool(ours.patient_key and theirs.patient_key) and ours.patient_key != theirs.patient_key
    if other_patient and not (same_study and frames[0] and frames[0] == frames[1]):
        raise InputError(
            "masks and scan have the same patient", f"{name}: another patient", "Pass the masks of this scan"
        )
    if all(frames) and frames[0] != frames[1]:
        raise InputError(
            "masks and scan have the same frame of reference",
            f"{name}: {frames[1]}, scan {frames[0]}",
            "Their positions cannot be compared; if you know that they can, convert the masks to NIfTI first",
        )
    if other_patient:
        return (
            Decision(
                "masks",
                f"{name} states another PatientID than the scan, but the same study and frame of reference; it was "
                "taken as of the same patient.",
                warning=True,
            ),
        )
    if ours.study_uid and theirs.study_uid and not same_study:
        return (
            Decision(
                "masks",
                "The DICOM segmentation belongs to another study of the same patient and frame of reference.",
                warning=True,
            ),
        )
    return ()


def _identity(header: Any) -> Study:
    from radvlm.io.dicom_frames import patient_key

    return Study(
        modality="SEG",
        patient_key=patient_key(header),
        study_uid=str(header.get("StudyInstanceUID", "")),
        series_uid=str(header.get("SeriesInstanceUID", "")),
        frame_of_reference_uid=str(header.get("FrameOfReferenceUID", "")),
    )


def _by_codes(description: Any) -> tuple[str | None, str]:
    """Structure by SNOMED CT code and laterality, and the side that the codes state ("" for none)."""
    types = description.get("SegmentedPropertyTypeCodeSequence") or []
    regions = description.get("AnatomicRegionSequence") or []
    side = ""
    for item, keyword in [(i, "SegmentedPropertyTypeModifierCodeSequence") for i in types] + [
        (i, "AnatomicRegionModifierSequence") for i in regions
    ]:
        for modifier in item.get(keyword) or []:
            side = _SIDES.get(_code_value(modifier), side)
    what = _code_value(types[0]) if types else ""
    where = _code_value(regions[0]) if regions else ""
    index = _code_index()
    if what in _MORPHOLOGY:
        for host in (index.get((where, side)), index.get((where, ""))):
            if host is not None:
                return _lesion_of(host, _MORPHOLOGY[what], side), side
        return None, side
    return index.get((what, side)), side


def _code_value(item: Any) -> str:
    """SNOMED CT code of a coded entry; the older SRT codes are translated."""
    from pydicom.sr._snomed_dict import mapping

    value = str(item.get("CodeValue", "") or item.get("LongCodeValue", ""))
    return mapping["SRT"].get(value, value) if str(item.get("CodingSchemeDesignator", "")) in ("SRT", "SNM3") else value


def _lesion_of(host: str, kind: str, side: str) -> str | None:
    organ = re.sub(r"_(left|right)$", "", host)
    names = [
        f"{organ}_{word}{ending}"
        for word in dict.fromkeys((kind, "lesion"))
        for ending in dict.fromkeys((f"_{side}" if side else "", ""))
    ]
    return next((name for name in names if name in structures()), None)


@cache
def _code_index() -> Mapping[tuple[str, str], str]:
    """(SNOMED CT code, side) -> the one structure that is not a lesion and has it."""
    found: dict[tuple[str, str], list[str]] = {}
    for item in structures().values():
        if item.snomed_code and item.kind not in ("lesion", "fluid", "part"):
            found.setdefault((item.snomed_code, item.side), []).append(item.name)
    for item in structures().values():
        if item.snomed_code and item.kind in ("lesion", "fluid", "part"):
            found.setdefault((item.snomed_code, item.side), []).append(item.name)
    return MappingProxyType({key: names[0] for key, names in found.items() if len(names) == 1})


def _class_words(header: Any) -> str:
    from pydicom.uid import UID

    return UID(str(header.get("SOPClassUID", "no SOP class"))).name


def unnamed_segments(seg: DicomSeg, counts: Mapping[int, int]) -> StructureError:
    """The error for a file none of whose filled segments could be named."""
    unknown = [number for number in counts if number not in seg.structures]
    shown = "; ".join(
        f"segment {number} {seg.names.get(number, 'without description')!r} ({counts[number]} voxels"
        + (f", near: {', '.join(near)})" if (near := near_names(seg.names.get(number, ""))) else ")")
        for number in unknown[:8]
    )
    return StructureError(
        "a filled segment is a known structure",
        shown + (f"; and {len(unknown) - 8} more" if len(unknown) > 8 else ""),
        "Pass scheme={segment number: structure}",
    )

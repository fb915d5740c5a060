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

import numpy as np

from radvlm.errors import FileFormatError, InputError, StructureError
from radvlm.io.dicom_bytes import plain
from radvlm.io.dicom_files import parsing
from radvlm.io.raw import RawImage
from radvlm.types.anatomy import structure, structures
from radvlm.types.label_scheme import near_names, structure_from_name
from radvlm.types.provenance import Decision, SourceFile
from radvlm.types.study import Study

SEG_CLASSES: Mapping[str, str] = MappingProxyType(
    {
        "1.2.840.10008.5.1.4.1.1.66.4": "Segmentation Storage",
        "1.2.840.10008.5.1.4.1.1.66.7": "Label Map Segmentation Storage",
    }
)
#: A FRACTIONAL segment holds a voxel from this probability or occupancy on.
FRACTION_THRESHOLD = 0.5
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
    import pydicom
    from pydicom.errors import InvalidDicomError

    try:
        with path.open("rb") as file:
            if file.read(132)[128:] != b"DICM":
                return False
            file.seek(0)
            header = pydicom.dcmread(file, stop_before_pixels=True, specific_tags=["SOPClassUID"])
    except (OSError, InvalidDicomError, ValueError, LookupError, AttributeError, EOFError):
        return False
    return str(header.get("SOPClassUID", "")) in SEG_CLASSES


def read_dicom_seg(path: Path) -> DicomSeg:
    """Read a SEG file.

    Raises:
        FileFormatError: not a SEG, damaged, or without pixel data.
        InputError: a segment whose label and codes name different sides.
    """
    import highdicom as hd
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
        if "PixelData" not in header:
            raise FileFormatError(
                "a DICOM segmentation has pixel data",
                f"{path.name}: none",
                "It was stripped or is truncated; export it again",
            )
        seg = hd.seg.segread(io.BytesIO(content))
        parts, decisions = _label_maps(seg, path.name)
    descriptions = {int(item.SegmentNumber): item for item in header.SegmentSequence if int(item.SegmentNumber) > 0}
    names = {number: str(item.get("SegmentLabel", "")) for number, item in descriptions.items()}
    named = {number: segment_structure(item) for number, item in descriptions.items()}
    return DicomSeg(
        tuple(parts),
        MappingProxyType(names),
        MappingProxyType({number: name for number, name in named.items() if name}),
        _identity(header),
        (source,),
        tuple(decisions),
    )


def segment_structure(description: Any) -> str | None:
    """Canonical structure of one item of SegmentSequence, by its label, then by its codes; None when unknown.

    Raises InputError when label and laterality code contradict each other.
    """
    label = str(description.get("SegmentLabel", ""))
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
    morphology = next(
        (
            word
            for item in description.get("SegmentedPropertyTypeCodeSequence") or []
            if (word := _MORPHOLOGY.get(_code_value(item)))
        ),
        None,
    )
    if by_label is not None and morphology and structure(by_label).kind not in ("lesion", "fluid"):
        return by_code or _lesion_of(by_label, morphology, side or structure(by_label).side)
    if by_label is not None and side and not structure(by_label).side:
        sided = f"{by_label}_{side}"
        return sided if sided in structures() else by_label
    return by_label or by_code


def require_same_patient(seg: DicomSeg, scan: Study) -> tuple[Decision, ...]:
    """InputError when the file states another patient or frame of reference than the scan."""
    for what, ours, theirs, remedy in (
        ("patient", scan.patient_key, seg.study.patient_key, "Pass the masks of this scan"),
        (
            "frame of reference",
            scan.frame_of_reference_uid,
            seg.study.frame_of_reference_uid,
            "Their positions cannot be compared; if you know that they can, convert the masks to NIfTI first",
        ),
    ):
        if ours and theirs and ours != theirs:
            shown = "another patient" if what == "patient" else f"{theirs}, scan {ours}"
            raise InputError(f"masks and scan have the same {what}", f"{seg.sources[0].name}: {shown}", remedy)
    if scan.study_uid and seg.study.study_uid and scan.study_uid != seg.study.study_uid:
        return (
            Decision(
                "masks",
                "The DICOM segmentation belongs to another study of the same patient and frame of reference.",
                warning=True,
            ),
        )
    return ()


def _label_maps(seg: Any, name: str) -> tuple[list[RawImage], list[Decision]]:
    """Label maps of a SEG: one where segments do not overlap, otherwise greedily as few as it takes."""
    decisions: list[Decision] = []
    fractional = str(seg.SegmentationType) == "FRACTIONAL"
    if not fractional:
        try:
            volume = seg.get_volume(combine_segments=True)
            return [_raw(np.asarray(volume.array), volume.affine)], decisions
        except RuntimeError as error:
            if "overlap" not in str(error):
                raise
    maps: list[np.ndarray] = []
    affine = np.eye(4)
    for number in seg.segment_numbers:
        volume = seg.get_volume(segment_numbers=[number], combine_segments=False)
        affine = volume.affine
        mask = np.asarray(volume.array)[..., 0] >= (FRACTION_THRESHOLD if fractional else 1)
        free = next((held for held in maps if not held[mask].any()), None)
        if free is None:
            free = np.zeros(mask.shape, np.uint8 if max(seg.segment_numbers) < 256 else np.uint16)
            maps.append(free)
        free[mask] = number
    if fractional:
        kind = str(seg.get("SegmentationFractionalType", "fraction")).lower()
        decisions.append(
            Decision("masks", f"{name} holds fractions ({kind}); a voxel counts from {FRACTION_THRESHOLD:g} on.")
        )
    if len(maps) > 1:
        decisions.append(Decision("masks", f"Segments of {name} overlap and were kept in {len(maps)} layers."))
    return [_raw(held, affine) for held in maps], decisions


def _raw(array: np.ndarray, affine_lps: np.ndarray) -> RawImage:
    return RawImage(array, np.diag([-1.0, -1.0, 1.0, 1.0]) @ np.asarray(affine_lps, float))


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
    """The error for filled segments that could not be named."""
    unknown = [number for number in counts if number not in seg.structures]
    shown = "; ".join(
        f"segment {number} {seg.names.get(number, 'without description')!r} ({counts[number]} voxels"
        + (f", near: {', '.join(near)})" if (near := near_names(seg.names.get(number, ""))) else ")")
        for number in unknown[:8]
    )
    return StructureError(
        "every filled segment is a known structure",
        shown + (f"; and {len(unknown) - 8} more" if len(unknown) > 8 else ""),
        "Pass scheme={segment number: structure}",
    )

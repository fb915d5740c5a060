"""Images whose SeriesInstanceUID was removed: which folders hold one scan, and which of them were not read.

Where the UID is empty, the folder (and SeriesNumber) stands for the series. One scan may then lie in several folders,
because exports divide large series, and several scans may look alike. Folders are put together only where all that
their headers say of the series agrees, and their slices make one regular stack in which each position occurs once.
What is left apart, though nothing in the headers tells it from the scan that was read, is warned of in the head of
the report.
"""

from __future__ import annotations

import itertools
import math
import os
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np

from radvlm.io.dicom_acquisitions import SAME_POSITION_MM, acquisitions, is_readable
from radvlm.io.dicom_files import DicomFile
from radvlm.io.dicom_frames import MARKS, Frame, Vector
from radvlm.io.dicom_grid import POSITION_TOLERANCE
from radvlm.types.provenance import Decision

#: Attributes that are one for a whole series (PS3.3 C.7.3.1 and the settings of a reconstruction).
_OF_A_SERIES = tuple(
    mark.index
    for mark in MARKS
    if mark.name
    in (
        "KVP",
        "ImageType",
        "ConvolutionKernel",
        "FilterType",
        "ReconstructionAlgorithm",
        "ReconstructionDiameter",
        "SliceThickness",
        "ContrastBolusAgent",
        "ScanOptions",
        "PatientPosition",
        "SeriesNumber",
        "SeriesDescription",
        "ProtocolName",
        "SeriesTime",
    )
)
_NAMES = tuple(mark.index for mark in MARKS if mark.name in ("KVP", "ConvolutionKernel", "ProtocolName"))
_WEAK = {mark.name for mark in MARKS if mark.is_weak}
#: Place of AccessionNumber in ``StudyIdentity.facts``.
_ACCESSION_NUMBER = 2
#: Groups of fewer images show no spacing of their own.
_FEWEST_SLICES = 3
#: Beyond the tilt of a gantry, slices lie no farther aside of their neighbors where two folders meet.
_ASIDE_MM = 1.0


def series_by_place(frames: Sequence[Frame]) -> tuple[dict[int, str], tuple[Decision, ...]]:
    """Frames (by ``id``) of several folders that are one series, with the series key they share, and what was done."""
    placed = [frame for frame in frames if not frame.series_uid and frame.has_place and not frame.is_localizer]
    if len({frame.series_key for frame in placed}) < 2:
        return {}, ()
    alike: dict[tuple[object, ...], dict[str, list[Frame]]] = {}
    for frame in placed:
        alike.setdefault(_said(frame), {}).setdefault(frame.series_key, []).append(frame)
    key_of: dict[int, str] = {}
    decisions = []
    for groups in alike.values():
        for members in _joining(list(groups.values())):
            key = members[0][0].series_key
            key_of.update((id(frame), key) for group in members for frame in group)
            what = (
                f"The images of {len(members)} folders have no SeriesInstanceUID; they were put together, because "
                "their headers agree and their positions make one series."
            )
            decisions.append(Decision("dicom", what, warning=True))
    return key_of, tuple(decisions)


def tells_apart(a: Frame, b: Frame) -> bool:
    """True when something in the headers says that two images are of different series."""
    return bool(a.series_uid and b.series_uid and a.series_uid != b.series_uid) or _said(a) != _said(b)


def may_be_two_cases(a: Frame, b: Frame) -> bool:
    """True when no header says that two images are of one case: nothing names it, or only a PatientID like "ANON" does.

    The latter where two series are called the same, have no UIDs, and lie in two frames of reference.
    """
    if not _are_of_one_case(a, b):
        return True
    places = (a.frame_of_reference_uid, b.frame_of_reference_uid)
    has_uids = (a.series_uid and b.series_uid) or (a.study.uid and b.study.uid)
    return not has_uids and all(places) and places[0] != places[1] and _called(a) == _called(b)


def _are_of_one_case(a: Frame, b: Frame) -> bool:
    """True when a patient, a study or a frame of reference is named by both, and is the same."""
    pairs = (
        (a.patient_key, b.patient_key),
        (a.study.uid, b.study.uid),
        (a.frame_of_reference_uid, b.frame_of_reference_uid),
        (_accession_number(a), _accession_number(b)),
    )
    return any(one and one == other for one, other in pairs)


def are_copies(frames: Sequence[Frame], others: Sequence[Frame]) -> bool:
    """True when ``others`` lie at positions of ``frames`` and the first, middle and last are the same files."""
    places = {_place(frame): frame for frame in frames}
    if not all(_place(other) in places for other in others):
        return False
    sample = {0, len(others) // 2, len(others) - 1}
    return all(_is_same_file(places[_place(others[index])].file, others[index].file) for index in sample)


def folder_names(frames: Iterable[Frame]) -> dict[str, str]:
    """Short names that tell the folders of ``frames`` apart: below the folder that holds them all."""
    folders = sorted({frame.file.folder for frame in frames})
    if len(folders) == 1:
        return {folder: Path(folder).name or folder or "." for folder in folders}
    try:
        above = os.path.commonpath(folders)
    except ValueError:  # relative and absolute, or two drives
        return {folder: folder for folder in folders}
    below = {folder: os.path.relpath(folder or ".", above or ".") for folder in folders}
    return {folder: (Path(folder).name or ".") if name == "." else name for folder, name in below.items()}


def _accession_number(frame: Frame) -> str:
    facts = frame.study.facts
    return facts[_ACCESSION_NUMBER] if len(facts) > _ACCESSION_NUMBER else ""


def _called(frame: Frame) -> tuple[str, ...]:
    return (frame.series_number, frame.description, *(frame.marks[index] for index in _NAMES))


def _said(frame: Frame) -> tuple[object, ...]:
    """All that a header says of the series, the study and the patient of an image, and of the grid in its plane."""
    assert frame.row_cosine and frame.column_cosine and frame.pixel_spacing_mm
    return (
        frame.patient_key,
        frame.study,
        frame.frame_of_reference_uid,
        frame.description,
        frame.values,
        (frame.rows, frame.columns, *(round(v, 4) for v in frame.pixel_spacing_mm)),
        tuple(round(v, 2) + 0.0 for v in (*frame.row_cosine, *frame.column_cosine)),
        tuple(frame.marks[index] for index in _OF_A_SERIES),
    )


def _joining(groups: list[list[Frame]]) -> list[list[list[Frame]]]:
    """Those of the groups that make one stack with others, in lists of two and more."""
    if len(groups) < 2:
        return []
    everything = [frame for group in groups for frame in group]
    if _is_one_stack(everything) or _are_divided_acquisitions(groups, everything):
        return [groups]
    offsets = sorted(_offset_mm(frame, everything[0].normal) for frame in everything)
    if any(b - a <= SAME_POSITION_MM for a, b in itertools.pairwise(offsets)):
        return []  # which half belongs to which would be a guess
    joined: list[list[list[Frame]]] = []
    for group in sorted(groups, key=lambda group: min(_offset_mm(frame, everything[0].normal) for frame in group)):
        if len(group) < _FEWEST_SLICES:
            continue
        for members in joined:
            if _is_one_stack([frame for own in (*members, group) for frame in own]):
                members.append(group)
                break
        else:
            joined.append([group])
    return [members for members in joined if len(members) > 1]


def _are_divided_acquisitions(groups: list[list[Frame]], everything: list[Frame]) -> bool:
    """True when the headers tell several acquisitions apart, each of which lies in all the folders and is a stack."""
    normal = everything[0].normal
    parts = acquisitions(everything, lambda frame: _offset_mm(frame, normal))
    return len(parts) > 1 and all(
        acquisition is not None
        and not _WEAK & {name for name, _ in acquisition.marks}
        and len({frame.series_key for frame in members}) == len(groups)
        and _is_one_stack(members)
        for acquisition, members in parts
    )


def _is_one_stack(frames: Sequence[Frame]) -> bool:
    """True for slices at one regular spacing (single ones may be missing), one beneath the other."""
    normal = frames[0].normal
    ordered = sorted((_offset_mm(frame, normal), frame.position_mm) for frame in frames if frame.position_mm)
    offsets = np.array([offset for offset, _ in ordered])
    if len(offsets) < _FEWEST_SLICES or not is_readable(offsets):
        return False
    gaps = np.diff(offsets)
    usual = float(np.median(gaps))
    if np.abs(gaps - np.rint(gaps / usual) * usual).max() > POSITION_TOLERANCE * usual:
        return False
    return all(
        math.dist(one, other) ** 2 <= gap**2 + (gap + _ASIDE_MM) ** 2
        for (_, one), (_, other), gap in zip(ordered[:-1], ordered[1:], gaps, strict=True)
    )


def _offset_mm(frame: Frame, normal: Vector) -> float:
    assert frame.position_mm is not None
    return sum(p * n for p, n in zip(frame.position_mm, normal, strict=True))


def _place(frame: Frame) -> tuple[float, ...]:
    assert frame.position_mm is not None
    return tuple(round(v, 2) for v in frame.position_mm)


def _is_same_file(one: DicomFile, other: DicomFile) -> bool:
    if one.member is None and other.member is None and one.path.stat().st_size != other.path.stat().st_size:
        return False
    return one.read() == other.read()

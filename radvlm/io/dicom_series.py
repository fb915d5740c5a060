"""Which images of a folder belong together, and which stack of them is read.

A series is not trusted to be one stack. Its images are split by orientation and size; localizers and single
odd images are set aside and counted; complete stacks at the same positions (phases, reconstructions) are told apart.
The axial CT stack with most slice positions is chosen, and the decision names what else there was. Maps whose values
are no HU are never read; what is only like HU is chosen where there is nothing better, with a warning.
"""

from __future__ import annotations

import bisect
import itertools
import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import numpy as np

from radvlm.errors import FileFormatError, GridError, InputError
from radvlm.io.dicom_acquisitions import SAME_POSITION_MM, Acquisition, acquisitions, is_readable, is_stack
from radvlm.io.dicom_changes import changes_along, images_missing
from radvlm.io.dicom_files import Found, read_headers
from radvlm.io.dicom_folders import are_copies, folder_names, may_be_two_cases, series_by_place, tells_apart
from radvlm.io.dicom_frames import (
    MARKS,
    TAGS,
    Facts,
    Frame,
    LeftOut,
    Vector,
    frames_of,
    is_ct,
    is_cut_short,
    left_out,
    short_text,
)
from radvlm.io.dicom_persons import check_one_person, check_one_study
from radvlm.io.dicom_values import PixelValues, Scale
from radvlm.io.file_bytes import first_bytes, missing_file, named_path, path_exists
from radvlm.io.hu_rulers import doubted
from radvlm.io.image_files import is_image_file
from radvlm.types.provenance import UNREAD, Decision

#: |cosine| between a slice normal and the body axis from which a stack counts as axial (37 degrees; gantry tilt is
#: at most 30).
AXIAL_COSINE = 0.8
#: Images of one stack differ in direction by less than this (cosine of 0.5 degrees).
SAME_DIRECTION = math.cos(math.radians(0.5))
_POSITION, _THICKNESS, _NUMBER = (
    next(mark for mark in MARKS if mark.name == name)
    for name in ("PatientPosition", "SliceThickness", "InstanceNumber")
)
#: So many images with a SeriesInstanceUID of their own are looked at.
MAX_STRAYS = 20
#: Odd images up to this share of a stack (and always one) are set aside; more is an error.
ODD_SHARE = 0.05


@dataclass(frozen=True)
class Stack:
    """Frames of one acquisition with the same orientation, size and pixel spacing; not yet checked for gaps."""

    frames: tuple[Frame, ...]
    odd_sizes: tuple[Frame, ...] = ()  # same direction, another matrix or pixel size
    acquisition: Acquisition | None = None  # None where the series holds one

    @cached_property
    def normal(self) -> tuple[float, float, float]:
        return self.frames[0].normal

    @property
    def first(self) -> Frame:
        return self.frames[0]

    def same_series(self, other: Stack) -> bool:
        return self.first.series_key == other.first.series_key

    @property
    def values(self) -> PixelValues:
        """What the pixels hold; the same for every frame."""
        return self.first.values

    @property
    def is_axial(self) -> bool:
        return abs(self.normal[2]) >= AXIAL_COSINE

    @property
    def plane(self) -> str:
        """``axial``, ``coronal``, ``sagittal`` (nearest)."""
        nearest = max(range(3), key=lambda axis: abs(self.normal[axis]))
        return "axial" if self.is_axial else ("sagittal", "coronal", "axial")[nearest]

    def offset_mm(self, frame: Frame) -> float:
        """Position of a frame along the stack's normal."""
        assert frame.position_mm is not None
        return self.along_mm(frame.position_mm)

    def along_mm(self, position_mm: Vector) -> float:
        """Position of a point along the stack's normal."""
        return sum(p * n for p, n in zip(position_mm, self.normal, strict=True))

    @cached_property
    def position_count(self) -> int:
        return len({round(self.offset_mm(frame) / SAME_POSITION_MM / 2) for frame in self.frames})

    @property
    def extent(self) -> str:
        """Slices, plane and the positions of the first and the last."""
        places = sorted(self.offset_mm(frame) for frame in self.frames)
        return f"{self.position_count} {self.plane} slices, {places[0]:.0f} to {places[-1]:.0f} mm along their normal"

    def __str__(self) -> str:
        number = f"series {self.first.series_number}" if self.first.series_number else "series without number"
        text = f' "{self.first.description}"' if self.first.description else ""
        holds = f", {self.values.words}" if self.values.words else ""
        holds += f", {self.acquisition}" if self.acquisition else ""
        size = f"{self.first.columns} x {self.first.rows}"
        return f"{number}{text} ({self.position_count} {self.plane} slices, {size}{holds})"


@dataclass(frozen=True)
class SeriesRecord:
    """One stack of CT slices that ``load_volume`` could read; ``chosen`` marks the one it would.

    ``choice`` is what ``series=`` takes for it: its SeriesInstanceUID, or its folder where that was removed.
    """

    series_uid: str
    number: str
    description: str
    plane: str
    slices: int
    columns: int
    rows: int
    chosen: bool
    values: str = "HU"
    acquisition: str = ""
    choice: str = ""


@dataclass(frozen=True)
class Catalog:
    """Every CT stack found, and in words what was left out."""

    stacks: tuple[Stack, ...]
    decisions: tuple[Decision, ...]
    left_out: tuple[LeftOut, ...] = ()


def list_series(source: str | Path | Sequence[str | Path]) -> tuple[SeriesRecord, ...]:
    """The CT stacks in a folder, a zip or a list of files, largest first, without reading pixels."""
    if isinstance(source, (str, Path)):
        source = [source]
    given = [named_path(path, "a CT") for path in source]
    for path in given:
        if not path_exists(path):
            raise missing_file(path, "the path exists")
        if path.is_file() and first_bytes(path, 4) != b"PK\x03\x04" and is_image_file(path):
            raise FileFormatError(
                "series are those of DICOM files",
                f"{path.name}, one image in one file, which has none",
                "Nothing is to be chosen: pass it as it is where a scan is asked for",
            )
    paths = given[0] if len(given) == 1 else given
    stacks = sorted(catalog(paths).stacks, key=_rank, reverse=True)
    choices = _choices(stacks)
    return tuple(
        SeriesRecord(
            s.first.series_uid,
            s.first.series_number,
            s.first.description,
            s.plane,
            s.position_count,
            s.first.columns,
            s.first.rows,
            chosen=index == 0 and (s.values.scale is not Scale.OTHER or s.values.is_only_described),
            values=s.values.words or "HU",
            acquisition=str(s.acquisition or ""),
            choice=choices[s.first.series_key],
        )
        for index, s in enumerate(stacks)
    )


def catalog(source: Path | Sequence[Path]) -> Catalog:
    """Scan headers and build the stacks.

    Raises FileFormatError when there is no DICOM, no CT, no image, or no image with position and orientation.
    """
    found = read_headers(source, TAGS)
    where = source.name if isinstance(source, Path) else f"{len(source)} files"
    if not found.headers:
        raise _no_dicom(source, where, found)
    headers = [(file, Facts(header)) for file, header in found.headers]
    modalities: Counter[str] = Counter(
        "CT" if is_ct(header) else short_text(header.get("Modality"), 16) or "no modality" for _, header in headers
    )
    if not modalities["CT"]:
        raise FileFormatError(
            "the DICOM files hold a CT", f"{where}: only {_words(modalities)}", "Pass the folder of a CT series"
        )
    frames: list[Frame] = []
    no_slices: list[LeftOut] = []
    for file, header in headers:
        reason = left_out(file, header)
        if reason is None:
            frames += frames_of(file, header)
        else:
            no_slices.append(reason)
    skipped = Counter(found.skipped)
    skipped.update(what if "archive" in what else f"files {what}" for _, what in found.packed)
    skipped.update(image.what for image in no_slices)
    damaged = [*found.lost, *(file.name for file, header in headers if is_cut_short(header))]
    if not frames:
        raise FileFormatError(
            "the CT files hold grayscale images",
            f"{where}: {modalities['CT']} CT objects ({_words(skipped)})",
            "Pass the folder of the image series",
        )
    decisions: list[Decision] = []
    frames = _joined(frames, decisions)
    key_of, put_together = series_by_place(frames)
    decisions += put_together
    moved = {frame.series_key: key_of[id(frame)] for frame in frames if id(frame) in key_of}
    frames = [replace(f, series_key=key_of[id(f)]) if id(f) in key_of else f for f in frames] if key_of else frames
    no_slices = [replace(image, series_key=moved.get(image.series_key, image.series_key)) for image in no_slices]
    by_series: dict[str, list[Frame]] = {}
    for frame in frames:
        by_series.setdefault(frame.series_key, []).append(frame)
    stacks, unplaced = [], 0
    for members in by_series.values():
        placed = [frame for frame in members if frame.has_place and not frame.is_localizer]
        localizers = [frame.left_out("localizer images") for frame in members if frame.is_localizer]
        skipped["localizer images"] += len(localizers)
        no_slices += localizers
        lost = [frame for frame in members if not frame.has_place and not frame.is_localizer]
        if lost and placed and len(lost) > max(1, ODD_SHARE * len(placed)):
            raise _no_place(lost)
        unplaced += len(lost)
        no_slices += [frame.left_out("images without position or orientation") for frame in lost]
        skipped["images without position or orientation"] += len(lost)
        stacks += _stacks(placed)
    if not stacks:
        lost = [frame for frame in frames if not frame.has_place and not frame.is_localizer]
        if lost:
            raise _no_place(lost)
        raise FileFormatError(
            "the folder holds CT slices", f"{where}: only {_words(+skipped)}", "Pass the folder of the axial series"
        )
    if +skipped:
        decisions.append(Decision("dicom", f"Left out: {_words(+skipped)}.", warning=unplaced > 0))
    if found.unfetched:
        name, instead = found.unfetched[0]
        more = f" (and {len(found.unfetched) - 1} more like it)" if len(found.unfetched) > 1 else ""
        what = f"{name}{more} is {instead.what}, and was not read; the scan may lack slices. {instead.remedy}."
        decisions.append(Decision(UNREAD, what, warning=True))
    if found.closed:
        count = len(found.closed)
        what = (
            f"{count} {'folder' if count == 1 else 'folders'} within could not be listed ({found.closed[0]}), so that "
            "nothing in there was read; the scan may lack slices. Check the permissions."
        )
        decisions.append(Decision(UNREAD, what, warning=True))
    if found.packed and any("archive" not in what for _, what in found.packed):
        name, packing = next(item for item in found.packed if "archive" not in item[1])
        more = f" (and {len(found.packed) - 1} more packed files)" if len(found.packed) > 1 else ""
        what = f"{name}{more} is {packing} and was not read; the scan may lack slices. Unpack it beside the others."
        decisions.append(Decision(UNREAD, what, warning=True))
    if damaged:
        what = (
            f"{len(damaged)} DICOM file(s), such as {damaged[0]}, are cut short or damaged and hold no image; the scan "
            "may lack slices. Copy or download them again."
        )
        decisions.append(Decision("dicom", what, warning=True))
    return Catalog(tuple(stacks), tuple(decisions), tuple(no_slices))


def _no_dicom(source: Path | Sequence[Path], where: str, found: Found) -> FileFormatError:
    """The error for a folder, an archive or files without any DICOM: what they are instead."""
    kind = "files are" if not isinstance(source, Path) else "folder holds" if source.is_dir() else "archive holds"
    rule = f"the {kind} DICOM{'' if kind == 'files are' else ' files'}"
    remedy = "Pass a DICOM folder, or a NIfTI file by its own path; each case by itself"
    if found.unfetched:
        name, instead = found.unfetched[0]
        more = f", and {len(found.unfetched) - 1} more" if len(found.unfetched) > 1 else ""
        return FileFormatError(rule, f"{where}: {name}: {instead.what}{more}", instead.remedy)
    if found.packed:
        name, what = found.packed[0]
        count = len(found.packed)
        told = f"{name} is {what}" if count == 1 else f"{count} packed files ({name} is {what})"
        return FileFormatError(rule, f"{where}: {told}", "Unpack them first" if count > 1 else "Unpack it first")
    if found.closed and not found.skipped:
        return FileFormatError(rule, f"{where}: a folder in it: {found.closed[0]}", "Check its permissions")
    held = (_words(found.skipped) or "it is empty").replace("1 NIfTI files", "1 NIfTI file")
    return FileFormatError(rule, f"{where}: {held}", remedy if found.skipped else "Check the path")


def choose(
    found: Catalog, series: str | int | None = None, acquisition: str | int | None = None
) -> tuple[Stack, tuple[Decision, ...]]:
    """The stack to read: the axial one with most slice positions (of equal ones the first), or the one asked for.

    ``series`` is a SeriesInstanceUID or its ending, a SeriesNumber, a folder or part of the description;
    ``acquisition`` an acquisition as ``list_series`` names it, or the value of an attribute that sets its images apart,
    such as an AcquisitionNumber.

    Raises InputError when they fit none or ``series`` several, or when the folder holds several patients;
    GridError when the chosen series mixes image sizes.
    """
    stacks = list(found.stacks)
    if series is not None:
        stacks = _matching(stacks, str(series).strip())
    decisions = list(found.decisions)
    if series is None:
        _refuse_several_cases(stacks)
    ranked = sorted(stacks, key=_rank, reverse=True)
    if acquisition is not None:
        ranked = _of_acquisition(ranked, str(acquisition).strip())
    stack = ranked[0]
    siblings = [other for other in found.stacks if other.acquisition and other.same_series(stack) and other != stack]
    others = [other for other in found.stacks if other != stack and other not in siblings]
    if series is None:
        decisions += _not_read(stack, others)
    decisions += _one_scan(
        stack, [other for other in found.stacks if other.same_series(stack)], acquisition is not None
    )
    unlike = [
        frame.left_out(f"images of another direction, size or meaning ({other.values.words or 'HU'})")
        for other in found.stacks
        if other.same_series(stack) and other != stack and other not in siblings
        for frame in other.frames
    ]
    own = [image for image in found.left_out if image.series_key == stack.first.series_key]
    if acquisition is None:
        _refuse_holes(stack, siblings, (*own, *unlike))
    if siblings and stack.acquisition:
        whole = sorted((stack, *siblings), key=lambda s: s.acquisition.order if s.acquisition else 0)
        how = "as asked for" if acquisition is not None else "the one with most slices, of equal ones the first"
        counts = "; ".join(f"{s.acquisition} ({s.position_count} slices)" for s in whole[:8])
        what = (
            f"The series holds {len(whole)} acquisitions: {counts}{'; ...' if len(whole) > 8 else ''}. Read that of "
            f"{stack.acquisition}, {how}; acquisition= (--acquisition) takes another."
        )
        decisions.append(Decision("dicom", what, warning=acquisition is None))
    elif acquisition is not None:
        decisions.append(Decision("dicom", f"Read acquisition {acquisition} of the series, as asked for."))
    if series is not None:
        decisions.append(Decision("dicom", f"Read {stack}, as asked for."))
    elif others:
        decisions.append(
            Decision(
                "dicom",
                f"Read {stack}, the {'axial ' if stack.is_axial else ''}CT with most "
                f"slices{_preferred(stack, others)}; also there: {_listed(others)}.",
            )
        )
    decisions += _orientation_doubts(stack)
    decisions += _thinned_out(stack)
    decisions += changes_along(stack.frames, stack.offset_mm)
    if acquisition is None and not siblings:
        whole_series = [frame for s in found.stacks if s.same_series(stack) for frame in (*s.frames, *s.odd_sizes)]
        every = [frame for s in found.stacks for frame in (*s.frames, *s.odd_sizes)]
        decisions += images_missing(whole_series, every, len(own))
    if stack.values.scale is Scale.LIKE_HU:
        doubt = f"the series is {stack.values.words}, for which limits in HU were not made"
        decisions.append(doubted(doubt, "Pass the conventional series where there is one"))
    if not stack.is_axial:
        decisions.append(Decision("dicom", f"The series is {stack.plane}, not axial.", warning=True))
    if stack.odd_sizes:
        odd = stack.odd_sizes
        sizes = sorted({f"{f.columns} x {f.rows}" for f in (*odd, *stack.frames)})
        if len(odd) > max(1, ODD_SHARE * len(stack.frames)):
            raise GridError(
                "all slices of a series have one matrix and one pixel size",
                f"{stack} with {len(odd)} other images ({', '.join(sizes)})",
                "Pass a list of the files of one size",
            )
        what = f"Set aside {len(odd)} image(s) of another size ({', '.join(sizes)})."
        decisions.append(Decision("dicom", what, warning=True))
    return stack, tuple(decisions)


def _joined(frames: list[Frame], decisions: list[Decision]) -> list[Frame]:
    """Images that an exporter gave a SeriesInstanceUID each, put together where they are one stack or several."""
    members: Counter[str] = Counter(frame.series_key for frame in frames if frame.has_place and not frame.is_localizer)
    alone: dict[tuple[object, ...], list[Frame]] = {}
    for frame in frames:
        if frame.series_uid and members[frame.series_key] == 1 and frame.has_place and not frame.is_localizer:
            assert frame.row_cosine and frame.column_cosine
            axes = tuple(round(v, 3) for v in (*frame.row_cosine, *frame.column_cosine))
            alone.setdefault((frame.patient_key, frame.description, frame.values, _size(frame), axes), []).append(frame)
    key_of: dict[int, str] = {}
    for group in alone.values():
        stack = Stack(tuple(group))
        parts = acquisitions(group, stack.offset_mm)
        if len(group) >= 3 and all(is_stack(part, stack.offset_mm) for _, part in parts):
            key_of.update((id(frame), group[0].series_key) for frame in group)
            what = (
                f"Each of {len(group)} images has a SeriesInstanceUID of its own (a fault of an export); they were put "
                "together, because their positions make one series."
            )
            decisions.append(Decision("dicom", what, warning=True))
    strays = [frame for group in alone.values() for frame in group if id(frame) not in key_of]
    for stray in strays[:MAX_STRAYS]:
        home = [
            f for f in frames if members[f.series_key] > 1 and f.has_place and not f.is_localizer and _alike(f, stray)
        ]
        if len({f.series_key for f in home}) == 1 and is_stack([*home, stray], Stack((home[0],)).offset_mm):
            key_of[id(stray)] = home[0].series_key
            what = "An image with a SeriesInstanceUID of its own was put with the series whose grid it continues."
            decisions.append(Decision("dicom", what, warning=True))
    return [replace(f, series_key=key_of[id(f)]) if id(f) in key_of else f for f in frames] if key_of else frames


def _alike(a: Frame, b: Frame) -> bool:
    """True for images that an exporter meant for one series: all but its UID is the same."""
    return (
        (a.patient_key, a.series_number, a.description, a.values, a.study, a.frame_of_reference_uid)
        == (b.patient_key, b.series_number, b.description, b.values, b.study, b.frame_of_reference_uid)
        and _size(a) == _size(b)
        and _same_direction(a, b)
    )


def _refuse_several_cases(stacks: Sequence[Stack]) -> None:
    """Refuse a folder of several patients or studies."""
    firsts = [stack.first for stack in stacks]
    for what, are_several in (
        ("patients", len({first.patient_key for first in firsts} - {""}) > 1),
        ("studies", any(first.study.contradicts(firsts[0].study) for first in firsts)),
    ):
        if are_several:
            raise InputError(
                "a folder holds one case: one study of one patient",
                f"CT series of several {what}: {_told_apart(stacks)}",
                "Pass the folder of each case by itself, or choose one series with series= (--series)",
            )


def _not_read(stack: Stack, others: Sequence[Stack]) -> list[Decision]:
    """Warn of images in other folders that may be another patient's, or the rest of the scan: no header says."""
    own = {frame.file.folder for frame in stack.frames}
    apart = [other for other in others if other.first.file.folder not in own and not other.same_series(stack)]
    unknown = [other for other in apart if may_be_two_cases(stack.first, other.first)]
    alike = [other for other in apart if other not in unknown and not tells_apart(stack.first, other.first)]
    decisions = []
    numbers = {folder: 1 + index for index, folder in enumerate(sorted({o.first.file.folder for o in apart} | own))}
    for left, question in ((unknown, "they are of one patient"), (alike, "they are one scan")):
        left = [other for other in left if not are_copies(stack.frames, other.frames)]
        if left:
            read = " and ".join(str(numbers[folder]) for folder in sorted(own))
            told = "; ".join(f"folder {numbers[other.first.file.folder]} ({other.extent})" for other in left[:8])
            more = f"; and {len(left) - 8} more" if len(left) > 8 else ""
            what = (
                f"Only part of what was given was read: of {len(numbers)} folders, in the order of their names, folder "
                f"{read} ({stack.extent}), not {told}{more}. Nothing in the headers tells whether {question}; pass "
                "the folder of each case by itself, or choose one with series= (--series)."
            )
            decisions.append(Decision(UNREAD, what, warning=True))
    return decisions


def _one_scan(stack: Stack, series: Sequence[Stack], is_asked_for: bool) -> list[Decision]:
    """Refuse a series whose images are of several patients, or lie in several frames of reference."""
    frames = [frame for own in series for frame in (*own.frames, *own.odd_sizes)]
    rule, remedy = "the images of a series are of one patient", "The series was mixed up by an export; export it again"
    patients = {frame.patient_key for frame in frames} - {""}
    if len(patients) > 1:
        raise InputError(rule, f"{stack}: images of {len(patients)} PatientIDs", remedy)
    persons = [frame.person for frame in frames]
    doubts = check_one_person(persons, bool(patients) and all(frame.patient_key for frame in frames), str(stack))
    doubts += check_one_study(persons, [frame.study.uid for frame in frames])
    own = [frame for s in series if not is_asked_for and s.plane == stack.plane for frame in s.frames] or stack.frames
    places = {frame.frame_of_reference_uid for frame in own} - {""}
    if len(places) >= max(3, len(own)):
        what = "Each image has a FrameOfReferenceUID of its own (a fault of an export); their positions were trusted."
        return [*doubts, Decision("dicom", what, warning=True)]
    if len(places) > 1:
        raise InputError(
            "the positions of a series are in one frame of reference",
            f"{stack}: images in {len(places)} FrameOfReferenceUIDs",
            "Pass the images of one of them (acquisition=, or a list of files)",
        )
    return doubts


def _orientation_doubts(stack: Stack) -> list[Decision]:
    """What contradicts the orientation that is read, which is ImageOrientationPatient's alone."""
    doubts = []
    wrong = [frame.contradiction for frame in stack.frames if frame.contradiction]
    if wrong:
        what = (
            f"PatientOrientation ({wrong[0]}) contradicts ImageOrientationPatient in {len(wrong)} of "
            f"{len(stack.frames)} images; the latter was followed. Check the sides on the images."
        )
        doubts.append(Decision("dicom", what, warning=True))
    positions = {frame.marks[_POSITION.index] for frame in stack.frames} - {""}
    if len(positions) > 1:
        what = (
            f"The images say different patient positions ({', '.join(sorted(positions))}); ImageOrientationPatient was "
        )
        doubts.append(Decision("dicom", what + "followed.", warning=True))
    return doubts


def _thinned_out(stack: Stack) -> list[Decision]:
    """Say that images are missing at regular places: their numbers go up by more than 1, and so do the gaps.

    A grid of every second slice is regular, so positions alone do not show it.
    """
    placed = sorted((stack.offset_mm(frame), frame.marks[_NUMBER.index]) for frame in stack.frames)
    numbers = [int(number) for _, number in placed if number.isdigit()]
    steps = {b - a for a, b in itertools.pairwise(numbers)}
    if len(numbers) < max(6, len(placed)) or len(steps) != 1:
        return []
    step = abs(steps.pop())
    spacing = abs(placed[-1][0] - placed[0][0]) / (len(placed) - 1)
    thickness = stack.first.marks[_THICKNESS.index]
    try:
        is_apart = spacing >= 1.5 * float(thickness)
    except ValueError:
        is_apart = True
    if step < 2 or not is_apart:
        return []
    what = (
        f"The numbers of the images go up in steps of {step}: only one of {step} images is here, {spacing:.1f} mm "
        "apart. What lies between them is not seen."
    )
    return [Decision("dicom", what, warning=True)]


def _refuse_holes(stack: Stack, siblings: Sequence[Stack], images: Sequence[LeftOut]) -> None:
    """Refuse a stack that is thinned out or cut short because images of its series are not read.

    By their positions, where they continue its grid; and where they state none, by their numbers, which lie between
    those of the slices. A set of images that lies over the slices in part is another series of images.
    """
    used = [frame.marks[_NUMBER.index] for own in (stack, *siblings) for frame in (*own.frames, *own.odd_sizes)]
    numbers = {int(number) for number in used if number.isdigit()}
    for what in dict.fromkeys(image.what for image in images):
        alike = [image for image in images if image.what == what]
        missing = len(_places_of_holes(stack, alike)) + sum(
            min(numbers) < image.number < max(numbers) and image.number not in numbers
            for image in alike
            if image.position_mm is None and numbers
        )
        if missing > max(1, ODD_SHARE * len(stack.frames)):
            raise GridError(
                "every slice of a series can be read",
                f"{stack}: {len(alike)} {what} lie where its other slices should be",
                "Export the original grayscale images of the series",
            )


def _places_of_holes(stack: Stack, images: Sequence[LeftOut]) -> list[float]:
    """Positions along the normal where ``images`` would continue the grid of the stack."""
    offsets = sorted(stack.offset_mm(frame) for frame in stack.frames)
    near = 0.1 * min((b - a for a, b in itertools.pairwise(offsets) if b - a > SAME_POSITION_MM), default=1.0)
    free, over = set(), 0
    for image in images:
        if image.position_mm is not None and (
            image.normal is None or abs(stack.along_mm(image.normal)) > SAME_DIRECTION
        ):
            place = stack.along_mm(image.position_mm)
            index = bisect.bisect_left(offsets, place)
            if all(abs(place - other) > near for other in offsets[max(index - 1, 0) : index + 1]):
                free.add(round(place, 2))
            else:
                over += 1
    is_grid = is_readable(np.array(sorted((*dict.fromkeys(offsets), *free))))
    return sorted(free) if is_grid and over < 0.2 * (over + len(free)) else []


def _stacks(frames: Sequence[Frame]) -> list[Stack]:
    """Frames of one series split by direction and by what the pixels hold; of these the commonest size.

    Frames of other sizes are ``odd_sizes``.
    """
    directions: list[list[Frame]] = []
    for frame in frames:
        for members in directions:
            if members[0].values == frame.values and _same_direction(members[0], frame):
                members.append(frame)
                break
        else:
            directions.append([frame])
    return [stack for members in directions for stack in _of_one_direction(members)]


def _of_one_direction(members: list[Frame]) -> list[Stack]:
    """Sizes that cover the same place are stacks of their own; others are odd images of the commonest size."""
    sizes = Counter(_size(frame) for frame in members)
    main = sizes.most_common(1)[0][0]
    stack = Stack(tuple(frame for frame in members if _size(frame) == main))
    inside: list[list[Frame]] = []
    odd: list[list[Frame]] = []
    for size in sizes:
        if size != main:
            others = [frame for frame in members if _size(frame) == size]
            few = len(others) <= max(1, ODD_SHARE * len(stack.frames))
            (odd if few or not _over_each_other(stack, others) else inside).append(others)
    stacks = [
        Stack(tuple(frames), acquisition=acquisition)
        for acquisition, frames in acquisitions(stack.frames, stack.offset_mm)
    ]
    if odd:
        largest = max(range(len(stacks)), key=lambda index: len(stacks[index].frames))
        stacks[largest] = replace(stacks[largest], odd_sizes=tuple(frame for others in odd for frame in others))
    for others in inside:
        stacks += _of_one_direction(others)
    return stacks


def _over_each_other(stack: Stack, frames: list[Frame]) -> bool:
    """True when most of ``frames`` lie within the range of ``stack`` along its normal."""
    offsets = [stack.offset_mm(frame) for frame in stack.frames]
    low, high = min(offsets), max(offsets)
    return sum(low <= stack.offset_mm(frame) <= high for frame in frames) > 0.5 * len(frames)


def _same_direction(a: Frame, b: Frame) -> bool:
    assert a.row_cosine and b.row_cosine and a.column_cosine and b.column_cosine
    return all(
        sum(x * y for x, y in zip(one, two, strict=True)) >= SAME_DIRECTION
        for one, two in ((a.row_cosine, b.row_cosine), (a.column_cosine, b.column_cosine))
    )


def _size(frame: Frame) -> tuple[int, int, float, float]:
    assert frame.pixel_spacing_mm is not None
    return (frame.rows, frame.columns, round(frame.pixel_spacing_mm[0], 4), round(frame.pixel_spacing_mm[1], 4))


def _rank(stack: Stack) -> tuple[float, ...]:
    """Larger is read first: two slices or more, HU, axial, not a reformat, many positions, many images, low number."""
    number = stack.first.series_number
    return (
        stack.position_count >= 2,
        stack.values.scale,
        stack.is_axial,
        not stack.values.is_reformatted,
        stack.position_count,
        len(stack.frames),
        -float(number) if number.isdigit() else -math.inf,
        -stack.acquisition.order if stack.acquisition else 0,
    )


def _preferred(stack: Stack, others: Sequence[Stack]) -> str:
    """Why a series with more slices was passed over; "" where none was."""
    larger = [other for other in others if other.position_count > stack.position_count]
    if stack.is_axial:
        larger = [other for other in larger if other.is_axial]
    derived = any(other.values.scale < stack.values.scale for other in larger)
    return " among the conventional ones" if derived else " among the original ones" if larger else ""


def _matching(stacks: list[Stack], wanted: str) -> list[Stack]:
    choices = _choices(stacks)
    names = folder_names(frame for stack in stacks for frame in stack.frames)
    folder = wanted.rstrip("/\\") or wanted

    def lies_in(stack: Stack) -> bool:
        return any(folder in (place, names[place]) for place in {frame.file.folder for frame in stack.frames})

    tests = (
        lambda s: s.first.series_uid == wanted,
        lambda s: s.first.series_number == wanted,
        lambda s: choices[s.first.series_key] == wanted,
        lambda s: len(wanted) >= 3 and "." in s.first.series_uid and s.first.series_uid.endswith(wanted),
        lambda s: s.first.description.casefold() == wanted.casefold(),
        lies_in,
        lambda s: len(wanted) > 0 and wanted.casefold() in s.first.description.casefold(),
    )
    several: list[Stack] = []
    for test in tests:
        matching = [stack for stack in stacks if test(stack)]
        if len({stack.first.series_key for stack in matching}) == 1:
            return matching
        several = several or matching
    if several:
        raise InputError(
            "series= names one series",
            f"{wanted!r} fits {_told_apart(several)}",
            "Pass a SeriesInstanceUID, or a folder where there is none: "
            + ", ".join(sorted({choices[s.first.series_key] for s in several})),
        )
    raise InputError(
        "series= names a CT series of the folder",
        f"{wanted!r}; there is {_told_apart(stacks)}",
        "Pass a SeriesNumber, the end of a SeriesInstanceUID, a folder, or part of a description",
    )


def _choices(stacks: Sequence[Stack]) -> dict[str, str]:
    """What chooses each series, by its key: the UID, else the folder, with SeriesNumber where one folder holds more."""
    firsts = {stack.first.series_key: stack.first for stack in stacks}
    names = folder_names(frame for stack in stacks for frame in stack.frames)
    taken = Counter(names[first.file.folder] for first in firsts.values() if not first.series_uid)
    numbers = {first.series_number for first in firsts.values()}
    choices = {}
    for key, first in firsts.items():
        name = names[first.file.folder]
        is_clear = taken[name] == 1 and name not in numbers
        choices[key] = first.series_uid or (name if is_clear else f"{name}#{first.series_number}")
    return choices


def _told_apart(stacks: Sequence[Stack], limit: int = 8) -> str:
    """Series in words for an error, each with the end of its UID or its folder; never with the patient's identifier."""
    choices = _choices(stacks)
    names = folder_names(frame for stack in stacks for frame in stack.frames)
    uids = {stack.first.series_uid for stack in stacks} - {""}
    length = next((n for n in range(8, 64) if len({uid[-n:] for uid in uids}) == len(uids)), 64)
    told = []
    for stack in stacks[:limit]:
        uid, folder = stack.first.series_uid, names[stack.first.file.folder]
        where = f"folder {folder}, " if len(names) > 1 and uid else ""
        told.append(f"{stack} [{where}--series {uid[-length:] if uid else choices[stack.first.series_key]}]")
    return "; ".join(told) + (f"; and {len(stacks) - limit} more" if len(stacks) > limit else "")


def _of_acquisition(ranked: list[Stack], wanted: str) -> list[Stack]:
    """Stacks of the first series that fit an acquisition, or their images that have it as the value of an attribute."""
    own = [stack for stack in ranked if stack.same_series(ranked[0])]
    fitting = [stack for stack in own if stack.acquisition and stack.acquisition.fits(wanted)]
    if fitting:
        return fitting
    for mark in (mark for mark in MARKS if not mark.is_weak):
        chosen = [
            replace(stack, frames=frames)
            for stack in own
            if (frames := tuple(f for f in stack.frames if f.marks[mark.index].casefold() == wanted.casefold()))
        ]
        if chosen:
            return sorted(chosen, key=_rank, reverse=True)
    raise InputError(
        "acquisition= names an acquisition of the series",
        f"{wanted!r}; there is {_listed(own)}",
        "Pass one as `radvlm series` lists it, or an AcquisitionNumber",
    )


def _no_place(frames: list[Frame]) -> FileFormatError:
    counts = Counter(frame.file for frame in frames)
    names = sorted({frame.file.name for frame in frames})
    file, count = counts.most_common(1)[0]
    if count > 1:
        return FileFormatError(
            "a header states the place of every frame of its image",
            f"{file.name}: NumberOfFrames is {count}, without a place for each",
            "The number is wrong, the file was cut, or it is no CT volume: export the original images",
        )
    return FileFormatError(
        "every CT slice states its position, orientation and pixel spacing",
        f"{len(frames)} image(s) without, such as {names[0]}",
        "Export the original images; screenshots and secondary captures cannot be measured",
    )


def _listed(stacks: Sequence[Stack], limit: int = 8) -> str:
    text = "; ".join(str(stack) for stack in stacks[:limit])
    return text + (f"; and {len(stacks) - limit} more" if len(stacks) > limit else "")


def _words(counts: Counter[str]) -> str:
    return ", ".join(f"{count} {what}" for what, count in sorted(counts.items(), key=lambda item: (-item[1], item[0])))

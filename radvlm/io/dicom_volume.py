"""One CT series from DICOM files to RawImage: choose, order, decode, rescale and put on a regular grid.

Slices are decoded one by one straight into the final array (int16 where every rescale is in whole numbers),
and interpolation for a missing slice, changing spacing or gantry tilt happens on the way, so that a full-size second
copy never exists. DICOM's LPS+ becomes RAS+ here and nowhere else.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from radvlm.errors import FileFormatError, GridError, InputError
from radvlm.io.dicom_acquisitions import SAME_POSITION_MM, SHARED_AT_BORDER, acquisitions
from radvlm.io.dicom_frames import ACQUISITION_NUMBER, RECONSTRUCTION_DIAMETER, SLICE_THICKNESS, Frame
from radvlm.io.dicom_grid import Shear, SlicePlan, field_doubt, plan_shear, plan_slices, shifted, tilt_doubt
from radvlm.io.dicom_pixels import SliceReader
from radvlm.io.dicom_series import Stack, catalog, choose
from radvlm.io.dicom_study import patient_doubts, study_of
from radvlm.io.dicom_values import Scale
from radvlm.io.hounsfield import LOWEST_HU, Rescale, clipped, contradictions, correct_rescaled
from radvlm.io.hu_rulers import shows_tissues_of_ct
from radvlm.io.interleaving import MIN_ALTERNATION_HU, alternation
from radvlm.io.raw import RawImage
from radvlm.io.rescale import INT16, refuse_nonfinite
from radvlm.io.slice_jumps import slice_jumps
from radvlm.io.slice_steps import doubtful_steps
from radvlm.types.geometry import canonical_order
from radvlm.types.provenance import Decision

#: More voxels than this in one series is refused.
MAX_VOXELS = 4 * 2**30
_LPS_TO_RAS = np.diag([-1.0, -1.0, 1.0, 1.0])


class _BeyondInt16(Exception):
    """Raised inside this module when a slice does not fit int16; the series is then read as float32."""


def read_dicom(
    source: Path | Sequence[Path],
    series: str | int | None = None,
    rescale: Rescale = "auto",
    acquisition: str | int | None = None,
) -> RawImage:
    """Read one CT series from a folder (recursive), a list of files, or a zip.

    Args:
        series, acquisition: see ``radvlm.io.dicom_series.choose``.
        rescale: ``"auto"`` and ``"header"`` apply each slice's own rescale (auto also judges the result), ``"none"``
            none, (slope, intercept) the given one.

    Returns:
        RawImage with HU (columns, rows, slices) as int16 or float32; slices ascend along the normal.
        ``study.sop_instance_uids`` run in the slice direction of the RAS+ volume (from the feet up when axial);
        interpolated slices have none.

    Raises:
        FileFormatError, GridError, InputError: see the modules for each step.
    """
    stack, decisions = choose(catalog(source), series, acquisition)
    if not stack.values.is_only_described:
        _require_hu(stack, rescale, np.empty(0))
    own = {"auto": None, "header": None, "none": (1.0, 0.0)}
    reader = SliceReader(own[rescale] if isinstance(rescale, str) else rescale)
    frames, dropped, plan, shear, hu = _on_grid(stack, reader)
    if alternation(hu.transpose(2, 1, 0))[0] >= MIN_ALTERNATION_HU:
        first, *others = acquisitions(stack.frames, stack.offset_mm, are_mixed=True)
        if first[0] is not None:
            kept, members = max((first, *others), key=lambda part: len(part[1]))
            stack = replace(stack, frames=tuple(members), acquisition=kept)
            what = (
                f"The slices were bright and dark by turns, as those of {len(others) + 1} acquisitions are; read "
                f"that of {kept}."
            )
            decisions = (*decisions, Decision("dicom", what, warning=True))
            reader.notes.clear()
            frames, dropped, plan, shear, hu = _on_grid(stack, reader)
    refuse_nonfinite(hu, f"{stack}")
    rescales = {(frame.slope or 1.0, frame.intercept or 0.0) for frame in frames}
    jumps = slice_jumps(hu, _applied(frames, plan)) if len(rescales) > 1 and reader.rescale is None else ()
    if rescale == "auto":
        header = rescales.pop() if len(rescales) == 1 else (1.0, 0.0)
        hu, judged = correct_rescaled(hu, *header, name=str(stack))
    else:
        slope, intercept = reader.rescale or (rescales.pop() if len(rescales) == 1 else (1.0, 0.0))
        hu, judged = clipped(hu, "dicom", [*contradictions(hu, "dicom", slope, intercept)], owned=True)
    vouched = _require_hu(stack, rescale, hu)
    notes = [
        Decision("dicom", f"{count} {what}.", warning="padding" not in what)
        for what, count in sorted(reader.notes.items())
    ]
    affine = _affine(frames, stack, plan, shear)
    tilted = _tilt(reader.dataset(frames[0].file), frames, stack)
    study = study_of(reader.dataset(frames[0].file), frames[0].file.name, _uids(frames, affine))
    extra = (
        [
            *jumps,
            Decision("dicom", f"Rescale differs between slices ({len(rescales)} kinds); each was applied to its own."),
        ]
        if len(rescales) > 1
        else []
    )
    extra += _steps(hu, frames, plan) if shear is None else []
    used = dict.fromkeys(reader.sources[frame.file] for frame in frames)
    return RawImage(
        hu.transpose(2, 1, 0),
        affine,
        study=study,
        sources=tuple(used),
        decisions=(
            *decisions,
            *vouched,
            *dropped,
            *plan.decisions,
            *(shear.decisions if shear else ()),
            *tilted,
            *_field(frames, stack),
            *patient_doubts(reader.dataset(frames[0].file)),
            *extra,
            *notes,
            *judged,
        ),
    )


def _on_grid(
    stack: Stack, reader: SliceReader
) -> tuple[list[Frame], tuple[Decision, ...], SlicePlan, Shear | None, np.ndarray]:
    """The distinct frames, what was dropped, the plan of the grid, and the HU on it as (slices, rows, columns)."""
    frames, dropped = _distinct(stack, reader)
    offsets = np.array([stack.offset_mm(frame) for frame in frames])
    plan = plan_slices(offsets)
    shear = _shear(frames, offsets, stack)
    whole = all(
        float(v).is_integer()
        for frame in frames
        for v in (reader.rescale or (frame.slope or 1.0, frame.intercept or 0.0))
    )
    try:
        hu = _assembled(frames, plan, shear, reader, np.dtype(np.int16 if whole else np.float32))
    except _BeyondInt16:
        reader.notes.clear()
        hu = _assembled(frames, plan, shear, reader, np.dtype(np.float32))
    return frames, dropped, plan, shear, hu


def _tilt(dataset: Any, frames: list[Frame], stack: Stack) -> tuple[Decision, ...]:
    """Doubts about the gantry tilt that the header of original axial slices states."""
    if not stack.is_axial or stack.values.is_reformatted:
        return ()
    try:
        stated = float(dataset.get("GantryDetectorTilt") or 0.0)
    except (TypeError, ValueError):
        return ()
    return tilt_doubt(stated, np.array([frame.position_mm for frame in frames]), np.array(stack.normal))


def _field(frames: list[Frame], stack: Stack) -> tuple[Decision, ...]:
    """Doubts about the pixel spacing, where all original images state one reconstruction diameter."""
    stated = {frame.marks[RECONSTRUCTION_DIAMETER] for frame in frames}
    spacing = frames[0].pixel_spacing_mm
    if len(stated) != 1 or spacing is None or stack.values.is_reformatted or not stack.is_axial:
        return ()
    try:
        diameter = float(stated.pop())
    except ValueError:
        return ()
    return field_doubt(diameter, (frames[0].rows, frames[0].columns), spacing)


def _applied(frames: list[Frame], plan: SlicePlan) -> list[tuple[float, float]]:
    """(slope, intercept) of each slice of the grid, of an interpolated one those of the slice below it."""
    own = [(frame.slope or 1.0, frame.intercept or 0.0) for frame in frames]
    return [own[int(lower)] for lower in plan.lower]


def _steps(hu: np.ndarray, frames: list[Frame], plan: SlicePlan) -> list[Decision]:
    """Doubts about the step from slice to slice, where all slices state one thickness."""
    stated = {frame.marks[SLICE_THICKNESS] for frame in frames}
    try:
        thickness = float(stated.pop()) if len(stated) == 1 else 0.0
    except ValueError:
        return []
    spacing = frames[0].pixel_spacing_mm
    if spacing is None or not np.isfinite(thickness):
        return []
    return [*doubtful_steps(hu, plan.spacing_mm, thickness, float(np.sqrt(spacing[0] * spacing[1])))]


def _require_hu(stack: Stack, rescale: Rescale, hu: np.ndarray) -> tuple[Decision, ...]:
    """Refuse a map whose values are another quantity than HU, unless the caller says what makes them HU.

    Reading it with the rules on attenuation withheld would still measure its "HU"; the conventional series has the
    same anatomy on the same grid, so a report is made from that one.
    """
    if stack.values.scale is not Scale.OTHER:
        return ()
    if rescale in ("auto", "header") and stack.values.is_only_described and shows_tissues_of_ct(hu):
        what = (
            f"The description of the series reads like {stack.values.words}; the images are original, and air, fat and "
            "soft tissue have their HU, so they were read as a CT."
        )
        return (Decision("dicom", what),)
    if rescale in ("auto", "header"):
        raise InputError(
            "a report rests on Hounsfield units",
            f"{stack}: by its header it holds {stack.values.words}, not HU"
            + (", and rescale='header' makes just these of the stored values" if rescale == "header" else ""),
            "Pass the conventional series of the scan (series=); if the header is wrong, say what makes the values HU: "
            "rescale='none' or (slope, intercept)",
        )
    what = f"By its header the series holds {stack.values.words}, not HU; it was read as HU, as asked for."
    return (Decision("dicom", what, warning=True),)


def _distinct(stack: Stack, reader: SliceReader) -> tuple[list[Frame], tuple[Decision, ...]]:
    """Frames in ascending position, one for each; identical duplicates are dropped, different ones refused."""
    _refuse_shared_uids(stack)
    frames: list[Frame] = []
    dropped = met = 0
    for frame in sorted(stack.frames, key=lambda f: (stack.offset_mm(f), f.sop_uid, f.file.folder, f.file.name)):
        if not frames or stack.offset_mm(frame) - stack.offset_mm(frames[-1]) > SAME_POSITION_MM:
            frames.append(frame)
            continue
        if frame.position_mm is not None and not np.allclose(frame.position_mm, frames[-1].position_mm, atol=0.05):  # type: ignore[arg-type]
            different = True
        else:
            different = not np.array_equal(reader.hu(frames[-1]), reader.hu(frame))
        if different and met < SHARED_AT_BORDER and _is_later(frames[-1], frame):
            met += 1
            continue
        if different and met < SHARED_AT_BORDER and _is_later(frame, frames[-1]):
            frames[-1] = frame
            met += 1
            continue
        if different:
            same_uid = frame.sop_uid and frame.sop_uid == frames[-1].sop_uid
            raise GridError(
                "a SOPInstanceUID names one image" if same_uid else "each position of a series holds one image",
                f"two different images at {stack.offset_mm(frame):.1f} mm along the slice normal "
                f"({frames[-1].file.name}, {frame.file.name})",
                "Two acquisitions are mixed and the headers do not tell them apart; pass acquisition=, or a list of "
                "the files of one of them",
            )
        dropped += 1
    reader.notes.clear()
    decisions = []
    if dropped:
        decisions.append(Decision("dicom", f"{dropped} duplicate image(s) with identical pixels dropped."))
    if met:
        what = f"Two acquisitions meet at {met} position(s); the image of the first was kept there."
        decisions.append(Decision("dicom", what, warning=True))
    return frames, tuple(decisions)


def _is_later(first: Frame, second: Frame) -> bool:
    """True when the second of two images at a position is of a later acquisition, by its AcquisitionNumber."""
    one, two = (frame.marks[ACQUISITION_NUMBER] for frame in (first, second))
    return one.isdigit() and two.isdigit() and int(one) < int(two)


def _refuse_shared_uids(stack: Stack) -> None:
    places: dict[tuple[str, int], Frame] = {}
    for frame in stack.frames:
        if not frame.sop_uid:
            continue
        first = places.setdefault((frame.sop_uid, frame.number), frame)
        if abs(stack.offset_mm(first) - stack.offset_mm(frame)) > SAME_POSITION_MM:
            raise FileFormatError(
                "a SOPInstanceUID names one image",
                f"{first.file.name} and {frame.file.name} share one at different positions",
                "The identifiers were damaged by an export; export the series again",
            )


def _shear(frames: list[Frame], offsets: np.ndarray, stack: Stack) -> Shear | None:
    first = frames[0]
    assert first.pixel_spacing_mm is not None
    return plan_shear(
        np.array([frame.position_mm for frame in frames]),
        offsets,
        np.array(first.row_cosine),
        np.array(first.column_cosine),
        np.array(stack.normal),
        first.pixel_spacing_mm,
    )


def _assembled(
    frames: list[Frame], plan: SlicePlan, shear: Shear | None, reader: SliceReader, dtype: np.dtype
) -> np.ndarray:
    """(slices, rows, columns) in HU. Each slice is decoded once and written to every output slice it has part in."""
    rows, columns = frames[0].rows, frames[0].columns
    if shear is not None:
        rows, columns = rows + shear.extra[0], columns + shear.extra[1]
    if plan.count * rows * columns > MAX_VOXELS:
        raise GridError(
            f"a series holds at most {MAX_VOXELS / 2**30:.0f} Gi voxels",
            f"{columns} x {rows} x {plan.count}",
            "Crop the series first",
        )
    hu = np.empty((plan.count, rows, columns), dtype=dtype)
    previous = np.empty(0)
    for number, frame in enumerate(frames):
        current = reader.hu(frame)
        if dtype == np.int16 and (current.min() < INT16.min or current.max() > INT16.max):
            raise _BeyondInt16
        if shear is not None:
            current = shifted(current, shear.rows[number], shear.columns[number], shear.extra, LOWEST_HU)
            current = np.rint(current) if dtype == np.int16 else current
        for k in np.flatnonzero((plan.lower == number) & (plan.weight == 0)):
            hu[k] = current
        for k in np.flatnonzero((plan.lower == number - 1) & (plan.weight > 0)):
            mixed = (1 - plan.weight[k]) * previous + plan.weight[k] * current
            hu[k] = np.rint(mixed) if dtype == np.int16 else mixed
        previous = current
    return hu


def _affine(frames: list[Frame], stack: Stack, plan: SlicePlan, shear: Shear | None) -> np.ndarray:
    """Index (column, row, slice) to RAS+ mm."""
    first = frames[0]
    assert first.pixel_spacing_mm is not None
    between_rows, between_columns = first.pixel_spacing_mm
    affine = np.eye(4)
    affine[:3, 0] = np.array(first.row_cosine) * between_columns
    affine[:3, 1] = np.array(first.column_cosine) * between_rows
    affine[:3, 2] = np.array(stack.normal) * plan.spacing_mm
    affine[:3, 3] = first.position_mm
    if shear is not None:
        affine[:3, 3] += affine[:3, :2] @ np.array([shear.origin[1], shear.origin[0]])
    return _LPS_TO_RAS @ affine + 0.0  # no -0


def _uids(frames: list[Frame], affine: np.ndarray) -> tuple[str, ...]:
    uids = tuple(dict.fromkeys(frame.sop_uid for frame in frames if frame.sop_uid))
    order, signs = canonical_order(affine)
    return uids[::-1] if signs[order.index(2)] < 0 else uids

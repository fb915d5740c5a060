"""From slice positions to a regular perpendicular grid.

Spacing comes from positions alone; SliceThickness and InstanceNumber are never asked. What is not regular is
either put right by linear interpolation and recorded (one missing slice, spacing that changes, gantry tilt), or
refused with the place in mm; nothing is read as if it were regular.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from radvlm.errors import GridError
from radvlm.types.provenance import SIZE, Decision

#: Slices may lie this share of the spacing away from a regular grid (DICOM rounds positions to text).
POSITION_TOLERANCE = 0.1
#: Missing slices that may be interpolated, as a share of all slices.
MISSING_SHARE = 0.05
#: Equal spacings differ by less than this share, or by 0.02 mm.
SPACING_TOLERANCE = 0.02
#: Resampling to the finer spacing may not multiply the slices by more than this.
MAX_GROWTH = 4
#: A single slice may lie this far aside of its neighbors in their plane; a scanner moves its field in longer stretches.
ASIDE_MM = 20.0
#: In-plane drift below this share of a pixel is rounding.
DRIFT_TOLERANCE = 0.1
#: A stated tilt (degrees) below the first is none, above the second no gantry's; what is seen agrees within the third.
LEAST_TILT, MOST_TILT, TILT_TOLERANCE = 3.0, 45.0, 3.0
#: Sides of the images that scanners reconstruct, and how far their width may be from the reconstruction diameter.
SCANNER_MATRICES, MOST_FIELD_RATIO = (256, 512, 768, 1024), 1.25


@dataclass(frozen=True, eq=False)
class SlicePlan:
    """Output slice k is ``(1 - weight[k]) * input[lower[k]] + weight[k] * input[lower[k] + 1]``."""

    spacing_mm: float
    lower: np.ndarray
    weight: np.ndarray
    decisions: tuple[Decision, ...] = ()

    @property
    def count(self) -> int:
        return len(self.lower)


@dataclass(frozen=True, eq=False)
class Shear:
    """In-plane shift of each input slice in pixels, and the canvas that holds all of them.

    ``rows`` and ``columns`` are at least 0 after ``origin`` (row, column) was subtracted.
    """

    rows: np.ndarray
    columns: np.ndarray
    origin: tuple[int, int]
    extra: tuple[int, int]
    decisions: tuple[Decision, ...]


def plan_slices(offsets_mm: np.ndarray) -> SlicePlan:
    """Plan for slices at ascending, distinct ``offsets_mm`` (N,) along their normal.

    Raises GridError for fewer than two slices, gaps, or spacing without a pattern.
    """
    count = len(offsets_mm)
    if count < 2:
        raise GridError(
            "a volume has at least two slices at different positions",
            f"{count} slice",
            "Pass the folder of the whole series",
        )
    gaps = np.diff(offsets_mm)
    spacing = float(offsets_mm[-1] - offsets_mm[0]) / (count - 1)
    if _fits(offsets_mm, np.arange(count), spacing):
        return SlicePlan(spacing, np.arange(count), np.zeros(count))
    base = float(np.median(gaps))
    steps = np.rint(gaps / base).astype(np.int64)
    index = np.concatenate([[0], np.cumsum(steps)])
    if (steps >= 1).all() and _fits(offsets_mm, index, base) and _longest_run(steps >= 2) < 3:
        return _filled(offsets_mm, steps, index)
    return _resampled(offsets_mm, gaps, base)


def _fits(offsets_mm: np.ndarray, index: np.ndarray, spacing: float) -> bool:
    """True when the slices lie on a regular grid at the whole numbers ``index``."""
    fitted = (offsets_mm[-1] - offsets_mm[0]) / index[-1]
    close = abs(fitted - spacing) <= POSITION_TOLERANCE * spacing
    return bool(close and np.abs(offsets_mm - offsets_mm[0] - index * fitted).max() <= POSITION_TOLERANCE * fitted)


def _filled(offsets_mm: np.ndarray, steps: np.ndarray, index: np.ndarray) -> SlicePlan:
    """One missing slice here and there, interpolated from its neighbors."""
    missing, total = int((steps - 1).sum()), int(index[-1]) + 1
    places = [f"{offsets_mm[i]:.1f} and {offsets_mm[i + 1]:.1f} mm" for i in np.flatnonzero(steps > 1)]
    where = "; ".join(places[:5]) + ("; ..." if len(places) > 5 else "")
    spacing = float(offsets_mm[-1] - offsets_mm[0]) / int(index[-1])
    if steps.max() > 2 or missing > MISSING_SHARE * total:
        raise GridError(
            f"at most {MISSING_SHARE:.0%} of the slices are missing, and never two in a row",
            f"{missing} of {total} slices missing, between {where} along the slice normal",
            "Export the complete series, or pass a list of the files on one side of the gap",
        )
    lower = np.searchsorted(index, np.arange(total), side="right") - 1
    weight = (np.arange(total) - index[lower]) / np.append(steps, 1)[lower]
    return SlicePlan(
        spacing,
        lower,
        weight,
        (
            Decision(
                "dicom",
                f"{missing} missing slice(s) interpolated from the neighbors, between {where} along the slice normal.",
                warning=True,
            ),
        ),
    )


def _resampled(offsets_mm: np.ndarray, gaps: np.ndarray, base: float) -> SlicePlan:
    """Spacing that changes from one regular stretch to another, resampled to the finest."""
    stretches = _stretches(gaps)
    long = [(size, value) for size, value in stretches if size >= 3]
    covered = sum(size for size, _ in long) / len(gaps)
    widest = max((value for _, value in long), default=0.0)
    worst = int(np.argmax(gaps)) if gaps.max() > 1.1 * widest else int(np.argmax(np.abs(gaps - base)))
    if covered < 0.8 or gaps.max() > 1.1 * widest:
        place = f"{offsets_mm[worst]:.1f} and {offsets_mm[worst + 1]:.1f} mm"
        raise GridError(
            "slices are regularly spaced",
            f"a spacing of {gaps[worst]:.2f} mm between {place} along the "
            f"slice normal, where most are {base:.2f} mm apart",
            "Export the complete series, or pass a list of its regular part",
        )
    finest = min(value for _, value in long)
    length = float(offsets_mm[-1] - offsets_mm[0])
    count = math.ceil(length / finest - POSITION_TOLERANCE) + 1
    if count > MAX_GROWTH * len(offsets_mm):
        raise GridError(
            f"spacings differ by less than a factor of {MAX_GROWTH}",
            f"{finest:.2f} to {widest:.2f} mm",
            "Pass a list of the files of one spacing",
        )
    spacing = length / (count - 1)
    position = offsets_mm[0] + np.arange(count) * spacing
    lower = np.clip(
        np.searchsorted(offsets_mm, position + POSITION_TOLERANCE / 10 * spacing, side="right") - 1,
        0,
        len(offsets_mm) - 1,
    )
    weight = np.zeros(count)
    inner = lower < len(offsets_mm) - 1
    weight[inner] = (position[inner] - offsets_mm[lower[inner]]) / gaps[lower[inner]]
    weight[weight < 0.01] = 0.0
    parts = ", ".join(f"{size} x {value:.2f} mm" for size, value in stretches[:6])
    return SlicePlan(
        spacing,
        lower,
        np.clip(weight, 0, 1),
        (Decision("dicom", f"Slice spacing varies ({parts}): resampled linearly to {spacing:.2f} mm.", warning=True),),
    )


def _stretches(gaps: np.ndarray) -> list[tuple[int, float]]:
    """(number of gaps, mean spacing) of each stretch of equal spacing."""
    stretches: list[list[float]] = []
    for gap in gaps.tolist():
        if stretches and abs(gap - stretches[-1][0]) <= max(0.02, SPACING_TOLERANCE * gap):
            stretches[-1].append(gap)
        else:
            stretches.append([gap])
    return [(len(values), sum(values) / len(values)) for values in stretches]


def _longest_run(flags: np.ndarray) -> int:
    longest = current = 0
    for flag in flags.tolist():
        current = current + 1 if flag else 0
        longest = max(longest, current)
    return longest


def plan_shear(
    positions_mm: np.ndarray,
    offsets_mm: np.ndarray,
    row: np.ndarray,
    column: np.ndarray,
    normal: np.ndarray,
    spacing_mm: tuple[float, float],
) -> Shear | None:
    """In-plane shifts that put slices with drifting origins (gantry tilt) on one perpendicular grid; None when none.

    Args:
        positions_mm: (N, 3) center of the first pixel of each slice.
        offsets_mm: (N,) position of each slice along the normal.
        row, column, normal: unit vectors; ``row`` points along increasing column index.
        spacing_mm: between rows, between columns.
    """
    drift = positions_mm - positions_mm[0] - np.outer(offsets_mm - offsets_mm[0], normal)
    shifts = np.stack([drift @ column / spacing_mm[0], drift @ row / spacing_mm[1]])  # (2, N): rows, columns
    if np.abs(shifts).max() <= DRIFT_TOLERANCE:
        return None
    along = offsets_mm - offsets_mm[0]
    slopes = (drift @ np.stack([column, row], 1)).T @ along / max(float(along @ along), 1e-12)
    residual = np.abs(drift @ np.stack([column, row], 1) - np.outer(along, slopes)).max()
    low, high = np.floor(shifts.min(axis=1) + 1e-6), np.ceil(shifts.max(axis=1) - 1e-6)
    reach = float(np.linalg.norm(drift, axis=1).max())
    if residual <= 0.25 * min(spacing_mm):
        angle = math.degrees(math.atan(float(np.hypot(*slopes))))
        if angle > 45:
            raise GridError(
                "slices are stacked along their normal",
                f"a drift at {angle:.0f} degrees to it",
                "Pass the images of one reconstruction",
            )
        what = f"Gantry tilt of {angle:.1f} degrees: slices shifted in their plane by up to {reach:.1f} mm"
    else:
        _refuse_aside(drift, offsets_mm)
        what = f"Slice origins drift irregularly by up to {reach:.1f} mm in their plane: slices shifted accordingly"
    if (high - low).max() > 2048:
        raise GridError(
            "slices of a series lie over each other",
            f"origins up to {reach:.0f} mm apart in the plane",
            "Pass the images of one reconstruction",
        )
    return Shear(
        shifts[0] - low[0],
        shifts[1] - low[1],
        (int(low[0]), int(low[1])),
        (int(high[0] - low[0]), int(high[1] - low[1])),
        (Decision("dicom", what + ", to a perpendicular grid, by linear interpolation.", warning=True),),
    )


def _refuse_aside(drift_mm: np.ndarray, offsets_mm: np.ndarray) -> None:
    """Refuse a single slice that jumps aside and back (or lies apart at an end): its position is wrong."""
    steps = np.linalg.norm(np.diff(drift_mm, axis=0), axis=1)
    usual = float(np.median(steps))
    far = np.flatnonzero(steps > ASIDE_MM + 2 * usual)
    alone = [
        int(k) + 1 for k in far if k + 1 in far and np.linalg.norm(drift_mm[k + 2] - drift_mm[k]) < ASIDE_MM + 4 * usual
    ]
    if 0 in far and 1 not in far:
        alone.append(0)
    if len(steps) - 1 in far and len(steps) - 2 not in far:
        alone.append(len(steps))
    if alone:
        k = alone[0]
        raise GridError(
            "the slices of a series lie over each other",
            f"the slice at {offsets_mm[k]:.1f} mm along the slice normal lies {steps[max(k - 1, 0)]:.0f} mm aside of "
            "its neighbors",
            "Its position is wrong: export the series again, or pass a list of its other files",
        )


def shifted(image: np.ndarray, rows: float, columns: float, extra: tuple[int, int], fill: float) -> np.ndarray:
    """``image`` on a canvas larger by ``extra``, moved by fractional ``rows`` and ``columns``, linear in between."""
    height, width = image.shape
    canvas = np.full((height + extra[0] + 1, width + extra[1] + 1), fill, dtype=np.float32)
    top, left = math.floor(rows + 1e-6), math.floor(columns + 1e-6)
    canvas[top : top + height, left : left + width] = image
    for axis, part in ((0, rows - top), (1, columns - left)):
        if part > 1e-3:
            moved = np.full_like(canvas, fill)
            source, target = [slice(None)] * 2, [slice(None)] * 2
            source[axis], target[axis] = slice(None, -1), slice(1, None)
            moved[tuple(target)] = canvas[tuple(source)]
            canvas = (1 - part) * canvas + part * moved
    return canvas[:-1, :-1]


def field_doubt(diameter_mm: float, matrix: tuple[int, int], pixel_mm: tuple[float, float]) -> tuple[Decision, ...]:
    """The warning about pixels that do not fill the stated diameter of the reconstruction; () for none.

    Args:
        matrix: rows and columns. Only those that scanners reconstruct say something: a cropped or padded image has
            others, and its pixels have their right size.
    """
    if matrix[0] != matrix[1] or matrix[0] not in SCANNER_MATRICES or not diameter_mm > 0:
        return ()
    ratio = matrix[0] * max(pixel_mm) / diameter_mm
    if 1 / MOST_FIELD_RATIO <= ratio <= MOST_FIELD_RATIO:
        return ()
    what = (
        f"{matrix[1]} pixels of {max(pixel_mm):.3g} mm make an image {matrix[1] * max(pixel_mm):.0f} mm wide, and the "
        f"header states a reconstruction diameter of {diameter_mm:.0f} mm: the pixel spacing may be wrong. Check it "
        "before any size is used."
    )
    return (Decision(SIZE, what, warning=True),)


def tilt_doubt(stated: float, positions_mm: np.ndarray, normal: np.ndarray) -> tuple[Decision, ...]:
    """The warning where the header states a gantry tilt (degrees) that positions and orientation of slices do not show.

    A tilted gantry leans the slices against the body, or, where they were resampled across, the whole stack; one of
    both has the angle that is stated.
    """
    way = positions_mm[-1] - positions_mm[0]
    length = float(np.linalg.norm(way))
    if abs(stated) < LEAST_TILT or abs(stated) > MOST_TILT or length == 0:
        return ()
    lean = math.degrees(math.acos(min(1.0, abs(float(way @ normal)) / length)))
    turned = math.degrees(math.acos(min(1.0, abs(float(normal[2])))))
    if min(abs(abs(stated) - angle) for angle in (lean, turned)) <= TILT_TOLERANCE:
        return ()
    shown = "none" if max(lean, turned) < 1 else f"one of {max(lean, turned):.0f} degrees"
    what = (
        f"The header states a gantry tilt of {stated:g} degrees (GantryDetectorTilt), and the positions and "
        f"orientation of the slices show {shown}. The positions were followed; where they are wrong, so are "
        "lengths and volumes."
    )
    return (Decision(SIZE, what, warning=True),)

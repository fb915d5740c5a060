"""Masks and scan that do not lie in one place, in mm: what it looks like, and what would mend it.

Three things happen to headers: the unit is lost (cm or m read as mm), an axis changes its sign (LPS taken for RAS,
ITK against NIfTI), or the whole affine is lost (the identity, or no position). To copy the scan's affine mends the last
one alone and damages good masks where the scan is the file that is wrong, so that it is advised there only.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass

import numpy as np

from radvlm.errors import GridError
from radvlm.io.mask_grid import coverage
from radvlm.types.geometry import Geometry

#: Less common volume than this share of the smaller grid is no overlap.
MIN_OVERLAP = 0.01
#: With other signs the smaller grid must lie in the larger one by at least this share.
SIGNS_OVERLAP = 0.5
#: Factors between units that are mistaken for each other (mm for cm, m or um; cm for m), and words for the unit of the
#: file that measures less.
UNIT_FACTORS = {10.0: "cm", 100.0: "dm", 1000.0: "m"}
#: Extents agree with a factor within this, on each axis; spacings of arrays of one shape within the second.
EXTENT_TOLERANCE, SPACING_TOLERANCE = 1.6, 1.02
#: About the size of what is scanned of a person (geometric mean of the three sides): from the jaw to the whole body.
USUAL_SIZE_MM = 350.0
#: A scan of a person with all sides below the first is of a small part or has lost its unit; with all sides above the
#: second it is larger than a scanner's opening.
SMALL_MM, LARGE_MM = 120.0, 900.0
_SIGNS = ((-1, -1, 1), (-1, 1, 1), (1, -1, 1), (1, 1, -1), (-1, 1, -1), (1, -1, -1), (-1, -1, -1))


@dataclass(frozen=True)
class Reason:
    """What the places of two grids look like, and what would mend it."""

    what: str
    remedy: str


def require_overlap(target: Geometry, source: Geometry, what: str) -> None:
    """GridError unless the grids share at least 1 % of the smaller one's volume in world space, in one unit."""
    places = f"masks {_extent(source)}, scan {_extent(target)}"
    if reason := _units_of_one_array(target, source):
        raise GridError(f"{what} have the voxel sizes of the scan", f"{places}; {reason.what}", reason.remedy)
    if max(target.overlap_fraction(source), source.overlap_fraction(target), coverage(target, source)) >= MIN_OVERLAP:
        return
    reason = why_apart(target, source)
    raise GridError(f"{what} lie where the scan lies, in mm", f"{places}; {reason.what}", reason.remedy)


def why_apart(scan: Geometry, masks: Geometry) -> Reason:
    """What two grids look like that share no place."""
    return (
        _units(scan, masks)
        or _lost_affine(scan, masks)
        or _signs(scan, masks)
        or Reason(
            "they may be of another scan"
            if sorted(scan.shape) != sorted(masks.shape)
            else "the arrays have the same shape, so the affine of one may be that of another file",
            "Pass the masks of this scan; if they are, find out which of the two headers is right and repair the other",
        )
    )


def require_own_affine(target: Geometry, source: Geometry, name: str) -> None:
    """GridError where one file among several lost its affine: it has the shape of the scan, and no place of its own."""
    reason = None if target.same_grid(source) else _lost_affine(target, source)
    if reason is not None:
        raise GridError(
            "each mask lies where the scan lies, in mm",
            f"{name} at {_extent(source)}, scan {_extent(target)}; {reason.what}, while other masks have their place",
            reason.remedy,
        )


def _units_of_one_array(scan: Geometry, masks: Geometry) -> Reason | None:
    """Arrays of one shape whose voxels differ by the factor of a unit along each axis."""
    if scan.shape != masks.shape:
        return None
    return _factor_reason(scan, masks, np.array(masks.spacing_mm) / scan.spacing_mm, SPACING_TOLERANCE)


def _units(scan: Geometry, masks: Geometry) -> Reason | None:
    sides = _sides_mm(scan), _sides_mm(masks)
    if all(side.max() > SMALL_MM and side.min() < LARGE_MM for side in sides):
        return None
    return _factor_reason(scan, masks, sides[1] / sides[0], EXTENT_TOLERANCE)


def _factor_reason(scan: Geometry, masks: Geometry, ratios: np.ndarray, tolerance: float) -> Reason | None:
    """Lost units where every ratio, masks to scan, is the factor of a unit; said of the file of no person's size."""
    for factor, unit in UNIT_FACTORS.items():
        for larger, smaller in ((masks, scan), (scan, masks)):
            found = ratios if larger is masks else 1 / ratios
            if (found < factor / tolerance).any() or (found > factor * tolerance).any():
                continue
            sizes = [float(np.cbrt(np.prod(grid.extent_mm))) for grid in (larger, smaller)]
            is_small = abs(np.log(sizes[1] / USUAL_SIZE_MM)) > abs(np.log(sizes[0] / USUAL_SIZE_MM))
            wrong = "scan" if (smaller if is_small else larger) is scan else "masks"
            other = "masks" if wrong == "scan" else "scan"
            looks = f"{unit} that were read as mm" if is_small else f"a {factor:.0f}th of a mm that was read as mm"
            verb, size = "is" if wrong == "scan" else "are", "small" if is_small else "large"
            return Reason(
                f"the {wrong} {verb} {factor:.0f} times too {size} for a person and for the {other}: the units of the "
                f"{wrong} look lost ({looks})",
                f"Repair the units (voxel sizes and origin) in the header of the {wrong}; radvlm reads mm, and the "
                f"header of the {other} is to stay as it is",
            )
    return None


def _lost_affine(scan: Geometry, masks: Geometry) -> Reason | None:
    """Arrays of one shape, one of which has the identity, or lies at the origin of the coordinates."""
    if sorted(scan.shape) != sorted(masks.shape):
        return None
    for grid, name, other in ((masks, "masks", "scan"), (scan, "scan", "masks")):
        lost = _lost_words(grid)
        if lost and not _lost_words(masks if grid is scan else scan):
            return Reason(
                f"the affine of the {name} was lost ({lost}), and the arrays have the same shape",
                f"Copy the affine of the {other} into the header of the {name}, if both arrays are in the same order",
            )
    return None


def _lost_words(grid: Geometry) -> str:
    """What a grid has instead of a place in the scanner; "" for a usual one."""
    if not np.allclose(np.abs(grid.directions).max(axis=0), 1):
        return ""
    last = grid.to_world(np.array(grid.shape) - 1)
    first = grid.to_world((0, 0, 0))
    at_origin = bool(np.all(np.minimum(np.abs(first), np.abs(last)) < 1e-3))
    if at_origin:
        return "it is the identity" if np.allclose(grid.spacing_mm, 1) else "it has no position"
    return "it is centered at 0, without a position" if np.allclose(first, -last, atol=1e-3) else ""


def _signs(scan: Geometry, masks: Geometry) -> Reason | None:
    """The change of sign of world axes that brings the masks onto the scan."""
    best, share = (1, 1, 1), SIGNS_OVERLAP
    for signs in _SIGNS:
        turned = Geometry(masks.shape, np.diag([*signs, 1.0]) @ masks.affine)
        found = max(scan.overlap_fraction(turned), turned.overlap_fraction(scan))
        if found > share + 1e-3:
            best, share = signs, found
    if best == (1, 1, 1):
        return None
    rows = " and ".join(axis for axis, sign in zip("xyz", best, strict=True) if sign < 0)
    known = "LPS taken for RAS" if best == (-1, -1, 1) else f"of the other sign in {rows}"
    return Reason(
        f"the coordinates of one look like {known}: with {rows} negated {share:.0%} of the smaller grid lies "
        "in the other",
        f"Negate {rows} in the affine of the masks (the first rows of the matrix are x, y and z); where the affine of "
        "the scan is the wrong one, in that",
    )


def _sides_mm(grid: Geometry) -> np.ndarray:
    """(3,) size along the world axes x, y and z."""
    corners = np.array(list(itertools.chain(grid.corners_mm)))
    return np.asarray(corners.max(axis=0) - corners.min(axis=0))


def _extent(grid: Geometry) -> str:
    corners = np.array(list(itertools.chain(grid.corners_mm)))
    return (
        " x ".join(
            f"{round(float(low))} to {round(float(high))}"
            for low, high in zip(corners.min(0), corners.max(0), strict=True)
        )
        + " mm (right, anterior, superior)"
    )

"""Masks and scan in two places: the message says what it looks like, and damages no file that is right."""

from __future__ import annotations

import numpy as np
import pytest

from radvlm.errors import GridError
from radvlm.io.grids_apart import require_overlap
from radvlm.types.geometry import Geometry, to_canonical


def grid(shape: tuple[int, int, int], affine: np.ndarray) -> Geometry:
    """The geometry of an array in RAS+ order, as readers give it."""
    return to_canonical(np.broadcast_to(np.uint8(0), shape), affine)[1]


def scan_affine(spacing_mm: float = 2.0, origin: tuple[float, float, float] = (-210, -160, 400)) -> np.ndarray:
    affine = np.diag([spacing_mm, spacing_mm, 3.0, 1.0])
    affine[:3, 3] = origin
    return affine


SHAPE = (200, 180, 90)


def scaled(factor: float) -> np.ndarray:
    return np.diag([factor, factor, factor, 1.0]) @ scan_affine()


def told(scan: Geometry, masks: Geometry) -> str:
    with pytest.raises(GridError) as raised:
        require_overlap(scan, masks, "the masks")
    assert "-0 to" not in str(raised.value) and "to -0" not in str(raised.value)
    return str(raised.value)


@pytest.mark.parametrize("mask_shape", [SHAPE, (180, 170, 80)], ids=["same shape", "cropped"])
@pytest.mark.parametrize(("factor", "unit"), [(0.1, "cm"), (0.001, "m")])
@pytest.mark.parametrize("wrong", ["scan", "masks"])
def test_lost_units_are_said_of_the_file_that_is_wrong(
    wrong: str, factor: float, unit: str, mask_shape: tuple[int, int, int]
) -> None:
    scan = grid(SHAPE, scaled(factor) if wrong == "scan" else scan_affine())
    masks = grid(mask_shape, scaled(factor) if wrong == "masks" else scan_affine())
    words = told(scan, masks)
    assert f"the units of the {wrong} look lost ({unit} that were read as mm)" in words
    assert f"in the header of the {wrong}" in words and "opy" not in words


def test_masks_in_micrometers_are_too_large() -> None:
    words = told(grid(SHAPE, scan_affine()), grid(SHAPE, scaled(100)))
    assert "the masks are 100 times too large" in words and "in the header of the masks" in words


@pytest.mark.parametrize(
    ("signs", "origin", "what"),
    [
        ((-1, -1, 1), (-500, -420, 400), "LPS taken for RAS"),
        ((1, 1, -1), (-210, -160, 400), "other sign in z"),
        ((-1, 1, 1), (-600, -160, 400), "other sign in x"),
    ],
)
def test_changed_signs_are_named(signs: tuple[int, int, int], origin: tuple[float, float, float], what: str) -> None:
    affine = scan_affine(origin=origin)
    words = told(grid(SHAPE, affine), grid(SHAPE, np.diag([*signs, 1.0]) @ affine))
    assert what in words and "Negate" in words


@pytest.mark.parametrize("affine", [np.eye(4), np.diag([-1.0, -1, 1, 1]), np.diag([2.0, 2, 3, 1])])
def test_a_lost_affine_is_named_and_the_other_one_is_copied(affine: np.ndarray) -> None:
    right, lost = grid(SHAPE, scan_affine()), grid(SHAPE, affine)
    words = told(right, lost)
    assert "the affine of the masks was lost" in words and "Copy the affine of the scan" in words
    words = told(lost, right)
    assert "the affine of the scan was lost" in words and "Copy the affine of the masks" in words


def test_masks_of_another_place_are_not_repaired() -> None:
    words = told(grid(SHAPE, scan_affine()), grid((150, 160, 70), scan_affine(origin=(-210, -160, 900))))
    assert "may be of another scan" in words and "opy" not in words and "units" not in words


def test_cropped_whole_body_and_finer_masks_overlap_in_silence() -> None:
    scan = grid(SHAPE, scan_affine())
    for shape, affine in (
        ((40, 30, 20), scan_affine(origin=(-100, -50, 500))),
        ((250, 220, 600), scan_affine(origin=(-250, -200, -600))),
        ((400, 360, 270), np.diag([0.5, 0.5, 1 / 3, 1]) @ scan_affine(origin=(-420, -320, 1200))),
        (SHAPE, scan_affine(origin=(-100, -100, 450))),
    ):
        require_overlap(scan, grid(shape, affine), "the masks")
    small = grid((40, 36, 18), scan_affine())  # a temporal bone in masks of the whole head and neck
    require_overlap(small, grid(SHAPE, scan_affine()), "the masks")

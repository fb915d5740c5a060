"""Caliber of the bowel: what is surely narrow or surely wide is told, and nothing in between."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

import hand_made
from radvlm.compose import compose_report, verify_sentence
from radvlm.interpret import interpret
from radvlm.quantify.bowel import caliber
from radvlm.types.geometry import Geometry
from radvlm.types.segmentation import LabelPlace, Segmentation
from radvlm.types.study import Patient

SPACING = (2.0, 2.0, 3.0)
SHAPE = (90, 90, 60)


def _tube(i_mm, j_mm, radius_mm, low=6, high=54):
    grid = np.ogrid[: SHAPE[0], : SHAPE[1], : SHAPE[2]]
    flat = (grid[0] * SPACING[0] - i_mm) ** 2 + (grid[1] * SPACING[1] - j_mm) ** 2 < radius_mm**2
    return flat & (grid[2] >= low) & (grid[2] < high)


def _caliber(mask, name="small_bowel", gas=None):
    geometry = Geometry(SHAPE, np.diag([*SPACING, 1.0]))
    labels = mask.astype(np.uint8)
    masks = Segmentation((labels,), {name: LabelPlace(0, 1)}, frozenset({name}), geometry, "made")
    hu = np.where(mask, 20, -90).astype(np.int16)
    if gas is not None:
        hu[gas] = -900
    return caliber(masks, name, hu)


@pytest.mark.parametrize(("name", "radius_mm"), [("small_bowel", 12), ("colon", 24)])
def test_what_is_narrow_everywhere_is_measured(name, radius_mm):
    (found,), missing = _caliber(_tube(80, 80, radius_mm), name)
    assert not missing and found.value == pytest.approx(2 * radius_mm, abs=3)


@pytest.mark.parametrize(("name", "radius_mm"), [("small_bowel", 22), ("colon", 50)])
def test_a_wide_lumen_of_gas_is_measured(name, radius_mm):
    (found,), missing = _caliber(_tube(90, 90, radius_mm), name, gas=_tube(90, 90, radius_mm - 2))
    assert not missing and found.value == pytest.approx(2 * radius_mm, abs=4)


def test_loops_that_touch_are_not_called_wide():
    loops = np.zeros(SHAPE, bool)
    gas = np.zeros(SHAPE, bool)
    for i in (60, 84, 108):
        for j in (60, 84, 108):
            loops |= _tube(i, j, 18)
            gas |= _tube(i, j, 9)
    found, (missing,) = _caliber(loops, gas=gas)
    assert not found and missing.quantity == "diameter" and "loops that touch" in missing.reason


def test_a_cecum_of_7_cm_is_not_called_dilated():
    found, (missing,) = _caliber(_tube(90, 90, 35), "colon", gas=_tube(90, 90, 33))
    assert not found and "between" in missing.reason


def test_bowel_that_is_cut_is_measured_and_told_of_its_imaged_part_alone():
    found, missing = _caliber(_tube(80, 80, 12, low=0))
    assert [m.quantity for m in found] == ["diameter"] and not missing
    cut, whole = (hand_made.organ("colon", 300, 20, cut=c, diameter=39.0) for c in (("inferior",), ()))
    for record, words in ((cut, "not dilated in the imaged part"), (whole, "not dilated")):
        report = compose_report(interpret(hand_made.numbers([record]), patient=Patient(age_years=60)))
        said = next(s for s in report.sentences if "3.9 cm" in s.text)
        assert words in said.text and "caliber of the colon" not in report.text
        assert ("imaged part" in report.text) is (record is cut)
        if record is cut:
            for false in (said.text.replace(" in the imaged part", ""), said.text.replace("not dilated", "dilated")):
                assert verify_sentence(replace(said, text=false)) is not None, false

"""Sentences on what attenuation alone shows: place, error, peak, one line for both organs of a pair."""

from __future__ import annotations

from dataclasses import replace

import pytest

import hand_made
from radvlm.compose import compose_report, verify_sentence
from radvlm.interpret import interpret
from radvlm.types.measurement import Measurement
from radvlm.types.report import Report
from radvlm.types.scan_measurements import Focus, focus_region_id
from radvlm.types.study import Patient

ADULT = Patient(age_years=60, sex="F")


def _focus(name: str, count: int, mm: float, mean: float, peak: float, **place: object) -> Focus:
    kind = "high_attenuation_focus"
    region = replace(hand_made.region(name, 0.1 * count), id=focus_region_id(kind, name))
    numbers = (
        Measurement("diameter", mm, "longest 3D caliper", 3.0, region.id),
        Measurement("volume", 0.1 * count, "voxel count", None, region.id),
        Measurement("mean_hu", mean, "mask mean", None, region.id),
        Measurement("count", count, "26-connected regions", None, region.id),
        Measurement("peak_hu", peak, "largest voxel", None, region.id),
    )
    return Focus(kind, name, count, numbers, (0.0, 0.0, 0.0), region=region, **place)


def _report(*foci: Focus) -> Report:
    organs = [hand_made.organ(n, p25_hu=30.0) for n in ("kidney_right", "kidney_left", "liver")]
    numbers = replace(hand_made.numbers(organs, phase="non-contrast"), foci=foci)
    return compose_report(interpret(numbers, patient=ADULT))


@pytest.fixture(scope="module")
def both() -> Report:
    right = _focus("kidney_right", 2, 7, 428, 600, level="vertebrae_L1")
    return _report(right, _focus("kidney_left", 1, 9, 542, 1092, pole="lower pole"))


def test_a_focus_has_its_place_its_error_and_its_peak(both: Report) -> None:
    said = [s.text for s in both.sentences if s.section == "kidneys" and "high attenuation" in s.text]
    assert said == [
        "Two foci of high attenuation in the right kidney, volume 0.2 mL; the largest 7 mm (measurement error 3 mm) at "
        "the level of L1, 428 HU, peak 600 HU.",
        "Focus of high attenuation in the lower pole of the left kidney, 9 mm (measurement error 3 mm), 542 HU, peak "
        "1092 HU.",
    ]
    assert "urinary stones other than dense foci of the kidneys" in both.text and "stones, " not in both.text
    liver = _report(_focus("liver", 1, 9, 542, 900, locations=("liver_segment_6",)))
    assert any(s.text.startswith("Focus of high attenuation in segment VI of the liver, 9 mm") for s in liver.sentences)


def test_the_impression_has_one_line_for_both_sides(both: Report) -> None:
    (said,) = (s for s in both.impression if "high attenuation" in s.text)
    assert said.text == (
        "Two foci of high attenuation in the right kidney, volume 0.2 mL; the largest 7 mm (measurement error 3 mm) at "
        "the level of L1, 428 HU, peak 600 HU; one in the lower pole of the left kidney, 9 mm (measurement error 3 mm)"
        ", 542 HU, peak 1092 HU."
    )
    assert {r.structure for r in said.regions} == {"kidney_right", "kidney_left"}
    for true, false in (
        ("Two foci", "Three foci"),
        ("one in the", "two in the"),
        ("428", "542"),
        ("peak 600", "peak 1092"),
        ("peak 600", "peak 428"),
        ("lower pole", "upper pole"),
        ("left kidney", "right kidney"),
        ("error 3 mm", "error 1 mm"),
        ("of L1", "of L2"),
        ("9 mm", "7 mm"),
        ("high attenuation", "low attenuation"),
    ):
        assert true in said.text and verify_sentence(replace(said, text=said.text.replace(true, false, 1))), false


def test_what_is_named_in_the_last_line_is_the_focus_of_each_side() -> None:
    organs = [hand_made.organ(n) for n in ("kidney_right", "kidney_left", "liver")]
    kinds = ("liver_metastasis", "pancreas_tumor", "spleen_lesion", "lung_tumor", "gallstone", "liver_cyst")
    foci = (_focus("kidney_right", 1, 7, 428, 600), _focus("kidney_left", 1, 9, 542, 1092))
    lesions = [hand_made.lesion(kind, 1, 40, 30) for kind in kinds]
    numbers = replace(hand_made.numbers(organs, lesions, phase="non-contrast"), foci=foci)
    last = compose_report(interpret(numbers, patient=ADULT)).impression[-1].text
    for side in ("right", "left"):
        assert f"focus of high attenuation in the {side} kidney" in last


def test_what_is_merely_possible_comes_after_what_is_certain_and_unsearched_lesions_are_said() -> None:
    pancreas = hand_made.organ("pancreas", 15, -1)
    volume = replace(pancreas.measurements[0], uncertainty=9.0)
    pancreas = replace(pancreas, measurements=(volume, *pancreas.measurements[1:]))
    stones = _focus("kidney_right", 2, 7, 428, 600, level="vertebrae_L1")
    wall = Focus("wall_calcium", "aorta", 3, (Measurement("volume", 2.0, "given"),), (0.0, 0.0, 0.0))
    organs = [pancreas, hand_made.organ("aorta", 120, 45), hand_made.organ("kidney_right", p25_hu=30.0)]
    numbers = replace(hand_made.numbers(organs, phase="non-contrast"), foci=(stones, wall))
    said = [s.text for s in compose_report(interpret(numbers, patient=Patient(age_years=63, sex="F"))).impression]
    assert said[0].startswith("Two foci of high attenuation in the right kidney")
    assert said[1].startswith("Possible small pancreas, within the measurement error of 9 mL")
    assert said[2] == "Foci of calcium attenuation along the wall of the aorta, volume 2.0 mL."
    assert said[3].startswith("Focal pancreatic lesions, focal renal lesions") and "not assessed" in said[3]


def test_calcium_in_a_wall_comes_before_what_is_within_its_limits_and_does_not_displace_it() -> None:
    wall = Focus("wall_calcium", "aorta", 3, (Measurement("volume", 2.0, "given"),), (0.0, 0.0, 0.0))
    organs = [hand_made.organ("aorta", 120, 45), hand_made.organ("liver", 1400), hand_made.organ("colon")]
    report = compose_report(interpret(replace(hand_made.numbers(organs), foci=(wall,)), patient=ADULT))
    said = [s.text for s in report.impression]
    assert said[0] == "Foci of calcium attenuation along the wall of the aorta, volume 2.0 mL."
    assert said[1] == "Liver within the usual adult volume."

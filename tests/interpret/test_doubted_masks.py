"""Masks that cannot be what they are named are doubted, and what was found by other means is not denied."""

from __future__ import annotations

from dataclasses import replace

import pytest

import hand_made
from radvlm.compose.report import compose_report
from radvlm.interpret import interpret
from radvlm.types.finding import Finding, Status
from radvlm.types.measurement import Measurement, Omission
from radvlm.types.scan_measurements import Focus, Measurements
from radvlm.types.study import Patient
from radvlm.types.urgency import Urgency, importance

ADULT = Patient(sex="F", age_years=60)


def _report(numbers: Measurements, patient: Patient = ADULT) -> str:
    return compose_report(interpret(numbers, patient=patient)).text


@pytest.mark.parametrize("name", ["pneumothorax", "pneumoperitoneum"])
def test_gas_without_the_attenuation_of_gas_is_doubted_and_not_critical(name: str) -> None:
    gas, lesion = hand_made.organ(name, 30, -900), hand_made.lesion(name, 1, 40, 20, -900)
    told = interpret(hand_made.numbers([gas], [lesion]), patient=ADULT)
    assert max(f.importance for f in told) >= importance(Urgency.IMMEDIATE)
    why = Omission("median_hu", name, f"attenuation not interpreted: {name} 60 HU, possible are -1024 to -200 HU")
    numbers = hand_made.numbers([replace(gas, omissions=(why,))], [lesion])
    finding = next(f for f in interpret(numbers, patient=ADULT) if f.kind == name)
    assert finding.status is Status.INDETERMINATE
    assert 0 < finding.importance < importance(Urgency.HOURS)
    text = _report(numbers)
    assert "labeled as " in text and "of an attenuation that gas cannot have" in text
    assert "Critical" not in text


@pytest.mark.parametrize(
    ("name", "sex", "is_doubted"),
    [("prostate", "F", True), ("prostate", "M", False), ("uterus", "M", True), ("ovary_left", "M", True)],
)
def test_an_organ_of_the_other_sex_is_doubted(name: str, sex: str, is_doubted: bool) -> None:
    numbers = hand_made.numbers([hand_made.organ(name, 40), hand_made.organ("urinary_bladder", 200, 5)])
    finding = next(f for f in interpret(numbers, patient=Patient(sex=sex, age_years=60)) if f.site == name)
    assert (finding.status is Status.INDETERMINATE) is is_doubted
    unknown = next(f for f in interpret(numbers, patient=Patient()) if f.site == name)
    assert unknown.status is Status.PRESENT
    assert ("so that the mask or the sex may be wrong" in _report(numbers, Patient(sex=sex))) is is_doubted


def test_a_lesion_of_an_organ_of_the_other_sex_is_doubted() -> None:
    numbers = hand_made.numbers([], [hand_made.lesion("uterus_lesion", 1, 30, 20, 40)])
    assert "labeled as uterine lesion in a male patient" in _report(numbers, Patient(sex="M", age_years=60))
    assert "labeled as" not in _report(numbers)


def test_a_kidney_of_a_few_voxels_is_neither_without_a_mask_nor_asymmetric() -> None:
    crumb = replace(hand_made.numbers([hand_made.organ("kidney_left", 160)]), crumbs=("kidney_right",))
    text = _report(crumb)
    assert "right kidney" in text and "only a few voxels are labeled" in text
    alone = replace(hand_made.numbers([hand_made.organ("liver", 1500)]), crumbs=("kidney_right",))
    line = next(n for n in _report(alone).splitlines() if "no mask was provided" in n)
    assert "kidneys" not in line and "spleen" in line
    kidneys = [hand_made.organ("kidney_left", 160), hand_made.organ("kidney_right", 0.1)]
    kidneys[1] = replace(kidneys[1], region=replace(kidneys[1].region, voxels=7))
    assert "symmetric" not in _report(hand_made.numbers(kidneys))


def _fractured(masked: bool) -> Measurements:
    vertebra = hand_made.organ("vertebrae_L1", 40, 150)
    loss = tuple(
        Measurement(q, v, "given", 1.0) for q, v in (("wedge_loss", 45.0), ("crush_loss", 5.0), ("biconcave_loss", 8.0))
    )
    vertebra = replace(vertebra, measurements=(*vertebra.measurements, *loss))
    lesions = [replace(hand_made.lesion("vertebra_fracture", 1, 30, 20), level="vertebrae_L1")] if masked else []
    return hand_made.numbers([vertebra], lesions)


def test_fractures_seen_by_height_are_not_said_to_be_not_assessed() -> None:
    text = _report(_fractured(masked=False))
    assert "L1 wedge deformity, Genant grade 3" in text
    assert "bone lesions and fractures" not in text
    assert "- bone lesions and further fractures: no mask of such lesions was provided" in text


def test_a_fracture_with_a_mask_and_a_loss_of_height_is_one_item() -> None:
    findings = interpret(_fractured(masked=True), patient=ADULT)
    impression = [s.text for s in compose_report(findings).sentences if s.section == "impression"]
    assert [t for t in impression if "L1" in t] == ["Vertebral fracture at L1, wedge deformity, Genant grade 3."]
    assert all(isinstance(f, Finding) for f in findings)


@pytest.mark.parametrize("cut_by", [(), ("inferior",)])
def test_calcium_along_a_vessel_has_its_volume_that_of_the_imaged_part_where_it_is_cut(cut_by: tuple[str, ...]) -> None:
    aorta = replace(hand_made.organ("aorta", 120, 45), cut_by=cut_by)
    focus = Focus("wall_calcium", "aorta", 3, (Measurement("volume", 1.24, "given"),), (0.0, 0.0, 0.0))
    text = _report(replace(hand_made.numbers([aorta]), foci=(focus,)))
    part = " in the imaged part" if cut_by else ""
    assert f"Foci of calcium attenuation along the wall of the aorta, volume 1.2 mL{part}." in text

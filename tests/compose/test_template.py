"""Reports from hand-made measurements, read as a sceptical radiologist would: key phrases, not whole snapshots."""

from __future__ import annotations

import re

import pytest

import hand_made
from radvlm.compose import Style, compose_report, verify_sentence
from radvlm.errors import InputError
from radvlm.interpret import interpret
from radvlm.report_reader.frames import read_frames
from radvlm.types.anatomy import SECTIONS, structures
from radvlm.types.finding import Finding, Source, Status
from radvlm.types.measurement import Measurement
from radvlm.types.report import Report
from radvlm.types.study import Patient, Study
from radvlm.types.urgency import importance

ADULT = Patient(sex="F", age_years=63)
STYLES = (
    Style(),
    Style(detail="concise"),
    Style(detail="normal-in-one-word"),
    Style(spelling="uk"),
    Style(length_unit="mm"),
    Style(length_unit="cm"),
    Style(volumes=False),
    Style(attenuation=False),
    Style(count_up_to=2, impression_items=1),
)


def _report(measurements: object, style: Style | None = None, patient: Patient = ADULT) -> Report:
    return compose_report(interpret(measurements, patient=patient), style=style)


def _line(report: Report, heading: str) -> str:
    return next(line for line in report.text.splitlines() if line.startswith(f"{heading}: "))


def _impression(report: Report) -> list[str]:
    return [s.text for s in report.impression]


def test_stack_of_40_mm_is_called_incomplete_throughout() -> None:
    report = _report(hand_made.upper_abdomen_stack())
    text = report.text
    assert "20 axial slices at 2 mm spacing, coverage 40 mm. Portal venous phase" in text
    assert _line(report, "Liver") == "Liver: Incompletely imaged; mean attenuation of the imaged part 100 HU."
    assert "The kidneys are not seen in the imaged range." in text
    assert "Both lower lobes are incompletely imaged." in text
    assert "Vertebrae T11 and T12 are incompletely imaged." in text and "The ribs are incompletely imaged." in text
    body = text.split("NOT ASSESSED")[0]
    for claim in (
        "normal",
        "unremarkable",
        "absent",
        "enlarged",
        "cholecystectomy",
        "mL",
        "brain",
        "prostate",
        "urinary bladder",
        "No lesion",
        " segmented.",
    ):
        assert claim not in body, claim
    assert _impression(report)[0] == (
        "Limited coverage of 40 mm: the liver, spleen and pancreas are incompletely imaged."
    )
    assert _impression(report)[1] == "No finding was made in what was measured: the segmented structures."
    assert _impression(report)[2].startswith("Focal liver lesions, focal pancreatic lesions")
    assert "liver size, spleen size: cut by the inferior and superior edges of the field of view" in text


def test_plain_abdomen_applies_the_rules_of_plain_ct() -> None:
    report = _report(hand_made.plain_abdomen(49, 50))
    liver = _line(report, "Liver")
    assert "49 HU, above 48 HU, which does not exclude steatosis" in liver
    assert not any("moderate" in s for s in _impression(report))
    fatty = _report(hand_made.plain_abdomen(35, 50))
    assert "35 HU, in the range of moderate to severe steatosis" in _line(fatty, "Liver")
    assert _impression(fatty)[0] == "Low liver attenuation in the range of moderate to severe steatosis (35 HU)."
    assert sum("attenuation" in s for s in _impression(fatty)) == 1, "one statement on steatosis"
    assert "No renal cyst segmented in the imaged part." in fatty.text
    assert "focal liver lesion" not in fatty.text.split("IMPRESSION")[0]


def test_complete_abdomen() -> None:
    report = _report(hand_made.complete_abdomen())
    assert _line(report, "Liver") == (
        "Liver: Volume 1510 mL, within the usual adult volume; mean attenuation 105 HU. Three hypoattenuating liver "
        "lesions: 2.3 x 1.8 cm in segment VI, 44 HU in the portal venous phase; 1.4 x 1.1 cm in segment IV, 47 HU; "
        "7 x 5 mm in segment II, too small to characterize."
    )
    assert _line(report, "Spleen") == "Spleen: Volume 523 mL, enlarged; mean attenuation 118 HU."
    assert "1.2 x 0.9 cm gallstone." in report.text and "Right pleural effusion, 124 mL" in report.text
    assert (
        "2.1 x 2.0 cm hypoattenuating renal cyst in the upper pole of the left kidney, 7 HU in the portal venous "
        "phase, fluid attenuation. No right renal cyst segmented."
    ) in report.text
    assert _impression(report) == [
        "Three hypoattenuating liver lesions, the largest 2.3 x 1.8 cm in segment VI.",
        "Splenomegaly (523 mL).",
        "Right pleural effusion, 124 mL.",
        "1.2 x 0.9 cm gallstone.",
        "2.1 x 2.0 cm hypoattenuating renal cyst in the upper pole of the left kidney, fluid attenuation.",
    ]
    regions = {r.id for r in report.impression[0].regions}
    assert regions == {"liver_lesion/1", "liver_lesion/2", "liver_lesion/3"}
    assert "_" not in report.text


def test_lungs_without_masks() -> None:
    report = _report(hand_made.lungs_only(), patient=Patient())
    assert "Contrast phase uncertain." in report.text
    assert "Right lung volume 2410 mL." in report.text
    assert re.search(
        r"- heart, liver, gallbladder, bile duct, spleen, pancreatic duct, pancreas, .*: no mask was provided",
        report.text,
    )
    assert "Liver:" not in report.text and len(report.impression) == 3
    assert _impression(report)[0] == "No finding was made in what was measured: both lungs."


def test_whole_body_of_117_structures_stays_a_report() -> None:
    names = [s.name for s in structures().values() if s.kind not in ("lesion", "fluid", "body")]
    report = _report(hand_made.numbers([hand_made.organ(n, 40) for n in names]))
    findings_text = report.text.split("IMPRESSION")[0]
    assert len(names) > 400 and len(findings_text.split()) < 500
    assert "FDI" not in findings_text and "The muscles are included in the scan." in findings_text
    spine = _report(
        hand_made.numbers(
            [
                hand_made.organ(n, 40)
                for n in names
                if n.startswith("vertebrae_") and n not in ("vertebrae_T13", "vertebrae_L6", "vertebrae_body")
            ]
        )
    )
    assert "Vertebrae C1 to S1 are included in the scan." in spine.text
    assert all(sum(s.section == section for s in report.sentences) <= 9 for section in SECTIONS)


def test_many_lesions_are_counted_and_not_listed() -> None:
    lesions = [
        hand_made.lesion("liver_cyst", n, 40.0 - n, 20.0, 5, "liver", ("liver_segment_4",)) for n in range(1, 31)
    ]
    report = _report(hand_made.numbers([hand_made.organ("liver", 1500)], lesions))
    line = _line(report, "Liver")
    assert (
        "30 hepatic cysts, the largest 3.9 x 2.0 cm in segment IV, 5 HU in the portal venous phase, fluid attenuation."
    ) in line
    assert line.count("cm") == 1
    assert len(report.impression[0].regions) == 30


@pytest.mark.parametrize(
    ("detail", "expected"),
    [
        ("full", "Volume 210 mL, normal in size; mean attenuation 50 HU."),
        ("concise", "Volume 210 mL, normal in size."),
        ("normal-in-one-word", "Normal in size."),
    ],
)
def test_details_of_a_normal_organ(detail: str, expected: str) -> None:
    report = _report(hand_made.numbers([hand_made.organ("spleen", 210)]), Style(detail=detail))
    assert _line(report, "Spleen") == f"Spleen: {expected}"
    assert _impression(report)[0] == "Spleen normal in size."


def test_normal_is_never_said_without_a_rule() -> None:
    for style in STYLES:
        text = _report(hand_made.numbers([hand_made.organ("spleen", 210)]), style, Patient()).text
        assert "ormal in size" not in text and "spleen size: the age of the patient is not known" in text


def test_aneurysm_fracture_and_node() -> None:
    organs = [
        hand_made.organ("aorta", 90, 150, ("superior",), diameter=34.0),
        hand_made.organ("vertebrae_L1"),
        hand_made.organ("vertebrae_L2"),
    ]
    lesions = [
        hand_made.lesion("vertebra_fracture", 1, 30, 20, level="vertebrae_L1"),
        hand_made.lesion("lymph_node", 1, 14.0, 11.0, level="vertebrae_L2"),
        hand_made.lesion("lymph_node", 2, 9.0, 6.0, level="vertebrae_L1"),
    ]
    report = _report(hand_made.numbers(organs, lesions))
    assert "diameter 3.4 cm, aneurysmal" in _line(report, "Vessels")
    assert "Vertebral fracture at L1." in _line(report, "Bones")
    assert _line(report, "Lymph nodes") == (
        "Lymph nodes: Two lymph nodes: 1.4 x 1.1 cm at the level of L2, 45 HU, enlarged by short axis; "
        "9 x 6 mm at the level of L1, 45 HU, not enlarged by short axis."
    )
    assert "Aneurysmal abdominal aorta (diameter 3.4 cm)." in _impression(report)


def test_effusions_keep_their_sides() -> None:
    organs = [
        hand_made.organ("pleural_effusion_right", 300, 5),
        hand_made.organ("pleural_effusion_left", 80, 4, ("inferior",)),
        hand_made.organ("ascites", 1234, 6),
        hand_made.organ("pericardial_effusion", 80, 9),
    ]
    lesions = [hand_made.lesion(o.structure, 1, 90, 30, 5, volume_ml=o.volume_ml) for o in organs]
    text = _report(hand_made.numbers(organs, lesions)).text
    assert "Right pleural effusion, 300 mL, 5 HU." in text
    assert "Left pleural effusion, 80 mL in the imaged part, 4 HU." in text
    assert "Ascites, 1230 mL, 6 HU." in text
    assert "Pericardial effusion, 80 mL, 9 HU, above the usual amount." in text


@pytest.mark.slow
def test_phantom_like_lesions_of_every_kind_in_every_style() -> None:
    kinds = [s.name for s in structures().values() if s.kind in ("lesion", "fluid")]
    for count in (1, 2, 7):
        lesions = [
            hand_made.lesion(name, n, 30.0 - n, 20.0 - n, 10.0 + n, structures()[name].parent, level="vertebrae_L1")
            for name in kinds
            for n in range(1, count + 1)
        ]
        wholes = [hand_made.organ(name, 20.0) for name in kinds]
        for style in STYLES[:4]:
            report = _report(hand_made.numbers(wholes, lesions), style)
            assert "_" not in report.text and "  " not in report.text


@pytest.mark.parametrize("style", STYLES)
@pytest.mark.parametrize("name", ["upper_abdomen_stack", "plain_abdomen", "complete_abdomen", "lungs_only"])
def test_every_style_verifies_and_says_every_present_finding(name: str, style: Style) -> None:
    for patient in (Patient(), ADULT):
        report = _report(getattr(hand_made, name)(), style, patient)
        assert all(verify_sentence(s) is None for s in report.sentences)
        cited = {i for s in report.sentences for i in s.finding_ids}
        assert {f.id for f in report.citable if f.status is Status.PRESENT} <= cited
        days = sum(s.findings[0].importance >= importance("days") for s in report.impression)
        assert 1 <= len(report.impression) <= max(style.impression_items, days + 2)  # what is cut is named in one line


def test_one_word_for_two_normal_kidneys_says_their_parts_too() -> None:
    """The renal pelves are parts of the kidneys and are cited with them, or they would be left unsaid."""
    held = [hand_made.organ(f"kidney_{side}", 155, 150, extent_si=110.0, length=110.0) for side in ("right", "left")]
    held += [hand_made.organ(f"renal_pelvis_{side}", 4, 10) for side in ("right", "left")]
    report = _report(hand_made.numbers(held), Style(detail="normal-in-one-word"))
    said = next(s for s in report.sentences if s.text == "Both kidneys are of usual length.")
    assert {f.site for f in said.findings} >= {"kidney_left", "renal_pelvis_right", "renal_pelvis_left"}


def test_text_is_the_same_for_the_same_findings_in_any_order_of_lesions() -> None:
    from dataclasses import replace

    numbers = hand_made.complete_abdomen()
    assert _report(replace(numbers, lesions=numbers.lesions[::-1])).text == _report(numbers).text


def test_head_comes_from_the_study() -> None:
    findings = interpret(hand_made.lungs_only(), patient=ADULT)
    report = compose_report(findings, study=Study(description="CT thorax", study_date="2024-05-06"))
    assert report.text.startswith("EXAMINATION: CT thorax\nDATE: 2024-05-06\n")


@pytest.mark.parametrize(
    "bad",
    [
        {"detail": "brief"},
        {"length_unit": "inch"},
        {"spelling": "ca"},
        {"count_up_to": 0},
        {"impression_items": 2.5},
        {"volumes": "yes"},
    ],
)
def test_style_refuses(bad: dict) -> None:
    with pytest.raises(InputError):
        Style(**bad)


def test_no_findings_at_all_gives_an_empty_report() -> None:
    report = compose_report(())
    assert report.sentences == () and "Research software" in report.text


def test_critical_and_urgent_findings_are_always_written_out_and_headed() -> None:
    wholes = [
        hand_made.organ("aorta", 200, 150, diameter=61.0, ascending_diameter=43.0, descending_diameter=80.0),
        hand_made.organ("iliac_artery_left", 20, 150, diameter=26.0),
        hand_made.organ("small_bowel", 300, 20, diameter=41.0),
        hand_made.organ("kidney_left", 60, 150, extent_si=80.0, length=80.0),
        hand_made.organ("pleural_effusion_left", 200, 5),
        hand_made.organ("pneumothorax", 300, -990),
    ]
    lesions = [
        hand_made.lesion("pneumothorax", 1, 80, 40, hu=-990, locations=("lung_upper_lobe_left",), volume_ml=300),
        hand_made.lesion("pleural_effusion_left", 1, 80, 40, volume_ml=200),
        hand_made.lesion("kidney_cyst_left", 1, 20, 10),
        hand_made.lesion("gallstone", 1, 12, 9),
    ]
    report = _report(hand_made.numbers(wholes, lesions), Style(impression_items=2))
    lines = report.text.split("IMPRESSION:\n")[1].split("\n\n")[0].splitlines()
    assert lines == [
        "1. Critical: Left pneumothorax, 300 mL.",
        "2. Urgent: Aneurysmal descending thoracic aorta (8.0 cm).",
        "3. Urgent: Dilated small bowel (diameter 4.1 cm).",
        "4. Urgent: Aneurysmal abdominal aorta (diameter 6.1 cm).",
        "5. Aneurysmal left common iliac artery (diameter 2.6 cm).",
        "6. Left pleural effusion, 200 mL.",
        "7. Also described in the findings: gallstone; dilated ascending aorta; short left kidney; left renal cyst.",
    ]
    first = report.to_dict()["sentences"][[s.section for s in report.sentences].index("impression")]
    assert (first["urgency"], first["urgency_words"]) == ("immediate", "critical")
    assert first["urgency_basis"].startswith("to be told within minutes (category 1 of the ACR")
    told = {f.kind for f in read_frames(report.text).frames if f.status == "present"}
    assert {"pneumothorax", "thoracic_aortic_dilatation", "pleural_effusion", "gallstone", "iliac_aneurysm"} <= told


def test_what_attenuation_alone_shows_is_urgent_only_if_confirmed() -> None:
    gas = Finding(
        "F1",
        "gas_focus",
        Status.PRESENT,
        "liver",
        "liver",
        (hand_made.region("liver", 2),),
        (Measurement("volume", 2.0, "given"),),
        category="gas",
        reason="seen by attenuation alone",
        source=Source.VOXELS,
        importance=importance("hours"),
    )
    report = compose_report((gas,))
    assert [s.headed_text for s in report.impression] == ["Urgent, if confirmed: Gas in the liver, volume 2.0 mL."]


def test_one_attenuation_an_organ_stands_in_sentences() -> None:
    report = _report(hand_made.numbers([hand_made.organ("spleen", 200, 33, parenchyma_hu=35.0)], phase="non-contrast"))
    assert "parenchymal attenuation 35 HU" in report.text and "33 HU" not in report.text


def test_gas_fluid_levels_are_not_assessed_and_the_report_says_why() -> None:
    lines = dict(_report(hand_made.numbers([hand_made.organ("colon", 400)])).not_assessed_lines)
    assert lines["gas-fluid levels of the bowel"].startswith("normal bowel holds levels too")
    assert "gas-fluid" not in _report(hand_made.numbers([hand_made.organ("spleen", 200)])).text

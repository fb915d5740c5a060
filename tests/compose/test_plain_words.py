"""Sentences as a radiologist would dictate them: one for several alike, none beside another that seems to deny it."""

from __future__ import annotations

from dataclasses import replace

import pytest

import hand_made
from radvlm.compose import Style, compose_report, verify_report, verify_sentence
from radvlm.errors import VerificationError
from radvlm.interpret import interpret
from radvlm.report_reader.reading import read_report
from radvlm.types.measurement import Measurement
from radvlm.types.report import Report, Sentence
from radvlm.types.scan_measurements import Neighbor
from radvlm.types.study import Patient

ADULT = Patient(age_years=60, sex="F")


def _report(structures: list, lesions: list | None = None, absent: tuple[str, ...] = (), **style: int) -> Report:
    findings = interpret(hand_made.numbers(structures, lesions, absent), patient=ADULT)
    return compose_report(findings, style=Style(**style))


def _sentence(report: Report, words: str) -> Sentence:
    return next(s for s in report.sentences if words in s.text)


def _vertebra(level: str, at_mm: float, loss: float, error: float) -> object:
    record = hand_made.organ(f"vertebrae_{level}", 40, 180)
    height = Measurement("wedge_loss", loss, "given", error, record.region.id)
    placed = replace(record.region, centroid_mm=(0.0, 0.0, at_mm))
    return replace(record, measurements=(*record.measurements, height), region=placed)


def test_vertebrae_near_a_grade_are_one_sentence_with_the_loss_of_each() -> None:
    rows = [("T12", 15, 8), ("L1", 15, 8), ("L2", 2, 1), ("L3", 16, 8), ("L4", 17, 5)]
    report = _report([_vertebra(level, -32.0 * n, loss, error) for n, (level, loss, error) in enumerate(rows)])
    said = _sentence(report, "below Genant")
    assert said.text == (
        "Vertebrae T12 and L1 (height loss 15 percent), L3 (16 percent) and L4 (17 percent) are below Genant grade 1, "
        "but within the measurement error of it."
    )
    assert sum("Genant" in s.text for s in report.sentences) == 1
    for true, false in (
        ("16 percent", "17 percent"),
        ("17 percent", "16 percent"),
        ("15 percent", "17 percent"),
        ("L3", "L2"),
        ("height loss 15 percent", "volume 15 mL"),
        ("below Genant grade 1", "below Genant grade 2"),
        ("below Genant", "above Genant"),
    ):
        assert verify_sentence(replace(said, text=said.text.replace(true, false, 1))), false


@pytest.mark.parametrize(
    ("seen", "absent", "words"),
    [
        ("liver_metastasis", ("liver_tumor", "liver_cyst"), "No hepatic cyst or other liver tumor segmented."),
        ("liver_cyst", ("liver_tumor", "liver_lesion"), "No liver tumor or other liver lesion segmented."),
        ("pancreas_cyst", ("pancreas_tumor", "pancreas_lesion"), "No pancreatic tumor or other pancreatic lesion"),
        ("spleen_cyst", ("spleen_lesion",), "No other splenic lesion segmented."),
        ("kidney_cyst_left", ("kidney_lesion_left", "kidney_lesion_right"), "No other renal lesion segmented."),
        ("liver_calcification", ("liver_lesion", "liver_tumor"), "No liver lesion or liver tumor segmented."),
    ],
)
def test_a_general_kind_is_denied_as_another_one_beside_what_it_names_too(seen, absent, words) -> None:
    organs = [hand_made.organ(n) for n in ("liver", "pancreas", "spleen", "kidney_left", "kidney_right")]
    report = _report(organs, [hand_made.lesion(seen, n, 23 - n, 19 - n) for n in (1, 2)], absent)
    said = _sentence(report, "No ")
    assert said.text.startswith(words)
    if " other " in said.text:
        assert verify_sentence(replace(said, text=said.text.replace("other ", ""))) is not None
        assert verify_sentence(replace(said, findings=said.findings[:-1])) is not None


def test_the_segmented_vessels_are_no_more_included_when_some_are_cut() -> None:
    arteries = ("brachiocephalic_trunk", "subclavian_artery_right", "common_carotid_artery_right", "pulmonary_artery")
    veins = ("superior_vena_cava", "inferior_vena_cava", "brachiocephalic_vein_left", "pulmonary_vein", "splenic_vein")
    names = (*arteries, *veins)
    whole = [hand_made.organ(name) for name in names]
    cut = [hand_made.organ(f"iliac_{n}", cut=("inferior",)) for n in ("artery_left", "artery_right", "vena_left")]
    text = _report([*whole, *cut]).text
    line = next(x for x in text.splitlines() if x.startswith("Vessels: "))
    assert line.startswith(
        "Vessels: Both common iliac arteries and the left common iliac vein are incompletely imaged. "
    )
    assert "The other segmented vessels are included in the scan." in line
    assert "The segmented vessels are included in the scan." in _report(whole).text


def test_a_segment_has_no_article_in_what_a_lesion_abuts() -> None:
    near = tuple(Neighbor(n, 0.0, 90.0 - k) for k, n in enumerate(("liver_segment_3", "stomach", "duodenum")))
    lesion = replace(hand_made.lesion("pancreas_tumor", 1, 30, 20, host="pancreas"), neighbors=near)
    text = _report([hand_made.organ("pancreas")], [lesion]).text
    assert "abutting segment III, the stomach and duodenum" in text


def test_of_lymph_nodes_the_largest_is_the_one_of_the_widest_short_axis_and_said_so() -> None:
    nodes = [hand_made.lesion("lymph_node", 1, 30, 11), hand_made.lesion("lymph_node", 2, 18, 16)]
    said = _report([hand_made.organ("liver")], nodes).impression[0]
    assert said.text == "Two lymph nodes, the largest by short axis 1.8 x 1.6 cm, enlarged by short axis."
    assert verify_sentence(replace(said, text=said.text.replace("1.8 x 1.6", "3.0 x 1.1"))) is not None


def test_what_must_be_known_within_days_is_written_out_however_little_of_it_there_is() -> None:
    kinds = (
        "liver_metastasis",
        "pancreas_tumor",
        "spleen_lesion",
        "adrenal_lesion_left",
        "kidney_tumor_right",
        "lung_tumor",
    )
    lesions = [hand_made.lesion(kind, 1, 40, 30) for kind in kinds]
    fluid = hand_made.organ("pleural_effusion_right", 60, 8)
    lesions += [
        hand_made.lesion("pleural_effusion_right", 1, 60, 20, volume_ml=60),
        hand_made.lesion("gallstone", 1, 9, 7),
    ]
    lesions += [hand_made.lesion("liver_cyst", 1, 12, 9)]
    told = [s.text for s in _report([hand_made.organ("liver"), fluid], lesions, impression_items=3).impression]
    assert "Right pleural effusion, 60 mL." in told and len(told) == len(kinds) + 2
    assert told[-1].startswith("Also described in the findings: ") and "gallstone; hepatic cyst" in told[-1]


@pytest.mark.parametrize(
    ("diameter", "error", "words"),
    [
        (
            28.4,
            2.0,
            "Pulmonary trunk diameter 2.8 cm, dilated, at or near the limit of 2.7 cm within the measurement error",
        ),
        (
            26.6,
            2.0,
            "Pulmonary trunk diameter 2.7 cm, not dilated, at or near the limit of 2.7 cm for dilated within the",
        ),
    ],
)
def test_a_value_near_a_limit_is_told_by_its_class_with_the_limit(diameter: float, error: float, words: str) -> None:
    artery = hand_made.organ("pulmonary_artery")
    trunk = Measurement("trunk_diameter", diameter, "given", error, artery.region.id)
    report = _report([replace(artery, measurements=(*artery.measurements, trunk))])
    said = _sentence(report, words)
    assert "but possibly" not in report.text
    number = said.text.split()[3]
    for true, false in (
        ("the limit of 2.7", "the limit of 2.9"),
        ("error of 0.2", "error of 0.1"),
        (f"diameter {number}", "diameter 3.8"),
        (" at or near the limit of 2.7 cm", ""),
        (", not dilated", ", dilated") if "not dilated" in words else (", dilated", ", not dilated"),
    ):
        assert true in said.text and verify_sentence(replace(said, text=said.text.replace(true, false, 1))), false
    frames = [f for f in read_report(said.text).frames if f.kind.startswith("pulmonary_artery")]
    assert all(f.status == ("absent" if "not dilated" in words else "present") for f in frames)
    assert all(abs(size - float(number) * 10) < 0.1 for f in frames for size in f.sizes_mm)


def test_kidneys_of_one_length_and_two_volumes_are_said_so_in_one_sentence() -> None:
    report = _report([hand_made.organ("kidney_right", 138), hand_made.organ("kidney_left", 86)])
    said = _sentence(report, "symmetric")
    assert said.text == "The kidneys are symmetric in craniocaudal extent and asymmetric in volume."
    for false in ("asymmetric in craniocaudal extent and asymmetric", "symmetric in craniocaudal extent and symmetric"):
        text = f"The kidneys are {false} in volume."
        assert verify_sentence(replace(said, text=text)), text
    headline = _sentence(report, "Asymmetry of")
    assert headline.text == "Asymmetry of the kidneys in volume (right 138 mL, left 86 mL)."
    assert verify_sentence(
        replace(headline, text=headline.text.replace("138", "86 ", 1).replace("left 86", "left 138"))
    )
    alike = _report([hand_made.organ("kidney_right", 150), hand_made.organ("kidney_left", 110)])
    assert "in volume" not in alike.text


def test_a_small_pancreas_is_told_of_adults_alone() -> None:
    organs = [hand_made.organ("pancreas", 17)]
    assert "Small pancreas (17 mL)." in [s.text for s in _report(organs).impression]
    assert "small" not in _report([hand_made.organ("pancreas", 19)]).text
    for age in (12, 85, None):
        findings = interpret(hand_made.numbers(organs), patient=Patient(age_years=age))
        assert "mall pancreas" not in compose_report(findings).text


def test_of_several_fractures_each_has_its_level_and_its_grade() -> None:
    levels = {"T9": 30.0, "T10": 0.0, "T11": 45.0, "L1": 0.0, "L2": 0.0, "L3": 0.0}
    for count, words in (
        (3, "Three vertebral fractures: at T9, wedge deformity, Genant grade 2; at T10; at T11, wedge deformity, G"),
        (6, "Six vertebral fractures at T9, T10, T11, L1, L2 and L3."),
    ):
        held = dict(list(levels.items())[:count])
        rows = [_vertebra(n, -32.0 * k, loss, 1) for k, (n, loss) in enumerate(held.items())]
        found = [
            hand_made.lesion("vertebra_fracture", k + 1, 20, 10, level=f"vertebrae_{n}") for k, n in enumerate(held)
        ]
        said = _report(rows, found).impression[0]
        assert said.text.startswith(words) and said.headed_text.startswith("Urgent")
        assert verify_sentence(replace(said, text=said.text.replace("at T9", "at T8"))) is not None


def test_a_cut_aorta_of_unknown_age_is_said_to_be_cut() -> None:
    aorta = hand_made.organ("aorta", cut=("inferior",), diameter=22.0)
    text = compose_report(interpret(hand_made.numbers([aorta]), patient=Patient())).text
    assert "Abdominal aorta diameter 2.2 cm." in text
    reason = "the age of the patient is not known, and the lower abdominal aorta is not imaged"
    assert f"- category of the diameter of the abdominal aorta: {reason}\n" in text


def test_without_masks_a_report_says_so_once_and_names_what_was_not_assessed() -> None:
    numbers = replace(hand_made.numbers([hand_made.organ("lung", 3000, -850)], phase="unknown"), masks_given=False)
    text = compose_report(interpret(numbers, patient=ADULT)).text
    assert text.count("no masks were given") == 2 and "no mask was provided" not in text
    line = next(x for x in text.splitlines() if x.startswith("- "))
    assert all(f"{w}," in line for w in ("heart", "liver", "pulmonary nodules", "lymph nodes"))
    assert line.endswith("bones: no masks were given") and "in the masks" not in text


@pytest.mark.parametrize(("diameter", "between"), [(34.0, False), (35.0, True), (39.4, True), (40.0, False)])
def test_an_iliac_aneurysm_between_two_limits_of_repair_is_told_with_both(diameter: float, between: bool) -> None:
    report = _report([hand_made.organ("iliac_artery_left", 20, 150, diameter=diameter)])
    words = "Aneurysmal left common iliac artery between the limits of repair of 3.5 cm (ACC/AHA) and 4.0 cm (ESVS)"
    assert any(s.text.startswith(words) for s in report.impression) is between
    assert any(s.text.startswith("Aneurysmal left common iliac artery") for s in report.impression)


@pytest.mark.parametrize(
    ("organs", "told"),
    [
        (("pancreas",), ["Size of the pancreas was not assessed (the age of the patient is not known)."]),
        (
            ("pancreas", "stomach"),
            [
                "No finding was made in what was measured: the stomach.",
                "Size of the pancreas was not assessed (the age of the patient is not known).",
            ],
        ),
    ],
)
def test_what_waits_for_the_age_is_not_told_to_hold_no_finding(organs, told) -> None:
    findings = interpret(hand_made.numbers([hand_made.organ(n, 60) for n in organs]), patient=Patient())
    report = compose_report(findings)
    assert [s.text for s in report.impression][: len(told)] == told and "Volume 60 mL" in report.text
    waiting = next(s for s in report.impression if s.text == told[-1])
    for true, false in (("age", "sex"), ("was not assessed", "was assessed"), ("pancreas", "spleen")):
        assert verify_sentence(replace(waiting, text=waiting.text.replace(true, false, 1))), false
    pancreas = next(f for f in findings if f.kind == "organ" and f.site == "pancreas")
    wrong = Sentence("No finding was made in what was measured: the pancreas.", "impression", (pancreas,))
    with pytest.raises(VerificationError, match="nothing was found"):
        verify_report(replace(report, sentences=(*report.sentences, wrong)))
    known = compose_report(interpret(hand_made.numbers([hand_made.organ("pancreas", 60)]), patient=ADULT))
    assert known.impression[0].text == "No finding was made in what was measured: the pancreas."

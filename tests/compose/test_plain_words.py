"""Sentences as a radiologist would dictate them: one for several alike, none beside another that seems to deny it."""

from __future__ import annotations

from dataclasses import replace

import pytest

import hand_made
from radvlm.compose import Style, compose_report, verify_sentence
from radvlm.interpret import interpret
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

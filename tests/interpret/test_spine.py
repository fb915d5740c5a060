"""Genant's grades and faults of the labels, from hand-made vertebrae."""

from __future__ import annotations

from dataclasses import replace

import pytest

import hand_made
from radvlm.compose.report import compose_report
from radvlm.interpret import interpret
from radvlm.interpret.spine import DOUBTFUL, UNGRADED
from radvlm.types.finding import Status, citable
from radvlm.types.measurement import Measurement, Omission
from radvlm.types.study import Patient

PATIENT = Patient(age_years=70, sex="F")
STEP = 32.0


def vertebra(level, height_mm, wedge=0.0, biconcave=0.0, crush=0.0, uncertainty=0.0, hu=None):
    record = hand_made.organ(f"vertebrae_{level}", 40, 180)
    losses = [
        Measurement(q, v, "given", uncertainty, record.region.id)
        for q, v in (("wedge_loss", wedge), ("biconcave_loss", biconcave), ("crush_loss", crush))
    ]
    extra = [] if hu is None else [Measurement("trabecular_hu", hu, "given", 1.0, record.region.id)]
    return replace(
        record,
        measurements=(*record.measurements, *losses, *extra),
        region=replace(record.region, centroid_mm=(0.0, 0.0, height_mm)),
    )


def found(vertebrae, phase="non-contrast"):
    findings = interpret(hand_made.numbers(vertebrae, phase=phase), patient=PATIENT)
    return findings, compose_report(findings).text


@pytest.mark.parametrize(
    ("losses", "words"),
    [
        ({"wedge": 23}, "wedge deformity, Genant grade 1"),
        ({"biconcave": 31}, "biconcave deformity, Genant grade 2"),
        ({"wedge": 45}, "wedge deformity, Genant grade 3"),
        ({"wedge": 45, "crush": 28}, "crush deformity, Genant grade 3"),
        ({"biconcave": 25}, "biconcave deformity, Genant grade 2"),
        ({"crush": 40}, "crush deformity, Genant grade 2"),
    ],
)
def test_grades(losses, words):
    findings, text = found([vertebra("L1", 0, **losses), vertebra("L2", -STEP)])
    finding = next(f for f in citable(findings) if f.kind == "vertebral_height_loss" and f.status is Status.PRESENT)
    assert finding.category == words and finding.site == "vertebrae_L1"
    worst = max(losses.values())
    assert f"L1 vertebra: height loss {worst} percent, {words}." in text
    assert "Vertebra L2 is of preserved height." in text


@pytest.mark.parametrize(
    ("loss", "uncertainty", "words", "status"),
    [
        (22, 4, "possibly Genant grade 1 or 2, within the measurement error of 4 percent",
         "indeterminate"),
        (17, 4, DOUBTFUL, "indeterminate"),
        (12, 11, DOUBTFUL, "indeterminate"),
        (23, 2, "wedge deformity, Genant grade 1 or 2, within the measurement error of 2 percent",
         "present"),
        (12, 7, "of preserved height", "absent"),
        (18, 18, UNGRADED, "indeterminate"),
        (20, 11, UNGRADED, "indeterminate"),
        (16, 10, DOUBTFUL, "indeterminate"),
    ],
)  # fmt: skip
def test_a_loss_near_a_limit_says_every_grade_that_is_possible(loss, uncertainty, words, status):
    findings, text = found([vertebra("L1", 0, wedge=loss, uncertainty=uncertainty)])
    finding = next(f for f in citable(findings) if f.kind == "vertebral_height_loss")
    assert (finding.category, finding.status) == (words, status)
    assert words in text and (
        words in (DOUBTFUL, UNGRADED) or status == "absent" or f"height loss {loss} percent, {words}." in text
    )
    least, most = loss - min(uncertainty, loss), loss + min(uncertainty, loss)
    if words in (DOUBTFUL, UNGRADED):
        assert f"(height loss {loss} percent)" in text
    assert ("height" in text.split("IMPRESSION")[1]) is (words not in (DOUBTFUL, UNGRADED) and status != "absent")
    assert len(finding.possible) == (0 if status == "absent" else 3 if most >= 25 and least < 20 else 2)


def test_vertebrae_of_doubtful_height_are_one_sentence_and_no_headline():
    rows = [vertebra(n, -STEP * k, wedge=12, uncertainty=9) for k, n in enumerate(("T12", "L1", "L2"))]
    _, text = found(rows)
    assert (
        f"Vertebrae T12 to L2 are {DOUBTFUL} (height loss 12 percent)." in text
        and "height" not in text.split("IMPRESSION")[1]
    )


def test_a_vertebra_without_a_height_is_listed_with_the_reason():
    whole = vertebra("L1", 0)
    cut = [hand_made.organ(f"vertebrae_{n}", 40, 180) for n in ("T11", "T12")]
    cut = [replace(r, omissions=(Omission("wedge_loss", r.structure, "cut by the field of view"),)) for r in cut]
    _, text = found([*cut, whole])
    assert "- height of vertebrae T11 and T12: cut by the field of view" in text


@pytest.mark.parametrize(
    ("levels", "words"),
    [
        ({"T11": 64, "T12": 32, "L1": 0}, ""),
        ({"T12": 64, "T13": 32, "L1": 0, "L2": -32}, "T13 labeled, a rare variant or an error of the labels"),
        ({"L4": 64, "L5": 32, "L6": 0}, "L6 labeled, a rare variant or an error of the labels"),
        ({"T10": 128, "T11": 96, "L1": 32, "L2": 0}, "T12 not labeled between T11 and L1"),
        ({"T10": 128, "T11": 96, "L1": 64, "L2": 32}, "T12 left out, with no room for it between T11 and L1"),
        ({"T8": 200, "T9": 168, "T12": 72, "L1": 40}, "T10 and T11 not labeled between T9 and T12"),
        ({"T11": 32, "T12": 64, "L1": 0}, "labels out of order, T12 lies above T11"),
    ],
)
def test_labels_are_checked_for_order_and_gaps(levels, words):
    findings, text = found([vertebra(level, z) for level, z in levels.items()])
    faults = [f.category for f in findings if f.kind == "vertebral_numbering"]
    assert faults == ([words] if words else [])
    assert words in text


@pytest.mark.parametrize(
    ("hu", "phase", "status", "words"),
    [
        (95, "non-contrast", "present", "in the attenuation range of osteoporosis"),
        (130, "non-contrast", "indeterminate", "indeterminate, between 110 and 160 HU"),
        (190, "non-contrast", "absent", "above the attenuation range of osteoporosis"),
        (95, "portal venous", "present", "in the attenuation range of osteoporosis despite contrast"),
        (150, "portal venous", "not assessed", ""),
    ],
)
def test_bone_density_of_l1(hu, phase, status, words):
    findings, text = found([vertebra("L1", 0, hu=hu)], phase)
    finding = next(f for f in citable(findings) if f.kind == "bone_density")
    assert finding.status == status
    if words:
        assert f"Trabecular attenuation of L1 {hu} HU, {words}." in text
    else:
        assert "needs the non-contrast phase" in finding.reason

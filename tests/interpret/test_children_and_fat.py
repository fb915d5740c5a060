"""Children are not judged by the limits of adults, and what has the attenuation of fat is said to have it."""

from __future__ import annotations

from dataclasses import replace

import pytest

import hand_made
from radvlm.interpret import interpret, load_rules
from radvlm.interpret.rules import Rule
from radvlm.types.finding import Citable, Finding, Status, citable
from radvlm.types.measurement import Measurement
from radvlm.types.scan_measurements import LesionMeasurements, Measurements
from radvlm.types.study import Patient

ADULT, CHILD = Patient(sex="F", age_years=60), Patient(sex="F", age_years=5)
OF_ADULTS = [r for r in load_rules().rules if "child" in r.excludes]
FAT = "in the attenuation range of fat"


@pytest.mark.parametrize("rule", OF_ADULTS, ids=lambda r: r.id)
def test_a_rule_that_leaves_out_children_asks_for_the_age(rule: Rule) -> None:
    assert (rule.applies_when.min_age_years or 0) >= 18


def _node(short_mm: float) -> Measurements:
    return hand_made.numbers([], [hand_made.lesion("lymph_node", 1, short_mm + 3, short_mm)])


def _judged(numbers: Measurements, patient: Patient, kind: str) -> list[Citable]:
    return [a for a in citable(interpret(numbers, patient=patient)) if a.kind == kind]


@pytest.mark.parametrize("patient", [CHILD, Patient()])
def test_a_small_node_of_a_child_is_not_called_normal_and_a_large_one_is_told(patient: Patient) -> None:
    assert [a.category for a in _judged(_node(8), ADULT, "lymphadenopathy")] == ["not enlarged by short axis"]
    small = _judged(_node(8), patient, "lymphadenopathy")
    assert [a.status for a in small] == [Status.NOT_ASSESSED]
    assert "years" in small[0].reason or "age" in small[0].reason
    assert [a.category for a in _judged(_node(18), patient, "lymphadenopathy")] == ["enlarged by short axis"]


def _kidneys(right_mm: float, left_mm: float) -> Measurements:
    def kidney(name: str, long_mm: float) -> object:
        record = hand_made.organ(name)
        kept = [m for m in record.measurements if m.quantity != "extent_superior_inferior"]
        return replace(record, measurements=(*kept, Measurement("extent_superior_inferior", long_mm, "given")))

    return hand_made.numbers([kidney("kidney_right", right_mm), kidney("kidney_left", left_mm)])


def test_kidneys_of_a_child_are_symmetric_by_no_limit_of_adults() -> None:
    near, far = _kidneys(70, 58), _kidneys(80, 58)
    assert [a.status for a in _judged(near, ADULT, "kidney_asymmetry")] == [Status.ABSENT]
    for patient in (CHILD, Patient()):
        assert [a.status for a in _judged(near, patient, "kidney_asymmetry")] == [Status.NOT_ASSESSED]
        assert [a.status for a in _judged(far, patient, "kidney_asymmetry")] == [Status.PRESENT]


def _lesion(name: str, hu: float, sd: float = 20.0, *, solid_percent: float = 100.0) -> LesionMeasurements:
    lesion = hand_made.lesion(name, 1, 30, 20, hu)
    kept = [m for m in lesion.measurements if m.quantity not in ("sd_hu", "solid_fraction")]
    more = (Measurement("sd_hu", sd, "given"), Measurement("solid_fraction", solid_percent, "given"))
    return replace(lesion, measurements=(*kept, *more))


def _words(lesion: LesionMeasurements, phase: str, patient: Patient = ADULT) -> list[str]:
    findings = interpret(hand_made.numbers([], [lesion], phase=phase), patient=patient)
    finding = next(f for f in findings if f.kind == lesion.structure)
    assert isinstance(finding, Finding)
    return [a.category for a in finding.assessments if "attenuation" in a.category]


@pytest.mark.parametrize("phase", ["non-contrast", "arterial", "portal venous", "delayed"])
@pytest.mark.parametrize(
    ("name", "hu", "as_in"),
    [
        ("adrenal_lesion_left", -89, ", as in a myelolipoma"),
        ("kidney_tumor_left", -80, ", as in an angiomyolipoma"),
        ("kidney_cyst_right", -60, ", as in an angiomyolipoma"),
        ("lung_nodule", -70, ", as in a hamartoma"),
        ("liver_lesion", -50, ""),
        ("spleen_lesion", -80, ""),
        ("pancreas_cyst", -70, ""),
        ("lymph_node", -60, ""),
        ("soft_tissue_lesion", -100, ""),
    ],
)
def test_fat_is_said_in_any_phase_and_nothing_else_of_it(name: str, hu: float, as_in: str, phase: str) -> None:
    assert _words(_lesion(name, hu), phase) == [f"{FAT}{as_in}"]
    if name != "lung_nodule":
        assert _words(_lesion(name, hu, sd=250.0), phase) == []  # gas in tissue has the same mean


def test_air_and_tissue_in_a_nodule_are_no_fat() -> None:
    assert _words(_lesion("lung_nodule", -70, solid_percent=60.0), "portal venous") == []


@pytest.mark.parametrize(
    ("name", "hu", "words"),
    [
        ("adrenal_lesion_left", -21, "below the attenuation of most lipid-rich adenomas, possibly with fat"),
        ("adrenal_lesion_left", -20, "in the attenuation range of a lipid-rich adenoma"),
        ("kidney_tumor_left", -10, f"{FAT}, as in an angiomyolipoma"),
        ("kidney_tumor_left", -9, "fluid attenuation"),
        ("liver_lesion", -30, FAT),
        ("liver_lesion", -29, "between the attenuation of fat and of fluid"),
        ("liver_lesion", -10, "fluid attenuation"),
        ("liver_lesion", -300, ""),
    ],
)
def test_where_fat_ends_on_a_plain_scan(name: str, hu: float, words: str) -> None:
    assert _words(_lesion(name, hu), "non-contrast") == ([words] if words else [])


def test_a_renal_lesion_without_a_class_waits_for_no_phase_that_it_is_not_in() -> None:
    """A plain scan whose plain rule has no word for it does not miss a phase with contrast."""
    for hu in (-80, -200):
        findings = interpret(
            hand_made.numbers([], [_lesion("kidney_tumor_left", hu)], phase="non-contrast"), patient=ADULT
        )
        assert not [f for f in findings if "rule needs" in f.reason and f.kind == "renal_lesion_attenuation"]
    findings = interpret(hand_made.numbers([], [_lesion("kidney_tumor_left", 60)], phase="delayed"), patient=ADULT)
    assert [f.reason for f in findings if f.kind == "renal_lesion_attenuation"] == [
        "the rule needs the non-contrast phase and this scan is in the delayed phase"
    ]


@pytest.mark.parametrize("phase", ["non-contrast", "arterial", "portal venous", "delayed"])
@pytest.mark.parametrize(
    ("hu", "words"), [(-39, [FAT]), (-20, ["in the attenuation range of tissue mixed with fat"]), (-10, []), (80, [])]
)
def test_fat_in_the_pancreas_is_said_in_any_phase(phase: str, hu: float, words: list[str]) -> None:
    numbers = hand_made.numbers([hand_made.organ("pancreas", 80, hu)], phase=phase)
    assert [a.category for a in _judged(numbers, ADULT, "pancreatic_fat")] == words


@pytest.mark.parametrize("patient", [ADULT, CHILD, Patient()])
def test_a_wide_thoracic_aorta_is_no_abdominal_aneurysm_at_any_age(patient: Patient) -> None:
    """The condition of age does not hide that the widest part lies in the thorax."""
    aorta = hand_made.organ("aorta", 300, 150)
    place = ((0.0, 0.0, 300.0), (66.0, 0.0, 300.0))
    width = Measurement("diameter", 66.0, "given", 1.0, points_mm=place)
    spine = [hand_made.organ(f"vertebrae_{level}", 40, 150) for level in ("L1", "T12", "T8")]
    heights = dict(zip(("vertebrae_L1", "vertebrae_T12", "vertebrae_T8"), (100.0, 130.0, 300.0), strict=True))
    spine = [
        replace(s, region=replace(s.region, centroid_mm=(0.0, 0.0, heights[s.structure])))  # each at its height
        for s in spine
    ]
    numbers = hand_made.numbers([replace(aorta, measurements=(*aorta.measurements, width)), *spine])
    found = _judged(numbers, patient, "abdominal_aortic_aneurysm")
    assert found and all(a.status is Status.NOT_ASSESSED for a in found)

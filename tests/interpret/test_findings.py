"""What is present, absent, indeterminate and not assessed, and why."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import pytest

import hand_made
from radvlm.compose.report import compose_report
from radvlm.interpret import interpret, load_rules
from radvlm.types.anatomy import structures
from radvlm.types.finding import Finding, Status, citable
from radvlm.types.geometry import Geometry
from radvlm.types.measurement import VESSEL_CHORD, Measurement
from radvlm.types.scan_measurements import Measurements, Phase
from radvlm.types.study import Patient, Study
from radvlm.types.urgency import Urgency

ADULT = Patient(sex="M", age_years=60)


def _by(found: tuple[Finding, ...], kind: str, site: str | None = None) -> list[Any]:
    return [f for f in citable(found) if f.kind == kind and site in (None, f.site)]


def _one(found: tuple[Finding, ...], kind: str, site: str | None = None) -> Any:
    matching = _by(found, kind, site)
    assert len(matching) == 1, matching
    return matching[0]


def test_ids_are_in_report_order_and_unique() -> None:
    found = interpret(hand_made.complete_abdomen(), patient=ADULT)
    assert [c.id for c in citable(found)] == [f"F{n}" for n in range(1, len(citable(found)) + 1)]


def test_of_a_group_given_in_part_the_rest_is_named_and_not_the_group() -> None:
    """With a mask of the stomach, "stomach and bowel: no mask was provided" would be wrong beside its sentence."""
    part = interpret(hand_made.numbers([hand_made.organ("stomach", 300.0)]), patient=ADULT)
    assert _one(part, "small_bowel_dilation").category == "caliber of the small bowel"
    assert not [f for f in citable(part) if f.category == "stomach and bowel"]
    none = interpret(hand_made.numbers([hand_made.organ("spleen", 210.0)]), patient=ADULT)
    assert {f.category for f in citable(none) if f.section == "bowel"} == {"stomach and bowel"}


def test_a_complete_spleen_is_judged_and_a_cut_one_is_not() -> None:
    whole = interpret(hand_made.numbers([hand_made.organ("spleen", 210.0)]), patient=ADULT)
    assert _one(whole, "splenomegaly").status is Status.ABSENT
    assert _one(whole, "splenomegaly").category == "normal in size"
    assert _one(whole, "splenomegaly").rule.id == "spleen_volume"
    cut = interpret(hand_made.numbers([hand_made.organ("spleen", 210.0, cut=("inferior",))]), patient=ADULT)
    finding = _one(cut, "splenomegaly")
    assert finding.status is Status.NOT_ASSESSED
    assert finding.reason == "cut by the inferior edge of the field of view"
    organ = _one(cut, "organ", "spleen")
    assert organ.measurement("volume") is None and organ.measurement("mean_hu").value == 50


def test_no_size_of_a_cut_structure_reaches_any_finding() -> None:
    for name in ("upper_abdomen_stack", "plain_abdomen"):
        for finding in interpret(getattr(hand_made, name)(), patient=ADULT):
            if finding.cut_by and finding.kind == "organ":
                assert not {m.quantity for m in finding.measurements} & {"volume", "extent_superior_inferior"}


@pytest.mark.parametrize(
    ("patient", "reason"),
    [
        (Patient(), "the age of the patient is not known"),
        (Patient(age_years=12), "the rule is for patients of at least 18 years"),
    ],
)
def test_age_decides(patient: Patient, reason: str) -> None:
    found = interpret(hand_made.numbers([hand_made.organ("spleen", 300.0)]), patient=patient)
    assert _one(found, "splenomegaly").status is Status.NOT_ASSESSED
    assert _one(found, "splenomegaly").reason == reason


def test_enlarged_spleen() -> None:
    finding = _one(interpret(hand_made.numbers([hand_made.organ("spleen", 430.6)]), patient=ADULT), "splenomegaly")
    assert finding.status is Status.PRESENT and finding.regions[0].id == "spleen" and finding.urgency is Urgency.DAYS


def test_liver_size_uses_body_size_where_it_is_known() -> None:
    numbers = hand_made.numbers([hand_made.organ("liver", 1700.0)])
    plain = _one(interpret(numbers, patient=ADULT), "hepatomegaly")
    assert plain.rule.id == "liver_volume" and plain.category == "within the usual adult volume"
    small = Patient(sex="F", age_years=60, height_cm=160, weight_kg=50)  # 1.4907 m2: 1140 mL per m2
    scaled = _one(interpret(numbers, patient=small), "hepatomegaly")
    assert scaled.rule.id == "liver_volume_by_body_size" and scaled.category == "markedly enlarged for body size"
    large = Patient(sex="M", age_years=60, height_cm=180, weight_kg=80)  # 2.0 m2 exactly: 850 mL per m2
    assert _one(interpret(numbers, patient=large), "hepatomegaly").status is Status.ABSENT


@pytest.mark.parametrize(
    ("liver", "spleen", "first", "second"),
    [
        (35, 50, Status.PRESENT, Status.PRESENT),
        (45, 50, Status.INDETERMINATE, Status.INDETERMINATE),
        (49, 50, Status.INDETERMINATE, Status.INDETERMINATE),
        (60, 50, Status.INDETERMINATE, Status.ABSENT),
    ],
)
def test_steatosis_on_plain_ct(liver: float, spleen: float, first: Status, second: Status) -> None:
    found = _by(interpret(hand_made.plain_abdomen(liver, spleen), patient=ADULT), "steatosis")
    assert [f.status for f in found] == [first, second]
    assert found[1].measurement("difference_hu").value == liver - spleen


@pytest.mark.parametrize(
    ("phase", "certain", "reason"),
    [
        ("portal venous", True, "the rule needs the non-contrast phase and this scan is in the portal venous phase"),
        ("non-contrast", False, "the contrast phase is not certain"),
        ("unknown", False, "the contrast phase is not certain"),
        (None, True, "no CT was given, only masks"),
    ],
)
def test_steatosis_needs_a_certain_plain_phase(phase: str | None, certain: bool, reason: str) -> None:
    numbers = hand_made.numbers(
        [hand_made.organ("liver", 1500, 45), hand_made.organ("spleen", 200, 50)], phase=phase, certain=certain
    )
    found = _by(interpret(numbers, patient=ADULT), "steatosis")
    assert [(f.status, f.reason) for f in found] == [(Status.NOT_ASSESSED, reason)]


@pytest.mark.parametrize("phase", ["arterial", "portal venous", "delayed"])
@pytest.mark.parametrize(("liver", "told"), [(24, True), (40, True), (41, False), (110, False)])
def test_a_liver_that_is_low_with_contrast_was_lower_without(phase: str, liver: float, told: bool) -> None:
    findings = interpret(hand_made.numbers([hand_made.organ("liver", 1500, liver)], phase=phase), patient=ADULT)
    found = _by(findings, "steatosis")
    assert [f.status for f in found] == [Status.PRESENT if told else Status.NOT_ASSESSED]
    assert ("moderate to severe steatosis even with contrast" in found[0].category) is told


def test_absent_organs_are_not_seen_in_the_imaged_range() -> None:
    found = interpret(hand_made.upper_abdomen_stack(), patient=ADULT)
    kidney, brain = _one(found, "organ", "kidney_left"), _one(found, "organ", "brain")
    assert kidney.status is Status.ABSENT and kidney.category == "not seen in the imaged range"
    assert kidney.is_expected and not brain.is_expected


def test_total_masks_do_not_answer_for_liver_lesions() -> None:
    found = interpret(hand_made.plain_abdomen(), patient=ADULT)
    liver = _one(found, "focal_liver_lesion")
    assert liver.status is Status.NOT_ASSESSED and liver.reason == "no mask of such lesions was provided"
    renal = _one(found, "focal_renal_lesion")
    assert renal.status is Status.NOT_ASSESSED and renal.category == "renal lesions other than cysts"
    assert {f.kind for f in found if f.status is Status.ABSENT and f.kind.startswith("kidney_cyst")} == {
        "kidney_cyst_left",
        "kidney_cyst_right",
    }
    assert not [f for f in found if f.status is Status.ABSENT and "liver" in f.kind]


def test_absent_lesion_of_a_missing_or_cut_host() -> None:
    absent = ("kidney_left", "kidney_cyst_left", "kidney_cyst_right", "liver_tumor")
    numbers = hand_made.numbers(
        [hand_made.organ("kidney_right", cut=("inferior",)), hand_made.organ("liver", 1500)], absent=absent
    )
    found = interpret(numbers, patient=ADULT)
    assert _one(found, "kidney_cyst_left").status is Status.NOT_ASSESSED
    assert _one(found, "kidney_cyst_right").scope == "imaged part"
    liver = _one(found, "liver_tumor")
    assert liver.status is Status.ABSENT and not liver.scope


@pytest.mark.parametrize(("name", "sex"), [(s.name, s.sex) for s in structures().values() if s.sex and not s.parent])
@pytest.mark.parametrize("patient_sex", ["F", "M", None])
def test_no_lesion_is_denied_of_an_organ_of_the_other_sex(name: str, sex: str, patient_sex: str | None) -> None:
    lesions = [s.name for s in structures().values() if s.parent == name and s.kind == "lesion"]
    numbers = hand_made.numbers([hand_made.organ(name, 40.0)], absent=tuple(lesions))
    found = interpret(numbers, patient=Patient(sex=patient_sex, age_years=50))
    assert {f.kind for f in found if f.status is Status.ABSENT} == (set(lesions) if patient_sex == sex else set())


def test_crumbs_are_not_organs() -> None:
    found = interpret(hand_made.plain_abdomen(), patient=ADULT)
    assert _one(found, "organ", "lung_middle_lobe_right").status is Status.INDETERMINATE
    spleen = interpret(hand_made.numbers([hand_made.organ("spleen", 0.01, voxels=1)]), patient=ADULT)
    assert _one(spleen, "splenomegaly").status is Status.NOT_ASSESSED


@pytest.mark.parametrize(
    ("hu", "phase", "size", "category"),
    [
        (12, "non-contrast", 21, "fluid attenuation"),
        (35, "non-contrast", 21, "indeterminate attenuation"),
        (85, "non-contrast", 21, "high attenuation"),
        (12, "portal venous", 21, "fluid attenuation"),
        (12, "non-contrast", 9.4, "too small to characterize"),
    ],
)
def test_renal_lesion_attenuation(hu: float, phase: str, size: float, category: str) -> None:
    lesion = hand_made.lesion("kidney_lesion_left", 1, size, size - 1, hu, "kidney_left")
    numbers = hand_made.numbers([hand_made.organ("kidney_left")], [lesion], phase=phase)
    assert _one(interpret(numbers, patient=ADULT), "renal_lesion_attenuation").category == category


def test_thick_slices_make_a_lesion_too_small() -> None:
    lesion = hand_made.lesion("liver_lesion", 1, 15, 12, 8, "liver")
    numbers = hand_made.numbers([hand_made.organ("liver", 1500)], [lesion], geometry=hand_made.grid(40, 8.0))
    found = interpret(numbers, patient=ADULT)
    assert _one(found, "fluid_attenuation").category == "too small to characterize"
    assert _one(found, "thick_slices").status is Status.PRESENT


def test_enhanced_renal_lesion_above_fluid_is_not_classed() -> None:
    lesion = hand_made.lesion("kidney_lesion_left", 1, 30, 28, 60, "kidney_left")
    numbers = hand_made.numbers([hand_made.organ("kidney_left")], [lesion])
    finding = _one(interpret(numbers, patient=ADULT), "renal_lesion_attenuation")
    assert finding.status is Status.NOT_ASSESSED and "portal venous" in finding.reason


@pytest.mark.parametrize(
    ("axes", "category"),
    [
        ((6.0, 4.4), "smaller than 6 mm by mean diameter"),  # printed 6 x 4: mean 5
        ((6.0, 4.9), "6 to 8 mm by mean diameter"),  # printed 6 x 5: mean 5.5, rounded 6
        ((9.0, 7.4), "6 to 8 mm by mean diameter"),  # printed 9 x 7: mean 8
        ((9.0, 8.0), "larger than 8 mm by mean diameter"),  # mean 8.5, rounded 9
    ],
)
def test_fleischner_size_class_is_of_the_rounded_mean(axes: tuple[float, float], category: str) -> None:
    lesion = hand_made.lesion("lung_nodule", 1, *axes, -20, "lung_right", ("lung_lower_lobe_right",))
    numbers = hand_made.numbers([hand_made.organ("lung_right")], [lesion])
    judged = _one(interpret(numbers, patient=ADULT), "nodule_size_class")
    assert judged.category == category
    (mean,) = judged.measurements
    assert (mean.value, mean.region_id) == (sum(round(a) for a in axes) / 2, lesion.region.id)
    young = _one(interpret(numbers, patient=Patient(age_years=30)), "nodule_size_class")
    assert young.status is Status.NOT_ASSESSED


def _aorta(diameter: float, height: float, *more: object) -> Measurements:
    record = hand_made.organ("aorta", 90, 150)
    where = ((0.0, 0.0, height), (diameter, 0.0, height))
    wide = Measurement("diameter", diameter, "perpendicular", region_id="aorta", points_mm=where)
    return hand_made.numbers([type(record)(record.structure, record.region, (*record.measurements, wide)), *more])


def test_aortic_diameter_is_judged_only_in_the_abdomen() -> None:
    assert _one(interpret(_aorta(34.0, 0), patient=ADULT), "abdominal_aortic_aneurysm").category == "aneurysmal"
    heart = hand_made.organ("heart")
    unknown = _one(interpret(_aorta(34.0, 0, heart), patient=ADULT), "abdominal_aortic_aneurysm")
    assert unknown.status is Status.NOT_ASSESSED and unknown.reason == "the level of the diameter is not known"

    def vertebra(name: str, height: float):
        record = hand_made.organ(name)
        region = type(record.region)(name, name, record.region.box, 500, 30.0, (0.0, 0.0, height))
        return type(record)(name, region, record.measurements)

    spine = (vertebra("vertebrae_T8", 200.0), vertebra("vertebrae_L3", 20.0))
    low = _one(interpret(_aorta(26.0, 30, heart, *spine), patient=ADULT), "abdominal_aortic_aneurysm")
    high = _one(interpret(_aorta(26.0, 190, heart, *spine), patient=ADULT), "abdominal_aortic_aneurysm")
    assert low.category == "ectatic" and high.status is Status.NOT_ASSESSED and "abdominal aorta" in high.reason


def test_aorta_without_a_diameter_says_so() -> None:
    found = interpret(hand_made.numbers([hand_made.organ("aorta")]), patient=Patient())
    finding = _one(found, "abdominal_aortic_aneurysm")
    assert finding.status is Status.NOT_ASSESSED and "diameter was not measured" in finding.reason


def test_limits_by_sex() -> None:
    numbers = hand_made.numbers([hand_made.organ("pulmonary_artery", trunk_diameter=28.0)])
    status = {
        sex: _one(interpret(numbers, patient=Patient(sex=sex, age_years=50)), "pulmonary_artery_dilation").status
        for sex in ("F", "M", None)
    }
    assert status == {"F": Status.PRESENT, "M": Status.ABSENT, None: Status.NOT_ASSESSED}


@pytest.mark.parametrize(("left", "status"), [(100.0, Status.ABSENT), (94.0, Status.PRESENT)])
def test_kidney_asymmetry(left: float, status: Status) -> None:
    numbers = hand_made.numbers(
        [hand_made.organ("kidney_right", extent_si=110.0), hand_made.organ("kidney_left", extent_si=left)]
    )
    finding = _one(interpret(numbers, patient=ADULT), "kidney_asymmetry")
    assert finding.status is status and [m.value for m in finding.measurements] == [110.0, left]


def test_scan_findings() -> None:
    found = interpret(hand_made.upper_abdomen_stack(), patient=ADULT, study=Study(slice_thickness_mm=3.0))
    coverage = _one(found, "coverage")
    values = {m.quantity: m.value for m in coverage.measurements}
    assert values["count"] == 20 and values["coverage"] == 40.0 and values["thickness"] == 3.0
    assert _one(found, "contrast_phase").category == "portal venous"
    none = interpret(hand_made.numbers([], phase=None), patient=ADULT)
    assert _one(none, "contrast_phase").status is Status.NOT_ASSESSED


@pytest.mark.parametrize("scene", ["upper_abdomen_stack", "plain_abdomen", "complete_abdomen", "lungs_only"])
def test_every_number_says_how_it_was_obtained_and_of_what(scene: str) -> None:
    """Of a finding as of its assessments; a number of no region is one of the whole scan."""
    found = interpret(getattr(hand_made, scene)(), patient=ADULT, study=Study(slice_thickness_mm=3.0))
    judged = [part for finding in found for part in (finding, *finding.assessments)]
    for part in judged:
        own = {region.id for region in part.regions}
        for number in part.measurements:
            assert number.method and isinstance(number.method, str), number
            assert not own or number.region_id in own or number.region_id == "", (part.kind, number)


def test_oblique_grid_uses_its_own_spacing() -> None:
    geometry = Geometry((64, 64, 10), np.array([[0.7, 0, 0, 0], [0, 0.6, -3, 0], [0, 0.45, 4, 0], [0, 0, 0, 1.0]]))
    found = interpret(Measurements((), (), (), Phase("unknown", "no organs"), geometry), patient=ADULT)
    assert _one(found, "coverage").measurement("coverage").value == pytest.approx(50.0)


def test_switched_off_and_own_rules(tmp_path) -> None:
    path = tmp_path / "own.yaml"
    path.write_text(
        """
version: 1
rules:
  - {id: spleen_volume, finding: splenomegaly, words: spleen size, level: structure, structures: [spleen],
     quantity: volume, unit: mL,
     classes: [{up_to: 200}, {category: large by our limit, urgency: days, headline: large spleen}],
     source: our own, certainty: uncertain}
""",
        encoding="utf-8",
    )
    numbers = hand_made.numbers([hand_made.organ("spleen", 210.0)])
    for patient in (Patient(), ADULT):  # the rule of our own has no condition
        finding = _one(interpret(numbers, patient=patient, rules=load_rules(path)), "splenomegaly")
        assert (finding.category, finding.status) == ("large by our limit", Status.PRESENT)
    off = path.read_text(encoding="utf-8").replace("certainty: uncertain", "certainty: uncertain, enabled: no")
    path.write_text(off, encoding="utf-8")
    assert not _by(interpret(numbers, patient=ADULT, rules=load_rules(path)), "splenomegaly")


def test_every_lesion_structure_gives_a_finding() -> None:
    from radvlm.types.anatomy import structures

    kinds = [s.name for s in structures().values() if s.kind in ("lesion", "fluid")]
    lesions = [hand_made.lesion(name, 1, 22.0, 17.0) for name in kinds]
    wholes = [hand_made.organ(name, 20.0) for name in kinds]
    found = interpret(hand_made.numbers(wholes, lesions), patient=Patient(age_years=60))
    assert {f.kind for f in citable(found) if f.status is Status.PRESENT} >= set(kinds)


def test_a_verdict_on_a_lesion_stands_in_the_section_of_the_lesion() -> None:
    organs = [hand_made.organ(name) for name in ("spleen", "pancreas", "liver")]
    lesions = [
        hand_made.lesion("spleen_cyst", 1, 23, 20, hu=3, host="spleen"),
        hand_made.lesion("pancreas_cyst", 1, 14, 13, hu=12, host="pancreas"),
    ]
    found = interpret(hand_made.numbers(organs, lesions), patient=ADULT)
    fluid = [f for f in citable(found) if f.kind == "fluid_attenuation" and f.status is Status.PRESENT]
    assert {(f.site, f.section) for f in fluid} == {("spleen", "spleen"), ("pancreas", "pancreas")}


@pytest.mark.parametrize(
    ("diameter", "cut", "status", "category"),
    [
        (20.0, (), Status.ABSENT, "not dilated"),
        (20.0, ("superior",), Status.ABSENT, "not dilated"),
        (20.0, ("inferior",), Status.NOT_ASSESSED, "diameter of the abdominal aorta"),
        (27.0, ("inferior",), Status.PRESENT, "ectatic"),
        (29.9, (), Status.PRESENT, "aneurysmal"),  # 30 mm in whole millimeters, as it is printed
        (29.4, (), Status.PRESENT, "ectatic"),
    ],
)
def test_the_aorta_is_called_normal_only_where_its_lower_end_is_imaged(
    diameter: float, cut: tuple[str, ...], status: Status, category: str
) -> None:
    found = interpret(hand_made.numbers([hand_made.organ("aorta", cut=cut, diameter=diameter)]), patient=ADULT)
    verdict = _one(found, "abdominal_aortic_aneurysm")
    assert (verdict.status, verdict.category) == (status, category)


@pytest.mark.parametrize(
    ("diameter", "voxel", "words", "status"),
    [
        (25.4, 1.0, "ectatic, at or near the limit of 2.5 cm within the measurement error of 0.1 cm", "indeterminate"),
        (25.4, 0.4, "ectatic", "present"),
        (28.0, 3.0, "at least ectatic, aneurysmal within the measurement error of 0.3 cm", "present"),
        (29.6, 0.4, "aneurysmal", "present"),
        (52.0, 4.0, "aneurysmal", "present"),
        (20.0, 4.0, "not dilated", "absent"),
        (24.4, 0.4, "not dilated", "absent"),
    ],
)
def test_a_diameter_near_a_limit_is_said_with_every_class_that_is_possible(
    diameter: float, voxel: float, words: str, status: str
) -> None:
    aorta = hand_made.organ("aorta")
    measured = Measurement("diameter", diameter, "chord", voxel, "aorta")
    aorta = dataclasses.replace(aorta, measurements=(*aorta.measurements, measured))
    verdict = _one(interpret(hand_made.numbers([aorta]), patient=ADULT), "abdominal_aortic_aneurysm")
    assert (verdict.category, verdict.status) == (words, status)
    assert bool(verdict.possible) == ("within" in words)


NEAR = "at or near the limit of"


@pytest.mark.parametrize(
    ("sex", "diameter", "voxel", "words", "headline"),
    [
        ("F", 12.0, 5.0, "not aneurysmal", False),  # a woman's artery on 5 mm voxels
        ("M", 13.0, 3.0, "not dilated", False),
        ("M", 14.0, 3.0, f"not dilated, {NEAR} 1.5 cm for ectatic within the measurement error of 0.1 cm", False),
        ("F", 14.0, 5.0, f"not aneurysmal, {NEAR} 1.5 cm for aneurysmal within the measurement error of 0.2 cm", True),
        ("F", 22.0, 5.0, "aneurysmal", True),
    ],
)
def test_a_normal_artery_on_a_coarse_grid_is_no_alarm(
    sex: str, diameter: float, voxel: float, words: str, headline: bool
) -> None:
    """The truth exceeds a chord by a third of a voxel; only what is at its limit reaches the impression."""
    artery = hand_made.organ("iliac_artery_left")
    chord = Measurement("diameter", diameter, VESSEL_CHORD, voxel, "iliac_artery_left")
    artery = dataclasses.replace(artery, measurements=(*artery.measurements, chord))
    found = interpret(hand_made.numbers([artery]), patient=Patient(sex=sex, age_years=60))
    said = next(f for f in citable(found) if f.site == "iliac_artery_left" and f.rule is not None)
    assert (said.category, said.importance > 0) == (words, headline)


def test_a_caliper_of_the_thorax_is_no_number_of_the_abdominal_aorta() -> None:
    aorta, spine = hand_made.organ("aorta"), hand_made.organ("vertebrae_T11")
    ends = ((0.0, 0.0, 0.0), (30.0, 0.0, 0.0))
    wide = tuple(
        Measurement(q, 30.0, VESSEL_CHORD, 1.0, "aorta", points_mm=ends) for q in ("diameter", "descending_diameter")
    )
    aorta = dataclasses.replace(aorta, measurements=(*aorta.measurements, *wide))
    spine = dataclasses.replace(spine, region=dataclasses.replace(spine.region, centroid_mm=(0.0, -40.0, 0.0)))
    found = interpret(hand_made.numbers([aorta, spine]), patient=ADULT)
    text = compose_report(found).text
    assert "bdominal aorta diameter" not in text and "3.0 cm" in text
    assert "diameter of the abdominal aorta: the abdominal aorta is not imaged" in text


def test_assessments_are_nested_in_what_they_judge() -> None:
    organs = [
        hand_made.organ("spleen", 500),
        hand_made.organ("skeletal_muscle", 9000, area_l3=8000.0),
        *(hand_made.organ(f"kidney_{side}", 150) for side in ("right", "left")),
    ]
    node = dataclasses.replace(hand_made.lesion("lymph_node", 1, 18, 12), station="para-aortic")
    found = interpret(hand_made.numbers(organs, [node]), patient=dataclasses.replace(ADULT, age_years=35))
    held = {(f.kind, f.site): {a.kind: a for a in f.assessments} for f in found if f.assessments}
    assert set(held) == {
        ("organ", "spleen"),
        ("organ", "kidney_right"),
        ("organ", "kidney_left"),
        ("lymph_node", "lymph_node"),
    }
    assert set(held["organ", "spleen"]) == {"splenomegaly"}
    assert held["organ", "kidney_right"]["kidney_asymmetry"].twin == "kidney_left"
    assert "kidney_asymmetry" not in held["organ", "kidney_left"]
    assert set(held["lymph_node", "lymph_node"]) == {"lymphadenopathy", "node_station"}
    muscle = _one(found, "low_muscle_area")
    assert isinstance(muscle, Finding) and muscle.headline and muscle.says_value, "no finding holds the muscle"


@pytest.mark.parametrize(("age", "judged"), [(17.9, False), (18, True), (18.1, True)])
def test_a_rule_for_adults_holds_from_the_birthday(age: float, judged: bool) -> None:
    found = interpret(hand_made.numbers([hand_made.organ("spleen", 300.0)]), patient=Patient(age_years=age))
    assert (_one(found, "splenomegaly").status is Status.ABSENT) == judged

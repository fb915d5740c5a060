"""Each condition of a rule from both sides of its limit, on a rule made for it: what is judged, and why not."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

import hand_made
from radvlm.interpret import interpret, load_rules
from radvlm.interpret.rules import Rules
from radvlm.types.finding import Finding, Source, Status
from radvlm.types.measurement import Measurement, Omission
from radvlm.types.scan_measurements import Measurements
from radvlm.types.study import Patient
from radvlm.types.urgency import importance

ADULT = Patient(sex="F", age_years=63, height_cm=180, weight_kg=80)  # 2.0 m2
RULE = {
    "id": "own",
    "finding": "own_kind",
    "words": "what is judged",
    "level": "structure",
    "structures": ["spleen"],
    "quantity": "volume",
    "unit": "mL",
    "classes": [
        {"below": 100, "category": "small"},
        {"up_to": 300, "category": "usual", "status": "absent"},
        {"category": "big"},
    ],
    "source": "made for this test",
    "certainty": "medium",
}  # fmt: skip
#: The built-in rules, all switched off.
NONE = Rules(version=1, rules=tuple(r.model_copy(update={"enabled": False}) for r in load_rules().rules))
NO_SIZE = "height and weight of the patient are not known"


def verdict(numbers: Measurements, patient: Patient = ADULT, **change: Any) -> str:
    """Category of the one assessment, ``-`` where there is none, or ``not assessed: reason``."""
    rule = {**RULE, **change}
    found = interpret(
        numbers, patient=patient, rules=NONE.merged(Rules.model_validate({"version": 1, "rules": [rule]}))
    )
    said = [a.category for f in found for a in f.assessments if a.kind == "own_kind"]
    said += [f"not assessed: {f.reason}" for f in found if f.kind == "own_kind" and f.status is Status.NOT_ASSESSED]
    said += [f.category for f in found if f.kind == "own_kind" and f.status is not Status.NOT_ASSESSED]
    assert len(said) <= 1, said
    return said[0] if said else "-"


@pytest.mark.parametrize(("ml", "words"), [(99.4, "small"), (99.5, "usual"), (300.4, "usual"), (300.5, "big")])
def test_classes_hold_to_their_limits(ml: float, words: str) -> None:
    assert verdict(hand_made.numbers([hand_made.organ("spleen", ml)])) == words


@pytest.mark.parametrize(("ml", "words"), [(199.4, "small"), (199.5, "usual"), (600.4, "usual"), (600.5, "big")])
def test_classes_scale_with_the_surface_of_the_body(ml: float, words: str) -> None:
    organs = hand_made.numbers([hand_made.organ("spleen", ml)])
    assert verdict(organs, scale="bsa", applies_when={"body_size_known": True}) == words


@pytest.mark.parametrize(("ml", "words"), [(94.4, "small"), (94.5, "usual"), (304.4, "usual"), (304.5, "big")])
def test_a_rounded_value_is_classed_after_rounding(ml: float, words: str) -> None:
    assert verdict(hand_made.numbers([hand_made.organ("spleen", ml)]), round_to=10) == words


@pytest.mark.parametrize(
    ("applies_when", "patient", "phase", "certain", "words"),
    [
        ({"min_age_years": 18}, {"age_years": 18}, "arterial", True, "usual"),
        ({"min_age_years": 18}, {"age_years": 17.9}, "arterial", True, "the rule is for patients of at least 18 years"),
        ({"min_age_years": 18}, {"age_years": None}, "arterial", True, "the age of the patient is not known"),
        ({"sex_known": True}, {"sex": "M"}, "arterial", True, "usual"),
        ({"sex_known": True}, {"sex": None}, "arterial", True, "the sex of the patient is not known"),
        ({"body_size_known": True}, {}, "arterial", True, "usual"),
        ({"body_size_known": True}, {"height_cm": None}, "arterial", True, NO_SIZE),
        ({"body_size_known": True}, {"weight_kg": None}, "arterial", True, NO_SIZE),
        ({"phases": ["arterial", "delayed"]}, {}, "delayed", True, "usual"),
        ({"phases": ["arterial"]}, {}, "arterial", False, "the contrast phase is not certain"),
        ({"phases": ["arterial"]}, {}, "unknown", True, "the contrast phase is not certain"),
        ({"phases": ["arterial", "delayed"]}, {}, "non-contrast", True,
         "the rule needs the arterial or delayed phase and this scan is in the non-contrast phase"),
        ({"phases": ["arterial"]}, {}, None, True, "no CT was given, only masks"),
        ({"max_voxel_mm": 2.0}, {}, "arterial", True, "usual"),
        ({"max_voxel_mm": 1.9}, {}, "arterial", True, "a voxel is longer than 1.9 mm"),
        ({"complete": True}, {}, "arterial", True, "usual"),
    ],
)  # fmt: skip
def test_a_condition_is_met_or_named(
    applies_when: dict, patient: dict, phase: str | None, certain: bool, words: str
) -> None:
    numbers = hand_made.numbers([hand_made.organ("spleen", 200)], phase=phase, certain=certain)
    got = verdict(numbers, replace(ADULT, **patient), applies_when=applies_when)
    assert got == (words if words == "usual" else f"not assessed: {words}")
    quiet = verdict(numbers, replace(ADULT, **patient), applies_when=applies_when, quiet=True)
    waits = words in ("the age of the patient is not known", "the sex of the patient is not known")
    assert quiet == ("usual" if words == "usual" else f"not assessed: {words}" if waits else "-")


@pytest.mark.parametrize(
    ("cut", "words"),
    [
        (("inferior",), "cut by the inferior edge of the field of view"),
        (("superior", "inferior"), "cut by the superior and inferior edges of the field of view"),
        (("left", "superior", "inferior"), "cut by the left, superior and inferior edges of the field of view"),
    ],
)
def test_every_edge_that_cuts_is_named(cut: tuple[str, ...], words: str) -> None:
    numbers = hand_made.numbers([hand_made.organ("spleen", 200, cut=cut)])
    assert verdict(numbers, applies_when={"complete": True}) == f"not assessed: {words}"
    assert verdict(numbers) == "usual"


def test_why_there_is_no_value() -> None:
    organ = hand_made.organ("spleen", 200)
    bare = replace(organ, measurements=())
    assert verdict(hand_made.numbers([bare])) == "not assessed: its volume was not measured"
    told = replace(bare, omissions=(Omission("volume", "spleen", "it is torn"),))
    assert verdict(hand_made.numbers([told])) == "not assessed: it is torn"
    assert verdict(hand_made.numbers([]), quantity="volume") == "not assessed: no mask was provided"
    assert verdict(hand_made.numbers([], absent=("spleen",))).endswith("not seen in the imaged range")
    hu = {"quantity": "mean_hu", "unit": "HU"}
    assert verdict(hand_made.numbers([bare]), **hu) == "not assessed: its attenuation was not measured"
    assert verdict(hand_made.numbers([bare], phase=None), **hu) == "not assessed: no CT was given, only masks"
    for voxels, words in ((9, "not assessed: only a few voxels are labeled"), (10, "usual")):
        assert verdict(hand_made.numbers([hand_made.organ("spleen", 200, voxels=voxels)])) == words


def test_the_difference_from_another_organ() -> None:
    rule = {"structures": ["liver"], "quantity": "difference_hu", "unit": "HU", "reference": "spleen"}
    classes = [{"below": -10, "category": "lower"}, {"category": "alike"}]
    for liver, spleen, words in ((40, 50, "alike"), (39.4, 50, "lower"), (39.5, 50, "alike"), (60, 50, "alike")):
        organs = [hand_made.organ("liver", 1500, liver), hand_made.organ("spleen", 200, spleen)]
        assert verdict(hand_made.numbers(organs), classes=classes, **rule) == words
    no_hu = [hand_made.organ("liver", 1500, None), hand_made.organ("spleen", 200, 50)]
    why = "not assessed: the attenuation of the {} was not measured"
    assert verdict(hand_made.numbers(no_hu), **rule) == why.format("liver")
    assert verdict(hand_made.numbers([hand_made.organ("liver", 1500, 40)]), **rule) == why.format("spleen")
    assert verdict(hand_made.numbers(no_hu, phase=None), **rule) == "not assessed: no CT was given, only masks"


def test_a_pair_is_judged_by_the_size_of_its_difference() -> None:
    rule = {"level": "pair", "structures": ["kidney_left", "kidney_right"]}
    for left, right, words in ((150, 199, "small"), (199, 150, "small"), (150, 250, "usual"), (460, 150, "big")):
        organs = [hand_made.organ("kidney_left", left), hand_made.organ("kidney_right", right)]
        assert verdict(hand_made.numbers(organs), **rule) == words
    one = hand_made.organ("kidney_left", 150)
    assert verdict(hand_made.numbers([one]), **rule) == "-"
    bare = replace(hand_made.organ("kidney_right", 150), measurements=())
    assert verdict(hand_made.numbers([one, bare]), **rule) == "not assessed: its volume was not measured"
    cut = hand_made.organ("kidney_right", 150, cut=("inferior",))
    assert "inferior edge" in verdict(hand_made.numbers([one, cut]), **rule, applies_when={"complete": True})


@pytest.mark.parametrize(
    ("size", "slices_mm", "words"),
    [(10.0, 2.0, "usual"), (9.4, 2.0, "small"), (9.5, 2.0, "usual"),
     (11.5, 6.0, "usual"), (11.4, 6.0, "small"), (10.0, 5.0, "usual")],
)  # fmt: skip
def test_a_lesion_is_long_enough_in_mm_and_in_slices(size: float, slices_mm: float, words: str) -> None:
    lesion = hand_made.lesion("liver_lesion", 1, size, 8, 200, "liver")
    numbers = hand_made.numbers([hand_made.organ("liver")], [lesion], geometry=hand_made.grid(40, slices_mm))
    rule = {"level": "lesion", "structures": ["liver_lesion"], "quantity": "mean_hu", "unit": "HU"}
    got = verdict(numbers, applies_when={"min_long_axis_mm": 10}, **rule)
    assert got == ("usual" if words == "usual" else "too small to characterize")
    quiet = verdict(numbers, applies_when={"min_long_axis_mm": 10}, quiet=True, **rule)
    assert quiet == ("usual" if words == "usual" else "-")
    assert verdict(numbers, **rule) == "usual"


def test_a_lesion_is_judged_by_its_core_and_by_the_mean_of_its_axes() -> None:
    lesion = hand_made.lesion("liver_lesion", 1, 120, 80, 99, "liver")
    hu = {"level": "lesion", "structures": ["liver_lesion"], "quantity": "mean_hu", "unit": "HU"}
    assert verdict(hand_made.numbers([hand_made.organ("liver")], [lesion]), **hu) == "small"
    core = Measurement("core_mean_hu", 101.0, "core", region_id=lesion.region.id)
    cored = replace(lesion, measurements=(*lesion.measurements, core))
    assert verdict(hand_made.numbers([hand_made.organ("liver")], [cored]), **hu) == "usual"
    axes = {**hu, "quantity": "mean_of_axes", "unit": "mm"}
    assert verdict(hand_made.numbers([hand_made.organ("liver")], [lesion]), **axes) == "usual"  # (120 + 80) / 2
    long_only = replace(lesion, measurements=tuple(m for m in lesion.measurements if m.quantity != "short_axis"))
    why = "not assessed: long and short axis were not both measured"
    assert verdict(hand_made.numbers([hand_made.organ("liver")], [long_only]), **axes) == why


@pytest.mark.parametrize(("extent", "words"), [(49.4, "-"), (49.5, "usual"), (60.4, "usual"), (60.5, "-"), (None, "-")])
def test_a_further_criterion_holds_on_both_its_limits(extent: float | None, words: str) -> None:
    organ = hand_made.organ("spleen", 200, extent_si=extent or 55)
    if extent is None:
        organ = replace(organ, measurements=tuple(m for m in organ.measurements if m.quantity == "volume"))
    also = [{"quantity": "extent_superior_inferior", "at_least": 50, "at_most": 60}]
    assert verdict(hand_made.numbers([organ]), also=also) == words


@pytest.mark.parametrize(
    ("quantity", "unit", "value", "words"),
    [
        ("length", "mm", 9.4, "9 mm"),
        ("length", "mm", 9.5, "1.0 cm"),
        ("length", "mm", 123.5, "12.4 cm"),
        ("area", "mm2", 14425.0, "144.3 cm2"),
        ("fraction", "percent", 52.5, "53 percent"),
        ("cardiothoracic_ratio", "1", 0.525, "0.53"),
        ("mean_hu", "HU", -10.5, "-11 HU"),
    ],
)
def test_a_category_states_its_value_rounded_half_up(quantity: str, unit: str, value: float, words: str) -> None:
    where = hand_made.region("spleen", 200)
    organ = replace(
        hand_made.organ("spleen"), measurements=(Measurement(quantity, value, "given", region_id=where.id),)
    )
    classes = [{"category": "of {value}", "urgency": "days", "headline": "a spleen of {value}"}]
    assert verdict(hand_made.numbers([organ]), quantity=quantity, unit=unit, classes=classes) == f"of {words}"


# -- organs and lesions without rules --------------------------------------------------------------------------------


def findings(numbers: Measurements, patient: Patient = ADULT) -> tuple[Finding, ...]:
    return interpret(numbers, patient=patient, rules=NONE)


def test_an_organ_of_a_few_voxels_is_doubtful() -> None:
    for voxels, status in ((9, Status.INDETERMINATE), (10, Status.PRESENT)):
        found = findings(hand_made.numbers([hand_made.organ("spleen", 1, voxels=voxels)]))
        (organ,) = [f for f in found if f.kind == "organ" and f.site == "spleen"]
        assert organ.status is status and ("fewer than 10 voxels" in organ.reason) is (voxels < 10)


def test_a_cut_organ_keeps_no_number_of_size() -> None:
    for cut in ((), ("inferior",)):
        found = findings(hand_made.numbers([hand_made.organ("liver", 1500, 50, cut, length=150, diameter=30)]))
        (liver,) = [f for f in found if f.kind == "organ" and f.site == "liver"]
        whole = ["volume", "mean_hu", "sd_hu", "extent_superior_inferior", "length", "diameter"]
        assert [m.quantity for m in liver.measurements] == (["mean_hu", "sd_hu", "diameter"] if cut else whole)
        assert liver.category == ("incompletely imaged" if cut else "") and liver.cut_by == cut


def test_the_scan_says_how_it_was_acquired_and_in_which_phase() -> None:
    geometry = hand_made.grid(slices=50, spacing=3.0, pixel=0.7)
    for phase, certain, status, words, source in (
        ("arterial", True, Status.PRESENT, "arterial", Source.VOXELS),
        ("arterial", False, Status.INDETERMINATE, "arterial", Source.VOXELS),
        ("unknown", True, Status.INDETERMINATE, "", Source.VOXELS),
        (None, True, Status.NOT_ASSESSED, "attenuation", Source.HEADER),
    ):
        found = findings(hand_made.numbers([], phase=phase, certain=certain, geometry=geometry))
        coverage = next(f for f in found if f.kind == "coverage")
        assert {m.quantity: m.value for m in coverage.measurements} == {
            "count": 50,
            "slice_spacing": 3.0,
            "coverage": 150.0,
            "pixel_spacing": 0.7,
        }
        (contrast,) = [f for f in found if f.kind == "contrast_phase"]
        assert (contrast.status, contrast.category, contrast.source) == (status, words, source)


@pytest.mark.parametrize(
    ("present", "cut", "absent", "status", "scope"),
    [
        (("liver",), (), (), Status.ABSENT, ""),
        (("liver",), ("inferior",), (), Status.ABSENT, "imaged part"),
        ((), (), (), Status.ABSENT, "imaged range"),
        ((), (), ("liver",), Status.NOT_ASSESSED, ""),
    ],
)
def test_how_far_an_absent_lesion_is_absent(
    present: tuple, cut: tuple, absent: tuple, status: Status, scope: str
) -> None:
    organs = [hand_made.organ(name, cut=cut) for name in present]
    found = findings(hand_made.numbers(organs, absent=("liver_lesion", *absent)))
    (lesion,) = [f for f in found if f.kind == "liver_lesion"]
    assert (lesion.status, lesion.scope, lesion.site) == (status, scope, "liver")


def test_a_lesion_keeps_what_was_measured_of_it() -> None:
    node = hand_made.lesion("lymph_node", 1, 21, 12, 40, level="vertebrae_L2")
    cyst = hand_made.lesion(
        "kidney_cyst_left", 1, 21, 12, 7, "kidney_left", pole="upper pole", level="vertebrae_L2", cut=("left",)
    )
    for certain in (True, False):
        numbers = hand_made.numbers([hand_made.organ("kidney_left")], [node, cyst], phase="arterial", certain=certain)
        found = {f.kind: f for f in findings(numbers)}
        assert found["lymph_node"].locations == ("vertebrae_L2",) and found["kidney_cyst_left"].locations == ()
        kept = found["kidney_cyst_left"]
        assert (kept.host, kept.pole, kept.level, kept.cut_by) == (
            "kidney_left",
            "upper pole",
            "vertebrae_L2",
            ("left",),
        )
        assert kept.phase == ("arterial" if certain else "") and "cut by the left edge" in kept.reason
        assert [m.quantity for m in kept.measurements] == ["long_axis", "short_axis", "volume", "mean_hu"]
        assert kept.importance == importance("days", 2.1)


def test_lesions_of_the_other_sex_are_not_mentioned() -> None:
    for sex, kinds in (("M", {"prostate_lesion"}), ("F", {"uterus_lesion"})):
        found = findings(hand_made.numbers([], absent=("uterus_lesion", "prostate_lesion")), Patient(sex=sex))
        assert {f.kind for f in found if f.kind.endswith("_lesion") and f.status is Status.ABSENT} == kinds


@pytest.mark.parametrize(
    ("change", "section"),
    [
        ({}, "spleen"),
        ({"section": "peritoneum"}, "peritoneum"),
        ({"level": "lesion", "structures": ["liver_lesion"]}, "liver"),
        ({"level": "lesion", "structures": ["kidney_cyst_left"]}, "kidneys"),
    ],
)
def test_a_verdict_and_its_lack_stand_in_the_section_of_what_is_judged(change: dict[str, Any], section: str) -> None:
    organs = [hand_made.organ(name, 200) for name in ("spleen", "liver", "kidney_left")]
    lesions = [
        hand_made.lesion("liver_lesion", 1, 30, 20, 50, "liver"),
        hand_made.lesion("kidney_cyst_left", 1, 30, 20, 50, "kidney_left"),
    ]
    for needs, status in (([], None), (["delayed"], Status.NOT_ASSESSED)):
        rule = {**RULE, **change, "applies_when": {"phases": needs}}
        rules = NONE.merged(Rules.model_validate({"version": 1, "rules": [rule]}))
        found = interpret(hand_made.numbers(organs, lesions, phase="arterial"), patient=ADULT, rules=rules)
        said = [x for f in found for x in (f, *f.assessments) if x.kind == "own_kind"]
        assert [x.section for x in said] == [section]
        assert (said[0].status is Status.NOT_ASSESSED) is (status is not None)


def test_what_is_not_measured_says_why_where_its_organ_is_imaged() -> None:
    item = {"id": "own_gap", "words": "the colour", "when_present": ["spleen", "liver"], "reason": "a CT has none"}
    rules = NONE.merged(Rules.model_validate({"version": 1, "unmeasured": [item]}))
    for organ in ("spleen", "liver", "pancreas"):
        found = interpret(hand_made.numbers([hand_made.organ(organ)]), patient=ADULT, rules=rules)
        told = [(f.status, f.site, f.section, f.category, f.reason) for f in found if f.kind == "own_gap"]
        assert told == (
            [(Status.NOT_ASSESSED, organ, organ, "the colour", "a CT has none")] if organ != "pancreas" else []
        )


@pytest.mark.parametrize(
    ("ml", "age", "cut", "graded"),
    [
        (7.4, 63, (), False),
        (50.4, 63, (), False),
        (51, 63, (), True),
        (7.4, None, (), False),
        (7.4, 9, (), True),  # the usual amount is that of adults
        (7.4, 63, ("inferior",), True),  # of the imaged part
    ],
)
def test_a_usual_amount_of_pericardial_fluid_has_no_grade_by_width(
    ml: float, age: float | None, cut: tuple[str, ...], graded: bool
) -> None:
    organ = hand_made.organ("pericardial_effusion", ml, 9, cut, thickness=24.0)
    pocket = hand_made.lesion("pericardial_effusion", 1, 40, 24, 9, volume_ml=ml)
    found = interpret(hand_made.numbers([organ], [pocket]), patient=replace(ADULT, age_years=age))
    (fluid,) = [f for f in found if f.kind == "pericardial_effusion"]
    assert any("by width" in a.category for a in fluid.assessments) is graded
    open_ = [f.reason for f in found if f.kind == "pericardial_effusion_width" and f.status is Status.NOT_ASSESSED]
    assert [("50 mL or less may lie in one pocket" in r) for r in open_] == ([] if graded else [True])


def test_a_grid_too_coarse_for_heights_is_said_once() -> None:
    for reason, told in (("a voxel is longer than the loss", 1), ("the endplate was not found", 0)):
        levels = [
            replace(
                hand_made.organ(f"vertebrae_{n}", 30, 200),
                omissions=(Omission("wedge_loss", f"vertebrae_{n}", reason), Omission("length", "", "a voxel")),
            )
            for n in ("T12", "L1")
        ]
        found = interpret(hand_made.numbers(levels), patient=ADULT)
        said = [f for f in found if f.category == "height of the vertebrae"]
        assert [f.reason for f in said] == [reason] * told

"""Every rule of thresholds.yaml on each side of each limit, as printed and within the error: nothing contradicts."""

from __future__ import annotations

import re
from dataclasses import replace

import pytest

import hand_made
from radvlm.compose.report import compose_report
from radvlm.interpret import interpret, load_rules
from radvlm.interpret.assess import spleen_limit_ml
from radvlm.interpret.rules import Rule
from radvlm.types.anatomy import structure
from radvlm.types.finding import Assessment, Citable, Status, citable
from radvlm.types.measurement import Measurement
from radvlm.types.scan_measurements import LesionMeasurements, Measurements
from radvlm.types.study import Patient
from radvlm.wording.numbers import as_printed, printed_step

SEXES = ("F", "M")
#: A number of each rule is set a little to this side of a limit, as far as print shows it and by less.
STEPS = (-1.0, -0.51, -0.49, -0.02, 0.0, 0.02, 0.49, 0.51, 1.0)
JUDGED = [r for r in load_rules().rules if r.level in ("structure", "lesion", "table") and r.unit != "degree"]


def _patient(sex: str, age_years: float = 60) -> Patient:
    return Patient(sex=sex, age_years=age_years, height_cm=180, weight_kg=80)  # 2.0 m2


def _measured(rule: Rule, value: float, error: float | None) -> tuple[Measurement, ...]:
    """The measurements by which the rule sees ``value``."""
    if rule.quantity == "difference_hu":
        return (Measurement("mean_hu", 50 + value, "given", error),)
    more = tuple(
        Measurement(c.quantity, c.at_least if c.at_least is not None else c.at_most or 0.0, "given") for c in rule.also
    )
    if rule.quantity == "mean_of_axes":
        return (*(Measurement(q, value, "given", error) for q in ("long_axis", "short_axis")), *more)
    return (Measurement(rule.quantity, value, "given", error), *more)


def _numbers(rule: Rule, value: float, error: float | None) -> Measurements:
    """A scan in which nothing but that number is near a limit."""
    name = rule.structures[0]
    own = _measured(rule, value, error)
    kept = {m.quantity for m in own}
    phase = rule.applies_when.phases[0] if rule.applies_when.phases else "portal venous"
    organs, lesions = [], []
    if rule.level == "lesion" or name.startswith("pancreas_"):
        host = structure(name).parent
        lesion = hand_made.lesion(name, 1, 30, 20, 45, host)
        base = [m for m in lesion.measurements if m.quantity not in kept]
        station = rule.stations[0] if rule.stations else ""
        lesions.append(replace(lesion, measurements=(*base, *own), station=station))
        organs += [hand_made.organ(name), *([hand_made.organ(host)] if host else [])]
        if name.startswith("pancreas_"):
            lesions = [_free(lesion) for lesion in lesions]
    else:
        name = "vertebrae_L2" if name == "vertebrae" else name
        record = hand_made.organ(name)
        base = [m for m in record.measurements if m.quantity not in kept]
        organs.append(replace(record, measurements=(*base, *own)))
    if rule.reference:
        organs.append(hand_made.organ(rule.reference, 200, 50))
    return hand_made.numbers(organs, lesions, phase=phase)


def _free(lesion: LesionMeasurements) -> LesionMeasurements:
    from radvlm.quantify.tumor_vessels import VESSELS
    from radvlm.types.scan_measurements import VesselContact

    return replace(lesion, contacts=tuple(VesselContact(v, False) for v in VESSELS))


def _limits(rule: Rule, sex: str) -> list[float]:
    return [c.limit for c in rule.classes_for(sex) if c.limit is not None]


def _native(rule: Rule, limit: float) -> float:
    """The value at a limit, in the unit that is measured, for ``_patient``: 2.0 m2, 180 cm, 80 kg."""
    share = {"bsa": 2.0, "height squared": 1.8**2, "spleen by weight": spleen_limit_ml(80) / 100}
    return limit * share.get(rule.scale or "", 1.0)


def _error(rule: Rule, step: float) -> float:
    return 2 * step * max(_native(rule, 1.0), 1.0)


def _said(rule: Rule, numbers: Measurements, sex: str, *, prove: bool) -> list[Citable]:
    when = rule.applies_when
    age = 60 if when.below_age_years is None else max(when.min_age_years or 0, when.below_age_years - 1)
    findings = interpret(numbers, patient=_patient(sex, age))
    if prove:
        compose_report(findings)  # every sentence, the hedged ones too
    return [
        a
        for a in citable(findings)
        if a.rule is not None and a.rule.id == rule.id and a.status is not Status.NOT_ASSESSED
    ]


@pytest.mark.parametrize("rule", JUDGED, ids=lambda r: r.id)
def test_the_printed_number_has_one_class(rule: Rule) -> None:
    """Two values that print alike are classed alike, and by the side of the limit on which the print lies."""
    for sex in SEXES if rule.classes_by_sex else ("F",):
        words: dict[float, set[tuple[str, str]]] = {}
        for limit in _limits(rule, sex):
            at = _native(rule, limit)
            quantity = "diameter" if rule.quantity == "mean_of_axes" else rule.quantity
            step = float(printed_step(at, rule.unit, quantity))
            for offset in STEPS:
                value = at + offset * step
                found = _said(rule, _numbers(rule, value, None), sex, prove=abs(offset) == 1.0)
                printed = as_printed(found[0].measurements[0] if found else Measurement(quantity, value, "given"))
                said = {(a.category, str(a.status)) for a in found}
                words.setdefault(printed, set()).update(said or {("", "")})
                if rule.scale is None and rule.level != "table":
                    holds = next(c for c in rule.classes_for(sex) if c.holds(printed))
                    assert (holds.category is None) <= (not said or not rule.alternative_to)
                    if holds.category and said:
                        assert _alike(holds.category, next(iter(said))[0]), (printed, holds.category, said)
        assert all(len(said) == 1 for said in words.values()), words


def _alike(category: str, said: str) -> bool:
    return re.fullmatch(re.escape(category).replace(r"\{value\}", ".*").replace(r"\{limit\}", ".*"), said) is not None


@pytest.mark.parametrize("rule", JUDGED, ids=lambda r: r.id)
def test_within_the_error_every_possible_class_is_said(rule: Rule) -> None:
    """A limit within the error: the words are those of no single class, the number stays, and status is no verdict of
    one side where the sides differ."""
    for sex in SEXES if rule.classes_by_sex else ("F",):
        classes = rule.classes_for(sex)
        for index, limit in enumerate(_limits(rule, sex)):
            at = _native(rule, limit)
            quantity = "diameter" if rule.quantity == "mean_of_axes" else rule.quantity
            step = float(printed_step(at, rule.unit, quantity))
            sides = (classes[index], classes[index + 1])
            if len({(c.category, c.status) for c in sides}) == 1 or all(c.category is None for c in sides):
                continue
            said = _said(rule, _numbers(rule, at + 0.2 * step, _error(rule, step)), sex, prove=True)
            if rule.detail and any(c.category is None for c in sides):
                continue  # words of description are left away where they are doubtful
            if not said and rule.alternative_to:
                continue
            assert said, (rule.id, limit)
            for item in said:
                if isinstance(item, Assessment):
                    assert len(item.possible) > 1, (rule.id, limit, item.category)
                assert "within the measurement error of" in item.category, (rule.id, limit, item.category)
                assert item.measurements
                if {c.status if c.category else "absent" for c in sides} != {"present"}:
                    assert item.status is Status.INDETERMINATE, (rule.id, limit, item.category)
                if item.importance:
                    assert "within the measurement error of" in item.headline


@pytest.mark.parametrize("error", [0.0, 4.0])
def test_a_pair_is_judged_by_the_difference_of_the_printed_numbers(error: float) -> None:
    """15 mm is symmetric and 16 mm is not, as printed; with an error of both sides neither is claimed."""
    for right, left, printed in ((100.4, 115.4, 15), (100.4, 115.6, 16), (100.6, 115.4, 14), (99.6, 115.4, 15)):
        organs = []
        for side, value in (("right", right), ("left", left)):
            record = hand_made.organ(f"kidney_{side}", 150)
            kept = [m for m in record.measurements if m.quantity != "extent_superior_inferior"]
            extent = Measurement("extent_superior_inferior", value, "given", error, record.region.id)
            organs.append(replace(record, measurements=(*kept, extent)))
        findings = interpret(hand_made.numbers(organs), patient=_patient("F"))
        compose_report(findings)
        (said,) = [a for a in citable(findings) if a.kind == "kidney_asymmetry"]
        if error:
            assert said.status is Status.INDETERMINATE and "within the measurement error of 0.6 cm" in said.category
        else:
            assert (said.status is Status.PRESENT) is (printed > 15), (right, left, said.category)


@pytest.mark.parametrize("degrees", [172.0, 180.0, 180.4, 188.0])
def test_an_angle_within_its_error_of_half_a_turn_is_said_with_both_classes(degrees: float) -> None:
    from radvlm.quantify.tumor_vessels import VESSELS
    from radvlm.types.scan_measurements import VesselContact

    def contact(vessel: str) -> VesselContact:
        angle = Measurement("angle", degrees, "given", 10.0, "pancreas_pdac/1")
        return VesselContact(vessel, True, (angle,)) if vessel == "superior_mesenteric_artery" else _no_contact(vessel)

    def _no_contact(vessel: str) -> VesselContact:
        return VesselContact(vessel, False)

    lesion = hand_made.lesion("pancreas_pdac", 1, 24, 18, 50, "pancreas", ("pancreas_head",))
    lesion = replace(lesion, contacts=tuple(contact(v) for v in VESSELS))
    numbers = hand_made.numbers([hand_made.organ("pancreas", 80), hand_made.organ("pancreas_pdac", 8)], [lesion])
    findings = interpret(numbers, patient=_patient("M"))
    text = compose_report(findings).text
    (said,) = [a for a in citable(findings) if a.kind == "pancreatic_resectability"]
    assert said.category == (
        "borderline resectable or locally advanced by vascular contact (NCCN), "
        "within the measurement error of 10 degrees"
    )
    assert said.status is Status.INDETERMINATE and said.category in text
    assert f"angle {degrees:.0f} degrees" in text


@pytest.mark.parametrize(("spacing", "told"), [(5.0, False), (5.004, False), (5.01, True), (6.0, True)])
def test_slices_wider_than_advised_as_printed(spacing: float, told: bool) -> None:
    numbers = hand_made.numbers([], geometry=hand_made.grid(spacing=spacing))
    findings = interpret(numbers, patient=_patient("F"))
    assert any(f.kind == "thick_slices" for f in findings) is told


@pytest.mark.parametrize("rule", [r for r in JUDGED if r.applies_when.or_above], ids=lambda r: r.id)
def test_above_the_limit_of_adults_age_and_sex_are_not_asked(rule: Rule) -> None:
    """Children have less: what no adult of either sex has is told at any age, and nothing else is."""
    last = max(_limits(rule, sex)[-1] for sex in SEXES)

    def said(value: float, patient: Patient) -> list[str]:
        findings = interpret(_numbers(rule, value, None), patient=patient)
        compose_report(findings)
        return [a.headline for a in citable(findings) if a.rule and a.rule.id == rule.id and a.headline]

    adult = said(last * 1.1, Patient(sex="M", age_years=60))
    assert adult
    for patient in (Patient(), Patient(sex="F"), Patient(sex="M"), Patient(age_years=9), Patient(sex="F", age_years=9)):
        assert said(last * 1.1, patient) == adult
        assert said(last * 0.3, patient) == []


def test_between_the_limits_of_the_sexes_the_sex_is_waited_for() -> None:
    rule = next(r for r in JUDGED if r.id == "pulmonary_artery_diameter")  # 29 mm in men, 27 mm in women
    for sex, told in ((None, []), ("F", ["dilated pulmonary trunk"]), ("M", [])):
        findings = interpret(_numbers(rule, 28.0, None), patient=Patient(sex=sex))
        assert [a.headline for a in citable(findings) if a.rule and a.rule.id == rule.id and a.headline] == told

"""Both sides of each limit as reports word them, for docs/rules.md: rendered by the rules themselves."""

from __future__ import annotations

import math
from itertools import pairwise

from radvlm.interpret.assess import body_surface_m2, judge, spleen_limit_ml, stated
from radvlm.interpret.possible import Judged, amount, judged
from radvlm.interpret.rules import Rule
from radvlm.types.measurement import Measurement
from radvlm.types.study import Patient
from radvlm.wording.numbers import printed_step

#: For whom limits by body size are rendered: 2.0 m2 of surface.
EXAMPLE_PATIENT = {"height_cm": 180.0, "weight_kg": 80.0}


def limit_examples(rule: Rule) -> list[str]:
    """Lines of a table: the words just below and just above each limit, and those within the error of it."""
    rows = []
    for sex in ("M", "F") if rule.classes_by_sex else (None,):
        patient = Patient(sex=sex, age_years=60, **EXAMPLE_PATIENT)
        classes = rule.classes_for(sex)
        for item, after in pairwise(classes):
            if item.limit is None or (item.category, item.status) == (after.category, after.status):
                continue
            low, high = _neighbors(rule, patient, item.limit, item.below is None)
            words = [_words(rule, patient, value) for value in (low, high)]
            words.append(_words(rule, patient, high, error=2.0))
            rows.append(f"| {f'{sex}: ' if sex else ''}" + " | ".join([*words, ""]).rstrip() + "")
    return ["| just below | just above | within the error |", "|---|---|---|", *rows] if rows else []


def _neighbors(rule: Rule, patient: Patient, limit: float, belongs_below: bool) -> tuple[float, float]:
    """The last printed value on the lower side of a limit and the first on the upper one, in the unit measured."""
    area = body_surface_m2(patient) or 1.0
    share = {"bsa": area, "height squared": (EXAMPLE_PATIENT["height_cm"] / 100) ** 2}.get(rule.scale or "", 1.0)
    if rule.scale == "spleen by weight":
        share = spleen_limit_ml(EXAMPLE_PATIENT["weight_kg"]) / 100
    at = limit * share
    step = float(printed_step(at, rule.unit, _quantity(rule)))
    steps = at / step
    low = math.floor(steps + 1e-9) if belongs_below else math.ceil(steps - 1e-9) - 1
    if rule.scale == "height squared":  # the index is rounded too
        while judge(rule, patient, Judged((low + 1) * step, 0, rule.unit, "10")).outcome.status != "absent":
            low += 1
        while judge(rule, patient, Judged(low * step, 0, rule.unit, "10")).outcome.status == "absent":
            low -= 1
    return low * step, (low + 1) * step


def _quantity(rule: Rule) -> str:
    return "diameter" if rule.quantity == "mean_of_axes" else rule.quantity


def _words(rule: Rule, patient: Patient, value: float, error: float = 0.0) -> str:
    """``2.4 cm, not dilated``; ``no word`` for a class that has none. ``error`` in steps of print."""
    measurement = Measurement(_quantity(rule), value, "example")
    seen = judged(measurement)
    number = Judged(seen.value, error * float(seen.step), seen.unit, seen.step)
    outcome = judge(rule, patient, number).outcome
    text = stated(measurement)
    if outcome.category is None:
        return f"{text}: no word"
    says_value = "{value}" in outcome.category
    words = outcome.category.replace("{value}", text)
    spread = f" +/- {amount(number.error, seen.unit, seen.step, in_cm=seen.value >= 10)}" if error else ""
    return words if says_value and not error else f"{text}{spread}: {words}"

"""One thing of a scan is changed: exactly what depends on it changes in the report (``eval/counterfactuals.py``)."""

from __future__ import annotations

import dataclasses

import pytest

import hand_made
import one_change
from radvlm.compose import compose_report
from radvlm.interpret import interpret
from radvlm.phantom import LesionSpec, PhantomSpec, make_phantom
from radvlm.types.report import Report
from radvlm.types.scan_measurements import Measurements
from radvlm.types.study import Patient

ADULT = Patient(sex="F", age_years=63)


def _report(numbers: Measurements) -> Report:
    return compose_report(interpret(numbers, patient=ADULT))


@pytest.mark.parametrize("kind", ["gallstone", "kidney_cyst_left", "liver_lesion"])
def test_a_lesion_that_is_gone_takes_its_sentences_with_it(kind: str) -> None:
    numbers = hand_made.complete_abdomen()
    last = [x for x in numbers.lesions if x.structure == kind][-1]
    lesions = tuple(x for x in numbers.lesions if x is not last)
    is_only = not any(x.structure == kind for x in lesions)
    fewer = dataclasses.replace(
        numbers,
        lesions=lesions,
        structures=tuple(s for s in numbers.structures if not (is_only and s.structure == kind)),
        absent=(*numbers.absent, *([kind] if is_only else [])),
    )
    before, after = _report(numbers), _report(fewer)
    assert one_change.beyond_lesion(before, after, kind) == []
    assert one_change.changed(before, after)[0]
    wrong = one_change.beyond_lesion(before, before, kind)
    assert wrong, "a lesion that is still told is seen"


@pytest.mark.slow
def test_of_a_phantom_exactly_what_depends_on_a_change_changes() -> None:
    spec = PhantomSpec(
        803,
        "abdomen",
        spacing_mm=(7.0, 7.0, 7.0),
        lesions=(LesionSpec("liver_metastasis", 24), LesionSpec("kidney_cyst", 24, side="left")),
    )
    made = [make_phantom(s) for s in (spec, dataclasses.replace(spec, lesions=spec.lesions[:1]))]
    scan, masks, patient = made[0].volume, made[0].segmentation, made[0].patient
    whole, fewer = (one_change.report_of(p.volume, p.segmentation, p.patient) for p in made)
    assert one_change.withdrawn(whole, fewer) == []
    assert one_change.beyond_lesion(whole, fewer, "kidney_cyst_left") == []
    sided = one_change.two_sided(masks)
    pair = [one_change.report_of(v, m, patient) for v, m in ((scan, sided), one_change.mirrored(scan, sided))]
    assert one_change.beyond_sides(*pair) == []
    raised = one_change.report_of(one_change.brighter(scan, masks, "pancreas", 7), masks, patient)
    assert one_change.beyond_attenuation(whole, raised, "pancreas", 7) == []

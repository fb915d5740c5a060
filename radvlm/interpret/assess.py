"""Applying one rule: the value it needs, the conditions it sets, and the assessment that comes out.

An assessment has words and numbers of its own beside those of the finding that holds it, so a category never
overwrites a measurement. A class of status ``absent`` ("normal in size") is an absent one ("splenomegaly") with the
number that shows it. What could not be judged is a finding that was not assessed.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, fields, replace

from radvlm.interpret.possible import Judged, amount, class_within, judged, limits_of, possible_classes
from radvlm.interpret.report_checklist import load_survey
from radvlm.interpret.rules import Rule, RuleClass, Rules
from radvlm.types.anatomy import structure
from radvlm.types.finding import Assessment, Citable, ClassLimits, Finding, RuleReference, Source, Status
from radvlm.types.measurement import QUANTITIES, Measurement, Omission
from radvlm.types.phrases import joined
from radvlm.types.scan_measurements import (
    NOT_IMAGED,
    NOT_INTERPRETED,
    LesionMeasurements,
    Measurements,
    StructureMeasurements,
)
from radvlm.types.spinal_level import nearest_level, spinal_part
from radvlm.types.study import Patient, Study
from radvlm.types.urgency import importance
from radvlm.wording.numbers import as_printed, printed_step, rounded

Record = StructureMeasurements | LesionMeasurements
#: What a rule says: a class with words, why there is none, or nothing.
Outcome = Assessment | Finding | None
#: An organ of fewer voxels than this is a crumb of the segmentation, not something seen.
SMALLEST_ORGAN_VOXELS = 10
#: Why nothing is said of a structure with fewer.
TOO_FEW_VOXELS = f"fewer than {SMALLEST_ORGAN_VOXELS} voxels are labeled, which may be an error of the masks"
#: Why nothing is said of a structure that is a crumb (quantify/organ.py).
CRUMB = "only a few voxels are labeled, which may be an error of the masks"
TOO_SMALL = "too small to characterize"
NOT_SEEN = "not seen in the imaged range"
HOST_NOT_SEEN = "the organ is not seen in the imaged range"
NO_MASK = "no mask was provided"
#: How the reason begins where a rule is for another contrast phase.
OTHER_PHASE = "the rule needs the"
NO_CT = "no CT was given, only masks"
#: Why a diameter of the aorta is not that of its abdominal part.
NO_ABDOMINAL_PART = "the abdominal aorta is not imaged"
NO_ABDOMINAL_SECTION = "no section of the imaged part of the abdominal aorta is long and round enough to be measured"
LOWER_END_MISSING = "the lower abdominal aorta is not imaged"
LEVEL_UNKNOWN = "the level of the diameter is not known"
KIDNEYS = ("kidney_right", "kidney_left")
#: Kinds of structures that no sentence speaks of, so that their number stands where the judgement is listed.
_WITHOUT_SENTENCE = ("body", "cavity", "tissue")
#: What a judgement waits for although the number is known; a quiet rule is listed for these alone.
_WAITS_FOR = ("the age of the patient is not known", "the sex of the patient is not known")
#: Begins the reason where a patient is of another age than the people of a rule.
_OTHER_AGE = "the rule is for patients "
#: A muscle index is printed and judged to 0.1 cm2/m2 (in mm2/m2).
_INDEX_STEP = "10"


@dataclass(frozen=True)
class Case:
    """Everything that a rule may ask about."""

    measurements: Measurements
    patient: Patient
    rules: Rules
    study: Study | None = None


@dataclass(frozen=True)
class Judgement:
    """The class of a number, the words of all classes that are possible for it where there are several, their limits.

    There are no limits where they scale with the body.
    """

    outcome: RuleClass
    possible: tuple[str, ...] = ()
    limits: ClassLimits | None = None


def body_surface_m2(patient: Patient) -> float | None:
    """Body surface area by Mosteller: sqrt(height in cm * weight in kg / 3600), in m2."""
    if patient.height_cm is None or patient.weight_kg is None:
        return None
    return math.sqrt(patient.height_cm * patient.weight_kg / 3600)


def spleen_limit_ml(weight_kg: float) -> float:
    """Upper limit of the volume of the spleen: 3.01 mL a kg plus 127 mL, 503 mL from 125 kg on, in whole mL.

    Perez AA et al. AJR 2023;221:611-619: 8,853 outpatients, of whose traits weight told most of the volume.
    """
    return float(rounded(min(3.01 * weight_kg + 127, 503.0), "1"))


def cut_reason(cut_by: tuple[str, ...]) -> str:
    """``cut by the superior and inferior edges of the field of view``."""
    return f"cut by the {joined(cut_by)} edge{'s' if len(cut_by) > 1 else ''} of the field of view"


def measured(record: Record, quantity: str) -> Measurement | None:
    return next((m for m in record.measurements if m.quantity == quantity), None)


def omitted(record: Record, quantity: str) -> Omission | None:
    return next((o for o in record.omissions if o.quantity == quantity), None)


def unmet_condition(rule: Rule, case: Case, records: tuple[Record, ...]) -> str | None:
    """Why the rule cannot be applied, or None. The size condition of lesions is asked apart (``is_too_small``)."""
    when, patient, phase = rule.applies_when, case.patient, case.measurements.phase
    if when.complete:
        cut = next((r.cut_by for r in records if r.cut_by), ())
        if cut:
            return cut_reason(cut)
    if when.phases:
        if phase is None:
            return NO_CT
        if phase.reason.startswith(NOT_INTERPRETED):
            return phase.reason
        one_of_them = bool(phase.possible) and set(phase.possible) <= set(when.phases)
        if phase.name == "unknown" or not (phase.certain or one_of_them):
            return "the contrast phase is not certain"
        if phase.certain and phase.name not in when.phases:
            wanted = " or ".join(when.phases)
            return f"{OTHER_PHASE} {wanted} phase and this scan is in the {phase.name} phase"
    if when.min_age_years is not None or when.below_age_years is not None:
        if patient.age_years is None:
            return "the age of the patient is not known"
        if when.min_age_years is not None and patient.age_years < when.min_age_years:
            return f"{_OTHER_AGE}of at least {when.min_age_years:g} years"
        if when.below_age_years is not None and patient.age_years >= when.below_age_years:
            return f"{_OTHER_AGE}below {when.below_age_years:g} years"
    if when.max_voxel_mm is not None and max(case.measurements.geometry.spacing_mm) > when.max_voxel_mm + 1e-3:
        return f"a voxel is longer than {when.max_voxel_mm:g} mm"
    if when.sex_known and patient.sex is None:
        return "the sex of the patient is not known"
    if when.body_size_known and body_surface_m2(patient) is None:
        return "height and weight of the patient are not known"
    if when.height_known and patient.height_cm is None:
        return "the height of the patient is not known"
    if when.weight_known and patient.weight_kg is None:
        return "the weight of the patient is not known"
    return None


def is_too_small(rule: Rule, case: Case, lesion: LesionMeasurements) -> bool:
    """True when the lesion is shorter than the rule's limit or than two slices (partial volume)."""
    limit = rule.applies_when.min_long_axis_mm
    if limit is None:
        return False
    size = measured(lesion, "long_axis")
    return size is None or as_printed(size) < max(limit, 2 * case.measurements.geometry.spacing_mm[2])


def outside_abdomen(rule: Rule, case: Case, record: Record, measurement: Measurement) -> str | None:
    """Why a diameter cannot be taken as abdominal, or None: by the vertebra nearest in height, else by the kidneys."""
    if rule.applies_when.level != "abdominal":
        return None
    numbers, heights = case.measurements, _spine_heights(case)
    points = measurement.points_mm
    height = sum(p[2] for p in points) / len(points) if points else 0.0
    if points and heights:
        part = spinal_part(heights, height)
        if part != "thoracic":
            return None if part else LEVEL_UNKNOWN
        reaches = spinal_part(heights, _lowest_mm(case, record)) == "abdominal"
        return NO_ABDOMINAL_SECTION if reaches else NO_ABDOMINAL_PART
    kidneys = [r.region.centroid_mm[2] for n in KIDNEYS if (r := numbers.structure(n)) is not None]
    if numbers.structure("heart") is None or (points and kidneys and height <= max(kidneys)):
        return None
    return LEVEL_UNKNOWN


def _spine_heights(case: Case) -> dict[str, float]:
    """Vertebra -> height (mm) of its center."""
    return {
        s.structure: s.region.centroid_mm[2]
        for s in case.measurements.structures
        if s.structure.startswith("vertebrae_") and len(s.structure) <= 13 and structure(s.structure).kind == "bone"
    }


def _lowest_mm(case: Case, record: Record) -> float:
    box, geometry = record.region.box, case.measurements.geometry
    return min(float(geometry.to_world(corner)[2]) for corner in (box.start, [n - 1 for n in box.stop]))


def _lower_end_missing(rule: Rule, case: Case, record: Record) -> bool:
    """Whether the scan cuts the abdominal aorta above its fork, so that a number of it is that of the imaged part."""
    is_cut = rule.applies_when.level == "abdominal" and "inferior" in record.cut_by
    return is_cut and not _reaches_its_end(case, record)


def _reaches_its_end(case: Case, record: Record) -> bool:
    """Whether a cut aorta is seen down to its fork: its iliac branches are, or it reaches L5."""
    if any(case.measurements.structure(f"iliac_artery_{side}") is not None for side in ("left", "right")):
        return True
    return nearest_level(_spine_heights(case), _lowest_mm(case, record)) in ("vertebrae_L5", "vertebrae_L6")


def value_of(rule: Rule, case: Case, record: Record) -> tuple[Measurement | None, str]:
    """The measurement that the rule judges, or None with the reason."""
    if rule.quantity == "mean_of_axes":
        long, short = measured(record, "long_axis"), measured(record, "short_axis")
        if long is None or short is None:
            return None, "long and short axis were not both measured"
        mean = (as_printed(long) + as_printed(short)) / 2
        error = ((long.uncertainty or 0.0) + (short.uncertainty or 0.0)) / 2
        return Measurement("diameter", mean, "mean_of_axes", error, record.region.id), ""
    if rule.quantity == "difference_hu":
        other = case.measurements.structure(rule.reference)
        own = _tissue_hu(record)
        theirs = None if other is None else _tissue_hu(other)
        if own is None or theirs is None:
            missing = structure(rule.reference if own is not None else record.structure).words
            no_hu = f"the attenuation of the {missing} was not measured"
            return None, NO_CT if case.measurements.phase is None else no_hu
        difference = as_printed(own) - as_printed(theirs)
        return Measurement(
            "difference_hu", difference, "difference_of_means", _error_of_difference(own, theirs), record.region.id
        ), ""
    found = measured(record, rule.quantity)
    if rule.quantity == "mean_hu" and isinstance(record, LesionMeasurements):
        found = measured(record, "core_mean_hu") or found  # what a region of interest away from the edge shows
    if rule.quantity == "parenchyma_hu":
        found = _tissue_hu(record)
    if found is not None:
        return found, ""
    omission = omitted(record, rule.quantity)
    if omission is not None:
        return None, omission.reason
    if rule.unit == "HU" and case.measurements.phase is None:
        return None, NO_CT
    return None, f"its {_plain_words(rule.quantity)} was not measured"


def _plain_words(quantity: str) -> str:
    """``diameter`` of the diameter of a part, which the sentence names; ``attenuation`` of any HU."""
    if quantity.endswith("_diameter"):
        return "diameter"
    return "attenuation" if QUANTITIES[quantity] == "HU" else quantity.replace("_", " ")


def _tissue_hu(record: Record) -> Measurement | None:
    """Attenuation of the tissue of an organ; the mean of its mask where the tissue was not looked at."""
    tissue = measured(record, "parenchyma_hu")
    return tissue if tissue is not None or omitted(record, "parenchyma_hu") else measured(record, "mean_hu")


def _error_of_difference(one: Measurement, other: Measurement) -> float:
    """Error of a difference of two numbers whose errors are independent."""
    return math.hypot(one.uncertainty or 0.0, other.uncertainty or 0.0)


def judge(rule: Rule, patient: Patient, number: Judged) -> Judgement:
    """The class of a number as it is printed, hedged where its error reaches a limit."""
    least, value, most = (_scaled(rule, patient, x) for x in (number.least, number.value, number.most))
    classes = rule.classes_for(patient.sex)
    found = possible_classes(classes, least, most)
    limits = None if rule.scale else limits_of(classes, found, rule.round_to or 0.0)
    own = next(c for c in found if c.holds(value))
    if rule.scale is not None:
        found = tuple(_for_patient(c, rule, patient, number) for c in found)
        own = next(c for c in found if c.holds(value))
    outcome = class_within(rule, found, own, number)
    words = tuple(dict.fromkeys(c.category or "" for c in found))
    return Judgement(outcome, words if len(words) > 1 else (), limits)


def _for_patient(item: RuleClass, rule: Rule, patient: Patient, number: Judged) -> RuleClass:
    words = {
        name: _filled(getattr(item, name) or "", rule, patient, number) for name in ("category", "headline", "doubt")
    }
    return item.model_copy(update={**words, "category": words["category"] or None})


def _scaled(rule: Rule, patient: Patient, value: float) -> float:
    """The value in the terms of the rule's limits: rounded, or by body size."""
    if rule.round_to is not None:
        value = math.floor(value / rule.round_to + 0.5) * rule.round_to
    if rule.scale == "bsa":
        area = body_surface_m2(patient)
        assert area is not None, "body_size_known was checked"
        return value / area
    if rule.scale == "height squared":
        assert patient.height_cm is not None, "height_known was checked"
        return float(rounded(value / (patient.height_cm / 100) ** 2, _INDEX_STEP))
    if rule.scale == "spleen by weight":
        assert patient.weight_kg is not None, "weight_known was checked"
        return 100 * value / spleen_limit_ml(patient.weight_kg)
    return value


def _filled(words: str, rule: Rule, patient: Patient, value: Judged) -> str:
    """The words with the limit or the index that belongs to this patient."""
    if "{limit}" in words and patient.weight_kg is not None:
        words = words.replace("{limit}", f"{spleen_limit_ml(patient.weight_kg):.0f} mL")
    if "{index}" in words:
        words = words.replace("{index}", f"{rounded(_scaled(rule, patient, value.value) / 100, '0.1')} cm2/m2")
    return words


def unmet_criterion(rule: Rule, record: Record) -> bool:
    """True when a further measurement that the rule asks for is missing or outside its limits, or another rule's."""
    found = [(c, measured(record, c.quantity)) for c in rule.also]
    if any(m is not None and c.holds(as_printed(m)) for c in rule.unless for m in [measured(record, c.quantity)]):
        return True
    return any(m is None or not c.holds(as_printed(m)) for c, m in found)


def stated(measurement: Measurement) -> str:
    """The value in the words of a category: ``9 mm``, ``12.4 cm``, ``53 percent``, ``0.53``, ``144.3 cm2``."""
    value, step = as_printed(measurement), printed_step(measurement.value, measurement.unit, measurement.quantity)
    return amount(value, measurement.unit, step, in_cm=value >= 10)


def site_of(lesion: LesionMeasurements) -> str:
    """The organ that a lesion is reported under."""
    return lesion.host or structure(lesion.structure).parent or lesion.structure


def reference(rule: Rule) -> RuleReference:
    return RuleReference(rule.id, rule.source, rule.earned_certainty)


def unassessed(kind: str, site: str, section: str, words: str, reason: str) -> Finding:
    """A finding that no rule was asked about; ``words`` name it."""
    return Finding("?", kind, Status.NOT_ASSESSED, site, section, category=words, reason=reason)


def not_assessed(
    rule: Rule, site: str, reason: str, words: str = "", measurements: tuple[Measurement, ...] = ()
) -> Finding:
    """What a rule could not judge; ``measurements`` is the number that is said all the same."""
    return Finding(
        "?",
        rule.finding,
        Status.NOT_ASSESSED,
        site,
        rule.section or _section(rule, site),
        measurements=measurements,
        category=words or rule.words,
        rule=reference(rule),
        reason=reason,
        source=Source.HEADER if rule.level == "scan" else Source.MASKS,
    )


def assessed(
    rule: Rule, verdict: Judgement, site: str, records: tuple[Record, ...], measurements: tuple[Measurement, ...]
) -> Assessment:
    """The assessment of a class that has words."""
    outcome = verdict.outcome
    status = Status(outcome.status)
    regions = () if status is Status.ABSENT else tuple(r.region for r in records)
    category, headline = outcome.category or "", outcome.headline
    says_value = "{value}" in category + headline
    if says_value:
        value = stated(measurements[0])
        category, headline = category.replace("{value}", value), headline.replace("{value}", value)
    lesion = next((r.structure for r in records if isinstance(r, LesionMeasurements)), "")
    section = rule.section or (structure(lesion).section if lesion else _section(rule, site))
    return Assessment(
        "?",
        rule.finding,
        status,
        site,
        section,
        regions,
        measurements,
        category=category,
        rule=reference(rule),
        reason=outcome.reason,
        source=Source.HEADER if rule.level == "scan" else Source.MASKS,
        importance=importance(outcome.urgency, rule.ratio_to_limit(outcome, _judged(measurements))),
        headline=headline,
        says_value=says_value,
        is_detail=rule.detail,
        possible=verdict.possible,
        limits=verdict.limits,
        reference=rule.reference,
        twin=records[1].structure if len(records) == 2 else "",
    )


def _judged(measurements: tuple[Measurement, ...]) -> float:
    """The value that was classed: of a pair, their difference."""
    if len(measurements) == 2 and measurements[0].quantity == measurements[1].quantity:
        return abs(measurements[0].value - measurements[1].value)
    return measurements[0].value


def stand_alone(assessment: Assessment) -> Finding:
    """The finding of what was judged and is no finding itself: the scan, the muscle at a level."""
    return Finding(**{f.name: getattr(assessment, f.name) for f in fields(Citable)})


def too_small(rule: Rule, lesion: LesionMeasurements) -> Assessment:
    """The lesion cannot be classed by attenuation: partial volume."""
    long = measured(lesion, "long_axis")
    return Assessment(
        "?",
        rule.finding,
        Status.INDETERMINATE,
        site_of(lesion),
        rule.section or structure(lesion.structure).section,
        (lesion.region,),
        () if long is None else (long,),
        category=TOO_SMALL,
        rule=reference(rule),
        reason="shorter than 10 mm or than two slices, so its attenuation is mixed with its surroundings",
    )


def _section(rule: Rule, site: str) -> str:
    if rule.structures and structure(rule.structures[0]).kind in ("lesion", "fluid"):
        return structure(rule.structures[0]).section
    return structure(site).section if site else "technique"


def apply_structure_rule(rule: Rule, case: Case, name: str) -> Outcome:
    """Apply to one whole structure."""
    outcome = _of_structure(rule, case, name)
    if rule.quiet and isinstance(outcome, Finding):
        # of tissue no sentence tells the number, so that it stands with the reason
        untold = structure(name).kind in _WITHOUT_SENTENCE and outcome.reason.startswith(_OTHER_AGE)
        return outcome if outcome.measurements and (outcome.reason in _WAITS_FOR or untold) else None
    return outcome


def _of_structure(rule: Rule, case: Case, name: str) -> Outcome:
    record = case.measurements.structure(name)
    if record is None:
        if structure(name).kind in ("lesion", "fluid"):
            return None
        organ = load_survey().organ_of(name)
        if organ is None and structure(name).kind == "vessel":
            return None  # nobody expects a word on an iliac artery that is outside the scan
        if name in case.measurements.absent:
            return not_assessed(rule, name, HOST_NOT_SEEN)
        if name in case.measurements.crumbs:
            return not_assessed(rule, name, CRUMB) if organ is not None else None
        if organ is None:
            return None
        has_part = any(case.measurements.searched(part) for part in (organ.site, *organ.stand_ins))
        return not_assessed(rule, name, NO_MASK, rule.words if has_part else organ.words)
    if record.region.voxels < SMALLEST_ORGAN_VOXELS:
        return not_assessed(rule, name, "only a few voxels are labeled")
    value, missing = value_of(rule, case, record)
    if value is None and missing == NOT_IMAGED:
        return None
    elsewhere = None if value is None else outside_abdomen(rule, case, record, value)
    if value is not None and elsewhere is not None:
        # a number of the chest is told under its own name, never as that of the abdominal part
        thoracic = measured(record, "descending_diameter")
        is_same = thoracic is not None and as_printed(thoracic) == as_printed(value)
        is_thoracic = is_same or (thoracic is not None and elsewhere != LEVEL_UNKNOWN)
        return not_assessed(rule, name, elsewhere, measurements=() if is_thoracic else (value,))
    reason = unmet_condition(rule, case, (record,))
    if value is None and missing and reason in _WAITS_FOR:
        reason = missing  # nothing waits for the patient's age or sex
    if reason is not None and value is not None and rule.applies_when.or_above:
        above = _above_every_limit(rule, case, (record,), judged(value))
        if above is not None:
            return assessed(rule, above, name, (record,), (value,))
    if reason is not None and (value is not None or rule.quantity != "diameter"):
        said = _still_said(rule, record, value)
        words = f"{rule.words} ({stated(said[0])})" if said and structure(name).kind in _WITHOUT_SENTENCE else ""
        if reason in _WAITS_FOR and _lower_end_missing(rule, case, record):
            reason = f"{reason}, and {LOWER_END_MISSING}"
        if said and rule.words.startswith("diameter of "):
            words = f"category of the {rule.words}"  # the diameter itself is told
        return not_assessed(rule, name, reason, words, said)
    if value is None:
        return not_assessed(rule, name, missing)
    verdict = judge(rule, case.patient, judged(value))
    outcome = verdict.outcome
    if outcome.category is None or unmet_criterion(rule, record):
        return None
    if outcome.status == "absent" and _lower_end_missing(rule, case, record):
        reason = f"{LOWER_END_MISSING}, and what is imaged is not dilated"
        return not_assessed(rule, name, reason, measurements=(value,))
    if outcome.status == "absent" and record.cut_by and structure(name).section == "bowel":
        told = outcome.model_copy(update={"category": f"{outcome.category} in the imaged part"})
        verdict = replace(verdict, outcome=told)
    return assessed(rule, verdict, name, (record,), (value,))


def _above_every_limit(rule: Rule, case: Case, records: tuple[Record, ...], number: Judged) -> Judgement | None:
    """The mildest class of a number that is above the limit of every adult, or None: no child has as much either."""
    verdicts = []
    for sex in (case.patient.sex,) if case.patient.sex else ("F", "M"):
        age = max(case.patient.age_years or 0.0, rule.applies_when.min_age_years or 0.0)
        adult = replace(case.patient, sex=sex, age_years=age)
        if unmet_condition(rule, replace(case, patient=adult), records) is not None:
            return None
        classes = rule.classes_for(sex)
        n = next(n for n, c in enumerate(classes) if c.holds(_scaled(rule, adult, number.value)))
        if not any(c.status == "absent" or c.category is None for c in classes[:n]):
            return None
        verdicts.append(judge(rule, adult, number))
    mildest = min(verdicts, key=lambda v: (importance(v.outcome.urgency), -len(v.possible)))
    own = mildest.outcome
    if mildest.possible or len({v.outcome.category for v in verdicts}) == 1:
        return mildest
    words = {"category": f"at least {own.category}", "headline": own.headline and f"at least {own.headline}"}
    return Judgement(own.model_copy(update=words), tuple(v.outcome.category or "" for v in verdicts))


def _still_said(rule: Rule, record: Record, value: Measurement | None) -> tuple[Measurement, ...]:
    """The number that needs no judgement: not the size of what is cut."""
    return () if value is None or (rule.applies_when.complete and record.cut_by) else (value,)


def apply_pair_rule(rule: Rule, case: Case) -> Outcome:
    """Apply to the absolute difference of two structures."""
    records = tuple(r for r in (case.measurements.structure(n) for n in rule.structures) if r is not None)
    site = rule.structures[0]
    if len(records) < 2 or any(r.region.voxels < SMALLEST_ORGAN_VOXELS for r in records):
        return None  # the missing organ has findings of its own
    reason = unmet_condition(rule, case, records)
    values = [value_of(rule, case, r) for r in records]
    missing = next((why for value, why in values if value is None), "")
    if rule.quiet and (missing or reason is not None):
        return None
    if missing or (reason is not None and not rule.applies_when.or_above):
        return not_assessed(rule, site, reason or missing)
    pair = tuple(value for value, _ in values if value is not None)
    first, second = judged(pair[0]), judged(pair[1])
    error = float(rounded(_error_of_difference(*pair), first.step))
    number = Judged(abs(first.value - second.value), error, first.unit, first.step)
    if reason is not None:
        above = _above_every_limit(rule, case, records, number)
        return not_assessed(rule, site, reason) if above is None else assessed(rule, above, site, records, pair)
    verdict = judge(rule, case.patient, number)
    return None if verdict.outcome.category is None else assessed(rule, verdict, site, records, pair)


def apply_lesion_rule(rule: Rule, case: Case, lesion: LesionMeasurements) -> Outcome:
    """Apply to one lesion."""
    outcome = _of_lesion(rule, case, lesion)
    too_little = isinstance(outcome, Finding) or (outcome is not None and outcome.category == TOO_SMALL)
    return None if rule.quiet and too_little else outcome


def _of_lesion(rule: Rule, case: Case, lesion: LesionMeasurements) -> Outcome:
    if (rule.stations and lesion.station not in rule.stations) or lesion.station in rule.except_stations:
        return None
    reason = unmet_condition(rule, case, (lesion,))
    value, missing = value_of(rule, case, lesion)
    if reason is not None and value is not None and rule.applies_when.or_above:
        above = _above_every_limit(rule, case, (lesion,), judged(value))
        if above is not None:
            return assessed(rule, above, site_of(lesion), (lesion,), (value,))
    if reason is not None:
        return not_assessed(rule, lesion.structure, reason)
    if value is None:
        return not_assessed(rule, lesion.structure, missing)
    if is_too_small(rule, case, lesion):
        return too_small(rule, lesion)
    verdict = judge(rule, case.patient, judged(value))
    if verdict.outcome.category is None or unmet_criterion(rule, lesion):
        return None
    return assessed(rule, verdict, site_of(lesion), (lesion,), (value,))

"""All findings of a scan: acquisition, organs, lesions, what was not found, what was not assessed, and the rules.

"absent" is said only of what the masks searched for *and* where the place to find it was imaged; an organ
that was searched for and not found is "not seen in the imaged range", because a mask cannot tell agenesis from a
scan that stops short of it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from itertools import count

from radvlm.interpret.assess import (
    CRUMB,
    HOST_NOT_SEEN,
    NO_CT,
    NO_MASK,
    NOT_SEEN,
    OTHER_PHASE,
    SMALLEST_ORGAN_VOXELS,
    TOO_FEW_VOXELS,
    Case,
    Outcome,
    apply_lesion_rule,
    apply_pair_rule,
    apply_structure_rule,
    assessed,
    cut_reason,
    judge,
    site_of,
    stand_alone,
    unassessed,
)
from radvlm.interpret.bare_scan import bare_scan
from radvlm.interpret.diseases import diseases, is_disease_or_device
from radvlm.interpret.foci import dense_foci_looked_for, foci
from radvlm.interpret.pancreas import pancreas_outcomes
from radvlm.interpret.possible import judged
from radvlm.interpret.relations import relations
from radvlm.interpret.report_checklist import Survey, load_survey
from radvlm.interpret.rules import Rules, load_rules
from radvlm.interpret.spine import height_loss, spine_findings, vertebrae
from radvlm.types.anatomy import DISSECTION, SECTIONS, is_lesion_kind, structure
from radvlm.types.finding import Assessment, Finding, Source, Status
from radvlm.types.measurement import Measurement
from radvlm.types.possible_hu import possible_hu
from radvlm.types.provenance import cautions
from radvlm.types.region import Region
from radvlm.types.scan_measurements import (
    FOCUS_KINDS,
    NOT_POSSIBLE,
    LesionMeasurements,
    Measurements,
    Phase,
    StructureMeasurements,
)
from radvlm.types.study import Patient, Study
from radvlm.types.urgency import REFERENCE_SIZE_MM, REFERENCE_VOLUME_ML, Urgency, importance
from radvlm.wording.numbers import as_printed, volume_text
from radvlm.wording.vocabulary import noun

_LESION_KINDS = ("lesion", "fluid")
_FRACTURE = "vertebra_fracture"
_SEXES = {"F": "female", "M": "male"}
#: A structure whose attenuation is never higher (HU) is gas.
_GAS_MOST_HU = -100.0
#: Volume of a ball of 6 mm, the size below which a solid nodule asks for nothing (Fleischner Society 2017,
#: doi 10.1148/radiol.2017161659).
_SPECK_ML = 0.113
#: Volume of a ball of 4 mm, up to which a stone passes by itself as a rule (EAU guideline on urolithiasis). An area
#: that may be so large, with one voxel more, is named in the impression.
_HINT_ML = 0.0335
#: Below this a patient is a child, whose usual amount of pericardial fluid is less.
_ADULT_YEARS = 18.0
#: Kind of the finding that says so where nothing in the scan could be judged.
NOTHING_JUDGED = "abnormality"
_NOTHING_TO_JUDGE = "no mask of a lesion was provided and no rule applies to the organs that were"
_NO_MASKS = "no masks were given"
_NO_LESION_MASK = "no mask of such lesions was provided"
#: Measured and tabled, but no subject of a sentence: every scan cuts them, and no rule reads them.
_TABLE_ONLY_KINDS = ("body", "cavity", "tissue")
_HEADLINE_ORDER = ("long_axis", "short_axis", "volume", "mean_hu", "sd_hu", "contrast_to_host", "diameter_3d")
_SIZE_QUANTITIES = (
    "volume",
    "area",
    "length",
    "extent_right_left",
    "extent_anterior_posterior",
    "extent_superior_inferior",
)


def interpret(
    measurements: Measurements, *, patient: Patient, rules: Rules | None = None, study: Study | None = None
) -> tuple[Finding, ...]:
    """Findings in report order, with ids ``F1``, ``F2``, ...

    Args:
        measurements: what ``radvlm.measure`` returns.
        patient: facts that rules ask for; an unknown one gives "not assessed", never a guess.
        rules: defaults to the built-in thresholds.yaml.
        study: acquisition facts from the header, where there are any.
    """
    case = Case(measurements, patient, load_rules() if rules is None else rules, study)
    survey = load_survey()
    judged = _judge(case)
    found = [
        *_scan(case),
        *bare_scan(case),
        *_organs(case, survey, judged),
        *_lesions(case, judged),
        *_unmeasured(case),
        *diseases(case),
        *foci(case),
        *_absent_lesions(case, survey),
        *judged.left(),
        *judged.unjudged,
        *spine_findings(case),
        *_crumbs(case, survey),
        *_not_searched(case, survey, judged.is_fracture_told),
    ]
    if not measurements.masks_given:
        found = [replace(f, reason=_NO_MASKS) if f.reason in (NO_MASK, _NO_LESION_MASK) else f for f in found]
        found.append(unassessed(NOTHING_JUDGED, "", "technique", "organs and lesions", _NO_MASKS))
    elif not any(map(_says_something, found)):
        found.append(unassessed(NOTHING_JUDGED, "", "technique", "abnormalities", _NOTHING_TO_JUDGE))
    order = {name: rank for rank, name in enumerate(SECTIONS)}
    found.sort(key=lambda f: order[f.section])
    numbers = count(1)
    return tuple(_numbered(f, numbers) for f in _deduplicated(found))


def _says_something(finding: Finding) -> bool:
    """Whether a finding is for the impression, denies a lesion, was judged, or shows by attenuation alone."""
    if finding.kind in FOCUS_KINDS and finding.status is Status.PRESENT:
        return True
    denies = finding.status is Status.ABSENT and (is_lesion_kind(finding.kind) or finding.kind == DISSECTION)
    return finding.importance > 0 or denies or any(a.category for a in finding.assessments)


def _numbered(finding: Finding, numbers: Iterator[int]) -> Finding:
    own = f"F{next(numbers)}"
    return replace(finding, id=own, assessments=tuple(replace(a, id=f"F{next(numbers)}") for a in finding.assessments))


def _deduplicated(found: list[Finding]) -> list[Finding]:
    """Each not-assessed statement once."""
    seen: set[tuple[str, str, str, str]] = set()
    kept = []
    for finding in found:
        key = (finding.kind, finding.site, finding.category, finding.reason)
        if finding.status is Status.NOT_ASSESSED:
            if key in seen:
                continue
            seen.add(key)
        kept.append(finding)
    return kept


def _scan(case: Case) -> list[Finding]:
    """Coverage, contrast phase and what the acquisition limits."""
    geometry, phase = case.measurements.geometry, case.measurements.phase
    thickness = case.study.slice_thickness_mm if case.study is not None else None
    coverage = Finding(
        "?",
        "coverage",
        Status.PRESENT,
        "",
        "technique",
        source=Source.HEADER,
        reason=" ".join(cautions(case.measurements.decisions)),
        measurements=(
            Measurement("count", geometry.shape[2], "axial_slices"),
            Measurement("slice_spacing", geometry.spacing_mm[2], "grid"),
            Measurement("coverage", geometry.extent_mm[2], "grid"),
            Measurement("pixel_spacing", max(geometry.spacing_mm[:2]), "grid"),
            *([Measurement("thickness", thickness, "header")] if thickness is not None and thickness > 0 else []),
        ),
    )
    found = [coverage, _contrast_phase(phase)]
    by_quantity = {m.quantity: m for m in coverage.measurements}
    for rule in case.rules.rules:
        if rule.level == "scan" and rule.enabled and rule.quantity in by_quantity:
            value = by_quantity[rule.quantity]
            verdict = judge(rule, case.patient, judged(value))
            if verdict.outcome.category is not None:
                found.append(stand_alone(assessed(rule, verdict, "", (), (value,))))
    return found


def _contrast_phase(phase: Phase | None) -> Finding:
    status, name, reason = Status.NOT_ASSESSED, "attenuation", NO_CT
    if phase is not None:
        is_open = phase.name == "unknown" or not phase.certain
        status, reason = Status.INDETERMINATE if is_open else Status.PRESENT, phase.reason
        name = (phase.timing if phase.certain else "") or ("" if phase.name == "unknown" else phase.name)
    source = Source.HEADER if phase is None else Source.VOXELS
    return Finding("?", "contrast_phase", status, "", "technique", category=name, reason=reason, source=source)


def _crumbs(case: Case, survey: Survey) -> list[Finding]:
    """Organs of the checklist of which there is no more than a crumb: neither there nor without a mask."""
    rows = [structure(name) for name in case.measurements.crumbs if survey.organ_of(name) is not None]
    return [
        Finding("?", "organ", Status.INDETERMINATE, row.name, row.section, reason=CRUMB)
        for row in rows
        if row.kind == "organ"
    ]


def of_other_sex(name: str, patient: Patient) -> str:
    """Why an organ or a lesion of the other sex is doubted, "" of any other."""
    sex = structure(name).sex
    if not sex or patient.sex is None or sex == patient.sex:
        return ""
    return f"the patient is stated to be {_SEXES[patient.sex]}, so that the mask or the sex may be wrong"


def _organ_numbers(record: StructureMeasurements) -> tuple[Measurement, ...]:
    """Numbers of a whole structure; those of size only when it is complete."""
    kept = [m for m in record.measurements if not (record.cut_by and m.quantity in _SIZE_QUANTITIES)]
    return _headline_first(kept)


def _headline_first(measurements: Iterable[Measurement]) -> tuple[Measurement, ...]:
    rank = {q: n for n, q in enumerate(_HEADLINE_ORDER)}
    return tuple(sorted(measurements, key=lambda m: rank.get(m.quantity, len(rank))))


def _organs(case: Case, survey: Survey, judged: _Judgements) -> list[Finding]:
    found = []
    for record in case.measurements.structures:
        row = structure(record.structure)
        if row.kind in (*_LESION_KINDS, *_TABLE_ONLY_KINDS) or is_disease_or_device(row.name, case):
            continue
        doubt = of_other_sex(row.name, case.patient)
        if doubt:
            judged.take(record.region)
            found.append(Finding("?", "organ", Status.INDETERMINATE, row.name, row.section, reason=doubt))
            continue
        if record.region.voxels < SMALLEST_ORGAN_VOXELS:
            found.append(
                Finding(
                    "?",
                    "organ",
                    Status.INDETERMINATE,
                    row.name,
                    row.section,
                    (record.region,),
                    reason=TOO_FEW_VOXELS,
                    assessments=judged.take(record.region),
                )
            )
            continue
        found.append(
            Finding(
                "?",
                "organ",
                Status.PRESENT,
                row.name,
                row.section,
                (record.region,),
                _organ_numbers(record),
                category="incompletely imaged" if record.cut_by else "",
                reason=cut_reason(record.cut_by) if record.cut_by else "",
                cut_by=record.cut_by,
                assessments=judged.take(record.region),
            )
        )
    expected = survey.expected_organs(case.measurements)
    for name in case.measurements.absent:
        row = structure(name)
        if row.kind not in _LESION_KINDS and not is_disease_or_device(name, case):
            found.append(
                Finding("?", "organ", Status.ABSENT, name, row.section, category=NOT_SEEN, is_expected=name in expected)
            )
    return found


def _lesions(case: Case, judged: _Judgements) -> list[Finding]:
    """One finding per lesion instance; fluid is one finding per structure, save pleural fluid that has no side."""
    found = [
        _doubted(case, _lesion(case, lesion, judged.take(lesion.region)), lesion)
        for lesion in case.measurements.lesions
        if structure(lesion.structure).kind == "lesion" or lesion.structure == "pleural_effusion"
    ]
    counted = {lesion.structure for lesion in case.measurements.lesions}
    for record in case.measurements.structures:
        row = structure(record.structure)
        if row.kind == "fluid" and row.name in counted and row.name != "pleural_effusion":
            found.append(_doubted(case, _fluid(case, record, judged.take(record.region)), record))
        elif row.kind in _LESION_KINDS and row.name not in counted:
            found.append(
                Finding(
                    "?",
                    row.name,
                    Status.INDETERMINATE,
                    row.parent or row.name,
                    row.section,
                    (record.region,),
                    reason="only crumbs too small to count as a lesion are labeled",
                    assessments=judged.take(record.region),
                )
            )
    return found


def _doubted(case: Case, finding: Finding, record: StructureMeasurements | LesionMeasurements) -> Finding:
    """The finding as it is; open where its mask is of the other sex, or of gas without the attenuation of gas."""
    row = structure(record.structure)
    volume = finding.measurement("volume")
    size = "" if volume is None else f" of {volume_text(volume.value)}"
    named = f"area{size} labeled as {f'{row.side} {noun(row.name, 1)}'.strip()}"
    sex, possible = of_other_sex(row.name, case.patient), possible_hu(row.name)
    reason = next((o.reason for o in record.omissions if o.quantity == "median_hu" and NOT_POSSIBLE in o.reason), "")
    if sex:
        category, reason = f"{named} in a {_SEXES[case.patient.sex or '']} patient", sex
    elif reason and possible is not None and possible.high <= _GAS_MOST_HU:
        category = f"{named}, of an attenuation that gas cannot have"
    else:
        return finding
    return replace(
        finding,
        status=Status.INDETERMINATE,
        category=category,
        reason=reason,
        importance=min(finding.importance, importance(Urgency.DAYS)),
        attenuation="",
        assessments=(),
    )


def _unmeasured(case: Case) -> list[Finding]:
    """What masks label as a lesion and nobody can measure: open whether it is one, and never left out.

    The fluid of a structure is told as a whole, small areas included. What is below a ball of 6 mm in all, and nowhere
    a ball of 4 mm with one voxel more, may well be noise of the mask and stays out of the impression.
    """
    found, numbers = [], case.measurements
    for areas in numbers.unmeasured:
        row = structure(areas.structure)
        is_further = any(lesion.structure == row.name for lesion in numbers.lesions)
        if is_further and row.kind == "fluid" and row.name != "pleural_effusion":
            continue
        many = areas.count > 1
        what = f"{areas.count} {'further ' if is_further else ''}area{'s' if many else ''} of {areas.limit}"
        named = f"{row.side} {noun(row.name, 1)}".strip()
        largest = areas.regions[0]
        is_speck = largest.volume_ml * areas.count < _SPECK_ML
        is_speck &= largest.volume_ml * (largest.voxels + 1) / largest.voxels < _HINT_ML
        found.append(
            Finding(
                "?",
                row.name,
                Status.INDETERMINATE,
                row.parent or row.name,
                row.section,
                areas.regions,
                category=f"{what} {'are' if many else 'is'} labeled as {named}, not measured",
                reason="too small to be measured, which may be an error of the masks",
                importance=0.0 if is_speck else importance(case.rules.urgency_of(row.name)),
            )
        )
    return found


def _fluid(case: Case, record: StructureMeasurements, assessments: tuple[Assessment, ...]) -> Finding:
    row = structure(record.structure)
    largest = next(lesion for lesion in case.measurements.lesions if lesion.structure == record.structure)
    core = largest.measurement("core_mean_hu")  # attenuation of the largest pocket, away from its edge
    numbers = _headline_first([*record.measurements, *([core] if core is not None else [])])
    places = {x.locations for x in case.measurements.lesions if x.structure == record.structure and x.locations}
    return Finding(
        "?",
        row.name,
        Status.PRESENT,
        row.name,
        row.section,
        (record.region,),
        numbers,
        locations=places.pop() if len(places) == 1 and not row.side else (),
        reason=cut_reason(record.cut_by) if record.cut_by else "",
        importance=_importance(case, record),
        cut_by=record.cut_by,
        assessments=assessments,
    )


def _importance(case: Case, record: StructureMeasurements | LesionMeasurements) -> float:
    """By the urgency of the structure, then by the volume of a collection or the long axis of a lesion."""
    sizes = {m.quantity: m.value for m in record.measurements}
    ratio = sizes.get("volume", 0.0) / REFERENCE_VOLUME_ML
    if structure(record.structure).kind == "lesion":
        ratio = sizes.get("long_axis", 0.0) / REFERENCE_SIZE_MM
    return importance(case.rules.urgency_of(record.structure), ratio)


def _lesion(case: Case, lesion: LesionMeasurements, assessments: tuple[Assessment, ...]) -> Finding:
    row = structure(lesion.structure)
    phase = case.measurements.phase
    locations = lesion.locations
    if lesion.level and lesion.level not in locations and row.section in ("bones", "nodes", "peritoneum"):
        locations = (*locations, lesion.level)
    return Finding(
        "?",
        row.name,
        Status.PRESENT,
        site_of(lesion),
        row.section,
        (lesion.region,),
        _headline_first(lesion.measurements),
        locations=locations,
        category=lesion.attenuation,
        reason=cut_reason(lesion.cut_by) if lesion.cut_by else "",
        importance=_importance(case, lesion),
        host=lesion.host,
        pole=lesion.pole,
        level=lesion.level,
        attenuation=lesion.attenuation,
        cut_by=lesion.cut_by,
        phase=phase.name if phase is not None and phase.certain else "",
        assessments=assessments,
    )


def _absent_lesions(case: Case, survey: Survey) -> list[Finding]:
    """Lesions searched for and not found, said only where the place to find them was imaged."""
    found, numbers = [], case.measurements
    for name in numbers.absent:
        row = structure(name)
        if row.kind not in _LESION_KINDS:
            continue
        hosts = survey.hosts_of(name)
        if hosts and all(structure(h).sex not in ("", case.patient.sex) for h in hosts):
            continue  # nobody asks for a uterine lesion of a man
        seen = [record for record in map(numbers.structure, hosts) if record is not None]
        if hosts and not seen and any(h in numbers.absent for h in hosts):
            found.append(unassessed(name, row.parent or name, row.section, row.words, HOST_NOT_SEEN))
            continue
        particular = bool(row.parent) or len(hosts) <= 2  # lies in an organ, not somewhere in the body
        whole = bool(seen) and particular and not any(r.cut_by for r in seen)
        scope = "" if whole else "imaged part" if seen and particular else "imaged range"
        found.append(Finding("?", name, Status.ABSENT, row.parent or name, row.section, scope=scope))
    return found


@dataclass
class _Judgements:
    """Assessments by the region that they judge, and what could not be judged."""

    by_region: dict[str, list[Assessment]] = field(default_factory=dict)
    is_fracture_told: bool = False
    unjudged: list[Finding] = field(default_factory=list)

    def add(self, region_id: str, outcomes: Iterable[Outcome]) -> None:
        for outcome in outcomes:
            if isinstance(outcome, Assessment):
                self.by_region.setdefault(region_id, []).append(outcome)
            elif outcome is not None:
                self.unjudged.append(outcome)

    def take(self, region: Region) -> tuple[Assessment, ...]:
        """Those of one region, which then are no longer here."""
        return tuple(self.by_region.pop(region.id, ()))

    def left(self) -> list[Finding]:
        """Those of regions that are in no finding, such as the muscle at a level."""
        alone = [stand_alone(a) for held in self.by_region.values() for a in held]
        return sorted(alone, key=_rank)


def _rank(finding: Finding) -> int:
    return structure(finding.site).rank if finding.site else 0


def _judge(case: Case) -> _Judgements:
    """What every rule says of every organ and lesion."""
    outcomes: dict[str, list[tuple[str, Outcome]]] = {}
    for rule in sorted((r for r in case.rules.rules if r.enabled), key=lambda r: r.level != "pair"):
        if rule.level == "pair":
            outcomes.setdefault(rule.structures[0], []).append((rule.id, apply_pair_rule(rule, case)))
        elif rule.level == "structure":
            for name in rule.structures:
                outcomes.setdefault(name, []).append((rule.id, apply_structure_rule(rule, case, name)))
        elif rule.level == "lesion":
            for lesion in case.measurements.lesions:
                if lesion.structure in rule.structures:
                    said = (rule.id, apply_lesion_rule(rule, case, lesion))
                    outcomes.setdefault(lesion.region.id, []).append(said)
    _without_grade_of_little(case, outcomes)
    judged = _Judgements()
    for region_id, results in outcomes.items():
        judged.add(region_id, _without_alternatives(case.rules, results))
    judged.unjudged.sort(key=_rank)
    for lesion in case.measurements.lesions:
        judged.add(lesion.region.id, relations(lesion))
        judged.add(lesion.region.id, pancreas_outcomes(case, lesion))
    for record in vertebrae(case.measurements):
        loss = height_loss(case, record)
        judged.is_fracture_told |= loss is not None and bool(loss.headline)
        fractures = [x for x in case.measurements.lesions if (x.structure, x.level) == (_FRACTURE, record.structure)]
        if loss is not None and loss.headline and fractures:  # one fracture, told by its mask with its grade
            own = replace(loss, site=site_of(fractures[0]), regions=(fractures[0].region,), importance=0.0, headline="")
            judged.add(fractures[0].region.id, [own])
            loss = replace(loss, importance=0.0)
        judged.add(record.region.id, [loss])
    return judged


def _without_grade_of_little(case: Case, outcomes: dict[str, list[tuple[str, Outcome]]]) -> None:
    """Takes the grade by width from pericardial fluid that is no more than the usual amount of an adult.

    The grades are for fluid around the heart; so little fluid is wide in one pocket only.
    """
    name, age = "pericardial_effusion", case.patient.age_years
    record = case.measurements.structure(name)
    volume = None if record is None else record.measurement("volume")
    limit = next((r.classes[0].up_to for r in case.rules.rules if r.id == "pericardial_volume" and r.classes), None)
    if record is None or volume is None or limit is None or record.cut_by or (age is not None and age < _ADULT_YEARS):
        return
    if as_printed(volume) <= limit:
        reason = f"the grades are for fluid around the heart, and {limit:g} mL or less may lie in one pocket"
        outcomes[name] = [
            (i, unassessed(o.kind, name, o.section, "width class of pericardial fluid", reason))
            if isinstance(o, Assessment) and i == "pericardial_width"
            else (i, o)
            for i, o in outcomes.get(name, [])
        ]


def _without_alternatives(rules: Rules, results: list[tuple[str, Outcome]]) -> list[Assessment | Finding]:
    """Of a rule and its alternative, the one that gave a class.

    What one rule judged is not listed as "not assessed" because another rule on the same matter could not be applied;
    and an alternative is not listed beside a rule that has its number and waits for something.
    """
    gave = {rule_id: outcome.kind for rule_id, outcome in results if isinstance(outcome, Assessment)}
    alternatives = rules.alternatives()
    waiting = {rule_id for rule_id, outcome in results if isinstance(outcome, Finding) and outcome.measurements}
    fits = {r: isinstance(o, Finding) and not o.reason.startswith(OTHER_PHASE) for r, o in results if o is not None}
    both = [(one, other) for one, others in alternatives.items() for other in others if one in fits and other in fits]
    of_other_phase = {a for one, other in both for a, b in ((one, other), (other, one)) if fits[b] and not fits[a]}
    without_words = {rule_id for rule_id, outcome in results if outcome is None}
    of_other_phase |= {
        r for r, fit in fits.items() if not fit and not without_words.isdisjoint(alternatives.get(r, ()))
    }
    return [
        outcome
        for rule_id, outcome in _without_disagreement(results)
        if outcome is not None
        and not (isinstance(outcome, Finding) and rule_id in of_other_phase)
        and gave.keys().isdisjoint(alternatives.get(rule_id, ()))
        and not (isinstance(outcome, Finding) and not waiting.isdisjoint(alternatives.get(rule_id, ())))
        and not (isinstance(outcome, Finding) and outcome.kind in gave.values())
    ]


def _without_disagreement(results: list[tuple[str, Outcome]]) -> list[tuple[str, Outcome]]:
    """Where a comparison with another organ denies what the attenuation alone says, that is open and no headline."""
    denying = [
        o
        for _, o in results
        if isinstance(o, Assessment) and o.status is Status.ABSENT and o.measurement("difference_hu") is not None
    ]
    found: list[tuple[str, Outcome]] = []
    for rule_id, outcome in results:
        against = next((d for d in denying if isinstance(outcome, Assessment) and d.kind == outcome.kind), None)
        if isinstance(outcome, Assessment) and outcome.status is Status.PRESENT and against is not None:
            outcome = replace(
                outcome,
                status=Status.INDETERMINATE,
                category=f"{outcome.category}, but {against.category}, so that the criteria disagree",
                headline="",
                reason="the attenuation is in the range and the difference from the other organ is not",
                importance=0.0,
                reference=against.reference,
                possible=(),
            )
        found.append((rule_id, outcome))
    return found


def _not_searched(case: Case, survey: Survey, is_fracture_told: bool) -> list[Finding]:
    """Organs and lesions for which no mask was provided, and what this version does not measure."""
    numbers, found = case.measurements, []
    for organ in survey.organs:
        if not any(numbers.searched(name) for name in (organ.site, *organ.stand_ins)):
            found.append(unassessed("organ", organ.site, structure(organ.site).section, organ.words, NO_MASK))
    for lesion in survey.lesions:
        hosts = [h for h in lesion.hosts if numbers.structure(h) is not None]
        if not hosts or any(numbers.searched(m) for m in lesion.masks):
            continue
        partly = any(numbers.searched(m) for m in lesion.partial)
        section, words = structure(lesion.masks[0]).section, lesion.partly if partly else lesion.words
        is_looked_for = lesion.id == "urinary_stone" and dense_foci_looked_for(case)
        if (_FRACTURE in lesion.masks and is_fracture_told) or is_looked_for:
            words = lesion.partly
        found.append(unassessed(lesion.id, hosts[0], section, words, _NO_LESION_MASK))
    for item in case.rules.unmeasured:
        present = [name for name in item.when_present if numbers.structure(name) is not None]
        if present:
            found.append(unassessed(item.id, present[0], structure(present[0]).section, item.words, item.reason))
    return found

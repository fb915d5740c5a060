"""Vertebrae: loss of height by Genant's grades, and whether the labels follow one another.

A loss counts only when it is certain on this grid. One whose error reaches 20 percent is indeterminate, neither a
fracture nor a preserved height.
"""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

from radvlm.interpret.assess import SMALLEST_ORGAN_VOXELS, Case, judge, measured, not_assessed, reference
from radvlm.interpret.possible import Judged, judged
from radvlm.interpret.rules import Rule
from radvlm.types.anatomy import LEVELS, RARE_LEVELS, structure
from radvlm.types.finding import Assessment, Finding, Status
from radvlm.types.phrases import joined
from radvlm.types.scan_measurements import Measurements, StructureMeasurements
from radvlm.types.urgency import importance
from radvlm.wording.structure_names import level_runs

#: Losses in the order in which one names the deformity: a low back makes it a crush, whatever else is low.
DEFORMITIES = {
    "crush_loss": "crush deformity",
    "wedge_loss": "wedge deformity",
    "biconcave_loss": "biconcave deformity",
}
PRESERVED = "of preserved height"
#: Of a vertebra that is lower by less than the limit, which its error reaches: said of all such ones together.
DOUBTFUL = "below Genant grade 1, but within the measurement error of it"
#: Of one whose error is as large as its loss, or larger than its grade is wide while no loss at all is possible too.
UNGRADED = "of a height that cannot be graded on this grid"
#: Two labels with a gap between them are farther apart than this many times the usual step: room for the missing one.
_ROOM = 1.5


def vertebrae(measurements: Measurements) -> list[StructureMeasurements]:
    return [
        s
        for s in measurements.structures
        if s.structure.removeprefix("vertebrae_") in LEVELS
        and structure(s.structure).kind == "bone"
        and s.region.voxels >= SMALLEST_ORGAN_VOXELS
    ]


def spine_findings(case: Case) -> list[Finding]:
    """That no height can be told, and the faults of the labels."""
    measured_levels = vertebrae(case.measurements)
    return [*_too_coarse(case, measured_levels), *_unmeasured(case, measured_levels), *_numbering(measured_levels)]


def _too_coarse(case: Case, levels: list[StructureMeasurements]) -> list[Finding]:
    """One "not assessed" for all vertebrae of a grid on which no height can be told."""
    rule = case.rules.rule("vertebral_height_loss")
    reasons = [o.reason for s in levels for o in s.omissions if o.quantity == "wedge_loss" and "voxel" in o.reason]
    if not rule.enabled or not reasons:
        return []
    return [not_assessed(rule, "vertebrae", reasons[0], "height of the vertebrae")]


def _unmeasured(case: Case, levels: list[StructureMeasurements]) -> list[Finding]:
    """The vertebrae of which no height was measured, by reason; none is passed over in silence."""
    rule = case.rules.rule("vertebral_height_loss")
    by_reason: dict[str, list[str]] = {}
    for record in levels:
        if any(measured(record, q) is not None for q in DEFORMITIES):
            continue
        for omission in record.omissions:
            if omission.quantity == "wedge_loss" and "voxel" not in omission.reason:
                by_reason.setdefault(omission.reason, []).append(record.structure)
    if not rule.enabled:
        return []
    return [
        not_assessed(
            rule, "vertebrae", reason, f"height of {'vertebra' if len(sites) == 1 else 'vertebrae'} {level_runs(sites)}"
        )
        for reason, sites in by_reason.items()
    ]


def height_loss(case: Case, record: StructureMeasurements) -> Assessment | None:
    """Height loss of one vertebra; None where it was not measured."""
    rule = case.rules.rule("vertebral_height_loss")
    losses = {q: m for q in DEFORMITIES if (m := measured(record, q)) is not None}
    if not rule.enabled or not losses:
        return None
    worst = max(losses.values(), key=lambda m: m.value)
    crush = losses.get("crush_loss")
    lead = worst
    if crush is not None and judge(rule, case.patient, judged(crush)).outcome.category is not None:
        lead = crush
    name, number = record.structure, judged(worst)
    verdict = judge(rule, case.patient, replace(number, error=min(number.error, number.value)))
    outcome = verdict.outcome
    if outcome.category is None:
        return Assessment(
            "?", rule.finding, Status.ABSENT, name, "bones", (), (worst,), category=PRESERVED, rule=reference(rule)
        )
    lost = judge(rule, case.patient, replace(number, error=0.0)).outcome.category is not None
    doubtful = outcome.status == "indeterminate"
    words = f"{outcome.category}" if doubtful else f"{DEFORMITIES[lead.quantity]}, {outcome.category}"
    told = lost and not _is_wider_than_grade(rule, number)
    if not told:
        words = DOUBTFUL if not lost and number.least > 0 else UNGRADED
    return Assessment(
        "?",
        rule.finding,
        Status(outcome.status),
        name,
        "bones",
        (record.region,),
        tuple(sorted(losses.values(), key=lambda m: m is not worst)),
        category=words,
        rule=reference(rule),
        importance=importance(outcome.urgency, rule.ratio_to_limit(outcome, worst.value)) if told else 0.0,
        headline=f"{name.removeprefix('vertebrae_')} {words}" if told else "",
        reason=outcome.reason,
        possible=verdict.possible,
    )


def _is_wider_than_grade(rule: Rule, number: Judged) -> bool:
    """Whether the error is larger than the grade of the value is wide, while a height above all grades is possible."""
    classes = rule.classes_for(None)
    n = next(n for n, c in enumerate(classes) if c.holds(number.value))
    above, below = classes[n].limit, classes[n - 1].limit if n else None
    if above is None or below is None or classes[0].limit is None:
        return False
    return number.error > above - below and number.least < classes[0].limit


def _numbering(levels: list[StructureMeasurements]) -> list[Finding]:
    """Rare levels, labels out of order, labels left out: said, because every level named elsewhere rests on them."""
    by_level = {s.structure.removeprefix("vertebrae_"): s for s in levels}
    order = [level for level in LEVELS if level in by_level]
    found = [
        _fault((by_level[level],), f"{level} labeled, a rare variant or an error of the labels")
        for level in RARE_LEVELS
        if level in by_level
    ]
    heights = {level: by_level[level].region.centroid_mm[2] for level in order}
    for upper, lower in pairwise(order):
        if heights[upper] < heights[lower]:
            found.append(_fault((by_level[upper], by_level[lower]), f"labels out of order, {lower} lies above {upper}"))
            continue
        skipped = [n for n in LEVELS[LEVELS.index(upper) + 1 : LEVELS.index(lower)] if n not in RARE_LEVELS]
        if skipped:
            step = _usual_step(heights, order, upper, lower)
            apart = heights[upper] - heights[lower]
            room = not step or apart > _ROOM * step
            what = "not labeled" if room else "left out, with no room for it"
            words = f"{joined(skipped)} {what} between {upper} and {lower}"
            found.append(_fault((by_level[upper], by_level[lower]), words))
    return found


def _usual_step(heights: dict[str, float], order: list[str], upper: str, lower: str) -> float | None:
    """Median distance of neighboring vertebrae, the pair in question left out; None without another pair."""
    steps = sorted(
        heights[a] - heights[b]
        for a, b in pairwise(order)
        if (a, b) != (upper, lower) and LEVELS.index(b) - LEVELS.index(a) == 1
    )
    return steps[len(steps) // 2] if steps else None


def _fault(records: tuple[StructureMeasurements, ...], words: str) -> Finding:
    return Finding(
        "?",
        "vertebral_numbering",
        Status.PRESENT,
        "vertebrae",
        "bones",
        tuple(r.region for r in records),
        category=words,
    )

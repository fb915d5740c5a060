"""The grounding metric of the evaluation table: what ``ground_case`` finds in one case, as scores with their sums.

What is undefined for a case still adds its sums to the corpus where it can (a case without localized findings
says nothing of Dice, but its denials count in logical precision). Which regions were compared, masks or bounding boxes,
is part of the signature: the two do not compare.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from radvlm.errors import InputError
from radvlm.evaluate.metric import Output
from radvlm.evaluate.metrics.grounding_case import UNITS, CaseGrounding, GroundedReport, GroundingRules, ground_case
from radvlm.evaluate.metrics.measurement_error import UNIT_NAMES
from radvlm.evaluate.metrics.overlap import MaskOf, RegionMasks
from radvlm.evaluate.score import Score
from radvlm.evaluate.statistics.resampling import mean_of_sums, share
from radvlm.report_reader.report_text import ReportText
from radvlm.types.geometry import Box
from radvlm.types.region import Region
from radvlm.version import __version__

if TYPE_CHECKING:
    from radvlm.types.region_map import RegionMap
    from radvlm.types.report import Report

_RULES = GroundingRules()


def masks_by_report(
    sources: Iterable[tuple[Report, RegionMap | MaskOf | RegionMasks]],
) -> Callable[[ReportText], RegionMasks | None]:
    """For ``GroundingMetric(masks=...)``: the masks of each of these very report objects."""
    kept = [(report, RegionMasks.of(source)) for report, source in sources]
    by_identity = {id(report): masks for report, masks in kept}

    def find(text: ReportText) -> RegionMasks | None:
        return by_identity.get(id(text.report)) if kept else None

    return find


class GroundingMetric:
    """Grounding in the evaluation table: ``metrics=["grounding"]``, ``["grounding:sentence"]`` or an object with masks.

    Args:
        unit: ``finding`` or ``sentence``.
        masks: from a case to its masks, called for the reference and the candidate (``masks_by_report`` makes one from
            reports and their RegionMaps). None: bounding boxes stand in for masks, and the signature says so.
        rules: thresholds.

    Both reports must be structured; a case without is undefined. Masks that are missing for a report with regions are a
    failed case.
    """

    def __init__(
        self,
        unit: str = "finding",
        masks: Callable[[ReportText], RegionMap | RegionMasks | None] | None = None,
        rules: GroundingRules = _RULES,
    ) -> None:
        if unit not in UNITS:
            raise InputError("grounding is by " + " or ".join(UNITS), repr(unit))
        self.unit, self.rules, self._masks = unit, rules, masks
        self.name = "grounding" if unit == "finding" else "grounding-sentence"
        self.signature = (
            f"grounding|unit:{unit}|regions:{'boxes' if masks is None else 'masks'}|"
            f"overlap:{rules.overlap}|instance:{rules.instance_threshold:g}|"
            f"spatial:{rules.spatial_threshold:g}|ignored:{'+'.join(rules.ignored_kinds)}|"
            f"statuses:{'+'.join(rules.statuses)}|"
            f"radvlm:{__version__}"
        )
        self.outputs = _outputs()

    def score_case(self, reference: ReportText, candidate: ReportText) -> Mapping[str, Score]:
        keys = dict.fromkeys(output.name for output in self.outputs)
        for name, text in (("reference", reference), ("candidate", candidate)):
            if text.report is None:
                return dict.fromkeys(keys, Score.undefined(f"the {name} is text without a structured report"))
        grounded = [self._grounded(text) for text in (reference, candidate)]
        if any(g is None for g in grounded):
            return dict.fromkeys(keys, Score.failure("masks were not given for a report that has regions"))
        return case_scores(ground_case(grounded[0], grounded[1], self.unit, self.rules))  # type: ignore[arg-type]

    def _grounded(self, text: ReportText) -> GroundedReport | None:
        report = text.report
        assert report is not None
        if self._masks is None:
            return GroundedReport.of(report)
        source = self._masks(text)
        if source is None:
            return None if any(f.regions for f in report.findings) else GroundedReport.of(report, _no_masks)
        return GroundedReport.of(report, source)


def _no_masks(region: Region) -> tuple[Box, np.ndarray]:
    raise InputError("a region has a mask", region.id)


def _f1(sums: np.ndarray, part: str) -> np.ndarray:
    """From (..., 4): hits and size of the candidate's side, hits and size of the reference's; harmonic mean.

    With one-to-one pairs it is 2 hits / (candidate + reference).
    """
    top = {"precision": sums[..., 0], "recall": sums[..., 2], "f1": sums[..., 0] + sums[..., 2]}[part]
    bottom = {"precision": sums[..., 1], "recall": sums[..., 3], "f1": sums[..., 1] + sums[..., 3]}[part]
    return share(top, bottom)


def _outputs() -> tuple[Output, ...]:
    def ratio(name: str, better: bool | None, perfect: float | None, headline: bool, text: str) -> Output:
        return Output(name, better, aggregate=mean_of_sums, perfect=perfect, headline=headline, description=text)

    rows = [
        ratio("dice", True, 1.0, True, "mean Dice of matched statements localized on both sides"),
        ratio("iou", True, 1.0, False, "mean IoU of the same"),
        ratio("distance-mm", False, 0.0, False, "mean distance of their centers of mass, mm"),
        ratio("hit-rate", True, 1.0, True, "localized statements of the reference in which the candidate points"),
        ratio(
            "not-localised",
            False,
            0.0,
            False,
            "matched statements that the reference localizes and the candidate does not",
        ),
        ratio("grounding-precision", True, 1.0, False, "matched and localized statements that agree in place"),
    ]
    for key, text in (
        ("logical", "statements matched, place aside"),
        ("spatial", "localized statements matched that agree in place"),
        ("instance", "regions of one structure that overlap"),
    ):
        rows += [
            Output(
                f"{key}-{part}",
                aggregate=partial(_f1, part=part),
                headline=part == "f1",
                description=f"{part} of {text}",
            )
            for part in ("precision", "recall", "f1")
        ]
    for unit, name in UNIT_NAMES.items():
        rows.append(ratio(f"{name}-error", False, 0.0, unit == "mm", f"mean absolute error of stated {unit}"))
        rows.append(ratio(f"{name}-bias", None, 0.0, False, f"mean signed error of stated {unit}"))
    return tuple(rows)


def case_scores(case: CaseGrounding) -> dict[str, Score]:
    """Scores with their sums, by output of ``GroundingMetric``."""
    both = [p for p in case.matched if p.dice is not None]
    far = [p.distance_mm for p in case.matched if p.distance_mm is not None]
    shown = [p for p in case.pairs if p.reference and p.reference.regions]
    judged = [
        p for p in case.pairs if p.candidate and p.candidate.regions and (p.reference is None or p.reference.regions)
    ]
    paired = [p for p in shown if p.candidate]
    agreed = sum(bool(p.agrees) for p in both)
    where = case.no_place
    out = {
        "dice": _mean([p.dice or 0.0 for p in both], where or "no matched statement is localized on both sides"),
        "iou": _mean([p.iou or 0.0 for p in both], where or "no matched statement is localized on both sides"),
        "distance-mm": _mean([d for d in far if d is not None], "no matched statement is localized on both sides"),
        "hit-rate": _part(sum(bool(p.hit) for p in shown), len(shown), "the reference localizes nothing", where),
        "not-localised": _part(
            sum(not p.candidate.regions for p in paired if p.candidate),
            len(paired),
            "no matched statement is localized in the reference",
        ),
        "grounding-precision": _part(agreed, len(both), "no matched statement is localized on both sides", where),
    }
    matched = len(case.matched)
    tp, fp, fn = case.instances
    tables = {
        "logical": (
            matched,
            sum(p.candidate is not None for p in case.pairs),
            matched,
            sum(p.reference is not None for p in case.pairs),
            "",
        ),
        "spatial": (agreed, len(judged), agreed, len(shown), where),
        "instance": (tp, tp + fp, tp, tp + fn, where),
    }
    for key, (*sums, reason) in tables.items():
        for part in ("precision", "recall", "f1"):
            out[f"{key}-{part}"] = _table_score(tuple(float(s) for s in sums), part, str(reason))
    for unit, name in UNIT_NAMES.items():
        errors = [e for e in case.errors if e.unit == unit]
        none = f"no size in {unit} is stated by both of a matched pair"
        out[f"{name}-error"] = _mean([abs(e.error) for e in errors], none)
        out[f"{name}-bias"] = _mean([e.error for e in errors], none)
    return out


def _mean(values: Sequence[float], none: str) -> Score:
    if not values:
        return Score.undefined(none)
    total = float(sum(values))
    return Score(total / len(values), n=len(values), stats=(total, float(len(values))))


def _part(part: int, whole: int, none: str, unknown: str = "") -> Score:
    if unknown or not whole:
        return Score.undefined(unknown or none)
    return Score(part / whole, n=whole, stats=(float(part), float(whole)))


def _table_score(sums: tuple[float, ...], part: str, unknown: str) -> Score:
    if unknown:
        return Score.undefined(unknown)
    value = float(_f1(np.array(sums), part))
    if not np.isfinite(value):
        return Score.undefined("no such statement on that side", stats=sums)
    return Score(value, n=int(sums[1] + sums[3]), stats=sums)

"""``evaluate``: references and systems in, a table out.

Trivial baselines are scored beside the systems unless they are switched off, and a case on which a metric
crashes is a failed record with its reason, counted in the table, not an aborted run and never a zero.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from radvlm.errors import InputError
from radvlm.evaluate.baselines import baselines as trivial_systems
from radvlm.evaluate.baselines import collapse
from radvlm.evaluate.inputs import pair
from radvlm.evaluate.metric import BatchMetric, FittedMetric, Metric
from radvlm.evaluate.registry import DEFAULT_METRICS, make_metrics
from radvlm.evaluate.results.journal import Journal
from radvlm.evaluate.results.table import CaseRecord, EvaluationTable, MetricInfo, System, summarize
from radvlm.evaluate.score import Score
from radvlm.evaluate.statistics.resampling import Statistics
from radvlm.report_reader.report_text import ReportText, Section

SECTIONS = ("all", "findings", "impression")
#: Cases handed to a slow metric at a time; what is lost when a run is killed.
_CHUNK = 32
_NO_CANDIDATE = "the system has no report for this case"


@dataclass(frozen=True)
class EvaluationOptions:
    """What is scored and how.

    Attributes:
        section: score all of each report, or its ``findings`` or ``impression`` alone. A reference without that section
            is undefined and counted; a candidate without it said nothing.
        baselines: score the trivial systems too.
        statistics: of intervals and tests.
        patient_ids: case id -> patient, for resampling by patient; overrides those of the reports.
        allow_missing: count references without a candidate as failed instead of refusing them.
    """

    section: str = "all"
    baselines: bool = True
    statistics: Statistics = field(default_factory=Statistics)
    patient_ids: Mapping[str, str] | None = None
    allow_missing: bool = False

    def __post_init__(self) -> None:
        if self.section not in SECTIONS:
            raise InputError("a section to score is " + ", ".join(SECTIONS), repr(self.section))


def evaluate(
    references: Sequence[Any] | Mapping[str, Any],
    candidates: Sequence[Any] | Mapping[str, Any],
    metrics: Sequence[str | Metric] = DEFAULT_METRICS,
    options: EvaluationOptions | None = None,
    *,
    journal: str | Path | None = None,
    progress: Callable[[str], None] | None = None,
) -> EvaluationTable:
    """Score one or several systems against references.

    Args:
        references: reports in a sequence, or by id. A report is a string, a mapping of section to text, a radvlm Report
            or a ReportText.
        candidates: the reports of one system (called ``candidate``) in the same form, or system name -> such reports.
            Sequences without ids are paired by position, everything else by id.
        metrics: names (``radvlm.evaluate.registry.METRICS``) or metric objects.
        options: section, trivial systems, statistics, patients, missing reports.
        journal: file that keeps the scores of slow metrics; a second run goes on from there.
        progress: called with one line before each step.

    Raises InputError when ids do not match, repeat, or an argument breaks a rule.
    """
    options = options or EvaluationOptions()
    section = options.section
    say = progress or (lambda _: None)
    made = make_metrics(metrics)
    refs = sorted(_with_patients(_texts(references, "references"), options.patient_ids), key=lambda r: r.id)
    if not refs:
        raise InputError("there is at least one reference", "none")
    systems = {
        name: pair(refs, _texts(reports, name), name, options.allow_missing)
        for name, reports in _systems(references, candidates).items()
    }
    notes = [
        f"{name}: {missing} of {len(refs)} cases have no report and count as failed"
        for name, reports in systems.items()
        if (missing := sum(r is None for r in reports))
    ]
    whole = refs
    if section != "all":
        refs = [_restricted(r, section) for r in whole]
        if not any(r.text for r in refs):
            raise InputError(f"a reference has a section {section!r}", "none has")
        systems = {name: [r and _restricted(r, section) for r in reports] for name, reports in systems.items()}
    scored = [r for r in refs if r.text.strip()]
    fitted = [m.fit(scored) if isinstance(m, FittedMetric) else m for m in made]
    book = Journal(journal) if journal else None
    rows: list[System] = []
    for name, reports in systems.items():
        say(f"Scoring {name}")
        rows.append(_system(name, refs, reports, fitted, book))
    if options.baselines:
        for baseline in trivial_systems(whole):
            if baseline.name in systems:
                raise InputError("a system is not called like a baseline", repr(baseline.name))
            copies: list[ReportText | None] = [
                r if section == "all" else _restricted(r, section) for r in baseline.reports
            ]
            say(f"Scoring the baseline {baseline.name}")
            rows.append(_system(baseline.name, refs, copies, fitted, None, "baseline", baseline.description))
        if any(_is_slow(m) for m in made):
            notes.append("Baselines are not scored by slow metrics: " + ", ".join(m.name for m in made if _is_slow(m)))
    say("Intervals and tests")
    estimates, comparisons = summarize(rows, fitted, options.statistics)
    return EvaluationTable(
        tuple(rows),
        tuple(MetricInfo(m.name, m.signature, m.outputs) for m in fitted),
        estimates,
        comparisons,
        options.statistics,
        section,
        collapse([r.text for r in scored]),
        tuple(notes),
    )


def _systems(references: Any, candidates: Any) -> dict[str, Any]:
    """System name -> reports; one system is called ``candidate``."""
    if not isinstance(candidates, Mapping):
        systems: dict[str, Any] = {"candidate": candidates}
    elif all(isinstance(v, Sequence) and not isinstance(v, str) for v in candidates.values()):
        systems = dict(candidates)
    elif isinstance(references, Mapping) and set(candidates) & set(references):
        systems = {"candidate": candidates}
    elif all(isinstance(v, Mapping) for v in candidates.values()):
        systems = dict(candidates)
    else:
        raise InputError(
            "candidates are reports, or system name -> reports",
            ", ".join(map(repr, list(candidates)[:5])),
            "Give references and candidates both in a sequence or both by id",
        )
    if not systems:
        raise InputError("there is at least one system", "none")
    for name, reports in systems.items():
        if not isinstance(reports, Mapping) and not isinstance(references, Mapping) and len(reports) != len(references):
            if any(isinstance(r, ReportText) for r in (*reports, *references)):
                continue  # paired by id; the message there names the cases
            raise InputError(
                "references and candidates paired by position are equally many",
                f"{len(references)} and {name}: {len(reports)}",
            )
    return systems


def _texts(reports: Sequence[Any] | Mapping[str, Any], name: str) -> list[ReportText]:
    if isinstance(reports, str):
        raise InputError("reports come in a sequence or by id", f"{name}: one string")
    if isinstance(reports, Mapping):
        return [ReportText.of(str(id), value, source=f"{name} {id}") for id, value in reports.items()]
    width = len(str(len(reports)))
    return [ReportText.of(f"{n:0{width}d}", value, source=f"{name} number {n}") for n, value in enumerate(reports, 1)]


def _with_patients(reports: list[ReportText], patient_ids: Mapping[str, str] | None) -> list[ReportText]:
    for report in reports:
        if not report.text.strip():
            raise InputError("a reference has words", f"{report.source or report.id}: id {report.id!r} is empty")
    if patient_ids is None:
        return reports
    without = [r.id for r in reports if r.id not in patient_ids]
    if without:
        raise InputError("patient_ids has every case", f"{len(without)} missing, first {without[0]!r}")
    return [ReportText(r.id, r.text, str(patient_ids[r.id]), r.sections, r.report, r.source) for r in reports]


def _restricted(report: ReportText, section: str) -> ReportText:
    """The same case with the text of one section; empty when it has none."""
    text = report.section(section) or ""
    return ReportText(
        report.id, text, report.patient_id, (Section(section, 0, len(text)),) if text else (), source=report.source
    )


def _is_slow(metric: Metric) -> bool:
    return bool(getattr(metric, "slow", False))


def _system(
    name: str,
    refs: Sequence[ReportText],
    reports: Sequence[ReportText | None],
    metrics: Sequence[Metric],
    journal: Journal | None,
    kind: str = "system",
    description: str = "",
) -> System:
    columns = {m.name: _scores(m, refs, reports, journal, skip=kind == "baseline" and _is_slow(m)) for m in metrics}
    records = tuple(
        CaseRecord(reference, candidate, {metric: column[i] for metric, column in columns.items()})
        for i, (reference, candidate) in enumerate(zip(refs, reports, strict=True))
    )
    return System(name, records, kind, description, collapse([r.text for r in reports if r is not None]))


def _scores(
    metric: Metric,
    refs: Sequence[ReportText],
    reports: Sequence[ReportText | None],
    journal: Journal | None,
    skip: bool,
) -> list[Mapping[str, Score]]:
    keys = {o.case_key for o in metric.outputs}

    def all_of(score: Score) -> dict[str, Score]:
        return dict.fromkeys(keys, score)

    out: list[Mapping[str, Score] | None] = [None] * len(refs)
    todo: list[int] = []
    for i, (reference, candidate) in enumerate(zip(refs, reports, strict=True)):
        if skip:
            out[i] = all_of(Score.undefined("slow metrics are not computed for baselines"))
        elif not reference.text.strip():
            out[i] = all_of(Score.undefined("the reference has no such section"))
        elif candidate is None:
            out[i] = all_of(Score.failure(_NO_CANDIDATE))
        elif journal is not None and _is_slow(metric):
            out[i] = journal.get(journal.key(metric, reference, candidate))
        if out[i] is None:
            todo.append(i)
    # a metric that runs its own queue says ``chunk = None`` and gets every case at once
    wanted = getattr(metric, "chunk", _CHUNK) if _is_slow(metric) else None
    size = wanted or max(len(todo), 1)
    for start in range(0, len(todo), size):
        chunk = todo[start : start + size]
        cases = [(refs[i], reports[i]) for i in chunk]
        for i, scores in zip(chunk, _score_chunk(metric, cases, all_of), strict=True):
            missing = keys - set(scores)
            if missing:
                raise InputError("a metric gives every case key of its outputs", f"{metric.name}: no {sorted(missing)}")
            out[i] = scores
            if journal is not None and _is_slow(metric):
                journal.put(journal.key(metric, refs[i], reports[i] or refs[i]), scores)
    return [scores for scores in out if scores is not None]


def _score_chunk(
    metric: Metric, cases: Sequence[tuple[ReportText, Any]], all_of: Callable[[Score], dict[str, Score]]
) -> list[Mapping[str, Score]]:
    if isinstance(metric, BatchMetric):
        return list(metric.score_cases([r for r, _ in cases], [c for _, c in cases]))
    out: list[Mapping[str, Score]] = []
    for reference, candidate in cases:
        try:
            out.append(metric.score_case(reference, candidate))
        except Exception as error:  # noqa: BLE001 - a crashed case is a record; the table counts it
            out.append(all_of(Score.failure(f"{type(error).__name__}: {error}")))
    return out

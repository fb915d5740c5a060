"""The result of an evaluation: per-case records, values with intervals, tests, and how they are written.

The table is a pure function of the records (``summarize``). Cases are sorted by id before anything is summed,
so their order changes nothing, not even the last digit.
"""

from __future__ import annotations

import itertools
import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np

from radvlm.errors import InputError
from radvlm.evaluate.baselines import Collapse
from radvlm.evaluate.metric import Metric, Output
from radvlm.evaluate.score import Mark, Score
from radvlm.evaluate.statistics.resampling import (
    Aggregate,
    Statistics,
    bootstrap_weights,
    holm,
    interval,
    mean_of_sums,
    permutation_p_values,
    sum_by_cluster,
)
from radvlm.files.atomic import utc_now
from radvlm.report_reader.report_text import ReportText
from radvlm.types.report import NOTICE
from radvlm.version import __version__

SCHEMA_VERSION = "1.0"
#: What a system is.
KINDS = ("system", "baseline")


@dataclass(frozen=True)
class CaseRecord:
    """One case of one system: the two texts, and the scores of every metric by case key."""

    reference: ReportText
    candidate: ReportText | None
    scores: Mapping[str, Mapping[str, Score]]

    @property
    def id(self) -> str:
        return self.reference.id

    @property
    def marks(self) -> tuple[Mark, ...]:
        """Marks of all metrics, each once."""
        return tuple(dict.fromkeys(m for scores in self.scores.values() for s in scores.values() for m in s.marks))

    def to_dict(self) -> dict[str, Any]:
        """JSON form, without the texts."""
        out: dict[str, Any] = {"id": self.id, "patient_id": self.reference.patient_id}
        out["scores"] = {
            metric: {key: score.to_dict() for key, score in scores.items()} for metric, scores in self.scores.items()
        }
        if self.marks:
            out["marks"] = [asdict(mark) for mark in self.marks]
        return out


@dataclass(frozen=True)
class System:
    """The records of one system or baseline, sorted by id."""

    name: str
    records: tuple[CaseRecord, ...]
    kind: str = "system"
    description: str = ""
    collapse: Collapse | None = None


@dataclass(frozen=True)
class Estimate:
    """One number of the table.

    Attributes:
        value: None when undefined, with the most frequent reason.
        low, high: confidence interval; None with ``no_interval`` as the reason.
        n: cases that it is made from; undefined and failed cases are the others.
    """

    system: str
    metric: str
    output: str
    value: float | None
    low: float | None
    high: float | None
    n: int
    undefined: int
    failed: int
    reason: str = ""
    no_interval: str = ""


@dataclass(frozen=True)
class Comparison:
    """A paired test of two systems on one output, over the cases that both have.

    ``p_holm`` is adjusted within its family: all tests between systems, or all tests against baselines.
    """

    first: str
    second: str
    metric: str
    output: str
    difference: float | None
    low: float | None
    high: float | None
    p: float | None
    p_holm: float | None
    n: int
    patients: int


@dataclass(frozen=True)
class MetricInfo:
    """Name, signature and outputs of a metric in the table."""

    name: str
    signature: str
    outputs: tuple[Output, ...]


@dataclass(frozen=True)
class EvaluationTable:
    """Everything that an evaluation found; ``radvlm.evaluate.save`` writes it.

    Attributes:
        systems: systems first, then baselines.
        metrics: with their signatures.
        estimates: one for each system and output.
        comparisons: of headline outputs.
        statistics: how intervals and tests were made.
        section: ``all``, ``findings`` or ``impression``.
        reference_collapse: the same measure for the references, to compare with.
        notes: what a reader should know (missing cases, metrics left out).
    """

    systems: tuple[System, ...]
    metrics: tuple[MetricInfo, ...]
    estimates: tuple[Estimate, ...]
    comparisons: tuple[Comparison, ...]
    statistics: Statistics
    section: str = "all"
    reference_collapse: Collapse | None = None
    notes: tuple[str, ...] = ()
    created: str = field(default_factory=lambda: utc_now()[:10])

    @property
    def cases(self) -> int:
        return len(self.systems[0].records)

    @property
    def patients(self) -> int:
        return len({r.reference.patient for r in self.systems[0].records})

    def system(self, name: str) -> System:
        for system in self.systems:
            if system.name == name:
                return system
        raise InputError("a system of the table", repr(name), "It has " + ", ".join(s.name for s in self.systems))

    def estimate(self, system: str, metric: str, output: str) -> Estimate:
        """One number; InputError when the table has no such."""
        for e in self.estimates:
            if (e.system, e.metric, e.output) == (system, metric, output):
                return e
        raise InputError("a system, metric and output of the table", f"{system}, {metric}, {output}")

    def value(self, system: str, metric: str, output: str) -> float | None:
        return self.estimate(system, metric, output).value

    def to_dict(self) -> dict[str, Any]:
        """The summary, JSON-ready."""
        return {
            "schema_version": SCHEMA_VERSION,
            "notice": NOTICE,
            "radvlm": __version__,
            "date": self.created,
            "cases": self.cases,
            "patients": self.patients,
            "section": self.section,
            "statistics": asdict(self.statistics),
            "notes": list(self.notes),
            "metrics": [
                {
                    "name": m.name,
                    "signature": m.signature,
                    "outputs": [
                        {
                            "name": o.name,
                            "higher_is_better": o.higher_is_better,
                            "headline": o.headline,
                            "signature": o.signature or m.signature,
                            "description": o.description,
                        }
                        for o in m.outputs
                    ],
                }
                for m in self.metrics
            ],
            "systems": [
                {
                    "name": s.name,
                    "kind": s.kind,
                    "description": s.description,
                    "collapse": s.collapse.to_dict() if s.collapse else None,
                }
                for s in self.systems
            ],
            "reference_collapse": self.reference_collapse.to_dict() if self.reference_collapse else None,
            "values": [asdict(e) for e in self.estimates],
            "comparisons": [asdict(c) for c in self.comparisons],
        }

    def to_json(self) -> str:
        return json.dumps(self.to_dict(), indent=2, ensure_ascii=False)


def summarize(
    systems: Sequence[System], metrics: Sequence[Metric], statistics: Statistics
) -> tuple[tuple[Estimate, ...], tuple[Comparison, ...]]:
    """Values with intervals, and tests, from the records alone."""
    records = systems[0].records if systems else ()
    names, cluster = np.unique([r.reference.patient for r in records], return_inverse=True)
    weights = bootstrap_weights(len(names), statistics) if len(names) else np.zeros((0, 0))
    stored: dict[tuple[str, str, str], _Column] = {}
    estimates = []
    for system, metric in itertools.product(systems, metrics):
        for output in metric.outputs:
            column = _Column.of(system, metric, output)
            stored[system.name, metric.name, output.name] = column
            estimates.append(_estimate(column, cluster, weights, statistics))
    pairs = _pairs(systems)
    comparisons = (
        []
        if not statistics.permutations
        else [c for family in pairs for c in _family(family, metrics, stored, cluster, weights, statistics)]
    )
    return tuple(estimates), tuple(comparisons)


@dataclass(frozen=True)
class _Column:
    """Stored sums of one output of one system: ``rows`` (cases, K), zero where a case does not count."""

    key: tuple[str, str, str]
    rows: np.ndarray
    counted: np.ndarray
    failed: np.ndarray
    reasons: tuple[str, ...]
    aggregate: Aggregate

    @classmethod
    def of(cls, system: System, metric: Metric, output: Output) -> _Column:
        scores = [r.scores[metric.name][output.case_key] for r in system.records]
        if output.aggregate is None:
            rows = np.array([(0.0, 0.0) if s.value is None else (s.value, 1.0) for s in scores]).reshape(-1, 2)
            counted = rows[:, 1] > 0
        else:
            width = max((len(s.stats) for s in scores), default=0) or 1
            if any(s.stats and len(s.stats) != width for s in scores):
                raise InputError("the stats of an output have one length", f"{metric.name}/{output.case_key}")
            rows = np.array([s.stats or (0.0,) * width for s in scores]).reshape(-1, width)
            counted = np.array([bool(s.stats) for s in scores], dtype=bool)
        return cls(
            (system.name, metric.name, output.name),
            rows,
            counted,
            np.array([s.failed for s in scores], dtype=bool),
            tuple(s.reason for s in scores),
            output.aggregate or mean_of_sums,
        )


def _estimate(column: _Column, cluster: np.ndarray, weights: np.ndarray, statistics: Statistics) -> Estimate:
    n, failed = int(column.counted.sum()), int(column.failed.sum())
    undefined = len(column.counted) - n - failed
    reasons = Counter(r for r, counted in zip(column.reasons, column.counted, strict=True) if r and not counted)
    reason = reasons.most_common(1)[0][0] if reasons else ""
    if not n:
        return Estimate(*column.key, None, None, None, 0, undefined, failed, reason or "no cases", "no value")
    sums = sum_by_cluster(column.rows, cluster, weights.shape[1])
    present = sum_by_cluster(column.counted[:, None].astype(float), cluster, weights.shape[1])[:, 0] > 0
    value = float(column.aggregate(column.rows.sum(axis=0)[None])[0])
    if not np.isfinite(value):
        return Estimate(
            *column.key, None, None, None, n, undefined, failed, reason or "not defined on these cases", "no value"
        )
    if not present.all():
        sums, weights = sums[present], weights[:, present]
    ends = interval(sums, column.aggregate, weights, statistics)
    return Estimate(*column.key, value, ends.low, ends.high, n, undefined, failed, reason, ends.reason)


def _pairs(systems: Sequence[System]) -> tuple[list[tuple[System, System]], list[tuple[System, System]]]:
    real = [s for s in systems if s.kind == "system"]
    trivial = [s for s in systems if s.kind == "baseline"]
    return list(itertools.combinations(real, 2)), list(itertools.product(real, trivial))


def _family(
    pairs: Sequence[tuple[System, System]],
    metrics: Sequence[Metric],
    stored: Mapping[tuple[str, str, str], _Column],
    cluster: np.ndarray,
    weights: np.ndarray,
    statistics: Statistics,
) -> list[Comparison]:
    found: list[Comparison] = []
    for a, b in pairs:
        outputs = [(m, o) for m in metrics for o in m.outputs if o.headline and o.higher_is_better is not None]
        columns = [(stored[a.name, m.name, o.name], stored[b.name, m.name, o.name]) for m, o in outputs]
        usable = [(x, y, x.counted & y.counted) for x, y in columns]
        usable = [(x, y, both) for x, y, both in usable if both.any() and x.rows.shape == y.rows.shape]
        clusters = weights.shape[1]
        first = [sum_by_cluster(x.rows * both[:, None], cluster, clusters) for x, _, both in usable]
        second = [sum_by_cluster(y.rows * both[:, None], cluster, clusters) for _, y, both in usable]
        results = permutation_p_values(first, second, [x.aggregate for x, _, _ in usable], statistics)
        for (x, _, both), p, q, (difference, p_value) in zip(usable, first, second, results, strict=True):
            low, high = _difference_interval(p, q, x.aggregate, weights, statistics)
            found.append(
                Comparison(
                    a.name,
                    b.name,
                    *x.key[1:],
                    difference,
                    low,
                    high,
                    p_value,
                    None,
                    int(both.sum()),
                    len(set(cluster[both].tolist())),
                )
            )
    adjusted = holm({str(i): c.p for i, c in enumerate(found) if c.p is not None})
    return [Comparison(**{**asdict(c), "p_holm": adjusted.get(str(i))}) for i, c in enumerate(found)]


def _difference_interval(
    first: np.ndarray, second: np.ndarray, aggregate: Aggregate, weights: np.ndarray, statistics: Statistics
) -> tuple[float | None, float | None]:
    """Percentile interval of the paired difference."""
    both = np.concatenate([first, second], axis=1)
    width = first.shape[1]
    plain = Statistics(statistics.bootstraps, 0, statistics.confidence, "percentile", statistics.seed)
    ends = interval(both, lambda s: aggregate(s[..., :width]) - aggregate(s[..., width:]), weights, plain)
    return ends.low, ends.high


def compare_systems(table: EvaluationTable, first: str, second: str) -> tuple[Comparison, ...]:
    """The tests of two systems in a table, in its order; InputError when they were not compared."""
    found = tuple(c for c in table.comparisons if {c.first, c.second} == {first, second})
    if not found:
        raise InputError(
            "two systems of the table that were compared",
            f"{first}, {second}",
            "Baselines are compared with every system; permutations must not be 0",
        )
    return found

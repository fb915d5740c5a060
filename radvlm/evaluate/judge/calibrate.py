"""How far a metric or a judge agrees with radiologists: Kendall's tau-b, Pearson's r and mean absolute error.

Next to each number stands the same number for the radiologists themselves, each against the others, because an
error of 0.6 counts means nothing until one knows that radiologists differ by 0.7. Intervals are a bootstrap over
studies, and failed cases are left out and counted.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from radvlm.evaluate.judge.rated_sets import COUNTS, RatedSet
from radvlm.evaluate.metric import BatchMetric, Metric
from radvlm.evaluate.score import Score
from radvlm.evaluate.statistics.resampling import Statistics, bootstrap_weights
from radvlm.report_reader.report_text import ReportText
from radvlm.version import __version__

#: Fewer studies than this give no interval; replicates where a value is undefined are left out up to this share.
MIN_STUDIES, MAX_UNDEFINED = 5, 0.05
PERCENTILE = Statistics(bootstraps=2000, permutations=0, interval="percentile")


@dataclass(frozen=True)
class Value:
    """A number with a percentile interval; None where undefined."""

    value: float | None
    low: float | None = None
    high: float | None = None


@dataclass(frozen=True)
class Agreement:
    """Agreement of one output with the radiologists' counts of one kind.

    Attributes:
        output: of the metric; counts: key of the radiologists' counts.
        n: cases with a value.
        tau, pearson, mae: against the mean of all raters; ``mae`` None for an output that is no count. The sign is that
            of the output: a metric where higher is better should be negative.
        mae_left_in: mean over raters of the absolute error against the mean of the others.
        human_tau, human_pearson, human_mae: the same for the left-out rater; None with one rater. ``human_mae``
            compares with ``mae_left_in``.
    """

    output: str
    counts: str
    n: int
    tau: Value
    pearson: Value
    mae: Value
    mae_left_in: Value
    human_tau: Value
    human_pearson: Value
    human_mae: Value


@dataclass(frozen=True)
class Calibration:
    """Agreement of a metric with the raters of a set."""

    metric: str
    signature: str
    dataset: str
    cases: int
    studies: int
    raters: int
    undefined: int
    failed: int
    rows: tuple[Agreement, ...]
    notes: tuple[str, ...] = ()
    statistics: Statistics = PERCENTILE

    def to_dict(self) -> dict[str, Any]:
        return {"radvlm": __version__, **asdict(self)}

    def to_markdown(self) -> str:
        return _markdown(self)


def calibrate(metric: Metric, dataset: RatedSet, statistics: Statistics | None = None) -> Calibration:
    """Score the pairs of a rated set with a metric and compare with its raters.

    Args:
        metric: any metric; one whose outputs are error counts (``errors``, a judge) is compared count by count, of any
            other the headline outputs are rank-correlated with total and significant errors.
        dataset: from ``load_calibration_set``.
        statistics: of the bootstrap over studies.
    """
    statistics = statistics or PERCENTILE
    references = [ReportText.from_text(c.id, c.reference, c.study) for c in dataset.cases]
    candidates = [ReportText.from_text(c.id, c.candidate, c.study) for c in dataset.cases]
    scored = _scores(metric, references, candidates)
    names = {o.name: o for o in metric.outputs}
    counts = [(k, k) for k in COUNTS if k in names and k in dataset.keys]
    if not counts:
        counts = [
            (o.name, k) for o in metric.outputs if o.headline for k in ("total", "significant") if k in dataset.keys
        ]
    rows = [
        _agreement(output, key, [names[output].case_value(s) for s in scored], dataset, statistics, output == key)
        for output, key in counts
    ]
    headline = [names[counts[0][0]].case_value(s) for s in scored] if counts else []
    return Calibration(
        metric.name,
        metric.signature,
        dataset.name,
        len(dataset.cases),
        len({c.study for c in dataset.cases}),
        len(dataset.raters),
        sum(s.value is None and not s.failed for s in headline),
        sum(s.failed for s in headline),
        tuple(rows),
        dataset.notes,
        statistics,
    )


def _scores(metric: Metric, references: Sequence[ReportText], candidates: Sequence[ReportText]) -> list[Any]:
    if isinstance(metric, BatchMetric):
        return list(metric.score_cases(references, candidates))
    fit = getattr(metric, "fit", None)
    metric = fit(references) if fit else metric
    out = []
    for reference, candidate in zip(references, candidates, strict=True):
        try:
            out.append(metric.score_case(reference, candidate))
        except Exception as error:  # noqa: BLE001 - a crashed case is a record
            out.append(
                dict.fromkeys({o.case_key for o in metric.outputs}, Score.failure(f"{type(error).__name__}: {error}"))
            )
    return out


def _agreement(
    output: str, key: str, scores: Sequence[Score], dataset: RatedSet, statistics: Statistics, is_count: bool
) -> Agreement:
    use = [i for i, s in enumerate(scores) if s.value is not None]
    none = Value(None)
    if not use:
        return Agreement(output, key, 0, none, none, none, none, none, none, none)
    cases = [dataset.cases[i] for i in use]
    x = np.array([scores[i].value for i in use], dtype=float)
    raters = dataset.raters
    rated = np.array([[c.ratings[r][key] for r in raters] for c in cases]) if raters else np.empty((len(use), 0))
    mean = np.array([np.mean([r[key] for r in c.ratings.values()]) for c in cases])
    names, cluster = np.unique([c.study for c in cases], return_inverse=True)
    weights = np.ones((1, len(use)))
    if statistics.bootstraps and len(names) >= MIN_STUDIES:
        weights = np.vstack([weights, bootstrap_weights(len(names), statistics)[:, cluster]])
    level = statistics.confidence
    tau, pearson = _value(weighted_tau_b(x, mean, weights), level), _value(weighted_pearson(x, mean, weights), level)
    mae = _value(_weighted_mean(np.abs(x - mean), weights), level) if is_count else none
    left_in = human_mae = human_tau = human_pearson = none
    if rated.shape[1] >= 2:
        others = (rated.sum(axis=1, keepdims=True) - rated) / (rated.shape[1] - 1)
        if is_count:
            left_in = _value(_weighted_mean(np.abs(x[:, None] - others).mean(axis=1), weights), level)
        human_mae = _value(_weighted_mean(np.abs(rated - others).mean(axis=1), weights), level)
        human_tau = _value(_mean_over_raters(weighted_tau_b, rated, others, weights), level)
        human_pearson = _value(_mean_over_raters(weighted_pearson, rated, others, weights), level)
    return Agreement(output, key, len(use), tau, pearson, mae, left_in, human_tau, human_pearson, human_mae)


def weighted_tau_b(x: np.ndarray, y: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Kendall's tau-b (Kendall 1945) of every replicate at once.

    Args:
        x, y: (n,) values.
        weights: (B, n) how often each case counts; ones give the plain tau-b.

    Returns (B,), NaN where one side is constant. Memory is n x n.
    """
    a, b = np.sign(x[:, None] - x[None, :]), np.sign(y[:, None] - y[None, :])
    above = ((weights @ (a * b)) * weights).sum(axis=1)
    below = ((weights @ (a * a)) * weights).sum(axis=1) * ((weights @ (b * b)) * weights).sum(axis=1)
    return np.divide(above, np.sqrt(below), out=np.full(len(weights), np.nan), where=below > 0)


def weighted_pearson(x: np.ndarray, y: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Pearson's r of every replicate; (n,), (n,), (B, n) to (B,), NaN where one side is constant."""
    x, y = x - x.mean(), y - y.mean()
    n = weights.sum(axis=1)
    mx, my = weights @ x / n, weights @ y / n
    vx, vy = weights @ (x * x) / n - mx * mx, weights @ (y * y) / n - my * my
    below = vx * vy
    good = (vx > 1e-12) & (vy > 1e-12)
    return np.divide(
        weights @ (x * y) / n - mx * my,
        np.sqrt(np.where(good, below, 1.0)),
        out=np.full(len(weights), np.nan),
        where=good,
    )


def _weighted_mean(x: np.ndarray, weights: np.ndarray) -> np.ndarray:
    mean: np.ndarray = weights @ x / weights.sum(axis=1)
    return mean


def _mean_over_raters(
    statistic: Callable[[np.ndarray, np.ndarray, np.ndarray], np.ndarray],
    rated: np.ndarray,
    others: np.ndarray,
    weights: np.ndarray,
) -> np.ndarray:
    """Mean over raters of the statistic of each against the mean of the others; NaN where any is undefined."""
    mean: np.ndarray = np.mean([statistic(rated[:, r], others[:, r], weights) for r in range(rated.shape[1])], axis=0)
    return mean


def _value(replicates: np.ndarray, confidence: float) -> Value:
    """The first replicate is the value; the others give its interval."""
    first = float(replicates[0])
    if not np.isfinite(first):
        return Value(None)
    rest = replicates[1:][np.isfinite(replicates[1:])]
    if not len(rest) or len(rest) < (1 - MAX_UNDEFINED) * (len(replicates) - 1):
        return Value(first)
    low, high = np.quantile(rest, [(1 - confidence) / 2, (1 + confidence) / 2])
    return Value(first, float(low), float(high))


def _markdown(c: Calibration) -> str:
    lines = [
        f"# Agreement of {c.metric} with radiologists: {c.dataset}",
        "",
        f"{c.cases} cases of {c.studies} studies, raters: {c.raters}; {c.failed} failed, {c.undefined} "
        f"undefined. {c.statistics.confidence:.0%} percentile intervals, {c.statistics.bootstraps} bootstraps "
        "over studies.",
        "",
        f"Signature: `{c.signature}`",
        "",
        "| output | counts | n | tau-b | Pearson r | MAE, all raters | MAE, left-in | raters: tau-b | "
        "raters: r | raters: MAE |",
        "|---|---|---|---|---|---|---|---|---|---|",
    ]
    for r in c.rows:
        cells = [r.tau, r.pearson, r.mae, r.mae_left_in, r.human_tau, r.human_pearson, r.human_mae]
        lines.append(f"| {r.output} | {r.counts} | {r.n} | " + " | ".join(map(_text, cells)) + " |")
    lines += [
        "",
        '"raters" is each radiologist against the mean of the others; compare "MAE, left-in" with "raters: MAE".',
        *(f"- {note}" for note in c.notes),
        "",
        "Research software, not a medical device.",
        "",
    ]
    return "\n".join(lines)


def _text(v: Value) -> str:
    if v.value is None:
        return "-"
    return f"{v.value:.3f}" + (f" [{v.low:.3f}, {v.high:.3f}]" if v.low is not None else "")

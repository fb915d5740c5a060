"""Scores of a classifier: AUROC, AUPRC, calibration, and figures at a threshold that the test data did not choose.

A threshold is an object that remembers the cases it was chosen on, and refuses to be applied to any of them. Everything
takes weights over cases, so a bootstrap over patients is one weighted pass and no case is drawn twice in memory. A
label without both classes has no AUROC: it is undefined, counted, and left out of the macro mean.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np

from radvlm.errors import InputError
from radvlm.evaluate.statistics.resampling import MAX_UNDEFINED, MIN_PATIENTS, Statistics, bootstrap_weights, share

CRITERIA = ("youden", "f1", "sensitivity", "specificity")
_STATISTICS = Statistics()
#: Bootstrap replicates handled at a time; bounds memory.
_BLOCK = 250


def _checked(
    truth: Sequence[int] | np.ndarray, scores: Sequence[float] | np.ndarray, probability: bool = False
) -> tuple[np.ndarray, np.ndarray]:
    y, s = np.asarray(truth), np.asarray(scores, dtype=float)
    if y.ndim != 1 or y.shape != s.shape or not len(y):
        raise InputError("truth and scores are one number for each case", f"shapes {y.shape} and {s.shape}")
    if not np.isin(y, (0, 1)).all():
        raise InputError(
            "truth is 0 or 1",
            str(sorted(set(np.asarray(y).tolist()))[:5]),
            "Leave cases out whose label is unknown or uncertain, and say how many",
        )
    if not np.isfinite(s).all():
        raise InputError("a score is finite", f"{int((~np.isfinite(s)).sum())} are not")
    if probability and ((s < 0) | (s > 1)).any():
        raise InputError(
            "a probability lies between 0 and 1",
            f"{s.min():g} to {s.max():g}",
            "Calibration and the Brier score need probabilities; AUROC and AUPRC do not",
        )
    return y.astype(bool), s


def _steps(y: np.ndarray, s: np.ndarray, weights: np.ndarray | None) -> tuple[np.ndarray, np.ndarray]:
    """Weighted positives and negatives (..., groups) of each distinct score, highest score first."""
    order = np.argsort(-s, kind="stable")
    starts = np.flatnonzero(np.r_[True, np.diff(s[order]) != 0])
    w = np.ones(len(y)) if weights is None else np.asarray(weights, dtype=float)
    ordered = w[..., order]
    positive = np.add.reduceat(ordered * y[order], starts, axis=-1)
    return positive, np.add.reduceat(ordered, starts, axis=-1) - positive


def auroc(
    truth: Sequence[int] | np.ndarray, scores: Sequence[float] | np.ndarray, weights: np.ndarray | None = None
) -> np.ndarray:
    """Area under the ROC curve: chance that a positive case scores above a negative one, ties half (Hanley 1982).

    ``weights`` is (..., n) non-negative; the result has its leading shape. NaN where a class has no weight.
    """
    positive, negative = _steps(*_checked(truth, scores), weights)
    below = negative.sum(axis=-1, keepdims=True) - np.cumsum(negative, axis=-1)
    wins = (positive * (below + negative / 2)).sum(axis=-1)
    pairs = positive.sum(axis=-1) * negative.sum(axis=-1)
    return share(wins, pairs)


def auprc(
    truth: Sequence[int] | np.ndarray, scores: Sequence[float] | np.ndarray, weights: np.ndarray | None = None
) -> np.ndarray:
    """Average precision: sum of precision times the step in recall, over distinct scores; no interpolation.

    Its value for random scores is the prevalence, which is reported beside it. Shapes as ``auroc``.
    """
    positive, negative = _steps(*_checked(truth, scores), weights)
    hits = np.cumsum(positive, axis=-1)
    called = hits + np.cumsum(negative, axis=-1)
    precision = np.divide(hits, called, out=np.zeros_like(hits), where=called > 0)
    total = positive.sum(axis=-1)
    return share((precision * positive).sum(axis=-1), total)


def brier(
    truth: Sequence[int] | np.ndarray, probabilities: Sequence[float] | np.ndarray, weights: np.ndarray | None = None
) -> np.ndarray:
    """Mean squared difference of probability and outcome (Brier 1950). Shapes as ``auroc``."""
    y, p = _checked(truth, probabilities, probability=True)
    w = np.ones(len(y)) if weights is None else np.asarray(weights, dtype=float)
    total = w.sum(axis=-1)
    return share((w * (p - y) ** 2).sum(axis=-1), total)


def calibration_error(
    truth: Sequence[int] | np.ndarray,
    probabilities: Sequence[float] | np.ndarray,
    weights: np.ndarray | None = None,
    bins: int = 10,
    equal: str = "width",
) -> np.ndarray:
    """Expected calibration error: mean |observed share - mean probability| over bins (Naeini et al. 2015).

    Args:
        bins: number of bins.
        equal: ``width`` (0 to 1 cut evenly, 1 in the last) or ``count`` (cut at quantiles of the probabilities, equal
            ones kept together).

    The value depends on the bins, and is biased upwards where cases are few. Shapes as ``auroc``.
    """
    y, p = _checked(truth, probabilities, probability=True)
    if bins < 1 or equal not in ("width", "count"):
        raise InputError("calibration has at least one bin, of equal width or count", f"{bins}, {equal!r}")
    if equal == "width":
        group = np.minimum((p * bins).astype(int), bins - 1)
    else:
        ranks = np.searchsorted(np.sort(p), p, side="left")
        group = ranks * bins // len(p)
    w = np.ones(len(y)) if weights is None else np.asarray(weights, dtype=float)
    total = w.sum(axis=-1)
    gap = np.zeros(np.shape(total))
    for number in np.unique(group):
        inside = group == number
        gap = gap + np.abs((w[..., inside] * (y[inside] - p[inside])).sum(axis=-1))
    return share(gap, total)


@dataclass(frozen=True)
class Threshold:
    """A decision threshold (positive at or above ``value``) and the validation cases that it was chosen on."""

    value: float
    criterion: str
    achieved: float
    n: int
    cases: frozenset[str] = field(repr=False, default=frozenset())

    def check(self, test_ids: Sequence[str]) -> None:
        """InputError when a test case is one that the threshold was chosen on."""
        shared = sorted(self.cases.intersection(test_ids))
        if shared:
            raise InputError(
                "a threshold is applied to cases that it was not chosen on",
                f"{len(shared)} shared, first {shared[0]!r}",
                "Choose it on the validation split and apply it to the test split",
            )


def choose_threshold(
    truth: Sequence[int] | np.ndarray,
    scores: Sequence[float] | np.ndarray,
    ids: Sequence[str],
    criterion: str = "youden",
    at_least: float | None = None,
) -> Threshold:
    """The best threshold on a validation split.

    Args:
        ids: of the validation cases (or patients), so that ``Threshold.check`` can refuse to be applied to them.
        criterion: ``youden`` (sensitivity + specificity - 1) or ``f1`` is maximized; ``sensitivity`` or ``specificity``
            takes, among thresholds that reach ``at_least``, the one with most of the other.

    Candidates are the scores that occur. Among equally good ones the highest is taken. InputError where one class is
    missing, ids repeat, or the rate cannot be reached.
    """
    y, s = _checked(truth, scores)
    if criterion not in CRITERIA:
        raise InputError("a criterion is one of " + ", ".join(CRITERIA), repr(criterion))
    if (at_least is not None) != (criterion in ("sensitivity", "specificity")):
        raise InputError(
            "a rate to reach is given for sensitivity and specificity, and only for them",
            f"{criterion}, at_least {at_least}",
        )
    if len(ids) != len(y) or len(set(ids)) != len(y):
        raise InputError("every validation case has an id of its own", f"{len(ids)} ids, {len(y)} cases")
    if y.all() or not y.any():
        raise InputError("a threshold is chosen where both classes occur", f"{int(y.sum())} of {len(y)} positive")
    positive, negative = _steps(y, s, None)
    tp, fp = np.cumsum(positive), np.cumsum(negative)
    sensitivity, specificity = tp / tp[-1], 1 - fp / fp[-1]
    values = np.unique(s)[::-1]
    if criterion == "youden":
        goal = sensitivity + specificity - 1
    elif criterion == "f1":
        goal = 2 * tp / (tp + fp + tp[-1])
    else:
        held, other = (sensitivity, specificity) if criterion == "sensitivity" else (specificity, sensitivity)
        if not (held >= at_least).any():
            raise InputError(
                f"a {criterion} that some threshold reaches", f"{at_least}", f"The most is {held.max():.3f}"
            )
        goal = np.where(held >= at_least, other, -1.0)
    best = int(np.argmax(goal >= goal.max() - 1e-12))
    achieved = goal[best] if criterion in ("youden", "f1") else held[best]
    return Threshold(float(values[best]), criterion, float(achieved), len(y), frozenset(map(str, ids)))


@dataclass(frozen=True)
class Rate:
    """A number with its interval; ``value`` None with the reason why."""

    value: float | None
    low: float | None = None
    high: float | None = None
    reason: str = ""


@dataclass(frozen=True)
class LabelScores:
    """Scores of one label; ``rates`` by name. Random scores reach an AUPRC of ``prevalence``.

    ``auroc``, ``auprc``, ``brier``, ``ece``; with a threshold also sensitivity, specificity, precision, npv and f1.
    """

    label: str
    n: int
    positives: int
    prevalence: float
    rates: Mapping[str, Rate]
    threshold: float | None = None

    def to_dict(self) -> dict[str, Any]:
        return {**asdict(self), "rates": {name: asdict(rate) for name, rate in self.rates.items()}}


@dataclass(frozen=True)
class ClassificationScores:
    """All labels, and the macro means over the labels where a figure is defined."""

    labels: tuple[LabelScores, ...]
    macro: Mapping[str, Rate]
    undefined: Mapping[str, int]
    patients: int
    statistics: Statistics

    def to_dict(self) -> dict[str, Any]:
        return {
            "patients": self.patients,
            "statistics": asdict(self.statistics),
            "labels": [row.to_dict() for row in self.labels],
            "macro": {name: asdict(rate) for name, rate in self.macro.items()},
            "undefined": dict(self.undefined),
        }


def score_classification(
    truth: Mapping[str, Sequence[int] | np.ndarray],
    probabilities: Mapping[str, Sequence[float] | np.ndarray],
    ids: Sequence[str],
    *,
    patient_ids: Sequence[str] | None = None,
    thresholds: Mapping[str, Threshold] | None = None,
    known: Mapping[str, Sequence[bool] | np.ndarray] | None = None,
    bins: int = 10,
    statistics: Statistics = _STATISTICS,
) -> ClassificationScores:
    """Scores of a multi-label classifier with intervals by patient (percentile bootstrap).

    Args:
        truth: label -> 0 or 1 for each case, in the order of ``ids``.
        probabilities: label -> probability for each case; the same labels.
        patient_ids: in the order of ``ids``; cases of one patient are drawn together. None: each case is its own.
        thresholds: label -> threshold from ``choose_threshold``; refused when chosen on any of these cases.
        known: label -> which cases have that label (uncertain and not mentioned ones are left out of it); labels not
            named have all. The truth of the others may be any number.
        bins: of the calibration error, of equal width.
    """
    if set(truth) != set(probabilities) or not truth:
        raise InputError(
            "truth and probabilities have the same labels",
            f"{sorted(set(truth) ^ set(probabilities))[:5]} on one side only",
        )
    if len(set(ids)) != len(ids) or (patient_ids is not None and len(patient_ids) != len(ids)):
        raise InputError("every case has an id of its own, and a patient where patients are given", f"{len(ids)} ids")
    thresholds = thresholds or {}
    strange = sorted(set(thresholds) - set(truth))
    if strange:
        raise InputError("a threshold is for a label that is scored", ", ".join(strange))
    for threshold in thresholds.values():
        threshold.check(ids)
    names, cluster = np.unique(list(ids if patient_ids is None else patient_ids), return_inverse=True)
    weights = bootstrap_weights(len(names), statistics)
    rows, replicates = [], {}
    for label in truth:
        there = np.asarray(known[label], dtype=bool) if known and label in known else np.ones(len(ids), dtype=bool)
        sizes = {len(truth[label]), len(probabilities[label]), len(there)}
        if sizes != {len(ids)}:
            raise InputError("a label has one value for each case", f"{label}: {sorted(sizes)} of {len(ids)}")
        if not there.any():
            raise InputError("a label is known for some case", label)
        y, p = _checked(np.asarray(truth[label])[there], np.asarray(probabilities[label])[there], probability=True)
        rates, drawn = _label_rates(y, p, weights, cluster[there], thresholds.get(label), bins, statistics)
        replicates[label] = drawn
        limit = thresholds[label].value if label in thresholds else None
        rows.append(LabelScores(label, len(y), int(y.sum()), float(y.mean()), rates, limit))
    macro, undefined = _macro(rows, replicates, len(names), statistics)
    return ClassificationScores(tuple(rows), macro, undefined, len(names), statistics)


def _label_rates(
    y: np.ndarray,
    p: np.ndarray,
    weights: np.ndarray,
    cluster: np.ndarray,
    threshold: Threshold | None,
    bins: int,
    statistics: Statistics,
) -> tuple[dict[str, Rate], dict[str, np.ndarray]]:
    figures: dict[str, Callable[[np.ndarray | None], np.ndarray]] = {
        "auroc": lambda w: auroc(y, p, w),
        "auprc": lambda w: auprc(y, p, w),
        "brier": lambda w: brier(y, p, w),
        "ece": lambda w: calibration_error(y, p, w, bins),
    }
    if threshold is not None:
        called = p >= threshold.value
        for name, right, among in (
            ("sensitivity", called & y, y),
            ("specificity", ~called & ~y, ~y),
            ("precision", called & y, called),
            ("npv", ~called & ~y, ~called),
        ):
            figures[name] = lambda w, right=right, among=among: _weighted_share(right, among, w)  # type: ignore[misc]
        figures["f1"] = lambda w: _weighted_f1(called, y, w)
    rates, drawn = {}, {}
    for name, figure in figures.items():
        value = float(figure(None))
        blocks = [figure(weights[start : start + _BLOCK][:, cluster]) for start in range(0, len(weights), _BLOCK)]
        drawn[name] = np.concatenate(blocks) if blocks else np.zeros(0)
        rates[name] = _rate(value, drawn[name], len(np.unique(cluster)), statistics)
    return rates, drawn


def _weighted_share(right: np.ndarray, among: np.ndarray, weights: np.ndarray | None) -> np.ndarray:
    w = np.ones(len(right)) if weights is None else weights
    total = w @ among.astype(float)
    return share(w @ right.astype(float), total)


def _weighted_f1(called: np.ndarray, y: np.ndarray, weights: np.ndarray | None) -> np.ndarray:
    w = np.ones(len(y)) if weights is None else weights
    total = w @ (called.astype(float) + y)
    return share(2 * (w @ (called & y).astype(float)), total)


def _rate(value: float, drawn: np.ndarray, patients: int, statistics: Statistics) -> Rate:
    if not np.isfinite(value):
        return Rate(None, reason="not defined on these cases: a class or a call does not occur")
    defined = drawn[np.isfinite(drawn)]
    if not len(drawn) or patients < MIN_PATIENTS or len(defined) < (1 - MAX_UNDEFINED) * len(drawn):
        return Rate(value, reason="no interval: too few patients or undefined in too many replicates")
    low, high = np.quantile(defined, [(1 - statistics.confidence) / 2, (1 + statistics.confidence) / 2])
    return Rate(value, float(low), float(high))


def _macro(
    rows: Sequence[LabelScores], drawn: Mapping[str, Mapping[str, np.ndarray]], patients: int, statistics: Statistics
) -> tuple[dict[str, Rate], dict[str, int]]:
    """Mean over labels where a figure is defined, with intervals from the same replicates."""
    macro, undefined = {}, {}
    for name in dict.fromkeys(n for row in rows for n in row.rates):
        there = [row for row in rows if name in row.rates and row.rates[name].value is not None]
        undefined[name] = sum(name in row.rates for row in rows) - len(there)
        if not there:
            macro[name] = Rate(None, reason="not defined for any label")
            continue
        value = float(np.mean([row.rates[name].value for row in there]))
        replicates = np.mean([drawn[row.label][name] for row in there], axis=0)
        macro[name] = _rate(value, replicates, patients, statistics)
    return macro, undefined

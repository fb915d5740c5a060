"""From logits to probabilities that mean what they say, and from probabilities to a status.

The three outcomes are all in here. Between ``absent below`` and ``present from`` a finding is indeterminate,
and the two limits come from validation data only; they are stored with the model.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from radvlm.errors import InputError
from radvlm.types.finding import Status


def sigmoid(x: np.ndarray) -> np.ndarray:
    """Logits to probabilities, for logits of any size."""
    return 1 / (1 + np.exp(-np.clip(x, -60, 60)))


def status_of(probability: float, absent_below: float, present_from: float) -> Status:
    """Present, absent, or indeterminate between the two limits."""
    if probability >= present_from:
        return Status.PRESENT
    return Status.ABSENT if probability < absent_below else Status.INDETERMINATE


@dataclass(frozen=True)
class Calibration:
    """p = sigmoid(slope * logit + offset) for each finding (Platt 1999; one slope is temperature scaling).

    Attributes:
        names: findings, in the order of the logits.
        slope, offset: one a finding.
        absent_below, present_from: one a finding, 0 to 1; what lies between is indeterminate.
    """

    names: tuple[str, ...]
    slope: tuple[float, ...]
    offset: tuple[float, ...]
    absent_below: tuple[float, ...]
    present_from: tuple[float, ...]

    def __post_init__(self) -> None:
        for key in ("slope", "offset", "absent_below", "present_from"):
            values = tuple(float(v) for v in getattr(self, key))
            if len(values) != len(self.names):
                raise InputError(
                    "calibration has one value a finding", f"{len(values)} of {key}, {len(self.names)} names"
                )
            object.__setattr__(self, key, values)
        object.__setattr__(self, "names", tuple(self.names))
        for name, low, high in zip(self.names, self.absent_below, self.present_from, strict=True):
            if not 0 <= low <= high <= 1:
                raise InputError("0 <= absent below <= present from <= 1", f"{name}: {low}, {high}")

    def probability(self, logits: np.ndarray) -> np.ndarray:
        """(..., F) logits -> probabilities of the same shape."""
        return sigmoid(np.asarray(logits, float) * np.array(self.slope) + np.array(self.offset))

    def status(self, index: int, probability: float) -> Status:
        return status_of(probability, self.absent_below[index], self.present_from[index])

    @property
    def thresholds(self) -> Mapping[str, tuple[float, float]]:
        return {n: (a, b) for n, a, b in zip(self.names, self.absent_below, self.present_from, strict=True)}


def fit(
    names: Sequence[str],
    logits: np.ndarray,
    truth: np.ndarray,
    *,
    known: np.ndarray | None = None,
    shrink: float = 20.0,
) -> Calibration:
    """Fit on validation data, (N, F) logits and truth of 0 and 1.

    One slope and offset over all findings first; each finding's offset then moves toward its own optimum as far as
    its positives weigh against ``shrink`` pseudo-cases. ``present_from`` maximizes F1 over all findings together, moved
    for a finding only where it has positives enough; ``absent_below`` is half of it.

    Raises InputError without a positive or without a negative case.
    """
    logits, truth = np.asarray(logits, float), np.asarray(truth, float)
    keep = np.ones_like(truth, bool) if known is None else np.asarray(known, bool)
    if logits.shape != truth.shape or logits.ndim != 2:
        raise InputError("logits and truth are (N, F)", f"{logits.shape}, {truth.shape}")
    if not np.isfinite(logits[keep]).all():
        raise InputError("logits to calibrate on are finite", "NaN or infinity", "Look at the training of the model")
    if truth[keep].sum() == 0 or (1 - truth[keep]).sum() == 0:
        raise InputError("calibration needs positive and negative validation cases", "only one kind")
    slope, offset = _platt(logits[keep], truth[keep])
    offsets = []
    for n in range(truth.shape[1]):
        rows = keep[:, n]
        both = 0 < truth[rows, n].sum() < rows.sum()
        own = _offset(slope * logits[rows, n] + offset, truth[rows, n]) if both else 0.0
        weight = truth[rows, n].sum() / (truth[rows, n].sum() + shrink)
        offsets.append(offset + weight * own)
    probability = sigmoid(slope * logits + np.array(offsets))
    common = best_threshold(probability[keep], truth[keep])
    high = []
    for n in range(truth.shape[1]):
        rows = keep[:, n]
        own = best_threshold(probability[rows, n], truth[rows, n]) if truth[rows, n].sum() >= 5 else common
        weight = truth[rows, n].sum() / (truth[rows, n].sum() + shrink)
        high.append(float(common + weight * (own - common)))
    low = tuple(h / 2 for h in high)
    return Calibration(tuple(names), (slope,) * len(offsets), tuple(offsets), low, tuple(high))


def best_threshold(probability: np.ndarray, truth: np.ndarray) -> float:
    """Threshold with the largest F1; the middle of the gap below the last case that it calls positive."""
    order = np.argsort(-probability, kind="stable")
    p, hits = probability[order], np.cumsum(truth[order])
    f1 = 2 * hits / (np.arange(1, len(p) + 1) + truth.sum())
    last = np.append(p[1:] < p[:-1], True)  # ties go together
    best = int(np.argmax(np.where(last, f1, -1)))
    below = p[best + 1] if best + 1 < len(p) else 0.0
    return float((p[best] + below) / 2)


def _platt(logits: np.ndarray, truth: np.ndarray) -> tuple[float, float]:
    """Newton's method on the log likelihood of (slope, offset), with Platt's smoothed targets.

    A step that does not lower the loss is halved (Lin et al. 2007), or well separated logits would diverge. A weak
    pull of the slope toward 1 keeps it finite.
    """
    positives, negatives = truth.sum(), (1 - truth).sum()
    target = np.where(truth > 0, (positives + 1) / (positives + 2), 1 / (negatives + 2))

    def cost(a: float, b: float) -> float:
        x = a * logits + b
        return float((np.logaddexp(0, x) - target * x).sum() + 5e-4 * (a - 1) ** 2)

    a, b = 1.0, 0.0
    for _ in range(100):
        p = sigmoid(a * logits + b)
        error, weight = p - target, np.maximum(p * (1 - p), 1e-9)
        gradient = np.array([(error * logits).sum() + 1e-3 * (a - 1), error.sum()])
        off = (weight * logits).sum()
        hessian = np.array([[(weight * logits**2).sum() + 1e-3, off], [off, weight.sum() + 1e-6]])
        step = np.linalg.solve(hessian, gradient)
        size, before = 1.0, cost(a, b)
        while size > 1e-10 and cost(a - size * step[0], b - size * step[1]) > before:
            size /= 2
        a, b = a - size * step[0], b - size * step[1]
        if np.abs(size * step).max() < 1e-8:
            break
    return float(a), float(b)


def _offset(x: np.ndarray, truth: np.ndarray) -> float:
    """Shift of x that makes mean probability equal mean truth."""
    low, high = -10.0, 10.0
    for _ in range(60):
        middle = (low + high) / 2
        if sigmoid(x + middle).mean() < truth.mean():
            low = middle
        else:
            high = middle
    return (low + high) / 2


def fit_pooled(scores: np.ndarray, truth: np.ndarray, known: np.ndarray) -> tuple[float, float, float, float]:
    """Slope, offset and both thresholds that all texts share, from the known entries of (scans, texts)."""
    judged = known.astype(bool)
    pooled = fit(("any",), scores[judged][:, None], truth[judged][:, None], shrink=1e9)
    return pooled.slope[0], pooled.offset[0], pooled.absent_below[0], pooled.present_from[0]

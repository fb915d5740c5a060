"""Intervals and tests from stored sums: bootstrap by patient, paired permutation, Holm.

Nothing is scored again. Each case left a row of sums; a bootstrap replicate or a permutation is a weighted sum of
rows, so ten thousand of them are one matrix product. Cases of one patient are drawn and swapped together, because
they are not independent. A p value is (k + 1) / (n + 1) and can never be 0 (Phipson and Smyth 2010).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np

from radvlm.errors import InputError

Aggregate = Callable[[np.ndarray], np.ndarray]
#: Replicates handled at a time; bounds the memory of a block of weights.
_BLOCK = 1000
#: An interval is not given when more than this share of replicates is undefined.
MAX_UNDEFINED = 0.05
#: Fewer patients than this give no interval.
MIN_PATIENTS = 5


@dataclass(frozen=True)
class Statistics:
    """How intervals and tests are made.

    Attributes:
        bootstraps: replicates; 0 for no intervals.
        permutations: random swaps of the paired test; 0 for no tests.
        confidence: of the intervals, between 0 and 1.
        interval: ``bca`` (bias-corrected and accelerated, Efron 1987) or ``percentile``.
        seed: of all random draws; the result depends on it and on the ids, not on the order of cases.
    """

    bootstraps: int = 2000
    permutations: int = 10_000
    confidence: float = 0.95
    interval: str = "bca"
    seed: int = 0

    def __post_init__(self) -> None:
        if self.bootstraps < 0 or self.permutations < 0:
            raise InputError(
                "numbers of bootstraps and permutations are not negative", f"{self.bootstraps}, {self.permutations}"
            )
        if not 0 < self.confidence < 1:
            raise InputError("a confidence lies between 0 and 1", str(self.confidence))
        if self.interval not in ("bca", "percentile"):
            raise InputError("an interval is bca or percentile", repr(self.interval))


@dataclass(frozen=True)
class Interval:
    """Ends of a confidence interval, or the reason why there is none."""

    low: float | None
    high: float | None
    reason: str = ""


def sum_by_cluster(rows: np.ndarray, cluster: np.ndarray, clusters: int) -> np.ndarray:
    """(clusters, K) sums of the rows (n, K) of each cluster."""
    out = np.zeros((clusters, rows.shape[1]))
    np.add.at(out, cluster, rows)
    return out


def share(part: np.ndarray, whole: np.ndarray) -> np.ndarray:
    """``part / whole``; NaN where the whole is not above 0."""
    return np.divide(part, whole, out=np.full(np.shape(whole), np.nan), where=whole > 0)


def mean_of_sums(sums: np.ndarray) -> np.ndarray:
    """First over second of sums (..., 2), such as value and count; NaN where the second is 0."""
    return share(sums[..., 0], sums[..., 1])


def bootstrap_weights(clusters: int, statistics: Statistics) -> np.ndarray:
    """(bootstraps, clusters) how often each patient is drawn in each replicate; one draw for all metrics."""
    rng = np.random.default_rng([statistics.seed, 1, clusters])
    draws = rng.integers(clusters, size=(statistics.bootstraps, clusters))
    draws += np.arange(statistics.bootstraps)[:, None] * clusters
    counts = np.bincount(draws.ravel(), minlength=statistics.bootstraps * clusters)
    return counts.reshape(statistics.bootstraps, clusters).astype(float)


def interval(sums: np.ndarray, aggregate: Aggregate, weights: np.ndarray, statistics: Statistics) -> Interval:
    """Confidence interval of ``aggregate`` over patients.

    Args:
        sums: (patients, K) of stored sums.
        aggregate: (..., K) to (...), NaN where undefined.
        weights: (bootstraps, patients) from ``bootstrap_weights``.
    """
    if not len(weights):
        return Interval(None, None, "no bootstrap was asked for")
    if len(sums) < MIN_PATIENTS:
        return Interval(None, None, f"fewer than {MIN_PATIENTS} patients")
    replicates = aggregate(weights @ sums)
    defined = np.sort(replicates[np.isfinite(replicates)])
    if len(defined) < (1 - MAX_UNDEFINED) * len(replicates):
        return Interval(None, None, f"undefined in {len(replicates) - len(defined)} of {len(replicates)} replicates")
    tails = np.array([(1 - statistics.confidence) / 2, (1 + statistics.confidence) / 2])
    if statistics.interval == "bca":
        tails = _bca_tails(sums, aggregate, defined, tails)
    low, high = np.quantile(defined, tails)
    return Interval(float(low), float(high))


def _bca_tails(sums: np.ndarray, aggregate: Aggregate, replicates: np.ndarray, tails: np.ndarray) -> np.ndarray:
    """Shifted tail probabilities (Efron and Tibshirani 1993, ch. 14); the plain ones where they cannot be computed."""
    total = sums.sum(axis=0)
    value = float(aggregate(total[None])[0])
    without = aggregate(total - sums)
    if not np.isfinite(value) or not np.isfinite(without).all():
        return tails
    tolerance = 1e-12 * max(1.0, abs(value))
    below = ((replicates < value - tolerance).mean() + (replicates <= value + tolerance).mean()) / 2
    deviation = without.mean() - without
    spread = float((deviation**2).sum())
    if not 0 < below < 1 or spread <= tolerance**2:
        return tails
    normal = NormalDist()
    bias, acceleration = normal.inv_cdf(below), float((deviation**3).sum()) / (6 * spread**1.5)
    shifted = []
    for tail in tails:
        z = bias + normal.inv_cdf(float(tail))
        if acceleration * z >= 1:
            return tails
        shifted.append(normal.cdf(bias + z / (1 - acceleration * z)))
    return np.array(shifted)


def permutation_p_values(
    first: Sequence[np.ndarray], second: Sequence[np.ndarray], aggregates: Sequence[Aggregate], statistics: Statistics
) -> list[tuple[float | None, float | None]]:
    """(difference, two-sided p) for each output: patients' two systems are swapped at random.

    Args:
        first, second: for each output the sums (patients, K) of the two systems, same patients in the same order.
        aggregates: for each output.

    The difference is first minus second; None where a system's value is undefined.
    """
    patients = len(first[0]) if first else 0
    totals = [(a.sum(axis=0), b.sum(axis=0)) for a, b in zip(first, second, strict=True)]
    observed = [float(f(a[None])[0] - f(b[None])[0]) for f, (a, b) in zip(aggregates, totals, strict=True)]
    widths = np.cumsum([0] + [a.shape[1] for a in first])
    change = np.concatenate([b - a for a, b in zip(first, second, strict=True)], axis=1) if first else np.zeros((0, 0))
    rng = np.random.default_rng([statistics.seed, 2, patients])
    extreme = np.zeros(len(first), dtype=int)
    for start in range(0, statistics.permutations, _BLOCK):
        rows = min(_BLOCK, statistics.permutations - start)
        swap = np.unpackbits(rng.integers(0, 256, size=(rows, (patients + 7) // 8), dtype=np.uint8), axis=1)
        moved = swap[:, :patients].astype(float) @ change
        for k, (f, (a, b)) in enumerate(zip(aggregates, totals, strict=True)):
            part = moved[:, widths[k] : widths[k + 1]]
            difference = np.abs(f(a + part) - f(b - part))
            # An undefined permuted difference counts as extreme: the safe side.
            extreme[k] += rows - int((difference < abs(observed[k]) - 1e-9 * max(1.0, abs(observed[k]))).sum())
    out: list[tuple[float | None, float | None]] = []
    for difference, count in zip(observed, extreme.tolist(), strict=True):
        if not np.isfinite(difference):
            out.append((None, None))
        elif not statistics.permutations:
            out.append((difference, None))
        else:
            out.append((difference, (count + 1) / (statistics.permutations + 1)))
    return out


def holm(p_values: Mapping[str, float]) -> dict[str, float]:
    """P values adjusted for their number (Holm 1979): step-down, at most 1, in the order of the input."""
    ordered = sorted(p_values, key=lambda name: (p_values[name], name))
    adjusted: dict[str, float] = {}
    running = 0.0
    for rank, name in enumerate(ordered):
        running = max(running, min(1.0, (len(ordered) - rank) * p_values[name]))
        adjusted[name] = running
    return {name: adjusted[name] for name in p_values}

"""Intervals and tests against known distributions, enumeration and hand-worked values."""

from __future__ import annotations

import itertools
import time

import numpy as np
import pytest
import scipy.stats

from radvlm.errors import InputError
from radvlm.evaluate.statistics.resampling import (
    Statistics,
    bootstrap_weights,
    holm,
    interval,
    mean_of_sums,
    permutation_p_values,
    sum_by_cluster,
)


def _rows(values: np.ndarray) -> np.ndarray:
    return np.stack([values, np.ones_like(values)], axis=1)


def _f1(sums: np.ndarray) -> np.ndarray:
    tp, fp, fn = sums[..., 0], sums[..., 1], sums[..., 2]
    below = 2 * tp + fp + fn
    return np.divide(2 * tp, below, out=np.full(below.shape, np.nan), where=below > 0)


def test_bca_equals_scipy() -> None:
    values = np.random.default_rng(0).exponential(size=80)
    settings = Statistics(bootstraps=20_000)
    ours = interval(_rows(values), mean_of_sums, bootstrap_weights(80, settings), settings)
    theirs = scipy.stats.bootstrap((values,), np.mean, n_resamples=20_000, method="BCa", rng=np.random.default_rng(1))
    assert ours.low == pytest.approx(theirs.confidence_interval.low, abs=0.01)
    assert ours.high == pytest.approx(theirs.confidence_interval.high, abs=0.01)
    plain = Statistics(bootstraps=20_000, interval="percentile")
    ours = interval(_rows(values), mean_of_sums, bootstrap_weights(80, plain), plain)
    theirs = scipy.stats.bootstrap(
        (values,), np.mean, n_resamples=20_000, method="percentile", rng=np.random.default_rng(1)
    )
    assert ours.low == pytest.approx(theirs.confidence_interval.low, abs=0.01)
    assert ours.high == pytest.approx(theirs.confidence_interval.high, abs=0.01)


@pytest.mark.parametrize("method", ["bca", "percentile"])
def test_intervals_cover_the_truth_as_often_as_they_say(method: str) -> None:
    rng = np.random.default_rng(2)
    settings = Statistics(bootstraps=400, confidence=0.9, interval=method)
    weights = bootstrap_weights(60, settings)
    hits = 0
    for _ in range(400):
        found = interval(_rows(rng.normal(3, 1, 60)), mean_of_sums, weights, settings)
        hits += found.low <= 3 <= found.high
    assert 0.85 <= hits / 400 <= 0.95


def test_cases_of_one_patient_are_drawn_together() -> None:
    """Repeating each patient's case four times adds no information, so the interval stays."""
    values = np.random.default_rng(3).normal(size=50)
    settings = Statistics()
    weights = bootstrap_weights(50, settings)
    once = interval(_rows(values), mean_of_sums, weights, settings)
    repeated = sum_by_cluster(_rows(np.repeat(values, 4)), np.repeat(np.arange(50), 4), 50)
    again = interval(repeated, mean_of_sums, weights, settings)
    assert (once.low, once.high) == pytest.approx((again.low, again.high))
    apart = interval(_rows(np.repeat(values, 4)), mean_of_sums, bootstrap_weights(200, settings), settings)
    assert apart.high - apart.low < 0.7 * (once.high - once.low)


def test_no_interval_has_a_reason() -> None:
    settings = Statistics(bootstraps=100)
    few = interval(_rows(np.arange(4.0)), mean_of_sums, bootstrap_weights(4, settings), settings)
    assert few.low is None and "fewer than 5 patients" in few.reason
    rare = np.zeros((30, 3))
    rare[0, 0] = 1  # one positive among thirty: undefined in a third of the replicates
    found = interval(rare, _f1, bootstrap_weights(30, settings), settings)
    assert found.low is None and "undefined in" in found.reason
    none = interval(_rows(np.arange(9.0)), mean_of_sums, bootstrap_weights(9, Statistics(0)), Statistics(0))
    assert none.low is None and none.reason


def test_a_constant_has_an_interval_of_no_width() -> None:
    settings = Statistics(bootstraps=100)
    found = interval(_rows(np.full(20, 0.7)), mean_of_sums, bootstrap_weights(20, settings), settings)
    assert (found.low, found.high) == pytest.approx((0.7, 0.7))


def test_permutation_equals_enumeration() -> None:
    rng = np.random.default_rng(4)
    a = rng.integers(0, 4, size=(9, 3)).astype(float)
    b = a + rng.integers(0, 2, size=(9, 3))
    observed = abs(_f1(a.sum(0)) - _f1(b.sum(0)))
    extreme = 0
    for swap in itertools.product([0, 1], repeat=9):
        s = np.array(swap)[:, None]
        difference = abs(_f1((a + s * (b - a)).sum(0)) - _f1((b - s * (b - a)).sum(0)))
        extreme += difference >= observed - 1e-12
    exact = extreme / 2**9
    [(difference, p)] = permutation_p_values([a], [b], [_f1], Statistics(permutations=40_000))
    assert difference == pytest.approx(float(_f1(a.sum(0)) - _f1(b.sum(0))))
    assert p == pytest.approx(exact, abs=0.01)


def test_p_is_never_zero_and_one_for_equal_systems() -> None:
    values = np.random.default_rng(5).random(200)
    settings = Statistics(permutations=999)
    [(_, p)] = permutation_p_values([_rows(values + 1)], [_rows(values)], [mean_of_sums], settings)
    assert p == 1 / 1000
    [(difference, p)] = permutation_p_values([_rows(values)], [_rows(values)], [mean_of_sums], settings)
    assert difference == 0 and p == 1


def test_p_values_are_uniform_when_nothing_differs() -> None:
    rng = np.random.default_rng(6)
    settings = Statistics(permutations=199)
    p = [
        permutation_p_values([_rows(x)], [_rows(y)], [mean_of_sums], settings)[0][1]
        for x, y in rng.random((300, 2, 40))
    ]
    assert 0.02 <= np.mean(np.array(p) <= 0.05) <= 0.09
    assert 0.4 <= np.mean(np.array(p) <= 0.5) <= 0.6


def test_an_undefined_value_has_no_p() -> None:
    [(difference, p)] = permutation_p_values([np.zeros((6, 3))], [np.ones((6, 3))], [_f1], Statistics())
    assert difference is None and p is None


def test_ten_thousand_permutations_of_a_thousand_cases_take_less_than_a_second() -> None:
    rng = np.random.default_rng(7)
    a, b = rng.integers(0, 50, size=(2, 1000, 10)).astype(float)
    start = time.process_time()
    permutation_p_values([a], [b], [lambda s: s[..., 0] / s[..., 1:].sum(-1)], Statistics(permutations=10_000))
    assert time.process_time() - start < 2  # processor time of all threads; the benchmark measures the wall clock


def test_holm_by_hand() -> None:
    assert holm({"a": 0.01, "b": 0.04, "c": 0.03, "d": 0.005}) == pytest.approx(
        {"a": 0.03, "b": 0.06, "c": 0.06, "d": 0.02}
    )
    assert holm({"a": 0.6, "b": 0.7}) == {"a": 1.0, "b": 1.0}
    assert holm({}) == {}


@pytest.mark.parametrize("wrong", [{"bootstraps": -1}, {"confidence": 1.0}, {"interval": "normal"}])
def test_settings_are_checked(wrong: dict) -> None:
    with pytest.raises(InputError):
        Statistics(**wrong)

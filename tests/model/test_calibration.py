"""Platt scaling against a direct optimizer, thresholds against brute force."""

from __future__ import annotations

from dataclasses import asdict

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import brentq, minimize

from radvlm.errors import InputError
from radvlm.model.calibration import Calibration, _offset, _platt, best_threshold, fit
from radvlm.types.finding import Status
from radvlm.types.records import record_from


def _direct(logits: np.ndarray, truth: np.ndarray) -> np.ndarray:
    """The same loss, written anew, by a general optimizer from several starts."""
    positives, negatives = truth.sum(), (1 - truth).sum()
    target = np.where(truth > 0, (positives + 1) / (positives + 2), 1 / (negatives + 2))

    def loss(v: np.ndarray) -> float:
        x = v[0] * logits + v[1]
        return float(np.sum(np.logaddexp(0, x) - target * x) + 5e-4 * (v[0] - 1) ** 2)

    runs = [
        minimize(loss, start, method="Nelder-Mead", options={"xatol": 1e-8, "fatol": 1e-12, "maxiter": 5000})
        for start in ([1.0, 0.0], [0.1, -1.0], [0.01, 0.0])
    ]
    return min(runs, key=lambda r: r.fun).x


@pytest.mark.parametrize(("spread", "shift", "noise"), [(1, 0, 1), (6, -3, 2), (0.2, 1, 0.5), (40, 0, 1), (300, 50, 1)])
def test_platt_against_a_direct_optimizer(spread: float, shift: float, noise: float) -> None:
    """Also where logits are so far apart that an undamped Newton step leaves for good."""
    rng = np.random.default_rng(3)
    truth = (rng.random(300) < 0.2).astype(float)
    logits = spread * (2 * truth - 1 + noise * rng.normal(size=300)) + shift
    slope, offset = _platt(logits, truth)
    expected = _direct(logits, truth)
    p = 1 / (1 + np.exp(-np.clip(slope * logits + offset, -60, 60)))
    q = 1 / (1 + np.exp(-np.clip(expected[0] * logits + expected[1], -60, 60)))
    assert np.abs(p - q).max() < 1e-4
    assert slope == pytest.approx(expected[0], rel=2e-3)


def test_perfectly_separated_logits_stay_finite() -> None:
    truth = np.array([0.0] * 50 + [1.0] * 10)
    for scale in (1, 10, 100, 1e4):
        slope, offset = _platt(scale * (2 * truth - 1), truth)
        p = 1 / (1 + np.exp(-(slope * scale * (2 * truth - 1) + offset)))
        assert p[:50].max() < 0.05 and p[50:].min() > 0.85, scale  # Platt's targets are 1/52 and 11/12


def test_offset_makes_the_mean_right() -> None:
    rng = np.random.default_rng(0)
    x, truth = rng.normal(size=200), (rng.random(200) < 0.3).astype(float)
    expected = brentq(lambda d: (1 / (1 + np.exp(-(x + d)))).mean() - truth.mean(), -10, 10)
    assert _offset(x, truth) == pytest.approx(expected, abs=1e-6)


def _f1(called: np.ndarray, truth: np.ndarray) -> float:
    return 2 * (called & (truth > 0)).sum() / (called.sum() + truth.sum())


@pytest.mark.slow
@settings(max_examples=100)
@given(
    st.lists(st.tuples(st.integers(0, 12), st.booleans()), min_size=1, max_size=25).filter(
        lambda rows: any(t for _, t in rows)
    )
)
def test_threshold_has_the_best_f1_of_all(rows: list[tuple[int, bool]]) -> None:
    p = np.array([v / 12 for v, _ in rows])
    truth = np.array([float(t) for _, t in rows])
    best = max(_f1(p >= cut, truth) for cut in np.unique(p))
    threshold = best_threshold(p, truth)
    assert _f1(p >= threshold, truth) == pytest.approx(best)
    assert 0 <= threshold <= 1
    assert threshold == 0 or threshold not in set(np.unique(p)[np.unique(p) > 0]) or len(np.unique(p)) == 1


def _data(n: int = 400, findings: int = 3) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(1)
    truth = (rng.random((n, findings)) < np.array([0.4, 0.1, 0.02])[:findings]).astype(float)
    logits = 2.5 * (2 * truth - 1) + rng.normal(0, 2, truth.shape) + np.array([0, 1.5, 0])[:findings]
    return logits, truth


def test_fit_is_calibrated_and_moves_each_finding_as_far_as_its_positives_weigh() -> None:
    logits, truth = _data()
    made = fit(("a", "b", "c"), logits, truth)
    p = made.probability(logits)
    slope, common = _platt(logits.ravel(), truth.ravel())
    for n in range(3):
        weight = truth[:, n].sum() / (truth[:, n].sum() + 20)
        own = _offset(slope * logits[:, n] + common, truth[:, n])
        assert made.offset[n] == pytest.approx(common + weight * own)
        assert made.slope[n] == pytest.approx(slope)
        assert abs(p[:, n].mean() - truth[:, n].mean()) < 0.05
    assert made.offset[1] < made.offset[0], "b has logits 1.5 too high"
    high = best_threshold(p.ravel(), truth.ravel())
    own = best_threshold(p[:, 0], truth[:, 0])
    weight = truth[:, 0].sum() / (truth[:, 0].sum() + 20)
    assert made.present_from[0] == pytest.approx(high + weight * (own - high))
    assert made.absent_below == pytest.approx([0.5 * v for v in made.present_from])
    unshrunk = fit(("a", "b", "c"), logits, truth, shrink=1e12)
    assert unshrunk.offset == pytest.approx([common] * 3) and len(set(np.round(unshrunk.present_from, 9))) == 1


def test_what_is_not_known_has_no_say() -> None:
    logits, truth = _data()
    known = np.ones(truth.shape, bool)
    known[::3, 0] = False
    spoilt, wrong = logits.copy(), truth.copy()
    spoilt[::3, 0], wrong[::3, 0] = 1e6, 0
    assert fit("abc", spoilt, wrong, known=known) == fit("abc", logits, truth, known=known)
    nothing = known.copy()
    nothing[:, 2] = False
    made = fit("abc", logits, truth, known=nothing)
    assert np.isfinite(made.offset).all()
    assert made.offset[2] == pytest.approx(_platt(logits[nothing], truth[nothing])[1])


def test_status_and_thresholds() -> None:
    made = Calibration(("a", "b"), (1, 1), (0, 0), (0.2, 0), (0.6, 0.5))
    assert [made.status(0, p) for p in (0.0, 0.19, 0.2, 0.59, 0.6, 1.0)] == [
        Status.ABSENT,
        Status.ABSENT,
        Status.INDETERMINATE,
        Status.INDETERMINATE,
        Status.PRESENT,
        Status.PRESENT,
    ]
    assert made.status(1, 0.0) is Status.INDETERMINATE, "nothing is below 0"
    assert made.thresholds == {"a": (0.2, 0.6), "b": (0.0, 0.5)}
    assert record_from(Calibration, asdict(made)) == made
    assert made.probability(np.array([[0.0, 1e6], [-1e6, np.log(3)]])) == pytest.approx(
        np.array([[0.5, 1.0], [0.0, 0.75]]), abs=1e-9
    )


def test_bad_input() -> None:
    logits, truth = _data()
    with pytest.raises(InputError, match="one value a finding"):
        Calibration(("a", "b"), (1,), (0, 0), (0, 0), (1, 1))
    with pytest.raises(InputError, match=r"b: 0\.7, 0\.6"):
        Calibration(("a", "b"), (1, 1), (0, 0), (0, 0.7), (1, 0.6))
    with pytest.raises(InputError, match="one value a finding"):
        fit(("a",), logits, truth)
    with pytest.raises(InputError, match=r"\(N, F\)"):
        fit("abc", logits[:-1], truth)
    for only in (np.zeros_like(truth), np.ones_like(truth)):
        with pytest.raises(InputError, match="positive and negative"):
            fit("abc", logits, only)
    logits[3, 1] = np.nan
    with pytest.raises(InputError, match="finite"):
        fit("abc", logits, truth)

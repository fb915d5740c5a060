"""Bins, intervals and the error by hand; the picture shows each bin where it belongs."""

from __future__ import annotations

import xml.etree.ElementTree as ET

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from reliability import calibration_error, reliability, reliability_svg, wilson

from radvlm.errors import InputError


def test_bins_by_hand() -> None:
    p = np.array([[0.0, 0.1, 0.24], [0.3, 0.75, 1.0]])
    t = np.array([[0, 0, 1], [1, 0, 1]])
    held = reliability(p, t, bins=4)
    assert [(b.low, b.high, b.n) for b in held] == [(0, 0.25, 3), (0.25, 0.5, 1), (0.75, 1.0, 2)]
    assert [b.mean for b in held] == pytest.approx([0.34 / 3, 0.3, 0.875])
    assert [b.share for b in held] == pytest.approx([1 / 3, 1.0, 0.5])
    assert calibration_error(held) == pytest.approx((3 * (1 / 3 - 0.34 / 3) + 0.7 + 2 * 0.375) / 6)


def test_wilson_against_its_definition() -> None:
    """The ends are the shares p for which (observed - p)^2 = z^2 p (1 - p) / n."""
    z = 1.959964
    for k, n in ((0, 5), (1, 30), (7, 20), (20, 20)):
        for end in wilson(k, n):
            assert (k / n - end) ** 2 == pytest.approx(z * z * end * (1 - end) / n, abs=1e-9)
    assert wilson(7, 20) == pytest.approx((0.1812, 0.5671), abs=1e-4)


def test_perfect_probabilities_have_little_error_and_overconfident_ones_more() -> None:
    rng = np.random.default_rng(0)
    p = rng.random(40_000)
    t = (rng.random(40_000) < p).astype(int)
    good, bold = reliability(p, t), reliability(np.clip(3 * (p - 0.5) + 0.5, 0, 1), t)
    assert calibration_error(good) < 0.01 < 0.1 < calibration_error(bold)
    assert sum(b.share_low <= b.mean <= b.share_high for b in good) >= 12


@given(st.lists(st.tuples(st.floats(0, 1), st.integers(0, 1)), min_size=1, max_size=60), st.integers(2, 20))
def test_every_case_is_in_one_bin(rows: list[tuple[float, int]], bins: int) -> None:
    p, t = np.array([r[0] for r in rows]), np.array([r[1] for r in rows])
    held = reliability(p, t, bins)
    assert sum(b.n for b in held) == len(rows)
    assert sum(b.n * b.share for b in held) == pytest.approx(t.sum())
    assert all(b.low - 1e-12 <= b.mean <= b.high + 1e-12 and b.share_low <= b.share + 1e-12 for b in held)


def test_the_picture_is_well_formed_and_says_its_numbers() -> None:
    held = reliability(np.array([0.1, 0.9, 0.95]), np.array([0, 1, 1]), 5)
    drawn = ET.fromstring(reliability_svg(held, "a < b"))
    names = [child.tag.split("}")[1] for child in drawn]
    assert names.count("circle") == 2
    text = " ".join(t for t in drawn.itertext())
    assert "a < b" in text and "3 predictions" in text and "predicted 0.10, observed 0.00 of 1" in text
    low, high = (child for child in drawn if child.tag.endswith("circle"))
    assert float(low.get("cx", 0)) < float(high.get("cx", 0)) and float(low.get("cy", 0)) > float(high.get("cy", 0))


@pytest.mark.parametrize(
    ("p", "t", "bins"),
    [([0.1], [0, 1], 5), ([], [], 5), ([1.2], [1], 5), ([0.1], [-1], 5), ([float("nan")], [1], 5), ([0.1], [1], 1)],
)
def test_bad_input(p: list[float], t: list[int], bins: int) -> None:
    with pytest.raises(InputError):
        reliability(np.array(p), np.array(t), bins)

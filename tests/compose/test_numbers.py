"""How numbers are written, and the closed set of ways in which they may be."""

from __future__ import annotations

from decimal import Decimal

import hypothesis.strategies as st
import pytest
from hypothesis import given

from radvlm.compose import Style
from radvlm.types.measurement import QUANTITIES, Measurement
from radvlm.wording.numbers import axes_text, hu_text, length_text, renderings, rounded, spacing_text, volume_text

AUTO = Style()


@pytest.mark.parametrize(
    ("value", "step", "text"),
    [
        (2.5, "1", "3"),
        (3.5, "1", "4"),
        (-2.5, "1", "-3"),
        (0.25, "0.1", "0.3"),
        (-0.4, "1", "0"),
        (1514.9, "10", "1510"),
        (1515.0, "10", "1520"),
        (1.005, "0.01", "1.01"),
        (7.0, "1", "7"),
        (2.0, "0.1", "2.0"),
    ],
)
def test_halves_round_away_from_zero(value: float, step: str, text: str) -> None:
    assert rounded(value, step) == text


@pytest.mark.parametrize(
    ("mm", "text"),
    [
        (7.2, "7 mm"),
        (9.49, "9 mm"),
        (9.5, "1.0 cm"),
        (10.0, "1.0 cm"),
        (23.4, "2.3 cm"),
        (23.5, "2.4 cm"),
        (0.6, "1 mm"),
    ],
)
def test_lengths_change_unit_at_one_centimeter(mm: float, text: str) -> None:
    assert length_text(mm, AUTO) == text


def test_axes_volumes_and_attenuation() -> None:
    assert axes_text(23.4, 18.1, AUTO) == "2.3 x 1.8 cm" and axes_text(12, 7, AUTO) == "1.2 x 0.7 cm"
    assert axes_text(7.2, 5.4, AUTO) == "7 x 5 mm" and axes_text(23.4, 18.1, Style(length_unit="mm")) == "23 x 18 mm"
    assert [volume_text(v) for v in (1513.0, 423.4, 99.6, 8.44, 0.26)] == [
        "1510 mL",
        "423 mL",
        "100 mL",
        "8.4 mL",
        "0.3 mL",
    ]
    assert (hu_text(-0.3), hu_text(-12.5)) == ("0 HU", "-13 HU")
    assert [spacing_text(v) for v in (2.0, 2.5, 0.9765625)] == ["2 mm", "2.5 mm", "0.98 mm"]


@pytest.mark.parametrize(
    ("quantity", "value", "allowed"),
    [
        ("long_axis", 23.44, {("23", "mm"), ("23.4", "mm"), ("2.3", "cm")}),
        ("volume", 423.44, {("423", "mL"), ("423.4", "mL")}),
        ("volume", 1513.0, {("1513", "mL"), ("1513.0", "mL"), ("1510", "mL")}),
        ("mean_hu", 44.6, {("45", "HU")}),
        ("slice_spacing", 2.0, {("2", "mm")}),
        ("count", 20, {("20", "1")}),
        ("long_axis", 0.3, {("0.3", "mm"), ("0.03", "cm")}),  # never "0 mm" or "0.0 cm"
        ("volume", 0.04, {("0.04", "mL")}),
        ("volume", 0.0014, {("0.001", "mL")}),
        ("mean_hu", 0.2, {("0", "HU")}),
    ],
)
def test_nothing_else_may_be_written(quantity: str, value: float, allowed: set) -> None:
    assert renderings(Measurement(quantity, value, "given")) == allowed


@given(st.sampled_from(sorted(QUANTITIES)), st.floats(0.01, 5000, allow_nan=False))
def test_every_rendering_is_within_its_rounding(quantity: str, value: float) -> None:
    for digits, unit in renderings(Measurement(quantity, value, "given")):
        scale = 10 if unit == "cm" else 1
        places = -Decimal(digits).as_tuple().exponent
        half = Decimal(5 if digits.endswith("0") and value >= 1000 else Decimal("0.5")) * Decimal(10) ** -places
        assert abs(Decimal(digits) - Decimal(repr(value)) / scale) <= half


@given(st.floats(0.001, 400, allow_nan=False), st.sampled_from(["auto", "mm", "cm"]))
def test_what_is_written_may_be_written(mm: float, unit: str) -> None:
    text = length_text(mm, Style(length_unit=unit))
    digits, name = text.split()
    assert (digits, name) in renderings(Measurement("long_axis", mm, "given"))

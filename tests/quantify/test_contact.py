"""Contact angles of known size, gaps, lengths, and branches told apart."""

from __future__ import annotations

import numpy as np
import pytest

import analytic
from radvlm.quantify.contact import measure_contact, surface_distance


@pytest.mark.slow
@pytest.mark.parametrize("spacing", [(1.0, 1.0, 1.0), (0.7, 0.7, 3.0)])
@pytest.mark.parametrize("kind", ["straight", "curved", "oblique"])
@pytest.mark.parametrize("degrees", [45, 90, 150, 180, 270])
def test_a_known_arc_is_measured_within_ten_degrees(kind, degrees, spacing):
    rng = np.random.default_rng(degrees)
    errors = []
    for radius in (5.0, 6.0):
        vessel, tumor = analytic.vessel_and_tumor(kind, spacing, radius, degrees, rng)
        found = measure_contact(tumor, vessel, spacing)
        assert found.touches and found.distance_mm == 0 and not found.reason
        assert found.length_mm == pytest.approx(20, abs=max(3.0, 1.5 * max(spacing)))
        errors.append(found.angle_degrees - degrees)
    assert np.abs(errors).max() <= 10, errors


@pytest.mark.slow
@pytest.mark.parametrize("spacing", [(1.0, 1.0, 1.0), (0.7, 0.7, 3.0)])
@pytest.mark.parametrize("kind", ["straight", "curved", "oblique"])
def test_a_gap_of_three_mm_is_no_contact(kind, spacing):
    rng = np.random.default_rng(3)
    for degrees in (60, 180):
        vessel, tumor = analytic.vessel_and_tumor(kind, spacing, 5.0, degrees, rng, gap=3.0)
        found = measure_contact(tumor, vessel, spacing)
        assert not found.touches and found.angle_degrees is None and found.length_mm is None
        assert found.distance_mm == pytest.approx(3, abs=1.5) and found.distance_mm > 1


@pytest.mark.slow
def test_the_angle_does_not_depend_on_order_or_place_of_the_grid():
    spacing = (1.0, 1.0, 1.0)
    vessel, tumor = analytic.vessel_and_tumor("oblique", spacing, 5.0, 120, np.random.default_rng(1))
    plain = measure_contact(tumor, vessel, spacing)
    pad = ((7, 2), (0, 5), (3, 3))
    moved = measure_contact(np.pad(tumor, pad), np.pad(vessel, pad), spacing)
    assert moved == plain
    for order, flip in (((2, 0, 1), (1, 1, 1)), ((0, 1, 2), (-1, 1, -1)), ((1, 0, 2), (1, -1, 1))):
        part = tuple(slice(None, None, f) for f in flip)
        turned = measure_contact(tumor.transpose(order)[part], vessel.transpose(order)[part], spacing)
        assert turned.angle_degrees == pytest.approx(plain.angle_degrees, abs=4)
        assert turned.length_mm == pytest.approx(plain.length_mm, abs=1.5)


@pytest.mark.slow
def test_a_finer_grid_comes_nearer():
    errors = []
    for step in (2.0, 1.0, 0.75):
        rng = np.random.default_rng(5)
        found = [
            measure_contact(*analytic.vessel_and_tumor("curved", (step,) * 3, 5.0, 150, rng)[::-1], (step,) * 3)
            for _ in range(3)
        ]
        errors.append(np.abs([f.angle_degrees - 150 for f in found]).mean())
    assert errors[-1] < 6 and errors[-1] <= errors[0] + 1, errors


def test_distance_is_edge_to_edge():
    a, b = np.zeros((20, 5, 5), bool), np.zeros((20, 5, 5), bool)
    a[2:5, 2, 2], b[5:8, 2, 2] = True, True
    assert surface_distance(a, b, (1, 1, 1)) == (0.0, 1.0)
    b[:] = False
    b[8:10, 2, 2] = True
    assert surface_distance(a, b, (0.5, 1, 1)) == (1.5, 0.5)
    assert surface_distance(a, np.zeros_like(a), (1, 1, 1)) is None
    far = np.zeros((60, 3, 3), bool)
    far[0, 1, 1] = True
    other = np.zeros_like(far)
    other[59, 1, 1] = True
    assert surface_distance(far, other, (1, 1, 1)) is None
    assert not measure_contact(far, other, (1, 1, 1)).touches
    assert measure_contact(np.zeros_like(far), other, (1, 1, 1)).distance_mm is None


def test_a_vessel_without_a_line_says_so():
    vessel, tumor = np.zeros((12, 12, 12), bool), np.zeros((12, 12, 12), bool)
    vessel[5, 5, 5:7] = True
    tumor[6:9, 5, 5:7] = True
    found = measure_contact(tumor, vessel, (1.0, 1.0, 1.0))
    assert found.touches and found.angle_degrees is None and "center line" in found.reason

"""Vertebrae as rulers where no organ is whole: a spacing twice or half as wide is told, people of all sizes are not."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from radvlm.io.width_rulers import check_widths
from radvlm.phantom import PhantomSpec, make_phantom
from radvlm.types.geometry import Geometry
from radvlm.types.segmentation import Segmentation


@pytest.fixture(scope="module")
def masks() -> Segmentation:
    return make_phantom(PhantomSpec(seed=1, region="chest", spacing_mm=(5.0, 5.0, 5.0))).segmentation


def scaled(masks: Segmentation, factors: tuple[float, float, float], slices: slice = slice(None)) -> Segmentation:
    layers = tuple(np.ascontiguousarray(layer[:, :, slices]) for layer in masks.layers)
    held = [set(np.unique(layer).tolist()) for layer in layers]
    places = {name: place for name, place in masks.places.items() if place.label in held[place.layer]}
    geometry = Geometry(layers[0].shape, np.diag([*factors, 1.0]) @ masks.geometry.affine)
    return replace(masks, layers=layers, places=places, searched=frozenset(places), geometry=geometry)


@pytest.mark.parametrize(
    ("factors", "age", "told"),
    [
        ((2, 2, 2), None, "times as wide as a grown person's"),
        ((2, 2, 1), 40, "times as wide"),
        ((0.5, 0.5, 1), 40, "At 40 years, vertebrae are 0."),
        ((0.5, 0.5, 0.5), 18, "At 18 years"),
        ((1, 1, 2), None, "lie too far apart"),
        ((1, 1, 0.5), None, "lie too close together"),
    ],
)
def test_a_spacing_twice_or_half_as_wide(masks, factors, age, told) -> None:
    (decision,) = check_widths(scaled(masks, factors), age)
    assert decision.warning and decision.step == "size" and told in decision.what


#: An infant, a child, an adult at both ends of what adults are, and the largest.
@pytest.mark.parametrize(
    ("factors", "age"),
    [
        ((0.33, 0.33, 0.33), 0.5),
        ((0.5, 0.5, 0.5), None),
        ((0.7, 0.7, 0.7), 12),
        ((0.82, 0.82, 0.8), 70),
        ((1, 1, 1), 40),
        ((1.25, 1.3, 1.2), 30),
        ((1, 1, 0.8), 85),
    ],
)
def test_people_of_all_sizes_pass(masks, factors, age) -> None:
    assert check_widths(scaled(masks, factors), age) == ()


def test_few_slices_are_enough_for_widths_and_cut_vertebrae_are_no_narrow_ones(masks) -> None:
    assert check_widths(scaled(masks, (2, 2, 2), slice(20, 26)), None)
    for start in range(0, 40, 3):
        assert check_widths(scaled(masks, (1, 1, 1), slice(start, start + 4)), 40) == ()


def test_without_vertebrae_nothing_is_said(masks) -> None:
    assert check_widths(replace(masks, places={}, layers=(), searched=frozenset()), 40) == ()

"""Masks of hollow organs in tissue that they cannot hold, and axes exchanged in a scan together with its masks."""

from __future__ import annotations

import numpy as np
import pytest

from radvlm.io import load_volume
from radvlm.io.mask_tissues import wrong_tissues
from radvlm.io.masks import load_segmentation
from radvlm.phantom import Phantom, PhantomSpec, make_phantom
from radvlm.types.segmentation import LabelPlace, Segmentation

ORGANS = ("trachea", "aorta", "inferior_vena_cava", "stomach")


@pytest.fixture(scope="module")
def case() -> Phantom:
    return make_phantom(PhantomSpec(seed=3, region="chest-abdomen-pelvis", spacing_mm=(4.0, 4.0, 8.0)))


def moved(case: Phantom, name: str, x_mm: float, y_mm: float) -> Segmentation:
    mask = np.roll(case.segmentation.mask(name), (round(x_mm / 4), round(y_mm / 4)), (0, 1))
    places = {name: LabelPlace(0, 1)}
    return Segmentation((mask.astype(np.uint8),), places, frozenset(places), case.segmentation.geometry)


@pytest.mark.parametrize("name", ORGANS)
def test_a_shift_in_the_plane_is_told_of_each_organ(case: Phantom, name: str) -> None:
    hu = case.volume.hu
    assert not [*wrong_tissues(moved(case, name, 0, 0), hu)]
    ways = [(36, 0), (-36, 0), (0, 36), (0, -36), (26, 26), (-26, 26), (26, -26), (-26, -26)]
    told = [found for way in ways if (found := [*wrong_tissues(moved(case, name, *way), hu)])]
    assert len(told) >= 5  # the others lie in tissue that may be theirs
    (found,) = told[0]
    assert found[0] == name and 0.25 < found[1] <= 1


def test_a_lobe_of_the_lung_is_no_esophagus(case: Phantom) -> None:
    mask = case.segmentation.mask("lung_upper_lobe_left").astype(np.uint8)
    found = Segmentation((mask,), {"esophagus": LabelPlace(0, 1)}, frozenset(), case.segmentation.geometry)
    assert [(name, where) for name, _, where in wrong_tissues(found, case.volume.hu)] == [("esophagus", "lies in lung")]


def test_noise_and_every_organ_of_a_scan_pass(case: Phantom) -> None:
    assert not [*wrong_tissues(case.segmentation, case.volume.hu)]
    noisy = case.volume.hu + np.random.default_rng(0).normal(0, 60, case.volume.hu.shape)
    assert not [*wrong_tissues(case.segmentation, np.rint(noisy).astype(np.int16))]


def test_the_warning_reaches_the_head_and_nothing_of_it_is_interpreted(case: Phantom) -> None:
    masks = case.segmentation
    layer = masks.layers[masks.places["trachea"].layer].copy()
    place = masks.places["trachea"]
    layer[masks.mask("trachea")] = 0
    beside = np.roll(masks.mask("trachea"), 9, 1) & (layer == 0)
    layer[beside] = place.label
    layers = tuple(layer if number == place.layer else other for number, other in enumerate(masks.layers))
    changed = Segmentation(layers, masks.places, masks.searched, masks.geometry)
    found = load_segmentation(changed, like=case.volume)
    assert found.unsure == {"trachea": "its mask holds no gas"}
    assert any(d.warning and d.step == "placement" and "the trachea holds no gas" in d.what for d in found.decisions)


@pytest.mark.parametrize(("order", "axes"), [((1, 0, 2), "x and y"), ((0, 2, 1), "y and z"), ((2, 1, 0), "x and z")])
def test_axes_that_are_exchanged_in_scan_and_masks_together(case: Phantom, order, axes) -> None:
    affine = np.diag([4.0, 4.0, 4.0, 1.0])
    scan = load_volume(np.ascontiguousarray(case.volume.hu.transpose(order)), affine=affine)
    masks = case.segmentation
    names = (
        "kidney_left",
        "kidney_right",
        "liver",
        "spleen",
        *(n for n in masks.places if n.startswith("vertebrae_L")),
    )
    given = {name: (masks.mask(name).transpose(order).astype(np.uint8), affine) for name in names}
    found = load_segmentation(given, like=scan, accept_misplaced=True)
    assert any(axes in d.what or "swapped" in d.what for d in found.decisions if d.warning)

"""Masks shifted by one to four centimeters, and flips of thin scans, are told; masks that are a little coarse pass."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from radvlm.io.placement import placement_of
from radvlm.io.volumes import load_volume
from radvlm.phantom import PhantomSpec, make_phantom
from radvlm.types.geometry import Geometry
from radvlm.types.segmentation import LabelPlace, Segmentation
from radvlm.types.volume import Volume

ORGANS = ("liver", "spleen", "kidney_left", "kidney_right", "stomach", "pancreas", "aorta", "vertebrae_L1")
SPACING = (4.0, 4.0, 4.0)


@pytest.fixture(scope="module")
def scan() -> tuple[Volume, dict[str, np.ndarray]]:
    made = make_phantom(PhantomSpec(seed=5, region="abdomen", spacing_mm=SPACING, crop=((0, 1), (0, 1), (0.4, 1))))
    return made.volume, {name: made.segmentation.mask(name) for name in ORGANS}


def segmentation(masks: dict[str, np.ndarray], geometry: Geometry) -> Segmentation:
    masks = {name: mask for name, mask in masks.items() if mask.any()}
    layers = tuple(np.ascontiguousarray(mask, dtype=np.uint8) for mask in masks.values())
    places = {name: LabelPlace(number, 1) for number, name in enumerate(masks)}
    return Segmentation(layers, places, frozenset(places), geometry)


def moved(mask: np.ndarray, axis: int, voxels: int) -> np.ndarray:
    return np.roll(mask, voxels, axis)


@pytest.mark.parametrize("names", [("liver",), ("liver", "spleen", "kidney_left"), ORGANS])
@pytest.mark.parametrize(
    ("axis", "voxels", "words"), [(0, 5, "right"), (1, -5, "back"), (2, 6, "head"), (2, -6, "feet")]
)
def test_masks_that_are_all_shifted_by_two_centimeters_are_told(scan, names, axis, voxels, words) -> None:
    volume, masks = scan
    found = placement_of(volume, segmentation({n: moved(masks[n], axis, voxels) for n in names}, volume.geometry))
    assert not found.fits
    assert f"toward the patient's {words}" in found.problem + " ".join(found.doubts)


@pytest.mark.parametrize(("name", "axis", "voxels"), [("liver", 2, 8), ("spleen", 0, 6), ("kidney_left", 1, -6)])
def test_one_mask_among_right_ones_that_is_shifted_is_told_and_not_interpreted(scan, name, axis, voxels) -> None:
    volume, masks = scan
    found = placement_of(volume, segmentation(masks | {name: moved(masks[name], axis, voxels)}, volume.geometry))
    assert not found.problem and found.fits
    assert [structure for structure, _ in found.unsure] == [name]
    assert "alone looks shifted" in " ".join(found.doubts)


@pytest.mark.parametrize("names", [("liver",), ("liver", "spleen"), ORGANS])
@pytest.mark.parametrize("axis", [0, 1, 2])
def test_a_flip_on_a_thin_scan_is_told(scan, names, axis) -> None:
    volume, masks = scan
    first = 20
    thin = slice(first, first + 10)
    slab = load_volume(volume.hu[:, :, thin], affine=volume.geometry.affine)
    found = placement_of(slab, segmentation({n: np.flip(masks[n][:, :, thin], axis) for n in names}, slab.geometry))
    assert found.problem or found.doubts


@pytest.mark.parametrize("names", [("liver",), ("aorta",), ("pancreas",), ("kidney_left", "kidney_right"), ORGANS])
def test_masks_in_place_pass_whatever_their_grain(scan, names) -> None:
    volume, masks = scan
    kept = {name: masks[name] for name in names}
    coarse = {name: np.kron(mask[1::2, 1::2, 1::2], np.ones((2, 2, 2), bool)) for name, mask in kept.items()}
    shape = volume.geometry.shape
    coarse = {
        name: np.pad(m, [(0, max(0, n - k)) for n, k in zip(shape, m.shape, strict=True)]) for name, m in coarse.items()
    }
    coarse = {name: mask[: shape[0], : shape[1], : shape[2]] for name, mask in coarse.items()}
    noisy = replace(volume, hu=(volume.hu + np.random.default_rng(0).normal(0, 40, shape)).astype(np.int16))
    for taken, of in ((volume, kept), (volume, coarse), (noisy, kept)):
        found = placement_of(taken, segmentation(of, volume.geometry))
        assert (found.problem, found.doubts, found.unsure) == ("", (), ())

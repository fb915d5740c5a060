"""A structure of one side, or liver or spleen, alone among the masks: which side of the body does it lie on?"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from radvlm.io.placement import Placement, placement_of
from radvlm.phantom import Phantom, PhantomSpec, make_phantom
from radvlm.types.anatomy import structure
from radvlm.types.geometry import Geometry
from radvlm.types.segmentation import LabelPlace, Segmentation
from radvlm.types.volume import Volume


@pytest.fixture(scope="module")
def phantom() -> Phantom:
    return make_phantom(PhantomSpec(seed=1, region="chest-abdomen-pelvis", spacing_mm=(6.0, 6.0, 8.0)))


def named(phantom: Phantom, **new_names: str) -> Segmentation:
    """Masks of the phantom under other names: ``kidney_left="kidney_right"`` calls the right kidney the left one."""
    masks = phantom.segmentation
    layers = tuple(np.zeros(masks.geometry.shape, np.uint8) for _ in new_names)
    for layer, old in zip(layers, new_names.values(), strict=True):
        layer[masks.mask(old)] = 1
    places = {new: LabelPlace(number, 1) for number, new in enumerate(new_names)}
    return Segmentation(layers, places, frozenset(places), masks.geometry)


def moved(segmentation: Segmentation, volume: Volume, shift_mm: float) -> tuple[Volume, Segmentation]:
    """Masks, and what lies under them, moved to the patient's right; the gap is filled with fat."""
    steps = round(shift_mm / segmentation.geometry.spacing_mm[0])
    mask = segmentation.layers[0] > 0
    there = np.roll(mask, steps, 0)
    hu = volume.hu.copy()
    values = hu[mask]
    hu[mask] = -100
    hu[there] = values
    return replace(volume, hu=hu), replace(segmentation, layers=(there.astype(np.uint8),))


WRONG = {
    "kidney": {"kidney_left": "kidney_right"},
    "kidney beside other organs": {"kidney_left": "kidney_right", "liver": "liver", "aorta": "aorta"},
    "kidney beside pairs": {
        "kidney_right": "kidney_left", "hip_left": "hip_left", "hip_right": "hip_right", "heart": "heart"
    },
    "adrenal": {"adrenal_gland_right": "kidney_left", "vertebrae_L1": "vertebrae_L1", "vertebrae_L2": "vertebrae_L2"},
    "lobe": {"lung_upper_lobe_left": "lung_upper_lobe_right"},
    "rib": {"rib_left_7": "rib_right_7"},
    "hip": {"hip_right": "hip_left"},
    "spleen": {"spleen": "liver"},
    "liver": {"liver": "spleen"},
}  # fmt: skip


@pytest.mark.parametrize("case", WRONG)
def test_a_lone_structure_on_the_wrong_side_is_an_error(phantom: Phantom, case: str) -> None:
    found = placement_of(phantom.volume, named(phantom, **WRONG[case]))
    assert " of the midline" in found.problem, found
    assert f"the {structure(next(iter(WRONG[case]))).words} lies" in found.problem


def test_a_lone_structure_on_its_own_side_passes_in_silence(phantom: Phantom) -> None:
    for name in phantom.segmentation.places:
        assert placement_of(phantom.volume, named(phantom, **{name: name})) == Placement(), name


def mirrored(volume: Volume, masks: Segmentation) -> tuple[Volume, Segmentation]:
    """Scan and masks of a mirrored body."""
    layers = tuple(np.ascontiguousarray(layer[::-1]) for layer in masks.layers)
    hu = np.ascontiguousarray(volume.hu[::-1])
    return replace(volume, hu=hu), Segmentation(layers, masks.places, masks.searched, masks.geometry)


def test_situs_inversus_is_told_by_the_other_organs(phantom: Phantom) -> None:
    """Liver and spleen mirrored, or one of them beside pairs in order: accepted with one warning."""
    for names in (
        {"liver": "liver", "spleen": "spleen"},
        {"liver": "liver", "kidney_left": "kidney_right", "kidney_right": "kidney_left"},
        {"spleen": "spleen", "hip_left": "hip_right", "hip_right": "hip_left"},
    ):
        found = placement_of(*mirrored(phantom.volume, named(phantom, **names)))
        assert not found.problem and len(found.doubts) == 1, (names, found)
    both = named(phantom, liver="liver", kidney_right="kidney_left", adrenal_gland_left="adrenal_gland_right")
    assert "situs inversus" not in placement_of(*mirrored(phantom.volume, both)).problem


@pytest.mark.parametrize(("shift_mm", "is_said"), [(-66, False), (-90, True), (-120, "error")])
def test_an_ectopic_kidney_is_warned_of_and_a_pelvic_one_is_not(
    phantom: Phantom, shift_mm: float, is_said: bool | str
) -> None:
    """The right kidney (middle about 58 mm off) near the midline, and beyond it by about 30 and by 60 mm."""
    volume, masks = moved(named(phantom, kidney_right="kidney_right"), phantom.volume, shift_mm)
    found = placement_of(volume, masks)
    assert (bool(found.doubts), bool(found.problem)) == (is_said is True, is_said == "error"), found


def test_nothing_is_said_of_a_body_cut_at_a_side_or_lying_on_one(phantom: Phantom) -> None:
    masks = named(phantom, kidney_left="kidney_left")
    shape, affine = phantom.volume.geometry.shape, phantom.volume.geometry.affine
    box = slice(0, shape[0] // 2 - 4)  # the left half alone
    geometry = Geometry((box.stop, *shape[1:]), affine)
    half = replace(phantom.volume, hu=np.ascontiguousarray(phantom.volume.hu[box]), geometry=geometry)
    cut = Segmentation((masks.layers[0][box],), masks.places, masks.searched, geometry)
    called_right = Segmentation(cut.layers, {"kidney_right": LabelPlace(0, 1)}, frozenset(), geometry)
    assert placement_of(half, cut) == placement_of(half, called_right) == Placement()
    turned = Geometry((shape[1], shape[0], shape[2]), np.diag([6.0, 6.0, 8.0, 1.0]))
    for name in ("kidney_left", "kidney_right"):
        side = replace(phantom.volume, hu=np.ascontiguousarray(phantom.volume.hu.swapaxes(0, 1)), geometry=turned)
        layers = (np.ascontiguousarray(named(phantom, **{name: name}).layers[0].swapaxes(0, 1)),)
        lying = Segmentation(layers, {name: LabelPlace(0, 1)}, frozenset(), turned)
        assert not placement_of(side, lying).doubts and " of the midline" not in placement_of(side, lying).problem


def test_one_arm_beside_the_body_raises_no_doubt(phantom: Phantom) -> None:
    """An arm on one side moves the outline's middle by 40 mm; the middle of its mass stays."""
    hu = phantom.volume.hu.copy()
    spacing = phantom.volume.geometry.spacing_mm
    across = np.flatnonzero((hu > -300).mean(axis=(1, 2)) > 0.05)
    y = np.abs(np.arange(hu.shape[1]) - hu.shape[1] / 2) * spacing[1] < 40
    hu[across[-1] : across[-1] + round(80 / spacing[0])][:, y] = 40
    volume = replace(phantom.volume, hu=hu)
    for name in ("kidney_left", "kidney_right", "lung_upper_lobe_right", "liver", "spleen"):
        assert placement_of(volume, named(phantom, **{name: name})) == Placement(), name

"""Single masks that are mirrored, and names that are exchanged, among masks that lie right."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from radvlm.io.masks import load_segmentation
from radvlm.phantom import Phantom, PhantomSpec, make_phantom
from radvlm.quantify import measure_scan
from radvlm.types.anatomy import structure
from radvlm.types.segmentation import LabelPlace, Segmentation

BESIDE = ("liver", "spleen", "kidney_left", "kidney_right", "aorta", "inferior_vena_cava", "stomach", "vertebrae_L1")


@pytest.fixture(scope="module")
def phantom() -> Phantom:
    return make_phantom(PhantomSpec(seed=11, region="abdomen-pelvis", spacing_mm=(5.0, 5.0, 5.0), phase="arterial"))


def masks_of(phantom: Phantom, names: tuple[str, ...], mirrored: dict[str, int]) -> Segmentation:
    layers = []
    for name in names:
        mask = phantom.segmentation.mask(name)
        layers.append((np.flip(mask, mirrored[name]) if name in mirrored else mask).astype(np.uint8))
    places = {name: LabelPlace(number, 1) for number, name in enumerate(names)}
    return Segmentation(tuple(layers), places, frozenset(places), phantom.segmentation.geometry)


@pytest.mark.parametrize(("name", "axis"), [("pancreas", 0), ("stomach", 0), ("kidney_left", 2), ("aorta", 2)])
def test_one_mirrored_mask_among_right_ones_is_warned_of(phantom: Phantom, name: str, axis: int) -> None:
    masks = masks_of(phantom, tuple(dict.fromkeys((*BESIDE, name))), {name: axis})
    found = load_segmentation(masks, like=phantom.volume)
    told = [d.what for d in found.decisions if d.warning]
    assert any(f"The mask of the {structure(name).words} alone looks mirrored along" in what for what in told), told
    assert set(found.unsure) == {name}


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ("aorta", "inferior_vena_cava"),
        ("spleen", "kidney_left"),
        ("spleen", "stomach"),
        ("pancreas", "duodenum"),
        ("liver", "stomach"),
        ("autochthon_left", "autochthon_right"),
    ],
)
def test_exchanged_names_are_warned_of_and_not_interpreted(phantom: Phantom, first: str, second: str) -> None:
    masks = phantom.segmentation
    places = dict(masks.places)
    places[first], places[second] = places[second], places[first]
    found = load_segmentation(replace(masks, places=places), like=phantom.volume)
    assert {first, second} == set(found.unsure)
    assert any("may be exchanged" in d.what and d.warning for d in found.decisions)


def test_nothing_is_measured_of_exchanged_vessels(phantom: Phantom) -> None:
    names = ("aorta", "inferior_vena_cava", "vertebrae_L3")
    masks = masks_of(phantom, names, {})
    places = dict(masks.places) | {"aorta": masks.places["inferior_vena_cava"]}
    places["inferior_vena_cava"] = masks.places["aorta"]
    found = load_segmentation(replace(masks, places=places), like=phantom.volume)
    measured = measure_scan(phantom.volume, found)
    aorta = next(record for record in measured.structures if record.structure == "aorta")
    assert not aorta.measurements and any("may be exchanged" in o.reason for o in aorta.omissions)
    assert any("may be exchanged" in d.what for d in measured.decisions)


def test_masks_in_place_have_no_doubt(phantom: Phantom) -> None:
    for part in (
        tuple(phantom.segmentation.places),
        BESIDE,
        ("aorta", "inferior_vena_cava"),
        ("spleen", "kidney_left"),
    ):
        names = tuple(name for name in part if structure(name).kind != "lesion")
        found = load_segmentation(masks_of(phantom, names, {}), like=phantom.volume)
        assert not found.unsure and not [d for d in found.decisions if d.warning]


def test_masks_drawn_on_every_second_slice_only_are_told(phantom: Phantom) -> None:
    masks = phantom.segmentation
    layers = tuple(np.where(np.arange(layer.shape[2]) % 2, layer, 0).astype(layer.dtype) for layer in masks.layers)
    names = ("liver", "spleen", "kidney_left")
    sparse = replace(masks, layers=layers, places={name: masks.places[name] for name in names})
    told = [d.what for d in load_segmentation(sparse, like=phantom.volume).decisions if d.warning]
    assert any("The mask of the liver is empty in" in what for what in told), told

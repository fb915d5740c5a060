"""The body as a ruler of lengths: lost units and wrong spacing are told, and people of all sizes are not."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

import radvlm
from radvlm.errors import GridError, VerificationError
from radvlm.io import load_segmentation, load_volume
from radvlm.io.size_rulers import check_organ_sizes, check_scan_size
from radvlm.phantom import PhantomSpec, make_phantom
from radvlm.types.geometry import Geometry
from radvlm.types.volume import Volume


@pytest.fixture(scope="module")
def case():
    return make_phantom(PhantomSpec(seed=1, region="abdomen", spacing_mm=(7.0, 7.0, 7.0), sex="F", age_years=63))


def scaled(geometry: Geometry, *factors: float) -> Geometry:
    return Geometry(geometry.shape, np.diag([*factors, 1.0]) @ geometry.affine)


@pytest.mark.parametrize(
    ("factors", "told"),
    [
        ((1e-3, 1e-3, 1e-3), "longer than 0.06 mm"),
        ((10, 10, 10), "at most 1100 mm wide"),
        ((10, 10, 1), "at most 1100 mm wide"),
        ((1, 1, 10), "2600 mm long"),
    ],
)
def test_a_scan_of_no_possible_person_is_refused(case, factors, told) -> None:
    with pytest.raises(GridError, match=told):
        load_volume(np.asarray(case.volume.hu), affine=scaled(case.volume.geometry, *factors).affine)


@pytest.mark.parametrize(
    ("factors", "told"),
    [
        ((0.1, 0.1, 0.1), "far too small"),
        ((0.1, 0.1, 1), "too long from head to foot"),
        ((1, 1, 0.1), "too short from head to foot"),
        ((10, 10, 10), "far too large"),
        ((1, 1, 10), "too long from head to foot"),
        ((1e-3, 1e-3, 1e-3), "far too small"),
    ],
)
def test_organs_of_no_possible_person_are_refused(case, factors, told) -> None:
    masks = replace(case.segmentation, geometry=scaled(case.segmentation.geometry, *factors))
    with pytest.raises(GridError, match=told):
        check_organ_sizes(masks)


def test_centimeters_are_warned_of_without_masks_and_refused_with_them(case) -> None:
    geometry = scaled(case.volume.geometry, 0.1, 0.1, 0.1)
    scan = load_volume(np.asarray(case.volume.hu), affine=geometry.affine)
    (warning,) = (d for d in scan.decisions if d.warning)
    assert warning.step == "size" and "cm read as mm" in warning.what
    with pytest.raises(GridError, match="far too small"):
        load_segmentation(replace(case.segmentation, geometry=geometry), like=scan)


#: A person's size against the phantom's: an infant of a third in each direction, a giant, one short and one tall.
PEOPLE = [(0.33, 0.33, 0.33), (0.5, 0.5, 0.4), (1, 1, 1), (1.6, 1.6, 1.2), (0.8, 0.8, 1.3), (1.3, 1.4, 0.9)]


@pytest.mark.parametrize("factors", PEOPLE)
def test_people_of_all_sizes_are_read(case, factors) -> None:
    geometry = scaled(case.volume.geometry, *factors)
    assert check_scan_size(case.volume.hu, geometry, attenuation_is_sure=True) == ()
    check_organ_sizes(replace(case.segmentation, geometry=geometry))


def test_parts_of_people_are_read(case) -> None:
    """Crops in every direction, thick slices, masks that end early, and a limb."""
    hu, geometry = case.volume.hu, case.volume.geometry
    for part in (np.s_[:, :, ::3], np.s_[20:36], np.s_[:, 18:30], np.s_[:, :, 10:16], np.s_[15:30, 15:30, 10:25]):
        cropped = hu[part]
        affine = geometry.affine @ np.diag([1, 1, 3 if part == np.s_[:, :, ::3] else 1, 1])
        assert check_scan_size(cropped, Geometry(cropped.shape, affine), attenuation_is_sure=True) == ()
    layers = []
    for layer in case.segmentation.layers:
        kept = np.zeros_like(layer)
        kept[:, :, 18:22] = layer[:, :, 18:22]
        layers.append(kept)
    held = {n: p for n, p in case.segmentation.places.items() if (layers[p.layer] == p.label).any()}
    check_organ_sizes(replace(case.segmentation, layers=tuple(layers), places=held))
    x, y = np.meshgrid(np.linspace(-1, 1, 60), np.linspace(-1, 1, 60), indexing="ij")
    radius = np.hypot(x, y)
    slab = np.select([radius < 0.2, radius < 0.45, radius < 0.6], [1100, 60, -100], -1000)
    finger = np.repeat(slab[..., None], 40, axis=2).astype(np.int16)
    assert check_scan_size(finger, Geometry(finger.shape, np.diag([0.5, 0.5, 0.5, 1])), attenuation_is_sure=True) == ()


def test_a_narrow_view_of_soft_tissue_has_lost_its_unit_and_one_of_bone_has_not() -> None:
    """The body cut on every side, 40 mm wide in 120 pixels: a liver in cm, or a temporal bone."""
    rng = np.random.default_rng(0)
    geometry = Geometry((120, 120, 30), np.diag([0.33, 0.33, 0.6, 1.0]))
    soft = (50 + rng.normal(0, 10, geometry.shape)).astype(np.int16)
    assert "40 mm wide" in check_scan_size(soft, geometry, True)[0].what
    bone = np.where(rng.random(geometry.shape) < 0.3, 900, soft)
    assert check_scan_size(bone, geometry, True) == ()
    patch = Geometry((64, 64, 30), np.diag([0.6, 0.6, 0.6, 1.0]))
    assert check_scan_size(soft[:64, :64], patch, True) == ()


def test_slices_far_apart_are_warned_of(case) -> None:
    thin = case.volume.hu[:, :, ::4]
    (warning,) = check_scan_size(
        thin, Geometry(thin.shape, case.volume.geometry.affine @ np.diag([1, 1, 4, 1])), attenuation_is_sure=True
    )
    assert "28 mm apart" in warning.what


def test_real_scans_and_masks_are_read(real_data) -> None:
    scan = load_volume(real_data / "plain_abdomen" / "ct.nii.gz")
    assert not any(d.step == "size" for d in scan.decisions)
    load_segmentation(real_data / "plain_abdomen" / "segmentation.nii.gz", like=scan, scheme="totalsegmentator")


@pytest.mark.slow
def test_a_doubt_about_sizes_stands_in_the_head_of_the_report(case) -> None:
    affine = scaled(case.volume.geometry, 0.1, 0.1, 0.1).affine
    made = radvlm.generate_report(load_volume(np.asarray(case.volume.hu), affine=affine))
    assert "CAUTION: The body in this scan measures" in made.text


@pytest.mark.slow
def test_a_message_of_the_verifier_reaches_nobody(case) -> None:
    """A Volume made by hand escapes the readers; what cannot be said truly ends in words for a user."""
    geometry = scaled(case.volume.geometry, 1e-3, 1e-3, 1e-3)
    with pytest.raises(VerificationError, match="Check the voxel sizes") as caught:
        radvlm.generate_report(Volume(case.volume.hu, geometry))
    assert "is not a measurement" not in str(caught.value) and "cites" not in str(caught.value)


@pytest.mark.parametrize(("factor", "how"), [(0.4, "short"), (2.5, "long")])
def test_organs_that_are_all_too_long_or_short_are_warned_of(case, factor, how) -> None:
    geometry = scaled(case.segmentation.geometry, 1, 1, factor)
    (told,) = check_organ_sizes(replace(case.segmentation, geometry=geometry))
    assert told.warning and f"times as {how} from head to foot" in told.what
    for mild in (0.7, 1.0, 1.4):
        geometry = scaled(case.segmentation.geometry, 1, 1, mild)
        assert check_organ_sizes(replace(case.segmentation, geometry=geometry)) == ()

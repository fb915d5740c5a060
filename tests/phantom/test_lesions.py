"""Every kind can be made, is where it says and looks as it says."""

from __future__ import annotations

import numpy as np
import pytest

from radvlm.phantom import LESION_KINDS, LesionSpec, Phantom, PhantomSpec, make_phantom

FOCAL = [
    k.name for k in LESION_KINDS.values() if k.placement not in ("organ", "fluid") and k.name != "vertebral_fracture"
]
FLUID = [k.name for k in LESION_KINDS.values() if k.placement == "fluid"]


def make(*lesions: LesionSpec, seed: int = 2, **more: object) -> Phantom:
    sex = "F" if any(LESION_KINDS[lesion.kind].sex == "F" for lesion in lesions) else "M"
    low, high = LESION_KINDS[lesions[0].kind].region_z
    below = "abdomen" if low > -215 else "abdomen-pelvis"
    region = "chest" if low >= 60 else "chest-abdomen-pelvis" if high > 150 else below
    settings: dict = {
        "seed": seed,
        "region": region,
        "spacing_mm": (4.5, 4.5, 4.5),
        "noise_hu": 0,
        "sex": sex,
        "crop": ((0.05, 0.95), (0.2, 0.8), (0, 1)),
    }
    return make_phantom(PhantomSpec(**{**settings, **more}, lesions=lesions))


def mask_of(phantom: Phantom, name: str) -> np.ndarray:
    return phantom.segmentation.mask(name)


def test_there_are_more_than_thirty_kinds_each_with_words() -> None:
    assert len(LESION_KINDS) > 30
    assert len({k.words for k in LESION_KINDS.values()}) == len(LESION_KINDS)


@pytest.mark.slow
@pytest.mark.parametrize("kind", FOCAL)
def test_a_focal_lesion_is_where_it_says_with_the_size_and_hu_it_says(kind: str) -> None:
    phantom = make(LesionSpec(kind))
    truth = phantom.truth.lesions[0]
    assert truth.kind == kind and truth.in_field == "inside" and truth.volume_basis == "analytic"
    assert truth.id == "L1" and truth.words and truth.level
    mask = mask_of(phantom, truth.structure)
    geometry = phantom.volume.geometry
    assert np.linalg.norm(geometry.to_world(np.argwhere(mask).mean(axis=0)) - truth.center_mm) < 2.0
    counted = mask.sum() * geometry.voxel_volume_mm3 / 1000
    voxels = truth.volume_ml * 1000 / geometry.voxel_volume_mm3
    assert counted == pytest.approx(truth.volume_ml, rel=0.03 + 1.4 / np.sqrt(voxels)), "volume"
    index = np.round(geometry.to_index(truth.center_mm)).astype(int)
    center_hu = phantom.volume.hu[tuple(index)]
    expected = LESION_KINDS[kind].core[1][2] if LESION_KINDS[kind].core else LESION_KINDS[kind].hu[2]
    if min(truth.semi_axes_mm) > 4.5:
        assert center_hu == pytest.approx(expected, abs=3)
    if truth.host and LESION_KINDS[kind].placement in ("inside", "adrenal", "vertebra"):
        assert not (mask & ~mask_of(phantom, truth.host)).any(), "outside its host"
    if truth.location:
        assert mask_of(phantom, truth.location)[tuple(index)]
    if truth.side:
        assert (truth.center_mm[0] > 0) == (truth.side == "right")
    assert truth.short_axis_mm <= truth.long_axis_mm <= truth.diameter_3d_mm + 1e-9
    assert truth.diameter_3d_mm == pytest.approx(truth.size)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("kind", "location"),
    [
        *[("liver_cyst", f"liver_segment_{n}") for n in (1, 2, 3, 4, 5, 6, 7, 8)],
        ("pancreas_tumor", "pancreas_head"),
        ("pancreas_cyst", "pancreas_tail"),
        ("lung_nodule", "lung_middle_lobe_right"),
        ("lung_nodule", "lung_lower_lobe_left"),
        ("sclerotic_bone_lesion", "vertebrae_L2"),
    ],
)
def test_a_lesion_lies_in_the_place_asked_for(kind: str, location: str) -> None:
    phantom = make(LesionSpec(kind, 8, location=location))
    truth = phantom.truth.lesions[0]
    assert truth.location == location
    here = mask_of(phantom, truth.structure)
    inside = mask_of(phantom, location)
    assert (here & inside).sum() > 0.5 * here.sum()


@pytest.mark.slow
@pytest.mark.parametrize("kind", FLUID)
def test_fluid_and_air_fill_what_they_say(kind: str) -> None:
    phantom = make(LesionSpec(kind))
    truth = phantom.truth.lesions[0]
    mask = mask_of(phantom, truth.structure)
    from scipy.ndimage import binary_erosion

    core = binary_erosion(mask)
    if core.any():
        assert np.median(phantom.volume.hu[core]) == pytest.approx(truth.mean_hu, abs=2)
    assert truth.volume_basis == "voxels" and truth.volume_ml > 5
    organs = phantom.segmentation.layers[0]
    if kind != "lung_atelectasis":
        assert not organs[mask].any(), "fluid lies outside the organs"
    if truth.side:
        x = phantom.volume.geometry.to_world(np.argwhere(mask).mean(axis=0))[0]
        assert (x > 0) == (truth.side == "right")
    y = phantom.volume.geometry.to_world(np.argwhere(mask).mean(axis=0))[1]
    if kind in ("pleural_effusion", "lung_atelectasis"):
        assert y < -30  # dependent
    if kind in ("pneumothorax", "pneumoperitoneum"):
        assert y > 30  # rises


@pytest.mark.slow
def test_a_larger_effusion_is_deeper_and_larger() -> None:
    small, large = (make(LesionSpec("pleural_effusion", d, side="left")) for d in (15, 40))
    assert large.truth.lesions[0].volume_ml > 2 * small.truth.lesions[0].volume_ml
    assert large.truth.structure("lung_left").volume_ml < small.truth.structure("lung_left").volume_ml
    assert large.truth.structure("lung_right").volume_ml == small.truth.structure("lung_right").volume_ml


@pytest.mark.slow
def test_organ_wide_kinds_change_the_organ() -> None:
    plain = make(LesionSpec("gallstone", 6))
    ill = make(
        LesionSpec("steatosis", 12), LesionSpec("splenomegaly", 600), LesionSpec("hydronephrosis", 28, side="left")
    )
    volume = {p: {s.name: s.volume_ml for s in p.truth.structures} for p in (plain, ill)}
    assert ill.truth.structure("spleen").volume_ml == pytest.approx(600)
    counted = ill.segmentation.voxel_count("spleen") * ill.volume.geometry.voxel_volume_mm3 / 1000
    assert counted == pytest.approx(600, rel=0.02)
    assert volume[ill]["renal_pelvis_left"] > 5 * volume[plain]["renal_pelvis_left"]
    assert volume[ill]["renal_pelvis_right"] == pytest.approx(volume[plain]["renal_pelvis_right"], rel=0.2)
    liver = np.median(ill.volume.hu[mask_of(ill, "liver")])
    assert liver == pytest.approx(112 - (58 - 12), abs=2)


@pytest.mark.slow
def test_steatosis_states_the_attenuation_without_contrast() -> None:
    phantom = make(LesionSpec("steatosis", 15), phase="non-contrast")
    assert np.median(phantom.volume.hu[mask_of(phantom, "liver")]) == pytest.approx(15, abs=1)
    assert phantom.truth.structure("liver").hu == pytest.approx(15)


@pytest.mark.slow
def test_hepatomegaly_reaches_its_volume() -> None:
    phantom = make(LesionSpec("hepatomegaly", 2400))
    assert phantom.truth.structure("liver").volume_ml == pytest.approx(2400, rel=0.07)
    assert phantom.truth.lesions[0].volume_ml == phantom.truth.structure("liver").volume_ml


@pytest.mark.slow
@pytest.mark.parametrize("diameter", [35, 55])
def test_the_aneurysm_has_the_stated_diameter_at_its_center(diameter: float) -> None:
    phantom = make(
        LesionSpec("aortic_aneurysm", diameter), spacing_mm=(1.5, 1.5, 3.0), crop=((0.3, 0.6), (0.3, 0.75), (0.25, 0.5))
    )
    truth = phantom.truth.lesions[0]
    assert truth.facts == (("diameter", pytest.approx(diameter, rel=0.01), "mm"),)
    k = round(phantom.volume.geometry.to_index(truth.center_mm)[2])
    section = mask_of(phantom, "aorta")[:, :, k].sum() * 1.5 * 1.5
    assert 2 * np.sqrt(section / np.pi) == pytest.approx(diameter, rel=0.04)
    assert phantom.truth.aorta_mm == diameter


def test_a_fractured_vertebra_has_lost_the_stated_anterior_height() -> None:
    spec = {"spacing_mm": (2.0, 2.0, 1.0), "region": "abdomen", "crop": ((0.4, 0.6), (0.2, 0.6), (0.4, 0.6))}
    loss = 0.4
    broken = make(LesionSpec("vertebral_fracture", loss, location="vertebrae_L2"), **spec)
    truth = broken.truth.lesions[0]
    facts = {name: value for name, value, _ in truth.facts}
    mask = mask_of(broken, "vertebra_fracture")
    columns = mask.sum(axis=2).max(axis=0)  # height in voxels (1 mm) by y
    rows = np.flatnonzero(columns)
    front, back = columns[rows[-3]], columns[rows[3]]
    assert facts["height_loss"] == loss and truth.level == "vertebrae_L2"
    assert 1 - front / back == pytest.approx(loss, abs=0.12)
    assert not (mask & ~mask_of(broken, "vertebrae_L2")).any()


@pytest.mark.slow
def test_lesions_keep_clear_of_each_other() -> None:
    phantom = make_phantom(
        PhantomSpec(
            seed=9,
            shape=(96, 96, 80),
            region="abdomen",
            noise_hu=0,
            lesions={"liver_metastasis": 6, "liver_cyst": 3, "kidney_cyst": 2, "lymph_node": 2},
        )
    )
    truths = [t for t in phantom.truth.lesions if t.semi_axes_mm]
    for n, a in enumerate(truths):
        for b in truths[n + 1 :]:
            gap = np.linalg.norm(np.subtract(a.center_mm, b.center_mm)) - max(a.semi_axes_mm) - max(b.semi_axes_mm)
            assert gap > 3
    assert len(truths) == 13


@pytest.mark.slow
@pytest.mark.parametrize("seed", [0, 4])
def test_kinds_can_be_placed_for_other_seeds(seed: int) -> None:
    kinds = {k: 1 for k in LESION_KINDS if LESION_KINDS[k].sex == "" and k not in ("hepatomegaly", "ascites")}
    phantom = make_phantom(PhantomSpec(seed=seed, shape=(48, 48, 60), lesions=kinds))
    assert len(phantom.truth.lesions) == len(kinds)

"""A phantom is what its parameters say: volumes, places, HU, order, grids."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest

from radvlm.errors import InputError
from radvlm.phantom import LESION_KINDS, LesionSpec, Phantom, PhantomSpec, make_phantom, random_spec
from radvlm.phantom.frame import VERTEBRAE, Anatomy, Frame
from radvlm.phantom.hu import PHASE_NAMES, tissue_hu
from radvlm.phantom.patient import build_scene
from radvlm.phantom.render import Canvas
from radvlm.phantom.searched import SEARCHED
from radvlm.phantom.shapes import Capsule, Ellipsoid, rotation
from radvlm.types.anatomy import structure

COARSE = (70, 70, 116)  # about 6 mm, whole trunk


@pytest.fixture(scope="module")
def healthy() -> Phantom:
    """A woman, abdomen to pelvis, 3 mm, no noise."""
    return make_phantom(
        PhantomSpec(
            seed=4,
            region="abdomen-pelvis",
            spacing_mm=(3.0, 3.0, 3.0),
            noise_hu=0,
            sex="F",
            crop=((0.1, 0.9), (0.2, 0.8), (0.1, 1)),
            healthy=True,
        )
    )


@pytest.fixture(scope="module")
def trunk() -> Phantom:
    """A man, whole trunk, coarse, no noise."""
    return make_phantom(PhantomSpec(seed=3, shape=COARSE, noise_hu=0, sex="M"))


def mask_of(phantom: Phantom, name: str) -> np.ndarray:
    return phantom.segmentation.mask(name)


def center(phantom: Phantom, name: str) -> np.ndarray:
    return phantom.volume.geometry.to_world(np.argwhere(mask_of(phantom, name)).mean(axis=0))


def deep_hu(phantom: Phantom, name: str, erosions: int = 1) -> np.ndarray:
    from scipy.ndimage import binary_erosion

    return phantom.volume.hu[binary_erosion(mask_of(phantom, name), iterations=erosions)]


# ---- exactness -------------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_volumes_of_single_shapes_are_analytic_within_two_percent(healthy: Phantom) -> None:
    analytic = [s for s in healthy.truth.structures if s.volume_basis == "analytic"]
    assert {s.name for s in analytic} >= {"spleen", "urinary_bladder", "gallbladder"}
    for truth in analytic:
        counted = healthy.segmentation.voxel_count(truth.name) * healthy.volume.geometry.voxel_volume_mm3 / 1000
        assert counted == pytest.approx(truth.volume_ml, rel=0.02), truth.name


def test_voxel_based_volumes_say_so_and_equal_the_masks(healthy: Phantom) -> None:
    for truth in healthy.truth.structures:
        if truth.volume_basis == "voxels":
            counted = healthy.segmentation.voxel_count(truth.name) * healthy.volume.geometry.voxel_volume_mm3 / 1000
            assert truth.volume_ml == pytest.approx(counted)
    assert healthy.truth.structure("liver").volume_basis == "voxels"  # type: ignore[union-attr]


@pytest.mark.slow
@pytest.mark.parametrize("phase", PHASE_NAMES)
def test_organs_have_the_hu_of_the_phase(phase: str) -> None:
    phantom = make_phantom(PhantomSpec(seed=2, region="abdomen", spacing_mm=(4, 4, 4), phase=phase, noise_hu=0))
    for name, material in (
        ("liver", "liver"),
        ("spleen", "spleen"),
        ("aorta", "artery"),
        ("gallbladder", "bile"),
        ("inferior_vena_cava", "vein"),
        ("autochthon_left", "muscle"),
    ):
        assert np.median(deep_hu(phantom, name)) == pytest.approx(tissue_hu(material, phase), abs=1.0), name
        truth = phantom.truth.structure(name)
        assert truth is not None and truth.hu == pytest.approx(tissue_hu(material, phase))


@pytest.mark.slow
def test_noise_has_the_stated_standard_deviation_and_is_correlated() -> None:
    phantom = make_phantom(PhantomSpec(seed=2, region="abdomen", spacing_mm=(4, 4, 4), noise_hu=20))
    quiet = make_phantom(PhantomSpec(seed=2, region="abdomen", spacing_mm=(4, 4, 4), noise_hu=0))
    noise = phantom.volume.hu.astype(float) - quiet.volume.hu
    inside = mask_of(phantom, "liver")
    assert noise[inside].std() == pytest.approx(20, rel=0.03)
    assert abs(noise[inside].mean()) < 1.0
    pair = inside[1:] & inside[:-1]
    correlation = np.corrcoef(noise[1:][pair], noise[:-1][pair])[0, 1]
    assert 0.5 < correlation < 0.85


@pytest.mark.slow
def test_streaks_lie_along_rows_with_bone() -> None:
    base = PhantomSpec(seed=2, region="abdomen-pelvis", spacing_mm=(5, 5, 5), noise_hu=0)
    changed = make_phantom(replace(base, streak_hu=40)).volume.hu.astype(int) - make_phantom(base).volume.hu
    rows = changed[40:44].std(axis=0)
    assert np.abs(changed).max() > 20 and np.median(rows) < 1  # the same along a row


def test_partial_volume_keeps_the_mass_of_an_ellipsoid() -> None:
    """Blended HU integrate to the analytic volume better than a mask does, on a thick-slice oblique grid."""
    from radvlm.types.geometry import Geometry

    affine = np.eye(4)
    affine[:3, :3] = rotation(8, -11, 14) * np.array([2.0, 2.0, 5.0])
    affine[:3, 3] = affine[:3, :3] @ -np.array([20, 20, 9.0])
    canvas = Canvas(Geometry((41, 41, 19), affine), np.eye(3))
    ball = Ellipsoid((1.3, -0.7, 2.1), (24, 17, 14), rotation(20, 30, 40))
    canvas.paint_lesion(ball, 1000.0, "liver_cyst", None)
    share = (canvas.hu.astype(float) + 1000) / 2000
    assert share.sum() * 20 / 1000 == pytest.approx(ball.volume_ml, rel=0.015)
    assert (canvas.layers[2] > 0).sum() * 20 / 1000 == pytest.approx(ball.volume_ml, rel=0.02)


def test_many_capsules_at_once_equal_one_at_a_time() -> None:
    from radvlm.phantom import render
    from radvlm.phantom.scene import Item
    from radvlm.types.geometry import Geometry

    affine = np.eye(4)
    affine[:3, :3] = rotation(5, 9, -12) * np.array([1.5, 1.5, 2.5])
    pieces = tuple(
        Capsule(
            (10 + 6 * n, 30 + 3 * n, 20 + 2 * n),
            (16 + 6 * n, 33 + 3 * n, 22 + 2 * n),
            7 - n,
            6 - n,
            front_of=33.0 if n == 1 else None,
        )
        for n in range(4)
    )
    masks = []
    for limit in (0, 10**9):
        render._SPARSE_VOXELS, before = limit, render._SPARSE_VOXELS
        try:
            canvas = Canvas(Geometry((40, 44, 24), affine), np.eye(3))
            canvas.paint_item(Item("tube", pieces, 200.0, "colon"))
        finally:
            render._SPARSE_VOXELS = before
        masks.append((canvas.layers[0].copy(), canvas.hu.copy()))
    assert masks[0][0].any() and (masks[0][0] == masks[1][0]).all()
    assert np.abs(masks[0][1].astype(int) - masks[1][1]).mean() < 8  # joints blend differently, bodies do not


@pytest.mark.parametrize("bends", [(), ((0, 1, 0.02), (0, 2, -0.01))])
def test_bending_keeps_the_volume_and_the_bounds_hold(bends: tuple) -> None:
    from radvlm.phantom.shapes import PointCoords

    shape = Ellipsoid((3, -2, 5), (8, 14, 20), rotation(10, 40, 70), bends=bends)
    rng = np.random.default_rng(0)
    points = rng.uniform(-45, 45, (400_000, 3))
    inside = shape.value(PointCoords(points)) < 0
    assert inside.mean() * 90**3 / 1000 == pytest.approx(shape.volume_ml, rel=0.03)
    low, high = shape.bounds()
    assert (points[inside] >= low).all() and (points[inside] <= high).all()


# ---- anatomy ---------------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_anatomy_varies_within_normal_adult_ranges() -> None:
    seen = []
    for seed in range(4):
        phantom = make_phantom(
            PhantomSpec(seed=seed, shape=(60, 60, 76), region="abdomen-pelvis", sex="FM"[seed % 2], noise_hu=0)
        )
        volumes = {s.name: s.volume_ml for s in phantom.truth.structures}
        seen.append(round(volumes["liver"]))
        assert 1150 < volumes["liver"] < 1850
        assert 110 < volumes["spleen"] < 300
        assert 115 < volumes["kidney_left"] < 205 and 115 < volumes["kidney_right"] < 205
        assert 40 < volumes["pancreas"] < 100
        assert 15 < volumes["gallbladder"] < 60
        assert all(f"liver_segment_{n}" in volumes for n in range(1, 9))
        assert all(part in volumes for part in ("pancreas_head", "pancreas_body", "pancreas_tail"))
        assert ("prostate" in volumes) == (seed % 2 == 1) and ("uterus" in volumes) == (seed % 2 == 0)
    assert len(set(seen)) == 4


@pytest.mark.slow
def test_organs_are_where_they_belong(trunk: Phantom) -> None:
    at = {name: center(trunk, name) for name in trunk.segmentation.present}
    x, y, z = 0, 1, 2
    assert at["liver"][x] > 30 and at["spleen"][x] < -60 and at["stomach"][x] < -20
    assert at["gallbladder"][x] > 30 and at["gallbladder"][z] < at["liver"][z]
    assert at["kidney_right"][x] > 40 and at["kidney_left"][x] < -40
    assert at["kidney_left"][z] > at["kidney_right"][z]
    assert at["kidney_left"][y] < at["pancreas"][y]
    assert at["heart"][x] < 0 and at["inferior_vena_cava"][x] > 10
    assert at["portal_vein_and_splenic_vein"][y] > at["inferior_vena_cava"][y]
    assert at["superior_mesenteric_vein"][x] > at["superior_mesenteric_artery"][x]
    assert at["superior_vena_cava"][x] > 10 and at["trachea"][z] > at["heart"][z]
    assert at["lung_right"][x] > 40 and at["lung_left"][x] < -40
    assert at["lung_upper_lobe_right"][z] > at["lung_lower_lobe_right"][z]
    assert at["lung_middle_lobe_right"][y] > at["lung_lower_lobe_right"][y]
    assert at["pancreas_head"][x] > at["pancreas_body"][x] > at["pancreas_tail"][x]
    assert at["urinary_bladder"][z] < at["colon"][z] and at["prostate"][z] < at["urinary_bladder"][z]
    assert at["liver_segment_7"][z] > at["liver_segment_6"][z] and at["liver_segment_8"][z] > at["liver_segment_5"][z]
    assert at["liver_segment_2"][x] < at["liver_segment_4"][x] < at["liver_segment_5"][x] < at["liver_segment_6"][x]
    spine, slab = trunk.segmentation.places["aorta"], trunk.volume.geometry.to_index((0, 0, 60))[2]
    descending = np.argwhere(trunk.segmentation.layers[spine.layer][:, :, round(slab)] == spine.label)
    assert trunk.volume.geometry.to_world([*descending.mean(axis=0), slab])[0] < -5


def test_vertebrae_and_ribs_are_in_order_and_sided(trunk: Phantom) -> None:
    heights = [center(trunk, f"vertebrae_{level}")[2] for level in VERTEBRAE]
    assert heights == sorted(heights, reverse=True)
    assert center(trunk, "sacrum")[2] < heights[-1]
    for side, sign in (("right", 1), ("left", -1)):
        ribs = [center(trunk, f"rib_{side}_{n}") for n in range(1, 13)]
        assert all(sign * rib[0] > 0 for rib in ribs)
        assert [rib[2] for rib in ribs] == sorted((rib[2] for rib in ribs), reverse=True)
        assert sign * center(trunk, f"femur_{side}")[0] > 60


def test_paired_structures_lie_on_their_side(trunk: Phantom) -> None:
    for name in trunk.segmentation.present:
        side = structure(name).side
        if side and name != "brachiocephalic_vein_left":  # it crosses the midline
            assert (center(trunk, name)[0] > 0) == (side == "right"), name


@pytest.mark.slow
def test_parts_lie_in_their_parents_and_organs_do_not_overlap() -> None:
    phantom = make_phantom(
        PhantomSpec(
            seed=5,
            shape=COARSE,
            noise_hu=0,
            sex="F",
            lesions={"liver_cyst": 1, "kidney_tumor": 1, "lung_nodule": 1, "spleen_lesion": 1, "pancreas_tumor": 1},
        )
    )
    for name in phantom.segmentation.present:
        parent = structure(name).parent
        if parent in (
            "liver",
            "pancreas",
            "lung_right",
            "lung_left",
            "heart",
            "spleen",
            "kidney_left",
            "kidney_right",
        ) and not name.startswith("renal_pelvis"):
            assert not (mask_of(phantom, name) & ~mask_of(phantom, parent)).any(), name
    for host, parts in (
        ("liver", [f"liver_segment_{n}" for n in range(1, 9)]),
        ("pancreas", ["pancreas_head", "pancreas_body", "pancreas_tail"]),
        ("lung_left", ["lung_upper_lobe_left", "lung_lower_lobe_left"]),
    ):
        total = sum(mask_of(phantom, part).sum() for part in parts if part in phantom.segmentation.places)
        assert total == mask_of(phantom, host).sum()


def test_everything_it_can_hold_is_searched() -> None:
    names: set[str] = set()
    for sex in ("F", "M"):
        scene = build_scene(Frame(0, sex, 50, "non-contrast", Anatomy()))
        names |= {item.organ for item in scene.items if item.organ} | {item.part for item in scene.items}
        names |= {part for partition in scene.partitions for part in partition.parts}
    names |= {kind.structure.format(side=s) for kind in LESION_KINDS.values() for s in ("left", "right")}
    assert names - {""} == SEARCHED


@pytest.mark.slow
def test_trabecular_bone_follows_age() -> None:
    young, old = (
        make_phantom(PhantomSpec(seed=1, shape=(64, 64, 64), region="abdomen", age_years=a, noise_hu=0))
        for a in (25, 85)
    )
    assert young.truth.trabecular_hu - old.truth.trabecular_hu == pytest.approx(2.5 * 55)
    assert np.percentile(deep_hu(young, "vertebrae_L3"), 20) > np.percentile(deep_hu(old, "vertebrae_L3"), 20) + 80


# ---- grids -----------------------------------------------------------------------------------------------------

LESIONS = (
    LesionSpec("liver_cyst", 40),
    LesionSpec("kidney_cyst", 20, side="left"),
    LesionSpec("splenomegaly", 500),
    LesionSpec("lymph_node", 22),
)


@pytest.mark.slow
@pytest.mark.parametrize(
    "change",
    [
        {"stored_axes": "PIR"},
        {"rotation_deg": (9.0, -6.0, 12.0)},
        {"spacing_mm": (3.0, 3.0, 5.0)},
        {"noise_hu": 30.0},
        {"crop": ((0, 1), (0.1, 0.9), (0.2, 1))},
    ],
)
def test_the_truth_does_not_depend_on_the_grid(change: dict) -> None:
    base = PhantomSpec(seed=8, region="abdomen", spacing_mm=(4.5, 4.5, 4.5), noise_hu=0, lesions=LESIONS)
    first, second = make_phantom(base), make_phantom(replace(base, **change))
    assert second.truth.lesions == tuple(
        replace(lesion, in_field=other.in_field)
        for lesion, other in zip(first.truth.lesions, second.truth.lesions, strict=True)
    )
    for lesion in second.truth.lesions:
        if lesion.semi_axes_mm and lesion.in_field == "inside":
            assert np.linalg.norm(center(second, lesion.structure) - lesion.center_mm) < 2.0
            voxels = second.segmentation.voxel_count(lesion.structure) * second.volume.geometry.voxel_volume_mm3 / 1000
            count = second.segmentation.voxel_count(lesion.structure)
            assert voxels == pytest.approx(lesion.volume_ml, rel=0.03 + 1.4 / np.sqrt(count))
    if "stored_axes" in change:
        assert second.volume.stored_axes == "PIR" and (second.volume.hu == first.volume.hu).all()
    if "rotation_deg" in change:
        assert second.volume.geometry.obliquity_degrees > 5
        assert second.truth.structure("spleen").volume_ml == first.truth.structure("spleen").volume_ml  # type: ignore[union-attr]


def test_axes_in_an_oblique_plane_are_those_of_its_ellipse() -> None:
    phantom = make_phantom(PhantomSpec(seed=8, region="abdomen", shape=(32, 32, 32), lesions=LESIONS[:1]))
    lesion = phantom.truth.lesions[0]
    axes, semi = np.array(lesion.axes), np.array(lesion.semi_axes_mm)
    normal = np.array([0.3, -0.2, 0.9])
    normal /= np.linalg.norm(normal)
    first = np.cross(normal, (1, 0, 0))
    first /= np.linalg.norm(first)
    second = np.cross(normal, first)
    angles = np.linspace(0, np.pi, 3601)
    ways = np.cos(angles)[:, None] * first + np.sin(angles)[:, None] * second
    chords = 2 / np.linalg.norm(ways @ axes / semi, axis=1)
    assert lesion.plane_axes_mm(tuple(normal)) == pytest.approx((chords.max(), chords.min()), rel=1e-5)
    assert lesion.plane_axes_mm((0, 0, 1)) == pytest.approx((lesion.long_axis_mm, lesion.short_axis_mm))
    assert lesion.diameter_3d_mm == pytest.approx(40) and lesion.size == 40


@pytest.mark.slow
def test_truncation_cuts_organs_and_says_so() -> None:
    spec = PhantomSpec(
        seed=1, region="abdomen", spacing_mm=(4, 4, 4), noise_hu=0, lesions=(LesionSpec("liver_cyst", 30),)
    )
    whole, part = make_phantom(spec), make_phantom(replace(spec, crop=((0, 1), (0, 1), (0.6, 0.8))))
    assert whole.truth.structure("spleen").complete and not part.truth.structure("spleen").complete  # type: ignore[union-attr]
    assert part.truth.structure("spleen").volume_basis == "voxels"  # type: ignore[union-attr]
    assert part.segmentation.cut_faces("liver") and not whole.segmentation.cut_faces("spleen")
    for truth in part.truth.structures:
        assert truth.complete == (not part.segmentation.cut_faces(truth.name))
    k = round(whole.volume.geometry.to_index(part.volume.geometry.to_world((0, 0, 0)))[2])
    window = slice(k, k + part.volume.hu.shape[2])
    for ours, theirs in zip(whole.segmentation.layers, part.segmentation.layers, strict=True):
        names = [
            {p.label: n for n, p in ph.segmentation.places.items() if ph.segmentation.layers[p.layer] is layer}
            for ph, layer in ((whole, ours), (part, theirs))
        ]
        assert set(names[1].values()) <= set(names[0].values())
    for name in ("liver", "spleen", "aorta", "vertebrae_T12"):
        assert (mask_of(whole, name)[:, :, window] == mask_of(part, name)).all()
    assert np.abs(whole.volume.hu[:, :, window].astype(int) - part.volume.hu).max() <= 1  # float32 rounding
    assert "urinary_bladder" in part.segmentation.absent


def test_grid_follows_shape_spacing_and_region() -> None:
    both = make_phantom(PhantomSpec(seed=0, region="chest", shape=(40, 36, 20), spacing_mm=(9.0, 8.0, 12.0)))
    assert both.volume.hu.shape == (40, 36, 20) and both.volume.geometry.spacing_mm == pytest.approx((9, 8, 12))
    assert both.volume.hu.dtype == np.int16 and both.volume.geometry.axis_codes == "RAS"
    assert both.patient.sex == "M" and both.volume.study.modality == "CT"


# ---- the same again --------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_equal_specs_give_equal_bits_and_seeds_differ() -> None:
    spec = random_spec(12, shape=(48, 48, 48))
    first, second = make_phantom(spec), make_phantom(spec)
    assert (first.volume.hu == second.volume.hu).all()
    assert all((a == b).all() for a, b in zip(first.segmentation.layers, second.segmentation.layers, strict=True))
    assert first.truth.to_json() == second.truth.to_json()
    other = make_phantom(replace(spec, seed=13, lesions=()))
    assert (other.volume.hu != first.volume.hu).any()


@pytest.mark.slow
def test_lesions_do_not_change_the_anatomy_and_later_ones_do_not_move_earlier_ones() -> None:
    base = PhantomSpec(seed=6, region="abdomen", shape=(56, 56, 56), noise_hu=0)
    plain = make_phantom(base)
    one = make_phantom(replace(base, lesions=(LesionSpec("liver_cyst", 25),)))
    two = make_phantom(
        replace(base, lesions=(LesionSpec("liver_cyst", 25), LesionSpec("kidney_stone", 6, side="left")))
    )
    assert (plain.segmentation.layers[0] == one.segmentation.layers[0]).all()
    assert one.truth.lesions[0] == two.truth.lesions[0]
    changed = plain.volume.hu != one.volume.hu
    from scipy.ndimage import binary_dilation

    assert not (changed & ~binary_dilation(mask_of(one, "liver_cyst"), iterations=2)).any()


@pytest.mark.slow
def test_the_truth_is_json_and_random_phantoms_can_be_made() -> None:
    for seed in range(3):
        region = ["chest", "abdomen", "chest-abdomen-pelvis"][seed % 3]
        phantom = Phantom.random(seed, region=region, shape=(40, 40, 40))
        data = json.loads(phantom.truth.to_json())
        assert data["sex"] in ("F", "M") and data["spec"]["seed"] == seed
        assert len(data["lesions"]) == len(phantom.spec.lesions) >= 1
    assert Phantom.random(1, lesions=0, shape=(24, 24, 24)).truth.healthy


@pytest.mark.parametrize(
    "arguments",
    [
        {"seed": -1},
        {"region": "arm"},
        {"phase": "late"},
        {"sex": "X"},
        {"age_years": 5},
        {"noise_hu": -1},
        {"shape": (0, 4, 4)},
        {"shape": (4, 4)},
        {"spacing_mm": (1, 1, 99)},
        {"stored_axes": "RAX"},
        {"stored_axes": "RLS"},
        {"rotation_deg": (0, 0, 80)},
        {"crop": ((0.5, 0.5), (0, 1), (0, 1))},
        {"lesions": {"wart": 1}},
        {"lesions": {"liver_cyst": -1}},
        {"healthy": True, "lesions": {"liver_cyst": 1}},
        {"lesions": ("liver_cyst",)},
        {"sex": "M", "lesions": {"uterine_fibroid": 1}},
        {"noise_hu": float("nan")},
    ],
)
def test_bad_parameters_are_refused(arguments: dict) -> None:
    with pytest.raises(InputError):
        PhantomSpec(**arguments)


@pytest.mark.parametrize(
    "arguments",
    [
        {"kind": "liver_cyst", "side": "left"},
        {"kind": "liver_cyst", "size": 500},
        {"kind": "liver_cyst", "location": "spleen"},
        {"kind": "lung_nodule", "side": "left", "location": "lung_upper_lobe_right"},
        {"kind": "kidney_cyst", "side": "up"},
    ],
)
def test_bad_lesions_are_refused(arguments: dict) -> None:
    with pytest.raises(InputError):
        LesionSpec(**arguments)


@pytest.mark.slow
def test_a_lesion_that_does_not_fit_is_refused() -> None:
    with pytest.raises(InputError, match="fits into its host"):
        make_phantom(
            PhantomSpec(shape=(16, 16, 16), lesions=(LesionSpec("liver_cyst", 80, location="liver_segment_2"),))
        )
    with pytest.raises(InputError, match="at most once"):
        make_phantom(PhantomSpec(shape=(16, 16, 16), lesions={"splenomegaly": 2}))

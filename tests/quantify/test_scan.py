"""measure_scan on shapes of known size, in every orientation, and its invariances."""

from __future__ import annotations

import dataclasses
import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import solids
from radvlm.errors import GridError, InputError
from radvlm.quantify import measure_scan, region_mask
from radvlm.quantify.components import components
from radvlm.types.segmentation import Segmentation
from radvlm.types.study import Study
from radvlm.types.volume import Volume

LESION = "liver_lesion"


def numbers(record):
    return {m.quantity: m.value for m in record.measurements}


def rotation(x: float, y: float, z: float) -> np.ndarray:
    turns = []
    for axis, angle in enumerate(np.radians([x, y, z])):
        a, b = [n for n in range(3) if n != axis]
        turn = np.eye(3)
        turn[a, a] = turn[b, b] = np.cos(angle)
        turn[a, b], turn[b, a] = -np.sin(angle), np.sin(angle)
        turns.append(turn)
    return turns[0] @ turns[1] @ turns[2]


@pytest.mark.parametrize(
    ("spacing", "rotated"),
    [((1.0, 1.0, 1.0), False), ((0.7, 0.7, 5.0), False), ((0.8, 0.8, 2.5), True), ((1.0, 1.0, 1.0), True)],
    ids=["iso", "thick-slices", "oblique-thick", "oblique"],
)
@pytest.mark.parametrize("radii", [(20, 20, 20), (26, 14, 18)], ids=["sphere", "ellipsoid"])
def test_volume_and_diameters(spacing, rotated, radii):
    shape = tuple(int(60 / s) + 4 for s in spacing)
    center = [(n - 1) * s / 2 + 0.3 * s for n, s in zip(shape, spacing, strict=True)]
    mask = solids.ellipsoid(shape, spacing, center, radii, 25)
    geometry = solids.geometry(shape, spacing, rotation(12, -8, 5) if rotated else None, (-30, 12, 400))
    lesion = measure_scan(None, solids.segmentation({LESION: mask}, geometry)).lesions[0]
    true_ml = 4 / 3 * np.pi * np.prod(radii) / 1000
    assert lesion.volume_ml == pytest.approx(true_ml, rel=0.02)
    assert abs(lesion.volume_ml - true_ml) < lesion.measurement("volume").uncertainty
    nearest = min(abs(np.arange(shape[2]) * spacing[2] - center[2])) / radii[2]
    in_slice = 2 * np.sqrt(1 - nearest**2)
    assert lesion.long_axis_mm == pytest.approx(radii[0] * in_slice, abs=spacing[0])
    assert lesion.short_axis_mm == pytest.approx(radii[1] * in_slice, abs=spacing[0])
    assert lesion.diameter_3d_mm == pytest.approx(2 * max(radii), abs=max(spacing))
    for quantity in ("long_axis", "short_axis", "diameter_3d"):
        m = lesion.measurement(quantity)
        assert np.linalg.norm(np.subtract(*m.points_mm)) == pytest.approx(m.value, abs=1e-6)
        assert min(spacing) * 0.99 <= m.uncertainty <= max(spacing) * 1.01
    m = lesion.measurement("long_axis")
    ends = geometry.to_index(m.points_mm)
    assert ends[:, 2] == pytest.approx(m.slice_index)
    assert lesion.region.centroid_mm == pytest.approx(
        geometry.to_world([c / s for c, s in zip(center, spacing, strict=True)]), abs=0.1 * max(spacing)
    )


def scene():
    """Liver with three lesions and two kidneys, without symmetry, as (masks, hu, affine)."""
    spacing = (0.9, 0.8, 2.0)
    shape = (44, 40, 22)
    liver = solids.ellipsoid(shape, spacing, (15, 16, 20), (12, 13, 18))
    lesion = solids.ellipsoid(shape, spacing, (12, 12, 14), (5, 3, 6), 20)
    lesion[16:19, 20:27, 12] = True
    lesion[17, 20, 11:14] = True
    lesion[30, 30, 18] = True  # one voxel: ignored
    kidney = solids.ellipsoid(shape, spacing, (32, 20, 20), (6, 5, 15))
    rng = np.random.default_rng(7)
    hu = rng.integers(30, 60, shape).astype(np.int16)
    hu[lesion] -= 40
    affine = np.diag([*spacing, 1.0])
    affine[:3, :3] = rotation(4, -6, 9) @ affine[:3, :3]
    affine[:3, 3] = (-20, 31, -140)
    return {"liver": liver, LESION: lesion, "kidney_right": kidney}, hu, affine


@pytest.mark.slow
def test_all_48_orientations_give_identical_numbers():
    masks, hu, affine = scene()
    reference = None
    for order in itertools.permutations(range(3)):
        for signs in itertools.product((1, -1), repeat=3):
            start = solids.geometry(hu.shape)
            geometry = dataclasses.replace(start, affine=affine).reordered(order, signs)
            flips = tuple(slice(None, None, s) for s in signs)
            stored = {n: m.transpose(order)[flips].copy() for n, m in masks.items()}
            stored_hu = hu.transpose(order)[flips].copy()
            views = {n: solids.canonical(m, geometry.affine)[0] for n, m in stored.items()}
            view, grid = solids.canonical(stored_hu, geometry.affine)
            found = measure_scan(Volume(view, grid), solids.segmentation(views, grid))
            rows = found.rows()
            seen = [(r["region"], r["quantity"], r["value"], r["uncertainty"], r["slice"], r["host"]) for r in rows]
            reference = reference or seen
            assert seen == reference, (order, signs)
    assert sum(1 for row in reference if row[0] == f"{LESION}/1") > 5


@pytest.mark.slow
@settings(max_examples=25)
@given(st.tuples(*[st.integers(0, 9)] * 3), st.tuples(*[st.integers(0, 6)] * 3))
def test_translation_and_background_change_nothing(before, after):
    """Moving the patient by whole voxels, or cropping background away, changes positions and nothing else."""
    masks, hu, affine = scene()
    pad = tuple((a, b) for a, b in zip(before, after, strict=True))
    moved = affine.copy()
    moved[:3, 3] = affine[:3, :3] @ -np.array(before) + affine[:3, 3]
    small = {n: np.pad(m, 1) for n, m in masks.items()}
    large = {n: np.pad(m, tuple((a + 1, b + 1) for a, b in pad)) for n, m in masks.items()}
    results = []
    wide = tuple((a + 1, b + 1) for a, b in pad)
    for group, hu_pad, matrix in ((small, ((1, 1),) * 3, affine), (large, wide, moved)):
        shifted = matrix.copy()
        shifted[:3, 3] -= matrix[:3, :3] @ np.ones(3)
        array = np.pad(hu, hu_pad, constant_values=-1000)
        geometry = dataclasses.replace(solids.geometry(array.shape), affine=shifted)
        results.append(measure_scan(Volume(array, geometry), solids.segmentation(group, geometry)))
    a, b = results
    assert len(a.lesions) == len(b.lesions) == 2
    for one, two in zip((*a.structures, *a.lesions), (*b.structures, *b.lesions), strict=True):
        assert numbers(one) == numbers(two)
        assert one.region.centroid_mm == pytest.approx(two.region.centroid_mm, abs=1e-9)
        for m, n in zip(one.measurements, two.measurements, strict=True):
            assert np.allclose(m.points_mm, n.points_mm, atol=1e-9)


@pytest.mark.slow
def test_refining_the_grid_converges():
    errors = []
    for step in (4.0, 2.0, 1.0, 0.5):
        shape = (int(56 / step),) * 3
        mask = solids.ellipsoid(shape, (step,) * 3, (27.7, 27.9, 27.3), (22, 12, 17), 33)
        lesion = measure_scan(None, solids.segmentation({LESION: mask}, solids.geometry(shape, (step,) * 3))).lesions[0]
        true = (44.0, 24.0, 44.0)
        errors.append(
            [
                abs(v - t)
                for v, t in zip((lesion.long_axis_mm, lesion.short_axis_mm, lesion.diameter_3d_mm), true, strict=True)
            ]
        )
        assert max(errors[-1]) < step
        assert lesion.volume_ml == pytest.approx(4 / 3 * np.pi * 22 * 12 * 17 / 1000, rel=0.03 * step)
    assert max(errors[-1]) < 0.5


def test_lesions_touching_at_a_corner_are_one_instance():
    mask = np.zeros((12, 12, 12), bool)
    mask[2:5, 2:5, 2:5] = True
    mask[5:8, 5:8, 5:8] = True
    found = measure_scan(None, solids.segmentation({LESION: mask}))
    assert [lesion.region.voxels for lesion in found.lesions] == [54]
    mask[4, 4, 4] = mask[5, 5, 5] = False  # now they no longer touch
    found = measure_scan(None, solids.segmentation({LESION: mask}))
    assert [lesion.region.voxels for lesion in found.lesions] == [26, 26]
    assert [lesion.instance for lesion in found.lesions] == [1, 2]
    assert found.structure(LESION).measurement("count").value == 2


@pytest.mark.parametrize("seed", range(5))
def test_cc3d_and_scipy_agree(seed):
    pytest.importorskip("cc3d")
    mask = np.random.default_rng(seed).random((20, 21, 22)) < 0.08
    results = []
    for fast in (True, False):
        numbered, found = components(mask, fast=fast)
        results.append([np.argwhere(numbered == c.value).tolist() for c in found])
        assert all(numbered[c.box.slices].shape == c.box.shape for c in found)
    assert results[0] == results[1]


def test_extents_and_cut_faces():
    mask = np.zeros((20, 24, 16), bool)
    mask[3:13, 5:24, 2:9] = True
    found = measure_scan(None, solids.segmentation({"liver": mask}, solids.geometry(mask.shape, (0.7, 0.8, 5.0))))
    record = found.structure("liver")
    assert numbers(record)["extent_right_left"] == pytest.approx(7.0)
    assert numbers(record)["extent_anterior_posterior"] == pytest.approx(15.2)
    assert numbers(record)["extent_superior_inferior"] == pytest.approx(35.0)
    assert record.cut_by == ("anterior",)
    assert record.volume_ml == pytest.approx(10 * 19 * 7 * 0.7 * 0.8 * 5 / 1000)
    assert record.measurement("volume").uncertainty > 0


def test_a_lesion_cut_by_the_field_of_view_says_so():
    mask = np.zeros((16, 16, 8), bool)
    mask[4:9, 4:9, 0:3] = True
    mask[12:15, 4:9, 4:6] = True
    first, second = measure_scan(None, solids.segmentation({LESION: mask})).lesions
    assert (first.cut_by, second.cut_by) == (("inferior",), ())


def test_without_ct_every_hu_quantity_is_an_omission():
    masks, _, _ = scene()
    found = measure_scan(None, solids.segmentation(masks))
    assert found.phase is None
    for record in (*found.structures, *found.lesions):
        assert record.mean_hu is None
        missing = {o.quantity: o.reason for o in record.omissions}
        assert missing["mean_hu"] == missing["p95_hu"] == "no CT was given"
    assert {"contrast_to_host", "host_mean_hu"} <= {o.quantity for o in found.lesions[0].omissions}


def test_hu_and_contrast():
    masks, hu, _ = scene()
    found = measure_scan(solids.volume(hu), solids.segmentation(masks))
    lesion = found.lesions[0]
    box, mask = region_mask(solids.segmentation(masks), lesion.region)
    values = hu[box.slices][mask].astype(float)
    assert numbers(lesion)["mean_hu"] == pytest.approx(values.mean())
    assert numbers(lesion)["median_hu"] == pytest.approx(np.median(values))
    healthy = hu[masks["liver"] & ~masks[LESION]].astype(float)
    assert numbers(lesion)["host_mean_hu"] == pytest.approx(healthy.mean())
    assert numbers(lesion)["host_sd_hu"] == pytest.approx(healthy.std())
    core = numbers(lesion)["core_mean_hu"]
    assert numbers(lesion)["contrast_to_host"] == pytest.approx(core - healthy.mean())
    assert lesion.measurement("mean_hu").uncertainty == pytest.approx(abs(core - values.mean()))
    assert numbers(found.structure("liver"))["host_mean_hu"] == pytest.approx(healthy.mean())
    assert found.structure("kidney_right").measurement("host_mean_hu") is None
    assert lesion.attenuation == "hypoattenuating"
    assert lesion.measurement("mean_hu").uncertainty is not None


def test_lesion_labels_that_replace_the_organ():
    """One label map, the lesion a hole in the liver: same numbers as with two overlapping masks."""
    masks, hu, _ = scene()
    del masks["kidney_right"]
    masks[LESION] &= masks["liver"]
    over = measure_scan(solids.volume(hu), solids.segmentation(masks)).lesions[0]
    hole = measure_scan(solids.volume(hu), solids.segmentation(masks, one_layer=True)).lesions[0]
    assert hole.host == over.host == "liver"
    assert numbers(hole) == numbers(over)


def test_crumbs_are_no_organs():
    liver = np.zeros((12, 12, 12), bool)
    liver[2:9, 2:9, 2:9] = True
    crumb = np.zeros_like(liver)
    crumb[10, 10, 10] = True
    geometry = solids.geometry((12, 12, 12), (3, 3, 3))
    found = measure_scan(None, solids.segmentation({"liver": liver, "spleen": crumb}, geometry))
    assert [s.structure for s in found.structures] == ["liver"]
    assert found.crumbs == ("spleen",) and found.structure("spleen") is None and "spleen" not in found.absent
    assert "spleen has 1 voxel (0.027 mL) and was ignored as a crumb" in found.decisions[0].what


def test_small_components_are_counted_and_not_measured():
    masks, _, _ = scene()
    found = measure_scan(None, solids.segmentation(masks))
    assert [d.what for d in found.decisions if d.step == "instances"] == [
        "1 area of liver_lesion (fewer than 4 voxels) not measured."
    ]
    all_of_them = measure_scan(None, solids.segmentation(masks), min_lesion_voxels=1)
    assert len(all_of_them.lesions) == len(found.lesions) + 1
    none = measure_scan(None, solids.segmentation(masks), min_lesion_ml=100.0)
    assert none.lesions == () and none.structure(LESION) is None
    assert none.searched(LESION) and [a.count for a in none.unmeasured] == [3]
    assert any(d.warning and "nothing larger was found" in d.what for d in none.decisions)


def test_absent_is_what_was_searched_for():
    mask = np.ones((5, 5, 5), bool)
    found = measure_scan(None, solids.segmentation({"liver": mask}, searched=("spleen", "liver")))
    assert found.absent == ("spleen",)


def test_float_hu_give_the_same_statistics():
    masks, hu, _ = scene()
    one = measure_scan(solids.volume(hu), solids.segmentation(masks))
    two = measure_scan(solids.volume(hu.astype(np.float32)), solids.segmentation(masks))
    for a, b in zip((*one.structures, *one.lesions), (*two.structures, *two.lesions), strict=True):
        assert numbers(a) == pytest.approx(numbers(b), abs=1e-6)


def test_bad_input():
    masks, hu, _ = scene()
    with pytest.raises(GridError, match="share one grid"):
        measure_scan(solids.volume(hu, solids.geometry(hu.shape, (1, 1, 2))), solids.segmentation(masks))
    with pytest.raises(InputError, match="min_lesion_voxels"):
        measure_scan(None, solids.segmentation(masks), min_lesion_voxels=0)
    with pytest.raises(InputError, match="min_lesion_ml"):
        measure_scan(None, solids.segmentation(masks), min_lesion_ml=float("nan"))


def test_no_structures_at_all():
    empty = Segmentation((), {}, frozenset({"liver"}), solids.geometry((4, 4, 4)))
    found = measure_scan(solids.volume(np.zeros((4, 4, 4), np.int16)), empty)
    assert (found.structures, found.lesions, found.absent) == ((), (), ("liver",))
    assert found.phase.name == "unknown"


def test_progress_is_told_and_agent_is_compared():
    aorta = np.zeros((12, 12, 12), bool)
    aorta[3:9, 3:9, 3:9] = True
    hu = np.full(aorta.shape, 40, np.int16)
    told: list[str] = []
    volume = Volume(hu, solids.geometry(hu.shape), Study(contrast_agent="Iomeprol"))
    found = measure_scan(volume, solids.segmentation({"aorta": aorta}), progress=told.append)
    assert told == ["Measuring structures"]
    assert found.phase.name == "non-contrast" and not found.phase.certain
    assert any(d.warning and "Iomeprol" in d.what for d in found.decisions)

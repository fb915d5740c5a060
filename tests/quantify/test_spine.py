"""Heights of vertebral bodies made of formulas, their losses, and trabecular HU."""

from __future__ import annotations

import numpy as np
import pytest

import analytic
import solids
from radvlm.quantify import measure_scan
from radvlm.quantify.spine import HEIGHTS, LOSSES, normal_wedge


def at_fifths(anterior, middle, posterior):
    """Heights at 80, 50 and 20 percent of the depth, where they are measured, of endplates that are parabolas."""

    def height(share):
        bow = 4 * middle - 2 * (anterior + posterior)
        return posterior * (1 - share) + anterior * share + bow * share * (1 - share)

    return height(0.8), height(0.5), height(0.2)


def column(shapes, spacing, *, step=32.0, tilts=()):
    """A spine of several vertebrae (level -> anterior, middle, posterior), the first one on top; tilts in degrees."""
    count = len(shapes)
    low = np.array([-28.0, -66.0, -24.0]) + np.array(spacing) * 0.37
    shape = tuple(np.ceil((np.array([56, 92, 48 + step * (count - 1)])) / spacing).astype(int))
    masks = {}
    for n, (level, heights) in enumerate(shapes.items()):
        center = (0.0, 0.0, step * (count - 1 - n))
        tilt = tilts[n] if tilts else 0.0
        masks[f"vertebrae_{level}"] = analytic.vertebra(
            *heights, spacing, None, box=(low, shape), center=center, tilt_degrees=tilt
        )[0]
    return solids.segmentation(masks, solids.geometry(shape, spacing))


def numbers(record):
    return {m.quantity: m.value for m in record.measurements}


@pytest.mark.parametrize("spacing", [(1.0, 1.0, 1.0), (0.7, 0.7, 3.0), (2.0, 2.0, 3.0)])
@pytest.mark.parametrize("heights", [(27, 27, 27), (18, 23, 28), (26, 17, 27)])
def test_heights_of_one_vertebra(heights, spacing):
    mask, _ = analytic.vertebra(*heights, spacing, np.random.default_rng(1))
    record = measure_scan(None, solids.segmentation({"vertebrae_L2": mask}, solids.geometry(mask.shape, spacing)))
    found = numbers(record.structure("vertebrae_L2"))
    for quantity, truth in zip(HEIGHTS, at_fifths(*heights), strict=True):
        assert found[quantity] == pytest.approx(truth, abs=0.6 + 0.75 * spacing[2]), quantity


def test_a_tilted_vertebra_is_not_longer():
    spacing = (1.0, 1.0, 1.0)
    for tilt in (-25, 20):
        mask, _ = analytic.vertebra(26, 26, 26, spacing, np.random.default_rng(2), tilt_degrees=tilt)
        record = measure_scan(None, solids.segmentation({"vertebrae_L5": mask}, solids.geometry(mask.shape, spacing)))
        found = numbers(record.structure("vertebrae_L5"))
        assert [found[q] for q in HEIGHTS] == pytest.approx([26, 26, 26], abs=1.5)


@pytest.mark.parametrize("height", [20, 23, 27])
@pytest.mark.parametrize("spacing", [(1.0, 1.0, 1.0), (0.8, 0.8, 1.0)])
def test_heights_between_flat_endplates_are_exact(height, spacing):
    """Endplates that lie on borders of voxels are found to a tenth of a millimeter, wherever the search starts."""
    mask, _ = analytic.vertebra(height, height, height, spacing, np.random.default_rng(height))
    record = measure_scan(None, solids.segmentation({"vertebrae_L1": mask}, solids.geometry(mask.shape, spacing)))
    found = numbers(record.structure("vertebrae_L1"))
    assert [found[q] for q in HEIGHTS] == pytest.approx([height] * 3, abs=0.1)


@pytest.mark.slow
@pytest.mark.parametrize(
    "spacing", [(1.0, 1.0, 1.0), (0.8, 0.8, 3.0), (2.0, 2.0, 2.0), (3.0, 3.0, 3.0), (1.0, 1.0, 5.0)]
)
def test_the_error_of_a_height_covers_it_and_is_not_too_wide(spacing):
    """Bodies of random heights, tilts and places between the voxels."""
    errors, stated = [], []
    for seed in range(12):
        rng = np.random.default_rng([31, seed])
        posterior = float(rng.uniform(17, 30))
        anterior = posterior * float(rng.uniform(0.55, 1.05))
        heights = (anterior, (posterior + anterior) / 2 * float(rng.uniform(0.75, 1)), posterior)
        mask, _ = analytic.vertebra(*heights, spacing, rng, tilt_degrees=float(rng.uniform(-20, 20)))
        record = measure_scan(None, solids.segmentation({"vertebrae_L2": mask}, solids.geometry(mask.shape, spacing)))
        for quantity, truth in zip(HEIGHTS, at_fifths(*heights), strict=True):
            found = record.structure("vertebrae_L2").measurement(quantity)
            errors.append(abs(found.value - truth))
            stated.append(found.uncertainty)
    errors, stated = np.array(errors), np.array(stated)
    assert (errors <= stated).mean() >= 0.95
    assert stated.mean() < 2 * np.quantile(errors, 0.95)
    assert stated.mean() < 0.8 * max(spacing)


@pytest.mark.slow
@pytest.mark.parametrize("spacing", [(0.8, 0.8, 3.0), (3.0, 3.0, 3.0)])
def test_on_slices_of_3_mm_a_healthy_spine_is_graded_and_a_fracture_is_found(spacing):
    levels = ("T11", "T12", "L1", "L2", "L3")
    shapes = {level: wedged(level, 27) for level in levels}
    shapes["L1"] = (27 * 0.65 - 2, 27 * 0.82 - 1, 27)  # 38 percent lower in front
    found = measure_scan(None, column(shapes, spacing, tilts=(8, 5, 2, -3, -7)))
    for level in levels:
        losses = [m for m in found.structure(f"vertebrae_{level}").measurements if m.quantity in LOSSES]
        worst = max(losses, key=lambda m: m.value)
        if level == "L1":
            assert worst.quantity == "wedge_loss" and worst.value - worst.uncertainty > 20
            assert worst.value == pytest.approx(38, abs=8)
        else:
            assert all(m.value < max(14, m.uncertainty) for m in losses), level
            assert worst.value + worst.uncertainty < (20 if spacing[0] < 1 else 25), level


def wedged(level, height):
    """A body of normal wedging at its level: the anterior height that the norm gives."""
    fall = 34 * np.tan(np.radians(normal_wedge(level)))
    return height - fall, height - fall / 2, height


@pytest.mark.slow
def test_normal_wedging_is_no_loss_and_a_fracture_is_one():
    spacing = (1.0, 1.0, 1.0)
    levels = ("T11", "T12", "L1", "L2", "L3", "L4", "L5")
    shapes = {level: wedged(level, 26) for level in levels}
    normal = measure_scan(None, column(shapes, spacing))
    for level in levels:
        found = numbers(normal.structure(f"vertebrae_{level}"))
        assert max(found["wedge_loss"], found["biconcave_loss"], found["crush_loss"]) < 6, (level, found)
    broken = {**shapes, "L1": (15, 20, 26), "L3": (26, 15, 26), "L5": (17, 16, 16)}
    found = measure_scan(None, column(broken, spacing))
    l1, l3, l5 = (numbers(found.structure(f"vertebrae_{n}")) for n in ("L1", "L3", "L5"))
    assert 28 < l1["wedge_loss"] < 42 and l1["crush_loss"] < 10
    assert 33 < l3["biconcave_loss"] < 47 and l3["wedge_loss"] < 12
    assert l5["crush_loss"] == pytest.approx(100 * (1 - 16 / 26), abs=6)
    assert numbers(found.structure("vertebrae_T12"))["crush_loss"] < 6  # a broken neighbor does not break it


def test_what_cannot_be_measured_says_why():
    spacing = (1.0, 1.0, 1.0)
    mask, _ = analytic.vertebra(26, 26, 26, spacing, np.random.default_rng(1))

    def reasons(masks):
        record = measure_scan(None, solids.segmentation(masks, solids.geometry(mask.shape, spacing)))
        return {o.quantity: o.reason for o in next(iter(record.structures)).omissions}

    alone = reasons({"vertebrae_L2": mask})
    assert "neighboring" in alone["crush_loss"] and alone["trabecular_hu"] == "no CT was given"
    cut = mask.copy()
    cut[:, :, 0] = cut[:, :, mask.shape[2] // 2]
    assert reasons({"vertebrae_L2": cut})["anterior_height"] == "cut by the field of view"
    assert "T4" in reasons({"vertebrae_C5": mask}).get("anterior_height", "T4")
    assert "T4" in reasons({"vertebrae_T2": mask})["wedge_loss"]
    ball = solids.ellipsoid(mask.shape, spacing, np.array(mask.shape) / 2, (3, 3, 3))
    assert "body" in reasons({"vertebrae_L2": ball})["anterior_height"]


def test_trabecular_hu_is_that_of_the_core():
    spacing = (1.0, 1.0, 1.0)
    mask, body = analytic.vertebra(27, 27, 27, spacing, np.random.default_rng(3))
    from scipy.ndimage import binary_erosion

    hu = np.full(mask.shape, 40, np.int16)
    hu[mask] = 500
    hu[binary_erosion(body, iterations=2)] = 132
    geometry = solids.geometry(mask.shape, spacing)
    record = measure_scan(solids.volume(hu, geometry), solids.segmentation({"vertebrae_L1": mask}, geometry))
    assert numbers(record.structure("vertebrae_L1"))["trabecular_hu"] == pytest.approx(132)


def test_a_shift_and_a_crop_change_nothing():
    spacing = (1.0, 1.0, 1.5)
    mask, _ = analytic.vertebra(20, 23, 27, spacing, np.random.default_rng(5))
    wide = np.pad(mask, ((3, 8), (1, 4), (6, 2)))
    one, two = (
        numbers(
            measure_scan(None, solids.segmentation({"vertebrae_L1": m}, solids.geometry(m.shape, spacing))).structure(
                "vertebrae_L1"
            )
        )
        for m in (mask, wide)
    )
    assert {q: one[q] for q in HEIGHTS} == pytest.approx({q: two[q] for q in HEIGHTS}, abs=1e-6)


@pytest.mark.slow
def test_real_vertebrae(real_data):
    """Of four and two vertebrae one is whole: L1 of the plain scan, about 25 to 30 mm high."""
    from radvlm.io import load_segmentation, load_volume

    volume = load_volume(real_data / "plain_abdomen" / "ct.nii.gz")
    masks = load_segmentation(real_data / "plain_abdomen" / "segmentation.nii.gz", like=volume)
    found = measure_scan(volume, masks)
    whole = found.structure("vertebrae_L1")
    assert all(22 < numbers(whole)[q] < 32 for q in HEIGHTS) and 80 < numbers(whole)["trabecular_hu"] < 180
    for name in ("vertebrae_T11", "vertebrae_T12", "vertebrae_L2"):
        assert {"anterior_height", "trabecular_hu"} <= {
            o.quantity for o in found.structure(name).omissions if o.reason == "cut by the field of view"
        }
    volume = load_volume(real_data / "upper_abdomen_dicom")
    masks = load_segmentation(real_data / "upper_abdomen_masks" / "segmentation.nii.gz", like=volume)
    found = measure_scan(volume, masks)
    assert all(numbers(found.structure(f"vertebrae_{n}")).get("anterior_height") is None for n in ("T11", "T12"))

"""Chest indices, fluid, body composition, lengths: hand-worked values and the reasons for what is missing."""

from __future__ import annotations

import numpy as np
import pytest

import solids
from radvlm.interpret import interpret
from radvlm.quantify import measure_scan
from radvlm.quantify.body import liver_spleen_ratio
from radvlm.types.scan_measurements import Phase
from radvlm.types.study import Patient


def value(record, quantity):
    found = record.measurement(quantity)
    return None if found is None else found.value


def reason(record, quantity):
    return next(o.reason for o in record.omissions if o.quantity == quantity)


def chest(level: int, shape=(80, 40, 20)):
    """Two box lungs 36 voxels wide and 30 deep, a heart of 24 between and across them, fluid behind on the right."""
    masks = {n: np.zeros(shape, bool) for n in ("lung_right", "lung_left", "heart", "pleural_effusion_right")}
    masks["lung_left"][2:38, 5:35, 2:18] = True
    masks["lung_right"][42:78, 5:35, 2:18] = True
    masks["pleural_effusion_right"][42:78, 5 : 5 + level, 2:10] = True
    masks["lung_right"] &= ~masks["pleural_effusion_right"]
    masks["heart"][28:52, 12:28, 5:15] = True
    for side in ("left", "right"):
        masks[f"lung_{side}"] &= ~masks["heart"]
    return masks


@pytest.mark.parametrize(("level", "percent"), [(6, 20), (12, 40), (24, 80)])
def test_depth_of_an_effusion(level, percent):
    masks = chest(level)
    geometry = solids.geometry((80, 40, 20), (1.0, 2.0, 3.0))
    found = measure_scan(None, solids.segmentation(masks, geometry)).structure("pleural_effusion_right")
    assert value(found, "depth") == 2.0 * level and value(found, "fraction") == pytest.approx(percent)
    points = found.measurement("depth").points_mm
    assert np.linalg.norm(np.subtract(*points)) == pytest.approx(2.0 * level)


def test_an_unsided_effusion_takes_the_lung_it_touches_and_without_a_lung_has_no_depth():
    masks = chest(12)
    masks["pleural_effusion"] = masks.pop("pleural_effusion_right")
    lesion = measure_scan(None, solids.segmentation(masks)).lesions[0]
    assert value(lesion, "fraction") == pytest.approx(40)
    alone = {"pleural_effusion_right": masks["pleural_effusion"]}
    record = measure_scan(None, solids.segmentation(alone)).structure("pleural_effusion_right")
    assert reason(record, "depth") == "the lung of that side is not in the masks"


def test_heart_to_thorax():
    found = measure_scan(None, solids.segmentation(chest(6))).structure("heart")
    assert value(found, "cardiothoracic_ratio") == pytest.approx(24 / 76)
    masks = chest(6)
    del masks["lung_left"]
    assert (
        reason(measure_scan(None, solids.segmentation(masks)).structure("heart"), "cardiothoracic_ratio")
        == "both lungs are not in the masks"
    )


def test_pericardial_fluid_of_known_width():
    x, y, z = np.meshgrid(*[np.arange(70) - 34.5] * 3, indexing="ij")
    far = np.sqrt(x**2 + y**2 + z**2)
    found = measure_scan(None, solids.segmentation({"pericardial_effusion": (far >= 22) & (far < 30)}))
    assert value(found.structure("pericardial_effusion"), "thickness") == pytest.approx(8, abs=1.5)


@pytest.mark.parametrize(
    ("width_mm", "said"), [(6, "not dilated"), (16, "wider than 1.0 cm and not wider than 2.0 cm"), (28, "dilated")]
)
def test_a_renal_pelvis_of_known_width_is_measured_and_judged(width_mm, said):
    x, y, z = np.meshgrid(*[np.arange(48) - 23.5] * 3, indexing="ij")
    kidney = (x / 22) ** 2 + (y / 22) ** 2 + (z / 23) ** 2 < 1
    pelvis = (x / 18) ** 2 + (y / 18) ** 2 + (z / 20) ** 2 < 1
    pelvis &= np.abs(y) < width_mm / 2
    masks = {"kidney_left": kidney & ~pelvis, "renal_pelvis_left": pelvis}
    numbers = measure_scan(None, solids.segmentation(masks))
    found = numbers.structure("renal_pelvis_left").measurement("diameter")
    assert found.value == pytest.approx(width_mm, abs=1.5)
    for age in (50, 5, None):
        held = interpret(numbers, patient=Patient(age_years=age))
        judged = [a.category for f in held if f.site == "renal_pelvis_left" for a in f.assessments]
        open_ = [f.reason for f in held if f.kind == "hydronephrosis" and f.site == "renal_pelvis_left"]
        if age == 50:
            assert judged == [said] and not open_
        else:  # a child has no such limit; above that of adults is wide at any age
            assert judged if width_mm > 10 else open_


def test_trachea():
    shape, spacing = (40, 40, 60), (1.0, 1.0, 1.0)
    x, y, z = np.meshgrid(*[np.arange(n) for n in shape], indexing="ij")
    narrow = np.where(abs(z - 30) < 5, 0.7, 1.0)
    mask = ((x - 19.5) / (7 * narrow)) ** 2 + ((y - 19.5) / (10 * narrow)) ** 2 <= 1
    found = measure_scan(None, solids.segmentation({"trachea": mask}, solids.geometry(shape, spacing))).structure(
        "trachea"
    )
    assert value(found, "minimum_area") == pytest.approx(np.pi * 70 * 0.49, rel=0.05)
    assert value(found, "tracheal_index") == pytest.approx(0.7, abs=0.04)
    assert 25 < found.measurement("minimum_area").slice_index < 35


@pytest.mark.parametrize(("thick", "needed"), [(1.0, 23), (3.0, 11), (5.0, 7)])
def test_a_trachea_needs_three_slices_between_its_ends(thick, needed):
    """10 mm at either end, in whole slices, are left out: 10 + 3 + 10, 4 + 3 + 4 and 2 + 3 + 2 slices."""

    def box(slices):
        mask = np.ones((14, 20, slices), bool)
        grid = solids.geometry(mask.shape, (1.0, 1.0, thick))
        return measure_scan(None, solids.segmentation({"trachea": mask}, grid)).structure("trachea")

    enough, short = box(needed), box(needed - 1)
    assert value(enough, "minimum_area") == 14 * 20 and value(enough, "tracheal_index") == pytest.approx(14 / 20)
    for quantity in ("minimum_area", "tracheal_index"):
        assert reason(short, quantity) == f"less than {needed * thick:.0f} mm of the trachea are imaged"


def test_muscle_at_l3_counts_only_its_window():
    shape = (40, 40, 30)
    bone, muscle, fat = (np.zeros(shape, bool) for _ in range(3))
    bone[15:25, 15:25, 8:20] = True
    muscle[5:15, 5:35] = True
    fat[26:36, 5:35] = True
    hu = np.full(shape, -100, np.int16)
    hu[muscle] = 50
    hu[5:8, 5:35] = -80  # fat in the muscle
    hu[8, 5:35] = 200  # beyond the window
    masks = solids.segmentation({"vertebrae_L3": bone, "skeletal_muscle": muscle, "subcutaneous_fat": fat})
    found = measure_scan(solids.volume(hu), masks)
    assert value(found.structure("skeletal_muscle"), "area_l3") == 6 * 30
    assert value(found.structure("skeletal_muscle"), "mean_hu_l3") == 50
    assert value(found.structure("subcutaneous_fat"), "area_l3") == 300
    assert found.structure("skeletal_muscle").measurement("area_l3").slice_index == 14
    for name in ("skeletal_muscle", "subcutaneous_fat"):
        for m in found.structure(name).measurements:
            assert m.region_id == name, "a number is that of the structure that it stands under"
    bone[:, :, 8:] = bone[:, :, 8:9]
    bone[15:25, 15:25, 20:] = True
    cut = measure_scan(solids.volume(hu), solids.segmentation({"vertebrae_L3": bone, "skeletal_muscle": muscle}))
    assert reason(cut.structure("skeletal_muscle"), "area_l3") == "L3 is cut by the field of view"


def test_length_of_a_tilted_kidney_is_not_its_extent():
    mask = solids.ellipsoid((90, 90, 40), (1, 1, 1), (45, 45, 20), (40, 15, 12), degrees=40)
    found = measure_scan(None, solids.segmentation({"kidney_left": mask})).structure("kidney_left")
    assert value(found, "length") == pytest.approx(80, abs=1.5)
    assert max(value(found, q) for q in ("extent_right_left", "extent_anterior_posterior")) < 70
    ends = np.array(found.measurement("length").points_mm)
    assert np.linalg.norm(ends[1] - ends[0]) == pytest.approx(value(found, "length"), abs=2)
    center, half = np.array([45, 45, 20]), 40 * np.array([np.cos(np.radians(40)), np.sin(np.radians(40)), 0])
    assert np.array(sorted(map(tuple, ends))) == pytest.approx(np.array([center - half, center + half]), abs=2)
    cut = measure_scan(None, solids.segmentation({"kidney_left": mask[20:]})).structure("kidney_left")
    assert reason(cut, "length") == "cut by the field of view"


def test_liver_to_spleen_only_on_a_certain_plain_scan():
    plain = Phase("non-contrast", "given", certain=True)
    assert liver_spleen_ratio(40.0, 50.0, plain)[0][0].value == pytest.approx(0.8)
    for phase in (None, Phase("portal venous", "given", certain=True), Phase("non-contrast", "given", certain=False)):
        found, missing = liver_spleen_ratio(40.0, 50.0, phase)
        assert not found and missing[0].reason
    assert liver_spleen_ratio(40.0, None, plain)[1][0].reason == "the spleen was not measured"

"""Host, segment, lobe, pole, level and side of lesions in small made-up anatomies."""

from __future__ import annotations

import numpy as np
import pytest

import solids
from radvlm.compose import compose_report
from radvlm.interpret import interpret
from radvlm.quantify import measure_scan
from radvlm.quantify.lesion import attenuation_word
from radvlm.types.study import Patient

SHAPE = (40, 30, 30)


def block(*slices) -> np.ndarray:
    mask = np.zeros(SHAPE, bool)
    mask[tuple(slice(*s) for s in slices)] = True
    return mask


def lesions(masks, *, one_layer=False, spacing=(2, 2, 2)):
    geometry = solids.geometry(SHAPE, spacing)
    return measure_scan(None, solids.segmentation(masks, geometry, one_layer=one_layer)).lesions


RIGHT_KIDNEY, LEFT_KIDNEY = block((28, 36), (4, 10), (4, 25)), block((4, 12), (4, 10), (4, 25))


@pytest.mark.parametrize("one_layer", [False, True])
@pytest.mark.parametrize(
    ("z", "pole"), [((5, 8), "lower pole"), ((13, 16), "interpolar region"), ((20, 24), "upper pole")]
)
def test_kidney_side_and_pole(z, pole, one_layer):
    cyst = block((6, 10), (5, 9), z)
    masks = {"kidney_right": RIGHT_KIDNEY, "kidney_left": LEFT_KIDNEY, "kidney_cyst": cyst}
    found = lesions(masks, one_layer=one_layer)
    assert (found[0].host, found[0].pole) == ("kidney_left", pole)


def test_pole_of_a_cut_kidney_is_not_assessed():
    cut, lesion = block((4, 12), (4, 10), (0, 20)), block((6, 10), (5, 9), (13, 16))
    found = lesions({"kidney_left": cut, "kidney_lesion_left": lesion})
    assert (found[0].host, found[0].pole) == ("kidney_left", "")
    missing = {o.quantity: o.reason for o in found[0].omissions}
    assert missing["pole"] == "the left kidney is cut by the field of view"


def test_an_exophytic_lesion_belongs_to_the_kidney_it_touches():
    lesion = block((24, 28), (5, 9), (5, 8))
    found = lesions({"kidney_right": RIGHT_KIDNEY, "kidney_left": LEFT_KIDNEY, "kidney_lesion": lesion})
    assert found[0].host == "kidney_right"


@pytest.mark.parametrize(("gap", "host"), [(2, "kidney_right"), (6, "")])
def test_near_is_within_5_mm(gap, host):
    lesion = block((28 - gap - 4, 28 - gap), (5, 9), (12, 16))
    assert lesions({"kidney_right": RIGHT_KIDNEY, "kidney_cyst": lesion})[0].host == host


def test_the_only_kidney_in_the_masks_is_not_blamed_for_a_far_lesion():
    assert lesions({"kidney_right": RIGHT_KIDNEY, "kidney_cyst": block((6, 10), (5, 9), (12, 16))})[0].host == ""


SEGMENTS = {
    "liver_segment_6": block((20, 30), (4, 14), (4, 15)),
    "liver_segment_7": block((20, 30), (4, 14), (15, 26)),
    "liver_segment_4": block((10, 20), (4, 14), (4, 26)),
}
LIVER = block((10, 30), (4, 14), (4, 26))


@pytest.mark.parametrize("with_liver", [True, False])
@pytest.mark.parametrize(
    ("z", "expected"),
    [
        ((6, 12), ("liver_segment_6",)),
        ((9, 17), ("liver_segment_6", "liver_segment_7")),
        ((12, 22), ("liver_segment_7", "liver_segment_6")),
        ((5, 16), ("liver_segment_6",)),
    ],
)
def test_liver_segments_by_share(z, expected, with_liver):
    masks = {**({"liver": LIVER} if with_liver else {}), **SEGMENTS, "liver_lesion": block((22, 26), (6, 10), z)}
    lesion = lesions(masks)[0]
    assert (lesion.host, lesion.locations) == ("liver", expected)


def test_segments_around_a_lesion_that_replaced_them():
    masks = {**SEGMENTS, "liver_tumor": block((22, 26), (6, 10), (6, 12))}
    lesion = lesions(masks, one_layer=True)[0]
    assert (lesion.host, lesion.locations) == ("liver", ("liver_segment_6",))


def test_lung_nodule_by_lobes_alone():
    masks = {
        "lung_upper_lobe_right": block((22, 38), (4, 26), (15, 28)),
        "lung_lower_lobe_right": block((22, 38), (4, 26), (2, 15)),
        "lung_lower_lobe_left": block((2, 18), (4, 26), (2, 28)),
        "lung_nodule": block((30, 33), (10, 13), (6, 9)),
    }
    lesion = lesions(masks)[0]
    assert (lesion.host, lesion.locations) == ("lung_right", ("lung_lower_lobe_right",))


def test_pancreas_parts_and_ducts():
    masks = {
        "pancreas": block((10, 34), (8, 14), (10, 16)),
        "pancreas_head": block((26, 34), (8, 14), (10, 16)),
        "pancreas_tail": block((10, 18), (8, 14), (10, 16)),
        "pancreatic_duct": block((10, 34), (10, 12), (12, 14)),
        "pancreas_cyst": block((27, 31), (9, 13), (11, 15)),
    }
    lesion = lesions(masks)[0]
    assert (lesion.host, lesion.locations) == ("pancreas", ("pancreas_head",))


def test_bone_lesion_and_vertebral_level():
    masks = {
        "vertebrae_L1": block((16, 24), (2, 8), (16, 24)),
        "vertebrae_L2": block((16, 24), (2, 8), (6, 15)),
        "rib_left_12": block((4, 14), (2, 4), (20, 23)),
        "bone_lesion": block((18, 22), (3, 6), (9, 13)),
    }
    lesion = lesions(masks)[0]
    assert (lesion.host, lesion.level, lesion.locations) == ("vertebrae_L2", "vertebrae_L2", ())


@pytest.mark.parametrize(
    ("z", "level"),
    [((17, 21), "vertebrae_L1"), ((8, 12), "vertebrae_L2"), ((24, 27), "vertebrae_L1"), ((0, 3), "vertebrae_L2")],
)
def test_level_of_any_lesion(z, level):
    masks = {
        "vertebrae_L1": block((16, 24), (2, 8), (14, 24)),
        "vertebrae_L2": block((16, 24), (2, 8), (4, 15)),
        "lymph_node": block((26, 29), (12, 16), z),
    }
    lesion = lesions(masks)[0]
    assert (lesion.level, lesion.host) == (level, "")


def test_no_level_far_from_any_vertebra():
    masks = {"vertebrae_L1": block((16, 24), (2, 8), (2, 8)), "lymph_node": block((26, 29), (12, 16), (24, 28))}
    assert lesions(masks)[0].level == ""


def test_side_of_pleural_fluid():
    lungs = {
        "lung_lower_lobe_right": block((22, 38), (8, 26), (2, 28)),
        "lung_lower_lobe_left": block((2, 18), (8, 26), (2, 28)),
    }
    fluid = block((24, 36), (4, 8), (2, 12)) | block((4, 10), (4, 8), (2, 6))
    right, left = lesions({**lungs, "pleural_effusion": fluid})
    assert (right.locations, left.locations) == (("lung_right",), ("lung_left",))
    assert right.host == left.host == ""
    spine = block((18, 22), (2, 6), (2, 28))
    right, left = lesions({"vertebrae_T8": spine, "pleural_effusion": fluid})
    assert (right.locations, left.locations) == (("lung_right",), ("lung_left",))
    assert [f.locations for f in lesions({"pleural_effusion": fluid})] == [(), ()]


def test_fluid_has_no_contrast_to_an_organ():
    masks = solids.segmentation({"ascites": block((4, 20), (4, 9), (2, 9))})
    fluid = measure_scan(solids.volume(np.zeros(SHAPE, np.int16)), masks).lesions[0]
    assert fluid.attenuation == "" and fluid.measurement("contrast_to_host") is None
    assert "fluid has no host organ" in {o.reason for o in fluid.omissions}


@pytest.mark.parametrize(
    ("host", "difference", "sd", "word"),
    [
        ("liver", -10.0, 12.0, "isoattenuating"),
        ("liver", -10.1, 12.0, "hypoattenuating"),
        ("liver", 14.9, 30.0, "isoattenuating"),
        ("liver", 15.1, 30.0, "hyperattenuating"),
        ("lung_right", 800.0, 100.0, ""),
        ("vertebrae_L1", 300.0, 100.0, ""),
        ("colon", 300.0, 100.0, ""),
    ],
)
def test_attenuation_band(host, difference, sd, word):
    assert attenuation_word(host, difference, sd) == word


def test_a_stray_voxel_of_overlap_does_not_decide():
    stray = LEFT_KIDNEY.copy()
    stray[25, 6, 6] = True  # one voxel of the left kidney's label inside a cyst that hugs the right kidney
    cyst = block((24, 28), (5, 9), (5, 8))
    masks = {"kidney_right": RIGHT_KIDNEY, "kidney_left": stray, "kidney_cyst": cyst}
    assert lesions(masks)[0].host == "kidney_right"


def test_where_two_vertebrae_overlap_the_nearer_center_decides():
    """The spinous process of L1 reaches down to the body of L2."""
    upper = block((16, 24), (6, 14), (15, 24)) | block((19, 21), (2, 6), (9, 15))
    masks = {
        "vertebrae_L1": upper,
        "vertebrae_L2": block((16, 24), (6, 14), (5, 14)),
        "lymph_node": block((26, 29), (12, 16), (9, 12)),
    }
    assert lesions(masks)[0].level == "vertebrae_L2"


@pytest.mark.parametrize("kind", ["intracerebral_hemorrhage", "brain_lesion", "brain_aneurysm"])
@pytest.mark.parametrize(
    ("x", "half"), [((6, 10), ("brain_half_left",)), ((18, 22), ()), ((30, 34), ("brain_half_right",))]
)
def test_a_lesion_of_the_brain_has_a_side_off_the_midline(kind, x, half):
    brain = block((4, 36), (4, 26), (4, 26))
    assert lesions({"brain": brain, kind: block(x, (12, 16), (12, 16))})[0].locations == half
    assert lesions({"brain": block((0, 36), (4, 26), (4, 26)), kind: block(x, (12, 16), (12, 16))})[0].locations == ()


def test_the_side_is_that_of_the_slice_of_a_tilted_head():
    brain = block((2, 18), (4, 26), (2, 14)) | block((22, 38), (4, 26), (14, 28))
    found = lesions({"brain": brain, "brain_lesion": block((23, 26), (12, 16), (20, 23))})
    assert found[0].locations == ("brain_half_left",)


def test_a_lesion_of_a_whole_kidney_has_no_pole_and_one_of_a_third_has():
    kidney = np.zeros((30, 30, 60), bool)
    kidney[5:25, 5:25, 6:54] = True
    for low, high, pole in ((6, 54, ""), (8, 44, ""), (6, 20, "lower pole"), (22, 38, "interpolar region")):
        tumor = kidney & (np.arange(60) >= low) & (np.arange(60) < high)
        (lesion,) = measure_scan(None, solids.segmentation({"kidney_left": kidney, "kidney_tumor_left": tumor})).lesions
        assert lesion.pole == pole
        assert any("most of the left kidney" in o.reason for o in lesion.omissions) is (not pole)


def test_a_region_of_two_lobes_names_both_and_a_nodule_its_own():
    upper, middle = np.zeros((40, 40, 40), bool), np.zeros((40, 40, 40), bool)
    upper[4:36, 4:36, 20:36] = middle[4:36, 4:36, 4:20] = True
    whole, small = upper | middle, np.zeros_like(upper)
    small[10:18, 10:18, 24:30] = True
    for mask, place in (
        (whole, "in the right upper lobe and the right middle lobe"),
        (small, "in the right upper lobe"),
    ):
        masks = {"lung_upper_lobe_right": upper, "lung_middle_lobe_right": middle, "lung_consolidation": mask}
        numbers = measure_scan(None, solids.segmentation(masks))
        report = compose_report(interpret(numbers, patient=Patient(age_years=60)))
        said = next(s.text for s in report.sentences if "onsolidation" in s.text)
        assert place in said and ("middle lobe" in said) is (mask is whole), said

"""Regions give their voxels back, and a painted map gives every region back exactly."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

import solids
from radvlm.errors import InputError, StructureError
from radvlm.quantify import measure_scan, paint_regions, region_mask

NAMES = ("body", "liver", "liver_segment_6", "ascites", "liver_lesion", "liver_cyst")


def full(segmentation, region):
    box, mask = region_mask(segmentation, region)
    out = np.zeros(segmentation.geometry.shape, bool)
    out[box.slices] = mask
    return out


def regions_of(found):
    return [s.region for s in found.structures] + [lesion.region for lesion in found.lesions]


@pytest.mark.slow
@settings(max_examples=60)
@given(st.lists(arrays(bool, (6, 5, 4), elements=st.booleans()), min_size=1, max_size=len(NAMES)), st.booleans())
def test_any_overlap_comes_back_exactly(arrays_, with_instances):
    masks = dict(zip(NAMES, arrays_, strict=False))
    for mask in masks.values():
        mask[0, 0, 0] = mask[1, 1, 1] = mask[0, 1, 0] = mask[0, 1, 1] = True
    segmentation = solids.segmentation(masks, solids.geometry((6, 5, 4), (5, 5, 5)))
    found = measure_scan(None, segmentation, min_lesion_voxels=1)
    regions = regions_of(found) if with_instances else [s.region for s in found.structures]
    painted = paint_regions(segmentation, regions)
    assert {row.region.id for row in painted.rows} == {r.id for r in regions}
    union = np.zeros((6, 5, 4), bool)
    for row in painted.rows:
        held = np.isin(painted.labels, (row.label, *row.also))
        assert (held == full(segmentation, row.region)).all()
        assert row.label not in row.also
        union |= held
    used = np.unique(painted.labels)
    assert ((painted.labels > 0) == union).all()
    assert set(used) - {0} == set(range(1, int(used.max()) + 1))  # no gaps
    if with_instances:
        for name, mask in masks.items():
            parts = [full(segmentation, lesion.region) for lesion in found.lesions if lesion.structure == name]
            if parts:
                assert (np.sum(parts, axis=0) == mask).all()  # disjoint, and all of them


def test_disjoint_regions_are_one_label_each():
    a, b = np.zeros((8, 8, 8), bool), np.zeros((8, 8, 8), bool)
    a[:3], b[5:] = True, True
    segmentation = solids.segmentation({"liver": a, "spleen": b})
    rows = paint_regions(segmentation, regions_of(measure_scan(None, segmentation))).rows
    assert sorted((row.region.id, row.label, row.also) for row in rows) == [("liver", 1, ()), ("spleen", 2, ())]


def test_lesion_over_organ():
    liver, lesion = np.zeros((10, 10, 10), bool), np.zeros((10, 10, 10), bool)
    liver[1:9, 1:9, 1:9] = True
    lesion[3:6, 3:6, 3:6] = True
    segmentation = solids.segmentation({"liver": liver, "liver_lesion": lesion})
    found = measure_scan(None, segmentation)
    painted = paint_regions(segmentation, [found.structure("liver").region, found.lesions[0].region])
    assert (painted.row("liver").label, painted.row("liver").also) == (1, (2,))
    assert (painted.row("liver_lesion/1").label, painted.row("liver_lesion/1").also) == (2, ())
    assert painted.labels.dtype == np.uint8


@pytest.mark.slow
def test_more_than_255_labels():
    mask = np.zeros((40, 40, 8), bool)
    mask[::2, ::2, ::4] = True  # 800 single voxels
    segmentation = solids.segmentation({"liver_lesion": mask})
    found = measure_scan(None, segmentation, min_lesion_voxels=1)
    painted = paint_regions(segmentation, [lesion.region for lesion in found.lesions])
    assert painted.labels.dtype == np.uint16 and painted.labels.max() == 800
    assert (np.bincount(painted.labels.ravel())[1:] == 1).all()


def test_nothing_to_paint():
    segmentation = solids.segmentation({"liver": np.ones((3, 3, 3), bool)})
    painted = paint_regions(segmentation, [])
    assert not painted.labels.any() and painted.rows == ()


def test_regions_of_another_segmentation_are_refused():
    mask = np.zeros((9, 9, 9), bool)
    mask[2:6, 2:6, 2:6] = True
    region = measure_scan(None, solids.segmentation({"liver_lesion": mask})).lesions[0].region
    other = mask.copy()
    other[3, 3, 3] = False
    with pytest.raises(InputError, match="belongs to the segmentation"):
        region_mask(solids.segmentation({"liver_lesion": other}), region)
    with pytest.raises(StructureError):
        region_mask(solids.segmentation({"liver": mask}), region)


def test_instance_is_told_from_its_neighbor_in_the_same_box():
    mask = np.zeros((12, 12, 3), bool)
    mask[1:11, 1, 1] = mask[1, 1:11, 1] = True  # an L whose box holds the other one
    mask[5:9, 5:9, 1] = True
    segmentation = solids.segmentation({"liver_lesion": mask})
    first, second = measure_scan(None, segmentation).lesions
    assert (first.region.voxels, second.region.voxels) == (19, 16)
    assert full(segmentation, first.region).sum() == 19
    assert (full(segmentation, first.region) | full(segmentation, second.region) == mask).all()

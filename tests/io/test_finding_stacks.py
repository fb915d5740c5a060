"""Masks of findings along a fourth axis: which axis, which sentence, and where they lie."""

from __future__ import annotations

import json

import nibabel as nib
import numpy as np
import pytest

from radvlm.errors import FileFormatError, GridError, StructureError
from radvlm.io import load_segmentation, load_volume

AFFINE = np.array([[-0.8, 0, 0, 12.0], [0, 0.7, 0, 5.0], [0, 0, 2.5, -40.0], [0, 0, 0, 1.0]])
SENTENCES = {"0": "lung nodule", "1": "pleural effusion"}


@pytest.fixture
def stack(body) -> np.ndarray:
    masks = np.zeros((2, *body.shape), np.uint8)
    masks[0, 5:9, 10:14, 3:6], masks[0, 20:22, 20:22, 20:22] = 1, 2
    masks[1, 12:20, 2:8, 4:25] = 1
    return masks


@pytest.mark.parametrize("first", [True, False])
def test_findings_first_or_last(tmp_path, body, stack, first) -> None:
    scan = load_volume(nib.Nifti1Image(body, AFFINE))
    path = tmp_path / "case_1.nii.gz"
    nib.save(nib.Nifti1Image(stack if first else np.moveaxis(stack, 0, 3), AFFINE), path)
    entry = {"name": "case_1.nii.gz", "findings": SENTENCES}
    (tmp_path / "dataset.json").write_text(json.dumps({"train": [{"name": "case_2.nii.gz", "findings": {}}, entry]}))
    found = load_segmentation(path, like=scan)
    assert found.voxel_count("lung_nodule") == 4 * 4 * 3 + 8
    np.testing.assert_array_equal(found.mask("pleural_effusion"), stack[1][::-1] != 0)
    assert not any(
        decision.warning for decision in found.decisions if decision.step == "masks" and "grid" in decision.what
    )


def test_another_grid_in_the_header_is_said(tmp_path, body, stack) -> None:
    scan = load_volume(nib.Nifti1Image(body, AFFINE))
    path = tmp_path / "case_1.nii.gz"
    nib.save(nib.Nifti1Image(stack, np.eye(4)), path)
    (tmp_path / "case_1.json").write_text(json.dumps({"findings": ["lung nodule", "pleural effusion"]}))
    found = load_segmentation(path, like=scan)
    np.testing.assert_array_equal(found.mask("pleural_effusion"), stack[1][::-1] != 0)
    assert any(decision.warning and "voxel by voxel" in decision.what for decision in found.decisions)


def test_without_sentences(tmp_path, body, stack) -> None:
    scan = load_volume(nib.Nifti1Image(body, AFFINE))
    path = tmp_path / "a.nii"
    nib.save(nib.Nifti1Image(stack, AFFINE), path)
    with pytest.raises(StructureError, match="no table"):
        load_segmentation(path, like=scan)
    found = load_segmentation(path, like=scan, scheme={0: "lung_nodule"})
    assert found.present == ("lung_nodule",)
    assert any(decision.warning and "finding 1" in decision.what for decision in found.decisions)
    (tmp_path / "a.json").write_text(json.dumps({"findings": ["lung nodule"]}))
    with pytest.raises(FileFormatError, match="one sentence"):
        load_segmentation(path, like=scan)
    with pytest.raises(GridError, match="fourth axis"):
        load_segmentation(path, like=load_volume(body[:-1], affine=AFFINE))
    with pytest.raises(GridError, match="one 3D volume"):
        load_volume(path)


def test_two_findings_of_one_structure_that_touch_stay_two_lesions(tmp_path, body) -> None:
    """Two nodules side by side, one again in other words, and one of two pieces: four lesions with their own voxels."""
    import radvlm
    from radvlm.quantify.regions import region_mask

    scan = load_volume(nib.Nifti1Image(body, AFFINE))
    masks = np.zeros((4, *body.shape), np.uint8)
    masks[0, 5:10, 10:15, 3:8] = 1
    masks[1, 10:13, 10:14, 3:8] = 1
    masks[2, 5:10, 10:15, 4:8] = 1
    masks[3, 20:23, 20:23, 20:23] = masks[3, 26:28, 20:23, 20:23] = 1
    nib.save(nib.Nifti1Image(masks, AFFINE), tmp_path / "a.nii")
    found = load_segmentation(tmp_path / "a.nii", like=scan, scheme=dict.fromkeys(range(4), "lung_nodule"))
    lesions = radvlm.measure(scan, found).lesions
    assert [lesion.region.voxels for lesion in lesions] == [125, 60, 27, 18]
    for lesion, truth in zip(lesions[:2], (masks[0], masks[1]), strict=True):
        box, mask = region_mask(found, lesion.region)
        whole = np.zeros(body.shape, bool)
        whole[box.slices] = mask
        np.testing.assert_array_equal(whole, truth[::-1] > 0)

"""Voxel sizes that a header lost, or one side of a voxel that is wrong, and folders that may not be listed."""

from __future__ import annotations

from pathlib import Path
from unittest.mock import patch

import nibabel as nib
import numpy as np
import pytest

from radvlm.errors import FileFormatError
from radvlm.io import load_segmentation, load_volume
from radvlm.phantom import PhantomSpec, make_phantom


@pytest.fixture(scope="module")
def trunk() -> tuple[np.ndarray, np.ndarray]:
    made = make_phantom(PhantomSpec(seed=3, region="abdomen", spacing_mm=(4.0, 4.0, 5.0)))
    return np.asarray(made.volume.hu, np.int16), np.array(made.volume.geometry.affine)


def warnings(hu: np.ndarray, affine: np.ndarray) -> str:
    return " ".join(d.what for d in load_volume(hu, affine=affine).decisions if d.warning)


def test_a_trunk_of_voxels_of_1_mm_that_is_as_narrow_as_an_arm_has_lost_its_spacing(trunk) -> None:
    hu, affine = trunk
    assert "were probably lost" in warnings(hu, np.eye(4))
    assert warnings(hu, affine) == ""
    every = np.repeat(np.repeat(hu[:, :, ::4], 2, 0), 2, 1)
    assert warnings(every, np.diag([2.0, 2.0, 20.0, 1.0])) == ""


@pytest.mark.parametrize("axis", [0, 1])
def test_pixels_that_are_not_square_are_told(trunk, axis: int) -> None:
    hu, affine = trunk
    wide = affine.copy()
    wide[:, axis] *= 2
    assert "No two sides of a voxel are alike" in warnings(hu, wide)
    for order in ((0, 1, 2), (2, 0, 1), (1, 2, 0)):  # coronal and sagittal stacks have square pixels too
        assert "alike" not in warnings(hu, np.diag([*np.array([4.0, 4.0, 5.0])[list(order)], 1.0]))


def test_a_metaimage_without_the_size_of_a_voxel_says_so(tmp_path: Path, trunk) -> None:
    hu, _ = trunk
    head = (
        "ObjectType = Image\nNDims = 3\nBinaryData = True\nBinaryDataByteOrderMSB = False\nCompressedData = False\n"
        f"TransformMatrix = -1 0 0 0 -1 0 0 0 1\nOffset = 0 0 0\n{{spacing}}DimSize = {' '.join(map(str, hu.shape))}\n"
        "ElementType = MET_SHORT\nElementDataFile = LOCAL\n"
    )
    for name, spacing in (("with", "ElementSpacing = 4 4 5\n"), ("without", "")):
        path = tmp_path / f"{name}.mha"
        path.write_bytes(head.format(spacing=spacing).encode() + hu.tobytes(order="F"))
        told = " ".join(d.what for d in load_volume(path).decisions if d.warning)
        assert ("no ElementSpacing" in told) == (name == "without")


def test_a_folder_that_may_not_be_listed_is_one_line(tmp_path: Path, trunk) -> None:
    hu, affine = trunk
    nib.save(nib.Nifti1Image(hu, affine), tmp_path / "ct.nii.gz")
    locked = tmp_path / "locked"
    locked.mkdir()
    scan = load_volume(tmp_path / "ct.nii.gz")
    denied = PermissionError(13, "Permission denied")
    with patch.object(Path, "iterdir", side_effect=denied):
        for read in (lambda: load_volume(locked), lambda: load_segmentation(locked, like=scan)):
            with pytest.raises(FileFormatError, match="locked: Permission denied"):
                read()

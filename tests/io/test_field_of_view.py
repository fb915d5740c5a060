"""The width of an image against the reconstruction diameter of its header; masks on larger voxels."""

from __future__ import annotations

import numpy as np
import pytest

from radvlm.io.dicom_grid import field_doubt
from radvlm.io.mask_grid import is_coarse
from radvlm.io.mask_tissues import wrong_tissues
from radvlm.types.geometry import Geometry
from radvlm.types.segmentation import LabelPlace, Segmentation


@pytest.mark.parametrize(
    ("diameter", "matrix", "pixel", "is_wrong"),
    [
        (500, (512, 512), 0.9766, False),
        (500, (512, 512), 0.4883, True),  # halved
        (250, (512, 512), 0.9766, True),
        (500, (256, 256), 0.9766, True),  # every second pixel left out
        (500, (256, 256), 1.953, False),
        (480, (512, 512), 0.9766, False),
        (500, (300, 300), 0.9766, False),  # a crop
        (500, (512, 400), 0.9766, False),
        (500, (640, 640), 0.9766, False),  # padded
        (0, (512, 512), 0.9766, False),
    ],
)
def test_pixels_fill_the_reconstruction_diameter(diameter, matrix, pixel, is_wrong) -> None:
    found = field_doubt(diameter, matrix, (pixel, pixel))
    assert bool(found) == is_wrong and all(d.warning and "pixel spacing may be wrong" in d.what for d in found)


def _duodenum(labels: np.ndarray) -> Segmentation:
    places = {"duodenum": LabelPlace(0, 1)}
    return Segmentation((labels,), places, frozenset(places), Geometry(labels.shape, np.diag([3.0, 3, 3, 1])), "test")


@pytest.mark.parametrize(("top", "fat_rows", "is_told"), [(10, 4, True), (12, 4, False), (12, 8, True)])
def test_a_part_of_a_hollow_organ_may_lie_beside_more_fat(top, fat_rows, is_told) -> None:
    """A third of a whole duodenum in fat is told; of one that the scan cuts, only more."""
    labels, hu = np.zeros((20, 20, 12), np.uint8), np.full((20, 20, 12), 40, np.int16)
    labels[3:17, 3:17, 4:top] = 1
    hu[:, : 4 + fat_rows] = -100
    assert bool(list(wrong_tissues(_duodenum(labels), hu))) == is_told


def test_masks_on_larger_voxels_are_told_from_those_of_the_scan() -> None:
    x, y, z = np.mgrid[:40, :40, :30]
    ball = ((x - 20) ** 2 + (y - 20) ** 2 + (z - 15) ** 2 < 150).astype(np.uint8)
    assert not is_coarse(ball)
    coarse = ball[::2, ::2, ::2].repeat(2, 0).repeat(2, 1).repeat(2, 2)
    assert is_coarse(coarse) and not is_coarse(np.zeros((4, 4, 4), np.uint8))

"""Masks that end before the scan does: no size, and no word of the field of view."""

from __future__ import annotations

import numpy as np
import pytest

import radvlm
from radvlm.io.masks import load_segmentation
from radvlm.quantify.scan import measure_scan
from radvlm.types.geometry import Geometry
from radvlm.types.volume import Volume

GRID = Geometry((60, 60, 60), np.diag([4.0, 4.0, 4.0, 1.0]))
CROP = (slice(15, 45), slice(15, 45), slice(20, 40))


@pytest.fixture(scope="module")
def scan() -> tuple[Volume, np.ndarray]:
    """A ball of 60 mm radius, the liver, in a body of fat."""
    i, j, k = np.indices(GRID.shape)
    hu = np.full(GRID.shape, -1000, np.int16)
    hu[4:-4, 4:-4] = -90
    ball = (i - 30) ** 2 + (j - 30) ** 2 + (k - 30) ** 2 < 15**2
    hu[ball] = 55
    return Volume(hu, GRID), ball.astype(np.uint8)


def cropped_affine(start: tuple[int, int, int]) -> np.ndarray:
    affine = GRID.affine.copy()
    affine[:3, 3] = GRID.to_world(start)
    return affine


@pytest.mark.slow
def test_an_organ_that_ends_with_its_mask_has_no_size(scan: tuple[Volume, np.ndarray]) -> None:
    volume, ball = scan
    part = (ball[CROP], cropped_affine((15, 15, 20)))
    for masks in (
        load_segmentation(part, like=volume, scheme={1: "liver"}),
        load_segmentation({"liver": part}, like=volume),
    ):
        assert masks.end_faces("liver") == ("inferior", "superior") and masks.cut_faces("liver") == ()
        numbers = measure_scan(volume, masks)
        liver = numbers.structure("liver")
        assert liver.measurement("volume") is None and liver.mean_hu is not None and liver.cut_by == ()
        reason = next(o.reason for o in liver.omissions if o.quantity == "volume")
        assert "the masks cover 8% of the scan" in reason and "field of view" not in reason
    text = radvlm.generate_report(volume, segmentation=masks).text
    assert "The masks cover 8% of the scan" in text and "field of view" not in text
    assert "volume below" not in text.lower() and "incompletely imaged" not in text


def test_masks_cropped_to_the_organ_keep_its_size(scan: tuple[Volume, np.ndarray]) -> None:
    volume, ball = scan
    tight = (slice(16, 45),) * 3
    assert ball[tight].sum() == ball.sum() and ball[16].any()
    masks = load_segmentation((ball[tight], cropped_affine((16, 16, 16))), like=volume, scheme={1: "liver"})
    assert masks.end_faces("liver") == ()
    volume_ml = measure_scan(volume, masks).structure("liver").measurement("volume")
    assert volume_ml is not None and volume_ml.value == pytest.approx(ball.sum() * 0.064)


def test_the_field_of_view_still_cuts(scan: tuple[Volume, np.ndarray]) -> None:
    volume, ball = scan
    low = Volume(np.ascontiguousarray(volume.hu[:, :, :30]), Geometry((60, 60, 30), GRID.affine))
    masks = load_segmentation((ball, GRID.affine), like=low, scheme={1: "liver"})
    assert masks.cut_faces("liver") == ("superior",) and masks.end_faces("liver") == ()

"""Key images: the right crop, the right way round, with the exact outline."""

from __future__ import annotations

import base64
import io
import re

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from PIL import Image

from radvlm.export.key_images import key_image, mask_outline
from radvlm.export.regions import calipers
from radvlm.export.windows import WINDOWS, gray_levels


def _loops(path: str) -> list[list[tuple[float, float]]]:
    return [[tuple(map(float, p.split())) for p in re.split("[ML]", loop) if p] for loop in path.split("Z") if loop]


def _area(loop: list[tuple[float, float]]) -> float:
    x, y = np.array(loop).T
    return float(np.dot(x, np.roll(y, -1)) - np.dot(y, np.roll(x, -1))) / 2


def test_outline_of_one_voxel_is_its_square() -> None:
    mask = np.zeros((3, 4), bool)
    mask[1, 2] = True
    assert _loops(mask_outline(mask, (2.0, 3.0))) == [[(4, 3), (6, 3), (6, 6), (4, 6)]]


def test_voxels_that_touch_at_a_corner_stay_apart() -> None:
    mask = np.array([[True, False], [False, True]])
    loops = _loops(mask_outline(mask, (1.0, 1.0)))
    assert [_area(loop) for loop in loops] == [1.0, 1.0]


@settings(max_examples=60)
@given(arrays(bool, st.tuples(st.integers(1, 7), st.integers(1, 7))))
def test_outline_encloses_the_area_of_the_mask_with_holes_the_other_way(mask: np.ndarray) -> None:
    loops = _loops(mask_outline(mask, (1.0, 1.0)))
    assert sum(map(_area, loops)) == pytest.approx(mask.sum())


def test_picture_is_the_native_crop_seen_from_the_feet(case) -> None:
    region = case.regions.row("liver_lesion/1").region
    lines = calipers(case.report, case.measurements, np.linalg.inv(case.volume.geometry.affine))
    picture = key_image(case.volume, case.regions, region, lines, WINDOWS["liver"])
    assert picture.slice_index == 17
    pixels = np.asarray(Image.open(io.BytesIO(base64.b64decode(picture.png))))
    rows, columns = pixels.shape
    assert (picture.width_mm, picture.height_mm) == (columns * 3.0, rows * 3.0)
    assert picture.width_mm >= 70
    # the lesion's middle (95, 42) is the middle of the picture; column 0 is the patient's rightmost, row 0 the front
    start_i, start_j = 95 - (columns - 1) // 2 - (columns - 1) % 2, 42 - (rows - 1) // 2 - (rows - 1) % 2
    crop = case.volume.hu[start_i : start_i + columns, start_j : start_j + rows, 17]
    assert (pixels == gray_levels(crop, WINDOWS["liver"])[::-1, ::-1].T).all()
    # outline: area of the mask in the slice
    mask = case.regions.labels[..., 17] == case.regions.row("liver_lesion/1").label
    assert sum(map(_area, _loops(picture.outline))) == pytest.approx(mask.sum() * 9.0)
    # calipers: 33 mm across, 27 mm front to back, around the middle of the lesion
    across, along = picture.lines
    assert (across.label, along.label) == ("33 mm", "27 mm")
    assert abs(across.x2 - across.x1) == pytest.approx(33, abs=0.01) and across.y1 == pytest.approx(across.y2)
    assert abs(along.y2 - along.y1) == pytest.approx(27, abs=0.01)
    xs = np.array(_loops(picture.outline)[0])[:, 0]
    assert sorted((across.x1, across.x2)) == pytest.approx([xs.min(), xs.max()], abs=0.01)


def test_region_at_the_border_stays_inside_the_scan(case) -> None:
    region = case.regions.row("lung_right").region
    picture = key_image(case.volume, case.regions, region, ())
    assert picture.slice_index == 35
    assert picture.lines == ()
    assert max(x for loop in _loops(picture.outline) for x, _ in loop) <= picture.width_mm


def test_without_a_region_map_the_box_is_drawn(case) -> None:
    region = case.regions.row("spleen").region
    (loop,) = _loops(key_image(case.volume, None, region, ()).outline)
    size = np.ptp(np.array(loop), axis=0)
    assert size.tolist() == pytest.approx([region.box.shape[0] * 3.0, region.box.shape[1] * 3.0])


def test_gray_levels_follow_the_dicom_formula() -> None:
    hu = np.array([-161, -160, 39.5, 239, 240, 500], np.float32)
    assert gray_levels(hu, WINDOWS["soft"]).tolist() == [0, 0, 128, 255, 255, 255]

"""From coarse maps to regions on the CT's grid, against a brute-force lookup voxel by voxel."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from scipy.ndimage import label

from radvlm.model.tiny.grounding import Patch, cells_of, to_scan
from radvlm.quantify import paint_regions, region_mask
from radvlm.types.geometry import Geometry


def _grids(
    turn_deg: float = 0.0,
    spacing: tuple[float, float, float] = (2.3, 1.7, 5.1),
    offset: tuple[float, float, float] = (3.137, -2.2141, 4.4333),
) -> tuple[np.ndarray, Geometry]:
    """Coarse affine (6 mm cells) and an offset, anisotropic CT grid of the same directions."""
    angle = np.deg2rad(turn_deg)
    turn = np.array([[np.cos(angle), -np.sin(angle), 0], [np.sin(angle), np.cos(angle), 0], [0, 0, 1.0]])
    coarse, fine = np.eye(4), np.eye(4)
    coarse[:3, :3], fine[:3, :3] = turn * 6.0, turn * np.array(spacing)
    coarse[:3, 3] = (10, 20, 30)
    fine[:3, 3] = np.array([10, 20, 30]) + turn @ np.array(offset)
    return coarse, Geometry((30, 36, 14), fine)


def _nearest(cells: np.ndarray, coarse: np.ndarray, geometry: Geometry) -> np.ndarray:
    """Every voxel through world space to its nearest cell."""
    out = np.zeros(geometry.shape, bool)
    inverse = np.linalg.inv(coarse)
    for index in itertools.product(*map(range, geometry.shape)):
        cell = np.rint((inverse @ np.array([*geometry.to_world(index), 1.0]))[:3]).astype(int)
        if all(0 <= c < n for c, n in zip(cell, cells.shape, strict=True)):
            out[index] = cells[tuple(cell)]
    return out


def _patch(key: str, structure: str, cells: np.ndarray, whole: bool = False) -> Patch:
    return Patch(key, structure, cells, tuple(int(v) for v in np.argwhere(cells)[0]), whole)  # type: ignore[arg-type]


def _cells(*boxes: tuple[slice, slice, slice], shape: tuple[int, int, int] = (12, 11, 13)) -> np.ndarray:
    out = np.zeros(shape, bool)
    for box in boxes:
        out[box] = True
    return out


A = (slice(1, 4), slice(2, 5), slice(1, 5))
B = (slice(6, 9), slice(5, 8), slice(6, 9))


@pytest.mark.parametrize("turn", [0.0, 23.0])
@pytest.mark.parametrize("spacing", [(2.3, 1.7, 5.1), (6.0, 6.0, 6.0), (7.9, 2.0, 11.0)])
def test_voxels_are_those_of_the_nearest_cell(turn: float, spacing: tuple[float, float, float]) -> None:
    coarse, geometry = _grids(turn, spacing)
    rng = np.random.default_rng(1)
    cells = rng.random((12, 11, 13)) < 0.3
    segmentation, regions = to_scan([_patch("a", "liver_cyst", cells)], coarse, geometry)
    assert segmentation is not None
    expected = _nearest(cells, coarse, geometry)
    assert np.array_equal(segmentation.mask("liver_cyst"), expected)
    region = regions["a"]
    where = np.argwhere(expected)
    assert (region.id, region.structure, region.seed) == ("liver_cyst", "liver_cyst", None)
    assert region.box.start == tuple(where.min(0)) and region.box.stop == tuple(where.max(0) + 1)
    assert region.voxels == len(where)
    assert region.volume_ml == pytest.approx(len(where) * np.prod(spacing) / 1000)
    assert np.allclose(region.centroid_mm, geometry.to_world(where).mean(0))
    assert np.array_equal(region_mask(segmentation, region)[1], expected[region.box.slices])


@pytest.mark.slow
def test_instances_of_one_structure_are_told_apart() -> None:
    coarse, geometry = _grids()
    segmentation, regions = to_scan(
        [_patch("a", "lung_nodule", _cells(A)), _patch("b", "lung_nodule", _cells(B))], coarse, geometry
    )
    assert segmentation is not None and len(segmentation.layers) == 1 and set(segmentation.places) == {"lung_nodule"}
    assert [regions[k].id for k in "ab"] == ["lung_nodule/1", "lung_nodule/2"]
    for key, box in (("a", A), ("b", B)):
        expected = _nearest(_cells(box), coarse, geometry)
        region = regions[key]
        assert region.seed is not None and expected[region.seed]
        around, mask = region_mask(segmentation, region)
        whole = np.zeros(geometry.shape, bool)
        whole[around.slices] = mask
        assert np.array_equal(whole, expected)
        assert np.allclose(region.centroid_mm, geometry.to_world(np.argwhere(expected)).mean(0))


@pytest.mark.slow
def test_an_instance_is_where_most_of_its_patch_lies() -> None:
    """A patch of a large and a small piece beside another patch: its region is the large piece."""
    coarse, geometry = _grids()
    small = (slice(1, 2), slice(1, 2), slice(9, 10))
    segmentation, regions = to_scan(
        [_patch("a", "lung_nodule", _cells(A, small)), _patch("b", "lung_nodule", _cells(B))], coarse, geometry
    )
    assert segmentation is not None
    assert regions["a"].voxels == _nearest(_cells(A), coarse, geometry).sum()
    assert segmentation.mask("lung_nodule").sum() == _nearest(_cells(A, B, small), coarse, geometry).sum()


def test_touching_patches_are_one_instance_for_both() -> None:
    coarse, geometry = _grids()
    beside = (slice(4, 6), slice(2, 5), slice(1, 5))
    segmentation, regions = to_scan(
        [_patch("a", "bone_lesion", _cells(A)), _patch("b", "bone_lesion", _cells(beside))], coarse, geometry
    )
    assert segmentation is not None
    both = _nearest(_cells(A, beside), coarse, geometry)
    assert label(both, np.ones((3, 3, 3)))[1] == 1
    for region in regions.values():
        assert region.voxels == both.sum() and region_mask(segmentation, region)[1].sum() == both.sum()


@pytest.mark.slow
def test_overlapping_structures_lie_in_layers_and_none_is_lost() -> None:
    coarse, geometry = _grids()
    shifted = (slice(2, 5), slice(3, 6), slice(2, 6))
    patches = [
        _patch("l", "liver", _cells(A), whole=True),
        _patch("m", "liver", _cells(A), whole=True),
        _patch("c", "liver_cyst", _cells(shifted)),
        _patch("s", "spleen", _cells(B), whole=True),
        _patch("n", "liver_tumor", _cells(shifted)),
    ]
    segmentation, regions = to_scan(patches, coarse, geometry)
    assert segmentation is not None
    places = segmentation.places
    assert places["liver"].layer == places["spleen"].layer and len(segmentation.layers) == 3
    assert regions["l"] == regions["m"] and regions["l"].id == "liver" and regions["l"].seed is None
    for key, box in (("l", A), ("c", shifted), ("s", B), ("n", shifted)):
        assert np.array_equal(segmentation.mask(regions[key].structure), _nearest(_cells(box), coarse, geometry))
    painted = paint_regions(segmentation, regions.values())
    for region in regions.values():
        row = painted.row(region.id)
        assert row is not None and np.isin(painted.labels, (row.label, *row.also)).sum() == region.voxels


def test_outside_the_field_of_view() -> None:
    coarse, geometry = _grids(offset=(40.0, 0.0, 0.0))  # the CT begins at cell 6.7
    segmentation, regions = to_scan(
        [_patch("a", "lung_nodule", _cells(A)), _patch("b", "liver_cyst", _cells(B))], coarse, geometry
    )
    assert segmentation is not None and set(regions) == {"b"} and set(segmentation.places) == {"liver_cyst"}
    expected = _nearest(_cells(B), coarse, geometry)
    assert expected[0].any() and np.array_equal(segmentation.mask("liver_cyst"), expected), "cut at the border"
    assert to_scan([_patch("a", "lung_nodule", _cells(A))], coarse, geometry) == (None, {})
    assert to_scan([], coarse, geometry) == (None, {})
    searched, regions = to_scan([_patch("a", "lung_nodule", _cells(A))], coarse, geometry, {"uterus"})
    assert searched is not None and not regions and not searched.places and searched.searched == {"uterus"}


def test_a_patch_between_two_thick_slices_has_no_region() -> None:
    coarse, geometry = _grids(spacing=(2.0, 2.0, 24.0), offset=(0.1, 0.1, 0.1))
    thin = (slice(1, 4), slice(2, 5), slice(2, 3))  # slices lie at cells 0, 4, 8
    assert to_scan([_patch("a", "lung_nodule", _cells(thin))], coarse, geometry) == (None, {})


def test_cells_of() -> None:
    map_ = np.zeros((4, 4, 4))
    map_[1, 1, 1], map_[1, 1, 2], map_[3, 3, 3], map_[0, 0, 0] = 0.8, 0.41, 0.5, 0.39
    cells, peak = cells_of(map_)
    assert peak == (1, 1, 1) and sorted(map(tuple, np.argwhere(cells))) == [(1, 1, 1), (1, 1, 2), (3, 3, 3)]
    allowed = np.zeros(map_.shape, bool)
    allowed[3] = True
    cells, peak = cells_of(map_, allowed)
    assert peak == (3, 3, 3) and cells.sum() == 1
    weak, peak = cells_of(map_ / 10)
    assert weak.sum() == 1 and weak[peak], "below 0.15 only the peak"

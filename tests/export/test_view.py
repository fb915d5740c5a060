"""The packed images: what is packed comes back, blocks are averaged, small regions stay."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from radvlm.errors import GridError, InputError
from radvlm.export.options import PageOptions
from radvlm.export.regions import home_voxel, region_names, regions_table
from radvlm.export.view import (
    ViewGrid,
    block_mean,
    choose_view,
    fit_grid,
    pack_hu,
    pack_labels,
    unpack_hu,
    unpack_labels,
    view_labels,
)
from radvlm.types.geometry import Box, Geometry
from radvlm.types.region import Region
from radvlm.types.region_map import RegionLabel, RegionMap

GEOMETRY = Geometry((9, 7, 5), np.diag([2.0, 3.0, 4.0, 1.0]))


@settings(max_examples=30)
@given(
    arrays(np.int16, st.tuples(*[st.integers(1, 5)] * 3), elements=st.integers(-1024, 3071)), st.sampled_from([1, 2, 4])
)
def test_packed_hu_come_back_within_half_a_step(copy: np.ndarray, step: int) -> None:
    back = unpack_hu(pack_hu(copy, step).text, copy.shape[::-1], step)
    assert np.abs(back.astype(int) - copy).max() <= step // 2
    if step == 1:
        assert (back == copy).all()


def test_extremes_survive_the_differences() -> None:
    copy = np.full((3, 4, 5), -1024, np.int16)
    copy[::2, ::2, ::2] = 3071
    assert (unpack_hu(pack_hu(copy, 1).text, (5, 4, 3), 1) == copy).all()


def test_block_mean_is_the_mean_of_whole_blocks() -> None:
    hu = np.arange(8 * 6 * 4, dtype=np.int16).reshape(8, 6, 4) * 3 - 200
    expected = hu.reshape(4, 2, 3, 2, 2, 2).mean(axis=(1, 3, 5)).transpose(2, 1, 0)
    assert (block_mean(hu, (2, 2, 2)) == np.rint(expected)).all()
    assert (block_mean(hu, (1, 1, 1)) == hu.transpose(2, 1, 0)).all()


def test_block_cut_by_the_end_repeats_its_last_voxel() -> None:
    hu = np.array([10, 20, 40], np.int16).reshape(3, 1, 1)
    assert block_mean(hu, (2, 1, 1)).ravel().tolist() == [15, 40]


def test_values_outside_twelve_bits_are_shown_as_the_ends() -> None:
    hu = np.array([-3024.0, 8000.0], np.float32).reshape(2, 1, 1)
    assert block_mean(hu, (1, 1, 1)).ravel().tolist() == [-1024, 3071]


def test_view_index_and_world_agree_with_the_native_grid() -> None:
    grid = ViewGrid(GEOMETRY, (3, 2, 2))
    center = grid.to_view(np.array([4.0, 2.5, 0.5]))  # middle of block (1, 1, 0)
    assert center.tolist() == [1.0, 1.0, 0.0]
    world = grid.affine @ [1, 1, 0, 1]
    assert np.allclose(world[:3], GEOMETRY.to_world([4.0, 2.5, 0.5]))
    assert grid.spacing_mm == (6.0, 6.0, 8.0)
    assert grid.shape == (3, 4, 3)


def test_large_scans_are_reduced_by_whole_blocks_and_small_ones_are_not() -> None:
    large = fit_grid(Geometry((512, 512, 400), np.eye(4)), PageOptions())
    assert (large.factors, large.shape) == ((2, 2, 2), (256, 256, 200))
    assert fit_grid(Geometry((320, 320, 320), np.eye(4)), PageOptions()).is_native


def test_budget_first_coarsens_hu_then_the_grid() -> None:
    random = np.random.default_rng(0)
    hu = random.normal(0, 60, (64, 64, 40)).astype(np.int16)
    geometry = Geometry(hu.shape, np.eye(4))
    fine, packed = choose_view(hu, geometry, PageOptions(image_budget_mb=5))
    assert fine.is_native and packed.step == 1 and len(packed.text) <= 5e6
    finer, stepped = choose_view(hu, geometry, PageOptions(image_budget_mb=len(packed.text) * 0.9e-6))
    assert finer.is_native and stepped.step in (2, 4)
    small, tiny = choose_view(hu, geometry, PageOptions(image_budget_mb=0.05))
    assert not small.is_native and len(tiny.text) < 60_000


def test_options_refuse_nonsense() -> None:
    for bad in ({"max_in_plane": 0}, {"image_budget_mb": 0}, {"key_images": -1}, {"max_slices": 1.5}):
        with pytest.raises(InputError):
            PageOptions(**bad)


def _map(labels: np.ndarray, spacing: float = 1.0) -> RegionMap:
    geometry = Geometry(labels.shape, np.diag([spacing, spacing, spacing, 1.0]))
    rows = []
    names = {1: "liver", 2: "liver_lesion/1", 300: "spleen"}
    for label, name in names.items():
        where = np.argwhere(labels == label)
        if len(where):
            box = Box(tuple(where.min(axis=0)), tuple(where.max(axis=0) + 1))
            region = Region(name, name.split("/")[0], box, len(where), float(len(where)), tuple(where.mean(axis=0)))
            rows.append(RegionLabel(label, region, (2,) if label == 1 and (labels == 2).any() else ()))
    return RegionMap(labels, geometry, tuple(rows))


def test_labels_come_back_in_one_and_in_two_bytes() -> None:
    labels = np.zeros((6, 5, 4), np.uint16)
    labels[2:4, 1:3, 1:3] = 1
    for top, size in ((1, 1), (300, 2)):
        labels[5, 4, 3] = top
        region_map = _map(labels)
        packed = pack_labels(view_labels(region_map, ViewGrid(region_map.geometry)))
        assert packed.bytes_per_voxel == size
        assert (unpack_labels(packed, labels.shape) == labels.transpose(2, 1, 0)).all()


@pytest.mark.parametrize("corner", [(8, 8, 8), (9, 8, 9), (9, 9, 9), (0, 0, 0), (19, 19, 19)])
def test_one_voxel_lesion_never_vanishes_from_the_copy(corner: tuple[int, int, int]) -> None:
    labels = np.zeros((20, 20, 20), np.uint8)
    labels[4:18, 4:18, 4:18] = 1
    labels[corner] = 2
    region_map = _map(labels)
    copy = view_labels(region_map, ViewGrid(region_map.geometry, (3, 3, 3)))
    i, j, k = (c // 3 for c in corner)
    assert np.argwhere(copy == 2).tolist() == [[k, j, i]]


def test_larger_lesion_keeps_its_volume_in_the_copy() -> None:
    grid = np.indices((60, 60, 60))
    labels = (((grid - 30) ** 2).sum(axis=0) < 25**2).astype(np.uint8)
    labels[((grid - np.array([33, 28, 30]).reshape(3, 1, 1, 1)) ** 2).sum(axis=0) < 8.3**2] = 2
    region_map = _map(labels)
    copy = view_labels(region_map, ViewGrid(region_map.geometry, (2, 2, 2)))
    for label in (1, 2):
        assert (copy == label).sum() * 8 == pytest.approx((labels == label).sum(), rel=0.12)


def test_lesion_whose_voxels_carry_several_labels_stays_whole_in_the_copy() -> None:
    """A lesion across two segments: label 2 over segment VI, label 3 over segment VII, region = 2 and 3."""
    grid = np.indices((40, 40, 40))
    lesion = ((grid - np.array([21, 20, 20]).reshape(3, 1, 1, 1)) ** 2).sum(axis=0) < 6.2**2
    labels = np.where(grid[0] < 21, 1, 4).astype(np.uint8)
    labels[lesion & (grid[0] < 21)], labels[lesion & (grid[0] >= 21)] = 2, 3
    where = np.argwhere(lesion)
    box = Box(tuple(where.min(axis=0)), tuple(where.max(axis=0) + 1))
    region = Region("liver_lesion/1", "liver_lesion", box, len(where), float(len(where)), (21.0, 20.0, 20.0))
    whole = Region("liver", "liver", Box((0, 0, 0), labels.shape), labels.size, float(labels.size), (20.0, 20.0, 20.0))
    rows = (RegionLabel(1, whole, (2, 3, 4)), RegionLabel(2, region, (3,)))
    region_map = RegionMap(labels, Geometry(labels.shape, np.eye(4)), rows)
    copy = view_labels(region_map, ViewGrid(region_map.geometry, (2, 2, 2)))
    assert np.isin(copy, (2, 3)).sum() * 8 == pytest.approx(lesion.sum(), rel=0.12)
    assert (copy == 2).any() and (copy == 3).any()
    # one voxel at the meeting of two labels of a region: painted with the label that fills most of the block
    labels[:] = 1
    labels[10:12, 10, 10], labels[10, 11, 10] = 3, 2
    tiny = Region("liver_lesion/1", "liver_lesion", Box((10, 10, 10), (12, 12, 11)), 3, 3.0, (10.3, 10.3, 10.0))
    small = RegionMap(labels, region_map.geometry, (rows[0], RegionLabel(2, tiny, (3,))))
    copy = view_labels(small, ViewGrid(region_map.geometry, (4, 4, 4)))
    assert np.argwhere(copy == 3).tolist() == [[2, 2, 2]] and not (copy == 2).any()


def test_instances_are_numbered_only_where_there_are_several() -> None:
    box = Box((0, 0, 0), (1, 1, 1))
    regions = [
        Region(name, name.split("/")[0], box, 1, 1.0, (0.0, 0.0, 0.0))
        for name in ("liver", "liver_cyst/1", "liver_lesion/1", "liver_lesion/2")
    ]
    assert list(region_names(regions).values()) == ["Liver", "Hepatic cyst", "Liver lesion 1", "Liver lesion 2"]


def test_regions_of_another_grid_are_refused() -> None:
    region_map = _map(np.ones((4, 4, 4), np.uint8))
    with pytest.raises(GridError, match="share one grid"):
        view_labels(region_map, ViewGrid(Geometry((4, 4, 4), np.diag([2.0, 1, 1, 1]))))


def test_home_lies_inside_a_hollow_region_on_the_wanted_slice() -> None:
    labels = np.zeros((21, 21, 9), np.uint8)
    grid = np.indices(labels.shape)
    ring = np.hypot(grid[0] - 10, grid[1] - 10)
    labels[(ring > 6) & (ring < 9) & (grid[2] > 1) & (grid[2] < 7)] = 2
    labels[4:8, 9:12, 7] = 2
    region_map = _map(labels)
    grid_view = ViewGrid(region_map.geometry)
    copy = view_labels(region_map, grid_view)
    region = region_map.rows[0].region
    for wanted, expected in ((None, 2), (5, 5), (7, 7), (8, 2)):
        i, j, k = home_voxel(region, frozenset({2}), copy, grid_view, wanted)
        assert labels[i, j, k] == 2
        assert k == expected


def test_home_without_paint_is_the_centroid() -> None:
    region_map = _map(np.pad(np.full((2, 2, 2), 2, np.uint8), ((3, 1), (2, 2), (1, 3))))
    region = region_map.rows[0].region
    home = home_voxel(region, frozenset(), None, ViewGrid(region_map.geometry), None)
    assert home == tuple(np.rint(region.centroid_mm).astype(int))


def test_regions_table_names_every_label() -> None:
    labels = np.zeros((6, 6, 6), np.uint8)
    labels[1:5, 1:5, 1:5] = 1
    labels[2, 2, 2] = 2
    lines = regions_table(_map(labels)).splitlines()
    assert lines[0] == "label,region,structure,words,side,volume_ml,voxels,snomed_code,snomed_meaning,also"
    assert lines[1].startswith("1,liver,liver,liver,,63.0000,63,10200004,Liver,2")
    assert lines[2].startswith("2,liver_lesion/1,liver_lesion,liver lesion 1,,1.0000,1,")

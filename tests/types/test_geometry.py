"""Grids: index to world, reordering, comparison in mm, and what is refused."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from radvlm.errors import GridError, InputError
from radvlm.types.geometry import Box, Geometry, canonical_order, reorder_array


def rotation(degrees: float, axis: int) -> np.ndarray:
    c, s = np.cos(np.radians(degrees)), np.sin(np.radians(degrees))
    matrix = np.eye(3)
    a, b = [k for k in range(3) if k != axis]
    matrix[a, a], matrix[a, b], matrix[b, a], matrix[b, b] = c, -s, s, c
    return matrix


def affine_of(
    spacing: tuple[float, ...], origin: tuple[float, ...] = (0, 0, 0), turn: np.ndarray | None = None
) -> np.ndarray:
    affine = np.eye(4)
    affine[:3, :3] = (np.eye(3) if turn is None else turn) @ np.diag(spacing)
    affine[:3, 3] = origin
    return affine


def test_index_and_world_by_hand() -> None:
    grid = Geometry((10, 20, 30), affine_of((0.7, 0.8, 5), (-100, -50, 200)))
    assert np.allclose(grid.to_world((1, 2, 3)), (-99.3, -48.4, 215))
    assert np.allclose(grid.to_index((-99.3, -48.4, 215)), (1, 2, 3))
    assert grid.spacing_mm == pytest.approx((0.7, 0.8, 5))
    assert grid.voxel_volume_mm3 == pytest.approx(2.8)
    assert grid.extent_mm == pytest.approx((7, 16, 150))
    assert grid.axis_codes == "RAS" and grid.is_canonical
    assert np.allclose(grid.corners_mm[0], (-100.35, -50.4, 197.5))


@pytest.mark.slow
@given(st.floats(-20, 20), st.integers(0, 2), st.tuples(*[st.floats(0.3, 6)] * 3))
def test_every_permutation_and_flip_returns_to_the_same_grid(degrees: float, axis: int, spacing: tuple) -> None:
    grid = Geometry((3, 4, 5), affine_of(spacing, (1, 2, 3), rotation(degrees, axis)))
    array = np.arange(60).reshape(3, 4, 5)
    for order in itertools.permutations(range(3)):
        for signs in itertools.product((1, -1), repeat=3):
            stored, stored_grid = reorder_array(array, order, signs), grid.reordered(order, signs)
            back_order, back_signs = canonical_order(stored_grid.affine)
            back = stored_grid.reordered(back_order, back_signs)
            assert back.same_grid(grid, 1e-6) and back.is_canonical
            assert np.array_equal(reorder_array(stored, back_order, back_signs), array)


def test_reordering_keeps_each_voxel_where_it_is() -> None:
    grid = Geometry((3, 4, 5), affine_of((1, 2, 3), (7, 8, 9), rotation(10, 1)))
    moved = grid.reordered((2, 0, 1), (-1, 1, -1))
    # voxel (i, j, k) becomes (4 - k, i, 3 - j)
    assert np.allclose(moved.to_world((4 - 2, 1, 3 - 3)), grid.to_world((1, 3, 2)))


@pytest.mark.parametrize(
    ("shape", "affine", "message"),
    [
        ((0, 2, 2), np.eye(4), "three axes"),
        ((2, 2), np.eye(4), "three axes"),
        ((2, 2, 99999), np.eye(4), "three axes"),
        ((2, 2, 2), np.eye(3), "4x4"),
        ((2, 2, 2), np.full((4, 4), np.nan), "finite"),
        ((2, 2, 2), np.diag([1, 1, 0, 1.0]), "spacing"),
        ((2, 2, 2), np.diag([1, 1, 5000, 1.0]), "spacing"),
        ((2, 2, 2), np.array([[1, 0, 0, 0], [0, 1, 0.1, 0], [0, 0, 1, 0], [0, 0, 0, 1.0]]), "perpendicular"),
        ((2, 2, 2), np.array([[1, 0, 0, 0], [0, 1, 0, 0], [0, 0, 1, 0], [0, 0, 1, 1.0]]), "last row"),
    ],
)
def test_unusable_grids_are_refused(shape: tuple, affine: np.ndarray, message: str) -> None:
    with pytest.raises(GridError, match=message):
        Geometry(shape, affine)


def test_grids_are_compared_in_mm() -> None:
    grid = Geometry((100, 100, 100), affine_of((1, 1, 1)))
    nudged = Geometry((100, 100, 100), affine_of((1.0005, 1, 1), (0.03, 0, 0)))
    assert grid.corner_distance_mm(nudged) == pytest.approx(0.0995 * 0.5 + 0.03, abs=0.03)
    assert grid.same_grid(nudged)
    assert not grid.same_grid(Geometry((100, 100, 100), affine_of((1, 1, 1), (0.2, 0, 0))))
    assert grid.corner_distance_mm(Geometry((100, 100, 99), affine_of((1, 1, 1)))) == float("inf")


def test_overlap_is_the_share_of_this_grid_inside_the_other() -> None:
    grid = Geometry((10, 10, 10), affine_of((1, 1, 1)))
    half = Geometry((10, 10, 10), affine_of((1, 1, 1), (0, 0, 5)))
    assert grid.overlap_fraction(half) == pytest.approx(0.5, abs=0.06)
    assert grid.overlap_fraction(Geometry((5, 5, 5), affine_of((1, 1, 1), (50, 0, 0)))) == 0


def test_obliquity() -> None:
    assert Geometry((2, 2, 2), affine_of((1, 1, 1), turn=rotation(12, 0))).obliquity_degrees == pytest.approx(12)


def test_boxes() -> None:
    box = Box((1, 2, 3), (4, 6, 8))
    assert box.shape == (3, 4, 5)
    assert box.grown(2, (5, 20, 9)) == Box((0, 0, 1), (5, 8, 9))
    assert box.intersection(Box((3, 3, 3), (9, 9, 4))) == Box((3, 3, 3), (4, 6, 4))
    assert box.intersection(Box((4, 0, 0), (9, 9, 9))) is None
    assert box.union(Box((0, 3, 3), (2, 4, 9))) == Box((0, 2, 3), (4, 6, 9))
    assert Box.from_slices(box.slices) == box
    assert box.relative_to(Box((1, 1, 1), (9, 9, 9))) == Box((0, 1, 2), (3, 5, 7))
    with pytest.raises(InputError, match="at least one voxel"):
        Box((1, 1, 1), (1, 2, 2))


def test_a_cropped_grid_keeps_world_positions() -> None:
    grid = Geometry((10, 10, 10), affine_of((1, 2, 3), (5, 5, 5), rotation(5, 2)))
    box = Box((2, 3, 4), (6, 7, 8))
    assert np.allclose(grid.cropped(box).to_world((1, 1, 1)), grid.to_world((3, 4, 5)))

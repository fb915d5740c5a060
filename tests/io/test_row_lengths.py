"""Pixels that fit rows or slices of another length than stated are refused; honest images of any order are not."""

from __future__ import annotations

from itertools import permutations

import numpy as np
import pytest

from radvlm.errors import GridError
from radvlm.io import load_volume
from radvlm.io.row_lengths import refuse_wrong_rows
from radvlm.phantom import PhantomSpec, make_phantom


@pytest.fixture(scope="module")
def stored() -> np.ndarray:
    """Voxels in the order of a file: the first axis fastest."""
    made = make_phantom(PhantomSpec(seed=3, region="abdomen", spacing_mm=(5.0, 5.0, 6.0)))
    return np.asfortranarray(made.volume.hu[2:82])


def reshaped(stored: np.ndarray, shape: tuple[int, int, int]) -> np.ndarray:
    flat = np.resize(stored.ravel(order="F"), int(np.prod(shape)))
    return flat.reshape(shape, order="F")


def test_rows_that_were_halved_or_doubled_and_lost_bytes_name_the_right_length(stored) -> None:
    columns, rows, slices = stored.shape
    for shape in (
        (columns // 2, rows * 2, slices),
        (columns * 2, rows // 2, slices),
        (columns + 4, rows, slices),
        (columns - 3, rows, slices),
        (rows, columns, slices),
    ):
        with pytest.raises(GridError, match=f"they fit rows of {columns} pixels, and the header says {shape[0]}"):
            refuse_wrong_rows(reshaped(stored, shape))


def test_sizes_of_exchanged_axes_name_the_right_count_of_rows(stored) -> None:
    columns, rows, slices = stored.shape
    with pytest.raises(GridError, match=f"they fit slices of {rows} rows, and the header says {slices}"):
        refuse_wrong_rows(reshaped(stored, (columns, slices, rows)))


@pytest.mark.parametrize("noise_hu", [0, 150])
def test_an_honest_image_passes_in_every_order_of_its_axes(stored, noise_hu) -> None:
    noise = np.random.default_rng(1).normal(0, noise_hu, stored.shape)
    hu = np.rint(stored + noise).astype(np.int16)
    for order in permutations(range(3)):
        refuse_wrong_rows(np.asfortranarray(hu.transpose(order)))
        refuse_wrong_rows(np.ascontiguousarray(hu.transpose(order)))
        refuse_wrong_rows(hu.transpose(order))


def test_an_array_of_the_caller_is_asked_too(stored) -> None:
    columns, rows, slices = stored.shape
    with pytest.raises(GridError, match="the header says"):
        load_volume(reshaped(stored, (columns // 2, rows * 2, slices)), affine=np.diag([5.0, 5.0, 6.0, 1.0]))


def test_vertebrae_that_repeat_after_some_slices_are_no_other_number_of_rows() -> None:
    x, y, z = np.ogrid[:64, :60, :120]
    hu = np.full((64, 60, 120), -1000.0)
    hu[np.broadcast_to(((x - 32) / 29) ** 2 + ((y - 30) / 25) ** 2 < 1, hu.shape)] = 40
    vertebra = ((x - 32) ** 2 + (y - 12) ** 2 < 9**2) & (z % 6 < 4)
    hu[vertebra] = 300
    hu += np.random.default_rng(1).normal(0, 8, hu.shape)
    refuse_wrong_rows(np.asfortranarray(np.rint(hu).astype(np.int16)))


@pytest.mark.parametrize("gap", [40, 44, 48, 52])
def test_two_legs_that_are_alike_are_no_shorter_rows(gap: int) -> None:
    """Beside each other in 4 mm pixels: the other leg is more alike than the row below, and only within a row."""
    x, y, z = np.ogrid[:96, :50, :12]
    hu = np.full((96, 50, 12), -1000.0)
    for middle in (48 - gap / 2, 48 + gap / 2):
        r = np.hypot(x - middle, y - 25 + 0 * z) + 0.2 * z
        hu[r < 18], hu[r < 15.5], hu[r < 3.6], hu[r < 1.8] = -100, 55, 1100, -40
    hu += np.random.default_rng(1).normal(0, 5, hu.shape)
    for order in permutations(range(3)):
        refuse_wrong_rows(np.asfortranarray(np.rint(hu).astype(np.int16).transpose(order)))

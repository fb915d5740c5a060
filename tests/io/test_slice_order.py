"""Slices that are mirrored, exchanged, in reverse, repeated or of another place are told; honest scans have none."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import ndimage

from radvlm.io import load_volume
from radvlm.io.slice_order import disordered_slices
from radvlm.phantom import PhantomSpec, make_phantom

FIRST, LAST = 30, 41


@pytest.fixture(scope="module")
def scan():
    volume = make_phantom(PhantomSpec(seed=2, region="chest-abdomen-pelvis", spacing_mm=(6.0, 6.0, 8.0))).volume
    noise = np.random.default_rng(0).normal(0, 10, volume.hu.shape)
    return np.rint(volume.hu + noise).astype(np.int16), np.array(volume.geometry.affine)


def told(hu: np.ndarray, affine: np.ndarray) -> str:
    decisions = disordered_slices(hu, affine)
    assert all(decision.warning and decision.step == "slices" for decision in decisions)
    return " ".join(decision.what for decision in decisions)


def in_order(hu: np.ndarray, order: np.ndarray) -> np.ndarray:
    """The slices in another order, with noise of their own, so that none is an exact copy."""
    noise = np.random.default_rng(1).normal(0, 3, hu.shape)
    return np.rint(hu + noise).astype(np.int16)[:, :, order]


@pytest.mark.parametrize(
    ("axes", "words"),
    [((0,), "right and left"), ((1,), "front and back"), ((0, 1), "right and left and front and back")],
)
def test_a_mirrored_part_is_named_with_what_is_exchanged(scan, axes, words) -> None:
    hu, affine = scan
    half, block = hu.copy(), hu.copy()
    half[:, :, FIRST:] = np.flip(hu[:, :, FIRST:], axes)
    block[:, :, FIRST:LAST] = np.flip(hu[:, :, FIRST:LAST], axes)
    assert f"Slices 1 to 30 and those after lie mirrored against each other ({words})" in told(half, affine)
    assert f"Slices 31 to 41 lie mirrored against those before ({words})" in told(block, affine)


def test_the_words_of_a_mirror_follow_the_axes_and_not_their_order(scan) -> None:
    hu, affine = scan
    hu = hu.copy()
    hu[:, :, FIRST:] = hu[::-1, :, FIRST:]
    for order in ((1, 0, 2), (2, 1, 0), (1, 2, 0)):
        assert "(right and left)" in told(np.transpose(hu, order), affine[:, [*order, 3]])


def test_exchanged_and_reversed_slices_are_named(scan) -> None:
    hu, affine = scan
    count = hu.shape[2]
    swapped, reverse = np.arange(count), np.arange(count)
    swapped[[FIRST, FIRST + 1]] = FIRST + 1, FIRST
    reverse[FIRST:LAST] = reverse[FIRST:LAST][::-1]
    assert told(in_order(hu, swapped), affine).startswith("Slices 31 and 32 fit better in the other order")
    assert told(in_order(hu, reverse), affine).startswith("Slices 31 to 41 fit better in reverse order")
    assert told(in_order(hu, np.roll(np.arange(count), 20)), affine).startswith("Slices 1 to 20 fit better behind")


def test_repeated_slices_are_named(scan) -> None:
    hu, affine = scan
    block = np.concatenate([hu[:, :, :40], hu[:, :, 34:40], hu[:, :, 46:]], axis=2)
    assert told(block, affine).startswith("Slices 41 to 46 are copies of slices 35 to 40")
    single = hu.copy()
    single[:, :, 50] = hu[:, :, 20]
    assert told(single, affine).startswith("Slice 51 is a copy of slice 21")


@pytest.mark.parametrize("what", ["noise", "another place"])
def test_a_slice_that_does_not_belong_is_named(scan, what) -> None:
    hu, affine = scan
    wrong = hu.copy()
    wrong[:, :, FIRST] = (
        np.random.default_rng(3).normal(0, 200, hu.shape[:2])
        if what == "noise"
        else in_order(hu, np.array([70]))[..., 0]
    )
    assert told(wrong, affine).startswith("Slice 31 does not belong where it lies")


def test_two_scans_on_top_of_each_other_are_told(scan) -> None:
    hu, affine = scan
    other = make_phantom(PhantomSpec(seed=5, sex="M", region="chest", spacing_mm=(6.0, 6.0, 8.0))).volume.hu
    width = min(hu.shape[0], other.shape[0]), min(hu.shape[1], other.shape[1])
    both = np.concatenate([h[: width[0], : width[1], s] for h, s in ((hu, np.s_[:25]), (other, np.s_[10:30]))], axis=2)
    assert told(both, affine).startswith("Slices 25 and 26 do not follow each other")


@pytest.mark.parametrize("step", [1, 2])
@pytest.mark.parametrize("noise_hu", [0, 60])
def test_an_honest_scan_is_in_order(scan, step, noise_hu) -> None:
    hu, affine = scan
    thick = hu[:, :, ::step] + np.random.default_rng(step).normal(0, noise_hu, hu[:, :, ::step].shape)
    placed = affine @ np.diag([1, 1, step, 1])
    for part in (thick, thick[:, :, :20], thick[:, :, 20:], thick[20:60, 20:60], thick[::-1, :, ::-1]):
        assert told(part, placed) == ""


def test_motion_breathing_and_metal_are_no_disorder(scan) -> None:
    hu, affine = scan
    noise = np.random.default_rng(4).normal(0, 10, hu.shape)
    moved = hu.copy()
    moved[:, :, 45] = ndimage.shift(hu[:, :, 45], (1.6, 0.8), order=1, mode="nearest")
    breath = in_order(hu, np.where(np.arange(hu.shape[2]) < 40, np.arange(hu.shape[2]), np.arange(hu.shape[2]) - 1))
    metal = hu.copy()
    metal[38:42, 38:42, 45], metal[30:38, :, 45] = 3071, metal[30:38, :, 45] + 300
    for honest in (moved, breath, metal):
        assert told(honest + noise, affine) == ""


def test_the_volume_says_it(scan) -> None:
    hu, affine = scan
    hu = hu.copy()
    hu[:, :, FIRST:] = hu[::-1, :, FIRST:]
    said = [d.what for d in load_volume(hu, affine=affine).decisions if d.warning]
    assert len(said) == 1 and said[0].endswith("Export the scan again.")


def test_small_ends_that_are_alike_are_no_other_order() -> None:
    """A head from chin to vertex, whose ends are small, with an airway that ends."""
    x, y = np.mgrid[-80:80:4.0, -80:80:4.0]
    hu = np.full((*x.shape, 60), -1000.0)
    for k in range(60):
        radius = 70 * np.sqrt(max(0.05, 1 - (2 * k / 60 - 1) ** 2))
        for inset, value in ((0, 50), (4, 1100), (11, 33)):
            hu[np.hypot(x, 0.85 * y) < radius - inset, k] = value
        if k < 24:
            hu[np.hypot(x, y - 30) < 10, k] = -1000
    hu += np.random.default_rng(1).normal(0, 3, hu.shape)
    assert told(hu, np.diag([4.0, 4, 4, 1])) == ""


@pytest.mark.parametrize("axis", [0, 1])
def test_coronal_and_sagittal_stacks_out_of_order_are_named(scan, axis) -> None:
    hu, affine = scan
    order = [n for n in (0, 1, 2) if n != axis] + [axis]
    stack, placed = np.ascontiguousarray(hu.transpose(order)), affine[:, [*order, 3]]
    middle, count = stack.shape[2] // 2, stack.shape[2]
    swapped, reverse = np.arange(count), np.arange(count)
    swapped[[middle, middle + 1]] = middle + 1, middle
    reverse[middle - 4 : middle + 5] = reverse[middle - 4 : middle + 5][::-1]
    copied = stack.copy()
    copied[:, :, middle + 5] = stack[:, :, middle - 5]
    assert told(stack, placed) == ""
    assert f"Slices {middle + 1} and {middle + 2} fit better in the other order" in told(
        in_order(stack, swapped), placed
    )
    assert f"Slices {middle - 3} to {middle + 5} fit better in reverse order" in told(in_order(stack, reverse), placed)
    assert f"Slice {middle + 6} is a copy of slice {middle - 4}" in told(copied, placed)


@pytest.mark.parametrize("first", [12, 30, 45])
def test_slices_cut_out_of_the_middle_are_told_where_they_were(scan, first) -> None:
    hu, affine = scan
    cut = np.concatenate([hu[:, :, :first], hu[:, :, first + 7 :]], axis=2)
    assert told(cut, affine).startswith(
        f"Slices {first} and {first + 1} do not follow each other, as if slices between"
    )

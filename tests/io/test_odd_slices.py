"""Empty and copied slices and steps between slices are told by number; an honest scan has none.

The order of slices (``test_slice_order.py``) is told under the same step, so that the real scans here stand for it too.
"""

from __future__ import annotations

import numpy as np
import pytest

from radvlm.io import load_volume
from radvlm.io.odd_slices import STEP_HU, odd_slices, tile_steps
from radvlm.phantom import PhantomSpec, make_phantom


@pytest.fixture(scope="module")
def scan():
    volume = make_phantom(PhantomSpec(seed=2, region="chest-abdomen-pelvis", spacing_mm=(6.0, 6.0, 8.0))).volume
    noise = np.random.default_rng(0).normal(0, 10, volume.hu.shape)
    return np.rint(volume.hu + noise).astype(np.int16), np.array(volume.geometry.affine)


def put(hu: np.ndarray, k: int, value: object) -> np.ndarray:
    changed = hu.copy()
    changed[:, :, k] = value
    return changed


def raised(hu: np.ndarray, first: int, last: int, by_hu: int) -> np.ndarray:
    changed = hu.copy()
    changed[:, :, first:last] += by_hu
    return changed


@pytest.mark.parametrize("value", [0, -1024, 40])
def test_an_empty_slice_is_named(scan, value) -> None:
    hu, affine = scan
    (told,) = odd_slices(put(hu, 30, value), affine)
    assert told.warning and told.what.startswith("Slice 31 is empty")


def test_slices_never_written_are_named_and_air_at_the_ends_is_none(scan) -> None:
    hu, affine = scan
    short, padded = hu.copy(), hu.copy()
    short[:, :, 50:], padded[:, :, :4], padded[:, :, -3:] = 0, -1024, -1024
    (told,) = odd_slices(short, affine)
    assert told.what.startswith("Slices 51, 52, 53 and ")
    assert odd_slices(padded, affine) == ()


def test_a_copied_slice_is_named_and_resampling_copies_none(scan) -> None:
    hu, affine = scan
    (told,) = odd_slices(put(hu, 30, hu[:, :, 29]), affine)
    assert told.what.startswith("Slice 31 is a copy of the slice before")
    for ratio in (2.0, 1.25, 1.04):
        nearest = hu[:, :, (np.arange(int(hu.shape[2] * ratio)) / ratio).astype(int)]
        assert odd_slices(nearest, affine) == ()


@pytest.mark.parametrize(
    ("first", "last", "by_hu", "named"),
    [(40, 200, 100, "slice 40 to 41 by"), (40, 200, -50, "slice 40 to 41 by"), (40, 44, 40, "slice 44 to 45 by -"),
     (33, 34, 40, "slice 33 to 34 by +")],
)  # fmt: skip
def test_a_block_with_another_offset_is_a_doubt_that_names_the_slice(scan, first, last, by_hu, named) -> None:
    hu, affine = scan
    (told,) = odd_slices(raised(hu, first, last, by_hu), affine)
    assert told.step == "attenuation" and named in told.what
    measured = float(told.what.split(" by ")[1].split(" HU")[0])
    assert abs(measured) == pytest.approx(abs(by_hu), abs=8)


def test_the_axis_may_be_stored_anywhere(scan) -> None:
    hu, affine = scan
    for order in ((2, 0, 1), (0, 2, 1)):
        moved = np.transpose(raised(hu, 40, 200, 100), order)
        turned = affine[:, [*order, 3]]
        (told,) = odd_slices(moved, turned)
        assert "slice 40 to 41" in told.what
        assert odd_slices(np.transpose(hu, order), turned) == ()


@pytest.mark.parametrize("step", [1, 2, 4])
@pytest.mark.parametrize("noise_hu", [0, 60])
def test_an_honest_scan_has_none(scan, step, noise_hu) -> None:
    hu, affine = scan
    thick = hu[:, :, ::step] + np.random.default_rng(step).normal(0, noise_hu, hu[:, :, ::step].shape)
    assert odd_slices(thick, affine) == () and odd_slices(thick[20:60, 20:60], affine) == ()
    steps = [tile_steps(thick[:, :, k], thick[:, :, k + 1])[0] for k in range(thick.shape[2] - 1)]
    assert np.median(np.abs(steps)) < STEP_HU / 5


def test_the_volume_says_it(scan) -> None:
    hu, affine = scan
    volume = load_volume(raised(hu, 40, 200, 100), affine=affine)
    assert volume.attenuation_doubt.startswith("the whole body turns brighter or darker from one slice to the next")


def test_real_scans_have_none(real_data) -> None:
    for path in (real_data / "plain_abdomen" / "ct.nii.gz", real_data / "upper_abdomen_dicom"):
        volume = load_volume(path)
        assert not any(d.step == "slices" for d in volume.decisions) and volume.attenuation_doubt == ""


@pytest.mark.parametrize("axis", [0, 1])
@pytest.mark.parametrize("by_hu", [60, -60, 100])
def test_a_part_of_every_slice_with_another_offset_is_told(scan, axis, by_hu) -> None:
    hu, affine = scan
    changed = hu.copy()
    part = [slice(None)] * 3
    part[axis] = slice(0, hu.shape[axis] // 2 - 2)
    changed[tuple(part)] += by_hu
    (told,) = odd_slices(changed, affine)
    assert told.step == "attenuation" and "along a plane that cuts through every slice" in told.what
    turned = np.transpose(changed, (1, 2, 0)), affine[:, [1, 2, 0, 3]]
    assert [d.what for d in odd_slices(*turned)] == [told.what]

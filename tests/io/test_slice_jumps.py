"""A rescale that changes along a series is right where tissue and air do not move with it, and else a doubt."""

from __future__ import annotations

import numpy as np
import pytest

from radvlm.io import load_volume
from radvlm.io.slice_jumps import following_slices, slice_jumps
from radvlm.phantom import PhantomSpec, make_phantom

OTHER = (1.0, -1000.0)
USUAL = (1.0, -1024.0)


@pytest.fixture(scope="module")
def stack() -> np.ndarray:
    """(slices, rows, columns) of a phantom."""
    phantom = make_phantom(PhantomSpec(seed=3, region="abdomen", spacing_mm=(5.0, 5.0, 6.0)))
    return np.ascontiguousarray(np.moveaxis(np.asarray(phantom.volume.hu, np.float32), 2, 0))


def kinds(count: int):
    half = np.arange(count) >= count // 2
    return {"half": half, "middle": abs(np.arange(count) - count // 2) < 4, "every second": np.arange(count) % 2 > 0}


@pytest.mark.parametrize("other", [OTHER, (1.0, -1050.0), (1.0, -1040.0), (1.03, -1024.0)])
@pytest.mark.parametrize("where", ["half", "middle", "every second"])
@pytest.mark.parametrize("noise_hu", [0, 25])
def test_values_that_follow_a_wrong_rescale_are_a_doubt(stack, other, where, noise_hu) -> None:
    noisy = stack + np.random.default_rng(1).normal(0, noise_hu, stack.shape)
    is_other = kinds(len(stack))[where]
    stored = np.rint(noisy + 1024)
    hu = np.where(is_other[:, None, None], stored * other[0] + other[1], stored - 1024)
    told = slice_jumps(hu, [other if o else USUAL for o in is_other])
    assert told and "different rescales" in told[0].what


@pytest.mark.parametrize("where", ["half", "middle", "every second"])
@pytest.mark.parametrize(("noise_hu", "lowest"), [(0, 0), (25, 0), (60, 0), (60, -3000)])
@pytest.mark.parametrize("step", [1, 2])
def test_honest_rescales_of_each_slice_are_believed(stack, where, noise_hu, lowest, step) -> None:
    """Stored values from 0 on, so that padding and cut air move with the rescale, or without such an end."""
    scan = stack[::step] + np.random.default_rng(2).normal(0, noise_hu, stack[::step].shape)
    is_other = kinds(len(scan))[where]
    for other in (OTHER, (2.0, -1024.0), (1.0, -1100.0)):
        pair = [other if o else USUAL for o in is_other]
        slope, intercept = (np.array(values)[:, None, None] for values in zip(*pair, strict=True))
        hu = np.maximum(np.rint((scan - intercept) / slope), lowest) * slope + intercept
        assert not following_slices(hu, pair)


def test_the_doubt_reaches_the_volume(stack, writer, tmp_path) -> None:
    small = stack[:12, ::2, ::2]

    def change(ds, k):
        ds.PixelData = np.rint(small[k] + 1024).astype(np.uint16).tobytes()
        ds.RescaleIntercept = "-1000" if k >= 6 else "-1024"

    writer.write(tmp_path, count=12, size=small.shape[1:], spacing=(10.0, 10.0), step=6.0, change=change)
    volume = load_volume(tmp_path)
    assert "different rescales" in volume.attenuation_doubt

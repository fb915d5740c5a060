"""Slices that do not overlap although their positions say so are told, and overlapping ones are not."""

from __future__ import annotations

import numpy as np
import pytest

from radvlm.io import load_volume
from radvlm.io.slice_steps import doubtful_steps, squeezed_slices
from radvlm.phantom import PhantomSpec, make_phantom


@pytest.fixture(scope="module")
def stack() -> np.ndarray:
    phantom = make_phantom(PhantomSpec(seed=2, region="abdomen", spacing_mm=(4.0, 4.0, 3.0)))
    return np.moveaxis(np.asarray(phantom.volume.hu, np.float32), 2, 0)


@pytest.mark.parametrize("noise_hu", [0, 40])
def test_overlap_is_believed_and_lost_units_are_told(stack, noise_hu) -> None:
    noisy = stack + np.random.default_rng(1).normal(0, noise_hu, stack.shape)
    for stated_mm in (1.0, 0.3):
        (told,) = doubtful_steps(noisy, stated_mm, 3.0, 4.0)
        assert told.warning and f"lie {stated_mm:g} mm apart" in told.what
    for width in (3, 4):
        slabs = np.mean([noisy[n : len(noisy) - width + 1 + n] for n in range(width)], axis=0)
        assert doubtful_steps(slabs, 3.0, 3.0 * width, 4.0) == ()
    assert doubtful_steps(noisy, 1.5, 3.0, 4.0) == () and doubtful_steps(noisy, 3.0, 3.0, 4.0) == ()


def test_the_warning_reaches_the_volume(stack, writer, tmp_path) -> None:
    small = stack[20:40]

    def change(ds, k):
        ds.PixelData = np.rint(small[k] + 1024).astype(np.uint16).tobytes()
        ds.SliceThickness = "3"

    writer.write(tmp_path, count=20, size=small.shape[1:], spacing=(4.0, 4.0), step=1.0, change=change)
    assert any(d.warning and "slices side by side" in d.what for d in load_volume(tmp_path).decisions)


@pytest.mark.parametrize("noise_hu", [0, 40])
def test_spacing_that_is_five_times_too_small_is_told_and_other_spacing_is_not(stack, noise_hu) -> None:
    noisy = np.moveaxis(stack + np.random.default_rng(1).normal(0, noise_hu, stack.shape), 0, 2)
    thick = noisy[:, :, ::2]
    (told,) = squeezed_slices(thick, (4.0, 4.0, 1.2))
    assert told.warning and "slice spacing looks too small" in told.what
    for spacing_mm in (6.0, 4.0, 12.0):
        assert squeezed_slices(thick, (4.0, 4.0, spacing_mm)) == ()
    assert squeezed_slices(noisy, (4.0, 4.0, 3.0)) == () == squeezed_slices(thick, (4.0, 2.0, 1.2))
    spoken = load_volume(np.rint(thick).astype(np.int16), affine=np.diag([4.0, 4.0, 1.2, 1.0])).decisions
    assert [d.what for d in spoken if d.warning] == [told.what]

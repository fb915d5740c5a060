"""Slices that do not overlap although their positions say so are told, and overlapping ones are not."""

from __future__ import annotations

import numpy as np
import pytest

from radvlm.io import load_volume
from radvlm.io.slice_steps import doubtful_steps
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

"""Values that no scanner made are a doubt, and honest ones of any noise, padding and rounding are not."""

from __future__ import annotations

import numpy as np
import pytest

from radvlm.io.broken_values import broken_values
from radvlm.io.hounsfield import to_hu
from radvlm.phantom import PhantomSpec, make_phantom


@pytest.fixture(scope="module")
def scan() -> np.ndarray:
    phantom = make_phantom(PhantomSpec(seed=21, region="chest", spacing_mm=(6.0, 6.0, 6.0)))
    return np.asarray(phantom.volume.hu, np.float64)


def strewn(share: float, value: float):
    return lambda hu: np.where(np.random.default_rng(3).random(hu.shape) < share, value, hu)


def noisy(hu: np.ndarray, noise_hu: float) -> np.ndarray:
    return hu + np.random.default_rng(4).normal(0, noise_hu, hu.shape)


BROKEN = {
    "8 signed bits": lambda hu: hu.astype(np.int64).astype(np.int8),
    "8 unsigned bits": lambda hu: hu.astype(np.int64) % 256,
    "logarithm": lambda hu: np.log1p(noisy(hu, 10).clip(-1024) + 1024) * 300 - 1024,
    "root": lambda hu: ((noisy(hu, 10).clip(-1024) + 1024) / 4095) ** 0.5 * 4095 - 1024,
    **{
        f"{share:.0%} at {v}": strewn(share, v)
        for share, v in ((0.3, 0), (0.05, 0), (0.3, 3071), (0.1, -2000), (0.3, 40))
    },
    "noise": lambda hu: np.random.default_rng(5).integers(-1000, 1000, hu.shape),
    "shuffled": lambda hu: np.random.default_rng(6).permutation(hu.ravel()).reshape(hu.shape),
}
HONEST = {
    "as it is": lambda hu: hu,
    "noise of 100 HU": lambda hu: noisy(hu, 100).clip(-1024, 3071),
    "noise of 150 HU, not cut": lambda hu: noisy(hu, 150),
    "air only": lambda hu: noisy(np.full(hu.shape, -1000.0), 20),
    "crop": lambda hu: hu[25:50, 25:50, 15:40],
    "few slices": lambda hu: hu[:, :, :3],
    "air cut at -1000": lambda hu: noisy(hu, 20).clip(-1000, 1000),
    "coarse": lambda hu: hu[::3, ::3, ::3],
    "rounded to 10 HU": lambda hu: np.rint(noisy(hu, 15) / 10) * 10,
    "metal": lambda hu: np.where(np.indices(hu.shape)[0] == 30, 3071, hu),
    "padding": lambda hu: np.where(np.indices(hu.shape)[1] < 12, -2000, hu),
    "enhanced blood": lambda hu: np.where(hu > 50, 600 + noisy(0 * hu, 30), hu)[25:50, 25:50],
}


@pytest.mark.parametrize("kind", BROKEN)
def test_broken_values_are_told(scan, kind) -> None:
    assert broken_values(np.asarray(BROKEN[kind](scan)).astype(np.int16)) is not None


@pytest.mark.parametrize("kind", HONEST)
@pytest.mark.parametrize("axes", [(0, 1, 2), (2, 1, 0)])
def test_honest_values_are_not(scan, kind, axes) -> None:
    assert broken_values(np.asarray(HONEST[kind](scan)).astype(np.int16).transpose(axes)) is None


def test_the_doubt_is_told_and_noise_is_read(scan) -> None:
    def told(hu):
        return [d.what for d in to_hu(hu.astype(np.int16), 1, 0, "auto", "x", "nifti")[1] if d.warning]

    (doubt,) = told(BROKEN["30% at 0"](scan))
    assert doubt.startswith("Attenuation is not interpreted: exactly 0 HU is strewn")
    assert told(HONEST["noise of 150 HU, not cut"](scan)) == []

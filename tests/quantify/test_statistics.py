"""Statistics against NumPy on the same voxels."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

import solids
from radvlm.quantify.statistics import PERCENTILES, HuTally
from radvlm.quantify.voxel_counts import tally, volume_uncertainty_ml


def described(pieces):
    values = HuTally()
    for piece in pieces:
        values.add(piece)
    return values.result()


@pytest.mark.slow
@given(arrays(np.int16, st.integers(1, 60)), st.integers(0, 60))
def test_int16_equals_numpy(values, split):
    found = described([values[:split], values[split:]])
    assert found.count == values.size
    assert found.mean == pytest.approx(values.astype(float).mean(), abs=1e-9)
    assert found.sd == pytest.approx(values.astype(float).std(), rel=1e-9, abs=1e-6)
    for name, q in PERCENTILES.items():
        assert found.percentiles[name] == pytest.approx(np.percentile(values.astype(float), q), abs=1e-6)


@given(arrays(np.float32, st.integers(1, 60), elements=st.floats(-2000, 4000, width=32)), st.integers(0, 60))
def test_float32_equals_numpy(values, split):
    found = described([values[:split], values[split:]])
    assert found.mean == pytest.approx(values.astype(float).mean(), abs=1e-6)
    assert found.sd == pytest.approx(values.astype(float).std(), abs=1e-6)
    for name, q in PERCENTILES.items():
        assert found.percentiles[name] == pytest.approx(np.percentile(values.astype(float), q), abs=1e-6)


def test_nothing_added_is_none():
    assert described([np.zeros(0, dtype=np.int16)]) is None


def test_the_values_given_are_left_alone():
    values = np.array([3.0, 1.0, 2.0], dtype=np.float32)
    described([values])
    assert values.tolist() == [3.0, 1.0, 2.0]


@pytest.mark.parametrize("layout", ["C", "F", "flipped", "transposed"])
@pytest.mark.parametrize("dtype", [np.int16, np.float32])
def test_tally_equals_whole_array_numpy(layout, dtype, monkeypatch):
    monkeypatch.setattr("radvlm.quantify.voxel_counts.SLAB_VOXELS", 40)  # many slabs
    rng = np.random.default_rng(1)
    array = (rng.random((7, 6, 9)) < 0.4).astype(np.uint8) * 3
    hu = rng.integers(-1000, 2000, array.shape).astype(dtype)
    lay = {
        "C": np.ascontiguousarray,
        "F": np.asfortranarray,
        "flipped": lambda a: a[::-1, ::-1].copy()[::-1, ::-1],
        "transposed": lambda a: a.transpose(2, 0, 1).copy().transpose(1, 2, 0),
    }[layout]
    found = tally(lay(array), 3, hu)
    mask = array == 3
    assert found.voxels == mask.sum()
    assert found.center == pytest.approx(np.argwhere(mask).mean(axis=0))
    padded = np.pad(mask, 1).astype(np.int8)
    assert found.faces == tuple(int(np.abs(np.diff(padded, axis=a)).sum()) for a in range(3))
    assert found.hu.mean == pytest.approx(hu[mask].mean(dtype=float))
    assert found.hu.median == pytest.approx(np.median(hu[mask]))


def test_volume_uncertainty_is_half_a_voxel_of_a_sphere():
    radius = 20.0
    mask = solids.ellipsoid((48, 48, 48), (1, 1, 1), (23.3, 23.9, 23.6), (radius,) * 3)
    found = tally(mask, True, None)
    half_voxel_shell = 4 * np.pi * radius**2 * 0.5 / 1000
    assert volume_uncertainty_ml(found.faces, 1e-3) == pytest.approx(half_voxel_shell, rel=0.05)

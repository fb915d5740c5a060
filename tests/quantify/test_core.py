"""HU of a lesion away from its edge: what a region of interest would show."""

from __future__ import annotations

import numpy as np
import pytest

from radvlm.quantify.lesion import MIN_CORE_VOXELS, core_values


def test_the_core_is_what_erosion_by_a_cross_leaves() -> None:
    from scipy.ndimage import binary_erosion, generate_binary_structure

    rng = np.random.default_rng(3)
    mask = rng.random((20, 18, 16)) < 0.85
    hu = rng.integers(-100, 200, mask.shape).astype(np.int16)
    inner = binary_erosion(mask, generate_binary_structure(3, 1))
    core = core_values(mask, hu)
    assert core is not None and inner.sum() >= MIN_CORE_VOXELS
    assert core.mean == pytest.approx(hu[inner].mean())
    assert core.error == pytest.approx(hu[inner].std() / inner.sum() ** 0.5)
    assert core.part == "voxels off the surface"


def test_a_lesion_of_one_slice_keeps_its_in_plane_core() -> None:
    mask = np.ones((6, 6, 1), bool)
    hu = np.full(mask.shape, 100, np.int16)
    hu[1:5, 1:5] = 7
    core = core_values(mask, hu)
    assert core is not None and core.mean == 7 and core.part == "voxels off the in-plane outline"


def test_a_lesion_that_is_all_edge_has_no_core() -> None:
    assert core_values(np.ones((4, 3, 2), bool), np.zeros((4, 3, 2), np.int16)) is None


@pytest.mark.slow
def test_the_core_of_a_blurred_cyst_is_nearer_to_the_truth() -> None:
    from radvlm.phantom import LesionSpec, PhantomSpec, make_phantom
    from radvlm.quantify import measure_scan

    phantom = make_phantom(
        PhantomSpec(
            seed=7,
            region="abdomen",
            spacing_mm=(2.0, 2.0, 3.0),
            noise_hu=0,
            lesions=(LesionSpec("kidney_cyst", 18, side="left"),),
        )
    )
    found = measure_scan(phantom.volume, phantom.segmentation).lesions
    lesion = next(x for x in found if x.structure == "kidney_cyst_left")
    truth = next(x for x in phantom.truth.lesions if x.kind == "kidney_cyst").mean_hu
    core = lesion.measurement("core_mean_hu")
    assert core is not None and abs(core.value - truth) < 3 < abs(lesion.mean_hu - truth)

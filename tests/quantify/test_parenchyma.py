"""Attenuation of an organ's own tissue: what lies in it or at its edge must not move it."""

from __future__ import annotations

import numpy as np
import pytest

from radvlm.io import load_segmentation, load_volume
from radvlm.quantify import measure_scan
from radvlm.quantify.parenchyma import robust_center

AFFINE = np.diag([3.0, 3.0, 4.0, 1.0])
SHAPE = (60, 60, 40)
LIVER, CYSTS, VEIN = 1, 2, 3


def _ball(center, radius_mm):
    grid = np.ogrid[: SHAPE[0], : SHAPE[1], : SHAPE[2]]
    return sum(((g - c) * s) ** 2 for g, c, s in zip(grid, center, (3, 3, 4), strict=True)) < radius_mm**2


@pytest.fixture(scope="module")
def places():
    liver = _ball((30, 30, 20), 70)
    cysts = (_ball((20, 30, 20), 32) | _ball((38, 42, 22), 30) | _ball((36, 20, 14), 28)) & liver
    return liver, cysts, _ball((40, 30, 24), 14) & liver & ~cysts


def _measured(places, names, noise_hu=8.0, edge_hu=-100.0, offset=0.0):
    liver, cysts, vein = places
    hu = np.where(_ball((30, 30, 20), 84), edge_hu, -1000.0)
    hu[liver], hu[cysts], hu[vein] = 56 + offset, 4, 42
    hu += np.random.default_rng(0).normal(0, noise_hu, SHAPE)
    scan = load_volume(hu.astype(np.int16), affine=AFFINE)
    layers = {"liver": liver, "liver_cyst": cysts, "portal_vein": vein}
    masks = load_segmentation(
        {name: (layers[name].astype(np.uint8), scan.geometry.affine) for name in names}, like=scan
    )
    return measure_scan(scan, masks).structure("liver")


@pytest.mark.parametrize("names", [("liver", "liver_cyst", "portal_vein"), ("liver", "liver_cyst"), ("liver",)])
@pytest.mark.parametrize("noise_hu", [2.0, 12.0, 25.0])
def test_cysts_vessels_and_the_edge_do_not_count_masked_or_not(places, names, noise_hu):
    found = _measured(places, names, noise_hu)
    tissue = found.measurement("parenchyma_hu")
    assert found.mean_hu < 45, "a third of the mask is cysts"
    assert tissue.value == pytest.approx(56, abs=1.5)


def test_what_is_even_is_told_to_be(places):
    liver, cysts, vein = places
    even = _measured((liver, cysts & False, vein & False), ("liver",), noise_hu=10)
    assert even.measurement("parenchyma_hu").uncertainty < 0.3


@pytest.mark.parametrize(
    ("lower_hu", "share", "is_gradual"), [(20, 0.2, False), (20, 0.5, False), (35, 0.35, False), (10, 0.5, True)]
)
def test_the_error_covers_how_uneven_the_organ_is(places, lower_hu, share, is_gradual):
    liver, cysts, vein = places
    across = np.broadcast_to(np.arange(SHAPE[0], dtype=float)[:, None, None], SHAPE)
    edge = np.quantile(across[liver], share)
    darker = np.clip((edge + 6 - across) / 12, 0, 1) if is_gradual else (across < edge).astype(float)
    offset = -lower_hu * darker[liver]
    found = _measured((liver, cysts & False, vein & False), ("liver",), noise_hu=10, offset=offset)
    tissue = found.measurement("parenchyma_hu")
    assert abs(tissue.value - (56 + offset.mean())) <= tissue.uncertainty <= lower_hu * 1.2
    if share < 0.5 and not is_gradual:
        assert tissue.value == pytest.approx(56, abs=1.5), "that of the larger part"
    if share == 0.5:
        assert tissue.uncertainty > 0.3 * lower_hu, "either half is within reach"


def test_fluid_that_no_mask_names_is_no_unevenness_of_the_tissue(places):
    tissue = _measured(places, ("liver",)).measurement("parenchyma_hu")
    assert tissue.value == pytest.approx(56, abs=1.5) and tissue.uncertainty < 10


def test_the_phase_speaks_of_the_tissue_that_findings_tell(places):
    liver, cysts, _ = places
    hu = np.where(_ball((30, 30, 20), 84), -100.0, -1000.0)
    hu[liver], hu[cysts] = 56, 4
    scan = load_volume(hu.astype(np.int16), affine=AFFINE)
    masks = load_segmentation((liver.astype(np.uint8), scan.geometry.affine), like=scan, scheme={1: "liver"})
    found = measure_scan(scan, masks)
    told = found.structure("liver").measurement("parenchyma_hu").value
    assert f"liver {told:.0f} HU" in found.phase.reason and round(told) == 56


def test_too_little_tissue_is_an_omission():
    labels = np.zeros(SHAPE, np.uint8)
    labels[30:36, 30:36, 20] = 1  # one slice: all of it is edge
    hu = np.where(_ball((30, 30, 20), 60), 40, -1000).astype(np.int16)
    scan = load_volume(hu, affine=AFFINE)
    masks = load_segmentation((labels, scan.geometry.affine), like=scan, scheme={1: "pancreas"})
    found = measure_scan(scan, masks).structure("pancreas")
    assert found is None or found.measurement("parenchyma_hu") is None


@pytest.mark.parametrize("share", [0.0, 0.2, 0.45])
@pytest.mark.parametrize("sd", [3.0, 10.0])
def test_the_center_is_that_of_the_larger_part(share, sd):
    rng = np.random.default_rng(1)
    values = rng.normal(56, sd, 5000)
    values[: int(share * 5000)] = rng.normal(4, sd, int(share * 5000))
    center, spread = robust_center(np.rint(values).astype(np.int16))
    assert center == pytest.approx(56, abs=1.0) and spread == pytest.approx(sd, rel=0.25)
    assert robust_center(np.full(30, 7, np.int16)) == (7.0, 0.0)

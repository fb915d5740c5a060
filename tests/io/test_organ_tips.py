"""A single slice through the tip of an organ holds what lies beside it, and is no misplaced mask."""

from __future__ import annotations

import numpy as np
import pytest

from radvlm.io.masks import load_segmentation
from radvlm.quantify import measure_scan
from radvlm.types.geometry import Geometry
from radvlm.types.segmentation import LabelPlace, Segmentation
from radvlm.types.volume import Volume

AFFINE = np.diag([3.0, 3.0, 5.0, 1.0])


def scan(slices: int, radius_mm: float, hu: float) -> tuple[Volume, Segmentation]:
    """A body with a liver, and a spleen of ``slices`` slices at the top and of this radius and attenuation."""
    x, y, z = np.ogrid[:100, :80, :6]
    voxels = np.full((100, 80, 6), -1000.0)
    voxels[np.broadcast_to(((x - 50) / 45) ** 2 + ((y - 40) / 34) ** 2 < 1, voxels.shape)] = -100
    labels = np.zeros(voxels.shape, np.uint8)
    labels[np.broadcast_to(np.hypot(x - 65, y - 45) < 18, labels.shape)] = 1
    spleen = (np.hypot(x - 22, y - 35) < radius_mm / 3) & (z >= 6 - slices)
    labels[spleen] = 2
    voxels[labels == 1], voxels[labels == 2] = 60, hu
    voxels += np.random.default_rng(0).normal(0, 8, voxels.shape)
    geometry = Geometry(labels.shape, AFFINE)
    places = {"liver": LabelPlace(0, 1), "spleen": LabelPlace(0, 2)}
    return Volume(np.rint(voxels).astype(np.int16), geometry), Segmentation((labels,), places, frozenset(), geometry)


@pytest.mark.parametrize(
    ("slices", "radius_mm", "is_tip"), [(1, 20, True), (2, 30, True), (1, 40, False), (3, 20, False)]
)
def test_only_a_small_cut_at_the_end_of_the_scan_is_a_tip(slices: int, radius_mm: float, is_tip: bool) -> None:
    volume, masks = scan(slices, radius_mm, -28)
    assert masks.is_tip("spleen") == is_tip and not masks.is_tip("liver")
    told = [d.what for d in load_segmentation(masks, like=volume).decisions if d.warning]
    assert any("unusual median density" in what for what in told) != is_tip
    measured = measure_scan(volume, masks)
    assert any("An attenuation that no patient has" in d.what for d in measured.decisions) != is_tip
    spleen = next(record for record in measured.structures if record.structure == "spleen")
    assert not any(m.quantity == "median_hu" for m in spleen.measurements)


def test_a_tip_in_the_middle_of_the_scan_is_none() -> None:
    masks = scan(1, 20, -28)[1]
    moved = np.roll(masks.layers[0], -2, axis=2)
    assert not Segmentation((moved,), masks.places, frozenset(), masks.geometry).is_tip("spleen")

"""Body and lung by thresholds on synthetic trunks with known volumes, and on real scans."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from radvlm.segment import segment_by_threshold
from radvlm.types.geometry import Geometry
from radvlm.types.segmentation import Segmentation
from radvlm.types.volume import Volume

SPACING = (2.0, 2.0, 4.0)
SHAPE = (180, 150, 60)


def trunk(
    lung_hu: float | None = -850, lung_from: int = 20, gas: bool = True, table: bool = True, noise: float = 15.0
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """HU, true body and true lung of an elliptic trunk with two lungs, a trachea, bowel gas and a table."""
    x, y, z = np.ogrid[: SHAPE[0], : SHAPE[1], : SHAPE[2]]
    hu = np.full(SHAPE, -1000.0)
    body = np.broadcast_to(((x - 90) / 80) ** 2 + ((y - 80) / 50) ** 2 < 1, SHAPE).copy()
    hu[body] = 40
    hu[np.broadcast_to(((x - 90) / 80) ** 2 + ((y - 80) / 50) ** 2 < 0.85, SHAPE) & body & (z < 60)] = 50
    lung = np.zeros(SHAPE, bool)
    if lung_hu is not None:
        for center in (55, 125):
            lung |= (((x - center) / 25) ** 2 + ((y - 80) / 32) ** 2 < 1) & (z >= lung_from)
        hu[lung] = lung_hu
        hu[np.broadcast_to(((x - 90) / 4) ** 2 + ((y - 85) / 4) ** 2 < 1, SHAPE) & (z >= lung_from + 10)] = -1000
    if gas:
        hu[(((x - 90) / 20) ** 2 + ((y - 105) / 15) ** 2 + ((z - 8) / 6) ** 2) < 1] = -980
    if table:
        hu[:, 22:26, :] = -50
        hu[:, 10:22, :] = -850
    hu += np.random.default_rng(0).normal(0, noise, SHAPE)
    return hu.round().astype(np.int16), body, lung


def segmented(hu: np.ndarray, spacing: tuple[float, float, float] = SPACING) -> Segmentation:
    return segment_by_threshold(Volume(hu, Geometry(hu.shape, np.diag([*spacing, 1.0]))))


def dice(first: np.ndarray, second: np.ndarray) -> float:
    return float(2 * (first & second).sum() / (first.sum() + second.sum()))


def test_body_and_lung_of_a_trunk_on_a_table() -> None:
    hu, body, lung = trunk()
    found = segmented(hu)
    assert found.searched >= {"body", "lung"} and found.scheme == "threshold"
    assert found.mask("body").sum() == pytest.approx(body.sum(), rel=0.01)
    assert not found.mask("body")[:, :26].any()  # the table
    assert found.mask("scanner_table")[:, 22:26].mean() > 0.6 and not found.mask("scanner_table")[:, 26:].any()
    assert dice(found.mask("lung"), lung) > 0.97
    assert not found.mask("lung")[86:95, 81:90].any()  # the trachea
    assert found.decisions[0].warning


@pytest.mark.slow
def test_float_volumes_and_a_finer_grid_give_the_same() -> None:
    hu, body, lung = trunk(noise=0)
    fine = np.repeat(np.repeat(hu, 2, axis=0), 2, axis=1).astype(np.float32)
    found = segmented(fine, (1.0, 1.0, 4.0))
    assert found.mask("body").sum() / 4 == pytest.approx(body.sum(), rel=0.01)
    assert found.mask("lung").sum() / 4 == pytest.approx(lung.sum(), rel=0.03)


@pytest.mark.parametrize(
    "options",
    [
        {"lung_hu": None},  # bowel gas only
        {"lung_hu": -300},  # consolidated
        {"lung_hu": -990},  # a bubble, not a lung
        {"lung_hu": -850, "lung_from": 60},  # above the scan
    ],
)
def test_no_lung_where_there_is_none_to_be_sure_of(options: dict) -> None:
    found = segmented(trunk(**options)[0])
    assert found.absent == ("lung",) and "body" in found.places


def test_stool_is_not_lung() -> None:
    hu, _, _ = trunk(lung_hu=None)
    rng = np.random.default_rng(1)
    stool = rng.choice([-950, -700, -400, 20], (50, 40, 40)).astype(np.int16)
    hu[60:110, 60:100, 20:60] = stool
    assert segmented(hu).absent == ("lung",)


def test_lung_base_that_reaches_the_top_of_the_scan() -> None:
    hu, _, lung = trunk(lung_from=55)
    found = segmented(hu)
    assert dice(found.mask("lung"), lung) > 0.9
    thin = trunk(lung_from=57)[0]
    assert "lung" in segmented(thin).places
    assert segmented(thin[:, :, ::-1].copy()).absent == ("lung",)  # as small, but at the lower end of the scan


def test_nothing_in_an_empty_room() -> None:
    found = segmented(np.full(SHAPE, -1000, np.int16))
    assert not found.places and found.absent == ("body", "lung")
    small = np.full(SHAPE, -1000, np.int16)
    small[80:90, 70:80, 20:30] = 30  # 16 ml
    assert not segmented(small).places


def test_body_cut_by_the_field_of_view_reaches_the_edge() -> None:
    hu, body, _ = trunk(lung_hu=None, table=False)
    found = segmented(hu[40:140])
    assert found.mask("body")[0].sum() == pytest.approx(body[40].sum(), rel=0.05)


@pytest.mark.slow
def test_real_scans(real_data: Path) -> None:
    volumes = pytest.importorskip("radvlm.io.volumes")
    masks = pytest.importorskip("radvlm.io.masks")
    plain = volumes.load_volume(real_data / "plain_abdomen" / "ct.nii.gz")
    truth = masks.load_segmentation(real_data / "plain_abdomen" / "segmentation.nii.gz", like=plain)
    lung = np.isin(truth.layers[0], [10, 11, 12, 13, 14])
    found = segment_by_threshold(plain)
    assert dice(found.mask("lung"), lung) > 0.95
    organs = np.isin(truth.layers[0], [1, 2, 3, 5, 51, 52, 63])
    assert (found.mask("body") & organs).sum() == organs.sum()
    upper = segment_by_threshold(volumes.load_volume(real_data / "upper_abdomen_dicom"))
    assert upper.absent == ("lung",)  # 40 mm of upper abdomen with bowel gas and a sliver of lung

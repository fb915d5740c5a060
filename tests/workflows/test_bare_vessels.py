"""What is said of blood, trunk and width in scans without masks, where bowel, small vessels or limbs could mislead."""

from __future__ import annotations

import numpy as np
import pytest

from radvlm.interpret import interpret
from radvlm.interpret.bare_scan import SIZE_ERROR_PERCENT
from radvlm.quantify import measure_scan
from radvlm.segment import segment_by_threshold
from radvlm.types.finding import Status
from radvlm.types.geometry import Geometry
from radvlm.types.study import Patient
from radvlm.types.volume import Volume

MM, SLICE_MM, SLICES = 3.0, 5.0, 14
X, Y = np.meshgrid(np.arange(-170, 170, MM), np.arange(-120, 120, MM), indexing="ij")


def oval(x: float, y: float, across: float, along: float) -> np.ndarray:
    return ((X - x) / across) ** 2 + ((Y - y) / along) ** 2 < 1


def trunk(across: float = 140.0, front: float = 100.0, spine: float = 1.0) -> np.ndarray:
    """HU of a slice: fat around muscle, an arch around a canal at y = -60, a vertebral body up to y = -19."""
    flat = np.full(X.shape, -1000.0)
    flat[oval(0, 0, across, front)] = -100
    flat[oval(0, 0, across - 15, front - 15)] = 50
    flat[oval(0, -60, 16 * spine, 16 * spine)] = 500
    flat[oval(0, -60 + 25 * spine, 20 * spine, 16 * spine)] = 300
    flat[oval(0, -60, 9 * spine, 9 * spine)] = 20
    return flat


def findings(
    flat: np.ndarray, part: np.ndarray | None = None, share: float = 1.0
) -> dict[str, tuple[str, list[float]]]:
    """Words and numbers by kind of a scan of equal slices, of which a share from below holds ``part`` instead."""
    hu = np.repeat(flat[:, :, None], SLICES, axis=2)
    if part is not None:
        hu[:, :, : round(share * SLICES)] = part[:, :, None]
    hu = (hu + np.random.default_rng(0).normal(0, 8, hu.shape)).round().astype(np.int16)
    scan = Volume(hu, Geometry(hu.shape, np.diag([MM, MM, SLICE_MM, 1.0])))
    found = interpret(measure_scan(scan, segment_by_threshold(scan)), patient=Patient())
    return {
        f.kind: (f.category if f.status is Status.PRESENT else f.reason, [m.value for m in f.measurements])
        for f in found
    }


def with_vessel(flat: np.ndarray, mm: float, hu: float, x: float = -8.0, top: float = -19.0) -> np.ndarray:
    """A round vessel of a diameter, 2 mm before the vertebral body."""
    made = flat.copy()
    made[oval(x, top + 2 + mm / 2, mm / 2, mm / 2)] = hu
    return made


@pytest.mark.parametrize(("mm", "hu"), [(8, 250), (10, 250), (12, 250), (12, 150), (10, 110)])
def test_blood_is_not_called_plain_beside_a_small_vessel_that_holds_contrast(mm: float, hu: float) -> None:
    flat = with_vessel(with_vessel(trunk(), mm, hu), 20, 50, x=18)
    assert "without contrast" not in findings(flat)["vessel_contrast"][0]


def test_blood_is_not_called_plain_in_a_child_nor_in_an_aorta_full_of_metal() -> None:
    child = trunk(95, 75, 0.7)
    small = with_vessel(with_vessel(child, 6, 200, top=-32), 7, 150, x=12, top=-32)
    assert "without contrast" not in findings(small)["vessel_contrast"][0]
    assert "without contrast" not in findings(child)["vessel_contrast"][0]
    stent = trunk()
    inside = oval(-8, -6, 11, 11)
    stent[inside] = np.where((np.floor((X + Y) / 4) % 2)[inside] == 0, 900, 250)
    assert "without contrast" not in findings(stent)["vessel_contrast"][0]


@pytest.mark.parametrize(
    ("bowel", "share"),
    [
        (oval(0, 10, 30, 10), 1.0),
        (oval(0, 10, 30, 10), 0.55),
        (oval(0, -5, 26, 9), 1.0),
        (oval(0, 30, 14, 14), 1.0),
        (oval(-42, -10, 12, 12), 1.0),
        (oval(0, 0, 12, 12), 0.55),
        (oval(0, 0, 24, 24), 1.0),
    ],
)
def test_oral_contrast_is_no_contrast_in_the_blood(bowel: np.ndarray, share: float) -> None:
    plain = with_vessel(with_vessel(trunk(), 16, 45), 16, 45, x=18)
    filled = plain.copy()
    filled[bowel] = 220
    assert "neither surely" in findings(plain, filled, share)["vessel_contrast"][0]


@pytest.mark.parametrize("hu", [130, 200, 350])
def test_an_aorta_and_a_vena_cava_that_hold_contrast_are_seen(hu: float) -> None:
    flat = with_vessel(with_vessel(trunk(), 20, hu), 22, hu - 15, x=22)
    flat[oval(-30, 30, 40, 12)] = 100  # a pancreas before them
    words, numbers = findings(flat)["vessel_contrast"]
    assert "holds contrast" in words and numbers[0] == pytest.approx(hu - 8, abs=12)
    plain = with_vessel(with_vessel(trunk(), 20, 45), 22, 45, x=22)
    assert "is without contrast" in findings(plain)["vessel_contrast"][0]


def test_a_trunk_is_called_so_where_its_canal_is_seen() -> None:
    assert findings(trunk())["body_size"][0].startswith("trunk in its middle slice")
    thigh, head, ham = (np.full(X.shape, -1000.0) for _ in range(3))
    for flat, ovals in (
        (thigh, [(100, 100, -95), (75, 75, 55), (15, 15, 1000), (8, 8, -60)]),
        (head, [(95, 110, -90), (85, 100, 1000), (78, 92, 35)]),
        (ham, [(100, 80, -95), (90, 70, 55)]),
    ):
        for across, along, hu in ovals:
            flat[oval(0, 0, across, along)] = hu
        told = findings(flat)
        assert "trunk in" not in told["body_size"][0]
        assert "trunk" not in told["imaged_region"][0]


@pytest.mark.parametrize("center", [120, 128, 135, 140, 144])
def test_the_width_beside_arms_that_touch_is_within_the_printed_error_or_not_told(center: float) -> None:
    flat = trunk(110, 90)
    for x in (-center, center):
        for radius, hu in ((24, -100), (18, 50), (8, 800)):
            arm = oval(x, 0, radius, radius)
            flat[arm & ((flat < -500) | (abs(X) > 112))] = hu
    words, numbers = findings(flat)["body_size"]
    if numbers:
        assert numbers[0] == pytest.approx(220, rel=SIZE_ERROR_PERCENT / 100), words
    else:
        assert "touch" in words or "trunk alone" in words or "field of view" in words

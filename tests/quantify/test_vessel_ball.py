"""A sac at one side of a tube of known size: its ball is told where the sections across the line are not round."""

from __future__ import annotations

import re

import numpy as np
import pytest

import analytic
import solids
from radvlm.compose import compose_report
from radvlm.interpret import interpret
from radvlm.quantify import measure_scan
from radvlm.quantify.dissection import with_dissection
from radvlm.quantify.organ import measure_structure
from radvlm.quantify.vessel import vessel_sections
from radvlm.quantify.vessel_ball import vessel_depths, wider_ball
from radvlm.quantify.vessel_parts import measure_parts
from radvlm.types.measurement import VESSEL_BALL, Measurement
from radvlm.types.scan_measurements import Measurements
from radvlm.types.segmentation import Segmentation
from radvlm.types.study import Patient


def _with_sac(sac_mm: float, beside_mm: float, spacing: tuple[float, float, float] = (4, 4, 4)) -> Segmentation:
    """A vertical tube of 25 mm with a ball beside it, and T11, T8 and T6 behind it."""
    shape = [round(n / s) for n, s in zip((210, 150, 260), spacing, strict=True)]
    x, y, z = (
        np.arange(n).reshape([-1 if a == b else 1 for b in range(3)]) * s
        for a, (n, s) in enumerate(zip(shape, spacing, strict=True))
    )
    tube = np.broadcast_to((x - 105) ** 2 + (y - 90) ** 2 < 12.5**2, shape) & (z > 12) & (z < 248)
    masks = {"aorta": tube | ((x - 105 - beside_mm) ** 2 + (y - 90) ** 2 + (z - 130) ** 2 < (sac_mm / 2) ** 2)}
    for level in (11, 8, 6):
        bone = np.broadcast_to((x - 105) ** 2 + (y - 40) ** 2 < 9**2, shape) & (abs(z - (332 - level * 26)) < 11)
        masks[f"vertebrae_T{level}"] = bone & ~masks["aorta"]
    return solids.segmentation(masks, solids.geometry(tuple(shape), spacing))


def _text(numbers: Measurements) -> str:
    return compose_report(interpret(numbers, patient=Patient(sex="M", age_years=70))).text


@pytest.mark.slow
@pytest.mark.parametrize(
    ("sac_mm", "beside_mm", "spacing"), [(70, 45, (4, 4, 4)), (60, 30, (2.5, 2.5, 5)), (46, 30, (3, 3, 3))]
)
def test_a_sac_at_one_side_is_measured(sac_mm: float, beside_mm: float, spacing: tuple[float, float, float]) -> None:
    found = measure_parts(_with_sac(sac_mm, beside_mm, spacing), "aorta")
    number = next(m for m in found.measurements if m.quantity == "descending_diameter")
    # a ball is no wider than the vessel; across both, the sac and the tube are wider than the sac
    assert sac_mm - 2.5 <= number.value <= beside_mm + sac_mm / 2 + 12.5 + max(spacing)


def test_a_large_sac_says_how_it_was_measured() -> None:
    numbers = measure_scan(None, _with_sac(70, 45))
    number = numbers.structure("aorta").measurement("descending_diameter")
    assert number.method == VESSEL_BALL and number.value == pytest.approx(70, abs=2.5)
    assert number.points_mm[0][2] == pytest.approx(130, abs=4)
    assert any("descending_diameter of aorta" in d.what for d in numbers.decisions)
    assert "Aneurysmal descending thoracic aorta" in _text(numbers).split("IMPRESSION")[1]


@pytest.mark.parametrize("reaches_sac", [True, False])
def test_a_sac_of_both_lumens_of_a_dissection_is_measured_by_its_ball(reaches_sac: bool) -> None:
    masks = _with_sac(70, 45)
    aorta, geometry = masks.mask("aorta"), masks.geometry
    k = np.argwhere(aorta)
    behind = np.zeros(geometry.shape, bool)
    low, high = (40, 220) if reaches_sac else (190, 236)
    of_tube = aorta & (abs(np.arange(geometry.shape[2]) * 4 - (low + high) / 2) < (high - low) / 2)
    behind[:, : int(np.median(k[:, 1])), :] = True
    split = {"aorta_true_lumen": aorta & ~(behind & of_tube), "aorta_false_lumen": aorta & behind & of_tube}
    both = solids.segmentation(split, geometry)
    (record,) = with_dissection(both, (measure_structure(both, "aorta_false_lumen", None),))
    told = {m.quantity: m for m in record.measurements}
    sac = told["diameter" if reaches_sac else "whole_diameter"]
    assert sac.value == pytest.approx(70, abs=2.5) and sac.method == VESSEL_BALL
    assert sac.region_id == told["diameter"].region_id == record.region.structure
    if not reaches_sac:
        assert told["diameter"].value == pytest.approx(25, abs=4)


def test_without_vertebrae_the_part_is_not_told() -> None:
    masks = _with_sac(70, 45)
    alone = solids.segmentation({"aorta": masks.mask("aorta")}, masks.geometry)
    numbers = measure_scan(None, alone)
    aorta = numbers.structure("aorta")
    assert aorta.measurement("diameter") is None
    assert aorta.measurement("whole_diameter").value == pytest.approx(70, abs=2.5)
    text = _text(numbers)
    assert re.search(r"Imaged aorta diameter (6\.[89]|7\.\d) cm, aneurysmal, part not told\.", text), text
    assert "1. Urgent: Aneurysmal imaged aorta, part not told" in text and "bdominal aorta diameter" not in text


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["straight", "oblique", "curved"])
@pytest.mark.parametrize("spacing", [(2.5, 2.5, 2.5), (2.0, 2.0, 4.0)])
def test_a_tube_without_a_sac_keeps_its_sections(kind: str, spacing: tuple[float, float, float]) -> None:
    mask = analytic.tube(kind, 11.0, spacing, np.random.default_rng(1))
    masks = solids.segmentation({"aorta": mask}, solids.geometry(mask.shape, spacing))
    sections, _ = vessel_sections(masks, "aorta")
    widest, thin = (Measurement("diameter", v, "given") for v in (max(s.largest_mm for s in sections), 1.0))
    depths = vessel_depths(masks, "aorta", sections)
    assert wider_ball(masks, "aorta", depths, range(len(sections)), widest) is None
    ball = wider_ball(masks, "aorta", depths, range(len(sections)), thin)
    assert 22 - max(spacing) <= ball.value <= 22.5

"""Contrast phase from medians; the cases are typical values of each phase and the borders between them."""

from __future__ import annotations

import pytest

from radvlm.quantify import estimate_phase
from radvlm.types.geometry import Box
from radvlm.types.measurement import Measurement
from radvlm.types.region import Region
from radvlm.types.scan_measurements import ENHANCED_PHASES, PHASE_OF_TIMING, StructureMeasurements
from radvlm.types.study import Study
from tests.made.contrast_flow import phase_cases


def records(voxels=1000, spread=None, **medians):
    """Records with these medians; half the interquartile range is that of ``spread``, else of a noisy organ."""
    found = []
    for name, value in medians.items():
        half = (spread or {}).get(name, 9.4)
        hu = {"median_hu": value, "p25_hu": value - half, "p75_hu": value + half}
        numbers = tuple(Measurement(q, v, "mask percentile", None, name) for q, v in hu.items())
        region = Region(name, name, Box((0, 0, 0), (10, 10, 10)), voxels, 1.0, (0, 0, 0))
        found.append(StructureMeasurements(name, region, numbers))
    return found


@pytest.mark.parametrize(
    ("medians", "name", "certain"),
    [
        ({"aorta": 43, "portal_vein": 38, "inferior_vena_cava": 39, "kidney_left": 14}, "non-contrast", True),
        ({"aorta": 28, "liver": 60}, "non-contrast", True),  # anemia
        ({"aorta": 320, "portal_vein_and_splenic_vein": 145, "inferior_vena_cava": 90, "liver": 80}, "arterial", True),
        ({"aorta": 350, "liver": 65}, "arterial", True),
        ({"aorta": 210, "portal_vein_and_splenic_vein": 145}, "arterial", False),
        ({"aorta": 160, "portal_vein_and_splenic_vein": 175, "liver": 110}, "portal venous", True),
        (
            {"aorta": 151, "portal_vein_and_splenic_vein": 133, "inferior_vena_cava": 94, "liver": 93},
            "portal venous",
            True,
        ),
        ({"aorta": 125, "portal_vein_and_splenic_vein": 130}, "portal venous", False),
        ({"aorta": 100, "portal_vein_and_splenic_vein": 104, "liver": 90}, "delayed", False),  # or half the dose
        ({"aorta": 98, "liver": 88}, "delayed", False),
        (
            {"aorta": 95, "portal_vein": 100, "inferior_vena_cava": 93, "iliac_vena_left": 88, "kidney_left": 150},
            "delayed",
            True,
        ),
        ({"aorta": 354, "liver": 60}, "arterial", True),
        ({"aorta": 354}, "arterial", True),
        ({"aorta": 40, "liver": 56, "pulmonary_artery": 420, "heart": 300}, "arterial", True),
        ({"aorta": 200, "pulmonary_artery": 420, "heart_ventricle_right": 400}, "arterial", True),
        ({"aorta": 42, "superior_vena_cava": 900, "liver": 55}, "unknown", False),
        ({"aorta": 42, "urinary_bladder": 300, "liver": 55}, "unknown", False),
        # the portal vein is thrombosed and fills with nothing; liver and spleen are those of a venous phase
        (
            {"aorta": 155, "portal_vein": 60, "liver": 112, "spleen": 120, "inferior_vena_cava": 125},
            "portal venous",
            False,
        ),
        ({"iliac_artery_left": 330, "iliac_vena_left": 45, "common_carotid_artery_left": 320}, "arterial", True),
        ({"common_carotid_artery_left": 150, "internal_jugular_vein_left": 155}, "portal venous", False),
        ({"aorta": 112, "portal_vein_and_splenic_vein": 115}, "delayed", False),
        ({"aorta": 80, "kidney_right": 130}, "delayed", False),
        ({"aorta": 78, "kidney_right": 40}, "non-contrast", False),
        ({"aorta": 78}, "unknown", False),
        # weak contrast in arteries and veins alike has long been mixed; in arteries alone it has not
        ({"aorta": 80, "inferior_vena_cava": 78, "iliac_vena_left": 76}, "delayed", False),
        ({"common_carotid_artery_left": 82, "internal_jugular_vein_left": 80}, "delayed", False),
        ({"aorta": 80, "iliac_vena_left": 45}, "unknown", False),
        # contrast, or the saline behind it, still runs in
        ({"aorta": 150, "superior_vena_cava": 600}, "arterial", False),
        ({"aorta": 150, "superior_vena_cava": 60}, "arterial", False),
        # a failing heart: arteries still dense when spleen and vena cava are those of a venous phase
        ({"aorta": 344, "liver": 71, "spleen": 200, "inferior_vena_cava": 215}, "arterial", False),
        # excretion that begins does not make a mixed phase
        (
            {"aorta": 165, "portal_vein": 160, "liver": 115, "kidney_left": 170, "renal_pelvis_left": 150},
            "portal venous",
            False,
        ),
        ({"aorta": 45, "portal_vein_and_splenic_vein": 140}, "unknown", False),
        ({"aorta": 200}, "unknown", False),
        ({"liver": 110, "spleen": 120}, "unknown", False),
        ({"heart": 40}, "non-contrast", False),
        ({"heart": 180, "liver": 100}, "unknown", False),
        ({}, "unknown", False),
    ],
)
def test_phases(medians, name, certain):
    phase, decisions = estimate_phase(records(**medians))
    assert (phase.name, phase.certain) == (name, certain)
    assert phase.reason and decisions[0].step == "phase"


def test_a_sliver_of_aorta_says_nothing():
    assert estimate_phase(records(voxels=20, aorta=43))[0].name == "unknown"


@pytest.mark.parametrize(
    ("medians", "timing"),
    [
        ({"aorta": 40, "pulmonary_artery": 420, "heart": 300}, "pulmonary arterial"),
        ({"aorta": 360, "portal_vein": 45, "liver": 58, "spleen": 80}, "early arterial"),
        ({"aorta": 330, "portal_vein": 130, "liver": 75, "spleen": 125}, "late arterial"),
        ({"aorta": 340, "liver": 65, "spleen": 100}, ""),
        ({"aorta": 160, "portal_vein": 175, "liver": 110, "spleen": 120}, ""),
        ({"aorta": 100, "portal_vein": 103, "liver": 88, "kidney_left": 160, "renal_pelvis_left": 700}, "excretory"),
    ],
)
def test_the_timing_is_said_more_finely_where_it_is_seen(medians, timing):
    phase, decisions = estimate_phase(records(**medians), Study(kvp=120))
    assert phase.certain and phase.timing == timing and PHASE_OF_TIMING[timing or phase.name] == phase.name
    assert (timing or phase.name) in decisions[0].what


def test_dense_urine_beside_early_vessels_is_mixed():
    split = {"aorta": 175, "portal_vein": 170, "liver": 115, "kidney_left": 190, "renal_pelvis_left": 800}
    phase, _ = estimate_phase(records(**split), Study(kvp=120))
    assert (phase.name, phase.timing, phase.certain) == ("unknown", "mixed", False)


def test_the_tube_voltage_counts():
    medians = {"aorta": 165, "portal_vein": 162, "liver": 110, "spleen": 125}
    assert estimate_phase(records(**medians), Study(kvp=120))[0].name == "portal venous"
    assert estimate_phase(records(**medians), Study(kvp=70))[0].name == "delayed"


@pytest.mark.parametrize(("delay_s", "certain"), [(None, True), (70.0, True), (20.0, False), (400.0, False)])
def test_the_time_after_the_injection_can_only_take_certainty_away(delay_s, certain):
    venous = records(aorta=160, portal_vein=175, liver=110, spleen=120)
    phase, _ = estimate_phase(venous, Study(kvp=120, contrast_delay_s=delay_s))
    assert (phase.name, phase.certain) == ("portal venous", certain)
    assert certain or f"{delay_s:.0f} s after the injection" in phase.reason


def test_a_scan_that_is_surely_enhanced_is_so_for_rules_of_every_enhanced_phase():
    assert estimate_phase(records(aorta=125, portal_vein=130, liver=100))[0].possible == ENHANCED_PHASES
    assert estimate_phase(records(aorta=80, liver=70))[0].possible == ()
    assert estimate_phase(records(aorta=43, liver=60))[0].possible == ("non-contrast",)


@pytest.mark.slow
def test_certain_is_earned_on_a_model_of_the_circulation():
    """Other patients, doses, tube voltages, masks, plain values: hardly a certain answer is wrong."""
    cases = phase_cases(3, 200)
    right = named = certain = wrong = 0
    for case in cases:
        spread = {"kidney_left": case.kidney_spread_hu}
        kvp = case.kvp if case.kvp_known else None
        phase, _ = estimate_phase(records(spread=spread, **case.medians_hu), Study(kvp=kvp))
        is_right = phase.name == PHASE_OF_TIMING[case.timing]
        named += phase.name != "unknown"
        right += is_right
        certain += phase.certain
        wrong += phase.certain and not is_right
    assert wrong <= 0.005 * len(cases)
    assert certain >= 0.4 * len(cases)
    assert right >= 0.92 * named >= 0.92 * 0.95 * len(cases)


@pytest.mark.parametrize(("agent", "warned"), [("Ultravist 370", True), ("", False), ("NONE", False), ("no", False)])
def test_header_that_contradicts(agent, warned):
    oral = Study(contrast_agent=agent, contrast_route="ORAL")
    assert not any(d.warning for d in estimate_phase(records(aorta=40, kidney_left=30), oral)[1])
    phase, decisions = estimate_phase(records(aorta=40, kidney_left=30), Study(contrast_agent=agent))
    assert any(d.warning for d in decisions) is warned
    assert phase.certain is not warned
    assert not any(d.warning for d in estimate_phase(records(aorta=160, liver=110), Study(contrast_agent=agent))[1])

"""Contrast phase from medians; the cases are typical values of each phase and the borders between them."""

from __future__ import annotations

import pytest

from radvlm.quantify import estimate_phase
from radvlm.types.geometry import Box
from radvlm.types.measurement import Measurement
from radvlm.types.region import Region
from radvlm.types.scan_measurements import StructureMeasurements


def records(voxels=1000, **medians):
    return [
        StructureMeasurements(
            name,
            Region(name, name, Box((0, 0, 0), (10, 10, 10)), voxels, 1.0, (0, 0, 0)),
            (Measurement("median_hu", value, "mask percentile", None, name),),
        )
        for name, value in medians.items()
    ]


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
        ({"aorta": 100, "portal_vein_and_splenic_vein": 104, "liver": 90}, "delayed", True),
        ({"aorta": 112, "portal_vein_and_splenic_vein": 115}, "delayed", False),
        ({"aorta": 80, "kidney_right": 130}, "delayed", False),
        ({"aorta": 78, "kidney_right": 40}, "non-contrast", False),
        ({"aorta": 78}, "unknown", False),
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


@pytest.mark.parametrize(("agent", "warned"), [("Ultravist 370", True), ("", False), ("NONE", False), ("no", False)])
def test_header_that_contradicts(agent, warned):
    phase, decisions = estimate_phase(records(aorta=40, kidney_left=30), agent)
    assert any(d.warning for d in decisions) is warned
    assert phase.certain is not warned
    assert not any(d.warning for d in estimate_phase(records(aorta=160, liver=110), agent)[1])

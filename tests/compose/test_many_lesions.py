"""The work of composing and of its proof grows with the number of lesions, not with its square: calls are counted."""

from __future__ import annotations

import sys
from types import FrameType

import pytest

import hand_made
from radvlm.compose import compose_report
from radvlm.interpret import interpret
from radvlm.types.scan_measurements import Measurements
from radvlm.types.study import Patient

KINDS = {
    "liver_lesion": ("liver", ("liver_segment_4",)),
    "kidney_cyst_left": ("kidney_left", ()),
    "lung_nodule": ("lung_left", ("lung_upper_lobe_left",)),
    "lymph_node": ("", ()),
    "bone_lesion": ("", ()),
    "pleural_effusion": ("", ("lung_left",)),
    "pancreas_tumor": ("pancreas", ("pancreas_head",)),
}


def _many(kind: str, count: int) -> Measurements:
    """Lesions of one kind, no two alike in size or attenuation."""
    host, where = KINDS[kind]
    lesions = [
        hand_made.lesion(
            kind,
            n,
            22 + n * 0.11,
            16 + n * 0.1,
            -20 + n * 0.7,
            host,
            where,
            level="vertebrae_L1",
            volume_ml=1 + n * 0.03,
        )
        for n in range(1, count + 1)
    ]
    organs = [hand_made.organ(name) for name in {kind, host, *where} - {""}]
    return hand_made.numbers(organs, lesions)


def _calls(numbers: Measurements) -> int:
    made = 0

    def count(frame: FrameType, event: str, argument: object) -> None:
        nonlocal made
        made += event == "call"

    before = sys.getprofile()
    sys.setprofile(count)
    try:
        compose_report(interpret(numbers, patient=Patient(sex="F", age_years=60)))
    finally:
        sys.setprofile(before)
    return made


@pytest.mark.parametrize("kind", KINDS)
def test_calls_grow_with_the_number_of_lesions(kind: str) -> None:
    _calls(_many(kind, 40))  # tables are read once
    few, some, many = (_calls(_many(kind, n)) for n in (25, 50, 100))
    assert many - some < 2.2 * (some - few), (few, some, many)

"""What masks say of a finding that has degrees, where the error of the number reaches the limit between them."""

from __future__ import annotations

from dataclasses import replace

import pytest

import hand_made
from radvlm.interpret import interpret
from radvlm.types.finding import Status
from radvlm.types.mask_verdict import masks_say
from radvlm.types.measurement import Measurement
from radvlm.types.study import Patient


@pytest.mark.parametrize(
    ("diameter", "error", "status"),
    [
        (20.0, 1.0, Status.ABSENT),
        (25.0, 2.0, Status.ABSENT),  # not dilated or ectatic: no aneurysm either way
        (27.0, 1.0, Status.ABSENT),
        (29.0, 2.0, Status.INDETERMINATE),  # ectatic or aneurysmal
        (27.0, 4.0, Status.INDETERMINATE),
        (34.0, 2.0, Status.PRESENT),
    ],
)
def test_an_aneurysm_is_open_where_its_limit_is_within_the_error(diameter, error, status) -> None:
    record = hand_made.organ("aorta", 90, 150)
    record = replace(
        record, measurements=(*record.measurements, Measurement("diameter", diameter, "given", error, "aorta"))
    )
    found = interpret(hand_made.numbers([record]), patient=Patient(sex="M", age_years=70))
    verdict = masks_say("aortic_aneurysm", "aorta", found)
    assert verdict is not None and verdict.status is status

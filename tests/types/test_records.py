"""Records come back from JSON as they were, and what is no record is refused."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

import pytest

from radvlm.errors import InputError
from radvlm.types.csv_tables import csv_text
from radvlm.types.finding import Status
from radvlm.types.geometry import Box
from radvlm.types.records import record_from


@dataclass(frozen=True)
class Part:
    box: Box
    weight: float


@dataclass(frozen=True)
class Whole:
    name: str
    parts: tuple[Part, ...]
    first: Part | None = None
    pair: tuple[int, float] = (0, 0.0)
    limits: Mapping[str, tuple[float, float]] = field(default_factory=dict)
    status: Status = Status.PRESENT
    other: Any = None


PART = Part(Box((0, 1, 2), (3, 4, 5)), 0.5)
WHOLE = Whole("w", (PART, PART), PART, (1, 2.0), {"a": (0.1, 0.2)}, Status.ABSENT, (("x", 1), ("y", 2)))


@pytest.mark.parametrize("whole", [WHOLE, Whole("w", ())])
def test_records_come_back(whole: Whole) -> None:
    assert record_from(Whole, json.loads(json.dumps(asdict(whole)))) == whole
    assert record_from(Whole, asdict(whole)) == whole


def test_a_whole_number_is_a_float_where_one_is_asked_for() -> None:
    read = record_from(Whole, {"name": "w", "parts": [], "pair": [1, 2]})
    assert [type(v) for v in read.pair] == [int, float]


@pytest.mark.parametrize(
    "wrong",
    [
        None,
        [],
        {"name": "w"},
        {"name": "w", "parts": "ab"},
        {"name": "w", "parts": ["ab"]},
        {"name": "w", "parts": [], "pair": [1]},
        {"name": "w", "parts": [], "nobody": 1},
        {"name": "w", "parts": [], "first": {"box": {"start": [0, 0, 0], "stop": [0, 1, 1]}, "weight": 1}},
    ],
)
def test_what_is_no_record_is_refused(wrong: Any) -> None:
    with pytest.raises((TypeError, ValueError, InputError)):
        record_from(Whole, wrong)


def test_unknown_fields_are_passed_over_where_that_is_asked_for() -> None:
    part = {**asdict(PART), "new": 1}
    assert record_from(Whole, {"name": "w", "parts": [part], "new": 2}, skip_unknown=True) == Whole("w", (PART,))


def test_a_table_without_rows_has_its_head() -> None:
    assert csv_text(("a", "b"), []) == "a,b\n"
    assert csv_text(("a", "b"), [{"a": 1, "b": None}]) == "a,b\n1,\n"

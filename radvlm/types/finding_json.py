"""Findings and regions as JSON holds them, and back. Words that a finding does not have are left out."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, fields
from typing import Any

from radvlm.types.finding import Assessment, Citable, Finding
from radvlm.types.records import record_from
from radvlm.types.report_schema1 import is_schema1, nested
from radvlm.types.urgency import Urgency

#: Fields that JSON leaves out where they are empty or false: those that few findings have.
_SELDOM = {f.name for kind in (Finding, Assessment) for f in fields(kind)} - {f.name for f in fields(Citable)}
_SELDOM = (_SELDOM | {"headline", "says_value"}) - {"locations", "confidence"}


def finding_to_dict(finding: Finding) -> dict[str, Any]:
    """The finding and its assessments as JSON stores them."""
    return {**_row(finding), "assessments": [_row(a) for a in finding.assessments]}


def findings_from_dicts(rows: Iterable[Mapping[str, Any]]) -> tuple[Finding, ...]:
    """Undo ``finding_to_dict`` of the findings of a report, also after JSON made lists of tuples; schema 1 is read."""
    held: Sequence[Mapping[str, Any]] = list(rows)
    if any(map(is_schema1, held)):
        held = nested(held)
    return tuple(record_from(Finding, row, skip_unknown=True) for row in held)


def _row(item: Citable) -> dict[str, Any]:
    row = _compact(asdict(item))
    return row if item.urgency is Urgency.NONE else {**row, "urgency": str(item.urgency)}


def _compact(data: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in data.items() if value or name not in _SELDOM}

"""Findings and regions as JSON holds them, and back. Words that a finding does not have are left out."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, fields
from typing import Any, TypeVar

from radvlm.types.finding import Assessment, Citable, Finding, RuleReference
from radvlm.types.geometry import Box
from radvlm.types.measurement import Measurement
from radvlm.types.region import Region
from radvlm.types.report_schema1 import is_schema1, nested

T = TypeVar("T", Finding, Assessment)
#: Fields that JSON leaves out where they are empty or false: those that few findings have.
_SELDOM = {f.name for kind in (Finding, Assessment) for f in fields(kind)} - {f.name for f in fields(Citable)}
_SELDOM = (_SELDOM | {"headline", "says_value"}) - {"locations", "confidence"}


def region_from_dict(data: Mapping[str, Any]) -> Region:
    """Undo ``asdict`` of a Region, also after JSON made lists of its tuples."""
    box = Box(tuple(data["box"]["start"]), tuple(data["box"]["stop"]))
    return Region(**{**_known(Region, data), "box": box})


def finding_to_dict(finding: Finding) -> dict[str, Any]:
    """The finding and its assessments as JSON stores them."""
    return {**_compact(asdict(finding)), "assessments": [_compact(asdict(a)) for a in finding.assessments]}


def findings_from_dicts(rows: Iterable[Mapping[str, Any]]) -> tuple[Finding, ...]:
    """Undo ``finding_to_dict`` of the findings of a report, also after JSON made lists of tuples; schema 1 is read."""
    held: Sequence[Mapping[str, Any]] = list(rows)
    if any(map(is_schema1, held)):
        held = nested(held)
    return tuple(
        _citable(Finding, row, assessments=tuple(_citable(Assessment, a) for a in row.get("assessments", ())))
        for row in held
    )


def _compact(data: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in data.items() if value or name not in _SELDOM}


def _citable(kind: type[T], data: Mapping[str, Any], **further: Any) -> T:
    values = _known(kind, data)
    values["regions"] = tuple(region_from_dict(r) for r in data["regions"])
    values["measurements"] = tuple(Measurement(**_known(Measurement, m)) for m in data["measurements"])
    values["rule"] = RuleReference(**data["rule"]) if data["rule"] else None
    return kind(**{**values, **further})


def _known(kind: type, data: Mapping[str, Any]) -> dict[str, Any]:
    names = {f.name for f in fields(kind)}
    return {key: _tuples(value) for key, value in data.items() if key in names}


def _tuples(value: Any) -> Any:
    return tuple(_tuples(v) for v in value) if isinstance(value, list) else value

"""Findings and regions as JSON holds them, and back. Words that a finding does not have are left out."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, fields
from typing import Any

from radvlm.types.finding import Finding, RuleReference
from radvlm.types.geometry import Box
from radvlm.types.measurement import Measurement
from radvlm.types.region import Region
from radvlm.types.report_schema1 import typed_finding

#: Fields that stand in JSON also when they are empty.
_ALWAYS = frozenset(
    (
        "id",
        "kind",
        "status",
        "site",
        "section",
        "regions",
        "measurements",
        "locations",
        "category",
        "rule",
        "reason",
        "source",
        "confidence",
        "importance",
    )
)


def _known(cls: type, data: Mapping[str, Any]) -> dict[str, Any]:
    names = {f.name for f in fields(cls)}
    return {key: value for key, value in data.items() if key in names}


def _tuples(value: Any) -> Any:
    return tuple(_tuples(v) for v in value) if isinstance(value, list) else value


def region_from_dict(data: Mapping[str, Any]) -> Region:
    """Undo ``asdict`` of a Region, also after JSON made lists of its tuples."""
    box = Box(tuple(data["box"]["start"]), tuple(data["box"]["stop"]))
    rest = {k: _tuples(v) for k, v in _known(Region, data).items() if k != "box"}
    return Region(box=box, **rest)


def finding_to_dict(finding: Finding) -> dict[str, Any]:
    """The finding as JSON stores it; words that it does not have are left out."""
    unsaid = {f.name for f in fields(Finding) if f.name not in _ALWAYS and getattr(finding, f.name) == f.default}
    return {name: value for name, value in asdict(finding).items() if name not in unsaid}


def finding_from_dict(row: Mapping[str, Any]) -> Finding:
    """Undo ``finding_to_dict`` or ``asdict`` of a Finding, also after JSON made lists of its tuples."""
    data = typed_finding(row)
    values = {k: _tuples(v) for k, v in _known(Finding, data).items()}
    values["regions"] = tuple(region_from_dict(r) for r in data["regions"])
    values["measurements"] = tuple(
        Measurement(**{k: _tuples(v) for k, v in _known(Measurement, m).items()}) for m in data["measurements"]
    )
    values["rule"] = RuleReference(**data["rule"]) if data["rule"] else None
    return Finding(**values)

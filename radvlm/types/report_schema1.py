"""Reports of schema 1, whose findings kept words as (name, value) pairs, read as reports of schema 2."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

#: Name of a pair -> field. ``subject`` and ``cut`` hold several values, and what is not listed is dropped.
_WORDS = {
    "host": "host",
    "pole": "pole",
    "level": "level",
    "attenuation": "attenuation",
    "phase": "phase",
    "scope": "scope",
    "headline": "headline",
    "reference": "reference",
    "because": "because",
    "lesion": "lesion_id",
    "finding": "model_term",
    "grounding": "grounding",
}
_FLAGS = {"stated": "says_value", "detail": "is_detail", "expected": "is_expected"}


def typed_finding(row: Mapping[str, Any]) -> dict[str, Any]:
    """A finding of schema 1 with fields for its pairs; one of schema 2 as it is."""
    data = dict(row)
    for name, value in data.pop("attributes", ()):
        if name == "subject":
            data["subjects"] = [*data.get("subjects", ()), value]
        elif name == "cut":
            data["cut_by"] = value.split()
        elif name in _FLAGS:
            data[_FLAGS[name]] = True
        elif name in _WORDS:
            data[_WORDS[name]] = value.replace("localised", "localized")
    return data

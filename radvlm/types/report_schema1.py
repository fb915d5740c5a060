"""Findings of schema 1 as those of schema 2: typed words, and assessments within the finding that they judge.

In schema 1 a finding kept words as (name, value) pairs, and an assessment was a finding that named the regions it
judged ("subject").
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

#: Name of a pair -> field. What is not listed is dropped.
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
    "finding": "model_term",
    "grounding": "grounding",
}
_FLAGS = {"stated": "says_value", "detail": "is_detail", "expected": "is_expected"}


def is_schema1(row: Mapping[str, Any]) -> bool:
    return "attributes" in row


def nested(rows: Iterable[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Findings of schema 1 as schema 2 holds them, in the same order and with the same ids."""
    held = list(rows)
    typed = {row["id"]: _typed(row) for row in held}
    by_region = {
        region["id"]: typed[row["id"]]
        for row in held
        for region in row["regions"]
        if row["kind"] in ("organ", region["structure"]) and row["source"] != "model"
    }
    tops = []
    for row in held:
        subjects = [v for k, v in row["attributes"] if k == "lesion"] or _subjects(row)
        judged = [by_region[name] for name in subjects if name in by_region]
        if not judged or row["status"] == "not assessed" or typed[row["id"]] in judged:
            tops.append(typed[row["id"]])
            continue
        twin = judged[1]["site"] if len(judged) == 2 else ""
        judged[0].setdefault("assessments", []).append({**typed[row["id"]], "twin": twin})
    return tops


def _subjects(row: Mapping[str, Any]) -> list[str]:
    return [value for name, value in row["attributes"] if name == "subject"]


def _typed(row: Mapping[str, Any]) -> dict[str, Any]:
    """The finding with fields for its pairs."""
    data = {name: value for name, value in row.items() if name != "attributes"}
    for name, value in row["attributes"]:
        if name == "cut":
            data["cut_by"] = value.split()
        elif name in _FLAGS:
            data[_FLAGS[name]] = True
        elif name in _WORDS:
            data[_WORDS[name]] = value.replace("localised", "localized")
    return data

"""Which errors matter: the table of clinical significance and tolerance, read from ``lexicon/significance.json``."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Any

from radvlm.errors import InputError

_SIGNIFICANT = ("urgent", "actionable")
TIERS = ("urgent", "actionable", "minor", "benign")


@dataclass(frozen=True)
class Significance:
    """The table: tier and source of every kind, tolerances of size and severity."""

    kinds: Mapping[str, Mapping[str, Any]]
    default: Mapping[str, Any]
    size: Mapping[str, Any]
    severity: Mapping[str, Any]
    change: tuple[str, ...]
    sources: Mapping[str, str]
    digest: str

    def tier(self, kind: str) -> str:
        return str(self.kinds.get(kind, self.default)["tier"])

    def source_id(self, kind: str) -> str:
        """Key in ``sources`` of what the tier of a kind rests on."""
        return str(self.kinds.get(kind, self.default)["source"])

    def source(self, kind: str) -> str:
        """Citation behind the tier of a kind."""
        return self.sources[self.kinds.get(kind, self.default)["source"]]

    def finding(self, kind: str, size_mm: float | None) -> bool:
        """Whether stating or missing this finding, of this size, is clinically significant."""
        row = self.kinds.get(kind, self.default)
        if size_mm is not None:
            if size_mm < row.get("benign_below_mm", 0):
                return False
            if size_mm >= row.get("significant_from_mm", float("inf")):
                return True
        return row["tier"] in _SIGNIFICANT

    def sizes_differ(self, a: float, b: float) -> bool:
        """Beyond what two readers of the same scan differ by."""
        return abs(a - b) > self.size["absolute_mm"] and abs(a - b) > self.size["relative"] * max(a, b)

    def size_matters(self, kind: str, a: float, b: float) -> bool:
        """Whether a difference in size changes management: large, or across a step of the finding's guideline."""
        row = self.kinds.get(kind, self.default)
        steps = any(min(a, b) < step <= max(a, b) for step in row.get("steps_mm", ()))
        large = abs(a - b) > 5 and abs(a - b) > 0.5 * min(a, b)
        return (steps or large) and self.finding(kind, max(a, b))


def load_significance(path: Path | None = None) -> Significance:
    """The built-in table, or a user's file of the same shape laid over it; InputError when it is not usable."""
    return _built_in() if path is None else _load(path)


@cache
def _built_in() -> Significance:
    return _load(None)


def _load(path: Path | None) -> Significance:
    text = files("radvlm.evaluate.metrics").joinpath("clinical_significance.json").read_text(encoding="utf-8")
    data = json.loads(text)
    if path is not None:
        try:
            extra = json.loads(Path(path).read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            raise InputError("a table of significance is a readable JSON file", f"{path}: {error}") from error
        for key, value in extra.items():
            data[key] = {**data.get(key, {}), **value} if isinstance(value, dict) else value
    for kind, row in data["kinds"].items():
        if row.get("tier") not in TIERS or row.get("source") not in data["sources"]:
            raise InputError(f"a kind has a tier ({', '.join(TIERS)}) and a listed source", f"{kind}: {row}")
    digest = hashlib.sha256(json.dumps(data, sort_keys=True).encode()).hexdigest()[:12]
    return Significance(
        data["kinds"],
        data["default"],
        data["size"],
        data["severity"],
        tuple(data["change"]["significant"]),
        data["sources"],
        digest,
    )

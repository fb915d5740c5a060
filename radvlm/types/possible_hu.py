"""The attenuation that a structure can have in a living patient: the table ``possible_hu.csv``.

The ranges hold disease and are far wider than normal; what lies outside is a misplaced or misnamed mask, or values that
are no Hounsfield units. What can hold gas or oral contrast (stomach, bowel) has no row: everything is possible there.
"""

from __future__ import annotations

from dataclasses import dataclass
from fnmatch import fnmatchcase
from functools import cache

from radvlm.types.csv_tables import package_rows


@dataclass(frozen=True)
class PossibleHu:
    """One row.

    Attributes:
        structures: names, ``*`` standing for anything.
        phase: contrast phase that it holds for, "" for any.
        low, high: limits of the median, HU, both possible.
        basis: ``looked up`` on a public page, ``physics`` of air, fat, water, calcium, iodine and metal, or a
            ``convention``.
        source: where the extremes come from.
        checked: day and address of what was looked up, else "".
    """

    structures: tuple[str, ...]
    phase: str
    low: float
    high: float
    basis: str
    source: str
    checked: str

    def holds(self, median_hu: float) -> bool:
        return self.low <= median_hu <= self.high


@cache
def possible_hu_table() -> tuple[PossibleHu, ...]:
    """Every row, in order."""
    rows = package_rows("radvlm.types", "possible_hu.csv")
    return tuple(
        PossibleHu(
            tuple(row["structures"].split()),
            row["phase"],
            float(row["low"]),
            float(row["high"]),
            row["basis"],
            row["source"],
            row["checked"],
        )
        for row in rows
    )


@cache
def possible_hu(structure_name: str, phase: str = "") -> PossibleHu | None:
    """The first row for a structure, of no phase or of the one given; None where anything is possible."""
    return next(
        (
            row
            for row in possible_hu_table()
            if row.phase == phase and any(fnmatchcase(structure_name, pattern) for pattern in row.structures)
        ),
        None,
    )

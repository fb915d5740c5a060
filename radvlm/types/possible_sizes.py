"""The sizes that a structure can have in a person: the table ``possible_sizes.csv``.

The bounds hold disease and are far beyond normal; what is larger is a label of something else, mostly because the
numbers were read by another scheme.
"""

from __future__ import annotations

from dataclasses import dataclass
from fnmatch import fnmatchcase
from functools import cache

from radvlm.types.csv_tables import package_rows


@dataclass(frozen=True)
class PossibleSize:
    """One row: names (``*`` stands for anything), largest volume and length (None: no limit), and their source.

    ``basis`` is ``looked up`` (on the page of ``checked``) or ``convention``.
    """

    structures: tuple[str, ...]
    most_ml: float | None
    most_mm: float | None
    basis: str
    source: str
    checked: str


@cache
def possible_size_table() -> tuple[PossibleSize, ...]:
    """Every row, in order."""
    rows = package_rows("radvlm.types", "possible_sizes.csv")
    return tuple(
        PossibleSize(
            tuple(row["structures"].split()),
            _limit(row["most_ml"]),
            _limit(row["most_mm"]),
            row["basis"],
            row["source"],
            row["checked"],
        )
        for row in rows
    )


@cache
def possible_size(structure_name: str) -> PossibleSize | None:
    """The first row for a structure; None where it has no limits."""
    return next(
        (
            row
            for row in possible_size_table()
            if any(fnmatchcase(structure_name, pattern) for pattern in row.structures)
        ),
        None,
    )


def _limit(text: str) -> float | None:
    return float(text) if text else None

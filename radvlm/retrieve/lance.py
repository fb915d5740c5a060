"""LanceDB behind the search: rows on disk in columns, filtered before the search, for more than one folder should hold.

Exact (LanceDB scans) until ``create_index`` is called on the table; conditions are SQL that LanceDB applies before
the search (``prefilter``). Needs the extra ``lance``.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any

import numpy as np

from radvlm.errors import InputError
from radvlm.files.optional import importing
from radvlm.retrieve.external_store import Conditions, StoredRow

_FIELDS = tuple(f.name for f in fields(StoredRow))
#: Hits of a search; related rows are read in pages of this size.
_PAGE = 500


class LanceStore:
    """One table of a LanceDB folder; see ``VectorStore``."""

    def __init__(self, folder: str | Path, dimension: int, table: str = "rows") -> None:
        with importing("lancedb", "LanceStore needs LanceDB"):
            import lancedb
            import pyarrow
        self.dimension = dimension
        schema = pyarrow.schema(
            [
                *(pyarrow.field(name, pyarrow.string()) for name in _FIELDS),
                pyarrow.field("vector", pyarrow.list_(pyarrow.float32(), dimension)),
            ]
        )
        self._table: Any = lancedb.connect(str(folder)).create_table(table, schema=schema, exist_ok=True)
        self._schema = schema

    def add(self, rows: Sequence[StoredRow], vectors: np.ndarray) -> None:
        """Append; InputError for an id that is there already or a wrong shape."""
        import pyarrow

        if vectors.shape != (len(rows), self.dimension):
            raise InputError(f"vectors have shape ({len(rows)}, {self.dimension})", str(vectors.shape))
        ids = [r.id for r in rows]
        if len(set(ids)) != len(ids) or any(
            self._table.count_rows(f"id IN ({_texts(ids[i : i + _PAGE])})") for i in range(0, len(ids), _PAGE)
        ):
            raise InputError("ids of rows are unique in a store", "a repeated id")
        columns: list[Any] = [pyarrow.array([asdict(r)[name] for r in rows], pyarrow.string()) for name in _FIELDS]
        flat = pyarrow.array(np.ascontiguousarray(vectors, np.float32).ravel())
        columns.append(pyarrow.FixedSizeListArray.from_arrays(flat, self.dimension))
        self._table.add(pyarrow.Table.from_arrays(columns, schema=self._schema))

    def search(self, vector: np.ndarray, k: int, conditions: Conditions) -> list[tuple[StoredRow, float, np.ndarray]]:
        """Nearest rows among those that fulfil the conditions; score = inner product of unit vectors."""
        found = (
            self._table.search(np.asarray(vector, np.float32))
            .distance_type("dot")
            .where(_sql(conditions), prefilter=True)
            .limit(k)
            .to_list()
        )
        rows = [
            (
                StoredRow(**{n: row[n] for n in _FIELDS}),
                1.0 - float(row["_distance"]),
                np.asarray(row["vector"], np.float32),
            )
            for row in found
        ]
        return sorted(rows, key=lambda r: (-r[1], r[0].id))

    def count(self, conditions: Conditions) -> int:
        return int(self._table.count_rows(_sql(conditions)))

    def related(self, patients: Sequence[str], studies: Sequence[str]) -> tuple[set[str], set[str], set[str]]:
        """See ``VectorStore``."""
        names, keys, groups = set(patients), set(patients), set()
        if studies:
            names |= {r["patient"] for r in self._select(f"study IN ({_texts(studies)})")}
        known = -1
        while known < len(names) + len(keys):
            known = len(names) + len(keys)
            parts = [f"{c} IN ({_texts(v)})" for c, v in (("patient", names), ("patient_key", keys)) if v]
            mine = self._select(" OR ".join(parts)) if parts else []
            names |= {r["patient"] for r in mine}
            keys |= {r["patient_key"] for r in mine if r["patient_key"]}
            groups |= {r["copies"] for r in mine}
        return names, keys, groups

    def remove(self, records: Sequence[str]) -> None:
        if records:
            self._table.delete(f"record IN ({_texts(records)})")

    def _select(self, where: str) -> list[dict[str, str]]:
        found = (
            self._table.search()
            .where(where)
            .select(["patient", "patient_key", "copies"])
            .limit(self._table.count_rows())
        )
        return [{name: r[name] for name in ("patient", "patient_key", "copies")} for r in found.to_list()]


def _texts(values: Iterable[str]) -> str:
    return ", ".join("'" + v.replace("'", "''") + "'" for v in sorted(values)) or "''"


def _sql(conditions: Conditions) -> str:
    c = conditions
    parts = [f"level = '{c.level}'"]
    for column, values in (("patient", c.patients), ("patient_key", c.patient_keys), ("copies", c.groups)):
        if values:
            parts.append(f"{column} NOT IN ({_texts(values)})")
    if c.before_date:
        parts += ["date != ''", f"date < {_texts([c.before_date])}"]
    parts += [f"{column} = {_texts([value])}" for column, value in c.equal]
    return " AND ".join(parts)

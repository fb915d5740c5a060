"""One immutable part of an index: records and texts in SQLite, columns for filtering, vectors by level.

The columns that a search filters by are also kept as small arrays of codes, mapped from disk, because a mask over a
million rows is then a few array comparisons; SQLite (opened as immutable, so readers never wait) holds the text and
what the codes mean.
"""

from __future__ import annotations

import json
import re
import sqlite3
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np

from radvlm.errors import FileFormatError
from radvlm.retrieve.duplicates import PERMUTATIONS, signature
from radvlm.retrieve.index_kind import choose
from radvlm.retrieve.records import Entry, Record, check_date
from radvlm.retrieve.search_options import SearchOptions
from radvlm.retrieve.storage import check_files
from radvlm.retrieve.transform import Transform
from radvlm.retrieve.vector_files import BLOCK, Shelf, open_shelf, write_shelf

RECORD_FIELDS = tuple(f.name for f in fields(Record))
#: Columns kept as codes; ``date`` is YYYYMMDD itself, -1 where it is not known.
CODED = ("patient", "patient_key", "study", "split", "region", "site", "phase", "kind")
RECORD_TYPE = np.dtype([*((name, "<i4") for name in CODED), ("date", "<i4")])
ROW_TYPE = np.dtype([("record", "<i4"), ("section", "<i4"), ("organ", "<i4")])
MODALITY = {"image": "image", "report": "text", "paragraph": "text", "sentence": "text"}


@dataclass(frozen=True, slots=True)
class Row:
    """One row of a level: the position of its record in the segment, and what was embedded."""

    record: int
    entry: Entry


class _Codes:
    """Texts to numbers, "" always 0."""

    def __init__(self) -> None:
        self.known: dict[str, dict[str, int]] = {}

    def __call__(self, field: str, value: str) -> int:
        table = self.known.setdefault(field, {"": 0})
        return table.setdefault(value, len(table))


def write_catalog(folder: Path, records: Sequence[Record], rows: Mapping[str, Sequence[Row]]) -> None:
    """catalog.sqlite, records.npy, signatures.npy and <level>.rows.npy of a segment that is being staged."""
    codes = _Codes()
    columns = np.zeros(len(records), RECORD_TYPE)
    signatures = np.zeros((len(records), PERMUTATIONS), np.uint32)
    for i, record in enumerate(records):
        columns[i] = (*(codes(f, getattr(record, f)) for f in CODED), check_date(record.date) if record.date else -1)
        signatures[i] = signature(record.text)
    np.save(folder / "records.npy", columns)
    np.save(folder / "signatures.npy", signatures)
    for level, members in rows.items():
        table = np.zeros(len(members), ROW_TYPE)
        for i, row in enumerate(members):
            table[i] = (row.record, codes("section", row.entry.section), codes("organ", row.entry.organ))
        np.save(folder / f"{level}.rows.npy", table)
    columns_sql = ", ".join(f"{name} TEXT NOT NULL" for name in RECORD_FIELDS)
    base = sqlite3.connect(folder / "catalog.sqlite")
    try:
        base.executescript(
            "PRAGMA journal_mode=OFF; PRAGMA synchronous=OFF;"
            f"CREATE TABLE records(position INTEGER PRIMARY KEY, {columns_sql},"
            " report_hash TEXT NOT NULL);"
            "CREATE TABLE rows(level TEXT, row INTEGER, text TEXT NOT NULL, section TEXT, organ TEXT, record INTEGER,"
            " PRIMARY KEY(level, row)) WITHOUT ROWID;"
            "CREATE TABLE codes(field TEXT, value TEXT, code INTEGER, PRIMARY KEY(field, value)) WITHOUT ROWID;"
            "CREATE UNIQUE INDEX code_value ON codes(field, code);"
        )
        base.executemany(
            f"INSERT INTO records VALUES ({','.join('?' * (len(RECORD_FIELDS) + 2))})",
            ((i, *(getattr(r, n) for n in RECORD_FIELDS), r.report_hash) for i, r in enumerate(records)),
        )
        base.executemany(
            "INSERT INTO rows VALUES (?,?,?,?,?,?)",
            (
                (level, i, row.entry.text, row.entry.section, row.entry.organ, row.record)
                for level, members in rows.items()
                for i, row in enumerate(members)
            ),
        )
        base.executemany(
            "INSERT INTO codes VALUES (?,?,?)",
            ((f, v, c) for f, table in codes.known.items() for v, c in table.items()),
        )
        base.executescript(
            "CREATE UNIQUE INDEX record_id ON records(id); CREATE INDEX record_study ON records(study);"
            "CREATE INDEX record_patient ON records(patient);"
        )
        base.commit()
    finally:
        base.close()


def write_vectors(
    folder: Path, raw: Mapping[str, np.ndarray], transform: Transform, kind: str, recall_target: float, seed: int
) -> dict[str, Any]:
    """The searchable vectors of each level from its raw unit vectors; facts by level for the manifest."""
    facts = {}
    for level, vectors in raw.items():
        plan = choose(len(vectors), vectors.shape[1], kind)

        def blocks(vectors: np.ndarray = vectors, level: str = level) -> Iterator[np.ndarray]:
            for start in range(0, len(vectors), BLOCK):
                yield transform.apply(np.asarray(vectors[start : start + BLOCK], np.float32), MODALITY[level])

        facts[level] = write_shelf(folder, level, blocks(), len(vectors), plan, recall_target, seed)
    return facts


class Segment:
    """An open segment; see the module. Safe to read from several threads and processes."""

    def __init__(self, folder: Path, dimension: int) -> None:
        try:
            self.facts = json.loads((folder / "segment.json").read_text(encoding="utf-8"))
        except (OSError, json.JSONDecodeError) as error:
            raise FileFormatError(
                "a segment of an index has a segment.json",
                f"{folder.name}: {error}",
                "Restore the folder from a copy, or build the index again",
            ) from error
        check_files(folder, self.facts["files"])
        self.name = folder.name
        self.folder = folder
        self.records: np.ndarray = np.load(folder / "records.npy", mmap_mode="r", allow_pickle=False)
        self.levels = tuple(self.facts["levels"])
        self.rows: dict[str, np.ndarray] = {
            level: np.load(folder / f"{level}.rows.npy", mmap_mode="r", allow_pickle=False) for level in self.levels
        }
        self.shelves: dict[str, Shelf] = {
            level: open_shelf(folder, level, facts, dimension) for level, facts in self.facts["levels"].items()
        }
        uri = f"{(folder / 'catalog.sqlite').resolve().as_uri()}?immutable=1"
        self._base = sqlite3.connect(uri, uri=True, check_same_thread=False)
        try:
            self._base.execute("SELECT 1 FROM codes").fetchone()  # opens the file now: a writer may sweep it later
        except sqlite3.Error:
            self._base.close()
            raise

    def close(self) -> None:
        self._base.close()

    def raw(self, level: str) -> np.ndarray:
        """(N, D) unit vectors before the transform, float16 or float32."""
        return np.load(self.folder / f"{level}.raw.npy", mmap_mode="r", allow_pickle=False)

    def signatures(self) -> np.ndarray:
        return np.load(self.folder / "signatures.npy", mmap_mode="r", allow_pickle=False)

    def code(self, field: str, value: str) -> int:
        """Code of a value; -2, which no row has, for one that the segment does not know."""
        found = self._base.execute("SELECT code FROM codes WHERE field=? AND value=?", (field, value)).fetchone()
        return -2 if found is None else int(found[0])

    def values(self, field: str) -> set[str]:
        return {v for (v,) in self._base.execute("SELECT value FROM codes WHERE field=?", (field,)) if v}

    def names(self, field: str, codes: Iterable[int]) -> set[str]:
        """The values of some codes, without ""."""
        found = (
            self._base.execute("SELECT value FROM codes WHERE field=? AND code=?", (field, int(c))).fetchone()
            for c in codes
            if c
        )
        return {row[0] for row in found if row}

    def column(self, what: str) -> list[str]:
        """One column of all records, in order."""
        return [v for (v,) in self._base.execute(f"SELECT {what} FROM records ORDER BY position")]

    def record(self, position: int) -> tuple[Record, str]:
        """A record and its report hash."""
        row = self._base.execute("SELECT * FROM records WHERE position=?", (int(position),)).fetchone()
        return Record(**dict(zip(RECORD_FIELDS, row[1:-1], strict=True))), row[-1]

    def text_of(self, position: int) -> str:
        return str(self._base.execute("SELECT text FROM records WHERE position=?", (int(position),)).fetchone()[0])

    def row(self, level: str, row: int) -> Row:
        text, section, organ, record = self._base.execute(
            "SELECT text, section, organ, record FROM rows WHERE level=? AND row=?", (level, int(row))
        ).fetchone()
        return Row(record, Entry(level, text, section, organ))

    def all_rows(self, level: str) -> Iterator[Row]:
        for text, section, organ, record in self._base.execute(
            "SELECT text, section, organ, record FROM rows WHERE level=? ORDER BY row", (level,)
        ):
            yield Row(record, Entry(level, text, section, organ))

    def positions(self, field: str, values: Iterable[str]) -> np.ndarray:
        """Positions of the records whose coded field has one of the values."""
        codes = [c for c in (self.code(field, v) for v in values if v) if c > 0]
        return np.flatnonzero(np.isin(self.records[field], codes)) if codes else np.empty(0, np.int64)

    def allowed(
        self,
        level: str,
        options: SearchOptions,
        refused: Sequence[tuple[str, np.ndarray]],
        count: Callable[[str, int], None],
    ) -> np.ndarray:
        """(rows of the level,) bool: what may be found.

        Args:
            refused: (reason, mask of records) that were settled across segments: patients, duplicates, removed ones.
            count: told how many further records each reason leaves out.
        """
        ok = np.ones(len(self.records), dtype=bool)

        def leave_out(reason: str, mask: np.ndarray) -> None:
            fewer = ok & mask
            if fewer.any():
                count(reason, int(np.count_nonzero(fewer)))
                ok[fewer] = False

        for reason, mask in refused:
            leave_out(reason, mask)
        if options.before_date:
            dates = self.records["date"]
            leave_out("no date", dates < 0)
            leave_out("not before the date", dates >= check_date(options.before_date))
        for field, value in (("split", options.split), ("site", options.site)):
            if value:
                leave_out(f"another {field}", self.records[field] != self.code(field, value))
        if options.body_regions:
            wanted = {r.lower() for r in options.body_regions}
            fit = [v for v in self.values("region") if wanted & set(re.findall(r"[a-z]+", v.lower()))]
            codes = [self.code("region", v) for v in fit]
            leave_out("another body region", ~np.isin(self.records["region"], [0, *codes]))
        for field in ("phase", "kind"):
            value = getattr(options.context, field, "")
            if value:
                leave_out(f"another {field}", ~np.isin(self.records[field], [0, self.code(field, value)]))
        if level not in self.rows:
            return np.zeros(0, dtype=bool)
        rows = self.rows[level]
        mask = ok[rows["record"]]
        for field, value in (("section", options.section), ("organ", options.organ)):
            if value:
                mask &= rows[field] == self.code(field, value)
        if options.region:
            named = (rows["section"] == self.code("section", options.region)) | (
                rows["organ"] == self.code("organ", options.region)
            )
            named |= (self.records["region"] == self.code("region", options.region))[rows["record"]]
            mask &= named
        return mask

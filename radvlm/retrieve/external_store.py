"""Another engine behind the same search: a small protocol for those who outgrow one folder.

The protocol speaks of conditions, not of row numbers, because that is what a database can apply before its
nearest-neighbor search; an engine that could only filter afterwards must not implement it. ``ArrayStore`` is the
reference that every engine is tested against; ``lance.LanceStore`` stands on LanceDB.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from radvlm.errors import InputError, VerificationError
from radvlm.retrieve.embedder import unit_vectors
from radvlm.retrieve.index import ReportIndex
from radvlm.retrieve.result import Hit, SearchResult
from radvlm.retrieve.score_calibration import z_scores
from radvlm.retrieve.search_options import SearchOptions
from radvlm.types.provenance import Decision

_PAGE = 4096


@dataclass(frozen=True)
class StoredRow:
    """One row of a store: where a search filters, and what a hit shows. ``copies`` numbers copies of one report."""

    id: str
    record: str
    patient: str
    patient_key: str
    study: str
    copies: str
    level: str
    section: str
    organ: str
    text: str
    date: str
    site: str
    split: str
    region: str
    volume: str
    report_hash: str


@dataclass(frozen=True)
class Conditions:
    """What may be found, settled: every patient, key and group that is out, and what must be equal.

    ``before_date`` compares YYYY-MM-DD texts; "" as a date never passes it.
    """

    level: str
    patients: frozenset[str] = frozenset()
    patient_keys: frozenset[str] = frozenset()
    groups: frozenset[str] = frozenset()
    before_date: str = ""
    equal: tuple[tuple[str, str], ...] = ()


class VectorStore(Protocol):
    """What an engine must do. ``search`` applies the conditions before it looks for neighbors."""

    def add(self, rows: Sequence[StoredRow], vectors: np.ndarray) -> None: ...
    def search(
        self, vector: np.ndarray, k: int, conditions: Conditions
    ) -> list[tuple[StoredRow, float, np.ndarray]]: ...
    def count(self, conditions: Conditions) -> int: ...
    def related(self, patients: Sequence[str], studies: Sequence[str]) -> tuple[set[str], set[str], set[str]]:
        """(patients, patient keys, groups) of all records of these patients, of patients with these keys, and of the
        patients of these studies."""
        ...

    def remove(self, records: Sequence[str]) -> None: ...


class ArrayStore:
    """In memory, exact; the reference."""

    def __init__(self) -> None:
        self.rows: list[StoredRow] = []
        self.vectors: np.ndarray | None = None

    def add(self, rows: Sequence[StoredRow], vectors: np.ndarray) -> None:
        known = {r.id for r in self.rows}
        if len({r.id for r in rows}) != len(rows) or known & {r.id for r in rows}:
            raise InputError("ids of rows are unique in a store", "a repeated id")
        self.rows += rows
        self.vectors = vectors if self.vectors is None else np.concatenate([self.vectors, vectors])

    def _allowed(self, conditions: Conditions) -> np.ndarray:
        c = conditions
        return np.array(
            [
                r.level == c.level
                and r.patient not in c.patients
                and r.patient_key not in c.patient_keys
                and r.copies not in c.groups
                and (not c.before_date or "" < r.date < c.before_date)
                and all(getattr(r, f) == v for f, v in c.equal)
                for r in self.rows
            ],
            dtype=bool,
        )

    def search(self, vector: np.ndarray, k: int, conditions: Conditions) -> list[tuple[StoredRow, float, np.ndarray]]:
        rows = np.flatnonzero(self._allowed(conditions))
        if self.vectors is None or not len(rows):
            return []
        scores = self.vectors[rows] @ vector
        order = np.lexsort((rows, -scores))[:k]
        return [(self.rows[rows[o]], float(scores[o]), self.vectors[rows[o]]) for o in order]

    def count(self, conditions: Conditions) -> int:
        return int(np.count_nonzero(self._allowed(conditions)))

    def related(self, patients: Sequence[str], studies: Sequence[str]) -> tuple[set[str], set[str], set[str]]:
        names, keys = set(patients), set(patients)
        names |= {r.patient for r in self.rows if r.study in studies}
        known = -1
        while known < len(names) + len(keys):
            known = len(names) + len(keys)
            mine = [r for r in self.rows if r.patient in names or (r.patient_key and r.patient_key in keys)]
            names |= {r.patient for r in mine}
            keys |= {r.patient_key for r in mine if r.patient_key}
        return names, keys, {r.copies for r in mine}

    def remove(self, records: Sequence[str]) -> None:
        keep = np.array([r.record not in set(records) for r in self.rows], dtype=bool)
        self.rows = [r for r, k in zip(self.rows, keep, strict=True) if k]
        self.vectors = None if self.vectors is None else self.vectors[keep]


class StoreIndex:
    """Searches a store with the transform, the encoder and the leak rules of the index it was filled from."""

    def __init__(self, store: VectorStore, index: ReportIndex) -> None:
        self.store, self.index = store, index

    @classmethod
    def fill(cls, store: VectorStore, index: ReportIndex) -> StoreIndex:
        """Copy every row of an index that can be found into an empty store."""
        for i, segment in enumerate(index.segments):
            span = index.held.span(i)
            live, group = ~index.removed[span], index.duplicate_group[span]
            for level in segment.levels:
                kept = np.flatnonzero(live[segment.rows[level]["record"]])
                for start in range(0, len(kept), _PAGE):
                    page = kept[start : start + _PAGE]
                    rows = []
                    for row in page:
                        found = segment.row(level, int(row))
                        record, report_hash = segment.record(found.record)
                        rows.append(
                            StoredRow(
                                f"{record.id}/{level}/{row}",
                                record.id,
                                record.patient,
                                record.patient_key,
                                record.study,
                                str(group[found.record]),
                                level,
                                found.entry.section,
                                found.entry.organ,
                                found.entry.text,
                                record.date,
                                record.site,
                                record.split,
                                record.region,
                                record.volume,
                                report_hash,
                            )
                        )
                    store.add(rows, np.array(segment.shelves[level].matrix[page]))
        return cls(store, index)

    def search(self, query: Any, k: int = 8, options: SearchOptions | None = None) -> SearchResult:
        """As ``ReportIndex.search``, answered by the store; region, context and evaluation are not for a store."""
        options = options or SearchOptions()
        if options.region or options.context is not None or options.evaluation:
            raise InputError("a store filters by split, section, organ, site and date", "region, context or evaluation")
        decisions: list[Decision] = []
        patients, studies = self.index.whose(query, options)
        vector, modality = self.index.vector_of(query, options.modality)
        level = self.index.level_for(query, options, decisions)
        unit = self.index.transform.apply(unit_vectors(vector[None, :], 1, self.index.dimension), modality)[0]
        names, keys, groups = self.store.related(patients, studies) if patients or studies else (set(), set(), set())
        equal = tuple((f, v) for f in ("split", "section", "organ", "site") if (v := getattr(options, f)))
        conditions = Conditions(level, frozenset(names), frozenset(keys), frozenset(groups), options.before_date, equal)
        found = self.store.search(unit, k, conditions)
        background = np.array([s for _, s, _ in self.store.search(unit, 1024, conditions)], np.float32)
        z: list[Any] = (
            z_scores([s for _, s, _ in found], background)
            if self.store.count(conditions) <= 1024
            else [None] * len(found)
        )
        hits = []
        for n, ((row, score, stored), above) in enumerate(zip(found, z, strict=True), 1):
            if row.patient in names or row.patient_key in keys or row.copies in groups:
                raise VerificationError("no hit is of an excluded record", row.id, "This store filters too late")
            hits.append(
                Hit(
                    row.id,
                    row.record,
                    row.patient,
                    row.study,
                    level,
                    row.section,
                    row.organ,
                    row.text,
                    score,
                    above,
                    n,
                    row.date,
                    row.site,
                    row.split,
                    row.region,
                    row.volume,
                    row.report_hash,
                    stored,
                )
            )
        total = self.store.count(conditions)
        left_out = {"not allowed": self.store.count(Conditions(level)) - total}
        return SearchResult(tuple(hits), self.index.digest, level, total, left_out, tuple(decisions))

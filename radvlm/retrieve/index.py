"""``ReportIndex``: prior reports, their organ paragraphs, sentences and scans, searchable without leaks.

A search must know whose scan is asked about. It takes the patient from the scan's own header where the index can
match it, from ``exclude_patient`` otherwise, and refuses to guess. Exclusion happens inside the nearest-neighbor
search (``vector_files``), reaches copies of the patient's reports under other names (``duplicates``), and is checked
again before a hit leaves. An open index never changes: ``add``, ``remove``, ``rebuild`` write a new generation and
return it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np

from radvlm.errors import InputError, VerificationError
from radvlm.retrieve import build, storage
from radvlm.retrieve.embedder import Embedder, HashedText, unit_vectors
from radvlm.retrieve.generation import Generation
from radvlm.retrieve.records import Record
from radvlm.retrieve.result import Hit, SearchResult
from radvlm.retrieve.score_calibration import BACKGROUND, background_rows, z_scores
from radvlm.retrieve.search_options import SearchOptions
from radvlm.retrieve.settings import IndexSettings
from radvlm.types.anatomy import SECTIONS, structures
from radvlm.types.provenance import Decision

#: Split of the records that an evaluation may draw from.
TRAINING_SPLIT = "train"


class ReportIndex:
    """One generation of an index, open for reading; made by ``build`` and ``load``, closed by ``close`` or ``with``.

    Example:
        >>> from tempfile import TemporaryDirectory
        >>> from radvlm.retrieve import HashedText, Record, ReportIndex, SearchOptions
        >>> prior = [Record("P0", "S0", "Liver metastasis."), Record("P1", "S1", "5 mm stone in the right kidney.")]
        >>> with TemporaryDirectory() as folder, ReportIndex.build(prior, HashedText(), folder + "/index") as index:
        ...     [hit.text for hit in index.search("renal stone", options=SearchOptions(exclude_patient="P0")).hits]
        ['5 mm stone in the right kidney.']
    """

    def __init__(self, held: Generation, embedder: Embedder | None = None) -> None:
        """Search an open generation; use ``load``."""
        self.held = held
        self.folder, self.generation, self.manifest, self.digest = held.folder, held.name, held.manifest, held.digest
        self.dimension, self.transform, self.segments = held.dimension, held.transform, held.segments
        self.removed, self.duplicate_group = held.removed, held.duplicate_group
        self.embedder = self._checked(embedder)

    # -- opening and closing --------------------------------------------------------------------------------------

    @classmethod
    def load(cls, folder: str | Path, embedder: Embedder | None = None) -> ReportIndex:
        """Open the current generation by mapping its files (milliseconds, also for gigabytes).

        Raises FileFormatError when it is damaged, InputError when ``embedder`` is not the one it was built with.
        """
        return cls(Generation.current(Path(folder)), embedder)

    def close(self) -> None:
        self.held.close()

    def __enter__(self) -> ReportIndex:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _checked(self, embedder: Embedder | None) -> Embedder | None:
        encoder = self.manifest["encoder"]
        if embedder is None:
            own = HashedText(self.dimension) if self.dimension else None
            return (
                own if own is not None and own.encoder_id == encoder["id"] and own.digest == encoder["digest"] else None
            )
        build.check_encoder(embedder, encoder)
        return embedder

    def with_embedder(self, embedder: Embedder) -> ReportIndex:
        """The same generation with an encoder for queries; InputError for another one than it was built with."""
        return ReportIndex(Generation(self.folder, self.generation, self.manifest, self.digest), embedder)

    # -- what it holds ------------------------------------------------------------------------------------------------

    def __len__(self) -> int:
        """Records that can be found."""
        return len(self.held)

    @property
    def levels(self) -> tuple[str, ...]:
        return self.held.levels

    @property
    def settings(self) -> IndexSettings:
        return self.held.settings

    def counts(self) -> dict[str, int]:
        """Rows by level that can be found."""
        return self.held.counts()

    def duplicates(self) -> list[tuple[str, ...]]:
        """Groups of record ids that are one report, exactly or nearly; removed ones left out."""
        return self.held.duplicates()

    # -- writing -------------------------------------------------------------------------------------------------------

    @classmethod
    def build(
        cls,
        records: Iterable[Record],
        embedder: Embedder,
        folder: str | Path,
        *,
        volumes: Callable[[Record], Any] | None = None,
        settings: IndexSettings | None = None,
        vectors: Mapping[str, np.ndarray] | None = None,
        overwrite: bool = False,
        progress: Callable[[str], None] | None = None,
    ) -> ReportIndex:
        """Index records and save; the index that was in ``folder`` stays readable until the last moment.

        Args:
            volumes: gives the scan of a record (anything ``embedder.embed_volume`` takes), or None where it has none.
            vectors: level -> (rows, D) embeddings made elsewhere, in the order of ``records``: one a record for
                ``image`` and ``report``; other levels are embedded here.
            overwrite: replace the index in ``folder``; without it an existing one is refused.

        Raises InputError for duplicate ids, no records, vectors that are not finite or have no direction, an existing
        index, or text that carries names when ``settings.scrub`` is ``refuse``.
        """
        build.build(
            records,
            embedder,
            Path(folder),
            volumes=volumes,
            settings=settings or IndexSettings(),
            vectors=vectors or {},
            overwrite=overwrite,
            progress=progress,
        )
        return cls.load(folder, embedder)

    def add(
        self,
        records: Iterable[Record],
        *,
        embedder: Embedder | None = None,
        volumes: Callable[[Record], Any] | None = None,
        vectors: Mapping[str, np.ndarray] | None = None,
        progress: Callable[[str], None] | None = None,
    ) -> ReportIndex:
        """Append records with the transform learned at build; the new generation. Others may go on reading this one.

        Raises InputError for an id that is already there (also a removed one, until ``rebuild``), or when another
        writer has written since this generation was opened.
        """
        encoder = self._need_embedder(embedder)
        build.add(self.held, records, encoder, volumes=volumes, vectors=vectors or {}, progress=progress)
        return ReportIndex.load(self.folder, encoder)

    def remove(
        self, *, ids: Sequence[str] = (), patients: Sequence[str] = (), studies: Sequence[str] = ()
    ) -> ReportIndex:
        """Hide records at once; the new generation. ``rebuild`` takes them off the disk.

        Raises InputError when nothing matches one of the names, so that a withdrawal of consent cannot fail unseen.
        """
        build.remove(self.held, ids, patients, studies)
        return ReportIndex.load(self.folder, self.embedder)

    def rebuild(self, *, progress: Callable[[str], None] | None = None) -> ReportIndex:
        """One segment without what was removed, transform and kind chosen anew; needs no encoder."""
        build.merge([self.held], self.folder, self.settings, progress)
        return ReportIndex.load(self.folder, self.embedder)

    @classmethod
    def merge(
        cls,
        shards: Sequence[ReportIndex],
        folder: str | Path,
        *,
        settings: IndexSettings | None = None,
        progress: Callable[[str], None] | None = None,
    ) -> ReportIndex:
        """One new index from several of one encoder, such as one a hospital; ids must differ."""
        if not shards:
            raise InputError("a merge takes at least one index", "none")
        folder = Path(folder)
        if storage.exists(folder):
            raise InputError("a merge writes a new folder", f"{folder.name} holds an index")
        build.merge([shard.held for shard in shards], folder, settings or shards[0].settings, progress)
        return cls.load(folder, shards[0].embedder)

    def check(self, *, queries: int = 100) -> dict[str, Any]:
        """Read every byte against its sha256 and measure recall@10 against exact search; raises nothing.

        Returns ``ok``, ``problems`` (sentences), ``recall_at_10`` by level, ``counts``, ``duplicates`` (groups).
        """
        return build.check(self.held, queries)

    # -- searching -----------------------------------------------------------------------------------------------------

    def search(self, query: Any, k: int = 8, options: SearchOptions | None = None) -> SearchResult:
        """The nearest prior texts or scans.

        Args:
            query: a scan, a text, or a (D,) vector of the encoder.
            k: at most so many hits; fewer, or none, when fewer are allowed.
            options: whose scan it is, and what may be found.

        Raises InputError for a patient that is not stated, an unknown name, a wrong dimension, NaN or a zero vector.
        """
        if not isinstance(k, int) or k < 1:
            raise InputError("k is a whole number of at least 1", repr(k))
        options = options or SearchOptions()
        decisions: list[Decision] = []
        patients, studies = self.whose(query, options)
        vector, modality = self.vector_of(query, options.modality)
        level = self.level_for(query, options, decisions)
        if options.context is not None:
            decisions += options.context.decisions
        for field in ("region", "organ", "section"):
            self._check_name(field, getattr(options, field))
        options = replace(
            options, exclude_patient=patients or None, exclude_studies=studies, split=self._split(options)
        )
        return self._search(vector, modality, k, level, options, decisions)

    def similar_cases(self, query: Any, k: int = 5, options: SearchOptions | None = None) -> SearchResult:
        """Scans that look like this one, with their reports; the query is a scan or an (D,) image vector."""
        return self.search(query, k, replace(options or SearchOptions(), level="image", modality="image"))

    def _search(
        self, vector: np.ndarray, modality: str, k: int, level: str, options: SearchOptions, decisions: list[Decision]
    ) -> SearchResult:
        query = self.transform.apply(vector[None, :], modality)[0]
        if not query.any():
            decisions.append(
                Decision(
                    "retrieve",
                    "The query equals the mean of the index: nothing is nearer than anything else.",
                    warning=True,
                )
            )
        masks, excluded, refused = self._masks(level, options)
        allowed = sum(int(np.count_nonzero(mask)) for mask in masks)
        found, background = [], []
        for i, (segment, mask) in enumerate(zip(self.segments, masks, strict=True)):
            if not mask.any():
                continue
            shelf = segment.shelves[level]
            rows, scores = shelf.search(query, k, mask)
            found += [(float(s), i, int(r)) for r, s in zip(rows, scores, strict=True)]
            sample = background_rows(mask, max(1, round(BACKGROUND * int(np.count_nonzero(mask)) / allowed)))
            background.append(shelf.matrix[sample] @ query)
        found.sort(key=lambda f: (-f[0], f[1], f[2]))
        z = z_scores([f[0] for f in found[:k]], np.concatenate(background) if background else np.empty(0, np.float32))
        hits = tuple(
            self._hit(level, i, row, score, z[n], n + 1, refused) for n, (score, i, row) in enumerate(found[:k])
        )
        return SearchResult(hits, self.digest, level, allowed, dict(excluded), tuple(decisions))

    def _masks(self, level: str, options: SearchOptions) -> tuple[list[np.ndarray], Counter[str], np.ndarray]:
        """What may be found in each segment, records left out by reason, and all records refused across segments."""
        excluded: Counter[str] = Counter()
        refused = self._refused(options)
        masks = [
            segment.allowed(
                level,
                options,
                [(reason, m[self.held.span(i)]) for reason, m in refused],
                lambda reason, n: excluded.update({reason: n}),
            )
            for i, segment in enumerate(self.segments)
        ]
        return masks, excluded, np.logical_or.reduce([m for _, m in refused])

    def draw(
        self,
        seed: int,
        *,
        level: str = "report",
        exclude_patient: str | Sequence[str] | None = None,
        patient_not_indexed: bool = False,
        evaluation: bool = True,
    ) -> Hit | None:
        """One row drawn evenly from those a search would have been allowed to find, None when there is none."""
        options = SearchOptions(exclude_patient, patient_not_indexed, evaluation=evaluation, level=level)
        self.whose(None, options)
        level = self.level_for(None, options, [])
        masks, _, refused = self._masks(level, replace(options, split=self._split(options)))
        counts = [int(np.count_nonzero(mask)) for mask in masks]
        if not sum(counts):
            return None
        at = int(np.random.default_rng(seed).integers(sum(counts)))
        i = int(np.searchsorted(np.cumsum(counts), at, side="right"))
        row = int(np.flatnonzero(masks[i])[at - sum(counts[:i])])
        return self._hit(level, i, row, 0.0, None, 1, refused)

    def _split(self, options: SearchOptions) -> str:
        """The split to draw from; an evaluation takes the training split alone."""
        if not options.evaluation:
            return options.split
        if options.split not in ("", TRAINING_SPLIT) or not any(s.values("split") for s in self.segments):
            raise InputError(
                f"an evaluation draws from the split {TRAINING_SPLIT} alone",
                repr(options.split) if options.split else "an index whose records name no split",
            )
        return TRAINING_SPLIT

    def _hit(self, level: str, i: int, row: int, score: float, z: float | None, rank: int, refused: np.ndarray) -> Hit:
        segment = self.segments[i]
        found = segment.row(level, row)
        if refused[self.held.starts[i] + found.record]:
            raise VerificationError(
                "no hit is of an excluded record", f"{level} {row}", "Please report this: it is a defect of radvlm"
            )
        record, report_hash = segment.record(found.record)
        return Hit(
            f"{record.id}/{level}/{row}",
            record.id,
            record.patient,
            record.study,
            level,
            found.entry.section,
            found.entry.organ,
            found.entry.text,
            score,
            z,
            rank,
            record.date,
            record.site,
            record.split,
            record.region,
            record.volume,
            report_hash,
            np.array(segment.shelves[level].matrix[row]),
        )

    def _refused(self, options: SearchOptions) -> list[tuple[str, np.ndarray]]:
        """(reason, mask over all records) of what is settled across segments."""
        total = int(self.held.starts[-1])
        same = np.zeros(total, bool)
        names = {
            "patient": set(options.patients),
            "patient_key": set(options.patients),
            "study": set(options.exclude_studies),
        }
        known = -1
        while known < int(same.sum()):  # a study names its patient, a patient a key, a key other patients
            known = int(same.sum())
            for i, segment in enumerate(self.segments):
                span = self.held.span(i)
                for field, values in names.items():
                    same[self.held.starts[i] + segment.positions(field, values)] = True
                for field in ("patient", "patient_key"):
                    names[field] |= segment.names(field, np.unique(segment.records[field][same[span]]))
        copies = np.zeros(total, bool)
        if same.any():
            copies = np.isin(self.duplicate_group, np.unique(self.duplicate_group[same])) & ~same
        return [("removed", self.removed), ("same patient", same), ("copy of the patient's report", copies)]

    # -- reading the query ------------------------------------------------------------------------------------------

    def whose(self, query: Any, options: SearchOptions) -> tuple[tuple[str, ...], tuple[str, ...]]:
        """(patients, studies) that a search with a query leaves out: what is stated and what a scan's header says.

        Also for callers that search with texts made from a scan. Raises InputError when a scan or a vector does not
        say whose it is.
        """
        names, studies = options.patients, options.exclude_studies
        study = getattr(query, "study", None)
        key, uid = getattr(study, "patient_key", "") or "", getattr(study, "study_uid", "") or ""
        keyed = bool(key) and all((s.records["patient_key"] != 0).all() for s in self.segments)
        known_study = bool(uid) and any(len(s.positions("study", (uid,))) for s in self.segments)
        if not isinstance(query, str) and not (names or options.patient_not_indexed or keyed or known_study):
            raise InputError(
                "a search with a scan or a vector says whose it is",
                "no patient that the index could match",
                'Pass exclude_patient="P1", or patient_not_indexed=True when this patient is not in the index',
            )
        return (*names, *((key,) if key else ())), (*studies, *((uid,) if uid else ()))

    def _need_embedder(self, embedder: Embedder | None) -> Embedder:
        found = self._checked(embedder) if embedder is not None else self.embedder
        if found is None:
            raise InputError(
                "this needs the encoder of the index",
                f"none; it was built with {self.manifest['encoder']['id']}",
                "Pass it: ReportIndex.load(folder, embedder)",
            )
        return found

    def vector_of(self, query: Any, modality: str) -> tuple[np.ndarray, str]:
        """The (D,) unit vector of a query before the transform, and the modality that it is of."""
        if isinstance(query, np.ndarray):
            return unit_vectors(query[None, :] if query.ndim == 1 else query, 1, self.dimension)[0], modality
        if isinstance(query, str):
            if not query.strip():
                raise InputError("a text query has words", repr(query))
            return unit_vectors(self._need_embedder(None).embed_text([query]), 1, self.dimension)[0], "text"
        vector = np.asarray(self._need_embedder(None).embed_volume(query))
        return unit_vectors(vector[None, :] if vector.ndim == 1 else vector, 1, self.dimension)[0], "image"

    def level_for(self, query: Any, options: SearchOptions, decisions: list[Decision]) -> str:
        """The level that is searched: as asked for, or by the kind of query among those that the index has."""
        level = options.level
        wished = (
            (level,)
            if level
            else (
                ("sentence", "paragraph", "report")
                if isinstance(query, str)
                else ("paragraph", "sentence", "report")
                if options.narrowed
                else ("report", "paragraph", "sentence")
            )
        )
        for choice in (*wished, *(() if level else self.levels)):
            if choice in self.levels:
                if not level:
                    decisions.append(Decision("retrieve", f"Searched among {choice}s."))
                return choice
        raise InputError(
            f"this index has the levels {', '.join(self.levels)}",
            repr(level or wished[0]),
            "Build it with that level (images need --volumes)",
        )

    def _check_name(self, field: str, name: str) -> None:
        """A misspelled filter would look like an honest "nothing found"."""
        if not name or name in SECTIONS or name in structures():
            return
        fields = ("section", "organ", "region") if field == "region" else (field,)
        known = {v for s in self.segments for f in fields for v in s.values(f)}
        if name not in known:
            raise InputError(
                f"{field} is a section, a structure or a value of this index",
                repr(name),
                f"Known here: {', '.join(sorted(known)[:20]) or 'none'}",
            )

"""Writing an index: build, add, remove, rebuild, merge, and the check of what was written.

Raw unit vectors are kept beside the transformed ones, so that a rebuild or a merge learns its transform anew without
the encoder and without the scans. They are float16 unless the encoder is so collapsed that its differences would
drown in rounding.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from radvlm.errors import FileFormatError, InputError
from radvlm.files.atomic import sha256_of, utc_now, whole_folder
from radvlm.retrieve import duplicates, storage
from radvlm.retrieve.embedder import Embedder, reads_text, unit_vectors
from radvlm.retrieve.generation import Generation
from radvlm.retrieve.index_segment import MODALITY, Row, Segment, write_catalog, write_vectors
from radvlm.retrieve.records import LEVELS, Entry, Record, entries
from radvlm.retrieve.scrub import scrub
from radvlm.retrieve.settings import IndexSettings
from radvlm.retrieve.transform import Transform, learn
from radvlm.retrieve.vector_files import exact_batch, recall_of, sample_queries

_BATCH = 256
_SAMPLE = 20_000
#: Length of the mean of unit vectors from which float16 would round away the differences.
_COLLAPSED = 0.95
Progress = Callable[[str], None] | None


@dataclass
class _Draft:
    """Records and rows that a new segment will hold."""

    records: list[Record] = field(default_factory=list)
    rows: dict[str, list[Row]] = field(default_factory=dict)
    scrubbed: dict[str, int] = field(default_factory=dict)


def check_encoder(embedder: Embedder, encoder: Mapping[str, Any]) -> None:
    """InputError unless the embedder is the one that a manifest names."""
    own = {"id": embedder.encoder_id, "digest": embedder.digest, "dimension": int(embedder.dimension)}
    for name, value in own.items():
        if value != encoder[name]:
            raise InputError(
                f"an index is searched with the encoder it was built with ({encoder['id']}, weights "
                f"{str(encoder['digest'])[:12]}, dimension {encoder['dimension']})",
                f"{name} {str(value)[:40]}",
                "Use that encoder, or build the index again with this one",
            )


def build(
    records: Iterable[Record],
    embedder: Embedder,
    folder: Path,
    *,
    volumes: Callable[[Record], Any] | None,
    settings: IndexSettings,
    vectors: Mapping[str, np.ndarray],
    overwrite: bool,
    progress: Progress,
) -> None:
    """See ``ReportIndex.build``."""
    with storage.writer_lock(folder):
        old = storage.read_current(folder)[1] if storage.exists(folder) and _readable(folder) else None
        if storage.exists(folder) and not overwrite:
            raise InputError(
                "a build writes a new folder", f"{folder.name} holds an index", "Use add for more reports, or overwrite"
            )
        _sweep(folder, old)
        draft = _draft(records, settings)
        if not draft.records:
            raise InputError("an index holds at least one report", "none")
        name = storage.new_name()
        with whole_folder(folder / "segments" / name, durable=True) as staged:
            raw = _embed(draft, embedder, staged, volumes, settings, vectors, progress)
            transform = _learn(raw, settings)
            _write_segment(staged, draft, raw, transform, settings, progress)
        encoder = {"id": embedder.encoder_id, "digest": embedder.digest, "dimension": int(embedder.dimension)}
        _publish(folder, old, encoder, settings, transform, [name], np.zeros(len(draft.records), bool), draft.scrubbed)


def add(
    index: Generation,
    records: Iterable[Record],
    embedder: Embedder,
    *,
    volumes: Callable[[Record], Any] | None,
    vectors: Mapping[str, np.ndarray],
    progress: Progress,
) -> None:
    """See ``ReportIndex.add``."""
    with storage.writer_lock(index.folder):
        manifest = _still_current(index)
        _sweep(index.folder, manifest)
        settings = index.settings
        draft = _draft(records, settings)
        if not draft.records:
            raise InputError("add takes at least one report", "none")
        taken = {i for s in index.segments for i in s.column("id")} & {r.id for r in draft.records}
        if taken:
            raise InputError(
                "ids of records are unique in an index",
                ", ".join(sorted(taken)[:5]),
                "Remove the old ones and rebuild, or give the new ones other ids",
            )
        name = storage.new_name()
        with whole_folder(index.folder / "segments" / name, durable=True) as staged:
            raw = _embed(draft, embedder, staged, volumes, settings, vectors, progress)
            _write_segment(staged, draft, raw, index.transform, settings, progress)
        removed = np.concatenate([index.removed, np.zeros(len(draft.records), bool)])
        scrubbed = dict(manifest["scrubbed"])
        for kind, n in draft.scrubbed.items():
            scrubbed[kind] = scrubbed.get(kind, 0) + n
        _publish(
            index.folder,
            manifest,
            manifest["encoder"],
            settings,
            index.transform,
            [s.name for s in index.segments] + [name],
            removed,
            scrubbed,
        )


def remove(index: Generation, ids: Sequence[str], patients: Sequence[str], studies: Sequence[str]) -> None:
    """See ``ReportIndex.remove``."""
    for given in (ids, patients, studies):
        if isinstance(given, str):
            raise InputError("remove takes lists of names", repr(given))
    if not (ids or patients or studies):
        raise InputError("remove names what to remove", "nothing")
    with storage.writer_lock(index.folder):
        manifest = _still_current(index)
        _sweep(index.folder, manifest)
        removed = index.removed.copy()
        for column, names in (("id", ids), ("patient", patients), ("study", studies)):
            values = np.array([v for s in index.segments for v in s.column(column)])
            for name in names:
                matches = (values == name) & ~removed
                if not matches.any():
                    raise InputError(
                        f"remove finds what it is to remove ({column})",
                        repr(name),
                        "Nothing was removed; look at the spelling",
                    )
                removed |= matches
        _publish(
            index.folder,
            manifest,
            manifest["encoder"],
            index.settings,
            index.transform,
            [s.name for s in index.segments],
            removed,
            manifest["scrubbed"],
        )


def merge(shards: Sequence[Generation], folder: Path, settings: IndexSettings, progress: Progress) -> None:
    """One segment from the live records of several indexes; a rebuild when it is one index and its own folder."""
    encoder = shards[0].manifest["encoder"]
    for shard in shards[1:]:
        if shard.manifest["encoder"] != encoder:
            raise InputError(
                "indexes that are merged have one encoder",
                f"{shard.manifest['encoder']['id']} and {encoder['id']}",
                "Build them again with one encoder",
            )
    rebuilding = folder == shards[0].folder
    with storage.writer_lock(folder):
        old = _still_current(shards[0]) if rebuilding else None
        _sweep(folder, old)
        draft = _Draft()
        chosen: dict[str, list[tuple[Segment, np.ndarray]]] = {}
        scrubbed: dict[str, int] = {}
        for shard in shards:
            for kind, n in shard.manifest["scrubbed"].items():
                scrubbed[kind] = scrubbed.get(kind, 0) + n
            for i, segment in enumerate(shard.segments):
                _take(draft, chosen, segment, ~shard.removed[shard.span(i)])
        _unique(draft.records)
        if not draft.records:
            raise InputError("an index holds at least one report", "none is left", "Delete the folder instead")
        name = storage.new_name()
        with whole_folder(folder / "segments" / name, durable=True) as staged:
            raw = {}
            for level, parts in chosen.items():
                n = sum(len(rows) for _, rows in parts)
                kind = np.result_type(*(segment.raw(level).dtype for segment, _ in parts))
                blocks = (
                    segment.raw(level)[rows[a : a + 65_536]]
                    for segment, rows in parts
                    for a in range(0, len(rows), 65_536)
                )
                raw[level] = _write_raw(staged, level, blocks, n, kind)
            transform = _learn(raw, settings)
            _write_segment(staged, draft, raw, transform, settings, progress)
        _publish(folder, old, encoder, settings, transform, [name], np.zeros(len(draft.records), bool), scrubbed)
        if rebuilding:  # what was removed must be off the disk, so the generation before goes at once
            _sweep(folder, storage.read_current(folder)[1], keep_previous=False)


def _take(
    draft: _Draft, chosen: dict[str, list[tuple[Segment, np.ndarray]]], segment: Segment, live: np.ndarray
) -> None:
    position = np.full(len(live), -1)
    position[live] = len(draft.records) + np.arange(int(live.sum()))
    draft.records += [segment.record(int(p))[0] for p in np.flatnonzero(live)]
    for level in segment.levels:
        kept = live[segment.rows[level]["record"]]
        if kept.any():
            chosen.setdefault(level, []).append((segment, np.flatnonzero(kept)))
            draft.rows.setdefault(level, []).extend(
                replace(row, record=int(position[row.record]))
                for row, keep in zip(segment.all_rows(level), kept, strict=True)
                if keep
            )


def check(index: Generation, queries: int) -> dict[str, Any]:
    """See ``ReportIndex.check``."""
    problems = storage.verify_files(index.folder / "generations" / index.name, index.manifest["files"], True)
    recalls: dict[str, list[tuple[float, int]]] = {}
    for segment, named in zip(index.segments, index.manifest["segments"], strict=True):
        if sha256_of(segment.folder / "segment.json") != named["sha256"]:
            problems.append(f"{segment.name}/segment.json was altered")
        problems += storage.verify_files(segment.folder, segment.facts["files"], contents=True)
        for level, shelf in segment.shelves.items():
            if not np.isfinite(shelf.matrix[:: max(1, shelf.n // 10_000)]).all():
                problems.append(f"{segment.name}/{level} holds vectors that are not finite")
            asked = sample_queries(shelf.matrix, queries, seed=99)
            truth = exact_batch(shelf.matrix, asked, 10)
            everything = np.ones(shelf.n, bool)
            recall_here = recall_of([shelf.search(q, 10, everything)[1] for q in asked], truth)
            recalls.setdefault(level, []).append((recall_here, shelf.n))
    ids = [i for s in index.segments for i in s.column("id")]
    if len(set(ids)) != len(ids):
        problems.append("ids of records repeat")
    recall = {
        level: round(sum(r * n for r, n in parts) / sum(n for _, n in parts), 4) for level, parts in recalls.items()
    }
    for level, value in recall.items():
        if value < index.settings.recall_target - 0.02:
            problems.append(
                f"recall@10 of {level} is {value}, below the target {index.settings.recall_target}; rebuild"
            )
    return {
        "ok": not problems,
        "problems": problems,
        "recall_at_10": recall,
        "counts": index.counts(),
        "records": len(index),
        "duplicates": index.duplicates(),
        "segments": len(index.segments),
        "digest": index.digest,
    }


def _readable(folder: Path) -> bool:
    try:
        storage.read_current(folder)
    except FileFormatError:
        return False
    return True


def _still_current(index: Generation) -> dict[str, Any]:
    generation, manifest, digest = storage.read_current(index.folder)
    if digest != index.digest:
        raise InputError(
            "a write starts from the current index",
            f"generation {index.name}; now it is {generation}",
            "Load the index again: another process has written to it",
        )
    return manifest


def _unique(records: Sequence[Record]) -> None:
    seen: set[str] = set()
    for record in records:
        if record.id in seen:
            raise InputError(
                "ids of records are unique in an index", repr(record.id), "Give each report of a study its own id"
            )
        seen.add(record.id)


def _draft(records: Iterable[Record], settings: IndexSettings) -> _Draft:
    """Scrubbed records and their rows of text; images are added when they are embedded."""
    draft = _Draft(rows={level: [] for level in settings.levels if level != "image"})
    for record in records:
        text = record.text
        if settings.scrub != "off":
            clean = scrub(text)
            if settings.scrub == "refuse" and clean.identifying:
                kinds = ", ".join(f"{n} x {k}" for k, n in clean.removed)
                raise InputError(
                    "text that is indexed carries no names or identifiers",
                    f"record {record.id}: {kinds}",
                    "De-identify it, or let them be removed: scrub=remove",
                )
            for kind, n in clean.removed:
                draft.scrubbed[kind] = draft.scrubbed.get(kind, 0) + n
            text = clean.text or "(nothing but dates, names and comparisons)"
        record = replace(record, text=text)
        position = len(draft.records)
        draft.records.append(record)
        for entry in entries(record):
            if entry.level in draft.rows:
                draft.rows[entry.level].append(Row(position, entry))
    _unique(draft.records)
    return draft


def _embed(
    draft: _Draft,
    embedder: Embedder,
    staged: Path,
    volumes: Callable[[Record], Any] | None,
    settings: IndexSettings,
    vectors: Mapping[str, np.ndarray],
    progress: Progress,
) -> dict[str, np.ndarray]:
    """Raw unit vectors of each level, written into the staged folder; levels without a row are left out."""
    odd = set(vectors) - {"image", "report"}
    if odd or (vectors and "report" in vectors and len(draft.rows.get("report", ())) != len(draft.records)):
        raise InputError("vectors are given for image and report, one a record", ", ".join(sorted(odd)) or "report")
    dimension = int(embedder.dimension)
    raw: dict[str, np.ndarray] = {}
    for level in [name for name in LEVELS if name in settings.levels]:
        if level in vectors:
            given = unit_vectors(vectors[level], len(draft.records), dimension)
            blocks: Iterator[np.ndarray] = iter([given])
            if level == "image":
                draft.rows["image"] = [Row(i, _image_entry(r)) for i, r in enumerate(draft.records)]
        elif level == "image":
            if volumes is None:
                continue
            found = list(_images(draft, embedder, volumes, progress))
            blocks = iter([np.stack(found)] if found else [])
        elif not reads_text(embedder):
            raise InputError(
                f"{embedder.encoder_id} reads scans only",
                f"levels {', '.join(settings.levels)}",
                'Build with the level image alone: levels=("image",)',
            )
        else:
            blocks = _texts(draft.rows[level], embedder, level, progress)
        n = len(draft.rows.get(level, ()))
        if n:
            raw[level] = _write_raw(staged, level, blocks, n, None)
    if not raw:
        raise InputError("an index has at least one row", f"levels {', '.join(settings.levels)}")
    draft.rows = {level: draft.rows[level] for level in raw}
    return raw


def _image_entry(record: Record) -> Entry:
    return Entry("image", record.text, record.section, record.organ)


def _images(
    draft: _Draft, embedder: Embedder, volumes: Callable[[Record], Any], progress: Progress
) -> Iterator[np.ndarray]:
    draft.rows["image"] = []
    for position, record in enumerate(draft.records):
        volume = volumes(record)
        if volume is None:
            continue
        key = str(getattr(getattr(volume, "study", None), "patient_key", "") or "")
        if key and not record.patient_key:
            draft.records[position] = record = replace(record, patient_key=key)
        draft.rows["image"].append(Row(position, _image_entry(record)))
        vector = np.asarray(embedder.embed_volume(volume))
        if progress is not None:
            progress(f"Embedded scan {position + 1} of {len(draft.records)}")
        yield unit_vectors(vector[None, :] if vector.ndim == 1 else vector, 1, int(embedder.dimension))[0]


def _texts(rows: Sequence[Row], embedder: Embedder, level: str, progress: Progress) -> Iterator[np.ndarray]:
    for start in range(0, len(rows), _BATCH):
        batch = [row.entry.text for row in rows[start : start + _BATCH]]
        if progress is not None and start % (_BATCH * 20) == 0:
            progress(f"Embedding {level} {start:,} of {len(rows):,}")
        yield unit_vectors(embedder.embed_text(batch), len(batch), int(embedder.dimension))


def _write_raw(staged: Path, level: str, blocks: Iterator[np.ndarray], n: int, kind: Any) -> np.ndarray:
    out: np.ndarray | None = None
    at = 0
    for block in blocks:
        if out is None:
            if kind is None:
                kind = np.float32 if np.linalg.norm(block.mean(axis=0)) > _COLLAPSED else np.float16
            out = np.lib.format.open_memmap(
                staged / f"{level}.raw.npy", mode="w+", dtype=kind, shape=(n, block.shape[1])
            )
        out[at : at + len(block)] = block
        at += len(block)
    if out is None or at != n:
        raise InputError("an encoder gives one vector for each text or scan", f"{at} for {n}")
    out.flush()  # type: ignore[attr-defined]
    return out


def _learn(raw: Mapping[str, np.ndarray], settings: IndexSettings) -> Transform:
    rng = np.random.default_rng(settings.seed)
    samples: dict[str, list[np.ndarray]] = {}
    for level, vectors in raw.items():
        rows = np.sort(rng.choice(len(vectors), min(len(vectors), _SAMPLE), replace=False))
        samples.setdefault(MODALITY[level], []).append(np.asarray(vectors[rows], np.float32))
    return learn({name: np.concatenate(parts) for name, parts in samples.items()}, settings.transform)


def _write_segment(
    staged: Path,
    draft: _Draft,
    raw: Mapping[str, np.ndarray],
    transform: Transform,
    settings: IndexSettings,
    progress: Progress,
) -> None:
    if progress is not None:
        progress("Building " + ", ".join(f"{level} ({len(v):,})" for level, v in raw.items()))
    facts = write_vectors(staged, raw, transform, settings.kind, settings.recall_target, settings.seed)
    write_catalog(staged, draft.records, draft.rows)
    storage.seal(staged, {"levels": facts, "records": len(draft.records)}, "segment.json")


def _publish(
    folder: Path,
    old: Mapping[str, Any] | None,
    encoder: Mapping[str, Any],
    settings: IndexSettings,
    transform: Transform,
    names: Sequence[str],
    removed: np.ndarray,
    scrubbed: Mapping[str, int],
) -> None:
    import faiss

    number = 1 if old is None else int(old["generation"]) + 1
    segments = [Segment(folder / "segments" / name, int(encoder["dimension"])) for name in names]
    try:
        group = _groups(segments, settings.near_duplicate)
        parts = [
            {
                "name": s.name,
                "sha256": sha256_of(s.folder / "segment.json"),
                "records": len(s.records),
                "levels": s.facts["levels"],
            }
            for s in segments
        ]
    finally:
        for segment in segments:
            segment.close()
    with whole_folder(folder / "generations" / f"{number:06d}", durable=True) as staged:
        transform.save(staged / "transform.npz")
        np.save(staged / "removed.npy", removed)
        np.save(staged / "duplicates.npy", group)
        manifest = {
            "format": storage.FORMAT,
            "generation": number,
            "created": utc_now(),
            "encoder": dict(encoder),
            "settings": asdict(settings),
            "transform": {"kind": transform.kind, "n": transform.n, "shrinkage": transform.shrinkage},
            "segments": parts,
            "records": int(np.count_nonzero(~removed)),
            "removed": int(removed.sum()),
            "in_duplicate_groups": int((np.bincount(group, minlength=1)[group] > 1).sum()) if len(group) else 0,
            "scrubbed": dict(scrubbed),
            "faiss": faiss.__version__,
            "previous": None
            if old is None
            else {"generation": f"{int(old['generation']):06d}", "segments": [s["name"] for s in old["segments"]]},
        }
        digest = storage.seal(staged, manifest, "manifest.json")
    storage.publish(folder, f"{number:06d}", digest)
    _sweep(folder, manifest)


def _groups(segments: Sequence[Segment], threshold: float) -> np.ndarray:
    starts = np.cumsum([0, *(len(s.records) for s in segments)])

    def text_of(position: int) -> str:
        i = int(np.searchsorted(starts, position, side="right")) - 1
        return segments[i].text_of(position - int(starts[i]))

    signatures = np.concatenate([s.signatures() for s in segments])
    hashes = [h for s in segments for h in s.column("report_hash")]
    return duplicates.groups(signatures, hashes, text_of, threshold)


def _sweep(folder: Path, manifest: Mapping[str, Any] | None, keep_previous: bool = True) -> None:
    if manifest is None:
        if not storage.exists(folder):
            storage.sweep(folder, set(), set())
        return
    generations, names = {f"{int(manifest['generation']):06d}"}, {s["name"] for s in manifest["segments"]}
    if keep_previous and manifest["previous"]:
        generations.add(manifest["previous"]["generation"])
        names |= set(manifest["previous"]["segments"])
    storage.sweep(folder, generations, names)

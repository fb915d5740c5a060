"""Guideline and textbook passages that the user supplies, found by words and by meaning together, cited by passage.

The two rankings are fused by rank (Cormack et al. 2009), so their scores need not be comparable; a passage that
shares no word and lies below the background in meaning is not returned just to fill the list.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from radvlm.errors import FileFormatError, InputError
from radvlm.files.atomic import whole_folder
from radvlm.retrieve import storage
from radvlm.retrieve.bm25 import BM25
from radvlm.retrieve.build import check_encoder
from radvlm.retrieve.embedder import Embedder, unit_vectors
from radvlm.retrieve.score_calibration import z_scores
from radvlm.retrieve.transform import Transform, learn

#: Of reciprocal rank fusion, as in the paper.
RRF_K = 60


@dataclass(frozen=True)
class Passage:
    """A stretch of a document: ``id`` cites it, ``start`` and ``stop`` are characters of the document."""

    id: str
    document: str
    heading: str
    text: str
    start: int
    stop: int


@dataclass(frozen=True)
class PassageHit:
    """A passage that was found: fused score, and its rank by words and by meaning (None where it has none)."""

    passage: Passage
    score: float
    word_rank: int | None
    meaning_rank: int | None
    index_digest: str

    @property
    def citation(self) -> str:
        heading = f", {self.passage.heading}" if self.passage.heading else ""
        return f"{self.passage.document}{heading} [{self.passage.id}]"


def chunk(document: str, text: str, words: int = 120, overlap: int = 20) -> Iterator[Passage]:
    """Passages of at most about ``words`` words, ending at sentences; consecutive ones share ``overlap`` words or less.

    A line that starts with # or is short and has no full stop is a heading; passages do not reach across headings.
    """
    if words < 10 or not 0 <= overlap < words:
        raise InputError("a passage has at least 10 words and overlaps by fewer than it has", f"{words}, {overlap}")
    heading, number, start = "", 0, 0
    blocks: list[tuple[str, int, int]] = []
    for line in re.finditer(r"[^\n]*(?:\n|$)", text):
        bare = line[0].strip()
        alone = bare and len(bare.split()) <= 8 and bare[-1] not in ".:;,!?" and bare[0].isupper()
        if bare.startswith("#") or (alone and text[line.end() :].startswith("\n")):
            blocks.append((heading, start, line.start()))
            heading, start = bare.lstrip("# ").strip(), line.end()
    blocks.append((heading, start, len(text)))
    for title, begin, end in blocks:
        spans = [
            (begin + m.start(), begin + m.end())
            for m in re.finditer(r"\S.*?(?:[.!?](?=\s|$)|\n\s*\n|$)", text[begin:end], re.DOTALL)
        ]
        at = 0
        while at < len(spans):
            stop, count = at, 0
            while stop < len(spans) and (stop == at or count + len(text[slice(*spans[stop])].split()) <= words):
                count += len(text[slice(*spans[stop])].split())
                stop += 1
            a, b = spans[at][0], spans[stop - 1][1]
            number += 1
            yield Passage(f"{document}#{number}", document, title, " ".join(text[a:b].split()), a, b)
            if stop >= len(spans):
                break
            back, shared = stop, 0
            while back - 1 > at and shared + len(text[slice(*spans[back - 1])].split()) <= overlap:
                back -= 1
                shared += len(text[slice(*spans[back])].split())
            at = back


class KnowledgeBase:
    """Passages with both searches; made by ``build`` and ``load``."""

    def __init__(
        self, passages: Sequence[Passage], vectors: np.ndarray, transform: Transform, embedder: Embedder, digest: str
    ) -> None:
        """Use ``build`` or ``load``."""
        self.passages, self._transform, self._embedder, self.digest = tuple(passages), transform, embedder, digest
        self._vectors = transform.apply(vectors, "text")
        self._words = BM25([f"{p.heading} {p.text}" for p in passages])

    @classmethod
    def build(
        cls, documents: Mapping[str, str] | Iterable[Path], embedder: Embedder, folder: str | Path
    ) -> KnowledgeBase:
        """Chunk documents (name -> text, or .txt and .md files), embed, and save; atomic like an index."""
        named = dict(documents) if isinstance(documents, Mapping) else {p.name: _read(p) for p in documents}
        passages = [p for name, text in named.items() for p in chunk(name, text)]
        if not passages:
            raise InputError("a knowledge base has at least one passage", f"{len(named)} documents without text")
        vectors = unit_vectors(embedder.embed_text([p.text for p in passages]), len(passages), embedder.dimension)
        folder = Path(folder)
        with storage.writer_lock(folder):
            number = int(storage.read_current(folder)[0]) + 1 if storage.exists(folder) else 1
            storage.sweep(folder, {f"{number - 1:06d}"}, set())
            with whole_folder(folder / "generations" / f"{number:06d}", durable=True) as staged:
                np.save(staged / "vectors.npy", vectors)
                learn({"text": vectors}, "auto").save(staged / "transform.npz")
                (staged / "passages.jsonl").write_text("".join(json.dumps(asdict(p)) + "\n" for p in passages), "utf-8")
                encoder = {"id": embedder.encoder_id, "digest": embedder.digest, "dimension": int(embedder.dimension)}
                facts = {"format": storage.FORMAT, "kind": "knowledge", "encoder": encoder}
                digest = storage.seal(staged, facts, "manifest.json")
            storage.publish(folder, f"{number:06d}", digest)
            storage.sweep(folder, {f"{number:06d}"}, set())
        return cls.load(folder, embedder)

    @classmethod
    def load(cls, folder: str | Path, embedder: Embedder) -> KnowledgeBase:
        """Open what ``build`` wrote; FileFormatError when it is damaged, InputError for another encoder."""
        generation, manifest, digest = storage.read_current(Path(folder))
        place = Path(folder) / "generations" / generation
        wrong = storage.verify_files(place, manifest["files"], contents=True)
        if wrong or manifest.get("kind") != "knowledge":
            raise FileFormatError("a knowledge base is as it was written", "; ".join(wrong) or "an index of reports")
        check_encoder(embedder, manifest["encoder"])
        lines = (place / "passages.jsonl").read_text("utf-8").splitlines()
        return cls(
            [Passage(**json.loads(line)) for line in lines],
            np.load(place / "vectors.npy", allow_pickle=False),
            Transform.load(place / "transform.npz"),
            embedder,
            digest,
        )

    def search(self, query: str, k: int = 4, *, least_z: float = 1.5) -> tuple[PassageHit, ...]:
        """The k best passages by fused rank; fewer, or none, when fewer share a word or reach ``least_z`` "
        "in meaning."""
        if not query.strip() or k < 1:
            raise InputError("a query has words and k is at least 1", f"{query!r}, {k}")
        words = self._words.scores(query)
        vector = self._transform.apply(
            unit_vectors(self._embedder.embed_text([query]), 1, self._embedder.dimension), "text"
        )
        cosines = self._vectors @ vector[0]
        by_word = [i for i in np.argsort(-words, kind="stable") if words[i] > 0]
        ranked = np.argsort(-cosines, kind="stable")
        z = z_scores([float(cosines[i]) for i in ranked], cosines)
        near = [
            int(i)
            for i, value in zip(ranked, z, strict=True)
            if (value >= least_z if value is not None else cosines[i] > 0)
        ]
        place_w = {int(i): r for r, i in enumerate(by_word, 1)}
        place_m = {i: r for r, i in enumerate(near, 1)}
        fused = {
            i: sum(1.0 / (RRF_K + places[i]) for places in (place_w, place_m) if i in places)
            for i in {*place_w, *place_m}
        }
        best = sorted(fused, key=lambda i: (-fused[i], i))[:k]
        return tuple(PassageHit(self.passages[i], fused[i], place_w.get(i), place_m.get(i), self.digest) for i in best)


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise FileFormatError("passages come from text files in UTF-8", f"{path.name}: {error}") from error

"""Speed, recall, memory and load time of the retrieval index, 1e3 to 1e6 vectors of 512, against exact search.

    python eval/bench_retrieval.py [--sizes 1000,10000,1000000] [--kinds auto] [--queries 200] [--threads 2]

How the vectors are made ("clustered like report embeddings"): sentences of reports are a few thousand things to say
(topics), each in a few wordings, with numbers and sides that differ. A topic's center is the sum of a section (20 of
them) and a finding; topics have Zipf sizes (the thousandth is a thousandth as frequent as the first); each topic has 12
wordings; a vector is its wording plus noise whose spectrum falls as a power law (a few directions carry most). As in
collapsed CT encoders all share a mean and two dominant directions. The unit vectors go through the transform that
``build`` learns, and queries are new draws of the same source, never stored ones. A second source without topics
(power-law noise alone) is the hard case.

Times are wall clock of single queries with one patient excluded, the median of all queries; exact search is the same
call on a flat index of the same vectors in the same run, and so is faiss ``IndexFlatIP`` with its selector.
"""

from __future__ import annotations

import argparse
import os
import resource
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
from record import write_result

DIMENSION = 512
TOPICS = 4000
WORDINGS = 12


class Source:
    """Vectors like those of report sentences, or without topics."""

    def __init__(self, clustered: bool, seed: int = 0) -> None:
        rng = np.random.default_rng(seed)
        self.clustered = clustered
        self.spectrum = (np.arange(1, DIMENSION + 1) ** -0.6).astype(np.float32)
        self.spectrum /= np.linalg.norm(self.spectrum)
        turn = np.linalg.qr(rng.standard_normal((DIMENSION, DIMENSION)))[0].astype(np.float32)
        self.basis = self.spectrum[:, None] * turn  # (D, D): noise of that spectrum
        sections = rng.standard_normal((20, DIMENSION)).astype(np.float32) @ self.basis
        findings = rng.standard_normal((TOPICS, DIMENSION)).astype(np.float32) @ self.basis
        topics = 0.7 * sections[rng.integers(20, size=TOPICS)] + 0.7 * findings
        wordings = rng.standard_normal((TOPICS, WORDINGS, DIMENSION)).astype(np.float32) @ self.basis
        self.centers = (topics[:, None, :] + 0.45 * wordings).reshape(-1, DIMENSION)
        weight = 1.0 / np.arange(1, TOPICS + 1)
        self.share = weight / weight.sum()
        self.mean = rng.standard_normal(DIMENSION).astype(np.float32)
        self.mean *= 6.0 / np.linalg.norm(self.mean)
        self.dominant = np.linalg.qr(rng.standard_normal((DIMENSION, 2)))[0].T.astype(np.float32)

    def draw(self, n: int, rng: np.random.Generator) -> np.ndarray:
        """(n, D) float32 of unit length."""
        noise = rng.standard_normal((n, DIMENSION), dtype=np.float32) @ self.basis
        if self.clustered:
            topic = rng.choice(TOPICS, n, p=self.share) * WORDINGS + rng.integers(WORDINGS, size=n)
            noise = self.centers[topic] + 0.35 * noise
        noise += self.mean + 1.5 * rng.standard_normal((n, 2), dtype=np.float32) @ self.dominant
        return noise / np.linalg.norm(noise, axis=1, keepdims=True)


def median_ms(call: Any, queries: np.ndarray) -> float:
    call(queries[0])
    times = []
    for query in queries:
        start = time.perf_counter()
        call(query)
        times.append(time.perf_counter() - start)
    return float(np.median(times) * 1e3)


def one_size(n: int, kinds: list[str], source: Source, queries: int, folder: Path) -> dict[str, Any]:
    """Build, load and search shelves of one size; every kind beside exact search of the same vectors."""
    import faiss

    from radvlm.retrieve.index_kind import choose
    from radvlm.retrieve.transform import learn
    from radvlm.retrieve.vector_files import BLOCK, exact_batch, open_shelf, recall_of, write_shelf

    rng = np.random.default_rng(n)
    transform = learn({"text": source.draw(20_000, rng)}, "whiten")

    def blocks(stored: np.ndarray | None = None) -> Any:
        if stored is not None:
            yield from (np.ascontiguousarray(stored[a : a + BLOCK]) for a in range(0, n, BLOCK))
            return
        made = np.random.default_rng(n + 1)
        for start in range(0, n, BLOCK):
            yield transform.apply(source.draw(min(BLOCK, n - start), made), "text")

    asked = transform.apply(source.draw(queries, np.random.default_rng(n + 2)), "text")
    allowed = np.ones(n, bool)
    allowed[rng.integers(n, size=max(1, min(40, n // 10)))] = False  # one patient's rows
    out: dict[str, Any] = {}
    exact_ms = faiss_ms = 0.0
    flat: np.ndarray | None = None
    for kind in ["flat", *[k for k in kinds if not (k == "auto" and choose(n, DIMENSION).kind == "flat")]]:
        plan = choose(n, DIMENSION, kind)
        place = folder / f"{n}-{kind}"
        place.mkdir()
        start = time.perf_counter()
        facts = write_shelf(place, "sentence", blocks(flat), n, plan, 0.99, 0)
        build_s = time.perf_counter() - start
        start = time.perf_counter()
        shelf = open_shelf(place, "sentence", facts, DIMENSION)
        load_s = time.perf_counter() - start
        size = sum(p.stat().st_size for p in place.iterdir())
        some = asked if n < 500_000 or kind != "flat" else asked[:30]
        ms = median_ms(lambda q, s=shelf: s.search(q, 10, allowed), some)
        row: dict[str, Any] = {
            "kind": plan.kind,
            "factory": plan.factory,
            "effort": facts["effort"],
            "single_query_ms": round(ms, 3),
            "build_s": round(build_s, 1),
            "load_s": round(load_s, 4),
            "disk_bytes_per_vector": round(size / n),
            "peak_memory_gb": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20, 2),
        }
        if plan.kind == "flat":
            exact_ms, flat = ms, shelf.matrix
            keep = shelf  # its mapping must outlive this round
            truth = exact_batch(np.where(allowed[:, None], shelf.matrix, 0) if n < 200_000 else shelf.matrix, asked, 10)
            if n >= 200_000:  # the few excluded rows, taken out without a copy of the matrix
                truth = [shelf.exact(q, 10, allowed)[1] for q in asked[:100]]
            selector = faiss.IDSelectorBitmap(np.packbits(allowed, bitorder="little"))
            parameters = faiss.SearchParameters(sel=selector)
            faiss_ms = median_ms(lambda q, s=shelf, p=parameters: s.faiss_index.search(q[None], 10, params=p), some)
            row["faiss_flat_single_query_ms"] = round(faiss_ms, 3)
        found = [shelf.search(q, 10, allowed)[1] for q in asked[: len(truth)]]
        row["recall_at_10"] = round(recall_of(found, truth), 4)
        row["times_faster_than_exact"] = round(exact_ms / ms, 1)
        row["times_faster_than_faiss_flat"] = round(faiss_ms / ms, 1)
        out[kind] = row
        print(n, "clustered" if source.clustered else "no topics", kind, row, file=sys.stderr, flush=True)
        for path in place.iterdir():
            path.unlink()
    del keep
    return out


def whole_index(n_records: int, folder: Path) -> dict[str, Any]:
    """A whole index of reports with 20 sentences each: build, load, search with text and filters, by the public API."""
    from radvlm.retrieve import FunctionEmbedder, IndexSettings, Record, ReportIndex, SearchOptions

    source, rng = Source(True), np.random.default_rng(5)
    embedder = FunctionEmbedder("bench", "0" * 64, DIMENSION, lambda texts: source.draw(len(texts), rng))
    organs = ["Liver", "Spleen", "Pancreas", "Left kidney", "Right kidney", "Lung", "Heart", "Aorta", "Colon", "Skin"]

    def records() -> Any:
        for i in range(n_records):
            text = " ".join(
                f"{organs[j % 10]} shows finding {(i * 7 + j * 13) % 997} of {i % 50 + j} mm." for j in range(20)
            )
            yield Record(f"P{i // 2}", f"S{i}", text, split="train", date="2020-01-01")

    start = time.perf_counter()
    ReportIndex.build(records(), embedder, folder, settings=IndexSettings(("sentence",))).close()
    build_s = time.perf_counter() - start
    times = []
    for _ in range(5):
        start = time.perf_counter()
        index = ReportIndex.load(folder, embedder)
        times.append(time.perf_counter() - start)
        index.close()
    index = ReportIndex.load(folder, embedder)
    asked = source.draw(50, np.random.default_rng(6))
    every = median_ms(lambda q: index.search(q, 8, SearchOptions(exclude_patient="P7", level="sentence")), asked)
    liver = median_ms(
        lambda q: index.search(q, 8, SearchOptions(exclude_patient="P7", level="sentence", region="liver")), asked
    )
    out = {
        "records": n_records,
        "sentences": index.counts()["sentence"],
        "build_s": round(build_s, 1),
        "load_s": round(float(np.median(times)), 4),
        "search_ms": round(every, 2),
        "search_one_organ_ms": round(liver, 2),
        "disk_gb": round(sum(p.stat().st_size for p in folder.rglob("*") if p.is_file()) / 2**30, 2),
    }
    index.close()
    print(out, file=sys.stderr, flush=True)
    return out


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sizes", default="1000,10000,50000,100000,1000000")
    parser.add_argument("--kinds", default="auto", help="with commas: auto, hnsw, ivf_flat, ivf_sq8, ivf_pq")
    parser.add_argument("--hard", type=int, default=100_000, help="size of the source without topics; 0 leaves it out")
    parser.add_argument("--records", type=int, default=5_000, help="reports of the whole index; 0 leaves it out")
    parser.add_argument("--queries", type=int, default=200)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--no-write", action="store_true")
    args = parser.parse_args()
    import faiss

    faiss.omp_set_num_threads(args.threads)
    sizes = [int(s) for s in args.sizes.split(",") if s]
    values: dict[str, Any] = {
        "dimension": DIMENSION,
        "k": 10,
        "queries": args.queries,
        "threads": args.threads,
        "load_average_at_start": round(os.getloadavg()[0], 2),
        "made": "clustered: see the docstring of eval/bench_retrieval.py",
        "curve": {},
    }
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for n in sizes:
            kinds = args.kinds.split(",") if n <= 100_000 else ["auto"]
            values["curve"][str(n)] = one_size(n, kinds, Source(True), args.queries, folder)
            if not args.no_write:  # a long run that is stopped keeps what it has measured
                write_result("retrieval", n, values)
        if args.hard:
            hard = folder / "hard"
            hard.mkdir()
            values["without_topics"] = {
                str(args.hard): one_size(args.hard, args.kinds.split(","), Source(False), args.queries, hard)
            }
        if args.records:
            values["whole_index"] = whole_index(args.records, folder / "index")
    values["load_average_at_end"] = round(os.getloadavg()[0], 2)
    if not args.no_write:
        write_result("retrieval", max(sizes), values)


if __name__ == "__main__":
    main()

"""The vectors of one level in one segment, on disk, and nearest-neighbor search among the allowed rows.

A search always gets the set of rows that may be found, as a bitmap that faiss consults while it searches
(``IDSelectorBitmap``). Nothing is filtered afterwards, so a forbidden row cannot take the place of an allowed one, and
there is nothing to fall back to. Approximate kinds keep the full vectors beside the codes: candidates are compared
again exactly, and when few rows are allowed these alone are compared.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from radvlm.errors import FileFormatError, VerificationError
from radvlm.retrieve.index_kind import EXACT_ROWS, Plan

BLOCK = 65_536
#: Candidates compared exactly for each hit asked for, by kind.
_WIDTH = {"hnsw": 4, "ivf_flat": 1, "ivf_sq8": 4, "ivf_pq": 40}
#: Effort tried in turn until the recall target is met: lists visited, or ef of the graph.
_EFFORT = (4, 8, 16, 24, 32, 48, 64, 96, 128, 192, 256, 384, 512)


def _faiss() -> Any:
    """faiss, imported when it is first needed; its type stubs do not describe what Python sees, hence Any."""
    import faiss

    return faiss


@dataclass(frozen=True)
class Shelf:
    """Vectors of one level.

    Attributes:
        kind: of ``plan.Plan``.
        matrix: (N, D) float32 unit vectors, mapped from disk.
        faiss_index: the index, mapped where faiss can.
        effort: lists visited or ef of the graph; 0 for exact.
    """

    kind: str
    matrix: np.ndarray
    faiss_index: Any
    effort: int

    @property
    def n(self) -> int:
        return int(self.matrix.shape[0])

    def search(self, query: np.ndarray, k: int, allowed: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Rows and cosines of the nearest allowed rows, best first, ties by row; fewer than k when fewer are allowed.

        Args:
            query: (D,) float32 of unit length.
            allowed: (N,) bool.
        """
        count = int(np.count_nonzero(allowed))
        k = min(k, count)
        if k == 0:
            return np.empty(0, np.int64), np.empty(0, np.float32)
        if self.kind != "flat" and count <= EXACT_ROWS:
            rows = np.flatnonzero(allowed)
        else:
            wanted = min(count, k * _WIDTH.get(self.kind, 1))
            rows = self._candidates(query, wanted, allowed, count)
            if len(rows) < k:  # a graph cut by the filter, or lists left unvisited: compare all that are allowed
                rows = np.flatnonzero(allowed)
        return self._best(query, rows, k, allowed)

    def exact(self, query: np.ndarray, k: int, allowed: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """The same by comparing every allowed row; the truth that ``check`` measures recall against."""
        rows = np.flatnonzero(allowed)
        return self._best(query, rows, min(k, len(rows)), allowed)

    def _candidates(self, query: np.ndarray, k: int, allowed: np.ndarray, count: int) -> np.ndarray:
        faiss = _faiss()
        bits = np.packbits(allowed, bitorder="little")
        selector = faiss.IDSelectorBitmap(bits)
        more = max(1, round((self.n / count) ** 0.5))  # a filter that leaves little needs a wider search
        if self.kind == "flat":
            parameters = faiss.SearchParameters(sel=selector)
        elif self.kind == "hnsw":
            parameters = faiss.SearchParametersHNSW(sel=selector, efSearch=max(self.effort * more, k))
        else:
            parameters = faiss.SearchParametersIVF(sel=selector, nprobe=min(self.effort * more, self.faiss_index.nlist))
        _, rows = self.faiss_index.search(query[None, :], k, params=parameters)
        return rows[0][rows[0] >= 0]

    def _best(self, query: np.ndarray, rows: np.ndarray, k: int, allowed: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        if not allowed[rows].all():  # cannot happen; a leak must never pass in silence
            raise VerificationError(
                "a search returns allowed rows only",
                f"{int((~allowed[rows]).sum())} others",
                "Please report this: it is a defect of radvlm or faiss",
            )
        scores = np.concatenate(
            [self.matrix[rows[i : i + BLOCK]] @ query for i in range(0, len(rows), BLOCK)] or [np.empty(0, np.float32)]
        )
        if len(rows) > 4 * k:
            part = np.argpartition(-scores, k - 1)
            keep = np.flatnonzero(scores >= scores[part[k - 1]])  # with every tie
            rows, scores = rows[keep], scores[keep]
        order = np.lexsort((rows, -scores))[:k]
        return rows[order].astype(np.int64), np.clip(scores[order], -1.0, 1.0).astype(np.float32)


def vectors_path(folder: Path, level: str, kind: str) -> Path:
    return folder / (f"{level}.flat.faiss" if kind == "flat" else f"{level}.vectors.npy")


def write_shelf(
    folder: Path, level: str, blocks: Any, n: int, plan: Plan, recall_target: float, seed: int
) -> dict[str, Any]:
    """Write the files of a level from an iterator of (rows, D) blocks; returns the facts that ``open_shelf`` needs."""
    faiss = _faiss()
    if plan.kind == "flat":
        index: Any = None
        for block in blocks:
            if index is None:
                index = faiss.IndexFlatIP(block.shape[1])
            index.add(block)
        faiss.write_index(index, str(vectors_path(folder, level, "flat")))
        return {"kind": "flat", "n": n, "reason": plan.reason, "effort": 0}
    matrix: Any = None
    at = 0
    for block in blocks:
        if matrix is None:
            matrix = np.lib.format.open_memmap(
                vectors_path(folder, level, plan.kind), mode="w+", dtype=np.float32, shape=(n, block.shape[1])
            )
        matrix[at : at + len(block)] = block
        at += len(block)
    matrix.flush()
    index = _train(matrix, plan, seed)
    for start in range(0, n, BLOCK):
        index.add(np.ascontiguousarray(matrix[start : start + BLOCK]))
    effort, recall = _tune(Shelf(plan.kind, matrix, index, 0), recall_target, seed)
    faiss.write_index(index, str(folder / f"{level}.ann.faiss"))
    return {
        "kind": plan.kind,
        "n": n,
        "reason": plan.reason,
        "effort": effort,
        "factory": plan.factory,
        "recall_at_10": recall,
    }


def _train(matrix: np.ndarray, plan: Plan, seed: int) -> Any:
    faiss = _faiss()
    n, dimension = matrix.shape
    index = faiss.index_factory(dimension, plan.factory, faiss.METRIC_INNER_PRODUCT)
    wanted = min(n, max(64 * plan.lists, 20_000))
    rows = np.sort(np.random.default_rng(seed).choice(n, wanted, replace=False))
    if plan.kind == "hnsw":
        index.hnsw.efConstruction = 120
    else:
        index.cp.niter = 10
        index.cp.max_points_per_centroid = 64
        index.cp.min_points_per_centroid = 1  # small forced indexes train without a warning on stderr
        index.cp.seed = seed + 1
    index.train(np.ascontiguousarray(matrix[rows]))
    return index


def _tune(shelf: Shelf, target: float, seed: int, queries: int = 100) -> tuple[int, float]:
    """Least effort with recall@10 of at least ``target`` on vectors between two stored ones, and that recall."""
    from dataclasses import replace

    asked = sample_queries(shelf.matrix, queries, seed)
    allowed = np.ones(shelf.n, dtype=bool)
    truth = exact_batch(shelf.matrix, asked, 10)
    recall = 0.0
    for effort in _EFFORT:
        tried = replace(shelf, effort=effort)
        found = [
            tried._best(q, tried._candidates(q, min(shelf.n, 10 * _WIDTH[shelf.kind]), allowed, shelf.n), 10, allowed)[
                1
            ]
            for q in asked
        ]
        recall = recall_of(found, truth)
        if recall >= target or effort >= shelf.n or (shelf.kind != "hnsw" and effort >= shelf.faiss_index.nlist):
            return effort, round(recall, 4)
    return _EFFORT[-1], round(recall, 4)


def recall_of(found: Sequence[np.ndarray], truth: Sequence[np.ndarray]) -> float:
    """Mean share of the true k whose place is taken by a row at least as near; equal rows are equally good.

    Both are scores, best first; a shorter answer has missed the rest.
    """
    return float(
        np.mean([min(1.0, np.count_nonzero(f >= t[-1] - 1e-5) / len(t)) for f, t in zip(found, truth, strict=True)])
    )


def sample_queries(matrix: np.ndarray, count: int, seed: int) -> np.ndarray:
    """(count, D) unit vectors near stored ones but not stored: each is a row plus a quarter of another."""
    rng = np.random.default_rng(seed + 17)
    count = min(count, len(matrix))
    a, b = rng.choice(len(matrix), count, replace=False), rng.choice(len(matrix), count)
    mixed = matrix[np.sort(a)] + 0.25 * matrix[b]
    return np.ascontiguousarray(mixed / np.maximum(np.linalg.norm(mixed, axis=1, keepdims=True), 1e-6))


def exact_batch(matrix: np.ndarray, queries: np.ndarray, k: int) -> list[np.ndarray]:
    """Scores of the k nearest of each query, best first, exactly; the matrix is read once, in blocks."""
    k = min(k, len(matrix))
    best = np.full((len(queries), k), -np.inf, np.float32)
    for start in range(0, len(matrix), BLOCK):
        scores = queries @ matrix[start : start + BLOCK].T  # (Q, block)
        both = np.concatenate([best, scores], axis=1)
        best = -np.partition(-both, k - 1, axis=1)[:, :k]
    return list(-np.sort(-best, axis=1))


def open_shelf(folder: Path, level: str, facts: Mapping[str, Any], dimension: int) -> Shelf:
    """Map the files of a level; FileFormatError when they are missing, cut short or of another size."""
    faiss = _faiss()
    kind, n = str(facts["kind"]), int(facts["n"])
    path = vectors_path(folder, level, kind)
    try:
        if kind == "flat":
            index = faiss.read_index(os.fspath(path), faiss.IO_FLAG_MMAP_IFC)
            matrix = faiss.rev_swig_ptr(index.get_xb(), index.ntotal * index.d).reshape(index.ntotal, index.d)
        else:
            matrix = np.load(path, mmap_mode="r", allow_pickle=False)
            flag = faiss.IO_FLAG_MMAP_IFC if kind == "hnsw" else faiss.IO_FLAG_MMAP | faiss.IO_FLAG_READ_ONLY
            index = faiss.read_index(os.fspath(folder / f"{level}.ann.faiss"), flag)
    except (OSError, RuntimeError, ValueError) as error:
        raise FileFormatError(
            "the files of an index are whole",
            f"{path.name}: {str(error)[:200]}",
            "Restore the folder from a copy, or build the index again",
        ) from error
    if matrix.shape != (n, dimension) or index.ntotal != n:
        raise FileFormatError(
            "an index holds what its manifest says",
            f"{path.name}: {matrix.shape}, expected ({n}, {dimension})",
            "Restore the folder from a copy, or build the index again",
        )
    return Shelf(kind, matrix, index, int(facts["effort"]))

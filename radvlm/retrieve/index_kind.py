"""Chooses the kind of index for a number of vectors, and says why.

The limits are explained in docs/retrieval.md and measured by eval/bench_retrieval.py.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

#: Exact search of this many takes a few tens of milliseconds on two cores; nothing is lost and nothing is trained.
FLAT_UP_TO = 50_000
#: Up to here one byte a dimension fits the memory of one machine; beyond, product quantization.
SQ8_UP_TO = 20_000_000
#: Fewer allowed rows than this are compared one by one, whatever the index: exact, and faster than a filtered graph.
EXACT_ROWS = 20_000
#: k-means of faiss wants at least 39 points a centroid.
POINTS_PER_LIST = 39


@dataclass(frozen=True)
class Plan:
    """The index to build: kind (``settings.KINDS`` without auto), faiss factory text ("" for flat), the reason."""

    kind: str
    factory: str
    reason: str
    lists: int = 0


def choose(n: int, dimension: int, kind: str = "auto") -> Plan:
    """The plan for ``n`` vectors of ``dimension``; a forced kind is kept unless it cannot be trained."""
    lists = 2 ** max(0, round(math.log2(4 * math.sqrt(max(n, 1)))))
    lists = max(1, min(lists, n // POINTS_PER_LIST))
    if kind == "auto":
        if n <= FLAT_UP_TO:
            return Plan(
                "flat", "", f"{n:,} vectors: exact search is fast enough up to {FLAT_UP_TO:,} and loses nothing"
            )
        kind = "ivf_sq8" if n <= SQ8_UP_TO else "ivf_pq"
        why = (
            f"{n:,} vectors are above {FLAT_UP_TO:,}: {lists} lists of one-byte codes, best candidates compared exactly"
            if kind == "ivf_sq8"
            else f"{n:,} vectors are above {SQ8_UP_TO:,}: {lists} lists of 4-bit product codes, compared exactly after"
        )
    else:
        why = f"{kind} was asked for"
    if kind == "flat" or n < POINTS_PER_LIST + 1:
        return Plan(
            "flat", "", why if kind == "flat" else f"{n} vectors are too few to train {kind}; exact search instead"
        )
    if kind == "hnsw":
        return Plan("hnsw", "HNSW32_SQ8", why)
    codes = {"ivf_flat": "Flat", "ivf_sq8": "SQ8", "ivf_pq": f"PQ{_divisor(dimension)}x4fs"}[kind]
    return Plan(kind, f"IVF{lists},{codes}", why, lists)


def _divisor(dimension: int) -> int:
    """Sub-vectors of four dimensions where that divides, else of two, else of one."""
    return next(dimension // size for size in (4, 2, 1) if dimension % size == 0)

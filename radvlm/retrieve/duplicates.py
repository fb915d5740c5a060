"""Reports that are the same report, by exact text and by MinHash (Broder 1997).

Groups reach across patients. One report filed under two pseudonyms would leak past the exclusion of a patient, so a
search leaves out the whole group of an excluded patient's reports.
"""

from __future__ import annotations

import re
import zlib
from collections.abc import Callable, Sequence

import numpy as np

PERMUTATIONS = 128
#: 32 bands of 4: a pair of Jaccard similarity 0.8 is a candidate with probability 1 - (1 - 0.8**4)**32 > 0.9999999.
BANDS = 32


def shingles(text: str) -> np.ndarray:
    """Sorted distinct 32-bit hashes of the word triples of a text; of its words when it has fewer than three."""
    words = re.findall(r"\w+", text.lower())
    triples = [" ".join(words[i : i + 3]) for i in range(len(words) - 2)] or words or [""]
    return np.unique(np.fromiter((zlib.crc32(t.encode()) for t in triples), np.uint32, len(triples)))


def _multipliers(seed: int = 1) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    return (
        rng.integers(1, 2**63, PERMUTATIONS, dtype=np.uint64) | np.uint64(1),
        rng.integers(0, 2**63, PERMUTATIONS, dtype=np.uint64),
    )


_A, _B = _multipliers()


def signature(text: str) -> np.ndarray:
    """(128,) uint32: the least of 128 hashes over the triples (multiply and shift)."""
    hashes = shingles(text).astype(np.uint64)  # (S,)
    with np.errstate(over="ignore"):
        mixed = (hashes[None, :] * _A[:, None] + _B[:, None]) >> np.uint64(32)  # (128, S)
    return mixed.min(axis=1).astype(np.uint32)


def jaccard(a: np.ndarray, b: np.ndarray) -> float:
    """Shared over all, of two results of ``shingles``."""
    shared = np.intersect1d(a, b, assume_unique=True).size
    return shared / (a.size + b.size - shared)


def groups(
    signatures: np.ndarray, hashes: Sequence[str], text_of: Callable[[int], str], threshold: float
) -> np.ndarray:
    """(N,) int32: reports of one number are one report, exactly or nearly; the number is the first of them.

    Candidates share a band; each is then compared by its real triples. Members of a band are compared with the first
    of it, so a chain A-B-C can be one group although A and C differ more.
    """
    n = len(hashes)
    parent = np.arange(n, dtype=np.int32)

    def root(i: int) -> int:
        while parent[i] != i:
            parent[i] = parent[parent[i]]
            i = int(parent[i])
        return i

    first: dict[str, int] = {}
    for i, key in enumerate(hashes):
        parent[i] = first.setdefault(key, i)
    distinct = np.flatnonzero(parent == np.arange(n))
    cache: dict[int, np.ndarray] = {}

    def triples(i: int) -> np.ndarray:
        if i not in cache:
            if len(cache) > 4096:
                cache.clear()
            cache[i] = shingles(text_of(i))
        return cache[i]

    width = PERMUTATIONS // BANDS
    for band in range(BANDS):
        rows = np.ascontiguousarray(signatures[distinct, band * width : (band + 1) * width])
        keys = rows.view(np.dtype((np.void, rows.dtype.itemsize * width))).ravel() if len(rows) else rows
        order = np.argsort(keys, kind="stable")
        start = 0
        for at in range(1, len(order) + 1):
            if at < len(order) and keys[order[at]] == keys[order[start]]:
                a, b = int(distinct[order[start]]), int(distinct[order[at]])
                if (
                    root(a) != root(b)
                    and (signatures[a] == signatures[b]).mean() >= threshold - 0.15
                    and jaccard(triples(a), triples(b)) >= threshold
                ):
                    low, high = sorted((root(a), root(b)))
                    parent[high] = low
            else:
                start = at
    return np.array([root(i) for i in range(n)], dtype=np.int32)

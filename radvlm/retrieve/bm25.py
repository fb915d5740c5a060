"""BM25 (Robertson and Zaragoza 2009, with the +1 inside the logarithm that keeps weights positive)."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence

import numpy as np

_WORD = re.compile(r"[a-z]+|\d+(?:\.\d+)?")


def terms(text: str) -> list[str]:
    """Lower-case words without a plural s, and numbers."""
    return [
        w[:-1] if len(w) > 3 and w.endswith("s") and not w.endswith(("ss", "is", "us")) else w
        for w in _WORD.findall(text.lower())
    ]


class BM25:
    """Scores of documents for a query, from an inverted list; exact."""

    def __init__(self, documents: Sequence[str], k1: float = 1.2, b: float = 0.75) -> None:
        """``k1`` saturates repeated words, ``b`` (0 to 1) discounts long documents."""
        self.n = len(documents)
        counts = [Counter(terms(d)) for d in documents]
        lengths = np.array([sum(c.values()) for c in counts], dtype=np.float64)
        norm = k1 * (1 - b + b * lengths / max(1e-9, float(lengths.mean()) if self.n else 1.0))
        postings: dict[str, tuple[list[int], list[int]]] = {}
        for i, count in enumerate(counts):
            for term, times in count.items():
                places, frequency = postings.setdefault(term, ([], []))
                places.append(i)
                frequency.append(times)
        self._weights: dict[str, tuple[np.ndarray, np.ndarray]] = {}
        for term, (places, frequency) in postings.items():
            at, f = np.array(places), np.array(frequency, dtype=np.float64)
            idf = np.log(1 + (self.n - len(at) + 0.5) / (len(at) + 0.5))
            self._weights[term] = (at, idf * f * (k1 + 1) / (f + norm[at]))

    def scores(self, query: str) -> np.ndarray:
        """(documents,) float64; 0 where no word is shared."""
        out = np.zeros(self.n)
        for term in terms(query):
            if term in self._weights:
                places, weights = self._weights[term]
                out[places] += weights
        return out

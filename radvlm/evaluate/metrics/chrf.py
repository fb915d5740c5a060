"""chrF: F2 of character n-grams of 1 to 6, blanks removed (Popović 2015, WMT), as sacrebleu defines it (chrF2)."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from radvlm.evaluate.metrics.ngrams import gram_keys, partners
from radvlm.evaluate.metrics.tokenizers import Encoded

ORDERS = 6
BETA = 2.0
#: Cases counted at a time; small enough for the cache.
_CHUNK = 32


def _characters(texts: Sequence[str]) -> Encoded:
    packed = ["".join(text.split()) for text in texts]
    codes = np.frombuffer("".join(packed).encode("utf-32-le", "surrogatepass"), dtype=np.uint32).astype(np.int64)
    return Encoded(codes, np.array([len(p) for p in packed], dtype=np.int64))


def _distinct(encoded: Encoded, order: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Sorted keys with the report number in the high bits, their reports, their counts."""
    grams, cases = gram_keys(encoded, order)
    # A chunk has few reports: the 8 highest bits name the report and 56 bits are left for the n-gram.
    keys = np.sort((grams >> np.uint64(8)) | (cases.astype(np.uint64) << np.uint64(56)))
    new = np.concatenate([np.ones(min(len(keys), 1), bool), keys[1:] != keys[:-1]])
    starts = np.nonzero(new)[0]
    return keys[starts], (keys[starts] >> np.uint64(56)).astype(np.int64), np.diff(np.append(starts, len(keys)))


def statistics(references: Sequence[str], candidates: Sequence[str]) -> np.ndarray:
    """(cases, 18): for each order the n-grams of the candidate, of the reference, and the matches."""
    blocks = []
    for start in range(0, len(references), _CHUNK):
        reference = _characters(references[start : start + _CHUNK])
        candidate = _characters(candidates[start : start + _CHUNK])
        columns, cases = [], len(reference.lengths)
        for order in range(1, ORDERS + 1):
            ref_keys, _, ref_counts = _distinct(reference, order)
            cand_keys, cand_cases, cand_counts = _distinct(candidate, order)
            i, j = partners(cand_keys, ref_keys)
            found = np.bincount(cand_cases[i], np.minimum(cand_counts[i], ref_counts[j]), cases)
            ref_total = np.maximum(reference.lengths - order + 1, 0)
            cand_total = np.where(ref_total > 0, np.maximum(candidate.lengths - order + 1, 0), 0)
            columns += [cand_total, ref_total, found]
        blocks.append(np.stack(columns, axis=1))
    return np.concatenate(blocks).astype(float)


def score(stats: np.ndarray) -> np.ndarray:
    """chrF2 of 0 to 100 from sums (..., 18), over the orders that both sides have."""
    candidate, reference, found = stats[..., 0::3], stats[..., 1::3], stats[..., 2::3]
    both = (candidate > 0) & (reference > 0)
    used = np.maximum(both.sum(axis=-1), 1)
    precision = np.where(both, found / np.maximum(candidate, 1), 0).sum(axis=-1) / used
    recall = np.where(both, found / np.maximum(reference, 1), 0).sum(axis=-1) / used
    below = BETA**2 * precision + recall
    return 100 * np.divide((1 + BETA**2) * precision * recall, below, out=np.zeros_like(below), where=below > 0)

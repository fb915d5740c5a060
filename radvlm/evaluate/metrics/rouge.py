"""ROUGE-1, ROUGE-2 and ROUGE-L: precision, recall and F of each case.

Lin (2004). Google's ``rouge-score`` balances precision and recall (beta 1); the COCO caption tools use beta 1.2.
"""

from __future__ import annotations

import numpy as np

from radvlm.evaluate.metrics.ngrams import common_subsequence, count_grams, matches, totals
from radvlm.evaluate.metrics.tokenizers import Encoded

COCO_BETA = 1.2


def ngram_overlap(reference: Encoded, candidate: Encoded, order: int) -> np.ndarray:
    """(cases, 3): matches, n-grams of the candidate, n-grams of the reference."""
    cases = len(reference.lengths)
    found = matches(count_grams(reference, order), count_grams(candidate, order), cases)
    return np.stack([found, totals(candidate.lengths, order), totals(reference.lengths, order)], axis=1)


def subsequence_overlap(reference: Encoded, candidate: Encoded) -> np.ndarray:
    """(cases, 3): longest common subsequence, tokens of the candidate, tokens of the reference."""
    found = [common_subsequence(r, c) for r, c in zip(reference.lists(), candidate.lists(), strict=True)]
    return np.stack([np.array(found, dtype=float), candidate.lengths, reference.lengths], axis=1)


def precision_recall_f(overlap: np.ndarray, beta: float = 1.0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Precision, recall and F-beta from (cases, 3) overlaps; 0 where a side has none, as in ``rouge-score``."""
    precision = overlap[:, 0] / np.maximum(overlap[:, 1], 1)
    recall = overlap[:, 0] / np.maximum(overlap[:, 2], 1)
    below = recall + beta**2 * precision
    f = np.divide((1 + beta**2) * precision * recall, below, out=np.zeros_like(below), where=below > 0)
    return precision, recall, f

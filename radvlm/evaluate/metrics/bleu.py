"""BLEU from ten sums per case, in the two forms in use: sacrebleu's and that of the COCO caption tools.

Papineni et al. (2002), ACL. Smoothing ``exp`` is method 3 of Chen and Cherry (2014), WMT. The corpus value is a
function of summed counts, not a mean of case values; the two differ by several points on reports.
"""

from __future__ import annotations

import numpy as np

from radvlm.evaluate.metrics.ngrams import count_grams, matches, totals
from radvlm.evaluate.metrics.tokenizers import Encoded

ORDERS = 4
#: What the COCO tools add to numerator and denominator so that nothing is divided by zero.
_COCO_TINY, _COCO_SMALL = 1e-15, 1e-9


def statistics(reference: Encoded, candidate: Encoded) -> np.ndarray:
    """(cases, 10): candidate length, reference length, matches of order 1 to 4, n-grams of the candidate 1 to 4."""
    cases = len(reference.lengths)
    columns = [candidate.lengths, reference.lengths]
    columns += [matches(count_grams(reference, n), count_grams(candidate, n), cases) for n in range(1, ORDERS + 1)]
    columns += [totals(candidate.lengths, n) for n in range(1, ORDERS + 1)]
    return np.stack(columns, axis=1).astype(float)


def _brevity(length: np.ndarray, reference_length: np.ndarray) -> np.ndarray:
    with np.errstate(divide="ignore", invalid="ignore"):
        penalty = np.exp(1 - reference_length / length)
    return np.where(length >= reference_length, 1.0, np.where(length > 0, penalty, 0.0))


def sacrebleu_score(stats: np.ndarray, order: int, effective_order: bool = False) -> np.ndarray:
    """BLEU-``order`` of 0 to 100 from sums (..., 10), smoothing ``exp``, as sacrebleu defines it.

    With ``effective_order`` only the orders that the candidate is long enough for are counted (its sentence BLEU).
    """
    correct, total = stats[..., 2 : 2 + order], stats[..., 2 + ORDERS : 2 + ORDERS + order]
    possible = total > 0
    halvings = np.cumsum(possible & (correct == 0), axis=-1)
    with np.errstate(divide="ignore", invalid="ignore"):
        precision = np.where(correct > 0, correct / total, 1.0 / (2.0**halvings * total))
        logs = np.where(possible, np.log(precision), 0.0 if effective_order else -np.inf)
        used = np.maximum(possible.sum(axis=-1), 1) if effective_order else order
        value = 100 * _brevity(stats[..., 0], stats[..., 1]) * np.exp(logs.sum(axis=-1) / used)
    return np.where((correct > 0).any(axis=-1), value, 0.0)


def coco_score(stats: np.ndarray, order: int) -> np.ndarray:
    """BLEU-``order`` of 0 to 1 from sums (..., 10), as the COCO caption tools define it, for a case or a corpus."""
    correct, total = stats[..., 2 : 2 + order], stats[..., 2 + ORDERS : 2 + ORDERS + order]
    value = ((correct + _COCO_TINY) / (total + _COCO_SMALL)).prod(axis=-1) ** (1 / order)
    ratio = (stats[..., 0] + _COCO_TINY) / (stats[..., 1] + _COCO_SMALL)
    return value * np.where(ratio < 1, np.exp(1 - 1 / ratio), 1.0)


def coco_mean(stats: np.ndarray) -> np.ndarray:
    """Mean of BLEU-1 to BLEU-4, the headline of VLM3D."""
    return np.mean([coco_score(stats, order) for order in range(1, ORDERS + 1)], axis=0)

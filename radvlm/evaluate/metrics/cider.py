"""CIDEr-D: tf-idf weighted n-gram similarity, with the document frequencies of the references it was fitted on.

Vedantam et al. (2015), CVPR; the D variant clips counts and punishes a difference of length. The scale is 0 to 10.
A trap: the value of one case depends on all references, so the same pair scores differently in another
test set, and a subset cannot be compared with the whole.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from radvlm.evaluate.metrics.ngrams import Counts, count_grams, partners, totals
from radvlm.evaluate.metrics.tokenizers import Encoded

ORDERS = 4
#: Width of the length penalty, in tokens.
SIGMA = 6.0


@dataclass(frozen=True)
class DocumentFrequencies:
    """For each order, sorted n-gram numbers and in how many of ``documents`` references each stands."""

    documents: int
    grams: tuple[np.ndarray, ...]
    counts: tuple[np.ndarray, ...]

    @classmethod
    def of(cls, references: Encoded) -> DocumentFrequencies:
        pairs = [np.unique(count_grams(references, n).grams, return_counts=True) for n in range(1, ORDERS + 1)]
        return cls(len(references.lengths), tuple(g for g, _ in pairs), tuple(c for _, c in pairs))

    def weights(self, counts: Counts, order: int) -> np.ndarray:
        """Term frequency times inverse document frequency of each counted n-gram; an unseen one counts as seen once."""
        grams, seen = self.grams[order - 1], self.counts[order - 1]
        frequency = np.ones(len(counts.grams))
        if len(grams):
            place = np.minimum(np.searchsorted(grams, counts.grams), len(grams) - 1)
            known = grams[place] == counts.grams
            frequency[known] = seen[place[known]]
        return counts.counts * (np.log(self.documents) - np.log(frequency))


def cider_d(reference: Encoded, candidate: Encoded, frequencies: DocumentFrequencies) -> np.ndarray:
    """(cases,) CIDEr-D of 0 to 10."""
    cases = len(reference.lengths)
    similarity = np.zeros(cases)
    for order in range(1, ORDERS + 1):
        ref, cand = count_grams(reference, order), count_grams(candidate, order)
        known = reference.memo.get(("weights", order))  # the references are the same for every system
        if known is None or known[0] is not frequencies:
            known = reference.memo["weights", order] = (frequencies, frequencies.weights(ref, order))
        ref_weights, cand_weights = known[1], frequencies.weights(cand, order)
        i, j = partners(cand.keys, ref.keys)
        product = np.bincount(cand.cases[i], np.minimum(cand_weights[i], ref_weights[j]) * ref_weights[j], cases)
        norm = np.sqrt(np.bincount(ref.cases, ref_weights**2, cases) * np.bincount(cand.cases, cand_weights**2, cases))
        similarity += np.divide(product, norm, out=np.zeros(cases), where=norm > 0)
    # The reference implementation measures length in bigrams.
    delta = totals(candidate.lengths, 2) - totals(reference.lengths, 2)
    return 10 * similarity / ORDERS * np.exp(-(delta.astype(float) ** 2) / (2 * SIGMA**2))

"""Counts of n-grams of many reports at once, and the length of the longest common subsequence.

An n-gram is a 64-bit number, the sum of its token numbers times fixed odd constants, so counting is sorting. Two
different n-grams share a number with a chance of about 2**-63; for a million distinct ones the chance that any two
collide is below 1e-7.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from radvlm.evaluate.metrics.tokenizers import Encoded

#: Odd constants, one per place in the n-gram, and one for the report (fractional digits of square roots of primes).
_PLACE = np.array(
    [
        0x6A09E667F3BCC909,
        0xBB67AE8584CAA73B,
        0x3C6EF372FE94F82B,
        0xA54FF53A5F1D36F1,
        0x510E527FADE682D1,
        0x9B05688C2B3E6C1F,
    ],
    dtype=np.uint64,
)
_CASE = np.uint64(0x1F83D9ABFB41BD6B)


@dataclass(frozen=True)
class Counts:
    """Distinct n-grams of each report. Arrays of equal length, sorted by ``keys``.

    Attributes:
        keys: number of (report, n-gram).
        cases: the report.
        grams: number of the n-gram.
        counts: how often it stands there.
    """

    keys: np.ndarray
    cases: np.ndarray
    grams: np.ndarray
    counts: np.ndarray


def gram_keys(encoded: Encoded, order: int) -> tuple[np.ndarray, np.ndarray]:
    """(n-gram numbers, report numbers) of every n-gram that lies within one report."""
    total = len(encoded.ids)
    if total < order:
        return np.empty(0, np.uint64), np.empty(0, np.int64)
    ids = encoded.ids.astype(np.uint64) + np.uint64(1)
    keys = np.zeros(total - order + 1, dtype=np.uint64)
    for place in range(order):
        keys += ids[place : total - order + 1 + place] * _PLACE[place]
    cases = encoded.cases
    inside = cases[: total - order + 1] == cases[order - 1 :]
    return keys[inside], cases[: total - order + 1][inside]


def count_grams(encoded: Encoded, order: int) -> Counts:
    """Distinct n-grams of each report with their counts; counted once for each ``encoded``."""
    if order not in encoded.memo:
        grams, cases = gram_keys(encoded, order)
        keys = grams + cases.astype(np.uint64) * _CASE
        by_key = np.argsort(keys)
        keys = keys[by_key]
        starts = np.nonzero(np.concatenate([[True], keys[1:] != keys[:-1]]))[0] if len(keys) else np.empty(0, np.int64)
        first = by_key[starts]
        counts = np.diff(np.append(starts, len(keys)))
        encoded.memo[order] = Counts(keys[starts], cases[first], grams[first], counts)
    return encoded.memo[order]


def partners(of: np.ndarray, among: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Indices (i, j) with ``of[i] == among[j]``; both arrays sorted and without repeats."""
    if not len(among) or not len(of):
        return np.empty(0, np.int64), np.empty(0, np.int64)
    place = np.searchsorted(among, of)
    place[place == len(among)] = 0
    here = np.nonzero(among[place] == of)[0]
    return here, place[here]


def matches(reference: Counts, candidate: Counts, cases: int) -> np.ndarray:
    """(cases,) clipped matches: for each n-gram the smaller of its two counts, summed."""
    i, j = partners(candidate.keys, reference.keys)
    common = np.minimum(candidate.counts[i], reference.counts[j])
    return np.bincount(candidate.cases[i], weights=common, minlength=cases)


def totals(lengths: np.ndarray, order: int) -> np.ndarray:
    """(cases,) how many n-grams a text of that many tokens has."""
    return np.maximum(lengths - (order - 1), 0)


def common_subsequence(first: list[int], second: list[int]) -> int:
    """Length of the longest common subsequence, a machine word of one sequence at a time.

    Hyyrö (2004), "Bit-parallel LCS-length computation revisited", AWOCA.
    """
    if first == second:
        return len(first)
    places: dict[int, int] = {}
    bit = 1
    for token in first:
        places[token] = places.get(token, 0) | bit
        bit <<= 1
    everything = bit - 1
    row = everything
    for token in second:
        if token in places:
            hit = row & places[token]
            row = ((row + hit) | (row - hit)) & everything
    return len(first) - row.bit_count()

"""Rows that every table should have: what a trivial system scores, and whether a system has collapsed to a template.

On real CT reports one constant "everything is normal" text beats a report drawn at random from the corpus in
ROUGE-L, and tuned constant texts have beaten published models. A metric on which a system does not clearly exceed
these rows says nothing about that system. The nearest report is found with the reference in hand, so it is the best
that copying could do, not a system.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import cache
from importlib.resources import files
from typing import Any

import numpy as np

from radvlm.evaluate.metrics import bleu
from radvlm.evaluate.metrics.ngrams import count_grams, totals
from radvlm.evaluate.metrics.tokenizers import TOKENIZERS, Encoded, Encoder
from radvlm.report_reader.report_text import ReportText

#: Words that tell which region a reference describes.
_REGION_WORDS = {"chest": ("lung", "pulmonary", "pleural"), "abdomen": ("liver", "hepatic", "kidney", "spleen")}
#: A normal text of a region is used when this share of references speaks of it.
_REGION_SHARE = 0.5
#: Most frequent words kept for the nearest report; bounds memory.
_VOCABULARY = 8192
_BLOCK = 256


@dataclass(frozen=True)
class Baseline:
    """A trivial system: its name, what it does, and its reports in the order of the references."""

    name: str
    description: str
    reports: tuple[ReportText, ...]


@dataclass(frozen=True)
class Collapse:
    """How alike the reports of one system are.

    Attributes:
        n: reports.
        distinct: different reports, blanks and case ignored.
        most_common: how often the most frequent report occurs.
        sentences, distinct_sentences: sentences in all, and different ones.
        self_bleu: mean BLEU-4 (0 to 100) of each report against all others; None for a single report.
        mean_words: mean length in words.
    """

    n: int
    distinct: int
    most_common: int
    sentences: int
    distinct_sentences: int
    self_bleu: float | None
    mean_words: float

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)


@cache
def normal_report(region: str) -> dict[str, str]:
    """Findings and impression of the constant normal report of ``chest`` or ``abdomen``."""
    return json.loads(files("radvlm.evaluate").joinpath("assets", f"normal_{region}.json").read_text(encoding="utf-8"))


def baselines(references: Sequence[ReportText], seed: int = 0) -> tuple[Baseline, ...]:
    """The trivial systems for these references; those that need another patient are left out when there is none."""
    rows = [_constant(references)]
    order = sorted(range(len(references)), key=lambda i: references[i].id)
    ordered = [references[i] for i in order]
    if len({r.patient for r in ordered}) > 1:
        for name, description, chosen in (
            ("random report", "another patient's reference, drawn at random", _random(ordered, seed)),
            (
                "nearest report",
                "the most similar reference of another patient (tf-idf), found with the answer in hand",
                _nearest(ordered),
            ),
        ):
            copies: list[ReportText | None] = [None] * len(references)
            for place, pick in zip(order, chosen, strict=True):
                source = ordered[pick]
                copies[place] = ReportText(
                    references[place].id,
                    source.text,
                    references[place].patient_id,
                    source.sections,
                    source.report,
                    source.source,
                )
            rows.append(Baseline(name, description, tuple(c for c in copies if c is not None)))
    return tuple(rows)


def _constant(references: Sequence[ReportText]) -> Baseline:
    texts = [r.text.lower() for r in references]
    share = {
        region: sum(any(w in t for w in words) for t in texts) / max(len(texts), 1)
        for region, words in _REGION_WORDS.items()
    }
    regions = [r for r, part in share.items() if part >= _REGION_SHARE] or [max(share, key=lambda r: share[r])]
    parts = {name: " ".join(normal_report(region)[name] for region in regions) for name in ("findings", "impression")}
    sectioned = any(r.sections for r in references)
    whole = " ".join(parts.values())
    reports = tuple(
        ReportText.from_sections(r.id, parts, r.patient_id) if sectioned else ReportText(r.id, whole, r.patient_id)
        for r in references
    )
    return Baseline("normal report", f"one constant normal report ({' and '.join(regions)}) for every case", reports)


def _random(ordered: Sequence[ReportText], seed: int) -> list[int]:
    rng = np.random.default_rng([seed, 3, len(ordered)])
    chosen = []
    for report in ordered:
        pick = int(rng.integers(len(ordered)))
        while ordered[pick].patient == report.patient:
            pick = int(rng.integers(len(ordered)))
        chosen.append(pick)
    return chosen


def _nearest(ordered: Sequence[ReportText]) -> list[int]:
    vectors = tf_idf([r.text for r in ordered])
    _, patient = np.unique([r.patient for r in ordered], return_inverse=True)
    chosen: list[int] = []
    for start in range(0, len(ordered), _BLOCK):
        similar = vectors[start : start + _BLOCK] @ vectors.T
        similar[patient[start : start + _BLOCK, None] == patient[None]] = -1
        chosen += similar.argmax(axis=1).tolist()
    return chosen


def tf_idf(texts: Sequence[str]) -> np.ndarray:
    """(texts, words) float32 rows of unit length: term frequency times log(n / document frequency)."""
    counts = count_grams(Encoder(TOKENIZERS["rouge"]).encode(texts), 1)
    _, word = np.unique(counts.grams, return_inverse=True)
    frequency = np.bincount(word)
    kept = np.argsort(-frequency, kind="stable")[:_VOCABULARY]
    kept = kept[(frequency[kept] > 1) & (frequency[kept] < len(texts))]
    column = np.full(len(frequency), -1)
    column[kept] = np.arange(len(kept))
    vectors = np.zeros((len(texts), max(len(kept), 1)), dtype=np.float32)
    here = column[word] >= 0
    weight = counts.counts[here] * np.log(len(texts) / frequency[word[here]])
    vectors[counts.cases[here], column[word[here]]] = weight
    norm = np.linalg.norm(vectors, axis=1, keepdims=True)
    return np.divide(vectors, norm, out=vectors, where=norm > 0)


def collapse(texts: Sequence[str]) -> Collapse:
    """How alike the texts of one system are."""
    plain = [" ".join(text.lower().split()) for text in texts]
    counts: dict[str, int] = {}
    for text in plain:
        counts[text] = counts.get(text, 0) + 1
    sentences = [s.strip() for text in plain for s in text.replace("? ", ". ").split(". ") if s.strip(" .")]
    encoded = Encoder(TOKENIZERS["13a"]).encode(texts)
    return Collapse(
        len(texts),
        len(counts),
        max(counts.values(), default=0),
        len(sentences),
        len({s.rstrip(".") for s in sentences}),
        self_bleu(encoded),
        float(np.mean([len(text.split()) for text in plain])) if plain else 0.0,
    )


def self_bleu(encoded: Encoded) -> float | None:
    """Mean BLEU-4 (0 to 100) of each text with all others as its references; None for fewer than two texts.

    Exact, and linear in the number of words: for each n-gram the two largest counts tell what the others have.
    """
    cases = len(encoded.lengths)
    if cases < 2:
        return None
    stats = np.zeros((cases, 2 + 2 * bleu.ORDERS))
    stats[:, 0], stats[:, 1] = encoded.lengths, _closest_other(encoded.lengths)
    for order in range(1, bleu.ORDERS + 1):
        counts = count_grams(encoded, order)
        stats[:, 1 + bleu.ORDERS + order] = totals(encoded.lengths, order)
        if not len(counts.keys):
            continue
        by_gram = np.lexsort((-counts.counts, counts.grams))
        grams, many = counts.grams[by_gram], counts.counts[by_gram]
        first = np.concatenate([[True], grams[1:] != grams[:-1]])
        group = np.cumsum(first) - 1
        largest = many[first]
        second = np.zeros(len(largest), dtype=many.dtype)
        follows = np.nonzero(first)[0] + 1
        there = (follows < len(grams)) & ~first[np.minimum(follows, len(grams) - 1)]
        second[there] = many[follows[there]]
        others = np.where(first, second[group], largest[group])
        stats[:, 1 + order] = np.bincount(counts.cases[by_gram], np.minimum(many, others), cases)
    return float(bleu.sacrebleu_score(stats, bleu.ORDERS, effective_order=True).mean())


def _closest_other(lengths: np.ndarray) -> np.ndarray:
    """For each length the nearest of the others, the shorter one of two that are equally near."""
    order = np.argsort(lengths, kind="stable")
    ranked = lengths[order].astype(float)
    below = np.concatenate([[-np.inf], ranked[:-1]])
    above = np.concatenate([ranked[1:], [np.inf]])
    nearest = np.where(ranked - below <= above - ranked, below, above)
    out = np.empty(len(lengths))
    out[order] = nearest
    return out

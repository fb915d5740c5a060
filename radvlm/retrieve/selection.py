"""From hits to the few that are worth showing a language model, with a reason for each keep and drop.

The gap rule of MMed-RAG (cut where log(S_i / S_i+1) first exceeds gamma) is undefined for scores at or below zero and
never fires on collapsed embeddings. Here S is ``score_calibration.strength`` of the z-score against a background:
positive for any cosine, and spread out whatever the encoder. No hit is a valid answer.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass

import numpy as np

from radvlm.errors import InputError
from radvlm.report_reader.topic import says_only_normal
from radvlm.retrieve.records import sentences
from radvlm.retrieve.result import Hit
from radvlm.retrieve.score_calibration import strength


@dataclass(frozen=True)
class SelectSettings:
    """How hits are chosen.

    Attributes:
        gamma: largest drop log(S_i / S_i+1) between neighbours in rank that is not a gap; 0.5 lets the strength fall to
            60 % before it cuts.
        least_z: hits below so many standard deviations above the background are no match; 2.33 is what one random row
            in a hundred reaches.
        most: hits kept at most.
        mmr_weight: of relevance against novelty in maximal marginal relevance (Carbonell and Goldstein 1998), 0 to 1.
        same_above: cosine from which two hits say the same.
        token_budget: of all kept texts together.
        drop_normal: leave out sentences that only say that something is normal.
        keep_uncalibrated: hits whose index is too small for a background (``z`` is None): keep them by rank, or not.
    """

    gamma: float = 0.5
    least_z: float = 2.33
    most: int = 5
    mmr_weight: float = 0.7
    same_above: float = 0.97
    token_budget: int = 256
    drop_normal: bool = True
    keep_uncalibrated: bool = True

    def __post_init__(self) -> None:
        if not self.gamma > 0 or self.most < 0 or self.token_budget < 0 or not 0 <= self.mmr_weight <= 1:
            raise InputError(
                "gamma is above 0, most and token_budget are not negative, mmr_weight is between 0 and 1",
                f"{self.gamma}, {self.most}, {self.token_budget}, {self.mmr_weight}",
            )


@dataclass(frozen=True)
class Verdict:
    """What became of one hit, and why in a few words; ``text`` is what is left of it (only kept ones)."""

    hit: Hit
    kept: bool
    reason: str
    text: str = ""


@dataclass(frozen=True)
class Selection:
    """Verdicts of all hits: the kept in the order of their choice, then the dropped by rank."""

    verdicts: tuple[Verdict, ...]

    @property
    def kept(self) -> tuple[Verdict, ...]:
        return tuple(v for v in self.verdicts if v.kept)

    def explain(self) -> str:
        """One line a hit."""
        return "\n".join(f"{'keep' if v.kept else 'drop'} #{v.hit.rank} {v.hit.id}: {v.reason}" for v in self.verdicts)


def gap_cut(strengths: np.ndarray, gamma: float) -> tuple[int, float]:
    """How many of the ranked strengths stand before the first large drop, and the drop log(S_i / S_i+1) there.

    Without a drop above ``gamma`` all stand, and the second value is the largest drop (0.0 for fewer than two).
    """
    if len(strengths) < 2:
        return len(strengths), 0.0
    drops = np.log(strengths[:-1]) - np.log(np.maximum(strengths[1:], np.finfo(float).tiny))
    large = np.flatnonzero(drops > gamma)
    return (int(large[0]) + 1, float(drops[large[0]])) if len(large) else (len(strengths), float(drops.max()))


def select(
    hits: Iterable[Hit], settings: SelectSettings | None = None, count_tokens: Callable[[str], int] | None = None
) -> Selection:
    """Choose among hits (of one search, best first); see ``SelectSettings``.

    ``count_tokens`` is the decoder's; without it words and punctuation marks are counted.
    """
    settings = settings or SelectSettings()
    count = count_tokens or (lambda text: len(re.findall(r"\w+|[^\w\s]", text)))
    ranked = sorted(hits, key=lambda h: h.rank)
    dropped: list[Verdict] = []
    standing = _calibrated(ranked, settings, dropped)
    left: list[tuple[Hit, str]] = []
    seen: dict[str, int] = {}
    for hit in standing:
        text = _informative(hit.text) if settings.drop_normal else hit.text
        words = " ".join(re.findall(r"\w+", text.lower()))
        if not words:
            dropped.append(Verdict(hit, False, "says only that something is normal"))
        elif words in seen:
            dropped.append(Verdict(hit, False, f"same words as #{seen[words]}"))
        else:
            seen[words] = hit.rank
            left.append((hit, text))
    kept = _marginal(left, settings, count, dropped)
    return Selection((*kept, *sorted(dropped, key=lambda v: v.hit.rank)))


def _calibrated(ranked: list[Hit], settings: SelectSettings, dropped: list[Verdict]) -> list[Hit]:
    """Those above the background and before the gap."""
    bare = [h for h in ranked if h.z is None]
    if bare and not settings.keep_uncalibrated:
        dropped += [Verdict(h, False, "the index is too small to calibrate its scores") for h in bare]
        bare = []
    scored = [h for h in ranked if h.z is not None]
    good = [h for h in scored if h.z is not None and h.z >= settings.least_z]
    dropped += [Verdict(h, False, f"z {h.z:.1f} is below {settings.least_z}") for h in scored if h not in good]
    s = strength(np.array([h.z for h in good], dtype=float))
    stop, drop = gap_cut(s, settings.gamma)
    dropped += [
        Verdict(h, False, f"after the gap below #{good[stop - 1].rank} (log ratio {drop:.2f} > {settings.gamma})")
        for h in good[stop:]
    ]
    return sorted([*good[:stop], *bare], key=lambda h: h.rank)


def _informative(text: str) -> str:
    return " ".join(s for s in sentences(text) if not says_only_normal(s))


def _marginal(
    left: list[tuple[Hit, str]], settings: SelectSettings, count: Callable[[str], int], dropped: list[Verdict]
) -> list[Verdict]:
    """Maximal marginal relevance within the token budget."""
    if not left:
        return []
    relevance = {h.id: (1.0 / h.rank if h.z is None else float(strength(np.array(h.z)))) for h, _ in left}
    top = max(relevance.values())
    chosen: list[tuple[Hit, Verdict]] = []
    budget = settings.token_budget
    waiting = list(left)
    while waiting:
        value = [
            settings.mmr_weight * relevance[h.id] / top
            - (1 - settings.mmr_weight) * max((_alike(h, other) for other, _ in chosen), default=0.0)
            for h, _ in waiting
        ]
        hit, text = waiting.pop(int(np.argmax(value)))
        nearest = max(chosen, key=lambda c: _alike(hit, c[0]), default=None)
        if len(chosen) >= settings.most:
            dropped.append(Verdict(hit, False, f"{settings.most} are kept at most"))
        elif nearest is not None and _alike(hit, nearest[0]) >= settings.same_above:
            dropped.append(Verdict(hit, False, f"says the same as #{nearest[0].rank}"))
        elif count(text) > budget:
            dropped.append(Verdict(hit, False, f"{count(text)} tokens, {budget} left of {settings.token_budget}"))
        else:
            budget -= count(text)
            z = "not calibrated" if hit.z is None else f"z {hit.z:.1f}"
            shorter = ", normal sentences left out" if len(text) < len(hit.text.strip()) - 2 else ""
            chosen.append((hit, Verdict(hit, True, f"{z}{shorter}", text)))
    return [verdict for _, verdict in chosen]


def _alike(a: Hit, b: Hit) -> float:
    """Cosine of two hits, not below 0; shared words over all where a hit carries no vector."""
    if a.vector is not None and b.vector is not None:
        return max(0.0, float(np.dot(a.vector, b.vector)))
    one, two = (set(re.findall(r"\w+", h.text.lower())) for h in (a, b))
    return len(one & two) / max(1, len(one | two))

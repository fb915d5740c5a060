"""What every number of retrieval-augmented generation stands beside: copying, chance, and a vote without a decoder."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from radvlm.errors import InputError
from radvlm.retrieve.index import ReportIndex
from radvlm.retrieve.result import Hit, SearchResult


def copy_only(result: SearchResult) -> str | None:
    """The text of the best hit as the answer; None when there is none."""
    return result[0].text if len(result) else None


def random_report(
    index: ReportIndex,
    seed: int,
    *,
    exclude_patient: str | Sequence[str] | None = None,
    patient_not_indexed: bool = False,
    evaluation: bool = True,
    level: str = "report",
) -> Hit | None:
    """One row drawn evenly from those that a search would have been allowed to find; None when none is."""
    return index.draw(
        seed,
        level=level,
        exclude_patient=exclude_patient,
        patient_not_indexed=patient_not_indexed,
        evaluation=evaluation,
    )


@dataclass(frozen=True)
class Vote:
    """Share of the neighbors' weight that has a finding (0 to 1), and how many neighbors were counted."""

    share: float
    neighbors: int


def neighbor_vote(
    result: SearchResult, labels: Mapping[str, Mapping[str, bool]], finding: str, temperature: float = 0.1
) -> Vote | None:
    """Retrieval-augmented zero-shot: the neighbors of a scan vote on a finding, weighted by softmax of their scores.

    Args:
        labels: record id -> finding -> present; neighbors without a label do not vote.
        temperature: of the softmax over cosines; fit it, and a calibration of the share, on a validation split.

    Returns None when no neighbor has a label.
    """
    if not temperature > 0:
        raise InputError("temperature is above 0", repr(temperature))
    votes: list[tuple[float, bool]] = [
        (h.score, labels[h.record][finding]) for h in result if finding in labels.get(h.record, {})
    ]
    if not votes:
        return None
    weight = np.exp((np.array([s for s, _ in votes]) - votes[0][0]) / temperature)
    present = np.array([p for _, p in votes], dtype=float)
    return Vote(float((weight * present).sum() / weight.sum()), len(votes))


def recall_at_k(results: Sequence[SearchResult], relevant: Sequence[Any], k: int) -> float | None:
    """Share of queries with at least one relevant record (ids) among their first k hits, of those that have any
    relevant record at all; None when no query has."""
    pairs = [(r, set(ids)) for r, ids in zip(results, relevant, strict=True) if ids]
    if not pairs:
        return None
    return float(np.mean([any(h.record in ids for h in r.hits[:k]) for r, ids in pairs]))

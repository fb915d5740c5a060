"""Recall@k of a retrieval, with the query's own patient and its duplicates out of the way.

What is left out is left out *before* k is counted. Otherwise a second scan of the same patient, or the same
report under another id, either gives a hit for nothing or takes a place of the k from what was sought. A ranking too
short to fill k places after that is an error, not a smaller k.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from radvlm.errors import InputError
from radvlm.evaluate.score import Score

#: Values of k that are usual.
DEFAULT_K = (1, 5, 10)


@dataclass(frozen=True)
class RetrievalScores:
    """Of one set of queries.

    Attributes:
        recall: k -> query -> share of its relevant items among the first k.
        hit: k -> query -> 1 when any relevant item is among the first k.
        reciprocal_rank: query -> 1 / rank of the first relevant item; 0 when it is not in the ranking.
        excluded: query -> how many items of its ranking were left out.
    """

    recall: Mapping[int, Mapping[str, Score]]
    hit: Mapping[int, Mapping[str, Score]]
    reciprocal_rank: Mapping[str, Score]
    excluded: Mapping[str, int]

    def mean(self, what: str, k: int = 0) -> Score:
        """Mean over the n queries where it is defined, of ``recall`` or ``hit`` at k, or of ``reciprocal_rank``."""
        if what not in ("recall", "hit", "reciprocal_rank"):
            raise InputError("a mean is of recall, hit or reciprocal_rank", repr(what))
        rows: Mapping[str, Score] = self.reciprocal_rank if what == "reciprocal_rank" else getattr(self, what)[k]
        values = [s.value for s in rows.values() if s.value is not None]
        if not values:
            return Score.undefined("no query has a relevant item that is not left out")
        return Score(float(np.mean(values)), n=len(values), stats=(float(sum(values)), float(len(values))))


def score_retrieval(
    rankings: Mapping[str, Sequence[str]],
    relevant: Mapping[str, Collection[str]],
    patients: Mapping[str, str],
    *,
    duplicates: Mapping[str, str] | None = None,
    paired: bool = False,
    k: Sequence[int] = DEFAULT_K,
) -> RetrievalScores:
    """Score rankings of items for queries.

    Args:
        rankings: query -> item ids, best first, each once. Items may be cases of the same set as the queries.
        relevant: query -> the items that count as found.
        patients: query or item -> patient, for every id that occurs.
        duplicates: item or query -> name of its group of equal contents; those without a group are their own. Items of
            the query's group are left out; of several items of one group only the first in the ranking takes a place.
        paired: the relevant items are the query's own counterpart (its report for its image): they, and they alone, are
            kept though they are of the same patient or group, and an equal copy of one counts as it.

    A query without relevant items after that is undefined and counted. InputError for a ranking that repeats an item,
    an unknown patient, or fewer than k items after what is left out, when more could have been retrieved.
    """
    if not k or any(size < 1 for size in k):
        raise InputError("k is at least 1", str(list(k)))
    missing = [q for q in rankings if q not in relevant]
    if missing:
        raise InputError("every query says what is relevant", repr(missing[0]))
    groups = duplicates or {}
    pool = {item for ranking in rankings.values() for item in ranking}
    recall: dict[int, dict[str, Score]] = {size: {} for size in k}
    hit: dict[int, dict[str, Score]] = {size: {} for size in k}
    first: dict[str, Score] = {}
    excluded: dict[str, int] = {}
    for query, ranking in rankings.items():
        kept, wanted = _kept(query, ranking, set(relevant[query]), patients, groups, paired)
        excluded[query] = len(ranking) - len(kept)
        if len(kept) < max(k) and len(ranking) < len(pool - {query}):
            raise InputError(
                f"a ranking has {max(k)} items after the query's patient and duplicates are left out",
                f"{query}: {len(kept)} of {len(ranking)}",
                "Retrieve more items for each query",
            )
        if not wanted:
            none = Score.undefined("nothing relevant but the query's own patient or its duplicates")
            first[query] = none
            for size in k:
                recall[size][query] = hit[size][query] = none
            continue
        found = [item in wanted for item in kept]
        for size in k:
            count = sum(found[:size])
            recall[size][query] = Score(count / len(wanted), n=len(wanted), stats=(float(count), float(len(wanted))))
            hit[size][query] = Score(float(count > 0))
        first[query] = Score(1 / (found.index(True) + 1) if any(found) else 0.0)
    return RetrievalScores(recall, hit, first, excluded)


def _kept(
    query: str,
    ranking: Sequence[str],
    wanted: set[str],
    patients: Mapping[str, str],
    groups: Mapping[str, str],
    paired: bool,
) -> tuple[list[str], set[str]]:
    """The ranking, and the relevant groups, after what is left out; items stand for their group."""
    if len(set(ranking)) != len(ranking):
        raise InputError("a ranking names an item once", query)
    unknown = [i for i in (query, *ranking, *wanted) if i not in patients]
    if unknown:
        raise InputError("every query and item has a patient", repr(unknown[0]))

    def group(id: str) -> str:
        return f"group {groups[id]}" if id in groups else f"item {id}"

    goals = {group(i) for i in wanted}

    def out(item: str) -> bool:
        if paired and group(item) in goals:
            return False
        return item == query or patients[item] == patients[query] or group(item) == group(query)

    kept = list(dict.fromkeys(group(i) for i in ranking if not out(i)))
    return kept, {group(i) for i in wanted if not out(i)}

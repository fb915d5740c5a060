"""The part of the page on prior texts: which were looked up, where they come from, why each was kept or dropped.

The texts are data of other patients. They stand apart from the report, each with its source, under the
sentence that none of them is a finding; nothing in them is a link or a mark-up.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from radvlm.types.anatomy import SECTIONS
from radvlm.types.report import Report


@dataclass(frozen=True)
class PriorHint:
    """One kept text: its number, where it would be of use, its row in the index, what was taken out of it."""

    number: int
    text: str
    section: str
    source: str
    removed: tuple[str, ...]


@dataclass(frozen=True)
class PriorHit:
    """One hit of a query."""

    source: str
    about: str
    score: str
    kept: bool
    reason: str


@dataclass(frozen=True)
class PriorQuery:
    """One query: what was asked, among how many rows, what was left out, and its hits."""

    words: str
    section: str
    searched: int
    left_out: str
    hits: tuple[PriorHit, ...]


@dataclass(frozen=True)
class PriorPart:
    """Everything the page says of prior texts."""

    statement: str
    use: str
    index: str
    digest: str
    encoder: str
    hints: tuple[PriorHint, ...]
    queries: tuple[PriorQuery, ...]
    changed: tuple[tuple[str, str, str], ...]
    copied: tuple[tuple[str, int, bool], ...]


def prior_context(report: Report) -> PriorPart | None:
    """None for a report without prior texts."""
    facts = report.provenance.get("retrieval")
    if not isinstance(facts, Mapping):
        return None
    use = (
        "The model was shown the kept texts as labeled data, for its wording only."
        if facts.get("given_to_model")
        else str(facts.get("why_not", ""))
    )
    return PriorPart(
        str(facts.get("statement", "")),
        use,
        str(facts.get("index", "")),
        str(facts.get("index_digest", "")),
        str(facts.get("encoder", "")),
        tuple(
            PriorHint(
                int(h["number"]),
                str(h["text"]),
                _heading(h["section"]),
                str(h["source"]),
                tuple(map(str, h["removed"])),
            )
            for h in facts.get("hints") or ()
        ),
        tuple(_query(q) for q in facts.get("queries") or ()),
        tuple(
            (_heading(c["section"]), " ".join(c["without"]), " ".join(c["with"])) for c in facts.get("changed") or ()
        ),
        tuple((str(c["text"]), int(c["hint"]), bool(c["in_report"])) for c in facts.get("copied") or ()),
    )


def _query(row: Mapping[str, Any]) -> PriorQuery:
    left = "; ".join(f"{n} {reason}" for reason, n in row["left_out"].items() if n)
    hits = tuple(
        PriorHit(
            str(h["source"]),
            ", ".join(str(h[k]) for k in ("date", "site") if h.get(k)),
            f"{h['score']:.3f}" + ("" if h["z"] is None else f", z {h['z']:.1f}"),
            bool(h["kept"]),
            str(h["reason"]),
        )
        for h in row["hits"]
    )
    return PriorQuery(str(row["words"]), _heading(row["section"]), int(row["searched"]), left, hits)


def _heading(section: Any) -> str:
    return SECTIONS.get(str(section), "")

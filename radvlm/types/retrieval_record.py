"""What a report keeps of the prior texts that were looked up for it; free of pseudonyms of patients."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from radvlm.types.provenance import Decision
from radvlm.types.records import record_from


@dataclass(frozen=True)
class PriorHit:
    """One hit of a query: its row of the index, how near it is (``z`` calibrated, None where it cannot be), and why it
    was kept or dropped."""

    source: str
    record: str
    date: str
    site: str
    section: str
    score: float
    z: float | None
    kept: bool
    reason: str


@dataclass(frozen=True)
class PriorQuery:
    """One query: what was asked, of which section, among how many rows, what was left out by reason, and its hits."""

    words: str
    section: str
    level: str
    searched: int
    left_out: Mapping[str, int]
    hits: tuple[PriorHit, ...]


@dataclass(frozen=True)
class PriorHint:
    """One kept text: its number, where it would be of use, its row of the index, what was taken out of it."""

    number: int
    text: str
    section: str
    source: str
    removed: tuple[str, ...]


@dataclass(frozen=True)
class SectionChange:
    """The sentences of a section that stand only without the prior texts, and those that stand only with them."""

    section: str
    only_without: tuple[str, ...]
    only_with: tuple[str, ...]


@dataclass(frozen=True)
class CopiedSentence:
    """A sentence of the model that repeats a hint, by its number, and whether it stands in the report."""

    section: str
    text: str
    hint: int
    in_report: bool


@dataclass(frozen=True)
class RetrievalRecord:
    """``provenance.retrieval`` of report.json.

    Attributes:
        index, index_digest, encoder: which index answered.
        statement: what every report with prior texts says of them.
        queries, hints: every search with every hit, and the texts that were kept.
        decisions: how the search was routed and whom it left out.
        given_to_model: whether a model was shown the hints; ``why_not`` says why it was not.
        changed, copied: what the hints did to the wording.
    """

    index: str
    index_digest: str
    encoder: str
    statement: str
    queries: tuple[PriorQuery, ...]
    hints: tuple[PriorHint, ...]
    decisions: tuple[Decision, ...]
    given_to_model: bool = False
    why_not: str = ""
    changed: tuple[SectionChange, ...] = ()
    copied: tuple[CopiedSentence, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """As report.json holds it."""
        changed = [
            {"section": c.section, "without": list(c.only_without), "with": list(c.only_with)} for c in self.changed
        ]
        return {**asdict(self), "changed": changed}

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> RetrievalRecord:
        """Undo ``to_dict``, also after JSON made lists of tuples."""
        changed = [
            {"section": c["section"], "only_without": c["without"], "only_with": c["with"]} for c in data["changed"]
        ]
        return record_from(cls, {**data, "changed": changed}, skip_unknown=True)

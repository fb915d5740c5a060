"""What a search returns."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np

from radvlm.types.provenance import Decision


@dataclass(frozen=True)
class Hit:
    """One prior text (or scan) that was found.

    Attributes:
        id: of the row: record, level and number.
        record, patient, study, date, site, split, region, volume: as the record says.
        level, section, organ, text: what was found; for an image the text is the whole report.
        score: cosine after the index's transform, -1 to 1.
        z: standard deviations above the background (rows of the same kind that were allowed), None when fewer than
            ``MIN_BACKGROUND`` of them exist.
        rank: 1 for the best.
        report_hash: of the report's text.
        vector: (D,) transformed; not part of equality or of the record kept.
    """

    id: str
    record: str
    patient: str
    study: str
    level: str
    section: str
    organ: str
    text: str
    score: float
    z: float | None
    rank: int
    date: str = ""
    site: str = ""
    split: str = ""
    region: str = ""
    volume: str = ""
    report_hash: str = ""
    vector: np.ndarray | None = field(default=None, compare=False, repr=False)

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready, without the vector."""
        return {k: v for k, v in asdict(self).items() if k != "vector"}


@dataclass(frozen=True)
class SearchResult:
    """Hits, best first; none is a valid answer.

    Attributes:
        index_digest: sha256 of the manifest of the index that answered; it covers every file, removal and setting.
        level: searched.
        searched: rows that were allowed.
        excluded: reason -> records left out for it, counted in the order of the reasons.
        decisions: what the search decided (level, routing, patient), with warnings.
    """

    hits: tuple[Hit, ...]
    index_digest: str
    level: str
    searched: int
    excluded: Mapping[str, int]
    decisions: tuple[Decision, ...] = ()

    def __iter__(self) -> Iterator[Hit]:
        return iter(self.hits)

    def __len__(self) -> int:
        return len(self.hits)

    def __getitem__(self, i: int) -> Hit:
        return self.hits[i]

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready audit record: what was found, among how many, what was left out and why."""
        return {
            "index_digest": self.index_digest,
            "level": self.level,
            "searched": self.searched,
            "excluded": dict(self.excluded),
            "hits": [h.to_dict() for h in self.hits],
            "decisions": [asdict(d) for d in self.decisions],
        }

"""What a report keeps of the model that helped to write it: who it is, its limits, what became of what it said."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from radvlm.types.provenance import Decision


@dataclass(frozen=True)
class DraftCounts:
    """Sentences of its prose: those that stand in the report, were true but said no more than it, or failed."""

    accepted: int = 0
    said_by_template: int = 0
    replaced: int = 0


@dataclass(frozen=True)
class ModelRecord:
    """``provenance.model`` of report.json.

    Attributes:
        name, sha256, notice: the model, digest of its weights, how far to trust it.
        thresholds: finding -> (absent below, present from).
        decisions: what it warned of and what was left out on the way.
        agreements, disagreements: where masks and model say the same or the opposite, in sentences.
        left_out: what it said that could not be taken over, with the reason.
        outside_domain: why the scan is unlike those of its training; "" where it is not. Its findings then stand in the
            section ``outside_domain``, and nowhere else.
    """

    name: str
    sha256: str
    notice: str
    thresholds: Mapping[str, tuple[float, float]]
    decisions: tuple[Decision, ...]
    agreements: tuple[str, ...]
    disagreements: tuple[str, ...]
    left_out: tuple[str, ...]
    drafts: DraftCounts
    outside_domain: str = ""

    @property
    def warnings(self) -> tuple[str, ...]:
        """What a reader must know of this reading."""
        return tuple(d.what for d in self.decisions if d.warning)

    def to_dict(self) -> dict[str, Any]:
        """As report.json holds it."""
        return {**asdict(self), "warnings": self.warnings}

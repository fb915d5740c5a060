"""The part of the page that a model fills: its badges, its notice, and what became of everything it said.

What the masks overruled and what verification replaced is shown as plainly as what was accepted, because a
reader judges a model by its mistakes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from radvlm.types.anatomy import structures
from radvlm.types.finding import Finding, Status
from radvlm.types.model_output import OUTSIDE_ITS_DOMAIN
from radvlm.types.model_record import DraftCounts, ModelRecord
from radvlm.types.report import Replacement, Report
from radvlm.wording.numbers import probability_text

#: How a finding of a model was tied to a place, in words for the badge and for its explanation.
_GROUNDED = {
    "voxel head": ("", "outlined by the model itself, not measured"),
    "organ": ("organ only", "the region is the whole organ, not the finding"),
    "not localized": ("no place", "the model does not say where"),
}


@dataclass(frozen=True)
class ScoreRow:
    """One score of the model as the table shows it."""

    finding: str
    site: str
    probability: str
    status: str
    grounding: str
    sort: float


@dataclass(frozen=True)
class ModelPart:
    """Everything the page says of the model; ``record`` is None where only sentences were replaced."""

    record: ModelRecord | None
    replacements: tuple[Replacement, ...]
    prose: str
    scores: tuple[ScoreRow, ...]


def model_badge(findings: Sequence[Finding]) -> tuple[str, str, str]:
    """(class, text, explanation) of a sentence that states what a model saw."""
    chances = [f.confidence or 0.0 for f in findings]
    if all(f.status is Status.ABSENT for f in findings):
        shown = f"{min(chances):.2f}" if len(chances) == 1 else f"{min(chances):.2f} to {max(chances):.2f}"
        return "model", "model", f"Not seen by the model (probability {shown}); nobody searched for it in masks"
    first = findings[0]
    short, long = _GROUNDED.get(first.grounding, ("", ""))
    text = f"model, p {probability_text(min(chances))}" + (f", {short}" if short else "")
    state = "Left open by a model" if first.status is Status.INDETERMINATE else "Stated by a model"
    if first.status is Status.NOT_ASSESSED:
        state = "Not assessed: said by a model outside its domain"
    explanation = f"{state} with probability {min(chances):.2f}; not measured in the masks"
    return "model", text, explanation + (f"; {long}" if long else "")


def whole_notice(report: Report, notice: str) -> str:
    """The notice of every page, and that of the model where one spoke."""
    return notice if report.model is None or not report.model.notice else f"{notice} {report.model.notice}"


def model_context(report: Report, manifest: Mapping[str, Any] | None) -> ModelPart | None:
    """None for a report without a model, unless sentences were replaced in it."""
    record = report.model
    if record is None and not report.replacements:
        return None
    scores = ((manifest or {}).get("model") or {}).get("scores") or ()
    return ModelPart(
        record,
        report.replacements,
        "" if record is None else _prose(record.drafts),
        tuple(sorted((_score(s, bool(record and record.outside_domain)) for s in scores), key=lambda row: -row.sort)),
    )


def _prose(counts: DraftCounts) -> str:
    """How many of its sentences stand in the report; "" when it wrote none."""
    total = counts.accepted + counts.said_by_template + counts.replaced
    if not total:
        return ""
    return (
        f"Of {total} sentences that it wrote, {counts.accepted} stand in this report, {counts.said_by_template} were "
        f"true but say no more than the report, and {counts.replaced} failed verification."
    )


def _score(row: Mapping[str, Any], is_outside: bool) -> ScoreRow:
    """``is_outside``: of a scan unlike those of the training nothing that the model says is assessed."""
    chance = float(row.get("probability", 0.0))
    site = structures().get(str(row.get("site", "")))
    return ScoreRow(
        str(row.get("finding", "")).replace("_", " "),
        site.words if site else "",
        probability_text(chance),
        f"{Status.NOT_ASSESSED} ({OUTSIDE_ITS_DOMAIN})" if is_outside else str(row.get("status", "")),
        str(row.get("grounding", "")),
        chance,
    )

"""Sentences on what thresholds show in a scan without masks: ``Body in its middle slice ...: width 33.3 cm, ...``."""

from __future__ import annotations

from collections.abc import Sequence

from radvlm.types.finding import Finding, Source, Status
from radvlm.types.report import Sentence
from radvlm.wording.numbers import hu_text, named_number, volume_text
from radvlm.wording.sentences import capital
from radvlm.wording.style import Style

#: Findings whose category says all, numbers included.
_WHOLE = ("imaged_region", "patient_position", "vessel_contrast", "body_fat")
#: Findings whose numbers follow their category.
_WITH_NUMBERS = ("body_size", "aerated_lung")


def bare_sentences(section: str, findings: Sequence[Finding], style: Style) -> list[Sentence]:
    """One sentence a finding, in their order."""
    told = [f for f in findings if f.section == section and f.kind in (*_WHOLE, *_WITH_NUMBERS)]
    return [
        Sentence(_text(f, style), section, (f,))
        for f in told
        if f.status is Status.PRESENT and f.source is Source.VOXELS
    ]


def _text(finding: Finding, style: Style) -> str:
    if finding.kind in _WHOLE:
        return f"{capital(finding.category)}."
    numbers = []
    for m in finding.measurements:
        if m.quantity == "volume":
            numbers.append(f"volume {volume_text(m.value)}")
        else:
            numbers.append(named_number(m, style) or f"mean attenuation {hu_text(m.value)}")
    return f"{capital(finding.category)}: {', '.join(numbers)}."

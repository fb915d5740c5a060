"""Sentences on diseases and devices that are neither lesions nor fluid: a dissected aorta, implants, stents.

Said in findings and impression alike: what and where it is first, then its numbers.
"""

from __future__ import annotations

from collections.abc import Sequence

from radvlm.types.anatomy import DISSECTION, structures
from radvlm.types.finding import Citable, Finding, Status
from radvlm.types.report import Sentence
from radvlm.wording.numbers import length_text, volume_text
from radvlm.wording.sentences import capital
from radvlm.wording.structure_names import level_runs
from radvlm.wording.style import Style


def is_disease_or_device(finding: Citable) -> bool:
    """Whether this module has the sentence of a finding."""
    if not isinstance(finding, Finding) or finding.status is not Status.PRESENT or not finding.headline:
        return False
    return _names_disease_or_device(finding.kind)


def _names_disease_or_device(kind: str) -> bool:
    row = structures().get(kind)
    return kind == DISSECTION or (row is not None and row.kind == "device")


def disease_text(finding: Finding, style: Style, is_brief: bool = False) -> str:
    """``Aortic dissection from T4 to L2, length 25.3 cm, width of the false lumen 2.3 cm; ...``; a device by name,
    in the findings with its volume."""
    parts = [finding.headline]
    if finding.kind == DISSECTION:
        if finding.locations:
            levels = level_runs(finding.locations)
            parts[0] += f" from {levels}" if " to " in levels else f" at {levels}"
        names = {
            "length": "length",
            "width": "width of the false lumen",
            "diameter": "diameter of the aorta there",
            "whole_diameter": "diameter of the imaged aorta",
        }
        for quantity, name in names.items():
            number = finding.measurement(quantity)
            if number is not None:
                parts.append(f"{name} {length_text(number.value, style)}")
    elif not is_brief and style.is_full and style.volumes:
        volume = finding.measurement("volume")
        parts += [] if volume is None else [f"volume {volume_text(volume.value)}"]
    if finding.cut_by:
        parts.append("incompletely imaged")
    text = ", ".join(parts)
    return f"{capital(text)}; {finding.category}." if finding.category else f"{capital(text)}."


def disease_sentences(section: str, findings: Sequence[Finding], style: Style) -> list[Sentence]:
    """One sentence a finding, the most important first; then what was searched for and is not there."""
    return [*_told(section, findings, style), *no_diseases(section, findings)]


def no_diseases(section: str, findings: Sequence[Finding]) -> list[Sentence]:
    """``No aortic dissection segmented in the imaged range.``"""
    denied = [f for f in findings if f.status is Status.ABSENT and f.scope and _names_disease_or_device(f.kind)]
    return [Sentence(f"{capital(f.category)} in the {f.scope}.", section, (f,)) for f in denied]


def _told(section: str, findings: Sequence[Finding], style: Style) -> list[Sentence]:
    told = sorted((f for f in findings if is_disease_or_device(f)), key=lambda f: -f.importance)
    return [Sentence(disease_text(f, style), section, (f,)) for f in told]

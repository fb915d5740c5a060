"""Sentences on what attenuation alone shows: ``Focus of high attenuation in the left kidney, 8 mm, 1288 HU.``"""

from __future__ import annotations

from collections.abc import Sequence

from radvlm.types.anatomy import structure
from radvlm.types.finding import Citable, Finding, Source, Status
from radvlm.types.report import Sentence
from radvlm.types.scan_measurements import FOCUS_KINDS
from radvlm.wording.numbers import hu_text, length_text, volume_text
from radvlm.wording.sentences import capital
from radvlm.wording.style import Style
from radvlm.wording.vocabulary import number_word


def is_focus(finding: Citable) -> bool:
    """Whether this module has the sentence of a finding."""
    return finding.kind in FOCUS_KINDS and finding.source is Source.VOXELS and finding.status is Status.PRESENT


def focus_text(finding: Citable, style: Style, is_brief: bool = False) -> str:
    """What and where; size and attenuation of the only one, or the volume of several with those of the largest.

    ``is_brief`` is the impression, where no heading names the organ.
    """
    diameter, volume, mean = (finding.measurement(q) for q in ("diameter", "volume", "mean_hu"))
    tissue = finding.measurement("parenchyma_hu")
    link = "of" if finding.category.endswith(" wall") else "in"
    count = finding.measurement("count")
    several = 0 if count is None else round(count.value)
    parts = [f"{finding.category} {link} the {structure(finding.site).words}"]
    if tissue is not None:
        organ = f"{structure(finding.site).words}: " if is_brief else ""
        parts = [f"{organ}parenchymal {finding.category}", hu_text(tissue.value)]
    elif several > 1 and volume is not None and diameter is not None:
        parts[0] = f"{number_word(several)} {parts[0]}"
        parts.append(f"volume {volume_text(volume.value)}; the largest {length_text(diameter.value, style)}")
    elif finding.category.startswith(("focus", "area ")) and diameter is not None:
        parts.append(length_text(diameter.value, style))
    elif volume is not None:
        part = " in the imaged part" if isinstance(finding, Finding) and finding.cut_by else ""
        parts.append(f"volume {volume_text(volume.value)}{part}")
    if mean is not None and finding.kind != "gas_focus":
        parts.append(hu_text(mean.value))
    return capital(", ".join(parts)) + "."


def focus_sentences(section: str, findings: Sequence[Finding], style: Style) -> list[Sentence]:
    """One sentence a finding, the most important first."""
    told = sorted((f for f in findings if is_focus(f)), key=lambda f: -f.importance)
    return [Sentence(focus_text(f, style), section, (f,)) for f in told]

"""Sentences on what attenuation alone shows: ``Focus of high attenuation in the left kidney, 8 mm, 1288 HU.``"""

from __future__ import annotations

from collections.abc import Sequence

from radvlm.types.anatomy import structure
from radvlm.types.finding import Citable, Finding, Source, Status
from radvlm.types.report import Sentence
from radvlm.types.scan_measurements import FOCUS_KINDS
from radvlm.wording.numbers import error_text, hu_text, length_text, volume_text
from radvlm.wording.sentences import capital
from radvlm.wording.structure_names import places_text
from radvlm.wording.style import Style
from radvlm.wording.vocabulary import number_word


def is_focus(finding: Citable) -> bool:
    """Whether this module has the sentence of a finding."""
    return finding.kind in FOCUS_KINDS and finding.source is Source.VOXELS and finding.status is Status.PRESENT


def focus_text(finding: Citable, style: Style, is_brief: bool = False) -> str:
    """What and where; size and attenuation of the only one, or the volume of several with those of the largest.

    ``is_brief`` is the impression, where no heading names the organ.
    """
    return capital(_clause(finding, style, is_brief)) + "."


def impression_text(findings: Sequence[Finding], style: Style) -> str:
    """Foci of one kind in both organs of a pair, in one sentence: ``Two foci ... in the right kidney, ...; one in the
    left kidney, ...``"""
    first, *others = (_clause(f, style, True) for f in findings)
    return capital("; ".join([first, *(_again(f, text) for f, text in zip(findings[1:], others, strict=True))])) + "."


def _again(finding: Finding, clause: str) -> str:
    """The clause with its count in place of what was named before: ``one in the left kidney``."""
    count = finding.measurement("count")
    _, _, rest = clause.partition(finding.category)
    return f"{number_word(round(count.value))}{rest}" if count is not None and rest else clause


def _clause(finding: Citable, style: Style, is_brief: bool) -> str:
    diameter, volume, mean, peak = (finding.measurement(q) for q in ("diameter", "volume", "mean_hu", "peak_hu"))
    tissue = finding.measurement("parenchyma_hu")
    link = "of" if finding.category.endswith(" wall") else "in"
    count = finding.measurement("count")
    several = 0 if count is None else round(count.value)
    organ = f"the {structure(finding.site).words}"
    where, size = f"{link} {_part(finding)}{organ}", ""
    if diameter is not None:
        error = error_text(diameter, style) if peak is not None else ""
        size = length_text(diameter.value, style) + (f" ({error})" if error else "")
    parts = [f"{finding.category} {where}{_level(finding)}"]
    if tissue is not None:
        told = f"{structure(finding.site).words}: " if is_brief else ""  # else the heading names the organ
        parts = [f"{told}parenchymal {finding.category}", hu_text(tissue.value)]
    elif several > 1 and volume is not None and diameter is not None:
        parts = [f"{number_word(several)} {finding.category} {link} {organ}", f"volume {volume_text(volume.value)}"]
        of_largest = _part(finding).removesuffix(" of ")
        parts[-1] += f"; the largest {size}" + (f" in {of_largest}" if of_largest else "") + _level(finding)
    elif finding.category.startswith(("focus", "area ")) and diameter is not None:
        parts.append(size)
    elif volume is not None:
        part = " in the imaged part" if isinstance(finding, Finding) and finding.cut_by else ""
        parts.append(f"volume {volume_text(volume.value)}{part}")
    if mean is not None and finding.kind != "gas_focus":
        parts.append(hu_text(mean.value))
    if peak is not None:
        parts.append(f"peak {hu_text(peak.value)}")
    return ", ".join(parts)


def _level(finding: Citable) -> str:
    """`` at the level of L1``, where nothing nearer tells the place."""
    level = finding.level if isinstance(finding, Finding) else ""
    return f" at the level of {level.removeprefix('vertebrae_')}" if level else ""


def _part(finding: Citable) -> str:
    """``the lower pole of ``, ``segment VI of ``: where in its organ the only or the largest one lies."""
    if not isinstance(finding, Finding):
        return ""
    if finding.pole:
        return f"the {finding.pole} of "
    return f"{places_text(finding.locations[:1])} of " if finding.locations else ""


def focus_sentences(section: str, findings: Sequence[Finding], style: Style) -> list[Sentence]:
    """One sentence a finding, the most important first."""
    told = sorted((f for f in findings if is_focus(f)), key=lambda f: -f.importance)
    return [Sentence(focus_text(f, style), section, (f,)) for f in told]

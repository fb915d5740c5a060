"""Sentences about lesions and fluid: alone, a few listed by size, or counted with the largest described."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from radvlm.compose.referents import size_quantities
from radvlm.types.anatomy import is_lesion_kind, structure
from radvlm.types.finding import Assessment, Citable, Finding, Source, Status
from radvlm.types.phrases import joined
from radvlm.wording.numbers import axes_text, hu_text, length_text, volume_text
from radvlm.wording.sentences import capital
from radvlm.wording.structure_names import place
from radvlm.wording.style import Style
from radvlm.wording.vocabulary import base_name, lexicon, noun, number_word


@dataclass(frozen=True)
class LesionGroup:
    """Lesions of one kind, largest first. Sides are merged ("renal cysts")."""

    base: str
    lesions: tuple[Finding, ...]

    @property
    def findings(self) -> tuple[Citable, ...]:
        """Every lesion, followed by what is said of it."""
        return tuple(f for lesion in self.lesions for f in (lesion, *own_assessments(lesion)))

    @property
    def importance(self) -> float:
        return max(f.importance for f in self.findings)


def is_unmeasured(finding: Finding) -> bool:
    """Whether a finding is of areas that masks label as a lesion and that are too small to be measured."""
    is_open = finding.status is Status.INDETERMINATE and finding.source is Source.MASKS
    return is_open and is_lesion_kind(finding.kind) and bool(finding.category)


def unmeasured_text(finding: Finding) -> str:
    """``2 further areas of fewer than 4 voxels are labeled as liver metastasis, not measured.``"""
    return capital(finding.category) + "."


def own_assessments(finding: Finding) -> tuple[Assessment, ...]:
    """Judgements with words on the finding alone: not on a pair, not on a vessel beside it."""
    return tuple(a for a in finding.assessments if a.category and a.site == finding.site and not a.twin)


def lesion_groups(findings: Sequence[Finding]) -> list[LesionGroup]:
    """Present lesions grouped by kind (fluid with, lesions without side), groups in order of appearance."""
    groups: dict[str, list[Finding]] = {}
    for finding in findings:
        if finding.status is Status.PRESENT and is_lesion_kind(finding.kind):
            fluid = structure(finding.kind).kind == "fluid"
            groups.setdefault(finding.kind if fluid else base_name(finding.kind), []).append(finding)
    return [LesionGroup(base, tuple(sorted(held, key=lambda f: -_size(f)))) for base, held in groups.items()]


def _size(finding: Finding) -> float:
    """As ``Subject.size``: long axis in mm (short axis of lymph nodes), or volume in mL."""
    for quantity in size_quantities(finding.kind):
        measurement = finding.measurement(quantity)
        if measurement is not None:
            return measurement.value
    return 0.0


def size_text(lesion: Finding, style: Style) -> str:
    """``2.3 x 1.8 cm``, ``7 mm``, ``120 mL`` or "" when nothing of the kind was measured."""
    kind = structure(lesion.kind)
    if lesion.kind in lexicon().without_size:
        return ""
    volume, long, short = (lesion.measurement(q) for q in ("volume", "long_axis", "short_axis"))
    if (kind.kind == "fluid" or lesion.kind in lexicon().by_volume) and volume is not None:
        return volume_text(volume.value)
    if long is not None and short is not None:
        return axes_text(long.value, short.value, style)
    if long is not None:
        return length_text(long.value, style)
    return ""


def _details(lesion: Finding, group: LesionGroup, style: Style, attenuation_word: bool, brief: bool) -> list[str]:
    """What follows the place: attenuation words, HU, categories, completeness."""
    parts = []
    word = lesion.attenuation
    plain = lesion.kind in lexicon().without_attenuation
    if word and not attenuation_word and not plain and not brief:
        parts.append(word)
    mean = lesion.measurement("core_mean_hu") or lesion.measurement("mean_hu")
    small = any(f.status is Status.INDETERMINATE and "too small" in f.category for f in own_assessments(lesion))
    if style.is_full and style.attenuation and mean is not None and not (plain or brief or small):
        phase = lesion.phase if lesion is group.lesions[0] and lesion.host else ""
        parts.append(hu_text(mean.value) + (f" in the {phase} phase" if phase else ""))
    full = style.is_full and not brief
    parts += dict.fromkeys(f.category for f in own_assessments(lesion) if full or not f.is_detail)
    if lesion.cut_by:
        parts.append("incompletely imaged")
    return parts


def _single(lesion: Finding, group: LesionGroup, style: Style, brief: bool = False) -> str:
    """``2.3 x 1.8 cm hypoattenuating liver lesion in segment VI, 45 HU, fluid attenuation``."""
    words = noun(lesion.kind, 1, with_side=True)
    where = place(lesion, words)
    host = lesion.host or structure(lesion.kind).parent
    if structure(lesion.kind).side and host and f"the {structure(host).words}" in where:
        words = noun(lesion.kind, 1)  # "renal cyst in the upper pole of the left kidney"
    attenuation = "" if lesion.kind in lexicon().without_attenuation else lesion.attenuation
    size = size_text(lesion, style)
    fluid = structure(lesion.kind).kind == "fluid"
    sides = {structure(n).side for n in lesion.locations} if fluid and not structure(lesion.kind).side else set()
    if len(sides) == 1 and "" not in sides:  # "left pneumothorax", not "pneumothorax in the left lung"
        words, where = f"{sides.pop()} {words}", ""
    head = f"{attenuation} {words}".strip()
    text = f"{head} {where}".strip() if fluid else f"{size} {head} {where}".strip()
    details = _details(lesion, group, style, bool(attenuation), brief)
    if fluid and size:
        details.insert(0, f"{size} in the imaged part" if lesion.cut_by else size)
        details = [d for d in details if d != "incompletely imaged"]
    return ", ".join([text, *details])


def group_sentence(group: LesionGroup, style: Style, names_phase: bool = True) -> str:
    """One sentence for all lesions of a kind; ``names_phase`` says the contrast phase beside the first HU."""
    text = _group_text(group, style)
    phase = group.lesions[0].phase
    return text if names_phase or not phase else text.replace(f" in the {phase} phase", "")


def _group_text(group: LesionGroup, style: Style) -> str:
    lesions = group.lesions
    if len(lesions) == 1:
        return capital(_single(lesions[0], group, style)) + "."
    words = noun(lesions[0].kind, 2)
    count = capital(number_word(len(lesions)))
    graded = all(place(x, words) for x in lesions) and any(_details(x, group, style, True, True) for x in lesions)
    if lesions[0].kind in lexicon().without_size and (not graded or len(lesions) > style.count_up_to):
        places = [place(lesion, words) for lesion in lesions]
        if all(p.startswith("at ") for p in places) and len(set(places)) == len(places):
            return f"{count} {words} at {joined([p.removeprefix('at ') for p in places])}."
        return f"{count} {words}."
    if len(lesions) > style.count_up_to:
        return f"{count} {_shared_attenuation(group)}{words}, {_largest(group, style, False)}."
    shared = _shared_attenuation(group)
    items = "; ".join(_item(x, group, style, bool(shared)) for x in lesions)
    return f"{count} {shared}{words}: {items}."


def _shared_attenuation(group: LesionGroup) -> str:
    """``hypoattenuating `` when all lesions of the group are, else ""."""
    words = {lesion.attenuation for lesion in group.lesions}
    plain = group.lesions[0].kind in lexicon().without_attenuation
    return f"{words.pop()} " if len(words) == 1 and "" not in words and not plain else ""


def _item(lesion: Finding, group: LesionGroup, style: Style, shared: bool) -> str:
    where = place(lesion, noun(lesion.kind, 2))
    size = size_text(lesion, style)
    text = f"{size} {where}".strip() or "one more"
    brief = lesion.kind in lexicon().without_size
    return ", ".join([text, *_details(lesion, group, style, shared, brief)])


def _many(count: int) -> str:
    return capital(number_word(count))


def _largest(group: LesionGroup, style: Style, brief: bool) -> str:
    lesion = group.lesions[0]
    size = size_text(lesion, style)
    where = place(lesion, noun(lesion.kind, 2))
    by = " by short axis" if size_quantities(lesion.kind)[0] == "short_axis" and " x " in size else ""
    text = f"the largest{by} {size} {where}".rstrip()
    return ", ".join([text, *_details(lesion, group, style, bool(_shared_attenuation(group)), brief)])


def impression_text(group: LesionGroup, style: Style) -> str:
    """The group in the impression: one described, or a count and the largest."""
    if len(group.lesions) == 1:
        return capital(_single(group.lesions[0], group, style, brief=True)) + "."
    if group.lesions[0].kind in lexicon().without_size:
        return group_sentence(group, style)
    count = len(group.lesions)
    words = noun(group.lesions[0].kind, 2)
    return f"{_many(count)} {_shared_attenuation(group)}{words}, {_largest(group, style, brief=True)}."


def cited(group: LesionGroup, text: str) -> tuple[Citable, ...]:
    """The lesions and their assessments; those that say "not ..." only where the sentence says it."""
    low = text.lower()
    return tuple(f for f in group.findings if f.status is not Status.ABSENT or f.category.lower() in low)

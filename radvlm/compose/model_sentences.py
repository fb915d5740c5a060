"""What only a model says, in sentences that say so: who saw it, how probable it is, and whether it has a place.

Such a sentence is never mixed with a measurement. One present or open finding stands in it alone, with its
probability; absences of a section are joined, and are the model's ("No renal cyst or renal stone seen by the model."),
never plain facts.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeGuard

from radvlm.compose.merge_model import OUTSIDE_DOMAIN, is_withheld, would_deny
from radvlm.types.anatomy import structure
from radvlm.types.finding import Citable, Finding, Source, Status
from radvlm.types.finding_kinds import any_finding_kind, side_of, vocabulary_name
from radvlm.types.model_output import OUTSIDE_ITS_DOMAIN
from radvlm.types.phrases import joined
from radvlm.types.report import Sentence
from radvlm.wording.numbers import probability_text
from radvlm.wording.sentences import capital
from radvlm.wording.structure_names import level_runs, places_text
from radvlm.wording.vocabulary import noun, plural

SEEN_ONLY = "seen by the model only"
SEEN = "seen by the model"
NOT_LOCALIZED = "not localized"
#: What is less probable than this is called possible, whatever threshold a model has for it.
EVEN = 0.5
#: Absences that the impression may end with, when the model saw nothing.
PERTINENT = 4


def is_model(finding: Citable) -> TypeGuard[Finding]:
    return finding.source is Source.MODEL


def core(finding: Finding) -> str:
    """What and where, without who says so: ``hepatic cyst in segment VI``, ``left pleural effusion``."""
    words, side = finding.category, side_of(finding.site)
    levels = [n for n in finding.locations if n.startswith("vertebrae_") and structure(n).kind == "bone"]
    places = [n for n in finding.locations if n not in levels]
    if len(levels) > 1 or len(places) > 1:
        words = noun(finding.kind, 2) if words == _noun(finding) else plural(words)
    if places:
        shown = places_text(places)
        sided = any(structure(n).side for n in places)
        return f"{words} in {shown}" if sided or not side else f"{side} {words} in {shown}"
    if levels:
        return f"{words} at {level_runs(levels)}" if len(levels) < 3 else f"{words} at {joined(_level_words(levels))}"
    if side and finding.section == "lungs":
        return f"{words} in the {structure(finding.site).words}"
    return f"{side} {words}".strip()


def _level_words(levels: Sequence[str]) -> list[str]:
    return [n.removeprefix("vertebrae_") for n in levels]


def _noun(finding: Finding) -> str:
    try:
        return noun(finding.kind, 1)
    except LookupError:
        return ""


def attributed(finding: Finding, text: str, say_place: bool = True) -> str:
    """``text`` (no stop at its end) with who saw it, how probable it is, and whether it has no place."""
    chance = f"probability {probability_text(finding.confidence or 0.0)}"
    if finding.status is Status.INDETERMINATE:
        return f"Possible {text} {SEEN}, {chance}; indeterminate."
    place = f"; {NOT_LOCALIZED}" if say_place and not finding.regions else ""
    if is_withheld(finding):
        return f"{capital(text)} not assessed (model: {chance}, {OUTSIDE_ITS_DOMAIN}{place})."
    return f"{capital(f'possible {text}' if is_hedged(finding) else text)}, {SEEN_ONLY}, {chance}{place}."


def is_hedged(finding: Finding) -> bool:
    """Whether a present finding is called possible: the model's own probability is below one half."""
    return (finding.confidence or 0.0) < EVEN


def marked_sentences(findings: Sequence[Finding], section: str) -> list[Sentence]:
    """Sentences of one section on findings of a model: present, then open, then absent ones; in the section of what is
    outside its domain each with its probability, the most probable first."""
    own = [f for f in findings if is_model(f) and f.section == section]
    said = [
        Sentence(attributed(f, core(f)), section, (f,))
        for status in (Status.PRESENT, Status.INDETERMINATE)
        for f in sorted((f for f in own if f.status is status), key=lambda f: -f.importance)
    ]
    withheld = sorted((f for f in own if is_withheld(f)), key=lambda f: -(f.confidence or 0.0))
    said += [Sentence(attributed(f, core(f)), section, (f,)) for f in withheld]
    absent = [f for f in own if f.status is Status.ABSENT and not would_deny(f, findings)]
    return [*said, *([Sentence(absence(absent), section, tuple(absent))] if absent else [])]


def absence(findings: Sequence[Finding]) -> str:
    """``No hepatic cyst, left renal cyst or ascites seen by the model.``"""
    whole, sided = [], []
    for finding in findings:
        side = side_of(finding.site)
        twin = any(
            side_of(f.site) not in ("", side) and vocabulary_name(f) == vocabulary_name(finding) for f in findings
        )
        if twin or not side:
            whole.append(finding.category)
        else:
            sided.append(f"{side} {finding.category}")
    return f"No {joined(list(dict.fromkeys([*whole, *sided])), 'or')} {SEEN}."


def headlines(findings: Sequence[Finding]) -> list[tuple[float, Sentence]]:
    """(importance, sentence) for the impression; most probable first within one importance."""
    present = [f for f in _within_domain(findings) if f.status is Status.PRESENT and f.importance > 0]
    present.sort(key=lambda f: (-f.importance, -(f.confidence or 0.0)))
    return [(f.importance, Sentence(attributed(f, core(f), False), "impression", (f,))) for f in present]


def _within_domain(findings: Sequence[Finding]) -> list[Finding]:
    """Findings of a model on a scan like those of its training; others lead nothing."""
    return [f for f in findings if is_model(f) and f.section != OUTSIDE_DOMAIN]


def pertinent_absences(findings: Sequence[Finding]) -> list[Sentence]:
    """One sentence on the most important absences; [] when the model denies nothing."""
    absent = [f for f in _within_domain(findings) if f.status is Status.ABSENT and not would_deny(f, findings)]
    names = dict.fromkeys(vocabulary_name(f) for f in absent)
    ranked = sorted(names, key=lambda name: -any_finding_kind(name).importance)[:PERTINENT]
    held = [f for name in ranked for f in absent if vocabulary_name(f) == name]
    return [Sentence(absence(held), "impression", tuple(held))] if held else []

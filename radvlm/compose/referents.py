"""What a sentence may be about: the cited findings, each with those of its assessments that are cited too.

Together they are one subject, with its names, sides, numbers, statuses and the phrases that may be said of it.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import lru_cache

from radvlm.compose.verify.normal_form import also_said, normal, paraphrases
from radvlm.types.anatomy import is_lesion_kind, structure
from radvlm.types.finding import Assessment, Citable, Finding, Source, Status
from radvlm.types.finding_kinds import any_finding_kind, vocabulary_name
from radvlm.types.measurement import Measurement
from radvlm.types.scan_measurements import AGENT_BY_HEADER, AGENT_NAMED
from radvlm.wording.numbers import named_number
from radvlm.wording.style import Style
from radvlm.wording.vocabulary import base_name, plural, tokenize

_IN_EACH_UNIT = (Style(length_unit="cm"), Style(length_unit="mm"))
CUT_PHRASES = ("incompletely imaged", "partly imaged", "imaged part")


def size_quantities(kind: str) -> tuple[str, ...]:
    """What a lesion is ranked by: lymph nodes by their short axis (RECIST 1.1), all others by the long one."""
    return ("short_axis" if kind == "lymph_node" else "long_axis", "volume")


def further_text(told: Iterable[Citable]) -> str:
    """``3 further findings are described above.`` Lesions of one kind are one, as in the rest of the impression."""
    keys = {(base_name(f.kind), f.status) if is_lesion_kind(f.kind) else (f.id, f.status) for f in told}
    return f"{len(keys)} further findings are described above." if len(keys) > 1 else _ONE_FURTHER


_ONE_FURTHER = "1 further finding is described above."


@dataclass
class Subject:
    """One thing that the sentence may speak of.

    Attributes:
        lesion: the structure name of a lesion or fluid collection, else "".
        names: structures that may be named when speaking of it; for a lesion also its hosts.
        sides: sides it may be said to have.
        own: structures that it *is* (its site or kind), not merely lies in.
    """

    key: str
    findings: list[Citable] = field(default_factory=list)
    lesion: str = ""
    names: set[str] = field(default_factory=set)
    own: set[str] = field(default_factory=set)
    sides: set[str] = field(default_factory=set)
    poles: set[str] = field(default_factory=set)
    measurements: list[Measurement] = field(default_factory=list)
    statuses: set[Status] = field(default_factory=set)

    @property
    def size(self) -> float:
        """For "the largest": long axis in mm (short axis of lymph nodes), or volume in mL where there is none."""
        for quantity in size_quantities(self.lesion):
            for m in self.measurements:
                if m.quantity == quantity:
                    return m.value
        return 0.0

    @property
    def is_seen(self) -> bool:
        return bool(self.statuses & {Status.PRESENT, Status.INDETERMINATE})


def subjects_of(cited: Iterable[Citable]) -> dict[str, Subject]:
    """Subjects by id. What judges a pair belongs to both organs; the contact with a vessel is a subject of its own."""
    held = tuple(cited)
    organs = {item.site: item.id for item in held if item.kind == "organ"}
    owners = {
        assessment.id: [finding.id, *([organs[assessment.twin]] if assessment.twin in organs else [])]
        for finding in held
        if isinstance(finding, Finding)
        for assessment in finding.assessments
        if assessment.site == finding.site
    }
    found: dict[str, Subject] = {}
    for item in held:
        for key in owners.get(item.id, [item.id]):
            _add(found.setdefault(key, Subject(key)), item)
    return found


def _add(subject: Subject, item: Citable) -> None:
    subject.findings.append(item)
    subject.statuses.add(item.status)
    if isinstance(item, Assessment) and item.twin and subject.key != item.id:
        return  # neither organ takes a name or a number of the other
    subject.names |= item.names
    subject.sides |= {structure(name).side for name in item.names} - {""}
    if is_lesion_kind(item.kind):
        if item.status is not Status.NOT_ASSESSED:
            subject.lesion = item.kind
        subject.own.add(item.kind)
        subject.sides |= {structure(item.kind).side} - {""}
        names = {item.kind, *item.names}  # a lesion may be said to lie in the organ of its segment; a lobe is no lung
        subject.names |= names | {structure(n).parent for n in names if structure(n).parent}
    elif item.site and item.kind == "organ":
        subject.own.add(item.site)
    if isinstance(item, Finding) and item.pole:
        subject.poles.add(item.pole)
    subject.measurements += item.measurements


def _words_of_model(finding: Finding) -> list[str]:
    """Other words for what a model saw; more than one only where it gave more than one place."""
    words = list(any_finding_kind(vocabulary_name(finding)).aliases)
    if len(finding.locations) > 1 and finding.status is not Status.ABSENT:
        words += [plural(phrase) for phrase in (finding.category, *words)]
    return words


def phrases_of(cited: Iterable[Citable]) -> dict[tuple[str, ...], list[Citable]]:
    """Token sequences that the cited findings allow, and which of them say them."""
    table: dict[tuple[str, ...], list[Citable]] = {}
    listed: dict[tuple[str, ...], set[int]] = {}
    held = tuple(cited)
    beyond = {(o.kind, o.site) for o in held if o.status is not Status.ABSENT}
    for item in held:
        said = [item.headline, *(_words_of_finding(item) if isinstance(item, Finding) else ())]
        ways = [*category_words(item), *_denials(item, beyond), *(w for p in filter(None, said) for w in _ways(p))]
        for words in filter(None, ways):
            if id(item) not in listed.setdefault(words, set()):
                listed[words].add(id(item))
                table.setdefault(words, []).append(item)
    return table


def category_words(item: Citable) -> tuple[tuple[str, ...], ...]:
    """The category, and what it says in other words; () where there is none."""
    return also_said(item.category) if item.category else ()


@lru_cache(maxsize=4096)
def _ways(phrase: str) -> tuple[tuple[str, ...], ...]:
    return (tokenize(phrase), normal(tokenize(phrase)))


def _denials(item: Citable, beyond: set[tuple[str, str]]) -> list[tuple[str, ...]]:
    """ "no splenomegaly" of a spleen that was judged and found within the limits, and by no other rule beyond them.

    ``beyond`` holds kind and site of all that is cited and not absent.
    """
    if item.status is not Status.ABSENT or item.rule is None:
        return []
    if (item.kind, item.site) in beyond:
        return []
    return [tokenize(f"no {words}") for words in paraphrases().denied.get(item.kind, ())]


def _words_of_finding(finding: Finding) -> list[str]:
    said = [finding.attenuation, finding.scope]
    if finding.source is Source.MODEL:
        said += _words_of_model(finding)
    if finding.status is Status.NOT_ASSESSED:
        said.append(finding.reason)
    if finding.cut_by:
        said += CUT_PHRASES
    said += [named_number(m, style) for m in finding.measurements for style in _IN_EACH_UNIT]
    if finding.phase:
        said.append(f"in the {finding.phase} phase")
    if finding.kind == "contrast_phase" and finding.status is Status.INDETERMINATE:
        said += ["uncertain", "possibly"]
        if finding.reason.endswith(AGENT_NAMED):
            said.append(AGENT_BY_HEADER)
    return said

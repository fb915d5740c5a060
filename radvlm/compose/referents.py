"""What a sentence may be about: the cited findings, each with those of its assessments that are cited too.

Together they are one subject, with its names, sides, numbers, statuses and the phrases that may be said of it.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from functools import lru_cache

from radvlm.compose.verify.normal_form import also_said, normal, paraphrases
from radvlm.types.anatomy import is_lesion_kind, structure
from radvlm.types.finding import Assessment, Citable, Finding, Source, Status
from radvlm.types.finding_kinds import any_finding_kind, vocabulary_name
from radvlm.types.measurement import Measurement
from radvlm.types.scan_measurements import AGENT_BY_HEADER, AGENT_NAMED, FOCUS_KINDS
from radvlm.wording.numbers import error_text, named_number
from radvlm.wording.structure_names import level_runs, structure_list
from radvlm.wording.style import Style
from radvlm.wording.vocabulary import base_name, base_words, noun, number_word, plural, tokenize

_IN_EACH_UNIT = (Style(length_unit="cm"), Style(length_unit="mm"))
CUT_PHRASES = ("incompletely imaged", "partly imaged", "imaged part")


def size_quantities(kind: str) -> tuple[str, ...]:
    """What a lesion is ranked by: lymph nodes by their short axis (RECIST 1.1), all others by the long one."""
    return ("short_axis" if kind == "lymph_node" else "long_axis", "volume")


def headline_words(said: Citable) -> str:
    """What the impression calls it, with its side: ``aneurysmal left common iliac artery``, ``splenomegaly``."""
    words = said.headline or said.category
    site = structure(said.site) if said.site else None
    if site is None or not site.side or (isinstance(said, Assessment) and said.twin):
        return words
    base = base_words(site)
    if f" {base} " in f" {words} ":
        return f" {words} ".replace(f" {base} ", f" {site.side} {base} ", 1).strip()
    return f"{site.words}, {words}"


def further_text(told: Iterable[Citable]) -> str:
    """``Also described in the findings: right pleural effusion; gallstone; two renal cysts.``

    What an impression has no place for, by name; lesions of one kind are one, as in the rest of the impression.
    """
    held = [item for item in told if item.kind != "organ"]  # cited for its region
    groups: dict[tuple[str, Status], list[Citable]] = {}
    for item in held:
        is_lesion = is_lesion_kind(item.kind)
        fluid = is_lesion and structure(item.kind).kind == "fluid"
        key = item.kind if fluid else base_name(item.kind) if is_lesion else item.id
        groups.setdefault((key, item.status), []).append(item)
    names = dict.fromkeys(_further_name(group) for group in groups.values())
    return f"{ALSO_DESCRIBED}: {'; '.join(names)}."


#: Opens the line of an impression that names what is written out in the body of the report only.
ALSO_DESCRIBED = "Also described in the findings"


def _further_name(group: Sequence[Citable]) -> str:
    first = group[0]
    if not is_lesion_kind(first.kind):
        place = f" in the {structure(first.site).words}" if first.site and first.source is Source.VOXELS else ""
        wall = first.category.endswith(" wall")
        return (
            f"{first.category}{' of' + place.removeprefix(' in') if wall else place}"
            if place
            else headline_words(first)
        )
    if first.status is Status.INDETERMINATE:
        return first.category
    sides = {structure(n).side for f in group if isinstance(f, Finding) for n in (f.kind, *f.locations)} - {""}
    if len(group) > 1:
        words = f"{number_word(len(group))} {noun(first.kind, 2)}"
    elif structure(first.kind).kind == "fluid" and not structure(first.kind).side and len(sides) == 1:
        words = f"{sides.pop()} {noun(first.kind, 1)}"
    else:
        words = noun(first.kind, 1, with_side=True)
    if first.importance > 0 or not isinstance(first, Finding):
        return words
    why = dict.fromkeys(a.headline for f in group if isinstance(f, Finding) for a in f.assessments if a.importance > 0)
    return f"{words} {next(iter(why))}" if why else words  # a lymph node by what makes it worth telling


def no_finding_text(organs: Sequence[Citable]) -> str:
    """``No finding was made in what was measured: the stomach.`` Of many organs, "the segmented structures"."""
    spine = [f.site for f in organs if f.site.startswith("vertebrae_")]
    others = [f.site for f in organs if f.site not in spine]
    levels = f"vertebra{'e' if len(spine) > 1 else ''} {level_runs(spine)}" if spine else ""
    words = structure_list(others, first=levels)[0] if others else levels
    if len({base_words(structure(f.site)) for f in organs}) > MOST_NAMED:
        words = "the segmented structures"
    return f"{NO_FINDING}: {words}."


#: Opens the line of an impression that names the organs of which no rule says anything.
NO_FINDING = "No finding was made in what was measured"


#: Ends of the reasons of judgements for which something of the patient is missing, and nothing else.
_OF_PATIENT = (" of the patient is not known", " of the patient are not known")


def waits_for_patient(finding: Finding) -> bool:
    """Whether what was measured is not judged only because the age, sex or size of the patient is not known."""
    is_number = finding.status is Status.NOT_ASSESSED and bool(finding.measurements)
    return is_number and finding.source is Source.MASKS and finding.reason.endswith(_OF_PATIENT)


#: More organs than these are "the segmented structures" where nothing was found in them.
MOST_NAMED = 8


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
        said = [
            item.headline,
            *((headline_words(item),) if item.headline else ()),
            *(_words_of_finding(item) if isinstance(item, Finding) else ()),
        ]
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
    if finding.kind in FOCUS_KINDS and (diameter := finding.measurement("diameter")) is not None:
        said += [error_text(diameter, style) for style in _IN_EACH_UNIT]
    said += [named_number(m, style) for m in finding.measurements for style in _IN_EACH_UNIT]
    if finding.phase:
        said.append(f"in the {finding.phase} phase")
    if finding.kind == "contrast_phase" and finding.status is Status.INDETERMINATE:
        said += ["uncertain", "possibly"]
        if finding.reason.endswith(AGENT_NAMED):
            said.append(AGENT_BY_HEADER)
    return said

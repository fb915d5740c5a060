"""What a sentence may be about: the cited findings, joined by the organ or lesion that they speak of.

An assessment ("enlarged") and the organ it judges are two findings; here they become one subject, with its names,
sides, numbers, statuses and the phrases that may be said of it.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from radvlm.types.anatomy import is_lesion_kind, structure
from radvlm.types.finding import Finding, Source, Status
from radvlm.types.finding_kinds import model_finding, vocabulary_name
from radvlm.types.measurement import Measurement
from radvlm.wording.vocabulary import plural, tokenize

_CUT_PHRASES = ("incompletely imaged", "partly imaged", "imaged part")


def size_quantities(kind: str) -> tuple[str, ...]:
    """What a lesion is ranked by: lymph nodes by their short axis (RECIST 1.1), all others by the long one."""
    return ("short_axis" if kind == "lymph_node" else "long_axis", "volume")


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
    findings: list[Finding] = field(default_factory=list)
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


def keys_of(finding: Finding) -> tuple[str, ...]:
    """The subjects that a finding belongs to."""
    if finding.subjects:
        return finding.subjects
    if finding.status is Status.NOT_ASSESSED:
        return (f"not assessed {finding.id}",)
    if finding.status is Status.ABSENT:
        return (f"absent {finding.kind} {finding.site}",)
    if finding.regions:
        return (finding.regions[0].id,)
    return (finding.kind,)


def subjects_of(findings: Iterable[Finding]) -> dict[str, Subject]:
    found: dict[str, Subject] = {}
    for finding in findings:
        for key in keys_of(finding):
            subject = found.setdefault(key, Subject(key))
            _add(subject, finding)
    return found


def _add(subject: Subject, finding: Finding) -> None:
    subject.findings.append(finding)
    subject.statuses.add(finding.status)
    if is_lesion_kind(finding.kind):
        if finding.status is not Status.NOT_ASSESSED:
            subject.lesion = finding.kind
        subject.own.add(finding.kind)
    elif finding.site and finding.kind == "organ":
        subject.own.add(finding.site)
    names = {finding.site, finding.host, finding.level, finding.reference, *finding.locations}
    names |= {r.structure for r in finding.regions}
    if is_lesion_kind(finding.kind):
        names.add(finding.kind)
    names.discard("")
    for name in names:
        row = structure(name)
        if row.side:
            subject.sides.add(row.side)
    subject.names |= names
    if is_lesion_kind(finding.kind):  # a lesion may be said to lie in the organ of its segment; a lobe is not its lung
        subject.names |= {structure(n).parent for n in names if structure(n).parent}
    if finding.pole:
        subject.poles.add(finding.pole)
    own = len(keys_of(finding)) == 1
    subject.measurements += [m for m in finding.measurements if own or m.region_id in ("", subject.key)]


def _words_of_model(finding: Finding) -> list[str]:
    """Other words for what a model saw; more than one only where it gave more than one place."""
    words = list(model_finding(vocabulary_name(finding)).aliases)
    if len(finding.locations) > 1 and finding.status is not Status.ABSENT:
        words += [plural(phrase) for phrase in (finding.category, *words)]
    return words


def phrases_of(findings: Iterable[Finding]) -> dict[tuple[str, ...], list[Finding]]:
    """Token sequences that the cited findings allow, and which findings say them."""
    table: dict[tuple[str, ...], list[Finding]] = {}
    for finding in findings:
        said = [finding.category, finding.headline, finding.attenuation]
        if finding.source is Source.MODEL:
            said += _words_of_model(finding)
        if finding.status is Status.NOT_ASSESSED:
            said.append(finding.reason)
        if finding.cut_by:
            said += list(_CUT_PHRASES)
        if finding.phase:
            said.append(f"in the {finding.phase} phase")
        if finding.scope:
            said.append(finding.scope)
        if finding.kind == "contrast_phase" and finding.status is Status.INDETERMINATE:
            said += ["uncertain", "possibly"]
        for phrase in filter(None, said):
            holders = table.setdefault(tokenize(phrase), [])
            if finding not in holders:
                holders.append(finding)
    return table

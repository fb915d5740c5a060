"""Whether a report contradicts itself: what its findings, and what its sentences, say of one thing.

``verify_sentence`` holds each sentence against the findings that it cites; here findings are held against each other,
and sentences against sentences. A contradiction of our own making withdraws the less certain side: what it stated is
listed as not assessed for that reason, and the rest of the report stands.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import combinations

from radvlm.compose.referents import CUT_PHRASES
from radvlm.compose.verify.claims import LevelRange, Mark, Named, Number, Refusal, Said, Token, scan
from radvlm.compose.verify.class_limits import numbers_outside_class, outside_class
from radvlm.types.anatomy import OPPOSITE_SIDE, is_lesion_kind, structure
from radvlm.types.finding import Assessment, Citable, Finding, Source, Status, citable
from radvlm.types.report import Sentence
from radvlm.types.scan_measurements import PHASE_OF_TIMING
from radvlm.wording.sentences import capital
from radvlm.wording.spelling import to_us
from radvlm.wording.vocabulary import base_name

_UNSEEN = "not seen in the imaged range"
_STATES = {"whole": "included in the scan", "cut": "incompletely imaged", "unseen": _UNSEEN}
#: Two sizes of one lesion within this many mm are one size in two units or roundings.
_ROUNDING_MM = 0.51
REASON = "two statements about it contradicted each other"


@dataclass(frozen=True)
class Contradiction:
    """What two findings or two sentences say that cannot both be; ``less_certain`` are the ids to be withdrawn."""

    what: str
    less_certain: tuple[str, ...]
    sentence: Sentence | None = None


def contradictions(
    findings: Sequence[Finding], sentences: Sequence[Sentence], drafted: Sequence[Sentence] = ()
) -> list[Contradiction]:
    """Every contradiction between findings, then between sentences; [] for a report that is whole.

    ``drafted`` are the sentences that a decoder wrote: of two that contradict each other, its one is dropped.
    """
    return [*_between_findings(findings), *_between_sentences(sentences, drafted)]


def settled(
    findings: Sequence[Finding], sentences: Sequence[Sentence]
) -> tuple[tuple[Finding, ...], list[Sentence], tuple[str, ...]]:
    """Findings and sentences without the less certain side of each contradiction, and a line for each of these."""
    found = list(_between_findings(findings))
    gone = {i for c in found for i in c.less_certain}
    found += _between_sentences([s for s in sentences if not gone & set(s.finding_ids)], ())
    if not found:
        return tuple(findings), list(sentences), ()
    dropped = [c.sentence for c in found if c.sentence is not None]
    kept = [s for s in sentences if s not in dropped and not gone & set(s.finding_ids)]
    said = {i for s in kept for i in s.finding_ids}
    left: list[Finding] = []
    unsaid: dict[str, Finding] = {}
    for finding in findings:
        lost = [
            c
            for c in (finding, *finding.assessments)
            if c.id not in said and (c.status is Status.PRESENT or c.id in gone)
        ]
        if finding in lost:
            unsaid |= {finding.id: _withdrawn(finding)}
            continue
        left.append(replace(finding, assessments=tuple(a for a in finding.assessments if a not in lost)))
        unsaid |= {a.id: _withdrawn(a) for a in lost}
    now = {c.id: c for c in citable(left)}
    kept = [replace(s, findings=tuple(now[f.id] for f in s.findings)) for s in kept if set(s.finding_ids) <= set(now)]
    lines = tuple(dict.fromkeys(f"Withdrawn from the report: {c.what}." for c in found))
    return (*left, *unsaid.values()), kept, lines


def _withdrawn(item: Citable) -> Finding:
    """The same as not assessed: what was said of it is no longer stated."""
    words = structure(item.site).words if item.kind == "organ" else item.headline or item.kind.replace("_", " ")
    return Finding(item.id, item.kind, Status.NOT_ASSESSED, item.site, item.section, category=words, reason=REASON)


def _between_findings(findings: Sequence[Finding]) -> Iterator[Contradiction]:
    measured = [f for f in findings if f.source is not Source.MODEL and f.status is not Status.NOT_ASSESSED]
    by_key: dict[tuple[str, str], list[Finding]] = {}
    for finding in measured:
        if finding.kind == "organ" or is_lesion_kind(finding.kind):
            by_key.setdefault((finding.kind, finding.site if finding.kind == "organ" else ""), []).append(finding)
    for held in by_key.values():
        absent = [f for f in held if f.status is Status.ABSENT]
        present = [f for f in held if f.status is Status.PRESENT]
        if absent and present:
            yield Contradiction(f"{_words(absent[0])} is both present and absent", tuple(f.id for f in absent))
    for (kind, _), held in by_key.items():
        base = base_name(kind) if is_lesion_kind(kind) else kind
        if base != kind and any(f.status is Status.PRESENT for f in held):
            absent = [f for f in by_key.get((base, ""), []) if f.status is Status.ABSENT]
            if absent:
                yield Contradiction(f"{_words(held[0])} is both present and absent", tuple(f.id for f in absent))
    phase = next((f for f in measured if f.kind == "contrast_phase"), None)
    for finding in measured:
        yield from _side(finding)
        yield from _verdicts(finding)
        yield from _classes(finding)
        if phase is not None and finding.phase and _phase_told(phase) != finding.phase:
            yield Contradiction(f"two contrast phases, of the scan and of {_words(finding)}", (finding.id,))
    regions: dict[str, list[Finding]] = {}
    for finding in measured:
        if is_lesion_kind(finding.kind) and finding.status is Status.PRESENT:
            for region in finding.regions:
                regions.setdefault(region.id, []).append(finding)
    for held in regions.values():
        if len(held) > 1:
            yield Contradiction(f"one region is {len(held)} findings, {_words(held[0])}", tuple(f.id for f in held[1:]))


def _phase_told(scan: Finding) -> str:
    """The phase that the scan is said to be in, whose timing may be told more finely; "" where it is open."""
    return PHASE_OF_TIMING.get(scan.category, "") if scan.status is Status.PRESENT else ""


def _side(finding: Finding) -> Iterator[Contradiction]:
    """A lesion of one side lies in no structure of the other."""
    side = structure(finding.kind).side if is_lesion_kind(finding.kind) else ""
    if not side:
        return
    places = {n for n in (finding.site, finding.host, *finding.locations) if n}
    other = [n for n in sorted(places) if structure(n).side == OPPOSITE_SIDE[side]]
    if other:
        yield Contradiction(f"{_words(finding)} lies in the {structure(other[0]).words}", (finding.id,))


def _classes(finding: Finding) -> Iterator[Contradiction]:
    """A number beside words whose limits it is outside of."""
    for judged in finding.assessments:
        if outside_class(judged):
            yield Contradiction(f"the number of {_words(finding)} is not {judged.category}", (judged.id,))


def _verdicts(finding: Finding) -> Iterator[Contradiction]:
    """One number is not both within its limits and beyond them by rules on the same matter."""
    for one, other in combinations(finding.assessments, 2):
        same = (one.kind, one.site, one.twin) == (other.kind, other.site, other.twin)
        if (
            same
            and _quantity(one) == _quantity(other) != ""
            and {one.status, other.status} >= {Status.ABSENT, Status.PRESENT}
        ):
            less = one if one.status is Status.ABSENT else other
            yield Contradiction(f"{_words(finding)} is {one.category} and {other.category}", (less.id,))


def _quantity(item: Assessment) -> str:
    return item.measurements[0].quantity if item.measurements else ""


def _between_sentences(sentences: Sequence[Sentence], drafted: Sequence[Sentence]) -> Iterator[Contradiction]:
    states: dict[str, tuple[str, Sentence]] = {}
    lesions: dict[str, tuple[bool, Sentence]] = {}
    sizes: dict[str, tuple[float, float, Sentence]] = {}
    for sentence in sorted(sentences, key=lambda s: (s in drafted, *_rank(s))):
        try:
            tokens = scan(to_us(sentence.text), sentence.findings)
        except Refusal:
            continue  # verify says why
        for number, words in numbers_outside_class(tokens):
            yield Contradiction(f"{number} is said to be {words}", (), sentence)
        for site, state in _told_of_organs(tokens, sentence.findings):
            if states.setdefault(site, (state, sentence))[0] != state:
                words = structure(site).words
                what = f"the {words} is {_STATES[states[site][0]]} and {_STATES[state]}"
                yield Contradiction(what, (), sentence)
        for kind, is_seen in _told_of_lesions(tokens, sentence.findings):
            if lesions.setdefault(kind, (is_seen, sentence))[0] is not is_seen:
                yield Contradiction(f"{structure(kind).words} is said to be present and absent", (), sentence)
        size = _told_size(tokens, sentence.findings)
        if size is not None:
            key, long, short = size
            first = sizes.setdefault(key, (long, short, sentence))
            if max(abs(first[0] - long), abs(first[1] - short)) > _ROUNDING_MM:
                yield Contradiction(f"two sizes of one lesion, {sentence.text!r}", (), sentence)


def _rank(sentence: Sentence) -> tuple[bool, bool, bool, int]:
    """The most certain first: measured before a model's, findings before the impression, presence before absence."""
    of_model = any(f.source is Source.MODEL for f in sentence.findings)
    denies = any(f.status is Status.ABSENT for f in sentence.findings)
    return of_model, sentence.section == "impression", denies, len(sentence.findings)


def _told_of_organs(tokens: Sequence[Token], cited: Sequence[Citable]) -> Iterator[tuple[str, str]]:
    """(structure, whether it is whole, cut or not seen) of each clause that says so and names structures one by one."""
    organs = {f.site for f in cited if f.kind == "organ"}
    for clause in _clauses(tokens):
        names: set[str] = set()
        state, of_lesion = "", False
        for token in clause:
            if isinstance(token, Named):
                of_lesion |= any(is_lesion_kind(n) for o in token.options for n in o.names)
                names |= {n for o in token.options if len(o.names) == 1 or o.every for n in o.names & organs}
            elif isinstance(token, LevelRange):
                names |= set(token.names) & organs
            elif isinstance(token, Mark) and token.kind == "whole":
                state = "whole"
            elif isinstance(token, Said) and token.text == _UNSEEN:
                state = "unseen"
            elif isinstance(token, Said) and token.text in CUT_PHRASES and token.text != "imaged part":
                state = "cut"
        if state and not of_lesion:
            yield from ((name, state) for name in sorted(names))


def _told_of_lesions(tokens: Sequence[Token], cited: Sequence[Citable]) -> Iterator[tuple[str, bool]]:
    """(kind of lesion, whether it is said to be there) of each clause, by the kinds that the sentence cites."""
    for clause in _clauses(tokens):
        denied = any(isinstance(t, Mark) and t.kind == "negation" and t.text in ("no", "without") for t in clause)
        if any(isinstance(t, Mark) and t.text == "not assessed" for t in clause):
            continue
        names = {n for t in clause if isinstance(t, Named) for o in t.options for n in o.names if is_lesion_kind(n)}
        for finding in cited:
            told = finding.status is (Status.ABSENT if denied else Status.PRESENT)
            if told and finding.kind in names and finding.source is not Source.MODEL:
                yield finding.kind, not denied


def _told_size(tokens: Sequence[Token], cited: Sequence[Citable]) -> tuple[str, float, float] | None:
    """(finding, long, short axis in mm) of a sentence that states one size of one lesion."""
    lesions = [f for f in cited if is_lesion_kind(f.kind) and f.status is Status.PRESENT]
    axes = [t for t in tokens if isinstance(t, Number) and len(t.values) == 2]
    if len(lesions) != 1 or len(axes) != 1:
        return None
    scale = 10.0 if axes[0].unit == "cm" else 1.0
    long, short = (float(v) * scale for v in axes[0].values)
    return lesions[0].id, long, short


def _clauses(tokens: Sequence[Token]) -> list[list[Token]]:
    clauses: list[list[Token]] = [[]]
    for token in tokens:
        if isinstance(token, Mark) and token.kind == "separator" and token.text in (";", "."):
            clauses.append([])
        else:
            clauses[-1].append(token)
    return [c for c in clauses if c]


def _words(item: Citable) -> str:
    if is_lesion_kind(item.kind):
        return structure(item.kind).words
    return capital(structure(item.site).words) if item.site else item.kind.replace("_", " ")

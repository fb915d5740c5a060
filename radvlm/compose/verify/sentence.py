"""Proof that a sentence says nothing but what its cited findings say. Needs no model and no voxels.

A sentence is read as claims (``scan``) and each claim is checked against the *subjects* it cites:

* every number is one of the few renderings of a measurement of the subject named in the same part of the sentence;
* "a x b" is long by short axis of one lesion; no lesion's size is stated twice; "the largest" is the largest;
* every structure named is cited; "both", "kidneys" and "T10 to L2" need all of them, and no more;
* every side and pole is that of the subject;
* every "no" covers only absent findings, every absent finding is covered by one, and every positive mention is seen;
* counts are the number of cited lesions; each cited lesion is counted or described;
* any other word is neutral (a closed list) or stands in the cited findings.

What only a model saw has rules of its own before these (``model_claims``).

Parts are separated by commas, brackets, colons, "and", "or" and "with"; clauses by ";" and ".". A part that names
nothing speaks of what the part before it named.
"""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from functools import cache

from radvlm.compose.merge_model import conflicts, is_withheld, would_deny
from radvlm.compose.model_sentences import is_model
from radvlm.compose.referents import (
    ALSO_DESCRIBED,
    CUT_PHRASES,
    NO_FINDING,
    Subject,
    category_words,
    further_text,
    no_finding_text,
    subjects_of,
    waits_for_patient,
)
from radvlm.compose.verify.claims import (
    Count,
    LevelRange,
    Mark,
    Named,
    Number,
    Refusal,
    Said,
    Token,
    UnknownWord,
    scan_words,
)
from radvlm.compose.verify.class_limits import numbers_outside_class
from radvlm.compose.verify.model_claims import as_claimed, check_attribution
from radvlm.compose.verify.normal_form import wordings
from radvlm.compose.verify.whole_report import contradictions
from radvlm.errors import VerificationError
from radvlm.types.anatomy import USUAL_LEVELS, is_lesion_kind, structure, structures
from radvlm.types.finding import Citable, Finding, Source, Status
from radvlm.types.measurement import AORTA_PARTS, PORTAL_PARTS, PULMONARY_PARTS, Measurement
from radvlm.types.report import Report, Sentence
from radvlm.types.scan_measurements import FOCUS_KINDS
from radvlm.wording.numbers import renderings
from radvlm.wording.spelling import to_us
from radvlm.wording.structure_names import part_names
from radvlm.wording.vocabulary import Term, base_name, is_kind_of, lexicon, plural, tokenize

#: Kinds of absent findings that one negative sentence may list.
_LISTED = ("organ", "vessel_contact")
_VESSEL_PARTS = (*AORTA_PARTS, *PULMONARY_PARTS, *PORTAL_PARTS, "whole")
#: Words beside a number -> the quantities it may then be.
_CUES: tuple[tuple[str, frozenset[str]], ...] = (
    ("pixel spacing", frozenset({"pixel_spacing"})),
    ("spacing", frozenset({"slice_spacing"})),
    ("coverage", frozenset({"coverage"})),
    ("cover", frozenset({"coverage"})),
    ("covers", frozenset({"coverage"})),
    ("short axis", frozenset({"short_axis"})),
    ("long axis", frozenset({"long_axis"})),
    ("diameter", frozenset({"diameter"})),
    ("thickness", frozenset({"thickness"})),
    ("depth", frozenset({"depth"})),
    ("width", frozenset({"width"})),
    ("craniocaudal", frozenset({"extent_superior_inferior"})),
    ("length", frozenset({"length"})),
    ("difference", frozenset({"difference_hu"})),
    ("minus", frozenset({"difference_hu"})),
    ("median", frozenset({"median_hu"})),
    ("peak", frozenset({"peak_hu"})),
    ("mean attenuation", frozenset({"mean_hu", "core_mean_hu"})),
    ("parenchymal", frozenset({"parenchyma_hu"})),
    ("volume", frozenset({"volume"})),
    ("angle", frozenset({"angle"})),
    ("distance", frozenset({"distance"})),
    ("trabecular", frozenset({"trabecular_hu"})),
    ("height loss", frozenset({"wedge_loss", "biconcave_loss", "crush_loss"})),
    *((f"{part.replace('_', ' ')} diameter", frozenset({f"{part}_diameter"})) for part in _VESSEL_PARTS),
    *((words, frozenset({quantity})) for words, quantity in part_names().items()),
    *((f"{words} diameter", frozenset({quantity})) for words, quantity in part_names().items()),
)
_BY_UNIT = {
    "mm": frozenset({"long_axis", "diameter"}),
    "mL": frozenset({"volume"}),
    "HU": frozenset({"mean_hu", "parenchyma_hu"}),
    "percent": frozenset({"fraction"}),
    "degree": frozenset({"angle"}),
    "1": frozenset({"count"}),
}
_CUE_UNIT = {
    "slice_spacing": "mm",
    "pixel_spacing": "mm",
    "coverage": "mm",
    "short_axis": "mm",
    "long_axis": "mm",
    "diameter": "mm",
    "thickness": "mm",
    "depth": "mm",
    "width": "mm",
    "extent_superior_inferior": "mm",
    "length": "mm",
    "difference_hu": "HU",
    "median_hu": "HU",
    "peak_hu": "HU",
    "mean_hu": "HU",
    "core_mean_hu": "HU",
    "parenchyma_hu": "HU",
    "volume": "mL",
    "angle": "degree",
    "distance": "mm",
    "trabecular_hu": "HU",
    "wedge_loss": "percent",
    "biconcave_loss": "percent",
    "crush_loss": "percent",
    **{f"{part}_diameter": "mm" for part in _VESSEL_PARTS},
}
_SPELLING = {"cm": "mm"}


class _Refused(Refusal):
    """A claim does not hold; the message is the reason."""


@dataclass
class _Part:
    """Tokens between two separators. ``opens`` is the separator before it."""

    opens: str
    tokens: list[Token] = field(default_factory=list)

    def of(self, kind: type) -> list:
        return [t for t in self.tokens if isinstance(t, kind)]

    def marks(self, kind: str) -> list[str]:
        return [t.text for t in self.tokens if isinstance(t, Mark) and t.kind == kind]

    @property
    def words(self) -> str:
        return " ".join(t.text if not isinstance(t, (Number, Count)) else "#" for t in self.tokens)

    @property
    def only_names(self) -> bool:
        """A member of a list ("the liver"): it names something and claims nothing yet."""
        return bool(self.of(Named) or self.of(LevelRange)) and not (
            self.of(Number) or self.of(Count) or self.of(Said) or self.marks("negation") or self.marks("whole")
        )

    @property
    def extent_before_names(self) -> list[Token]:
        """Words on how much of something is in the scan that stand before all names."""
        ahead = itertools.takewhile(lambda t: not isinstance(t, (Named, LevelRange)), self.tokens)
        if not (self.of(Named) or self.of(LevelRange)):
            return []
        return [
            t
            for t in ahead
            if (isinstance(t, Mark) and t.kind == "whole") or (isinstance(t, Said) and t.text in CUT_PHRASES)
        ]


def verify_sentence(sentence: Sentence) -> str | None:
    """Why the sentence contradicts or exceeds the findings it cites, or None when it is true to them."""
    if _points_to_findings(sentence) or _finds_nothing(sentence):
        return None
    try:
        true_reading(sentence)
    except Refusal as refusal:
        return str(refusal)
    return None


def true_reading(sentence: Sentence) -> list[Token]:
    """The claims of the first reading of a sentence that holds. Raises Refusal when none does."""
    reasons: list[Refusal] = []
    cited, withheld = as_claimed(sentence.findings), any(is_withheld(f) for f in sentence.findings)
    for words in wordings(to_us(sentence.text)):
        try:
            read = scan_words(words, cited)
            tokens = check_attribution(read, cited, withheld)
            if tokens:
                _Check(cited, _clauses(tokens)).run()
            for number, told in numbers_outside_class(tokens):
                raise _Refused(f"{number} is not within the limits of {told!r}")
            return read
        except Refusal as refusal:
            reasons.append(refusal)
    raise next((r for r in reasons if not isinstance(r, UnknownWord)), reasons[-1])


def _points_to_findings(sentence: Sentence) -> bool:
    """Whether it only names further findings that a report describes, and cites just these."""
    told = (Status.PRESENT, Status.INDETERMINATE)
    if any(f.status not in told or f.source is Source.MODEL for f in sentence.findings):
        return False
    is_line = sentence.section == "impression" and sentence.text.startswith(ALSO_DESCRIBED)
    return is_line and to_us(sentence.text) == further_text(sentence.findings)


def _finds_nothing(sentence: Sentence) -> bool:
    """Whether it only says that nothing was found in the organs that it cites, and nothing was, by what judged them."""
    if sentence.section != "impression" or not sentence.text.startswith(NO_FINDING):
        return False
    is_plain = all(
        isinstance(f, Finding)
        and f.kind == "organ"
        and f.status is Status.PRESENT
        and all(a.status is Status.ABSENT for a in f.assessments)
        for f in sentence.findings
    )
    return is_plain and to_us(sentence.text) == no_finding_text(sentence.findings)


def verify_report(report: Report) -> None:
    """Check every sentence, that counts leave nothing out, that no model speaks against masks, and the whole.

    Raises VerificationError naming the first sentence that fails.
    """
    for sentence in report.sentences:
        reason = verify_sentence(sentence) or overlooked(sentence, report.findings)
        if reason:
            raise VerificationError("every sentence is true to the findings it cites", f"{sentence.text!r}: {reason}")
    settled = conflicts(report.findings)
    if settled:
        raise VerificationError("a model says nothing of what the masks have settled", settled[0])
    contrary = contradictions(report.findings, report.sentences)
    if contrary:
        raise VerificationError("no two statements of a report contradict each other", contrary[0].what)


def overlooked(sentence: Sentence, findings: Sequence[Finding]) -> str | None:
    """A count is of all lesions of that kind in the report, so citing only some of them is refused.

    So is a model's "no splenic lesion" beside a splenic cyst.
    """
    denied = next(
        (f for f in sentence.findings if is_model(f) and f.status is Status.ABSENT and would_deny(f, findings)), None
    )
    if denied is not None:
        return f"'no {denied.category}' would deny what the report states"
    if _finds_nothing(sentence):
        sites = {f.site for f in sentence.findings}
        seen = [f for f in findings if f.importance > 0 and sites & {f.site, *_parents(f.site)}]
        seen += [f for f in findings if waits_for_patient(f) and f.site in sites]
        return f"it says that nothing was found beside {seen[0].id}" if seen else None
    if _points_to_findings(sentence):
        return None
    cited = {f.id for f in sentence.findings}
    sited = {f.site for f in sentence.findings}
    kinds = {base_name(f.kind) for f in sentence.findings if is_lesion_kind(f.kind) and f.status is Status.PRESENT}
    missed = [
        f.id
        for f in findings
        if is_lesion_kind(f.kind)
        and f.status is Status.PRESENT
        and f.source is not Source.MODEL
        and base_name(f.kind) in kinds
        and f.id not in cited
        and f.site in sited
    ]
    further = [f.id for f in findings if kinds and _is_unmeasured([f]) and base_name(f.kind) in kinds]
    if further and set(tokenize(sentence.text)) & {"only", "single", "solitary"}:
        return f"it says that there are no more, and {', '.join(further)} may be"
    if not missed:
        return None
    counts = set(tokenize(sentence.text)) & {"only", "largest"}
    with suppress(Refusal):  # as it was read where it holds: "6 by 4 mm" is a size, and no count of six
        if not counts and not any(isinstance(t, Count) for t in true_reading(sentence)):
            return None
    return f"it counts lesions but leaves out {', '.join(missed)}"


def _clauses(tokens: list[Token]) -> list[list[_Part]]:
    clauses: list[list[_Part]] = [[_Part("")]]
    for token in tokens:
        if isinstance(token, Mark) and token.kind == "separator":
            if token.text in (";", "."):
                clauses.append([])
            clauses[-1].append(_Part(token.text))
        else:
            clauses[-1][-1].tokens.append(token)
    return [[p for p in clause if p.tokens] for clause in clauses if any(p.tokens for p in clause)]


class _Check:
    """One pass over the clauses of a sentence; raises _Refused at the first claim that does not hold."""

    def __init__(self, findings: tuple[Citable, ...], clauses: list[list[_Part]]) -> None:
        self.findings, self.clauses = findings, clauses
        self.subjects = list(subjects_of(findings).values())
        self.current = list(self.subjects)
        self.claims: dict[str, list[tuple[str, tuple[str, ...]]]] = {}  # quantity -> (text, subjects that fit)
        self.counted: set[str] = set()  # lesion subjects covered by a count
        self.described: set[str] = set()  # lesion subjects described by a number or a place
        self.negated: set[str] = set()  # finding ids covered by "no"
        self.denied_beside: set[str] = set()  # kinds of which others than those that are cited are denied
        self.lesions_named: set[str] = set()  # lesion structures that a noun has named so far
        self.organ_spoken_of = ""  # an organ named as the subject of what follows, and not cited as an organ
        self.cues: frozenset[str] = frozenset()
        self.bracket_cues: frozenset[str] = frozenset()  # what the last number in brackets was said to be

    def run(self) -> None:
        for clause in self.clauses:
            if self.counted:  # each item of "three lesions: ...; ...; ..." may be any of them
                self.current = [s for s in self.subjects if s.key in self.counted]
            self._clause(clause)
        for quantity, claims in self.claims.items():
            owners = _one_to_one(claims)
            if owners is None:
                raise _Refused(f"{quantity} is stated more often than there are lesions or organs of which it is true")
            self.described |= {s.key for s in self.subjects if s.lesion and s.key in owners}
        self._everything_said()

    # -- clauses ---------------------------------------------------------------------------------------------

    def _clause(self, parts: list[_Part]) -> None:
        negations = [(n, word) for n, part in enumerate(parts) for word in part.marks("negation")]
        if len(negations) > 1:
            raise _Refused(f"negated more than once: {', '.join(word for _, word in negations)}")
        if negations and negations[0][1] in ("no", "without"):
            start = negations[0][0]
            if any(isinstance(t, Named) for t in _before(parts[start], "negation")):
                raise _Refused("a structure stands before the negation in the same part")
            self._positive(parts[:start])
            self._negative(parts[start:])
        elif negations:
            self._not_assessed(parts)
        else:
            self._positive(parts)

    def _not_assessed(self, parts: list[_Part]) -> None:
        """ "... not assessed": everything named must be in findings that were not assessed."""
        open_findings = [f for f in self.findings if f.status is Status.NOT_ASSESSED]
        if not open_findings:
            raise _Refused("it says that something was not assessed, and cites no such finding")
        said = [t for part in parts for t in part.of(Said)]
        for token in said:
            if not any(f.status is Status.NOT_ASSESSED for f in token.findings):
                raise _Refused(f"{token.text!r} was assessed")
            self.negated |= {f.id for f in token.findings if f.status is Status.NOT_ASSESSED}
        for part in parts:
            if part.of(Number) or part.of(Count) or part.marks("side") or part.marks("pole"):
                raise _Refused("a clause about what was not assessed states a number or a side")
            for token in part.of(Named):
                if not any(t.names & {f.site, *_parents(f.site)} for t in token.options for f in open_findings):
                    raise _Refused(f"{token.text!r} was assessed, or is not cited")
        if not said:
            raise _Refused("it does not say what was not assessed")

    def _negative(self, parts: list[_Part]) -> None:
        """ "no ...": every lesion named after it is absent, and nothing else is claimed."""
        absent = {f.kind: f for f in self.findings if isinstance(f, Finding) and _is_absent_lesion(f)}
        hosts = {n for f in absent.values() for n in (f.site, *_parents(f.site), f.host)}
        covered = 0
        words = {w for part in parts for w in part.marks("word")}
        seen = {s.lesion for s in self.subjects if s.lesion and s.is_seen}
        if "other" in words and not seen:
            raise _Refused("it denies others, and cites none that is there")
        for part in parts:
            if part.of(Number) or part.of(Count) or part.marks("side") or part.marks("pole"):
                raise _Refused("a negated clause states a number or a side of its own")
            for said in part.of(Said):
                if not all(_tells_extent(f, said.text) for f in said.findings):
                    raise _Refused(f"{said.text!r} is negated")
            for named in part.of(Named):
                lesions = [t for t in named.options if all(is_lesion_kind(n) for n in t.names)]
                if "other" in part.marks("word") and lesions:  # "no other liver tumor" beside a metastasis
                    kinds = {n for t in lesions for n in t.names}
                    if not any(kind in kinds or any(is_kind_of(kind, n) for n in kinds) for kind in seen):
                        raise _Refused(f"it denies another {named.text}, and cites none that is there")
                    self.denied_beside |= kinds & set(absent)
                if not lesions:
                    if not any(t.names & hosts for t in named.options):
                        raise _Refused(f"{named.text!r} is not in the cited findings")
                    continue
                if not any(_all_absent(t, absent) for t in lesions):
                    raise _Refused(f"no cited finding says that {named.text!r} is absent")
                self.negated |= {f.id for kind, f in absent.items() if any(kind in t.names for t in lesions)}
                covered += 1
        if not covered:
            raise _Refused("a negation covers no absent finding")

    def _positive(self, parts: list[_Part]) -> None:
        levels = [
            t.text
            for part in parts
            for t in part.of(Named)
            if any("vertebrae_" + t.text.upper() in o.names for o in t.options)
        ]
        if len(set(levels)) < len(levels):
            raise _Refused("a vertebral level is named twice")
        pending: list[_Part] = []
        extent: list[Token] = []  # "completely included" before a list holds for all of it
        for part in parts:
            names = bool(part.of(Named) or part.of(LevelRange))
            if part.opens not in (",", "and", "or", "") and not (part.opens == ":" and not names):
                pending = []
            if extent and part.only_names and part.opens in (",", "and", "or"):
                part = _Part(part.opens, [*extent, *part.tokens])
            else:
                extent = part.extent_before_names
            self._part(part, pending)
            pending = [*pending, part] if part.only_names else []
        self._nothing_unsaid(parts, pending)

    def _nothing_unsaid(self, parts: list[_Part], last: list[_Part]) -> None:
        """ "The liver is normal in size, as is the spleen": a name after a claim, of which nothing is said, is refused.

        Such names are places of a lesion or what it touches; anything else would be read as what was said before.
        """
        told = [p for p in parts if p not in last and (p.of(Number) or p.of(Said) or p.of(Count))]
        nouns = {n for p in parts for t in p.of(Named) for o in t.options for n in o.names if is_lesion_kind(n)}
        organs = {f.site for f in self.findings if f.kind == "organ"}
        places = {n for f in self.findings if f.kind != "organ" and f.site not in organs for n in (*f.names, f.kind)}
        places |= {n for s in self.subjects if s.lesion for n in s.names}
        for part in last if told else last[1:] if nouns else ():
            for token in part.of(Named):
                if not any(o.names & places for o in token.options):
                    raise _Refused(f"nothing is said of {token.text!r}")

    # -- one part --------------------------------------------------------------------------------------------

    def _part(self, part: _Part, pending: list[_Part]) -> None:
        named: list[Named] = part.of(Named)
        self._names_are_cited(part, named)
        text = f" {part.words} "
        told = [(cue, q) for cue, q in _CUES if f" {cue} " in text]
        cues = frozenset().union(
            *(
                q
                for cue, q in told
                if not any(  # "ascending diameter" is not "diameter"
                    cue != longer and f" {cue} " in f" {longer} " for longer, _ in told
                )
            )
        )
        if part.opens == "(":  # "T4 (height loss 15 percent) and T7 (16 percent)"
            alone = all(isinstance(t, Number) for t in part.tokens)
            cues = cues or (self.bracket_cues if alone and not self.cues else frozenset())
            self.bracket_cues = cues
        self.cues = cues or (self.cues if part.opens == "(" else frozenset())
        _units_fit(part, cues)
        self._plurals_hold(named)
        for one, other in itertools.pairwise(part.tokens):
            if (
                isinstance(one, Mark)
                and one.text == "other"
                and isinstance(other, Named)
                and other.text not in _plurals()
            ):
                raise _Refused(f"which other {other.text} is meant is not said")
        candidates = self._candidates(part, named)
        self._spoken_of(part, candidates)
        if part.marks("whole"):
            self._whole(part, candidates, pending)
        if part.marks("limited") and not any(isinstance(f, Finding) and f.cut_by for f in self.findings):
            raise _Refused("no cited structure is cut by the field of view")
        for said in part.of(Said):
            candidates = self._said(said, part, candidates, pending)
        for count in part.of(Count):
            self._count(count, part, candidates)
        for number in part.of(Number):
            candidates = self._number(number, part, candidates)
        if candidates:
            self.current = candidates

    def _plurals_hold(self, named: list[Named]) -> None:
        """ "cysts" and "lobes" are more than one; what is said of "both" stands elsewhere."""
        for token in named:
            if token.text not in _plurals() or any(t.every for t in token.options):
                continue
            names = {n for t in token.options for n in t.names}
            if sum(bool(names & s.own) for s in self.subjects if s.is_seen) == 1:
                raise _Refused(f"{token.text!r} are several, and one is cited")

    def _spoken_of(self, part: _Part, candidates: list[Subject]) -> None:
        """What lies in an organ is not said of the organ: "the liver is hypoattenuating" is about no lesion of it."""
        nouns = {n for token in part.of(Named) for t in token.options for n in t.names if is_lesion_kind(n)}
        if nouns:
            self.lesions_named |= nouns
            self.organ_spoken_of = ""
        else:
            for token in _as_subjects(part):
                owns = any(t.names & s.own for t in token.options for s in self.subjects)
                self.organ_spoken_of = "" if owns else token.text
                if owns:
                    break
        claims = part.of(Number) or part.of(Said) or part.marks("pole")
        about_lesions = bool(candidates) and all(s.lesion for s in candidates)
        if self.organ_spoken_of and claims and about_lesions:
            raise _Refused(f"it is said of {self.organ_spoken_of!r}, and a lesion in it is cited")

    def _whole(self, part: _Part, candidates: list[Subject], pending: list[_Part]) -> None:
        """That organs are in the scan as a whole holds for all that are named, and for all of a group."""
        organs = {f.site: f for f in self.findings if isinstance(f, Finding) and f.kind == "organ"}
        parts = [*pending, part]
        tokens = [t for p in parts for t in p.of(Named)]
        wanted = {n for p in parts for levels in p.of(LevelRange) for n in levels.names}
        exact = {n for t in tokens for o in t.options for n in o.names if len(o.names) == 1} | wanted
        sides = {s for p in parts for s in p.marks("side") if s in ("left", "right")}
        for token in tokens:
            readings = [o.names & set(organs) for o in token.options]
            readings = [{n for n in r if not sides or structure(n).side in ("", *sides)} for r in readings]
            readings = [r for r in readings if r]
            if not readings:
                raise _Refused(f"{token.text!r} is no cited organ")
            if not any(r & exact for r in readings) or any(len(r) == 1 for r in readings):
                wanted |= min(readings, key=len)
        if not wanted:
            held = {s.findings[0].site for s in candidates if s.own & set(organs)}
            wanted = {n for n in held if not held & set(_parents(n))}
        if not wanted:
            raise _Refused("it does not say what is in the scan")
        for name in sorted(wanted):
            organ = organs.get(name)
            if organ is None or organ.status is not Status.PRESENT:
                raise _Refused(f"{structure(name).words} is not seen as a whole")
            if organ.cut_by:
                raise _Refused(f"{structure(name).words} is incompletely imaged")

    def _names_are_cited(self, part: _Part, named: list[Named]) -> None:
        absent_category = any(
            f.status is Status.ABSENT and _is_category(s, f) for s in part.of(Said) for f in s.findings
        )
        seen = [s for s in self.subjects if s.is_seen]
        for token in named:
            readings = [t for t in token.options if self._cited(t, self.subjects)]
            if not readings:
                raise _Refused(f"{token.text!r} is not in the cited findings")
            if not absent_category and not any(self._cited(t, seen) for t in readings) and not self._is_list(token):
                raise _Refused(f"{token.text!r} is mentioned as if it were seen")
        duplicates = [t.text for t in named if sum(o.text == t.text for o in named) > 1]
        if duplicates:
            raise _Refused(f"{duplicates[0]!r} is named twice")
        sides = part.marks("side")
        for side in sides:
            if side in ("both", "bilateral"):
                if not any(t.every and self._cited(t, self.subjects) for token in named for t in token.options):
                    raise _Refused(f"{side!r} stands beside no paired structure")
            elif not any(side in s.sides for s in self.subjects):
                raise _Refused(f"no cited finding is on the {side}")

    def _is_list(self, token: Named) -> bool:
        """A name in a list whose end says "not seen": checked there."""
        return any(
            isinstance(t, Said) and any(f.status is Status.ABSENT and f.kind in _LISTED for f in t.findings)
            for clause in self.clauses
            for part in clause
            for t in part.tokens
            if any(token in p.tokens for p in clause)
        )

    @staticmethod
    def _cited(term: Term, subjects: list[Subject]) -> bool:
        allowed = {n for s in subjects for n in s.names}
        return term.names <= allowed if term.every else bool(term.names & allowed)

    def _candidates(self, part: _Part, named: list[Named]) -> list[Subject]:
        """Subjects that agree with every name, side and pole of the part."""
        sides = [s for s in part.marks("side") if s in ("left", "right")]
        poles = part.marks("pole")
        if not (named or sides or poles or part.of(LevelRange)):
            return list(self.current)

        def agrees(subject: Subject) -> bool:
            return (
                all(any(t.names & subject.names for t in token.options) for token in named)
                and all(side in subject.sides for side in sides)
                and all(pole in subject.poles for pole in poles)
            )

        narrowed = [s for s in self.current if agrees(s)]
        found = narrowed or [s for s in self.subjects if agrees(s)]
        own = [s for s in found if all(any(t.names & s.own for t in token.options) for token in named)] if named else []
        if own:
            found = own
        if not found and (sides or poles):
            raise _Refused(f"no cited finding is {' '.join([*sides, *poles])} there")
        for levels in part.of(LevelRange):
            self._levels(levels, part)
        if not found and len(named) > 1:
            raise _Refused(f"{' and '.join(repr(t.text) for t in named)} are not said of one finding")
        if found and all(s.lesion for s in found):
            self._hosts_hold(named, found)
        if poles or (named and any(s.lesion for s in found)):
            self.described |= {s.key for s in found if s.lesion} if len(found) == 1 else set()
        return found

    @staticmethod
    def _hosts_hold(named: list[Named], found: list[Subject]) -> None:
        """ "Both kidneys" hold lesions only where each of them holds one."""
        held = {n for s in found for n in s.names}
        for token in named:
            pair = [t for t in token.options if t.every and not any(is_lesion_kind(n) for n in t.names)]
            if pair and not any(t.names <= held or {base_name(n) for n in t.names} <= held for t in pair):
                raise _Refused(f"not each of {token.text!r} is cited with a lesion")

    def _levels(self, levels: LevelRange, part: _Part) -> None:
        said: list[Citable] = [f for s in part.of(Said) for f in s.findings]
        if part.marks("whole"):
            said = [f for f in self.findings if isinstance(f, Finding) and f.kind == "organ" and not f.cut_by]
        held = {n for f in said or self.findings for n in (f.site, *(f.locations if isinstance(f, Finding) else ()))}
        missing = [n for n in levels.names if n not in held]
        if missing:
            raise _Refused(f"{levels.text!r} includes {structure(missing[0]).words}, which is not cited")
        held -= self._levels_named(levels)
        order = [f"vertebrae_{level}" for level in USUAL_LEVELS]
        for end, step in ((levels.names[0], -1), (levels.names[-1], 1)):
            if end in order:
                neighbor = order.index(end) + step
                if 0 <= neighbor < len(order) and order[neighbor] in held:
                    raise _Refused(f"{levels.text!r} leaves out {structure(order[neighbor]).words}")

    def _levels_named(self, but: LevelRange) -> set[str]:
        """Levels that the sentence names elsewhere, which a range that ends before them does not leave out."""
        tokens = [t for clause in self.clauses for part in clause for t in part.tokens if t is not but]
        single = {n for t in tokens if isinstance(t, Named) for o in t.options for n in o.names if len(o.names) == 1}
        return single | {n for t in tokens if isinstance(t, LevelRange) for n in t.names}

    def _said(self, said: Said, part: _Part, candidates: list[Subject], pending: list[_Part]) -> list[Subject]:
        """A phrase of cited findings: it holds for the subject named with it, and for the list before it."""
        if all(f.status is Status.NOT_ASSESSED for f in said.findings):
            raise _Refused(f"{said.text!r} was not assessed")
        ids = {f.id for f in said.findings}
        holders = [s for s in self.subjects if any(f.id in ids for f in s.findings)]
        names = part.of(Named)
        if said.text in CUT_PHRASES:
            holders = _cut(holders, [*pending, part])
        keys = {h.key for h in holders}
        agreed = [s for s in candidates if s.key in keys]
        if not agreed and names:
            raise _Refused(f"{said.text!r} is not said of {names[0].text!r}")
        if not agreed and not part.of(LevelRange) and len(candidates) < len(self.subjects):
            raise _Refused(f"{said.text!r} is not said of {_who(candidates)}")
        for earlier in [*pending, part]:
            for token in earlier.of(Named):
                if not any(_holds(t, holders) for t in token.options):
                    raise _Refused(f"{said.text!r} is not said of {token.text!r}")
            for levels in earlier.of(LevelRange):
                if not set(levels.names) <= {n for h in holders for n in h.names}:
                    raise _Refused(f"{said.text!r} is not said of all of {levels.text!r}")
        self._no_duplicates([*pending, part])
        return agreed or holders

    @staticmethod
    def _no_duplicates(parts: list[_Part]) -> None:
        texts = [token.text for part in parts for token in part.of(Named)]
        twice = next((t for t in texts if texts.count(t) > 1), None)
        if twice is not None:
            raise _Refused(f"{twice!r} is named twice in a list")

    def _count(self, count: Count, part: _Part, candidates: list[Subject]) -> None:
        terms = [t for token in part.of(Named) for t in token.options]
        seen = [s for s in self.subjects if s.lesion and s.is_seen and not _is_unmeasured(s.findings)]
        lesions = [s for s in seen if any(s.lesion in t.names for t in terms)]
        hosts = [
            t
            for token in part.of(Named)
            for t in token.options
            if not any(is_lesion_kind(n) or n.startswith("vertebrae_") for n in t.names)
        ]
        for term in hosts:
            lesions = [s for s in lesions if term.names & s.names] or lesions
        if lesions:
            for said in part.of(Said):
                ids = {f.id for f in said.findings}
                if any(not any(f.id in ids for f in s.findings) for s in lesions):
                    raise _Refused(f"{said.text!r} is not said of all that are counted")
            number = len(lesions)
            if number < count.least or (count.most is not None and number > count.most):
                raise _Refused(f"{count.word!r} is stated, and {number} are cited")
            self.counted |= {s.key for s in lesions}
            return
        if count.least == count.most and {"slices", "images"} & set(tokenize(part.words)):
            values = [m for f in self.findings for m in f.measurements if m.quantity == "count"]
            if any((count.word, "1") in renderings(m) for m in values):
                return
        if count.least == count.most and any(
            m.quantity == "count" and round(m.value) == count.least
            for s in candidates or self.subjects  # "two in the right kidney; one in the left kidney"
            for f in s.findings
            if f.kind in FOCUS_KINDS
            for m in f.measurements
        ):
            return
        raise _Refused(f"{count.word!r} counts nothing that is cited")

    def _number(self, number: Number, part: _Part, candidates: list[Subject]) -> list[Subject]:
        largest = bool(part.marks("superlative"))
        fits = [s for s in candidates if self._matches(number, s)]
        shown = f"{' x '.join(number.values)} {number.unit}"
        if not fits:
            raise _Refused(f"{shown} is not a measurement of {_who(candidates)}")
        quantity = "axes" if len(number.values) == 2 else number.unit + " ".join(sorted(self.cues))
        of_focus = all(any(f.kind in FOCUS_KINDS for f in s.findings) for s in fits) and number.unit in (
            "mm",
            "cm",
            "HU",
        )
        if largest and not of_focus:  # diameter and attenuation of foci are those of the largest
            kinds = {base_name(s.lesion) for s in fits if s.lesion}
            peers = [s for s in self.subjects if s.lesion and base_name(s.lesion) in kinds]
            most = max((p.size for p in peers), default=0.0)
            fits = [s for s in fits if s.size >= most] if peers else []
            if not fits:
                raise _Refused(f"{shown} is not the largest")
        self.claims.setdefault(quantity, []).append((shown, tuple(s.key for s in fits)))
        return fits

    def _matches(self, number: Number, subject: Subject) -> bool:
        if len(number.values) == 2:
            pairs = zip(number.values, ("long_axis", "short_axis"), strict=True)
            return all(self._is(value, number.unit, subject.measurements, frozenset({q})) for value, q in pairs)
        unit = _SPELLING.get(number.unit, number.unit)
        cues = frozenset(q for q in self.cues if _CUE_UNIT[q] == unit)
        quantities = cues or _BY_UNIT[unit]
        if not cues and unit == "HU" and any(m.quantity == "core_mean_hu" for m in subject.measurements):
            quantities = frozenset({"core_mean_hu"})  # of a lesion, attenuation is told away from its edge
        return self._is(number.values[0], number.unit, subject.measurements, quantities)

    @staticmethod
    def _is(digits: str, unit: str, measurements: list[Measurement], quantities: frozenset[str]) -> bool:
        return any((digits, unit) in renderings(m) for m in measurements if m.quantity in quantities)

    # -- the end ---------------------------------------------------------------------------------------------

    def _everything_said(self) -> None:
        """Each cited absent or open finding is stated as such; each cited lesion is counted or described."""
        said = {
            f.id
            for clause in self.clauses
            for part in clause
            for t in part.of(Said)
            for f in t.findings
            if _is_category(t, f)
        }
        denied = self.negated | said
        for finding in self.findings:
            if finding.status is Status.ABSENT and finding.id not in denied:
                raise _Refused(f"{finding.id} ({finding.kind}) is absent and the sentence does not say so")
            if finding.kind == "contrast_phase" and finding.status is Status.INDETERMINATE and not self._is_hedged():
                raise _Refused("the contrast phase is uncertain and the sentence does not say so")
            if finding.status is Status.NOT_ASSESSED and finding.id not in self.negated:
                raise _Refused(f"{finding.id} ({finding.kind}) is not assessed and the sentence does not say so")
        lesions = [s for s in self.subjects if s.lesion and s.is_seen]
        of_a_kind = Counter(base_name(s.lesion) for s in lesions)
        tokens = [token for clause in self.clauses for part in clause for token in part.of(Named)]
        names = {name for token in tokens for term in token.options for name in term.names}
        for subject in lesions:
            alone = of_a_kind[base_name(subject.lesion)] == 1
            if any(f.status is Status.INDETERMINATE and f.id in said for f in subject.findings):
                continue  # areas too small to be measured, in the very words of their finding
            if any(is_kind_of(subject.lesion, general) for general in self.denied_beside):
                continue  # what is denied is another one than this
            mentioned = subject.lesion in names
            mentioned = mentioned or any(f.source is Source.MODEL for f in subject.findings)  # see attribution
            if not mentioned or (subject.key not in self.counted | self.described and not alone):
                raise _Refused(f"{subject.findings[0].id} ({subject.lesion}) is cited and not stated")

    def _is_hedged(self) -> bool:
        words = {t.text for clause in self.clauses for part in clause for t in part.of(Said)}
        return bool(words & {"uncertain", "possibly"})


def _is_unmeasured(findings: Sequence[Citable]) -> bool:
    """Whether masks label it as a lesion and nobody measured it, so that it counts as none."""
    return all(
        f.status is Status.INDETERMINATE and f.source is Source.MASKS and is_lesion_kind(f.kind) for f in findings
    )


#: Words beside a number that say what it is -> its unit.
_UNIT_OF_WORD = {"attenuation": "HU", "volume": "mL", "angle": "degree"}
#: Words between a preposition and the place that it names.
_BEFORE_A_PLACE = frozenset({"the", "a", "an", "left", "right", "both"})
#: Words after which "of" names whose it is.
_OF_SOMETHING = frozenset({"attenuation", "mean attenuation", "volume", "size", "length", "diameter", "extent"})
_PREPOSITIONS = frozenset({"in", "of", "at", "within", "from", "involving", "on", "to", "into", "beside", "level"})


def _units_fit(part: _Part, cues: frozenset[str]) -> None:
    """A single number beside "volume" is one of mL, whatever else is true."""
    numbers = part.of(Number)
    if len(numbers) != 1:
        return
    unit = _SPELLING.get(numbers[0].unit, numbers[0].unit)
    words = {w for t in part.tokens if isinstance(t, Mark) and t.kind == "word" for w in t.text.split()}
    wanted = {_CUE_UNIT[q] for q in cues} or {u for w, u in _UNIT_OF_WORD.items() if w in words}
    if wanted and unit not in wanted:
        raise _Refused(f"{' '.join(numbers[0].values)} {numbers[0].unit} has not the unit of what it is said to be")


@cache
def _plurals() -> frozenset[str]:
    """Phrases of several lesions, vertebrae, ribs or lobes that are not also phrases of one."""
    terms = [t for held in lexicon().terms.values() for t in held]
    texts = {" ".join(t.tokens) for t in terms}
    many = {p for text in texts if (p := plural(text)) != text and p in texts}
    many |= {listed["many"] for listed in lexicon().nouns.values() if listed["many"] != listed["one"]}
    return frozenset(many - {"muscles", "bones", "vessels", "soft tissues"})


def _as_subjects(part: _Part) -> list[Named]:
    """Structures that the part names as what it speaks of, not as a place after a preposition."""
    found, place = [], False
    for before, token in zip(
        ("", *(t.text if isinstance(t, Mark) else "" for t in part.tokens)), part.tokens, strict=False
    ):
        if isinstance(token, Named):
            if not place:
                found.append(token)
            place = False
        elif isinstance(token, Mark) and token.kind == "pole":
            place = False
        elif isinstance(token, Mark) and token.kind in ("word", "side"):
            is_owner = token.text == "of" and before in _OF_SOMETHING  # "the attenuation of the liver" is the liver's
            place = (token.text in _PREPOSITIONS and not is_owner) or (place and token.text in _BEFORE_A_PLACE)
        else:
            place = False
    return found


def _cut(holders: list[Subject], parts: list[_Part]) -> list[Subject]:
    """Of what the field of view cuts, that which the parts speak of: a lesion by its noun, else organs."""
    terms = [t for p in parts for token in p.of(Named) for t in token.options]
    if not terms or any(is_lesion_kind(n) for t in terms for n in t.names):
        return holders
    return [s for s in holders if not s.lesion] or holders


def _one_to_one(claims: list[tuple[str, tuple[str, ...]]]) -> set[str] | None:
    """Subjects when each claim can have one of its own (augmenting paths), else None."""
    owner: dict[str, int] = {}

    def place(claim: int, tried: set[str]) -> bool:
        for key in claims[claim][1]:
            if key not in tried:
                tried.add(key)
                if key not in owner or place(owner[key], tried):
                    owner[key] = claim
                    return True
        return False

    return set(owner) if all(place(n, set()) for n in range(len(claims))) else None


def _is_absent_lesion(finding: Finding) -> bool:
    return finding.status is Status.ABSENT and is_lesion_kind(finding.kind)


def _tells_extent(item: Citable, text: str) -> bool:
    """Whether the phrase is the extent in which something is absent, or the cut of an organ."""
    if not isinstance(item, Finding):
        return False
    return bool(item.cut_by) or (item.status is Status.ABSENT and item.scope == text)


def _is_category(said: Said, finding: Citable) -> bool:
    """Whether the phrase is what the finding says, not merely the extent that it speaks of."""
    words = tuple(said.text.split(" "))
    return words in category_words(finding) or (words[0] == "no" and finding.rule is not None)


def _before(part: _Part, kind: str) -> list[Token]:
    index = next((n for n, t in enumerate(part.tokens) if isinstance(t, Mark) and t.kind == kind), len(part.tokens))
    return part.tokens[:index]


def _parents(name: str) -> tuple[str, ...]:
    parent = structure(name).parent if name else ""
    return (parent, *_parents(parent)) if parent else ()


def _all_absent(term: Term, absent: dict[str, Finding]) -> bool:
    """Every structure that the term names is absent; a pair answers for the unsided one and the reverse."""
    left = set(term.names) - set(absent)
    for name in list(left):
        variants = {n for n in structures() if base_name(n) == base_name(name)}
        sided = {n for n in variants if structure(n).side}
        unsided = variants - sided
        if (name in unsided and sided and sided <= set(absent)) or (name in sided and unsided & set(absent)):
            left.discard(name)
    return not left


def _holds(term: Term, holders: list[Subject]) -> bool:
    names = {n for h in holders for n in h.names}
    return term.names <= names if term.every else bool(term.names & names)


def _who(candidates: list[Subject]) -> str:
    sites = dict.fromkeys(s.findings[0].site or s.findings[0].kind for s in candidates)
    return ", ".join(sites) if sites else "anything cited there"

"""Prose of a decoder against the findings: which of its sentences may stand in the report.

A draft sentence is never corrected. It is matched to the template's sentences of its section by trying what
they cite; when it verifies and says all that they say, it takes their place; when it verifies but says less, the
template stays and nothing is wrong ("absorbed"); when it verifies against nothing, it is replaced and recorded.
A sentence on what only the model saw gets the words for that added, since a decoder cannot know them.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import combinations

from radvlm.compose.model_sentences import SEEN, attributed, is_model
from radvlm.compose.verify.claims import LevelRange, Named, Number, Refusal, Said, UnknownWord, scan
from radvlm.compose.verify.sentence import overlooked, verify_sentence
from radvlm.types.anatomy import is_lesion_kind
from radvlm.types.finding import Citable, Finding, Status
from radvlm.types.finding_kinds import any_finding_kind, side_of, vocabulary_name
from radvlm.types.model_output import Draft
from radvlm.types.report import Replacement, Sentence
from radvlm.wording.sentences import split_sentences
from radvlm.wording.spelling import to_us
from radvlm.wording.vocabulary import lexicon, tokenize

#: A longer sentence, and any sentence after this many in a section, is refused unread.
LONGEST, MOST = 400, 60
_SIZES = ("mm", "cm", "mL")

Claim = tuple[str, str]


@dataclass
class Judged:
    """What became of the drafts of one report."""

    sentences: list[Sentence]
    replacements: list[Replacement] = field(default_factory=list)
    accepted: int = 0
    absorbed: int = 0


@dataclass(frozen=True)
class _True:
    """A draft sentence that verified: what it cites, what it claims, how many sizes and attenuations it states."""

    sentence: Sentence
    claims: frozenset[Claim]
    sizes: int = 0
    densities: int = 0

    def is_within(self, other: _True) -> bool:
        return self.claims <= other.claims and self.sizes <= other.sizes and self.densities <= other.densities


def place_drafts(template: Sequence[Sentence], drafts: Sequence[Draft], findings: Sequence[Finding]) -> Judged:
    """The template's sentences with those of the drafts in their place that may stand there."""
    judged = Judged(list(template))
    for draft in drafts:
        section = [s for s in judged.sentences if s.section == draft.section]
        held: list[_True] = []
        for number, text in enumerate(split_sentences(draft.text)):
            reason = f"it is sentence {number + 1} of its section" if number >= MOST else ""
            reason = reason or (f"it has {len(text)} characters" if len(text) > LONGEST else "")
            true, why = (None, reason) if reason else _match(text, draft.section, section, findings)
            if true is None:
                standing = _nearest(text, section)
                judged.replacements.append(Replacement(text[:LONGEST], why, standing.text if standing else ""))
            elif any(true.is_within(other) for other in held):
                judged.absorbed += 1
            else:
                held.append(true)
        _install(judged, section, held)
    return judged


def _match(
    text: str, section: str, template: Sequence[Sentence], findings: Sequence[Finding]
) -> tuple[_True | None, str]:
    """The first set of findings that the text is true to; else None and why the nearest one fails."""
    if not template:
        return None, "no finding stands in this section"
    whole = tuple({f.id: f for s in template for f in s.findings}.values())
    try:
        scan(to_us(text), whole)
    except Refusal as refusal:
        if not _denial(text, whole):
            return None, str(refusal)
    if not any(isinstance(t, (Named, Said, LevelRange, Number)) for t in _tokens(text, whole)):
        return (
            (None, "it states nothing that can be checked")
            if not _denial(text, whole)
            else (_denial_of(text, section, whole), "")
        )
    first = ""
    spoken_of = set(_mentioned(text, whole))
    for cited in _citations(text, template):
        sentence = _sentence(text, section, cited)
        why = (
            "it states as certain what is open"
            if sentence is None
            else verify_sentence(sentence) or overlooked(sentence, findings)
        )
        if sentence is not None and why is None:
            return _claims(sentence), ""
        if spoken_of & set(cited):
            first = first or why or ""
    if _denial(text, whole):
        return _denial_of(text, section, whole), ""
    return None, first or "no finding of this section says so"


def _tokens(text: str, findings: tuple[Citable, ...]) -> list:
    try:
        return scan(to_us(text), findings)
    except Refusal:
        return []


def _sentence(text: str, section: str, cited: tuple[Citable, ...]) -> Sentence | None:
    """The sentence as it would stand: a model's findings with the words that mark them."""
    of_model = [f for f in cited if is_model(f)]
    if not of_model or len(of_model) < len(cited):
        return Sentence(text, section, cited)
    bare = text.rstrip(" .")
    if all(f.status is Status.ABSENT for f in cited):
        return Sentence(f"{bare} {SEEN}.", section, cited)
    if len(cited) == 1 and cited[0].status is Status.PRESENT:
        return Sentence(attributed(of_model[0], bare, section != "impression"), section, cited)
    return None if any(f.status is Status.INDETERMINATE for f in cited) else Sentence(text, section, cited)


def _citations(text: str, template: Sequence[Sentence]) -> Iterator[tuple[Citable, ...]]:
    """What the sentence may cite, nearest first: a template sentence, part of one, two or all of them."""
    words = set(tokenize(text))
    near = sorted(template, key=lambda s: -_overlap(words, s))
    seen: set[frozenset[str]] = set()

    def fresh(cited: tuple[Citable, ...]) -> bool:
        key = frozenset(f.id for f in cited)
        new = bool(key) and key not in seen
        seen.add(key)
        return new

    sets: list[tuple[Citable, ...]] = []
    for sentence in near[:6]:
        mentioned = _mentioned(text, sentence.findings)
        sets += [
            sentence.findings,
            mentioned,
            tuple(f for f in sentence.findings if f.status is not Status.ABSENT or f in mentioned),
        ]
        if any(is_model(f) for f in sentence.findings):
            sets += [tuple(g) for g in _by_name(_mentioned(text, sentence.findings))]
    for one, other in combinations(near[:4], 2):
        both = tuple({f.id: f for s in (one, other) for f in s.findings}.values())
        sets += [both, _mentioned(text, both)]
    whole = tuple({f.id: f for s in template for f in s.findings}.values())
    sets += [_mentioned(text, whole), whole]
    for cited in sets:
        if fresh(cited):
            yield cited


def _by_name(findings: Sequence[Citable]) -> list[list[Citable]]:
    names = dict.fromkeys(vocabulary_name(f) for f in findings)
    return [[f for f in findings if vocabulary_name(f) == name] for name in names]


def _mentioned(text: str, findings: tuple[Citable, ...]) -> tuple[Citable, ...]:
    """Those that a phrase or a name of the sentence speaks of."""
    tokens = _tokens(text, findings)
    said = {f.id for t in tokens if isinstance(t, Said) for f in t.findings}
    names = {n for t in tokens if isinstance(t, Named) for o in t.options for n in o.names}
    names |= {n for t in tokens if isinstance(t, LevelRange) for n in t.names}
    regions = _judged_regions(findings, said)
    return tuple(
        f
        for f in findings
        if f.id in said
        or (
            f.kind in names
            if is_lesion_kind(f.kind)
            else f.site in names and (f.kind == "organ" or f.status is not Status.ABSENT)
        )
        or any(r.id in regions for r in f.regions)
    )


def _judged_regions(findings: Sequence[Citable], said: set[str]) -> set[str]:
    """Regions of the organs and lesions of which an assessment is said."""
    held = [f for f in findings if isinstance(f, Finding)]
    judged = [(f, a) for f in held for a in f.assessments if a.id in said and a.site == f.site]
    twins = [f for _, a in judged for f in held if a.twin and f.kind == "organ" and f.site == a.twin]
    return {r.id for f in (*(f for f, _ in judged), *twins) for r in f.regions}


def _overlap(words: set[str], sentence: Sentence) -> float:
    own = set(tokenize(sentence.text))
    return len(words & own) / max(1, len(words | own))


def _nearest(text: str, template: Sequence[Sentence]) -> Sentence | None:
    """The template's sentence that shares most of what is not neutral in it; None when none shares anything."""
    words = {w for w in tokenize(text) if w.isalpha() and w not in lexicon().neutral | {"no", "not", "and", "or"}}
    best = max(template, key=lambda s: _overlap(words, s), default=None)
    return best if best is not None and _overlap(words, best) > 0 else None


def _denial(text: str, findings: Sequence[Citable]) -> list[Finding]:
    """Absent findings of a model that a whole sentence of the table denies, on every side that they have."""
    said = " ".join(t for t in tokenize(to_us(text)) if t != ".")
    for name in {vocabulary_name(f) for f in findings if is_model(f)}:
        if said in any_finding_kind(name).denials:
            held = [f for f in findings if is_model(f) and vocabulary_name(f) == name]
            sides = {side_of(f.site) for f in held}
            if all(f.status is Status.ABSENT for f in held) and (sides == {""} or {"left", "right"} <= sides):
                return held
    return []


def _denial_of(text: str, section: str, findings: Sequence[Citable]) -> _True:
    held = tuple(_denial(text, findings))
    return _True(Sentence(text, section, held), frozenset(("absent", f.id) for f in held))


def _claims(sentence: Sentence) -> _True:
    """What a verified sentence says, as a set that can be compared with another sentence on the same findings."""
    try:
        tokens = scan(to_us(sentence.text), sentence.findings)
    except UnknownWord:  # verified as a whole, like "No finding was made in ...": no other words say the same
        return _True(sentence, frozenset({("text", sentence.text)}))
    claims: set[Claim] = set()
    sites = {f.site for f in sentence.findings if f.kind == "organ"}
    for token in tokens:
        if isinstance(token, Said):
            claims |= {("said", f.id) for f in token.findings if is_model(f) or not is_lesion_kind(f.kind)}
        elif isinstance(token, Named):
            claims |= {("organ", n) for o in token.options for n in o.names & sites}
        elif isinstance(token, LevelRange):
            claims |= {("organ", n) for n in token.names if n in sites}
    for finding in sentence.findings:
        if finding.status is Status.ABSENT:
            claims = {c for c in claims if c[1] != finding.id} | {("absent", finding.id)}
        elif is_model(finding):
            claims = {c for c in claims if c[1] != finding.id} | {("model", finding.id)}
            claims |= {
                ("place", n)
                for t in tokens
                if isinstance(t, Named)
                for o in t.options
                for n in o.names
                if n in finding.locations
            }
        elif is_lesion_kind(finding.kind):
            claims.add(("lesion", finding.id))
    units = [t.unit for t in tokens if isinstance(t, Number)]
    return _True(sentence, frozenset(claims), sum(u in _SIZES for u in units), units.count("HU"))


def _install(judged: Judged, section: Sequence[Sentence], held: Sequence[_True]) -> None:
    """Put groups of true sentences in the place of the template's sentences on the same findings."""
    for drafts, standing in _groups(held, [_claims(s) for s in section]):
        said = frozenset().union(*(d.claims for d in drafts))
        wanted = frozenset().union(*(t.claims for t in standing))
        only_absent = all(is_model(f) and f.status is Status.ABSENT for t in standing for f in t.sentence.findings)
        enough = (
            wanted <= said
            and sum(d.sizes for d in drafts) >= sum(t.sizes for t in standing)
            and sum(d.densities for d in drafts) >= sum(t.densities for t in standing)
        )
        if only_absent or not enough or not standing:
            judged.absorbed += len(drafts)
            continue
        judged.accepted += len(drafts)
        place = judged.sentences.index(standing[0].sentence)
        gone = [t.sentence for t in standing]
        kept = [s for s in judged.sentences if s not in gone]
        place -= sum(judged.sentences.index(s) < place for s in gone)
        judged.sentences = [*kept[:place], *(d.sentence for d in drafts), *kept[place:]]


def _groups(held: Sequence[_True], standing: Sequence[_True]) -> list[tuple[list[_True], list[_True]]]:
    """Drafts and template sentences joined by the findings that they cite."""
    groups: list[tuple[list[_True], list[_True], set[str]]] = [([], [t], set(t.sentence.finding_ids)) for t in standing]
    for draft in held:
        ids = set(draft.sentence.finding_ids)
        touched = [g for g in groups if g[2] & ids]
        rest = [g for g in groups if not g[2] & ids]
        merged = (
            [d for g in touched for d in g[0]] + [draft],
            [t for g in touched for t in g[1]],
            ids.union(*(g[2] for g in touched)),
        )
        groups = [*rest, merged]
    return [(drafts, templates) for drafts, templates, _ in groups if drafts]

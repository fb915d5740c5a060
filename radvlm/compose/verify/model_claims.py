"""What a sentence on a model's findings must say and may not say, beside what every sentence must.

* It cites findings of the model alone, all of one status, and says who saw them exactly once.
* Present or open: one finding, its probability as it is written, "possible ... indeterminate" exactly when it is open,
  "possible" alone exactly when it is present with a probability below one half,
  no number, count or pole (a model measures nothing), and more than one only where it gave more than one place.
* Of a scan unlike those of the training: one finding with its probability, "not assessed" and "outside its domain", and
  nothing that says that it is seen, open or possible.
* Absent: "No a, b or c seen by the model", where every item is denied completely (both sides, and every finding that
  the words cover), and every cited finding is an item.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from radvlm.compose.merge_model import is_withheld
from radvlm.compose.model_sentences import SEEN, SEEN_ONLY, is_hedged, is_model
from radvlm.compose.verify.claims import Count, LevelRange, Mark, Named, Number, Probability, Refusal, Said, Token
from radvlm.types.anatomy import is_lesion_kind
from radvlm.types.finding import Citable, Finding, Status
from radvlm.types.finding_kinds import base_kind, sharing, side_of, vocabulary_name
from radvlm.types.model_output import OUTSIDE_ITS_DOMAIN
from radvlm.wording.numbers import probability_text
from radvlm.wording.vocabulary import Term, base_name, noun, plural

_MARKS = ("model", "hedge", "grounding", "domain")
_WITHHELD = ["model :", OUTSIDE_ITS_DOMAIN]


def as_claimed(cited: Sequence[Citable]) -> tuple[Citable, ...]:
    """The findings of which the claims of a sentence must be true: what a model says outside its domain names its kind,
    side and place as if it were present."""
    return tuple(
        replace(f, status=Status.PRESENT, reason="") if isinstance(f, Finding) and is_withheld(f) else f for f in cited
    )


def check_attribution(tokens: Sequence[Token], cited: Sequence[Citable], withheld: bool = False) -> list[Token]:
    """The tokens that are left to be checked as claims; [] when all has been checked here.

    ``withheld``: the findings (those of ``as_claimed``) are outside the domain of their model, so not assessed.

    Raises Refusal with the reason. Sentences without findings of a model pass unchanged.
    """
    findings = [f for f in cited if is_model(f)]
    if not findings:
        return list(tokens)
    if len(findings) < len(cited):
        raise Refusal("what a model saw and what was measured stand in one sentence")
    statuses = {f.status for f in findings}
    if len(statuses) > 1:
        raise Refusal("findings of different status stand in one sentence")
    seen = [t.text for t in tokens if isinstance(t, Mark) and t.kind == "model"]
    domain = [t.text for t in tokens if isinstance(t, Mark) and t.kind == "domain"]
    if domain != (_WITHHELD if withheld else []):
        raise Refusal("it does not say that it is outside the domain of the model" if withheld else "it is within it")
    if withheld and seen:
        raise Refusal("it is not assessed and said to be seen")
    if not withheld and len(seen) != 1:
        raise Refusal("it does not say once that the model saw it" if not seen else "it says twice who saw it")
    for token in tokens:
        if isinstance(token, (Number, Count)) or (isinstance(token, Mark) and token.kind in ("pole", "superlative")):
            raise Refusal("a model's finding has no number, count or pole")
    status = statuses.pop()
    if status is Status.NOT_ASSESSED:
        raise Refusal("it was not assessed")
    if status is Status.ABSENT:
        _absent(tokens, findings, seen[0])
        return []
    checked = _assessed(tokens) if withheld else list(tokens)
    _one(checked, findings, "" if withheld else seen[0])
    return [t for t in checked if not isinstance(t, Probability) and not (isinstance(t, Mark) and t.kind in _MARKS)]


def _assessed(tokens: Sequence[Token]) -> list[Token]:
    """The tokens without their one "not assessed"; Refusal where they do not say it, or deny something besides."""
    denials = [t.text for t in tokens if isinstance(t, Mark) and t.kind == "negation"]
    if denials != ["not assessed"]:
        raise Refusal("it does not say once that it was not assessed")
    return [t for t in tokens if not (isinstance(t, Mark) and t.kind == "negation")]


def _one(tokens: Sequence[Token], findings: Sequence[Finding], seen: str) -> None:
    if len(findings) != 1:
        raise Refusal("a sentence states one finding that only the model saw")
    finding = findings[0]
    hedges = {t.text for t in tokens if isinstance(t, Mark) and t.kind == "hedge"}
    is_open = finding.status is Status.INDETERMINATE
    hedged = bool(seen) and is_hedged(finding)  # outside its domain nothing is said to be seen, likely or not
    wanted = {"possible", "indeterminate"} if is_open else {"possible"} if hedged else set()
    if hedges != wanted:
        raise Refusal(
            "it is open and not said to be"
            if is_open
            else "it is less probable than not and not said to be possible"
            if wanted
            else "it is present and said to be open"
        )
    if not is_open and seen not in (SEEN_ONLY, ""):
        raise Refusal("it does not say that only the model saw it")
    chances = [t.text for t in tokens if isinstance(t, Probability)]
    if chances != [probability_text(finding.confidence or 0.0)]:
        raise Refusal(f"probability {', '.join(chances) or 'none'} is stated, not that of the model")
    if finding.regions and any(isinstance(t, Mark) and t.kind == "grounding" for t in tokens):
        raise Refusal("it is localized")
    if any(isinstance(t, Mark) and t.kind == "negation" for t in tokens):
        raise Refusal("it is present and negated")
    if not any(_states(t, finding) for t in tokens):
        raise Refusal(f"it does not state {finding.category!r}")
    if len(finding.locations) < 2 and any(_is_plural(t, finding) for t in tokens):
        raise Refusal("more than one is stated")


def _states(token: Token, finding: Finding) -> bool:
    if isinstance(token, Said):
        return finding in token.findings
    return isinstance(token, Named) and any(finding.kind in t.names for t in token.options)


def _is_plural(token: Token, finding: Finding) -> bool:
    if not isinstance(token, Named) or not is_lesion_kind(finding.kind) or not _states(token, finding):
        return False
    words = token.text.removeprefix("left ").removeprefix("right ")
    one, many = noun(finding.kind, 1), noun(finding.kind, 2)
    return words != one and (
        words == many
        or (
            plural(words) == words
            and words not in (one, noun(finding.kind, 0))
            and words.endswith(("s", "i", "ae"))
            and not words.endswith(("sis", "us", "ascites"))
        )
    )


def _absent(tokens: Sequence[Token], findings: Sequence[Finding], seen: str) -> None:
    if seen != SEEN:
        raise Refusal("an absence is not seen by the model only")
    if not any(isinstance(t, Mark) and t.kind == "negation" for t in tokens):
        raise Refusal("it is absent and stated as if it were seen")
    covered: set[str] = set()
    negated, side = False, ""
    for token in tokens:
        if isinstance(token, Mark) and token.kind == "negation":
            if token.text != "no" or negated or covered:
                raise Refusal('an absence begins with one "no"')
            negated = True
        elif isinstance(token, Mark) and token.kind == "side":
            if token.text not in ("left", "right"):
                raise Refusal(f"{token.text!r} is not a side")
            side = token.text
        elif isinstance(token, Mark) and token.kind == "separator":
            if token.text not in (",", "or", "."):
                raise Refusal(f"{token.text!r} stands in a list of absences")
            side = ""
        elif isinstance(token, (Said, Named)):
            if not negated:
                raise Refusal(f"{token.text!r} stands before the negation")
            covered |= _denied(token, side, findings)
            side = ""
        elif isinstance(token, (Probability, LevelRange)) or (isinstance(token, Mark) and token.kind in _MARKS[1:]):
            raise Refusal(f"{token.text!r} stands in an absence")
    left = [f.category for f in findings if f.id not in covered]
    if left:
        raise Refusal(f"{left[0]!r} is absent and the sentence does not say so")


def _denied(token: Said | Named, side: str, findings: Sequence[Finding]) -> set[str]:
    """Ids of the findings that an item denies; Refusal when its words deny more than they do."""
    if isinstance(token, Said):
        names = {vocabulary_name(f) for f in token.findings}
        return set().union(
            *(_whole(name, [f for f in findings if vocabulary_name(f) == name], side, token.text) for name in names)
        )
    lesions = [t for t in token.options if all(is_lesion_kind(n) for n in t.names)]
    for term in lesions:
        try:
            return _by_term(term, side, findings, token.text)
        except Refusal as refusal:
            reason = refusal
    raise reason if lesions else Refusal(f"{token.text!r} is not a finding of the model")


def _by_term(term: Term, side: str, findings: Sequence[Finding], text: str) -> set[str]:
    found: set[str] = set()
    for base in {base_name(n) for n in term.names}:
        sides = {
            side_of_kind
            for n in term.names
            if base_name(n) == base
            for side_of_kind in [n.removeprefix(f"{base}_") if n != base else ""]
        }
        wanted = side or (sides.pop() if len(sides) == 1 else "")
        names = sharing(base) or {vocabulary_name(f) for f in findings if base_kind(f.kind) == base}
        if not names:
            raise Refusal(f"{text!r} covers {base.replace('_', ' ')}, which is not cited")
        for name in names:
            held = [f for f in findings if vocabulary_name(f) == name]
            found |= _whole(name, held, wanted, text)
    return found


def _whole(name: str, held: Sequence[Finding], side: str, text: str) -> set[str]:
    sides = {side_of(f.site): f for f in held}
    if not held:
        raise Refusal(f"{text!r} covers {name.replace('_', ' ')}, which is not cited")
    if "" in sides and not side:
        return {f.id for f in held}
    if side:
        if side not in sides:
            raise Refusal(f"{text!r} is not absent on the {side}")
        return {sides[side].id}
    if not {"left", "right"} <= set(sides):
        raise Refusal(f"{text!r} is absent on one side only")
    return {f.id for f in held}

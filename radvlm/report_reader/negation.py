"""Whether a mention is present, absent, uncertain, history or only asked for: scope of cues inside one sentence.

Scope is decided by what stands between cue and mention (conjunctions, finished clauses, words that open a new noun
phrase), not by a window of words, so "no X, Y or Z" covers all three and "no X, small Y" only the first; cues work
forwards ("no evidence of X") and backwards ("X was not observed", "X: none", "X (Y?)").
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

#: Words after a comma or "and" that open a new, asserted noun phrase.
OPENERS = frozenset(
    {
        "open",
        "ordinal",
        "trace",
        "mild",
        "mild_moderate",
        "moderate",
        "moderate_severe",
        "severe",
        "new",
        "increased",
        "decreased",
        "stable",
        "bilateral",
        "subcm",
        "unc_pre",
        "normal",
        "prior",
    }
)
#: Conjunctions and marks that may end a scope.
SOFT = frozenset({",", "and", "or", "nor", "/", "with", "(", ")", "&", "+"})
HARD = frozenset({";", "•", "[", "]"})
#: Forward cues in the order in which they win.
_FORWARD = (("neg_pre", "absent"), ("hist_pre", "history"), ("hyp_pre", "hypothetical"), ("unc_pre", "uncertain"))
_BACKWARD = (("neg_post", "absent"), ("unc_post", "uncertain"))
_ANSWERS = frozenset({"no", "nil", "none", "absent", "negative", "not", "without", "neg"})
#: Cues that reach only what follows at once.
_NEAR = {
    "not": 4,
    "is not": 4,
    "are not": 4,
    "was not": 4,
    "were not": 4,
    "non": 0,
    "absent": 1,
    "resolved": 2,
    "previous": 1,
    "no longer": 3,
}


@dataclass
class Scope:
    """What the cue logic needs to know of a sentence; positions are token indices, spans half-open."""

    words: Sequence[str]
    cues: dict[str, list[tuple[int, int]]] = field(default_factory=dict)
    hard: list[int] = field(default_factory=list)
    soft: list[int] = field(default_factory=list)
    openers: set[int] = field(default_factory=set)
    verbs: list[tuple[int, int]] = field(default_factory=list)
    colon: int = -1
    questions: list[int] = field(default_factory=list)


def status(scope: Scope, start: int, stop: int) -> str:
    """``present``, ``absent``, ``uncertain``, ``history`` or ``hypothetical`` of the mention at words [start, stop)."""
    cues = scope.cues
    if scope.colon >= stop and _answered_no(scope):
        return "absent"
    forward = {}
    for name, meaning in _FORWARD:
        for a, b in cues.get(name, ()):
            if b <= start and _reaches_forward(scope, name, a, b, start, stop):
                forward[meaning] = (a, b)
    backward = {
        meaning
        for name, meaning in _BACKWARD
        for a, b in cues.get(name, ())
        if a >= stop and _reaches_backward(scope, start, stop, a)
    }
    if "uncertain" in backward and "absent" not in backward:
        return "uncertain"
    if "absent" in forward:
        later = max((forward[m] for m in ("history", "hypothetical") if m in forward), default=(-1, -1))
        return "absent" if later[0] <= forward["absent"][0] else "history"
    if "absent" in backward:
        return "absent"
    for meaning in ("history", "hypothetical", "uncertain"):
        if meaning in forward:
            return meaning
    if any(stop <= a <= stop + 1 for a, _ in cues.get("hist_post", ())):
        return "history"
    if any(
        a >= stop
        and _reaches_backward(scope, start, stop, a)
        and scope.words[a] in ("cannot", "could", "can", "not")
        and "small" not in scope.words[a:b]
        and "characterized" not in scope.words[a:b]
        for a, b in cues.get("limited", ())
    ):
        return "hypothetical"
    return "uncertain" if _questioned(scope, start, stop) else "present"


def _answered_no(scope: Scope) -> bool:
    """``Pleural effusion: None.`` and its like: nothing after the colon but the answer."""
    rest = [w for w in scope.words[scope.colon + 1 :] if w not in (".", "!")]
    return bool(rest) and rest[0] in _ANSWERS and len(rest) <= 3


def _reaches_forward(scope: Scope, name: str, a: int, b: int, start: int, stop: int) -> bool:
    words = scope.words
    if any(b <= h < start for h in scope.hard):
        return False
    near = _NEAR.get(" ".join(words[a:b])) if name == "neg_pre" else None
    if near is not None and start - b > near and not any(words[i] in ("or", "nor") for i in range(b, start)):
        return False
    if (
        name == "unc_pre"
        and any(b <= c < start for c, _ in scope.cues.get("cause", ()))
        and b in {c for c, _ in scope.cues["cause"]}
    ):
        return "reactive" not in words[b:start] and "benign" not in words[b:start] and start - b < 8
    for at in scope.soft:
        if not b <= at < start:
            continue
        word = words[at]
        done = any(b <= v < at for v, _ in scope.verbs)
        if done and word in (",", "and", "with", "(", "&"):
            return False
        if word in ("or", "nor", "/", ")"):
            continue
        opens = at + 1 in scope.openers
        if word == "with":
            if opens:
                return False
        elif name == "neg_pre":
            if opens and not (word == "," and _later_or(scope, at, stop)):
                return False
        elif (word in (",", "(") and not _later_or(scope, at, stop)) or (word in ("and", "&") and opens):
            return False
    return True


def _later_or(scope: Scope, at: int, stop: int) -> bool:
    """Whether the list that goes on after the comma at ``at`` is still joined by "or" (``no A, large B, or C``)."""
    for i in range(at + 1, min(len(scope.words), at + 26)):
        if i in scope.hard or any(v <= i < w for v, w in scope.verbs):
            return False
        if scope.words[i] in ("or", "nor"):
            return True
    return False


def _reaches_backward(scope: Scope, start: int, stop: int, cue: int) -> bool:
    if any(stop <= h < cue for h in scope.hard):
        return False
    breaks = [s for s in scope.soft if stop <= s < cue and scope.words[s] in (",", "and", "or", "nor", "with", "&")]
    for v, w in scope.verbs:
        if v >= cue or w > cue:
            continue
        if v >= stop:  # a verb between: its clause is finished if a conjunction follows it
            if any(s >= w for s in breaks) or scope.words[v] in ("is", "are", "was", "were", "there", "has", "have"):
                return False
        elif w <= start and breaks:  # the mention's own segment already has its verb
            opened = max((s for s in scope.soft if s < start and scope.words[s] in (",", "and", ";")), default=-1)
            if v > opened:
                return False
    return True


def _questioned(scope: Scope, start: int, stop: int) -> bool:
    """A question mark right after the mention, or one that opens it (``?pneumonia``); or "X versus Y"."""
    words = scope.words
    for q in scope.questions:
        if (
            q >= stop
            and q - stop <= 6
            and not any(stop <= s < q and words[s] in (",", "and", "(", "or") for s in scope.soft)
            and not any(stop <= k < q for k in scope.questions)
        ):
            return True
        if q < start and start - q <= 3 and (q == 0 or words[q - 1] in ("(", ",", ")", "?")) and q + 1 < len(words):
            return True
    for a, b in scope.cues.get("unc_pre", ()):
        if (
            a >= stop
            and a - stop <= 4
            and words[a] in ("versus", "vs")
            and b - a == 1
            and not any(stop <= h < a for h in scope.hard)
        ):
            return True
    return False

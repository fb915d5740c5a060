"""One pass over a sentence: lexicon terms, numbers and the words that bound a negation.

A term match may mean several things at once (``enlarged`` is a quality and a change), so a hit carries a tuple of
meanings; the longest term at a word wins and words are used once.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from radvlm.report_reader.lexicon import Lexicon, Meaning, tokens
from radvlm.report_reader.negation import HARD, OPENERS, SOFT, Scope

_SIZE = re.compile(
    r"(?P<a>\d+(?:[.,]\d+)?)(?:\s*(?P<ua>mm|cm)\b)?(?:\s*(?:-|–|to|and)\s*(?P<r>\d+(?:[.,]\d+)?)(?=\s*(?:mm|cm|-?millimet|-?centimet)))?"
    r"(?:\s*[x×*]\s*(?P<b>\d+(?:[.,]\d+)?)(?:\s*(?P<ub>mm|cm)\b)?)?(?:\s*[x×*]\s*(?P<c>\d+(?:[.,]\d+)?))?"
    r"\s*-?(?P<unit>mms?\b|cms?\b|millimet\w*|centimet\w*)?"
)
_MARKS = SOFT | HARD | {":", "?"}
_BOUND = re.compile(r"(<|less than|smaller than|below|under|not exceed)\s*$")
_DIGIT = re.compile(r"\d")
_NOT_A_SIZE = re.compile(
    r"\s*(?:above|below|from the|from|proximal|distal|slice|section|collimation|reconstruction|interval|inferior to"
    r"|superior to|cranial|caudal|deep to|off)\b"
)
_PREVIOUS = re.compile(
    r"(?:previously|formerly|prior|was|compared (?:to|with)|versus|vs|from|previous(?:ly)?\s*(?:measured|measuring)?)"
    r"\s*(?:measured|measuring|approximately|about|up to|at|:)?\s*$"
)
#: A length that is said of what lies between two things, not of one of them.
_BETWEEN = re.compile(
    r"(?:coverage|distance|distant|gap|separated by|angle[^.;()]*length)\s*(?:of|is|by|:)?"
    r"\s*(?:approximately|about)?\s*$"
)


@dataclass(frozen=True, slots=True)
class Size:
    """A stated size: the largest dimension first, mm; ``at`` is its character position in the sentence."""

    dims_mm: tuple[float, ...]
    at: int
    word: int
    bound: str = ""


@dataclass(slots=True)
class Parsed:
    """A sentence read once: normalized words with their spans, hits (start, stop, meanings), scope, sizes."""

    text: str
    words: list[str]
    starts: list[int]
    stops: list[int]
    hits: list[tuple[int, int, Meaning]]
    scope: Scope
    sizes: list[Size]


def lower(text: str) -> str:
    """Lower case without changing the length, so that spans stay valid (Turkish capital I with a dot has two)."""
    low = text.lower()
    return low if len(low) == len(text) else "".join(c.lower() if len(c.lower()) == 1 else c for c in text)


def parse(text: str, lexicon: Lexicon) -> Parsed:
    """Words, hits, scope and sizes of one sentence."""
    low = lower(text)
    words: list[str] = []
    starts: list[int] = []
    stops: list[int] = []
    lemmas, lemma = lexicon._lemmas, lexicon.lemma
    for match in tokens(low):
        token = match[0]
        a, b = match.span()
        parts = lemmas.get(token) or lemma(token)
        if len(parts) == 1:
            words.append(parts[0])
            starts.append(a)
            stops.append(b)
        else:
            words += parts
            starts += [a] * len(parts)
            stops += [b] * len(parts)
    hits: list[tuple[int, int, Meaning]] = []
    root, n, i = lexicon.trie.get, len(words), 0
    while i < n:
        node = root(words[i])
        if node is None:
            i += 1
            continue
        j, best, end = i + 1, None, i + 1
        while True:
            found = node.get("")
            if found is not None:
                best, end = found, j
            if j >= n:
                break
            node = node.get(words[j])
            if node is None:
                break
            j += 1
        if best is not None:
            hits.append((i, end, best))
        i = end
    return Parsed(
        text,
        words,
        starts,
        stops,
        hits,
        _scope(words, hits, low, starts),
        _sizes(low, starts) if _DIGIT.search(low) else [],
    )


def _scope(words: list[str], hits: list[tuple[int, int, Meaning]], low: str, starts: list[int]) -> Scope:
    scope = Scope(words)
    cues, openers = scope.cues, scope.openers
    inside: set[int] = set()
    for a, b, meaning in hits:
        if b - a > 1:
            inside.update(range(a, b))
        for name in meaning.cues:
            if name in cues:
                cues[name].append((a, b))
            else:
                cues[name] = [(a, b)]
            if name in OPENERS:
                openers.add(a)
            elif name == "end":
                scope.hard.append(a)
            elif name == "verb":
                scope.verbs.append((a, b))
                if words[a] == "there":
                    openers.add(a)
    for i, word in enumerate(words):
        if word in _MARKS or word[0] in "0123456789":
            if i in inside:
                continue
            if word in SOFT:
                scope.soft.append(i)
            elif word in HARD:
                scope.hard.append(i)
            elif word == ":":
                if scope.colon < 0 and i <= 8:
                    scope.colon = i
            elif word == "?":
                scope.questions.append(i)
            else:
                openers.add(i)
    return scope


def _number(text: str) -> float:
    return float(text.replace(",", "."))


def _sizes(low: str, starts: list[int]) -> list[Size]:
    out = []
    for match in _SIZE.finditer(low):
        unit = match["unit"] or match["ub"] or match["ua"]
        if not unit:
            continue
        if match.start("a") and low[match.start("a") - 1].isalpha():
            continue
        if _NOT_A_SIZE.match(low, match.end()) or _PREVIOUS.search(low, 0, match.start("a")):
            continue
        if _BETWEEN.search(low, 0, match.start("a")):
            continue
        scale = 10.0 if unit.startswith("c") else 1.0
        values = [
            _number(match[g]) * (10.0 if g == "a" and match["ua"] and match["ua"] == "cm" else scale)
            for g in ("a", "r", "b", "c")
            if match[g]
        ]
        if match["r"]:
            values = [max(values[:2]), *values[2:]]
        if not values or max(values) > 600 or max(values) <= 0:
            continue
        at = match.start("a")
        word = next((i for i, s in enumerate(starts) if s >= at), len(starts))
        bound = _BOUND.search(low, 0, at)
        out.append(Size(tuple(sorted(values, reverse=True)), at, word, bound[1] if bound else ""))
    return out

"""A sentence read as a list of claims: numbers, structures, sides, negations, counts, cited phrases, neutral words."""

from __future__ import annotations

import re
from contextlib import suppress
from dataclasses import dataclass

from radvlm.compose.referents import phrases_of
from radvlm.compose.verify.normal_form import wordings
from radvlm.types.anatomy import LEVELS
from radvlm.types.finding import Citable, Source
from radvlm.types.model_output import OUTSIDE_ITS_DOMAIN
from radvlm.wording.vocabulary import Term, lexicon

_UNITS = {
    "mm": "mm",
    "cm": "cm",
    "ml": "mL",
    "hu": "HU",
    "%": "percent",
    "percent": "percent",
    "degrees": "degree",
    "degree": "degree",
}
#: Before a number, its sign; "liver minus spleen" is a difference.
_MINUS = ("-", "minus", "negative")
_DIGITS = re.compile(r"\d+(?:\.\d+)?")
#: Counting words -> (least, most); None is unbounded. Words above five are found in the numerals.
_AMOUNTS: dict[str, tuple[int, int | None]] = {
    "numerous": (6, None),
    "multiple": (2, None),
    "several": (3, None),
    "single": (1, 1),
    "solitary": (1, 1),
}
_NEGATIONS = (("not", "assessed"), ("no",), ("without",))
#: That an organ is in the scan as a whole. Other words for it are brought to these ones first (``normal_form``).
WHOLE = "included in the scan"
#: Words of which each says something together and nothing that may be said alone.
_STATES = {tuple(WHOLE.split()): "whole", ("limited", "coverage"): "limited"}
#: Said only of findings of a model: who saw it, that it is open, that it has no place, that the scan is unlike its own.
_ATTRIBUTIONS = {
    ("seen", "by", "the", "model", "only"): "model",
    ("seen", "by", "the", "model"): "model",
    ("possible",): "hedge",
    ("indeterminate",): "hedge",
    ("not", "localized"): "grounding",
    ("model", ":"): "domain",
    tuple(OUTSIDE_ITS_DOMAIN.split()): "domain",
}
_SUPERLATIVES = (("the", "largest"), ("the", "largest", "measuring"), ("up", "to"))


@dataclass(frozen=True)
class Number:
    """``values`` are the digits as written: one, or two for "a x b"."""

    values: tuple[str, ...]
    unit: str


@dataclass(frozen=True)
class Count:
    least: int
    most: int | None
    word: str


@dataclass(frozen=True)
class Named:
    """A phrase that names structures; ``options`` are its readings, one of which must hold."""

    text: str
    options: tuple[Term, ...]


@dataclass(frozen=True)
class LevelRange:
    names: tuple[str, ...]
    text: str


@dataclass(frozen=True)
class Said:
    """A phrase of cited findings."""

    text: str
    findings: tuple[Citable, ...]


@dataclass(frozen=True)
class Probability:
    """``text`` is "0.93", "over 0.99" or "under 0.01", as written."""

    text: str


@dataclass(frozen=True)
class Mark:
    """``kind``: side, pole, negation, superlative, whole, limited, separator, word; of a model's findings model, hedge,
    grounding, domain."""

    kind: str
    text: str


#: Phrases of the cited findings by first word, longest first, and the findings that say them.
Phrases = dict[str, list[tuple[tuple[str, ...], list[Citable]]]]
Token = Number | Count | Named | LevelRange | Said | Probability | Mark


class Refusal(ValueError):
    """A sentence says something that its findings do not; the message is the reason."""


class UnknownWord(Refusal):
    """A word that states something no cited finding says."""


def scan(text: str, findings: tuple[Citable, ...]) -> list[Token]:
    """Read a sentence, as it is or in its normal form. Raises UnknownWord when neither can be read."""
    readings = wordings(text)
    for words in readings[:-1]:
        with suppress(UnknownWord):
            return scan_words(words, findings)
    return scan_words(readings[-1], findings)


def scan_words(tokens: tuple[str, ...], findings: tuple[Citable, ...]) -> list[Token]:
    """Read the words of a sentence exactly as they are."""
    found, index = [], 0
    phrases: Phrases = {}
    for said in sorted(phrases_of(findings).items(), key=lambda item: -len(item[0])):
        phrases.setdefault(said[0][0], []).append(said)
    of_model = any(f.source is Source.MODEL for f in findings)
    while index < len(tokens):
        token, width = (_attribution(tokens, index, phrases) if of_model else None) or _next(tokens, index, phrases)
        found.append(token)
        index += width
    return found


def _attribution(tokens: tuple[str, ...], index: int, phrases: Phrases) -> tuple[Token, int] | None:
    """The words with which a model's finding is marked; and the side before one ("left | lung mass", no left lung)."""
    if tokens[index] in ("left", "right"):
        after = phrases.get(tokens[index + 1], ()) if index + 1 < len(tokens) else ()
        said = max((len(p) for p, _ in after if _starts(tokens, index + 1, p)), default=0)
        terms = lexicon().terms.get(tokens[index], ())
        width = max((len(t.tokens) for t in terms if _starts(tokens, index, t.tokens)), default=0)
        return (Mark("side", tokens[index]), 1) if said and said + 1 > width else None
    for phrase, kind in _ATTRIBUTIONS.items():
        if _starts(tokens, index, phrase):
            return Mark(kind, " ".join(phrase)), len(phrase)
    if tokens[index] != "probability":
        return None
    bound = tokens[index + 1 : index + 2]
    width = 2 if bound in (("over",), ("under",)) else 1
    number = " ".join(tokens[index + width : index + width + 1])
    if not re.fullmatch(r"0\.\d\d", number):
        raise UnknownWord(f"{number!r} is not a probability as reports write it")
    return Probability(" ".join((*bound, number)) if width == 2 else number), width + 1


def _starts(tokens: tuple[str, ...], index: int, phrase: tuple[str, ...]) -> bool:
    return tokens[index : index + len(phrase)] == phrase


def _next(tokens: tuple[str, ...], index: int, phrases: Phrases) -> tuple[Token, int]:
    word, words = tokens[index], lexicon()
    said = next((item for item in phrases.get(word, ()) if _starts(tokens, index, item[0])), None)
    terms = [t for t in words.terms.get(word, ()) if _starts(tokens, index, t.tokens)]
    width = len(terms[0].tokens) if terms else 0
    fixed = max((len(p) for p in words.phrases if _starts(tokens, index, p)), default=0)
    levels = _level_range(tokens, index)
    if levels is not None:
        return levels, 3
    if said is not None and len(said[0]) >= max(width, fixed):
        return Said(" ".join(said[0]), tuple(said[1])), len(said[0])
    state = next((p for p in _STATES if _starts(tokens, index, p)), None)
    if state is not None:
        return Mark(_STATES[state], " ".join(state)), len(state)
    if fixed > width:
        return Mark("word", " ".join(tokens[index : index + fixed])), fixed
    if word[0].isdigit() or (word in _MINUS and index + 1 < len(tokens) and tokens[index + 1][0].isdigit()):
        return _number(tokens, index)
    if width:
        return Named(" ".join(terms[0].tokens), tuple(t for t in terms if len(t.tokens) == width)), width
    for kind, table in (("negation", _NEGATIONS), ("superlative", _SUPERLATIVES)):
        match = max((p for p in table if _starts(tokens, index, p)), key=len, default=None)
        if match is not None:
            return Mark(kind, " ".join(match)), len(match)
    if word in ("upper", "lower") and _starts(tokens, index + 1, ("pole",)):
        return Mark("pole", f"{word} pole"), 2
    if _starts(tokens, index, ("interpolar", "region")):
        return Mark("pole", "interpolar region"), 2
    if word in ("left", "right", "both", "bilateral"):
        return Mark("side", word), 1
    if word in ("left-sided", "right-sided"):
        return Mark("side", word.split("-")[0]), 1
    if word in _AMOUNTS:
        return Count(*_AMOUNTS[word], word), 1
    if word in words.numerals:
        number = words.numerals.index(word)
        return Count(number, number, word), 1
    if word in (",", ";", ":", ".", "(", ")", "and", "or", "with"):
        return Mark("separator", word), 1
    if word in words.neutral:
        return Mark("word", word), 1
    raise UnknownWord(f"{word!r} is in no cited finding")


def _level_range(tokens: tuple[str, ...], index: int) -> LevelRange | None:
    if index + 2 >= len(tokens) or tokens[index + 1] not in ("to", "through", "-"):
        return None
    order = [level.lower() for level in LEVELS]
    if tokens[index] not in order or tokens[index + 2] not in order:
        return None
    first, last = order.index(tokens[index]), order.index(tokens[index + 2])
    if last <= first:
        raise UnknownWord(f"{tokens[index]} to {tokens[index + 2]} does not run from the head down")
    return LevelRange(
        tuple(
            f"vertebrae_{level}"
            for level in LEVELS[first : last + 1]
            if level not in ("T13", "L6") or level.lower() in (tokens[index], tokens[index + 2])
        ),
        " ".join(tokens[index : index + 3]),
    )


def _number(tokens: tuple[str, ...], index: int) -> tuple[Token, int]:
    """``45 HU``, ``-12 HU``, ``2.3 x 1.8 cm``, or a bare count."""
    start, sign = index, ""
    if tokens[index] in _MINUS:
        sign, index = "-", index + 1
    values = [sign + tokens[index]]
    index += 1
    while index + 1 < len(tokens) and tokens[index] in ("x", "×") and tokens[index + 1][0].isdigit():
        values.append(tokens[index + 1])
        index += 2
    for value in values:
        if not _DIGITS.fullmatch(value.lstrip("-")):
            raise UnknownWord(f"{value!r} is not a number as reports write it")
    unit = _UNITS.get(tokens[index]) if index < len(tokens) else None
    if unit is None:
        if len(values) > 1 or not values[0].isdigit():
            raise UnknownWord(f"{' x '.join(values)} has no unit that reports use")
        return Count(int(values[0]), int(values[0]), values[0]), index - start
    if len(values) > 2:
        raise UnknownWord("three axes are stated, and two are measured")
    if sign and start and tokens[start - 1][0].isdigit():
        raise UnknownWord("ranges and limits are not measured values")
    return Number(tuple(values), unit), index + 1 - start

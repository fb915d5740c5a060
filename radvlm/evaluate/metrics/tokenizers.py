"""Word tokenizers of the lexical metrics, and the encoder that turns reports into arrays of token numbers.

Every tokenizer here works on one whitespace-delimited word at a time, so each distinct word of a corpus is
tokenized once. That this equals the reference implementations, which run over whole texts, is tested side by side.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from itertools import chain
from typing import Any

import numpy as np

from radvlm.evaluate.metrics.stemmer import stem


@dataclass(frozen=True)
class Tokenizer:
    """A named way to cut text: ``prepare`` sees the whole text, ``words`` splits it, ``tokens`` cuts one word.

    ``name`` goes into signatures.
    """

    name: str
    tokens: Callable[[str], tuple[str, ...]]
    prepare: Callable[[str], str] = str
    words: Callable[[str], list[str]] = str.split

    def __call__(self, text: str) -> list[str]:
        return [token for word in self.words(self.prepare(text)) for token in self.tokens(word)]


# --- 13a: the tokenizer of mteval-v13a and of sacrebleu ---------------------------------------------------------------
_SYMBOLS = re.compile(r"([!-&(-+/:-@\[-`{-~])")
_AFTER_NON_DIGIT = re.compile(r"([^0-9])([.,])")
_BEFORE_NON_DIGIT = re.compile(r"([.,])([^0-9])")
_DASH_AFTER_DIGIT = re.compile(r"([0-9])(-)")
_ENTITIES = (("&quot;", '"'), ("&amp;", "&"), ("&lt;", "<"), ("&gt;", ">"))


def _prepare_13a(text: str) -> str:
    text = text.rstrip().replace("<skipped>", "").replace("-\n", "").replace("\n", " ")
    if "&" in text:
        for entity, character in _ENTITIES:
            text = text.replace(entity, character)
    return text


def _tokens_13a(word: str) -> tuple[str, ...]:
    if word.isalpha() and word.isascii():
        return (word,)
    line = _SYMBOLS.sub(r" \1 ", f" {word} ")
    line = _AFTER_NON_DIGIT.sub(r"\1 \2 ", line)
    line = _BEFORE_NON_DIGIT.sub(r" \1 \2", line)
    return tuple(_DASH_AFTER_DIGIT.sub(r"\1 \2 ", line).split())


# --- rouge-score: lower case letters and digits -----------------------------------------------------------------------
_NOT_ALPHANUMERIC = re.compile(r"[^a-z0-9]+")


def _tokens_rouge(word: str) -> tuple[str, ...]:
    return tuple(_NOT_ALPHANUMERIC.sub(" ", word.lower()).split())


def _tokens_rouge_stemmed(word: str) -> tuple[str, ...]:
    return tuple(stem(t) if len(t) > 3 else t for t in _tokens_rouge(word))


# --- Penn-Treebank-like: the COCO caption tools run Stanford's tokenizer in Java, lower-case it and drop punctuation --
_BRACKETS = {"(": "-lrb-", ")": "-rrb-", "[": "-lsb-", "]": "-rsb-", "{": "-lcb-", "}": "-rcb-"}
_ABBREVIATIONS = frozenset(
    re.findall(
        r"\S+",
        "e.g. i.e. vs. dr. mr. mrs. ms. prof. st. fig. figs. etc. dept. inc. ltd. co. jr. sr. ext. lt. rt. sgt. ave. "
        "al. "
        "jan. feb. mar. apr. jun. jul. aug. sep. sept. oct. nov. dec. mon. tue. tues. wed. thu. thurs. fri. sat. sun. "
        "u.s. u.k. a.m. p.m. q.d. b.i.d. t.i.d. ph.d. m.d. ct.",
    )
)
_PTB = re.compile(
    r"[a-z]+:/{2}\S+"  # an address
    r"|\d+(?:\.\d+){2,}"  # 03.04.2019
    r"|[+-]?(?:\d+(?:,\d{3})*)?\.\d+(?:-\d+)*"  # 18.5 and .5; a unit glued to it is cut off
    r"|\d+(?:[,:/]\d+)+"  # 1,234 and 1/2/2020 and 10:30
    r"|[+-]\d+(?![\d.])"  # +5
    r"|(?:[a-z]\.){2,}"  # e.g.
    r"|[a-zà-ÿα-ωµ0-9]+(?:(?:['’&/_-]+|\.(?=[a-z]))[a-zà-ÿα-ωµ0-9]+)*"  # well-defined, and/or, t2-weighted
    r"|\.{2,}|…|-+|–|—|[^\s]"
)
_CLITIC = re.compile(r"^(.+?)(n['’]t|['’](?:s|re|ve|ll|d|m))$")
_DROPPED = frozenset(
    ["''", "'", "``", "`", ".", "?", "!", ",", ":", "-", "--", "...", ";", '"', "’", "‘", "“", "”", "–", "—", "…"]
)


def _tokens_ptb(word: str) -> tuple[str, ...]:
    word = word.lower()
    if word.isalpha() and word.isascii() and word != "cannot":
        return (word,)
    out: list[str] = []
    for match in _PTB.finditer(word):
        token = match.group()
        if token == "cannot":
            out += ["can", "not"]
        elif token in _BRACKETS:
            out.append(_BRACKETS[token])
        elif token in _DROPPED or not token.strip(".-"):
            continue
        elif word[match.start() : match.end() + 1] in _ABBREVIATIONS and not token.endswith("."):
            out.append(token + ".")
        else:
            clitic = _CLITIC.match(token)
            out += clitic.groups() if clitic else (token,)
    return tuple(out)


def _same(word: str) -> tuple[str, ...]:
    return (word,)


def _split_at_spaces(text: str) -> list[str]:
    return text.split(" ")


TOKENIZERS: dict[str, Tokenizer] = {
    t.name: t
    for t in (
        Tokenizer("13a", _tokens_13a, _prepare_13a),
        Tokenizer("13a-lc", _tokens_13a, lambda text: _prepare_13a(text.lower())),
        Tokenizer("whitespace", _same),
        Tokenizer("space", _same, words=_split_at_spaces),
        Tokenizer("rouge", _tokens_rouge),
        Tokenizer("rouge-stem", _tokens_rouge_stemmed),
        Tokenizer("ptb-like", _tokens_ptb),
    )
}


@dataclass(frozen=True)
class Encoded:
    """Reports as token numbers: ``ids`` (total,) one after the other, ``lengths`` (reports,).

    ``memo`` keeps what was computed from them.
    """

    ids: np.ndarray
    lengths: np.ndarray
    memo: dict[Any, Any] = field(default_factory=dict, repr=False, compare=False)

    @property
    def cases(self) -> np.ndarray:
        """(total,) number of the report that each token stands in."""
        return np.repeat(np.arange(len(self.lengths)), self.lengths)

    def lists(self) -> list[list[int]]:
        stops = np.cumsum(self.lengths)
        flat = self.ids.tolist()
        return [flat[stop - length : stop] for stop, length in zip(stops.tolist(), self.lengths.tolist(), strict=True)]


class Encoder:
    """Numbers tokens in order of first sight; equal numbers mean equal tokens, nothing else about them is meant."""

    def __init__(self, tokenizer: Tokenizer) -> None:
        self.tokenizer = tokenizer
        self._token_ids: dict[str, int] = {}
        self._word_ids: dict[str, tuple[int, ...]] = {}

    def _ids_of(self, word: str) -> tuple[int, ...]:
        known = self._token_ids
        ids = tuple(known.setdefault(token, len(known)) for token in self.tokenizer.tokens(word))
        self._word_ids[word] = ids
        return ids

    def encode(self, texts: Sequence[str]) -> Encoded:
        known, lengths, parts = self._word_ids, [], []
        for text in texts:
            words = self.tokenizer.words(self.tokenizer.prepare(text))
            part = list(chain.from_iterable([known[w] if w in known else self._ids_of(w) for w in words]))
            lengths.append(len(part))
            parts.append(part)
        flat = np.fromiter(chain.from_iterable(parts), np.int64, count=sum(lengths))
        return Encoded(flat, np.array(lengths, dtype=np.int64))

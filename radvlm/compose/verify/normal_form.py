"""The normal form of a sentence: other words for the same brought to the ones that reports use.

``paraphrases.yaml`` is a table of words that mean the same. Nothing here knows a finding: a sentence in its normal form
means what it meant, and it is still read and checked like any other. What stands in no table stays as it is.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache, lru_cache
from importlib.resources import files
from types import MappingProxyType

import yaml

from radvlm.wording.vocabulary import tokenize

Words = tuple[str, ...]

_NUMBER = r"\d+(?:\.\d+)?"
#: "2.3x1.8 cm", "2.3 cm x 1.8 cm" and "2.3 by 1.8 cm" are "2.3 x 1.8 cm"; "negative 12 HU" is "-12 HU".
_RESPELLED = (
    (re.compile(r"(?<=\d),(?=\d{3}(?!\d)\s*(?:mL|ml|cc))"), ""),
    (re.compile(r"(?<=\d)-(?=(?:cm|mm|mL|ml|cc)\b)"), " "),
    (
        re.compile(
            rf"({_NUMBER})\s*(?:mm|cm)?\s*(?:[x×*]|by)\s*({_NUMBER})\s*(mm|cm|(?:milli|centi)met(?:er|re)s?)\b", re.I
        ),
        r"\1 x \2 \3",
    ),
    (re.compile(rf"\b(?:negative|minus)\s+({_NUMBER})\s*(?=HU\b|Hounsfield)", re.I), r"-\1 "),
    (re.compile(rf"\baverag(?:es|ing)\s+(?=-?{_NUMBER}\s*(?:HU\b|Hounsfield))", re.I), "measures "),
    (re.compile(r"\bw/o(?=\s)", re.I), "without"),
    (re.compile(r"\bw/\s*(?=\w)", re.I), "with "),
    (re.compile(r"\bb/l\b", re.I), "bilateral"),
    (re.compile(rf"\bdiameters?\s+of\s+({_NUMBER})\s+(?:and|by)\s+({_NUMBER})\s*(mm|cm)\b", re.I), r"\1 x \2 \3"),
    (re.compile(r"(?<=\d)(\s*(?:mm|cm))\s+(?:long|across)\b", re.I), r"\1"),
    # "Renal cysts (3), the largest", "renal cysts, three in number"
    (re.compile(r"^([a-z ]+s)\s+\((\d+)\)(?=[,.;])", re.I), r"\2 \1"),
    (re.compile(r"^([a-z ]+s),\s+([a-z]+)\s+in\s+number\b", re.I), r"\2 \1"),
    (re.compile(r"(?<=[a-z]),\s*(?=(?:liver\s|hepatic\s)?segment\s)", re.I), " in "),
    (re.compile(r"\ball\s+(?:the\s+)?(?=vertebrae\s+(?:from\s+)?[ctl]\d)", re.I), ""),
    (re.compile(r"(?<=^no\s)([^.;:]+?)\s+(?:and|or)\s+no\s+", re.I), r"\1 or "),
    # "upper pole left kidney", "Liver - completely included", "both the liver and the spleen"
    (re.compile(r"\b(pole|region)\s+(?=(?:left|right|lt|rt)\b)", re.I), r"\1 of the "),
    (re.compile(r"(?<=[a-z])\s+[-–—]\s+(?=[a-z])"), ": "),
    (re.compile(r"\bboth\s+(?=the\s[^.;:,]*\sand\s+the\s)", re.I), ""),
)
_SAME_UNIT = re.compile(rf"{_NUMBER}\s*(mm|cm)\s*(?:[x×*]|by)\s*{_NUMBER}\s*(mm|cm)\b", re.I)
_SEEN = (
    "(?:seen|identified|appreciated|recognized|visualized|detected|found|present|segmented|observed|visible|"
    "demonstrated|noted)"
)
#: "Ascites is not seen" and "ascites is absent" are "no ascites".
_DENIED = re.compile(
    rf"(?P<what>[^.;:]+?)\s+(?:(?:is|are|was|were)\s+(?:not\s+{_SEEN}|absent)|not\s+{_SEEN}|(?:could|can)\s*not\s+be\s+{_SEEN})"
    r"(?P<where>[^.;:,]*)\.?",
    re.I,
)
_VERB = r"(?:imaged|included|seen|visualized|covered|depicted|shown|captured|scanned|displayed|demonstrated)"
_TAIL = r"(?P<tail>(?:\s+(?:in|on|by|within)\s+(?:the|this)\s+(?:scan|field of view|examination|study))?)"
_SCAN = r"(?:the\s+)?(?:scan|study|examination|ct|images?|field\s+of\s+view)"
_SHOWS = r"(?:covers?|includes?|shows?|depicts?|contains?)"
#: Whole sentences that say of an organ that it is in the scan, or only part of it.
_SHARES = (
    (
        re.compile(
            r"(?:the\s+)?(?:entire|whole|entirety of the|all of the|complete)\s+(?P<what>[^.;:,]+?)\s+"
            rf"(?:(?:is|are|was|were)\s+)?{_VERB}{_TAIL}\.?",
            re.I,
        ),
        "The {what} is included in the scan.",
    ),
    (
        re.compile(
            rf"(?:only\s+)?(?:a\s+)?(?:part|parts|portion|portions)\s+of\s+(?:the\s+)?(?P<what>[^.;:,]+?)\s+"
            rf"(?:(?:is|are|was|were)\s+)?{_VERB}{_TAIL}\.?",
            re.I,
        ),
        "The {what} is incompletely imaged.",
    ),
    (
        re.compile(
            rf"{_SCAN}\s+{_SHOWS}\s+(?:the\s+)?(?:entire|whole|complete|all\s+of\s+the)\s+(?P<what>[^.;:,]+?)\.?", re.I
        ),
        "The {what} is included in the scan.",
    ),
    (
        re.compile(
            rf"{_SCAN}\s+{_SHOWS}\s+only\s+(?:a\s+)?(?:part|portion)\s+of\s+(?:the\s+)?(?P<what>[^.;:,]+?)\.?", re.I
        ),
        "The {what} is incompletely imaged.",
    ),
    (
        re.compile(
            r"not\s+(?:all\s+of\s+|the\s+(?:entire|whole)\s+|the\s+whole\s+of\s+)(?:the\s+)?(?P<what>[^.;:,]+?)\s+"
            rf"(?:is|are|was|were)\s+{_VERB}{_TAIL}\.?",
            re.I,
        ),
        "The {what} is incompletely imaged.",
    ),
    (
        re.compile(
            r"(?:incomplete|partial)\s+(?:coverage|imaging|visualization|inclusion)\s+of\s+(?:the\s+)?(?P<what>[^.;:,]+?)\.?",
            re.I,
        ),
        "The {what} is incompletely imaged.",
    ),
    (
        re.compile(
            r"(?:a\s+)?(?:part|portion)\s+of\s+(?:the\s+)?(?P<what>[^.;:,]+?)\s+(?:is|lies|are|lie|extends)\s+"
            r"(?:outside|beyond)\s+(?:of\s+)?(?:the\s+)(?:scan|field\s+of\s+view|imaged\s+range|scan\s+range)\.?",
            re.I,
        ),
        "The {what} is incompletely imaged.",
    ),
    (
        re.compile(
            rf"no\s+(?P<what>[^.;:,]+?)\s+(?:is|are|was|were)\s+{_SEEN}(?:\s+in\s+the\s+imaged\s+range)?\.?", re.I
        ),
        "The {what} is not seen in the imaged range.",
    ),
    (
        re.compile(r"(?P<what>[^.;:,]+?)\s*(?::\s*none|:\s*absent|:\s*negative)(?: seen| identified)?\.?", re.I),
        "No {what} segmented.",
    ),
    (
        re.compile(
            r"(?:assessment|evaluation)\s+(?:of|for)\s+(?P<what>[^.;:]+?)\s+(?:was|is)\s+not\s+"
            r"(?:performed|possible|done|made)\.?",
            re.I,
        ),
        "{what} not assessed.",
    ),
    (
        re.compile(
            r"no\s+(?:assessment|evaluation)\s+(?:of|for)\s+(?P<what>[^.;:]+?)\s+(?:was|is)\s+"
            r"(?:performed|possible|done|made)\.?",
            re.I,
        ),
        "{what} not assessed.",
    ),
    (
        re.compile(r"there\s+(?:is|are|was|were)\s+neither\s+(?P<what>[^.;:,]+?\s+nor\s+[^.;:,]+?)\.?", re.I),
        "No {what} segmented.",
    ),
    (
        re.compile(
            r"(?:we|i)\s+see\s+(?:the\s+whole(?:\s+of)?|all\s+of|the\s+entire)\s+(?:the\s+)?(?P<what>[^.;:,]+?)\.?",
            re.I,
        ),
        "The {what} is included in the scan.",
    ),
    (
        re.compile(rf"neither\s+(?P<what>[^.;:,]+?\s+nor\s+[^.;:,]+?)\s+(?:is|are|was|were)\s+{_SEEN}\.?", re.I),
        "No {what} segmented.",
    ),
)
#: "We cannot identify the spleen" is "the spleen is not seen".
_OF_READER = re.compile(
    r"(?:we|i)\s+(?:cannot|can\s+not|could\s+not|do\s+not|did\s+not)\s+(?:identify|see|find|visualize|detect|demonstrate)\s+"
    r"(?P<what>[^.;:,]+?)\.?",
    re.I,
)
_DENYING = ("not", "cannot be", "could not be", "can not be")
_ARTICLE = re.compile(r"^(?:a|an|any|the)\s+", re.I)


@dataclass(frozen=True)
class Paraphrases:
    """``same`` maps words to those of the normal form; ``entailed`` a category to what it also says."""

    same: Mapping[Words, Words]
    lengths: Mapping[str, tuple[int, ...]]  # of the phrases that begin with a word, longest first
    entailed: Mapping[str, tuple[str, ...]]
    denied: Mapping[str, tuple[str, ...]]


@cache
def paraphrases() -> Paraphrases:
    """The table of ``radvlm/wording/paraphrases.yaml``."""
    data = yaml.safe_load(files("radvlm.wording").joinpath("paraphrases.yaml").read_text(encoding="utf-8"))
    pairs = {tokenize(other): tokenize(words) for words, others in data["same"].items() for other in others}
    pairs |= {words: tokenize(state) for state, words in _states(data)}
    lengths: dict[str, set[int]] = {}
    for other in pairs:
        lengths.setdefault(other[0], set()).add(len(other))
    return Paraphrases(
        MappingProxyType(pairs),
        MappingProxyType({word: tuple(sorted(held, reverse=True)) for word, held in lengths.items()}),
        MappingProxyType({k: tuple(v) for k, v in data["entailed"].items()}),
        MappingProxyType({k: tuple(v) for k, v in data["denied"].items()}),
    )


def _states(data: Mapping) -> Iterator[tuple[str, Words]]:
    """(what is said of an organ in the scan, other words for it)."""
    for state, row in data["states"].items():
        yield from ((state, tokenize(words)) for words in row["alone"])
        for adverb in row["adverbs"]:
            if adverb not in _DENYING:
                yield from ((state, tokenize(f"{adverb} {tail}")) for tail in data["tails"] if "field of view" in tail)
        for tail in data["tails"]:
            if state == "included in the scan" and tail:
                yield state, tokenize(f"included {tail}")
            for adverb in row["adverbs"]:
                for verb in data["verbs"]:
                    if adverb in _DENYING and verb in data["of_the_scan"]:
                        continue
                    yield state, tokenize(f"{adverb} {verb} {tail}")
                    if state == "included in the scan":
                        yield "incompletely imaged", tokenize(f"not {verb} {adverb} {tail}")
                        yield "incompletely imaged", tokenize(f"not {verb} {tail} {adverb}")
                    if adverb not in _DENYING:
                        yield state, tokenize(f"{verb} {adverb} {tail}")
                        yield state, tokenize(f"{verb} {tail} {adverb}")
            yield state, (*tokenize(state), *tokenize(tail)) if state == "incompletely imaged" else tokenize(state)


def normal(words: Words) -> Words:
    """Words in their normal form, the longest phrase first at each place."""
    table, lengths, index = paraphrases().same, paraphrases().lengths, 0
    found: list[str] = []
    while index < len(words):
        for length in lengths.get(words[index], ()):
            same = table.get(words[index : index + length])
            if same is not None:
                found += same
                index += length
                break
        else:
            found.append(words[index])
            index += 1
    return tuple(found)


@lru_cache(maxsize=4096)
def wordings(text: str) -> tuple[Words, ...]:
    """The words of a sentence as they are, then in normal form, then with what it says in the usual order."""
    first = tokenize(text)
    mixed = any(a.lower() != b.lower() for a, b in _SAME_UNIT.findall(text))
    respelled = text
    for pattern, replacement in () if mixed else _RESPELLED:
        respelled = pattern.sub(replacement, respelled)
    forms = [first, normal(tokenize(respelled))]
    for pattern, words in _SHARES:
        share = pattern.fullmatch(respelled.strip())
        if share is not None:
            what = _ARTICLE.sub("", share["what"].strip(), count=1)
            what = re.sub(r"\bnor\b(?:\s+(?:a|an|any)\b)?", "or", what)
            forms.append(normal(tokenize(words.format(what=what))))
    told = _OF_READER.fullmatch(respelled.strip())
    if told is not None:
        respelled = f"{told['what']} is not seen."
        forms.append(normal(tokenize(respelled)))
    denial = _DENIED.fullmatch(respelled.strip())
    if denial is not None:
        what = _ARTICLE.sub("", denial["what"].strip(), count=1)
        what = re.sub(r"\b(?:and|nor)\b", "or", what)
        forms.append(normal(tokenize(f"No {what} segmented{denial['where']}.")))
    return tuple(dict.fromkeys(forms))


@lru_cache(maxsize=4096)
def also_said(phrase: str) -> tuple[Words, ...]:
    """Other words that hold wherever the phrase does: the phrase itself first, then what it entails."""
    said = [phrase, *paraphrases().entailed.get(phrase, ())]
    return tuple(dict.fromkeys(w for text in said for w in (tokenize(text), normal(tokenize(text)))))

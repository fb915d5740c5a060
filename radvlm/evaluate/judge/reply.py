"""From a judge's reply to a judgment: find the JSON, validate it again, locate the quotes.

The server may promise the schema, and the reply is validated all the same. What is missing is never filled in:
a reply without ``matched_findings`` is malformed, because a ratio computed from it would be 0 for no reason.
"""

from __future__ import annotations

import json
import re
from typing import Any

from pydantic import BaseModel, ConfigDict, ValidationError, field_validator

from radvlm.evaluate.judge.judgment import NEEDED, JudgedError, Judgment, MatchedFinding
from radvlm.evaluate.judge.quotes import locate
from radvlm.evaluate.metrics.errors import CATEGORIES

#: Names that models use for the categories, by CheXprompt's letters and keys.
_ALIASES = {
    "a": "false_finding",
    "b": "omission",
    "c": "wrong_location",
    "d": "wrong_severity",
    "e": "false_comparison",
    "f": "omitted_comparison",
    "false_positive_finding": "false_finding",
    "omission_finding": "omission",
    "omitted_finding": "omission",
    "incorrect_location": "wrong_location",
    "incorrect_severity": "wrong_severity",
    "false_positive_comparison": "false_comparison",
    "omission_comparison": "omitted_comparison",
}
_THINKING = re.compile(r"<think(?:ing)?>.*?</think(?:ing)?>", re.DOTALL | re.IGNORECASE)
#: Most errors, and matched findings, in one reply; more is a model that repeats itself.
MAX_ITEMS = 200


class MalformedReply(ValueError):
    """The reply is not what was asked for; the message tells the model what to mend, without the reports' words."""


class _Item(BaseModel):
    model_config = ConfigDict(extra="ignore", frozen=True)

    finding: str
    reference_quote: str
    candidate_quote: str


class _Error(_Item):
    reason: str
    category: str
    significant: bool

    @field_validator("category")
    @classmethod
    def _known(cls, value: str) -> str:
        plain = re.sub(r"[\s\-]+", "_", value.strip().lower())
        plain = _ALIASES.get(plain, plain)
        if plain not in CATEGORIES:
            raise ValueError("is one of " + ", ".join(CATEGORIES))
        return plain


class _Reply(BaseModel):
    model_config = ConfigDict(extra="ignore", frozen=True)

    errors: list[_Error]
    matched_findings: list[_Item]


def read_reply(text: str, reference: str, candidate: str) -> Judgment:
    """The judgment in a reply about these two texts; MalformedReply when there is none."""
    try:
        reply = _Reply.model_validate(_json_object(text))
    except ValidationError as error:
        problems = [f"{'.'.join(map(str, e['loc'])) or 'the object'}: {e['msg']}" for e in error.errors()[:3]]
        raise MalformedReply("; ".join(problems)) from error
    if max(len(reply.errors), len(reply.matched_findings)) > MAX_ITEMS:
        raise MalformedReply(f"more than {MAX_ITEMS} errors or matched findings")
    errors = [_error(e, reference, candidate) for e in dict.fromkeys(reply.errors)]
    errors.sort(key=lambda e: CATEGORIES.index(e.category))
    matched = [_matched(m, reference, candidate) for m in dict.fromkeys(reply.matched_findings)]
    return Judgment(tuple(errors), tuple(matched))


def _json_object(text: str) -> Any:
    """The JSON object in a reply: the whole reply, or one inside a code fence or among words."""
    stripped = _THINKING.sub("", text).strip()
    if not stripped:
        raise MalformedReply("the answer is empty")
    decoder = json.JSONDecoder(object_pairs_hook=_no_repeats)
    problem = "there is no JSON object"
    at = stripped.find("{")
    while at >= 0:
        try:
            value, stop = decoder.raw_decode(stripped, at)
        except json.JSONDecodeError as error:
            problem = f"the JSON is not valid: {error.msg} at character {error.pos + 1}"
            at = stripped.find("{", at + 1) if error.pos <= at + 1 else -1  # a brace in the words before it
            continue
        if {"errors", "matched_findings"} & set(value):
            return value
        problem = "the object has neither errors nor matched_findings"
        at = stripped.find("{", stop)
    raise MalformedReply(problem)


def _no_repeats(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    out = dict(pairs)
    if len(out) != len(pairs):
        raise MalformedReply("a key stands twice in one object")
    return out


def _span(quote: str, text: str) -> tuple[tuple[int, int], ...]:
    span = locate(quote, text)
    return (span,) if span else ()


def _error(e: _Error, reference: str, candidate: str) -> JudgedError:
    spans = {"reference": _span(e.reference_quote, reference), "candidate": _span(e.candidate_quote, candidate)}
    quotes = {"reference": e.reference_quote, "candidate": e.candidate_quote}
    unlocated = tuple(
        side for side, span in spans.items() if not span and (side in NEEDED[e.category] or quotes[side].strip())
    )
    return JudgedError(
        e.category,
        e.significant,
        e.finding.strip(),
        e.reason.strip(),
        spans["reference"],
        spans["candidate"],
        e.reference_quote,
        e.candidate_quote,
        unlocated,
    )


def _matched(m: _Item, reference: str, candidate: str) -> MatchedFinding:
    first, second = _span(m.reference_quote, reference), _span(m.candidate_quote, candidate)
    sides = (("reference", first), ("candidate", second))
    return MatchedFinding(m.finding.strip(), first, second, tuple(side for side, spans in sides if not spans))

"""Takes dates, names, identifiers and comparisons with priors out of a report before it is indexed.

What a prior report says of *its* priors ("unchanged since March") would be false of any other patient, so whole
comparison clauses go too. This is a safety net of patterns, not de-identification: names without a title or label
("seen with Smith") and rare identifiers pass. De-identify reports with a tool made for it before indexing them.
"""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass

_MONTH = (
    r"(?:jan(?:uary)?|feb(?:ruary)?|mar(?:ch)?|apr(?:il)?|may|june?|july?|aug(?:ust)?|"
    r"sept?(?:ember)?|oct(?:ober)?|nov(?:ember)?|dec(?:ember)?)"
)
_NAME = r"[A-Z](?:[\w'’-]+|\.)(?:[ ]+[A-Z](?:[\w'’-]+|\.)){0,2}"
#: kind -> pattern, in the order in which they are removed. Those of ``IDENTIFYING`` say who somebody is.
_PATTERNS: dict[str, re.Pattern[str]] = {
    "e-mail": re.compile(r"[\w.+-]+@[\w-]+(?:\.[\w-]+)+"),
    "identifier": re.compile(
        r"\b(?i:mrn|medical record(?: number)?|patient id|accession(?: (?:no|number|#))?|dob|"
        r"date of birth|ssn|nhs(?: number)?|case (?:no|number))\b\.?[ \t]*[:#]?[ \t]*"
        r"[A-Z0-9][\w/.-]*\d[\w/.-]*"
    ),
    "phone": re.compile(r"(?<![\w.])(?:\+\d{1,3}[ .-]?)?(?:\(\d{3}\)[ ]?|\d{3}[ .-])\d{3}[ .-]\d{4}\b"),
    "name": re.compile(
        rf"\b(?:(?:Dr|Mr|Mrs|Ms|Prof|Professor|Doctor)\.?[ ]+{_NAME}|"
        rf"(?i:patient(?: name)?|name|referring physician|radiologist|dictated by|signed(?: electronically)?"
        rf"(?: by)?|reported by|reviewed by)[ \t]*:[ \t]*{_NAME}|{_NAME},?[ ]+M\.?D\.?(?=\W|$))"
    ),
    "date": re.compile(
        rf"(?i)\b(?:\d{{4}}[-/.]\d{{1,2}}[-/.]\d{{1,2}}|\d{{1,2}}[-/.]\d{{1,2}}[-/.](?:19|20)?\d{{2}}|"
        rf"\d{{1,2}}(?:st|nd|rd|th)?[ ]+(?:of[ ]+)?{_MONTH}\.?,?(?:[ ]+\d{{4}})?|"
        rf"{_MONTH}\.?[ ]+\d{{1,2}}(?:st|nd|rd|th)?,?(?:[ ]+\d{{4}})\b|{_MONTH}\.?[ ]+(?:19|20)\d{{2}})"
        r"(?:[ ]+at)?(?:[ ]+\d{1,2}:\d{2}(?::\d{2})?(?:[ ]*[ap]m)?)?"
    ),
    "long number": re.compile(r"(?<![\w.])\d{7,}(?![\w.]*\d)"),
}
IDENTIFYING = frozenset({"e-mail", "identifier", "phone", "name", "long number"})
_PRIOR = (
    r"(?:prior|previous|earlier|last|old|preceding|outside)(?:[ ]+(?:ct|mri?|pet|chest|abdominal|outside|imaging|"
    r"available|most recent))*[ ]+(?:exam(?:ination)?s?|stud(?:y|ies)|scans?|cts?|mris?|imaging|comparisons?|reports?"
    r"|radiographs?)"
)
#: A sentence is dropped when a comparison is all it says; else the clause goes.
_COMPARISON_CLAUSE = re.compile(
    rf"(?i)[,;(]?[ ]*\b(?:(?:as |when )?compared (?:to|with)(?: the)?[^,.;)]*|in comparison (?:to|with)[^,.;)]*|"
    rf"(?:not significantly |essentially |grossly |overall )?(?:unchanged|stable|similar|increased|"
    rf"decreased|enlarged|larger"
    rf"|smaller|new|grown)[ ]+(?:in (?:size|appearance)[ ]+)?(?:since|from|compared (?:to|with)|"
    rf"relative to|to)(?: the)?"
    rf"[ ]+(?:{_PRIOR}|(?:prior|previous)\b)[^,.;)]*|(?:since|from|on|relative to)(?: the| a)?[ ]+{_PRIOR}[^,.;)]*|"
    r"previously[ ]+(?:measur(?:ed|ing)[ ]+)?[^,.;)]*|(?:interval(?:ly)?|again)[ ]+(?:seen|noted|"
    r"demonstrated|identified)|"
    r"unchanged(?: in (?:size|appearance))?|(?:has|have) (?:increased|decreased|grown|resolved|progressed)[^,.;)]*)\)?"
)
_COMPARISON_SENTENCE = re.compile(
    rf"(?i)^\W*(?:comparison\b|interval (?:increase|decrease|change|development|resolution|"
    rf"growth|enlargement)|no (?:significant )?(?:interval )?change\b|no {_PRIOR}|"
    rf"there (?:is|has been) (?:an? )?interval|{_PRIOR})"
)
_SENTENCE = re.compile(r"[^.!?\n]*(?:\.(?=\d)[^.!?\n]*)*(?:[.!?]+|\n|$)")


@dataclass(frozen=True)
class Scrubbed:
    """``text`` with what was removed counted by kind (``date``, ``name``, ``prior`` ...)."""

    text: str
    removed: tuple[tuple[str, int], ...]

    @property
    def identifying(self) -> int:
        """How many of them say who somebody is."""
        return sum(n for kind, n in self.removed if kind in IDENTIFYING)


def scrub(text: str) -> Scrubbed:
    """Remove dates, names, identifiers and comparisons; measurements and findings stay."""
    counts: Counter[str] = Counter()
    for kind in ("e-mail", "identifier", "phone", "name"):
        text, n = _PATTERNS[kind].subn("", text)
        counts[kind] += n
    kept: list[str] = []
    for match in _SENTENCE.finditer(text):
        sentence = match[0]
        if not sentence.strip():
            kept.append(sentence)
            continue
        if _COMPARISON_SENTENCE.search(sentence):
            counts["prior"] += 1
            kept.append("\n" if sentence.endswith("\n") else " ")
            continue
        shorter, n = _COMPARISON_CLAUSE.subn("", sentence)
        counts["prior"] += n
        if n and not re.search(r"[A-Za-z]{3,}", shorter):
            kept.append("\n" if sentence.endswith("\n") else " ")
            continue
        kept.append(shorter)
    text = "".join(kept)
    for kind in ("date", "long number"):
        text, n = _PATTERNS[kind].subn("", text)
        counts[kind] += n
    text = re.sub(r"[ \t]+([,.;)])", r"\1", re.sub(r"[ \t]{2,}", " ", text))
    text = re.sub(r"\([ ]*\)", "", re.sub(r"(?m)^(?:[ \t,;]|\.(?!\d))+|[ \t]+$", "", text))
    return Scrubbed(text.strip(), tuple(sorted((k, n) for k, n in counts.items() if n)))

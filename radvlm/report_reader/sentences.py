"""Sections that count and sentences within them, as character spans of the report.

Made for reports, not prose. Indication, history, technique and comparison are left out; a line break ends a sentence
unless the line looks wrapped; a full stop may be missing, doubled by quotes (CT-RATE) or glued to the next word;
numbered and bulleted impressions and "Liver: Unremarkable." lines are sentences of their own.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

#: Heading words -> what the section is; sections named in ``EXCLUDED`` state no findings.
HEADINGS: dict[str, str] = {
    **dict.fromkeys(
        (
            "clinical information",
            "clinical history",
            "clinical indication",
            "clinical data",
            "clinical details",
            "clinical question",
            "clinical background",
            "clinical statement",
            "clinical",
            "history",
            "indication",
            "indications",
            "reason for exam",
            "reason for examination",
            "reason for study",
            "reason for the study",
            "reason for the exam",
            "reason for the examination",
            "reason for scan",
            "reason for this examination",
            "reason",
            "hx",
            "medical history",
            "patient history",
            "indication for study",
            "clinical context",
            "brief history",
            "pertinent history",
            "relevant history",
            "symptoms",
            "diagnosis on referral",
            "history and indication",
            "indication/history",
            "history/indication",
            "clinical indications",
            "request",
            "referral",
            "signs and symptoms",
        ),
        "history",
    ),
    **dict.fromkeys(
        (
            "technique",
            "procedure",
            "protocol",
            "examination",
            "exam",
            "study",
            "exam type",
            "type of exam",
            "ct technique",
            "contrast",
            "dose",
            "radiation dose",
            "scan protocol",
            "procedure comments",
            "exam description",
            "ct dose",
            "dlp",
            "imaging technique",
            "contrast material",
            "oral contrast",
            "iv contrast",
            "scan technique",
            "technical factors",
            "quality",
        ),
        "technique",
    ),
    **dict.fromkeys(
        (
            "comparison",
            "comparisons",
            "comparison studies",
            "comparison study",
            "compared",
            "prior studies",
            "previous studies",
            "previous examinations",
        ),
        "comparison",
    ),
    **dict.fromkeys(
        (
            "recommendation",
            "recommendations",
            "follow-up",
            "follow up",
            "communication",
            "notification",
            "attestation",
            "signed",
            "disclaimer",
        ),
        "recommendation",
    ),
    **dict.fromkeys(("not assessed", "not evaluated", "not assessable"), "not assessed"),
    **dict.fromkeys(
        ("findings", "finding", "report", "results", "result", "observations", "ct findings", "description", "body"),
        "findings",
    ),
    **dict.fromkeys(
        (
            "impression",
            "impressions",
            "conclusion",
            "conclusions",
            "opinion",
            "summary",
            "interpretation",
            "assessment",
            "final impression",
            "comment",
            "key findings",
            "diagnosis",
        ),
        "impression",
    ),
}
EXCLUDED = frozenset({"history", "technique", "comparison", "recommendation", "not assessed"})
_LEAD = " \t#*_>-"
_CAPS = re.compile(r"(?<![A-Za-z])[A-Z][A-Z /-]+$")
_LONGEST = max(map(len, HEADINGS)) + 6
_ORGAN = re.compile(
    r"^[ \t]*(?:the )?(?:lower |upper |visualized )?(?:lungs?|liver|heart|chest|thorax|abdomen|pelvis|spleen|pancreas"
    r"|kidneys?|adrenals?|bones?|gallbladder|mediastinum|pleura|aorta|lines|airways?|thyroid|bowel|vessels|vasculature"
    r"|lymph nodes|nodes|musculoskeletal|hepatobiliary|cardiovascular)\b[^:\n.]{0,40}:",
    re.IGNORECASE | re.MULTILINE,
)
_STOP = re.compile(
    r"\n\s*\n|\n|[.!?]+(?=[\s\"”'’)\]]|$)|(?<=[a-z)])\.(?=[A-Z])|(?<=\d)\.(?=[A-Z][a-z])|\"+|[“”•▪●◦]|;(?=\s*\n)"
)
_ABBREVIATION = frozenset(
    {
        "mm",
        "cm",
        "approx",
        "vs",
        "eg",
        "e.g",
        "ie",
        "i.e",
        "etc",
        "max",
        "min",
        "incl",
        "resp",
        "ca",
        "dr",
        "mr",
        "mrs",
        "ms",
        "no",
        "fig",
        "st",
        "ant",
        "inf",
        "sup",
        "avg",
        "ser",
        "im",
        "img",
        "se",
        "cf",
    }
)
#: Characters; real sentences end long before.
_LONGEST_SENTENCE = 1500
_LIST = re.compile(r"[ \t]*(?:[-*+•·>]|\(?\d{1,2}[.)]|[a-z][.)])[ \t]")
#: How soon to tell of an item, before it: no degree of what it says.
_URGENCY = re.compile(r"\s*(?:\(?\d{1,2}[.)]\s+)?(?:critical|urgent)(?:, if confirmed)?:\s", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Span:
    """A sentence: half-open span, the section it stands in; ``paragraph`` counts blank lines and sections."""

    start: int
    stop: int
    section: str
    paragraph: int


def sections(text: str) -> list[tuple[str, int, int]]:
    """(name, start, stop) of each stretch of text; text before the first heading, or without any, is ``findings``."""
    heads = _headings(text)
    if not heads:
        return [("findings", 0, len(text))]
    out = [("findings", 0, heads[0][1])]
    stops = [start for _, start, _ in heads[1:]] + [len(text)]
    names = [name for name, _, _ in heads]
    for i, ((name, _, start), stop) in enumerate(zip(heads, stops, strict=True)):
        if name in EXCLUDED:
            end = _end_of_excluded(text, start, stop, any(n in ("findings", "impression") for n in names[i + 1 :]))
            out += [(name, start, end), ("findings", end, stop)]
        else:
            out.append((name, start, stop))
    return [(name, a, b) for name, a, b in out if text[a:b].strip()]


def _headings(text: str) -> list[tuple[str, int, int]]:
    """(name, start, end) of headings: before a colon at a line's or sentence's start, in capitals, or alone."""
    found: list[tuple[str, int, int]] = []
    colon = text.find(":")
    while colon >= 0:
        back = text[max(0, colon - _LONGEST) : colon]
        line = back.rfind("\n") + 1
        title = max(back.rfind(". ", line), back.rfind('" ', line), back.rfind("? ", line), back.rfind('"', line))
        begin = title + 1 if title >= 0 else line
        lead = back[begin:].lstrip(_LEAD)
        words = lead.rstrip(_LEAD).lower()
        if not (words in HEADINGS and (title >= 0 or line > 0 or colon <= _LONGEST)):
            caps = _CAPS.search(back.rstrip())
            lead = caps[0] if caps else ""
            words = lead.strip(" -").lower()
            while caps and words and words not in HEADINGS:  # "NO CHANGE IMPRESSION:" keeps its last words
                lead = lead.partition(" ")[2]
                words = lead.strip(" -").lower()
        if words in HEADINGS:
            found.append((HEADINGS[words], colon - len(lead), colon + 1))
        colon = text.find(":", colon + 1)
    at = 0
    for line_text in text.splitlines(keepends=True) if "\n" in text else ():
        words = line_text.strip().strip(_LEAD).lower()
        if words in HEADINGS:
            found.append((HEADINGS[words], at, at + len(line_text)))
        at += len(line_text)
    return sorted(found, key=lambda head: head[1])


def _end_of_excluded(text: str, start: int, stop: int, findings_follow: bool) -> int:
    """An indication ends at the next heading of an organ, or at a blank line when no findings heading comes later."""
    organ = _ORGAN.search(text, start, stop)
    end = organ.start() if organ and organ.start() > start else stop
    if not findings_follow:
        body = len(text[start:end]) - len(text[start:end].lstrip())
        blank = re.compile(r"\n\s*\n").search(text, start + body, end)
        if blank:
            end = blank.end()
    return end


def sentences(text: str) -> list[Span]:
    """Sentences of the sections that state findings, in reading order; none is longer than ``_LONGEST_SENTENCE``."""
    out: list[Span] = []
    paragraph = 0
    for name, start, stop in sections(text):
        paragraph += 1
        if name in EXCLUDED:
            continue
        paragraph = _split(text, start, stop, name, paragraph, out)
    if any(s.stop - s.start > _LONGEST_SENTENCE for s in out):
        out = [part for s in out for part in _chopped(text, s)]
    return out


def _chopped(text: str, span: Span) -> list[Span]:
    """A run-on cut after a comma or a space, so that reading stays linear in the length of a report."""
    parts, at = [], span.start
    while span.stop - at > _LONGEST_SENTENCE:
        end = at + _LONGEST_SENTENCE
        cut = max(text.rfind(",", at, end), text.rfind(";", at, end))
        cut = (cut if cut > at else text.rfind(" ", at, end)) + 1
        cut = cut if cut > at else end
        parts.append(Span(at, cut, span.section, span.paragraph))
        at = cut
    return [*parts, Span(at, span.stop, span.section, span.paragraph)]


def _split(text: str, start: int, stop: int, section: str, paragraph: int, out: list[Span]) -> int:
    at = start
    for match in _STOP.finditer(text, start, stop):
        cut = match.start()
        if cut < at:
            continue
        mark = match[0]
        if mark[0] in ".!?":
            cut = match.end()
            if _continues(text, at, match.start(), match.end(), mark):
                continue
        elif mark == "\n" and _wrapped(text, at, cut, stop):
            continue
        if text[at:cut].strip():
            out.append(Span(_after_urgency(text, at, cut), cut, section, paragraph))
        if mark[0] == "\n" and len(mark) > 1:
            paragraph += 1
        at = match.end()
    if text[at:stop].strip():
        out.append(Span(_after_urgency(text, at, stop), stop, section, paragraph))
    return paragraph


def _after_urgency(text: str, start: int, stop: int) -> int:
    """Where an item of an impression begins, after "Critical:" or "Urgent, if confirmed:"."""
    urgency = _URGENCY.match(text, start, stop)
    return urgency.end() if urgency and text[urgency.end() : stop].strip() else start


def _continues(text: str, start: int, dot: int, end: int, mark: str) -> bool:
    """Whether a full stop or question mark does not end the sentence."""
    rest = text[end : end + 40].lstrip(" \t")
    if mark[0] == "?":
        inside = text.rfind("(", start, dot) > text.rfind(")", start, dot)
        return inside or rest[:1] in (",", ")") or rest[:1].islower()
    word = text[max(start, dot - 8) : dot].split()[-1:] or [""]
    word_ = word[0].lower().lstrip("(")
    return word_ in _ABBREVIATION and (rest[:1].islower() or (rest[:1].isdigit() and word_ not in ("mm", "cm")))


def _wrapped(text: str, start: int, newline: int, stop: int) -> bool:
    """Whether a line break is only the end of a wrapped line."""
    line_start = text.rfind("\n", 0, newline) + 1
    line = text[line_start:newline].rstrip()
    end = text.find("\n", newline + 1)
    following = text[newline + 1 : end if end >= 0 else stop]
    if not line or not following.strip() or line[-1] in ".!?:;" or _LIST.match(following):
        return False
    first = following.lstrip()[:1]
    if first.islower() or line[-1] == ",":
        return True
    if len(line) < 45 or ":" in following[:40] or _LIST.match(line):
        return False
    # A capital after a line without a full stop is a wrapped line only where lines are wrapped: this one is nearly
    # the longest, and the text uses full stops.
    longest = max(len(other) for other in text.split("\n"))
    return len(line) >= longest - 14 and longest <= 130 and bool(re.search(r"[a-zA-Z)][.](?:\s|$)", text))

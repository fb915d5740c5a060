"""A report as the metrics see it: one text, its sections as spans of that text, and perhaps a structured Report.

Sections are spans, not copies, so a character position in ``text`` means the same to every metric and to the page
that marks errors. A report without headings has no sections, which is not the same as an empty section. A radvlm
``Report`` is turned into text without its notice and its "not assessed" list, which no reference has.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from radvlm.errors import InputError

if TYPE_CHECKING:
    from radvlm.types.report import Report

#: Heading words (lower case) -> section name.
HEADINGS: Mapping[str, str] = {
    "clinical information": "history",
    "clinical history": "history",
    "clinical indication": "history",
    "clinical data": "history",
    "clinical details": "history",
    "history": "history",
    "indication": "history",
    "indications": "history",
    "reason for exam": "history",
    "reason for examination": "history",
    "technique": "technique",
    "procedure": "technique",
    "protocol": "technique",
    "examination": "technique",
    "exam": "technique",
    "comparison": "comparison",
    "comparisons": "comparison",
    "findings": "findings",
    "finding": "findings",
    "report": "findings",
    "impression": "impression",
    "impressions": "impression",
    "conclusion": "impression",
    "conclusions": "impression",
    "opinion": "impression",
    "summary": "impression",
    "recommendation": "recommendation",
    "recommendations": "recommendation",
}
_WORDS = "|".join(sorted((re.escape(h) for h in HEADINGS), key=len, reverse=True))
#: A heading opens a line in any case, or stands anywhere in capitals; a colon (or the end of the line) closes it.
_HEADING = re.compile(
    rf"(?:(?P<lead>^[ \t#*]*)(?P<line>(?i:{_WORDS}))[ \t*]*(?::[ \t*]*|(?=\r?\n|$))"
    rf"|(?<![A-Za-z])(?P<caps>{_WORDS.upper()})[ \t]*:[ \t]*)",
    re.MULTILINE,
)


@dataclass(frozen=True)
class Section:
    """A named part of a text: half-open character span of its body, heading excluded."""

    name: str
    start: int
    stop: int


@dataclass(frozen=True)
class ReportText:
    """One report to be scored.

    Attributes:
        id: case id; pairs reference and candidate.
        text: what is scored; spans of sections and marks refer to it.
        patient_id: cases of one patient are resampled together; "" makes the case its own patient.
        sections: in reading order; () when the text has no headings.
        report: the structured report behind the text, for metrics that read findings and measurements.
        source: where it came from, for messages (``refs.jsonl line 12``).
    """

    id: str
    text: str
    patient_id: str = ""
    sections: tuple[Section, ...] = ()
    report: Report | None = field(default=None, compare=False)
    source: str = field(default="", compare=False)

    @property
    def patient(self) -> str:
        """The cluster for resampling: the patient id, or else the case itself."""
        return self.patient_id or f"case {self.id}"

    def section(self, name: str) -> str | None:
        """Text of every section of that name, joined by a line break; None when there is none."""
        parts = [self.text[s.start : s.stop].strip() for s in self.sections if s.name == name]
        return "\n".join(parts) if parts else None

    @property
    def findings(self) -> str | None:
        return self.section("findings")

    @property
    def impression(self) -> str | None:
        return self.section("impression")

    @classmethod
    def from_text(cls, id: str, text: str, patient_id: str = "", source: str = "") -> ReportText:
        """From plain text; headings such as ``FINDINGS:`` become sections."""
        return cls(id, text, patient_id, find_sections(text), source=source)

    @classmethod
    def from_sections(cls, id: str, sections: Mapping[str, str], patient_id: str = "", source: str = "") -> ReportText:
        """From section name -> text, in that order; other headings than those of ``HEADINGS`` are kept as they are.

        Headings stand in the text only where there are several sections: findings alone are scored as they are.
        """
        text, spans = "", []
        for heading, body in sections.items():
            if not isinstance(body, str):
                raise InputError(
                    "a section of a report is text", f"{source or id}: {heading!r} is {type(body).__name__}"
                )
            text += "\n\n" if text else ""
            text += f"{heading.upper()}: " if len(sections) > 1 else ""
            start = len(text)
            text += body.strip()
            spans.append(Section(HEADINGS.get(heading.strip().lower(), heading.strip().lower()), start, len(text)))
        return cls(id, text, patient_id, tuple(spans), source=source)

    @classmethod
    def from_report(cls, id: str, report: Report, patient_id: str = "", source: str = "") -> ReportText:
        """From a structured radvlm report: technique, findings under their headings, numbered impression."""
        from radvlm.types.anatomy import SECTIONS

        said: dict[str, list[str]] = {}
        for sentence in report.sentences:
            said.setdefault(sentence.section, []).append(sentence.text)
        body = "\n".join(
            f"{SECTIONS[name]}: {' '.join(said[name])}"
            for name in SECTIONS
            if name in said and name not in ("technique", "impression")
        )
        parts: dict[str, str] = {}
        if "technique" in said:
            parts["technique"] = " ".join(said["technique"])
        if body:
            parts["findings"] = body
        if "impression" in said:
            parts["impression"] = "\n".join(f"{n}. {text}" for n, text in enumerate(said["impression"], 1))
        made = cls.from_sections(id, parts, patient_id, source)
        return cls(id, made.text, patient_id, made.sections, report, source)

    @classmethod
    def of(cls, id: str, value: Any, patient_id: str = "", source: str = "") -> ReportText:
        """From a string, a mapping of sections, a radvlm Report or a ReportText; InputError for anything else."""
        if isinstance(value, str):
            return cls.from_text(id, value, patient_id, source)
        if isinstance(value, ReportText):
            return value
        if isinstance(value, Mapping):
            return cls.from_sections(id, value, patient_id, source)
        if hasattr(value, "sentences") and hasattr(value, "findings"):
            return cls.from_report(id, value, patient_id, source)
        raise InputError(
            "a report is a string, a mapping of section to text, a Report or a ReportText",
            f"{source or id}: {type(value).__name__}",
        )


def find_sections(text: str) -> tuple[Section, ...]:
    """Sections of a text by their headings; () when it has none. Text before the first heading belongs to none."""
    heads = []
    for match in _HEADING.finditer(text):
        words = (match["line"] or match["caps"]).lower()
        heads.append((HEADINGS[words], match.start(), match.end()))
    stops = [start for _, start, _ in heads[1:]] + [len(text)] * bool(heads)
    sections = []
    for (name, _, start), stop in zip(heads, stops, strict=True):
        body = text[start:stop]
        lead = len(body) - len(body.lstrip())
        sections.append(Section(name, start + lead, max(start + lead, start + len(body.rstrip()))))
    return tuple(sections)

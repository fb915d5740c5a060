"""Reports as they enter an index, and their division into organ paragraphs and sentences.

What a sentence is about is told by the report reader; a sentence that does not tell stays with the organ of the one
before it. Indication, history, technique, comparison and recommendation are never indexed: they speak of the patient,
not of a scan.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass, fields
from datetime import date as calendar_date
from pathlib import Path

from radvlm.errors import FileFormatError, InputError
from radvlm.files.columns import RECORD_NEEDS
from radvlm.report_reader.sentences import EXCLUDED, HEADINGS
from radvlm.report_reader.topic import subject
from radvlm.types.anatomy import SECTIONS, structures

#: What a row of an index stands for.
LEVELS = ("image", "report", "paragraph", "sentence")


@dataclass(frozen=True)
class Record:
    """One report (or one section of one).

    Attributes:
        patient: pseudonym of the patient; all that is excluded together.
        study: pseudonym of the study.
        text: the report.
        id: unique in an index; the study (with the section, if any) where it is left out.
        date: of the study, YYYY-MM-DD; "" is not known, and then never earlier than anything.
        section, organ: set when the text is of one section or organ only.
        region: body region such as ``abdomen``; site, split: where it comes from, ``train`` / ``valid`` / ``test``.
        phase, kind: contrast phase and kind of study, where they are known.
        volume: path of the scan, "" for none.
        patient_key: ``Study.patient_key`` of the scan, so that a scan excludes its own patient by itself.
    """

    patient: str
    study: str
    text: str
    id: str = ""
    date: str = ""
    section: str = ""
    organ: str = ""
    region: str = ""
    site: str = ""
    split: str = ""
    volume: str = ""
    patient_key: str = ""
    phase: str = ""
    kind: str = ""

    def __post_init__(self) -> None:
        for name in RECORD_NEEDS:
            if not isinstance(getattr(self, name), str) or not getattr(self, name).strip():
                raise InputError(
                    f"a record has a {name}",
                    repr(getattr(self, name)),
                    "Without a patient nobody could be excluded" if name == "patient" else "",
                )
        if self.section and self.section not in SECTIONS:
            raise InputError(f"a section is one of {', '.join(SECTIONS)}", repr(self.section))
        if self.date:
            check_date(self.date)
        if not self.id:
            object.__setattr__(
                self, "id", self.study + (f"#{self.section or self.organ}" if self.section or self.organ else "")
            )

    @property
    def report_hash(self) -> str:
        """First 16 hex digits of the sha256 of the text without case, punctuation and spacing."""
        return text_hash(self.text)


@dataclass(frozen=True, slots=True)
class Entry:
    """One row to be embedded: a report, a paragraph or a sentence, and what it is about ("" where unknown)."""

    level: str
    text: str
    section: str
    organ: str


def check_date(text: str) -> int:
    """20240131 for "2024-01-31"; InputError otherwise."""
    try:
        return int(calendar_date.fromisoformat(text).strftime("%Y%m%d"))
    except (ValueError, TypeError):
        raise InputError("a date is written YYYY-MM-DD", repr(text)) from None


def text_hash(text: str) -> str:
    return hashlib.sha256(" ".join(re.findall(r"\w+", text.lower())).encode()).hexdigest()[:16]


def read_records(path: str | Path) -> Iterator[Record]:
    """Records of a JSONL file, one object a line with the fields of ``Record``.

    Raises FileFormatError for a line that is no such object, and for names that are not known (a misspelt ``patient``
    would otherwise switch the exclusion off).
    """
    known = {f.name for f in fields(Record)}
    try:
        lines = Path(path).read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise FileFormatError("reports are a JSONL file in UTF-8", f"{path}: {error}") from error
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        where = f"{Path(path).name}, line {number}"
        try:
            data = json.loads(line)
        except json.JSONDecodeError as error:
            raise FileFormatError("each line is one JSON object", f"{where}: {error}") from error
        if not isinstance(data, dict) or set(data) - known or not set(RECORD_NEEDS) <= set(data):
            odd = sorted(set(data) - known) if isinstance(data, dict) else type(data).__name__
            raise FileFormatError(
                f"a record has patient, study and text, and may have {', '.join(sorted(known))}",
                f"{where}: {odd or sorted(data)}",
            )
        try:
            yield Record(**{k: "" if v is None else str(v) for k, v in data.items()})
        except InputError as error:
            raise FileFormatError(error.rule, f"{where}: {error.received}", error.remedy) from error


_HEADING = re.compile(
    r"(?m)^[ \t]*(?:\d+[.)][ \t]*)?([A-Za-z][A-Za-z ,/&-]{1,48}):[ \t]*|(?<=[.!?:] )([A-Z][A-Za-z ,/&-]{1,40}):[ \t]+"
)
_STOP = re.compile(r"(?<=[.!?])(?=\s+[A-Z(\d•-])|\n\s*\n|\n(?=[ \t]*(?:[-•*]|\d+[.)])\s)|\n(?=[A-Z])")
_TITLES = {heading.lower(): key for key, heading in SECTIONS.items()} | {key.replace("_", " "): key for key in SECTIONS}


def sentences(text: str) -> list[str]:
    """Sentences of a paragraph; a decimal point ends none, a new line that starts with a capital ends one."""
    found = (re.sub(r"^(?:[-•*]|\(?\d{1,2}[.)])\s+", "", " ".join(s.split())) for s in _STOP.split(text) if s)
    return [s for s in found if re.search(r"[A-Za-z]{2}", s)]


def entries(record: Record) -> list[Entry]:
    """The report, its organ paragraphs and its sentences, in reading order, each once."""
    blocks = _blocks(record.text)
    said: list[tuple[str, str, str]] = []
    for section, organ, body in blocks:
        here = (record.section or section, record.organ or organ)
        for sentence in sentences(body):
            own = subject(sentence)
            if record.section or record.organ:
                own = here
            elif section and own[0] != section:
                own = (section, organ)
            elif own[0]:
                here = own
            else:
                own = here
            if section in SECTIONS and len(sentence.split()) < 3:
                sentence = f"{SECTIONS[section]}: {sentence}"  # "Normal." alone says nothing
            said.append((*own, sentence))
    out = [Entry("report", " ".join(s for _, _, s in said) or record.text.strip(), record.section, record.organ)]
    groups: dict[str, list[tuple[str, str]]] = {}
    for section, organ, sentence in said:
        groups.setdefault(section, []).append((organ, sentence))
    for section, members in groups.items():
        if section:
            organ = next((o for o, _ in members if o), "")
            out.append(Entry("paragraph", " ".join(s for _, s in members), section, organ))
    out += [Entry("sentence", sentence, section, organ) for section, organ, sentence in said]
    return list(dict.fromkeys(out))


def _blocks(text: str) -> list[tuple[str, str, str]]:
    """(section, organ, text) of each stretch under a heading; stretches that are never indexed are left out."""
    marks = [(m.start(), m.end(), (m[1] or m[2] or "").strip().lower()) for m in _HEADING.finditer(text)]
    out: list[tuple[str, str, str]] = []
    starts = [(0, 0, "findings"), *marks]
    for (start, body, title), following in zip(starts, [*(m[0] for m in marks), len(text)], strict=True):
        stretch = text[body:following]
        if not stretch.strip() or HEADINGS.get(title) in EXCLUDED:
            continue
        section, organ = _TITLES.get(title, ""), ""
        if not section or section in structures():
            section, organ = (section, section) if section else subject(title)
        if section == "technique":
            continue
        if section == "" and title not in ("findings", "impression", "conclusion", "report", "body") and body:
            stretch = text[start:following].strip()  # "Note:" is no heading of ours: keep the words
        out.append((section, organ, stretch))
    return out

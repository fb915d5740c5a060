"""A user's own training data: one row a study, in CSV or JSON lines.

    patient,study,volume,masks,report,section:liver,label:ascites
    p001,ct-1,scans/p001.nii.gz,masks/p001.nii.gz,"LIVER: Normal. ...",,0

The split is a hash of the patient (as in ``radvlm.dataset.case``), so a table that grows never moves a patient
from training to validation. A label is 1, 0, or nothing at all: an empty cell and -1 (what Merlin's tables write for
"not mentioned") are unknown and teach neither way. Nothing is read but the table; volumes are opened when drawn.
"""

from __future__ import annotations

import csv
import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from radvlm.dataset.case import PARTS, part_of
from radvlm.errors import FileFormatError, InputError
from radvlm.files.columns import LABEL_COLUMN, SECTION_COLUMN, STUDY_COLUMNS, STUDY_NEEDS
from radvlm.types.anatomy import SECTIONS

_JSON = (*STUDY_COLUMNS, "sections", "labels", "questions", "facts")
_HEADING = re.compile(r"(?m)^[ \t]*([A-Za-z][A-Za-z ,/&-]{2,60}?)[ \t]*:[ \t]*")
#: Words of headings that reports use -> key of SECTIONS; the names in SECTIONS are known without being listed.
HEADINGS: Mapping[str, str] = {
    "lower thorax": "lungs",
    "lower chest": "lungs",
    "lung bases": "lungs",
    "lung": "lungs",
    "gallbladder": "biliary",
    "bile ducts": "biliary",
    "biliary tree": "biliary",
    "adrenal": "adrenals",
    "adrenals": "adrenals",
    "kidneys": "kidneys",
    "kidneys and ureters": "kidneys",
    "bladder": "kidneys",
    "gi tract": "bowel",
    "gastrointestinal tract": "bowel",
    "stomach": "bowel",
    "peritoneal cavity": "peritoneum",
    "pelvic organs": "reproductive",
    "pelvis": "reproductive",
    "pelvic": "reproductive",
    "vasculature": "vessels",
    "circulatory": "vessels",
    "musculoskeletal": "bones",
    "bones and soft tissues": "bones",
    "abdominal wall": "soft_tissues",
    "heart": "heart",
    "conclusion": "impression",
    "thyroid": "neck",
}


@dataclass(frozen=True)
class Study:
    """One scan with what is known of it.

    Attributes:
        name: unique in the table. patient: scans of one patient stay in one part of the split.
        volume, masks: paths (masks None where there are none).
        report: whole text, "" for none. sections: key of SECTIONS -> text.
        labels: name -> whether the finding is there; names without a known value are left out.
        questions: (question, answer). facts: section -> structured findings as text (``radvlm.wording.fact_lines``).
    """

    name: str
    patient: str
    volume: Path
    masks: Path | None = None
    report: str = ""
    sections: Mapping[str, str] = field(default_factory=dict)
    labels: Mapping[str, bool] = field(default_factory=dict)
    questions: tuple[tuple[str, str], ...] = ()
    facts: Mapping[str, str] = field(default_factory=dict)

    @property
    def text(self) -> str:
        """The report, or its sections one after the other."""
        return self.report or " ".join(self.sections.values())


@dataclass(frozen=True)
class StudyTable:
    """All studies of a table, in its order; ``labels``: names of its label columns."""

    studies: tuple[Study, ...]
    labels: tuple[str, ...]

    def split(self, part: str, *, validation: float = 0.1, test: float = 0.0, seed: int = 0) -> tuple[Study, ...]:
        """Studies of ``train``, ``validation`` or ``test``; all of a patient fall into one."""
        if part not in PARTS:
            raise InputError(f"a part is one of {', '.join(PARTS)}", repr(part))
        return tuple(s for s in self.studies if part_of(s.patient, validation, test, seed) == part)


def load_table(path: str | Path, *, root: str | Path | None = None) -> StudyTable:
    """Read a ``.csv`` or ``.jsonl`` table.

    Args:
        root: folder that relative paths start from; None for the folder of the table.

    CSV columns: patient, study, volume; optional masks, report, ``section:<key of SECTIONS>``, ``label:<name>`` (1, 0,
    empty or -1). JSON lines: the same keys, with ``sections``, ``labels`` and ``facts`` as mappings and ``questions``
    as a list of ``{"question", "answer"}``. A report with headings ("LIVER: ...") gives its sections where none are
    given. Whether volumes exist is checked, their content is not.

    Raises FileFormatError for a file that is no such table, InputError for a row that breaks a rule, naming the row.
    """
    file = Path(path)
    base = file.parent if root is None else Path(root)
    rows = list(_csv_rows(file) if file.suffix == ".csv" else _json_rows(file))
    if not rows:
        raise FileFormatError("a table has at least one study", file.name, "Write one row a study")
    studies = [_study(row, base, f"{file.name}, row {n}") for n, row in enumerate(rows, 1)]
    seen: dict[str, str] = {}
    for study in studies:
        if study.name in seen:
            raise InputError("each study has a name of its own", f"{study.name} comes twice")
        seen[study.name] = study.patient
    names = dict.fromkeys(name for row in rows for name in row["labels"])
    return StudyTable(tuple(studies), tuple(names))


def label_arrays(studies: Sequence[Study], names: Sequence[str]) -> tuple[np.ndarray, np.ndarray]:
    """Truth (N, F) and where it is known (N, F), both bool."""
    truth = np.array([[s.labels.get(n, False) for n in names] for s in studies], bool).reshape(len(studies), len(names))
    known = np.array([[n in s.labels for n in names] for s in studies], bool).reshape(len(studies), len(names))
    return truth, known


def sections_of(report: str) -> dict[str, str]:
    """Text under each heading that names a section, by key of SECTIONS; text under other headings is left out."""
    found: dict[str, str] = {}
    marks = list(_HEADING.finditer(report))
    for n, mark in enumerate(marks):
        after = marks[n + 1] if n + 1 < len(marks) else None
        key = _section_of(mark.group(1))
        text = " ".join(report[mark.end() : after.start() if after else len(report)].split())
        if key and text:
            found[key] = f"{found[key]} {text}" if key in found else text
    return found


def _section_of(heading: str) -> str | None:
    words = " ".join(heading.lower().split())
    by_name = {name.lower(): key for key, name in SECTIONS.items()}
    return words if words in SECTIONS else by_name.get(words) or HEADINGS.get(words)


def _csv_rows(file: Path) -> Iterable[dict[str, Any]]:
    try:
        with file.open(encoding="utf-8-sig", newline="") as stream:
            reader = csv.DictReader(stream, strict=True)
            columns = [c or "" for c in reader.fieldnames or ()]
            _check_columns(columns, file)
            for number, row in enumerate(reader, 1):
                if None in row or None in row.values():
                    raise FileFormatError(
                        "every row has as many cells as the header",
                        f"{file.name}, row {number}",
                        "Quote texts that hold a comma or a line break",
                    )
                made: dict[str, Any] = {key: row.get(key, "") for key in STUDY_COLUMNS}
                made["sections"] = {
                    c.removeprefix(SECTION_COLUMN): row[c] for c in columns if c.startswith(SECTION_COLUMN)
                }
                made["labels"] = {c.removeprefix(LABEL_COLUMN): row[c] for c in columns if c.startswith(LABEL_COLUMN)}
                yield made
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        if isinstance(error, FileFormatError):
            raise
        raise FileFormatError("a table of studies is readable CSV in UTF-8", f"{file.name}: {error}") from error


def _check_columns(columns: Sequence[str], file: Path) -> None:
    missing = [c for c in STUDY_NEEDS if c not in columns]
    unknown = [c for c in columns if c not in STUDY_COLUMNS and not c.startswith((SECTION_COLUMN, LABEL_COLUMN))]
    twice = sorted({c for c in columns if columns.count(c) > 1})
    if missing or unknown or twice:
        said = [
            f"{word} {', '.join(found)}"
            for word, found in (("missing", missing), ("unknown", unknown), ("twice", twice))
            if found
        ]
        raise FileFormatError(
            f"columns are {', '.join(STUDY_COLUMNS)}, {SECTION_COLUMN}..., {LABEL_COLUMN}...",
            f"{file.name}: {'; '.join(said)}",
            "See docs/training.md",
        )


def _json_rows(file: Path) -> Iterable[dict[str, Any]]:
    try:
        lines = file.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise FileFormatError(
            "a table of studies is a .csv or .jsonl file in UTF-8", f"{file.name}: {error}"
        ) from error
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except ValueError as error:
            raise FileFormatError(
                "each line of a .jsonl table is JSON", f"{file.name}, line {number}: {error}"
            ) from error
        if not isinstance(row, dict) or (unknown := sorted(set(row) - set(_JSON))):
            raise FileFormatError(
                f"keys of a study are {', '.join(_JSON)}",
                f"{file.name}, line {number}: {', '.join(unknown) if isinstance(row, dict) else type(row).__name__}",
            )
        yield {**dict.fromkeys(STUDY_COLUMNS, ""), "sections": {}, "labels": {}, **row}


def _study(row: Mapping[str, Any], base: Path, where: str) -> Study:
    for key in STUDY_NEEDS:
        if not isinstance(row[key], str | int) or not str(row[key]).strip():
            raise InputError("a study has a patient, a name and a volume", f"{where}: {key} is {row[key]!r}")
    volume = base / str(row["volume"])
    masks = base / str(row["masks"]) if row.get("masks") else None
    for path in (volume, masks):
        if path is not None and not path.exists():
            raise InputError(
                "the files of a table exist",
                f"{where}: no {path.name}",
                "Relative paths start at the folder of the table, or at `root`",
            )
    report = str(row.get("report") or "").strip()
    sections = {k: str(v).strip() for k, v in dict(row["sections"]).items() if v and str(v).strip()}
    unknown = sorted(set(sections) - set(SECTIONS))
    if unknown:
        raise InputError(
            "a section is a key of radvlm.types.anatomy.SECTIONS",
            f"{where}: {', '.join(unknown)}",
            f"Choose one of {', '.join(SECTIONS)}",
        )
    labels = {
        name: held
        for name, value in dict(row["labels"]).items()
        if (held := _label(value, f"{where}, label {name}")) is not None
    }
    try:
        asked = tuple((str(q["question"]), str(q["answer"])) for q in row.get("questions") or ())
    except (TypeError, KeyError) as error:
        raise InputError("questions are mappings with question and answer", f"{where}: {error!r}") from error
    return Study(
        str(row["study"]).strip(),
        str(row["patient"]).strip(),
        volume,
        masks,
        report,
        sections or sections_of(report),
        labels,
        asked,
        dict(row.get("facts") or {}),
    )


def _label(value: Any, where: str) -> bool | None:
    if value is None or (isinstance(value, str) and not value.strip()):
        return None
    if isinstance(value, bool):
        return value
    try:
        number = float(value)
    except (TypeError, ValueError):
        number = float("nan")
    if number not in (0, 1, -1):
        raise InputError(
            "a label is 1, 0, or empty or -1 for unknown",
            f"{where}: {value!r}",
            "Cut probabilities at a threshold first",
        )
    return None if number == -1 else number == 1

"""Reading reports from JSONL, CSV, Parquet and folders, and pairing references with candidates by id.

Nothing is repaired. A repeated id, an empty report, a byte that is not UTF-8, a report of ten megabytes, a
candidate without a reference: each is one error that names the file and the line.
"""

from __future__ import annotations

import csv
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from radvlm.errors import FileFormatError, InputError
from radvlm.files.columns import REPORT_COLUMNS, plain
from radvlm.files.optional import importing
from radvlm.report_reader.report_text import ReportText

#: Longest report in characters. The longest CT reports have about 20,000; more is two columns swapped, or a whole file.
MAX_REPORT_CHARACTERS = 100_000


@dataclass(frozen=True)
class Columns:
    """Names of the columns (CSV, Parquet) or fields (JSONL); "" to recognize the usual names
    (``radvlm.files.columns``).

    A report is either one text, or findings and impression, or both sections of which one may be missing.
    ``patient_pattern`` is a regular expression with one group that cuts the patient out of the id, for data such as
    CT-RATE where ``valid_12_a_1.nii.gz`` belongs to patient ``valid_12``: ``^([a-z]+_[0-9]+)_``.
    """

    id: str = ""
    text: str = ""
    findings: str = ""
    impression: str = ""
    patient_id: str = ""
    patient_pattern: str = ""


def read_reports(
    path: str | Path, columns: Columns = Columns(), encoding: str = "utf-8", allow_empty: bool = False
) -> list[ReportText]:
    """Reports of a .jsonl, .csv, .tsv or .parquet file, or of a folder of .txt files or radvlm reports.

    Args:
        path: file or folder. In a folder the id is the name of the file, or of the subfolder holding ``report.json``.
        columns: names of the columns.
        encoding: of text files; a byte-order mark of UTF-8 is skipped.
        allow_empty: keep empty reports (a system that said nothing) instead of refusing them.

    Raises FileFormatError for an unreadable file and InputError for bad content, naming the line.
    """
    path = Path(path)
    readers = {".jsonl": _jsonl, ".ndjson": _jsonl, ".csv": _csv, ".tsv": _csv, ".parquet": _parquet}
    if path.is_dir():
        rows: Iterator[tuple[str, dict[str, Any]]] = _folder(path, encoding)
    elif not path.is_file():
        raise FileFormatError("a file or folder of reports exists", f"{path}, which does not exist")
    elif path.suffix.lower() not in readers:
        raise FileFormatError("reports are read from .jsonl, .csv, .tsv, .parquet or a folder of .txt files", path.name)
    else:
        rows = readers[path.suffix.lower()](path, encoding)
    return _reports(rows, columns, path.name, allow_empty)


def _reports(
    rows: Iterator[tuple[str, dict[str, Any]]], columns: Columns, name: str, allow_empty: bool
) -> list[ReportText]:
    reports: list[ReportText] = []
    seen: dict[str, str] = {}
    found: dict[str, str] = {}
    for where, row in rows:
        if not found or any(column not in row for column in found.values()):
            found = _find_columns(columns, row, where)
        report = _report(row, found, columns, where)
        if report.id in seen:
            raise InputError("ids are unique", f"{where}: {report.id!r} stands also in {seen[report.id]}")
        seen[report.id] = where
        if not report.text.strip() and not allow_empty:
            raise InputError(
                "a report has words",
                f"{where}: id {report.id!r} is empty",
                "Remove it, or allow empty reports to score what the system said: nothing",
            )
        if len(report.text) > MAX_REPORT_CHARACTERS:
            raise InputError(
                f"a report has at most {MAX_REPORT_CHARACTERS:,} characters",
                f"{where}: id {report.id!r} has {len(report.text):,}",
                "Check the column names and the quoting of the file",
            )
        reports.append(report)
    if not reports:
        raise InputError("a file of reports has at least one", name)
    return reports


def _find_columns(columns: Columns, row: Mapping[str, Any], where: str) -> dict[str, str]:
    """Role -> column of this file; InputError when a needed one is missing or two could be meant."""
    found: dict[str, str] = {}
    for role, names in REPORT_COLUMNS.items():
        asked = getattr(columns, role)
        if asked:
            if asked not in row:
                raise InputError(
                    f"the column for {role.replace('_', ' ')} exists",
                    f"{where}: no {asked!r} among {', '.join(map(repr, row))}",
                )
            found[role] = asked
            continue
        fitting = [c for c in row if isinstance(c, str) and plain(c) in names]
        exact = [c for c in fitting if c.lower() == role]
        if len(fitting) > 1 and len(exact) != 1:
            raise InputError(
                f"one column holds the {role.replace('_', ' ')}",
                f"{where}: {', '.join(map(repr, fitting))}",
                "Name the one that is meant",
            )
        if fitting:
            found[role] = (exact or fitting)[0]
    if columns.findings or columns.impression:
        if not columns.text:
            found.pop("text", None)
    elif "text" in found and not columns.text and ("findings" in found or "impression" in found):
        meant = [repr(found[role]) for role in ("text", "findings", "impression") if role in found]
        raise InputError(
            "a report is one text, or findings and impression",
            f"{where}: columns {', '.join(meant)}",
            "Name the column of the text, or those of findings and impression",
        )
    if columns.text:
        found.pop("findings", None)
        found.pop("impression", None)
    if "id" not in found:
        raise InputError(
            "every report has an id", f"{where}: columns {', '.join(map(repr, row))}", "Name the column of the id"
        )
    if not {"text", "findings", "impression"} & set(found):
        raise InputError(
            "a file of reports has a column with the text, or findings and impression",
            f"{where}: columns {', '.join(map(repr, row))}",
            "Name the column of the text",
        )
    return found


def _report(row: Mapping[str, Any], found: Mapping[str, str], columns: Columns, where: str) -> ReportText:
    id = _string(row[found["id"]], where, "id").strip()
    if not id:
        raise InputError("every report has an id", f"{where}: it is empty")
    patient = _string(row.get(found["patient_id"]) if "patient_id" in found else None, where, "patient id").strip()
    if columns.patient_pattern:
        match = re.search(columns.patient_pattern, id)
        if match is None or not match.groups():
            raise InputError(
                "the patient pattern has one group and matches every id",
                f"{where}: {columns.patient_pattern!r} on {id!r}",
            )
        patient = match.group(1)
    if "text" in found:
        value = row[found["text"]]
        if isinstance(value, Mapping):
            return _structured(id, value, patient, where)
        return ReportText.from_text(id, _string(value, where, "text"), patient, where)
    roles = [role for role in ("findings", "impression") if role in found]
    said = {role: text for role in roles if (text := _string(row.get(found[role]), where, role)).strip()}
    return ReportText.from_sections(id, said, patient, where)


def _structured(id: str, value: Mapping[str, Any], patient: str, where: str) -> ReportText:
    if "schema_version" in value and "sentences" in value:
        from radvlm.types.report import Report

        return ReportText.from_report(id, Report.from_json(json.dumps(value)), patient, where)
    return ReportText.from_sections(id, {k: _string(v, where, str(k)) for k, v in value.items()}, patient, where)


def _string(value: Any, where: str, what: str) -> str:
    if value is None or (isinstance(value, float) and value != value):
        return ""
    if isinstance(value, bool) or not isinstance(value, (str, int)):
        raise InputError(f"the {what} is text", f"{where}: {type(value).__name__}")
    text = str(value)
    if "\x00" in text:
        raise InputError("a report holds no zero bytes", f"{where}: {what}", "Save the file as UTF-8")
    try:
        text.encode("utf-8")
    except UnicodeEncodeError as error:
        raise InputError(
            "a report is valid Unicode", f"{where}: {what} has a lone surrogate at character {error.start + 1}"
        ) from error
    return text


def _lines(path: Path, encoding: str) -> Iterator[tuple[int, str]]:
    """Numbered lines, decoded one by one so that an error names its line."""
    with path.open("rb") as file:
        for number, raw in enumerate(file, 1):
            if number == 1 and raw[:2] in (b"\xff\xfe", b"\xfe\xff"):
                raise FileFormatError("text files are UTF-8", f"{path.name}: UTF-16", "Save the file as UTF-8")
            if number == 1 and raw.startswith(b"\xef\xbb\xbf"):
                raw = raw[3:]
            try:
                yield number, raw.decode(encoding)
            except UnicodeDecodeError as error:
                raise FileFormatError(
                    f"text files are {encoding.upper()}",
                    f"{path.name} line {number}: byte 0x{raw[error.start]:02x} at position {error.start + 1}",
                    "Save the file as UTF-8, or pass its encoding",
                ) from error
            except LookupError as error:
                raise InputError("an encoding that Python knows", repr(encoding)) from error


def _jsonl(path: Path, encoding: str) -> Iterator[tuple[str, dict[str, Any]]]:
    for number, line in _lines(path, encoding):
        if not line.strip():
            continue
        where = f"{path.name} line {number}"
        try:
            row = json.loads(line)
        except json.JSONDecodeError as error:
            raise FileFormatError(
                "each line of a .jsonl file is one JSON object", f"{where}, column {error.colno}: {error.msg}"
            ) from error
        if not isinstance(row, dict):
            raise FileFormatError("each line of a .jsonl file is one JSON object", f"{where}: {type(row).__name__}")
        yield where, row


def _csv(path: Path, encoding: str) -> Iterator[tuple[str, dict[str, Any]]]:
    lines = _lines(path, encoding)
    header = next(lines, (1, ""))[1]
    if not header.strip():
        raise FileFormatError("the first line of a CSV file names its columns", path.name)
    delimiter = "\t" if path.suffix.lower() == ".tsv" else max(",;\t", key=header.count)
    names = next(csv.reader([header], delimiter=delimiter))
    if len(set(names)) != len(names):
        raise FileFormatError("the columns of a CSV file have different names", f"{path.name}: {', '.join(names)}")
    reader = csv.reader((line for _, line in lines), delimiter=delimiter, strict=True)
    start = 2
    try:
        for values in reader:
            where = f"{path.name} line {start}"
            start = reader.line_num + 2
            if not values:
                continue
            if len(values) != len(names):
                raise FileFormatError(
                    "each row of a CSV file has one value for each column",
                    f"{where}: {len(values)} values for {len(names)} columns",
                    "Quote texts that hold the delimiter or line breaks",
                )
            yield where, dict(zip(names, values, strict=True))
    except csv.Error as error:
        remedy = (
            "Check the quoting: a quotation mark that is never closed swallows the lines after it"
            if "field larger" in str(error)
            else ""
        )
        raise FileFormatError("a CSV file is well formed", f"{path.name} line {start}: {error}", remedy) from error


def parquet_rows(path: Path) -> list[dict[str, Any]]:
    """All rows of a Parquet file; MissingPackageError without pyarrow, FileFormatError for another file."""
    with importing("pyarrow", "reading Parquet needs pyarrow", path.name, "save the table as JSONL"):
        import pyarrow.parquet as parquet
        from pyarrow import ArrowException

    try:
        rows: list[dict[str, Any]] = parquet.read_table(path).to_pylist()
    except (ArrowException, OSError) as error:
        raise FileFormatError("a Parquet file that pyarrow can read", f"{path.name}: {error}") from error
    return rows


def _parquet(path: Path, encoding: str) -> Iterator[tuple[str, dict[str, Any]]]:
    for number, row in enumerate(parquet_rows(path), 1):
        yield f"{path.name} row {number}", row


def _folder(path: Path, encoding: str) -> Iterator[tuple[str, dict[str, Any]]]:
    reports = sorted(path.glob("*/report.json"))
    texts = sorted(path.glob("*.txt"))
    if bool(reports) == bool(texts):
        raise FileFormatError(
            "a folder of reports holds NAME.txt files, or NAME/report.json of radvlm, not both",
            f"{path.name}: {len(texts)} and {len(reports)}",
        )
    for file in texts:
        yield file.name, {"id": file.stem, "text": "".join(line for _, line in _lines(file, encoding))}
    for file in reports:
        where = f"{file.parent.name}/{file.name}"
        try:
            content = json.loads("".join(line for _, line in _lines(file, "utf-8")))
        except json.JSONDecodeError as error:
            raise FileFormatError("report.json is JSON", f"{where} line {error.lineno}: {error.msg}") from error
        yield where, {"id": file.parent.name, "text": content}


def pair(
    references: Sequence[ReportText], candidates: Sequence[ReportText], system: str, allow_missing: bool = False
) -> list[ReportText | None]:
    """Candidates in the order of the references, paired by id.

    With ``allow_missing`` a reference without candidate gives None, to be counted as failed, and candidates without
    reference are left out; otherwise both are an InputError. Patient ids are those of the references.
    """
    by_id: dict[str, ReportText] = {}
    for report in candidates:
        if report.id in by_id:
            raise InputError("ids are unique", f"{report.source or system}: {report.id!r} stands there twice")
        by_id[report.id] = report
    known = {r.id: r for r in references}
    if len(known) != len(references):
        twice = next(r for n, r in enumerate(references) if any(o.id == r.id for o in references[:n]))
        raise InputError("ids are unique", f"{twice.source or 'references'}: {twice.id!r} stands there twice")
    missing = [r for r in references if r.id not in by_id]
    surplus = [c for c in candidates if c.id not in known]
    if (missing or surplus) and not allow_missing:
        report, what = (missing[0], "reference") if missing else (surplus[0], "candidate")
        counts = (
            f"{len(missing)} of {len(references)} references have no candidate and {len(surplus)} of "
            f"{len(candidates)} candidates no reference"
        )
        where = f" ({report.source})" if report.source else ""
        raise InputError(
            "references and candidates have the same ids",
            f"{system}: {counts}; first {what} {report.id!r}{where}",
            "Complete the files, or allow missing candidates to count them as failed",
        )
    for reference in references:
        candidate = by_id.get(reference.id)
        patients = {reference.patient_id, candidate.patient_id if candidate else ""} - {""}
        if candidate is not None and len(patients) > 1:
            raise InputError(
                "a case has one patient id",
                f"{candidate.source or system}: {reference.id!r} is {reference.patient_id!r} in the "
                f"references and {candidate.patient_id!r} in the candidates",
            )
    return [by_id.get(r.id) for r in references]

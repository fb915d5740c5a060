"""Names of columns: every name that is listed is recognized by what reads the table."""

from __future__ import annotations

import csv
from dataclasses import fields
from pathlib import Path

import pytest

from radvlm.errors import FileFormatError
from radvlm.evaluate.inputs import Columns, read_reports
from radvlm.evaluate.judge.rated_sets import load_calibration_set
from radvlm.files.columns import PAIR_COLUMNS, RECORD_NEEDS, REPORT_COLUMNS, find_column, plain
from radvlm.retrieve import Record
from radvlm.retrieve.records import read_records


def _write(path: Path, columns: list[str], row: list[str]) -> Path:
    with path.open("w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows([columns, row])
    return path


def test_a_name_has_one_meaning() -> None:
    for table in (REPORT_COLUMNS, PAIR_COLUMNS):
        names = [plain(name) for names in table.values() for name in names]
        assert len(set(names)) == len(names)
    assert all(plain(name) == name for names in REPORT_COLUMNS.values() for name in names)
    assert set(REPORT_COLUMNS) <= {f.name for f in fields(Columns)}
    assert set(RECORD_NEEDS) <= {f.name for f in fields(Record)}


@pytest.mark.parametrize(("role", "name"), [(role, name) for role, names in REPORT_COLUMNS.items() for name in names])
def test_names_of_columns_of_reports(tmp_path: Path, role: str, name: str) -> None:
    columns = {"id": "id", "text": "text", "patient_id": "patient_id"}
    if role in ("findings", "impression"):
        del columns["text"]
    columns[role] = name.upper()
    values = {"id": "a", "patient_id": "p", "text": "Normal.", "findings": "Normal.", "impression": "Normal."}
    [report] = read_reports(_write(tmp_path / "t.csv", list(columns.values()), [values[r] for r in columns]))
    assert (report.id, report.patient) == ("a", "p") and "Normal." in report.text


@pytest.mark.parametrize(
    ("role", "name"),
    [(role, name) for role, names in PAIR_COLUMNS.items() for name in (*names, f" {names[-1].title()}")],
)
def test_names_of_columns_of_rated_pairs(tmp_path: Path, role: str, name: str) -> None:
    columns = {"id": "id", "reference": "reference", "candidate": "candidate", role: name}
    path = _write(tmp_path / "t.csv", [*columns.values(), "total"], [*columns, "2"])
    [case] = load_calibration_set("table", path).cases
    assert (case.id, case.reference, case.candidate) == ("id", "reference", "candidate")


def test_a_column_that_is_missing_is_told_by_its_names(tmp_path: Path) -> None:
    path = _write(tmp_path / "t.csv", ["id", "reference", "total"], ["a", "b", "1"])
    with pytest.raises(FileFormatError, match="a column for the candidate: candidate, candidate_report"):
        load_calibration_set("table", path)
    with pytest.raises(FileFormatError, match="patient, study and text"):
        lines = tmp_path / "r.jsonl"
        lines.write_text('{"patient": "p", "study": "s"}\n')
        list(read_records(lines))


def test_the_first_known_name_counts() -> None:
    assert find_column(("id", "study_id"), ["Study-ID", "ID"]) == "ID"
    assert find_column(("id", "study_id"), ["other", "Study ID"]) == "Study ID"
    assert find_column(("id",), ["idx"]) is None

"""Reading reports: what is accepted, and that each broken file is one error that names the line."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from radvlm.errors import FileFormatError, InputError, MissingPackageError, RadvlmError
from radvlm.evaluate.inputs import Columns, pair, read_reports
from radvlm.report_reader.report_text import ReportText, find_sections


def _write(tmp_path: Path, name: str, content: str | bytes) -> Path:
    path = tmp_path / name
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


def _jsonl(*rows: dict) -> str:
    return "".join(json.dumps(row) + "\n" for row in rows)


def test_jsonl_csv_and_folder_give_the_same_reports(tmp_path: Path) -> None:
    rows = [
        {"id": "a", "report": 'Normal, "clear" liver.\nNo cyst.', "patient_id": "p1"},
        {"id": "b", "report": "FINDINGS: Cyst.\nIMPRESSION: Cyst of 3 mm.", "patient_id": "p1"},
    ]
    first = read_reports(_write(tmp_path, "x.jsonl", _jsonl(*rows)))
    quoted = "\n".join(f'{r["id"]},"{r["report"].replace(chr(34), chr(34) * 2)}",{r["patient_id"]}' for r in rows)
    second = read_reports(_write(tmp_path, "x.csv", "\ufeffid,report,patient_id\n" + quoted + "\n"))
    third = read_reports(
        _write(
            tmp_path,
            "x.tsv",
            ("id,report,patient_id\n" + quoted)
            .replace(",p1", "\tp1")
            .replace("id,report,patient_id", "id\treport\tpatient_id")
            .replace('a,"', 'a\t"')
            .replace('b,"', 'b\t"'),
        )
    )
    assert first == second == third
    assert [r.patient for r in first] == ["p1", "p1"]
    assert first[1].impression == "Cyst of 3 mm." and first[0].impression is None
    folder = tmp_path / "texts"
    folder.mkdir()
    for row in rows:
        (folder / f"{row['id']}.txt").write_text(row["report"])
    assert [(r.id, r.text) for r in read_reports(folder)] == [(r.id, r.text) for r in first]


def test_parquet_or_a_clear_message(tmp_path: Path) -> None:
    try:
        import pyarrow as pa
        import pyarrow.parquet as pq
    except ImportError:
        path = _write(tmp_path, "x.parquet", b"PAR1")
        with pytest.raises(MissingPackageError, match="pyarrow"):
            read_reports(path)
        return
    path = tmp_path / "x.parquet"
    pq.write_table(pa.table({"id": ["a"], "text": ["Normal."]}), path)
    assert read_reports(path)[0].text == "Normal."


def test_columns_of_public_datasets_are_recognized(tmp_path: Path) -> None:
    path = _write(
        tmp_path,
        "ctrate.csv",
        "VolumeName,ClinicalInformation_EN,Findings_EN,Impressions_EN\n"
        "valid_1_a_1.nii.gz,Cough,Clear lungs.,Normal.\nvalid_1_b_1.nii.gz,,A nodule.,\n",
    )
    reports = read_reports(path, Columns(patient_pattern=r"^(valid_\d+)_"))
    assert [r.patient for r in reports] == ["valid_1", "valid_1"]
    assert (reports[0].findings, reports[0].impression) == ("Clear lungs.", "Normal.")
    assert (reports[1].text, reports[1].impression) == ("A nodule.", None)
    only = read_reports(_write(tmp_path, "y.jsonl", _jsonl({"case": 7, "words": "Normal."})), Columns(text="words"))
    assert only[0].id == "7"


def test_sectioned_and_structured_reports(tmp_path: Path) -> None:
    rows = _jsonl({"id": "a", "report": {"findings": "Clear.", "impression": "Normal."}})
    [report] = read_reports(_write(tmp_path, "x.jsonl", rows))
    assert report.text == "FINDINGS: Clear.\n\nIMPRESSION: Normal."
    assert [report.text[s.start : s.stop] for s in report.sections] == ["Clear.", "Normal."]


BROKEN = {
    "not json": (b'{"id": "a", "text": "x"}\n{"id": "b", text}\n', "x.jsonl line 2"),
    "not an object": (b'["a", "x"]\n', "x.jsonl line 1"),
    "duplicate id": (b'{"id": "a", "text": "x"}\n\n{"id": "a", "text": "y"}\n', "x.jsonl line 3.*x.jsonl line 1"),
    "empty report": (b'{"id": "a", "text": "x"}\n{"id": "b", "text": "  "}\n', "line 2: id 'b' is empty"),
    "null report": (b'{"id": "b", "text": null}\n', "line 1: id 'b' is empty"),
    "empty id": (b'{"id": "", "text": "x"}\n', "line 1"),
    "latin-1": ('{"id": "a", "text": "x"}\n{"id": "b", "text": "Ödem"}\n'.encode("latin-1"), "line 2: byte 0xd6"),
    "utf-16": ('{"id": "a", "text": "x"}\n'.encode("utf-16"), "UTF-16"),
    "zero bytes": (b'{"id": "a", "text": "x\\u0000y"}\n', "line 1"),
    "lone surrogate": (b'{"id": "a", "text": "x\\ud800y"}\n', "line 1.*surrogate"),
    "ten megabytes": (json.dumps({"id": "a", "text": "normal liver " * 800_000}).encode(), "line 1: id 'a' has 10,4"),
    "no text column": (b'{"id": "a", "words": "x"}\n', "line 1: columns 'id', 'words'"),
    "no id": (b'{"text": "x"}\n', "line 1"),
    "two columns for the text": (
        b'{"id": "a", "Report Text": "x", "generated_report": "y"}\n',
        "'Report Text', 'generated_report'",
    ),
    "text and findings": (b'{"id": "a", "text": "x", "findings": "y"}\n', "'text', 'findings'"),
    "a number for a text": (b'{"id": "a", "text": 1.5}\n', "line 1: float"),
    "nothing": (b"\n\n", "x.jsonl"),
    "report of another schema": (b'{"id": "a", "text": {"schema_version": "9.0", "sentences": []}}\n', "9.0"),
}


@pytest.mark.slow
@pytest.mark.parametrize("name", BROKEN)
def test_a_broken_jsonl_is_one_error_that_names_the_line(tmp_path: Path, name: str) -> None:
    content, message = BROKEN[name]
    with pytest.raises(RadvlmError, match=message):
        read_reports(_write(tmp_path, "x.jsonl", content))


BROKEN_CSV = {
    "a column too many": ("id,text\na,one\nb,two, three\n", "line 3: 3 values for 2 columns"),
    "after a text of two lines": ('id,text\na,"one\ntwo"\nb\n', "line 4: 1 values"),
    "open quotation": ('id,text\na,"one\nb,two\n', "line 2"),
    "open quotation and a big file": ('id,text\na,ok\nb,"one\n' + "normal liver\n" * 20_000, "line 3.*quot"),
    "empty header": ("\n", "names its columns"),
    "repeated column": ("id,text,text\na,b,c\n", "different names"),
    "duplicate id": ("id,text\na,b\na,c\n", "line 3.*line 2"),
}


@pytest.mark.parametrize("name", BROKEN_CSV)
def test_a_broken_csv_is_one_error_that_names_the_line(tmp_path: Path, name: str) -> None:
    content, message = BROKEN_CSV[name]
    with pytest.raises(RadvlmError, match=message):
        read_reports(_write(tmp_path, "x.csv", content))


def test_files_that_are_not_there_or_of_another_kind(tmp_path: Path) -> None:
    with pytest.raises(FileFormatError, match="exists"):
        read_reports(tmp_path / "none.jsonl")
    with pytest.raises(FileFormatError, match=r"x\.docx"):
        read_reports(_write(tmp_path, "x.docx", "text"))
    with pytest.raises(FileFormatError, match="folder"):
        read_reports(tmp_path)
    with pytest.raises(InputError, match="no 'nope' among 'id', 'text'"):
        read_reports(_write(tmp_path, "x.jsonl", _jsonl({"id": "a", "text": "x"})), Columns(text="nope"))
    with pytest.raises(InputError, match="patient pattern"):
        read_reports(_write(tmp_path, "x.jsonl", _jsonl({"id": "a", "text": "x"})), Columns(patient_pattern="^(b)"))
    path = _write(tmp_path, "l.jsonl", '{"id": "a", "text": "Ödem"}'.encode("latin-1"))
    assert read_reports(path, encoding="latin-1")[0].text == "Ödem"
    assert read_reports(_write(tmp_path, "e.jsonl", _jsonl({"id": "a", "text": ""})), allow_empty=True)[0].text == ""


def _texts(*ids: str, patient: str = "") -> list[ReportText]:
    return [ReportText(i, f"text {i}", patient, source=f"c.jsonl line {n}") for n, i in enumerate(ids, 1)]


def test_pairing() -> None:
    assert [c and c.id for c in pair(_texts("a", "b"), _texts("b", "a"), "s")] == ["a", "b"]
    with pytest.raises(InputError, match=r"s: 1 of 2 references have no candidate and 0 of 1.*'b' \(c.jsonl line 2\)"):
        pair(_texts("a", "b"), _texts("a"), "s")
    with pytest.raises(InputError, match=r"1 of 2 candidates no reference; first candidate 'z' \(c.jsonl line 2\)"):
        pair(_texts("a"), _texts("a", "z"), "s")
    with pytest.raises(InputError, match="line 2: 'a' stands there twice"):
        pair(_texts("a"), _texts("a", "a"), "s")
    with pytest.raises(InputError, match="twice"):
        pair(_texts("a", "a"), _texts("a"), "s")
    with pytest.raises(InputError, match="one patient id"):
        pair(_texts("a", patient="p"), _texts("a", patient="q"), "s")
    assert pair(_texts("a", "b"), _texts("b", "z"), "s", allow_missing=True)[0] is None


def test_headings_become_sections() -> None:
    text = "CT\nIndication: cough.\nFINDINGS: Clear lungs. The report of 2019: same.\n\n**Impression**\n1. Normal."
    report = ReportText.from_text("a", text)
    assert [s.name for s in report.sections] == ["history", "findings", "impression"]
    assert report.findings == "Clear lungs. The report of 2019: same." and report.impression == "1. Normal."
    assert find_sections("No finding here. In summary normal.") == ()
    one_line = ReportText.from_text("a", "Findings: clear lungs IMPRESSION: normal")
    assert (one_line.findings, one_line.impression) == ("clear lungs", "normal")
    with pytest.raises(InputError, match="string, a mapping"):
        ReportText.of("a", 7)


def test_a_column_without_a_name_is_no_patient(tmp_path: Path) -> None:
    """pandas writes its index so; whatever stands there is nobody's id."""
    (report,) = read_reports(_write(tmp_path, "x.csv", "id,,text\na,1,The liver.\n"))
    assert (report.id, report.patient_id) == ("a", "")

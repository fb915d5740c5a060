"""Parquet in: the same reports, and the same evaluation, as from JSONL. Skips where pyarrow is not installed."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from radvlm.cli.main import main
from radvlm.errors import FileFormatError, InputError
from radvlm.evaluate.inputs import Columns, read_reports

pa = pytest.importorskip("pyarrow", reason="Parquet needs pyarrow")
pq = pytest.importorskip("pyarrow.parquet", reason="Parquet needs pyarrow")

ROWS: list[dict[str, Any]] = [
    {
        "id": f"c{n}",
        "findings": f'Ödem, "{n} mm" nodule in the right upper lobe.\nNo effusion.',
        "impression": None if n % 3 else "Nodule.",
        "patient_id": f"p{n // 2}",
    }
    for n in range(7)
]


def parquet(path: Path, rows: list[dict[str, Any]], **options: Any) -> Path:
    pq.write_table(pa.Table.from_pylist(rows), path, **options)
    return path


def jsonl(path: Path, rows: list[dict[str, Any]]) -> Path:
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")
    return path


@pytest.mark.parametrize(
    "options",
    [{}, {"compression": "gzip", "row_group_size": 2}, {"use_dictionary": False}],
    ids=["plain", "gzip in groups", "no dictionary"],
)
def test_the_same_reports_as_from_jsonl(tmp_path: Path, options: dict[str, Any]) -> None:
    first = read_reports(parquet(tmp_path / "x.parquet", ROWS, **options))
    second = read_reports(jsonl(tmp_path / "x.jsonl", ROWS))
    assert first == second and len(first) == 7
    assert first[3].impression == "Nodule." and first[1].impression is None
    assert first[2].findings == ROWS[2]["findings"] and first[3].patient == "p1"
    assert [r.source for r in first[:2]] == ["x.parquet row 1", "x.parquet row 2"]


def test_other_types_of_columns(tmp_path: Path) -> None:
    table = pa.table(
        {
            "VolumeName": pa.array(["valid_1_a_1.nii.gz", "valid_1_b_1.nii.gz"]).dictionary_encode(),
            "Findings_EN": pa.array(["Clear.", "A nodule."], pa.large_string()),
            "Impressions_EN": pa.array(["Normal.", None], pa.string()),
        }
    )
    pq.write_table(table, tmp_path / "ctrate.parquet")
    reports = read_reports(tmp_path / "ctrate.parquet", Columns(patient_pattern=r"^(valid_\d+)_"))
    assert [(r.id, r.patient, r.impression) for r in reports] == [
        ("valid_1_a_1.nii.gz", "valid_1", "Normal."),
        ("valid_1_b_1.nii.gz", "valid_1", None),
    ]
    numbers = parquet(tmp_path / "n.parquet", [{"id": 7, "text": "Normal."}])
    assert read_reports(numbers)[0].id == "7"


def test_errors_name_the_row(tmp_path: Path) -> None:
    empty = [{"id": "a", "text": "Normal."}, {"id": "b", "text": None}]
    with pytest.raises(InputError, match=r"x\.parquet row 2: id 'b' is empty"):
        read_reports(parquet(tmp_path / "x.parquet", empty))
    with pytest.raises(InputError, match=r"x\.parquet row 2.*row 1"):
        read_reports(parquet(tmp_path / "x.parquet", [{"id": "a", "text": "x"}, {"id": "a", "text": "y"}]))
    (tmp_path / "cut.parquet").write_bytes((tmp_path / "x.parquet").read_bytes()[:-9])
    with pytest.raises(FileFormatError, match=r"cut\.parquet"):
        read_reports(tmp_path / "cut.parquet")


@pytest.mark.slow
def test_the_command_gives_the_same_summary(tmp_path: Path) -> None:
    said = [{**row, "findings": row["findings"].replace("right", "left")} for row in ROWS]
    summaries = []
    for kind, write in (("parquet", parquet), ("jsonl", jsonl)):
        write(tmp_path / f"ref.{kind}", ROWS)
        write(tmp_path / f"sys.{kind}", said)
        out = tmp_path / kind
        assert (
            main(
                [
                    "evaluate",
                    "--reference",
                    str(tmp_path / f"ref.{kind}"),
                    "--candidate",
                    str(tmp_path / f"sys.{kind}"),
                    "--bootstraps",
                    "50",
                    "--permutations",
                    "50",
                    "-q",
                    "-o",
                    str(out),
                ]
            )
            == 0
        )
        summaries.append(json.loads((out / "summary.json").read_text()))
    assert summaries[0] == summaries[1]
    [wrong] = [v for v in summaries[0]["values"] if (v["system"], v["output"]) == ("sys", "wrong_location")]
    assert wrong["value"] > 0

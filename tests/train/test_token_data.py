"""A user's table: what is read, who is kept together, and how each mistake is told."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from radvlm.errors import FileFormatError, InputError
from radvlm.train.data import label_arrays, load_table, sections_of

HEAD = "patient,study,volume,masks,report,section:liver,label:ascites,label:cyst\n"


def table(folder: Path, text: str, name: str = "t.csv") -> Path:
    for file in ("a.nii.gz", "m.nii.gz"):
        (folder / file).touch()
    (folder / name).write_text(text, encoding="utf-8")
    return folder / name


def test_a_csv_with_unknown_labels_and_headings(tmp_path: Path) -> None:
    rows = (
        'p1,s1,a.nii.gz,m.nii.gz,"Lower thorax: Clear.\nKIDNEYS: A cyst,\n left.\nTechnique notes: none",,1,-1\n'
        "p2,s2,a.nii.gz,,,Normal liver.,0,\n"
    )
    found = load_table(table(tmp_path, HEAD + rows))
    one, two = found.studies
    assert found.labels == ("ascites", "cyst")
    assert one.sections == {"lungs": "Clear.", "kidneys": "A cyst, left."}
    assert one.labels == {"ascites": True} and two.labels == {"ascites": False}
    assert one.masks == tmp_path / "m.nii.gz" and two.masks is None and two.text == "Normal liver."
    truth, known = label_arrays(found.studies, found.labels)
    np.testing.assert_array_equal(truth, [[True, False], [False, False]])
    np.testing.assert_array_equal(known, [[True, False], [True, False]])


def test_json_lines_hold_questions_and_facts(tmp_path: Path) -> None:
    row = {
        "patient": "p",
        "study": 7,
        "volume": "a.nii.gz",
        "sections": {"spleen": "Large."},
        "labels": {"x": True},
        "questions": [{"question": "Large?", "answer": "Yes"}],
        "facts": {"spleen": "spleen | 400 mL"},
    }
    study = load_table(table(tmp_path, json.dumps(row) + "\n\n", "t.jsonl")).studies[0]
    assert study.name == "7" and study.questions == (("Large?", "Yes"),) and study.facts["spleen"] == "spleen | 400 mL"


def test_no_patient_is_in_two_parts_and_none_is_lost(tmp_path: Path) -> None:
    rows = "".join(f"p{n % 40},s{n},a.nii.gz,,,,0,0\n" for n in range(120))
    found = load_table(table(tmp_path, HEAD + rows))
    parts = [found.split(p, validation=0.2, test=0.2) for p in ("train", "validation", "test")]
    people = [{s.patient for s in part} for part in parts]
    assert sum(len(p) for p in parts) == 120 and all(people)
    assert not (people[0] & people[1] or people[0] & people[2] or people[1] & people[2])
    more = load_table(table(tmp_path, HEAD + rows + "new,s999,a.nii.gz,,,,0,0\n"))
    assert {s.name for s in parts[1]} <= {s.name for s in more.split("validation", validation=0.2, test=0.2)}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("patient,study\np,s\n", "missing volume"),
        (HEAD.replace("report", "raport"), "unknown raport"),
        (HEAD.replace("label:cyst", "label:ascites"), "twice label:ascites"),
        (HEAD, "at least one study"),
        (HEAD + "p,s,a.nii.gz,,,,0\n", "as many cells"),
        (HEAD + "p,s,a.nii.gz,,,,0,0,0\n", "as many cells"),
        (HEAD + ",s,a.nii.gz,,,,0,0\n", "row 1: patient"),
        (HEAD + "p,s,b.nii.gz,,,,0,0\n", "row 1: no b.nii.gz"),
        (HEAD + "p,s,a.nii.gz,x.nii.gz,,,0,0\n", "no x.nii.gz"),
        (HEAD + "p,s,a.nii.gz,,,,0.7,0\n", "label ascites: '0.7'"),
        (HEAD + "p,s,a.nii.gz,,,,nan,0\n", "label ascites"),
        (HEAD + "p,s,a.nii.gz,,,,0,0\nq,s,a.nii.gz,,,,0,0\n", "s comes twice"),
        (HEAD.replace("liver", "belly") + "p,s,a.nii.gz,,,x,0,0\n", "belly"),
    ],
)
def test_a_bad_table_is_one_clear_error(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises((InputError, FileFormatError), match=message):
        load_table(table(tmp_path, text))


@pytest.mark.parametrize("line", ["{", "[]", '{"patient": "p", "studie": 1}'])
def test_a_bad_json_line_is_named(tmp_path: Path, line: str) -> None:
    with pytest.raises(FileFormatError, match="line 1"):
        load_table(table(tmp_path, line, "t.jsonl"))


def test_text_under_foreign_headings_is_left_out() -> None:
    assert sections_of("HISTORY: Pain.\nLIVER AND SPLEEN: Fine.\nSpleen: Large.") == {"spleen": "Large."}
    assert sections_of("No headings here.") == {}

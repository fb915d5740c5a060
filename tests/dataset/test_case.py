"""What counts as present in a case, and a corpus split by patient."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from radvlm.dataset.case import Case, Corpus, part_of
from radvlm.errors import FileFormatError, InputError
from radvlm.types.finding_kinds import finding_kinds
from tests.dataset.conftest import MakeCase, document, lesion


def test_truth_is_in_the_order_of_the_vocabulary(make_case: MakeCase) -> None:
    case = make_case([lesion("spleen_cyst"), lesion("kidney_cyst", "left"), lesion("steatosis")])
    held = [name for name, there in zip(finding_kinds(), case.findings, strict=True) if there]
    assert held == ["steatosis", "spleen_cyst", "kidney_cyst"]
    assert case.of("kidney_cyst")[0].site == "kidney_left"
    assert case.of("kidney_cyst")[0].structure == "kidney_cyst_left"


def test_outside_the_field_is_not_present_and_what_has_no_voxels_is_not_known(make_case: MakeCase) -> None:
    case = make_case(
        [lesion("spleen_cyst", in_field="outside"), lesion("kidney_stone", "left")],
        volumes_ml={"kidney_stone_left": 0.0},
    )
    assert not case.present("spleen_cyst") and not case.present("kidney_stone")
    known = dict(zip(finding_kinds(), case.known, strict=True))
    assert known["spleen_cyst"], "the spleen is imaged and no cyst is in it"
    assert not known["kidney_stone"], "too small for a voxel: neither present nor absent"


@pytest.mark.parametrize(
    ("finding", "size", "volumes", "present"),
    [
        ("hepatomegaly", 1950, {"liver": 1950.0}, True),
        ("hepatomegaly", 1950, {"liver": 1500.0}, False),
        ("splenomegaly", 330, {"spleen": 330.0}, True),
        ("splenomegaly", 300, {"spleen": 300.0}, False),
        ("steatosis", 40, {}, True),
        ("steatosis", 41, {}, False),
        ("hydronephrosis", 15, {}, True),
        ("hydronephrosis", 14.9, {}, False),
        ("aortic_aneurysm", 30, {}, True),
        ("aortic_aneurysm", 29, {}, False),
    ],
)
def test_findings_of_an_organ_count_from_their_limit(
    make_case: MakeCase, finding: str, size: float, volumes: dict[str, float], present: bool
) -> None:
    case = make_case([lesion(finding, "left" if finding == "hydronephrosis" else "", size=size)], volumes_ml=volumes)
    assert case.present(finding) is present
    assert bool(case.known[list(finding_kinds()).index(finding)]) is present, "below its limit it is undecided"


def test_an_organ_that_is_not_imaged_is_not_known(make_case: MakeCase) -> None:
    case = make_case([], without=("uterus", "kidney_left"))
    assert not case.imaged("uterine_fibroid") and case.imaged("kidney_cyst") and case.imaged("ascites")
    assert not case.known[list(finding_kinds()).index("uterine_fibroid")]


def test_arrays_are_mapped_and_must_have_the_stated_shape(make_case: MakeCase) -> None:
    case = make_case()
    np.save(case.folder / "hu.npy", np.arange(24, dtype=np.int16).reshape(2, 3, 4))
    np.save(case.folder / "parts.npy", np.zeros((4, 3, 2), np.uint8))
    assert isinstance(case.hu, np.memmap) and case.hu[1, 2, 3] == 23 and case.spacing_mm == (3.0, 3.0, 3.0)
    with pytest.raises(FileFormatError, match="shape of case"):
        case.parts  # noqa: B018
    with pytest.raises(FileFormatError, match=r"classes\.npy"):
        case.classes  # noqa: B018


@pytest.mark.parametrize(
    "change", [{"volumes_ml": None}, {"shape": [1, 2]}, {"affine_ras_mm": [1]}, {"truth": {"lesions": [{}]}}]
)
def test_a_malformed_case_is_one_clear_error(tmp_path: Path, change: dict) -> None:
    (tmp_path / "case.json").write_text(json.dumps({**document([]), **change}))
    with pytest.raises(FileFormatError, match=r"case\.json"):
        Case(tmp_path)


def test_missing_folder_and_unknown_names(tmp_path: Path, make_case: MakeCase) -> None:
    with pytest.raises(FileFormatError, match=r"case\.json"):
        Case(tmp_path / "nowhere")
    with pytest.raises(FileFormatError, match="corpus is a folder"):
        Corpus(tmp_path)
    with pytest.raises(InputError, match="vocabulary"):
        make_case([]).present("broken_heart")
    with pytest.raises(InputError, match="vocabulary"):
        Case(_odd(tmp_path))


def _odd(folder: Path) -> Path:
    data = document([])
    data["truth"]["lesions"] = [{**lesion("spleen_cyst"), "kind": "unheard"}]
    (folder / "case.json").write_text(json.dumps(data))
    return folder


def test_a_corpus_is_sorted_and_its_split_is_by_patient_and_never_moves(tmp_path: Path, make_case: MakeCase) -> None:
    for n in (3, 1, 2):
        make_case([lesion("ascites")] if n == 1 else [], name=f"case-{n}")
    corpus = Corpus(tmp_path)
    assert [c.name for c in corpus] == ["case-1", "case-2", "case-3"] and corpus[-1].name == "case-3"
    assert [c.name for c in corpus[:2]] == ["case-1", "case-2"] and corpus[0] is corpus[0]
    assert corpus.truth().shape == (3, 37) and corpus.truth().sum() == 1
    parts = [corpus.split(p, validation=0.3, test=0.3) for p in ("train", "validation", "test")]
    assert sorted(c.name for part in parts for c in part) == ["case-1", "case-2", "case-3"]
    with pytest.raises(InputError, match="a part is"):
        corpus.split("all")
    with pytest.raises(InputError, match="shares"):
        corpus.split("train", validation=0.7, test=0.3)
    names = [f"p{n}" for n in range(4000)]
    held = [part_of(n, 0.1, 0.2) for n in names]
    assert abs(held.count("validation") / 4000 - 0.1) < 0.02 and abs(held.count("test") / 4000 - 0.2) < 0.02
    assert [part_of(n, 0.1, 0.2, seed=1) for n in names] != held


def test_scans_of_one_patient_stay_together(tmp_path: Path) -> None:
    for n in range(12):
        folder = tmp_path / f"scan-{n:02d}"
        folder.mkdir()
        (folder / "case.json").write_text(json.dumps({**document([]), "patient": f"patient-{n // 4}"}))
    corpus = Corpus(tmp_path)
    for part in ("train", "validation", "test"):
        held = [c.patient for c in corpus.split(part, validation=0.3, test=0.3)]
        assert all(held.count(p) == 4 for p in held)

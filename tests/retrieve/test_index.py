"""Build, load, search, add, remove, rebuild, merge, check: exact truth on small indexes."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from radvlm.errors import FileFormatError, InputError
from radvlm.retrieve import (
    FunctionEmbedder,
    HashedText,
    IndexSettings,
    Record,
    ReportIndex,
    SearchOptions,
    vector_files,
)
from radvlm.types.study import Study


@pytest.fixture
def index(tmp_path: Path, records: Any, encoder: Any) -> ReportIndex:
    return ReportIndex.build(records(60), encoder, tmp_path / "index")


def test_search_equals_brute_force(index: ReportIndex, encoder: Any) -> None:
    query = encoder.embed_text(["a 5 mm cyst in the liver"])[0]
    q = index.transform.apply(query[None] / np.linalg.norm(query), "text")[0]
    matrix = np.array(index.segments[0].shelves["sentence"].matrix)
    patients = np.array(
        [index.segments[0].record(index.segments[0].row("sentence", r).record)[0].patient for r in range(len(matrix))]
    )
    scores = np.where(patients != "P4", matrix @ q, -np.inf)
    best = np.lexsort((np.arange(len(scores)), -scores))[:7]
    result = index.search(query, 7, SearchOptions(exclude_patient="P4", level="sentence"))
    assert [h.id.rsplit("/", 1)[1] for h in result] == [str(r) for r in best]
    assert [h.score for h in result] == pytest.approx(scores[best], abs=1e-5)
    background = scores[scores > -np.inf]  # all allowed rows, fewer than the sample takes
    assert [h.z for h in result] == pytest.approx((scores[best] - background.mean()) / background.std(), abs=1e-3)
    assert [h.rank for h in result] == list(range(1, 8))


def test_own_text_is_found_first(index: ReportIndex) -> None:
    for i in (0, 11, 37):
        wanted = index.segments[0].row("sentence", i).entry.text
        assert index.search(wanted, 1)[0].text == wanted


def test_manifest_says_what_it_is(index: ReportIndex) -> None:
    assert len(index) == 60
    assert index.counts() == {
        "report": 60,
        "paragraph": 60
        + sum(
            index.segments[0].row("paragraph", r).record == index.segments[0].row("paragraph", r + 1).record
            for r in range(index.counts()["paragraph"] - 1)
        ),
        "sentence": 120,
    }
    manifest = index.manifest
    assert manifest["encoder"] == {"id": "two-sided", "digest": "ab" * 32, "dimension": 32}
    assert manifest["transform"]["kind"] == "whiten"
    assert "exact search" in manifest["segments"][0]["levels"]["sentence"]["reason"]


def test_every_result_names_the_index_that_answered(index: ReportIndex, records: Any) -> None:
    before = index.search("cyst").index_digest
    assert before == index.digest and len(before) == 64
    assert index.search("cyst").to_dict()["index_digest"] == before
    after = index.add(records(1, first=500))
    assert after.digest != before
    assert ReportIndex.load(index.folder, index.embedder).digest == after.digest


def test_same_input_same_hits(tmp_path: Path, records: Any, encoder: Any) -> None:
    one = ReportIndex.build(records(60), encoder, tmp_path / "a").search("calcification in the spleen", 9)
    two = ReportIndex.build(records(60), encoder, tmp_path / "b").search("calcification in the spleen", 9)
    assert one.hits == two.hits


def test_add_remove_rebuild(index: ReportIndex, records: Any) -> None:
    text = "A 91 mm arteriovenous malformation is seen in the spleen."
    more = index.add([Record("P77", "S900", text)])
    assert len(more) == 61 and len(more.segments) == 2
    assert more.search(text, 1)[0].patient == "P77"
    assert len(index.search(text, 1000)) == 120, "an open index never changes"
    with pytest.raises(InputError, match="starts from the current index"):
        index.add([Record("P78", "S901", text)])
    less = more.remove(patients=["P77"])
    assert all(h.patient != "P77" for h in less.search(text, 1000))
    assert less.search(text).excluded["removed"] == 1
    clean = less.rebuild()
    assert len(clean.segments) == 1 and len(clean) == 60 and not clean.removed.any()
    for path in clean.folder.rglob("*"):
        assert not path.is_file() or b"arteriovenous" not in path.read_bytes(), f"{path.name} still holds removed text"
    assert clean.check()["ok"]


def test_remove_of_nobody_is_refused(index: ReportIndex) -> None:
    with pytest.raises(InputError, match="finds what it is to remove"):
        index.remove(patients=["P1", "P1O"])
    assert len(ReportIndex.load(index.folder)) == 60
    with pytest.raises(InputError, match="takes lists"):
        index.remove(patients="P1")


@pytest.mark.slow
def test_merge_equals_one_build(tmp_path: Path, records: Any, encoder: Any) -> None:
    one = ReportIndex.build(records(60), encoder, tmp_path / "one")
    shards = [ReportIndex.build(records(20, first=20 * i), encoder, tmp_path / f"s{i}") for i in range(3)]
    merged = ReportIndex.merge(shards, tmp_path / "merged")
    for words in ("cyst in the liver", "tumor in the left kidney"):
        a, b = one.search(words, 12), merged.search(words, 12)
        assert [h.record for h in a] == [h.record for h in b]
        assert [h.score for h in a] == pytest.approx([h.score for h in b], abs=1e-5)
    with pytest.raises(InputError, match="unique"):
        ReportIndex.merge([shards[0], shards[0]], tmp_path / "twice")


def test_filters(index: ReportIndex) -> None:
    for hit in index.search("cyst", 50, SearchOptions(region="spleen")):
        assert hit.section == "spleen" and "spleen" in hit.text
    early = index.search("cyst", 500, SearchOptions(before_date="2020-03-03"))
    assert len(early) and all(h.date < "2020-03-03" for h in early)
    assert early.excluded["not before the date"] > 0
    assert len(index.search("cyst", 500, SearchOptions(split="test"))) == 0
    with pytest.raises(InputError, match="Known here"):
        index.search("cyst", options=SearchOptions(region="livver"))
    with pytest.raises(InputError, match="YYYY-MM-DD"):
        index.search("cyst", options=SearchOptions(before_date="3 March 2020"))


def test_no_date_is_before_nothing(tmp_path: Path, encoder: Any) -> None:
    two = [Record("A", "1", "A cyst in the liver."), Record("B", "2", "Cyst in the liver now.", date="2019-01-01")]
    index = ReportIndex.build(two, encoder, tmp_path / "i")
    result = index.search("cyst", options=SearchOptions(before_date="2030-01-01"))
    assert [h.patient for h in result] == ["B"] and result.excluded == {"no date": 1}


def test_evaluation_draws_from_training_alone(tmp_path: Path, records: Any, encoder: Any) -> None:
    index = ReportIndex.build([*records(20), *records(20, first=100, split="test")], encoder, tmp_path / "i")
    result = index.search("cyst", 500, SearchOptions(evaluation=True))
    assert len(result) == 40 and {h.split for h in result} == {"train"}
    with pytest.raises(InputError, match="split train alone"):
        index.search("cyst", options=SearchOptions(evaluation=True, split="test"))
    silent = ReportIndex.build(records(5, split=""), encoder, tmp_path / "j")
    with pytest.raises(InputError, match="name no split"):
        silent.search("cyst", options=SearchOptions(evaluation=True))


@pytest.mark.parametrize(
    ("bad", "rule"),
    [(np.full(32, np.nan), "finite"), (np.zeros(32), "direction"), (np.ones(31), "shape"), (np.ones((2, 32)), "shape")],
)
def test_bad_vectors_are_refused(tmp_path: Path, index: ReportIndex, records: Any, bad: np.ndarray, rule: str) -> None:
    with pytest.raises(InputError, match=rule):
        index.search(bad, options=SearchOptions(exclude_patient="P1"))
    if bad.ndim == 1:
        wrong = FunctionEmbedder("w", "0", 32, lambda texts: np.stack([bad] * len(texts)))
        with pytest.raises(InputError, match=rule):
            ReportIndex.build(records(3), wrong, tmp_path / "bad")
        assert not (tmp_path / "bad" / "CURRENT").exists()
        assert not list((tmp_path / "bad" / "segments").glob("*")), "nothing half-written stays"


def test_duplicate_ids_and_encoders_are_refused(tmp_path: Path, index: ReportIndex, records: Any, encoder: Any) -> None:
    with pytest.raises(InputError, match="unique"):
        ReportIndex.build([*records(2), *records(1)], encoder, tmp_path / "twice")
    with pytest.raises(InputError, match="unique"):
        index.add(records(1))
    for other in (replace(encoder, name="another"), HashedText(32), replace(encoder, dimension=64)):
        with pytest.raises(InputError, match="built with"):
            ReportIndex.load(index.folder, other)
    with pytest.raises(InputError, match="needs the encoder"):
        ReportIndex.load(index.folder).search("cyst")
    with pytest.raises(InputError, match="holds an index"):
        ReportIndex.build(records(2), encoder, index.folder)
    with pytest.raises(InputError, match="at least one"):
        ReportIndex.build([], encoder, tmp_path / "none")


def test_an_index_without_weights_opens_by_itself(tmp_path: Path, records: Any) -> None:
    ReportIndex.build(records(40), HashedText(64), tmp_path / "i")
    assert len(ReportIndex.load(tmp_path / "i").search("tumor", 3)) == 3


def test_damage_is_one_clear_error(tmp_path: Path, index: ReportIndex, encoder: Any) -> None:
    def copy(name: str) -> Path:
        return Path(shutil.copytree(index.folder, tmp_path / name))

    cut = copy("cut")
    flat = next(cut.rglob("sentence.flat.faiss"))
    flat.write_bytes(flat.read_bytes()[:-7])
    with pytest.raises(FileFormatError, match="bytes instead of"):
        ReportIndex.load(cut)
    missing = copy("missing")
    next(missing.rglob("catalog.sqlite")).unlink()
    with pytest.raises(FileFormatError, match=r"catalog.sqlite is missing"):
        ReportIndex.load(missing)
    edited = copy("edited")
    manifest = next(edited.rglob("manifest.json"))
    manifest.write_text(manifest.read_text().replace("two-sided", "two-faced"))
    with pytest.raises(FileFormatError, match="as it was written"):
        ReportIndex.load(edited)
    flipped = copy("flipped")
    flat = next(flipped.rglob("sentence.flat.faiss"))
    content = bytearray(flat.read_bytes())
    content[-40] ^= 0x10
    flat.write_bytes(bytes(content))
    found = ReportIndex.load(flipped).check()
    assert not found["ok"] and any("sentence.flat.faiss was altered" in p for p in found["problems"])
    with pytest.raises(FileFormatError, match="CURRENT"):
        ReportIndex.load(tmp_path / "nothing")


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["hnsw", "ivf_flat", "ivf_sq8", "ivf_pq"])
def test_approximate_kinds_find_what_exact_search_finds(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, records: Any, encoder: Any, kind: str
) -> None:
    monkeypatch.setattr(vector_files, "EXACT_ROWS", 0)
    index = ReportIndex.build(records(400, patients=40), encoder, tmp_path / "i", settings=IndexSettings(kind=kind))
    part = index.segments[0].shelves["sentence"]
    assert part.kind == kind
    found = index.check()
    assert found["ok"] and found["recall_at_10"]["sentence"] >= 0.98
    rng = np.random.default_rng(0)
    for _ in range(5):
        query = rng.standard_normal(32).astype(np.float32)
        allowed = rng.random(part.n) < 0.05
        query /= np.linalg.norm(query)
        rows, scores = part.search(query, 1000, allowed)
        truth, exact = part.exact(query, 1000, allowed)
        assert rows.tolist() == truth.tolist(), "asking for all that is allowed gives all that is allowed"
        assert scores == pytest.approx(exact, abs=1e-6)  # cosines in float32


def test_few_vectors_fall_back_to_exact_and_say_so(tmp_path: Path, records: Any, encoder: Any) -> None:
    index = ReportIndex.build(records(10), encoder, tmp_path / "i", settings=IndexSettings(kind="ivf_sq8"))
    facts = index.manifest["segments"][0]["levels"]["sentence"]
    assert facts["kind"] == "flat" and "too few to train" in facts["reason"]


def test_scans(tmp_path: Path, records: Any, encoder: Any, scan: Any) -> None:
    def volume(record: Record) -> Any:
        return scan(record.text, Study(patient_key=f"key-{record.patient}")) if record.study != "S3" else None

    index = ReportIndex.build(records(40), encoder, tmp_path / "i", volumes=volume)
    assert index.counts()["image"] == 39
    asked = scan("A 3 mm cyst is seen in the liver.", Study(patient_key="unknown"))
    with pytest.raises(InputError, match="says whose it is"):  # S3 has no key, so a header cannot settle it
        index.search(asked)
    assert len(index.similar_cases(asked, 5, SearchOptions(exclude_patient="P3"))) == 5
    index = index.remove(studies=["S3"]).rebuild()
    shown = index.similar_cases(scan(records(1, first=14)[0].text, Study(patient_key="key-P4")), 500)
    assert len(shown) and all(h.patient != "P4" for h in shown)
    assert shown.excluded["same patient"] == 4
    other = index.search(scan(records(1, first=14)[0].text, Study(patient_key="new")), 1, SearchOptions(level="image"))
    assert other[0].record == "S14", "a scan of somebody new finds its twin"
    assert other.hits[0].score > 0.99


def test_given_vectors_are_used(tmp_path: Path, records: Any, encoder: Any) -> None:
    vectors = np.random.default_rng(0).standard_normal((40, 32))
    settings = IndexSettings(levels=("image", "report"), transform="none")
    index = ReportIndex.build(records(40), encoder, tmp_path / "i", vectors={"image": vectors}, settings=settings)
    hit = index.search(vectors[9], 1, SearchOptions(patient_not_indexed=True, level="image", modality="image"))[0]
    assert hit.record == "S9" and hit.score == pytest.approx(1.0, abs=1e-3)
    with pytest.raises(InputError, match="shape"):
        ReportIndex.build(records(40), encoder, tmp_path / "j", vectors={"image": vectors[:9]}, settings=settings)


def test_centering_makes_collapsed_vectors_searchable(tmp_path: Path, records: Any) -> None:
    """With a shared mean a hundred times the differences, raw cosines all round to one; the transform undoes it."""
    rng = np.random.default_rng(1)
    mean = rng.standard_normal(32) * 100
    seen: dict[str, np.ndarray] = {}

    def text(texts: Any) -> np.ndarray:
        return np.stack([mean + seen.setdefault(t, rng.standard_normal(32)) for t in texts])

    index = ReportIndex.build(records(60), FunctionEmbedder("c", "0", 32, text), tmp_path / "i")
    assert index.segments[0].raw("sentence").dtype == np.float32, "float16 would round the differences away"
    for i in range(0, 120, 10):
        wanted = index.segments[0].row("sentence", i).entry.text
        hits = index.search(wanted, 3)
        assert hits[0].text == wanted and hits[0].score > 0.99


def test_audit_record_is_json(index: ReportIndex) -> None:
    record = json.loads(json.dumps(index.search("cyst", 2).to_dict()))
    assert record["searched"] == 120 and len(record["hits"]) == 2 and "vector" not in record["hits"][0]

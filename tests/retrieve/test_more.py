"""Transform, context, knowledge, stores, baselines, the page and the command line."""

from __future__ import annotations

import argparse
import json
import math
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from radvlm.cli.index import add_arguments, run
from radvlm.errors import FileFormatError, InputError, StructureError
from radvlm.retrieve import (
    ArrayStore,
    HashedText,
    KnowledgeBase,
    Record,
    ReportIndex,
    SearchOptions,
    StoreIndex,
    context_of,
    copy_only,
    neighbor_vote,
    random_report,
    similar_cases_page,
)
from radvlm.retrieve.baselines import recall_at_k
from radvlm.retrieve.bm25 import BM25
from radvlm.retrieve.index_kind import choose
from radvlm.retrieve.knowledge import chunk
from radvlm.retrieve.transform import Transform, learn

PNG = b"\x89PNG\r\n\x1a\n" + bytes(8)


# -- transform and plan ----------------------------------------------------------------------------------------------


def test_whitening_gives_unit_covariance(tmp_path: Path) -> None:
    """With the least shrinkage, the covariance of whitened vectors is C_shrunk^-1/2 C C_shrunk^-1/2."""
    rng = np.random.default_rng(0)
    x = rng.standard_normal((20_000, 8)) * np.array([5, 3, 2, 1, 1, 0.5, 0.5, 0.2]) + 7
    t = learn({"text": x.astype(np.float32)}, "whiten")
    y = (x - x.mean(0)) @ t.matrix
    values = np.linalg.eigvalsh(np.cov(x.T))
    shrunk = (1 - t.shrinkage) * values + t.shrinkage * values.mean()
    assert np.sort(np.linalg.eigvalsh(np.cov(y.T))) == pytest.approx(np.sort(values / shrunk), rel=1e-3)
    assert t.shrinkage == pytest.approx(0.1)
    t.save(tmp_path / "t.npz")
    again = Transform.load(tmp_path / "t.npz")
    assert again.apply(x[:5].astype(np.float32), "text") == pytest.approx(t.apply(x[:5].astype(np.float32), "text"))
    assert (again.kind, again.n, again.shrinkage) == (t.kind, t.n, t.shrinkage)


def test_each_modality_has_its_own_mean() -> None:
    rng = np.random.default_rng(1)
    z = rng.standard_normal((500, 6)).astype(np.float32)
    t = learn({"text": z + 9, "image": z - 4}, "centre")
    assert t.apply(z + 9, "text") == pytest.approx(t.apply(z - 4, "image"), abs=1e-4)


def test_few_or_equal_vectors() -> None:
    same = np.ones((40, 4), np.float32) / 2
    assert learn({"text": same[:31]}, "auto").kind == "none"
    assert not learn({"text": same}, "auto").apply(same[:1], "text").any(), "equal to the mean: like to nothing"


def test_plan_by_size() -> None:
    assert choose(50_000, 512).kind == "flat" and "exact" in choose(50_000, 512).reason
    big = choose(1_000_000, 512)
    assert (big.kind, big.factory) == ("ivf_sq8", "IVF4096,SQ8") and "1,000,000" in big.reason
    assert choose(100_000_000, 512).kind == "ivf_pq"
    for n in (40, 1000, 10**5, 10**7):
        assert choose(n, 512, "ivf_sq8").lists * 39 <= n, "k-means has enough points"


# -- context -----------------------------------------------------------------------------------------------------


def test_body_region_from_masks() -> None:
    assert context_of(["liver", "spleen", "lung_lower_lobe_left"]).body_regions == ("abdomen",)
    assert context_of(["liver", "spleen", "heart", "lung_lower_lobe_left"]).body_regions == ("chest", "abdomen")
    unknown = context_of(["aorta"])
    assert unknown.body_regions == () and unknown.decisions[0].warning
    assert context_of([], {"chest": 0.9, "abdomen": 0.2}).body_regions == ("chest",)
    with pytest.raises(InputError):
        context_of([], {"torso": 0.9})
    with pytest.raises(StructureError):
        context_of(["lever"])


def test_routing(tmp_path: Path, encoder: Any) -> None:
    texts = ["Cyst one.", "Cyst two now.", "Cyst three there.", "Cyst four beyond."]
    regions = ["chest", "abdomen and pelvis", "", "abdomen"]
    phases = ["portal", "portal", "", "arterial"]
    records = [
        Record(f"P{i}", f"S{i}", t, region=r, phase=p)
        for i, (t, r, p) in enumerate(zip(texts, regions, phases, strict=True))
    ]
    index = ReportIndex.build(records, encoder, tmp_path / "i")
    found = index.search("cyst", options=SearchOptions(context=context_of(["liver", "spleen"])))
    assert {h.record for h in found} == {"S1", "S2", "S3"}, "a record without a region is never routed away"
    assert found.excluded == {"another body region": 1}
    assert {
        h.record
        for h in index.search("cyst", options=SearchOptions(context=context_of(["liver", "spleen"], phase="portal")))
    } == {"S1", "S2"}


# -- knowledge text --------------------------------------------------------------------------------------------------


def test_bm25_by_hand() -> None:
    """Three documents of 2, 2 and 4 words (mean 8/3); ``cyst`` in two of them, once and twice."""
    bm = BM25(["liver cyst", "renal stone", "cyst cyst spleen large"])
    idf = math.log(1 + (3 - 2 + 0.5) / (2 + 0.5))
    norm = [1.2 * (0.25 + 0.75 * n / (8 / 3)) for n in (2, 2, 4)]
    assert bm.scores("cysts") == pytest.approx([idf * 2.2 / (1 + norm[0]), 0, idf * 2 * 2.2 / (2 + norm[2])])
    assert not bm.scores("aneurysm").any()


GUIDE = {
    "nodules.md": "# Solid nodules\nA solid nodule below 6 mm needs no follow-up in low risk. " * 1
    + "A nodule of 6 to 8 mm is followed at 6 to 12 months.\n\n# Subsolid nodules\nGround glass below 6 mm needs none.",
    "adrenal.txt": "An adrenal mass below 10 HU is a lipid rich adenoma. Larger than 4 cm is referred for surgery.",
}


def test_passages_are_found_and_cited(tmp_path: Path) -> None:
    base = KnowledgeBase.build(GUIDE, HashedText(256), tmp_path / "k")
    hit = base.search("adrenal adenoma HU", 1)[0]
    assert hit.citation == "adrenal.txt [adrenal.txt#1]" and hit.word_rank == 1
    assert GUIDE["adrenal.txt"][hit.passage.start : hit.passage.stop] == hit.passage.text
    solid = base.search("solid nodule 7 mm follow-up", 2)[0]
    assert solid.passage.heading == "Solid nodules" and len(solid.index_digest) == 64
    again = KnowledgeBase.load(tmp_path / "k", HashedText(256))
    assert again.search("adrenal adenoma HU", 1) == (hit,)
    assert base.search("zebra", 3) == () or all(h.word_rank is None for h in base.search("zebra", 3))
    with pytest.raises(InputError, match="built with"):
        KnowledgeBase.load(tmp_path / "k", HashedText(128))
    next((tmp_path / "k").rglob("passages.jsonl")).write_text("")
    with pytest.raises(FileFormatError):
        KnowledgeBase.load(tmp_path / "k", HashedText(256))


def test_rank_fusion_by_hand(tmp_path: Path) -> None:
    base = KnowledgeBase.build(GUIDE, HashedText(256), tmp_path / "k")
    for hit in base.search("nodule below 6 mm", 5):
        expected = sum(1 / (60 + r) for r in (hit.word_rank, hit.meaning_rank) if r is not None)
        assert hit.score == pytest.approx(expected)


def test_chunks_cover_the_text_and_respect_sizes() -> None:
    text = " ".join(f"Sentence number {i} has exactly seven words." for i in range(60))
    parts = list(chunk("d", text, words=50, overlap=10))
    assert all(len(p.text.split()) <= 50 for p in parts)
    assert all(f"number {i} " in " ".join(p.text for p in parts) for i in range(60))
    assert all(b.start < a.stop for a, b in pairwise(parts)), "neighbours share a sentence"
    assert len({p.id for p in parts}) == len(parts)


# -- another engine --------------------------------------------------------------------------------------------------


@pytest.fixture(params=["array", pytest.param("lance", marks=pytest.mark.slow)])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Any:
    if request.param == "array":
        return ArrayStore()
    pytest.importorskip("lancedb", reason="LanceDB is not installed: pip install radvlm[lance]")
    from radvlm.retrieve import LanceStore

    return LanceStore(tmp_path / "lance", 32)


@pytest.mark.slow
def test_a_store_answers_as_the_index_does(store: Any, tmp_path: Path, records: Any, encoder: Any) -> None:
    index = ReportIndex.build([*records(40), Record("Q'9", "S'1", records(1)[0].text)], encoder, tmp_path / "i")
    behind = StoreIndex.fill(store, index)
    for given in (
        {"exclude_patient": "P4"},
        {"exclude_patient": "Q'9"},
        {"exclude_patient": "P1", "section": "spleen"},
        {"exclude_patient": "P2", "before_date": "2020-06-15"},
        {"exclude_patient": "P2", "split": "train"},
        {"exclude_patient": [f"P{i}" for i in range(10)]},
    ):
        for k in (3, 500):
            mine = index.search("A 3 mm cyst is seen in the liver.", k, SearchOptions(level="sentence", **given))
            theirs = behind.search("A 3 mm cyst is seen in the liver.", k, SearchOptions(level="sentence", **given))
            assert theirs.searched == mine.searched
            assert [round(h.score, 4) for h in theirs] == [round(h.score, 4) for h in mine]
            if k == 500:
                assert {h.id for h in theirs} == {h.id for h in mine}
    assert behind.search("cyst", 500, SearchOptions(level="sentence", exclude_patient="P0")).hits, (
        "Q'9 is a copy of a report of P0"
    )
    assert "Q'9" not in {
        h.patient for h in behind.search("cyst", 500, SearchOptions(level="sentence", exclude_patient="P0"))
    }
    with pytest.raises(InputError, match="says whose it is"):
        behind.search(np.ones(32), options=SearchOptions(level="sentence"))
    rows = [r for r, _, _ in store.search(np.ones(32, np.float32) / 32**0.5, 2, _level("sentence"))]
    with pytest.raises(InputError, match="unique"):
        store.add(rows[:1], np.ones((1, 32), np.float32))
    store.remove(["S7"])
    assert "S7" not in {
        h.record for h in behind.search("cyst", 500, SearchOptions(level="sentence", exclude_patient="P0"))
    }


def _level(name: str) -> Any:
    from radvlm.retrieve.external_store import Conditions

    return Conditions(name)


# -- baselines, page, command line -----------------------------------------------------------------------------------


def test_baselines(tmp_path: Path, records: Any, encoder: Any) -> None:
    index = ReportIndex.build(records(40), encoder, tmp_path / "i")
    drawn = [random_report(index, seed, exclude_patient="P1") for seed in range(60)]
    assert all(h is not None and h.patient != "P1" for h in drawn)
    assert len({h.record for h in drawn if h}) > 20
    found = index.search("A 3 mm cyst is seen in the liver.", 4, SearchOptions(level="report", exclude_patient="P1"))
    assert copy_only(found) == found[0].text
    labels = {h.record: {"cyst": h.rank <= 2} for h in found.hits[:3]}
    weights = [math.exp((h.score - found[0].score) / 0.1) for h in found.hits[:3]]
    vote = neighbor_vote(found, labels, "cyst")
    assert vote is not None and vote.neighbors == 3
    assert vote.share == pytest.approx(sum(weights[:2]) / sum(weights))
    assert neighbor_vote(found, labels, "stone") is None
    assert recall_at_k([found], [[found[2].record]], 3) == 1.0
    assert recall_at_k([found], [[found[2].record]], 2) == 0.0
    assert recall_at_k([found], [[]], 2) is None


def test_page_escapes_and_shows(tmp_path: Path, encoder: Any, scan: Any) -> None:
    records = [Record(f"P{i}", f"S{i}", f"Cyst <script>alert({i})</script> & more.") for i in range(3)]
    index = ReportIndex.build(records, encoder, tmp_path / "i", volumes=lambda r: scan(r.text))
    page = similar_cases_page(
        index.similar_cases(scan("Cyst"), options=SearchOptions(exclude_patient="P0")), images={"S1": PNG}
    )
    assert "<script>" not in page and "&lt;script&gt;alert(1)" in page
    assert page.count("<article>") == 2 and page.count("data:image/png") == 1 and index.digest in page
    everybody = [f"P{i}" for i in range(3)]
    assert "No similar case" in similar_cases_page(
        index.similar_cases(scan("Cyst"), options=SearchOptions(exclude_patient=everybody))
    )
    with pytest.raises(InputError, match="PNG"):
        similar_cases_page(
            index.similar_cases(scan("Cyst"), options=SearchOptions(exclude_patient="P0")), images={"S1": b"GIF89a"}
        )


def _run(*words: str) -> int:
    parser = argparse.ArgumentParser()
    add_arguments(parser)
    return run(parser.parse_args(words))


@pytest.mark.slow
def test_command_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    reports, more, index = tmp_path / "r.jsonl", tmp_path / "m.jsonl", str(tmp_path / "INDEX")
    rows = [
        {"patient": f"P{i}", "study": f"S{i}", "text": f"A {i} mm cyst in the liver, seen on 2020-01-02."}
        for i in range(40)
    ]
    reports.write_text("\n".join(map(json.dumps, rows)))
    more.write_text(json.dumps({"patient": "X", "study": "SX", "text": "An aneurysm of the aorta."}))
    assert _run("build", "--reports", str(reports), "-o", index, "-q") == 0
    assert _run("add", index, "--reports", str(more)) == 0
    out = capsys.readouterr().out
    assert "41 records" in out and "exact search" in out and "40 date" in out
    assert _run("search", index, "--text", "aneurysm of the aorta", "-k", "1") == 0
    got = capsys.readouterr()
    assert "SX" in got.out and "1 hits among 41 sentences" in got.err
    assert _run("search", index, "--text", "aneurysm", "--exclude-patient", "X", "--json") == 0
    record = json.loads(capsys.readouterr().out)
    assert record["excluded"] == {"same patient": 1} and all(h["patient"] != "X" for h in record["hits"])
    assert _run("remove", index, "--patient", "X", "--rebuild") == 0
    assert _run("check", index) == 0
    capsys.readouterr()
    flat = next((tmp_path / "INDEX").rglob("report.flat.faiss"))
    content = bytearray(flat.read_bytes())
    content[-30] ^= 1
    flat.write_bytes(bytes(content))
    assert _run("check", index) == 3
    assert "was altered" in capsys.readouterr().out
    with pytest.raises(InputError):
        _run("build", "--reports", str(reports), "-o", str(tmp_path / "j"), "--encoder", "nobody/knows-it")
    assert not (tmp_path / "j").exists()


def test_help_imports_nothing_heavy() -> None:
    import subprocess
    import sys

    code = (
        "import argparse, sys; from radvlm.cli.index import add_arguments; p = argparse.ArgumentParser();"
        "add_arguments(p); p.format_help(); print(sorted({'numpy', 'faiss', 'scipy', 'lancedb'} & set(sys.modules)))"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "[]\n"

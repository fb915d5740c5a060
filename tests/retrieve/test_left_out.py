"""What a search leaves out and why, counted by hand over an index of two segments."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from radvlm.errors import InputError
from radvlm.retrieve import HashedText, IndexSettings, Record, ReportIndex, SearchOptions
from radvlm.retrieve.context import QueryContext
from radvlm.retrieve.duplicates import groups, jaccard, shingles, signature

FIRST = (
    Record(
        "P0",
        "S0",
        "Liver: A 3 mm cyst in the liver.",
        date="2020-01-31",
        site="north",
        split="train",
        region="Chest/Abdomen",
        phase="portal",
        kind="CT",
    ),
    Record("P1", "S1", "Spleen: Calcification of the spleen.", date="2020-02-01", site="south", split="train"),
    Record("P2", "S2", "Kidneys: Stone of the left kidney.", site="north", split="test", region="abdomen", kind="MR"),
    Record(
        "P3", "S3", "Liver: Abscess beside the falciform ligament.", date="2020-02-02", split="train", region="pelvis"
    ),
)
SECOND = (
    Record(
        "P0", "S4", "Spleen: Infarct at its lower margin.", date="2020-01-30", site="east", split="test", phase="portal"
    ),
    Record(
        "P4", "S5", "Liver: Hemangioma near the dome.", date="2019-12-31", split="train", region="head", phase="late"
    ),
    Record("P5", "S6", "Pancreas: Tumor of the tail.", site="south", region="abdomen", kind="CT", patient_key="K5"),
)
MINE, LATE, ELSEWHERE = "same patient", "not before the date", "another body region"
EVERYTHING = {f"S{i}" for i in range(7)}


@pytest.fixture(scope="module")
def index(tmp_path_factory: pytest.TempPathFactory) -> ReportIndex:
    place = tmp_path_factory.mktemp("left_out") / "index"
    return ReportIndex.build(FIRST, HashedText(32), place).add(SECOND)


@pytest.mark.parametrize(
    ("options", "found", "excluded"),
    [
        ({}, "S0 S1 S2 S3 S4 S5 S6", {}),
        ({"exclude_patient": "P0"}, "S1 S2 S3 S5 S6", {MINE: 2}),
        ({"exclude_patient": ("P0", "P5")}, "S1 S2 S3 S5", {MINE: 3}),
        ({"exclude_patient": "K5"}, "S0 S1 S2 S3 S4 S5", {MINE: 1}),
        ({"exclude_studies": ["S4"]}, "S1 S2 S3 S5 S6", {MINE: 2}),
        ({"before_date": "2020-02-01"}, "S0 S4 S5", {"no date": 2, LATE: 2}),
        ({"before_date": "2020-02-02"}, "S0 S1 S4 S5", {"no date": 2, LATE: 1}),
        ({"before_date": "2020-02-02", "exclude_patient": "P2"}, "S0 S1 S4 S5", {MINE: 1, "no date": 1, LATE: 1}),
        ({"split": "train"}, "S0 S1 S3 S5", {"another split": 3}),
        ({"evaluation": True}, "S0 S1 S3 S5", {"another split": 3}),
        ({"evaluation": True, "split": "train"}, "S0 S1 S3 S5", {"another split": 3}),
        ({"split": "test"}, "S2 S4", {"another split": 5}),
        ({"site": "north"}, "S0 S2", {"another site": 5}),
        ({"site": "east", "split": "test"}, "S4", {"another split": 5, "another site": 1}),
        ({"site": "west"}, "", {"another site": 7}),
        ({"region": "liver"}, "S0 S3 S5", {}),
        ({"region": "abdomen"}, "S2 S6", {}),
        ({"region": "pelvis"}, "S3", {}),
        ({"region": "pancreas"}, "S6", {}),
        ({"region": "kidney"}, "S2", {}),
        ({"section": "spleen"}, "S1 S4", {}),
        ({"organ": "pancreas"}, "S6", {}),
        ({"section": "liver", "exclude_patient": "P0"}, "S3 S5", {MINE: 2}),
        ({"context": QueryContext(("abdomen",))}, "S0 S1 S2 S4 S6", {"another body region": 2}),
        ({"context": QueryContext(("chest", "head"))}, "S0 S1 S4 S5", {"another body region": 3}),
        ({"context": QueryContext(phase="portal")}, "S0 S1 S2 S3 S4 S6", {"another phase": 1}),
        ({"context": QueryContext(kind="CT")}, "S0 S1 S3 S4 S5 S6", {"another kind": 1}),
        ({"context": QueryContext(("abdomen",), "portal", "CT")}, "S0 S1 S4 S6", {ELSEWHERE: 2, "another kind": 1}),
    ],
)  # fmt: skip
def test_what_is_left_out_and_why(index: ReportIndex, options: dict[str, Any], found: str, excluded: dict) -> None:
    narrowed = {"region", "section", "organ"} & options.keys()
    level = "paragraph" if narrowed else "report"
    result = index.search("cyst", 100, SearchOptions(level=level, **options))
    assert {h.record for h in result} == set(found.split())
    assert dict(result.excluded) == excluded
    assert result.searched == len(result) == len(found.split()) and result.level == level
    assert [h.rank for h in result] == list(range(1, len(result) + 1))
    assert [h.score for h in result] == sorted((h.score for h in result), reverse=True)


def test_a_hit_is_all_that_its_record_says(index: ReportIndex) -> None:
    records = {r.study: r for r in (*FIRST, *SECOND)}
    for hit in index.search("cyst", 100, SearchOptions(level="report")):
        said = records[hit.study]
        for field in ("patient", "study", "date", "site", "split", "region", "volume", "report_hash"):
            assert getattr(hit, field) == getattr(said, field), field
        assert hit.record == said.id and hit.id.startswith(f"{said.id}/report/") and hit.z is None
        assert hit.vector is not None and hit.vector.shape == (32,)


@pytest.mark.slow
def test_a_draw_is_even_over_all_that_may_be_found(index: ReportIndex) -> None:
    for options, allowed in (
        ({"patient_not_indexed": True, "evaluation": False}, EVERYTHING),
        ({"exclude_patient": "P0"}, {"S1", "S3", "S5"}),
        ({"exclude_patient": "P0", "evaluation": False}, {"S1", "S2", "S3", "S5", "S6"}),
    ):
        drawn = [index.draw(seed, **options) for seed in range(300)]
        counts = Counter(h.record for h in drawn if h is not None)
        assert set(counts) == allowed
        expected = 300 / len(allowed)
        assert all(abs(n - expected) < 4.5 * np.sqrt(expected) for n in counts.values()), counts
        assert all(h.rank == 1 and h.level == "report" and h.z is None for h in drawn if h is not None)
        assert index.draw(7, **options) == index.draw(7, **options)
    sentences = index.draw(1, level="sentence", exclude_patient="P0")
    assert sentences is not None and sentences.level == "sentence"
    by_default = index.draw(1, level="", exclude_patient="P0")
    assert by_default is not None and by_default.level == "report"
    with pytest.raises(InputError, match="says whose it is"):
        index.draw(1)


def test_the_level_is_that_of_the_question(index: ReportIndex, tmp_path: Path) -> None:
    one = SearchOptions(patient_not_indexed=True)
    vector = np.ones(32, np.float32)
    for query, options, level in (
        ("cyst", one, "sentence"),
        (vector, one, "report"),
        (vector, SearchOptions(patient_not_indexed=True, organ="liver"), "paragraph"),
        (vector, SearchOptions(patient_not_indexed=True, section="liver"), "paragraph"),
        (vector, SearchOptions(patient_not_indexed=True, region="liver"), "paragraph"),
    ):
        result = index.search(query, 1, options)
        assert result.level == level
        assert [d.what for d in result.decisions if d.step == "retrieve"] == [f"Searched among {level}s."]
    asked = index.search("cyst", 1, SearchOptions(level="report"))
    assert asked.level == "report" and not asked.decisions
    only = ReportIndex.build(FIRST, HashedText(32), tmp_path / "reports", settings=IndexSettings(levels=("report",)))
    assert only.search("cyst", 1).level == "report"
    with pytest.raises(InputError, match=r"Received: 'sentence'.*has the levels report"):
        only.search("cyst", 1, SearchOptions(level="sentence"))


def test_a_rebuild_tells_its_progress(tmp_path: Path) -> None:
    told: list[str] = []
    index = ReportIndex.build(FIRST, HashedText(32), tmp_path / "i")
    assert len(index.rebuild(progress=told.append)) == len(FIRST) and told


def test_k_hits_at_most(index: ReportIndex) -> None:
    best = [h.id for h in index.search("cyst", 100, SearchOptions(level="report"))]
    for k in (1, 2, 6, 7, 8):
        assert [h.id for h in index.search("cyst", k, SearchOptions(level="report"))] == best[:k]
    for k in (0, -1, 1.0, "3", None):
        with pytest.raises(InputError, match="k is a whole number of at least 1"):
            index.search("cyst", k)  # type: ignore[arg-type]


# -- which reports are one -------------------------------------------------------------------------------------------


def _pair(shared: int, own: int) -> tuple[str, str]:
    """Two texts of ``shared`` triples in common and ``own`` more each."""
    words = [f"w{i}" for i in range(shared + 2)]
    return tuple(" ".join([*words, *(f"{name}{i}" for i in range(own))]) for name in "ab")  # type: ignore[return-value]


def test_texts_are_one_from_the_threshold_on() -> None:
    at, below = _pair(80, 10), _pair(79, 10)
    assert jaccard(*map(shingles, at)) == 0.8 and jaccard(*map(shingles, below)) == 79 / 99
    for texts, same in ((at, True), (below, False)):
        signatures = np.stack([signature(t) for t in texts])
        assert groups(signatures, ["x", "y"], texts.__getitem__, 0.8).tolist() == ([0, 0] if same else [0, 1])
        assert groups(signatures, ["x", "x"], texts.__getitem__, 0.8).tolist() == [0, 0]


def test_groups_of_near_copies_are_numbered_by_their_first_report() -> None:
    """Two families of near copies and loners in mixed order; the exact copy of a near copy belongs too."""
    families = [_pair(200, 5), tuple(t.replace("w", "v") for t in _pair(150, 4))]
    texts = ["alone", families[0][0], families[1][0], families[1][1], families[0][1], families[0][1], "other"]
    got = groups(np.stack([signature(t) for t in texts]), list(texts), texts.__getitem__, 0.8)
    assert got.tolist() == [0, 1, 2, 2, 1, 1, 6]


def test_shingles_are_the_words_of_a_text_in_threes() -> None:
    assert len(shingles("One two, three FOUR")) == 2 and len(shingles("one two one two one two")) == 2
    assert len(shingles("one two three")) == 1 and len(shingles("one two")) == 2 and len(shingles("")) == 1
    np.testing.assert_array_equal(shingles("A b\nc d"), shingles("a: B; c, D."))

"""Votes of neighbors: read from reports, mixed in only through a calibration that belongs to model and index."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import fakes
import radvlm
from radvlm.errors import FileFormatError, InputError
from radvlm.retrieve import FunctionEmbedder, HashedText, Record, ReportIndex, SearchOptions
from radvlm.types.finding import Status
from radvlm.types.finding_kinds import finding_kinds
from radvlm.types.geometry import Geometry
from radvlm.types.volume import Volume
from radvlm.workflows.neighbor_votes import (
    CALIBRATION_FILE,
    VoteCalibration,
    VotedScore,
    Votes,
    calibrate_votes,
    fit_votes,
)

#: The scan is of nobody in the index.
NOBODY = SearchOptions(patient_not_indexed=True)
DIGEST = "ab" * 32
CYST = "Hepatic cyst in segment VI. The spleen is normal."
NORMAL = "The liver is normal. No renal stone."


def embed_text(texts: Sequence[str]) -> np.ndarray:
    return HashedText(64).embed_text(texts)


@pytest.fixture
def scan() -> Volume:
    return Volume(np.zeros((4, 4, 4), np.int16), Geometry((4, 4, 4), np.eye(4)))


@pytest.fixture
def model() -> Any:
    """Sees half a cyst; its scan looks like the report with the cyst."""
    made = fakes.FakeModel({"liver_cyst": 0.5})
    made.digest = DIGEST
    made.embed_text, made.embed = embed_text, lambda volume: embed_text([CYST])[0]
    return made


@pytest.fixture
def index(tmp_path: Path) -> ReportIndex:
    texts = [f"{CYST} Study {n} of several in a row." for n in "abcdef"] + [f"{NORMAL} Also {n}." for n in "ghijkl"]
    records = [Record(f"P{i}", f"S{i}", text) for i, text in enumerate(texts)]
    return ReportIndex.build(
        records,
        FunctionEmbedder("fake", DIGEST, 64, embed_text, lambda volume: embed_text([CYST])[0]),
        tmp_path / "INDEX",
    )


def one(scores: Sequence[Any], finding: str) -> VotedScore:
    found = next(s for s in scores if s.finding == finding)
    assert isinstance(found, VotedScore)
    return found


def test_without_a_calibration_the_vote_stands_beside_the_score(scan: Volume, model: Any, index: ReportIndex) -> None:
    plain = radvlm.classify_findings(scan, model=model)
    voted = radvlm.classify_findings(scan, model=model, index=index, search=NOBODY)
    assert [(s.finding, s.site, s.probability, s.status) for s in voted] == [
        (s.finding, s.site, s.probability, s.status) for s in plain
    ]
    cyst = one(voted, "liver_cyst")
    assert cyst.neighbors == 12 and not cyst.is_calibrated
    assert cyst.share is not None and 0.9 < cyst.share < 1
    stone = one(voted, "kidney_stone")
    assert stone.share == 0


def test_the_share_is_the_softmax_of_the_cosines(scan: Volume, model: Any, index: ReportIndex) -> None:
    hits = index.search(scan, 16, SearchOptions(patient_not_indexed=True, level="report"))
    weight = np.exp(np.array([h.score for h in hits]) / 0.1)
    has = np.array(["cyst" in h.text for h in hits])
    cyst = one(radvlm.classify_findings(scan, model=model, index=index, search=NOBODY), "liver_cyst")
    assert cyst.share == pytest.approx(weight[has].sum() / weight.sum())


def test_the_patient_does_not_vote(scan: Volume, model: Any, index: ReportIndex) -> None:
    with pytest.raises(InputError, match="whose it is"):
        radvlm.classify_findings(scan, model=model, index=index)
    voted = radvlm.classify_findings(
        scan, model=model, index=index, search=SearchOptions(exclude_patient=[f"P{n}" for n in range(6)])
    )
    assert one(voted, "liver_cyst").share == 0 and one(voted, "liver_cyst").neighbors == 6


def test_a_stored_calibration_is_used_where_it_belongs(scan: Volume, model: Any, index: ReportIndex) -> None:
    fitted = VoteCalibration(-1.0, 0.5, 2.0, 0.3, 0.6, 16, 0.1, 99, DIGEST, index.digest)
    fitted.save(index.folder / CALIBRATION_FILE)
    cyst = one(radvlm.classify_findings(scan, model=model, index=index, search=NOBODY), "liver_cyst")
    q = (cyst.share * 12 + 0.5) / 13  # type: ignore[operator]
    expected = 1 / (1 + np.exp(-(-1.0 + 0.5 * 0.0 + 2.0 * np.log(q / (1 - q)))))
    assert cyst.probability == pytest.approx(expected) and cyst.is_calibrated and cyst.status is Status.PRESENT
    other = replace(fitted, index_digest="other")
    other.save(index.folder / CALIBRATION_FILE)
    again = one(radvlm.classify_findings(scan, model=model, index=index, search=NOBODY), "liver_cyst")
    assert not again.is_calibrated and again.probability == 0.5
    with pytest.raises(InputError, match="one model and one index"):
        radvlm.classify_findings(scan, model=model, index=index, search=NOBODY, vote_calibration=other)
    (index.folder / CALIBRATION_FILE).write_text("{}")
    with pytest.raises(FileFormatError, match="votes"):
        radvlm.classify_findings(scan, model=model, index=index, search=NOBODY)


def test_the_fit_finds_the_weights_that_made_the_cases() -> None:
    """20,000 cases drawn from known weights; the weak pull moves them little."""
    rng = np.random.default_rng(0)
    p, voters = rng.uniform(0.02, 0.98, 20_000), rng.integers(4, 16, 20_000)
    share = rng.integers(0, voters + 1) / voters
    q = (share * voters + 0.5) / (voters + 1)
    z = -0.7 + 0.6 * np.log(p / (1 - p)) + 1.4 * np.log(q / (1 - q))
    truth = rng.uniform(size=20_000) < 1 / (1 + np.exp(-z))
    fitted = fit_votes(Votes(p, share, voters, truth))
    assert (fitted.bias, fitted.model_weight, fitted.vote_weight) == pytest.approx((-0.7, 0.6, 1.4), abs=0.08)
    few = fit_votes(Votes(p[:4], share[:4], voters[:4], np.array([1, 0, 1, 0])))
    assert abs(few.vote_weight) < 0.8, "four cases do not overturn a model"


def test_calibrate_votes_from_scans(scan: Volume, model: Any, index: ReportIndex, tmp_path: Path) -> None:
    cases = [
        (scan, None, {"hepatic cyst": True, "renal stone": False}),
        (scan, "P1", {"hepatic cyst": True}),
        (scan, "P2", {"renal stone": False, "a thing without a label": True}),
    ]
    fitted = calibrate_votes(cases, model, index)
    assert fitted.cases == 4 and fitted.vote_weight > 0 and fitted.holds_for(model, index)
    assert VoteCalibration.load(fitted.save(tmp_path / "v.json")) == fitted
    with pytest.raises(InputError, match="with and without"):
        calibrate_votes(cases[1:2], model, index)


def test_votes_need_an_encoder_that_reads_scans(scan: Volume, model: Any, tmp_path: Path) -> None:
    with (
        ReportIndex.build([Record("P", "S", CYST)], HashedText(), tmp_path / "text") as text_only,
        pytest.raises(InputError, match="reads scans"),
    ):
        radvlm.classify_findings(scan, model=model, index=text_only, search=NOBODY)


def test_words_of_the_vocabulary_are_labels() -> None:
    """Which findings of the vocabulary can be voted on at all."""
    from radvlm.evaluate import label_report

    deaf = {
        f.name
        for f in finding_kinds().values()
        if "present" not in label_report(f"{f.words[:1].upper()}{f.words[1:]}.", "radvlm").values()
    }
    assert not deaf


@pytest.mark.parametrize(
    "change", [{"absent_below": 0.9}, {"bias": float("nan")}, {"neighbors": 0}, {"temperature": 0.0}]
)
def test_a_calibration_that_cannot_be_is_refused(change: dict[str, Any]) -> None:
    good = VoteCalibration(0.0, 1.0, 0.0, 0.3, 0.6, 16, 0.1, 9, "", "")
    with pytest.raises(InputError):
        replace(good, **change)

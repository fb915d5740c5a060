"""The labeler on sentences that its rules were not written from: a floor, and the shape of the set itself."""

from __future__ import annotations

import hashlib
import importlib
import json
from collections import Counter
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from radvlm.evaluate import label_report

EVAL = Path(__file__).parents[2] / "eval"
STATUSES = {"present", "absent", "uncertain"}
FLOOR = 0.93  # the goal of the labeler, macro F1 of the class "present"


@pytest.fixture
def scoring(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(str(EVAL))
    return importlib.import_module("score_heldout")


@pytest.fixture
def cases(scoring: ModuleType) -> list[dict[str, Any]]:
    return scoring.read_cases()


def test_the_set_names_only_labels_of_the_schemes(cases: list[dict[str, Any]]) -> None:
    names = {scheme: set(label_report("x", scheme=scheme)) for scheme in ("ct-rate", "merlin")}
    assert {scheme: len(found) for scheme, found in names.items()} == {"ct-rate": 18, "merlin": 30}
    for case in cases:
        assert set(case["labels"]) == set(names)
        for scheme, labels in case["labels"].items():
            assert set(labels) <= names[scheme] and set(labels.values()) <= STATUSES, case["id"]
            beside = set(case.get("implied", {}).get(scheme, ())) | set(case.get("open", {}).get(scheme, ()))
            assert beside <= names[scheme] and not beside & set(labels), case["id"]


def test_the_set_is_large_and_every_label_is_said_and_denied(cases: list[dict[str, Any]]) -> None:
    assert len(cases) >= 330
    assert len({case["id"] for case in cases}) == len({case["text"] for case in cases}) == len(cases)
    counts = Counter(
        (scheme, label, status)
        for case in cases
        for scheme, labels in case["labels"].items()
        for label, status in labels.items()
    )
    for scheme in ("ct-rate", "merlin"):
        for label in label_report("x", scheme=scheme):
            assert counts[scheme, label, "present"] >= 5 and counts[scheme, label, "absent"] >= 4, label


def test_counts_of_present_are_those_of_four_hand_worked_pairs(scoring: ModuleType) -> None:
    pairs = [
        ("a", "present", "present", "s"),
        ("a", "uncertain", "present", "s"),
        ("a", "present", "absent", "s"),
        ("a", "absent", "absent", "s"),
    ]
    assert scoring.counts_for(pairs, "present") == (1, 1, 1)
    assert scoring.scores((1, 1, 1)) == {"precision": 0.5, "recall": 0.5, "f1": 0.5, "n": 2}
    assert scoring.scores((0, 0, 0)) == {"precision": None, "recall": None, "f1": None, "n": 0}


def test_implied_accepts_silence_and_denial_but_not_presence(
    scoring: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    case = {
        "text": "t",
        "style": "s",
        "labels": {"merlin": {"ascites": "absent"}},
        "implied": {"merlin": ["splenomegaly"]},
        "open": {"merlin": ["fracture"]},
    }
    for answer, truth in (("absent", "absent"), ("not mentioned", "not mentioned"), ("present", "not mentioned")):
        answers = {"ascites": "absent", "splenomegaly": answer, "fracture": "present"}
        monkeypatch.setattr(scoring, "label_report", lambda text, scheme, answers=answers: answers)
        assert scoring.pairs_of(case, "merlin") == [
            ("ascites", "absent", "absent", "s"),
            ("splenomegaly", truth, answer, "s"),
        ]


def test_labeler_reaches_its_goal_on_the_held_out_set(scoring: ModuleType) -> None:
    for scheme, found in scoring.score_heldout().items():
        assert found["macro_f1_present"] >= FLOOR, (scheme, found["macro_f1_present"])


def test_committed_result_belongs_to_this_file(scoring: ModuleType) -> None:
    result = json.loads((EVAL / "results" / "labeler_heldout.json").read_text())
    assert result["sentences_sha256"] == hashlib.sha256(scoring.SENTENCES.read_bytes()).hexdigest()

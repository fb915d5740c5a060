"""Answers, classification and retrieval against hand-worked values and brute force."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from radvlm.errors import InputError
from radvlm.evaluate import EvaluationOptions, evaluate
from radvlm.evaluate.metrics.answers import Tolerance, normalize, number_of, same_answer
from radvlm.evaluate.metrics.classification import (
    auprc,
    auroc,
    brier,
    calibration_error,
    choose_threshold,
    score_classification,
)
from radvlm.evaluate.metrics.retrieval import score_retrieval
from radvlm.evaluate.metrics.vqa import VqaMetric, best_constants
from radvlm.evaluate.statistics.resampling import Statistics


@pytest.mark.parametrize(
    ("reference", "candidate", "right"),
    [
        ("Yes", "yes, there is a cyst", True),
        ("No", "Yes", False),
        ("no", "there is none", False),
        ("yes", "", False),
        ("B", "B) liver", True),
        ("B) liver", "Liver.", True),
        ("B", "C) liver", False),
        ("B", "banana", False),
        ("12 mm", "1.2 cm", True),
        ("12 mm", "13.2 mm", True),
        ("12 mm", "13.3 mm", False),
        ("12 mm", "12", False),
        ("4 mm", "5 mm", True),
        ("3", "3.0", True),
        ("3", "three", True),
        ("three", "4", False),
        ("100", "101", False),
        ("-10 HU", "-14 HU", True),
        ("-10 HU", "-16 HU", False),
        ("-10 HU", "10 HU", False),
        ("20 mL", "21.9 cc", True),
        ("20 mL", "0.021 L", True),
        ("20 mL", "20 mm", False),
        ("about 20 mL", "approximately 19 ml", True),
        ("liver and spleen", "spleen, liver", True),
        ("liver and spleen", "liver", False),
        ("The left kidney", "left kidney.", True),
        ("right oesophagus", "right esophagus", True),
        ("left", "right", False),
        ("25 %", "26 percent", True),
        ("+", "-", False),
        ("+", "+", True),
        ("2 cm", "about 20 millimetres", True),
    ],
)
def test_answers(reference: str, candidate: str, right: bool) -> None:
    assert same_answer(reference, candidate) is right


def test_numbers_and_words() -> None:
    assert number_of("1.5 cm") == (15.0, "mm") and number_of("−8 HU.") == (-8.0, "HU")
    assert number_of("two lesions") is None and number_of("") is None and number_of("2 x 3 cm") is None
    assert normalize(" The  Left-sided haematoma, two! ") == "left sided hematoma 2"
    assert same_answer("12 mm", "12", Tolerance(unit_optional=True))
    with pytest.raises(InputError):
        Tolerance(relative=-0.1)
    with pytest.raises(InputError):
        Tolerance(absolute={"inch": 1.0})


@given(st.text(max_size=30))
def test_every_answer_equals_itself(text: str) -> None:
    assert same_answer(text, text) is bool(text.strip())


def test_best_constant_counts_every_answer_that_it_would_satisfy() -> None:
    asked = [
        ("size", "10 mm"),
        ("size", "10.5 mm"),
        ("size", "30 mm"),
        ("size", "30 mm"),
        ("yn", "No"),
        ("yn", "no"),
        ("yn", "Yes"),
    ]
    # 10 mm is right for 10 and 10.5; 30 mm twice as well: the tie goes to the alphabet.
    assert best_constants(asked) == {"size": "10 mm", "yn": "No"}
    assert best_constants([*asked, ("size", "30.5 mm")])["size"] in ("30 mm", "30.5 mm")


def test_accuracy_by_type_and_gain_in_the_table() -> None:
    truth = {"1": "yes", "2": "no", "3": "no", "4": "10 mm", "5": "30 mm", "6": "no"}
    given_ = {"1": "yes", "2": "yes", "3": "No.", "4": "1 cm", "5": "10 mm", "6": "Yes"}
    types = dict.fromkeys("1236", "presence") | dict.fromkeys("45", "size")
    table = evaluate(truth, given_, [VqaMetric(types)], EvaluationOptions(baselines=False))

    def value(name: str) -> float | None:
        return table.value("candidate", "vqa", name)

    assert value("accuracy") == pytest.approx(3 / 6) and value("accuracy presence") == pytest.approx(2 / 4)
    assert value("accuracy size") == pytest.approx(1 / 2)
    assert value("constant presence") == pytest.approx(3 / 4) and value("constant size") == pytest.approx(1 / 2)
    assert value("gain") == pytest.approx(-1 / 6) and value("constant") == pytest.approx(4 / 6)
    assert value("normalised") == pytest.approx(2 / 6) and value("exact") == pytest.approx(1 / 6)
    right = evaluate(truth, given_ | {"2": "no", "6": "no"}, [VqaMetric(types)], EvaluationOptions(baselines=False))
    assert right.value("candidate", "vqa", "accuracy") == pytest.approx(5 / 6)
    assert right.value("candidate", "vqa", "accuracy-macro") == pytest.approx((1 + 0.5) / 2)


def test_types_and_answers_from_sections_and_what_is_refused() -> None:
    truth = [
        {"question": "Is there a cyst?", "type": "presence", "answer": "yes"},
        {"question": "Which organ?", "type": "organ", "answer": "liver"},
    ] * 3
    table = evaluate(truth, ["yes", "spleen"] * 3, [VqaMetric()], EvaluationOptions(baselines=False))
    assert table.value("candidate", "vqa", "accuracy presence") == 1.0
    assert table.value("candidate", "vqa", "accuracy organ") == 0.0
    with pytest.raises(InputError, match="every question"):
        evaluate({"1": "yes"}, {"1": "yes"}, [VqaMetric({"2": "presence"})], EvaluationOptions(baselines=False))
    with pytest.raises(InputError, match="constant"):
        evaluate({"1": "yes"}, {"1": "yes"}, [VqaMetric(constants={"other": "no"})], EvaluationOptions(baselines=False))


def brute_auroc(y: np.ndarray, s: np.ndarray) -> float:
    wins = [1.0 if a > b else 0.5 if a == b else 0.0 for a in s[y == 1] for b in s[y == 0]]
    return float(np.mean(wins)) if wins else float("nan")


def brute_auprc(y: np.ndarray, s: np.ndarray) -> float:
    """Precision at each distinct threshold times the recall it adds."""
    total, recall = 0.0, 0.0
    for t in sorted(set(s.tolist()), reverse=True):
        called = s >= t
        now = float((called & (y == 1)).sum() / (y == 1).sum())
        total += (now - recall) * float((called & (y == 1)).sum() / called.sum())
        recall = now
    return total


cases = st.lists(st.tuples(st.integers(0, 1), st.integers(0, 6)), min_size=2, max_size=25)


@settings(max_examples=120)
@given(cases)
def test_auroc_and_auprc_equal_brute_force(rows: list[tuple[int, int]]) -> None:
    y, s = np.array([r[0] for r in rows]), np.array([r[1] / 6 for r in rows])
    if y.min() == y.max():
        assert np.isnan(auroc(y, s))
        return
    assert auroc(y, s) == pytest.approx(brute_auroc(y, s))
    assert auprc(y, s) == pytest.approx(brute_auprc(y, s))
    assert auroc(y, s) == pytest.approx(1 - float(auroc(1 - y, s)))


@settings(max_examples=60)
@given(cases, st.integers(0, 1000))
def test_weights_are_repetitions(rows: list[tuple[int, int]], seed: int) -> None:
    y, s = np.array([r[0] for r in rows]), np.array([r[1] / 6 for r in rows])
    weights = np.random.default_rng(seed).integers(0, 4, (3, len(y)))
    for figure in (auroc, auprc, brier, calibration_error):
        many = figure(y, s, weights.astype(float))
        for w, value in zip(weights, many, strict=True):
            again = np.repeat(np.arange(len(y)), w)
            if not len(again):
                assert np.isnan(value)
            else:
                assert float(figure(y[again], s[again])) == pytest.approx(float(value), nan_ok=True)


def test_calibration_and_brier_worked_by_hand() -> None:
    y, p = [1, 0, 1, 1], [0.95, 0.15, 0.12, 1.0]
    assert brier(y, p) == pytest.approx((0.05**2 + 0.15**2 + 0.88**2 + 0) / 4)
    # Bin 1 holds 0.15 and 0.12 (share 0.5, mean 0.135), bin 9 holds 0.95 and 1.0 (share 1, mean 0.975).
    assert calibration_error(y, p) == pytest.approx((2 * (0.5 - 0.135) + 2 * 0.025) / 4)
    assert calibration_error(y, p, bins=1) == pytest.approx(abs(0.75 - np.mean(p)))
    assert calibration_error(y, p, bins=2, equal="count") == pytest.approx((2 * 0.365 + 2 * 0.025) / 4)
    with pytest.raises(InputError, match="probability"):
        brier([0, 1], [0.1, 1.2])
    assert auroc([0, 1], [-3.0, 8.0]) == 1.0
    for bad in (([0, 2], [0.1, 0.2]), ([], []), ([0, 1], [0.1, float("nan")]), ([0], [0.1, 0.2])):
        with pytest.raises(InputError):
            auroc(*bad)


@settings(max_examples=80)
@given(cases, st.sampled_from(["youden", "f1"]))
def test_threshold_is_the_best_of_all(rows: list[tuple[int, int]], criterion: str) -> None:
    y, s = np.array([r[0] for r in rows]), np.array([r[1] / 6 for r in rows])
    if y.min() == y.max():
        with pytest.raises(InputError, match="both classes"):
            choose_threshold(y, s, [str(i) for i in range(len(y))], criterion)
        return

    def goal(t: float) -> float:
        called = s >= t
        tp, fp, fn = (called & (y == 1)).sum(), (called & (y == 0)).sum(), (~called & (y == 1)).sum()
        return float(tp / (tp + fn) - fp / (y == 0).sum() if criterion == "youden" else 2 * tp / (2 * tp + fp + fn))

    found = choose_threshold(y, s, [str(i) for i in range(len(y))], criterion)
    assert found.achieved == pytest.approx(max(map(goal, s))) and goal(found.value) == pytest.approx(found.achieved)


def test_thresholds_never_see_the_test_cases() -> None:
    threshold = choose_threshold([0, 0, 1, 1], [0.1, 0.4, 0.35, 0.8], list("abcd"), "sensitivity", at_least=1.0)
    assert threshold.value == 0.35 and threshold.achieved == 1.0
    assert choose_threshold([0, 0, 1, 1], [0.1, 0.4, 0.35, 0.8], list("abcd"), "specificity", at_least=1.0).value == 0.8
    with pytest.raises(InputError, match="not chosen on"):
        score_classification({"x": [0, 1]}, {"x": [0.1, 0.9]}, ["d", "e"], thresholds={"x": threshold})
    with pytest.raises(InputError, match="only for them"):
        choose_threshold([0, 1], [0.1, 0.2], ["a", "b"], "youden", at_least=0.9)
    with pytest.raises(InputError, match="id of its own"):
        choose_threshold([0, 1], [0.1, 0.2], ["a", "a"])


def test_table_of_labels_with_unknown_cases_one_class_and_intervals() -> None:
    rng = np.random.default_rng(1)
    n = 60
    y = rng.integers(0, 2, n)
    p = np.clip(y * 0.3 + rng.random(n) * 0.6, 0, 1)
    truth = {"a": y, "rare": np.zeros(n, dtype=int), "b": np.where(np.arange(n) < 50, y, -1)}
    ids = [f"t{i}" for i in range(n)]
    threshold = choose_threshold([0, 1], [0.2, 0.5], ["v1", "v2"])
    found = score_classification(
        truth,
        dict.fromkeys(truth, p),
        ids,
        patient_ids=[f"p{i // 2}" for i in range(n)],
        thresholds={"a": threshold},
        known={"b": np.arange(n) < 50},
        statistics=Statistics(bootstraps=300),
    )
    a, rare, b = found.labels
    assert a.rates["auroc"].value == pytest.approx(brute_auroc(y, p)) and b.n == 50
    assert b.rates["auroc"].value == pytest.approx(brute_auroc(y[:50], p[:50]))
    low, high = a.rates["auroc"].low, a.rates["auroc"].high
    assert low is not None and high is not None and low < a.rates["auroc"].value < high
    called = p >= 0.5
    assert a.rates["sensitivity"].value == pytest.approx((called & (y == 1)).sum() / y.sum())
    assert a.rates["specificity"].value == pytest.approx((~called & (y == 0)).sum() / (y == 0).sum())
    assert a.rates["f1"].value == pytest.approx(2 * (called & (y == 1)).sum() / (called.sum() + y.sum()))
    assert rare.rates["auroc"].value is None and rare.rates["brier"].value is not None
    assert found.undefined["auroc"] == 1 and found.patients == 30
    assert found.macro["auroc"].value == pytest.approx((a.rates["auroc"].value + b.rates["auroc"].value) / 2)
    assert found.to_dict()["labels"][0]["label"] == "a"
    with pytest.raises(InputError, match="0 or 1"):
        score_classification({"b": truth["b"]}, {"b": p}, ids)
    with pytest.raises(InputError, match="same labels"):
        score_classification(truth, {"a": p}, ids)


PATIENTS = {"q": "P1", "own": "P1", "a": "P2", "a2": "P3", "b": "P4", "c": "P5", "q2": "P6", "copy": "P7"}


def test_own_patient_and_duplicates_take_no_place() -> None:
    groups = {"a": "g", "a2": "g", "q": "h", "copy": "h"}
    found = score_retrieval(
        {"q": ["own", "q", "copy", "a", "a2", "b", "c"]},
        {"q": ["own", "b", "a2", "copy"]},
        PATIENTS,
        duplicates=groups,
        k=(1, 2, 3),
    )
    # Left: group of a and a2, b, c. Relevant of those: the group and b.
    assert found.excluded == {"q": 4}
    assert {k: rows["q"].value for k, rows in found.recall.items()} == {1: 0.5, 2: 1.0, 3: 1.0}
    assert found.hit[1]["q"].value == 1.0 and found.reciprocal_rank["q"].value == 1.0
    plain = score_retrieval({"q": ["c", "a", "a2", "b"]}, {"q": ["b"]}, PATIENTS, k=(1, 3))
    assert plain.recall[3]["q"].value == 0.0 and plain.reciprocal_rank["q"].value == 0.25
    shorter = score_retrieval({"q": ["c", "a", "a2", "b"]}, {"q": ["b"]}, PATIENTS, duplicates=groups, k=(1, 3))
    assert shorter.recall[3]["q"].value == 1.0


def test_paired_retrieval_keeps_its_counterpart_and_its_copies() -> None:
    patients = {"image": "P1", "report": "P1", "older": "P1", "copy": "P2", "x": "P3"}
    ranking = {"image": ["older", "copy", "x", "report"]}
    found = score_retrieval(
        ranking, {"image": ["report"]}, patients, paired=True, k=(1, 2), duplicates={"report": "g", "copy": "g"}
    )
    assert found.recall[1]["image"].value == 1.0 and found.excluded["image"] == 2
    alone = score_retrieval(ranking, {"image": ["report"]}, patients, paired=True, k=(1, 3))
    assert alone.recall[1]["image"].value == 0.0 and alone.recall[3]["image"].value == 1.0


def test_nothing_relevant_is_undefined_and_a_short_ranking_is_refused() -> None:
    found = score_retrieval({"q": ["a", "b"], "q2": ["b", "a"]}, {"q": ["own"], "q2": ["a"]}, PATIENTS, k=(1, 2))
    assert found.recall[1]["q"].value is None and found.mean("recall", 2).value == 1.0
    assert found.mean("recall", 2).n == 1 and found.mean("reciprocal_rank").value == 0.5
    with pytest.raises(InputError, match="Retrieve more"):
        score_retrieval({"q": ["own", "a"], "q2": ["b", "c"]}, {"q": ["a"], "q2": ["b"]}, PATIENTS, k=(2,))
    with pytest.raises(InputError, match="once"):
        score_retrieval({"q": ["a", "a"]}, {"q": ["a"]}, PATIENTS, k=(1,))
    with pytest.raises(InputError, match="patient"):
        score_retrieval({"q": ["z"]}, {"q": ["z"]}, PATIENTS, k=(1,))
    with pytest.raises(InputError, match="relevant"):
        score_retrieval({"q": ["a"]}, {}, PATIENTS, k=(1,))
    with pytest.raises(InputError):
        found.mean("precision", 1)


@settings(max_examples=60)
@given(
    st.permutations(["a", "a2", "b", "c", "own", "copy"]), st.sets(st.sampled_from(["a", "b", "c", "own"]), min_size=1)
)
def test_recall_equals_that_of_the_filtered_list(order: list[str], wanted: set[str]) -> None:
    found = score_retrieval({"q": order}, {"q": wanted}, PATIENTS, k=(1, 2, 5))
    left = [i for i in order if PATIENTS[i] != "P1"]
    goals = {i for i in wanted if PATIENTS[i] != "P1"}
    for k, row in found.recall.items():
        expected = len(set(left[:k]) & goals) / len(goals) if goals else None
        assert row["q"].value == expected
    values = [found.recall[k]["q"].value or 0.0 for k in (1, 2, 5)]
    assert all(a <= b for a, b in itertools.pairwise(values))

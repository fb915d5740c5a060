"""Questions have one right answer, which is that of the truth; balanced ones cannot be guessed."""

from __future__ import annotations

from collections import Counter

import pytest

from radvlm.dataset.case import Case
from radvlm.dataset.questions import GROUPS, KINDS, Question, answers, balanced, constant_baseline, questions, subjects
from radvlm.errors import InputError
from radvlm.model.questions import Subjects, understand
from radvlm.types.finding_kinds import finding_kinds
from radvlm.types.records import record_from
from tests.dataset.conftest import MakeCase, lesion


def _one(case: Case, kind: str, subject: str) -> list[str]:
    return [q.answer for q in questions(case) if (q.kind, q.subject) == (kind, subject)]


def test_answers_by_hand(make_case: MakeCase) -> None:
    case = make_case(
        [
            lesion("kidney_cyst", "left"),
            lesion("kidney_cyst", "left"),
            lesion("splenomegaly"),
            lesion("pleural_effusion", "left"),
            lesion("pleural_effusion", "right"),
            lesion("pancreas_tumor", location="pancreas_tail"),
            lesion("gallstone"),
        ]
    )
    assert _one(case, "presence", "kidney_cyst") == ["Yes"] and _one(case, "presence", "liver_cyst") == ["No"]
    assert _one(case, "side", "kidney_cyst") == ["Left"] and _one(case, "side", "pleural_effusion") == ["Both sides"]
    assert _one(case, "count", "kidney_cyst") == ["More than one"] and _one(case, "count", "gallstone") in (["One"], [])
    assert _one(case, "location", "pancreas_tumor") == ["Pancreatic tail"]
    assert _one(case, "organ", "cyst") == ["Kidneys"] and _one(case, "organ", "stone") == ["Gallbladder"]
    assert _one(case, "size", "spleen") == ["Yes"] and _one(case, "size", "liver") == ["No"]
    assert _one(case, "lesion", "spleen") == ["No"] and _one(case, "lesion", "kidney") == ["Yes"]
    assert _one(case, "normal", "spleen") == ["Abnormal"] and _one(case, "normal", "liver") == ["Normal"]


def test_what_has_no_single_answer_is_not_asked(make_case: MakeCase) -> None:
    case = make_case(
        [
            lesion("liver_cyst", location="liver_segment_2"),
            lesion("liver_cyst", location="liver_segment_7"),
            lesion("spleen_cyst"),
            lesion("lung_consolidation", "left"),
            lesion("kidney_tumor", "left"),
            lesion("liver_metastasis"),
        ],
        without=("uterus",),
    )
    assert not _one(case, "location", "liver_cyst"), "two segments"
    assert not _one(case, "organ", "cyst"), "two organs"
    assert not _one(case, "organ", "tumor"), "a metastasis could be called one"
    assert not _one(case, "lesion", "lung"), "whether consolidation is a focal lesion is open"
    assert not any(q.subject in ("uterus", "uterine_fibroid") for q in questions(case)), "not imaged"
    texts = {q.text for seed in range(30) for q in questions(case, seed) if q.subject == "spleen_lesion"}
    assert texts and not any("splenic lesion" in t for t in texts), "a splenic cyst is one"


@pytest.mark.slow
def test_every_wording_can_be_filled_and_every_answer_is_a_choice(make_case: MakeCase) -> None:
    sick = make_case([lesion(name, "left" if kind.sided else "") for name, kind in finding_kinds().items()])
    healthy = make_case([], name="b")
    for case in (sick, healthy):
        for split in ("train", "heldout"):
            for seed in range(40):
                for q in questions(case, seed, split):
                    assert q.answer in q.choices and set(q.choices) <= set(answers()) and q.kind in KINDS
                    assert "{" not in q.text and q.text[0].isupper() and q.text[-1] in "?.s" and "  " not in q.text
                    assert "a a" not in q.text.split() and q.case == case.name


def test_heldout_wordings_are_not_those_of_training_and_seeds_decide(make_case: MakeCase) -> None:
    case = make_case([lesion("kidney_cyst", "left"), lesion("liver_cyst", location="liver_segment_3")])
    train = {q.text for seed in range(60) for q in questions(case, seed)}
    held = {q.text for seed in range(60) for q in questions(case, seed, "heldout")}
    assert not train & held
    assert questions(case, 3) == questions(case, 3) != questions(case, 4)
    assert [(q.kind, q.subject, q.answer) for q in questions(case, 3)] == [
        (q.kind, q.subject, q.answer) for q in questions(case, 4)
    ] or "presence" in KINDS


def _pool(counts: dict[tuple[str, str, str], int]) -> list[Question]:
    return [Question(f"{k} {s}?", a, k, s, ("Yes", "No"), str(n)) for (k, s, a), c in counts.items() for n in range(c)]


def test_balanced_evens_out_each_subject_and_drops_what_the_question_gives_away() -> None:
    pool = _pool(
        {
            ("presence", "x", "Yes"): 3,
            ("presence", "x", "No"): 50,
            ("presence", "y", "No"): 9,
            ("side", "x", "Left"): 8,
            ("side", "x", "Right"): 5,
            ("side", "x", "Both sides"): 2,
        }
    )
    kept = Counter((q.kind, q.subject, q.answer) for q in balanced(pool))
    assert kept == {
        ("presence", "x", "Yes"): 3,
        ("presence", "x", "No"): 3,
        ("side", "x", "Left"): 5,
        ("side", "x", "Right"): 5,
        ("side", "x", "Both sides"): 2,
    }
    assert balanced(pool, 1) == balanced(pool, 1) != balanced(pool, 2)
    assert Counter(q.kind for q in balanced(pool, per_kind=4)) == {"presence": 4, "side": 4}


def test_baseline_by_hand() -> None:
    pool = _pool(
        {("presence", "x", "Yes"): 6, ("presence", "x", "No"): 2, ("presence", "y", "No"): 4, ("side", "x", "Left"): 4}
    )
    assert constant_baseline(pool, "all").accuracy == 6 / 16
    assert constant_baseline(pool, "kind").accuracy == (6 + 4) / 16
    best = constant_baseline(pool, "subject")
    assert best.accuracy == (6 + 4 + 4) / 16 and best.answers["presence", "y"] == "No"
    assert [constant_baseline(pool, g).accuracy for g in GROUPS] == sorted(
        constant_baseline(pool, g).accuracy for g in GROUPS
    )


def test_unknown_names_are_refused(make_case: MakeCase) -> None:
    with pytest.raises(InputError, match="split"):
        questions(make_case([]), split="all")
    with pytest.raises(InputError, match="group"):
        constant_baseline(_pool({("side", "x", "Left"): 1}), "case")
    with pytest.raises(InputError, match="at least one"):
        constant_baseline([])


@pytest.mark.parametrize("split", ["train", "heldout"])
def test_a_model_understands_every_wording(make_case: MakeCase, split: str) -> None:
    known = record_from(Subjects, subjects())
    rows = [
        [lesion("kidney_cyst", "left"), lesion("gallstone")],
        [lesion("liver_cyst", location="liver_segment_7")],
        [lesion("lung_nodule", "right", "lung_upper_lobe_right"), lesion("hepatomegaly")],
        [],
    ]
    kinds = set()
    for number, held in enumerate(rows):
        case = make_case(held, f"c{number}")
        for seed in range(4):
            for q in questions(case, seed, split):
                asked = understand(q.text, known)
                assert asked is not None, q.text
                assert asked.kind == ("presence" if q.kind in ("presence", "lesion", "size") else q.kind), q.text
                if q.kind in ("presence", "side", "location", "count"):
                    assert asked.findings == (q.subject,), q.text
                if q.kind == "organ":
                    assert set(asked.answers.values()) == set(q.choices)
                kinds.add(q.kind)
    assert kinds == {"presence", "lesion", "side", "location", "organ", "count", "size", "normal"}

"""Generated pairs: known errors are found, controls hold none, and the generator shares nothing with the counter."""

from __future__ import annotations

import ast
from collections import Counter
from pathlib import Path

import pytest

import radvlm.evaluate.inject
from radvlm.errors import InputError
from radvlm.evaluate.inject import CATEGORIES, CONTROLS, STRENGTHS, inject_text, pairs
from radvlm.evaluate.inject_grammar import TOPICS
from radvlm.evaluate.metrics.errors import count_errors


def test_errors_of_every_kind_are_found_and_controls_are_clean() -> None:
    hit, false, missed, clean = Counter[str](), Counter[str](), Counter[str](), {c: [0, 0] for c in CONTROLS}
    for pair in pairs(40, seed=11):
        got = Counter(e.category for e in count_errors(pair.reference, pair.candidate).errors)
        if pair.control:
            clean[pair.control][0] += not got
            clean[pair.control][1] += 1
            continue
        wanted = Counter(e.category for e in pair.errors)
        hit += got & wanted
        false += got - wanted
        missed += wanted - got
    for category in CATEGORIES:
        assert hit[category] / (hit[category] + false[category]) >= 0.95, (category, "precision")
        assert hit[category] / (hit[category] + missed[category]) >= 0.95, (category, "recall")
    assert sum(c for c, _ in clean.values()) >= 0.98 * sum(n for _, n in clean.values())


def test_several_errors_in_one_report() -> None:
    hit = wanted = found = 0
    for pair in pairs(20, seed=4, controls=(), errors_per_pair=3):
        got, want = (
            Counter(e.category for e in count_errors(pair.reference, pair.candidate).errors),
            Counter(e.category for e in pair.errors),
        )
        assert len({e.topic for e in pair.errors}) == 3
        hit, wanted, found = hit + (got & want).total(), wanted + want.total(), found + got.total()
    assert hit / wanted >= 0.93 and hit / found >= 0.93


def test_pairs_are_the_same_for_a_seed_and_differ_for_another() -> None:
    first, again, other = list(pairs(3, seed=1)), list(pairs(3, seed=1)), list(pairs(3, seed=2))
    assert first == again
    assert [p.reference for p in first] != [p.reference for p in other]
    assert len({p.id for p in first}) == len(first) == 3 * (len(CATEGORIES) + len(CONTROLS))
    assert {e.strength for p in first for e in p.errors} == set(STRENGTHS)


def test_every_topic_has_several_wordings_and_fills_its_slots() -> None:
    for pair in pairs(30, seed=9, controls=()):
        assert "{" not in pair.reference + pair.candidate
        assert "  " not in pair.reference and " ," not in pair.candidate
    for topic in TOPICS:
        assert len(topic.templates) >= 2 and topic.normal


def test_the_generator_uses_no_part_of_the_counter() -> None:
    for name in ("inject.py", "inject_grammar.py"):
        tree = ast.parse((Path(radvlm.evaluate.inject.__file__).parent / name).read_text())
        used = {
            node.module
            for node in ast.walk(tree)
            if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("radvlm")
        }
        assert used <= {"radvlm.errors", "radvlm.evaluate.inject_grammar"}


REPORT = """FINDINGS: There is a 12 mm nodule in the right upper lobe, unchanged from the prior examination.
Mild cardiomegaly.
Small left pleural effusion. No pneumothorax. The liver is normal.
IMPRESSION: Pulmonary nodule."""


@pytest.mark.parametrize("category", CATEGORIES)
def test_an_error_is_edited_into_a_real_report(category: str) -> None:
    pair = inject_text(REPORT, category, seed=3)
    assert pair is not None and pair.reference == REPORT and pair.candidate != REPORT
    assert "No pneumothorax" in pair.candidate and "The liver is normal" in pair.candidate
    assert [e.category for e in pair.errors] == [category]


def test_what_cannot_carry_an_error_gives_none() -> None:
    assert inject_text("No effusion.", "wrong_location") is None
    assert inject_text("The lungs are clear.", "omitted_comparison") is None
    with pytest.raises(InputError):
        inject_text("x", "typo")
    with pytest.raises(InputError):
        list(pairs(1, categories=("typo",)))


def test_a_size_with_a_decimal_point_is_edited_as_one_number() -> None:
    text = "There is a 7.2 mm nodule in the right upper lobe, wider than 5.5 mm."
    pair = inject_text(text, "wrong_severity", seed=1)
    assert pair is not None
    assert pair.candidate == "There is a 18 mm nodule in the right upper lobe, wider than 13.75 mm."

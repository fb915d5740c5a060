"""Generated pairs: known errors are found, controls hold none, and the generator shares nothing with the counter."""

from __future__ import annotations

import ast
from collections import Counter
from pathlib import Path

import pytest

import radvlm.evaluate.inject
from radvlm.errors import InputError
from radvlm.evaluate.inject import CATEGORIES, CONTROLS, STRENGTHS, pairs
from radvlm.evaluate.inject_grammar import TOPICS
from radvlm.evaluate.metrics.errors import count_errors


@pytest.mark.slow
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
        # a capital letter at the head of a sentence is the one thing that it takes from elsewhere; the counter does not
        assert used <= {"radvlm.errors", "radvlm.evaluate.inject_grammar", "radvlm.wording.sentences"}
        assert name != "inject.py" or [
            alias.name
            for node in ast.walk(tree)
            if isinstance(node, ast.ImportFrom) and node.module == "radvlm.wording.sentences"
            for alias in node.names
        ] == ["capital"]


def test_an_unknown_category_is_refused() -> None:
    with pytest.raises(InputError):
        list(pairs(1, categories=("typo",)))

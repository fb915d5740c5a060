"""Lessons of the decoder say what a detector saw, and nothing of what it left open."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from radvlm.dataset.case import Case
from radvlm.dataset.sentences import TINY_SECTIONS, sentence_of, wording
from radvlm.model.decoder.prompts import question_prompt, section_prompt, seen_text
from radvlm.train.language import make_lessons, seen_lesson, seen_whole
from radvlm.types.finding_kinds import finding_kinds
from tests.dataset.conftest import document, lesion

ROWS = [
    lesion("liver_cyst", location="liver_segment_7"),
    lesion("liver_cyst", location="liver_segment_2"),
    lesion("kidney_stone", "left"),
    lesion("pleural_effusion", "right"),
    lesion("hepatomegaly"),
]


@pytest.fixture
def case(tmp_path: Path) -> Case:
    return _case(tmp_path, "a", ROWS)


def _case(folder: Path, name: str, rows: Any) -> Case:
    (folder / name).mkdir()
    (folder / name / "case.json").write_text(json.dumps(document(rows)))
    return Case(folder / name)


def test_prompts_by_hand() -> None:
    seen = seen_text([("hepatic cyst", ("segment VII",)), ("hepatomegaly", ())], ["liver tumor", "liver abscess"])
    assert seen == "seen: hepatic cyst | segment VII\nseen: hepatomegaly\nnot seen: liver tumor, liver abscess"
    assert seen_text([]) == "seen: nothing"
    assert section_prompt("soft_tissues", "seen: nothing") == "<facts> seen: nothing\n<report> soft tissues:"
    assert section_prompt("liver") == "<report> liver:"
    assert question_prompt(" Why? ", "seen: nothing") == "<facts> seen: nothing\n<question> Why? <answer>"
    assert question_prompt("Why?") == "<question> Why? <answer>"


def test_the_whole_scan_by_hand(case: Case) -> None:
    assert seen_whole(case).splitlines() == [
        "seen: pleural effusion | right lung",
        "seen: hepatic cyst | segment II | segment VII",
        "seen: hepatomegaly",
        "seen: renal stone | left kidney",
    ]


def test_a_lesson_says_what_was_seen_and_denies_only_what_was_ruled_out(case: Case) -> None:
    rng, words = np.random.default_rng(0), {f.words: name for name, f in finding_kinds().items()}
    placed = unplaced = left_open = 0
    for _ in range(80):
        for section in ("liver", "kidneys", "pleura", "lungs"):
            seen, said = seen_lesson(case, section, rng)
            lines = seen.splitlines()
            ruled_out = (
                {words[w] for w in lines[-1].removeprefix("not seen: ").split(", ")}
                if (lines[-1].startswith("not seen"))
                else set()
            )
            there = {
                words[line.removeprefix("seen: ").split(" | ")[0]]
                for line in lines
                if line.startswith("seen: ") and line != "seen: nothing"
            }
            assert there == {f for s in said if s.present for f in s.findings}
            assert there == {n for n, f in finding_kinds().items() if f.section == section and case.present(n)}
            assert {f for s in said if not s.present for f in s.findings} <= ruled_out
            assert not any(case.present(f) for f in ruled_out)
            known = {n for i, (n, f) in enumerate(finding_kinds().items()) if f.section == section and case.known[i]}
            left_open += there | ruled_out != known
            if section == "liver":
                placed += "segment VII" in seen and "segment VII" in said[0].text
                unplaced += "segment" not in seen and not any("segment" in s.text for s in said)
    assert placed + unplaced == 80 and 10 < unplaced < 40 and left_open > 20


def test_lessons_of_cases(tmp_path: Path) -> None:
    cases = [_case(tmp_path, f"c{n}", held) for n, held in enumerate((ROWS, [], [lesion("gallstone")]))]
    lessons = make_lessons(cases, seed=3)
    assert lessons.facts == () and 35 < len(lessons.sections) <= 3 * len(TINY_SECTIONS)
    assert all(x.prompt.startswith("<facts> seen: ") for x in (*lessons.sections, *lessons.answers))
    side = [x for x in lessons.answers if x.case == 0 and "renal stone" in x.prompt]
    assert all(seen_whole(cases[x.case]) in x.prompt for x in lessons.answers) and side


@pytest.mark.parametrize("finding", list(finding_kinds()))
def test_a_sentence_on_one_finding(finding: str) -> None:
    rng = np.random.default_rng(1)
    there, gone = ({sentence_of(finding, present, rng) for _ in range(60)} for present in (True, False))
    assert len(there) > 3 and len(gone) > 2 and not there & gone
    for text in there | gone:
        assert text[0].isupper() and text.endswith(".") and not set("{}") & set(text) and "  " not in text
    if finding in wording()["nouns"]:
        nouns = {form for pair in wording()["nouns"][finding] for form in pair}
        assert all(any(n in text.lower() for n in nouns) for text in there | gone)
        assert all(any(w in text.lower().split() for w in ("no", "negative", "not", "absent.")) for text in gone)
        assert not any(text.startswith(("No ", "Negative ")) or " no " in text for text in there)

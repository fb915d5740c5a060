"""Calibration, gap, marginal relevance, budget: hand-worked values."""

from __future__ import annotations

import math
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from radvlm.errors import InputError
from radvlm.retrieve import Hit, SelectSettings, make_hints, select
from radvlm.retrieve.score_calibration import background_rows, strength, z_scores
from radvlm.retrieve.selection import gap_cut


def hit(rank: int, z: float | None, text: str = "", vector: list[float] | None = None) -> Hit:
    return Hit(
        f"S{rank}/sentence/0",
        f"S{rank}",
        f"P{rank}",
        f"S{rank}",
        "sentence",
        "liver",
        "liver",
        text or f"A {rank} mm cyst number {rank}.",
        0.5,
        z,
        rank,
        vector=None if vector is None else np.array(vector, np.float32),
    )


def test_z_is_standard_deviations_above_the_background() -> None:
    background = np.array([0.0, 0.2] * 20, np.float32)  # mean 0.1, standard deviation 0.1
    assert z_scores([0.1, 0.4, -0.1], background) == pytest.approx([0.0, 3.0, -2.0], abs=1e-5)
    assert z_scores([0.4], background[:20]) == [None]
    assert z_scores([0.4], np.ones(50, np.float32)) == [None]


def test_background_is_drawn_from_allowed_rows() -> None:
    mask = np.zeros(100_000, bool)
    mask[::3] = True
    rows = background_rows(mask)
    assert len(rows) == 1024 and mask[rows].all() and rows[0] == 0 and rows[-1] == 99_999


def test_strength_by_hand() -> None:
    assert strength(np.array([0.0]))[0] == pytest.approx(math.log(2))  # half of all rows are above the mean
    assert strength(np.array([1.6448536]))[0] == pytest.approx(math.log(20), rel=1e-6)  # one in twenty
    assert strength(np.array([40.0]))[0] == pytest.approx(804.608, abs=0.01), "no underflow far out"


@given(st.lists(st.floats(-35, 60), min_size=1, max_size=30))
def test_the_gap_rule_is_defined_for_any_sign(zs: list[float]) -> None:
    s = strength(np.sort(np.array(zs))[::-1])
    assert (s > 0).all() and (np.diff(s) <= 1e-12).all()
    kept, drop = gap_cut(s, 0.5)
    assert 1 <= kept <= len(zs) and math.isfinite(drop)
    assert all(math.log(a / b) <= 0.5 + 1e-9 for a, b in pairwise(s[:kept]))
    assert kept == len(zs) or math.log(s[kept - 1] / s[kept]) > 0.5


def test_gap_of_the_paper_on_given_strengths() -> None:
    # log ratios: 0.105, 0.118, 0.875, 0.288 -> cut after the third
    assert gap_cut(np.array([10.0, 9.0, 8.0, 3.335, 2.5]), 0.5) == (3, pytest.approx(0.875, abs=1e-3))
    assert gap_cut(np.array([10.0, 9.0]), 0.5)[0] == 2
    assert gap_cut(np.array([]), 0.5) == (0, 0.0)


def test_gap_cut_is_explained() -> None:
    got = select([hit(1, 9.0), hit(2, 8.8), hit(3, 4.0), hit(4, 1.0)])
    assert [v.hit.rank for v in got.kept] == [1, 2]
    reasons = {v.hit.rank: v.reason for v in got.verdicts}
    assert "gap below #2" in reasons[3] and "below 2.33" in reasons[4]
    assert got.explain().count("\n") == 3 and got.explain().startswith("keep #1")


def test_no_hit_is_an_answer() -> None:
    assert select([]).kept == ()
    assert select([hit(1, 0.3), hit(2, -1.0)]).kept == ()
    assert make_hints(select([hit(1, 0.3)]), "d") == ()


def test_a_whole_report_becomes_a_hint_for_each_section() -> None:
    text = "There is a hepatic cyst in segment IV. It is simple. Renal stone in the left kidney of 4 mm. Liver abscess."
    chosen = select(
        [replace(hit(1, 5.0, text), section="", level="report"), hit(2, 4.9, "A 3 mm splenic cyst.")],
        SelectSettings(drop_normal=False),
    )
    hints = make_hints(chosen, "d")
    assert [(h.number, h.section, h.text) for h in hints] == [
        (1, "liver", "There is a hepatic cyst in segment IV. It is simple. Liver abscess."),
        (2, "kidneys", "Renal stone in the left kidney of 4 mm."),
        (3, "liver", "A 3 mm splenic cyst."),
    ]
    assert {h.source for h in hints} == {"S1/sentence/0", "S2/sentence/0"}


def test_boilerplate_is_dropped_and_cut_out() -> None:
    got = select(
        [
            hit(1, 6.0, "The liver is unremarkable."),
            hit(2, 6.0, "No biliary dilatation. A 9 mm cyst in segment II."),
            hit(3, 5.9, "A 9 mm cyst in segment II!"),
        ]
    )
    assert [(v.hit.rank, v.text) for v in got.kept] == [(2, "A 9 mm cyst in segment II.")]
    reasons = {v.hit.rank: v.reason for v in got.verdicts}
    assert "normal" in reasons[1] and reasons[3] == "same words as #2"
    kept = select([hit(1, 6.0, "The liver is unremarkable.")], SelectSettings(drop_normal=False)).kept
    assert len(kept) == 1


def test_marginal_relevance_prefers_what_is_new() -> None:
    near, same, new = [1.0, 0.0], [0.95, 0.3122], [0.0, 1.0]  # cosines with the first: 0.95 and 0
    hits = [hit(1, 6.0, vector=near), hit(2, 5.9, vector=same), hit(3, 5.5, vector=new)]
    got = select(hits, SelectSettings(most=2))
    assert [v.hit.rank for v in got.kept] == [1, 3]  # 0.7*0.85-0 = 0.59 against 0.7*0.97-0.3*0.95 = 0.39
    assert [v.hit.rank for v in select(hits, SelectSettings(most=2, mmr_weight=1.0)).kept] == [1, 2]
    twin = [replace(hits[0]), hit(2, 5.9, vector=[0.99, 0.141]), hits[2]]
    assert "says the same as #1" in {v.hit.rank: v.reason for v in select(twin).verdicts}[2]


def test_budget() -> None:
    hits = [hit(1, 6.0, "one two three."), hit(2, 5.9, "four five six seven eight nine."), hit(3, 5.8, "ten.")]
    got = select(hits, SelectSettings(token_budget=7))
    assert [v.hit.rank for v in got.kept] == [1, 3]  # 4 tokens, 7 do not fit in the 3 left, 2 do
    assert "7 tokens, 3 left of 7" in got.explain() or "7 tokens, 1 left of 7" in got.explain()
    assert len(select(hits, SelectSettings(token_budget=9), count_tokens=lambda t: 3).kept) == 3


def test_uncalibrated_hits() -> None:
    hits = [hit(1, None), hit(2, None)]
    assert [v.reason for v in select(hits).kept] == ["not calibrated"] * 2
    assert select(hits, SelectSettings(keep_uncalibrated=False)).kept == ()


def test_settings_out_of_range() -> None:
    with pytest.raises(InputError):
        SelectSettings(gamma=0)

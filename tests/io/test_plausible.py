"""Inputs that look right: every fault is told, nothing honest is, and what is read is what was written."""

from __future__ import annotations

import pytest

from plausible import FAULTS, faulty, honest, verdict

#: Every fault once. Seeds from 10,000 on are for tests; the sample of ``eval/score_plausible.py`` begins at 0.
SEEDS = range(len(FAULTS) * 400, len(FAULTS) * 401)


@pytest.mark.slow
@pytest.mark.parametrize("seed", SEEDS, ids=[FAULTS[seed % len(FAULTS)].__name__ for seed in SEEDS])
def test_a_plausible_fault_is_refused_or_warned(tmp_path, seed):
    written = faulty(seed, tmp_path, pool=4)
    assert written.kind == FAULTS[seed % len(FAULTS)].__name__
    found = verdict(written)
    assert found.word in ("refused", "warned"), written.told
    assert all(found.said)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(10_000, 10_012))
def test_an_honest_input_is_read_as_it_was_written(tmp_path, seed):
    written = honest(seed, tmp_path, pool=4)
    found = verdict(written)
    assert found.word == "silent", (written.told, found.said)

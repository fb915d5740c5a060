"""A seeded share of the adversary (``eval/adversary.py``): no falsehood passes, true sentences in other words do."""

from __future__ import annotations

import pytest

import falsehoods
import made_reports
from radvlm.compose.verify.sentence import overlooked, verify_sentence
from radvlm.types.report import Sentence


@pytest.mark.slow
@pytest.mark.parametrize("seed", [3])
def test_no_falsehood_in_a_single_fact_passes_and_paraphrases_do(seed: int) -> None:
    report = made_reports.of_made_up(seed)
    truths, refused, tried = 0, [], 0
    for number, said in enumerate(falsehoods.all_statements(report)):
        if said.is_true and number % 3:
            continue
        if said.is_true:
            truths += 1
            reason = verify_sentence(Sentence(said.text, said.section, said.cited))
            refused += [f"{said.text} {reason}"] if reason else []
        elif number % 41 == seed:
            tried += 1
            beside = [f for f in report.findings if f.section == said.section and f not in said.cited]
            for cited in (said.cited, (*said.cited, *beside)) if said.is_settled else (said.cited,):
                sentence = Sentence(said.text, said.section, cited)
                assert verify_sentence(sentence) or overlooked(sentence, report.findings), (said.kind, said.text)
    assert tried > 50 and truths > 60
    assert len(refused) <= 0.05 * truths, refused[:10]

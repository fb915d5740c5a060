"""Trivial systems and template collapse, against plain computations and sacrebleu."""

from __future__ import annotations

import numpy as np
import pytest

from radvlm.evaluate.baselines import baselines, collapse, normal_report, self_bleu, tf_idf
from radvlm.evaluate.metrics.tokenizers import TOKENIZERS, Encoder
from radvlm.report_reader.report_text import ReportText


def _reports(texts: list[str], per_patient: int = 1) -> list[ReportText]:
    return [ReportText.from_text(f"{i:03d}", t, f"p{i // per_patient}") for i, t in enumerate(texts)]


def test_random_and_nearest_never_copy_the_same_patient(pairs: tuple[list[str], list[str]]) -> None:
    texts = [t for t in pairs[0][:15] for _ in range(2)]  # each patient has the same report twice
    refs = _reports(texts, per_patient=2)
    rows = {b.name: b for b in baselines(refs)}
    for name in ("random report", "nearest report"):
        for reference, copy in zip(refs, rows[name].reports, strict=True):
            assert copy.id == reference.id and copy.text != reference.text


def test_baselines_do_not_depend_on_the_order_of_cases(pairs: tuple[list[str], list[str]]) -> None:
    refs = _reports(pairs[0])
    shuffled = [refs[i] for i in np.random.default_rng(0).permutation(len(refs))]
    for a, b in zip(baselines(refs), baselines(shuffled), strict=True):
        assert {r.id: r.text for r in a.reports} == {r.id: r.text for r in b.reports}
    assert baselines(refs, seed=1)[1].reports != baselines(refs)[1].reports


def test_nearest_is_the_most_similar_reference() -> None:
    refs = _reports(
        [
            "liver cyst in segment four",
            "hepatic cyst segment four liver",
            "lung nodule right apex",
            "right apex lung nodule of 6 mm",
            "normal spleen",
            "spleen normal and small",
        ]
    )
    nearest = {b.name: b for b in baselines(refs)}["nearest report"].reports
    assert [r.text for r in nearest] == [refs[i].text for i in (1, 0, 3, 2, 5, 4)]
    vectors = tf_idf([r.text for r in refs])
    assert np.allclose(np.linalg.norm(vectors, axis=1), 1)


def test_the_normal_report_fits_the_region_and_form() -> None:
    chest = _reports(["FINDINGS: The lungs are clear.\nIMPRESSION: Normal."] * 3)
    report = baselines(chest)[0].reports[0]
    assert report.impression == normal_report("chest")["impression"]
    assert "liver" not in report.text
    both = baselines(_reports(["Lungs clear. Liver normal."] * 2))[0]
    assert "lungs" in both.reports[0].text and "liver" in both.reports[0].text
    assert "chest and abdomen" in both.description and not both.reports[0].sections


def test_one_patient_has_only_the_constant_baseline() -> None:
    assert [b.name for b in baselines(_reports(["a b", "c d"], per_patient=2))] == ["normal report"]


def test_self_bleu_equals_sacrebleu(pairs: tuple[list[str], list[str]]) -> None:
    sacrebleu = pytest.importorskip("sacrebleu")
    texts = [*pairs[0][:12], pairs[0][0], "normal", "a b c a b c a b c"]
    expected = np.mean([sacrebleu.sentence_bleu(t, texts[:i] + texts[i + 1 :]).score for i, t in enumerate(texts)])
    assert self_bleu(Encoder(TOKENIZERS["13a"]).encode(texts)) == pytest.approx(expected, abs=1e-6)


def test_collapse_counts() -> None:
    found = collapse(["Normal liver. No cyst.", "normal  liver. no cyst.", "Normal liver. Cyst."])
    assert (found.n, found.distinct, found.most_common) == (3, 2, 2)
    assert (found.sentences, found.distinct_sentences) == (6, 3)
    assert found.mean_words == pytest.approx(11 / 3)
    assert collapse(["one"]).self_bleu is None
    assert collapse(["same text here now"] * 4).self_bleu == pytest.approx(100)

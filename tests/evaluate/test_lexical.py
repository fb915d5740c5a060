"""The lexical metrics beside the programs they equal, and the properties they must have."""

from __future__ import annotations

import random
import re
import string
import warnings

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from radvlm.errors import InputError
from radvlm.evaluate.metrics import meteor
from radvlm.evaluate.metrics.lexical import PROFILES, LexicalMetric, MeteorMetric
from radvlm.evaluate.metrics.ngrams import common_subsequence, count_grams, matches
from radvlm.evaluate.metrics.stemmer import stem
from radvlm.evaluate.metrics.tokenizers import TOKENIZERS, Encoder
from radvlm.report_reader.report_text import ReportText

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    sacrebleu = pytest.importorskip("sacrebleu")
    rouge_scorer = pytest.importorskip("rouge_score.rouge_scorer")
    pytest.importorskip("pycocoevalcap")
    from nltk.stem.porter import PorterStemmer
    from pycocoevalcap.bleu.bleu import Bleu
    from pycocoevalcap.cider.cider import Cider
    from pycocoevalcap.rouge.rouge import Rouge

Pairs = tuple[list[str], list[str]]
TEXT = st.text(alphabet=string.ascii_letters + string.digits + " .,;:-/()[]'\"%<>&#\n\té°µ", max_size=120)
EDGES = ["", "   ", ".", "a", "No.", "normal normal normal", "x" * 500, "5.5 mm, 3-4 cm (2%)", "é ü 漢字 \u00a0 x"]


def _reports(texts: list[str]) -> list[ReportText]:
    return [ReportText.from_text(str(i), t) for i, t in enumerate(texts)]


def _scored(profile: str, pairs: Pairs) -> tuple[LexicalMetric, list[dict], dict[str, float]]:
    """Metric, case scores, corpus values."""
    refs, cands = (_reports(texts) for texts in pairs)
    metric = LexicalMetric(profile).fit(refs)
    cases = metric.score_cases(refs, cands)
    corpus = {}
    for output in metric.outputs:
        scores = [c[output.case_key] for c in cases]
        if any(s.value is None for s in scores):
            continue
        if output.aggregate:
            corpus[output.name] = float(output.aggregate(np.array([s.stats for s in scores]).sum(axis=0)[None])[0])
        else:
            corpus[output.name] = float(np.mean([s.value for s in scores]))
    return metric, cases, corpus


def _coco(texts: list[str], split: bool = False) -> dict[int, list[str]]:
    return {i: [" ".join(t.split()) if split else t] for i, t in enumerate(texts)}


@pytest.mark.slow
def test_bleu_and_chrf_equal_sacrebleu(pairs: Pairs) -> None:
    _, cases, corpus = _scored("sacrebleu-13a", pairs)
    refs, cands = pairs
    for order in range(1, 5):
        theirs = sacrebleu.BLEU(max_ngram_order=order).corpus_score(cands, [refs]).score
        assert corpus[f"bleu-{order}"] == pytest.approx(theirs, abs=1e-6)
    assert corpus["chrf"] == pytest.approx(sacrebleu.corpus_chrf(cands, [refs]).score, abs=1e-6)
    for case, ref, cand in zip(cases, refs, cands, strict=True):
        assert case["bleu-4"].value == pytest.approx(sacrebleu.sentence_bleu(cand, [ref]).score, abs=1e-6)
        assert case["chrf"].value == pytest.approx(sacrebleu.sentence_chrf(cand, [ref]).score, abs=1e-6)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
def test_rouge_equals_rouge_score(pairs: Pairs) -> None:
    _, cases, corpus = _scored("radeval", pairs)
    scorer = rouge_scorer.RougeScorer(["rouge1", "rouge2", "rougeL"], use_stemmer=True)
    theirs = [scorer.score(r, c) for r, c in zip(*pairs, strict=True)]
    for ours, key in (("rouge-1", "rouge1"), ("rouge-2", "rouge2"), ("rouge-l", "rougeL")):
        for suffix, field in (("", "fmeasure"), ("-precision", "precision"), ("-recall", "recall")):
            values = [getattr(t[key], field) for t in theirs]
            assert [c[ours + suffix].value for c in cases] == pytest.approx(values, abs=1e-9)
            assert corpus[ours + suffix] == pytest.approx(np.mean(values), abs=1e-9)


def test_coco_forms_equal_pycocoevalcap(pairs: Pairs) -> None:
    """On whitespace tokens (profile radeval has the same BLEU), and with the cleaning of VLM3D."""
    refs, cands = pairs
    _, cases, corpus = _scored("radeval", pairs)
    theirs, by_case = Bleu(4).compute_score(_coco(refs), _coco(cands), verbose=0)
    for order in range(4):
        assert corpus[f"bleu-{order + 1}"] == pytest.approx(theirs[order], abs=1e-9)
        assert [c[f"bleu-{order + 1}"].value for c in cases] == pytest.approx(by_case[order], abs=1e-9)


def test_vlm3d_equals_its_evaluation(pairs: Pairs, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("shutil.which", lambda _: None)  # METEOR has its own test and takes long
    refs = [r.replace(". ", " . ") for r in pairs[0]]
    cands = [c + ' "_<|eot_id|>' for c in pairs[1]]
    _, cases, corpus = _scored("vlm3d", (refs, cands))
    gts = _coco([r.replace("\n", "").replace(" . ", ".").replace(" .", ".") for r in refs])
    res = _coco(
        [
            c.replace("\n", "")
            .replace("<|eot_id|>", "")
            .replace('"', "")
            .replace("_", "")
            .replace(" . ", ".")
            .replace(" .", ".")
            for c in cands
        ]
    )
    bleus, _ = Bleu(4).compute_score(gts, res, verbose=0)
    assert [corpus[f"bleu-{n}"] for n in range(1, 5)] == pytest.approx(bleus, abs=1e-9)
    assert corpus["bleu-mean"] == pytest.approx(np.mean(bleus), abs=1e-9)
    rouge, rouges = Rouge().compute_score(gts, res)
    assert corpus["rouge-l"] == pytest.approx(rouge, abs=1e-9)
    assert [c["rouge-l"].value for c in cases] == pytest.approx(list(rouges), abs=1e-9)
    cider, ciders = Cider().compute_score(gts, res)
    assert corpus["cider-d"] == pytest.approx(cider, abs=1e-6)
    assert [c["cider-d"].value for c in cases] == pytest.approx(list(ciders), abs=1e-6)


def test_texts_at_the_edges_score_as_in_the_references() -> None:
    refs = [a for a in EDGES for _ in EDGES]
    cands = [b for _ in EDGES for b in EDGES]
    _, cases, corpus = _scored("default", (refs, cands))
    assert corpus["bleu-4"] == pytest.approx(sacrebleu.corpus_bleu(cands, [refs]).score, abs=1e-6)
    assert corpus["chrf"] == pytest.approx(sacrebleu.corpus_chrf(cands, [refs]).score, abs=1e-6)
    for case, ref, cand in zip(cases, refs, cands, strict=True):
        assert case["bleu-4"].value == pytest.approx(sacrebleu.sentence_bleu(cand, [ref]).score, abs=1e-6), (ref, cand)
        assert case["chrf"].value == pytest.approx(sacrebleu.sentence_chrf(cand, [ref]).score, abs=1e-6), (ref, cand)


@settings(max_examples=150)
@given(TEXT)
def test_13a_equals_sacrebleu_on_any_text(text: str) -> None:
    from sacrebleu.tokenizers.tokenizer_13a import Tokenizer13a

    assert TOKENIZERS["13a"](text) == Tokenizer13a()(text.rstrip()).split()


@settings(max_examples=150)
@given(TEXT)
def test_rouge_tokens_equal_rouge_score_on_any_text(text: str) -> None:
    from rouge_score.tokenize import tokenize

    assert TOKENIZERS["rouge-stem"](text) == tokenize(text, PorterStemmer())


def test_the_stemmer_equals_nltk() -> None:
    rng = random.Random(3)
    endings = [
        "",
        *re.findall(
            r"\S+",
            (
                "s es ies ied ed ing eed ational tional izer ization ator alism iveness fulness ousness aliti iviti "
                "biliti "
                "fulli logi logy alli ally bli icate ative alize ical ful ness al ance er ic able ement ment ion sion "
                "tion ous "
                "ive ize e le ll y ly ully s0 5mm"
            ),
        ),
    ]
    stems = ["".join(rng.choices("bcdfglmnprstvwxyzaeiou", k=rng.randint(1, 7))) for _ in range(400)]
    words = [s + e for s in stems for e in rng.sample(endings, 12)]
    words += re.findall(
        r"\S+",
        (
            "skies sky dying lying news innings proceed cysts calcifications atelectasis effusions biopsies densities "
            "dilated sclerotic hypodense attenuation measuring opacities normal"
        ),
    )
    theirs = PorterStemmer()
    assert {w: stem(w) for w in words} == {w: theirs.stem(w) for w in words}


PTB_LINES = (
    "The liver is enlarged (18.5 cm), with a well-defined 2.3 x 1.8 cm lesion in segment IV/V.",
    "No pleural/pericardial effusion. Approx. 5 mm nodule; unchanged.",
    "Size is 12mm. T2-weighted; S/P cholecystectomy. 5% stenosis. 3-4 cm. e.g. this i.e. that. vs. prior. L1-L2 disc.",
    "There isn't any. Patient's lung; can't; it's. \"Quoted\" 'single' text. And/or. 1/2/2020 10:30 a.m.",
    "1. Normal. 2. No change. 3) Third - dash -- double. Dr. Smith. 1,234 mL 5.0 cm. .5 mm <5 mm >10 mm ~3mm +5 HU",
    "IMPRESSION: ill-defined, ground-glass opacity in the RUL? Yes! ... ok… [bracket] etc.",
    "non–small cell — dash 50-year-old T1/T2 AP/PA 3x4x5 cm 10-15mm hilar/mediastinal",
    "In the upper lobe of the right lung, a 6.5x4 mm nodule (series 3, image 120) is seen.",
    "LUNGS: Clear. PLEURA: No effusion. HEART: Normal (CTR<0.5).",
    "Findings are c/w infection. F/u in 3-6 months w/ low-dose CT. Pt. is s/p CABG.",
    "The lesion measures 2.1cm x 1.9cm (previously 1.8cm x 1.5cm), i.e., grown by 0.3 cm.",
    "Degenerative changes at T11-T12, L4-5. Grade I/IV. Bosniak IIF. LI-RADS 4. Fleischner 2017.",
    "Nodules up to 5x4mm, 12x8mm and 1.2x0.8x0.6cm. 0.8cm. Size 3.5-4.0 cm; 3.5 - 4.0 cm.",
    "50 % of cases; 1/3 of patients. ~5 cm. ±2 mm. ≥10 mm; ≤5 mm. 20°. Crohn's disease.",
    "it's the patients' lungs. 'normal'. \"normal\". (normal). [normal]. normal.), normal; normal: normal?",
)


def test_ptb_like_equals_the_java_tokenizer() -> None:
    if meteor.missing():
        pytest.skip(meteor.missing())
    from pycocoevalcap.tokenizer.ptbtokenizer import PTBTokenizer

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        theirs = PTBTokenizer().tokenize({i: [{"caption": line}] for i, line in enumerate(PTB_LINES)})
    for i, line in enumerate(PTB_LINES):
        assert TOKENIZERS["ptb-like"](line) == theirs[i][0].split()


@pytest.mark.slow
def test_meteor_equals_its_java_program(pairs: Pairs) -> None:
    if meteor.missing():
        pytest.skip(meteor.missing())
    from pycocoevalcap.meteor.meteor import Meteor

    refs, cands = [t[:8] for t in pairs]
    refs, cands = [" ".join(t.split()) for t in [*refs, refs[0]]], [" ".join(t.split()) for t in [*cands, refs[0]]]
    program = Meteor()
    try:
        corpus, by_case = program.compute_score(_coco(refs), _coco(cands))
    finally:
        program.meteor_p.stdout.close()
        program.meteor_p.stderr.close()
    cases = MeteorMetric().score_cases(_reports(refs), _reports(cands))
    assert [c["meteor"].value for c in cases] == pytest.approx(by_case, abs=1e-9)
    assert by_case[-1] == 1.0
    sums = np.array([c["meteor"].stats for c in cases]).sum(axis=0)
    assert float(meteor.score(sums)) == pytest.approx(corpus, abs=1e-9)


def test_meteor_without_java_is_undefined_with_a_reason(pairs: Pairs, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("shutil.which", lambda _: None)
    _, cases, corpus = _scored("coco", pairs)
    assert "meteor" not in corpus
    assert cases[0]["meteor"].value is None and "Java" in cases[0]["meteor"].reason
    assert "Java" in MeteorMetric().score_cases(_reports(["a"]), _reports(["a"]))[0]["meteor"].reason


@pytest.mark.slow
@pytest.mark.parametrize("profile", [p for p in PROFILES if not PROFILES[p].meteor])
def test_identical_reports_are_perfect(pairs: Pairs, profile: str) -> None:
    metric, _, corpus = _scored(profile, (pairs[0], pairs[0]))
    for output in metric.outputs:
        if output.perfect is not None:
            assert corpus[output.name] == pytest.approx(output.perfect, abs=1e-6), output.name


def test_swapped_reports_swap_precision_and_recall(pairs: Pairs) -> None:
    _, there, _ = _scored("default", pairs)
    _, back, _ = _scored("default", (pairs[1], pairs[0]))
    for a, b in zip(there, back, strict=True):
        for name in ("rouge-1", "rouge-2", "rouge-l"):
            assert a[f"{name}-precision"].value == b[f"{name}-recall"].value
            assert a[name].value == b[name].value


def test_the_order_and_number_of_cases_change_no_case(pairs: Pairs) -> None:
    refs, cands = (_reports(t) for t in pairs)
    metric = LexicalMetric().fit(refs)
    together = metric.score_cases(refs, cands)
    backward = LexicalMetric().fit(refs[::-1]).score_cases(refs[::-1], cands[::-1])[::-1]
    for i, scores in enumerate(together):
        assert {k: s.value for k, s in scores.items()} == pytest.approx({k: s.value for k, s in backward[i].items()})
    alone = metric.score_case(refs[5], cands[5])
    assert {k: s.value for k, s in alone.items()} == pytest.approx({k: s.value for k, s in together[5].items()})


def test_cider_needs_references() -> None:
    one = _reports(["a normal liver"])
    for metric in (LexicalMetric(), LexicalMetric().fit(one)):
        score = metric.score_case(one[0], one[0])["cider-d"]
        assert score.value is None and "at least two references" in score.reason


def test_every_output_has_a_signature_and_profiles_are_named() -> None:
    for profile in PROFILES:
        for output in LexicalMetric(profile).outputs:
            assert "radvlm:" in output.signature
    with pytest.raises(InputError, match="sacrebleu-13a"):
        LexicalMetric("nltk")


@settings(max_examples=100)
@given(st.lists(st.integers(0, 5), max_size=90), st.lists(st.integers(0, 5), max_size=90))
def test_common_subsequence_equals_the_table(a: list[int], b: list[int]) -> None:
    row = [0] * (len(b) + 1)
    for x in a:
        last = row[:]
        for j, y in enumerate(b, 1):
            row[j] = last[j - 1] + 1 if x == y else max(last[j], row[j - 1])
    assert common_subsequence(a, b) == row[-1] == common_subsequence(b, a)


@settings(max_examples=60)
@given(
    st.lists(st.tuples(st.text("abc ", max_size=20), st.text("abc ", max_size=20)), min_size=1, max_size=5),
    st.integers(1, 4),
)
def test_matches_equal_a_plain_count(texts: list[tuple[str, str]], order: int) -> None:
    from collections import Counter

    encoder = Encoder(TOKENIZERS["whitespace"])
    ref, cand = encoder.encode([r for r, _ in texts]), encoder.encode([c for _, c in texts])
    expected = []
    for r, c in texts:
        grams = [Counter(tuple(w[i : i + order]) for i in range(len(w) - order + 1)) for w in (r.split(), c.split())]
        expected.append((grams[0] & grams[1]).total())
    assert matches(count_grams(ref, order), count_grams(cand, order), len(texts)).tolist() == expected

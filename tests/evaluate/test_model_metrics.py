"""Adapters of foreign metrics: tiny fakes with the signatures of the real packages, and a tiny real RoBERTa."""

from __future__ import annotations

import importlib.machinery
import json
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

from radvlm.errors import InputError, MissingPackageError
from radvlm.evaluate import EvaluationOptions, evaluate
from radvlm.evaluate.metrics import model_metrics as m
from radvlm.report_reader.report_text import ReportText


def fake(monkeypatch: pytest.MonkeyPatch, name: str, **names: Any) -> ModuleType:
    module = ModuleType(name)
    module.__spec__ = importlib.machinery.ModuleSpec(name, None)
    for key, value in names.items():
        setattr(module, key, value)
    monkeypatch.setitem(sys.modules, name, module)
    return module


def text(value: str) -> ReportText:
    return ReportText.from_text("1", value)


def score(metric: m.ModelMetric, reference: str, candidate: str) -> dict[str, Any]:
    return dict(metric.score_case(text(reference), text(candidate)))


class FakeRadGraph:
    """As radgraph 0.1.18: three lists of rewards, one for each level, for (hyps, refs)."""

    def __init__(self, reward_level: str, model_type: str) -> None:
        sys.stdout.write("Using device: cpu")
        assert (reward_level, model_type) == ("all", "radgraph-xl")

    def __call__(self, refs: list[str], hyps: list[str]) -> tuple[Any, ...]:
        share = [
            float(len(set(h.split()) & set(r.split())) / max(len(r.split()), 1))
            for h, r in zip(hyps, refs, strict=True)
        ]
        return (0, 0, 0), (share, [s / 2 for s in share], [s / 4 for s in share]), [], []


@pytest.fixture
def radgraph_package(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    fake(monkeypatch, "radgraph", F1RadGraph=FakeRadGraph)
    fake(monkeypatch, "radgraph.radgraph", CACHE_DIR=str(tmp_path))
    return tmp_path


def test_radgraph_passes_sides_by_name_and_reads_the_three_levels(
    radgraph_package: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (radgraph_package / "radgraph-xl").mkdir()
    (radgraph_package / "radgraph-xl" / "weights.th").write_bytes(b"x")
    found = score(m.radgraph(), "a b c d", "a b")
    assert {k: v.value for k, v in found.items()} == {"simple": 0.5, "partial": 0.25, "complete": 0.125}
    assert capsys.readouterr().out == ""
    table = evaluate(["a b", "c d"], ["a b", "c x"], [m.radgraph()], EvaluationOptions(baselines=False))
    assert table.value("candidate", "radgraph", "partial") == pytest.approx((0.5 + 0.25) / 2)


def test_radgraph_without_weights_is_one_clear_message(radgraph_package: Path) -> None:
    with pytest.raises(MissingPackageError, match=r"weights.*radgraph-xl.*pip install radgraph.*MIT"):
        score(m.radgraph(), "a", "a")
    folder = radgraph_package / "radgraph-xl"
    folder.mkdir()
    config = {"model": {"embedder": {"token_embedders": {"bert": {"model_name": "no/such"}}}}}
    (folder / "config.json").write_text(json.dumps(config))
    with pytest.raises(MissingPackageError, match="no/such"):
        score(m.radgraph(), "a", "a")
    with pytest.raises(InputError):
        m.radgraph("radgraph-xxl")


@pytest.mark.parametrize(
    ("make", "package"),
    [(m.radgraph, "radgraph"), (m.ratescore, "RaTEScore"), (m.green, "green_score"), (m.radbert, "transformers")],
)
def test_missing_package_says_what_to_get(
    make: Callable[[], m.ModelMetric], package: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(m, "find_spec", lambda name: None)
    with pytest.raises(MissingPackageError, match=f"{package} is not installed.*[Ll]icence"):
        make()


def test_a_package_that_cannot_be_imported_is_a_missing_package(monkeypatch: pytest.MonkeyPatch) -> None:
    fake(monkeypatch, "RaTEScore")
    monkeypatch.setattr(m, "is_cached", lambda network: True)

    def broken(name: str) -> ModuleType:
        raise ValueError("numpy.dtype size changed")

    monkeypatch.setattr(m, "import_module", broken)
    with pytest.raises(MissingPackageError, match="size changed"):
        score(m.ratescore("cpu"), "a", "a")


class FakeRate:
    def __init__(self, use_gpu: bool) -> None:
        assert use_gpu is False

    def compute_score(self, candidate_list: list[str], reference_list: list[str]) -> list[float]:
        return [0.5 if not c else len(c) / len(r) for c, r in zip(candidate_list, reference_list, strict=True)]


def test_ratescore_gives_candidates_first_and_counts_halves(monkeypatch: pytest.MonkeyPatch) -> None:
    fake(monkeypatch, "RaTEScore", RaTEScore=FakeRate)
    with pytest.raises(MissingPackageError, match="RaTE-NER-Deberta, FremyCompany"):
        score(m.ratescore("cpu"), "abcd", "a")
    monkeypatch.setattr(m, "is_cached", lambda network: True)
    assert score(m.ratescore("cpu"), "abcd", "a")["f1"].value == 0.25
    found = score(m.ratescore("cpu"), "abcd", "")
    assert found["f1"].value == 0.5 and found["half"].value == 1.0


class FakeGreen:
    def __init__(self, model_name: str, output_dir: str) -> None:
        self.folder = Path(output_dir)

    def __call__(self, refs: list[str], hyps: list[str]) -> tuple[Any, ...]:
        assert not list(self.folder.iterdir()), "the table of an earlier call is still there"
        (self.folder / "results.csv").write_text("reports")
        if "crash" in hyps:
            raise RuntimeError("CUDA out of memory")
        values = [None if h == "odd" else float(h == r) for h, r in zip(hyps, refs, strict=True)]
        return 0.0, 0.0, values, "summary", None


def test_green_counts_what_it_could_not_score(monkeypatch: pytest.MonkeyPatch) -> None:
    fake(monkeypatch, "green_score", GREEN=FakeGreen)
    monkeypatch.setattr(m, "is_cached", lambda network: True)
    monkeypatch.setattr(m, "_has_cuda", lambda: False)
    with pytest.raises(MissingPackageError, match="CUDA"):
        score(m.green(), "a", "a")
    monkeypatch.setattr(m, "_has_cuda", lambda: True)
    metric = m.green()
    assert [score(metric, "a", x)["green"].value for x in "ab"] == [1.0, 0.0]
    table = evaluate(["a", "b", "c"], ["a", "odd", "x"], [m.green()], EvaluationOptions(baselines=False))
    found = table.estimate("candidate", "green", "green")
    assert found.value == 0.5 and found.n == 2 and found.failed == 1
    broken = evaluate(["a", "b"], ["a", "crash"], [m.green()], EvaluationOptions(baselines=False)).estimate(
        "candidate", "green", "green"
    )
    assert broken.value is None and broken.failed == 2 and "out of memory" in broken.reason


def test_a_result_of_another_length_is_a_failure() -> None:
    metric = m.ModelMetric("green", "x", (m.Output("green"),), lambda: lambda refs, cands: [])
    found = metric.score_cases([text("a")], [text("b")])
    assert len(found) == 1 and found[0]["green"].failed and metric.score_cases([], []) == []


def test_f1_of_labels_worked_by_hand() -> None:
    size = 3
    # Label 0: 2 tp, 1 fp. Label 1: 1 tp, 1 fn. Label 2: nobody has it.
    sums = np.array([2, 1, 0, 1, 0, 1, 0, 0, 0], dtype=float)
    first, second = 4 / 5, 2 / 3
    assert m._f1(sums, size, 0) == pytest.approx(first) and np.isnan(m._f1(sums, size, 2))
    assert m._f1(sums, size, "micro") == pytest.approx(6 / 8)
    assert m._f1(sums, size, "macro") == pytest.approx((first + second) / 2)
    assert m._f1(sums, size, "weighted") == pytest.approx((2 * first + 2 * second) / 4)
    assert m._f1(np.stack([sums, sums]), size, "micro").shape == (2,)
    none = m._label_score(np.zeros(18, dtype=bool), np.zeros(18, dtype=bool))
    assert none.value is None and len(none.stats) == 54


def test_radbert_labels_through_the_table(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    with pytest.raises(MissingPackageError, match="no checkpoint was named"):
        m.radbert()
    with pytest.raises(MissingPackageError, match=r"no checkpoint at.*CC BY-NC-SA"):
        m.radbert(str(tmp_path / "absent.pth"))
    checkpoint = tmp_path / "RadBertClassifier.pth"
    checkpoint.write_bytes(b"weights")

    def predictor(path: Path) -> Callable[[list[str]], np.ndarray]:
        return lambda texts: np.array([[float(label in t) for label in m.CT_RATE_LABELS] for t in texts])

    monkeypatch.setattr(m, "_radbert_predictor", predictor)
    metric = m.radbert(str(checkpoint))
    table = evaluate(
        ["Atelectasis. Emphysema.", "Emphysema."],
        ["Atelectasis.", "Emphysema. Hiatal hernia."],
        [metric],
        EvaluationOptions(baselines=False),
    )
    assert table.value("candidate", "radbert", "f1-micro") == pytest.approx(4 / 6)
    assert table.value("candidate", "radbert", "f1 Emphysema") == pytest.approx(2 / 3)
    assert table.value("candidate", "radbert", "f1-macro") == pytest.approx((1 + 2 / 3 + 0) / 3)
    assert table.value("candidate", "radbert", "f1 Bronchiectasis") is None


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
def test_radbert_reads_a_real_checkpoint(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A tiny RoBERTa saved as the CT-RATE checkpoint is: the adapter gives the same probabilities as torch does."""
    torch = pytest.importorskip("torch")
    transformers = pytest.importorskip("transformers")
    tokenizers = pytest.importorskip("tokenizers")
    backbone, checkpoint = tmp_path / "backbone", tmp_path / "RadBertClassifier.pth"
    config = transformers.RobertaConfig(
        vocab_size=12,
        hidden_size=8,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=8,
        max_position_embeddings=520,
        pad_token_id=1,
    )
    config.save_pretrained(backbone)
    words = {w: i for i, w in enumerate(["<s>", "<pad>", "</s>", "<unk>", "no", "effusion", "nodule"])}
    raw = tokenizers.Tokenizer(tokenizers.models.WordLevel(words, unk_token="<unk>"))
    raw.pre_tokenizer = tokenizers.pre_tokenizers.Whitespace()
    transformers.PreTrainedTokenizerFast(tokenizer_object=raw, pad_token="<pad>", unk_token="<unk>").save_pretrained(
        backbone
    )
    torch.manual_seed(0)
    encoder = transformers.AutoModel.from_config(config).eval()
    head = torch.nn.Linear(8, 18)
    state = {f"module.model.{k}": v for k, v in encoder.state_dict().items()}
    state |= {f"module.classifier.{k}": v for k, v in head.state_dict().items()}
    state["module.model.embeddings.position_ids"] = torch.arange(520)[None]
    torch.save(state, checkpoint)
    monkeypatch.setattr(m, "RADBERT_BACKBONE", str(backbone))
    found = m._radbert_predictor(checkpoint)(["no effusion", "nodule"])
    ids = torch.full((2, 512), 1)
    ids[0, :2], ids[1, 0] = torch.tensor([4, 5]), 6
    with torch.no_grad():
        wanted = torch.sigmoid(head(encoder(input_ids=ids, attention_mask=(ids != 1).long()).pooler_output)).numpy()
    assert found.shape == (2, 18) and np.allclose(found, wanted, atol=1e-5)
    del state["module.classifier.bias"]
    torch.save(state, checkpoint)
    with pytest.raises(InputError, match="18 labels"):
        m._radbert_predictor(checkpoint)


def test_cards_name_licences_for_every_metric() -> None:
    assert set(m.CARDS) == {"radgraph", "radbert", "green", "ratescore"}
    assert all(card.code_licence and card.weights_licence and card.get for card in m.CARDS.values())
    assert len(set(m.CT_RATE_LABELS)) == 18

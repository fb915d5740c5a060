"""Metrics that are somebody's network: RadGraph F1, the RadBERT labels of CT-RATE, GREEN and RaTEScore.

Nothing is re-implemented and nothing is downloaded. Each adapter drives the authors' package or checkpoint as
it is installed here; a missing package or missing weights is one MissingPackageError that says what to get, raised
before a case is scored. A batch on which the network breaks is a set of failed cases with the message, never zeros.
None of these packages is a dependency of radvlm: licences differ (``CARDS``), and several pin versions that cannot
be installed together.
"""

from __future__ import annotations

import contextlib
import io
import json
import shutil
import tempfile
import weakref
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from importlib import import_module
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np

from radvlm.errors import InputError, MissingPackageError
from radvlm.evaluate.metric import Output
from radvlm.evaluate.score import Score
from radvlm.evaluate.statistics.resampling import share
from radvlm.files.atomic import sha256_of
from radvlm.report_reader.report_text import ReportText
from radvlm.version import __version__

#: From (references, candidates) to one row of scores by case key for each pair.
Scorer = Callable[[list[str], list[str]], list[dict[str, Score]]]


@dataclass(frozen=True)
class Card:
    """What a reader of the number should know: who made it, on what, and under which licence (not legal advice)."""

    package: str
    get: str
    code_licence: str
    weights_licence: str
    made_for: str


CARDS: Mapping[str, Card] = MappingProxyType(
    {
        "radgraph": Card(
            "radgraph",
            "pip install radgraph, then run it once with a network connection",
            "MIT",
            "of StanfordAIMI/RRG_scorers; the RadGraph annotations are under PhysioNet's credentialed licence",
            "radgraph-xl: chest X-ray, and CT and MR of chest, abdomen and brain; radgraph: chest X-ray",
        ),
        "radbert": Card(
            "transformers",
            "RadBertClassifier.pth of CT-RATE (ibrahimhamamci/CT-RATE), and "
            "zzxslp/RadBERT-RoBERTa-4m in the Hugging Face cache",
            "CT-CLIP: CC BY-NC-SA 4.0",
            "CC BY-NC-SA 4.0, not for commercial use",
            "chest CT reports, 18 labels; its labels are known to be noisy",
        ),
        "green": Card(
            "green_score",
            "install green_score from github.com/Stanford-AIMI/GREEN, download its weights",
            "no licence file in the repository",
            "of StanfordAIMI/GREEN-radllama2-7b on Hugging Face",
            "chest X-ray reports; needs a CUDA device; a reply that it cannot read scores 0, as no match does",
        ),
        "ratescore": Card(
            "RaTEScore",
            "pip install RaTEScore, download Angelakeke/RaTE-NER-Deberta and FremyCompany/BioLORD-2023-C",
            "MIT",
            "of the two networks on Hugging Face; the training data is CC BY-NC",
            "reports of several modalities; 0.5 where either side has no entity",
        ),
    }
)
#: Order of the outputs of RadBertClassifier.pth.
CT_RATE_LABELS = (
    "Medical material",
    "Arterial wall calcification",
    "Cardiomegaly",
    "Pericardial effusion",
    "Coronary artery wall calcification",
    "Hiatal hernia",
    "Lymphadenopathy",
    "Emphysema",
    "Atelectasis",
    "Lung nodule",
    "Lung opacity",
    "Pulmonary fibrotic sequela",
    "Pleural effusion",
    "Mosaic attenuation pattern",
    "Peribronchial thickening",
    "Consolidation",
    "Bronchiectasis",
    "Interlobular septal thickening",
)
RADGRAPH_MODELS = ("radgraph-xl", "modern-radgraph-xl", "radgraph", "echograph")
RADBERT_BACKBONE = "zzxslp/RadBERT-RoBERTa-4m"
GREEN_MODEL = "StanfordAIMI/GREEN-radllama2-7b"
RATE_NETWORKS = ("Angelakeke/RaTE-NER-Deberta", "FremyCompany/BioLORD-2023-C")


class ModelMetric:
    """A metric computed by a foreign network, in batches; loaded when the first case is scored.

    Attributes:
        name, signature, outputs: as for every metric. card: licences and purpose.
    """

    slow = True

    def __init__(self, name: str, detail: str, outputs: tuple[Output, ...], load: Callable[[], Scorer]) -> None:
        self.card = CARDS[name]
        self.name, self.outputs, self._load = name, outputs, load
        self.signature = f"{name}|{detail}|{self.card.package}:{release_of(self.card.package)}|radvlm:{__version__}"
        self._scorer: Scorer | None = None

    def score_case(self, reference: ReportText, candidate: ReportText) -> Mapping[str, Score]:
        return self.score_cases([reference], [candidate])[0]

    def score_cases(self, references: Sequence[ReportText], candidates: Sequence[ReportText]) -> list[dict[str, Score]]:
        """Scores in order. Raises MissingPackageError before the first case; a crash is a failed score of each case."""
        if not references:
            return []
        if self._scorer is None:
            self._scorer = self._load()
        keys = {output.case_key for output in self.outputs}
        try:
            with _quiet():
                rows = self._scorer([r.text for r in references], [c.text for c in candidates])
        except MissingPackageError:
            raise
        except Exception as error:  # noqa: BLE001 - whatever a foreign network raises is a record of these cases
            return [
                dict.fromkeys(keys, Score.failure(f"{self.name}: {type(error).__name__}: {error}")) for _ in references
            ]
        if len(rows) != len(references):
            wrong = Score.failure(f"{self.name} gave {len(rows)} results for {len(references)} cases")
            return [dict.fromkeys(keys, wrong) for _ in references]
        return rows


def radgraph(model: str = "radgraph-xl") -> ModelMetric:
    """RadGraph F1 (Jain et al. 2021; Delbrouck et al. 2024): entities, with relations, with every relation.

    Raises MissingPackageError without the package; when scoring, without its weights.
    """
    if model not in RADGRAPH_MODELS:
        raise InputError("a RadGraph model is one of " + ", ".join(RADGRAPH_MODELS), repr(model))
    _require("radgraph")
    names = ("simple", "partial", "complete")
    outputs = tuple(Output(n, headline=n == "partial", description=f"RadGraph F1, reward level {n}") for n in names)

    def load() -> Scorer:
        package, inside = _import("radgraph", "radgraph"), _import("radgraph", "radgraph.radgraph")
        folder = Path(inside.CACHE_DIR) / model
        if not folder.is_dir() or not any(folder.iterdir()):
            raise _missing("radgraph", f"no weights in its cache for {model}")
        backbone = _radgraph_backbone(folder)
        if backbone and not is_cached(backbone):
            raise _missing("radgraph", f"its language model {backbone} is not in the Hugging Face cache")
        with _quiet():
            scorer = package.F1RadGraph(reward_level="all", model_type=model)

        def score(references: list[str], candidates: list[str]) -> list[dict[str, Score]]:
            _, levels, _, _ = scorer(hyps=candidates, refs=references)
            return [
                {n: _value(level[i]) for n, level in zip(names, levels, strict=True)}
                for i in range(min(map(len, levels)))
            ]

        return score

    return ModelMetric("radgraph", f"model:{model}|level:all", outputs, load)


def ratescore(device: str = "auto") -> ModelMetric:
    """RaTEScore (Zhao et al. 2024) with its default affinity matrix; ``device`` is ``auto``, ``cpu`` or ``cuda``.

    ``half`` is the share of cases with exactly 0.5, the package's answer when one side has no entity: such a value says
    nothing. Raises as ``radgraph``.
    """
    if device not in ("auto", "cpu", "cuda"):
        raise InputError("a device is auto, cpu or cuda", repr(device))
    _require("ratescore")
    outputs = (
        Output("f1", description="RaTEScore; 0.5 where either side has no entity"),
        Output("half", False, perfect=None, headline=False, description="share of cases with exactly 0.5"),
    )

    def load() -> Scorer:
        away = [network for network in RATE_NETWORKS if not is_cached(network)]
        if away:
            raise _missing("ratescore", "not in the Hugging Face cache: " + ", ".join(away))
        package = _import("ratescore", "RaTEScore")
        with _quiet():
            scorer = package.RaTEScore(use_gpu=_has_cuda() if device == "auto" else device == "cuda")

        def score(references: list[str], candidates: list[str]) -> list[dict[str, Score]]:
            values = scorer.compute_score(candidates, references)
            return [{"f1": _value(v), "half": Score(float(v == 0.5))} for v in values]

        return score

    detail = f"ner:{RATE_NETWORKS[0]}|embedding:{RATE_NETWORKS[1]}|matrix:default"
    return ModelMetric("ratescore", detail, outputs, load)


def green(model: str = GREEN_MODEL) -> ModelMetric:
    """GREEN (Ostmeier et al. 2024): matched / (matched + significant errors), as its 7B model counts them.

    Args:
        model: name or local folder of the network.

    A case without a score is a failed one. Raises as ``radgraph``.
    """
    _require("green")
    outputs = (Output("green", description="GREEN; 0 also where its reply could not be read"),)

    def load() -> Scorer:
        if not is_cached(model):
            raise _missing("green", f"no weights on this computer for {model}")
        if not _has_cuda():
            raise _missing("green", "no CUDA device")
        package = _import("green", "green_score")
        folder = tempfile.mkdtemp(prefix="radvlm-green-")
        with _quiet():
            scorer = package.GREEN(model, output_dir=folder)

        def score(references: list[str], candidates: list[str]) -> list[dict[str, Score]]:
            try:
                values = scorer(references, candidates)[2]
            finally:  # the package writes a table with the reports, which are health data
                for left in Path(folder).iterdir():
                    left.unlink()
            return [{"green": _value(v)} for v in values]

        weakref.finalize(score, shutil.rmtree, folder, ignore_errors=True)
        return score

    return ModelMetric("green", f"model:{model}", outputs, load)


def radbert(checkpoint: str = "") -> ModelMetric:
    """F1 of the 18 CT-RATE labels that RadBERT reads from both reports, positive at a probability of 0.5.

    Args:
        checkpoint: path of ``RadBertClassifier.pth``; as a metric name ``radbert:/path/RadBertClassifier.pth``.

    Raises MissingPackageError without the checkpoint; when scoring, without the backbone's configuration and tokenizer
    in the Hugging Face cache. Weights are read with ``weights_only``.
    """
    _require("radbert")
    path = Path(checkpoint)
    if not checkpoint or not path.is_file():
        raise _missing("radbert", f"no checkpoint at {checkpoint!r}" if checkpoint else "no checkpoint was named")
    size = len(CT_RATE_LABELS)
    rows: list[tuple[str, Callable[[np.ndarray], np.ndarray], bool, str]] = [
        ("f1-macro", partial(_f1, size=size, how="macro"), True, "mean F1 of the labels that either side has"),
        ("f1-micro", partial(_f1, size=size, how="micro"), True, "F1 over all labels"),
        ("f1-weighted", partial(_f1, size=size, how="weighted"), False, "mean F1 weighted by the reference's labels"),
    ]
    rows += [
        (f"f1 {label}", partial(_f1, size=size, how=i), False, f"F1 of {label}")
        for i, label in enumerate(CT_RATE_LABELS)
    ]
    outputs = tuple(Output(n, source="labels", aggregate=f, headline=h, description=t) for n, f, h, t in rows)

    def load() -> Scorer:
        predict = _radbert_predictor(path)

        def score(references: list[str], candidates: list[str]) -> list[dict[str, Score]]:
            called = predict([*references, *candidates]) >= 0.5
            return [
                {"labels": _label_score(a, b)}
                for a, b in zip(called[: len(references)], called[len(references) :], strict=True)
            ]

        return score

    return ModelMetric("radbert", f"checkpoint:{sha256_of(path)[:12]}|labels:{size}|threshold:0.5", outputs, load)


def _radbert_predictor(path: Path) -> Callable[[list[str]], np.ndarray]:
    """Texts -> (n, 18) probabilities. The checkpoint holds a RoBERTa under ``model.`` and a linear ``classifier.``."""
    if not is_cached(RADBERT_BACKBONE):
        raise _missing("radbert", f"{RADBERT_BACKBONE} is not in the Hugging Face cache")
    import torch

    transformers = _import("radbert", "transformers")
    config = transformers.AutoConfig.from_pretrained(RADBERT_BACKBONE, local_files_only=True)
    tokenizer = transformers.AutoTokenizer.from_pretrained(RADBERT_BACKBONE, do_lower_case=True, local_files_only=True)
    network = torch.nn.ModuleDict(
        {
            "model": transformers.AutoModel.from_config(config),
            "classifier": torch.nn.Linear(config.hidden_size, len(CT_RATE_LABELS)),
        }
    )
    state = torch.load(path, map_location="cpu", weights_only=True)
    # Older releases of the backbone saved this buffer, newer ones compute it.
    state = {k.removeprefix("module."): v for k, v in state.items() if not k.endswith("embeddings.position_ids")}
    try:
        network.load_state_dict(state)
    except RuntimeError as error:
        raise InputError(
            "a checkpoint of RadBertClassifier with 18 labels", f"{path.name}: {str(error)[:300]}"
        ) from error
    device = "cuda" if _has_cuda() else "cpu"
    network.eval().to(device)

    def predict(texts: list[str], batch: int = 16) -> np.ndarray:
        parts = []
        with torch.no_grad():
            for start in range(0, len(texts), batch):
                read = tokenizer(
                    texts[start : start + batch],
                    return_tensors="pt",
                    max_length=512,
                    padding="max_length",
                    truncation=True,
                )
                hidden = network["model"](
                    input_ids=read["input_ids"].to(device), attention_mask=read["attention_mask"].to(device)
                ).pooler_output
                parts.append(torch.sigmoid(network["classifier"](hidden)).float().cpu().numpy())
        return np.concatenate(parts)

    return predict


def _label_score(reference: np.ndarray, candidate: np.ndarray) -> Score:
    """Micro F1 of one case; stats are (labels, 3) flattened: true positives, false positives, false negatives."""
    table = np.stack([reference & candidate, candidate & ~reference, reference & ~candidate], axis=1).astype(float)
    tp, fp, fn = table.sum(axis=0)
    stats = tuple(table.ravel().tolist())
    if not tp + fp + fn:
        return Score.undefined("neither report has a label", stats=stats)
    return Score(float(2 * tp / (2 * tp + fp + fn)), n=int(tp + fn), stats=stats)


def _f1(sums: np.ndarray, size: int, how: str | int) -> np.ndarray:
    """F1 of label number ``how``, or ``micro``, ``macro``, ``weighted``, from (..., labels * 3)."""
    table = sums.reshape(*sums.shape[:-1], size, 3)

    def f1(rows: np.ndarray) -> np.ndarray:
        bottom = 2 * rows[..., 0] + rows[..., 1] + rows[..., 2]
        return share(2 * rows[..., 0], bottom)

    if how == "micro":
        return f1(table.sum(axis=-2))
    if isinstance(how, int):
        return f1(table[..., how, :])
    values = f1(table)
    weights = (table[..., 0] + table[..., 2]) if how == "weighted" else np.isfinite(values).astype(float)
    top, total = (np.where(np.isfinite(values), values, 0.0) * weights).sum(axis=-1), weights.sum(axis=-1)
    return share(top, total)


def _value(value: Any) -> Score:
    """A finite number, or a failed case."""
    if value is None or not np.isfinite(float(value)):
        return Score.failure(f"the network gave no score ({value})")
    return Score(float(value))


def _require(name: str) -> None:
    if find_spec(CARDS[name].package) is None:
        raise _missing(name, f"the package {CARDS[name].package} is not installed")


def _missing(name: str, what: str) -> MissingPackageError:
    card = CARDS[name]
    return MissingPackageError(
        f"The metric {name} needs its package and weights on this computer",
        what,
        f"{card.get}. Licences: code {card.code_licence}; weights {card.weights_licence}",
    )


def _import(name: str, module: str) -> Any:
    try:
        return import_module(module)
    except Exception as error:  # a package built for other versions can raise anything
        raise _missing(name, f"{module} cannot be imported: {type(error).__name__}: {error}") from error


def release_of(package: str) -> str:
    for name in (package, package.replace("_", "-")):
        with contextlib.suppress(PackageNotFoundError):
            return version(name)
    return "unknown"


def is_cached(network: str) -> bool:
    """Is a Hugging Face network a local folder, or in the cache of this computer; nothing is asked of any server."""
    if Path(network).is_dir():
        return True
    try:
        from huggingface_hub import try_to_load_from_cache
    except ImportError:
        return False
    return isinstance(try_to_load_from_cache(network, "config.json"), str)


def _radgraph_backbone(folder: Path) -> str:
    """Name of the language model that an unpacked RadGraph model is built on; "" when its config does not say."""
    try:
        config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
        return str(config["model"]["embedder"]["token_embedders"]["bert"]["model_name"])
    except (OSError, ValueError, KeyError, TypeError):
        return ""


def _has_cuda() -> bool:
    import torch

    return bool(torch.cuda.is_available())


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """These packages print as they go; a library does not."""
    with contextlib.redirect_stdout(io.StringIO()):
        yield

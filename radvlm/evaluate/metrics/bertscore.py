"""BERTScore through the package ``bert-score``, an extra; its weights must be on this computer already.

Zhang et al. (2020), ICLR. Nothing is downloaded. The package would fetch hundreds of megabytes of weights
without asking; here a missing package or missing weights is one clear message. Values depend on the network and on
whether they are rescaled, which the signature names.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from radvlm.errors import MissingPackageError
from radvlm.evaluate.metric import Output
from radvlm.evaluate.metrics.model_metrics import is_cached, release_of
from radvlm.evaluate.score import Score
from radvlm.files.optional import require_package
from radvlm.report_reader.report_text import ReportText
from radvlm.version import __version__

DEFAULT_MODEL = "distilroberta-base"


class BertScoreMetric:
    """BERTScore precision, recall and F of a network, not rescaled.

    Args:
        model: name or local folder of the network, as ``bert_score`` knows it.

    Raises MissingPackageError when ``bert-score`` is not installed; when scoring, when the weights are not here.
    """

    slow = True

    def __init__(self, model: str = DEFAULT_MODEL) -> None:
        require_package("bert_score", "BERTScore needs the package bert-score", model)
        self.model = model
        self.name = "bertscore"
        self.signature = (
            f"BERTScore|model:{model}|idf:no|rescaled:no|bert-score:{release_of('bert_score')}|radvlm:{__version__}"
        )
        self.outputs = tuple(
            Output(name, headline=name == "f", description=f"BERTScore {name}, mean of reports")
            for name in ("f", "precision", "recall")
        )
        self._scorer: Any = None

    def score_case(self, reference: ReportText, candidate: ReportText) -> Mapping[str, Score]:
        return self.score_cases([reference], [candidate])[0]

    def score_cases(self, references: Sequence[ReportText], candidates: Sequence[ReportText]) -> list[dict[str, Score]]:
        if not references:
            return []
        precision, recall, f = self._loaded().score([c.text for c in candidates], [r.text for r in references])
        return [
            {"f": Score(float(z)), "precision": Score(float(x)), "recall": Score(float(y))}
            for x, y, z in zip(precision, recall, f, strict=True)
        ]

    def _loaded(self) -> Any:
        if self._scorer is None:
            if not is_cached(self.model):
                raise MissingPackageError(
                    "BERTScore needs the weights of its network on this computer",
                    self.model,
                    "Download them once, then run again; nothing is downloaded here",
                )
            from bert_score import BERTScorer

            self._scorer = BERTScorer(model_type=self.model, rescale_with_baseline=False)
        return self._scorer

"""What a metric has to offer: a name, a signature, its outputs, and a score for one case.

A new metric is any object with these attributes; nothing is inherited. See docs/evaluation.md, "Writing a metric".
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol, runtime_checkable

if TYPE_CHECKING:
    import numpy as np

    from radvlm.evaluate.score import Score
    from radvlm.report_reader.report_text import ReportText


@dataclass(frozen=True)
class Output:
    """One number that a metric gives for a set of cases.

    Attributes:
        name: unique within the metric, ``bleu-4``; printed as ``metric/name``.
        higher_is_better: None when neither (a length ratio).
        source: key of ``score_case`` whose ``stats`` (or, without an aggregate, values) make the number; "" for the
            same name. Several outputs may share one source (macro and micro F1, BLEU-1 to BLEU-4).
        aggregate: from the sum of ``Score.stats`` over cases, shape (..., K), to values of shape (...), NaN where
            undefined; vectorized over leading axes, which are bootstrap or permutation replicates. None: the
            corpus value is the mean of the defined case values.
        perfect: value for identical reports; None when it depends on them.
        headline: shown in the short table and tested between systems.
        description: half a line for the table's footer.
        signature: of this output alone; "" for the metric's.
    """

    name: str
    higher_is_better: bool | None = True
    source: str = ""
    aggregate: Callable[[np.ndarray], np.ndarray] | None = None
    perfect: float | None = 1.0
    headline: bool = True
    description: str = ""
    signature: str = ""

    @property
    def case_key(self) -> str:
        """Key of the case scores that the corpus value is made from."""
        return self.source or self.name

    def case_value(self, scores: Mapping[str, Score]) -> Score:
        """The score of one case to show for this output: its own if there is one, or else that of its source."""
        return scores[self.name] if self.name in scores else scores[self.case_key]


@runtime_checkable
class Metric(Protocol):
    """Scores one candidate against one reference.

    Attributes:
        name: lower case, unique in a table (``bleu``, ``findings``, ``errors``).
        signature: everything that changes the value: profile, tokenizer, smoothing, version, lexicon digest.
        outputs: the numbers it gives.
    """

    name: str
    signature: str
    outputs: tuple[Output, ...]

    def score_case(self, reference: ReportText, candidate: ReportText) -> Mapping[str, Score]:
        """Scores by case key; every ``Output.case_key`` must be present (undefined with a reason if need be)."""
        ...


@runtime_checkable
class FittedMetric(Protocol):
    """A metric that first looks at all references (CIDEr's document frequencies)."""

    def fit(self, references: Sequence[ReportText]) -> Metric:
        """A metric bound to these references, ready for ``score_case``; the receiver is unchanged."""
        ...


@runtime_checkable
class BatchMetric(Protocol):
    """A metric that is much faster on many cases at once (a network, a judge with concurrency).

    When present, ``score_cases`` is called in place of ``score_case``; results are in the order of the input, and a
    case that failed is a score without value, never an exception.
    """

    def score_cases(
        self, references: Sequence[ReportText], candidates: Sequence[ReportText]
    ) -> Sequence[Mapping[str, Score]]: ...

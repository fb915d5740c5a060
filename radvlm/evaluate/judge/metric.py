"""``JudgeMetric``: the judge as a metric, with the same outputs as the rule-based ``errors``.

It is a batch metric that keeps its own replies on disk; a failed case is a score without value and with the
status as its reason.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from radvlm.evaluate.judge.backend import Backend
from radvlm.evaluate.judge.cache import ReplyCache
from radvlm.evaluate.judge.card import judge_card
from radvlm.evaluate.judge.cost import NO_PRICES, CostEstimate, Prices
from radvlm.evaluate.judge.judgment import Judgment
from radvlm.evaluate.judge.request import digest, reply_schema
from radvlm.evaluate.judge.runner import CaseOutcome, JudgeRunner, JudgeSettings
from radvlm.evaluate.metric import Output
from radvlm.evaluate.metrics.errors import error_outputs, error_scores
from radvlm.evaluate.score import Mark, Score
from radvlm.report_reader.report_text import ReportText
from radvlm.version import __version__

if TYPE_CHECKING:
    from radvlm.types.report import Report


class JudgeMetric:
    """Errors per report in the six categories, counted from the errors that a language model lists.

    Args:
        backend: where requests go.
        settings: model, prompt, sampling, votes, pace.
        cache: of replies; None keeps them for this object only.
        name: of the metric in tables; two judges in one table need two names.
        progress: show a progress bar.
    """

    slow = True
    #: All cases are handed over at once; the judge keeps its own replies, case by case.
    chunk: int | None = None

    def __init__(
        self,
        backend: Backend,
        settings: JudgeSettings,
        cache: ReplyCache | None = None,
        name: str = "judge",
        progress: bool = False,
    ) -> None:
        self.runner = JudgeRunner(backend, settings, cache)
        self.name = name
        self.progress = progress
        s, p = settings, settings.params
        self.signature = "|".join(
            [
                "judge",
                "categories:6x2",
                f"model:{s.model}",
                f"prompt:{s.prompt.name}@{s.prompt.digest}",
                f"schema:{digest(reply_schema())[:12]}",
                f"temperature:{p.temperature}",
                f"top_p:{p.top_p}",
                f"seed:{p.seed}",
                f"max_tokens:{p.max_tokens}",
                f"votes:{s.votes}",
                f"radvlm:{__version__}",
            ]
        )
        self.outputs = judge_outputs()
        self._ended: dict[tuple[str, str], CaseOutcome] = {}

    def score_case(self, reference: ReportText, candidate: ReportText) -> Mapping[str, Score]:
        return self.score_cases([reference], [candidate])[0]

    def score_cases(self, references: Sequence[ReportText], candidates: Sequence[ReportText]) -> list[dict[str, Score]]:
        """Scores in the order of the cases; a failed case has the status as its reason."""
        return [scores(outcome) for outcome in self.outcomes(references, candidates)]

    def outcomes(self, references: Sequence[ReportText], candidates: Sequence[ReportText]) -> list[CaseOutcome]:
        """Status, errors and matched findings of each case; asks for what the cache does not have."""
        pairs = [(r.text, c.text) for r, c in zip(references, candidates, strict=True)]
        if self.progress and pairs:
            from tqdm import tqdm

            with tqdm(total=len(pairs), desc=self.name, unit="case") as bar:
                ended = self.runner.run(pairs, bar.update)
        else:
            ended = self.runner.run(pairs)
        self._ended.update(zip(pairs, ended, strict=True))
        return ended

    def estimate(
        self, references: Sequence[ReportText], candidates: Sequence[ReportText], prices: Prices = NO_PRICES
    ) -> CostEstimate:
        """What judging these cases would cost; sends nothing."""
        return self.runner.estimate([(r.text, c.text) for r, c in zip(references, candidates, strict=True)], prices)

    def report(
        self, references: Sequence[ReportText], candidates: Sequence[ReportText], prices: Prices = NO_PRICES
    ) -> tuple[list[CaseOutcome], dict[str, Any]]:
        """How these cases ended, and the judge card; sends nothing.

        Cases that this object did not judge itself (their scores came from a journal) are read from the cache.
        """
        pairs = [(r.text, c.text) for r, c in zip(references, candidates, strict=True)]
        kept, results = self.runner.recall(pairs)
        ended = [self._ended.get(pair, outcome) for pair, outcome in zip(pairs, kept, strict=True)]
        return ended, judge_card(self.runner, ended, results, prices)


def judge_errors(
    reference: str | ReportText | Report | Mapping[str, str],
    candidate: str | ReportText | Report | Mapping[str, str],
    backend: Backend,
    settings: JudgeSettings,
) -> CaseOutcome:
    """One pair judged; ``outcome.judgment`` is None unless ``outcome.status`` is ``ok``. Nothing is kept."""
    with ReplyCache() as cache:
        runner = JudgeRunner(backend, settings, cache)
        return runner.run([(ReportText.of("reference", reference).text, ReportText.of("candidate", candidate).text)])[0]


def judge_outputs() -> tuple[Output, ...]:
    """The outputs of a judge: those of ``errors``, and how many errors have no place in the texts."""
    return (
        *error_outputs(),
        Output(
            "unlocated",
            None,
            perfect=0.0,
            headline=False,
            description="errors per report whose quote is not in the report: how careless the judge is",
        ),
    )


def scores(outcome: CaseOutcome) -> dict[str, Score]:
    """Scores of one case by output; failures when it has no judgment."""
    judgment = outcome.judgment
    if judgment is None:
        failed = Score.failure(f"{outcome.status}: {outcome.reason}" if outcome.reason else outcome.status)
        return {output.name: failed for output in judge_outputs()}
    n = judgment.matched + judgment.total
    out = error_scores(judgment, n, marks(judgment), "neither matched findings nor significant errors")
    out["unlocated"] = Score(judgment.unlocated, n=judgment.total)
    return out


def marks(judgment: Judgment) -> tuple[Mark, ...]:
    """Located errors as marks in the two texts; those of one error share a group."""
    out = []
    for number, error in enumerate(judgment.errors, 1):
        reason = f"{error.finding}: {error.reason}" if error.finding else error.reason
        if error.unlocated:
            reason += f" (quote not found in the {' and the '.join(error.unlocated)})"
        for side, spans in (("reference", error.reference), ("candidate", error.candidate)):
            out += [Mark(side, a, b, error.category, reason, error.significant, f"judge {number}") for a, b in spans]
    return tuple(out)

"""Visual question answering: accuracy by type of question, beside the best answer that ignores the image.

The best constant answer of each type stands in the same table, because a model that answers "no" to everything
looks good on most radiology questions. It is chosen on the reference answers being scored, so it is an upper bound of
what a constant can reach, or on the answers of another split where those are given.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np

from radvlm.errors import InputError
from radvlm.evaluate.metric import Output
from radvlm.evaluate.metrics.answers import DEFAULT_TOLERANCE, Tolerance, normalize, number_of, same_answer
from radvlm.evaluate.score import Score
from radvlm.evaluate.statistics.resampling import share
from radvlm.report_reader.report_text import ReportText
from radvlm.version import __version__

#: Section names (of reports given by section) that hold the answer and the type of the question.
ANSWER_SECTION, TYPE_SECTION = "answer", "type"
#: Type of a question that has none.
UNTYPED = "all"


def answer_of(text: ReportText) -> str:
    """The section ``answer`` where there is one, otherwise the whole text."""
    said = text.section(ANSWER_SECTION)
    return text.text if said is None else said


def best_constants(answers: Iterable[tuple[str, str]], tolerance: Tolerance = DEFAULT_TOLERANCE) -> dict[str, str]:
    """Type -> the answer that is right for most questions of the type, from (type, answer) pairs.

    Every answer that occurs is tried; ties go to the one that comes first in the alphabet.
    """
    by_type: dict[str, Counter[str]] = {}
    for kind, answer in answers:
        by_type.setdefault(kind, Counter())[answer.strip()] += 1
    out = {}
    for kind, counts in by_type.items():
        # Identical spellings are compared once; a number can be right for its neighbors within the tolerance.
        wins = {guess: sum(n for true, n in counts.items() if same_answer(true, guess, tolerance)) for guess in counts}
        out[kind] = min(wins, key=lambda guess: (-wins[guess], normalize(guess), guess))
    return out


@dataclass(frozen=True)
class AnswerScore:
    """One question: exactly the same text, the same once normalized, right within the tolerance, constant right."""

    exact: bool
    normalized: bool
    correct: bool
    constant: bool


def score_answer(
    reference: str, candidate: str, constant: str, tolerance: Tolerance = DEFAULT_TOLERANCE
) -> AnswerScore:
    """Compare one answer; ``constant`` is the best constant answer of the question's type."""
    same = (
        bool(normalize(candidate))
        and normalize(reference) == normalize(candidate)
        and (number_of(reference) is None or number_of(reference) == number_of(candidate))
    )
    return AnswerScore(
        reference.strip() == candidate.strip(),
        same,
        same_answer(reference, candidate, tolerance),
        same_answer(reference, constant, tolerance),
    )


class VqaMetric:
    """Accuracy of answers, for ``evaluate(references, candidates, [VqaMetric(types=...)])`` or ``metrics=["vqa"]``.

    Args:
        types: case id -> type of its question. Without it the type is the section ``type`` of the reference, and
            without that every question is of one type.
        constants: type -> constant answer of the baseline (of a training split); chosen on the references when None.
        tolerance: of numbers.

    References are the true answers: their text, or the section ``answer`` of a report given by section.
    """

    def __init__(
        self,
        types: Mapping[str, str] | None = None,
        constants: Mapping[str, str] | None = None,
        tolerance: Tolerance = DEFAULT_TOLERANCE,
    ) -> None:
        self.tolerance, self.types, self._constants = tolerance, types, constants
        self.name = "vqa"
        self.signature = (
            f"vqa|constant:{'references' if constants is None else 'given'}|{tolerance.signature}|radvlm:{__version__}"
        )
        self.kinds: tuple[str, ...] = ()
        self.constants: Mapping[str, str] = {}
        self.outputs: tuple[Output, ...] = ()

    def fit(self, references: Sequence[ReportText]) -> VqaMetric:
        """Bound to the types and best constants of these references; InputError for a case without a type."""
        made = VqaMetric(self.types, self._constants, self.tolerance)
        asked = [(self._kind(r), answer_of(r)) for r in references]
        made.kinds = tuple(sorted({kind for kind, _ in asked}))
        made.constants = best_constants(asked, self.tolerance) if self._constants is None else self._constants
        missing = [kind for kind in made.kinds if kind not in made.constants]
        if missing:
            raise InputError("every type of question has a constant answer", ", ".join(missing))
        made.outputs = _outputs(made.kinds)
        return made

    def score_case(self, reference: ReportText, candidate: ReportText) -> Mapping[str, Score]:
        if not self.kinds:
            raise InputError("the metric is fitted to references before it scores", "fit was not called")
        kind = self._kind(reference)
        if kind not in self.kinds:
            raise InputError("a question is of a type that the references have", f"{reference.id}: {kind!r}")
        found = score_answer(answer_of(reference), answer_of(candidate), self.constants[kind], self.tolerance)
        return {
            "answers": Score(float(found.correct), stats=self._stats(kind, found)),
            "exact": Score(float(found.exact)),
            "normalised": Score(float(found.normalized)),
        }

    def _kind(self, reference: ReportText) -> str:
        if self.types is not None:
            if reference.id not in self.types:
                raise InputError("types has every question", repr(reference.id))
            return str(self.types[reference.id])
        return (reference.section(TYPE_SECTION) or "").strip() or UNTYPED

    def _stats(self, kind: str, found: AnswerScore) -> tuple[float, ...]:
        """(types, 3) flattened: correct, constant correct, questions."""
        table = np.zeros((len(self.kinds), 3))
        table[self.kinds.index(kind)] = (found.correct, found.constant, 1)
        return tuple(table.ravel().tolist())


def _outputs(kinds: Sequence[str]) -> tuple[Output, ...]:
    def row(
        name: str,
        value: partial[np.ndarray],
        headline: bool,
        text: str,
        better: bool | None = True,
        perfect: float | None = 1.0,
    ) -> Output:
        return Output(
            name, better, source="answers", aggregate=value, perfect=perfect, headline=headline, description=text
        )

    size = len(kinds)
    out = [
        row("accuracy", partial(_overall, size=size, column=0), True, "right within the tolerance, all questions"),
        row("accuracy-macro", partial(_mean_of_types, size=size), True, "mean of the accuracies of the types"),
        row("gain", partial(_gain, size=size), True, "accuracy less that of the best constant answers", perfect=None),
        row(
            "constant",
            partial(_overall, size=size, column=1),
            False,
            "accuracy of the best constant answer of each type",
            None,
            None,
        ),
        Output("normalised", headline=False, description="equal once case, articles and spelling are normalized"),
        Output("exact", headline=False, description="letter by letter equal"),
    ]
    if kinds != (UNTYPED,):
        for i, kind in enumerate(kinds):
            out += [
                row(f"accuracy {kind}", partial(_of_type, size=size, kind=i, column=0), False, f"type {kind}"),
                row(
                    f"constant {kind}",
                    partial(_of_type, size=size, kind=i, column=1),
                    False,
                    f"best constant answer, type {kind}",
                    None,
                    None,
                ),
            ]
    return tuple(out)


def _tables(sums: np.ndarray, size: int) -> np.ndarray:
    return sums.reshape(*sums.shape[:-1], size, 3)


def _overall(sums: np.ndarray, size: int, column: int) -> np.ndarray:
    total = _tables(sums, size).sum(axis=-2)
    return share(total[..., column], total[..., 2])


def _gain(sums: np.ndarray, size: int) -> np.ndarray:
    total = _tables(sums, size).sum(axis=-2)
    return share(total[..., 0] - total[..., 1], total[..., 2])


def _of_type(sums: np.ndarray, size: int, kind: int, column: int) -> np.ndarray:
    table = _tables(sums, size)[..., kind, :]
    return share(table[..., column], table[..., 2])


def _mean_of_types(sums: np.ndarray, size: int) -> np.ndarray:
    """Mean over the types that occur."""
    table = _tables(sums, size)
    shares = share(table[..., 0], table[..., 2])
    there = np.isfinite(shares)
    return share(np.where(there, shares, 0.0).sum(axis=-1), there.sum(axis=-1).astype(float))

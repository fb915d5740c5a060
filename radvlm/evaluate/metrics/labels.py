"""How well the labels of a candidate report agree with the reference's.

Labels that neither report has are left out of macro averages; they are undefined, not zero and not one.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial

import numpy as np

from radvlm.errors import InputError
from radvlm.evaluate.metric import Output
from radvlm.evaluate.score import Mark, Score
from radvlm.evaluate.statistics.resampling import share
from radvlm.report_reader.frame import Reading
from radvlm.report_reader.labels import label_frames
from radvlm.report_reader.lexicon import Lexicon, load_lexicon
from radvlm.report_reader.reading import read_report
from radvlm.report_reader.report_text import ReportText

#: What "uncertain" counts as when a label has to be yes or no.
UNCERTAIN_AS = ("present", "absent")


class FindingsMetric:
    """Agreement of finding labels, for ``evaluate(..., metrics=["findings"])`` or ``["findings:merlin"]``.

    Args:
        scheme: label scheme.
        uncertain_as: what an uncertain label counts as, ``present`` (default) or ``absent``; not mentioned is absent.
    """

    def __init__(self, scheme: str = "ct-rate", uncertain_as: str = "present", lexicon: Lexicon | None = None) -> None:
        if uncertain_as not in UNCERTAIN_AS:
            raise InputError("uncertain labels count as present or absent", repr(uncertain_as))
        self.lexicon = lexicon or load_lexicon()
        self.scheme, self._positive = scheme, {"present"} | ({"uncertain"} if uncertain_as == "present" else set())
        self.labels = tuple(self.lexicon.labels(scheme))
        self.name = "findings"
        self.signature = (
            f"findings|scheme:{scheme}|labels:{len(self.labels)}|uncertain:{uncertain_as}|not-mentioned:absent|"
            f"lexicon:{self.lexicon.digest}|macro:labels-with-positives"
        )
        rows: list[tuple[str, Callable[[np.ndarray], np.ndarray], bool, str]] = [
            ("f1-micro", lambda t: _f1(t.sum(-2)), True, "F1 over all labels and reports"),
            ("f1-macro", lambda t: _macro(_f1(t)), True, "mean F1 of labels that either side has"),
            ("f1-weighted", lambda t: _weighted(_f1(t), t), False, "mean F1 weighted by positives of the reference"),
            ("precision-micro", lambda t: _precision(t.sum(-2)), False, "precision over all labels"),
            ("recall-micro", lambda t: _recall(t.sum(-2)), False, "recall over all labels"),
            ("precision-macro", lambda t: _macro(_precision(t)), False, "mean precision of labels"),
            ("recall-macro", lambda t: _macro(_recall(t)), False, "mean recall of labels"),
            ("crg", _crg, True, "CRG score; a report that says nothing gets 1/3, so 1/3 is its zero"),
        ]
        rows += [
            (f"f1 {label}", partial(_f1_of, label=i), False, f"F1 of {label}") for i, label in enumerate(self.labels)
        ]
        self.outputs = tuple(
            Output(
                name,
                True,
                source="labels",
                aggregate=partial(_of_table, labels=len(self.labels), value=value),
                perfect=1.0,
                headline=headline,
                description=text,
            )
            for name, value, headline, text in rows
        )

    def score_case(self, reference: ReportText, candidate: ReportText) -> Mapping[str, Score]:
        """One score, ``labels``: the case's own F1, and per label the four counts that corpus values are made of."""
        truth, said = read_report(reference, self.lexicon), read_report(candidate, self.lexicon)
        wanted, got = label_frames(truth, self.scheme, self.lexicon), label_frames(said, self.scheme, self.lexicon)
        stats: list[float] = []
        found: list[Mark] = []
        for label in self.labels:
            a, b = wanted[label] in self._positive, got[label] in self._positive
            stats += [float(a and b), float(b and not a), float(a and not b), float(not a and not b)]
            if a != b:
                found += self._marks(label, truth if a else said, "reference" if a else "candidate")
        tp, fp, fn = (sum(stats[i::4]) for i in range(3))
        n = int(tp + fn)
        if tp + fp + fn == 0:
            return {"labels": Score.undefined("neither report has any of the labels", n=n, stats=tuple(stats))}
        return {"labels": Score(2 * tp / (2 * tp + fp + fn), n=n, stats=tuple(stats), marks=tuple(found))}

    def _marks(self, label: str, reading: Reading, side: str) -> list[Mark]:
        kinds = self.lexicon.labels(self.scheme)[label]
        reason = f"{label}: only in the {side}"
        return [
            Mark(side, f.start, f.stop, "label", reason, None, label)
            for f in reading.frames
            if f.kind in kinds and f.status in self._positive
        ][:1]


def _of_table(stats: np.ndarray, labels: int, value: Callable[[np.ndarray], np.ndarray]) -> np.ndarray:
    """``value`` of the table (..., labels, 4): true and false positives, misses and true negatives of each label."""
    return value(stats.reshape(*stats.shape[:-1], labels, 4))


def _f1(table: np.ndarray) -> np.ndarray:
    return share(2 * table[..., 0], 2 * table[..., 0] + table[..., 1] + table[..., 2])


def _precision(table: np.ndarray) -> np.ndarray:
    return share(table[..., 0], table[..., 0] + table[..., 1])


def _recall(table: np.ndarray) -> np.ndarray:
    return share(table[..., 0], table[..., 0] + table[..., 2])


def _f1_of(table: np.ndarray, label: int) -> np.ndarray:
    return _f1(table[..., label, :])


def _macro(values: np.ndarray) -> np.ndarray:
    known = ~np.isnan(values)
    return share(np.where(known, values, 0.0).sum(-1), known.sum(-1).astype(float))


def _weighted(values: np.ndarray, table: np.ndarray) -> np.ndarray:
    weights = table[..., 0] + table[..., 2]
    return share(np.where(np.isnan(values), 0.0, values * weights).sum(-1), weights.sum(-1))


def _crg(table: np.ndarray) -> np.ndarray:
    """CRG = U / (2U - s), U = (X - A) / 2, s = r TP - r FN - FP, r = (X - A) / 2A; X all labels, A positives."""
    total = table.sum((-2, -1))
    tp, fp, fn = table[..., 0].sum(-1), table[..., 1].sum(-1), table[..., 2].sum(-1)
    positives = tp + fn
    rate = share(total - positives, 2 * positives)
    unit = (total - positives) / 2
    return share(unit, 2 * unit - (rate * tp - rate * fn - fp))

"""Retrieval-augmented zero-shot: scans that look alike vote on a finding, beside the model's own score.

A vote changes a probability only through a calibration that was fitted on validation cases for this very model and
index. Without one the model's score stays as it is, and the vote stands beside it with ``is_calibrated=False``. What a
neighbor has is read from its report by the labels of ``report_reader``: present or not. A report that does not mention
a finding counts as without it, an uncertain one does not vote. Sides are not told apart.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from radvlm.errors import FileFormatError, InputError
from radvlm.files.atomic import write_text
from radvlm.model.calibration import best_threshold, sigmoid, status_of
from radvlm.report_reader.labels import label_report
from radvlm.types.finding import Status
from radvlm.types.model_output import FindingScore
from radvlm.types.volume import Volume
from radvlm.wording.sentences import capital
from radvlm.workflows.open_index import reads_scans

if TYPE_CHECKING:
    from radvlm.retrieve import ReportIndex, SearchOptions, SearchResult

#: Neighbors that vote, and the temperature of the softmax over their cosines, unless a calibration says otherwise.
NEIGHBORS, TEMPERATURE = 16, 0.1
#: Precision of the prior of a fit.
PULL = 2.0
#: Name of the calibration in the folder of an index; it is read from there when none is passed.
CALIBRATION_FILE = "votes.json"
_FORMAT = "radvlm-vote-calibration"


@dataclass(frozen=True)
class VotedScore(FindingScore):
    """A score with the vote of the neighbors beside it.

    Attributes:
        share: of the neighbors' weight that has the finding, 0 to 1; None when none of them says.
        neighbors: that voted.
        is_calibrated: True when ``probability`` and ``status`` take the vote into account; False when they are the
            model's own.
    """

    share: float | None = None
    neighbors: int = 0
    is_calibrated: bool = False


@dataclass(frozen=True)
class VoteCalibration:
    """p = sigmoid(bias + model_weight * logit(model) + vote_weight * logit(share)), fitted on validation cases.

    ``share`` is smoothed by half a neighbor on each side, so that it is never 0 or 1. Bound to one model and one
    generation of an index by their digests.

    Attributes:
        bias, model_weight, vote_weight: of the logistic regression.
        absent_below, present_from: limits of the status; what lies between is indeterminate.
        neighbors, temperature: of the vote.
        cases: pairs of scan and finding that it was fitted on.
        model_digest, index_digest: what it holds for.
    """

    bias: float
    model_weight: float
    vote_weight: float
    absent_below: float
    present_from: float
    neighbors: int
    temperature: float
    cases: int
    model_digest: str
    index_digest: str

    def __post_init__(self) -> None:
        if not 0 <= self.absent_below <= self.present_from <= 1:
            raise InputError("0 <= absent below <= present from <= 1", f"{self.absent_below}, {self.present_from}")
        if not all(np.isfinite([self.bias, self.model_weight, self.vote_weight])):
            raise InputError("weights of a calibration are finite", f"{self.bias}, {self.model_weight}")
        if self.neighbors < 1 or not self.temperature > 0:
            raise InputError(
                "at least one neighbor votes, at a temperature above 0", f"{self.neighbors}, {self.temperature}"
            )

    def probability(self, model: float, share: float, neighbors: int) -> float:
        """Of a finding, from the model's probability and the vote."""
        a, b = _features(np.array([model]), np.array([share]), np.array([neighbors]))
        x = self.bias + self.model_weight * a[0] + self.vote_weight * b[0]
        return float(sigmoid(x))

    def status(self, probability: float) -> Status:
        return status_of(probability, self.absent_below, self.present_from)

    def holds_for(self, model: Any, index: ReportIndex) -> bool:
        return self.model_digest == str(getattr(model, "digest", "")) and self.index_digest == index.digest

    def save(self, path: str | os.PathLike[str]) -> Path:
        """Write it as JSON."""
        return write_text(path, json.dumps({"format": _FORMAT, **asdict(self)}, indent=1))

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> VoteCalibration:
        """Read what ``save`` wrote; FileFormatError for anything else."""
        try:
            data = json.loads(Path(path).read_text(encoding="utf-8"))
            if data.pop("format", "") != _FORMAT:
                raise ValueError("another format")
            return cls(**data)
        except (OSError, ValueError, TypeError, AttributeError) as error:
            raise FileFormatError(
                "a calibration of votes is what VoteCalibration.save wrote",
                f"{Path(path).name}: {error}",
                "Fit it again",
            ) from error


def vote(
    model: Any,
    scan: Volume,
    index: ReportIndex,
    scores: Sequence[FindingScore],
    *,
    search: SearchOptions | None = None,
    calibration: VoteCalibration | None = None,
) -> tuple[VotedScore, ...]:
    """The scores of a model with the votes of the scans (or reports) nearest to a scan.

    ``calibration``: None takes the one stored with the index. One that does not hold for this model and index is
    refused when it was passed, and left unused when it was stored.

    Raises InputError for an index whose encoder does not read scans, and as ``ReportIndex.search``.
    """
    passed = calibration is not None
    if calibration is None and (index.folder / CALIBRATION_FILE).is_file():
        calibration = VoteCalibration.load(index.folder / CALIBRATION_FILE)
    if calibration is not None and not calibration.holds_for(model, index):
        if passed:
            raise InputError(
                "a calibration of votes belongs to one model and one index",
                f"fitted for {calibration.model_digest[:12]} and {calibration.index_digest[:12]}",
                "Fit it for these with calibrate_votes",
            )
        calibration = None
    result = _neighbors(scan, index, calibration.neighbors if calibration else NEIGHBORS, search)
    shares = _shares(result, [s.words for s in scores], calibration.temperature if calibration else TEMPERATURE)
    return tuple(_voted(s, shares[s.words], calibration) for s in scores)


def _voted(score: FindingScore, share: tuple[float, int] | None, calibration: VoteCalibration | None) -> VotedScore:
    own = {f.name: getattr(score, f.name) for f in fields(FindingScore)}
    if share is None:
        return VotedScore(**own)
    if calibration is None:
        return VotedScore(**own, share=share[0], neighbors=share[1])
    p = calibration.probability(score.probability, *share)
    status = Status.NOT_ASSESSED if score.status is Status.NOT_ASSESSED else calibration.status(p)
    if status is Status.ABSENT:
        own |= {"region": None, "grounding": "not localized", "locations": ()}
    return VotedScore(
        **{**own, "probability": p, "status": status}, share=share[0], neighbors=share[1], is_calibrated=True
    )


def _neighbors(scan: Volume, index: ReportIndex, k: int, search: SearchOptions | None) -> SearchResult:
    from radvlm.retrieve import SearchOptions

    if not reads_scans(index):
        raise InputError(
            "neighbors of a scan need an index whose encoder reads scans",
            str(index.manifest["encoder"]["id"]),
            "Build it with --encoder tiny",
        )
    level = next((name for name in ("image", "report") if name in index.levels), "")
    if not level:
        raise InputError(
            "neighbors that vote are whole reports",
            ", ".join(index.levels),
            "Build the index with the level image or report",
        )
    return index.search(scan, k, replace(search or SearchOptions(), level=level))


def _shares(result: SearchResult, asked: Iterable[str], temperature: float) -> dict[str, tuple[float, int] | None]:
    """Words of a finding -> (share, neighbors), None where no label fits them or no neighbor says."""
    from radvlm.retrieve import neighbor_vote

    said = {h.record: label_report(h.text, "radvlm") for h in result}
    out: dict[str, tuple[float, int] | None] = {}
    for words in dict.fromkeys(asked):
        names = [n for n, state in label_report(_sentence(words), "radvlm").items() if state == "present"]
        table: dict[str, Mapping[str, bool]] = {}
        for record, labels in said.items():
            states = {labels[n] for n in names}
            if names and (states == {"present"} or "uncertain" not in states):
                table[record] = {words: states == {"present"}}
        found = neighbor_vote(result, table, words, temperature)
        out[words] = None if found is None else (found.share, found.neighbors)
    return out


def _sentence(words: str) -> str:
    return f"{capital(words.strip().rstrip('.'))}."


# -- fitting ---------------------------------------------------------------------------------------------------------


def calibrate_votes(
    cases: Iterable[tuple[Volume, str | Sequence[str] | None, Mapping[str, bool]]],
    model: Any,
    index: ReportIndex,
    *,
    neighbors: int = NEIGHBORS,
    temperature: float = TEMPERATURE,
) -> VoteCalibration:
    """Fit the calibration on validation cases; ``save`` it as ``INDEX/votes.json`` to have it used.

    Args:
        cases: (scan, its patient or None when nobody in the index, words of a finding -> present).

    Raises InputError without a positive and a negative vote.
    """
    from radvlm.retrieve import SearchOptions

    rows: list[tuple[float, float, int, bool]] = []
    for scan, patient, truth in cases:
        scores = {s.words: s for s in model.classify(scan, list(truth))}
        result = _neighbors(scan, index, neighbors, SearchOptions(patient, patient is None))
        for words, share in _shares(result, truth, temperature).items():
            if share is not None and words in scores:
                rows.append((scores[words].probability, *share, bool(truth[words])))
    return fit_votes(
        Votes(*np.array(rows, dtype=float).reshape(-1, 4).T),
        neighbors=neighbors,
        temperature=temperature,
        model_digest=str(getattr(model, "digest", "")),
        index_digest=index.digest,
    )


@dataclass(frozen=True, eq=False)
class Votes:
    """Pairs of scan and finding to fit a calibration on, each (N,): the model's probability, the share of the
    neighbors' weight that has the finding, how many voted, and whether it is there."""

    model: np.ndarray
    share: np.ndarray
    voters: np.ndarray
    truth: np.ndarray


def fit_votes(
    votes: Votes,
    *,
    neighbors: int = NEIGHBORS,
    temperature: float = TEMPERATURE,
    model_digest: str = "",
    index_digest: str = "",
) -> VoteCalibration:
    """Logistic regression of the truth on the logits of the model's probabilities and of the shares.

    A Gaussian prior of precision ``PULL`` draws the weights to (1, 0) and the bias to 0, "the model alone", so that few
    cases change little. ``present_from`` maximizes F1 on the cases; ``absent_below`` is half of it.
    """
    y = np.asarray(votes.truth, dtype=float)
    if not 0 < y.sum() < len(y):
        raise InputError("a calibration needs cases with and without a finding", f"{int(y.sum())} of {len(y)}")
    x = np.column_stack([np.ones(len(y)), *_features(votes.model, votes.share, votes.voters)])  # (N, 3)
    prior = np.array([0.0, 1.0, 0.0])
    w = prior.copy()

    def cost(v: np.ndarray) -> float:
        z = x @ v
        return float((np.logaddexp(0, z) - y * z).sum() + PULL / 2 * ((v - prior) ** 2).sum())

    for _ in range(100):
        p = sigmoid(x @ w)
        gradient = x.T @ (p - y) + PULL * (w - prior)
        hessian = (x * (p * (1 - p))[:, None]).T @ x + PULL * np.eye(3)
        step = np.linalg.solve(hessian, gradient)
        size, before = 1.0, cost(w)
        while size > 1e-10 and cost(w - size * step) > before:
            size /= 2
        w = w - size * step
        if np.abs(size * step).max() < 1e-9:
            break
    high = best_threshold(sigmoid(x @ w), y)
    return VoteCalibration(
        float(w[0]),
        float(w[1]),
        float(w[2]),
        high / 2,
        high,
        neighbors,
        temperature,
        len(y),
        model_digest,
        index_digest,
    )


def _features(model: np.ndarray, share: np.ndarray, voters: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Logits of the model's probability and of the share, smoothed by half a neighbor on each side."""
    p = np.clip(np.asarray(model, float), 1e-6, 1 - 1e-6)
    n = np.asarray(voters, float)
    q = (np.asarray(share, float) * n + 0.5) / (n + 1)
    return np.log(p / (1 - p)), np.log(q / (1 - q))

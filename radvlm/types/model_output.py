"""What a model says of a scan, as plain data: probabilities, prose, answers. No tensors, nothing measured.

Nothing in here is a fact. A score becomes a ``Finding`` whose source is the model, and prose (``Draft``) is
unverified until ``radvlm.compose`` has checked it sentence by sentence. A region in here lies in the model's own
segmentation, never in masks that somebody drew.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from numbers import Real
from types import MappingProxyType
from typing import Any

from radvlm.errors import InputError
from radvlm.types.anatomy import NOT_OF_THE_BODY, SECTIONS, structure
from radvlm.types.finding import Status
from radvlm.types.provenance import Decision
from radvlm.types.records import record_from
from radvlm.types.region import Region

#: How a score was tied to a place: voxels of the finding itself, the organ that it lies in, or nothing.
GROUNDINGS = ("voxel head", "organ", "not localized")
#: Why what a model does not see on a scan outside its domain is not said to be absent.
DENIES_NOTHING = "of a scan unlike those of its training the model denies nothing"
#: Why a question that masks do not settle has no answer on such a scan.
UNFOUNDED = "of a scan unlike those of its training the model answers nothing"
#: Regions of a model are named ``model:liver_cyst/1`` in a report, because masks may name the same structure.
MODEL_REGION = "model:"
#: What a score may say; "not assessed" it is only where a caution says why the model cannot be relied on.
SCORED = (Status.PRESENT, Status.ABSENT, Status.INDETERMINATE)
#: After the status of what a model says of a scan that is unlike those of its training.
OUTSIDE_ITS_DOMAIN = "outside its domain"


def _probability(value: float, name: str, of: str) -> float:
    if isinstance(value, bool) or not isinstance(value, Real) or not math.isfinite(value) or not 0 <= value <= 1:
        raise InputError(f"{name} is a probability from 0 to 1", f"{value!r} ({of})", "Pass probabilities, not logits")
    return float(value)


def _words(value: str, name: str) -> None:
    if not isinstance(value, str) or not value.strip():
        raise InputError(f"{name} has words", repr(value))


def _section(value: str) -> None:
    if value not in SECTIONS:
        raise InputError("a section is a key of radvlm.types.anatomy.SECTIONS", repr(value))


@dataclass(frozen=True)
class FindingScore:
    """How probable one finding is at one site.

    Attributes:
        finding: key of ``radvlm/types/finding_kinds.csv``, or the free text that was asked.
        words: how one of them is called (``hepatic cyst``).
        section: key of ``anatomy.SECTIONS``.
        site: canonical structure, with its side where that is known (``kidney_left``); "" for none.
        probability: calibrated, 0 to 1.
        status: present, absent or indeterminate, by the thresholds stored with the model; not assessed only with a
            ``caution``.
        region: in the model's own segmentation; None where the model did not localize it, and where it is absent.
        grounding: one of ``GROUNDINGS``; "not localized" exactly when there is no region.
        locations: finer places that the model gives, most probable first (``liver_segment_6``); () for none.
        caution: why it is not to be relied on (the scan is unlike those of the training); "" for no such reason.

    Raises InputError where one of these does not hold.
    """

    finding: str
    words: str
    section: str
    site: str
    probability: float
    status: Status
    region: Region | None = None
    grounding: str = "not localized"
    locations: tuple[str, ...] = ()
    caution: str = ""

    def __post_init__(self) -> None:
        _words(self.finding, "a score's finding")
        _words(self.words, "a score's words")
        _section(self.section)
        if self.section in NOT_OF_THE_BODY:
            raise InputError("a finding stands in a section of the body", f"{self.finding}: {self.section}")
        object.__setattr__(self, "locations", tuple(self.locations))
        for name in (*((self.site,) if self.site else ()), *self.locations):
            structure(name)
        object.__setattr__(self, "probability", _probability(self.probability, "a score", self.finding))
        object.__setattr__(self, "status", Status(self.status))
        if self.status not in SCORED and not self.caution:
            rule = "a score is present, absent or indeterminate, and without a caution nothing else"
            raise InputError(rule, f"{self.finding}: {self.status}")
        if self.grounding not in GROUNDINGS:
            raise InputError(f"a grounding is one of {', '.join(GROUNDINGS)}", repr(self.grounding))
        if (self.region is None) != (self.grounding == "not localized"):
            raise InputError(
                'a score is "not localized" exactly when it has no region',
                f"{self.finding}: {self.grounding}, region {self.region and self.region.id}",
            )
        if self.status is Status.ABSENT and self.region is not None:
            raise InputError("an absent finding has no region", f"{self.finding}: {self.region.id}")


@dataclass(frozen=True)
class Draft:
    """Prose of the decoder for one section, unverified; may be empty."""

    section: str
    text: str

    def __post_init__(self) -> None:
        _section(self.section)
        if not isinstance(self.text, str):
            raise InputError("a draft is text", type(self.text).__name__)


@dataclass(frozen=True)
class Answer:
    """The answer to one question.

    Attributes:
        text: the answer in words (``Yes``, ``2.3 cm``, ``Segment VI of the liver``).
        confidence: probability that ``text`` is right; calibrated where the question is whether something is there, 1
            where the masks say so. With an indeterminate status it may be below one half: what is open is never
            answered "No".
        status: of what was asked about; not assessed where the model cannot know.
        region: where it is, in the model's or the given segmentation; None when it is nowhere in particular.
        evidence: short lines saying what the answer rests on.
    """

    text: str
    confidence: float
    status: Status
    region: Region | None = None
    evidence: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        _words(self.text, "an answer")
        object.__setattr__(self, "confidence", _probability(self.confidence, "a confidence", self.text))
        object.__setattr__(self, "status", Status(self.status))
        object.__setattr__(self, "evidence", tuple(self.evidence))

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)


@dataclass(frozen=True)
class ModelOutput:
    """Everything that one model said of one scan.

    Attributes:
        model: name or path it was loaded by.
        digest: sha256 of its weights in hex, "" when not known.
        notice: one sentence on what the model is for; shown wherever it speaks.
        scores: one per finding and site.
        drafts: at most one per section.
        warnings: what a reader should know (a scan unlike those of the training).
        thresholds: finding -> (absent below, present from), as stored with the model; may be empty.
        outside_domain: why this scan is unlike those that the model was trained on; "" where it is not, or where the
            model does not know. What it says then leads nothing: it stands in a section of its own.
    """

    model: str
    digest: str
    notice: str
    scores: tuple[FindingScore, ...] = ()
    drafts: tuple[Draft, ...] = ()
    warnings: tuple[Decision, ...] = ()
    thresholds: Mapping[str, tuple[float, float]] = field(default_factory=dict)
    outside_domain: str = ""

    def __post_init__(self) -> None:
        _words(self.model, "the model of an output")
        for name in ("scores", "drafts", "warnings"):
            object.__setattr__(self, name, tuple(getattr(self, name)))
        seen: set[tuple[str, str]] = set()
        for score in self.scores:
            if (score.finding, score.site) in seen:
                raise InputError("a finding is scored once at each site", f"{score.finding} {score.site}".strip())
            seen.add((score.finding, score.site))
        sections = [draft.section for draft in self.drafts]
        twice = next((s for s in sections if sections.count(s) > 1), None)
        if twice is not None:
            raise InputError("a section has one draft", twice)
        limits = {}
        for name, (low, high) in dict(self.thresholds).items():
            limits[name] = (_probability(low, "a threshold", name), _probability(high, "a threshold", name))
            if low > high:
                raise InputError("absent lies below present", f"{name}: {low} > {high}")
        object.__setattr__(self, "thresholds", MappingProxyType(limits))

    def score(self, finding: str, site: str = "") -> FindingScore | None:
        """The score of a finding (at a site, where it is given): the most probable one; None when it was not scored."""
        held = [s for s in self.scores if s.finding == finding and (not site or s.site == site)]
        return max(held, key=lambda s: s.probability, default=None)

    def to_dict(self) -> dict[str, Any]:
        return {
            "model": self.model,
            "digest": self.digest,
            "notice": self.notice,
            "scores": [asdict(s) for s in self.scores],
            "drafts": [asdict(d) for d in self.drafts],
            "warnings": [asdict(w) for w in self.warnings],
            "thresholds": {name: list(pair) for name, pair in self.thresholds.items()},
            "outside_domain": self.outside_domain,
        }

    def to_json(self) -> str:
        return json.dumps(self.to_dict(), indent=2, ensure_ascii=False)

    @classmethod
    def from_json(cls, text: str) -> ModelOutput:
        """Undo ``to_json``; InputError for a malformed document."""
        try:
            return record_from(cls, json.loads(text))
        except InputError:
            raise
        except (KeyError, TypeError, AttributeError, IndexError, ValueError) as error:
            raise InputError("a model's output is what to_json wrote", f"{type(error).__name__}: {error}") from error

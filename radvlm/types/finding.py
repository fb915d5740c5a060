"""Findings, and the judgements of rules about them: the facts that sentences may state.

A Finding, or an Assessment of one, is the only thing a sentence can cite, and their regions and numbers are the only
ones that sentence can have. Nothing here holds voxels; a region's mask is always recovered from the Segmentation
(``radvlm.quantify.region_mask``).
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum

from radvlm.errors import InputError
from radvlm.types.anatomy import SECTIONS, structure
from radvlm.types.measurement import Measurement
from radvlm.types.region import Region
from radvlm.types.urgency import Urgency, urgency_of


class Status(StrEnum):
    """``absent`` may be said only of what was searched for; ``not assessed`` always carries a reason."""

    PRESENT = "present"
    ABSENT = "absent"
    INDETERMINATE = "indeterminate"
    NOT_ASSESSED = "not assessed"


class Source(StrEnum):
    """Who says so: the masks, the voxels alone, the file header, or a model (with a probability)."""

    MASKS = "masks"
    VOXELS = "voxels"
    HEADER = "header"
    MODEL = "model"


@dataclass(frozen=True)
class RuleReference:
    """The rule behind a category: its id in thresholds.yaml, its citation, and how certain the source is."""

    id: str
    source: str
    certainty: str


@dataclass(frozen=True)
class ClassLimits:
    """The numbers, as they are printed and in the unit of the first measurement, of which the words of a class hold.

    Attributes:
        above, at_least: the lower limit, without and with itself. below, up_to: the upper one, likewise. None for none.
    """

    above: float | None = None
    at_least: float | None = None
    below: float | None = None
    up_to: float | None = None

    def hold(self, value: float) -> bool:
        """Whether a number lies within them."""
        return (
            (self.above is None or value > self.above)
            and (self.at_least is None or value >= self.at_least)
            and (self.below is None or value < self.below)
            and (self.up_to is None or value <= self.up_to)
        )


@dataclass(frozen=True)
class Citable(ABC):
    """What a sentence may cite: a ``Finding``, or an ``Assessment`` of one.

    Attributes:
        id: unique in a report (``F1``).
        kind: what is stated, snake case: ``organ`` (the structure was seen and measured), ``coverage``,
            ``liver_lesion``, ``splenomegaly``, ``steatosis``, ...
        status: present, absent, indeterminate, not assessed.
        site: canonical structure name that it concerns; "" for the scan as a whole.
        section: key of ``anatomy.SECTIONS`` in which it is reported.
        regions: where it is; at least one when present and found by masks, none when absent.
        measurements: the numbers it states, headline first.
        category: words for the category (``enlarged``, ``hypoattenuating``); "" for none.
        headline: words for the impression; "" to take the category.
        says_value: the number stands in category and headline already.
        rule: the rule that gave the category.
        reason: why it is not assessed or indeterminate; required for both.
        source: masks, voxels, header or model.
        importance: 0 stays out of the impression; larger comes earlier, see ``radvlm.types.urgency``.
    """

    id: str
    kind: str
    status: Status
    site: str
    section: str
    regions: tuple[Region, ...] = ()
    measurements: tuple[Measurement, ...] = ()
    category: str = ""
    headline: str = ""
    says_value: bool = False
    rule: RuleReference | None = None
    reason: str = ""
    source: Source = Source.MASKS
    importance: float = 0.0

    @property
    def urgency(self) -> Urgency:
        """How soon somebody must know of it: the level in which its importance lies."""
        return urgency_of(self.importance)

    @property
    @abstractmethod
    def names(self) -> frozenset[str]:
        """Structures that a sentence may name when it speaks of this."""

    def measurement(self, quantity: str) -> Measurement | None:
        """The first measurement of that quantity, or None."""
        return next((m for m in self.measurements if m.quantity == quantity), None)


@dataclass(frozen=True)
class Assessment(Citable):
    """The judgement of one rule about the finding that holds it: "enlarged", "fluid attenuation", "cT2".

    What could not be judged is no assessment: it is a finding of its own that was not assessed, said once for all
    lesions.

    Attributes:
        site: that of the finding; for the contact with a vessel, the vessel.
        reference: the other structure of a comparison: the spleen of "liver minus spleen", the tumor of a contact.
        twin: the other organ, where a pair was judged together.
        is_detail: said only where a lesion is described in full.
        because: the row of the table that decided.
        possible: words of every class that the value may belong to within its error, in ascending order of the value;
            () where there is only one. "" stands for a class without a word.
        limits: of the classes that are said, all together; None where no number alone decided.
    """

    reference: str = ""
    twin: str = ""
    is_detail: bool = False
    because: str = ""
    possible: tuple[str, ...] = ()
    limits: ClassLimits | None = None

    def __post_init__(self) -> None:
        _check(self)

    @property
    def names(self) -> frozenset[str]:
        return frozenset({self.site, self.reference, self.twin, *(r.structure for r in self.regions)} - {""})


@dataclass(frozen=True)
class Finding(Citable):
    """One fact about the patient, with the judgements on it.

    Attributes:
        locations: structure names in which it lies (segments, lobes, levels), largest share first.
        confidence: probability from a model; None for everything measured.
        host, pole, level: organ that a lesion lies in, part of the kidney, vertebra at its height.
        attenuation: ``hypoattenuating``, ``fat``, ...; "" where it was not judged.
        cut_by: faces of the field of view that cut it; () when it is complete.
        phase: contrast phase in which its attenuation was measured; "" when that is not certain.
        scope: ``imaged part`` or ``imaged range`` where an absence holds only there.
        is_expected: its absence from the masks is worth a word, because that part of the body is imaged.
        model_term: what the model calls it. grounding: how the model gave it a place.
        assessments: the judgements of rules about it.

    Example:
        >>> import numpy as np, radvlm
        >>> hu = np.full((30, 30, 20), -1000, np.int16)
        >>> hu[5:25, 5:25] = 40
        >>> scan = radvlm.load_volume(hu, affine=np.diag([2.0, 2.0, 3.0, 1.0]))
        >>> labels = np.zeros(hu.shape, np.uint8)
        >>> labels[10:20, 10:20, 5:15] = 1
        >>> masks = radvlm.load_segmentation((labels, scan.geometry.affine), like=scan, scheme={1: "liver"})
        >>> patient = radvlm.Patient(sex="F", age_years=63)
        >>> found = radvlm.generate_report(scan, segmentation=masks, patient=patient).findings
        >>> liver = next(finding for finding in found if finding.site == "liver")
        >>> liver.kind, str(liver.status), [assessment.kind for assessment in liver.assessments]
        ('organ', 'present', ['hepatomegaly'])
    """

    locations: tuple[str, ...] = ()
    confidence: float | None = None
    host: str = ""
    pole: str = ""
    level: str = ""
    attenuation: str = ""
    cut_by: tuple[str, ...] = ()
    phase: str = ""
    scope: str = ""
    is_expected: bool = False
    model_term: str = ""
    grounding: str = ""
    assessments: tuple[Assessment, ...] = ()

    def __post_init__(self) -> None:
        _check(self)
        if (self.confidence is None) == (self.source is Source.MODEL):
            raise InputError(
                "a model's finding, and no other, carries a probability",
                f"{self.id}: source {self.source}, confidence {self.confidence}",
            )
        if self.confidence is not None and not 0 <= self.confidence <= 1:
            raise InputError("a probability lies between 0 and 1", str(self.confidence))
        for assessment in self.assessments:
            if not self.regions or assessment.status is Status.NOT_ASSESSED:
                raise InputError("an assessment judges something that is seen", f"{self.id} {assessment.kind}")

    @property
    def names(self) -> frozenset[str]:
        held = {self.site, self.host, self.level, *self.locations, *(r.structure for r in self.regions)}
        return frozenset(held - {""})


def _check(item: Citable) -> None:
    object.__setattr__(item, "status", Status(item.status))
    object.__setattr__(item, "source", Source(item.source))
    for name in item.names:
        structure(name)
    if item.section not in SECTIONS:
        raise InputError("a section is a key of radvlm.types.anatomy.SECTIONS", repr(item.section))
    if item.status is Status.PRESENT and item.source is Source.MASKS and not item.regions:
        raise InputError("a finding present in the masks has a region", f"{item.id} {item.kind} {item.site}")
    if item.status is Status.ABSENT and item.regions:
        raise InputError("an absent finding has no region", f"{item.id} {item.kind} {item.site}")
    if item.status in (Status.NOT_ASSESSED, Status.INDETERMINATE) and not item.reason:
        raise InputError(f"a finding that is {item.status} says why", f"{item.id} {item.kind} {item.site}")


def citable(findings: Iterable[Finding]) -> tuple[Citable, ...]:
    """All that sentences may cite: each finding, followed by its assessments."""
    return tuple(item for finding in findings for item in (finding, *finding.assessments))

"""Regions, measurements and findings: the facts that sentences may state.

A Finding is the only thing a sentence can cite, and its regions and numbers are the only ones that sentence
can have. Nothing here holds voxels; a region's mask is always recovered from the Segmentation
(``radvlm.quantify.region_mask``).
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from radvlm.errors import InputError
from radvlm.types.anatomy import SECTIONS, Structure, structure
from radvlm.types.measurement import Measurement
from radvlm.types.region import Region


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
class Finding:
    """One statement about the patient that a sentence can cite.

    Attributes:
        id: unique in a report (``F1``).
        kind: what is stated, snake case: ``organ`` (the structure was seen and measured), ``coverage``,
            ``liver_lesion``, ``splenomegaly``, ``steatosis``, ...
        status: present, absent, indeterminate, not assessed.
        site: canonical structure name that it concerns; "" for the scan as a whole.
        section: key of ``anatomy.SECTIONS`` in which it is reported.
        regions: where it is; at least one when present and found by masks, none when absent.
        measurements: the numbers it states, headline first.
        locations: structure names in which it lies (segments, lobes, levels), largest share first.
        category: words for the category (``splenomegaly``, ``hypoattenuating``); "" for none.
        rule: the rule that gave the category.
        reason: why it is not assessed or indeterminate; required for both.
        source: masks, voxels, header or model.
        confidence: probability from a model; None for everything measured.
        importance: 0 stays out of the impression; larger comes earlier.
        headline: words for the impression; "" to take the category.
        says_value: the number stands in category and headline already.
        is_detail: said only where a lesion is described in full.
        subjects: ids of the regions that an assessment judges.
        reference: the other structure of a comparison.
        because: the row of the table that decided.
        lesion_id: region of the lesion beside which something was measured.
        host, pole, level: organ that a lesion lies in, part of the kidney, vertebra at its height.
        attenuation: ``hypoattenuating``, ``fat``, ...; "" where it was not judged.
        cut_by: faces of the field of view that cut it; () when it is complete.
        phase: contrast phase in which its attenuation was measured; "" when that is not certain.
        scope: ``imaged part`` or ``imaged range`` where an absence holds only there.
        is_expected: its absence from the masks is worth a word, because that part of the body is imaged.
        model_term: what the model calls it. grounding: how the model gave it a place.
    """

    id: str
    kind: str
    status: Status
    site: str
    section: str
    regions: tuple[Region, ...] = ()
    measurements: tuple[Measurement, ...] = ()
    locations: tuple[str, ...] = ()
    category: str = ""
    rule: RuleReference | None = None
    reason: str = ""
    source: Source = Source.MASKS
    confidence: float | None = None
    importance: int = 0
    headline: str = ""
    says_value: bool = False
    is_detail: bool = False
    subjects: tuple[str, ...] = ()
    reference: str = ""
    because: str = ""
    lesion_id: str = ""
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

    def __post_init__(self) -> None:
        object.__setattr__(self, "status", Status(self.status))
        object.__setattr__(self, "source", Source(self.source))
        for name in (*((self.site,) if self.site else ()), *self.locations):
            structure(name)
        if self.section not in SECTIONS:
            raise InputError("a section is a key of radvlm.types.anatomy.SECTIONS", repr(self.section))
        if self.status is Status.PRESENT and self.source is Source.MASKS and not self.regions:
            raise InputError("a finding present in the masks has a region", f"{self.id} {self.kind} {self.site}")
        if self.status is Status.ABSENT and self.regions:
            raise InputError("an absent finding has no region", f"{self.id} {self.kind} {self.site}")
        if self.status in (Status.NOT_ASSESSED, Status.INDETERMINATE) and not self.reason:
            raise InputError(f"a finding that is {self.status} says why", f"{self.id} {self.kind} {self.site}")
        if (self.confidence is None) == (self.source is Source.MODEL):
            raise InputError(
                "a model's finding, and no other, carries a probability",
                f"{self.id}: source {self.source}, confidence {self.confidence}",
            )
        if self.confidence is not None and not 0 <= self.confidence <= 1:
            raise InputError("a probability lies between 0 and 1", str(self.confidence))

    @property
    def structure(self) -> Structure | None:
        """Row of the anatomy table for ``site``."""
        return structure(self.site) if self.site else None

    def measurement(self, quantity: str) -> Measurement | None:
        """The first measurement of that quantity, or None."""
        return next((m for m in self.measurements if m.quantity == quantity), None)

"""Regions, measurements and findings: the facts that sentences may state.

A Finding is the only thing a sentence can cite, and its regions and numbers are the only ones that sentence
can have. Nothing here holds voxels; a region's mask is always recovered from the Segmentation
(``radvlm.quantify.region_mask``).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from enum import StrEnum

from radvlm.anatomy import SECTIONS, Structure, structure
from radvlm.errors import InputError
from radvlm.geometry import Box

#: Units a measurement may have. ``1`` is a count or a ratio.
UNITS = ("mm", "mm2", "mL", "HU", "degree", "percent", "1")

#: Named parts of vessels whose diameter, area and length are measured apart.
AORTA_PARTS = ("ascending", "arch", "descending", "suprarenal", "infrarenal")
PULMONARY_PARTS = ("trunk", "right_branch", "left_branch")
PORTAL_PARTS = ("portal", "splenic")

#: Quantities a measurement may have -> the unit of each. Words are used in reports and tables.
QUANTITIES: dict[str, str] = {
    # of a structure or a lesion
    "volume": "mL",
    "mean_hu": "HU",
    "sd_hu": "HU",
    "median_hu": "HU",
    "core_mean_hu": "HU",
    "p05_hu": "HU",
    "p25_hu": "HU",
    "p75_hu": "HU",
    "p95_hu": "HU",
    "extent_right_left": "mm",
    "extent_anterior_posterior": "mm",
    "extent_superior_inferior": "mm",
    # of a lesion instance
    "long_axis": "mm",
    "short_axis": "mm",
    "diameter_3d": "mm",
    "contrast_to_host": "HU",
    "host_mean_hu": "HU",
    "host_sd_hu": "HU",
    # of an organ, vessel or fluid collection
    "diameter": "mm",
    "thickness": "mm",
    "depth": "mm",
    "length": "mm",
    "area": "mm2",
    "angle": "degree",
    # derived
    "count": "1",
    "ratio": "1",
    "difference_hu": "HU",
    "total_volume": "mL",
    "fraction": "percent",
    # shape and character of a lesion
    "sphericity": "1",
    "solidity": "1",
    "elongation": "1",
    "flatness": "1",
    "mean_diameter": "mm",
    "edge_width": "mm",
    "core_sd_hu": "HU",
    "noise_hu": "HU",
    "heterogeneity": "HU",
    "solid_fraction": "percent",
    "solid_diameter": "mm",
    "distance_to_pleura": "mm",
    "vessels_touching": "1",
    "vessels_pointing": "1",
    "airways_touching": "1",
    "airways_pointing": "1",
    # of lungs, airways, fluid, body composition
    "emphysema_index": "percent",
    "minimum_area": "mm2",
    "tracheal_index": "1",
    "cardiothoracic_ratio": "1",
    "area_l3": "mm2",
    "mean_hu_l3": "HU",
    "liver_spleen_ratio": "1",
    "midclavicular_length": "mm",
    # of a named part of a vessel (ascending_diameter, infrarenal_length)
    **{
        f"{part}_{what}": unit
        for part in (*AORTA_PARTS, *PULMONARY_PARTS, *PORTAL_PARTS)
        for what, unit in (("diameter", "mm"), ("area", "mm2"), ("length", "mm"))
    },
    # of a tumor beside a vessel
    "distance": "mm",
    # of a vertebra
    "anterior_height": "mm",
    "middle_height": "mm",
    "posterior_height": "mm",
    "trabecular_hu": "HU",
    "wedge_loss": "percent",
    "biconcave_loss": "percent",
    "crush_loss": "percent",
    # of the scan
    "coverage": "mm",
    "slice_spacing": "mm",
    "pixel_spacing": "mm",
}


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
class Region:
    """A set of voxels in the Segmentation: a whole structure, or one 26-connected instance of it.

    Attributes:
        id: unique in a report, such as ``liver`` or ``liver_lesion/2``.
        structure: canonical structure name.
        box: tight bounding box in voxels of the RAS+ grid.
        voxels: number of voxels, at least 1.
        volume_ml: volume in mL.
        centroid_mm: centre of mass, RAS+ mm.
        seed: index of one voxel of the instance; None for a whole structure.
    """

    id: str
    structure: str
    box: Box
    voxels: int
    volume_ml: float
    centroid_mm: tuple[float, float, float]
    seed: tuple[int, int, int] | None = None

    def __post_init__(self) -> None:
        structure(self.structure)
        if self.voxels < 1 or not self.volume_ml > 0:
            raise InputError("a region has at least one voxel and a positive volume", f"{self.voxels} voxels")
        if not all(math.isfinite(v) for v in self.centroid_mm):
            raise InputError("a centroid is finite", str(self.centroid_mm))


@dataclass(frozen=True)
class Measurement:
    """One number with its unit, how it was obtained and how sure it is.

    Attributes:
        quantity: a key of ``QUANTITIES``, which fixes the unit.
        value: finite.
        method: short name of the method, explained in docs/measurements.md.
        uncertainty: half-width caused by the voxel grid, in the same unit; None when not estimated.
        region_id: the region measured; "" when the number belongs to the whole scan.
        points_mm: end points in RAS+ mm for calipers: (start, end) for an axis; () otherwise.
        slice_index: axial slice (axis 2) of a planar measurement; None otherwise.
    """

    quantity: str
    value: float
    method: str
    uncertainty: float | None = None
    region_id: str = ""
    points_mm: tuple[tuple[float, float, float], ...] = ()
    slice_index: int | None = None

    def __post_init__(self) -> None:
        if self.quantity not in QUANTITIES:
            raise InputError("a measured quantity is in radvlm.finding.QUANTITIES", repr(self.quantity))
        if not math.isfinite(self.value):
            raise InputError(
                "a measurement is finite; one that failed is left out with a reason", f"{self.quantity} = {self.value}"
            )
        object.__setattr__(self, "value", float(self.value))

    @property
    def unit(self) -> str:
        return QUANTITIES[self.quantity]


@dataclass(frozen=True)
class Omission:
    """A measurement that was not made, and why."""

    quantity: str
    structure: str
    reason: str


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
        attributes: further (name, value) words, such as ("attenuation", "hypoattenuating").
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
    attributes: tuple[tuple[str, str], ...] = ()

    def __post_init__(self) -> None:
        object.__setattr__(self, "status", Status(self.status))
        object.__setattr__(self, "source", Source(self.source))
        for name in (*((self.site,) if self.site else ()), *self.locations):
            structure(name)
        if self.section not in SECTIONS:
            raise InputError("a section is a key of radvlm.anatomy.SECTIONS", repr(self.section))
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

    def attribute(self, name: str) -> str:
        """The value of a further attribute, "" when it has none."""
        return next((value for key, value in self.attributes if key == name), "")

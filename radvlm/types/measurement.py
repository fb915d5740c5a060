"""One number: what it measures, in which unit, how it was obtained and how sure it is."""

from __future__ import annotations

import math
from dataclasses import dataclass

from radvlm.errors import InputError

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
    "parenchyma_hu": "HU",
    "p05_hu": "HU",
    "p25_hu": "HU",
    "p75_hu": "HU",
    "p95_hu": "HU",
    "peak_hu": "HU",
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
    "whole_diameter": "mm",  # of the imaged aorta, where masks do not tell its parts apart
    "thickness": "mm",
    "width": "mm",
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
    "calcium_score": "1",
    "minimum_area": "mm2",
    "tracheal_index": "1",
    "cardiothoracic_ratio": "1",
    "area_l3": "mm2",
    "mean_hu_l3": "HU",
    "liver_spleen_ratio": "1",
    "midclavicular_length": "mm",
    # of the body in one slice
    "body_width": "mm",
    "body_depth": "mm",
    "circumference": "mm",
    "effective_diameter": "mm",
    "water_equivalent_diameter": "mm",
    "fat_share": "percent",
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


#: How the diameter of a vessel is measured.
VESSEL_CHORD = "largest chord perpendicular to the center line"
#: How it is measured where a ball in the mask is wider than every round section, as in a saccular aneurysm.
VESSEL_BALL = "largest ball in the vessel, wider than its round sections"
#: A chord is rather too long than too short: on 200 tubes of known size on grids of 1 to 3 mm it erred by 0 to
#: +2.1 mm, and at a bulge by -1.4 to +0.7 mm (-0.5 in the mean; eval/results/truth_vessels.json), while its uncertainty
#: is a whole voxel. The truth exceeds it by at most this share of a voxel, or by this many mm where that is more.
EXCESS_SHARE, EXCESS_MM = 1 / 3, 1.0


@dataclass(frozen=True)
class Measurement:
    """One number with its unit, how it was obtained and how sure it is.

    Attributes:
        quantity: a key of ``QUANTITIES``, which fixes the unit.
        value: finite.
        method: short name of the method, explained in docs/measurements.md.
        uncertainty: half-width caused by the voxel grid, in the same unit; None when not estimated.
        region_id: the region measured; "" when the number belongs to the whole scan.
        points_mm: end points in RAS+ mm: (start, end) of an axis, of each piece of a length in pieces; () else.
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
            raise InputError("a measured quantity is in radvlm.types.measurement.QUANTITIES", repr(self.quantity))
        if not math.isfinite(self.value):
            raise InputError(
                "a measurement is finite; one that failed is left out with a reason", f"{self.quantity} = {self.value}"
            )
        object.__setattr__(self, "value", float(self.value))

    @property
    def unit(self) -> str:
        return QUANTITIES[self.quantity]

    @property
    def possible_excess(self) -> float | None:
        """By how much the truth may exceed the value, at most ``uncertainty``; less for the chord of a vessel."""
        if self.uncertainty is None or not self.method.startswith(VESSEL_CHORD):
            return self.uncertainty
        return min(self.uncertainty, max(EXCESS_SHARE * self.uncertainty, EXCESS_MM))


@dataclass(frozen=True)
class Omission:
    """A measurement that was not made, and why."""

    quantity: str
    structure: str
    reason: str

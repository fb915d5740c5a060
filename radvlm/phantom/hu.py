"""Attenuation by contrast phase.

Conventional values for 120 kVp and a standard iodine dose, chosen inside the ranges that textbooks and the
public references in docs/phantom.md give; they are parameters of the phantom, not claims about a population.
Columns: non-contrast, late arterial (about 35 s), portal venous (about 70 s), delayed (about 4 min).
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from radvlm.errors import InputError

PHASE_NAMES = ("non-contrast", "arterial", "portal venous", "delayed")

#: Material -> HU in the four phases.
TISSUE_HU: Mapping[str, tuple[float, float, float, float]] = MappingProxyType(
    {
        "air": (-1000, -1000, -1000, -1000),
        "lung": (-860, -855, -850, -850),
        "fat": (-105, -105, -102, -103),
        "skin": (20, 22, 28, 28),
        "muscle": (52, 56, 62, 62),
        "liver": (58, 74, 112, 95),
        "spleen": (48, 128, 118, 95),
        "pancreas": (42, 105, 95, 75),
        "kidney_cortex": (33, 175, 185, 165),
        "kidney_medulla": (32, 78, 172, 165),
        "urine": (4, 4, 6, 6),
        "excreted": (4, 4, 10, 320),
        "adrenal": (30, 58, 72, 58),
        "bile": (8, 8, 9, 9),
        "artery": (42, 320, 160, 115),
        "vein": (42, 85, 140, 115),
        "portal": (42, 140, 172, 122),
        "pulmonary": (42, 230, 152, 115),
        "svc": (42, 200, 142, 115),
        "blood": (42, 260, 152, 114),
        "myocardium": (44, 105, 112, 98),
        "bowel_wall": (38, 75, 92, 78),
        "bowel_fluid": (14, 14, 14, 14),
        "stool": (25, 25, 25, 25),
        "bowel_gas": (-920, -920, -920, -920),
        "esophagus": (36, 50, 62, 58),
        "prostate": (38, 60, 82, 78),
        "uterus": (46, 82, 112, 106),
        "cord": (36, 40, 44, 42),
        "disc": (82, 82, 84, 84),
        "cartilage": (95, 95, 98, 98),
        "cortical": (620, 620, 620, 620),
        "rib_marrow": (230, 230, 235, 235),
        "pelvic_marrow": (170, 170, 175, 175),
        "fluid": (8, 8, 8, 8),
    }
)


def tissue_hu(material: str, phase: str) -> float:
    """HU of a material in a phase of ``PHASE_NAMES``."""
    return float(TISSUE_HU[material][phase_index(phase)])


def phase_index(phase: str) -> int:
    if phase not in PHASE_NAMES:
        raise InputError(f"a phantom's phase is one of {', '.join(PHASE_NAMES)}", repr(phase))
    return PHASE_NAMES.index(phase)


def trabecular_hu(age_years: float) -> float:
    """Trabecular HU of L1 by age: 226 below 30 years, falling 2.5 HU a year (Jang, Radiology 2019)."""
    return max(60.0, 226.0 - 2.5 * max(0.0, age_years - 30.0))

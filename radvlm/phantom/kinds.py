"""The abnormalities that a phantom can hold: one row a kind, with its own appearance and place.

A table of data. ``hu`` has the four columns of ``radvlm.phantom.hu``; how a kind is placed and drawn is in
``place`` (focal) and ``anatomy`` (organ-wide).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

from radvlm.errors import InputError
from radvlm.types.anatomy import structures

_DIAMETER = "largest diameter, mm"
SEGMENTS = tuple(f"liver_segment_{n}" for n in range(1, 9))
LOBES = (
    "lung_upper_lobe_right",
    "lung_middle_lobe_right",
    "lung_lower_lobe_right",
    "lung_upper_lobe_left",
    "lung_lower_lobe_left",
)
PANCREAS_PARTS = ("pancreas_head", "pancreas_body", "pancreas_tail")
LEVELS = tuple(f"vertebrae_T{n}" for n in range(4, 13)) + tuple(f"vertebrae_L{n}" for n in range(1, 6))


@dataclass(frozen=True)
class LesionKind:
    """One row.

    Attributes:
        name: key of ``LESION_KINDS``.
        structure: structure it is labeled as in the lesion layer, ``{side}`` filled in; "" when it shows only
            in the organ itself (steatosis, splenomegaly, aneurysm).
        host: structure it lies in, ``{side}`` filled in; "" for none.
        placement: ``inside`` (an ellipsoid wholly inside the host), ``stone``, ``node``, ``adrenal``, ``vertebra``,
            ``fluid`` (fills part of a cavity) or ``organ`` (changes the anatomy).
        size_means: what ``LesionSpec.size`` is, with its unit.
        typical: range from which an unstated size is drawn. limits: range that is accepted.
        hu: attenuation in the four phases; () when the organ's own changes.
        core: share of the semi-axes filled by a core, and its HU; None for a uniform lesion.
        aspect: smallest ratio of a semi-axis to the largest.
        locations: structures that ``LesionSpec.location`` may name.
        words: how a radiologist would call it.
        region_z: part of the body, (low, high) mm, in which it can be seen; used to pick random kinds.
        sided: it has a side although neither structure nor host names one.
    """

    name: str
    structure: str
    host: str
    placement: str
    words: str
    hu: tuple[float, ...] = ()
    typical: tuple[float, float] = (8.0, 30.0)
    limits: tuple[float, float] = (3.0, 60.0)
    size_means: str = _DIAMETER
    core: tuple[float, tuple[float, ...]] | None = None
    aspect: float = 0.7
    locations: tuple[str, ...] = ()
    region_z: tuple[float, float] = (-60.0, 90.0)
    sided: bool = False

    @property
    def sex(self) -> str:
        """``F`` or ``M`` where its host is an organ of one sex, else ``""``."""
        return structures()[self.host].sex if self.host in structures() else ""

    @property
    def paired(self) -> bool:
        return self.sided or "{side}" in self.structure + self.host


_ROWS = (
    LesionKind(
        "liver_cyst",
        "liver_cyst",
        "liver",
        "inside",
        "simple hepatic cyst",
        (5, 5, 6, 6),
        (8, 45),
        (4, 80),
        aspect=0.8,
        locations=SEGMENTS,
    ),
    LesionKind(
        "liver_metastasis",
        "liver_metastasis",
        "liver",
        "inside",
        "hypovascular metastasis",
        (42, 55, 68, 70),
        (10, 40),
        (5, 80),
        core=(0.45, (34, 36, 40, 44)),
        locations=SEGMENTS,
    ),
    LesionKind(
        "liver_tumor",
        "liver_tumor",
        "liver",
        "inside",
        "hypervascular tumor with washout",
        (48, 130, 88, 72),
        (12, 45),
        (6, 90),
        locations=SEGMENTS,
    ),
    LesionKind(
        "liver_hemangioma",
        "liver_hemangioma",
        "liver",
        "inside",
        "hemangioma",
        (40, 140, 155, 125),
        (10, 35),
        (5, 80),
        aspect=0.75,
        locations=SEGMENTS,
    ),
    LesionKind(
        "liver_abscess",
        "liver_abscess",
        "liver",
        "inside",
        "rim-enhancing abscess",
        (48, 96, 138, 122),
        (20, 45),
        (12, 80),
        core=(0.78, (18, 18, 20, 20)),
        aspect=0.75,
        locations=SEGMENTS,
    ),
    LesionKind(
        "liver_calcification",
        "liver_calcification",
        "liver",
        "inside",
        "calcified granuloma",
        (420, 420, 430, 430),
        (4, 9),
        (3, 20),
        aspect=0.8,
        locations=SEGMENTS,
    ),
    LesionKind(
        "steatosis",
        "",
        "liver",
        "organ",
        "hepatic steatosis",
        typical=(5, 35),
        limits=(-20, 45),
        size_means="liver attenuation without contrast, HU",
    ),
    LesionKind(
        "hepatomegaly",
        "",
        "liver",
        "organ",
        "hepatomegaly",
        typical=(2100, 2700),
        limits=(1900, 3000),
        size_means="target liver volume, mL",
    ),
    LesionKind(
        "gallstone",
        "gallstone",
        "gallbladder",
        "stone",
        "calcified gallstone",
        (190, 190, 190, 190),
        (5, 14),
        (3, 18),
        aspect=0.85,
        region_z=(-60, -10),
    ),
    LesionKind(
        "splenomegaly",
        "",
        "spleen",
        "organ",
        "splenomegaly",
        typical=(420, 800),
        limits=(320, 1100),
        size_means="spleen volume, mL",
    ),
    LesionKind(
        "spleen_cyst",
        "spleen_cyst",
        "spleen",
        "inside",
        "splenic cyst",
        (7, 7, 8, 8),
        (8, 24),
        (4, 35),
        aspect=0.8,
        region_z=(-20, 60),
    ),
    LesionKind(
        "spleen_lesion",
        "spleen_lesion",
        "spleen",
        "inside",
        "hypoattenuating splenic lesion",
        (36, 62, 76, 78),
        (8, 22),
        (4, 35),
        region_z=(-20, 60),
    ),
    LesionKind(
        "pancreas_tumor",
        "pancreas_tumor",
        "pancreas",
        "inside",
        "hypoattenuating pancreatic tumor",
        (38, 58, 62, 66),
        (8, 16),
        (4, 24),
        locations=PANCREAS_PARTS,
        region_z=(-60, 15),
    ),
    LesionKind(
        "pancreas_cyst",
        "pancreas_cyst",
        "pancreas",
        "inside",
        "pancreatic cyst",
        (8, 8, 9, 9),
        (6, 14),
        (4, 24),
        aspect=0.8,
        locations=PANCREAS_PARTS,
        region_z=(-60, 15),
    ),
    LesionKind(
        "adrenal_lesion",
        "adrenal_lesion_{side}",
        "adrenal_gland_{side}",
        "adrenal",
        "lipid-rich adenoma",
        (4, 40, 55, 30),
        (12, 26),
        (8, 32),
        aspect=0.8,
        region_z=(0, 30),
    ),
    LesionKind(
        "kidney_cyst",
        "kidney_cyst_{side}",
        "kidney_{side}",
        "inside",
        "simple renal cyst",
        (4, 4, 6, 6),
        (7, 20),
        (4, 40),
        aspect=0.8,
        region_z=(-90, 0),
    ),
    LesionKind(
        "kidney_tumor",
        "kidney_tumor_{side}",
        "kidney_{side}",
        "inside",
        "enhancing renal tumor",
        (36, 128, 108, 88),
        (10, 22),
        (5, 40),
        region_z=(-90, 0),
    ),
    LesionKind(
        "kidney_stone",
        "kidney_stone_{side}",
        "kidney_{side}",
        "stone",
        "renal stone",
        (950, 950, 950, 950),
        (4, 7),
        (3, 9),
        aspect=0.8,
        region_z=(-70, -20),
    ),
    LesionKind(
        "hydronephrosis",
        "",
        "kidney_{side}",
        "organ",
        "hydronephrosis",
        typical=(18, 28),
        limits=(15, 32),
        size_means="anteroposterior diameter of the renal pelvis, mm",
        region_z=(-80, -10),
    ),
    LesionKind(
        "colon_tumor",
        "colon_tumor",
        "colon",
        "inside",
        "enhancing colonic mass",
        (40, 72, 96, 84),
        (14, 26),
        (6, 32),
        aspect=0.75,
        region_z=(-210, 0),
    ),
    LesionKind(
        "bladder_lesion",
        "bladder_lesion",
        "urinary_bladder",
        "inside",
        "bladder mass",
        (38, 68, 78, 70),
        (10, 25),
        (5, 35),
        aspect=0.75,
        region_z=(-330, -280),
    ),
    LesionKind(
        "uterine_fibroid",
        "uterus_lesion",
        "uterus",
        "inside",
        "uterine fibroid",
        (48, 62, 84, 84),
        (10, 24),
        (6, 32),
        aspect=0.85,
        region_z=(-300, -250),
    ),
    LesionKind(
        "lung_nodule",
        "lung_nodule",
        "lung_{side}",
        "inside",
        "solid nodule",
        (32, 55, 60, 56),
        (5, 18),
        (3, 30),
        aspect=0.8,
        locations=LOBES,
        region_z=(60, 280),
    ),
    LesionKind(
        "ground_glass_nodule",
        "lung_nodule",
        "lung_{side}",
        "inside",
        "ground-glass nodule",
        (-620, -615, -610, -610),
        (7, 20),
        (4, 30),
        aspect=0.8,
        locations=LOBES,
        region_z=(60, 280),
    ),
    LesionKind(
        "lung_tumor",
        "lung_tumor",
        "lung_{side}",
        "inside",
        "pulmonary mass",
        (34, 62, 72, 66),
        (31, 45),
        (30, 60),
        core=(0.5, (20, 22, 26, 28)),
        locations=LOBES,
        region_z=(80, 260),
    ),
    LesionKind(
        "lung_consolidation",
        "lung_consolidation",
        "lung_{side}",
        "inside",
        "consolidation",
        (28, 62, 78, 70),
        (30, 48),
        (15, 60),
        aspect=0.6,
        locations=LOBES,
        region_z=(60, 260),
    ),
    LesionKind(
        "lung_atelectasis",
        "lung_atelectasis",
        "lung_{side}",
        "fluid",
        "dependent atelectasis",
        (42, 92, 98, 86),
        (7, 14),
        (4, 25),
        size_means="depth along the posterior wall, mm",
        region_z=(20, 150),
    ),
    LesionKind(
        "pleural_effusion",
        "pleural_effusion_{side}",
        "",
        "fluid",
        "pleural effusion",
        (8, 8, 9, 9),
        (15, 45),
        (6, 80),
        size_means="depth along the posterior wall, mm",
        region_z=(20, 200),
    ),
    LesionKind(
        "pneumothorax",
        "pneumothorax",
        "",
        "fluid",
        "pneumothorax",
        (-1000, -1000, -1000, -1000),
        (10, 25),
        (6, 40),
        size_means="depth along the anterior wall, mm",
        region_z=(80, 260),
        sided=True,
    ),
    LesionKind(
        "pericardial_effusion",
        "pericardial_effusion",
        "",
        "fluid",
        "pericardial effusion",
        (12, 12, 13, 13),
        (6, 14),
        (4, 25),
        size_means="thickness, mm",
        region_z=(85, 180),
    ),
    LesionKind(
        "ascites",
        "ascites",
        "",
        "fluid",
        "ascites",
        (7, 7, 8, 8),
        (6, 16),
        (4, 25),
        size_means="thickness around the liver and spleen, mm",
        region_z=(-60, 90),
    ),
    LesionKind(
        "pneumoperitoneum",
        "pneumoperitoneum",
        "",
        "fluid",
        "free intraperitoneal air",
        (-985, -985, -985, -985),
        (8, 18),
        (4, 30),
        size_means="depth under the anterior wall, mm",
        region_z=(-60, 60),
    ),
    LesionKind(
        "lymph_node",
        "lymph_node",
        "",
        "node",
        "enlarged lymph node",
        (40, 76, 92, 82),
        (14, 26),
        (6, 40),
        aspect=0.6,
        region_z=(-120, 60),
    ),
    LesionKind(
        "aortic_aneurysm",
        "",
        "aorta",
        "organ",
        "infrarenal aortic aneurysm",
        typical=(34, 52),
        limits=(30, 60),
        size_means="largest diameter perpendicular to the axis, mm",
        region_z=(-120, -60),
    ),
    LesionKind(
        "vertebral_fracture",
        "vertebra_fracture",
        "",
        "vertebra",
        "anterior wedge compression fracture",
        typical=(0.25, 0.5),
        limits=(0.15, 0.6),
        size_means="share of anterior height lost (0..1)",
        locations=LEVELS,
        region_z=(-160, 200),
    ),
    LesionKind(
        "lytic_bone_lesion",
        "bone_lesion",
        "",
        "vertebra",
        "lytic bone lesion",
        (48, 66, 74, 70),
        (8, 18),
        (5, 24),
        aspect=0.75,
        locations=LEVELS,
        region_z=(-160, 200),
    ),
    LesionKind(
        "sclerotic_bone_lesion",
        "bone_lesion",
        "",
        "vertebra",
        "sclerotic bone lesion",
        (780, 780, 780, 780),
        (8, 18),
        (5, 24),
        aspect=0.75,
        locations=LEVELS,
        region_z=(-160, 200),
    ),
)

#: Every kind by name.
LESION_KINDS: Mapping[str, LesionKind] = MappingProxyType({row.name: row for row in _ROWS})


def lesion_kind(name: str) -> LesionKind:
    """The row of that name; InputError with the known names otherwise."""
    if name not in LESION_KINDS:
        raise InputError("a lesion kind is known", repr(name), f"Choose one of {', '.join(LESION_KINDS)}")
    return LESION_KINDS[name]

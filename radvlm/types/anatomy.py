"""The table of structures: names, sides, sex, parents, report sections and SNOMED CT codes.

Canonical names are those of TotalSegmentator v2 where it has the structure (``kidney_left``,
``vertebrae_L1``), so that masks from it need no translation; every other label scheme is mapped to them by
``radvlm.types.label_scheme``. The table itself is data (``anatomy.csv``, one row a structure); this module only reads
it. A code that could not be confirmed is left empty rather than guessed.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from types import MappingProxyType

from radvlm.errors import StructureError
from radvlm.types.csv_tables import package_rows

#: Report sections in the order in which they are written: key -> heading.
SECTIONS: Mapping[str, str] = MappingProxyType(
    {
        "technique": "Technique",
        "devices": "Lines and devices",
        "head": "Head",
        "neck": "Neck and thyroid",
        "heart": "Heart and pericardium",
        "mediastinum": "Mediastinum",
        "airways": "Airways",
        "lungs": "Lungs",
        "pleura": "Pleura",
        "breast": "Chest wall and breast",
        "liver": "Liver",
        "biliary": "Gallbladder and bile ducts",
        "spleen": "Spleen",
        "pancreas": "Pancreas",
        "adrenals": "Adrenal glands",
        "kidneys": "Kidneys, ureters and bladder",
        "bowel": "Stomach and bowel",
        "peritoneum": "Peritoneum",
        "nodes": "Lymph nodes",
        "vessels": "Vessels",
        "reproductive": "Reproductive organs",
        "bones": "Bones",
        "soft_tissues": "Soft tissues",
        "impression": "Impression",
        "outside_domain": "Model outside its domain",
    }
)
#: Sections that are no part of the body.
NOT_OF_THE_BODY = ("technique", "impression", "outside_domain")

#: What a structure is. ``part`` divides an organ, ``lesion`` and ``fluid`` are counted as instances.
KINDS = ("organ", "part", "vessel", "bone", "muscle", "tissue", "cavity", "body", "lesion", "fluid", "device")

OPPOSITE_SIDE: Mapping[str, str] = MappingProxyType({"left": "right", "right": "left"})
#: Vertebral levels from the head down.
LEVELS = (*(f"C{n}" for n in range(1, 8)), *(f"T{n}" for n in range(1, 14)), *(f"L{n}" for n in range(1, 7)), "S1")
#: Levels that most people do not have.
RARE_LEVELS = ("T13", "L6")
#: Those of a usual spine.
USUAL_LEVELS = tuple(level for level in LEVELS if level not in RARE_LEVELS)
#: The two channels of a dissected aorta: ``(true, false)``.
AORTIC_LUMENS = ("aorta_true_lumen", "aorta_false_lumen")
#: Kind of the finding of a dissected aorta, which is no structure of its own.
DISSECTION = "aortic_dissection"
#: Vertebrae beside the part of the aorta that the rule for the abdominal (infrarenal) aorta is about.
ABDOMINAL_LEVELS = tuple(f"vertebrae_{level}" for level in ("L1", "L2", "L3", "L4", "L5", "L6", "S1"))
#: Parts of organs that masks name.
LIVER_SEGMENTS = tuple(f"liver_segment_{n}" for n in range(1, 9))
LUNG_LOBES = (
    "lung_upper_lobe_right",
    "lung_middle_lobe_right",
    "lung_lower_lobe_right",
    "lung_upper_lobe_left",
    "lung_lower_lobe_left",
)
PANCREAS_PARTS = ("pancreas_head", "pancreas_body", "pancreas_tail")
#: Thirds of a kidney from the feet up, in the words of a report.
KIDNEY_POLES = ("lower pole", "interpolar region", "upper pole")


@dataclass(frozen=True)
class Structure:
    """One row of the table.

    Attributes:
        name: canonical identifier, snake case.
        words: how a report calls it (``left kidney``, ``segment VI``), without an article.
        side: ``left``, ``right`` or ``""`` for midline, paired-as-one and not sided.
        sex: ``F`` or ``M`` for what only patients of one sex have, else ``""``.
        parent: the structure it is a part of or, for a lesion, lies in; ``""`` for none.
        kind: one of ``KINDS``.
        section: one of ``SECTIONS``.
        snomed_code, snomed_meaning: SNOMED CT concept of the structure (side is a separate modifier).
        rank: position in the table.
    """

    name: str
    words: str
    side: str
    sex: str
    parent: str
    kind: str
    section: str
    snomed_code: str
    snomed_meaning: str
    rank: int


@cache
def structures() -> Mapping[str, Structure]:
    """Every known structure by name, in table order."""
    rows = package_rows("radvlm.types", "anatomy.csv")
    table = {row["name"]: Structure(**row, rank=rank) for rank, row in enumerate(rows)}
    return MappingProxyType(table)


def structure(name: str) -> Structure:
    """The structure of that canonical name; StructureError with near names otherwise."""
    try:
        return structures()[name]
    except KeyError:
        import difflib

        near = difflib.get_close_matches(name, structures(), n=3)
        remedy = f"Did you mean {', '.join(near)}?" if near else "`radvlm info structures` lists all names"
        raise StructureError("structures are named as in the anatomy table", repr(name), remedy) from None


def is_lesion_kind(kind: str) -> bool:
    """Whether a finding's kind is a lesion or fluid structure."""
    return kind in structures() and structure(kind).kind in ("lesion", "fluid")


def ancestry(name: str) -> tuple[str, ...]:
    """A structure and all that it is a part of, from the smallest: ``liver_segment_4, liver``."""
    line: list[str] = []
    while name:
        line.append(name)
        name = structure(name).parent
    return tuple(line)


def children(parent: str, kind: str | None = None) -> tuple[Structure, ...]:
    """Structures whose parent is ``parent``, optionally of one kind, in table order."""
    return tuple(s for s in structures().values() if s.parent == parent and (kind is None or s.kind == kind))

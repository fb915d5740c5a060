"""What a lesion touches, and the station of a lymph node, as assessments of it.

"abutting" says that two masks share at least ``MIN_CONTACT_MM2`` of surface, nothing about invasion. Vessels
beside a pancreatic lesion are left to the rules on vascular contact, which measure an angle.
"""

from __future__ import annotations

from radvlm.interpret.assess import site_of
from radvlm.types.anatomy import structure
from radvlm.types.finding import Assessment, Status
from radvlm.types.phrases import joined
from radvlm.types.scan_measurements import LesionMeasurements

#: Smaller contacts (mm2) are what a voxel or two of either mask make.
MIN_CONTACT_MM2 = 10.0
#: Structures named at most, the largest contact first.
MOST_NAMED = 3
#: Lesions of which it is no news that they touch something.
_SILENT = (
    "lung_consolidation",
    "lung_atelectasis",
    "lung_covid_infiltrate",
    "lung_opacity",
    "vertebra_fracture",
    "bone_lesion",
    "gallstone",
    "kidney_stone",
    "kidney_stone_left",
    "kidney_stone_right",
    "ureter_stone",
    "liver_calcification",
    "hematoma",
    "soft_tissue_lesion",
)


def relations(lesion: LesionMeasurements) -> list[Assessment]:
    """What a lesion touches, and the station of a lymph node."""
    found = []
    words = _abutting(lesion)
    if words:
        found.append(_beside(lesion, "lesion_contact", words, is_detail=True))
    if lesion.station:
        found.append(_beside(lesion, "node_station", f"{lesion.station} station", is_detail=False))
    return found


def _abutting(lesion: LesionMeasurements) -> str:
    if lesion.structure in _SILENT:
        return ""
    touched = [
        n
        for n in lesion.neighbors
        if n.contact_mm2 >= MIN_CONTACT_MM2
        and not (lesion.structure.startswith("pancreas") and structure(n.structure).section == "vessels")
    ]
    touched.sort(key=lambda n: (-round(n.contact_mm2, 3), structure(n.structure).rank))
    names = list(dict.fromkeys(structure(n.structure).words for n in touched))[:MOST_NAMED]
    told: list[str] = []
    for name in names:  # "the stomach, duodenum and segment III"
        bare = name.startswith("segment ") or (told and not told[-1].startswith("segment "))
        told.append(name if bare else f"the {name}")
    return f"abutting {joined(told)}" if told else ""


def _beside(lesion: LesionMeasurements, kind: str, words: str, *, is_detail: bool) -> Assessment:
    return Assessment(
        "?",
        kind,
        Status.PRESENT,
        site_of(lesion),
        structure(lesion.structure).section,
        (lesion.region,),
        category=words,
        is_detail=is_detail,
    )

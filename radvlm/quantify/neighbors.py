"""What lies next to a lesion: gap and contact to each structure, and the station of a lymph node.

The gap is from surface to surface, not between voxel centers, so structures whose voxels share a face are 0 mm
apart. A structure that holds the lesion, or is a part of one that does, is no neighbor.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from radvlm.types.anatomy import children, structure
from radvlm.types.geometry import Box
from radvlm.types.scan_measurements import Neighbor
from radvlm.types.segmentation import Segmentation

#: Farther structures (mm) are not listed.
REACH_MM = 5.0
#: How far (mm) the landmark of a node's station may lie.
STATION_REACH_MM = 30.0
#: Kinds that can be a neighbor; a tissue class or a cavity holds everything and says nothing.
_KINDS = ("organ", "part", "vessel", "bone", "muscle")
#: Landmark -> station of a node beside it, as CT reports call it.
STATIONS = {
    "aorta": "para-aortic",
    "inferior_vena_cava": "paracaval",
    "portal_vein_and_splenic_vein": "periportal",
    "portal_vein": "periportal",
    "celiac_trunk": "celiac",
    "superior_mesenteric_artery": "mesenteric",
    "superior_mesenteric_vein": "mesenteric",
    "splenic_artery": "splenic hilar",
    "spleen": "splenic hilar",
    "stomach": "perigastric",
    "pancreas": "peripancreatic",
    "small_bowel": "mesenteric",
    "colon": "mesocolic",
    "duodenum": "peripancreatic",
    "liver": "hepatic hilar",
    "kidney_left": "left renal hilar",
    "kidney_right": "right renal hilar",
    "iliac_artery_left": "left common iliac",
    "iliac_artery_right": "right common iliac",
    "iliac_vena_left": "left common iliac",
    "iliac_vena_right": "right common iliac",
    "rectum": "mesorectal",
    "urinary_bladder": "pelvic",
    "trachea": "paratracheal",
    "superior_vena_cava": "paratracheal",
    "esophagus": "paraesophageal",
    "pulmonary_artery": "hilar",
    "pulmonary_vein": "hilar",
    "lung_trachea_bronchia": "hilar",
    "brachiocephalic_trunk": "upper mediastinal",
    "brachiocephalic_vein_left": "upper mediastinal",
    "brachiocephalic_vein_right": "upper mediastinal",
    "thyroid_gland": "cervical",
    "common_carotid_artery_left": "left cervical",
    "common_carotid_artery_right": "right cervical",
    "subclavian_artery_left": "left supraclavicular",
    "subclavian_artery_right": "right supraclavicular",
    "heart": "pericardial",
}


def neighbors(
    segmentation: Segmentation, name: str, host: str, box: Box, mask: np.ndarray, ignored: frozenset[str] = frozenset()
) -> tuple[Neighbor, ...]:
    """Structures within ``REACH_MM`` of a lesion (``mask`` has the shape of ``box``), nearest first."""
    holders = _holders(name, host)
    found = _near(
        segmentation,
        box,
        mask,
        REACH_MM,
        lambda s: s not in holders and s not in ignored and structure(s).kind in _KINDS,
    )
    inside = {structure(n.structure).parent for n in found}
    return tuple(n for n in found if n.structure not in inside)  # a part says more than the organ that holds it


def node_station(segmentation: Segmentation, box: Box, mask: np.ndarray) -> str:
    """Station of a lymph node: that of the nearest landmark within ``STATION_REACH_MM``, "" without one."""
    for reach in (REACH_MM, 12.0, STATION_REACH_MM):
        near = _near(segmentation, box, mask, reach, STATIONS.__contains__)
        if near:
            return STATIONS[near[0].structure]
    return ""


def _holders(name: str, host: str) -> frozenset[str]:
    """The lesion's own name, its host, the organ that the host is a part of, and all parts of those."""
    held = {name, host, structure(name).parent}
    held |= {structure(n).parent for n in held if n}
    held.discard("")
    return frozenset(held | {part.name for n in held for part in children(n)})


def _near(
    segmentation: Segmentation, box: Box, mask: np.ndarray, reach_mm: float, wanted: Callable[[str], bool]
) -> list[Neighbor]:
    from scipy.ndimage import distance_transform_edt

    geometry = segmentation.geometry
    spacing = np.asarray(geometry.spacing_mm)
    outer = box.grown(tuple(int(np.ceil(reach_mm / s)) + 1 for s in spacing), geometry.shape)
    inside = np.zeros(outer.shape, dtype=bool)
    inside[box.relative_to(outer).slices] = mask
    held: list[tuple[str, np.ndarray]] = []
    for number, layer in enumerate(segmentation.layers):
        window = layer[outer.slices]
        labels = set(np.flatnonzero(np.bincount(window.ravel()))) - {0}
        for structure_name, place in segmentation.places.items():
            if place.layer == number and place.label in labels and wanted(structure_name):
                held.append((structure_name, window == place.label))
    if not held:
        return []
    far, nearest = distance_transform_edt(~inside, sampling=geometry.spacing_mm, return_indices=True)
    found = []
    for structure_name, where in held:
        where = where & ~inside
        if not where.any():  # it holds the lesion completely
            continue
        points = np.argwhere(where)
        lengths = far[where]
        closest = lengths <= lengths.min() + 1e-6
        step = (points[closest] - nearest[:, where].T[closest]) * spacing
        voxel = np.linalg.norm(step * spacing, axis=1) / lengths[closest]
        gap = float(max(0.0, (lengths[closest] - voxel).min()))
        if gap <= reach_mm:
            contact = contact_area(inside, where, geometry.spacing_mm) if gap < 1e-6 else 0.0
            found.append(Neighbor(structure_name, gap, contact))
    return sorted(found, key=lambda n: (round(n.distance_mm, 6), -n.contact_mm2, structure(n.structure).rank))


def contact_area(first: np.ndarray, second: np.ndarray, spacing_mm: tuple[float, float, float]) -> float:
    """Area in mm2 of the faces between two masks, times 2/3 (faces of a smooth surface add up to 3/2 of its area)."""
    total = 0.0
    for axis in range(3):
        face = float(np.prod([s for a, s in enumerate(spacing_mm) if a != axis]))
        ahead, behind = [slice(None)] * 3, [slice(None)] * 3
        ahead[axis], behind[axis] = slice(1, None), slice(None, -1)
        crossings = np.count_nonzero(first[tuple(ahead)] & second[tuple(behind)])
        crossings += np.count_nonzero(second[tuple(ahead)] & first[tuple(behind)])
        total += crossings * face
    return total * 2 / 3

"""Which organ a lesion may lie in, and whether it does: a lesion far from its organ has a wrong mask, name or side.

A lesion that touches its organ, overlaps it or lies near it belongs to it, whatever part of it is outside: exophytic
cysts, tumors cut out of their organ, nodules at the hilum. Only where the masks hold all that a lesion could lie in,
and a wide gap is between, is it outside. Nothing is said of organs whose masks often miss parts (bowel), of stones
below a kidney (in the ureter), of gallstones (in the bile ducts), and of lesions of bone.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

import numpy as np

from radvlm.types.anatomy import children, structure
from radvlm.types.geometry import Box
from radvlm.types.segmentation import Segmentation

#: Host organs of lesions whose name does not say which one of a pair it is.
_PAIRED_HOSTS: Mapping[str, tuple[str, ...]] = {
    "kidney": ("kidney_right", "kidney_left"),
    "adrenal": ("adrenal_gland_right", "adrenal_gland_left"),
    "lung": ("lung_right", "lung_left", "lung"),
    "ureter": ("ureter_right", "ureter_left"),
}
#: Lesions that lie in whatever bone they touch.
_IN_BONE = ("bone_lesion", "vertebra_fracture")
#: Parts worth naming; ducts, vessels and chambers are not places of a lesion.
PLACES = re.compile(r"liver_segment_\d|pancreas_(head|body|tail)|lung_(upper|middle|lower)_lobe_(left|right)")
#: A gap (mm) wider than this is outside. Adrenal glands are lost in large tumors, and a hilum is no lung.
OUTSIDE_MM: Mapping[str, float] = {
    "liver": 10, "spleen": 10, "pancreas": 10, "kidney": 10, "kidney_right": 10, "kidney_left": 10, "brain": 10,
    "prostate": 10, "uterus": 15, "urinary_bladder": 15, "thyroid_gland": 15, "gallbladder": 15, "lung": 20,
    "adrenal_gland_right": 25, "adrenal_gland_left": 25,
}  # fmt: skip
#: Lesions that leave their organ.
_WANDERING = ("gallstone",)
_DESCENDING = ("kidney_stone", "kidney_stone_right", "kidney_stone_left")
#: An organ of fewer voxels says nothing of where a lesion may lie.
FEWEST_HOST_VOXELS = 100
#: Voxels of the window in which a gap is measured.
MOST_VOXELS = 500_000


def members(segmentation: Segmentation, name: str) -> tuple[str, ...]:
    """The present structures that make up ``name``: itself, else its parts (lobes, segments), else nothing."""
    if name in segmentation.places:
        return (name,)
    return tuple(
        part.name for part in children(name, "part") if part.name in segmentation.places and PLACES.fullmatch(part.name)
    )


def host_candidates(segmentation: Segmentation, lesion: str) -> tuple[str, ...]:
    """Structures that an instance of ``lesion`` may lie in, of which at least a part is present."""
    row = structure(lesion)
    if row.kind == "fluid":
        return ()
    names: tuple[str, ...] = (row.parent,) if row.parent else ()
    if lesion in _IN_BONE:
        names = tuple(n for n in segmentation.places if structure(n).kind == "bone")
    elif row.parent in ("", "lung"):
        names = _PAIRED_HOSTS.get(lesion.split("_")[0], ())
    return tuple(n for n in names if members(segmentation, n))


def whole_hosts(segmentation: Segmentation, lesion: str) -> tuple[str, ...]:
    """All present structures that hold an instance of ``lesion``; () where it may lie in something without a mask."""
    row = structure(lesion)
    if row.kind != "lesion" or lesion in _WANDERING or segmentation.covered is not None:
        return ()
    family = lesion.split("_")[0]
    hosts: tuple[str, ...] = (row.parent,)
    if row.parent in ("", "lung") and family in ("kidney", "lung", "adrenal"):
        hosts = _PAIRED_HOSTS[family][:2]
    one = family if family in ("kidney", "lung") else ""
    if one in segmentation.places:
        hosts = (one,)
    found: tuple[str, ...] = ()
    for host in hosts:
        parts = [part.name for part in children(host, "part") if PLACES.fullmatch(part.name)] if host else []
        if host in segmentation.places:
            found += (host,)
        elif parts and all(part in segmentation.places for part in parts):
            found += tuple(parts)
        else:
            return ()
    return found if min(segmentation.voxel_count(name) for name in found) >= FEWEST_HOST_VOXELS else ()


def gap_outside_mm(segmentation: Segmentation, lesion: str, box: Box, mask: np.ndarray) -> float | None:
    """How far (mm, at most about 60) an instance lies from its organ, where that is outside; else None.

    ``mask`` is boolean, of the shape of ``box``.
    """
    hosts = whole_hosts(segmentation, lesion)
    if not hosts:
        return None
    parent = structure(lesion).parent or (lesion.split("_")[0])
    limit = OUTSIDE_MM.get({"adrenal": "adrenal_gland_left"}.get(parent, parent))
    if limit is None or touches(segmentation, hosts, box, mask):
        return None
    if lesion in _DESCENDING:
        middle = min((segmentation.boxes[h].start[2] + segmentation.boxes[h].stop[2]) / 2 for h in hosts)
        if box.start[2] < middle:
            return None
    gap = gap_mm(segmentation, hosts, box, mask)
    return gap if gap > limit else None


def touches(segmentation: Segmentation, names: tuple[str, ...], box: Box, mask: np.ndarray) -> bool:
    """Whether an instance overlaps one of the structures or lies at most two voxels beside it."""
    from scipy.ndimage import binary_dilation

    window = box.grown((2, 2, 2), segmentation.geometry.shape)
    held = _held(segmentation, names, window)
    if held is None:
        return False
    own = np.zeros(window.shape, bool)
    own[box.relative_to(window).slices] = mask
    return bool(held[own].any() or held[binary_dilation(own, np.ones((3, 3, 3), bool), iterations=2)].any())


def gap_mm(
    segmentation: Segmentation, names: tuple[str, ...], box: Box, mask: np.ndarray, most_mm: float = 60.0
) -> float:
    """Distance (mm) from an instance to the nearest of the structures; ``most_mm`` where it is farther."""
    from scipy.ndimage import distance_transform_edt

    spacing = np.array(segmentation.geometry.spacing_mm)
    reach = tuple(int(most_mm / s) + 1 for s in spacing)
    window = box.grown(reach, segmentation.geometry.shape)
    held = _held(segmentation, names, window)
    if held is None or not held.any():
        return most_mm
    own = np.zeros(window.shape, bool)
    own[box.relative_to(window).slices] = mask
    steps = [1, 1, 1]
    while np.prod([-(-n // s) for n, s in zip(window.shape, steps, strict=True)]) > MOST_VOXELS:
        steps[int(np.argmin(spacing * steps))] += 1
    coarse = tuple(slice(step // 2, None, step) for step in steps)
    if not held[coarse].any() or not own[coarse].any():
        coarse, steps = (slice(None),) * 3, [1, 1, 1]
    away = distance_transform_edt(~held[coarse], sampling=spacing * steps)
    return float(min(most_mm, away[own[coarse]].min()))


def _held(segmentation: Segmentation, names: tuple[str, ...], window: Box) -> np.ndarray | None:
    """Boolean mask of the structures in ``window``; None where none of their boxes meets it."""
    held: np.ndarray | None = None
    for name in names:
        if segmentation.boxes[name].meets(window):
            part = segmentation.mask_in_box(name, window)
            held = part if held is None else held | part
    return held

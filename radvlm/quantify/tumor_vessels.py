"""Which vessels a pancreatic tumor touches, how far round, over what length, and how near the others lie.

One mask often holds several vessels. The coeliac mask is split into trunk, hepatic and splenic artery at its
fork, and the portal mask into portal and splenic vein at the superior mesenteric artery, by the nearest center line; a
part that cannot be told apart is "not judged" with the reason, never taken as free.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np

from radvlm.quantify.centerline import Branch, center_lines, smoothed
from radvlm.quantify.contact import REACH_MM, measure_contact
from radvlm.quantify.regions import region_mask
from radvlm.quantify.vessel_parts import portal_midline
from radvlm.types.geometry import Box
from radvlm.types.measurement import Measurement
from radvlm.types.scan_measurements import LesionMeasurements, VesselContact
from radvlm.types.segmentation import Segmentation

#: Lesions whose vessels are judged.
PANCREATIC = ("pancreas_pdac", "pancreas_tumor", "pancreas_lesion", "pancreas_pnet")
#: Vessels that the tables of stage and resectability ask for, and the two that run along the pancreas.
VESSELS = (
    "celiac_trunk",
    "hepatic_artery",
    "superior_mesenteric_artery",
    "aorta",
    "portal_vein",
    "superior_mesenteric_vein",
    "inferior_vena_cava",
    "splenic_artery",
    "splenic_vein",
)
METHOD = "around the center line, extrapolated to the wall"
LENGTH_METHOD = "center line along which they touch"
DISTANCE_METHOD = "nearest voxels, edge to edge"
NO_MASK = "no mask was provided"
NOT_SEEN = "not seen in the imaged range"
NO_FORK = "the mask of the celiac trunk does not divide into two branches"
NO_CONFLUENCE = "portal and splenic vein share one mask, and nothing tells where they meet"
#: A branch of the coeliac fork ends at least this far to its side of the fork (mm).
_SIDEWAYS_MM = 5.0

Voxels = tuple[Box, np.ndarray]


def tumor_contacts(
    segmentation: Segmentation, lesions: tuple[LesionMeasurements, ...]
) -> dict[str, tuple[VesselContact, ...]]:
    """Region id of each pancreatic tumor -> its contacts, in the order of ``VESSELS``."""
    tumors = [lesion for lesion in lesions if lesion.structure in PANCREATIC]
    if not tumors:
        return {}
    masks, reasons = vessel_masks(segmentation)
    return {t.region.id: tuple(_contact(segmentation, t, vessel, masks, reasons) for vessel in VESSELS) for t in tumors}


def vessel_masks(segmentation: Segmentation) -> tuple[dict[str, Voxels], dict[str, str]]:
    """Box and boolean mask of each vessel that can be told apart, and why the others cannot."""
    masks: dict[str, Voxels] = {}
    reasons: dict[str, str] = {}
    for name in VESSELS:
        if name in segmentation.places:
            masks[name] = (segmentation.boxes[name], segmentation.mask_in_box(name))
        else:
            reasons[name] = NOT_SEEN if name in segmentation.searched else NO_MASK
    if "celiac_trunk" in masks and "hepatic_artery" not in masks:
        parts = celiac_parts(segmentation)
        for name in ("hepatic_artery", "splenic_artery"):
            if name not in masks and name not in parts:
                reasons[name] = NO_FORK
        masks.update({name: part for name, part in parts.items() if name == "celiac_trunk" or name not in masks})
    shared = "portal_vein_and_splenic_vein"
    if "portal_vein" not in masks and shared in segmentation.places:
        middle = portal_midline(segmentation)
        if middle is None:
            reasons.update(dict.fromkeys(("portal_vein", "splenic_vein"), NO_CONFLUENCE))
        else:
            masks.update({n: v for n, v in _portal_sides(segmentation, shared, middle).items() if n not in masks})
    elif "portal_vein" not in masks and shared in segmentation.searched:
        reasons["portal_vein"] = NOT_SEEN
    return masks, {name: why for name, why in reasons.items() if name not in masks}


def _portal_sides(segmentation: Segmentation, name: str, middle_mm: float) -> dict[str, Voxels]:
    box, mask = segmentation.boxes[name], segmentation.mask_in_box(name)
    index = np.argwhere(mask)
    right = segmentation.geometry.to_world(index + np.array(box.start))[:, 0] > middle_mm
    found = {}
    for part, chosen in (("portal_vein", right), ("splenic_vein", ~right)):
        own = np.zeros_like(mask)
        own[tuple(index[chosen].T)] = True
        if own.any():
            found[part] = (box, own)
    return found


def celiac_parts(segmentation: Segmentation) -> dict[str, Voxels]:
    """The mask of the coeliac trunk split into trunk, hepatic artery (to the right) and splenic artery (to the left).

    Only the trunk where the mask has no fork with one branch to each side.
    """
    name = "celiac_trunk"
    box, mask = segmentation.boxes[name], segmentation.mask_in_box(name)
    whole = {name: (box, mask)}
    grown = box.grown(2, segmentation.geometry.shape)
    spacing = np.array(segmentation.geometry.spacing_mm)
    origin = segmentation.geometry.cropped(grown)
    root = _origin_index(segmentation, grown)
    branches = center_lines(smoothed(segmentation.mask_in_box(name, grown)), spacing, root * spacing)
    fork = _fork(branches, lambda points: origin.to_world(points / spacing)[:, 0])
    if fork is None:
        return whole
    lines = dict(zip((name, "hepatic_artery", "splenic_artery"), fork, strict=True))
    index = np.argwhere(mask)
    places = (index + np.array(box.relative_to(grown).start)) * spacing
    owner = nearest_line(places, lines)
    found: dict[str, Voxels] = {}
    for part in lines:
        own = np.zeros_like(mask)
        own[tuple(index[owner == part].T)] = True
        if own.any():
            found[part] = (box, own)
    return found


def nearest_line(places: np.ndarray, lines: Mapping[str, np.ndarray]) -> np.ndarray:
    """(n,) name of the line that is nearest to each of the points (n, 3)."""
    from scipy.spatial import cKDTree

    names = list(lines)
    distances = np.stack([cKDTree(lines[name]).query(places)[0] for name in names], axis=1)
    return np.asarray(names)[distances.argmin(axis=1)]


def _origin_index(segmentation: Segmentation, box: Box) -> np.ndarray:
    """Index within ``box`` where the coeliac trunk starts: nearest to the aorta, else its most posterior voxel."""
    from scipy.spatial import cKDTree

    own = np.argwhere(segmentation.mask_in_box("celiac_trunk", box))
    if "aorta" in segmentation.places:
        near = box.grown([int(30 / s) + 1 for s in segmentation.geometry.spacing_mm], segmentation.geometry.shape)
        aorta = np.argwhere(segmentation.mask_in_box("aorta", near))
        if len(aorta):
            shift = np.array(near.start) - np.array(box.start)
            spacing = np.array(segmentation.geometry.spacing_mm)
            distance, _ = cKDTree((aorta + shift) * spacing).query(own * spacing)
            return np.asarray(own[distance <= distance.min() + 1e-6].mean(axis=0))
    return np.asarray(own[own[:, 1] == own[:, 1].min()].mean(axis=0))


def _fork(
    branches: list[Branch], right_mm: Callable[[np.ndarray], np.ndarray]
) -> tuple[np.ndarray, np.ndarray, np.ndarray] | None:
    """Lines of trunk, right and left branch at the first fork with one branch to each side; None without one."""
    if not branches:
        return None
    main = branches[0]
    for child in sorted((b for b in branches[1:] if b.parent == 0), key=lambda b: b.leaves_at_mm):
        cut = int(np.searchsorted(main.along_mm, child.leaves_at_mm))
        trunk, rest = main.points_mm[: cut + 1], main.points_mm[cut:]
        at = float(right_mm(main.points_mm[[min(cut, len(main.points_mm) - 1)]])[0])
        sides = [float(right_mm(run[[-1]])[0]) - at for run in (rest, child.points_mm)]
        if max(sides) > _SIDEWAYS_MM and min(sides) < -_SIDEWAYS_MM:
            ordered = (rest, child.points_mm) if sides[0] > sides[1] else (child.points_mm, rest)
            return trunk, _off_fork(ordered[0]), _off_fork(ordered[1])
    return None


def _off_fork(points: np.ndarray) -> np.ndarray:
    """A branch without its first 2 mm, which lie inside the trunk."""
    return points[2:] if len(points) > 6 else points


def _contact(
    segmentation: Segmentation,
    lesion: LesionMeasurements,
    vessel: str,
    masks: Mapping[str, Voxels],
    reasons: Mapping[str, str],
) -> VesselContact:
    if vessel not in masks:
        return VesselContact(vessel, None, reason=reasons[vessel])
    geometry = segmentation.geometry
    margin = [int(np.ceil((REACH_MM + 2 * s) / s)) for s in geometry.spacing_mm]
    near = lesion.region.box.grown(margin, geometry.shape)
    box, mask = masks[vessel]
    shared = near.intersection(box)
    if shared is None:
        return VesselContact(vessel, False)
    tumor, tube = np.zeros(near.shape, dtype=bool), np.zeros(near.shape, dtype=bool)
    lesion_box, own = region_mask(segmentation, lesion.region)
    tumor[lesion_box.relative_to(near).slices] = own
    tube[shared.relative_to(near).slices] = mask[shared.relative_to(box).slices]
    found = measure_contact(tumor, tube, geometry.spacing_mm)
    region = lesion.region.id
    if found.distance_mm is None:
        return VesselContact(vessel, False)
    if not found.touches:
        return VesselContact(
            vessel, False, (Measurement("distance", found.distance_mm, DISTANCE_METHOD, found.uncertainty_mm, region),)
        )
    if found.angle_degrees is None or found.length_mm is None:
        return VesselContact(vessel, True, reason=found.reason)
    return VesselContact(
        vessel,
        True,
        (
            Measurement("angle", found.angle_degrees, METHOD, 10.0, region),
            Measurement("length", found.length_mm, LENGTH_METHOD, max(geometry.spacing_mm), region),
        ),
    )

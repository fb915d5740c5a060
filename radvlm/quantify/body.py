"""Body composition in the middle of L3, and lengths of organs.

Areas are those of the voxels of a tissue mask *within the HU window of that tissue*, as the studies behind the
cut-offs define them; without a CT, without a complete L3 or without tissue masks there is no area. The length of an
organ is its longest caliper in any direction, not its extent along the scan.
"""

from __future__ import annotations

import numpy as np

from radvlm.quantify.diameter import diameter_3d
from radvlm.types.measurement import Measurement, Omission
from radvlm.types.scan_measurements import Phase
from radvlm.types.segmentation import Segmentation

#: Tissue or muscle -> HU window (both ends belong to it). Muscle: Mourtzakis 2008 and, for the cut-offs, Derstine
#: 2018 (PMC6063941); fat: -190 to -30 HU, visceral -150 to -50 HU (Mitsiopoulos 1998, Yoshizumi 1999).
WINDOWS = {
    "skeletal_muscle": (-29, 150),
    "subcutaneous_fat": (-190, -30),
    "torso_fat": (-150, -50),
    "intermuscular_fat": (-190, -30),
    **{
        f"{muscle}_{side}": (-29, 150)
        for side in ("left", "right")
        for muscle in (
            "iliopsoas",
            "psoas_major",
            "autochthon",
            "quadratus_lumborum",
            "erector_spinae",
            "rectus_abdominis",
            "external_oblique",
            "internal_oblique",
        )
    },
}
#: Organs of which a length is given.
LENGTHS = ("kidney_right", "kidney_left", "spleen", "liver", "pancreas")
_L3 = "vertebrae_L3"

Found = tuple[list[Measurement], list[Omission]]


def l3_slice(segmentation: Segmentation) -> int | str:
    """Axial slice through the middle of L3, or why there is none."""
    if _L3 not in segmentation.places:
        return "L3 is not in the masks"
    if {"inferior", "superior"} & set(segmentation.cut_faces(_L3)):
        return "L3 is cut by the field of view"
    profile = segmentation.mask_in_box(_L3).sum(axis=(0, 1), dtype=np.int64)
    middle = float((profile * np.arange(len(profile))).sum() / profile.sum())
    return segmentation.boxes[_L3].start[2] + int(np.floor(middle + 0.5))


def area_at_l3(segmentation: Segmentation, name: str, hu: np.ndarray | None) -> Found:
    """Area in mm2 of a tissue in the middle slice of L3 within its HU window, and for muscle its mean HU there."""
    low, high = WINDOWS[name]
    quantities = ("area_l3", "mean_hu_l3") if low == -29 else ("area_l3",)
    k = l3_slice(segmentation)
    reason = k if isinstance(k, str) else "no CT was given" if hu is None else ""
    if not reason and set(segmentation.cut_faces(name)) & {"left", "right", "anterior", "posterior"}:
        reason = "it is cut by the field of view"
    if reason or isinstance(k, str) or hu is None:
        return [], [Omission(q, name, reason) for q in quantities]
    box = segmentation.boxes[name]
    if not box.start[2] <= k < box.stop[2]:
        return [], [Omission(q, name, "it does not reach the middle of L3") for q in quantities]
    mask = segmentation.mask_in_box(name)[:, :, k - box.start[2]]
    values = hu[box.slices][:, :, k - box.start[2]][mask]
    values = values[(values >= low) & (values <= high)]
    if values.size == 0:
        return [], [
            Omission(q, name, f"no voxel of it lies between {low} and {high} HU in the middle of L3")
            for q in quantities
        ]
    pixel = float(np.prod(segmentation.geometry.spacing_mm[:2]))
    window = f"voxels of {low} to {high} HU in the middle slice of L3"
    found = [Measurement("area_l3", values.size * pixel, window, None, name, slice_index=k)]
    if len(quantities) == 2:
        found.append(Measurement("mean_hu_l3", float(values.mean(dtype=np.float64)), window, None, name, slice_index=k))
    return found, []


def organ_length(segmentation: Segmentation, name: str) -> Found:
    """Longest caliper of an organ in any direction, mm; an omission when the field of view cuts it."""
    if segmentation.cut_faces(name):
        return [], [Omission("length", name, "cut by the field of view")]
    box, geometry = segmentation.boxes[name], segmentation.geometry
    length, a, b = diameter_3d(segmentation.mask_in_box(name), geometry.spacing_mm)
    step = np.subtract(b, a) * geometry.spacing_mm
    voxel = float(np.linalg.norm(step / np.linalg.norm(step) * geometry.spacing_mm))
    ends = geometry.to_world(np.array([a, b]) + box.start)
    points = tuple((float(p[0]), float(p[1]), float(p[2])) for p in ends)
    return [Measurement("length", length, "longest 3D caliper", voxel, name, points)], []


def midclavicular_length(segmentation: Segmentation) -> Found:
    """Craniocaudal length of the liver in the sagittal plane midway from the spine to its right edge, mm."""
    quantity, name = "midclavicular_length", "liver"
    if {"inferior", "superior", "right"} & set(segmentation.cut_faces(name)):
        return [], [Omission(quantity, name, "cut by the field of view")]
    spine = [segmentation.boxes[n] for n in segmentation.places if n.startswith("vertebrae_") and len(n) <= 13]
    if not spine:
        return [], [Omission(quantity, name, "no vertebra in the masks tells the midline")]
    box = segmentation.boxes[name]
    midline = float(np.mean([(b.start[0] + b.stop[0] - 1) / 2 for b in spine]))
    plane = int(np.floor((midline + box.stop[0] - 1) / 2 + 0.5))
    if not box.start[0] <= plane < box.stop[0]:
        return [], [Omission(quantity, name, "the mid-clavicular plane does not meet the liver")]
    held = np.flatnonzero(segmentation.mask_in_box(name)[plane - box.start[0]].any(axis=0))
    if held.size == 0:
        return [], [Omission(quantity, name, "the mid-clavicular plane does not meet the liver")]
    spacing = segmentation.geometry.spacing_mm[2]
    length = float(held[-1] - held[0] + 1) * spacing
    return [Measurement(quantity, length, "midway from the spine to the right edge", spacing, name)], []


def liver_spleen_ratio(liver_hu: float | None, spleen_hu: float | None, phase: Phase | None) -> Found:
    """HU of the tissue of the liver divided by that of the spleen, on plain CT only."""
    quantity, name = "liver_spleen_ratio", "liver"
    reason = ""
    if phase is None:
        reason = "no CT was given"
    elif phase.name != "non-contrast" or not phase.certain:
        reason = f"it needs a plain CT, and this scan is {phase.name}{'' if phase.certain else ' (not certain)'}"
    elif liver_hu is None or spleen_hu is None:
        reason = "the spleen was not measured" if spleen_hu is None else "the liver was not measured"
    elif spleen_hu <= 0:
        reason = f"the spleen measures {spleen_hu:.0f} HU, which is no spleen"
    if reason or liver_hu is None or spleen_hu is None:
        return [], [Omission(quantity, name, reason)]
    return [Measurement(quantity, liver_hu / spleen_hu, "tissue of the liver / tissue of the spleen", None, name)], []

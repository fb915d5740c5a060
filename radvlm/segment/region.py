"""Which part of the body a scan shows, by thresholds alone: enough to choose tasks, not to report.

Aerated lung tells where the chest is; how far the body reaches below and above it tells the rest. Where no lung is
seen the header's body part is taken, else the width of the body: a trunk is wider than a head or a limb. It says so
where none of these tells.
"""

from __future__ import annotations

from dataclasses import dataclass

from radvlm.segment.threshold import segment_by_threshold
from radvlm.types.volume import Volume

#: Less aerated lung than this (mL) is a lung base at the top of an abdomen, not a chest.
MIN_CHEST_ML = 400.0
#: The body must reach so far (mm) below the lung base for an abdomen and a pelvis, above its top for a head and neck.
ABDOMEN_MM, PELVIS_MM, NECK_MM = 60.0, 300.0, 80.0
#: Wider than this (mm), left to right, is a trunk.
MIN_TRUNK_MM = 260.0
_HEADER = {
    "chest": ("chest", "thorax", "lung", "heart"),
    "abdomen": ("abdomen", "abd", "liver", "kidney", "pancreas"),
    "pelvis": ("pelvis", "hip"),
    "head": ("head", "brain", "skull", "neck"),
}


@dataclass(frozen=True)
class ScanRegion:
    """``parts`` of head, chest, abdomen and pelvis that a scan shows, () where that could not be told, and ``how``."""

    parts: tuple[str, ...]
    how: str


def scan_region(volume: Volume) -> ScanRegion:
    """The parts of the body in a scan; a second or so, no model."""
    masks = segment_by_threshold(volume)
    step = volume.geometry.spacing_mm[2]
    if "body" not in masks.places:
        return _by_header(volume, "no body was recognized")
    body = masks.boxes["body"]
    lung_ml = 0.0
    if "lung" in masks.places:
        lung = masks.boxes["lung"]
        lung_ml = masks.voxel_count("lung") * volume.geometry.voxel_volume_mm3 / 1000
        below, above = (lung.start[2] - body.start[2]) * step, (body.stop[2] - lung.stop[2]) * step
        found = ["chest"] if lung_ml >= MIN_CHEST_ML else []
        found += ["head"] if found and above >= NECK_MM else []
        found += ["abdomen"] if below >= ABDOMEN_MM else []
        found += ["pelvis"] if below >= PELVIS_MM else []
        if found:
            order = [part for part in ("head", "chest", "abdomen", "pelvis") if part in found]
            return ScanRegion(tuple(order), f"by {lung_ml:.0f} mL of aerated lung and the body around it")
    width = (body.stop[0] - body.start[0]) * volume.geometry.spacing_mm[0]
    named = _by_header(volume, "no lung was recognized")
    if named.parts:
        return named
    length = (body.stop[2] - body.start[2]) * step
    if width >= MIN_TRUNK_MM:
        parts = ("abdomen", "pelvis") if length >= PELVIS_MM else ("abdomen",)
        return ScanRegion(parts, f"by a body {width:.0f} mm wide without aerated lung")
    return ScanRegion((), f"{named.how}, and a body {width:.0f} mm wide may be a head or a limb")


def _by_header(volume: Volume, why: str) -> ScanRegion:
    words = f"{volume.study.body_part} {volume.study.description}".lower().replace("_", " ")
    parts = [part for part, names in _HEADER.items() if any(name in words for name in names)]
    order = tuple(part for part in ("head", "chest", "abdomen", "pelvis") if part in parts)
    return ScanRegion(order, "by the header of the scan" if order else why)

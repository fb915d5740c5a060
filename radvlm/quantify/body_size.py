"""Size of the body in one axial slice (its largest piece there), and the share of fat in its tissue.

The effective diameter is that of AAPM report 204 (square root of width times depth); the water-equivalent diameter
that of AAPM report 220, of a disk of water that attenuates like the slice: 2 sqrt((mean HU / 1000 + 1) area / pi).
The circumference is that of a tape: the length of the convex outline.
"""

from __future__ import annotations

import numpy as np

from radvlm.types.measurement import Measurement, Omission
from radvlm.types.segmentation import Segmentation

#: Quantities of the body in its middle slice.
BODY_SIZES = ("body_width", "body_depth", "circumference", "effective_diameter", "water_equivalent_diameter")
#: Below is lung, gas, or an edge to them, and no tissue that fat could have a share of (HU; the lower end of fat in
#: ``body.WINDOWS``).
TISSUE_FROM_HU = -190
#: A slice of a body has at least this area (mm2); a finger or a speck has less.
MIN_AREA_MM2 = 2000.0
#: A trunk fills at least this share of its convex outline; with an arm that touches it, or two legs, it is less.
MIN_SOLIDITY = 0.93
#: Half the width (mm) of a bridge between an arm and the trunk.
BRIDGE_MM = 12.0
#: A disk of this share of the body's depth as radius fits into a trunk at its sides, and into no arm; what it cannot
#: reach and is at least this large (mm2) and stands out sideways this far (mm) is an arm that touches.
DISK_SHARE, MIN_ARM_MM2, MIN_ARM_OUT_MM = 0.25, 500.0, 10.0
#: A trunk is bulged where an arm is cut off; where that may be more than this share of its width, no size is given.
MAX_BULGE_SHARE = 0.03

Found = tuple[list[Measurement], list[Omission]]


def body_sizes(segmentation: Segmentation, hu: np.ndarray | None) -> Found:
    """``BODY_SIZES`` in the middle slice of the body mask; omissions where the field of view cuts the body there."""
    name = "body"
    box = segmentation.boxes[name]
    k = (box.start[2] + box.stop[2]) // 2
    dx, dy, _ = segmentation.geometry.spacing_mm
    whole = segmentation.mask_in_box(name)[:, :, k - box.start[2]]
    arms, bulge_mm = _touching_arms(whole, dx, dy)
    mask = _largest_piece(whole, dx, dy) & ~arms
    area = float(mask.sum()) * dx * dy
    shape = segmentation.geometry.shape
    columns, rows = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    if area < MIN_AREA_MM2 or min(len(columns), len(rows)) < 3:
        return [], [Omission(q, name, "its middle slice holds hardly any of it") for q in BODY_SIZES]
    first, last = box.start[0] + columns[0], box.start[0] + columns[-1]
    front, back = box.start[1] + rows[-1], box.start[1] + rows[0]
    if first == 0 or last == shape[0] - 1 or back == 0 or front == shape[1] - 1:
        return [], [Omission(q, name, "the field of view cuts the body in its middle slice") for q in BODY_SIZES]
    tape, hull = _outline(mask, dx, dy)
    if bulge_mm > MAX_BULGE_SHARE * len(columns) * dx:
        why = "arms touch it in its middle slice so broadly that its edge is not known"
        return [], [Omission(q, name, why) for q in BODY_SIZES]
    if area < MIN_SOLIDITY * hull:
        why = "its outline in the middle slice is not that of a trunk alone (limbs may touch it)"
        return [], [Omission(q, name, why) for q in BODY_SIZES]
    width, depth = float(np.ptp(columns) + 1) * dx, float(np.ptp(rows) + 1) * dy
    pixel = max(dx, dy)
    sizes: dict[str, tuple[float, str]] = {
        "body_width": (width, "edge to edge, right to left"),
        "body_depth": (depth, "edge to edge, front to back"),
        "circumference": (tape, "convex outline"),
        "effective_diameter": (float(np.sqrt(width * depth)), "square root of width x depth (AAPM 204)"),
    }
    missing = []
    if hu is None:
        missing.append(Omission("water_equivalent_diameter", name, "no CT was given"))
    else:
        mean = float(hu[box.slices][:, :, k - box.start[2]][mask].mean(dtype=np.float64))
        water = 2 * float(np.sqrt(max(mean / 1000 + 1, 0.0) * area / np.pi))
        sizes["water_equivalent_diameter"] = (water, "disk of water of equal attenuation (AAPM 220)")
    found = [
        Measurement(quantity, value, how, np.pi * pixel if quantity == "circumference" else pixel, name, slice_index=k)
        for quantity, (value, how) in sizes.items()
    ]
    return found, missing


def _largest_piece(mask: np.ndarray, dx: float, dy: float) -> np.ndarray:
    """The largest piece of a slice, cut off from what is joined to it by a narrow bridge such as a touching arm."""
    from scipy import ndimage

    depth = ndimage.distance_transform_edt(np.pad(mask, 1), sampling=(dx, dy))[1:-1, 1:-1]
    labels, count = ndimage.label(depth > BRIDGE_MM)
    if count == 0:
        return mask
    core = labels == 1 + int(np.bincount(labels.ravel())[1:].argmax())
    return mask & (ndimage.distance_transform_edt(~core, sampling=(dx, dy)) <= BRIDGE_MM + max(dx, dy))


def _touching_arms(mask: np.ndarray, dx: float, dy: float) -> tuple[np.ndarray, float]:
    """What stands out sideways of a trunk and is too narrow for it, (I, J) bool, and by how much its ends may bulge.

    A disk of radius R enters a bridge of half width w by R - sqrt(R2 - w2).
    """
    from scipy import ndimage

    rows = np.flatnonzero(mask.any(axis=0))
    none = np.zeros(mask.shape, bool)
    if len(rows) < 3:
        return none, 0.0
    radius = DISK_SHARE * float(np.ptp(rows) + 1) * dy
    depth = ndimage.distance_transform_edt(np.pad(mask, 1), sampling=(dx, dy))[1:-1, 1:-1]
    labels, count = ndimage.label(depth > radius)
    if count == 0:
        return none, 0.0
    core = labels == 1 + int(np.bincount(labels.ravel())[1:].argmax())
    trunk = mask & (ndimage.distance_transform_edt(~core, sampling=(dx, dy)) <= radius + max(dx, dy) / 2)
    ends = np.flatnonzero(trunk.any(axis=1))[[0, -1]]
    pieces, count = ndimage.label(mask & ~trunk)
    arms, bulges = none, {-1: 0.0, 1: 0.0}
    for label in range(1, count + 1):
        piece = pieces == label
        columns = np.flatnonzero(piece.any(axis=1))
        out = max(int(ends[0] - columns[0]), int(columns[-1] - ends[1])) * dx
        if out < MIN_ARM_OUT_MM or piece.sum() * dx * dy < MIN_ARM_MM2:
            continue
        arms |= piece
        edge = np.argwhere(ndimage.binary_dilation(piece) & trunk) * (dx, dy)
        half = float(np.hypot(*np.ptp(edge, axis=0))) / 2 if len(edge) else 0.0
        side = -1 if ends[0] - columns[0] > columns[-1] - ends[1] else 1
        bulge = radius - float(np.sqrt(max(radius**2 - half**2, 0.0)))
        bulges[side] = max(bulges[side], bulge)
    return arms, sum(bulges.values())


def _outline(mask: np.ndarray, dx: float, dy: float) -> tuple[float, float]:
    """Length (mm) and area (mm2) of the convex outline; its edge lies half a pixel beyond the outermost centers."""
    from scipy.spatial import ConvexHull

    ends = [(i, j) for j in np.flatnonzero(mask.any(axis=0)) for i in np.flatnonzero(mask[:, j])[[0, -1]]]
    hull = ConvexHull(np.array(ends) * (dx, dy))
    half = (dx + dy) / 4
    return float(hull.area) + 2 * np.pi * half, float(hull.volume + hull.area * half + np.pi * half**2)


def fat_share(segmentation: Segmentation, name: str, hu: np.ndarray | None) -> Found:
    """Percent of fat among the tissue of the imaged body, lung and gas left out."""
    if hu is None or "body" not in segmentation.places:
        reason = "no CT was given" if hu is None else "the body is not in the masks"
        return [], [Omission("fat_share", name, reason)]
    box = segmentation.boxes["body"]
    body = segmentation.mask_in_box("body")
    tissue = sum(
        int(np.count_nonzero(body[:, :, k] & (hu[box.slices][:, :, k] >= TISSUE_FROM_HU))) for k in range(body.shape[2])
    )
    if not tissue:
        return [], [Omission("fat_share", name, "the body holds no tissue")]
    share = 100 * segmentation.voxel_count(name) / tissue
    return [Measurement("fat_share", share, "voxels of fat / voxels of the body from -190 HU", None, name)], []

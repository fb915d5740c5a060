"""Whole lungs, trachea, pleural and pericardial fluid, heart: indices of the chest.

Each index has its own conditions (kernel and slice for emphysema, a complete hemithorax for the depth of an
effusion), and where one does not hold the number is an omission that names it.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

import numpy as np

from radvlm.types.anatomy import structure
from radvlm.types.geometry import Box
from radvlm.types.measurement import Measurement, Omission
from radvlm.types.segmentation import Segmentation
from radvlm.types.study import Study

#: HU below which lung counts as emphysema on inspiratory CT (COPDGene; Schroeder 2013, PMC4067052).
EMPHYSEMA_HU = -950
#: Widest slice spacing (mm) on which the index is given; density masks are defined on thin slices.
EMPHYSEMA_SLICE_MM = 1.5
#: Kernels whose noise and edge enhancement falsify density masks: names that vendors give to sharp ones.
_SHARP = re.compile(
    r"(?:^|[^a-z])(lung|bone|edge|sharp|detail|chest|fc5\d|fc8\d|yc|yd|ya|l)(?:$|[^a-z])"
    r"|[bui][a-z]?[5-9]\d",
    re.I,
)
#: Part of the trachea (mm) left out at each end of its mask, where a section is not a whole one.
TRACHEA_END_MM = 10.0
LUNGS = {
    "lung_right": ("lung_upper_lobe_right", "lung_middle_lobe_right", "lung_lower_lobe_right"),
    "lung_left": ("lung_upper_lobe_left", "lung_lower_lobe_left"),
}

Found = tuple[list[Measurement], list[Omission]]


def lung_parts(segmentation: Segmentation, side: str) -> tuple[str, ...]:
    """Structures that make up one lung: the lung itself, else its lobes, else nothing."""
    name = f"lung_{side}"
    if name in segmentation.places:
        return (name,)
    return tuple(n for n in LUNGS[name] if n in segmentation.places)


def emphysema_index(segmentation: Segmentation, name: str, hu: np.ndarray | None, study: Study) -> Found:
    """Percent of a lung or lobe below -950 HU (%LAA-950), where slice and kernel allow it."""
    quantity = "emphysema_index"
    spacing = max(segmentation.geometry.spacing_mm[2], study.slice_thickness_mm or 0.0)
    if hu is None:
        return [], [Omission(quantity, name, "no CT was given")]
    if spacing > EMPHYSEMA_SLICE_MM + 1e-3:
        return [], [
            Omission(
                quantity,
                name,
                f"slices of {spacing:.3g} mm: the index is defined for slices of at most {EMPHYSEMA_SLICE_MM:g} mm",
            )
        ]
    if not study.kernel:
        return [], [Omission(quantity, name, "the reconstruction kernel is not known")]
    if _SHARP.search(study.kernel):
        return [], [Omission(quantity, name, f"the kernel {study.kernel} is a sharp one, which falsifies the index")]
    box = segmentation.boxes[name]
    mask = segmentation.mask_in_box(name)
    share = 100 * float(np.count_nonzero(hu[box.slices][mask] < EMPHYSEMA_HU)) / float(np.count_nonzero(mask))
    return [Measurement(quantity, share, "voxels below -950 HU", None, name)], []


def trachea_measurements(segmentation: Segmentation) -> Found:
    """Smallest axial area of the trachea and its coronal to sagittal diameter there (tracheal index)."""
    name, spacing = "trachea", segmentation.geometry.spacing_mm
    mask, box = segmentation.mask_in_box(name), segmentation.boxes[name]
    ends = int(np.ceil(TRACHEA_END_MM / spacing[2]))
    areas = mask.sum(axis=(0, 1)) * spacing[0] * spacing[1]
    if len(areas) - 2 * ends < 3:
        reason = f"less than {(2 * ends + 3) * spacing[2]:.0f} mm of the trachea are imaged"
        return [], [Omission(q, name, reason) for q in ("minimum_area", "tracheal_index")]
    inner = areas[ends : len(areas) - ends]
    k = ends + int(inner.argmin())
    if inner.min() <= 0:
        return [], [Omission(q, name, "the mask of the trachea has a gap") for q in ("minimum_area", "tracheal_index")]
    points = np.argwhere(mask[:, :, k]) * spacing[:2]
    spread = points.var(axis=0) + np.square(spacing[:2]) / 12
    index = float(np.sqrt(spread[0] / spread[1]))
    exposed = float(np.sqrt(4 * np.pi * inner.min())) * float(np.mean(spacing[:2])) / 2
    here = k + box.start[2]
    return [
        Measurement(
            "minimum_area", float(inner.min()), "axial slice with the smallest area", exposed, name, slice_index=here
        ),
        Measurement(
            "tracheal_index", index, "coronal / sagittal width by second moments", None, name, slice_index=here
        ),
    ], []


def effusion_depth(
    segmentation: Segmentation, name: str, region_id: str, side: str, box: Box, mask: np.ndarray
) -> Found:
    """Depth of pleural fluid in the mid-clavicular plane, in mm and as percent of the hemithorax there.

    The plane is the sagittal one midway across the hemithorax (lung and fluid together); the depth is the longest
    anteroposterior run of fluid in it, and the hemithorax reaches from the first to the last voxel of lung or fluid
    on the same line. Quartiles: Moy MP et al. Chest 2013.
    """
    both = ("depth", "fraction")
    parts = lung_parts(segmentation, side) if side else ()
    if not parts:
        return [], [Omission(q, name, "the lung of that side is not in the masks") for q in both]
    spacing = segmentation.geometry.spacing_mm
    outer = box
    for part in parts:
        outer = outer.union(segmentation.boxes[part])
    middle = (outer.start[0] + outer.stop[0] - 1) / 2
    fluid = np.zeros(outer.shape, dtype=bool)
    fluid[box.relative_to(outer).slices] = mask
    columns = [int(np.floor(middle)) - outer.start[0], int(np.ceil(middle)) - outer.start[0]]
    best: tuple[float, float, int, int, int, int] | None = None
    for i in dict.fromkeys(columns):
        plane = np.zeros(outer.shape[1:], dtype=bool)
        for part in parts:
            sheet = Box(
                (outer.start[0] + i, outer.start[1], outer.start[2]),
                (outer.start[0] + i + 1, outer.stop[1], outer.stop[2]),
            )
            plane |= segmentation.mask_in_box(part, sheet)[0]
        plane |= fluid[i]
        lengths, starts = _longest_runs(fluid[i])
        k = int(lengths.argmax())
        if lengths[k] == 0:
            continue
        held = np.flatnonzero(plane[:, k])
        whole = int(held[-1] - held[0] + 1)
        option = (float(lengths[k]), 100 * float(lengths[k]) / whole, i, int(starts[k]), k, int(lengths[k]))
        best = option if best is None or option[:2] > best[:2] else best
    if best is None:
        return [], [Omission(q, name, "no fluid lies in the mid-clavicular plane") for q in both]
    _, share, i, j, k, run = best
    ends = segmentation.geometry.to_world(np.array([[i, j - 0.5, k], [i, j + run - 0.5, k]]) + outer.start)
    points = tuple((float(p[0]), float(p[1]), float(p[2])) for p in ends)
    return [
        Measurement(
            "depth",
            run * spacing[1],
            "mid-clavicular anteroposterior run",
            spacing[1],
            region_id,
            points,
            k + outer.start[2],
        ),
        Measurement("fraction", share, "of the anteroposterior hemithorax", None, region_id),
    ], []


def _longest_runs(plane: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Length and start of the longest run of True along axis 0, for every column of a (J, K) array."""
    current = np.zeros(plane.shape[1], dtype=np.int64)
    best, start = current.copy(), current.copy()
    for j, row in enumerate(plane):
        current = np.where(row, current + 1, 0)
        longer = current > best
        best = np.where(longer, current, best)
        start = np.where(longer, j + 1 - current, start)
    return best, start


def pericardial_thickness(segmentation: Segmentation) -> Found:
    """Largest thickness of pericardial fluid: the diameter of the largest ball inside it, in mm."""
    from radvlm.quantify.texture import largest_ball

    return [largest_ball(segmentation, "pericardial_effusion", "thickness", "largest ball inside the fluid")], []


def cardiothoracic_ratio(segmentation: Segmentation) -> Found:
    """Largest width of the heart divided by the largest width of the chest inside the ribs (both lungs), axial CT."""
    name, quantity = "heart", "cardiothoracic_ratio"
    right, left = (lung_parts(segmentation, side) for side in ("right", "left"))
    if not right or not left:
        return [], [Omission(quantity, name, "both lungs are not in the masks")]
    faces = {f for n in (name, *right, *left) for f in segmentation.cut_faces(n)} & {"left", "right"}
    if faces or segmentation.cut_faces(name):
        return [], [Omission(quantity, name, "the heart or the width of the chest is cut by the field of view")]
    heart = _widths(segmentation, (name,))
    chest = _widths(segmentation, (*right, *left))
    ratio = heart.max() / chest.max()
    doubt = ratio * float(np.hypot(1 / heart.max(), 1 / chest.max()))
    k = int(heart.argmax())
    return [
        Measurement(quantity, float(ratio), "largest width of the heart / of the lungs", doubt, name, slice_index=k)
    ], []


def _widths(segmentation: Segmentation, names: Sequence[str]) -> np.ndarray:
    """Width in voxels, right to left, of several structures together in every slice of the scan."""
    shape = segmentation.geometry.shape
    low, high = np.full(shape[2], shape[0]), np.full(shape[2], -1)
    for name in names:
        box = segmentation.boxes[name]
        held: np.ndarray = np.any(segmentation.mask_in_box(name), axis=1)  # (I, K)
        some = held.any(axis=0)
        first = np.where(some, held.argmax(axis=0) + box.start[0], shape[0])
        last = np.where(some, box.stop[0] - 1 - held[::-1].argmax(axis=0), -1)
        here = slice(box.start[2], box.stop[2])
        low[here], high[here] = np.minimum(low[here], first), np.maximum(high[here], last)
    return np.maximum(high - low + 1, 0)


def is_lung(name: str) -> bool:
    """A lung or a lobe, of which the index is given."""
    return (
        name in LUNGS
        or name == "lung"
        or (structure(name).kind == "part" and "_lobe_" in name and structure(name).section == "lungs")
    )

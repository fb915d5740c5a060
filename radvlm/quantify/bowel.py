"""Caliber of the small bowel and the colon by the largest ball in the mask and the largest ball of gas in it.

Masks join loops that touch, so the largest ball of the mask is at least the caliber (of one loop or of several), and
the largest ball of gas with two walls is at most that. Where the first is no wider than bowel may be, nothing is
dilated; where the second is wider, something is. In between it is not known, and an omission says so.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from radvlm.quantify.voxel_counts import sampling
from radvlm.types.measurement import Measurement, Omission
from radvlm.types.segmentation import Segmentation


@dataclass(frozen=True)
class _Limits:
    """Widths in mm: up to ``normal`` nothing is dilated anywhere; from ``wide`` something is, wherever it lies."""

    normal: float
    wide: float


#: Small bowel 3 cm; colon 6 cm, of which the cecum may have 9 cm (the sources of the rules ``bowel_diameter_*``).
LIMITS = {"small_bowel": _Limits(30.0, 30.0), "colon": _Limits(60.0, 90.0)}
#: HU of gas in a lumen: half a voxel of wall between two lumens is denser.
GAS_HU = -600.0
#: Two walls of 2 mm (mm).
WALLS_MM = 4.0
#: The bowel is sampled about this far apart (mm).
SAMPLE_MM = 3.5


def caliber(segmentation: Segmentation, name: str, hu: np.ndarray | None) -> tuple[list[Measurement], list[Omission]]:
    """Diameter of the widest part of a structure of ``LIMITS``, or why it is not known."""
    limits, box = LIMITS[name], segmentation.boxes[name]
    every, spacing = sampling(segmentation.geometry.spacing_mm, SAMPLE_MM)
    place = segmentation.places[name]
    mask = segmentation.layers[place.layer][box.slices][every] == place.label
    widest = _largest_ball_mm(mask, spacing)
    if widest <= limits.normal:
        return [Measurement("diameter", widest, "largest ball in the mask", max(spacing), name)], []
    lumen = 0.0 if hu is None else _largest_ball_mm(mask & (hu[box.slices][every] <= GAS_HU), spacing)
    if lumen + WALLS_MM > limits.wide:
        return [Measurement("diameter", lumen + WALLS_MM, "largest ball of gas and two walls", max(spacing), name)], []
    between = f"between {lumen:.0f} and {widest:.0f} mm" if lumen else f"up to {widest:.0f} mm"
    return [], [Omission("diameter", name, f"loops that touch are one in the mask, so its caliber is {between}")]


def _largest_ball_mm(mask: np.ndarray, spacing_mm: tuple[float, ...]) -> float:
    """Diameter of the largest ball in a mask; 0 of an empty one. Beyond the box nothing is known to be bowel."""
    from scipy.ndimage import distance_transform_edt

    if not mask.any():
        return 0.0
    depth = float(distance_transform_edt(np.pad(mask, 1), sampling=spacing_mm).max())
    return max(2 * depth - float(np.mean(spacing_mm)), min(spacing_mm))  # the outline lies between two voxels

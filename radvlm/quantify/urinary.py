"""Width of the renal pelvis, which tells whether urine is held up."""

from __future__ import annotations

import numpy as np

from radvlm.types.measurement import Measurement, Omission
from radvlm.types.segmentation import Segmentation

RENAL_PELVES = ("renal_pelvis_right", "renal_pelvis_left")


def pelvis_diameter(segmentation: Segmentation, name: str) -> tuple[list[Measurement], list[Omission]]:
    """Diameter (mm) of the largest ball in the mask of a renal pelvis; calyces beside it do not count.

    At most the anteroposterior diameter, of which limits are told.
    """
    from radvlm.quantify.texture import signed_distance

    distance, across = signed_distance(np.pad(segmentation.mask_in_box(name), 1), segmentation.geometry.spacing_mm)
    deepest = np.unravel_index(int(distance.argmin()), distance.shape)
    diameter, error = -2 * float(distance[deepest]), float(across[deepest])
    middle = int(deepest[2]) - 1 + segmentation.boxes[name].start[2]
    return [Measurement("diameter", diameter, "largest ball in the mask", error, name, slice_index=middle)], []

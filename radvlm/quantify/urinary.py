"""Width of the renal pelvis, which tells whether urine is held up."""

from __future__ import annotations

from radvlm.types.measurement import Measurement, Omission
from radvlm.types.segmentation import Segmentation

RENAL_PELVES = ("renal_pelvis_right", "renal_pelvis_left")


def pelvis_diameter(segmentation: Segmentation, name: str) -> tuple[list[Measurement], list[Omission]]:
    """Diameter (mm) of the largest ball in the mask of a renal pelvis; calyces beside it do not count.

    At most the anteroposterior diameter, of which limits are told.
    """
    from radvlm.quantify.texture import largest_ball

    return [largest_ball(segmentation, name, "diameter", "largest ball in the mask")], []

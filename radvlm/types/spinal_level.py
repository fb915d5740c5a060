"""At which part of the spine a height lies, told only as far as the vertebrae that are known allow.

The vertebra nearest in height names the level where it is near; a height far from every vertebra that is in the masks
has no level, but may still be certain to be abdominal or thoracic, because vertebrae are not smaller or larger than
people are.
"""

from __future__ import annotations

from collections.abc import Mapping

from radvlm.types.anatomy import ABDOMINAL_LEVELS, USUAL_LEVELS

#: About the distance of two lumbar vertebrae: farther from its center a vertebra names no level (mm).
NEAR_MM = 35.0
#: Least and largest distance of the centers of neighboring vertebrae from T1 to L5 (mm): 19 mm at T1 of a small woman
#: to 42 mm at L4 of a tall man.
STEP_MM = (19.0, 42.0)


def nearest_level(heights_mm: Mapping[str, float], height_mm: float, near_mm: float = NEAR_MM) -> str:
    """The vertebra (``vertebrae_L2``) whose center is within ``near_mm`` of a height, or ""."""
    if not heights_mm:
        return ""
    name = min(heights_mm, key=lambda n: abs(heights_mm[n] - height_mm))
    return name if abs(heights_mm[name] - height_mm) <= near_mm else ""


def spinal_part(heights_mm: Mapping[str, float], height_mm: float) -> str:
    """``abdominal`` (L1 or lower), ``thoracic`` (above), or "" where the known vertebrae do not tell.

    Args:
        heights_mm: vertebra -> height of its center.

    Example:
        >>> from radvlm.types.spinal_level import spinal_part
        >>> spinal_part({"vertebrae_T12": 0.0}, -140.0), spinal_part({"vertebrae_T8": 0.0}, -140.0)
        ('abdominal', '')
    """
    near = nearest_level(heights_mm, height_mm)
    if near:
        return "abdominal" if near in ABDOMINAL_LEVELS else "thoracic"
    if not heights_mm:
        return ""
    name = min(heights_mm, key=lambda n: abs(heights_mm[n] - height_mm))
    below = heights_mm[name] - height_mm
    level = {"T13": "T12", "L6": "L5"}.get(name.removeprefix("vertebrae_"), name.removeprefix("vertebrae_"))
    steps = USUAL_LEVELS.index("L1") - USUAL_LEVELS.index(level)  # from this vertebra down to L1; lumbar: 0 or less
    least, most = STEP_MM
    if below > 0:
        return "abdominal" if below >= most * max(steps, 0) else "thoracic" if below < least * (steps - 1) else ""
    return "thoracic" if -below >= most * max(1 - steps, 0) else "abdominal" if -below < least * -steps else ""

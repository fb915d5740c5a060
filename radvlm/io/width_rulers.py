"""Widths that hardly vary among people, as rulers of scans whose organs are not whole.

A vertebra of an adult is 54 to 75 mm wide in the chest and 75 to 110 mm in the loins with its processes, and its
neighbor lies two fifths of that further on, in children too; the vessels, the windpipe and the spinal canal are less
alike, and bear it out. Twice a person's widths are nobody's; half of them are a child's, so that these are doubted only
where the age says an adult. The usual values are the authors' knowledge and none was looked up; two real scans have 0.8
to 1.1 times these and phantoms 0.9 to 1.1, and limits were chosen far outside.

A doubled spacing of a small child, a halved one where no age is stated, and either without masks of vertebrae cannot be
told so.
"""

from __future__ import annotations

import itertools
import re

import numpy as np

from radvlm.types.anatomy import USUAL_LEVELS
from radvlm.types.provenance import SIZE, Decision
from radvlm.types.segmentation import Segmentation

#: Usual width (mm) from side to side of vertebrae with their processes.
THORACIC_MM, LUMBAR_MM = 64.0, 85.0
#: Usual diameter (mm), equivalent to the median area of their slices, of what bears a width out.
USUAL_MM = {"spinal_cord": 13.0, "aorta": 24.0, "inferior_vena_cava": 21.0, "trachea": 18.0, "kidney_left": 46.0,
            "kidney_right": 46.0}  # fmt: skip
#: So many times the usual width of vertebrae is nobody's, and with an age from which on people are grown, so few times.
MOST_TIMES, LEAST_TIMES, GROWN_YEARS = 1.5, 0.62, 18.0
#: What bears it out must have at least this share of it.
BORNE_OUT = 0.8
#: Distance of neighbors for their width; and fewest pairs of whole ones.
CLOSEST, FARTHEST, FEWEST_PAIRS = 0.25, 0.6, 2
_ADVICE = "the pixel spacing or the slice spacing looks wrong. Check the voxel sizes before any size is used."


def check_widths(segmentation: Segmentation, age_years: float | None) -> tuple[Decision, ...]:
    """Warnings about vertebrae twice or half as wide as a person's, or too far apart for their width."""
    widths, middles = _vertebrae(segmentation)
    if not widths:
        return ()
    times = float(np.median([width / _usual(name) for name, width in widths.items()]))
    others = [mm / USUAL_MM[name] for name in USUAL_MM if (mm := _diameter_mm(segmentation, name)) is not None]
    other = float(np.median(others)) if others else times
    whole = {name: width for name, width in widths.items() if name in middles}
    name = max(widths, key=lambda one: widths[one])
    told = f"{name.replace('_', ' ')} measures {widths[name]:.0f} mm from side to side"
    if times > MOST_TIMES and other > BORNE_OUT * MOST_TIMES:
        what = f"{told}, and vertebrae are {times:.1f} times as wide as a grown person's: {_ADVICE}"
        return (Decision(SIZE, what[0].upper() + what[1:], warning=True),)
    if whole and age_years is not None and age_years >= GROWN_YEARS:
        times = float(np.median([width / _usual(name) for name, width in whole.items()]))
        if times < LEAST_TIMES and other < LEAST_TIMES / BORNE_OUT:
            what = f"At {age_years:.0f} years, vertebrae are {times:.1f} times as wide as a grown person's: {_ADVICE}"
            return (Decision(SIZE, what, warning=True),)
    steps = _steps(middles, widths)
    if len(steps) < FEWEST_PAIRS or CLOSEST <= (step := float(np.median(steps))) <= FARTHEST:
        return ()
    how = "far apart" if step > FARTHEST else "close together"
    what = f"The vertebrae lie too {how} for their width ({step:.2f} times it, usually 0.35 to 0.5): {_ADVICE}"
    return (Decision(SIZE, what, warning=True),)


def _usual(name: str) -> float:
    return THORACIC_MM if name.startswith("vertebrae_T") else LUMBAR_MM


def _vertebrae(segmentation: Segmentation) -> tuple[dict[str, float], dict[str, np.ndarray]]:
    """Widths (mm) of thoracic and lumbar vertebrae that end before the sides of the scan, and centers of whole ones."""
    widths: dict[str, float] = {}
    middles: dict[str, np.ndarray] = {}
    spacing = segmentation.geometry.spacing_mm
    for name in segmentation.places:
        faces = set(segmentation.cut_faces(name)) if re.fullmatch(r"vertebrae_[TL]\d+", name) else {"left"}
        if faces & {"left", "right"} or segmentation.voxel_count(name) < 50:
            continue
        box = segmentation.boxes[name]
        widths[name] = box.shape[0] * spacing[0]
        if not faces and box.shape[2] > 2:
            middles[name] = (np.array(box.start) + np.array(box.stop)) / 2 * np.array(spacing)
    return widths, middles


def _steps(middles: dict[str, np.ndarray], widths: dict[str, float]) -> list[float]:
    """Distance of whole neighbors divided by their mean width."""
    levels = [f"vertebrae_{level}" for level in USUAL_LEVELS]
    return [
        float(np.linalg.norm(middles[above] - middles[below])) / (0.5 * (widths[above] + widths[below]))
        for above, below in itertools.pairwise(levels)
        if above in middles and below in middles
    ]


def _diameter_mm(segmentation: Segmentation, name: str) -> float | None:
    """Diameter of a circle of the median area of the slices of a structure; None where it is not there."""
    if name not in segmentation.places:
        return None
    areas = segmentation.mask_in_box(name).sum(axis=(0, 1))
    pixel_mm2 = float(np.prod(segmentation.geometry.spacing_mm[:2]))
    return 2 * float(np.sqrt(np.median(areas[areas > 0]) * pixel_mm2 / np.pi))

"""A structure of one side on the other side of the body, while its twin, which would tell, is not among the masks.

The midline is that of the vertebrae at the height of the structure, which follows a scoliosis, and that of the body in
the scan: the middle of its outline and the middle of its mass, which differ where one arm lies beside it. A structure
is judged by the one that is kindest to it. Nothing is said where the body is cut at a side, and where it is deeper than
wide, as in a patient on the side whose scan says supine.

Margins are far beyond anatomy: a pelvic kidney stays near the midline, a lung that fills the side of the other one has
its middle not beyond it, and a crossed ectopic kidney lies beside the spine (its middle some 20 to 40 mm off), which
is warned of. Liver and spleen of a mirrored body are told by each other and by paired structures in order.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

import numpy as np

from radvlm.io.mask_fit import MaskPoints
from radvlm.types.anatomy import LEVELS, OPPOSITE_SIDE, structure
from radvlm.types.volume import Volume

#: How far (mm) the middle of a structure of an adult lies beyond the midline to be warned of, and to be an error.
_MARGINS_MM: tuple[tuple[str, float, float], ...] = (
    (r"kidney", 20, 45),
    (r"adrenal_gland", 15, 25),
    (r"lung|lung_(upper|lower)_lobe", 25, 45),
    (r"rib_1", 20, 32),
    (r"rib_\d+", 25, 40),
    (r"hip|scapula|gluteus_(maximus|medius|minimus)", 30, 50),
    (r"clavicula|pectoralis_major|latissimus_dorsi|serratus_anterior", 30, 50),
    (r"iliopsoas|quadratus_lumborum", 20, 35),
    (r"femur|humerus", 40, 60),
)
#: The side of organs that have no twin, and their margins.
_UNPAIRED: dict[str, tuple[str, float, float]] = {"liver": ("right", 35, 50), "spleen": ("left", 30, 50)}
#: A kidney beside its twin on the other side is warned of from here on, mm.
BESIDE_TWIN_MM = 30.0
#: Margins are those of a body of this half width (mm); they shrink with a smaller one, not for limbs.
USUAL_HALF_WIDTH_MM = 150.0
LEAST_SCALE = 0.4
#: Vertebrae this near in height are the midline of a structure, mm.
NEAR_MM = 40.0
#: Slab of the body that is looked at, mm above and below the middle of a structure.
SLAB_MM = 30.0
#: Air around the body, HU; least share of a column of the slab that is body.
AIR_HU, COLUMN_SHARE = -300, 0.05
#: A body that fills more than this of a side of the image, or of the rim of its circle, is cut.
CUT_SHARE = 0.05
#: A body less wide than this many times its depth does not show which way is sideways.
WIDE_FOR_DEPTH = 1.05
#: A body narrower than this is none, mm.
NARROWEST_MM = 100.0
#: Voxels of the scan that are looked at.
MAX_SAMPLES = 400_000


@dataclass(frozen=True)
class LoneSides:
    """What was found: errors, doubts (each in words) and how many structures lie on their own side."""

    wrong: tuple[str, ...] = ()
    doubtful: tuple[str, ...] = ()


def lone_sides(points: MaskPoints, volume: Volume, pairs_in_order: bool, organs_mirrored: bool) -> LoneSides:
    """Structures without their twin on the wrong side of the midline, and a kidney on the side of the other one.

    Args:
        pairs_in_order: whether paired structures lie as in a body, so that coordinates and names are right.
        organs_mirrored: whether unpaired organs are mirrored against each other, which is told elsewhere.
    """
    judged = [judge for name in points.names if (judge := _rule(name, points)) is not None]
    if not judged:
        return LoneSides()
    body = BodyMidline(volume)
    beyond: dict[str, float] = {}
    for name, side, *_ in judged:
        center = points.center(name)
        assert center is not None
        is_limb = re.match(r"femur|humerus", name) is not None
        found = body.beyond_midline(center, side, spine_mm(points, float(center[2])), is_limb)
        if found is not None:
            beyond[name] = found
    wrong: list[str] = []
    doubtful: list[str] = []
    for name, side, warned, refused in judged:
        if name not in beyond or beyond[name] < warned:
            continue
        other = OPPOSITE_SIDE[side]
        words = f"the {structure(name).words} lies {beyond[name]:.0f} mm to the {other} of the midline"
        unpaired = name in _UNPAIRED
        if organs_mirrored and (unpaired or name.startswith("lung_")):
            continue  # lobes may be named by their form, which situs inversus mirrors
        is_sure = beyond[name] >= refused
        if unpaired and (pairs_in_order or len(beyond.keys() & _UNPAIRED.keys()) > 1):
            is_sure = False  # mirrored organs in a body whose sides are right, or the spleen beside the liver
        (wrong if is_sure else doubtful).append(words)
    return LoneSides(tuple(wrong), tuple(doubtful))


def _rule(name: str, points: MaskPoints) -> tuple[str, str, float, float] | None:
    """(name, side, warned from, refused from) of a structure that is judged."""
    if name in _UNPAIRED:
        return (name, *_UNPAIRED[name])
    side = structure(name).side
    if side not in ("left", "right"):
        return None
    twin = name.replace(side, OPPOSITE_SIDE[side])
    if twin in points.names:
        return (name, side, BESIDE_TWIN_MM, float("inf")) if name.startswith("kidney_") else None
    base = re.sub(rf"_{side}\b|_{side}(?=_)", "", name)
    found = next(((w, r) for pattern, w, r in _MARGINS_MM if re.fullmatch(pattern, base)), None)
    return None if found is None else (name, side, *found)


class BodyMidline:
    """Midlines of the body in a scan."""

    def __init__(self, volume: Volume) -> None:
        spacing = volume.geometry.spacing_mm
        steps = [1, 1, 1]
        while np.prod([-(-n // s) for n, s in zip(volume.hu.shape, steps, strict=True)]) > MAX_SAMPLES:
            steps[min(range(3), key=lambda a: steps[a] * spacing[a])] += 1
        self._geometry, self._steps = volume.geometry, np.array(steps)
        self._is_known = not volume.attenuation_doubt
        self._tissue = volume.hu[tuple(slice(None, None, s) for s in steps)] > AIR_HU
        self._spacing = np.array(spacing) * steps

    def beyond_midline(
        self, center: np.ndarray, side: str, spine: float | None = None, is_limb: bool = False
    ) -> float | None:
        """How far (mm of an adult) the middle of something lies beyond the midline; None where no midline is known."""
        middles, half_width = self._middles_mm(center)
        if half_width is None or (spine is None and not middles):
            return None
        middles += [] if spine is None else [spine]
        scale = 1.0
        if not is_limb:
            scale = min(1.0, max(LEAST_SCALE, half_width / USUAL_HALF_WIDTH_MM))
        sign = 1 if side == "left" else -1
        return min(sign * (float(center[0]) - middle) for middle in middles) / scale

    def _middles_mm(self, center: np.ndarray) -> tuple[list[float], float | None]:
        """Middles of outline and mass (none where the body is cut) and half the width (None where it lies aside)."""
        if not self._is_known:
            return [], USUAL_HALF_WIDTH_MM
        middle = float(self._geometry.to_index(center[None])[0, 2]) / self._steps[2]
        reach = max(1.0, SLAB_MM / self._spacing[2])
        low, high = max(0, int(middle - reach)), int(middle + reach) + 1
        slab = self._tissue[:, :, low:high]
        if not slab.size or self._is_cut(slab):
            return [], USUAL_HALF_WIDTH_MM
        across = np.flatnonzero(slab.mean(axis=(1, 2)) > COLUMN_SHARE)
        deep = np.flatnonzero(slab.mean(axis=(0, 2)) > COLUMN_SHARE)
        if not across.size or not deep.size:
            return [], USUAL_HALF_WIDTH_MM
        width, depth = np.ptp(across) * self._spacing[0], np.ptp(deep) * self._spacing[1]
        if width < NARROWEST_MM or width < WIDE_FOR_DEPTH * depth:
            return [], None
        mass = float(np.average(np.arange(slab.shape[0]), weights=slab.sum(axis=(1, 2))))
        found = []
        for at in ((across[0] + across[-1]) / 2, mass):
            index = np.array([at, slab.shape[1] / 2, middle]) * self._steps
            found.append(float(self._geometry.to_world(index[None])[0, 0]))
        return found, width / 2

    def _is_cut(self, slab: np.ndarray) -> bool:
        """Whether the body meets a side of the image, or the circle that scanners reconstruct, on its left or right."""
        if max(slab[0].mean(), slab[-1].mean()) > CUT_SHARE:
            return True
        size = np.array(slab.shape[:2]) * self._spacing[:2]
        x, y = (((np.arange(n) + 0.5) / n - 0.5) * mm for n, mm in zip(slab.shape[:2], size, strict=True))
        radius = np.hypot(x[:, None], y[None, :]) / (size.min() / 2)
        rim = (radius > 0.95) & (radius <= 1.0) & (np.abs(x)[:, None] > 0.5 * size.min() / 2)
        return bool(slab[rim].mean() > CUT_SHARE) if rim.any() else False


def spine_mm(points: MaskPoints, height_mm: float) -> float | None:
    """Right-left position of the vertebrae near a height; of the whole spine or its cord where they are one mask."""
    levels = [c for level in LEVELS if (c := points.center(f"vertebrae_{level}")) is not None]
    near = [float(c[0]) for c in levels if abs(float(c[2]) - height_mm) <= NEAR_MM]
    if near:
        return float(np.median(near))
    return (
        None
        if levels
        else next(
            (float(c[0]) for name in ("vertebrae", "spinal_cord") if (c := points.center(name)) is not None), None
        )
    )

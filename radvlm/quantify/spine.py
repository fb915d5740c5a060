"""Heights of vertebral bodies, their loss after correction, and the attenuation of their trabecular bone.

The body is found inside the mask of a whole vertebra, as the deepest part of it, and measured along the
spine's own axis, so a tilted vertebra is not shortened. A loss of height is judged against what is expected at that
level: normal wedging by level, shifted by what the patient's other vertebrae show, and the posterior height of the
neighbors. Without these corrections a healthy T12 or L5 reads as fractured.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from radvlm.quantify.centerline import smoothed
from radvlm.types.anatomy import LEVELS, structure
from radvlm.types.geometry import Geometry
from radvlm.types.measurement import Measurement, Omission
from radvlm.types.scan_measurements import StructureMeasurements
from radvlm.types.segmentation import Segmentation

#: Normal angle (degrees) between the two endplates, larger in front when negative: mean of women and men in Masharawi
#: et al. 2010 (PMC2899959, Table 1, 240 spines); above T9 that of T9, T13 and L6 those of their neighbors.
NORMAL_WEDGE_DEGREES = {
    "T9": 3.8,
    "T10": 3.2,
    "T11": 5.0,
    "T12": 4.2,
    "T13": 4.2,
    "L1": 3.35,
    "L2": 1.65,
    "L3": 0.1,
    "L4": -1.9,
    "L5": -6.2,
    "L6": -6.2,
}
#: Levels that are judged; above T4 and in the neck the endplates are not flat enough for three heights.
ORDER = LEVELS[LEVELS.index("T1") : LEVELS.index("S1")]
JUDGED = ORDER[3:]
#: Where the heights are taken, as shares of the body's depth from its back.
_PLACES = {"posterior": 0.1, "middle": 0.5, "anterior": 0.9}
#: Half of the strip, across and along, over which a height is averaged (mm, share of the depth).
_ACROSS_MM, _ALONG = 6.0, 0.04
#: The patient's own wedging may differ from the normal one by this much (degrees).
_OWN_WEDGE_DEGREES = 5.0
#: Trabecular bone lies this far from the surface of the body (mm), as the eroded bodies of spine reports.
CORE_DEPTH_MM = 4.0
MIN_CORE_ML = 0.5
HEIGHTS = ("anterior_height", "middle_height", "posterior_height")
LOSSES = ("wedge_loss", "biconcave_loss", "crush_loss")
_STEP_MM = 0.5
NO_BODY = "the body could not be told apart within the mask"
CUT = "cut by the field of view"
HIGH = "heights are measured from T4 down"
NO_NEIGHBOR = "no complete neighboring vertebra to compare with"
NO_CT = "no CT was given"
#: A voxel longer than this from front to back (mm) blurs the ends of the endplates, where a height is taken.
MAX_VOXEL_MM = 3.0
COARSE = "a voxel is longer than 3 mm from front to back"
SMALL_CORE = "the trabecular core is smaller than 0.5 mL on this grid"


@dataclass(frozen=True)
class Body:
    """One vertebral body: three heights and its depth in mm, with end points; ``hu`` of its core."""

    level: str
    heights: dict[str, float]
    ends_mm: dict[str, tuple[tuple[float, float, float], tuple[float, float, float]]]
    depth_mm: float
    voxel_mm: float
    middle_mm: np.ndarray

    @property
    def wedge_degrees(self) -> float:
        """Angle between straight endplates; positive when the front is lower."""
        return float(np.degrees(np.arctan2(self.heights["posterior"] - self.heights["anterior"], self.run_mm)))

    @property
    def run_mm(self) -> float:
        """Distance of the anterior from the posterior height."""
        return (_PLACES["anterior"] - _PLACES["posterior"]) * self.depth_mm


def with_spine(
    segmentation: Segmentation, structures: tuple[StructureMeasurements, ...], hu: np.ndarray | None
) -> tuple[StructureMeasurements, ...]:
    """The records with heights, losses and trabecular HU of their vertebrae."""
    levels = {
        s.structure: s.structure.removeprefix("vertebrae_")
        for s in structures
        if s.structure.removeprefix("vertebrae_") in ORDER and structure(s.structure).kind == "bone"
    }
    if not levels:
        return structures
    centers = {s.structure: np.array(s.region.centroid_mm) for s in structures if s.structure in levels}
    whole = {s.structure for s in structures if s.structure in levels and not s.cut_by}
    bodies: dict[str, Body] = {}
    found: dict[str, list[Measurement]] = {n: [] for n in levels}
    missing: dict[str, list[Omission]] = {n: [] for n in levels}
    for name, level in levels.items():
        wanted = (*HEIGHTS, *LOSSES)
        if name not in whole:
            missing[name] += [Omission(q, name, CUT) for q in (*wanted, "trabecular_hu")]
            continue
        body, numbers, reason = measure_body(segmentation, name, _axis(centers, name), hu)
        found[name] += numbers
        missing[name] += reason
        if body is not None and level in JUDGED:
            bodies[level] = body
        elif level not in JUDGED:
            found[name] = [m for m in found[name] if m.quantity == "trabecular_hu"]
            missing[name] = [o for o in missing[name] if o.quantity == "trabecular_hu"]
            missing[name] += [Omission(q, name, HIGH) for q in wanted]
    for level, body in bodies.items():
        name = f"vertebrae_{level}"
        numbers, reason = height_losses(body, bodies)
        found[name] += numbers
        missing[name] += reason
    return tuple(
        replace(s, measurements=(*s.measurements, *found[s.structure]), omissions=(*s.omissions, *missing[s.structure]))
        if s.structure in levels
        else s
        for s in structures
    )


def _axis(centers: dict[str, np.ndarray], name: str) -> np.ndarray:
    """Unit vector up the spine at a vertebra: from the vertebra below to the one above; z when it stands alone."""
    order = sorted(centers, key=lambda n: centers[n][2])
    at = order.index(name)
    low, high = centers[order[max(at - 1, 0)]], centers[order[min(at + 1, len(order) - 1)]]
    axis = high - low
    length = float(np.linalg.norm(axis))
    return axis / length if length > 1 else np.array([0.0, 0.0, 1.0])


def measure_body(
    segmentation: Segmentation, name: str, up: np.ndarray, hu: np.ndarray | None
) -> tuple[Body | None, list[Measurement], list[Omission]]:
    """Heights of one vertebral body and the HU of its core; ``up`` (3,) is the axis of the spine there, RAS+."""
    from scipy.ndimage import distance_transform_edt

    box = segmentation.boxes[name].grown(2, segmentation.geometry.shape)
    mask = segmentation.mask_in_box(name, box)
    origin = segmentation.geometry.cropped(box)
    spacing = np.array(origin.spacing_mm)
    depth = distance_transform_edt(np.pad(mask, 1), sampling=spacing)[1:-1, 1:-1, 1:-1]
    deep = np.argwhere(depth >= 0.85 * depth.max())
    center = origin.to_world(deep.mean(axis=0))
    whole = origin.to_world(np.argwhere(mask).mean(axis=0))
    forward = center - whole  # the arch pulls the centroid of the whole vertebra backwards
    forward = forward - (forward @ up) * up
    if np.linalg.norm(forward) < 1.0:
        forward = np.array([0.0, 1.0, 0.0]) - up[1] * up
    forward = forward / np.linalg.norm(forward)
    field = smoothed(mask)
    level = name.removeprefix("vertebrae_")
    body, up = _body(field, origin, level, center, up, forward)
    if body is None:
        return None, [], [Omission(q, name, NO_BODY) for q in (*HEIGHTS, *LOSSES, "trabecular_hu")]
    blurred = _voxel_along(origin, forward) > MAX_VOXEL_MM
    numbers = [
        Measurement(
            f"{part}_height",
            body.heights[part],
            "along the axis of the spine, mid-sagittal strip",
            body.voxel_mm,
            name,
            body.ends_mm[part],
        )
        for part in ("anterior", "middle", "posterior")
        if not blurred
    ]
    missing = [Omission(q, name, COARSE) for q in (*HEIGHTS, *LOSSES)] if blurred else []
    kept = None if blurred else body
    if hu is None:
        return kept, numbers, [*missing, Omission("trabecular_hu", name, NO_CT)]
    values = _core(mask, depth, origin, body, up, forward, hu[box.slices])
    if values.size * origin.voxel_volume_mm3 / 1000 < MIN_CORE_ML:
        return kept, numbers, [*missing, Omission("trabecular_hu", name, SMALL_CORE)]
    error = float(values.std() / np.sqrt(values.size))
    core = Measurement("trabecular_hu", float(values.mean()), "mean of the core of the body", error, name)
    return kept, [*numbers, core], missing


def _body(
    field: np.ndarray, origin: Geometry, level: str, center: np.ndarray, up: np.ndarray, forward: np.ndarray
) -> tuple[Body | None, np.ndarray]:
    """The three heights, measured three times, each across the middle of the endplates that were found before: first
    well inside the body, where a tilted axis still meets both endplates."""
    body = None
    for inset in (0.22, 0.1, 0.0):
        across = np.cross(forward, up)
        front, back = (_reach(field, origin, center, sign * forward, across, up) for sign in (1.0, -1.0))
        if front is None or back is None or front + back < 8:
            return None, up
        depth = front + back
        heights, ends, tilts = {}, {}, []
        for part, place in _PLACES.items():
            share = place + inset * np.sign(0.5 - place)
            columns = _columns(origin, center, forward, across, (share * depth - back), _ALONG * depth)
            top, bottom = (_walls(field, origin, columns, sign * up) for sign in (1.0, -1.0))
            held = np.isfinite(top) & np.isfinite(bottom)
            if held.sum() < 3:
                return None, up
            high, low = float(np.median(top[held])), float(np.median(bottom[held]))
            at = center + forward * (share * depth - back)
            heights[part] = high + low
            ends[part] = (_point(at + up * high), _point(at - up * low))
            tilts.append((share * depth - back, (high - low) / 2))
        voxel = _voxel_along(origin, up)
        middle = center + forward * (front - back) / 2
        body = Body(level, heights, ends, depth, voxel, middle)
        # the middle of both endplates runs at a right angle to the body's own axis
        slope = (tilts[2][1] - tilts[0][1]) / (tilts[2][0] - tilts[0][0])
        turned = up - np.clip(slope, -0.5, 0.5) * forward
        up = turned / np.linalg.norm(turned)
        forward = forward - (forward @ up) * up
        forward = forward / np.linalg.norm(forward)
    return body, up


def _voxel_along(origin: Geometry, direction: np.ndarray) -> float:
    """Size of a voxel (mm) in a direction (3,)."""
    return 1 / float(np.linalg.norm((origin.directions.T @ direction) / np.array(origin.spacing_mm)))


def _point(place: np.ndarray) -> tuple[float, float, float]:
    return float(place[0]), float(place[1]), float(place[2])


def _columns(
    origin: Geometry, center: np.ndarray, forward: np.ndarray, across: np.ndarray, at_mm: float, half_mm: float
) -> np.ndarray:
    """(n, 3) points of a strip about a place on the mid-sagittal line, RAS+ mm."""
    sideways = np.linspace(-_ACROSS_MM, _ACROSS_MM, 9)
    along = at_mm + np.linspace(-half_mm, half_mm, 3)
    return np.asarray(center + (sideways[:, None, None] * across + along[None, :, None] * forward).reshape(-1, 3))


def _reach(
    field: np.ndarray, origin: Geometry, center: np.ndarray, direction: np.ndarray, across: np.ndarray, up: np.ndarray
) -> float | None:
    """Distance from the center to the front or back of the body: the median over a small patch of its middle."""
    patch = (np.linspace(-3, 3, 3)[:, None, None] * across + np.linspace(-2, 2, 3)[None, :, None] * up).reshape(-1, 3)
    found = _walls(field, origin, center + patch, direction)
    found = found[np.isfinite(found)]
    return float(np.median(found)) if found.size >= 5 else None


def _walls(field: np.ndarray, origin: Geometry, starts: np.ndarray, direction: np.ndarray) -> np.ndarray:
    """(n,) distance from points inside the mask to the first place outside; infinite from a point outside."""
    from scipy.ndimage import map_coordinates

    steps = np.arange(0.0, 45.0, _STEP_MM)
    places = origin.to_index(starts[:, None, :] + steps[None, :, None] * direction)  # (n, steps, 3)
    values = map_coordinates(field, places.transpose(2, 0, 1), order=1, mode="constant", cval=0.0)
    outside = values < 0.5
    at = outside.argmax(axis=1)
    row = np.arange(len(starts))
    inner, outer = values[row, np.maximum(at - 1, 0)], values[row, at]
    share = np.where(at > 0, (inner - 0.5) / np.maximum(inner - outer, 1e-6), 0.0)
    return np.where(outside.any(axis=1) & (at > 0), (at - 1 + share) * _STEP_MM, np.inf)


def _core(
    mask: np.ndarray,
    depth: np.ndarray,
    origin: Geometry,
    body: Body,
    up: np.ndarray,
    forward: np.ndarray,
    hu: np.ndarray,
) -> np.ndarray:
    """HU of the voxels of the body that lie at least ``CORE_DEPTH_MM`` inside the mask and near its middle."""
    index = np.argwhere(mask & (depth >= CORE_DEPTH_MM))
    if not len(index):
        return np.empty(0)
    away = origin.to_world(index) - body.middle_mm
    near = np.abs(away @ forward) <= body.depth_mm / 2 - CORE_DEPTH_MM
    near &= np.abs(away @ up) <= max(body.heights.values()) / 2
    near &= np.abs(away @ np.cross(forward, up)) <= body.depth_mm / 2
    return np.asarray(hu[tuple(index[near].T)], dtype=np.float64)


# -- loss of height --------------------------------------------------------------------


def normal_wedge(level: str) -> float:
    return NORMAL_WEDGE_DEGREES.get(level, NORMAL_WEDGE_DEGREES["T9"])


def height_losses(body: Body, bodies: dict[str, Body]) -> tuple[list[Measurement], list[Omission]]:
    """Percent that front, middle and back are lower than expected: wedge, biconcave and crush; never below 0."""
    name = f"vertebrae_{body.level}"
    near = _neighbors(body.level, bodies)
    expected = _expected_posterior(body.level, near)
    posterior = body.heights["posterior"]
    reference = posterior if expected is None else max(posterior, expected)
    own = [b.wedge_degrees - normal_wedge(b.level) for b in near]
    shift = float(np.clip(np.median(own), -_OWN_WEDGE_DEGREES, _OWN_WEDGE_DEGREES)) if len(own) >= 2 else 0.0
    fall = body.run_mm * np.tan(np.radians(normal_wedge(body.level) + shift))
    wanted = {
        "wedge_loss": ("anterior", reference - fall),
        "biconcave_loss": ("middle", reference - fall / 2),
        "crush_loss": ("posterior", expected),
    }
    numbers, missing = [], []
    for quantity, (part, height) in wanted.items():
        if height is None:
            missing.append(Omission(quantity, name, NO_NEIGHBOR))
            continue
        loss = max(0.0, 100 * (1 - body.heights[part] / float(height)))
        numbers.append(
            Measurement(
                quantity,
                loss,
                "against normal wedging and neighboring vertebrae" if near else "against normal wedging",
                100 * body.voxel_mm / float(height),
                name,
            )
        )
    return numbers, missing


def _neighbors(level: str, bodies: dict[str, Body]) -> list[Body]:
    """Up to two vertebrae above and two below, as far as they were measured."""
    at = ORDER.index(level)
    order = [n for n in ORDER if n in bodies or n == level]
    place = order.index(level)
    return [
        bodies[n]
        for n in (*order[max(0, place - 2) : place], *order[place + 1 : place + 3])
        if abs(ORDER.index(n) - at) <= 4
    ]


def _expected_posterior(level: str, near: list[Body]) -> float | None:
    """Posterior height from the nearest vertebra above and below (the mean of both), else from the one there is.

    Of two on one side the larger counts, so that a fractured neighbor does not hide a second fracture.
    """
    at = ORDER.index(level)
    sides = [[b.heights["posterior"] for b in near if (ORDER.index(b.level) < at) is above] for above in (True, False)]
    best = [max(s) for s in sides if s]
    return float(np.mean(best)) if best else None

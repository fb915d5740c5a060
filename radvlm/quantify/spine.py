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
from radvlm.quantify.endplates import BodyFrame, measure_endplates
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
#: Where the heights are taken, as shares of the body's depth from its back: off the rounded edges.
_PLACES = {"posterior": 0.2, "middle": 0.5, "anterior": 0.8}
#: How far the edges of the body lie beyond these places, as a share of their distance, and how much a parabola through
#: all three rises there, as a share of its bend between them.
_BEYOND = _PLACES["posterior"] / (_PLACES["anterior"] - _PLACES["posterior"])
_BEND_BEYOND = (1 + 2 * _BEYOND) ** 2 - 1
#: Two errors that are even within their bounds stay below this many times the root of their squares in 95 %: that of a
#: height. A loss rests on four and more, of which fewer are extreme at once.
_TWO_EVEN_ERRORS = 1.1
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
MASK_ENDS = "its mask ends before the scan does"
HIGH = "heights are measured from T4 down"
NO_NEIGHBOR = "no complete neighboring vertebra to compare with"
NO_CT = "no CT was given"
#: A voxel longer than this from front to back (mm) blurs the ends of the endplates, where a height is taken; and what
#: a length may differ by from rounding alone.
MAX_VOXEL_MM, _ROUNDING_MM = 3.0, 0.01
COARSE = "a voxel is longer than 3 mm from front to back"
SMALL_CORE = "the trabecular core is smaller than 0.5 mL on this grid"


@dataclass(frozen=True)
class Body:
    """One vertebral body: three heights with their errors and end points, and its depth, in mm."""

    level: str
    heights: dict[str, float]
    errors: dict[str, float]
    ends_mm: dict[str, tuple[tuple[float, float, float], tuple[float, float, float]]]
    depth_mm: float
    middle_mm: np.ndarray

    @property
    def wedge_degrees(self) -> float:
        """Angle between straight endplates; positive when the front is lower."""
        return float(np.degrees(np.arctan2(self.heights["posterior"] - self.heights["anterior"], self.run_mm)))

    @property
    def wedge_error_degrees(self) -> float:
        return float(np.degrees(np.hypot(self.errors["anterior"], self.errors["posterior"]) / self.run_mm))

    @property
    def edges_mm(self) -> dict[str, float]:
        """Heights at the very front and back, where grades are defined: along the line through those measured, and
        along a parabola as far as the endplates are surely hollow."""
        front, middle, back = (self.heights[p] for p in ("anterior", "middle", "posterior"))
        hollow = max(0.0, (front + back) / 2 - middle - self._bend_error_mm) * _BEND_BEYOND
        rise = _BEYOND * (back - front)
        return {"anterior": front - rise + hollow, "middle": middle, "posterior": back + rise + hollow}

    @property
    def edge_errors_mm(self) -> dict[str, float]:
        front, middle, back = (self.errors[p] for p in ("anterior", "middle", "posterior"))
        hollow = self.edges_mm["anterior"] + self.edges_mm["posterior"] > sum(
            self.heights[p] for p in ("anterior", "posterior")
        )
        bend = _BEND_BEYOND * self._bend_error_mm if hollow else 0.0
        return {
            "anterior": float(np.hypot.reduce([(1 + _BEYOND) * front, _BEYOND * back, bend])),
            "middle": middle,
            "posterior": float(np.hypot.reduce([(1 + _BEYOND) * back, _BEYOND * front, bend])),
        }

    @property
    def _bend_error_mm(self) -> float:
        return float(
            np.hypot.reduce([self.errors["middle"], self.errors["anterior"] / 2, self.errors["posterior"] / 2])
        )

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
    ended = {name for name in whole if segmentation.end_faces(name)}
    bodies: dict[str, Body] = {}
    found: dict[str, list[Measurement]] = {n: [] for n in levels}
    missing: dict[str, list[Omission]] = {n: [] for n in levels}
    for name, level in levels.items():
        wanted = (*HEIGHTS, *LOSSES)
        if name not in whole or name in ended:
            reason_of_all = MASK_ENDS if name in ended else CUT
            missing[name] += [Omission(q, name, reason_of_all) for q in (*wanted, "trabecular_hu")]
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
    if body is not None:
        body, forward = _refined(mask, origin, body, up, forward)
    if body is None:
        return None, [], [Omission(q, name, NO_BODY) for q in (*HEIGHTS, *LOSSES, "trabecular_hu")]
    blurred = _voxel_along(origin, forward) > MAX_VOXEL_MM + _ROUNDING_MM
    numbers = [
        Measurement(
            f"{part}_height",
            body.heights[part],
            "along the axis of the body, between the endplates of a mid-sagittal strip",
            _TWO_EVEN_ERRORS * body.errors[part],
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
        body = Body(level, heights, dict.fromkeys(heights, voxel), ends, depth, middle)
        # the middle of both endplates runs at a right angle to the body's own axis
        slope = (tilts[2][1] - tilts[0][1]) / (tilts[2][0] - tilts[0][0])
        turned = up - np.clip(slope, -0.5, 0.5) * forward
        up = turned / np.linalg.norm(turned)
        forward = forward - (forward @ up) * up
        forward = forward / np.linalg.norm(forward)
    return body, up


def _refined(
    mask: np.ndarray, origin: Geometry, body: Body, up: np.ndarray, forward: np.ndarray
) -> tuple[Body, np.ndarray]:
    """The body with heights from all columns between its endplates, and the axis to its front; as it is without them.

    The error of a height is the root of squares of those of both endplates and of the place where it is taken (half a
    voxel of depth where the heights slope).
    """
    forward = forward - (forward @ up) * up
    forward = forward / np.linalg.norm(forward)
    frame = BodyFrame(body.middle_mm, up, forward, body.depth_mm / 2)
    plates = measure_endplates(mask, origin, frame, tuple(_PLACES.values()))
    if plates is None:
        return body, forward
    upper, lower = plates
    heights = {p: upper.distance_mm[n] + lower.distance_mm[n] for n, p in enumerate(_PLACES)}
    slope = max(abs(heights["posterior"] - heights["middle"]), abs(heights["middle"] - heights["anterior"]))
    misplaced = slope / (body.run_mm / 2) * _voxel_along(origin, forward) / 2
    errors = {
        p: float(np.hypot.reduce([upper.error_mm[n], lower.error_mm[n], misplaced])) for n, p in enumerate(_PLACES)
    }
    ends = {}
    for n, (part, share) in enumerate(_PLACES.items()):
        at = body.middle_mm + forward * (share - 0.5) * body.depth_mm
        ends[part] = (_point(at + up * upper.distance_mm[n]), _point(at - up * lower.distance_mm[n]))
    if min(heights.values()) <= 0:
        return body, forward
    return replace(body, heights=heights, errors=errors, ends_mm=ends), forward


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
    """Percent that front, middle and back are lower than expected: wedge, biconcave and crush; never below 0.

    Front and back are those of the edges of the body. The error holds those of the height and of what is expected.
    """
    name = f"vertebrae_{body.level}"
    near = _neighbors(body.level, bodies)
    expected, expected_error = _expected_posterior(body.level, near)
    heights, errors = body.edges_mm, body.edge_errors_mm
    back, back_error = heights["posterior"], errors["posterior"]
    if expected is not None and expected > back:
        back, back_error = expected, expected_error
    shift, shift_error = _own_wedging(near)
    fall = body.depth_mm * np.tan(np.radians(normal_wedge(body.level) + shift))
    fall_error = body.depth_mm * float(np.radians(shift_error))
    wanted = {
        "wedge_loss": ("anterior", back - fall, np.hypot(back_error, fall_error)),
        "biconcave_loss": ("middle", back - fall / 2, np.hypot(back_error, fall_error / 2)),
        "crush_loss": ("posterior", expected, expected_error),
    }
    numbers, missing = [], []
    for quantity, (part, height, height_error) in wanted.items():
        if height is None:
            missing.append(Omission(quantity, name, NO_NEIGHBOR))
            continue
        left = heights[part] / float(height)
        numbers.append(
            Measurement(
                quantity,
                max(0.0, 100 * (1 - left)),
                "against normal wedging and neighboring vertebrae" if near else "against normal wedging",
                100 * float(np.hypot(errors[part], left * height_error)) / float(height),
                name,
            )
        )
    return numbers, missing


def _own_wedging(near: list[Body]) -> tuple[float, float]:
    """Degrees by which this patient's vertebrae are wedged more than the norm, and its error.

    It counts as far as the grid shows it: where its error is as large as patients differ, half of it.
    """
    if len(near) < 2:
        return 0.0, 0.0
    own = float(np.median([b.wedge_degrees - normal_wedge(b.level) for b in near]))
    error = float(np.hypot.reduce([b.wedge_error_degrees for b in near])) / len(near)
    weight = _OWN_WEDGE_DEGREES**2 / (_OWN_WEDGE_DEGREES**2 + error**2)
    return float(np.clip(weight * own, -_OWN_WEDGE_DEGREES, _OWN_WEDGE_DEGREES)), weight * error


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


def _expected_posterior(level: str, near: list[Body]) -> tuple[float | None, float]:
    """Posterior height from the nearest vertebra above and below (the mean of both), else from the one there is, and
    its error.

    Of two on one side the larger counts, so that a fractured neighbor does not hide a second fracture.
    """
    at = ORDER.index(level)
    sides = [[b for b in near if (ORDER.index(b.level) < at) is above] for above in (True, False)]
    best = [max(s, key=lambda b: b.edges_mm["posterior"]) for s in sides if s]
    if not best:
        return None, 0.0
    error = float(np.hypot.reduce([b.edge_errors_mm["posterior"] for b in best])) / len(best)
    return float(np.mean([b.edges_mm["posterior"] for b in best])), error

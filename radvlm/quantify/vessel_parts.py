"""Largest diameter, area and length of the named parts of vessels: aorta, pulmonary artery, portal vein, vena cava.

Parts are found from the course of the center line and from neighbors that are in the masks (vertebrae, renal
arteries, branches of the arch, heart); what cannot be told apart is an omission with its reason, not a guess.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from radvlm.quantify.centerline import Branch, center_lines, smoothed
from radvlm.quantify.vessel import (
    MAX_RATIO,
    METHOD,
    NO_ROUND,
    STEP_MM,
    TOO_SHORT,
    TUBES,
    Section,
    measure_diameter,
    sections_along,
    vessel_sections,
)
from radvlm.quantify.vessel_ball import vessel_depths, wider_ball
from radvlm.types.anatomy import structure
from radvlm.types.geometry import Geometry
from radvlm.types.measurement import AORTA_PARTS, PORTAL_PARTS, PULMONARY_PARTS, VESSEL_BALL, Measurement, Omission
from radvlm.types.provenance import Decision
from radvlm.types.scan_measurements import NOT_IMAGED, StructureMeasurements
from radvlm.types.segmentation import Segmentation
from radvlm.types.spinal_level import spinal_part

#: A vein is flat: its sections may be this many times as long as wide.
VEIN_RATIO = 3.0
#: A limb of the aorta must fall this far from its top on both sides for the top to be an arch (mm).
ARCH_FALL_MM = 20.0
#: An aorta as wide is dilated whatever its part (mm; the largest of their limits, rule ascending_aorta_diameter).
DILATED_ANYWHERE_MM = 40.0
#: The diameter of the pulmonary trunk is that of the last part before its fork (mm; Truong QA et al. Circ Cardiovasc
#: Imaging 2012;5:147-154: at the level of the bifurcation).
FORK_MM = 12.0
FORK_METHOD = f"{METHOD}, beside the bifurcation"
AREA_METHOD = "area of the widest section perpendicular to the center line"
LENGTH_METHOD = "imaged part along the center line"
_SAC = "{part} of {name}, {value:.0f} mm, is that of the largest ball inside: no section there is round, as in a sac."
NO_SPINE = "no vertebrae are in the masks, so the parts of the aorta cannot be told apart"
FAR_FROM_SPINE = "no vertebra in the masks is near, so the parts of the aorta cannot be told apart"
NO_RENAL = "neither renal arteries, L1 and L2 nor kidneys are in the masks, so the renal level is not known"
NO_MIDLINE = "neither superior mesenteric artery nor vertebrae are in the masks, so the confluence is not known"


@dataclass(frozen=True)
class Parts:
    """Numbers of the parts of one vessel, and what could not be measured."""

    measurements: tuple[Measurement, ...] = ()
    omissions: tuple[Omission, ...] = ()


def with_vessels(
    segmentation: Segmentation, structures: tuple[StructureMeasurements, ...]
) -> tuple[tuple[StructureMeasurements, ...], list[Decision]]:
    """The records with diameters, areas and lengths of vessels; of the aorta ``diameter`` is the abdominal one, where
    the vertebrae tell."""
    heights = {
        s.structure: s.region.centroid_mm[2]
        for s in structures
        if s.structure.startswith("vertebrae_") and structure(s.structure).kind == "bone"
    }

    def is_abdominal(height_mm: float) -> bool:
        return spinal_part(heights, height_mm) == "abdominal"

    kept, decisions = [], []
    for record in structures:
        name = record.structure
        numbers, missing = list(record.measurements), list(record.omissions)
        cuts = vessel_sections(segmentation, name) if name in TUBES else None
        if cuts is not None and name == "aorta" and not heights:
            for untold in _diameters_without_spine(segmentation, cuts):
                (missing if isinstance(untold, Omission) else numbers).append(untold)  # type: ignore[arg-type]
        elif cuts is not None:
            wanted = is_abdominal if name == "aorta" else None
            found, note = measure_diameter(segmentation, name, wanted, cuts)
            if isinstance(found, Measurement):
                found = _or_ball(segmentation, name, cuts[0], wanted, found)
            (missing if isinstance(found, Omission) else numbers).append(found)  # type: ignore[arg-type]
            if note:
                decisions.append(Decision("diameter", note))
        if cuts is not None and whole_length(cuts[0]) > 0:
            numbers.append(Measurement("length", whole_length(cuts[0]), LENGTH_METHOD, STEP_MM, name))
        parts = measure_parts(segmentation, name, cuts)
        numbers += parts.measurements
        missing += parts.omissions
        balls = [m for m in numbers if m.method == VESSEL_BALL]
        decisions += [Decision("diameter", _SAC.format(name=name, part=m.quantity, value=m.value)) for m in balls]
        kept.append(replace(record, measurements=tuple(numbers), omissions=tuple(missing)))
    return tuple(kept), decisions


def _diameters_without_spine(
    segmentation: Segmentation, cuts: tuple[list[Section], str]
) -> list[Measurement | Omission]:
    """Of an aorta beside no vertebra: that of the sections level with whole kidneys or below, which are abdominal, and
    that of all others that are not told apart, where there is none or where it is dilated whatever its part."""
    sections, reason = cuts
    kidneys = _kidney_height(segmentation)
    below = _limbs(segmentation, sections, {})[1]
    low = [s for s in below if kidneys is not None and s.center_mm[2] <= kidneys]
    rest = [s for s in below if s not in low]
    found: list[Measurement | Omission] = []
    for held in (low, rest):
        kept = {s.center_mm for s in held}
        number = (
            measure_diameter(segmentation, "aorta", None, (held, reason))[0] if any(s.is_round for s in held) else None
        )
        if isinstance(number, Measurement):
            near = [n for n, s in enumerate(sections) if s.center_mm in kept]
            number = (
                wider_ball(segmentation, "aorta", vessel_depths(segmentation, "aorta", sections), near, number)
                or number
            )
        found.append(number or Omission("diameter", "aorta", NO_SPINE if sections else reason))
    abdominal, whole = found
    if isinstance(whole, Measurement) and (isinstance(abdominal, Omission) or whole.value >= DILATED_ANYWHERE_MM):
        return [abdominal, replace(whole, quantity="whole_diameter")]
    return [abdominal]


def _or_ball(
    segmentation: Segmentation,
    name: str,
    sections: Sequence[Section],
    is_wanted: Callable[[float], bool] | None,
    found: Measurement,
) -> Measurement:
    """The diameter; that of the largest ball near the wanted sections where it is wider than every round section."""
    held = [n for n, s in enumerate(sections) if is_wanted is None or is_wanted(s.height_mm)]
    if not any(sections[n].is_round for n in held):
        held = list(range(len(sections)))  # as ``measure_diameter``
    return wider_ball(segmentation, name, vessel_depths(segmentation, name, sections), held, found) or found


def measure_parts(segmentation: Segmentation, name: str, cuts: tuple[list[Section], str] | None = None) -> Parts:
    """Parts of a vessel; empty for a vessel that has none. For the vena cava its widest section."""
    if name == "aorta":
        return aorta_parts(segmentation, cuts)
    if name == "pulmonary_artery":
        return _tree_parts(segmentation, name, PULMONARY_PARTS)
    if name == "portal_vein_and_splenic_vein":
        return _tree_parts(segmentation, name, PORTAL_PARTS)
    if name in ("inferior_vena_cava", "portal_vein"):
        sections, reason = vessel_sections(segmentation, name)
        return _widest(name, "", sections, VEIN_RATIO, reason)
    return Parts()


def whole_length(sections: Sequence[Section]) -> float:
    """Length (mm) of the center line between the outermost sections, every piece of the vessel added."""
    pieces: dict[int, list[float]] = {}
    for section in sections:
        pieces.setdefault(section.piece, []).append(section.along_mm)
    return float(sum(max(along) - min(along) for along in pieces.values()))


def _widest(name: str, part: str, sections: Sequence[Section], ratio: float, reason: str) -> Parts:
    """Diameter and area of the widest section that is no branching, and the imaged length."""
    prefix = f"{part}_" if part else ""
    kept = [s for s in sections if s.largest_mm <= ratio * s.smallest_mm]
    if not kept:
        why = NO_ROUND if sections else reason
        return Parts((), tuple(Omission(f"{prefix}{q}", name, why) for q in ("diameter", "area", "length")))
    widest = max(kept, key=lambda s: s.largest_mm)
    area = max(kept, key=lambda s: s.area_mm2)
    rim = area.voxel_mm * np.pi * (area.largest_mm + area.smallest_mm) / 4  # the outline moved by half a voxel
    found = [
        Measurement(f"{prefix}diameter", widest.largest_mm, METHOD, widest.voxel_mm, name, widest.ends_mm),
        Measurement(f"{prefix}area", area.area_mm2, AREA_METHOD, float(rim), name),
    ]
    length = whole_length(sections)
    if length <= 0:
        return Parts(tuple(found), (Omission(f"{prefix}length", name, TOO_SHORT),))
    return Parts((*found, Measurement(f"{prefix}length", length, LENGTH_METHOD, STEP_MM, name)))


def _at_fork(trunk: Parts, sections: Sequence[Section]) -> Parts:
    """The pulmonary trunk with the diameter beside its bifurcation, where the limits of 27 and 29 mm were found."""
    last = max((s.along_mm for s in sections), default=0.0)
    near = _widest(
        "pulmonary_artery", "trunk", [s for s in sections if s.along_mm >= last - FORK_MM], VEIN_RATIO / 2, ""
    )
    beside = next((m for m in near.measurements if m.quantity == "trunk_diameter"), None)
    if beside is None:
        return trunk
    beside = replace(beside, method=FORK_METHOD)
    return replace(trunk, measurements=(beside, *(m for m in trunk.measurements if m.quantity != beside.quantity)))


def _joined(parts: Sequence[Parts]) -> Parts:
    return Parts(tuple(m for p in parts for m in p.measurements), tuple(o for p in parts for o in p.omissions))


# -- aorta ------------------------------------------------------------------------------------------------------------


def aorta_parts(segmentation: Segmentation, cuts: tuple[list[Section], str] | None = None) -> Parts:
    """Ascending, arch, descending, suprarenal and infrarenal aorta, as far as they are imaged."""
    sections, reason = cuts = vessel_sections(segmentation, "aorta") if cuts is None else cuts
    if not sections:
        return _joined([_widest("aorta", part, [], MAX_RATIO, reason) for part in AORTA_PARTS])
    held, reasons = aorta_part_sections(segmentation, cuts)
    number = {id(s): n for n, s in enumerate(sections)}
    depths = vessel_depths(segmentation, "aorta", sections)
    parts = []
    for part in AORTA_PARTS:
        found = _widest("aorta", part, held[part], MAX_RATIO, reasons[part])
        widest = next((m for m in found.measurements if m.quantity.endswith("_diameter")), None)
        if widest is not None:
            near = [number[id(s)] for s in held[part]]
            ball = wider_ball(segmentation, "aorta", depths, near, widest) or widest
            found = replace(found, measurements=tuple(ball if m is widest else m for m in found.measurements))
        parts.append(found)
    return _joined(parts)


def aorta_part_sections(
    segmentation: Segmentation, cuts: tuple[list[Section], str]
) -> tuple[dict[str, list[Section]], dict[str, str]]:
    """Sections of each part of the aorta, and why a part has none."""
    sections = cuts[0]
    heights = spine_points(segmentation)
    held: dict[str, list[Section]] = {part: [] for part in AORTA_PARTS}
    thorax, below = _limbs(segmentation, sections, heights)
    for part, found in thorax.items():
        held[part] += found
    reasons = dict.fromkeys(AORTA_PARTS, NOT_IMAGED)
    renal = _renal_height(segmentation, heights)
    if not heights:
        reasons.update(dict.fromkeys(("descending", "suprarenal", "infrarenal"), NO_SPINE))
        below = []
    for section in below:
        part = spinal_part({n: point[2] for n, point in heights.items()}, section.center_mm[2])
        if part == "thoracic":
            held["descending"].append(section)
        elif not part:
            reasons.update(dict.fromkeys(("descending", "suprarenal", "infrarenal"), FAR_FROM_SPINE))
        elif renal is not None:
            held["suprarenal" if section.center_mm[2] >= renal else "infrarenal"].append(section)
        else:
            reasons.update(dict.fromkeys(("suprarenal", "infrarenal"), NO_RENAL))
    return held, reasons


def spine_points(segmentation: Segmentation) -> dict[str, np.ndarray]:
    """Vertebra -> center of its box in RAS+ mm."""
    found = {}
    for name in segmentation.present:
        if name.startswith("vertebrae_") and structure(name).kind == "bone":
            box = segmentation.boxes[name]
            middle = [(a + b - 1) / 2 for a, b in zip(box.start, box.stop, strict=True)]
            found[name] = segmentation.geometry.to_world(middle)
    return found


def _limbs(
    segmentation: Segmentation, sections: Sequence[Section], heights: dict[str, np.ndarray]
) -> tuple[dict[str, list[Section]], list[Section]]:
    """Sections of ascending aorta and arch, and all the others (descending and abdominal)."""
    upper: dict[str, list[Section]] = {"ascending": [], "arch": []}
    others: list[Section] = []
    pieces: dict[int, list[Section]] = {}
    for section in sections:
        pieces.setdefault(section.piece, []).append(section)
    for run in pieces.values():
        run.sort(key=lambda s: s.along_mm)
        points = np.array([s.center_mm for s in run])
        top = int(points[:, 2].argmax())
        fall = points[top, 2] - points[[0, -1], 2]
        if len(run) >= 5 and (fall > ARCH_FALL_MM).all():
            if points[0, 1] < points[-1, 1]:  # the ascending aorta starts in front
                run, points, top = run[::-1], points[::-1], len(run) - 1 - top
            low, high = _arch_ends(segmentation, points, top)
            upper["ascending"] += run[:low]
            upper["arch"] += run[low : high + 1]
            others += run[high + 1 :]
        elif len(pieces) > 1 and _is_in_front(run, pieces, heights):
            upper["ascending"] += run
        else:
            others += run
    return upper, others


def _arch_ends(segmentation: Segmentation, points: np.ndarray, top: int) -> tuple[int, int]:
    """First and last section of the arch: at its first and last branch, else where the line is nearer to level."""
    steps = np.gradient(points, axis=0)
    level = np.abs(steps[:, 2]) < np.linalg.norm(steps, axis=1) * np.sqrt(0.5)
    low = high = top
    while low > 0 and level[low - 1]:
        low -= 1
    while high + 1 < len(points) and level[high + 1]:
        high += 1
    for name, first in (("brachiocephalic_trunk", True), ("subclavian_artery_left", False)):
        if name in segmentation.places:
            at = int(np.linalg.norm(points - _lowest_point(segmentation, name), axis=1).argmin())
            low, high = (min(at, top), high) if first else (low, max(at, top))
    return low, high


def _lowest_point(segmentation: Segmentation, name: str) -> np.ndarray:
    """Center of the lowest slice of a structure in RAS+ mm: where a branch of the arch leaves it."""
    box = segmentation.boxes[name]
    plane = np.argwhere(segmentation.mask_in_box(name)[:, :, 0]).mean(axis=0)
    return segmentation.geometry.to_world([plane[0] + box.start[0], plane[1] + box.start[1], box.start[2]])


def _is_in_front(run: list[Section], pieces: dict[int, list[Section]], heights: dict[str, np.ndarray]) -> bool:
    """Whether a piece lies well in front of another one at the same height: the ascending beside the descending."""
    points = np.array([s.center_mm for s in run])
    for other in pieces.values():
        if other is run:
            continue
        theirs = np.array([s.center_mm for s in other])
        shared = (theirs[:, 2] > points[:, 2].min() - 10) & (theirs[:, 2] < points[:, 2].max() + 10)
        if shared.any() and points[:, 1].mean() > theirs[shared, 1].mean() + 20:
            return True
    return False


def _renal_height(segmentation: Segmentation, heights: dict[str, np.ndarray]) -> float | None:
    """Height (mm) of the renal arteries: their own, else between L1 and L2, else the middle of the kidneys."""
    if "renal_arteries" in segmentation.places:
        return float(_middle(segmentation, "renal_arteries")[2])
    if {"vertebrae_L1", "vertebrae_L2"} <= set(heights):
        return float((heights["vertebrae_L1"][2] + heights["vertebrae_L2"][2]) / 2)
    return _kidney_height(segmentation)


def _kidney_height(segmentation: Segmentation) -> float | None:
    """Height (mm) of the middle of the kidneys that are whole."""
    whole = [
        n
        for n in ("kidney_right", "kidney_left")
        if n in segmentation.places and not {"inferior", "superior"} & set(segmentation.cut_faces(n))
    ]
    return float(np.mean([_middle(segmentation, n)[2] for n in whole])) if whole else None


def _middle(segmentation: Segmentation, name: str) -> np.ndarray:
    box = segmentation.boxes[name]
    return segmentation.geometry.to_world([(a + b - 1) / 2 for a, b in zip(box.start, box.stop, strict=True)])


# -- vessels that branch ------------------------------------------------------------------


def _tree_parts(segmentation: Segmentation, name: str, parts: Sequence[str]) -> Parts:
    """Trunk and main branches of the pulmonary artery, or the portal and the splenic part of one venous mask."""
    box = segmentation.boxes[name].grown(2, segmentation.geometry.shape)
    field = smoothed(segmentation.mask_in_box(name, box))
    spacing = np.array(segmentation.geometry.spacing_mm)
    origin = segmentation.geometry.cropped(box)
    # the pulmonary trunk starts at its lowest point, at the right ventricle
    root = _lowest_point(segmentation, name) if name == "pulmonary_artery" else None
    near = None if root is None else origin.to_index(root) * spacing
    branches = center_lines(field, spacing, near, min_branch_mm=12.0)
    if not branches:
        return _joined([_widest(name, part, [], 0.0, TOO_SHORT) for part in parts])
    runs = (
        _pulmonary_runs(branches, origin, spacing)
        if name == "pulmonary_artery"
        else [(b.points_mm, b.radius_mm) for b in branches]
    )
    sections = [
        s
        for n, (line, radius) in enumerate(runs)
        for s in sections_along(field, segmentation, box, line, radius, piece=n)
    ]
    if name == "pulmonary_artery":
        held = {part: [s for s in sections if s.piece == n] for n, part in enumerate(parts)}
        found = [_widest(name, part, held[part], VEIN_RATIO / 2, NOT_IMAGED) for part in parts]
        return _joined([_at_fork(found[0], held["trunk"]), *found[1:]])
    middle = portal_midline(segmentation)
    if middle is None:
        return _joined([_widest(name, part, [], VEIN_RATIO, NO_MIDLINE) for part in parts])
    right = [s for s in sections if s.center_mm[0] > middle]
    left = [s for s in sections if s.center_mm[0] <= middle]
    return _joined(
        [
            _widest(name, part, held_part, MAX_RATIO, NOT_IMAGED)
            for part, held_part in zip(parts, (right, left), strict=True)
        ]
    )


def _pulmonary_runs(
    branches: list[Branch], origin: Geometry, spacing: np.ndarray
) -> list[tuple[np.ndarray, np.ndarray]]:
    """Lines of trunk, right and left branch; an empty line where there is none."""
    empty = (np.empty((0, 3)), np.empty(0))
    main = branches[0]
    children = sorted((b for b in branches[1:] if b.parent == 0), key=lambda b: -b.length_mm)
    if not children:
        return [(main.points_mm, main.radius_mm), empty, empty]
    child = children[0]
    cut = int(np.searchsorted(main.along_mm, child.leaves_at_mm))
    off = int(main.radius_mm[min(cut, len(main.radius_mm) - 1)])  # a radius, 1 mm a point: the fork is no tube
    trunk = (main.points_mm[: max(cut - off, 0)], main.radius_mm[: max(cut - off, 0)])
    rest = (main.points_mm[cut + off :], main.radius_mm[cut + off :])
    other = (child.points_mm[off:], child.radius_mm[off:])
    tips = [origin.to_world(run[0][-1] / spacing)[0] if len(run[0]) else -np.inf for run in (rest, other)]
    right, left = (rest, other) if tips[0] > tips[1] else (other, rest)
    return [trunk, right, left]


def portal_midline(segmentation: Segmentation) -> float | None:
    """x (mm) between the portal and the splenic vein: the superior mesenteric artery, else the vertebrae."""
    if "superior_mesenteric_artery" in segmentation.places:
        return float(_middle(segmentation, "superior_mesenteric_artery")[0])
    spine = spine_points(segmentation)
    return float(np.mean([p[0] for p in spine.values()])) if spine else None

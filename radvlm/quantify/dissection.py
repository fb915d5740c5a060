"""A dissected aorta, from masks of its true and its false lumen: how far it reaches, and how wide the false lumen is.

Both lumens together (with the mask of the aorta, where there is one) are the vessel whose center line and parts are
those of ``vessel_parts``; a section of it is dissected where the false lumen holds a share of the voxels next to it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from radvlm.quantify.vessel import MAX_RATIO, METHOD, STEP_MM, Section, vessel_sections
from radvlm.quantify.vessel_ball import Depths, vessel_depths, wider_ball
from radvlm.quantify.vessel_parts import aorta_part_sections
from radvlm.types.anatomy import AORTIC_LUMENS, structure
from radvlm.types.measurement import AORTA_PARTS, Measurement, Omission
from radvlm.types.scan_measurements import NOT_IMAGED, StructureMeasurements
from radvlm.types.segmentation import LabelPlace, Segmentation

TRUE_LUMEN, FALSE_LUMEN = AORTIC_LUMENS
#: Smallest share of the false lumen among the voxels next to a section that is dissected.
_SHARE = 0.05
#: Of more voxels than this a sample is assigned to the sections.
_VOXELS = 100_000
#: Pieces of the false lumen with more height between them (mm: a vertebra) are told apart.
_GAP_MM = 30.0
_LENGTH = "dissected sections of the center line of both lumens"
_WIDTH = "diameter of the largest sphere inside"
#: What tells the parts of the aorta apart.
_LANDMARKS = ("renal_arteries", "kidney_right", "kidney_left", "brachiocephalic_trunk", "subclavian_artery_left")


def with_dissection(
    segmentation: Segmentation, structures: tuple[StructureMeasurements, ...]
) -> tuple[StructureMeasurements, ...]:
    """The records, that of the false lumen with its width, the dissected length of the aorta and of each part, the
    largest diameter of both lumens together where it is dissected, and that of the whole aorta where it lies elsewhere.
    """
    if not any(record.structure == FALSE_LUMEN for record in structures):
        return structures
    numbers, missing = _numbers(segmentation)
    return tuple(
        replace(record, measurements=(*record.measurements, *numbers), omissions=(*record.omissions, *missing))
        if record.structure == FALSE_LUMEN
        else record
        for record in structures
    )


def _numbers(segmentation: Segmentation) -> tuple[list[Measurement], list[Omission]]:
    both = _both_lumens(segmentation)
    cuts = vessel_sections(both, "aorta")
    sections, reason = cuts
    numbers = [_width_of_false_lumen(segmentation)]
    if not sections:
        wanted = ("length", "diameter", *(f"{part}_length" for part in AORTA_PARTS))
        return numbers, [Omission(quantity, FALSE_LUMEN, reason) for quantity in wanted]
    dissected = {id(s) for s, share in zip(sections, _shares(segmentation, both, sections), strict=True) if share}
    along = _length("length", sections, dissected)
    slices = np.count_nonzero(segmentation.mask_in_box(FALSE_LUMEN).any(axis=(0, 1)))  # not the gap between two pieces
    height = float(slices) * segmentation.geometry.spacing_mm[2]  # the center line is at least as long
    numbers.append(replace(along, value=max(along.value, height), points_mm=_ends_of_pieces(segmentation)))
    missing = []
    round_ones = [s for s in sections if s.largest_mm <= MAX_RATIO * s.smallest_mm]
    widest = max((s for s in round_ones if id(s) in dissected), key=_width, default=None)
    overall = max(round_ones, key=_width, default=None)
    near = [n for n, s in enumerate(sections) if id(s) in dissected]
    depths = vessel_depths(both, "aorta", sections if round_ones else ())
    own = None if widest is None else _or_ball(both, depths, near, _diameter("diameter", widest))
    if own is None:
        missing.append(Omission("diameter", FALSE_LUMEN, "no section of both lumens is round enough to be a diameter"))
    else:
        numbers.append(own)
    if overall is not None:
        number = _or_ball(both, depths, range(len(sections)), _diameter("whole_diameter", overall))
        if own is None or number.value > own.value:
            numbers.append(number)
    held, reasons = aorta_part_sections(both, cuts)
    for part in AORTA_PARTS:
        if held[part]:
            numbers.append(_length(f"{part}_length", held[part], dissected))
        else:
            missing.append(Omission(f"{part}_length", FALSE_LUMEN, reasons.get(part, NOT_IMAGED)))
    return numbers, missing


def _diameter(quantity: str, section: Section) -> Measurement:
    return Measurement(quantity, section.largest_mm, METHOD, section.voxel_mm, FALSE_LUMEN, section.ends_mm)


def _or_ball(both: Segmentation, depths: Depths, near: Sequence[int], found: Measurement) -> Measurement:
    """The diameter, or that of the largest ball in both lumens near some sections where it is wider than those."""
    ball = wider_ball(both, "aorta", depths, near, found)
    return found if ball is None else replace(ball, region_id=FALSE_LUMEN)


def _ends_of_pieces(segmentation: Segmentation) -> tuple[tuple[float, float, float], ...]:
    """Lower and upper end of each piece of the false lumen, where ``_GAP_MM`` of height lies between two; else ()."""
    box, geometry = segmentation.boxes[FALSE_LUMEN], segmentation.geometry
    held = np.flatnonzero(segmentation.mask_in_box(FALSE_LUMEN).any(axis=(0, 1))) + box.start[2]
    apart = np.flatnonzero(np.diff(held) * geometry.spacing_mm[2] > _GAP_MM)
    if not len(apart):
        return ()
    i, j = ((a + b - 1) / 2 for a, b in zip(box.start[:2], box.stop[:2], strict=True))
    runs = [(run[0], run[-1]) for run in np.split(held, apart + 1)]
    points = geometry.to_world(np.array([(i, j, k) for run in runs for k in run], dtype=float))
    return tuple((float(x), float(y), float(z)) for x, y, z in points)


def _width(section: Section) -> float:
    return section.largest_mm


def _length(quantity: str, sections: Sequence[Section], dissected: set[int]) -> Measurement:
    """0 is a length: that of a part which is imaged and not dissected."""
    return Measurement(quantity, STEP_MM * sum(id(s) in dissected for s in sections), _LENGTH, STEP_MM, FALSE_LUMEN)


def _width_of_false_lumen(segmentation: Segmentation) -> Measurement:
    from scipy.ndimage import distance_transform_edt

    spacing = segmentation.geometry.spacing_mm
    box = segmentation.boxes[FALSE_LUMEN].grown(1, segmentation.geometry.shape)
    depth = distance_transform_edt(segmentation.mask_in_box(FALSE_LUMEN, box), sampling=spacing)
    wide = max(2 * float(depth.max()) - min(spacing), min(spacing))
    return Measurement("width", wide, _WIDTH, max(spacing), FALSE_LUMEN)


def _both_lumens(segmentation: Segmentation) -> Segmentation:
    """Masks of the whole vessel as "aorta", and of what tells its parts apart."""
    layer = np.zeros(segmentation.geometry.shape, dtype=np.uint8)
    places = {}
    marks = [
        n
        for n in segmentation.places
        if n in _LANDMARKS or (n.startswith("vertebrae_") and structure(n).kind == "bone" and n != "vertebrae")
    ]
    for label, name in enumerate(marks, 2):
        _paint(layer, segmentation, name, label)
        places[name] = LabelPlace(0, label)
    for name in ("aorta", TRUE_LUMEN, FALSE_LUMEN):
        if name in segmentation.places:
            _paint(layer, segmentation, name, 1)
    places["aorta"] = LabelPlace(0, 1)
    held = {int(v) for v in np.unique(layer)}
    places = {name: place for name, place in places.items() if place.label in held}
    return Segmentation((layer,), places, frozenset(places), segmentation.geometry)


def _paint(layer: np.ndarray, segmentation: Segmentation, name: str, label: int) -> None:
    layer[segmentation.boxes[name].slices][segmentation.mask_in_box(name)] = label


def _shares(segmentation: Segmentation, both: Segmentation, sections: Sequence[Section]) -> list[bool]:
    """Of each section, whether the false lumen holds a share of the voxels of the vessel that are nearest to it."""
    from scipy.spatial import cKDTree

    box = both.boxes["aorta"]
    where = np.argwhere(both.mask_in_box("aorta"))
    where = where[:: len(where) // _VOXELS + 1]
    false = segmentation.mask_in_box(FALSE_LUMEN, box)[tuple(where.T)]
    points = segmentation.geometry.to_world(where + np.array(box.start))
    _, nearest = cKDTree(np.array([s.center_mm for s in sections])).query(points)
    inside = np.bincount(nearest[false], minlength=len(sections))
    return list(inside > _SHARE * np.maximum(np.bincount(nearest, minlength=len(sections)), 1))

"""Diseases and devices that masks name, and that are neither a lesion nor fluid: a dissected aorta, implants, stents.

Their finding says what it is in ``headline`` (``left hip implant``), so that the mask of a disease is never merely
"included in the scan".
"""

from __future__ import annotations

from dataclasses import replace

from radvlm.interpret.assess import (
    SMALLEST_ORGAN_VOXELS,
    TOO_FEW_VOXELS,
    Case,
    cut_reason,
    measured,
    omitted,
    unassessed,
)
from radvlm.types.anatomy import AORTIC_LUMENS, DISSECTION, LEVELS, RARE_LEVELS, structure
from radvlm.types.finding import Finding, Status
from radvlm.types.measurement import Measurement
from radvlm.types.scan_measurements import StructureMeasurements
from radvlm.types.spinal_level import nearest_level
from radvlm.types.urgency import REFERENCE_SIZE_MM, importance
from radvlm.wording.vocabulary import plural

_TRUE_LUMEN, _FALSE_LUMEN = AORTIC_LUMENS
#: Where a disease or a device is denied: nobody knows what lies outside the scan.
_IMAGED = "imaged range"
#: A dissected length (mm) of the ascending aorta below which the edge of the labels may be all there is to it.
SURE_MM = 10.0
#: A vertebra lies beside a height when its center is not farther (mm): half a lumbar level.
_LEVEL_MM = 20.0
#: Devices that lie on one side of the body or on both.
_SIDED = ("hip_implant", "breast_implant")
#: The body on the two sides of which they lie, the most certain first: its middle is that of these structures.
_MIDDLE = (("vertebrae_", "sacrum"), ("hip_left", "hip_right"), ("body", "body_trunc"))
#: A device reaches across the midline when it does so by more (mm) on both sides.
_ACROSS_MM = 20.0


def diseases(case: Case) -> list[Finding]:
    """A finding of the dissection, and of each device."""
    found = _denied(case)
    for record in case.measurements.structures:
        if record.structure == _FALSE_LUMEN:
            found.append(_doubtful(_dissection(case, record), record))
        elif structure(record.structure).kind == "device":
            found.append(_doubtful(_device(case, record), record))
    return found


def _denied(case: Case) -> list[Finding]:
    """A dissection and devices that the masks searched for and did not find."""
    found = []
    has_aorta = any(case.measurements.structure(n) is not None for n in ("aorta", _TRUE_LUMEN))
    for name in case.measurements.absent:
        row = structure(name)
        if name == _FALSE_LUMEN and has_aorta:
            found.append(
                Finding(
                    "?",
                    DISSECTION,
                    Status.ABSENT,
                    "aorta",
                    "vessels",
                    category="no aortic dissection segmented",
                    scope=_IMAGED,
                )
            )
        elif row.kind == "device":
            found.append(
                Finding(
                    "?", name, Status.ABSENT, name, row.section, category=f"no {row.words} segmented", scope=_IMAGED
                )
            )
    for name in case.measurements.crumbs:  # a few voxels of it, which measuring leaves out
        row = structure(name)
        if name == _FALSE_LUMEN:
            found.append(unassessed(DISSECTION, "aorta", "vessels", "aortic dissection", TOO_FEW_VOXELS))
        elif row.kind == "device":
            found.append(unassessed(name, name, row.section, row.words, TOO_FEW_VOXELS))
    return found


def _doubtful(finding: Finding, record: StructureMeasurements) -> Finding:
    """The finding as it is, or open where so few voxels are labeled that they may be an error of the masks."""
    if record.region.voxels >= SMALLEST_ORGAN_VOXELS:
        return finding
    return replace(
        finding, status=Status.INDETERMINATE, category="", headline="", reason=TOO_FEW_VOXELS, importance=0.0, cut_by=()
    )


def is_disease_or_device(name: str, case: Case) -> bool:
    """Whether a structure is told by ``diseases``: a device, or a lumen of a dissected aorta."""
    dissected = name == _FALSE_LUMEN or case.measurements.structure(_FALSE_LUMEN) is not None
    return structure(name).kind == "device" or (name in AORTIC_LUMENS and dissected)


def _device(case: Case, record: StructureMeasurements) -> Finding:
    row = structure(record.structure)
    side = _side(case, record) if row.name in _SIDED else ""
    words = {"": row.words, "both": f"bilateral {plural(row.words)}"}.get(side, f"{side} {row.words}")
    return Finding(
        "?",
        row.name,
        Status.PRESENT,
        row.name,
        row.section,
        (record.region,),
        tuple(m for m in record.measurements if m.quantity == "volume"),
        headline=words,
        reason=cut_reason(record.cut_by) if record.cut_by else "",
        importance=importance(case.rules.urgency_of(row.name)),
        cut_by=record.cut_by,
    )


def _side(case: Case, record: StructureMeasurements) -> str:
    """``left``, ``right`` or ``both`` by the midline of the body; "" where no mask shows it."""
    for names in _MIDDLE:
        held = [s.region for s in case.measurements.structures if s.structure.startswith(names)]
        if held and (names != _MIDDLE[1] or len(held) == 2):
            middle = sum(region.centroid_mm[0] for region in held) / len(held)
            low, high = sorted(point[0] for point in _corners(case, record))
            if low < middle - _ACROSS_MM and high > middle + _ACROSS_MM:
                return "both"
            return "right" if record.region.centroid_mm[0] > middle else "left"
    return ""


def _corners(case: Case, record: StructureMeasurements) -> list[tuple[float, ...]]:
    box, geometry = record.region.box, case.measurements.geometry
    return [tuple(geometry.to_world(c)) for c in (box.start, [n - 1 for n in box.stop])]


def _dissection(case: Case, record: StructureMeasurements) -> Finding:
    true = case.measurements.structure(_TRUE_LUMEN)
    regions = (record.region, *([true.region] if true is not None else []))
    length = measured(record, "length")
    whole = case.measurements.structure("aorta")
    has_own_diameter = whole is not None and measured(whole, "diameter") is not None
    wanted = ("length", "width", "diameter", *(() if has_own_diameter else ("whole_diameter",)))
    numbers: list[Measurement] = [m for q in wanted if (m := measured(record, q)) is not None]
    size = length.value if length is not None else 0.0
    return Finding(
        "?",
        DISSECTION,
        Status.PRESENT,
        "aorta",
        "vessels",
        regions,
        tuple(numbers),
        locations=_levels(case, record),
        category=_ascending(record),
        headline="aortic dissection",
        reason=cut_reason(record.cut_by) if record.cut_by else "",
        importance=importance(case.rules.urgency_of(record.structure), size / REFERENCE_SIZE_MM),
        cut_by=record.cut_by,
    )


def _ascending(record: StructureMeasurements) -> str:
    """Whether the ascending aorta is dissected, which decides the Stanford type; else that it is not known."""
    ascending, arch = measured(record, "ascending_length"), measured(record, "arch_length")
    if ascending is None:
        known = omitted(record, "ascending_length")
        imaged = "is not imaged" if known is not None and known.reason.startswith("no section") else "is not told apart"
        return f"extent not determined where the ascending aorta {imaged}"
    if ascending.value >= SURE_MM:
        return "ascending aorta involved (Stanford type A pattern)"
    if ascending.value > 0:
        return "involvement of the ascending aorta uncertain"
    if arch is not None and arch.value > 0:
        return "ascending aorta not involved, arch involved"
    return "ascending aorta not involved (Stanford type B pattern)"


def _levels(case: Case, record: StructureMeasurements) -> tuple[str, ...]:
    """The vertebrae from the upper to the lower end of each piece of the false lumen; () where an end has none beside
    it."""
    heights = {
        level: numbers.region.centroid_mm[2]
        for level in LEVELS
        if (numbers := case.measurements.structure(f"vertebrae_{level}")) is not None
    }
    length = measured(record, "length")
    pieces = [point[2] for point in length.points_mm] if length is not None else []
    if len(pieces) < 4:
        pieces = [point[2] for point in _corners(case, record)]
    beside: set[str] = set()
    for one, other in zip(pieces[::2], pieces[1::2], strict=True):
        ends = [nearest_level(heights, height, _LEVEL_MM) for height in (one, other)]
        if not all(ends):
            return ()
        low, high = sorted(LEVELS.index(end) for end in ends)
        between = LEVELS[low : high + 1]
        beside |= {n for n in between if n not in RARE_LEVELS or n in (between[0], between[-1])}
    return tuple(f"vertebrae_{n}" for n in LEVELS if n in beside)

"""What a scan without masks shows by thresholds alone: what is imaged, position, contrast, size, fat, aerated lung.

Every finding says that thresholds found it and how far off it may be; what they cannot tell is not assessed, with the
reason. The errors are those of ``eval/truth_thresholds.py`` on phantoms whose truth is known; no rule judges any of it.
"""

from __future__ import annotations

from radvlm.interpret.assess import Case, unassessed
from radvlm.types.finding import Finding, Source, Status
from radvlm.types.measurement import Measurement
from radvlm.types.phrases import joined
from radvlm.types.scan_measurements import NOT_INTERPRETED, StructureMeasurements
from radvlm.wording.numbers import rounded

#: Largest errors of what is said, rounded up, as they are printed (eval/results/truth_thresholds.json).
SIZE_ERROR_PERCENT, FAT_ERROR_POINTS, LUNG_ERROR_PERCENT = 4, 6, 10
#: Where below the lungs this much is imaged (mm), it is abdomen; where this much above them, neck.
BEYOND_LUNGS_MM = 20.0
#: So far below the lungs (mm) the pelvis may have begun, and surely has: lungs end behind at T12 to L2, the crests of
#: the hips lie at L4, four lumbar levels are at most 160 mm high, and fluid may have raised the aerated end.
PELVIS_FROM_MM, PELVIS_SURE_MM = 60.0, 240.0
#: A patient has at least this share of fat (percent of the tissue); an object made for tests hardly any.
MIN_FAT_PERCENT = 3.0
#: What is narrower (mm) and shows no lung may be a head, a neck or a limb; so may what has limbs of at least this share
#: of its volume beside it.
MIN_TRUNK_MM, MAX_LIMB_SHARE = 180.0, 0.35
#: Blood of this median (HU) holds contrast; what is kept of it is well below or above (``segment.threshold_spine``).
CONTRAST_FROM_HU = 85.0
#: What no threshold tells apart, with the reason.
_UNTOLD = (
    ("muscle area, subcutaneous and visceral fat", "soft_tissues", "thresholds do not tell them apart"),
    ("bone density", "bones", "no mask of a vertebra was provided"),
    ("free air and calcification", "peritoneum", "thresholds do not tell them from gas in bowels and from bone"),
)
_POSITIONS = {
    "posterior": "patient lies on the back, by the table behind the body",
    "anterior": "patient lies on the front, by the table before the body",
    "left": "patient lies on the left side, by the table beside it",
    "right": "patient lies on the right side, by the table beside it",
}
_BY_THRESHOLDS = "by thresholds"


def bare_scan(case: Case) -> list[Finding]:
    """Findings of a scan for which no masks were given; none where masks were."""
    numbers = case.measurements
    if numbers.masks_given:
        return []
    body = numbers.structure("body")
    if body is None:
        phase = numbers.phase
        doubt = phase.reason if phase is not None and phase.reason.startswith(NOT_INTERPRETED) else ""
        why = doubt or "no object large and dense enough to be a body was found"
        return [unassessed("body_size", "body", "soft_tissues", "size of the body", why)]
    lung, fat, table = (numbers.structure(n) for n in ("lung", "body_fat", "scanner_table"))
    share = None if fat is None else fat.measurement("fat_share")
    if fat is None or share is None or share.value < MIN_FAT_PERCENT:
        why = f"what was scanned holds less than {MIN_FAT_PERCENT:.0f} percent of fat, as no patient does"
        return [unassessed("body_size", "body", "soft_tissues", "what thresholds show of a patient", why)]
    limbs = numbers.structure("body_extremities")
    canal, blood = numbers.structure("spinal_canal"), numbers.structure("blood_before_spine")
    size = _size(body, limbs, lung, canal)
    is_trunk = size.status is Status.PRESENT and canal is not None
    found = [_region(case, lung, canal if is_trunk else None), _position(body, table)]
    sees_trunk = size.status is Status.PRESENT or lung is not None
    found += [_contrast(blood, canal) if sees_trunk else _contrast(None, None), size, _fat(fat, share)]
    if lung is not None:
        found.append(_aerated_lung(lung))
    found += [unassessed("body_composition", "", section, words, why) for words, section, why in _UNTOLD]
    return found


def _stated(
    kind: str, record: StructureMeasurements, section: str, category: str, numbers: tuple[Measurement, ...] = ()
) -> Finding:
    return Finding(
        "?",
        kind,
        Status.PRESENT,
        record.structure,
        section,
        (record.region,),
        numbers,
        category=category,
        source=Source.VOXELS,
    )


def _region(case: Case, lung: StructureMeasurements | None, canal: StructureMeasurements | None) -> Finding:
    """Which part of the trunk is imaged, as far as aerated lung tells; ``canal`` is that of the spine of a trunk."""
    if lung is None and canal is not None:
        text = f"imaged part: trunk with the spine; aerated lung was not recognized, {_BY_THRESHOLDS}"
        return _stated("imaged_region", canal, "technique", text)
    if lung is None:
        why = "no aerated lung was recognized that would tell it"
        return unassessed("imaged_region", "", "technique", "part of the body that is imaged", why)
    geometry = case.measurements.geometry
    spacing, slices = geometry.spacing_mm[2], geometry.shape[2]
    below, above = lung.region.box.start[2] * spacing, (slices - lung.region.box.stop[2]) * spacing
    numbers = tuple(Measurement("distance", value, "slices", spacing) for value in (below, above) if value > 0)
    if "inferior" in lung.cut_by and "superior" in lung.cut_by:
        text = "imaged part: chest, without the upper and the lower end of the lungs"
    elif "inferior" in lung.cut_by:
        text = f"imaged part: upper chest; {rounded(above, '1')} mm above the lungs"
    elif "superior" in lung.cut_by:
        what = _listed("lower chest", below, 0.0)
        text = f"imaged part: {what}; {rounded(below, '1')} mm below the lungs"
    else:
        what = _listed("chest", below, above)
        text = f"imaged part: {what}; {rounded(above, '1')} mm above and {rounded(below, '1')} mm below the lungs"
    return _stated("imaged_region", lung, "technique", f"{text}, {_BY_THRESHOLDS}", numbers)


def _listed(chest: str, below_mm: float, above_mm: float) -> str:
    """The parts of the trunk that are imaged: ``lower chest, abdomen and pelvis``."""
    parts = [*(["lower neck"] if above_mm >= BEYOND_LUNGS_MM else []), chest]
    if below_mm >= BEYOND_LUNGS_MM:
        parts.append("abdomen")
    if below_mm >= PELVIS_SURE_MM:
        parts.append("pelvis")
    told = joined(parts)
    return f"{told}, perhaps part of the pelvis" if PELVIS_FROM_MM <= below_mm < PELVIS_SURE_MM else told


def _position(body: StructureMeasurements, table: StructureMeasurements | None) -> Finding:
    """How the patient lies, by the side on which the table is."""
    if table is None:
        why = "no table was recognized on one side of the body"
        return unassessed("patient_position", "", "technique", "position of the patient", why)
    across, along = (t - b for t, b in zip(table.region.centroid_mm[:2], body.region.centroid_mm[:2], strict=True))
    if abs(along) >= abs(across):
        side = "posterior" if along < 0 else "anterior"
    else:
        side = "left" if across < 0 else "right"
    return _stated("patient_position", table, "technique", f"{_POSITIONS[side]}, {_BY_THRESHOLDS}")


def _contrast(blood: StructureMeasurements | None, canal: StructureMeasurements | None) -> Finding:
    """Whether the blood before the spine holds contrast; nothing where that is not sure."""
    median = None if blood is None else blood.measurement("median_hu")
    if blood is None or median is None:
        why = "no spine of a trunk was recognized, before which blood would be looked for"
        if canal is not None:
            why = "what lies before the spine is neither surely with contrast nor surely without"
        return unassessed("vessel_contrast", "", "technique", "contrast in the vessels", why)
    state = "holds contrast" if median.value >= CONTRAST_FROM_HU else "is without contrast"
    text = f"blood before the spine {state} ({rounded(median.value, '1')} HU), {_BY_THRESHOLDS}"
    return _stated("vessel_contrast", blood, "technique", text, (median,))


def _size(
    body: StructureMeasurements,
    limbs: StructureMeasurements | None,
    lung: StructureMeasurements | None,
    canal: StructureMeasurements | None,
) -> Finding:
    """Size of the body in its middle slice, that of a trunk where the canal of the spine is in it.

    Nothing where it is so narrow that a limb or a head is likely all that is imaged.
    """
    wanted = ("body_width", "body_depth", "circumference", "effective_diameter", "water_equivalent_diameter")
    numbers = tuple(m for q in wanted if (m := body.measurement(q)) is not None)
    why = ""
    if not numbers:
        why = next((o.reason for o in body.omissions if o.quantity in wanted), "it was not measured")
    elif lung is None and numbers[0].value < MIN_TRUNK_MM:
        why = f"less than {MIN_TRUNK_MM:.0f} mm wide without lungs, as a head, a neck or a limb"
    elif limbs is not None and limbs.volume_ml >= MAX_LIMB_SHARE * body.volume_ml:
        why = "another piece of about its size lies beside it, as with two legs"
    if why:
        return unassessed("body_size", "body", "soft_tissues", "size of the trunk", why)
    k = numbers[0].slice_index
    spine = canal is not None and k is not None and canal.region.box.start[2] <= k < canal.region.box.stop[2]
    what = "trunk in its" if spine else "body section in the"
    beside = ", arms beside it left out" if limbs is not None else ""
    text = f"{what} middle slice{beside}, {_BY_THRESHOLDS}, error up to {SIZE_ERROR_PERCENT} percent"
    return _stated("body_size", body, "soft_tissues", text, numbers)


def _fat(fat: StructureMeasurements, share: Measurement) -> Finding:
    text = (
        f"fat makes up {rounded(share.value, '1')} percent of the tissue that is imaged, lung and gas left out; "
        f"{_BY_THRESHOLDS}, error up to {FAT_ERROR_POINTS} percentage points"
    )
    return _stated("body_fat", fat, "soft_tissues", text, (share,))


def _aerated_lung(lung: StructureMeasurements) -> Finding:
    part = " of the imaged part" if lung.cut_by else ""
    text = f"aerated lung{part}, {_BY_THRESHOLDS}, error up to {LUNG_ERROR_PERCENT} percent"
    numbers = tuple(m for q in ("volume", "mean_hu") if (m := lung.measurement(q)) is not None)
    return _stated("aerated_lung", lung, "lungs", text, numbers)

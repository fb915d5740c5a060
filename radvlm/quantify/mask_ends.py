"""Structures whose mask ends before the scan does: their size is not known, and the field of view is not to blame."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from radvlm.types.measurement import QUANTITIES, Omission
from radvlm.types.phrases import joined
from radvlm.types.provenance import PLACEMENT, Decision
from radvlm.types.scan_measurements import StructureMeasurements
from radvlm.types.segmentation import Segmentation

#: Units of numbers that grow with what the mask does not show.
_SIZE_UNITS = ("mL", "mm", "mm2", "cm2")
#: Diameters are taken across; where a mask ends they are still those of what it shows.
_ACROSS = ("diameter",)
MOST_NAMED = 6


def without_sizes_at_mask_ends(
    segmentation: Segmentation, records: Sequence[StructureMeasurements]
) -> tuple[tuple[StructureMeasurements, ...], tuple[Decision, ...]]:
    """The records, those that end with their mask without sizes, and one warning that names them."""
    if segmentation.covered is None:
        return tuple(records), ()
    share = 1.0
    for a, b, n in zip(segmentation.covered.start, segmentation.covered.stop, segmentation.geometry.shape, strict=True):
        share *= (b - a) / n
    covers = f"the masks cover {share:.0%} of the scan"
    kept: list[StructureMeasurements] = []
    ended: list[str] = []
    for record in records:
        faces = segmentation.end_faces(record.structure)
        if faces:
            ended.append(record.structure.replace("_", " "))
            record = _without_sizes(record, f"its mask ends at the {joined(faces)} edge of the masks: {covers}")
        kept.append(record)
    if not ended:
        return tuple(kept), ()
    shown = ", ".join(ended[:MOST_NAMED]) + (f" and {len(ended) - MOST_NAMED} more" if ended[MOST_NAMED:] else "")
    what = f"{covers[0].upper()}{covers[1:]} and end within these structures, whose size is not known: {shown}."
    return tuple(kept), (Decision(PLACEMENT, what, warning=True),)


def _without_sizes(record: StructureMeasurements, reason: str) -> StructureMeasurements:
    taken = [
        m.quantity
        for m in record.measurements
        if QUANTITIES[m.quantity] in _SIZE_UNITS and not m.quantity.endswith(_ACROSS)
    ]
    return replace(
        record,
        measurements=tuple(m for m in record.measurements if m.quantity not in taken),
        omissions=(*record.omissions, *(Omission(quantity, record.structure, reason) for quantity in taken)),
    )

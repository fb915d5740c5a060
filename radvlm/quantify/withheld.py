"""Taking back what rests on attenuation, where the values of a scan or of one mask cannot be trusted to be HU.

What is taken back becomes an ``Omission`` with its reason, so that each rule that asks for it is "not assessed" for
that reason, and sizes stand.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any, TypeVar

from radvlm.quantify.organ import NO_CT
from radvlm.types.measurement import QUANTITIES, Omission
from radvlm.types.scan_measurements import LesionMeasurements, StructureMeasurements

#: Quantities that come from attenuation although their unit is another.
_BY_ATTENUATION = frozenset(
    {"emphysema_index", "area_l3", "liver_spleen_ratio", "solid_fraction", "solid_diameter", "edge_width"}
)
Record = TypeVar("Record", StructureMeasurements, LesionMeasurements)


def without_attenuation(record: Record, reason: str) -> Record:
    """The record without any number that rests on attenuation; each is an omission for ``reason``."""
    kept = tuple(m for m in record.measurements if not rests_on_attenuation(m.quantity))
    taken: list[str] = [m.quantity for m in record.measurements if rests_on_attenuation(m.quantity)]
    omissions = (
        *(replace(o, reason=reason) if o.reason == NO_CT else o for o in record.omissions),
        *(Omission(quantity, record.structure, reason) for quantity in taken),
    )
    words: dict[str, Any] = {"attenuation": ""} if isinstance(record, LesionMeasurements) else {}
    return replace(record, measurements=kept, omissions=omissions, **words)


def without_numbers(
    records: Iterable[StructureMeasurements], unsure: Mapping[str, str]
) -> tuple[StructureMeasurements, ...]:
    """The records, those of structures whose masks may be another one's without any number, for the reason given."""
    return tuple(
        record
        if (why := unsure.get(record.structure)) is None
        else replace(
            record,
            measurements=(),
            omissions=(
                *record.omissions,
                *(Omission(m.quantity, record.structure, f"not interpreted: {why}") for m in record.measurements),
            ),
        )
        for record in records
    )


def rests_on_attenuation(quantity: str) -> bool:
    """True for a quantity in HU, or one that is found by HU."""
    return QUANTITIES[quantity] == "HU" or quantity in _BY_ATTENUATION

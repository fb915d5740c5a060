"""Structures and lesions whose attenuation nobody can have: its numbers are taken back, and it is said.

A liver of -300 HU is no fatty liver but a mask that lies in the lung. Volumes and places stand.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import TypeVar

from radvlm.quantify.location import OUTSIDE
from radvlm.quantify.withheld import without_attenuation
from radvlm.types.anatomy import structure
from radvlm.types.possible_hu import possible_hu
from radvlm.types.provenance import PLACEMENT, Decision
from radvlm.types.scan_measurements import (
    NOT_INTERPRETED,
    NOT_POSSIBLE,
    LesionMeasurements,
    Phase,
    StructureMeasurements,
)

#: Of fewer voxels the median is that of their surroundings.
MIN_VOXELS = 10
#: So many are named in the warning.
MOST_NAMED = 6
Record = TypeVar("Record", StructureMeasurements, LesionMeasurements)


def impossible_attenuation(
    records: Iterable[StructureMeasurements | LesionMeasurements], phase: Phase | None = None
) -> dict[str, str]:
    """{region id: why its attenuation is impossible}, in any phase or, where one is given and certain, in that one."""
    found: dict[str, str] = {}
    if phase is not None and not phase.certain:
        return found
    for record in records:
        median = next((m.value for m in record.measurements if m.quantity == "median_hu"), None)
        row = possible_hu(record.structure, "" if phase is None else phase.name)
        if median is None or row is None or record.region.voxels < MIN_VOXELS or row.holds(median):
            continue
        limits = f"{NOT_POSSIBLE} {row.low:.0f} to {row.high:.0f} HU"
        limits += f" in the {row.phase} phase" if row.phase else ""
        found[record.region.id] = f"{structure(record.structure).words} {median:.0f} HU, {limits}"
    return found


def outside_their_organ(lesions: Iterable[LesionMeasurements]) -> dict[str, str]:
    """{region id: where it lies} of lesions that lie outside the mask of their organ (``Locator.place``)."""
    return {
        lesion.region.id: f"{structure(lesion.structure).words} {lesion.region.id.rpartition('/')[2]} {omission.reason}"
        for lesion in lesions
        for omission in lesion.omissions
        if omission.reason.startswith(OUTSIDE)
    }


def outside_warning(reasons: Mapping[str, str]) -> tuple[Decision, ...]:
    """One warning that names them; nothing without any."""
    return warning_of(
        "A lesion far from its organ has a wrong mask, name or side, and neither its place nor its attenuation is "
        "interpreted",
        reasons,
    )


def without_impossible(records: Sequence[Record], reasons: Mapping[str, str]) -> tuple[Record, ...]:
    """The records, those with a reason without any number of attenuation."""
    return tuple(
        without_attenuation(record, f"{NOT_INTERPRETED}: {reasons[record.region.id]}")
        if record.region.id in reasons
        else record
        for record in records
    )


def without_comparison(lesions: Sequence[LesionMeasurements], reasons: Mapping[str, str]) -> list[LesionMeasurements]:
    """The lesions, those in an organ with a reason no longer compared with it in attenuation."""
    return [
        replace(
            lesion,
            measurements=tuple(m for m in lesion.measurements if m.quantity != "contrast_to_host"),
            attenuation="",
        )
        if lesion.host in reasons
        else lesion
        for lesion in lesions
    ]


def impossible_warning(reasons: Mapping[str, str]) -> tuple[Decision, ...]:
    """One warning that names what was taken back; nothing without reasons."""
    return warning_of("An attenuation that no patient has is not interpreted, and the mask may be misplaced", reasons)


def warning_of(what: str, reasons: Mapping[str, str]) -> tuple[Decision, ...]:
    """``what`` as one warning with the first of the reasons; nothing without any."""
    named = sorted(set(reasons.values()))
    if not named:
        return ()
    shown = "; ".join(named[:MOST_NAMED]) + (f"; and {len(named) - MOST_NAMED} more" if named[MOST_NAMED:] else "")
    return (Decision(PLACEMENT, f"{what}: {shown}.", warning=True),)

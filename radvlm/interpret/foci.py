"""Findings of what attenuation alone shows: "focus of ...", "area of ...", of low certainty and never a diagnosis."""

from __future__ import annotations

from radvlm.interpret.assess import KIDNEYS, Case, unassessed
from radvlm.types.anatomy import structure
from radvlm.types.finding import Finding, Source, Status
from radvlm.types.scan_measurements import FOCUS_WORDS, Focus
from radvlm.types.urgency import Urgency, importance

#: Gas in an organ or the portal vein is told within hours (of bowel ischemia or an abscess it may be the only sign), a
#: large low area within days, a dense focus in the report; an organ mixed with fat asks for nothing, nor does calcium
#: in a wall, and calcium elsewhere is told in the findings alone.
URGENCY = {
    "high_attenuation_focus": Urgency.INCIDENTAL,
    "gas_focus": Urgency.HOURS,
    "low_attenuation_area": Urgency.DAYS,
    "low_attenuation_organ": Urgency.NO_ACTION,
    "wall_calcium": Urgency.NO_ACTION,
    "calcium_focus": Urgency.NONE,
}
REASON = "seen by attenuation alone, not by a mask of its own; certainty low"


def foci(case: Case) -> list[Finding]:
    """One finding a kind and structure."""
    found = [_finding(case, focus) for focus in case.measurements.foci]
    for focus in case.measurements.foci:
        row = structure(focus.structure)
        words = f"calcium score of the {row.words}"
        found += [unassessed(o.quantity, row.name, row.section, words, o.reason) for o in focus.omissions]
    return found


def dense_foci_looked_for(case: Case) -> bool:
    """Whether dense foci were looked for in the kidneys: on a plain scan whose attenuation can be told."""
    phase = case.measurements.phase
    kidneys = [r for n in KIDNEYS if (r := case.measurements.structure(n)) is not None]
    is_plain = phase is not None and phase.certain and phase.name == "non-contrast"
    return is_plain and any(r.measurement("p25_hu") is not None for r in kidneys)


def _finding(case: Case, focus: Focus) -> Finding:
    row, record = structure(focus.structure), case.measurements.structure(focus.structure)
    numbers = focus.measurements
    cut_by: tuple[str, ...] = ()
    if record is not None and record.cut_by and focus.kind in ("wall_calcium", "calcium_focus"):
        numbers = tuple(m for m in numbers if m.quantity == "volume")  # that of the imaged part
        cut_by = record.cut_by
    one, several = FOCUS_WORDS[focus.kind]
    return Finding(
        "?",
        focus.kind,
        Status.PRESENT,
        row.name,
        row.section,
        () if focus.region is None else (focus.region,),
        numbers,
        category=one if focus.count == 1 else several,
        reason=REASON,
        source=Source.VOXELS,
        importance=importance(URGENCY[focus.kind]),
        cut_by=cut_by,
        pole=focus.pole,
        level=focus.level if focus.structure in KIDNEYS and not focus.pole else "",
        locations=focus.locations,
    )

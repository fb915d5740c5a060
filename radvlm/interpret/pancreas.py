"""Pancreatic tumors: contact with each vessel, T stage (AJCC 8) and resectability (NCCN), and what forbids them.

A vessel that was not judged is not a free vessel. A stage that no further vessel can change (T4, locally
advanced) is given all the same; any other one then is "cannot be staged" with the vessel's name. Neither table looks
at nodes, metastases or the contour of a vein, and neither is a plan of treatment.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import product

from radvlm.interpret.assess import (
    Case,
    Judgement,
    cut_reason,
    judge,
    measured,
    not_assessed,
    reference,
    site_of,
    unassessed,
)
from radvlm.interpret.possible import judged
from radvlm.types.anatomy import structure
from radvlm.types.finding import Assessment, Finding, Status
from radvlm.types.measurement import Measurement
from radvlm.types.phrases import joined
from radvlm.types.scan_measurements import LesionMeasurements, VesselContact

#: Tumors that the tables of ductal adenocarcinoma are applied to.
STAGED = ("pancreas_pdac", "pancreas_tumor")
#: Arteries whose involvement is T4.
T4_ARTERIES = ("celiac_trunk", "superior_mesenteric_artery", "hepatic_artery")
VEINS = ("portal_vein", "superior_mesenteric_vein")
_ASKED = (*T4_ARTERIES, *VEINS, "inferior_vena_cava")
HALF_TURN = 180.0
IN_CONTACT, FREE = "in contact", "not in contact"


@dataclass(frozen=True)
class Verdict:
    """Outcome of the table of resectability: its words, and a reason where the table leaves it open."""

    category: str
    because: str
    reason: str = ""


_BY_CONTACT = " by vascular contact"
RESECTABLE = "no vascular contact that limits resection"
BORDERLINE = "borderline resectable by vascular contact"
ADVANCED = "locally advanced by vascular contact"
OPEN = "resectability left open by vascular contact"


def pancreas_outcomes(case: Case, lesion: LesionMeasurements) -> list[Assessment | Finding]:
    """Contacts of a pancreatic tumor; stage and resectability where it is one of ``STAGED``."""
    found = [_contact(lesion, contact) for contact in lesion.contacts]
    if found and lesion.structure in STAGED:
        found += [_t_stage(case, lesion), _resectability(case, lesion)]
    return found


def _contact(lesion: LesionMeasurements, contact: VesselContact) -> Assessment | Finding:
    if contact.touches is None:
        words = f"contact of the {structure(lesion.structure).words} with the {structure(contact.vessel).words}"
        return unassessed("vessel_contact", contact.vessel, "pancreas", words, contact.reason)
    return Assessment(
        "?",
        "vessel_contact",
        Status.PRESENT if contact.touches else Status.ABSENT,
        contact.vessel,
        "pancreas",
        (lesion.region,) if contact.touches else (),
        contact.measurements,
        category=IN_CONTACT if contact.touches else FREE,
        reason=contact.reason if contact.touches else "",
        reference=lesion.structure,
    )


def _contacts(lesion: LesionMeasurements) -> dict[str, VesselContact]:
    return {contact.vessel: contact for contact in lesion.contacts}


def _unjudged(contacts: Mapping[str, VesselContact], vessels: tuple[str, ...]) -> str:
    """``cannot be staged because the celiac trunk was not judged (no mask was provided)``, or "" when all were."""
    missing = [contacts[v] for v in vessels if v in contacts and contacts[v].touches is None]
    if not missing:
        return ""
    words = " and ".join(f"the {structure(c.vessel).words}" for c in missing)
    verb = "were" if len(missing) > 1 else "was"
    return f"cannot be staged because {words} {verb} not judged ({'; '.join(dict.fromkeys(c.reason for c in missing))})"


def _t_stage(case: Case, lesion: LesionMeasurements) -> Assessment | Finding:
    rule = case.rules.rule("pancreas_t_stage")
    contacts = _contacts(lesion)
    words = f"T stage of the {structure(lesion.structure).words}"
    touched = [v for v in T4_ARTERIES if v in contacts and contacts[v].touches]
    long = measured(lesion, "long_axis")
    category, status, doubt = "", Status.PRESENT, ""
    possible: tuple[str, ...] = ()
    numbers: tuple[Measurement, ...] = () if long is None else (long,)
    if touched:
        category = "stage cT4 by arterial contact (AJCC 8)"
        angles = [contacts[v].measurement("angle") for v in touched]
        numbers = tuple(m for m in angles if m is not None) or numbers
        if all(m is not None and judged(m).least <= 0 for m in angles):
            status, doubt = Status.INDETERMINATE, "the contact is not larger than its uncertainty"
            certain, category = category, "stage cT4 if the minimal arterial contact is real (AJCC 8)"
            possible = (*(() if long is None else _words(judge(rule, case.patient, judged(long)))), certain)
    else:
        reason = _unjudged(contacts, T4_ARTERIES)
        if not reason and lesion.cut_by:
            reason = f"cannot be staged because the tumor is {cut_reason(lesion.cut_by)}"
        if not reason and long is None:
            reason = "cannot be staged because the long axis was not measured"
        if reason or long is None:
            return not_assessed(rule, lesion.structure, reason, words)
        verdict = judge(rule, case.patient, judged(long))
        category, possible = verdict.outcome.category or "", verdict.possible
        status, doubt = Status(verdict.outcome.status), verdict.outcome.reason
    return Assessment(
        "?",
        rule.finding,
        status,
        site_of(lesion),
        "pancreas",
        (lesion.region,),
        numbers,
        category=category,
        rule=reference(rule),
        reason=doubt,
        possible=possible,
    )


def _words(verdict: Judgement) -> tuple[str, ...]:
    return verdict.possible or (verdict.outcome.category or "",)


def place_of(lesion: LesionMeasurements) -> str:
    """``head``, ``body or tail``, or "" where the parts of the pancreas were not in the masks."""
    first = next((n for n in lesion.locations if n.startswith("pancreas_")), "")
    return "" if not first else "head" if first == "pancreas_head" else "body or tail"


def resectability(angles: Mapping[str, float], place: str) -> Verdict:
    """NCCN criteria of resectability by vascular contact.

    Args:
        angles: vessel -> degrees of contact, 0 for none; a vessel that is left out counts as free.
        place: ``head``, ``body or tail`` or "".
    """
    celiac, mesenteric, hepatic, aorta, cava = (
        angles.get(v, 0.0)
        for v in ("celiac_trunk", "superior_mesenteric_artery", "hepatic_artery", "aorta", "inferior_vena_cava")
    )
    vein = max(angles.get(v, 0.0) for v in VEINS)
    if mesenteric > HALF_TURN:
        return Verdict(ADVANCED, "more than 180 degrees of the superior mesenteric artery")
    if celiac > HALF_TURN:
        return Verdict(ADVANCED, "more than 180 degrees of the celiac trunk")
    if celiac > 0 and aorta > 0:
        return Verdict(ADVANCED, "celiac trunk and aorta")
    if aorta > 0:
        return Verdict(OPEN, "aorta alone", "contact with the aorta alone is in no row of the table")
    if celiac > 0 and place == "head":
        return Verdict(
            OPEN,
            "celiac trunk, head",
            "up to 180 degrees of the celiac trunk is listed for body and tail, not for the head",
        )
    if celiac > 0 and not place:
        return Verdict(
            OPEN,
            "celiac trunk, place not known",
            "the part of the pancreas is not known, and contact with the celiac trunk counts by part",
        )
    if mesenteric > 0:
        return Verdict(BORDERLINE, "up to 180 degrees of the superior mesenteric artery")
    if celiac > 0:
        return Verdict(BORDERLINE, "up to 180 degrees of the celiac trunk, body or tail")
    if hepatic > 0:
        return Verdict(BORDERLINE, "common hepatic artery without the celiac trunk")
    if vein > HALF_TURN:
        return Verdict(BORDERLINE, "more than 180 degrees of the portal or superior mesenteric vein")
    if cava > 0:
        return Verdict(BORDERLINE, "inferior vena cava")
    if vein > 0:
        return Verdict(
            OPEN,
            "up to 180 degrees of the portal or superior mesenteric vein",
            "up to 180 degrees of the "
            "portal or superior mesenteric vein is resectable with a regular contour, which is not measured",
        )
    return Verdict(RESECTABLE, "no arterial and no venous contact")


def possible_verdicts(angles: Mapping[str, tuple[float, float]], place: str) -> tuple[Verdict, ...]:
    """Every outcome of the table within the error of the angles, the one of the least contact first.

    Args:
        angles: vessel -> least and most degrees of contact.
        place: as for ``resectability``.
    """
    found: dict[tuple[str, str], Verdict] = {}
    for ends in product(*(dict.fromkeys(pair) for pair in angles.values())):
        verdict = resectability(dict(zip(angles, ends, strict=True)), place)
        found.setdefault((verdict.category, verdict.reason), verdict)
    return tuple(found.values())


def _resectability(case: Case, lesion: LesionMeasurements) -> Assessment | Finding:
    rule = case.rules.rule("pancreas_resectability")
    contacts = _contacts(lesion)
    words = f"resectability of the {structure(lesion.structure).words}"
    angles: dict[str, tuple[float, float]] = {}
    unclear = ""
    for vessel, contact in contacts.items():
        angle = contact.measurement("angle")
        if contact.touches and angle is None:
            unclear = (
                unclear
                or f"cannot be judged because there is no angle with the {structure(vessel).words} ({contact.reason})"
            )
        elif contact.touches and angle is not None:
            number = judged(angle)
            angles[vessel] = (max(number.least, 0.0), number.most)
    verdicts = possible_verdicts(angles, place_of(lesion))
    if any(v.category != ADVANCED for v in verdicts):
        needed = (*_ASKED, "aorta") if contacts.get("celiac_trunk") and contacts["celiac_trunk"].touches else _ASKED
        reason = _unjudged(contacts, needed) or unclear
        if not reason and lesion.cut_by:
            reason = f"cannot be judged because the tumor is {cut_reason(lesion.cut_by)}"
        if reason:
            return not_assessed(rule, lesion.structure, reason, words)
    numbers: tuple[Measurement, ...] = tuple(
        m for v, c in contacts.items() if v in angles and (m := c.measurement("angle")) is not None
    )
    categories = tuple(dict.fromkeys(v.category for v in verdicts))
    reason = next((v.reason for v in verdicts if v.reason), "")
    category = f"{categories[0]} (NCCN)"
    if len(categories) > 1:
        error = max(judged(m).error for m in numbers)
        reason = "; ".join(filter(None, (f"a limit lies within the measurement error of {error:.0f} degrees", reason)))
        kinds = [c.removesuffix(_BY_CONTACT) for c in categories]
        within = f"within the measurement error of {error:.0f} degrees"
        category = f"{joined(kinds, 'or')}{_BY_CONTACT} (NCCN), {within}"
    return Assessment(
        "?",
        rule.finding,
        Status.INDETERMINATE if reason else Status.PRESENT,
        site_of(lesion),
        "pancreas",
        (lesion.region,),
        numbers,
        category=category,
        rule=reference(rule),
        reason=reason,
        because=" or ".join(dict.fromkeys(v.because for v in verdicts)),
        possible=categories if len(categories) > 1 else (),
    )

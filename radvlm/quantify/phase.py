"""Contrast phase from the median HU of vessels and organs.

It answers ``unknown`` rather than guess, and ``certain`` only when every vessel measured says the same with
room to spare, because rules that hold in one phase alone (steatosis, adrenal lesions) depend on it. Medians
resist calcified walls and the partial volume at the edge of a mask.

Sources. Unenhanced blood: interquartile range 28 to 45 HU in aorta and vena cava (325 patients, Research Square
rs-1420003), mean 37.7 and 36.1 HU (423 patients), below about 70 HU also in polyglobulia; unenhanced kidney 30 to
50 HU and liver 50 to 70 HU (seekhealthz.com, from a radiology primer). Late arterial phase: aorta 290 to 360 HU,
portal vein 145 +/- 20 HU, liver only 20 to 30 HU above its unenhanced value (Radiopaedia, late arterial phase),
which puts the aorta more than 100 HU above the portal vein; in the portal venous phase the two are about equal. The
limit between portal venous and delayed has no agreed number; the one here is a convention, and near it the phase
is not called certain.
"""

from __future__ import annotations

from collections.abc import Sequence

from radvlm.types.provenance import Decision
from radvlm.types.scan_measurements import Phase, StructureMeasurements

#: Median HU of blood up to which nothing suggests contrast; from ENHANCED_HU on contrast is sure.
UNENHANCED_HU, ENHANCED_HU = 70.0, 90.0
#: Median HU of a kidney up to which it is unenhanced.
UNENHANCED_KIDNEY_HU = 60.0
#: Aorta minus portal vein (HU) from which the phase is arterial, and the margin around it that is uncertain.
ARTERIAL_ABOVE_PORTAL_HU, ARTERIAL_MARGIN_HU = 60.0, 25.0
#: The same for aorta minus liver, used when no portal vein was measured.
ARTERIAL_ABOVE_LIVER_HU, ARTERIAL_LIVER_MARGIN_HU = 100.0, 30.0
#: Aorta (HU) from which an enhanced, not arterial scan counts as portal venous, and its uncertain margin.
PORTAL_AORTA_HU, PORTAL_MARGIN_HU = 120.0, 15.0
#: A smaller mask says nothing about the blood in it.
MIN_VOXELS = 50

_ROLES: dict[str, tuple[str, ...]] = {
    "aorta": ("aorta",),
    "portal vein": ("portal_vein", "portal_vein_and_splenic_vein", "superior_mesenteric_vein"),
    "inferior vena cava": ("inferior_vena_cava",),
    "liver": ("liver",),
    "kidney": ("kidney_right", "kidney_left"),
}
#: What headers say when no agent was given.
_NO_AGENT = ("", "none", "no", "n", "no contrast", "without", "0")
_HEART = ("heart_ventricle_left", "heart_atrium_left", "heart")


def estimate_phase(
    structures: Sequence[StructureMeasurements], contrast_agent: str = ""
) -> tuple[Phase, tuple[Decision, ...]]:
    """Contrast phase of a scan, and what was decided on the way.

    Args:
        structures: records with a ``median_hu`` (as ``measure_scan`` makes them).
        contrast_agent: DICOM ContrastBolusAgent; a warning is recorded when the voxels contradict it.
    """
    phase = _phase(_medians(structures))
    certainty = "certain" if phase.certain else "uncertain"
    decisions = [Decision("phase", f"Contrast phase {phase.name} ({certainty}): {phase.reason}.")]
    if contrast_agent.strip().lower() not in _NO_AGENT and phase.name == "non-contrast":
        decisions.append(
            Decision(
                "phase",
                f"The DICOM header names a contrast agent ({contrast_agent.strip()}), but the vessels are not "
                "enhanced: the series was acquired before the injection, or the agent was oral.",
                warning=True,
            )
        )
        phase = Phase(phase.name, phase.reason + "; the header names a contrast agent", certain=False)
    return phase, tuple(decisions)


def _medians(structures: Sequence[StructureMeasurements]) -> dict[str, float]:
    by_name = {s.structure: s for s in structures if s.median_hu is not None and s.region.voxels >= MIN_VOXELS}
    found: dict[str, float] = {}
    for role, names in _ROLES.items():
        values = [(by_name[n].region.voxels, by_name[n].median_hu) for n in names if n in by_name]
        if values:
            found[role] = float(max(values)[1] or 0.0)  # the larger mask of the two
    if "aorta" not in found:
        for name in _HEART:
            if name in by_name:
                found["heart"] = float(by_name[name].median_hu or 0.0)
                break
    return found


def _said(medians: dict[str, float], *roles: str) -> str:
    return ", ".join(f"{role} {medians[role]:.0f} HU" for role in roles if role in medians)


def _phase(medians: dict[str, float]) -> Phase:
    blood = medians.get("aorta", medians.get("heart"))
    if blood is None:
        return Phase("unknown", "neither the aorta nor the heart was found in the masks")
    veins = max((medians[r] for r in ("portal vein", "inferior vena cava") if r in medians), default=blood)
    kidney = medians.get("kidney")
    said = _said(medians, "aorta", "heart", "portal vein", "inferior vena cava", "liver", "kidney")
    kidney_plain = kidney is None or kidney <= UNENHANCED_KIDNEY_HU
    if blood <= UNENHANCED_HU:
        if veins >= ENHANCED_HU or (kidney is not None and kidney >= ENHANCED_HU):
            return Phase("unknown", f"the vessels contradict each other: {said}")
        sure = "aorta" in medians and veins <= UNENHANCED_HU and kidney_plain
        return Phase("non-contrast", f"blood is not enhanced: {said}", certain=sure)
    if blood < ENHANCED_HU:
        if kidney is not None and kidney >= ENHANCED_HU:
            return Phase("delayed", f"the kidneys are enhanced and the blood hardly: {said}")
        if not kidney_plain or kidney is None:
            return Phase("unknown", f"between unenhanced and enhanced blood: {said}")
        return Phase("non-contrast", f"the kidneys are not enhanced: {said}")
    if "aorta" not in medians:
        return Phase("unknown", f"enhanced, but the aorta was not found in the masks: {said}")
    return _enhanced(medians, blood, said)


def _enhanced(medians: dict[str, float], aorta: float, said: str) -> Phase:
    """Arterial, portal venous or delayed; the aorta is enhanced."""
    if "portal vein" in medians:
        other, limit, margin = "portal vein", ARTERIAL_ABOVE_PORTAL_HU, ARTERIAL_MARGIN_HU
    elif "liver" in medians:
        other, limit, margin = "liver", ARTERIAL_ABOVE_LIVER_HU, ARTERIAL_LIVER_MARGIN_HU
    else:
        return Phase("unknown", f"enhanced, but neither the portal vein nor the liver was found: {said}")
    above = aorta - medians[other] - limit
    if above >= 0:
        return Phase("arterial", f"the aorta is far denser than the {other}: {said}", certain=above >= margin)
    clear = above <= -margin
    if aorta >= PORTAL_AORTA_HU:
        return Phase(
            "portal venous",
            f"aorta and {other} are both enhanced: {said}",
            certain=clear and aorta >= PORTAL_AORTA_HU + PORTAL_MARGIN_HU,
        )
    return Phase(
        "delayed",
        f"aorta and {other} are both weakly enhanced: {said}",
        certain=clear and aorta <= PORTAL_AORTA_HU - PORTAL_MARGIN_HU,
    )

"""Contrast phase from the median HU of vessels, heart chambers and organs.

It answers ``unknown`` rather than guess. ``certain`` is earned: the answer must stay the same while the level of every
structure in turn, the attenuation of plain blood and, where the header does not give it, the tube voltage are moved by
what they may be wrong by, and at least two structures must agree and none speak against it. Rules that hold in one
phase alone (steatosis, adrenal lesions) depend on it. Medians resist calcified walls and partial volume at the edge.

What is compared is the *enhancement*: HU above the plain value, brought to 120 kVp. Its ratio between two structures
does not depend on the dose; the limits of the ratios lie midway (geometrically) between the values of two phases.

Sources. Plain blood: interquartile range 28 to 45 HU in aorta and vena cava (325 patients, Research Square
rs-1420003), mean 37.7 and 36.1 HU (423 patients), below about 70 HU also in polyglobulia; plain kidney 30 to 50 HU,
liver 50 to 70 HU (seekhealthz.com, from a radiology primer). Late arterial phase: aorta 290 to 360 HU, portal vein
145 +/- 20 HU, liver only 20 to 30 HU above its plain value (Radiopaedia, late arterial phase); in the early one veins
and liver have none. In the portal venous phase portal vein and aorta are about equal. Iodine by tube voltage: Bae KT,
Radiology 2010;256:32 (41, 31, 26 and 23 HU for 1 mg/mL at 80, 100, 120 and 140 kVp). Between portal venous and delayed
there is no agreed limit; here kidneys and leg veins against the aorta count beside its level.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from types import MappingProxyType

from radvlm.types.anatomy import AORTIC_LUMENS
from radvlm.types.provenance import Decision
from radvlm.types.scan_measurements import AGENT_NAMED, ENHANCED_PHASES, PHASE_OF_TIMING, Phase, StructureMeasurements
from radvlm.types.study import Study

#: Median HU of blood up to which nothing suggests contrast; from ENHANCED_HU on contrast is sure.
UNENHANCED_HU, ENHANCED_HU = 70.0, 90.0
#: Median HU of a kidney up to which it is unenhanced.
UNENHANCED_KIDNEY_HU = 60.0
#: Plain HU of blood, liver, spleen, kidney and urine, from which enhancement is counted.
PLAIN_BLOOD_HU, PLAIN_LIVER_HU, PLAIN_SPLEEN_HU, PLAIN_KIDNEY_HU, PLAIN_URINE_HU = 42.0, 55.0, 48.0, 32.0, 8.0
#: HU of 1 mg/mL of iodine against 120 kVp, by kVp (Bae 2010); in between by straight lines.
IODINE_BY_KVP = ((70.0, 1.9), (80.0, 1.58), (100.0, 1.19), (120.0, 1.0), (140.0, 0.88))
#: The same where the tube voltage is not known: 100 to 140 kVp.
IODINE_UNKNOWN_KVP = (1.19, 1.0, 0.88)
#: Enhancement relative to the aorta: arterial below, venous above. Each with its weight.
ARTERIAL_BELOW = {
    "portal vein": (0.62, 3.0),
    "spleen": (0.43, 2.0),
    "liver": (0.22, 2.0),
    "jugular veins": (0.6, 1.0),
    "iliac veins": (0.2, 1.0),
    "inferior vena cava": (0.45, 1.0),
}
#: Votes for a venous phase, together, that leave an arterial one in doubt: after a slow injection or in a failing heart
#: arteries are still dense when veins and spleen are.
VENOUS_DOUBT = 0.4
#: The vena cava above the heart is denser than the aorta while contrast flows in; between these shares it no longer
#: does, and the phase is a venous one. With its weight.
VENOUS_CAVA_SHARES, VENOUS_CAVA_WEIGHT = (0.75, 1.25), 1.0
#: Enhancement (HU at 120 kVp) of the aorta that no venous phase reaches at usual doses, and its weight.
ARTERIAL_AORTA_HU, ARTERIAL_AORTA_WEIGHT = 205.0, 2.0
#: Enhancement relative to the aorta: portal venous below, delayed above. Each with its weight.
DELAYED_ABOVE = {"kidney": (1.3, 1.0), "iliac veins": (0.6, 1.0), "inferior vena cava": (0.85, 0.5)}
#: A kidney that enhances less than this share of the aorta in a venous phase is failing and tells nothing of time.
FAILING_KIDNEY_SHARE = 0.85
#: Up to this share of the aorta both are dense as at the end of a slow injection; an arterial phase is then in doubt.
EVEN_CAVA_BELOW = 1.3
#: While contrast flows in, or saline behind it, that vena cava differs from the aorta by more; too light for a witness.
INFLOW_WEIGHT = 0.35
#: Enhancement (HU at 120 kVp) of the aorta from which a venous phase is the portal venous one, at usual doses: a little
#: below the middle of 115 HU at 70 seconds and 65 HU at 4 minutes, as doses vary.
PORTAL_AORTA_HU = 80.0
#: A portal vein that enhances by less than this share of the aorta is still filling; with its weight.
FILLING_PORTAL_SHARE, FILLING_PORTAL_WEIGHT = 0.88, 1.0
#: Votes for portal venous or delayed that a certain answer needs.
SURE_VENOUS_VOTES = 0.8
#: Pulmonary artery or right heart against the aorta from which the bolus is still in the lungs.
PULMONARY_ABOVE, PULMONARY_MARGIN_HU = 1.2, 40.0
#: Portal vein: share of the aorta and enhancement (HU) below which the arterial phase is an early one.
EARLY_PORTAL_SHARE, EARLY_PORTAL_HU = 0.13, 28.0
#: Median enhancement (HU) of renal pelvis or ureter, and of the bladder, that shows excreted contrast.
EXCRETED_HU, EXCRETED_BLADDER_HU = 120.0, 90.0
#: Enhancement (HU) of the renal pelvis that no first minutes after an injection explain.
LONG_EXCRETED_HU = 250.0
#: Shares of the arteries' enhancement between which veins and right heart lie where weak contrast has long been mixed
#: with all blood.
MIXED_BLOOD_SHARES = (0.7, 1.4)
#: Enhancement (HU) of the aorta above which excreted contrast must come from an earlier injection.
LATE_AORTA_HU = 95.0
#: Half the interquartile range of a kidney, beyond that of the spleen or liver, that shows cortex and medulla apart.
CORTEX_APART_HU = 22.0
#: What a median may be wrong by (share of the enhancement, HU), and the plain values of blood and liver (HU).
LEVEL_ERROR, LEVEL_ERROR_HU, PLAIN_BLOOD_ERROR_HU, PLAIN_LIVER_ERROR_HU = 0.12, 6.0, 10.0, (-25.0, 35.0)
#: Seconds from injection to acquisition between which a phase is usual.
USUAL_DELAY_S = {"arterial": (8.0, 60.0), "portal venous": (45.0, 130.0), "delayed": (100.0, 3600.0)}
#: A smaller mask says nothing about the blood in it.
MIN_VOXELS = 50

#: What headers say when no agent was given.
_NO_AGENT = ("", "none", "no", "n", "no contrast", "without", "0")
_SIDES = ("right", "left")
_HEART_LEFT = ("heart_ventricle_left", "heart_atrium_left", "pulmonary_vein", "atrial_appendage_left")
_ARTERIES = (
    *(f"{artery}_artery_{side}" for artery in ("iliac", "common_carotid", "subclavian") for side in _SIDES),
    "brachiocephalic_trunk",
    *(f"internal_carotid_artery_{side}" for side in _SIDES),
)
_PORTAL = ("portal_vein", "portal_vein_and_splenic_vein", "superior_mesenteric_vein", "splenic_vein")
#: Role -> structures and their plain HU. Of several structures the largest mask speaks for the role.
_ROLES: dict[str, tuple[tuple[str, ...], float]] = {
    "aorta": (("aorta", AORTIC_LUMENS[0]), PLAIN_BLOOD_HU),
    "arteries": (_ARTERIES, PLAIN_BLOOD_HU),
    "left heart": (_HEART_LEFT, PLAIN_BLOOD_HU),
    "heart": (("heart",), PLAIN_BLOOD_HU),
    "pulmonary artery": (("pulmonary_artery",), PLAIN_BLOOD_HU),
    "right heart": (("heart_ventricle_right", "heart_atrium_right"), PLAIN_BLOOD_HU),
    "superior vena cava": (
        ("superior_vena_cava", *(f"brachiocephalic_vein_{side}" for side in _SIDES)),
        PLAIN_BLOOD_HU,
    ),
    "jugular veins": (tuple(f"internal_jugular_vein_{side}" for side in _SIDES), PLAIN_BLOOD_HU),
    "portal vein": (_PORTAL, PLAIN_BLOOD_HU),
    "inferior vena cava": (("inferior_vena_cava",), PLAIN_BLOOD_HU),
    "iliac veins": (tuple(f"iliac_vena_{side}" for side in _SIDES), PLAIN_BLOOD_HU),
    "liver": (("liver",), PLAIN_LIVER_HU),
    "spleen": (("spleen",), PLAIN_SPLEEN_HU),
    "kidney": (("kidney_right", "kidney_left"), PLAIN_KIDNEY_HU),
    "renal pelvis": (tuple(f"{n}_{s}" for n in ("renal_pelvis", "ureter") for s in _SIDES), PLAIN_URINE_HU),
    "bladder": (("urinary_bladder",), PLAIN_URINE_HU),
}
_BLOOD = frozenset(role for role, (_, plain) in _ROLES.items() if plain == PLAIN_BLOOD_HU)
#: Blood beside the arteries that shows whether weak contrast is mixed with all of it.
_WEAK_BLOOD = (
    *("portal vein", "inferior vena cava", "iliac veins", "jugular veins", "superior vena cava"),
    *("pulmonary artery", "right heart"),
)
_PLAIN_LIMIT = UNENHANCED_HU - PLAIN_BLOOD_HU
_ENHANCED_LIMIT = ENHANCED_HU - PLAIN_BLOOD_HU
_PLAIN_KIDNEY_LIMIT = UNENHANCED_KIDNEY_HU - PLAIN_KIDNEY_HU
_ENHANCED_KIDNEY_LIMIT = ENHANCED_HU - PLAIN_KIDNEY_HU


@dataclass(frozen=True)
class _Answer:
    """A timing (key of ``PHASE_OF_TIMING``), why, how many structures say so, and whether one speaks against it."""

    timing: str
    why: str
    witnesses: int = 0
    disputed: bool = False

    @property
    def name(self) -> str:
        return PHASE_OF_TIMING[self.timing]


@dataclass(frozen=True)
class _Levels:
    """Enhancement in HU at 120 kVp by role, and whether cortex and medulla of a kidney are told apart."""

    by_role: Mapping[str, float]
    cortex_apart: bool = False

    def get(self, *roles: str) -> float | None:
        return next((self.by_role[r] for r in roles if r in self.by_role), None)

    def moved(self, role: str, share: float, shift: float) -> _Levels:
        return _Levels({**self.by_role, role: self.by_role[role] * (1 + share) + shift}, self.cortex_apart)

    def all_moved(self, share: float, blood_shift: float) -> _Levels:
        moved = {r: e * (1 + share) + (blood_shift if r in _BLOOD else 0.0) for r, e in self.by_role.items()}
        return _Levels(moved, self.cortex_apart)


def estimate_phase(
    structures: Sequence[StructureMeasurements],
    study: Study | None = None,
    *,
    masks_given: bool = True,
    tissue_hu: Mapping[str, float] = MappingProxyType({}),
) -> tuple[Phase, tuple[Decision, ...]]:
    """Contrast phase of a scan, and what was decided on the way.

    Args:
        structures: records with a ``median_hu`` (as ``measure_scan`` makes them).
        study: what the header says: tube voltage, contrast agent with its route and time. A warning is recorded when
            an agent was given into a vein and the voxels show none.
        masks_given: False where thresholds alone made the masks, so that no organ could be found.
        tissue_hu: HU of the tissue of organs away from edge, lesions and vessels, which speaks instead of their median.
    """
    study = Study() if study is None else study
    medians = _medians(structures, tissue_hu)
    apart = _cortex_apart(structures)
    levels = [_levels(medians, apart, iodine) for iodine in _iodine(study.kvp)]
    answer = _answer(levels[len(levels) // 2])
    if not medians and not masks_given:
        answer = replace(answer, why="no masks were given")
    shaken = [_answer(moved) for level in levels for moved in _within_error(level)]
    certain = all(a.name == answer.name for a in shaken) and not answer.disputed and answer.witnesses >= 2
    timing = answer.timing if all(a.timing == answer.timing for a in shaken) else ""
    reason = f"{answer.why}: {_said(medians)}" if medians else answer.why
    name = answer.name
    fits = _fitting(study.contrast_delay_s)
    enhanced = all(a.name in ENHANCED_PHASES for a in shaken)
    if fits == {name} and enhanced and not certain:
        certain, reason = True, reason + f"; {study.contrast_delay_s:.0f} s after the injection by the header"
    elif name in USUAL_DELAY_S and study.contrast_delay_s is not None and name not in fits:
        certain, reason = False, reason + f"; the header says {study.contrast_delay_s:.0f} s after the injection"
    decisions: list[Decision] = []
    if _has_agent(study) and name == "non-contrast":
        decisions.append(
            Decision(
                "phase",
                f"The DICOM header names a contrast agent ({study.contrast_agent.strip()}), but the vessels are not "
                "enhanced: the series was acquired before the injection, or the agent was oral.",
                warning=True,
            )
        )
        certain, reason = False, reason + AGENT_NAMED
    elif _has_agent(study) and name == "unknown":
        reason += AGENT_NAMED
    certain = certain and name != "unknown"
    possible = (name,) if certain else ENHANCED_PHASES if enhanced else ()
    phase = Phase(name, reason, certain, timing if timing != name else "", possible)
    words = (phase.timing or name) if phase.certain else name
    said = f"Contrast phase {words} ({'certain' if phase.certain else 'uncertain'}): {reason}."
    return phase, (Decision("phase", said), *decisions)


def _fitting(delay_s: float | None) -> set[str]:
    """Phases that are usual so long after an injection."""
    return set() if delay_s is None else {n for n, (low, high) in USUAL_DELAY_S.items() if low <= delay_s <= high}


def _has_agent(study: Study) -> bool:
    """Whether the header names an agent that may have gone into a vessel."""
    by_mouth = any(word in study.contrast_route.lower() for word in ("oral", "rect", "enter", "mouth"))
    return study.contrast_agent.strip().lower() not in _NO_AGENT and not by_mouth


def _iodine(kvp: float | None) -> tuple[float, ...]:
    """How much brighter iodine is than at 120 kVp; several where the tube voltage is not known, the likeliest amid."""
    if kvp is None or not 60 <= kvp <= 150:
        return IODINE_UNKNOWN_KVP
    for (low, bright), (high, dim) in itertools.pairwise(IODINE_BY_KVP):
        if kvp <= high:
            return (bright + (dim - bright) * max(0.0, kvp - low) / (high - low),)
    return (IODINE_BY_KVP[-1][1],)


def _medians(structures: Sequence[StructureMeasurements], tissue_hu: Mapping[str, float]) -> dict[str, float]:
    by_name = {s.structure: s for s in structures if s.median_hu is not None and s.region.voxels >= MIN_VOXELS}
    found: dict[str, float] = {}
    for role, (names, _) in _ROLES.items():
        values = [(by_name[n].region.voxels, tissue_hu.get(n, by_name[n].median_hu)) for n in names if n in by_name]
        if values:
            found[role] = float(max(values)[1] or 0.0)
    return found


def _cortex_apart(structures: Sequence[StructureMeasurements]) -> bool:
    """Whether the HU of a kidney spread much farther than those of an even organ, as while only its cortex enhances."""
    spread = {}
    for record in structures:
        low, high = record.measurement("p25_hu"), record.measurement("p75_hu")
        if low is not None and high is not None and record.region.voxels >= MIN_VOXELS:
            spread[record.structure] = (high.value - low.value) / 2
    even = min((spread[n] for n in ("spleen", "liver") if n in spread), default=None)
    kidneys = [spread[n] for n in ("kidney_right", "kidney_left") if n in spread]
    return even is not None and bool(kidneys) and min(kidneys) ** 2 - even**2 > CORTEX_APART_HU**2


def _levels(medians: Mapping[str, float], cortex_apart: bool, iodine: float) -> _Levels:
    return _Levels({role: (hu - _ROLES[role][1]) / iodine for role, hu in medians.items()}, cortex_apart)


def _within_error(levels: _Levels) -> Iterator[_Levels]:
    """The levels, and what they may be instead."""
    yield levels
    for sign in (-1.0, 1.0):
        yield levels.all_moved(0.0, sign * PLAIN_BLOOD_ERROR_HU)
        for role in levels.by_role:
            yield levels.moved(role, sign * LEVEL_ERROR, sign * LEVEL_ERROR_HU)
    if "liver" in levels.by_role:
        for shift in PLAIN_LIVER_ERROR_HU:
            yield levels.moved("liver", 0.0, shift)


def _said(medians: Mapping[str, float]) -> str:
    return ", ".join(f"{role} {hu:.0f} HU" for role, hu in medians.items())


def _answer(levels: _Levels) -> _Answer:
    artery = levels.get("aorta", "arteries", "left heart")
    right = levels.get("pulmonary artery", "right heart")
    heart = levels.get("heart")
    if artery is None and heart is None and right is None:
        return _Answer("unknown", "neither the aorta nor another artery nor the heart was found in the masks")
    if artery is not None:
        upstream = [e for e in (right, heart) if e is not None]
        if any(e >= max(_ENHANCED_LIMIT, artery * PULMONARY_ABOVE, artery + PULMONARY_MARGIN_HU) for e in upstream):
            high = sum(e >= max(_ENHANCED_LIMIT, artery + PULMONARY_MARGIN_HU / 2) for e in upstream)
            return _Answer("pulmonary arterial", "the right heart is denser than the aorta", 1 + high)
    elif right is not None:
        if right >= 1.2 * ARTERIAL_AORTA_HU:
            return _Answer("pulmonary arterial", "the pulmonary artery is far denser than in a venous phase", 1)
        artery = right
    else:
        artery = heart
    assert artery is not None
    if artery < _ENHANCED_LIMIT:
        return _hardly_enhanced(levels, artery)
    if levels.get("aorta", "arteries", "left heart") is None:
        return _Answer("unknown", "enhanced, but neither the aorta nor another artery was found in the masks")
    return _enhanced(levels, artery)


def _hardly_enhanced(levels: _Levels, artery: float) -> _Answer:
    """Plain, or after or before the bolus; the arteries are below the limit of sure enhancement."""
    kidney = levels.get("kidney")
    veins = [e for e in (levels.get(r) for r in ("portal vein", "inferior vena cava", "iliac veins")) if e is not None]
    urine = max((e for e in (levels.get("renal pelvis"), levels.get("bladder")) if e is not None), default=0.0)
    if artery <= _PLAIN_LIMIT:
        kidney_enhanced = kidney is not None and kidney >= _ENHANCED_KIDNEY_LIMIT
        if max(veins, default=0.0) >= _ENHANCED_LIMIT or kidney_enhanced:
            return _Answer("unknown", "the vessels contradict each other")
        if (levels.get("superior vena cava") or 0.0) >= 2 * _ENHANCED_LIMIT:
            return _Answer("unknown", "contrast has reached the veins of the arm alone")
        if urine >= EXCRETED_BLADDER_HU:
            return _Answer("unknown", "blood is not enhanced and urine is, by an earlier injection or a filled bladder")
        doubt = max(veins, default=0.0) > _PLAIN_LIMIT or (kidney is not None and kidney > _PLAIN_KIDNEY_LIMIT)
        others = sum(levels.get(r) is not None for r in _ROLES if r not in ("aorta", "superior vena cava", "bladder"))
        seen = levels.get("aorta") is not None
        return _Answer("non-contrast", "blood is not enhanced", others + 1 if seen else 1, doubt)
    if urine >= EXCRETED_BLADDER_HU:
        return _Answer("excretory", "urine is dense and the blood hardly enhanced", 2, kidney is None)
    if kidney is not None and kidney >= _ENHANCED_KIDNEY_LIMIT:
        return _Answer("delayed", "the kidneys are enhanced and the blood hardly", 1)
    if kidney is not None and kidney <= _PLAIN_KIDNEY_LIMIT:
        return _Answer("non-contrast", "the kidneys are not enhanced", 1)
    blood = [e for r in _WEAK_BLOOD if (e := levels.get(r)) is not None]
    if kidney is not None and kidney > artery:
        blood.append(artery)
    low, high = (share * artery for share in MIXED_BLOOD_SHARES)
    if blood and all(low <= e <= high for e in blood):
        return _Answer("delayed", "arteries and veins are evenly and hardly enhanced", 1)
    return _Answer("unknown", "between unenhanced and enhanced blood")


def _enhanced(levels: _Levels, artery: float) -> _Answer:
    """Early or late arterial, portal venous, delayed or excretory; the arteries are enhanced."""
    votes = {
        role: weight * _clipped(math.log(limit / max(levels.by_role[role] / artery, 1e-3)) / math.log(1.5))
        for role, (limit, weight) in ARTERIAL_BELOW.items()
        if role in levels.by_role
    }
    cava = levels.get("superior vena cava")
    if cava is not None and artery < ARTERIAL_AORTA_HU:
        even = VENOUS_CAVA_SHARES[0] <= cava / artery <= VENOUS_CAVA_SHARES[1]
        votes["superior vena cava"] = -VENOUS_CAVA_WEIGHT if even else INFLOW_WEIGHT
    if artery >= ARTERIAL_AORTA_HU:
        votes["level"] = ARTERIAL_AORTA_WEIGHT * _clipped(math.log(artery / ARTERIAL_AORTA_HU) / math.log(1.15))
    if not votes:
        return _Answer("unknown", "enhanced, but nothing that tells the phase was found beside the arteries")
    total = sum(votes.values())
    agreed = sum(v * total > 0 and abs(v) >= 0.4 for v in votes.values()) + ("level" in votes and len(votes) == 1)
    disputed = any(v * total < 0 and abs(v) >= 1.0 for v in votes.values())
    if total >= 0:
        even = cava is not None and VENOUS_CAVA_SHARES[0] <= cava / artery <= EVEN_CAVA_BELOW
        disputed = disputed or even or sum(-v for v in votes.values() if v < 0) >= VENOUS_DOUBT
        return _arterial(levels, artery, agreed, disputed)
    return _venous(levels, artery, agreed, disputed)


def _arterial(levels: _Levels, artery: float, agreed: int, disputed: bool) -> _Answer:
    portal = levels.get("portal vein")
    why = "the arteries are far denser than veins and organs"
    if portal is None:
        return _Answer("arterial", why, agreed, disputed)
    if portal <= EARLY_PORTAL_HU or portal / artery <= EARLY_PORTAL_SHARE:
        return _Answer("early arterial", why + " and the portal vein has none", agreed + 1, disputed)
    return _Answer("late arterial", why + " and the portal vein begins to fill", agreed + 1, disputed)


def _venous(levels: _Levels, artery: float, agreed: int, disputed: bool) -> _Answer:
    votes = {"level": _clipped(math.log(artery / PORTAL_AORTA_HU) / math.log(1.4))}
    for role, (limit, weight) in DELAYED_ABOVE.items():
        level = levels.get(role)
        if role == "kidney" and level is not None and (levels.cortex_apart or level < FAILING_KIDNEY_SHARE * artery):
            continue
        if level is not None and level > 0:
            votes[role] = weight * _clipped(math.log(limit * artery / level) / math.log(1.25))
    portal = levels.get("portal vein")
    if portal is not None and 0 < portal < FILLING_PORTAL_SHARE * artery:
        votes["portal vein"] = FILLING_PORTAL_WEIGHT * _clipped(
            math.log(FILLING_PORTAL_SHARE * artery / portal) / math.log(1.25)
        )
    if levels.cortex_apart:
        votes["cortex"] = 1.5
    total = sum(votes.values())
    disputed = (
        disputed or abs(total) < SURE_VENOUS_VOTES or any(v * total < 0 and abs(v) >= 0.8 for v in votes.values())
    )
    pelvis, bladder = levels.get("renal pelvis"), levels.get("bladder")
    excreted = pelvis is not None and pelvis >= EXCRETED_HU
    filled = pelvis is None and bladder is not None and bladder >= EXCRETED_BLADDER_HU
    if (excreted or filled) and total < 0.5 and artery <= LATE_AORTA_HU:
        why = "veins and arteries are evenly enhanced and urine is dense"
        return _Answer("excretory", why, agreed + 1, disputed)
    if excreted and pelvis is not None and pelvis >= LONG_EXCRETED_HU:
        return _Answer("mixed", "urine is dense beside early enhancement, as after two injections", agreed)
    disputed = disputed or excreted
    if total >= 0:
        return _Answer("portal venous", "aorta, veins and organs are enhanced", agreed + (len(votes) > 1), disputed)
    disputed = disputed or len(votes) < 2
    return _Answer("delayed", "aorta, veins and organs are evenly and weakly enhanced", agreed + 1, disputed)


def _clipped(value: float) -> float:
    return min(1.0, max(-1.0, value))

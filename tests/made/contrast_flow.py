"""Enhancement of vessels and organs after an injection, from a compartment model of the circulation.

Independent of the limits of ``radvlm.quantify.phase``: blood carries iodine from an arm vein through the right heart,
the lungs and the left heart to the organs and back; each organ has blood and interstitium between which iodine
exchanges; the kidneys filter. Flows are shares of the cardiac output and volumes those of textbooks (after Bae KT,
Radiology 1998;207:647). All patients are computed at once: an array has one entry a patient.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

STEP_S = 0.5
#: HU of 1 mg iodine/mL by kVp (Bae 2010).
IODINE_HU = {80: 41.0, 100: 31.0, 120: 26.0, 140: 23.0}
#: Organ -> share of the cardiac output, blood (mL), interstitium (mL), exchange (mL/s), stages of transit.
ORGANS = {
    "head": (0.18, 450.0, 1500.0, 8.0, 3),
    "kidneys": (0.20, 90.0, 90.0, 2.5, 1),
    "gut": (0.16, 300.0, 1500.0, 16.0, 3),
    "spleen": (0.04, 70.0, 40.0, 0.6, 1),
    "liver": (0.065, 360.0, 500.0, 12.0, 1),
    "legs": (0.12, 800.0, 6000.0, 14.0, 4),
    "rest": (0.235, 700.0, 6000.0, 26.0, 3),
}


@dataclass(frozen=True)
class Patients:
    """Random patients and injections, one array entry each."""

    output_ml_s: np.ndarray
    size: np.ndarray
    iodine_mg: np.ndarray
    seconds: np.ndarray
    filtration: np.ndarray

    @classmethod
    def drawn(cls, rng: np.random.Generator, n: int, angiography: np.ndarray) -> Patients:
        """Weight 45 to 120 kg, 350 to 600 mg iodine/kg at 700 to 1500 mg/s; for angiography less and faster."""
        weight = rng.uniform(45, 120, n)
        size = weight / 75
        output = 95 * size**0.6 * np.exp(rng.normal(0, 0.18, n))
        dose = np.where(angiography, rng.uniform(200, 350, n), rng.uniform(350, 600, n)) * weight
        rate = np.where(angiography, rng.uniform(1200, 1900, n), rng.uniform(700, 1500, n))
        filtration = np.where(rng.random(n) < 0.07, rng.uniform(0.1, 0.5, n), rng.uniform(0.7, 1.3, n))
        return cls(output, size, dose, dose / rate, filtration)


def flow(patients: Patients, seconds: float = 620.0) -> dict[str, np.ndarray]:
    """Iodine (mg/mL) over time, (steps, patients), of every vessel and organ; organs as what a voxel of them holds."""
    n, q = len(patients.size), patients.output_ml_s
    scale = patients.size
    volume = {
        "arm": 60.0,
        "svc": 60.0,
        "right": 220.0,
        "lung": 480.0,
        "left": 220.0,
        "aorta": 150.0,
        "portal": 80.0,
        "cava": 300.0,
    }

    def zero() -> np.ndarray:
        return np.zeros(n)

    state = {k: zero() for k in ("arm", "svc", "right", "left", "portal", "cava", "urine", "tubules", "late_urine")}
    chain = {"lung": [zero() for _ in range(3)], "aorta": [zero() for _ in range(3)]}
    blood = {o: [zero() for _ in range(v[4])] for o, v in ORGANS.items()}
    space = {o: [zero() for _ in range(v[4])] for o, v in ORGANS.items()}
    out: dict[str, list[np.ndarray]] = {}
    rate = patients.iodine_mg / patients.seconds

    def through(
        parts: list[np.ndarray], entering: np.ndarray, flow_ml_s: np.ndarray, total_ml: np.ndarray
    ) -> np.ndarray:
        each = total_ml / len(parts)
        for i, c in enumerate(parts):
            leaving = c
            parts[i] = c + STEP_S * flow_ml_s * (entering - c) / each
            entering = leaving
        return entering

    for step in range(int(seconds / STEP_S)):
        t = step * STEP_S
        injected = np.where(t < patients.seconds, rate, 0.0)
        state["arm"] = state["arm"] + STEP_S * (injected - 6.0 * state["arm"]) / (volume["arm"] * scale)
        returns: dict[str, np.ndarray] = {}
        aorta = chain["aorta"][0]
        far_aorta = chain["aorta"][-1]
        for organ, (share, vb, ve, exchange, _) in ORGANS.items():
            entering, f = (aorta if organ in ("head", "kidneys") else far_aorta), q * share
            if organ == "liver":
                f = q * (0.065 + 0.16 + 0.04)
                entering = (far_aorta * 0.065 + state["portal"] * 0.2) / 0.265
            leaving = through(blood[organ], entering, f, vb * scale)
            for i, c in enumerate(blood[organ]):
                stages = len(blood[organ])
                moved = exchange * scale / stages * (c - space[organ][i])
                space[organ][i] = space[organ][i] + STEP_S * moved / (ve * scale / stages)
                blood[organ][i] = c - STEP_S * moved / (vb * scale / stages)
            returns[organ] = leaving
        filtered = 1.9 * patients.filtration * scale * blood["kidneys"][0]
        blood["kidneys"][0] = blood["kidneys"][0] - STEP_S * filtered / (90.0 * scale)
        # medulla and tubules hold filtrate for about a minute and a half before it reaches the pelvis
        state["urine"] = state["urine"] + STEP_S * (filtered - state["urine"] / 60.0)
        state["tubules"] = state["tubules"] + STEP_S * (state["urine"] - state["tubules"]) / 60.0
        state["late_urine"] = state["late_urine"] + STEP_S * (state["tubules"] / 60.0 - state["late_urine"] / 70.0)
        portal_in = (returns["gut"] * 0.16 + returns["spleen"] * 0.04) / 0.2
        state["portal"] = state["portal"] + STEP_S * q * 0.2 * (portal_in - state["portal"]) / (
            volume["portal"] * scale
        )
        below = 0.12 + 0.2 + 0.235 / 2
        cava_in = (returns["legs"] * 0.12 + returns["kidneys"] * 0.2 + returns["rest"] * 0.1175) / below
        state["cava"] = state["cava"] + STEP_S * q * below * (cava_in - state["cava"]) / (volume["cava"] * scale)
        svc_in = (returns["head"] * q * 0.18 + returns["rest"] * q * 0.1175 + 6.0 * state["arm"]) / (q * 0.2975)
        state["svc"] = state["svc"] + STEP_S * q * 0.2975 * (svc_in - state["svc"]) / (volume["svc"] * scale)
        mixed = 0.2975 * state["svc"] + below * state["cava"] + 0.265 * returns["liver"]
        state["right"] = state["right"] + STEP_S * q * (mixed - state["right"]) / (volume["right"] * scale)
        lungs = through(chain["lung"], state["right"], q, volume["lung"] * scale)
        state["left"] = state["left"] + STEP_S * q * (lungs - state["left"]) / (volume["left"] * scale)
        through(chain["aorta"], state["left"], q, volume["aorta"] * scale)
        if step % 2 == 0:
            kidney = blood["kidneys"][0]
            tubes = state["urine"] / (100.0 * scale)
            now = {
                "arm veins": state["svc"],
                "pulmonary": chain["lung"][0],
                "left": state["left"],
                "aorta": far_aorta,
                "portal": state["portal"],
                "cava": state["cava"],
                "leg arteries": far_aorta,
                "leg veins": returns["legs"],
                "neck veins": returns["head"],
                "cortex": 0.42 * kidney + 0.25 * space["kidneys"][0] + 0.40 * tubes,
                "medulla": 0.18 * kidney + 0.22 * space["kidneys"][0] + 0.60 * tubes,
                "liver": 0.24 * blood["liver"][0] + 0.27 * space["liver"][0],
                "spleen": 0.42 * blood["spleen"][0] + 0.2 * space["spleen"][0],
                "pelvis": state["late_urine"] / (12.0 * scale),
            }
            for name, value in now.items():
                out.setdefault(name, []).append(value)
    return {name: np.array(values) for name, values in out.items()}


@dataclass(frozen=True)
class PhaseCase:
    """Medians of the masks of one made-up scan, with what was done."""

    timing: str
    medians_hu: dict[str, float]
    kidney_spread_hu: float
    kvp: float
    kvp_known: bool


#: Structure -> curve and share of it that its median shows (small vessels are mixed with what is around them).
SHOWN = {
    "aorta": ("aorta", 1.0),
    "heart_ventricle_left": ("left", 1.0),
    "pulmonary_vein": ("left", 0.95),
    "pulmonary_artery": ("pulmonary", 1.0),
    "superior_vena_cava": ("arm veins", 1.0),
    "inferior_vena_cava": ("cava", 1.0),
    "portal_vein_and_splenic_vein": ("portal", 0.92),
    "iliac_artery_left": ("leg arteries", 0.92),
    "iliac_vena_left": ("leg veins", 0.95),
    "common_carotid_artery_left": ("aorta", 0.85),
    "internal_jugular_vein_left": ("neck veins", 0.9),
    "liver": ("liver", 1.0),
    "spleen": ("spleen", 1.0),
    "kidney_left": ("cortex", 1.0),
    "urinary_bladder": ("pelvis", 0.0),
    "renal_pelvis_left": ("pelvis", 0.8),
}
#: Which masks come together.
MASK_SETS = {
    "chest": ("aorta", "heart", "pulmonary_vein", "superior_vena_cava"),
    "heart chambers": ("aorta", "heart_ventricle_left", "pulmonary_artery", "pulmonary_vein", "superior_vena_cava"),
    "upper abdomen": ("aorta", "liver", "spleen", "kidney_left", "inferior_vena_cava", "portal_vein_and_splenic_vein"),
    "few organs": ("aorta", "liver", "spleen", "kidney_left"),
    "abdomen": (
        *("aorta", "liver", "spleen", "kidney_left", "inferior_vena_cava", "portal_vein_and_splenic_vein"),
        *("iliac_artery_left", "iliac_vena_left", "urinary_bladder"),
    ),
    "trunk": (
        *("aorta", "heart", "pulmonary_vein", "superior_vena_cava", "liver", "spleen", "kidney_left"),
        *("inferior_vena_cava", "portal_vein_and_splenic_vein", "iliac_artery_left", "iliac_vena_left"),
    ),
    "urography": (
        "aorta",
        "liver",
        "spleen",
        "kidney_left",
        "inferior_vena_cava",
        "renal_pelvis_left",
        "urinary_bladder",
    ),
    "legs": ("iliac_artery_left", "iliac_vena_left", "urinary_bladder"),
    "neck": ("common_carotid_artery_left", "internal_jugular_vein_left"),
}
TIMINGS = (
    "non-contrast",
    "pulmonary arterial",
    "early arterial",
    "late arterial",
    "portal venous",
    "delayed",
    "excretory",
)


def phase_cases(seed: int, n: int) -> list[PhaseCase]:
    """Scans of every timing: other patients, doses, tube voltages, masks; anemia, fatty livers, failing kidneys."""
    rng = np.random.default_rng(seed)
    timing = rng.choice(np.array(TIMINGS), n)
    patients = Patients.drawn(rng, n, timing == "pulmonary arterial")
    curves = flow(patients)
    everyone = np.arange(n)
    arrival = (curves["aorta"] >= np.minimum(3.8, 0.4 * curves["aorta"].max(0))).argmax(0)
    window = {
        "non-contrast": (-30, -20),
        "early arterial": (4, 9),
        "late arterial": (15, 22),
        "portal venous": (48, 64),
        "delayed": (150, 280),
        "excretory": (400, 560),
    }
    found = []
    for i in everyone:
        if timing[i] == "pulmonary arterial":
            second = int(curves["pulmonary"][:, i].argmax() + rng.integers(-2, 2))
        else:
            second = int(arrival[i] + rng.uniform(*window[timing[i]]))
        if timing[i] == "portal venous":  # a slow injection is followed by a later scan
            second = max(second, int(patients.seconds[i] + rng.uniform(30, 40)))
        kvp = float(rng.choice([80, 100, 120, 140], p=[0.1, 0.3, 0.5, 0.1]))
        at = {
            k: 0.0 if timing[i] == "non-contrast" else float(v[min(second, len(v) - 1), i]) * IODINE_HU[int(kvp)]
            for k, v in curves.items()
        }
        at["pelvis"] = min(at["pelvis"], 2500.0)
        blood, liver = rng.normal(40, 5), rng.normal(58, 6) if rng.random() < 0.75 else rng.uniform(0, 50)
        plain = {"liver": liver, "spleen": rng.normal(48, 4), "kidney_left": rng.normal(33, 3)}
        plain |= {"urinary_bladder": 6.0, "renal_pelvis_left": 10.0}
        shown: dict[str, float] = {}
        for name in MASK_SETS[str(rng.choice(np.array(list(MASK_SETS))))]:
            if name == "heart":  # chambers and myocardium in one mask
                level = 0.3 * at["pulmonary"] + 0.3 * at["left"] + 0.4 * 0.35 * at["left"]
            elif name == "urinary_bladder":
                level = 0.3 * at["pelvis"] if timing[i] == "excretory" else 0.0
            elif name == "kidney_left":
                level = 0.6 * at["cortex"] + 0.4 * at["medulla"]
            else:
                level = at[SHOWN[name][0]] * SHOWN[name][1]
            shown[name] = plain.get(name, blood) + level + rng.normal(0, 3)
        spread = float(np.hypot(0.67 * 14, abs(at["cortex"] - at["medulla"]) / 2))
        found.append(PhaseCase(str(timing[i]), shown, spread, kvp, bool(rng.random() < 0.6)))
    return found

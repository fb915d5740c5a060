"""Contrast phase on scans of a model of the circulation, beside TotalSegmentator's classifier on the same medians.

    python eval/score_phase.py [--cases 3000] [--totalsegmentator DIR]

The scans are those of ``tests/made/contrast_flow.py``: a compartment model with other patients, doses, tube voltages
and masks, which shares no limit with the library. DIR holds the unpacked wheel TotalSegmentator 2.18.0; its classifier
needs xgboost in this interpreter and was trained on scans with all of its 20 structures, of which a case here has few.
Without DIR that half is left out and the result says so. "Certain" of theirs is a probability of 1.
"""

from __future__ import annotations

import argparse
import pickle
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
from record import write_result

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from radvlm.quantify import estimate_phase
from radvlm.types.geometry import Box
from radvlm.types.measurement import Measurement
from radvlm.types.region import Region
from radvlm.types.scan_measurements import PHASE_OF_TIMING, StructureMeasurements
from radvlm.types.study import Study
from tests.made.contrast_flow import PhaseCase, phase_cases

SEED = 2
NOISE_HU = 14.0
#: Their 20 structures, in the order of their features; 0 where there is none.
THEIR_STRUCTURES = (
    *("liver", "pancreas", "urinary_bladder", "gallbladder", "heart", "aorta", "inferior_vena_cava"),
    *("portal_vein_and_splenic_vein", "iliac_vena_left", "iliac_vena_right", "iliac_artery_left"),
    *("iliac_artery_right", "pulmonary_vein", "brain", "colon", "small_bowel", "internal_carotid_artery_right"),
    *("internal_carotid_artery_left", "internal_jugular_vein_right", "internal_jugular_vein_left"),
)


def records(case: PhaseCase) -> list[StructureMeasurements]:
    found = []
    for name, median in case.medians_hu.items():
        half = case.kidney_spread_hu if name.startswith("kidney") else 0.67 * NOISE_HU
        hu = {"median_hu": median, "p25_hu": median - half, "p75_hu": median + half}
        numbers = tuple(Measurement(q, v, "model", None, name) for q, v in hu.items())
        region = Region(name, name, Box((0, 0, 0), (10, 10, 10)), 1000, 1.0, (0.0, 0.0, 0.0))
        found.append(StructureMeasurements(name, region, numbers))
    return found


def ours(cases: list[PhaseCase]) -> list[tuple[str, bool]]:
    said = [estimate_phase(records(c), Study(kvp=c.kvp if c.kvp_known else None))[0] for c in cases]
    return [(phase.name, phase.certain) for phase in said]


def theirs(cases: list[PhaseCase], folder: Path) -> list[tuple[str, bool]]:
    path = folder / "totalsegmentator" / "resources" / "contrast_phase_classifiers_2024_07_19.pkl"
    models = pickle.loads(path.read_bytes())
    features = np.array([[_median(case, name) for name in THEIR_STRUCTURES] for case in cases])
    seconds = np.mean([model.predict(features) for model in models.values()], axis=0)
    return [_their_phase(float(s)) for s in seconds]


def _median(case: PhaseCase, name: str) -> float:
    """The left of a pair stands for both."""
    return case.medians_hu.get(name, case.medians_hu.get(name.replace("right", "left"), 0.0))


def _their_phase(seconds: float) -> tuple[str, bool]:
    """Their limits of the time after the injection; they name no delayed phase."""
    if seconds < 10:
        return "non-contrast", seconds < 5
    if seconds < 60:
        return "arterial", 20 <= seconds < 50
    return "portal venous", seconds < 90


def score(cases: list[PhaseCase], said: list[tuple[str, bool]], delayed_is_portal: bool) -> dict[str, Any]:
    """Shares of all cases; ``delayed_is_portal``: portal venous counts as right for delayed."""
    truth = [PHASE_OF_TIMING[c.timing] for c in cases]
    merged = ("portal venous", "delayed") if delayed_is_portal else ()
    right = [n == t or (n, t) == merged for (n, _), t in zip(said, truth, strict=True)]
    named = sum(name != "unknown" for name, _ in said)
    by_timing = Counter(c.timing for c in cases)
    hits = Counter(c.timing for c, ok in zip(cases, right, strict=True) if ok)
    return {
        "named": round(named / len(cases), 4),
        "right_of_named": round(sum(right) / named, 4),
        "certain": round(sum(c for _, c in said) / len(cases), 4),
        "certain_and_wrong": round(sum(c and not ok for (_, c), ok in zip(said, right, strict=True)) / len(cases), 4),
        "named_by_timing": {
            t: dict(sorted(Counter(n for (n, _), c in zip(said, cases, strict=True) if c.timing == t).items()))
            for t in sorted(by_timing)
        },
        "right_by_timing": {t: round(hits[t] / n, 3) for t, n in sorted(by_timing.items())},
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cases", type=int, default=3000)
    parser.add_argument("--totalsegmentator", type=Path)
    options = parser.parse_args()
    cases = phase_cases(SEED, options.cases)
    result: dict[str, Any] = {"radvlm": score(cases, ours(cases), delayed_is_portal=False)}
    if options.totalsegmentator is None:
        result["totalsegmentator"] = "not asked: no --totalsegmentator"
    else:
        result["totalsegmentator"] = score(cases, theirs(cases, options.totalsegmentator), delayed_is_portal=True)
    write_result("phase", options.cases, result)


if __name__ == "__main__":
    main()

"""What thresholds show in a scan without masks, against phantoms whose truth is known.

    python eval/truth_thresholds.py [--n 200] [--name truth_thresholds]

Each phantom draws region, phase, spacing (3 to 6 mm, slices of 4 to 6 mm), noise, sex, age and the side of the table,
or none. Lung and fat are compared with the masks of the phantom, sizes of the body with its middle slice made anew
without noise on pixels of 1 mm, the ends of the lungs with the slices that they occupy. An error in percent is that of
one phantom.
"""

from __future__ import annotations

import argparse
import math
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from record import write_result
from scipy import ndimage

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from radvlm.interpret import interpret
from radvlm.interpret.bare_scan import CONTRAST_FROM_HU
from radvlm.phantom import Phantom, PhantomSpec, make_phantom
from radvlm.phantom.hu import tissue_hu
from radvlm.quantify import measure_scan
from radvlm.segment import segment_by_threshold
from radvlm.types.finding import Status
from radvlm.types.scan_measurements import Measurements
from radvlm.types.segmentation import Segmentation
from radvlm.types.study import Patient
from radvlm.types.volume import Volume

REGIONS = ("chest", "abdomen", "abdomen-pelvis", "chest-abdomen-pelvis")
PHASES = ("non-contrast", "arterial", "portal venous", "delayed")
SIDES = ("posterior", "posterior", "anterior", "left", "right", "")
DATA = Path(__file__).resolve().parents[2] / "shared" / "data"


def drawn(seed: int) -> tuple[PhantomSpec, str]:
    """A phantom and the side of its table, "" for none."""
    rng = np.random.default_rng(1000 + seed)
    pixel = float(rng.choice((3.0, 4.0, 5.0, 6.0)))
    spec = PhantomSpec(
        seed=seed,
        region=REGIONS[seed % len(REGIONS)],
        spacing_mm=(pixel, pixel, float(rng.choice((4.0, 5.0, 6.0)))),
        phase=PHASES[int(rng.integers(len(PHASES)))],
        noise_hu=float(rng.choice((5.0, 12.0, 25.0, 40.0))),
        sex=str(rng.choice(("F", "M"))),
        age_years=float(rng.integers(20, 90)),
    )
    return spec, SIDES[int(rng.integers(len(SIDES)))]


def with_table(volume: Volume, side: str) -> Volume:
    """The scan with a table of two shells and foam 15 mm from the body, on one side of it."""
    if not side:
        return volume
    hu = volume.hu.astype(np.float32)
    axis = 0 if side in ("left", "right") else 1
    step = volume.geometry.spacing_mm[axis]
    held = np.flatnonzero((hu > -300).any(axis=tuple(a for a in (0, 1, 2) if a != axis)))
    low, first = side in ("left", "posterior"), max(1, round(15 / step))
    for distance, value in ((0.0, -150.0), (10.0, -930.0), (25.0, -100.0)):
        index = held[0] - first - round(distance / step) if low else held[-1] + first + round(distance / step)
        if 0 <= index < hu.shape[axis]:
            place: list[Any] = [slice(None)] * 3
            place[axis] = index
            other = 1 - axis
            place[other] = slice(hu.shape[other] // 8, -hu.shape[other] // 8)
            hu[tuple(place)] = value
    return replace(volume, hu=hu.round().astype(np.int16))


def true_sizes(spec: PhantomSpec, k: int, slices: int) -> dict[str, float]:
    """Sizes of the body in slice ``k``, from that slice alone on pixels of 1 mm without noise."""
    assert spec.spacing_mm is not None
    thin = replace(
        spec,
        spacing_mm=(1.0, 1.0, spec.spacing_mm[2]),
        crop=((0.0, 1.0), (0.0, 1.0), ((k + 0.001) / slices, (k + 0.999) / slices)),
        noise_hu=0.0,
    )
    hu = make_phantom(thin).volume.hu
    assert hu.shape[2] == 1, hu.shape
    body, count = ndimage.label(ndimage.binary_fill_holes(hu[:, :, 0] > -500))
    body = body == 1 + int(np.argmax(np.bincount(body.ravel())[1 : count + 1]))
    x, y = np.nonzero(body)
    angles = np.radians(np.arange(0, 180, 0.5))
    spans = [np.ptp(x * math.cos(a) + y * math.sin(a)) + abs(math.cos(a)) + abs(math.sin(a)) for a in angles]
    width, depth = float(np.ptp(x)) + 1, float(np.ptp(y)) + 1
    water = float(hu[:, :, 0][body].mean()) / 1000 + 1
    return {
        "body_width": width,
        "body_depth": depth,
        "circumference": float(np.mean(spans)) * math.pi,  # Cauchy: the outline is pi times the mean width
        "effective_diameter": math.sqrt(width * depth),
        "water_equivalent_diameter": 2 * math.sqrt(water * float(body.sum()) / math.pi),
    }


class Errors:
    """Errors by quantity, and how often it was not given."""

    def __init__(self) -> None:
        self.found: dict[str, list[float]] = {}
        self.omitted: dict[str, int] = {}
        self.wrong: dict[str, list[str]] = {}
        self.right: dict[str, int] = {}

    def add(self, name: str, measured: float | None, truth: float, points: bool = False) -> None:
        self.found.setdefault(name, [])
        if measured is None:
            self.omitted[name] = self.omitted.get(name, 0) + 1
        else:
            self.found[name].append(measured - truth if points else 100 * (measured - truth) / truth)

    def told(self, name: str, said: str, truth: str, what: str) -> None:
        """A statement in words: right, wrong, or not made ("")."""
        self.right.setdefault(name, 0)
        self.wrong.setdefault(name, [])
        if not said:
            self.omitted[name] = self.omitted.get(name, 0) + 1
        elif said == truth:
            self.right[name] += 1
        else:
            self.wrong[name].append(f"{what}: {said!r}, truth {truth!r}")

    def table(self) -> dict[str, Any]:
        rows: dict[str, Any] = {}
        for name, errors in self.found.items():
            e = np.array(errors or [np.nan])
            rows[name] = {
                "n": len(errors),
                "omitted": self.omitted.get(name, 0),
                "mean": round(float(e.mean()), 2),
                "mean_absolute": round(float(np.abs(e).mean()), 2),
                "p95_absolute": round(float(np.percentile(np.abs(e), 95)), 2),
                "worst": round(float(e[np.abs(e).argmax()]), 2),
            }
        for name, right in self.right.items():
            rows[name] = {"right": right, "wrong": self.wrong[name], "not_told": self.omitted.get(name, 0)}
        return rows


def value(numbers: Measurements, name: str, quantity: str) -> float | None:
    record = numbers.structure(name)
    m = None if record is None else record.measurement(quantity)
    return None if m is None else m.value


def table_side(masks: Segmentation, numbers: Measurements) -> str:
    body, table = numbers.structure("body"), numbers.structure("scanner_table")
    if body is None or table is None:
        return ""
    x, y = (t - b for t, b in zip(table.region.centroid_mm[:2], body.region.centroid_mm[:2], strict=True))
    return ("posterior" if y < 0 else "anterior") if abs(y) >= abs(x) else ("left" if x < 0 else "right")


def one(seed: int, errors: Errors) -> None:
    spec, side = drawn(seed)
    made: Phantom = make_phantom(spec)
    scan = with_table(made.volume, side)
    masks = segment_by_threshold(scan)
    numbers = measure_scan(scan, masks)
    body = numbers.structure("body")
    assert body is not None, seed
    k = body.measurement("body_width")
    shape = scan.geometry.shape
    if k is None or k.slice_index is None:
        errors.add("body_width", None, 1)
    else:
        for quantity, true in true_sizes(spec, k.slice_index, shape[2]).items():
            errors.add(quantity, value(numbers, "body", quantity), true)
    truth = made.segmentation
    fat = truth.mask("subcutaneous_fat") | truth.mask("torso_fat")
    tissue = masks.mask("body") & ~_lungs(truth)
    errors.add("fat_share, points", value(numbers, "body_fat", "fat_share"), 100 * fat.sum() / tissue.sum(), True)
    lungs = _lungs(truth)
    if lungs.any():
        held = np.flatnonzero(lungs.any(axis=(0, 1)))
        ml = scan.geometry.voxel_volume_mm3 / 1000
        errors.add("volume of aerated lung", value(numbers, "lung", "volume"), float(lungs.sum()) * ml)
        record = numbers.structure("lung")
        if record is not None:
            step = scan.geometry.spacing_mm[2]
            for name, index, slice_index in (
                ("lower", record.region.box.start[2], held[0]),
                ("upper", record.region.box.stop[2], held[-1] + 1),
            ):
                errors.add(f"{name} end of the lungs, mm", step * index, step * slice_index, True)
    told = next((f for f in interpret(numbers, patient=Patient()) if f.kind == "imaged_region"), None)
    region = told.category if told is not None and told.status is Status.PRESENT else ""
    errors.told("imaged part", region_told(region), region_true(truth), f"seed {seed}")
    canal = numbers.structure("spinal_canal")
    cord = truth.mask("spinal_cord")
    if canal is not None:
        off = distance_to_canal(masks.mask("spinal_canal"), cord, scan.geometry.spacing_mm)
        errors.add("spinal canal to cord, mm", off, 0, True)
    else:
        errors.add("spinal canal to cord, mm", None, 0, True)
    median = value(numbers, "blood_before_spine", "median_hu")
    said = "" if median is None else "contrast" if median >= CONTRAST_FROM_HU else "none"
    errors.told("contrast in the blood", said, "none" if spec.phase == "non-contrast" else "contrast", f"seed {seed}")
    if median is not None:
        true = tissue_hu("artery", spec.phase)
        errors.add("blood before the spine less artery, HU", median, true, True)
    errors.told("side of the table", table_side(masks, numbers), side or "none", f"seed {seed}")


def region_told(text: str) -> str:
    """What a sentence says of lungs and pelvis, "" where it leaves one of them open."""
    if "trunk" in text or "perhaps" in text or not text:
        return ""
    lungs = next(w for w in ("upper chest", "lower chest", "without the upper and", "chest") if w in text)
    return f"{lungs}{', pelvis' if 'pelvis' in text else ''}"


def region_true(truth: Segmentation) -> str:
    lungs = _lungs(truth)
    low, high = bool(lungs[:, :, 0].any()), bool(lungs[:, :, -1].any())
    words = {(True, True): "without the upper and", (True, False): "upper chest", (False, True): "lower chest"}
    hips = any(n in truth.places for n in ("hip_left", "hip_right"))
    return f"{words.get((low, high), 'chest')}{', pelvis' if hips else ''}"


def distance_to_canal(canal: np.ndarray, cord: np.ndarray, spacing: tuple[float, float, float]) -> float:
    """Mean distance in the axial plane of the middles of both, over the slices that hold both."""
    both = np.flatnonzero(canal.any(axis=(0, 1)) & cord.any(axis=(0, 1)))
    off = [
        np.hypot(
            *(np.subtract(ndimage.center_of_mass(canal[:, :, k]), ndimage.center_of_mass(cord[:, :, k])) * spacing[:2])
        )
        for k in both
    ]
    return float(np.mean(off)) if off else 0.0


def _lungs(truth: Segmentation) -> np.ndarray:
    found = [truth.mask(n) for n in ("lung_right", "lung_left") if n in truth.places]
    return np.any(found, axis=0) if found else np.zeros(truth.geometry.shape, bool)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--n", type=int, default=200)
    parser.add_argument("--name", default="truth_thresholds")
    options = parser.parse_args()
    errors = Errors()
    for seed in range(options.n):
        one(seed, errors)
        if seed + 1 == options.n or (seed + 1) % 20 == 0:  # what there is so far
            unit = "percent unless the name says otherwise"
            write_result(options.name, seed + 1, {"unit": unit, "phantoms": errors.table()})


if __name__ == "__main__":
    main()

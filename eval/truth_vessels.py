"""Errors of vessels, tumor contact and vertebrae on random shapes of known size: mean, mean absolute and worst.

    python eval/truth_vessels.py [--samples 200] [--name truth_vessels]

Each sample has a random size, course (straight, oblique, curved), grid (1 x 1 x 1, 0.7 x 0.7 x 3, 2 x 2 x 3 mm) and
sub-voxel place. Contact angles are drawn from 45, 90, 150, 180 and 270 degrees on vessels of 4 to 6 mm radius at the
two grids on which they are promised; gaps are 3 mm.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
from collections import defaultdict
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType

import numpy as np
from record import RESULTS, write_result

from radvlm.quantify import measure_scan
from radvlm.quantify.contact import measure_contact
from radvlm.quantify.spine import HEIGHTS
from radvlm.quantify.vessel import vessel_sections
from radvlm.quantify.vessel_parts import whole_length
from radvlm.types.geometry import Geometry
from radvlm.types.segmentation import LabelPlace, Segmentation

GRIDS = ((1.0, 1.0, 1.0), (0.7, 0.7, 3.0), (2.0, 2.0, 3.0))
KINDS = ("straight", "oblique", "curved")
ANGLES = (45, 90, 150, 180, 270)
Errors = Iterator[tuple[str, str, float]]


def shapes() -> ModuleType:
    path = Path(__file__).resolve().parents[1] / "tests" / "made" / "analytic.py"
    spec = importlib.util.spec_from_file_location("analytic_shapes", path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def only(name: str, mask: np.ndarray, spacing: tuple[float, float, float]) -> Segmentation:
    geometry = Geometry(mask.shape, np.diag([*spacing, 1.0]))
    return Segmentation((mask.astype(np.uint8),), {name: LabelPlace(0, 1)}, frozenset(), geometry)


def tube_errors(analytic: ModuleType, rng: np.random.Generator) -> Errors:
    """Diameter, area and length of a tube; the diameter of a bulge."""
    spacing = GRIDS[rng.integers(3)]
    kind, radius = str(rng.choice(KINDS)), float(rng.uniform(7, 14))
    group = f"{kind}, {' x '.join(f'{s:g}' for s in spacing)}"
    along = np.linspace(0, 1, 400)
    bulge = radius + float(rng.uniform(4, 10)) * np.exp(-(((along - 0.5) / 0.14) ** 2))
    for radii in (np.full(400, radius), bulge):
        mask = analytic.tube(kind, radii, spacing, rng, length=110.0)
        sections, reason = vessel_sections(only("aorta", mask, spacing), "aorta")
        if not sections:
            yield f"not measured: {reason}", group, 1.0
            continue
        widest = max(s.largest_mm for s in sections) - 2 * float(radii.max())
        yield ("diameter (mm)" if radii is not bulge else "diameter of an aneurysm (mm)"), group, widest
        if radii is not bulge:
            area = float(np.median([s.area_mm2 for s in sections]))
            yield "area (percent)", group, 100 * (area / (np.pi * radius**2) - 1)
            # sections start and end one radius from the ends
            yield "length (mm)", group, whole_length(sections) - (110.0 - 2 * radius)


def contact_errors(analytic: ModuleType, rng: np.random.Generator) -> Errors:
    spacing = GRIDS[rng.integers(2)]
    kind, degrees = str(rng.choice(KINDS)), int(rng.choice(ANGLES))
    group = f"{kind}, {' x '.join(f'{s:g}' for s in spacing)}"
    vessel, tumor = analytic.vessel_and_tumor(kind, spacing, float(rng.uniform(4, 6)), degrees, rng)
    found = measure_contact(tumor, vessel, spacing)
    yield "contact found (misses)", group, float(not found.touches)
    if found.angle_degrees is not None and found.length_mm is not None:
        yield "contact angle (degrees)", group, found.angle_degrees - degrees
        yield f"contact angle of {degrees} (degrees)", "all", found.angle_degrees - degrees
        yield "contact length (mm)", group, found.length_mm - 20.0
    vessel, tumor = analytic.vessel_and_tumor(kind, spacing, float(rng.uniform(4, 6)), degrees, rng, gap=3.0)
    found = measure_contact(tumor, vessel, spacing)
    yield "gap of 3 mm called contact", group, float(found.touches)
    if found.distance_mm is not None and not found.touches:
        yield "distance of a gap (mm)", group, found.distance_mm - 3.0


def vertebra_errors(analytic: ModuleType, rng: np.random.Generator) -> Errors:
    spacing = GRIDS[rng.integers(3)]
    group = " x ".join(f"{s:g}" for s in spacing)
    posterior = float(rng.uniform(22, 30))
    anterior, middle = posterior * rng.uniform(0.5, 1.1), posterior * rng.uniform(0.6, 1.0)
    tilt = float(rng.uniform(-20, 20))
    mask, _ = analytic.vertebra(anterior, middle, posterior, spacing, rng, tilt_degrees=tilt)
    record = measure_scan(None, only("vertebrae_L2", mask, spacing)).structure("vertebrae_L2")
    assert record is not None
    bow = 4 * middle - 2 * (anterior + posterior)
    for quantity, share in zip(HEIGHTS, (0.8, 0.5, 0.2), strict=True):
        truth = posterior * (1 - share) + anterior * share + bow * share * (1 - share)
        found = record.measurement(quantity)
        if found is None:
            yield "heights not measured", group, 1.0
        else:
            yield f"{quantity.replace('_', ' ')} (mm)", group, found.value - truth


def summary(values: list[float]) -> dict[str, float]:
    array = np.array(values)
    mean, absolute = round(float(array.mean()), 2), round(float(np.abs(array).mean()), 2)
    return {
        "n": len(array),
        "mean": mean,
        "mean_absolute": absolute,
        "worst": round(float(array[np.abs(array).argmax()]), 2),
    }


DOCUMENT = Path(__file__).resolve().parents[1] / "docs" / "measurements.md"
MARKS = ("<!-- measured: truth_vessels -->\n", "<!-- /measured -->")


def write_docs(path: Path) -> None:
    """Put the table of a result file between its marks in docs/measurements.md."""
    text = DOCUMENT.read_text(encoding="utf-8")
    start = text.index(MARKS[0]) + len(MARKS[0])
    stop = text.index(MARKS[1], start)
    lines = ["| quantity | n | mean error | mean absolute | worst |", "|---|---|---|---|---|"]
    for quantity, groups in json.loads(path.read_text(encoding="utf-8"))["errors"].items():
        row = groups["all"]
        lines.append(
            f"| {quantity} | {row['n']} | {row['mean']:+.2f} | {row['mean_absolute']:.2f} | {row['worst']:+.2f} |"
        )
    DOCUMENT.write_text(text[:start] + "\n".join(lines) + "\n" + text[stop:], encoding="utf-8")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--samples", type=int, default=200)
    parser.add_argument("--name", default="truth_vessels")
    parser.add_argument("--docs", action="store_true", help="only write the table of docs/measurements.md again")
    options = parser.parse_args()
    if options.docs:
        write_docs(RESULTS / f"{options.name}.json")
        return
    analytic = shapes()
    table: dict[str, dict[str, list[float]]] = defaultdict(lambda: defaultdict(list))
    makers: tuple[Callable[[ModuleType, np.random.Generator], Errors], ...] = (
        tube_errors,
        contact_errors,
        vertebra_errors,
    )
    for number, make in enumerate(makers):
        for seed in range(options.samples):
            for quantity, group, error in make(analytic, np.random.default_rng([number, seed])):
                table[quantity]["all"].append(error)
                if group != "all":
                    table[quantity][group].append(error)
    write_docs(
        write_result(
            options.name,
            options.samples,
            {"errors": {q: {g: summary(v) for g, v in sorted(groups.items())} for q, groups in table.items()}},
        )
    )


if __name__ == "__main__":
    main()

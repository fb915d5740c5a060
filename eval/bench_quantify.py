"""How long measuring takes and how much memory it needs, beside one full-volume mean per structure.

    python eval/bench_quantify.py [--shape 512 512 300] [--repeats 3] [--name quantify]

A made-up scan (int16 noise, 60 structures in one label map, 10 lesions in another) is written to a temporary folder;
each method then runs in a process of its own that loads it with NumPy, so the peak memory is that of the method.
The naive method is what comes first to mind: ``hu[labels == n].mean()`` for each structure, a mean and nothing else.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from record import write_result

ROOT = Path(__file__).resolve().parents[1]
SPACING = (0.8, 0.8, 1.5)
STRUCTURES, LESIONS = 60, 10


def structure_names() -> list[str]:
    from radvlm.types.anatomy import structures

    kinds = [s.name for s in structures().values() if s.kind in ("organ", "vessel", "bone", "muscle")]
    first = ["liver", "spleen", "pancreas", "kidney_right", "kidney_left", "aorta", "portal_vein_and_splenic_vein"]
    return [*first, *(n for n in kinds if n not in first)][:STRUCTURES]


def write_scan(folder: Path, shape: tuple[int, int, int]) -> None:
    """Ellipsoids of 8 to 90 voxels radius at random places, the liver largest; lesions inside the liver."""
    rng = np.random.default_rng(0)
    labels, lesions = np.zeros(shape, np.uint8), np.zeros(shape, np.uint8)
    scale = np.array(shape) / (512, 512, 300)

    def paint(array: np.ndarray, label: int, center: np.ndarray, radii: np.ndarray) -> None:
        lo = np.maximum(0, np.floor(center - radii)).astype(int)
        hi = np.minimum(shape, np.ceil(center + radii) + 1).astype(int)
        grid = np.ogrid[tuple(slice(a, b) for a, b in zip(lo, hi, strict=True))]
        inside = sum(((g - c) / r) ** 2 for g, c, r in zip(grid, center, radii, strict=True)) <= 1
        array[tuple(slice(a, b) for a, b in zip(lo, hi, strict=True))][inside] = label

    sizes = [(np.exp(rng.uniform(np.log(8), np.log(90), 3)), rng.uniform(0.15, 0.85, 3)) for _ in range(STRUCTURES)]
    sizes[0] = (np.array([120, 100, 70]), np.array([0.6, 0.55, 0.6]))  # the liver
    for label in sorted(range(STRUCTURES), key=lambda n: -sizes[n][0].prod()):  # small ones last, so none is hidden
        paint(labels, label + 1, sizes[label][1] * shape, sizes[label][0] * scale)
    for number in range(LESIONS):
        turn = 2 * np.pi * number / LESIONS
        center = np.array([0.6, 0.55, 0.6]) * shape + np.array([np.cos(turn) * 75, np.sin(turn) * 62, 0]) * scale
        paint(lesions, 1, center, rng.uniform(5, 18, 3) * scale)
    np.save(folder / "labels.npy", labels)
    np.save(folder / "lesions.npy", lesions)
    hu = np.lib.format.open_memmap(folder / "hu.npy", mode="w+", dtype=np.int16, shape=shape)
    for plane in range(shape[0]):
        hu[plane] = rng.normal(40, 25, shape[1:]).round()
    hu.flush()


def peak_mb() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def run_method(folder: Path, method: str, repeats: int) -> dict[str, object]:
    """Times in CPU seconds (best of the repeats) and peak resident memory of this process."""
    from radvlm.quantify import measure_scan, paint_regions
    from radvlm.types.geometry import Geometry
    from radvlm.types.segmentation import LabelPlace, Segmentation
    from radvlm.types.volume import Volume

    hu, labels, lesions = (np.load(folder / f"{name}.npy") for name in ("hu", "labels", "lesions"))
    loaded = peak_mb()
    seconds: dict[str, list[float]] = {}

    def timed(name: str, began: float) -> None:
        seconds.setdefault(name, []).append(time.process_time() - began)

    extra: dict[str, object] = {}
    measured = 0.0
    for _ in range(repeats):
        began = time.process_time()
        if method == "naive":
            means = [float(hu[labels == n].mean()) for n in range(1, STRUCTURES + 1)]
            timed("one_mean_per_structure", began)
            extra["numbers"] = len(means)
            continue
        geometry = Geometry(hu.shape, np.diag([*SPACING, 1.0]))
        places = {name: LabelPlace(0, n) for n, name in enumerate(structure_names(), 1)}
        masks = Segmentation((labels, lesions), {**places, "liver_lesion": LabelPlace(1, 1)}, frozenset(), geometry)
        _ = masks.boxes
        timed("segmentation_counts_and_boxes", began)
        began = time.process_time()
        found = measure_scan(Volume(hu, geometry), masks)
        timed("measure_scan", began)
        measured = measured or peak_mb()
        began = time.process_time()
        painted = paint_regions(masks, [*(s.region for s in found.structures), *(x.region for x in found.lesions)])
        timed("paint_regions", began)
        numbers = sum(len(record.measurements) for record in (*found.structures, *found.lesions))
        extra = {
            "structures": len(found.structures),
            "lesions": len(found.lesions),
            "numbers": numbers,
            "region_labels": int(painted.labels.max()),
            "peak_rss_after_measure_scan_mb": round(measured, 1),
        }
        del painted  # or the next repeat would hold two maps
    ct_mb = hu.nbytes / 2**20
    return {
        "cpu_seconds_best": {k: round(min(v), 3) for k, v in seconds.items()},
        "cpu_seconds_all": {k: [round(x, 3) for x in v] for k, v in seconds.items()},
        "peak_rss_mb": round(peak_mb(), 1),
        "rss_after_loading_mb": round(loaded, 1),
        "ct_mb": round(ct_mb, 1),
        "peak_rss_over_ct": round(peak_mb() / ct_mb, 2),
        **extra,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--shape", type=int, nargs=3, default=(512, 512, 300))
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--name", default="quantify", help="the result is eval/results/NAME.json")
    parser.add_argument("--method", choices=("radvlm", "naive"), help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.method:
        sys.stdout.write(json.dumps(run_method(options.folder, options.method, options.repeats)))
        return
    result: dict[str, object] = {
        "shape": list(options.shape),
        "spacing_mm": list(SPACING),
        "n_structures": STRUCTURES,
        "n_lesions": LESIONS,
    }
    with tempfile.TemporaryDirectory() as name:
        write_scan(Path(name), tuple(options.shape))
        for method in ("radvlm", "naive"):
            done = subprocess.run(
                [sys.executable, __file__, "--method", method, "--folder", name, "--repeats", str(options.repeats)],
                capture_output=True,
                text=True,
                check=True,
                env={**os.environ, "PYTHONPATH": str(ROOT)},
            )
            result[method] = json.loads(done.stdout)
    write_result(options.name, options.repeats, result)


if __name__ == "__main__":
    main()

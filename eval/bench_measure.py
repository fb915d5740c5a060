"""Time and memory of every structure and lesion measurement, beside TotalSegmentator's statistics in the same process.

    pip install --no-deps --target DIR TotalSegmentator==2.18.0
    python eval/bench_measure.py --totalsegmentator DIR [--shape 488 404 448] [--repeats 3]

A made-up scan (int16 noise, 61 structures of the task ``total`` in one label map, 30 lesions of 2 cm in another).
Ours: everything that ``measure_scan`` gives. Theirs: ``get_basic_statistics``, volume and mean HU, for the same 61
labels on the same arrays. CPU seconds (other work may share the machine), best of the repeats; theirs runs once, after
our peak of memory has been read. Only the module of that function is imported. Without the package that half is left
out and the result says why.
"""

from __future__ import annotations

import argparse
import importlib
import resource
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
from record import write_result

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from radvlm.quantify import measure_scan
from radvlm.types.geometry import Geometry
from radvlm.types.segmentation import LabelPlace, Segmentation
from radvlm.types.volume import Volume

SPACING = (0.8, 0.8, 1.0)
STRUCTURES, LESIONS, LESION_MM = 61, 30, 20.0
#: RadGPT's method on a 410 x 410 x 400 grid, lesions of 2 cm, CPU seconds each (measured earlier on another machine).
RADGPT_SECONDS = 4.5


def structure_names() -> list[str]:
    """61 structures of the task ``total`` of which most is asked: organs, aorta, vertebrae, lobes, muscles."""
    from radvlm.types.label_scheme import scheme_named

    first = [
        "liver",
        "spleen",
        "pancreas",
        "kidney_right",
        "kidney_left",
        "aorta",
        "inferior_vena_cava",
        "heart",
        "trachea",
        "portal_vein_and_splenic_vein",
        "iliac_artery_left",
        "iliac_artery_right",
        *(
            f"lung_{p}_lobe_{s}"
            for p, s in (
                ("upper", "left"),
                ("lower", "left"),
                ("upper", "right"),
                ("middle", "right"),
                ("lower", "right"),
            )
        ),
        *(f"vertebrae_{v}" for v in ("L5", "L4", "L3", "L2", "L1", "T12", "T11", "T10")),
    ]
    named = list(scheme_named("totalsegmentator").labels.values())
    return [*first, *(n for n in named if n not in first)][:STRUCTURES]


def ellipsoid(array: np.ndarray, label: int, center: np.ndarray, radii: np.ndarray) -> None:
    lo = np.maximum(0, np.floor(center - radii)).astype(int)
    hi = np.minimum(array.shape, np.ceil(center + radii) + 1).astype(int)
    grid = np.ogrid[tuple(slice(a, b) for a, b in zip(lo, hi, strict=True))]
    inside = sum(((g - c) / r) ** 2 for g, c, r in zip(grid, center, radii, strict=True)) <= 1
    array[tuple(slice(a, b) for a, b in zip(lo, hi, strict=True))][inside] = label


def make_scan(shape: tuple[int, int, int]) -> tuple[np.ndarray, np.ndarray, tuple[np.ndarray, np.ndarray]]:
    """HU, labels 1 to 61 (the liver is 1 and largest), and center and radii of the liver in voxels."""
    rng = np.random.default_rng(0)
    scale = np.array(shape) / (488, 404, 448)
    sizes = [
        (np.exp(rng.uniform(np.log(8), np.log(70), 3)) * scale, rng.uniform(0.2, 0.8, 3) * shape)
        for _ in range(STRUCTURES)
    ]
    sizes[0] = (np.array([150, 130, 110]) * scale, np.array([0.6, 0.5, 0.5]) * shape)
    labels = np.zeros(shape, np.uint8)
    for number in sorted(range(STRUCTURES), key=lambda n: -sizes[n][0].prod()):
        ellipsoid(labels, number + 1, sizes[number][1], sizes[number][0])
    hu = np.empty(shape, np.int16)
    for plane in range(shape[0]):
        hu[plane] = rng.normal(60, 15, shape[1:]).round()
    return hu, labels, (sizes[0][1], sizes[0][0])


def make_lesions(
    shape: tuple[int, int, int], liver: tuple[np.ndarray, np.ndarray], count: int, diameter_mm: float
) -> np.ndarray:
    """``count`` balls, apart from each other, on shells inside the liver."""
    array = np.zeros(shape, np.uint8)
    radius = diameter_mm / 2 / np.array(SPACING)
    center, radii = liver
    placed: list[np.ndarray] = []
    rng = np.random.default_rng(1)
    while len(placed) < count:
        where = center + rng.uniform(-0.85, 0.85, 3) * radii
        inside = (((where - center) / (radii * 0.95)) ** 2).sum() <= 1
        if inside and all((np.abs(where - other) > 2.3 * radius).any() for other in placed):
            ellipsoid(array, 1, where, radius)
            placed.append(where)
    return array


def segmentation(labels: np.ndarray, lesions: np.ndarray | None) -> Segmentation:
    names = structure_names()
    held = set(np.unique(labels)) - {0}
    places = {name: LabelPlace(0, n) for n, name in enumerate(names, 1) if n in held}
    layers: tuple[np.ndarray, ...] = (labels,)
    if lesions is not None:
        layers, places = (labels, lesions), {**places, "liver_lesion": LabelPlace(1, 1)}
    masks = Segmentation(layers, places, frozenset(names), Geometry(labels.shape, np.diag([*SPACING, 1.0])))
    _ = masks.boxes
    return masks


def timed(call: Any, repeats: int) -> tuple[float, Any]:
    """CPU seconds, best of the repeats, and the last result."""
    best, result = float("inf"), None
    for _ in range(repeats):
        began = time.process_time()
        result = call()
        best = min(best, time.process_time() - began)
    return best, result


def lesion_seconds(volume: Volume, labels: np.ndarray, lesions: np.ndarray, repeats: int) -> tuple[float, int, int]:
    """CPU seconds for all lesions alone (host, neighbors and texture included), how many, and their voxels."""
    from radvlm.quantify.location import Locator
    from radvlm.quantify.organ import healthy_statistics
    from radvlm.quantify.scan import _instances

    masks = segmentation(labels, lesions)

    def run() -> Any:
        cache: dict[str, Any] = {}

        def healthy(host: str) -> Any:
            if host not in cache:
                cache[host] = healthy_statistics(masks, host, volume.hu)
            return cache[host]

        return _instances(masks, "liver_lesion", volume.hu, Locator(masks), healthy, 4, 0.0)[0]

    seconds, found = timed(run, repeats)
    return seconds, len(found), sum(x.region.voxels for x in found)


def curves(repeats: int) -> dict[str, list[dict[str, float]]]:
    """Seconds per lesion against size of the volume, of the lesion, and number of lesions."""
    found: dict[str, list[dict[str, float]]] = {"by_volume": [], "by_lesion_size": [], "by_count": []}
    for share in (0.5, 0.7, 1.0):
        shape = tuple(int(n * share) for n in (488, 404, 448))
        hu, labels, liver = make_scan(shape)  # type: ignore[arg-type]
        volume = Volume(hu, Geometry(hu.shape, np.diag([*SPACING, 1.0])))
        seconds, n, _ = lesion_seconds(volume, labels, make_lesions(shape, liver, 6, LESION_MM), repeats)  # type: ignore[arg-type]
        found["by_volume"].append({"voxels": int(hu.size), "lesions": n, "seconds_per_lesion": round(seconds / n, 4)})
        if share < 1:
            continue
        for diameter in (10.0, 20.0, 30.0, 40.0, 60.0):
            seconds, n, voxels = lesion_seconds(volume, labels, make_lesions(shape, liver, 2, diameter), repeats)  # type: ignore[arg-type]
            found["by_lesion_size"].append(
                {"diameter_mm": diameter, "voxels_per_lesion": voxels // n, "seconds_per_lesion": round(seconds / n, 4)}
            )
        for count in (5, 10, 20, 30):
            seconds, n, _ = lesion_seconds(volume, labels, make_lesions(shape, liver, count, LESION_MM), repeats)  # type: ignore[arg-type]
            found["by_count"].append({"lesions": n, "seconds": round(seconds, 3)})
    return found


def totalsegmentator_seconds(folder: Path | None, hu: np.ndarray, labels: np.ndarray) -> dict[str, Any]:
    """CPU seconds of ``get_basic_statistics`` (volume and mean of 61 classes), or why it was not run."""
    if folder is not None:
        sys.path.insert(0, str(folder))
    try:
        module = importlib.import_module("totalsegmentator.statistics")
    except ImportError as error:
        return {"skipped": f"TotalSegmentator is not installed ({error})"}
    import nibabel as nib

    classes = module.class_map["total"]
    subset = [classes[n] for n in sorted(classes)[:STRUCTURES]]  # labels 1 to 61 of its own map
    image = nib.Nifti1Image(hu, np.diag([*SPACING, 1.0]))
    began = time.process_time()
    found = module.get_basic_statistics(labels, image, quiet=True, roi_subset=subset, exclude_masks_at_border=False)
    seconds = time.process_time() - began
    return {"seconds": round(seconds, 2), "structures": len(found), "numbers": 2 * len(found)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--shape", type=int, nargs=3, default=(488, 404, 448))
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--totalsegmentator", type=Path, help="folder that TotalSegmentator was installed into")
    parser.add_argument("--name", default="measure")
    options = parser.parse_args()
    shape = tuple(options.shape)
    hu, labels, liver = make_scan(shape)
    lesions = make_lesions(shape, liver, LESIONS, LESION_MM)
    volume = Volume(hu, Geometry(shape, np.diag([*SPACING, 1.0])))
    count_seconds, plain = timed(lambda: segmentation(labels, None), options.repeats)
    structure_seconds, measured = timed(lambda: measure_scan(volume, plain), options.repeats)
    both = segmentation(labels, lesions)
    all_seconds, everything = timed(lambda: measure_scan(volume, both), 1)
    peak_mb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    lesion_time, n_lesions, _ = lesion_seconds(volume, labels, lesions, options.repeats)
    ct_mb = hu.nbytes / 2**20
    numbers = sum(len(r.measurements) for r in measured.structures)
    per_lesion = sum(len(r.measurements) + len(r.neighbors) for r in everything.lesions) / max(1, n_lesions)
    theirs = totalsegmentator_seconds(options.totalsegmentator, hu, labels)
    ours = structure_seconds + count_seconds
    result: dict[str, Any] = {
        "shape": list(shape),
        "spacing_mm": list(SPACING),
        "n_structures": len(measured.structures),
        "n_lesions": n_lesions,
        "lesion_diameter_mm": LESION_MM,
        "structures": {
            "seconds": round(ours, 3),
            "of_which_counts_and_boxes": round(count_seconds, 3),
            "numbers": numbers,
        },
        "lesions": {
            "seconds_together": round(lesion_time, 3),
            "numbers_per_lesion": round(per_lesion, 1),
            "radgpt_method_seconds_each": RADGPT_SECONDS,
            "times_faster_than_radgpt_method": round(RADGPT_SECONDS * n_lesions / lesion_time, 1),
        },
        "everything_seconds": round(all_seconds, 3),
        "peak_rss_mb": round(peak_mb, 1),
        "ct_mb": round(ct_mb, 1),
        "peak_rss_over_ct": round(peak_mb / ct_mb, 2),
        "totalsegmentator_get_basic_statistics": theirs,
        "times_faster_than_totalsegmentator": round(theirs["seconds"] / ours, 1) if "seconds" in theirs else None,
    }
    result["curves"] = curves(options.repeats)
    write_result(options.name, options.repeats, result)


if __name__ == "__main__":
    main()

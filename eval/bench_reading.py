"""Time to read scans and masks, against nibabel and SimpleITK, and against another checkout of radvlm if one is given.

    python eval/bench_reading.py [--before PATH] [--repeats 7] [--real ../shared/data]

Runs alternate (radvlm, peer, before, radvlm, ...), each in a process of its own that reads once to warm up and then
once against the clock, in processor seconds; the ratio is the median over pairs. nibabel and SimpleITK give an array
with an affine; radvlm's time includes what they do not do: the checks of values and sizes, digests, RAS+ order, names
and placement of masks.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
from record import write_result

sys.path.insert(0, str(Path(__file__).parents[1] / "tests" / "made"))

READ = """
import sys, time, warnings
warnings.simplefilter("ignore")
how, scan, masks = sys.argv[1:4]
def radvlm_read():
    import radvlm
    volume = radvlm.load_volume(scan)
    if masks:
        radvlm.load_segmentation(masks, like=volume)
def nibabel_read():
    import nibabel, numpy
    for path in (scan, masks):
        if path:
            numpy.asarray(nibabel.as_closest_canonical(nibabel.load(path)).dataobj)
def sitk_read():
    import SimpleITK
    reader = SimpleITK.ImageSeriesReader()
    reader.SetFileNames(reader.GetGDCMSeriesFileNames(scan))
    SimpleITK.GetArrayFromImage(reader.Execute())
read = {"radvlm": radvlm_read, "nibabel": nibabel_read, "SimpleITK": sitk_read}[how]
read()
start = time.process_time()
read()
print(time.process_time() - start)
"""


def seconds(how: str, scan: Path, masks: Path | None, tree: Path) -> float:
    done = subprocess.run(
        [sys.executable, "-c", READ, how, str(scan), str(masks or "")],
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, "PYTHONPATH": str(tree), "OMP_NUM_THREADS": "1"},
    )
    return float(done.stdout.strip().splitlines()[-1])


def main() -> None:
    import plausible

    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--before", type=Path, help="another checkout to compare with")
    parser.add_argument("--repeats", type=int, default=7)
    parser.add_argument("--real", type=Path, help="folder of real scans: upper_abdomen_dicom, plain_abdomen")
    args = parser.parse_args()
    here = Path(__file__).parents[1]
    with tempfile.TemporaryDirectory() as folder:
        scan = plausible.phantom_scan(3)
        fine = plausible.enlarged(scan, 3)
        ct = plausible.write_nifti(Path(folder, "ct.nii.gz"), np.rint(fine.hu).astype(np.int16), fine.affine)
        masks = plausible.write_masks(Path(folder, "masks.nii.gz"), fine)
        series = plausible.write_dicom(Path(folder, "series"), fine.hu[:, :, :150], fine.affine)
        cases = {
            f"NIfTI {' x '.join(map(str, fine.hu.shape))}, phantom": ("nibabel", ct, None),
            "the same with masks": ("nibabel", ct, masks),
            "DICOM, 150 slices, phantom": ("SimpleITK", series, None),
        }
        if args.real:
            plain = args.real / "plain_abdomen"
            cases["real NIfTI with masks"] = ("nibabel", plain / "ct.nii.gz", plain / "segmentation.nii.gz")
            cases["real DICOM, JPEG 2000"] = ("SimpleITK", args.real / "upper_abdomen_dicom", None)
        results = {}
        for name, (peer, scan_path, mask_path) in cases.items():
            times: dict[str, list[float]] = {"radvlm": [], peer: [], "before": []}
            for _ in range(args.repeats):
                times["radvlm"].append(seconds("radvlm", scan_path, mask_path, here))
                times[peer].append(seconds(peer, scan_path, mask_path, here))
                if args.before:
                    times["before"].append(seconds("radvlm", scan_path, mask_path, args.before))
            ratios = {
                f"against {other}": _ratio(times["radvlm"], taken)
                for other, taken in times.items()
                if other != "radvlm" and taken
            }
            results[name] = {"radvlm_cpu_s": round(statistics.median(times["radvlm"]), 3), **ratios}
            print(name, json.dumps(results[name]), flush=True)
    write_result("reading", args.repeats, {"cases": results})


def _ratio(ours: list[float], theirs: list[float]) -> list[float]:
    """Median, lowest and highest ratio of the pairs."""
    ratios = [a / b for a, b in zip(ours, theirs, strict=True)]
    return [round(statistics.median(ratios), 2), round(min(ratios), 2), round(max(ratios), 2)]


if __name__ == "__main__":
    main()

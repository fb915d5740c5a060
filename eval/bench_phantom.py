"""How long phantoms take and how much memory they need, each size in a fresh process.

    python eval/bench_phantom.py [--repeats 3] [--name phantom]

Must hold: 64 x 64 x 64 in under 0.3 s after import, 512 x 512 x 300 in under 60 s. Wall time, CPU time, and the peak
resident memory of the process (interpreter and libraries included), for the trunk with five lesions.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import time
from pathlib import Path

from record import write_result

SIZES = ((64, 64, 64), (128, 128, 128), (256, 256, 150), (512, 512, 300))
LESIONS = {"liver_cyst": 1, "kidney_cyst": 1, "lung_nodule": 1, "gallstone": 1, "pleural_effusion": 1}


def one(shape: tuple[int, int, int]) -> dict[str, float]:
    """One phantom after a small one has warmed up the imports."""
    from radvlm.phantom import PhantomSpec, make_phantom

    make_phantom(PhantomSpec(seed=0, shape=(8, 8, 8)))
    wall, cpu = time.perf_counter(), time.process_time()
    phantom = make_phantom(PhantomSpec(seed=1, shape=shape, lesions=LESIONS))
    wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return {
        "wall_s": round(wall, 3),
        "cpu_s": round(cpu, 3),
        "peak_mb": round(peak, 1),
        "ct_mb": round(phantom.volume.hu.nbytes / 2**20, 1),
        "structures": len(phantom.segmentation.places),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--name", default="phantom")
    parser.add_argument("--one", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.one:
        print(json.dumps(one(tuple(int(n) for n in arguments.one.split("x")))))  # type: ignore[arg-type]
        return
    results = {}
    for shape in SIZES:
        text = "x".join(map(str, shape))
        runs = []
        for _ in range(arguments.repeats):
            done = subprocess.run(
                [sys.executable, __file__, "--one", text],
                check=True,
                capture_output=True,
                text=True,
                cwd=Path(__file__).resolve().parents[1],
            )
            runs.append(json.loads(done.stdout))
        best = min(runs, key=lambda run: run["wall_s"])
        results[text] = {**best, "wall_s_all": [run["wall_s"] for run in runs]}
    write_result(arguments.name, arguments.repeats, {"lesions": LESIONS, "sizes": results})


if __name__ == "__main__":
    main()

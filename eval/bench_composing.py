"""CPU time from the measurements of a scan with very many lesions to its verified report, and how it grows with them.

    python eval/bench_composing.py [--before PATH] [--repeats 3] [--lesions 500 1000 2000 4222]

Measurements are made by hand: liver lesions, renal cysts, nodules and nodes in equal parts, sizes and attenuation all
different. Every run is a process of its own that composes a small report first; runs of this tree and of ``before``
alternate, and the ratio is the median over pairs. ``before`` is only run up to 1,000 lesions (it is quadratic).
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
from pathlib import Path

from record import write_result

HERE = Path(__file__).parents[1]
#: Larger reports are not asked of the tree before.
MOST_BEFORE = 1000
COMPOSE = """
import sys, time
sys.path.insert(0, sys.argv[2])
import hand_made
from radvlm.compose import compose_report
from radvlm.interpret import interpret
from radvlm.types.study import Patient

KINDS = {"liver_lesion": "liver", "kidney_cyst_left": "kidney_left", "lung_nodule": "lung_left", "lymph_node": ""}

def made(count):
    lesions = []
    for at, (kind, host) in enumerate(KINDS.items()):
        places = {"liver_lesion": [f"liver_segment_{n}" for n in range(1, 9)], "lung_nodule": ["lung_upper_lobe_left"]}
        for n in range(count // 4):
            where = places.get(kind, [])
            lesions.append(
                hand_made.lesion(
                    kind, n + 1, 5 + n % 37 + n * 1e-3, 4 + n % 31 + n * 1e-3, 40 + n % 50, host,
                    (where[n % len(where)],) if where else (), level="vertebrae_L1",
                    attenuation="hypoattenuating" if at == 0 else "",
                )
            )
    organs = [hand_made.organ(n) for n in ("liver", "kidney_left", "lung_left", "lung_upper_lobe_left", *KINDS)]
    organs += [hand_made.organ(f"liver_segment_{n}") for n in range(1, 9)]
    return hand_made.numbers(organs, lesions)

def run(count):
    numbers = made(count)
    start = time.process_time()
    compose_report(interpret(numbers, patient=Patient(sex="F", age_years=60)))
    return time.process_time() - start

run(40)
print(run(int(sys.argv[1])))
"""


def seconds(count: int, tree: Path) -> float:
    done = subprocess.run(
        [sys.executable, "-c", COMPOSE, str(count), str(tree / "tests" / "made")],
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, "PYTHONPATH": str(tree), "OMP_NUM_THREADS": "1"},
    )
    return float(done.stdout)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--before", type=Path, help="checkout to compare with")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--lesions", type=int, nargs="+", default=[500, 1000, 2000, 4222])
    arguments = parser.parse_args()
    rows = []
    for count in arguments.lesions:
        now, before = [], []
        for _ in range(arguments.repeats):
            now.append(seconds(count, HERE))
            if arguments.before is not None and count <= MOST_BEFORE:
                before.append(seconds(count, arguments.before))
        row = {"lesions": count, "cpu_s": round(statistics.median(now), 3)}
        if before:
            row["before_cpu_s"] = round(statistics.median(before), 3)
            row["ratio"] = round(statistics.median(b / n for n, b in zip(now, before, strict=True)), 1)
        rows.append(row)
    smallest, largest = rows[0], rows[-1]
    growth = (largest["cpu_s"] / smallest["cpu_s"]) / (largest["lesions"] / smallest["lesions"])
    found = {"rows": rows, "repeats": arguments.repeats, "cpu_growth_per_lesion": round(growth, 2)}
    write_result("composing", len(rows), found)


if __name__ == "__main__":
    main()

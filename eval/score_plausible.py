"""How many plausible faults of scans and masks pass in silence, and how many honest inputs are refused or warned.

    python eval/score_plausible.py --n 400 [--real ../shared/data/plain_abdomen] [--start 0]

Inputs are those of ``tests/made/plausible.py``: phantoms, and crops of a real scan where ``--real`` names a folder
with ``ct.nii.gz`` and ``segmentation.nii.gz``. The peer is doing nothing: nibabel reads every one of the files.
Each verdict is a line of ``out/plausible.jsonl``; a run that was stopped goes on after the last one.
"""

from __future__ import annotations

import argparse
import json
import logging
import sys
import tempfile
import warnings
from collections import Counter
from pathlib import Path

from record import write_result
from tqdm import tqdm

sys.path.insert(0, str(Path(__file__).parents[1] / "tests" / "made"))


def main() -> None:
    import plausible

    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--n", type=int, default=400, help="inputs of each sort")
    parser.add_argument("--start", type=int, default=0, help="first seed")
    parser.add_argument("--real", type=Path, help="folder with ct.nii.gz and segmentation.nii.gz")
    parser.add_argument("--log", type=Path, default=Path("out/plausible.jsonl"))
    args = parser.parse_args()
    warnings.simplefilter("ignore")
    logging.disable(logging.CRITICAL)
    real = ()
    if args.real is not None:
        real = (plausible.real_scan(args.real / "ct.nii.gz", args.real / "segmentation.nii.gz"),)
    args.log.parent.mkdir(parents=True, exist_ok=True)
    done = {}
    if args.log.exists():
        for line in args.log.read_text().splitlines():
            record = json.loads(line)
            done[record["sort"], record["seed"]] = record
    with args.log.open("a") as log:
        for sort, make in (("faulty", plausible.faulty), ("honest", plausible.honest)):
            for seed in tqdm(range(args.start, args.start + args.n), desc=sort):
                if (sort, seed) in done:
                    continue
                with tempfile.TemporaryDirectory() as folder:
                    written = make(seed, Path(folder), real)
                    verdict = plausible.verdict(written)
                record = {
                    "sort": sort,
                    "seed": seed,
                    "kind": written.kind,
                    "told": written.told,
                    "verdict": verdict.word,
                    "said": list(verdict.said),
                }
                done[sort, seed] = record
                log.write(json.dumps(record) + "\n")
                log.flush()
    wanted = [done[sort, seed] for sort in ("faulty", "honest") for seed in range(args.start, args.start + args.n)]
    faulty = [record for record in wanted if record["sort"] == "faulty"]
    honest = [record for record in wanted if record["sort"] == "honest"]
    silent = Counter(record["kind"] for record in faulty if record["verdict"] == "silent")
    write_result(
        "plausible",
        args.n,
        {
            "first_seed": args.start,
            "real_scan": args.real is not None,
            "faulty": dict(Counter(record["verdict"] for record in faulty)),
            "faulty_silent_percent": round(100 * sum(silent.values()) / len(faulty), 2),
            "faulty_silent_by_kind": dict(silent),
            "honest": dict(Counter(record["verdict"] for record in honest)),
            "honest_refused_or_warned_percent": round(
                100 * sum(record["verdict"] != "silent" for record in honest) / len(honest), 2
            ),
            "peer": "nibabel and pydicom read all of them without a word",
        },
    )


if __name__ == "__main__":
    main()

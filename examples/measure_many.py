"""Numbers of many cases into one CSV: a damaged case is a row with its error, not the end of the run.

Each case is a folder with ct.nii.gz and segmentation.nii.gz. Run it: python examples/measure_many.py CASES OUT.csv
"""

from __future__ import annotations

import csv
import sys
from pathlib import Path

import radvlm


def main(cases: Path, out: Path) -> int:
    """Returns the number of cases that failed."""
    failed = 0
    with out.open("w", newline="", encoding="utf-8") as stream:
        writer = csv.writer(stream)
        writer.writerow(["case", "region", "quantity", "value", "unit", "uncertainty", "error"])
        for folder in sorted(path for path in cases.iterdir() if path.is_dir()):
            try:
                numbers = radvlm.measure(folder / "ct.nii.gz", folder / "segmentation.nii.gz")
            except radvlm.RadvlmError as error:
                writer.writerow([folder.name, "", "", "", "", "", str(error)])
                failed += 1
                continue
            for row in numbers.rows():
                if row["value"] is not None:
                    writer.writerow(
                        [folder.name, row["region"], row["quantity"], row["value"], row["unit"], row["uncertainty"], ""]
                    )
    return failed


if __name__ == "__main__":
    print(f"{main(Path(sys.argv[1]), Path(sys.argv[2]))} cases failed")

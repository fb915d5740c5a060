"""Put lesions with known truth into a scan of your own and see what the report makes of them.

Run it: python examples/lesions_into_a_real_scan.py ct.nii.gz segmentation.nii.gz
"""

from __future__ import annotations

import sys
from pathlib import Path

import radvlm
from radvlm.phantom import Insertion, LesionSpec, insert_lesions


def main(ct: Path, masks: Path) -> tuple[radvlm.GeneratedReport, Insertion]:
    volume = radvlm.load_volume(ct)
    segmentation = radvlm.load_segmentation(masks, like=volume)
    lesions = (LesionSpec("liver_cyst", 24), LesionSpec("liver_metastasis", 18))
    volume, segmentation, truth = insert_lesions(volume, segmentation, lesions, seed=1, phase="non-contrast")
    report = radvlm.generate_report(volume, segmentation=segmentation)
    for known in truth.lesions:
        print(f"put in:  {known.words}, {known.long_axis_mm:.0f} mm, {known.mean_hu:.0f} HU")
    for sentence in report.sentences:
        if sentence.section == "liver":
            print(f"written: {sentence.text}")
    return report, truth


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))

"""A report from NumPy arrays: a CT in HU, an affine, and masks as {structure: boolean array}.

Run it: python examples/report_from_arrays.py
"""

from __future__ import annotations

import numpy as np

import radvlm


def main() -> radvlm.GeneratedReport:
    # A 20 cm block of soft tissue with a spleen-like ball of 6 cm radius and a 1.5 cm cyst in it, on a 2 mm grid.
    i, j, k = np.indices((100, 100, 100))
    hu = np.full((100, 100, 100), 30, np.int16)
    spleen = (i - 50) ** 2 + (j - 50) ** 2 + (k - 50) ** 2 <= 21**2
    cyst = (i - 55) ** 2 + (j - 50) ** 2 + (k - 50) ** 2 <= 4**2
    hu[spleen], hu[cyst] = 50, 5
    affine = np.diag([2.0, 2.0, 2.0, 1.0])  # index to RAS+ mm

    volume = radvlm.load_volume(hu, affine=affine)
    masks = radvlm.load_segmentation({"spleen": (spleen, affine), "spleen_cyst": (cyst, affine)}, like=volume)
    report = radvlm.generate_report(volume, segmentation=masks, patient=radvlm.Patient(sex="F", age_years=63))
    print(report.text)
    for sentence in report.sentences:
        print([region.id for region in sentence.regions], sentence.text)
    return report


if __name__ == "__main__":
    main()

"""Do every second slice and the others come from two acquisitions? Told from the voxels, where no header tells it.

When two phases or two exposures are stacked slice by slice, soft tissue is brighter in every second slice, all the way.
Anatomy and noise do not do that: the difference of a slice from the mean of its two neighbors, in the median of the
voxels that are soft tissue in all three, changes its sign at random. In phantoms with slices 2 to 24 mm apart it keeps
its sign by turns over eight slices with 2.3 HU at most; the median, because ribs may come and go with every slice.
"""

from __future__ import annotations

import numpy as np

from radvlm.errors import GridError

#: Soft tissue in HU, in a slice and both of its neighbors.
SOFT_HU = (-150.0, 300.0)
#: So many voxels of each slice are sampled, along each of its axes.
SAMPLE = 48
#: Slices with fewer sampled voxels of soft tissue say nothing.
MIN_VOXELS = 200
#: So many slices in a row must be too bright and too dark by turns ...
MIN_SLICES = 10
#: ... by this much in the median.
MIN_ALTERNATION_HU = 5.0


def refuse_interleaved(hu: np.ndarray) -> None:
    """Raise GridError when the slices of ``hu`` (I, J, K), stacked along K, are bright and dark by turns."""
    height, start, stop = alternation(hu)
    if height >= MIN_ALTERNATION_HU:
        raise GridError(
            "the slices of a scan come from one acquisition",
            f"slices {start + 1} to {stop} are brighter and darker by turns, by {height:.0f} HU in soft "
            "tissue, as if two phases or exposures were stacked slice by slice",
            "Pass the files of one acquisition (acquisition=, or a list of files), or convert each by itself",
        )


def alternation(hu: np.ndarray) -> tuple[float, int, int]:
    """The difference in HU between odd and even slices, and the slices (start, stop) where it is; 0 for none."""
    if hu.ndim != 3 or hu.shape[2] < MIN_SLICES + 2:
        return 0.0, 0, 0
    steps = [max(1, n // SAMPLE) for n in hu.shape[:2]]
    sample = np.ascontiguousarray(np.moveaxis(hu[:: steps[0], :: steps[1]], 2, 0), dtype=np.float32)
    is_soft = (sample > SOFT_HU[0]) & (sample < SOFT_HU[1])
    signed = np.zeros(len(sample) - 2)
    for k in range(len(signed)):
        together = is_soft[k] & is_soft[k + 1] & is_soft[k + 2]
        if together.sum() >= MIN_VOXELS:
            signed[k] = np.median(sample[k + 1][together] - (sample[k] + sample[k + 2])[together] / 2)
    signed[1::2] *= -1
    best, begin = (0.0, 0, 0), 0
    for end in range(1, len(signed) + 1):
        if end < len(signed) and np.sign(signed[end]) == np.sign(signed[begin]):
            continue
        if end - begin >= MIN_SLICES:
            best = max(best, (float(np.median(np.abs(signed[begin:end]))), begin, end + 2))
        begin = end
    return best

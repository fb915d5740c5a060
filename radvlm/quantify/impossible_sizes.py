"""Structures larger than anybody's: their labels are of something else, and what lies under them is not interpreted."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import numpy as np

from radvlm.quantify.impossible_hu import warning_of
from radvlm.types.anatomy import structure
from radvlm.types.possible_sizes import possible_size
from radvlm.types.provenance import Decision
from radvlm.types.scan_measurements import StructureMeasurements
from radvlm.types.segmentation import Segmentation

#: A length is that of the middle voxels, so that stray ones count for nothing: this share is left out at either end.
TAIL = 0.05
#: What fills more of a cube of its length than this is a mass (a ball fills half), and its length says nothing.
MASS_SHARE = 1 / 8


def impossible_sizes(segmentation: Segmentation, records: Iterable[StructureMeasurements]) -> dict[str, str]:
    """{region id: why its size is impossible}, by ``types/possible_sizes.csv``."""
    found: dict[str, str] = {}
    for record in records:
        limits = possible_size(record.structure)
        if limits is None:
            continue
        volume_ml = segmentation.voxel_count(record.structure) * segmentation.geometry.voxel_volume_mm3 / 1000
        words = structure(record.structure).words
        if limits.most_ml is not None and volume_ml > limits.most_ml:
            found[record.region.id] = f"{words} {volume_ml:.0f} mL, possible are {limits.most_ml:.0f} mL"
        elif limits.most_mm is not None and _box_mm(segmentation, record.structure) > limits.most_mm:
            length_mm = _length_mm(segmentation, record.structure)
            if length_mm > limits.most_mm and volume_ml * 1000 < MASS_SHARE * length_mm**3:
                found[record.region.id] = f"{words} {length_mm:.0f} mm long, possible are {limits.most_mm:.0f} mm"
    return found


def impossible_size_warning(reasons: Mapping[str, str]) -> tuple[Decision, ...]:
    """One warning that names what is too large; nothing without reasons."""
    return warning_of("Structures are larger than anybody's, and the labels may be of another scheme", reasons)


def _box_mm(segmentation: Segmentation, name: str) -> float:
    spacing = segmentation.geometry.spacing_mm
    return max(n * s for n, s in zip(segmentation.boxes[name].shape, spacing, strict=True))


def _length_mm(segmentation: Segmentation, name: str) -> float:
    """Longest span along an axis of the middle 90 % of the voxels."""
    mask, longest = segmentation.mask_in_box(name), 0.0
    for axis, spacing in enumerate(segmentation.geometry.spacing_mm):
        held = np.cumsum(np.count_nonzero(mask, axis=tuple(a for a in range(3) if a != axis)))
        first, last = np.searchsorted(held, [TAIL * held[-1], (1 - TAIL) * held[-1]])
        longest = max(longest, float(last - first) * spacing)
    return longest

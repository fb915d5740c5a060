"""Where masks end that keep only slices with something in them: DICOM SEG and RTSTRUCT.

Their slices do not say how far anybody looked, because empty ones may be left out. Two whole organs that end in one
plane with at least half of their largest cross-section do: organs taper, and there the masks end, not the organs.
"""

from __future__ import annotations

import dataclasses

from radvlm.types.geometry import Box
from radvlm.types.provenance import Decision
from radvlm.types.segmentation import FACES, Segmentation

#: Organs that taper to all sides; tubes, bones and vessels may end with a full cross-section.
TAPERING = (
    "liver", "spleen", "kidney_left", "kidney_right", "kidney", "heart", "brain", "stomach", "pancreas",
    "urinary_bladder", "lung", "lung_left", "lung_right", "lung_upper_lobe_left", "lung_upper_lobe_right",
    "lung_lower_lobe_left", "lung_lower_lobe_right", "lung_middle_lobe_right", "prostate", "gallbladder",
)  # fmt: skip
#: An organ ends abruptly with this share of its largest cross-section, and is this many voxels long at least.
ABRUPT_SHARE, LEAST_VOXELS = 0.5, 4
#: So many organs must end in one plane.
LEAST_ORGANS = 2


def with_ends(segmentation: Segmentation) -> Segmentation:
    """The masks with ``covered``, and a warning, where they end before the scan does."""
    shape = segmentation.geometry.shape
    ends = {(axis, end): 0 if end == 0 else shape[axis] for axis, end in FACES}
    organs = [name for name in TAPERING if name in segmentation.places]
    for axis, end in FACES:
        planes: dict[int, int] = {}
        for name in organs:
            plane = _abrupt_end(segmentation, name, axis, end)
            if plane is not None:
                planes[plane] = planes.get(plane, 0) + 1
        outermost = _outermost(segmentation, axis, end)
        if planes.get(outermost, 0) >= LEAST_ORGANS:
            ends[axis, end] = outermost
    start, stop = (tuple(ends[axis, end] for axis in range(3)) for end in (0, 1))
    share = 1.0
    for a, b, n in zip(start, stop, shape, strict=True):
        share *= (b - a) / n
    if share == 1.0:
        return segmentation
    return dataclasses.replace(
        segmentation,
        covered=Box(start, stop),  # type: ignore[arg-type]
        decisions=(*segmentation.decisions, partly_covered(share)),
    )


def partly_covered(share: float) -> Decision:
    """The warning that masks reach only a share (0 to 1) of the scan."""
    return Decision("masks", f"The masks cover {share:.0%} of the scan; the rest was not searched.", warning=True)


def _abrupt_end(segmentation: Segmentation, name: str, axis: int, end: int) -> int | None:
    """The plane in which an organ ends with much of its cross-section, not that of the scan's edge; else None."""
    box = segmentation.boxes[name]
    plane = box.start[axis] if end == 0 else box.stop[axis]
    if plane in (0, segmentation.geometry.shape[axis]) or box.shape[axis] < LEAST_VOXELS:
        return None
    areas = segmentation.mask_in_box(name).sum(axis=tuple(a for a in range(3) if a != axis))
    return plane if areas[0 if end == 0 else -1] >= ABRUPT_SHARE * areas.max() else None


def _outermost(segmentation: Segmentation, axis: int, end: int) -> int:
    """The plane beyond which no mask reaches."""
    boxes = segmentation.boxes.values()
    return min((b.start[axis] for b in boxes), default=0) if end == 0 else max((b.stop[axis] for b in boxes), default=0)

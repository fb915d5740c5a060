"""Where masks end before the scan does, although no grid says so.

The slices of a DICOM SEG or RTSTRUCT do not say how far anybody looked, because empty ones may be left out; and the
file of a scan's shape may have blank slices. Two organs that end in one plane with at least half of their largest
cross-section do, where no mask lies beyond: organs taper, and there the masks end, not the organs.
"""

from __future__ import annotations

import dataclasses
import re

from radvlm.types.anatomy import structure
from radvlm.types.geometry import Box
from radvlm.types.lesion_hosts import host_candidates, members
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
#: So many organs must end in one plane; lungs and their lobes, which share the diaphragm, are one.
LEAST_ORGANS = 2
#: What ends with this share at so many faces was drawn as a box.
BOX_SHARE, BOX_FACES = 0.9, 5
#: To the right and left vertebrae taper too.
_VERTEBRA = re.compile(r"vertebrae_[CTL]\d+")


def with_ends(segmentation: Segmentation) -> Segmentation:
    """The masks with ``covered``, and a warning, where they end before the scan does."""
    shape = segmentation.geometry.shape
    ends = {(axis, end): 0 if end == 0 else shape[axis] for axis, end in FACES}
    organs = [name for name in TAPERING if name in segmentation.places]
    vertebrae = [name for name in segmentation.places if _VERTEBRA.fullmatch(name)]
    for axis, end in FACES:
        outermost = _outermost(segmentation, axis, end)
        judged = [*organs, *vertebrae] if axis == 0 else organs
        touching = [name for name in judged if _end(segmentation, name, axis, end) == outermost]
        if len(touching) < LEAST_ORGANS or outermost in (0, shape[axis]):
            continue
        flat = {name for name in touching if _is_cut_flat(segmentation, name, axis, end)}
        if len({"lung" if name.startswith("lung") else name for name in flat}) >= LEAST_ORGANS:
            ends[axis, end] = outermost
    start, stop = (tuple(ends[axis, end] for axis in range(3)) for end in (0, 1))
    share = 1.0
    for a, b, n in zip(start, stop, shape, strict=True):
        share *= (b - a) / n
    if share == 1.0:
        return segmentation
    told = partly_covered(share)
    return dataclasses.replace(
        segmentation,
        covered=Box(start, stop),  # type: ignore[arg-type]
        decisions=(*(d for d in segmentation.decisions if d != told), told),
    )


def without_unsearched(segmentation: Segmentation) -> Segmentation:
    """What was not found counts as searched only in organs that lie whole within masks that end inside the scan."""
    absent = segmentation.searched - set(segmentation.places)
    if segmentation.covered is None or not absent:
        return segmentation
    ended = {name for name in segmentation.places if segmentation.end_faces(name)}
    if not ended:
        return segmentation
    hosts = {name: host_candidates(segmentation, name) for name in absent}
    kept = {
        name
        for name, own in hosts.items()
        if own
        and structure(name).kind == "lesion"
        and not ended & {part for h in own for part in members(segmentation, h)}
    }
    return dataclasses.replace(segmentation, searched=segmentation.searched - (absent - kept))


def partly_covered(share: float) -> Decision:
    """The warning that masks reach only a share (0 to 1) of the scan."""
    return Decision("masks", f"The masks cover {share:.0%} of the scan; the rest was not searched.", warning=True)


def _is_cut_flat(segmentation: Segmentation, name: str, axis: int, end: int) -> bool:
    """Whether an organ ends abruptly at one face, and is no box, which does so at all of them."""
    if _share_at(segmentation, name, axis, end) < ABRUPT_SHARE:
        return False
    return sum(_share_at(segmentation, name, *face) >= BOX_SHARE for face in FACES) < BOX_FACES


def _share_at(segmentation: Segmentation, name: str, axis: int, end: int) -> float:
    """Share of its largest cross-section with which an organ ends; 0 for one of a few slices."""
    if segmentation.boxes[name].shape[axis] < LEAST_VOXELS:
        return 0.0
    return segmentation.face_share(name, axis, end)


def _end(segmentation: Segmentation, name: str, axis: int, end: int) -> int:
    box = segmentation.boxes[name]
    return box.start[axis] if end == 0 else box.stop[axis]


def _outermost(segmentation: Segmentation, axis: int, end: int) -> int:
    """The plane beyond which no mask reaches."""
    boxes = segmentation.boxes.values()
    return min((b.start[axis] for b in boxes), default=0) if end == 0 else max((b.stop[axis] for b in boxes), default=0)

"""Lesions whose masks lie in the wrong place while those of the organs are right: mirrored, or of the other side.

A lesion that lies clearly outside its organ, and in it when the array is mirrored, was written mirrored. One that lies
in the organ of the other side, or on the other side of the body, has a wrong name or was mirrored. What is outside and
fits no such reason is warned of where it is measured (``quantify``): metastases and implants may lie beside an organ.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass, replace

import numpy as np

from radvlm.io.lone_sides import BodyMidline
from radvlm.io.placement import Placement
from radvlm.types.anatomy import OPPOSITE_SIDE, structure
from radvlm.types.geometry import Box
from radvlm.types.lesion_hosts import gap_outside_mm, touches, whole_hosts
from radvlm.types.phrases import first_of
from radvlm.types.segmentation import Segmentation
from radvlm.types.volume import Volume

#: A lesion at least this far (mm) from its organ is misplaced beyond doubt.
CLEAR_GAP_MM = 25.0
#: Instances with fewer voxels are not judged; of a structure so many are.
MIN_VOXELS, MOST_INSTANCES = 4, 40
#: How far (mm of an adult) a lesion of one side lies beyond the midline to be warned of, and to be an error.
_BEYOND_MM = {"kidney": (30.0, 50.0), "adrenal": (25.0, 40.0)}
#: So many lesions are named.
_NAMED = 4
_AXES = ("x (right-left)", "y (front-back)", "z (head-foot)")


@dataclass(frozen=True, eq=False)
class _Instance:
    name: str
    box: Box
    mask: np.ndarray
    gap_mm: float | None


def misplaced_lesions(segmentation: Segmentation, volume: Volume, placement: Placement) -> Placement:
    """``placement`` with what is wrong with the lesions: a problem where it is sure, else doubts."""
    lesions = [name for name in segmentation.present if structure(name).kind == "lesion"]
    judged = [one for name in lesions if whole_hosts(segmentation, name) for one in _instances(segmentation, name)]
    outside = [one for one in judged if one.gap_mm is not None and one.gap_mm >= CLEAR_GAP_MM]
    twins = sorted({one.name for one in outside if _lies_in_twin(segmentation, one)})
    if outside and 2 * len(outside) > len(judged):
        mirrored = _mirrored(segmentation, outside)
        if mirrored is not None:
            words = first_of([structure(name).words for name in dict.fromkeys(one.name for one in outside)], _NAMED)
            return replace(
                placement,
                problem=f"{len(outside)} of {len(judged)} lesions ({words}) lie outside the masks of their organs, and "
                f"in them when mirrored along {mirrored}",
                remedy="Flip the arrays of the lesions back, or give them the affine of the scan; check names and sides"
                if not twins
                else "Exchange left and right in the names of the lesions, or flip their arrays back",
            )
    if twins:
        return replace(
            placement,
            problem=first_of([f"the {structure(n).words} lies in the organ of the other side" for n in twins], _NAMED),
            remedy="Check the names left and right of the lesions and the orientation of their masks",
        )
    return _with_sides(segmentation, volume, placement, lesions)


def _instances(segmentation: Segmentation, name: str) -> list[_Instance]:
    from scipy.ndimage import find_objects, label

    outer = segmentation.boxes[name]
    numbered, _ = label(segmentation.mask_in_box(name), np.ones((3, 3, 3), bool))
    counts, parts = np.bincount(numbered.ravel()), find_objects(numbered)
    found = []
    for number in np.argsort(-counts[1:], kind="stable")[:MOST_INSTANCES] + 1:
        if counts[number] < MIN_VOXELS:
            break
        part = parts[number - 1]
        box, mask = Box.from_slices(part).within(outer), numbered[part] == number
        found.append(_Instance(name, box, mask, gap_outside_mm(segmentation, name, box, mask)))
    return found


def _mirrored(segmentation: Segmentation, outside: list[_Instance]) -> str | None:
    """Words for the axes along which mirroring brings most of the instances into their organs."""
    for count in (1, 2, 3):
        for axes in itertools.combinations(range(3), count):
            inside = sum(_lies_in(segmentation, whole_hosts(segmentation, one.name), one, axes) for one in outside)
            if inside >= 0.8 * len(outside):
                return " and ".join(_AXES[axis] for axis in axes)
    return None


def _lies_in(segmentation: Segmentation, hosts: tuple[str, ...], one: _Instance, axes: tuple[int, ...] = ()) -> bool:
    """Whether an instance, mirrored along ``axes``, lies in or at one of the structures."""
    shape = segmentation.geometry.shape
    start = tuple(shape[a] - one.box.stop[a] if a in axes else one.box.start[a] for a in range(3))
    stop = tuple(shape[a] - one.box.start[a] if a in axes else one.box.stop[a] for a in range(3))
    box, mask = Box(start, stop), np.flip(one.mask, axes) if axes else one.mask  # type: ignore[arg-type]
    return touches(segmentation, hosts, box, mask)


def _lies_in_twin(segmentation: Segmentation, one: _Instance) -> bool:
    """Whether an instance of one side lies in the organ of the other side."""
    row = structure(one.name)
    if not row.side or not row.parent:
        return False
    twin = row.parent.replace(row.side, OPPOSITE_SIDE[row.side])
    return twin in segmentation.places and _lies_in(segmentation, (twin,), one)


def _with_sides(segmentation: Segmentation, volume: Volume, placement: Placement, lesions: list[str]) -> Placement:
    """Lesions of one side whose organ has no mask, by the midline of the body."""
    judged = [
        (name, structure(name).side, _BEYOND_MM[family])
        for name in lesions
        if structure(name).side and (family := name.split("_")[0]) in _BEYOND_MM
        if structure(name).parent not in segmentation.places
    ]
    if not judged:
        return placement
    body = BodyMidline(volume)
    for name, side, (warned, refused) in judged:
        box = segmentation.boxes[name]
        middle = np.argwhere(segmentation.mask_in_box(name)).mean(axis=0) + box.start
        beyond = body.beyond_midline(segmentation.geometry.to_world(middle), side)
        if beyond is None or beyond < warned:
            continue
        other = OPPOSITE_SIDE[side]
        words = f"the {structure(name).words} lies {beyond:.0f} mm to the {other} of the midline"
        if beyond >= refused:
            remedy = "Check the names left and right and the orientation of the masks"
            return replace(placement, problem=words, remedy=remedy)
        doubt = f"{words[0].upper()}{words[1:]}: check its name and its side."
        placement = replace(placement, doubts=(*placement.doubts, doubt))
    return placement

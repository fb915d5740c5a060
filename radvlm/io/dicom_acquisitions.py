"""Telling the acquisitions (phases, reconstructions, repeats) that one series holds apart.

One SeriesInstanceUID is no proof of one acquisition: scanners and exports put two phases into one series, and where
identifiers were removed, several series look like one. If their slices lie between each other, the union may even be
regularly spaced. On the other hand AcquisitionNumber, times and tube current change from slice to slice or from table
stop to table stop in an honest scan. So attributes only propose a division, and positions decide:

* Images are put in order of an attribute (or grouped by it), and a new part begins where an image falls among the
  slices that the part has already. What continues a part, or fills a gap of it, stays with it.
* A division counts when every part, but for few images, is a stack of its own that can be read.
* Attributes of writing rather than scanning (content time, folder, instance number) count only when the whole cannot
  be one scan: when two images share a position, or the spacing has no pattern.
"""

from __future__ import annotations

import bisect
import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from radvlm.errors import GridError
from radvlm.io.dicom_frames import MARKS, Frame, Mark
from radvlm.io.dicom_grid import plan_slices

#: Slices closer than this along the normal are at the same position.
SAME_POSITION_MM = 0.01
#: A group begins a new part when more than this many of its images lie among those of the part: neighboring table
#: stops may share a slice or two at their border.
SHARED_AT_BORDER = 2
#: A slice lies in a gap of a part, not between two neighbors, where these are farther apart than usual by this factor.
GAP_FACTOR = 1.6
#: Images that belong to no readable part, as a share of all.
LEFT_OVER_SHARE = 0.05
#: The same where one readable part holds at least half (a scan and the images that watched for the bolus).
LEFT_OVER_BESIDE_A_SCAN = 0.3
#: After so many images out of order an attribute is not followed any further, save where the whole is no stack.
MAX_DISORDER = 64
Offset = Callable[[Frame], float]


@dataclass(frozen=True)
class Acquisition:
    """What tells the images of one acquisition from the others of its series.

    ``marks`` are attributes with the values that its images have; ``order`` is its place among them, from 0.
    """

    marks: tuple[tuple[str, tuple[str, ...]], ...]
    order: int

    def __str__(self) -> str:
        return ", ".join(f"{name} {_span(values)}" for name, values in self.marks)

    def fits(self, wanted: str) -> bool:
        """True when ``wanted`` is this text, or a value of one of the attributes."""
        words = wanted.casefold().strip()
        return words in (str(self).casefold(), *(_span(values).casefold() for _, values in self.marks)) or any(
            words == value.casefold() for _, values in self.marks for value in values
        )


Part = tuple[tuple[tuple[str, tuple[str, ...]], ...], list[Frame]]


def acquisitions(
    frames: Sequence[Frame], offset: Offset, *, are_mixed: bool = False
) -> list[tuple[Acquisition | None, list[Frame]]]:
    """The acquisitions among ``frames`` of one direction and size, in the order in which they were made.

    ``offset`` is the position of a frame along the normal in mm. One entry with None when they are one acquisition,
    or when nothing tells them apart. ``are_mixed``: the voxels show that they are several, so that attributes of
    writing count too.
    """
    if len(frames) < 4:
        return [(None, list(frames))]
    first = {(frame.sop_uid or id(frame), frame.number, round(offset(frame), 1)): frame for frame in reversed(frames)}
    parts = _divided(list(first.values())[::-1], MARKS, offset, are_mixed)
    if len(parts) == 1:
        return [(None, list(frames))]
    place = {id(frame): index for index, (_, members) in enumerate(parts) for frame in members}
    found: list[list[Frame]] = [[] for _ in parts]
    for frame in frames:  # with the copies of each image
        original = first[(frame.sop_uid or id(frame), frame.number, round(offset(frame), 1))]
        found[place[id(original)]].append(frame)
    return [(Acquisition(marks, order), found[order]) for order, (marks, _) in enumerate(parts)]


def _divided(frames: list[Frame], marks: Sequence[Mark], offset: Offset, are_mixed: bool) -> list[Part]:
    whole: list[Part] = [((), frames)]
    if len(frames) < 4:
        return whole
    whole_is_stack = not are_mixed and is_stack(frames, offset)
    for number, mark in enumerate(marks):
        values = {frame.marks[mark.index] for frame in frames}
        if len(values) < 2 or (mark.is_weak and whole_is_stack):
            continue
        parts = _parts(frames, mark, offset, MAX_DISORDER if whole_is_stack else max(MAX_DISORDER, len(frames) // 4))
        if parts is None or len(parts) < 2 or (mark.is_modulated and len(parts) < len(values)):
            continue
        leaves: list[Part] = []
        for members in parts:
            here = _in_order({frame.marks[mark.index] for frame in members}, mark)
            if mark.name == "folder":  # its name is nobody's business
                here = [str(1 + sorted(values).index(value)) for value in here]
            label = (mark.name, tuple(value or "(none)" for value in here))
            leaves += [((label, *more), leaf) for more, leaf in _divided(members, marks[number + 1 :], offset, False)]
        if _is_division(leaves, offset, mark.is_weak):
            return leaves
    return whole


def _is_division(leaves: list[Part], offset: Offset, all_must: bool) -> bool:
    total = sum(len(members) for _, members in leaves)
    sound = [len(members) for _, members in leaves if len(members) >= 2 and is_stack(members, offset)]
    if not sound or max(sound) < 3:
        return False
    left_over = total - sum(sound)
    if all_must:
        return not left_over and min(sound) >= 3
    if left_over <= max(1, LEFT_OVER_SHARE * total):
        return True
    return max(sound) >= 0.5 * total and left_over <= LEFT_OVER_BESIDE_A_SCAN * total


def is_stack(frames: Sequence[Frame], offset: Offset) -> bool:
    """True when the frames can be read as they are: distinct positions with a pattern."""
    return is_readable(np.array(sorted(offset(frame) for frame in frames)))


def is_readable(offsets_mm: np.ndarray) -> bool:
    """True when slices at these ascending positions make a grid."""
    if np.diff(offsets_mm).min(initial=np.inf) <= SAME_POSITION_MM:
        return False
    try:
        plan_slices(offsets_mm)
    except GridError:
        return False
    return True


def _parts(frames: list[Frame], mark: Mark, offset: Offset, max_disorder: int) -> list[list[Frame]] | None:
    """Frames by an attribute; None when its order has nothing to do with positions.

    Groups of equal value that do not overlap become one part (table stops, slices).
    """
    groups: dict[str, list[Frame]] = {}
    for frame in frames:
        groups.setdefault(frame.marks[mark.index], []).append(frame)
    parts: list[tuple[list[Frame], list[float]]] = []
    disorder = 0
    for members, offsets in _runs([groups[value] for value in _in_order(groups, mark)], offset):
        if parts:
            part, taken = parts[-1]
            is_beside = offsets[0] > taken[-1] + SAME_POSITION_MM or offsets[-1] < taken[0] - SAME_POSITION_MM
            disorder += not is_beside
            if disorder > max_disorder:
                return None
            if is_beside or not (_lies_among(offsets, taken) or _lies_among(taken, offsets)):
                part += members
                taken += offsets
                taken.sort()
                continue
        parts.append((members, offsets))
    return [part for part, _ in parts]


def _runs(groups: list[list[Frame]], offset: Offset) -> list[tuple[list[Frame], list[float]]]:
    """Groups that follow each other in one direction, joined, each with its offsets in ascending order."""
    runs: list[tuple[list[Frame], list[float]]] = []
    direction = 0
    for members in groups:
        offsets = sorted(offset(frame) for frame in members)
        if runs:
            run, taken = runs[-1]
            step = (offsets[0] > taken[-1] + SAME_POSITION_MM) - (offsets[-1] < taken[0] - SAME_POSITION_MM)
            if step and direction in (0, step):
                run += members
                taken[len(taken) if step > 0 else 0 : len(taken) if step > 0 else 0] = offsets
                direction = step
                continue
        runs.append((list(members), offsets))
        direction = 0
    return runs


def _lies_among(offsets: list[float], taken: list[float]) -> bool:
    """True when more of ``offsets`` than table stops share lie at the places of ``taken``, or between neighbors."""
    gaps = sorted(b - a for a, b in itertools.pairwise(taken))
    usual = gaps[len(gaps) // 2] if gaps else 0.0
    among = 0
    for value in offsets:
        right = bisect.bisect_left(taken, value)
        if any(abs(taken[i] - value) <= SAME_POSITION_MM for i in (right - 1, right) if 0 <= i < len(taken)) or (
            0 < right < len(taken) and taken[right] - taken[right - 1] <= GAP_FACTOR * usual
        ):
            among += 1
    return among > SHARED_AT_BORDER or among == len(offsets)


def _in_order(values: Sequence[str] | set[str] | dict[str, list[Frame]], mark: Mark) -> list[str]:
    """Values in the order of scanning: numbers and times by size, others by text, so never by the order of files."""
    return sorted(values, key=lambda value: (_number(value), value))


def _number(value: str) -> float:
    try:
        return float(value.split("+")[0])  # times are digits: HHMMSS.F, YYYYMMDDHHMMSS.F and a zone
    except ValueError:
        return float("-inf")


def _span(values: tuple[str, ...]) -> str:
    return values[0] if len(values) == 1 else f"{values[0]} to {values[-1]}"

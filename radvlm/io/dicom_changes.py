"""Do the headers of a stack change along the scan, and do they promise more images than there are?

What makes a voxel bright (kernel, tube voltage, contrast agent) is one for a whole reconstruction, and a name or number
of a series is one for the series (DICOM PS3.3 C.7.3.1). Where such an attribute has one value in the lower slices and
another in the upper ones, two scans or two phases were stacked on top of each other, and positions do not show it.
Acquisition numbers and times change from one table run to the next in an honest scan (chest, then abdomen): that is
recorded, and warned of only where contrast was given and so much time lies between two neighbors that its phase
differs.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from radvlm.io.dicom_frames import MARKS, Frame
from radvlm.types.phrases import first_of
from radvlm.types.provenance import Decision

#: Attributes that are one for a scan that can be measured as a whole, and those that are one for a series. An export
#: that writes each image as a series of its own may number them all; then the latter say nothing.
_OF_A_SCAN = ("KVP", "ConvolutionKernel", "ReconstructionAlgorithm", "FilterType", "ContrastBolusAgent")
_OF_A_SERIES = ("ProtocolName", "SeriesDescription", "SeriesNumber")
_OF_A_RUN = ("AcquisitionNumber", "AcquisitionDateTime", "AcquisitionTime")
_PLACE = {mark.name: mark.index for mark in MARKS}
#: A phase of contrast lasts no longer (s); with this between two neighbors, they are of two.
PHASE_S = 15.0
#: So many runs of slices are named; an attribute of a run that changes more often changes from slice to slice.
NAMED, MOST_RUNS = 4, 6
#: Two images of so many at least show how their numbers go up.
FEWEST_IMAGES = 3


@dataclass(frozen=True)
class Run:
    """Neighboring slices with one value of an attribute, from the first position to the last (mm along the normal)."""

    value: str
    first_mm: float
    last_mm: float
    slices: int

    def __str__(self) -> str:
        return f"{self.value or '(none)'} from {self.first_mm:.0f} to {self.last_mm:.0f} mm"


def changes_along(frames: Sequence[Frame], offset: Callable[[Frame], float]) -> list[Decision]:
    """What changes from one part of the stack to the next: warnings, and for table runs a record."""
    ordered = sorted(frames, key=offset)
    places = [offset(frame) for frame in ordered]
    decisions = []
    for name in (*_OF_A_SCAN, *_OF_A_SERIES):
        runs = _runs([_plain(frame.marks[_PLACE[name]]) for frame in ordered], places)
        if len(runs) > 1 and (name in _OF_A_SCAN or len(runs) <= MOST_RUNS):
            what = (
                f"{name} changes along the scan: {_listed(runs)} along the normal of the slices. Two scans, phases or "
                "reconstructions may be stacked on top of each other; what is measured in one part does not hold for "
                "the other. Pass the images of one of them (acquisition=, or a list of files)."
            )
            decisions.append(Decision("dicom", what, warning=True))
    if not decisions:
        decisions += _phases(ordered, places)
    for name in _OF_A_RUN if not decisions else ():
        runs = _runs([frame.marks[_PLACE[name]] for frame in ordered], places)
        if 1 < len(runs) <= MOST_RUNS and min(run.slices for run in runs) >= FEWEST_IMAGES:
            decisions.append(Decision("dicom", f"{name} changes along the scan, as from one table run to the next: "
                                      f"{_listed(runs)}."))  # fmt: skip
            break
    return decisions


def images_missing(frames: Sequence[Frame], others: Sequence[Frame], left_out: int) -> list[Decision]:
    """A warning where the headers of a series promise more images than are here.

    NumberOfSeriesRelatedInstances counts the images of the series. ImagesInAcquisition counts those that resulted from
    an acquisition (PS3.3 C.7.6.1), which most scanners take as those of the series; it says nothing of a series of
    several acquisitions or of a reformat, nor where other series of the acquisition hold the rest or may do so, because
    it is a multiple of the number here.

    Args:
        frames: the images of the series. others: those of all series of the folder. left_out: images of the series
            that are not read.
    """
    here = len({frame.sop_uid or id(frame) for frame in frames}) + left_out
    numbers = sorted({int(n) for frame in frames if (n := frame.marks[_PLACE["InstanceNumber"]]).isdigit()})
    in_series = {frame.stated_images[1] for frame in frames}
    if len(in_series) == 1 and max(in_series) > here:
        return [_fewer(here, max(in_series), "of this series (NumberOfSeriesRelatedInstances)", numbers)]
    of_acquisition = {frame.stated_images[0] for frame in frames}
    stated = max(of_acquisition, default=0)
    if len(of_acquisition) != 1 or stated <= here or len({f.marks[_PLACE["AcquisitionNumber"]] for f in frames}) > 1:
        return []
    if any("DERIVED" in frame.marks[_PLACE["ImageType"]] or frame.values.is_reformatted for frame in frames):
        return []
    together = {f.sop_uid or id(f) for f in others if _acquisition(f) == _acquisition(frames[0])}
    is_counted_up = bool(numbers) and numbers == list(range(numbers[0], numbers[0] + len(numbers)))
    may_be_several = stated % here == 0 and is_counted_up and numbers[0] <= 1
    if len(together) + left_out >= stated or may_be_several:
        return []
    return [_fewer(here, stated, "of this acquisition (ImagesInAcquisition)", numbers)]


def _fewer(here: int, stated: int, of_what: str, numbers: list[int]) -> Decision:
    begin = f"; the numbers of those here run from {numbers[0]} to {numbers[-1]}" if numbers else ""
    what = (
        f"Only {here} of {stated} images are here: the header states {stated} {of_what}{begin}. The scan may be cut "
        "short. Copy or export it again."
    )
    return Decision("dicom", what, warning=True)


def _acquisition(frame: Frame) -> tuple[object, ...]:
    return (frame.study, frame.marks[_PLACE["AcquisitionNumber"]], frame.stated_images[0])


def _phases(ordered: list[Frame], places: list[float]) -> list[Decision]:
    """A warning where contrast was given and the slices above and below one place were scanned far apart in time."""
    if not any(frame.marks[_PLACE["ContrastBolusAgent"]] for frame in ordered):
        return []
    times = [_seconds(frame) for frame in ordered]
    known = [t for t in times if t is not None]
    if len(known) < max(4, len(times)):
        return []
    gaps = [abs(b - a) for a, b in itertools.pairwise(known)]
    breaks = [k for k, gap in enumerate(gaps) if PHASE_S <= gap < 12 * 3600]
    usual = sorted(gaps)[len(gaps) // 2]
    if not 1 <= len(breaks) < NAMED or usual >= PHASE_S / 5:
        return []
    told = ", ".join(f"{gaps[k]:.0f} s at {(places[k] + places[k + 1]) / 2:.0f} mm" for k in breaks)
    what = (
        f"Contrast was given, and the slices on both sides of a place were scanned far apart in time ({told} along the "
        "normal of the slices): the parts show different phases of contrast."
    )
    return [Decision("dicom", what, warning=True)]


def _seconds(frame: Frame) -> float | None:
    """When an image was scanned, in seconds of its day."""
    stamp = frame.marks[_PLACE["AcquisitionDateTime"]][8:] or frame.marks[_PLACE["AcquisitionTime"]]
    digits = stamp.replace(":", "").split("+")[0].split("-")[0]
    try:
        return 3600.0 * int(digits[:2]) + 60.0 * int(digits[2:4]) + float(digits[4:] or 0)
    except ValueError:
        return None


def _plain(value: str) -> str:
    """A value without what means nothing: case, blanks, zeros of a number."""
    text = value.strip().casefold()
    try:
        return f"{float(text):g}"
    except ValueError:
        return text


def _runs(values: list[str], places: list[float]) -> list[Run]:
    runs = []
    for value, group in itertools.groupby(zip(values, places, strict=True), key=lambda pair: pair[0]):
        own = [place for _, place in group]
        runs.append(Run(value, own[0], own[-1], len(own)))
    return runs


def _listed(runs: list[Run]) -> str:
    return first_of([str(run) for run in runs], NAMED, "more parts")

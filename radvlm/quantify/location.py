"""Where a lesion lies: host organ, segment, part or lobe, kidney pole, vertebral level, side of an effusion.

Many label maps cut the lesion out of its organ, so the overlap with the organ is zero. What counts then
is the neighborhood: the labels in the one-voxel shell around the lesion, and if that is empty those within 5 mm.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from radvlm.types.anatomy import KIDNEY_POLES, children, structure, structures
from radvlm.types.geometry import Box
from radvlm.types.lesion_hosts import PLACES, gap_outside_mm, host_candidates, members
from radvlm.types.segmentation import Segmentation

#: How far from a lesion a structure may lie to count as its host when they do not touch.
NEAR_MM = 5.0
#: Smallest share of a lesion (or of its neighbors) for a part to be named.
MIN_SHARE = 0.10
#: Share of the height of a kidney from which a lesion has no pole.
MOST_OF_KIDNEY = 2 / 3
#: Farthest, above or below the nearest vertebra, at which a level is still named.
LEVEL_REACH_MM = 10.0
_LEVEL = re.compile(r"vertebrae_[CTLS]\d+$")
#: Lesions of the skull that have no host organ, and take their side from the brain.
_IN_SKULL = ("brain_aneurysm",)
#: Nearer to the midline of the brain than this, a lesion has no side.
MIDLINE_MM = 10.0
#: Fluid and air around a lung, which take their side from the lung.
_AROUND_LUNG = ("pleural_effusion", "pneumothorax")
#: Why an instance has neither host nor place nor attenuation.
OUTSIDE = "lies outside the mask of its organ"


@dataclass(frozen=True)
class Place:
    """Where one instance lies; see LesionMeasurements. ``notes`` explain what could not be told, by quantity."""

    host: str = ""
    locations: tuple[str, ...] = ()
    pole: str = ""
    level: str = ""
    notes: tuple[tuple[str, str], ...] = ()


class Locator:
    """Finds the place of instances in one Segmentation; ``ignored`` structures (crumbs) are never named."""

    def __init__(self, segmentation: Segmentation, ignored: frozenset[str] = frozenset()) -> None:
        self._segmentation, self._ignored = segmentation, ignored
        self.ignored = ignored
        self._names: list[dict[int, str]] = [{} for _ in segmentation.layers]
        for name, place in segmentation.places.items():
            if name not in ignored:
                self._names[place.layer][place.label] = name

    def place(self, lesion: str, box: Box, mask: np.ndarray, center: tuple[float, float, float]) -> Place:
        """Place of one instance: boolean ``mask`` of the shape of ``box``, ``center`` its mean index."""
        gap = gap_outside_mm(self._segmentation, lesion, box, mask)
        if gap is not None:
            return Place(level=self._level(center[2]), notes=(("location", f"{OUTSIDE} ({gap:.0f} mm)"),))
        around = _Neighborhood(self._segmentation, self._names, box, mask)
        candidates = host_candidates(self._segmentation, lesion)
        host = candidates[0] if candidates == (structure(lesion).parent,) else ""
        if candidates and not host:
            found = self._shares(around, {m: c for c in candidates for m in members(self._segmentation, c)}, 0.0)
            host = found[0] if found else ""
        locations = self._locations(around, lesion, host, center)
        pole, notes = self._pole(host, center, box)
        return Place(host, locations, pole, self._level(center[2]), notes)

    def place_in(self, organ: str, center_mm: tuple[float, float, float]) -> Place:
        """Place of a point in an organ: the pole of a kidney, the part, the vertebra at its height."""
        geometry = self._segmentation.geometry
        x, y, z = (float(v) for v in geometry.to_index(center_mm))
        at = tuple(min(max(round(v), 0), n - 1) for v, n in zip((x, y, z), geometry.shape, strict=True))
        named = (names.get(int(layer[at])) for names, layer in zip(self._names, self._segmentation.layers, strict=True))
        parts = {p.name for p in children(organ, "part") if PLACES.fullmatch(p.name)}
        pole, notes = self._pole(organ, (x, y, z))
        return Place(organ, tuple(n for n in named if n in parts), pole, self._level(z), notes)

    def _shares(self, around: _Neighborhood, roles: Mapping[str, str], least: float) -> tuple[str, ...]:
        """Roles by falling share, from the overlap, else the shell, else the neighborhood of 5 mm."""
        for counts, total in around.rings():
            tally: Counter[str] = Counter()
            for name, role in roles.items():
                if counts.get(name):
                    tally[role] += counts[name]
            covered = sum(tally.values())
            if covered and covered >= MIN_SHARE * total:
                return tuple(role for role, count in tally.most_common() if count >= least * covered)
        return ()

    def _locations(
        self, around: _Neighborhood, lesion: str, host: str, center: tuple[float, float, float]
    ) -> tuple[str, ...]:
        if lesion in _AROUND_LUNG:
            sides = {
                n: f"lung_{structure(n).side}"
                for n in self._segmentation.places
                if n.startswith("lung_") and structure(n).side and structure(n).kind in ("organ", "part")
            }
            return self._shares(around, sides, MIN_SHARE) or self._side_of_midline(center[0])
        parts = (
            {
                p.name: p.name
                for p in children(host, "part")
                if p.name in self._segmentation.places and PLACES.fullmatch(p.name)
            }
            if host
            else {}
        )
        found = self._shares(around, parts, MIN_SHARE)
        return found or (self._half_of_brain(center) if host == "brain" or lesion in _IN_SKULL else ())

    def _half_of_brain(self, center: tuple[float, float, float]) -> tuple[str, ...]:
        """The half by the middle of the brain in the slice of the lesion; () near the midline, or of a brain that the
        field of view cuts from the side."""
        if "brain" not in self._segmentation.places or {"left", "right"} & set(self._segmentation.cut_faces("brain")):
            return ()
        box = self._segmentation.boxes["brain"]
        level = min(max(round(center[2]), box.start[2]), box.stop[2] - 1) - box.start[2]
        across = np.flatnonzero(self._segmentation.mask_in_box("brain")[:, :, level].any(axis=1))
        if not across.size:
            return ()
        middle = box.start[0] + (across[0] + across[-1]) / 2
        off_mm = (center[0] - middle) * self._segmentation.geometry.spacing_mm[0]
        if abs(off_mm) < MIDLINE_MM:
            return ()
        return ("brain_half_right",) if off_mm > 0 else ("brain_half_left",)

    def _side_of_midline(self, right_index: float) -> tuple[str, ...]:
        boxes = self._segmentation.boxes
        spine = [boxes[n] for n in self._vertebrae] or [boxes[n] for n in ("body", "body_trunc") if n in boxes][:1]
        if not spine:
            return ()
        middle = float(np.mean([(b.start[0] + b.stop[0] - 1) / 2 for b in spine]))
        return ("lung_right",) if right_index > middle else ("lung_left",)

    def _pole(
        self, host: str, center: tuple[float, float, float], lesion: Box | None = None
    ) -> tuple[str, tuple[tuple[str, str], ...]]:
        """The third of a kidney in which a center lies; none of a lesion that reaches through most of the kidney."""
        if host not in ("kidney_right", "kidney_left"):
            return "", ()
        if {"inferior", "superior"} & set(self._segmentation.cut_faces(host)):
            return "", (("pole", f"the {structure(host).words} is cut by the field of view"),)
        box = self._segmentation.boxes[host]
        if lesion is not None and lesion.stop[2] - lesion.start[2] > MOST_OF_KIDNEY * (box.stop[2] - box.start[2]):
            return "", (("pole", f"it reaches through most of the {structure(host).words}"),)
        third = (center[2] - (box.start[2] - 0.5)) / (box.stop[2] - box.start[2]) * 3
        return KIDNEY_POLES[min(2, max(0, int(np.floor(third))))], ()

    @cached_property
    def _vertebrae(self) -> tuple[str, ...]:
        return tuple(
            n for n in structures() if n in self._segmentation.places and n not in self._ignored and _LEVEL.fullmatch(n)
        )

    @cached_property
    def _vertebra_heights(self) -> dict[str, tuple[int, int, float]]:
        """Name -> first and last slice, and the slice at the middle of the voxels."""
        heights = {}
        for name in self._vertebrae:
            box = self._segmentation.boxes[name]
            profile = self._segmentation.mask_in_box(name).sum(axis=(0, 1))
            middle = float((profile * np.arange(len(profile))).sum() / profile.sum()) + box.start[2]
            heights[name] = (box.start[2], box.stop[2] - 1, middle)
        return heights

    def _level(self, slice_index: float) -> str:
        """The vertebra at that height; where two overlap, the one whose middle is nearer."""
        spacing = self._segmentation.geometry.spacing_mm[2]
        options = []
        for name, (low, high, middle) in self._vertebra_heights.items():
            outside = max(low - 0.5 - slice_index, slice_index - high - 0.5, 0.0) * spacing
            if outside <= LEVEL_REACH_MM:
                options.append((outside, abs(middle - slice_index), name))
        return min(options)[2] if options else ""


class _Neighborhood:
    """Counts of structures under and around one instance, each computed only when it is asked for."""

    def __init__(self, segmentation: Segmentation, names: list[dict[int, str]], box: Box, mask: np.ndarray) -> None:
        spacing, shape = segmentation.geometry.spacing_mm, segmentation.geometry.shape
        self._layers, self._names = segmentation.layers, names
        reach = tuple(int(NEAR_MM / s) + 1 for s in spacing)  # that many voxels of a gap, and the one beyond
        self._reach = reach
        self._box = box.grown(reach, shape)
        self._mask = np.zeros(self._box.shape, dtype=bool)
        self._mask[box.relative_to(self._box).slices] = mask
        self._cache: dict[int, dict[str, int]] = {}

    def rings(self) -> Iterator[tuple[dict[str, int], int]]:
        """(counts by structure, smallest total they are a share of): overlap, shell of one voxel, within 5 mm."""
        yield self._counts(0), int(np.count_nonzero(self._mask))
        yield self._counts(1), 0
        yield self._counts(2), 0

    def _counts(self, ring: int) -> dict[str, int]:
        if ring not in self._cache:
            where = self._mask
            if ring:
                where = dilated(self._mask, (1, 1, 1) if ring == 1 else self._reach) & ~self._mask
            counts: dict[str, int] = {}
            for layer, names in zip(self._layers, self._names, strict=True):
                labels = np.bincount(layer[self._box.slices][where])
                counts.update({names[int(v)]: int(labels[v]) for v in np.flatnonzero(labels) if int(v) in names})
            self._cache[ring] = counts
        return self._cache[ring]


def dilated(mask: np.ndarray, reach: tuple[int, ...]) -> np.ndarray:
    """Boolean mask grown by ``reach`` voxels along each axis (a box-shaped neighborhood)."""
    grown = mask.copy()
    for axis, steps in enumerate(reach):
        for _ in range(steps):
            source = grown.copy()
            low: list[slice] = [slice(None)] * 3
            high: list[slice] = [slice(None)] * 3
            low[axis], high[axis] = slice(None, -1), slice(1, None)
            grown[tuple(high)] |= source[tuple(low)]
            grown[tuple(low)] |= source[tuple(high)]
    return grown

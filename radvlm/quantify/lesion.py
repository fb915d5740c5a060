"""Numbers of lesion and fluid instances: size, HU, contrast to the host organ, place.

An instance that the field of view cuts is measured all the same, but the record says so in ``cut_by``: its
sizes are lower bounds. ``attenuation`` is a word only where the difference to the organ is larger than what noise,
calibration and the organ's own texture explain (see ``attenuation_word``).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from radvlm.quantify.components import Component, first_voxel
from radvlm.quantify.diameter import diameter_3d
from radvlm.quantify.lesion_character import character_of
from radvlm.quantify.location import Locator, Place
from radvlm.quantify.organ import HU_QUANTITIES, NO_CT, cut_faces, hu_measurements, region_of, volume_measurement
from radvlm.quantify.outline import planar_axes
from radvlm.quantify.statistics import HuStatistics
from radvlm.quantify.voxel_counts import Tally, tally
from radvlm.types.anatomy import structure
from radvlm.types.geometry import Box, Geometry
from radvlm.types.measurement import Measurement, Omission
from radvlm.types.region import Region
from radvlm.types.scan_measurements import LesionMeasurements
from radvlm.types.segmentation import Segmentation

#: Smallest difference to the host (HU) that is called hypo- or hyperattenuating: below it CT does not count a
#: change as real (Bosniak 2019 and its predecessors: less than 10 HU is no enhancement).
ISO_HU = 10.0
#: The same as a share of the host's SD, so that texture and noise of the organ itself are never named.
ISO_SD = 0.5
#: Report sections whose organs hold air or marrow, where the words hypo- and hyperattenuating say nothing.
_NO_WORD_SECTIONS = ("lungs", "bones", "bowel", "pleura", "airways")
_NO_WORD_HOSTS = ("esophagus",)
_HOST_QUANTITIES = ("host_mean_hu", "host_sd_hu", "contrast_to_host")
#: Fewer voxels are no region of interest.
MIN_CORE_VOXELS = 8
NO_CORE = f"fewer than {MIN_CORE_VOXELS} voxels lie away from the edge, so every voxel is mixed with its surroundings"

HostStatistics = Callable[[str], "HuStatistics | None"]


@dataclass(frozen=True, eq=False)
class Instance:
    """One component of a structure and where it lies.

    Attributes:
        name: of the structure. number: of the instance, from 1.
        component: whose value stands in ``numbered``, the component map inside the box ``outer`` of the scan.
    """

    name: str
    number: int
    component: Component
    numbered: np.ndarray
    outer: Box

    @property
    def box(self) -> Box:
        """Its tight box in the scan."""
        return self.component.box.within(self.outer)

    def counted(self, hu: np.ndarray | None) -> Tally:
        """Its voxels, with their HU where there are any; ``hu`` is the whole scan or None."""
        crop = self.numbered[self.component.box.slices]
        return tally(crop, self.component.value, None if hu is None else hu[self.box.slices])

    def region(self, geometry: Geometry, counted: Tally) -> Region:
        """Where it is, found again by its first voxel."""
        first = first_voxel(self.numbered, self.component)
        seed = tuple(a + b for a, b in zip(first, self.outer.start, strict=True))
        return region_of(f"{self.name}/{self.number}", self.name, geometry, self.box, counted, seed)  # type: ignore[arg-type]


def measure_instance(
    segmentation: Segmentation,
    instance: Instance,
    hu: np.ndarray | None,
    locator: Locator,
    host_statistics: HostStatistics,
) -> LesionMeasurements:
    """Every number of one instance; ``hu`` is the whole scan or None."""
    geometry, name = segmentation.geometry, instance.name
    component, box, counted = instance.component, instance.box, instance.counted(hu)
    mask = instance.numbered[component.box.slices] == component.value
    region = instance.region(geometry, counted)
    region_id = region.id
    center = tuple(c + lo for c, lo in zip(counted.center, box.start, strict=True))
    place = locator.place(name, box, mask, center)  # type: ignore[arg-type]
    omissions = [Omission(quantity, name, reason) for quantity, reason in place.notes]
    measurements = _sizes(segmentation, region_id, box, mask)
    measurements.append(volume_measurement(region, counted, geometry))
    core: Core | None = None
    attenuation = ""
    if hu is None or counted.hu is None:
        missing_hu = (*HU_QUANTITIES, "core_mean_hu", *_HOST_QUANTITIES)
        omissions += [Omission(quantity, name, NO_CT) for quantity in missing_hu]
    else:
        core = core_values(mask, hu[box.slices])
        edge_effect = None if core is None else abs(core.mean - counted.hu.mean)
        measurements += hu_measurements(counted.hu, region_id, edge_effect)
        if core is None:
            omissions.append(Omission("core_mean_hu", name, NO_CORE))
        else:
            measurements.append(Measurement("core_mean_hu", core.mean, f"mean of {core.part}", core.error, region_id))
        center_hu = counted.hu.mean if core is None else core.mean
        contrast, missing, attenuation = _contrast(name, region_id, place, center_hu, host_statistics)
        measurements += contrast
        omissions += missing
    record = LesionMeasurements(
        name,
        instance.number,
        region,
        tuple(measurements),
        place.host,
        place.locations,
        place.pole,
        place.level,
        attenuation,
        cut_faces(box, geometry),
        tuple(omissions),
    )
    spread = None if core is None else (core.sd, core.voxels)
    return character_of(segmentation, record, box, mask, hu, spread, locator.ignored)


def _sizes(segmentation: Segmentation, region_id: str, box: Box, mask: np.ndarray) -> list[Measurement]:
    geometry = segmentation.geometry

    def world(index: tuple[float, ...]) -> tuple[float, float, float]:
        point = geometry.to_world([i + lo for i, lo in zip(index, box.start, strict=True)])
        return float(point[0]), float(point[1]), float(point[2])

    def voxel_along(a: tuple[float, ...], b: tuple[float, ...]) -> float:
        """Size of a voxel in the direction from a to b: each end may be off by half of it."""
        step = (np.subtract(b, a)) * geometry.spacing_mm[: len(a)]
        return float(np.linalg.norm(step / np.linalg.norm(step) * geometry.spacing_mm[: len(a)]))

    axes = planar_axes(mask, geometry.spacing_mm)
    k = axes.slice_index
    planar = [
        Measurement(
            quantity,
            length,
            method,
            voxel_along(*ends),
            region_id,
            (world((*ends[0], k)), world((*ends[1], k))),
            k + box.start[2],
        )
        for quantity, length, method, ends in (
            ("long_axis", axes.long_mm, "longest axial diameter", axes.long_ends),
            ("short_axis", axes.short_mm, "longest perpendicular chord", axes.short_ends),
        )
    ]
    length, a, b = diameter_3d(mask, geometry.spacing_mm)
    return [
        *planar,
        Measurement("diameter_3d", length, "largest 3D diameter", voxel_along(a, b), region_id, (world(a), world(b))),
    ]


@dataclass(frozen=True)
class Core:
    """HU of a lesion away from its edge: mean, its standard error, which voxels those are, their SD and number."""

    mean: float
    error: float
    part: str
    sd: float
    voxels: int


def core_values(mask: np.ndarray, hu: np.ndarray) -> Core | None:
    """HU of the voxels whose neighbors all belong to the lesion, as a reader's region of interest avoids the edge.

    Neighbors are those across the six faces; where fewer than ``MIN_CORE_VOXELS`` remain, those across the four
    in-plane faces, so that a lesion of one or two thick slices still has a core. None when there is none either way.

    Args:
        mask: (I, J, K) bool. hu: the same box of the scan.
    """
    for axes, part in (((0, 1, 2), "voxels off the surface"), ((0, 1), "voxels off the in-plane outline")):
        inner = mask.copy()
        for axis in axes:
            ahead, behind = [slice(None)] * 3, [slice(None)] * 3
            ahead[axis], behind[axis] = slice(1, None), slice(None, -1)
            inner[tuple(behind)] &= mask[tuple(ahead)]
            inner[tuple(ahead)] &= mask[tuple(behind)]
            for end in (0, -1):
                edge = [slice(None)] * 3
                edge[axis] = end  # type: ignore[call-overload]
                inner[tuple(edge)] = False
        values = hu[inner]
        if values.size >= MIN_CORE_VOXELS:
            spread = float(values.std(dtype=np.float64))
            return Core(
                float(values.mean(dtype=np.float64)),
                spread / float(np.sqrt(values.size)),
                part,
                spread,
                int(values.size),
            )
    return None


def _contrast(
    name: str, region_id: str, place: Place, lesion_hu: float, host_statistics: HostStatistics
) -> tuple[list[Measurement], list[Omission], str]:
    host = host_statistics(place.host) if place.host else None
    if host is None:
        reason = (
            "fluid has no host organ"
            if structure(name).kind == "fluid"
            else (
                f"nothing of the {structure(place.host).words} is left outside the lesions"
                if place.host
                else "no host organ was found in the masks"
            )
        )
        return [], [Omission(quantity, name, reason) for quantity in _HOST_QUANTITIES], ""
    difference = lesion_hu - host.mean
    measurements = [
        Measurement("contrast_to_host", difference, "core mean minus organ mean without lesions", None, region_id),
        Measurement("host_mean_hu", host.mean, "organ mean without lesions", None, region_id),
        Measurement("host_sd_hu", host.sd, "organ standard deviation without lesions", None, region_id),
    ]
    return measurements, [], attenuation_word(place.host, difference, host.sd)


def attenuation_word(host: str, difference_hu: float, host_sd_hu: float) -> str:
    """``hypoattenuating``, ``isoattenuating`` or ``hyperattenuating`` to the host; "" where the words mean nothing.

    Iso means |difference| <= max(10 HU, half an SD of the host).
    """
    if structure(host).section in _NO_WORD_SECTIONS or host in _NO_WORD_HOSTS:
        return ""
    if abs(difference_hu) <= max(ISO_HU, ISO_SD * host_sd_hu):
        return "isoattenuating"
    return "hypoattenuating" if difference_hu < 0 else "hyperattenuating"

"""Numbers of whole structures, and the HU of an organ without its lesions.

HU are those of every voxel of the mask, partial volume at its edge included; the median, which that edge
hardly moves, is given beside the mean.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from radvlm.quantify.statistics import PERCENTILES, HuStatistics, HuTally
from radvlm.quantify.voxel_counts import Tally, memory_order, slabs, tally, volume_uncertainty_ml
from radvlm.types.anatomy import structure
from radvlm.types.geometry import Box, Geometry
from radvlm.types.lesion_hosts import members
from radvlm.types.measurement import Measurement, Omission
from radvlm.types.region import Region
from radvlm.types.scan_measurements import StructureMeasurements
from radvlm.types.segmentation import FACES, Segmentation

#: A structure (not a lesion) with fewer voxels, or less volume, is a crumb of the segmentation, not an organ.
CRUMB_VOXELS, CRUMB_ML = 4, 0.05
#: Of fewer voxels no length or index is taken.
SMALL_FOR_SHAPE_VOXELS = 50
#: Kinds counted as instances, for which the limits of lesions hold instead.
INSTANCE_KINDS = ("lesion", "fluid")
NO_CT = "no CT was given"
HU_QUANTITIES = ("mean_hu", "sd_hu", *PERCENTILES)
_EXTENTS = ("extent_right_left", "extent_anterior_posterior", "extent_superior_inferior")
_METHOD = {"mean_hu": "mask mean", "sd_hu": "mask standard deviation"}


def is_crumb(segmentation: Segmentation, name: str) -> bool:
    """True for a structure that is too small to be what its label says; lesions and fluid are never crumbs here."""
    voxels = segmentation.voxel_count(name)
    volume_ml = voxels * segmentation.geometry.voxel_volume_mm3 / 1000
    return structure(name).kind not in INSTANCE_KINDS and (voxels < CRUMB_VOXELS or volume_ml < CRUMB_ML)


def measure_structure(
    segmentation: Segmentation, name: str, hu: np.ndarray | None, extra: Sequence[Measurement] = ()
) -> StructureMeasurements:
    """Volume, extents and HU of one present structure; ``hu`` (I, J, K) on the same grid, or None."""
    place, box = segmentation.places[name], segmentation.boxes[name]
    counted = tally(segmentation.layers[place.layer][box.slices], place.label, None if hu is None else hu[box.slices])
    region = region_of(name, name, segmentation.geometry, box, counted, None)
    measurements = [volume_measurement(region, counted, segmentation.geometry)]
    measurements += [
        Measurement(quantity, n * spacing, "bounding box, edge to edge", spacing, name)
        for quantity, n, spacing in zip(_EXTENTS, box.shape, segmentation.geometry.spacing_mm, strict=True)
    ]
    measurements += hu_measurements(counted.hu, name)
    omissions = () if counted.hu else tuple(Omission(quantity, name, NO_CT) for quantity in HU_QUANTITIES)
    cut_by = cut_faces(box, segmentation.geometry)
    return StructureMeasurements(name, region, (*measurements, *extra), cut_by, omissions)


def region_of(
    region_id: str, name: str, geometry: Geometry, box: Box, counted: Tally, seed: tuple[int, int, int] | None
) -> Region:
    center = geometry.to_world([c + lo for c, lo in zip(counted.center, box.start, strict=True)])
    return Region(
        region_id,
        name,
        box,
        counted.voxels,
        counted.voxels * geometry.voxel_volume_mm3 / 1000,
        (float(center[0]), float(center[1]), float(center[2])),
        seed,
    )


def volume_measurement(region: Region, counted: Tally, geometry: Geometry) -> Measurement:
    uncertainty = volume_uncertainty_ml(counted.faces, geometry.voxel_volume_mm3 / 1000)
    return Measurement("volume", region.volume_ml, "voxel count", uncertainty, region.id)


def hu_measurements(
    hu: HuStatistics | None, region_id: str, mean_uncertainty: float | None = None
) -> list[Measurement]:
    """Mean, SD and percentiles as measurements; nothing without HU."""
    if hu is None:
        return []
    values = {"mean_hu": hu.mean, "sd_hu": hu.sd, **hu.percentiles}
    return [
        Measurement(
            quantity,
            values[quantity],
            _METHOD.get(quantity, "mask percentile"),
            mean_uncertainty if quantity == "mean_hu" else None,
            region_id,
        )
        for quantity in HU_QUANTITIES
    ]


def cut_faces(box: Box, geometry: Geometry) -> tuple[str, ...]:
    """Faces of the field of view that a box touches, as ``Segmentation.cut_faces`` does for a structure."""
    return tuple(
        face
        for (axis, end), face in FACES.items()
        if geometry.shape[axis] > 1 and (box.start[axis] == 0 if end == 0 else box.stop[axis] == geometry.shape[axis])
    )


def healthy_statistics(segmentation: Segmentation, host: str, hu: np.ndarray) -> HuStatistics | None:
    """HU of an organ (or of its parts together) without the voxels of any lesion, fluid or device."""
    foreign = foreign_labels(segmentation)
    values = HuTally()
    for name in members(segmentation, host):
        place, box = segmentation.places[name], segmentation.boxes[name]
        own = segmentation.layers[place.layer][box.slices]
        others = [
            (segmentation.layers[number][box.slices], lut)
            for number, lut in enumerate(foreign)
            if number != place.layer and lut is not None
        ]
        order = memory_order(own)
        for part in slabs(own, order):
            mask = own.transpose(order)[part] == place.label
            for layer, lut in others:
                mask &= ~lut[layer.transpose(order)[part]]
            values.add(hu[box.slices].transpose(order)[part][mask])
    return values.result()


def foreign_labels(segmentation: Segmentation) -> list[np.ndarray | None]:
    """Per layer: which label values are not organ tissue; None where there is none."""
    found: list[np.ndarray | None] = [None for _ in segmentation.layers]
    for name, place in segmentation.places.items():
        if structure(name).kind in (*INSTANCE_KINDS, "device"):
            if found[place.layer] is None:
                found[place.layer] = np.zeros(int(np.iinfo(segmentation.layers[place.layer].dtype).max) + 1, dtype=bool)
            found[place.layer][place.label] = True  # type: ignore[index]
    return found

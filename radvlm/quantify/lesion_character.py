"""Character of one lesion: shape, unevenness, edge, neighbors, and what nodules, nodes and effusions are asked.

Everything is computed on a box around the lesion, so the cost follows the lesion and not the scan. Words
("round", "ill-defined") are not chosen here; rules that name their source do that.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from radvlm.quantify.chest import effusion_depth
from radvlm.quantify.neighbors import neighbors, node_station
from radvlm.quantify.nodule import NODULES, nodule_measurements
from radvlm.quantify.shape import measure_shape
from radvlm.quantify.texture import surroundings, texture_measurements
from radvlm.types.anatomy import structure
from radvlm.types.geometry import Box
from radvlm.types.measurement import Measurement, Omission
from radvlm.types.scan_measurements import LesionMeasurements
from radvlm.types.segmentation import Segmentation

#: Fewer voxels have no shape of their own, only that of the grid.
MIN_SHAPE_VOXELS = 20
_SHAPES = ("sphericity", "solidity", "elongation", "flatness")
_TEXTURES = ("core_sd_hu", "noise_hu", "heterogeneity", "edge_width")


def character_of(
    segmentation: Segmentation,
    lesion: LesionMeasurements,
    box: Box,
    mask: np.ndarray,
    hu: np.ndarray | None,
    core: tuple[float, int] | None,
    ignored: frozenset[str],
) -> LesionMeasurements:
    """The record of a lesion with its character added; fluid gets only what fluid has.

    Args:
        box, mask: where the instance is. hu: the whole scan or None. core: SD and number of the voxels off the edge.
        ignored: structures too small to be named as neighbors.
    """
    name, region_id = lesion.structure, lesion.region.id
    found: list[Measurement] = []
    missing: list[Omission] = []
    spacing = segmentation.geometry.spacing_mm
    if structure(name).kind == "fluid":
        if name.startswith("pleural_effusion"):
            side = structure(name).side or (structure(lesion.locations[0]).side if lesion.locations else "")
            found, missing = effusion_depth(segmentation, name, region_id, side, box, mask)
        return _with(lesion, found, missing)
    long, short = lesion.measurement("long_axis"), lesion.measurement("short_axis")
    if lesion.region.voxels < MIN_SHAPE_VOXELS:
        missing += [
            Omission(q, name, f"fewer than {MIN_SHAPE_VOXELS} voxels have no shape of their own") for q in _SHAPES
        ]
    else:
        shape = measure_shape(mask, spacing)
        found += [
            Measurement(quantity, value, method, None, region_id)
            for quantity, value, method in (
                ("sphericity", shape.sphericity, "Crofton surface"),
                ("solidity", shape.solidity, "share of convex hull"),
                ("elongation", shape.elongation, "principal axes"),
                ("flatness", shape.flatness, "principal axes"),
            )
        ]
    if hu is None:
        missing += [Omission(q, name, "no CT was given") for q in _TEXTURES]
    else:
        if core is None:
            missing.append(Omission("core_sd_hu", name, "too few voxels lie away from the edge"))
        else:
            found.append(Measurement("core_sd_hu", core[0], "SD of voxels off the edge", None, region_id))
        near = surroundings(segmentation, lesion.host, box, mask, hu)
        more, gone = texture_measurements(
            near, None if core is None else core[0], 0 if core is None else core[1], region_id, name
        )
        found, missing = found + more, missing + gone
    if name in NODULES and long is not None and short is not None:
        mean = Measurement(
            "mean_diameter",
            (long.value + short.value) / 2,
            "mean of long and short axis",
            max(long.uncertainty or 0.0, short.uncertainty or 0.0),
            region_id,
            (),
            long.slice_index,
        )
        more, gone = nodule_measurements(segmentation, name, region_id, box, mask, hu, mean)
        found, missing = [*found, mean, *more], missing + gone
    station = node_station(segmentation, box, mask) if name == "lymph_node" else ""
    near_by = neighbors(segmentation, name, lesion.host, box, mask, ignored)
    return replace(_with(lesion, found, missing), neighbors=near_by, station=station)


def _with(lesion: LesionMeasurements, found: list[Measurement], missing: list[Omission]) -> LesionMeasurements:
    return replace(lesion, measurements=(*lesion.measurements, *found), omissions=(*lesion.omissions, *missing))

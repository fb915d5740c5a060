"""Numbers of whole structures beyond volume, extents and HU: lengths, indices of the chest, body composition.

Each structure has its own list of what is asked of it, so a structure costs nothing that nobody asks for.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from radvlm.quantify import body, body_size, bowel, chest, urinary
from radvlm.quantify.organ import SMALL_FOR_SHAPE_VOXELS
from radvlm.quantify.parenchyma import EDGE_MM, Tissue, parenchyma
from radvlm.types.measurement import Measurement, Omission
from radvlm.types.scan_measurements import Phase, StructureMeasurements
from radvlm.types.segmentation import Segmentation
from radvlm.types.study import Study


def with_extras(
    segmentation: Segmentation,
    records: tuple[StructureMeasurements, ...],
    hu: np.ndarray | None,
    study: Study,
    phase: Phase | None,
    tissue: Tissue | None,
) -> tuple[StructureMeasurements, ...]:
    """Every record with the numbers that are asked of its structure, or the reasons why they are missing.

    ``tissue`` gives the samples of an organ's own tissue; None without a CT.
    """
    kept = [_with(record, *_of(segmentation, record, hu, study, tissue)) for record in records]
    means = {r.structure: r.measurement("parenchyma_hu") for r in kept if r.structure in ("liver", "spleen")}
    own = {name: None if m is None else m.value for name, m in means.items()}
    return tuple(
        _with(r, *body.liver_spleen_ratio(own["liver"], own.get("spleen"), phase)) if r.structure == "liver" else r
        for r in kept
    )


def _with(record: StructureMeasurements, found: list[Measurement], missing: list[Omission]) -> StructureMeasurements:
    return replace(record, measurements=(*record.measurements, *found), omissions=(*record.omissions, *missing))


def _of(
    segmentation: Segmentation,
    record: StructureMeasurements,
    hu: np.ndarray | None,
    study: Study,
    tissue: Tissue | None,
) -> tuple[list[Measurement], list[Omission]]:
    name = record.structure
    found: list[Measurement] = []
    missing: list[Omission] = []

    def add(result: tuple[list[Measurement], list[Omission]]) -> None:
        found.extend(result[0])
        missing.extend(result[1])

    if record.region.voxels < SMALL_FOR_SHAPE_VOXELS:
        return [], []
    if name in EDGE_MM:
        add(parenchyma(name, tissue))
    if name in bowel.LIMITS:
        add(bowel.caliber(segmentation, name, hu))
    if name in urinary.RENAL_PELVES:
        add(urinary.pelvis_diameter(segmentation, name))
    if name in body.LENGTHS:
        add(body.organ_length(segmentation, name))
    if name == "liver":
        add(body.midclavicular_length(segmentation))
    if name in body.WINDOWS:
        add(body.area_at_l3(segmentation, name, hu))
    if name == "body":
        add(body_size.body_sizes(segmentation, hu))
    if name == "body_fat":
        add(body_size.fat_share(segmentation, name, hu))
    if chest.is_lung(name):
        add(chest.emphysema_index(segmentation, name, hu, study))
    if name == "trachea":
        add(chest.trachea_measurements(segmentation))
    if name == "heart":
        add(chest.cardiothoracic_ratio(segmentation))
    if name == "pericardial_effusion":
        add(chest.pericardial_thickness(segmentation))
    if name in ("pleural_effusion_right", "pleural_effusion_left"):
        add(
            chest.effusion_depth(
                segmentation,
                name,
                name,
                name.rsplit("_", 1)[1],
                segmentation.boxes[name],
                segmentation.mask_in_box(name),
            )
        )
    return found, missing

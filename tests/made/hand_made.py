"""Measurements made by hand, in the form that measuring gives them."""

from __future__ import annotations

import numpy as np

from radvlm.types.geometry import Box, Geometry
from radvlm.types.measurement import Measurement
from radvlm.types.region import Region
from radvlm.types.scan_measurements import LesionMeasurements, Measurements, Phase, StructureMeasurements

ABDOMEN = (
    "liver",
    "spleen",
    "pancreas",
    "gallbladder",
    "kidney_right",
    "kidney_left",
    "adrenal_gland_right",
    "adrenal_gland_left",
    "stomach",
    "duodenum",
    "small_bowel",
    "colon",
    "aorta",
    "inferior_vena_cava",
    "portal_vein_and_splenic_vein",
    "urinary_bladder",
)
SPINE = tuple(f"vertebrae_{level}" for level in ("T10", "T11", "T12", "L1", "L2"))
NOW = {
    "liver": (1510, 105),
    "spleen": (210, 120),
    "pancreas": (82, 95),
    "gallbladder": (31, 8),
    "kidney_right": (162, 150),
    "kidney_left": (155, 152),
    "aorta": (90, 160),
    "urinary_bladder": (240, 5),
}


def grid(slices: int = 200, spacing: float = 2.0, pixel: float = 0.8) -> Geometry:
    return Geometry((512, 512, slices), np.diag([pixel, pixel, spacing, 1.0]))


def region(name: str, volume_ml: float, number: int | None = None, voxels: int = 5000) -> Region:
    rid = name if number is None else f"{name}/{number}"
    return Region(
        rid,
        name,
        Box((10, 10, 10), (60, 60, 60)),
        voxels,
        volume_ml,
        (0.0, 0.0, 0.0),
        None if number is None else (20, 20, 20),
    )


def organ(
    name: str,
    volume_ml: float = 100.0,
    hu: float | None = 50.0,
    cut: tuple[str, ...] = (),
    extent_si: float = 110.0,
    voxels: int = 5000,
    **more: float,
) -> StructureMeasurements:
    where = region(name, volume_ml, voxels=voxels)
    numbers = [Measurement("volume", volume_ml, "voxels", region_id=where.id)]
    if hu is not None:
        numbers += [
            Measurement("mean_hu", hu, "mean", region_id=where.id),
            Measurement("sd_hu", 12.0, "sd", region_id=where.id),
        ]
    numbers.append(Measurement("extent_superior_inferior", extent_si, "box", region_id=where.id))
    numbers += [Measurement(quantity, value, "given", region_id=where.id) for quantity, value in more.items()]
    return StructureMeasurements(name, where, tuple(numbers), cut)


def lesion(
    name: str,
    number: int,
    long_mm: float,
    short_mm: float,
    hu: float | None = 45.0,
    host: str = "",
    locations: tuple[str, ...] = (),
    pole: str = "",
    level: str = "",
    attenuation: str = "",
    cut: tuple[str, ...] = (),
    volume_ml: float = 1.5,
) -> LesionMeasurements:
    where = region(name, volume_ml, number)
    numbers = [
        Measurement("long_axis", long_mm, "hull", region_id=where.id, slice_index=12),
        Measurement("short_axis", short_mm, "chord", region_id=where.id, slice_index=12),
        Measurement("volume", volume_ml, "voxels", region_id=where.id),
    ]
    if hu is not None:
        numbers.append(Measurement("mean_hu", hu, "mean", region_id=where.id))
    return LesionMeasurements(name, number, where, tuple(numbers), host, locations, pole, level, attenuation, cut)


def numbers(
    structures: list[StructureMeasurements],
    lesions: list[LesionMeasurements] | None = None,
    absent: tuple[str, ...] = (),
    phase: str | None = "portal venous",
    geometry: Geometry | None = None,
    certain: bool = True,
) -> Measurements:
    known = None if phase is None else Phase(phase, "organ attenuation", certain)
    return Measurements(tuple(structures), tuple(lesions or ()), absent, known, geometry or grid())


def upper_abdomen_stack() -> Measurements:
    """40 mm of upper abdomen: nearly every organ is cut, kidneys and gallbladder are not in the masks."""
    both = ("inferior", "superior")
    cut = [
        organ(n, 300, 100, both)
        for n in (
            "liver",
            "spleen",
            "stomach",
            "colon",
            "aorta",
            "inferior_vena_cava",
            "portal_vein_and_splenic_vein",
            "lung_lower_lobe_left",
            "lung_lower_lobe_right",
            "autochthon_left",
            "autochthon_right",
        )
    ]
    cut += [organ(n, 20, 90, ("inferior",)) for n in ("pancreas", "adrenal_gland_left")]
    cut += [organ(f"vertebrae_{n}", 30, 200, both if n == "T12" else ("superior",)) for n in ("T11", "T12")]
    cut += [organ(f"rib_{s}_{n}", 8, 300, both) for s in ("left", "right") for n in range(7, 13)]
    whole = [organ("adrenal_gland_right", 4, 60), organ("duodenum", 12, 40)]
    absent = (
        "kidney_right",
        "kidney_left",
        "gallbladder",
        "urinary_bladder",
        "brain",
        "prostate",
        "kidney_cyst_left",
        "kidney_cyst_right",
        "small_bowel",
        "heart",
    )
    return numbers([*cut, *whole], absent=absent, geometry=grid(20, 2.0, 0.977))


def plain_abdomen(liver_hu: float = 45.0, spleen_hu: float = 50.0) -> Measurements:
    """90 mm without contrast at 3 mm; everything is cut."""
    both = ("inferior", "superior")
    hu = {"liver": liver_hu, "spleen": spleen_hu, "pancreas": 20, "kidney_right": 30, "kidney_left": 31, "aorta": 42}
    cut = [organ(n, 200, hu.get(n, 40), both) for n in (*ABDOMEN[:12], "aorta", "inferior_vena_cava")]
    return numbers(
        [*cut, organ("lung_middle_lobe_right", 0.03, -700, (), voxels=1)],
        absent=("kidney_cyst_left", "kidney_cyst_right", "heart", "urinary_bladder"),
        phase="non-contrast",
        geometry=grid(30, 3.0, 3.0),
    )


def complete_abdomen() -> Measurements:
    """A complete abdomen with liver lesions, a renal cyst, a large spleen, a gallstone and an effusion."""
    organs = [organ(n, *NOW.get(n, (50, 60))) for n in ABDOMEN if n != "spleen"]
    organs += [organ("spleen", 523.4, 118, extent_si=139), *[organ(n, 40, 190) for n in SPINE]]
    organs += [organ(f"liver_segment_{n}", 180, 104) for n in range(1, 9)]
    organs += [
        organ("pleural_effusion_right", 124.0, 6),
        organ("liver_lesion", 9, 44),
        organ("gallstone", 0.6, 210),
        organ("kidney_cyst_left", 4, 7),
        organ("lung_lower_lobe_right", 700, -800, ("superior",)),
    ]
    lesions = [
        lesion("liver_lesion", 1, 23.4, 18.1, 44, "liver", ("liver_segment_6",), attenuation="hypoattenuating"),
        lesion("liver_lesion", 2, 14.2, 11.0, 47, "liver", ("liver_segment_4",), attenuation="hypoattenuating"),
        lesion("liver_lesion", 3, 7.2, 5.4, 60, "liver", ("liver_segment_2",), attenuation="hypoattenuating"),
        lesion("gallstone", 1, 11.6, 9.0, 210, "gallbladder"),
        lesion("kidney_cyst_left", 1, 21.0, 19.6, 7, "kidney_left", pole="upper pole", attenuation="hypoattenuating"),
        lesion("pleural_effusion_right", 1, 90, 30, 6, volume_ml=124.0),
    ]
    return numbers(organs, lesions, absent=("kidney_cyst_right", "ascites"))


def lungs_only() -> Measurements:
    """What is seen without masks: the body and the lungs by a threshold, nothing else searched."""
    return numbers(
        [
            organ("body", 30000, -50, ("inferior", "superior")),
            organ("lung_right", 2410, -820),
            organ("lung_left", 2205, -818),
        ],
        phase="unknown",
        certain=False,
    )

"""A small asymmetric abdomen with a known truth, and its report, for the page's tests."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from radvlm.types.finding import Finding, RuleReference, Source, Status
from radvlm.types.geometry import Box, Geometry
from radvlm.types.measurement import Measurement, Omission
from radvlm.types.provenance import Decision, SourceFile
from radvlm.types.region import Region
from radvlm.types.region_map import RegionLabel, RegionMap
from radvlm.types.report import Report, Sentence
from radvlm.types.scan_measurements import LesionMeasurements, Measurements, Phase, StructureMeasurements
from radvlm.types.study import Study
from radvlm.types.volume import Volume

SHAPE, SPACING = (120, 90, 36), (3.0, 3.0, 5.0)
#: structure or lesion -> (center in voxels, half-axes in voxels, HU); the liver lies at high i: the patient's right.
PARTS = {
    "body": ((60, 45, 18), (55, 38, 40), 20),
    "lung_right": ((85, 48, 36), (20, 24, 7), -820),
    "liver": ((84, 50, 20), (22, 26, 12), 105),
    "liver_segment_6": ((92, 40, 16), (13, 15, 7), 105),
    "spleen": ((24, 36, 22), (9, 14, 8), 115),
    "kidney_right": ((80, 26, 11), (8, 8, 8), 160),
    "aorta": ((57, 32, 18), (4, 4, 40), 150),
    "vertebrae_L1": ((60, 18, 18), (9, 8, 4), 320),
    "liver_lesion/1": ((95, 42, 17), (5, 4, 3), 30),
    "liver_lesion/2": ((74, 60, 22), (2, 2, 1.5), 35),
}


@dataclass(frozen=True)
class Case:
    report: Report
    volume: Volume
    regions: RegionMap
    measurements: Measurements
    manifest: dict[str, Any]


def ellipsoid(name: str) -> np.ndarray:
    center, half, _ = PARTS[name]
    grid = np.indices(SHAPE, dtype=np.float32)
    return sum(((axis - c) / h) ** 2 for axis, c, h in zip(grid, center, half, strict=True)) <= 1.0


def make_geometry() -> Geometry:
    affine = np.diag([*SPACING, 1.0])
    affine[:3, 3] = (-180.0, -120.0, -900.0)
    return Geometry(SHAPE, affine)


def make_region(name: str, mask: np.ndarray, geometry: Geometry) -> Region:
    where = np.argwhere(mask)
    box = Box(tuple(where.min(axis=0)), tuple(where.max(axis=0) + 1))
    return Region(
        name,
        name.split("/")[0],
        box,
        len(where),
        len(where) * geometry.voxel_volume_mm3 / 1000,
        tuple(geometry.to_world(where.mean(axis=0)).tolist()),
        tuple(where[0].tolist()) if "/" in name else None,
    )


def make_numbers(region: Region, hu: np.ndarray) -> tuple[Measurement, ...]:
    return (
        Measurement("volume", region.volume_ml, "voxel count", 0.04 * region.volume_ml, region.id),
        Measurement("mean_hu", float(hu.mean()), "mean of the mask", None, region.id),
        Measurement("sd_hu", float(hu.std()), "standard deviation of the mask", None, region.id),
        Measurement("median_hu", float(np.median(hu)), "median of the mask", None, region.id),
    )


def make_axes(name: str, region: Region, geometry: Geometry) -> tuple[Measurement, ...]:
    (i, j, k), (a, b, _), _ = PARTS[name]
    ends = geometry.to_world([(i - a - 0.5, j, k), (i + a + 0.5, j, k), (i, j - b - 0.5, k), (i, j + b + 0.5, k)])
    points = [tuple(p) for p in ends.tolist()]
    return (
        Measurement(
            "long_axis", (2 * a + 1) * 3.0, "longest chord of the outline", 1.5, region.id, tuple(points[:2]), k
        ),
        Measurement(
            "short_axis", (2 * b + 1) * 3.0, "largest perpendicular chord", 1.5, region.id, tuple(points[2:]), k
        ),
    )


def make_case(sentence_text: str = "", noise: float = 12.0) -> Case:
    """``sentence_text`` replaces the text of the lesion sentence."""
    geometry = make_geometry()
    random = np.random.default_rng(5)
    hu = np.full(SHAPE, -1000.0, dtype=np.float32)
    labels = np.zeros(SHAPE, dtype=np.uint8)
    masks, numbers = {}, {}
    for number, (name, (_, _, value)) in enumerate(PARTS.items()):
        masks[name] = ellipsoid(name)
        hu[masks[name]] = value
        labels[masks[name]] = number
    hu = np.rint(hu + random.normal(0, noise, SHAPE) * (hu > -990)).astype(np.int16)
    names = [n for n in PARTS if n != "body"]
    regions = {n: make_region(n, masks[n], geometry) for n in names}
    order = list(PARTS)
    rows = []
    for n in names:
        over = [order.index(o) for o in names if order.index(o) > order.index(n) and (masks[o] & masks[n]).any()]
        rows.append(RegionLabel(order.index(n), regions[n], tuple(over)))
    region_map = RegionMap(labels, geometry, tuple(rows))
    for n in names:
        numbers[n] = make_numbers(regions[n], hu[masks[n]])
    cut = {"lung_right": ("superior",), "aorta": ("inferior", "superior")}
    measurements = Measurements(
        structures=tuple(
            StructureMeasurements(
                n,
                regions[n],
                numbers[n],
                cut.get(n, ()),
                (Omission("extent_superior_inferior", n, "cut by the field of view"),) if n in cut else (),
            )
            for n in names
            if "/" not in n
        ),
        lesions=tuple(
            LesionMeasurements(
                "liver_lesion",
                int(n[-1]),
                regions[n],
                (*make_axes(n, regions[n], geometry), *numbers[n]),
                "liver",
                ("liver_segment_6",) if n.endswith("1") else (),
                attenuation="hypoattenuating",
            )
            for n in names
            if "/" in n
        ),
        absent=("gallstone", "kidney_stone"),
        phase=Phase("portal venous", "liver 105 HU above aorta 150 HU", True),
        geometry=geometry,
        decisions=(Decision("masks", "One crumb of 2 voxels was ignored.", True),),
    )
    source = SourceFile("ct.nii.gz", 1234567, "ab" * 32)
    volume = Volume(hu, geometry, Study(modality="CT"), "LPS", (source,), (Decision("nifti", "Read as int16."),))
    manifest = {
        "radvlm": "0.1.0",
        "inputs": [{"role": "ct", **asdict(source)}],
        "versions": {"python": "3.11", "numpy": "2.4.6"},
        "configuration": {"style": {"length": "full"}},
        "searched": ["liver", "spleen"],
        "decisions": [{"step": "masks", "what": "One crumb of 2 voxels was ignored.", "warning": True}],
    }
    return Case(make_report(regions, numbers, geometry, sentence_text), volume, region_map, measurements, manifest)


def make_report(
    regions: dict[str, Region], numbers: dict[str, tuple[Measurement, ...]], geometry: Geometry, sentence_text: str
) -> Report:
    rule = RuleReference("liver_lesion_size", "Example Society guideline 2020, table 2", "moderate")
    axes = make_axes("liver_lesion/1", regions["liver_lesion/1"], geometry)
    found = (
        Finding("F1", "coverage", Status.PRESENT, "", "technique", source=Source.HEADER),
        Finding("F2", "organ", Status.PRESENT, "lung_right", "lungs", (regions["lung_right"],)),
        Finding("F3", "organ", Status.PRESENT, "liver", "liver", (regions["liver"],), numbers["liver"][:1]),
        Finding(
            "F4",
            "liver_lesion",
            Status.PRESENT,
            "liver",
            "liver",
            (regions["liver_lesion/1"],),
            axes,
            category="hypoattenuating",
            rule=rule,
            locations=("liver_segment_6",),
            importance=50,
        ),
        Finding("F5", "liver_lesion", Status.PRESENT, "liver", "liver", (regions["liver_lesion/2"],), importance=20),
        Finding("F6", "gallstone", Status.ABSENT, "gallbladder", "biliary"),
        Finding("F7", "organ", Status.PRESENT, "spleen", "spleen", (regions["spleen"],)),
        Finding("F8", "organ", Status.PRESENT, "kidney_right", "kidneys", (regions["kidney_right"],)),
        Finding("F9", "organ", Status.PRESENT, "vertebrae_L1", "bones", (regions["vertebrae_L1"],)),
        Finding(
            "F10",
            "pericholecystic_stranding",
            Status.PRESENT,
            "",
            "biliary",
            (regions["liver_lesion/2"],),
            source=Source.MODEL,
            confidence=0.64,
        ),
        Finding(
            "F11",
            "splenomegaly",
            Status.NOT_ASSESSED,
            "spleen",
            "spleen",
            category="splenomegaly",
            reason="the patient's sex and height are not known",
        ),
        Finding("F12", "organ", Status.NOT_ASSESSED, "kidney_left", "kidneys", reason="outside the field of view"),
        Finding(
            "F13",
            "steatosis",
            Status.INDETERMINATE,
            "liver",
            "liver",
            (regions["liver"],),
            reason="contrast is present",
        ),
        Finding("F14", "organ", Status.PRESENT, "aorta", "vessels", (regions["aorta"],)),
    )
    by_id = {f.id: f for f in found}
    lesion = sentence_text or (
        "Hypoattenuating lesion in segment VI measuring 3.3 x 2.7 cm; a second one of 1.5 cm in the left lobe."
    )
    said = [
        ("technique", "CT of the upper abdomen with intravenous contrast, portal venous phase.", ("F1",)),
        ("lungs", "The right lung base is clear; the lung is incompletely imaged.", ("F2",)),
        ("liver", "The liver is normal in size with a volume of 1430 mL.", ("F3",)),
        ("liver", lesion, ("F4", "F5")),
        ("liver", "Steatosis cannot be judged with contrast.", ("F13",)),
        ("biliary", "No gallstone.", ("F6",)),
        ("biliary", "Possible fat stranding beside the gallbladder.", ("F10",)),
        ("spleen", "The spleen is unremarkable.", ("F7",)),
        ("kidneys", "The right kidney is unremarkable.", ("F8",)),
        ("vessels", "The aorta is of normal caliber.", ("F14",)),
        ("bones", "No focal lesion of the L1 vertebra.", ("F9",)),
        ("impression", "Hypoattenuating liver lesions, the largest 3.3 cm in segment VI.", ("F4", "F5")),
        ("impression", "Possible fat stranding beside the gallbladder.", ("F10",)),
    ]
    return Report(
        found,
        tuple(Sentence(text, section, tuple(by_id[i] for i in ids)) for section, text, ids in said),
        (("Examination", "CT abdomen"), ("Patient", "female, 63 years"), ("Comparison", "Not provided.")),
        provenance={"radvlm": "0.1.0", "warnings": ["One crumb of 2 voxels was ignored."]},
    )


@pytest.fixture(scope="session")
def case() -> Case:
    return make_case()


@pytest.fixture(scope="session")
def make() -> Any:
    return make_case


@pytest.fixture(scope="session")
def browser() -> Iterator[Any]:
    """Headless Chromium; skipped, visibly, where playwright or Chromium is missing."""
    sync_api = pytest.importorskip("playwright.sync_api")
    path = next((p for p in map(shutil.which, ("chromium", "chromium-browser", "google-chrome")) if p), None)
    if path is None:
        pytest.skip("no Chromium on this machine")
    with sync_api.sync_playwright() as playwright:
        running = playwright.chromium.launch(
            executable_path=path,
            args=[
                "--no-sandbox",
                "--disable-gpu",
                "--disable-quic",
                "--no-first-run",
                "--disable-background-networking",
                "--disable-component-update",
                "--disable-sync",
            ],
        )
        yield running
        running.close()


@pytest.fixture(scope="session")
def page_file(case: Case, tmp_path_factory: pytest.TempPathFactory) -> Path:
    from radvlm.export import render_page

    path = tmp_path_factory.mktemp("page") / "report.html"
    path.write_text(
        render_page(
            case.report,
            volume=case.volume,
            regions=case.regions,
            measurements=case.measurements,
            manifest=case.manifest,
        ),
        encoding="utf-8",
    )
    return path

"""Made-up studies for the tests of token models: a bright cube in a body of water, and its report."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np

from radvlm.train.data import Study
from radvlm.types.geometry import Geometry
from radvlm.types.segmentation import LabelPlace, Segmentation
from radvlm.types.volume import Volume

SHAPE = (24, 24, 24)
SPACING_MM = 4.0
AFFINE = np.diag([SPACING_MM, SPACING_MM, SPACING_MM, 1.0])


def scan(number: int) -> tuple[np.ndarray, np.ndarray, bool]:
    """HU, labels (1 liver, 2 spleen) and whether the liver holds a bright lesion."""
    rng = np.random.Generator(np.random.PCG64(number))
    hu = np.full(SHAPE, -1000, np.float32)
    hu[2:22, 2:22, 2:22] = 20
    labels = np.zeros(SHAPE, np.uint8)
    labels[12:20, 6:18, 8:18] = 1
    labels[4:8, 6:12, 10:16] = 2
    hu[labels == 1] = 60
    hu[labels == 2] = 50
    ill = number % 2 == 0
    if ill:
        x = int(rng.integers(12, 15))
        hu[x : x + 5, 8:14, 10:15] = 400
    return hu + rng.normal(0, 5, SHAPE).astype(np.float32), labels, ill


def write_study(folder: Path, number: int) -> Study:
    """Files ``.npy`` in the folder and the row that describes them."""
    hu, labels, ill = scan(number)
    np.save(folder / f"{number}.npy", hu)
    np.save(folder / f"{number}.masks.npy", labels)
    sections = {"liver": "A dense liver lesion." if ill else "The liver is normal.", "spleen": "The spleen is normal."}
    return Study(
        f"ct-{number}",
        f"p{number}",
        folder / f"{number}.npy",
        folder / f"{number}.masks.npy",
        sections=sections,
        labels={"liver_lesion": ill, "spleen_lesion": False},
        questions=(("Is there a liver lesion?", "Yes" if ill else "No"),),
        facts={"liver": "liver | 1.0 mL"},
    )


def write_table(folder: Path, count: int) -> Path:
    """The same studies as a CSV of files."""
    with (folder / "studies.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(
            [
                "patient",
                "study",
                "volume",
                "masks",
                "section:liver",
                "section:spleen",
                "label:liver_lesion",
                "label:spleen_lesion",
            ]
        )
        for n in range(count):
            s = write_study(folder, n)
            writer.writerow(
                [
                    s.patient,
                    s.name,
                    s.volume.name,
                    s.masks.name if s.masks else "",
                    s.sections["liver"],
                    s.sections["spleen"],
                    int(s.labels["liver_lesion"]),
                    0,
                ]
            )
    return folder / "studies.csv"


def open_volume(path: Path) -> Volume:
    return Volume(np.load(path), Geometry(SHAPE, AFFINE))


def open_masks(path: Path, scan: Volume) -> Segmentation:
    places = {"liver": LabelPlace(0, 1), "spleen": LabelPlace(0, 2)}
    return Segmentation((np.load(path),), places, frozenset(places), scan.geometry)

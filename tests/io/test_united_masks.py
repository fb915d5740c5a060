"""Masks of two cases in one folder, and two masks with one name that cannot be one organ."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

import radvlm
from radvlm.io.case_names import several_cases
from radvlm.io.masks import load_segmentation
from radvlm.types.label_scheme import structure_from_name
from radvlm.types.segmentation import Segmentation

AFFINE = np.diag([4.0, 4.0, 5.0, 1.0])
SHAPE = (60, 50, 40)


def ball(center: tuple[int, int, int], radius: float) -> np.ndarray:
    grid = np.indices(SHAPE)
    return (sum((grid[axis] - center[axis]) ** 2 for axis in range(3)) < radius**2).astype(np.uint8)


#: A liver, a piece that touches it, a spleen far off.
LIVER, LOBE, FAR = ball((40, 25, 20), 10), ball((30, 25, 20), 5), ball((12, 25, 20), 7)
Read = Callable[[dict[str, np.ndarray]], Segmentation]


@pytest.fixture
def files(tmp_path: Path) -> Read:
    def read(masks: dict[str, np.ndarray]) -> Segmentation:
        for name, mask in masks.items():
            nib.save(nib.Nifti1Image(mask, AFFINE), tmp_path / f"{name}.nii.gz")
        return load_segmentation(tmp_path)

    return read


def by_labels(masks: dict[str, np.ndarray]) -> Segmentation:
    labels = np.zeros(SHAPE, np.uint8)
    for number, mask in enumerate(masks.values(), start=1):
        labels[mask > 0] = number
    return load_segmentation((labels, AFFINE), scheme=dict.fromkeys(range(1, len(masks) + 1), "liver"))


def warned(found: Segmentation) -> list[str]:
    return [decision.what for decision in found.decisions if decision.warning]


@pytest.mark.parametrize("way", ["files", "labels"])
def test_two_masks_of_an_organ_far_apart(way: str, files: Read) -> None:
    found = (files if way == "files" else by_labels)({"liver": LIVER, "Liver": FAR})
    told = warned(found)
    assert len(told) == 1 and told[0].startswith(f"2 {way} ")
    assert "have the name liver and lie" in told[0] and set(found.unsure) == {"liver"}
    gap = float(told[0].split(" mm apart")[0].split()[-1])
    assert gap == pytest.approx((40 - 12 - 10 - 7) * 4, abs=8)


@pytest.mark.parametrize("way", ["files", "labels"])
def test_parts_that_touch_and_lesions_are_no_fault(way: str, files: Read) -> None:
    found = (files if way == "files" else by_labels)({"liver": LIVER, "Liver": LOBE})
    assert not warned(found) and not found.unsure
    assert any("held the same structure and were united: liver" in d.what for d in found.decisions)
    assert found.voxel_count("liver") == int((LIVER | LOBE).sum())


def test_lesions_may_lie_apart(files: Read) -> None:
    assert not warned(files({"liver_lesion_1": ball((40, 25, 20), 3), "liver_lesion_2": FAR, "liver": LIVER}))


def test_contours_are_called_contours() -> None:
    from radvlm.io.united_masks import with_united

    labels = LIVER | FAR
    found = load_segmentation((labels, AFFINE), scheme={1: "liver"})
    told = warned(with_united(found, {"liver": ["rs.dcm (Liver)", "rs.dcm (liver 2)"]}, "contours"))
    assert told and told[0].startswith("2 contours (rs.dcm (Liver), rs.dcm (liver 2)) have the name liver")


@pytest.mark.parametrize(
    ("stems", "cases"),
    [
        (["case01_liver", "case02_spleen"], 2),
        (["s0011_liver", "s0012_spleen", "s0012_aorta"], 2),
        (["10234_liver", "20111_spleen"], 2),
        (["TCGA-01-liver", "TCGA-01-spleen", "TCGA-02-aorta"], 2),
        (["case01_liver", "case01_spleen"], 0),
        (["1_liver", "2_spleen", "3_aorta"], 0),
        (["01_liver", "02_spleen"], 0),
        (["label1_liver", "label2_spleen"], 0),
        (["mask_001_liver", "mask_002_spleen"], 0),
        (["Segment_1_liver", "Segment_2_spleen"], 0),
        (["liver", "spleen"], 0),
        (["liver_segment_1", "liver_segment_2"], 0),
        (["rib_left_1", "rib_left_2"], 0),
        (["L1_vertebra", "L2_vertebra", "liver"], 0),
        (["vertebrae_L1", "vertebrae_T12"], 0),
        (["liver_1", "spleen_2"], 0),
        (["case01_liver", "spleen"], 0),
    ],
)
def test_the_numbers_of_cases_in_names(stems: list[str], cases: int) -> None:
    named = {stem: found for stem in stems if (found := structure_from_name(stem)) is not None}
    assert len(named) >= 2 or not cases
    assert len(several_cases(named, structure_from_name)) == cases


def test_masks_of_two_cases_in_a_folder(files: Read) -> None:
    told = warned(files({"case01_liver": LIVER, "case02_spleen": FAR}))
    assert len(told) == 1 and "state 2 cases (case01, case02)" in told[0]


def test_two_spleens_are_not_measured(files: Read) -> None:
    found = files({"spleen": FAR, "SPLEEN": ball((48, 25, 20), 6)})
    assert radvlm.load_segmentation(found).unsure  # and it stays so

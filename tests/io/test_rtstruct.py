"""RT structure sets to masks: against polygons whose area is a formula, and point by point against another rule."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from radvlm.errors import GridError, InputError, RadvlmError
from radvlm.io import load_segmentation
from radvlm.io.rtstruct import RTSTRUCT_CLASS, even_odd, even_odd_area
from radvlm.types.geometry import Geometry

ROOT = "1.2.826.0.1.3680043.8.498.77"
GRID = Geometry((60, 50, 20), np.array([[2.0, 0, 0, -60], [0, 2.0, 0, -50], [0, 0, 3.0, -30], [0, 0, 0, 1]]))


def ring(center: tuple[float, float], radius: float, count: int = 90) -> np.ndarray:
    angle = np.linspace(0, 2 * np.pi, count, endpoint=False)
    return np.stack([center[0] + radius * np.cos(angle), center[1] + radius * np.sin(angle)], 1)


def structure_set(path: Path, regions: dict[str, list[tuple[float, np.ndarray]]], **changes: Any) -> Path:
    """An RTSTRUCT with {name: [(z in mm, (N, 2) points in RAS+ mm)]}."""
    from pydicom.dataset import Dataset, FileMetaDataset
    from pydicom.sequence import Sequence
    from pydicom.uid import ExplicitVRLittleEndian

    ds = Dataset()
    ds.file_meta = FileMetaDataset()
    ds.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    ds.SOPClassUID = ds.file_meta.MediaStorageSOPClassUID = RTSTRUCT_CLASS
    ds.SOPInstanceUID = ds.file_meta.MediaStorageSOPInstanceUID = f"{ROOT}.5"
    ds.Modality, ds.PatientID, ds.StudyInstanceUID, ds.SeriesInstanceUID = "RTSTRUCT", "p", ROOT, f"{ROOT}.1"
    ds.StructureSetROISequence, ds.ROIContourSequence = Sequence(), Sequence()
    for number, (name, contours) in enumerate(regions.items(), start=1):
        roi, drawn = Dataset(), Dataset()
        roi.ROINumber, roi.ROIName, roi.ReferencedFrameOfReferenceUID = number, name, f"{ROOT}.9"
        drawn.ReferencedROINumber, drawn.ROIDisplayColor, drawn.ContourSequence = number, [255, 0, 128], Sequence()
        for z, points in contours:
            item = Dataset()
            item.ContourGeometricType = changes.get("kind", "CLOSED_PLANAR") if len(points) > 2 else "POINT"
            item.NumberOfContourPoints = len(points)
            heights = z if np.ndim(z) else np.full(len(points), z)
            item.ContourData = [f"{v:.4f}" for x, y, h in zip(*points.T, heights, strict=True) for v in (-x, -y, h)]
            drawn.ContourSequence.append(item)
        ds.StructureSetROISequence.append(roi)
        ds.ROIContourSequence.append(drawn)
    ds.save_as(path, enforce_file_format=True)
    return path


def levels(first: int, last: int, *rings: np.ndarray, step: int = 1) -> list[tuple[float, np.ndarray]]:
    return [(-30 + 3.0 * k, points) for k in range(first, last, step) for points in rings]


def test_contours_with_a_hole_and_a_second_piece(tmp_path) -> None:
    """A ring of 30 and 10 mm and a disk of 12 mm: the volume is the formula, and the error is said."""
    regions = {
        "Liver": levels(5, 15, ring((0, 0), 30), ring((0, 0), 10), ring((45, 30), 12)),
        "PTV_60": levels(5, 9, ring((0, 0), 20)),
        "point": levels(5, 6, np.array([[0.0, 0.0]])),
    }
    found = load_segmentation(structure_set(tmp_path / "rs", regions), like=GRID)
    truth_mm3 = 10 * 3 * np.pi * (30**2 - 10**2 + 12**2)
    assert abs(found.voxel_count("liver") * 12 / truth_mm3 - 1) < 0.01
    mask = found.mask("liver")
    assert not mask[:, :, :5].any() and not mask[:, :, 15:].any()
    assert not mask[30, 25, 10] and mask[40, 25, 10] and mask[52, 40, 10]
    said = " ".join(decision.what for decision in found.decisions)
    assert "even-odd rule" in said and "differ by" in said and "PTV_60" in said
    assert found.present == ("liver",) and found.colors == {"liver": (255, 0, 128)}


def test_a_keyhole_is_a_hole(tmp_path) -> None:
    outer, inner = ring((0, 0), 30), ring((0, 0), 10)[::-1]
    keyhole = np.vstack([outer, outer[:1], inner[-1:], inner, outer[:1]])
    found = load_segmentation(structure_set(tmp_path / "rs", {"liver": levels(5, 15, keyhole)}), like=GRID)
    assert abs(found.voxel_count("liver") * 12 / (30 * np.pi * 800) - 1) < 0.01


def test_missing_slices_are_not_made_up(tmp_path) -> None:
    regions = {
        "liver": [c for c in levels(3, 17, ring((0, 0), 30)) if c[0] != 0.0],
        "spleen": levels(3, 17, ring((40, 0), 8)),
    }
    found = load_segmentation(structure_set(tmp_path / "rs", regions), like=GRID)
    assert not found.mask("liver")[:, :, 10].any() and found.mask("liver")[:, :, 9].any()
    assert any(d.warning and "not made up" in d.what and "liver (1 slices)" in d.what for d in found.decisions)
    with pytest.raises(GridError, match="neighboring"):
        load_segmentation(structure_set(tmp_path / "b", {"liver": levels(1, 19, ring((0, 0), 30), step=2)}), like=GRID)
    apart = {"kidneys": levels(1, 4, ring((30, 0), 9)) + levels(9, 14, ring((-30, 0), 9))}
    found = load_segmentation(structure_set(tmp_path / "c", apart), like=GRID, scheme={"kidneys": "kidney_left"})
    assert not any(d.warning for d in found.decisions)


def test_contours_of_two_organs_that_end_in_one_slice_cover_a_part_of_the_scan(tmp_path) -> None:
    """Cylinders drawn up to slice 12: no organ ends like that, the drawing does. Balls that end there are whole."""
    regions = {"liver": levels(4, 13, ring((25, 0), 25)), "spleen": levels(6, 13, ring((-30, 0), 12))}
    found = load_segmentation(structure_set(tmp_path / "rs", regions), like=GRID)
    assert found.covered is not None and (found.covered.start[2], found.covered.stop[2]) == (0, 13)
    assert found.end_faces("liver") == found.end_faces("spleen") == ("superior",)
    assert any("The masks cover 65% of the scan" in d.what and d.warning for d in found.decisions)

    def ball(x_mm: float, first: int, last: int) -> list[tuple[float, np.ndarray]]:
        half = (last - first) / 2
        radii = [15 * np.sqrt(1 - ((k + 0.5 - first - half) / half) ** 2) for k in range(first, last)]
        return [(-30 + 3.0 * k, ring((x_mm, 0), radius)) for k, radius in zip(range(first, last), radii, strict=True)]

    whole = structure_set(tmp_path / "balls", {"liver": ball(25, 3, 13), "spleen": ball(-30, 5, 13)})
    alone = structure_set(tmp_path / "alone", {"liver": levels(4, 13, ring((25, 0), 25))})
    for path in (whole, alone):
        assert load_segmentation(path, like=GRID).covered is None


def test_what_cannot_be_placed_is_refused(tmp_path) -> None:
    disk = ring((0, 0), 30)
    with pytest.raises(InputError, match="scan"):
        load_segmentation(structure_set(tmp_path / "a", {"liver": levels(5, 15, disk)}))
    between = [(z + 1.4, points) for z, points in levels(5, 15, disk)]
    with pytest.raises(GridError, match="between its slices"):
        load_segmentation(structure_set(tmp_path / "b", {"liver": between}), like=GRID)
    oblique = [(z + 0.3 * disk[:, 0], points) for z, points in levels(5, 15, disk)]
    with pytest.raises(GridError, match="oblique"):
        load_segmentation(structure_set(tmp_path / "c", {"liver": oblique}), like=GRID)
    with pytest.raises(RadvlmError, match="PTV"):
        load_segmentation(structure_set(tmp_path / "d", {"PTV": levels(5, 15, disk)}), like=GRID)
    with pytest.raises(RadvlmError, match="closed contours"):
        load_segmentation(structure_set(tmp_path / "e", {"liver": levels(5, 6, disk[:1])}), like=GRID)


def test_any_orientation_of_the_scan(tmp_path) -> None:
    """The same voxels in mm, whatever the axes of the grid."""
    path = structure_set(tmp_path / "rs", {"liver": levels(5, 15, ring((11, -7), 30))})
    straight = load_segmentation(path, like=GRID)
    for order, signs in (((1, 0, 2), (1, -1, 1)), ((2, 1, 0), (-1, 1, -1))):
        turned = load_segmentation(path, like=GRID.reordered(order, signs))
        np.testing.assert_array_equal(turned.mask("liver"), straight.mask("liver"))


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(3, 9), st.integers(1, 3))
def test_even_odd_point_by_point(seed, corners, count) -> None:
    """Every center, against the number of crossings of a ray in another direction."""
    rng = np.random.default_rng(seed)
    polygons = [rng.uniform(-2, 14, (corners, 2)) for _ in range(count)]
    mask = even_odd(polygons, (12, 11))
    for i, j in np.ndindex(9, 7):
        crossings = 0
        for points in polygons:
            for (x0, y0), (x1, y1) in zip(points, np.roll(points, -1, axis=0), strict=True):
                if (x0 <= i) != (x1 <= i) and y0 + (i - x0) / (x1 - x0) * (y1 - y0) > j:
                    crossings += 1
        assert mask[i, j] == crossings % 2


def test_area_by_the_even_odd_rule() -> None:
    square = np.array([[0.0, 0], [10, 0], [10, 10], [0, 10]])
    assert even_odd_area([square, square / 2 + 2, square / 10 + 4]) == pytest.approx(100 - 25 + 1)
    assert even_odd([square], (12, 12)).sum() == 100
    both = even_odd([square], (24, 12)) & even_odd([square + np.array([10, 0])], (24, 12))
    assert not both.any()

"""DICOM SEG written by highdicom from a synthetic series and read back: voxels, names, identity."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pydicom import Dataset
from pydicom.dataset import FileMetaDataset
from pydicom.sr.codedict import codes
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian, generate_uid

from radvlm.errors import FileFormatError, InputError, StructureError
from radvlm.io.dicom_frames import patient_key
from radvlm.io.dicom_seg import is_dicom_seg, read_dicom_seg, segment_structure
from radvlm.io.masks import load_segmentation
from radvlm.types.geometry import Geometry
from radvlm.types.study import Study
from radvlm.types.volume import Volume

SHAPE = (6, 8, 10)  # slices, rows, columns


def ct_series(patient: str = "P1") -> list[Dataset]:
    frame_uid, series_uid, study_uid = generate_uid(), generate_uid(), generate_uid()
    slices = []
    for k in range(SHAPE[0]):
        ct = Dataset()
        ct.file_meta = FileMetaDataset()
        ct.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
        ct.SOPClassUID = ct.file_meta.MediaStorageSOPClassUID = CTImageStorage
        ct.SOPInstanceUID = ct.file_meta.MediaStorageSOPInstanceUID = generate_uid()
        ct.PatientID, ct.PatientName, ct.PatientBirthDate, ct.PatientSex = patient, "A^B", "", ""
        ct.StudyDate, ct.StudyTime, ct.StudyID = "20200101", "", "1"
        ct.AccessionNumber = ct.ReferringPhysicianName = ""
        ct.StudyInstanceUID, ct.SeriesInstanceUID, ct.FrameOfReferenceUID = study_uid, series_uid, frame_uid
        ct.PositionReferenceIndicator, ct.Modality, ct.SeriesNumber, ct.InstanceNumber = "", "CT", 1, k + 1
        ct.Rows, ct.Columns, ct.PixelSpacing, ct.SliceThickness = SHAPE[1], SHAPE[2], [0.8, 0.9], 2.0
        ct.ImageOrientationPatient = [1, 0, 0, 0, 1, 0]
        ct.ImagePositionPatient = [-20.0, -30.0, 100.0 + 2 * k]
        ct.BitsAllocated = ct.BitsStored = 16
        ct.HighBit, ct.SamplesPerPixel, ct.PixelRepresentation = 15, 1, 1
        ct.PhotometricInterpretation, ct.RescaleSlope, ct.RescaleIntercept = "MONOCHROME2", 1, 0
        ct.PixelData = np.zeros(SHAPE[1:], np.int16).tobytes()
        slices.append(ct)
    return slices


def scan(series: list[Dataset], hu: float = 50) -> Volume:
    """The Volume of the series: RAS+, while the series is stored LPS."""
    first = series[0]
    affine = np.diag([0.9, 0.8, 2.0, 1.0])
    affine[:3, 3] = (20.0 - 0.9 * (SHAPE[2] - 1), 30.0 - 0.8 * (SHAPE[1] - 1), 100.0)
    study = Study(
        patient_key=patient_key(first),
        study_uid=first.StudyInstanceUID,
        frame_of_reference_uid=first.FrameOfReferenceUID,
    )
    return Volume(np.full(SHAPE[::-1], hu, np.int16), Geometry(SHAPE[::-1], affine), study, "LPS")


def to_ras(mask: np.ndarray) -> np.ndarray:
    """(slices, rows, columns) of the LPS series to (right, anterior, superior)."""
    return mask.transpose(2, 1, 0)[::-1, ::-1]


def write(
    path: Path, series: list[Dataset], array: np.ndarray, kind: str, segments: list[tuple[str, Any]], **options: Any
) -> Path:
    import highdicom as hd

    described = [
        hd.seg.SegmentDescription(
            segment_number=number,
            segment_label=label,
            segmented_property_category=codes.SCT.Organ,
            segmented_property_type=code,
            algorithm_type="MANUAL",
        )
        for number, (label, code) in enumerate(segments, start=1)
    ]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        seg = hd.seg.Segmentation(
            series, array, kind, described, generate_uid(), 2, generate_uid(), 1, "maker", "model", "1", "1", **options
        )
        seg.save_as(path)
    return path


def two_organs() -> np.ndarray:
    array = np.zeros(SHAPE, np.uint8)
    array[2:4, 1:4, 2:6] = 1
    array[3, 5:7, 5:9] = 2
    return array


ORGANS = [("Liver", codes.SCT.Liver), ("left kidney", codes.SCT.Kidney), ("Spleen", codes.SCT.Spleen)]


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["BINARY", "LABELMAP"])
def test_read_back_equal(tmp_path: Path, kind: str) -> None:
    series = ct_series()
    path = write(tmp_path / "seg.dcm", series, two_organs(), kind, ORGANS)
    assert is_dicom_seg(path)
    volume = scan(series)
    for source in (path, tmp_path):
        found = load_segmentation(source, like=volume)
        assert set(found.places) == {"liver", "kidney_left"}
        assert found.absent == ("spleen",)
        assert found.geometry.same_grid(volume.geometry)
        for name, label in (("liver", 1), ("kidney_left", 2)):
            np.testing.assert_array_equal(found.mask(name), to_ras(two_organs() == label))
    assert not any(decision.warning for decision in found.decisions)
    alone = load_segmentation(path)  # only the filled slices come back
    assert alone.voxel_count("liver") == 24 and alone.geometry.shape == (10, 8, 2)


def test_overlapping_segments_keep_every_voxel(tmp_path: Path) -> None:
    series = ct_series()
    liver = two_organs() == 1
    lesion = np.zeros(SHAPE, bool)
    lesion[3, 2:4, 3:5] = True
    array = np.stack([liver, lesion], axis=-1).astype(np.uint8)
    path = write(
        tmp_path / "seg.dcm",
        series,
        array,
        "BINARY",
        [("Liver", codes.SCT.Liver), ("Liver lesion 1", codes.SCT.Lesion)],
    )
    found = load_segmentation(path, like=scan(series))
    for name, mask in (("liver", liver), ("liver_lesion", lesion)):
        np.testing.assert_array_equal(found.mask(name), to_ras(mask))
    assert len(found.layers) == 2


def test_fractions_are_cut_at_one_half_and_recorded(tmp_path: Path) -> None:
    series = ct_series()
    array = np.zeros(SHAPE, np.float32)
    array[2, 1:4, 2:6] = 0.4
    array[3, 1:4, 2:6] = 0.7
    path = write(tmp_path / "seg.dcm", series, array, "FRACTIONAL", ORGANS[:1], fractional_type="PROBABILITY")
    found = load_segmentation(path, like=scan(series))
    assert found.voxel_count("liver") == 12
    assert any("fractions (probability)" in decision.what for decision in found.decisions)


def test_several_segments_of_one_structure_are_united(tmp_path: Path) -> None:
    series = ct_series()
    path = write(
        tmp_path / "seg.dcm",
        series,
        two_organs(),
        "BINARY",
        [("Liver lesion 1", codes.SCT.Lesion), ("Liver lesion 2", codes.SCT.Lesion)],
    )
    found = load_segmentation(path, like=scan(series))
    assert found.voxel_count("liver_lesion") == 24 + 8
    assert any("united" in decision.what for decision in found.decisions)


def test_unknown_segments_are_named(tmp_path: Path) -> None:
    series = ct_series()
    path = write(
        tmp_path / "seg.dcm", series, two_organs(), "BINARY", [("Liver", codes.SCT.Liver), ("Thing", codes.SCT.Lesion)]
    )
    with pytest.raises(StructureError, match=r"segment 2 'Thing' \(8 voxels"):
        load_segmentation(path, like=scan(series))
    found = load_segmentation(path, like=scan(series), scheme={1: "liver", 2: "gallbladder"})
    assert found.voxel_count("gallbladder") == 8


def test_another_patient_or_frame_of_reference(tmp_path: Path) -> None:
    series = ct_series()
    path = write(tmp_path / "seg.dcm", series, two_organs(), "BINARY", ORGANS)
    with pytest.raises(InputError, match="another patient") as caught:
        load_segmentation(path, like=scan(ct_series("P2")))
    assert "P1" not in str(caught.value) and "P2" not in str(caught.value)
    with pytest.raises(InputError, match="frame of reference"):
        load_segmentation(path, like=scan(ct_series("P1")))


def test_masks_in_air_are_refused(tmp_path: Path) -> None:
    series = ct_series()
    path = write(tmp_path / "seg.dcm", series, two_organs(), "BINARY", ORGANS)
    with pytest.raises(InputError, match="lie on this scan"):
        load_segmentation(path, like=scan(series, hu=-1000))


def test_files_that_are_no_seg(tmp_path: Path) -> None:
    series = ct_series()
    ct = series[0]
    ct.save_as(tmp_path / "ct.dcm", enforce_file_format=True)
    assert not is_dicom_seg(tmp_path / "ct.dcm")
    with pytest.raises(FileFormatError, match=r"\(SEG\).*CT Image Storage"):
        load_segmentation(tmp_path / "ct.dcm")
    path = write(tmp_path / "seg.dcm", series, two_organs(), "BINARY", ORGANS)
    content = path.read_bytes()
    for end in (200, len(content) // 2, len(content) - 40):
        path.write_bytes(content[:end])
        with pytest.raises(FileFormatError):
            read_dicom_seg(path)


def described(label: str, code: Any, side: str = "", region: Any = None) -> Dataset:
    def coded(code: Any) -> Dataset:
        item = Dataset()
        item.CodeValue, item.CodingSchemeDesignator, item.CodeMeaning = code.value, code.scheme_designator, code.meaning
        return item

    item = Dataset()
    item.SegmentLabel = label
    item.SegmentedPropertyTypeCodeSequence = [coded(code)]
    holder, keyword = item.SegmentedPropertyTypeCodeSequence[0], "SegmentedPropertyTypeModifierCodeSequence"
    if region is not None:
        item.AnatomicRegionSequence = [coded(region)]
        holder, keyword = item.AnatomicRegionSequence[0], "AnatomicRegionModifierSequence"
    if side:
        setattr(holder, keyword, [coded(getattr(codes.SCT, side))])
    return item


@pytest.mark.parametrize(
    ("item", "structure"),
    [
        (described("seg 1", codes.SCT.Kidney, "Left"), "kidney_left"),
        (described("kidney", codes.SCT.Kidney, "Right"), "kidney_right"),
        (described("kidney", codes.SCT.Kidney), "kidney"),
        (described("Tumor", codes.SCT.Neoplasm, region=codes.SCT.Liver), "liver_tumor"),
        (described("Liver", codes.SCT.Mass, region=codes.SCT.Liver), "liver_lesion"),
        (described("x", codes.SCT.Cyst, "Left", codes.SCT.Kidney), "kidney_cyst_left"),
        (described("Left kidney", codes.SCT.Lesion), "kidney_lesion_left"),
        (described("x", codes.SCT.Mass), None),
        (described("rib_left_3", codes.SCT.Rib, "Left"), "rib_left_3"),
    ],
)
def test_names_from_labels_and_codes(item: Dataset, structure: str | None) -> None:
    assert segment_structure(item) == structure


def test_a_side_that_contradicts_itself() -> None:
    with pytest.raises(InputError, match="same side"):
        segment_structure(described("left kidney", codes.SCT.Kidney, "Right"))

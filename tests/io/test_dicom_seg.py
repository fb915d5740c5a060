"""DICOM SEG written by highdicom from a synthetic series and read back: voxels, names, identity."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
from pydicom import Dataset
from pydicom.dataset import FileMetaDataset
from pydicom.sr.codedict import codes
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian, generate_uid

from radvlm.errors import FileFormatError, GridError, InputError, RadvlmError, StructureError
from radvlm.io.dicom_frames import patient_key
from radvlm.io.dicom_seg import is_dicom_seg, read_dicom_seg, segment_meaning, segment_structure
from radvlm.io.dicom_seg_frames import SliceHints, slice_spacing
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


@pytest.mark.slow
def test_two_organs_that_end_in_one_slice_end_with_the_masks(tmp_path: Path) -> None:
    series, array = ct_series(), np.zeros(SHAPE, np.uint8)
    array[1:5, 1:4, 2:6] = 1
    array[1:5, 5:7, 5:9] = 2
    found = load_segmentation(write(tmp_path / "seg.dcm", series, array, "BINARY", ORGANS[:2]), like=scan(series))
    assert found.covered is not None and (found.covered.start[2], found.covered.stop[2]) == (1, 5)
    assert found.end_faces("liver") == ("inferior", "superior")


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
    found = load_segmentation(path, like=scan(series))
    assert set(found.places) == found.searched == {"liver"}
    assert any("not used: 'Thing'" in decision.what for decision in found.decisions if decision.warning)
    edited(path, lambda header: setattr(header.SegmentSequence[0], "SegmentLabel", "Other"))
    edited(path, lambda header: header.SegmentSequence[0].pop("SegmentedPropertyTypeCodeSequence"))
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
    with pytest.raises(FileFormatError, match=r"CT Image Storage.*\(SEG\)"):
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


# -- what is missing, contradictory or unusual ----------------------------------------------------------------------


def edited(path: Path, change: Callable[[Dataset], None]) -> Path:
    header = pydicom.dcmread(path)
    change(header)
    header.save_as(path)
    return path


def measures(header: Dataset) -> Dataset:
    return header.SharedFunctionalGroupsSequence[0].PixelMeasuresSequence[0]


def two_slices(first: int, second: int) -> np.ndarray:
    array = np.zeros(SHAPE, np.uint8)
    array[first, 1:4, 2:6] = array[second, 2:5, 2:6] = 1
    return array


@pytest.mark.parametrize("slices", [(0, 5), (1, 5), (2, 4), (3, 4), (3, 3)])
@pytest.mark.parametrize("thickness", [None, 2.0, 5.0])
def test_no_stated_spacing_never_makes_a_lesion_thicker(
    tmp_path: Path, slices: tuple[int, int], thickness: float | None
) -> None:
    series, array = ct_series(), two_slices(*slices)
    path = write(tmp_path / "seg.dcm", series, array, "BINARY", ORGANS[:1])

    def strip(header: Dataset) -> None:
        measures(header).pop("SpacingBetweenSlices", None)
        measures(header).SliceThickness = thickness

    found = load_segmentation(edited(path, strip), like=scan(series))
    np.testing.assert_array_equal(found.mask("liver"), to_ras(array == 1))


@pytest.mark.parametrize("stated", [0.7, 3.0, 5.0, 30.0, 0.0, -2.0])
def test_a_stated_spacing_that_contradicts_the_positions(tmp_path: Path, stated: float) -> None:
    series, array = ct_series(), np.zeros(SHAPE, np.uint8)
    array[1:5, 1:4, 2:6] = 1
    path = write(tmp_path / "seg.dcm", series, array, "BINARY", ORGANS[:1])
    edited(path, lambda header: setattr(measures(header), "SpacingBetweenSlices", stated))
    found = load_segmentation(path, like=scan(series))
    np.testing.assert_array_equal(found.mask("liver"), to_ras(array == 1))
    told = [decision.what for decision in found.decisions if decision.warning]
    assert bool(told) == (stated > 0.0)
    assert all("their positions were taken" in what and "damaged" not in what for what in told)


@pytest.mark.parametrize("seed", range(20))
def test_the_spacing_of_sparse_frames(seed: int) -> None:
    rng = np.random.default_rng(seed)
    spacing = float(rng.uniform(0.5, 6))
    kept = np.flatnonzero(rng.random(60) < rng.choice([0.05, 0.3, 0.9]))
    if kept.size < 2:
        kept = np.array([3, 25])
    offsets = rng.permutation(kept * spacing - 400 + rng.normal(0, 1e-3, kept.size))
    least = float(np.diff(kept).min()) * spacing
    for stated in (None, spacing):
        assert slice_spacing(offsets, SliceHints(stated, None, spacing)) == (pytest.approx(spacing, rel=2e-3), "")
    assert slice_spacing(offsets, SliceHints(None, None, None))[0] <= least * 1.002
    assert slice_spacing(offsets, SliceHints(None, 10.0, spacing))[0] == pytest.approx(spacing, rel=2e-3)


def test_rounded_positions_of_several_segments_are_one_slice() -> None:
    rng = np.random.default_rng(4)
    offsets = np.repeat(np.arange(30) * 1.25 + 0.005, 4) + rng.uniform(-0.01, 0.01, 120)
    for hints in (SliceHints(1.25, 1.25, 1.25), SliceHints(None, None, None), SliceHints(None, 1.25, None)):
        assert slice_spacing(offsets, hints) == (pytest.approx(1.25, rel=1e-3), "")


def test_masks_of_thicker_slices_than_the_scan_stay_whole() -> None:
    offsets = np.arange(12) * 5.0
    assert slice_spacing(offsets, SliceHints(5.0, 5.0, 2.5)) == (5.0, "")
    assert slice_spacing(offsets, SliceHints(None, 5.0, 2.5)) == (5.0, "")
    assert slice_spacing(offsets, SliceHints(None, None, 2.0)) == (5.0, "")
    with pytest.raises(GridError, match="how thick"):
        slice_spacing(np.zeros(3), SliceHints(None, None, None))


@pytest.mark.parametrize("kind", ["BINARY", "LABELMAP"])
def test_a_segmentation_of_a_projection_image(tmp_path: Path, kind: str) -> None:
    path = write(tmp_path / "seg.dcm", ct_series(), two_organs(), kind, ORGANS)

    def flatten(header: Dataset) -> None:
        for group in header.PerFrameFunctionalGroupsSequence:
            del group.PlanePositionSequence

    with pytest.raises(FileFormatError, match="projection image"):
        load_segmentation(edited(path, flatten))


def _frames_less(header: Dataset) -> None:
    header.PerFrameFunctionalGroupsSequence = header.PerFrameFunctionalGroupsSequence[:-1]


def _no_segment(header: Dataset) -> None:
    for group in header.PerFrameFunctionalGroupsSequence:
        group.pop("SegmentIdentificationSequence", None)


def _one_frame_turned(header: Dataset) -> None:
    plane = Dataset()
    plane.ImageOrientationPatient = [1, 0, 0, 0, 0, -1]
    header.PerFrameFunctionalGroupsSequence[0].PlaneOrientationSequence = [plane]


def _far_away(header: Dataset) -> None:
    position = header.PerFrameFunctionalGroupsSequence[0].PlanePositionSequence[0]
    position.ImagePositionPatient = [-20, -30, 400000]


@pytest.mark.parametrize(
    "change",
    [
        lambda header: header.pop("SegmentSequence"),
        lambda header: setattr(header, "SegmentSequence", []),
        lambda header: header.SegmentSequence[0].pop("SegmentNumber"),
        lambda header: header.pop("PixelData"),
        lambda header: setattr(header, "PixelData", b""),
        lambda header: setattr(header, "PixelData", header.PixelData[:2]),
        lambda header: header.pop("PerFrameFunctionalGroupsSequence"),
        lambda header: header.pop("SharedFunctionalGroupsSequence"),
        lambda header: header.SharedFunctionalGroupsSequence[0].pop("PlaneOrientationSequence"),
        lambda header: header.SharedFunctionalGroupsSequence[0].pop("PixelMeasuresSequence"),
        lambda header: setattr(measures(header), "PixelSpacing", [0, 0]),
        lambda header: setattr(header, "SegmentationType", "SURFACE"),
        lambda header: header.pop("SegmentationType"),
        lambda header: header.pop("Rows"),
        lambda header: setattr(header, "Rows", 3000),
        lambda header: setattr(header, "NumberOfFrames", 40),
        lambda header: setattr(header, "TotalPixelMatrixRows", 512),
        lambda header: setattr(header, "DimensionOrganizationType", "TILED_FULL"),
        _frames_less,
        _no_segment,
        _one_frame_turned,
        _far_away,
    ],
)
def test_malformed_segmentations_end_in_one_clear_error(tmp_path: Path, change: Callable[[Dataset], None]) -> None:
    path = write(tmp_path / "seg.dcm", ct_series(), two_organs(), "BINARY", ORGANS)
    with pytest.raises(RadvlmError, match=r"seg\.dcm"):
        load_segmentation(edited(path, change))


def test_frames_in_any_order_and_segment_numbers_with_gaps(tmp_path: Path) -> None:
    series, array = ct_series(), two_organs()
    path = write(tmp_path / "seg.dcm", series, array, "BINARY", ORGANS[:2])

    def shuffle(header: Dataset) -> None:
        bits = np.unpackbits(np.frombuffer(header.PixelData, np.uint8), bitorder="little")
        count = int(header.NumberOfFrames)
        frames = bits[: count * SHAPE[1] * SHAPE[2]].reshape(count, -1)[::-1]
        packed = np.packbits(frames.ravel(), bitorder="little").tobytes()
        header.PixelData = packed + b"\0" * (len(packed) % 2)
        header.PerFrameFunctionalGroupsSequence = list(reversed(header.PerFrameFunctionalGroupsSequence))
        header.SegmentSequence[1].SegmentNumber = 700
        for group in header.PerFrameFunctionalGroupsSequence:
            item = group.SegmentIdentificationSequence[0]
            item.ReferencedSegmentNumber = {1: 1, 2: 700}[int(item.ReferencedSegmentNumber)]

    found = load_segmentation(edited(path, shuffle), like=scan(series))
    for name, label in (("liver", 1), ("kidney_left", 2)):
        np.testing.assert_array_equal(found.mask(name), to_ras(array == label))


def test_half_the_resolution_and_an_oblique_plane(tmp_path: Path) -> None:
    series, volume = ct_series(), scan(ct_series())
    half = np.zeros(SHAPE, np.uint8)
    half[2:4, 1:3, 1:4] = 1
    path = write(tmp_path / "seg.dcm", series, half, "BINARY", ORGANS[:1])

    def coarser(header: Dataset) -> None:
        measures(header).PixelSpacing = [1.6, 1.8]
        for group in header.PerFrameFunctionalGroupsSequence:
            place = group.PlanePositionSequence[0]
            place.ImagePositionPatient = [-20 + 0.45, -30 + 0.4, place.ImagePositionPatient[2]]

    found = load_segmentation(edited(path, coarser), like=Volume(volume.hu, volume.geometry))
    fine = np.zeros(SHAPE, bool)
    fine[2:4, 2:6, 2:8] = True
    np.testing.assert_array_equal(found.mask("liver"), to_ras(fine))
    turn = np.deg2rad(20)
    for ct in series:
        ct.ImageOrientationPatient = [1, 0, 0, 0, np.cos(turn), np.sin(turn)]
        k = ct.InstanceNumber - 1
        ct.ImagePositionPatient = [0, -np.sin(turn) * 2 * k, np.cos(turn) * 2 * k]
    path = write(tmp_path / "oblique.dcm", series, half, "BINARY", ORGANS[:1])
    found = load_segmentation(path)
    center = found.geometry.to_world(np.argwhere(found.mask("liver")).mean(axis=0))
    k, row, column = 2.5, 1.5, 2.0
    lps = np.array([0, -np.sin(turn), np.cos(turn)]) * 2 * k + np.array([0, np.cos(turn), np.sin(turn)]) * 0.8 * row
    np.testing.assert_allclose(center, [-0.9 * column, -lps[1], lps[2]], atol=1e-3)
    assert found.voxel_count("liver") == 12


def test_a_renamed_patient_of_the_same_study_is_the_same_patient(tmp_path: Path) -> None:
    series = ct_series()
    path = write(tmp_path / "seg.dcm", series, two_organs(), "BINARY", ORGANS)
    edited(path, lambda header: setattr(header, "PatientID", "ANON-17"))
    found = load_segmentation(path, like=scan(series))
    assert found.voxel_count("liver") == 24
    assert any(decision.warning and "another PatientID" in decision.what for decision in found.decisions)
    edited(path, lambda header: setattr(header, "StudyInstanceUID", generate_uid()))
    with pytest.raises(InputError, match="another patient"):
        load_segmentation(path, like=scan(series))


@pytest.mark.parametrize(
    ("item", "taken", "told"),
    [
        (described("Spleen", codes.SCT.Liver), "spleen", True),
        (described("left kidney", codes.SCT.Liver), "kidney_left", True),
        (described("Liver tumor", codes.SCT.Spleen), "liver_tumor", True),
        (described("Spleen", codes.SCT.Neoplasm, region=codes.SCT.Liver), "spleen_lesion", True),
        (described("Liver", codes.SCT.Liver), "liver", False),
        (described("kidney", codes.SCT.Kidney, "Right"), "kidney_right", False),
        (described("liver_segment_6", codes.SCT.Liver), "liver_segment_6", False),
        (described("Liver tumor", codes.SCT.Liver), "liver_tumor", False),
        (described("Liver tumor", codes.SCT.Neoplasm, region=codes.SCT.Liver), "liver_tumor", False),
        (described("Liver lesion 2", codes.SCT.Lesion, region=codes.SCT.Liver), "liver_lesion", False),
        (described("left kidney", codes.SCT.Kidney, "Left"), "kidney_left", False),
        (described("rib_left_3", codes.SCT.Rib, "Left"), "rib_left_3", False),
        (described("heart_myocardium", codes.SCT.Heart), "heart_myocardium", False),
        (described("lung_upper_lobe_left", codes.SCT.Lung), "lung_upper_lobe_left", False),
        (described("vertebrae_L1", codes.SCT.Bone), "vertebrae_L1", False),
        (described("Segment_1", codes.SCT.Spleen), "spleen", False),
    ],
)
def test_label_and_code_that_disagree(item: Dataset, taken: str, told: bool) -> None:
    meaning = segment_meaning(item)
    assert meaning.structure == taken
    assert bool(meaning.doubt) == told
    if told:
        assert "disagree" in meaning.doubt and "because" in meaning.doubt

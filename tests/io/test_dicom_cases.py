"""Whose images they are: one patient, one study, one scan; and what is left out is never lost in silence."""

from __future__ import annotations

import shutil

import numpy as np
import pytest

from radvlm.errors import FileFormatError, GridError, InputError
from radvlm.io import load_volume
from radvlm.io.dicom_series import list_series

SMALL = (8, 9)
HERE = [[-20, -18, -40 + 2.5 * k] for k in range(12)]
EXPLICIT = "1.2.840.10008.1.2.1"


def read(folder, **arguments):
    return load_volume(folder, rescale="header", **arguments)


def said(volume, *, warning=True):
    return " | ".join(d.what for d in volume.decisions if d.warning >= warning)


def setting(**attributes):
    """A change that sets attributes, each given or a function of the slice."""

    def change(ds, k):
        for name, given in attributes.items():
            setattr(ds, name, given(k) if callable(given) else given)

    return change


@pytest.mark.parametrize(
    ("attributes", "message"),
    [
        ({"PatientID": lambda k: "P1" if k < 6 else "P2"}, "2 PatientIDs.*one patient"),
        ({"PatientID": lambda k: f"P{k % 2}", "AcquisitionNumber": lambda k: k % 2}, "several patients"),
        ({"FrameOfReferenceUID": lambda k: "1.2.3" if k < 9 else "1.2.4"}, "2 Frame.*one frame of reference"),
    ],
)
def test_one_series_of_two_patients_or_places(writer, tmp_path, attributes, message):
    writer.write(tmp_path / "s", count=12, size=SMALL, change=setting(**attributes))
    with pytest.raises(InputError, match=message):
        read(tmp_path / "s")


@pytest.mark.parametrize(
    ("one", "two"),
    [
        ({"PatientID": "P1"}, {"PatientID": "P2"}),
        ({"PatientID": "ANON", "StudyInstanceUID": "1.2.3"}, {"PatientID": "ANON", "StudyInstanceUID": "1.2.4"}),
        ({"PatientID": "", "StudyInstanceUID": "1.2.3"}, {"PatientID": "", "StudyInstanceUID": "1.2.4"}),
        (
            {"PatientID": "", "StudyInstanceUID": "", "StudyDate": "20240101"},
            {"PatientID": "", "StudyInstanceUID": "", "StudyDate": "20240202"},
        ),
    ],
)
def test_a_folder_of_several_cases(writer, tmp_path, one, two):
    writer.write(tmp_path / "case1", uid="1", count=5, size=SMALL, change=setting(**one))
    writer.write(tmp_path / "case2", uid="2", count=4, size=SMALL, change=setting(**two))
    with pytest.raises(InputError, match=r"one case.*each case by itself.*--series"):
        read(tmp_path)
    assert read(tmp_path, series=2).geometry.shape[2] == 4
    assert not read(tmp_path / "case1").decisions


def test_case_folders_without_any_identity(writer, tmp_path):
    nobody = dict.fromkeys(
        ("PatientID", "StudyInstanceUID", "FrameOfReferenceUID", "StudyDate", "SeriesInstanceUID", "SOPInstanceUID"), ""
    )
    writer.write(tmp_path / "c" / "1", count=5, size=SMALL, change=setting(**nobody))
    writer.write(tmp_path / "c" / "2", count=4, size=SMALL, change=setting(**nobody))
    assert "Nothing in the headers tells" in said(read(tmp_path / "c"))
    assert not said(read(tmp_path / "c" / "1"))


def test_folders_of_nifti_files(tmp_path):
    for case in ("1", "2"):
        (tmp_path / case).mkdir()
        (tmp_path / case / "ct.nii.gz").write_bytes(b"x" * 300)
    with pytest.raises(FileFormatError, match=r"2 NIfTI files.*each case by itself"):
        read(tmp_path)


@pytest.mark.parametrize(
    "attributes",
    [
        {"SamplesPerPixel": lambda k: 1 + 2 * (k % 2)},
        {"PhotometricInterpretation": lambda k: ("MONOCHROME2", "PALETTE COLOR")[k % 2]},
        {"Rows": lambda k: (8, None)[k % 2]},
        {"SamplesPerPixel": lambda k: 3 if k > 6 else 1},
        {"Modality": lambda k: ("CT", "OT")[k % 2]},
        {"Modality": lambda k: ("CT", "MR")[k % 2]},
        {"ImageType": lambda k: ["DERIVED", "SECONDARY", ("AXIAL", "LOCALIZER")[k % 2]]},
        {"DerivationDescription": lambda k: ("", "Iodine map")[k % 2]},
        {"ImageOrientationPatient": lambda k: [1, 0, 0, 0, (1, -1)[k % 2], 0]},
        {"SamplesPerPixel": lambda k: 1 + 2 * (k % 2), "ImagePositionPatient": lambda k: (HERE[k], None)[k % 2]},
        {"Rows": lambda k: (8, None)[k % 2], "ImagePositionPatient": lambda k: (HERE[k], None)[k % 2]},
    ],
)
def test_slices_that_cannot_be_read_leave_no_hole(writer, tmp_path, attributes):
    change = setting(InstanceNumber=lambda k: k + 1, **attributes)
    writer.write(tmp_path / "s", count=12, size=SMALL, change=change)
    with pytest.raises(GridError, match=r"(color|image|OT|MR|local|HU).*every slice of a series can be read"):
        read(tmp_path / "s")


@pytest.mark.slow
def test_color_images_beside_the_slices_are_recorded(writer, tmp_path, is_linear):
    writer.write(tmp_path / "s", count=12, size=SMALL)
    writer.write(
        tmp_path / "s" / "fused",
        count=12,
        size=SMALL,
        change=setting(SamplesPerPixel=3, SOPInstanceUID=lambda k: f"1.2.{k}"),
    )
    volume = read(tmp_path / "s")
    is_linear(volume, 0.5)
    assert "12 color images" in said(volume, warning=False) and not said(volume)


@pytest.mark.parametrize(
    ("count", "step", "start"), [(23, 1.25, -40), (6, 5, -40), (60, 0.5, -40.3), (7, 4, -39), (8, 0, -33)]
)
def test_other_images_of_the_series_that_are_a_set_of_their_own(writer, tmp_path, count, step, start):
    """Color overlays, maps and bolus images on another grid leave no hole in the scan."""
    writer.write(tmp_path / "s", count=12, size=SMALL)
    places = [(-20, -18, start + step * k) for k in range(count)]
    for name, attributes in (("c", {"SamplesPerPixel": 3}), ("m", {"DerivationDescription": "Iodine map"})):
        change = setting(SOPInstanceUID=lambda k, n=name: f"1.2.{ord(n)}.{k}", InstanceNumber=lambda k: k, **attributes)
        writer.write(tmp_path / "s" / name, positions=places, size=SMALL, change=change)
    assert read(tmp_path / "s").geometry.shape[2] == 12


def test_two_acquisitions_that_share_a_slice_at_their_border(writer, tmp_path):
    for number, first in ((1, 0), (2, 7)):
        change = setting(AcquisitionNumber=number, SOPInstanceUID=lambda k, n=number: f"1.2.{n}.{k}")
        places = [(-20, -18, 2.5 * (first + k)) for k in range(8)]
        hu = np.full(SMALL, 100.0 * number)
        writer.write(tmp_path / "s" / str(number), positions=places, size=SMALL, hu=lambda _, v=hu: v, change=change)
    volume = read(tmp_path / "s")
    assert volume.hu[0, 0].tolist() == [100] * 8 + [200] * 7 and "meet at 1 position" in said(volume)


@pytest.mark.parametrize("sop_class", ["", ".1", ".2"])
def test_modality_may_be_missing(writer, tmp_path, is_linear, sop_class):
    change = setting(Modality=None, SOPClassUID=f"1.2.840.10008.5.1.4.1.1.2{sop_class}")
    writer.write(tmp_path / "s", count=6, size=SMALL, change=change)
    is_linear(read(tmp_path / "s"), 0.5)


@pytest.mark.slow
@pytest.mark.parametrize("more", [{}, {"StudyInstanceUID": lambda k: f"1.2.4.{k}"}, {"SeriesNumber": lambda k: k}])
def test_every_slice_has_a_series_uid_of_its_own(writer, tmp_path, is_linear, more):
    change = setting(
        SeriesInstanceUID=lambda k: f"1.2.3.{k}",
        SeriesDescription="CT",
        FrameOfReferenceUID=lambda k: f"1.9.{k}",
        **more,
    )
    writer.write(tmp_path / "s", count=12, size=SMALL, change=change)
    volume = read(tmp_path / "s")
    is_linear(volume, 0.5)
    assert volume.geometry.shape[2] == 12 and "SeriesInstanceUID of its own" in said(volume)
    assert [r.slices for r in list_series(tmp_path / "s")] == [12]


@pytest.mark.parametrize("which", [0, 5, 11])
def test_one_slice_with_another_series_uid_comes_home(writer, tmp_path, is_linear, which):
    change = setting(SeriesInstanceUID=lambda k: "1.2.3" if k != which else "1.2.9")
    writer.write(tmp_path / "s", count=12, size=SMALL, change=change)
    volume = read(tmp_path / "s")
    is_linear(volume, 0.5)
    assert volume.geometry.shape[2] == 12 and "whose grid it continues" in said(volume)


def test_single_images_that_are_no_stack_are_not_put_together(writer, tmp_path):
    places = [(-20, -18, z) for z in (0, 1, 17, 40, 44)]
    change = setting(SeriesInstanceUID=lambda k: f"1.2.3.{k}", SeriesDescription="snapshot")
    writer.write(tmp_path / "s", positions=places, size=SMALL, change=change)
    assert [r.slices for r in list_series(tmp_path / "s")] == [1] * 5


@pytest.mark.parametrize("aside", [(5000, 0, 0), (0, 300, 0), (-80, 0, 0), (0, 0, 5000)])
@pytest.mark.parametrize("which", [0, 5, 11])
def test_one_slice_aside_is_an_error(writer, tmp_path, aside, which):
    places = [np.array([-20.0, -18, 2.5 * k]) for k in range(12)]
    places[which] = places[which] + aside
    writer.write(tmp_path / "s", positions=places, size=SMALL)
    with pytest.raises(GridError, match=r"aside|missing|spaced"):
        read(tmp_path / "s")


@pytest.mark.slow
def test_linked_folders_and_directory_files(writer, tmp_path, is_linear):
    from pydicom.dataset import Dataset, FileMetaDataset

    paths = writer.write(tmp_path / "real", count=6, size=SMALL)
    (tmp_path / "case").mkdir()
    (tmp_path / "case" / "scan").symlink_to(tmp_path / "real")
    (tmp_path / "real" / "loop").symlink_to(tmp_path / "case")
    is_linear(read(tmp_path / "case"), 0.5)
    (tmp_path / "real" / "loop").unlink()
    images = tmp_path / "disc" / "IMAGES" / "SERIES1"
    images.mkdir(parents=True)
    directory = Dataset()
    directory.file_meta = FileMetaDataset()
    directory.file_meta.MediaStorageSOPClassUID = "1.2.840.10008.1.3.10"
    directory.file_meta.MediaStorageSOPInstanceUID, directory.file_meta.TransferSyntaxUID = "1.2.3", EXPLICIT
    directory.DirectoryRecordSequence = [Dataset()]  # a patient, without a file
    for number, path in enumerate(paths):
        shutil.copy(path, images / f"IM{number:04d}")
        record = Dataset()
        record.DirectoryRecordType, record.ReferencedFileID = "IMAGE", ["IMAGES", "SERIES1", f"IM{number:04d}"]
        directory.DirectoryRecordSequence.append(record)
    directory.save_as(tmp_path / "disc" / "DICOMDIR", enforce_file_format=True)
    is_linear(read(tmp_path / "disc" / "DICOMDIR"), 0.5)
    is_linear(read(tmp_path / "disc"), 0.5)
    lower = tmp_path / "lower"
    shutil.copytree(tmp_path / "disc", lower)
    for path in sorted(lower.rglob("*"), key=lambda p: -len(p.parts)):
        if path.name != "DICOMDIR":
            path.rename(path.with_name(path.name.lower()))
    is_linear(read(lower / "DICOMDIR"), 0.5)
    alone = tmp_path / "alone" / "DICOMDIR"
    alone.parent.mkdir()
    shutil.copy(tmp_path / "disc" / "DICOMDIR", alone)
    with pytest.raises(FileFormatError, match="listed, none there"):
        read(alone)

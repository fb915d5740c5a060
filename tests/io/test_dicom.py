"""DICOM series with known content: the truth is a linear function of world position, so nothing wrong can hide."""

from __future__ import annotations

import shutil
import subprocess
import warnings
import zipfile
from pathlib import Path

import numpy as np
import pytest

from radvlm.errors import FileFormatError, GridError, InputError, RadvlmError
from radvlm.io import load_volume
from radvlm.io.dicom_series import list_series

LEFT_ALONE = "header"  # the linear phantom is no body, so most tests switch the histogram rules off


def linear_hu(world):
    return world @ np.array([2.0, -3.0, 1.0]) + 20.0


def load(folder, **arguments):
    return load_volume(folder, **{"rescale": LEFT_ALONE, **arguments})


def warned(volume) -> str:
    return " | ".join(d.what for d in volume.decisions if d.warning)


def test_regular_series_lands_in_world_space(writer, tmp_path, is_linear):
    writer.write(tmp_path / "s")
    volume = load(tmp_path / "s")
    is_linear(volume, 0.5)
    assert volume.hu.dtype == np.int16
    assert volume.geometry.shape == (32, 24, 20)
    np.testing.assert_allclose(volume.geometry.spacing_mm, (1.25, 1.5, 2.5))  # not SliceThickness, which says 99
    assert volume.stored_axes == "LPS"
    assert not volume.decisions
    assert len(volume.sources) == 20 and len({s.sha256 for s in volume.sources}) == 20


@pytest.mark.parametrize(
    "orientation",
    [
        (1, 0, 0, 0, 1, 0),
        (-1, 0, 0, 0, -1, 0),
        (1, 0, 0, 0, -1, 0),
        (0, 1, 0, -1, 0, 0),
        (0.8, 0.6, 0, -0.6, 0.8, 0),
        (0.96, 0, 0.28, 0, 1, 0),
        (0, 1, 0, 0, 0, -1),
        (1, 0, 0, 0, 0, -1),
    ],
)
def test_any_orientation(writer, tmp_path, is_linear, orientation):
    writer.write(tmp_path / "s", orientation=orientation)
    volume = load(tmp_path / "s")
    is_linear(volume, 1.0)
    assert volume.geometry.is_canonical
    uids = volume.study.sop_instance_uids
    assert len(uids) == 20
    rising = np.cross(orientation[:3], orientation[3:]) * (-1, -1, 1)
    upward = rising[np.argmax(np.abs(rising))] > 0
    assert uids[0].endswith(".1" if upward else ".20")


def test_slices_from_the_head_down(writer, tmp_path, is_linear):
    writer.write(tmp_path / "s", positions=[(-20, -18, 100 - 2.5 * k) for k in range(20)])
    is_linear(load(tmp_path / "s"), 0.5)


@pytest.mark.parametrize(
    "syntax",
    [
        "1.2.840.10008.1.2",
        "1.2.840.10008.1.2.2",
        "1.2.840.10008.1.2.1.99",
        "1.2.840.10008.1.2.5",
        "1.2.840.10008.1.2.4.90",
        "1.2.840.10008.1.2.4.80",
        "1.2.840.10008.1.2.4.70",
    ],
)
@pytest.mark.parametrize(("signed", "bits"), [(False, 16), (False, 12), (True, 16)])
def test_transfer_syntaxes(writer, tmp_path, is_linear, syntax, signed, bits):
    """Implicit, big endian, deflated, RLE, JPEG 2000, JPEG-LS, JPEG lossless."""
    if syntax.endswith("1.2.2"):

        def swap(ds, _):
            ds.PixelData = np.frombuffer(ds.PixelData, np.uint16).byteswap().tobytes()
    else:
        swap = None
    writer.write(tmp_path / "s", syntax=syntax, signed=signed, bits=bits, count=4, size=(40, 48), change=swap)
    volume = load(tmp_path / "s")
    is_linear(volume, 0.5)
    assert volume.hu.dtype == np.int16


def test_each_slice_has_its_own_rescale(writer, tmp_path, is_linear):
    writer.write(
        tmp_path / "s", slope=[0.5 + 0.1 * (k % 4) for k in range(20)], intercept=[-1000 - k for k in range(20)]
    )
    volume = load(tmp_path / "s")
    is_linear(volume, 0.5)
    assert volume.hu.dtype == np.float32
    assert "differs between slices" in " ".join(d.what for d in volume.decisions)


def test_rescale_can_be_replaced_or_left_out(writer, tmp_path):
    writer.write(tmp_path / "s", count=4)
    plain = load(tmp_path / "s")
    stored = load(tmp_path / "s", rescale="none")
    np.testing.assert_array_equal(stored.hu, plain.hu + 1024)
    np.testing.assert_array_equal(load(tmp_path / "s", rescale=(2, -2048)).hu, plain.hu * 2)


def test_values_beyond_int16_become_float(writer, tmp_path):
    writer.write(tmp_path / "s", slope=20, intercept=-1000, count=4, change=_fill(4000))
    assert load(tmp_path / "s").hu.max() == 79000


def _fill(value):
    def change(ds, _):
        ds.PixelData = np.full((ds.Rows, ds.Columns), value, np.uint16).tobytes()

    return change


@pytest.mark.parametrize("value", [-2000, 3000])
def test_padding_becomes_air(writer, tmp_path, value):
    def pad(ds, _):
        pixels = np.frombuffer(ds.PixelData, np.int16).reshape(ds.Rows, ds.Columns).copy()
        pixels[:3] = value
        ds.PixelData = pixels.tobytes()
        ds.add_new("PixelPaddingValue", "US", value % 65536)  # a signed value under the wrong VR, as scanners do

    writer.write(tmp_path / "s", signed=True, intercept=0, change=pad, count=5)
    volume = load(tmp_path / "s")
    assert (volume.hu[:, -3:] == -1024).all()  # the first rows of a slice are anterior
    assert (volume.hu[:, :-3] > -1024).all()


def test_overlay_bits_are_dropped(writer, tmp_path, is_linear):
    def overlay(ds, _):
        pixels = np.frombuffer(ds.PixelData, np.uint16).copy()
        pixels[::5] |= 0xF000
        ds.PixelData = pixels.tobytes()

    writer.write(tmp_path / "s", bits=12, change=overlay, count=5)
    is_linear(load(tmp_path / "s"), 0.5)


# -- positions ---------------------------------------------------------------------------------------------------


def test_one_missing_slice_is_interpolated(writer, tmp_path, is_linear):
    writer.write(tmp_path / "s", positions=[(-20, -18, 2.5 * k) for k in range(21) if k != 8])
    volume = load(tmp_path / "s")
    is_linear(volume, 1.0)
    assert volume.geometry.shape[2] == 21
    assert "between 17.5 and 22.5 mm" in warned(volume)


@pytest.mark.parametrize("lost", [(8, 9), (3, 8), (1, 5, 9)])
def test_more_missing_slices_are_refused_with_the_place(writer, tmp_path, lost):
    writer.write(tmp_path / "s", positions=[(-20, -18, 2.5 * k) for k in range(21) if k not in lost])
    with pytest.raises(GridError, match=rf"between {2.5 * (lost[0] - 1):.1f} and"):
        load(tmp_path / "s")


@pytest.mark.slow
def test_two_missing_in_a_row_are_refused_even_in_a_long_series(writer, tmp_path):
    writer.write(tmp_path / "s", positions=[(-20, -18, 0.5 * k) for k in range(80) if k not in (30, 31)])
    with pytest.raises(GridError, match="never two in a row"):
        load(tmp_path / "s")


def test_spacing_that_changes_is_resampled(writer, tmp_path, is_linear):
    z = np.concatenate([np.arange(0, 50, 5.0), 50 + np.arange(0, 30, 2.5)])
    writer.write(tmp_path / "s", positions=[(-20, -18, v) for v in z])
    volume = load(tmp_path / "s")
    is_linear(volume, 1.0)
    assert volume.geometry.shape[2] == 32 and volume.geometry.spacing_mm[2] == pytest.approx(2.5)
    assert "varies" in warned(volume)


def test_spacing_without_a_pattern_is_refused(writer, tmp_path):
    writer.write(tmp_path / "s", positions=[(-20, -18, v) for v in (0, 2.5, 5, 6.2, 10, 11, 14.9, 20)])
    with pytest.raises(GridError, match="regularly spaced"):
        load(tmp_path / "s")


def test_rounded_positions_are_regular(writer, tmp_path):
    writer.write(tmp_path / "s", positions=[(-20, -18, round(k * 0.7 / 3, 2)) for k in range(30)], count=30)
    volume = load(tmp_path / "s")
    assert not volume.decisions and volume.geometry.spacing_mm[2] == pytest.approx(0.7 / 3, abs=1e-3)


@pytest.mark.slow
@pytest.mark.parametrize("degrees", [5, -12, 25])
def test_gantry_tilt_is_resampled(writer, tmp_path, is_linear, degrees):
    """Tilted slices stacked along the table: a sphere stays where it is, and so does the linear phantom."""
    angle = np.radians(degrees)
    center, radius = np.array([4.0, -6.0, 30.0]), 11.0

    def sphere(world):
        return np.where(np.linalg.norm(world - center, axis=-1) < radius, 100.0, 0.0)

    row, column = np.array([1.0, 0, 0]), np.array([0, np.cos(angle), -np.sin(angle)])
    positions = [(-40, -40 * np.cos(angle), 40 * np.sin(angle) + 1.5 * k) for k in range(44)]
    common = {"orientation": (*row, *column), "positions": positions, "size": (80, 80), "spacing": (1.0, 1.0)}
    writer.write(tmp_path / "s", hu=sphere, **common)
    volume = load(tmp_path / "s")
    assert f"tilt of {abs(degrees):.1f} degrees" in warned(volume)
    inside = volume.hu > 50
    found = volume.geometry.to_world(np.argwhere(inside)).mean(axis=0)
    assert np.linalg.norm(found - center) < 0.3
    assert inside.sum() * volume.geometry.voxel_volume_mm3 == pytest.approx(4 / 3 * np.pi * radius**3, rel=0.03)
    writer.write(tmp_path / "l", **common)
    linear = load(tmp_path / "l")
    middle = linear.hu[:, linear.hu.shape[1] // 2 - 8 : linear.hu.shape[1] // 2 + 8, :]
    assert (middle[2:-2] > -1024).all()


@pytest.mark.parametrize("drift", [(0.31, 0), (-0.27, 0), (0.2, -0.33), (0, 0.4)])
def test_drift_in_both_directions_of_the_plane(writer, tmp_path, drift):
    """Origins that run sideways with height; away from the padded rim the linear phantom is kept."""
    writer.write(
        tmp_path / "s",
        positions=[(-20 + drift[0] * 2.5 * k, -18 + drift[1] * 2.5 * k, 2.5 * k) for k in range(12)],
        hu=lambda w: linear_hu(w) + 500,
    )
    volume = load(tmp_path / "s")
    index = np.stack(np.meshgrid(*(np.arange(n) for n in volume.hu.shape), indexing="ij"), -1)
    truth = linear_hu(volume.geometry.to_world(index)) + 500
    inside = volume.hu > -1024
    for axis in (0, 1):  # voxels beside the rim are mixed with padding
        inside &= np.roll(inside, 1, axis) & np.roll(inside, -1, axis)
    assert inside.sum() > 0.5 * 32 * 24 * 12
    assert np.abs(volume.hu - truth)[inside].max() <= 1
    assert "tilt" in warned(volume)


def test_duplicates_with_the_same_pixels_are_dropped(writer, tmp_path, is_linear):
    writer.write(tmp_path / "s")
    writer.write(
        tmp_path / "s" / "copy",
        positions=[(-20, -18, -40 + 2.5 * k) for k in (3, 7)],
        uid="1",
        change=lambda ds, k: setattr(ds, "SOPInstanceUID", ds.SOPInstanceUID + ".7"),
    )
    volume = load(tmp_path / "s")
    is_linear(volume, 0.5)
    assert volume.geometry.shape[2] == 20
    assert "2 duplicate" in " ".join(d.what for d in volume.decisions)


def test_a_folder_copied_into_itself(writer, tmp_path, is_linear):
    writer.write(tmp_path / "s")
    shutil.copytree(tmp_path / "s", tmp_path / "s2")
    shutil.move(tmp_path / "s2", tmp_path / "s" / "again")
    volume = load(tmp_path / "s")
    assert volume.geometry.shape[2] == 20
    is_linear(volume, 0.5)


def test_different_images_at_one_position_are_refused(writer, tmp_path):
    writer.write(tmp_path / "s")
    writer.write(
        tmp_path / "s" / "b",
        positions=[(-20, -18, -40 + 2.5 * 4)],
        hu=lambda w: np.zeros(w.shape[:-1]),
        change=lambda ds, k: setattr(ds, "SOPInstanceUID", "1.2.3.4"),
    )
    with pytest.raises(GridError, match=r"two different images at -30\.0 mm"):
        load(tmp_path / "s")


def test_one_uid_for_different_images_is_refused(writer, tmp_path):
    writer.write(tmp_path / "s", change=lambda ds, k: setattr(ds, "SOPInstanceUID", "1.2.3.4"))
    with pytest.raises(FileFormatError, match="SOPInstanceUID"):
        load(tmp_path / "s")


def test_phases_in_one_series_are_told_apart(writer, tmp_path, is_linear):
    for phase in (1, 2):
        writer.write(
            tmp_path / "s" / str(phase),
            uid="1",
            hu=lambda w, p=phase: np.full(w.shape[:-1], 100.0 * p) + np.arange(w.shape[1]),
            change=lambda ds, k, p=phase: (
                setattr(ds, "SOPInstanceUID", f"1.2.{p}.{k}"),
                setattr(ds, "AcquisitionNumber", p),
            ),
        )
    volume = load(tmp_path / "s")
    assert volume.geometry.shape[2] == 20
    assert volume.hu.max() < 200
    assert "AcquisitionNumber 1" in warned(volume)


# -- what is in the folder ---------------------------------------------------------------------------------------


def _localizer(ds, _):
    ds.ImageType = ["ORIGINAL", "PRIMARY", "LOCALIZER"]


@pytest.mark.slow
def test_other_things_in_the_folder(writer, tmp_path, is_linear):
    writer.write(tmp_path / "d" / "a", uid="1")
    writer.write(tmp_path / "d" / "b", uid="2", count=9)
    writer.write(
        tmp_path / "d" / "scout",
        uid="1",
        prefix="x",
        orientation=(0, 1, 0, 0, 0, -1),
        count=1,
        change=lambda ds, k: (_localizer(ds, k), setattr(ds, "SOPInstanceUID", "1.2.5")),
    )
    writer.write(tmp_path / "d" / "mr", uid="3", count=30, change=lambda ds, k: setattr(ds, "Modality", "MR"))
    writer.write(tmp_path / "d" / "cor", uid="4", count=40, orientation=(1, 0, 0, 0, 0, -1))
    (tmp_path / "d" / "readme.txt").write_text("hello")
    (tmp_path / "d" / "DICOMDIR").write_bytes(b"x")
    (tmp_path / "d" / "._im.dcm").write_bytes(b"\0\5\x16\7")
    volume = load(tmp_path / "d")
    is_linear(volume, 0.5)
    assert volume.geometry.shape[2] == 20
    said = " ".join(d.what for d in volume.decisions)
    for part in ("1 localizer images", "30 MR files", "1 DICOMDIR", "2 not DICOM", "Series 2", "40 coronal"):
        assert part in said, part
    records = list_series(tmp_path / "d")
    assert [(r.number, r.plane, r.slices, r.chosen) for r in records] == [
        ("1", "axial", 20, True),
        ("2", "axial", 9, False),
        ("4", "coronal", 40, False),
    ]


@pytest.mark.parametrize(
    ("wanted", "slices"), [("2", 9), ("series 2", 9), (f"{'1.2.826.0.1.3680043.8.498.77'}.2", 9), ("77.1", 20), (1, 20)]
)
def test_series_by_name(writer, tmp_path, wanted, slices):
    writer.write(tmp_path / "a", uid="1")
    writer.write(tmp_path / "b", uid="2", count=9)
    assert load(tmp_path, series=wanted).geometry.shape[2] == slices


@pytest.mark.parametrize("wanted", ["Series", "liver", ""])
def test_series_that_fits_none_or_several(writer, tmp_path, wanted):
    writer.write(tmp_path / "a", uid="1", count=3)
    writer.write(tmp_path / "b", uid="2", count=3)
    with pytest.raises(InputError, match=r"Series 1.*Series 2"):
        load(tmp_path, series=wanted)


def test_two_patients_in_one_folder(writer, tmp_path):
    writer.write(tmp_path / "a", uid="1", count=4)
    writer.write(tmp_path / "b", uid="2", count=3, change=lambda ds, k: setattr(ds, "PatientID", "patient-2"))
    with pytest.raises(InputError, match="one patient"):
        load(tmp_path)
    assert load(tmp_path, series=2).geometry.shape[2] == 3


def test_single_odd_slice_is_set_aside(writer, tmp_path):
    writer.write(tmp_path / "a")
    writer.write(
        tmp_path / "a",
        count=1,
        size=(40, 40),
        prefix="odd",
        origin=(-20, -18, 90),
        change=lambda ds, k: setattr(ds, "SOPInstanceUID", "1.2.8"),
    )
    volume = load(tmp_path / "a")
    assert volume.geometry.shape == (32, 24, 20)
    assert "another size" in warned(volume)


def test_mixed_sizes_are_refused(writer, tmp_path):
    writer.write(tmp_path / "a")
    writer.write(
        tmp_path / "a",
        count=10,
        size=(40, 40),
        prefix="odd",
        origin=(-20, -18, 90),
        change=lambda ds, k: setattr(ds, "SOPInstanceUID", f"1.2.8.{k}"),
    )
    with pytest.raises(GridError, match="one matrix"):
        load(tmp_path / "a")


def test_a_slice_without_position_is_left_out_and_the_hole_noticed(writer, tmp_path):
    def lose(ds, k):
        if k == 8:
            del ds.ImagePositionPatient

    writer.write(tmp_path / "a", count=21, change=lose)
    assert "interpolated" in warned(load(tmp_path / "a"))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda ds, k: ds.__delattr__("PixelData"), "pixel data"),
        (lambda ds, k: ds.__delattr__("ImagePositionPatient"), "position"),
        (lambda ds, k: ds.__delattr__("ImageOrientationPatient"), "position"),
        (lambda ds, k: setattr(ds, "ImageOrientationPatient", ["1", "0", "0", "1", "0", "0"]), "position"),
        (lambda ds, k: setattr(ds, "PixelSpacing", ["0", "0"]), "position"),
        (lambda ds, k: setattr(ds, "Modality", "MR"), "20 MR.*hold a CT"),
        (lambda ds, k: setattr(ds, "Modality", "RTSTRUCT"), "20 RTSTRUCT.*hold a CT"),
        (_localizer, "20 localizer"),
        (lambda ds, k: setattr(ds, "SamplesPerPixel", 3), "grayscale"),
        (lambda ds, k: setattr(ds, "PixelData", ds.PixelData[:-40]), "cut short"),
        (lambda ds, k: setattr(ds, "RescaleSlope", "0"), "RescaleSlope"),
        (lambda ds, k: ds.__delattr__("Rows"), "grayscale"),
    ],
)
def test_folders_that_cannot_be_read(writer, tmp_path, change, message):
    writer.write(tmp_path / "a", change=change)
    with pytest.raises(RadvlmError, match=message):
        load(tmp_path / "a")


def test_broken_and_missing_files(writer, tmp_path):
    paths = writer.write(tmp_path / "a", count=5)
    with pytest.raises(GridError, match="two slices"):
        load(paths[0])
    broken = tmp_path / "a" / "broken.dcm"
    broken.write_bytes(b"not dicom at all")
    with pytest.raises(FileFormatError, match=r"broken\.dcm"):
        load(tmp_path / "a")
    broken.unlink()
    paths[2].write_bytes(paths[2].read_bytes()[:-300])
    with pytest.raises(FileFormatError):
        load(tmp_path / "a")
    for empty in (tmp_path / "nothing",):
        empty.mkdir()
        with pytest.raises(FileFormatError, match="holds DICOM"):
            load(empty)
    with pytest.raises(FileFormatError, match="exists"):
        load(tmp_path / "absent")


def test_zip_and_lists(writer, tmp_path, is_linear):
    paths = writer.write(tmp_path / "a")
    with zipfile.ZipFile(tmp_path / "study.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        for path in paths:
            archive.write(path, f"study/{path.name}")
        archive.writestr("__MACOSX/study/._im001", b"x")
    is_linear(load(tmp_path / "study.zip"), 0.5)
    is_linear(load(paths[::-1]), 0.5)
    (tmp_path / "cut.zip").write_bytes((tmp_path / "study.zip").read_bytes()[:-500])
    with pytest.raises(RadvlmError):
        load(tmp_path / "cut.zip")


def test_files_without_preamble(writer, tmp_path, is_linear):
    for path in writer.write(tmp_path / "a", syntax="1.2.840.10008.1.2", count=6):
        content = path.read_bytes()
        start = content.index(b"\x08\x00\x08\x00", 132)  # ImageType, the first element after the file meta group
        path.write_bytes(content[start:])
    is_linear(load(tmp_path / "a"), 0.5)


def test_series_without_uids(writer, tmp_path, is_linear):
    def clear(ds, _):
        ds.SOPInstanceUID = ds.SeriesInstanceUID = ds.SOPClassUID = ds.SeriesNumber = None

    writer.write(tmp_path / "a", change=clear)
    writer.write(tmp_path / "b", change=clear, count=9)
    volume = load(tmp_path)
    is_linear(volume, 0.5)
    assert volume.geometry.shape[2] == 20 and volume.study.sop_instance_uids == ()


def test_enhanced_multi_frame(writer, tmp_path, is_linear):
    from pydicom.dataset import Dataset
    from pydicom.sequence import Sequence

    right, back = np.array([1.0, 0, 0]), np.array([0, 1.0, 0])
    world = [writer.world((-20, -18, -40 + 2.5 * k), right, back, (1.5, 1.25), (24, 32)) for k in range(10)]

    def enhance(ds, _):
        stored = np.stack([np.rint(np.array([2, -3, 1]) @ w.reshape(-1, 3).T + 20 + 1000) for w in world[::-1]])
        ds.SOPClassUID = ds.file_meta.MediaStorageSOPClassUID = "1.2.840.10008.5.1.4.1.1.2.1"
        ds.NumberOfFrames, ds.PixelData = 10, stored.astype(np.uint16).tobytes()
        for keyword in (
            "ImagePositionPatient",
            "ImageOrientationPatient",
            "PixelSpacing",
            "RescaleSlope",
            "RescaleIntercept",
        ):
            delattr(ds, keyword)

        def item(**values):
            out = Dataset()
            for keyword, value in values.items():
                setattr(out, keyword, value)
            return out

        ds.SharedFunctionalGroupsSequence = Sequence(
            [
                item(
                    PlaneOrientationSequence=Sequence([item(ImageOrientationPatient=[1, 0, 0, 0, 1, 0])]),
                    PixelMeasuresSequence=Sequence([item(PixelSpacing=[1.5, 1.25])]),
                    PixelValueTransformationSequence=Sequence([item(RescaleSlope=1, RescaleIntercept=-1000)]),
                )
            ]
        )
        ds.PerFrameFunctionalGroupsSequence = Sequence(
            [
                item(PlanePositionSequence=Sequence([item(ImagePositionPatient=[-20, -18, -40 + 2.5 * k])]))
                for k in reversed(range(10))
            ]
        )

    (path,) = writer.write(tmp_path / "a", count=1, change=enhance)
    for source in (path, tmp_path / "a"):
        volume = load(source)
        is_linear(volume, 0.5)
        assert volume.geometry.shape == (32, 24, 10)


# -- facts -------------------------------------------------------------------------------------------------------


def test_study_facts_and_no_names(writer, tmp_path):
    def facts(ds, _):
        ds.PatientSex, ds.PatientBirthDate, ds.PatientSize, ds.PatientWeight = "F", "19610301", "1.70", "0"
        ds.ContrastBolusAgent, ds.BodyPartExamined, ds.ConvolutionKernel = "Iomeprol", "ABDOMEN", "B30f"

    writer.write(tmp_path / "a", change=facts)
    volume = load(tmp_path / "a")
    study = volume.study
    assert (study.modality, study.study_date, study.body_part) == ("CT", "2024-02-29", "ABDOMEN")
    assert (study.manufacturer, study.kernel, study.kvp) == ("ACME", "B30f", 120)
    assert study.contrast_agent == "Iomeprol" and study.slice_thickness_mm == 99
    patient = study.patient
    assert (patient.sex, patient.age_years, patient.height_cm, patient.weight_kg) == ("F", 62, 170, None)
    assert len(study.patient_key) == 64
    assert "Secret" not in repr((study, volume.sources, volume.decisions))
    assert "patient-1" not in repr((study, volume.sources, volume.decisions))


def test_a_malformed_fact_is_left_out_and_a_malformed_position_is_not(writer, tmp_path):
    paths = writer.write(tmp_path / "a")
    for path in paths:
        path.write_bytes(path.read_bytes().replace(b"DS\x04\x00120 ", b"DS\x04\x00abc "))
    assert load(tmp_path / "a").study.kvp is None
    paths[3].write_bytes(paths[3].read_bytes().replace(b"-20.000000", b"-20.0000zz"))
    volume = load(tmp_path / "a")
    assert "without position" in warned(volume)


@pytest.mark.parametrize(("age", "years"), [("063Y", 63), ("018M", 1.5), ("026W", 0.5), ("", None), ("old", None)])
def test_age(age, years):
    from pydicom.dataset import Dataset

    from radvlm.io.dicom_study import patient_of

    ds = Dataset()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        ds.add_new("PatientAge", "AS", age)
    assert patient_of(ds).age_years == (years if years is None else pytest.approx(years, abs=0.01))


# -- real data, and a reference implementation -------------------------------------------------------------------


def _dcm2niix(folder: Path, out: Path) -> np.ndarray:
    import dcm2niix
    import nibabel as nib

    out.mkdir()
    subprocess.run(
        [dcm2niix.bin, "-b", "n", "-z", "n", "-f", "x", "-o", str(out), str(folder)],
        check=True,
        capture_output=True,
        timeout=120,
    )
    return nib.as_closest_canonical(nib.load(next(out.glob("*.nii"))))


@pytest.mark.slow
def test_real_series_equals_dcm2niix(real_data, tmp_path):
    volume = load_volume(real_data / "upper_abdomen_dicom")
    reference = _dcm2niix(real_data / "upper_abdomen_dicom", tmp_path / "out")
    np.testing.assert_allclose(volume.geometry.affine, reference.affine, atol=1e-4)
    np.testing.assert_array_equal(volume.hu, np.asarray(reference.dataobj))
    assert volume.study.patient.weight_kg == 79 and not volume.decisions


def test_oblique_series_equals_dcm2niix(writer, tmp_path):
    writer.write(tmp_path / "s", orientation=(0.96, 0, 0.28, 0, 1, 0))
    volume = load(tmp_path / "s")
    reference = _dcm2niix(tmp_path / "s", tmp_path / "out")
    np.testing.assert_allclose(volume.geometry.affine, reference.affine, atol=1e-3)
    np.testing.assert_array_equal(volume.hu, np.asarray(reference.dataobj))


def test_axial_coronal_and_sagittal_series_agree(writer, tmp_path):
    """The same cube of voxels sliced in three directions gives the same Volume."""

    def cube(world):
        return np.rint(world @ np.array([1.0, 10.0, 3.0]))

    volumes = []
    for name, orientation, origin in (
        ("a", (1, 0, 0, 0, 1, 0), (0, 0, 0)),
        ("c", (1, 0, 0, 0, 0, -1), (0, 0, 38)),
        ("s", (0, 1, 0, 0, 0, -1), (38, 0, 38)),
    ):
        writer.write(
            tmp_path / name, orientation=orientation, origin=origin, spacing=(2, 2), step=2, size=(20, 20), hu=cube
        )
        volumes.append(load(tmp_path / name))
    for other in volumes[1:]:
        assert volumes[0].geometry.same_grid(other.geometry)
        np.testing.assert_array_equal(volumes[0].hu, other.hu)

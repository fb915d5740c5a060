"""Scans without UIDs in several folders: one scan is read whole, and what is left out is told in the head."""

from __future__ import annotations

import shutil

import numpy as np
import pytest

from radvlm.errors import InputError
from radvlm.io import load_volume
from radvlm.io.dicom_series import list_series
from radvlm.types.provenance import UNREAD

SMALL = (8, 9)
UIDS = ("SeriesInstanceUID", "StudyInstanceUID", "SOPInstanceUID", "PatientID")


def bare(**attributes):
    """A change that empties UIDs and PatientID as some anonymizers do, and sets attributes."""

    def change(ds, k):
        for name in UIDS:
            setattr(ds, name, "")
        ds.SeriesNumber, ds.SeriesDescription, ds.InstanceNumber = None, "CT Body", k + 1
        for name, value in attributes.items():
            setattr(ds, name, value(k) if callable(value) else value)

    return change


def positions(numbers, step=2.5):
    return [(-20.0, -18.0, -40 + step * k) for k in numbers]


def read(source, **arguments):
    return load_volume(source, rescale="header", **arguments)


def unread(volume):
    return [d.what for d in volume.decisions if d.step == UNREAD and d.warning]


@pytest.mark.parametrize(
    ("parts", "attributes"),
    [
        ((range(10), range(10, 20)), {}),
        ((range(0, 20, 2), range(1, 20, 2)), {}),
        ((range(13), range(13, 15), range(15, 20)), {"FrameOfReferenceUID": ""}),
        ([[k] for k in range(12)], {"ContentTime": lambda k: f"1200{k:02d}"}),
        ((range(10), range(10, 20)), {"AcquisitionNumber": lambda k: k % 3}),
    ],
)
def test_one_scan_in_several_folders_is_read_whole(writer, tmp_path, is_linear, parts, attributes):
    folders, count = [], 0
    for index, numbers in enumerate(parts):
        folders.append(tmp_path / f"c{index}")
        writer.write(folders[-1], positions=positions(numbers), size=SMALL, change=bare(**attributes))
        count += len(numbers)
    volume = read([str(folder) for folder in folders[::-1]])  # as the command line gives them, in any order
    is_linear(volume, 0.5)
    assert volume.geometry.shape[2] == count and not unread(volume)
    assert any(f"images of {len(folders)} folders" in d.what for d in volume.decisions)
    assert [r.slices for r in list_series(tmp_path)] == [count]


def test_two_phases_in_the_same_two_folders_stay_two(writer, tmp_path):
    """Each folder holds half of both acquisitions, which AcquisitionNumber tells apart."""
    for name, numbers in (("lower", range(8)), ("upper", range(8, 16))):
        for phase in (1, 2):
            change = bare(AcquisitionNumber=phase)
            hu = np.full(SMALL, 100.0 * phase)
            places = positions(numbers)
            writer.write(
                tmp_path / name, positions=places, size=SMALL, prefix=f"{phase}", hu=lambda _, v=hu: v, change=change
            )
    volume = read(tmp_path)
    assert volume.geometry.shape[2] == 16 and np.unique(volume.hu).tolist() == [100]
    assert "2 acquisitions" in " ".join(d.what for d in volume.decisions) and not unread(volume)


@pytest.mark.parametrize(
    ("numbers", "attributes"),
    [
        (range(120, 130), {}),  # far above
        (range(14, 24), {}),  # with a gap
        (range(8, 16), {}),  # over each other
        (range(10, 20), {"FrameOfReferenceUID": ""}),  # of no known place
        (range(10, 20), {"FrameOfReferenceUID": "1.2.3"}),
        (range(10), {"FrameOfReferenceUID": "1.2.3", "PatientID": "ANON", "SeriesTime": "110000"}),
    ],
)
def test_what_may_be_another_case_or_the_rest_is_told(writer, tmp_path, numbers, attributes):
    one = {"PatientID": "ANON"} if "PatientID" in attributes else {}
    writer.write(tmp_path / "c1", positions=positions(range(10)), size=SMALL, change=bare(**one))
    writer.write(tmp_path / "c2", positions=positions(numbers), size=SMALL, change=bare(**attributes))
    volume = read(tmp_path)
    (told,) = unread(volume)
    assert told.startswith("Only part of what was given was read: of 2 folders")
    assert f"{len(numbers)} axial slices, " in told and "ANON" not in told and str(tmp_path) not in told
    assert not unread(read(tmp_path, series="c2")) and not unread(read(tmp_path / "c1"))


@pytest.mark.parametrize(
    "attributes",
    [
        {"SeriesDescription": "Lung"},
        {"SeriesNumber": "5"},
        {"ConvolutionKernel": "B70"},
        {"KVP": "80"},
        {"SeriesTime": "110000"},
        {"ImageType": ["DERIVED", "SECONDARY", "MPR"]},
        {"SliceThickness": "1"},
        {"SeriesInstanceUID": "1.2.3", "StudyInstanceUID": "1.2.4", "FrameOfReferenceUID": "1.2.5"},
    ],
)
def test_series_that_the_headers_tell_apart_are_no_loss(writer, tmp_path, attributes):
    """Other reconstructions and phases of the study, its UIDs removed or not, bring no warning."""
    same = {name: value for name, value in attributes.items() if name == "StudyInstanceUID"}
    one = {"SeriesInstanceUID": "1.2.2"} if same else {}
    writer.write(tmp_path / "a", count=12, size=SMALL, change=bare(SeriesTime="100000", **one, **same))
    writer.write(tmp_path / "b", count=10, size=SMALL, change=bare(**{"SeriesTime": "100000", **attributes}))
    volume = read(tmp_path)
    assert volume.geometry.shape[2] == 12 and not [d for d in volume.decisions if d.warning]


def test_a_copy_of_the_folder_is_no_loss(writer, tmp_path):
    writer.write(tmp_path / "a", count=6, size=SMALL, change=bare())
    shutil.copytree(tmp_path / "a", tmp_path / "backup")
    assert not [d for d in read(tmp_path).decisions if d.warning]


@pytest.mark.slow
@pytest.mark.parametrize("make", ["folder", "zip"])
def test_every_series_without_uid_can_be_chosen(writer, tmp_path, make):
    """By its folder, and by folder and number where one folder holds several, or is called like a number."""
    root = tmp_path / "given"
    for count, (name, number) in enumerate((("1", "2"), ("2", None), ("2", "1"), ("c/1", None)), 4):
        change = bare(SeriesNumber=number, ImageType=["ORIGINAL", "PRIMARY", f"KIND{count}"])
        writer.write(root / name, count=count, size=SMALL, prefix=f"s{count}", change=change)
    source = root
    if make == "zip":
        source = shutil.make_archive(str(tmp_path / "packed"), "zip", root)
    records = list_series(source)
    assert sorted(r.slices for r in records) == [4, 5, 6, 7] and len({r.choice for r in records}) == 4
    for record in records:
        assert read(source, series=record.choice).geometry.shape[2] == record.slices
    assert read(source, series="c/1").geometry.shape[2] == 7


@pytest.mark.parametrize("uids", [("", ""), ("1.2.3.77", "1.2.4.77")])
def test_errors_list_series_that_differ_without_patients(writer, tmp_path, uids):
    for patient, uid in zip(("DOE", "ROE"), uids, strict=True):
        change = bare(PatientID=patient, SeriesInstanceUID=uid)
        writer.write(tmp_path / f"case{patient == 'DOE':d}", count=4, size=SMALL, change=change)
    with pytest.raises(InputError, match="several patients") as error:
        read(tmp_path)
    entries = str(error.value).split("several patients: ")[1].split(". Required")[0].split("; ")
    assert len(set(entries)) == 2 and "DOE" not in str(error.value)
    assert ["case1" in entry and "case0" not in entry for entry in entries].count(True) == 1
    choices = [r.choice for r in list_series(tmp_path)]
    assert len(set(choices)) == 2 and all(read(tmp_path, series=choice).geometry.shape[2] == 4 for choice in choices)


@pytest.mark.slow
def test_the_head_of_the_report_says_what_was_not_read_even_when_quiet(writer, tmp_path, capsys):
    from radvlm.cli.main import main

    def body(world):
        return np.where((world[..., 0] / 90) ** 2 + (world[..., 1] / 70) ** 2 < 1, 40.0, -1000.0) + 0 * world[..., 2]

    paths = []
    for name, start in (("one", 0), ("two", 300)):
        more = {"spacing": (8, 8), "size": (24, 32), "step": 8, "origin": (-124, -92, start), "count": 10}
        writer.write(tmp_path / name, hu=body, change=bare(), **more)
        paths.append(str(tmp_path / name))
    assert main(["series", *paths]) == 0
    listed = capsys.readouterr().out.splitlines()[1:3]
    assert [line.split()[-1] for line in listed] == ["one", "two"]
    out = tmp_path / "out"
    assert main(["report", *paths, "-o", str(out), "-q"]) == 0
    assert "Only part of what was given was read" in capsys.readouterr().err
    for name in ("report.txt", "report.json", "report.html"):
        assert "Only part of what was given was read" in " ".join((out / name).read_text().split()), name
    assert main(["report", *paths, "-o", str(out), "-q", "--no-page", "--series", "two"]) == 0
    assert "Only part" not in (out / "report.txt").read_text() + capsys.readouterr().err

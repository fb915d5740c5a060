"""Several acquisitions in one series: told apart where they are several, left whole where they are one."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from radvlm.errors import GridError, InputError
from radvlm.io import load_volume
from radvlm.io.dicom_acquisitions import acquisitions
from radvlm.io.dicom_files import DicomFile
from radvlm.io.dicom_frames import MARKS, Frame, StudyIdentity
from radvlm.io.dicom_series import list_series
from radvlm.io.dicom_values import PixelValues

SMALL = (8, 9)


def flat(value):
    return lambda world: np.full(world.shape[:-1], float(value))


def positions(start, count, step=2.5):
    return [(-20, -18, start + step * k) for k in range(count)]


def put(writer, folder, value, places, **attributes):
    """One acquisition with a constant value; an attribute may be a function of the slice."""

    def change(ds, k):
        ds.SOPInstanceUID = f"1.2.{abs(hash((str(folder), value))) % 10**6}.{k}"
        ds.InstanceNumber = k + 1
        for name, given in attributes.items():
            setattr(ds, name, given(k) if callable(given) else given)

    return writer.write(folder, uid="1", hu=flat(value), positions=places, size=SMALL, change=change)


def read(folder, **arguments):
    return load_volume(folder, rescale="header", **arguments)


def clock(start_s, step_s=0.0):
    return lambda k: f"10{int((start_s + step_s * k) // 60):02d}{(start_s + step_s * k) % 60:09.6f}"


DIFFERENCES = [
    ({"AcquisitionNumber": "1"}, {"AcquisitionNumber": "2"}),
    ({"TemporalPositionIdentifier": "1"}, {"TemporalPositionIdentifier": "2"}),
    ({"AcquisitionTime": clock(0)}, {"AcquisitionTime": clock(40)}),
    ({"AcquisitionTime": clock(0, 0.2)}, {"AcquisitionTime": clock(40, 0.2)}),
    ({"AcquisitionDateTime": "20240101100000"}, {"AcquisitionDateTime": "20240101100100"}),
    ({"KVP": "80"}, {"KVP": "140"}),
    ({"ConvolutionKernel": "B30f"}, {"ConvolutionKernel": "B60f"}),
    ({"ReconstructionDiameter": "350"}, {"ReconstructionDiameter": "500"}),
    ({"ImageType": "ORIGINAL/PRIMARY/AXIAL/A"}, {"ImageType": "ORIGINAL/PRIMARY/AXIAL/B"}),
    ({"AcquisitionNumber": lambda k: str(k // 4)}, {"AcquisitionNumber": lambda k: str(10 + k // 4)}),
    ({"PatientPosition": "FFS"}, {"PatientPosition": "HFP"}),
    ({"Exposure": "100"}, {"Exposure": "200"}),
]


def frames_at(places, name, **attributes):
    """Frames without files, one a position; an attribute is a text or a function of the slice."""
    found = []
    for k, place in enumerate(places):
        marks = tuple(
            "" if mark.name not in attributes else text(k) if callable(text := attributes[mark.name]) else text
            for mark in MARKS
        )
        file = DicomFile(f"{name}{k}", name, Path(name))
        axes = (1.0, 0.0, 0.0), (0.0, 1.0, 0.0), (1.0, 1.0)
        ids = f"{name}.{k}", "s", "s", "1", "", "p", StudyIdentity(), ""
        found.append(Frame(file, 0, *ids, 8, 9, place, *axes, False, "", 1.0, 0.0, PixelValues(), marks))
    return found


def parts_of(*frames):
    """Names of the acquisitions that come out, one set each, whatever the order of the files."""
    mixed = [frame for members in frames for frame in members]
    found = []
    for order in (mixed, mixed[::-1], [*mixed[1::2], *mixed[::2]]):
        parts = acquisitions(order, lambda frame: frame.position_mm[2])
        found.append([{frame.file.folder for frame in members} for _, members in parts])
        assert sum(len(members) for _, members in parts) == len(mixed)
    assert found[0] == found[1] == found[2]
    return found[0]


@pytest.mark.parametrize(("first", "second"), DIFFERENCES)
@pytest.mark.parametrize("shift", [0.0, 1.25, 0.4, -5, 21])
@pytest.mark.parametrize("count", [12, 14, 6])
def test_two_acquisitions_are_told_apart(first, second, shift, count):
    """At the same positions, exactly between each other, a little aside, over a part; never mixed."""
    one = frames_at(positions(0, 14), "one", **first)
    two = frames_at(positions(shift, count), "two", **second)
    assert parts_of(one, two) == [{"one"}, {"two"}]
    assert parts_of(two, one) == [{"one"}, {"two"}]


@pytest.mark.slow
def test_the_choice_is_told_and_can_be_changed(writer, tmp_path):
    put(writer, tmp_path / "s" / "b", 200, positions(1.25, 10), AcquisitionNumber=2)
    put(writer, tmp_path / "s" / "a", 100, positions(0, 10), AcquisitionNumber=1)
    volume = read(tmp_path / "s")
    assert volume.geometry.shape[2] == 10 and np.unique(volume.hu).tolist() == [100]
    warned = [d.what for d in volume.decisions if d.warning and d.step == "dicom"]
    assert len(warned) == 1 and "2 acquisitions" in warned[0] and "of equal ones the first" in warned[0]
    records = list_series(tmp_path / "s")
    assert [(r.slices, r.acquisition, r.chosen) for r in records] == [
        (10, "AcquisitionNumber 1", True),
        (10, "AcquisitionNumber 2", False),
    ]
    for asked in (2, "AcquisitionNumber 2"):
        other = read(tmp_path / "s", acquisition=asked)
        assert np.unique(other.hu).tolist() == [200] and not any(
            d.warning and d.step == "dicom" for d in other.decisions
        )
    with pytest.raises(InputError, match=r"'7'; there is .*AcquisitionNumber 1"):
        read(tmp_path / "s", acquisition=7)


@pytest.mark.parametrize(
    "attributes",
    [
        {"AcquisitionNumber": lambda k: str(k + 1)},
        {"AcquisitionNumber": lambda k: str(40 - k)},
        {"AcquisitionNumber": lambda k: str(k // 4 + 1)},
        {"AcquisitionNumber": lambda k: str(1 + (5 <= k < 12))},
        {"AcquisitionTime": clock(0, 0.25), "ContentTime": clock(60, 0.5)},
        {"ContentTime": clock(0, 1), "InstanceCreationTime": lambda k: clock(0, 1)(k ^ 1)},
        {"ContentTime": lambda k: clock(0, 1)((7 * k) % 20), "InstanceNumber": lambda k: str((3 * k) % 20)},
        {"ContentTime": lambda k: clock(0, 30)(k % 2)},
        {"Exposure": lambda k: str(100 + (13 * k) % 20), "XRayTubeCurrent": lambda k: str(90 + k // 3)},
        {"KVP": lambda k: "100" if k < 9 else "120", "ConvolutionKernel": lambda k: "B40" if k < 9 else "B30"},
        {"AcquisitionNumber": lambda k: str(1 + k // 10), "SliceThickness": lambda k: "2" if k < 10 else "3"},
    ],
)
def test_one_scan_stays_whole(attributes):
    """Numbers and times that change from slice to slice or from table stop to table stop."""
    assert parts_of(frames_at(positions(0, 20), "one", **attributes)) == [{"one"}]
    assert parts_of(frames_at(positions(0, 20)[::-1], "one", **attributes)) == [{"one"}]


def test_one_scan_in_any_order_of_its_images():
    """Attributes that have nothing to do with the position."""
    for seed in range(20):
        shuffled = np.random.default_rng(seed).permutation(20).tolist()
        attributes = dict.fromkeys(("AcquisitionNumber", "InstanceNumber", "Exposure"), lambda k, s=shuffled: str(s[k]))
        assert parts_of(frames_at(positions(0, 20), "one", **attributes)) == [{"one"}]


def test_table_stops_of_two_phases():
    """Each table stop has an AcquisitionNumber of its own; the phases are still two."""
    one = frames_at(positions(0, 16), "one", AcquisitionNumber=lambda k: str(k // 4))
    two = frames_at(positions(0, 16), "two", AcquisitionNumber=lambda k: str(4 + k // 4))
    assert parts_of(one, two) == [{"one"}, {"two"}]


def test_a_scan_of_four_dimensions():
    """Thirty passes over eight positions, back and forth, with a time for each image."""
    passes = [
        frames_at(positions(0, 8)[:: 1 - 2 * (n % 2)], f"{n:02d}", AcquisitionTime=clock(2 * n, 0.1)) for n in range(30)
    ]
    assert parts_of(*passes) == [{f"{n:02d}"} for n in range(30)]


def test_phases_and_kernels_together():
    made = {
        f"{phase}{kernel}": frames_at(
            positions(0, 6), f"{phase}{kernel}", AcquisitionNumber=str(phase), ConvolutionKernel=kernel
        )
        for phase in (1, 2)
        for kernel in ("B30f", "B60f")
    }
    assert parts_of(*made.values()) == [{"1B30f"}, {"1B60f"}, {"2B30f"}, {"2B60f"}]
    mixed = [frame for members in made.values() for frame in members]
    last, _ = acquisitions(mixed, lambda frame: frame.position_mm[2])[-1]
    assert str(last) == "AcquisitionNumber 2, ConvolutionKernel B60f"
    assert last.fits("2") and last.fits("b60f") and last.fits(str(last)) and not last.fits("1")


def test_images_that_watched_for_the_bolus_are_set_aside():
    scan = frames_at(positions(0, 20), "scan", AcquisitionNumber="2")
    assert parts_of(frames_at([positions(0, 1)[0]] * 5, "watch", AcquisitionNumber="1"), scan) == [{"watch"}, {"scan"}]


@pytest.mark.slow
def test_series_without_identifiers_by_folder_or_number(writer, tmp_path):
    bare = {"SeriesInstanceUID": None, "SOPInstanceUID": None, "SeriesNumber": None}
    put(writer, tmp_path / "one" / "a", 100, positions(0, 10), **bare)
    put(writer, tmp_path / "one" / "b", 200, positions(0, 9), **bare)
    assert np.unique(read(tmp_path / "one").hu).tolist() == [100]
    for name, value, first in (("x", 100, 1), ("y", 200, 11)):
        paths = put(
            writer,
            tmp_path / name,
            value,
            positions(0, 10),
            InstanceNumber=lambda k, f=first: k + f,
            SOPInstanceUID=None,
        )
        (tmp_path / "two").mkdir(exist_ok=True)
        for path in paths:
            path.rename(tmp_path / "two" / f"{name}{path.name}")
    assert np.unique(read(tmp_path / "two").hu).tolist() == [100]


@pytest.mark.slow
def test_two_sizes_at_one_place_are_two_stacks(writer, tmp_path):
    put(writer, tmp_path / "a", 100, positions(0, 12))
    writer.write(
        tmp_path / "b",
        positions=positions(0, 10),
        hu=flat(200),
        size=(12, 12),
        change=lambda ds, k: setattr(ds, "SOPInstanceUID", f"1.2.9.{k}"),
    )
    assert read(tmp_path).geometry.shape == (9, 8, 12)


@pytest.mark.slow
def test_nothing_tells_them_apart(writer, tmp_path):
    for name in ("a", "b"):
        paths = put(writer, tmp_path / name, {"a": 100, "b": 200}[name], positions(0, 10), InstanceNumber=None)
        (tmp_path / "s").mkdir(exist_ok=True)
        for path in paths:
            path.rename(tmp_path / "s" / f"{name}{path.name}")
    with pytest.raises(GridError, match="headers do not tell them apart"):
        read(tmp_path / "s")


@pytest.mark.slow
def test_the_command_line_lists_and_takes_acquisitions(writer, tmp_path, capsys):
    """Several paths, one series: `radvlm series` names its acquisitions, `radvlm report` takes the one asked for."""
    from radvlm.cli.main import main

    def body(world):
        inside = (world[..., 0] / 90) ** 2 + (world[..., 1] / 70) ** 2 < 1
        return np.where(inside, 40.0, -1000.0) + 0 * world[..., 2]

    paths = []
    for number in (1, 2):

        def change(ds, k, number=number):
            ds.AcquisitionNumber, ds.SOPInstanceUID = number, f"1.2.{number}.{k}"

        more = {"spacing": (8, 8), "size": (24, 32), "step": 8, "origin": (-124, -92, 0), "count": 12 - number}
        writer.write(tmp_path / str(number), hu=body, change=change, **more)
        paths.append(str(tmp_path / str(number)))
    assert main(["series", *paths]) == 0
    listed = capsys.readouterr().out.splitlines()
    assert [line.split()[0] == "*" for line in listed[1:3]] == [True, False]
    assert "[AcquisitionNumber 1]" in listed[1] and "[AcquisitionNumber 2]" in listed[2]
    for asked, number in (([], 1), (["--acquisition", "2"], 2)):
        out = tmp_path / f"out{number}"
        assert main(["report", *paths, "-o", str(out), "--no-page", *asked]) == 0
        assert ("note: The series holds 2 acquisitions" in capsys.readouterr().err) == (not asked)
        assert f"Read that of AcquisitionNumber {number}" in (out / "manifest.json").read_text(encoding="utf-8")
    assert main(["report", *paths, "-o", str(tmp_path / "no"), "--acquisition", "9"]) == 2
    assert "--acquisition" in capsys.readouterr().err

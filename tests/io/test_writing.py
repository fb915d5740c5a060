"""What is written reads back the same, in the file's own axes, byte for byte the same each time, or not at all."""

from __future__ import annotations

import itertools

import nibabel as nib
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from radvlm.errors import FileFormatError, GridError, InputError
from radvlm.files.atomic import write_text
from radvlm.io import load_volume, save_labels
from radvlm.io.nifti import read_nifti
from radvlm.io.writing import save_volume
from radvlm.types.geometry import Geometry

AFFINE = np.array([[0.8, 0, 0, -12.0], [0, 0.7, 0, 5.0], [0, 0, 2.5, -40.0], [0, 0, 0, 1.0]])
AXES = ["".join(codes) for order in itertools.permutations(("RL", "AP", "SI")) for codes in itertools.product(*order)]


@pytest.fixture
def labels():
    out = np.zeros((6, 5, 4), np.uint8)
    out[1:3, 2:, :2], out[4, 0, 3] = 5, 17
    return out


@pytest.mark.parametrize("axes", AXES)
def test_round_trip_in_every_axis_order(tmp_path, labels, axes):
    geometry = Geometry(labels.shape, AFFINE)
    path = save_labels(
        tmp_path / "m.nii.gz", labels, geometry, names={5: "liver", 17: "tumor <1> & Ö"}, stored_axes=axes
    )
    raw = read_nifti(path)
    array, back, stored = raw.canonical()
    np.testing.assert_array_equal(array, labels)
    assert stored == axes and back.same_grid(geometry, 1e-3)
    assert dict(raw.names) == {5: "liver", 17: "tumor <1> & Ö"} and not raw.decisions
    reference = nib.load(path)
    assert "".join(nib.aff2axcodes(reference.affine)) == axes
    assert int(reference.header["sform_code"]) == int(reference.header["qform_code"]) == 1
    np.testing.assert_allclose(reference.get_qform(), reference.get_sform(), atol=1e-4)


def test_masks_line_up_with_the_scan_they_came_from(tmp_path, body):
    """Written in the stored axes, the array has the shape and affine of the scan's own file."""
    turned = nib.Nifti1Image(body.transpose(2, 0, 1)[:, ::-1], AFFINE[:, [2, 0, 1, 3]] @ np.diag([1, -1, 1, 1]))
    nib.save(turned, tmp_path / "ct.nii")
    volume = load_volume(tmp_path / "ct.nii")
    mask = (volume.hu > 80).astype(np.uint8)
    path = save_labels(tmp_path / "m.nii", mask, volume.geometry, names={1: "dense"}, stored_axes=volume.stored_axes)
    np.testing.assert_array_equal(np.asarray(nib.load(path).dataobj), np.asarray(turned.dataobj) > 80)
    np.testing.assert_allclose(nib.load(path).affine, turned.affine, atol=1e-4)


def test_totalsegmentator_form_of_the_names(tmp_path, labels):
    """The element path that TotalSegmentator's own reader follows."""
    import xml.etree.ElementTree as ElementTree

    path = save_labels(tmp_path / "m.nii.gz", labels, Geometry(labels.shape, AFFINE), names={5: "liver", 17: "cyst"})
    root = ElementTree.fromstring(nib.load(path).header.extensions[0].get_content().rstrip(b"\0"))
    found = root.findall("./VolumeInformation/LabelTable/Label")
    assert root.tag == "CaretExtension" and {int(e.get("Key")): e.text for e in found} == {5: "liver", 17: "cyst"}


def test_same_input_same_bytes(tmp_path, labels, body):
    geometry = Geometry(labels.shape, AFFINE)
    volume = load_volume(body, affine=AFFINE)
    one = save_labels(tmp_path / "1.nii.gz", labels, geometry, names={5: "a", 17: "b"}).read_bytes()
    two = save_labels(tmp_path / "2.nii.gz", np.asfortranarray(labels), geometry, names={17: "b", 5: "a"}).read_bytes()
    assert one == two
    first, second = (save_volume(tmp_path / name, volume) for name in ("3.nii.gz", "4.nii.gz"))
    assert first.read_bytes() == second.read_bytes()


@pytest.mark.parametrize("dtype", [np.int16, np.float32])
@pytest.mark.parametrize("name", ["v.nii", "v.nii.gz"])
def test_volume_round_trip(tmp_path, body, dtype, name):
    volume = load_volume(body.astype(dtype) + dtype(0.5 if dtype == np.float32 else 0), affine=np.diag([-1, -1, 2, 1]))
    again = load_volume(save_volume(tmp_path / name, volume))
    np.testing.assert_array_equal(again.hu, volume.hu)
    assert again.hu.dtype == dtype and again.stored_axes == "LPS" and again.geometry.same_grid(volume.geometry, 1e-4)


@pytest.mark.parametrize(
    ("dtype", "high", "stored"),
    [(bool, 1, np.uint8), (np.int64, 255, np.uint8), (np.int32, 256, np.uint16), (np.uint16, 65535, np.uint16)],
)
def test_label_types(tmp_path, dtype, high, stored):
    labels = np.zeros((3, 4, 5), dtype)
    labels[1, 2, 3] = high
    raw = read_nifti(save_labels(tmp_path / "m.nii.gz", labels, Geometry((3, 4, 5), AFFINE), names={}))
    assert raw.array.dtype == stored and raw.array[1, 2, 3] == high


@pytest.mark.parametrize(
    ("change", "error"),
    [
        ({"labels": np.zeros((2, 2, 2), np.uint8)}, GridError),
        ({"labels": np.zeros((6, 5, 4), np.float32)}, InputError),
        ({"labels": np.full((6, 5, 4), -1)}, InputError),
        ({"labels": np.full((6, 5, 4), 70000)}, InputError),
        ({"names": {0: "x"}}, InputError),
        ({"names": {1: ""}}, InputError),
        ({"stored_axes": "RAR"}, InputError),
        ({"stored_axes": "XYZ"}, InputError),
        ({"stored_axes": "RA"}, InputError),
        ({"path": "m.png"}, InputError),
        ({"path": "absent/m.nii.gz"}, FileFormatError),
    ],
)
def test_what_cannot_be_written(tmp_path, labels, change, error):
    arguments = {
        "path": "m.nii.gz",
        "labels": labels,
        "geometry": Geometry(labels.shape, AFFINE),
        "names": {},
        "stored_axes": "RAS",
        **change,
    }
    with pytest.raises(error):
        save_labels(tmp_path / arguments.pop("path"), arguments.pop("labels"), arguments.pop("geometry"), **arguments)
    assert not list(tmp_path.iterdir())


def test_nothing_is_half_written(tmp_path, monkeypatch):
    target = write_text(tmp_path / "report.txt", "old: µ")
    assert target.read_bytes() == "old: µ".encode()

    def fail(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.replace", fail)
    with pytest.raises(FileFormatError, match="No space left"):
        write_text(target, "new")
    assert target.read_text(encoding="utf-8") == "old: µ" and [p.name for p in tmp_path.iterdir()] == ["report.txt"]


NAMES = st.text(st.characters(codec="utf-8", exclude_categories=["Cs", "Cc", "Cn"]), min_size=1)


@pytest.mark.slow
@given(st.dictionaries(st.integers(1, 65535), NAMES.map(str.strip).filter(bool), max_size=20))
@settings(max_examples=40)
def test_any_name_survives(tmp_path_factory, names):
    path = tmp_path_factory.getbasetemp() / "names.nii"
    save_labels(path, np.zeros((2, 2, 2), np.uint8), Geometry((2, 2, 2), AFFINE), names=names)
    assert dict(read_nifti(path).names) == names

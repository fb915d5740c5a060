"""What lies where a file is expected and is none, and names of files that no text can hold."""

from __future__ import annotations

import os
import socket
from pathlib import Path

import numpy as np
import pytest

from radvlm.errors import FileFormatError, GridError
from radvlm.io import load_segmentation, load_volume
from radvlm.types.provenance import Decision, SourceFile


@pytest.fixture
def pipe(tmp_path):
    if not hasattr(os, "mkfifo"):
        pytest.skip("no pipes on this system")
    path = tmp_path / "liver.nii.gz"
    os.mkfifo(path)
    return path


def test_a_pipe_is_no_file(pipe):
    for read in (load_volume, load_segmentation):
        with pytest.raises(FileFormatError, match=r"liver.nii.gz: a pipe.*regular files"):
            read(pipe)
    slice_file = pipe.rename(pipe.with_name("0001.dcm"))
    with pytest.raises(FileFormatError, match="a pipe"):
        load_volume([slice_file, slice_file])
    slice_file.rename(pipe)
    with pytest.raises(FileFormatError, match="a pipe"):
        load_segmentation(pipe.parent)


def test_a_device_and_a_socket_are_no_files(tmp_path, monkeypatch):
    if not Path("/dev/zero").exists():
        pytest.skip("no such device on this system")
    with pytest.raises(FileFormatError, match="zero: a device"):
        load_volume("/dev/zero")
    monkeypatch.chdir(tmp_path)  # the path of a socket is short
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind("ct.nii")
        with pytest.raises(FileFormatError, match="a socket"):
            load_volume("ct.nii")


def test_a_name_that_is_no_text_is_made_printable(tmp_path):
    name = os.fsdecode(b"a\xff.nii")
    assert SourceFile(name, 1, "").name == "a\\xff.nii"
    assert SourceFile("Bäuche.nii", 1, "").name == "Bäuche.nii"
    assert Decision("dicom", f"Left out {name}.").what == "Left out a\\xff.nii."


def test_an_empty_mask_folder(tmp_path):
    with pytest.raises(FileFormatError, match="no masks and no DICOM segmentation in this folder"):
        load_segmentation(tmp_path, like=load_volume(np.zeros((9, 9, 9)) + np.arange(-200, 250, 50), affine=np.eye(4)))


@pytest.mark.parametrize("size", [330, 400])
def test_files_that_are_cut_short_are_told(writer, tmp_path, size):
    """Cut within the header, so that nothing is left that could be read as a slice."""
    for path in writer.write(tmp_path, count=12, change=lambda ds, k: setattr(ds, "InstanceNumber", k + 1))[-3:]:
        path.write_bytes(path.read_bytes()[:size])
    volume = load_volume(tmp_path, rescale="header")
    assert volume.geometry.shape[2] == 9
    assert any("3 DICOM file(s)" in d.what and "cut short" in d.what for d in volume.decisions if d.warning)


def test_files_that_are_cut_short_after_their_place_are_an_error(writer, tmp_path):
    for path in writer.write(tmp_path, count=12)[-3:]:
        path.write_bytes(path.read_bytes()[:700])
    with pytest.raises(GridError, match="3 images without Rows and Columns lie where its other slices should be"):
        load_volume(tmp_path, rescale="header")


def test_objects_without_an_image_are_no_damage(writer, tmp_path):
    """A report, and raw data, lie beside the images of many exports."""

    def as_raw_data(ds, _):
        ds.SOPClassUID = ds.file_meta.MediaStorageSOPClassUID = "1.2.840.10008.5.1.4.1.1.66"
        del ds.Rows, ds.Columns, ds.PixelData

    writer.write(tmp_path, count=12)
    writer.write(tmp_path, count=1, uid="7", prefix="raw", change=as_raw_data)
    volume = load_volume(tmp_path, rescale="header")
    assert volume.geometry.shape[2] == 12 and not any(d.warning for d in volume.decisions)

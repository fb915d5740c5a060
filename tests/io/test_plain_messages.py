"""Files that were packed, cut short or put in the wrong place: the message says so, in words of the person who passed
them."""

from __future__ import annotations

import gzip
import os
import shutil
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

import radvlm
from radvlm.errors import FileFormatError, InputError, RadvlmError
from radvlm.files.atomic import require_writable_file, require_writable_folder
from radvlm.io.dicom_series import list_series


@pytest.fixture(scope="module")
def series(writer, tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("messages") / "ct"
    writer.write(folder)
    return folder


@pytest.fixture(scope="module")
def nifti(tmp_path_factory, body) -> Path:
    import nibabel as nib

    path = tmp_path_factory.mktemp("messages") / "ct.nii.gz"
    nib.save(nib.Nifti1Image(body, np.diag([8.0, 8, 8, 1])), path)
    return path


def zipped(path: Path, members: dict[str, Path | bytes]) -> Path:
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in members.items():
            archive.writestr(name, content if isinstance(content, bytes) else content.read_bytes())
    return path


def refusal(call: Callable[[], object]) -> str:
    with pytest.raises(RadvlmError) as error:
        call()
    return str(error.value)


def test_slices_that_are_packed_one_by_one(series, tmp_path):
    for path in series.iterdir():
        (tmp_path / f"{path.name}.dcm.gz").write_bytes(gzip.compress(path.read_bytes(), 1))
    said = refusal(lambda: radvlm.load_volume(tmp_path))
    assert "20 packed files (im000.dcm.gz is packed with gzip)" in said and said.endswith("Unpack them first.")
    archive = zipped(tmp_path / "all.zip", {path.name: path for path in tmp_path.glob("*.gz")})
    assert "Required: the archive holds DICOM files" in refusal(lambda: radvlm.load_volume(archive))


def test_a_packed_slice_among_others_is_told(series, tmp_path):
    for path in series.iterdir():
        shutil.copy(path, tmp_path)
    one = tmp_path / "im007"
    (tmp_path / "im007.gz").write_bytes(gzip.compress(one.read_bytes()))
    one.unlink()
    said = [d.what for d in radvlm.load_volume(tmp_path).decisions if d.warning]
    assert any("im007.gz is packed with gzip and was not read" in what for what in said)


def test_an_archive_beside_the_slices_is_no_fault(series, tmp_path):
    shutil.copytree(series, tmp_path / "ct")
    zipped(tmp_path / "ct" / "copy.zip", {path.name: path for path in series.iterdir()})
    volume = radvlm.load_volume(tmp_path / "ct")
    assert not [d for d in volume.decisions if d.warning]
    assert any("1 a zip archive" in d.what for d in volume.decisions)


def test_archives_without_a_scan(tmp_path):
    empty = zipped(tmp_path / "e.zip", {})
    for call in (radvlm.load_volume, list_series):
        assert refusal(lambda call=call: call(empty)).startswith(
            "Received: e.zip: it is empty. Required: the archive holds DICOM files."
        )
    assert "an archive of masks holds masks" in refusal(lambda: radvlm.load_segmentation(empty))
    several = zipped(tmp_path / "several.zip", {"1.zip": empty, "2.zip": empty})
    assert "2 packed files (1.zip is an empty zip archive)" in refusal(lambda: radvlm.load_volume(several))
    assert "the archive holds" in refusal(lambda: radvlm.load_volume(zipped(tmp_path / "t.zip", {"a.txt": b"hello"})))


def test_an_archive_in_an_archive_is_read_and_not_without_end(series, nifti, tmp_path):
    truth = radvlm.load_volume(series).hu
    inner = zipped(tmp_path / "a.zip", {path.name: path for path in series.iterdir()})
    assert np.array_equal(radvlm.load_volume(zipped(tmp_path / "b.zip", {"a.zip": inner})).hu, truth)
    image = zipped(tmp_path / "c.zip", {"i.zip": zipped(tmp_path / "i.zip", {"ct.nii.gz": nifti})})
    assert radvlm.load_volume(image).hu.shape == radvlm.load_volume(nifti).hu.shape
    for depth in range(4):
        inner = zipped(tmp_path / f"d{depth}.zip", {"n.zip": inner})
    assert "a zip archive" in refusal(lambda: radvlm.load_volume(inner))
    assert "archives within archives" in refusal(lambda: radvlm.load_segmentation(inner))


@pytest.mark.parametrize("kept", [-1, -700, 1200])
def test_a_slice_that_is_cut_short(series, tmp_path, kept):
    shutil.copytree(series, tmp_path / "ct")
    path = tmp_path / "ct" / "im003"
    path.write_bytes(path.read_bytes()[:kept])
    said = refusal(lambda: radvlm.load_volume(tmp_path / "ct"))
    assert "im003: cut short" in said and "of 1536 bytes of pixels" in said
    assert "dataset" not in said and "syntax" not in said


@pytest.mark.parametrize("syntax", ["1.2.840.10008.1.2.5", "1.2.840.10008.1.2.4.80"])
def test_a_compressed_slice_that_is_cut_short(writer, tmp_path, syntax):
    writer.write(tmp_path, syntax=syntax, count=4)
    path = tmp_path / "im003"
    path.write_bytes(path.read_bytes()[:-60])
    assert "im003: cut short within its pixels" in refusal(lambda: radvlm.load_volume(tmp_path))


def test_a_number_of_frames_that_is_not_there(writer, tmp_path):
    writer.write(tmp_path, change=lambda ds, k: setattr(ds, "NumberOfFrames", 5))
    assert "im000: NumberOfFrames is 5, without a place for each" in refusal(lambda: radvlm.load_volume(tmp_path))


def test_one_frame_by_its_number_is_a_slice(writer, tmp_path, series):
    writer.write(tmp_path, change=lambda ds, k: setattr(ds, "NumberOfFrames", 1))
    assert np.array_equal(radvlm.load_volume(tmp_path).hu, radvlm.load_volume(series).hu)


@pytest.mark.parametrize("kind", ["HU", "US", "OD"])
def test_a_modality_table_makes_the_values(writer, tmp_path, series, kind):
    from pydicom.dataset import Dataset
    from pydicom.sequence import Sequence

    def change(ds, k):
        del ds.RescaleSlope, ds.RescaleIntercept
        table = Dataset()
        table.LUTDescriptor, table.ModalityLUTType = [4096, 0, 16], kind
        table.LUTData = (np.arange(4096) + 24).astype("<u2").tobytes()  # HU + 1048
        table["LUTData"].VR = "OW"
        ds.ModalityLUTSequence = Sequence([table])

    writer.write(tmp_path, change=change)
    if kind == "OD":
        assert "makes OD of the pixels" in refusal(lambda: radvlm.load_volume(tmp_path))
        return
    volume = radvlm.load_volume(tmp_path, rescale="header")
    assert any("Modality LUT" in d.what and d.warning for d in volume.decisions)
    truth = radvlm.load_volume(series).hu
    inner = truth > -1000
    assert np.array_equal(volume.hu[inner], truth[inner] + 1048)


def test_masks_passed_as_a_second_scan(series, nifti, tmp_path):
    masks = tmp_path / "masks"
    masks.mkdir()
    shutil.copy(nifti, masks / "liver.nii.gz")
    for paths in ([nifti, nifti], [series, nifti], [series, masks]):
        with pytest.raises(InputError, match=r"among them.*masks by an argument of their own, masks= \(--masks\)"):
            radvlm.load_volume(paths)
    assert radvlm.load_volume(sorted(series.iterdir())).hu.shape == (32, 24, 20)


def test_series_of_an_image_file(nifti, tmp_path):
    with pytest.raises(FileFormatError, match="one image in one file, which has none"):
        list_series(nifti)
    with pytest.raises(FileFormatError, match="which does not exist"):
        list_series(tmp_path / "nope")


def test_a_folder_that_may_not_be_listed_is_told(series, tmp_path, monkeypatch):
    shutil.copytree(series, tmp_path / "ct")
    (tmp_path / "ct" / "more").mkdir()
    listed = os.scandir

    def closed(path):
        if os.fspath(path).endswith("more"):
            raise PermissionError(13, "Permission denied", path)
        return listed(path)

    monkeypatch.setattr(os, "scandir", closed)
    said = [d.what for d in radvlm.load_volume(tmp_path / "ct").decisions if d.warning]
    assert said == [
        "1 folder within could not be listed (Permission denied), so that nothing in there was read; the scan may lack "
        "slices. Check the permissions."
    ]


@pytest.mark.skipif(not Path("/proc/self").is_dir(), reason="no /proc here")
@pytest.mark.parametrize("ask", [require_writable_folder, require_writable_file])
def test_places_that_take_no_files(ask):
    said = refusal(lambda: ask("/proc/out"))
    assert "/proc/out: " in said and "it takes no new files" in said

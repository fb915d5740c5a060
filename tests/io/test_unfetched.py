"""Files that are not what they are called: cut, packed twice, with junk behind, links that lead nowhere, pointers."""

from __future__ import annotations

import bz2
import gzip
import io
import tarfile
import zipfile
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

import radvlm
from radvlm.errors import FileFormatError
from radvlm.io.dicom_series import list_series
from radvlm.io.inflation import pieces

LFS = b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 12345\n"
ANNEX = b"/annex/objects/SHA256E-s123--4d7a.nii.gz\n"
AFFINE = np.diag([2.0, 2.0, 3.0, 1.0])


@pytest.fixture(scope="module")
def packed() -> bytes:
    """A small scan as .nii.gz."""
    hu = np.full((30, 30, 20), -1000, np.int16)
    hu[5:25, 5:25] = 40
    return gzip.compress(nib.Nifti1Image(hu, AFFINE).to_bytes())


def _zip(content: bytes, name: str = "a.nii.gz") -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        archive.writestr(name, content)
    return out.getvalue()


def _tar(content: bytes) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as archive:
        info = tarfile.TarInfo("a.nii.gz")
        info.size = len(content)
        archive.addfile(info, io.BytesIO(content))
    return out.getvalue()


@pytest.mark.parametrize(
    ("name", "made", "told"),
    [
        ("a.zip", lambda c: _zip(c)[:-60], "cut short.*Copy or download it again"),
        ("a.nii.gz", lambda c: _zip(c)[:100], "cut short.*Copy or download it again"),
        ("a.nii.gz", lambda c: c + b"junk", "4 bytes after the end of the stream.*appended"),
        ("a.nii.gz", lambda c: c + b"\0" * 600 + b"<html>", "6 bytes after the end of the stream.*appended"),
        ("a.nii.gz", lambda c: c[:-9], "the stream ends early"),
        ("a.nii.gz", gzip.compress, "a gzip file that was packed with gzip again.*Unpack it"),
        ("a.tar.gz", lambda c: gzip.compress(_tar(c)), "a tar archive that is packed with gzip.*Unpack it"),
        ("a.nii.gz", lambda c: gzip.compress(_tar(c)), "a tar archive that is packed with gzip.*Unpack it"),
        ("a.tar", _tar, "a tar archive.*Unpack it"),
        ("a.nii.gz", lambda c: gzip.compress(_zip(c)), "a zip archive that is packed with gzip.*Unpack it"),
        ("a.nii.gz", lambda c: LFS, "a Git LFS pointer.*git lfs pull"),
        ("a.dcm", lambda c: LFS, "a Git LFS pointer.*git lfs pull"),
        ("a", lambda c: LFS, "a Git LFS pointer.*git lfs pull"),
        ("a.nii.gz", lambda c: ANNEX, "a git-annex pointer.*git annex get.*datalad get"),
        ("a.mha", lambda c: ANNEX, "a git-annex pointer.*git annex get.*datalad get"),
    ],
)
def test_named_for_what_it_is(tmp_path, packed, name, made, told):
    path = tmp_path / name
    path.write_bytes(made(packed))
    for load in (radvlm.load_volume, radvlm.load_segmentation):
        with pytest.raises(FileFormatError, match=f"(?s){name}.*{told}"):
            load(path)


def test_what_is_honest_is_read(tmp_path, packed):
    """Zeros that fill a block, several streams one after the other, a zip with another name."""
    half = len(gzip.decompress(packed)) // 2
    parts = [gzip.decompress(packed)[:half], gzip.decompress(packed)[half:]]
    for content in (packed + b"\0" * 5000, b"".join(map(gzip.compress, parts)), _zip(packed)):
        path = tmp_path / "a.nii.gz"
        path.write_bytes(content)
        assert radvlm.load_volume(path).hu.max() == 40


def test_junk_after_bzip2():
    assert b"".join(pieces(bz2.compress(b"a") + b"\0\0" + bz2.compress(b"b"), "bzip2", "x")) == b"ab"
    with pytest.raises(FileFormatError, match="2 bytes after the end"):
        list(pieces(bz2.compress(b"a") + b"xx", "bzip2", "x"))


@pytest.mark.parametrize("load", [radvlm.load_volume, radvlm.load_segmentation, list_series])
def test_an_empty_path_is_not_the_current_folder(tmp_path, monkeypatch, load):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(FileFormatError, match=r"an empty path.*variable not set"):
        load("")


def test_a_link_that_leads_nowhere_is_told_as_one(tmp_path):
    (tmp_path / "a.nii.gz").symlink_to("../.git/annex/objects/xX/9q/SHA256E-s12--4d7a/SHA256E-s12--4d7a.nii.gz")
    (tmp_path / "b").symlink_to(tmp_path / "gone")
    (tmp_path / "c").symlink_to(tmp_path / "c")
    for load in (radvlm.load_volume, radvlm.load_segmentation):
        with pytest.raises(FileFormatError, match=r"content was not fetched.*git annex get.*datalad get"):
            load(tmp_path / "a.nii.gz")
        for name in "bc":
            with pytest.raises(FileFormatError, match=r"a link that leads nowhere.*Copy what it leads to"):
                load(tmp_path / name)
    with pytest.raises(FileFormatError, match=r"content was not fetched, and 2 more.*git annex get"):
        radvlm.load_segmentation(tmp_path)


def _mask(path: Path, low: int) -> None:
    path.parent.mkdir(exist_ok=True)
    mask = np.zeros((30, 30, 20), np.uint8)
    mask[low : low + 5, 10:20, 5:15] = 1
    nib.save(nib.Nifti1Image(mask, AFFINE), path)


def test_a_mask_that_was_not_fetched_is_named(tmp_path):
    _mask(tmp_path / "liver.nii.gz", 18)
    assert not any(d.warning for d in radvlm.load_segmentation(tmp_path).decisions)
    (tmp_path / "README").symlink_to(tmp_path / "gone")  # no mask by its name
    (tmp_path / "spleen.nii.gz").symlink_to("../.git/annex/objects/x/spleen.nii.gz")
    found = radvlm.load_segmentation(tmp_path)
    (told,) = [d for d in found.decisions if d.warning]
    assert told.step == "unread" and "README" not in told.what
    assert "spleen.nii.gz is a link whose content was not fetched" in told.what and "datalad get" in told.what
    assert found.searched == {"liver"}
    (tmp_path / "spleen.nii.gz").unlink()
    (tmp_path / "spleen.nii.gz").write_bytes(LFS)
    with pytest.raises(FileFormatError, match=r"spleen\.nii\.gz.*git lfs pull"):
        radvlm.load_segmentation(tmp_path)


def test_masks_in_other_folders_are_told(tmp_path):
    """A warning where a structure is missed; copies are recorded; scans and other things are nothing."""
    _mask(tmp_path / "liver.nii.gz", 18)
    for name in ("ct.nii.gz", "preview.nii.gz", "anything.nii.gz"):
        _mask(tmp_path / "scan" / name, 3)
    assert not any("not read" in d.what for d in radvlm.load_segmentation(tmp_path).decisions)
    _mask(tmp_path / "old" / "liver.nii.gz", 18)
    (told,) = [d for d in radvlm.load_segmentation(tmp_path).decisions if "not read" in d.what]
    assert "old/liver.nii.gz" in told.what and not told.warning
    _mask(tmp_path / "more" / "spleen.nii.gz", 3)
    (told,) = [d for d in radvlm.load_segmentation(tmp_path).decisions if "not read" in d.what]
    assert "more/spleen.nii.gz" in told.what and told.warning


def test_masks_beside_the_subfolder_that_is_read_are_told(tmp_path):
    _mask(tmp_path / "segmentations" / "liver.nii.gz", 18)
    _mask(tmp_path / "ct.nii.gz", 3)
    assert not any("not read" in d.what for d in radvlm.load_segmentation(tmp_path).decisions)
    _mask(tmp_path / "liver_lesion.nii.gz", 20)
    _mask(tmp_path / "lesions" / "kidney_stone.nii.gz", 3)
    (told,) = [d for d in radvlm.load_segmentation(tmp_path).decisions if "not read" in d.what]
    assert told.warning and "lesions/kidney_stone.nii.gz, liver_lesion.nii.gz" in told.what


def test_slices_that_were_not_fetched_are_named(tmp_path, writer):
    """The last slices of a series, in place of which links and pointers lie; other links are no slices."""
    folder = tmp_path / "scan"
    paths = sorted(writer.write(folder, count=10, size=(8, 9)))
    (folder / "notes.pdf").symlink_to(tmp_path / "gone")
    assert not any(d.step == "unread" for d in radvlm.load_volume(folder, rescale="header").decisions)
    last = folder / "im999"
    last.symlink_to("../../.git/annex/objects/x/im999")
    (told,) = [d for d in radvlm.load_volume(folder, rescale="header").decisions if d.step == "unread"]
    assert told.warning and "im999 is a link whose content was not fetched" in told.what
    assert "the scan may lack slices" in told.what and "datalad get" in told.what
    last.unlink()
    last.write_bytes(LFS)
    (told,) = [d for d in radvlm.load_volume(folder, rescale="header").decisions if d.step == "unread"]
    assert "im999 is a Git LFS pointer" in told.what and "git lfs pull" in told.what
    last.rename(folder / "im999.dcm")
    with pytest.raises(FileFormatError, match=r"im999\.dcm: a Git LFS pointer.*git lfs pull"):
        radvlm.load_volume(folder, rescale="header")
    (folder / "im999.dcm").unlink()
    for path in paths:
        path.unlink()
        path.symlink_to(tmp_path / "gone" / path.name)
    with pytest.raises(FileFormatError, match=r"im000: a link that leads nowhere.*and 10 more.*Copy what it leads to"):
        radvlm.load_volume(folder)

"""NIfTI files: every byte that can be wrong, every axis order, and what the header says about rescale and names."""

from __future__ import annotations

import gzip
import itertools
import struct
import time
import zlib

import nibabel as nib
import numpy as np
import pytest

from radvlm.errors import FileFormatError, GridError, RadvlmError
from radvlm.io import load_volume
from radvlm.io.nifti import read_nifti

AFFINE = np.array([[0.8, 0, 0, -12.0], [0, 0.7, 0, 5.0], [0, 0, 2.5, -40.0], [0, 0, 0, 1.0]])


def nifti_bytes(array, affine=AFFINE, kind=nib.Nifti1Image, edit=None) -> bytes:
    image = kind(array, affine)
    if edit is not None:
        edit(image.header)
    return image.to_bytes()


@pytest.fixture
def stored(tmp_path, body):
    """Write bytes under a name and give the path."""

    def put(content, name="ct.nii"):
        path = tmp_path / name
        path.write_bytes(content)
        return path

    return put


def patched(content: bytes, offset: int, layout: str, *values) -> bytes:
    out = bytearray(content)
    struct.pack_into(layout, out, offset, *values)
    return bytes(out)


@pytest.mark.parametrize("dtype", ["u1", "i1", "u2", "i2", "u4", "i4", "u8", "i8", "f4", "f8"])
@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("kind", [nib.Nifti1Image, nib.Nifti2Image])
def test_types_and_byte_orders(stored, dtype, order, kind):
    array = np.arange(60).reshape(3, 4, 5).astype(order + dtype)
    header = kind.header_class(endianness=order)
    header.set_data_dtype(dtype)
    content = kind(array, AFFINE, header, dtype=np.dtype(dtype)).to_bytes()
    packed = gzip.compress(content)
    for path in (stored(content), stored(packed, "ct.nii.gz"), stored(packed, "misnamed.nii")):
        raw = read_nifti(path)
        np.testing.assert_array_equal(raw.array, array)
        assert raw.array.dtype == np.dtype(dtype) and raw.array.dtype.isnative
        np.testing.assert_allclose(raw.affine, AFFINE, atol=1e-6)
        assert raw.sources[0].size_bytes == path.stat().st_size and not raw.decisions


def test_all_48_axis_orders_load_to_the_same_volume(stored, body):
    """Every permutation and flip of the file, same Volume, bit by bit."""
    reference = load_volume(body, affine=AFFINE)
    for order in itertools.permutations(range(3)):
        for flips in itertools.product((1, -1), repeat=3):
            matrix = nib.orientations.inv_ornt_aff(np.array(list(zip(order, flips, strict=True))), body.shape)
            turned = nib.orientations.apply_orientation(body, list(zip(order, flips, strict=True)))
            volume = load_volume(stored(nifti_bytes(np.ascontiguousarray(turned), AFFINE @ matrix)))
            np.testing.assert_array_equal(volume.hu, reference.hu)
            np.testing.assert_allclose(volume.geometry.affine, reference.geometry.affine, atol=1e-4)
            assert volume.geometry.reordered(*_as_stored(volume)).same_grid(
                reference.geometry.reordered(*_as_stored(volume))
            )


def _as_stored(volume):
    axes = {"R": (0, 1), "L": (0, -1), "A": (1, 1), "P": (1, -1), "S": (2, 1), "I": (2, -1)}
    return zip(*(axes[code] for code in volume.stored_axes), strict=True)


# -- header ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("slope", "inter", "dtype", "truth"),
    [
        (1.0, -1024.0, "i2", np.int16),
        (2.0, 0.0, "i2", np.int16),
        (0.3, 0.0, "i2", np.float32),
        (0.5, 0.0, "i2", np.int16),
        (1.0, 0.25, "u1", np.float32),
        (1000.0, 0.0, "i2", np.float32),
        (0.0, 5.0, "i2", np.int16),
        (np.nan, np.nan, "i2", np.int16),
        (1.0, -40000.0, "u2", np.float32),
        (-1.0, 10.0, "u2", np.int16),
    ],
)
def test_rescale_once(stored, slope, inter, dtype, truth):
    array = np.arange(0, 240, 4).reshape(3, 4, 5).astype(dtype)
    content = patched(nifti_bytes(array), 112, "<ff", slope, inter)
    raw = read_nifti(stored(content))
    used = (1.0, 0.0) if slope == 0 or np.isnan(slope) else (slope, inter)
    expected = array.astype(float) * used[0] + used[1]
    assert raw.array.dtype == truth
    np.testing.assert_allclose(raw.array, expected, rtol=1e-6)
    np.testing.assert_allclose(raw.array, np.asarray(nib.load(stored(content)).dataobj), rtol=1e-6)


def test_sform_and_qform(stored):
    array = np.zeros((3, 4, 5), np.int16)
    moved = AFFINE.copy()
    moved[0, 3] += 7

    def disagree(header):
        header.set_qform(moved, 1)
        header.set_sform(AFFINE, 1)

    both = nifti_bytes(array, edit=disagree)
    raw = read_nifti(stored(both))
    np.testing.assert_allclose(raw.affine, AFFINE, atol=1e-5)
    assert "7.0 mm" in raw.decisions[0].what and raw.decisions[0].warning

    only_q = read_nifti(stored(patched(both, 252, "<hh", 1, 0)))
    np.testing.assert_allclose(only_q.affine, moved, atol=1e-5)
    assert not only_q.decisions

    path = stored(patched(both, 252, "<hh", 0, 0))
    neither = read_nifti(path)
    np.testing.assert_allclose(neither.affine, nib.load(path).affine)
    assert neither.decisions[0].warning and "sides may be wrong" in neither.decisions[0].what

    broken_s = read_nifti(stored(patched(both, 280, "<f", np.nan)))
    np.testing.assert_allclose(broken_s.affine, moved, atol=1e-5)
    assert broken_s.decisions[0].warning


@pytest.mark.parametrize(
    ("unit", "factor", "spacing"), [("meter", 1000, 0.0008), ("micron", 0.001, 800), ("meter", 1, 0.8)]
)
def test_units(stored, unit, factor, spacing):
    affine = np.diag([spacing, spacing, spacing, 1])
    raw = read_nifti(stored(nifti_bytes(np.zeros((3, 4, 5), np.int16), affine, edit=lambda h: h.set_xyzt_units(unit))))
    np.testing.assert_allclose(np.diag(raw.affine)[:3], spacing * factor, rtol=1e-5)
    assert raw.decisions[0].warning == (factor == 1)  # as the header says is no fault


def test_trailing_axes_are_squeezed(stored):
    array = np.arange(60, dtype=np.int16).reshape(3, 4, 5, 1)
    raw = read_nifti(stored(nifti_bytes(array)))
    np.testing.assert_array_equal(raw.array, array[..., 0])
    assert "3 x 4 x 5 x 1" in raw.decisions[0].what


def test_pair(stored, tmp_path):
    array = np.arange(60, dtype=np.int16).reshape(3, 4, 5)
    nib.save(nib.Nifti1Pair(array, AFFINE), tmp_path / "ct.img")
    for name in ("ct.img", "ct.hdr"):
        raw = read_nifti(tmp_path / name)
        np.testing.assert_array_equal(raw.array, array)
        assert len(raw.sources) == 2
    (tmp_path / "ct.img").unlink()
    with pytest.raises(FileFormatError, match=r"\.img"):
        read_nifti(tmp_path / "ct.hdr")


def test_analyze_is_refused(tmp_path):
    nib.save(nib.AnalyzeImage(np.zeros((3, 4, 5), np.int16), None), tmp_path / "old.img")
    with pytest.raises(FileFormatError, match="Analyze"):
        read_nifti(tmp_path / "old.hdr")


# -- names -------------------------------------------------------------------------------------------------------


def with_extension(content: bytes):
    return nifti_bytes(
        np.zeros((3, 4, 5), np.uint8), edit=lambda h: h.extensions.append(nib.nifti1.Nifti1Extension(0, content))
    )


@pytest.mark.parametrize(
    "content",
    [
        b'<?xml version="1.0" encoding="UTF-8"?> <CaretExtension>\n <VolumeInformation Index="0"><LabelTable>'
        b'<Label Key="5" Red="1"><![CDATA[liver]]></Label>\n<Label Key="1">spleen </Label></LabelTable>'
        b"</VolumeInformation></CaretExtension>\n     ",
        b'{"5": "liver", "1": "spleen"}',
        b'{"labels": {"background": 0, "liver": 5, "spleen": 1}}',
        b'[{"value": 5, "name": "liver"}, {"value": 1, "name": "spleen"}]',
    ],
)
def test_label_names(stored, content):
    assert dict(read_nifti(stored(with_extension(content))).names) == {1: "spleen", 5: "liver"}


@pytest.mark.parametrize(
    "content",
    [
        b"<CaretExtension><Label",
        b"<a>" * 5000,
        b'<?xml version="1.0" encoding="nonsense"?><a/>',
        b"{]",
        b"[" * 100000,
        b'<!DOCTYPE a [<!ENTITY x SYSTEM "file:///etc/passwd">]><a><Label Key="1">&x;</Label></a>',
        b"\xff\xfe",
        b"plain text",
    ],
)
def test_damaged_label_names_never_stop_the_reading(stored, content):
    raw = read_nifti(stored(with_extension(content)))
    assert not raw.names


def test_entities_are_not_expanded(stored):
    bomb = b'<!DOCTYPE a [<!ENTITY a "liver"><!ENTITY b "&a;&a;&a;">]><a><Label Key="1">&b;</Label></a>'
    raw = read_nifti(stored(with_extension(bomb)))
    assert not raw.names and raw.decisions[0].warning


def test_real_names(real_data):
    raw = read_nifti(real_data / "upper_abdomen_masks" / "segmentation.nii.gz")
    assert raw.names[5] == "liver" and len(raw.names) == 117 and raw.array.dtype == np.uint8


# -- damage ------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def whole(body):
    return nifti_bytes(body)


@pytest.mark.parametrize("cut", [1, 8, 9, 100, 5000])
def test_truncated_gzip(stored, whole, cut):
    with pytest.raises(FileFormatError, match="gzip"):
        load_volume(stored(gzip.compress(whole)[:-cut], "ct.nii.gz"))


def test_wrong_checksum(stored, whole):
    packed = bytearray(gzip.compress(whole))
    packed[-8] ^= 1
    with pytest.raises(FileFormatError, match="gzip"):
        load_volume(stored(bytes(packed), "ct.nii.gz"))
    packed = bytearray(gzip.compress(whole, 0))
    packed[len(packed) // 2] ^= 1  # stored blocks: still valid deflate, only the checksum knows
    with pytest.raises(FileFormatError, match="gzip"):
        load_volume(stored(bytes(packed), "ct.nii.gz"))


def test_gzip_in_several_members_and_zero_padding(stored, whole, body):
    packed = gzip.compress(whole[:30000]) + gzip.compress(whole[30000:]) + bytes(512)
    np.testing.assert_array_equal(load_volume(stored(packed, "ct.nii.gz")).hu, body)
    with pytest.raises(FileFormatError):
        load_volume(stored(gzip.compress(whole) + b"junk", "ct.nii.gz"))


@pytest.mark.parametrize(
    ("edit", "error", "message"),
    [
        (lambda c: c[:-100], FileFormatError, "truncated"),
        (lambda c: c[:200], FileFormatError, "is NIfTI"),
        (lambda c: b"", FileFormatError, "empty|0 bytes"),
        (lambda c: b"just some notes\n" * 40, FileFormatError, "a text file"),
        (lambda c: b"version https://git-lfs.github.com/spec/v1\n" * 9, FileFormatError, "Git LFS"),
        (lambda c: b"\x89PNG\r\n\x1a\n" + bytes(600), FileFormatError, "PNG"),
        (lambda c: patched(c, 344, "<4s", b"nope"), FileFormatError, "magic"),
        (lambda c: patched(c, 42, "<hhh", 30000, 30000, 30000), GridError, "1 to 16384"),
        (lambda c: patched(c, 42, "<hhh", 16000, 16000, 16000), FileFormatError, "GiB"),
        (lambda c: patched(c, 42, "<hhh", 1000, 1000, 1000), FileFormatError, "promises"),
        (lambda c: patched(c, 42, "<hhh", 4, 4, 4), FileFormatError, "ends after"),
        (lambda c: patched(c, 42, "<hhh", 40, -36, 30), GridError, "voxels"),
        (lambda c: patched(c, 42, "<hhh", 0, 36, 30), GridError, "voxels"),
        (lambda c: patched(c, 40, "<h", 2), GridError, "3D"),
        (lambda c: patched(c, 40, "<h", 12000), GridError, "dimensions"),
        (lambda c: patched(c, 40, "<hhhhh", 4, 40, 36, 15, 2), GridError, "time series"),
        (lambda c: patched(c, 70, "<h", 128), FileFormatError, "RGB"),
        (lambda c: patched(c, 70, "<h", 32), FileFormatError, "complex"),
        (lambda c: patched(c, 70, "<h", 999), FileFormatError, "datatype"),
        (lambda c: patched(c, 108, "<f", np.nan), FileFormatError, "voxels start"),
        (lambda c: patched(c, 108, "<f", 1e20), FileFormatError, "voxels start"),
        (lambda c: patched(c, 112, "<ff", np.inf, 0), FileFormatError, "finite"),
        (lambda c: patched(c, 280, "<f", np.nan), GridError, "orientation"),
        (lambda c: patched(patched(c, 252, "<hh", 0, 0), 80, "<fff", 0, 0, 0), GridError, "voxel sizes"),
        (lambda c: patched(c, 280, "<ffff", 1e-9, 0, 0, 0), GridError, "orientation|spacing"),
    ],
)
def test_damaged_headers(stored, whole, edit, error, message):
    content = edit(whole)
    for path in (stored(content), stored(gzip.compress(content), "ct.nii.gz")):
        if "end" in message and path.suffix == ".gz":
            continue
        with pytest.raises(error, match=message) as caught:
            load_volume(path)
        assert str(path.parent) not in str(caught.value)


def test_not_finite(stored, body):
    array = body.astype(np.float32)
    array[3, 4, 5], array[0, 0, 0] = np.nan, np.inf
    with pytest.raises(FileFormatError, match="2 of 43200"):
        load_volume(stored(nifti_bytes(array)))


@pytest.mark.slow
def test_gzip_bomb_ends_early(stored):
    """A header that promises little, followed by 256 MiB of zeros: refused after the promised size."""
    head = nifti_bytes(np.zeros((8, 8, 8), np.int16))
    packer = zlib.compressobj(9, wbits=31)
    parts = [packer.compress(head)] + [packer.compress(bytes(2**24)) for _ in range(16)]
    path = stored(b"".join([*parts, packer.flush()]), "bomb.nii.gz")
    started = time.process_time()
    with pytest.raises(FileFormatError, match="ends after"):
        load_volume(path)
    assert time.process_time() - started < 0.5


def test_missing_and_folder(tmp_path):
    with pytest.raises(FileFormatError, match="exists"):
        load_volume(tmp_path / "absent.nii.gz")
    with pytest.raises(FileFormatError):
        read_nifti(tmp_path)
    (tmp_path / "a.nii").write_bytes(b"x")
    with pytest.raises(FileFormatError, match="NIfTI file itself"):
        load_volume(tmp_path)
    with pytest.raises(FileFormatError, match="exists"):
        load_volume("no\0such")


def test_every_error_is_one_sentence_with_a_remedy(stored, whole):
    with pytest.raises(RadvlmError) as caught:
        load_volume(stored(whole[:-1]))
    assert caught.value.rule and caught.value.received and caught.value.remedy

"""Small files that unpack to gigabytes: refused in one line, at the cost of little more than their own size."""

from __future__ import annotations

import bz2
import json
import struct
import subprocess
import sys
import zlib
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from radvlm.errors import FileFormatError
from radvlm.io.dicom_bytes import code_stream_size
from radvlm.io.inflation import MAX_RATIO, SMALL_FILE_BYTES, budget_bytes, pieces, unpacked, unpacked_start

BLOCK = bytes(2**24)
#: Reads each file in a process of its own and prints [error, megabytes] for it.
READER = """
import json, os, sys
import nibabel, highdicom, scipy.ndimage
from radvlm import RadvlmError
from radvlm.io import load_segmentation, load_volume
from radvlm.io import dicom_volume
for path in sys.argv[1:]:
    read, write = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(read)
        errors = []
        for load in (load_volume, load_segmentation)[: 1 if "complete" in path else 2]:
            try:
                load(path)
                errors.append("")
            except RadvlmError as error:
                errors.append(str(error))
        os.write(write, json.dumps(errors).encode())
        os._exit(0)
    os.close(write)
    _, status, usage = os.wait4(child, 0)
    print(json.dumps([json.loads(os.read(read, 65536) or "null"), status, usage.ru_maxrss * 1024]))
"""


def deflated_zeros(count: int, start: bytes = b"", wrapped: bool = False) -> bytes:
    """A deflate stream of ``start`` and ``count`` blocks of 16 MiB of zeros, made of one block that is repeated."""
    packer = zlib.compressobj(9, wbits=-15)
    head = packer.compress(start) + packer.flush(zlib.Z_FULL_FLUSH)
    once = packer.compress(BLOCK) + packer.flush(zlib.Z_FULL_FLUSH)
    body = head + once * count + packer.flush(zlib.Z_FINISH)
    if not wrapped:
        return body
    checksum = zlib.crc32(start)
    for _ in range(count):
        checksum = zlib.crc32(BLOCK, checksum)
    length = (len(start) + count * len(BLOCK)) % 2**32
    return b"\x1f\x8b\x08" + bytes(7) + body + struct.pack("<II", checksum, length)


def nifti_header(shape: tuple[int, int, int]) -> bytes:
    header = nib.Nifti1Header()
    header.set_data_dtype(np.int16)
    header.set_data_shape(shape)
    header["vox_offset"], header["sform_code"], header["magic"] = 352, 1, b"n+1"
    header["srow_x"], header["srow_y"], header["srow_z"] = (1, 0, 0, 0), (0, 1, 0, 0), (0, 0, 1, 0)
    return header.binaryblock + bytes(4)


def zip_bytes(name: str, body: bytes, size: int, checksum: int = 0) -> bytes:
    """A zip archive with one member that is already deflated."""
    label = name.encode()
    fields = (20, 0, 8, 0, 33, checksum, len(body), size, len(label))
    local = b"PK\x03\x04" + struct.pack("<HHHHHIIIHH", *fields, 0) + label
    central = b"PK\x01\x02\x14\x00" + struct.pack("<HHHHHIIIHHHHHII", *fields, 0, 0, 0, 0, 0, 0) + label
    where = len(local) + len(body)
    return local + body + central + b"PK\x05\x06" + struct.pack("<HHHHIIH", 0, 0, 1, 1, len(central), where, 0)


def dicom_start(syntax: bytes = b"1.2.840.10008.1.2.1.99") -> bytes:
    syntax += b"\0" * (len(syntax) % 2)
    meta = b"\x02\x00\x10\x00UI" + struct.pack("<H", len(syntax)) + syntax
    return bytes(128) + b"DICM" + b"\x02\x00\x00\x00UL\x04\x00" + struct.pack("<I", len(meta)) + meta


def ct_elements(pixels: int) -> bytes:
    def short(group: int, element: int, vr: bytes, value: bytes) -> bytes:
        return struct.pack("<HH2sH", group, element, vr, len(value)) + value

    return b"".join(
        (
            short(8, 0x16, b"UI", b"1.2.840.10008.5.1.4.1.1.2\0"),
            short(8, 0x60, b"CS", b"CT"),
            short(0x28, 2, b"US", b"\x01\x00"),
            short(0x28, 0x10, b"US", b"\x00\x02"),
            short(0x28, 0x11, b"US", b"\x00\x02"),
            short(0x28, 0x100, b"US", b"\x10\x00"),
            struct.pack("<HH2sHI", 0x7FE0, 0x10, b"OW", 0, pixels),
        )
    )


def nrrd_head(shape: tuple[int, int, int], encoding: str) -> bytes:
    return (
        f"NRRD0005\ntype: short\ndimension: 3\nspace: LPS\nsizes: {shape[0]} {shape[1]} {shape[2]}\nendian: little\n"
        f"space directions: (1,0,0) (0,1,0) (0,0,1)\nspace origin: (0,0,0)\nencoding: {encoding}\n\n"
    ).encode()


def meta_head(shape: tuple[int, int, int]) -> bytes:
    return (
        f"ObjectType = Image\nNDims = 3\nCompressedData = True\nTransformMatrix = 1 0 0 0 1 0 0 0 1\nOffset = 0 0 0\n"
        f"ElementSpacing = 1 1 1\nDimSize = {shape[0]} {shape[1]} {shape[2]}\nElementType = MET_SHORT\n"
        "ElementDataFile = LOCAL\n"
    ).encode()


def bombs() -> dict[str, bytes]:
    whole = 20 * len(BLOCK)
    shape = (512, 512, whole // 2 // 512 // 512)
    complete = deflated_zeros(20, nifti_header(shape), wrapped=True)
    short = deflated_zeros(20, nifti_header((512, 512, shape[2] + 1)), wrapped=True)
    deflated = dicom_start() + deflated_zeros(20, ct_elements(whole))
    member = deflated_zeros(20, dicom_start(b"1.2.840.10008.1.2.1") + ct_elements(whole))
    size = len(dicom_start(b"1.2.840.10008.1.2.1") + ct_elements(whole)) + whole
    return {
        "promises more than comes.nii.gz": short,
        "promises less than comes.nii.gz": deflated_zeros(20, nifti_header((8, 8, 8)), wrapped=True),
        "wrong checksum.nii.gz": complete[:-8] + bytes(4) + complete[-4:],
        "complete.nii.gz": complete,
        "cut.nii.gz": complete[:-8_000],
        "beyond the budget.nii.gz": deflated_zeros(2, nifti_header((8192, 8192, 40)), wrapped=True) + bytes(2**22),
        "deflated.dcm": deflated,
        "one more slice.nrrd": nrrd_head((512, 512, shape[2] + 1), "gzip") + deflated_zeros(20, wrapped=True),
        "little.nrrd": nrrd_head((8, 8, 8), "gzip") + deflated_zeros(20, wrapped=True),
        "bzip2.nrrd": nrrd_head((512, 512, shape[2] + 1), "bzip2") + bz2.compress(BLOCK) * 20,
        "beyond.nrrd": nrrd_head((16384, 16384, 40), "bzip2") + bz2.compress(BLOCK),
        "text.nrrd": nrrd_head((16384, 16384, 3), "text") + b"0 " * 1000,
        "one more slice.mha": meta_head((512, 512, shape[2] + 1)) + zlib.compress(bytes(2)) + bytes(9),
        "little.mha": meta_head((8, 8, 8)) + b"\x78\x9c" + deflated_zeros(20),
        "zipped.zip": zip_bytes("a.nii", deflated_zeros(20, nifti_header((8, 8, 8))), whole + 352),
        "many zeros.zip": zip_bytes("a", deflated_zeros(135), 135 * len(BLOCK)),
        "one slice.zip": zip_bytes("a.dcm", member, size),
        "inside a zip.zip": zip_bytes("a.zip", zlib.compress(zip_bytes("b.nii", short, 1))[2:-4], len(short) + 109),
    }


@pytest.mark.slow
def test_a_refused_file_costs_little_memory(tmp_path: Path) -> None:
    """At most twice the size of the file and 200 MB, everything that Python needs itself included."""
    contents = bombs()
    for name, content in contents.items():
        (tmp_path / name).write_bytes(content)
    paths = [str(tmp_path / name) for name in contents]
    done = subprocess.run([sys.executable, "-c", READER, *paths], capture_output=True, text=True, check=True)
    for path, line in zip(paths, done.stdout.splitlines(), strict=True):
        errors, status, memory = json.loads(line)
        name = Path(path).name
        assert status == 0, name
        assert all(20 < len(error) < 400 and "\n" not in error for error in errors), (name, errors)
        assert memory < 2 * Path(path).stat().st_size + 200e6, (name, memory / 1e6, errors)


def test_budget() -> None:
    assert budget_bytes(1000) == SMALL_FILE_BYTES
    assert budget_bytes(30 * 2**20) == MAX_RATIO * 30 * 2**20
    assert budget_bytes(10**10) == 8 * 2**30


@pytest.mark.parametrize("packing", ["gzip", "zlib", "deflate", "bzip2"])
def test_streams_unpack_exactly(packing) -> None:
    import gzip

    content = np.random.default_rng(0).integers(0, 9, 300_000).astype(np.uint8).tobytes()
    packed = {
        "gzip": gzip.compress(content[:1000]) + gzip.compress(content[1000:]) + bytes(9),
        "zlib": zlib.compress(content),
        "deflate": zlib.compress(content)[2:-4],
        "bzip2": bz2.compress(content[:1000]) + bz2.compress(content[1000:]),
    }[packing]
    assert unpacked(packed, packing, 300_000, 300_010, "a").tobytes() == content
    assert b"".join(pieces(packed, packing, "a", step=777)) == content
    assert unpacked_start(packed, packing, 500, "a") == content[:500]
    for least, limit in ((300_001, 400_000), (10, 299_999)):
        with pytest.raises(FileFormatError, match="promise"):
            unpacked(packed, packing, least, limit, "a")
    with pytest.raises(FileFormatError):
        unpacked(packed[:-20], packing, 300_000, 300_000, "a")
    with pytest.raises(FileFormatError):
        unpacked(packed[:3000] + b"\x55\xaa" * 40 + packed[3080:], packing, 300_000, 300_000, "a")


def test_size_in_a_code_stream() -> None:
    jpeg_ls = b"\xff\xd8\xff\xf7\x00\x0b\x10\x01\x00\x02\x00\x01\x01\x11\x00"
    assert code_stream_size(jpeg_ls) == (256, 512)
    app = b"\xff\xd8\xff\xe0\x00\x04ab" + jpeg_ls[2:]
    assert code_stream_size(app) == (256, 512)
    j2k = b"\xff\x4f\xff\x51\x00\x29\x00\x00" + struct.pack(">IIII", 512, 256, 0, 0)
    assert code_stream_size(j2k) == (256, 512)
    assert code_stream_size(b"\x01\x00\x00\x00") is None

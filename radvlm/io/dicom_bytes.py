"""Bytes of DICOM files, unpacked within the budget: deflated files and members of zip archives.

A header is read from a stream that unpacks only as far as it is asked to, so a header costs no more than itself.
Pixels are unpacked when the header has said how many there are, and no further.
"""

from __future__ import annotations

import io
import struct
from collections.abc import Iterable
from typing import Any

from radvlm.errors import FileFormatError
from radvlm.io.inflation import MAX_RATIO, UNPROVEN_BYTES, needs_proof, pieces, refuse_beyond_budget, unpacked

#: Elements of a file beside its pixels (private data of scanners, overlays) take up to this much.
MAX_OTHER_BYTES = 32 * 2**20
#: What says how large the pixels of an image are.
PIXEL_SIZE_TAGS = ("Rows", "Columns", "NumberOfFrames", "SamplesPerPixel", "BitsAllocated")
_DEFLATED = b"1.2.840.10008.1.2.1.99"
_EXPLICIT = b"1.2.840.10008.1.2.1\0\0\0"
_LONG_LENGTHS = (b"OB", b"OW", b"OF", b"SQ", b"UN", b"UT", b"OD", b"OL", b"UC", b"UR", b"OV")


class LazyStream(io.RawIOBase):
    """A readable, seekable stream over pieces that are unpacked when they are asked for, up to ``limit`` bytes."""

    def __init__(self, source: Iterable[bytes], limit: int, name: str) -> None:
        super().__init__()
        self._source, self._limit, self.name = iter(source), limit, name
        self._held, self._at, self._ended = bytearray(), 0, False

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET, /) -> int:
        if whence == io.SEEK_END:
            self._unpack(None)
        self._at = max(0, offset + {io.SEEK_SET: 0, io.SEEK_CUR: self._at, io.SEEK_END: len(self._held)}[whence])
        return self._at

    def tell(self) -> int:
        return self._at

    def readinto(self, buffer: Any, /) -> int:
        wanted = len(buffer)
        self._unpack(self._at + wanted)
        part = self._held[self._at : self._at + wanted]
        buffer[: len(part)] = part
        self._at += len(part)
        return len(part)

    def _unpack(self, until: int | None) -> None:
        while not self._ended and (until is None or len(self._held) < until):
            piece = next(self._source, None)
            if piece is None:
                self._ended = True
                return
            self._held += piece
            if len(self._held) > self._limit:
                raise FileFormatError(
                    f"what stands before the pixels of a DICOM file takes at most {self._limit // 2**20} MiB",
                    f"{self.name}: it unpacks to more",
                    "The file is damaged; export it again",
                )


def header_stream(content: bytes, name: str) -> Any:
    """What pydicom reads a header from: the bytes as they are, or a deflated file unpacked as far as is read."""
    start = deflated_start(content)
    if start is None:
        return io.BytesIO(content)
    return io.BufferedReader(LazyStream(_plain_pieces(content, start, name), UNPROVEN_BYTES, name), 8192)


def plain(content: bytes, name: str) -> bytes:
    """The whole file with its dataset unpacked where it is deflated, and its transfer syntax changed accordingly.

    Raises FileFormatError when it unpacks to more than its header says of its pixels, or beyond the budget.
    """
    import pydicom

    start = deflated_start(content)
    if start is None:
        return content
    header = pydicom.dcmread(
        header_stream(content, name), stop_before_pixels=True, specific_tags=[*PIXEL_SIZE_TAGS], force=True
    )
    limit = pixel_bytes(header) + MAX_OTHER_BYTES
    packed = memoryview(content)[start:]
    refuse_beyond_budget(limit - MAX_OTHER_BYTES, len(content), name)
    body = unpacked(packed, "deflate", 0, limit, name)
    return _explicit_meta(content, start) + body.tobytes()


def pixel_bytes(header: Any) -> int:
    """How many bytes the pixels of an image take unpacked, by its header; 0 where it does not say."""
    count = 1
    for keyword in ("Rows", "Columns"):
        count *= max(0, int(header.get(keyword) or 0))
    for keyword in ("NumberOfFrames", "SamplesPerPixel"):
        count *= max(1, int(header.get(keyword) or 1))
    return -(-count * max(1, int(header.get("BitsAllocated") or 16)) // 8)


def require_fits_pixels(unpacked_bytes: int, packed_bytes: int, header: Any, name: str) -> None:
    """FileFormatError when a file unpacks to much more than its header says of its pixels."""
    promised = pixel_bytes(header) + MAX_OTHER_BYTES
    if needs_proof(unpacked_bytes, packed_bytes) and unpacked_bytes > promised:
        raise FileFormatError(
            "a DICOM file holds its pixels and little more",
            f"{name}: {packed_bytes} bytes that would unpack to {unpacked_bytes}, "
            f"where the header speaks of {pixel_bytes(header)} bytes of pixels",
            "The file is damaged; export it again",
        )


def deflated_start(content: bytes) -> int | None:
    """Where the deflated dataset of a file begins; None for a file that is not deflated as a whole."""
    at = 132 if content[128:132] == b"DICM" else 0
    deflated = False
    while content[at : at + 2] == b"\x02\x00" and at + 8 <= len(content):
        if content[at + 4 : at + 6] in _LONG_LENGTHS:
            (length,) = struct.unpack_from("<I", content[at + 8 : at + 12].ljust(4, b"\0"))
            begin = at + 12
        else:
            (length,) = struct.unpack_from("<H", content, at + 6)
            begin = at + 8
        if content[at + 2 : at + 4] == b"\x10\x00":
            deflated = content[begin : begin + length].strip(b"\0 ") == _DEFLATED
        at = begin + length
    return at if deflated else None


def _plain_pieces(content: bytes, start: int, name: str) -> Iterable[bytes]:
    yield _explicit_meta(content, start)
    yield from pieces(memoryview(content)[start:], "deflate", name, step=2**16)


def _explicit_meta(content: bytes, start: int) -> bytes:
    """The file's own beginning, which now says explicit little endian."""
    return content[:start].replace(_DEFLATED, _EXPLICIT, 1)


def require_all_pixels(dataset: Any, name: str) -> None:
    """FileFormatError when pixels that are not compressed are fewer than the header states: the file was cut short.

    So many frames, or parts of one, as are there are told, because NumberOfFrames may be what is wrong.
    """
    stated, held = pixel_bytes(dataset), len(dataset.PixelData or b"")
    if held >= stated:
        return
    frames = max(1, int(dataset.get("NumberOfFrames") or 1))
    if frames > 1:
        whole = held // max(1, stated // frames)
        raise FileFormatError(
            "a file holds every frame that its header states",
            f"{name}: NumberOfFrames is {frames}, and there are pixels of {whole}",
            "It was cut short, or the number is wrong: copy or download it again",
        )
    raise FileFormatError(
        "a slice holds every pixel that its header states",
        f"{name}: cut short, {held} of {stated} bytes of pixels are there",
        "Copy or download it again",
    )


def require_frame_as_stated(dataset: Any, number: int, name: str) -> None:
    """FileFormatError when a compressed frame is not of the size that the header states, before it is decoded.

    A code stream carries a size of its own, and decoders take memory by that.
    """
    from pydicom.encaps import get_frame

    frames = max(1, int(dataset.get("NumberOfFrames") or 1))
    packed = len(dataset.PixelData) // frames
    stated = pixel_bytes(dataset) // frames
    if stated > UNPROVEN_BYTES + MAX_RATIO * packed:
        raise FileFormatError(
            f"a compressed slice takes at most {MAX_RATIO} times its size, and {UNPROVEN_BYTES // 2**20} MiB",
            f"{name}: {packed} bytes for {dataset.Rows} x {dataset.Columns} pixels",
            "The file is damaged; export the series again",
        )
    size = code_stream_size(get_frame(dataset.PixelData, number, number_of_frames=frames))
    if size is not None and size != (int(dataset.Rows), int(dataset.Columns)):
        raise FileFormatError(
            "a compressed slice has the size that its header states",
            f"{name}: {size[0]} x {size[1]} in its code stream, {dataset.Rows} x {dataset.Columns} in its header",
            "The file is damaged; export the series again",
        )


def code_stream_size(code: bytes) -> tuple[int, int] | None:
    """(rows, columns) that a JPEG, JPEG-LS or JPEG 2000 code stream states; None where it states none."""
    if code[:4] == b"\xff\x4f\xff\x51" and len(code) >= 24:
        right, bottom, left, top = struct.unpack_from(">IIII", code, 8)
        return bottom - top, right - left
    at = 2
    while code[:2] == b"\xff\xd8" and at + 9 <= len(code) and code[at] == 0xFF:
        marker = code[at + 1]
        if marker in (0xF7, 0xC0, 0xC1, 0xC2, 0xC3, 0xC5, 0xC6, 0xC7, 0xC9, 0xCA, 0xCB, 0xCD, 0xCE, 0xCF):
            rows, columns = struct.unpack_from(">HH", code, at + 5)
            return rows, columns
        at += 1 if marker == 0xFF else 2 + int.from_bytes(code[at + 2 : at + 4], "big")
    return None

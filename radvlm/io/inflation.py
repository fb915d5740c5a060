"""One budget for everything that is unpacked: gzip, zlib, bare deflate, bzip2, and what a header says of its pixels.

A few kilobytes can unpack to gigabytes. So nothing is unpacked into memory before it is known how much it will be:
what a header promises is held against the size of the file first, and a promise that is large for its file is proven by
unpacking the stream once in small pieces that are thrown away. A stream that breaks its promise, its checksum or the
budget is refused before it has cost memory.
"""

from __future__ import annotations

import bz2
import zlib
from collections.abc import Iterator
from typing import Literal, Protocol

import numpy as np

from radvlm.errors import FileFormatError

Packing = Literal["gzip", "zlib", "deflate", "bzip2"]
#: Unpacked into memory without proof: this much, and twice the size of the file.
UNPROVEN_BYTES = 64 * 2**20
#: No file unpacks to more than this, however large it is (16 times a 1024 x 1024 x 256 CT in int16).
MAX_UNPACKED_BYTES = 8 * 2**30
#: A small file unpacks to at most this (a mask of 512 x 512 x 1024 voxels in 64-bit numbers) ...
SMALL_FILE_BYTES = 2 * 2**30
#: ... and any file to at most this many times its size, where that is more. CT voxels shrink to a half or a fourth.
MAX_RATIO = 100
#: No deflate stream expands by more than this factor, so a larger promise cannot be kept.
_MOST_BY_DEFLATE = 1040
_PIECE = 2**20
_FEED = 2**16
_MAGIC = {"gzip": b"\x1f\x8b", "bzip2": b"BZ"}
_WINDOW = {"gzip": 31, "zlib": 15, "deflate": -15}
_DAMAGED = "The file is truncated or damaged; copy or download it again"


class _Stream(Protocol):
    @property
    def eof(self) -> bool: ...
    @property
    def unused_data(self) -> bytes: ...
    def decompress(self, data: bytes, max_length: int, /) -> bytes: ...


def budget_bytes(packed_bytes: int) -> int:
    """The most that a file of this size may unpack to."""
    return min(MAX_UNPACKED_BYTES, max(SMALL_FILE_BYTES, MAX_RATIO * packed_bytes))


def needs_proof(promised_bytes: int, packed_bytes: int) -> bool:
    """True when so much is promised for the size of a file that it is proven before memory is taken."""
    return promised_bytes > UNPROVEN_BYTES + 2 * packed_bytes


def refuse_beyond_budget(promised_bytes: int, packed_bytes: int, name: str) -> None:
    """FileFormatError when what a header or an archive promises is more than its file may unpack to."""
    budget = budget_bytes(packed_bytes)
    if promised_bytes > budget:
        raise FileFormatError(
            f"a file unpacks to at most {_size(SMALL_FILE_BYTES)}, or {MAX_RATIO} times its size, "
            f"and never to more than {_size(MAX_UNPACKED_BYTES)}",
            f"{name}: {_size(packed_bytes)} that would unpack to {_size(promised_bytes)}",
            "Its header is damaged, or it is no scan; write the file again, or crop it first",
        )


def unpacked(
    packed: bytes | memoryview, packing: Packing, least: int, limit: int, name: str, *, varied_from: int | None = None
) -> np.ndarray:
    """The whole stream as bytes (N,), proven to be complete and to hold from ``least`` to ``limit`` bytes.

    ``varied_from``: where the voxels of a scan begin. Where so much is promised that it is proven first, they must not
    all be the same. Raises FileFormatError for a damaged stream, another length, and what is beyond the budget.
    """
    if packing != "bzip2" and least > len(packed) * _MOST_BY_DEFLATE:
        raise _wrong_length(name, f"at most {len(packed) * _MOST_BY_DEFLATE} bytes", least)
    refuse_beyond_budget(least, len(packed), name)
    if needs_proof(limit, len(packed)):
        _prove(packed, packing, least, limit, name, varied_from)
    out = np.empty(limit, np.uint8)
    held = 0
    for piece in pieces(packed, packing, name, limit):
        if held + len(piece) <= limit:
            out[held : held + len(piece)] = np.frombuffer(piece, np.uint8)
        held += len(piece)
    require_length(held, least, limit, name)
    return out[:held]


def unpacked_start(packed: bytes | memoryview, packing: Packing, wanted: int, name: str) -> bytes:
    """The first ``wanted`` bytes of a stream, or all where it is shorter; its end is not checked."""
    parts: list[bytes] = []
    held = 0
    try:
        for piece in pieces(packed, packing, name, wanted, step=min(_PIECE, wanted)):
            parts.append(piece)
            held += len(piece)
            if held >= wanted:
                break
    except FileFormatError:
        if not held:
            raise
    return b"".join(parts)[:wanted]


def pieces(
    packed: bytes | memoryview, packing: Packing, name: str, limit: int | None = None, *, step: int = _PIECE
) -> Iterator[bytes]:
    """What a stream holds, in pieces of at most ``step`` bytes; ends early once more than ``limit`` bytes came out.

    Several streams one after the other are one; padding with zeros after the last is ignored. Checksums and lengths are
    verified by the end. Raises FileFormatError where the stream is damaged or incomplete.
    """
    view = memoryview(packed)
    position = held = 0
    try:
        while position < len(view):
            stream = _opened(packing)
            rest = b""
            while not stream.eof:
                at_end = False
                if not rest and getattr(stream, "needs_input", True):
                    rest = bytes(view[position : position + _FEED])
                    position += len(rest)
                    at_end = not rest
                piece = stream.decompress(rest, step)
                rest = _unread(stream)
                if piece:
                    held += len(piece)
                    yield piece
                    if limit is not None and held > limit:
                        return
                elif at_end and not stream.eof:
                    raise EOFError
            if packing in ("zlib", "deflate"):
                return
            position -= len(stream.unused_data)
            while position < len(view) and view[position] == 0:
                position += 1
            if position < len(view) and bytes(view[position : position + 2]) != _MAGIC[packing]:
                raise FileFormatError(
                    f"a file ends with its {packing} stream",
                    f"{name}: {_size(len(view) - position)} after the end of the stream that are none of it",
                    "Something was appended to it, or it is damaged; copy or download it again",
                )
    except (zlib.error, *_damage(), EOFError, OSError, ValueError, OverflowError) as error:  # type: ignore[misc]
        if isinstance(error, FileFormatError):
            raise
        what = "the stream ends early" if isinstance(error, EOFError) else str(error).rstrip(".") or "damaged stream"
        raise FileFormatError(
            f"a {'.gz file' if packing == 'gzip' else packing + ' stream'} is one complete {packing} stream "
            "with a matching checksum",
            f"{name}: {what}",
            _DAMAGED,
        ) from error


def _prove(
    packed: bytes | memoryview, packing: Packing, least: int, limit: int, name: str, varied_from: int | None
) -> None:
    """Unpack everything once and keep nothing."""
    held, varied = 0, varied_from is None
    for piece in pieces(packed, packing, name, limit):
        if not varied and held >= (varied_from or 0):
            values = np.frombuffer(piece, np.uint8)
            varied = not np.array_equal(values[8:], values[:-8])  # any number of up to 8 bytes, over and over
        held += len(piece)
    require_length(held, least, limit, name)
    if not varied:
        raise FileFormatError(
            "a scan holds more than one value", f"{name}: all voxels are the same", "Write the file again"
        )


def _opened(packing: Packing) -> _Stream:
    if packing == "bzip2":
        return bz2.BZ2Decompressor()
    from isal import isal_zlib

    return isal_zlib.decompressobj(wbits=_WINDOW[packing])


def _damage() -> tuple[type[Exception], ...]:
    from isal import isal_zlib

    return (isal_zlib.error,)  # type: ignore[return-value]


def _unread(stream: _Stream) -> bytes:
    """What was fed and not used yet, to be fed again (bzip2 keeps it itself)."""
    return getattr(stream, "unconsumed_tail", b"")


def require_length(held: int, least: int, limit: int, name: str) -> None:
    """FileFormatError unless a file holds what its header promises, and little more."""
    if held < least:
        raise _wrong_length(name, f"{held} bytes", least)
    if held > limit:
        raise FileFormatError(
            "a file ends after its last voxel",
            f"{name}: more than {limit} bytes, as its header promises",
            "The header and the voxels disagree; write the file again",
        )


def _wrong_length(name: str, held: str, promised: int) -> FileFormatError:
    return FileFormatError(
        "a file holds every voxel that its header promises",
        f"{name}: {held} where the header promises {promised}",
        "The file is truncated or its header is damaged; copy or download it again",
    )


def _size(count: int) -> str:
    for unit, size in (("GiB", 2**30), ("MiB", 2**20), ("KiB", 2**10)):
        if count >= size:
            return f"{count / size:.3g} {unit}"
    return f"{count} bytes"

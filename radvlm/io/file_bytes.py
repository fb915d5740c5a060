"""Bytes of one file, and the voxels in them: whole, of the promised number, in native byte order."""

from __future__ import annotations

import hashlib
import os
import stat
import zipfile
from pathlib import Path

import numpy as np

from radvlm.errors import FileFormatError
from radvlm.io.inflation import MAX_UNPACKED_BYTES, Packing, refuse_beyond_budget, require_length, unpacked
from radvlm.io.unfetched import lost_link, pointer
from radvlm.types.provenance import SourceFile

#: Padding after the last voxel that is ignored; more means that header and data disagree.
MAX_TRAILING_BYTES = 4096
#: Headers are not larger than this.
MAX_HEADER_BYTES = 16 * 2**20
_SIGNATURES = (
    (b"\x89PNG", "a PNG picture"),
    (b"\xff\xd8\xff", "a JPEG picture"),
    (b"NRRD", "an NRRD file"),
    (b"PK\x03\x04", "a zip archive"),
    (b"ObjectType", "a MetaImage header"),
    (b"%PDF", "a PDF document"),
    (b"\x89HDF", "an HDF5 file"),
    (b"\x93NUMPY", "a NumPy array"),
    (b"GIF8", "a GIF picture"),
    (b"\x1f\x8b", "a gzip file"),
    (b"BM", "a BMP picture"),
    (b"BZh", "a bzip2 file"),
    (b"\x28\xb5\x2f\xfd", "a zstd file"),
    (b"\xfd7zXZ", "an xz file"),
    (b"7z\xbc\xaf\x27\x1c", "a 7z archive"),
    (b"Rar!", "a rar archive"),
    (b"PK\x05\x06", "an empty zip archive"),
)


def file_bytes(path: Path) -> tuple[bytes, SourceFile]:
    """All bytes of a file and its digest. Raises FileFormatError when it is missing, empty or not readable."""
    try:
        require_regular(path)
        size = path.stat().st_size
        if size > MAX_UNPACKED_BYTES + MAX_HEADER_BYTES:
            raise FileFormatError(
                "a file has a readable size", f"{path.name}: {size / 2**30:.1f} GiB", "Crop or resample the scan first"
            )
        content = path.read_bytes()
    except FileNotFoundError:
        raise missing_file(path, "the file exists") from None
    except IsADirectoryError:
        raise FileFormatError("the path names a file", f"the folder {path}", "Name the file inside it") from None
    except FileFormatError:
        raise
    except (OSError, ValueError) as error:  # ValueError: a NUL character in the path
        reason = getattr(error, "strerror", None) or str(error)
        raise FileFormatError("the file can be read", f"{path.name}: {reason}", "Check its permissions") from error
    if not content:
        raise FileFormatError("an image file is not empty", f"{path.name}: 0 bytes", "Copy or download it again")
    if (elsewhere := pointer(content[:64])) is not None:
        raise FileFormatError("the file itself is here", f"{path.name}: {elsewhere.what}", elsewhere.remedy)
    return content, SourceFile(path.name, len(content), hashlib.sha256(content).hexdigest())


def missing_file(path: Path, rule: str) -> FileFormatError:
    """The error for a path that does not exist; a link that leads nowhere is told as one."""
    link = lost_link(path)
    if link is not None:
        return FileFormatError("links lead to a file or folder", f"{path}: {link.what}", link.remedy)
    return FileFormatError(rule, f"{path}, which does not exist", "Check the path")


def refuse_cut_archive(path: Path) -> None:
    """FileFormatError for a file that begins as a zip archive and lacks its end, where its members are listed."""
    if first_bytes(path, 4) == b"PK\x03\x04" and not zipfile.is_zipfile(path):
        raise FileFormatError(
            "a zip archive is whole",
            f"{path.name}: the archive is cut short, its end with the list of its files is missing",
            "Copy or download it again",
        )


def require_regular(path: Path) -> None:
    """FileFormatError for a pipe, a device or a socket, which may never end; what does not exist passes."""
    try:
        mode = path.stat().st_mode
    except (OSError, ValueError):
        return
    if not (stat.S_ISREG(mode) or stat.S_ISDIR(mode)):
        kinds = ((stat.S_ISFIFO, "a pipe"), (stat.S_ISSOCK, "a socket"))
        kind = next((words for test, words in kinds if test(mode)), "a device")
        raise FileFormatError(
            "scans and masks are read from regular files", f"{path.name}: {kind}", "Write it to a file first"
        )


def first_bytes(path: Path, count: int = 4096) -> bytes:
    """The first bytes of a file; b"" when it cannot be read. Raises as ``require_regular`` does."""
    require_regular(path)
    try:
        with path.open("rb") as file:
            return file.read(count)
    except (OSError, ValueError):
        return b""


def looks_like(start: bytes) -> str:
    """What a file seems to be, in words, from its first bytes."""
    if start[128:132] == b"DICM":
        return "a DICOM file"
    if start[257:262] == b"ustar":
        return "a tar archive"
    if (elsewhere := pointer(start)) is not None:
        return elsewhere.what
    for signature, what in _SIGNATURES:
        if start.startswith(signature):
            return what
    if start and all(32 <= byte < 127 or byte in b"\t\r\n" for byte in start[:256]):
        return "a text file"
    return f"{len(start)} bytes without a NIfTI header" if len(start) < 348 else "no NIfTI header"


def named_path(path: str | os.PathLike[str], what: str) -> Path:
    """``path``, unless it is empty: that would be read as the current folder. Raises FileFormatError then."""
    if not os.fspath(path):
        raise FileFormatError(f"{what} has a path", "an empty path", "Is a variable not set? The current folder is .")
    return Path(path)


def path_exists(path: Path) -> bool:
    """Whether there is such a file or folder; False too for a name that no file can have (too long, with a NUL)."""
    try:
        return path.exists()
    except (OSError, ValueError):
        return False


def file_beside(header: Path, name: str) -> Path:
    """The data file that a header names, which must lie in the folder of the header.

    Raises FileFormatError for a name that leads out of that folder, and when there is no such file.
    """
    inner = name.strip().replace("\\", "/")
    if not inner or inner.startswith("/") or ".." in inner.split("/") or ":" in inner or "\0" in inner:
        raise FileFormatError(
            "a header names a data file in its own folder",
            f"{header.name}: {inner[:80]!r}",
            "Put both files into one folder and correct the name in the header",
        )
    path = header.parent / inner
    if not path_exists(path) or not path.is_file():
        raise FileFormatError(
            "the data file that a header names lies beside it",
            f"{header.name} names {inner[:80]!r}, which is not there",
            "Copy both files",
        )
    return path


def packed_voxels(
    packed: bytes | memoryview, packing: Packing | None, dtype: np.dtype, count: int, name: str, *, is_scan: bool
) -> np.ndarray:
    """(count,) numbers in native byte order from the bytes that hold them; ``packing`` None where they are raw.

    ``is_scan``: a scan, and no mask, is not one value throughout. Raises FileFormatError for another length, a damaged
    stream, and what unpacks beyond the budget.
    """
    need = count * dtype.itemsize
    if packing is None:
        require_length(len(packed), need, need + MAX_TRAILING_BYTES, name)
        content = np.frombuffer(packed, np.uint8)
    else:
        content = unpacked(packed, packing, need, need + MAX_TRAILING_BYTES, name, varied_from=0 if is_scan else None)
    values = content[:need].view(dtype)
    return values if dtype.isnative else values.astype(dtype.newbyteorder("="))


def voxel_count(sizes: tuple[int, ...], dtype: np.dtype, packed_bytes: int, name: str) -> int:
    """Voxels of an image of these sizes; FileFormatError when they are beyond the budget for a file of that size."""
    count = 1
    for size in sizes:
        count *= size
    refuse_beyond_budget(count * dtype.itemsize, packed_bytes, name)
    return count


def written_numbers(text: bytes | memoryview, dtype: np.dtype, count: int, name: str) -> np.ndarray:
    """(count,) numbers that are written as text with blanks between them."""
    import warnings

    view = memoryview(text)
    if len(view) < 2 * count - 1:
        raise _other_count(name, f"at most {(len(view) + 1) // 2}", count)
    values = np.empty(count, dtype.newbyteorder("="))
    held, start, piece = 0, 0, 2**20
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        while start < len(view):
            part = bytes(view[start : start + piece])
            if start + piece < len(view):  # up to the last blank, so that no number is cut
                end = max(part.rfind(blank) for blank in (b" ", b"\n", b"\t", b"\r")) + 1
                part = part[: end or len(part)]
            start += len(part)
            try:
                numbers = np.fromstring(part.decode("ascii"), np.float64, sep=" ") if part.strip() else np.empty(0)
            except (ValueError, DeprecationWarning):
                raise _other_count(name, f"something else after {held}", count) from None
            if held + len(numbers) > count:
                raise _other_count(name, f"more than {count}", count)
            fits = dtype.kind == "f" or _fit_integers(numbers, dtype)
            if not fits:
                raise FileFormatError(
                    "numbers fit the type that the header states", f"{name}: type {dtype}", "Write the file again"
                )
            with np.errstate(over="ignore"):
                values[held : held + len(numbers)] = numbers
            held += len(numbers)
    if held != count:
        raise _other_count(name, str(held), count)
    return values


def _fit_integers(numbers: np.ndarray, dtype: np.dtype) -> bool:
    limits = np.iinfo(dtype)
    return bool(np.isfinite(numbers).all() and ((numbers >= limits.min) & (numbers <= limits.max)).all())


def _other_count(name: str, held: str, promised: int) -> FileFormatError:
    return FileFormatError(
        "a file holds every voxel that its header promises",
        f"{name}: {held} numbers where the header promises {promised}",
        "The file is truncated or damaged; copy or download it again",
    )


def require_listing(folder: Path) -> None:
    """Raise FileFormatError for a folder that may not be listed or entered."""
    try:
        for item in folder.iterdir():
            item.stat()
            break
    except FileNotFoundError:
        return  # a link that leads nowhere is named elsewhere
    except OSError as error:
        why = error.strerror or type(error).__name__
        raise FileFormatError("a folder can be listed", f"{folder.name}: {why}", "Check its permissions") from error

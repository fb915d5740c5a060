"""MetaImage files: ``.mha``, and ``.mhd`` with its voxels in a file beside it.

World coordinates are left-posterior-superior mm, always, as ITK reads them (``AnatomicalOrientation`` describes the
axes and changes nothing). Read here for the same reasons as NRRD: one budget for what is unpacked, damage is an error.
The format: https://itk.org/Wiki/ITK/MetaIO/Documentation.
"""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np

from radvlm.errors import FileFormatError, GridError
from radvlm.io.file_bytes import MAX_HEADER_BYTES, file_beside, file_bytes, packed_voxels, voxel_count, written_numbers
from radvlm.io.inflation import Packing
from radvlm.io.raw import StoredImage
from radvlm.types.geometry import MAX_AXIS
from radvlm.types.provenance import Decision, SourceFile

_TYPES = {
    "MET_CHAR": "i1",
    "MET_UCHAR": "u1",
    "MET_SHORT": "i2",
    "MET_USHORT": "u2",
    "MET_INT": "i4",
    "MET_UINT": "u4",
    "MET_LONG": "i4",  # MetaIO writes 4 bytes for a long on every system
    "MET_ULONG": "u4",
    "MET_LONG_LONG": "i8",
    "MET_ULONG_LONG": "u8",
    "MET_FLOAT": "f4",
    "MET_DOUBLE": "f8",
}
_LPS_TO_RAS = np.diag([-1.0, -1.0, 1.0, 1.0])
_DAMAGED = "Its header is damaged; write the file again"


def is_metaimage(start: bytes) -> bool:
    """True when a file begins as a MetaImage header does."""
    return bool(re.match(rb"\s*(ObjectType|NDims|Comment|TransformType)\s*=", start[:256])) and b"=" in start[:256]


def read_metaimage(path: Path, *, is_scan: bool = False) -> StoredImage:
    """Read one 3D MetaImage.

    Raises:
        FileFormatError: missing, truncated, damaged, several values per voxel, a type that MetaImage does not have.
        GridError: not one 3D image, or no usable grid.
    """
    content, source = file_bytes(path)
    fields, end = _header(content, path.name)
    sizes = _sizes(fields, path.name)
    dtype = _dtype(fields, path.name)
    block, sources = _block(fields, content, end, path)
    count = voxel_count(sizes, dtype, sum(len(part) for part in block), path.name)
    parts = [_decoded(fields, part, dtype, count // len(block), path.name, is_scan) for part in block]
    voxels = parts[0] if len(parts) == 1 else np.concatenate(parts)
    affine, decisions = _affine(fields, path.name)
    return StoredImage(
        voxels.reshape(sizes[:3], order="F"), affine, sources=(source, *sources), decisions=decisions, step="metaimage"
    )


def _header(content: bytes, name: str) -> tuple[dict[str, str], int]:
    """Fields in lower case, and where the voxels begin (after the line ``ElementDataFile``)."""
    last = re.compile(rb"^[ \t]*ElementDataFile[ \t]*=[^\n]*(\n|\Z)", re.MULTILINE).search(content[:MAX_HEADER_BYTES])
    if last is None:
        raise FileFormatError("a MetaImage header names its ElementDataFile", f"{name}: none", _DAMAGED)
    fields: dict[str, str] = {}
    for line in content[: last.end()].decode("utf-8", "replace").splitlines():
        field, found, value = line.partition("=")
        if found:
            fields[field.strip().lower()] = value.strip()
    return fields, last.end()


def _numbers(text: str, count: int, what: str, name: str) -> list[float]:
    try:
        values = [float(word) for word in text.split()]
    except ValueError:
        values = []
    if len(values) != count or not np.isfinite(values).all():
        raise GridError(f"{what} is {count} finite numbers", f"{name}: {text[:80]!r}", _DAMAGED)
    return values


def _sizes(fields: dict[str, str], name: str) -> tuple[int, ...]:
    words = fields.get("dimsize", "").split()
    if fields.get("ndims", str(len(words))) != str(len(words)) or not all(
        re.fullmatch(r"[0-9]{1,9}", word) for word in words
    ):
        raise GridError(
            "DimSize has as many whole numbers as NDims says",
            f"{name}: DimSize {fields.get('dimsize', 'missing')[:60]!r}, NDims {fields.get('ndims', 'missing')[:20]!r}",
            _DAMAGED,
        )
    sizes = tuple(int(word) for word in words)
    if len(sizes) < 3 or any(size != 1 for size in sizes[3:]):
        raise GridError(
            "the image is one 3D volume", f"{name}: shape {sizes}", "Pass the whole volume, one channel and one time"
        )
    if any(not 1 <= size <= MAX_AXIS for size in sizes):
        raise GridError(f"every axis has 1 to {MAX_AXIS} voxels", f"{name}: {sizes}", _DAMAGED)
    return sizes


def _dtype(fields: dict[str, str], name: str) -> np.dtype:
    kind = fields.get("elementtype", "").upper()
    if kind not in _TYPES:
        raise FileFormatError(
            "voxels are real numbers", f"{name}: ElementType {kind[:40]!r}", "Convert the image to MET_SHORT"
        )
    if fields.get("elementnumberofchannels", "1") != "1":
        raise FileFormatError(
            "voxels are one real number each",
            f"{name}: {fields['elementnumberofchannels'][:20]} channels",
            "Convert the image to one value per voxel",
        )
    big = _is_true(fields, "elementbyteordermsb") or _is_true(fields, "binarydatabyteordermsb")
    return np.dtype((">" if big else "<") + _TYPES[kind])


def _is_true(fields: dict[str, str], field: str) -> bool:
    return fields.get(field, "").lower() in ("true", "t", "1", "yes")


def _affine(fields: dict[str, str], name: str) -> tuple[np.ndarray, tuple[Decision, ...]]:
    count = len(fields.get("dimsize", "").split())
    spacing = _numbers(
        fields.get("elementspacing") or fields.get("elementsize") or " ".join(["1"] * count),
        count,
        "ElementSpacing",
        name,
    )
    origin = next((fields[field] for field in ("offset", "position", "origin") if field in fields), None)
    matrix = next((fields[field] for field in ("transformmatrix", "rotation", "orientation") if field in fields), None)
    position = _numbers(origin if origin is not None else " ".join(["0"] * count), count, "Offset", name)
    directions = np.eye(count)
    if matrix is not None:  # one row for each axis of the array
        directions = np.array(_numbers(matrix, count * count, "TransformMatrix", name)).reshape(count, count).T
    own = np.eye(4)
    own[:3, :3] = directions[:3, :3] * np.array(spacing[:3])
    own[:3, 3] = position[:3]
    affine = _LPS_TO_RAS @ own + 0.0
    if abs(np.linalg.det(affine[:3, :3])) < 1e-12:
        raise GridError("the header holds a usable orientation", f"{name}: {affine[:3].tolist()}"[:300], _DAMAGED)
    told = []
    if matrix is None:
        what = (
            "The header states no orientation (no TransformMatrix): stored axes were taken as left, posterior, superior"
        )
        told.append(f"{what}, as ITK does, so sides may be wrong.")
    if not (fields.get("elementspacing") or fields.get("elementsize")):
        what = "The header states no size of a voxel (no ElementSpacing): 1 mm was taken, as ITK does"
        told.append(f"{what}, so every size may be wrong.")
    return affine, tuple(Decision("metaimage", what, warning=True) for what in told)


def _block(fields: dict[str, str], content: bytes, end: int, path: Path) -> tuple[list[memoryview], list[SourceFile]]:
    """The bytes of the voxels, in one piece or one for each slice file, and the files that they came from."""
    where = fields["elementdatafile"]
    if where.upper() in ("LOCAL", "LOCAL."):
        return [_from_offset(fields, memoryview(content)[end:], path.name)], []
    words = where.split()
    names = [where]
    if words and words[0].upper() == "LIST":
        names = [line.strip() for line in content[end:].decode("utf-8", "replace").splitlines() if line.strip()]
    elif len(words) == 4 and "%" in words[0] and all(re.fullmatch(r"[0-9]{1,6}", word) for word in words[1:]):
        pattern = re.fullmatch(r"([^%]*)%0?([0-9]?)d([^%]*)", words[0])
        numbers = range(int(words[1]), int(words[2]) + 1, max(1, int(words[3])))
        if pattern:
            names = [f"{pattern[1]}{number:0{int(pattern[2] or 0)}d}{pattern[3]}" for number in numbers]
    if not names or _sizes(fields, path.name)[2] % len(names):
        raise FileFormatError("a list of data files has one for each slice", f"{path.name}: {len(names)}", _DAMAGED)
    found = [file_bytes(file_beside(path, name)) for name in names]
    return [_from_offset(fields, memoryview(held), path.name) for held, _ in found], [source for _, source in found]


def _from_offset(fields: dict[str, str], block: memoryview, name: str) -> memoryview:
    """Without the bytes that ``HeaderSize`` says to skip; -1: the voxels are the end of the file."""
    word = fields.get("headersize", "0")
    if not re.fullmatch(r"-1|[0-9]{1,12}", word):
        raise FileFormatError("HeaderSize is a whole number", f"{name}: {word[:40]!r}", _DAMAGED)
    if word != "-1":
        return block[int(word) :]
    need = _dtype(fields, name).itemsize
    for size in _sizes(fields, name):
        need *= size
    return block[max(0, len(block) - need) :]


def _decoded(
    fields: dict[str, str], block: memoryview, dtype: np.dtype, count: int, name: str, is_scan: bool
) -> np.ndarray:
    if fields.get("binarydata", "True").lower() in ("false", "f", "0", "no"):
        return written_numbers(block, dtype, count, name)
    packing: Packing | None = None
    if _is_true(fields, "compresseddata"):
        packing = "gzip" if bytes(block[:2]) == b"\x1f\x8b" else "zlib"
        size = fields.get("compresseddatasize", "")
        if re.fullmatch(r"[1-9][0-9]{0,12}", size):
            block = block[: int(size)]
    return packed_voxels(block, packing, dtype, count, name, is_scan=is_scan)

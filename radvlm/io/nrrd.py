"""NRRD files (``.nrrd``, ``.nhdr`` with its data beside it) and 3D Slicer's segmentations (``.seg.nrrd``).

Read here rather than by a package, because what such a file unpacks to has to stay within one budget
(``radvlm.io.inflation``), a checksum that does not fit has to be an error, and because ITK takes a file that states no
space as left-posterior-superior without a word. The format: https://teem.sourceforge.net/nrrd/format.html.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from radvlm.errors import FileFormatError, GridError
from radvlm.io.file_bytes import (
    MAX_HEADER_BYTES,
    MAX_TRAILING_BYTES,
    file_beside,
    file_bytes,
    packed_voxels,
    voxel_count,
    written_numbers,
)
from radvlm.io.inflation import Packing, require_length
from radvlm.io.raw import StoredImage, StoredSegment
from radvlm.io.world_units import in_mm
from radvlm.types.geometry import MAX_AXIS
from radvlm.types.provenance import Decision, SourceFile

_TYPES = {
    **dict.fromkeys(("signed char", "int8", "int8_t"), "i1"),
    **dict.fromkeys(("uchar", "unsigned char", "uint8", "uint8_t"), "u1"),
    **dict.fromkeys(("short", "short int", "signed short", "signed short int", "int16", "int16_t"), "i2"),
    **dict.fromkeys(("ushort", "unsigned short", "unsigned short int", "uint16", "uint16_t"), "u2"),
    **dict.fromkeys(("int", "signed int", "int32", "int32_t"), "i4"),
    **dict.fromkeys(("uint", "unsigned int", "uint32", "uint32_t"), "u4"),
    **dict.fromkeys(
        ("longlong", "long long", "long long int", "signed long long", "signed long long int", "int64", "int64_t"), "i8"
    ),
    **dict.fromkeys(("ulonglong", "unsigned long long", "unsigned long long int", "uint64", "uint64_t"), "u8"),
    "float": "f4",
    "double": "f8",
}
_PACKINGS: dict[str, Packing] = {"gzip": "gzip", "gz": "gzip", "bzip2": "bzip2", "bz2": "bzip2"}
_ABBREVIATED = {"ras": "right-anterior-superior", "las": "left-anterior-superior", "lps": "left-posterior-superior"}
_TOWARD = {"right": (0, 1), "left": (0, -1), "anterior": (1, 1), "posterior": (1, -1), "superior": (2, 1)}
_TOWARD["inferior"] = (2, -1)
_MM_PER_UNIT = {
    "mm": 1.0,
    "millimeter": 1.0,
    "millimeters": 1.0,
    "millimetre": 1.0,
    "meter": 1000.0,
    "cm": 10.0,
    "m": 1000.0,
    "um": 0.001,
    "µm": 0.001,
}
_COLOR_KINDS = frozenset({"rgb-color", "rgba-color", "hsv-color", "xyz-color", "complex", "quaternion"})
_DAMAGED = "Its header is damaged; write the file again"


def is_nrrd(start: bytes) -> bool:
    """True when a file begins as NRRD does."""
    return start[:4] == b"NRRD"


def read_nrrd(path: Path, *, is_scan: bool = False) -> StoredImage:
    """Read one 3D NRRD file, or a segmentation with several layers.

    Raises:
        FileFormatError: missing, truncated, damaged, color voxels, an encoding or a type that NRRD does not have.
        GridError: not one 3D image, or no usable grid.
    """
    content, source = file_bytes(path)
    fields, keys, end = _header(content, path.name)
    dtype, sizes = _dtype(fields, path.name), _sizes(fields, path.name)
    voxels, sources = _voxels(fields, content[end:], dtype, sizes, path, is_scan)
    layered, spatial = _axes(fields, sizes, path.name)
    affine, decisions = _affine(fields, path.name)
    segments = _segments(keys, layered)
    array = voxels.reshape(sizes, order="F")
    array = array if layered is None else np.moveaxis(array, layered, 0)
    if layered is not None and array.shape[0] > 1 and not segments:
        raise GridError(
            "the image is one 3D volume",
            f"{path.name}: shape {sizes}",
            "Split the time series or channels, and pass one of them",
        )
    layers = tuple(array) if layered is not None else (array,)
    assert all(layer.shape == spatial for layer in layers)
    return StoredImage(
        layers[0],
        affine,
        sources=(source, *sources),
        decisions=decisions,
        more_layers=layers[1:],
        segments=segments,
        step="nrrd",
    )


# -- header -----------------------------------------------------------------------------------------------------------


def _header(content: bytes, name: str) -> tuple[dict[str, str], dict[str, str], int]:
    """Fields (``name: value``), keys (``name:=value``), and where the header ends."""
    blank = re.compile(rb"\r?\n\r?\n").search(content[:MAX_HEADER_BYTES])
    end = blank.end() if blank else len(content)
    if end > MAX_HEADER_BYTES:
        raise FileFormatError("an NRRD header ends with a blank line", f"{name}: none was found", _DAMAGED)
    lines = content[: blank.start() if blank else end].decode("utf-8", "replace").splitlines()
    if not lines or not re.fullmatch(r"NRRD000[1-9]", lines[0].strip()):
        raise FileFormatError("the file is NRRD", f"{name}: {content[:8]!r}", "Write the file again")
    fields: dict[str, str] = {}
    keys: dict[str, str] = {}
    files: list[str] = []
    for line in lines[1:]:
        if files or line.startswith("#") or not line.strip():
            files += [line.strip()] if files and line.strip() else []
            continue
        field, found, value = line.partition(": ")
        key, assigned, text = line.partition(":=")
        if assigned and (not found or len(key) < len(field)):
            keys[key.strip()] = text.strip()
        elif found or line.rstrip().endswith(":"):
            field = field.rstrip(":").strip().lower().replace(" ", "")
            fields[field] = value.strip()
            if field == "datafile" and value.strip().upper().startswith("LIST"):
                files = [""]
    if files:
        fields["listed"] = "\n".join(file for file in files if file)
    return fields, keys, end


def _needed(fields: dict[str, str], field: str, name: str) -> str:
    if field not in fields:
        raise FileFormatError(f"an NRRD header states its {field}", f"{name}: none", _DAMAGED)
    return fields[field]


def _dtype(fields: dict[str, str], name: str) -> np.dtype:
    kind = _needed(fields, "type", name).lower()
    if kind not in _TYPES:
        raise FileFormatError(
            "voxels are real numbers", f"{name}: type {kind[:40]!r}", "Convert the image to short or float"
        )
    endian = fields.get("endian", "little").lower()
    if endian not in ("little", "big"):
        raise FileFormatError("endian is little or big", f"{name}: {endian[:40]!r}", _DAMAGED)
    return np.dtype(("<" if endian == "little" else ">") + _TYPES[kind])


def _sizes(fields: dict[str, str], name: str) -> tuple[int, ...]:
    text = _needed(fields, "sizes", name)
    sizes = tuple(int(word) for word in text.split() if re.fullmatch(r"[0-9]{1,9}", word))
    dimension = _needed(fields, "dimension", name)
    if len(sizes) != len(text.split()) or str(len(sizes)) != dimension.strip():
        raise GridError(
            "the sizes of an NRRD header are as many as its dimension says",
            f"{name}: sizes {text[:60]!r}, dimension {dimension[:20]!r}",
            _DAMAGED,
        )
    if not 3 <= len(sizes) <= 4:
        raise GridError("the image is one 3D volume", f"{name}: shape {sizes}", "Pass the whole volume, not one slice")
    if any(not 1 <= size <= MAX_AXIS for size in sizes):
        raise GridError(f"every axis has 1 to {MAX_AXIS} voxels", f"{name}: {sizes}", _DAMAGED)
    return sizes


def _axes(fields: dict[str, str], sizes: tuple[int, ...], name: str) -> tuple[int | None, tuple[int, ...]]:
    """Which axis is not of space (None for a 3D file), and the sizes of the others."""
    if len(sizes) == 3:
        return None, sizes
    kinds = fields.get("kinds", "").lower().split()
    if len(kinds) == 4 and any(kind in _COLOR_KINDS or "vector" in kind for kind in kinds) and max(sizes) > 1:
        kind = next(kind for kind in kinds if kind in _COLOR_KINDS or "vector" in kind)
        if sizes[kinds.index(kind)] > 1:
            raise FileFormatError(
                "voxels are one real number each", f"{name}: kind {kind}", "Convert the image to one value per voxel"
            )
    vectors = _vectors(fields.get("spacedirections", ""))
    outside = [axis for axis, vector in enumerate(vectors) if vector is None]
    if len(vectors) != 4 or len(outside) != 1:
        outside = [axis for axis, kind in enumerate(kinds) if kind not in ("domain", "space")][:1] or [3]
    return outside[0], tuple(size for axis, size in enumerate(sizes) if axis != outside[0])


def _vectors(text: str) -> list[tuple[float, ...] | None]:
    found: list[tuple[float, ...] | None] = []
    for word in re.findall(r"none|\([^)]*\)", text):
        if word == "none":
            found.append(None)
            continue
        try:
            found.append(tuple(float(part) for part in word.strip("()").split(",")))
        except ValueError:
            found.append(())
    return found


def _affine(fields: dict[str, str], name: str) -> tuple[np.ndarray, tuple[Decision, ...]]:
    """Index of the three axes of space to RAS+ mm, and what had to be decided."""
    vectors = [vector for vector in _vectors(fields.get("spacedirections", "")) if vector is not None]
    decisions: list[Decision] = []
    own = np.eye(4)
    if vectors:
        if len(vectors) != 3 or any(len(vector) != 3 for vector in vectors):
            raise GridError(
                "space directions are three vectors of three numbers",
                f"{name}: {fields['spacedirections'][:80]}",
                _DAMAGED,
            )
        own[:3, :3] = np.array(vectors).T
        origin = _vectors(fields.get("spaceorigin", "(0,0,0)"))
        if len(origin) != 1 or origin[0] is None or len(origin[0]) != 3:
            raise GridError("space origin is three numbers", f"{name}: {fields['spaceorigin'][:80]}", _DAMAGED)
        own[:3, 3] = origin[0]
    else:
        own[:3, :3] = np.diag(_spacings(fields, name))
    units = {word.strip('"').lower() for word in re.findall(r'"[^"]*"', fields.get("spaceunits", ""))} - {""}
    if len(units) > 1 or not units <= {*_MM_PER_UNIT}:
        what = f"The header states lengths in {', '.join(sorted(units))[:60]}, which says no one unit: taken as mm."
        decisions.append(Decision("nrrd", what, warning=True))
    elif units and (factor := _MM_PER_UNIT[unit := units.pop()]) != 1.0:
        own, converted = in_mm(own, unit, factor, name, "nrrd")
        decisions += converted
    turn = _to_ras(fields.get("space", "")) if vectors else None
    if turn is None:
        turn = np.diag([-1.0, -1.0, 1.0])
        decisions.append(
            Decision(
                "nrrd",
                "The header states no orientation (no anatomical space with directions): stored axes were taken as "
                "left, posterior, superior, as ITK does, so sides may be wrong.",
                warning=True,
            )
        )
    affine = np.eye(4)
    affine[:3] = turn @ own[:3] + 0.0
    if not np.isfinite(affine).all() or abs(np.linalg.det(affine[:3, :3])) < 1e-12:
        raise GridError("the header holds a usable orientation", f"{name}: {affine[:3].tolist()}"[:300], _DAMAGED)
    return affine, tuple(decisions)


def _spacings(fields: dict[str, str], name: str) -> list[float]:
    words = fields.get("spacings", "1 1 1").split()
    try:
        values = [float(word) for word in words if word.lower() != "nan"]
    except ValueError:
        values = []
    if len(values) != 3 or not all(np.isfinite(values)) or min(values) <= 0:
        raise GridError(
            "voxel sizes are finite and above 0", f"{name}: spacings {fields.get('spacings', 'none')[:60]}", _DAMAGED
        )
    return values


def _to_ras(space: str) -> np.ndarray | None:
    """3x3 from the axes of an anatomical space to RAS+; None for a space that says nothing about the patient."""
    words = _ABBREVIATED.get(space.strip().lower(), space.strip().lower()).split("-")
    turn = np.zeros((3, 3))
    for axis, word in enumerate(words):
        if word not in _TOWARD or axis > 2:
            return None
        turn[_TOWARD[word][0], axis] = _TOWARD[word][1]
    return turn if abs(np.linalg.det(turn)) == 1 else None


# -- voxels -----------------------------------------------------------------------------------------------------------


def _voxels(
    fields: dict[str, str], rest: bytes, dtype: np.dtype, sizes: tuple[int, ...], path: Path, is_scan: bool
) -> tuple[np.ndarray, list[SourceFile]]:
    encoding = fields.get("encoding", "raw").lower()
    if encoding not in ("raw", "hex", "txt", "text", "ascii", *_PACKINGS):
        raise FileFormatError(
            "the encoding of an NRRD file is raw, gzip, bzip2, hex or text", f"{path.name}: {encoding[:40]!r}", _DAMAGED
        )
    blocks, sources = [rest], []
    if "datafile" in fields:
        found = [file_bytes(file_beside(path, name)) for name in _data_files(fields, path.name)]
        blocks, sources = [content for content, _ in found], [source for _, source in found]
    count = voxel_count(sizes, dtype, sum(map(len, blocks)) + (0 if encoding in _PACKINGS else len(rest)), path.name)
    if count % len(blocks):
        raise FileFormatError("data files hold the same number of voxels", f"{path.name}: {len(blocks)}", _DAMAGED)
    parts = [
        _decoded(_skipped(block, fields, path.name), encoding, dtype, count // len(blocks), path.name, is_scan)
        for block in blocks
    ]
    return parts[0] if len(parts) == 1 else np.concatenate(parts), sources


def _decoded(block: memoryview, encoding: str, dtype: np.dtype, count: int, name: str, is_scan: bool) -> np.ndarray:
    if encoding == "hex":
        require_length(len(block) // 2, count * dtype.itemsize, 2 * count * dtype.itemsize + MAX_TRAILING_BYTES, name)
        try:
            block = memoryview(bytes.fromhex(bytes(block).decode("ascii")))
        except ValueError:
            raise FileFormatError("hex data holds pairs of hex digits", name, _DAMAGED) from None
    elif encoding in ("txt", "text", "ascii"):
        return written_numbers(block, dtype, count, name)
    return packed_voxels(block, _PACKINGS.get(encoding), dtype, count, name, is_scan=is_scan)


def _data_files(fields: dict[str, str], name: str) -> list[str]:
    if "listed" in fields:
        return fields["listed"].split("\n")
    words = fields["datafile"].split()
    pattern = re.fullmatch(r"([^%]*)%0?([0-9]?)d([^%]*)", words[0]) if words else None
    if pattern and 4 <= len(words) <= 5 and all(re.fullmatch(r"-?[0-9]{1,6}", word) for word in words[1:4]):
        first, last, step = map(int, words[1:4])
        numbers = range(first, last + (1 if step > 0 else -1), step) if step else range(0)
        if 1 <= len(numbers) <= MAX_AXIS:
            return [f"{pattern[1]}{number:0{int(pattern[2] or 0)}d}{pattern[3]}" for number in numbers]
        raise FileFormatError("a pattern of data files counts", f"{name}: {fields['datafile'][:80]}", _DAMAGED)
    return [fields["datafile"]]


def _skipped(block: bytes, fields: dict[str, str], name: str) -> memoryview:
    """Without the lines and bytes that the header says to skip (``byte skip: -1``: the voxels are the end)."""
    counts = []
    for field in ("lineskip", "byteskip"):
        word = fields.get(field, "0")
        if not re.fullmatch(r"-1|[0-9]{1,12}", word):
            raise FileFormatError("skipped lines and bytes are counted", f"{name}: {word[:40]!r}", _DAMAGED)
        counts.append(int(word))
    view, start = memoryview(block), 0
    for _ in range(min(counts[0], 10_000)):
        start = block.find(b"\n", start) + 1
        if not start:
            raise FileFormatError("a file has the lines that are to be skipped", name, _DAMAGED)
    if counts[1] >= 0:
        return view[start + counts[1] :]
    need = _dtype(fields, name).itemsize
    for size in _sizes(fields, name):
        need *= size
    if fields.get("encoding", "raw").lower() != "raw" or need > len(view):
        raise FileFormatError("byte skip -1 goes with raw voxels at the end of a file", name, _DAMAGED)
    return view[len(view) - need :]


# -- segments of 3D Slicer --------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Keys:
    """The keys of one segment."""

    keys: dict[str, str]
    number: int

    def __call__(self, what: str) -> str:
        return self.keys.get(f"Segment{self.number}_{what}", "")

    def whole(self, what: str, default: int) -> int:
        text = self(what)
        return int(text) if re.fullmatch(r"[0-9]{1,9}", text) else default


def _segments(keys: dict[str, str], layered: int | None) -> tuple[StoredSegment, ...]:
    """Segments in the order of the file. Before Slicer 4.11 each was a layer of its own, with the label 1."""
    numbers = sorted({int(match[1]) for key in keys if (match := re.fullmatch(r"Segment([0-9]{1,5})_.+", key))})
    found = []
    for number in numbers:
        about = _Keys(keys, number)
        old = not about("LabelValue")
        layer = about.whole("Layer", number if old and layered is not None else 0)
        label = about.whole("LabelValue", 1 if layered is not None else number + 1)
        entry = re.search(r"TerminologyEntry:([^|]*)", about("Tags"))
        found.append(
            StoredSegment(
                about("Name") or about("ID") or f"segment {number}",
                layer,
                label,
                _color(about("Color")),
                _coded(entry[1] if entry else ""),
            )
        )
    return tuple(found)


def _color(text: str) -> tuple[int, int, int] | None:
    try:
        parts = [float(word) for word in text.split()]
    except ValueError:
        return None
    if len(parts) != 3 or not all(0 <= part <= 1 for part in parts):
        return None
    return (round(parts[0] * 255), round(parts[1] * 255), round(parts[2] * 255))


def _coded(entry: str) -> tuple[tuple[str, str, str], ...]:
    """(scheme, code, meaning) of type, its modifier, region and its modifier in a terminology entry of 3D Slicer.

    The entry reads ``context~category~type~modifier~context~region~modifier``, each code ``scheme^value^meaning``.
    """
    parts = (entry.split("~") + [""] * 7)[:7]
    codes = [[*part.split("^"), "", "", ""][:3] for part in (parts[2], parts[3], parts[5], parts[6])]
    return tuple((a, b, c) for a, b, c in codes) if any(b for _, b, _ in codes) else ()

"""NIfTI-1 and NIfTI-2 files to RawImage, without ever returning wrong voxels in silence.

The whole gzip stream is inflated by isal and its CRC and length are verified (other readers often skip that
and can return damaged voxels), and the size that the header promises is checked against the file *before* anything
large is allocated, so absurd headers and gzip bombs end in one clear error. Orientation follows nibabel's
precedence (sform, then qform), and every doubt about it is recorded as a Decision.
"""

from __future__ import annotations

from os import PathLike
from pathlib import Path
from typing import Any, Literal

import numpy as np

from radvlm.errors import FileFormatError, GridError
from radvlm.io.file_bytes import MAX_TRAILING_BYTES, file_bytes, looks_like
from radvlm.io.inflation import MAX_UNPACKED_BYTES, require_length, unpacked, unpacked_start
from radvlm.io.label_names import names_from_extension
from radvlm.io.raw import RawImage, StoredImage, rescaled_image
from radvlm.io.rescale import refuse_nonfinite
from radvlm.io.world_units import in_mm
from radvlm.types.geometry import MAX_AXIS, SAME_GRID_MM
from radvlm.types.provenance import Decision

#: Header extensions beyond this many bytes are not read.
MAX_EXTENSION_BYTES = 16 * 2**20

_MAGIC = {b"n+1\0": (1, True), b"ni1\0": (1, False), b"n+2\0": (2, True), b"ni2\0": (2, False)}
_NUMBER_TYPES = {2: "u1", 4: "i2", 8: "i4", 16: "f4", 64: "f8", 256: "i1", 512: "u2", 768: "u4", 1024: "i8", 1280: "u8"}
_OTHER_TYPES = {
    1: "1-bit",
    32: "complex",
    128: "RGB color",
    1536: "128-bit float",
    1792: "complex",
    2048: "complex",
    2304: "RGBA color",
}
_MM_PER_UNIT = {1: ("meters", 1000.0), 3: ("micrometers", 0.001)}


def read_nifti(path: str | PathLike[str]) -> RawImage:
    """Read one 3D NIfTI file (``.nii``, ``.nii.gz`` or a ``.hdr``/``.img`` pair), rescaled by its header once.

    Returns:
        RawImage with the array (I, J, K) in stored order: the stored type where the header asks for no rescale,
        otherwise int16 where every result is a whole number that fits, else float32.

    Raises:
        FileFormatError: missing, truncated, damaged, not NIfTI, not finite, color or complex voxels.
        GridError: not one 3D image, or no usable orientation.
    """
    return rescaled_image(read_stored_nifti(path))


def is_nifti(start: bytes) -> bool:
    """True when the first bytes of a file are those of NIfTI or gzip."""
    return start[:2] == b"\x1f\x8b" or start[344:348] in _MAGIC or start[4:8] in _MAGIC


def read_stored_nifti(path: str | PathLike[str], *, is_scan: bool = False, stacked: bool = False) -> StoredImage:
    """Like ``read_nifti`` without the rescale; a scan (and no mask) that is one value throughout may be refused.

    ``stacked``: masks may be stacked along a fourth axis, which may be the first; the array then has four axes.
    """
    path = _header_path(Path(path))
    packed, source = file_bytes(path)
    sources = [source]
    version, single, header = _header(_start(packed, path.name), path.name, is_packed=_is_gzip(packed))
    shape, squeezed = _shape(header, path.name, stacked)
    dtype = _dtype(header, path.name)
    offset = _voxel_offset(header, version, single, path.name)
    voxel_bytes = int(np.prod([int(n) for n in shape], dtype=object)) * dtype.itemsize
    if voxel_bytes > MAX_UNPACKED_BYTES:
        raise FileFormatError(
            f"a NIfTI file holds at most {MAX_UNPACKED_BYTES / 2**30:.0f} GiB of voxels",
            f"{path.name} promises {voxel_bytes / 2**30:.1f} GiB (shape {shape}, {dtype})",
            "Its header is probably damaged; write the file again",
        )
    if single:
        content = _payload(packed, offset + voxel_bytes, path.name, offset if is_scan else None)
        extensions = _extensions(content, version, offset)
    else:
        extensions = _extensions(_payload(packed, None, path.name), version, None)
        image_path = _image_path(path)
        packed, source = file_bytes(image_path)
        sources.append(source)
        content = _payload(packed, offset + voxel_bytes, image_path.name, offset if is_scan else None)
    del packed
    array = content[offset : offset + voxel_bytes].view(dtype).reshape(shape, order="F")
    if not dtype.isnative:
        array = array.astype(dtype.newbyteorder("="))
    refuse_nonfinite(array, path.name)
    slope, intercept = _scaling(header, path.name)
    affine, decisions = _affine(header, path.name)
    if squeezed:
        decisions.insert(0, Decision("nifti", f"Dropped axes of length 1 after the third ({squeezed})."))
    names, doubts = names_from_extension(extensions)
    return StoredImage(
        array,
        affine,
        slope,
        intercept,
        names,
        tuple(sources),
        (*decisions, *(Decision("nifti", doubt, warning=True) for doubt in doubts)),
    )


# -- bytes ------------------------------------------------------------------------------------------------------


def _header_path(path: Path) -> Path:
    """The ``.hdr`` of a pair when its ``.img`` was named."""
    name = path.name.lower()
    for image, header in ((".img", ".hdr"), (".img.gz", ".hdr.gz")):
        if name.endswith(image):
            stem = path.name[: -len(image)]
            for ending in (header, ".hdr"):
                if path.with_name(stem + ending).is_file():
                    return path.with_name(stem + ending)
            raise FileFormatError("an .img file has its .hdr beside it", path.name, "Pass a .nii or .nii.gz file")
    return path


def _image_path(header_path: Path) -> Path:
    stem = header_path.name.removesuffix(".gz")
    stem = stem[:-4] if stem.lower().endswith((".hdr", ".nii")) else stem
    for ending in (".img", ".img.gz"):
        if header_path.with_name(stem + ending).is_file():
            return header_path.with_name(stem + ending)
    raise FileFormatError("a .hdr file has its .img beside it", header_path.name, "Copy both files of the pair")


def _is_gzip(packed: bytes) -> bool:
    return packed[:2] == b"\x1f\x8b"


def _start(packed: bytes, name: str) -> bytes:
    """The first 540 bytes, enough for either header."""
    return unpacked_start(packed, "gzip", 540, name) if _is_gzip(packed) else packed[:540]


def _payload(packed: bytes, expected: int | None, name: str, varied_from: int | None = None) -> np.ndarray:
    """The whole content as bytes (N,), proven to hold ``expected`` of them (None: any, up to the extension limit)."""
    limit = MAX_EXTENSION_BYTES if expected is None else expected + MAX_TRAILING_BYTES
    if _is_gzip(packed):
        return unpacked(packed, "gzip", expected or 0, limit, name, varied_from=varied_from)
    require_length(len(packed), expected or 0, limit, name)
    return np.frombuffer(packed, np.uint8)


# -- header -----------------------------------------------------------------------------------------------------


def _header(start: bytes, name: str, *, is_packed: bool) -> tuple[int, bool, Any]:
    """NIfTI version, True when voxels follow in the same file, and nibabel's header (unchecked)."""
    from nibabel.nifti1 import Nifti1Header
    from nibabel.nifti2 import Nifti2Header

    size = {"little": int.from_bytes(start[:4], "little"), "big": int.from_bytes(start[:4], "big")}
    order = next((order for order, value in size.items() if value in (348, 540)), None)
    if order is None or len(start) < size[order]:
        what = looks_like(start)
        if what.startswith("a "):
            packed = " that was packed with gzip again" if start[:2] == b"\x1f\x8b" else " that is packed with gzip"
            archive = what in ("a tar archive", "a zip archive", "a gzip file") or (
                is_packed and what == "a DICOM file"
            )
            remedy = "Unpack it, and pass what is in it" if archive else "Pass a NIfTI file or DICOM"
            raise FileFormatError("the file is NIfTI", f"{name}: {what}{packed if is_packed else ''}", remedy)
        raise FileFormatError("the file is NIfTI", f"{name}: {what}", "Pass a NIfTI file or DICOM")
    kind, magic = (Nifti1Header, start[344:348]) if size[order] == 348 else (Nifti2Header, start[4:8])
    if magic not in _MAGIC:
        what = "Analyze 7.5, which states no orientation" if magic == b"\0\0\0\0" else f"magic {magic!r}"
        raise FileFormatError("the header is NIfTI", f"{name}: {what}", "Convert it to NIfTI with a known orientation")
    version, single = _MAGIC[magic]
    if (version == 1) != (size[order] == 348):
        raise FileFormatError(
            "the header is NIfTI",
            f"{name}: magic {magic!r} in a header of {size[order]} bytes",
            "The header is damaged; write the file again",
        )
    return version, single, kind(start[: size[order]], endianness="<" if order == "little" else ">", check=False)


def _shape(header: Any, name: str, stacked: bool) -> tuple[tuple[int, ...], str]:
    """Shape (I, J, K), or of four axes where masks are stacked, and the squeezed axes in words ("" for none)."""
    dims = [int(n) for n in header["dim"]]
    count = dims[0]
    if not 1 <= count <= 7:
        raise GridError("a NIfTI header has 1 to 7 dimensions", f"{name}: {count}", "Its header is damaged")
    sizes = dims[1 : count + 1]
    if any(n < 1 for n in sizes) or any(n > MAX_AXIS for n in sizes):
        raise GridError(
            f"every axis has 1 to {MAX_AXIS} voxels", f"{name}: {sizes}", "Its header is damaged; write the file again"
        )
    if count < 3:
        raise GridError("the image is 3D", f"{name}: {sizes}", "Pass the whole volume, not one slice")
    if stacked and count > 3 and sizes[3] > 1 and all(n == 1 for n in sizes[4:]):
        return tuple(sizes[:4]), ""
    if any(n > 1 for n in sizes[3:]):
        raise GridError(
            "the image is one 3D volume",
            f"{name}: shape {tuple(sizes)}",
            "Split the time series or channels, and pass one of them",
        )
    return (sizes[0], sizes[1], sizes[2]), " x ".join(map(str, sizes)) if count > 3 else ""


def _dtype(header: Any, name: str) -> np.dtype:
    code = int(header["datatype"])
    if code not in _NUMBER_TYPES:
        raise FileFormatError(
            "voxels are real numbers",
            f"{name}: {_OTHER_TYPES.get(code, f'datatype code {code}')}",
            "Convert the image to int16 or float32, one value per voxel",
        )
    return np.dtype(header.endianness + _NUMBER_TYPES[code])


def _voxel_offset(header: Any, version: int, single: bool, name: str) -> int:
    offset = float(header["vox_offset"])
    least = (352 if version == 1 else 544) if single else 0
    if single and offset == 0:
        return least
    if not least <= offset <= MAX_EXTENSION_BYTES or offset != int(offset):
        raise FileFormatError(
            f"voxels start between byte {least} and {MAX_EXTENSION_BYTES}",
            f"{name}: {offset:g}",
            "Its header is damaged; write the file again",
        )
    return int(offset)


def _scaling(header: Any, name: str) -> tuple[float, float]:
    slope, intercept = float(header["scl_slope"]), float(header["scl_inter"])
    if slope == 0 or np.isnan(slope):
        return 1.0, 0.0
    if np.isnan(intercept):
        intercept = 0.0
    if not np.isfinite([slope, intercept]).all():
        raise FileFormatError(
            "the rescale of the header is finite",
            f"{name}: x {slope:g} {intercept:+g}",
            "Its header is damaged; write the file again",
        )
    return slope, intercept


def _extensions(whole: np.ndarray, version: int, offset: int | None) -> list[bytes]:
    """Content of each header extension; a damaged chain ends the list, the voxels do not depend on it."""
    position = 352 if version == 1 else 544
    end = len(whole) if offset is None else offset
    content = whole[:end].tobytes()
    if content[position - 4 : position - 3] in (b"", b"\0"):
        return []
    order: Literal["little", "big"] = "big" if content[0] == 0 else "little"
    found = []
    while position + 8 <= end:
        size = int.from_bytes(content[position : position + 4], order)
        if size < 8 or position + size > end:
            break
        found.append(content[position + 8 : position + size])
        position += size
    return found


# -- orientation ------------------------------------------------------------------------------------------------


def _affine(header: Any, name: str) -> tuple[np.ndarray, list[Decision]]:
    """Affine to RAS+ mm by nibabel's precedence (sform, qform, neither), and what had to be decided."""
    decisions: list[Decision] = []
    forms = {"sform": _sform(header), "qform": _qform(header)}
    coded = {form: int(header[f"{form}_code"]) > 0 for form in forms}
    usable = {form: affine for form, affine in forms.items() if coded[form] and affine is not None}
    broken = [form for form in forms if coded[form] and forms[form] is None]
    if usable:
        form = next(iter(usable))
        affine = usable[form]
        for other in broken:
            decisions.append(Decision("nifti", f"The {other} of the header is not usable; the {form} was used.", True))
        if len(usable) == 2:
            distance = _corner_distance(affine, usable["qform"], header)
            if distance > SAME_GRID_MM:
                decisions.append(
                    Decision(
                        "nifti",
                        f"The header's sform and qform disagree by up to {distance:.1f} mm; the sform was used.",
                        warning=True,
                    )
                )
    elif broken:
        raise GridError(
            "the header holds a usable orientation",
            f"{name}: broken {' and '.join(broken)}",
            "Repair the header; copy the affine from the original scan",
        )
    else:
        affine = np.asarray(header.get_base_affine(), dtype=np.float64)
        if not _is_usable(affine):
            raise GridError(
                "voxel sizes are finite and above 0",
                f"{name}: {header['pixdim'][1:4].tolist()} mm",
                "Repair the header",
            )
        decisions.append(
            Decision(
                "nifti",
                "The header states no orientation (neither sform nor qform): stored axes "
                "were taken as left, anterior, superior, so sides may be wrong.",
                warning=True,
            )
        )
    unit = _MM_PER_UNIT.get(int(header["xyzt_units"]) & 7)
    if unit is None:
        return affine, decisions
    scaled, converted = in_mm(affine, *unit, name, "nifti")
    return scaled, [*decisions, *converted]


def _sform(header: Any) -> np.ndarray | None:
    affine = np.eye(4)
    for row, field in enumerate(("srow_x", "srow_y", "srow_z")):
        affine[row] = header[field]
    return affine if _is_usable(affine) else None


def _qform(header: Any) -> np.ndarray | None:
    from nibabel.spatialimages import HeaderDataError

    try:
        with np.errstate(all="ignore"):
            affine = np.asarray(header.get_qform(), dtype=np.float64)
    except (HeaderDataError, ValueError):
        return None
    return affine if _is_usable(affine) else None


def _is_usable(affine: np.ndarray) -> bool:
    with np.errstate(all="ignore"):
        return bool(np.isfinite(affine).all() and abs(np.linalg.det(affine[:3, :3])) > 1e-12)


def _corner_distance(first: np.ndarray, second: np.ndarray, header: Any) -> float:
    ends = np.array(np.meshgrid(*[(-0.5, int(n) - 0.5) for n in header["dim"][1:4]], indexing="ij")).reshape(3, -1)
    corners = np.vstack([ends, np.ones(ends.shape[1])])
    return float(np.linalg.norm(((first - second) @ corners)[:3], axis=0).max())

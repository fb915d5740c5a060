"""Writing label maps and volumes as NIfTI on the axes of the input; whole files or none.

The same input gives the same bytes (no time stamp in gzip), so results can be compared by digest.
"""

from __future__ import annotations

import gzip
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from radvlm.errors import GridError, InputError
from radvlm.files.atomic import write_bytes
from radvlm.io.label_names import table_as_xml
from radvlm.types.geometry import Geometry, reorder_array
from radvlm.types.volume import Volume

_WORLD_AXIS = {"R": (0, 1), "L": (0, -1), "A": (1, 1), "P": (1, -1), "S": (2, 1), "I": (2, -1)}


def save_labels(
    path: str | Path, labels: np.ndarray, geometry: Geometry, *, names: Mapping[int, str], stored_axes: str = "RAS"
) -> Path:
    """Write a label map as ``.nii.gz`` (or ``.nii``) in the axes of the input file.

    Args:
        labels: (I, J, K) in RAS+ order on ``geometry``: bool, or whole numbers from 0 to 65535.
        names: label -> name, kept in a header extension in the form that TotalSegmentator's tools read.
        stored_axes: axis codes to write, such as ``Volume.stored_axes``.

    Raises GridError for another shape, InputError for other values, FileFormatError when it cannot be written.
    """
    if labels.shape != geometry.shape:
        raise GridError("labels have the shape of the grid", f"{labels.shape}, grid {geometry.shape}")
    if any(int(label) != label or not 0 < label <= 65535 or not str(name) for label, name in names.items()):
        raise InputError("names maps labels from 1 to 65535 to names", str(dict(names))[:200])
    stored, affine = _reordered(_as_labels(labels), geometry, stored_axes)
    extension = table_as_xml(names) if names else None
    return _write_nifti(Path(path), stored, affine, extension)


def save_volume(path: str | Path, volume: Volume) -> Path:
    """Write a volume as ``.nii.gz`` (or ``.nii``) in int16 or float32 HU, in the axes it was read in."""
    stored, affine = _reordered(volume.hu, volume.geometry, volume.stored_axes)
    return _write_nifti(Path(path), stored, affine, None)


def _as_labels(labels: np.ndarray) -> np.ndarray:
    if labels.dtype in (np.dtype(np.uint8), np.dtype(np.uint16)):
        return labels
    if labels.dtype.kind == "b":
        return labels.view(np.uint8)
    if labels.dtype.kind not in "iu":
        raise InputError("labels are whole numbers", f"dtype {labels.dtype}", "Round them first, knowingly")
    low, high = int(labels.min()), int(labels.max())
    if low < 0 or high > 65535:
        raise InputError("labels lie between 0 and 65535", f"{low} to {high}")
    return labels.astype(np.uint8 if high < 256 else np.uint16)


def _reordered(array: np.ndarray, geometry: Geometry, stored_axes: str) -> tuple[np.ndarray, np.ndarray]:
    """RAS+-ordered array and affine put back into ``stored_axes``."""
    try:
        axes = [_WORLD_AXIS[code] for code in stored_axes]
    except KeyError:
        axes = []
    if sorted(axis for axis, _ in axes) != [0, 1, 2]:
        raise InputError("stored_axes names each axis once, such as RAS or LPS", repr(stored_axes))
    if not geometry.is_canonical:
        raise GridError("results are written from RAS+ order", geometry.axis_codes)
    order, signs = [axis for axis, _ in axes], [sign for _, sign in axes]
    return reorder_array(array, order, signs), geometry.reordered(order, signs).affine


def _write_nifti(path: Path, array: np.ndarray, affine: np.ndarray, extension: bytes | None) -> Path:
    import nibabel

    name = path.name.lower()
    if not name.endswith((".nii", ".nii.gz")):
        raise InputError("the file is named .nii.gz or .nii", path.name)
    image = nibabel.nifti1.Nifti1Image(array, affine)
    image.header.set_xyzt_units("mm")
    image.set_sform(affine, code=1)
    image.set_qform(affine, code=1)
    if extension is not None:
        image.header.extensions.append(nibabel.nifti1.Nifti1Extension(0, extension))
    content = image.to_bytes()
    if name.endswith(".gz"):
        content = _gzip(content, noisy=array.dtype.itemsize > 1 and array.dtype.kind != "u")
    return write_bytes(path, content)


def _gzip(content: bytes, noisy: bool) -> bytes:
    """Deflated without a time stamp: zlib for label maps, isal (five times as fast, 3 % larger) for noisy voxels."""
    if not noisy:
        return gzip.compress(content, 6, mtime=0)
    from isal import igzip

    return igzip.compress(content, 2, mtime=0)

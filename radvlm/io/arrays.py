"""Arrays that already live in memory: NumPy with an affine, nibabel images, MONAI MetaTensors.

Neither torch nor MONAI is imported; a MetaTensor is recognized by what it can do. Nothing is copied that
need not be, and the caller's array is never written to.
"""

from __future__ import annotations

import zlib
from typing import Any

import numpy as np

from radvlm.errors import FileFormatError, GridError, InputError
from radvlm.io.hounsfield import Rescale, to_hu
from radvlm.io.raw import RawImage
from radvlm.types.provenance import Decision


def is_nibabel_image(source: object) -> bool:
    return hasattr(source, "dataobj") and hasattr(source, "affine") and hasattr(source, "header")


def is_tensor(source: object) -> bool:
    """True for a torch tensor or a MONAI MetaTensor."""
    return hasattr(source, "detach") and hasattr(source, "cpu")


def raw_from_array(
    array: np.ndarray, affine: np.ndarray | None, rescale: Rescale = "auto", name: str = "array"
) -> RawImage:
    """RawImage from values (I, J, K) and a 4x4 affine from index to RAS+ mm.

    A leading or trailing axis of length 1 (a channel) is dropped and recorded.

    Raises InputError without an affine or for values that are not a CT, GridError for another number of axes.
    """
    if affine is None:
        raise InputError(
            "an array comes with the affine of its grid",
            "no affine",
            "Pass affine=, 4x4 from voxel index to RAS+ mm, such as np.diag([0.8, 0.8, 2.5, 1])",
        )
    if array.dtype.kind not in "iuf":
        raise InputError("voxels are real numbers", f"dtype {array.dtype}", "Pass int16 or float32 in HU")
    volume, decisions = _three_axes(array)
    try:
        matrix = np.array(affine, dtype=np.float64)
    except (TypeError, ValueError):
        raise GridError("the affine is a finite 4x4 matrix", type(affine).__name__) from None
    if matrix.ndim == 3 and matrix.shape[0] == 1:
        matrix = matrix[0]
    if volume.size == 0:
        raise GridError("an array holds voxels", f"shape {array.shape}")
    if not volume.dtype.isnative:
        volume = volume.astype(volume.dtype.newbyteorder("="))
    hu, judged = to_hu(volume, 1.0, 0.0, rescale, name, "array")
    return RawImage(hu, matrix, decisions=(*decisions, *judged))


def raw_from_nibabel(image: Any, rescale: Rescale = "auto") -> RawImage:
    """RawImage from a nibabel image; a rescale in the header of a file is judged and applied once."""
    if image.affine is None:
        raise GridError("the image states its affine", "a nibabel image without one", "Set its affine first")
    proxy = image.dataobj
    try:
        if hasattr(proxy, "get_unscaled"):
            array, slope, intercept = np.asarray(proxy.get_unscaled()), float(proxy.slope), float(proxy.inter)
        else:
            array, slope, intercept = np.asarray(proxy), 1.0, 0.0
    except (OSError, EOFError, ValueError, zlib.error) as error:
        reason = (str(error).splitlines() or [type(error).__name__])[0][:200]
        raise FileFormatError(
            "the voxels of the nibabel image can be read", reason, "The file behind it is damaged or gone"
        ) from error
    if array.dtype.kind not in "iuf":
        raise InputError("voxels are real numbers", f"dtype {array.dtype}", "Convert the image to int16 or float32")
    volume, decisions = _three_axes(array)
    if volume.size == 0:
        raise GridError("an image holds voxels", f"shape {array.shape}")
    if not volume.dtype.isnative:
        volume = volume.astype(volume.dtype.newbyteorder("="))
    hu, judged = to_hu(volume, slope, intercept, rescale, "nibabel image", "nifti")
    return RawImage(hu, np.array(image.affine, dtype=np.float64), decisions=(*decisions, *judged))


def raw_from_tensor(tensor: Any, affine: np.ndarray | None, rescale: Rescale = "auto") -> RawImage:
    """RawImage from a MONAI MetaTensor (its own affine) or a torch tensor (``affine`` needed)."""
    array = np.asarray(tensor.detach().cpu())
    own = getattr(tensor, "affine", None)
    matrix = affine if affine is not None or own is None else np.asarray(own.detach().cpu(), dtype=np.float64)
    if affine is None and matrix is not None and str(getattr(tensor, "meta", {}).get("space", "RAS")) == "LPS":
        matrix = np.diag([-1.0, -1.0, 1.0, 1.0]) @ matrix
    return raw_from_array(array, matrix, rescale, "tensor")


def _three_axes(array: np.ndarray) -> tuple[np.ndarray, tuple[Decision, ...]]:
    shape, volume = array.shape, array
    while volume.ndim > 3 and volume.shape[0] == 1:
        volume = volume[0]
    while volume.ndim > 3 and volume.shape[-1] == 1:
        volume = volume[..., 0]
    if volume.ndim != 3:
        raise GridError("the image is one 3D volume", f"shape {shape}", "Pass one channel of one time point")
    if volume.shape == shape:
        return volume, ()
    return volume, (Decision("array", f"Dropped axes of length 1: {shape} became {volume.shape}."),)

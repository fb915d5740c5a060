"""One door to a Volume, whatever the CT comes as.

Files are recognized by their content, never by their name; and every way in ends in the same three steps:
HU once (``hounsfield``), RAS+ order by a view (``RawImage.canonical``), and a Volume that remembers every decision.
"""

from __future__ import annotations

import zipfile
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from radvlm.errors import FileFormatError, InputError
from radvlm.io.file_bytes import (
    first_bytes,
    looks_like,
    missing_file,
    named_path,
    path_exists,
    refuse_cut_archive,
    require_listing,
    require_regular,
)
from radvlm.io.hounsfield import Rescale, checked_rescale, to_hu
from radvlm.io.hu_rulers import doubt_of
from radvlm.io.interleaving import refuse_interleaved
from radvlm.io.odd_slices import odd_slices
from radvlm.io.raw import RawImage
from radvlm.io.row_lengths import refuse_wrong_rows
from radvlm.io.shear import perpendicular
from radvlm.io.size_rulers import check_scan_size
from radvlm.io.slice_order import disordered_slices
from radvlm.io.slice_steps import squeezed_slices
from radvlm.io.unfetched import pointer
from radvlm.types.volume import Volume

if TYPE_CHECKING:
    from collections.abc import Sequence

_OTHER_KIND = "Convert it to NIfTI, or pass the DICOM folder"
#: DICOM objects that are masks, which people pass beside the scan.
_MASK_CLASSES = {
    "1.2.840.10008.5.1.4.1.1.66.4": "a DICOM segmentation",
    "1.2.840.10008.5.1.4.1.1.66.7": "a DICOM segmentation",
    "1.2.840.10008.5.1.4.1.1.481.3": "an RT structure set",
}
#: Of more paths, which are the slices of one scan, none is looked into before they are read.
MOST_LOOKED_INTO = 8
#: An archive in an archive is unpacked so often.
MOST_NESTED = 2
#: Series and acquisition.
Which = tuple[str | int | None, str | int | None]


def load_volume(
    source: Any,
    *,
    affine: np.ndarray | None = None,
    series: str | int | None = None,
    acquisition: str | int | None = None,
    rescale: Any = "auto",
) -> Volume:
    """Load a CT as Hounsfield units in RAS+ order.

    Args:
        source: path of a NIfTI, NRRD (``.nrrd``, ``.nhdr``) or MetaImage (``.mha``, ``.mhd``) file, a DICOM folder
            (searched recursively), a DICOM file with many frames, or a zip of one of these; a DICOMDIR; a list of DICOM
            files and folders; a
            NumPy array (I, J, K) in HU with ``affine``; a nibabel image; a MONAI MetaTensor or a torch tensor; or a
            Volume, which comes back as it is.
        affine: 4x4 from voxel index to RAS+ mm; for arrays and tensors only.
        series: which DICOM series: SeriesInstanceUID or its ending, SeriesNumber, folder (as ``radvlm
            series`` lists it), or part of the description. Default: the axial CT with most slices.
        acquisition: which acquisition of a series that holds several (phases, reconstructions): as ``radvlm series``
            lists it, or the value of an attribute that tells it from the others, such as an AcquisitionNumber.
            Default: the one with most slices, of equal ones the first.
        rescale: ``"auto"`` applies the header's rescale unless the histogram proves it wrong (see
            ``radvlm.io.hounsfield``), ``"header"`` applies it unasked, ``"none"`` takes stored values as HU, and
            (slope, intercept), also as text ("1,-1024"), replaces it.

    Raises:
        FileFormatError: a file is missing, damaged or of another kind.
        GridError: no regular perpendicular grid of one 3D volume.
        InputError: the values are no CT in HU, or an argument does not fit.

    Example:
        >>> import numpy as np, radvlm
        >>> hu = np.full((30, 30, 20), -1000, np.int16)
        >>> hu[5:25, 5:25] = 40
        >>> radvlm.load_volume(hu, affine=np.diag([2.0, 2.0, 3.0, 1.0]))
        Volume(Geometry(30 x 30 x 20 voxels of 2 x 2 x 3 mm, RAS), int16)
    """
    checked, which = checked_rescale(rescale), (series, acquisition)
    if isinstance(source, Volume):
        return source
    if isinstance(source, (str, PathLike)):
        _refuse_affine(affine)
        return _volume(_from_path(named_path(source, "a CT"), which, checked))
    if isinstance(source, (list, tuple)) and source and all(isinstance(item, (str, PathLike)) for item in source):
        _refuse_affine(affine)
        paths = [named_path(item, "a CT") for item in source]
        return _volume(_from_path(paths[0], which, checked) if len(paths) == 1 else _from_paths(paths, which, checked))
    _refuse_choice(which, type(source).__name__)
    from radvlm.io import arrays

    if arrays.is_nibabel_image(source):
        _refuse_affine(affine)
        return _volume(arrays.raw_from_nibabel(source, checked))
    if arrays.is_tensor(source):
        return _volume(arrays.raw_from_tensor(source, affine, checked))
    if isinstance(source, np.ndarray):
        return _volume(arrays.raw_from_array(source, affine, checked))
    raise InputError(
        "a CT is a path, a list of paths, an array with an affine, a nibabel image, a MetaTensor or a Volume",
        type(source).__name__,
    )


def _volume(raw: RawImage) -> Volume:
    refuse_wrong_rows(raw.array)
    raw = perpendicular(raw, is_scan=True)
    refuse_interleaved(raw.array)
    seen = (*raw.decisions, *odd_slices(raw.array, raw.affine), *disordered_slices(raw.array, raw.affine))
    hu, geometry, axes = raw.canonical()
    doubt = doubt_of(seen)
    sizes = check_scan_size(hu, geometry, attenuation_is_sure=not doubt)
    if not doubt and not sizes and not any(decision.warning for decision in seen):
        sizes = squeezed_slices(hu, geometry.spacing_mm)
    decisions = (*seen, *sizes)
    return Volume(hu, geometry, raw.study, axes, raw.sources, decisions, doubt)


def _refuse_affine(affine: np.ndarray | None) -> None:
    if affine is not None:
        raise InputError(
            "affine= belongs to an array",
            "a source that has its own",
            "Leave it out; repair the file's header if it is wrong",
        )


def _refuse_choice(which: Which, received: str) -> None:
    for name, value in zip(("series", "acquisition"), which, strict=True):
        if value is not None:
            raise InputError(f"{name}= chooses among DICOM files", received, "Leave it out")


def _from_paths(paths: list[Path], which: Which, rescale: Rescale) -> RawImage:
    from radvlm.io.dicom_files import sop_class_of
    from radvlm.io.image_files import has_image_name

    for path in paths:
        what = ""
        if path.is_dir():
            files = [item for item in path.iterdir() if item.is_file() and not item.name.startswith(".")]
            images = [item for item in files if has_image_name(item)]
            what = f"the folder {path.name} of {len(images)} image file(s)" if images and images == files else ""
        elif has_image_name(path):
            what = f"{path.name}, an image file,"
        elif len(paths) <= MOST_LOOKED_INTO and path.is_file():
            kind = _MASK_CLASSES.get(sop_class_of(path))
            what = f"{path.name}, {kind}," if kind else ""
        if what:
            raise InputError(
                "several paths are the DICOM files and folders of one scan",
                f"{len(paths)} paths, {what} among them",
                "Pass one scan at a time, and its masks by an argument of their own, masks= (--masks)",
            )
    return _dicom(paths, which, rescale)


def _from_path(path: Path, which: Which, rescale: Rescale) -> RawImage:
    if not path_exists(path):
        raise missing_file(path, "the path exists")
    require_regular(path)
    if path.is_dir():
        return _from_folder(path, which, rescale)
    from radvlm.io.image_files import IMAGE_FORMATS, is_image_file

    refuse_cut_archive(path)
    if is_image_file(path) and first_bytes(path, 4) != b"PK\x03\x04":
        _refuse_choice(which, f"the image file {path.name}")
        return _image(path, rescale)
    if zipfile.is_zipfile(path):
        return _from_zip(path, which, rescale)
    if _is_dicom(path):
        return _dicom(path, which, rescale)
    if (elsewhere := pointer(first_bytes(path))) is not None:
        raise FileFormatError("the file itself is here", f"{path.name}: {elsewhere.what}", elsewhere.remedy)
    raise FileFormatError(
        f"a CT is DICOM, {IMAGE_FORMATS}",
        f"{path.name}: {_kind(path)}",
        "Unpack it, and pass what is in it" if _kind(path) == "a tar archive" else _OTHER_KIND,
    )


def _from_zip(path: Path, which: Which, rescale: Rescale, depth: int = 0) -> RawImage:
    from radvlm.io.archives import image_members, only_archive, unpacked_archive

    images = image_members(path)
    if not images:
        inner = only_archive(path) if depth < MOST_NESTED else None
        if inner is None:
            return _dicom(path, which, rescale)
        with unpacked_archive(path, only=inner) as folder:
            return _from_zip(folder / inner, which, rescale, depth + 1)
    if len(images) > 1:
        raise FileFormatError(
            "an archive of a CT holds one image file",
            f"{path.name}: {len(images)} of them, such as {images[0]} and {images[1]}",
            "Unpack it and pass the file of the scan",
        )
    with unpacked_archive(path) as folder:  # all of it, because a header may have its voxels beside it
        return _image(folder / images[0], rescale)


def _from_folder(path: Path, which: Which, rescale: Rescale) -> RawImage:
    from radvlm.io.image_files import has_image_name

    require_listing(path)
    files = [item for item in path.iterdir() if item.is_file() and not item.name.startswith(".")]
    images = sorted(item.name for item in files if has_image_name(item))
    if images and len(images) == len(files):
        raise FileFormatError(
            "a folder holds DICOM files",
            f"{path.name}: {len(images)} image file(s), such as {images[0]}",
            "Pass the image file itself, such as the NIfTI file itself",
        )
    return _dicom(path, which, rescale)


def _image(path: Path, rescale: Rescale) -> RawImage:
    from radvlm.io.image_files import read_stored

    stored = read_stored(path, is_scan=True)
    hu, decisions = to_hu(stored.array, stored.slope, stored.intercept, rescale, path.name, stored.step)
    return RawImage(hu, stored.affine, sources=stored.sources, decisions=(*stored.decisions, *decisions))


def _dicom(source: Path | Sequence[Path], which: Which, rescale: Rescale) -> RawImage:
    from radvlm.io.dicom_volume import read_dicom

    return read_dicom(source, which[0], rescale, which[1])


def _is_dicom(path: Path) -> bool:
    from radvlm.io.dicom_files import looks_like_dicom

    return path.name.lower().endswith((".dcm", ".dicom", ".ima")) or looks_like_dicom(path)


def _kind(path: Path) -> str:
    return looks_like(first_bytes(path))

"""One image in one file, whatever its format: NIfTI, NRRD or MetaImage, told apart by content and never by name."""

from __future__ import annotations

from os import PathLike
from pathlib import Path

from radvlm.io.file_bytes import first_bytes
from radvlm.io.metaimage import is_metaimage, read_metaimage
from radvlm.io.nifti import is_nifti, read_stored_nifti
from radvlm.io.nrrd import is_nrrd, read_nrrd
from radvlm.io.raw import RawImage, StoredImage, rescaled_image

#: How files that hold one image, or its header, are called.
IMAGE_SUFFIXES = (".nii", ".nii.gz", ".nrrd", ".nhdr", ".mha", ".mhd", ".hdr", ".hdr.gz", ".img", ".img.gz")
#: What the formats are called in messages.
IMAGE_FORMATS = "NIfTI, NRRD or MetaImage (.mha)"
_STEM_ENDINGS = (".seg.nrrd", ".seg.nhdr", ".nii.gz", ".nii", ".nrrd", ".nhdr", ".mha", ".mhd")


def is_image_file(path: Path) -> bool:
    """True when a file looks like an image by its first bytes or, failing that, is called like one."""
    start = first_bytes(path)
    return is_nifti(start) or is_nrrd(start) or is_metaimage(start) or has_image_name(path)


def has_image_name(path: Path) -> bool:
    """True when a file is called like an image; the case of the letters does not matter."""
    return path.name.lower().endswith(IMAGE_SUFFIXES)


def stem_of(path: Path) -> str:
    """The name of a file without the ending of its format."""
    lower = path.name.lower()
    ending = next((ending for ending in _STEM_ENDINGS if lower.endswith(ending)), "")
    return path.name[: len(path.name) - len(ending)]


def read_stored(path: str | PathLike[str], *, is_scan: bool = False) -> StoredImage:
    """Read one image file, with the rescale of its header not yet applied. Raises as the readers of the formats do."""
    path = Path(path)
    start = first_bytes(path)
    if is_nrrd(start):
        return read_nrrd(path, is_scan=is_scan)
    if is_metaimage(start):
        return read_metaimage(path, is_scan=is_scan)
    return read_stored_nifti(path, is_scan=is_scan, stacked=not is_scan)


def read_image(path: str | PathLike[str]) -> RawImage:
    """Read one image file, rescaled by its header once: a mask, whose values need no judgment."""
    return rescaled_image(read_stored(path))

"""Where masks come from: objects in memory, label tables beside a file, and the files of a folder.

A bare array says nothing about its orientation, so it is taken only where there is no doubt; and a folder of
masks usually holds other things too (the CT, a preview, statistics), which are left alone by name.
"""

from __future__ import annotations

import csv
import json
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from radvlm.errors import FileFormatError, InputError
from radvlm.io.file_bytes import require_regular
from radvlm.io.image_files import has_image_name, stem_of
from radvlm.io.label_names import names_from_extension
from radvlm.io.raw import RawImage
from radvlm.io.unfetched import lost_links
from radvlm.types.geometry import Geometry, canonical_order
from radvlm.types.label_scheme import fold
from radvlm.types.provenance import Decision
from radvlm.types.volume import Volume

#: Files read ahead while one is packed; each may be as large as a label map.
READ_AHEAD = 2
#: Stems of image files that lie beside masks and are none.
NOT_MASKS = frozenset(
    fold(name)
    for name in (
        "ct",
        "image",
        "img",
        "scan",
        "volume",
        "ct_volume",
        "input",
        "mr",
        "pet",
        "suv",
        "imaging",
        "original",
        "combined_labels",
        "combined",
        "labels",
        "label",
        "segmentation",
        "segmentations",
        "seg",
        "total",
        "all",
        "preview",
    )
)
MAX_TABLE_BYTES = 8 * 2**20
_Item = TypeVar("_Item")


def raw_from_object(source: Any, like: Volume | Geometry | None, name: str = "the mask") -> RawImage:
    """RawImage from (array, affine), a nibabel image, a MONAI MetaTensor, or a bare array on the grid of ``like``.

    Raises InputError for anything else, and for a bare array whose orientation is in doubt.
    """
    if isinstance(source, tuple) and len(source) == 2:
        return RawImage(_as_array(source[0]), _as_affine(source[1], name))
    if hasattr(source, "dataobj") and hasattr(source, "affine"):
        names, _ = names_from_extension(_extension_contents(source))
        return RawImage(_three_axes(np.asanyarray(source.dataobj)), _as_affine(source.affine, name), names)
    if hasattr(source, "affine") and hasattr(source, "meta"):
        array = _as_array(source)
        if array.ndim == 4:
            if array.shape[0] != 1:
                raise InputError(
                    "a mask tensor has one channel",
                    f"{name}: shape {tuple(array.shape)}",
                    "Take the argmax over channels, or pass a {structure: mask} mapping",
                )
            array = array[0]
        affine = _as_affine(source.affine, name)
        if str(dict(source.meta).get("space", "RAS")) == "LPS":
            affine = np.diag([-1.0, -1.0, 1.0, 1.0]) @ affine
        return RawImage(array, affine)
    if isinstance(source, np.ndarray) or hasattr(source, "__array__"):
        return _bare(_as_array(source), like, name)
    raise InputError(
        "masks are a path, (array, affine), a nibabel image, a MetaTensor, a {structure: mask} mapping "
        "or a Segmentation",
        type(source).__name__,
    )


def sidecar_names(path: Path) -> tuple[dict[int, str], str]:
    """{label: name} from a table beside a mask file, and the table's file name; ({}, "") when there is none.

    Looked for: ``<stem>.json/.csv/.tsv/.txt``, ``<stem>_labels.*``, ``labels.*``, and nnU-Net's ``dataset.json``.
    """
    stem = stem_of(path)
    for base in (stem, f"{stem}_labels", "labels", "dataset"):
        for ending in ("json",) if base == "dataset" else ("json", "csv", "tsv", "txt"):
            table = path.with_name(f"{base}.{ending}")
            if table.is_file() and table.stat().st_size <= MAX_TABLE_BYTES:
                names = _table(table)
                if names:
                    return names, table.name
    return {}, ""


def mask_files(folder: Path) -> list[Path]:
    """Image files of a mask folder that can be masks, sorted by name; its ``segmentations`` subfolder when it has one.

    Raises FileFormatError when there is no image file at all.
    """
    for sub in ("segmentations", "segmentation", "masks"):
        if (folder / sub).is_dir() and image_files(folder / sub):
            folder = folder / sub
            break
    found = image_files(folder)
    if not found:
        links, remedy = lost_links(folder)
        raise FileFormatError(
            "a mask folder holds masks (NIfTI, NRRD or MetaImage, one per structure) or a DICOM segmentation",
            f"{folder.name}: no masks and no DICOM segmentation in this folder" + (f"; {links}" if links else ""),
            remedy or "Check the path",
        )
    masks = [path for path in found if fold(stem_of(path)) not in NOT_MASKS]
    return masks or found


def read_ahead(tasks: Sequence[Callable[[], _Item]]) -> Iterator[_Item]:
    """Results of ``tasks`` in order, with a few of them running ahead in threads."""
    with ThreadPoolExecutor(READ_AHEAD) as pool:
        waiting: list[Future[_Item]] = []
        try:
            for task in tasks:
                waiting.append(pool.submit(task))
                if len(waiting) > READ_AHEAD:
                    yield waiting.pop(0).result()
            while waiting:
                yield waiting.pop(0).result()
        finally:
            for future in waiting:
                future.cancel()


def image_files(folder: Path) -> list[Path]:
    """Files of a folder that are called like images, sorted by name, a header and its voxels counted once."""
    found = [path for path in folder.iterdir() if has_image_name(path) and not path.name.startswith(".")]
    for path in found:
        require_regular(path)
    return sorted(
        (path for path in found if path.is_file() and not path.name.lower().endswith((".img", ".img.gz"))),
        key=lambda path: path.name,
    )


def _bare(array: np.ndarray, like: Volume | Geometry | None, name: str) -> RawImage:
    if like is None:
        raise InputError(
            "an array comes with its affine",
            f"{name}: an array without one",
            "Pass (array, affine), with the affine to RAS+ mm",
        )
    geometry = like.geometry if isinstance(like, Volume) else like
    if isinstance(like, Volume) and like.stored_axes != "RAS":
        raise InputError(
            "the orientation of an array is known",
            f"{name}: an array without affine, while the scan's file is stored as {like.stored_axes}",
            "Pass (array, affine), with the affine to RAS+ mm",
        )
    if array.shape != geometry.shape:
        raise InputError(
            "an array without affine has the shape of the scan",
            f"{name}: {array.shape}, scan {geometry.shape}",
            "Pass (array, affine), with the affine to RAS+ mm",
        )
    return RawImage(
        array,
        geometry.affine,
        decisions=(Decision("masks", "An array without affine was taken to lie on the scan's own grid."),),
    )


def _as_array(source: Any) -> np.ndarray:
    if hasattr(source, "detach"):  # a torch tensor, maybe on a GPU
        source = source.detach().cpu().numpy()
    return np.asarray(source)


def _as_affine(affine: Any, name: str) -> np.ndarray:
    matrix = np.asarray(_as_array(affine), dtype=float)
    if matrix.shape != (4, 4):
        raise InputError("an affine is a 4x4 matrix", f"{name}: shape {matrix.shape}", "Pass (array, affine)")
    return matrix


def _three_axes(array: np.ndarray) -> np.ndarray:
    """Without trailing axes of length 1."""
    while array.ndim > 3 and array.shape[-1] == 1:
        array = array[..., 0]
    return array


def _extension_contents(image: Any) -> list[bytes]:
    contents = (extension.get_content() for extension in getattr(image.header, "extensions", ()))
    return [content if isinstance(content, bytes) else str(content).encode() for content in contents]


def _table(path: Path) -> dict[int, str]:
    """{label: name} of one table; {} when the file is something else."""
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError):
        return {}
    if path.suffix == ".json":
        try:
            table = json.loads(text)
        except (ValueError, RecursionError):
            return {}
        if path.name == "dataset.json" and not (isinstance(table, dict) and isinstance(table.get("labels"), dict)):
            return {}
        return names_from_extension([text.encode()])[0]
    return _rows(text)


def _rows(text: str) -> dict[int, str]:
    """Tables with a header row, ITK-SNAP's label descriptions, and 3D Slicer's color tables."""
    lines = [line for line in text.splitlines() if line.strip() and not line.lstrip().startswith("#")]
    names: dict[int, str] = {}
    if not lines:
        return names
    separator = "\t" if "\t" in lines[0] else "," if "," in lines[0] else None
    if separator:
        rows = list(csv.reader(lines, delimiter=separator))
        heads = [cell.strip().lower() for cell in rows[0]]
        number = next((heads.index(h) for h in ("label", "index", "value", "id", "key") if h in heads), None)
        word = next((heads.index(h) for h in ("structure", "name", "label_name", "region") if h in heads), None)
        if number is None or word is None or number == word:
            return names
        pairs = [(row[number], row[word]) for row in rows[1:] if len(row) > max(number, word)]
    else:  # ITK-SNAP: number, R G B A, two flags, "name"; Slicer: number, name, R G B A
        split = [line.split(maxsplit=7) if '"' in line else line.split() for line in lines]
        pairs = [
            (row[0], row[7].strip('"') if len(row) == 8 and '"' in row[7] else row[1])
            for row in split
            if len(row) in (6, 8)
        ]
    for label, name in pairs:
        if label.strip().isdigit() and int(label) > 0 and name.strip():
            names[int(label)] = name.strip()
    return names


def canonical_grid(like: Volume | Geometry | None) -> Geometry | None:
    """The RAS+ grid of ``like``."""
    if like is None:
        return None
    geometry = like.geometry if isinstance(like, Volume) else like
    return geometry.reordered(*canonical_order(geometry.affine))

"""A folder of masks that ``radvlm segment`` writes and ``load_segmentation`` reads back without loss.

``masks.seg.nrrd`` holds every structure by name, in layers where they overlap, and opens in 3D Slicer;
``labels.nii.gz`` is one label map for other tools (a lesion over a part over an organ), its names in the header;
``segmentation.json`` says what was searched, who made the masks, and what was decided.
"""

from __future__ import annotations

import gzip
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from radvlm.errors import FileFormatError, RadvlmError
from radvlm.files.atomic import require_writable_folder, whole_files
from radvlm.io.nrrd import read_nrrd
from radvlm.io.writing import save_labels
from radvlm.types.anatomy import structure
from radvlm.types.geometry import Geometry, to_canonical
from radvlm.types.provenance import Decision, MaskOrigin
from radvlm.types.segmentation import LabelPlace, Segmentation
from radvlm.version import __version__

ABOUT, LAYERS, LABELS = "segmentation.json", "masks.seg.nrrd", "labels.nii.gz"
_FORM = "radvlm masks 1"
#: Painted in this order into the one label map: what comes later lies over what comes earlier.
_PAINTED = ("body", "cavity", "tissue", "muscle", "bone", "organ", "part", "vessel", "device", "fluid", "lesion")


def save_masks(folder: str | Path, masks: Segmentation, *, stored_axes: str = "RAS") -> Path:
    """Write a folder of masks; its three files are complete before the first one appears.

    Args:
        stored_axes: axes of ``labels.nii.gz``, such as ``Volume.stored_axes``.

    Raises FileFormatError when the folder cannot be written.
    """
    require_writable_folder(folder)
    target = Path(folder)
    numbers = {name: n for n, name in enumerate(sorted(masks.searched, key=lambda s: structure(s).rank), 1)}
    about = {
        "form": _FORM,
        "radvlm": __version__,
        "grid": {"shape": list(masks.geometry.shape), "affine_ras_mm": masks.geometry.affine.tolist()},
        "places": {name: [place.layer, place.label] for name, place in masks.places.items()},
        "searched": sorted(masks.searched),
        "scheme": masks.scheme,
        "segmented_by": [origin.to_dict() for origin in masks.origins],
        "decisions": [[d.step, d.what, d.warning] for d in masks.decisions],
        "labels": {name: numbers[name] for name in masks.present},
    }
    try:
        with whole_files(target, [ABOUT, LAYERS, LABELS]) as beside:
            (beside / ABOUT).write_text(json.dumps(about, indent=2), encoding="utf-8")
            (beside / LAYERS).write_bytes(_as_nrrd(masks))
            names = {numbers[name]: name for name in masks.present}
            save_labels(beside / LABELS, _painted(masks, numbers), masks.geometry, names=names, stored_axes=stored_axes)
    except OSError as error:
        if isinstance(error, RadvlmError):
            raise
        raise FileFormatError(
            "the output folder can be written",
            f"{target}: {error.strerror or error}",
            "Free some space, or choose another",
        ) from error
    return target


def is_saved(folder: Path) -> bool:
    """Whether a folder is one that ``save_masks`` wrote."""
    try:
        return (folder / LAYERS).is_file() and json.loads((folder / ABOUT).read_text(encoding="utf-8"))["form"] == _FORM
    except (OSError, ValueError, KeyError, TypeError):
        return False


def read_saved(folder: Path) -> Segmentation:
    """The masks of a folder that ``save_masks`` wrote. FileFormatError where its files do not belong together."""
    stored = read_nrrd(folder / LAYERS)
    turned = [to_canonical(layer, stored.affine) for layer in (stored.array, *stored.more_layers)]
    try:
        about = json.loads((folder / ABOUT).read_text(encoding="utf-8"))
        geometry = Geometry(tuple(about["grid"]["shape"]), np.array(about["grid"]["affine_ras_mm"]))
        if not turned[0][1].same_grid(geometry):
            raise ValueError("their grids differ")
        return Segmentation(
            tuple(np.asfortranarray(labels) for labels, _, _ in turned),
            {name: LabelPlace(*at) for name, at in about["places"].items()},
            frozenset(about["searched"]),
            geometry,
            about["scheme"],
            stored.sources,
            tuple(Decision(*row) for row in about["decisions"]),
            origins=tuple(MaskOrigin(**row) for row in about["segmented_by"]),
        )
    except (ValueError, KeyError, TypeError, RadvlmError) as error:
        raise FileFormatError(
            f"{ABOUT} and {LAYERS} are of one run of radvlm segment",
            f"{folder.name}: {error}",
            "Segment the scan again",
        ) from error


def _painted(masks: Segmentation, numbers: Mapping[str, int]) -> np.ndarray:
    """One label map: smaller things over larger ones."""
    labels = np.zeros(masks.geometry.shape, np.uint8 if len(numbers) < 256 else np.uint16, order="F")
    for name in sorted(masks.present, key=lambda n: (_PAINTED.index(structure(n).kind), structure(n).rank)):
        box = masks.boxes[name]
        labels[box.slices][masks.mask_in_box(name)] = numbers[name]
    return labels


def _as_nrrd(masks: Segmentation) -> bytes:
    """A segmentation of 3D Slicer, gzipped without a time stamp; structures that were not found are empty segments."""
    layers = masks.layers
    kind = np.uint16 if any(layer.dtype == np.uint16 for layer in layers) else np.uint8
    unused = max(int(layer.max(initial=0)) for layer in layers) + 1
    places: dict[str, Any] = {name: (place.layer, place.label) for name, place in masks.places.items()}
    for number, name in enumerate(sorted(masks.absent)):
        places[name] = (0, unused + number)
    if max((label for _, label in places.values()), default=0) > 255:
        kind = np.uint16
    several = len(layers) > 1
    affine, shape = masks.geometry.affine, masks.geometry.shape
    vectors = " ".join(f"({','.join(repr(float(v)) for v in affine[:3, axis])})" for axis in range(3))
    origin = ",".join(repr(float(v)) for v in affine[:3, 3])
    extent = " ".join(f"0 {n - 1}" for n in shape)
    lines = [
        "NRRD0005",
        f"type: {'unsigned char' if kind == np.uint8 else 'unsigned short'}",
        f"dimension: {4 if several else 3}",
        "space: right-anterior-superior",
        f"sizes: {f'{len(layers)} ' if several else ''}{' '.join(map(str, shape))}",
        f"space directions: {'none ' if several else ''}{vectors}",
        f"kinds: {'list ' if several else ''}domain domain domain",
        "endian: little",
        "encoding: gzip",
        f"space origin: ({origin})",
    ]
    for number, name in enumerate(sorted(places, key=lambda s: structure(s).rank)):
        layer, label = places[name]
        red, green, blue = masks.colors.get(name, (0, 0, 0))
        color = [] if name not in masks.colors else [("Color", f"{red / 255:.4f} {green / 255:.4f} {blue / 255:.4f}")]
        words = [("ID", name), ("Name", name), ("LabelValue", label), ("Layer", layer), ("Extent", extent), *color]
        lines += [f"Segment{number}_{key}:={value}" for key, value in words]
    packed = gzip.compress(_in_file_order(layers, kind), 4, mtime=0)
    return ("\n".join(lines) + "\n\n").encode() + packed


def _in_file_order(layers: tuple[np.ndarray, ...], kind: type[np.unsignedinteger[Any]]) -> bytes:
    little = np.dtype(kind).newbyteorder("<")
    if len(layers) == 1:
        return layers[0].astype(little).tobytes(order="F")
    return np.stack(layers).astype(little).tobytes(order="F")

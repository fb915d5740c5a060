"""The same masks voxel by voxel on the scan's own grid, for masks whose header lost its affine on the way.

A tool that saves an array with the identity, or with the affine of another file, leaves masks that have the shape of
the scan and lie elsewhere. Whether they would fit there is judged in ``placement``; nothing is ever moved by itself.
"""

from __future__ import annotations

from collections.abc import Mapping
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np

from radvlm.errors import RadvlmError
from radvlm.io.image_files import read_image, stem_of
from radvlm.io.mask_sources import mask_files, raw_from_object
from radvlm.io.raw import RawImage
from radvlm.types.geometry import Geometry, to_canonical
from radvlm.types.label_scheme import structure_from_name
from radvlm.types.segmentation import LabelPlace, Segmentation
from radvlm.types.volume import Volume

#: So many structures of a folder are enough to judge.
MOST_FILES = 60
#: Orders of axes in which arrays are usually kept, beside that of the scan's own file.
_USUAL_AXES = ("RAS", "LPS", "LAS", "SAR", "SPL")
_LETTERS = ("LR", "PA", "IS")


def masks_as_stored(source: Any, scan: Volume, found: Segmentation) -> tuple[Segmentation, ...]:
    """``found``, read from ``source``, laid on the scan by array index, once for each usual order of stored axes.

    They are for judging only: structures that were lost on the way are missing, and overlaps are not kept. Empty where
    the arrays have another shape than the scan, or lie there already.
    """
    try:
        parts = _parts(source, scan, found)
    except RadvlmError:
        return ()
    shapes = {tuple(raw.array.shape) for raw, _ in parts}
    if len(shapes) != 1:
        return ()
    grids = [
        grid
        for axes in dict.fromkeys((scan.stored_axes, *_USUAL_AXES))
        if (grid := _stored(scan, axes)).shape in shapes
    ]
    if not grids:
        return ()
    labels = np.zeros(grids[0].shape, np.uint8)
    names: list[str] = []
    for raw, table in parts:
        for label, name in table.items():
            here = raw.array != 0 if label is None else raw.array == label
            if len(names) < 255 and here.any():
                names.append(name)
                labels[here] = len(names)
    held = np.bincount(labels.ravel(), minlength=len(names) + 1)
    places = {name: LabelPlace(0, label) for label, name in enumerate(names, 1) if held[label]}
    if not places:
        return ()
    here_already = Geometry(labels.shape, parts[0][0].affine)
    return tuple(
        Segmentation((laid,), places, frozenset(places), geometry)
        for grid in grids
        if not grid.same_grid(here_already)
        for laid, geometry, _ in (to_canonical(labels, grid.affine),)
    )


def _stored(scan: Volume, axes: str) -> Geometry:
    """The grid of the scan with its axes in another order, such as ``LPS``."""
    order = [next(world for world in range(3) if code in _LETTERS[world]) for code in axes]
    return scan.geometry.reordered(order, [1 if code in "RAS" else -1 for code in axes])


def _parts(source: Any, scan: Volume, found: Segmentation) -> list[tuple[RawImage, dict[int | None, str]]]:
    """Raw images, each with the name of every label (None: of whatever is not 0)."""
    whole: dict[int | None, str] = {place.label: name for name, place in found.places.items() if place.layer == 0}
    if isinstance(source, Mapping):
        named = [(structure_from_name(str(key)), value) for key, value in source.items()]
        return [
            (_raw(value, scan), {None: name}) for name, value in named[:MOST_FILES] if name and name in found.places
        ]
    if isinstance(source, (str, PathLike)) and Path(source).is_dir():
        files = [(structure_from_name(stem_of(path)), path) for path in mask_files(Path(source))]
        held = [(name, path) for name, path in files if name in found.places]
        return [(read_image(path), {None: str(name)}) for name, path in held[:MOST_FILES]]
    if isinstance(source, Segmentation) or len(found.layers) != 1:
        return []
    return [(_raw(source, scan), whole)]


def _raw(source: Any, scan: Volume) -> RawImage:
    return read_image(source) if isinstance(source, (str, PathLike)) else raw_from_object(source, scan)

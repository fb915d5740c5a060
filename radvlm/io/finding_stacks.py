"""Masks of findings stacked along a fourth axis, as ReXGroundingCT hands them out: (findings, I, J, K), or last.

What each finding is stands in a table of sentences beside the file: ``{"findings": {"0": "...", ...}}``, or an entry
with the file's ``name`` in a list of such. Any value other than 0 belongs to the finding.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from radvlm.errors import GridError
from radvlm.io.image_files import stem_of
from radvlm.io.raw import StoredImage
from radvlm.types.geometry import Geometry, canonical_order
from radvlm.types.provenance import Decision

#: Larger tables are not read; that of ReXGroundingCT, with 3 000 scans, is below 10 MB.
MAX_TABLE_BYTES = 64 * 2**20
_TABLES = ("dataset.json", "MICCAI_challenge_dataset.json", "findings.json")


def finding_sentences(path: Path) -> tuple[tuple[str, ...], str]:
    """Sentences of the findings of a mask file in their order, and the table they come from; ((), "") when none."""
    own = (f"{stem_of(path)}.json", f"{stem_of(path)}_findings.json")
    tables = [path.with_name(name) for name in (*own, *_TABLES)] + [path.parent.parent / name for name in _TABLES]
    for table in tables:
        try:
            if not table.is_file() or table.stat().st_size > MAX_TABLE_BYTES:
                continue
            content = json.loads(table.read_text(encoding="utf-8-sig"))
        except (OSError, ValueError, RecursionError):
            continue
        entries = list(_entries(content))
        names = {path.name, stem_of(path)}
        named = [entry for entry in entries if str(entry.get("name", "")) in names]
        if not named and table.name in own:
            named = entries[:1]
        for entry in named:
            sentences = _ordered(entry["findings"])
            if sentences:
                return sentences, table.name
    return (), ""


def _entries(content: Any, depth: int = 0) -> Iterator[Mapping[str, Any]]:
    """Every object with findings, down to three levels of lists and splits."""
    if isinstance(content, dict) and isinstance(content.get("findings"), (dict, list)):
        yield content
    elif isinstance(content, (dict, list)) and depth < 3:
        for item in content.values() if isinstance(content, dict) else content:
            yield from _entries(item, depth + 1)


def _ordered(findings: Any) -> tuple[str, ...]:
    if isinstance(findings, list):
        return tuple(str(item) for item in findings) if all(isinstance(item, str) for item in findings) else ()
    numbered = {int(key): value for key, value in findings.items() if str(key).isdecimal() and isinstance(value, str)}
    if len(numbered) != len(findings) or sorted(numbered) != list(range(len(numbered))):
        return ()
    return tuple(numbered[number] for number in range(len(numbered)))


def unstacked(
    stored: StoredImage, name: str, count: int, target: Geometry | None, stored_axes: str
) -> tuple[list[np.ndarray], np.ndarray, tuple[Decision, ...]]:
    """The masks (I, J, K) of a stack, the affine of each, and what had to be decided.

    The axis of the findings is the one whose removal leaves the shape of the scan, else the one as long as there are
    sentences. Where the header's grid is another than that of a scan of the same shape, the voxels count and not the
    header, because the affine of such files is that of three axes out of four.

    Args:
        count: sentences that are known, 0 for none.
        target: grid of the scan in RAS+ order, or None; stored_axes: the axes of its file, such as ``LPS``.

    Raises GridError when the axis of the findings cannot be told.
    """
    shape = stored.array.shape
    own = None if target is None else _in_axes(target, stored_axes)
    axes = [axis for axis in (0, 3) if own is not None and _without(shape, axis) == own.shape]
    if not axes and target is not None:
        axes = [axis for axis in (0, 3) if sorted(_without(shape, axis)) == sorted(target.shape)]
    if len(axes) != 1 and count:
        axes = [axis for axis in axes or (0, 3) if shape[axis] == count]
    if len(axes) != 1:
        raise GridError(
            "masks stacked along a fourth axis have the shape of the scan without it",
            f"{name}: shape {shape}" + (f", scan {own.shape}" if own is not None else ""),
            "Pass the scan of these masks, or split them into one file for each",
        )
    masks = [mask != 0 for mask in np.moveaxis(stored.array, axes[0], 0)]
    if own is None or masks[0].shape != own.shape:
        return masks, stored.affine, ()
    try:
        header = Geometry(masks[0].shape, stored.affine)
    except GridError:
        header = None
    if header is not None and header.same_grid(own):
        return masks, stored.affine, ()
    what = f"The header of {name} states another grid than the scan's; its masks were matched voxel by voxel."
    return masks, own.affine, (Decision("masks", what, warning=True),)


def _without(shape: tuple[int, ...], axis: int) -> tuple[int, ...]:
    return tuple(size for other, size in enumerate(shape) if other != axis)


def _in_axes(grid: Geometry, stored_axes: str) -> Geometry:
    """A RAS+ grid in the axes of the file that it was read from."""
    place = {"R": (0, 1), "L": (0, -1), "A": (1, 1), "P": (1, -1), "S": (2, 1), "I": (2, -1)}
    wanted = [place[code] for code in stored_axes]
    straight = grid.reordered(*canonical_order(grid.affine))
    return straight.reordered([axis for axis, _ in wanted], [sign for _, sign in wanted])

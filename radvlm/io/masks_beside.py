"""Masks that lie in or beside a mask folder and are not read: links that lead nowhere, and masks in other folders."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from pathlib import Path

from radvlm.io.image_files import has_image_name, stem_of
from radvlm.io.mask_sources import NOT_MASKS
from radvlm.io.unfetched import lost_link
from radvlm.types.label_scheme import fold, structure_from_name
from radvlm.types.phrases import first_of
from radvlm.types.provenance import UNREAD, Decision

#: Subfolders beyond this many are not looked into.
MOST_FOLDERS = 50
_MOST_NAMES = 5


def unread_masks(given: Path, used: Path, structures: Collection[str]) -> tuple[Decision, ...]:
    """What is to be said of masks that were not read, where ``used`` is the folder in ``given`` that was.

    Masks in other folders are worth a warning where one names a structure that is not among ``structures``; without
    that they may be copies.
    """
    decisions = []
    lost = {path: link for path in _files(used) if (link := lost_link(path)) is not None}
    if lost:
        first = next(iter(lost))
        names = first_of([path.name for path in lost], _MOST_NAMES)
        is_one = len(lost) == 1
        what = f"{names} {'is' if is_one else 'are links such as'} {lost[first].what}, so "
        what += f"{'this mask was' if is_one else 'these masks were'} not read. {lost[first].remedy}."
        decisions.append(Decision(UNREAD, what, warning=True))
    others = [path for folder in _other_folders(given, used) for path in _files(folder) if path.is_file()]
    named = {path: structure_from_name(stem_of(path)) for path in others if fold(stem_of(path)) not in NOT_MASKS}
    masks = {path: structure for path, structure in named.items() if structure is not None}
    if masks:
        where = first_of(sorted({path.relative_to(given).as_posix() for path in masks}), _MOST_NAMES)
        what = f"Masks are read from one folder ({used.name}); beside it these were not read: {where}."
        decisions.append(Decision("masks", what, warning=bool(set(masks.values()) - set(structures))))
    return tuple(decisions)


def _files(folder: Path) -> list[Path]:
    try:
        found = sorted(path for path in folder.iterdir() if has_image_name(path) and not path.name.startswith("."))
    except OSError:
        return []
    return [path for path in found if not path.name.lower().endswith((".img", ".img.gz"))]


def _other_folders(given: Path, used: Path) -> Iterator[Path]:
    """``given`` itself and the folders in it and in ``used``, without ``used``."""
    if given != used:
        yield given
    for folder in dict.fromkeys((given, used)):
        try:
            inside = sorted(path for path in folder.iterdir() if path.is_dir() and not path.name.startswith("."))
        except OSError:
            continue
        yield from (path for path in inside[:MOST_FOLDERS] if path != used)

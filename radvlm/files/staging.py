"""Where a file or folder lies while it is written: under a hidden name beside its place, locked while its writer lives.

The lock is one of the operating system on the file or folder itself (``flock``), so it ends with its process, however
that ends, and is seen from other containers. What a killed run left is therefore told from what a living one writes.
Where there are no such locks (Windows, some network file systems) nothing is taken for abandoned.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import re
import shutil
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

#: Longer names (in bytes) are shortened in the hidden name, which may not be longer than a file system allows (255).
_LONGEST_NAME = 200


def name_beside(target: Path, kind: str, folder: Path | None = None) -> Path:
    """A name that is not in use, in the folder of ``target`` or in ``folder``."""
    parent = target.parent if folder is None else folder
    return parent / f".{_shown(target)}.{uuid.uuid4().hex[:12]}.{kind}"


@contextmanager
def staged_file(target: Path) -> Iterator[Path]:
    """An empty locked file beside ``target``, gone when the block ends unless it was renamed."""
    with _held(lambda: _new_file(name_beside(target, "part"))) as path:
        try:
            yield path
        finally:
            path.unlink(missing_ok=True)


@contextmanager
def staged_folder(target: Path, folder: Path | None = None) -> Iterator[Path]:
    """An empty locked folder beside ``target`` or in ``folder``, gone when the block ends unless it was renamed."""
    with _held(lambda: _new_folder(name_beside(target, "part", folder))) as path:
        try:
            yield path
        finally:
            shutil.rmtree(path, ignore_errors=True)


@contextmanager
def _held(make: Callable[[], Path]) -> Iterator[Path]:
    """What ``make`` made, locked for the block; made again where another run took it for abandoned before that."""
    while True:
        path = make()
        with _locked(path) as still_there:
            if still_there:
                yield path
                return


def _new_file(path: Path) -> Path:
    os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o666))
    return path


def _new_folder(path: Path) -> Path:
    path.mkdir(parents=True)
    return path


def remove_abandoned(target: str | os.PathLike[str], *, files_inside: bool = False) -> tuple[Path, ...]:
    """Remove what runs that were killed left of ``target``, beside it and in it; returns what was removed.

    ``files_inside``: and of files in it, for a folder whose files are written one by one. What a living process writes
    is left alone, and so is everything that this library did not name.
    """
    place = Path(os.path.realpath(target))
    own = rf"\.{re.escape(_shown(place))}\.[0-9a-f]{{12}}\.part"
    inside = r"\..+\.[0-9a-f]{12}\.part" if files_inside else own
    removed: list[Path] = []
    for folder, pattern in ((place.parent, own), (place, inside)):
        try:
            found = sorted(path for path in folder.iterdir() if re.fullmatch(pattern, path.name, re.DOTALL))
        except OSError:  # no such folder, or a closed one
            continue
        removed += [path for path in found if _removed(path)]
    return tuple(removed)


def _removed(path: Path) -> bool:
    """Whether something was removed, which is done only where no living process holds it."""
    if path.is_symlink():
        return False
    with _locked(path, only_if_locked=True) as free:
        if not free:
            return False
        if path.is_dir():
            shutil.rmtree(path, ignore_errors=True)
        else:
            with contextlib.suppress(OSError):
                path.unlink()
    return not path.exists()


@contextmanager
def _locked(path: Path, *, only_if_locked: bool = False) -> Iterator[bool]:
    """Lock a file or folder for the block. Gives False where another process holds it or has removed it.

    Where the file system knows no locks it gives True, or False with ``only_if_locked``.
    """
    handle = None
    try:
        try:
            import fcntl

            handle = os.open(path, os.O_RDONLY)
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            held = False
        except (ImportError, OSError):
            held = path.exists() and not only_if_locked
        else:
            held = path.exists() and os.path.samestat(path.stat(), os.fstat(handle))
        yield held
    finally:
        if handle is not None:
            os.close(handle)


def _shown(target: Path) -> str:
    name = target.name
    if len(os.fsencode(name)) > _LONGEST_NAME:
        return hashlib.sha256(os.fsencode(name)).hexdigest()[:32]
    return name

"""Files and folders that are whole or absent: written beside their place, then renamed into it.

What lay there before stays until the new content is complete, and is back where the last step fails. With ``durable``
that also holds after a power cut. A kill between the two renames that replace a folder leaves the old one beside its
place, under a name that ends with ``.old``; what else a kill leaves is found by ``staging.remove_abandoned``. A link is
written through: what it leads to is replaced, and the link stays. Also here: the digest of a file, and the one clock.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import os
import shutil
import stat
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

from radvlm.errors import FileFormatError
from radvlm.files.staging import name_beside, staged_file, staged_folder

#: With less space than this nothing is started: a report without its page takes about as much.
LEAST_FREE_BYTES = 4 * 2**20
#: What lies here is an open file of a process, even where it leads to a regular file.
_STREAMS = ("/dev/std", "/dev/fd/", "/proc/")


def write_text(path: str | os.PathLike[str], text: str) -> Path:
    """Write a UTF-8 text file, whole or not at all. Raises FileFormatError when the folder cannot be written."""
    return write_bytes(path, text.encode("utf-8"))


def write_bytes(path: str | os.PathLike[str], content: bytes) -> Path:
    """Write a file, whole or not at all. Raises FileFormatError when the folder cannot be written."""
    target = Path(path)
    try:
        if _is_stream(target):
            target.write_bytes(content)
            return target
        with whole_file(target) as beside:
            beside.write_bytes(content)
    except (OSError, ValueError) as error:  # ValueError: a NUL character in the path
        reason = getattr(error, "strerror", None) or str(error)
        raise FileFormatError(
            "the output can be written",
            f"{target}: {reason}",
            "Free some space" if is_full(error) else "Create the folder, or choose another",
        ) from error
    return target


@contextmanager
def whole_file(target: Path, *, durable: bool = False) -> Iterator[Path]:
    """Give a path to write to; the file there becomes ``target`` when the block ends without an error."""
    place = _place(target)
    with staged_file(place) as beside:
        yield beside
        if durable:
            _flush(beside)
        beside.replace(place)
        if durable:
            _flush(place.parent)


@contextmanager
def whole_folder(target: Path, *, replace: bool = True, durable: bool = False) -> Iterator[Path]:
    """Give an empty folder to fill; it becomes ``target``, in the place of an older one, when the block ends well.

    Parents of ``target`` are made. With ``replace=False`` an older folder stays, and OSError is raised at the end.
    """
    place = _place(target)
    with staged_folder(place) as beside:
        yield beside
        if durable:
            _flush_tree(beside)
        old = name_beside(place, "old")
        if replace and place.exists():
            place.rename(old)
        try:
            beside.rename(place)
        except BaseException:
            if old.exists():
                old.rename(place)
            raise
        if durable:
            _flush(place.parent)
        shutil.rmtree(old, ignore_errors=True)


@contextmanager
def whole_files(folder: Path, names: Sequence[str]) -> Iterator[Path]:
    """Give an empty folder for files that belong together; they go to ``folder`` when the block ends well.

    ``names`` are the files that belong together: one that is in ``folder`` and was not written again is removed. Other
    files there are left alone. Where a file cannot be put in its place, ``folder`` is as it was before.

    In a folder that exists they are written inside it, because only there it is certain that a rename works: it may be
    the current folder, a link, one that is mounted, or lie in one that may not be written to.
    """
    folder = _place(folder)
    with staged_folder(folder, folder if folder.is_dir() else None) as beside:
        yield beside
        if not folder.exists():
            beside.rename(folder)
            return
        with staged_folder(folder, folder) as old:
            kept = [name for name in names if (folder / name).exists()]
            for name in kept:
                shutil.copy2(folder / name, old / name)
            try:
                for name in names:
                    if (beside / name).exists():
                        (beside / name).replace(folder / name)
                    else:
                        (folder / name).unlink(missing_ok=True)
            except BaseException:
                for name in names:
                    if name in kept:
                        (old / name).replace(folder / name)
                    elif not (beside / name).exists():
                        (folder / name).unlink(missing_ok=True)
                raise


def require_writable_folder(folder: str | os.PathLike[str]) -> None:
    """FileFormatError when a folder, or the nearest one that exists above it, cannot be written to; asked before work.

    Nothing is made but a file without a name that is gone again.
    """
    _refuse_empty(folder)
    path = Path(folder)
    nearest = path
    while not _exists(nearest) and nearest.parent != nearest:
        _refuse_lost_link(nearest, path)
        nearest = nearest.parent
    if not nearest.is_dir():
        what = "a file" if nearest.is_file() else "no folder"
        raise FileFormatError(
            "the output goes to a folder",
            f"{path}: {nearest} is {what}" if nearest != path else f"{path} is {what}",
            "Choose another folder, or move the file out of the way",
        )
    if nearest == path and not _place(path).name:
        raise FileFormatError(
            "the output goes to a folder of its own",
            f"{path}, which is the root of the file system",
            "Name a folder in it",
        )
    try:
        with tempfile.TemporaryFile(dir=nearest):
            free = shutil.disk_usage(nearest).free
        if nearest != path:
            _refuse_unusable_name(path)
    except (OSError, ValueError) as error:  # ValueError: a NUL character in the path
        reason = getattr(error, "strerror", None) or str(error)
        if isinstance(error, FileNotFoundError):  # the system has no file to make there, which it says so
            reason = "it takes no new files"
        where = f"{path}: {nearest}: {reason}" if nearest != path else f"{path}: {reason}"
        raise FileFormatError("the output can be written", where, "Choose a folder that you may write to") from error
    if free < LEAST_FREE_BYTES:
        raise FileFormatError(
            f"at least {LEAST_FREE_BYTES // 2**20} MiB are free where the output goes",
            f"{path}: {free // 2**10} KiB",
            "Free some space, or choose another folder",
        )


def require_writable_file(path: str | os.PathLike[str]) -> None:
    """FileFormatError when a file cannot be written: its folder is missing or closed, or a folder has its name."""
    _refuse_empty(path)
    target = Path(path)
    if _exists(target) and target.is_dir():
        raise FileFormatError("the output is a file", f"{target} is a folder", "Name a file inside it")
    if _is_stream(target):
        if not os.access(target, os.W_OK):
            raise FileFormatError("the output can be written", f"{target}", "Choose a file that you may write to")
        return
    if not _exists(target):
        with contextlib.suppress(ValueError):
            target = _place(target)  # a link to a file that is still to be made
        _refuse_lost_link(target, Path(path))
    if not _exists(target.parent):
        raise FileFormatError(
            "the output goes to a folder that exists",
            f"{path}: there is no folder {target.parent.absolute()}",
            "Create the folder, or choose another",
        )
    try:
        require_writable_folder(target.parent)
    except FileFormatError as error:
        raise FileFormatError(error.rule, f"{path}: the folder {error.received}", error.remedy) from error
    try:
        _refuse_unusable_name(target)
    except (OSError, ValueError) as error:
        raise FileFormatError(
            "the output can be written", f"{path}: {getattr(error, 'strerror', None) or error}", "Choose another name"
        ) from error


def is_full(error: BaseException) -> bool:
    """True when an error says that no space is left, on the disk or to this user."""
    return getattr(error, "errno", None) in (errno.ENOSPC, errno.EDQUOT)


def _place(target: Path) -> Path:
    """Where ``target`` really is: absolute, with a name (``.`` has none), behind every link."""
    return Path(os.path.realpath(target))


def _refuse_empty(path: str | os.PathLike[str]) -> None:
    if not os.fspath(path):
        raise FileFormatError(
            "an output has a name", "an empty path", "Is a variable of the shell not set? . is the current folder"
        )


def _refuse_lost_link(path: Path, output: Path) -> None:
    """FileFormatError for a link that leads nowhere, or in a circle."""
    try:
        leads_to = path.readlink()
    except (OSError, ValueError):  # no link
        return
    if leads_to:
        raise FileFormatError(
            "the output goes to a place that exists or can be made",
            f"{output}{'' if path == output else f': {path}'} is a link that leads nowhere (to {leads_to})",
            "Make what it names, remove the link, or choose another place",
        )


def _is_stream(path: Path) -> bool:
    """True for a device or a pipe, such as /dev/stdout, which is written to and never replaced."""
    try:
        mode = path.stat().st_mode
    except (OSError, ValueError):
        return False
    return not (stat.S_ISDIR(mode) or stat.S_ISREG(mode)) or path.as_posix().startswith(_STREAMS)


def _exists(path: Path) -> bool:
    try:
        return path.exists()
    except OSError:  # a name too long, or a folder on the way that may not be looked into
        return False


def _refuse_unusable_name(path: Path) -> None:
    """Raise OSError or ValueError for a name that no file system takes."""
    with contextlib.suppress(FileNotFoundError, NotADirectoryError):
        path.lstat()


def sha256_of(path: Path) -> str:
    """The sha256 of a file, in hex."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def utc_now() -> str:
    """Date and time in UTC to the second, in ISO 8601; its first ten characters are the date."""
    return datetime.now(UTC).isoformat(timespec="seconds")


def _flush_tree(folder: Path) -> None:
    """Every file and folder below, and the folder itself, are on disk when this returns."""
    for path in [*folder.rglob("*"), folder]:
        _flush(path)


def _flush(path: Path) -> None:
    """A file, or the names in a folder, are on disk when this returns (Windows has no such thing for folders)."""
    if os.name == "nt" and path.is_dir():
        return
    handle = os.open(path, os.O_RDONLY if path.is_dir() else os.O_RDWR)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)

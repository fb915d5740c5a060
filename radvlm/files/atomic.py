"""Files and folders that are whole or absent: written beside their place, then renamed into it.

What lay there before stays until the new content is complete, and is back where the last step fails. With ``durable``
that also holds after a power cut. A kill between the two renames that replace a folder leaves the old one beside its
place, under a name that ends with ``.old``. Also here: the digest of a file, and the one clock.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import shutil
import tempfile
import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

from radvlm.errors import FileFormatError

#: With less space than this nothing is started: a report without its page takes about as much.
LEAST_FREE_BYTES = 4 * 2**20


def write_text(path: str | os.PathLike[str], text: str) -> Path:
    """Write a UTF-8 text file, whole or not at all. Raises FileFormatError when the folder cannot be written."""
    return write_bytes(path, text.encode("utf-8"))


def write_bytes(path: str | os.PathLike[str], content: bytes) -> Path:
    """Write a file, whole or not at all. Raises FileFormatError when the folder cannot be written."""
    target = Path(path)
    try:
        with whole_file(target) as beside:
            beside.write_bytes(content)
    except OSError as error:
        raise FileFormatError(
            "the output can be written", f"{target}: {error.strerror or error}", "Create the folder, or choose another"
        ) from error
    return target


@contextmanager
def whole_file(target: Path, *, durable: bool = False) -> Iterator[Path]:
    """Give a path to write to; the file there becomes ``target`` when the block ends without an error."""
    beside = _beside(target, "part")
    try:
        yield beside
        if durable:
            _flush(beside)
        beside.replace(target)
        if durable:
            _flush(target.parent)
    finally:
        beside.unlink(missing_ok=True)


@contextmanager
def whole_folder(target: Path, *, replace: bool = True, durable: bool = False) -> Iterator[Path]:
    """Give an empty folder to fill; it becomes ``target``, in the place of an older one, when the block ends well.

    Parents of ``target`` are made. With ``replace=False`` an older folder stays, and OSError is raised at the end.
    """
    with _folder_beside(target) as beside:
        yield beside
        if durable:
            _flush_tree(beside)
        old = _beside(target, "old")
        if replace and target.exists():
            target.rename(old)
        try:
            beside.rename(target)
        except BaseException:
            if old.exists():
                old.rename(target)
            raise
        if durable:
            _flush(target.parent)
        shutil.rmtree(old, ignore_errors=True)


@contextmanager
def whole_files(folder: Path, names: Sequence[str]) -> Iterator[Path]:
    """Give an empty folder for files that belong together; they go to ``folder`` when the block ends well.

    ``names`` are the files that belong together: one that is in ``folder`` and was not written again is removed. Other
    files there are left alone. Where a file cannot be put in its place, ``folder`` is as it was before.
    """
    with _folder_beside(folder) as beside:
        yield beside
        if not folder.exists():
            beside.rename(folder)
            return
        with _folder_beside(folder) as old:
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
    path = Path(folder)
    nearest = path
    while not _exists(nearest) and nearest.parent != nearest:
        nearest = nearest.parent
    if not nearest.is_dir():
        raise FileFormatError(
            "the output goes to a folder",
            f"{path}: {nearest} is a file" if nearest != path else f"{path} is a file",
            "Choose another folder, or move the file out of the way",
        )
    try:
        with tempfile.TemporaryFile(dir=nearest):
            free = shutil.disk_usage(nearest).free
        if nearest != path:
            _refuse_unusable_name(path)
    except (OSError, ValueError) as error:  # ValueError: a NUL character in the path
        reason = getattr(error, "strerror", None) or str(error)
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
    target = Path(path)
    if _exists(target) and target.is_dir():
        raise FileFormatError("the output is a file", f"{target} is a folder", "Name a file inside it")
    if not _exists(target.parent):
        raise FileFormatError(
            "the output goes to a folder that exists",
            f"{target}: there is no folder {target.parent.absolute()}",
            "Create the folder, or choose another",
        )
    require_writable_folder(target.parent)


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


def _beside(target: Path, kind: str) -> Path:
    """A name that is not in use, in the folder of ``target``."""
    return target.with_name(f".{target.name}.{uuid.uuid4().hex[:12]}.{kind}")


@contextmanager
def _folder_beside(target: Path) -> Iterator[Path]:
    """An empty folder in the folder of ``target``, gone when the block ends unless it was renamed."""
    beside = _beside(target, "part")
    try:
        beside.mkdir(parents=True)
    except OSError:  # an output folder that may be written to in one that may not, such as one given to a container
        if not target.is_dir():
            raise
        beside = _beside(target / target.name, "part")
        beside.mkdir()
    try:
        yield beside
    finally:
        shutil.rmtree(beside, ignore_errors=True)


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

"""Files and folders that are whole or absent: written beside their place, then renamed into it.

What lay there before stays until the new content is complete, and is back where the last step fails. With ``durable``
that also holds after a power cut. A kill between the two renames that replace a folder leaves the old one beside its
place, under a name that ends with ``.old``. Also here: the digest of a file, and the one clock.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

from radvlm.errors import FileFormatError


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
def whole_folder(target: Path, *, durable: bool = False) -> Iterator[Path]:
    """Give an empty folder to fill; it becomes ``target``, in the place of an older one, when the block ends well.

    Parents of ``target`` are made. Whether an older folder may be replaced is for the caller to check.
    """
    with _folder_beside(target) as beside:
        yield beside
        if durable:
            _flush_tree(beside)
        old = _beside(target, "old")
        if target.exists():
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
    beside.mkdir(parents=True)
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

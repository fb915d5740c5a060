"""Zip archives of image files: unpacked into a folder of its own that is gone afterwards, within the budget."""

from __future__ import annotations

import tempfile
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath

from radvlm.errors import FileFormatError
from radvlm.io.dicom_files import parsing
from radvlm.io.image_files import has_image_name
from radvlm.io.inflation import refuse_beyond_budget

#: Members beyond this many are not looked at.
MAX_MEMBERS = 20_000
_PIECE = 2**20
#: How an archive begins, and an empty one.
_ZIP_STARTS = (b"PK\x03\x04", b"PK\x05\x06")


def image_members(path: Path) -> list[str]:
    """Names of the members of an archive that are called like images; [] for an archive that also holds DICOM.

    Raises FileFormatError for a damaged archive, and for one that unpacks beyond the budget.
    """
    with parsing(path.name, "a zip archive can be opened"), zipfile.ZipFile(path) as archive:
        infos = _members(archive, path)
        images = [info.filename for info in infos if has_image_name(Path(info.filename))]
        images = [name for name in images if len(images) == 1 or not name.lower().endswith((".img", ".img.gz"))]
        for info in infos if images else ():
            if not has_image_name(Path(info.filename)):
                with archive.open(info) as file:
                    if file.read(132)[128:] == b"DICM":
                        return []
        return sorted(images)


def only_archive(path: Path) -> str | None:
    """The name of the one member of an archive, where that is a zip archive again; None for every other archive."""
    with parsing(path.name, "a zip archive can be opened"), zipfile.ZipFile(path) as archive:
        infos = _members(archive, path)
        if len(infos) != 1 or not infos[0].filename.lower().endswith(".zip"):
            return None
        with archive.open(infos[0]) as file:
            return infos[0].filename if file.read(4) in _ZIP_STARTS else None


@contextmanager
def unpacked_archive(path: Path, only: str | None = None) -> Iterator[Path]:
    """A folder with the members of an archive (or ``only`` one of them), gone when the block ends.

    Names that lead out of the folder are refused; what is unpacked goes to disk piece by piece.
    """
    with tempfile.TemporaryDirectory(prefix="radvlm-") as name:
        folder = Path(name, path.stem or "archive")
        folder.mkdir()
        with parsing(path.name, "a zip archive can be unpacked"), zipfile.ZipFile(path) as archive:
            for info in _members(archive, path):
                if only is not None and info.filename != only:
                    continue
                target = folder / _inner(info.filename, path.name)
                target.parent.mkdir(parents=True, exist_ok=True)
                with archive.open(info) as packed, target.open("wb") as file:
                    while piece := packed.read(_PIECE):
                        file.write(piece)
        yield folder


def _members(archive: zipfile.ZipFile, path: Path) -> list[zipfile.ZipInfo]:
    infos = [info for info in archive.infolist() if not info.is_dir()]
    if len(infos) > MAX_MEMBERS:
        raise FileFormatError(
            f"an archive holds at most {MAX_MEMBERS} files", f"{path.name}: {len(infos)}", "Unpack it"
        )
    refuse_beyond_budget(sum(info.file_size for info in infos), path.stat().st_size, path.name)
    return [info for info in infos if "__MACOSX" not in info.filename and not _base(info.filename).startswith(".")]


def _base(name: str) -> str:
    return PurePosixPath(name).name


def _inner(name: str, archive: str) -> Path:
    parts = PurePosixPath(name.replace("\\", "/")).parts
    if not parts or any(part in ("..", "/") or ":" in part or "\0" in part for part in parts):
        raise FileFormatError(
            "members of an archive lie inside it", f"{archive}: {name[:80]!r}", "Do not trust this archive"
        )
    return Path(*parts)

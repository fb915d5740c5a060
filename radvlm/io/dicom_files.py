"""Finding and opening DICOM files in folders, lists and zip archives.

What a file is called means nothing here. Files are recognized by their content; whatever is not DICOM is
counted and skipped, but a file that starts as DICOM (or is named .dcm) and cannot be parsed stops the reading,
because leaving it out could leave a hole in the scan.
"""

from __future__ import annotations

import io
import os
import re
import struct
import warnings
import zipfile
import zlib
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pydicom.errors import BytesLengthException, InvalidDicomError

from radvlm.errors import FileFormatError, RadvlmError
from radvlm.io.dicom_bytes import PIXEL_SIZE_TAGS, LazyStream, deflated_start, header_stream, plain, require_fits_pixels
from radvlm.io.file_bytes import missing_file, require_regular
from radvlm.io.inflation import UNPROVEN_BYTES, needs_proof, refuse_beyond_budget
from radvlm.io.unfetched import ANNEX_POINTER, LFS_POINTER, Unfetched, lost_link, pointer

#: A single DICOM file larger than this is refused (an enhanced CT of 4000 frames in 16 bits is 2 GiB).
MAX_FILE_BYTES = 4 * 2**30
#: What parsers and decoders raise on damaged bytes. Anything else is a defect of this library.
PARSER_ERRORS = (
    ValueError,
    TypeError,
    LookupError,
    AttributeError,
    ArithmeticError,
    EOFError,
    OSError,
    RuntimeError,
    AssertionError,
    MemoryError,
    struct.error,
    zlib.error,
    zipfile.BadZipFile,
    BytesLengthException,
    InvalidDicomError,
)
#: What an error of a parser means to the person who passed the file; the first that fits.
_REASONS: tuple[tuple[tuple[type[BaseException], ...], str], ...] = (
    ((MemoryError,), "more memory is needed than there is"),
    ((zipfile.BadZipFile, zlib.error), "its packed content is damaged"),
    ((EOFError, struct.error, BytesLengthException), "it ends early, or its lengths are wrong"),
    ((NotImplementedError,), "it is written in a way that no decoder here reads"),
    ((InvalidDicomError,), "it has no DICOM header"),
)
_DIRECTORY_CLASS = "1.2.840.10008.1.3.10"
#: Rows, Columns, position, orientation, pixel spacing, rescale: not readable means a damaged file. What else is not
#: readable counts as absent.
_ESSENTIAL = (0x00280010, 0x00280011, 0x00200032, 0x00200037, 0x00280030, 0x00281052, 0x00281053)
_DICOM_SUFFIXES = (".dcm", ".dicom", ".ima")
_EMPTY = "0 bytes"
#: How files begin that have to be unpacked before they are read, and what they are.
_PACKINGS = (
    (b"\x1f\x8b", "packed with gzip"),
    (b"PK\x03\x04", "a zip archive"),
    (b"PK\x05\x06", "an empty zip archive"),
    (b"BZh", "packed with bzip2"),
    (b"\x28\xb5\x2f\xfd", "packed with zstd"),
    (b"\xfd7zXZ", "packed with xz"),
    (b"7z\xbc\xaf\x27\x1c", "a 7z archive"),
    (b"Rar!", "a rar archive"),
)
_PACKED = frozenset(what for _, what in _PACKINGS)
#: What a file is in place of its content -> how it is fetched.
_REMEDIES = {kind.what: kind.remedy for kind in (LFS_POINTER, ANNEX_POINTER)}


@dataclass(frozen=True)
class DicomFile:
    """One file on disk, or one member of a zip archive; ``link`` for a link on disk that leads nowhere."""

    name: str
    folder: str
    path: Path
    member: str | None = None
    link: Unfetched | None = None

    def read(self) -> bytes:
        """All bytes of the file."""
        if self.member is None:
            if self.path.stat().st_size > MAX_FILE_BYTES:
                raise FileFormatError(f"a DICOM file is below {MAX_FILE_BYTES / 2**30:.0f} GiB", self.name)
            return self.path.read_bytes()
        with zipfile.ZipFile(self.path) as archive, archive.open(self.member) as file:
            info = archive.getinfo(self.member)
            if needs_proof(info.file_size, info.compress_size):
                with io.BufferedReader(self._lazy(file)) as stream:
                    require_fits_pixels(info.file_size, info.compress_size, _pixel_sizes(stream), self.name)
                for _ in iter(lambda: file.read(2**20), b""):  # damage is found before memory is taken
                    pass
            return archive.read(self.member)

    @contextmanager
    def header(self) -> Iterator[Any]:
        """A stream to read the header from, which unpacks no more than is read of it."""
        if self.member is None:
            with self.path.open("rb") as file:
                start = file.read(4096)
                if deflated_start(start) is None:
                    file.seek(0)
                    yield file
                else:
                    yield header_stream(self.read(), self.name)
            return
        with zipfile.ZipFile(self.path) as archive, archive.open(self.member) as file:
            if deflated_start(self.start()) is None:
                yield io.BufferedReader(self._lazy(file))
            else:
                yield header_stream(self.read(), self.name)

    def _lazy(self, file: Any) -> LazyStream:
        return LazyStream(iter(lambda: file.read(2**16), b""), UNPROVEN_BYTES, self.name)

    def start(self) -> bytes:
        """The first 4096 bytes."""
        if self.member is None:
            with self.path.open("rb") as file:
                return file.read(4096)
        with zipfile.ZipFile(self.path) as archive, archive.open(self.member) as file:
            return file.read(4096)


@dataclass
class Found:
    """DICOM headers that were read, in the order of their paths, and what was left out (reason -> count).

    ``lost`` are names of files that are no DICOM, but are called as those beside them are; ``unfetched`` are links that
    lead nowhere and pointers that stand, by their names, for images. ``packed`` are files that have to be unpacked
    first, with what they are; ``closed`` says why folders could not be listed.
    """

    headers: list[tuple[DicomFile, Any]] = field(default_factory=list)
    skipped: Counter[str] = field(default_factory=Counter)
    lost: list[str] = field(default_factory=list)
    unfetched: list[tuple[str, Unfetched]] = field(default_factory=list)
    packed: list[tuple[str, str]] = field(default_factory=list)
    closed: list[str] = field(default_factory=list)


@contextmanager
def parsing(name: str, what: str = "a DICOM file can be parsed", remedy: str = "") -> Iterator[None]:
    """Turn whatever a parser raises on damaged bytes into one FileFormatError; parser warnings are silenced."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            yield
        except RadvlmError:
            raise
        except PARSER_ERRORS as error:
            raise FileFormatError(
                what, f"{name}: {_reason(error)}", remedy or "The file is damaged; copy or download it again"
            ) from error


class Damage(ValueError):
    """Damage that radvlm found itself and names in its own words; ``parsing`` passes them on."""


def _reason(error: BaseException) -> str:
    """What is wrong, in words of a reader: those of a parser are about its own insides, and stay in the traceback."""
    if isinstance(error, Damage):
        return str(error)
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    for kinds, words in _REASONS:
        if isinstance(error, kinds):
            return words
    return "its content makes no sense"


def read_headers(source: Path | Sequence[Path], tags: Sequence[str]) -> Found:
    """Headers (only ``tags``, no pixels) of every DICOM file in a folder (recursive), a list of files or a zip.

    Raises FileFormatError for a broken DICOM file, a missing file, or a damaged archive.
    """
    found, others = Found(), []
    for file in _files(source, found):
        reason = _not_dicom(file) if file.link is None else file.link.what
        if reason is not None:
            if file.name.lower().endswith(_DICOM_SUFFIXES) and file.link is None:
                remedy = _REMEDIES.get(reason, "Remove it from the folder, or copy or download it again")
                raise FileFormatError("a file named as DICOM is DICOM", f"{file.name}: {reason}", remedy)
            others.append((file, reason))
            continue
        header = _header(file, tags)
        if str(header.file_meta.get("MediaStorageSOPClassUID", "")) == _DIRECTORY_CLASS:
            found.skipped["DICOMDIR"] += 1
        else:
            found.headers.append((file, header))
    kinds = {(file.folder, _kind_of_name(file.name)) for file, _ in found.headers}
    endings = {(file.folder, Path(file.name).suffix) for file, _ in found.headers}
    for file, reason in others:
        is_nifti = file.name.lower().endswith((".nii", ".nii.gz"))
        # 0 bytes beside slices of any names; where those have no ending, ``suffix`` is a part of a number
        is_empty = reason == _EMPTY and _has_number(file.name) and (file.folder, Path(file.name).suffix) in endings
        called_alike = (file.folder, _kind_of_name(file.name)) in kinds
        remedy = _REMEDIES.get(reason, "") if file.link is None else file.link.remedy
        may_be_slice = called_alike or Path(file.name).suffix.lower() in ("", *_DICOM_SUFFIXES)
        if remedy and not is_nifti and (may_be_slice or not found.headers):
            found.unfetched.append((file.name, Unfetched(reason, remedy)))
        elif reason in _PACKED and not is_nifti:
            found.packed.append((file.name, reason))
        elif not is_nifti and (is_empty or called_alike):
            found.lost.append(file.name)
        else:
            found.skipped["NIfTI files" if is_nifti else "not DICOM"] += 1
    return found


def _kind_of_name(name: str) -> str:
    """A name without its numbers, which the slices of a series share; one without any number is its own kind."""
    return re.sub(r"\d+", "#", name)


def _has_number(name: str) -> bool:
    return any(character.isdigit() for character in name)


def read_dataset(file: DicomFile, content: bytes) -> Any:
    """The whole dataset of a file whose bytes were read before, with a transfer syntax set."""
    import pydicom
    from pydicom.uid import ExplicitVRLittleEndian, ImplicitVRLittleEndian

    with parsing(file.name):
        dataset = pydicom.dcmread(io.BytesIO(plain(content, file.name)), force=True)
        meta = dataset.file_meta
        if "TransferSyntaxUID" not in meta:
            implicit = dataset.original_encoding[0]
            meta.TransferSyntaxUID = ImplicitVRLittleEndian if implicit else ExplicitVRLittleEndian
        return dataset


def _pixel_sizes(stream: Any) -> Any:
    import pydicom

    return pydicom.dcmread(stream, stop_before_pixels=True, specific_tags=list(PIXEL_SIZE_TAGS), force=True)


def _files(source: Path | Sequence[Path], found: Found) -> Iterator[DicomFile]:
    skipped = found.skipped
    if not isinstance(source, Path):
        for path in source:
            if not path.exists():
                raise missing_file(path, "every path in the list exists")
            require_regular(path)
            if path.is_dir() or path.name.upper() == "DICOMDIR":
                yield from _files(path, found)
            else:
                yield DicomFile(path.name, str(path.parent), path)
    elif source.is_dir():
        yield from _walked(source, found)
    elif zipfile.is_zipfile(source):
        yield from _members(source, skipped)
    elif _is_directory_file(source):
        yield from _listed(source, skipped)
    else:
        yield DicomFile(source.name, str(source.parent), source)


def _walked(source: Path, found: Found) -> Iterator[DicomFile]:
    """Files of a folder and its subfolders; linked folders too, each real folder once."""
    seen, skipped = set(), found.skipped
    for folder, folders, names in os.walk(
        source, followlinks=True, onerror=lambda error: found.closed.append(error.strerror or "not readable")
    ):
        real = os.path.realpath(folder)
        if real in seen:  # a link to a folder above, or to one that was read
            folders.clear()
            continue
        seen.add(real)
        folders.sort()
        for name in sorted(names):
            path = Path(folder, name)
            link = None if path.is_file() else lost_link(path)
            if link is not None and not name.startswith("."):
                yield DicomFile(name, folder, path, link=link)
            elif name.startswith("._") or name == ".DS_Store" or not path.is_file():
                skipped["not DICOM"] += 1
            elif name.upper() == "DICOMDIR":
                skipped["DICOMDIR"] += 1
            else:
                yield DicomFile(name, folder, path)


def _is_directory_file(path: Path) -> bool:
    """True for a DICOMDIR, which lists the images of a disc, whatever it is called."""
    if not looks_like_dicom(path):
        return path.name.upper() == "DICOMDIR"
    return str(
        _header(DicomFile(path.name, str(path.parent), path), ()).file_meta.get("MediaStorageSOPClassUID", "")
    ) == (_DIRECTORY_CLASS)


def _listed(path: Path, skipped: Counter[str]) -> Iterator[DicomFile]:
    """Files that a DICOMDIR lists, by names that hold whatever the case in which the disc was copied."""
    header = _header(DicomFile(path.name, str(path.parent), path), ("DirectoryRecordSequence",))
    with parsing(path.name, "a DICOMDIR lists its files"):
        identifiers = [record.get("ReferencedFileID") for record in header.get("DirectoryRecordSequence") or []]
    wanted = [(item,) if isinstance(item, str) else tuple(item) for item in identifiers if item]
    found = 0
    for parts in sorted(set(wanted)):
        file = _beneath(path.parent, [str(part) for part in parts])
        if file is None:
            skipped["files that the DICOMDIR lists and the disc lacks"] += 1
        else:
            found += 1
            yield DicomFile(file.name, str(file.parent), file)
    if not found:
        raise FileFormatError(
            "a DICOMDIR lies beside the files that it lists",
            f"{path.name}: {len(wanted)} listed, none there",
            "Copy the whole disc, or pass the folder with the images",
        )


def _beneath(folder: Path, parts: Sequence[str]) -> Path | None:
    """The file with these names of folders and file, in any case; None where there is none."""
    for part in parts:
        if part in ("", ".", "..") or "/" in part or "\\" in part:
            return None
        named = folder / part
        if not named.exists():
            alike = [item for item in folder.iterdir() if item.name.casefold() == part.casefold()]
            if not alike:
                return None
            named = alike[0]
        folder = named
    return folder if folder.is_file() else None


def _members(path: Path, skipped: Counter[str]) -> Iterator[DicomFile]:
    with parsing(path.name, "a zip archive can be opened"), zipfile.ZipFile(path) as archive:
        infos = [info for info in archive.infolist() if not info.is_dir()]
        refuse_beyond_budget(sum(info.file_size for info in infos), path.stat().st_size, path.name)
    for info in sorted(infos, key=lambda info: info.filename):
        folder, _, name = info.filename.rpartition("/")
        if name.startswith("._") or name == ".DS_Store" or "__MACOSX" in folder:
            skipped["not DICOM"] += 1
        elif name.upper() == "DICOMDIR":
            skipped["DICOMDIR"] += 1
        else:
            yield DicomFile(name, folder, path, info.filename)


def sop_class_of(path: Path) -> str:
    """SOPClassUID of a DICOM file with a preamble; "" for any other file and where it cannot be read."""
    import pydicom

    file = DicomFile(path.name, str(path.parent), path)
    try:
        if file.start()[128:132] != b"DICM":
            return ""
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            with file.header() as stream:
                header = pydicom.dcmread(stream, stop_before_pixels=True, specific_tags=["SOPClassUID"])
            return str(header.get("SOPClassUID", ""))
    except PARSER_ERRORS:
        return ""


def looks_like_dicom(path: Path) -> bool:
    """True when the first bytes of a file are DICOM's."""
    return _not_dicom(DicomFile(path.name, str(path.parent), path)) is None


def _not_dicom(file: DicomFile) -> str | None:
    """Why the first bytes are not DICOM; None when they are."""
    with parsing(file.name, "a file can be opened", "Check its permissions"):
        start = file.start()
    if start[128:132] == b"DICM":
        return None
    if not start:
        return _EMPTY
    # Without a preamble: an element of group 0002 or 0008 comes first, as an explicit VR or a short length.
    if start[:2] in (b"\x02\x00", b"\x08\x00") and len(start) >= 16:
        if start[4:6].isalpha() and start[4:6].isupper():
            return None
        if int.from_bytes(start[4:8], "little") <= 64:
            return None
    elsewhere = pointer(start)
    if elsewhere is not None:
        return elsewhere.what
    return next((what for sign, what in _PACKINGS if start.startswith(sign)), "no DICOM header")


def _header(file: DicomFile, tags: Sequence[str]) -> Any:
    import pydicom

    with parsing(file.name, remedy="Remove it from the folder, or copy or download it again"):
        with file.header() as stream:
            header = pydicom.dcmread(stream, stop_before_pixels=True, specific_tags=list(tags), force=True)
        if not len(header) and "TransferSyntaxUID" not in header.file_meta:
            raise Damage("nothing follows where its header should be")
        str(header.file_meta.get("MediaStorageSOPClassUID", ""))
        for tag in list(header.keys()):  # convert every value here, where damage is caught
            try:
                header[tag]
            except PARSER_ERRORS:
                if header.get_item(tag).tag in _ESSENTIAL:
                    raise
                del header[tag]
        return header

"""Structured fuzzing of every reader: a Volume, a Segmentation or one RadvlmError, in time and within memory.

    python eval/fuzz_readers.py --inputs 1000000            # all readers, in parts of 2,000; goes on where it stopped
    python eval/fuzz_readers.py --inputs 20000 --only nrrd  # one of them
    python eval/fuzz_readers.py --summary                   # the parts so far, as eval/results/fuzz_readers.json

Each part runs in a process of its own with a limit of memory. An input is a small valid file with one to three changes:
a field of its header set to a value that hurts, two fields exchanged, bytes turned, cut off, repeated; packed again
where the format packs. Faults are another exception than RadvlmError, a message of several lines or over 2,000
characters, more than 10 s of processor time, and memory over the limit. Each stands in ``out/fuzz/*.json`` with
reader, seed and the end of the traceback; the seed makes the same input again (``--only READER --seed N``).

Valid files are taken apart once and written with other bytes in the place of their elements, in memory; slices of a
series that stay as they are are parsed once a process. Nothing else of what is tested is left out.
"""

from __future__ import annotations

import argparse
import gzip
import json
import logging
import os
import resource
import signal
import struct
import subprocess
import sys
import tempfile
import time
import traceback
import warnings
import zipfile
from collections import Counter
from collections.abc import Callable
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
from record import write_result

sys.path.insert(0, str(Path(__file__).parents[1] / "tests" / "made"))

PART = 2_000
#: Inputs are written where nothing reaches a disk, where there is such a place.
MEMORY = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None
#: Processor time of one input, and the time on the clock in which it must end on a busy machine.
LIMIT_S, WAITING_S = 10, 300
MEMORY_BYTES = 2 << 30
OUT = Path("out/fuzz")
NUMBERS = (0, 1, -1, 2, 3, 5, 7, 255, 256, 32767, -32768, 65535, 65536, 2**31 - 1, -(2**31), 2**32 - 1, 1e-9, 1e9, 1e38)
FLOATS = (*NUMBERS, float("nan"), float("inf"), -float("inf"), 0.5, 0.1, -0.1, 1e-38)
WORDS = (
    "",
    " ",
    "nan",
    "inf",
    "-1",
    "0",
    "1e400",
    "abc",
    "9" * 40,
    "1.5",
    "１２",
    "()",
    "(1,0,0)",
    "(nan,0,0) (0,1,0) (0,0,1)",
    "0 0 0",
    "1 1 1",
    "-3 4 5",
    "1000000 1000000 1000000",
    "short",
    "float",
    "uchar",
    "block",
    "double",
    "gzip",
    "bzip2",
    "raw",
    "hex",
    "text",
    "little",
    "big",
    "none",
    "True",
    "left-posterior-superior",
    "RAS",
    "LIST",
    "../secret.raw",
    "LOCAL",
    "x" * 2000,
    "\x00",
    "MET_SHORT",
    "MET_DOUBLE",
    "1 0 0 0 1 0 0 0 1",
    "0 0 0 0 0 0 0 0 0",
    "1 0 0 1 0 0 1 0 0",
    "domain list space",
)


class TooLong(BaseException):
    """The alarm went off."""


# -- inputs ---------------------------------------------------------------------------------------------------------


def small_ct() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """HU, labels and affine of a body of 20 x 18 x 10 voxels."""
    rng = np.random.default_rng(0)
    i, j, _ = np.ogrid[:20, :18, :10]
    body = ((i - 9.5) / 8) ** 2 + ((j - 8.5) / 6) ** 2 + np.zeros((1, 1, 10)) < 1
    hu = np.where(body, 45, -1000) + rng.normal(0, 8, (20, 18, 10))
    labels = np.zeros(hu.shape, np.uint8)
    labels[12:16, 6:12, 2:8], labels[4:7, 6:12, 3:7] = 1, 5
    affine = np.diag([18.0, 18.0, 12.0, 1.0])
    affine[:3, 3] = -170, -150, 20
    return np.rint(hu).astype(np.int16), labels, affine


def nifti_bytes(array: np.ndarray, affine: np.ndarray) -> bytes:
    import nibabel as nib

    image = nib.Nifti1Image(array, affine)
    image.header.set_xyzt_units("mm")
    return image.to_bytes()


def nrrd_bytes(array: np.ndarray, affine: np.ndarray, segments: bool) -> bytes:
    kind = {"int16": "short", "uint8": "uchar"}[array.dtype.name]
    columns = [affine[:3, axis] * (-1, -1, 1) for axis in range(3)]
    lines = [
        "NRRD0004",
        f"type: {kind}",
        "dimension: 3",
        "space: left-posterior-superior",
        "sizes: " + " ".join(map(str, array.shape)),
        "space directions: " + " ".join("(" + ",".join(f"{v:g}" for v in column) + ")" for column in columns),
        "kinds: domain domain domain",
        "endian: little",
        "encoding: gzip",
        "space origin: (" + ",".join(f"{v:g}" for v in affine[:3, 3] * (-1, -1, 1)) + ")",
    ]
    if segments:
        for number, (label, name) in enumerate(((1, "spleen"), (5, "liver"))):
            lines += [
                f"Segment{number}_LabelValue:={label}",
                f"Segment{number}_Name:={name}",
                f"Segment{number}_Layer:=0",
            ]
    return ("\n".join(lines) + "\n\n").encode() + gzip.compress(array.tobytes(order="F"), 1)


def meta_bytes(array: np.ndarray, affine: np.ndarray) -> bytes:
    kind = {"int16": "MET_SHORT", "uint8": "MET_UCHAR"}[array.dtype.name]
    lines = [
        "ObjectType = Image",
        "NDims = 3",
        "BinaryData = True",
        "BinaryDataByteOrderMSB = False",
        "CompressedData = False",
        "TransformMatrix = 1 0 0 0 1 0 0 0 1",
        "Offset = " + " ".join(f"{v:g}" for v in affine[:3, 3] * (-1, -1, 1)),
        "ElementSpacing = " + " ".join(f"{affine[axis, axis]:g}" for axis in range(3)),
        "DimSize = " + " ".join(map(str, array.shape)),
        f"ElementType = {kind}",
        "ElementDataFile = LOCAL",
    ]
    return ("\n".join(lines) + "\n").encode() + array.tobytes(order="F")


# -- changes --------------------------------------------------------------------------------------------------------

NIFTI_FIELDS = (
    (0, "i4"),
    (40, "i2"),
    (42, "i2"),
    (44, "i2"),
    (46, "i2"),
    (48, "i2"),
    (50, "i2"),
    (70, "i2"),
    (72, "i2"),
    (76, "f4"),
    (80, "f4"),
    (84, "f4"),
    (88, "f4"),
    (92, "f4"),
    (108, "f4"),
    (112, "f4"),
    (116, "f4"),
    (123, "u1"),
    (252, "i2"),
    (254, "i2"),
    (256, "f4"),
    (260, "f4"),
    (264, "f4"),
    (268, "f4"),
    (272, "f4"),
    (276, "f4"),
    *((280 + 4 * n, "f4") for n in range(12)),
    (344, "i4"),
    (348, "i4"),
)


def changed_bytes(rng: np.random.Generator, content: bytes, header: int) -> bytes:
    """A few bytes turned, or a piece cut off, cut out or repeated; ``header`` bytes are hit more often."""
    out = bytearray(content)
    for _ in range(int(rng.integers(1, 4))):
        limit = min(header, len(out)) if rng.random() < 0.7 else len(out)
        if limit:
            out[int(rng.integers(limit))] ^= 1 << int(rng.integers(8))
    way = rng.random()
    at, length = int(rng.integers(len(out) + 1)), int(rng.integers(64))
    if way < 0.1:
        del out[at:]
    elif way < 0.2:
        del out[at : at + length]
    elif way < 0.3:
        out[at:at] = out[at : at + length]
    return bytes(out)


def changed_nifti(rng: np.random.Generator, content: bytes) -> bytes:
    out = bytearray(content)
    for _ in range(int(rng.integers(1, 4))):
        offset, kind = NIFTI_FIELDS[rng.integers(len(NIFTI_FIELDS))]
        choice = (FLOATS if kind == "f4" else NUMBERS)[rng.integers(len(NUMBERS))]
        with np.errstate(all="ignore"):
            number = np.array([choice]).astype("<f8").astype(f"<{kind}") if kind == "f4" else _whole(choice, kind)
        raw = number.tobytes()
        out[offset : offset + len(raw)] = raw
    changed = bytes(out)
    if rng.random() < 0.2:
        changed = changed_bytes(rng, changed, 352)
    if rng.random() < 0.3:
        changed = gzip.compress(changed, 1)
        if rng.random() < 0.3:
            changed = changed_bytes(rng, changed, 20)
    return changed


def _whole(number: float, kind: str) -> np.ndarray:
    bits = 8 * np.dtype(kind).itemsize
    return np.array([int(number) % 2**bits], "<u8").astype(f"<u{bits // 8}")


def changed_text(rng: np.random.Generator, content: bytes, end: bytes, between: str) -> bytes:
    """One to three lines of a text header with another value, left out, doubled or exchanged."""
    head, data = content.split(end, 1)
    lines = head.decode().split("\n")
    for _ in range(int(rng.integers(1, 4))):
        at = int(rng.integers(len(lines)))
        way = rng.random()
        word = WORDS[rng.integers(len(WORDS))]
        if way < 0.6 and between in lines[at]:
            name = lines[at].split(between, 1)[0]
            lines[at] = name + between + word
        elif way < 0.7 and between in lines[at]:
            parts = lines[at].split()
            parts[int(rng.integers(len(parts)))] = word
            lines[at] = " ".join(parts)
        elif way < 0.8:
            lines.insert(at, lines[int(rng.integers(len(lines)))])
        elif way < 0.9 and len(lines) > 2:
            del lines[at]
        else:
            other = int(rng.integers(len(lines)))
            lines[at], lines[other] = lines[other], lines[at]
    changed = "\n".join(lines).encode() + end + data
    return changed_bytes(rng, changed, len(head)) if rng.random() < 0.2 else changed


DICOM_WORDS = (
    "",
    "\\",
    "nan",
    "1e400",
    "abc",
    "-0",
    "1\\2",
    "0\\0\\0",
    "1\\0\\0\\0\\1\\0",
    "0\\1\\0\\1\\0\\0",
    "1e-3\\1e-3",
    "9" * 16,
    "0.0",
    "-1",
    "1.5",
    "LOCALIZER",
    "MR",
    "ISO_IR 192",
    "\\ISO 2022 IR 87",
    "MONOCHROME1",
    "RGB",
    "PALETTE COLOR",
    "DERIVED\\SECONDARY\\OTHER\\IODINE",
    "1.2.840.10008.5.1.4.1.1.2.1",
    "1.2.840.10008.5.1.4.1.1.66.4",
    "1.2.3",
    "HU",
    "US",
    "FFDR",
    "20251301",
    "250000",
    "099Y",
)


#: An element: tag and VR as they stand in the file, and its value, or the items of a sequence.
Element = tuple[bytes, bytes, "bytes | list[Tree]"]
Tree = list[Element]
_LONG = (b"OB", b"OW", b"OF", b"SQ", b"UN", b"UT", b"OD", b"OL", b"UC", b"UR", b"OV")
_ITEM, _ITEM_END, _SEQUENCE_END = (b"\xfe\xff" + struct.pack("<H", number) for number in (0xE000, 0xE00D, 0xE0DD))
_UNKNOWN_LENGTH = 0xFFFFFFFF


def parsed(content: bytes, at: int, end: int) -> tuple[Tree, int]:
    """The elements of a dataset in explicit little endian, and where it ends; so no parser is in the way of faults."""
    tree: Tree = []
    while at < end:
        tag = content[at : at + 4]
        if tag in (_ITEM_END, _SEQUENCE_END):
            return tree, at + 8
        vr, at = content[at + 4 : at + 6], at + 8
        if vr in _LONG:
            (length,), at = struct.unpack_from("<I", content, at), at + 4
        else:
            (length,) = struct.unpack_from("<H", content, at - 2)
        if vr != b"SQ":
            tree.append((tag, vr, content[at : at + length]))
            at += length
            continue
        items: list[Tree] = []
        stop = end if length == _UNKNOWN_LENGTH else at + length
        while at < stop:
            is_end = content[at : at + 4] == _SEQUENCE_END
            (size,), at = struct.unpack_from("<I", content, at + 4), at + 8
            if is_end:
                break
            inner, at = parsed(content, at, end if size == _UNKNOWN_LENGTH else at + size)
            items.append(inner)
        tree.append((tag, vr, items))
    return tree, at


def packed(tree: Tree) -> bytes:
    """The bytes of a dataset."""
    parts = []
    for tag, vr, value in tree:
        raw = value if isinstance(value, bytes) else b"".join(_item(packed(item)) for item in value)
        if vr in _LONG:
            parts += [tag, vr, b"\0\0", struct.pack("<I", len(raw)), raw]
        else:
            parts += [tag, vr, struct.pack("<H", len(raw) & 0xFFFF), raw]
    return b"".join(parts)


def _item(raw: bytes) -> bytes:
    return _ITEM + struct.pack("<I", len(raw)) + raw


class DicomTemplate:
    """A valid file, taken apart once, from which changed ones are made by putting other bytes in their place."""

    def __init__(self, content: bytes) -> None:
        meta_end = 144 + struct.unpack_from("<I", content, 140)[0]
        self._start, self.content = content[:meta_end], content
        self._tree, _ = parsed(content, meta_end, len(content))
        assert packed(self._tree)[:64] == content[meta_end : meta_end + 64]

    def changed(self, rng: np.random.Generator, depth: int) -> bytes:
        """One to three elements, in sequences too, with another value, emptied, removed or copied from elsewhere."""
        tree = self._tree
        for _ in range(int(rng.integers(1, 4))):
            tree = _changed_tree(rng, tree, depth)
        return self._start + packed(tree)


def _changed_tree(rng: np.random.Generator, tree: Tree, depth: int) -> Tree:
    if not tree:
        return tree
    sequences = [number for number, (_, vr, value) in enumerate(tree) if vr == b"SQ" and value]
    if sequences and depth and rng.random() < 0.6:
        number = sequences[int(rng.integers(len(sequences)))]
        tag, vr, items = tree[number]
        assert not isinstance(items, bytes)
        which = int(rng.integers(len(items)))
        inner = [*items[:which], _changed_tree(rng, items[which], depth - 1), *items[which + 1 :]]
        return [*tree[:number], (tag, vr, inner), *tree[number + 1 :]]
    number = int(rng.integers(len(tree)))
    tag, vr, value = tree[number]
    way = rng.random()
    if way < 0.15:
        return [*tree[:number], *tree[number + 1 :]]
    return [*tree[:number], (tag, vr, _changed_value(rng, vr, value, way, tree)), *tree[number + 1 :]]


def _changed_value(
    rng: np.random.Generator, vr: bytes, value: bytes | list[Tree], way: float, tree: Tree
) -> bytes | list[Tree]:
    if not isinstance(value, bytes):
        return [] if way < 0.5 else value[:-1] if way < 0.8 else value * 2
    if vr in (b"OB", b"OW"):
        return value[: len(value) // 4 * 2] if way < 0.5 else value + value if way < 0.7 else b""
    if way > 0.95:  # what another element holds
        other = tree[int(rng.integers(len(tree)))][2]
        return other if isinstance(other, bytes) else b""
    if vr in (b"US", b"SS", b"UL", b"SL"):
        size = 2 if vr[1:] == b"S" else 4
        return (int(NUMBERS[rng.integers(16)]) % 256**size).to_bytes(size, "little")
    if vr in (b"FD", b"FL"):
        size = 8 if vr == b"FD" else 4
        with np.errstate(all="ignore"):
            return rng.choice(FLOATS, max(1, len(value) // size)).astype(f"<f{size}").tobytes()
    word = DICOM_WORDS[rng.integers(len(DICOM_WORDS))].encode("utf-8")
    return word + b" " * (len(word) % 2)


def parse_once(originals: list[bytes]) -> None:
    """From here on files that are no other than the valid ones are parsed once, and give the same header and dataset.

    Of the slices of a series most stay as they are, and parsing them again tells nothing new.
    """
    from radvlm.io import dicom_files, dicom_pixels

    known, headers, datasets = frozenset(originals), {}, {}
    header_of, dataset_of = dicom_files._header, dicom_files.read_dataset

    def header(file: Any, tags: Any) -> Any:
        content = file.path.read_bytes() if file.member is None else b""
        if content not in known:
            return header_of(file, tags)
        key = (content, tuple(tags))
        if key not in headers:
            headers[key] = header_of(file, tags)
        return headers[key]

    def dataset(file: Any, content: bytes) -> Any:
        if content not in known:
            return dataset_of(file, content)
        if content not in datasets:
            datasets[content] = dataset_of(file, content)
        return datasets[content]

    dicom_files._header, dicom_pixels.read_dataset = header, dataset


# -- readers --------------------------------------------------------------------------------------------------------

Maker = Callable[[np.random.Generator, Path], Path | None]


def readers(base: Path) -> dict[str, tuple[Maker, Callable[[Path], object]]]:
    """Name -> (makes an input in a folder, reads it)."""
    import radvlm

    hu, labels, affine = small_ct()
    scan = radvlm.load_volume(hu, affine=affine)
    names = {"labels": {1: "spleen", 5: "liver"}}

    def masks(path: Path) -> object:
        return radvlm.load_segmentation(path, like=scan, scheme=names["labels"])

    def named(path: Path) -> object:
        return radvlm.load_segmentation(path, like=scan)

    def file(name: str, change: Callable[[np.random.Generator], bytes | None]) -> Maker:
        def make(rng: np.random.Generator, folder: Path) -> Path | None:
            content = change(rng)
            if content is None:
                return None
            (folder / name).write_bytes(content)
            return folder / name

        return make

    ct_nifti, label_nifti = nifti_bytes(hu, affine), nifti_bytes(labels, affine)
    ct_nrrd, seg_nrrd = nrrd_bytes(hu, affine, False), nrrd_bytes(labels, affine, True)
    ct_meta = meta_bytes(hu, affine)
    series = _series(base / "series", hu, affine)
    seg, contours = _seg(base, series, labels), _contours(series)

    def zipped(rng: np.random.Generator) -> bytes:
        buffer = BytesIO()
        with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
            inner = changed_nifti(rng, ct_nifti) if rng.random() < 0.5 else ct_nifti
            archive.writestr(str(rng.choice(["ct.nii", "../ct.nii", "a/b/ct.nii", "ct.txt", "/ct.nii"])), inner)
            if rng.random() < 0.3:
                archive.writestr("more.nii", label_nifti)
        content = buffer.getvalue()
        return changed_bytes(rng, content, 60) if rng.random() < 0.6 else content

    templates = [DicomTemplate(content) for content in series]

    def dicom(rng: np.random.Generator, folder: Path) -> Path | None:
        numbers = {int(n) for n in rng.integers(len(series), size=int(rng.integers(1, 4)))}
        for number in numbers | changed_before:
            content = series[number]
            if number in numbers:
                is_bytes = rng.random() < 0.25
                content = changed_bytes(rng, content, 900) if is_bytes else templates[number].changed(rng, 3)
            (folder / f"{number}.dcm").write_bytes(content)
        changed_before.clear()
        changed_before.update(numbers)
        return folder

    changed_before = set(range(len(series)))

    def one_dicom(original: bytes) -> Callable[[np.random.Generator], bytes | None]:
        template = DicomTemplate(original)

        def change(rng: np.random.Generator) -> bytes | None:
            return changed_bytes(rng, original, 2000) if rng.random() < 0.2 else template.changed(rng, 6)

        return change

    parse_once(series)
    meta_end = b"LOCAL\n"
    return {
        "nifti": (file("ct.nii", lambda rng: changed_nifti(rng, ct_nifti)), radvlm.load_volume),
        "nifti masks": (file("m.nii", lambda rng: changed_nifti(rng, label_nifti)), masks),
        "nrrd": (file("ct.nrrd", lambda rng: changed_text(rng, ct_nrrd, b"\n\n", ":")), radvlm.load_volume),
        "nrrd masks": (file("m.seg.nrrd", lambda rng: changed_text(rng, seg_nrrd, b"\n\n", ":")), named),
        "metaimage": (
            file(
                "ct.mha",
                lambda rng: (
                    changed_text(rng, ct_meta, meta_end, "=")
                    if rng.random() < 0.9
                    else changed_bytes(rng, ct_meta, 400)
                ),
            ),
            radvlm.load_volume,
        ),
        "zip": (file("ct.zip", zipped), radvlm.load_volume),
        "dicom": (dicom, radvlm.load_volume),
        "dicom seg": (file("seg.dcm", one_dicom(seg)), named),
        "rtstruct": (file("rs.dcm", one_dicom(contours)), named),
    }


def _series(folder: Path, hu: np.ndarray, affine: np.ndarray) -> list[bytes]:
    import plausible

    plausible.write_dicom(folder, hu.astype(np.float32), affine)
    return [path.read_bytes() for path in sorted(folder.iterdir())]


def _seg(base: Path, series: list[bytes], labels: np.ndarray) -> bytes:
    """A BINARY segmentation of two organs, made by highdicom."""
    import highdicom as hd
    import pydicom
    from pydicom.sr.codedict import codes

    images = [pydicom.dcmread(BytesIO(content)) for content in series]
    for image in images:
        image.PatientBirthDate, image.StudyTime, image.StudyID, image.AccessionNumber = "19600101", "101500", "1", ""
        image.PatientSex, image.ReferringPhysicianName, image.PositionReferenceIndicator = "F", "", ""
    described = [
        hd.seg.SegmentDescription(number, word, codes.SCT.Organ, code, hd.seg.SegmentAlgorithmTypeValues.MANUAL)
        for number, (word, code) in enumerate((("Spleen", codes.SCT.Spleen), ("Liver", codes.SCT.Liver)), start=1)
    ]
    stacked = np.stack([labels[::-1, ::-1].transpose(2, 1, 0) == label for label in (1, 5)], axis=-1)
    return _bytes(
        hd.seg.Segmentation(
            images, stacked.astype(np.uint8), "BINARY", described, "1.2.3.4", 9, "1.2.3.5", 1, "a", "b", "1", "c"
        )
    )


def _contours(series: list[bytes]) -> bytes:
    """An RTSTRUCT with the outline of one organ on three slices."""
    import pydicom
    from pydicom.dataset import Dataset, FileMetaDataset

    image = pydicom.dcmread(BytesIO(series[0]))
    ds = Dataset()
    ds.file_meta = FileMetaDataset()
    ds.file_meta.TransferSyntaxUID = pydicom.uid.ExplicitVRLittleEndian
    ds.SOPClassUID = ds.file_meta.MediaStorageSOPClassUID = "1.2.840.10008.5.1.4.1.1.481.3"
    ds.SOPInstanceUID = ds.file_meta.MediaStorageSOPInstanceUID = "1.2.3.6"
    ds.Modality, ds.PatientID, ds.StudyInstanceUID = "RTSTRUCT", image.PatientID, image.StudyInstanceUID
    ds.FrameOfReferenceUID = image.FrameOfReferenceUID
    roi, contours, seen = Dataset(), Dataset(), Dataset()
    roi.ROINumber, roi.ROIName, roi.ReferencedFrameOfReferenceUID = 1, "Liver", image.FrameOfReferenceUID
    contours.ReferencedROINumber, contours.ROIDisplayColor, contours.ContourSequence = 1, [255, 0, 0], []
    for content in series[3:6]:
        z = float(pydicom.dcmread(BytesIO(content)).ImagePositionPatient[2])
        outline = Dataset()
        outline.ContourGeometricType, outline.NumberOfContourPoints = "CLOSED_PLANAR", 4
        outline.ContourData = [f"{v:g}" for x, y in ((-80, -40), (40, -40), (40, 60), (-80, 60)) for v in (x, y, z)]
        contours.ContourSequence.append(outline)
    seen.ObservationNumber, seen.ReferencedROINumber, seen.RTROIInterpretedType = 1, 1, "ORGAN"
    ds.StructureSetROISequence, ds.ROIContourSequence, ds.RTROIObservationsSequence = [roi], [contours], [seen]
    return _bytes(ds)


def _bytes(dataset: Any) -> bytes:
    buffer = BytesIO()
    dataset.save_as(buffer, enforce_file_format=True)
    return buffer.getvalue()


# -- running --------------------------------------------------------------------------------------------------------


def attempt(read: Callable[[Path], object], path: Path) -> tuple[str, str]:
    """(how it ended, the end of the traceback or message)."""
    from radvlm.errors import RadvlmError

    def too_long(*_: object) -> None:
        raise TooLong

    signal.signal(signal.SIGPROF, too_long)
    signal.signal(signal.SIGALRM, too_long)
    signal.setitimer(signal.ITIMER_PROF, LIMIT_S)
    signal.alarm(WAITING_S)
    try:
        read(path)
    except RadvlmError as error:
        text = str(error)
        return ("odd message", text[:400]) if "\n" in text or len(text) > 2000 or len(text) < 20 else ("refused", "")
    except TooLong:
        return "too long", ""
    except MemoryError:
        return "too much memory", traceback.format_exc(limit=-4)[-600:]
    except BaseException:  # noqa: BLE001 - looked for
        return "traceback", traceback.format_exc(limit=-4)[-900:]
    finally:
        signal.alarm(0)
        signal.setitimer(signal.ITIMER_PROF, 0)
    return "read", ""


def run_part(reader: str, first: int, count: int) -> dict[str, Any]:
    warnings.simplefilter("ignore")
    logging.disable(logging.CRITICAL)
    counted: Counter[str] = Counter()
    faults = []
    with tempfile.TemporaryDirectory(dir=MEMORY) as folder:
        base = Path(folder)
        make, read = readers(base)[reader]
        held = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
        resource.setrlimit(resource.RLIMIT_AS, (held + MEMORY_BYTES, held + MEMORY_BYTES))
        place = base / "input"
        place.mkdir()
        for seed in range(first, first + count):
            path = make(np.random.default_rng([seed, len(reader)]), place)
            if path is None:
                counted["not writable"] += 1
                continue
            how, text = attempt(read, path)
            counted[how] += 1
            if how not in ("read", "refused"):
                faults.append({"reader": reader, "seed": seed, "how": how, "text": text})
    return {"reader": reader, "first": first, "count": count, "ends": dict(counted), "faults": faults}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--inputs", type=int, default=45_000, help="over all readers")
    parser.add_argument("--only", help="one reader")
    parser.add_argument("--seed", type=int, help="this input alone")
    parser.add_argument("--part", nargs=2, type=int, metavar=("FIRST", "COUNT"), help=argparse.SUPPRESS)
    parser.add_argument("--summary", action="store_true")
    parser.add_argument("--minutes", type=float, default=1e9, help="start no part after this time")
    args = parser.parse_args()
    if args.seed is not None or args.part is not None:
        first, count = (args.seed, 1) if args.part is None else args.part
        print(json.dumps(run_part(args.only, first, count)))
        return
    OUT.mkdir(parents=True, exist_ok=True)
    if args.summary:
        summarize()
        return
    with tempfile.TemporaryDirectory(dir=MEMORY) as folder:
        names = [args.only] if args.only else list(readers(Path(folder)))
    started = time.monotonic()
    rounds = -(-args.inputs // (PART * len(names)))
    for number in range(rounds):
        for name in names:
            log = OUT / f"{name.replace(' ', '_')}_{number:04d}.json"
            if log.exists() or time.monotonic() - started > 60 * args.minutes:
                continue
            command = [sys.executable, __file__, "--only", name, "--part", str(number * PART), str(PART)]
            done = subprocess.run(command, capture_output=True, text=True, check=False)
            if done.returncode:
                print(f"{name} {number}: the process ended with {done.returncode}: {done.stderr[-400:]}", flush=True)
                continue
            log.write_text(done.stdout)
            record = json.loads(done.stdout)
            print(f"{name} {number}: {record['ends']}", flush=True)


def summarize() -> None:
    records = [json.loads(path.read_text()) for path in sorted(OUT.glob("*.json"))]
    ends: dict[str, Counter[str]] = {}
    for record in records:
        ends.setdefault(record["reader"], Counter()).update(record["ends"])
    faults = [fault for record in records for fault in record["faults"]]
    for fault in faults[:40]:
        print(json.dumps(fault)[:600])
    total = sum(record["count"] for record in records)
    write_result(
        "fuzz_readers",
        total,
        {
            "limit_s": LIMIT_S,
            "memory_limit_mib": MEMORY_BYTES >> 20,
            "ends": {name: dict(counted) for name, counted in sorted(ends.items())},
            "faults": len(faults),
        },
    )


if __name__ == "__main__":
    main()

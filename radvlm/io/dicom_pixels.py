"""Decoding CT slices to HU.

The rescale of each slice is applied to that slice, once (scanners do change it within a series); the
decoder for each transfer syntax is named, so that every machine reads a file with the same code; padding becomes
-1024 HU before anything else sees it.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from radvlm.errors import FileFormatError, MissingPackageError
from radvlm.files.optional import install_command
from radvlm.io.dicom_bytes import require_all_pixels, require_frame_as_stated
from radvlm.io.dicom_files import Damage, DicomFile, parsing, read_dataset
from radvlm.io.dicom_frames import Frame
from radvlm.io.hounsfield import LOWEST_HU
from radvlm.types.provenance import SourceFile

#: Decoders of pydicom in the order in which they are tried, for compressed transfer syntaxes; the first one that is
#: installed reads every slice. gdcm reads all of them; the others are a second opinion where it is missing.
_DECODERS = {
    "JPEG": ("gdcm",),
    "JPEGLS": ("pyjpegls", "gdcm"),
    "JPEG2000": ("pylibjpeg", "gdcm"),
    "HTJ2K": ("pylibjpeg",),
    "RLE": ("gdcm", "pydicom"),
}
_HIGH_THROUGHPUT = tuple(f"1.2.840.10008.1.2.4.20{last}" for last in (1, 2, 3))
_JPEG_EXTENDED = "1.2.840.10008.1.2.4.51"
#: JPEG baseline and extended, JPEG-LS near-lossless.
_ALWAYS_LOSSY = tuple(f"1.2.840.10008.1.2.4.{last}" for last in (50, 51, 81))
#: JPEG 2000, which has a reversible and an irreversible wavelet.
_MAYBE_LOSSY = tuple(f"1.2.840.10008.1.2.4.{last}" for last in (91, 93, 203))
#: Padding is a run of at least so many pixels from the edge; a run of noise that happens to have its value is shorter.
MIN_PADDING_RUN = 4
#: CT needs 12 bits. With fewer stated, more than this share of pixels that use higher ones contradicts the header.
CT_BITS, MOST_DROPPED = 12, 0.01
#: How the element of compressed pixels begins (its tag, VR and an unknown length, little endian).
_PIXELS_BEGIN = b"\xe0\x7f\x10\x00OB\0\0\xff\xff\xff\xff"
_COPY_AGAIN = "Copy or download it again"
#: Rescale to apply: None for each slice's own header.
Rescale = tuple[float, float] | None


@dataclass
class SliceReader:
    """Reads slices one by one; remembers the digest of each file and what was unusual about the pixels."""

    rescale: Rescale = None
    sources: dict[DicomFile, SourceFile] = field(default_factory=dict)
    notes: Counter[str] = field(default_factory=Counter)
    _file: DicomFile | None = None
    _dataset: Any = None

    def dataset(self, file: DicomFile) -> Any:
        """The whole dataset of a file; the last one is kept, because an enhanced file holds many frames."""
        if self._file != file:
            with parsing(file.name, "a file can be read"):
                content = file.read()
            self.sources[file] = SourceFile(file.name, len(content), hashlib.sha256(content).hexdigest())
            self._dataset, self._file = read_dataset(file, content), file
        return self._dataset

    def hu(self, frame: Frame) -> np.ndarray:
        """(rows, columns) in HU: an integer type where the rescale is in whole numbers, else float64."""
        dataset = self.dataset(frame.file)
        stored = self._stored(frame, dataset)
        padding = _padding(dataset, stored)
        slope, intercept = self.rescale or (1.0 if frame.slope is None else frame.slope, frame.intercept or 0.0)
        if (
            self.rescale is None
            and (frame.slope is None or frame.intercept is None)
            and "ModalityLUTSequence" not in dataset
        ):
            self.notes["slices state no rescale to HU"] += 1
        if slope == 0:
            raise FileFormatError("RescaleSlope is not 0", frame.file.name, "Export the series again")
        if float(slope).is_integer() and float(intercept).is_integer():
            hu = stored.astype(np.int64 if stored.dtype.itemsize > 2 else np.int32)
            hu = hu * int(slope) + int(intercept)
        else:
            hu = stored.astype(np.float64) * slope + intercept
        if padding is not None:
            self.notes["slices hold padding, set to -1024 HU"] += 1
            hu[padding] = LOWEST_HU
        if _lost_something(dataset):
            self.notes["slices were compressed with loss, so HU are approximate"] += 1
        return hu

    def _stored(self, frame: Frame, dataset: Any) -> np.ndarray:
        from pydicom.pixels import pixel_array

        name = frame.file.name
        if not any(keyword in dataset for keyword in ("PixelData", "FloatPixelData", "DoubleFloatPixelData")):
            if _PIXELS_BEGIN in frame.file.read():  # begun, and without their end they are not read
                what = f"{name}: cut short within its pixels"
                raise FileFormatError("a slice holds every pixel that its header states", what, _COPY_AGAIN)
            raise FileFormatError("a CT slice holds pixel data", f"{name}: none", "Export the series with its pixels")
        with parsing(name, "the pixels of a slice can be decoded"):
            if dataset.file_meta.TransferSyntaxUID.is_encapsulated:
                require_frame_as_stated(dataset, frame.number, name)
            elif "PixelData" in dataset:
                require_all_pixels(dataset, name)
            if str(dataset.file_meta.TransferSyntaxUID) == _JPEG_EXTENDED and int(dataset.BitsStored) > 8:
                return _jpeg_extended(dataset, frame)
            # pydicom also drops or sign-extends the bits above BitsStored, where old scanners keep overlays.
            stored = pixel_array(
                dataset,
                index=frame.number,
                raw=True,
                decoding_plugin=_decoder(dataset.file_meta.TransferSyntaxUID, name),
            )
            if self.rescale is None and frame.slope is None and frame.intercept is None:
                stored = self._by_table(dataset, stored)
            if stored.shape != (frame.rows, frame.columns):
                raise FileFormatError("a slice has the size its header states", f"{name}: {stored.shape}")
            _require_bits(dataset, frame, stored)
            return stored

    def _by_table(self, dataset: Any, stored: np.ndarray) -> np.ndarray:
        """What a Modality LUT, which stands in the place of slope and intercept (PS3.3 C.11.1), makes of the pixels."""
        if not dataset.get("ModalityLUTSequence"):
            return stored
        kind = str(dataset.ModalityLUTSequence[0].get("ModalityLUTType") or "").strip()
        if kind not in ("", "HU", "US"):
            raise Damage(f"its Modality LUT makes {kind[:16]} of the pixels, not HU")
        from pydicom.pixels.processing import apply_modality_lut

        self.notes["slices state their values by a table (Modality LUT) in place of a rescale; it was applied"] += 1
        values: np.ndarray = apply_modality_lut(stored, dataset)
        return values


def _require_bits(dataset: Any, frame: Frame, stored: np.ndarray) -> None:
    """Raise FileFormatError where BitsStored is too small for CT and drops bits that the pixels use.

    From 12 bits on, what lies above may be an overlay or padding (63536).
    """
    bits = int(dataset.BitsStored)
    is_native = not dataset.file_meta.TransferSyntaxUID.is_encapsulated
    if bits >= CT_BITS or not is_native or int(dataset.BitsAllocated) != 16 or "PixelData" not in dataset:
        return
    order = "<" if dataset.file_meta.TransferSyntaxUID.is_little_endian else ">"
    kind = "i2" if int(dataset.PixelRepresentation) else "u2"
    words = np.frombuffer(dataset.PixelData, order + kind, stored.size, frame.number * stored.size * 2)
    share = float(np.mean(words != stored.ravel()))
    if share > MOST_DROPPED:
        raise FileFormatError(
            "the pixels fit into the BitsStored of the header",
            f"{frame.file.name}: BitsStored is {bits}, but {share:.0%} of the pixels use higher bits",
            "Correct BitsStored and HighBit (CT has 12 or 16), or export the series again",
        )


def _jpeg_extended(dataset: Any, frame: Frame) -> np.ndarray:
    """A frame of lossy JPEG with 12 bits, which pydicom hands to no decoder."""
    import gdcm
    from pydicom.encaps import get_frame

    fragment = gdcm.Fragment()
    count = int(dataset.get("NumberOfFrames") or 1)
    fragment.SetByteStringValue(get_frame(dataset.PixelData, frame.number, number_of_frames=count))
    fragments = gdcm.SequenceOfFragments.New()
    fragments.AddFragment(fragment)
    element = gdcm.DataElement(gdcm.Tag(0x7FE0, 0x0010))
    element.SetValue(fragments.__ref__())
    image = gdcm.Image()
    image.SetNumberOfDimensions(2)
    image.SetDimensions((frame.columns, frame.rows, 1))
    image.SetDataElement(element)
    image.SetPhotometricInterpretation(gdcm.PhotometricInterpretation(gdcm.PhotometricInterpretation.MONOCHROME2))
    image.SetTransferSyntax(gdcm.TransferSyntax(gdcm.TransferSyntax.JPEGExtendedProcess2_4))
    bits, is_signed = int(dataset.BitsStored), int(dataset.PixelRepresentation)
    image.SetPixelFormat(gdcm.PixelFormat(1, 16, bits, bits - 1, is_signed))
    flat = np.frombuffer(image.GetBuffer().encode("utf-8", "surrogateescape"), np.uint16)
    values: np.ndarray = flat.reshape(frame.rows, frame.columns) << (16 - bits)
    return values.view(np.int16) >> (16 - bits) if is_signed else values >> (16 - bits)


def _lost_something(dataset: Any) -> bool:
    """True when the pixels were compressed with loss: by the header, the transfer syntax, or the JPEG 2000 wavelet."""
    if str(dataset.get("LossyImageCompression") or "") == "01":
        return True
    syntax = str(dataset.file_meta.TransferSyntaxUID)
    if syntax in _ALWAYS_LOSSY:
        return True
    if syntax not in _MAYBE_LOSSY:
        return False
    start = bytes(dataset.PixelData[:4096])
    style = start.find(b"\xff\x52")  # the marker of the coding style; its 14th byte names the wavelet, 0 the lossy one
    return style >= 0 and start[style + 13 : style + 14] == b"\0"


def _decoder(syntax: Any, name: str) -> str:
    """Name of the decoder to use for a transfer syntax; "" where pydicom needs none."""
    from pydicom.pixels import get_decoder
    from pydicom.uid import JPEG2000TransferSyntaxes, JPEGLSTransferSyntaxes, RLETransferSyntaxes

    if not syntax.is_encapsulated:
        return ""
    available = get_decoder(syntax).available_plugins
    families = (
        (JPEGLSTransferSyntaxes, "JPEGLS"),
        (JPEG2000TransferSyntaxes, "JPEG2000"),
        (RLETransferSyntaxes, "RLE"),
        (_HIGH_THROUGHPUT, "HTJ2K"),
    )
    family = next((family for syntaxes, family in families if syntax in syntaxes), "JPEG")
    for plugin in _DECODERS[family]:
        if plugin in available:
            return plugin
    if not available:
        raise MissingPackageError(f"a decoder for {syntax.name} is installed", name, install_command("pylibjpeg"))
    return available[0]


def _padding(dataset: Any, stored: np.ndarray) -> np.ndarray | None:
    """Mask of pixels that hold the PixelPaddingValue (and its range limit) *and* reach the edge of the image; None when
    there are none.

    DICOM lets the value lie among those of tissue (PS3.3 C.7.5.1.1.2), and some exporters state 0 for images stored as
    HU, where water is 0. Padding fills what lies outside the circle of view, in runs that begin at the edge.
    """
    value, limit = dataset.get("PixelPaddingValue"), dataset.get("PixelPaddingRangeLimit")
    if value is None:
        return None
    ends = [int(value), int(value if limit is None else limit)]
    if stored.dtype.kind == "i":  # a signed value kept under an unsigned VR
        half = 1 << (stored.dtype.itemsize * 8 - 1)
        ends = [end - 2 * half if end >= half else end for end in ends]
    mask = stored == ends[0] if ends[0] == ends[1] else (stored >= min(ends)) & (stored <= max(ends))
    if not mask.any():
        return None
    outside = np.zeros_like(mask)
    for target, view in ((outside, mask), (outside.T, mask.T)):
        for into, seen in ((target, view), (target[::-1], view[::-1])):
            run = np.logical_and.accumulate(seen, axis=0)
            into |= run & run[min(MIN_PADDING_RUN, len(run)) - 1]
    return outside if outside.any() else None

"""CT that was compressed with loss is read, near its values, and said to be so even where no attribute says it."""

from __future__ import annotations

import numpy as np
import pytest

from radvlm.io import load_volume

JPEG_EXTENDED, JPEG_2000 = "1.2.840.10008.1.2.4.51", "1.2.840.10008.1.2.4.91"


def jpeg_extended(path):
    """The file again, its pixels as lossy JPEG of 12 bits, without the attributes that tell it."""
    import gdcm
    import pydicom

    reader = gdcm.ImageReader()
    reader.SetFileName(str(path))
    assert reader.Read()
    codec = gdcm.JPEGCodec()
    codec.SetLossless(False)
    codec.SetQuality(95)
    change = gdcm.ImageChangeTransferSyntax()
    change.SetTransferSyntax(gdcm.TransferSyntax(gdcm.TransferSyntax.JPEGExtendedProcess2_4))
    change.SetUserCodec(codec)
    change.SetInput(reader.GetImage())
    assert change.Change()
    writer = gdcm.ImageWriter()
    writer.SetFileName(str(path))
    writer.SetFile(reader.GetFile())
    writer.SetImage(change.GetOutput())
    assert writer.Write()
    dataset = pydicom.dcmread(path)
    for keyword in ("LossyImageCompression", "LossyImageCompressionRatio", "LossyImageCompressionMethod"):
        if keyword in dataset:
            delattr(dataset, keyword)
    dataset.save_as(path)
    return dataset.file_meta.TransferSyntaxUID


def lost(volume) -> bool:
    return "compressed with loss" in " ".join(d.what for d in volume.decisions if d.warning)


@pytest.mark.parametrize("signed", [False, True])
def test_jpeg_of_twelve_bits(writer, tmp_path, is_linear, signed):
    for path in writer.write(tmp_path, count=3, size=(24, 32), bits=12, signed=signed):
        assert jpeg_extended(path) == JPEG_EXTENDED
    volume = load_volume(tmp_path, rescale="header")
    is_linear(volume, 4.0)
    assert lost(volume)


@pytest.mark.parametrize("ratio", [0, 3])
def test_the_wavelet_tells_whether_jpeg_2000_lost_something(writer, tmp_path, is_linear, ratio):
    import openjpeg
    from pydicom.encaps import encapsulate

    def compress(ds, _):
        pixels = np.frombuffer(ds.PixelData, np.uint16).reshape(ds.Rows, ds.Columns)
        more = {"compression_ratios": [ratio]} if ratio else {}
        ds.PixelData = encapsulate([openjpeg.encode(pixels, bits_stored=ds.BitsStored, **more)])
        ds["PixelData"].VR, ds["PixelData"].is_undefined_length = "OB", True
        ds.file_meta.TransferSyntaxUID = JPEG_2000

    writer.write(tmp_path, count=3, size=(40, 48), bits=12, change=compress)
    volume = load_volume(tmp_path, rescale="header")
    is_linear(volume, 8.0 if ratio else 0.5)
    assert lost(volume) == bool(ratio)

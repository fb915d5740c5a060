"""A writer of synthetic DICOM series and of CT-like NIfTI files, with every trap the readers must handle."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

CT_STORAGE = "1.2.840.10008.5.1.4.1.1.2"
EXPLICIT = "1.2.840.10008.1.2.1"
ROOT = "1.2.826.0.1.3680043.8.498.77"


def linear_hu(world_ras: np.ndarray) -> np.ndarray:
    """HU as a linear function of RAS+ mm: any flip, shift or wrong spacing changes it; linear resampling keeps it."""
    return 2.0 * world_ras[..., 0] - 3.0 * world_ras[..., 1] + 1.0 * world_ras[..., 2] + 20.0


class SeriesWriter:
    """Writes one series; every argument of ``write`` that may differ between slices takes a list."""

    shape = (20, 24, 32)  # slices, rows, columns

    def world(
        self,
        position: Sequence[float],
        row: np.ndarray,
        column: np.ndarray,
        spacing: tuple[float, float],
        shape: tuple[int, int],
    ) -> np.ndarray:
        """(rows, columns, 3) RAS+ mm of the pixel centers of a slice given in LPS+."""
        r, c = np.meshgrid(np.arange(shape[0]), np.arange(shape[1]), indexing="ij")
        lps = np.asarray(position) + c[..., None] * spacing[1] * row + r[..., None] * spacing[0] * column
        return lps * np.array([-1.0, -1.0, 1.0])

    def write(
        self,
        folder: Path,
        *,
        positions: Sequence[Sequence[float]] | None = None,
        count: int = 20,
        spacing: tuple[float, float] = (1.5, 1.25),
        step: float = 2.5,
        origin: Sequence[float] = (-20, -18, -40),
        orientation: Sequence[float] = (1, 0, 0, 0, 1, 0),
        slope: Any = 1,
        intercept: Any = -1024,
        hu: Callable[[np.ndarray], np.ndarray] = linear_hu,
        size: tuple[int, int] = (24, 32),
        syntax: str = EXPLICIT,
        signed: bool = False,
        bits: int = 16,
        uid: str = "1",
        prefix: str = "im",
        change: Callable[[Any, int], None] | None = None,
    ) -> list[Path]:
        """Files named in a shuffled order, with InstanceNumber shuffled too. ``change(dataset, index)`` edits each."""
        from pydicom.dataset import Dataset, FileMetaDataset
        from pydicom.uid import UID

        folder.mkdir(parents=True, exist_ok=True)
        row, column = np.array(orientation[:3], float), np.array(orientation[3:], float)
        if positions is None:
            normal = np.cross(row, column)
            positions = [np.asarray(origin) + k * step * normal for k in range(count)]
        shuffled = np.random.default_rng(1).permutation(len(positions))
        paths = []
        for k, position in enumerate(positions):
            a = slope[k] if isinstance(slope, (list, tuple)) else slope
            b = intercept[k] if isinstance(intercept, (list, tuple)) else intercept
            values = hu(self.world(position, row, column, spacing, size))
            stored = np.rint((values - b) / a).astype(np.int16 if signed else np.uint16)
            ds = Dataset()
            ds.file_meta = FileMetaDataset()
            ds.file_meta.TransferSyntaxUID = UID(EXPLICIT)
            ds.file_meta.MediaStorageSOPClassUID = ds.SOPClassUID = CT_STORAGE
            ds.file_meta.MediaStorageSOPInstanceUID = ds.SOPInstanceUID = f"{ROOT}.{uid}.{k + 1}"
            ds.SeriesInstanceUID, ds.StudyInstanceUID, ds.FrameOfReferenceUID = f"{ROOT}.{uid}", ROOT, f"{ROOT}.9"
            ds.Modality, ds.SeriesNumber, ds.SeriesDescription = "CT", uid.split(".")[0], f"Series {uid}"
            ds.ImageType = ["ORIGINAL", "PRIMARY", "AXIAL"]
            ds.PatientID, ds.PatientName, ds.InstanceNumber = "patient-1", "Secret^Name", int(shuffled[k])
            ds.StudyDate, ds.Manufacturer, ds.KVP, ds.SliceThickness = "20240229", "ACME", "120", "99"
            ds.ImagePositionPatient = [f"{v:.6f}"[:16] for v in position]
            ds.ImageOrientationPatient = [f"{v:.9f}"[:16] for v in orientation]
            ds.PixelSpacing = [str(spacing[0]), str(spacing[1])]
            ds.Rows, ds.Columns, ds.SamplesPerPixel, ds.PhotometricInterpretation = *size, 1, "MONOCHROME2"
            ds.BitsAllocated, ds.BitsStored, ds.HighBit, ds.PixelRepresentation = 16, bits, bits - 1, int(signed)
            ds.RescaleSlope, ds.RescaleIntercept, ds.RescaleType = str(a), str(b), "HU"
            ds.PixelData = stored.tobytes()
            if change is not None:
                change(ds, k)
            paths.append(folder / f"{prefix}{shuffled[k]:03d}")
            self.save(ds, paths[-1], syntax)
        return paths

    def save(self, ds: Any, path: Path, syntax: str = EXPLICIT) -> None:
        if syntax != EXPLICIT:
            _compress(ds, syntax)
        ds.save_as(path, enforce_file_format=True)


def _compress(ds: Any, syntax: str) -> None:
    from pydicom.encaps import encapsulate
    from pydicom.uid import UID

    uid = UID(syntax)
    if syntax.endswith(("4.90", "4.91")):
        import openjpeg

        pixels = np.frombuffer(ds.PixelData, np.int16 if ds.PixelRepresentation else np.uint16)
        code = openjpeg.encode(pixels.reshape(ds.Rows, ds.Columns), bits_stored=ds.BitsStored)
        ds.PixelData = encapsulate([code])
        ds["PixelData"].VR = "OB"
        ds["PixelData"].is_undefined_length = True
        ds.file_meta.TransferSyntaxUID = uid
    elif syntax.endswith("4.70"):
        _compress_by_gdcm(ds)
    elif uid.is_encapsulated:
        ds.compress(uid)
    else:
        ds.file_meta.TransferSyntaxUID = uid


def _compress_by_gdcm(ds: Any) -> None:
    import tempfile

    import gdcm
    import pydicom

    with tempfile.TemporaryDirectory() as folder:
        plain, packed = Path(folder, "plain"), Path(folder, "packed")
        ds.save_as(plain, enforce_file_format=True)
        reader = gdcm.ImageReader()
        reader.SetFileName(str(plain))
        assert reader.Read()
        change = gdcm.ImageChangeTransferSyntax()
        change.SetTransferSyntax(gdcm.TransferSyntax(gdcm.TransferSyntax.JPEGLosslessProcess14_1))
        change.SetInput(reader.GetImage())
        assert change.Change()
        writer = gdcm.ImageWriter()
        writer.SetFileName(str(packed))
        writer.SetFile(reader.GetFile())
        writer.SetImage(change.GetOutput())
        assert writer.Write()
        result = pydicom.dcmread(packed)
        ds.PixelData = result.PixelData
        ds["PixelData"].VR = "OB"
        ds["PixelData"].is_undefined_length = True
        ds.file_meta.TransferSyntaxUID = result.file_meta.TransferSyntaxUID


@pytest.fixture(scope="session")
def writer() -> SeriesWriter:
    return SeriesWriter()


@pytest.fixture(scope="session")
def body() -> np.ndarray:
    """(40, 36, 30) int16 HU like a slice of a body: air, fat, soft tissue, some bone, noise; no symmetry."""
    rng = np.random.default_rng(3)
    x, y, z = np.meshgrid(*(np.linspace(-1, 1, n) for n in (40, 36, 30)), indexing="ij")
    hu = np.full(x.shape, -1000.0)
    hu[(x / 0.95) ** 2 + (y / 0.9) ** 2 < 1] = -100
    hu[(x / 0.85) ** 2 + (y / 0.8) ** 2 < 1] = 45
    hu[((x - 0.4) / 0.3) ** 2 + (y / 0.4) ** 2 + (z / 0.7) ** 2 < 1] = 110
    hu[(x / 0.12) ** 2 + ((y + 0.6) / 0.14) ** 2 < 1] = 500
    hu[(np.abs(x + 0.4) < 0.2) & (np.abs(y) < 0.2)] = -850
    return np.clip(np.rint(hu + rng.normal(0, 12, hu.shape)), -1024, 3071).astype(np.int16)


def check_linear(volume: Any, tolerance_hu: float = 1.0, margin: int = 0) -> None:
    """Every voxel holds ``linear_hu`` of its own world position (clipped at -1024)."""
    index = np.stack(np.meshgrid(*(np.arange(n) for n in volume.geometry.shape), indexing="ij"), -1)
    truth = np.maximum(linear_hu(volume.geometry.to_world(index)), -1024)
    error = np.abs(volume.hu - truth)[tuple(slice(margin, n - margin) for n in volume.hu.shape)]
    assert error.size and error.max() <= tolerance_hu


@pytest.fixture(scope="session")
def is_linear() -> Callable[..., None]:
    return check_linear

"""Files that look right: honest scans in every usual form, and scans and masks with one plausible fault.

``honest(seed, folder)`` and ``faulty(seed, folder)`` write a CT and its masks and say what was done. Everything is
drawn from the seed: region, phase, spacing, noise, crop, axes, file format, how values are stored, which structures are
masked. The voxels come from phantoms, or from a real scan where the caller gives one. A faulty input must end in an
error or a warning; an honest one must be read without either, with the values that it was written from.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np

import radvlm
from radvlm.errors import RadvlmError
from radvlm.io.label_names import table_as_xml
from radvlm.phantom import LesionSpec, PhantomSpec, make_phantom
from radvlm.types.label_scheme import scheme_named
from radvlm.types.provenance import Decision

ROOT = "1.2.826.0.1.3680043.8.498.77"
CT_STORAGE = "1.2.840.10008.5.1.4.1.1.2"
REGIONS = ("chest", "abdomen", "abdomen-pelvis", "chest-abdomen-pelvis")
PHASES = ("non-contrast", "arterial", "portal venous", "delayed")
SPACINGS_MM = ((4.0, 4.0, 5.0), (4.5, 4.5, 4.5), (3.5, 3.5, 6.0), (5.0, 5.0, 5.0))
AXES = ("RAS", "LAS", "LPS", "RPI", "ASR", "SAL", "PIR", "LPI")
#: The structures of a few common products; None is everything that TotalSegmentator names.
LUNG_LOBES = tuple(
    f"lung_{lobe}"
    for lobe in ("upper_lobe_left", "lower_lobe_left", "upper_lobe_right", "middle_lobe_right", "lower_lobe_right")
)
ORGANS = ("spleen", "kidney_right", "kidney_left", "gallbladder", "liver", "stomach", "pancreas", "aorta")
MASKED: tuple[tuple[str, ...] | None, ...] = (
    None,
    None,
    (*ORGANS, "inferior_vena_cava"),
    ("liver", "spleen", "kidney_right", "kidney_left", "urinary_bladder"),
    LUNG_LOBES,
    ("liver", "spleen"),
)


@dataclass(frozen=True)
class Scan:
    """HU (I, J, K) in RAS+ order, label map of TotalSegmentator's numbers on the same grid, names of the labels."""

    hu: np.ndarray
    labels: np.ndarray
    affine: np.ndarray
    names: dict[int, str]


@dataclass(frozen=True)
class Written:
    """What lies in the folder: ``kind`` of the fault ("" when honest), a description, the files, and the true HU."""

    kind: str
    told: str
    scan: Path
    masks: Path | None
    truth: Scan | None = None


@dataclass(frozen=True)
class Verdict:
    """How radvlm took it: ``refused``, ``warned``, ``silent``, or ``wrong`` (silent, with values that are not true)."""

    word: str
    said: tuple[str, ...]


# -- scans ----------------------------------------------------------------------------------------------------------


@lru_cache(maxsize=40)
def phantom_scan(number: int) -> Scan:
    """One of a pool of phantoms: the number alone decides region, phase, grid, sex, age, noise and lesions."""
    rng = np.random.default_rng(7000 + number)
    lesions: tuple[LesionSpec, ...] = ()
    region = REGIONS[number % 4]
    if region != "chest" and number % 3 == 0:
        lesions = (LesionSpec("liver_metastasis", 28), LesionSpec("splenomegaly", 450))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        made = make_phantom(
            PhantomSpec(
                seed=number,
                region=region,
                spacing_mm=SPACINGS_MM[number // 4 % 4],
                phase=PHASES[rng.integers(4)],
                noise_hu=float(rng.uniform(4, 30)),
                sex="FM"[rng.integers(2)],
                age_years=float(rng.uniform(25, 85)),
                lesions=lesions,
            )
        )
    table = {structure: label for label, structure in scheme_named("totalsegmentator").labels.items()}
    labels = np.zeros(made.volume.hu.shape, np.uint8)
    for name in made.segmentation.present:
        if name in table:
            labels[made.segmentation.mask(name)] = table[name]
    words = {label: structure for structure, label in table.items()}
    return Scan(np.asarray(made.volume.hu, np.float32), labels, np.array(made.volume.geometry.affine), words)


def real_scan(ct: Path, masks: Path) -> Scan:
    """A scan with multi-label masks of TotalSegmentator v2 on its own grid."""
    volume = radvlm.load_volume(ct)
    image = nib.as_closest_canonical(nib.load(masks))
    names = dict(scheme_named("totalsegmentator").labels)
    return Scan(
        np.asarray(volume.hu, np.float32), np.asarray(image.dataobj, np.uint8), np.array(volume.geometry.affine), names
    )


def drawn(rng: np.random.Generator, real: tuple[Scan, ...], pool: int, *, whole: bool = False) -> Scan:
    """A scan of the first ``pool`` phantoms or of the real ones, with the structures of one product.

    Half of the time it is cropped along z; ``whole`` forbids that.
    """
    if real and rng.random() < 0.3:
        scan = real[rng.integers(len(real))]
    else:
        scan = phantom_scan(int(rng.integers(pool)))
        if not whole and rng.random() < 0.5:
            scan = cropped(scan, rng)
    wanted = MASKED[rng.integers(len(MASKED))]
    keep = [label for label, name in scan.names.items() if wanted is None or name in wanted]
    labels = np.where(np.isin(scan.labels, keep), scan.labels, 0).astype(np.uint8)
    if len(np.unique(labels)) < 3:  # none of these structures: everything instead
        return scan
    return replace(scan, labels=labels, names={label: scan.names[label] for label in keep})


def cropped(scan: Scan, rng: np.random.Generator) -> Scan:
    """45 to 100 % of the slices, and sometimes a narrow field of view that cuts the skin."""
    low, high = np.zeros(3, int), np.array(scan.hu.shape)
    kept = int(high[2] * rng.uniform(0.45, 1))
    low[2] = rng.integers(0, high[2] - kept + 1)
    high[2] = low[2] + kept
    if rng.random() < 0.3:
        for axis in (0, 1):
            cut = int(high[axis] * rng.uniform(0.05, 0.2))
            low[axis] += cut
            high[axis] -= cut
    window = tuple(slice(a, b) for a, b in zip(low, high, strict=True))
    affine = scan.affine.copy()
    affine[:3, 3] = (scan.affine @ np.array([*low, 1.0]))[:3]
    return replace(scan, hu=scan.hu[window], labels=scan.labels[window], affine=affine)


def enlarged(scan: Scan, factor: int) -> Scan:
    """The same scan with ``factor`` times as many voxels along x and y, each repeated."""
    affine = scan.affine @ np.diag([1 / factor, 1 / factor, 1.0, 1.0])
    hu, labels = (np.repeat(np.repeat(a, factor, 0), factor, 1) for a in (scan.hu, scan.labels))
    return replace(scan, hu=hu, labels=labels, affine=affine)


# -- files ----------------------------------------------------------------------------------------------------------


def _reordered(array: np.ndarray, affine: np.ndarray, axes: str) -> tuple[np.ndarray, np.ndarray]:
    target = nib.orientations.axcodes2ornt(tuple(axes))
    change = nib.orientations.ornt_transform(nib.orientations.io_orientation(affine), target)
    moved = nib.orientations.apply_orientation(array, change)
    return moved, affine @ nib.orientations.inv_ornt_aff(change, array.shape)


def write_nifti(
    path: Path,
    values: np.ndarray,
    affine: np.ndarray,
    *,
    axes: str = "RAS",
    unit: int = 2,
    rescale: tuple[float, float] = (1.0, 0.0),
) -> Path:
    """``values`` as stored numbers of their own type; ``rescale`` goes into the header alone.

    Unit 2 is mm, 0 is unknown.
    """
    stored, placed = _reordered(values, affine, axes)
    image = nib.Nifti1Image(np.ascontiguousarray(stored), placed, dtype=stored.dtype)
    image.header.set_xyzt_units(unit)
    path.parent.mkdir(parents=True, exist_ok=True)
    nib.save(image, path)
    if rescale != (1.0, 0.0):  # nibabel writes its own slope: put the wanted one into the bytes
        _put_rescale(path, rescale)
    return path


def _put_rescale(path: Path, rescale: tuple[float, float]) -> None:
    import gzip

    packed = path.name.endswith(".gz")
    content = bytearray(gzip.decompress(path.read_bytes()) if packed else path.read_bytes())
    content[112:120] = np.array(rescale, "<f4").tobytes()
    path.write_bytes(gzip.compress(bytes(content), 1) if packed else bytes(content))


def write_masks(path: Path, scan: Scan, *, axes: str = "RAS", affine: np.ndarray | None = None) -> Path:
    """One label file whose header names the labels, as TotalSegmentator writes it."""
    names = {int(label): scan.names[int(label)] for label in np.unique(scan.labels) if label}
    stored, placed = _reordered(scan.labels, scan.affine if affine is None else affine, axes)
    image = nib.Nifti1Image(np.ascontiguousarray(stored), placed)
    image.header.set_xyzt_units(2)
    content = table_as_xml(names)
    image.header.extensions.append(nib.nifti1.Nifti1Extension(0, content))
    path.parent.mkdir(parents=True, exist_ok=True)
    nib.save(image, path)
    return path


def write_dicom(
    folder: Path,
    hu: np.ndarray,
    affine: np.ndarray,
    *,
    intercept: float = -1024,
    slope: float = 1,
    signed: bool = False,
    uid: str = "1",
    change: Callable[[Any, int], None] | None = None,
    skip: tuple[int, ...] = (),
) -> Path:
    """Axial slices, patient supine, in LPS. ``change(dataset, slice)`` edits each image; ``skip`` leaves slices out."""
    from pydicom.dataset import Dataset, FileMetaDataset
    from pydicom.uid import ExplicitVRLittleEndian

    folder.mkdir(parents=True, exist_ok=True)
    spacing = np.linalg.norm(affine[:3, :3], axis=0)
    stored = np.rint((hu.astype(np.float64) - intercept) / slope)
    stored = stored.clip(-32768, 32767).astype(np.int16) if signed else stored.clip(0, 65535).astype(np.uint16)
    for k in range(hu.shape[2]):
        if k in skip:
            continue
        pixels = np.ascontiguousarray(stored[::-1, ::-1, k].T)
        corner = affine @ np.array([hu.shape[0] - 1, hu.shape[1] - 1, k, 1.0])
        ds = Dataset()
        ds.file_meta = FileMetaDataset()
        ds.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
        ds.SOPClassUID = ds.file_meta.MediaStorageSOPClassUID = CT_STORAGE
        ds.SOPInstanceUID = ds.file_meta.MediaStorageSOPInstanceUID = f"{ROOT}.{uid}.{k + 1}"
        ds.SeriesInstanceUID, ds.StudyInstanceUID, ds.FrameOfReferenceUID = f"{ROOT}.{uid}", ROOT, f"{ROOT}.9"
        ds.Modality, ds.SeriesNumber, ds.SeriesDescription = "CT", "3", "Body 5.0"
        ds.ImageType = ["ORIGINAL", "PRIMARY", "AXIAL"]
        ds.PatientID, ds.PatientName, ds.InstanceNumber, ds.AcquisitionNumber = "A17", "A^B", k + 1, 1
        ds.PatientPosition, ds.StudyDate, ds.Manufacturer, ds.KVP = "HFS", "20250102", "ACME", "120"
        ds.SliceThickness, ds.PixelSpacing = f"{spacing[2]:.6g}", [f"{spacing[1]:.6g}", f"{spacing[0]:.6g}"]
        ds.ImagePositionPatient = [f"{-corner[0]:.8g}", f"{-corner[1]:.8g}", f"{corner[2]:.8g}"]
        ds.ImageOrientationPatient = [1, 0, 0, 0, 1, 0]
        ds.Rows, ds.Columns, ds.SamplesPerPixel, ds.PhotometricInterpretation = *pixels.shape, 1, "MONOCHROME2"
        ds.BitsAllocated, ds.BitsStored, ds.HighBit, ds.PixelRepresentation = 16, 16, 15, int(signed)
        ds.RescaleSlope, ds.RescaleIntercept, ds.RescaleType = f"{slope:g}", f"{intercept:g}", "HU"
        ds.PixelData = pixels.tobytes()
        if change is not None:
            change(ds, k)
        ds.save_as(folder / f"{uid}_{k:04d}.dcm", enforce_file_format=True)
    return folder


# -- honest ---------------------------------------------------------------------------------------------------------


def honest(seed: int, folder: Path, real: tuple[Scan, ...] = (), pool: int = 32) -> Written:
    """A scan as a hospital or a public data set stores it, with masks that fit."""
    rng = np.random.default_rng(100_000 + seed)
    scan = drawn(rng, real, pool)
    told = []
    hu, truth = scan.hu, scan.hu
    if rng.random() < 0.3:
        hu, truth = _round_field(scan.hu, float(rng.choice([-1024, -2000, -3024])))
        told.append("round field of view")
    masks = write_masks(folder / "masks.nii.gz", scan, axes=str(rng.choice(AXES)))
    if rng.random() < 0.45:
        signed = bool(rng.random() < 0.5)
        intercept = float(rng.choice([0, -1024, -8192])) if signed else float(rng.choice([-1024, -8192]))
        lowest = -32768 if signed else intercept
        ct = write_dicom(folder / "ct", np.maximum(hu, lowest), scan.affine, signed=signed, intercept=intercept)
        told.append(f"DICOM, intercept {intercept:g}")
    else:
        way = int(rng.integers(4))
        axes = str(rng.choice(AXES))
        path = folder / ("ct.nii.gz" if rng.random() < 0.5 else "ct.nii")
        if way == 0:
            ct = write_nifti(path, np.rint(hu).astype(np.int16), scan.affine, axes=axes)
        elif way == 1:
            ct = write_nifti(path, hu.astype(np.float32), scan.affine, axes=axes)
        elif way == 2:
            stored = np.rint(np.maximum(hu, -1024) + 1024).astype(np.uint16)
            ct = write_nifti(path, stored, scan.affine, axes=axes, rescale=(1, -1024))
        else:
            ct = write_nifti(path, np.rint(hu).clip(-1024, 3071).astype(np.int16), scan.affine, axes=axes, unit=0)
        told.append(f"NIfTI {axes}, way {way}")
    return Written("", ", ".join(told), ct, masks, replace(scan, hu=truth))


def _round_field(hu: np.ndarray, padding: float) -> tuple[np.ndarray, np.ndarray]:
    """Padding outside the circle that a scanner reconstructs; read, it is -1024."""
    i, j = np.ogrid[: hu.shape[0], : hu.shape[1]]
    a, b = (hu.shape[0] - 1) / 2, (hu.shape[1] - 1) / 2
    outside = ((i - a) / (a + 0.5)) ** 2 + ((j - b) / (b + 0.5)) ** 2 > 1
    written, read = hu.copy(), hu.copy()
    written[outside], read[outside] = padding, -1024
    return written, read


# -- faults ---------------------------------------------------------------------------------------------------------

Fault = Callable[[Scan, np.random.Generator, Path], tuple[str, Path, Path | None]]


def _plain(scan: Scan, folder: Path, rng: np.random.Generator) -> Path:
    if rng.random() < 0.3:
        return write_dicom(folder / "ct", scan.hu, scan.affine)
    return write_nifti(folder / "ct.nii.gz", np.rint(scan.hu).astype(np.int16), scan.affine)


def masks_flipped(scan: Scan, rng: np.random.Generator, folder: Path) -> tuple[str, Path, Path | None]:
    """The array turned around along one axis, the header left as it was."""
    axis = int(rng.integers(3))
    moved = replace(scan, labels=np.flip(scan.labels, axis))
    return f"flipped along {'xyz'[axis]}", _plain(scan, folder, rng), write_masks(folder / "m.nii.gz", moved)


def masks_transposed(scan: Scan, rng: np.random.Generator, folder: Path) -> tuple[str, Path, Path | None]:
    """Two axes of the array exchanged, the header left as it was."""
    one, two = ((0, 1), (0, 2), (1, 2))[int(rng.integers(3))]
    labels = np.swapaxes(scan.labels, one, two)
    if labels.shape != scan.labels.shape:  # a file that claims the grid of the scan needs its shape
        fitted = np.zeros_like(scan.labels)
        part = tuple(slice(0, min(a, b)) for a, b in zip(labels.shape, fitted.shape, strict=True))
        fitted[part] = labels[part]
        labels = fitted
    moved = replace(scan, labels=labels)
    return f"axes {one} and {two} exchanged", _plain(scan, folder, rng), write_masks(folder / "m.nii.gz", moved)


def masks_lps(scan: Scan, rng: np.random.Generator, folder: Path) -> tuple[str, Path, Path | None]:
    """An affine of LPS written as if it were one of RAS."""
    affine = np.diag([-1.0, -1.0, 1.0, 1.0]) @ scan.affine
    return "LPS affine", _plain(scan, folder, rng), write_masks(folder / "m.nii.gz", scan, affine=affine)


def masks_identity(scan: Scan, rng: np.random.Generator, folder: Path) -> tuple[str, Path, Path | None]:
    """An affine that was lost: 1 mm voxels at the origin."""
    return "identity affine", _plain(scan, folder, rng), write_masks(folder / "m.nii.gz", scan, affine=np.eye(4))


def masks_shifted(scan: Scan, rng: np.random.Generator, folder: Path) -> tuple[str, Path, Path | None]:
    """An origin that is off by 4 to 8 cm along one axis."""
    affine = scan.affine.copy()
    axis, by = int(rng.integers(3)), float(rng.uniform(40, 80) * rng.choice([-1, 1]))
    affine[axis, 3] += by
    told = f"shifted by {by:.0f} mm along {'xyz'[axis]}"
    return told, _plain(scan, folder, rng), write_masks(folder / "m.nii.gz", scan, affine=affine)


def masks_sides_exchanged(scan: Scan, rng: np.random.Generator, folder: Path) -> tuple[str, Path, Path | None]:
    """Every name of a right structure at the left one."""
    number = {name: label for label, name in scan.names.items()}
    labels = scan.labels.copy()
    for name, label in number.items():
        other = name.replace("right", "@").replace("left", "right").replace("@", "left")
        if other != name and other in number:
            labels[scan.labels == label] = number[other]
    if np.array_equal(labels, scan.labels):
        return masks_flipped(scan, rng, folder)
    moved = replace(scan, labels=labels)
    return "right and left names exchanged", _plain(scan, folder, rng), write_masks(folder / "m.nii.gz", moved)


def masks_renumbered(scan: Scan, rng: np.random.Generator, folder: Path) -> tuple[str, Path, Path | None]:
    """Every label one number too high: each structure is called by the name of the next."""
    every = dict(scheme_named("totalsegmentator").labels)
    labels = np.where(scan.labels > 0, scan.labels + 1, 0).clip(0, 117).astype(np.uint8)
    moved = replace(scan, labels=labels, names=every)
    return "labels off by one", _plain(scan, folder, rng), write_masks(folder / "m.nii.gz", moved)


def masks_of_another(scan: Scan, rng: np.random.Generator, folder: Path) -> tuple[str, Path, Path | None]:
    """The masks of another body region of another patient, on this scan's grid."""
    other = next(s for n in rng.permutation(4) if _differs(s := phantom_scan(int(n)), scan))
    fitted = np.zeros_like(scan.labels)
    part = tuple(slice(0, min(a, b)) for a, b in zip(other.labels.shape, fitted.shape, strict=True))
    fitted[part] = other.labels[part]
    moved = replace(scan, labels=fitted, names=other.names)
    return "masks of another patient", _plain(scan, folder, rng), write_masks(folder / "m.nii.gz", moved)


def _differs(other: Scan, scan: Scan) -> bool:
    top = [a[2, 3] + a[2, 2] * s for a, s in ((other.affine, other.hu.shape[2]), (scan.affine, scan.hu.shape[2]))]
    return abs(top[0] - top[1]) > 60 or abs(other.affine[2, 3] - scan.affine[2, 3]) > 60


def unit_lost(scan: Scan, rng: np.random.Generator, folder: Path) -> tuple[str, Path, Path | None]:
    """Centimeters or meters written without a unit."""
    factor = float(rng.choice([0.1, 0.001, 10.0]))
    affine = np.diag([factor, factor, factor, 1.0]) @ scan.affine
    ct = write_nifti(folder / "ct.nii.gz", np.rint(scan.hu).astype(np.int16), affine, unit=0)
    return f"lengths times {factor:g}", ct, write_masks(folder / "m.nii.gz", replace(scan, affine=affine))


def offset_kept(scan: Scan, rng: np.random.Generator, folder: Path) -> tuple[str, Path, Path | None]:
    """HU + 1000 or HU + 1024 without a rescale in the header."""
    offset = int(rng.choice([1000, 1024]))
    stored = np.rint(np.maximum(scan.hu, -offset) + offset).astype(np.uint16 if rng.random() < 0.5 else np.int16)
    return f"HU + {offset}", write_nifti(folder / "ct.nii.gz", stored, scan.affine), _fitting(scan, folder)


def shifted_hu(scan: Scan, rng: np.random.Generator, folder: Path) -> tuple[str, Path, Path | None]:
    """All values off by a constant that a wrong intercept makes."""
    by = int(rng.choice([-1024, -1000, 1024, 255, 128, -255]))
    values = np.rint(scan.hu + by).astype(np.int16)
    if rng.random() < 0.5:
        ct = write_nifti(folder / "ct.nii.gz", values, scan.affine)
    else:
        ct = write_dicom(folder / "ct", values, scan.affine, signed=True, intercept=0)
    return f"HU {by:+d}", ct, _fitting(scan, folder)


def windowed(scan: Scan, rng: np.random.Generator, folder: Path) -> tuple[str, Path, Path | None]:
    """Clipped to a window of soft tissue, in HU or spread over 0..255 or 0..1."""
    low, high = float(rng.choice([-200, -175, -160, -125, -100])), float(rng.choice([240, 250, 275, 300]))
    values = scan.hu.clip(low, high)
    way = int(rng.integers(4))
    if way == 0:
        stored = np.rint(values).astype(np.int16)
    elif way == 1:
        stored = np.rint((values - low) / (high - low) * 255).astype(rng.choice([np.uint8, np.int16]))
    elif way == 2:
        stored = ((values - low) / (high - low)).astype(np.float32)
    else:
        stored = values.astype(np.float32)
    told = f"window {low:g}..{high:g}, way {way}"
    return told, write_nifti(folder / "ct.nii.gz", stored, scan.affine), _fitting(scan, folder)


def iodine_map(scan: Scan, rng: np.random.Generator, folder: Path) -> tuple[str, Path, Path | None]:
    """A map of a spectral scanner in the place of the CT, told by its tags."""
    word, kind = [("IODINE", "Iodine (no water) [mg/ml]"), ("Z_EFF", "Z effective"), ("ELECTRON_DENSITY", "ED")][
        int(rng.integers(3))
    ]
    by_type = bool(rng.random() < 0.5)

    def change(ds: Any, k: int) -> None:
        ds.SeriesDescription = kind
        if by_type:
            ds.ImageType = ["DERIVED", "PRIMARY", "AXIAL", word]
        else:
            ds.RescaleType = "MGML"

    values = (scan.hu.clip(-100, 400) * 0.3).astype(np.float32)
    return kind, write_dicom(folder / "ct", values, scan.affine, change=change), _fitting(scan, folder)


def interleaved(scan: Scan, rng: np.random.Generator, folder: Path) -> tuple[str, Path, Path | None]:
    """Two acquisitions of one series at alternating positions."""
    tag = str(rng.choice(["AcquisitionNumber", "TemporalPositionIdentifier"]))

    def change(ds: Any, k: int) -> None:
        setattr(ds, tag, 1 + k % 2)
        ds.AcquisitionTime = "101500" if k % 2 else "101612"

    hu = scan.hu.copy()
    hu[:, :, 1::2] += np.where(hu[:, :, 1::2] > 20, 60, 0)
    return f"two phases by {tag}", write_dicom(folder / "ct", hu, scan.affine, change=change), _fitting(scan, folder)


def slices_dropped(scan: Scan, rng: np.random.Generator, folder: Path) -> tuple[str, Path, Path | None]:
    """Some slices missing, or every second one an image that cannot be used."""
    count = scan.hu.shape[2]
    if rng.random() < 0.4:

        def change(ds: Any, k: int) -> None:
            if k % 2:
                ds.SamplesPerPixel = 3

        return "every second image is color", write_dicom(folder / "ct", scan.hu, scan.affine, change=change), None
    start = int(rng.integers(2, count - 4))
    skip = tuple(range(start, min(count - 2, start + int(rng.integers(1, 6)))))
    return f"slices {skip} missing", write_dicom(folder / "ct", scan.hu, scan.affine, skip=skip), None


def two_patients(scan: Scan, rng: np.random.Generator, folder: Path) -> tuple[str, Path, Path | None]:
    """The lower half of one patient under the upper half of another, in one series."""
    half = scan.hu.shape[2] // 2
    tag = str(rng.choice(["PatientID", "FrameOfReferenceUID"]))

    def change(ds: Any, k: int) -> None:
        if k >= half:
            setattr(ds, tag, "B23" if tag == "PatientID" else f"{ROOT}.77")

    return f"two {tag}", write_dicom(folder / "ct", scan.hu, scan.affine, change=change), None


def wrong_sign(scan: Scan, rng: np.random.Generator, folder: Path) -> tuple[str, Path, Path | None]:
    """Signed pixels called unsigned."""

    def change(ds: Any, k: int) -> None:
        ds.PixelRepresentation = 0

    ct = write_dicom(folder / "ct", scan.hu, scan.affine, signed=True, intercept=0, change=change)
    return "signed pixels called unsigned", ct, _fitting(scan, folder)


def wrong_rescale(scan: Scan, rng: np.random.Generator, folder: Path) -> tuple[str, Path, Path | None]:
    """A slope that is off on all slices, or an intercept that is off on one."""
    if rng.random() < 0.5:
        slope = str(rng.choice(["0.1", "10", "2"]))

        def change(ds: Any, k: int) -> None:
            ds.RescaleSlope = slope

        told = f"RescaleSlope {slope}"
    else:
        at = int(rng.integers(scan.hu.shape[2]))
        by = str(rng.choice(["0", "-2048", "-924", "-1324"]))

        def change(ds: Any, k: int) -> None:
            if k == at:
                ds.RescaleIntercept = by

        told = f"intercept {by} on slice {at}"
    return told, write_dicom(folder / "ct", scan.hu, scan.affine, change=change), _fitting(scan, folder)


def wrong_spacing(scan: Scan, rng: np.random.Generator, folder: Path) -> tuple[str, Path, Path | None]:
    """Pixel spacing in cm or in micrometers, the positions of the slices right."""
    factor = float(rng.choice([0.1, 10.0]))

    def change(ds: Any, k: int) -> None:
        ds.PixelSpacing = [f"{float(v) * factor:.6g}" for v in ds.PixelSpacing]

    return f"PixelSpacing x {factor:g}", write_dicom(folder / "ct", scan.hu, scan.affine, change=change), None


def _part(scan: Scan, low: int, high: int) -> Scan:
    affine = scan.affine.copy()
    affine[:3, 3] = (scan.affine @ np.array([0, 0, low, 1.0]))[:3]
    return replace(scan, hu=scan.hu[:, :, low:high], labels=scan.labels[:, :, low:high], affine=affine)


def mask_moved_alone(scan: Scan, rng: np.random.Generator, folder: Path) -> tuple[str, Path, Path | None]:
    """One large organ 15 to 40 mm aside, the other masks right."""
    large = ("liver", "spleen", "kidney_right", "kidney_left", "heart", *LUNG_LOBES)
    counts = np.bincount(scan.labels.ravel(), minlength=256)
    found = [label for label, name in scan.names.items() if name in large and counts[label] > 300]
    if not found:
        return masks_shifted(scan, rng, folder)
    label, axis = int(rng.choice(found)), int(rng.integers(3))
    spacing = np.linalg.norm(scan.affine[:3, :3], axis=0)
    by = int(np.rint(rng.uniform(15, 40) / spacing[axis])) * int(rng.choice([-1, 1]))
    away = np.roll(scan.labels == label, by, axis)
    labels = np.where(away, label, np.where(scan.labels == label, 0, scan.labels)).astype(np.uint8)
    told = f"{scan.names[label]} alone moved by {by * spacing[axis]:.0f} mm along {'xyz'[axis]}"
    return told, _plain(scan, folder, rng), write_masks(folder / "m.nii.gz", replace(scan, labels=labels))


def masks_shifted_little(scan: Scan, rng: np.random.Generator, folder: Path) -> tuple[str, Path, Path | None]:
    """An origin that is off by 15 to 40 mm along one axis."""
    affine = scan.affine.copy()
    axis, by = int(rng.integers(3)), float(rng.uniform(15, 40) * rng.choice([-1, 1]))
    affine[axis, 3] += by
    told = f"shifted by {by:.0f} mm along {'xyz'[axis]}"
    return told, _plain(scan, folder, rng), write_masks(folder / "m.nii.gz", scan, affine=affine)


def masks_flipped_thin(scan: Scan, rng: np.random.Generator, folder: Path) -> tuple[str, Path, Path | None]:
    """A flip of the masks of a scan of 40 to 60 mm."""
    count = max(6, int(rng.uniform(40, 60) / abs(scan.affine[2, 2])))
    filled = np.flatnonzero((scan.labels > 0).sum(axis=(0, 1)) > 200)
    low = int(np.clip(rng.choice(filled) - count // 2, 0, max(0, scan.hu.shape[2] - count)))
    return masks_flipped(_part(scan, low, low + count), rng, folder)


def masks_of_similar(scan: Scan, rng: np.random.Generator, folder: Path) -> tuple[str, Path, Path | None]:
    """The masks of the same body region of another patient, on this scan's grid."""
    other = phantom_scan(int(rng.integers(4)))
    fitted = np.zeros_like(scan.labels)
    part = tuple(slice(0, min(a, b)) for a, b in zip(other.labels.shape, fitted.shape, strict=True))
    fitted[part] = other.labels[part]
    moved = replace(scan, labels=fitted, names=other.names)
    return "masks of a similar patient", _plain(scan, folder, rng), write_masks(folder / "m.nii.gz", moved)


#: Names that a slip of a script may exchange.
EXCHANGED = (
    ("aorta", "inferior_vena_cava"), ("spleen", "kidney_left"), ("spleen", "stomach"), ("liver", "spleen"),
    ("liver", "stomach"), ("lung_upper_lobe_left", "lung_lower_lobe_left"), ("heart", "liver"),
    ("gallbladder", "kidney_right"), ("esophagus", "trachea"), ("vertebrae_L1", "vertebrae_L3"),
)  # fmt: skip


def names_exchanged(scan: Scan, rng: np.random.Generator, folder: Path) -> tuple[str, Path, Path | None]:
    """Two structures with each other's name."""
    number = {name: label for label, name in scan.names.items() if (scan.labels == label).sum() > 100}
    pairs = [pair for pair in EXCHANGED if set(pair) <= set(number)]
    if not pairs:
        return masks_sides_exchanged(scan, rng, folder)
    one, other = pairs[int(rng.integers(len(pairs)))]
    labels = scan.labels.copy()
    labels[scan.labels == number[one]], labels[scan.labels == number[other]] = number[other], number[one]
    moved = replace(scan, labels=labels)
    return f"{one} and {other} exchanged", _plain(scan, folder, rng), write_masks(folder / "m.nii.gz", moved)


def slices_cut_out(scan: Scan, rng: np.random.Generator, folder: Path) -> tuple[str, Path, Path | None]:
    """Slices over 30 to 80 mm missing from the middle of a file whose header does not say so."""
    count = max(2, int(rng.uniform(30, 80) / abs(scan.affine[2, 2])))
    count = min(count, scan.hu.shape[2] - 10)
    first = int(rng.integers(5, scan.hu.shape[2] - count - 4))
    hu, labels = (np.delete(a, np.s_[first : first + count], axis=2) for a in (scan.hu, scan.labels))
    ct = write_nifti(folder / "ct.nii.gz", np.rint(hu).astype(np.int16), scan.affine)
    return f"{count} slices cut out at {first}", ct, _fitting(replace(scan, labels=labels), folder)


def slices_repeated(scan: Scan, rng: np.random.Generator, folder: Path) -> tuple[str, Path, Path | None]:
    """A block of slices that stands in the place of another, the header as it was."""
    count = int(rng.integers(3, 7))
    first = int(rng.integers(2, scan.hu.shape[2] - 2 * count - 2))
    hu = scan.hu.copy()
    hu[:, :, first + count : first + 2 * count] = hu[:, :, first : first + count]
    ct = write_nifti(folder / "ct.nii.gz", np.rint(hu).astype(np.int16), scan.affine)
    return f"slices {first}.. repeated", ct, _fitting(scan, folder)


def rows_reshaped(scan: Scan, rng: np.random.Generator, folder: Path) -> tuple[str, Path, Path | None]:
    """Half the rows of twice the columns, or the reverse, in the header of every image."""
    halved = bool(rng.random() < 0.5)
    even = replace(scan, hu=scan.hu[: scan.hu.shape[0] // 2 * 2, : scan.hu.shape[1] // 2 * 2])

    def change(ds: Any, k: int) -> None:
        one, two = ("Rows", "Columns") if halved else ("Columns", "Rows")
        setattr(ds, one, getattr(ds, one) // 2)
        setattr(ds, two, getattr(ds, two) * 2)

    return (
        f"{'rows' if halved else 'columns'} halved",
        write_dicom(folder / "ct", even.hu, even.affine, change=change),
        None,
    )


def half_offset(scan: Scan, rng: np.random.Generator, folder: Path) -> tuple[str, Path, Path | None]:
    """One side of the image with another offset."""
    axis, by = int(rng.integers(2)), int(rng.choice([60, -60, 80, 100]))
    at = int(scan.hu.shape[axis] * rng.uniform(0.4, 0.6))
    hu = scan.hu.copy()
    hu[(slice(None),) * axis + (slice(0, at),)] += by
    ct = write_nifti(folder / "ct.nii.gz", np.rint(hu).astype(np.int16), scan.affine)
    return f"{by:+d} HU on one side along {'xy'[axis]}", ct, _fitting(scan, folder)


def stack_disordered(scan: Scan, rng: np.random.Generator, folder: Path) -> tuple[str, Path, Path | None]:
    """Coronal or sagittal slices of which two are exchanged, a block is in reverse, or one is a copy of another."""
    axis, way = int(rng.integers(2)), int(rng.integers(3))
    count = scan.hu.shape[axis]
    at = int(count * rng.uniform(0.42, 0.58))
    order = np.arange(count)
    if way == 0:
        order[[at, at + 1]] = at + 1, at
    elif way == 1:
        order[at - 4 : at + 5] = order[at - 4 : at + 5][::-1]
    else:
        order[at] = at - 6
    hu = np.take(scan.hu, order, axis)
    ct = write_nifti(folder / "ct.nii.gz", np.rint(hu).astype(np.int16), scan.affine, axes=("ASR", "RSA")[axis])
    return f"{('sagittal', 'coronal')[axis]} slices out of order, way {way}", ct, None


def wrong_slice_spacing(scan: Scan, rng: np.random.Generator, folder: Path) -> tuple[str, Path, Path | None]:
    """Slices 3 to 5 times nearer or farther than they are, in scan and masks."""
    factor = float(rng.choice([1 / 5, 1 / 3, 3, 4]))
    affine = scan.affine @ np.diag([1, 1, factor, 1.0])
    ct = write_nifti(folder / "ct.nii.gz", np.rint(scan.hu).astype(np.int16), affine)
    return f"slice spacing x {factor:.2g}", ct, write_masks(folder / "m.nii.gz", replace(scan, affine=affine))


def _fitting(scan: Scan, folder: Path) -> Path:
    return write_masks(folder / "m.nii.gz", scan)


FAULTS: tuple[Fault, ...] = (
    masks_flipped,
    masks_transposed,
    masks_lps,
    masks_identity,
    masks_shifted,
    masks_sides_exchanged,
    masks_renumbered,
    masks_of_another,
    unit_lost,
    offset_kept,
    shifted_hu,
    windowed,
    iodine_map,
    interleaved,
    slices_dropped,
    two_patients,
    wrong_sign,
    wrong_rescale,
    wrong_spacing,
    mask_moved_alone,
    masks_shifted_little,
    masks_flipped_thin,
    names_exchanged,
    slices_cut_out,
    slices_repeated,
    rows_reshaped,
    half_offset,
    stack_disordered,
    wrong_slice_spacing,
    masks_of_similar,
)
#: Faults of the image that only a body seen whole can tell.
NEEDS_A_WHOLE_BODY = (unit_lost, wrong_spacing, wrong_slice_spacing)


def faulty(seed: int, folder: Path, real: tuple[Scan, ...] = (), pool: int = 32) -> Written:
    """A scan and its masks with one fault; the faults take turns."""
    rng = np.random.default_rng(900_000 + seed)
    fault = FAULTS[seed % len(FAULTS)]
    scan = drawn(rng, real, pool, whole=fault in NEEDS_A_WHOLE_BODY)
    told, ct, masks = fault(scan, rng, folder)
    return Written(fault.__name__, told, ct, masks)


# -- verdict --------------------------------------------------------------------------------------------------------


def verdict(written: Written) -> Verdict:
    """Read the scan and its masks as a report would, and say how it went."""
    try:
        volume = radvlm.load_volume(written.scan)
        decisions: tuple[Decision, ...] = volume.decisions
        if written.masks is not None:
            decisions += radvlm.load_segmentation(written.masks, like=volume).decisions
    except RadvlmError as error:
        return Verdict("refused", (str(error),))
    told = tuple(d.what for d in decisions if d.warning)
    if told:
        return Verdict("warned", told)
    if written.truth is not None:
        truth = written.truth
        off = np.abs(np.asarray(volume.hu, np.float64) - np.maximum(truth.hu, -1024)).max()
        moved = np.abs(volume.geometry.affine - truth.affine).max()
        if volume.hu.shape != truth.hu.shape or off > 0.51 or moved > 1e-3:
            return Verdict("wrong", (f"HU off by {off:g}, affine by {moved:g} mm",))
    return Verdict("silent", ())

"""From a Volume to the tensor that an encoder was trained on.

The resampling follows MONAI's ``Spacing`` to the last rule, because published weights depend on it. Centers of voxel 0
are aligned (no half-voxel shift), except for rotated scans whose axes are not perpendicular to the last digit (nearly
all that come from files), where the centers of the grids are. There is no anti-aliasing, an axis within 0.001 mm of the
wanted spacing is left alone, and rotated scans stay rotated. It is separable and computes only what survives the crop,
one slab at a time in the array's own memory order, so a thin-slice scan costs a fraction of a second and is never
copied as floats. Networks that were shown a scan squeezed into their matrix (``spacing_mm=None``) get what MONAI's
``CropForeground`` and ``Resize(mode="area")`` give. A shear below ``geometry.PERPENDICULAR_COSINE`` is not
interpolated. A Volume is in RAS+ order already, the same as MONAI's ``Orientation("RAS")``, so no axis is flipped here.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

from radvlm.errors import InputError
from radvlm.types.geometry import Geometry
from radvlm.types.provenance import Decision
from radvlm.types.volume import Volume

#: An axis whose spacing is this close (mm) to the wanted one is not resampled (MONAI's AFFINE_TOL).
SAME_SPACING_MM = 1e-3
#: Voxels above this are counted as the patient's body (or the table) when a crop is judged.
BODY_HU = -300
#: A warning is given when the crop loses more than this share of the voxels above BODY_HU.
LOST_BODY_SHARE = 0.01
#: A warning is given when an axis is sampled this many times more coarsely than the encoder expects.
COARSE_RATIO = 2.5
#: Voxel 0 is the lowest corner of a grid when no other lies this far (in voxels) below it (numpy's default atol).
CORNER_TOLERANCE = 1e-8
#: Padding where values are kept in HU.
AIR_HU = -1000.0
_SAMPLE_VOXELS = 500_000
_STEP = "model input"


@dataclass(frozen=True)
class InputSpec:
    """What an encoder expects.

    Attributes:
        spacing_mm: distance of voxel centers along x, y, z. None squeezes the scan into ``shape``, whatever its spacing
            and proportions: each output voxel is the mean of the input voxels that it touches.
        shape: (X, Y, Z) voxels after centered padding and cropping, or None for whatever the scan gives.
        hu_window: (low, high) HU, mapped linearly to 0 and 1 and clipped; padding has the low value. None keeps HU,
            with padding of air (-1000).
        multiple_of: with ``shape=None``, each axis is padded up to a multiple of this.
        foreground_above_hu: with ``spacing_mm=None``, the smallest box that holds all above this is cut out first.
    """

    spacing_mm: tuple[float, float, float] | None
    shape: tuple[int, int, int] | None = None
    hu_window: tuple[float, float] | None = (-1000.0, 1000.0)
    multiple_of: int = 1
    foreground_above_hu: float | None = None

    def __post_init__(self) -> None:
        spacing = self.spacing_mm
        if spacing is not None and (len(spacing) != 3 or not all(0 < s < 100 for s in spacing)):
            raise InputError("spacing_mm is three numbers above 0 and below 100, or None", str(spacing))
        if spacing is None and self.shape is None:
            raise InputError("a scan is squeezed into a shape", "spacing_mm None and shape None", "Give one of them")
        if spacing is not None and self.foreground_above_hu is not None:
            raise InputError("foreground_above_hu comes with spacing_mm=None", str(self.foreground_above_hu))
        if self.shape is not None and (len(self.shape) != 3 or not all(int(n) == n and n > 0 for n in self.shape)):
            raise InputError("shape is three whole numbers above 0, or None", str(self.shape))
        if self.hu_window is not None and (len(self.hu_window) != 2 or not self.hu_window[0] < self.hu_window[1]):
            raise InputError("hu_window is (low, high) with low < high, or None", str(self.hu_window))
        if self.multiple_of < 1:
            raise InputError("multiple_of is at least 1", str(self.multiple_of))
        if spacing is not None:
            object.__setattr__(self, "spacing_mm", tuple(float(s) for s in spacing))
        if self.hu_window is not None:
            object.__setattr__(self, "hu_window", tuple(float(v) for v in self.hu_window))
        if self.shape is not None:
            object.__setattr__(self, "shape", tuple(int(n) for n in self.shape))

    @property
    def fixed_spacing_mm(self) -> tuple[float, float, float]:
        """The spacing of every input; InputError where scans are squeezed and share none."""
        if self.spacing_mm is None:
            raise InputError(
                "lengths in millimeters need inputs of one spacing", "spacing_mm None", "Give a spacing_mm"
            )
        return self.spacing_mm


#: What Merlin's published checkpoints expect: 336 x 336 x 480 mm.
MERLIN_INPUT = InputSpec(spacing_mm=(1.5, 1.5, 3.0), shape=(224, 224, 160), hu_window=(-1000.0, 1000.0))

#: What Astra's published code shows its trunk of a chest (infer_one_ct.py of zh-Wang-Med/Astra at cfdf9f9); abdomens it
#: shows as ``MERLIN_INPUT``.
ASTRA_CHEST_INPUT = InputSpec(None, (224, 224, 160), hu_window=(-1000.0, 200.0), foreground_above_hu=-1000.0)


@dataclass(frozen=True, eq=False)
class Prepared:
    """An encoder's input and where it lies in the patient.

    Attributes:
        tensor: (1, 1, X, Y, Z) float32, 0 to 1 (HU where the spec has no window), axes in RAS+ order.
        affine_ras_mm: (4, 4) from input voxel index to RAS+ mm.
        notes: what was decided; warnings where the result may mislead the encoder.
    """

    tensor: torch.Tensor
    affine_ras_mm: np.ndarray
    notes: tuple[Decision, ...] = ()

    @property
    def geometry(self) -> Geometry:
        """The grid of the input, to bring voxel outputs back to the scan."""
        return Geometry(tuple(self.tensor.shape[2:]), self.affine_ras_mm)  # type: ignore[arg-type]


def prepare(volume: Volume, spec: InputSpec = MERLIN_INPUT) -> Prepared:
    """Resample, window, pad and crop a CT as ``spec`` says.

    Raises InputError for another modality than CT, and for a volume without anything in it (constant, or air only).
    Values that do not look like HU, lost body and coarse sampling are warnings in ``notes``.
    """
    if volume.study.modality not in ("", "CT"):
        raise InputError("the encoder reads CT", f"modality {volume.study.modality}", "Pass a CT series")
    sample = _sample(volume.hu)
    _refuse_empty(sample)
    notes = _hu_notes(sample)
    if spec.spacing_mm is None:
        return _squeezed(volume, spec, notes)
    spacing_in = volume.geometry.spacing_mm
    ratios, sizes = resampling_grid(volume.geometry.shape, spacing_in, spec.spacing_mm)
    first = _first_position(volume.geometry, ratios, sizes)
    target = spec.shape or tuple(-(-n // spec.multiple_of) * spec.multiple_of for n in sizes)
    cuts = [_cut(n, wanted) for n, wanted in zip(sizes, target, strict=True)]
    positions = [
        origin + (start + np.arange(kept)) * ratio
        for origin, (start, kept, _), ratio in zip(first, cuts, ratios, strict=True)
    ]
    inner = sample_linear(volume.hu, positions)
    if not np.isfinite(inner).all():
        raise InputError("HU are finite", "NaN or infinity in the volume", "Repair or mask these voxels first")
    _window(inner, spec.hu_window)
    outside = AIR_HU if spec.hu_window is None else 0.0
    out = np.full(target, outside, np.float32)  # (X, Y, Z)
    out[tuple(slice(before, before + kept) for _, kept, before in cuts)] = inner
    affine = volume.geometry.affine.copy()
    affine[:3, :3] *= np.array(ratios)
    corner = [
        origin + (start - before) * ratio for origin, (start, _, before), ratio in zip(first, cuts, ratios, strict=True)
    ]
    affine[:3, 3] = volume.geometry.to_world(corner)
    notes += _crop_notes(volume, positions)
    notes += _spacing_notes(spacing_in, spec.spacing_mm)
    return Prepared(torch.from_numpy(out)[None, None], affine, tuple(notes))


def _window(values: np.ndarray, hu_window: tuple[float, float] | None) -> None:
    """HU to 0 to 1, in place; nothing without a window."""
    if hu_window is not None:
        low, high = hu_window
        values -= np.float32(low)
        values /= np.float32(high - low)
        np.clip(values, 0.0, 1.0, out=values)


def _squeezed(volume: Volume, spec: InputSpec, notes: list[Decision]) -> Prepared:
    """The foreground averaged into the shape of the spec, as MONAI's CropForeground and Resize with mode "area"."""
    assert spec.shape is not None
    box = [slice(0, n) for n in volume.hu.shape]
    if spec.foreground_above_hu is not None:
        box = _foreground(volume.hu, spec.foreground_above_hu)
    inner = average_area(volume.hu[tuple(box)], spec.shape)
    if not np.isfinite(inner).all():
        raise InputError("HU are finite", "NaN or infinity in the volume", "Repair or mask these voxels first")
    _window(inner, spec.hu_window)
    sizes = [s.stop - s.start for s in box]
    ratios = [n / m for n, m in zip(sizes, spec.shape, strict=True)]
    affine = volume.geometry.affine.copy()
    affine[:3, :3] *= np.array(ratios)
    affine[:3, 3] = volume.geometry.to_world([s.start + (r - 1) / 2 for s, r in zip(box, ratios, strict=True)])
    steps = [r * mm for r, mm in zip(ratios, volume.geometry.spacing_mm, strict=True)]
    notes.append(
        Decision(
            _STEP,
            f"The scan was squeezed into {' x '.join(map(str, spec.shape))} voxels of "
            f"{' x '.join(f'{mm:.3g}' for mm in steps)} mm, whatever its proportions, as the model was trained.",
        )
    )
    notes += [
        Decision(
            _STEP,
            f"The scan has {n} voxels along {name}, and the model expects {m}, so small lesions may lie between them.",
            warning=True,
        )
        for n, m, name in zip(sizes, spec.shape, "xyz", strict=True)
        if m > COARSE_RATIO * n
    ]
    return Prepared(torch.from_numpy(inner)[None, None], affine, tuple(notes))


def _foreground(hu: np.ndarray, above_hu: float) -> list[slice]:
    """The smallest box that holds every voxel above a value; the whole array where there is none."""
    found = hu > above_hu
    box = []
    for axis in range(3):
        held = np.flatnonzero(found.any(axis=tuple(other for other in range(3) if other != axis)))
        box.append(slice(int(held[0]), int(held[-1]) + 1) if held.size else slice(0, hu.shape[axis]))
    return box


def average_area(array: np.ndarray, shape: Sequence[int]) -> np.ndarray:
    """(I, J, K) as float32 of another shape: each voxel is the mean of those it touches, from floor to ceiling.

    The rule of PyTorch's ``interpolate(mode="area")``; one slab at a time, so that nothing is copied as floats.
    """
    order = sorted(range(3), key=lambda axis: -abs(array.strides[axis]))
    source = array.transpose(order)
    wanted = [shape[axis] for axis in order]
    starts, ends = zip(*(_touched(n, m) for n, m in zip(source.shape, wanted, strict=True)), strict=True)
    rows, columns = (_means(starts[axis], ends[axis], source.shape[axis]) for axis in (1, 2))
    out = np.empty(wanted, np.float32)
    for index, (start, end) in enumerate(zip(starts[0], ends[0], strict=True)):
        slab = source[start:end].mean(0, dtype=np.float32)
        out[index] = rows @ slab @ columns.T
    return np.ascontiguousarray(out.transpose(np.argsort(order)))


def _touched(size: int, wanted: int) -> tuple[np.ndarray, np.ndarray]:
    """First and last (exclusive) input voxel of each output voxel."""
    steps = np.arange(wanted)
    return steps * size // wanted, -(-(steps + 1) * size // wanted)


def _means(starts: np.ndarray, ends: np.ndarray, size: int) -> np.ndarray:
    """(M, N) float32 whose product with N values gives the mean over each output voxel."""
    place = np.arange(size)
    inside = (place >= starts[:, None]) & (place < ends[:, None])
    return (inside / (ends - starts)[:, None]).astype(np.float32)


def resample_linear(array: np.ndarray, spacing_in_mm: Sequence[float], spacing_out_mm: Sequence[float]) -> np.ndarray:
    """Trilinear resampling of (I, J, K) to another spacing, as float32, by MONAI's rules (see the module).

    Voxel 0 keeps its place; the affine's columns are scaled by ``resampling_grid(...)[0]``.
    """
    ratios, sizes = resampling_grid(array.shape, spacing_in_mm, spacing_out_mm)
    return sample_linear(array, [np.arange(n) * ratio for n, ratio in zip(sizes, ratios, strict=True)])


def resampling_grid(
    shape: Sequence[int], spacing_in_mm: Sequence[float], spacing_out_mm: Sequence[float]
) -> tuple[tuple[float, ...], tuple[int, ...]]:
    """Step in input voxels and number of output voxels along each axis.

    A number of voxels is (n - 1) * spacing_in / spacing_out + 1, halves rounded to even. A step is exactly 1 for axes
    within 0.001 mm, and for all axes when no ratio differs by more than 0.001 and no size changes.
    """
    ratios = tuple(
        1.0 if abs(a - b) <= SAME_SPACING_MM else b / a for a, b in zip(spacing_in_mm, spacing_out_mm, strict=True)
    )
    sizes = tuple(round((n - 1) / r + 1) for n, r in zip(shape, ratios, strict=True))
    if sizes == tuple(shape) and all(abs(r - 1) <= SAME_SPACING_MM for r in ratios):
        return (1.0, 1.0, 1.0), sizes
    return ratios, sizes


def sample_linear(array: np.ndarray, positions: Sequence[np.ndarray]) -> np.ndarray:
    """Values of (I, J, K) at the grid spanned by three lists of fractional indices, clamped to the border; float32.

    Reads the input one slab at a time along the axis with the largest stride; a view with any strides is fine.
    """
    order = sorted(range(3), key=lambda axis: -abs(array.strides[axis]))
    source = array.transpose(order)
    slow, middle, fast = (_neighbors(positions[axis], array.shape[axis]) for axis in order)
    out = np.empty(tuple(len(p[2]) for p in (slow, middle, fast)), np.float32)
    if 0 in out.shape:
        return out.transpose(np.argsort(order))
    rows, columns = (slice(int(p[0].min()), int(p[1].max()) + 1) for p in (middle, fast))
    (row0, row1, row_weight), (col0, col1, col_weight) = middle, fast
    row0, row1, col0, col1 = row0 - rows.start, row1 - rows.start, col0 - columns.start, col1 - columns.start
    row_weight = row_weight[:, None]
    for index, (first, second, weight) in enumerate(zip(*slow, strict=True)):
        plane = source[first, rows, columns].astype(np.float32)
        if weight:
            plane += weight * (source[second, rows, columns].astype(np.float32) - plane)
        lower = plane.take(row0, axis=0)
        lower += row_weight * (plane.take(row1, axis=0) - lower)  # (middle out, fast in)
        left = lower.take(col0, axis=1)
        left += col_weight * (lower.take(col1, axis=1) - left)
        out[index] = left
    return out.transpose(np.argsort(order))


def _first_position(geometry: Geometry, ratios: Sequence[float], sizes: Sequence[int]) -> tuple[float, ...]:
    """Input index at which output voxel 0 of each axis lies: 0, or what aligns the centers of the two grids.

    MONAI aligns voxel 0 where it is the lowest corner on every axis of the output grid, to 1e-8 voxels. Between rotated
    axes that are perpendicular only as far as float32 or decimal headers say, some corner is lower by more than that,
    and it aligns the centers: a shift of up to half an output voxel, which the published networks saw in training.
    """
    columns = geometry.affine[:3, :3]
    upper = np.linalg.cholesky(columns.T @ columns).T  # the columns in the frame of the nearest rotation
    steps = upper / (np.array(geometry.spacing_mm) * np.array(ratios))[:, None] * (np.array(geometry.shape) - 1)
    lowest = np.where(steps < 0, steps, 0).sum(1)  # how far any corner lies below voxel 0, in output voxels
    if (lowest >= -CORNER_TOLERANCE).all() or tuple(ratios) == (1.0, 1.0, 1.0):
        return (0.0, 0.0, 0.0)
    return tuple(n / 2 - m / 2 * r for n, m, r in zip(geometry.shape, sizes, ratios, strict=True))


def _neighbors(position: np.ndarray, size: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Lower and upper input index and the weight of the upper one, for each position clamped to 0..size-1."""
    clamped = np.clip(position, 0.0, size - 1.0)
    lower = np.minimum(clamped.astype(np.intp), max(size - 2, 0))
    return lower, np.minimum(lower + 1, size - 1), (clamped - lower).astype(np.float32)


def _cut(size: int, wanted: int) -> tuple[int, int, int]:
    """First voxel kept, number of voxels kept and padding before them, as MONAI's SpatialPad and CenterSpatialCrop."""
    if size <= wanted:
        return 0, size, (wanted - size) // 2
    return size // 2 - wanted // 2, wanted, 0


def _sample(hu: np.ndarray) -> np.ndarray:
    """Every n-th voxel along each axis, at most about half a million."""
    step = max(1, int(np.ceil((hu.size / _SAMPLE_VOXELS) ** (1 / 3))))
    return hu[tuple(slice(None, None, step if n > 4 * step else 1) for n in hu.shape)]


def _refuse_empty(sample: np.ndarray) -> None:
    low, high = float(sample.min()), float(sample.max())
    if low == high:
        raise InputError("a volume holds an image", f"every voxel is {low:g}", "Check how the file was read")
    if high < -500:
        raise InputError(
            "a volume holds a patient", f"nothing but air (highest value {high:g} HU)", "Check how the file was read"
        )


def _hu_notes(sample: np.ndarray) -> list[Decision]:
    low, high = float(sample.min()), float(sample.max())
    reason = ""
    if high - low < 30:
        reason = f"they reach only from {low:.3g} to {high:.3g}, as if normalized"
    elif low >= 0:
        reason = f"none is below 0 (highest {high:g}), so there is neither air nor fat"
    elif np.mean(sample < -1100) > 0.01:
        reason = f"{np.mean(sample < -1100):.0%} are below air (lowest {low:g})"
    elif np.mean(sample > 4100) > 0.01:
        reason = f"{np.mean(sample > 4100):.0%} are above 4100 (highest {high:g})"
    elif np.mean((sample >= -200) & (sample <= 250)) < 0.01:
        reason = f"hardly any lies between fat and blood (range {low:g} to {high:g})"
    if not reason:
        return []
    return [
        Decision(
            _STEP,
            f"The values do not look like Hounsfield units: {reason}. What the model says of this scan "
            "may be meaningless.",
            warning=True,
        )
    ]


def _crop_notes(volume: Volume, positions: Sequence[np.ndarray]) -> list[Decision]:
    """What part of the scan lies outside the encoder's field of view, and how much of the body that is."""
    names = (("left", "right"), ("posterior", "anterior"), ("inferior", "superior"))
    cut_mm, inside = [], []
    for axis, spacing in enumerate(volume.geometry.spacing_mm):
        step = positions[axis][1] - positions[axis][0] if len(positions[axis]) > 1 else 1.0
        reach = (positions[axis][0] - step / 2, positions[axis][-1] + step / 2)
        lost = (reach[0] + 0.5, volume.geometry.shape[axis] - 0.5 - reach[1])
        cut_mm += [
            (mm, name)
            for mm, name in zip((lost[0] * spacing, lost[1] * spacing), names[axis], strict=True)
            if mm > 2 * step * spacing
        ]
        inside.append(slice(max(0, round(reach[0] + 0.5)), round(reach[1] + 0.5)))
    if not cut_mm:
        return []
    every = [max(1, n // 80) for n in volume.hu.shape]
    body = volume.hu[tuple(slice(None, None, e) for e in every)] > BODY_HU
    kept = body[tuple(slice(-(-s.start // e), -(-s.stop // e)) for s, e in zip(inside, every, strict=True))]
    lost_share = 1 - kept.sum() / max(1, body.sum())
    sides = ", ".join(f"{mm:.0f} mm {name}" for mm, name in cut_mm)
    what = (
        f"The scan is larger than the model's field of view: {sides} were cut, {lost_share:.0%} of what is denser "
        f"than {BODY_HU} HU."
    )
    return [Decision(_STEP, what, warning=bool(lost_share > LOST_BODY_SHARE))]


def _spacing_notes(spacing_in: Sequence[float], spacing_out: Sequence[float]) -> list[Decision]:
    coarse = [(a, b, name) for a, b, name in zip(spacing_in, spacing_out, "xyz", strict=True) if a > COARSE_RATIO * b]
    return [
        Decision(
            _STEP,
            f"Voxels are {a:.3g} mm apart along {name}; the model expects {b:.3g} mm, so small lesions "
            "may lie between them.",
            warning=True,
        )
        for a, b, name in coarse
    ]


def check_image(image: torch.Tensor) -> None:
    """InputError unless an encoder's input has the shape (B, 1, X, Y, Z)."""
    if image.ndim != 5 or image.shape[1] != 1:
        raise InputError(
            "the image is (B, 1, X, Y, Z)", f"shape {tuple(image.shape)}", "Use radvlm.model.inputs.prepare"
        )

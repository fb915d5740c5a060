"""Body, its fat, the table and aerated lung by thresholds, for scans that come without masks. No model, a few seconds.

Method. The scan is averaged to voxels of about 3 mm. Body: tissue above -300 HU, opened by 6 mm so that the table and
tubes fall off, the largest piece of it, with its holes filled in each axial slice. Lung: voxels inside the body
between -950 and -400 HU, away from pure air (trachea, bowel and stomach gas, pneumothorax); a connected piece counts
when it is lung-like in density and evenness and when it is either large or reaches the top of the scan. Edges are
then taken from the full-resolution voxels. Fat and table: see ``threshold_parts``; the spinal
canal and the blood before the spine: ``threshold_spine``.

Limits. Arms beside the trunk are not body unless they touch it, but ``body_extremities``, as is the smaller of two
legs; a limb on its own is called body; lung that the side of the field of view cuts open is filled neither as body nor
as lung. Consolidated or collapsed lung, effusion and most of severe emphysema are not in the lung mask, so its volume
is that of *aerated* lung and a low one proves nothing. Slivers of lung base (below 20 ml) are not reported. It would
rather find nothing than something wrong, so "absent" here means not recognized.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from radvlm.segment.threshold_parts import FAT_HU, TABLE_HU, find_table, paint_fat
from radvlm.segment.threshold_spine import blood_before_spine, canal_mask, find_spine
from radvlm.types.provenance import Decision
from radvlm.types.segmentation import LabelPlace, Segmentation
from radvlm.types.volume import Volume

#: What is searched for; of the rest (limbs beside the body, fat, table) an absence would prove nothing.
SEARCHED = ("body", "lung")
#: Size of the coarse voxels in mm.
COARSE_MM = 3.0
#: Tissue is denser than this; fat is about -100 HU, aerated lung below -500, mattress foam below -600.
TISSUE_HU = -300.0
#: Radius by which tissue is opened in the axial plane (mm), at least a voxel: a chest wall is thicker, a table is not.
OPENED_MM = 6.3
#: Spread of soft tissue from slice to slice on 3 mm averages (HU) beyond which lung is not told from its surroundings.
MAX_NOISE_HU = 50.0
#: A body smaller than this is not one (ml).
MIN_BODY_ML = 200.0
#: A piece beside the body is a limb from this size on (ml), with this share of fat and bone of this density in it.
MIN_LIMB_ML, MIN_LIMB_FAT, LIMB_BONE_HU = 20.0, 0.03, 250.0
#: Density of aerated lung on 3 mm averages. Below is gas, above are walls and vessels.
LUNG_HU = (-950.0, -400.0)
#: Median of one accepted piece: normal lung is about -850, dependent or expiratory lung up to -600.
LUNG_MEDIAN_HU = (-940.0, -550.0)
#: Gas pieces of at least this volume (ml), and the voxel layer around them, are never lung.
MIN_GAS_ML = 1.0
#: Smallest piece that reaches the top of the scan (a lung base), and smallest piece elsewhere, in ml.
MIN_BASE_ML, MIN_LUNG_ML = 20.0, 200.0
#: Of a piece that neither reaches the top of the scan nor is this large (ml), the median is at least this: gas in a
#: bowel, blurred with its wall, is as even as lung.
SURE_LUNG_ML, SMALL_LUNG_MEDIAN_HU = 1000.0, -900.0
#: A piece is even when the middle half of its core's voxels spans at most this many HU (stool spans more).
MAX_CORE_SPREAD_HU = 160.0
#: At least this share of a piece lies one coarse voxel below its surface.
MIN_CORE_SHARE = 0.12


def segment_by_threshold(volume: Volume) -> Segmentation:
    """Masks of ``body``, ``lung``, ``body_fat``, ``body_extremities`` and ``scanner_table``, as far as they were found.

    Nothing is searched where the values cannot be trusted (``Volume.attenuation_doubt``).

    Returns a Segmentation whose layer 0 holds the body and layer 1 the rest, on the volume's grid.
    """
    if volume.attenuation_doubt:
        return _result(
            volume, None, None, f"their attenuation cannot be trusted ({volume.attenuation_doubt})", searched=False
        )
    steps = [max(1, round(COARSE_MM / spacing)) for spacing in volume.geometry.spacing_mm]
    coarse = _block_mean(volume.hu, steps)
    voxel_ml = volume.geometry.voxel_volume_mm3 * float(np.prod(steps)) / 1000
    spacing = [s * n for s, n in zip(volume.geometry.spacing_mm, steps, strict=True)]
    body, beside = _body(coarse, spacing, voxel_ml)
    if body is None:
        return _result(volume, None, None, "no object large and dense enough to be a body was found")
    lung = None if _noise_hu(coarse, body) > MAX_NOISE_HU else _lung(coarse, body, voxel_ml)
    table = find_table(coarse, body, beside)
    spine = find_spine(coarse, body, spacing)
    whole = np.zeros(volume.geometry.shape, np.uint8, order="F")
    _paint(volume, steps, _body_part(body), (whole, 1))
    parts: dict[str, _Part] = {}
    if spine is not None:
        parts["spinal_canal"] = _Part(canal_mask(body.shape, spine, spacing))
        blood = blood_before_spine(coarse, body, spine, spacing)
        if blood is not None:
            parts["blood_before_spine"] = _Part(blood)
    if lung is not None:
        parts["lung"] = _lung_part(lung, steps)
    if beside is not None:
        parts["body_extremities"] = _body_part(beside)
    if table is not None:
        parts["scanner_table"] = _Part(np.zeros(table.shape, bool), table, lambda hu: hu > TABLE_HU)
    rest = np.zeros(volume.geometry.shape, np.uint8, order="F")
    paint_fat(volume, whole, (rest, 1))
    for label, part in enumerate(parts.values(), 2):
        _paint(volume, steps, part, (rest, label))
    what = "lung was not recognized" if lung is None else "body and aerated lung were found"
    return _result(volume, whole, (rest, ("body_fat", *parts)), what)


def _result(
    volume: Volume,
    body: np.ndarray | None,
    rest: tuple[np.ndarray, tuple[str, ...]] | None,
    what: str,
    searched: bool = True,
) -> Segmentation:
    """Body in layer 0, the rest in layer 1 with the names of its labels from 1 on."""
    layers = [np.zeros(volume.geometry.shape, np.uint8, order="F") if body is None else body]
    places = {} if body is None or not body.any() else {"body": LabelPlace(0, 1)}
    if rest is not None:
        layers.append(rest[0])
        found = np.bincount(rest[0].ravel(order="K"), minlength=len(rest[1]) + 1)
        places |= {name: LabelPlace(1, label) for label, name in enumerate(rest[1], 1) if found[label]}
    return Segmentation(
        tuple(layers),
        places,
        frozenset(SEARCHED if searched else ()),
        volume.geometry,
        "threshold",
        decisions=(
            Decision("segment", f"No masks were given; thresholds looked for the body and aerated lung: {what}.", True),
        ),
    )


def _block_mean(hu: np.ndarray, steps: list[int]) -> np.ndarray:
    """Mean of blocks of ``steps`` voxels, float32; a partial block at the end is averaged over what it holds."""
    total = hu
    for axis, step in enumerate(steps):
        if step > 1:
            kind = np.int32 if total.dtype.kind == "i" else np.float32
            moved = np.moveaxis(total, axis, 0)
            part = moved[::step].astype(kind)
            for offset in range(1, step):
                shifted = moved[offset::step]
                part[: len(shifted)] += shifted
            total = np.moveaxis(part, 0, axis)
    mean = np.ascontiguousarray(total, dtype=np.float32)
    for axis, step in enumerate(steps):
        sizes = np.diff(np.r_[np.arange(0, hu.shape[axis], step), hu.shape[axis]]).astype(np.float32)
        mean /= sizes.reshape([-1 if a == axis else 1 for a in range(3)])
    return mean


def _ball(radius_mm: float, spacing: list[float]) -> np.ndarray:
    """Ellipsoid of that radius as a boolean array; at least the six neighbors along axes that are fine enough."""
    reach = [int(radius_mm // s) for s in spacing]
    grid = np.meshgrid(*[np.arange(-r, r + 1) * s for r, s in zip(reach, spacing, strict=True)], indexing="ij")
    return sum(g**2 for g in grid) <= radius_mm**2 + 1e-6


def _body(
    coarse: np.ndarray, spacing: list[float], voxel_ml: float
) -> tuple[np.ndarray, np.ndarray | None] | tuple[None, None]:
    """The largest piece of tissue, and the other pieces that are built as a limb is: skin and fat around bone."""
    from scipy import ndimage

    tissue = coarse > TISSUE_HU
    ball = _ball(max(OPENED_MM, 1.05 * max(spacing[:2])), [spacing[0], spacing[1], 1e3])  # in the axial plane
    inside = ndimage.binary_erosion(_edge_padded(tissue, 2), ball)[2:-2, 2:-2]
    labels, count = ndimage.label(inside)
    if count == 0:
        return None, None
    sizes = np.bincount(labels.ravel())
    sizes[0] = 0
    largest = int(sizes.argmax())
    if sizes[largest] * voxel_ml < MIN_BODY_ML / 2:
        return None, None
    body = _grown(labels == largest, ball, tissue)
    if body.sum() * voxel_ml < MIN_BODY_ML:
        return None, None
    beside = np.zeros(body.shape, bool)
    for label in np.flatnonzero(sizes * voxel_ml >= MIN_LIMB_ML):
        values = coarse[labels == label]
        fat = float(((values >= FAT_HU[0]) & (values <= FAT_HU[1])).mean())
        if label != largest and fat >= MIN_LIMB_FAT and values.max() >= LIMB_BONE_HU:
            beside |= _grown(labels == label, ball, tissue)
    beside &= ~body
    return body, beside if beside.any() else None


def _grown(core: np.ndarray, ball: np.ndarray, tissue: np.ndarray) -> np.ndarray:
    """An opened piece in its full extent, holes of each axial slice filled."""
    from scipy import ndimage

    piece = ndimage.binary_dilation(core, ball) & tissue
    for k in range(piece.shape[2]):
        piece[:, :, k] = ndimage.binary_fill_holes(piece[:, :, k])
    return piece


def _noise_hu(coarse: np.ndarray, body: np.ndarray) -> float:
    """Standard deviation of soft tissue from one slice to the next, robustly; 0 in a single slice."""
    lower, upper = coarse[:, :, :-1], coarse[:, :, 1:]
    soft = body[:, :, :-1] & body[:, :, 1:] & (lower > -30) & (lower < 150)
    if not soft.any():
        return 0.0
    return float(1.4826 * np.median(np.abs(upper[soft] - lower[soft])) / np.sqrt(2))


def _edge_padded(mask: np.ndarray, width: int) -> np.ndarray:
    """Padded in the axial plane with its own edge, so that a body cut by the field of view is not eroded there."""
    return np.pad(mask, ((width, width), (width, width), (0, 0)), mode="edge")


def _lung(coarse: np.ndarray, body: np.ndarray, voxel_ml: float) -> np.ndarray | None:
    """Coarse lung mask, or None. See the module docstring for what a piece must fulfil."""
    from scipy import ndimage

    everywhere = np.ones((3, 3, 3), bool)
    gas, count = ndimage.label(body & (coarse < LUNG_HU[0]))
    large = np.bincount(gas.ravel(), minlength=count + 1) * voxel_ml >= MIN_GAS_ML
    large[0] = False
    near_gas = ndimage.binary_dilation(large[gas], everywhere)
    candidate = body & (coarse >= LUNG_HU[0]) & (coarse < LUNG_HU[1]) & ~near_gas
    pieces, count = ndimage.label(candidate)
    lung = np.zeros(candidate.shape, bool)
    for number, box in enumerate(ndimage.find_objects(pieces), start=1):
        piece = pieces[box] == number
        volume_ml = float(piece.sum()) * voxel_ml
        reaches_top = box[2].stop == candidate.shape[2]
        lowest = LUNG_MEDIAN_HU[0] if reaches_top or volume_ml >= SURE_LUNG_ML else SMALL_LUNG_MEDIAN_HU
        if volume_ml >= (MIN_BASE_ML if reaches_top else MIN_LUNG_ML) and _is_lung_like(coarse[box], piece, lowest):
            lung[box] |= piece
    return lung if lung.any() else None


def _is_lung_like(coarse: np.ndarray, piece: np.ndarray, lowest_median_hu: float) -> bool:
    from scipy import ndimage

    core = ndimage.binary_erosion(piece, border_value=1)
    if core.sum() < MIN_CORE_SHARE * piece.sum():
        return False
    low, middle, high = np.percentile(coarse[core], (25, 50, 75))
    return bool(lowest_median_hu <= middle <= LUNG_MEDIAN_HU[1] and high - low <= MAX_CORE_SPREAD_HU)


@dataclass(frozen=True)
class _Part:
    """A structure on the coarse grid: what is surely of it, and what is where ``accept`` says so of its own HU."""

    inner: np.ndarray
    outer: np.ndarray | None = None
    accept: Callable[[np.ndarray], np.ndarray] | None = None


def _body_part(body: np.ndarray) -> _Part:
    """The inside as it is, the outermost coarse voxels by their own HU."""
    from scipy import ndimage

    cross = ndimage.generate_binary_structure(3, 1)
    cross[1, 1, 0] = cross[1, 1, 2] = False  # in the axial plane only: the ends of the scan are no surface
    inner = ndimage.binary_erosion(body, cross, border_value=1)
    return _Part(inner, ndimage.binary_dilation(body, cross), lambda hu: hu > TISSUE_HU)


def _lung_part(lung: np.ndarray, steps: list[int]) -> _Part:
    """Aerated voxels of the piece, its vessels closed over."""
    from scipy import ndimage

    closed = ndimage.binary_closing(np.pad(lung, 2, mode="edge"))[2:-2, 2:-2, 2:-2] | lung
    inner = ndimage.binary_erosion(closed, border_value=1)
    outer = ndimage.binary_dilation(closed) if max(steps) > 1 else closed
    return _Part(inner, outer, lambda hu: (hu < LUNG_HU[1] + 80) & (hu > -1100))


def _paint(volume: Volume, steps: list[int], part: _Part, into: tuple[np.ndarray, int]) -> None:
    """A part at full resolution, painted with a label into a layer; only its own box is looked at."""
    layer, label = into
    outer = part.inner if part.outer is None else part.outer
    held = [np.flatnonzero(outer.any(axis=tuple(a for a in range(3) if a != axis))) for axis in range(3)]
    if not len(held[0]):
        return
    coarse = tuple(slice(int(h[0]), int(h[-1]) + 1) for h in held[:2])
    fine = tuple(
        slice(c.start * step, min(c.stop * step, n)) for c, step, n in zip(coarse, steps, layer.shape, strict=False)
    )
    shape = tuple(f.stop - f.start for f in fine)

    def wide(mask: np.ndarray) -> np.ndarray:
        flat: np.ndarray = np.repeat(np.repeat(mask[coarse[0], coarse[1]].T, steps[1], axis=0), steps[0], axis=1)
        return flat.T[: shape[0], : shape[1]]  # in the order of memory of the layers

    for level in held[2]:
        sure, possible = wide(part.inner[:, :, level]), wide(outer[:, :, level])
        for k in range(level * steps[2], min((level + 1) * steps[2], layer.shape[2])):
            place = (fine[0], fine[1], k)
            mask = sure if part.accept is None else sure | (possible & part.accept(volume.hu[place]))
            layer[place][mask] = label

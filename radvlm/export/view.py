"""The images inside the page: a smaller copy of the CT and of the region labels, packed as text.

The copy is for looking only, no number is taken from it. Whole blocks of voxels are averaged, so the
grid keeps its axes and a native index maps to the copy by one shift and one scale. HU become 12-bit steps above
-1024; each voxel is predicted from its neighbors to the left, above and in the slice before, and only the
differences are stored, low bytes then high bytes, in gzip and base64. ``page.js`` undoes the same steps;
``unpack_hu`` is the reference for both.
"""

from __future__ import annotations

import base64
import zlib
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from radvlm.errors import GridError
from radvlm.export.options import PageOptions
from radvlm.types.anatomy import structure
from radvlm.types.geometry import Box, Geometry
from radvlm.types.region_map import RegionLabel, RegionMap

#: Range of HU that CT scanners store in 12 bits; values outside are shown as its ends.
LOWEST_HU, HIGHEST_HU = -1024, 3071
#: Kinds of structure that are painted first when several labels share a block.
SMALL_KINDS = ("lesion", "fluid", "device")
#: A region with fewer voxels than this is small: it may not vanish from the copy.
SMALL_VOXELS = 4096


@dataclass(frozen=True)
class ViewGrid:
    """Grid of the embedded copy: ``factors`` native voxels along each axis make one view voxel."""

    native: Geometry
    factors: tuple[int, int, int] = (1, 1, 1)

    @property
    def shape(self) -> tuple[int, int, int]:
        return tuple(-(-n // f) for n, f in zip(self.native.shape, self.factors, strict=True))  # type: ignore[return-value]

    @property
    def spacing_mm(self) -> tuple[float, float, float]:
        return tuple(s * f for s, f in zip(self.native.spacing_mm, self.factors, strict=True))  # type: ignore[return-value]

    @property
    def is_native(self) -> bool:
        return self.factors == (1, 1, 1)

    def to_view(self, index: np.ndarray) -> np.ndarray:
        """Native fractional index (..., 3) to fractional index of the copy; whole numbers are voxel centers."""
        factors = np.array(self.factors, dtype=float)
        return (np.asarray(index, dtype=float) - (factors - 1) / 2) / factors

    def box_to_view(self, box: Box) -> Box:
        """Smallest box of the copy that holds ``box``."""
        start = tuple(lo // f for lo, f in zip(box.start, self.factors, strict=True))
        stop = tuple(-(-hi // f) for hi, f in zip(box.stop, self.factors, strict=True))
        return Box(start, stop)  # type: ignore[arg-type]

    @property
    def affine(self) -> np.ndarray:
        """4x4 from index of the copy to RAS+ mm."""
        factors = np.array(self.factors, dtype=float)
        affine = self.native.affine.copy()
        affine[:3, 3] = self.native.to_world((factors - 1) / 2)
        affine[:3, :3] *= factors
        return affine


@dataclass(frozen=True)
class PackedHu:
    """The CT as base64 text. HU = LOWEST_HU + step x stored value."""

    text: str
    step: int


@dataclass(frozen=True)
class PackedLabels:
    """The label map as base64 text, ``bytes_per_voxel`` 1 or 2 (low bytes of all voxels, then high bytes)."""

    text: str
    bytes_per_voxel: int


def fit_grid(geometry: Geometry, options: PageOptions) -> ViewGrid:
    """The finest grid of whole blocks within the limits of ``options``."""
    limits = (options.max_in_plane, options.max_in_plane, options.max_slices)
    return ViewGrid(geometry, tuple(-(-n // m) for n, m in zip(geometry.shape, limits, strict=True)))  # type: ignore[arg-type]


def choose_view(hu: np.ndarray, geometry: Geometry, options: PageOptions) -> tuple[ViewGrid, PackedHu]:
    """Pack ``hu`` (I, J, K) in the finest form whose text fits ``options.image_budget_mb``.

    The size of each form is estimated from a few runs of slices, so only the chosen one is packed whole.
    """
    grid = fit_grid(geometry, options)
    budget = options.image_budget_mb * 1e6
    while True:
        copy = block_mean(hu, grid.factors)
        for step in (1, 2, 4):
            if _estimated_text_bytes(copy, step) <= budget:
                return grid, pack_hu(copy, step)
        coarser = _coarser(grid)
        if coarser is None:
            return grid, pack_hu(copy, 4)
        grid = coarser


def _coarser(grid: ViewGrid) -> ViewGrid | None:
    """One block size larger: along the slices up to 5 mm, the usual thickness for reading, then in the plane."""
    fi, fj, fk = grid.factors
    if grid.spacing_mm[2] * (fk + 1) / fk <= 5.0 and grid.shape[2] > 16:
        return ViewGrid(grid.native, (fi, fj, fk + 1))
    if max(grid.shape[:2]) > 32:
        return ViewGrid(grid.native, (fi + 1, fj + 1, fk))
    if grid.shape[2] > 16:
        return ViewGrid(grid.native, (fi, fj, fk + 1))
    return None


def block_mean(hu: np.ndarray, factors: tuple[int, int, int]) -> np.ndarray:
    """Mean of each block as int16 in page order (k, j, i), clipped to the 12-bit range.

    A block that the end of an axis cuts repeats its last voxel, so every block has the same center rule.
    """
    fi, fj, fk = factors
    ni, nj, nk = (-(-n // f) for n, f in zip(hu.shape, factors, strict=True))
    out = np.empty((nk, nj, ni), dtype=np.int16)
    for k, group in enumerate(_groups(hu.shape[2], fk)):
        total = np.zeros((nj, ni), dtype=np.float32)
        for native in group:
            plane = hu[:, :, native].T
            pad = ((0, nj * fj - plane.shape[0]), (0, ni * fi - plane.shape[1]))
            if any(after for _, after in pad):
                plane = np.pad(plane, pad, mode="edge")
            for dj in range(fj):
                for di in range(fi):
                    total += plane[dj::fj, di::fi]
        out[k] = np.clip(np.rint(total / (fi * fj * fk)), LOWEST_HU, HIGHEST_HU)
    return out


def _groups(count: int, factor: int) -> Iterator[list[int]]:
    for start in range(0, count, factor):
        yield [min(start + d, count - 1) for d in range(factor)]


def _predicted(plane: np.ndarray, before: np.ndarray) -> np.ndarray:
    """(2 left + 2 above + 2 before - left before - above before) / 4, rounded down; outside the grid is 0.

    The mean of three plane predictions, one through each pair of axes: best of six tried on abdominal CT.
    """
    total = 2 * before
    total[:, 1:] += 2 * plane[:, :-1] - before[:, :-1]
    total[1:] += 2 * plane[:-1] - before[:-1]
    return total >> 2


def pack_hu(copy: np.ndarray, step: int) -> PackedHu:
    """Pack an int16 (k, j, i) array in steps of ``step`` HU (rounded to the nearest step)."""
    return PackedHu(_text(_gzip(_differences(copy, step), zlib.Z_RLE)), step)


def _differences(copy: np.ndarray, step: int) -> bytes:
    low, high = np.empty(copy.shape, np.uint8), np.empty(copy.shape, np.uint8)
    before = np.zeros(copy.shape[1:], np.int32)
    for k, plane_hu in enumerate(copy):
        plane = (plane_hu.astype(np.int32) - LOWEST_HU + step // 2) // step
        difference = plane - _predicted(plane, before)
        folded = np.where(difference < 0, -2 * difference - 1, 2 * difference)
        low[k], high[k] = folded & 255, folded >> 8
        before = plane
    return low.tobytes() + high.tobytes()


def _estimated_text_bytes(copy: np.ndarray, step: int) -> float:
    """Size of the packed text from three runs of six slices (exact when there are at most 18)."""
    depth, run = copy.shape[0], 6
    if depth <= 3 * run:
        return len(_gzip(_differences(copy, step), zlib.Z_RLE)) * 4 / 3
    starts = (depth // 6, depth // 2, depth - depth // 6 - run)
    sizes = []
    for start in (max(1, s) for s in starts):
        one = len(_gzip(_differences(copy[start : start + 1], step), zlib.Z_RLE))
        sizes.append(len(_gzip(_differences(copy[start : start + run], step), zlib.Z_RLE)) - one)
    return depth * sum(sizes) / (len(sizes) * (run - 1)) * 4 / 3


def unpack_hu(text: str, shape: tuple[int, int, int], step: int) -> np.ndarray:
    """Undo ``pack_hu``: int16 (k, j, i) for ``shape`` (I, J, K). The reference for ``page.js``; slow."""
    ni, nj, nk = shape
    flat = np.frombuffer(zlib.decompress(base64.b64decode(text), wbits=31), np.uint8).astype(np.int32)
    folded = (flat[: flat.size // 2] | flat[flat.size // 2 :] << 8).reshape(nk, nj, ni)
    difference = np.where(folded & 1, -((folded + 1) >> 1), folded >> 1)
    out = np.zeros((nk, nj, ni), np.int32)
    zero = np.zeros((nj, ni), np.int32)
    for k in range(nk):
        before = out[k - 1] if k else zero
        for j in range(nj):
            for i in range(ni):
                total = 2 * before[j, i]
                if i:
                    total += 2 * out[k, j, i - 1] - before[j, i - 1]
                if j:
                    total += 2 * out[k, j - 1, i] - before[j - 1, i]
                out[k, j, i] = difference[k, j, i] + (total >> 2)
    return (out * step + LOWEST_HU).astype(np.int16)


def view_labels(regions: RegionMap, grid: ViewGrid) -> np.ndarray:
    """Labels of ``regions`` on the grid of the copy, page order (k, j, i). A region is its label and those in ``also``.

    Each block takes the label of its middle voxel. Lesions, fluid, devices and other small regions then get the
    blocks that they fill at least half; one that would lose more than half of its volume gets every block that it
    touches, so nothing that a sentence cites vanishes.

    Raises GridError when the regions lie on another grid than the CT.
    """
    if not regions.geometry.same_grid(grid.native):
        raise GridError(
            "regions and CT share one grid",
            f"regions {regions.geometry!r}, CT {grid.native!r}",
            "Paint the regions on the grid of the volume",
        )
    out = np.empty(grid.shape[::-1], dtype=regions.labels.dtype)
    middle = [
        np.minimum(np.arange(n) * f + f // 2, m - 1)
        for n, f, m in zip(grid.shape, grid.factors, grid.native.shape, strict=True)
    ]
    for k, native in enumerate(middle[2]):
        out[k] = regions.labels[:, :, native][np.ix_(middle[0], middle[1])].T
    if grid.is_native:
        return out
    small = [
        row
        for row in regions.rows
        if structure(row.region.structure).kind in SMALL_KINDS or row.region.voxels < SMALL_VOXELS
    ]
    for row in sorted(small, key=lambda row: -row.region.voxels):
        _repaint(out, regions.labels, row, grid)
    return out


def _repaint(out: np.ndarray, labels: np.ndarray, row: RegionLabel, grid: ViewGrid) -> None:
    """Give a region the blocks that it fills at least half, and only those, unless it would nearly vanish."""
    window = grid.box_to_view(row.region.box)
    spans = zip(window.start, window.stop, grid.factors, strict=True)
    native = labels[tuple(slice(lo * f, hi * f) for lo, hi, f in spans)]
    pad = [(0, n * f - m) for n, f, m in zip(window.shape, grid.factors, native.shape, strict=True)]
    own = np.array((row.label, *row.also), dtype=labels.dtype)
    inside = np.pad(np.isin(native, own, kind="table"), pad)
    (ni, nj, nk), (fi, fj, fk) = window.shape, grid.factors
    share = inside.reshape(ni, fi, nj, fj, nk, fk).sum(axis=(1, 3, 5)).transpose(2, 1, 0)
    target = out[tuple(window.slices[::-1])]
    held = np.isin(target, own, kind="table")
    wanted = share * 2 >= fi * fj * fk
    if np.count_nonzero(wanted) * fi * fj * fk * 2 < share.sum():
        wanted = share > 0
    for blocks, of_own in ((wanted & ~held, True), (held & ~wanted, False)):
        where = np.argwhere(blocks)
        if len(where):
            voxels = _block_voxels(native, where[:, ::-1], grid.factors)
            target[blocks] = _most_frequent(voxels, np.isin(voxels, own, kind="table") == of_own)


def _block_voxels(native: np.ndarray, blocks: np.ndarray, factors: tuple[int, int, int]) -> np.ndarray:
    """Labels of the voxels of ``blocks`` (n, 3), i j k: (n, block size); the end of an axis repeats its last voxel."""
    steps = np.indices(factors).reshape(3, -1).T
    index = blocks[:, None, :] * np.array(factors) + steps
    index = np.minimum(index, np.array(native.shape) - 1)
    return native[index[..., 0], index[..., 1], index[..., 2]]


def _most_frequent(voxels: np.ndarray, allowed: np.ndarray) -> np.ndarray:
    """Most frequent allowed label of each row of (n, block size); at least one is allowed in each row."""
    values = np.where(allowed, voxels.astype(np.int32), -1)
    best, most = np.zeros(len(values), np.int32), np.zeros(len(values), np.int64)
    for column in values.T:
        count = np.where(column >= 0, (values == column[:, None]).sum(axis=1), 0)
        better = count > most
        best[better], most[better] = column[better], count[better]
    return best


def pack_labels(labels: np.ndarray) -> PackedLabels:
    """Pack a (k, j, i) label map; one byte a voxel when every label fits."""
    if int(labels.max(initial=0)) < 256:
        return PackedLabels(_text(_gzip(labels.astype(np.uint8).tobytes(), zlib.Z_DEFAULT_STRATEGY)), 1)
    planes = (labels & 255).astype(np.uint8).tobytes() + (labels >> 8).astype(np.uint8).tobytes()
    return PackedLabels(_text(_gzip(planes, zlib.Z_DEFAULT_STRATEGY)), 2)


def unpack_labels(packed: PackedLabels, shape: tuple[int, int, int]) -> np.ndarray:
    """Undo ``pack_labels``: uint16 (k, j, i) for ``shape`` (I, J, K)."""
    flat = np.frombuffer(zlib.decompress(base64.b64decode(packed.text), wbits=31), np.uint8).astype(np.uint16)
    half = flat.size // 2
    labels = flat if packed.bytes_per_voxel == 1 else flat[:half] | flat[half:] << np.uint16(8)
    return labels.reshape(shape[::-1])


def _gzip(data: bytes, strategy: int) -> bytes:
    """gzip with no time stamp, so the same scan gives the same page. Z_RLE is best and fastest for differences."""
    packer = zlib.compressobj(6, zlib.DEFLATED, 31, 9, strategy)
    return packer.compress(data) + packer.flush()


def _text(data: bytes) -> str:
    return base64.b64encode(data).decode("ascii")

"""The spinal canal by thresholds, and what its place gives: whether the blood before the spine holds contrast.

Spinal canal. In a slab of about 30 mm the bone of arches and bodies, taken together, surrounds it on all sides, and no
bone lies in it. Of all such places the canal is the one that runs on from slab to slab near the middle of the body and
in its back. Without that path nothing else is looked for.

Blood before the spine. Aorta, vena cava or atrium lie in front of the spine at every level of the trunk. Contrast is in
the vessels where a bright column does what an aorta does: round, of the size of one, even, close to the vertebral
bodies, and going on from slice to slice. A bowel that holds contrast is flat, lies farther before or beside the spine,
or ends. No contrast is there where no voxel before the vertebral bodies is bright, however small, and the densest even
block is as dense as soft tissue. What lies between both is not told: a liver full of iron or a drug, calcified walls,
noise; nor are vessels of a child or of coarse voxels, which may be too small to be seen.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

#: Bone on averages of 3 mm, cortical shells included; unenhanced soft tissue is far below.
BONE_HU = 180.0
#: Slabs in which arches close around the canal, and their step (mm).
SLAB_MM, SLAB_STEP_MM = 30.0, 15.0
#: Bone is around the canal where it is in this share of the slab's slices, and is not in it: in at most that share.
RING_SHARE, FREE_SHARE = 0.15, 0.1
#: Reach of the rays that look for bone around the canal (mm), and the share that meets it.
CANAL_REACH_MM, ENCLOSED_SHARE = 20.0, 0.75
#: Mean HU of what fills the canal, and its area in the axial plane (mm2).
CANAL_HU, CANAL_MM2 = (-40.0, 110.0), (40.0, 900.0)
#: The canal lies within this distance of the middle of the body (mm), and moves at most so much from slab to slab.
OFF_MIDDLE_MM, STEP_MM = 40.0, 11.0
#: It lies in the back of a trunk: within this share of its depth. The canal of a femur lies in the middle of a thigh.
MAX_DEPTH_SHARE = 0.45
#: The path is trusted from so many slabs on, and where it is found in this share of the slabs of the body.
MIN_SLABS, MIN_PATH_SHARE = 2, 0.6
#: From the middle of the canal to the middle of a vertebral body: half a canal and half a body, which is 26 to 36 mm
#: deep from T8 to L4 in adults (mm).
BODY_BEFORE_MM = 24.0
#: Where blood is looked for, from the middle of the canal: sideways, and from here to there forward (mm).
BLOOD_ASIDE_MM, BLOOD_BEFORE_MM = 45.0, (20.0, 85.0)
#: Half axes, sideways and forward, around the middle of a vertebral body, in which its bone is looked for (mm).
VERTEBRA_MM = (32.0, 34.0)
#: The same for blocks of plain blood, which lie this far before the canal at least (mm).
LARGEST_BODY_MM, BLOCKS_FROM_MM = (32.0, 28.0), 30.0
#: What is attached to a vertebral body by less than twice this (mm) is none of it: a small vessel that touches it.
ATTACHED_MM = 5.0
#: Bone ends before this share of the half axis, else what touches it is as dense; a level is whole from this share of
#: the largest area on; at least this share of the levels is.
MAX_FORWARD, WHOLE_SHARE, MIN_WHOLE = 0.86, 0.6, 0.2
#: Blood goes on from slice to slice, noise does not: slices are averaged over so many mm.
ALONG_MM = 15.0
#: Side of a block (mm); it is even when its voxels spread by at most this much (HU).
BLOCK_MM, EVEN_HU = 9.0, 40.0
#: Blood without contrast is in this range (HU; by ``quantify.phase`` up to 70), in three quarters of the slices, and at
#: most this share of the slices holds a voxel as bright as the second (calcium), else none is said to be plain.
PLAIN_HU, BRIGHT_VOXEL_HU, MAX_BRIGHT_SHARE, MIN_BLOOD_SLICES = (20.0, 75.0), 85.0, 0.2, 5
#: Plain is said in bodies of at least this width, and on voxels of at most this size (mm): a vessel of 8 mm is seen.
MIN_WIDTH_MM, MAX_VOXEL_MM = 200.0, 4.5
#: Edges at which columns are looked for, and the density from which one is surely contrast (HU).
COLUMN_EDGES_HU, CONTRAST_HU = (90.0, 115.0, 145.0, 185.0, 240.0, 310.0, 400.0), 100.0
#: Area of an aorta or vena cava in the axial plane (mm2: 9 to 40 mm wide), its longest by its shortest axis, and the
#: share of that ellipse that it fills.
COLUMN_MM2, COLUMN_ROUND, COLUMN_FILL = (60.0, 1260.0), 2.0, 0.78
#: The middle of a column is this close to the middle of the canal sideways, its edge this close to the bone (mm).
COLUMN_ASIDE_MM, COLUMN_GAP_MM = 32.0, 20.0
#: Beyond this from the middle sideways its edge is this close to the bone (mm); a caudate lobe is not.
COLUMN_BESIDE_MM, COLUMN_BESIDE_GAP_MM = 20.0, 10.0
#: A column is as long as this share of the spine that is seen, or as this (mm), and at least the last (mm).
COLUMN_SHARE, COLUMN_LONG_MM, COLUMN_SHORT_MM = 0.8, 120.0, 25.0
#: One column is denser than another by at least this (HU).
SAME_HU = 10.0
#: Its density spreads by at most this share from slice to slice.
COLUMN_SPREAD = 0.15

_RAYS = 24
#: The four neighbors in the axial plane.
_CROSS = np.array([[0, 1, 0], [1, 1, 1], [0, 1, 0]], bool)[:, :, None]


@dataclass(frozen=True)
class Spine:
    """Middle of the spinal canal, (K, 2) in mm from the first voxel of the coarse grid; NaN where it was not found."""

    canal_mm: np.ndarray

    def at(self, k: int) -> tuple[float, float] | None:
        x, y = self.canal_mm[k]
        return None if np.isnan(x) else (float(x), float(y))


def find_spine(coarse: np.ndarray, body: np.ndarray, spacing: list[float]) -> Spine | None:
    """The path of the spinal canal through the coarse grid, or None where there is none to be sure of."""
    held = np.flatnonzero(body.any(axis=(0, 1)))
    half = max(1, round(SLAB_MM / spacing[2] / 2))
    step = max(1, round(SLAB_STEP_MM / spacing[2]))
    middles = list(range(int(held[0]), int(held[-1]) + 1, step))
    found = [_places(coarse, body, spacing, (max(held[0], k - half), min(held[-1] + 1, k + half + 1))) for k in middles]
    path = _best_path(found)
    if len(path) < MIN_SLABS or len(path) < MIN_PATH_SHARE * len(middles):
        return None
    levels = np.array([middles[n] for n in path])
    points = np.array([found[n][m][:2] for n, m in path.items()])
    canal = np.full((coarse.shape[2], 2), np.nan)
    first, last = max(held[0], levels[0] - half), min(held[-1], levels[-1] + half)
    inside = np.arange(first, last + 1)
    for axis in (0, 1):
        canal[inside, axis] = np.interp(inside, levels, points[:, axis])
    return Spine(canal)


Place = tuple[float, float, float]  # x and y in mm, and the share of rays that meet bone


def _places(coarse: np.ndarray, body: np.ndarray, spacing: list[float], slab: tuple[int, int]) -> list[Place]:
    """Where in a slab bone surrounds what is no bone."""
    from scipy import ndimage

    part = coarse[:, :, slab[0] : slab[1]]
    share = (part > BONE_HU).mean(axis=2)
    mean = part.mean(axis=2)
    inside: np.ndarray = np.asarray(body[:, :, slab[0] : slab[1]].all(axis=2))
    if not inside.any():
        return []
    around = _enclosed(share >= RING_SHARE, spacing, CANAL_REACH_MM)
    free = (share <= FREE_SHARE) & (mean > CANAL_HU[0]) & (mean < CANAL_HU[1])
    labels, count = ndimage.label(free & (around >= ENCLOSED_SHARE) & inside)
    columns, rows = np.flatnonzero(inside.any(axis=1)), np.flatnonzero(inside.any(axis=0))
    middle = (columns[0] + columns[-1]) / 2 * spacing[0]
    front = (rows[0] + MAX_DEPTH_SHARE * (rows[-1] - rows[0])) * spacing[1]
    found = []
    for label in range(1, count + 1):
        where = labels == label
        area = float(where.sum()) * spacing[0] * spacing[1]
        x, y = (float(c) * s for c, s in zip(ndimage.center_of_mass(where), spacing, strict=False))
        if CANAL_MM2[0] <= area <= CANAL_MM2[1] and abs(x - middle) <= OFF_MIDDLE_MM and y <= front:
            found.append((x, y, float(around[where].mean())))
    return found


def _enclosed(bone: np.ndarray, spacing: list[float], reach_mm: float) -> np.ndarray:
    """Share of rays from each pixel that meet bone within reach, (I, J)."""
    margin = int(np.ceil(reach_mm / min(spacing[:2]))) + 1
    wide = np.pad(bone, margin)
    total = np.zeros(bone.shape, np.float32)
    for angle in np.arange(_RAYS) * 2 * np.pi / _RAYS:
        met = np.zeros(bone.shape, bool)
        offsets = {
            (round(r * np.cos(angle) / spacing[0]), round(r * np.sin(angle) / spacing[1]))
            for r in np.arange(3.0, reach_mm + 0.1, 2.0)
        }
        for i, j in offsets:
            met |= wide[margin + i : margin + i + bone.shape[0], margin + j : margin + j + bone.shape[1]]
        total += met
    return total / _RAYS


def _best_path(found: list[list[Place]]) -> dict[int, int]:
    """Slab -> number of the place in it, along the longest path without a jump; a slab may be passed over."""
    best: dict[tuple[int, int], tuple[float, tuple[int, int] | None]] = {}
    for n, places in enumerate(found):
        for m, (x, y, around) in enumerate(places):
            score: float = around
            before: tuple[int, int] | None = None
            for back in (1, 2):
                for o, (u, v, _) in enumerate(found[n - back] if n >= back else []):
                    reached = best[(n - back, o)][0] + around
                    moved = float(np.hypot(x - u, y - v))
                    if moved <= back * STEP_MM and reached - moved / 100 > score:
                        score, before = reached - moved / 100, (n - back, o)
            best[(n, m)] = (score, before)
    path: dict[int, int] = {}
    at = max(best, key=lambda key: best[key][0], default=None)
    while at is not None:
        path[at[0]] = at[1]
        at = best[at][1]
    return dict(sorted(path.items()))


def blood_before_spine(coarse: np.ndarray, body: np.ndarray, spine: Spine, spacing: list[float]) -> np.ndarray | None:
    """Blood before the spine, (I, J, K) bool, as far as it is surely with contrast, or surely without; else None."""
    from scipy import ndimage

    along = ndimage.uniform_filter1d(coarse, max(1, round(ALONG_MM / spacing[2])), axis=2, mode="nearest")
    bone = _vertebrae(coarse, spine, spacing)
    before = _window(body, spine, spacing) & ~ndimage.binary_dilation(bone, _CROSS)
    column = _column(along, before, bone, spine, spacing)
    if column is not None:
        return column
    levels = [k for k in range(coarse.shape[2]) if spine.at(k) is not None]
    bright = (along >= BRIGHT_VOXEL_HU) & before
    if np.mean([bright[:, :, k].any() for k in levels]) > MAX_BRIGHT_SHARE or max(spacing[:2]) > MAX_VOXEL_MM:
        return None
    if np.median([np.ptp(np.flatnonzero(body[:, :, k].any(axis=1))) for k in levels]) * spacing[0] < MIN_WIDTH_MM:
        return None
    blocks = _brightest_blocks(along, before & _off_bodies(body.shape, spine, spacing), spacing)
    values = [value for value, _ in blocks.values()]
    kept = [k for k, (value, _) in blocks.items() if PLAIN_HU[0] <= value <= PLAIN_HU[1]]
    if len(kept) < max(MIN_BLOOD_SLICES, len(levels) / 2) or np.percentile(values, 75) > PLAIN_HU[1]:
        return None
    mask = np.zeros(coarse.shape, bool)
    for k in kept:
        columns, rows = blocks[k][1]
        mask[columns, rows, k] = True
    return mask


def _window(body: np.ndarray, spine: Spine, spacing: list[float]) -> np.ndarray:
    """Where blood is looked for, (I, J, K) bool."""
    low, high = BLOOD_BEFORE_MM
    return body & _of_canal(
        body.shape, spine, spacing, lambda x, y: (abs(x) <= BLOOD_ASIDE_MM) & (low <= y) & (y <= high)
    )


def _off_bodies(shape: tuple[int, ...], spine: Spine, spacing: list[float]) -> np.ndarray:
    """Where no vertebral body nor the psoas beside it can be, (I, J, K) bool."""
    width, depth = LARGEST_BODY_MM
    return _of_canal(
        shape,
        spine,
        spacing,
        lambda x, y: ((x / width) ** 2 + ((y - BODY_BEFORE_MM) / depth) ** 2 > 1) & (y >= BLOCKS_FROM_MM),
    )


def _of_canal(
    shape: tuple[int, ...], spine: Spine, spacing: list[float], rule: Callable[[np.ndarray, np.ndarray], np.ndarray]
) -> np.ndarray:
    """Where a rule holds of the way sideways and forward from the canal (mm), (I, J, K) bool."""
    columns, rows = (np.arange(n) * s for n, s in zip(shape[:2], spacing, strict=False))
    mask = np.zeros(shape, bool)
    for k in range(shape[2]):
        at = spine.at(k)
        if at is not None:
            mask[:, :, k] = rule(columns[:, None] - at[0], rows[None, :] - at[1])
    return mask


def _vertebrae(coarse: np.ndarray, spine: Spine, spacing: list[float]) -> np.ndarray:
    """Vertebral bodies with what they enclose, (I, J, K) bool; small things that touch them are none of them."""
    from scipy import ndimage

    half = max(1, round(SLAB_MM / spacing[2] / 2))
    columns, rows = (np.arange(n) * s for n, s in zip(coarse.shape[:2], spacing, strict=False))
    found = np.zeros(coarse.shape, bool)
    voxel_of: dict[int, tuple[int, int]] = {}
    for k in range(coarse.shape[2]):
        at = spine.at(k)
        if at is None:
            continue
        voxel_of[k] = (round(at[0] / spacing[0]), round(at[1] / spacing[1]))
        across = (columns[:, None] - at[0]) / VERTEBRA_MM[0]
        forward = (rows[None, :] - at[1] - BODY_BEFORE_MM) / VERTEBRA_MM[1]
        share = (coarse[:, :, max(0, k - half) : k + half + 1] > BONE_HU).mean(axis=2)
        filled = ndimage.binary_fill_holes((share >= RING_SHARE) & (across**2 + forward**2 <= 1))
        depth = ndimage.distance_transform_edt(np.pad(filled, 1), sampling=spacing[:2])[1:-1, 1:-1]
        cores, count = ndimage.label(depth > ATTACHED_MM)  # a large vessel that touches bone has one of its own
        if not count:
            continue
        core = cores == 1 + int(np.bincount(cores.ravel())[1:].argmax())
        reach = ATTACHED_MM + max(spacing[:2]) / 2
        level = filled & (ndimage.distance_transform_edt(~core, sampling=spacing[:2]) <= reach)
        if forward[0, level.any(axis=0)].max() < MAX_FORWARD:
            found[:, :, k] = level
    areas = found.sum(axis=(0, 1))
    whole = [int(k) for k in np.flatnonzero(areas) if areas[k] >= WHOLE_SHARE * areas.max()]
    if len(whole) < MIN_WHOLE * len(voxel_of):
        return np.zeros(coarse.shape, bool)
    # Where bone is too thin to close around a body, or something dense touches it, it is where most levels have it.
    home = voxel_of[whole[0]]
    moved = [np.roll(found[:, :, k], np.subtract(home, voxel_of[k]), axis=(0, 1)) for k in whole]
    usual = np.mean(moved, axis=0) >= 0.5
    for k, voxel in voxel_of.items():
        found[:, :, k] |= np.roll(usual, np.subtract(voxel, home), axis=(0, 1))
    return found


def _column(
    along: np.ndarray, before: np.ndarray, bone: np.ndarray, spine: Spine, spacing: list[float]
) -> np.ndarray | None:
    """The densest column that runs before the spine as an aorta does, (I, J, K) bool; or None."""
    from scipy import ndimage

    levels = [k for k in range(along.shape[2]) if spine.at(k) is not None]
    seen_mm = len(levels) * spacing[2]
    needed = max(COLUMN_SHORT_MM, min(COLUMN_SHARE * seen_mm, COLUMN_LONG_MM))
    best: np.ndarray | None = None
    densest = 0.0
    for edge in COLUMN_EDGES_HU:
        bright = (along >= edge) & before
        if not bright.any():
            break
        round_ones = np.zeros(along.shape, bool)
        for k in levels:
            at = spine.at(k)
            if at is not None and bright[:, :, k].any() and bone[:, :, k].any():
                round_ones[:, :, k] = _round_pieces(bright[:, :, k], bone[:, :, k], at[0], spacing)
        labels, count = ndimage.label(round_ones)
        for label, box in enumerate(ndimage.find_objects(labels, count), 1):
            slices = box[2].stop - box[2].start
            if slices * spacing[2] < needed or slices < MIN_BLOOD_SLICES:
                continue
            piece = labels[box] == label
            median = float(np.median(along[box][piece]))
            if median > densest + SAME_HU and _is_even(along[box], piece):
                mask = np.zeros(along.shape, bool)
                mask[box] = piece & (along[box] >= median - EVEN_HU)
                best, densest = mask, median
    return best


def _round_pieces(bright: np.ndarray, bone: np.ndarray, middle_mm: float, spacing: list[float]) -> np.ndarray:
    """Pieces of one slice that are round, of the size of a vessel and close to the vertebral body, (I, J) bool."""
    from scipy import ndimage

    away = ndimage.distance_transform_edt(~bone, sampling=spacing[:2])
    labels, count = ndimage.label(bright)
    kept = np.zeros(bright.shape, bool)
    for label in range(1, count + 1):
        where = labels == label
        area = float(where.sum()) * spacing[0] * spacing[1]
        if not COLUMN_MM2[0] <= area <= COLUMN_MM2[1]:
            continue
        points = np.argwhere(where) * spacing[:2]
        spread = np.cov(points.T, bias=True) + np.diag(np.square(spacing[:2])) / 12
        small, large = np.sqrt(np.linalg.eigvalsh(spread))
        fills = area / (4 * np.pi * small * large)  # of the ellipse of the same second moments
        aside = abs(points[:, 0].mean() - middle_mm)
        gap = COLUMN_GAP_MM if aside <= COLUMN_BESIDE_MM else COLUMN_BESIDE_GAP_MM
        near = aside <= COLUMN_ASIDE_MM and away[where].min() <= gap
        if near and large <= COLUMN_ROUND * small and fills >= COLUMN_FILL:
            kept |= where
    return kept


def _is_even(along: np.ndarray, piece: np.ndarray) -> bool:
    """Whether a column is as dense as contrast, even in each slice, and of one density from slice to slice."""
    from scipy import ndimage

    core = np.stack([ndimage.binary_erosion(piece[:, :, k]) for k in range(piece.shape[2])], axis=2)
    values = [along[:, :, k][core[:, :, k]] for k in range(piece.shape[2]) if core[:, :, k].any()]
    if len(values) < 0.8 * piece.shape[2]:
        return False
    middles = np.array([np.median(v) for v in values])  # calcium in the wall is no unevenness of the blood
    spread = float(np.median([np.subtract(*np.percentile(v, (75, 25))) / 1.35 for v in values]))
    return bool(
        np.median(middles) >= CONTRAST_HU and spread <= EVEN_HU and middles.std() <= COLUMN_SPREAD * middles.mean()
    )


def canal_mask(shape: tuple[int, int, int], spine: Spine, spacing: list[float]) -> np.ndarray:
    """The middle of the canal, a disk of 10 mm in each slice, (I, J, K) bool."""
    return _of_canal(shape, spine, spacing, lambda x, y: x**2 + y**2 <= 5.0**2)


def _brightest_blocks(
    along: np.ndarray, allowed: np.ndarray, spacing: list[float]
) -> dict[int, tuple[float, tuple[slice, slice]]]:
    """Slice -> mean HU and place of the brightest even block of 9 mm (3 voxels at least) that is allowed whole."""
    from scipy import ndimage

    size = [max(3, 2 * int(BLOCK_MM / s / 2) + 1) for s in spacing[:2]]
    found = {}
    for k in np.flatnonzero(allowed.any(axis=(0, 1))):
        held = allowed[:, :, k]
        box = tuple(slice(int(h[0]), int(h[-1]) + 1) for h in (np.flatnonzero(held.any(axis=axis)) for axis in (1, 0)))
        part, inside = along[:, :, k][box], held[box]
        mean = ndimage.uniform_filter(part, size)
        spread = np.sqrt(np.maximum(ndimage.uniform_filter(part**2, size) - mean**2, 0))
        even = ndimage.binary_erosion(inside, np.ones(size)) & (spread <= EVEN_HU)
        if even.any():
            i, j = np.unravel_index(int(np.where(even, mean, -np.inf).argmax()), mean.shape)
            middle = (int(i) + box[0].start, int(j) + box[1].start)
            place = tuple(slice(m - n // 2, m + n // 2 + 1) for m, n in zip(middle, size, strict=True))
            found[int(k)] = (float(mean[i, j]), (place[0], place[1]))
    return found

"""The spinal canal by thresholds, and what its place gives: whether the blood before the spine holds contrast.

Spinal canal. In a slab of about 30 mm the bone of arches and bodies, taken together, surrounds it on all sides, and no
bone lies in it. Of all such places the canal is the one that runs on from slab to slab near the middle of the body and
in its back. Without that path nothing else is looked for.

Blood before the spine. Aorta, vena cava or atrium lie in front of the spine at every level of the trunk. The brightest
even block of 9 mm there, slice by slice, tells whether contrast is in the vessels; where it is not, it is the densest
soft tissue, and lies below that. What lies between both is not kept: a liver full of iron or a drug, contrast in a
bowel that crosses, noise.
"""

from __future__ import annotations

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
BLOOD_ASIDE_MM, BLOOD_BEFORE_MM = 45.0, (30.0, 85.0)
#: Blood without contrast is denser than this (HU), and in this wider place nothing even is as bright as contrast.
SOFT_HU, AROUND_ASIDE_MM, AROUND_BEFORE_MM = 20.0, 80.0, (20.0, 120.0)
#: Half axes, sideways and forward, of what a vertebral body may take up around its middle (mm); no blood is there.
VERTEBRA_MM = (32.0, 28.0)
#: Blood goes on from slice to slice, noise does not: slices are averaged over so many mm.
ALONG_MM = 15.0
#: Side of a block (mm).
BLOCK_MM = 9.0
#: A block is even when its voxels spread by at most this much (HU).
EVEN_HU = 40.0
#: Blood holds contrast where the median over the slices is at least the first (kept are slices of at least the second),
#: and holds none where three quarters of the slices are at most the third (HU). By ``quantify.phase`` plain blood is up
#: to 70 HU, and contrast is sure from 90 HU on. At least so many slices are asked.
CONTRAST_HU, CONTRAST_SLICE_HU, PLAIN_HU, MIN_BLOOD_SLICES = 100.0, 90.0, 75.0, 5

_RAYS = 24


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
    blocks = _brightest_blocks(coarse, body, spine, spacing, (BLOOD_ASIDE_MM, BLOOD_BEFORE_MM))
    if len(blocks) < MIN_BLOOD_SLICES:
        return None
    values = np.array([value for value, _ in blocks.values()])
    if np.median(values) >= CONTRAST_HU:
        kept = [k for k, (value, _) in blocks.items() if value >= CONTRAST_SLICE_HU]
    elif np.percentile(values, 75) <= PLAIN_HU:
        kept = [k for k, (value, _) in blocks.items() if SOFT_HU <= value <= PLAIN_HU]
        around = _brightest_blocks(coarse, body, spine, spacing, (AROUND_ASIDE_MM, AROUND_BEFORE_MM))
        brightest = np.percentile([value for value, _ in around.values()], 75)
        if len(kept) < max(MIN_BLOOD_SLICES, len(blocks) / 2) or brightest >= CONTRAST_HU:
            return None
    else:
        return None
    mask = np.zeros(coarse.shape, bool)
    for k in kept:
        columns, rows = blocks[k][1]
        mask[columns, rows, k] = True
    return mask


def canal_mask(shape: tuple[int, int, int], spine: Spine, spacing: list[float]) -> np.ndarray:
    """The middle of the canal, a disk of 10 mm in each slice, (I, J, K) bool."""
    columns, rows = (np.arange(n) * s for n, s in zip(shape[:2], spacing, strict=False))
    mask = np.zeros(shape, bool)
    for k in range(shape[2]):
        at = spine.at(k)
        if at is not None:
            mask[:, :, k] = (columns[:, None] - at[0]) ** 2 + (rows[None, :] - at[1]) ** 2 <= 5.0**2
    return mask


def _brightest_blocks(
    coarse: np.ndarray,
    body: np.ndarray,
    spine: Spine,
    spacing: list[float],
    where_mm: tuple[float, tuple[float, float]],
) -> dict[int, tuple[float, tuple[slice, slice]]]:
    """Slice -> mean HU and place of the brightest even block of 9 mm (3 voxels at least) before the spine.

    ``where_mm`` from the canal: sideways, and from here to there forward.
    """
    from scipy import ndimage

    size = [max(3, 2 * int(BLOCK_MM / s / 2) + 1) for s in spacing[:2]]
    along = ndimage.uniform_filter1d(coarse, max(1, round(ALONG_MM / spacing[2])), axis=2, mode="nearest")
    found = {}
    for k in range(coarse.shape[2]):
        at = spine.at(k)
        if at is None:
            continue
        ends = [(at[0] - where_mm[0], at[0] + where_mm[0]), (at[1] + where_mm[1][0], at[1] + where_mm[1][1])]
        box = [
            slice(max(0, int(low / s)), min(n, int(high / s) + 1))
            for (low, high), s, n in zip(ends, spacing, coarse.shape, strict=False)
        ]
        part, inside = along[box[0], box[1], k], body[box[0], box[1], k]
        if min(part.shape) <= max(size):
            continue
        mean = ndimage.uniform_filter(part, size)
        spread = np.sqrt(np.maximum(ndimage.uniform_filter(part**2, size) - mean**2, 0))
        columns, rows = (np.arange(b.start, b.stop) * s for b, s in zip(box, spacing, strict=False))
        across = (columns[:, None] - at[0]) / VERTEBRA_MM[0]
        before = (rows[None, :] - at[1] - BODY_BEFORE_MM) / VERTEBRA_MM[1]
        allowed = (across**2 + before**2 > 1) & inside & (spread <= EVEN_HU)
        allowed[:1], allowed[-1:], allowed[:, :1], allowed[:, -1:] = (False,) * 4
        if allowed.any():
            i, j = np.unravel_index(int(np.where(allowed, mean, -np.inf).argmax()), mean.shape)
            middle = (int(i) + box[0].start, int(j) + box[1].start)
            place = tuple(slice(max(0, m - n // 2), m + n // 2 + 1) for m, n in zip(middle, size, strict=True))
            found[k] = (float(mean[i, j]), (place[0], place[1]))
    return found

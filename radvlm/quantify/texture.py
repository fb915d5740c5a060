"""How even a lesion is inside and how sharp its edge is, from HU near it.

Both are freed of what the scanner adds. The unevenness is the spread inside the lesion *beyond* the noise, which is
taken from small windows of the organ around it; the width of the edge is that of a blurred step fitted to HU against
the distance from the outline, *less* the part that voxels of this size cause by themselves. So the same lesion gives
about the same numbers on a noisy scan and on a coarse one, or an omission that says why not.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from radvlm.quantify.location import dilated
from radvlm.quantify.organ import foreign_labels
from radvlm.types.geometry import Box
from radvlm.types.lesion_hosts import members
from radvlm.types.measurement import Measurement, Omission
from radvlm.types.segmentation import Segmentation

#: How far around a lesion HU are looked at.
MARGIN_MM = 9.0
#: Half the side of the windows in which noise is taken.
WINDOW_MM = 4.5
#: Fewer windows of host tissue say nothing about the noise.
MIN_WINDOWS = 20
#: Smallest difference between inside and outside (HU) at which an edge can be seen.
MIN_STEP_HU = 20.0
#: Farthest outside (mm) at which the edge is looked for.
EDGE_REACH_MM = 6.0
#: 10 to 90 % of a Gaussian-blurred step, in units of its standard deviation.
TEN_TO_NINETY = 2.5631031310892007
_QUANTITIES = ("noise_hu", "heterogeneity", "edge_width")


@dataclass(frozen=True)
class Surroundings:
    """A lesion and the host tissue near it: boolean arrays and HU of the same box."""

    mask: np.ndarray
    tissue: np.ndarray
    hu: np.ndarray
    spacing_mm: tuple[float, float, float]


def surroundings(segmentation: Segmentation, host: str, box: Box, mask: np.ndarray, hu: np.ndarray) -> Surroundings:
    """Cut out a lesion (``mask`` has the shape of ``box``) with ``MARGIN_MM`` around it; ``hu`` is the whole scan."""
    spacing = segmentation.geometry.spacing_mm
    outer = box.grown(tuple(int(np.ceil(MARGIN_MM / s)) for s in spacing), segmentation.geometry.shape)
    inside = np.zeros(outer.shape, dtype=bool)
    inside[box.relative_to(outer).slices] = mask
    tissue = np.zeros(outer.shape, dtype=bool)
    for name in members(segmentation, host) if host else ():
        tissue |= segmentation.mask_in_box(name, outer)
    for layer, lut in zip(segmentation.layers, foreign_labels(segmentation), strict=True):
        if lut is not None:
            tissue &= ~lut[layer[outer.slices]]
    tissue &= ~inside
    return Surroundings(inside, tissue, hu[outer.slices].astype(np.float64), spacing)


def texture_measurements(
    near: Surroundings, core_sd_hu: float | None, core_voxels: int, region_id: str, name: str
) -> tuple[list[Measurement], list[Omission]]:
    """Noise of the host, unevenness of the lesion beyond it, and width of its edge, or why not."""
    found: list[Measurement] = []
    missing: list[Omission] = []
    if not near.tissue.any():
        return [], [Omission(q, name, "no tissue of a host organ lies around it") for q in _QUANTITIES]
    noise = local_noise(near)
    if isinstance(noise, str):
        missing += [Omission(q, name, noise) for q in ("noise_hu", "heterogeneity")]
    else:
        found.append(Measurement("noise_hu", noise, "median SD in windows of the host", None, region_id))
        if core_sd_hu is None:
            missing.append(Omission("heterogeneity", name, "too few voxels lie away from the edge"))
        else:
            beyond = float(np.sqrt(max(0.0, core_sd_hu**2 - noise**2)))
            doubt = float(np.hypot(core_sd_hu, noise) / np.sqrt(2 * max(core_voxels - 1, 1)))
            found.append(Measurement("heterogeneity", beyond, "core SD beyond the noise", doubt, region_id))
    edge = edge_width(near)
    if isinstance(edge, str):
        missing.append(Omission("edge_width", name, edge))
    else:
        found.append(Measurement("edge_width", edge[0], "10 to 90 % of a blurred step", edge[1], region_id))
    return found, missing


def local_noise(near: Surroundings) -> float | str:
    """Median over the host near the lesion of the SD of HU in windows of about 9 mm, or why there is none."""
    from scipy.ndimage import uniform_filter

    tissue = ~dilated(~near.tissue, (1, 1, 1))  # voxels at the edge of the organ or the lesion are mixed
    size = [2 * int(WINDOW_MM / s) + 1 for s in near.spacing_mm]
    if np.count_nonzero(tissue) < MIN_WINDOWS:
        return "too little of the host organ lies around it to know the noise"
    level = float(near.hu[tissue].mean())
    values = np.where(tissue, near.hu - level, 0.0)
    share = uniform_filter(tissue.astype(np.float64), size, mode="constant")
    mean = uniform_filter(values, size, mode="constant")
    square = uniform_filter(values**2, size, mode="constant")
    count = share * float(np.prod(size))
    usable = tissue & (share >= 0.4) & (count >= 20)
    if np.count_nonzero(usable) < MIN_WINDOWS:
        return "too little of the host organ lies around it to know the noise"
    share, mean, square, count = share[usable], mean[usable], square[usable], count[usable]
    variance = np.maximum(square / share - (mean / share) ** 2, 0.0) * count / (count - 1)
    return float(np.sqrt(np.median(variance)))


def edge_width(near: Surroundings) -> tuple[float, float] | str:
    """10 to 90 % width of the edge in mm and its uncertainty (one voxel across the edge), or why not.

    HU are taken against the signed distance d from the outline, and a + b Phi(d / s) is fitted by least squares. A
    voxel of side v across the outline blurs a step by v^2 / 12, and the outline itself, drawn between voxels, by as
    much again; both are taken off s^2.
    """
    distance, across = signed_distance(near.mask, near.spacing_mm)
    used = (near.mask | near.tissue) & (distance <= EDGE_REACH_MM) & (distance >= -EDGE_REACH_MM)
    outside = used & ~near.mask
    if np.count_nonzero(outside & (distance > 1.0)) < MIN_WINDOWS:
        return "too little of the host organ lies around it to see its edge"
    width = max(0.3, 0.4 * min(near.spacing_mm))
    bins = np.floor(distance[used] / width).astype(np.intp)
    bins -= bins.min()
    count = np.bincount(bins)
    keep = count > 0
    d = np.bincount(bins, weights=distance[used])[keep] / count[keep]
    hu = np.bincount(bins, weights=near.hu[used])[keep] / count[keep]
    fitted = fit_step(d, hu, np.sqrt(count[keep].astype(float)))
    if fitted is None or abs(fitted[1]) < MIN_STEP_HU:
        return f"the lesion and its surroundings differ by less than {MIN_STEP_HU:g} HU"
    voxel = float(np.sqrt((across[outside & (distance < 1.5 * max(near.spacing_mm))] ** 2).mean()))
    spread = float(np.sqrt(max(0.0, fitted[2] ** 2 - voxel**2 / 6)))
    return TEN_TO_NINETY * spread, voxel


def signed_distance(mask: np.ndarray, spacing_mm: tuple[float, float, float]) -> tuple[np.ndarray, np.ndarray]:
    """Distance in mm of every voxel center from the outline of the mask (inside negative), and the size of a voxel in
    the direction of the nearest outline point. The outline lies midway between a voxel and the nearest other one."""
    from scipy.ndimage import distance_transform_edt

    distance = np.zeros(mask.shape)
    across = np.zeros(mask.shape)
    spacing = np.asarray(spacing_mm)
    for inside in (False, True):
        here = mask == inside
        if not here.any() or here.all():
            continue
        far, nearest = distance_transform_edt(here, sampling=spacing_mm, return_indices=True)
        points = np.argwhere(here)  # (n, 3)
        step = (points - nearest[:, here].T) * spacing
        length = far[here]
        voxel = np.linalg.norm(step * spacing, axis=1) / length
        distance[here] = (length - voxel / 2) * (-1 if inside else 1)
        across[here] = voxel
    return distance, across


def largest_ball(segmentation: Segmentation, name: str, quantity: str, method: str) -> Measurement:
    """Diameter (mm) of the largest ball inside the mask of a structure."""
    distance, across = signed_distance(np.pad(segmentation.mask_in_box(name), 1), segmentation.geometry.spacing_mm)
    deepest = np.unravel_index(int(distance.argmin()), distance.shape)
    middle = int(deepest[2]) - 1 + segmentation.boxes[name].start[2]
    return Measurement(
        quantity, -2 * float(distance[deepest]), method, float(across[deepest]), name, slice_index=middle
    )


def fit_step(d: np.ndarray, hu: np.ndarray, weight: np.ndarray) -> tuple[float, float, float] | None:
    """Least-squares (inside HU, outside minus inside HU, standard deviation in mm) of a blurred step near d = 0."""
    from scipy.special import ndtr

    w = weight**2
    shifts, spreads = np.linspace(-1.0, 1.0, 11), np.geomspace(0.15, 6.0, 24)
    best: tuple[float, float, float] | None = None
    for _ in range(3):  # the grid of shift and spread is refined twice around its best point
        shift, spread = (g.ravel() for g in np.meshgrid(shifts, spreads, indexing="ij"))
        step = ndtr((d - shift[:, None]) / spread[:, None])  # (candidates, bins)
        mean_step, mean_hu = step @ w / w.sum(), float(w @ hu / w.sum())
        centered = step - mean_step[:, None]
        variance = centered**2 @ w
        covariance = centered @ (w * (hu - mean_hu))
        usable = variance > 1e-6 * w.sum()
        if not usable.any():
            return None
        explained = np.where(usable, covariance**2 / np.where(usable, variance, 1.0), -1.0)
        top = int(explained.argmax())
        slope = float(covariance[top] / variance[top])
        best = (mean_hu - slope * float(mean_step[top]), slope, float(spread[top]))
        gap, factor = shifts[1] - shifts[0], spreads[1] / spreads[0]
        shifts = np.linspace(shift[top] - gap, shift[top] + gap, 7)
        spreads = np.geomspace(spread[top] / factor, spread[top] * factor, 7)
    return best

"""Attenuation of an organ's own tissue: away from its edge, without lesions, cysts, ducts and vessels.

What a radiologist samples with regions of interest: the mean of a mask mixes fat at the edge, vessels and cysts into
it, and steatosis would be read from them. Masks of what is not parenchyma are cut out with a margin; what no mask names
is left out by its HU: the center is that of the shortest interval that holds a quarter, then half of the voxels
(Rousseeuw and Leroy, Statistica Neerlandica 1988;42:103), which almost half of other tissue does not move, and the mean
is that of the voxels within 2.5 robust standard deviations of it. How uneven the organ is (beam hardening, streaks, fat
in one lobe) is told by the centers of cubes of 25 mm, a large region of interest: their standard error by noise, and
how far they lie from the stated value beyond what noise explains. That is not divided by their number, because a beam
that hardens moves whole regions.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable

import numpy as np

from radvlm.quantify.organ import NO_CT, foreign_labels
from radvlm.quantify.voxel_counts import sampling
from radvlm.types.anatomy import structure
from radvlm.types.measurement import Measurement, Omission
from radvlm.types.segmentation import Segmentation

#: Organs -> distance in mm from their edge, and from what is cut out, at which they are sampled.
EDGE_MM = {"liver": 5.0, "spleen": 5.0, "kidney_right": 3.0, "kidney_left": 3.0, "pancreas": 2.0}
#: Beside lesions, fluid and devices, what lies in an organ and is not its tissue.
_NOT_TISSUE = ("gallbladder", "renal_pelvis_right", "renal_pelvis_left", "pancreatic_duct", "common_bile_duct")
#: Large organs are sampled about this far apart (mm).
SAMPLE_MM = 2.5
#: Fewer voxels are no sample of an organ.
MIN_VOXELS = 30
#: Side (mm) of the cubes that show how even an organ is, and the voxels and cubes that it takes.
CUBE_MM, MIN_CUBE_VOXELS, MIN_CUBES = 25.0, 20, 4
#: A cube that lies farther (HU) from the tissue shows another one, such as an unmasked cyst: plain liver at 50 to 60 HU
#: against fluid at 0 to 15.
OTHER_TISSUE_HU = 40.0
#: Cubes are uneven where their variance is so many times that of noise.
UNEVEN_VARIANCE = 2.0
#: Voxels are kept within so many robust standard deviations.
KEPT_SD = 2.5
#: Each sample is the mean of so many, so that as many neighbors share their noise.
SMOOTHED = 27
#: Shares of the values in the shortest interval, and its half-width for a normal distribution of standard deviation 1.
_HALF_OF_NORMAL = 0.6744897501960817
_NARROWING = ((0.25, 0.3186393639643752), *((0.5, _HALF_OF_NORMAL),) * 3)
QUANTITY = "parenchyma_hu"
_METHOD = "robust mean of the tissue off its edge"


Samples = tuple[np.ndarray, np.ndarray, tuple[float, float, float]]
#: Gives ``tissue_samples`` of an organ; those who ask for one organ of a scan share them.
Tissue = Callable[[str], Samples]


def parenchyma(name: str, tissue: Tissue | None) -> tuple[list[Measurement], list[Omission]]:
    """Attenuation of the tissue of a present organ of ``EDGE_MM``; ``tissue`` is None without a CT."""
    if tissue is None:
        return [], [Omission(QUANTITY, name, NO_CT)]
    inside, values, spacing = tissue(name)
    if np.count_nonzero(inside) < MIN_VOXELS:
        return [], [Omission(QUANTITY, name, "too little of its tissue lies away from edges, lesions and vessels")]
    center, _ = robust_center(values[inside])
    return [Measurement(QUANTITY, center, _METHOD, _unevenness(inside, values, spacing, center), name)], []


def tissue_hu(names: Iterable[str], tissue: Tissue) -> dict[str, float]:
    """``parenchyma_hu`` of those organs that have enough tissue of their own, without its error."""
    found = {}
    for name in names:
        inside, values, _ = tissue(name)
        if np.count_nonzero(inside) >= MIN_VOXELS:
            found[name] = robust_center(values[inside])[0]
    return found


def tissue_samples(segmentation: Segmentation, hu: np.ndarray, name: str) -> Samples:
    """Which samples of an organ are tissue of its own, the HU of the tissue around each, and their distances in mm."""
    from scipy.ndimage import binary_erosion, distance_transform_edt, generate_binary_structure, uniform_filter

    place, box = segmentation.places[name], segmentation.boxes[name]
    every, spacing = sampling(segmentation.geometry.spacing_mm, SAMPLE_MM)
    tissue = np.pad(segmentation.layers[place.layer][box.slices][every] == place.label, 1)
    for layer, lut in zip(segmentation.layers, _other_labels(segmentation), strict=True):
        if lut is not None:
            tissue[1:-1, 1:-1, 1:-1] &= ~lut[layer[box.slices][every]]
    held = tissue[1:-1, 1:-1, 1:-1]
    values = np.where(held, hu[box.slices][every], 0).astype(np.float32)
    share = uniform_filter(held.astype(np.float32), 3, mode="constant")
    values = uniform_filter(values, 3, mode="constant") / np.maximum(share, 1e-3)  # mean of the tissue near: less noise
    deep = tissue
    if tissue.any():
        depth = distance_transform_edt(tissue, sampling=spacing)
        within = [binary_erosion(tissue, generate_binary_structure(3, reach)) for reach in (3, 1)]
        for deep in (within[0] & (depth >= EDGE_MM[name]), *within):
            if np.count_nonzero(deep) >= MIN_VOXELS:
                break
    return deep[1:-1, 1:-1, 1:-1], values, spacing


def _other_labels(segmentation: Segmentation) -> list[np.ndarray | None]:
    """Per layer: labels of lesions, fluid, devices, vessels and ducts."""
    found = foreign_labels(segmentation)
    for name, place in segmentation.places.items():
        if structure(name).kind == "vessel" or name in _NOT_TISSUE:
            lut = found[place.layer]
            if lut is None:
                lut = np.zeros(int(np.iinfo(segmentation.layers[place.layer].dtype).max) + 1, dtype=bool)
                found[place.layer] = lut
            lut[place.label] = True
    return found


def robust_center(values: np.ndarray) -> tuple[float, float]:
    """Mean and standard deviation of the tissue that most of the values come from; almost half may be another."""
    kept = np.sort(values, axis=None).astype(np.float64)
    for share, width in _NARROWING:
        center, spread = _shortest(kept, share)
        sd = spread / width
        low, high = np.searchsorted(kept, (center - KEPT_SD * sd - 0.5, center + KEPT_SD * sd + 0.5))
        kept = kept[low : max(high, low + 1)]
    return float(kept.mean()), sd


def _shortest(ordered: np.ndarray, share: float) -> tuple[float, float]:
    """Center and half-width of the shortest interval that holds a share of the values."""
    count = min(ordered.size, int(ordered.size * share) + 1)
    widths = ordered[count - 1 :] - ordered[: ordered.size - count + 1]
    first = int(np.flatnonzero(widths <= widths.min()).mean())  # whole HU make ties: the middle one
    low, high = float(ordered[first]), float(ordered[first + count - 1])
    return (low + high) / 2, (high - low) / 2


def _unevenness(
    inside: np.ndarray, values: np.ndarray, spacing_mm: tuple[float, float, float], center_hu: float
) -> float | None:
    """How far (HU) the value of an organ may lie from that of its parts; None where it holds too few cubes."""
    cube = np.zeros(int(np.count_nonzero(inside)), dtype=np.int64)
    for indices, size, length in zip(np.nonzero(inside), spacing_mm, inside.shape, strict=True):
        cube = cube * (int(length * size / CUBE_MM) + 1) + (indices * size / CUBE_MM).astype(np.int64)
    order = np.argsort(cube, kind="stable")
    numbers, starts = np.unique(cube[order], return_index=True)
    parts = np.split(values[inside][order], starts[1:]) if numbers.size else []
    cubes = [(*robust_center(part), part.size) for part in parts if part.size >= MIN_CUBE_VOXELS]
    if len(cubes) < MIN_CUBES:
        return None
    centers, spreads, sizes = np.array(cubes).T
    low, high = np.percentile(centers, (25, 75))
    error = float(high - low) / (2 * _HALF_OF_NORMAL) / len(centers) ** 0.5
    away = centers - center_hu
    own = np.abs(away) <= OTHER_TISSUE_HU
    if np.count_nonzero(own) < MIN_CUBES:
        return error
    noise = float(np.mean(spreads[own] ** 2 * np.minimum(1.0, SMOOTHED / sizes[own])))
    variance = float(np.mean(away[own] ** 2))
    return math.hypot(error, math.sqrt(variance - noise)) if variance > UNEVEN_VARIANCE * noise else error

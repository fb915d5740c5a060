"""Attenuation of an organ's own tissue: away from its edge, without lesions, cysts, ducts and vessels.

What a radiologist samples with regions of interest: the mean of a mask mixes fat at the edge, vessels and cysts into
it, and steatosis would be read from them. Masks of what is not parenchyma are cut out with a margin; what no mask names
is left out by its HU: the center is that of the shortest interval that holds a quarter, then half of the voxels
(Rousseeuw and Leroy, Statistica Neerlandica 1988;42:103), which almost half of other tissue does not move, and the mean
is that of the voxels within 2.5 robust standard deviations of it. How well it is known where the organ is uneven is
told by the spread of the centers of cubes of 25 mm, divided by the square root of their number.
"""

from __future__ import annotations

from collections.abc import Callable

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
#: Voxels are kept within so many robust standard deviations.
KEPT_SD = 2.5
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
    return [Measurement(QUANTITY, center, _METHOD, _standard_error(inside, values, spacing), name)], []


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


def _standard_error(inside: np.ndarray, values: np.ndarray, spacing_mm: tuple[float, float, float]) -> float | None:
    """Robust standard error (HU) of the mean of cubes of an organ; None where it holds too few."""
    cube = np.zeros(int(np.count_nonzero(inside)), dtype=np.int64)
    for indices, size, length in zip(np.nonzero(inside), spacing_mm, inside.shape, strict=True):
        cube = cube * (int(length * size / CUBE_MM) + 1) + (indices * size / CUBE_MM).astype(np.int64)
    order = np.argsort(cube, kind="stable")
    numbers, starts = np.unique(cube[order], return_index=True)
    parts = np.split(values[inside][order], starts[1:]) if numbers.size else []
    centers = [robust_center(part)[0] for part in parts if part.size >= MIN_CUBE_VOXELS]
    if len(centers) < MIN_CUBES:
        return None
    low, high = np.percentile(centers, (25, 75))
    return float(high - low) / (2 * _HALF_OF_NORMAL) / len(centers) ** 0.5

"""Shapes with known size, and segmentations made of them."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from radvlm.io.raw import RawImage
from radvlm.types.geometry import Geometry
from radvlm.types.segmentation import LabelPlace, Segmentation
from radvlm.types.volume import Volume


def geometry(shape, spacing=(1.0, 1.0, 1.0), rotation=None, origin=(0.0, 0.0, 0.0)) -> Geometry:
    affine = np.eye(4)
    affine[:3, :3] = (np.eye(3) if rotation is None else rotation) @ np.diag(spacing)
    affine[:3, 3] = origin
    return Geometry(tuple(shape), affine)


def segmentation(
    masks: Mapping[str, np.ndarray], grid: Geometry | None = None, *, searched=(), one_layer: bool = False
) -> Segmentation:
    """Each mask in a layer of its own, or all in one layer where a later mask covers an earlier one."""
    shape = next(iter(masks.values())).shape
    grid = grid or geometry(shape)
    if one_layer:
        layer = np.zeros(shape, dtype=np.uint8)
        for label, mask in enumerate(masks.values(), 1):
            layer[mask] = label
        places = {n: LabelPlace(0, i) for i, n in enumerate(masks, 1)}
        return Segmentation((layer,), places, frozenset(searched), grid)
    layers = tuple(mask.astype(np.uint8) for mask in masks.values())
    return Segmentation(layers, {n: LabelPlace(i, 1) for i, n in enumerate(masks)}, frozenset(searched), grid)


def ellipsoid(shape, spacing, center_mm, radii_mm, degrees: float = 0.0) -> np.ndarray:
    """Voxels whose center lies in an ellipsoid, turned about the third axis; mm from the center of voxel 0."""
    grid = np.meshgrid(*[np.arange(n) * s for n, s in zip(shape, spacing, strict=True)], indexing="ij", sparse=True)
    x, y, z = (g - c for g, c in zip(grid, center_mm, strict=True))
    turn = np.radians(degrees)
    u, v = x * np.cos(turn) + y * np.sin(turn), -x * np.sin(turn) + y * np.cos(turn)
    return (u / radii_mm[0]) ** 2 + (v / radii_mm[1]) ** 2 + (z / radii_mm[2]) ** 2 <= 1


def canonical(array: np.ndarray, affine: np.ndarray) -> tuple[np.ndarray, Geometry]:
    """What the readers do with an array in any axis order."""
    view, grid, _ = RawImage(array, affine).canonical()
    return view, grid


def volume(hu: np.ndarray, grid: Geometry | None = None) -> Volume:
    return Volume(hu, grid or geometry(hu.shape))

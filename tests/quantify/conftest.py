"""Shapes with known size, and segmentations made of them."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Mapping
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

from radvlm.io.raw import RawImage
from radvlm.types.geometry import Geometry
from radvlm.types.segmentation import LabelPlace, Segmentation
from radvlm.types.volume import Volume


def geometry_of(shape, spacing=(1.0, 1.0, 1.0), rotation=None, origin=(0.0, 0.0, 0.0)) -> Geometry:
    affine = np.eye(4)
    affine[:3, :3] = (np.eye(3) if rotation is None else rotation) @ np.diag(spacing)
    affine[:3, 3] = origin
    return Geometry(tuple(shape), affine)


def segmentation_of(
    masks: Mapping[str, np.ndarray], geometry: Geometry | None = None, *, searched=(), one_layer: bool = False
) -> Segmentation:
    """Each mask in a layer of its own, or all in one layer where a later mask covers an earlier one."""
    shape = next(iter(masks.values())).shape
    geometry = geometry or geometry_of(shape)
    if one_layer:
        layer = np.zeros(shape, dtype=np.uint8)
        for label, mask in enumerate(masks.values(), 1):
            layer[mask] = label
        places = {n: LabelPlace(0, i) for i, n in enumerate(masks, 1)}
        return Segmentation((layer,), places, frozenset(searched), geometry)
    layers = tuple(mask.astype(np.uint8) for mask in masks.values())
    return Segmentation(layers, {n: LabelPlace(i, 1) for i, n in enumerate(masks)}, frozenset(searched), geometry)


def ellipsoid(shape, spacing, center_mm, radii_mm, degrees: float = 0.0) -> np.ndarray:
    """Voxels whose center lies in an ellipsoid, turned about the third axis; mm from the center of voxel 0."""
    grid = np.meshgrid(*[np.arange(n) * s for n, s in zip(shape, spacing, strict=True)], indexing="ij", sparse=True)
    x, y, z = (g - c for g, c in zip(grid, center_mm, strict=True))
    turn = np.radians(degrees)
    u, v = x * np.cos(turn) + y * np.sin(turn), -x * np.sin(turn) + y * np.cos(turn)
    return (u / radii_mm[0]) ** 2 + (v / radii_mm[1]) ** 2 + (z / radii_mm[2]) ** 2 <= 1


def canonical(array: np.ndarray, affine: np.ndarray) -> tuple[np.ndarray, Geometry]:
    """What the readers do with an array in any axis order."""
    view, geometry, _ = RawImage(array, affine).canonical()
    return view, geometry


@pytest.fixture(scope="session")
def make() -> Callable:
    class Make:
        geometry = staticmethod(geometry_of)
        segmentation = staticmethod(segmentation_of)
        ellipsoid = staticmethod(ellipsoid)
        canonical = staticmethod(canonical)
        volume = staticmethod(lambda hu, geometry=None: Volume(hu, geometry or geometry_of(hu.shape)))

    return Make


@pytest.fixture(scope="session")
def analytic() -> ModuleType:
    """Tubes, tumors beside them and vertebrae whose numbers are formulas (analytic.py)."""
    path = Path(__file__).parent / "analytic.py"
    spec = importlib.util.spec_from_file_location("analytic_shapes", path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module

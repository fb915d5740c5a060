"""Other packages' numbers of the same masks in one run: SimpleITK, scikit-image, cc3d.

    python eval/second_opinion.py [--n 60] [--name second_opinion]

Needs the development extras (SimpleITK is Apache-2.0, scikit-image BSD-3; connected-components-3d is LGPL-3.0 and only
compared, never required). Each package that is missing is left out with the reason. Masks: random ellipsoids, dumbbells
and boxes on isotropic and thick-sliced grids. ``why`` in the result says where a difference comes from.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

import numpy as np
from record import write_result

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from radvlm.quantify.components import components
from radvlm.quantify.diameter import diameter_3d
from radvlm.quantify.outline import planar_axes
from radvlm.quantify.shape import measure_shape

SPACINGS = ((1.0, 1.0, 1.0), (0.7, 0.7, 3.0), (0.8, 0.8, 1.5))
WHY = {
    "volume_ml": "the same voxels are counted",
    "diameter_3d_mm": "ITK's Feret diameter joins voxel centers; ours joins the midpoints of voxel faces, so ours is "
    "about one voxel longer",
    "sphericity_to_roundness": "both are the area of a ball of the same volume divided by a Crofton area of 13 "
    "directions; ours is held at 1, ITK's goes above it on small masks",
    "elongation_ratio": "ITK's principal moments are of voxel centers; ours add the extent of the voxel itself",
    "axial_long_axis_mm": "scikit-image outlines the filled convex hull of the piece, whose pixels may reach beyond "
    "those of the mask; ours outlines the mask (both by marching squares at 0.5, in one slice)",
    "components_skimage": "the same 26-connected pieces",
    "components_cc3d": "the same 26-connected pieces",
    "volume_skimage_ml": "the same voxels are counted",
}


def shapes(n: int) -> list[tuple[np.ndarray, tuple[float, float, float]]]:
    """Random masks of 6 to 40 mm: ellipsoids at random tilts, pairs of balls joined by a bar, boxes."""
    rng = np.random.default_rng(4)
    found = []
    for number in range(n):
        spacing = SPACINGS[number % len(SPACINGS)]
        radii = rng.uniform(3, 20, 3)
        if min(radii) < 1.2 * max(spacing):
            radii = np.maximum(radii, 1.2 * max(spacing))
        q, _ = np.linalg.qr(rng.normal(size=(3, 3)))
        reach = float(radii.max()) * 2.2
        size = [int(2 * reach / s) + 4 for s in spacing]
        center = np.array([(m - 1) * s / 2 for m, s in zip(size, spacing, strict=True)])
        grid = np.stack(np.meshgrid(*[np.arange(m) * s for m, s in zip(size, spacing, strict=True)], indexing="ij"), -1)
        local = (grid - center - rng.uniform(-0.5, 0.5, 3) * spacing) @ q
        kind = number % 4
        if kind == 3:
            mask = (np.abs(local) <= radii * 0.7).all(-1)
        elif kind == 2:
            shift = np.array([radii[0] * 0.8, 0, 0])
            first = ((local - shift) ** 2).sum(-1) <= (radii[0] * 0.5) ** 2
            second = ((local + shift) ** 2).sum(-1) <= (radii[0] * 0.4) ** 2
            bar = (np.abs(local[..., 0]) <= radii[0] * 0.8) & ((local[..., 1:] ** 2).sum(-1) <= max(spacing) ** 2 * 2)
            mask = first | second | bar
        else:
            mask = ((local / radii) ** 2).sum(-1) <= 1
        found.append((mask, spacing))
    return found


def of_itk(mask: np.ndarray, spacing: tuple[float, float, float]) -> dict[str, float]:
    import SimpleITK as sitk

    image = sitk.GetImageFromArray(mask.astype(np.uint8).T)  # ITK's array order is z, y, x
    image.SetSpacing(spacing)
    stats = sitk.LabelShapeStatisticsImageFilter()
    stats.ComputeFeretDiameterOn()
    stats.Execute(image)
    moments = sorted(stats.GetPrincipalMoments(1), reverse=True)
    return {
        "volume_ml": stats.GetPhysicalSize(1) / 1000,
        "diameter_3d_mm": stats.GetFeretDiameter(1),
        "sphericity_to_roundness": stats.GetRoundness(1),
        "elongation_ratio": float(np.sqrt(max(moments[1], 0) / moments[0])),
    }


def of_skimage(mask: np.ndarray, spacing: tuple[float, float, float], slice_index: int) -> dict[str, float]:
    from skimage.measure import label, regionprops

    plane = label(mask[:, :, slice_index], connectivity=2)
    largest = max(regionprops(plane, spacing=spacing[:2]), key=lambda r: r.area)
    whole = regionprops(mask.astype(np.uint8), spacing=spacing)[0]
    return {"axial_long_axis_mm": float(largest.feret_diameter_max), "volume_skimage_ml": float(whole.area) / 1000}


def components_of_skimage(mask: np.ndarray) -> dict[str, float]:
    from skimage.measure import label

    return {"components_skimage": float(label(mask, connectivity=3).max())}


def of_cc3d(mask: np.ndarray) -> dict[str, float]:
    import cc3d

    return {"components_cc3d": float(cc3d.connected_components(mask, connectivity=26).max())}


def pieces(number: int) -> np.ndarray:
    """A random mask of many pieces that touch at faces, edges and corners."""
    return np.random.default_rng(number).uniform(size=(24, 20, 16)) < 0.06


def of_ours(mask: np.ndarray, spacing: tuple[float, float, float]) -> tuple[dict[str, float], int]:
    shape, axes = measure_shape(mask, spacing), planar_axes(mask, spacing)
    volume = float(np.count_nonzero(mask)) * float(np.prod(spacing)) / 1000
    return {
        "volume_ml": volume,
        "volume_skimage_ml": volume,
        "diameter_3d_mm": diameter_3d(mask, spacing)[0],
        "sphericity_to_roundness": shape.sphericity,
        "elongation_ratio": shape.elongation,
        "axial_long_axis_mm": axes.long_mm,
    }, axes.slice_index


def compare(n: int) -> dict[str, Any]:
    """Mean and worst of (ours - theirs) per quantity, with the reason; and which packages were missing."""
    rows: dict[str, list[tuple[float, float]]] = {}
    skipped: dict[str, str] = {}
    for number, (mask, spacing) in enumerate(shapes(n)):
        ours, k = of_ours(mask, spacing)
        many = pieces(number)
        ours["components_skimage"] = ours["components_cc3d"] = float(len(components(many, fast=False)[1]))
        for package, call in (
            ("SimpleITK", lambda m=mask, s=spacing: of_itk(m, s)),
            ("scikit-image", lambda m=mask, s=spacing, k=k: of_skimage(m, s, k)),
            ("scikit-image", lambda m=many: components_of_skimage(m)),
            ("cc3d", lambda m=many: of_cc3d(m)),
        ):
            if package in skipped:
                continue
            try:
                theirs = call()
            except ImportError as error:
                skipped[package] = f"{package} is not installed ({error})"
                continue
            for quantity, value in theirs.items():
                rows.setdefault(quantity, []).append((ours[quantity], value))
    table = {}
    for quantity, values in rows.items():
        pairs = np.array(values)
        difference = pairs[:, 0] - pairs[:, 1]
        table[quantity] = {
            "n": len(pairs),
            "mean_difference": round(float(difference.mean()), 4),
            "worst_difference": round(float(difference[np.abs(difference).argmax()]), 4),
            "mean_ours": round(float(pairs[:, 0].mean()), 4),
            "mean_theirs": round(float(pairs[:, 1].mean()), 4),
            "why": WHY[quantity],
        }
    return {"quantities": table, "skipped": skipped}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--n", type=int, default=60)
    parser.add_argument("--name", default="second_opinion")
    options = parser.parse_args()
    write_result(options.name, options.n, compare(options.n))


if __name__ == "__main__":
    main()

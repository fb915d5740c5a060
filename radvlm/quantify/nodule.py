"""Pulmonary nodules: mean diameter, solid part, distance to the pleura, vessels and airways that reach them.

A voxel at the edge of a solid nodule is half lung, so "solid" is asked of the voxels away from the edge only,
and not at all of nodules under 6 mm, which are nearly all edge. Vessels and airways are counted as separate pieces in a
shell around the nodule, from their own masks; without such masks there is no count.
"""

from __future__ import annotations

import numpy as np

from radvlm.quantify.components import components
from radvlm.quantify.location import dilated
from radvlm.quantify.outline import planar_axes
from radvlm.quantify.shape import principal_axes
from radvlm.types.anatomy import structure
from radvlm.types.geometry import Box
from radvlm.types.measurement import Measurement, Omission
from radvlm.types.segmentation import Segmentation

#: HU from which a voxel of a nodule is solid: thresholds of -250 and -300 HU agreed best with readers in 102 subsolid
#: nodules (thesis, globethesis 2334330536486386); -300 HU is also common in the literature.
SOLID_HU = -300.0
#: Smaller nodules (mean diameter, mm) are not divided into solid and subsolid.
MIN_TYPED_MM = 6.0
#: Farthest pleura (mm) that is looked for.
PLEURA_REACH_MM = 40.0
#: Shell around a nodule (mm) in which a vessel that touches it is counted, and one that points at it.
TOUCH_MM, POINT_MM = 3.0, 10.0
NODULES = ("lung_nodule", "lung_tumor", "lung_lesion")
_VESSELS = ("lung_vessels", "lung_arteries", "lung_veins", "pulmonary_artery", "pulmonary_vein")
_AIRWAYS = ("lung_airways", "lung_trachea_bronchia", "trachea")
_COUNTS = {"vessels": _VESSELS, "airways": _AIRWAYS}


def nodule_measurements(
    segmentation: Segmentation,
    name: str,
    region_id: str,
    box: Box,
    mask: np.ndarray,
    hu: np.ndarray | None,
    mean_diameter: Measurement,
) -> tuple[list[Measurement], list[Omission]]:
    """Everything that is asked of a nodule and of no other lesion; ``hu`` is the whole scan or None."""
    found: list[Measurement] = []
    missing: list[Omission] = []

    def add(quantity: str, value: float | str, method: str, uncertainty: float | None = None) -> None:
        if isinstance(value, str):
            missing.append(Omission(quantity, name, value))
        else:
            found.append(Measurement(quantity, value, method, uncertainty, region_id))

    if hu is None:
        missing += [Omission(q, name, "no CT was given") for q in ("solid_fraction", "solid_diameter")]
    else:
        share, solid = solid_part(mask, hu[box.slices], segmentation.geometry.spacing_mm, mean_diameter.value)
        add("solid_fraction", share, "core voxels from -300 HU")
        add("solid_diameter", solid, "mean axes of the solid part", mean_diameter.uncertainty)
    add(
        "distance_to_pleura",
        pleural_distance(segmentation, box, mask),
        "surface to surface",
        max(segmentation.geometry.spacing_mm),
    )
    for kind, names in _COUNTS.items():
        touching, pointing = tubes_near(segmentation, box, mask, names)
        add(f"{kind}_touching", touching, f"pieces within {TOUCH_MM:g} mm that touch")
        add(f"{kind}_pointing", pointing, f"pieces within {POINT_MM:g} mm in line with it")
    return found, missing


def solid_part(
    mask: np.ndarray, hu: np.ndarray, spacing_mm: tuple[float, float, float], mean_diameter_mm: float
) -> tuple[float | str, float | str]:
    """Percent of the core that is solid and mean diameter in mm of the largest solid piece, or why not.

    The diameter is of solid voxels of the whole nodule, so a solid nodule has about its own diameter.
    """
    if mean_diameter_mm < MIN_TYPED_MM:
        reason = f"below {MIN_TYPED_MM:g} mm a nodule is not divided into solid and subsolid"
        return reason, reason
    core = ~dilated(~np.pad(mask, 1), (1, 1, 1))[1:-1, 1:-1, 1:-1]
    if np.count_nonzero(core) < 8:
        core = ~dilated(~np.pad(mask, 1), (1, 1, 0))[1:-1, 1:-1, 1:-1]
    if np.count_nonzero(core) < 8:
        reason = "fewer than 8 voxels lie away from the edge"
        return reason, reason
    share = 100 * float(np.mean(hu[core] >= SOLID_HU))
    solid = mask & (hu >= SOLID_HU)
    if not (solid & core).any():
        return share, "it has no solid part"
    numbered, pieces = components(solid)
    axes = planar_axes(numbered[pieces[0].box.slices] == pieces[0].value, spacing_mm)
    return share, (axes.long_mm + axes.short_mm) / 2


def _lungs(segmentation: Segmentation) -> list[str]:
    return [
        n
        for n in segmentation.places
        if n.startswith("lung")
        and (structure(n).kind in ("organ", "lesion") or "_lobe_" in n or n in (*_VESSELS, *_AIRWAYS))
    ]


def pleural_distance(segmentation: Segmentation, box: Box, mask: np.ndarray) -> float | str:
    """Gap in mm between a nodule and the outside of the lungs (costal, diaphragmatic or mediastinal), or why not.

    The lungs are lobes, nodules, vessels and airways within them together, so fissures do not count; outside is what is
    connected to the border of the box looked at, so a gap in a mask inside the lung does not count either.
    """
    from scipy.ndimage import distance_transform_edt

    names = _lungs(segmentation)
    if not any(structure(n).kind == "organ" or "_lobe_" in n for n in names):
        return "the lungs were not in the masks"
    geometry = segmentation.geometry
    spacing = np.asarray(geometry.spacing_mm)
    for reach in (8.0, 20.0, PLEURA_REACH_MM):
        outer = box.grown(tuple(int(np.ceil(reach / s)) + 1 for s in spacing), geometry.shape)
        lung = np.zeros(outer.shape, dtype=bool)
        lung[box.relative_to(outer).slices] = mask
        inside = lung.copy()
        for name in names:
            lung |= segmentation.mask_in_box(name, outer)
        outside = _reaches_border(~lung)
        if not outside.any():
            continue
        far, nearest = distance_transform_edt(~inside, sampling=geometry.spacing_mm, return_indices=True)
        lengths = far[outside]
        closest = lengths <= lengths.min() + 1e-6
        step = (np.argwhere(outside)[closest] - nearest[:, outside].T[closest]) * spacing
        gap = float(max(0.0, (lengths[closest] - np.linalg.norm(step * spacing, axis=1) / lengths[closest]).min()))
        if gap <= reach:
            return gap
    return f"the pleura is more than {PLEURA_REACH_MM:g} mm away or outside the scan"


def _reaches_border(mask: np.ndarray) -> np.ndarray:
    """The pieces of a mask that touch the border of its array."""
    from scipy.ndimage import label

    numbered, _ = label(mask)
    edges = [numbered[0], numbered[-1], numbered[:, 0], numbered[:, -1], numbered[:, :, 0], numbered[:, :, -1]]
    kept = np.unique(np.concatenate([e.ravel() for e in edges]))
    return np.isin(numbered, kept[kept > 0])


def tubes_near(
    segmentation: Segmentation, box: Box, mask: np.ndarray, names: tuple[str, ...]
) -> tuple[float | str, float | str]:
    """How many separate pieces of vessels (or airways) touch a nodule, and how many more point at it, or why not.

    A piece touches when it shares a face, an edge or a corner with the nodule and is followed ``TOUCH_MM`` outwards. A
    piece points at it when it does not touch, is at least twice as long as thick within ``POINT_MM``, comes within
    ``POINT_MM`` / 2, and its axis passes through the ball around the nodule.
    """
    present = [n for n in names if n in segmentation.places]
    if not present:
        reason = f"no mask of {'airways' if names is _AIRWAYS else 'pulmonary vessels'} was given"
        return reason, reason
    from scipy.ndimage import distance_transform_edt

    geometry = segmentation.geometry
    spacing = np.asarray(geometry.spacing_mm)
    outer = box.grown(tuple(int(np.ceil(POINT_MM / s)) + 1 for s in spacing), geometry.shape)
    inside = np.zeros(outer.shape, dtype=bool)
    inside[box.relative_to(outer).slices] = mask
    tubes = np.zeros(outer.shape, dtype=bool)
    for name in present:
        tubes |= segmentation.mask_in_box(name, outer)
    tubes &= ~inside
    if not tubes.any():
        return 0.0, 0.0
    far = distance_transform_edt(~inside, sampling=geometry.spacing_mm)
    rim = dilated(inside, (1, 1, 1))
    numbered, pieces = components(tubes & (far <= max(TOUCH_MM, 1.8 * float(spacing.max()))))
    touching = sum(bool((rim[c.box.slices] & (numbered[c.box.slices] == c.value)).any()) for c in pieces)
    numbered, pieces = components(tubes & (far <= POINT_MM))
    points_in = np.argwhere(inside) * spacing
    center = points_in.mean(axis=0)
    radius = float(np.sqrt(5 / 3 * ((points_in - center) ** 2).sum(axis=1).mean())) + float(spacing.max()) / 2
    pointing = 0
    for piece in pieces:
        own = numbered[piece.box.slices] == piece.value
        if (rim[piece.box.slices] & own).any() or far[piece.box.slices][own].min() > POINT_MM / 2:
            continue
        first, second, _ = principal_axes(own, geometry.spacing_mm)
        if first < 2 * second:
            continue
        points = (np.argwhere(own) + piece.box.start) * spacing
        middle = points.mean(axis=0)
        direction = np.linalg.eigh(np.cov(points.T))[1][:, -1]
        offset = (center - middle) - ((center - middle) @ direction) * direction
        pointing += float(np.linalg.norm(offset)) <= radius
    return float(touching), float(pointing)

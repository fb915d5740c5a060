"""Known lesions in a real scan: ellipsoids placed inside its organ masks.

The texture of the scan is kept: the lesion's HU replaces the local mean, and what the scan shows beyond its
local mean (noise, kernel) stays on top, so an inserted cyst is as noisy as the liver around it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from radvlm.errors import GridError, InputError
from radvlm.phantom.hu import PHASE_NAMES, phase_index
from radvlm.phantom.kinds import LESION_KINDS, LesionKind
from radvlm.phantom.shapes import Ellipsoid, GridCoords, rotation
from radvlm.phantom.spec import LesionSpec
from radvlm.phantom.truth import LesionTruth, attenuation_words, plane_axes
from radvlm.types.geometry import Box
from radvlm.types.provenance import Decision
from radvlm.types.segmentation import LabelPlace, Segmentation
from radvlm.types.volume import Volume

#: Placements that need only a host mask.
_INSERTABLE = ("inside", "stone", "vertebra")


@dataclass(frozen=True)
class Insertion:
    """Truth of the lesions that were put in. ``phase`` is the phase whose HU were used."""

    phase: str
    lesions: tuple[LesionTruth, ...]


def insert_lesions(
    volume: Volume,
    segmentation: Segmentation,
    lesions: Sequence[LesionSpec],
    seed: int = 0,
    phase: str = "portal venous",
) -> tuple[Volume, Segmentation, Insertion]:
    """Put lesions wholly inside the organ masks of a scan.

    Each lesion is an ellipsoid of known axes inside ``kind.host`` (with ``location``, inside that structure when
    it is in the masks). The masks gain one layer; host masks keep their voxels.

    Raises InputError when a kind cannot be inserted, its host is not in the masks, or it does not fit;
    GridError when masks and scan lie on different grids.
    """
    if not volume.geometry.same_grid(segmentation.geometry):
        raise GridError(
            "scan and masks lie on one grid",
            f"{volume.geometry!r} and {segmentation.geometry!r}",
            "Load the masks with like=volume",
        )
    column = phase_index(phase)
    hu = volume.hu.copy()
    layer = np.zeros(hu.shape, dtype=np.uint8, order="F")
    labels: dict[str, int] = {}
    truths: list[LesionTruth] = []
    for number, spec in enumerate(lesions):
        rng = np.random.Generator(np.random.PCG64(np.random.SeedSequence([seed, 4, number])))
        kind = LESION_KINDS[spec.kind]
        if kind.placement not in _INSERTABLE or not kind.hu:
            raise InputError(
                "a lesion inserted into a scan is an ellipsoid inside a mask",
                spec.kind,
                "Fluid, nodes and organ-wide kinds exist only in whole phantoms",
            )
        host, side = _host(segmentation, spec, kind)
        ellipsoid = _place(segmentation, layer, host, spec, kind, rng)
        structure = kind.structure.format(side=side)
        if structure in segmentation.places:
            raise InputError("the masks do not hold lesions of the inserted kind already", structure)
        label = labels.setdefault(structure, len(labels) + 1)
        host_hu = _paint(hu, layer, segmentation, ellipsoid, kind, column, label, host)
        truths.append(_truth(number, kind, structure, host, side, ellipsoid, column, host_hu))
    places = dict(segmentation.places)
    at = len(segmentation.layers)
    places.update({name: LabelPlace(at, label) for name, label in labels.items()})
    note = Decision("phantom", f"{len(truths)} synthetic lesions inserted (seed {seed}): not the patient's", True)
    decisions = (*volume.decisions, note)
    new_volume = Volume(hu, volume.geometry, volume.study, volume.stored_axes, volume.sources, decisions)
    new_masks = Segmentation(
        (*segmentation.layers, layer),
        places,
        segmentation.searched,
        segmentation.geometry,
        segmentation.scheme,
        segmentation.sources,
        (*segmentation.decisions, note),
    )
    return new_volume, new_masks, Insertion(PHASE_NAMES[column], tuple(truths))


def _host(segmentation: Segmentation, spec: LesionSpec, kind: LesionKind) -> tuple[str, str]:
    sides = (spec.side,) if spec.side else ("right", "left") if kind.paired else ("",)
    if kind.placement == "vertebra":
        names = [spec.location] if spec.location else [n for n in kind.locations if n in segmentation.places]
        names.sort(
            key=lambda n: (
                (bool(segmentation.cut_faces(n)), -segmentation.voxel_count(n))
                if n in segmentation.places
                else (True, 0)
            )
        )
        found = [(n, "") for n in names if n in segmentation.places]
    elif spec.location and spec.location in segmentation.places:
        found = [(spec.location, spec.location.rsplit("_", 1)[-1] if kind.paired else "")]
    else:
        found = [(kind.host.format(side=s), str(s)) for s in sides]
        if kind.host.startswith("lung"):
            found += [(n, n.rsplit("_", 1)[-1]) for n in kind.locations if n.endswith(sides)]
        found = [(n, s) for n, s in found if n in segmentation.places]
    if not found or (spec.location and not any(n == spec.location for n, _ in found)):
        raise InputError(
            "the host of an inserted lesion is in the masks",
            spec.location or kind.host.format(side="*"),
            "Choose another kind or location",
        )
    return found[0]


def _place(
    segmentation: Segmentation,
    layer: np.ndarray,
    host: str,
    spec: LesionSpec,
    kind: LesionKind,
    rng: np.random.Generator,
) -> Ellipsoid:
    from scipy.ndimage import distance_transform_edt

    box = segmentation.boxes[host].grown(1, segmentation.geometry.shape)
    free = segmentation.mask_in_box(host, box) & (layer[box.slices] == 0)
    padded = np.pad(free, 1)  # what the field of view cuts is not inside
    depth = distance_transform_edt(padded, sampling=segmentation.geometry.spacing_mm)[1:-1, 1:-1, 1:-1]
    voxel = max(segmentation.geometry.spacing_mm)
    room = 2 * (float(depth.max()) - 0.5 * voxel)
    low, high = kind.typical
    size = float(rng.uniform(low, high)) if spec.size is None else float(spec.size)
    if spec.size is None:
        size = min(size, room)
    if size < kind.limits[0] or size > room:
        raise InputError(
            "an inserted lesion fits into its host",
            f"{spec.kind} of {size:.1f} mm, room {room:.1f} mm in {host}",
            "Choose a smaller size or another host",
        )
    a = size / 2
    semi = (a, *(a * v for v in sorted(rng.uniform(kind.aspect, 1.0, 2), reverse=True)))
    candidates = np.flatnonzero(depth.reshape(-1) >= a + 0.5 * voxel - 1e-6)
    index = np.array(np.unravel_index(int(rng.choice(candidates)), depth.shape)) + box.start
    shift = rng.uniform(-0.25, 0.25, 3) if room > size + voxel else np.zeros(3)
    return Ellipsoid(segmentation.geometry.to_world(index + shift), semi, rotation(*rng.uniform(-180, 180, 3)))


def _paint(
    hu: np.ndarray,
    layer: np.ndarray,
    segmentation: Segmentation,
    ellipsoid: Ellipsoid,
    kind: LesionKind,
    column: int,
    label: int,
    host: str,
) -> float:
    """Blend the lesion in; returns the host's median HU nearby."""
    from scipy.ndimage import uniform_filter

    geometry = segmentation.geometry
    corners = geometry.to_index(np.array(np.meshgrid(*np.stack(ellipsoid.bounds()).T)).reshape(3, -1).T)
    tight = Box(
        tuple(np.maximum(np.floor(corners.min(axis=0)), 0).astype(int)),
        tuple(np.minimum(np.ceil(corners.max(axis=0)) + 1, geometry.shape).astype(int)),
    )
    box = tight.grown(4, geometry.shape)
    scan = hu[box.slices].astype(np.float32)
    around = segmentation.mask_in_box(host, box) & (layer[box.slices] == 0)
    host_hu = float(np.median(scan[around]))
    texture = scan - uniform_filter(scan, 5, mode="nearest")
    quiet = np.abs(texture) < 4 * max(1.0, float(np.median(np.abs(texture[around])) * 1.48))
    texture = np.where(quiet, texture, 0)
    i0, j0, k0 = box.start
    ni, nj, nk = box.shape
    coords = GridCoords(
        geometry.affine[:3, :3], geometry.affine[:3, 3], (k0 - 1, j0 - 1, i0 - 1), (nk + 2, nj + 2, ni + 2)
    )
    value = ellipsoid.value(coords).T
    slopes = np.gradient(value)
    width = np.sqrt(slopes[0] ** 2 + slopes[1] ** 2 + slopes[2] ** 2)[1:-1, 1:-1, 1:-1]
    value = value[1:-1, 1:-1, 1:-1]
    cover = np.clip(0.5 - value / np.maximum(width, 1e-3), 0, 1)
    level = np.full(value.shape, kind.hu[column], dtype=np.float32)
    if kind.core is not None:
        level[value < (kind.core[0] - 1) * min(ellipsoid.semi)] = kind.core[1][column]
    mixed = scan * (1 - cover) + (level + texture) * cover
    hu[box.slices] = np.rint(np.clip(mixed, -1024, 3071)).astype(hu.dtype) if hu.dtype == np.int16 else mixed
    layer[box.slices][value < 0] = label
    return host_hu


def _truth(
    number: int,
    kind: LesionKind,
    structure: str,
    host: str,
    side: str,
    ellipsoid: Ellipsoid,
    column: int,
    host_hu: float,
) -> LesionTruth:
    mean_hu = kind.mean_hu(column)
    semi = tuple(float(v) for v in ellipsoid.semi)
    long_axis, short_axis = plane_axes(ellipsoid.directions, semi, np.array([0, 0, 1.0]))
    return LesionTruth(
        id=f"L{number + 1}",
        kind=kind.name,
        words=kind.words,
        structure=structure,
        host=host,
        location=host if host in kind.locations else "",
        side=side,
        pole="",
        level="",
        size=2 * semi[0],
        size_means=kind.size_means,
        center_mm=tuple(float(v) for v in ellipsoid.center),  # type: ignore[arg-type]
        semi_axes_mm=semi,
        axes=tuple(tuple(float(v) for v in row) for row in ellipsoid.directions),
        long_axis_mm=long_axis,
        short_axis_mm=short_axis,
        diameter_3d_mm=2 * max(semi),
        volume_ml=ellipsoid.volume_ml,
        volume_basis="analytic",
        mean_hu=mean_hu,
        attenuation=attenuation_words(mean_hu, host_hu),
        in_field="inside",
    )

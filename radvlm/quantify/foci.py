"""What attenuation alone shows in an organ and no mask names: dense foci, gas, areas of low attenuation, calcium.

Each detector asks for values that noise of the organ does not reach, and for a place that a slipped mask does not give:
a dense or gaseous region must lie in the organ, not reach into it from bone, lung or bowel. Structures whose mask names
such a thing (stones, calcifications, cysts, tumors, devices) are left out. What they find is a hint of low certainty.

Limits. Dense: 130 HU, the limit of calcium scores (Agatston AS, J Am Coll Cardiol 1990;15:827), on plain scans only.
Gas: -250 HU, beyond fat (-120 HU) and a quarter of a voxel of air, and somewhere -400 HU; not along the
edge of an organ, where a voxel holds a part of lung or bowel. Low areas: 35 HU below the tissue of the organ, beyond
the perfusion differences of a healthy liver, and 10 mL. Pancreas against spleen: ratio 0.7 or less and 15 HU lower on a
plain scan, as in fatty replacement (the pancreatic index). Error rates: docs/measurements.md.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np

from radvlm.quantify.components import Component, components
from radvlm.quantify.diameter import diameter_3d
from radvlm.quantify.location import dilated
from radvlm.quantify.organ import foreign_labels
from radvlm.quantify.parenchyma import Samples, Tissue, robust_center
from radvlm.types.anatomy import structure
from radvlm.types.geometry import Box, Geometry
from radvlm.types.measurement import Measurement, Omission
from radvlm.types.region import Region
from radvlm.types.scan_measurements import Focus, Phase, StructureMeasurements, focus_region_id
from radvlm.types.segmentation import Segmentation
from radvlm.types.study import Study

#: Dense foci: limit in HU, and how many standard deviations of the organ above its median at least.
DENSE_HU, DENSE_SD = 130.0, 6.0
#: Where dense foci are looked for; on plain scans, because vessels, bile and urine may hold contrast.
DENSE_IN = ("kidney_right", "kidney_left", "liver", "spleen", "pancreas", "gallbladder")
#: Gas: limit in HU, and how many standard deviations of the organ below its median at least.
GAS_HU, GAS_SD = -250.0, 6.0
#: HU that gas reaches somewhere: nearly half of a voxel. Voxels at an edge that hold a part of lung are above it.
GAS_PEAK_HU = -400.0
#: Depth (mm) below the edge of its organ that gas reaches; what is nearer all over is the edge to lung or bowel.
GAS_DEPTH_MM = 3.0
PORTAL_VEINS = ("portal_vein", "portal_vein_and_splenic_vein", "superior_mesenteric_vein")
GAS_IN = ("liver", "spleen", "kidney_right", "kidney_left", "pancreas", *PORTAL_VEINS)
#: A region must lie in its organ with this share, else it reaches into the mask from elsewhere.
WITHIN = 0.8
#: Voxels around a region in which it is followed beyond the mask.
REACH = 4
#: Fewer voxels are noise, save of a region that is twice as far from the organ.
MIN_VOXELS = 3
#: HU that a dense region reaches somewhere; streaks of an otherwise quiet organ do not.
DENSE_PEAK_HU = 200.0
#: Regions of a lower mean (HU) must be compact: diameter of a ball of their volume over their longest caliper. Streaks
#: are not.
SURELY_DENSE_HU, COMPACT = 300.0, 0.4
#: More regions than this are not followed one by one: the values of the organ are not what they seem.
MOST_REGIONS = 200
#: Areas of low attenuation: HU below the tissue, standard deviations below it, mL, and where they are looked for.
LOW_HU, LOW_SD, LOW_ML = 35.0, 5.0, 10.0
LOW_IN = ("liver", "spleen")
#: Radius (mm) of the ball that a low area holds; streaks and vessels are thinner.
LOW_INSCRIBED_MM = 9.0
#: Lower values are lung or bowel in a mask that slipped.
NO_TISSUE_HU = -200.0
#: So far beside a dense focus what is dense and has no label belongs to it (voxels).
HOLE_VOXELS = 2
#: Share of an organ's tissue from which a low area is no area but the organ itself.
LOW_MOST = 0.45
#: Pancreas against spleen on a plain scan: ratio and difference of their tissue.
PANCREAS_RATIO, PANCREAS_BELOW_HU = 0.7, 15.0
#: Below this it holds fat in any phase, as rule ``pancreas_fat`` says.
PANCREAS_FAT_HU = -10.0
#: Calcium in the wall of the aorta: HU above enhanced blood, and mL below which nothing is said.
CALCIUM_ABOVE_BLOOD_HU, CALCIUM_ML = 150.0, 0.05
#: Tube voltage and distance of slices (mm) for which a calcium score is defined.
SCORE_KVP, SCORE_SLICES_MM = 120.0, (2.4, 3.1)


def find_foci(
    segmentation: Segmentation,
    structures: Sequence[StructureMeasurements],
    hu: np.ndarray,
    phase: Phase,
    study: Study,
    tissue: Tissue,
) -> tuple[Focus, ...]:
    """Every focus and area of a scan, in the order of the structures.

    ``hu`` is the whole scan in HU, ``tissue`` gives the samples of an organ's own tissue.
    """
    heart = "coronary_arteries" if "coronary_arteries" in segmentation.places else "heart"
    found: list[Focus | None] = []
    plain = phase.certain and phase.name == "non-contrast"
    means = {r.structure: m.value for r in structures if (m := r.measurement("parenchyma_hu")) is not None}
    for record in structures:
        name = record.structure
        median, spread = record.median_hu, _spread(record)
        if median is None or spread is None:
            continue
        if plain and name in DENSE_IN:
            limit = max(DENSE_HU, median + DENSE_SD * spread)
            found.append(_regions(segmentation, name, hu, "high_attenuation_focus", limit, median))
        if name in GAS_IN:
            limit = min(GAS_HU, median - GAS_SD * spread)
            found.append(_regions(segmentation, name, hu, "gas_focus", limit, median))
        if name in LOW_IN and not (name == "spleen" and phase.name in ("arterial", "unknown")):
            found.append(_low_area(segmentation, name, tissue(name)))
        if name == "pancreas" and plain and name in means and "spleen" in means:
            found.append(_low_pancreas(record, means["pancreas"], means["spleen"]))
        if name == "aorta":
            contrast = max(0.0, median - 70.0)
            limit = max(DENSE_HU, median + DENSE_SD * spread, median + CALCIUM_ABOVE_BLOOD_HU if contrast else 0.0)
            found.append(_calcium(segmentation, name, hu, limit, "wall_calcium"))
        if name == heart and plain:
            limit = max(DENSE_HU, median + DENSE_SD * spread)
            calcium = _calcium(segmentation, name, hu, limit, "calcium_focus")
            found.append(None if calcium is None else _scored(segmentation, hu, calcium, limit, study))
    return tuple(focus for focus in found if focus is not None)


def _spread(record: StructureMeasurements) -> float | None:
    """Standard deviation of a normal distribution that has the interquartile range of the mask."""
    low, high = record.measurement("p25_hu"), record.measurement("p75_hu")
    return None if low is None or high is None else (high.value - low.value) / 1.349


def _beyond(limit: float, median: float) -> Callable[[np.ndarray], np.ndarray]:
    """Which voxels lie beyond the limit, on the side of it that is away from the median."""
    return (lambda hu: hu >= limit) if limit > median else (lambda hu: hu <= limit)


def _regions(
    segmentation: Segmentation, name: str, hu: np.ndarray, kind: str, limit: float, median: float
) -> Focus | None:
    """Regions beyond the limit that lie in a structure and in nothing that a mask names."""
    box, beyond = segmentation.boxes[name], _beyond(limit, median)
    inside = segmentation.mask_in_box(name)
    candidates = beyond(hu[box.slices]) & inside
    if not candidates.any():
        return None
    for layer, lut in zip(segmentation.layers, foreign_labels(segmentation), strict=True):
        if lut is not None:
            candidates &= ~lut[layer[box.slices]]
    numbered, regions = components(candidates)
    if len(regions) > MOST_REGIONS:
        return None
    kept = [r for r in regions if _is_region(segmentation, name, hu, numbered, r, limit, median)]
    if kept and limit > median:
        numbered, grown = _with_holes(segmentation, box, numbered, kept, beyond(hu[box.slices]))
        kept = list(grown)
    return _focus(segmentation, kind, name, hu, numbered, kept)


def _with_holes(
    segmentation: Segmentation, box: Box, numbered: np.ndarray, kept: Sequence[Component], beyond: np.ndarray
) -> tuple[np.ndarray, tuple[Component, ...]]:
    """Dense regions with the voxels beside them that are dense as well and that no mask names: a network often leaves
    a stone out of its kidney."""
    from scipy.ndimage import binary_dilation

    whole = np.isin(numbered, [r.value for r in kept])
    free = np.ones(whole.shape, bool)
    for layer in segmentation.layers:
        free &= layer[box.slices] == 0
    grown = binary_dilation(whole, np.ones((3, 3, 3)), HOLE_VOXELS, mask=whole | (free & beyond))
    return components(grown)


def _is_region(
    segmentation: Segmentation,
    name: str,
    hu: np.ndarray,
    numbered: np.ndarray,
    region: Component,
    limit: float,
    median: float,
) -> bool:
    """Whether a region is no noise, and is not the tip of something that lies outside the organ."""
    box = segmentation.boxes[name]
    placed = region.box.within(box)
    near = placed.grown(REACH, segmentation.geometry.shape)
    values = hu[box.slices][region.box.slices][numbered[region.box.slices] == region.value]
    farthest = float(np.abs(values.astype(np.float64) - median).max())
    if region.voxels < MIN_VOXELS and farthest < 2 * abs(limit - median):
        return False
    is_dense = limit > median
    if is_dense and float(values.max()) < DENSE_PEAK_HU:
        return False
    if is_dense and float(values.mean()) < SURELY_DENSE_HU and _compactness(numbered, region, segmentation) < COMPACT:
        return False
    if not is_dense and float(values.min()) > GAS_PEAK_HU:
        return False
    around, _ = components(_beyond(limit, median)(hu[near.slices]))
    seed = np.argwhere(numbered[region.box.slices] == region.value)[0]
    at = tuple(int(s) + a - b for s, a, b in zip(seed, placed.start, near.start, strict=True))
    whole = around == around[at]
    own = segmentation.mask_in_box(name, near)
    if name in PORTAL_VEINS and "liver" in segmentation.places:
        own = own | segmentation.mask_in_box("liver", near)
    if float(np.count_nonzero(whole & own)) < WITHIN * float(np.count_nonzero(whole)):
        return False
    return is_dense or name in PORTAL_VEINS or _is_deep(whole & own, own, segmentation.geometry.spacing_mm)


def _is_deep(region: np.ndarray, organ: np.ndarray, spacing_mm: tuple[float, float, float]) -> bool:
    """Whether a region reaches below the outermost voxels of its organ and below ``GAS_DEPTH_MM``; both in one box."""
    from scipy.ndimage import binary_erosion, distance_transform_edt

    if organ.all():
        return True
    below = binary_erosion(organ, border_value=1) & (distance_transform_edt(organ, sampling=spacing_mm) > GAS_DEPTH_MM)
    return bool((region & below).any())


def _compactness(numbered: np.ndarray, region: Component, segmentation: Segmentation) -> float:
    """1 of a ball, near 0 of a streak."""
    if region.voxels == 1:
        return 1.0
    geometry = segmentation.geometry
    longest = diameter_3d(numbered[region.box.slices] == region.value, geometry.spacing_mm)[0]
    return float(np.cbrt(region.voxels * geometry.voxel_volume_mm3 * 6 / np.pi)) / longest


def _focus(
    segmentation: Segmentation, kind: str, name: str, hu: np.ndarray, numbered: np.ndarray, regions: Sequence[Component]
) -> Focus | None:
    """The record of some regions of one structure; None without any."""
    if not regions:
        return None
    geometry, box = segmentation.geometry, segmentation.boxes[name]
    largest = regions[0]
    mask = numbered[largest.box.slices] == largest.value
    start = largest.box.within(box).start
    values = hu[box.slices][largest.box.slices][mask].astype(np.float64)
    center = geometry.to_world(np.argwhere(mask).mean(axis=0) + start)
    middle = round(start[2] + (mask.shape[2] - 1) / 2)
    diameter, *ends = diameter_3d(mask, geometry.spacing_mm)
    placed = np.array(ends)
    if largest.voxels == 1:
        diameter = max(geometry.spacing_mm)
        placed = np.array([[-0.5], [0.5]]) * (np.arange(3) == np.argmax(geometry.spacing_mm))  # from face to face
    points = _points(geometry, placed + start)
    voxels = np.isin(numbered, [r.value for r in regions])
    region, voxels = _region(segmentation, kind, name, box, voxels)
    numbers: tuple[Measurement, ...] = (
        Measurement(
            "diameter", diameter, "longest 3D caliper", max(geometry.spacing_mm), region.id, points, slice_index=middle
        ),
        Measurement("volume", region.volume_ml, "voxel count", None, region.id),
        Measurement("mean_hu", float(values.mean()), "mask mean", None, region.id),
        Measurement("count", len(regions), "26-connected regions", None, region.id),
    )
    if kind == "high_attenuation_focus":
        numbers += (Measurement("peak_hu", float(values.max()), "largest voxel", None, region.id),)
    place = (float(center[0]), float(center[1]), float(center[2]))
    return Focus(kind, name, len(regions), numbers, place, region=region, voxels=voxels)


def _points(geometry: Geometry, ends: np.ndarray) -> tuple[tuple[float, float, float], ...]:
    """Two ends in fractional indices of the scan as RAS+ mm."""
    return tuple((float(p[0]), float(p[1]), float(p[2])) for p in geometry.to_world(ends))


def _region(
    segmentation: Segmentation, kind: str, name: str, box: Box, voxels: np.ndarray
) -> tuple[Region, np.ndarray]:
    """The region of some voxels of a box, and these voxels in its own tight box."""
    geometry = segmentation.geometry
    where = np.argwhere(voxels)
    low, high = where.min(axis=0), where.max(axis=0) + 1
    inner = Box(tuple(low), tuple(high))
    x, y, z = (float(v) for v in geometry.to_world(where.mean(axis=0) + box.start))
    volume_ml = len(where) * geometry.voxel_volume_mm3 / 1000
    own = inner.within(box)
    return Region(focus_region_id(kind, name), name, own, len(where), volume_ml, (x, y, z)), voxels[inner.slices].copy()


def _low_area(segmentation: Segmentation, name: str, samples: Samples) -> Focus | None:
    """The areas of an organ's tissue that are far less dense than most of it."""
    inside, values, spacing = samples
    total = int(np.count_nonzero(inside))
    if total == 0:
        return None
    center, spread = robust_center(values[inside])
    low = inside & (values <= center - max(LOW_HU, LOW_SD * spread)) & (values > NO_TISSUE_HU)
    sample_ml = float(np.prod(spacing)) / 1000
    numbered, regions = components(low)
    large = (r for r in regions if r.voxels * sample_ml >= LOW_ML)
    kept = [r for r in large if _inscribed_mm(numbered[r.box.slices] == r.value, spacing) >= LOW_INSCRIBED_MM]
    voxels = sum(r.voxels for r in kept)
    if not kept or voxels > LOW_MOST * total:
        return None
    mask = numbered[kept[0].box.slices] == kept[0].value
    steps = np.divide(spacing, segmentation.geometry.spacing_mm)
    at = (np.argwhere(mask).mean(axis=0) + kept[0].box.start) * steps + segmentation.boxes[name].start
    place = segmentation.geometry.to_world(at)
    kind, box = "low_attenuation_area", segmentation.boxes[name]
    filled = np.isin(numbered, [r.value for r in kept])
    for axis, step in enumerate(np.rint(steps).astype(int)):  # each sample stands for the voxels up to the next one
        filled = np.repeat(filled, step, axis=axis)
    whole = segmentation.mask_in_box(name)
    region, area = _region(segmentation, kind, name, box, filled[tuple(slice(n) for n in whole.shape)] & whole)
    long, *ends = diameter_3d(mask, spacing)
    volume = voxels * sample_ml
    placed = (np.array(ends) + kept[0].box.start) * steps + segmentation.boxes[name].start
    points = _points(segmentation.geometry, placed)
    mean = float(values[kept[0].box.slices][mask].mean())
    numbers = (
        Measurement("volume", volume, "samples of the tissue", None, region.id, slice_index=round(float(at[2]))),
        Measurement("diameter", long, "longest 3D caliper", max(spacing), region.id, points),
        Measurement("mean_hu", mean, "mask mean", None, region.id),
        Measurement("count", len(kept), "26-connected regions", None, region.id),
    )
    center_mm = (float(place[0]), float(place[1]), float(place[2]))
    return Focus(kind, name, len(kept), numbers, center_mm, region=region, voxels=area)


def _inscribed_mm(mask: np.ndarray, spacing_mm: tuple[float, float, float]) -> float:
    """Radius of the largest ball within a mask; a region that the scan cuts counts as closed there."""
    from scipy.ndimage import distance_transform_edt

    return float(distance_transform_edt(np.pad(mask, 1), sampling=spacing_mm).max())


def _low_pancreas(record: StructureMeasurements, pancreas_hu: float, spleen_hu: float) -> Focus | None:
    """A pancreas far less dense than the spleen on a plain scan; one below any fluid has a rule of its own."""
    if (
        pancreas_hu < PANCREAS_FAT_HU
        or pancreas_hu > PANCREAS_RATIO * spleen_hu
        or pancreas_hu > spleen_hu - PANCREAS_BELOW_HU
    ):
        return None
    number = record.measurement("parenchyma_hu")
    assert number is not None, "the caller has its value"
    return Focus(
        "low_attenuation_organ", record.structure, 1, (number,), record.region.centroid_mm, region=record.region
    )


def _calcium(segmentation: Segmentation, name: str, hu: np.ndarray, limit: float, kind: str) -> Focus | None:
    """Dense regions in a vessel or the heart or at its edge, without those that belong to bone or a device."""
    found = _dense_in_wall(segmentation, name, hu, limit)
    if found is None:
        return None
    box, calcium, count = found
    volume = float(np.count_nonzero(calcium)) * segmentation.geometry.voxel_volume_mm3 / 1000
    if volume < CALCIUM_ML:
        return None
    region, voxels = _region(segmentation, kind, name, box, calcium)
    number = Measurement("volume", volume, f"voxels of {limit:.0f} HU and more", None, region.id)
    return Focus(kind, name, count, (number,), region.centroid_mm, region=region, voxels=voxels)


def _scored(segmentation: Segmentation, hu: np.ndarray, focus: Focus, limit: float, study: Study) -> Focus:
    """The calcium of the heart with a score in the manner of Agatston where the scan is one that it is defined for."""
    assert focus.region is not None and focus.voxels is not None, "calcium has voxels of its own"
    slice_mm = segmentation.geometry.spacing_mm[2]
    reason = ""
    if study.kvp is None:
        reason = "the tube voltage is not stated"
    elif abs(study.kvp - SCORE_KVP) > 1:
        reason = f"the score is defined at {SCORE_KVP:.0f} kVp, and this scan has {study.kvp:.0f}"
    elif not SCORE_SLICES_MM[0] <= slice_mm <= SCORE_SLICES_MM[1]:
        reason = f"the score is defined for slices of 2.5 to 3 mm, and these lie {slice_mm:.1f} mm apart"
    elif limit > DENSE_HU:
        reason = "the scan is too noisy for the limit of 130 HU"
    if reason:
        return replace(focus, omissions=(Omission("calcium_score", focus.structure, reason),))
    calcium = np.where(focus.voxels, hu[focus.region.box.slices], 0)
    score = agatston(calcium, segmentation.geometry.spacing_mm)
    number = Measurement("calcium_score", score, "area by slice, weighted by its peak", None, focus.region.id)
    return replace(focus, measurements=(*focus.measurements, number))


def agatston(hu: np.ndarray, spacing_mm: tuple[float, float, float]) -> float:
    """Sum over slices of the area (mm2) of each dense region times 1 to 4 by its peak (130, 200, 300, 400 HU).

    For slices of 3 mm, others in proportion; regions below 1 mm2 do not count.
    """
    from scipy.ndimage import label, maximum, sum_labels

    pixel, total = spacing_mm[0] * spacing_mm[1], 0.0
    for k in range(hu.shape[2]):
        numbered, count = label(hu[:, :, k] >= DENSE_HU, np.ones((3, 3)))
        if count:
            areas = sum_labels(np.ones(numbered.shape), numbered, range(1, count + 1)) * pixel
            peaks = np.asarray(maximum(hu[:, :, k], numbered, range(1, count + 1)))
            weights = np.digitize(peaks, (DENSE_HU, 200, 300, 400))
            total += float((areas * weights)[areas >= 1.0].sum())
    return total * spacing_mm[2] / 3.0


def _dense_in_wall(
    segmentation: Segmentation, name: str, hu: np.ndarray, limit: float
) -> tuple[Box, np.ndarray, int] | None:
    """The box, the voxels and the number of the dense regions that lie in a structure or at its edge."""
    box = segmentation.boxes[name].grown((1, 1, 0), segmentation.geometry.shape)
    wall = dilated(segmentation.mask_in_box(name, box), (1, 1, 0))
    for other, place in segmentation.places.items():
        if structure(other).kind in ("bone", "device") and segmentation.boxes[other].meets(box):
            wall &= segmentation.layers[place.layer][box.slices] != place.label
    dense = hu[box.slices] >= limit
    numbered, regions = components(dense & wall)
    if not regions or len(regions) > MOST_REGIONS:
        return None
    everything, _ = components(dense)
    total, own = np.bincount(everything.ravel()), np.bincount(everything.ravel(), weights=wall.ravel())
    labels = [int(everything[tuple(np.argwhere(numbered == r.value)[0])]) for r in regions if r.voxels >= MIN_VOXELS]
    kept = {label for label in labels if own[label] >= WITHIN * total[label]}
    return (box, np.isin(everything, sorted(kept)), len(kept)) if kept else None

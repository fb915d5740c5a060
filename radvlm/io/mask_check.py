"""Do the masks lie on this scan, and does a label scheme make sense there? Looks at voxels, trusts no header.

This never judges a patient. The bounds are so wide that pathology stays inside them (a consolidated lung is
one failing structure, not a failing mask); only masks of another scan, a wrong grid or a wrong scheme break most of
them at once. Medians are taken on a coarse subsample, so a whole-body mask costs well under a second.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from radvlm.errors import InputError
from radvlm.types.anatomy import USUAL_LEVELS, structure
from radvlm.types.geometry import Geometry
from radvlm.types.label_scheme import Scheme
from radvlm.types.possible_hu import possible_hu
from radvlm.types.provenance import Decision
from radvlm.types.segmentation import Segmentation
from radvlm.types.volume import Volume

#: Voxels looked at per layer, about.
MAX_SAMPLES = 2_000_000
#: A structure with fewer sampled voxels is not judged.
MIN_SAMPLES = 20
#: Median HU that no mask on the right scan has: (below, above). Own bounds, set far outside pathology.
SOLID_HU = (-300.0, 1500.0)
BONE_HU = (-100.0, 4000.0)
LUNG_HU = (-1200.0, 150.0)
#: The same for telling schemes apart, where every structure is compared with its rivals: usual values, wide.
USUAL_HU: Mapping[str, tuple[float, float]] = {
    "solid": (-40.0, 600.0),
    "bone": (60.0, 1500.0),
    "lung": (-1000.0, -400.0),
    "soft": (-400.0, 500.0),
}
#: Largest plausible volume in ml, about twice what is seen in gross enlargement.
LARGEST_ML: Mapping[str, float] = {
    "liver": 7000,
    "spleen": 5000,
    "kidney": 1500,
    "gallbladder": 900,
    "pancreas": 500,
    "adrenal_gland": 150,
    "aorta": 1200,
    "inferior_vena_cava": 500,
    "portal_vein_and_splenic_vein": 300,
    "esophagus": 400,
    "heart": 3000,
    "vertebrae_": 180,
    "rib_": 120,
    "trachea": 200,
    "duodenum": 600,
    "urinary_bladder": 4000,
    "prostate": 800,
    "stomach": 6000,
    "thyroid_gland": 600,
    "lung_": 6000,
    "spinal_cord": 250,
    "clavicula": 150,
    "scapula": 400,
}
_SOLID = re.compile(
    r"liver|spleen|kidney_(left|right)|kidney|pancreas|heart|aorta|inferior_vena_cava|urinary_bladder|brain|"
    r"autochthon_.*|iliopsoas_.*|gluteus_.*|psoas_major_.*|erector_spinae_.*|skeletal_muscle|prostate|uterus|"
    r"liver_segment_\d|pancreas_(head|body|tail)|thyroid_gland|gallbladder|spinal_cord|heart_.*"
)
_BONE = re.compile(
    r"vertebrae(_(?!body).*)?|sacrum|hip_.*|femur_.*|humerus_.*|scapula_.*|clavicula_.*|rib_.*|skull|"
    r"sternum|bones|ribs"
)
_SOFT = re.compile(
    r"esophagus|duodenum|small_bowel|adrenal_gland_.*|portal_vein_and_splenic_vein|pulmonary_vein|"
    r".*_vena_.*|.*_artery(_.*)?|superior_vena_cava|atrial_appendage_left|brachiocephalic_.*"
)
_LUNG = re.compile(r"lung|lung_(left|right)|lung_(upper|middle|lower)_lobe_(left|right)")


@dataclass(frozen=True)
class LabelSample:
    """What a subsample says of one label: sampled voxels, volume in ml, mean RAS+ position, median HU or None."""

    voxels: int
    volume_ml: float
    center_mm: tuple[float, float, float]
    median_hu: float | None


def sample_labels(labels: np.ndarray, geometry: Geometry, hu: np.ndarray | None) -> dict[int, LabelSample]:
    """LabelSample of every label met on a regular subsample of the grid of at most about MAX_SAMPLES voxels."""
    steps = [1, 1, 1]
    while np.prod([n / s for n, s in zip(labels.shape, steps, strict=True)]) > MAX_SAMPLES:
        finest = min(range(3), key=lambda a: steps[a] * geometry.spacing_mm[a])
        steps[finest] += 1
    window = tuple(slice(min(s // 2, n - 1), None, s) for s, n in zip(steps, labels.shape, strict=True))
    part = labels[window]
    where = np.nonzero(part)
    found = part[where]
    if found.size == 0:
        return {}
    order = np.argsort(found, kind="stable")
    found = found[order]
    starts = np.flatnonzero(np.r_[True, np.diff(found) != 0])
    values = None if hu is None else hu[window][where][order]
    index = np.stack([axis[order] for axis in where], axis=1)
    world_steps, first = np.array(steps), np.array([w.start for w in window])
    voxel_ml = geometry.voxel_volume_mm3 * float(np.prod(steps)) / 1000
    samples = {}
    for start, stop in zip(starts, np.r_[starts[1:], found.size], strict=True):
        center = geometry.to_world(index[start:stop].mean(axis=0) * world_steps + first)
        median = None if values is None else float(np.median(values[start:stop]))
        samples[int(found[start])] = LabelSample(
            int(stop - start),
            float((stop - start) * voxel_ml),
            tuple(float(c) for c in center),  # type: ignore[arg-type]
            median,
        )
    return samples


def check_masks_fit(volume: Volume, segmentation: Segmentation) -> tuple[Decision, ...]:
    """Refuse masks that do not lie on this scan; warn of single structures that look out of place.

    Solid organs, muscles and great vessels must not have the median HU of air, bones not that of fat or air, lungs
    not that of bone (bounds: SOLID_HU, BONE_HU, LUNG_HU; a collapsed lung is soft tissue). Single structures are warned
    of where nobody has their median (``types/possible_hu.csv``). A structure needs MIN_SAMPLES sampled voxels.

    Where the values cannot be trusted to be HU (``Volume.attenuation_doubt``) nothing is checked.

    Raises:
        InputError: more than half of the structures that can be checked fail (and at least two, or the only one).
    """
    if volume.attenuation_doubt:
        return ()
    odd: list[str] = []
    failed = checked = 0
    for number, layer in enumerate(segmentation.layers):
        samples = sample_labels(layer, segmentation.geometry, volume.hu)
        for name, place in segmentation.places.items():
            sample = samples.get(place.label) if place.layer == number else None
            bounds = _bounds(name, {"solid": SOLID_HU, "bone": BONE_HU, "lung": LUNG_HU})
            if sample is None or bounds is None or sample.voxels < MIN_SAMPLES or sample.median_hu is None:
                continue
            checked += 1
            possible = possible_hu(name)
            is_out = not bounds[0] <= sample.median_hu <= bounds[1]
            failed += is_out
            is_odd = possible is not None and not possible.holds(sample.median_hu) and not segmentation.is_tip(name)
            if is_out or is_odd:
                odd.append(f"{structure(name).words} {sample.median_hu:.0f} HU")
    shown = ", ".join(odd[:6]) + (f" and {len(odd) - 6} more" if len(odd) > 6 else "")
    if checked and failed * 2 > checked:
        raise InputError(
            "the masks lie on this scan",
            f"{failed} of {checked} checkable structures have an impossible median density ({shown})",
            "Pass the masks of this scan on its grid; check scheme= and the orientation of both files",
        )
    if odd:
        return (
            Decision(
                "masks",
                f"The masks of {len(odd)} of {checked} checked structures have an unusual median "
                f"density and may be misplaced: {shown}.",
                warning=True,
            ),
        )
    return ()


def scheme_plausibility(scheme: Scheme, samples: Mapping[int, LabelSample]) -> tuple[int, int]:
    """(agreeing, made) of simple checks on the voxels: volume, density, right and left, level of vertebrae."""
    placed = {
        scheme.labels[label]: sample
        for label, sample in samples.items()
        if scheme.labels.get(label) and sample.voxels >= MIN_SAMPLES
    }
    votes: list[bool] = []
    for name, sample in placed.items():
        limit = next((most for start, most in LARGEST_ML.items() if name.startswith(start)), None)
        if limit is not None:
            votes.append(sample.volume_ml <= limit)
        usual = _bounds(name, USUAL_HU)
        if usual is not None and sample.median_hu is not None:
            votes += [usual[0] <= sample.median_hu <= usual[1]] * 2
        mirror = placed.get(name.replace("right", "left")) if "right" in name else None
        if mirror is not None and structure(name).side == "right":
            votes.append(sample.center_mm[0] > mirror.center_mm[0])
    levels = [name for level in USUAL_LEVELS if (name := f"vertebrae_{level}") in placed]
    heights = [placed[name].center_mm[2] for name in levels]
    votes += [above > below for above, below in itertools.pairwise(heights)]
    for right, left in (("liver", "spleen"), ("liver", "stomach"), ("inferior_vena_cava", "aorta")):
        if right in placed and left in placed:
            votes.append(placed[right].center_mm[0] > placed[left].center_mm[0])
    return sum(votes), len(votes)


def tissue_of(name: str) -> str:
    """``lung``, ``bone``, ``solid`` or ``soft`` by the attenuation of a structure, "" where it may be anything."""
    kinds = (("lung", _LUNG), ("bone", _BONE), ("solid", _SOLID), ("soft", _SOFT))
    return next((kind for kind, pattern in kinds if pattern.fullmatch(name)), "")


def _bounds(name: str, table: Mapping[str, tuple[float, float]]) -> tuple[float, float] | None:
    for kind, pattern in (("lung", _LUNG), ("bone", _BONE), ("solid", _SOLID), ("soft", _SOFT)):
        if kind in table and pattern.fullmatch(name):
            return table[kind]
    return None

"""Single masks among right ones that cannot be what their name says: mirrored, or two names exchanged.

What is said of all masks together (``placement``) does not show one wrong file among many. Here each structure is
looked at by itself, and only wide contradictions count. *Mirrored*: the edges of a structure follow nothing, many
of its voxels have an attenuation that it cannot have (or lie in another organ), and both are mended when it is
mirrored back onto a place that no other mask holds. *Exchanged*: two structures lie to each other the other way round
in two directions, each beyond what large or ectopic organs do, while the rest of the body is in order. On real and
drawn scans no structure in place had less than 0.08 nats of contrast and less than four fifths of plausible voxels.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from radvlm.io.lone_sides import spine_mm
from radvlm.io.mask_fit import MaskPoints, fits_of_each
from radvlm.io.mask_nudges import nudged_alone
from radvlm.io.mask_tissues import wrong_tissues
from radvlm.types.anatomy import structure
from radvlm.types.segmentation import Segmentation

#: A structure is looked at below both (nats, share of plausible voxels), or with so much of it in another organ.
LOW_CONTRAST, LOW_PLAUSIBLE, IN_ANOTHER = 0.08, 0.85, 0.5
#: Mirrored back it must reach these, and gain so much contrast.
MENDED_CONTRAST, MENDED_GAIN, MENDED_PLAUSIBLE = 0.12, 0.08, 0.95
#: Share of the mirrored place that other masks may hold, and of its points that must lie on the scan.
PLACE_TAKEN, ON_SCAN = 0.3, 0.95
#: Organs that share no voxel with each other.
_APART = (
    "liver", "spleen", "kidney_left", "kidney_right", "pancreas", "stomach", "aorta", "inferior_vena_cava", "heart",
    "urinary_bladder", "gallbladder", "duodenum", "adrenal_gland_left", "adrenal_gland_right", "brain",
)  # fmt: skip
#: The two great vessels: length (mm) of a piece that is compared, fewest pieces, and distances that count (mm).
PIECE_MM, FEWEST_PIECES, LEAST_MM, MEAN_MM = 20.0, 2, 4.0, 12.0
#: A spleen larger than this (mL) may lie anywhere.
LARGE_SPLEEN_ML = 500.0
#: Middles of a pair this far (mm) on each other's side have each other's name.
PAIR_REVERSED_MM = 30.0
#: An upper lobe whose middle lies behind and below that of the lower lobe, each so far and both together, has its name
#: (mm): in phantoms it lies 24 to 93 mm before and 18 to 107 mm above it.
LOBES_MM = (10.0, 70.0)
#: Pixels along each side of a slice of an organ that are looked at, fewest slices, and the share of empty ones.
SPARSE_SAMPLE, SPARSE_SLICES, SPARSE_SHARE = 32, 8, 0.25
_AXES = ("x (right-left)", "y (front-back)", "z (head-foot)")


@dataclass(frozen=True)
class SingleDoubts:
    """Warnings, and structure -> why nothing of it is interpreted."""

    doubts: tuple[str, ...] = ()
    unsure: tuple[tuple[str, str], ...] = ()


def single_doubts(points: MaskPoints, segmentation: Segmentation, hu: np.ndarray) -> SingleDoubts:
    """Structures that are mirrored, and names that are exchanged, among masks that lie right on the whole."""
    doubts: list[str] = []
    unsure: dict[str, str] = {}
    for first, second in _exchanged(points, segmentation):
        words = f"{structure(first).words} and {structure(second).words}"
        doubts.append(
            f"The names {words} may be exchanged: they lie to each other the other way round. Neither is interpreted."
        )
        unsure |= dict.fromkeys((first, second), f"the names {words} may be exchanged")
    for name, axis in _mirrored(points, segmentation, hu):
        doubts.append(
            f"The mask of the {structure(name).words} alone looks mirrored along {_AXES[axis]}; it is not interpreted."
        )
        unsure.setdefault(name, "its mask looks mirrored")
    doubts += _sparse(points, segmentation)
    for name, share, where in wrong_tissues(segmentation, hu):
        if name not in unsure:
            doubts.append(
                f"{share:.0%} of the mask of the {structure(name).words} {where}: it looks misplaced, or is of another "
                "structure; it is not interpreted."
            )
            unsure[name] = f"its mask {where}"
    if len(points.names) > 1:
        for name, how in nudged_alone(points, segmentation, hu):
            if name not in unsure:
                doubts.append(f"The mask of the {structure(name).words} alone looks {how}; it is not interpreted.")
                unsure[name] = f"its mask looks {how}"
    return SingleDoubts(tuple(doubts), tuple(unsure.items()))


def _sparse(points: MaskPoints, segmentation: Segmentation) -> list[str]:
    """The largest organ, where many slices of its extent are empty: drawn on every n-th slice only, or slices lost."""
    sizes = {name: segmentation.voxel_count(name) for name in points.names if name in _APART}
    if not sizes:
        return []
    name = max(sizes, key=lambda one: sizes[one])
    place, box = segmentation.places[name], segmentation.boxes[name]
    part = segmentation.layers[place.layer][box.slices]
    steps = [max(1, size // SPARSE_SAMPLE) for size in part.shape[:2]]
    is_empty = ~(part[:: steps[0], :: steps[1]] == place.label).any(axis=(0, 1))
    if len(is_empty) < SPARSE_SLICES or is_empty.mean() < SPARSE_SHARE:
        return []
    return [
        f"The mask of the {structure(name).words} is empty in {int(is_empty.sum())} of the {len(is_empty)} slices of "
        "its extent, as if only some slices had been drawn: volumes are too small."
    ]


def _mirrored(points: MaskPoints, segmentation: Segmentation, hu: np.ndarray) -> Iterator[tuple[str, int]]:
    here = hu[tuple(points.index.T)]
    contrast, plausible = fits_of_each(points, here, np.ones(points.count, bool))
    for number, name in enumerate(points.names):
        if contrast[number] >= LOW_CONTRAST:
            continue
        own = (points.owner == number) & points.inside
        in_another = name in _APART and _share_in_others(segmentation, name, points.index[own]) > IN_ANOTHER
        if not in_another and not plausible[number] < LOW_PLAUSIBLE:
            continue
        found = [
            (then, axis)
            for axis in range(3)
            if (then := _contrast_when_mirrored(points, segmentation, hu, number, axis)) is not None
            and then >= max(MENDED_CONTRAST, contrast[number] + MENDED_GAIN)
        ]
        if found:
            yield name, max(found)[1]


def _contrast_when_mirrored(
    points: MaskPoints, segmentation: Segmentation, hu: np.ndarray, number: int, axis: int
) -> float | None:
    """Contrast of one structure mirrored along an axis; None where it would not fit there."""
    used = points.owner == number
    index = points.index.copy()
    index[used, axis] = hu.shape[axis] - 1 - index[used, axis]
    if _share_in_others(segmentation, points.names[number], index[used & points.inside]) > PLACE_TAKEN:
        return None
    contrast, plausible = fits_of_each(points, hu[tuple(index.T)], used)
    return None if plausible[number] < MENDED_PLAUSIBLE else float(contrast[number])


def _share_in_others(segmentation: Segmentation, name: str, index: np.ndarray) -> float:
    """Share of (N, 3) voxels that lie in another organ."""
    held = np.zeros(len(index), bool)
    for other in _APART:
        place = segmentation.places.get(other)
        if other != name and place is not None:
            held |= segmentation.layers[place.layer][tuple(index.T)] == place.label
    return float(held.mean()) if held.size else 0.0


def _exchanged(points: MaskPoints, segmentation: Segmentation) -> Iterator[tuple[str, str]]:
    def apart(first: str, second: str) -> np.ndarray | None:
        a, b = points.center(first), points.center(second)
        return None if a is None or b is None else a - b

    def size_ml(name: str) -> float:
        return segmentation.voxel_count(name) * segmentation.geometry.voxel_volume_mm3 / 1000

    liver_spleen = apart("liver", "spleen")
    is_usual = liver_spleen is None or liver_spleen[0] > 0
    if is_usual and _great_vessels_reversed(points):
        yield "aorta", "inferior_vena_cava"
    d = apart("spleen", "kidney_left")
    is_below = d is not None and d[0] > 15 and d[2] < -15
    if is_below and size_ml("spleen") < LARGE_SPLEEN_ML and _mirrors_right_kidney(points):
        yield "spleen", "kidney_left"
    if (d := apart("spleen", "stomach")) is not None and is_usual and d[0] > 15 and d[1] > 25:
        yield "spleen", "stomach"
    if (d := apart("pancreas", "duodenum")) is not None and is_usual and d[0] > 15 and d[2] < -10:
        yield "pancreas", "duodenum"
    for side in ("right", "left"):
        if (d := apart(f"adrenal_gland_{side}", "gallbladder")) is not None and d[1] > 25:
            yield "gallbladder", f"adrenal_gland_{side}"
    if liver_spleen is not None and liver_spleen[0] < -80 and size_ml("spleen") > 1.5 * size_ml("liver"):
        yield "liver", "spleen"
    for side in ("right", "left"):
        upper, lower = f"lung_upper_lobe_{side}", f"lung_lower_lobe_{side}"
        if (d := apart(upper, lower)) is not None and d[1:].max() < -LOBES_MM[0] and d[1:].sum() < -LOBES_MM[1]:
            yield upper, lower
    liver, spleen = apart("liver", "stomach"), apart("stomach", "spleen")
    if liver is not None and spleen is not None and liver[0] < -40 and spleen[0] > 80:
        yield "liver", "stomach"
    for name in points.names:
        left = name.replace("right", "left")
        is_judged = structure(name).side == "right" and structure(name).kind in ("bone", "muscle")
        if not is_judged or name.startswith("rib_") or (d := apart(name, left)) is None:
            continue
        if d[0] < -PAIR_REVERSED_MM:
            yield name, left


def _great_vessels_reversed(points: MaskPoints) -> bool:
    """Whether the cava lies to the left of the aorta along all of their common course.

    A left cava crosses to the right at the renal veins, and a winding aorta to the right for a piece.
    """
    if not {"aorta", "inferior_vena_cava"} <= set(points.names):
        return False
    across: list[dict[int, float]] = []
    for name in ("aorta", "inferior_vena_cava"):
        own = points.inside & (points.owner == points.names.index(name))
        places = points.geometry.to_world(points.index[own])
        piece = np.floor(places[:, 2] / PIECE_MM).astype(int)
        across.append({int(p): float(places[piece == p, 0].mean()) for p in np.unique(piece) if (piece == p).sum() > 2})
    aorta, cava = across
    apart = np.array([cava[piece] - aorta[piece] for piece in aorta.keys() & cava.keys()])
    return bool(len(apart) >= FEWEST_PIECES and apart.max() < -LEAST_MM and apart.mean() < -MEAN_MM)


def _mirrors_right_kidney(points: MaskPoints) -> bool:
    """Whether what is called spleen lies where the right kidney has its twin, and the left kidney does not."""
    right, spleen, left = (points.center(name) for name in ("kidney_right", "spleen", "kidney_left"))
    assert spleen is not None and left is not None
    if right is None:
        return True
    middle = spine_mm(points, float(right[2]))
    if middle is None:
        return True
    twin = np.array([2 * middle - right[0], right[1], right[2]])
    return float(np.linalg.norm(spleen - twin)) < float(np.linalg.norm(left - twin))

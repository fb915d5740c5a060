"""Left and right of paired structures that masks give as one label, such as the kidneys of KiTS.

A side is told only where it follows: every larger piece lies on one side of the midline. The midline is that of the
spine where it is among the masks, else the middle of the gap between two pieces that lie far apart, else the middle of
the body in the scan. A horseshoe kidney, or lungs that touch, stay one structure, and it is said.
"""

from __future__ import annotations

import dataclasses

import numpy as np

from radvlm.types.anatomy import LEVELS, structures
from radvlm.types.geometry import Box
from radvlm.types.provenance import Decision
from radvlm.types.segmentation import LabelPlace, Segmentation
from radvlm.types.volume import Volume

#: A piece of less than this share of a structure follows the others.
MAJOR_SHARE = 0.05
#: Pieces whose middles lie farther apart than this are the two of a pair.
PAIR_APART_MM = 30.0
#: A piece alone must lie this far off the middle of the body.
OFF_MIDDLE_MM = 20.0
#: A piece with a larger share of it beyond the midline lies on both sides.
BOTH_SIDES_SHARE = 0.15
#: Voxels looked at to find the pieces and the body.
MAX_SAMPLES = 400_000
#: Air around the body, HU.
AIR_HU = -300


def with_sides(segmentation: Segmentation, volume: Volume | None) -> Segmentation:
    """The masks, paired structures of one label as left and right where their pieces and the midline tell them."""
    for name in _unsided(segmentation):
        segmentation = _split(segmentation, name, volume)
    return segmentation


def _unsided(segmentation: Segmentation) -> list[str]:
    """Present structures that have a left and a right form, neither of which was searched."""
    known = structures()
    return [
        name
        for name in segmentation.present
        if known[name].kind in ("organ", "bone", "muscle")
        and {f"{name}_left", f"{name}_right"} <= set(known)
        and not {f"{name}_left", f"{name}_right"} & segmentation.searched
    ]


def _split(segmentation: Segmentation, name: str, volume: Volume | None) -> Segmentation:
    pieces = _Pieces(segmentation, name)
    middle, how = _midline(segmentation, pieces, volume)
    words = structures()[name].words
    if middle is None or pieces.lie_across(middle):
        why = "no midline can be told" if middle is None else "a piece lies on both sides of the midline"
        has_lesions = any(found.startswith(f"{name}_") for found in segmentation.places)
        note = f"The {words} are one label, and left and right cannot be told: {why}."
        return dataclasses.replace(
            segmentation, decisions=(*segmentation.decisions, Decision("masks", note, warning=has_lesions))
        )
    is_right = pieces.right_of(middle)
    place, box = segmentation.places[name], segmentation.boxes[name]
    layer = segmentation.layers[place.layer].copy()
    label = int(layer.max()) + 1
    if label > np.iinfo(layer.dtype).max:
        layer = layer.astype(np.uint16)
    part = layer[box.slices]
    part[(part == place.label) & ~is_right] = label
    sides = {f"{name}_right": LabelPlace(place.layer, place.label), f"{name}_left": LabelPlace(place.layer, label)}
    held = {f"{name}_right": bool((part == place.label).any()), f"{name}_left": bool((part == label).any())}
    places = {other: at for other, at in segmentation.places.items() if other != name}
    places |= {side: at for side, at in sides.items() if held[side]}
    layers = tuple(layer if n == place.layer else old for n, old in enumerate(segmentation.layers))
    found = " and ".join(side for side in ("right", "left") if held[f"{name}_{side}"])
    told = Decision("masks", f"The {words} are one label; {found} were told apart by their pieces and {how}.")
    return dataclasses.replace(
        segmentation,
        layers=layers,
        places=places,
        searched=(segmentation.searched - {name}) | set(sides),
        decisions=(*segmentation.decisions, told),
    )


class _Pieces:
    """The connected pieces of a structure, found on a regular subsample of its box."""

    def __init__(self, segmentation: Segmentation, name: str) -> None:
        from scipy.ndimage import label

        self._box = segmentation.boxes[name]
        self._mask = segmentation.mask_in_box(name)
        self._spacing = segmentation.geometry.spacing_mm
        self._geometry = segmentation.geometry
        steps = _steps(self._box.shape, self._spacing)
        self._numbered, count = label(self._mask[tuple(slice(None, None, s) for s in steps)], np.ones((3, 3, 3)))
        index = np.argwhere(self._numbered)
        owner = self._numbered[tuple(index.T)]
        x_mm = segmentation.geometry.to_world(index * steps + self._box.start)[:, 0]
        self._all = [x_mm[owner == number] for number in range(1, count + 1)]
        least = max(3.0, MAJOR_SHARE * len(x_mm))
        self.major = sorted((x for x in self._all if len(x) >= least), key=lambda x: float(x.mean()))

    @property
    def box(self) -> Box:
        return self._box

    def lie_across(self, middle_mm: float) -> bool:
        """Whether a larger piece lies on both sides."""
        shares = [float((x > middle_mm).mean()) for x in self.major]
        return any(BOTH_SIDES_SHARE < share < 1 - BOTH_SIDES_SHARE for share in shares)

    def right_of(self, middle_mm: float) -> np.ndarray:
        """Of the shape of the box: True for every piece whose middle is on the right; elsewhere by the midline."""
        from scipy.ndimage import label, mean

        along = self._box.start[0] + np.arange(self._box.shape[0])
        center = [(a + b - 1) / 2 for a, b in zip(self._box.start, self._box.stop, strict=True)]
        x_mm = self._geometry.to_world(np.array([[i, center[1], center[2]] for i in along]))[:, 0]
        plane = np.broadcast_to((x_mm > middle_mm)[:, None, None], self._box.shape)
        if all((x > middle_mm).all() or (x <= middle_mm).all() for x in self._all):
            return plane
        numbered, count = label(self._mask, np.ones((3, 3, 3)))
        middles = mean(np.broadcast_to(x_mm[:, None, None], self._box.shape), numbered, np.arange(1, count + 1))
        table = np.concatenate([[False], np.asarray(middles) > middle_mm])
        return np.where(numbered > 0, table[numbered], plane)


def _midline(segmentation: Segmentation, pieces: _Pieces, volume: Volume | None) -> tuple[float | None, str]:
    """Right-left position of the midline in mm, and by what it was found."""
    spine = _spine_mm(segmentation)
    if spine is not None:
        return spine, "the spine"
    body = None if volume is None else _body_mm(volume, pieces.box)
    gaps = [
        (float(right.mean() - left.mean()), float((left.max() + right.min()) / 2))
        for left, right in zip(pieces.major, pieces.major[1:], strict=False)
    ]
    widest = max(gaps, default=(0.0, 0.0))
    if widest[0] >= PAIR_APART_MM and (body is None or pieces.major[0].mean() < body < pieces.major[-1].mean()):
        return widest[1], "the gap between them"
    if body is not None and all(abs(float(x.mean()) - body) >= OFF_MIDDLE_MM for x in pieces.major):
        return body, "the middle of the body"
    return None, ""


def _spine_mm(segmentation: Segmentation) -> float | None:
    names = ("vertebrae", "vertebrae_body", "spinal_cord", "sacrum", *(f"vertebrae_{level}" for level in LEVELS))
    boxes = [segmentation.boxes[name] for name in names if name in segmentation.places]
    middles = [[(a + b - 1) / 2 for a, b in zip(box.start, box.stop, strict=True)] for box in boxes]
    return float(np.median(segmentation.geometry.to_world(np.array(middles))[:, 0])) if middles else None


def _body_mm(volume: Volume, box: Box) -> float | None:
    """Middle of the body at the height of a box; None where the scan does not show both its sides."""
    if volume.attenuation_doubt:
        return None
    whole = Box((0, 0, box.start[2]), (*volume.geometry.shape[:2], box.stop[2]))
    steps = _steps(whole.shape, volume.geometry.spacing_mm)
    body = volume.hu[whole.slices][tuple(slice(None, None, s) for s in steps)] > AIR_HU
    if body[0].mean() > 0.05 or body[-1].mean() > 0.05 or not body.any():
        return None
    across = np.flatnonzero(body.any(axis=(1, 2)) & (body.mean(axis=(1, 2)) > 0.05))
    if not across.size:
        return None
    index = np.array([(across[0] + across[-1]) / 2 * steps[0], whole.shape[1] / 2, (box.start[2] + box.stop[2]) / 2])
    return float(volume.geometry.to_world(index)[0])


def _steps(shape: tuple[int, ...], spacing: tuple[float, ...]) -> list[int]:
    steps = [1, 1, 1]
    while np.prod([-(-n // s) for n, s in zip(shape, steps, strict=True)]) > MAX_SAMPLES:
        axis = min((a for a in range(3) if shape[a] > steps[a]), key=lambda a: steps[a] * spacing[a])
        steps[axis] += 1
    return steps

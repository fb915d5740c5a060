"""Masks of several tasks on one scan as one Segmentation.

Written priority. A lesion lies over a part, a part over an organ: they keep layers of their own, so nothing of
either is lost, and that they overlap is no conflict. A structure that two tasks look for is taken from the first of
them that found it; masks that were given come before all tasks, also where they found nothing. Where two organs of
different tasks and different sections of a report (liver and kidney, not lung and left lung) claim the same voxels,
the voxels stay with the earlier task. Both are recorded with volumes.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np

from radvlm.types.anatomy import ancestry, structure
from radvlm.types.provenance import UNSEARCHED, Decision
from radvlm.types.segmentation import LabelPlace, Segmentation

#: A shared part larger than this share of the smaller structure is worth a warning.
NOTABLE_SHARE = 0.05


def merged_masks(parts: Sequence[tuple[str, Segmentation]], *, given_first: bool = False) -> Segmentation:
    """One Segmentation of the masks of several tasks, the earlier before the later.

    Args:
        parts: (what made it, in words; its masks), at least one, all on the same grid.
        given_first: the first are masks that were given, which win also where they found nothing.
    """
    if len(parts) == 1:
        return parts[0][1]
    owner: dict[str, int] = {}
    decisions: list[Decision] = []
    for number, (who, masks) in enumerate(parts):
        for name in sorted(masks.searched, key=lambda n: structure(n).rank):
            if name not in owner:
                owner[name] = number
                continue
            first = owner[name]
            wins = name in masks.places and name not in parts[first][1].places and not (given_first and first == 0)
            decisions += _told_twice(name, parts[first], (who, masks), wins)
            if wins:
                owner[name] = number
    layers: list[np.ndarray] = []
    places: dict[str, LabelPlace] = {}
    gone: set[str] = set()  # structures whose voxels all stayed with others
    for number, (who, masks) in enumerate(parts):
        kept = {name: place for name, place in masks.places.items() if owner[name] == number}
        before = [(layer, _names_in(places, n)) for n, layer in enumerate(layers)]
        for n in range(len(masks.layers)):
            layer = _only(masks.layers[n], [place.label for place in kept.values() if place.layer == n])
            here = {place.label: name for name, place in kept.items() if place.layer == n}
            for other, names in before:
                decisions += _leave_claimed(layer, here, other, names, who, masks)
            held = set(np.unique(layer).tolist())
            for label, name in here.items():
                if label not in held:
                    gone.add(name)
                    decisions.append(_taken_away(name, who, masks, before))
            if held - {0}:
                places.update({name: LabelPlace(len(layers), label) for label, name in here.items() if label in held})
                layers.append(layer)
    base = parts[0][1]
    origins = [
        dataclasses.replace(o, searched=frozenset(s for s in o.searched if owner.get(s) == number and s not in gone))
        for number, (_, masks) in enumerate(parts)
        for o in masks.origins
    ]
    colors = {name: color for _, masks in reversed(parts) for name, color in masks.colors.items()}
    findings = {
        name: numbers
        for number, (_, masks) in enumerate(parts)
        for name, numbers in masks.findings.items()
        if owner[name] == number and name in places
    }
    return Segmentation(
        tuple(layers) or (np.zeros(base.geometry.shape, np.uint8, order="F"),),
        places,
        frozenset(owner) - gone,
        base.geometry,
        " + ".join(dict.fromkeys(masks.scheme or "own names" for _, masks in parts)),
        tuple(source for _, masks in parts for source in masks.sources),
        (*(d for _, masks in parts for d in masks.decisions), *decisions),
        attenuation_doubt=next((masks.attenuation_doubt for _, masks in parts if masks.attenuation_doubt), ""),
        covered=base.covered if given_first and not any(m.places for _, m in parts[1:]) else None,
        colors={name: color for name, color in colors.items() if name in places},
        findings=findings,
        unsure={name: why for _, masks in reversed(parts) for name, why in masks.unsure.items()},
        origins=tuple(origins),
    )


def _told_twice(
    name: str, first: tuple[str, Segmentation], second: tuple[str, Segmentation], second_wins: bool
) -> list[Decision]:
    """What is recorded of a structure that two tasks looked for; nothing where both found nothing."""
    (who, masks), (whose, others) = first, second
    in_first, in_second = name in masks.places, name in others.places
    if not in_first and not in_second:
        return []
    words = structure(name).words
    if in_first and in_second:
        shared = int(np.count_nonzero(masks.mask(name) & others.mask(name)))
        sizes = masks.voxel_count(name), others.voxel_count(name)
        dice = 2 * shared / sum(sizes)
        what = f"{_ml(masks, sizes[0])} by {who} and {_ml(masks, sizes[1])} by {whose} (Dice {dice:.2f})"
        return [Decision("segment", f"The {words}: {what}; that of {who} is used.", warning=dice < 0.5)]
    finder, found, other = (who, masks, whose) if in_first else (whose, others, who)
    used = f"that of {finder} is used" if in_first or second_wins else f"that of {other}, which found none, is used"
    size = _ml(found, found.voxel_count(name))
    return [Decision("segment", f"The {words}: {size} by {finder}, none by {other}; {used}.", warning=True)]


def _names_in(places: dict[str, LabelPlace], layer: int) -> dict[int, str]:
    return {place.label: name for name, place in places.items() if place.layer == layer}


def _only(layer: np.ndarray, labels: Sequence[int]) -> np.ndarray:
    """A copy of a layer with these labels alone."""
    table = np.zeros(int(layer.max(initial=0)) + 1, layer.dtype)
    table[list(labels)] = labels
    kept: np.ndarray = table[layer]
    return kept


def _leave_claimed(
    layer: np.ndarray,
    names: dict[int, str],
    earlier: np.ndarray,
    earlier_names: dict[int, str],
    who: str,
    masks: Segmentation,
) -> list[Decision]:
    """Take from the organs of ``layer``, in place, the voxels that another organ has in an earlier layer."""
    mine, theirs = _organs(names), _organs(earlier_names)
    if not mine or not theirs:
        return []
    both = np.isin(layer, list(mine)) & np.isin(earlier, list(theirs))
    pairs = np.stack([layer[both], earlier[both]], axis=1)
    notes = []
    for (label, other), count in zip(*np.unique(pairs, axis=0, return_counts=True), strict=True):
        name, kept = mine[int(label)], theirs[int(other)]
        if structure(name).section == structure(kept).section or name in ancestry(kept) or kept in ancestry(name):
            continue
        claimed = (layer == label) & (earlier == other)
        smaller = min(np.count_nonzero(layer == label), np.count_nonzero(earlier == other))
        layer[claimed] = 0
        words = f"{_ml(masks, int(count))} that {who} calls {structure(name).words}"
        told = f"{words} stay {structure(kept).words}, which was found there before."
        notes.append(Decision("segment", told, warning=bool(count > NOTABLE_SHARE * smaller)))
    return notes


def _taken_away(
    name: str, who: str, masks: Segmentation, earlier: Sequence[tuple[np.ndarray, dict[int, str]]]
) -> Decision:
    """That nothing is left of a mask: the structure is not absent, it was not seen apart from another."""
    mask = masks.mask(name)
    lay = [
        (int(count), names[int(label)])
        for layer, names in earlier
        for label, count in zip(*np.unique(layer[mask], return_counts=True), strict=True)
        if int(label) in _organs(names)
    ]
    other = structure(max(lay)[1]).words if lay else "other organs"
    size = _ml(masks, masks.voxel_count(name))
    what = f"Not assessed: {structure(name).words}; its mask by {who} ({size}) lay in the {other}."
    return Decision(UNSEARCHED, what, warning=True)


def _organs(names: dict[int, str]) -> dict[int, str]:
    return {label: name for label, name in names.items() if structure(name).kind == "organ"}


def _ml(masks: Segmentation, voxels: int) -> str:
    volume_ml = voxels * masks.geometry.voxel_volume_mm3 / 1000
    return f"{volume_ml:.0f} mL" if volume_ml >= 10 else f"{volume_ml:.1f} mL"

"""Masks that were put together under one name, although an organ of one piece cannot lie in both places.

Two files called liver are one liver drawn in two parts, or a liver and something else, or the livers of two cases. The
parts of one organ touch; where the pieces of what was united lie centimeters apart, nothing of it is interpreted.
Lesions, bowel, vessels, bones and whatever both sides have under one name may lie apart.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping, Sequence

import numpy as np

from radvlm.types.anatomy import structure
from radvlm.types.phrases import first_of
from radvlm.types.provenance import Decision
from radvlm.types.segmentation import Segmentation

#: Organs of one piece.
ONE_PIECE = frozenset(
    (
        *("liver", "gallbladder", "spleen", "pancreas", "urinary_bladder", "stomach", "heart", "prostate", "brain"),
        *("adrenal_gland_left", "adrenal_gland_right", "kidney_left", "kidney_right", "lung_left", "lung_right"),
        *("duodenum", "esophagus", "trachea", "uterus", "aorta", "inferior_vena_cava"),
    )
)
#: Pieces of at least this share of the whole that lie so far apart (mm) are two things.
LEAST_SHARE, APART_MM = 0.08, 15.0
#: Voxels along each axis that are looked at.
SAMPLE = 64


def grouped(pairs: Iterable[tuple[str, str]]) -> dict[str, list[str]]:
    """Structure -> names of what it was put together from, in the order of the pairs."""
    found: dict[str, list[str]] = {}
    for structure_name, part in pairs:
        found.setdefault(structure_name, []).append(part)
    return found


def with_united(found: Segmentation, names: Mapping[str, Sequence[str]], kind: str) -> Segmentation:
    """The masks with what is to be said of structures that several ``kind`` (files, contours ...) were united to.

    ``names``: structure -> names of what it was put together from; one name is nothing united.
    """
    names = {name: parts for name, parts in names.items() if len(parts) > 1}
    if not names:
        return found
    apart = {name: gap for name in names if name in ONE_PIECE and (gap := _gap_mm(found, name)) >= APART_MM}
    decisions = [
        Decision(
            "masks",
            f"{len(names[name])} {kind} ({first_of([*names[name]], 4)}) have the name {structure(name).words} and lie "
            f"{gap:.0f} mm apart: one of them is another organ's or another case's, and the {structure(name).words} is "
            "not interpreted. Leave the wrong one out.",
            warning=True,
        )
        for name, gap in apart.items()
    ]
    together = sorted(set(names) - set(apart))
    if together:
        decisions.append(
            Decision("masks", f"Several {kind} held the same structure and were united: {', '.join(together)}.")
        )
    unsure = dict.fromkeys(apart, f"several {kind} have its name and lie far apart")
    return dataclasses.replace(found, decisions=(*found.decisions, *decisions), unsure={**found.unsure, **unsure})


def _gap_mm(found: Segmentation, name: str) -> float:
    """Distance between the two largest pieces of a structure; 0 where it is one piece, or the second is a crumb."""
    from scipy import ndimage
    from scipy.spatial import cKDTree

    if name not in found.places:
        return 0.0
    mask = found.mask_in_box(name)
    steps = [max(1, size // SAMPLE) for size in mask.shape]
    sampled = mask[tuple(slice(None, None, step) for step in steps)]
    pieces, count = ndimage.label(sampled, np.ones((3, 3, 3)))
    if count < 2:
        return 0.0
    sizes = np.bincount(pieces.ravel())[1:]
    first, second = (int(n) for n in np.argsort(sizes, kind="stable")[::-1][:2])
    if sizes[second] < LEAST_SHARE * sizes.sum():
        return 0.0
    spacing = np.array(found.geometry.spacing_mm) * steps
    places = [np.argwhere(pieces == number + 1) * spacing for number in (first, second)]
    return float(cKDTree(places[0]).query(places[1])[0].min())

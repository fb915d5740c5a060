"""Where a model says that its findings are, held against the masks and the body: what cannot be so is left out.

A model outlines its findings in coarse cells and knows nothing of the masks that were given. A finding outside the
body, in another organ than its own, on the other side, or in the same place as a more probable one is dropped; a part
that it names is dropped where it has no voxel there. Each is recorded in words, and nothing is moved to where it fits.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np

from radvlm.quantify.regions import region_mask
from radvlm.types.anatomy import ancestry, structure
from radvlm.types.finding import Status
from radvlm.types.geometry import Box
from radvlm.types.model_output import FindingScore, ModelOutput
from radvlm.types.phrases import joined
from radvlm.types.provenance import Decision
from radvlm.types.segmentation import Segmentation
from radvlm.types.volume import Volume

#: A region lies in other organs when they hold more than this share of it, and its own organ less than ``LEAST_OWN``.
MOST_FOREIGN, LEAST_OWN = 0.5, 0.1
#: A finding farther than this (mm) from its organ is not in it; a cell of the model's maps is 6 mm.
REACH_MM = 12.0
#: Two findings share their place when the voxels of both are this share of those of the smaller one.
SAME_PLACE = 0.5
#: Outside the body: air (HU) that reaches the edge of its slice.
OUTER_AIR_HU = -900
_SOLID_KINDS = ("organ", "part", "vessel", "bone")
#: Sections whose organs lie in one another's place: the pleura has no mask of its own.
_NEIGHBORS = {
    "pleura": ("pleura", "lungs", "airways"),
    "lungs": ("lungs", "pleura", "airways"),
    "heart": ("heart", "mediastinum", "vessels"),
    "mediastinum": ("mediastinum", "heart", "airways", "vessels"),
    "peritoneum": ("peritoneum", "bowel"),
}
#: Findings of these sections lie beside any organ.
_ANYWHERE = ("nodes", "soft_tissues")


@dataclass(frozen=True)
class _Place:
    """The voxels of one finding of a model: a box and a mask of its shape."""

    score: FindingScore
    box: Box
    mask: np.ndarray


def possible_regions(
    output: ModelOutput, own: Segmentation | None, masks: Segmentation | None, scan: Volume
) -> ModelOutput:
    """What a model said, without findings and places that masks or body rule out; each is recorded in ``warnings``.

    Args:
        own: the Segmentation that the model's regions lie in; None leaves all as it is.
        masks: those that were given; None, or masks in doubt, leave the test of organs out.
        scan: the CT, on whose grid both lie.
    """
    if masks is not None and masks.attenuation_doubt:
        masks = None
    kept: list[FindingScore] = []
    told: list[str] = []
    for score in output.scores:
        place = _place(score, own)
        why = ""
        if place is not None:
            why = _outside_body(place, scan) or ("" if masks is None else _elsewhere(place, masks))
        if why:
            told.append(f"Left out: {_named(score)}, {why}.")
            continue
        if masks is not None:
            wrong = [n for n in score.locations if _has_none(n, place, masks)]
            if wrong:
                told.append(f"Place left out of {_named(score)}: nothing of it lies in {joined(_words(wrong))}.")
                score = replace(score, locations=tuple(n for n in score.locations if n not in wrong))
        kept.append(score)
    for score, better in _doubled(kept, own):
        kept.remove(score)
        told.append(f"Left out: {_named(score)}, which lies in the place of {_named(better)}.")
    if not told:
        return output
    return replace(output, scores=tuple(kept), warnings=(*output.warnings, *(Decision("model", text) for text in told)))


def _named(score: FindingScore) -> str:
    where = f" ({structure(score.site).words})" if score.site else ""
    return f"{score.words}{where}, probability {score.probability:.2f}"


def _words(names: Sequence[str]) -> list[str]:
    return [structure(n).words for n in names]


def _place(score: FindingScore, own: Segmentation | None) -> _Place | None:
    """The voxels that a model outlined itself; a whole organ that it points to is no outline."""
    if own is None or score.region is None or score.grounding != "voxel head":
        return None
    return _Place(score, *region_mask(own, score.region))


def _outside_body(place: _Place, scan: Volume) -> str:
    """Words where most of it lies in air that reaches the edge of its slice; "" where it does not."""
    if scan.attenuation_doubt:
        return ""
    from scipy.ndimage import label

    outside = total = 0
    for k in _some(place.mask):
        air = scan.hu[:, :, place.box.start[2] + k] < OUTER_AIR_HU
        numbered, _ = label(air)
        edge = np.unique(np.concatenate([numbered[0], numbered[-1], numbered[:, 0], numbered[:, -1]]))
        within = numbered[place.box.slices[:2]][place.mask[:, :, k]]
        outside += int(np.isin(within, edge[edge > 0]).sum())
        total += within.size
    return "which lies outside the body" if total and outside > total / 2 else ""


def _some(mask: np.ndarray, most: int = 5) -> Sequence[int]:
    """At most so many slices of a mask, spread over those that hold any of it."""
    held = np.flatnonzero(mask.any(axis=(0, 1)))
    return [int(k) for k in held[np.unique(np.linspace(0, len(held) - 1, most).astype(int))]]


def _elsewhere(place: _Place, masks: Segmentation) -> str:
    """Words where its voxels lie in other organs than its own, or far from its own; "" where they may be right."""
    score = place.score
    if score.section in _ANYWHERE:
        return ""
    size = int(np.count_nonzero(place.mask))
    foreign: dict[str, int] = {}
    own = 0
    for name in _meeting(place.box, masks):
        held = int(np.count_nonzero(masks.mask_in_box(name, place.box) & place.mask))
        if _is_own(name, score):
            own = max(own, held)
        elif held and structure(name).parent not in foreign:
            foreign[name] = held
    most = max(foreign, key=lambda n: foreign[n], default="")
    if most and foreign[most] > MOST_FOREIGN * size and own < LEAST_OWN * size:
        return f"of which {100 * foreign[most] / size:.0f} percent lies in {structure(most).words} by the masks"
    mine = [n for n in masks.places if _is_own(n, score)]
    reach = [int(np.ceil(REACH_MM / s)) for s in masks.geometry.spacing_mm]
    wide = place.box.grown(reach, masks.geometry.shape)
    if score.site and mine and not any(masks.mask_in_box(n, wide).any() for n in mine if masks.boxes[n].meets(wide)):
        return f"which lies more than {REACH_MM:.0f} mm away from {structure(score.site).words} by the masks"
    return ""


def _is_own(name: str, score: FindingScore) -> bool:
    """Whether a structure is the organ of a finding, holds it, or is a part of it on the same side."""
    row = structure(name)
    if row.kind not in _SOLID_KINDS:
        return False
    if not score.site:
        return row.section in _NEIGHBORS.get(score.section, (score.section,))
    site = structure(score.site)
    if row.side and site.side and row.side != site.side:
        return False
    return (
        name in ancestry(score.site)
        or score.site in ancestry(name)
        or (row.section in _NEIGHBORS.get(score.section, ()) and row.side in ("", site.side))
    )


def _has_none(name: str, place: _Place | None, masks: Segmentation) -> bool:
    """Whether masks looked for a part and either do not have it or have none of the finding in it."""
    if name not in masks.searched:
        return False
    if name not in masks.places:
        return True
    if place is None:
        return False
    return not (masks.mask_in_box(name, place.box) & place.mask).any()


def _meeting(box: Box, masks: Segmentation) -> Iterator[str]:
    """Solid structures whose box meets this one, organs before their parts."""
    names = [n for n in masks.places if structure(n).kind in _SOLID_KINDS and masks.boxes[n].meets(box)]
    yield from sorted(names, key=lambda n: len(ancestry(n)))


def _doubled(scores: Sequence[FindingScore], own: Segmentation | None) -> list[tuple[FindingScore, FindingScore]]:
    """Findings in the place of a more probable one of the same section, with that one: one place is one finding."""
    seen = [s for s in scores if s.status in (Status.PRESENT, Status.INDETERMINATE)]
    places = [p for p in (_place(s, own) for s in seen) if p is not None]
    places.sort(key=lambda p: -p.score.probability)
    kept: list[_Place] = []
    doubled = []
    for place in places:
        better = next(
            (k for k in kept if k.score.section == place.score.section and _overlap(k, place) >= SAME_PLACE), None
        )
        if better is None:
            kept.append(place)
        else:
            doubled.append((place.score, better.score))
    return doubled


def _overlap(one: _Place, other: _Place) -> float:
    """Voxels in both, as a share of those of the smaller one."""
    common = one.box.intersection(other.box)
    if common is None:
        return 0.0
    parts = [place.mask[common.relative_to(place.box).slices] for place in (one, other)]
    both = int(np.count_nonzero(parts[0] & parts[1]))
    return both / min(int(np.count_nonzero(one.mask)), int(np.count_nonzero(other.mask)))

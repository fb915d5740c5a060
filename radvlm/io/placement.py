"""Do the masks lie where they should? Misplaced masks give a report that reads well and is false.

Two witnesses are asked: how structures lie to each other (``mask_order``) and how the masks fit the voxels
(``mask_fit``). Only where one of them objects are other placements tried, so that the check of masks that lie right
costs a fraction of a second on any scan.

How mirror images are told apart. *Masks mirrored on their scan*: right-left pairs are reversed, and the voxels fit
better when the masks are turned back. *Labels swapped*: the pairs are reversed, the voxels fit, and liver and spleen
lie as usual. *Scan and masks both mirrored*: the pairs are reversed, the voxels fit, and liver and spleen are
reversed too. *Situs inversus*: the pairs are in order, because a right kidney is the one on the right side, the
voxels fit, and only the unpaired organs are reversed: accepted with a warning, which is also what a mirrored
scan gets whose masks were made from it as it is, because no voxel tells the two apart.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from radvlm.io.lone_sides import LoneSides, lone_sides
from radvlm.io.mask_doubts import single_doubts
from radvlm.io.mask_fit import Alternative, Fit, MaskPoints, alternatives, fit_of, sample_points
from radvlm.io.mask_grid import is_coarse
from radvlm.io.mask_nudges import nudged_together
from radvlm.io.mask_order import (
    depth_order,
    exchanged_axes,
    height_order,
    level_order,
    lobes_in_both_lungs,
    organ_order,
    pair_order,
    rib_disorder,
    rib_order,
)
from radvlm.types.segmentation import Segmentation
from radvlm.types.volume import Volume
from radvlm.wording.sentences import capital

#: Masks with less are looked at more closely: contrast (nats) and share of plausible voxels.
SURE_CONTRAST, SURE_PLAUSIBLE = 0.15, 0.93
#: Fewer sampled voxels say nothing about other placements.
MIN_POINTS = 300
#: Another placement must reach this contrast (nats), raise it by at least this, and by this share of what it reaches.
MIN_REACHED, MIN_GAIN, MIN_GAIN_SHARE = 0.10, 0.07, 0.25
#: Masks that fit neither as they lie nor otherwise are below both (contrast, share of plausible voxels): of a few
#: structures; of so many structures; and large organs, whose edges show in any scan, below a contrast alone. Of 850
#: random parts of masks in place, with noise of up to 50 HU added, none was.
FOREIGN, FOREIGN_MANY, MANY, FOREIGN_LARGE = (0.10, 0.87), (0.20, 0.88), 10, 0.035
#: Masks made on larger voxels are foreign below the first alone: at two and three times the voxels of a real scan its
#: own had 0.20 and 0.17 nats and 0.85 and 0.83, those of another patient 0.04 and 0.49.
_LARGE = {"liver", "spleen", "kidney_left", "kidney_right", "kidney", "heart", "brain"}
#: By array index they must be at least this plausible.
STORED_PLAUSIBLE = 0.80


@dataclass(frozen=True)
class Placement:
    """What was found of the placement of masks.

    Attributes:
        problem: what is wrong, "" where nothing was proved.
        remedy: what would mend it.
        doubts: what is unusual and no proof.
        fits: False where the attenuation under the masks is not that of their structures.
        unsure: structures of which nothing is interpreted, each with the reason.
        by_voxels: the part of ``problem`` that the voxels prove, whatever the names of the masks; "" where they do not.
    """

    problem: str = ""
    remedy: str = ""
    doubts: tuple[str, ...] = ()
    fits: bool = True
    by_voxels: str = ""
    unsure: tuple[tuple[str, str], ...] = ()


def placement_of(
    volume: Volume, segmentation: Segmentation, as_stored: Callable[[], Sequence[Segmentation]] = tuple
) -> Placement:
    """Judge how masks lie on their scan.

    Args:
        as_stored: gives the same masks laid voxel by voxel on the scan's own grid, in each usual order of axes, where
            their header says another place but their array has the shape of the scan's; asked only when something is
            wrong.
    """
    points = sample_points(segmentation)
    if points is None:
        return Placement()
    orders = _Orders(points, volume)
    if volume.attenuation_doubt:
        words = _joined(orders.reversed_words)
        return Placement(words, "Check the orientation of both files and the label scheme" if words else "")
    fit = fit_of(points, volume.hu)
    if not orders.reversed_words and fit.contrast >= SURE_CONTRAST and fit.plausible >= SURE_PLAUSIBLE:
        return _in_place(points, segmentation, volume, orders)
    best = _best(points, volume.hu)
    stored = _better_as_stored(volume, fit if best is None else best.then, as_stored(), fit)
    if stored is not None:
        return stored
    if best is not None:
        moved = f"{best.what}{_shares(best)}"
        return Placement(_joined([*orders.reversed_words, moved]), best.remedy, fits=False, by_voxels=moved)
    if orders.reversed_words:
        return _scan_and_masks(orders)
    foreign = _foreign(fit) if points.count >= MIN_POINTS and _is_foreign(points, segmentation, fit) else ""
    return _in_place(points, segmentation, volume, orders, foreign)


def _in_place(
    points: MaskPoints, segmentation: Segmentation, volume: Volume, orders: _Orders, foreign: str = ""
) -> Placement:
    """Masks that lie right on the whole, with what is odd of single ones; ``foreign`` is a doubt about all of them."""
    nudged = nudged_together(points, volume.hu)
    if nudged:
        what = f"The masks look {nudged}, where they would fit the edges of this scan better"
        return Placement(doubts=(*_doubts(orders), f"{what}: no attenuation under them is interpreted."), fits=False)
    if foreign:
        return Placement(doubts=(foreign,), fits=False)
    single = single_doubts(points, segmentation, volume.hu)
    return Placement(doubts=(*_doubts(orders), *single.doubts), unsure=single.unsure)


class _Orders:
    """Every order of the masks, and words for those that are reversed."""

    def __init__(self, points: MaskPoints, volume: Volume) -> None:
        self.pairs, self.organs = pair_order(points), organ_order(points)
        self.depth = depth_order(points)
        levels, ribs, heights = level_order(points), rib_order(points), height_order(points)
        self.is_upside_down = levels.is_reversed or (
            not levels.right and (ribs.is_reversed or (not ribs.right and heights.is_reversed))
        )
        self.reversed_words: list[str] = []
        if self.pairs.is_reversed:
            self.reversed_words.append(f"left and right are swapped ({self.pairs.share} right-left pairs are reversed)")
        side = "" if self.organs.is_reversed else lobes_in_both_lungs(points)
        if side:
            self.reversed_words.append(f"lobes that are called {side} lie in both lungs")
        if self.is_upside_down:
            worst = next(o for o in (levels, ribs, heights) if o.is_reversed)
            kind = "vertebrae" if worst is levels else "ribs" if worst is ribs else "organs"
            self.reversed_words.append(f"head and foot are swapped ({worst.share} comparisons of {kind} are reversed)")
        if self.depth.is_reversed:
            self.reversed_words.append(
                f"front and back are swapped ({self.depth.share} comparisons with the spine are reversed)"
            )
        self.ribs_in_disorder = "" if self.is_upside_down or self.pairs.is_reversed else rib_disorder(points)
        self.exchanged = exchanged_axes(points)
        self.lone = LoneSides()
        if not self.pairs.is_reversed:
            self.lone = lone_sides(points, volume, self.pairs.right > 0, self.organs.is_reversed)
            self.reversed_words += self.lone.wrong


def _best(points: MaskPoints, hu: np.ndarray) -> Alternative | None:
    """The other placement that is clearly better, or None."""
    if points.count < MIN_POINTS:
        return None
    found = alternatives(points, hu)
    if not found:
        return None
    best = found[0]
    gain = best.then.contrast - best.now.contrast
    is_better = best.then.contrast >= MIN_REACHED and gain >= max(MIN_GAIN, MIN_GAIN_SHARE * best.then.contrast)
    return best if is_better else None


def _scan_and_masks(orders: _Orders) -> Placement:
    """The voxels fit and the order is reversed: wrong names, or scan and masks are mirrored together."""
    words = _joined(orders.reversed_words)
    if len(orders.lone.wrong) == len(orders.reversed_words):
        return Placement(
            f"{words}, and the masks fit the voxels: a name looks wrong, or scan and masks look mirrored together",
            "Check the names left and right, the label scheme and the orientation of both files",
        )
    only_sides = orders.pairs.is_reversed and not orders.is_upside_down and not orders.depth.is_reversed
    if only_sides and orders.organs.is_reversed:
        return Placement(
            f"{words}, liver and spleen too, and the masks fit the voxels: scan and masks look mirrored together",
            "Check the orientation of both files",
        )
    if only_sides:
        return Placement(
            f"{words}, and the masks fit the voxels: the names left and right look exchanged",
            "Exchange the labels of left and right, or pass the right scheme",
        )
    return Placement(
        f"{words}, and the masks fit the voxels as well as in any other position",
        "Check the orientation of both files and the label scheme",
    )


def _doubts(orders: _Orders) -> tuple[str, ...]:
    lone = tuple(
        f"{capital(words)}: an organ out of its place, or a mask with the name of the other side. Check the sides."
        for words in orders.lone.doubtful
    )
    ribs = orders.ribs_in_disorder
    if ribs:
        ribs = f"{capital(ribs)}, as TotalSegmentator before 2.2.1 wrote them: do not rely on the number of a rib."
    turned = orders.exchanged and (
        f"Right and left structures, or the vertebrae, lie apart along the wrong axis: {orders.exchanged} of scan and "
        "masks look exchanged together. Check the orientation of both files; no side or length is sure."
    )
    return (*_mirrored_organs(orders), *lone, *filter(None, (ribs, turned)))


def _mirrored_organs(orders: _Orders) -> tuple[str, ...]:
    if not orders.organs.is_reversed:
        return ()
    return (
        f"{orders.organs.share} comparisons of liver, spleen, stomach and great vessels are mirrored while the masks "
        "fit the voxels: situs inversus, scan and masks mirrored together, names exchanged, or labels of another "
        "scheme or version. Check the sides and the names.",
    )


def _better_as_stored(volume: Volume, best: Fit, as_stored: Sequence[Segmentation], now: Fit) -> Placement | None:
    """The masks by array index, where they fit better there than in the best other placement."""
    fits = [
        fit_of(points, volume.hu)
        for masks in as_stored
        if (points := sample_points(masks)) is not None and points.count >= MIN_POINTS
    ]
    if not fits:
        return None
    then = max(fits, key=lambda fit: fit.contrast)
    is_better = then.contrast - best.contrast >= max(MIN_GAIN, MIN_GAIN_SHARE * then.contrast)
    if not is_better or then.plausible < min(now.plausible, STORED_PLAUSIBLE):
        return None
    what = (
        "the affine of the masks is not that of the scan, and voxel by voxel they would fit"
        f" ({now.plausible:.0%} of the sampled voxels have an attenuation that their structures can have, "
        f"{then.plausible:.0%} voxel by voxel)"
    )
    return Placement(what, "Copy the affine of the scan into the masks", fits=False, by_voxels=what)


def _shares(best: Alternative) -> str:
    return (
        f" (contrast at their edges {best.now.contrast:.2f}, {best.then.contrast:.2f} when that is undone; "
        f"{best.now.plausible:.0%} and {best.then.plausible:.0%} of voxels with a possible attenuation)"
    )


def _is_foreign(points: MaskPoints, segmentation: Segmentation, fit: Fit) -> bool:
    """Whether the masks follow the organs of this scan so badly that they may be of another one."""
    is_many = len(points.names) >= MANY and not (fit.contrast >= FOREIGN[0] and is_coarse(segmentation.layers[0]))
    contrast, plausible = FOREIGN_MANY if is_many else FOREIGN
    # where each voxel has a possible attenuation, as in a drawing without noise, low contrast proves nothing
    is_adrift = bool(_LARGE & set(points.names)) and fit.contrast < FOREIGN_LARGE and fit.plausible < 1
    return is_adrift or (fit.contrast < contrast and fit.plausible < plausible)


def _foreign(fit: Fit) -> str:
    return (
        f"The masks do not follow the organs of this scan (contrast at their edges {fit.contrast:.2f}; "
        f"{1 - fit.plausible:.0%} of their voxels have an attenuation that their structures cannot have). They may be "
        "of another patient or scan, and no attenuation under them is interpreted."
    )


def _joined(parts: list[str]) -> str:
    return "; ".join(parts)

"""Whether structures lie to each other as in a human body: right and left, head and foot, front and back.

Only the masks are looked at. Single exceptions are anatomy (a pelvic kidney, a scoliosis, a hernia), so a direction
counts as reversed only where most of its comparisons are. Each comparison needs a distance, and what varies between
people (the height of a kidney against the liver, a rib's middle against its neighbor's) is not compared.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable
from dataclasses import dataclass

from radvlm.io.mask_fit import MaskPoints
from radvlm.types.anatomy import USUAL_LEVELS, structure

#: Centers of a pair closer than this are not compared, mm; a single comparison must be as clear as the second value.
PAIR_MM, CLEAR_PAIR_MM = 8.0, 30.0
#: The same for levels of the spine and head to foot, and for front to back.
LEVEL_MM, CLEAR_LEVEL_MM = 5.0, 15.0
HEIGHT_MM, CLEAR_HEIGHT_MM = 20.0, 40.0
DEPTH_MM, CLEAR_DEPTH_MM = 10.0, 20.0
#: Pairs whose centers lie so far apart (mm), and so many times farther along another axis than from side to side, are
#: exchanged with it, where so many pairs and this share of them are.
ACROSS_MM, ACROSS_TIMES, FEWEST_ACROSS, ACROSS_SHARE = 40.0, 2.0, 2, 0.8
#: The spine is asked from so many vertebrae on.
FEWEST_LEVELS = 4
#: Ribs are compared when their numbers differ by at least this, up to the ninth: lower ones slope across each other.
RIBS_APART, LAST_RIB = 3, 9
#: Ribs of which so many comparisons are reversed are out of order.
DISORDER_SHARE = 0.2
#: What lies above what in everybody, farther apart than their sizes vary.
_HEAD = ("brain", "skull", "mandible", "head", "tongue")
_NECK = ("thyroid_gland", "thyroid_cartilage", "hyoid")
_CHEST = ("heart", "lung", "lung_left", "lung_right", "lung_upper_lobe_left", "lung_upper_lobe_right", "pulmonary_vein")
_SHOULDER = ("clavicula_left", "clavicula_right", "scapula_left", "scapula_right")
_UPPER_ABDOMEN = ("liver", "spleen", "pancreas", "adrenal_gland_left", "adrenal_gland_right", "stomach")
_PELVIS = ("urinary_bladder", "prostate", "femur_left", "femur_right", "hip_left", "hip_right", "sacrum", "rectum")
_ABOVE = (
    (_HEAD, (*_CHEST, *_UPPER_ABDOMEN, *_PELVIS)),
    (_NECK, (*_CHEST, *_UPPER_ABDOMEN, *_PELVIS)),
    (_SHOULDER, (*_UPPER_ABDOMEN, *_PELVIS)),
    (_CHEST, ("kidney_left", "kidney_right", "kidney", "pancreas", *_PELVIS)),
    (_UPPER_ABDOMEN, _PELVIS),
)
#: What lies behind what in everybody.
_BACK = ("spinal_cord", "autochthon_left", "autochthon_right", "erector_spinae_left", "erector_spinae_right")
_FRONT = (
    "aorta", "inferior_vena_cava", "heart", "liver", "stomach", "pancreas", "gallbladder", "duodenum",
    "urinary_bladder", "prostate", "small_bowel", "portal_vein_and_splenic_vein", "sternum", "costal_cartilages",
    "superior_vena_cava", "iliopsoas_left", "iliopsoas_right", "thyroid_gland", "trachea",
)  # fmt: skip
#: What lies to the right of what unless the organs are mirrored.
_RIGHT_OF = (
    ("liver", "spleen"),
    ("liver", "stomach"),
    ("gallbladder", "spleen"),
    ("gallbladder", "stomach"),
    ("inferior_vena_cava", "aorta"),
    ("duodenum", "spleen"),
)


#: Sided organs and single ones that lie on the other side, farther apart than any ectopic kidney: (right, left).
_FAR_SIDES = (
    ("kidney_right", "stomach"),
    ("kidney_right", "spleen"),
    ("lung_right", "spleen"),
    ("adrenal_gland_right", "spleen"),
    ("liver", "kidney_left"),
    ("liver", "adrenal_gland_left"),
    ("gallbladder", "kidney_left"),
    ("kidney_right", "liver"),
    ("spleen", "kidney_left"),
)
FAR_SIDE_MM = 80.0
#: Centers of the lobes of one lung farther apart than this, right to left, are in two lungs.
ONE_LUNG_MM = 90.0


@dataclass(frozen=True)
class Order:
    """Comparisons along one direction: how many are as in a body, how many reversed, and the clearest reversed one."""

    right: int
    reversed: int
    is_clear: bool = False

    @property
    def is_reversed(self) -> bool:
        """Most comparisons are reversed, and at least one of them beyond doubt."""
        return self.reversed > self.right and self.is_clear

    @property
    def share(self) -> str:
        return f"{self.reversed} of {self.reversed + self.right}"


def pair_order(points: MaskPoints) -> Order:
    """Right and left structures of one name."""
    distances = []
    for name in points.names:
        if structure(name).side == "right" and name.replace("right", "left") in points.names:
            distances.append(_apart(points, name, name.replace("right", "left"), 0))
    if not distances:  # no pair is whole: any structure of the right against any of the left, where they lie far apart
        sides = {side: [n for n in points.names if _has_firm_side(n, side)] for side in ("right", "left")}
        distances = [_apart(points, a, b, 0) for a in sides["right"] for b in sides["left"]]
        distances += [d for d in _compared(points, _FAR_SIDES, 0) if abs(d) >= FAR_SIDE_MM]
        return _order(distances, CLEAR_PAIR_MM, CLEAR_PAIR_MM)
    return _order(distances, PAIR_MM, CLEAR_PAIR_MM)


def _has_firm_side(name: str, side: str) -> bool:
    row = structure(name)
    return (row.side == side and row.kind in ("bone", "muscle")) or name in (f"kidney_{side}", f"lung_{side}")


def exchanged_axes(points: MaskPoints) -> str:
    """``x and y`` where pairs lie behind each other, ``y and z`` where the spine runs from front to back ...; else "".

    One pair alone proves nothing: of crossed kidneys one lies above the other.
    """
    pairs = [(name, name.replace("right", "left")) for name in points.names if structure(name).side == "right"]
    ways = [way for pair in (*pairs, ("liver", "spleen")) if (way := _way(points, *pair, along=0)) is not None]
    for axis in (1, 2):
        if len(ways) >= FEWEST_ACROSS and ways.count(axis) >= ACROSS_SHARE * len(ways):
            return f"x and {'xyz'[axis]}"
    levels = [name for level in USUAL_LEVELS if (name := f"vertebrae_{level}") in points.names]
    way = _way(points, levels[0], levels[-1], along=2) if len(levels) >= FEWEST_LEVELS else 2
    return "y and z" if way == 1 else "x and z" if way == 0 else ""


def _way(points: MaskPoints, first: str, second: str, *, along: int) -> int | None:
    """The axis on which two structures lie apart: ``along``, or another on which they do by far; None where close."""
    a, b = points.center(first), points.center(second)
    if a is None or b is None or abs(a - b).max() < ACROSS_MM:
        return None
    apart = abs(a - b)
    axis = int(apart.argmax())
    return axis if apart[axis] >= ACROSS_TIMES * apart[along] else along


def lobes_in_both_lungs(points: MaskPoints) -> str:
    """``right`` or ``left`` where lobes of that name lie in both lungs, as labels off by one put them; else "".

    The middle lobe is not asked: in situs inversus it is on the left, and called right all the same.
    """
    for side in ("right", "left"):
        upper, lower = f"lung_upper_lobe_{side}", f"lung_lower_lobe_{side}"
        if {upper, lower} <= set(points.names) and abs(_apart(points, upper, lower, 0)) > ONE_LUNG_MM:
            return side
    return ""


def level_order(points: MaskPoints) -> Order:
    """Vertebrae from the head down."""
    levels = [name for level in USUAL_LEVELS if (name := f"vertebrae_{level}") in points.names]
    if "sacrum" in points.names and "vertebrae_S1" not in levels:
        levels.append("sacrum")
    return _order([_apart(points, a, b, 2) for a, b in itertools.pairwise(levels)], LEVEL_MM, CLEAR_LEVEL_MM)


def rib_order(points: MaskPoints) -> Order:
    """Ribs of one side from the head down."""
    distances = []
    for side in ("right", "left"):
        ribs = [n for n in range(1, LAST_RIB + 1) if f"rib_{side}_{n}" in points.names]
        for upper, lower in itertools.combinations(ribs, 2):
            if lower - upper >= RIBS_APART:
                distances.append(_apart(points, f"rib_{side}_{upper}", f"rib_{side}_{lower}", 2))
    return _order(distances, HEIGHT_MM, CLEAR_HEIGHT_MM)


def rib_disorder(points: MaskPoints) -> str:
    """How many comparisons of ribs are against their numbers and sides, in words, where many are; else "".

    Segmenters now and then miss a rib and number the next ones by one too few, which is no disorder here.
    """
    heights = rib_order(points)
    sides = _order(
        [
            _apart(points, f"rib_right_{n}", f"rib_left_{n}", 0)
            for n in range(1, LAST_RIB + 1)
            if {f"rib_right_{n}", f"rib_left_{n}"} <= set(points.names)
        ],
        PAIR_MM,
        CLEAR_PAIR_MM,
    )
    for order, what in ((heights, "are not in the order of their numbers"), (sides, "have the name of the other side")):
        count = order.right + order.reversed
        if order.is_clear and not order.is_reversed and order.reversed >= max(2, DISORDER_SHARE * count):
            return f"ribs {what} ({order.share} comparisons)"
    return ""


def height_order(points: MaskPoints) -> Order:
    """Organs from head to foot."""
    pairs = [(a, b) for above, below in _ABOVE for a in above for b in below]
    return _order(_compared(points, pairs, 2), HEIGHT_MM, CLEAR_HEIGHT_MM)


def depth_order(points: MaskPoints) -> Order:
    """What lies in front of the spine and of the muscles of the back."""
    spine = [name for name in points.names if name.startswith("vertebrae_") and structure(name).kind == "bone"]
    pairs = [(front, back) for front in _FRONT for back in _BACK]
    pairs += [(front, bone) for front in _FRONT for bone in spine]
    pairs = [pair for pair in pairs if set(pair) <= set(points.names) and _same_height(points, *pair)]
    return _order(_compared(points, pairs, 1), DEPTH_MM, CLEAR_DEPTH_MM)


def organ_order(points: MaskPoints) -> Order:
    """Unpaired organs of one side, reversed in situs inversus."""
    return _order(_compared(points, _RIGHT_OF, 0), PAIR_MM, CLEAR_PAIR_MM)


def _compared(points: MaskPoints, pairs: Iterable[tuple[str, str]], axis: int) -> list[float]:
    return [_apart(points, a, b, axis) for a, b in pairs if a in points.names and b in points.names]


def _apart(points: MaskPoints, first: str, second: str, axis: int) -> float:
    a, b = points.center(first), points.center(second)
    assert a is not None and b is not None
    return float(a[axis] - b[axis])


def _same_height(points: MaskPoints, first: str, second: str) -> bool:
    return abs(_apart(points, first, second, 2)) <= 60.0


def _order(distances: list[float], least_mm: float, clear_mm: float) -> Order:
    """Positive distances are as in a body."""
    right = sum(d >= least_mm for d in distances)
    turned = [d for d in distances if d <= -least_mm]
    return Order(right, len(turned), bool(turned) and min(turned) <= -clear_mm)

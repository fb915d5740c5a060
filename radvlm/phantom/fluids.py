"""Shapes that fill cavities (effusions, ascites, free air), and where lymph nodes lie."""

from __future__ import annotations

import numpy as np

from radvlm.phantom.frame import EX, EY, EZ, Frame
from radvlm.phantom.shapes import Bounds, Coords, Ellipsoid, Field, Shape, smooth_min
from radvlm.phantom.thorax import heart_shape, lung

#: Nodal stations: center of the box in which a node may lie and its half sizes (mm, before scaling).
STATIONS: dict[str, tuple[tuple[float, float, float], tuple[float, float, float]]] = {
    "para-aortic left": ((-30, 0, -85), (12, 12, 40)),
    "aortocaval": ((4, 14, -95), (10, 10, 30)),
    "mesenteric": ((10, 42, -80), (40, 16, 25)),
    "right paratracheal": ((20, 0, 225), (8, 12, 15)),
    "prevascular": ((-10, 44, 205), (12, 10, 20)),
    "gastrohepatic": ((-12, 30, 30), (12, 12, 15)),
}
#: Heights (mm) between which the pleural space reaches furthest back; from the third on, furthest forward.
_LUNG_HEIGHTS = (40.0, 70.0, 100.0, 130.0, 160.0, 190.0)


def node_station(frame: Frame, rng: np.random.Generator, size: float) -> Bounds:
    """The box of a random station."""
    center, half = STATIONS[str(rng.choice(list(STATIONS)))]
    middle, reach = frame.point(*center), np.array(half) + 0.3 * size
    return middle - reach, middle + reach


def fluid(frame: Frame, kind: str, side: str, size: float) -> tuple[Shape, frozenset[str], str | None]:
    """Shape, structures that it may cover ("" = fat and other unlabeled tissue), and what the organ layer becomes."""
    match kind:
        case "pleural_effusion" | "lung_atelectasis":
            organ = "" if kind == "pleural_effusion" else None
            return _dependent(frame, side, size, 240.0 if organ == "" else 150.0), frozenset({f"lung_{side}"}), organ
        case "pneumothorax":
            return _anterior_pleura(frame, side, size), frozenset({f"lung_{side}"}), ""
        case "pericardial_effusion":
            return _pericardial(frame, size), frozenset({"", "lung_right", "lung_left"}), ""
        case "ascites":
            return _ascites(frame, size), frozenset({""}), ""
        case _:
            return _free_air(frame, size), frozenset({""}), ""


def deepest_back(frame: Frame) -> float:
    """y of the most posterior point of the pleural space (mm)."""
    return min(frame.cavity[2].at(z) - frame.cavity[1].at(z) for z in _LUNG_HEIGHTS) + 2.0


def _dependent(frame: Frame, side: str, depth: float, top: float) -> Field:
    """Fluid settles behind in a supine patient: everything in the pleural space below a horizontal level."""
    space = lung(frame, side)
    level = deepest_back(frame) + depth

    def value(at: Coords) -> np.ndarray:
        return np.maximum(np.maximum(space.value(at), at.linear(EY, -level)), at.linear(EZ, -top * frame.sz))

    return Field(space.bounds(), value)


def _anterior_pleura(frame: Frame, side: str, depth: float) -> Field:
    space = lung(frame, side)
    level = max(frame.cavity[2].at(z) + frame.cavity[1].at(z) for z in _LUNG_HEIGHTS[2:]) - 2.0 - depth

    def value(at: Coords) -> np.ndarray:
        return np.maximum(space.value(at), at.linear(-EY, level))

    return Field(space.bounds(), value)


def _pericardial(frame: Frame, thickness: float) -> Field:
    heart = heart_shape(frame)
    sac = Ellipsoid(heart.center, tuple(v + thickness for v in heart.semi), heart.axes)

    def value(at: Coords) -> np.ndarray:
        return np.maximum(sac.value(at), frame.wall(at) + 2)

    return Field(sac.bounds(), value)


def _ascites(frame: Frame, thickness: float) -> Field:
    """Around the liver and the spleen, along both gutters, and in the pelvis."""
    low, high = frame.point(-135, -62, -300), frame.point(135, 98, 104)
    pelvic = Ellipsoid(frame.point(0, -8, -276), (58, 34, 26))

    def value(at: Coords) -> np.ndarray:
        wall = frame.wall(at)
        x, y, z = at.linear(EX), at.linear(EY), at.linear(EZ)
        under = z - frame.diaphragm(x, y) + np.float32(1)
        rim = np.maximum(-wall - np.float32(thickness + 3), np.float32(-14) - y)  # a rim inside the wall, in front
        rim = np.maximum(rim, np.float32(35) - np.abs(x))
        rim = np.maximum(rim, np.maximum(-z - np.float32(160), y - np.float32(40)))
        both = smooth_min(rim, pelvic.value(at), 4.0)
        return np.maximum(np.maximum(both, wall + 2), under)

    return Field((low, high), value)


def _free_air(frame: Frame, depth: float) -> Field:
    """Free air rises to the anterior wall of the upper abdomen."""
    z = -10.0 * frame.sz
    level = frame.cavity[2].at(z) + frame.cavity[1].at(z) - depth - 3
    low, high = frame.point(-110, 0, -90), frame.point(110, 100, 75)

    def value(at: Coords) -> np.ndarray:
        x, y = at.linear(EX), at.linear(EY)
        under = at.linear(EZ) - frame.diaphragm(x, y) + np.float32(3)
        return np.maximum(np.maximum(frame.wall(at) + 3, np.float32(level) - y), under)

    return Field((low, high), value)

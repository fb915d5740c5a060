"""Liver with segments, spleen, pancreas with parts, gallbladder, kidneys, adrenals, pelvic organs."""

from __future__ import annotations

import math

import numpy as np

from radvlm.phantom.frame import EX, EY, EZ, Frame
from radvlm.phantom.scene import Partition, Scene
from radvlm.phantom.shapes import Capsule, Coords, Ellipsoid, Field, GridCoords, Grown, rotation, smooth_max, tube
from radvlm.types.anatomy import LIVER_SEGMENTS, PANCREAS_PARTS

#: Cosine of the inclination of the liver's lower surface: turns height into mm of distance.
_FLOOR_SLOPE = 0.72


def liver(frame: Frame) -> Field:
    """A wedge under the diaphragm, its lower surface shifted until the volume is the wanted one."""
    target = frame.anatomy.liver_ml
    drawn = frame.draw(1280, 1680)
    target = drawn if target is None else target
    low, high = frame.point(-95, -88, -150), frame.point(138, 98, 112)
    matrix = np.diag([7.0, 7.0, 7.0])
    count = tuple(int(n) for n in np.ceil((high - low) / 7.0))
    lattice = GridCoords(matrix, low + 3.5, (0, 0, 0), (count[2], count[1], count[0]))
    fixed, lower = _liver_surfaces(frame, lattice)
    shifts = [-60.0, 90.0]
    for _ in range(12):
        middle = sum(shifts) / 2
        value = smooth_max(fixed, lower - np.float32(middle), 16.0)
        volume = float(np.clip(0.5 - value / 7.0, 0, 1).sum()) * 0.343
        shifts[int(volume > target)] = middle
    frame.liver_shift_mm = sum(shifts) / 2
    shift = np.float32(frame.liver_shift_mm)

    def value_at(at: Coords) -> np.ndarray:
        top, bottom = _liver_surfaces(frame, at)
        return smooth_max(top, bottom - shift, 16.0)

    return Field((low, high), value_at)


def _liver_surfaces(frame: Frame, at: Coords) -> tuple[np.ndarray, np.ndarray]:
    """Everything but the lower surface, and the lower surface, as implicit functions in mm."""
    x, y, z = at.linear(EX), at.linear(EY), at.linear(EZ)
    dome = z - frame.diaphragm(x, y) + np.float32(4)
    outer = smooth_max(frame.wall(at) + 4, dome, 12.0)
    u, v = x / np.float32(frame.sx), y / np.float32(frame.sy)
    behind = np.where(u > 25, -6 - 1.5 * (u - 25), -6 - 0.36 * (u - 25)).astype(np.float32)
    posterior = (behind - v) * np.float32(0.75)
    left_end = (-72 - u) * np.float32(0.9)
    rest = smooth_max(outer, smooth_max(posterior, left_end, 14.0), 14.0)
    kidney = kidney_shape(frame, "right", 1.0)
    rest = smooth_max(rest, np.float32(7) - kidney.value(at), 8.0)
    return rest, (_liver_floor(frame, u, v) - z / np.float32(frame.sz)) * np.float32(_FLOOR_SLOPE)


def _liver_floor(frame: Frame, u: np.ndarray, v: np.ndarray) -> np.ndarray:
    """Unscaled height of the lower surface before it is shifted: steep on the right, flatter on the left."""
    slope = np.where(v < 0, np.float32(-0.5), np.float32(-0.1))
    tilt = np.where(u < 0, np.float32(-0.36), np.float32(-0.9))
    return np.float32(22) + tilt * u + slope * v


def segment_partition(frame: Frame) -> Partition:
    """Couinaud segments by the planes of the hepatic veins, the umbilical fissure and the portal vein."""
    cava = np.array([22.0, -8.0])

    def plane(x: float, y: float) -> tuple[np.ndarray, float]:
        """Vertical plane from the cava through (x, y); positive to the patient's right of it."""
        dx, dy = x - cava[0], y - cava[1]
        normal = np.array([dy, -dx, 0.0]) / math.hypot(dx, dy)
        scaled = np.array([normal[0] / frame.sx, normal[1] / frame.sy, 0.0])
        return scaled, -float(normal[0] * cava[0] + normal[1] * cava[1])

    right_vein, middle_vein, fissure = plane(112, 34), plane(44, 70), plane(-14, 70)
    portal = 26.0 * frame.sz

    def classify(at: Coords) -> np.ndarray:
        upper = at.linear(EZ, -portal) > 0
        x, y, z = at.linear(EX), at.linear(EY), at.linear(EZ)
        floor = _liver_floor(frame, x / np.float32(frame.sx), y / np.float32(frame.sy))
        floor = (floor - np.float32(frame.liver_shift_mm / _FLOOR_SLOPE)) * np.float32(frame.sz)
        upper_left = z - floor > frame.diaphragm(x, y) - z  # half way between lower surface and dome
        right = at.linear(*middle_vein) > 0
        posterior = at.linear(*right_vein) > 0
        lateral = at.linear(*fissure) < 0
        number = np.where(posterior, np.where(upper, 7, 6), np.where(upper, 8, 5))
        left = np.where(lateral, np.where(upper_left, 2, 3), 4)
        number = np.where(right, number, left)
        u, v = at.linear(EX / frame.sx), at.linear(EY / frame.sy)
        caudate = (u < 30) & (u > -26) & (v < 17) & (at.linear(EZ, -8 * frame.sz) > 0)
        return (np.where(caudate, 1, number) - 1).astype(np.uint8)

    return Partition("liver", LIVER_SEGMENTS, classify)


def liver_hu(frame: Frame) -> float:
    """HU of the parenchyma; fat lowers every phase by the same amount."""
    normal = frame.hu("liver")
    plain = frame.anatomy.liver_hu_plain
    return normal if plain is None else normal - (58.0 - plain)


def add_liver(scene: Scene, frame: Frame) -> None:
    scene.add("liver", liver(frame), liver_hu(frame), "liver")
    scene.partitions.append(segment_partition(frame))
    cava, hilum = frame.point(22, -8, 84), (26, 16, 20)
    veins = []
    for x, y, z in ((98, 20, 30), (44, 58, 36), (-12, 50, 58), (80, 52, 44), (92, -30, 52)):
        middle = (cava + frame.point(x, y, z)) / 2 + (0, 0, 5)
        veins += [Capsule(cava, middle, 4.6, 3.0), Capsule(middle, frame.point(x, y, z), 3.0, 1.2)]
    scene.add("hepatic_veins", veins, frame.hu("vein"), None, only=frozenset({"liver"}))
    portal = [tube([frame.row(*hilum, 6), frame.row(50, 14, 24, 5), frame.row(74, 10, 26, 4)])]
    for x, y, z in ((104, 30, 4), (96, -30, 0), (92, 30, 56), (100, -24, 56)):
        portal.append(tube([frame.row(74, 10, 26, 4), frame.row(x, y, z, 1.3)], 2))
    portal.append(tube([frame.row(*hilum, 6), frame.row(8, 34, 38, 4.5), frame.row(-14, 42, 48, 3.6)]))
    scene.add("portal_branches", [p for t in portal for p in t], frame.hu("portal"), None, only=frozenset({"liver"}))


def add_spleen(scene: Scene, frame: Frame) -> None:
    """An ellipsoid bent round the stomach; its volume stays analytic. It grows forward, down and inwards."""
    drawn = frame.draw(140, 270)
    target = frame.anatomy.spleen_ml or drawn
    size = (target / (4 / 3 * math.pi * 21 * 36 * 54 / 1000)) ** (1 / 3)
    grow = size - 1.0
    axes = rotation(32, 0, 22)
    center = frame.point(-95, -39, 20) + np.array([24 * grow, 26 * grow, -26 * grow])
    semi = (21 * size, 36 * size, 54 * size)
    shape = Ellipsoid(center, semi, axes, bends=((0, 1, 0.004 / size), (0, 2, 0.0016 / size)))
    scene.add("spleen", shape, frame.hu("spleen"), "spleen")


def add_pancreas(scene: Scene, frame: Frame) -> None:
    rows = [
        frame.row(30, 8, -72, 12),
        frame.row(28, 12, -55, 14.5),
        frame.row(24, 17, -40, 14),
        frame.row(8, 24, -27, 9),
        frame.row(-10, 27, -18, 10),
        frame.row(-32, 18, -10, 10.5),
        frame.row(-54, 2, -2, 10.5),
        frame.row(-72, -14, 8, 9.5),
    ]
    scene.add("pancreas", tube(rows, 3), frame.hu("pancreas"), "pancreas")

    def classify(at: Coords) -> np.ndarray:
        x = at.linear(EX / frame.sx)
        return np.where(x > 10, np.uint8(0), np.where(x > -34, np.uint8(1), np.uint8(2)))

    scene.partitions.append(Partition("pancreas", PANCREAS_PARTS, classify))


def add_gallbladder(scene: Scene, frame: Frame) -> None:
    size = frame.draw(0.9, 1.12)
    scene.add("gallbladder_wall", Grown(gallbladder(frame, size), 1.5), frame.hu("bowel_wall") + 10, "")
    scene.add("gallbladder", gallbladder(frame, size), frame.hu("bile"), "gallbladder")


def gallbladder(frame: Frame, size: float) -> Ellipsoid:
    return Ellipsoid(frame.point(56, 48, -38), (14 * size, 14 * size, 33 * size), rotation(35, -8))


def kidney_shape(frame: Frame, side: str, size: float) -> Ellipsoid:
    """A bean: upper pole medial and behind, hilum turned forward, the left one higher."""
    s = 1 if side == "right" else -1
    center = frame.point(s * 60, -42, -52 if side == "right" else -40)
    return Ellipsoid(
        center, (25.5 * size, 29 * size, 56 * size), rotation(-8, s * 9, s * -28), bends=((0, 2, -s * 0.0030 / size),)
    )


def add_kidneys(scene: Scene, frame: Frame) -> None:
    """Cortex and medulla, fatty sinus, renal pelvis and proximal ureter."""
    for side, s in (("right", 1), ("left", -1)):
        size = frame.draw(0.93, 1.05)
        outer = kidney_shape(frame, side, size)
        center, axes = np.asarray(outer.center), outer.directions
        inner = Ellipsoid(
            center - axes @ np.array([s * 1.5, 0, 0]), tuple(0.70 * v for v in outer.semi), axes, bends=outer.bends
        )
        wide = frame.anatomy.pelvis_mm.get(side)
        half_depth = 5.5 if wide is None else wide / 2
        scene.add(
            f"perirenal_fat_{side}",
            Grown(outer, 6.0),
            frame.hu("fat"),
            "",
            "torso_fat",
            only=frozenset({"", "liver", f"iliopsoas_{side}", f"quadratus_lumborum_{side}", "colon", "small_bowel"}),
        )
        name = f"kidney_{side}"
        scene.add(name, outer, frame.hu("kidney_cortex"), name)
        scene.add(f"kidney_medulla_{side}", inner, frame.hu("kidney_medulla"), name)
        room = max(0.0, half_depth - 5.5)
        sinus_center = center - axes @ np.array([s * 15 * size, 0, 0])
        sinus = Ellipsoid(sinus_center, (13 * size + 0.5 * room, 9 * size + 0.9 * room, 21 * size + room), axes)
        scene.add(f"renal_sinus_{side}", sinus, frame.hu("fat"), "", "torso_fat")
        pelvis = Ellipsoid(sinus_center, (8 + 0.55 * room, half_depth, 12 + 1.3 * room), axes)
        urine = frame.hu("excreted")
        scene.add(f"renal_pelvis_{side}", pelvis, urine, "", f"renal_pelvis_{side}")
        start = np.asarray(sinus_center) - axes @ np.array([s * 6, 0, 8])
        ureter = [
            np.array([*start, 3.0]),
            frame.row(s * 40, -18, -100, 2.4),
            frame.row(s * 38, -10, -150, 2.4),
            frame.row(s * 44, -6, -220, 2.4),
            frame.row(s * 40, -14, -290, 2.4),
        ]
        scene.add(f"ureter_{side}", tube(ureter), urine, f"ureter_{side}")


def add_adrenals(scene: Scene, frame: Frame) -> None:
    """Two limbs and a body each."""
    for side, s, x, y, z in (("right", 1, 34, -34, 20), ("left", -1, -38, -24, 18)):
        top = frame.point(x, y, z + 12)
        limbs = [
            Capsule(top, frame.point(x, y + 3, z - 2), 3.4, 3.2),
            Capsule(frame.point(x, y + 3, z - 2), frame.point(x + s * 11, y - 14, z - 8), 3.0, 2.2),
            Capsule(frame.point(x, y + 3, z - 2), frame.point(x - s * 3, y - 15, z - 8), 3.0, 2.2),
        ]
        name = f"adrenal_gland_{side}"
        scene.add(
            f"adrenal_fat_{side}",
            [Capsule(c.a, c.b, c.ra + 3, c.rb + 3) for c in limbs],
            frame.hu("fat"),
            "",
            "torso_fat",
            only=frozenset({"", "liver", "stomach"}),
        )
        scene.add(name, limbs, frame.hu("adrenal"), name)


def add_pelvic_organs(scene: Scene, frame: Frame) -> None:
    """Bladder, and prostate with seminal vesicles or uterus with ovaries."""
    size = frame.draw(0.85, 1.15)
    if frame.sex == "M":
        vesicles = [Capsule(frame.point(s * 6, -12, -326), frame.point(s * 26, -16, -316), 4, 4.5) for s in (1, -1)]
        scene.add("seminal_vesicle", vesicles, 32, "seminal_vesicle")
        gland = Ellipsoid(frame.point(0, 8, -354), (21 * size, 15 * size, 17 * size))
        scene.add("prostate", gland, frame.hu("prostate"), "prostate")
    else:
        womb = Ellipsoid(frame.point(2, 4, -252), (24, 33, 20), rotation(-18))
        scene.add("uterus", womb, frame.hu("uterus"), "uterus")
        for side, s in (("right", 1), ("left", -1)):
            scene.add(f"ovary_{side}", Ellipsoid(frame.point(s * 48, -6, -262), (9, 12, 15)), 38, f"ovary_{side}")
    bladder = Ellipsoid(frame.point(0, 24, -302), (42 * size, 33 * size, 28 * size))
    scene.add("bladder_wall", Grown(bladder, 3.0), frame.hu("muscle") - 8, "", only=frozenset({""}))
    scene.add("urinary_bladder", bladder, frame.hu("urine"), "urinary_bladder")

"""Spine, ribs, sternum, shoulder girdle, pelvis and femora."""

from __future__ import annotations

import math
from itertools import pairwise

import numpy as np

from radvlm.phantom.frame import EZ, VERTEBRAE, Frame
from radvlm.phantom.scene import Scene
from radvlm.phantom.shapes import Capsule, Clipped, Coords, Ellipsoid, Field, Shape, rotation, tube

_CORTEX_MM = 1.6


def add_spine(scene: Scene, frame: Frame) -> None:
    """Discs, cord, posterior elements and vertebral bodies."""
    cortical, marrow = frame.hu("cortical"), frame.trabecular
    levels = list(VERTEBRAE)
    bodies = {level: vertebral_body(frame, level) for level in levels}
    discs = []
    for upper, lower in pairwise(levels):
        (top, half_top), (bottom, half_bottom) = frame.vertebra(upper), frame.vertebra(lower)
        gap = top[2] - half_top - bottom[2] - half_bottom
        center = (top + bottom) / 2
        semi = np.array(bodies[lower].semi) * (0.97, 0.97, 0)
        discs.append(Ellipsoid(center, (semi[0], semi[1], gap / 2 + 3), flat=True))
    low, half = frame.vertebra("L5")
    discs.append(Ellipsoid(low - (0, 3, half + 4), (23 * frame.sx, 16 * frame.sy, 7), rotation(-12), flat=True))
    scene.add("intervertebral_discs", discs, frame.hu("disc"), "", "intervertebral_discs")
    cord = [
        frame.row(0, frame.spine_y.at(z * frame.sz) / frame.sy - 27, z, 4.8 if z > 0 else 3.5)
        for z in (325, 280, 230, 170, 110, 50, 0, -20)
    ]
    canal = [
        frame.row(0, frame.spine_y.at(z * frame.sz) / frame.sy - 26, z, 8.5)
        for z in (325, 270, 210, 150, 90, 30, -30, -80, -120, -165, -190)
    ]
    for level in levels:
        _add_vertebra(scene, frame, level, bodies[level], cortical, marrow)
    scene.add("spinal_canal", tube(canal, 2), frame.hu("fluid") + 12, "")
    scene.add("spinal_cord", tube(cord, 2), frame.hu("cord"), "spinal_cord")


def vertebral_body(frame: Frame, level: str) -> Ellipsoid:
    """The drum of a vertebral body at full height."""
    center, half = frame.vertebra(level)
    grown = np.interp(center[2] / frame.sz, (-162, 16, 150, 309), (1.0, 0.86, 0.7, 0.6))
    return Ellipsoid(center, (25 * grown * frame.sx, 17.5 * grown * frame.sy + 1.0, half), flat=True)


def wedged_body(frame: Frame, level: str, loss: float) -> Clipped:
    """A body whose anterior height is reduced by ``loss``: cut by a plane through its upper posterior edge."""
    body = vertebral_body(frame, level)
    center, semi = np.asarray(body.center), body.semi
    drop = 2 * semi[2] * loss
    slope = drop / (2 * semi[1])  # z falls by `drop` from the posterior to the anterior edge
    weights = np.array([0, slope, 1.0]) / math.hypot(slope, 1.0)
    edge = center + np.array([0, -semi[1], semi[2]])
    return Clipped(body, weights, -float(weights @ edge))


def _add_vertebra(scene: Scene, frame: Frame, level: str, body: Ellipsoid, cortical: float, marrow: float) -> None:
    loss = frame.anatomy.height_loss.get(level)
    name = f"vertebrae_{level}"
    c = np.asarray(body.center)
    a, b, half = body.semi
    back = c[1] - b
    arch: list[Shape] = []
    for s in (-1, 1):
        pedicle = (s * 0.62 * a, back + 2, c[2] + 0.25 * half)
        joint = (s * (0.62 * a + 1), back - 15, c[2] - 0.1 * half)
        arch += [Capsule(pedicle, joint, 4.2, 4.8), Capsule(joint, (0, back - 25, c[2] - 0.45 * half), 3.6, 3.6)]
        reach = 40 if level[0] == "L" else 32
        height = c[2] + (0.1 if level[0] == "L" else 0.6) * half
        arch.append(Capsule(joint, (s * reach * frame.sx, back - (14 if level[0] == "L" else 22), height), 3.8, 3.4))
        arch.append(Capsule((joint[0], joint[1], joint[2] + half), (joint[0], joint[1], joint[2] - 1.3 * half), 4.4, 4))
    drop = half * (0.6 if level[0] == "L" else 1.5)
    arch.append(Capsule((0, back - 25, c[2] - 0.45 * half), (0, back - 45, c[2] - 0.45 * half - drop), 3.4, 3.6))
    scene.add(f"arch_{level}", arch, 420, name)
    shape: Shape = body if loss is None else wedged_body(frame, level, loss)
    # a fractured body is denser: the same bone in less height
    inner = marrow if loss is None else marrow + 60 * loss
    scene.add(name, shape, cortical, name, insets=((_CORTEX_MM, inner),))


def add_ribs(scene: Scene, frame: Frame) -> None:
    """Twelve pairs along the chest wall, cartilages, sternum, clavicles, scapulae."""
    cartilage: list[Shape] = []
    ends: dict[tuple[int, int], np.ndarray] = {}
    for number in range(1, 13):
        z_head = VERTEBRAE[f"T{number}"][0] + 6
        drop = np.interp(number, (1, 3, 7, 10, 12), (28, 52, 82, 88, 55))
        last = np.interp(number, (1, 3, 7, 10, 11, 12), (58, 62, 52, 28, -8, -38))
        for side, s in (("right", 1), ("left", -1)):
            rows = [np.array([s * 12 * frame.sx, frame.spine_y.at(z_head * frame.sz) - 12, z_head * frame.sz, 4.6])]
            for angle in np.linspace(-76, last, 9):
                share = (angle + 76) / 140
                z = (z_head - drop * (share**0.9 if share > 0 else 0)) * frame.sz
                rows.append(np.array([*_on_wall(frame, angle, z, 5.5, s), z, 4.7 if number < 11 else 4.0]))
            ends[number, s] = rows[-1]
            pieces = tube(rows, 2)
            name = f"rib_{side}_{number}"
            scene.add(name, pieces, 480, name, insets=((2.0, frame.hu("rib_marrow")),))
            if number <= 10:
                cartilage += _cartilage(frame, number, s, ends)
    scene.add("costal_cartilages", cartilage, frame.hu("cartilage"), "costal_cartilages")
    front = _front(frame, 180) - 1
    tilt = rotation(7)
    scene.add(
        "sternum",
        (
            Ellipsoid((0, front + 1, 160 * frame.sz), (17, 6.0, 56 * frame.sz), tilt, flat=True),
            Ellipsoid((0, _front(frame, 226), 229 * frame.sz), (27, 6.5, 22 * frame.sz), rotation(20), flat=True),
            Capsule((0, _front(frame, 105), 104 * frame.sz), (0, _front(frame, 86), 86 * frame.sz), 5, 3),
        ),
        300,
        "sternum",
        insets=((2.2, 140.0),),
    )
    for side, s in (("right", 1), ("left", -1)):
        y = _front(frame, 250)
        clavicle = [
            frame.row(s * 24, y / frame.sy + 2, 250, 8),
            frame.row(s * 62, y / frame.sy + 6, 266, 6),
            frame.row(s * 105, y / frame.sy - 14, 284, 6),
            frame.row(s * 146, y / frame.sy - 34, 296, 7),
        ]
        scene.add(f"clavicula_{side}", tube(clavicle), 450, f"clavicula_{side}", insets=((2.2, 220.0),))
        blade = Ellipsoid(frame.point(s * 108, -84, 215), (36, 4.5, 66), rotation(8, 0, s * 32))
        spine = Capsule(frame.point(s * 88, -96, 252), frame.point(s * 148, -66, 286), 4.5, 6)
        scene.add(f"scapula_{side}", (blade, spine), 420, f"scapula_{side}", insets=((2.0, 250.0),))


def _on_wall(frame: Frame, angle_deg: float, z: float, outside_mm: float, s: int) -> tuple[float, float]:
    """(x, y) just outside the cavity at an angle from lateral (-90 posterior, 90 anterior)."""
    a, b, y0 = (profile.at(max(z, -60.0)) for profile in frame.cavity)
    cosine, sine = math.cos(math.radians(angle_deg)), math.sin(math.radians(angle_deg))
    scale = (cosine**4 + sine**4 + 1.3 * cosine**2 * sine**2) ** -0.25
    return s * (a * scale + outside_mm) * cosine, y0 + (b * scale + outside_mm) * sine


def _front(frame: Frame, z: float) -> float:
    """y of the sternum's center at an unscaled height."""
    return frame.cavity[1].at(z * frame.sz) + frame.cavity[2].at(z * frame.sz) + 5.0


def _cartilage(frame: Frame, number: int, s: int, ends: dict[tuple[int, int], np.ndarray]) -> tuple[Shape, ...]:
    start = ends[number, s]
    if number <= 7:
        z = np.interp(number, (1, 2, 7), (240, 214, 112)) * frame.sz
        goal = np.array([s * 20 * frame.sx, _front(frame, z / frame.sz) - 1, z, 4.5])
    else:
        above = ends[number - 1, s]
        goal = np.array([*(0.55 * above[:3] + 0.45 * np.array([s * 30, above[1] + 8, above[2] + 6])), 4.0])
    angle = math.degrees(math.atan2(1.0, 0.6))
    _, y = _on_wall(frame, angle, (start[2] + goal[2]) / 2, 5.5, s)
    middle = np.array([(start[0] + goal[0]) / 2, max(y, (start[1] + goal[1]) / 2), (start[2] + goal[2]) / 2 - 6, 4.5])
    return tube([start, middle, goal], 3)


def add_pelvis(scene: Scene, frame: Frame) -> None:
    """Sacrum, hip bones, femora."""
    marrow = frame.hu("pelvic_marrow")
    sacral = [
        (-50, -190, 46, 16, 14),
        (-62, -212, 40, 14, 14),
        (-74, -234, 31, 12, 13),
        (-82, -255, 24, 10, 12),
        (-85, -275, 17, 8, 11),
        (-80, -294, 9, 6, 9),
    ]
    pieces = [
        Ellipsoid(frame.point(0, y, z), (a * frame.sx, b, c * frame.sz + 2), rotation(-25 + 8 * n), flat=n < 4)
        for n, (y, z, a, b, c) in enumerate(sacral)
    ]
    scene.add("sacrum", pieces, 380, "sacrum", insets=((2.2, marrow * 0.8),))
    for side, s in (("right", 1), ("left", -1)):
        wing = _iliac_wing(frame, s)
        socket = Ellipsoid(frame.point(s * 88, -14, -308), (30, 31, 30))
        pubis = tube([frame.row(s * 72, 8, -318, 11), frame.row(s * 42, 40, -334, 9), frame.row(s * 8, 48, -344, 10)])
        ischium = tube(
            [
                frame.row(s * 78, -36, -320, 14),
                frame.row(s * 68, -44, -352, 15),
                frame.row(s * 48, -8, -372, 9),
                frame.row(s * 16, 34, -356, 7),
            ]
        )
        neck = tube([frame.row(s * 70, -40, -285, 14), frame.row(s * 58, -58, -250, 12)])
        scene.add(f"hip_{side}", (wing, *neck, socket, *pubis, *ischium), 480, f"hip_{side}", insets=((2.4, marrow),))
        head = Ellipsoid(frame.point(s * 93, -12, -316), (24.5, 24.5, 24.5))
        gap = Ellipsoid(frame.point(s * 93, -12, -316), (27.5, 27.5, 27.5))
        scene.add(f"hip_joint_{side}", gap, 60, "")
        shaft = tube(
            [
                frame.row(s * 93, -12, -316, 16),
                frame.row(s * 118, -18, -336, 16),
                frame.row(s * 136, -22, -352, 18),
                frame.row(s * 134, -18, -385, 15),
                frame.row(s * 130, -14, -425, 14),
            ]
        )
        scene.add(f"femur_{side}", (head, *shaft), 560, f"femur_{side}", insets=((3.0, marrow + 60),))


def _iliac_wing(frame: Frame, s: int) -> Field:
    """A curved plate 9 mm thick between the sacrum and the crest."""
    center = frame.point(s * 96, -22, -232)
    axes = rotation(0, s * 14, s * -40)
    plate = Ellipsoid(center, (7.5, 66, 66), axes, bends=((0, 1, s * 0.0035), (0, 2, s * 0.001)))
    top = 66 * frame.sz

    def value(at: Coords) -> np.ndarray:
        shell = plate.value(at)
        return np.maximum(shell, at.linear(EZ, -float(center[2]) - top))

    return Field(plate.bounds(), value)


def _under_skin(frame: Frame, shape: Shape, share: float = 0.75) -> Field:
    """The part of a shape that leaves ``share`` of the subcutaneous fat free, outside the chest and belly."""

    def value(at: Coords) -> np.ndarray:
        return np.maximum(
            np.maximum(shape.value(at), frame.outline(at) + np.float32(2 + share * frame.fat_mm)),
            np.float32(6) - frame.wall(at),
        )

    return Field(shape.bounds(), value)


def _add_girdles(scene: Scene, frame: Frame) -> None:
    """Muscles of the shoulders, the chest wall and the thighs."""
    hu = frame.hu("muscle")
    for side, s in (("right", 1), ("left", -1)):
        shoulder = Ellipsoid(frame.point(s * 122, -48, 268), (58, 50, 78), rotation(0, s * 12, 0))
        scene.add(f"shoulder_{side}", _under_skin(frame, shoulder), hu, "", "skeletal_muscle")
        blade = Ellipsoid(frame.point(s * 100, -78, 205), (46, 34, 92), rotation(0, 0, s * 30))
        scene.add(f"back_{side}", _under_skin(frame, blade, 0.6), hu, "", "skeletal_muscle")
        neck = Ellipsoid(frame.point(s * 42, -42, 318), (44, 34, 34))
        scene.add(f"neck_{side}", _under_skin(frame, neck, 0.5), hu, "", "skeletal_muscle")
        chest = Ellipsoid(frame.point(s * 74, 62, 232), (62, 26, 50), rotation(-22, 0, s * -24))
        name = f"pectoralis_major_{side}"
        scene.add(name, _under_skin(frame, chest, 0.6), hu, name, "skeletal_muscle")
        thigh = Ellipsoid(frame.point(s * 92, -4, -420), (64, 74, 88))
        scene.add(f"thigh_{side}", _under_skin(frame, thigh), hu, "", "skeletal_muscle")
        adductor = Ellipsoid(frame.point(s * 48, 12, -372), (34, 36, 40))
        scene.add(f"adductors_{side}", adductor, hu, "", "skeletal_muscle")
        obturator = Ellipsoid(frame.point(s * 56, 4, -318), (12, 40, 34), rotation(0, 0, s * 20))
        scene.add(f"obturator_{side}", obturator, hu, "", "skeletal_muscle")


def add_muscles(scene: Scene, frame: Frame) -> None:
    """Paraspinal, iliopsoas and gluteal muscles, and the girdles."""
    hu = frame.hu("muscle")
    _add_girdles(scene, frame)
    for side, s in (("right", 1), ("left", -1)):
        back = [
            frame.row(s * 27, (frame.spine_y.at(z * frame.sz) - 40) / frame.sy, z, r)
            for z, r in (
                (310, 12),
                (250, 15),
                (180, 17),
                (100, 19),
                (20, 22),
                (-60, 25),
                (-130, 25),
                (-190, 20),
                (-235, 12),
            )
        ]
        scene.add(f"autochthon_{side}", tube(back, 2), hu, f"autochthon_{side}", "skeletal_muscle")
        psoas = [
            frame.row(s * 30, frame.spine_front(-10) - 22, -10, 6),
            frame.row(s * 36, -34, -60, 13),
            frame.row(s * 41, -30, -110, 18),
            frame.row(s * 48, -26, -165, 20),
            frame.row(s * 62, -8, -220, 19),
            frame.row(s * 82, 16, -280, 18),
            frame.row(s * 98, 20, -325, 16),
            frame.row(s * 112, -6, -365, 9),
        ]
        iliacus = Ellipsoid(frame.point(s * 84, -4, -228), (12, 44, 48), rotation(0, s * 12, s * -40))
        scene.add(f"iliopsoas_{side}", (*tube(psoas, 2), iliacus), hu, f"iliopsoas_{side}", "skeletal_muscle")
        quadratus = [frame.row(s * 52, -54, -10, 7), frame.row(s * 62, -52, -80, 13), frame.row(s * 72, -52, -160, 11)]
        scene.add(f"quadratus_lumborum_{side}", tube(quadratus, 2), hu, f"quadratus_lumborum_{side}", "skeletal_muscle")
        medius = Ellipsoid(frame.point(s * 122, -24, -250), (20, 46, 58), rotation(0, s * 10, s * -38))
        scene.add(f"gluteus_medius_{side}", medius, hu, f"gluteus_medius_{side}", "skeletal_muscle")
        maximus = Ellipsoid(frame.point(s * 76, -78, -300), (52, 22, 68), rotation(10, 0, s * 28))
        scene.add(f"gluteus_maximus_{side}", maximus, hu, f"gluteus_maximus_{side}", "skeletal_muscle")

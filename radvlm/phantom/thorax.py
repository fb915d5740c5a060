"""Lungs with lobes, airways, heart with chambers, mediastinum."""

from __future__ import annotations

import numpy as np

from radvlm.phantom.frame import EX, EY, EZ, Frame
from radvlm.phantom.scene import Partition, Scene
from radvlm.phantom.shapes import Capsule, Coords, Ellipsoid, Field, Grown, Shape, smooth_max, tube
from radvlm.types.anatomy import LUNG_LOBES


def lung(frame: Frame, side: str) -> Field:
    """Inside the chest wall, above the diaphragm, beside the mediastinum."""
    s = 1.0 if side == "right" else -1.0

    def value(at: Coords) -> np.ndarray:
        inside = smooth_max(frame.wall(at) + 2, at.linear(EX * -s, 7.0), 14.0)
        return smooth_max(inside, frame.diaphragm(at.linear(EX), at.linear(EY)) - at.linear(EZ), 8.0)

    low = frame.point(min(0, s * 140), -100, -15)
    high = frame.point(max(0, s * 140), 100, 325)
    return Field((low, high), value)


def lobe_partition(frame: Frame, side: str) -> Partition:
    """Oblique fissure from T4 behind to the diaphragm in front; a horizontal one on the right."""
    oblique = np.array([0, 0.93 / frame.sy, 1.0 / frame.sz])

    def right(at: Coords) -> np.ndarray:
        lower = at.linear(oblique, 0.93 * 80 - 226) < 0
        middle = at.linear(EZ, -168 * frame.sz) < 0
        return np.where(lower, np.uint8(2), np.where(middle, np.uint8(1), np.uint8(0)))

    def left(at: Coords) -> np.ndarray:
        return np.where(at.linear(oblique, 0.93 * 80 - 230) < 0, np.uint8(1), np.uint8(0))

    lobes = tuple(lobe for lobe in LUNG_LOBES if lobe.endswith(side))
    return Partition(f"lung_{side}", lobes, right if side == "right" else left)


def add_lungs(scene: Scene, frame: Frame) -> None:
    for side in ("right", "left"):
        name = f"lung_{side}"
        scene.add(name, lung(frame, side), frame.hu("lung"), name)
        scene.partitions.append(lobe_partition(frame, side))
    scene.add(
        "mediastinal_fat",
        Ellipsoid(frame.point(-3, -8, 200), (34 * frame.sx, 64 * frame.sy, 108 * frame.sz)),
        frame.hu("fat"),
        "",
        "torso_fat",
        only=frozenset({"lung_right", "lung_left"}),
    )


def add_lung_vessels(scene: Scene, frame: Frame) -> None:
    """Texture: vessels that branch from the hila; they stay part of the lung in every mask."""
    rng, pieces = frame.rng, list[Shape]()
    for s in (1, -1):
        hilum = frame.point(s * 42, -8, 178)
        for elevation in np.linspace(-68, 62, 8):
            for azimuth in np.linspace(-70, 64, 5):
                e, a = np.radians(elevation + rng.uniform(-8, 8)), np.radians(azimuth + rng.uniform(-9, 9))
                way = np.array([s * np.cos(e) * np.cos(a), np.cos(e) * np.sin(a), np.sin(e)])
                reach = rng.uniform(72, 92) * np.array([0.85, 0.85, 1.15])
                middle = hilum + way * reach * 0.55
                pieces.append(Capsule(hilum, middle, 4.0, 2.0))
                for _ in range(2):
                    pieces.append(Capsule(middle, hilum + way * reach + rng.uniform(-16, 16, 3), 1.9, 0.6))
    scene.add("lung_vessels", pieces, frame.hu("pulmonary") * 0.6, None, only=frozenset({"lung_right", "lung_left"}))


def heart_shape(frame: Frame) -> Ellipsoid:
    axis = np.array([-0.74, 0.46, -0.49])
    axis /= np.linalg.norm(axis)
    second = np.cross(EZ, axis)
    second /= np.linalg.norm(second)
    axes = np.stack([axis, second, np.cross(axis, second)], axis=1)
    size = 0.5 * (frame.sx + frame.sz)
    return Ellipsoid(frame.point(-17, 20, 138), (66 * size, 50 * size, 47 * size), axes)


def add_heart(scene: Scene, frame: Frame) -> None:
    heart = heart_shape(frame)
    scene.add(
        "pericardial_fat",
        Grown(heart, 4.0),
        frame.hu("fat"),
        "",
        "torso_fat",
        only=frozenset({"lung_right", "lung_left"}),
    )
    scene.add("heart", heart, frame.hu("muscle") + 12, "heart")
    blood, vein = frame.hu("blood"), frame.hu("pulmonary")
    h, axes = np.asarray(heart.center), heart.directions
    size = heart.semi[0] / 66

    def chamber(key: str, along: float, across: float, up: float, semi: tuple[float, float, float], hu: float) -> None:
        center = h + axes @ (np.array([along, across, up]) * size)
        # a chamber stays inside the heart
        shape = Ellipsoid(center, tuple(v * size for v in semi), axes)
        scene.add(key, shape, hu, "heart", key, only=frozenset({"heart"}))

    # along the long axis to the apex; across = anterior-right (+) or posterior-left (-)
    chamber("heart_myocardium", 18, -9, 6, (40, 31, 30), frame.hu("myocardium"))
    chamber("heart_ventricle_left", 15, -9, 6, (31, 20, 19), blood)
    chamber("heart_ventricle_right", 14, 20, -22, (34, 21, 17), vein)
    chamber("heart_atrium_left", -34, -18, 14, (22, 26, 22), blood)
    chamber("heart_atrium_right", -36, 24, -12, (22, 22, 24), vein)


def add_airways(scene: Scene, frame: Frame) -> None:
    """Trachea, carina at T5, main bronchi with walls; esophagus behind."""
    trachea = [
        frame.row(0, -16, 330, 9),
        frame.row(0, -16, 290, 9),
        frame.row(1, -18, 250, 8.8),
        frame.row(2, -20, 212, 9),
    ]
    right = [frame.row(2, -20, 212, 8), frame.row(22, -16, 190, 7.2), frame.row(44, -16, 172, 6)]
    left = [frame.row(2, -20, 212, 7.5), frame.row(-24, -20, 189, 6.4), frame.row(-50, -20, 174, 5.6)]
    branches = [
        [frame.row(44, -16, 172, 4.5), frame.row(58, -24, 140, 3.6), frame.row(70, -40, 105, 2.4)],
        [frame.row(24, -16, 188, 5), frame.row(50, -12, 212, 3.6), frame.row(66, -16, 240, 2.2)],
        [frame.row(-50, -20, 174, 4.4), frame.row(-62, -34, 140, 3.4), frame.row(-74, -44, 105, 2.2)],
        [frame.row(-50, -20, 174, 4.4), frame.row(-58, -8, 205, 3.4), frame.row(-64, -10, 240, 2.2)],
    ]
    tree = [*tube(trachea), *tube(right), *tube(left)]
    small = [piece for rows in branches for piece in tube(rows)]
    wall = [Capsule(p.a, p.b, p.ra + 1.4, p.rb + 1.4) for p in (*tree, *small)]
    esophagus = [
        frame.row(-6, -34, 330, 8),
        frame.row(-7, -37, 250, 8),
        frame.row(-5, -38, 190, 8.5),
        frame.row(-12, -26, 130, 9),
        frame.row(-24, -16, 92, 9.5),
        frame.row(-38, -8, 70, 10),
    ]
    scene.add("esophagus", tube(esophagus), frame.hu("esophagus"), "esophagus")
    scene.add("airway_wall", wall, 30, "")
    scene.add("bronchi", [*tube(right), *tube(left), *small], frame.hu("air"), "", "lung_trachea_bronchia")
    scene.add("trachea", tube(trachea), frame.hu("air"), "trachea", "lung_trachea_bronchia")


def thoracic_vessels() -> dict[str, list[tuple[float, float, float, float]]]:
    """Rows (x, y, z, radius mm) of the large vessels of the chest, before scaling."""
    return {
        "pulmonary_artery": [
            (-16, 40, 165, 14),
            (-17, 26, 188, 13.5),
            (-8, 8, 196, 12.5),
            (14, -4, 192, 11),
            (44, -8, 180, 9),
        ],
        "pulmonary_artery_left": [(-14, 14, 196, 12.5), (-32, -4, 194, 11), (-48, -14, 182, 9)],
        "superior_vena_cava": [(24, 14, 250, 8.5), (26, 12, 220, 9.5), (27, 12, 190, 10.5), (26, 12, 168, 11.5)],
        "brachiocephalic_vein_left": [(24, 14, 250, 7.5), (0, 26, 252, 7), (-28, 18, 262, 7), (-44, 4, 280, 7)],
        "brachiocephalic_vein_right": [(24, 14, 250, 7.5), (32, 8, 266, 7.5), (40, -2, 284, 7.5)],
        "brachiocephalic_trunk": [(2, 4, 240, 6.5), (10, -2, 262, 6), (20, -8, 284, 5.5)],
        "common_carotid_artery_left": [(-8, -2, 242, 4), (-14, -6, 270, 3.8), (-18, -8, 318, 3.6)],
        "subclavian_artery_left": [(-16, -14, 240, 5), (-24, -18, 270, 4.8), (-46, -16, 296, 4.6)],
    }

"""The patient's proportions: scale, outline, thoracic and abdominal cavity, spine, diaphragm.

The frame has its origin on the midline at the T12/L1 disc; x to the patient's right, y anterior, z up, in mm.
All numbers are drawn once from the anatomy stream of the seed; nothing depends on the grid.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from radvlm.phantom.hu import tissue_hu, trabecular_hu
from radvlm.phantom.shapes import Coords, Profile, rotation, smooth_max

EX, EY, EZ = np.eye(3)
#: Vertebra -> height of its body's center, and half height of the body, in mm before scaling.
VERTEBRAE: dict[str, tuple[float, float]] = {
    "C7": (309, 6.5),
    "T1": (291, 7.5),
    "T2": (271, 8.0),
    "T3": (250, 8.5),
    "T4": (228, 9.0),
    "T5": (205, 9.5),
    "T6": (181, 9.8),
    "T7": (156, 10.2),
    "T8": (130, 10.6),
    "T9": (103, 11.0),
    "T10": (75, 11.6),
    "T11": (46, 12.2),
    "T12": (16, 12.8),
    "L1": (-18, 13.4),
    "L2": (-54, 13.7),
    "L3": (-90, 13.9),
    "L4": (-126, 13.9),
    "L5": (-162, 13.6),
}
_SKIN_Z = (-420, -370, -320, -280, -230, -170, -110, -40, 30, 100, 160, 210, 250, 280, 310, 345)
_SKIN_X = (158, 172, 182, 182, 172, 160, 153, 154, 160, 166, 168, 172, 182, 190, 184, 120)
_SKIN_Y = (98, 112, 117, 115, 110, 106, 106, 108, 111, 115, 116, 112, 104, 92, 78, 66)
_SKIN_Y0 = (-4, -4, -4, -4, -3, -1, 0, 0, 0, 0, -1, -4, -11, -18, -24, -24)
_CAVITY_Z = (-390, -350, -310, -270, -220, -170, -110, -40, 30, 100, 160, 210, 250, 280, 304, 320)
_CAVITY_X = (26, 48, 66, 86, 108, 121, 124, 127, 131, 134, 131, 121, 103, 78, 46, 12)
_CAVITY_Y = (26, 48, 64, 73, 78, 80, 80, 83, 87, 90, 88, 80, 66, 49, 30, 10)
_CAVITY_Y0 = (-4, 0, 2, 4, 6, 7, 6, 4, 2, 0, -2, -6, -14, -22, -28, -30)
_SPINE_Z = (-190, -162, -126, -90, -54, 0, 60, 130, 200, 250, 290, 330)
_SPINE_Y = (-50, -43, -36, -33, -35, -42, -50, -56, -54, -48, -40, -34)


@dataclass
class Anatomy:
    """Organ-wide abnormalities, None or empty where the organ is normal."""

    spleen_ml: float | None = None
    liver_ml: float | None = None
    liver_hu_plain: float | None = None
    aorta_mm: float | None = None
    pelvis_mm: dict[str, float] = field(default_factory=dict)
    height_loss: dict[str, float] = field(default_factory=dict)


class Frame:
    """Proportions of one patient."""

    def __init__(self, seed: int, sex: str, age_years: float, phase: str, anatomy: Anatomy) -> None:
        self.rng = np.random.Generator(np.random.PCG64(np.random.SeedSequence([seed, 0])))
        self.sex, self.age_years, self.phase, self.anatomy = sex, age_years, phase, anatomy
        small = 0.95 if sex == "F" else 1.0
        self.sx = small * self.draw(0.96, 1.05)
        self.sy = small * self.draw(0.95, 1.06)
        self.sz = small * self.draw(0.96, 1.04)
        self.fat_mm = self.draw(9, 22) * (1.2 if sex == "F" else 1.0)
        #: Rotation from world to patient: nobody lies perfectly straight.
        self.tilt = rotation(self.draw(-1.5, 1.5), self.draw(-1.5, 1.5), self.draw(-2.5, 2.5))
        girth = max(0.0, self.fat_mm - 14)
        self.skin = self._tube(_SKIN_Z, _SKIN_X, _SKIN_Y, _SKIN_Y0, girth)
        self.cavity = self._tube(_CAVITY_Z, _CAVITY_X, _CAVITY_Y, _CAVITY_Y0, 0.0)
        self.spine_y = Profile([z * self.sz for z in _SPINE_Z], [y * self.sy for y in _SPINE_Y])
        #: How far the liver's lower surface is shifted to reach its volume; set when the liver is built.
        self.liver_shift_mm = 0.0
        self.trabecular = trabecular_hu(age_years) + self.draw(-12, 12)

    def draw(self, low: float, high: float) -> float:
        return float(self.rng.uniform(low, high))

    def hu(self, material: str) -> float:
        return tissue_hu(material, self.phase)

    def point(self, x: float, y: float, z: float) -> np.ndarray:
        """Position scaled to the patient."""
        return np.array([x * self.sx, y * self.sy, z * self.sz])

    def row(self, x: float, y: float, z: float, radius: float) -> np.ndarray:
        """Row for `tube`: scaled position and unscaled radius."""
        return np.array([x * self.sx, y * self.sy, z * self.sz, radius])

    def vertebra(self, level: str) -> tuple[np.ndarray, float]:
        """Center of a vertebral body and half its height, in mm."""
        z, half = VERTEBRAE[level]
        return np.array([0.0, self.spine_y.at(z * self.sz), z * self.sz]), half * self.sz

    def spine_front(self, z: float) -> float:
        """y (unscaled) of the front of the vertebral bodies at an unscaled height."""
        return (self.spine_y.at(z * self.sz) + 17.0) / self.sy

    def outline(self, at: Coords) -> np.ndarray:
        """About mm from the skin, negative inside the body."""
        return _squircle(at, self.skin, 0.9)

    def wall(self, at: Coords) -> np.ndarray:
        """About mm from the inner wall of the chest, abdomen and pelvis, negative inside."""
        return _squircle(at, self.cavity, 1.3)

    def diaphragm(self, x: np.ndarray, y: np.ndarray) -> np.ndarray:
        """Height of the diaphragm: two domes, the right one higher, with deep posterior recesses."""
        sx, sy, sz = (np.float32(s) for s in (self.sx, self.sy, self.sz))
        back = np.float32(88) * ((y / sy - np.float32(14)) / np.float32(95)) ** 2
        right = np.float32(106) - np.float32(95) * ((x / sx - np.float32(62)) / np.float32(100)) ** 2
        left = np.float32(95) - np.float32(95) * ((x / sx + np.float32(64)) / np.float32(96)) ** 2
        return (smooth_max(right, left, 20.0) - back) * sz

    def _tube(
        self,
        heights: tuple[float, ...],
        half_x: tuple[float, ...],
        half_y: tuple[float, ...],
        center_y: tuple[float, ...],
        extra: float,
    ) -> tuple[Profile, Profile, Profile]:
        z = [h * self.sz for h in heights]
        return (
            Profile(z, [v * self.sx + extra for v in half_x]),
            Profile(z, [v * self.sy + extra for v in half_y]),
            Profile(z, [v * self.sy for v in center_y]),
        )


def _squircle(at: Coords, tube: tuple[Profile, Profile, Profile], mix: float) -> np.ndarray:
    """Cross-section (x/a)^4 + (y/b)^4 + mix (x/a)^2 (y/b)^2 = 1; mix 2 would be an ellipse."""
    z = at.linear(EZ)
    half_y = tube[1](z)
    u = (at.linear(EX) / tube[0](z)) ** 2
    v = ((at.linear(EY) - tube[2](z)) / half_y) ** 2
    quartic = u * u + v * v
    quartic += np.float32(mix) * u * v
    np.sqrt(quartic, out=quartic)
    np.sqrt(quartic, out=quartic)
    quartic -= 1
    quartic *= half_y
    return quartic

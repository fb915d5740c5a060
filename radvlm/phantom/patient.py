"""The whole scene of one patient, in painting order."""

from __future__ import annotations

import numpy as np

from radvlm.phantom import abdomen, skeleton, thorax, tubes
from radvlm.phantom.frame import EY, Frame
from radvlm.phantom.scene import Scene
from radvlm.phantom.shapes import Coords, Field


def build_scene(frame: Frame) -> Scene:
    """Every healthy (or organ-wide abnormal) structure; focal lesions come later."""
    scene = Scene()
    add_body(scene, frame)
    skeleton.add_muscles(scene, frame)
    thorax.add_lungs(scene, frame)
    thorax.add_lung_vessels(scene, frame)
    tubes.add_bowel(scene, frame)
    abdomen.add_pelvic_organs(scene, frame)
    thorax.add_airways(scene, frame)
    thorax.add_heart(scene, frame)
    abdomen.add_liver(scene, frame)
    abdomen.add_pancreas(scene, frame)
    abdomen.add_gallbladder(scene, frame)
    abdomen.add_kidneys(scene, frame)
    abdomen.add_adrenals(scene, frame)
    tubes.add_vessels(scene, frame)
    abdomen.add_spleen(scene, frame)
    skeleton.add_ribs(scene, frame)
    skeleton.add_pelvis(scene, frame)
    skeleton.add_spine(scene, frame)
    return scene


def add_body(scene: Scene, frame: Frame) -> None:
    """Skin, subcutaneous fat, the muscular wall and the fat inside it."""
    low, high = frame.point(-240, -175, -430), frame.point(240, 175, 350)
    box = (low, high)
    scene.add("skin", Field(box, frame.outline), frame.hu("skin"), "")
    scene.add(
        "subcutaneous_fat",
        Field(box, lambda at: frame.outline(at) + np.float32(2.0)),
        frame.hu("fat"),
        "",
        "subcutaneous_fat",
    )
    scene.add("muscle_wall", Field(box, lambda at: _wall_muscle(frame, at)), frame.hu("muscle"), "", "skeletal_muscle")
    inner = (frame.point(-150, -105, -395), frame.point(150, 105, 325))
    scene.add("cavity", Field(inner, frame.wall), frame.hu("fat"), "", "torso_fat")


def _wall_muscle(frame: Frame, at: Coords) -> np.ndarray:
    """Around the cavity, thicker behind, but never into the subcutaneous fat."""
    thick = np.clip(at.linear(EY * -0.25, 11.0), 9, 34)
    return np.maximum(frame.wall(at) - thick, frame.outline(at) + np.float32(2.0 + 0.55 * frame.fat_mm))

"""Display windows, and which one a report section is read in.

Widths and levels are the usual settings of abdominal and chest reading; the gray value follows DICOM's LINEAR
function (PS3.3 C.11.2.1.2).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Window:
    """``width`` and ``level`` in HU; ``key`` is the name used in the page."""

    key: str
    name: str
    width: int
    level: int


WINDOWS = {
    w.key: w
    for w in (
        Window("soft", "Soft tissue", 400, 40),
        Window("lung", "Lung", 1500, -600),
        Window("bone", "Bone", 1800, 400),
        Window("liver", "Liver", 160, 70),
        Window("brain", "Brain", 80, 40),
    )
}

#: Report section -> window; every other section is read in ``soft``.
SECTION_WINDOW = {"lungs": "lung", "airways": "lung", "bones": "bone", "liver": "liver", "head": "brain"}


def section_window(section: str) -> Window:
    """The window in which findings of a section are read."""
    return WINDOWS[SECTION_WINDOW.get(section, "soft")]


def gray_levels(hu: np.ndarray, window: Window) -> np.ndarray:
    """uint8 gray values: ((HU - (level - 0.5)) / (width - 1) + 0.5) x 255, clipped and rounded."""
    scaled = ((hu.astype(np.float32) - (window.level - 0.5)) / (window.width - 1) + 0.5) * 255
    return np.rint(np.clip(scaled, 0, 255)).astype(np.uint8)

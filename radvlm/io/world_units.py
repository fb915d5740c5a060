"""Lengths of a header in another unit than mm, converted where the header can be right."""

from __future__ import annotations

import numpy as np

from radvlm.errors import GridError
from radvlm.types.provenance import Decision

#: Voxels of a scan of a person have sides between these, mm, with room for what is checked elsewhere.
LEAST_MM, MOST_MM = 0.01, 50.0


def in_mm(
    affine: np.ndarray, word: str, factor: float, name: str, step: str
) -> tuple[np.ndarray, tuple[Decision, ...]]:
    """The affine in mm, unless only the unconverted numbers make sense for a scan, and what was done.

    Converting as the header says is no fault; whether the sizes are those of a person is asked later (``size_rulers``).
    """
    spacing = np.linalg.norm(affine[:3, :3], axis=0)
    as_stated, as_mm = (
        bool((values > LEAST_MM).all() and (values < MOST_MM).all()) for values in (spacing * factor, spacing)
    )
    if as_stated:
        what = f"World units of the header are {word}; converted to mm."
        scaled = affine.copy()
        scaled[:3] *= factor
        return scaled, (Decision(step, what),)
    if as_mm:
        what = f"The header says {word}, but its voxel sizes make sense only in mm: taken as mm."
        return affine, (Decision(step, what, warning=True),)
    raise GridError(
        "voxel sizes make sense in the header's units",
        f"{name}: {spacing.tolist()} {word}",
        "Repair the header; radvlm reads mm",
    )

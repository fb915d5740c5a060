"""Lengths in meters and centimeters: converted without a warning where the header is right."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from radvlm.errors import GridError
from radvlm.io import load_volume
from radvlm.io.world_units import in_mm


@pytest.mark.parametrize(
    ("side", "factor", "side_mm", "is_warned"),
    [
        (0.004, 1000.0, 4.0, False),  # m
        (0.4, 10.0, 4.0, False),  # cm
        (4000.0, 0.001, 4.0, False),  # um
        (4.0, 1000.0, 4.0, True),  # called m, and is mm
        (0.02, 1000.0, 20.0, False),
    ],
)
def test_an_affine_in_another_unit(side: float, factor: float, side_mm: float, is_warned: bool) -> None:
    affine, told = in_mm(np.diag([side, side, side, 1.0]), "units", factor, "a.nrrd", "nrrd")
    assert np.allclose(affine, np.diag([side_mm, side_mm, side_mm, 1.0])) and affine[3, 3] == 1
    assert [decision.warning for decision in told] == [is_warned]


def test_lengths_that_fit_no_unit() -> None:
    with pytest.raises(GridError, match="voxel sizes make sense"):
        in_mm(np.diag([1e-5, 1, 1, 1.0]), "m", 1000.0, "a.nrrd", "nrrd")


@pytest.mark.parametrize(
    ("units", "scale", "told"),
    [
        ('"mm" "mm" "mm"', 1.0, ""),
        ('"m" "m" "m"', 0.001, ""),
        ('"cm" "cm" "cm"', 0.1, ""),
        ('"m" "m" "m"', 1.0, "taken as mm"),
        ('"mm" "mm" "m"', 1.0, "says no one unit"),
        ('"pixel" "pixel" "pixel"', 1.0, "says no one unit"),
    ],
)
def test_nrrd_says_its_units(tmp_path: Path, body: np.ndarray, units: str, scale: float, told: str) -> None:
    sides = np.array([9.0, 9.0, 9.0]) * scale
    directions = " ".join(f"({','.join(f'{v:g}' for v in row)})" for row in np.diag(sides))
    header = (
        f"NRRD0004\ntype: short\ndimension: 3\nspace: RAS\nsizes: {' '.join(map(str, body.shape))}\n"
        f"space directions: {directions}\nspace units: {units}\n"
        "endian: little\nencoding: raw\nspace origin: (0,0,0)\n\n"
    )
    path = tmp_path / "ct.nrrd"
    path.write_bytes(header.encode() + body.tobytes(order="F"))
    volume = load_volume(path)
    assert volume.geometry.spacing_mm == pytest.approx((9.0, 9.0, 9.0))
    said = [d.what for d in volume.decisions if d.warning]
    assert bool(said) == bool(told) and all(told in what for what in said)

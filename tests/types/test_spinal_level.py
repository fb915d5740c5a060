"""A height far from every known vertebra has a level only where no spine could make it another."""

from __future__ import annotations

import pytest

from radvlm.types.spinal_level import nearest_level, spinal_part


@pytest.mark.parametrize(
    ("levels", "height", "near", "part"),
    [
        ({"T12": 0.0}, -10.0, "vertebrae_T12", "thoracic"),
        ({"T12": 0.0}, -140.0, "", "abdominal"),
        ({"T12": 0.0}, -38.0, "", ""),
        ({"T12": 0.0}, 200.0, "", "thoracic"),
        ({"L1": 0.0}, 140.0, "", "thoracic"),
        ({"L1": 0.0}, 38.0, "", ""),
        ({"L4": 0.0}, 50.0, "", "abdominal"),
        ({"L4": 0.0}, 300.0, "", "thoracic"),
        ({"T8": 0.0}, -140.0, "", ""),
        ({"T5": 0.0}, -60.0, "", "thoracic"),
        ({"T13": 0.0}, -90.0, "", "abdominal"),
        ({"L3": 0.0, "T8": 230.0}, 20.0, "vertebrae_L3", "abdominal"),
        ({}, 0.0, "", ""),
    ],
)
def test_parts_of_the_spine(levels: dict[str, float], height: float, near: str, part: str) -> None:
    heights = {f"vertebrae_{level}": z for level, z in levels.items()}
    assert (nearest_level(heights, height), spinal_part(heights, height)) == (near, part)

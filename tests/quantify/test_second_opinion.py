"""Other packages' numbers of the same masks; skipped where they are not installed."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path

import pytest

pytest.importorskip("SimpleITK")
pytest.importorskip("skimage")


@pytest.fixture(scope="module")
def table() -> dict:
    folder = Path(__file__).resolve().parents[2] / "eval"
    sys.path.insert(0, str(folder))
    try:
        spec = importlib.util.spec_from_file_location("second_opinion", folder / "second_opinion.py")
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        return module.compare(24)["quantities"]
    finally:
        sys.path.remove(str(folder))


@pytest.mark.slow
def test_volume_and_pieces_are_equal(table: dict) -> None:
    for quantity in ("volume_ml", "volume_skimage_ml", "components_skimage"):
        assert abs(table[quantity]["worst_difference"]) < 1e-6
    if "components_cc3d" in table:
        assert table["components_cc3d"]["worst_difference"] == 0
    assert table["components_skimage"]["mean_ours"] > 20


def test_differences_have_the_size_that_is_explained(table: dict) -> None:
    assert 0.5 < table["diameter_3d_mm"]["mean_difference"] < 2, "about one voxel longer than between centers"
    assert abs(table["sphericity_to_roundness"]["mean_difference"]) < 0.02
    assert abs(table["elongation_ratio"]["worst_difference"]) < 0.06
    assert abs(table["axial_long_axis_mm"]["worst_difference"]) < 1.5
    assert table["axial_long_axis_mm"]["mean_difference"] <= 0

"""Structures of a size that nobody's have are said and not interpreted; disease and stray voxels are not."""

from __future__ import annotations

import numpy as np
import pytest

from radvlm.phantom import PhantomSpec, make_phantom
from radvlm.quantify.scan import measure_scan
from radvlm.types.anatomy import structures
from radvlm.types.geometry import Geometry
from radvlm.types.possible_sizes import possible_size, possible_size_table
from radvlm.types.provenance import Decision
from radvlm.types.scan_measurements import Measurements
from radvlm.types.segmentation import LabelPlace, Segmentation
from radvlm.types.volume import Volume


def measured(name: str, mask: np.ndarray, spacing_mm: float = 4.0) -> Measurements:
    geometry = Geometry(mask.shape, np.diag([spacing_mm, spacing_mm, spacing_mm, 1.0]))
    masks = Segmentation((mask.astype(np.uint8),), {name: LabelPlace(0, 1)}, frozenset({name}), geometry)
    return measure_scan(Volume(np.where(mask, 40, 0).astype(np.int16), geometry), masks)


def warnings(numbers: Measurements) -> list[Decision]:
    return [d for d in numbers.decisions if d.warning and "another scheme" in d.what]


def box(*sides: int) -> np.ndarray:
    mask = np.zeros([n + 4 for n in sides], bool)
    mask[tuple(slice(2, 2 + n) for n in sides)] = True
    return mask


@pytest.mark.parametrize(
    ("name", "sides", "words"),
    [
        ("adrenal_gland_right", (30, 5, 5), "108 mm long"),  # a pancreas of 120 x 20 x 20 mm
        ("adrenal_gland_left", (12, 12, 14), "129 mL"),
        ("gallbladder", (30, 30, 25), "1440 mL"),
        ("vertebrae_L1", (4, 4, 60), "216 mm long"),
        ("trachea", (4, 4, 100), "360 mm long"),
    ],
)
def test_sizes_of_something_else_are_said(name: str, sides: tuple[int, int, int], words: str) -> None:
    numbers = measured(name, box(*sides))
    (warning,) = warnings(numbers)
    assert warning.step == "placement" and words in warning.what
    (record,) = numbers.structures
    assert record.median_hu is None and record.volume_ml == pytest.approx(np.prod(sides) * 0.064, rel=0.001)


@pytest.mark.parametrize(
    ("name", "sides"),
    [
        ("adrenal_gland_right", (12, 3, 12)),  # long limbs
        ("adrenal_gland_left", (11, 11, 11)),  # a tumor of 85 mL that the mask holds
        ("kidney_left", (35, 35, 60)),  # a polycystic kidney of 4.7 L
        ("esophagus", (15, 15, 65)),  # achalasia, 0.94 L
        ("spinal_cord", (3, 3, 140)),
    ],
)
def test_disease_is_not_doubted(name: str, sides: tuple[int, int, int]) -> None:
    assert not warnings(measured(name, box(*sides)))


def test_stray_voxels_do_not_make_a_structure_long() -> None:
    mask = np.zeros((60, 20, 20), bool)
    mask[4:14, 4:8, 4:14] = True
    mask[55, 10, 10:14] = True
    assert not warnings(measured("adrenal_gland_left", mask))


@pytest.mark.slow
def test_a_phantom_has_possible_sizes() -> None:
    phantom = make_phantom(PhantomSpec(seed=2, region="abdomen", spacing_mm=(6.0, 6.0, 6.0)))
    assert not warnings(measure_scan(phantom.volume, phantom.segmentation))


def test_every_row_is_of_known_structures_and_has_a_source() -> None:
    for row in possible_size_table():
        assert row.source and (row.most_ml or row.most_mm)
        assert (row.basis, row.checked[:2]) in (("looked up", "20"), ("convention", "")), row
        for pattern in row.structures:
            assert any(possible_size(name) is row for name in structures()), pattern

"""An attenuation that nobody has is not interpreted; disease keeps its own."""

from __future__ import annotations

import re
from collections.abc import Mapping

import numpy as np
import pytest

from radvlm.errors import StructureError
from radvlm.quantify.scan import measure_scan
from radvlm.types.anatomy import structure, structures
from radvlm.types.geometry import Geometry
from radvlm.types.possible_hu import possible_hu, possible_hu_table
from radvlm.types.scan_measurements import NOT_INTERPRETED, PHASES, Measurements
from radvlm.types.segmentation import LabelPlace, Segmentation
from radvlm.types.volume import Volume


def measured(values: Mapping[str, float]) -> Measurements:
    """Cubes of 8 x 8 x 8 voxels side by side, each of one attenuation, in soft tissue."""
    shape = (12 * len(values), 12, 12)
    hu, labels = np.full(shape, 20, np.int16), np.zeros(shape, np.uint8)
    for number, value in enumerate(values.values()):
        box = (slice(12 * number + 2, 12 * number + 10), slice(2, 10), slice(2, 10))
        hu[box], labels[box] = value, number + 1
    geometry = Geometry(shape, np.diag([2.0, 2.0, 2.0, 1.0]))
    places = {name: LabelPlace(0, number) for number, name in enumerate(values, 1)}
    return measure_scan(Volume(hu, geometry), Segmentation((labels,), places, frozenset(places), geometry))


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("liver", -331),
        ("liver_lesion", -1000),
        ("kidney_left", -900),
        ("spleen", -500),
        ("aorta", -80),
        ("vertebrae_L1", -700),
        ("lung_left", 400),
        ("brain", -400),
        ("urinary_bladder", -600),
        ("pleural_effusion", -800),
        ("kidney_cyst", 900),
    ],
)
def test_what_nobody_has_is_withheld_and_said(name: str, value: float) -> None:
    numbers = measured({name: value})
    (record,) = numbers.structures
    assert record.median_hu is None and record.mean_hu is None and record.volume_ml == pytest.approx(4.096)
    reason = next(o.reason for o in record.omissions if o.quantity == "median_hu")
    assert reason.startswith(NOT_INTERPRETED) and f"{value:.0f} HU" in reason
    (warning,) = [d for d in numbers.decisions if d.warning]
    assert structure(name).words in warning.what and f"{value:.0f} HU" in warning.what
    for lesion in numbers.lesions:
        assert lesion.mean_hu is None


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("liver", -35),  # severe steatosis
        ("liver", 140),  # iron
        ("spleen", 400),  # calcified autosplenectomy
        ("pancreas", -90),  # lipomatosis
        ("kidney_left", 600),  # excretion
        ("gallbladder", 1500),  # milk of calcium
        ("adrenal_gland_left", -95),  # myelolipoma
        ("lung_left", 90),  # collapsed and enhancing
        ("lung_left", -975),  # emphysema
        ("colon", -950),
        ("stomach", 2000),  # barium
        ("femur_left", -70),  # fatty marrow
        ("hip_right", 3000),  # prosthesis
        ("vertebrae_L1", 2000),  # cement
        ("aorta", 20),  # anemia
        ("superior_vena_cava", 2500),  # undiluted contrast
        ("autochthon_left", -95),  # fatty replacement
        ("urinary_bladder", 2800),
        ("lung_nodule", -650),
        ("lung_nodule", 1200),
        ("adrenal_lesion", -90),
        ("kidney_tumor", -100),
        ("liver_abscess", -300),
    ],
)
def test_disease_and_contrast_stand(name: str, value: float) -> None:
    numbers = measured({name: value})
    assert numbers.structures[0].median_hu == value
    assert not [d for d in numbers.decisions if d.warning]


def test_a_lesion_is_not_compared_with_an_organ_that_is_none() -> None:
    numbers = measured({"liver": -331, "liver_lesion": 40})
    assert numbers.lesions[0].attenuation == "" and numbers.lesions[0].measurement("contrast_to_host") is None
    assert numbers.structure("liver_lesion").median_hu == 40


def test_an_impossible_vessel_tells_no_phase() -> None:
    assert measured({"aorta": 40, "kidney_left": 35, "liver": 55}).phase.name == "non-contrast"
    assert measured({"aorta": -300, "liver": 55}).phase.name == "unknown"


def test_what_only_one_phase_forbids() -> None:
    values = {"aorta": 40, "inferior_vena_cava": 40, "kidney_left": 35, "liver": 300}
    numbers = measured(values)
    assert numbers.phase.certain and numbers.phase.name == "non-contrast"
    assert numbers.structure("liver").median_hu is None
    reason = numbers.structure("liver").omissions[0].reason
    assert reason.endswith("in the non-contrast phase")
    assert numbers.structure("aorta").median_hu == 40


def test_every_row_is_of_known_structures_and_has_a_source() -> None:
    for row in possible_hu_table():
        assert row.low < row.high and row.source and row.phase in ("", *PHASES)
        assert row.basis in ("looked up", "physics", "convention")
        assert bool(re.fullmatch(r"\d{4}-\d\d-\d\d https?://\S+", row.checked)) is (row.basis == "looked up"), row
        for pattern in row.structures:
            assert any(possible_hu(name, row.phase) is row for name in structures()), pattern
            if "*" not in pattern:
                try:
                    structure(pattern)
                except StructureError:
                    pytest.fail(f"{pattern} is in no anatomy table")
    assert possible_hu("colon") is None and possible_hu("stomach") is None

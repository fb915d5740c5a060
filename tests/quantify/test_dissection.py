"""A phantom's aorta, split into a true and a false lumen between two heights: length, parts and width are known."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.ndimage import label

from radvlm.phantom import PhantomSpec, make_phantom
from radvlm.quantify.dissection import with_dissection
from radvlm.quantify.organ import measure_structure
from radvlm.types.geometry import Geometry
from radvlm.types.scan_measurements import StructureMeasurements
from radvlm.types.segmentation import LabelPlace, Segmentation

VOXEL_MM = 4.0


@pytest.fixture(scope="module")
def healthy() -> Segmentation:
    spec = PhantomSpec(
        seed=3, spacing_mm=(VOXEL_MM,) * 3, crop=((0.25, 0.75), (0.2, 0.8), (0.25, 1)), healthy=True, noise_hu=0
    )
    return make_phantom(spec).segmentation


def _dissected(
    healthy: Segmentation, low_mm: float, high_mm: float, front: bool, keep: str = ""
) -> StructureMeasurements:
    """The record of the false lumen: the back half of every axial section between two heights.

    Args:
        front: of two sections at one height (ascending and descending aorta), the one in front is dissected too.
        keep: only structures whose name begins so stay beside the lumens; "" keeps all.
    """
    geometry, aorta = healthy.geometry, healthy.mask("aorta")
    lumens = aorta.astype(np.uint8)
    for k in range(aorta.shape[2]):
        if low_mm <= float(geometry.to_world([0, 0, k])[2]) <= high_mm:
            numbered, count = label(aorta[:, :, k])
            sections = [np.argwhere(numbered == n) for n in range(1, count + 1)]
            hindmost = min(float(s[:, 1].mean()) for s in sections)
            for section in sections:
                middle = section[:, 1].mean()
                if front or middle == hindmost:
                    back = section[section[:, 1] < middle]
                    lumens[back[:, 0], back[:, 1], k] = 2
    places = {n: p for n, p in healthy.places.items() if n.startswith(keep) and n != "aorta"}
    held = {(p.layer, p.label) for p in places.values()}
    layers = [
        np.where(np.isin(layer, [v for n, v in held if n == number]), layer, 0)
        for number, layer in enumerate(healthy.layers)
    ]
    places |= {"aorta_true_lumen": LabelPlace(len(layers), 1), "aorta_false_lumen": LabelPlace(len(layers), 2)}
    masks = Segmentation((*layers, lumens), places, frozenset(places), geometry)
    (record,) = with_dissection(masks, (measure_structure(masks, "aorta_false_lumen", None),))
    return record


def _lengths(record: StructureMeasurements) -> dict[str, float]:
    return {m.quantity.removesuffix("_length"): m.value for m in record.measurements if m.quantity.endswith("_length")}


@pytest.mark.slow
def test_a_descending_dissection(healthy: Segmentation) -> None:
    record = _dissected(healthy, -60, 120, front=False)
    lengths = _lengths(record)
    assert (lengths["ascending"], lengths["arch"]) == (0, 0)
    assert lengths["descending"] > 100 and lengths["suprarenal"] > 0 and lengths["infrarenal"] > 0
    total = next(m.value for m in record.measurements if m.quantity == "length")
    assert total == pytest.approx(180 * 1.03, abs=4 * VOXEL_MM)  # the course is a little longer than its height
    assert sum(lengths.values()) == pytest.approx(total, abs=3)
    width = next(m.value for m in record.measurements if m.quantity == "width")
    assert width == pytest.approx(12, abs=VOXEL_MM)  # half of a tube of 24 mm
    there, whole = (
        next(m.value for m in record.measurements if m.quantity == q) for q in ("diameter", "whole_diameter")
    )
    assert there == pytest.approx(26.5, abs=VOXEL_MM) and whole == pytest.approx(31, abs=VOXEL_MM)  # ascending


@pytest.mark.slow
def test_a_dissection_of_the_ascending_aorta(healthy: Segmentation) -> None:
    both, behind = (_lengths(_dissected(healthy, 0, 190, front=front)) for front in (True, False))
    assert both["ascending"] >= 18 and behind["ascending"] == 0
    assert both["descending"] == behind["descending"] > 100


@pytest.mark.slow
def test_without_vertebrae_only_the_lower_parts_are_unknown(healthy: Segmentation) -> None:
    record = _dissected(healthy, -60, 120, front=False, keep="liver")
    assert _lengths(record) == {"ascending": 0, "arch": 0}
    assert {o.quantity for o in record.omissions} >= {"descending_length", "infrarenal_length"}


def test_two_pieces_do_not_count_what_lies_between() -> None:
    x, y, z = np.ogrid[:20, :20, :100]
    aorta = np.broadcast_to((x - 10) ** 2 + (y - 10) ** 2 < np.where(z > 80, 6, 3.5) ** 2, (20, 20, 100))
    false = aorta & (x > 10) & ((abs(z - 20) < 4) | (abs(z - 60) < 4))
    lumens = np.where(false, 2, aorta).astype(np.uint8)
    geometry = Geometry(lumens.shape, np.diag([4.0, 4.0, 4.0, 1.0]))
    places = {"aorta_true_lumen": LabelPlace(0, 1), "aorta_false_lumen": LabelPlace(0, 2)}
    masks = Segmentation((lumens,), places, frozenset(places), geometry)
    (record,) = with_dissection(masks, (measure_structure(masks, "aorta_false_lumen", None),))
    number = {m.quantity: m for m in record.measurements}
    assert number["length"].value == pytest.approx(56, abs=8)  # two pieces of 28 mm
    assert [round(p[2]) for p in number["length"].points_mm] == [68, 92, 228, 252]
    assert number["diameter"].value == pytest.approx(28, abs=4) and number["whole_diameter"].value > 40


def test_other_records_stay_as_they_are(healthy: Segmentation) -> None:
    records = (measure_structure(healthy, "aorta", None),)
    assert with_dissection(healthy, records) is records

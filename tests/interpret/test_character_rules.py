"""Words for the character of lesions, chest indices and body composition: limits, conditions, what is left unsaid."""

from __future__ import annotations

import dataclasses

import pytest

import hand_made
from radvlm.compose import compose_report
from radvlm.interpret import interpret
from radvlm.types.finding import Status, citable
from radvlm.types.measurement import Measurement
from radvlm.types.scan_measurements import Neighbor
from radvlm.types.study import Patient

ADULT = Patient(sex="M", age_years=60)


def with_numbers(lesion, **numbers: float):
    more = tuple(Measurement(q, v, "given", region_id=lesion.region.id) for q, v in numbers.items())
    return dataclasses.replace(lesion, measurements=(*lesion.measurements, *more))


def words(lesion, kind: str, pixel: float = 0.8) -> list[str]:
    numbers = hand_made.numbers([hand_made.organ("liver", 1500)], [lesion], geometry=hand_made.grid(pixel=pixel))
    return [f.category for f in citable(interpret(numbers, patient=ADULT)) if f.kind == kind]


@pytest.mark.parametrize(
    ("kind", "quantity", "value", "expected"),
    [
        ("lesion_shape", "flatness", 0.67, ["round"]),
        ("lesion_shape", "flatness", 0.66, ["oval"]),
        ("lesion_shape", "flatness", 0.39, ["elongated"]),
        ("lesion_contour", "solidity", 0.85, []),
        ("lesion_contour", "solidity", 0.84, ["irregular in contour"]),
        ("lesion_margin", "edge_width", 4.0, ["well-defined"]),
        ("lesion_margin", "edge_width", 5.0, []),
        ("lesion_margin", "edge_width", 6.4, []),
        ("lesion_margin", "edge_width", 6.5, ["ill-defined"]),
        ("lesion_texture", "heterogeneity", 10.0, ["homogeneous"]),
        ("lesion_texture", "heterogeneity", 15.4, []),
        ("lesion_texture", "heterogeneity", 15.5, ["heterogeneous"]),
    ],
)
def test_limits(kind: str, quantity: str, value: float, expected: list[str]) -> None:
    lesion = with_numbers(hand_made.lesion("liver_lesion", 1, 30, 20, host="liver"), **{quantity: value})
    assert words(lesion, kind) == expected


def test_small_lesions_and_coarse_grids_get_no_word_and_no_complaint() -> None:
    small = with_numbers(hand_made.lesion("liver_lesion", 1, 9, 8, host="liver"), flatness=0.9, edge_width=2.0)
    assert words(small, "lesion_shape") == words(small, "lesion_margin") == []
    large = with_numbers(hand_made.lesion("liver_lesion", 1, 40, 30, host="liver"), flatness=0.9, edge_width=2.0)
    assert words(large, "lesion_margin", pixel=3.5) == []
    bare = hand_made.lesion("liver_lesion", 1, 40, 30, host="liver")
    found = interpret(hand_made.numbers([hand_made.organ("liver", 1500)], [bare]), patient=ADULT)
    assert not [f for f in citable(found) if f.kind.startswith("lesion_") and f.status is Status.NOT_ASSESSED]


@pytest.mark.parametrize(
    ("heterogeneity", "hu", "expected"),
    [(4, 10, ["within the attenuation criteria of Bosniak class I"]), (12, 10, []), (4, 21, []), (None, 10, [])],
)
def test_bosniak_attenuation_needs_homogeneity(heterogeneity, hu, expected) -> None:
    cyst = hand_made.lesion("kidney_cyst_left", 1, 30, 28, hu, "kidney_left")
    if heterogeneity is not None:
        cyst = with_numbers(cyst, heterogeneity=heterogeneity)
    assert words(cyst, "bosniak_attenuation") == expected


@pytest.mark.parametrize(
    ("share", "solid", "expected"), [(0, None, ["ground-glass"]), (40, 5, ["part-solid"]), (95, 12, ["solid"])]
)
def test_nodule_types(share, solid, expected) -> None:
    numbers = {"solid_fraction": share} | ({} if solid is None else {"solid_diameter": solid})
    nodule = with_numbers(hand_made.lesion("lung_nodule", 1, 14, 12, None, "lung_right"), **numbers)
    assert words(nodule, "nodule_type") == expected
    assert words(nodule, "nodule_solid_part") == (["solid part 5 mm"] if share == 40 else [])


@pytest.mark.parametrize(("fraction", "expected"), [(25, "small"), (26, "moderate"), (51, "large")])
def test_effusion_quartiles(fraction: float, expected: str) -> None:
    record = hand_made.organ("pleural_effusion_right", 300, 6, fraction=fraction)
    lesion = hand_made.lesion("pleural_effusion_right", 1, 90, 30, 6, volume_ml=300)
    found = interpret(hand_made.numbers([record], [lesion]), patient=ADULT)
    assert [f.category for f in citable(found) if f.kind == "pleural_effusion_size"] == [f"{expected} by depth"]


def test_the_value_stands_in_the_words_and_the_report_says_it() -> None:
    organs = [
        hand_made.organ("heart", 700, cardiothoracic_ratio=0.534),
        hand_made.organ("skeletal_muscle", 9000, area_l3=12000.0),
        hand_made.organ("kidney_left", 150, length=86.0),
    ]
    found = interpret(hand_made.numbers(organs), patient=ADULT)
    by_kind = {f.kind: f for f in citable(found) if f.rule is not None and f.status is Status.PRESENT}
    assert by_kind["cardiothoracic_ratio"].category == "cardiothoracic ratio 0.53, above 0.5"
    assert by_kind["low_muscle_area"].category.startswith("area 120.0 cm2 at L3, below")
    assert by_kind["kidney_size"].category == "short" and by_kind["kidney_size"].rule.id == "kidney_length_oriented"
    text = compose_report(found).text
    assert "Cardiothoracic ratio 0.53, above 0.5" in text and "120.0 cm2" in text and "length 8.6 cm, short" in text


def test_contacts_and_stations_are_said_with_the_lesion() -> None:
    near = (
        Neighbor("duodenum", 0.0, 60.0),
        Neighbor("stomach", 0.0, 90.0),
        Neighbor("colon", 0.0, 4.0),
        Neighbor("aorta", 0.0, 50.0),
        Neighbor("spleen", 2.0),
    )
    tumor = dataclasses.replace(hand_made.lesion("pancreas_tumor", 1, 30, 20, host="pancreas"), neighbors=near)
    node = dataclasses.replace(hand_made.lesion("lymph_node", 1, 18, 12), station="para-aortic")
    organs = [hand_made.organ(n) for n in ("pancreas", "duodenum", "stomach")]
    found = interpret(hand_made.numbers(organs, [tumor, node]), patient=ADULT)
    contact = [f.category for f in citable(found) if f.kind == "lesion_contact"]
    assert contact == ["abutting the stomach and duodenum"], "largest first; 4 mm2 and vessels are left out"
    text = compose_report(found).text
    assert "abutting the stomach and duodenum" in text and "para-aortic station" in text
    impression = text.split("IMPRESSION")[1]
    assert "abutting" not in impression and "para-aortic station" in impression

"""Every disease and device that a label scheme knows reaches findings and impression, in the order of its urgency."""

from __future__ import annotations

import re
from dataclasses import replace

import pytest

import hand_made
from radvlm.compose import compose_report
from radvlm.interpret import interpret, load_rules
from radvlm.types.anatomy import structure, structures
from radvlm.types.finding import Status
from radvlm.types.label_scheme import schemes
from radvlm.types.measurement import Measurement
from radvlm.types.region import Region
from radvlm.types.report import Report
from radvlm.types.scan_measurements import StructureMeasurements
from radvlm.types.study import Patient
from radvlm.types.urgency import Urgency

ADULT = Patient(sex="F", age_years=63)
DISEASES = tuple(
    s.name for s in structures().values() if s.kind in ("lesion", "fluid", "device") or s.name == "aorta_false_lumen"
)
#: Words of labels that name a disease or a device, in whatever scheme.
DISEASE_WORDS = re.compile(
    r"lesion|tumou?r|cancer|cyst(?!ic)|stone|aneurysm|bleed|h(a)?emorrhage|h(a)?ematoma|effusion|infiltrat|covid|implant|stent|"
    r"fracture|false_lumen|dissect|nodule|metasta|abscess|calcif|thromb|embol|pneumo(thorax|periton)|ascites|"
    r"consolid|atelect|opacit|catheter|pacemaker|prosthe|screw|clip|hernia|pdac|pnet|crown|bridge"
)


def _report(*records: StructureMeasurements, lesion: str = "") -> Report:
    lesions = [hand_made.lesion(lesion, 1, 22.0, 17.0)] if lesion else []
    return compose_report(interpret(hand_made.numbers(list(records), lesions), patient=ADULT))


def _of(name: str) -> Report:
    kind = structure(name).kind
    return _report(hand_made.organ(name, 20.0), lesion=name if kind in ("lesion", "fluid") else "")


def _placed(
    record: StructureMeasurements, low: tuple[int, int, int], high: tuple[int, int, int]
) -> StructureMeasurements:
    """The record at a place: voxels from ``low`` to ``high`` of the made grid."""
    box = replace(record.region.box, start=low, stop=high)
    middle = tuple((a + b - 1) / 2 * s for a, b, s in zip(low, high, (0.8, 0.8, 2.0), strict=True))
    region = Region(record.structure, record.structure, box, 5000, record.region.volume_ml, middle)  # type: ignore[arg-type]
    return replace(record, region=region)


def _spine() -> list[StructureMeasurements]:
    """T4 to L3 in the middle, 25 mm apart."""
    levels = [*(f"T{n}" for n in range(4, 13)), "L1", "L2", "L3"]
    return [
        _placed(hand_made.organ(f"vertebrae_{level}", 30), (230, 200, 155 - 12 * n), (281, 250, 165 - 12 * n))
        for n, level in enumerate(levels)
    ]


@pytest.mark.parametrize("name", DISEASES)
def test_no_disease_or_device_is_silent(name: str) -> None:
    report = _of(name)
    words = {w for w in re.split(r"\W+", structure(name).words) if len(w) > 3} | {"dissection", "nodes"}
    urgency = load_rules().urgency_of(name)
    said = [s for s in report.sentences if s.section != "impression" and any(r.structure == name for r in s.regions)]
    assert said and any(words & set(re.split(r"\W+", s.text.lower())) for s in said), report.text
    assert not any(s.text.endswith("is included in the scan.") for s in said)
    shown = [s for s in report.impression if any(r.structure == name for r in s.regions)]
    if urgency is Urgency.NONE:  # a node has its urgency from its size
        assert name == "lymph_node" and next(r for r in load_rules().lesion_urgency if name in r.structures).reason
    else:
        assert shown, [s.text for s in report.impression]
        assert any(f.urgency is urgency for f in shown[0].findings) or structure(name).kind in ("lesion", "fluid")


def test_every_disease_of_a_scheme_is_a_disease_of_the_table() -> None:
    named = [(entry.name, entry.structure) for scheme in schemes().values() for entry in scheme.entries]
    diseases = [(label, name) for label, name in named if name and DISEASE_WORDS.search(label.lower())]
    assert len(diseases) > 60 and [pair for pair in diseases if pair[1] not in DISEASES] == []


def test_an_organ_that_nothing_judges_is_not_called_normal() -> None:
    report = compose_report(interpret(hand_made.numbers([hand_made.organ("autochthon_left")]), patient=ADULT))
    assert [s.text for s in report.impression][:2] == [
        "No finding was made in what was measured: the left paraspinal muscle.",
        "Abnormalities were not assessed: "
        "no mask of a lesion was provided and no rule applies to the organs that were.",
    ]
    assert report.impression[2].text.startswith("Heart, lungs, liver") and "not assessed" in report.impression[2].text


def test_lesions_that_are_not_there_make_an_impression() -> None:
    numbers = hand_made.numbers([hand_made.organ("gallbladder", 30)], absent=("gallstone",))
    assert "No gallstone segmented." in [s.text for s in compose_report(interpret(numbers, patient=ADULT)).impression]


@pytest.mark.parametrize(
    ("low", "high", "words"),
    [
        ((90, 200, 20), (130, 250, 40), "Left hip implant"),
        ((390, 200, 20), (430, 250, 40), "Right hip implant"),
        ((90, 200, 20), (430, 250, 40), "Bilateral hip implants"),
    ],
)
def test_an_implant_has_its_side_by_the_midline(low: tuple, high: tuple, words: str) -> None:
    report = _report(_placed(hand_made.organ("hip_implant", 85), low, high), *_spine())
    devices = next(line for line in report.text.splitlines() if line.startswith("Lines and devices"))
    assert devices == f"Lines and devices: {words}, volume 85 mL."
    assert report.impression[0].text == f"{words}."


def test_an_implant_without_a_midline_has_no_side() -> None:
    assert _report(hand_made.organ("hip_implant", 85)).impression[0].text == "Hip implant."


def _dissection(**lengths: float) -> StructureMeasurements:
    record = _placed(hand_made.organ("aorta_false_lumen", 60), (250, 200, 30), (270, 230, 151))
    numbers = [Measurement(q, v, "given", region_id="aorta_false_lumen") for q, v in lengths.items()]
    return replace(record, measurements=(*record.measurements, *numbers))


@pytest.mark.parametrize(
    ("lengths", "words"),
    [
        ({"ascending_length": 60, "arch_length": 30}, "ascending aorta involved (Stanford type A pattern)"),
        ({"ascending_length": 10}, "ascending aorta involved (Stanford type A pattern)"),
        ({"ascending_length": 9}, "involvement of the ascending aorta uncertain"),
        ({"ascending_length": 0, "arch_length": 0}, "ascending aorta not involved (Stanford type B pattern)"),
        ({"ascending_length": 0, "arch_length": 12}, "ascending aorta not involved, arch involved"),
        ({}, "extent not determined where the ascending aorta is not told apart"),
    ],
)
def test_a_dissection_is_said_with_extent_and_type(lengths: dict[str, float], words: str) -> None:
    report = _report(_dissection(length=262, width=23, **lengths), *_spine())
    text = f"Aortic dissection from T5 to L3, length 26.2 cm, width of the false lumen 2.3 cm; {words}."
    assert report.impression[0].text == text and text in report.text.split("Impression")[0]
    assert "lumen of the aorta is" not in report.text and "incompletely" not in report.text
    found = next(f for f in report.findings if f.kind == "aortic_dissection")
    assert found.urgency is Urgency.IMMEDIATE and found.status is Status.PRESENT


@pytest.mark.parametrize(
    ("name", "organ", "words"),
    [("aorta_false_lumen", "aorta", "aortic dissection"), ("hip_implant", "hip_left", "hip implant")],
)
def test_what_was_searched_and_not_found_is_denied(name: str, organ: str, words: str) -> None:
    numbers = hand_made.numbers([hand_made.organ(organ, 90)], absent=(name,))
    told = [s.text for s in compose_report(interpret(numbers, patient=ADULT)).sentences]
    assert f"No {words} segmented in the imaged range." in told
    assert not any("not seen" in t for t in told)
    outside = compose_report(interpret(hand_made.numbers([hand_made.organ("liver")]), patient=ADULT))
    assert words not in outside.text


# -- order ------------------------------------------------------------------------------------------------------------


def test_the_more_urgent_comes_first_and_many_small_lesions_push_nothing_out() -> None:
    aorta = replace(hand_made.organ("aorta", 300, diameter=80.0))
    fluid = ("pleural_effusion_left", "pleural_effusion_right", "ascites", "pericardial_effusion")
    small = (
        "kidney_cyst_left",
        "liver_cyst",
        "spleen_cyst",
        "gallstone",
        "lung_nodule",
        "thyroid_nodule",
        "liver_lesion",
    )
    lesions = [hand_made.lesion(name, n, 6.0, 5.0) for name in small for n in range(1, 40)]
    lesions += [hand_made.lesion(name, 1, 40.0, 30.0, volume_ml=40) for name in fluid]
    whole = [hand_made.organ(name, 40.0) for name in (*small, *fluid)]
    for more, leads in (([], "Aneurysmal abdominal aorta"), ([_dissection(length=262, width=23)], "Aortic dissection")):
        numbers = hand_made.numbers([aorta, *_spine(), *whole, *more], lesions)
        told = [s.text for s in compose_report(interpret(numbers, patient=ADULT)).impression]
        assert told[0].startswith(leads) and any("neurysm" in t for t in told[:2]), told


def test_a_hemorrhage_is_said_with_its_side() -> None:
    half = hand_made.lesion("intracerebral_hemorrhage", 1, 31.0, 22.0, host="brain", locations=("brain_half_left",))
    numbers = hand_made.numbers([hand_made.organ("brain"), hand_made.organ("intracerebral_hemorrhage")], [half])
    told = compose_report(interpret(numbers, patient=ADULT)).impression[0].text
    assert told == "3.1 x 2.2 cm intracerebral hemorrhage in the left half of the brain."


@pytest.mark.parametrize(
    ("name", "words"), [("aorta_false_lumen", "aortic dissection"), ("hip_implant", "hip implant")]
)
def test_a_few_stray_voxels_are_no_disease(name: str, words: str) -> None:
    report = _report(hand_made.organ(name, 0.06, voxels=9))
    assert f"- {words}: fewer than 10 voxels are labeled, which may be an error of the masks" in report.text
    numbers = replace(hand_made.numbers([hand_made.organ("aorta")]), crumbs=(name,))  # what measuring leaves out
    assert f"- {words}: fewer than 10 voxels" in compose_report(interpret(numbers, patient=ADULT)).text
    assert words not in " ".join(s.text.lower() for s in report.sentences)

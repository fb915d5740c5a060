"""Facts hold every number of the text that they stand beside, and are the same in training and at inference."""

from __future__ import annotations

import json
import re
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from radvlm.compose import Style
from radvlm.dataset.fact_pairs import fact_pairs
from radvlm.errors import FileFormatError, InputError
from radvlm.phantom.make import make_phantom
from radvlm.phantom.spec import LesionSpec, PhantomSpec
from radvlm.types.finding import Assessment, Finding, Source, Status, citable
from radvlm.types.finding_json import finding_to_dict, findings_from_dicts
from radvlm.types.geometry import Box
from radvlm.types.measurement import Measurement
from radvlm.types.region import Region
from radvlm.types.report import cited
from radvlm.wording.fact_lines import facts_by_section, facts_of
from radvlm.wording.numbers import axes_text, hu_text, length_text, volume_text
from radvlm.workflows.report import generate_report
from tests.dataset.conftest import MakeCase

NUMBER = re.compile(r"-?\d+(?:\.\d+)?(?: x \d+(?:\.\d+)?)? (?:mm|cm|mL|HU)")


def _region(name: str, structure: str) -> Region:
    return Region(name, structure, Box((0, 0, 0), (2, 2, 2)), 4, 1.0, (0.0, 0.0, 0.0))


def _cyst() -> Finding:
    return Finding(
        "F2",
        "liver_cyst",
        Status.PRESENT,
        "liver",
        "liver",
        (_region("liver_cyst/1", "liver_cyst"),),
        (
            Measurement("long_axis", 36.4, "m"),
            Measurement("short_axis", 33.0, "m"),
            Measurement("core_mean_hu", 4.4, "m"),
            Measurement("mean_hu", 9.0, "m"),
        ),
        locations=("liver_segment_8",),
        importance=20,
        host="liver",
        attenuation="hypoattenuating",
    )


def _organ(name: str, section: str) -> Finding:
    return Finding("F1", "organ", Status.PRESENT, name, section, regions=(_region(name, name),))


def test_lines_by_hand() -> None:
    verdict = Assessment(
        "F3",
        "lesion_attenuation",
        Status.PRESENT,
        "liver",
        "liver",
        category="fluid attenuation",
        regions=(_region("liver_cyst/1", "liver_cyst"),),
    )
    liver = Finding(
        "F1",
        "organ",
        Status.PRESENT,
        "liver",
        "liver",
        regions=(_region("liver", "liver"),),
        measurements=(Measurement("volume", 1534.0, "m"), Measurement("mean_hu", 54.5, "m")),
    )
    absent = [
        Finding(f"F{n}", kind, Status.ABSENT, "liver", "liver")
        for n, kind in ((4, "liver_abscess"), (5, "liver_tumor"))
    ]
    cyst = replace(_cyst(), assessments=(verdict,))
    assert facts_of([liver, cyst, verdict, *absent], "liver").splitlines() == [
        "liver | volume 1530 mL | 55 HU",
        "hepatic cyst | segment VIII | 3.6 x 3.3 cm | hypoattenuating | 4 HU | fluid attenuation",
        "absent: liver abscess, liver tumor",
    ]
    assert facts_of([liver, cyst, verdict, *absent], "spleen") == ""
    assert facts_of([liver, cyst, verdict], "impression").splitlines() == [
        "hepatic cyst | segment VIII | 3.6 x 3.3 cm | hypoattenuating | 4 HU | fluid attenuation"
    ]


def test_a_finding_of_a_model_has_its_probability_and_no_number() -> None:
    seen = Finding(
        "F1",
        "liver_cyst",
        Status.PRESENT,
        "liver",
        "liver",
        category="hepatic cyst",
        source=Source.MODEL,
        confidence=0.934,
    )
    assert facts_of([seen], "liver") == "hepatic cyst | liver | probability 0.93"


@given(st.floats(0.01, 3000), st.floats(0.01, 3000))
def test_numbers_are_written_as_sentences_write_them(a: float, b: float) -> None:
    values = (("long_axis", a), ("short_axis", b), ("mean_hu", a - b))
    cyst = replace(_cyst(), kind="liver_tumor", measurements=tuple(Measurement(q, v, "m") for q, v in values))
    style = Style()
    assert facts_of([cyst], "liver").split(" | ")[2:] == [axes_text(a, b, style), "hypoattenuating", hu_text(a - b)]
    whole = replace(_organ("spleen", "spleen"), measurements=(Measurement("volume", a, "m"),))
    assert facts_of([whole], "spleen") == f"spleen | volume {volume_text(a)}"
    extent = Measurement("extent_superior_inferior", b, "m")
    judged = replace(whole, kind="splenomegaly", category="enlarged", measurements=(extent,))
    assert facts_of([judged], "spleen") == f"spleen | craniocaudal extent {length_text(b, style)} | enlarged"


def test_vertebrae_are_told_as_runs() -> None:
    names = ("vertebrae_T12", "vertebrae_T11", "vertebrae_L2", "vertebrae_L6", "vertebrae_S1", "rib_left_3", "sacrum")
    imaged = [_organ(name, "bones") for name in names]
    assert facts_of(imaged, "bones") == "imaged: T11 to T12, L2, ribs, L6 vertebra, S1 vertebra, sacrum"


@pytest.fixture(scope="module")
def made() -> dict:
    phantom = make_phantom(
        PhantomSpec(
            seed=5,
            region="abdomen",
            spacing_mm=(5.0, 5.0, 5.0),
            noise_hu=6.0,
            phase="portal venous",
            lesions=(
                LesionSpec("liver_cyst", size=30.0),
                LesionSpec("liver_cyst", size=22.0),
                LesionSpec("splenomegaly"),
                LesionSpec("ascites"),
            ),
        )
    )
    report = generate_report(phantom.volume, segmentation=phantom.segmentation)
    cited = {i for s in report.sentences for i in s.finding_ids}
    keep = {f.id: finding_to_dict(f) for f in report.findings if cited & {c.id for c in citable([f])}}
    rows = [{"text": s.text, "section": s.section, "findings": list(s.finding_ids)} for s in report.sentences]
    return {"report": report, "json": json.loads(json.dumps({"sentences": rows, "findings": keep}))}


@pytest.mark.slow
def test_training_and_inference_write_the_same_facts(made: dict, make_case: MakeCase) -> None:
    pairs = fact_pairs(make_case([], report=made["json"]))
    assert {p.section: p.facts for p in pairs} == facts_by_section(cited(made["report"].sentences))
    for pair in pairs:
        assert pair.text == " ".join(s.text for s in made["report"].sentences if s.section == pair.section)


@pytest.mark.slow
@pytest.mark.parametrize("unit", ["section", "sentence"])
def test_every_number_of_the_text_is_in_its_facts(made: dict, make_case: MakeCase, unit: str) -> None:
    pairs = fact_pairs(make_case([], report=made["json"]), unit)
    checked = 0
    for pair in pairs:
        for number in NUMBER.findall(pair.text):
            assert number in pair.facts, pair
            checked += 1
    assert checked > 8


@pytest.mark.slow
def test_findings_survive_json(made: dict) -> None:
    by_id = {f.id: f for f in made["report"].findings}
    assert made["json"]["findings"]
    for name, row in made["json"]["findings"].items():
        assert findings_from_dicts([row]) == (by_id[name],)


@pytest.mark.slow
def test_bad_input(made: dict, make_case: MakeCase) -> None:
    assert fact_pairs(make_case([], name="none")) == []
    with pytest.raises(InputError, match="unit"):
        fact_pairs(make_case([], name="b", report=made["json"]), "word")
    with pytest.raises(FileFormatError, match="sentences and the findings"):
        fact_pairs(make_case([], name="c", report={"sentences": [{}], "findings": {}}))
    with pytest.raises(InputError, match="section"):
        facts_of([], "thumb")

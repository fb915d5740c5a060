"""report.json follows the published schema, and reading it back gives the same report."""

from __future__ import annotations

import copy
import json
from dataclasses import replace
from pathlib import Path

import pytest
from jsonschema import Draft202012Validator

import hand_made
from radvlm.compose import compose_report, verify_report
from radvlm.errors import InputError
from radvlm.interpret import interpret
from radvlm.types.anatomy import SECTIONS
from radvlm.types.finding import Source, Status
from radvlm.types.finding_json import findings_from_dicts
from radvlm.types.measurement import QUANTITIES
from radvlm.types.model_record import DraftCounts, ModelRecord
from radvlm.types.provenance import Decision
from radvlm.types.report import Report
from radvlm.types.retrieval_record import (
    CopiedSentence,
    PriorHint,
    PriorHit,
    PriorQuery,
    RetrievalRecord,
    SectionChange,
)
from radvlm.types.study import Patient

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def validator() -> Draft202012Validator:
    schema = json.loads((ROOT / "docs" / "report.schema.json").read_text(encoding="utf-8"))
    Draft202012Validator.check_schema(schema)
    return Draft202012Validator(schema)


def _report(name: str) -> Report:
    findings = interpret(getattr(hand_made, name)(), patient=Patient(sex="F", age_years=63))
    return compose_report(findings, examination=(("Examination", "CT abdomen"),), provenance={"phase": "portal venous"})


@pytest.mark.parametrize("name", ["upper_abdomen_stack", "plain_abdomen", "complete_abdomen", "lungs_only"])
def test_reports_follow_the_schema_and_read_back_the_same(name: str, validator: Draft202012Validator) -> None:
    report = _report(name)
    text = report.to_json()
    assert [e.message for e in validator.iter_errors(json.loads(text))] == []
    assert Report.from_json(text) == report
    assert Report.from_json(text).text == report.text


def test_schema_lists_what_the_types_allow(validator: Draft202012Validator) -> None:
    defs = validator.schema["$defs"]
    assert defs["measurement"]["properties"]["quantity"]["enum"] == list(QUANTITIES)
    assert defs["finding"]["properties"]["status"]["enum"] == [s.value for s in Status]
    assert defs["finding"]["properties"]["source"]["enum"] == [s.value for s in Source]
    assert defs["sentence"]["properties"]["section"]["enum"] == list(SECTIONS)


def _broken(change):
    data = json.loads(_report("complete_abdomen").to_json())
    spoiled = copy.deepcopy(data)
    change(spoiled)
    assert spoiled != data
    return spoiled


@pytest.mark.parametrize(
    "change",
    [
        lambda d: d.pop("notice"),
        lambda d: d.update(extra=1),
        lambda d: d.update(schema_version="3.0"),
        lambda d: d["sentences"][0].update(finding_ids=[]),
        lambda d: d["sentences"][0].update(section="appendix"),
        lambda d: d["findings"][0].update(status="maybe"),
        lambda d: d["findings"][0].update(confidence=1.5),
        lambda d: d["findings"][0]["measurements"][0].update(quantity="weight"),
        lambda d: d["findings"][0]["measurements"][0].update(value="12"),
    ],
)
def test_schema_refuses(change, validator: Draft202012Validator) -> None:
    assert list(validator.iter_errors(_broken(change)))


def test_another_major_version_is_refused() -> None:
    data = json.loads(_report("lungs_only").to_json())
    data["schema_version"] = "3.0"
    with pytest.raises(InputError, match="schema version"):
        Report.from_json(json.dumps(data))


def _archived() -> dict:
    """Written by radvlm 0.1.0, cut to a few sections."""
    return json.loads((Path(__file__).parent / "data" / "report_schema1.json").read_text(encoding="utf-8"))


def test_an_archived_report_of_schema_1_is_opened(validator: Draft202012Validator) -> None:
    old = _archived()
    report = Report.from_json(json.dumps(old))
    assert report.schema_version == "2.0" and Report.from_json(report.to_json()) == report
    assert [e.message for e in validator.iter_errors(json.loads(report.to_json()))] == []
    assert [s.text for s in report.sentences] == [s["text"] for s in old["sentences"]]
    assert [s.finding_ids for s in report.sentences] == [tuple(s["finding_ids"]) for s in old["sentences"]]
    assert [[r.id for r in s.regions] for s in report.sentences] == [s["region_ids"] for s in old["sentences"]]
    assert {f.id for f in report.citable} == {f["id"] for f in old["findings"]}
    assert verify_report(report) is None


def test_words_and_assessments_of_schema_1_find_their_place() -> None:
    report = Report.from_json(json.dumps(_archived()))
    holder = {a.kind: f for f in report.findings for a in f.assessments}
    assert {kind: f.site for kind, f in holder.items()} == {
        "hepatomegaly": "liver",
        "fluid_attenuation": "liver",
        "splenomegaly": "spleen",
        "kidney_size": "kidney_left",
        "kidney_asymmetry": "kidney_right",
        "renal_lesion_attenuation": "kidney_left",
    }
    lesion = holder["fluid_attenuation"]
    assert (lesion.kind, lesion.host, lesion.attenuation) == ("liver_lesion", "liver", "hypoattenuating")
    (spleen,) = holder["splenomegaly"].assessments
    assert spleen.headline == "splenomegaly" and not spleen.twin
    assert next(a.twin for a in holder["kidney_asymmetry"].assessments if a.kind == "kidney_asymmetry") == "kidney_left"
    steatosis = next(f for f in report.findings if f.kind == "steatosis")
    assert steatosis.status is Status.NOT_ASSESSED


def test_pairs_of_schema_1_that_the_archived_report_lacks() -> None:
    row = _archived()["findings"][-1]
    row |= {"regions": [], "status": "absent", "attributes": [["cut", "inferior left"], ["expected", "yes"]]}
    (finding,) = findings_from_dicts([row])
    assert finding.cut_by == ("inferior", "left") and finding.is_expected


def test_records_of_a_model_and_of_prior_texts_survive_json() -> None:
    report = _report("plain_abdomen")
    model = ModelRecord(
        "fake",
        "0" * 64,
        "Phantoms only.",
        {"liver_cyst": (0.3, 0.7)},
        (Decision("model", "An unusual scan.", True), Decision("model", "A detail.")),
        ("The model also saw hepatic cyst.",),
        ("The model did not see gallstone.",),
        ("gallstone: not seen",),
        DraftCounts(2, 1, 3),
    )
    hit = PriorHit("S1/0", "S1", "2020-02-03", "north", "liver", 0.8125, None, True, "near")
    retrieval = RetrievalRecord(
        "INDEX",
        "ab",
        "hashed",
        "Not of this scan.",
        (PriorQuery("hepatic cyst", "liver", "sentence", 4, {"same patient": 1}, (hit,)),),
        (PriorHint(1, "A cyst.", "liver", "S1/0", ("an order",)),),
        (Decision("retrieve", "Searched priors."),),
        True,
        "",
        (SectionChange("liver", ("Old.",), ("New.", "Newer.")),),
        (CopiedSentence("liver", "A cyst.", 1, False),),
    )
    both = replace(report, model=model, retrieval=retrieval)
    assert Report.from_json(both.to_json()) == both != report
    stored = json.loads(both.to_json())["provenance"]
    assert set(stored) == {*report.provenance, "model", "retrieval"}
    assert stored["model"]["warnings"] == ["An unusual scan."] == list(model.warnings)
    assert stored["model"]["drafts"] == {"accepted": 2, "said_by_template": 1, "replaced": 3}
    assert stored["retrieval"]["changed"] == [{"section": "liver", "without": ["Old."], "with": ["New.", "Newer."]}]
    assert stored["retrieval"]["queries"][0]["hits"][0]["z"] is None
    stored["model"] = "fake"
    with pytest.raises(InputError, match=r"report\.schema\.json"):
        Report.from_json(json.dumps({**json.loads(both.to_json()), "provenance": stored}))


def _set(data: dict, value: object, *path: str | int) -> None:
    for key in path[:-1]:
        data = data[key]
    data[path[-1]] = value


@pytest.mark.parametrize(
    ("path", "value"),
    [
        (("findings", 0, "status"), "bogus"),
        (("findings", 0, "source"), "bogus"),
        (("examination",), [["a", "b", "c"]]),
        (("provenance",), "xx"),
        (("sentences", 0, "finding_ids"), [[]]),
    ],
)
def test_a_report_changed_by_hand_is_one_clear_error(path: tuple[str | int, ...], value: object) -> None:
    data = json.loads(_report("plain_abdomen").to_json())
    _set(data, value, *path)
    with pytest.raises(InputError, match=r"report\.json follows docs/report\.schema\.json"):
        Report.from_json(json.dumps(data))

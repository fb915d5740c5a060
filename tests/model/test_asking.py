"""What questions ask, and what they ask beyond it. The wordings of phantom questions: ``tests/dataset``."""

from __future__ import annotations

from dataclasses import asdict, replace

import pytest

from radvlm.dataset.questions import subjects
from radvlm.model.mask_answers import answer_of_masks, told_by_findings
from radvlm.model.questions import Asked, Shown, Subjects, named_side, of_side, property_of, understand, verdict
from radvlm.types.anatomy import structure
from radvlm.types.finding import Assessment, Finding, Status
from radvlm.types.finding_kinds import finding_kind
from radvlm.types.geometry import Box
from radvlm.types.measurement import Measurement
from radvlm.types.model_output import FindingScore
from radvlm.types.records import record_from
from radvlm.types.region import Region

KNOWN = record_from(Subjects, subjects())


@pytest.mark.parametrize(
    ("question", "kind", "findings", "side"),
    [
        ("Is there a hepatic cyst?", "presence", {"liver_cyst"}, ""),
        ("Are there any liver cysts?", "presence", {"liver_cyst"}, ""),
        ("Is a lung mass present?", "presence", {"lung_tumor"}, ""),
        ("Is there a ground-glass pulmonary nodule?", "presence", {"ground_glass_nodule"}, ""),
        ("Is there hepatomegaly?", "presence", {"hepatomegaly"}, ""),
        ("Is the spleen enlarged?", "presence", {"splenomegaly"}, ""),
        ("Is there a left renal cyst?", "presence", {"kidney_cyst"}, "left"),
        ("Is there a lesion in the spleen?", "presence", {"spleen_lesion", "spleen_cyst"}, ""),
        ("Is there a splenic lesion?", "presence", {"spleen_lesion"}, ""),
        ("Is there a lesion in the right kidney?", "presence", {"kidney_cyst", "kidney_tumor"}, "right"),
        ("Is there any abnormality in the spleen?", "presence", {"splenomegaly", "spleen_cyst", "spleen_lesion"}, ""),
        ("Is the spleen normal?", "healthy", {"splenomegaly", "spleen_cyst", "spleen_lesion"}, ""),
        ("Where is the stone?", "organ", {"gallstone", "kidney_stone"}, ""),
        ("How large is the renal cyst?", "measure", {"kidney_cyst"}, ""),
        ("What is the volume of the spleen?", "measure", {"splenomegaly", "spleen_cyst", "spleen_lesion"}, ""),
    ],
)
def test_questions_that_people_ask(question: str, kind: str, findings: set[str], side: str) -> None:
    asked = understand(question, KNOWN)
    assert asked is not None
    assert (asked.kind, set(asked.findings), asked.side) == (kind, findings, side)


@pytest.mark.parametrize(
    "question",
    [
        "Is there a hepatic cyst or a splenic cyst?",
        "Is there a lesion in the liver or the spleen?",
        "Is there a tooth?",
        "Does the liver cyst look malignant?",
        "Has the renal cyst grown since last year?",
        "Describe the liver.",
        "Is the cyst in the liver compressing the portal vein?",
        "",
    ],
)
def test_what_asks_more_or_something_else_is_not_understood(question: str) -> None:
    assert understand(question, KNOWN) is None


def test_a_model_without_words_understands_nothing() -> None:
    assert understand("Is there a hepatic cyst?", Subjects()) is None
    assert record_from(Subjects, asdict(KNOWN)) == KNOWN


def _score(p: float, status: Status, finding: str = "kidney_cyst", site: str = "kidney_left") -> FindingScore:
    return FindingScore(finding, "renal cyst", "kidneys", site, p, status)


def test_no_is_said_only_of_what_a_report_would_call_absent() -> None:
    gone, open_, there = (
        _score(p, s) for p, s in ((0.05, Status.ABSENT), (0.3, Status.INDETERMINATE), (0.25, Status.PRESENT))
    )
    assert verdict("presence", [gone]) == ("No", 0.95)
    assert verdict("presence", [gone, open_]) == ("Yes", 0.3)
    assert verdict("presence", [open_, there]) == ("Yes", 0.25), "what is present leads, however it is calibrated"
    assert verdict("normal", [gone]) == ("Normal", 0.95) and verdict("normal", [there]) == ("Abnormal", 0.25)
    assert verdict("healthy", [gone]) == ("Yes", 0.95) and verdict("healthy", [open_]) == ("No", 0.3)


def test_sides_and_parts() -> None:
    left, right, none = (
        _score(0.5, Status.PRESENT),
        _score(0.4, Status.PRESENT, site="kidney_right"),
        _score(0.3, Status.PRESENT, "liver_cyst", "liver"),
    )
    assert of_side([left, right, none], "left") == [left, none]
    assert of_side([left, right, none], "") == [left, right, none]
    where = Asked("location", ("kidney_cyst",))
    assert property_of(where, [left], Shown(0, 0, 1, {"Upper pole": 0.2, "Lower pole": 0.7})) == (
        "Lower pole",
        pytest.approx(0.35),
    )
    assert property_of(where, [left], Shown(0, 0, 1, {})) == ("", 0.0)


def _masked(name: str, status: Status, site: str, scope: str = "", category: str = "") -> Finding:
    box = Box((0, 0, 0), (2, 2, 2))
    regions = (Region(f"{name}/1", name, box, 8, 1.0, (0.0, 0.0, 0.0)),) if status is Status.PRESENT else ()
    return Finding("?", name, status, site, structure(site).section, regions, category=category, scope=scope)


MASKS = (
    _masked("kidney_cyst_left", Status.PRESENT, "kidney_left"),
    _masked("kidney_tumor_left", Status.ABSENT, "kidney_left"),
    _masked("kidney_tumor_right", Status.ABSENT, "kidney_right"),
    _masked("kidney_stone_left", Status.ABSENT, "kidney_left", "imaged part"),
    _masked("spleen_cyst", Status.ABSENT, "spleen"),
)


@pytest.mark.parametrize(
    ("question", "told"),
    [
        ("Is there a renal cyst?", Status.PRESENT),
        ("Is there a left renal cyst?", Status.PRESENT),
        ("Is there a right renal cyst?", None),
        ("Is there a renal tumor?", Status.ABSENT),
        ("Is there a left renal tumor?", Status.ABSENT),
        ("Is there a left renal stone?", None),
        ("Is there a lesion in the kidneys?", Status.PRESENT),
        ("Is there a splenic cyst?", Status.ABSENT),
        ("Is there a lesion in the spleen?", None),
        ("Is there a pulmonary nodule?", None),
    ],
)
def test_masks_tell_what_is_there(question: str, told: Status | None) -> None:
    _, about = _asked(question)
    verdict = told_by_findings(about, MASKS)
    assert (None if verdict is None else verdict.status) is told
    assert told_by_findings(about, ()) is None


def _asked(question: str) -> tuple[Asked, list[FindingScore]]:
    asked = understand(question, KNOWN)
    assert asked is not None, question
    about = []
    for name in asked.findings:
        kind = finding_kind(name)
        sites = [f"{kind.site}_{side}" for side in ("left", "right")] if kind.sided else [kind.site]
        about += [FindingScore(name, kind.words, kind.section, s, 0.5, Status.INDETERMINATE) for s in sites]
    return asked, of_side(about, asked.side)


def _numbers(finding: Finding, **values: float) -> Finding:
    return replace(finding, measurements=tuple(Measurement(q, v, "masks") for q, v in values.items()))


def _organ(name: str, **values: float) -> Finding:
    return replace(_numbers(_masked(name, Status.PRESENT, name), **values), kind="organ")


SPLEEN = _organ("spleen", volume=519.3, mean_hu=44.2)
ENLARGED = Assessment(
    "A1", "splenomegaly", Status.PRESENT, "spleen", "spleen", SPLEEN.regions, SPLEEN.measurements[:1], "enlarged"
)
MEASURED = (
    replace(SPLEEN, assessments=(ENLARGED,)),
    replace(_organ("liver", volume=900.0), cut_by=("superior",)),
    replace(
        _numbers(_masked("kidney_cyst_left", Status.PRESENT, "kidney_left"), long_axis=36.0, short_axis=33.0),
        id="F2",
        host="kidney_left",
    ),
    replace(
        _masked("kidney_cyst_right", Status.PRESENT, "kidney_right"), id="F3", pole="upper pole", host="kidney_right"
    ),
    replace(
        _masked("kidney_cyst_right", Status.PRESENT, "kidney_right"), id="F4", pole="lower pole", host="kidney_right"
    ),
    _masked("spleen_cyst", Status.ABSENT, "spleen"),
    _masked("liver_cyst", Status.ABSENT, "liver"),
)


@pytest.mark.parametrize(
    ("question", "text", "status"),
    [
        ("How large is the spleen?", "Spleen: volume 519 mL, 44 HU; Spleen: volume 519 mL, enlarged", Status.PRESENT),
        ("What is the size of the renal cysts?", "Left renal cyst: left kidney, 3.6 x 3.3 cm", Status.PRESENT),
        ("How large is the left renal cyst?", "Left renal cyst: left kidney, 3.6 x 3.3 cm", Status.PRESENT),
        ("Is the spleen enlarged?", "Yes", Status.PRESENT),
        ("How many renal cysts are there?", "3", Status.PRESENT),
        ("How many right renal cysts are there?", "2", Status.PRESENT),
        ("Is there one renal cyst or more than one?", "More than one", Status.PRESENT),
        ("Is there one left renal cyst or more than one?", "One", Status.PRESENT),
        ("On which side is the renal cyst?", "Both sides", Status.PRESENT),
        ("Which organ contains the cyst?", "Kidneys", Status.PRESENT),
        ("How many splenic cysts are there?", "0", Status.ABSENT),
        ("In which segment is the hepatic cyst?", "No hepatic cyst", Status.ABSENT),
    ],
)
def test_masks_answer_with_text_and_status(question: str, text: str, status: Status) -> None:
    asked, about = _asked(question)
    given = answer_of_masks(question, asked, about, MEASURED)
    assert given is not None and (given.text, given.status, given.confidence) == (text, status, 1.0)
    assert given.evidence and (given.region is None) is (status is Status.ABSENT)
    assert answer_of_masks(question, asked, about, ()) is None


def test_what_is_judged_of_a_lesion_is_no_size_of_its_organ() -> None:
    cyst = _numbers(_masked("liver_cyst", Status.PRESENT, "liver"), long_axis=36.0, short_axis=33.0)
    shape = (Measurement("flatness", 0.8, "masks"),)
    round_ = Assessment("A2", "lesion_shape", Status.PRESENT, "liver", "liver", cyst.regions, shape, "round")
    question = "How large is the liver?"
    given = answer_of_masks(question, _asked(question)[0], [], (replace(cyst, assessments=(round_,)),))
    assert given is None
    question = "How large is the hepatic cyst of the liver?"
    asked = Asked("measure", ("liver_cyst",))
    given = answer_of_masks(question, asked, [], (replace(cyst, assessments=(round_,)),))
    assert given is not None and given.text == "Hepatic cyst: liver, 3.6 x 3.3 cm, round"


def test_places_are_those_of_each_finding_and_what_is_open_stays_open() -> None:
    question = "In which segment is the hepatic cyst?"
    asked, about = _asked(question)
    one, other = (
        replace(_masked("liver_cyst", Status.PRESENT, "liver"), id=name, locations=(f"liver_segment_{n}",))
        for name, n in (("F1", 8), ("F2", 4))
    )
    given = answer_of_masks(question, asked, about, (one, other))
    assert given is not None and given.text == "Segment VIII and segment IV"
    doubtful = replace(one, status=Status.INDETERMINATE, reason="too small")
    given = answer_of_masks(question, asked, about, (doubtful,))
    assert given is not None and (given.text, given.status, given.confidence) == ("Segment VIII", "indeterminate", 0.5)


def test_a_size_that_the_field_of_view_cuts_is_not_told() -> None:
    question = "How large is the liver?"
    assert answer_of_masks(question, _asked(question)[0], [], MEASURED) is None
    question = "How large is the right renal cyst?"
    assert answer_of_masks(question, _asked(question)[0], [], MEASURED) is None, "the left one alone was measured"


@pytest.mark.parametrize(
    ("question", "side"),
    [
        ("Is there a stone in the right kidney?", "right"),
        ("LEFT renal cyst?", "left"),
        ("Left or right?", ""),
        ("Is it bright?", ""),
    ],
)
def test_the_side_that_a_question_names(question: str, side: str) -> None:
    assert named_side(question) == side

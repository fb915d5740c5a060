"""No two statements of a report contradict each other; what does is withdrawn, listed and told."""

from __future__ import annotations

from dataclasses import replace

import pytest

import hand_made
import made_reports
from radvlm.compose import compose_report, verify_report
from radvlm.compose.verify.class_limits import outside_class
from radvlm.compose.verify.sentence import verify_sentence
from radvlm.compose.verify.whole_report import REASON, contradictions, settled
from radvlm.errors import VerificationError
from radvlm.interpret import interpret
from radvlm.types.finding import Assessment, ClassLimits, Finding, Status
from radvlm.types.report import Report, Sentence
from radvlm.types.scan_measurements import PHASE_OF_TIMING, Phase
from radvlm.types.study import Patient

ADULT = Patient(sex="F", age_years=63)


@pytest.fixture(scope="module")
def report() -> Report:
    return compose_report(interpret(hand_made.complete_abdomen(), patient=ADULT))


def _finding(report: Report, kind: str, site: str = "") -> Finding:
    return next(f for f in report.findings if f.kind == kind and site in ("", f.site))


@pytest.mark.parametrize("seed", range(40, 52))
def test_reports_of_made_up_measurements_are_whole(seed: int) -> None:
    made = made_reports.of_made_up(seed)
    assert contradictions(made.findings, made.sentences) == []
    assert not any("Withdrawn" in text for _, text in made.examination)


@pytest.mark.slow
def test_reports_of_phantoms_are_whole() -> None:
    for seed, region in ((1, "abdomen"), (2, "chest")):
        made = made_reports.of_phantom(seed, region, 6.0)
        assert contradictions(made.findings, made.sentences) == []


@pytest.mark.slow
def test_a_report_of_a_real_scan_is_whole(real_data: object) -> None:
    _, make = next(made_reports.reports())
    made = make()
    assert contradictions(made.findings, made.sentences) == []


@pytest.mark.parametrize("timing", [t for t, phase in PHASE_OF_TIMING.items() if phase != "unknown"])
def test_a_finer_timing_is_no_other_phase_than_that_of_the_lesions(timing: str) -> None:
    name = PHASE_OF_TIMING[timing]
    phase = Phase(name, "said by a test", True, "" if timing == name else timing, (name,))
    findings = interpret(replace(hand_made.complete_abdomen(), phase=phase), patient=ADULT)
    told = compose_report(findings)
    assert contradictions(findings, told.sentences) == []
    assert len(told.findings) == len(findings) and not any("Withdrawn" in text for _, text in told.examination)
    assert any("hepatic" in s.text or "liver lesion" in s.text for s in told.impression)


def test_findings_that_cannot_both_be(report: Report) -> None:
    spleen, cyst = _finding(report, "organ", "spleen"), _finding(report, "kidney_cyst_left")
    effusion = _finding(report, "pleural_effusion_right")
    absent = Finding("X1", "organ", Status.ABSENT, "spleen", "spleen", category="not seen in the imaged range")
    no_cyst = Finding("X2", "kidney_cyst_left", Status.ABSENT, "kidney_left", "kidneys")
    wrong_side = replace(
        effusion, id="X3", locations=("lung_lower_lobe_left",), regions=effusion.regions, assessments=()
    )
    other_phase = replace(cyst, id=cyst.id, phase="arterial")
    for added, gone, what in (
        ((absent,), "X1", "Spleen is both present and absent"),
        ((no_cyst,), "X2", "both present and absent"),
        ((wrong_side,), "X3", "lies in the left lower lobe"),
    ):
        found = contradictions((*report.findings, *added), ())
        assert any(what in c.what for c in found) and any(gone in c.less_certain for c in found), found
    changed = tuple(other_phase if f is cyst else f for f in report.findings)
    assert any("two contrast phases" in c.what for c in contradictions(changed, ()))
    assert spleen.status is Status.PRESENT


@pytest.mark.parametrize(
    ("text", "site", "what"),
    [
        ("The liver is incompletely imaged.", "liver", "included in the scan and incompletely imaged"),
        ("The gallbladder is not seen in the imaged range.", "gallbladder", "not seen in the imaged range"),
    ],
)
def test_sentences_that_cannot_both_stand(report: Report, text: str, site: str, what: str) -> None:
    """The second sentence is true to a finding of its own, as a fault upstream would make it."""
    organ = _finding(report, "organ", site)
    cut = text.endswith("incompletely imaged.")
    other = replace(organ, category=text.rstrip(".").split(" is ")[1], cut_by=("inferior",) if cut else ())
    held = [
        Sentence(f"The {site} is included in the scan.", organ.section, (organ,)),
        Sentence(text, organ.section, (other,)),
    ]
    assert [what in c.what for c in contradictions((), held)] == [True]
    assert [c.sentence for c in contradictions((), held)] == [held[1]]


def test_two_sizes_of_one_lesion(report: Report) -> None:
    stone = _finding(report, "gallstone")
    told = [
        Sentence("1.2 x 0.9 cm gallstone.", "biliary", (stone,)),
        Sentence("12 x 9 mm gallstone.", "impression", (stone,)),
    ]
    assert contradictions((), told) == []
    wrong = replace(told[1], text="1.4 x 0.9 cm gallstone.")
    assert [c.sentence for c in contradictions((), [told[0], wrong])] == [wrong]


def test_what_contradicts_is_withdrawn_listed_and_told(report: Report) -> None:
    """The report is still written; nothing vanishes without a word."""
    no_cyst = Finding("X2", "kidney_cyst_left", Status.ABSENT, "kidney_left", "kidneys")
    with pytest.raises(VerificationError, match="contradict"):
        verify_report(replace(report, findings=(*report.findings, no_cyst)))
    made = compose_report((*report.findings, no_cyst))
    assert not any("No left renal cyst" in s.text for s in made.sentences)
    assert any("renal cyst in the upper pole of the left kidney" in s.text for s in made.sentences)
    assert any(f.reason == REASON for f in made.not_assessed)
    assert any("Withdrawn from the report" in text for _, text in made.examination)
    assert made.provenance["warnings"]


def test_a_present_finding_whose_sentence_is_withdrawn_is_listed(report: Report) -> None:
    organ = _finding(report, "organ", "gallbladder")
    twice = Sentence("The gallbladder is not seen in the imaged range.", "impression", (organ,))
    other = replace(organ, category="not seen in the imaged range")
    kept, sentences, told = settled(
        (other, *(f for f in report.findings if f is not organ)),
        [Sentence("The gallbladder is included in the scan.", "biliary", (other,)), replace(twice, findings=(other,))],
    )
    assert len(told) == 1 and len(sentences) == 1 and any(f.id == organ.id for f in kept)


# --- a number beside a class --------------------------------------------------------------------------------------
def _spleen(volume_ml: float, limits: ClassLimits | None = None) -> tuple[Finding, Assessment]:
    numbers = hand_made.numbers([hand_made.organ("spleen", volume_ml)])
    spleen = next(f for f in interpret(numbers, patient=ADULT) if f.site == "spleen" and f.kind == "organ")
    judged = next(a for a in spleen.assessments if a.kind == "splenomegaly")
    return spleen, judged if limits is None else replace(judged, limits=limits)


@pytest.mark.parametrize("volume_ml", [106.4, 107, 314.4, 314.6, 398.6, 430.6, 431.4, 700])
def test_a_number_lies_within_the_limits_of_its_class(volume_ml: float) -> None:
    spleen, judged = _spleen(volume_ml)
    assert judged.limits is not None and not outside_class(judged)
    assert contradictions([spleen], ()) == []


@pytest.mark.parametrize(
    ("limits", "is_within"),
    [
        (ClassLimits(above=490), True),
        (ClassLimits(at_least=500), True),
        (ClassLimits(above=500), False),
        (ClassLimits(up_to=500), True),
        (ClassLimits(below=500), False),
        (ClassLimits(above=107, up_to=400), False),
        (ClassLimits(at_least=510), False),
    ],
)
def test_a_number_outside_its_class_is_withdrawn_with_the_class(limits: ClassLimits, is_within: bool) -> None:
    spleen, judged = _spleen(500.4, limits)
    other = replace(spleen, assessments=tuple(judged if a.kind == judged.kind else a for a in spleen.assessments))
    found = contradictions([other], ())
    assert [c.less_certain for c in found] == ([] if is_within else [(judged.id,)])
    said = Sentence("The spleen is enlarged (500 mL).", "spleen", (other, judged))
    assert (verify_sentence(said) is None) is is_within


def test_a_draft_that_contradicts_gives_way_to_the_template(report: Report) -> None:
    organ = _finding(report, "organ", "liver")
    cut = replace(organ, category="incompletely imaged", cut_by=("inferior",))
    template = Sentence("The liver is included in the scan.", organ.section, (organ,))
    draft = Sentence("The liver is incompletely imaged.", organ.section, (cut,))
    for held in ([template, draft], [draft, template]):
        assert [c.sentence for c in contradictions((), held, [draft])] == [draft]

"""Sentences as they are dictated (``tests/made/dictated.py``): what is false is refused, what is true is not."""

from __future__ import annotations

import pytest

import dictated
import hand_made
from radvlm.compose import compose_report
from radvlm.compose.verify.sentence import overlooked, verify_sentence
from radvlm.interpret import interpret
from radvlm.types.finding import Citable
from radvlm.types.report import Report, Sentence
from radvlm.types.study import Patient


@pytest.fixture(scope="module")
def report() -> Report:
    return compose_report(interpret(hand_made.complete_abdomen(), patient=Patient(sex="F", age_years=63)))


def _cited(report: Report, *names: str) -> tuple[Citable, ...]:
    """Findings of these kinds or sites, with the judgements on them."""
    held = [f for f in report.findings if f.kind in names or (f.kind == "organ" and f.site in names)]
    return tuple(c for f in held for c in (f, *f.assessments))


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("Mean attenuation of the liver was minus 105 HU.", ("liver",)),
        ("No other ascites.", ("ascites",)),
        ("The liver is of normal size, as is the spleen.", ("liver", "spleen")),
        ("Normal in size: liver, spleen.", ("liver", "spleen")),
        ("Renal cyst in the other kidney, 2.1 cm.", ("kidney_cyst_left",)),
        ("Renal cyst in the left and right kidney.", ("kidney_cyst_left", "kidney_left", "kidney_right")),
        ("Mean attenuation of the left kidney 7 HU, as in the renal cyst.", ("kidney_cyst_left",)),
        ("Both the liver and the spleen are enlarged.", ("liver", "spleen")),
        ("Not all of the liver is imaged.", ("liver",)),
        ("We cannot identify the liver.", ("liver",)),
        ("Gallstone, 12 by 19 millimetres.", ("gallstone",)),
    ],
)
def test_what_is_false_is_refused(report: Report, text: str, names: tuple[str, ...]) -> None:
    assert verify_sentence(Sentence(text, "liver", _cited(report, *names)))


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("Mean attenuation of the liver was 105 HU.", ("organ of liver",)),
        ("W/o ascites.", ("ascites",)),
        ("No ascites and no right renal cyst.", ("ascites", "kidney_cyst_right")),
        ("There is neither ascites nor right renal cyst.", ("ascites", "kidney_cyst_right")),
        ("Gallstone of 12 by 9 millimetres.", ("gallstone",)),
        ("Gallstone w/ diameters of 1.2 and 0.9 cm.", ("gallstone",)),
        ("Gallstone, 1.2 cm across.", ("gallstone",)),
        ("Liver lesions (3), the largest 2.3 cm.", ("liver_lesion",)),
        ("The scan covers the entire gallbladder.", ("gallbladder",)),
        ("Both the stomach and the duodenum are completely imaged.", ("stomach", "duodenum")),
        ("The stomach as well as the duodenum are fully visualised.", ("stomach", "duodenum")),
        ("Incomplete coverage of the right lower lobe.", ("lung_lower_lobe_right",)),
        ("Part of the RLL lies outside the field of view.", ("lung_lower_lobe_right",)),
        ("All vertebrae from T10 to L2 are included in the scan.", hand_made.SPINE),
    ],
)
def test_what_is_true_is_not(report: Report, text: str, names: tuple[str, ...]) -> None:
    cited = tuple(c for c in _cited(report, *(n.removeprefix("organ of ") for n in names)) if c in report.findings)
    sentence = Sentence(text, "liver", cited)
    assert (verify_sentence(sentence) or overlooked(sentence, report.findings)) is None


@pytest.mark.slow
@pytest.mark.parametrize("name", ["FIRST", "SECOND"])
def test_no_dictated_falsehood_passes(report: Report, name: str) -> None:
    tried: dict[bool, list[str]] = {True: [], False: []}
    wrong: dict[bool, list[str]] = {True: [], False: []}
    for number, said in enumerate(dictated.reports_facts(report, getattr(dictated, name))):
        if number % 2:
            continue
        sentence = Sentence(said.text, said.section, said.cited)
        reason = verify_sentence(sentence) or overlooked(sentence, report.findings)
        tried[said.is_true].append(said.text)
        if (reason is None) is not said.is_true:
            wrong[said.is_true].append(f"{said.construction}: {said.text}: {reason}")
    assert len(tried[False]) > 150 and len(tried[True]) > 60
    assert wrong[False] == []
    assert len(wrong[True]) <= 0.1 * len(tried[True]), wrong[True]

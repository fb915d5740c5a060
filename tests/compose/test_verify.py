"""verify refuses whatever a sentence says beyond its findings; every attack here is a slip that a writer may make."""

from __future__ import annotations

from dataclasses import replace

import pytest

import hand_made
from radvlm.compose import Style, compose_report, verify_report, verify_sentence
from radvlm.errors import VerificationError
from radvlm.interpret import interpret
from radvlm.types.finding import Finding, Status, citable
from radvlm.types.measurement import Measurement
from radvlm.types.report import Report, Sentence
from radvlm.types.study import Patient
from radvlm.wording.vocabulary import tokenize

ADULT = Patient(sex="F", age_years=63)


@pytest.fixture(scope="module")
def findings() -> tuple[Finding, ...]:
    return interpret(hand_made.complete_abdomen(), patient=ADULT)


@pytest.fixture(scope="module")
def two_kidneys() -> tuple[Finding, ...]:
    lesions = [
        hand_made.lesion("kidney_cyst_left", 1, 21.0, 19.6, 7, "kidney_left", pole="upper pole"),
        hand_made.lesion("kidney_cyst_right", 1, 34.0, 30.0, 9, "kidney_right", pole="lower pole"),
        hand_made.lesion("vertebra_fracture", 1, 30, 20, level="vertebrae_L1"),
        hand_made.lesion("vertebra_fracture", 2, 30, 20, level="vertebrae_T12"),
    ]
    organs = [
        hand_made.organ("kidney_left", 155, 30),
        hand_made.organ("kidney_right", 162, 31),
        hand_made.organ("adrenal_gland_left", 5, 10, ("inferior",)),
        hand_made.organ("adrenal_gland_right", 5, 10),
        *(
            hand_made.organ(f"vertebrae_{n}", 30, 200, ("superior",) if n == "T11" else ())
            for n in ("T11", "T12", "L1", "L2")
        ),
    ]
    return interpret(hand_made.numbers(organs, lesions), patient=ADULT)


def _said(found: tuple[Finding, ...], text: str, *kinds: str, section: str = "liver") -> str | None:
    """Verify ``text`` as citing every finding of the kinds, or of ``kind@site``."""
    cited = tuple(f for f in citable(found) if f.kind in kinds or f"{f.kind}@{f.site}" in kinds)
    assert cited, kinds
    return verify_sentence(Sentence(text, section, cited))


LIVER = ("liver_lesion", "fluid_attenuation")
TRUE_LIVER = "Three liver lesions: 2.3 x 1.8 cm in segment VI; 1.4 x 1.1 cm in segment IV; 7 x 5 mm in segment II."


@pytest.mark.parametrize(
    "text",
    [
        TRUE_LIVER,
        "There are three lesions in the liver, the largest measuring 2.3 x 1.8 cm in segment VI.",
        "Multiple hepatic lesions, the largest 23 x 18 mm in segment VI, 44 HU.",
        "Three focal hypoattenuating liver lesions, measuring up to 2.3 cm.",
    ],
)
def test_true_sentences_in_other_words_pass(findings: tuple[Finding, ...], text: str) -> None:
    assert _said(findings, text, "liver_lesion") is None


@pytest.mark.parametrize(
    "text",
    [
        TRUE_LIVER.replace("2.3", "2.4"),
        TRUE_LIVER.replace("2.3 x 1.8", "1.8 x 2.3"),
        TRUE_LIVER.replace("2.3 x 1.8 cm", "2.3 x 1.8 mm"),
        TRUE_LIVER.replace("7 x 5 mm", "7 x 5 cm"),
        TRUE_LIVER.replace("2.3", "2,3"),
        TRUE_LIVER.replace("2.3 x 1.8 cm", "2.30 x 1.80 cm"),
        TRUE_LIVER.replace("2.3 x 1.8 cm", "2 x 2 cm"),
        TRUE_LIVER.replace("2.3 x 1.8 cm", "2.3 x 1.8 x 1.8 cm"),
        TRUE_LIVER.replace("1.4 x 1.1", "2.3 x 1.8"),
        TRUE_LIVER.replace("segment VI;", "segment IV;").replace("cm in segment IV; 7", "cm in segment VI; 7"),
        TRUE_LIVER.replace("segment II.", "segment III."),
        TRUE_LIVER.replace("Three", "Four"),
        TRUE_LIVER.replace("Three", "Two"),
        TRUE_LIVER.replace("Three", "3.0"),
        TRUE_LIVER.replace("Three", "Numerous"),
        TRUE_LIVER.replace("Three liver", "No liver"),
        TRUE_LIVER.replace("Three liver", "Three splenic"),
        TRUE_LIVER.replace("Three liver lesions", "Three liver cysts"),
        TRUE_LIVER.replace("Three", "Three new"),
        TRUE_LIVER.replace("Three", "Three malignant"),
        TRUE_LIVER.replace("Three", "Three hyperattenuating"),
        TRUE_LIVER.replace("Three", "Three enlarging"),
        TRUE_LIVER.replace("liver lesions", "left liver lesions"),
        TRUE_LIVER.replace("in segment VI", "left over in segment VI"),
        TRUE_LIVER.replace("2.3 x 1.8 cm", "2-3 cm"),
        TRUE_LIVER.replace("2.3 x 1.8 cm", "2.3-2.4 cm"),
        TRUE_LIVER.replace("2.3 x 1.8 cm", ">2.3 cm"),
        TRUE_LIVER.replace("2.3 x 1.8 cm", "at least 2.3 cm"),
        TRUE_LIVER.replace("2.3 x 1.8 cm", "-2.3 cm"),
        TRUE_LIVER.replace("2.3 x 1.8 cm", "2.3 x 1.8 cm, 20%"),
        TRUE_LIVER.replace("2.3 x 1.8 cm", "2.3 x 1.8 cm, 45 HU"),
        TRUE_LIVER.replace("2.3 x 1.8 cm", "2.3 x 1.8 cm, short axis 2.3 cm"),
        "Three liver lesions, the largest 1.4 x 1.1 cm in segment IV.",
        "Three liver lesions measuring up to 1.4 cm.",
        "One liver lesion, 2.3 x 1.8 cm in segment VI.",
        "2.3 x 1.8 cm liver lesion in segment VI.",
        "A solitary liver lesion, 2.3 x 1.8 cm.",
        "Three liver lesions in segments VI.",
        "Three liver lesions and a renal cyst.",
        "Three liver lesions without ascites.",
        "Three liver lesions, not enlarged.",
        "Three liver lesions, consistent with metastases.",
        "Both livers show three lesions.",
        "Half of the liver has three lesions.",
        "Three liver lesions in a dozen places.",
    ],
)
def test_untrue_sentences_about_liver_lesions_are_refused(findings: tuple[Finding, ...], text: str) -> None:
    assert text != TRUE_LIVER
    assert _said(findings, text, "liver_lesion")


@pytest.mark.parametrize(
    ("text", "true"),
    [
        ("Right kidney 162 mL and left kidney 155 mL.", True),
        ("Right kidney 155 mL and left kidney 162 mL.", False),
        ("Left kidney 162 mL and right kidney 155 mL.", False),
        ("Left kidney 162 mL and left kidney 155 mL.", False),
        ("Right kidney 162 HU and left kidney 155 mL.", False),
        ("Right kidney 162 mL and left kidney 155 ml.", True),
        ("Right kidney 1.6 mL and left kidney 155 mL.", False),
        ("Both kidneys are included in the scan.", True),
        ("Both kidneys are incompletely imaged.", False),
        ("The kidneys are not seen in the imaged range.", False),
        ("No kidneys.", False),
        ("Three kidneys are included in the scan.", False),
    ],
)
def test_kidneys(two_kidneys: tuple[Finding, ...], text: str, true: bool) -> None:
    assert (_said(two_kidneys, text, "organ@kidney_left", "organ@kidney_right", section="kidneys") is None) is true


@pytest.mark.parametrize(
    ("text", "true"),
    [
        (
            "Two renal cysts: 3.4 x 3.0 cm in the lower pole of the right kidney; "
            "2.1 x 2.0 cm in the upper pole of the left "
            "kidney.",
            True,
        ),
        (
            "Two renal cysts: 3.4 x 3.0 cm in the lower pole of the left kidney; "
            "2.1 x 2.0 cm in the upper pole of the right "
            "kidney.",
            False,
        ),
        (
            "Two renal cysts: 3.4 x 3.0 cm in the upper pole of the right kidney; "
            "2.1 x 2.0 cm in the upper pole of the left "
            "kidney.",
            False,
        ),
        ("Bilateral renal cysts, the largest 3.4 x 3.0 cm.", False),
        ("Two renal cysts, the largest 3.4 x 3.0 cm on the right.", True),
        ("Two renal cysts, the largest 3.4 x 3.0 cm on the left.", False),
        ("Two right renal cysts, the largest 3.4 x 3.0 cm.", False),
        ("No renal cyst.", False),
    ],
)
def test_renal_cysts(two_kidneys: tuple[Finding, ...], text: str, true: bool) -> None:
    got = _said(two_kidneys, text, "kidney_cyst_left", "kidney_cyst_right", section="kidneys")
    assert (got is None) is true, got


@pytest.mark.parametrize(
    ("text", "true"),
    [
        ("Two vertebral fractures at T12 and L1.", True),
        ("Two vertebral fractures at T12 and L2.", False),
        ("Two vertebral fractures at L1 and L1.", False),
        ("Vertebral fracture at L1.", False),
    ],
)
def test_fracture_levels(two_kidneys: tuple[Finding, ...], text: str, true: bool) -> None:
    assert (_said(two_kidneys, text, "vertebra_fracture", section="bones") is None) is true


@pytest.mark.parametrize(
    ("text", "true"),
    [
        ("Vertebrae T12 to L2 are included in the scan; T11 is incompletely imaged.", True),
        ("Vertebrae T11 to L2 are included in the scan; T11 is incompletely imaged.", False),
        ("Vertebrae L1 and L2 are included in the scan; T11 is incompletely imaged.", True),
        ("Vertebrae T11 and L2 are included in the scan.", False),
        ("The vertebrae are included in the scan.", False),
        ("Vertebrae T11 to L1 are included in the scan; T11 is incompletely imaged.", False),
        ("Vertebrae T10 to L2 are included in the scan; T11 is incompletely imaged.", False),
        ("Vertebrae L2 to T11 are included in the scan.", False),
        ("Vertebrae T11 to L2 are included in the scan; T12 is incompletely imaged.", False),
        ("Vertebrae T11 to L2 are incompletely imaged.", False),
        ("Vertebrae T11 to L2 are not included in the field of view.", False),
    ],
)
def test_vertebral_ranges(two_kidneys: tuple[Finding, ...], text: str, true: bool) -> None:
    sites = [f"organ@vertebrae_{n}" for n in ("T11", "T12", "L1", "L2")]
    assert (_said(two_kidneys, text, *sites, section="bones") is None) is true


def test_lists_share_their_predicate(two_kidneys: tuple[Finding, ...]) -> None:
    sites = ("organ@adrenal_gland_left", "organ@adrenal_gland_right")
    for text, true in (
        ("The left adrenal gland is incompletely imaged.", True),
        ("The right adrenal gland is incompletely imaged.", False),
        ("The right adrenal gland and left adrenal gland are incompletely imaged.", False),
        ("Both adrenal glands are incompletely imaged.", False),
        ("Right adrenal gland and left adrenal gland: completely included in the field of view.", False),
        ("Right adrenal gland, left adrenal gland: incompletely imaged.", False),
        ("Partially imaged right adrenal gland and left adrenal gland.", False),
        ("Completely imaged right adrenal gland and left adrenal gland.", False),
        ("Completely imaged right adrenal gland.", True),
        ("Right adrenal gland: completely included in the field of view.", True),
        ("Left adrenal gland: incompletely imaged.", True),
        ("Incompletely imaged left adrenal gland.", True),
    ):
        assert (_said(two_kidneys, text, *sites, section="adrenals") is None) is true, text


@pytest.mark.parametrize(
    ("text", "true"),
    [
        ("Volume 523 mL, enlarged.", True),
        ("Enlarged spleen, 523 mL.", True),
        ("Splenomegaly (523 mL).", True),
        ("Volume 523 mL, normal in size.", False),
        ("Volume 523 mL, not enlarged.", False),
        ("Volume 523 mL, markedly enlarged.", False),
        ("No splenomegaly.", False),
        ("Volume 523 mL.", True),
        ("Volume 424 mL, enlarged.", False),
        ("Volume 523 cm.", False),
        ("Spleen enlarged, 118 HU.", True),
        ("Spleen enlarged, 118 mL.", False),
        ("Spleen enlarged, -118 HU.", False),
        ("Liver enlarged, 523 mL.", False),
        ("Spleen unremarkable.", False),
        ("Spleen enlarged, stable.", False),
        ("Spleen enlarged 523.", False),
    ],
)
def test_spleen(findings: tuple[Finding, ...], text: str, true: bool) -> None:
    got = _said(findings, text, "organ@spleen", "splenomegaly", section="spleen")
    assert (got is None) is true, got


@pytest.mark.parametrize(
    ("text", "true"),
    [
        ("No right renal cyst segmented.", True),
        ("Right renal cyst segmented.", False),
        ("No renal cyst segmented.", False),  # the left side was not found empty
        ("No left renal cyst segmented.", False),
        ("No renal lesion segmented.", False),
        ("No lesion segmented.", False),
        ("No no right renal cyst segmented.", False),
        ("No right renal cyst, stone or tumor segmented.", False),
        ("The right kidney has no right renal cyst.", False),
        ("Without right renal cyst.", True),
        ("No right renal cyst of 2 cm.", False),
        ("The scan.", False),
    ],
)
def test_absence(findings: tuple[Finding, ...], text: str, true: bool) -> None:
    got = _said(findings, text, "kidney_cyst_right", section="kidneys")
    assert (got is None) is true, got


def test_a_negated_sentence_may_not_cite_what_is_present(findings: tuple[Finding, ...]) -> None:
    cited = ("kidney_cyst_right", "kidney_cyst_left")
    assert _said(findings, "No renal cyst segmented.", *cited, section="kidneys")
    assert _said(findings, "No right renal cyst segmented.", *cited, section="kidneys")
    text = "2.1 x 2.0 cm left renal cyst; no right renal cyst segmented."
    assert _said(findings, text, *cited, section="kidneys") is None


def test_not_assessed(findings: tuple[Finding, ...]) -> None:
    kind = "focal_splenic_lesion"
    assert _said(findings, "Focal splenic lesions were not assessed.", kind, section="spleen") is None
    for text in (
        "No focal splenic lesions.",
        "Focal splenic lesions.",
        "Focal splenic lesions were assessed.",
        "Focal liver lesions were not assessed.",
        "Three focal splenic lesions were not assessed.",
        "Focal splenic lesions were not not assessed.",
    ):
        assert _said(findings, text, kind, section="spleen"), text
    assert _said(findings, "Spleen not assessed.", "organ@spleen", section="spleen")


def test_not_seen_in_the_imaged_range() -> None:
    found = interpret(hand_made.upper_abdomen_stack(), patient=ADULT)
    kidneys = ("organ@kidney_left", "organ@kidney_right")
    assert _said(found, "The kidneys are not seen in the imaged range.", *kidneys, section="kidneys") is None
    for text in (
        "The kidneys are seen in the imaged range.",
        "The kidneys are absent.",
        "No kidneys.",
        "The kidneys and spleen are not seen in the imaged range.",
        "The left kidney is included in the scan.",
        "No, the kidneys are not seen in the imaged range.",
    ):
        assert _said(found, text, *kidneys, section="kidneys"), text
    assert _said(found, "The liver is not seen in the imaged range.", "organ@liver")


def test_technique_numbers_keep_their_meaning() -> None:
    found = interpret(hand_made.upper_abdomen_stack(), patient=ADULT)
    assert _said(found, "20 axial slices at 2 mm spacing, coverage 40 mm.", "coverage", section="technique") is None
    for text in (
        "40 axial slices at 2 mm spacing, coverage 40 mm.",
        "20 axial slices at 40 mm spacing, coverage 2 mm.",
        "20 axial slices at 2 mm spacing, coverage 40 cm.",
        "20 slices, 2 mm.",
    ):
        assert _said(found, text, "coverage", section="technique"), text
    assert _said(found, "Non-contrast.", "contrast_phase", section="technique")


def test_a_report_that_counts_must_cite_all(findings: tuple[Finding, ...]) -> None:
    report = compose_report(findings)
    two = tuple(f for f in findings if f.kind == "liver_lesion")[:2]
    short = Sentence("Two liver lesions, the largest 2.3 x 1.8 cm.", "impression", two)
    assert verify_sentence(short) is None
    with pytest.raises(VerificationError, match="leaves out"):
        verify_report(replace(report, sentences=(*report.sentences, short)))
    false = Sentence(
        "Volume 523 mL, normal in size.",
        "spleen",
        tuple(f for f in findings if f.site == "spleen" and f.kind == "organ"),
    )
    with pytest.raises(VerificationError, match="normal"):
        verify_report(replace(report, sentences=(*report.sentences, false)))


def test_uk_spelling_is_verified_alike() -> None:
    lesions = [
        hand_made.lesion("liver_tumor", 1, 30, 20, 60, "liver", ("liver_segment_8",)),
        hand_made.lesion("intracerebral_hemorrhage", 1, 30, 20, 65, "brain"),
    ]
    found = interpret(
        hand_made.numbers([hand_made.organ("liver"), hand_made.organ("brain"), hand_made.organ("esophagus")], lesions),
        patient=ADULT,
    )
    text = compose_report(found, style=Style(spelling="uk")).text
    assert "liver tumour" in text and "haemorrhage" in text and "oesophagus" in text
    assert "tumor " not in text and "hemorrhage " not in text.replace("haemorrhage", "")


def test_tokenizer_keeps_numbers_and_levels_whole() -> None:
    assert tokenize("2.3 x 1.8 cm, T10 to L2 (non-contrast).") == (
        "2.3",
        "x",
        "1.8",
        "cm",
        ",",
        "t10",
        "to",
        "l2",
        "(",
        "non-contrast",
        ")",
        ".",
    )


def test_statuses_are_those_expected(findings: tuple[Finding, ...]) -> None:
    assert {f.status for f in citable(findings)} == {
        Status.PRESENT,
        Status.ABSENT,
        Status.NOT_ASSESSED,
        Status.INDETERMINATE,
    }
    assert Report(findings, compose_report(findings).sentences)


def test_one_size_cannot_stand_for_two_lesions() -> None:
    lesions = [
        hand_made.lesion("liver_lesion", n, size, 18.0, 40, "liver", ("liver_segment_6",))
        for n, size in ((1, 24.0), (2, 23.0))
    ]
    found = interpret(hand_made.numbers([hand_made.organ("liver")], lesions), patient=ADULT)
    assert _said(found, "Two liver lesions: 2.4 x 1.8 cm; 2.3 x 1.8 cm.", "liver_lesion") is None
    assert _said(found, "Two liver lesions: 2.3 x 1.8 cm; 2.4 x 1.8 cm.", "liver_lesion") is None
    for text in (
        "Two liver lesions: 2.4 x 1.8 cm; 2.4 x 1.8 cm.",
        "Two liver lesions: 2.3 x 1.8 cm; 2.3 x 1.8 cm.",
        "Two liver lesions: 2.4 x 1.8 cm; 2.3 x 1.8 cm; 2.3 x 1.8 cm.",
    ):
        assert _said(found, text, "liver_lesion"), text


def test_both_needs_both() -> None:
    organs = [hand_made.organ("kidney_left", cut=("inferior",)), hand_made.organ("kidney_right", cut=("inferior",))]
    found = interpret(hand_made.numbers(organs), patient=ADULT)
    for text in ("Both kidneys are incompletely imaged.", "The kidneys are incompletely imaged."):
        assert _said(found, text, "organ@kidney_left", "organ@kidney_right", section="kidneys") is None
        assert _said(found, text, "organ@kidney_left", section="kidneys"), text
        assert _said(found, text, "organ@kidney_right", section="kidneys"), text


def test_what_judges_a_pair_lends_neither_organ_the_numbers_of_the_other(findings: tuple[Finding, ...]) -> None:
    cited = ("organ@kidney_right", "organ@kidney_left", "kidney_asymmetry")
    pair = "the kidneys are symmetric in craniocaudal extent."
    assert _said(findings, f"Right kidney volume 162 mL; {pair}", *cited, section="kidneys") is None
    assert _said(findings, f"Left kidney volume 162 mL; {pair}", *cited, section="kidneys")
    assert _said(findings, "The kidneys are included in the scan.", *cited, section="kidneys"), "symmetry is not said"
    assert _said(
        findings, f"Volume of the left kidney 155 mL, of the right one 155 mL; {pair}", *cited, section="kidneys"
    )


@pytest.mark.parametrize("pole", ["upper pole", "lower pole", "interpolar region"])
def test_a_pole_is_that_of_the_lesion(pole: str) -> None:
    cyst = hand_made.lesion("kidney_cyst_left", 1, 21.0, 19.6, 7, "kidney_left", pole=pole)
    found = interpret(hand_made.numbers([hand_made.organ("kidney_left", 155)], [cyst]), patient=ADULT)
    for said in ("upper pole", "lower pole", "interpolar region"):
        text = f"2.1 x 2.0 cm renal cyst in the {said} of the left kidney."
        assert (_said(found, text, "kidney_cyst_left", section="kidneys") is None) is (said == pole), text


@pytest.mark.parametrize("joined", ["Left {} and right {}", "Left {} or right {}", "Left {}, right {}"])
def test_what_is_said_of_a_list_is_said_of_each_of_its_members(joined: str) -> None:
    text = f"{joined.format('kidney', 'kidney')} incompletely imaged."
    for cut, true in ((("left", "right"), True), (("left",), False), (("right",), False)):
        organs = [hand_made.organ(f"kidney_{s}", cut=("inferior",) if s in cut else ()) for s in ("left", "right")]
        found = interpret(hand_made.numbers(organs), patient=ADULT)
        got = _said(found, text, "organ@kidney_left", "organ@kidney_right", section="kidneys")
        assert (got is None) is true, (text, cut, got)


def test_attenuation_of_a_lesion_is_that_of_its_core_where_it_was_measured(findings: tuple[Finding, ...]) -> None:
    cyst = next(f for f in findings if f.kind == "kidney_cyst_left")
    core = Measurement("core_mean_hu", 12.0, "mean away from the edge", region_id=cyst.regions[0].id)
    for finding, hu, other in ((cyst, 7, 12), (replace(cyst, measurements=(*cyst.measurements, core)), 12, 7)):
        for value, true in ((hu, True), (other, False)):
            sentence = Sentence(f"2.1 x 2.0 cm left renal cyst, {value} HU.", "kidneys", (finding,))
            assert (verify_sentence(sentence) is None) is true, sentence.text
    median = replace(core, quantity="median_hu", value=9.0)
    both = replace(cyst, measurements=(*cyst.measurements, core, median))
    for text, true in (("median 9 HU", True), ("median 12 HU", False), ("9 HU", False), ("mean 12 HU", True)):
        sentence = Sentence(f"2.1 x 2.0 cm left renal cyst, {text}.", "kidneys", (both,))
        assert (verify_sentence(sentence) is None) is true, text


def test_the_sign_of_an_attenuation_is_part_of_it() -> None:
    for hu, texts in ((-35, {"-35 HU": True, "35 HU": False, "- 35 HU": True}), (35, {"-35 HU": False, "35 HU": True})):
        lesions = [hand_made.lesion("liver_lesion", 1, 24.0, 18.0, hu, "liver", ("liver_segment_6",))]
        found = interpret(hand_made.numbers([hand_made.organ("liver")], lesions), patient=ADULT)
        for text, true in texts.items():
            said = f"2.4 x 1.8 cm liver lesion in segment VI, {text}."
            assert (_said(found, said, "liver_lesion") is None) is true, said


@pytest.fixture(scope="module")
def cut_liver() -> tuple[Finding, ...]:
    """The liver is cut, spleen and left kidney are whole, the right kidney was searched for and not found."""
    cyst = hand_made.lesion(
        "liver_cyst", 1, 24.0, 18.0, 5, "liver", ("liver_segment_6",), attenuation="hypoattenuating"
    )
    organs = [hand_made.organ("liver", 1200, 50, ("superior",)), hand_made.organ("spleen", 210, 52)]
    organs.append(hand_made.organ("kidney_left", 150, 30))
    absent = ("kidney_right", "kidney_cyst_left", "kidney_cyst_right")
    return interpret(hand_made.numbers(organs, [cyst], absent, certain=False), patient=ADULT)


WHOLE = (
    "included in the scan",
    "completely imaged",
    "fully visualized",
    "seen in its entirety",
    "entirely within the field of view",
    "included",
    "covered in full by the scan",
)
CUT = (
    "incompletely imaged",
    "only partially visualized",
    "partly included in the field of view",
    "not seen in its entirety",
    "truncated",
    "not completely covered by the scan",
)


@pytest.mark.parametrize(("words", "is_whole"), [*((w, True) for w in WHOLE), *((w, False) for w in CUT)])
def test_whether_an_organ_is_complete_is_a_claim_in_any_words(
    cut_liver: tuple[Finding, ...], words: str, is_whole: bool
) -> None:
    for site, name, cut in (
        ("liver", "liver", True),
        ("spleen", "spleen", False),
        ("kidney_left", "left kidney", False),
    ):
        text = f"The {name} is {words}."
        assert (_said(cut_liver, text, f"organ@{site}", section="liver") is None) is (is_whole is not cut), text
    both = ("organ@liver", "organ@spleen")
    for text in (f"The liver and spleen are {words}.", f"The spleen, the liver are {words}."):
        assert _said(cut_liver, text, *both), text
    assert _said(cut_liver, f"The right kidney is {words}.", "organ@kidney_right", section="kidneys")
    assert _said(cut_liver, f"The kidneys are {words}.", "organ@kidney_right", "organ@kidney_left", section="kidneys")


def test_neutral_words_carry_no_claim_together(cut_liver: tuple[Finding, ...]) -> None:
    for text in (
        "Spleen volume 210 mL, within the reference range.",
        "Spleen volume 210 mL, within limits.",
        "The spleen is limited.",
        "Limited coverage of the spleen.",
        "Spleen volume 210 cm.",
        "The spleen is in the left kidney.",
        "Both kidneys.",
        "Mean attenuation of the spleen 210 mL.",
    ):
        assert _said(cut_liver, text, "organ@spleen", "organ@kidney_left", section="spleen"), text


def test_an_open_contrast_phase_is_not_stated_as_certain(cut_liver: tuple[Finding, ...]) -> None:
    for text, true in (
        ("Portal venous phase.", False),
        ("Portal venous phase, inferred from organ attenuation.", False),
        ("Contrast phase uncertain, possibly portal venous.", True),
        ("The contrast phase is unclear, probably portal venous.", True),
        ("Contrast phase uncertain, possibly arterial.", False),
    ):
        assert (_said(cut_liver, text, "contrast_phase", section="technique") is None) is true, text


def test_what_is_said_of_a_lesion_is_not_said_of_its_organ(cut_liver: tuple[Finding, ...]) -> None:
    for text, true in (
        ("2.4 x 1.8 cm hypoattenuating hepatic cyst in segment VI, 5 HU.", True),
        ("Segment 6 hypodense hepatic cyst measuring 24 by 18 mm.", True),
        ("In segment VI of the liver, a 2.4 cm hepatic cyst.", True),
        ("The liver is hypoattenuating.", False),
        ("The liver is hypoattenuating, 5 HU.", False),
        ("2.4 x 1.8 cm hepatic cyst; the liver is hypoattenuating.", False),
        ("Hepatic cysts in segment VI.", False),
        ("Segment VI, 2.4 x 1.8 cm.", False),
        ("Hypoattenuating, 5 HU.", False),
    ):
        assert (_said(cut_liver, text, "liver_cyst") is None) is true, text


@pytest.mark.parametrize(
    ("text", "true"),
    [
        ("No evidence of a left renal cyst.", True),
        ("No left renal cyst is identified.", True),
        ("A left renal cyst is not seen.", True),
        ("Left renal cyst is absent.", True),
        ("Negative for left renal cyst.", True),
        ("A left renal cyst is seen.", False),
        ("A right renal cyst is not seen.", False),
        ("Renal cysts are not seen.", False),
        ("A left renal stone is not seen.", False),
        ("Not only a left renal cyst is seen.", False),
    ],
)
def test_absence_in_other_words(cut_liver: tuple[Finding, ...], text: str, true: bool) -> None:
    assert (_said(cut_liver, text, "kidney_cyst_left", section="kidneys") is None) is true


@pytest.mark.parametrize(
    ("text", "true"),
    [
        ("The spleen is normal in size.", True),
        ("Spleen of normal size, 210 cc.", True),
        ("Spleen size within normal limits, approximately 210 ml.", True),
        ("No splenomegaly.", True),
        ("The spleen is not enlarged.", True),
        ("Splenomegaly.", False),
        ("The spleen is enlarged.", False),
        ("The spleen is normal.", False),
        ("The spleen is unremarkable.", False),
        ("The spleen is small for an adult.", False),
        ("The spleen is larger than normal.", False),
        ("Spleen normal in size, 211 cc.", False),
        ("Spleen normal in size, 210 HU.", False),
    ],
)
def test_normal_size_in_other_words(cut_liver: tuple[Finding, ...], text: str, true: bool) -> None:
    assert (_said(cut_liver, text, "organ@spleen", "splenomegaly", section="spleen") is None) is true


def test_runs_of_whole_and_cut_vertebrae_in_any_order_verify() -> None:
    levels = ("T11", "T12", "L1", "L2", "L3", "L4")
    for cut in range(1, 2 ** len(levels)):
        organs = [
            hand_made.organ(f"vertebrae_{n}", 30, 200, ("superior",) if cut >> k & 1 else ())
            for k, n in enumerate(levels)
        ]
        report = compose_report(interpret(hand_made.numbers(organs), patient=ADULT))
        said = next(s.text for s in report.sentences if s.section == "bones")
        assert said.count("imaged") == 1, said


@pytest.mark.parametrize(
    ("text", "true"),
    [
        ("The heart is not seen in the imaged range.", True),
        ("No heart is seen in the imaged range.", True),
        ("No heart is identified in the imaged range.", True),
        ("No liver is seen in the imaged range.", False),
        ("The heart is seen in the imaged range.", False),
    ],
)
def test_an_organ_outside_the_scan_in_other_words(text: str, true: bool) -> None:
    heart = Finding("F1", "organ", Status.ABSENT, "heart", "heart", category="not seen in the imaged range")
    assert (verify_sentence(Sentence(text, "heart", (heart,))) is None) is true

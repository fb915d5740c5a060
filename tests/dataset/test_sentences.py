"""Every sentence is true: by what it claims to say, by its words, and by the checker of composed reports."""

from __future__ import annotations

import json
import re
import tempfile
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from radvlm.anatomy import structure, structures
from radvlm.compose.verify import verify_sentence
from radvlm.dataset.case import Case
from radvlm.dataset.sentences import (
    STYLES,
    TINY_SECTIONS,
    Statement,
    organ_classes,
    organ_text,
    organs,
    plain_category,
    report_text,
    section_text,
    statements,
)
from radvlm.dataset.vocabulary import finding_kind, findings, voxel_classes
from radvlm.errors import InputError
from radvlm.evaluate.labels import label_report
from radvlm.finding import Finding, Source, Status
from radvlm.report import Sentence
from tests.dataset.conftest import PARTS, SIZES, MakeCase, document, lesion
from tests.dataset.test_prompts import LABELS


@st.composite
def cases(draw: st.DrawFn) -> Case:
    rows: list[dict[str, Any]] = []
    for name in draw(st.lists(st.sampled_from(list(findings())), max_size=8, unique=True)):
        kind = finding_kind(name)
        for _ in range(1 if name in SIZES else draw(st.integers(1, 3))):
            options = PARTS.get(kind.site, [])
            location = draw(st.sampled_from(["", *options]))
            if kind.section == "bones":
                location = draw(st.sampled_from(["vertebrae_L1", "vertebrae_T7"]))
            side = draw(st.sampled_from(["left", "right"])) if kind.sided else ""
            if location and structure(location).side:
                side = structure(location).side
            if name in ("pleural_effusion", "pneumothorax", "lung_atelectasis", "hydronephrosis", "kidney_stone"):
                location = ""
            rows.append(lesion(name, side, location, in_field=draw(st.sampled_from(["inside", "inside", "cut", "outside"]))))
    without = draw(st.lists(st.sampled_from(["uterus", "heart", "gallbladder"]), unique=True, max_size=2))
    hosts = {finding_kind(r["kind"]).site for r in rows}
    with tempfile.TemporaryDirectory() as folder:
        target = Path(folder) / draw(st.sampled_from(["a", "b", "c"]))
        target.mkdir()
        (target / "case.json").write_text(json.dumps(document(rows, without=[w for w in without if w not in hosts])))
        return Case(target)


@given(cases(), st.sampled_from(STYLES), st.integers(0, 50), st.booleans())
@settings(max_examples=150, deadline=None)
def test_every_statement_is_true_to_the_truth(case: Case, style: str, seed: int, places: bool) -> None:
    for section in (*TINY_SECTIONS, "impression"):
        for said in statements(case, section, seed, style, places):
            assert said.section == section and not re.search(r"\d", re.sub(r"\b[TL]\d+\b", "", said.text)), said
            assert said.text[0].isupper() and said.text.endswith(".") and "{" not in said.text and "  " not in said.text
            for name in said.findings:
                assert case.present(name) is said.present, said
            held = [x for name in said.findings for x in case.of(name)]
            true_sites = {x.location for x in held} | {x.site for x in held} | {x.kind.site for x in held}
            assert set(said.sites) <= true_sites, said
            sides = {x.side for x in held}
            for side in ("left", "right"):
                assert side not in re.findall(r"left|right", said.text.lower()) or side in sides, said
            if said.count == "many":
                assert len(held) > 1, said
            if re.match(r"(A single|One) ", said.text):
                assert sum(not said.sites or bool({x.location, x.site} & set(said.sites)) for x in held) == 1, said
            number = re.match(r"(Two|Three|Four|Five) ", said.text)
            if number:
                spelled = ("", "", "Two", "Three", "Four", "Five").index(number.group(1))
                assert spelled <= len(held) and (len(sides) > 1 or spelled == len(held)), said
            if not said.present and section != "impression":
                assert all(case.imaged(name) for name in said.findings), said


@given(cases(), st.integers(0, 20))
@settings(max_examples=60, deadline=None)
def test_plain_says_everything_and_nothing_depends_on_its_seed(case: Case, seed: int) -> None:
    for section in TINY_SECTIONS:
        said = statements(case, section)
        assert said == statements(case, section, seed)
        own = [f.name for f in findings().values() if f.section == section]
        assert {n for s in said if s.present for n in s.findings} == {n for n in own if case.present(n)}
    impression = {n for s in statements(case, "impression") if s.present for n in s.findings}
    assert impression == {n for n in findings() if case.present(n)}


@given(cases(), st.sampled_from(STYLES), st.integers(0, 20))
@settings(max_examples=60, deadline=None)
def test_the_labeler_reads_nothing_that_is_not_there(case: Case, style: str, seed: int) -> None:
    """An independent reader of the words: a label that it finds present belongs to a present finding."""
    for section in TINY_SECTIONS:
        text = section_text(case, section, seed, style)
        if not text:
            continue
        labels = label_report(text, "radvlm")
        for label in {x for name in findings() for x in LABELS.get(name, ())}:
            owners = [n for n in findings() if label in LABELS.get(n, ())]
            if labels[label] == "present":
                assert any(case.present(n) for n in owners), f"{label}: {text}"


@given(cases(), st.booleans())
@settings(max_examples=80, deadline=None)
def test_plain_sentences_are_accepted_when_cited_to_findings_of_a_model(case: Case, places: bool) -> None:
    for section in TINY_SECTIONS:
        for said in statements(case, section, places=places):
            assert verify_sentence(Sentence(said.text, section, _model_findings(said))) is None, said


def test_a_plain_sentence_about_something_else_is_refused(make_case: MakeCase) -> None:
    case = make_case([lesion("liver_cyst", location="liver_segment_6")])
    said = next(s for s in statements(case, "liver") if s.present)
    other = _model_findings(Statement("", "liver", ("liver_abscess",), True, said.sites))
    assert verify_sentence(Sentence(said.text, "liver", other)) is not None
    elsewhere = _model_findings(Statement("", "liver", ("liver_cyst",), True, ("liver_segment_2",)))
    assert verify_sentence(Sentence(said.text, "liver", elsewhere)) is not None


def _model_findings(said: Statement) -> tuple[Finding, ...]:
    """Findings of a model, without a measurement, that a statement would cite."""
    found: dict[tuple[str, str], Finding] = {}
    for name in said.findings:
        kind = finding_kind(name)
        status = Status.PRESENT if said.present else Status.ABSENT
        sides = sorted({structures()[s].side for s in said.sites} - {""}) if said.present else ["left", "right"]
        for side in sides if kind.sided and (said.present or not kind.structure or "{side}" in kind.structure) else [""]:
            site = f"{kind.site}_{side}" if side and kind.site else kind.site
            locations = tuple(s for s in said.sites if s != site and (not side or structures()[s].side == side))
            key = kind.structure.format(side=side) or name
            found[key, site] = Finding(
                f"F{len(found) + 1}", key, status, site, said.section, locations=locations if said.present else (),
                category=plain_category(name, said.present), source=Source.MODEL, confidence=0.9)
    return tuple(found.values())


def test_plain_wording_by_hand(make_case: MakeCase) -> None:
    case = make_case([lesion("liver_cyst", location="liver_segment_6"), lesion("liver_cyst", location="liver_segment_4"),
                      lesion("pleural_effusion", "left"), lesion("pleural_effusion", "right"),
                      lesion("hydronephrosis", "left"), lesion("kidney_cyst", "right"), lesion("spleen_cyst"),
                      lesion("vertebral_fracture", location="vertebrae_L1"), lesion("ground_glass_nodule", "right")])
    assert section_text(case, "liver").startswith("Hepatic cysts in segment IV and segment VI. No liver metastasis.")
    assert section_text(case, "pleura") == "Right pleural effusion. Left pleural effusion. No pneumothorax."
    assert section_text(case, "kidneys") == ("Renal cyst in the right kidney. Hydronephrosis of the left kidney. "
                                             "No renal tumor. No renal stone. No bladder lesion.")
    assert section_text(case, "spleen") == "Splenic cyst. The spleen is normal in size.", "no lesion is not denied"
    assert section_text(case, "bones") == "Vertebral fracture at L1. No bone lesion."
    assert section_text(case, "lungs").startswith("Ground-glass nodule in the right lung. No lung mass."), \
        "'no pulmonary nodule' would deny it"
    assert section_text(case, "nodes") == "The lymph nodes are normal in size."
    assert report_text(case).splitlines()[-1].startswith("Impression: Right pleural effusion.") or \
        "Hydronephrosis" in report_text(case).splitlines()[-1]


def test_a_normal_case_and_one_without_a_uterus(make_case: MakeCase) -> None:
    case = make_case([], without=("uterus",), sex="M")
    assert section_text(case, "reproductive") == "" and "Reproductive" not in report_text(case)
    assert section_text(case, "impression") == "No abnormality."
    assert organ_text(case, "uterus") is None


def test_varied_text_varies_with_its_seed_and_only_with_it(make_case: MakeCase) -> None:
    case = make_case([lesion("liver_cyst", location="liver_segment_6"), lesion("lung_nodule", "left")])
    texts = [report_text(case, seed, "varied") for seed in range(20)]
    assert texts == [report_text(case, seed, "varied") for seed in range(20)]
    assert len(set(texts)) == 20


def test_organs_cover_every_finding_once_and_their_texts_are_flagged(make_case: MakeCase) -> None:
    assert sorted(n for held in organs().values() for n in held) == sorted(findings())
    for organ in organs():
        assert set(organ_classes(organ)) <= set(voxel_classes())
    sick = make_case([lesion("spleen_cyst"), lesion("hydronephrosis", "left")])
    for organ, held in organs().items():
        said = organ_text(sick, organ, 3)
        assert said is not None and said.normal is not any(sick.present(n) for n in held)
    healthy = make_case([], name="healthy")
    normal = {organ_text(healthy, "spleen", seed).text for seed in range(10)}  # type: ignore[union-attr]
    assert len(normal) > 1 and all("spleen" in t.lower() for t in normal)


def test_unknown_names_are_refused(make_case: MakeCase) -> None:
    case = make_case([])
    for call in (lambda: statements(case, "technique"), lambda: statements(case, "liver", style="loud"),
                 lambda: organ_text(case, "thumb"), lambda: plain_category("thumb", True)):
        with pytest.raises(InputError):
            call()

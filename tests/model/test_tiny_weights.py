"""The model that ships: it is there, it is small, it says what it is, and it sees what it should on phantoms."""

from __future__ import annotations

import hashlib
import json
from dataclasses import replace
from importlib.resources import files
from pathlib import Path

import numpy as np
import pytest
import torch

import radvlm
from radvlm.model.decoder.generation import WritingLimits, generate, generate_sections
from radvlm.model.decoder.prompts import section_prompt
from radvlm.model.registry import SHIPPED
from radvlm.model.tiny.model import TableModel
from radvlm.phantom import LesionSpec, Phantom, PhantomSpec, make_phantom
from radvlm.types.finding import Source, Status

pytestmark = pytest.mark.usefixtures("measured_once")
WEIGHTS = Path(str(files("radvlm"))) / "weights"
LARGEST = 16 * 1024 * 1024
WRONG = (LesionSpec("pleural_effusion", 40, side="right"), LesionSpec("splenomegaly", 560))


@pytest.fixture(scope="module")
def tiny() -> TableModel:
    return radvlm.load_model("tiny")  # type: ignore[return-value]


@pytest.fixture(scope="module")
def sick() -> Phantom:
    return make_phantom(PhantomSpec(seed=21, spacing_mm=(3, 3, 3), sex="F", lesions=WRONG))


@pytest.fixture(scope="module")
def healthy() -> Phantom:
    return make_phantom(PhantomSpec(seed=22, spacing_mm=(3, 3, 3), sex="F", healthy=True))


def test_every_shipped_model_is_there_small_and_nothing_else() -> None:
    assert {p.name for p in WEIGHTS.iterdir() if p.is_dir()} == set(SHIPPED)
    for name in SHIPPED:
        held = [p for p in (WEIGHTS / name).rglob("*") if p.is_file()]
        assert sum(p.stat().st_size for p in held) <= LARGEST
        assert {p.suffix for p in held} <= {".safetensors", ".json"}, "nothing that can run"
        config = json.loads((WEIGHTS / name / "config.json").read_text())
        assert config["sha256"] == hashlib.sha256((WEIGHTS / name / "model.safetensors").read_bytes()).hexdigest()
        text = "".join(p.read_text() for p in held if p.suffix == ".json" and p.name != "tokenizer.json")
        assert "/home" not in text and "/tmp" not in text and "/work" not in text, "no path of the machine it came from"


@pytest.mark.slow
def test_it_says_what_it_was_trained_on(tiny: TableModel, healthy: Phantom) -> None:
    assert "synthetic phantoms only" in tiny.notice
    made = radvlm.generate_report(healthy.volume, model=tiny)
    assert tiny.notice in made.text and tiny.notice in made.decisions[0].what
    assert made.report.model.notice == tiny.notice and "phantoms only" in made.report.to_json()
    assert made.report.model.sha256 == tiny.digest


@pytest.mark.slow
def test_it_sees_large_findings_and_not_on_a_healthy_phantom(tiny: TableModel, sick: Phantom, healthy: Phantom) -> None:
    """Two findings that nobody should miss; how good it is over all is measured in eval/score_tiny.py."""
    wanted = {("pleural_effusion", "lung_right"), ("splenomegaly", "spleen")}

    in_sick, in_healthy = tiny.classify(sick.volume), tiny.classify(healthy.volume)
    seen, wrong = (
        {(s.finding, s.site) for s in found if s.status is Status.PRESENT} for found in (in_sick, in_healthy)
    )
    assert wanted <= seen
    assert not wanted & wrong and len(wrong) <= 3
    by_finding = {s.finding: s for s in in_sick}
    region = by_finding["pleural_effusion"].region
    assert region is not None and region.structure == "pleural_effusion_right"
    where = np.argwhere(sick.segmentation.mask("pleural_effusion_right"))
    away = np.linalg.norm(sick.volume.geometry.to_world(where.mean(0)) - np.array(region.centroid_mm))
    assert away < 40


@pytest.mark.slow
def test_a_report_with_masks_holds_and_marks_what_only_the_model_saw(tiny: TableModel, sick: Phantom) -> None:
    made = radvlm.generate_report(sick.volume, segmentation=sick.segmentation, model=tiny)
    assert all(radvlm.compose.verify_sentence(s) is None for s in made.sentences)
    for sentence in made.sentences:
        if any(f.source is Source.MODEL for f in sentence.findings):
            assert "seen by the model" in sentence.text
    assert made.report.model.drafts.accepted > 0, "its decoder writes some of it"
    assert any("also saw right pleural effusion" in text for text in made.report.model.agreements)


@pytest.mark.slow
def test_four_scans_at_once_are_written_as_four_single_runs(tiny: TableModel, sick: Phantom, healthy: Phantom) -> None:
    tables = [tiny.encode(scan.volume) for scan in (sick, healthy)]
    cases = [tables[0], tables[1], tables[1], tables[0]]
    prefix = torch.cat([tiny.writer.prefix(c.table, torch.from_numpy(c.logits)[None]) for c in cases])
    prompts = [
        [section_prompt(s) for s in sections]
        for sections in (("liver", "spleen", "pleura"), ("bones",), ("kidneys", "lungs"), ("spleen",))
    ]
    limits = WritingLimits(max_new_tokens=60)
    together = generate(tiny.writer.decoder, prefix, prompts, limits)
    for n, texts in enumerate(prompts):
        single = generate_sections(tiny.writer.decoder, prefix[n : n + 1], texts, limits)
        assert [g.text for g in together[n]] == [g.text for g in single]


@pytest.mark.slow
def test_a_real_scan_is_called_unlike_in_text_json_and_page(tiny: TableModel, real_data: Path) -> None:
    made = radvlm.generate_report(real_data / "plain_abdomen" / "ct.nii.gz", model=tiny)
    for text in (made.text, made.report.to_json(), made.page()):
        assert "synthetic phantoms only" in text and "unlike those that tiny was trained on" in text
    assert "Model outside its domain" in made.page() and "MODEL OUTSIDE ITS DOMAIN: This scan is unlike" in made.text
    assert not any("model" in s.text for s in made.report.sentences if s.section != "outside_domain")
    assert not any(s.text.startswith("No ") for s in made.report.sentences if s.section == "outside_domain")
    asked = ["bladder_lesion", "pneumothorax", "a stone in the bladder"]
    scores = radvlm.classify_findings(real_data / "plain_abdomen" / "ct.nii.gz", model=tiny, findings=asked)
    assert {s.status for s in scores} == {Status.NOT_ASSESSED}, "as in report and answer"


@pytest.mark.slow
def test_verdicts_on_masked_organs_are_not_left_to_the_network() -> None:
    case = make_phantom(
        PhantomSpec(
            seed=21,
            spacing_mm=(3, 3, 3),
            sex="F",
            age_years=63,
            lesions=(LesionSpec("liver_cyst", 25), LesionSpec("splenomegaly", 520)),
        )
    )
    hu = case.volume.hu.copy()
    hu[case.segmentation.mask("spleen")] = -60  # the network sees fat where the masks say spleen
    model = radvlm.load_model("tiny")
    for scan in (case.volume, replace(case.volume, hu=hu)):
        for question, text, status in (
            ("Is the spleen enlarged?", "Yes", Status.PRESENT),
            ("Is there splenomegaly?", "Yes", Status.PRESENT),
            ("Is the spleen normal?", "No", Status.PRESENT),
            ("Is there hepatomegaly?", "No", Status.ABSENT),
            ("Is there a hepatic cyst?", "Yes", Status.PRESENT),
            ("Is there a splenic cyst?", "No", Status.ABSENT),
        ):
            given = radvlm.answer(scan, question, model=model, segmentation=case.segmentation)
            assert (given.text, given.status, given.confidence) == (text, status, 1.0), question

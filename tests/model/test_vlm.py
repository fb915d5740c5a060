"""The assembled model: what it says of a scan, its places, its limits."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

import radvlm
from radvlm.errors import InputError
from radvlm.model.decoder import generation
from radvlm.model.decoder.generation import Choice, Generation
from radvlm.model.protocol import VisionLanguageModel
from radvlm.model.questions import is_of_ct
from radvlm.model.tiny import model as tiny_model
from radvlm.model.tiny.encoder import FEATURES
from radvlm.model.tiny.model import TableModel
from radvlm.quantify import region_mask
from radvlm.types.finding import Finding, Status
from radvlm.types.geometry import Box, Geometry
from radvlm.types.measurement import Measurement
from radvlm.types.model_output import FindingScore, ModelOutput
from radvlm.types.region import Region
from radvlm.types.volume import Volume
from radvlm.workflows.model_stage import ModelReading


def _masked_cyst(status: Status) -> Finding:
    region = Region("spleen_cyst/1", "spleen_cyst", Box((0, 0, 0), (2, 2, 2)), 8, 1.0, (0.0, 0.0, 0.0))
    return Finding("F1", "spleen_cyst", status, "spleen", "spleen", (region,) if status is Status.PRESENT else ())


def _cyst_with_size() -> Finding:
    region = Region("liver_cyst/1", "liver_cyst", Box((0, 0, 0), (2, 2, 2)), 8, 1.0, (0.0, 0.0, 0.0))
    axes = (Measurement("long_axis", 36.0, "masks"), Measurement("short_axis", 33.0, "masks"))
    return Finding("F9", "liver_cyst", Status.PRESENT, "liver", "liver", (region,), axes)


CYST = _cyst_with_size()
LINE = "hepatic cyst | liver | 3.6 x 3.3 cm"


@pytest.fixture(autouse=True)
def _short(monkeypatch: pytest.MonkeyPatch) -> None:
    """Random weights never end a text."""
    monkeypatch.setattr(tiny_model, "LONGEST_SECTION", 8)
    monkeypatch.setattr(tiny_model, "LONGEST_ANSWER", 4)


def _with(model: TableModel, **changes: Any) -> TableModel:
    return TableModel(model.encoder, model.text, model.writer, replace(model.settings, **changes))


def _row(model: TableModel, finding: str) -> int:
    return len(model.encoder.config.anatomy) + model.encoder.config.findings.index(finding)


@pytest.mark.slow
def test_it_follows_the_protocol(little: TableModel, volume: Volume) -> None:
    assert isinstance(little, VisionLanguageModel)
    model_output, own = little.read(volume)
    assert isinstance(model_output, ModelOutput) and ModelOutput.from_json(model_output.to_json()) == model_output
    assert model_output.model == "little" and model_output.notice == little.notice
    assert set(model_output.thresholds) == set(little.encoder.config.findings)
    assert {s.finding for s in model_output.scores} == set(little.encoder.config.findings)
    assert own is not None and own.geometry.same_grid(volume.geometry)
    assert [d.section for d in model_output.drafts] == list(little.settings.sections)
    shown = [s for s in model_output.scores if s.region is not None]
    assert shown, "a random model of this seed shows something"
    for score in shown:
        assert score.region is not None
        _, mask = region_mask(own, score.region)
        assert mask.sum() == score.region.voxels
    vector = little.embed(volume)
    assert vector.dtype == np.float32 and np.linalg.norm(vector) == pytest.approx(1, abs=1e-5)
    rows = little.embed_text(["a cyst", "no cyst of the liver"])
    assert rows.dtype == np.float32 and np.linalg.norm(rows, axis=1) == pytest.approx([1, 1], abs=1e-5)
    assert rows.shape[1] == vector.shape[0]


@pytest.mark.slow
def test_probabilities_are_the_calibrated_logits(little: TableModel, volume: Volume) -> None:
    encoded = little.encode(volume)
    expected = little.settings.calibration.probability(encoded.logits)
    for n, term in enumerate(little.settings.terms):
        best = max((s for s in little.classify(volume) if s.finding == term.finding), key=lambda s: s.probability)
        assert best.probability == pytest.approx(expected[n], abs=1e-6)
        assert best.status is little.settings.calibration.status(n, best.probability)
        assert (best.words, best.section) == (term.words, term.section)


@pytest.mark.slow
def test_logits_are_those_of_the_encoder_on_the_body(little: TableModel, volume: Volume, made: Any) -> None:
    """A scan on the encoder's own grid with nothing around the body passes it unchanged."""
    own = made.volume(shape=(48, 38, 40), spacing_mm=(6.0, 6.0, 6.0))
    box = np.argwhere(own.hu > -400)
    low, high = np.maximum(box.min(0) - 4, 0), box.max(0) + 5
    cut = own.hu[tuple(slice(a, b) for a, b in zip(low, high, strict=True))]
    with torch.inference_mode():
        out = little.encoder(torch.from_numpy(cut.copy())[None, None])
    assert np.allclose(little.encode(own).logits, out.logits("findings")[0], atol=1e-4)
    assert np.allclose(little.embed(own), out.embedding[0], atol=1e-5)
    affine = little.encode(own).affine
    assert np.allclose(affine[:3, 3], own.geometry.to_world(low + 0.5)), "a cell's center lies between its two voxels"
    assert np.allclose(affine[:3, :3], np.eye(3) * 12)


@pytest.mark.slow
def test_a_scan_is_encoded_once_and_let_go(little: TableModel, made: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    scan, other = made.volume(seed=1), made.volume(seed=2)
    calls = []
    run = little.encoder.voxels.forward
    monkeypatch.setattr(little.encoder.voxels, "forward", lambda hu: (calls.append(1), run(hu))[1])
    first = little.classify(scan)
    little.answer(scan, "Is there a hepatic cyst?")
    little.embed(scan)
    little.read(scan)
    assert len(calls) == 1
    assert little.classify(other) != first and len(calls) == 2
    assert little.classify(scan) == first and len(calls) == 3
    assert little._kept is not None
    del scan
    gc.collect()
    assert little._kept is None and little._scored is None


def _peaks(left: float, right: float) -> dict[str, float]:
    return {"peak_left": left, "peak_right": right}


@pytest.mark.slow
@pytest.mark.parametrize(
    ("left", "right", "expected"),
    [
        (3.0, -4.0, [("left", 1.0)]),
        (-4.0, 3.0, [("right", 1.0)]),
        (1.0, 0.0, [("left", 1.0), ("right", (1 / 2) / (1 / (1 + np.exp(-1.0))))]),
    ],
)
def test_sides(
    little: TableModel, volume: Volume, left: float, right: float, expected: list[tuple[str, float]]
) -> None:
    encoded = little.encode(volume)
    table = encoded.table.clone()
    for name, value in _peaks(left, right).items():
        table[0, _row(little, "kidney_cyst"), FEATURES.index(name)] = value
    changed = replace(encoded, table=table)
    n = little.encoder.config.findings.index("kidney_cyst")
    found = little._sides(changed, n, little.settings.terms[n], absent=False)
    assert [s for s, _ in found] == [s for s, _ in expected]
    assert [p for _, p in found] == pytest.approx([p for _, p in expected])
    scores = [s for s in little._scores(changed, volume.geometry)[0] if s.finding == "kidney_cyst"]
    assert [s.site for s in scores] == [f"kidney_{s}" for s, _ in expected]
    assert all(s.region is None or s.region.structure == s.site.replace("kidney", "kidney_cyst") for s in scores)
    both = little._sides(changed, n, little.settings.terms[n], absent=True)
    assert {side for side, _ in both} == {"left", "right"}, "what is absent is absent on both sides"


@pytest.mark.slow
def test_left_is_the_low_end_of_x(made: Any) -> None:
    """Axis 0 runs to the patient's right, so a finding at low x is on the left, and its region lies there."""
    model = made.model(low=0.0, high=0.0)
    config = model.encoder.config
    n = config.findings.index("kidney_cyst")
    scan = made.volume(shape=(48, 30, 30), spacing_mm=(6.0, 6.0, 6.0))
    encoded = model.encode(scan)
    maps = np.full_like(encoded.findings, 1e-6)
    maps[n, 3:5, 5:7, 5:7] = 0.9
    table = encoded.table.clone()
    row = table[0, _row(model, "kidney_cyst")]
    row[FEATURES.index("peak_left")], row[FEATURES.index("peak_right")] = 2.2, -9.0
    anatomy = np.ones_like(encoded.anatomy)
    scores, _ = model._scores(replace(encoded, table=table, findings=maps, anatomy=anatomy), scan.geometry)
    cyst = next(s for s in scores if s.finding == "kidney_cyst")
    assert cyst.site == "kidney_left" and cyst.region is not None and cyst.region.structure == "kidney_cyst_left"
    assert cyst.region.centroid_mm[0] < np.mean(scan.geometry.corners_mm[:, 0])
    world = encoded.affine @ np.array([3.5, 5.5, 5.5, 1])
    assert np.allclose(cyst.region.centroid_mm, world[:3], atol=3.01)
    assert cyst.region.volume_ml == pytest.approx(8 * 12**3 / 1000, rel=0.01)


@pytest.mark.slow
def test_places_are_parts_of_the_own_organ_and_side_near_the_peak(made: Any) -> None:
    """Four cells in a row hold the parts that a finding is shown in; the x axis runs to the patient's right."""
    model = made.model()
    config = model.encoder.config
    scan = made.volume(shape=(48, 30, 30), spacing_mm=(6.0, 6.0, 6.0))
    encoded = model.encode(scan)
    half = encoded.parts.shape[0] // 2
    anatomy = np.ones_like(encoded.anatomy)

    def places(
        finding: str,
        shown: dict[str, float],
        side: str,
        status: Status = Status.PRESENT,
        *,
        at: int = half,
        glow: str = "",
    ) -> tuple[str, ...]:
        n = config.findings.index(finding)
        maps, parts = np.zeros_like(encoded.findings), np.zeros_like(encoded.parts)
        if glow:  # faint, everywhere far from the peak: more in sum than the finding itself
            parts[:] = config.parts.index(glow)
            maps[n] = 0.02
            near = (slice(at - 3, at + 7), slice(0, 8), slice(0, 8))
            parts[near], maps[n][near] = 0, 0.0
        for k, (name, value) in enumerate(shown.items()):
            parts[at + k, 4, 4], maps[n, at + k, 4, 4] = config.parts.index(name), value
        held = replace(encoded, findings=maps, parts=parts, anatomy=anatomy)
        return model._places(held, n, model.settings.terms[n], side, status)

    assert places("liver_cyst", {"liver_segment_6": 0.55, "liver_segment_5": 0.45}, "") == ("liver_segment_6",)
    assert places("liver_cyst", {"liver_segment_6": 0.9}, "", glow="liver_segment_2") == ("liver_segment_6",)
    assert places("liver_cyst", {"liver_segment_6": 0.55}, "", Status.ABSENT) == ()
    assert places("liver_cyst", {"none": 0.9, "liver_segment_6": 0.1}, "") == ()
    assert places("liver_cyst", {"vertebrae_T11": 0.9}, "") == ()
    assert places("liver_cyst", {}, "") == ()
    assert places("lung_nodule", {"lung_upper_lobe_right": 0.5}, "right") == ("lung_upper_lobe_right",)
    assert places("lung_nodule", {"lung_upper_lobe_right": 0.5}, "left") == ()
    assert places("lung_nodule", {"lung_lower_lobe_left": 0.5}, "left", at=2) == ("lung_lower_lobe_left",)
    assert places("vertebral_fracture", {"vertebrae_L2": 0.8}, "") == ("vertebrae_L2",)
    assert places("steatosis", {"liver_segment_6": 0.9}, "") == ()


@pytest.mark.slow
def test_organs_out_of_sight_are_said_to_be(made: Any) -> None:
    model = made.model(low=1.0, high=1.0)
    scan = made.volume(shape=(48, 30, 30), spacing_mm=(6.0, 6.0, 6.0))
    encoded = model.encode(scan)
    anatomy = np.ones_like(encoded.anatomy)
    anatomy[2:6, 4:9, 4:9] = model.encoder.config.anatomy.index("kidney")
    scores, own = model._scores(replace(encoded, anatomy=anatomy), scan.geometry)
    assert all(s.status is Status.ABSENT and s.region is None for s in scores)
    assert own is not None and not own.places
    assert {"liver", "uterus", "kidney_right", "lung_left"} <= own.searched
    assert "kidney_left" not in own.searched
    assert ModelReading(model, ModelOutput("m", "", ""), own).unseen == own.searched


def test_free_text_is_judged_by_the_shared_space(little: TableModel, volume: Volume) -> None:
    texts = ["A stone in the left kidney", "liver_cyst", "whatever"]
    found = little.classify(volume, texts)
    assert [s.finding for s in found] == texts
    slope, offset, low, high = little.settings.zero_shot
    image = little.embed(volume)
    for score in (found[0], found[2]):
        words = score.finding
        yes, no = little.embed_text([words, f"No {words[0].lower()}{words[1:]}"])
        p = 1 / (1 + np.exp(-(slope * float(image @ (yes - no)) + offset)))
        assert score.probability == pytest.approx(p, abs=1e-5)
        assert score.status is (Status.PRESENT if p >= high else Status.ABSENT if p < low else Status.INDETERMINATE)
    assert found[0].section == "kidneys" and found[2].section == "soft_tissues"
    assert (
        found[1]
        == little.classify(volume, ["liver_cyst"])[0]
        == next(s for s in little.classify(volume) if s.finding == "liver_cyst")
    )
    assert len(little.classify(volume, ["liver_cyst", "kidney_cyst"])) == 1 + len(
        [s for s in little.classify(volume) if s.finding == "kidney_cyst"]
    )
    for bad in ("", "   "):
        with pytest.raises(InputError, match="word"):
            little.classify(volume, [bad])
    assert little.classify(volume, []) == ()


class _Said:
    """A decoder that says what it is told to, and keeps what it was asked."""

    def __init__(self, text: str, ended_by: str = "end", choices: tuple[float, float] = (-1.0, -3.0)) -> None:
        self.text, self.ended_by, self.choices = text, ended_by, choices
        self.prompts: list[str] = []
        self.asked: list[str] = []

    def generate_sections(self, decoder: Any, prefix: Any, prompts: list[str], limits: Any) -> list[Generation]:
        self.prompts += prompts
        return [Generation(self.text, (1,), -0.2, self.ended_by) for _ in prompts]  # type: ignore[arg-type]

    def score_choices(
        self, decoder: Any, prefix: Any, prompts: Any, choices: list[list[str]], *, prefix_mask: Any = None
    ) -> list[list[Choice]]:
        self.asked += choices[0]
        return [[Choice(c, p, 1) for c, p in zip(choices[0], self.choices, strict=True)]]


@pytest.fixture
def say(little: TableModel, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    def said(text: str, **options: Any) -> _Said:
        made = _Said(text, **options)
        monkeypatch.setattr(tiny_model, "generate_sections", made.generate_sections)
        monkeypatch.setattr(generation, "score_choices", made.score_choices)
        return made

    return said


def test_what_is_no_known_question_goes_to_the_decoder(
    little: TableModel, volume: Volume, say: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tiny_model, "_contradicts", lambda *_: False)
    said = say("Yes")
    given = little.answer(volume, " Does the hepatic cyst look benign? ")
    seen = tiny_model.seen_in(little.classify(volume))
    assert said.prompts == [f"<facts> {seen}\n<question> Does the hepatic cyst look benign? <answer>"]
    assert said.asked == [" Yes", " No"], "as the targets of the training, which follow a space"
    assert given.text == "Yes" and given.status is Status.PRESENT
    assert given.confidence == pytest.approx(1 / (1 + np.exp(-2.0 / 1.3)))
    assert given.evidence and "hepatic cyst" in given.evidence[0]
    say("Yes", choices=(-3.0, -1.0))
    other = little.answer(volume, "Does the hepatic cyst look benign?")
    assert (other.text, other.status, other.region) == ("No", Status.ABSENT, None)
    say("Yes", choices=(-1.0, -1.1))
    assert little.answer(volume, "Does the hepatic cyst look benign?").status is Status.INDETERMINATE
    say("Segment VI")
    assert little.answer(volume, "What is beside the cyst?").status is Status.PRESENT
    say("  ")
    silent = little.answer(volume, "What is beside the cyst?")
    assert (silent.text, silent.status, silent.confidence, silent.region) == (
        "No answer",
        Status.NOT_ASSESSED,
        0.0,
        None,
    )


def test_a_question_about_nothing_of_a_scan_has_no_answer(little: TableModel, volume: Volume, say: Any) -> None:
    said = say("Left upper lobe")
    for question in (
        "What is the weather?",
        "What is the capital of France?",
        "Who left the room on the right side?",
        "Is it raining in Liverpool?",
        "Does the table stand before a tree?",
        "How far is it to Paris?",
        "What is the price of gold, present or not?",
    ):
        given = little.answer(volume, question, findings=[CYST])
        assert (given.text, given.status, given.confidence) == ("No answer", Status.NOT_ASSESSED, 0.0), question
        assert given.region is None and given.evidence, question
    assert said.prompts == []
    held = little.answer(volume, "How large are the hepatic cyst and the splenic cyst?", findings=[CYST])
    assert held.text.startswith("Hepatic cyst: liver, 3.6 x 3.3 cm"), "masks answer a size whatever else is asked"


@pytest.mark.parametrize(
    "question",
    [
        "Describe the scan.",
        "Any acute abnormality?",
        "Is there a vertebral fracture?",
        "Is the prostate enlarged?",
        "What contrast phase is it?",
        "Does the patient have renal stones?",
        "Are the lungs clear?",
        "Is there hepatic steatosis?",
        "What is the diagnosis?",
    ],
)
def test_honest_questions_are_of_a_ct(question: str) -> None:
    assert is_of_ct(question)
    assert not is_of_ct("What is the weather in Liverpool?")


@pytest.mark.slow
def test_an_answer_of_the_decoder_against_the_scores_is_indeterminate(
    little: TableModel, volume: Volume, say: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(little, "_related", lambda _, held: list(held))

    def scores(*held: tuple[str, float, Status]) -> list[FindingScore]:
        return [FindingScore(f, "a finding", "liver", "liver", p, status) for f, p, status in held]

    gone, there = ("liver_cyst", 0.02, Status.ABSENT), ("liver_cyst", 0.9, Status.PRESENT)
    perhaps, other = ("liver_cyst", 0.3, Status.INDETERMINATE), ("gallstone", 0.02, Status.ABSENT)
    expected = [
        ("Yes", (gone,), True),
        ("No", (there,), True),
        ("Yes", (there,), False),
        ("No", (gone,), False),
        ("Yes", (perhaps,), False),
        ("No", (perhaps,), False),
        ("Yes", (gone, other), False),
        ("Yes", (), False),
        ("Segment VI", (gone,), False),
    ]
    for text, held, disagrees in expected:
        say(text, choices=(-1.0, -9.0) if text == "Yes" else (-9.0, -1.0))
        monkeypatch.setattr(little, "_scores_of", lambda *_, h=held: scores(*h))
        given = little.answer(volume, "Does it look like a finding?")
        assert any("disagree" in line for line in given.evidence) is disagrees, (text, held)
    say("Yes")
    monkeypatch.setattr(little, "_scores_of", lambda *_: scores(gone))
    given = little.answer(volume, "Does it look like a finding?")
    assert given.status is Status.INDETERMINATE and "disagree" in given.evidence[0]
    monkeypatch.setattr(little, "_scores_of", lambda *_: scores(there))
    given = little.answer(volume, "Does it look like a finding?")
    assert given.status is Status.PRESENT and "disagree" not in given.evidence[0]


def test_presence_is_answered_from_the_scores(
    little: TableModel, volume: Volume, say: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    said = say("Segment VI")
    for p, status, text, confidence, stands in (
        (0.9, Status.PRESENT, "Yes", 0.9, Status.PRESENT),
        (0.3, Status.PRESENT, "Yes", 0.3, Status.PRESENT),
        (0.02, Status.ABSENT, "No", 0.98, Status.ABSENT),
        (0.2, Status.INDETERMINATE, "Yes", 0.2, Status.INDETERMINATE),
    ):
        held = [
            FindingScore("spleen_cyst", "splenic cyst", "spleen", "spleen", p, status),
            FindingScore("spleen_lesion", "splenic lesion", "spleen", "spleen", 0.01, Status.ABSENT),
        ]
        monkeypatch.setattr(little, "_scores_of", lambda *_, h=held: h)
        for question in ("Is there a splenic cyst?", "Is there a lesion in the spleen?"):
            given = little.answer(volume, question)
            assert (given.text, given.status) == (text, stands)
            assert given.confidence == pytest.approx(confidence)
        given = little.answer(volume, "Is the spleen normal or abnormal?")
        assert (given.text, given.status) == ("Normal" if text == "No" else "Abnormal", stands)
        healthy = little.answer(volume, "Is the spleen normal?")
        assert (healthy.text, healthy.status) == ("Yes" if text == "No" else "No", stands)
    given = little.answer(volume, "Is there a splenic cyst?", findings=[_masked_cyst(Status.PRESENT)])
    assert (given.text, given.status, given.confidence) == ("Yes", Status.PRESENT, 1.0), "masks win"
    assert given.evidence[0] == "the masks show splenic cyst"
    given = little.answer(volume, "Is there a splenic cyst?", findings=[_masked_cyst(Status.ABSENT)])
    assert (given.text, given.status, given.region) == ("No", Status.ABSENT, None)
    assert said.prompts == [], "the decoder was not asked"


def test_what_makes_an_organ_not_normal_is_shown(
    little: TableModel, volume: Volume, monkeypatch: pytest.MonkeyPatch
) -> None:
    shown = next(s for s in little.classify(volume) if s.region is not None)
    score = replace(shown, finding="spleen_cyst", site="spleen", locations=(), probability=0.9, status=Status.PRESENT)
    monkeypatch.setattr(little, "_scores_of", lambda *_: [score])
    for question, text in (
        ("Is the spleen normal?", "No"),
        ("Is the spleen normal or abnormal?", "Abnormal"),
        ("Is there a splenic cyst?", "Yes"),
    ):
        given = little.answer(volume, question)
        assert (given.text, given.status, given.region) == (text, Status.PRESENT, score.region), question
    given = little.answer(volume, "Is there a splenic cyst?", findings=[_masked_cyst(Status.ABSENT)])
    assert (given.text, given.region) == ("No", None)


def test_side_place_number_and_organ_come_from_the_evidence(
    made: Any, say: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = made.model()
    scan = made.volume(shape=(48, 30, 30), spacing_mm=(6.0, 6.0, 6.0))
    encoded, config = model.encode(scan), model.encoder.config
    table = encoded.table.clone()
    maps, parts = np.zeros_like(encoded.findings), np.zeros_like(encoded.parts)

    def put(finding: str, left: float, right: float, pieces: int) -> None:
        row = table[0, _row(model, finding)]
        for name, value in (("peak_left", left), ("peak_right", right), ("log_pieces", np.log1p(pieces))):
            row[FEATURES.index(name)] = value

    n = config.findings.index("liver_cyst")
    maps[n, 5, 5, 5], parts[5, 5, 5] = 0.8, config.parts.index("liver_segment_7")
    held = replace(encoded, table=table, findings=maps, parts=parts)
    monkeypatch.setattr(model, "encode", lambda _: held)
    score = {
        ("kidney_cyst", "kidney_left"): (0.9, Status.PRESENT),
        ("liver_cyst", "liver"): (0.6, Status.PRESENT),
        ("spleen_cyst", "spleen"): (0.2, Status.ABSENT),
    }
    scores = [FindingScore(f, "words", "liver", site, p, status) for (f, site), (p, status) in score.items()]
    monkeypatch.setattr(model, "_scores_of", lambda *_: scores)
    for left, right, side in ((3.0, -2.0, "Left"), (-2.0, 3.0, "Right"), (3.0, 2.0, "Both sides"), (-1, -2.0, "Left")):
        put("kidney_cyst", left, right, 1)
        given = model.answer(scan, "On which side is the renal cyst?")
        assert (given.text, given.status) == (side, Status.PRESENT), (left, right)
    put("kidney_cyst", 3.0, 2.0, 3)
    assert model.answer(scan, "How many renal cysts are there?").text == "More than one"
    put("kidney_cyst", 3.0, 2.0, 1)
    assert model.answer(scan, "Is there one renal cyst or more than one?").text == "One"
    where = model.answer(scan, "In which segment is the hepatic cyst?")
    assert (where.text, where.confidence) == ("Segment VII", pytest.approx(0.6))
    organ = model.answer(scan, "Which organ contains the cyst?")
    assert organ.text == "Kidneys" and organ.confidence == pytest.approx(0.9 * 0.9 / 1.7)
    guess = model.answer(scan, "How many splenic cysts are there?")
    assert guess.status is Status.INDETERMINATE and "takes for granted" in guess.evidence[0]
    sized = model.answer(scan, "How large is the hepatic cyst?")
    assert (sized.text, sized.status) == ("No answer", Status.NOT_ASSESSED) and "measures nothing" in sized.evidence[0]
    sized = model.answer(scan, "How large is the hepatic cyst?", findings=[CYST])
    assert (sized.text, sized.status) == ("Hepatic cyst: liver, 3.6 x 3.3 cm", Status.PRESENT)
    assert sized.region == CYST.regions[0]
    assert sized.evidence[0] == "measured in the masks"


@pytest.mark.slow
def test_answers_cite_the_masks(little: TableModel, volume: Volume, say: Any) -> None:
    say("Yes")
    given = little.answer(volume, "Is there a hepatic cyst?", findings=[CYST, _masked_cyst(Status.ABSENT)])
    assert [line for line in given.evidence if line.startswith("masks")] == [f"masks: {LINE}"]


@pytest.mark.slow
def test_the_decoder_does_not_contradict_the_masks(
    little: TableModel, volume: Volume, say: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(little, "_related", lambda _, held: [s for s in held if s.finding == "liver_cyst"])
    absent = replace(CYST, status=Status.ABSENT, regions=(), measurements=())
    for text, choices, finding in (("No", (-9.0, -1.0), CYST), ("Yes", (-1.0, -9.0), absent)):
        say(text, choices=choices)
        given = little.answer(volume, "Does it look like a finding?", findings=[finding])
        assert (given.text, given.status, given.region) == ("No answer", Status.NOT_ASSESSED, None)
        assert given.evidence[0].startswith("the decoder contradicts the masks: the masks s")
    say("Yes")
    assert little.answer(volume, "Does it look like a finding?", findings=[CYST]).text == "Yes"
    monkeypatch.setattr(little, "_related", lambda _, held: list(held))
    say("No", choices=(-9.0, -1.0))
    given = little.answer(volume, "Does it look like a finding?", findings=[CYST])
    assert given.text == "No answer", "one of several that the question may be about is there"


def test_drafts_from_facts_and_what_is_too_long(little: TableModel, volume: Volume, say: Any) -> None:
    said = say("A cyst.")
    model_output, _ = little.read(volume, findings=[CYST])
    assert said.prompts == [f"<facts> {LINE}\n<report> liver:"]
    assert [(d.section, d.text) for d in model_output.drafts] == [("liver", "A cyst.")]
    assert not [w for w in model_output.warnings if "prose" in w.what]
    say("A cyst.")
    model_output, _ = little.read(
        volume, findings=[CYST, replace(_masked_cyst(Status.PRESENT), category="round; " * 300)]
    )
    assert [d.section for d in model_output.drafts] == ["liver"]
    warned = [w for w in model_output.warnings if "no prose for spleen" in w.what]
    assert len(warned) == 1 and warned[0].warning
    say("A cyst of 3.4 cm. No stone. No lesion in the le", ended_by="length")
    assert little.read(volume, findings=[CYST])[0].drafts[0].text == "A cyst of 3.4 cm. No stone."
    say("A cyst of 3.4", ended_by="length")
    assert little.read(volume, findings=[CYST])[0].drafts[0].text == ""


@pytest.mark.slow
def test_a_question_that_does_not_fit_is_one_clear_error(
    made: Any, volume: Volume, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tiny_model, "LONGEST_SECTION", 200)
    model = made.model(context=128)
    with pytest.raises(InputError, match="context"):
        model.answer(volume, "why this hepatic cyst " * 40)
    model_output, _ = model.read(volume)
    assert model_output.drafts == () and len([w for w in model_output.warnings if "prose" in w.what]) == len(
        model.settings.sections
    )


@pytest.mark.slow
def test_an_unfamiliar_scan_is_warned_of(little: TableModel, volume: Volume) -> None:
    value = tiny_model.strangeness(little.encoder, little.encode(volume).table)[0]
    for limit, warned in ((value * 0.99, True), (value * 1.01, False)):
        model_output, _ = _with(little, familiar=limit).read(volume)
        assert any("unlike" in w.what and w.warning for w in model_output.warnings) is warned
        given = _with(little, familiar=limit).answer(volume, "Is there a hepatic cyst?")
        assert any("unlike" in line for line in given.evidence) is warned
        assert bool(model_output.outside_domain) is warned
        assert all(
            bool(s.caution) is warned for s in (*model_output.scores, *_with(little, familiar=limit).classify(volume))
        )
        asked = _with(little, familiar=limit)
        if warned:
            told = [asked.answer(volume, f"Is there {t.words}?") for t in asked.settings.terms[:8]]
            assert {a.status for a in told} == {Status.NOT_ASSESSED}
            assert {(a.text, a.confidence, a.region) for a in told} == {("No answer", 0.0, None)}
            scored = [line for a in told for line in a.evidence if ": probability" in line]
            assert scored and all("not assessed (outside its domain)" in line for line in scored)
            assert {s.status for s in asked.classify(volume)} == {Status.NOT_ASSESSED}


def test_what_is_strange_is_named(little: TableModel) -> None:
    config, reader = little.encoder.config, little.encoder.reader
    table = reader.mean[None].clone()
    for organ, amount in (("spleen", 9.0), ("heart", 5.0), ("lung", 2.0)):
        row = config.anatomy.index(organ)
        table[:, row, : len(FEATURES)] += amount * reader.scale[row, : len(FEATURES)]
    assert tiny_model.strangest(little.encoder, table) == ["spleen", "heart", "lung"]


def test_strangeness_by_hand(little: TableModel) -> None:
    config, reader = little.encoder.config, little.encoder.reader
    table = reader.mean[None].clone()
    assert tiny_model.strangeness(little.encoder, table) == pytest.approx([0.0])
    organs = len(config.anatomy)
    off = table + 2 * reader.scale
    off[:, organs:] += 100  # findings are what scans differ by: they do not count
    off[:, :, len(FEATURES) :] += 100
    assert tiny_model.strangeness(little.encoder, torch.cat([table, off])) == pytest.approx([0.0, 2.0], abs=1e-4)


@pytest.mark.slow
@pytest.mark.parametrize(
    "options",
    [
        {"turn_deg": 17.0},
        {"spacing_mm": (3.0, 9.0, 12.0), "shape": (100, 28, 22)},
        {"shape": (4, 5, 3)},
        {"shape": (1, 20, 20)},
        {"shape": (20, 20, 1)},
        {"origin": (900.0, -2000.0, 5000.0)},
    ],
)
def test_any_grid(little: TableModel, made: Any, options: dict[str, Any]) -> None:
    scan = made.volume(**options)
    model_output, own = little.read(scan)
    assert own is None or own.geometry.same_grid(scan.geometry)
    for score in model_output.scores:
        assert 0 <= score.probability <= 1
        if score.region is not None and own is not None:
            box, mask = region_mask(own, score.region)
            center = scan.geometry.to_world(np.argwhere(mask).mean(0) + np.array(box.start))
            assert np.allclose(center, score.region.centroid_mm)


@pytest.mark.slow
def test_turning_the_patient_in_world_space_changes_no_score(little: TableModel, made: Any) -> None:
    straight, turned = made.volume(), made.volume(turn_deg=20.0, origin=(500.0, 7.0, -900.0))
    a, b = little.classify(straight), little.classify(turned)
    assert [s.probability for s in a] == pytest.approx([s.probability for s in b], abs=1e-5)
    assert [s.region and s.region.box for s in a] == [s.region and s.region.box for s in b]


def test_what_is_no_ct_is_refused(little: TableModel) -> None:
    shape = (20, 20, 20)
    for hu in (np.zeros(shape, np.float32), np.full(shape, -1000, np.int16)):
        with pytest.raises(InputError):
            little.read(Volume(hu, Geometry(shape, np.diag([5.0, 5, 5, 1]))))


def test_parts_that_do_not_fit_are_refused(little: TableModel, made: Any) -> None:
    settings = little.settings
    with pytest.raises(InputError, match="vocabulary"):
        _with(little, terms=settings.terms[::-1])
    with pytest.raises(InputError, match="calibration"):
        _with(little, calibration=replace(settings.calibration, names=settings.calibration.names[::-1]))
    with pytest.raises(InputError, match="precision"):
        TableModel(little.encoder, little.text, little.writer, settings, precision="float16")
    wide = type(little.text)(replace(little.text.config, embedding=20))
    with pytest.raises(InputError, match="one space"):
        TableModel(little.encoder, wide, little.writer, settings)


@pytest.mark.slow
def test_bfloat16_is_close(little: TableModel, volume: Volume) -> None:
    fast = TableModel(little.encoder, little.text, little.writer, little.settings, precision="bfloat16")
    a, b = little.encode(volume), fast.encode(volume)
    assert b.logits.dtype == np.float32 and not np.array_equal(a.findings, b.findings)
    assert a.embedding @ b.embedding > 0.98


@pytest.mark.slow
def test_generate_report_with_and_without_masks(little: TableModel) -> None:
    from radvlm.phantom import LesionSpec, PhantomSpec, make_phantom

    phantom = make_phantom(
        PhantomSpec(
            seed=5, shape=(60, 60, 60), spacing_mm=(7.0, 7.0, 8.0), lesions=(LesionSpec("liver_cyst", size=45.0),)
        )
    )
    for masks in (None, phantom.segmentation):
        made = radvlm.generate_report(phantom.volume, segmentation=masks, model=little)
        assert "MODEL: little" in made.text
        made.report.verify() if hasattr(made.report, "verify") else None
        for region in made.report.regions:
            row = made.regions.row(region.id)
            assert row is not None and int(np.isin(made.regions.labels, (row.label, *row.also)).sum()) == region.voxels
    assert "cyst" in made.text

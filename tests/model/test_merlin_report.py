"""Merlin's report model: weights in place, LoRA merged, all sections in one batch as the published loop writes them."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from reference_loop import reference_loop
from tokenizers import Tokenizer

from radvlm.errors import FileFormatError, InputError
from radvlm.model.decoder.generation import WritingLimits
from radvlm.model.merlin.checkpoint import FILES, open_checkpoint
from radvlm.model.merlin.layout import LanguageShape
from radvlm.model.merlin.random_files import SMALL_SHAPE, write_random_files
from radvlm.model.merlin.report import (
    LIMITS,
    SECTIONS,
    MerlinReportModel,
    build_language_model,
    load_report_tokenizer,
    section_prompt,
)
from radvlm.types.anatomy import SECTIONS as BODY

SHAPE = SMALL_SHAPE.language
SHORT = WritingLimits(max_new_tokens=12, repetition_penalty=1.2, stop=("###",))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_random_files(tmp_path_factory.mktemp("published"), tasks=("report",), seed=2)


@pytest.fixture(scope="module")
def model(folder: Path) -> MerlinReportModel:
    return MerlinReportModel.load(open_checkpoint(folder, "report", shape=SMALL_SHAPE), folder / "report_tokenizer")


@pytest.fixture(scope="module")
def image() -> torch.Tensor:
    return torch.rand(2, 1, 64, 64, 48, generator=torch.Generator().manual_seed(1))


def test_prompts_are_the_published_ones() -> None:
    assert section_prompt("lower thorax") == "Generate a radiology report for lower thorax###\n"
    assert list(SECTIONS) == [
        "lower thorax",
        "liver",
        "gallbladder",
        "spleen",
        "pancreas",
        "adrenal glands",
        "kidneys",
        "bowel",
        "peritoneum",
        "pelvic",
        "circulatory",
        "lymph nodes",
        "musculoskeletal",
    ]
    assert set(SECTIONS.values()) <= set(BODY)
    assert len(set(SECTIONS.values())) == 13, "a reading holds one draft a section"
    assert (LIMITS.max_new_tokens, LIMITS.repetition_penalty, LIMITS.stop) == (128, 1.2, ("###",))
    with pytest.raises(InputError, match="a section is one of"):
        section_prompt("brain")


def test_every_weight_is_that_of_the_file(folder: Path) -> None:
    state = open_checkpoint(folder, "report", shape=SMALL_SHAPE).language
    built = build_language_model(state, SHAPE, merge=False)
    own = built.state_dict()
    assert set(own) == set(state)
    assert all(own[key].data_ptr() == state[key].data_ptr() for key in state), "used as they are, not copied"
    assert not any(value.requires_grad for value in built.parameters())


def test_merged_lora_is_base_plus_scaled_product(folder: Path) -> None:
    state = open_checkpoint(folder, "report", shape=SMALL_SHAPE).language
    merged = build_language_model(state, SHAPE).state_dict()
    for name in ("q_proj", "v_proj"):
        key = f"base_model.model.model.layers.1.self_attn.{name}."
        update = state[key + "lora_B.default.weight"] @ state[key + "lora_A.default.weight"] * (16 / 8)
        expected = state[key + "base_layer.weight"] + update
        assert torch.allclose(merged[f"model.layers.1.self_attn.{name}.weight"], expected, atol=1e-5)
        assert update.abs().max() > 0.1
    key = "layers.0.self_attn.k_proj.weight"
    assert torch.equal(merged["model." + key], state["base_model.model.model." + key])


def test_the_published_scale_of_lora_is_one_in_thirty_two() -> None:
    shape = LanguageShape()
    assert shape.lora_alpha / shape.lora_rank == 1 / 32


def test_rotary_frequencies_are_not_left_on_meta_nor_in_half_precision(folder: Path) -> None:
    half = MerlinReportModel.load(
        open_checkpoint(folder, "report", shape=SMALL_SHAPE), folder / "report_tokenizer", dtype=torch.bfloat16
    )
    frequencies = half.decoder.model.model.rotary_emb.inv_freq
    size = SHAPE.hidden // SHAPE.heads
    expected = 1 / 10000 ** (torch.arange(0, size, 2) / size)
    assert torch.allclose(frequencies, expected)
    assert frequencies.dtype == torch.float32
    assert half.decoder.dtype == torch.bfloat16
    assert half.adapter.weight.dtype == torch.float32


@pytest.mark.slow
def test_fast_and_reference_write_the_same(
    model: MerlinReportModel, image: torch.Tensor, monkeypatch: pytest.MonkeyPatch
) -> None:
    passes = []
    original = model.encoder.feature_map

    def counted(x: torch.Tensor) -> torch.Tensor:
        passes.append(len(x))
        return original(x)

    monkeypatch.setattr(model.encoder, "feature_map", counted)
    fast = model.write(image, limits=SHORT)
    assert passes == [2], "one encoder pass for both cases and all sections"
    some = list(SECTIONS)[::3]
    prompts = [section_prompt(section) for section in some]
    reference = reference_loop(model.decoder, lambda: model.prefix(model.tokens(image[:1])), prompts, SHORT)
    assert len(passes) == 1 + len(some), "one for each section"
    assert [text.strip() for text, _ in reference] == [t.text for t in fast[0] if t.section in some]
    assert [t.section for t in fast[1]] == list(SECTIONS)
    assert [t.text for t in fast[0]] != [t.text for t in fast[1]], "the image matters"
    assert all(t.ended_by in ("end", "stop", "length") for t in fast[0])


@pytest.mark.slow
def test_a_batch_writes_what_single_runs_write(model: MerlinReportModel, image: torch.Tensor) -> None:
    sections = ("liver", "lymph nodes")
    together = model.write(image, sections, limits=SHORT)
    for case, texts in zip(image, together, strict=True):
        for section, text in zip(sections, texts, strict=True):
            assert model.write(case[None], (section,), limits=SHORT)[0][0].token_ids == text.token_ids


@pytest.mark.slow
def test_merging_changes_no_word_here(model: MerlinReportModel, folder: Path, image: torch.Tensor) -> None:
    beside = MerlinReportModel.load(
        open_checkpoint(folder, "report", shape=SMALL_SHAPE), folder / "report_tokenizer", merge=False
    )
    assert beside.decoder.has_lora
    assert torch.allclose(beside.prefix(beside.tokens(image)), model.prefix(model.tokens(image)))
    one, other = (m.write(image[:1], ("liver", "spleen"), limits=SHORT)[0] for m in (model, beside))
    assert [t.text for t in one] == [t.text for t in other]


def test_text_is_cut_at_the_stop_mark(
    model: MerlinReportModel, image: torch.Tensor, monkeypatch: pytest.MonkeyPatch
) -> None:
    decode = model.decoder.decode
    monkeypatch.setattr(model.decoder, "decode", lambda ids: "normal. ### more" if len(ids) >= 5 else decode(ids))
    (text,) = model.write(image[:1], ("spleen",), limits=SHORT)[0]
    assert (text.text, text.ended_by, len(text.token_ids)) == ("normal.", "stop", 5)


def test_image_tokens_are_in_the_published_order(model: MerlinReportModel, image: torch.Tensor) -> None:
    tokens = model.tokens(image)
    features = model.encoder.feature_map(image)  # (B, C, Z, X, Y)
    assert tokens.shape == (2, 3 * 2 * 2, 128)
    assert torch.allclose(tokens[1, 2 * 4 + 1 * 2 + 0], features[1, :, 2, 1, 0], atol=1e-6)
    expected = tokens @ model.adapter.weight.T + model.adapter.bias
    assert torch.allclose(model.prefix(tokens), expected, atol=1e-4)


@pytest.mark.slow
def test_bad_requests_are_refused(model: MerlinReportModel, folder: Path, image: torch.Tensor) -> None:
    with pytest.raises(InputError, match="section is one of"):
        model.write(image, ("toe",))
    with pytest.raises(InputError, match=r"image is \(B, 1, X, Y, Z\)"):
        model.write(image[:, 0])
    with pytest.raises(InputError, match="fit the context"):
        model.write(image, limits=WritingLimits(max_new_tokens=1024))
    with pytest.raises(InputError, match="adapter leads"):
        MerlinReportModel(model.encoder, torch.nn.Linear(7, 64), model.decoder)


def test_tokenizer_mismatches_are_named(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(FileFormatError, match="holds the Llama tokenizer"):
        load_report_tokenizer(tmp_path)
    with pytest.raises(FileFormatError, match=r"400 tokens in .* 32000 rows"):
        load_report_tokenizer(folder / "report_tokenizer")
    (tmp_path / "tokenizer.model").write_bytes(b"no model")
    with pytest.raises(FileFormatError, match="readable Llama tokenizer"):
        load_report_tokenizer(tmp_path, SHAPE)
    (tmp_path / "tokenizer.model").unlink()
    good = load_report_tokenizer(folder / "report_tokenizer", SHAPE)
    whole = good.backend_tokenizer.to_str()
    (tmp_path / "tokenizer.json").write_text(whole)
    again = load_report_tokenizer(tmp_path, SHAPE)
    assert again.get_vocab() == good.get_vocab()
    prompt = section_prompt("liver")
    assert again(prompt, add_special_tokens=False)["input_ids"] == good(prompt, add_special_tokens=False)["input_ids"]
    Tokenizer.from_str(whole.replace('"</s>"', '"</end>"')).save(str(tmp_path / "tokenizer.json"))
    with pytest.raises(FileFormatError, match="belongs to the report model"):
        load_report_tokenizer(tmp_path, SHAPE)


def test_remote_code_beside_the_tokenizer_is_not_read(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "tokenizer.model").write_bytes((folder / "report_tokenizer" / "tokenizer.model").read_bytes())
    (tmp_path / "tokenizer_config.json").write_text(
        '{"tokenizer_class": "OwnTokenizer", "auto_map": {"AutoTokenizer": ["own.OwnTokenizer", null]}}'
    )
    (tmp_path / "own.py").write_text("raise SystemExit('ran')")
    assert len(load_report_tokenizer(tmp_path, SHAPE).get_vocab()) == 400


def test_another_layout_is_refused(folder: Path) -> None:
    with pytest.raises(FileFormatError, match="missing"):
        MerlinReportModel.load(
            open_checkpoint(folder / FILES["report"]), folder / "report_tokenizer"
        )  # the published size is expected

"""A whole recipe in miniature: what is frozen stays, what was stopped goes on, what is saved is what was trained."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from radvlm.errors import FileFormatError, InputError
from radvlm.model.adapters.text_towers import TextTower, TextTowerConfig
from radvlm.model.adapters.token_encoder import TokenEncoder, TokenEncoderConfig
from radvlm.model.decoder.causal_lm import Decoder, LlamaShape, LoraSettings
from radvlm.model.decoder.prompts import MARKERS
from radvlm.model.decoder.tokenizer import train_tokenizer
from radvlm.model.inputs import InputSpec
from radvlm.model.organ_map import Organ
from radvlm.model.registry import load_model
from radvlm.model.tokens.model import LabelTerm, TokensModel, TokensSettings
from radvlm.model.tokens.visual_prefix import PrefixConfig, TokenWriter, VisualPrefix
from radvlm.train.draws import Draws
from radvlm.train.instruct import FrozenScans, TokenInstructBatches, token_lessons
from radvlm.train.loop import LoopConfig, run_stage
from radvlm.train.prepared import PreparedScans
from radvlm.train.tokens_config import TokensConfig
from radvlm.train.tokens_run import run_tokens
from radvlm.types.model_output import ModelOutput
from tests.train.tokens_made import open_masks, open_volume, write_study, write_table

SPEC = InputSpec((4.0, 4.0, 4.0), (24, 24, 24))
ORGANS = (Organ("liver", ("liver",), "liver"), Organ("spleen", ("spleen",), "spleen"))
RECIPE = """
kind: tokens
name: mini
notice: made-up cubes
trained_on: cubes
data: {table: studies.csv, validation: 0.4, test: 0.0}
input: {spacing_mm: [4.0, 4.0, 4.0], shape: [24, 24, 24]}
encoder: {kind: merlin, blocks: [1, 1, 1, 1], width: 8, embedding: 16, checkpointing: true}
text: {kind: hashed, embedding: 16, shape: {width: 16, layers: 1, heads: 2, buckets: 64}}
labels:
- {name: liver_lesion, words: liver lesion, section: liver, site: liver}
- {name: spleen_lesion, words: splenic lesion, section: spleen, site: spleen}
organs:
- {name: liver, structures: [liver], section: liver, labels: [liver_lesion]}
- {name: spleen, structures: [spleen], section: spleen, labels: [spleen_lesion]}
augment: {shift_mm: 4.0}
selfsupervision: {method: masked, block_mm: 16.0, detail: 2}
selfsupervised: {steps: 2, learning_rate: 0.001, log_every: 1}
selfsupervised_batch: {size: 2}
contrastive: {steps: 40, learning_rate: 0.004, log_every: 5, warmup: 2, validate_every: 10}
contrastive_batch: {size: 8}
writing:
  vocabulary: 320
  shape: {hidden: 32, layers: 1, heads: 2, context: 256}
  prefix: {kind: perceiver, queries: 3, depth: 1, inner: 16, heads: 2, regions: true}
  lora: {rank: 2}
adapter: {steps: 3, learning_rate: 0.003, log_every: 1, validate_every: 2}
adapter_batch: {size: 3}
instruct: {steps: 3, learning_rate: 0.003, log_every: 1, accumulate: 2}
instruct_batch: {size: 3}
hardware: {device: cpu, threads: 1, peak_tflops: 1.0}
"""


def made_writer(studies: list, kind: str = "linear") -> tuple[TokenEncoder, TokenWriter]:
    encoder = TokenEncoder(TokenEncoderConfig("merlin", 16, blocks=(1, 1, 1, 1), width=4), SPEC)
    encoder.requires_grad_(False)
    texts = [f"{x.prompt} {x.target}" for x in token_lessons(studies)]
    tokenizer = train_tokenizer(texts, vocab_size=300, specials=MARKERS)
    decoder = Decoder.new_llama(tokenizer, LlamaShape(hidden=16, layers=1, heads=2, context=128))
    decoder.requires_grad_(False)
    prefix = PrefixConfig(kind, queries=3, depth=1, inner=16, heads=2, regions=True)
    return encoder, TokenWriter(VisualPrefix(prefix, encoder.channels, decoder.width, 2), decoder)


def test_every_lesson_of_a_study_and_none_from_an_empty_table(tmp_path: Path) -> None:
    study = write_study(tmp_path, 0)
    found = token_lessons([study])
    assert [x.kind for x in found] == ["sections", "facts", "sections", "answers"]
    assert found[1].prompt.startswith("<facts> liver | 1.0 mL") and found[1].target == "A dense liver lesion."
    with pytest.raises(InputError, match="reports, sections or questions"):
        token_lessons([study.__class__("a", "b", study.volume)])


@pytest.mark.slow
def test_adapter_then_lora_leave_the_encoder_and_the_base_bit_for_bit(tmp_path: Path) -> None:
    studies = [write_study(tmp_path, n) for n in range(3)]
    encoder, writer = made_writer(studies)
    before = {k: v.clone() for k, v in encoder.state_dict().items()}
    base = {k: v.clone() for k, v in writer.decoder.state_dict().items()}
    prefix = {k: v.clone() for k, v in writer.prefix.state_dict().items()}
    scans = PreparedScans(SPEC, open_volume, load_masks=open_masks, organs=ORGANS, cache=tmp_path / "cache")
    frozen = FrozenScans(encoder, scans, tmp_path / "tokens")
    batches = TokenInstructBatches(writer, frozen, studies, token_lessons(studies), Draws(2, 0))
    run_stage("adapter", writer, batches, LoopConfig(3, 0.01, warmup=1), tmp_path)
    assert all(torch.equal(v, base[k]) for k, v in writer.decoder.state_dict().items())
    assert not all(torch.equal(v, prefix[k]) for k, v in writer.prefix.state_dict().items())
    assert not any("decoder" in k for k in torch.load(tmp_path / "adapter.done.pt", weights_only=True))
    writer.decoder.add_lora(LoraSettings(rank=2))
    run_stage("instruct", writer, batches, LoopConfig(3, 0.01, warmup=1), tmp_path)
    changed = {
        k
        for k, v in writer.decoder.base_model.state_dict().items()
        if (plain := f"model.{k.replace('.base_layer', '')}") in base and not torch.equal(v, base[plain])
    }
    assert not changed
    lora = [p for n, p in writer.named_parameters() if "lora_B" in n]
    assert lora and all(float(p.detach().abs().max()) > 0 for p in lora)
    assert all(torch.equal(v, before[k]) for k, v in encoder.state_dict().items())


def test_kept_tokens_are_the_encoder_s_and_follow_its_weights(tmp_path: Path) -> None:
    study = write_study(tmp_path, 0)
    encoder, writer = made_writer([study])
    scans = PreparedScans(SPEC, open_volume, load_masks=open_masks, organs=ORGANS)
    frozen = FrozenScans(encoder, scans, tmp_path / "tokens")
    first, again = frozen(study), frozen(study)
    out = encoder(scans(study).image[None])
    torch.testing.assert_close(first.tokens, out.tokens, atol=2e-3, rtol=2e-3)
    assert torch.equal(first.tokens, again.tokens) and first.token_grid == out.token_grid
    assert first.there is not None and first.there.tolist() == [[True, True]]
    assert first.facts is not None and float(first.facts[0, 0, 0]) == pytest.approx(8 * 12 * 10 * 0.064, rel=1e-5)
    with torch.no_grad():
        encoder.trunk.conv1.weight.mul_(1.5)
    assert not torch.equal(FrozenScans(encoder, scans, tmp_path / "tokens")(study).tokens, first.tokens)
    prefix, mask = writer.prefix(first)
    assert prefix.shape[1] == first.tokens.shape[1] + 2 and mask.all()


def test_hidden_regions_have_no_influence(tmp_path: Path) -> None:
    study = write_study(tmp_path, 0)
    encoder, writer = made_writer([study], kind="perceiver")
    scans = PreparedScans(SPEC, open_volume, load_masks=open_masks, organs=ORGANS)
    lessons = token_lessons([study])[:1]

    def loss(hide: float) -> float:
        batches = TokenInstructBatches(
            writer, FrozenScans(encoder, scans, tmp_path / "t"), [study], lessons, Draws(1, 0), hide_regions=hide
        )
        return float(batches.loss(lessons, np.random.Generator(np.random.PCG64(0))).detach())

    hidden, shown = loss(1.0), loss(0.0)
    with torch.no_grad():
        assert writer.prefix.regions is not None
        writer.prefix.regions.facts.weight.add_(1.0)
    assert loss(1.0) == hidden and loss(0.0) != shown


def made_model() -> TokensModel:
    encoder = TokenEncoder(TokenEncoderConfig("merlin", 16, 1, blocks=(1, 1, 1, 1), width=4), SPEC)
    text = TextTower(TextTowerConfig(embedding=16, shape={"width": 16, "layers": 1, "heads": 2, "buckets": 64}))
    return TokensModel(encoder, text, TokensSettings("m", "n", "t", (LabelTerm("x", "a lesion", "liver", "liver"),)))


def test_a_model_without_a_decoder_says_so_and_is_read_back(tmp_path: Path) -> None:
    model = made_model()
    volume = open_volume(write_study(tmp_path, 0).volume)
    model_output, regions = model.read(volume)
    assert isinstance(model_output, ModelOutput) and not model_output.drafts and regions is None
    assert any("not calibrated" in w.what for w in model_output.warnings)
    with pytest.raises(InputError, match="trained without one"):
        model.answer(volume, "Is there a lesion?")
    back = load_model(model.save_pretrained(tmp_path / "model"))
    np.testing.assert_array_equal(back.embed(volume), model.embed(volume))
    np.testing.assert_array_equal(back.embed_text(["a lesion"]), model.embed_text(["a lesion"]))
    assert back.read(volume)[0].scores == model_output.scores
    assert back.classify(volume, ["ascites"])[0].probability == model.classify(volume, ["ascites"])[0].probability
    assert str(tmp_path) not in (tmp_path / "model" / "config.json").read_text()
    model.save_pretrained(tmp_path / "model")  # over an older model
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "config.json").write_text("{}")
    with pytest.raises(InputError, match="another folder"):
        model.save_pretrained(tmp_path / "other")


def test_a_damaged_folder_is_refused(tmp_path: Path) -> None:
    folder = made_model().save_pretrained(tmp_path / "model")
    said = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**said, "encoder": {**said["encoder"], "width": 5}}))
    with pytest.raises(FileFormatError, match="weights of the encoder"):
        TokensModel.load(folder)
    (folder / "config.json").write_text(json.dumps({**said, "version": 99}))
    with pytest.raises(FileFormatError, match="99"):
        TokensModel.load(folder)
    (folder / "config.json").write_text(json.dumps(said))
    with (folder / "model.safetensors").open("r+b") as file:
        file.seek(-1, 2)
        file.write(b"\x7f")
    with pytest.raises(FileFormatError, match="sha256"):
        TokensModel.load(folder)


def test_labels_of_the_recipe_are_columns_of_the_table(tmp_path: Path) -> None:
    write_table(tmp_path, 2)
    (tmp_path / "r.yaml").write_text(RECIPE.replace("spleen_lesion", "splenomegaly"))
    with pytest.raises(InputError, match="no column for splenomegaly"):
        run_tokens(TokensConfig.load(tmp_path / "r.yaml"), tmp_path / "out", load_volume=open_volume, folder=tmp_path)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:.*is_gradient_checkpointing.*:FutureWarning")
def test_a_whole_recipe_learns_and_a_run_that_goes_on_gives_the_same_model(tmp_path: Path) -> None:
    write_table(tmp_path, 40)
    (tmp_path / "r.yaml").write_text(RECIPE)
    config = TokensConfig.load(tmp_path / "r.yaml")
    told: list[str] = []

    def run() -> Path:
        return run_tokens(
            config,
            tmp_path / "out",
            load_volume=open_volume,
            load_masks=open_masks,
            folder=tmp_path,
            progress=told.append,
        )

    model = load_model(run())
    losses = [json.loads(x) for x in (tmp_path / "out" / "contrastive.log.jsonl").read_text().splitlines()]
    held = [row["validation"] for row in losses if "validation" in row]
    assert len(held) == 4 and max(held) > held[0]
    assert any("TFLOP/s" in line and "of peak" in line for line in told)
    assert {"scans_per_s", "tflops", "mfu"} <= set(losses[-2])
    assert (tmp_path / "out" / "losses.svg").read_text().count("<polyline") == 8
    volume = open_volume(tmp_path / "0.npy")
    model_output, _ = model.read(volume, segmentation=open_masks(tmp_path / "0.masks.npy", volume))
    assert {d.section for d in model_output.drafts} == {"liver", "spleen"} and model_output.thresholds
    scores = {n: model.classify(open_volume(tmp_path / f"{n}.npy"), ["liver_lesion"])[0].probability for n in range(8)}
    assert min(scores[n] for n in (0, 2, 4, 6)) > max(scores[n] for n in (1, 3, 5, 7))
    answer = model.answer(volume, "Is there a liver lesion?")
    assert answer.text and 0 <= answer.confidence <= 1
    digest = model.digest
    told.clear()
    (tmp_path / "out" / "instruct.done.pt").unlink()  # as if it had been stopped there
    again = load_model(run())
    assert again.digest == digest and not any(line.startswith("contrastive ") for line in told)
    np.testing.assert_array_equal(again.embed(volume), model.embed(volume))

"""Recipes of token models: the shipped one parses, and each mistake is one clear error that names the key."""

from __future__ import annotations

from pathlib import Path

import pytest

from radvlm.errors import InputError
from radvlm.train.tokens_config import TokensConfig, recipe_kind

CONFIGS = Path(__file__).resolve().parents[2] / "configs"
LEAST = """
kind: tokens
name: a
notice: b
trained_on: c
data: {table: t.csv}
contrastive: {steps: 1, learning_rate: 0.1}
"""


def test_the_shipped_recipe_has_merlin_s_sizes() -> None:
    config = TokensConfig.load(CONFIGS / "merlin-contrastive.yaml")
    assert recipe_kind(CONFIGS / "merlin-contrastive.yaml") == "tokens"
    assert config.encoder.blocks == (3, 8, 36, 3) and config.encoder.width == 64 and config.encoder.embedding == 512
    assert config.input.shape == (224, 224, 160) and config.input.spacing_mm == (1.5, 1.5, 3.0)
    assert config.contrastive is not None and config.contrastive.steps == 85000
    assert config.writing.lora.rank == 512 and config.writing.lora.target_modules == ("q_proj", "v_proj")
    assert config.organs[0].labels == ("hepatic_steatosis", "hepatomegaly") and config.selfsupervised is None


def test_a_recipe_without_a_kind_is_a_table_recipe() -> None:
    assert recipe_kind(CONFIGS / "tiny.yaml") == "table"


def test_the_least_recipe_parses_and_leaves_stages_out(tmp_path: Path) -> None:
    (tmp_path / "r.yaml").write_text(LEAST)
    config = TokensConfig.load(tmp_path / "r.yaml")
    assert config.adapter is None and config.instruct is None and config.contrastive is not None
    assert config.contrastive.learning_rate == 0.1


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ("kind: tables", "kind"),
        ("encodr: {}", "encodr"),
        ("encoder: {widht: 3}", "widht"),
        ("encoder: {width: wide}", "encoder.width is of type int"),
        ("encoder: {width: true}", "encoder.width is of type int"),
        ("encoder: {blocks: 3}", "encoder.blocks is a list"),
        ("encoder: {labels: 5}", "label head follows"),
        ("encoder: {kind: monai}", "network"),
        ("encoder: {embedding: 7}", "7 and 512"),
        ("contrastive: {steps: 1, learning_rate: 1e-4}", "1.0e-4 and not 1e-4"),
        ("contrastive: {steps: 0, learning_rate: 0.1}", "at least one step"),
        ("contrastive: {steps: 5}", "missing learning_rate"),
        ("contrastive: null", "at least one stage"),
        ("instruct: {steps: 1, learning_rate: 0.1}", "instruct comes after adapter"),
        ("data: {}", "missing table"),
        ("contrastive_batch: {size: 0}", "at least one scan"),
        ("weights: {reports: -1.0}", "not negative"),
        ("labels: [{name: x, words: x, section: belly}]", "x: belly"),
        ("labels: [{name: x, words: x, section: liver}, {name: x, words: y, section: liver}]", "names of their own"),
        ("organs: [{name: l, structures: [liver], section: liver, labels: [nope]}]", "nope"),
        ("writing: {prefix: {regions: true}}", "table of organs"),
        ("writing: {prefix: {kind: mlp}}", "linear, perceiver"),
        ("input: {spacing_mm: [1.0, 1.0]}", "3 values"),
        ("text: {kind: longformer}", "folder"),
        ("hardware: {device: tpu}", "auto, cpu or cuda"),
        ("!!python/object/apply:os.system ['true']", "YAML"),
    ],
)
def test_a_bad_recipe_is_one_clear_error(tmp_path: Path, change: str, message: str) -> None:
    key = change.split(":")[0]
    lines = [line for line in LEAST.splitlines() if line and not line.startswith(f"{key}:")]
    (tmp_path / "r.yaml").write_text("\n".join([*lines, change]))
    with pytest.raises(InputError, match=message):
        TokensConfig.load(tmp_path / "r.yaml")

"""Configuration: every shipped file parses, unknown keys and wrong types are refused by name."""

from __future__ import annotations

from pathlib import Path

import pytest

from radvlm.errors import InputError
from radvlm.workflows.config import Config, Measuring

CONFIGS = Path(__file__).resolve().parents[2] / "configs"


#: Recipes of models; every other file holds settings of a report.
RECIPES = {"tiny.yaml", "tiny-preference.yaml", "merlin-contrastive.yaml"}


@pytest.mark.parametrize(
    "path", sorted(p for p in CONFIGS.glob("*.yaml") if p.name not in RECIPES), ids=lambda p: p.name
)
def test_every_shipped_configuration_parses(path: Path) -> None:
    assert isinstance(Config.load(path), Config)


def test_default_yaml_states_exactly_the_defaults() -> None:
    import yaml

    stated = yaml.safe_load((CONFIGS / "default.yaml").read_text())
    assert Config.load(CONFIGS / "default.yaml") == Config()
    assert set(stated) == set(Config().to_dict())
    for group, values in Config().to_dict().items():
        if isinstance(values, dict):
            assert set(stated[group]) == set(values), group


def test_an_empty_file_is_the_default(tmp_path: Path) -> None:
    (tmp_path / "c.yaml").write_text("# nothing\n")
    assert Config.load(tmp_path / "c.yaml") == Config()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("measurng: {}", "Did you mean measuring"),
        ("measuring: {min_lesion_voxel: 3}", "min_lesion_voxels"),
        ("measuring: {min_lesion_voxels: many}", "measuring.min_lesion_voxels"),
        ("measuring: {min_lesion_voxels: 0}", "at least 1"),
        ("measuring: 5", "mapping"),
        ("style: {detail: chatty}", "detail"),
        ("- a list", "mapping"),
        ("a: [", "readable YAML"),
        ("measuring: !!python/object/apply:os.system ['true']", "readable YAML"),
    ],
)
def test_a_bad_configuration_is_one_clear_error(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "c.yaml").write_text(text)
    with pytest.raises(InputError, match=message):
        Config.load(tmp_path / "c.yaml")


def test_a_missing_file_is_one_clear_error(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="readable YAML"):
        Config.load(tmp_path / "none.yaml")


def test_the_digest_follows_values_and_rules_file(tmp_path: Path) -> None:
    assert Config().digest == Config().digest
    assert Config(measuring=Measuring(5)).digest != Config().digest
    rules = tmp_path / "rules.yaml"
    rules.write_text("a: 1")
    first = Config(rules_file=str(rules)).digest
    rules.write_text("a: 2")
    assert Config(rules_file=str(rules)).digest != first

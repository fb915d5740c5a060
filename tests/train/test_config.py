"""Recipes: what is read, and what is refused by name."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from radvlm.errors import InputError
from radvlm.train.tiny_config import TrainConfig

TINY = Path(__file__).parents[2] / "configs" / "tiny.yaml"


def _load(tmp_path: Path, **changes: Any) -> TrainConfig:
    data = yaml.safe_load(TINY.read_text())
    for path, value in changes.items():
        *above, last = path.split("__")
        held = data
        for key in above:
            held = held[key]
        if value is None:
            del held[last]
        else:
            held[last] = value
    (tmp_path / "r.yaml").write_text(yaml.safe_dump(data))
    return TrainConfig.load(tmp_path / "r.yaml")


def test_the_recipe_of_tiny(tmp_path: Path) -> None:
    config = TrainConfig.load(TINY)
    assert (
        config.name == "tiny"
        and "phantoms" in config.notice
        and "means nothing" in config.notice.replace("mean nothing", "means nothing")
    )
    assert config.encoder.channels and isinstance(config.encoder.channels, tuple)
    assert config.voxels.learning_rate > 0 and config.voxel_batch.crop is not None
    assert config.voxel_scans.reports is not None, "prose from facts needs reports"
    assert _load(tmp_path) == config


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"lerning_rate": 1}, "lerning_rate"),
        ({"voxels__lerning_rate": 1}, "lerning_rate.*voxels "),
        ({"seed": None}, "missing seed"),
        ({"voxels__steps": None}, "steps"),
        ({"voxel_scans__folder": None}, "folder"),
        ({"voxels": 3}, "voxels is a mapping"),
        ({"voxels__learning_rate": "2e-3"}, "YAML reads 2e-3 as text"),
        ({"voxels__steps": 10.5}, "voxels.steps is of type int"),
        ({"voxels__steps": 0}, "at least one step"),
        ({"seed": True}, "seed"),
        ({"encoder__channels": [1, "b"]}, "channels"),
        ({"voxel_batch__crop": [64, 64]}, "crop"),
        ({"voxel_batch__crop": [64, 63, 64]}, "even"),
        ({"head_batch__size": 0}, "at least one case"),
        ({"threads": 0}, "thread"),
        ({"head_scans__crowded": 2.0}, "crowded"),
        ({"name": " "}, "names its model"),
        ({"head_scans__seeds": [5, 5]}, "seeds"),
        ({"head_scans__seeds": [5]}, "seeds"),
        ({"head_scans__noise_hu": [9, 3]}, "noise_hu"),
        ({"validation_scans__folder": "corpus/heads"}, "head_scans and validation_scans"),
        ({"validation_scans__folder": "./corpus/heads"}, "head_scans and validation_scans"),
        ({"encoder__spacing_mm": 4.0}, "voxel_scans 3.0 mm, encoder 4.0 mm"),
        ({"validation_scans__seeds": [1000999, 1001010]}, "voxel_scans .* and validation_scans"),
    ],
)
def test_what_is_refused(tmp_path: Path, change: dict[str, Any], words: str) -> None:
    with pytest.raises(InputError, match=words):
        _load(tmp_path, **change)


def test_what_is_no_recipe(tmp_path: Path) -> None:
    (tmp_path / "list.yaml").write_text("- 1")
    (tmp_path / "torn.yaml").write_text("a: [")
    for name in ("list.yaml", "torn.yaml", "none.yaml"):
        with pytest.raises(InputError, match="recipe"):
            TrainConfig.load(tmp_path / name)


def test_whole_numbers_are_numbers(tmp_path: Path) -> None:
    assert _load(tmp_path, voxels__minutes=3, head_scans__crowded=1).voxels.minutes == 3

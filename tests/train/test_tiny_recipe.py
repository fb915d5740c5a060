"""The recipe of tiny in miniature, end to end, interrupted and resumed; and parts of it by hand."""

from __future__ import annotations

import json
import xml.etree.ElementTree as ElementTree
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml

import radvlm
from radvlm.dataset.case import Case
from radvlm.errors import FileFormatError, InputError
from radvlm.phantom import PhantomSpec, make_phantom
from radvlm.train import tiny_run as stages
from radvlm.train.heads import WITH_TEXTS, HeadBatches, evidence_tables
from radvlm.train.language import says_something
from radvlm.train.plots import plot_losses
from radvlm.train.tiny_config import CorpusConfig, TrainConfig
from radvlm.train.tiny_run import macro_auroc, recall_of_own_report
from radvlm.workflows.train_model import train_model

LOOP = {"learning_rate": 0.002, "warmup": 2, "log_every": 1}
RECIPE: dict[str, Any] = {
    "name": "mini",
    "notice": "Trained for a moment in a test.",
    "trained_on": "nine phantoms",
    "seed": 1,
    "threads": 1,
    "voxel_scans": {"folder": "corpus/voxels", "seeds": [10, 12], "spacing_mm": 12.0, "reports": 11, "crowded": 1.0},
    "head_scans": {"folder": "corpus/heads", "seeds": [20, 25], "spacing_mm": 12.0, "crowded": 1.0},
    "validation_scans": {"folder": "corpus/validation", "seeds": [30, 34], "spacing_mm": 12.0},
    "encoder": {
        "spacing_mm": 12.0,
        "channels": [4, 4, 4, 4, 4],
        "blocks": [0, 0, 0, 0, 0],
        "width": 4,
        "embedding": 16,
        "hidden": 12,
    },
    "decoder": {
        "vocabulary": 400,
        "hidden": 16,
        "layers": 1,
        "heads": 2,
        "feed_forward": 32,
        "context": 1024,
        "lora_rank": 2,
        "lora_alpha": 4.0,
    },
    "voxels": {**LOOP, "steps": 3},
    "voxel_batch": {"size": 2, "crop": [24, 20, 16]},
    "heads": {**LOOP, "steps": 4, "validate_every": 2, "patience": 3},
    "head_batch": {"size": 5},
    "base": {**LOOP, "steps": 2, "precision": "bfloat16"},
    "base_batch": {"size": 4},
    "instruct": {**LOOP, "steps": 5, "precision": "bfloat16"},
    "instruct_batch": {"size": 4},
}


def _no(*_: Any, **__: Any) -> Any:
    raise KeyboardInterrupt


@pytest.mark.slow
def test_a_recipe_runs_is_interrupted_goes_on_and_its_model_loads(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe, out = tmp_path / "mini.yaml", tmp_path / "out"
    recipe.write_text(yaml.safe_dump(RECIPE))
    told: list[str] = []
    with monkeypatch.context() as patch:
        patch.setattr(stages, "plain_texts", _no)
        with pytest.raises(KeyboardInterrupt):
            train_model(recipe, out, progress=told.append)
    assert (out / "heads.done.pt").exists() and not (out / "model").exists()
    assert any(t.startswith("head scans 5/5") for t in told) and any(t.startswith("voxels 3/3") for t in told)
    with pytest.raises(InputError, match="not empty"):
        train_model(recipe, out)
    with monkeypatch.context() as patch:
        patch.setattr(stages, "voxel_loss", _no)
        folder = train_model(recipe, out, resume=True)
    model: Any = radvlm.load_model(folder)
    assert (model.name, model.notice) == ("mini", RECIPE["notice"])
    assert model.settings.training["seed"] == 1 and set(model.settings.training["minutes"]) >= {"voxels", "heads"}
    assert min(model.settings.training["lessons"]) > 0, "sections, answers and facts were taught"
    logs = {p.name.split(".")[0]: [json.loads(x) for x in p.read_text().splitlines()] for p in out.glob("*.log.jsonl")}
    assert {n: [r["step"] for r in rows if "loss" in r] for n, rows in logs.items()} == {
        "voxels": [1, 2, 3],
        "heads": [1, 2, 3, 4],
        "base": [1, 2],
        "instruct": [1, 2, 3, 4, 5],
    }
    assert len([r for r in logs["heads"] if "validation" in r]) == 2
    assert {"sections", "answers", "facts"} <= {key for row in logs["instruct"] for key in row}
    svg = ElementTree.parse(out / "losses.svg").getroot()
    assert len([e for e in svg.iter() if e.tag.endswith("polyline")]) == 8

    scan = make_phantom(PhantomSpec(seed=40, spacing_mm=(12.0, 12.0, 12.0))).volume
    scores = model.classify(scan)
    assert len({s.finding for s in scores}) == 37 and model.embed(scan).shape == (16,)
    assert model.answer(scan, "Is there a hepatic cyst?").text

    digest = model.digest
    (out / "model" / "config.json").unlink()
    for file in (out / "model").rglob("*"):
        if file.is_file():
            file.unlink()
    for name in ("decoder", ""):
        (out / "model" / name).rmdir()
    again: Any = radvlm.load_model(train_model(recipe, out, resume=True))
    assert again.digest == digest and again.settings.calibration == model.settings.calibration
    recipe.write_text(yaml.safe_dump({**RECIPE, "encoder": {**RECIPE["encoder"], "width": 6}}))
    with pytest.raises(FileFormatError, match=r"voxels\.done\.pt"):
        train_model(recipe, out, resume=True)


def test_an_empty_corpus_is_said_before_training(tmp_path: Path) -> None:
    data = {**RECIPE, "voxel_scans": {"folder": "nothing"}}
    (tmp_path / "r.yaml").write_text(yaml.safe_dump(data))
    config = replace(
        TrainConfig.load(tmp_path / "r.yaml"), head_scans=CorpusConfig("h"), validation_scans=CorpusConfig("v")
    )
    with pytest.raises((InputError, FileFormatError), match="nothing"):
        stages.run(config, tmp_path / "out")


def test_no_reports_no_tables(tmp_path: Path) -> None:
    """A recipe without reports has no facts to teach, and goes on."""
    (tmp_path / "r.yaml").write_text(yaml.safe_dump(RECIPE))
    encoder = stages.make_encoder(TrainConfig.load(tmp_path / "r.yaml"))
    tables = evidence_tables(encoder, [], tmp_path / "e.safetensors")
    assert tables.values.shape == (0, len(encoder.config.classes), encoder.config.columns) and tables.cases == ()


class _Scan:
    def __init__(self, name: str, seed: int) -> None:
        self.name = name
        self.hu = np.random.default_rng(seed).normal(0, 300, (20, 18, 16)).astype(np.float32)


def test_evidence_is_kept_and_a_torn_file_is_never_left(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "r.yaml").write_text(yaml.safe_dump(RECIPE))
    encoder = stages.make_encoder(TrainConfig.load(tmp_path / "r.yaml"))
    scans: Any = [_Scan("a", 0), _Scan("b", 1)]
    file = tmp_path / "e.safetensors"
    first = evidence_tables(encoder, scans, file)
    with torch.no_grad():
        direct = [encoder.eval()(torch.from_numpy(s.hu)[None, None]).tokens[0] for s in scans]
    assert torch.allclose(encoder.reader.standardize(first.values), torch.stack(direct), atol=1e-4)
    with monkeypatch.context() as patch:
        patch.setattr(type(encoder.voxels), "forward", _no)
        again = evidence_tables(encoder, scans[::-1], file)
    assert torch.equal(again.values, first.values.flip(0)), "rows follow the cases"
    assert [p.name for p in tmp_path.iterdir() if "safetensors" in p.name or p.suffix == ".tmp"] == ["e.safetensors"]


def _on_disk(folder: Path, number: int) -> Case:
    place = folder / f"s{number}"
    place.mkdir()
    (place / "case.json").write_text(
        json.dumps(
            {
                "affine_ras_mm": np.diag([12.0, 12, 12, 1]).tolist(),
                "shape": [20, 18, 16],
                "volumes_ml": {},
                "truth": {"sex": "F", "phase": "portal venous", "lesions": []},
            }
        )
    )
    np.save(place / "hu.npy", np.random.default_rng(number).normal(0, 300, (20, 18, 16)).astype(np.int16))
    return Case(place)


@pytest.mark.slow
def test_several_processes_make_the_same_evidence(tmp_path: Path) -> None:
    (tmp_path / "r.yaml").write_text(yaml.safe_dump(RECIPE))
    encoder = stages.make_encoder(TrainConfig.load(tmp_path / "r.yaml"))
    cases = [_on_disk(tmp_path, n) for n in range(5)]
    one = evidence_tables(encoder, cases, tmp_path / "one.safetensors")
    two = evidence_tables(encoder, cases, tmp_path / "two.safetensors", workers=2)
    assert torch.allclose(one.values, two.values, atol=1e-4) and not torch.equal(one.values[0], one.values[1])


def test_organs_are_swapped_whole_with_their_labels(tmp_path: Path) -> None:
    """Every number of a scan is its row, so that each organ tells its donor."""
    (tmp_path / "r.yaml").write_text(yaml.safe_dump(RECIPE))
    encoder = stages.make_encoder(TrainConfig.load(tmp_path / "r.yaml"))
    config, size = encoder.config, WITH_TEXTS + 30
    batches = HeadBatches.__new__(HeadBatches)
    batches.config = config
    rows = torch.arange(size, dtype=torch.float32)
    given = (
        rows[:, None, None].expand(-1, len(config.classes), config.columns).clone(),
        *(rows[:, None].expand(-1, len(config.findings)).clone() for _ in range(2)),
    )
    table, truth, known = batches._swapped(*given, np.random.default_rng(0))
    assert torch.equal(table[:WITH_TEXTS], given[0][:WITH_TEXTS]) and torch.equal(
        truth[:WITH_TEXTS], given[1][:WITH_TEXTS]
    )
    assert torch.equal(given[0][:, 0, 0], rows), "the batch itself stays"
    anatomy, swapped = list(config.anatomy), 0
    for parent in set(config.parents):
        columns = [n for n, p in enumerate(config.parents) if p == parent]
        donor = table[:, anatomy.index(parent), 0]
        for n in columns:
            assert (table[:, len(anatomy) + n] == donor[:, None]).all()
            assert torch.equal(truth[:, n], donor) and torch.equal(known[:, n], donor)
        assert (donor[WITH_TEXTS:] >= WITH_TEXTS).all(), "donors are swapped rows too"
        assert ((donor - rows).abs() <= 5).all() | (((donor - rows).abs() >= 25) & (rows >= WITH_TEXTS)).any()
        swapped += int((donor != rows).sum())
    share = swapped / (30 * len(set(config.parents)))
    assert 0.25 < share < 0.55
    few = tuple(t[: WITH_TEXTS + 3] for t in given)
    assert all(a is b for a, b in zip(batches._swapped(*few, np.random.default_rng(0)), few, strict=True))


def test_macro_auroc_by_hand() -> None:
    truth = np.array([[1, 0, 0], [0, 1, 0], [1, 0, 0], [0, 0, 0]])
    scores = np.array([[0.9, 0.1, 5], [0.2, 0.1, 6], [0.2, 0.3, 7], [0.1, 0.0, 8]])
    first = (1 + 1 + 0.5 + 1) / 4  # pairs: .9 > .2, .9 > .1, .2 = .2, .2 > .1
    second = (0.5 + 0 + 1) / 3  # .1 = .1, .1 < .3, .1 > 0
    assert macro_auroc(scores, truth) == pytest.approx((first + second) / 2), "the third has no positive"
    with pytest.raises(InputError, match="positive and negative"):
        macro_auroc(scores, np.zeros_like(truth))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("No hepatic cyst. The liver is unremarkable.", False),
        ("Hepatic cyst in segment VI. No stone.", True),
        ("", False),
    ],
)
def test_says_something(text: str, expected: bool) -> None:
    assert says_something(text) is expected


def test_recall_of_own_report_by_hand() -> None:
    """Two blocks of two: in the first both find their own, in the second both choose row 2; the fifth is left over."""
    image = np.eye(5, 4)[[0, 1, 2, 2, 3]]
    text = np.eye(5, 4)[[0, 1, 2, 3, 3]]
    assert recall_of_own_report(image, text, block=2) == pytest.approx(3 / 4)
    assert recall_of_own_report(image[:1], text[:1]) == 1.0
    assert recall_of_own_report(image[2:4], text[[3, 2]]) == 0.5, "argmax takes the first of two equal ones"


def test_plots_need_two_points(tmp_path: Path) -> None:
    assert plot_losses(tmp_path) is None
    (tmp_path / "a.log.jsonl").write_text('{"step": 1, "loss": 2.0}\n{"step": 1, "validation": 0.5}\n')
    assert plot_losses(tmp_path) is None
    (tmp_path / "a.log.jsonl").write_text('{"step": 1, "loss": 2.0}\n{"step": 9, "loss": 1.0}\n')
    target = plot_losses(tmp_path)
    assert target is not None and "9 steps" in target.read_text()
    ElementTree.parse(target)

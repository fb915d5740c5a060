"""Saving and loading a model: equal outputs, damaged files, nothing that runs."""

from __future__ import annotations

import json
import pickle
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from radvlm.errors import FileFormatError, InputError, MissingPackageError, RadvlmError
from radvlm.files.atomic import sha256_of
from radvlm.model import registry, store
from radvlm.model.decoder.prompts import MARKERS
from radvlm.model.decoder.tokenizer import train_tokenizer
from radvlm.model.registry import load_model
from radvlm.model.tiny import model as tiny_model
from radvlm.model.tiny.model import FORMAT, Settings, TableModel
from radvlm.types.records import record_from
from radvlm.types.volume import Volume


@pytest.fixture(autouse=True)
def _short(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tiny_model, "LONGEST_SECTION", 8)
    monkeypatch.setattr(tiny_model, "LONGEST_ANSWER", 4)


@pytest.fixture
def folder(little: TableModel, tmp_path: Path) -> Path:
    return little.save_pretrained(tmp_path / "little")


def _rewrite(folder: Path, change: Callable[[dict[str, torch.Tensor]], None]) -> None:
    """Change the weights and make config.json agree, so that only the keys are wrong."""
    tensors = load_file(folder / "model.safetensors")
    change(tensors)
    save_file(tensors, folder / "model.safetensors")
    config = json.loads((folder / "config.json").read_text())
    config["sha256"] = {"model.safetensors": sha256_of(folder / "model.safetensors")}
    (folder / "config.json").write_text(json.dumps(config))


def _edit(folder: Path, **changes: Any) -> None:
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, **changes}))


@pytest.mark.slow
def test_a_loaded_model_says_the_same(made: Any, volume: Volume, tmp_path: Path) -> None:
    """With adapters, which are merged; weights in half precision."""
    model = made.model(lora=True)
    question = "Is there a hepatic cyst?"
    before = model.read(volume)[0], model.embed(volume), model.embed_text(["a cyst"]), model.answer(volume, question)
    folder = model.save_pretrained(tmp_path / "deep" / "little")
    loaded = load_model(folder)
    assert loaded.settings == model.settings and loaded.name == "little"
    assert loaded.digest == json.loads((folder / "config.json").read_text())["sha256"]["model.safetensors"]
    after = loaded.read(volume)[0], loaded.embed(volume), loaded.embed_text(["a cyst"]), loaded.answer(volume, question)
    assert [(s.finding, s.site) for s in after[0].scores] == [(s.finding, s.site) for s in before[0].scores]
    assert np.allclose([s.probability for s in after[0].scores], [s.probability for s in before[0].scores], atol=5e-3)
    assert before[1] @ after[1] > 0.9999 and before[2][0] @ after[2][0] > 0.9999
    assert after[3].confidence == pytest.approx(before[3].confidence, abs=0.02)
    assert not loaded.writer.decoder.has_lora
    again = load_model(loaded.save_pretrained(tmp_path / "again"))
    assert all(
        torch.equal(a, b)
        for a, b in zip(loaded.encoder.state_dict().values(), again.encoder.state_dict().values(), strict=True)
    )
    assert again.digest == loaded.digest, "half precision is rounded once"
    assert sorted(p.name for p in tmp_path.iterdir()) == ["again", "deep"], "nothing is left beside them"


def test_merged_adapters_count(made: Any, volume: Volume, tmp_path: Path) -> None:
    """The saved base is the merged one: without the adapters the weights are others."""
    with_lora, without = made.model(lora=True), made.model()
    a, b = load_model(with_lora.save_pretrained(tmp_path / "a")), load_model(without.save_pretrained(tmp_path / "b"))
    other = b.writer.decoder.state_dict()
    differ = [k for k, v in a.writer.decoder.state_dict().items() if not torch.equal(v, other[k])]
    assert differ and all("_proj" in k for k in differ)


def test_small_statistics_survive(made: Any, tmp_path: Path) -> None:
    model = made.model()
    with torch.no_grad():
        model.writer.tokens.spread.fill_(1.5e-6)
        model.encoder.reader.scale.fill_(0.0512345)
    loaded = load_model(model.save_pretrained(tmp_path / "m"))
    assert torch.equal(loaded.writer.tokens.spread, model.writer.tokens.spread)
    assert torch.equal(loaded.encoder.reader.scale, model.encoder.reader.scale)


def test_half_precision_only_where_it_fits(folder: Path, little: TableModel) -> None:
    stored = load_file(folder / "model.safetensors")
    assert stored["encoder.voxels.head.weight"].dtype == torch.float16
    assert stored["encoder.voxels.head.bias"].dtype == torch.float32
    assert stored["encoder.voxels.down.0.1.num_batches_tracked"].dtype == torch.int64
    assert not any(k.endswith("lm_head.weight") for k in stored), "tied weights are stored once"
    assert store._stored("x", torch.full((2, 2), 7e4), half=True).dtype == torch.float32


def test_weights_that_are_not_finite_are_not_saved(made: Any, tmp_path: Path) -> None:
    model = made.model()
    with torch.no_grad():
        model.text.letters.weight[3, 2] = float("nan")
    with pytest.raises(InputError, match=r"text\.letters\.weight"):
        model.save_pretrained(tmp_path / "m")
    assert not list(tmp_path.iterdir())


def test_settings_round_trip(little: TableModel) -> None:
    data = json.loads(json.dumps(asdict(little.settings)))
    assert record_from(Settings, data) == little.settings


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda t: t.pop("encoder.voxels.head.bias"), "1 missing: voxels.head.bias"),
        (lambda t: t.update({"text.more": torch.ones(2)}), "1 extra: more"),
        (lambda t: t.update({"strange.more": torch.ones(2)}), r"1 extra: strange\.more"),
        (lambda t: t.update({"writer.tokens.mean": torch.ones(2)}), r"1 of another shape: tokens\.mean"),
    ],
)
def test_keys_that_do_not_fit_are_named(
    folder: Path, change: Callable[[dict[str, torch.Tensor]], None], words: str
) -> None:
    _rewrite(folder, change)
    with pytest.raises(FileFormatError, match=words):
        load_model(folder)


def test_damaged_files(folder: Path) -> None:
    weights = folder / "model.safetensors"
    whole, config = weights.read_bytes(), (folder / "config.json").read_text()
    weights.write_bytes(whole[:-100])
    with pytest.raises(FileFormatError, match="sha256"):
        load_model(folder)
    _edit(folder, sha256={"model.safetensors": sha256_of(weights)})
    with pytest.raises(FileFormatError, match="Copy the folder again"):
        load_model(folder)
    weights.unlink()
    with pytest.raises(FileFormatError):
        load_model(folder)
    weights.write_bytes(whole)
    for text in ("{", "", config[:200]):
        (folder / "config.json").write_text(text)
        with pytest.raises(FileFormatError, match=r"config\.json"):
            load_model(folder)
    (folder / "config.json").write_text(config)
    (folder / "decoder" / "tokenizer.json").unlink()
    with pytest.raises(RadvlmError):
        load_model(folder)


@pytest.mark.parametrize(
    "change",
    [
        {"settings": {}},
        {"encoder": {"spacing_mm": 3}},
        {"text": {"no": 1}},
        {"version": "x"},
        {"evidence_tokens": None},
    ],
)
def test_a_config_with_holes(folder: Path, change: dict[str, Any]) -> None:
    _edit(folder, **change)
    with pytest.raises(RadvlmError):
        load_model(folder)


def test_a_newer_version(folder: Path) -> None:
    _edit(folder, version=FORMAT.version + 1)
    with pytest.raises(FileFormatError, match="Update radvlm"):
        load_model(folder)


class _Bomb:
    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> Any:
        return Path.touch, (self.mark,)


def test_nothing_in_a_folder_runs(folder: Path, tmp_path: Path) -> None:
    mark = tmp_path / "ran"
    for name in ("model.bin", "pytorch_model.bin", "decoder/pytorch_model.bin"):
        (folder / name).write_bytes(pickle.dumps(_Bomb(mark)))
    (folder / "decoder" / "evil.py").write_text(f"open({str(mark)!r}, 'w').close()")
    config = json.loads((folder / "decoder" / "config.json").read_text())
    config["auto_map"] = {"AutoConfig": "evil.Config", "AutoModelForCausalLM": "evil.Model"}
    (folder / "decoder" / "config.json").write_text(json.dumps(config))
    load_model(folder)
    assert not mark.exists()
    bomb = tmp_path / "bomb.pt"
    bomb.write_bytes(pickle.dumps(_Bomb(mark)))
    with pytest.raises(RadvlmError):
        load_model(bomb)
    assert not mark.exists()


@pytest.mark.parametrize("name", ["no/such", "nosuch", "./nowhere"])
def test_what_does_not_exist(name: str) -> None:
    with pytest.raises(RadvlmError) as caught:
        load_model(name)
    assert "nowhere" in str(caught.value) or "such" in str(caught.value)


COMMIT = "0123456789abcdef0123456789abcdef01234567"


def test_a_model_of_ours_on_a_hub(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Pinned by commit, recorded, nothing but JSON, safetensors and vocabularies fetched, offline unless asked."""
    import huggingface_hub

    asked: list[dict[str, Any]] = []

    def snapshot(repository: str, **settings: Any) -> str:
        asked.append({"repository": repository, **settings})
        return str(folder)

    monkeypatch.setattr(huggingface_hub, "snapshot_download", snapshot)
    loaded = load_model("someone/little", revision=COMMIT)
    assert loaded.name == f"little (someone/little@{COMMIT[:12]})"
    assert (asked[0]["repository"], asked[0]["revision"], asked[0]["local_files_only"]) == (
        "someone/little",
        COMMIT,
        True,
    )
    assert not [p for p in asked[0]["allow_patterns"] if p.endswith((".bin", ".pt", ".py", "*"))]
    load_model("someone/little", revision=COMMIT, offline=False)
    assert asked[1]["local_files_only"] is False
    for revision in (None, "main", COMMIT[:12]):
        with pytest.raises(InputError, match="40 hex digits"):
            load_model("someone/little", revision=revision)

    def fail(*_: Any, **__: Any) -> str:
        raise ConnectionError("no route to host\nmany\nlines")

    monkeypatch.setattr(huggingface_hub, "snapshot_download", fail)
    with pytest.raises(MissingPackageError, match=r"not in the local cache.*offline=False"):
        load_model("someone/little", revision=COMMIT)
    with pytest.raises(MissingPackageError, match="no route to host") as caught:
        load_model("someone/little", revision=COMMIT, offline=False)
    assert "\n" not in str(caught.value)
    monkeypatch.setattr(huggingface_hub, "snapshot_download", lambda *_, **__: str(tmp_path))
    with pytest.raises(InputError, match="nothing that is one"):
        load_model("someone/else", revision=COMMIT)


def test_a_revision_is_of_a_hub_id_alone(folder: Path) -> None:
    with pytest.raises(InputError, match="Leave revision out"):
        load_model(folder, revision=COMMIT)


def test_an_installation_without_the_weights_says_so(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(registry, "files", lambda _: tmp_path)
    with pytest.raises(FileFormatError, match=r"not in this installation.*tiny ships with the package.*train"):
        load_model("tiny")


def test_a_tokenizer_of_another_vocabulary_is_refused(folder: Path) -> None:
    """More tokens than the decoder has embeddings would index past the end."""
    other = train_tokenizer(["a text about nothing, with many different words in it"] * 5, 320, (*MARKERS, "<more>"))
    other.add_tokens([f"<token{n}>" for n in range(60)])
    other.save_pretrained(folder / "decoder")
    with pytest.raises(InputError, match="every token of the tokenizer has an embedding"):
        load_model(folder)


def test_devices() -> None:
    for device in ("gpu", "cpu:x", "cuda:", "cuda:99", ""):
        with pytest.raises(InputError, match="device"):
            load_model("tiny", device=device)


def test_precision_is_checked(folder: Path) -> None:
    with pytest.raises(InputError, match="precision"):
        load_model(folder, precision="float16")


def test_foreign_folders_are_left_alone(little: TableModel, tmp_path: Path) -> None:
    for files in ({"notes.txt": "mine"}, {"config.json": '{"model_type": "llama"}', "model.safetensors": "theirs"}):
        other = tmp_path / f"other{len(files)}"
        other.mkdir()
        for name, text in files.items():
            (other / name).write_text(text)
        with pytest.raises(InputError, match="new folder"):
            little.save_pretrained(other)
        assert {p.name: p.read_text() for p in other.iterdir()} == files
    file = tmp_path / "file"
    file.write_text("x")
    with pytest.raises(InputError, match="new folder"):
        little.save_pretrained(file)
    empty = tmp_path / "empty"
    empty.mkdir()
    assert load_model(little.save_pretrained(empty)).name == "little"

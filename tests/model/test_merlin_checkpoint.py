"""Published files opened key for key, refused by name, converted; and Merlin's tasks on top of them."""

from __future__ import annotations

import hashlib
import json
import pickle
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

import radvlm
from radvlm.errors import FileFormatError, InputError, MissingPackageError
from radvlm.model.calibration import Calibration
from radvlm.model.inputs import InputSpec
from radvlm.model.merlin import checkpoint as module
from radvlm.model.merlin.checkpoint import FILES, convert, fetch, is_merlin, open_checkpoint, tasks_at, verify_folder
from radvlm.model.merlin.image import HEADS, image_encoder_from_state, published_layout
from radvlm.model.merlin.labels import SIXTH_LABEL, UNCALIBRATED
from radvlm.model.merlin.layout import MerlinShape, check_keys, expected_keys
from radvlm.model.merlin.model import MerlinModel, MerlinOptions
from radvlm.model.merlin.prompts import FindingPrompts, load_prompts, prompts_for, published_findings
from radvlm.model.merlin.random_files import SMALL_SHAPE, random_state, write_random_files
from radvlm.model.tensor_files import read_tensors, tensor_digest
from radvlm.types.finding import Finding, Status
from radvlm.types.geometry import Geometry
from radvlm.types.volume import Volume

SPEC = InputSpec((1.5, 1.5, 3.0), (64, 64, 32))
SMALL = MerlinOptions(shape=SMALL_SHAPE, spec=SPEC)
COMMIT = "0123456789abcdef0123456789abcdef01234567"
TASKS = ("default", "five_year", "report")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_random_files(tmp_path_factory.mktemp("published"))


@pytest.fixture(scope="module")
def model(folder: Path) -> MerlinModel:
    return MerlinModel.load(folder, tasks=("default", "five_year"), options=SMALL)


@pytest.fixture(scope="module")
def volume() -> Volume:
    hu = np.full((64, 64, 32), -1000, np.int16)
    hu[8:56, 12:50] = np.random.default_rng(3).normal(40, 30, (48, 38, 32)).astype(np.int16)
    return Volume(hu, Geometry((64, 64, 32), np.diag([1.5, 1.5, 3.0, 1.0])))


# --- opening ------------------------------------------------------------------------------------------------------
@pytest.mark.slow
@pytest.mark.parametrize("task", TASKS)
def test_opens_a_published_file(folder: Path, task: str) -> None:
    path = folder / FILES[task]
    checkpoint = open_checkpoint(path, shape=SMALL_SHAPE)
    assert checkpoint.layout == task
    assert checkpoint.source.sha256 == hashlib.sha256(path.read_bytes()).hexdigest()
    assert {k: tuple(v.shape) for k, v in checkpoint.state.items()} == expected_keys(task, SMALL_SHAPE)
    parts = len(checkpoint.image) + len(checkpoint.text) + len(checkpoint.adapter) + len(checkpoint.language)
    assert parts + (task == "default") == len(checkpoint.state), "every key belongs to a part; logit_scale to none"
    assert open_checkpoint(folder, task, shape=SMALL_SHAPE).source == checkpoint.source
    assert open_checkpoint(path, task, shape=SMALL_SHAPE, sha256=checkpoint.source.sha256.upper()).layout == task


def test_keys_of_the_published_size_on_meta_tensors() -> None:
    for task, count in (("default", 1208), ("five_year", 934), ("report", 1351)):
        keys = expected_keys(task)
        assert len(keys) == count
        check_keys({key: torch.empty(size, device="meta") for key, size in keys.items()}, keys, "meta")


def test_missing_extra_and_misshapen_keys_are_one_error(folder: Path, tmp_path: Path) -> None:
    state = read_tensors(folder / FILES["report"])
    gone = [key for key in state if ".mlp." in key][:4] + [key for key in state if "lora_A" in key]
    for key in gone:
        del state[key]
    for number in range(12):
        state[f"extra.{number}"] = torch.zeros(1)
    state["adapter.linear2.weight"] = torch.zeros(64, 7)
    torch.save(state, tmp_path / "bad.pt")
    with pytest.raises(FileFormatError) as caught:
        open_checkpoint(tmp_path / "bad.pt", shape=SMALL_SHAPE)
    message = str(caught.value)
    first = next(key for key in expected_keys("report", SMALL_SHAPE) if key in gone)
    assert f"{len(gone)} missing ({first}, " in message
    assert "12 extra (extra.0, " in message
    assert "extra.9, ...)" in message, "ten are named, the rest counted"
    assert "extra.10" not in message
    assert "1 of another shape (adapter.linear2.weight (64, 7) instead of (64, 128))" in message


def test_a_file_of_another_task_is_refused(folder: Path) -> None:
    with pytest.raises(FileFormatError, match="missing"):
        open_checkpoint(folder / FILES["five_year"], "default", shape=SMALL_SHAPE)
    with pytest.raises(FileFormatError, match="of another shape"):
        open_checkpoint(folder / FILES["five_year"])  # the published size was expected
    with pytest.raises(InputError, match="a task is one of"):
        open_checkpoint(folder, "phenotypes")
    with pytest.raises(FileFormatError, match="published file of task report_two_stage"):
        open_checkpoint(folder, "report_two_stage")


def test_a_truncated_file_is_refused(folder: Path, tmp_path: Path) -> None:
    whole = (folder / FILES["five_year"]).read_bytes()
    for share in (0, 0.5, 0.999):
        (tmp_path / "cut.pt").write_bytes(whole[: int(share * len(whole))])
        with pytest.raises(FileFormatError, match=r"cut\.pt"):
            open_checkpoint(tmp_path / "cut.pt", shape=SMALL_SHAPE)
    save_file({"a": torch.zeros(4)}, tmp_path / "whole.safetensors")
    (tmp_path / "cut.safetensors").write_bytes((tmp_path / "whole.safetensors").read_bytes()[:-3])
    with pytest.raises(FileFormatError, match=r"cut\.safetensors"):
        read_tensors(tmp_path / "cut.safetensors")
    with pytest.raises(FileFormatError, match="is a file"):
        read_tensors(tmp_path / "absent.pt")


class _Bomb:
    def __init__(self, target: Path) -> None:
        self.target = target

    def __reduce__(self) -> tuple[object, tuple[object, ...]]:
        return Path.touch, (self.target,)


@pytest.mark.parametrize("modern", [True, False])
def test_code_in_a_pickle_does_not_run(tmp_path: Path, modern: bool) -> None:
    torch.save(
        {"conv1.weight": _Bomb(tmp_path / "exploded")}, tmp_path / "bomb.pt", _use_new_zipfile_serialization=modern
    )
    (tmp_path / "plain.pt").write_bytes(pickle.dumps({"a": _Bomb(tmp_path / "exploded")}))
    for name in ("bomb.pt", "plain.pt"):
        with pytest.raises(FileFormatError, match="holds tensors and nothing that runs") as caught:
            read_tensors(tmp_path / name)
        assert "weights_only" not in str(caught.value), "no advice to load it in an unsafe way"
    with pytest.raises(FileFormatError, match="it refers to getattr"):
        read_tensors(tmp_path / "bomb.pt")
    assert not (tmp_path / "exploded").exists()


def test_the_older_file_format_can_be_read(tmp_path: Path) -> None:
    torch.save({"a": torch.arange(3)}, tmp_path / "old.pt", _use_new_zipfile_serialization=False)
    assert read_tensors(tmp_path / "old.pt")["a"].tolist() == [0, 1, 2]


def test_a_training_checkpoint_says_which_entry_to_save(tmp_path: Path) -> None:
    torch.save({"epoch": 3, "state_dict": {"a": torch.zeros(1)}}, tmp_path / "run.pt")
    with pytest.raises(FileFormatError, match="Save its entry 'state_dict' alone"):
        read_tensors(tmp_path / "run.pt")
    torch.save(torch.zeros(2), tmp_path / "tensor.pt")
    with pytest.raises(FileFormatError, match="maps names to tensors"):
        read_tensors(tmp_path / "tensor.pt")


# --- hub ----------------------------------------------------------------------------------------------------------
def test_a_hub_id_needs_a_commit() -> None:
    for revision in (None, "main", COMMIT[:12]):
        with pytest.raises(InputError, match="40 hex digits"):
            open_checkpoint("stanfordmimi/Merlin", revision=revision)


def test_offline_and_unreachable_hub_are_one_clear_message(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    import huggingface_hub

    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path))
    with pytest.raises(MissingPackageError, match=r"not in the local cache.*offline=False") as caught:
        open_checkpoint("stanfordmimi/Merlin", revision=COMMIT)
    assert len(str(caught.value)) < 400

    def fail(*args: object, **settings: object) -> str:
        raise ConnectionError("no route to host\nmany\nlines")

    monkeypatch.setattr(huggingface_hub, "hf_hub_download", fail)
    with pytest.raises(MissingPackageError, match=r"ConnectionError: no route to host.*Check the network") as caught:
        open_checkpoint("stanfordmimi/Merlin", "report", revision=COMMIT, offline=False)
    assert "\n" not in str(caught.value)


def test_a_cached_file_is_opened_at_its_commit(monkeypatch: pytest.MonkeyPatch, folder: Path) -> None:
    import huggingface_hub

    asked: list[tuple[object, ...]] = []

    def cached(repository: str, name: str, *, revision: str, local_files_only: bool) -> str:
        asked.append((repository, name, revision, local_files_only))
        return str(folder / name)

    monkeypatch.setattr(huggingface_hub, "hf_hub_download", cached)
    checkpoint = open_checkpoint("stanfordmimi/Merlin", "five_year", revision=COMMIT, shape=SMALL_SHAPE)
    assert asked == [("stanfordmimi/Merlin", FILES["five_year"], COMMIT, True)]
    assert checkpoint.revision == COMMIT
    assert fetch("a/b", FILES["report"], COMMIT) == folder / FILES["report"]


def test_another_sha256_is_refused(folder: Path) -> None:
    with pytest.raises(FileFormatError, match="digest that was asked for"):
        open_checkpoint(folder / FILES["five_year"], shape=SMALL_SHAPE, sha256="0" * 64)


# --- conversion ---------------------------------------------------------------------------------------------------
@pytest.mark.slow
@pytest.mark.parametrize("shard_bytes", [2 << 30, 20_000])
def test_conversion_keeps_every_tensor(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, shard_bytes: int
) -> None:
    monkeypatch.setattr(module, "_SHARD_BYTES", shard_bytes)
    for task in TASKS:
        convert(folder / FILES[task], tmp_path, shape=SMALL_SHAPE)
    assert tasks_at(tmp_path) == TASKS == verify_folder(tmp_path)
    assert is_merlin(tmp_path)
    manifest = json.loads((tmp_path / "manifest.json").read_text())
    assert "/" not in json.dumps(list(manifest["tasks"]["default"]["files"])), "names, not paths"
    for task in TASKS:
        before, after = open_checkpoint(folder, task, shape=SMALL_SHAPE), open_checkpoint(tmp_path, task)
        assert set(before.state) == set(after.state)
        assert all(torch.equal(before.state[key], after.state[key]) for key in before.state)
        assert after.source == before.source, "the published file's name and sha256 stay known"
        assert manifest["tasks"][task]["tensor_digest"] == tensor_digest(before.state) == tensor_digest(after.state)
        assert after.trunk_digest == before.trunk_digest
    if shard_bytes < 100_000:
        assert len(manifest["tasks"]["report"]["files"]) > 5


@pytest.mark.slow
def test_equal_trunks_are_stored_and_run_once(tmp_path: Path, volume: Volume, monkeypatch: pytest.MonkeyPatch) -> None:
    files = write_random_files(tmp_path / "files", tasks=TASKS)
    trunk = open_checkpoint(files / FILES["default"], shape=SMALL_SHAPE).trunk
    for task in ("five_year", "report"):
        torch.save({**read_tensors(files / FILES[task]), **published_layout(trunk, task)}, files / "new.pt")
        (files / "new.pt").replace(files / FILES[task])  # never into a file that is mapped
    for task in TASKS:
        convert(files, tmp_path / "new", task=task, shape=SMALL_SHAPE)
    assert len(list((tmp_path / "new").glob("trunk-*"))) == 1
    shared = MerlinModel.load(
        tmp_path / "new",
        options=MerlinOptions(
            text_tokenizer=files / "text_tokenizer", report_tokenizer=files / "report_tokenizer", spec=SPEC
        ),
    )
    passes = []
    original = type(shared._encoders["default"]).feature_map

    def counted(self: object, image: torch.Tensor) -> torch.Tensor:
        passes.append(1)
        return original(self, image)  # type: ignore[arg-type]

    monkeypatch.setattr(type(shared._encoders["default"]), "feature_map", counted)
    pointers = [shared._encoders[t].conv1.weight.data_ptr() for t in ("default", "five_year")]
    assert pointers[0] == pointers[1], "one copy in memory"
    once, texts = shared.features(volume), shared.write_sections(volume)
    assert len(passes) == 2, "one for the features, one for the report"
    alone = MerlinModel.load(files, tasks=("five_year",), options=SMALL).features(volume)
    assert np.allclose(once.five_year, alone.five_year, atol=1e-6)
    single = MerlinModel.load(files, tasks=("report",), options=SMALL)
    assert [t.text for t in texts] == [t.text for t in single.write_sections(volume)]


def test_damaged_conversions_are_refused(folder: Path, tmp_path: Path) -> None:
    convert(folder, tmp_path, task="five_year", shape=SMALL_SHAPE)
    with pytest.raises(InputError, match="holds that task"):
        open_checkpoint(tmp_path, "report")
    with pytest.raises(InputError, match="same sizes"):
        _convert_wider(tmp_path)
    heads = next(tmp_path.glob("five_year-*"))
    tensors = load_file(heads)
    save_file({**tensors, "classifier.bias": tensors["classifier.bias"] + 1}, heads)
    open_checkpoint(tmp_path, "five_year")  # same size: only the digest can tell
    with pytest.raises(FileFormatError, match="digest of its manifest"):
        verify_folder(tmp_path)
    heads.write_bytes(heads.read_bytes()[:-1])
    with pytest.raises(FileFormatError, match="are there, whole"):
        open_checkpoint(tmp_path, "five_year")
    text = (tmp_path / "manifest.json").read_text()
    (tmp_path / "manifest.json").write_text(text.replace('"version": 1', '"version": 2'))
    with pytest.raises(FileFormatError, match="version 1"):
        open_checkpoint(tmp_path, "five_year")
    (tmp_path / "manifest.json").write_text(text.replace(heads.name, f"../{heads.name}"))
    with pytest.raises(FileFormatError, match="are there, whole"):
        open_checkpoint(tmp_path, "five_year")
    (tmp_path / "manifest.json").write_text("{")
    with pytest.raises(FileFormatError, match="manifest that convert wrote"):
        open_checkpoint(tmp_path, "five_year")


def _convert_wider(target: Path) -> None:
    wider = MerlinShape((1, 1, 1, 1), 8, SMALL_SHAPE.text, SMALL_SHAPE.language)
    torch.save(random_state("five_year", wider), target / "wider.pt")
    convert(target / "wider.pt", target, shape=wider)


def test_weights_that_are_not_finite_are_not_converted(folder: Path, tmp_path: Path) -> None:
    state = read_tensors(folder / FILES["five_year"])
    state["bn1.running_var"] = state["bn1.running_var"] * torch.nan
    torch.save(state, tmp_path / "nan.pt")
    with pytest.raises(FileFormatError, match=r"bn1\.running_var.*finite"):
        convert(tmp_path / "nan.pt", tmp_path / "new", shape=SMALL_SHAPE)


@pytest.mark.slow
def test_the_published_file_is_not_written_to(folder: Path, volume: Volume) -> None:
    before = {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in folder.glob("*.pt")}
    MerlinModel.load(folder, options=SMALL).features(volume)
    assert before == {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in folder.glob("*.pt")}


@pytest.mark.slow
def test_is_merlin(folder: Path, tmp_path: Path) -> None:
    assert is_merlin(folder)
    assert is_merlin(folder / FILES["default"])
    assert is_merlin("stanfordmimi/Merlin")
    assert not is_merlin(tmp_path)
    assert not is_merlin("tiny")
    for task in TASKS:
        assert is_merlin(convert(folder / FILES[task], tmp_path / task, shape=SMALL_SHAPE))
    assert is_merlin(next((tmp_path / "default").glob("trunk-*.safetensors")))
    (tmp_path / "manifest.json").write_text("{}")
    assert not is_merlin(tmp_path)


# --- tasks --------------------------------------------------------------------------------------------------------
@pytest.mark.slow
def test_features_are_those_of_the_networks(model: MerlinModel, folder: Path, volume: Volume) -> None:
    found = model.features(volume)
    state = read_tensors(folder / FILES["default"])
    encoder = image_encoder_without_size_check(state)
    image = torch.full((1, 1, 64, 64, 32), 0.0)
    image[0, 0] = torch.from_numpy((np.clip(volume.hu.astype(np.float32), -1000, 1000) + 1000) / 2000)
    with torch.inference_mode():
        expected = encoder(image)
    assert np.allclose(found.pooled, expected.pooled[0], atol=1e-5)
    assert np.allclose(found.phenotypes, torch.sigmoid(expected.heads["phenotype"][0]), atol=1e-6)
    assert np.allclose(model.embed(volume), expected.embedding[0], atol=1e-6)
    assert found.five_year.shape == (6,)
    assert model.embed_image(volume).shape == (128,)


def image_encoder_without_size_check(state: dict[str, torch.Tensor]) -> torch.nn.Module:
    from radvlm.model.merlin.image import MerlinImageEncoder, bare_keys

    with pytest.raises(InputError):
        image_encoder_from_state(state)  # the public way insists on the published size
    encoder = MerlinImageEncoder("phenotype", blocks=SMALL_SHAPE.blocks, width=SMALL_SHAPE.width)
    encoder.load_state_dict(bare_keys(state))
    return encoder.eval()


@pytest.mark.slow
def test_zero_shot_is_the_mean_of_cosines(model: MerlinModel, volume: Volume) -> None:
    (score,) = model.zero_shot(volume, ["ascites"])
    asked = published_findings()["ascites"]
    image = model.embed(volume)
    assert score.positive == pytest.approx(np.mean([v @ image for v in model.embed_text(asked.positive)]), abs=1e-6)
    assert score.negative == pytest.approx(np.mean([v @ image for v in model.embed_text(asked.negative)]), abs=1e-6)
    (as_finding,) = model.classify(volume, ["ascites"])
    assert as_finding.probability == pytest.approx(1 / (1 + np.exp(-20 * score.margin)), abs=1e-9)
    assert (as_finding.status is Status.PRESENT) == (score.margin >= 0)


@pytest.mark.slow
def test_opposite_prompts_give_the_opposite_answer(model: MerlinModel, volume: Volume) -> None:
    asked = published_findings()["ascites"]
    turned = FindingPrompts("ascites", asked.words, asked.section, asked.site, asked.negative, asked.positive)
    other = MerlinModel(
        model.checkpoints, text=model.text, options=MerlinOptions(prompts={"ascites": turned}, spec=SPEC)
    )
    assert other.zero_shot(volume)[0].margin == pytest.approx(-model.zero_shot(volume, ["ascites"])[0].margin, abs=1e-6)


@pytest.mark.slow
def test_calibration_replaces_the_convention(model: MerlinModel, volume: Volume) -> None:
    margin = model.zero_shot(volume, ["ascites"])[0].margin
    calibration = Calibration(("fracture", "ascites"), (1.0, 3.0), (0.0, -1.0), (0.1, 0.2), (0.5, 0.9))
    own = MerlinModel(model.checkpoints, text=model.text, options=MerlinOptions(calibration=calibration, spec=SPEC))
    (score,) = own.classify(volume, ["ascites"])
    assert score.probability == pytest.approx(1 / (1 + np.exp(-(3 * margin - 1))), abs=1e-9)
    assert score.status is Status.INDETERMINATE
    model_output, _ = own.read(volume)
    assert model_output.thresholds["ascites"] == (0.2, 0.9)
    assert UNCALIBRATED in model_output.warnings, "28 findings have none"


@pytest.mark.slow
def test_reading_without_the_report_file(model: MerlinModel, volume: Volume) -> None:
    model_output, segmentation = model.read(
        volume, findings=[Finding("F1", "liver_cyst", Status.ABSENT, "liver", "liver")]
    )
    assert segmentation is None
    assert [s.finding for s in model_output.scores] == list(published_findings())
    assert model_output.drafts == ()
    assert model_output.digest == model.checkpoints["default"].source.sha256
    assert any("were not given" in w.what for w in model_output.warnings)


@pytest.mark.slow
def test_phenotypes_need_the_published_names(model: MerlinModel, folder: Path, volume: Volume, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="come with their names"):
        model.phenotypes(volume)
    names = tmp_path / "phenotypes.csv"
    rows = [f"{number}.0,name {number}" for number in range(HEADS["phenotype"])]
    names.write_text("phecode,phecode_str\n" + "\n".join(rows) + "\n")
    named = MerlinModel.load(
        folder, tasks=("default",), options=MerlinOptions(phenotypes=names, shape=SMALL_SHAPE, spec=SPEC)
    )
    found = named.phenotypes(volume)
    assert (found[7].code, found[7].name) == ("7.0", "name 7")
    assert found[7].probability == pytest.approx(float(named.features(volume).phenotypes[7]))
    for bad in (
        "phecode,phecode_str\n" + "\n".join(rows[:-1]),
        "code,name\n1,2\n",
        "phecode,phecode_str\n" + "\n".join([*rows[:-1], rows[0]]),
    ):
        names.write_text(bad)
        with pytest.raises(FileFormatError, match="phenotypes"):
            MerlinModel.load(folder, tasks=("default",), options=MerlinOptions(phenotypes=names, shape=SMALL_SHAPE))


@pytest.mark.slow
def test_the_sixth_five_year_label_is_doubted(model: MerlinModel, volume: Volume) -> None:
    risks, warnings = model.five_year(volume)
    assert [risk.name for risk in risks][-1] == "osteoporosis"
    assert SIXTH_LABEL in warnings
    assert all(0 < risk.probability < 1 for risk in risks)


@pytest.mark.slow
def test_tasks_that_are_not_there_are_named(model: MerlinModel, folder: Path, volume: Volume) -> None:
    with pytest.raises(InputError, match="reports needs Merlin's report file"):
        model.write_sections(volume)
    assert model.offers == ("embed", "embed_text", "classify", "read")
    with pytest.raises(
        InputError, match=r"offers embed, embed_text, classify, read\. Required: a model that offers answer"
    ):
        model.answer(volume, "Is there ascites?")
    later = MerlinModel.load(folder / FILES["five_year"], options=SMALL)
    assert later.offers == ()
    for call in (later.embed, later.phenotypes, later.embed_image, later.read):
        with pytest.raises(InputError):
            call(volume)
    with pytest.raises(InputError, match="text needs the default checkpoint"):
        later.embed_text(["ascites"])
    for findings in ("ascites", [], ["ascites", "ascites"], [" "]):
        with pytest.raises(InputError):
            model.classify(volume, findings)


@pytest.mark.slow
def test_saving_and_loading_give_the_same_model(
    model: MerlinModel, folder: Path, volume: Volume, tmp_path: Path
) -> None:
    model.save_pretrained(tmp_path)
    again = MerlinModel.load(tmp_path, options=MerlinOptions(text_tokenizer=folder / "text_tokenizer", spec=SPEC))
    assert np.array_equal(again.embed(volume), model.embed(volume))
    assert again.digest == model.digest
    assert [s.margin for s in again.zero_shot(volume)] == pytest.approx(
        [s.margin for s in model.zero_shot(volume)], abs=1e-6
    )


# --- prompts ------------------------------------------------------------------------------------------------------
@pytest.mark.slow
def test_load_model_opens_them_too(folder: Path, volume: Volume, tmp_path: Path) -> None:
    """A converted folder knows its sizes; published files have the published ones, and others are named."""
    converted = convert(folder / FILES["five_year"], tmp_path / "converted", shape=SMALL_SHAPE)
    opened = radvlm.load_model(converted)
    assert isinstance(opened, MerlinModel) and "not a medical" in opened.notice
    opened.spec = SPEC
    risks, _ = opened.five_year(volume)
    same, _ = MerlinModel.load(folder, tasks=("five_year",), options=SMALL).five_year(volume)
    assert [r.probability for r in risks] == pytest.approx([r.probability for r in same], abs=1e-6)
    for source in (folder / FILES["default"], folder):
        with pytest.raises(FileFormatError, match=r"of another shape|missing"):
            radvlm.load_model(source)
    with pytest.raises(InputError, match="commit of a hub id"):
        radvlm.load_model(converted, revision=COMMIT)


def test_a_hub_id_is_recorded_with_its_commit(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import huggingface_hub

    monkeypatch.setattr(huggingface_hub, "hf_hub_download", lambda repository, name, **_: str(folder / name))
    opened = MerlinModel.load(
        "stanfordmimi/Merlin", tasks=["five_year"], revision=COMMIT, options=MerlinOptions(shape=SMALL_SHAPE)
    )
    assert opened.name == f"stanfordmimi/Merlin@{COMMIT[:12]}"
    assert opened.checkpoints["five_year"].revision == COMMIT
    with pytest.raises(InputError, match="40 hex digits"):
        radvlm.load_model("stanfordmimi/Merlin", revision="main")


def test_the_bank_holds_the_published_findings() -> None:
    bank = published_findings()
    assert list(bank)[:3] == ["submucosal_edema", "renal_hypodensities", "aortic_valve_calcification"]
    assert len(bank) == 30
    for prompts in bank.values():
        assert len(prompts.positive) >= 4
        assert len(prompts.negative) >= 4
        assert not set(prompts.positive) & set(prompts.negative)


def test_any_text_can_be_asked() -> None:
    asked = prompts_for("mass of the  pancreas")
    assert (asked.words, asked.section, asked.site) == ("mass of the pancreas", "pancreas", "pancreas")
    assert "No mass of the pancreas." in asked.negative
    assert prompts_for("diffuse edema").section == "soft_tissues"
    with pytest.raises(InputError, match="described by words"):
        prompts_for(" ?")


def test_a_bank_of_ones_own(tmp_path: Path) -> None:
    path = tmp_path / "own.yaml"
    row = "{finding: a, words: b, section: liver, site: liver, positive: [x], negative: [y]}"
    path.write_text(f"- {row}\n")
    assert load_prompts(path)["a"].positive == ("x",)
    for bad in (
        f"- {row}\n- {row}\n",
        row,
        "- {finding: a}\n",
        "- [",
        f"- {row}\n".replace("[y]", "[]"),
        f"- {row}\n".replace("section: liver", "section: toe"),
    ):
        path.write_text(bad)
        with pytest.raises(FileFormatError, match="file of prompts"):
            load_prompts(path)
    with pytest.raises(FileFormatError, match="can be read"):
        load_prompts(tmp_path / "absent.yaml")

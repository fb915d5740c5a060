"""Faster forms of the encoder against the plain one; limits that must refuse are made to refuse."""

from __future__ import annotations

import copy
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from radvlm.errors import InputError, MissingPackageError
from radvlm.model.encoder_output import EncoderOutput
from radvlm.model.merlin.accelerate import accelerate, checked, fold, random_probes
from radvlm.model.merlin.image import MerlinImageEncoder
from radvlm.model.tensor_files import tensor_digest

SHAPE = (48, 48, 32)


@pytest.fixture(scope="module")
def encoder() -> MerlinImageEncoder:
    """A narrow trunk with statistics and weights that are all nontrivial."""
    torch.manual_seed(0)
    network = MerlinImageEncoder("phenotype", blocks=(1, 2, 1, 1), width=16)
    for module in network.modules():
        if isinstance(module, nn.BatchNorm3d):
            nn.init.normal_(module.weight, 0.8, 0.1)
            nn.init.normal_(module.bias, 0.0, 0.1)
            module.momentum = None
    with torch.no_grad():
        network.train()(torch.cat(random_probes(SHAPE, 2)))
    return network.eval()


@pytest.fixture(scope="module")
def images() -> Tensor:
    return torch.cat(random_probes(SHAPE, 4)[2:])


def largest_difference(a: EncoderOutput, b: EncoderOutput) -> float:
    assert a.token_grid == b.token_grid and a.embedding is not None and b.embedding is not None
    pairs = (
        (a.tokens, b.tokens),
        (a.pooled, b.pooled),
        (a.embedding, b.embedding),
        (a.logits("phenotype"), b.logits("phenotype")),
    )
    return max(float((x - y).abs().max()) for x, y in pairs)


@pytest.mark.slow
def test_folding_is_exact_and_leaves_the_encoder_alone(encoder: MerlinImageEncoder, images: Tensor) -> None:
    before = tensor_digest(encoder.state_dict())
    folded = fold(encoder)
    with torch.no_grad():
        plain = encoder(images)
    assert largest_difference(folded(images), plain) < 2e-4
    double = copy.deepcopy(encoder).double()
    with torch.no_grad():
        assert largest_difference(fold(double)(images.double()), double(images.double())) < 1e-10
    assert tensor_digest(encoder.state_dict()) == before
    assert not any("bn" in name for name, _ in folded.trunk.named_parameters())
    assert folded.precision == "float32" and folded.check is None
    assert not folded(images).tokens.requires_grad


def test_folded_tokens_can_feed_a_layer_that_is_trained(encoder: MerlinImageEncoder, images: Tensor) -> None:
    adapter = nn.Linear(encoder.channels, 4)
    adapter(fold(encoder)(images).tokens).sum().backward()
    assert adapter.weight.grad is not None


@pytest.mark.slow
def test_bfloat16_reports_how_it_compares(encoder: MerlinImageEncoder, images: Tensor) -> None:
    fast = accelerate(encoder, precision="bfloat16", probes=random_probes(SHAPE, 3))
    check = fast.check
    assert check is not None and check.probes == 3
    assert 0.999 <= check.cosine < 1 and 0.97 <= check.difference_cosine < 1
    assert 0 < check.max_probability_change < 0.1
    output = fast(images)
    assert output.pooled.dtype == output.logits("phenotype").dtype == torch.float32
    assert output.tokens.dtype == torch.bfloat16


@pytest.mark.slow
def test_a_precision_that_changes_the_embedding_is_refused(encoder: MerlinImageEncoder) -> None:
    exact, broken = fold(encoder), fold(encoder)
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for weight in broken.trunk.parameters():
            weight += 0.3 * weight.abs().mean() * torch.randn(weight.shape, generator=generator)
    with pytest.raises(InputError, match=r"cosine at least 0\.999"):
        checked(broken, exact, random_probes(SHAPE))
    with pytest.raises(InputError, match="two probes"):
        checked(exact, exact, random_probes(SHAPE, 1))
    assert checked(exact, exact, random_probes(SHAPE)).difference_cosine == pytest.approx(1)


def test_a_difference_that_is_lost_is_refused_though_the_plain_cosine_is_high(encoder: MerlinImageEncoder) -> None:
    class Flat(nn.Module):
        def __init__(self, trunk: nn.Module) -> None:
            super().__init__()
            self.trunk, self.generator = trunk, torch.Generator().manual_seed(1)

        def forward(self, image: Tensor) -> Tensor:
            out = self.trunk(image) + 50
            return out + torch.randn(out.shape[:2], generator=self.generator)[..., None, None, None]

    exact, lossy = fold(encoder), fold(encoder)

    class Shifted(Flat):
        def forward(self, image: Tensor) -> Tensor:
            return self.trunk(image) + 50

    lossy.trunk, exact.trunk = Flat(lossy.trunk), Shifted(exact.trunk)
    with pytest.raises(InputError, match="of differences") as caught:
        checked(lossy, exact, random_probes(SHAPE))
    assert float(str(caught.value).split("Received: ")[1].split(" ")[0]) > 0.999


@pytest.mark.slow
def test_openvino_gives_the_same_and_caches_by_the_weights(
    encoder: MerlinImageEncoder, images: Tensor, tmp_path: Path
) -> None:
    pytest.importorskip("openvino", reason="the openvino extra is not installed")
    fast = accelerate(encoder, backend="openvino", cache_folder=tmp_path)
    with torch.no_grad():
        plain = encoder(images)
    assert largest_difference(fast(images), plain) < 2e-4
    names = sorted(path.name for path in tmp_path.iterdir())
    assert [Path(name).suffix for name in names] == [".bin", ".xml"] and "48x48x32" in names[0]
    stamp = (tmp_path / names[0]).stat().st_mtime_ns
    again = accelerate(encoder, backend="openvino", cache_folder=tmp_path)
    again(images)
    assert (tmp_path / names[0]).stat().st_mtime_ns == stamp
    other = MerlinImageEncoder("phenotype", blocks=(1, 2, 1, 1), width=16).eval()
    accelerate(other, backend="openvino", cache_folder=tmp_path)(images[:1])
    assert len(list(tmp_path.iterdir())) == 4
    low = accelerate(
        encoder, backend="openvino", precision="bfloat16", cache_folder=tmp_path, probes=random_probes(SHAPE)
    )
    assert low.check is not None and low.check.cosine >= 0.999


def test_openvino_that_is_not_installed_is_one_clear_message(
    encoder: MerlinImageEncoder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(MissingPackageError, match=r"radvlm\[openvino\]"):
        accelerate(encoder, backend="openvino")


def test_settings_that_cannot_be_are_refused(encoder: MerlinImageEncoder) -> None:
    with pytest.raises(InputError, match="torch, openvino"):
        accelerate(encoder, backend="tensorrt")
    with pytest.raises(InputError, match="float32, bfloat16"):
        accelerate(encoder, precision="int8")
    with pytest.raises(InputError, match="OpenVINO runs on the CPU"):
        accelerate(encoder, backend="openvino", compiled=True)
    if not torch.cuda.is_available():
        with pytest.raises(InputError, match="device is there"):
            accelerate(encoder, device="cuda")
    with pytest.raises(InputError, match="training mode"):
        fold(MerlinImageEncoder(None, blocks=(1, 1, 1, 1), width=8))
    with pytest.raises(InputError, match=r"\(B, 1, X, Y, Z\)"):
        fold(encoder)(torch.zeros(1, 3, 32, 32, 32))


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_on_a_gpu_with_compilation(encoder: MerlinImageEncoder, images: Tensor) -> None:
    fast = accelerate(encoder, precision="bfloat16", device="cuda", compiled=True, probes=random_probes(SHAPE))
    with torch.no_grad():
        plain = encoder(images)
    assert torch.nn.functional.cosine_similarity(fast(images.cuda()).pooled.cpu(), plain.pooled).min() > 0.999

"""The image encoder against the published key lists and, side by side, against the published implementation.

``merlin-vlm`` is a test dependency only; its inner network is built directly because its constructor contacts hubs.
Random weights fill all depth taps and the batch statistics come from a calibration pass, so that no layer is trivial.
"""

from __future__ import annotations

import json
import warnings
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from radvlm.errors import InputError
from radvlm.model.merlin.image import (
    BLOCKS,
    HEADS,
    LAYOUTS,
    MerlinImageEncoder,
    bare_keys,
    image_encoder_from_state,
    inflated_weights,
    published_layout,
)
from radvlm.model.merlin.layout import layout_of

FEW = (1, 2, 2, 1)
PUBLISHED = Path(__file__).resolve().parents[3] / "shared" / "reference" / "merlin-image-encoder-state-dict.json"


def blobs(shape: tuple[int, int, int], seed: int) -> Tensor:
    """Smooth random field, (1, 1, *shape), 0 to 1."""
    generator = torch.Generator().manual_seed(seed)
    coarse = torch.rand(1, 1, *(max(2, n // 12) for n in shape), generator=generator)
    return F.interpolate(coarse, size=shape, mode="trilinear")


def published_network(blocks: tuple[int, ...], classes: int = HEADS["phenotype"], seed: int = 0) -> nn.Module:
    """The reference implementation with random weights in every tap, still in need of batch statistics."""
    pytest.importorskip("merlin", reason="merlin-vlm (test dependency) is not installed")
    from merlin.models.i3res import I3ResNet
    from torchvision.models.resnet import Bottleneck, ResNet

    torch.manual_seed(seed)
    network = I3ResNet(ResNet(Bottleneck, list(blocks)), class_nb=classes, conv_class=True)
    for name, parameter in network.named_parameters():
        if parameter.ndim == 5 and "head" not in name and "classifier" not in name:
            nn.init.kaiming_normal_(parameter)
        elif name.endswith("bn3.weight"):
            nn.init.constant_(parameter, 0.3)
        elif "bn" in name:
            nn.init.normal_(parameter, 1.0 if name.endswith("weight") else 0.0, 0.1)
    return network


def run(network: nn.Module, image: Tensor) -> tuple[Tensor, Tensor]:
    """(contrastive, classifier) of the reference; its checkpointing warns without gradients."""
    with torch.no_grad(), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return network(image)


def calibrate(network: nn.Module, *images: Tensor) -> nn.Module:
    for module in network.modules():
        if isinstance(module, nn.modules.batchnorm._BatchNorm):
            module.momentum = None
            module.reset_running_stats()
    network.train()
    for image in images:
        run(network, image)
    return network.eval()


def small_twin(network: nn.Module, head: str = "phenotype", blocks: tuple[int, ...] = FEW) -> MerlinImageEncoder:
    encoder = MerlinImageEncoder(head, blocks=blocks).to(next(network.parameters()).dtype)
    encoder.load_state_dict(network.state_dict())
    return encoder.eval()


@pytest.mark.slow
def test_same_outputs_as_the_published_code_in_double_precision() -> None:
    shape = (32, 64, 20)
    scans = torch.cat([blobs(shape, 1), blobs(shape, 2)]).double()
    network = calibrate(published_network((1, 1, 1, 1)).double(), scans)
    encoder = small_twin(network, blocks=(1, 1, 1, 1))
    image = torch.cat([blobs(shape, 3), blobs(shape, 4)]).double()
    contrastive, logits = run(network, image)
    with torch.no_grad():
        output = encoder(image)
    assert logits.std() > 0.05
    torch.testing.assert_close(output.logits("phenotype"), logits, atol=1e-9, rtol=0)
    torch.testing.assert_close(output.embedding, F.normalize(contrastive, dim=-1), atol=1e-10, rtol=0)
    torch.testing.assert_close(output.probabilities("phenotype"), logits.sigmoid())
    network.ImageEmbedding = True
    torch.testing.assert_close(output.pooled, run(network, image)[0], atol=1e-9, rtol=0)
    assert output.token_grid == (2, 1, 2)  # Z, X, Y
    torch.testing.assert_close(output.tokens.mean(1), output.pooled)


@pytest.mark.slow
def test_same_outputs_as_the_published_code_in_single_precision() -> None:
    shape = (64, 64, 32)
    network = calibrate(published_network(FEW, HEADS["five_year"], seed=1), blobs(shape, 1), blobs(shape, 2))
    image = blobs(shape, 3)
    _, logits = run(network, image)
    network.FiveYearPred = True
    with torch.no_grad():
        output = small_twin(network, "five_year")(image)
    assert (output.logits("five_year") - logits).abs().max() < 1e-4
    torch.testing.assert_close(output.probabilities("five_year"), run(network, image), atol=1e-5, rtol=0)
    assert output.embedding is None
    with pytest.raises(InputError, match="five_year"):
        output.logits("phenotype")


@pytest.mark.slow
def test_same_outputs_at_full_depth_and_width() -> None:
    """All 50 blocks of published width on a small scan: the input is the part of the cost that proves nothing."""
    network = calibrate(published_network(BLOCKS), blobs((96, 64, 48), 1), blobs((96, 64, 48), 2))
    encoder = image_encoder_from_state(network.state_dict())
    image = blobs((96, 64, 40), 3)
    contrastive, logits = run(network, image)
    with torch.no_grad():
        output = encoder(image)
    assert output.token_grid == (3, 3, 2) and output.tokens.shape == (1, 18, 2048)
    assert logits.std() > 0.05
    assert (output.logits("phenotype") - logits).abs().max() < 1e-4
    assert (output.embedding - F.normalize(contrastive, dim=-1)).abs().max() < 1e-4


@pytest.mark.slow
def test_the_published_input_size_gives_490_tokens() -> None:
    encoder = MerlinImageEncoder("phenotype", blocks=(1, 1, 1, 1), width=4).eval()
    with torch.no_grad():
        output = encoder(torch.zeros(1, 1, 224, 224, 160))
    assert output.token_grid == (10, 7, 7) and output.tokens.shape == (1, 490, 4 * 8 * 4)


@pytest.mark.parametrize(
    ("title", "layout", "head"),
    [
        ("default_image_encoder(prefix encode_image.)", "default", "phenotype"),
        ("five_year_checkpoint(keys relative to i3_resnet)", "five_year", "five_year"),
        ("report_image_encoder(prefix encode_image.)", "report", None),
    ],
)
def test_keys_and_shapes_are_those_of_the_published_files(title: str, layout: str, head: str | None) -> None:
    if not PUBLISHED.is_file():
        pytest.skip("the published key lists are not beside this checkout")
    published = json.loads(PUBLISHED.read_text())[title]
    prefix = "encode_image." if layout != "five_year" else ""
    with torch.device("meta"):
        encoder = MerlinImageEncoder(head)
    own = published_layout(encoder.state_dict(), layout)
    assert {key: list(value.shape) for key, value in own.items()} == {prefix + k: s for k, s in published.items()}
    other = {} if layout == "five_year" else {"logit_scale": torch.ones(())}  # keys of five_year have no prefix
    assert bare_keys(own | other).keys() == encoder.state_dict().keys()
    assert layout_of(own | other) == layout
    without_prefix = {key.removeprefix("encode_image."): value for key, value in own.items()}
    assert bare_keys(without_prefix).keys() == encoder.state_dict().keys()


@pytest.mark.slow
@pytest.mark.parametrize("layout", LAYOUTS)
def test_a_state_dict_is_loaded_from_every_layout_without_copying(layout: str) -> None:
    head = {"default": "phenotype", "five_year": "five_year", "report": None}[layout]
    with torch.device("meta"):
        meta = MerlinImageEncoder(head)
    state = {key: torch.empty(value.shape) for key, value in meta.state_dict().items()}
    loaded = image_encoder_from_state(published_layout(state, layout))
    assert loaded.head_name == head and not loaded.training
    assert loaded.conv1.weight.data_ptr() == state["conv1.weight"].data_ptr()


def test_missing_extra_and_misshapen_keys_are_named() -> None:
    with torch.device("meta"):
        state = MerlinImageEncoder().state_dict()
    state["bn1.odd"] = state.pop("bn1.bias")
    state["layer3.7.conv2.weight"] = torch.empty(256, 256, 3, 3, device="meta")
    with pytest.raises(InputError) as caught:
        image_encoder_from_state(published_layout(state, "default"))
    for part in ("missing bn1.bias", "extra bn1.odd", "layer3.7.conv2.weight is (256, 256, 3, 3)"):
        assert part in str(caught.value)
    with pytest.raises(InputError, match="published layouts"):
        image_encoder_from_state({"weights": torch.zeros(1)})
    del state["layer3.35.bn3.bias"]
    cut = {key: value for key, value in state.items() if not key.startswith("layer3.3")}
    with pytest.raises(InputError, match="Is the file complete"):
        image_encoder_from_state(cut)


@pytest.mark.slow
def test_inflated_weights_see_a_scan_without_depth_as_its_slice() -> None:
    from torchvision.models.resnet import Bottleneck, ResNet

    torch.manual_seed(0)
    flat = ResNet(Bottleneck, list(FEW)).eval()
    encoder = MerlinImageEncoder(None, blocks=FEW).eval()
    problems = encoder.load_state_dict(inflated_weights(flat.state_dict()), strict=False)
    assert not problems.missing_keys and not problems.unexpected_keys
    image = blobs((64, 64, 2), 5)[..., :1]
    features: list[Tensor] = []
    flat.layer4.register_forward_hook(lambda module, inputs, out: features.append(out))
    with torch.no_grad():
        flat(image[..., 0].expand(-1, 3, -1, -1))
        middle = encoder.feature_map(image.expand(-1, -1, -1, -1, 33))
    torch.testing.assert_close(middle[:, :, 1], features[0], atol=1e-4, rtol=1e-4)


@pytest.mark.slow
def test_checkpointing_changes_neither_gradients_nor_statistics() -> None:
    torch.manual_seed(0)
    plain = MerlinImageEncoder("five_year", blocks=(1, 1, 1, 1), width=8)
    sparing = MerlinImageEncoder("five_year", blocks=(1, 1, 1, 1), width=8, checkpointing=True)
    sparing.load_state_dict(plain.state_dict())
    image = torch.cat([blobs((64, 64, 32), 1), blobs((64, 64, 32), 2)])
    for encoder in (plain, sparing):
        encoder.train()(image).logits("five_year").square().sum().backward()
    gradients = dict(plain.named_parameters())
    for name, parameter in sparing.named_parameters():
        if not name.startswith("contrastive"):
            torch.testing.assert_close(parameter.grad, gradients[name].grad, msg=name)
    for name, value in sparing.state_dict().items():
        torch.testing.assert_close(value, plain.state_dict()[name], msg=name)


def test_bad_arguments_are_refused() -> None:
    with pytest.raises(InputError, match="phenotype, five_year"):
        MerlinImageEncoder("icd")
    with pytest.raises(InputError, match="four stages"):
        MerlinImageEncoder(blocks=(3, 8, 36))
    encoder = MerlinImageEncoder(None, blocks=(1, 1, 1, 1), width=8)
    with pytest.raises(InputError, match=r"\(B, 1, X, Y, Z\)"):
        encoder(torch.zeros(1, 3, 64, 64, 32))
    with pytest.raises(InputError, match="layout"):
        published_layout({}, "newest")

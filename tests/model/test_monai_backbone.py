"""MONAI's own networks behind the common interface, compared with what they give when called directly."""

from __future__ import annotations

import pytest
import torch
from monai.networks.nets import DenseNet, SwinUNETR, UNet, ViT, resnet10
from torch import nn

from radvlm.errors import InputError
from radvlm.model.adapters.monai_backbone import MonaiEncoder
from radvlm.model.inputs import InputSpec

SPEC = InputSpec((3.0, 3.0, 3.0), (32, 32, 64))


def image() -> torch.Tensor:
    return torch.rand(2, 1, 32, 32, 64, generator=torch.Generator().manual_seed(0))


def test_a_densenet_is_read_before_its_pooling() -> None:
    torch.manual_seed(0)
    network = DenseNet(3, 1, 5, init_features=8, growth_rate=4, block_config=(2, 2)).eval()
    encoder = MonaiEncoder(network, SPEC, embedding=16, heads={"findings": 3}).eval()
    output = encoder(image())
    assert output.token_grid == (4, 4, 8) and output.tokens.shape == (2, 128, encoder.channels)
    features = network.features(image())
    torch.testing.assert_close(output.tokens, features.flatten(2).transpose(1, 2))
    torch.testing.assert_close(output.pooled, features.mean((2, 3, 4)))
    assert output.embedding is not None and output.logits("findings").shape == (2, 3)
    torch.testing.assert_close(output.embedding.norm(dim=-1), torch.ones(2))
    torch.testing.assert_close(output.probabilities("findings"), output.logits("findings").sigmoid())


@pytest.mark.slow
def test_a_resnet_without_its_classifier_gives_the_classifier_s_own_features() -> None:
    torch.manual_seed(0)
    network = resnet10(spatial_dims=3, n_input_channels=1, num_classes=4, widen_factor=0.125).eval()
    encoder = MonaiEncoder(network, SPEC).eval()
    output = encoder(image())
    assert output.embedding is None and not output.heads
    torch.testing.assert_close(network.fc(output.pooled), network(image()))


@pytest.mark.slow
def test_the_encoder_of_a_swinunetr_gives_its_coarsest_map() -> None:
    torch.manual_seed(0)
    network = SwinUNETR(in_channels=1, out_channels=2, feature_size=12, depths=(1, 1, 1, 1), num_heads=(1, 1, 1, 1))
    network.eval()
    encoder = MonaiEncoder(network, SPEC).eval()
    with torch.no_grad():
        output = encoder(image())
        maps = network.swinViT(image())
    assert output.token_grid == (1, 1, 2)
    torch.testing.assert_close(output.tokens, maps[-1].flatten(2).transpose(1, 2))


def vit(classification: bool) -> ViT:
    torch.manual_seed(0)
    return ViT(
        1,
        SPEC.shape,
        (16, 16, 16),
        hidden_size=24,
        mlp_dim=32,
        num_layers=1,
        num_heads=2,
        classification=classification,
    ).eval()


@pytest.mark.slow
def test_tokens_of_a_vit_keep_their_places() -> None:
    network = vit(classification=False)
    encoder = MonaiEncoder(network, SPEC).eval()
    with torch.no_grad():
        output = encoder(image())
        torch.testing.assert_close(output.tokens, network(image())[0])
        assert output.token_grid == (2, 2, 4)
        nn.init.zeros_(network.patch_embedding.position_embeddings)
        for block in network.blocks:  # without position and attention a token depends on its own patch alone
            nn.init.zeros_(block.attn.out_proj.weight)
        changed = image()
        changed[:, :, 16:, :16, 32:48] += 1
        moved = (encoder.feature_map(changed) - encoder.feature_map(image())).abs().sum((0, 1)) > 1e-4
    assert moved.nonzero().tolist() == [[1, 0, 2]]


@pytest.mark.slow
def test_gradients_reach_the_backbone() -> None:
    encoder = MonaiEncoder(
        DenseNet(3, 1, 5, init_features=8, growth_rate=4, block_config=(1, 1)), SPEC, heads={"findings": 3}
    )
    encoder(image()).logits("findings").sum().backward()
    assert next(encoder.network.parameters()).grad is not None
    assert encoder.network.training


def test_what_gives_no_feature_map_is_refused_by_name() -> None:
    with pytest.raises(InputError, match=r"Sequential gives \(1, 3\)"):
        MonaiEncoder(nn.Sequential(nn.AdaptiveAvgPool3d(1), nn.Flatten(), nn.Linear(1, 3)), SPEC)
    with pytest.raises(InputError, match="ViT gives"):
        MonaiEncoder(vit(classification=True), SPEC)
    encoder = MonaiEncoder(UNet(3, 1, 4, channels=(4, 8), strides=(2,)), SPEC)
    with pytest.raises(InputError, match=r"\(B, 1, X, Y, Z\)"):
        encoder(torch.zeros(1, 32, 32, 64))

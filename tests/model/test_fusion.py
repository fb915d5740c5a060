"""Fusion modules: positions and sizes survive, masks cut exactly, weights are deterministic."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch import nn

from radvlm.errors import InputError
from radvlm.model.decoder.fusion import (
    EvidenceConfig,
    EvidenceTokens,
    LinearConfig,
    LinearResampler,
    PerceiverConfig,
    PerceiverResampler,
    RegionConfig,
    RegionTokens,
    fourier_features,
    masked_features,
    occupancy_of,
    pool_tokens,
    region_facts,
    token_positions_mm,
)
from radvlm.types.geometry import Geometry

GRID = Geometry((8, 6, 4), np.diag([2.0, 3.0, 5.0, 1.0]))
MODULES = [
    (LinearResampler, LinearConfig(6, 16, seed=3)),
    (LinearResampler, LinearConfig(6, 16, hidden=8, rms=0.02)),
    (PerceiverResampler, PerceiverConfig(6, 16, queries=5, inner=16, heads=2)),
    (RegionTokens, RegionConfig(6, 16, hidden=8, structures=3)),
    (EvidenceTokens, EvidenceConfig(7, 4, 16, hidden=8)),
]


def _random(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def _run(module: nn.Module, rows: int = 2) -> torch.Tensor:
    if isinstance(module, PerceiverResampler):
        return module(_random(rows, 24, 6), 100 * _random(24, 3, seed=1))
    if isinstance(module, RegionTokens):
        return module(
            _random(rows, 6, 4, 3, 2),
            _random(rows, 3, 4, 3, 2, seed=1).clamp(0, 1),
            _random(rows, 3, 8, seed=2).abs(),
            torch.arange(3).expand(rows, -1),
        )
    if isinstance(module, EvidenceTokens):
        return module(_random(rows, 7, 4))
    return module(_random(rows, 24, 6))


@pytest.mark.parametrize(("kind", "config"), MODULES, ids=lambda v: getattr(v, "__name__", ""))
def test_same_config_same_weights_and_word_sized_output(kind: type, config: object) -> None:
    state = torch.get_rng_state()
    one, two = kind(config), kind(config)
    assert torch.equal(torch.get_rng_state(), state)
    assert all(torch.equal(a, b) for a, b in zip(one.state_dict().values(), two.state_dict().values(), strict=True))
    out = _run(one)
    assert out.shape[0] == 2
    assert out.shape[2] == 16
    if config.rms is not None:
        torch.testing.assert_close(out.pow(2).mean(-1).sqrt(), torch.full(out.shape[:2], 0.02), rtol=1e-2, atol=0)
    torch.testing.assert_close(_run(one, 2)[:1], out[:1])  # rows do not mix
    out.sum().backward()
    assert all(p.grad is not None and torch.isfinite(p.grad).all() for p in one.parameters())


def test_merlins_adapter_is_one_linear_layer() -> None:
    adapter = LinearResampler(LinearConfig(6, 16))
    tokens = _random(2, 24, 6)
    torch.testing.assert_close(adapter(tokens), tokens @ adapter.project.weight.T + adapter.project.bias)
    assert set(adapter.state_dict()) == {"project.weight", "project.bias"}


def test_pooling_averages_neighbors_on_the_token_grid() -> None:
    tokens = torch.arange(24.0).reshape(1, 24, 1)  # grid (4, 3, 2), last axis fastest
    pooled = pool_tokens(tokens, (4, 3, 2), (2, 1, 2))[0, :, 0]
    by_hand = np.arange(24.0).reshape(4, 3, 2)
    expected = [by_hand[a : a + 2, :, c].mean() for a in (0, 2) for c in (0, 1)]
    assert pooled.tolist() == pytest.approx(expected)
    module = LinearResampler(LinearConfig(1, 4, pooled_grid=(2, 1, 2)))
    assert module(tokens, (4, 3, 2)).shape == (1, 4, 4)
    with pytest.raises(InputError, match="token_grid"):
        module(tokens)


def test_token_positions_follow_the_encoders_axis_order() -> None:
    positions = token_positions_mm(GRID, (2, 4, 3), (2, 0, 1))  # Z, X, Y as Merlin's encoder has it
    assert positions.shape == (24, 3)
    # first cell: z 0..1 of 4, x 0..1 of 8, y 0..1 of 6; from the middle (3.5, 2.5, 1.5)
    assert positions[0].tolist() == pytest.approx([(0.5 - 3.5) * 2, (0.5 - 2.5) * 3, (0.5 - 1.5) * 5])
    assert (positions[1] - positions[0]).tolist() == pytest.approx([0, 2 * 3, 0])  # next along y
    assert (positions[3] - positions[0]).tolist() == pytest.approx([2 * 2, 0, 0])  # next along x
    assert (positions[12] - positions[0]).tolist() == pytest.approx([0, 0, 2 * 5])  # next along z
    assert positions.mean(0).tolist() == pytest.approx([0, 0, 0], abs=1e-5)
    turned = Geometry((8, 6, 4), np.array([[0, -3.0, 0, 50], [2, 0, 0, 7], [0, 0, 5, -9], [0, 0, 0, 1]]))
    rotated = token_positions_mm(turned, (2, 4, 3), (2, 0, 1))
    torch.testing.assert_close(rotated, positions[:, [1, 0, 2]] * torch.tensor([-1.0, 1, 1]))
    with pytest.raises(InputError, match="order of 0, 1, 2"):
        token_positions_mm(GRID, (2, 4, 3), (0, 0, 1))


def test_fourier_features_are_the_formula() -> None:
    found = fourier_features(torch.tensor([[256.0, 0.0, -16.0]]), 2)[0].reshape(3, 2, 2)  # axis, (sin, cos), wavelength
    for axis, value in enumerate((256.0, 0.0, -16.0)):
        for number, wavelength in enumerate((1024.0, 32.0)):
            assert found[axis, 0, number].item() == pytest.approx(math.sin(2 * math.pi * value / wavelength), abs=1e-5)
            assert found[axis, 1, number].item() == pytest.approx(math.cos(2 * math.pi * value / wavelength), abs=1e-5)


def test_the_perceiver_sees_positions_and_not_the_order() -> None:
    module = PerceiverResampler(PerceiverConfig(6, 16, queries=5, inner=16, heads=2))
    tokens, positions = _random(1, 24, 6), 100 * _random(24, 3, seed=1)
    order = torch.randperm(24, generator=torch.Generator().manual_seed(2))
    out = module(tokens, positions)
    torch.testing.assert_close(module(tokens[:, order], positions[order]), out)
    assert not torch.allclose(module(tokens[:, order], positions), out, rtol=1e-3)
    mask = torch.ones(1, 24, dtype=torch.bool)
    mask[0, 20:] = False
    torch.testing.assert_close(module(tokens, positions, mask), module(tokens[:, :20], positions[:20]))
    with pytest.raises(InputError, match="position"):
        module(tokens, positions[:5])
    with pytest.raises(InputError, match="at least one token"):
        module(tokens, positions, torch.zeros(1, 24, dtype=torch.bool))


def test_features_are_those_inside_the_mask() -> None:
    features, masks = _random(2, 6, 4, 3, 2), torch.zeros(2, 3, 4, 3, 2)
    masks[:, 0, 1:3, 1, :] = 1
    masks[:, 1, 0, 0, 0], masks[:, 1, 3, 2, 1] = 0.25, 0.75
    found = masked_features(features, masks)
    for row in range(2):
        inside = features[row, :, 1:3, 1, :].flatten(1)  # (6, 4)
        torch.testing.assert_close(found[row, 0], torch.cat([inside.mean(1), inside.amax(1)]))
        a, b = features[row, :, 0, 0, 0], features[row, :, 3, 2, 1]
        torch.testing.assert_close(found[row, 1], torch.cat([0.25 * a + 0.75 * b, torch.maximum(a, b)]))
    assert not found[:, 2].any()  # an empty place pads the batch


def test_a_small_lesion_keeps_its_share_on_a_coarse_grid() -> None:
    mask = np.zeros((8, 6, 4), dtype=bool)
    mask[2, 3, 1] = True
    share = occupancy_of(mask, (4, 3, 2))
    assert share.sum().item() == share[1, 1, 0].item() == pytest.approx(1 / 8)
    with pytest.raises(InputError, match="at least one voxel"):
        occupancy_of(np.zeros((8, 6, 4), dtype=bool), (4, 3, 2))


def test_region_facts_are_exact() -> None:
    mask, hu = np.zeros(GRID.shape, dtype=bool), np.zeros(GRID.shape, dtype=np.int16)
    mask[1:4, 2:4, 3] = True
    hu[1:4, 2:4, 3] = [[10, 20], [30, 40], [50, 60]]
    facts = region_facts(mask, hu, GRID, (1.0, 2.0, 3.0))
    assert facts.tolist() == pytest.approx([6 * 30 / 1000, 6, 6, 5, 4 - 1, 7.5 - 2, 15 - 3, 35])
    with pytest.raises(InputError, match="at least one voxel"):
        region_facts(~mask & mask, hu, GRID, (0, 0, 0))


def test_region_tokens_keep_size_and_place() -> None:
    module = RegionTokens(RegionConfig(6, 16, hidden=8))
    features, share = _random(1, 6, 4, 3, 2), torch.ones(1, 1, 4, 3, 2)
    facts = torch.tensor([[[2.0, 20, 20, 20, -80, 10, 30, 45]]])
    out = module(features, share, facts)
    for column in range(8):  # each fact reaches the token
        changed = facts.clone()
        changed[..., column] += 15  # mL, mm or HU
        assert not torch.allclose(module(features, share, changed), out, rtol=1e-3)
    with pytest.raises(InputError, match="structure numbers"):
        module(features, share, facts, torch.zeros(1, 1, dtype=torch.long))
    with pytest.raises(InputError, match="grid of the feature map"):
        module(features, torch.ones(1, 1, 4, 3, 3), facts)
    with pytest.raises(InputError, match="facts are"):
        module(features, share, facts[..., :7])


def test_a_linear_reader_recovers_size_and_place_from_region_tokens() -> None:
    module = RegionTokens(RegionConfig(2, 64, hidden=64))
    generator = torch.Generator().manual_seed(0)
    facts = torch.rand(600, 1, 8, generator=generator) * torch.tensor(
        [30.0, 60, 60, 60, 200, 150, 300, 100]
    ) + torch.tensor([0.1, 3, 3, 3, -100, -75, -150, -20])
    with torch.no_grad():
        tokens = module(torch.zeros(600, 2, 1, 1, 1), torch.ones(600, 1, 1, 1, 1), facts)[:, 0]
    tokens = torch.cat([tokens / tokens.std(), torch.ones(600, 1)], dim=1)
    truth = torch.cat([facts[:, 0, :4].log10(), facts[:, 0, 4:]], dim=1)
    weights = torch.linalg.lstsq(tokens[:400], truth[:400]).solution
    error = (tokens[400:] @ weights - truth[400:]).var(0) / truth[400:].var(0)
    assert error.max() < 0.35  # most of each number's variance is readable before any training


def test_evidence_is_standardized_entry_by_entry() -> None:
    module = EvidenceTokens(EvidenceConfig(7, 4, 16, hidden=8))
    tables = 50 + 20 * _random(40, 7, 4)
    tables[:, 2, 1] = 3.0  # constant
    plain = module((tables - tables.mean(0)) / torch.where(tables.std(0) > 1e-6, tables.std(0), 1.0))
    module.set_statistics(tables)
    torch.testing.assert_close(module(tables), plain, rtol=1e-3, atol=1e-5)
    again = EvidenceTokens(module.config)
    again.load_state_dict(module.state_dict())  # the statistics travel with the weights
    torch.testing.assert_close(again(tables), module(tables))
    same = torch.zeros(1, 7, 4) + module.mean
    assert not torch.allclose(module(same)[0, 0], module(same)[0, 1])  # classes differ even with equal numbers
    with pytest.raises(InputError, match="the table is"):
        module(tables[:, :6])
    with pytest.raises(InputError, match="training tables"):
        module.set_statistics(tables[:1])


@pytest.mark.parametrize(
    "make",
    [
        lambda: PerceiverConfig(6, 16, inner=10, heads=4),
        lambda: LinearResampler(LinearConfig(0, 16)),
        lambda: EvidenceTokens(EvidenceConfig(7, 4, 0)),
        lambda: LinearResampler(LinearConfig(6, 16))(torch.zeros(1, 3, 5)),
    ],
)
def test_sizes_are_checked(make: object) -> None:
    with pytest.raises(InputError):
        make()

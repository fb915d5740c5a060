"""Self-supervision against loops, and that it needs no label."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
import torch

from radvlm.errors import InputError
from radvlm.model.adapters.token_encoder import TokenEncoder, TokenEncoderConfig
from radvlm.model.inputs import InputSpec
from radvlm.train.data import Study
from radvlm.train.draws import Draws
from radvlm.train.prepared import PreparedScans
from radvlm.train.selfsupervised import (
    SelfSupervisedBatches,
    SelfSupervisedParts,
    SelfSupervision,
    cells,
    hidden_blocks,
    random_crop,
    rebuilding_loss,
    two_views_loss,
)
from tests.train.tokens_made import open_volume, write_study

SPEC = InputSpec((4.0, 4.0, 4.0), (24, 24, 24))


def value(x: torch.Tensor) -> float:
    return float(x.detach())


def parts(method: str = "both") -> SelfSupervisedParts:
    config = TokenEncoderConfig("merlin", 8, blocks=(1, 1, 1, 1), width=4)
    return SelfSupervisedParts(TokenEncoder(config, SPEC), SelfSupervision(method, block_mm=16.0, detail=2))


def test_cells_are_in_the_order_of_the_tokens() -> None:
    volume = torch.rand(1, 1, 4, 8, 12)
    made = cells(volume, (3, 1, 2), (2, 0, 1), 2)  # grid along z (12), x (4), y (8)
    assert made.shape == (1, 6, 8)
    for n, (z, x, y) in enumerate(np.ndindex(3, 1, 2)):
        for m, (dz, dx, dy) in enumerate(np.ndindex(2, 2, 2)):
            part = volume[
                0,
                0,
                4 * x + 2 * dx : 4 * x + 2 * dx + 2,
                4 * y + 2 * dy : 4 * y + 2 * dy + 2,
                4 * z + 2 * dz : 4 * z + 2 * dz + 2,
            ]
            assert float(made[0, n, m]) == pytest.approx(float(part.mean()), abs=1e-6)


def test_the_share_of_blocks_is_hidden_and_never_all() -> None:
    rng = np.random.Generator(np.random.PCG64(0))
    mask = hidden_blocks((8, 8, 8), (2, 4, 4), 0.5, rng)
    assert int(mask.sum()) == 8 * 32 and mask.shape == (8, 8, 8)
    blocks = mask.reshape(4, 2, 2, 4, 2, 4).permute(0, 2, 4, 1, 3, 5).flatten(3)
    assert ((blocks.all(-1)) | (~blocks.any(-1))).all()
    assert int(hidden_blocks((5, 5, 5), (4, 4, 4), 0.999, rng).sum()) < 125


def test_only_what_was_hidden_is_asked_for() -> None:
    module = parts()
    torch.nn.init.zeros_(module.rebuild.weight)
    torch.nn.init.constant_(module.rebuild.bias, 0.25)
    image = torch.full((1, 1, 24, 24, 24), 0.75)
    hidden = torch.zeros(1, 24, 24, 24, dtype=torch.bool)
    hidden[:, :12] = True
    assert value(rebuilding_loss(module, image, hidden)) == pytest.approx(0.5, abs=1e-6)
    image[:, :, 12:] = 0.1  # what is shown does not count
    assert value(rebuilding_loss(module, image, hidden)) == pytest.approx(0.5, abs=1e-6)


def test_two_views_against_a_loop() -> None:
    generator = torch.Generator().manual_seed(0)
    first, second = (torch.randn(3, 5, generator=generator) for _ in range(2))
    z = [v / np.linalg.norm(v) for v in torch.cat([first, second]).numpy()]
    total = 0.0
    for n in range(6):
        scores = {m: float(z[n] @ z[m]) / 0.1 for m in range(6) if m != n}
        total += math.log(sum(math.exp(v) for v in scores.values())) - scores[(n + 3) % 6]
    assert float(two_views_loss(first, second)) == pytest.approx(total / 6, abs=1e-5)


def test_a_crop_keeps_size_and_sides() -> None:
    ramp = torch.arange(24.0)[None, :, None, None].expand(1, 24, 24, 24)
    view = random_crop(ramp, 0.5, np.random.Generator(np.random.PCG64(3)))
    assert view.shape == ramp.shape and (view.diff(dim=1) >= 0).all() and float(view.min()) >= 0


def test_both_losses_reach_the_trunk_and_no_label_is_read(tmp_path: Path) -> None:
    made = [write_study(tmp_path, n) for n in range(3)]
    bare = [Study(s.name, s.patient, s.volume) for s in made]
    module = parts()
    batches = SelfSupervisedBatches(module, bare, PreparedScans(SPEC, open_volume), Draws(2, 0))
    losses = batches(0)
    assert set(losses) == {"loss", "rebuilt", "views"} and value(losses["loss"]) == value(batches(0)["loss"])
    for name in ("rebuilt", "views"):
        module.zero_grad()
        batches(0)[name].backward()
        grads = [p.grad for p in module.encoder.trunk.parameters()]
        assert all(g is not None and torch.isfinite(g).all() for g in grads)
        assert sum(float(g.abs().sum()) for g in grads if g is not None) > 0
    assert set(SelfSupervisedBatches(parts("masked"), bare, PreparedScans(SPEC, open_volume), Draws(2, 0))(0)) == {
        "loss",
        "rebuilt",
    }


def test_settings_out_of_range_are_refused() -> None:
    for bad in ({"method": "jigsaw"}, {"hidden_share": 1.0}, {"smallest_crop": 0.0}, {"detail": 0}):
        with pytest.raises(InputError):
            SelfSupervision(**bad)  # type: ignore[arg-type]

"""The training loop: schedule, resuming, early stopping, what goes wrong."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from radvlm.errors import FileFormatError, InputError
from radvlm.train.loop import LoopConfig, rate, run_stage


class Net(nn.Module):
    """Batch statistics, dropout and a frozen layer: all that a resumed run can get wrong."""

    def __init__(self, width: int = 8) -> None:
        super().__init__()
        torch.manual_seed(5)
        self.body = nn.Sequential(
            nn.Linear(4, width), nn.BatchNorm1d(width), nn.ReLU(), nn.Dropout(0.3), nn.Linear(width, 1)
        )
        self.frozen = nn.Linear(4, 4)
        for p in self.frozen.parameters():
            p.requires_grad = False


def _loss(net: Net, stop_at: int | None = None, seen: list[int] | None = None) -> Callable[[int], dict[str, Tensor]]:
    def loss_of(step: int) -> dict[str, Tensor]:
        if step == stop_at:
            raise KeyboardInterrupt
        if seen is not None:
            seen.append(step)
        x = torch.randn(16, 4, generator=torch.Generator().manual_seed(step))
        value = (net.body(net.frozen(x))[:, 0] - x.sum(1)).square().mean()
        return {"loss": value, "part": value * 2}

    return loss_of


CONFIG = LoopConfig(steps=12, learning_rate=0.02, warmup=3, log_every=2, save_every_s=0.0)


def _equal(a: nn.Module, b: nn.Module) -> bool:
    return all(torch.equal(x, y) for x, y in zip(a.state_dict().values(), b.state_dict().values(), strict=True))


@pytest.mark.slow
@pytest.mark.parametrize("stop", [1, 7, 11])
def test_a_resumed_run_is_the_uninterrupted_one_bit_for_bit(tmp_path: Path, stop: int) -> None:
    whole, first, second = Net(), Net(), Net()
    run_stage("s", whole, _loss(whole), CONFIG, tmp_path / "a")
    with pytest.raises(KeyboardInterrupt):
        run_stage("s", first, _loss(first, stop), CONFIG, tmp_path / "b")
    seen: list[int] = []
    log = run_stage("s", second, _loss(second, seen=seen), CONFIG, tmp_path / "b")
    assert seen == list(range(stop, 12)), "nothing is done twice"
    assert _equal(whole, second) and not _equal(whole, first)

    def rows(path: Path) -> list[tuple[int, float, float]]:
        return [(r["step"], r["loss"], r["lr"]) for r in map(json.loads, path.read_text().splitlines())]

    assert rows(log) == rows(tmp_path / "a" / "s.log.jsonl")
    assert [r[0] for r in rows(log)] == [2, 4, 6, 8, 10, 12]
    assert not list((tmp_path / "b").glob("*.tmp")) and not (tmp_path / "b" / "s.state.pt").exists()


@pytest.mark.slow
def test_early_stopping_keeps_the_best_weights_also_over_an_interruption(tmp_path: Path) -> None:
    values = [0.1, 0.5, 0.3, 0.4, 0.2, 0.9]

    def validate(net: Net, states: list[dict[str, Tensor]]) -> Callable[[], float]:
        def value() -> float:
            assert not net.training
            states.append({k: v.clone() for k, v in net.state_dict().items()})
            return values[int(net.body[1].num_batches_tracked) // 2 - 1]

        return value

    config = LoopConfig(
        steps=12, learning_rate=0.02, warmup=3, log_every=2, save_every_s=0.0, validate_every=2, patience=3
    )
    net, states = Net(), []
    log = run_stage("s", net, _loss(net), config, tmp_path / "a", validate=validate(net, states))
    assert len(states) == 5, "three validations without a better one end the stage"
    assert all(torch.equal(v, states[1][k]) for k, v in net.state_dict().items()), "the best was the second"
    told = [r["validation"] for r in map(json.loads, log.read_text().splitlines()) if "validation" in r]
    assert told == values[:5]
    first, second, rest = Net(), Net(), []
    with pytest.raises(KeyboardInterrupt):
        run_stage("s", first, _loss(first, 7), config, tmp_path / "b", validate=validate(first, []))
    run_stage("s", second, _loss(second), config, tmp_path / "b", validate=validate(second, rest))
    assert len(rest) == 2 and _equal(net, second)


@pytest.mark.slow
def test_a_finished_stage_is_loaded_and_not_trained(tmp_path: Path) -> None:
    net, other = Net(), Net()
    run_stage("s", net, _loss(net), CONFIG, tmp_path)
    seen: list[int] = []
    run_stage("s", other, _loss(other, seen=seen), CONFIG, tmp_path)
    assert not seen and _equal(net, other)
    with pytest.raises(FileFormatError, match=r"of another shape: body\.0\.bias"):
        run_stage("s", Net(width=6), lambda _: {}, CONFIG, tmp_path)
    with pytest.raises(FileFormatError, match="missing: bias, weight"):
        run_stage("s", nn.Linear(2, 2), lambda _: {}, CONFIG, tmp_path)


@pytest.mark.slow
def test_frozen_weights_stay(tmp_path: Path) -> None:
    net, fresh = Net(), Net()
    run_stage("s", net, _loss(net), CONFIG, tmp_path)
    assert torch.equal(net.frozen.weight, fresh.frozen.weight)
    assert not torch.equal(net.body[0].weight, fresh.body[0].weight) and not net.training


def test_a_loss_that_is_not_finite_is_one_error(tmp_path: Path) -> None:
    net = Net()

    def loss_of(step: int) -> dict[str, Tensor]:
        return {"loss": net.body[0].weight.sum() * (float("nan") if step == 3 else 1.0)}

    with pytest.raises(InputError, match="s, step 3: nan"):
        run_stage("s", net, loss_of, CONFIG, tmp_path)
    assert all(torch.isfinite(v).all() for v in net.state_dict().values()) and not (tmp_path / "s.done.pt").exists()


def test_a_gradient_that_is_not_finite_ruins_no_weight(tmp_path: Path) -> None:
    net = Net()

    def loss_of(step: int) -> dict[str, Tensor]:
        x = (net.body[0].weight.sum() * 0).abs() if step < 3 else net.body[0].weight.sum() * 0
        return {"loss": x.sqrt() if step == 3 else x}  # the root of 0 has no slope

    with pytest.raises(InputError, match=r" s, step 3.*gradient "):
        run_stage("s", net, loss_of, CONFIG, tmp_path)
    assert all(torch.isfinite(v).all() for v in net.state_dict().values())


@pytest.mark.slow
def test_minutes_end_a_stage_and_its_schedule(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    clock = iter(range(0, 10**6, 3))  # every look at the clock is three seconds later
    monkeypatch.setattr("radvlm.train.loop.time.monotonic", lambda: float(next(clock)))
    net, seen = Net(), []
    config = LoopConfig(steps=10**6, learning_rate=0.02, warmup=1, log_every=1, minutes=1.0, save_every_s=1e9)
    log = run_stage("s", net, _loss(net, seen=seen), config, tmp_path)
    assert 5 <= len(seen) <= 21
    rates = [json.loads(line)["lr"] for line in log.read_text().splitlines()]
    assert rates == sorted(rates, reverse=True) and rates[-1] < 0.02 * 0.05 < rates[0]


@pytest.mark.slow
def test_two_stages_of_different_precision_in_one_process(tmp_path: Path) -> None:
    """And bfloat16 belongs to the stage: the module computes in float32 afterwards."""
    for n, precision in enumerate(("bfloat16", "float32", "bfloat16")):
        net, kinds = Net(), []
        loss_of = _loss(net)

        def watched(step: int, loss_of: object = loss_of, net: Net = net, kinds: list[torch.dtype] = kinds) -> object:
            kinds.append(net.body[0](torch.ones(2, 4)).dtype)
            return loss_of(step)  # type: ignore[operator]

        run_stage(f"s{n}", net, watched, LoopConfig(steps=2, learning_rate=0.1, precision=precision), tmp_path)  # type: ignore[arg-type]
        assert set(kinds) == {torch.bfloat16 if precision == "bfloat16" else torch.float32}
        assert net.body(torch.ones(2, 4)).dtype == torch.float32


@pytest.mark.slow
def test_losses_of_one_step_are_averaged(tmp_path: Path) -> None:
    """Two halves of a batch make the step of the whole; plain weights, no batch statistics."""
    x = torch.randn(24, 3, 4, generator=torch.Generator().manual_seed(0))

    def train(accumulate: int, folder: str) -> nn.Linear:
        torch.manual_seed(0)
        net = nn.Linear(4, 1)
        rows = x.reshape(12 * accumulate, -1, 4)
        config = LoopConfig(steps=12, learning_rate=0.02, warmup=1, accumulate=accumulate)
        run_stage("s", net, lambda n: {"loss": (net(rows[n])[:, 0] - 1).square().mean()}, config, tmp_path / folder)
        return net

    one, two = train(1, "a"), train(2, "b")
    assert torch.allclose(one.weight, two.weight, atol=1e-5)


def test_rate_by_hand() -> None:
    assert rate(0, 0.0, 4) == 0.25 and rate(3, 0.0, 4) == rate(99, 0.0, 4) == 1
    assert rate(50, 0.5, 4) == pytest.approx(0.5) and rate(99, 1.0, 4) == pytest.approx(0, abs=1e-12)
    assert rate(1, 0.25, 4) == pytest.approx(0.5 * 0.5 * (1 + math.cos(math.pi / 4)))
    assert rate(0, 0, 0) == 1


@pytest.mark.parametrize("bad", [{"steps": 0}, {"learning_rate": 0.0}, {"precision": "float16"}, {"accumulate": 0}])
def test_bad_settings(bad: dict[str, object]) -> None:
    with pytest.raises(InputError):
        LoopConfig(**{"steps": 1, "learning_rate": 0.1, **bad})  # type: ignore[arg-type]


@pytest.mark.slow
def test_a_torn_log_is_mended(tmp_path: Path) -> None:
    (tmp_path / "s.log.jsonl").write_text('{"step": 2, "loss": 9}\n{"step": 40, "lo')
    net = Net()
    log = run_stage("s", net, _loss(net), CONFIG, tmp_path)
    rows = [json.loads(line) for line in log.read_text().splitlines()]
    assert [r["step"] for r in rows] == [2, 4, 6, 8, 10, 12] and rows[0]["loss"] != 9
    assert all(r["part"] == pytest.approx(2 * r["loss"], abs=2e-5) for r in rows)

"""Operations counted by hand and against Merlin's published architecture; the clock by a made-up one."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from radvlm.errors import InputError
from radvlm.model.merlin.image import MerlinImageEncoder
from radvlm.train import throughput
from radvlm.train.throughput import Throughput, forward_flops


def test_operations_of_a_convolution_and_a_linear_layer() -> None:
    module = nn.Sequential(nn.Conv3d(1, 4, 3, padding=1), nn.Flatten(), nn.Linear(4 * 6 * 5 * 4, 7))
    wanted = 2 * (6 * 5 * 4 * 4 * 27) * 3 + 2 * 3 * (4 * 120 * 7)  # a multiply-add is two; three scans
    assert forward_flops(module, (3, 1, 6, 5, 4)) == wanted
    assert module.training and not any(p.is_meta for p in module.parameters())


@pytest.mark.slow
def test_merlin_s_encoder_has_the_operations_that_its_layers_say() -> None:
    with torch.device("meta"):
        encoder = MerlinImageEncoder(None)
    # 1329 GFLOP are published for the stem that reads three copies of the image; 75 of them are the copies
    assert forward_flops(encoder, (1, 1, 224, 224, 160)) == pytest.approx(1254e9, rel=0.002)


class _Looks(nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x if float(x.sum()) > 0 else -x


def test_a_network_that_looks_at_values_is_not_counted() -> None:
    assert forward_flops(_Looks(), (1, 2)) is None


def test_rate_and_utilization(monkeypatch: pytest.MonkeyPatch) -> None:
    times = iter([0.0, 100.0, 102.0, 104.0])
    monkeypatch.setattr(throughput.time, "perf_counter", lambda: next(times))
    speed = Throughput(4, flops=10**12, peak_tflops=8.0)
    assert speed.words() == "" and speed.values() == {}
    speed.start()
    speed.start()  # the first step is warm-up
    assert speed.words() == ""
    speed.start()
    speed.start()
    assert speed.scans_per_second == pytest.approx(2.0)
    assert {k: float(v) for k, v in speed.values().items()} == {"scans_per_s": 2.0, "tflops": 2.0, "mfu": 0.25}
    assert speed.words() == "2 scans/s, 2 TFLOP/s, 25.0% of peak"
    with pytest.raises(InputError):
        Throughput(1, peak_tflops=0.0)

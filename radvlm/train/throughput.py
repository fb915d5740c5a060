"""How fast a stage trains: scans a second, TFLOP/s, and the share of what the hardware could do.

The floating-point operations of a forward pass are counted on the network itself (on tensors without data),
not taken from a table, so they are right for any size. A training step counts as three forward passes (the backward
pass is two); what gradient checkpointing computes twice does not count, as is usual for model FLOP utilization (PaLM,
arXiv:2204.02311, appendix B).
"""

from __future__ import annotations

import time
from collections.abc import Sequence

import torch
from torch import nn

from radvlm.errors import InputError


def forward_flops(module: nn.Module, shape: Sequence[int]) -> int | None:
    """Operations (2 a multiply-add) of one forward pass on an input of that shape; None where they cannot be counted.

    No memory is allocated and nothing is computed.
    """
    from torch.func import functional_call
    from torch.utils.flop_counter import FlopCounterMode

    state = {k: v.detach().to("meta") for k, v in (*module.named_parameters(), *module.named_buffers())}
    training = module.training
    module.eval()
    counter = FlopCounterMode(display=False)
    try:
        with torch.no_grad(), counter:
            functional_call(module, state, (torch.empty(tuple(shape), device="meta"),))
    except (RuntimeError, NotImplementedError):  # a network that looks at values has no shape-only pass
        return None
    finally:
        module.train(training)
    return int(counter.get_total_flops())


class Throughput:
    """Time of training steps. ``start()`` at the beginning of each loss; the first step is warm-up and not counted.

    Args:
        scans: of one call, over all processes. flops: of one scan's training (3 forward passes); None if unknown.
        peak_tflops: dense peak of all devices together in the precision used; None to leave utilization out.
    """

    def __init__(self, scans: int, flops: int | None = None, peak_tflops: float | None = None) -> None:
        if peak_tflops is not None and not peak_tflops > 0:
            raise InputError("the peak of the hardware is positive", f"{peak_tflops} TFLOP/s")
        self.scans, self.flops, self.peak_tflops = scans, flops, peak_tflops
        self._last: float | None = None
        self._calls, self._seconds = 0, 0.0

    def start(self) -> None:
        now = time.perf_counter()
        if self._last is not None:
            self._calls += 1
            step = now - self._last
            if self._calls == 2:
                self._seconds = step
            elif self._calls > 2:
                self._seconds += 0.1 * (step - self._seconds)
        self._last = now

    @property
    def scans_per_second(self) -> float | None:
        return self.scans / self._seconds if self._seconds else None

    def values(self) -> dict[str, torch.Tensor]:
        """For the log: scans_per_s, tflops and mfu, as far as they are known."""
        rate = self.scans_per_second
        if rate is None:
            return {}
        found = {"scans_per_s": rate}
        if self.flops is not None:
            found["tflops"] = rate * self.flops / 1e12
            if self.peak_tflops is not None:
                found["mfu"] = found["tflops"] / self.peak_tflops
        return {k: torch.tensor(v) for k, v in found.items()}

    def words(self) -> str:
        """``0.41 scans/s, 1.6 TFLOP/s, 12.1% of peak``; "" before anything was measured."""
        found = {k: float(v) for k, v in self.values().items()}
        parts = [f"{found['scans_per_s']:.3g} scans/s"] if found else []
        if "tflops" in found:
            parts.append(f"{found['tflops']:.3g} TFLOP/s")
        if "mfu" in found:
            parts.append(f"{found['mfu']:.1%} of peak")
        return ", ".join(parts)

"""Rows of all processes in one tensor, with gradients: contrast needs the negatives of every GPU.

Every process computes the whole loss on the gathered rows. The gradient that comes back to a process's own rows is
summed over processes, and ``run_stage`` then averages the gradients of the weights, so that P processes with B scans
each take exactly the step of one process with P * B scans (batch statistics apart).
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor
from torch import distributed as dist

_alone = False


@contextmanager
def alone() -> Iterator[None]:
    """Nothing is gathered inside: what every process does for itself, such as validation."""
    global _alone
    before, _alone = _alone, True
    try:
        yield
    finally:
        _alone = before


def processes() -> tuple[int, int]:
    """(number of this process, how many there are); (0, 1) without torch.distributed and inside ``alone``."""
    if not _alone and dist.is_available() and dist.is_initialized():
        return dist.get_rank(), dist.get_world_size()
    return 0, 1


class _Gather(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        parts = [torch.empty_like(x) for _ in range(dist.get_world_size())]
        dist.all_gather(parts, x.contiguous())
        ctx.rows = len(x)
        return torch.cat(parts)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        whole = gradient.contiguous().clone()
        dist.all_reduce(whole)
        start = dist.get_rank() * ctx.rows
        return whole[start : start + ctx.rows]


def gathered(x: Tensor) -> Tensor:
    """(B, ...) of this process -> (P * B, ...) in the order of processes; B must be the same everywhere."""
    if processes()[1] == 1:
        return x
    if x.dtype == torch.bool:
        return gathered(x.to(torch.uint8)).bool()
    return _Gather.apply(x)


def summed(x: Tensor) -> Tensor:
    """Sum over processes, without gradient."""
    if processes()[1] == 1:
        return x
    whole = x.detach().clone()
    dist.all_reduce(whole)
    return whole

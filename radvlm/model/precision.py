"""In what precision networks compute: float32, or bfloat16 where it is fast, with weights in float32 all the same."""

from __future__ import annotations

import torch

from radvlm.errors import InputError

PRECISIONS = ("float32", "bfloat16")


def check_precision(precision: str) -> None:
    """InputError for a precision that is not known."""
    if precision not in PRECISIONS:
        raise InputError(f"precision is {' or '.join(PRECISIONS)}", repr(precision))


def computing(precision: str, device: str | torch.device) -> torch.autocast:
    """The block in it computes in that precision on a device such as ``cuda:1``."""
    return torch.autocast(str(device).split(":")[0], torch.bfloat16, enabled=precision == "bfloat16")

"""What a segmenter is: something that turns a scan into masks, says who it is, and refuses before it starts."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol, TypeVar, runtime_checkable

from radvlm.errors import InputError
from radvlm.files.atomic import utc_now
from radvlm.segment.performance import NOT_PUBLISHED
from radvlm.types.provenance import MaskOrigin
from radvlm.types.segmentation import Segmentation
from radvlm.types.volume import Volume

Result = TypeVar("Result")
#: Devices beside ``gpu:N``: the GPU when there is one, else the CPU; and what each is called.
DEVICES = ("auto", "cpu", "gpu", "mps")


@runtime_checkable
class Segmenter(Protocol):
    """One task on one scan. ``radvlm.generate_report(volume, segmenter=...)`` takes any object with these members.

    Attributes:
        name: short and in words ("TotalSegmentator liver_lesions"); progress lines and errors use it.
        searched: structures that it looks for, as far as known before it ran; they are "not searched" when it fails.
    """

    @property
    def name(self) -> str: ...

    @property
    def searched(self) -> frozenset[str]: ...

    def require(self) -> None:
        """Raise a RadvlmError when it cannot run here: a package, weights or a licence is missing. No work yet."""

    def identity(self) -> str:
        """What its masks depend on beside the scan (versions, digests of weights, options); "" = never cached."""

    def segment(self, volume: Volume) -> Segmentation:
        """Masks on the grid of the volume, with ``origins`` that say who made them."""


@dataclass(frozen=True)
class SegmentOptions:
    """How tasks are run.

    Attributes:
        fast: the coarser model of tasks that have one (3 mm of ``total``); other tasks run as always.
        device: ``auto``, ``cpu``, ``gpu``, ``gpu:1`` ... or ``mps``.
        allow_download: let packages download weights that are missing.
        run_model_code: let a model bring code that is run (Python in a bundle's configuration, a checkpoint that is
            unpickled). Only for models whose makers you trust.
    """

    fast: bool = False
    device: str = "auto"
    allow_download: bool = False
    run_model_code: bool = False

    def __post_init__(self) -> None:
        require_device(self.device)


def origin_of(
    by: str, searched: frozenset[str], began: float, licence: str = "", performance: str = NOT_PUBLISHED
) -> MaskOrigin:
    """Who made masks today, in the time since ``began`` (of ``time.monotonic``)."""
    return MaskOrigin(by, utc_now()[:10], licence, searched, performance, time.monotonic() - began)


def require_device(device: str) -> None:
    """InputError for a device that is none."""
    if device not in DEVICES and not (device.startswith("gpu:") and device[4:].isdigit()):
        raise InputError("device is auto, cpu, gpu, gpu:N or mps", repr(device))


def torch_device(device: str) -> str:
    """The name that PyTorch has for a device; InputError where this machine has no such one."""
    import torch

    require_device(device)
    if device == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    if device == "cpu":
        return "cpu"
    if device == "mps":
        if not torch.backends.mps.is_available():
            raise InputError("the device is in this machine", "mps: there is none", "Use device=cpu")
        return "mps"
    number = int(device[4:]) if ":" in device else 0
    if not torch.cuda.is_available() or number >= torch.cuda.device_count():
        found = torch.cuda.device_count() if torch.cuda.is_available() else 0
        raise InputError("the device is in this machine", f"{device}; GPUs found: {found}", "Use device=cpu or auto")
    return f"cuda:{number}"


def with_cpu_after_memory_error(device: str, run: Callable[[str], Result]) -> tuple[Result, str, str]:
    """``run(device)``, and ``run("cpu")`` where a GPU has too little memory: result, device used, and a note or ""."""
    try:
        return run(device), device, ""
    except RuntimeError as error:  # torch.OutOfMemoryError is one
        if device == "cpu" or "out of memory" not in str(error).lower():
            raise
        _free_gpu()
    return run("cpu"), "cpu", f"{device} had too little memory, so the CPU was used."


def _free_gpu() -> None:
    import gc
    import sys

    gc.collect()
    torch = sys.modules.get("torch")  # what had too little memory has loaded it
    if torch is not None and torch.cuda.is_available():
        torch.cuda.empty_cache()

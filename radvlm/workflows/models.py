"""Loading a model: by name, by path, or as an object that follows ``VisionLanguageModel``.

Loading one is the only thing that imports PyTorch, and it happens when it is asked for.
"""

from __future__ import annotations

import os
from typing import Any

from radvlm.errors import InputError
from radvlm.files.optional import importing
from radvlm.model.protocol import METHODS, VisionLanguageModel


def load_model(
    name_or_path: str | os.PathLike[str] = "tiny",
    *,
    revision: str | None = None,
    device: str = "cpu",
    offline: bool = True,
) -> VisionLanguageModel:
    """A model by name (``tiny`` ships with the package), folder, checkpoint file or hub id.

    Args:
        revision: of a hub id, pinned and recorded.
        device: ``cpu``, ``cuda``, ``cuda:1``, ...
        offline: never touch the network; with False a hub id is downloaded once.

    Raises: MissingPackageError without PyTorch, InputError or FileFormatError for what cannot be loaded.

    Example:
        >>> import radvlm
        >>> model = radvlm.load_model("tiny")
        >>> print(model.name, '|', model.notice)
        tiny | Model "tiny" was trained on synthetic phantoms only; on a real CT its findings mean nothing.
    """
    with importing("torch", "a model needs PyTorch and the packages around it"):
        from radvlm.model.registry import load_model as load
    return load(name_or_path, revision=revision, device=device, offline=offline)


def resolve_model(model: Any) -> VisionLanguageModel:
    """``model`` itself, or the one of that name or path; InputError for anything else."""
    if isinstance(model, (str, os.PathLike)):
        return load_model(model)
    missing = [name for name in METHODS if not callable(getattr(model, name, None))]
    if missing:
        raise InputError(
            "a model is a name, a path, or an object that load_model returns",
            f"{type(model).__name__} without {', '.join(missing)}",
            "Pass radvlm.load_model(...)",
        )
    return model


def notice_of(model: VisionLanguageModel) -> str:
    return str(getattr(model, "notice", "") or "")

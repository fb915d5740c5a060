"""Which family loads what: by name, by the format that a folder states, or by the files of Merlin in it.

A family is imported when a model of it is asked for. To add one, give its format a name and a line in ``FORMATS``.
"""

from __future__ import annotations

import difflib
import os
from collections.abc import Callable, Mapping
from importlib.resources import files
from pathlib import Path
from typing import Any

import torch

from radvlm.errors import FileFormatError, InputError
from radvlm.model.hub import commit_of, fetch_folder, is_hub_id
from radvlm.model.merlin.checkpoint import is_merlin, tasks_at
from radvlm.model.published import published_model, published_models
from radvlm.model.store import WEIGHTS, format_of
from radvlm.model.weight_store import folder_of, need_weights

#: Models that ship with the package.
SHIPPED = ("tiny",)
#: Published image encoders of Merlin's shape without heads.
_TRUNKS = ("astra", "astra-abdomen", "merlin-image")
_CHECKPOINTS = (".pt", ".pth", ".safetensors")


def _tables(folder: Path, device: str, precision: str) -> Any:
    from radvlm.model.tiny.model import TableModel

    return TableModel.load(folder, device=device, precision=precision)


def _tokens(folder: Path, device: str, precision: str) -> Any:
    from radvlm.model.tokens.model import TokensModel

    return TokensModel.load(folder, device=device, precision=precision)


#: Format in config.json of a folder -> what loads it: (folder, device, precision) -> model.
FORMATS: Mapping[str, Callable[[Path, str, str], Any]] = {"radvlm-table-model": _tables, "radvlm-tokens-model": _tokens}


def load_model(
    name_or_path: str | os.PathLike[str] = "tiny",
    *,
    revision: str | None = None,
    device: str = "cpu",
    offline: bool = True,
    precision: str = "float32",
) -> Any:
    """A shipped model, published weights that were fetched, one of our folders, or Merlin's checkpoints.

    Args:
        name_or_path: ``tiny``; a name of ``radvlm weights list``; a folder of ``save_pretrained``; a file or folder of
            Merlin's, or of an image encoder of its shape without heads; or a hub id.
        revision: commit of a hub id (40 hex digits), required there and refused elsewhere.
        device: a torch device. precision: float32, or bfloat16 for a faster and slightly different encoder.
        offline: never touch the network.

    Raises: InputError for what is not there, MissingPackageError for a hub id that is not at hand, FileFormatError for
    damaged or foreign files, naming the keys.
    """
    name = os.fspath(name_or_path)
    device = _checked_device(device)
    path = Path(str(files("radvlm").joinpath("weights", name))) if name in SHIPPED else Path(name)
    if revision is not None and path.exists():
        raise InputError(
            "a revision is the commit of a hub id", f"{name!r} lies here and has one version", "Leave revision out"
        )
    if name not in SHIPPED and not path.exists() and name in _names_of_weights():
        if name in _TRUNKS:
            return _trunk(name, device, precision)
        path = _fetched_folder(name)
        name = str(path)
    if path.is_file() and path.suffix in _CHECKPOINTS and _is_trunk(path):
        return _trunk(name, device, precision)
    if name not in SHIPPED and is_merlin(name):
        from radvlm.model.merlin.model import MerlinModel

        return MerlinModel.load(name, revision=revision, device=device, offline=offline)
    if name not in SHIPPED and is_hub_id(name):
        commit = commit_of(name, revision)
        model = _load_folder(fetch_folder(name, commit, offline=offline), name, device, precision)
        model.name = f"{model.name} ({name}@{commit[:12]})"
        return model
    return _load_folder(path, name, device, precision)


def _trunk(name: str, device: str, precision: str) -> Any:
    from radvlm.model.merlin.trunk import MerlinTrunkModel

    return MerlinTrunkModel.load(name, device=device, precision=precision)


def _is_trunk(path: Path) -> bool:
    from radvlm.model.merlin.trunk import trunk_in

    try:
        return trunk_in(path) is not None
    except FileFormatError:
        return False  # said again, with what is wrong, by whoever loads it as what it may be


def _names_of_weights() -> frozenset[str]:
    """Names under which published weights are loaded once they are fetched or installed."""
    return frozenset(row.load for row in published_models() if row.load and row.how != "shipped")


def _fetched_folder(name: str) -> Path:
    """The folder of a published model; MissingPackageError with what brings it where nothing of it is there."""
    folder = folder_of(published_model(name))
    if not tasks_at(folder):
        need_weights(name)
    return folder


def _load_folder(path: Path, name: str, device: str, precision: str) -> Any:
    """The model in a local folder of one of this package's formats."""
    load = FORMATS.get(format_of(path))
    if load is not None:
        return load(path, device, precision)
    if name in SHIPPED and not (path / WEIGHTS).is_file():
        raise FileFormatError(
            f"{name} ships with the package",
            "its weights are not in this installation",
            f"Install radvlm again, from a wheel or a whole checkout; or train it: radvlm train configs/{name}.yaml",
        )
    if (path / WEIGHTS).is_file() and (path / "decoder").is_dir():
        raise FileFormatError(
            "config.json of a model folder says what it is", f"{path.name}: missing or damaged", "Copy the folder again"
        )
    what = "no such file or folder" if not path.exists() else "nothing that is one"
    if not path.exists():
        _refuse_published(name)
    near = difflib.get_close_matches(name.lower(), [*SHIPPED, *_names_of_weights()], n=2, cutoff=0.6)
    raise InputError(
        "a model is tiny, a name of `radvlm weights list`, a folder of save_pretrained, Merlin's published files, or a "
        "hub id with its commit",
        f"{name!r}: {what}",
        f"Did you mean {' or '.join(near)}?" if near else "See docs/merlin.md and docs/training.md",
    )


def _refuse_published(name: str) -> None:
    """InputError where ``name`` is a published model that is not opened here under it: what it is for instead."""
    row = next((row for row in published_models() if row.name == name), None)
    if row is None:
        return
    rule = "load_model opens the published model (`radvlm weights show NAME` says so in its line load)"
    if row.load:
        raise InputError(rule, f"{name!r}, which {row.load} opens", f"radvlm.load_model({row.load!r})")
    if "segment" in row.offers:
        task = name.removeprefix("totalsegmentator-")
        way = f"radvlm report CT --segment {task} -o OUT" if task != name else "See docs/segmentation.md"
        raise InputError(rule, f"{name!r}, which makes masks and reads nothing", way)
    why = row.missing or "it has no adapter"
    what = why if "load_model" in why else f"not usable yet: {why}"
    raise InputError(rule, f"{name!r}: {what}", f"`radvlm weights show {name}` tells more of it")


def _checked_device(device: str | torch.device) -> str:
    name = str(device)
    kind, _, number = name.partition(":")
    if kind not in ("cpu", "cuda", "mps") or (number and not number.isdigit()) or name.endswith(":"):
        raise InputError("a device is cpu, cuda, cuda:N or mps", repr(name))
    if kind == "cuda":
        count = torch.cuda.device_count() if torch.cuda.is_available() else 0
        if int(number or 0) >= count:
            raise InputError(
                "the device exists", f"{name}, and {count or 'no'} CUDA devices are available", 'Use device="cpu"'
            )
    if kind == "mps" and not torch.backends.mps.is_available():
        raise InputError("the device exists", "mps, and Metal is not available", 'Use device="cpu"')
    return name

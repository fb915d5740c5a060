"""Folders of models: written whole or not at all, checked when they are read, nothing in them that can run code.

    my-model/  config.json  model.safetensors  and what its family adds, such as decoder/ text/ slices/

``config.json`` says the format and its version, the sha256 of every weight file, and what the family needs to build the
model. Networks that a family saves are all in one file, each under its name: ``encoder.``, ``text.``, ...
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from radvlm.errors import FileFormatError, InputError, RadvlmError
from radvlm.files.atomic import sha256_of, whole_folder
from radvlm.model.tensor_files import differences

CONFIG, WEIGHTS = "config.json", "model.safetensors"
#: Buffers that inputs are divided by.
_STATISTICS = ("mean", "scale", "spread")


@dataclass(frozen=True)
class ModelFormat:
    """A kind of model folder: its name in ``config.json`` and the version that is written; older ones are read too."""

    name: str
    version: int


@dataclass(frozen=True, eq=False)
class SavedModel:
    """A folder whose files are those that its ``config.json`` names.

    Attributes:
        config: what ``config.json`` says.
        tensors: of ``model.safetensors``. digest: its sha256.
    """

    folder: Path
    config: Mapping[str, Any]
    tensors: Mapping[str, Tensor]
    digest: str

    def load_into(self, networks: Mapping[str, nn.Module]) -> None:
        """Load every weight; FileFormatError names what is missing, left over or of another shape."""
        strange = sorted(k for k in self.tensors if k.split(".")[0] not in networks)
        if strange:
            raise FileFormatError(
                f"weights belong to {', '.join(networks)}",
                f"{len(strange)} extra: {', '.join(strange[:10])}",
                "Use the files of one model, saved by one release",
            )
        for name, network in networks.items():
            held = {k.removeprefix(f"{name}."): v for k, v in self.tensors.items() if k.startswith(f"{name}.")}
            _load_weights(network, _with_ties(network, held), name)


def save_model(
    folder: str | os.PathLike[str],
    saved_as: ModelFormat,
    networks: Mapping[str, nn.Module],
    config: Mapping[str, Any],
    write_others: Callable[[Path], object],
    *,
    half: bool = False,
) -> Path:
    """Write a model folder; an older model there goes only when the new one is complete. Returns the folder.

    Args:
        networks: name -> network, all in one file of weights.
        config: what ``config.json`` holds beside format, version and digests.
        write_others: writes the other files of the family into the folder that it is given.
        half: round weights to half precision, where that loses little.

    Raises InputError where something else lies there, and for weights that are not finite.
    """
    target = Path(folder)
    if target.exists() and not (target.is_dir() and (not any(target.iterdir()) or format_of(target) == saved_as.name)):
        raise InputError(
            "a model is saved to a new folder or over an older model", target.name, "Choose another folder"
        )
    tensors = {
        f"{name}.{key}": _stored(f"{name}.{key}", value, half)
        for name, network in networks.items()
        for key, value in network.state_dict().items()
    }
    with whole_folder(target) as beside:
        write_others(beside)
        save_file(_without_ties(tensors), beside / WEIGHTS)
        digests = {f.relative_to(beside).as_posix(): sha256_of(f) for f in sorted(beside.rglob("*.safetensors"))}
        said = {"format": saved_as.name, "version": saved_as.version, "sha256": digests, **config}
        (beside / CONFIG).write_text(json.dumps(said, indent=1), encoding="utf-8")
    return target


@contextmanager
def open_model(folder: str | os.PathLike[str], saved_as: ModelFormat) -> Iterator[SavedModel]:
    """Give what a folder holds. What goes wrong with it in the block becomes one FileFormatError.

    Nothing is unpickled or downloaded. Raises FileFormatError for a folder of another format or of a newer version, and
    for a file whose sha256 is not the one in ``config.json``.
    """
    path = Path(folder)
    try:
        config = json.loads((path / CONFIG).read_text(encoding="utf-8"))
        if config["format"] != saved_as.name or int(config["version"]) > saved_as.version:
            raise FileFormatError(
                f"the model is {saved_as.name} of version {saved_as.version} or lower",
                f"{config['format']} {config['version']}",
                "Update radvlm",
            )
        digests = config["sha256"]
        if isinstance(digests, str):  # version 1 of tables had one file of weights
            digests = {WEIGHTS: digests}
        for name, wanted in digests.items():
            if (found := sha256_of(path / name)) != wanted:
                raise FileFormatError(
                    "every file of weights is the one that config.json names",
                    f"{name} has sha256 {found[:12]}...",
                    "Copy the folder again",
                )
        yield SavedModel(path, config, load_file(path / WEIGHTS), digests[WEIGHTS])
    except RadvlmError:
        raise
    except (KeyError, TypeError, ValueError, OSError, AttributeError, SafetensorError) as error:
        raise FileFormatError(
            "a model folder holds config.json, model.safetensors and the folders of its family",
            f"{path.name}: {type(error).__name__}: {error}",
            "Copy the folder again",
        ) from error


def format_of(folder: Path) -> str:
    """What ``config.json`` of a folder says that it is; "" where there is none."""
    try:
        return str(json.loads((folder / CONFIG).read_text(encoding="utf-8")).get("format", ""))
    except (OSError, ValueError, AttributeError):
        return ""


def _load_weights(module: torch.nn.Module, tensors: Mapping[str, Tensor], what: str) -> None:
    """Load, or one error that names what is missing, left over or of another shape."""
    own = module.state_dict()
    if said := differences(own, tensors):
        raise FileFormatError(
            f"the weights of the {what} have its keys and shapes",
            said,
            "Use the files of one model, saved by one release",
        )
    module.load_state_dict({k: v.to(own[k].dtype) for k, v in tensors.items()})


def _stored(key: str, value: Tensor, half: bool) -> Tensor:
    """With ``half`` in half precision; statistics, counters and what does not fit its range stay as they are."""
    value = value.detach().cpu().contiguous()
    if value.is_floating_point() and not bool(torch.isfinite(value).all()):
        raise InputError("weights that are saved are finite", f"NaN or infinity in {key}", "Train it again")
    if not half or key.rsplit(".", 1)[-1] in _STATISTICS:  # half precision would round a small spread to nothing
        return value.clone()
    if value.dtype != torch.float32 or (value.numel() and float(value.abs().max()) > 6e4):
        return value.clone()
    if value.ndim < 2:  # norms and biases are small and matter
        return value.clone()
    return value.half()


def _without_ties(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """Tied embeddings are stored once."""
    head = [k for k in tensors if k.endswith("lm_head.weight")]
    for key in head:
        source = key.replace("lm_head.weight", "model.embed_tokens.weight")
        if source in tensors and torch.equal(tensors[source], tensors[key]):
            del tensors[key]
    return tensors


def _with_ties(module: torch.nn.Module, held: dict[str, Tensor]) -> dict[str, Tensor]:
    for key in module.state_dict():
        source = key.replace("lm_head.weight", "model.embed_tokens.weight")
        if key.endswith("lm_head.weight") and key not in held and source in held:
            held[key] = held[source]
    return held

"""Saving and loading models: safetensors and JSON in one folder, nothing that can run code.

    tiny/  config.json  model.safetensors  decoder/{config.json, tokenizer.json, ...}

Unusual: weights are stored in half precision and computed in float32, all networks in one file, so that ``tiny``
fits in the package. ``load_model`` also takes a folder or file of Merlin's published checkpoints.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Mapping
from dataclasses import asdict
from importlib.resources import files
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from radvlm.errors import FileFormatError, InputError
from radvlm.model.calibration import Calibration
from radvlm.model.decoder.fusion import EvidenceConfig
from radvlm.model.hashed_text import HashedTextConfig, HashedTextEncoder
from radvlm.model.hub import commit_of, fetch_folder, is_hub_id
from radvlm.model.merlin.checkpoint import is_merlin
from radvlm.model.questions import Subjects
from radvlm.model.tiny.encoder import PyramidConfig, PyramidEncoder
from radvlm.model.tiny.model import Settings, TableModel, Term
from radvlm.model.tiny.writer import ReportWriter

FORMAT = "radvlm-table-model"
VERSION = 1
#: Of models around a token encoder, see ``tokens_model``.
TOKENS_FORMAT = "radvlm-tokens-model"
#: Models that ship with the package.
SHIPPED = ("tiny",)
_PARTS = ("encoder", "text", "writer")
#: Buffers that inputs are divided by.
_STATISTICS = ("mean", "scale", "spread")


def save(model: TableModel, folder: str | os.PathLike[str]) -> Path:
    """Write a model; the folder is complete or absent, and an older model goes only when the new one is complete.

    Adapters are merged into the base of ``model`` first, which changes no output. Raises InputError where something
    else lies there, and for weights that are not finite.
    """
    from safetensors.torch import save_file

    target = Path(folder)
    if target.exists() and not (target.is_dir() and (not any(target.iterdir()) or _is_ours(target))):
        raise InputError(
            "a model is saved to a new folder or over an older model", target.name, "Choose another folder"
        )
    target.parent.mkdir(parents=True, exist_ok=True)
    beside = Path(tempfile.mkdtemp(prefix=f".{target.name}.", dir=target.parent))
    try:
        decoder = model.writer.decoder
        merged = decoder.merge() if decoder.has_lora else decoder
        _save_text_base(merged, beside / "decoder")
        tensors = {}
        for part in _PARTS:
            for key, value in getattr(model, part).state_dict().items():
                tensors[f"{part}.{key}"] = _stored(f"{part}.{key}", value)
        save_file(_without_ties(tensors), beside / "model.safetensors")
        config = {
            "format": FORMAT,
            "version": VERSION,
            "sha256": _sha256(beside / "model.safetensors"),
            "encoder": asdict(model.encoder.config),
            "text": asdict(model.text.config),
            "evidence_tokens": asdict(model.writer.tokens.config),
            "settings": settings_to_dict(model.settings),
        }
        (beside / "config.json").write_text(json.dumps(config, indent=1), encoding="utf-8")
        beside.chmod(0o755)
        _replace(target, beside)
    finally:
        shutil.rmtree(beside, ignore_errors=True)
    return target


def load_model(
    name_or_path: str | os.PathLike[str] = "tiny",
    *,
    revision: str | None = None,
    device: str = "cpu",
    offline: bool = True,
    precision: str = "float32",
) -> Any:
    """A shipped model, one of our folders (local or on a hub), or Merlin's published checkpoints.

    Args:
        name_or_path: ``tiny``; a folder of ``save_pretrained``; a file or folder of Merlin's; or a hub id of either.
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
    if name not in SHIPPED and is_merlin(name):
        from radvlm.model.merlin.model import MerlinModel

        return MerlinModel.load(name, revision=revision, device=device, offline=offline)
    if name not in SHIPPED and is_hub_id(name):
        commit = commit_of(name, revision)
        model = _load_ours(fetch_folder(name, commit, offline=offline), name, device, precision)
        model.name = f"{model.name} ({name}@{commit[:12]})"
        return model
    return _load_ours(path, name, device, precision)


def _load_ours(path: Path, name: str, device: str, precision: str) -> Any:
    """The model in a local folder of this package's formats."""
    said = _format_of(path)
    if said == FORMAT:
        return _load_folder(path, device, precision)
    if said == TOKENS_FORMAT:
        from radvlm.model.tokens.model import load_tokens_model

        return load_tokens_model(path, device=device, precision=precision)
    if name in SHIPPED and not (path / "model.safetensors").is_file():
        raise FileFormatError(
            f"{name} ships with the package",
            "its weights are not in this installation",
            f"Install radvlm again, from a wheel or a whole checkout; or train it: radvlm train configs/{name}.yaml",
        )
    if (path / "model.safetensors").is_file() and (path / "decoder").is_dir():
        raise FileFormatError(
            "config.json of a model folder says what it is", f"{path.name}: missing or damaged", "Copy the folder again"
        )
    what = "no such file or folder" if not path.exists() else "nothing that is one"
    raise InputError(
        "a model is tiny, a folder of save_pretrained, Merlin's published files, or a hub id with its commit",
        f"{name!r}: {what}",
        "See docs/merlin.md and docs/training.md",
    )


def settings_to_dict(settings: Settings) -> dict[str, Any]:
    data = asdict(settings)
    data["training"] = dict(settings.training)
    return data


def settings_from_dict(data: Mapping[str, Any]) -> Settings:
    values = dict(data)
    values["terms"] = tuple(Term(**t) for t in data["terms"])
    values["sections"] = tuple(data["sections"])
    values["calibration"] = Calibration.from_dict(data["calibration"])
    values["zero_shot"] = tuple(float(v) for v in data["zero_shot"])
    values["subjects"] = Subjects.from_dict(data.get("subjects", {}))
    return Settings(**values)


def load_weights(module: torch.nn.Module, tensors: Mapping[str, Tensor], what: str) -> None:
    """Load, or one error that names what is missing, left over or of another shape."""
    own = module.state_dict()
    missing = sorted(set(own) - set(tensors))
    extra = sorted(set(tensors) - set(own))
    wrong = sorted(k for k in set(own) & set(tensors) if own[k].shape != tensors[k].shape)
    if missing or extra or wrong:
        said = [
            f"{len(keys)} {kind}: {', '.join(keys[:10])}"
            for kind, keys in (("missing", missing), ("extra", extra), ("of another shape", wrong))
            if keys
        ]
        raise FileFormatError(
            f"the weights have the keys of the {what}",
            "; ".join(said),
            "Use the files of one model, saved by one release",
        )
    module.load_state_dict({k: v.to(own[k].dtype) for k, v in tensors.items()})


def _load_folder(path: Path, device: str, precision: str) -> TableModel:
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    from radvlm.model.decoder.causal_lm import Decoder

    try:
        config = json.loads((path / "config.json").read_text(encoding="utf-8"))
        version = int(config["version"])
        if version > VERSION:
            raise FileFormatError(f"the model has format version {VERSION} or lower", str(version), "Update radvlm")
        digest = _sha256(path / "model.safetensors")
        if digest != config["sha256"]:
            raise FileFormatError(
                "model.safetensors is the file that config.json names",
                f"sha256 {digest[:12]}...",
                "Copy the folder again",
            )
        tensors = load_file(path / "model.safetensors")
        settings = settings_from_dict(config["settings"])
        encoder = PyramidEncoder(PyramidConfig(**_tuples(config["encoder"])))
        text = HashedTextEncoder(HashedTextConfig(**config["text"]))
        decoder = Decoder.from_config(_llama(path / "decoder"), _tokenizer(path / "decoder"))
        writer = ReportWriter(decoder, EvidenceConfig(**config["evidence_tokens"]))
    except (KeyError, TypeError, ValueError, OSError, SafetensorError) as error:
        if isinstance(error, (FileFormatError, InputError)):
            raise
        raise FileFormatError(
            "a model folder holds config.json, model.safetensors and decoder/",
            f"{path.name}: {error}",
            "Copy the folder again",
        ) from error
    strange = sorted(k for k in tensors if k.split(".")[0] not in _PARTS)
    if strange:
        raise FileFormatError(
            f"weights belong to {', '.join(_PARTS)}",
            f"{len(strange)} extra: {', '.join(strange[:10])}",
            "Use the files of one model, saved by one release",
        )
    for name, module in (("encoder", encoder), ("text", text), ("writer", writer)):
        held = {k.removeprefix(f"{name}."): v for k, v in tensors.items() if k.startswith(f"{name}.")}
        load_weights(module, _with_ties(module, held), name)
    return TableModel(encoder, text, writer, settings, digest=digest, precision=precision, device=device)


def _save_text_base(decoder: Any, folder: Path) -> None:
    folder.mkdir(parents=True)
    decoder.base_model.config.save_pretrained(folder)
    decoder.tokenizer.save_pretrained(folder)


def _llama(folder: Path) -> Any:
    from transformers import AutoConfig

    return AutoConfig.from_pretrained(folder, local_files_only=True, trust_remote_code=False)


def _tokenizer(folder: Path) -> Any:
    from radvlm.model.decoder.tokenizer import load_tokenizer

    return load_tokenizer(folder)


def _replace(target: Path, complete: Path) -> None:
    """``complete`` becomes ``target``; what was there is back where that fails."""
    old = None
    if target.exists():
        old = Path(tempfile.mkdtemp(prefix=f".{target.name}.old.", dir=target.parent))
        target.rename(old / "model")
    try:
        complete.rename(target)
    except BaseException:
        if old is not None:
            (old / "model").rename(target)
        raise
    finally:
        if old is not None:
            shutil.rmtree(old, ignore_errors=True)


def _stored(key: str, value: Tensor) -> Tensor:
    """Half precision for weights; statistics, counters and what does not fit its range stay as they are."""
    value = value.detach().cpu().contiguous()
    if value.is_floating_point() and not bool(torch.isfinite(value).all()):
        raise InputError("weights that are saved are finite", f"NaN or infinity in {key}", "Train it again")
    if key.rsplit(".", 1)[-1] in _STATISTICS:  # half precision would round a small spread to nothing
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


def _tuples(data: Mapping[str, Any]) -> dict[str, Any]:
    return {k: tuple(v) if isinstance(v, list) else v for k, v in data.items()}


def _format_of(folder: Path) -> str:
    """What ``config.json`` of a folder says that it is; "" where there is none."""
    try:
        return str(json.loads((folder / "config.json").read_text(encoding="utf-8")).get("format", ""))
    except (OSError, ValueError, AttributeError):
        return ""


def _is_ours(path: Path) -> bool:
    try:
        return bool(json.loads((path / "config.json").read_text(encoding="utf-8")).get("format") == FORMAT)
    except (OSError, ValueError, AttributeError):
        return False


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


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

"""Files of named tensors, read without running anything that is in them, and one digest of their content."""

from __future__ import annotations

import hashlib
import io
import pickle
import re
import warnings
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from radvlm.errors import FileFormatError


def read_tensors(path: str | Path, *, entry: str = "") -> dict[str, Tensor]:
    """Tensors of a ``.pt`` or ``.safetensors`` file, mapped where the format allows it; code in a pickle never runs.

    ``entry``: where a file has an entry of that name, such as ``state_dict``, which trainers save beside what is no
    tensor, its tensors are given. Raises FileFormatError for a file that is absent, truncated, no mapping of names to
    tensors, or holds anything else.
    """
    path = Path(path)
    if not path.is_file():
        raise FileFormatError("a checkpoint is a file", str(path), "Check the path")
    if path.suffix == ".safetensors":
        try:
            with safe_open(path, framework="pt") as file:
                return {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118 (no mapping)
        except SafetensorError as error:
            raise FileFormatError(
                "a checkpoint can be read", f"{path.name}: {error}", "Fetch or convert it again"
            ) from error
    with path.open("rb") as file:
        mapped = file.read(4) == b"PK\x03\x04"  # the older format cannot be mapped
    return _tensors_only(_load_pickle(path, path, mapped=mapped), path.name, entry)


def read_joined_tensors(parts: Sequence[Path], name: str, sha256: str, *, entry: str = "") -> dict[str, Tensor]:
    """Tensors of one ``.pt`` file that lies in parts, joined in memory; code in a pickle never runs.

    Raises FileFormatError where the whole has another sha256, and as ``read_tensors`` does.
    """
    whole = b"".join(part.read_bytes() for part in parts)
    found = hashlib.sha256(whole).hexdigest()
    if found != sha256:
        raise FileFormatError(
            "the parts of a file make up the one that is known", f"{name}: sha256 {found}", "Install them again"
        )
    return _tensors_only(_load_pickle(io.BytesIO(whole), Path(name), mapped=False), name, entry)


def _load_pickle(source: Any, path: Path, *, mapped: bool) -> Any:
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "Detected pickle protocol", category=UserWarning)
            return torch.load(source, map_location="cpu", mmap=mapped, weights_only=True)
    except pickle.UnpicklingError as error:
        reason = str(error)
        code = re.search(r"GLOBAL ([\w.]+)", reason)
        what = f"it refers to {code[1]}" if code else "it is no pickle of tensors, or is cut short"
        raise FileFormatError(
            "a checkpoint holds tensors and nothing that runs",
            f"{path.name}: {what}",
            "Ask its author for safetensors; do not load it in another way",
        ) from error
    except (RuntimeError, EOFError, ValueError, KeyError, OSError) as error:
        reason = (str(error) or type(error).__name__).splitlines()[0][:200]
        raise FileFormatError(
            "a checkpoint can be read", f"{path.name}: {reason}", "Fetch it again; it may be truncated"
        ) from error


def _tensors_only(loaded: Any, name: str, entry: str = "") -> dict[str, Tensor]:
    if not isinstance(loaded, Mapping):
        raise FileFormatError("a checkpoint maps names to tensors", f"{name}: {type(loaded).__name__}")
    if entry and isinstance(loaded.get(entry), Mapping):
        return _tensors_only(loaded[entry], name)
    odd = [key for key, value in loaded.items() if not isinstance(key, str) or not isinstance(value, Tensor)]
    if odd:
        inner = next((key for key in odd if isinstance(loaded[key], Mapping)), None)
        raise FileFormatError(
            "a checkpoint maps names to tensors",
            f"{name}: {len(odd)} other entries, such as {odd[0]!r} ({type(loaded[odd[0]]).__name__})",
            f"Save its entry {inner!r} alone" if inner else "",
        )
    return dict(loaded)


def differences(
    own: Mapping[str, Tensor], given: Mapping[str, Tensor], *, needed: Collection[str] | None = None, most: int = 10
) -> str:
    """Which keys of a state are missing in another, extra or of another shape, the first ``most`` of each; "" if none.

    ``needed``: keys that must be there; None for all of ``own``.
    """
    found = {
        "missing": sorted(set(own if needed is None else needed) - set(given)),
        "extra": sorted(set(given) - set(own)),
        "of another shape": sorted(k for k in set(own) & set(given) if own[k].shape != given[k].shape),
    }
    return "; ".join(f"{len(keys)} {kind}: {', '.join(keys[:most])}" for kind, keys in found.items() if keys)


def tensor_digest(state: Mapping[str, Tensor]) -> str:
    """sha256 over names, dtypes, shapes and bytes of tensors in the order of their names, whatever the file format."""
    digest = hashlib.sha256()
    for key in sorted(state):
        value = state[key].detach().cpu().contiguous()
        digest.update(f"{key}\0{value.dtype}\0{tuple(value.shape)}\0".encode())
        digest.update(value.reshape(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()

"""A MONAI bundle folder as a source of masks, read as data: nothing that a bundle writes in Python is run.

A bundle's configuration may name any Python class and hold expressions that begin with ``$``. Here only what is plain
is taken from it: a TorchScript network, or a network of ``monai.networks.nets`` with plain arguments and weights read
as numbers (PyTorch's ``weights_only`` or safetensors); the transforms of ``_TRANSFORMS``; and the sliding window. The
probabilities go back to the grid of the scan by linear interpolation, and the largest wins. A bundle that needs more
is refused, with what it needs named; with ``run_model_code`` its network may be any class.
"""

from __future__ import annotations

import contextlib
import inspect
import socket
import threading
import time
import urllib.request
import warnings
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from importlib import import_module
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np

from radvlm.errors import FileFormatError, InputError
from radvlm.files.atomic import sha256_of
from radvlm.files.settings import read_mapping
from radvlm.segment.model_folder import ModelFolder
from radvlm.segment.model_labels import background_free
from radvlm.segment.nnunet_process import load_numbers, read_json, require_finite
from radvlm.segment.protocol import torch_device, with_cpu_after_memory_error
from radvlm.types.segmentation import Segmentation
from radvlm.types.volume import Volume

_CONFIGS = ("inference.json", "inference.yaml", "inference.yml")
_NETWORKS = ("model.ts", "model.pt", "model.safetensors")
_TRUST = "if you trust its maker, run_model_code=True"
#: Transforms that are understood; those without arguments of interest only change how an array is held.
_TRANSFORMS = ("Orientation", "Spacing", "ScaleIntensityRange", "NormalizeIntensity", "ThresholdIntensity")
_HOLDING = ("LoadImage", "EnsureChannelFirst", "AddChannel", "EnsureType", "ToTensor", "CastToType", "CropForeground")


@dataclass(frozen=True)
class _Plan:
    """What is taken from a configuration: transforms in order, size and overlap of the window, activation."""

    steps: tuple[tuple[str, dict[str, Any]], ...]
    window: tuple[int, ...] | None
    overlap: float
    mode: str
    is_sigmoid: bool


class MonaiBundle(ModelFolder):
    """A bundle folder: ``configs/inference.json``, ``configs/metadata.json``, ``models/model.ts`` or ``model.pt``.

    Args:
        folder: the bundle.
        scheme: "" (labels by the names in metadata.json), a label scheme, or a table in CSV.
        template: where a table of names is written when they are not known.
    """

    family = "bundle"

    @property
    def name(self) -> str:
        return f"MONAI bundle {self.given.absolute().name}"

    @cached_property
    def metadata(self) -> dict[str, Any]:
        path = self.given / "configs" / "metadata.json"
        if not path.is_file():
            raise FileFormatError("a MONAI bundle holds configs/metadata.json", f"{self.given}: none", "Check the path")
        return read_json(path)

    @cached_property
    def config(self) -> dict[str, Any]:
        for name in _CONFIGS:
            path = self.given / "configs" / name
            if path.is_file():
                return read_json(path) if path.suffix == ".json" else read_mapping(path, "a bundle's configuration")
        raise FileFormatError("a MONAI bundle holds configs/inference.json", f"{self.given}: none", "Check the path")

    @cached_property
    def weights(self) -> Path:
        """The file of the network, TorchScript first."""
        for name in _NETWORKS:
            path = self.given / "models" / name
            if path.is_file():
                return path
        raise FileFormatError(
            f"a MONAI bundle holds models/{' or models/'.join(_NETWORKS)}", f"{self.given}: none", "Fetch its weights"
        )

    @cached_property
    def _channel_names(self) -> dict[int, str]:
        """``channel_def``: channel -> name, with the background where it is named."""
        table: Any = self.metadata
        for key in ("network_data_format", "outputs", "pred", "channel_def"):
            table = table.get(key) if isinstance(table, dict) else None
        if not isinstance(table, dict) or not table:
            raise FileFormatError("metadata.json names the channels of the network (channel_def)", f"{self.given.name}")
        try:
            return {int(channel): str(name) for channel, name in table.items()}
        except ValueError as error:
            raise FileFormatError("channel_def numbers the channels", f"{self.given.name}: {error}") from error

    @property
    def _first_is_structure(self) -> bool:
        """Whether channel 0 is a structure by its name, so that the labels are the channels and one."""
        return bool(background_free({1: self._channel_names.get(0, "")}))

    def label_names(self) -> dict[int, str]:
        shift = int(self._first_is_structure)
        return background_free({channel + shift: name for channel, name in self._channel_names.items()})

    def _labels_of_channels(self, count: int, is_sigmoid: bool) -> list[int]:
        """The label of each channel that the network gives. FileFormatError where they are not those of channel_def."""
        labels, named = sorted(self.label_names()), set(self._channel_names)
        if count == 1 and len(labels) == 1:
            return labels
        if is_sigmoid and named == set(range(1, count + 1)):
            return [n if n in labels else 0 for n in range(1, count + 1)]  # counted from 1, without a background
        if (named | {0}) != set(range(count)) or count == 1:
            raise FileFormatError(
                "channel_def of a bundle names the channels that its network gives",
                f"{self.name}: the network gives {count}, named are {', '.join(map(str, sorted(named)))}",
                "Mend channel_def in configs/metadata.json",
            )
        shift = int(self._first_is_structure)
        return [channel + shift if channel + shift in labels else 0 for channel in range(count)]

    def require(self) -> None:
        """Raise one error when the bundle cannot run here."""
        if not self.given.is_dir():
            raise FileFormatError("the folder of a MONAI bundle exists", str(self.given), "Check the path")
        _ = self.labels, self.weights
        self._plan()
        if self.weights.suffix != ".ts":
            self._network_words()
        torch_device(self.options.device)

    def identity(self) -> str:
        from importlib.metadata import version

        files = [self.weights, *sorted((self.given / "configs").glob("*"))]
        digests = " ".join(f"{path.name} {sha256_of(path)}" for path in files if path.is_file())
        return f"MONAI {version('monai')}, bundle {digests}, labels {self.labels_in_words()}"

    def segment(self, volume: Volume) -> Segmentation:
        began = time.monotonic()
        labels, where, note = with_cpu_after_memory_error(
            torch_device(self.options.device), lambda device: self._predict(volume, device)
        )
        title = str(self.metadata.get("version", "")).strip()
        by = f"{self.name}{f' {title}' if title else ''}"
        licence = str(self.metadata.get("license") or self.metadata.get("copyright") or "")[:120]
        return self.answer(labels, volume, (where, note, began), by, licence)

    # -- configuration --------------------------------------------------------------------------------------------

    def _plan(self) -> _Plan:
        wanted = _resolved(self.config.get("preprocessing"), self.config)
        listed = wanted.get("transforms", []) if isinstance(wanted, dict) else wanted
        steps = [step for item in listed or [] if (step := self._step(item)) is not None]
        inferer = _resolved(self.config.get("inferer"), self.config) or {}
        kind = _short(inferer.get("_target_", "SimpleInferer"))
        if kind not in ("SlidingWindowInferer", "SimpleInferer"):
            raise self._refused(f"the inferer {kind}")
        window = inferer.get("roi_size") if kind == "SlidingWindowInferer" else None
        self._require_plain("inferer", {key: value for key, value in inferer.items() if key != "_target_"})
        after = str(_resolved(self.config.get("postprocessing"), self.config))
        return _Plan(
            tuple(steps),
            None if window is None else tuple(int(n) for n in np.broadcast_to(window, 3)),
            float(inferer.get("overlap", 0.25)),
            str(inferer.get("mode", "constant")),
            "'sigmoid': True" in after,
        )

    def _step(self, item: Any) -> tuple[str, dict[str, Any]] | None:
        item = _resolved(item, self.config)
        if not isinstance(item, dict) or "_target_" not in item:
            raise self._refused(f"the step {str(item)[:60]}")
        name = _short(item["_target_"]).removesuffix("d").removesuffix("Dict")
        if item.get("_disabled_") is True or name in _HOLDING:
            return None
        if name not in _TRANSFORMS:
            raise self._refused(f"the transform {name}")
        left_out = (
            "_target_",
            "keys",
            "mode",
            "allow_missing_keys",
            "padding_mode",
            "dtype",
            "align_corners",
            "image_only",
        )
        words = {key: value for key, value in item.items() if key not in left_out}
        self._require_plain(name, words)
        return name, words

    def _require_plain(self, what: str, words: Mapping[str, Any]) -> None:
        strange = {
            key: value for key, value in words.items() if not _is_plain(value) and key not in ("device", "sw_device")
        }
        if strange:
            raise self._refused(f"{what}: {', '.join(f'{key} {value}' for key, value in strange.items())}"[:160])

    def _refused(self, what: str) -> InputError:
        return InputError(
            "a bundle is a network, plain transforms and a sliding window, whose configuration holds no Python",
            f"{self.name}: {what}",
            "Run it with its own tools, for example as command:PROGRAM {ct} {out}",
        )

    def _network_words(self) -> dict[str, Any]:
        """The class and the arguments of the network. InputError where they are no data."""
        words = _resolved(self.config.get("network_def") or self.config.get("network"), self.config)
        if not isinstance(words, dict) or "_target_" not in words:
            raise self._refused("no network_def with a class, and no models/model.ts")
        if not self.options.run_model_code:
            strange = [f"{key}: {value}" for key, value in words.items() if key != "_target_" and not _is_plain(value)]
            target = str(words["_target_"])
            if strange or _network_class(target) is None:
                raise InputError(
                    "the network of a bundle is a class of monai.networks.nets with plain arguments",
                    f"{self.name}: {', '.join(strange) or target}"[:200],
                    _TRUST,
                )
        return words

    # -- running --------------------------------------------------------------------------------------------------

    def _network(self) -> Any:
        import torch

        if self.weights.suffix == ".ts":
            try:
                return torch.jit.load(str(self.weights), map_location="cpu")
            except RuntimeError as error:
                raise _damaged(self.weights, error) from error
        words = self._network_words()
        if self.options.run_model_code:
            from monai.bundle import ConfigParser

            parser = ConfigParser(dict(self.config))
            net = parser.get_parsed_content("network_def" if "network_def" in self.config else "network")
        else:
            net = self._built(words)
        net.load_state_dict(self._state(net))
        return net

    def _built(self, words: Mapping[str, Any]) -> Any:
        """A network of MONAI with random weights: what it would fetch or read while it is made is refused."""
        made = _network_class(str(words["_target_"]))
        if made is None:  # ``_network_words`` has refused it
            raise self._refused(f"the network {words['_target_']}")
        arguments = {key: value for key, value in words.items() if not key.startswith("_")}
        if "pretrained" in inspect.signature(made).parameters:
            arguments.setdefault("pretrained", False)
        try:
            with _nothing_fetched():
                return made(**arguments)
        except _FetchedError as error:
            raise InputError(
                "the network of a bundle is made without fetching or reading other weights",
                f"{self.name}: {made.__name__} asks for {error}",
                "Its own weights are all it needs: leave pretrained out of its arguments",
            ) from error
        except Exception as error:
            raise FileFormatError(
                "a network takes the arguments of its bundle", f"{made.__name__}: {_short_text(error)}"
            ) from error

    def _state(self, net: Any) -> dict[str, Any]:
        import torch

        if self.weights.suffix == ".safetensors":
            from safetensors.torch import load_file

            state: Any = load_file(str(self.weights))
        elif self.options.run_model_code:
            state = torch.load(self.weights, map_location="cpu", weights_only=False)
        else:
            state = load_numbers(self.weights, map_location="cpu")
        for key in ("model", "state_dict", "network", "net"):
            if isinstance(state, dict) and isinstance(state.get(key), dict):
                state = state[key]
        state = {str(key).removeprefix("module."): value for key, value in dict(state).items()}
        own = net.state_dict()
        wrong = sorted(set(own) ^ set(state)) or [k for k in own if own[k].shape != state[k].shape]
        if wrong:
            raise FileFormatError(
                "the weights of a bundle fit its network",
                f"{self.weights.name}: {', '.join(wrong[:3])}",
                "Fetch both again",
            )
        require_finite(state, self.weights.name)
        return state

    def _predict(self, volume: Volume, device: str) -> np.ndarray:
        """Labels on the grid of the scan, in RAS+ order."""
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of packages that nobody here can change
            return self._labels_of(volume, device)

    def _labels_of(self, volume: Volume, device: str) -> np.ndarray:
        import torch
        from monai.data import MetaTensor
        from monai.inferers import sliding_window_inference

        plan = self._plan()
        net = self._network().to(device).eval()
        hu = torch.from_numpy(np.ascontiguousarray(volume.hu, np.float32))[None]
        image = MetaTensor(hu, affine=torch.as_tensor(volume.geometry.affine.copy()))
        for name, words in plan.steps:
            image = getattr(import_module("monai.transforms"), name)(**words)(image)
        with torch.inference_mode():
            batch = torch.as_tensor(np.asarray(image)[None], dtype=torch.float32)
            if plan.window is None:
                logits = net(batch.to(device)).cpu()
            else:
                logits = sliding_window_inference(
                    batch, plan.window, 1, net, plan.overlap, plan.mode, sw_device=device, device="cpu", progress=False
                )
            logits = logits[0] if isinstance(logits, (list, tuple)) else logits
            scores = torch.sigmoid(logits[0]) if plan.is_sigmoid or len(logits[0]) == 1 else torch.softmax(logits[0], 0)
        if not bool(torch.isfinite(scores).all()):
            raise FileFormatError("a network answers with numbers", f"{self.name}: NaN or infinite", "Fetch it again")
        labels = self._labels_of_channels(len(scores), plan.is_sigmoid)
        return _back_on_the_scan(scores.float(), image.affine, volume, labels, plan.is_sigmoid or len(scores) == 1)


def _back_on_the_scan(
    scores: Any, affine: Any, volume: Volume, labels_of_channels: Sequence[int], is_independent: bool
) -> np.ndarray:
    """The label of the channel with the largest score at each voxel of the scan; a channel at a time, to save memory.

    Label 0 is the background. With independent channels (sigmoid) a voxel below 0.5 in all of them is background.
    """
    from scipy.ndimage import map_coordinates

    model_from_world = np.linalg.inv(np.asarray(affine, np.float64))
    to_model = model_from_world @ volume.geometry.affine
    size = volume.geometry.shape
    labels = np.zeros(size, np.uint8 if max(labels_of_channels) < 256 else np.uint16)
    axes = [np.arange(n, dtype=np.float64) for n in size]
    for k in range(size[2]):  # a slice at a time
        i, j = np.meshgrid(axes[0], axes[1], indexing="ij")
        points = np.stack([i, j, np.full_like(i, k), np.ones_like(i)]).reshape(4, -1)
        at = (to_model @ points)[:3]
        best = np.full(i.size, 0.5 if is_independent else -1.0)
        chosen = np.zeros(i.size, labels.dtype)
        for channel, label in enumerate(labels_of_channels):
            if is_independent and label == 0:
                continue
            value = map_coordinates(scores[channel].numpy(), at, order=1, mode="nearest")
            over = value > best
            best[over] = value[over]
            chosen[over] = label
        labels[:, :, k] = chosen.reshape(size[:2])
    return labels


def _resolved(value: Any, config: Mapping[str, Any], depth: int = 0) -> Any:
    """A value with its plain references (``@spacing``, ``@network_def``) put in; what is no data stays a text."""
    if depth > 8:
        return value
    if isinstance(value, str) and value.startswith("@"):
        found: Any = config
        for part in value[1:].replace("::", "#").split("#"):
            try:
                found = found[int(part)] if isinstance(found, list) else found[part]
            except (KeyError, IndexError, ValueError, TypeError):
                return value
        return _resolved(found, config, depth + 1)
    if isinstance(value, dict):
        return {key: _resolved(item, config, depth + 1) for key, item in value.items()}
    if isinstance(value, list):
        return [_resolved(item, config, depth + 1) for item in value]
    return value


def _is_plain(value: Any) -> bool:
    """Whether a value of a configuration is data: no expression, no reference that leads nowhere, no class."""
    if isinstance(value, str):
        return not value.startswith(("$", "@", "%"))
    if isinstance(value, dict):
        return "_target_" not in value and all(_is_plain(item) for item in value.values())
    if isinstance(value, list):
        return all(_is_plain(item) for item in value)
    return value is None or isinstance(value, (bool, int, float))


def _short(target: Any) -> str:
    return str(target).rpartition(".")[2]


def _network_class(target: str) -> type | None:
    """The network that a bundle names: a class defined in monai.networks.nets, None for all else."""
    from torch import nn

    home, _, name = target.rpartition(".")
    nets = "monai.networks.nets"
    if home not in ("", nets) and not home.startswith(f"{nets}."):
        return None
    try:
        found = vars(import_module(home or nets)).get(name)
    except (ImportError, ValueError):
        return None
    if not isinstance(found, type) or not issubclass(found, nn.Module):
        return None
    return found if found.__module__.startswith(f"{nets}.") else None


class _FetchedError(Exception):
    """A network asked for something from outside while it was made."""


@contextlib.contextmanager
def _nothing_fetched() -> Iterator[None]:
    """Inside the block this thread opens no connection and reads no weights."""
    import torch

    mine = threading.get_ident()

    def closed(real: Any, what: str) -> Any:
        def refuse(*args: Any, **words: Any) -> Any:
            if threading.get_ident() != mine:
                return real(*args, **words)
            raise _FetchedError(what)

        return refuse

    doors = [
        (socket.socket, "connect", "a connection"),
        (socket, "getaddrinfo", "a connection"),
        (urllib.request, "urlopen", "a download"),
        (urllib.request.OpenerDirector, "open", "a download"),
        (torch.hub, "download_url_to_file", "a download"),
        (torch, "load", "other weights"),
    ]
    with contextlib.ExitStack() as stack:
        for owner, name, what in doors:
            stack.enter_context(mock.patch.object(owner, name, closed(getattr(owner, name), what)))
        yield


def _short_text(error: Exception) -> str:
    """The first lines of an error without their breaks."""
    return " ".join(str(error).split())[:200] or type(error).__name__


def _damaged(path: Path, error: Exception) -> FileFormatError:
    return FileFormatError(
        "a file of weights is whole", f"{path}: {str(error).strip().splitlines()[0][:200]}", "Fetch or copy it again"
    )

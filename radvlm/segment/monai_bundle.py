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
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from importlib import import_module
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np

from radvlm.errors import FileFormatError, InputError
from radvlm.files.atomic import sha256_of, utc_now
from radvlm.files.settings import read_mapping
from radvlm.segment.model_labels import background_free, model_scheme, segmentation_of
from radvlm.segment.nnunet_process import load_numbers, read_json
from radvlm.segment.performance import NOT_PUBLISHED
from radvlm.segment.protocol import SegmentOptions, torch_device, with_cpu_after_memory_error
from radvlm.types.label_scheme import Scheme
from radvlm.types.provenance import Decision, MaskOrigin
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


class MonaiBundle:
    """A bundle folder: ``configs/inference.json``, ``configs/metadata.json``, ``models/model.ts`` or ``model.pt``.

    Args:
        folder: the bundle.
        scheme: "" (labels by the names in metadata.json), a label scheme, or a table in CSV.
        template: where a table of names is written when they are not known.
    """

    def __init__(
        self, folder: str, scheme: str = "", options: SegmentOptions | None = None, *, template: Path | None = None
    ) -> None:
        self.folder, self.scheme, self.options = Path(folder), scheme, options or SegmentOptions()
        self.template = Path(f"{self.folder.name or 'bundle'}_labels.csv") if template is None else template

    @property
    def name(self) -> str:
        return f"MONAI bundle {self.folder.absolute().name}"

    @property
    def searched(self) -> frozenset[str]:
        try:
            return self.labels.searched
        except (FileFormatError, InputError):
            return frozenset()

    @cached_property
    def metadata(self) -> dict[str, Any]:
        path = self.folder / "configs" / "metadata.json"
        if not path.is_file():
            raise FileFormatError(
                "a MONAI bundle holds configs/metadata.json", f"{self.folder}: none", "Check the path"
            )
        return read_json(path)

    @cached_property
    def config(self) -> dict[str, Any]:
        for name in _CONFIGS:
            path = self.folder / "configs" / name
            if path.is_file():
                return read_json(path) if path.suffix == ".json" else read_mapping(path, "a bundle's configuration")
        raise FileFormatError("a MONAI bundle holds configs/inference.json", f"{self.folder}: none", "Check the path")

    @cached_property
    def weights(self) -> Path:
        """The file of the network, TorchScript first."""
        for name in _NETWORKS:
            path = self.folder / "models" / name
            if path.is_file():
                return path
        raise FileFormatError(
            f"a MONAI bundle holds models/{' or models/'.join(_NETWORKS)}", f"{self.folder}: none", "Fetch its weights"
        )

    @cached_property
    def labels(self) -> Scheme:
        """What the channels mean; see ``model_scheme``."""
        return model_scheme(self._channels(), self.scheme, self.name, template=self.template)

    def _channels(self) -> dict[int, str]:
        outputs = dict(dict(self.metadata.get("network_data_format") or {}).get("outputs") or {})
        table = dict(outputs.get("pred") or {}).get("channel_def")
        if not isinstance(table, dict) or not table:
            raise FileFormatError(
                "metadata.json names the channels of the network (channel_def)", f"{self.folder.name}"
            )
        try:
            return background_free({int(channel): str(name) for channel, name in table.items()})
        except ValueError as error:
            raise FileFormatError("channel_def numbers the channels", f"{self.folder.name}: {error}") from error

    def require(self) -> None:
        """Raise one error when the bundle cannot run here."""
        if not self.folder.is_dir():
            raise FileFormatError("the folder of a MONAI bundle exists", str(self.folder), "Check the path")
        _ = self.labels, self.weights
        self._plan()
        if self.weights.suffix != ".ts":
            self._network_words()
        torch_device(self.options.device)

    def identity(self) -> str:
        from importlib.metadata import version

        files = [self.weights, *sorted((self.folder / "configs").glob("*"))]
        digests = " ".join(f"{path.name} {sha256_of(path)}" for path in files if path.is_file())
        labels = ",".join(f"{entry.label}={entry.structure}" for entry in self.labels.entries)
        return f"MONAI {version('monai')}, bundle {digests}, labels {labels}"

    def segment(self, volume: Volume) -> Segmentation:
        began = time.monotonic()
        labels, where, note = with_cpu_after_memory_error(
            torch_device(self.options.device), lambda device: self._predict(volume, device)
        )
        title = str(self.metadata.get("version", "")).strip()
        by = f"{self.name}{f' {title}' if title else ''}"
        decisions = [Decision("segment", f"Masks by {by}, on {where}.")]
        if note:
            decisions.append(Decision("segment", f"{by}: {note}", warning=True))
        licence = str(self.metadata.get("license") or self.metadata.get("copyright") or "")[:120]
        took = time.monotonic() - began
        origin = MaskOrigin(by, utc_now()[:10], licence, self.labels.searched, NOT_PUBLISHED, took)
        return segmentation_of(labels, self.labels, volume.geometry, tuple(decisions), origin)

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
        return _back_on_the_scan(scores.float(), image.affine, volume, plan.is_sigmoid)


def _back_on_the_scan(scores: Any, affine: Any, volume: Volume, is_sigmoid: bool) -> np.ndarray:
    """The channel with the largest score at each voxel of the scan; a channel at a time, so that memory holds two.

    Channel 0 is the background. With independent channels (sigmoid) a voxel below 0.5 in all of them is background.
    """
    from scipy.ndimage import map_coordinates

    model_from_world = np.linalg.inv(np.asarray(affine, np.float64))
    to_model = model_from_world @ volume.geometry.affine
    size = volume.geometry.shape
    labels = np.zeros(size, np.uint8 if len(scores) < 256 else np.uint16)
    alone = len(scores) == 1
    first = 0 if is_sigmoid or alone else None
    axes = [np.arange(n, dtype=np.float64) for n in size]
    for k in range(size[2]):  # a slice at a time
        i, j = np.meshgrid(axes[0], axes[1], indexing="ij")
        points = np.stack([i, j, np.full_like(i, k), np.ones_like(i)]).reshape(4, -1)
        at = (to_model @ points)[:3]
        best = np.full(i.size, 0.5 if first == 0 else -1.0)
        chosen = np.zeros(i.size, labels.dtype)
        for channel in range(len(scores)):
            if is_sigmoid and channel == 0 and not alone:
                continue
            value = map_coordinates(scores[channel].numpy(), at, order=1, mode="nearest")
            over = value > best
            best[over] = value[over]
            chosen[over] = channel + 1 if alone else channel
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

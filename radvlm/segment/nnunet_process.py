"""nnU-Net for one scan, in this process, without running anything that a model brings along.

nnU-Net starts several processes even for one scan, each of which imports PyTorch anew: half a minute on two cores,
and a tree of processes that a kill leaves behind. It also unpickles checkpoints, which runs whatever they hold, and
makes the network of any class that ``plans.json`` names. Inside ``nnunet_in_this_process`` the sequential form of its
own predictor is used, checkpoints are read as numbers alone, and ``require_plain_plans`` refuses other classes.

It also reads the folder of its models from the environment once, when it is imported; here it is given anew each time.
"""

from __future__ import annotations

import contextlib
import json
import os
import sys
import warnings
import zipfile
from collections.abc import Iterator
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import Any
from unittest import mock

from radvlm.errors import FileFormatError
from radvlm.files.atomic import sha256_of

#: Names of environment and module variables that lead nnU-Net to its folders.
_FOLDERS = ("nnUNet_raw", "nnUNet_preprocessed", "nnUNet_results")
#: Networks that a plan may name, by the module of dynamic_network_architectures that holds them.
_NETWORKS = {
    "unet": ("PlainConvUNet", "ResidualEncoderUNet", "ResidualUNet"),
    "primus": ("Primus", "PrimusS", "PrimusB", "PrimusM", "PrimusL"),
}
#: Parts of a network that a plan may name: layers of PyTorch, by the module of ``torch.nn.modules`` that holds them.
_LAYERS = {
    "conv": ("Conv1d", "Conv2d", "Conv3d", "ConvTranspose1d", "ConvTranspose2d", "ConvTranspose3d"),
    "instancenorm": ("InstanceNorm1d", "InstanceNorm2d", "InstanceNorm3d"),
    "batchnorm": ("BatchNorm1d", "BatchNorm2d", "BatchNorm3d", "SyncBatchNorm"),
    "normalization": ("GroupNorm", "LayerNorm", "RMSNorm"),
    "dropout": ("Dropout", "Dropout1d", "Dropout2d", "Dropout3d", "AlphaDropout"),
    "activation": (
        *("ReLU", "ReLU6", "LeakyReLU", "PReLU", "ELU", "CELU", "SELU", "GELU", "SiLU", "Mish"),
        *("Hardswish", "Softplus", "Tanh", "Sigmoid"),
    ),
    "pooling": ("AvgPool1d", "AvgPool2d", "AvgPool3d", "MaxPool1d", "MaxPool2d", "MaxPool3d"),
    "linear": ("Identity", "Linear"),
}
_BLOCKS = {
    "building_blocks.residual": ("BasicBlockD", "BottleneckD"),
    "building_blocks.simple_conv_blocks": ("ConvDropoutNormReLU", "StackedConvBlocks"),
    "building_blocks.patch_encode_decode": ("LayerNormNd",),
}
#: A checkpoint and the files beside its folder.
CHECKPOINT, PLANS, DATASET = "checkpoint_final.pth", "plans.json", "dataset.json"
_TRUST = "if you trust its maker, run_model_code=True"


@contextlib.contextmanager
def nnunet_in_this_process(folder: Path | None, *, run_model_code: bool = False) -> Iterator[None]:
    """Run nnU-Net in turn and without unpickling inside the block; ``folder`` holds its ``DatasetNNN_`` folders."""
    import torch

    where = str(folder) if folder is not None else os.devnull
    threads = torch.get_num_threads()
    with contextlib.ExitStack() as stack:
        stack.enter_context(mock.patch.dict(os.environ, dict.fromkeys(_FOLDERS, where)))
        stack.enter_context(warnings.catch_warnings())
        warnings.simplefilter("ignore")  # of packages that nobody here can change
        predictor = import_module("nnunetv2.inference.predict_from_raw_data").nnUNetPredictor
        for module in [m for name, m in list(sys.modules.items()) if name.startswith("nnunetv2.")]:
            for name in _FOLDERS:
                if name in vars(module):
                    stack.enter_context(mock.patch.object(module, name, where))
        if "totalsegmentator.python_api" in sys.modules:  # what it imports changes the predictor, so it comes first
            with contextlib.suppress(ImportError):
                import_module("totalsegmentator.nnunet")
        sequential = predictor.predict_from_files_sequential
        stack.enter_context(mock.patch.object(predictor, "predict_from_files", _in_turn(sequential)))
        if not run_model_code:
            stack.enter_context(mock.patch.object(torch, "load", load_numbers))
        try:
            yield
        finally:
            torch.set_num_threads(threads)


def _in_turn(sequential: Any) -> Any:
    """``predict_from_files`` of nnU-Net by its sequential twin, which lacks the numbers of processes."""

    def predict_from_files(
        self: Any,
        files: Any,
        out: Any,
        save_probabilities: bool = False,
        overwrite: bool = True,
        num_processes_preprocessing: int = 0,
        num_processes_segmentation_export: int = 0,
        folder_with_segs_from_prev_stage: str | None = None,
        num_parts: int = 1,
        part_id: int = 0,
        use_cropped_logits_resampling: bool = False,
    ) -> Any:
        if isinstance(files, str):  # nnU-Net lists a folder with a dozen processes
            files = _cases_in(Path(files), self.dataset_json["file_ending"])
        more = {"use_cropped_logits_resampling": True} if use_cropped_logits_resampling else {}
        return sequential(self, files, out, save_probabilities, overwrite, folder_with_segs_from_prev_stage, **more)

    return predict_from_files


def _cases_in(folder: Path, ending: str) -> list[list[str]]:
    """The files of each case, ``NAME_0000.nii.gz`` and its further channels, in order."""
    cases: dict[str, list[str]] = {}
    for path in sorted(folder.iterdir()):
        name = path.name.removesuffix(ending)
        if name != path.name and len(name) > 5 and name[-5] == "_" and name[-4:].isdigit():
            cases.setdefault(name[:-5], []).append(str(path))
    return list(cases.values())


def load_numbers(file: Any, map_location: Any = None, **_: Any) -> Any:
    """``torch.load`` that takes tensors, plain Python values and NumPy numbers, and runs nothing.

    FileFormatError for a checkpoint that holds more, or is damaged.
    """
    import pickle

    import numpy as np
    import torch

    scalar = np._core.multiarray.scalar  # type: ignore[attr-defined]  # how NumPy numbers are pickled
    kinds = {type(np.dtype(code)) for code in "?bBhHiIlLqQefd"}
    allowed = [scalar, (scalar, "numpy.core.multiarray.scalar"), np.dtype, *kinds]
    name = Path(file).name if isinstance(file, str | os.PathLike) else "the checkpoint"
    try:
        with torch.serialization.safe_globals(allowed):
            return _real_load()(file, map_location=map_location, weights_only=True)
    except pickle.UnpicklingError as error:
        raise FileFormatError(
            "a checkpoint holds numbers alone, so that reading it runs nothing", f"{name}: {_global_of(error)}", _TRUST
        ) from error
    except (RuntimeError, EOFError, zipfile.BadZipFile) as error:
        raise FileFormatError("a checkpoint is whole", f"{name}: {error}", "Fetch or copy it again") from error


def _real_load() -> Any:
    import torch

    return torch.serialization.load


def _global_of(error: BaseException) -> str:
    """The class that a checkpoint asks for, out of the long text of PyTorch."""
    import re

    found = re.search(r"(?:GLOBAL|class|builtin) ([\w.]+)", str(error))
    return f"it asks for {found[1]}" if found else str(error).splitlines()[0]


def require_model_folder(folder: Path, *, run_model_code: bool = False, remedy: str = "Fetch or copy it again") -> None:
    """FileFormatError unless a folder holds an nnU-Net model: plans, labels, whole checkpoints, plain classes."""
    missing = [name for name in (PLANS, DATASET) if not (folder / name).is_file()]
    if missing:
        raise FileFormatError(
            f"a folder of an nnU-Net v2 model holds {PLANS}, {DATASET} and fold_0/{CHECKPOINT}",
            f"{folder}: no {', no '.join(missing)}",
            remedy,
        )
    found = checkpoints(folder)
    if not found:
        raise FileFormatError(
            f"a folder of an nnU-Net v2 model holds fold_0/{CHECKPOINT}", f"{folder}: no checkpoint in it", remedy
        )
    for path in found:
        if not zipfile.is_zipfile(path):
            size = path.stat().st_size
            raise FileFormatError(
                "a checkpoint is whole", f"{path}: {size} bytes without the end of a checkpoint", remedy
            )
    plans = read_json(folder / PLANS)
    read_json(folder / DATASET)
    if not run_model_code:
        require_plain_plans(plans, folder)


def checkpoints(folder: Path) -> list[Path]:
    """The final checkpoints of every fold, in order."""
    return sorted(folder.glob(f"fold_*/{CHECKPOINT}"))


def read_json(path: Path) -> dict[str, Any]:
    """The object in a JSON file of a model; FileFormatError where it is none."""
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise FileFormatError("a file of a model is JSON", f"{path}: {error}", "Fetch or copy it again") from error
    if not isinstance(found, dict):
        raise FileFormatError("a file of a model is a JSON object", f"{path}: {type(found).__name__}")
    return found


def require_plain_plans(plans: dict[str, Any], folder: Path) -> None:
    """FileFormatError when plans name anything but the networks and layers that are listed here, by their whole names.

    nnU-Net finds what a plan names by any path through Python, ``torch.nn.functional.torch.hub.load`` too, so the
    beginning of a name says nothing of what it is.
    """
    networks, parts = _plain_networks(), _plain_parts()
    for name, plan in configurations_of(plans, folder).items():
        network = plan.get("architecture")
        if network is None:
            continue  # plans of nnU-Net 2.0 to 2.3 name no class
        words = network.get("arch_kwargs") if isinstance(network, dict) else None
        imported = network.get("_kw_requires_import") or [] if isinstance(network, dict) else None
        if not isinstance(words, dict) or not isinstance(imported, list):
            raise FileFormatError(
                "the plans of an nnU-Net model give the arguments of its network",
                f"{folder.name}, configuration {name}: {str(network)[:80]}",
                "Fetch or copy it again",
            )
        asked = [words.get(key) if isinstance(key, str) else key for key in imported]
        strange = [str(word) for word in asked if word is not None and str(word) not in parts]
        if str(network.get("network_class_name")) not in networks:
            strange.insert(0, str(network.get("network_class_name")))
        if strange:
            raise FileFormatError(
                "the network of an nnU-Net model is one of dynamic_network_architectures and PyTorch",
                f"{folder.name}, configuration {name}: {', '.join(strange)}",
                _TRUST,
            )


def configurations_of(plans: dict[str, Any], folder: Path) -> dict[str, dict[str, Any]]:
    """The configurations of plans by name. FileFormatError where they are none."""
    found = plans.get("configurations") or {}
    if not isinstance(found, dict) or not all(isinstance(plan, dict) for plan in found.values()):
        raise FileFormatError(
            f"{PLANS} holds configurations by name", f"{folder.name}: {str(found)[:80]}", "Fetch or copy it again"
        )
    return found


@cache
def _plain_networks() -> frozenset[str]:
    home = "dynamic_network_architectures.architectures"
    return frozenset(f"{home}.{module}.{name}" for module, names in _NETWORKS.items() for name in names)


@cache
def _plain_parts() -> frozenset[str]:
    layers = [
        f"{home}.{name}"
        for module, names in _LAYERS.items()
        for home in ("torch.nn", f"torch.nn.modules.{module}")
        for name in names
    ]
    blocks = [f"dynamic_network_architectures.{module}.{name}" for module, names in _BLOCKS.items() for name in names]
    return frozenset([*layers, *blocks])


def weights_digest(folders: list[Path]) -> str:
    """One sha256 over the plans, labels and checkpoints of model folders, whatever the folders are called."""
    import hashlib

    total = hashlib.sha256()
    for folder in folders:
        for path in [folder / PLANS, folder / DATASET, *checkpoints(folder)]:
            total.update(f"{path.parent.name}/{path.name} {sha256_of(path)}\n".encode())
    return total.hexdigest()

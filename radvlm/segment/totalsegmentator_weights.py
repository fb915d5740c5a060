"""What a TotalSegmentator task needs before it may start: a known name, a licence number, whole weights on disk.

Answered from the tables of the installed package and from the disk alone: neither PyTorch nor the network is touched.
"""

from __future__ import annotations

import difflib
import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib import import_module
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from radvlm.errors import FileFormatError, InputError, MissingPackageError, RadvlmError, StructureError
from radvlm.files.optional import importing
from radvlm.segment.nnunet_process import require_model_folder

PACKAGE = "TotalSegmentator"
#: Length of a licence number, by which the package itself tells one offline.
_LICENCE_LENGTH = 18
#: Tasks of the package's makers alone, without published weights.
_NOT_PUBLISHED = ("test", "total_highres_test")
_CROP_TRAINER = "nnUNetTrainer_4000epochs_NoMirroring"


@dataclass(frozen=True)
class Weights:
    """One model of a task: its folder below ``weights_folder()``, and the folder of its configuration in that."""

    dataset: str
    configuration: str

    @property
    def folder(self) -> Path:
        return weights_folder() / self.dataset / self.configuration


def home_folder() -> Path:
    """The folder of the package's settings, as the package finds it."""
    given = os.environ.get("TOTALSEG_HOME_DIR")
    if given is not None:
        return Path(given)
    home = Path.home()
    return (Path("/tmp") if str(home) == "/" else home) / ".totalsegmentator"


def weights_folder() -> Path:
    """The folder of the package's models, as the package finds it."""
    given = os.environ.get("TOTALSEG_WEIGHTS_PATH")
    return Path(given) if given is not None else home_folder() / "nnunet" / "results"


def package_version() -> str:
    """Version of the installed package; "" without one."""
    try:
        return version(PACKAGE)
    except PackageNotFoundError:
        return ""


def is_installed() -> bool:
    """Whether the package is there; it is not imported."""
    return find_spec("totalsegmentator") is not None


def tasks() -> dict[str, dict[str, Any]]:
    """Tasks on CT by name, as the installed package has them; MissingPackageError without it."""
    with importing(PACKAGE, "the TotalSegmentator package is installed"):
        table: Mapping[str, dict[str, Any]] = import_module("totalsegmentator.map_tasks_config").TASK_CONFIGS
        offered = set(import_module("totalsegmentator.registry").TASKS)
        modality = import_module("totalsegmentator.registry").task_modality
    return {
        name: dict(row)
        for name, row in table.items()
        if name in offered and modality(name) == "CT" and name not in _NOT_PUBLISHED
    }


def require_task(task: str, *, fast: bool, allow_download: bool, run_model_code: bool = False) -> None:
    """Raise one error when a task cannot run here: unknown, on MR, without its licence number or its weights.

    With ``allow_download`` weights may be missing; half of them may not.
    """
    known = tasks()
    if task not in known:
        if task in import_module("totalsegmentator.registry").TASKS and task not in _NOT_PUBLISHED:
            raise InputError("the task is one for CT", f"{task}, which is for MR", "`radvlm doctor` lists the tasks")
        near = difflib.get_close_matches(task.lower(), known, n=3, cutoff=0.5)
        meant = f"Did you mean {', '.join(near)}? " if near else ""
        raise StructureError(
            "a task that TotalSegmentator has for CT", repr(task), f"{meant}`radvlm doctor` lists the tasks"
        )
    if needs_licence(task) and not has_licence():
        raise MissingPackageError(
            f"a licence number is set for the TotalSegmentator task {task}",
            "none is set",
            "Its weights are free for non-commercial use: see https://backend.totalsegmentator.com/license-academic/, "
            "then `totalseg_set_license -l NUMBER`",
        )
    missing = []
    for weights in needed_weights(task, fast=fast):
        if (weights_folder() / weights.dataset).is_dir():
            _require_whole(weights, run_model_code)
        elif not allow_download:
            missing.append(weights.dataset)
    if missing:
        raise MissingPackageError(
            "the weights of a TotalSegmentator task are installed",
            f"task {task}: {', '.join(missing)} not in {weights_folder()}",
            f"Download them with {_download_commands(task, fast, missing)}, or pass allow_download=True",
        )


def task_state(task: str, *, fast: bool) -> str:
    """``ready`` for a task that could run here now, else what is missing."""
    try:
        require_task(task, fast=fast, allow_download=False)
    except RadvlmError as error:
        return error.received
    return "ready"


def _require_whole(weights: Weights, run_model_code: bool) -> None:
    remedy = f"Remove {weights_folder() / weights.dataset} and download it again"
    if not weights.folder.is_dir():
        raise FileFormatError(
            "weights of TotalSegmentator lie in the folders of the installed version",
            f"{weights_folder() / weights.dataset}: no {weights.configuration} in it",
            remedy,
        )
    require_model_folder(weights.folder, run_model_code=run_model_code, remedy=remedy)


def needs_licence(task: str) -> bool:
    """Whether a task needs a licence number."""
    return bool(tasks()[task].get("commercial"))


def has_licence() -> bool:
    """Whether a licence number is set, by the file in which the package keeps it."""
    try:
        settings = json.loads((home_folder() / "config.json").read_text(encoding="utf-8"))
        return len(str(settings.get("license_number", ""))) == _LICENCE_LENGTH
    except (OSError, ValueError, AttributeError):
        return False


def has_fast_model(task: str) -> bool:
    """Whether a task has a coarser, faster model."""
    return "fast" in tasks()[task].get("sub_modes", {})


def needed_weights(task: str, *, fast: bool) -> tuple[Weights, ...]:
    """Every model that a task runs, that by which it crops first."""
    modules = import_module("totalsegmentator.map_tasks_config")
    row = tasks()[task]
    base = {**modules.DEFAULT_CONFIG, **row}
    if "sub_modes" in row:
        base.update(row["sub_modes"]["fast" if fast and "fast" in row["sub_modes"] else "default"])
    names = modules.TASK_ID_WEIGHTS_CONFIGS

    def model(number: int, trainer: str, configuration: str = "3d_fullres", plans: str | None = None) -> Weights:
        return Weights(str(names[number]["foldername"]), f"{trainer}__{plans or 'nnUNetPlans'}__{configuration}")

    found: list[Weights] = []
    if base["crop_model"]:
        found += needed_weights(base["crop_model"], fast=False)
    elif base["crop"] and {"body_trunc", "body_extremities"} & set(base["crop"]):
        found.append(model(300, "nnUNetTrainer"))
    elif base["crop"] or base["cascade"]:
        found.append(model(297 if base["robust_crop"] else 298, _CROP_TRAINER))
    numbers = base["task_id"] if isinstance(base["task_id"], list) else [base["task_id"]]
    found += [model(number, base["trainer"], base["model"], base["plans"]) for number in numbers]
    if task == "vertebrae_pp_refined":
        found.append(model(305, "nnUNetTrainer_DASegOrd0"))
    return tuple(dict.fromkeys(found))


def _download_commands(task: str, fast: bool, missing: Sequence[str]) -> str:
    """What downloads the models that are missing, by the names that ``totalseg_download_weights`` has for them."""
    shared = {"Dataset297": "total_fast", "Dataset298": "total", "Dataset300": "body_fast"}
    own = f"{task}_fast" if fast and has_fast_model(task) else task
    names = dict.fromkeys(shared.get(name.split("_")[0], own) for name in missing)
    return ", ".join(f"`totalseg_download_weights -t {name}`" for name in names)

"""What this machine can run, and the command that adds what is missing. Never imports PyTorch or a model's package."""

from __future__ import annotations

import contextlib
import os
import platform
import shutil
import subprocess
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from importlib import metadata
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from radvlm.files.optional import dependencies, install_command
from radvlm.version import __version__

#: Seconds that a program of the GPU's driver may take to answer.
_GPU_SECONDS = 5


@dataclass(frozen=True)
class ExtraState:
    """One extra of radvlm: its packages with their versions ("" = not installed), and what installs it."""

    name: str
    packages: Mapping[str, str]
    command: str

    @property
    def is_complete(self) -> bool:
        return all(self.packages.values())


@dataclass(frozen=True)
class TaskState:
    """One task of TotalSegmentator: whether it could run now, else what is missing; ``needs_licence`` = a number."""

    name: str
    state: str
    needs_licence: bool


@dataclass(frozen=True)
class Diagnosis:
    """Everything that ``radvlm doctor`` tells.

    Attributes:
        missing_core: packages that radvlm needs and that are not installed.
        gpus: name and memory of each, as the driver tells; () where no driver answers.
        free_gib: free space by purpose.
        models: name and state of each published model that is at hand.
        advice: commands, in order, that give a report with organs.
    """

    versions: Mapping[str, str]
    missing_core: tuple[str, ...]
    extras: tuple[ExtraState, ...]
    gpus: tuple[str, ...]
    cores: int
    memory_gib: float | None
    free_gib: Mapping[str, float]
    totalsegmentator: str
    weights_folder: str
    tasks: tuple[TaskState, ...]
    models: Mapping[str, str]
    advice: tuple[str, ...]

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready."""
        return asdict(self)


def diagnose() -> Diagnosis:
    """Look at this machine; takes a second or less, and changes nothing."""
    from radvlm.segment import totalsegmentator_weights as weights

    rows = dependencies()
    found = {row["name"]: _version(row["name"]) for row in rows if row["need"] != "dev"}
    core = [row["name"] for row in rows if row["need"] == "core"]
    tasks = _tasks() if weights.is_installed() else ()
    return Diagnosis(
        {
            "radvlm": __version__,
            "Python": platform.python_version(),
            "PyTorch": found["torch"] or "not installed",
            "MONAI": found["monai"] or "not installed",
            "system": f"{platform.system()} {platform.machine()}",
        },
        tuple(name for name in core if not found[name]),
        _extras(rows, found),
        _gpus(),
        len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1,
        _memory_gib(),
        _free(),
        weights.package_version(),
        str(weights.weights_folder()),
        tasks,
        _models(),
        _advice(weights.is_installed(), {task.name: task.state for task in tasks}),
    )


def _version(package: str) -> str:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return ""


def _extras(rows: list[dict[str, str]], found: Mapping[str, str]) -> tuple[ExtraState, ...]:
    names: dict[str, list[str]] = {}
    for row in rows:
        if row["need"].startswith("extra:"):
            names.setdefault(row["need"].removeprefix("extra:"), []).append(row["name"])
    return tuple(
        ExtraState(name, {package: found[package] for package in packages}, install_command(packages[0]))
        for name, packages in names.items()
    )


def _gpus() -> tuple[str, ...]:
    """GPUs by NVIDIA's own program; () where there is none, or it does not answer."""
    program = shutil.which("nvidia-smi")
    if program is None:
        return ()
    try:
        words = [program, "--query-gpu=name,memory.total", "--format=csv,noheader"]
        ended = subprocess.run(words, capture_output=True, text=True, timeout=_GPU_SECONDS, stdin=subprocess.DEVNULL)
    except (OSError, subprocess.SubprocessError):
        return ()
    return tuple(line.strip() for line in ended.stdout.splitlines() if line.strip()) if ended.returncode == 0 else ()


def _memory_gib() -> float | None:
    """Memory of the machine, or of the container where that is less."""
    sizes: list[int] = []
    with contextlib.suppress(AttributeError, ValueError, OSError):
        sizes.append(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"))
    with contextlib.suppress(OSError, ValueError):
        sizes.append(int(Path("/sys/fs/cgroup/memory.max").read_text(encoding="ascii")))
    return round(min(sizes) / 2**30, 1) if sizes else None


def _free() -> dict[str, float]:
    from radvlm.model.weight_store import weights_folder
    from radvlm.segment.mask_cache import default_cache_folder
    from radvlm.segment.totalsegmentator_weights import weights_folder as totalsegmentator_folder

    places = {
        "kept masks": default_cache_folder(),
        "weights": weights_folder(),
        "weights of TotalSegmentator": totalsegmentator_folder(),
    }
    found = {}
    for what, place in places.items():
        there = next((path for path in (place, *place.absolute().parents) if path.exists()), None)
        if there is not None:
            found[f"{what}, {place}"] = round(shutil.disk_usage(there).free / 2**30, 1)
    return found


def _tasks() -> tuple[TaskState, ...]:
    from radvlm.segment import totalsegmentator_weights as weights

    found = []
    for name in weights.tasks():
        for fast in (False, True) if weights.has_fast_model(name) else (False,):
            state = weights.task_state(name, fast=fast)
            found.append(TaskState(f"{name} --fast" if fast else name, state, weights.needs_licence(name)))
    return tuple(found)


def _models() -> dict[str, str]:
    from radvlm.model.weight_store import weights_on_disk

    return {held.model.name: held.words for held in weights_on_disk() if held.state != "absent"}


def commands_for_organs() -> tuple[str, ...]:
    """What gives a report with organs from here: the last one makes it, one before it brings what is missing.

    Light: it looks at two tasks, imports neither PyTorch nor a network, and says the first step where it cannot tell.
    """
    from radvlm.segment import totalsegmentator_weights as weights

    installed = weights.is_installed()
    forms = (("total", False), ("total --fast", True)) if installed else ()
    return _advice(installed, {name: weights.task_state("total", fast=fast) for name, fast in forms})


def _advice(installed: bool, tasks: Mapping[str, str]) -> tuple[str, ...]:
    """What gives a report with organs from here."""
    if not installed:
        return (install_command("TotalSegmentator"), "radvlm report CT --segment total --fast --allow-download -o OUT")
    if tasks.get("total") == "ready":
        return ("radvlm report CT --segment total -o OUT",)
    if tasks.get("total --fast") == "ready":
        return ("radvlm report CT --segment total --fast -o OUT",)
    return ("totalseg_download_weights -t total_fast", "radvlm report CT --segment total --fast -o OUT")


def diagnosis_text(found: Diagnosis) -> str:
    """The diagnosis for a person."""
    lines = [", ".join(f"{name} {version}" for name, version in found.versions.items())]
    memory = "memory not told" if found.memory_gib is None else f"{found.memory_gib:g} GiB of memory"
    lines.append(f"{found.cores} cores, {memory}, {'GPU: ' + '; '.join(found.gpus) if found.gpus else 'no GPU found'}")
    lines += [f"{space:g} GiB free for {what}" for what, space in found.free_gib.items()]
    if found.missing_core:
        lines.append(f"MISSING: {', '.join(found.missing_core)}: {install_command(found.missing_core[0])}")
    lines += ["", "EXTRAS"]
    for extra in found.extras:
        has = ", ".join(f"{name} {version}" for name, version in extra.packages.items() if version)
        lines.append(f"  {extra.name:<16} {has if extra.is_complete else 'absent: ' + extra.command}")
    lines += ["", "SEGMENTATION"]
    if not found.totalsegmentator:
        lines.append("  TotalSegmentator is not installed: a bare scan is segmented by thresholds alone.")
    else:
        ready = [task.name for task in found.tasks if task.state == "ready"]
        locked = [task.name for task in found.tasks if task.needs_licence and task.state != "ready"]
        absent = [task.name for task in found.tasks if task.state != "ready" and not task.needs_licence]
        lines.append(f"  TotalSegmentator {found.totalsegmentator}, weights in {found.weights_folder}")
        lines.append(f"  ready: {', '.join(ready) or 'no task'}")
        lines.append(f"  no weights here: {', '.join(absent) or 'none'}")
        lines.append(f"  with a licence number: {', '.join(locked) or 'none'}")
    lines.append(f"  nnU-Net models: {'yes' if find_spec('nnunetv2') else install_command('nnunetv2')}")
    lines.append("  MONAI bundles, commands, functions: yes")
    lines += ["", "MODELS HERE (`radvlm weights list` shows all)"]
    lines += [f"  {name}: {words}" for name, words in found.models.items()] or ["  none"]
    lines += ["", "FOR A REPORT WITH ORGANS"]
    lines += [f"  {command}" for command in found.advice]
    return "\n".join(lines)

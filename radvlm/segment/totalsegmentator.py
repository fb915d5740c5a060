"""The TotalSegmentator package as a source of masks, where it and its weights are installed.

By itself that package downloads weights, removes those of version 1, and reports usage over the network when it is
called. Here none of it happens: its download functions raise unless ``allow_download=True``, and its usage report is
switched off for the call. (It still keeps its own small settings file in ``~/.totalsegmentator``.) It runs in this
process: see ``radvlm.segment.nnunet_process``.
"""

from __future__ import annotations

import contextlib
import io
import time
from collections.abc import Callable, Iterator, Mapping
from importlib import import_module
from types import ModuleType
from typing import Any
from unittest import mock

import numpy as np

from radvlm.errors import FileFormatError, GridError, MissingPackageError, StructureError
from radvlm.files.optional import importing
from radvlm.segment.nnunet_process import nnunet_in_this_process, weights_digest
from radvlm.segment.performance import published_performance
from radvlm.segment.protocol import SegmentOptions, origin_of, require_device, torch_device, with_cpu_after_memory_error
from radvlm.segment.totalsegmentator_weights import (
    has_fast_model,
    needed_weights,
    package_version,
    require_task,
    weights_folder,
)
from radvlm.types.geometry import Geometry, to_canonical
from radvlm.types.label_scheme import Scheme, SchemeEntry, scheme_named, structure_from_name
from radvlm.types.provenance import Decision, MaskOrigin
from radvlm.types.segmentation import LabelPlace, Segmentation
from radvlm.types.volume import Volume

#: Schemes of tasks that are not called like them.
_SCHEMES = {
    "total": "totalsegmentator",
    "lung_vessels_LEGACY": "totalsegmentator-lung_vessels-legacy",
    "coronary_arteries_LEGACY": "totalsegmentator-coronary_arteries",
}


class TotalSegmentatorTask:
    """One task of TotalSegmentator as a Segmenter."""

    def __init__(self, task: str, options: SegmentOptions | None = None) -> None:
        self.task, self.options = task, options or SegmentOptions()

    @property
    def name(self) -> str:
        return f"TotalSegmentator {self.task}"

    @property
    def searched(self) -> frozenset[str]:
        return _scheme_of(self.task).searched

    @property
    def is_fast(self) -> bool:
        """Whether the coarser model is wanted and there is one."""
        return self.options.fast and has_fast_model(self.task)

    @property
    def by(self) -> str:
        """Who makes the masks, in words."""
        return _by(package_version() or "(version unknown)", self.task, self.is_fast)

    def on_gpu(self) -> bool:
        """Whether a GPU would be used; PyTorch is asked only where the device is left to it."""
        device = self.options.device
        return _auto_device() == "gpu" if device == "auto" else device != "cpu"

    def require(self) -> None:
        """See ``require_task``; also a device that is none here, and a task whose classes radvlm does not know."""
        options = self.options
        require_task(
            self.task, fast=options.fast, allow_download=options.allow_download, run_model_code=options.run_model_code
        )
        _scheme_of(self.task)
        if options.device not in ("auto", "cpu"):
            torch_device(options.device)

    def identity(self) -> str:
        folders = [weights.folder for weights in needed_weights(self.task, fast=self.options.fast)]
        here = [folder for folder in folders if folder.is_dir()]
        if len(here) < len(folders):
            return ""  # still to be downloaded
        model = f"{', fast' if self.is_fast else ''}, weights {weights_digest(here)}"
        return f"TotalSegmentator {package_version()}, task {self.task}{model}"

    def segment(self, volume: Volume) -> Segmentation:
        return segment_with_totalsegmentator(
            volume,
            task=self.task,
            fast=self.is_fast,
            device=self.options.device,
            allow_download=self.options.allow_download,
            run_model_code=self.options.run_model_code,
        )


def segment_with_totalsegmentator(
    volume: Volume,
    *,
    task: str = "total",
    fast: bool = False,
    device: str = "auto",
    allow_download: bool = False,
    run_model_code: bool = False,
) -> Segmentation:
    """Run one TotalSegmentator task on a CT.

    Args:
        task: a task of the package, such as ``total``, ``liver_segments``, ``lung_nodules``.
        fast: the 3 mm model of ``total`` (faster, coarser).
        device: ``auto`` (a CUDA GPU when there is one, else CPU), ``cpu``, ``gpu``, ``gpu:1`` ... or ``mps``. Where a
            GPU has too little memory the CPU is used, with a note.
        allow_download: let the package download weights that are missing. Their licences differ by task.
        run_model_code: unpickle checkpoints, which runs what they hold; without it they are read as numbers.

    Raises:
        MissingPackageError: the package, its weights or the licence of a task are not installed.
        InputError: an unknown device. StructureError: an unknown task.
    """
    scheme = _scheme_of(task)
    require_device(device)
    api = _package()
    image = _as_image(volume)
    where = _auto_device() if device == "auto" else device
    began = time.monotonic()

    def run(place: str) -> Any:
        options = {"nr_thr_saving": 1} if hasattr(api, "setup_nnunet") else {}
        return api.totalsegmentator(
            image, output=None, ml=True, fast=fast, task=task, device=place, quiet=True, **options
        )

    with _quiet_and_offline(allow_download, task, run_model_code):
        result, where, note = with_cpu_after_memory_error(where, run)
    result = result[0] if isinstance(result, tuple) else result
    labels = _labels_on(result, volume.geometry)
    used = _checked_scheme(scheme, task)
    by = _by(_version(), task, fast)
    decisions = [Decision("segment", f"Masks by {by}, on {where}. {scheme.licence}.")]
    if note:
        decisions.append(Decision("segment", f"Task {task}: {note}", warning=True))
    origin = origin_of(by, used.searched, began, scheme.licence, published_performance(task))
    return _segmentation(labels, used, volume.geometry, tuple(decisions), origin)


def _by(version: str, task: str, fast: bool) -> str:
    return f"TotalSegmentator {version}, task {task}{', fast' if fast else ''}"


def _scheme_of(task: str) -> Scheme:
    return scheme_named(_SCHEMES.get(task, task))


def _package() -> ModuleType:
    with importing("TotalSegmentator", "the TotalSegmentator package is installed"):
        import_module("totalsegmentator")
        return import_module("totalsegmentator.python_api")


def _as_image(volume: Volume) -> Any:
    import nibabel

    image = nibabel.Nifti1Image(np.asarray(volume.hu), volume.geometry.affine)
    image.header.set_xyzt_units("mm")
    return image


def _auto_device() -> str:
    import torch

    return "gpu" if torch.cuda.is_available() else "cpu"


@contextlib.contextmanager
def _quiet_and_offline(allow_download: bool, task: str, run_model_code: bool) -> Iterator[None]:
    """Swallow prints, switch usage reports off, forbid downloads, and turn the package's exits into one error."""
    api = import_module("totalsegmentator.python_api")
    printed = io.StringIO()

    def refuse(*args: object, **kwargs: object) -> None:
        raise MissingPackageError(
            "the weights of a TotalSegmentator task are installed",
            f"task {task}: not on disk",
            "Download them with `totalseg_download_weights`, or pass allow_download=True",
        )

    with contextlib.ExitStack() as stack:
        stack.enter_context(contextlib.redirect_stdout(printed))
        if hasattr(api, "send_usage_stats"):
            stack.enter_context(mock.patch.object(api, "send_usage_stats", lambda *args, **kwargs: None))
        if not allow_download:
            libs = import_module("totalsegmentator.libs")
            for name in ("download_url_and_unpack", "download_model_with_license_and_unpack"):
                if not hasattr(libs, name):
                    raise MissingPackageError(
                        "TotalSegmentator is a version whose downloads can be switched off",
                        f"{_version()} has no {name}",
                        "Install version 2.18",
                    )
                stack.enter_context(mock.patch.object(libs, name, refuse))
            if hasattr(api, "download_pretrained_weights"):  # it also removes old weights
                check = _only_what_is_there(refuse)
                stack.enter_context(mock.patch.object(api, "download_pretrained_weights", check))
        if hasattr(api, "setup_nnunet"):
            stack.enter_context(nnunet_in_this_process(weights_folder(), run_model_code=run_model_code))
        try:
            yield
        except SystemExit as error:
            last = printed.getvalue().strip().splitlines()
            raise MissingPackageError(
                f"TotalSegmentator can run the task {task}",
                last[-1].strip() if last else f"it stopped with {error.code}",
                "Some tasks need a licence number: see `totalseg_set_license`",
            ) from error


def _only_what_is_there(refuse: Callable[..., None]) -> Callable[[Any], None]:
    """In the place of the package's download function: nothing where the weights lie on disk, else ``refuse``."""
    names = import_module("totalsegmentator.map_tasks_config").TASK_ID_WEIGHTS_CONFIGS

    def check(task_id: Any) -> None:
        row = names[task_id]
        if not (weights_folder() / row.get("rel_path", "") / row["foldername"]).is_dir():
            refuse()

    return check


def _labels_on(result: Any, geometry: Geometry) -> np.ndarray:
    """Labels of the returned image in the volume's RAS+ order, uint8 or uint16."""
    labels, answered, _ = to_canonical(np.asanyarray(result.dataobj), result.affine)
    if not answered.same_grid(geometry):
        raise GridError("TotalSegmentator answers on the grid of the scan", f"{answered!r}, scan {geometry!r}")
    whole = labels.astype(np.uint16 if labels.max(initial=0) > 255 else np.uint8)
    if labels.dtype.kind == "f" and not np.array_equal(whole, labels):
        raise FileFormatError("TotalSegmentator answers with whole labels", str(labels.dtype))
    return whole


def _checked_scheme(scheme: Scheme, task: str) -> Scheme:
    """Our table, or the installed package's own where its version numbers classes differently."""
    try:
        tables: Mapping[str, Mapping[int, str]] = import_module("totalsegmentator.map_to_binary").class_map
    except (ImportError, AttributeError):
        return scheme
    theirs = {int(label): name for label, name in tables.get(task, {}).items()}
    if theirs == {entry.label: entry.name for entry in scheme.entries}:
        return scheme
    named = {label: structure_from_name(name, scheme) for label, name in theirs.items()}
    if not theirs or named == dict(scheme.labels):
        return scheme
    unknown = [theirs[label] for label, name in named.items() if name is None]
    if unknown:
        raise StructureError(
            "radvlm knows every class of the installed TotalSegmentator",
            ", ".join(unknown[:8]),
            "Install TotalSegmentator 2.18, or update radvlm",
        )
    entries = tuple(SchemeEntry(label, theirs[label], str(name)) for label, name in named.items())
    return Scheme(scheme.name, scheme.title, entries, scheme.source, scheme.licence)


def _segmentation(
    labels: np.ndarray, scheme: Scheme, geometry: Geometry, decisions: tuple[Decision, ...], origin: MaskOrigin
) -> Segmentation:
    held = [int(label) for label in np.unique(labels) if label]
    table = scheme.labels
    unknown = [label for label in held if label not in table]
    if unknown:
        raise StructureError(
            f"every label belongs to {scheme.name}",
            ", ".join(map(str, unknown[:10])),
            "Install TotalSegmentator 2.18, or update radvlm",
        )
    places = {table[label]: LabelPlace(0, label) for label in held}
    return Segmentation(
        (labels,), places, scheme.searched, geometry, scheme.name, decisions=decisions, origins=(origin,)
    )


def _version() -> str:
    from importlib.metadata import PackageNotFoundError, version

    try:
        return version("TotalSegmentator")
    except PackageNotFoundError:
        return "(version unknown)"

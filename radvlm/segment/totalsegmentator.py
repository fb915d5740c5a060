"""The TotalSegmentator package as a source of masks, where it and its weights are installed.

By itself that package downloads weights and reports usage over the network when it is called. Here neither
happens: its two download functions raise unless ``allow_download=True``, and its usage report is switched off for the
call. (It still keeps its own small settings file in ``~/.totalsegmentator``.)
"""

from __future__ import annotations

import contextlib
import io
from collections.abc import Iterator, Mapping
from importlib import import_module
from types import ModuleType
from typing import Any
from unittest import mock

import numpy as np

from radvlm.errors import FileFormatError, GridError, InputError, MissingPackageError, StructureError
from radvlm.files.optional import importing
from radvlm.types.geometry import Geometry, to_canonical
from radvlm.types.label_scheme import Scheme, SchemeEntry, scheme_named, structure_from_name
from radvlm.types.provenance import Decision
from radvlm.types.segmentation import LabelPlace, Segmentation
from radvlm.types.volume import Volume

_DEVICES = ("auto", "cpu", "gpu", "mps")


def segment_with_totalsegmentator(
    volume: Volume, *, task: str = "total", fast: bool = False, device: str = "auto", allow_download: bool = False
) -> Segmentation:
    """Run one TotalSegmentator task on a CT.

    Args:
        task: a task of the package, such as ``total``, ``liver_segments``, ``lung_nodules``.
        fast: the 3 mm model of ``total`` (faster, coarser).
        device: ``auto`` (a CUDA GPU when there is one, else CPU), ``cpu``, ``gpu``, ``gpu:1`` ... or ``mps``.
        allow_download: let the package download weights that are missing. Their licences differ by task.

    Raises:
        MissingPackageError: the package, its weights or the licence of a task are not installed.
        InputError: an unknown device. StructureError: an unknown task.
    """
    scheme = scheme_named("totalsegmentator" if task == "total" else task)
    if device not in _DEVICES and not (device.startswith("gpu:") and device[4:].isdigit()):
        raise InputError("device is auto, cpu, gpu, gpu:N or mps", repr(device))
    api = _package()
    image = _as_image(volume)
    where = _auto_device() if device == "auto" else device
    with _quiet_and_offline(allow_download, task):
        result = api.totalsegmentator(image, output=None, ml=True, fast=fast, task=task, device=where, quiet=True)
    result = result[0] if isinstance(result, tuple) else result
    labels = _labels_on(result, volume.geometry)
    used = _checked_scheme(scheme, task)
    decision = Decision(
        "segment",
        f"Masks by TotalSegmentator {_version()}, task {task}{', fast' if fast else ''}, on {where}. {scheme.licence}.",
    )
    return _segmentation(labels, used, volume.geometry, decision)


def _package() -> ModuleType:
    with importing("TotalSegmentator", "the TotalSegmentator package is installed"):
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
def _quiet_and_offline(allow_download: bool, task: str) -> Iterator[None]:
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
        try:
            yield
        except SystemExit as error:
            last = printed.getvalue().strip().splitlines()
            raise MissingPackageError(
                f"TotalSegmentator can run the task {task}",
                last[-1].strip() if last else f"it stopped with {error.code}",
                "Some tasks need a licence number: see `totalseg_set_license`",
            ) from error


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


def _segmentation(labels: np.ndarray, scheme: Scheme, geometry: Geometry, decision: Decision) -> Segmentation:
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
    return Segmentation((labels,), places, scheme.searched, geometry, scheme.name, decisions=(decision,))


def _version() -> str:
    from importlib.metadata import PackageNotFoundError, version

    try:
        return version("TotalSegmentator")
    except PackageNotFoundError:
        return "(version unknown)"

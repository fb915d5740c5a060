"""Merlin's published files: opened key for key, never unpickled, and converted once to safetensors.

Weights are mapped, not read, so opening the 28 GB report file costs what is used of it, and no base model is fetched
only to be overwritten. A converted folder keeps the trunk of the image encoder in a file named by its digest, so
checkpoints with equal trunks share it on disk and, by that digest, in memory. A hub id needs a commit, not a branch:
what was loaded yesterday is what is loaded today. Nothing is downloaded unless ``offline=False``.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from types import MappingProxyType
from typing import Any

from safetensors.torch import save_file
from torch import Tensor

from radvlm.errors import FileFormatError, InputError
from radvlm.files.atomic import sha256_of, whole_file, write_text
from radvlm.model.hub import commit_of, fetch, is_hub_id
from radvlm.model.merlin.image import LAYOUTS, bare_keys, published_layout
from radvlm.model.merlin.layout import (
    ADAPTER_PREFIX,
    HEAD_KEYS,
    LANGUAGE_PREFIX,
    PUBLISHED_SHAPE,
    TEXT_PREFIX,
    MerlinShape,
    check_keys,
    expected_keys,
    layout_of,
)
from radvlm.model.tensor_files import read_tensors, tensor_digest
from radvlm.types.provenance import SourceFile

#: Task -> published file. ``report_two_stage`` is the older report file (its encoder was trained in two stages).
FILES: Mapping[str, str] = MappingProxyType(
    {
        "default": "i3_resnet_clinical_longformer_best_clip_04-02-2024_23-21-36_epoch_99.pt",
        "five_year": "resnet_clinical_longformer_five_year_disease_prediction.pt",
        "report": "resnet_gpt2_best_stanford_report_generation_average_mtl.pt",
        "report_two_stage": "resnet_gpt2_best_stanford_report_generation_average.pt",
    }
)
MANIFEST = "manifest.json"
_FORMAT, _VERSION = "radvlm-merlin", 1
_SHARD_BYTES = 2 << 30


@dataclass(frozen=True, eq=False)
class MerlinCheckpoint:
    """One published checkpoint, checked key for key; tensors are mapped from the file.

    Attributes:
        layout: ``default``, ``five_year`` or ``report``.
        state: published key -> tensor, as stored.
        shape: sizes of the networks.
        source: the published file: name, bytes, sha256.
        revision: commit of the hub repository, "" for a file of unknown origin.
        stored_trunk_digest: from a manifest; "" when it was not converted.
    """

    layout: str
    state: Mapping[str, Tensor]
    shape: MerlinShape
    source: SourceFile
    revision: str = ""
    stored_trunk_digest: str = ""

    @cached_property
    def image(self) -> Mapping[str, Tensor]:
        """Image encoder under its own names (``conv1.weight`` ...)."""
        return bare_keys(self.state)

    @property
    def trunk(self) -> Mapping[str, Tensor]:
        """The image encoder without its heads."""
        return {key: value for key, value in self.image.items() if not key.startswith(HEAD_KEYS)}

    @property
    def text(self) -> Mapping[str, Tensor]:
        """Text encoder and projection; empty but for the default layout."""
        return _below(self.state, TEXT_PREFIX)

    @property
    def adapter(self) -> Mapping[str, Tensor]:
        """``linear2.weight`` and ``linear2.bias`` of the report layout."""
        return _below(self.state, ADAPTER_PREFIX)

    @property
    def language(self) -> Mapping[str, Tensor]:
        """Language model of the report layout, keys as peft names them."""
        return _below(self.state, LANGUAGE_PREFIX)

    @cached_property
    def trunk_digest(self) -> str:
        """``tensor_digest`` of the trunk: equal digests mean one encoder pass serves both checkpoints."""
        return self.stored_trunk_digest or tensor_digest(self.trunk)


def open_checkpoint(
    source: str | Path,
    task: str | None = None,
    *,
    revision: str | None = None,
    offline: bool = True,
    sha256: str | None = None,
    shape: MerlinShape | None = None,
) -> MerlinCheckpoint:
    """Open a published checkpoint, in whichever form it is at hand.

    Args:
        source: a ``.pt`` or ``.safetensors`` file; a folder written by ``convert``; a folder with files of the
            published names; or a hub id such as ``stanfordmimi/Merlin``.
        task: key of ``FILES``. A file tells its own; a folder or hub id gives ``default`` when it is left out.
        revision: for a hub id, the commit (40 hex digits); required.
        offline: use only what is in the local hub cache.
        sha256: of the published file; refused when it differs.
        shape: sizes other than the published ones; a converted folder knows its own.

    Raises InputError for an unknown task or a revision that is no commit; MissingPackageError for weights that are not
    cached or a hub that cannot be reached; FileFormatError for a file that is damaged, holds code, or has other keys.
    """
    if task is not None and task not in FILES:
        raise InputError(f"a task is one of {', '.join(FILES)}", repr(task))
    path = Path(source)
    if path.is_dir() and (path / MANIFEST).is_file():
        checkpoint = _open_converted(path, task or "default", shape)
    else:
        commit = ""
        if path.is_dir():
            path = _published_file(path, task or "default")
        elif is_hub_id(source):
            commit = commit_of(str(source), revision)
            path = fetch(str(source), FILES[task or "default"], commit, offline=offline)
        state = read_tensors(path)
        layout = layout_of(state)
        wanted = None if task is None else _layout(task)
        if layout is None or wanted not in (None, layout):
            layout = wanted or layout or "default"
        check_keys(state, expected_keys(layout, shape or PUBLISHED_SHAPE), path.name)
        checkpoint = MerlinCheckpoint(layout, state, shape or PUBLISHED_SHAPE, source_file(path), commit)
    if sha256 is not None and checkpoint.source.sha256 != sha256.lower():
        raise FileFormatError(
            "the file has the digest that was asked for",
            f"{checkpoint.source.name}: sha256 {checkpoint.source.sha256}, expected {sha256}",
            "Fetch it again from where you trust it",
        )
    return checkpoint


def is_merlin(source: str | Path) -> bool:
    """Whether a name or path is to be loaded by ``MerlinModel.load``: a hub id of Merlin, a folder with its published
    files or a manifest of ``convert``, or a single checkpoint file. Nothing is downloaded, and a file is not opened.
    """
    path = Path(source)
    if (path / MANIFEST).is_file():
        return _FORMAT in (path / MANIFEST).read_text(encoding="utf-8")
    if path.is_dir():
        return bool(tasks_at(path))
    return path.suffix in (".pt", ".safetensors") if path.is_file() else str(source).casefold().endswith("/merlin")


def tasks_at(source: str | Path) -> tuple[str, ...]:
    """Tasks whose weights are in a folder (converted, or with the published files), in the order of ``FILES``."""
    folder = Path(source)
    if (folder / MANIFEST).is_file():
        return tuple(task for task in FILES if task in _manifest(folder)["tasks"])
    return tuple(task for task, name in FILES.items() if (folder / name).is_file())


def convert(
    checkpoint: str | Path | MerlinCheckpoint,
    folder: str | Path,
    *,
    task: str | None = None,
    revision: str | None = None,
    offline: bool = True,
    shape: MerlinShape | None = None,
) -> Path:
    """Write a checkpoint as safetensors into ``folder``, beside others that were converted there before.

    ``manifest.json`` records for each task: the source file with its sha256, the revision, the digest of all tensors,
    and every file with its sha256. A trunk that is there already is not written again. Where a conversion fails, what
    was in the folder before is there as it was. Returns the folder.

    Arguments are those of ``open_checkpoint``. Raises in addition InputError when the disk is too small, when a weight
    is not finite, and when the folder holds checkpoints of other sizes.
    """
    if not isinstance(checkpoint, MerlinCheckpoint):
        checkpoint = open_checkpoint(checkpoint, task, revision=revision, offline=offline, shape=shape)
    task = task or next((t for t, name in FILES.items() if name == checkpoint.source.name), checkpoint.layout)
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    manifest: dict[str, Any] = (
        _manifest(folder)
        if (folder / MANIFEST).is_file()
        else {"format": _FORMAT, "version": _VERSION, "shape": asdict(checkpoint.shape), "tasks": {}}
    )
    if MerlinShape.from_dict(manifest["shape"]) != checkpoint.shape:
        raise InputError("checkpoints in one folder have the same sizes", str(folder), "Convert into another folder")
    needed, free = sum(_bytes(t) for t in checkpoint.state.values()), shutil.disk_usage(folder).free
    if needed > free:
        raise InputError("the disk holds the converted file", f"{needed / 1e9:.1f} GB, free {free / 1e9:.1f} GB")
    _refuse_not_finite(checkpoint)
    trunk_name = f"trunk-{checkpoint.trunk_digest[:16]}.safetensors"
    trunk_keys = set(published_layout(checkpoint.trunk, checkpoint.layout))
    shards = list(_shards({key: value for key, value in checkpoint.state.items() if key not in trunk_keys}))
    digest = tensor_digest(checkpoint.state)
    # the name says the content, so that no file of a checkpoint that is there is ever written over
    parts = {
        f"{task}-{digest[:16]}-{number:05}-of-{len(shards):05}.safetensors": shard
        for number, shard in enumerate(shards, 1)
    }
    if not _holds(folder / trunk_name, checkpoint.trunk_digest):
        parts[trunk_name] = dict(checkpoint.trunk)
    before = manifest["tasks"].get(task, {"files": {}})["files"]
    new = [folder / name for name in parts if not (folder / name).exists()]
    try:
        for name, part in parts.items():
            with whole_file(folder / name) as beside:
                save_file({key: value.contiguous().clone() for key, value in part.items()}, beside)
        files = {name: source_file(folder / name) for name in sorted({trunk_name, *parts})}
        manifest["tasks"][task] = _entry(checkpoint, digest, trunk_name, files)
        write_text(folder / MANIFEST, json.dumps(manifest, indent=2) + "\n")
    except BaseException:
        for path in new:
            path.unlink(missing_ok=True)
        raise
    named = {name for entry in manifest["tasks"].values() for name in entry["files"]}
    for name in set(before) - named:
        (folder / name).unlink(missing_ok=True)
    return folder


def _entry(
    checkpoint: MerlinCheckpoint, digest: str, trunk_name: str, files: Mapping[str, SourceFile]
) -> dict[str, Any]:
    """What the manifest says of one task."""
    return {
        "layout": checkpoint.layout,
        "revision": checkpoint.revision,
        "source": {
            "name": checkpoint.source.name,
            "size_bytes": checkpoint.source.size_bytes,
            "sha256": checkpoint.source.sha256,
        },
        "tensors": len(checkpoint.state),
        "tensor_digest": digest,
        "trunk": trunk_name,
        "trunk_digest": checkpoint.trunk_digest,
        "files": {name: {"size_bytes": file.size_bytes, "sha256": file.sha256} for name, file in files.items()},
    }


def verify_folder(folder: str | Path) -> tuple[str, ...]:
    """Read every file of a converted folder again and compare sha256; the tasks that are intact.

    Raises FileFormatError that names the first file that differs.
    """
    folder = Path(folder)
    tasks = _manifest(folder)["tasks"]
    for name, entry in {name: entry for t in tasks.values() for name, entry in t["files"].items()}.items():
        found = source_file(folder / name).sha256
        if found != entry["sha256"]:
            raise FileFormatError(
                "a file has the digest of its manifest", f"{name}: sha256 {found}", "Convert it again"
            )
    return tuple(tasks)


def source_file(path: Path) -> SourceFile:
    """Name, size and sha256 of a file; FileFormatError when it is not there."""
    try:
        return SourceFile(path.name, path.stat().st_size, sha256_of(path))
    except OSError as error:
        raise FileFormatError("a checkpoint can be read", f"{path.name}: {error.strerror}") from error


def _open_converted(folder: Path, task: str, shape: MerlinShape | None) -> MerlinCheckpoint:
    manifest = _manifest(folder)
    entry = manifest["tasks"].get(task)
    if entry is None:
        raise InputError("the folder holds that task", repr(task), f"It holds: {', '.join(manifest['tasks'])}")
    own = MerlinShape.from_dict(manifest["shape"])
    if shape not in (None, own):
        raise InputError("a converted folder has the sizes that were asked for", str(folder), "Leave shape out")
    state: dict[str, Tensor] = {}
    for name, facts in entry["files"].items():
        path = folder / name
        if path.name != name or not path.is_file() or path.stat().st_size != facts["size_bytes"]:
            raise FileFormatError("the files of a manifest are there, whole", f"{name} in {folder}", "Convert again")
        tensors = read_tensors(path)
        state |= published_layout(tensors, entry["layout"]) if name == entry["trunk"] else tensors
    check_keys(state, expected_keys(entry["layout"], own), str(folder))
    return MerlinCheckpoint(
        entry["layout"], state, own, SourceFile(**entry["source"]), entry["revision"], entry["trunk_digest"]
    )


def _manifest(folder: Path) -> dict[str, Any]:
    try:
        data = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
        if data["format"] != _FORMAT or data["version"] != _VERSION:
            raise FileFormatError(
                f"the manifest is {_FORMAT} version {_VERSION}",
                f"{data['format']} version {data['version']}",
                "Convert the published file again",
            )
        for entry in data["tasks"].values():
            if entry["layout"] not in LAYOUTS or not {"files", "trunk", "source", "revision"} <= set(entry):
                raise KeyError("layout")
    except FileFormatError:
        raise
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise FileFormatError(
            "the folder holds the manifest that convert wrote",
            f"{folder / MANIFEST}: {error!r}",
            "Convert the published file again",
        ) from error
    return data


def _published_file(folder: Path, task: str) -> Path:
    path = folder / FILES[task]
    if not path.is_file():
        raise FileFormatError(
            f"the folder holds the published file of task {task}",
            f"no {path.name} in {folder}",
            "Give the file itself if it has another name",
        )
    return path


def _layout(task: str) -> str:
    return "report" if task.startswith("report") else task


def _below(state: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {key.removeprefix(prefix): value for key, value in state.items() if key.startswith(prefix)}


def _bytes(tensor: Tensor) -> int:
    return tensor.numel() * tensor.element_size()


def _refuse_not_finite(checkpoint: MerlinCheckpoint) -> None:
    odd = [key for key, value in checkpoint.state.items() if value.is_floating_point() and not value.isfinite().all()]
    if odd:
        raise FileFormatError(
            "weights are finite",
            f"{checkpoint.source.name}: {len(odd)} tensors, such as {odd[0]}",
            "The file is damaged; fetch it again",
        )


def _shards(state: Mapping[str, Tensor]) -> Iterator[dict[str, Tensor]]:
    """Parts of at most 2 GB (or one tensor), so that a conversion needs no more memory than that."""
    shard: dict[str, Tensor] = {}
    for key, value in state.items():
        if shard and sum(map(_bytes, shard.values())) + _bytes(value) > _SHARD_BYTES:
            yield shard
            shard = {}
        shard[key] = value
    if shard:
        yield shard


def _holds(path: Path, digest: str) -> bool:
    """Whether the file is there and its tensors have that digest."""
    try:
        return path.is_file() and tensor_digest(read_tensors(path)) == digest
    except FileFormatError:
        return False

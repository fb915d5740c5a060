"""The recipe of a model as frozen dataclasses; the YAML holds values only, and unknown keys are refused."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, fields
from itertools import combinations
from pathlib import Path
from typing import Any, get_args, get_origin, get_type_hints

import yaml

from radvlm.errors import InputError
from radvlm.train.loop import LoopConfig


@dataclass(frozen=True)
class CorpusConfig:
    """Labeled scans of one use.

    Attributes:
        folder: where the cases are, relative to the output folder or absolute.
        seeds: (first, one past the last) of the phantoms to make where they are missing; None to use what is there.
        crowded: share of phantoms with 6 to 8 kinds of findings. reports: seeds from here on get the report of
            the masks.
        noise_hu, spacing_mm, left_out: as in ``radvlm.workflows.phantom_corpus.CorpusOptions``.
    """

    folder: str
    seeds: tuple[int, int] | None = None
    crowded: float = 0.0
    reports: int | None = None
    noise_hu: tuple[float, float] = (5.0, 16.0)
    spacing_mm: float | None = 3.0
    left_out: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if not self.folder:
            raise InputError("a corpus has a folder", repr(self.folder))
        if self.seeds is not None and not (len(self.seeds) == 2 and 0 <= self.seeds[0] < self.seeds[1]):
            raise InputError("seeds are the first and one past the last", str(self.seeds))
        if not 0 <= self.crowded <= 1:
            raise InputError("crowded is a share from 0 to 1", str(self.crowded))
        if len(self.noise_hu) != 2 or not 0 <= self.noise_hu[0] <= self.noise_hu[1]:
            raise InputError("noise_hu is the lowest and the highest standard deviation", str(self.noise_hu))


@dataclass(frozen=True)
class EncoderShape:
    """Size of the pyramid; see ``radvlm.model.tiny.encoder.PyramidConfig``."""

    spacing_mm: float = 3.0
    channels: tuple[int, ...] = (24, 48, 80, 112, 128)
    blocks: tuple[int, ...] = (1, 2, 2, 1, 1)
    width: int = 32
    embedding: int = 256
    hidden: int = 96


@dataclass(frozen=True)
class DecoderShape:
    """Size of the text base and of its adapters."""

    vocabulary: int = 1400
    hidden: int = 160
    layers: int = 4
    heads: int = 4
    feed_forward: int = 448
    context: int = 1024
    lora_rank: int = 16
    lora_alpha: float = 32.0


@dataclass(frozen=True)
class Batch:
    """Cases of one step; for voxel crops their size in voxels and the findings that are drawn more often."""

    size: int
    crop: tuple[int, int, int] | None = None
    often: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if self.size < 1:
            raise InputError("a batch has at least one case", str(self.size))
        if self.crop is not None and (len(self.crop) != 3 or any(n < 2 or n % 2 for n in self.crop)):
            raise InputError("a crop has three even sizes in voxels: maps are on twice the spacing", str(self.crop))


@dataclass(frozen=True)
class TrainConfig:
    """A whole recipe. ``name`` is the model's, ``notice`` is shown wherever it speaks."""

    name: str
    notice: str
    trained_on: str
    seed: int
    threads: int
    voxel_scans: CorpusConfig
    head_scans: CorpusConfig
    validation_scans: CorpusConfig
    encoder: EncoderShape
    decoder: DecoderShape
    voxels: LoopConfig
    voxel_batch: Batch
    heads: LoopConfig
    head_batch: Batch
    base: LoopConfig
    base_batch: Batch
    instruct: LoopConfig
    instruct_batch: Batch

    def __post_init__(self) -> None:
        if not self.name.strip() or not self.notice.strip():
            raise InputError("a recipe names its model and says how far to trust it", f"{self.name!r}, {self.notice!r}")
        if self.threads < 1:
            raise InputError("a run has at least one thread", str(self.threads))
        corpora = {n: getattr(self, n) for n in ("voxel_scans", "head_scans", "validation_scans")}
        for name, corpus in corpora.items():
            if corpus.seeds and corpus.spacing_mm != self.encoder.spacing_mm:
                raise InputError(
                    "phantoms are made on the grid on which the encoder looks",
                    f"{name} {corpus.spacing_mm} mm, encoder {self.encoder.spacing_mm} mm",
                )
        for (one, a), (other, b) in combinations(corpora.items(), 2):
            if Path(a.folder) == Path(b.folder):
                raise InputError(
                    "each use of scans has a folder of its own, or validation would be on training scans",
                    f"{one} and {other}: {a.folder}",
                )
            if a.seeds and b.seeds and max(a.seeds[0], b.seeds[0]) < min(a.seeds[1], b.seeds[1]):
                raise InputError("no phantom has two uses", f"{one} {a.seeds} and {other} {b.seeds}", "Part the seeds")

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> TrainConfig:
        """Read a YAML; InputError for an unknown or missing key, naming it."""
        file = Path(path)
        try:
            data = yaml.safe_load(file.read_text(encoding="utf-8"))
        except (OSError, yaml.YAMLError) as error:
            raise InputError("a recipe is a YAML file", f"{file.name}: {error}", "See configs/tiny.yaml") from error
        if not isinstance(data, dict):
            raise InputError("a recipe is a mapping", type(data).__name__, "See configs/tiny.yaml")
        return cls(**_values(cls, data, "recipe"))


_NESTED = {
    "voxel_scans": CorpusConfig,
    "head_scans": CorpusConfig,
    "validation_scans": CorpusConfig,
    "encoder": EncoderShape,
    "decoder": DecoderShape,
    "voxels": LoopConfig,
    "heads": LoopConfig,
    "base": LoopConfig,
    "instruct": LoopConfig,
    "voxel_batch": Batch,
    "head_batch": Batch,
    "base_batch": Batch,
    "instruct_batch": Batch,
}


def _values(cls: type, data: Mapping[str, Any], where: str) -> dict[str, Any]:
    known = {f.name for f in fields(cls)}
    unknown = sorted(str(key) for key in set(data) - known)
    if unknown:
        raise InputError(f"keys of the {where} are {', '.join(sorted(known))}", ", ".join(unknown))
    hints = get_type_hints(cls)
    out: dict[str, Any] = {}
    for key, value in data.items():
        if cls is TrainConfig and key in _NESTED:
            if not isinstance(value, dict):
                raise InputError(f"{key} is a mapping", type(value).__name__)
            out[key] = _made(_NESTED[key], _values(_NESTED[key], value, key), key)
        else:
            out[key] = tuple(value) if isinstance(value, list) else value
            if not _fits(out[key], hints[key]):
                kind = str(getattr(hints[key], "__name__", hints[key]))
                remedy = "YAML reads 2e-3 as text; write 2.0e-3 or 0.002" if isinstance(value, str) else ""
                raise InputError(f"{key} of the {where} is {kind}", repr(value), remedy)
    if cls is TrainConfig:
        missing = sorted(known - set(out))
        if missing:
            raise InputError("a recipe has every part", f"missing {', '.join(missing)}", "See configs/tiny.yaml")
    return out


def _fits(value: Any, hint: Any) -> bool:
    """Whether a value from YAML is of the type that a field states; a whole number is a float too."""
    kinds = get_args(hint)
    if get_origin(hint) is tuple:
        if not isinstance(value, tuple):
            return False
        wanted = kinds[:1] * len(value) if kinds[-1] is ... else kinds
        return len(wanted) == len(value) and all(_fits(v, k) for v, k in zip(value, wanted, strict=True))
    if kinds:  # a union
        return any(_fits(value, kind) for kind in kinds)
    if isinstance(value, bool):
        return hint is bool
    return isinstance(value, (int, float) if hint is float else hint)


def _made(cls: type, values: dict[str, Any], where: str) -> Any:
    try:
        return cls(**values)
    except TypeError as error:
        raise InputError(f"{where} has its required keys", str(error)) from error

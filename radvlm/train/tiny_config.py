"""The recipe of a model as frozen dataclasses."""

from __future__ import annotations

import os
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path

from radvlm.errors import InputError
from radvlm.files.settings import read_settings
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
        """Read a YAML file; InputError for what is no such recipe, as in ``radvlm.files.settings``."""
        return read_settings(cls, path, "a recipe", "See configs/tiny.yaml")

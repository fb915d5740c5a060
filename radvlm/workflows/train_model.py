"""From a recipe file to a model: makes the phantoms that are missing, then trains.

A join: ``radvlm.train`` knows labeled scans but not where they come from, and ``radvlm.phantom`` knows no network.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from radvlm.errors import InputError
from radvlm.files.optional import importing

if TYPE_CHECKING:
    from radvlm.train.tiny_config import CorpusConfig

Progress = Callable[[str], None]


def train_model(
    recipe: str | os.PathLike[str],
    output: str | os.PathLike[str],
    *,
    resume: bool = False,
    progress: Progress | None = None,
) -> Path:
    """Run a recipe (configs/tiny.yaml, or one of the kinds ``tokens`` and ``preference``); returns ``output/model``.

    Args:
        resume: go on in a folder that an earlier run left; without it the folder must be empty or new.

    Raises InputError for a recipe that does not follow the format, and for a folder in use; MissingPackageError without
    PyTorch.
    """
    with importing("torch", "training needs PyTorch and the packages around it"):
        from radvlm.train.tiny_config import TrainConfig
        from radvlm.train.tiny_run import run
        from radvlm.train.tokens_config import recipe_kind

    kind = recipe_kind(recipe)
    if kind == "tokens":
        return _train_tokens(Path(recipe), Path(output), resume, progress)
    if kind == "preference":
        return _train_preference(Path(recipe), Path(output), resume, progress)
    config = TrainConfig.load(recipe)
    place = Path(output)
    _check_new(place, resume)
    tell = progress or (lambda _: None)
    for name in ("voxel_scans", "head_scans", "validation_scans"):
        _make_scans(name, getattr(config, name), place, config.threads, tell)
    return run(config, place, progress=tell)


def _check_new(output: Path, resume: bool) -> None:
    if not resume and output.is_dir() and any(output.iterdir()):
        raise InputError(
            "training starts in a new folder", f"{output.name} is not empty", "Pass --resume or another -o"
        )


def _make_scans(name: str, corpus: CorpusConfig, place: Path, workers: int, tell: Progress) -> None:
    """The phantoms of a corpus that are missing; nothing for a corpus without seeds."""
    from radvlm.train.stages import corpus_folder
    from radvlm.workflows.phantom_corpus import CorpusOptions, write_corpus

    if corpus.seeds is None:
        return

    def report(done: int, of: int) -> None:
        tell(f"{name.replace('_', ' ')} {done}/{of}")

    first, end = corpus.seeds
    border = end if corpus.reports is None else min(max(corpus.reports, first), end)
    for seeds, reports in ((range(first, border), False), (range(border, end), True)):
        if seeds:
            write_corpus(
                corpus_folder(corpus.folder, place),
                seeds,
                CorpusOptions(corpus.spacing_mm, corpus.noise_hu, corpus.crowded, corpus.left_out, reports),
                workers=workers,
                progress=report,
            )


def _train_preference(recipe: Path, output: Path, resume: bool, progress: Progress | None) -> Path:
    """A finished model taught to read prior texts and to prefer the scan; its path starts at the recipe's folder."""
    from radvlm.train.preference import PreferenceConfig, run_preference

    config = PreferenceConfig.load(recipe)
    _check_new(output, resume)
    tell = progress or (lambda _: None)
    for name in ("scans", "fact_scans"):
        corpus = getattr(config, name)
        if corpus is not None:
            _make_scans(name, corpus, output, config.threads, tell)
    return run_preference(config, output, folder=recipe.resolve().parent, progress=progress)


def _train_tokens(recipe: Path, output: Path, resume: bool, progress: Progress | None) -> Path:
    """A recipe on a user's own table of scans; paths in it start at its folder. Safe under ``accelerate launch``."""
    from radvlm.io import load_segmentation, load_volume
    from radvlm.train.tokens_config import TokensConfig
    from radvlm.train.tokens_run import run_tokens
    from radvlm.types.provenance import cautions
    from radvlm.types.segmentation import Segmentation
    from radvlm.types.volume import Volume, doubts_of

    config = TokensConfig.load(recipe)
    main = os.environ.get("RANK", "0") == "0"
    _check_new(output, resume or not main)

    tell = progress or (lambda _: None)

    def scan_of(path: Path) -> Volume:
        scan = load_volume(path)
        for what in doubts_of(scan):
            tell(f"CAUTION, {path.name}: {what}")
        return scan

    def masks(path: Path, scan: Volume) -> Segmentation:
        chosen, accepted = config.data.scheme or None, config.data.accept_misplaced
        found = load_segmentation(path, like=scan, scheme=chosen, accept_misplaced=accepted)
        for what in cautions(found.decisions):
            tell(f"CAUTION, {path.name}: {what}")
        return found

    return run_tokens(
        config,
        output,
        load_volume=scan_of,
        load_masks=masks,
        folder=recipe.resolve().parent,
        progress=progress if main else None,
    )

"""A token model from a recipe: self-supervision, contrast, adapter, instruction, calibration, saving.

Nothing here knows how a scan is read; ``radvlm.workflows.train_model`` passes ``load_volume`` and
``load_masks``. As with ``run``, each stage leaves a file and a stage whose file is there is not done again. On
several processes everything is computed everywhere and only the main process writes.
"""

from __future__ import annotations

import csv
import os
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from radvlm.errors import InputError
from radvlm.model.adapters.text_towers import TextTower
from radvlm.model.adapters.token_encoder import LABELS, TokenEncoder, load_start
from radvlm.model.calibration import fit, fit_pooled
from radvlm.model.decoder.causal_lm import Decoder
from radvlm.model.decoder.prompts import MARKERS
from radvlm.model.decoder.tokenizer import train_tokenizer
from radvlm.model.tokens.model import UNCALIBRATED_ZERO_SHOT, LabelTerm, TokensModel, TokensSettings
from radvlm.model.tokens.visual_prefix import TokenWriter, VisualPrefix
from radvlm.train.contrastive import ContrastiveBatches, ContrastiveParts, validation_loss
from radvlm.train.data import StudyTable, label_arrays, load_table
from radvlm.train.draws import Draws
from radvlm.train.gather import processes
from radvlm.train.instruct import FrozenScans, TokenInstructBatches, token_lessons, validation_score
from radvlm.train.language import BaseBatches
from radvlm.train.loop import LoopConfig, run_stage
from radvlm.train.plots import plot_losses
from radvlm.train.prepared import LoadMasks, LoadVolume, PreparedScans
from radvlm.train.selfsupervised import SelfSupervisedBatches, SelfSupervisedParts
from radvlm.train.stages import Minutes, Progress, kept_decoder
from radvlm.train.throughput import Throughput, forward_flops
from radvlm.train.tokens_config import TokensConfig
from radvlm.wording.sentences import capital

#: Fewest positive and fewest negative known labels, over all labels, of a calibration.
CALIBRATED_FROM = 5


class _Run:
    """One run of a recipe: what every stage needs."""

    def __init__(
        self,
        config: TokensConfig,
        output: Path,
        tell: Progress,
        load_volume: LoadVolume,
        load_masks: LoadMasks | None,
        folder: Path,
    ) -> None:
        self.config, self.output, self.tell, self.folder = config, output, tell, folder
        self.device = _device(config.hardware.device)
        self.terms = _terms(config, folder)
        data = config.data
        table = load_table(folder / data.table, root=folder / data.root if data.root else None)
        self.table = _with_labels(table, self.terms)
        self.train = table.split("train", validation=data.validation, test=data.test, seed=config.seed)
        self.held = table.split("validation", validation=data.validation, test=data.test, seed=config.seed)
        if not self.train:
            raise InputError("the training part has at least one patient", "none", "Lower validation and test")
        self.scans = PreparedScans(
            config.input, load_volume, load_masks=load_masks, organs=config.organs, cache=output / data.cache
        )
        self.minutes = Minutes(output / "minutes.json")
        self.flops: int | None = None

    def draws(self, size: int, number: int, *, with_flops: bool = True) -> Draws:
        """Batches of the stage with that number, whose seed is its own; the speed is measured."""
        flops = None if self.flops is None or not with_flops else 3 * self.flops
        speed = Throughput(size * processes()[1], flops, self.config.hardware.peak_tflops if with_flops else None)
        return Draws(size, self.config.seed + number, self.device, speed)

    def stage(
        self,
        name: str,
        module: torch.nn.Module,
        batches: Any,
        loop: LoopConfig,
        validate: Callable[[], float] | None = None,
    ) -> None:
        def progress(line: str) -> None:
            measured = batches.draws.throughput if hasattr(batches, "draws") else None
            speed = measured.words() if measured else ""
            self.tell(f"{line}; {speed}" if speed else line)

        module.to(self.device)
        with self.minutes(name):
            run_stage(
                name,
                module,
                batches,
                loop,
                self.output,
                validate=validate if self.held else None,
                progress=progress,
                device=self.device,
            )
        if processes()[0] == 0:
            plot_losses(self.output)


def run_tokens(
    config: TokensConfig,
    output: Path,
    *,
    load_volume: LoadVolume,
    load_masks: LoadMasks | None = None,
    folder: Path | None = None,
    progress: Progress | None = None,
) -> Path:
    """Train and save; returns ``output/model``.

    Args:
        load_volume, load_masks: open a scan by its path, and masks by theirs on the grid of an open scan.
        folder: where relative paths of the recipe start; None for the current folder.

    Raises InputError for a recipe, a table or a scan that breaks a rule, and for a loss that is not finite.
    """
    tell = progress or (lambda _: None)
    output.mkdir(parents=True, exist_ok=True)
    torch.set_num_threads(config.hardware.threads)
    run = _Run(config, output, tell, load_volume, load_masks, folder or Path())
    encoder, text = make_encoder(config, run.terms, folder or Path()), TextTower(_text(config, folder or Path()))
    shape = config.input.shape
    run.flops = None if shape is None else forward_flops(encoder.trunk, (1, 1, *shape))
    if run.flops:
        tell(f"encoder: {run.flops / 1e9:.4g} GFLOP a forward pass of one scan")
    tell(f"{len(run.train)} studies to train on, {len(run.held)} for validation, {len(run.terms)} labels")
    _selfsupervised(run, encoder)
    _contrastive(run, encoder, text)
    writer = _writing(run, encoder)
    settings = _settings(run, encoder, text)
    model = TokensModel(encoder, text, settings, writer=writer, organs=config.organs)
    target = output / "model"
    if processes()[0] == 0:
        model.save_pretrained(target)
    if processes()[1] > 1:
        torch.distributed.barrier()
    return target


def make_encoder(config: TokensConfig, terms: Sequence[LabelTerm], folder: Path) -> TokenEncoder:
    """The encoder of the recipe: random weights from the seed, or what ``start`` holds."""
    shape = replace(
        config.encoder,
        labels=len(terms),
        seed=config.seed,
        folder=str(folder / config.encoder.folder) if config.encoder.folder else "",
    )
    slices_start = config.encoder.kind == "slices" and config.start == config.encoder.folder
    encoder = TokenEncoder(shape, config.input, random_weights=not slices_start)
    if config.start and not slices_start:
        load_start(encoder, folder / config.start)
    return encoder


def _selfsupervised(run: _Run, encoder: TokenEncoder) -> None:
    config = run.config
    if config.selfsupervised is None:
        return
    parts = SelfSupervisedParts(encoder, config.selfsupervision, seed=config.seed + 1)
    for layer in (encoder.project, encoder.organ_project, encoder.classify):  # heads that this stage does not use
        if layer is not None:
            layer.requires_grad_(False)
    draws = run.draws(config.selfsupervised_batch.size, 2)
    batches = SelfSupervisedBatches(parts, run.train, run.scans, draws, augment=config.augment)
    run.stage("selfsupervised", parts, batches, config.selfsupervised)
    encoder.requires_grad_(True)


def _contrastive(run: _Run, encoder: TokenEncoder, text: TextTower) -> None:
    config = run.config
    if config.contrastive is None:
        return
    parts = ContrastiveParts(encoder, text)
    names = [t.name for t in run.terms]
    size = config.contrastive_batch.size
    draws, weights = run.draws(size, 3), config.weights
    batches = ContrastiveBatches(parts, run.train, run.scans, names, draws, weights=weights, augment=config.augment)
    held = None
    if len({s.patient for s in run.held}) >= 2:
        quiet = replace(draws, throughput=None)
        held = ContrastiveBatches(parts, run.held, run.scans, names, quiet, weights=weights)

    def validate() -> float:
        assert held is not None
        return -validation_loss(
            held,
            batch=config.contrastive_batch.validate or size,
            precision=config.contrastive.precision,  # type: ignore[union-attr]
        )

    run.stage("contrastive", parts, batches, config.contrastive, validate if held else None)


def _writing(run: _Run, encoder: TokenEncoder) -> TokenWriter | None:
    config = run.config
    if config.adapter is None:
        return None
    encoder.requires_grad_(False)
    encoder.eval().to(run.device)
    lessons = token_lessons(run.train)
    decoder = _decoder(run, [f"{x.prompt} {x.target}" for x in lessons])
    decoder.requires_grad_(False)
    writing = config.writing
    writer = TokenWriter(VisualPrefix(writing.prefix, encoder.channels, decoder.width, len(config.organs)), decoder)
    if writing.checkpointing:
        decoder.use_gradient_checkpointing()
    frozen = FrozenScans(encoder, run.scans, run.output / config.data.cache, precision=config.adapter.precision)
    asked = token_lessons(run.held) if any(s.text or s.questions for s in run.held) else []

    def batches(size: int, number: int) -> TokenInstructBatches:
        return TokenInstructBatches(
            writer,
            frozen,
            run.train,
            lessons,
            run.draws(size, number, with_flops=False),
            hide_regions=writing.hide_regions,
            longest=writing.longest,
        )

    plain = Draws(config.adapter_batch.size, 0, run.device)
    judged = TokenInstructBatches(writer, frozen, run.held, asked, plain, longest=writing.longest)

    def validate() -> float:
        return validation_score(judged, asked)

    checked = validate if asked else None
    run.stage("adapter", writer, batches(config.adapter_batch.size, 4), config.adapter, checked)
    if config.instruct is not None:
        decoder.add_lora(writing.lora)
        if writing.checkpointing:
            decoder.use_gradient_checkpointing()
        run.stage("instruct", writer, batches(config.instruct_batch.size, 5), config.instruct, checked)
    return writer


def _decoder(run: _Run, texts: Sequence[str]) -> Decoder:
    """The local base of the recipe, or a new small one that reads the training reports first."""
    config, writing = run.config, run.config.writing
    if writing.folder:
        return Decoder.from_pretrained(run.folder / writing.folder, dtype=getattr(torch, writing.dtype))

    def make() -> Decoder:
        tokenizer = train_tokenizer(texts, vocab_size=writing.vocabulary, specials=MARKERS)
        decoder = Decoder.new_llama(tokenizer, writing.shape, seed=config.seed + 6)
        if config.base is not None:
            batches = BaseBatches(decoder, texts, batch=config.adapter_batch.size, seed=config.seed + 6)
            run.stage("base", decoder, batches, config.base)
        return decoder

    return kept_decoder(run.output / "base", make)


def _settings(run: _Run, encoder: TokenEncoder, text: TextTower) -> TokensSettings:
    """Calibration and thresholds from the validation part alone; None where it is too small."""
    config = run.config
    encoder.eval().to(run.device)
    text.eval().to(run.device)
    calibration = zero_shot = None
    truth, known = label_arrays(run.held, [t.name for t in run.terms])
    positives, negatives = int((truth & known).sum()), int((~truth & known).sum())
    if min(positives, negatives) >= CALIBRATED_FROM:
        logits, embeddings = _outputs(run, encoder)
        calibration = fit([t.name for t in run.terms], logits, truth, known=known)
        zero_shot = _zero_shot(run, text, embeddings, truth, known)
    sections = sorted({key for s in run.train for key in s.sections}) if config.adapter else []
    return TokensSettings(
        config.name,
        config.notice,
        config.trained_on,
        run.terms,
        tuple(sections),
        calibration,
        zero_shot,
        {
            "seed": config.seed,
            "minutes": run.minutes.held,
            "studies": [len(run.train), len(run.held)],
            "processes": processes()[1],
        },
    )


@torch.no_grad()
def _outputs(run: _Run, encoder: TokenEncoder) -> tuple[np.ndarray, np.ndarray]:
    logits, embeddings = [], []
    for study in run.held:
        out = encoder(run.scans(study).image[None].to(run.device))
        logits.append(out.logits(LABELS)[0].float().cpu().numpy())
        embeddings.append(out.embedding[0].float().cpu().numpy())
    return np.stack(logits), np.stack(embeddings)


@torch.no_grad()
def _zero_shot(
    run: _Run, text: TextTower, embeddings: np.ndarray, truth: np.ndarray, known: np.ndarray
) -> tuple[float, float, float, float]:
    if run.config.contrastive is None:
        return UNCALIBRATED_ZERO_SHOT
    words = [t.words for t in run.terms]
    positive = text.encode([f"{capital(w)}." for w in words])
    direction = (positive - text.encode([f"No {w}." for w in words])).cpu().numpy()
    scores = embeddings @ direction.T  # (N, F)
    return fit_pooled(scores, truth, known)


def _terms(config: TokensConfig, folder: Path) -> tuple[LabelTerm, ...]:
    if not config.data.labels:
        return config.labels
    file = folder / config.data.labels
    try:
        with file.open(encoding="utf-8-sig", newline="") as stream:
            rows = list(csv.DictReader(stream))
        return tuple(LabelTerm(r["name"], r["words"], r["section"], r.get("site") or "") for r in rows)
    except (OSError, KeyError, UnicodeDecodeError, csv.Error) as error:
        raise InputError(
            "a list of labels is CSV with name, words, section, site", f"{file.name}: {error!r}"
        ) from error


def _with_labels(table: StudyTable, terms: Sequence[LabelTerm]) -> StudyTable:
    missing = [t.name for t in terms if t.name not in table.labels]
    if missing:
        raise InputError(
            "every label of the recipe is a column of the table",
            f"no column for {', '.join(missing[:5])}",
            f"The table has {', '.join(table.labels[:8]) or 'no label columns'}",
        )
    return table


def _text(config: TokensConfig, folder: Path) -> Any:
    text = config.text
    return replace(
        text,
        folder=str(folder / text.folder) if text.folder else "",
        start=str(folder / text.start) if text.start else "",
    )


def _device(wanted: str) -> str:
    """cpu, or this process's GPU; several processes are joined here (``accelerate launch`` set their environment)."""
    from accelerate import PartialState

    if wanted == "cuda" and not torch.cuda.is_available():
        raise InputError("the device exists", "cuda, and no CUDA device is available", "Set hardware.device to auto")
    device = "cpu" if wanted == "cpu" or not torch.cuda.is_available() else "cuda"
    if int(os.environ.get("WORLD_SIZE", "1")) > 1:
        PartialState(cpu=device == "cpu")
    return device

"""RAG-PT for 3D: a finished model learns to read prior texts, then to prefer the scan to them (DPO on an adapter).

The two sides of a pair may differ in the *scan* and not in the text, so each has evidence tokens of its own in front of
one prompt. trl's ``DPOTrainer`` takes token ids alone and gives both sides the same prompt, so the loss (sigmoid DPO,
Rafailov et al. 2023, arXiv:2305.18290, with trl's optional cross entropy of the chosen side) is computed here; a test
holds it against trl's. The reference policy is the same network with the adapter switched off.

Two stages, each a LoRA adapter on the frozen base: ``hints`` (supervised; the evidence tokens learn with it, answers
and facts are among the lessons so that nothing is unlearned), merged; then ``preference``, the adapter alone. Encoder,
findings and their probabilities stay untouched.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from radvlm.dataset.case import Case, Corpus
from radvlm.errors import InputError
from radvlm.files.settings import read_settings
from radvlm.model.decoder.causal_lm import IGNORED, Decoder, LoraSettings, TextBatch
from radvlm.model.decoder.prior_text import hinted_prompt
from radvlm.model.registry import load_model
from radvlm.model.tiny.model import TableModel
from radvlm.model.tiny.writer import ReportWriter, logits_of
from radvlm.train.draws import generator
from radvlm.train.heads import Tables, evidence_tables
from radvlm.train.language import LONGEST, Lesson, Lessons, lesson_loss, make_lessons
from radvlm.train.loop import LoopConfig, run_stage
from radvlm.train.pairs import KINDS, Pair, Pairs
from radvlm.train.stages import Progress, corpus_folder
from radvlm.train.tiny_config import CorpusConfig

#: Scans with a report of their masks that facts lessons are taken from, and scans that answers are taken from: they
#: only keep what was learned before.
FACT_CASES, ANSWER_CASES = 60, 150


@dataclass(frozen=True)
class PreferenceConfig:
    """A recipe of the kind ``preference``.

    Attributes:
        model: name or folder of the finished model (``tiny``); relative folders start at the recipe.
        scans: labeled scans whose findings and texts teach; best those that the voxel head was not trained on.
        fact_scans: scans with reports of their masks, so that the model goes on copying measurements; None for none.
        hints, hints_batch: the supervised stage. preference, preference_batch: DPO; a batch counts pairs.
        beta: of DPO. keep: weight of the cross entropy of the chosen text beside it.
        shares: of the kinds of pairs, in the order of ``radvlm.train.pairs.KINDS``.
    """

    name: str
    notice: str
    model: str
    scans: CorpusConfig
    hints: LoopConfig
    preference: LoopConfig
    kind: str = "preference"
    seed: int = 0
    threads: int = 2
    fact_scans: CorpusConfig | None = None
    hints_batch: int = 24
    preference_batch: int = 12
    beta: float = 0.1
    keep: float = 1.0
    shares: tuple[float, ...] = (0.2, 0.15, 0.3, 0.25, 0.1)
    lora: LoraSettings = field(default_factory=LoraSettings)

    def __post_init__(self) -> None:
        if self.kind != "preference":
            raise InputError("the kind of this recipe is preference", repr(self.kind))
        if not self.beta > 0 or self.keep < 0 or self.threads < 1:
            raise InputError(
                "beta is above 0, keep is not negative, threads is at least 1",
                f"{self.beta}, {self.keep}, {self.threads}",
            )
        if self.hints_batch < 1 or self.preference_batch < 1:
            raise InputError("a batch has at least one row", f"{self.hints_batch}, {self.preference_batch}")
        if len(self.shares) != len(KINDS) or min(self.shares) < 0 or not sum(self.shares) > 0:
            raise InputError(f"shares are one not negative number for each of {', '.join(KINDS)}", str(self.shares))

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> PreferenceConfig:
        """Read a YAML file; InputError for what is no such recipe, as in ``radvlm.files.settings``."""
        return read_settings(cls, path, "a recipe", "See configs/tiny-preference.yaml and docs/training.md")


# -- the loss --------------------------------------------------------------------------------------------------------


def sequence_log_probability(decoder: Decoder, prefix: Tensor | None, batch: TextBatch) -> Tensor:
    """Log probability (B,) of each target with its end token, summed over its tokens, in float32."""
    logits, labels = decoder.target_logits(prefix, batch)
    return -F.cross_entropy(logits.transpose(1, 2), labels, ignore_index=IGNORED, reduction="none").sum(dim=1)


def dpo_loss(
    chosen: Tensor, rejected: Tensor, reference_chosen: Tensor, reference_rejected: Tensor, beta: float
) -> tuple[Tensor, Tensor]:
    """(mean loss, margin (B,)): -log sigmoid(beta * margin), margin = (log ratio of chosen) - (that of rejected)."""
    margin = (chosen - reference_chosen) - (rejected - reference_rejected)
    return -F.logsigmoid(beta * margin).mean(), margin


class PreferenceBatches:
    """Loss of the adapter at a step, on pairs of every kind."""

    def __init__(
        self,
        writer: ReportWriter,
        pairs: Pairs,
        tables: Tensor,
        logits: Tensor,
        names: Sequence[str],
        config: PreferenceConfig,
    ) -> None:
        self.writer, self.pairs, self.tables, self.logits = writer, pairs, tables, logits
        self.names, self.config = list(names), config
        self.shares = np.array(config.shares) / sum(config.shares)

    def __call__(self, step: int) -> dict[str, Tensor]:
        rng = generator(self.config.seed + 2, step)
        drawn = [
            self.pairs.draw(str(kind), rng) for kind in rng.choice(KINDS, self.config.preference_batch, p=self.shares)
        ]
        return self.loss(drawn)

    def loss(self, pairs: Sequence[Pair]) -> dict[str, Tensor]:
        """Loss, its parts, and the share of pairs whose chosen side is preferred."""
        both = self.prefix([p.case for p in pairs], [("", -1)] * len(pairs))
        other = self.prefix([p.rejected_case for p in pairs], [(p.swapped, p.donor) for p in pairs])
        prefix = torch.cat([both, other])
        decoder = self.writer.decoder
        batch = decoder.text_batch(
            [p.prompt for p in pairs] + [p.rejected_prompt for p in pairs],
            [f" {p.chosen}" for p in pairs] + [f" {p.rejected}" for p in pairs],
        )
        now = sequence_log_probability(decoder, prefix, batch)
        with torch.no_grad(), decoder.model.disable_adapter():
            before = sequence_log_probability(decoder, prefix, batch)
        half = len(pairs)
        loss, margin = dpo_loss(now[:half], now[half:], before[:half], before[half:], self.config.beta)
        tokens = (batch.labels[:half] != IGNORED).sum()
        kept = -now[:half].sum() / tokens  # mean over the tokens, as trl's "sft" part
        return {
            "loss": loss + self.config.keep * kept,
            "dpo": loss,
            "kept": kept,
            "preferred": (margin > 0).float().mean(),
        }

    def prefix(self, rows: Sequence[int], swaps: Sequence[tuple[str, int]]) -> Tensor:
        """Evidence tokens (B, classes, width) of some scans; a swap takes one finding's evidence from another."""
        table, logits = self.tables[list(rows)].clone(), self.logits[list(rows)].clone()
        for n, (finding, donor) in enumerate(swaps):
            if finding:
                column = self.names.index(finding)
                row = table.shape[1] - len(self.names) + column  # findings stand after the anatomy
                table[n, row], logits[n, column] = self.tables[donor, row], self.logits[donor, column]
        return self.writer.prefix(table, logits)


class HintBatches:
    """Loss of the supervised stage: sections with hints, and among them answers and facts as they were taught."""

    def __init__(
        self,
        writer: ReportWriter,
        pairs: Pairs,
        lessons: Lessons,
        tables: Tensor,
        logits: Tensor,
        *,
        batch: int,
        seed: int,
    ) -> None:
        self.writer, self.pairs, self.lessons = writer, pairs, lessons
        self.tables, self.logits = tables, logits
        self.batch, self.seed = batch, seed
        turns = ("hints", "answers", "hints", "facts", "hints")
        self.turns = [t for t in turns if t == "hints" or getattr(lessons, t)]

    def __call__(self, step: int) -> dict[str, Tensor]:
        rng = generator(self.seed, step)
        turn = self.turns[step % len(self.turns)]
        rows = self._rows(turn, rng)
        loss = lesson_loss(self.writer, rows, self.tables, self.logits)
        return {"loss": loss, turn: loss}

    def _rows(self, turn: str, rng: np.random.Generator) -> list[Lesson]:
        if turn == "hints":
            return [self.pairs.lesson(rng) for _ in range(self.batch)]
        held: Sequence[Lesson] = getattr(self.lessons, turn)
        size = self.batch if turn == "answers" else max(1, self.batch // 4)
        rows = [held[int(n)] for n in rng.integers(0, len(held), 4 * size)]
        rows = [x for x in rows if len(x.prompt) + len(x.target) < 5 * LONGEST][:size] or rows[:1]
        if turn == "facts":  # half of them with hints, which must change no number
            hinted = [
                hinted_prompt([self.pairs.lesson(rng, 1.0).target], x.prompt) if n % 2 else x.prompt
                for n, x in enumerate(rows)
            ]
            rows = [replace(x, prompt=prompt) for x, prompt in zip(rows, hinted, strict=True)]
        return rows


# -- the run ---------------------------------------------------------------------------------------------------------


def run_preference(config: PreferenceConfig, output: Path, *, folder: Path, progress: Progress | None = None) -> Path:
    """Both stages; returns ``output/model``. ``output/hinted`` is the model before preference tuning, to compare.

    Args:
        folder: that relative paths of the recipe start from.

    A stage that is done is not done again. Raises InputError for a model that is not of the kind of ``tiny`` and for an
    empty corpus, FileFormatError for a damaged one.
    """
    tell = progress or (lambda _: None)
    output.mkdir(parents=True, exist_ok=True)
    torch.set_num_threads(config.threads)
    model = _start(config, folder)
    tables, extra = _evidence(config, model, output, tell)
    values = torch.cat([tables.values, extra.values])
    logits = logits_of(model.encoder.reader, values)
    with torch.inference_mode():
        embeddings = model.encoder.reader(tables.values)[1].numpy()
    pairs = Pairs(tables.cases, embeddings)
    writer = model.writer
    for parameter in writer.decoder.parameters():
        parameter.requires_grad_(False)
    writer.decoder.add_lora(replace(config.lora, seed=config.seed))
    lessons = _held_lessons(tables.cases, extra.cases, config.seed)
    batches = HintBatches(writer, pairs, lessons, values, logits, batch=config.hints_batch, seed=config.seed + 1)
    run_stage("hints", writer, batches, config.hints, output, progress=tell)
    writer.decoder.merge()
    settings = replace(model.settings, name=config.name, notice=config.notice, uses_hints=True)
    hinted = TableModel(model.encoder, model.text, writer, replace(settings, name=f"{config.name} before preference"))
    hinted.save_pretrained(output / "hinted")
    for parameter in writer.parameters():
        parameter.requires_grad_(False)
    writer.decoder.add_lora(replace(config.lora, seed=config.seed + 1))
    liked = PreferenceBatches(writer, pairs, values, logits, model.encoder.config.findings, config)
    run_stage("preference", writer, liked, config.preference, output, progress=tell)
    training = {
        **settings.training,
        "preference": {
            "scans": len(tables.cases),
            "beta": config.beta,
            "hints_steps": config.hints.steps,
            "preference_steps": config.preference.steps,
        },
    }
    tuned = TableModel(model.encoder, model.text, writer, replace(settings, training=training))
    return tuned.save_pretrained(output / "model")


def _start(config: PreferenceConfig, folder: Path) -> TableModel:
    place = folder / config.model
    model = load_model(place if place.is_dir() else config.model)
    if not isinstance(model, TableModel):
        raise InputError(
            "preference tuning starts from a model of the kind of tiny",
            type(model).__name__,
            "Models around a token encoder are not served yet",
        )
    if model.uses_hints:
        raise InputError(
            "preference tuning starts from a model that has not been shown hints",
            model.name,
            "Pass the model from before",
        )
    spacing = model.encoder.config.spacing_mm
    for corpus in (config.scans, config.fact_scans):
        if corpus is not None and corpus.seeds is not None and corpus.spacing_mm != spacing:
            raise InputError(
                "phantoms are made on the grid on which the encoder looks",
                f"{corpus.folder} {corpus.spacing_mm} mm, encoder {spacing} mm",
            )
    return model


def _evidence(config: PreferenceConfig, model: TableModel, output: Path, tell: Progress) -> tuple[Tables, Tables]:
    """Evidence of both corpora; its files bear the digest of the weights, so that none outlives its model."""
    found = []
    for name, corpus in (("scans", config.scans), ("facts", config.fact_scans)):
        cases = [] if corpus is None else list(Corpus(corpus_folder(corpus.folder, output)))
        if name == "facts":
            cases = [c for c in cases if c.report is not None][:FACT_CASES]
        file = output / f"evidence.{name}.{model.digest[:12]}.safetensors"
        found.append(evidence_tables(model.encoder, cases, file, precision="bfloat16", progress=tell))
    return found[0], found[1]


def _held_lessons(cases: Sequence[Case], extra: Sequence[Case], seed: int) -> Lessons:
    """Answers of some scans, answers and facts of those with reports; the evidence of these stands after all others."""
    first, second = make_lessons(cases[:ANSWER_CASES], seed=seed), make_lessons(extra, seed=seed)
    answers = (*first.answers, *(replace(x, case=x.case + len(cases)) for x in second.answers))
    return Lessons((), answers, tuple(replace(x, case=x.case + len(cases)) for x in second.facts))

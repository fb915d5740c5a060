"""A recipe from labeled scans to a model folder: voxels, heads, text base, instruction, calibration.

Every stage leaves a file, and a stage whose file is there is not done again, so a run that was stopped goes on
where it was. Calibration, thresholds and the limit of what is familiar come from validation scans alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch

from radvlm.dataset.case import Case, Corpus
from radvlm.dataset.prompts import prompts
from radvlm.dataset.questions import balanced, questions, subjects
from radvlm.dataset.sentences import TINY_SECTIONS, report_text
from radvlm.dataset.vocabulary import anatomy_classes, part_classes, voxel_classes
from radvlm.errors import InputError
from radvlm.model.calibration import Calibration, fit, fit_pooled
from radvlm.model.decoder.causal_lm import Decoder, LlamaShape, LoraSettings
from radvlm.model.decoder.fusion import EvidenceConfig
from radvlm.model.decoder.generation import best_answers
from radvlm.model.decoder.prompts import MARKERS, question_prompt, seen_text
from radvlm.model.decoder.tokenizer import train_tokenizer
from radvlm.model.hashed_text import HashedTextConfig, HashedTextEncoder
from radvlm.model.questions import Subjects
from radvlm.model.tiny.encoder import PyramidConfig, PyramidEncoder, context_names
from radvlm.model.tiny.model import Settings, TableModel, Term, strangeness
from radvlm.model.tiny.writer import ReportWriter, logits_of, with_logits
from radvlm.train.heads import HeadBatches, Heads, Tables, evidence_tables
from radvlm.train.language import BaseBatches, InstructBatches, Lessons, make_lessons, plain_texts
from radvlm.train.loop import run_stage
from radvlm.train.plots import plot_losses
from radvlm.train.stages import Minutes, Progress, corpus_folder, kept_decoder
from radvlm.train.tiny_config import TrainConfig
from radvlm.train.voxels import Crops, LabeledScan, voxel_loss
from radvlm.types.finding_kinds import finding_kinds
from radvlm.types.records import record_from

#: Scans with a report of their masks that facts are taken from; more say the same again.
FACT_CASES = 150
#: Validation scans whose distance may be larger than the limit of what is familiar.
UNFAMILIAR_SHARE = 0.01
#: Weight of the recall of reports beside the two AUROCs when the best state of the heads is chosen.
RECALL_WEIGHT = 0.3


def run(config: TrainConfig, output: Path, *, progress: Progress | None = None) -> Path:
    """Train and save; the corpora must be there. Returns the model folder ``output/model``.

    Raises InputError for an empty corpus and for a loss that is not finite.
    """
    tell = progress or (lambda _: None)
    output.mkdir(parents=True, exist_ok=True)
    torch.set_num_threads(config.threads)
    minutes = Minutes(output / "minutes.json")
    encoder = make_encoder(config)
    with minutes("voxels"):
        _voxels(config, encoder, output, tell)
    taught = (
        *Corpus(corpus_folder(config.head_scans.folder, output)),
        *Corpus(corpus_folder(config.voxel_scans.folder, output)),
    )
    held_cases = Corpus(corpus_folder(config.validation_scans.folder, output))
    with minutes("evidence"):
        tables = evidence_tables(
            encoder,
            taught,
            output / "evidence.heads.safetensors",
            precision="bfloat16",
            workers=config.threads,
            progress=tell,
        )
        held = evidence_tables(
            encoder,
            held_cases,
            output / "evidence.validation.safetensors",
            precision="bfloat16",
            workers=config.threads,
            progress=tell,
        )
    with minutes("heads"):
        heads = _heads(config, encoder, tables, held, output, tell)
    with minutes("language"):
        writer, lessons = _language(config, encoder, tables, output, tell)
    with minutes("calibration"):
        settings = _settings(config, encoder, heads, writer, held, lessons, minutes)
    plot_losses(output)
    model = TableModel(encoder, heads.text, writer, settings)
    return model.save_pretrained(output / "model")


def make_encoder(config: TrainConfig) -> PyramidEncoder:
    """The encoder of the recipe with weights from its seed."""
    terms = finding_kinds()
    torch.manual_seed(config.seed)
    shape = config.encoder
    return PyramidEncoder(
        PyramidConfig(
            shape.spacing_mm,
            shape.channels,
            shape.blocks,
            shape.width,
            tuple(anatomy_classes()),
            tuple(terms),
            tuple(t.parent_class for t in terms.values()),
            part_classes(),
            tuple(context_names()),
            embedding=shape.embedding,
            hidden=shape.hidden,
        )
    )


def _voxels(config: TrainConfig, encoder: PyramidEncoder, output: Path, tell: Progress) -> None:
    network = encoder.voxels.to(memory_format=torch.channels_last_3d)
    if (output / "voxels.done.pt").exists():
        run_stage("voxels", network, lambda _: {}, config.voxels, output)
        return
    scans = [LabeledScan.open(case.folder) for case in Corpus(corpus_folder(config.voxel_scans.folder, output))]
    crop = config.voxel_batch.crop or (128, 96, 80)
    crops = Crops(
        scans,
        encoder.config,
        voxel_classes(),
        shape=crop,
        batch=config.voxel_batch.size,
        seed=config.seed + 1,
        often=config.voxel_batch.often,
    )
    run_stage("voxels", network, lambda step: voxel_loss(network, crops(step)), config.voxels, output, progress=tell)


def _heads(
    config: TrainConfig, encoder: PyramidEncoder, tables: Tables, held: Tables, output: Path, tell: Progress
) -> Heads:
    torch.manual_seed(config.seed + 2)
    encoder.reader.fit_scale(tables.values)
    heads = Heads(encoder.reader, HashedTextEncoder(HashedTextConfig(embedding=config.encoder.embedding)))
    batches = HeadBatches(heads, tables, encoder.config, batch=config.head_batch.size, seed=config.seed + 3)
    truth = np.stack([c.findings for c in held.cases])
    reports = [report_text(c, n, "varied") for n, c in enumerate(held.cases)]

    def validate() -> float:
        with torch.inference_mode():
            logits, embedding, _ = encoder.reader(held.values)
            asked = prompt_scores(heads.text, encoder.config.findings, embedding.numpy())
            recall = recall_of_own_report(embedding.numpy(), heads.text.encode(reports).numpy())
        return (macro_auroc(logits.numpy(), truth) + macro_auroc(asked, truth) + RECALL_WEIGHT * recall) / 2

    run_stage("heads", heads, batches, config.heads, output, validate=validate, progress=tell)
    return heads


def _language(
    config: TrainConfig, encoder: PyramidEncoder, tables: Tables, output: Path, tell: Progress
) -> tuple[ReportWriter, Lessons]:
    lessons, values = make_lessons(tables.cases, seed=config.seed, fact_cases=FACT_CASES), tables.values
    decoder = _base(config, tables.cases, lessons, output, tell)
    decoder.add_lora(LoraSettings(rank=config.decoder.lora_rank, alpha=config.decoder.lora_alpha))
    logits = logits_of(encoder.reader, values)
    torch.manual_seed(config.seed + 5)
    writer = ReportWriter(
        decoder,
        EvidenceConfig(n_classes=values.shape[1], n_features=values.shape[2] + 1, width=decoder.width, hidden=192),
    )
    writer.tokens.set_statistics(with_logits(values, logits))
    batches = InstructBatches(writer, lessons, values, logits, batch=config.instruct_batch.size, seed=config.seed + 6)
    run_stage("instruct", writer, batches, config.instruct, output, progress=tell)
    return writer, lessons


def _base(config: TrainConfig, cases: Sequence[Case], lessons: Lessons, output: Path, tell: Progress) -> Decoder:
    """The small Llama of the recipe after it has read reports and lessons without their images."""
    shape = config.decoder

    def make() -> Decoder:
        texts = plain_texts(cases, lessons)
        llama = LlamaShape(
            hidden=shape.hidden,
            layers=shape.layers,
            heads=shape.heads,
            feed_forward=shape.feed_forward,
            context=shape.context,
        )
        tokenizer = train_tokenizer(texts, vocab_size=shape.vocabulary, specials=MARKERS)
        decoder = Decoder.new_llama(tokenizer, llama, seed=config.seed + 4)
        batches = BaseBatches(decoder, texts, batch=config.base_batch.size, seed=config.seed + 4)
        run_stage("base", decoder, batches, config.base, output, progress=tell)
        return decoder

    return kept_decoder(output / "base", make)


def _settings(
    config: TrainConfig,
    encoder: PyramidEncoder,
    heads: Heads,
    writer: ReportWriter,
    held: Tables,
    lessons: Lessons,
    minutes: Minutes,
) -> Settings:
    encoder.eval()
    heads.eval()
    writer.eval()
    truth = np.stack([c.findings for c in held.cases])
    known = np.stack([c.known for c in held.cases])
    with torch.inference_mode():
        logits, embedding, _ = encoder.reader(held.values)
    calibration = fit(encoder.config.findings, logits.numpy(), truth, known=known)
    return Settings(
        name=config.name,
        notice=config.notice,
        trained_on=config.trained_on,
        terms=tuple(_term(n) for n in encoder.config.findings),
        sections=TINY_SECTIONS,
        calibration=calibration,
        zero_shot=_zero_shot(heads, encoder.config.findings, embedding.numpy(), truth, known),
        answer_temperature=_temperature(writer, held, logits, calibration),
        familiar=_familiar(encoder, held),
        training={
            "seed": config.seed,
            "minutes": minutes.held,
            "voxel_scans": config.voxel_scans.seeds,
            "head_scans": config.head_scans.seeds,
            "validation_scans": config.validation_scans.seeds,
            "lessons": [len(lessons.sections), len(lessons.answers), len(lessons.facts)],
        },
        subjects=record_from(Subjects, subjects()),
    )


def _term(name: str) -> Term:
    kind = finding_kinds()[name]
    return Term(kind.name, kind.words, kind.section, kind.site, kind.sided, kind.structure, kind.parent_class)


def _zero_shot(
    heads: Heads, names: Sequence[str], embedding: np.ndarray, truth: np.ndarray, known: np.ndarray
) -> tuple[float, float, float, float]:
    """Slope, offset and the two thresholds of a text's score, from training wordings on validation scans."""
    scores = prompt_scores(heads.text, names, embedding)
    return fit_pooled(scores, truth, known)


def prompt_scores(
    text: HashedTextEncoder, names: Sequence[str], embedding: np.ndarray, split: str = "train"
) -> np.ndarray:
    """embedding (N, D) -> (N, findings): along the wordings of present minus those of absent."""
    scores = []
    with torch.inference_mode():
        for name in names:
            held = prompts(name, split)
            scores.append(embedding @ (text.encode(held.positive).mean(0) - text.encode(held.negative).mean(0)).numpy())
    return np.stack(scores, 1)


def recall_of_own_report(image: np.ndarray, text: np.ndarray, block: int = 100) -> float:
    """Share of scans (N, D) whose own report (N, D) is the nearest among ``block``; of all, where there are fewer."""
    size = min(block, len(image))
    starts = range(0, len(image) - size + 1, size)
    hits = [np.argmax(image[s : s + size] @ text[s : s + size].T, axis=1) == np.arange(size) for s in starts]
    return float(np.mean(hits))


def _temperature(
    writer: ReportWriter, held: Tables, logits: torch.Tensor, calibration: Calibration, most: int = 240
) -> float:
    """Temperature of yes/no answers with the least negative log likelihood on validation questions.

    The prompts list what the encoder sees in these scans, by its calibrated thresholds.
    """
    seen = calibration.probability(logits.numpy()) >= np.array(calibration.present_from)
    words = [kind.words for kind in finding_kinds().values()]
    pool = [q for c in held.cases for q in questions(c, 0, "train") if set(q.choices) == {"Yes", "No"}]
    asked = balanced(pool, 0)[:most]
    row = {c.name: n for n, c in enumerate(held.cases)}
    odds, right = [], []
    with torch.inference_mode():
        for q in asked:
            prefix = writer.prefix(held.values[row[q.case]][None], logits[row[q.case]][None])
            lines = seen_text([(w, ()) for w, there in zip(words, seen[row[q.case]], strict=True) if there])
            p = dict(best_answers(writer.decoder, prefix, question_prompt(q.text, lines), ("Yes", "No")))["Yes"]
            odds.append(np.log(max(p, 1e-9) / max(1 - p, 1e-9)))
            right.append(q.answer == "Yes")
    x, y = np.array(odds), np.array(right, float)
    grid = np.geomspace(0.25, 8, 60)
    loss = [np.logaddexp(0, -(2 * y - 1) * x / t).mean() for t in grid]
    return float(grid[int(np.argmin(loss))])


def _familiar(encoder: PyramidEncoder, held: Tables) -> float:
    return float(np.quantile(strangeness(encoder, held.values), 1 - UNFAMILIAR_SHARE) * 1.25)


def macro_auroc(scores: np.ndarray, truth: np.ndarray) -> float:
    """Mean over findings with both kinds of cases of the probability that a positive outranks a negative."""
    values = []
    for s, t in zip(scores.T, truth.T, strict=True):
        positive, negative = s[t > 0], s[t == 0]
        if positive.size and negative.size:
            wins = (positive[:, None] > negative).mean() + 0.5 * (positive[:, None] == negative).mean()
            values.append(wins)
    if not values:
        raise InputError("AUROC needs positive and negative cases", "none for any finding", "Use more validation scans")
    return float(np.mean(values))

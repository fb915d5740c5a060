"""From kept evidence to findings and to text: BCE of findings, InfoNCE of reports, prompts, and organs.

The voxel network is frozen and every scan passes it once; what is learned here works on the evidence tables,
also those of the scans that the voxel head was trained on: it saw a dozen crops of each, and separates the findings in
them no better than in others (macro AUROC of its peaks 0.901 against 0.899 on validation phantoms).
Merlin's recipe (reports and phenotypes together) plus organ-level pairs, in which two normal organs are no negatives of
each other (the idea of fVLM).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from radvlm.dataset.case import Case
from radvlm.dataset.prompts import prompts
from radvlm.dataset.sentences import organ_text, organs, report_text, sentence_of
from radvlm.files.atomic import whole_file
from radvlm.model.hashed_text import HashedTextEncoder
from radvlm.model.precision import computing
from radvlm.model.tiny.encoder import FEATURES, EvidenceReader, PyramidConfig, PyramidEncoder, evidence
from radvlm.train.draws import generator

#: Reports of one step.
REPORTS = 40
#: Rows of a batch that texts of reports and organs belong to; organs of the others are swapped, each with this chance.
WITH_TEXTS, SWAPPED, AORTA = 48, 0.4, "aorta"
#: Share of prompts that are sentences of reports instead of one of the few written for training, which are soon known
#: by heart: with them and more scans, wordings of evaluation were understood far better (docs/tiny.md).
LOOSE = 0.5
#: Weight of each loss.
FINDINGS, REPORT, PROMPT, ORGAN = 1.0, 0.5, 0.7, 0.3
#: Reports that are written for a case, and noise on its evidence as a share of the spread of each entry.
REPORT_VARIANTS, JITTER = 4, 0.15


@dataclass(frozen=True)
class Tables:
    """Evidence (N, classes, features) of the scans of ``cases``, in their order."""

    cases: tuple[Case, ...]
    values: Tensor


def evidence_tables(
    encoder: PyramidEncoder,
    cases: Sequence[Case],
    file: Path,
    *,
    precision: str = "float32",
    workers: int = 1,
    progress: Callable[[str], None] | None = None,
) -> Tables:
    """One pass of the voxel network over every scan; kept in ``file`` (safetensors) and read from there again.

    ``workers``: processes of one thread each; two of them took 0.6 of the time of one process with two threads.
    """
    from safetensors.torch import load_file, save_file

    kept: dict[str, Tensor] = load_file(file) if file.exists() else {}
    missing = [case for case in cases if case.name not in kept]
    encoder.eval()
    for n, (name, table) in enumerate(_passes(encoder, missing, precision, workers), 1):
        kept[name] = table
        if n % 50 == 0 or n == len(missing):
            with whole_file(file) as beside:
                save_file(kept, beside)
            if progress:
                progress(f"evidence {n}/{len(missing)}")
    rows = [kept[case.name] for case in cases]
    shape = (0, len(encoder.config.classes), encoder.config.columns)
    return Tables(tuple(cases), torch.stack(rows) if rows else torch.zeros(shape))


def _passes(
    encoder: PyramidEncoder, cases: Sequence[Case], precision: str, workers: int
) -> Iterator[tuple[str, Tensor]]:
    """Name and table of each case, in order."""
    if workers < 2 or len(cases) < 2 * workers:
        for case in cases:
            yield case.name, _one_pass(encoder, case, precision)
        return
    context = get_context("spawn")  # a forked process would share the locks of this one's threads
    with ProcessPoolExecutor(workers, context, _set_up, (encoder, precision)) as pool:
        for case, table in zip(cases, pool.map(_pass_of, [case.folder for case in cases], chunksize=4), strict=True):
            yield case.name, torch.from_numpy(table)


def _one_pass(encoder: PyramidEncoder, case: Case, precision: str) -> Tensor:
    hu = torch.from_numpy(np.asarray(case.hu, np.float32))[None, None]
    with torch.inference_mode(), computing(precision, "cpu"):
        maps, _ = encoder.voxels(hu)
    return evidence(maps, hu, encoder.config)[0].clone()


_WORKER: dict[str, Any] = {}


def _set_up(encoder: PyramidEncoder, precision: str) -> None:
    torch.set_num_threads(1)
    _WORKER.update(encoder=encoder, precision=precision)


def _pass_of(folder: Path) -> np.ndarray:
    return _one_pass(_WORKER["encoder"], Case(folder), _WORKER["precision"]).numpy()


class Heads(nn.Module):
    """What the stage trains: reader, text encoder and three temperatures."""

    def __init__(self, reader: EvidenceReader, text: HashedTextEncoder) -> None:
        super().__init__()
        self.reader, self.text = reader, text
        self.scale = nn.Parameter(torch.tensor([2.7, 2.7, 2.7]))  # log of: reports, prompts, organs
        self.prompt_bias = nn.Parameter(torch.zeros(()))


class HeadBatches:
    """Loss of the stage at a step; texts are written once per case and style."""

    def __init__(self, heads: Heads, tables: Tables, config: PyramidConfig, *, batch: int, seed: int) -> None:
        self.heads, self.tables, self.config = heads, tables, config
        self.batch, self.seed = batch, seed
        self.truth = torch.tensor(np.stack([c.findings for c in tables.cases]), dtype=torch.float32)
        self.known = torch.tensor(np.stack([c.known for c in tables.cases]), dtype=torch.float32)
        self.reports = [
            [report_text(c, n, "varied" if n % 3 else "plain") for n in range(REPORT_VARIANTS)] for c in tables.cases
        ]
        self.organ_names = tuple(organs())
        self.members = torch.tensor([[float(f in organs()[o]) for f in config.findings] for o in self.organ_names])
        self.organ_texts = [[organ_text(c, o, n) for o in self.organ_names] for n in range(2) for c in tables.cases]
        self.prompts = [prompts(f, "train") for f in config.findings]

    def __call__(self, step: int) -> dict[str, Tensor]:
        rng = generator(self.seed, step)
        rows = rng.choice(len(self.tables.cases), min(self.batch, len(self.tables.cases)), replace=False)
        pick = torch.from_numpy(rows)
        reader = self.heads.reader
        table, truth, known = self._swapped(self.tables.values[pick], self.truth[pick], self.known[pick], rng)
        table = table + JITTER * reader.scale * torch.randn_like(table)
        logits, embedding, shares = reader(table)
        raw = F.binary_cross_entropy_with_logits(logits, truth, reduction="none")
        found = (raw * known).sum() / known.sum() * 5
        # reports are long: every other step, twice the weight
        reports = 2 * self._reports(rows, embedding, rng) if step % 2 == 0 else embedding.sum() * 0
        asked = self._prompts(embedding, truth, known, rng)
        organ = self._organs(rows, shares, rng)
        loss = FINDINGS * found + REPORT * reports + PROMPT * asked + ORGAN * organ
        return {"loss": loss, "findings": found, "reports": reports, "prompts": asked, "organs": organ}

    def _swapped(
        self, table: Tensor, truth: Tensor, known: Tensor, rng: np.random.Generator
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Rows after ``WITH_TEXTS`` with whole organs of other scans in place of their own, labels with them.

        An organ is its row of anatomy and those of all findings in it; its donor has a like attenuation of the aorta,
        so mostly the same contrast phase. Few findings meet by chance in a scan: swapped, all meet all.
        """
        first, anatomy = WITH_TEXTS, list(self.config.anatomy)
        count = len(table) - first
        if count < 4:
            return table, truth, known
        table, truth, known = table.clone(), truth.clone(), known.clone()
        own = [t[first:].clone() for t in (table, truth, known)]
        order = (
            torch.argsort(own[0][:, anatomy.index(AORTA), FEATURES.index("mean_hu")])
            if AORTA in anatomy
            else (torch.arange(count))
        )
        for parent in dict.fromkeys(self.config.parents):
            shift = int(rng.integers(1, min(6, count))) * (1 if rng.random() < 0.5 else -1)
            donor = torch.empty(count, dtype=torch.long)
            donor[order] = torch.roll(order, shift)
            taken = torch.from_numpy(rng.random(count) < SWAPPED)
            columns = [n for n, name in enumerate(self.config.parents) if name == parent]
            for row in (anatomy.index(parent), *(len(anatomy) + n for n in columns)):
                table[first:, row] = torch.where(taken[:, None], own[0][donor, row], table[first:, row])
            for n in columns:
                truth[first:, n] = torch.where(taken, own[1][donor, n], truth[first:, n])
                known[first:, n] = torch.where(taken, own[2][donor, n], known[first:, n])
        return table, truth, known

    def _reports(self, rows: np.ndarray, embedding: Tensor, rng: np.random.Generator) -> Tensor:
        part = rows[: min(REPORTS, len(rows))]
        texts = [self.reports[n][int(rng.integers(len(self.reports[n])))] for n in part]
        encoded = self.heads.text.encode(texts)
        scores = self.heads.scale[0].exp() * embedding[: len(part)] @ encoded.T
        target = torch.arange(len(part))
        return (F.cross_entropy(scores, target) + F.cross_entropy(scores.T, target)) / 2

    def _prompts(self, embedding: Tensor, truth: Tensor, known: Tensor, rng: np.random.Generator) -> Tensor:
        positive: list[str] = []
        negative: list[str] = []
        for name, held in zip(self.config.findings, self.prompts, strict=True):
            for out, wordings, there in ((positive, held.positive, True), (negative, held.negative, False)):
                own = rng.random() >= LOOSE
                out.append(wordings[int(rng.integers(len(wordings)))] if own else sentence_of(name, there, rng))
        encoded = self.heads.text.encode([*positive, *negative])
        n = len(positive)
        direction = encoded[:n] - encoded[n:]  # (F, D)
        scores = self.heads.scale[1].exp() * embedding @ direction.T + self.heads.prompt_bias
        raw = F.binary_cross_entropy_with_logits(scores, truth, reduction="none")
        return (raw * known).sum() / known.sum() * 5

    def _organs(self, rows: np.ndarray, shares: Tensor, rng: np.random.Generator) -> Tensor:
        """InfoNCE within each organ over the batch; a pair of two normal organs is no negative."""
        part = rows[: min(WITH_TEXTS, len(rows))]
        organ = int(rng.integers(len(self.organ_names)))
        half = int(rng.integers(2)) * len(self.tables.cases)
        held = [(i, t) for i, n in enumerate(part) if (t := self.organ_texts[half + n][organ]) is not None]
        if len(held) < 4:
            return shares.sum() * 0
        image = self.heads.reader.organ_embeddings(shares[[i for i, _ in held]], self.members[organ : organ + 1])[:, 0]
        text = self.heads.text.encode([t.text for _, t in held])
        scores = self.heads.scale[2].exp() * image @ text.T
        normal = torch.tensor([t.normal for _, t in held])
        both = normal[:, None] & normal[None] & ~torch.eye(len(held), dtype=torch.bool)
        scores = scores.masked_fill(both, -1e4)
        target = torch.arange(len(held))
        return (F.cross_entropy(scores, target) + F.cross_entropy(scores.T, target)) / 2

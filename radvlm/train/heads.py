"""From kept evidence to findings and to text: BCE of findings, InfoNCE of reports, prompts, and organs.

Unusual: the voxel network is frozen and every scan passes it once; what is learnt here works on the evidence tables of
scans that the voxel head was *not* trained on, because on its own training scans it is surer than it will ever be
again.
Merlin's recipe (reports and phenotypes together) plus organ-level pairs, in which two normal organs are no negatives of
each other (the idea of fVLM).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from radvlm.dataset.case import Case
from radvlm.dataset.prompts import prompts
from radvlm.dataset.sentences import organ_text, organs, report_text
from radvlm.model.pyramid import EvidenceReader, PyramidConfig, PyramidEncoder, evidence
from radvlm.model.text import HashedTextEncoder

#: Reports of one step.
REPORTS = 40


@dataclass(frozen=True)
class Tables:
    """Evidence (N, classes, features) of the scans of ``cases``, in their order."""

    cases: tuple[Case, ...]
    values: Tensor


def evidence_tables(encoder: PyramidEncoder, cases: Sequence[Case], file: Path, *, precision: str = "float32",
                    progress: Callable[[str], None] | None = None) -> Tables:
    """One pass of the voxel network over every scan; kept in ``file`` (safetensors) and read from there again."""
    from safetensors.torch import load_file, save_file

    kept: dict[str, Tensor] = load_file(file) if file.exists() else {}
    missing = [case for case in cases if case.name not in kept]
    encoder.eval()
    for n, case in enumerate(missing):
        hu = torch.from_numpy(np.asarray(case.hu, np.float32))[None, None]
        with torch.inference_mode(), torch.autocast("cpu", torch.bfloat16, enabled=precision == "bfloat16"):
            maps, _ = encoder.voxels(hu)
        kept[case.name] = evidence(maps, hu, encoder.config)[0].clone()
        if (n + 1) % 50 == 0 or n + 1 == len(missing):
            beside = file.with_suffix(".tmp")
            save_file(kept, beside)
            beside.replace(file)
            if progress:
                progress(f"evidence {n + 1}/{len(missing)}")
    rows = [kept[case.name] for case in cases]
    shape = (0, len(encoder.config.classes), encoder.config.columns)
    return Tables(tuple(cases), torch.stack(rows) if rows else torch.zeros(shape))


class Heads(nn.Module):
    """What the stage trains: reader, text encoder and three temperatures."""

    def __init__(self, reader: EvidenceReader, text: HashedTextEncoder) -> None:
        super().__init__()
        self.reader, self.text = reader, text
        self.scale = nn.Parameter(torch.tensor([2.7, 2.7, 2.7]))  # log of: reports, prompts, organs
        self.prompt_bias = nn.Parameter(torch.zeros(()))


@dataclass(frozen=True)
class Weights:
    """Weight of each loss."""

    findings: float = 1.0
    reports: float = 0.5
    prompts: float = 0.7
    organs: float = 0.3


class HeadBatches:
    """Loss of the stage at a step; texts are written once per case and style."""

    def __init__(self, heads: Heads, tables: Tables, config: PyramidConfig, *, batch: int, seed: int, variants: int = 4,
                 weights: Weights | None = None, jitter: float = 0.15) -> None:
        self.heads, self.tables, self.config = heads, tables, config
        self.batch, self.seed, self.weights, self.jitter = batch, seed, weights or Weights(), jitter
        self.truth = torch.tensor(np.stack([c.findings for c in tables.cases]), dtype=torch.float32)
        self.known = torch.tensor(np.stack([c.known for c in tables.cases]), dtype=torch.float32)
        self.reports = [[report_text(c, n, "varied" if n % 3 else "plain") for n in range(variants)]
                        for c in tables.cases]
        self.organ_names = tuple(organs())
        self.members = torch.tensor([[float(f in organs()[o]) for f in config.findings] for o in self.organ_names])
        self.organ_texts = [[organ_text(c, o, n) for o in self.organ_names] for n in range(2) for c in tables.cases]
        self.prompts = [prompts(f, "train") for f in config.findings]

    def __call__(self, step: int) -> dict[str, Tensor]:
        rng = np.random.Generator(np.random.PCG64(np.random.SeedSequence([self.seed, step])))
        rows = rng.choice(len(self.tables.cases), min(self.batch, len(self.tables.cases)), replace=False)
        pick = torch.from_numpy(rows)
        reader = self.heads.reader
        table = self.tables.values[pick]
        table = table + self.jitter * reader.scale * torch.randn_like(table)
        logits, embedding, shares = reader(table)
        truth, known = self.truth[pick], self.known[pick]
        raw = F.binary_cross_entropy_with_logits(logits, truth, reduction="none")
        found = (raw * known).sum() / known.sum() * 5
        # reports are long: every other step, twice the weight
        reports = 2 * self._reports(rows, embedding, rng) if step % 2 == 0 else embedding.sum() * 0
        asked = self._prompts(embedding, truth, known, rng)
        organ = self._organs(rows, shares, rng)
        w = self.weights
        loss = w.findings * found + w.reports * reports + w.prompts * asked + w.organs * organ
        return {"loss": loss, "findings": found, "reports": reports, "prompts": asked, "organs": organ}

    def _reports(self, rows: np.ndarray, embedding: Tensor, rng: np.random.Generator) -> Tensor:
        part = rows[: min(REPORTS, len(rows))]
        texts = [self.reports[n][int(rng.integers(len(self.reports[n])))] for n in part]
        encoded = self.heads.text.encode(texts)
        scores = self.heads.scale[0].exp() * embedding[: len(part)] @ encoded.T
        target = torch.arange(len(part))
        return (F.cross_entropy(scores, target) + F.cross_entropy(scores.T, target)) / 2

    def _prompts(self, embedding: Tensor, truth: Tensor, known: Tensor, rng: np.random.Generator) -> Tensor:
        positive = [p.positive[int(rng.integers(len(p.positive)))] for p in self.prompts]
        negative = [p.negative[int(rng.integers(len(p.negative)))] for p in self.prompts]
        encoded = self.heads.text.encode([*positive, *negative])
        n = len(positive)
        direction = encoded[:n] - encoded[n:]  # (F, D)
        scores = self.heads.scale[1].exp() * embedding @ direction.T + self.heads.prompt_bias
        raw = F.binary_cross_entropy_with_logits(scores, truth, reduction="none")
        return (raw * known).sum() / known.sum() * 5

    def _organs(self, rows: np.ndarray, shares: Tensor, rng: np.random.Generator) -> Tensor:
        """InfoNCE within each organ over the batch; a pair of two normal organs is no negative."""
        part = rows[: min(48, len(rows))]
        organ = int(rng.integers(len(self.organ_names)))
        half = int(rng.integers(2)) * len(self.tables.cases)
        held = [(i, t) for i, n in enumerate(part) if (t := self.organ_texts[half + n][organ]) is not None]
        if len(held) < 4:
            return shares.sum() * 0
        image = self.heads.reader.organ_embeddings(shares[[i for i, _ in held]], self.members[organ:organ + 1])[:, 0]
        text = self.heads.text.encode([t.text for _, t in held])
        scores = self.heads.scale[2].exp() * image @ text.T
        normal = torch.tensor([t.normal for _, t in held])
        both = normal[:, None] & normal[None] & ~torch.eye(len(held), dtype=torch.bool)
        scores = scores.masked_fill(both, -1e4)
        target = torch.arange(len(held))
        return (F.cross_entropy(scores, target) + F.cross_entropy(scores.T, target)) / 2

"""Images against reports, labels and organs: Merlin's multi-task recipe, with fVLM's organ-level pairs.

Losses: InfoNCE between the embedding of a scan and of its report (Radford et al. 2021), binary cross-entropy of the
labels that are known (Merlin: reports and phenotypes together), and InfoNCE within each organ between the mean of its
tokens and the text on it.

A pair that says the same is no negative. Two normal livers (fVLM's observation), and two rows with the very same text,
are left out of each other's denominators. A batch holds one scan of a patient, drawn from (seed, step), and is split
over the processes, so the same batch is drawn however many there are.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from zlib import crc32

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from radvlm.errors import InputError
from radvlm.model.adapters.text_towers import TextTower
from radvlm.model.adapters.token_encoder import LABELS, TokenEncoder, token_occupancy
from radvlm.model.organ_map import Organ
from radvlm.model.precision import computing
from radvlm.train.data import Study, label_arrays
from radvlm.train.draws import Ahead, Draws, generator, own_share
from radvlm.train.gather import alone, gathered, processes, summed
from radvlm.train.prepared import Augment, PreparedScans, augmented

#: Logarithm of the inverse temperature at the start (1 / 0.07) and its upper limit (100), as in CLIP.
FIRST_SCALE, LAST_SCALE = math.log(1 / 0.07), math.log(100.0)
_HIDDEN = -1e4


@dataclass(frozen=True)
class ContrastiveWeights:
    """Weight of each loss; 0 leaves it out. ``section_share``: steps that contrast one section instead of reports."""

    reports: float = 1.0
    labels: float = 1.0
    organs: float = 0.5
    section_share: float = 0.25

    def __post_init__(self) -> None:
        if min(self.reports, self.labels, self.organs) < 0 or not 0 <= self.section_share <= 1:
            raise InputError("weights are not negative and a share lies between 0 and 1", repr(self))


class ContrastiveParts(nn.Module):
    """What the stage trains: encoder, text tower, temperatures of reports and organs."""

    def __init__(self, encoder: TokenEncoder, text: TextTower) -> None:
        super().__init__()
        if encoder.config.embedding != text.config.embedding:
            raise InputError(
                "images and text have embeddings of one length",
                f"{encoder.config.embedding} and {text.config.embedding}",
            )
        self.encoder, self.text = encoder, text
        self.log_scale = nn.Parameter(torch.full((2,), FIRST_SCALE))

    def scale(self, number: int) -> Tensor:
        """Inverse temperature of reports (0) or organs (1), at most 100."""
        return self.log_scale[number].clamp(max=LAST_SCALE).exp()


def info_nce(
    image: Tensor, text: Tensor, scale: Tensor | float, *, there: Tensor | None = None, same: Tensor | None = None
) -> Tensor:
    """Symmetric InfoNCE within each of R groups (reports are one group, organs several), mean over groups.

    Args:
        image, text: (B, R, D) of unit length. scale: inverse temperature.
        there: (B, R) rows that take part; None for all. A group with fewer than two has no loss.
        same: (R, B, B) pairs that mean the same and are no negatives of each other; the diagonal is ignored.

    Returns: scalar, 0 where no group has two rows.
    """
    rows, groups = image.shape[:2]
    scores = torch.einsum("brd,crd->rbc", image.float(), text.float()) * scale  # (R, B, B)
    held = torch.ones(rows, groups, dtype=torch.bool, device=image.device) if there is None else there
    held = held.T  # (R, B)
    own = torch.eye(rows, dtype=torch.bool, device=image.device)
    hidden = ~held[:, None, :] | ~held[:, :, None]
    if same is not None:
        hidden = hidden | same
    scores = scores.masked_fill(hidden & ~own, _HIDDEN)
    target = torch.arange(rows, device=image.device).expand(groups, -1)
    each = (
        F.cross_entropy(scores.transpose(1, 2), target, reduction="none")  # over texts, (R, B)
        + F.cross_entropy(scores, target, reduction="none")
    ) / 2  # over images
    count = held.sum(1)
    per_group = (each * held).sum(1) / count.clamp_min(1)  # (R,)
    usable = count >= 2
    return (per_group * usable).sum() / usable.sum().clamp_min(1)


def same_meaning(ids: Tensor, normal: Tensor) -> Tensor:
    """Ids of texts (B, R) and whether they say normal (B, R) -> (R, B, B) pairs that are no negatives."""
    equal = ids.T[:, :, None] == ids.T[:, None, :]
    both = normal.T[:, :, None] & normal.T[:, None, :]
    return equal | both


def label_loss(logits: Tensor, truth: Tensor, known: Tensor) -> Tensor:
    """Mean binary cross-entropy of the known labels of all processes, (B, F) each; 0 where none is known."""
    raw = F.binary_cross_entropy_with_logits(logits.float(), truth.float(), reduction="none")
    share = summed(known.sum().float()) / processes()[1]
    return (raw * known).sum() / share.clamp_min(1e-6)


def organ_normal(study: Study, organ: Organ) -> bool:
    """Whether an organ is known to be normal: at least one of its labels is known, and none is positive."""
    held = [study.labels[name] for name in organ.labels if name in study.labels]
    return bool(held) and not any(held)


class ContrastiveBatches:
    """Loss of the stage at a step.

    Args:
        labels: columns of the label head. draws: batches are of scans, one of a patient.
        weights, augment: None for the usual weights, and for scans as they are.
    """

    def __init__(
        self,
        parts: ContrastiveParts,
        studies: Sequence[Study],
        scans: PreparedScans,
        labels: Sequence[str],
        draws: Draws,
        *,
        weights: ContrastiveWeights | None = None,
        augment: Augment | None = None,
    ) -> None:
        self.parts, self.studies, self.scans, self.labels = parts, list(studies), scans, tuple(labels)
        self.draws, self.weights, self.augment = draws, weights or ContrastiveWeights(), augment
        self.truth, self.known = label_arrays(self.studies, self.labels)
        self._ahead = Ahead(self._drawn)
        by_patient: dict[str, list[int]] = {}
        for n, study in enumerate(self.studies):
            by_patient.setdefault(study.patient, []).append(n)
        self.patients = list(by_patient.values())
        if len(self.patients) < 2:
            raise InputError("contrast needs at least two patients", f"{len(self.patients)} in the training part")
        if self.weights.reports and not any(s.text for s in self.studies):
            raise InputError(
                "contrast with reports needs reports",
                "a table without any text",
                "Add a report column, or set weights.reports to 0",
            )

    def rows(self, step: int) -> list[int]:
        """Studies of this process at a step: one of each patient that was drawn for all processes."""
        rng = generator(self.draws.seed, step)
        drawn = self.draws.rows(len(self.patients), rng)
        return own_share([held[int(rng.integers(len(held)))] for held in (self.patients[n] for n in drawn)])

    def __call__(self, step: int) -> dict[str, Tensor]:
        self.draws.start()
        rows, images, organs = self._ahead(step)
        losses = self._losses(rows, images, organs, step)
        return {**losses, **self.draws.speed()}

    def losses(self, rows: Sequence[int]) -> dict[str, Tensor]:
        """Losses of the studies ``rows``, nothing varied, whole reports; gathered over processes."""
        return self._losses(rows, *self._images(rows, None), None)

    def _losses(
        self, rows: Sequence[int], images: Tensor, organs: Tensor | None, step: int | None
    ) -> dict[str, Tensor]:
        images = images.to(self.draws.device)
        organs = None if organs is None else organs.to(self.draws.device)
        out = self.parts.encoder(images)
        assert out.embedding is not None
        weights, found = self.weights, {}
        if weights.reports:
            found["reports"] = self._reports(rows, out.embedding, step)
        if weights.labels and LABELS in out.heads:
            truth, known = (torch.from_numpy(a[list(rows)]).to(self.draws.device) for a in (self.truth, self.known))
            found["labels"] = label_loss(out.logits(LABELS), truth, known)
        if weights.organs and organs is not None and self.scans.organs:
            shares = token_occupancy(organs, len(self.scans.organs), out.token_grid, self.parts.encoder.token_axes)
            found["organs"] = self._organs(rows, self.parts.encoder.organ_embeddings(out.tokens, shares), shares)
        if not found:
            raise InputError("a stage has at least one loss", "no reports, no labels and no organs to learn from")
        loss = torch.stack([getattr(weights, name) * value for name, value in found.items()]).sum()
        return {"loss": loss, **found}

    def _drawn(self, step: int) -> tuple[list[int], Tensor, Tensor | None]:
        rows = self.rows(step)
        return rows, *self._images(rows, step)

    def _images(self, rows: Sequence[int], step: int | None) -> tuple[Tensor, Tensor | None]:
        """Images (B, 1, X, Y, Z) and organ maps (B, X, Y, Z) on the CPU; varied where there is a step."""

        def one(row: int) -> tuple[Tensor, Tensor]:
            scan = self.scans(self.studies[row])
            image, organs = scan.image, scan.organs
            if step is not None and self.augment is not None:
                image, organs = augmented(scan, self.augment, self.scans.spec, generator(self.draws.seed, step, row, 1))
            return image, torch.zeros(image.shape[1:], dtype=torch.uint8) if organs is None else organs

        images, maps = zip(*self._ahead.rows.map(one, rows), strict=True)
        return torch.stack(images), torch.stack(maps) if self.scans.organs and self.weights.organs else None

    def _reports(self, rows: Sequence[int], embedding: Tensor, step: int | None) -> Tensor:
        """Whole reports, or at a share of the steps (none without a step) one section of each."""
        texts = [self.studies[n].text for n in rows]
        rng = generator(self.draws.seed, step or 0, 2)
        if step is not None and rng.random() < self.weights.section_share:
            sections = sorted({key for s in self.studies for key in s.sections})
            if sections:
                key = sections[int(rng.integers(len(sections)))]
                texts = [self.studies[n].sections.get(key) or text for n, text in zip(rows, texts, strict=True)]
        encoded, ids, there = self._encoded([[text] for text in texts])
        normal = torch.zeros_like(there)
        return self._contrast(embedding[:, None], encoded, ids, there, normal, 0)

    def _organs(self, rows: Sequence[int], image: Tensor, shares: Tensor) -> Tensor:
        texts = [[self.studies[n].sections.get(o.section, "") for o in self.scans.organs] for n in rows]
        encoded, ids, there = self._encoded(texts)
        there = there & (shares.sum(2) > 0)
        normal = torch.tensor(
            [[organ_normal(self.studies[n], o) for o in self.scans.organs] for n in rows], device=self.draws.device
        )
        return self._contrast(image, encoded, ids, there, normal, 1)

    def _contrast(self, image: Tensor, text: Tensor, ids: Tensor, there: Tensor, normal: Tensor, number: int) -> Tensor:
        image, text, ids, there, normal = (gathered(t) for t in (image, text, ids, there, normal))
        return info_nce(image, text, self.parts.scale(number), there=there, same=same_meaning(ids, normal))

    def _encoded(self, texts: Sequence[Sequence[str]]) -> tuple[Tensor, Tensor, Tensor]:
        """Texts (B, R), "" for none -> vectors (B, R, D), ids (B, R), there (B, R); each text is encoded once."""
        flat = list(dict.fromkeys(t for row in texts for t in row if t))
        vectors = self.parts.text.encode(flat or ["none"])
        place = {t: n for n, t in enumerate(flat)}
        index = torch.tensor([[place.get(t, 0) for t in row] for row in texts], device=vectors.device)
        ids = torch.tensor([[_text_id(t) for t in row] for row in texts], device=vectors.device)
        return vectors[index], ids, torch.tensor([[bool(t) for t in row] for row in texts], device=vectors.device)


@torch.no_grad()
def validation_loss(batches: ContrastiveBatches, *, batch: int, precision: str = "float32") -> float:
    """Mean loss over all studies in their order, nothing varied, whole reports; the same in every process."""
    values = []
    rows = range(len(batches.studies))
    for start in range(0, len(rows), batch):
        part = list(rows[start : start + batch])
        with alone(), computing(precision, batches.draws.device):
            values.append((float(batches.losses(part)["loss"]), len(part)))
    return float(np.average([v for v, _ in values], weights=[n for _, n in values]))


def _text_id(text: str) -> int:
    words = " ".join(text.lower().split()).encode()
    return crc32(words) << 31 | crc32(words, 1) & 0x7FFFFFFF

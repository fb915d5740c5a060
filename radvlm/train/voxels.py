"""Voxel supervision: crops of labeled scans teach the voxel head where organs and findings are.

Findings that are a property of a whole organ (steatosis, an aneurysm) are painted on that organ's voxels, so
that every finding has a map and can be shown. Crops are the whole section of the body and a stack of slices around a
finding that is drawn first; findings that are hard to see are drawn more often.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from radvlm.errors import InputError
from radvlm.model.tiny.encoder import PyramidConfig, VoxelNetwork, split_maps
from radvlm.train.draws import Ahead, generator

#: Findings without voxels of their own -> the class whose voxels show them.
ORGAN_FINDINGS = {
    "steatosis": "liver",
    "hepatomegaly": "liver",
    "splenomegaly": "spleen",
    "hydronephrosis": "renal_pelvis",
    "aortic_aneurysm": "aorta",
}
#: Half length of aorta that is called aneurysmal around its widest place, mm.
ANEURYSM_REACH_MM = 25.0
AIR_HU = -1000
#: How much more often a finding named in ``often`` is drawn than the others.
OFTEN = 3.0


@dataclass(frozen=True)
class LabeledScan:
    """One case of a corpus folder; arrays are memory-mapped."""

    folder: Path
    spacing_mm: float
    affine: np.ndarray
    lesions: tuple[dict[str, Any], ...]

    @classmethod
    def open(cls, folder: Path) -> LabeledScan:
        case = json.loads((folder / "case.json").read_text(encoding="utf-8"))
        affine = np.array(case["affine_ras_mm"])
        lesions = tuple(t for t in case["truth"]["lesions"] if t["in_field"] != "outside")
        return cls(folder, float(np.linalg.norm(affine[:3, 0])), affine, lesions)

    def array(self, name: str) -> np.ndarray:
        return np.load(self.folder / f"{name}.npy", mmap_mode="r")


class Crops:
    """Batches of crops, drawn from (seed, step), prepared one step ahead in a thread."""

    def __init__(
        self,
        scans: Sequence[LabeledScan],
        config: PyramidConfig,
        voxel_classes: Sequence[str],
        *,
        shape: tuple[int, int, int],
        batch: int,
        seed: int,
        often: Sequence[str] = (),
    ) -> None:
        self.scans, self.config, self.shape, self.batch, self.seed = list(scans), config, shape, batch, seed
        self.classes = list(voxel_classes)
        organs = list(config.anatomy)
        parents = dict(zip(config.findings, config.parents, strict=True))
        self.to_anatomy = np.array([organs.index(parents.get(n, n)) for n in self.classes], np.int64)
        self.to_finding = np.array([config.findings.index(n) if n in config.findings else -1 for n in self.classes])
        by: dict[str, list[int]] = {}
        for n, scan in enumerate(self.scans):
            for kind in {t["kind"] for t in scan.lesions}:
                by.setdefault(kind, []).append(n)
        self.by_finding = [by.get(name, []) for name in config.findings]
        unknown = sorted(set(often) - set(config.findings))
        if unknown:
            raise InputError("a finding that is drawn often is one of the model's", ", ".join(unknown))
        chances = np.array([OFTEN if name in often else 1.0 for name in config.findings])
        self.chances = chances / chances.sum()
        self._ahead = Ahead(self._make)

    def __call__(self, step: int) -> tuple[Tensor, Tensor, Tensor, list[list[tuple[int, Tensor]]]]:
        """HU (B, 1, X, Y, Z); anatomy and part (B, x, y, z); for each crop (finding, voxels (x, y, z) bool)."""
        return self._ahead(step)

    def _make(self, step: int) -> Any:
        rng = generator(self.seed, step)
        crops = [self._crop(rng) for _ in range(self.batch)]
        hu, anatomy, parts, found = zip(*crops, strict=True)
        return torch.stack(hu)[:, None], torch.stack(anatomy), torch.stack(parts), list(found)

    def _crop(self, rng: np.random.Generator) -> tuple[Tensor, Tensor, Tensor, list[tuple[int, Tensor]]]:
        finding = int(rng.choice(len(self.by_finding), p=self.chances))
        choices = self.by_finding[finding]
        number = int(rng.choice(choices)) if choices and rng.random() < 0.85 else int(rng.integers(0, len(self.scans)))
        scan = self.scans[number]
        volume, classes, parts = scan.array("hu"), scan.array("classes"), scan.array("parts")
        start = self._start(scan, self.config.findings[finding], volume.shape, rng)
        box = tuple(slice(max(0, s), min(n, s + w)) for s, w, n in zip(start, self.shape, volume.shape, strict=True))
        pad = [(max(0, -s), max(0, s + w - n)) for s, w, n in zip(start, self.shape, volume.shape, strict=True)]
        hu = np.pad(np.asarray(volume[box], np.float32), pad, constant_values=AIR_HU)
        hu = hu * rng.uniform(0.985, 1.015) + rng.uniform(-4, 4)
        if rng.random() < 0.5:
            hu = hu + rng.normal(0, rng.uniform(0, 6), hu.shape).astype(np.float32)
        labels = np.pad(np.asarray(classes[box]), pad)
        part = np.pad(np.asarray(parts[box]), pad)
        masks = self._findings(scan, labels, np.array(start))
        anatomy = self.to_anatomy[labels[::2, ::2, ::2]]
        return (
            torch.from_numpy(hu.astype(np.float32)),
            torch.from_numpy(anatomy),
            torch.from_numpy(part[::2, ::2, ::2].astype(np.int64)),
            masks,
        )

    def _start(
        self, scan: LabeledScan, finding: str, shape: tuple[int, ...], rng: np.random.Generator
    ) -> tuple[int, ...]:
        lesions = [t for t in scan.lesions if t["kind"] == finding and t["center_mm"] is not None]
        if lesions:
            lesion = lesions[int(rng.integers(0, len(lesions)))]
            point = np.linalg.inv(scan.affine) @ np.array([*lesion["center_mm"], 1.0])
            z = int(point[2] - self.shape[2] * rng.uniform(0.15, 0.85))
        else:
            z = int(rng.integers(-8, max(1, shape[2] - self.shape[2] + 8)))
        z = int(np.clip(z, -8, max(-8, shape[2] - self.shape[2] + 8)))
        out = []
        for n, w in zip(shape[:2], self.shape[:2], strict=True):
            slack = n - w
            out.append(slack // 2 + int(rng.integers(-4, 5)))
        return (*out, z)

    def _findings(self, scan: LabeledScan, labels: np.ndarray, start: np.ndarray) -> list[tuple[int, Tensor]]:
        out: list[tuple[int, np.ndarray]] = []
        for value in np.unique(labels):
            if self.to_finding[value] >= 0:
                out.append((int(self.to_finding[value]), labels == value))
        for lesion in scan.lesions:
            organ = ORGAN_FINDINGS.get(lesion["kind"])
            if organ is None:
                continue
            mask = labels == self.classes.index(organ)
            if lesion["kind"] == "aortic_aneurysm":
                point = np.linalg.inv(scan.affine) @ np.array([*lesion["center_mm"], 1.0])
                z = np.arange(labels.shape[2]) + start[2]
                mask = mask & (np.abs(z - point[2]) * scan.spacing_mm <= ANEURYSM_REACH_MM)[None, None]
            elif lesion["side"]:
                mask = mask & self._side(labels, lesion["side"])
            if mask.any():
                out.append((self.config.findings.index(lesion["kind"]), mask))
        return [(n, _any_of_two(mask)) for n, mask in out]

    def _side(self, labels: np.ndarray, side: str) -> np.ndarray:
        body = np.flatnonzero((labels > 0).any(axis=(1, 2)))
        middle = (body[0] + body[-1]) / 2 if body.size else labels.shape[0] / 2
        x = np.arange(labels.shape[0])
        return ((x < middle) if side == "left" else (x >= middle))[:, None, None]


def _any_of_two(mask: np.ndarray) -> Tensor:
    """(X, Y, Z) -> (X/2, Y/2, Z/2): true where any of the eight voxels is."""
    pairs = mask.reshape(mask.shape[0] // 2, 2, mask.shape[1] // 2, 2, mask.shape[2] // 2, 2)
    return torch.from_numpy(pairs.any(axis=(1, 3, 5)))


class _FocalNegative(torch.autograd.Function):
    """Sum of softplus(x) * sigmoid(x)^2 with its derivative in closed form (a third of autograd's memory)."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        s = x.sigmoid()
        plus = F.softplus(x)
        square = s * s
        ctx.save_for_backward(square * (s + 2 * plus * (1 - s)))
        return (plus * square).sum()

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        (local,) = ctx.saved_tensors
        return local * gradient


def voxel_loss(
    network: VoxelNetwork, batch: tuple[Tensor, Tensor, Tensor, list[list[tuple[int, Tensor]]]]
) -> dict[str, Tensor]:
    """Cross-entropy of anatomy and parts, focal loss (gamma 2, Lin et al. 2017) of the finding maps.

    Each finding in a crop weighs the same however many voxels it has. Of the voxels outside the body one in ten is
    looked at.
    """
    hu, anatomy, parts, found = batch
    maps, _ = network(hu)
    config = network.config
    kept = (anatomy > 0) | (torch.rand(anatomy.shape) < 0.1)
    for row, masks in enumerate(found):
        for _, mask in masks:
            kept[row] |= mask
    place = torch.cumsum(kept.flatten(), 0).view(kept.shape) - 1  # voxel -> row of the gathered table
    table = maps.permute(0, 2, 3, 4, 1).reshape(-1, maps.shape[1])  # (B * x * y * z, outputs)
    table = table.index_select(0, kept.flatten().nonzero()[:, 0]).float()
    a, f, p = split_maps(table, config)
    organ = F.cross_entropy(a, anatomy[kept])
    part = F.cross_entropy(p, parts[kept])
    rows, columns, weights = [], [], []
    for row, masks in enumerate(found):
        for number, mask in masks:
            own = place[row][mask]
            rows.append(own)
            columns.append(torch.full_like(own, number))
            weights.append(torch.full((own.numel(),), 1.0 / own.numel()))
    count = sum(len(m) for m in found)
    negative = _FocalNegative.apply(f)
    positive = f.sum() * 0
    if count:
        weight = torch.cat(weights)
        logits = f[torch.cat(rows), torch.cat(columns)]
        miss = F.softplus(-logits) * (1 - logits.sigmoid()).square()
        false = F.softplus(logits) * logits.sigmoid().square()
        positive = (miss * weight).sum() / count
        negative = negative - false.sum()
    negative = negative / (40.0 * len(found))
    loss = organ + 0.3 * part + 2 * positive + negative
    return {"loss": loss, "organ": organ, "part": part, "positive": positive, "negative": negative}

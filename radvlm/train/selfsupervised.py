"""A start without any label: rebuild what was hidden, or recognize two views of one scan.

It works on any encoder that gives tokens. Each token rebuilds its own cell of the volume, averaged to
``detail`` values along each axis, by one linear layer (SimMIM, arXiv:2111.09886), so no decoder has to mirror the
trunk. The two views of the contrast (SimCLR, arXiv:2002.05709) are crops of the same scan brought back to the input's
size; they are never mirrored.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from radvlm.errors import InputError
from radvlm.model.adapters.token_encoder import TokenEncoder
from radvlm.train.data import Study
from radvlm.train.draws import Ahead, Draws, generator, own_share
from radvlm.train.gather import gathered
from radvlm.train.prepared import Augment, PreparedScans, augmented

METHODS = ("masked", "contrast", "both")
#: Temperature of the two views (SimCLR's for long training).
TEMPERATURE = 0.1


@dataclass(frozen=True)
class SelfSupervision:
    """What is learned from scans alone.

    Attributes:
        method: ``masked``, ``contrast`` or ``both``.
        hidden_share: share of the volume that is hidden. block_mm: edge of a hidden block.
        detail: values along each axis of a token's cell that are rebuilt.
        smallest_crop: length of a view along each axis as a share of the scan, at least.
    """

    method: str = "masked"
    hidden_share: float = 0.6
    block_mm: float = 24.0
    detail: int = 6
    smallest_crop: float = 0.7

    def __post_init__(self) -> None:
        if self.method not in METHODS:
            raise InputError(f"a method is one of {', '.join(METHODS)}", repr(self.method))
        if not 0 < self.hidden_share < 1 or not 0.1 <= self.smallest_crop < 1:
            raise InputError("shares lie between 0 and 1", f"{self.hidden_share}, {self.smallest_crop}")
        if self.detail < 1 or not self.block_mm > 0:
            raise InputError("detail and block_mm are positive", f"{self.detail}, {self.block_mm}")


class SelfSupervisedParts(nn.Module):
    """The encoder with the two heads that are thrown away afterwards."""

    def __init__(self, encoder: TokenEncoder, settings: SelfSupervision, seed: int = 0) -> None:
        super().__init__()
        self.encoder, self.settings = encoder, settings
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            self.rebuild = nn.Linear(encoder.channels, settings.detail**3)
            self.view = nn.Sequential(
                nn.Linear(encoder.channels, encoder.channels), nn.GELU(), nn.Linear(encoder.channels, 128)
            )


def hidden_blocks(shape: Sequence[int], block: Sequence[int], share: float, rng: np.random.Generator) -> Tensor:
    """(X, Y, Z) bool: blocks of that many voxels, drawn so that their number is the share, rounded; at least one."""
    counts = [-(-n // b) for n, b in zip(shape, block, strict=True)]
    total = int(np.prod(counts))
    chosen = np.zeros(total, bool)
    chosen[rng.permutation(total)[: min(total - 1, max(1, round(share * total)))]] = True
    grid = torch.from_numpy(chosen.reshape(counts))
    for axis, size in enumerate(block):
        grid = grid.repeat_interleave(int(size), axis)
    return grid[tuple(slice(n) for n in shape)]


def cells(volume: Tensor, token_grid: Sequence[int], token_axes: Sequence[int], detail: int) -> Tensor:
    """(B, 1, X, Y, Z) -> (B, N, detail^3): mean values inside each token's cell, in the order of the tokens."""
    moved = volume[:, 0].permute(0, *(a + 1 for a in token_axes))[:, None]  # (B, 1, n0, n1, n2)
    a, b, c = token_grid
    size = (a * detail, b * detail, c * detail)
    fine = F.adaptive_avg_pool3d(moved, size)[:, 0]  # (B, n0 d, n1 d, n2 d)
    split = fine.reshape(len(fine), a, detail, b, detail, c, detail).permute(0, 1, 3, 5, 2, 4, 6)
    return split.reshape(len(fine), a * b * c, detail**3)  # (B, N, d^3)


def rebuilding_loss(parts: SelfSupervisedParts, image: Tensor, hidden: Tensor) -> Tensor:
    """Mean absolute error (in units of the input) where voxels were hidden, weighted by how much of a value was.

    Args:
        image: (B, 1, X, Y, Z). hidden: (B, X, Y, Z) bool; hidden voxels are shown as the image's mean.
    """
    encoder = parts.encoder
    shown = torch.where(hidden[:, None], image.mean(dim=(1, 2, 3, 4), keepdim=True), image)
    out = encoder.trunk(shown)
    detail = parts.settings.detail
    wanted = cells(image, out.token_grid, encoder.token_axes, detail)
    weight = cells(hidden[:, None].float(), out.token_grid, encoder.token_axes, detail)
    made = parts.rebuild(out.tokens.float()).float()  # (B, N, d^3)
    return ((made - wanted).abs() * weight).sum() / weight.sum().clamp_min(1e-6)


def two_views_loss(first: Tensor, second: Tensor) -> Tensor:
    """NT-Xent of the views (B, D) of B scans: the other view of a scan against all others of the batch."""
    rows = len(first)
    z = F.normalize(torch.cat([first, second]).float(), dim=1)  # (2 B, D)
    scores = (z @ z.T / TEMPERATURE).fill_diagonal_(float("-inf"))
    target = torch.arange(2 * rows, device=z.device).roll(rows)
    return F.cross_entropy(scores, target)


def random_crop(image: Tensor, smallest: float, rng: np.random.Generator) -> Tensor:
    """(1, X, Y, Z) cropped to at least that share along each axis and brought back to its size (linear)."""
    size = image.shape[1:]
    lengths = [max(1, round(float(rng.uniform(smallest, 1)) * n)) for n in size]
    starts = [int(rng.integers(0, n - m + 1)) for n, m in zip(size, lengths, strict=True)]
    part = image[(slice(None), *(slice(s, s + m) for s, m in zip(starts, lengths, strict=True)))]
    return F.interpolate(part[None], size, mode="trilinear", align_corners=False)[0]


class SelfSupervisedBatches:
    """Loss of the stage at a step; reports and labels are not looked at."""

    def __init__(
        self,
        parts: SelfSupervisedParts,
        studies: Sequence[Study],
        scans: PreparedScans,
        draws: Draws,
        *,
        augment: Augment | None = None,
    ) -> None:
        if len(studies) < 2:
            raise InputError("self-supervision needs at least two scans", str(len(studies)))
        self.parts, self.studies, self.scans = parts, list(studies), scans
        self.draws, self.augment = draws, augment or Augment()
        self._ahead = Ahead(self._drawn)
        self.block = [max(1, round(parts.settings.block_mm / s)) for s in scans.spec.fixed_spacing_mm]

    def __call__(self, step: int) -> dict[str, Tensor]:
        self.draws.start()
        found = self.losses(*self._ahead(step))
        return {**found, **self.draws.speed()}

    def _drawn(self, step: int) -> tuple[tuple[Tensor, Tensor] | None, tuple[Tensor, Tensor] | None]:
        """(images, hidden voxels) and two views of the scans of this process at a step, on the CPU."""
        rows = own_share(list(self.draws.rows(len(self.studies), generator(self.draws.seed, step))))
        settings, spec = self.parts.settings, self.scans.spec

        def one(row: int) -> tuple[Tensor, ...]:
            scan, out = self.scans(self.studies[row]), []
            if settings.method != "contrast":
                own = generator(self.draws.seed, step, row, 1)
                image = augmented(scan, self.augment, spec, own)[0]
                out += [image, hidden_blocks(image.shape[1:], self.block, settings.hidden_share, own)]
            if settings.method != "masked":
                for number in (2, 3):
                    own = generator(self.draws.seed, step, row, number)
                    out.append(random_crop(augmented(scan, self.augment, spec, own)[0], settings.smallest_crop, own))
            return tuple(out)

        columns = [torch.stack(column) for column in zip(*self._ahead.rows.map(one, rows), strict=True)]
        masked = None if settings.method == "contrast" else (columns[0], columns[1])
        return masked, None if settings.method == "masked" else (columns[-2], columns[-1])

    def losses(self, masked: tuple[Tensor, Tensor] | None, views: tuple[Tensor, Tensor] | None) -> dict[str, Tensor]:
        """Losses of (images, hidden voxels) and of two views, each None where the method does not have it."""
        found = {}
        if masked is not None:
            found["rebuilt"] = rebuilding_loss(
                self.parts, masked[0].to(self.draws.device), masked[1].to(self.draws.device)
            )
        if views is not None:
            seen = [self.parts.encoder.trunk(v.to(self.draws.device)).pooled.float() for v in views]
            first, second = (gathered(self.parts.view(v)) for v in seen)
            found["views"] = two_views_loss(first, second)
        return {"loss": torch.stack(list(found.values())).sum(), **found}

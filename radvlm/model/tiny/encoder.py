"""The encoder of ``tiny``: a small 3D feature pyramid with a voxel head, and findings read off its evidence.

A finding is not guessed from one pooled vector. The voxel head says where each finding and each organ is, the *evidence
table* sums that up (how sure, how large, how dense, where), and the finding logits, the embedding and the decoder's
tokens are all computed from the table. So a small network learns from few scans, every probability can be shown as a
region, and the table is what MAIRA-like region tokens are: features *with* size and position.

Axes are RAS+ throughout, (B, 1, X, Y, Z) in HU on ``spacing_mm``.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from radvlm.errors import InputError
from radvlm.model.encoder_output import EncoderOutput

#: HU ranges of the three input channels: lung, soft tissue, bone.
WINDOWS = ((-1000.0, -200.0), (-120.0, 220.0), (-200.0, 1100.0))
#: What the evidence table says of one class, in order.
FEATURES = (
    "peak_logit",
    "top_logit",
    "log_ml",
    "mean_hu",
    "sd_hu",
    "x",
    "y",
    "z",
    "peak_left",
    "peak_right",
    "log_ml_left",
    "log_ml_right",
    "log_slice_mm2",
    "extent_z",
    "log_pieces",
)
#: A piece is a connected set of cells above this share of the peak, where the peak is above LEAST_PEAK.
PIECE_SHARE, LEAST_PEAK = 0.4, 0.2
_NEIGHBORS = [[[1] * 3] * 3] * 3


@dataclass(frozen=True)
class PyramidConfig:
    """Shape of the network and the names of its outputs.

    Attributes:
        spacing_mm: isotropic grid on which it looks.
        channels: of the five levels, at 2, 4, 8, 16 and 32 times the spacing.
        blocks: residual blocks of each level.
        width: channels of the finest feature map.
        anatomy: classes that exclude each other; the first is what is outside the body.
        findings: names of the findings, each a map of its own.
        parents: for each finding the anatomy class around it.
        parts: classes that say where in an organ; the first is none.
        context: anatomy classes whose attenuation tells the phase.
        embedding: length of the vector shared with text.
    """

    spacing_mm: float
    channels: tuple[int, ...]
    blocks: tuple[int, ...]
    width: int
    anatomy: tuple[str, ...]
    findings: tuple[str, ...]
    parents: tuple[str, ...]
    parts: tuple[str, ...]
    context: tuple[str, ...]
    embedding: int = 256
    hidden: int = 96
    dropout: float = 0.1

    def __post_init__(self) -> None:
        if len(self.channels) != 5 or len(self.blocks) != 5:
            raise InputError("a pyramid has five levels", f"{len(self.channels)} channels, {len(self.blocks)} blocks")
        if len(self.parents) != len(self.findings):
            raise InputError("every finding has a parent class", f"{len(self.parents)} for {len(self.findings)}")
        unknown = sorted((set(self.parents) | set(self.context)) - set(self.anatomy))
        if unknown:
            raise InputError("parents and context are anatomy classes", ", ".join(unknown))

    @property
    def classes(self) -> tuple[str, ...]:
        """Rows of the evidence table: anatomy, then findings."""
        return (*self.anatomy, *self.findings)

    @property
    def columns(self) -> int:
        """Columns of the evidence table: FEATURES, then the share of each part."""
        return len(FEATURES) + len(self.parts)


class Block(nn.Module):
    """Two 3x3x3 convolutions with a shortcut."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv3d(width, width, 3, padding=1, bias=False)
        self.norm1 = nn.BatchNorm3d(width)
        self.conv2 = nn.Conv3d(width, width, 3, padding=1, bias=False)
        self.norm2 = nn.BatchNorm3d(width)

    def forward(self, x: Tensor) -> Tensor:
        out = F.relu(self.norm1(self.conv1(x)))
        return F.relu(x + self.norm2(self.conv2(out)))


class VoxelNetwork(nn.Module):
    """HU to maps on twice the spacing: anatomy, findings and parts, plus the features below them."""

    def __init__(self, config: PyramidConfig) -> None:
        super().__init__()
        self.config = config
        c = config.channels
        self.down = nn.ModuleList()
        before = len(WINDOWS)
        for width, blocks in zip(c, config.blocks, strict=True):
            self.down.append(
                nn.Sequential(
                    nn.Conv3d(before, width, 3, stride=2, padding=1, bias=False),
                    nn.BatchNorm3d(width),
                    nn.ReLU(),
                    *(Block(width) for _ in range(blocks)),
                )
            )
            before = width
        self.lateral = nn.ModuleList(nn.Conv3d(a, b, 1) for a, b in zip(c[1:], c[:-1], strict=True))
        self.merge = nn.ModuleList(
            nn.Sequential(nn.Conv3d(w, w, 3, padding=1, bias=False), nn.BatchNorm3d(w), nn.ReLU()) for w in c[1:-1]
        )
        self.finest = nn.Sequential(
            nn.Conv3d(c[0], config.width, 3, padding=1, bias=False), nn.BatchNorm3d(config.width), nn.ReLU()
        )
        outputs = len(config.anatomy) + len(config.findings) + len(config.parts)
        self.head = nn.Conv3d(config.width, outputs, 1)
        assert self.head.bias is not None
        with torch.no_grad():  # findings are rare
            start = len(config.anatomy)
            self.head.bias[start : start + len(config.findings)] = -4.6

    def forward(self, hu: Tensor) -> tuple[Tensor, Tensor]:
        """hu (B, 1, X, Y, Z) -> logits (B, anatomy + findings + parts, X/2, Y/2, Z/2), coarsest features."""
        x = torch.cat([((hu - low) / (high - low)).clamp(0, 1) * 2 - 1 for low, high in WINDOWS], dim=1)
        x = x.contiguous(memory_format=torch.channels_last_3d)
        levels = []
        for stage in self.down:
            x = stage(x)
            levels.append(x)
        deep = levels[-1]
        top = deep
        for n in range(len(levels) - 2, -1, -1):
            up = F.interpolate(self.lateral[n](top), size=levels[n].shape[2:], mode="nearest")
            top = levels[n] + up
            top = self.finest(top) if n == 0 else self.merge[n - 1](top)
        return self.head(top), deep


class EvidenceReader(nn.Module):
    """Evidence table -> finding logits, embedding and per-class vectors."""

    mean: Tensor
    scale: Tensor
    parent: Tensor
    context: Tensor
    sibling: Tensor

    def __init__(self, config: PyramidConfig) -> None:
        super().__init__()
        self.config = config
        n, hidden = config.columns, config.hidden
        names = list(config.anatomy)
        self.register_buffer("mean", torch.zeros(len(config.classes), n))
        self.register_buffer("scale", torch.ones(len(config.classes), n))
        self.register_buffer("parent", torch.tensor([names.index(p) for p in config.parents]), persistent=False)
        self.register_buffer("context", torch.tensor([names.index(p) for p in config.context]), persistent=False)
        same = torch.tensor(
            [[a == b and i != j for j, b in enumerate(config.parents)] for i, a in enumerate(config.parents)]
        )
        self.register_buffer("sibling", same, persistent=False)
        self.name = nn.Parameter(torch.randn(len(config.findings), 24) * 0.2)
        width = n + len(FEATURES) + 3 * len(config.context) + 2 + 24
        self.body = nn.Sequential(
            nn.Linear(width, hidden),
            nn.GELU(),
            nn.Dropout(config.dropout),
            nn.Linear(hidden, hidden),
            nn.GELU(),
            nn.Dropout(config.dropout),
        )
        self.logit = nn.Linear(hidden, 1)
        self.own = nn.Parameter(torch.ones(len(config.findings)))
        self.bias = nn.Parameter(torch.full((len(config.findings),), -2.0))
        # the embedding is a sum over findings of a direction each, weighted by how present it is, and of the organs
        self.direction = nn.Parameter(torch.randn(len(config.findings), config.embedding) * 0.1)
        self.detail = nn.Linear(hidden, config.embedding)
        self.organs = nn.Sequential(
            nn.Linear(len(config.anatomy) * len(FEATURES), hidden), nn.GELU(), nn.Linear(hidden, config.embedding)
        )
        self.rest = nn.Parameter(torch.randn(config.embedding) * 0.1)

    def fit_scale(self, tables: Tensor) -> None:
        """Standardize every entry by the mean and spread over tables (N, classes, features)."""
        self.mean.copy_(tables.mean(dim=0))
        self.scale.copy_(tables.std(dim=0).clamp_min(0.05))

    def standardize(self, table: Tensor) -> Tensor:
        return ((table - self.mean) / self.scale).clamp(-6, 6)

    def forward(self, table: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """table (B, classes, features) -> logits (B, F), embedding (B, D) of unit length, shares (B, F, D).

        ``shares`` are what each finding adds to the embedding; see ``organ_embeddings``.
        """
        organs = len(self.config.anatomy)
        scaled = self.standardize(table)
        anatomy, own = scaled[:, :organs], scaled[:, organs:]
        peaks = table[:, organs:, 0]
        # strongest sibling: another finding in the same organ that explains the voxels better
        rivals = torch.where(self.sibling[None], peaks[:, None, :], peaks.new_full((), -12.0)).amax(dim=2)
        context = scaled[:, self.context][:, :, [3, 2, 4]].flatten(1)  # mean HU, log mL, sd HU -> (B, 3 * context)
        shared = context[:, None].expand(-1, own.shape[1], -1)
        extra = torch.stack([rivals / 6, (peaks - rivals) / 6], dim=2)
        name = self.name[None].expand(own.shape[0], -1, -1)
        vectors = self.body(torch.cat([own, anatomy[:, self.parent, : len(FEATURES)], shared, extra, name], dim=2))
        logits = self.logit(vectors)[:, :, 0] + self.own * own[:, :, 0] + self.bias
        present = logits.sigmoid()[:, :, None]
        shares = present * (self.direction[None] + 0.3 * self.detail(vectors))  # (B, F, D)
        embedding = shares.sum(dim=1) + 0.1 * self.organs(anatomy[:, :, : len(FEATURES)].flatten(1)) + self.rest
        return logits, F.normalize(embedding, dim=1), shares

    def organ_embeddings(self, shares: Tensor, members: Tensor) -> Tensor:
        """shares (B, F, D), members (G, F) of 0 and 1 -> (B, G, D) of unit length: one embedding an organ."""
        return F.normalize(torch.einsum("bfd,gf->bgd", shares, members) + self.rest, dim=2)


class PyramidEncoder(nn.Module):
    """Voxel network, evidence table and its reader."""

    def __init__(self, config: PyramidConfig) -> None:
        super().__init__()
        self.config = config
        self.voxels = VoxelNetwork(config)
        self.reader = EvidenceReader(config)

    def forward(self, hu: Tensor) -> EncoderOutput:
        """hu (B, 1, X, Y, Z) -> EncoderOutput; ``tokens`` is the standardized evidence table (B, classes, features)."""
        maps, _ = self.voxels(hu)
        table = evidence(maps, hu, self.config)
        return self.read_table(table, maps)

    def read_table(self, table: Tensor, maps: Tensor | None = None) -> EncoderOutput:
        """The same from a table (B, classes, features) that was kept."""
        logits, embedding, _ = self.reader(table)
        scaled = self.reader.standardize(table)
        return EncoderOutput(scaled, (table.shape[1], 1, 1), scaled.flatten(1), embedding, {"findings": logits}, maps)


def split_maps(maps: Tensor, config: PyramidConfig) -> tuple[Tensor, Tensor, Tensor]:
    """Anatomy, finding and part logits out of the voxel head's maps."""
    a, f = len(config.anatomy), len(config.findings)
    return maps[:, :a], maps[:, a : a + f], maps[:, a + f :]


@torch.no_grad()
def evidence(maps: Tensor, hu: Tensor, config: PyramidConfig) -> Tensor:
    """Evidence table (B, classes, columns) of the maps of whole scans.

    Volumes in log(1 + mL), HU in hundreds, positions relative to the middle of the body in units of 100 mm (x to the
    right, y to anterior) and along z from the lowest to the highest slice (0..1).
    """
    maps = maps.contiguous().float()  # sums over voxels of one class after another need classes apart: half the time
    anatomy, findings, parts = split_maps(maps, config)
    return torch.stack(
        [
            _table(a.softmax(0), f, p.softmax(0), h, config)
            for a, f, p, h in zip(anatomy, findings, parts, hu.float(), strict=True)
        ]
    )


def _table(anatomy: Tensor, findings: Tensor, parts: Tensor, hu: Tensor, config: PyramidConfig) -> Tensor:
    step_mm = 2 * config.spacing_mm
    ml = step_mm**3 / 1000
    coarse = F.avg_pool3d(hu[None].clamp(-1024, 1500), 2, ceil_mode=True, count_include_pad=False)[0, 0] / 100
    weights = torch.cat([anatomy, findings.sigmoid().square_()])  # (K, X, Y, Z)
    scores = torch.cat([anatomy.logit(1e-5), findings])
    flat = weights.flatten(1)
    profiles = [weights.sum(dim=(2, 3)), weights.sum(dim=(1, 3)), weights.sum(dim=(1, 2))]  # (K, X), (K, Y), (K, Z)
    total = profiles[0].sum(1).clamp_min(1e-6)
    # the body is what is not outside, anatomy class 0
    cells = [n / len(p[0]) for n, p in zip([anatomy[0].numel()] * 3, profiles, strict=True)]
    x_mid, y_mid = (_middle(n - p[0]) for n, p in zip(cells[:2], profiles[:2], strict=True))
    where = [torch.arange(p.shape[1], device=hu.device, dtype=torch.float32) for p in profiles]
    at = [(p * w).sum(1) / total for p, w in zip(profiles, where, strict=True)]
    moments = flat @ torch.stack([coarse.flatten(), coarse.flatten().square()], dim=1) / total[:, None]
    mean, square = moments.unbind(1)
    border = min(max(1, int(torch.ceil(x_mid))), anatomy.shape[1] - 1)  # x grows to the patient's right
    ridge = scores.amax(dim=(2, 3))  # (K, X)
    blocks = F.max_pool3d(scores[None], 2, ceil_mode=True)[0].flatten(1)  # the 8 best of 2 x 2 x 2 maxima
    top = blocks.topk(min(8, blocks.shape[1]), dim=1).values
    depth = max(1, anatomy.shape[3] - 1)
    spread = ((profiles[2] * (where[2][None] - at[2][:, None]).square()).sum(1) / total).sqrt() * step_mm / 100
    return torch.stack(
        [
            ridge.amax(1),
            top.mean(1),
            torch.log1p(total * ml),
            mean,
            (square - mean.square()).clamp_min(0).sqrt(),
            (at[0] - x_mid) * step_mm / 100,
            (at[1] - y_mid) * step_mm / 100,
            at[2] / depth,
            ridge[:, :border].amax(1),
            ridge[:, border:].amax(1),
            torch.log1p(profiles[0][:, :border].sum(1) * ml),
            torch.log1p(profiles[0][:, border:].sum(1) * ml),
            torch.log1p(profiles[2].amax(1) * step_mm**2),
            spread,
            torch.log1p(_pieces(weights)),
            *(flat @ parts.flatten(1).T / total[:, None]).unbind(1),
        ],
        dim=1,
    )


def _pieces(weights: Tensor) -> Tensor:
    """(K, X, Y, Z) -> number of connected pieces of each map (26 neighbors), 0 where nothing stands out."""
    from scipy.ndimage import label

    counts = torch.zeros(len(weights), device=weights.device)
    peaks = weights.flatten(1).amax(1).tolist()
    for n, (weight, peak) in enumerate(zip(weights, peaks, strict=True)):
        if peak >= LEAST_PEAK:
            counts[n] = label((weight >= PIECE_SHARE * peak).cpu().numpy(), structure=_NEIGHBORS)[1]
    return counts


def _middle(profile: Tensor) -> Tensor:
    """Center of mass of a profile, in indices."""
    index = torch.arange(profile.numel(), device=profile.device, dtype=torch.float32)
    return (profile * index).sum() / profile.sum().clamp_min(1e-6)


def context_names() -> Sequence[str]:
    """Classes whose mean attenuation tells the contrast phase."""
    return ("aorta", "liver", "spleen", "kidney", "vessel", "heart")

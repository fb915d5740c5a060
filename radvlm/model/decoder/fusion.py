"""From what an encoder saw to embeddings that a decoder reads: resamplers, region tokens, evidence tokens.

A token keeps where it comes from. Positions are RAS+ mm from the middle of the imaged grid, as Fourier
features; a region token carries the size, place and attenuation of its mask in numbers beside the pooled features, so
that the decoder can state them. Every module is made from one frozen config, with the same weights for the same seed,
and gives (B, P, width) with the root mean square of ordinary word embeddings (``rms``), so that an untrained prefix
neither drowns the text nor vanishes in it.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from radvlm.errors import InputError
from radvlm.types.geometry import Geometry

#: Columns of the facts of a region; see ``region_facts``.
REGION_FACTS = (
    "volume_ml",
    "extent_right_mm",
    "extent_anterior_mm",
    "extent_superior_mm",
    "centroid_right_mm",
    "centroid_anterior_mm",
    "centroid_superior_mm",
    "mean_hu",
)
#: Wavelengths of the Fourier features of a position: from the size of a vertebra to that of a trunk.
SHORTEST_MM, LONGEST_MM = 32.0, 1024.0


@dataclass(frozen=True)
class LinearConfig:
    """Merlin's adapter (one linear layer) or LLaVA-1.5's (two with GELU).

    Attributes:
        in_width: channels of the tokens. width: of the decoder.
        hidden: width between two layers; 0 for a single layer.
        pooled_grid: tokens are averaged to this grid first, in the encoder's own axis order; None to keep all.
        rms: root mean square of the output at the start; None for no normalization (as Merlin has it).
        seed: of the weights.
    """

    in_width: int
    width: int
    hidden: int = 0
    pooled_grid: tuple[int, int, int] | None = None
    rms: float | None = None
    seed: int = 0


@dataclass(frozen=True)
class PerceiverConfig:
    """Learned queries that read the tokens by cross-attention (Perceiver IO, arXiv:2107.14795; Flamingo's resampler).

    Attributes:
        in_width: channels of the tokens. width: of the decoder. queries: output tokens.
        depth: blocks of cross-attention and feed-forward. inner: width inside, a multiple of ``heads``.
        frequencies: wavelengths of the positions, spaced evenly in the logarithm from 1024 to 32 mm.
        rms, seed: as in LinearConfig.
    """

    in_width: int
    width: int
    queries: int = 64
    depth: int = 2
    inner: int = 256
    heads: int = 8
    frequencies: int = 8
    rms: float | None = 0.02
    seed: int = 0

    def __post_init__(self) -> None:
        if min(self.queries, self.depth, self.heads, self.frequencies) < 1 or self.inner % self.heads:
            raise InputError("a resampler has positive sizes and an inner width that its heads divide", repr(self))


@dataclass(frozen=True)
class RegionConfig:
    """One token for each region.

    Attributes:
        in_width: channels of the feature map. width: of the decoder. hidden: width of the layer between.
        structures: size of the table of structure names a region may be of; 0 when names go into the prompt only.
        frequencies, rms, seed: as in PerceiverConfig.
    """

    in_width: int
    width: int
    hidden: int = 256
    structures: int = 0
    frequencies: int = 8
    rms: float | None = 0.02
    seed: int = 0


@dataclass(frozen=True)
class EvidenceConfig:
    """One token for each class of a table of numbers (class = row: an organ, a finding).

    Attributes:
        n_classes, n_features: shape of the table. width: of the decoder. hidden: width of the layer between.
        rms, seed: as in LinearConfig.
    """

    n_classes: int
    n_features: int
    width: int
    hidden: int = 256
    rms: float | None = 0.02
    seed: int = 0


class _Scaled(nn.Module):
    """Root-mean-square norm with a learned gain that starts at ``rms``; the identity when ``rms`` is None."""

    def __init__(self, width: int, rms: float | None) -> None:
        super().__init__()
        self.gain = None if rms is None else nn.Parameter(torch.full((width,), float(rms)))

    def forward(self, x: Tensor) -> Tensor:
        return x if self.gain is None else F.rms_norm(x, x.shape[-1:], eps=1e-6) * self.gain


class LinearResampler(nn.Module):
    """(B, N, in_width) -> (B, P, width) with P = N, or the size of ``pooled_grid``."""

    def __init__(self, config: LinearConfig) -> None:
        super().__init__()
        _check_sizes(config.in_width, config.width)
        self.config = config
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(config.seed)
            if config.hidden:
                self.project: nn.Module = nn.Sequential(
                    nn.Linear(config.in_width, config.hidden), nn.GELU(), nn.Linear(config.hidden, config.width)
                )
            else:
                self.project = nn.Linear(config.in_width, config.width)
        self.scaled = _Scaled(config.width, config.rms)

    def forward(self, tokens: Tensor, token_grid: Sequence[int] | None = None) -> Tensor:
        """``token_grid`` is that of the EncoderOutput; needed only to pool."""
        _check_tokens(tokens, self.config.in_width)
        if self.config.pooled_grid is not None:
            tokens = pool_tokens(tokens, token_grid, self.config.pooled_grid)
        return self.scaled(self.project(tokens))


class PerceiverResampler(nn.Module):
    """(B, N, in_width) and positions (N, 3) or (B, N, 3) in mm -> (B, queries, width), for any N."""

    def __init__(self, config: PerceiverConfig) -> None:
        super().__init__()
        _check_sizes(config.in_width, config.width)
        self.config = config
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(config.seed)
            self.queries = nn.Parameter(torch.randn(config.queries, config.inner) / math.sqrt(config.inner))
            self.features = nn.Linear(config.in_width, config.inner)
            self.places = nn.Linear(6 * config.frequencies, config.inner)
            self.blocks = nn.ModuleList(_CrossBlock(config.inner, config.heads) for _ in range(config.depth))
            self.project = nn.Linear(config.inner, config.width)
        self.scaled = _Scaled(config.width, config.rms)

    def forward(self, tokens: Tensor, positions_mm: Tensor, token_mask: Tensor | None = None) -> Tensor:
        """``token_mask`` (B, N) true where a token counts; every scan needs one. Positions: ``token_positions_mm``."""
        _check_tokens(tokens, self.config.in_width)
        if positions_mm.shape[-2:] != (tokens.shape[1], 3):
            raise InputError(
                "each token has a position (x, y, z) in mm",
                f"{tuple(positions_mm.shape)}",
                f"Expected (..., {tokens.shape[1]}, 3), from token_positions_mm",
            )
        if token_mask is not None and not bool(token_mask.any(dim=1).all()):
            raise InputError("every scan has at least one token", "a scan whose tokens are all masked")
        places = fourier_features(positions_mm.to(tokens), self.config.frequencies)  # (..., N, 6 F)
        keys = self.features(tokens) + self.places(places)  # (B, N, inner)
        x = self.queries.to(keys.dtype).expand(len(tokens), -1, -1)  # (B, Q, inner)
        for block in self.blocks:
            x = block(x, keys, token_mask)
        return self.scaled(self.project(x))


class _CrossBlock(nn.Module):
    """Queries read keys, then a feed-forward layer; both with a shortcut."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.norm_query, self.norm_key, self.norm_out = nn.LayerNorm(width), nn.LayerNorm(width), nn.LayerNorm(width)
        self.query, self.key_value = nn.Linear(width, width), nn.Linear(width, 2 * width)
        self.out = nn.Linear(width, width)
        self.feed = nn.Sequential(nn.Linear(width, 4 * width), nn.GELU(), nn.Linear(4 * width, width))

    def forward(self, x: Tensor, keys: Tensor, mask: Tensor | None) -> Tensor:
        query = self._split(self.query(self.norm_query(x)))  # (B, heads, Q, width / heads)
        key, value = (self._split(part) for part in self.key_value(self.norm_key(keys)).chunk(2, dim=-1))
        shown = None if mask is None else mask.bool()[:, None, None, :]  # (B, 1, 1, N)
        read = F.scaled_dot_product_attention(query, key, value, attn_mask=shown)
        x = x + self.out(read.transpose(1, 2).flatten(2))  # (B, Q, width)
        return x + self.feed(self.norm_out(x))

    def _split(self, x: Tensor) -> Tensor:
        return x.unflatten(-1, (self.heads, -1)).transpose(1, 2)  # (B, n, width) -> (B, heads, n, width / heads)


class RegionTokens(nn.Module):
    """Feature map and masks -> one token for each region (RadGenome's and Reg2RG's idea), with size and place kept.

    A token is the projection of the mean and the maximum of the features inside the region, of its facts (logarithm of
    the volume, extents, centroid, mean HU; ``region_facts``), and of a learned vector for the structure it is in.
    """

    def __init__(self, config: RegionConfig) -> None:
        super().__init__()
        _check_sizes(config.in_width, config.width)
        self.config = config
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(config.seed)
            self.looks = nn.Linear(2 * config.in_width, config.hidden)
            self.facts = nn.Linear(len(REGION_FACTS), config.hidden)
            self.places = nn.Linear(6 * config.frequencies, config.hidden)
            self.structure = nn.Embedding(config.structures, config.hidden) if config.structures else None
            self.project = nn.Sequential(nn.GELU(), nn.Linear(config.hidden, config.width))
        self.scaled = _Scaled(config.width, config.rms)

    def forward(self, features: Tensor, occupancy: Tensor, facts: Tensor, structure: Tensor | None = None) -> Tensor:
        """One token for each region.

        Args:
            features: (B, in_width, X, Y, Z) feature map.
            occupancy: (B, R, X, Y, Z) share of each feature cell that the region fills, 0 to 1 (``occupancy_of``); all
                zero for a place that pads a batch, whose token is to be masked in the decoder's ``prefix_mask``.
            facts: (B, R, 8) columns of REGION_FACTS.
            structure: (B, R) number of the structure; needed exactly when the config has a table of them.

        Returns: (B, R, width).
        """
        if features.ndim != 5 or features.shape[1] != self.config.in_width:
            raise InputError(f"the feature map is (B, {self.config.in_width}, X, Y, Z)", str(tuple(features.shape)))
        if occupancy.ndim != 5 or occupancy.shape[2:] != features.shape[2:] or len(occupancy) != len(features):
            raise InputError(
                "masks lie on the grid of the feature map",
                f"{tuple(occupancy.shape)} and {tuple(features.shape)}",
                "Bring them there with occupancy_of",
            )
        if facts.shape != (*occupancy.shape[:2], len(REGION_FACTS)):
            raise InputError(f"facts are (B, R, {len(REGION_FACTS)})", str(tuple(facts.shape)), "Use region_facts")
        if (structure is None) != (self.structure is None):
            given = "missing" if structure is None else "given"
            raise InputError(
                "structure numbers are given exactly when the config has a table of structures",
                f"structures={self.config.structures}, numbers {given}",
            )
        places = fourier_features(facts[..., 4:7], self.config.frequencies)  # (B, R, 6 F)
        hidden = self.looks(masked_features(features, occupancy)) + self.facts(_numbers(facts)) + self.places(places)
        if self.structure is not None and structure is not None:
            hidden = hidden + self.structure(structure)
        return self.scaled(self.project(hidden))


class EvidenceTokens(nn.Module):
    """Table (B, n_classes, n_features) -> one token for each class, (B, n_classes, width).

    Features are standardized entry by entry (``set_statistics``, from training data; the identity until then), go
    through one small network shared by all classes, and get a learned vector that says which class they are.
    """

    mean: Tensor
    spread: Tensor

    def __init__(self, config: EvidenceConfig) -> None:
        super().__init__()
        _check_sizes(config.n_classes, config.n_features, config.width, config.hidden)
        self.config = config
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(config.seed)
            self.network = nn.Sequential(
                nn.Linear(config.n_features, config.hidden), nn.GELU(), nn.Linear(config.hidden, config.width)
            )
            self.classes = nn.Embedding(config.n_classes, config.width)
        nn.init.normal_(self.classes.weight, std=0.5, generator=torch.Generator().manual_seed(config.seed))
        self.register_buffer("mean", torch.zeros(config.n_classes, config.n_features))
        self.register_buffer("spread", torch.ones(config.n_classes, config.n_features))
        self.scaled = _Scaled(config.width, config.rms)

    @torch.no_grad()
    def set_statistics(self, tables: Tensor) -> None:
        """Standardize by mean and spread of training tables (n, n_classes, n_features); constant entries give 0."""
        if tables.ndim != 3 or tables.shape[1:] != self.mean.shape or len(tables) < 2:
            raise InputError(
                f"training tables are (n, {self.config.n_classes}, {self.config.n_features})",
                str(tuple(tables.shape)),
                "Two at least, to have a spread",
            )
        spread = tables.float().std(dim=0)
        self.mean.copy_(tables.float().mean(dim=0))
        self.spread.copy_(torch.where(spread > 1e-6, spread, torch.ones_like(spread)))

    def forward(self, table: Tensor) -> Tensor:
        if table.ndim != 3 or table.shape[1:] != self.mean.shape:
            raise InputError(
                f"the table is (B, {self.config.n_classes}, {self.config.n_features})", str(tuple(table.shape))
            )
        standard = ((table - self.mean) / self.spread).to(self.classes.weight.dtype)
        return self.scaled(self.network(standard) + self.classes.weight)


def _numbers(facts: Tensor) -> Tensor:
    """Facts (B, R, 8) -> (B, R, 8), each of the order of 1 from a 3 mm nodule to a liver: logarithms of the sizes."""
    volume, extent, centroid, hu = facts[..., :1], facts[..., 1:4], facts[..., 4:7], facts[..., 7:]
    sizes = [volume.clamp(min=1e-4).log10(), 2 * (extent.clamp(min=0.1) / 30).log10()]
    return torch.cat([*sizes, centroid / 100, hu / 50], dim=-1)


def fourier_features(positions_mm: Tensor, frequencies: int) -> Tensor:
    """(..., 3) mm -> (..., 6 * frequencies): sine and cosine of each axis at wavelengths from 1024 down to 32 mm."""
    steps = torch.linspace(0, 1, frequencies, device=positions_mm.device, dtype=torch.float32)
    wavelength = LONGEST_MM * (SHORTEST_MM / LONGEST_MM) ** steps  # (F,)
    angle = 2 * math.pi * positions_mm.float()[..., None] / wavelength  # (..., 3, F)
    return torch.cat([angle.sin(), angle.cos()], dim=-1).flatten(-2).to(positions_mm.dtype)


def token_positions_mm(geometry: Geometry, token_grid: Sequence[int], token_axes: Sequence[int] = (0, 1, 2)) -> Tensor:
    """Middle of each token's cell, (N, 3) float32, RAS+ mm from the middle of the grid.

    Args:
        geometry: grid of the encoder's input (``Prepared.geometry``).
        token_grid: tokens along each of the encoder's own axes, last axis fastest (``EncoderOutput.token_grid``).
        token_axes: input axis of each of them; Merlin's are (2, 0, 1).

    Cells share the grid evenly; where strides do not divide the padded size, the true receptive field is up to half a
    cell further to the left, back and bottom.
    """
    if sorted(token_axes) != [0, 1, 2] or len(token_grid) != 3 or min(token_grid) < 1:
        raise InputError(
            "token_axes is an order of 0, 1, 2 and token_grid three positive sizes",
            f"{tuple(token_axes)}, {tuple(token_grid)}",
        )
    axes = [
        (np.arange(n) + 0.5) * geometry.shape[axis] / n - 0.5 for n, axis in zip(token_grid, token_axes, strict=True)
    ]
    cells = np.meshgrid(*axes, indexing="ij")
    index = np.empty((math.prod(token_grid), 3))
    for cell, axis in zip(cells, token_axes, strict=True):
        index[:, axis] = cell.ravel()
    middle = (np.array(geometry.shape) - 1) / 2
    return torch.from_numpy((geometry.to_world(index) - geometry.to_world(middle)).astype(np.float32))


def pool_tokens(tokens: Tensor, token_grid: Sequence[int] | None, pooled_grid: tuple[int, int, int]) -> Tensor:
    """Tokens (B, N, C) on ``token_grid`` averaged to ``pooled_grid``, (B, P, C)."""
    if token_grid is None or math.prod(token_grid) != tokens.shape[1] or len(token_grid) != 3:
        raise InputError(
            "pooled tokens lie on a grid",
            f"{tokens.shape[1]} tokens, token_grid={token_grid}",
            "Pass the token_grid of the EncoderOutput",
        )
    cells = tokens.transpose(1, 2).unflatten(2, tuple(token_grid))  # (B, C, n0, n1, n2)
    return F.adaptive_avg_pool3d(cells, pooled_grid).flatten(2).transpose(1, 2)


def masked_features(features: Tensor, occupancy: Tensor) -> Tensor:
    """(B, C, X, Y, Z) inside (B, R, X, Y, Z) -> (B, R, 2 C): mean weighted by occupancy, and maximum; 0 when empty."""
    flat, share = features.flatten(2), occupancy.flatten(2).to(features.dtype)  # (B, C, N), (B, R, N)
    weight = share.sum(dim=2, keepdim=True)  # (B, R, 1)
    mean = torch.einsum("bcn,brn->brc", flat, share) / weight.clamp(min=1e-12)
    largest = []
    for number in range(share.shape[1]):  # region by region: (B, R, C, N) would be large
        inside = share[:, number, None] > 0  # (B, 1, N)
        largest.append(flat.masked_fill(~inside, -torch.inf).amax(dim=2))  # (B, C)
    top = torch.stack(largest, dim=1) if largest else mean  # (B, R, C)
    return torch.cat([mean, torch.where(weight > 0, top, torch.zeros_like(top))], dim=2)


def occupancy_of(mask: np.ndarray | Tensor, feature_grid: tuple[int, int, int]) -> Tensor:
    """Boolean mask (X, Y, Z) -> share of each cell of the feature grid that it fills, float32, 0 to 1.

    A lesion smaller than a cell keeps its share, so no region is lost on a coarse grid. Raises InputError when empty.
    """
    volume = torch.as_tensor(mask)
    if volume.ndim != 3 or not bool(volume.any()):
        raise InputError(
            "a region is a mask (X, Y, Z) with at least one voxel",
            f"shape {tuple(volume.shape)}",
            "Leave structures without voxels out",
        )
    return F.adaptive_avg_pool3d(volume.bool().float()[None], feature_grid)[0]


def region_facts(mask: np.ndarray, hu: np.ndarray, geometry: Geometry, body_middle_mm: Sequence[float]) -> np.ndarray:
    """Size, place and attenuation of one region, (8,) float32, columns REGION_FACTS.

    Args:
        mask: (X, Y, Z) bool on ``geometry``, at least one voxel. hu: (X, Y, Z).
        body_middle_mm: RAS+ mm of the middle of the body, from which the centroid is measured.

    Extents are of the box around the region along the array's axes (RAS+ order), edge to edge.
    """
    if mask.shape != geometry.shape or hu.shape != geometry.shape or not mask.any():
        raise InputError(
            "a region has at least one voxel and lies on the grid of the scan",
            f"mask {mask.shape} with {int(mask.sum())} voxels, hu {hu.shape}, grid {geometry.shape}",
        )
    index = np.argwhere(mask)
    extent = (index.max(axis=0) - index.min(axis=0) + 1) * np.array(geometry.spacing_mm)
    centroid = geometry.to_world(index.mean(axis=0)) - np.asarray(body_middle_mm, dtype=float)
    volume_ml = len(index) * geometry.voxel_volume_mm3 / 1000
    return np.array([volume_ml, *extent, *centroid, hu[mask].mean(dtype=np.float64)], dtype=np.float32)


def _check_sizes(*sizes: int) -> None:
    if min(sizes) < 1:
        raise InputError("sizes of a fusion module are positive", str(sizes))


def _check_tokens(tokens: Tensor, width: int) -> None:
    if tokens.ndim != 3 or tokens.shape[2] != width:
        raise InputError(
            f"visual tokens are (B, N, {width})", str(tuple(tokens.shape)), "Make the fusion module for this encoder"
        )

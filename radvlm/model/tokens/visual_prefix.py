"""What a decoder is shown of a scan: resampled tokens, and one token for each organ where masks exist.

Training and inference make the inputs of the prefix with one function (``scan_tokens``), and everything is
computed from the encoder's own input grid, so that a scan gives the same prefix wherever it is read.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from radvlm.errors import InputError
from radvlm.model.adapters.token_encoder import TokenEncoder, token_occupancy
from radvlm.model.decoder.causal_lm import Decoder, TextBatch
from radvlm.model.decoder.fusion import (
    REGION_FACTS,
    LinearConfig,
    LinearResampler,
    PerceiverConfig,
    PerceiverResampler,
    RegionConfig,
    RegionTokens,
    region_facts,
    token_positions_mm,
)
from radvlm.model.inputs import InputSpec
from radvlm.types.geometry import Geometry

RESAMPLERS = ("linear", "perceiver")
#: HU above which a voxel counts as body when its middle is looked for.
BODY_HU = -400.0


@dataclass(frozen=True)
class PrefixConfig:
    """How tokens reach the decoder.

    Attributes:
        kind: ``linear`` (Merlin's adapter; every token, or ``pooled_grid``) or ``perceiver`` (``queries`` tokens).
        queries, depth, inner, heads: of the perceiver; see ``fusion.PerceiverConfig``.
        hidden, pooled_grid: of the linear adapter; see ``fusion.LinearConfig``.
        regions: one more token for each organ that the masks hold.
    """

    kind: str = "perceiver"
    queries: int = 64
    depth: int = 2
    inner: int = 512
    heads: int = 8
    hidden: int = 0
    pooled_grid: tuple[int, int, int] | None = None
    regions: bool = False
    seed: int = 0

    def __post_init__(self) -> None:
        if self.kind not in RESAMPLERS:
            raise InputError(f"a resampler is one of {', '.join(RESAMPLERS)}", repr(self.kind))


@dataclass(frozen=True)
class ScanTokens:
    """Scans after the encoder: tokens (B, N, C) on ``token_grid``, positions (B, N, 3) mm from the middle of the grid.

    With masks: occupancy (B, R, N), facts (B, R, 8) and which organs are there (B, R) bool; None without.
    """

    tokens: Tensor
    token_grid: tuple[int, int, int]
    positions_mm: Tensor
    occupancy: Tensor | None = None
    facts: Tensor | None = None
    there: Tensor | None = None

    def to(self, device: str | torch.device) -> ScanTokens:
        return replace(self, **{name: tensor.to(device) for name, tensor in self.tensors().items()})

    def tensors(self) -> dict[str, Any]:
        """Field -> tensor, without those that are None."""
        held = {f.name: getattr(self, f.name) for f in fields(self)}
        return {name: value for name, value in held.items() if isinstance(value, Tensor)}


class VisualPrefix(nn.Module):
    """ScanTokens -> prefix (B, P, width) and its mask (B, P)."""

    def __init__(self, config: PrefixConfig, in_width: int, width: int, organs: int = 0) -> None:
        super().__init__()
        if config.regions and not organs:
            raise InputError("region tokens need a table of organs", "none", "Give organs in the recipe")
        self.config = config
        self.resampler: nn.Module
        if config.kind == "linear":
            self.resampler = LinearResampler(
                LinearConfig(in_width, width, config.hidden, config.pooled_grid, rms=0.02, seed=config.seed)
            )
        else:
            self.resampler = PerceiverResampler(
                PerceiverConfig(
                    in_width, width, config.queries, config.depth, config.inner, config.heads, seed=config.seed
                )
            )
        self.regions = None
        if config.regions:
            self.regions = RegionTokens(RegionConfig(in_width, width, structures=organs, seed=config.seed + 1))

    def forward(self, scan: ScanTokens) -> tuple[Tensor, Tensor]:
        tokens = scan.tokens.to(next(self.parameters()).dtype)
        if self.config.kind == "linear":
            prefix = self.resampler(tokens, scan.token_grid)
        else:
            prefix = self.resampler(tokens, scan.positions_mm)
        mask = torch.ones(prefix.shape[:2], dtype=torch.bool, device=prefix.device)
        if self.regions is None or scan.occupancy is None or scan.facts is None or scan.there is None:
            return prefix, mask
        grid = scan.token_grid
        numbers = torch.arange(scan.occupancy.shape[1], device=prefix.device).expand(len(tokens), -1)  # (B, R)
        extra = self.regions(
            tokens.transpose(1, 2).unflatten(2, grid), scan.occupancy.unflatten(2, grid), scan.facts, numbers
        )
        return torch.cat([prefix, extra], 1), torch.cat([mask, scan.there], 1)


@torch.no_grad()
def scan_tokens(
    encoder: TokenEncoder, image: Tensor, affine_ras_mm: np.ndarray, organs: np.ndarray | None = None, n_organs: int = 0
) -> ScanTokens:
    """One scan (1, 1, X, Y, Z) through the encoder; ``organs`` (X, Y, Z) is its organ map, None without masks.

    With ``n_organs`` above 0 the result has places for that many organs, all empty without masks.
    """
    device = next(encoder.parameters()).device
    out = encoder(image.to(device))
    geometry = Geometry(tuple(image.shape[2:]), affine_ras_mm)  # type: ignore[arg-type]
    places = token_positions_mm(geometry, out.token_grid, encoder.token_axes)[None].to(device)
    if not n_organs:
        return ScanTokens(out.tokens, out.token_grid, places)
    held = np.zeros(image.shape[2:], np.uint8) if organs is None else organs
    occupancy = token_occupancy(torch.from_numpy(held)[None].to(device), n_organs, out.token_grid, encoder.token_axes)
    facts, there = organ_facts(image, held, geometry, encoder.spec, n_organs)
    return ScanTokens(
        out.tokens,
        out.token_grid,
        places,
        occupancy,
        torch.from_numpy(facts)[None].to(device),
        torch.from_numpy(there)[None].to(device),
    )


def organ_facts(
    image: Tensor, organs: np.ndarray, geometry: Geometry, spec: InputSpec, count: int
) -> tuple[np.ndarray, np.ndarray]:
    """Facts (count, 8) of each organ of the map, and whether it is there (count,)."""
    hu = to_hu(image[0, 0].cpu().numpy(), spec)
    facts, there = np.zeros((count, len(REGION_FACTS)), np.float32), np.zeros(count, bool)
    present = [int(v) for v in np.unique(organs) if v]
    if not present:
        return facts, there
    body = np.argwhere(hu[::4, ::4, ::4] > BODY_HU) * 4
    middle = geometry.to_world(body.mean(0) if len(body) else (np.array(geometry.shape) - 1) / 2)
    for value in present:
        facts[value - 1] = region_facts(organs == value, hu, geometry, middle.tolist())
        there[value - 1] = True
    return facts, there


def to_hu(image: np.ndarray, spec: InputSpec) -> np.ndarray:
    """An encoder's input back in HU; what the window clipped stays clipped."""
    if spec.hu_window is None:
        return image
    low, high = spec.hu_window
    return image * (high - low) + low


def stacked(scans: Sequence[ScanTokens]) -> ScanTokens:
    """Scans of one grid as one batch."""
    first = scans[0]
    if any(s.token_grid != first.token_grid for s in scans):
        raise InputError(
            "scans of a batch have one token grid", str({s.token_grid for s in scans}), "Give the input a fixed shape"
        )
    whole: dict[str, Any] = {name: torch.cat([getattr(s, name) for s in scans]) for name in first.tensors()}
    return replace(first, **whole)


class TokenWriter(nn.Module):
    """Prefix and decoder: scans and prompts to text. The encoder is not part of it, because it is frozen by then."""

    def __init__(self, prefix: VisualPrefix, decoder: Decoder) -> None:
        super().__init__()
        self.prefix, self.decoder = prefix, decoder

    def forward(self, scan: ScanTokens | None, batch: TextBatch) -> Tensor:
        """Mean loss of the targets; ``scan`` None for lessons without an image."""
        if scan is None:
            return self.decoder.loss(None, batch)
        prefix, mask = self.prefix(scan)
        return self.decoder.loss(prefix, batch, mask)

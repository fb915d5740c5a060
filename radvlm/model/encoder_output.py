"""What every image encoder returns: one named object, logits never mixed up with probabilities."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from radvlm.errors import InputError

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True)
class EncoderOutput:
    """Features of a batch of scans.

    Attributes:
        tokens: (B, N, C) feature map, flattened in the order of ``token_grid`` (last axis fastest).
        token_grid: number of tokens along each axis of the encoder's own order; their product is N.
        pooled: (B, C').
        embedding: (B, D) of unit length, in the space shared with text; None for an encoder without one.
        heads: name -> raw logits (B, ...); use ``probabilities`` for the rest.
        voxel_logits: (B, K, X, Y, Z) of a voxel head, or None.
    """

    tokens: Tensor
    token_grid: tuple[int, int, int]
    pooled: Tensor
    embedding: Tensor | None = None
    heads: Mapping[str, Tensor] = field(default_factory=dict)
    voxel_logits: Tensor | None = None

    def logits(self, head: str) -> Tensor:
        """Raw logits of a head; InputError with the known names when there is none of that name."""
        if head not in self.heads:
            raise InputError(
                "the encoder has a head of that name", repr(head), f"Heads: {', '.join(self.heads) or 'none'}"
            )
        return self.heads[head]

    def probabilities(self, head: str) -> Tensor:
        """Sigmoid of ``logits(head)``; every head here is multi-label."""
        return self.logits(head).sigmoid()

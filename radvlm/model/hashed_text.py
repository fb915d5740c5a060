"""A small text encoder that needs no vocabulary file: words and their letter groups are hashed.

A word it has never met still has a vector, made from its letter groups (Bojanowski et al., Enriching word
vectors with subword information, 2017), so any text can be asked; whether the answer means something is a matter of
what it was trained on.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from zlib import crc32

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from radvlm.errors import InputError

_WORD = re.compile(r"[a-z]+|[0-9]|[^\sa-z0-9]")


@dataclass(frozen=True)
class HashedTextConfig:
    """Shape of the encoder; ``pieces`` hashed letter groups a word, texts longer than ``words`` are cut."""

    embedding: int = 256
    width: int = 128
    layers: int = 2
    heads: int = 4
    buckets: int = 4096
    pieces: int = 12
    words: int = 320


class HashedTextEncoder(nn.Module):
    """Texts to unit vectors (N, embedding)."""

    def __init__(self, config: HashedTextConfig) -> None:
        super().__init__()
        self.config = config
        self.letters = nn.Embedding(config.buckets + 1, config.width, padding_idx=0)
        self.place = nn.Embedding(config.words, config.width)
        nn.init.normal_(self.letters.weight, std=0.05)
        nn.init.normal_(self.place.weight, std=0.02)
        layer = nn.TransformerEncoderLayer(
            config.width,
            config.heads,
            3 * config.width,
            dropout=0.0,
            batch_first=True,
            norm_first=True,
            activation="gelu",
        )
        self.layers = nn.TransformerEncoder(layer, config.layers, enable_nested_tensor=False)
        self.norm = nn.LayerNorm(config.width)
        self.project = nn.Linear(2 * config.width, config.embedding)

    def tokenize(self, texts: Sequence[str]) -> Tensor:
        """Hashed pieces (N, words, pieces), 0 where there is none. Raises InputError for a text without a word."""
        if isinstance(texts, str) or not len(texts):
            raise InputError("texts to be embedded are a list of at least one text", repr(texts)[:40])
        rows = []
        for text in texts:
            words = _WORD.findall(text.lower())[: self.config.words]
            if not words:
                raise InputError("a text to be embedded has at least one word", repr(text[:40]))
            rows.append([_pieces(w, self.config.buckets, self.config.pieces) for w in words])
        out = torch.zeros(len(rows), max(len(r) for r in rows), self.config.pieces, dtype=torch.long)
        for n, row in enumerate(rows):
            out[n, : len(row)] = torch.tensor(row)
        return out

    def forward(self, pieces: Tensor) -> Tensor:
        there = pieces > 0  # (N, W, P)
        count = there.sum(2, keepdim=True).clamp_min(1).sqrt()
        bags = F.embedding_bag(pieces.flatten(0, 1), self.letters.weight, mode="sum", padding_idx=0)  # (N * W, width)
        vectors = bags.view(*pieces.shape[:2], -1) / count
        words = there.any(2)  # (N, W)
        x = vectors + self.place(torch.arange(pieces.shape[1], device=pieces.device))[None]
        x = self.norm(self.layers(x, src_key_padding_mask=~words))
        x = torch.where(words[:, :, None], x, 0.0)
        mean = x.sum(1) / words.sum(1, keepdim=True)
        top = torch.where(words[:, :, None], x, -30.0).amax(1)
        return F.normalize(self.project(torch.cat([mean, top], dim=1)), dim=1)

    def encode(self, texts: Sequence[str]) -> Tensor:
        return self(self.tokenize(texts).to(self.letters.weight.device))


@lru_cache(maxsize=20000)
def _pieces(word: str, buckets: int, count: int) -> tuple[int, ...]:
    """Hash of the word, then of its letter groups of 3 to 5, longest first; exactly ``count`` numbers, 0 for none."""
    marked = f"<{word}>"
    groups = [marked[i : i + n] for n in (5, 4, 3) for i in range(len(marked) - n + 1)] if len(word) > 2 else []
    names = [f"word:{word}", *dict.fromkeys(groups)][:count]
    numbers = [1 + crc32(name.encode()) % buckets for name in names]
    return tuple(numbers + [0] * (count - len(numbers)))

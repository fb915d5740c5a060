"""What turns text and scans into vectors, as retrieval sees it.

Retrieval never imports a model. It is given an object with three facts and two functions; a vision-language model
fits through ``FunctionEmbedder``, and ``HashedText`` needs no weights at all, so an index of reports can be built and
searched by text offline.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Protocol

import numpy as np

from radvlm.errors import InputError


class Embedder(Protocol):
    """Text and scans into one vector space.

    ``encoder_id`` names the encoder, ``digest`` its weights; an index is refused by any other pair. ``embed_text``
    gives (N, ``dimension``), ``embed_volume`` (``dimension``,); any length, finite and not zero.
    """

    @property
    def encoder_id(self) -> str: ...
    @property
    def digest(self) -> str: ...
    @property
    def dimension(self) -> int: ...
    def embed_text(self, texts: Sequence[str]) -> np.ndarray: ...
    def embed_volume(self, volume: Any) -> np.ndarray: ...


@dataclass(frozen=True)
class FunctionEmbedder:
    """An embedder made of two functions, such as ``model.embed_text`` and ``model.embed``; either may be missing."""

    encoder_id: str
    digest: str
    dimension: int
    text: Callable[[Sequence[str]], np.ndarray] | None
    volume: Callable[[Any], np.ndarray] | None = None

    def embed_text(self, texts: Sequence[str]) -> np.ndarray:
        if self.text is None:
            raise InputError(
                "this embedder reads scans only", f"text for {self.encoder_id}", "Search its index with a scan"
            )
        return self.text(texts)

    def embed_volume(self, volume: Any) -> np.ndarray:
        if self.volume is None:
            raise InputError(
                "this embedder reads text only",
                f"a scan for {self.encoder_id}",
                "Use an encoder with an image side, or search by text",
            )
        return self.volume(volume)


def reads_scans(embedder: Embedder) -> bool:
    """Whether an embedder has an image side."""
    return not isinstance(embedder, HashedText) and getattr(embedder, "volume", True) is not None


def reads_text(embedder: Embedder) -> bool:
    """Whether an embedder has a text side."""
    return getattr(embedder, "text", True) is not None


_WORD = re.compile(r"[a-z]+|\d+(?:\.\d+)?")
_STOP = frozenset(
    {"a", "an", "and", "are", "as", "at", "be", "by", "for", "from", "has", "have", "in", "into", "is", "it", "its"}
    | {"of", "on", "or", "seen", "the", "there", "this", "to", "was", "were", "with", "within"}
)


@dataclass(frozen=True)
class HashedText:
    """Words and word pairs hashed onto signed axes (feature hashing, Weinberger et al. 2009); no weights, no download.

    Deterministic across machines. Finds wording, not meaning, and knows nothing of scans; good for trying things out,
    for tests, and as the lexical baseline of a learned encoder. ``no`` and ``without`` count, other stop words do not.
    """

    dimension: int = 512

    @property
    def encoder_id(self) -> str:
        return f"hashed-text-{self.dimension}"

    @property
    def digest(self) -> str:
        return hashlib.sha256(f"hashed-text v1 {self.dimension}".encode()).hexdigest()

    def embed_text(self, texts: Sequence[str]) -> np.ndarray:
        """(N, dimension) float32 of unit length; a text without a word gets a fixed direction of its own."""
        out = np.zeros((len(texts), self.dimension), np.float32)
        for row, text in enumerate(texts):
            words = [w for w in _WORD.findall(text.lower()) if w not in _STOP]
            for token in [*words, *(f"{a} {b}" for a, b in pairwise(words))] or ["<no words>"]:
                key = int.from_bytes(hashlib.blake2b(token.encode(), digest_size=16).digest(), "little")
                for _ in range(4):  # four signed axes a token: collisions average out
                    out[row, (key >> 1) % self.dimension] += 1.0 if key & 1 else -1.0
                    key >>= 30
            if not out[row].any():
                out[row, 0] = 1.0
        return out / np.linalg.norm(out, axis=1, keepdims=True)

    def embed_volume(self, volume: Any) -> np.ndarray:
        raise InputError(
            "this embedder reads text only",
            f"a scan for {self.encoder_id}",
            "Use an encoder with an image side, or search by text",
        )


def unit_vectors(vectors: Any, rows: int | None, dimension: int) -> np.ndarray:
    """(N, dimension) float32 of unit length; InputError for another shape, NaN, infinity or a zero vector."""
    array = np.asarray(vectors, dtype=np.float32)
    expected = (rows if rows is not None else (array.shape[0] if array.ndim == 2 else "N"), dimension)
    if array.ndim != 2 or array.shape != expected:
        raise InputError(
            f"vectors have shape ({expected[0]}, {expected[1]})",
            str(array.shape),
            "Use the encoder that the index was built with",
        )
    if not np.isfinite(array).all():
        bad = int(np.flatnonzero(~np.isfinite(array).all(axis=1))[0])
        raise InputError("vectors are finite", f"NaN or infinity in row {bad}", "Look at what the encoder was given")
    norms = np.linalg.norm(array, axis=1, keepdims=True)
    if (norms < 1e-12).any():
        raise InputError(
            "a vector has a direction",
            f"a zero vector in row {int(np.argmin(norms))}",
            "Look at what the encoder was given",
        )
    return np.ascontiguousarray(array / norms)

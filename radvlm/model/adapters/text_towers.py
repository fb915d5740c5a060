"""Text encoders that can be trained against images: hashed words, Merlin's Longformer, or any encoder of transformers.

Unusual: a tower owns its tokenizer, so that ``encode(texts)`` is all that training and inference know of it, and it is
the same call with and without gradients. Files come from local folders; a tower rebuilt from a saved model needs only
its tokenizer and configuration, because the weights are in the model's own file.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from radvlm.errors import FileFormatError, InputError
from radvlm.model.hashed_text import HashedTextConfig, HashedTextEncoder
from radvlm.model.merlin.text import MerlinTextEncoder, TextShape, load_text_tokenizer, prepare_text
from radvlm.model.tensor_files import read_tensors

KINDS = ("hashed", "longformer", "transformers")


@dataclass(frozen=True)
class TextTowerConfig:
    """Which text encoder.

    Attributes:
        kind: ``hashed`` (small, needs no file), ``longformer`` (Merlin's; folder holds its tokenizer), or
            ``transformers`` (folder of any encoder: config, tokenizer, safetensors).
        embedding: length of the vector shared with images.
        folder: see kind. start: weights for a longformer: a published Merlin checkpoint or Clinical-Longformer's own
            safetensors; "" for random ones.
        max_tokens: longer texts are cut. shape: sizes of a hashed or longformer tower other than the usual.
        trained: False keeps the tower as it is and trains the images toward it.
        seed: of random weights.
    """

    kind: str = "hashed"
    embedding: int = 512
    folder: str = ""
    start: str = ""
    max_tokens: int = 512
    shape: Mapping[str, Any] = field(default_factory=dict)
    trained: bool = True
    seed: int = 0

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise InputError(f"the kind of a text encoder is one of {', '.join(KINDS)}", repr(self.kind))
        if (self.kind == "hashed") == bool(self.folder):
            raise InputError(
                "a folder is given exactly when the kind is longformer or transformers",
                f"kind {self.kind}, folder {self.folder!r}",
            )
        if self.embedding < 1 or self.max_tokens < 8:
            raise InputError(
                "an embedding has a length and texts at least 8 tokens", f"{self.embedding}, {self.max_tokens}"
            )


class TextTower(nn.Module):
    """Texts -> (N, embedding) of unit length.

    Args:
        random_weights: do not look for weights (they come from a saved model).
    """

    def __init__(self, config: TextTowerConfig, *, random_weights: bool = False) -> None:
        super().__init__()
        self.config = config
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(config.seed)
            self.network, self.tokenizer = _made(config, random_weights)
            width = _width(self.network, config)
            self.project = nn.Linear(width, config.embedding) if config.kind == "transformers" else None
        if not config.trained:
            self.requires_grad_(False)

    def encode(self, texts: Sequence[str]) -> Tensor:
        """Texts -> unit vectors on the tower's device. Raises InputError for one string, and a text without words."""
        if isinstance(texts, str):
            raise InputError("texts come as a sequence", "one string", "Put it into a list")
        device = next(self.parameters()).device
        if self.config.kind == "hashed":
            return self.network.encode(texts).float()
        prepared = [prepare_text(text) for text in texts]
        if self.config.kind == "longformer":
            rows = [e.ids for e in self.tokenizer.encode_batch(prepared)]
            longest = max(len(r) for r in rows)
            ids = torch.tensor([r + [1] * (longest - len(r)) for r in rows], device=device)  # (N, L), 1 is padding
            return F.normalize(self.network(ids).float(), dim=-1)
        batch = self.tokenizer(
            list(texts), padding=True, truncation=True, max_length=self.config.max_tokens, return_tensors="pt"
        ).to(device)
        hidden = self.network(**batch).last_hidden_state  # (N, L, C)
        mask = batch["attention_mask"][..., None].to(hidden.dtype)
        pooled = (hidden * mask).sum(1) / mask.sum(1)  # (N, C)
        assert self.project is not None
        return F.normalize(self.project(pooled.float()), dim=-1)

    def train(self, mode: bool = True) -> TextTower:
        return super().train(mode and self.config.trained)

    def save_files(self, folder: Path) -> None:
        """Tokenizer and configuration, without weights."""
        if self.config.kind == "hashed":
            return
        folder.mkdir(parents=True, exist_ok=True)
        if self.config.kind == "longformer":
            self.tokenizer.save(str(folder / "tokenizer.json"))
        else:
            self.network.config.save_pretrained(folder)
            self.tokenizer.save_pretrained(folder)


def _made(config: TextTowerConfig, random_weights: bool) -> tuple[Any, Any]:
    if config.kind == "hashed":
        return HashedTextEncoder(
            HashedTextConfig(**{**_known(HashedTextConfig, config.shape), "embedding": config.embedding})
        ), None
    if config.kind == "longformer":
        shape = TextShape(**{**_known(TextShape, config.shape), "embedding": config.embedding})
        tokenizer = load_text_tokenizer(config.folder, shape)
        tokenizer.enable_truncation(min(config.max_tokens, shape.positions - 2))
        encoder = MerlinTextEncoder(shape)
        if config.start and not random_weights:
            _start_longformer(encoder, config.start)
        return encoder, tokenizer
    from transformers import AutoConfig, AutoModel

    from radvlm.model.decoder.tokenizer import load_tokenizer

    try:
        if random_weights:
            network = AutoModel.from_config(AutoConfig.from_pretrained(config.folder, local_files_only=True))
        else:
            network = AutoModel.from_pretrained(
                config.folder, local_files_only=True, use_safetensors=True, trust_remote_code=False
            )
    except (OSError, ValueError) as error:
        raise FileFormatError(
            "the folder holds an encoder of transformers as safetensors", f"{config.folder}: {error}".splitlines()[0]
        ) from error
    return network, load_tokenizer(config.folder)


def _start_longformer(encoder: MerlinTextEncoder, path: str) -> None:
    """Weights of the whole text side (Merlin's file), or of the transformer alone (Clinical-Longformer's)."""
    state = read_tensors(path)
    held = encoder.state_dict()
    for prefix, inner in (("encode_text.", ""), ("longformer.", "text_encoder."), ("", "text_encoder.")):
        found = {inner + k.removeprefix(prefix): v for k, v in state.items() if k.startswith(prefix)}
        found = {k: v for k, v in found.items() if k in held and held[k].shape == v.shape}
        if any(k.startswith("text_encoder.encoder.") for k in found):
            encoder.load_state_dict(found, strict=False)
            return
    raise InputError(
        "the start of the text encoder is Merlin's or Clinical-Longformer's",
        Path(path).name,
        "Give a file whose sizes are those of `shape`",
    )


def _width(network: Any, config: TextTowerConfig) -> int:
    return int(network.config.hidden_size) if config.kind == "transformers" else config.embedding


def _known(cls: type, values: Mapping[str, Any]) -> dict[str, Any]:
    known = set(cls.__dataclass_fields__)  # type: ignore[attr-defined]
    unknown = sorted(set(values) - known)
    if unknown:
        raise InputError(f"sizes of the text encoder are {', '.join(sorted(known))}", ", ".join(unknown))
    return dict(values)

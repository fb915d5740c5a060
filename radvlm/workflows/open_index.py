"""Opening an index of reports with the encoder that it was built with."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from radvlm.errors import InputError
from radvlm.files.optional import importing
from radvlm.model.protocol import METHODS
from radvlm.workflows.models import load_model

if TYPE_CHECKING:
    from radvlm.retrieve import Embedder, FunctionEmbedder, ReportIndex

#: Names of the encoder that needs no weights.
HASHED = ("hashed", "hashed-text")
#: Names of sentence encoders (text only), and what stands before a folder of one.
SENTENCES, SENTENCE_FOLDER = ("minilm",), "sentences:"


def open_embedder(name: str | os.PathLike[str]) -> Embedder:
    """The encoder of an index by name: ``hashed`` (no weights, text only), ``minilm`` or ``sentences:FOLDER`` (sentence
    encoders, text only), or what ``load_model`` takes.

    Raises InputError for a model without a digest of its weights, and whatever ``load_model`` raises.
    """
    from radvlm.retrieve import HashedText

    text = os.fspath(name)
    if text in HASHED or re.fullmatch(r"hashed-text-\d+", text):
        size = text.rpartition("-")[2]
        return HashedText(int(size)) if size.isdigit() else HashedText()
    if text in SENTENCES or text.startswith(SENTENCE_FOLDER):
        from radvlm.retrieve.sentence_encoder import SentenceEncoder

        with importing("torch", "a sentence encoder needs PyTorch and the packages around it"):
            return SentenceEncoder.load(text.removeprefix(SENTENCE_FOLDER))
    return model_embedder(load_model(text), text)


def model_embedder(model: Any, name: str = "") -> FunctionEmbedder:
    """A model (``VisionLanguageModel``) as an encoder; ``name`` is how it can be opened again."""
    from radvlm.retrieve import FunctionEmbedder

    digest = str(getattr(model, "digest", "") or "")
    if not digest:
        raise InputError(
            "the encoder of an index has a digest of its weights",
            f"none ({type(model).__name__})",
            "Save the model and load it again",
        )
    if "embed_text" not in getattr(model, "offers", METHODS):
        return FunctionEmbedder(name or model.name, digest, int(model.dimension), None, model.embed)
    size = int(model.embed_text(["size of a vector"]).shape[1])
    return FunctionEmbedder(name or model.name, digest, size, model.embed_text, model.embed)


@contextmanager
def opened(index: Any, model: Any = None) -> Iterator[ReportIndex]:
    """An index (or its folder) with its encoder; ``model`` is used where it has the weights of the index.

    Raises InputError for anything else, FileFormatError for a damaged index.
    """
    from radvlm.retrieve import ReportIndex

    if not isinstance(index, (str, os.PathLike, ReportIndex)):
        raise InputError(
            "an index is a folder or a ReportIndex",
            type(index).__name__,
            "Build one: radvlm index build --reports reports.jsonl -o INDEX",
        )
    found = index if isinstance(index, ReportIndex) else ReportIndex.load(Path(index))
    mine = found if found is not index else None
    try:
        if found.embedder is None:
            encoder = found.manifest["encoder"]
            same = model is not None and getattr(model, "digest", "") == encoder["digest"]
            embedder = model_embedder(model, encoder["id"]) if same else open_embedder(encoder["id"])
            found = found.with_embedder(embedder)
            if mine is not None:
                mine.close()
            mine = found
        yield found
    finally:
        if mine is not None:
            mine.close()


def reads_scans(index: ReportIndex) -> bool:
    """Whether the encoder of an index has an image side."""
    from radvlm.retrieve import embedder

    return index.embedder is not None and embedder.reads_scans(index.embedder)


def reads_text(index: ReportIndex) -> bool:
    """Whether the encoder of an index has a text side."""
    from radvlm.retrieve import embedder

    return index.embedder is not None and embedder.reads_text(index.embedder)

"""Opening an index of reports with the encoder that it was built with."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from radvlm.errors import InputError
from radvlm.workflows.models import load_model

if TYPE_CHECKING:
    from radvlm.retrieve import Embedder, FunctionEmbedder, ReportIndex

#: Names of the encoder that needs no weights.
HASHED = ("hashed", "hashed-text")


def open_embedder(name: str | os.PathLike[str]) -> Embedder:
    """The encoder of an index by name: ``hashed`` (no weights, text only) or what ``load_model`` takes.

    Raises InputError for a model without a digest of its weights, and whatever ``load_model`` raises.
    """
    from radvlm.retrieve import HashedText

    text = os.fspath(name)
    if text in HASHED or re.fullmatch(r"hashed-text-\d+", text):
        size = text.rpartition("-")[2]
        return HashedText(int(size)) if size.isdigit() else HashedText()
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
    from radvlm.retrieve import HashedText

    embedder = index.embedder
    return not isinstance(embedder, HashedText) and getattr(embedder, "volume", True) is not None

"""What every model offers. A test can follow it in a few lines of Python; nothing here imports PyTorch."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol, runtime_checkable

import numpy as np

from radvlm.errors import InputError
from radvlm.types.finding import Citable, Finding
from radvlm.types.model_output import Answer, FindingScore, ModelOutput
from radvlm.types.segmentation import Segmentation
from radvlm.types.volume import Volume

#: What a model can be asked for. A model names those that it offers in ``offers``; the others raise ``not_offered``.
METHODS = ("embed", "embed_text", "classify", "read", "answer")


def not_offered(model: str, method: str, offers: Sequence[str], remedy: str = "") -> InputError:
    """The error of a method that a model does not have, naming those that it has."""
    return InputError(f"a model that offers {method}", f"{model} offers {', '.join(offers) or 'nothing'}", remedy)


@runtime_checkable
class VisionLanguageModel(Protocol):
    """What every model offers; ``load_model`` returns one.

    ``name`` and ``notice`` say who speaks and how far to trust it.
    A model that has not all of it names what it has in ``offers`` (of ``METHODS``); the others raise ``not_offered``.
    ``findings``: what masks show; () without masks. Prose is written from those that the report of the masks alone
    cites (``radvlm.types.report.cited``), an answer rests on all of them. A decoder's prompt words them as
    ``radvlm.wording.fact_lines`` does.

    A model that was taught to use prior texts also has ``uses_hints = True`` and ``draft(volume, *, findings=(),
    segmentation=None, hints="") -> tuple[Draft, ...]``. Hints reach nothing else of it, so they can change prose only.
    """

    name: str
    notice: str

    def read(
        self, volume: Volume, *, findings: Sequence[Citable] = (), segmentation: Segmentation | None = None
    ) -> tuple[ModelOutput, Segmentation | None]:
        """Scores and prose, and the model's own regions on the grid of ``volume``."""

    def classify(self, volume: Volume, findings: Sequence[str] | None = None) -> tuple[FindingScore, ...]:
        """Calibrated probabilities of its own findings, or of any text."""

    def answer(
        self,
        volume: Volume,
        question: str,
        *,
        findings: Sequence[Finding] = (),
        segmentation: Segmentation | None = None,
    ) -> Answer:
        """The answer to one question; what ``findings`` of masks settle is answered from them."""

    def embed(self, volume: Volume) -> np.ndarray:
        """(D,) float32 of unit length."""

    def embed_text(self, texts: Sequence[str]) -> np.ndarray:
        """(N, D) float32 of unit length."""

"""Any text as a finding: how much nearer an image is to it than to its denial, in the space that both share."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from radvlm.model.calibration import sigmoid, status_of
from radvlm.types.model_output import FindingScore


def text_scores(
    embedding: np.ndarray,
    texts: Sequence[str],
    embed_text: Callable[[Sequence[str]], np.ndarray],
    calibration: tuple[float, float, float, float],
    section_of: Callable[[str], str] = lambda _: "soft_tissues",
) -> dict[str, FindingScore]:
    """The score of each text for an image (D,) of unit length.

    Args:
        calibration: slope and offset of the difference of the two cosines, and the two limits of the status.
        section_of: section of a report that would say the text.
    """
    if not texts:
        return {}
    slope, offset, low, high = calibration
    vectors = embed_text([*texts, *(f"No {t[:1].lower()}{t[1:]}" for t in map(str.strip, texts))])
    contrast = embedding[None] @ (vectors[: len(texts)] - vectors[len(texts) :]).T  # (1, T)
    found = sigmoid(slope * contrast[0] + offset).tolist()
    return {
        text: FindingScore(text, text, section_of(text), "", p, status_of(p, low, high))
        for text, p in zip(texts, found, strict=True)
    }

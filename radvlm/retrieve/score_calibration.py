"""What a cosine means: how far it stands above what any other row of the same kind would score.

The background is drawn for every search from the rows that were allowed, so the scores of an excluded patient shift
nothing, and a query that is near to everything gets no credit for it.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

#: Rows of the background at most, spread evenly over the allowed ones.
BACKGROUND = 1024
#: With fewer, a standard deviation says little, and scores stay uncalibrated.
MIN_BACKGROUND = 30


def background_rows(mask: np.ndarray, count: int = BACKGROUND) -> np.ndarray:
    """Up to ``count`` of the allowed rows, evenly spread; deterministic."""
    rows = np.flatnonzero(mask)
    if len(rows) <= count:
        return rows
    return rows[np.linspace(0, len(rows) - 1, count).astype(np.int64)]


def z_scores(scores: Sequence[float], background: np.ndarray) -> list[float | None]:
    """Each score in standard deviations above the background's mean; None for too small or constant a background."""
    if len(background) < MIN_BACKGROUND or float(background.std()) < 1e-6:
        return [None] * len(scores)
    mean, spread = float(background.mean(dtype=np.float64)), float(background.std(dtype=np.float64))
    return [(float(s) - mean) / spread for s in scores]


def strength(z: np.ndarray) -> np.ndarray:
    """-log of the chance that a standard normal exceeds z: positive for every z, larger for larger z.

    The paper's gap rule takes logarithms of ratios of scores, which cosines at or below zero do not allow; it is
    applied to this instead.
    """
    from scipy.special import log_ndtr

    return -np.asarray(log_ndtr(-np.asarray(z, dtype=np.float64)))

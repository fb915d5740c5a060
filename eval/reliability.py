"""Whether probabilities mean what they say: bins of predicted against observed frequency, as numbers and as a picture.

The picture is SVG written by hand, so it needs no plotting package, and each point carries the Wilson interval
of its bin, because most bins above 0.2 hold few cases of rare findings. Numpy only.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

import numpy as np

from radvlm.errors import InputError

_SIZE, _PAD, _BARS = 300, 46, 64


@dataclass(frozen=True)
class Bin:
    """Cases whose probability lies in [``low``, ``high``).

    Attributes:
        n: cases. mean: of their probabilities. share: of them that are positive.
        share_low, share_high: 95 % interval of the share (Wilson 1927).
    """

    low: float
    high: float
    n: int
    mean: float
    share: float
    share_low: float
    share_high: float


def reliability(probability: np.ndarray, truth: np.ndarray, bins: int = 15) -> tuple[Bin, ...]:
    """Equal-width bins of any number of calibrated probabilities against what was true; empty bins are left out.

    Args:
        probability, truth: of one shape; truth is 0 or 1. Leave out what is not known.

    Raises InputError for other shapes, values or fewer than two bins.
    """
    p, t = np.ravel(np.asarray(probability, float)), np.ravel(np.asarray(truth, float))
    if p.shape != t.shape or not p.size:
        raise InputError("there is one truth for each probability, and at least one", f"{p.size} and {t.size}")
    if not ((p >= 0) & (p <= 1)).all() or not np.isin(t, (0, 1)).all():
        raise InputError("probabilities lie from 0 to 1 and truth is 0 or 1", "other values", "Leave out the unknown")
    if bins < 2:
        raise InputError("a reliability plot has at least two bins", str(bins))
    place = np.minimum((p * bins).astype(int), bins - 1)
    found = []
    for b in range(bins):
        inside = place == b
        n = int(inside.sum())
        if n:
            share = float(t[inside].mean())
            low, high = wilson(int(t[inside].sum()), n)
            found.append(Bin(b / bins, (b + 1) / bins, n, float(p[inside].mean()), share, low, high))
    return tuple(found)


def calibration_error(held: Sequence[Bin]) -> float:
    """Expected calibration error (Naeini et al. 2015): mean distance of predicted and observed, weighted by cases."""
    return sum(b.n * abs(b.mean - b.share) for b in held) / sum(b.n for b in held)


def wilson(positives: int, n: int, z: float = 1.959964) -> tuple[float, float]:
    """95 % interval of a share (Wilson 1927)."""
    share, extra = positives / n, z * z / n
    middle = (share + extra / 2) / (1 + extra)
    half = z * math.sqrt(share * (1 - share) / n + extra / (4 * n)) / (1 + extra)
    return max(0.0, middle - half), min(1.0, middle + half)


def reliability_svg(held: Sequence[Bin], title: str) -> str:
    """The plot: observed share against mean probability with intervals, and the number of cases below (log scale)."""
    width, height = _SIZE + 2 * _PAD, _SIZE + 2 * _PAD + _BARS

    def x(value: float) -> float:
        return _PAD + _SIZE * value

    def y(value: float) -> float:
        return _PAD + _SIZE * (1 - value)

    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" font-family="sans-serif" '
        'font-size="11" role="img"><rect width="100%" height="100%" fill="white"/>'
        f"<title>{escape(title)}: {'; '.join(_words(b) for b in held)}</title>"
        f'<text x="{_PAD}" y="18" font-weight="bold">{escape(title)}</text>'
        f'<text x="{_PAD}" y="34">calibration error {calibration_error(held):.3f}, '
        f"{sum(b.n for b in held)} predictions</text>"
        f'<rect x="{x(0)}" y="{y(1)}" width="{_SIZE}" height="{_SIZE}" fill="none" stroke="#999"/>'
        f'<line x1="{x(0)}" y1="{y(0)}" x2="{x(1)}" y2="{y(1)}" stroke="#999" stroke-dasharray="4 3"/>'
    ]
    for tick in (0, 0.25, 0.5, 0.75, 1):
        parts.append(
            f'<text x="{x(tick):.0f}" y="{y(0) + 14:.0f}" text-anchor="middle">{tick:g}</text>'
            f'<text x="{x(0) - 5}" y="{y(tick) + 4:.0f}" text-anchor="end">{tick:g}</text>'
        )
    most = math.log10(max(b.n for b in held) + 1)
    foot = height - 18
    for b in held:
        tall = (_BARS - 20) * math.log10(b.n + 1) / most
        parts.append(
            f'<line x1="{x(b.mean):.1f}" y1="{y(b.share_low):.1f}" x2="{x(b.mean):.1f}" '
            f'y2="{y(b.share_high):.1f}" stroke="#05a"/>'
            f'<circle cx="{x(b.mean):.1f}" cy="{y(b.share):.1f}" r="3.5" fill="#05a"/>'
            f'<rect x="{x(b.low) + 1:.1f}" y="{foot - tall:.1f}" width="{_SIZE * (b.high - b.low) - 2:.1f}" '
            f'height="{tall:.1f}" fill="#9bd"/>'
        )
    parts.append(
        f'<text x="{x(0.5)}" y="{y(0) + 28}" text-anchor="middle">predicted probability</text>'
        f'<text x="12" y="{y(0.5)}" transform="rotate(-90 12 {y(0.5)})" text-anchor="middle">share that was '
        f'there</text><text x="{x(0.5)}" y="{height - 5}" text-anchor="middle">predictions (log scale)</text>'
    )
    return "".join(parts) + "</svg>\n"


def _words(b: Bin) -> str:
    return f"predicted {b.mean:.2f}, observed {b.share:.2f} of {b.n}"

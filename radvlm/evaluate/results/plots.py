"""Small inline SVG figures of the evaluation page: intervals of all systems on one axis, and per-case distributions.

Colors come from the page's style sheet (classes ``s0`` to ``s5`` for systems, ``baseline`` for the others),
so the figures follow its light and dark themes; every figure has a text alternative.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

import numpy as np

_WIDTH, _LABEL, _VALUE, _ROW = 480, 124, 148, 24
_BINS = 24


@dataclass(frozen=True)
class Row:
    """One system in a figure: its name, style class, value with interval, and per-case values."""

    name: str
    style: str
    value: float | None
    low: float | None
    high: float | None
    text: str
    cases: tuple[float, ...] = ()


def _ticks(low: float, high: float) -> list[float]:
    step = 10 ** math.floor(math.log10((high - low) / 3))
    step *= next(m for m in (1, 2, 5, 10) if (high - low) / (step * m) <= 6)
    first = math.ceil(low / step - 1e-9)
    return [round((first + i) * step, 12) for i in range(math.floor(high / step + 1e-9) - first + 1)]


def _range(values: Sequence[float]) -> tuple[float, float]:
    low, high = min(values), max(values)
    margin = (high - low) * 0.05 or abs(high) * 0.1 or 0.1
    return low - margin if low - margin > 0 or low < 0 else 0.0, high + margin


def _axis(low: float, high: float, height: float) -> tuple[str, float, float]:
    left, right = _LABEL, _WIDTH - _VALUE
    parts = []
    for tick in _ticks(low, high):
        x = left + (tick - low) / (high - low) * (right - left)
        parts.append(
            f'<line class="grid" x1="{x:.1f}" x2="{x:.1f}" y1="4" y2="{height - 18:.0f}"/>'
            f'<text class="tick" x="{x:.1f}" y="{height - 5:.0f}" text-anchor="middle">{tick:g}</text>'
        )
    return "".join(parts), left, (right - left) / (high - low)


def _label(name: str, y: float) -> str:
    short = name if len(name) <= 19 else name[:18] + "…"
    return (
        f'<text x="{_LABEL - 8}" y="{y + 4:.0f}" text-anchor="end">{escape(short)}<title>{escape(name)}</title></text>'
    )


def intervals(title: str, rows: Sequence[Row]) -> str:
    """Dots with confidence intervals, one line a system; "" when no system has a value."""
    ends = [v for r in rows for v in (r.value, r.low, r.high) if v is not None]
    if not ends:
        return ""
    low, high = _range(ends)
    height = len(rows) * _ROW + 26
    axis, left, scale = _axis(low, high, height)
    parts = [axis]
    for i, row in enumerate(rows):
        y = 4 + _ROW * (i + 0.5)
        parts.append(_label(row.name, y))
        parts.append(f'<text class="value" x="{_WIDTH - _VALUE + 8}" y="{y + 4:.0f}">{escape(row.text)}</text>')
        if row.value is None:
            continue
        x = left + (row.value - low) * scale
        if row.low is not None and row.high is not None:
            parts.append(
                f'<line class="{row.style} ends" x1="{left + (row.low - low) * scale:.1f}" '
                f'x2="{left + (row.high - low) * scale:.1f}" y1="{y:.0f}" y2="{y:.0f}"/>'
            )
        parts.append(f'<circle class="{row.style} dot" cx="{x:.1f}" cy="{y:.0f}" r="4.5"/>')
    return _svg(title, height, parts, "; ".join(f"{r.name} {r.text}" for r in rows))


def distributions(title: str, rows: Sequence[Row]) -> str:
    """A histogram of case values for each system on one axis; "" when no case has a value."""
    shown = [r for r in rows if r.cases]
    if not shown:
        return ""
    low, high = _range([v for r in shown for v in (min(r.cases), max(r.cases))])
    tall = 40
    height = len(shown) * tall + 26
    axis, left, scale = _axis(low, high, height)
    parts = [axis]
    for i, row in enumerate(shown):
        base = 4 + tall * (i + 1) - 4
        counts, edges = np.histogram(row.cases, bins=_BINS, range=(low, high))
        peak = max(int(counts.max()), 1)
        parts.append(_label(row.name, base - 10))
        for count, start, stop in zip(counts.tolist(), edges[:-1].tolist(), edges[1:].tolist(), strict=True):
            if count:
                size = (tall - 10) * count / peak
                x = left + (start - low) * scale
                parts.append(
                    f'<rect class="{row.style} bar" x="{x:.1f}" y="{base - size:.1f}" '
                    f'width="{max((stop - start) * scale - 1, 0.5):.1f}" height="{size:.1f}">'
                    f"<title>{start:.3g} to {stop:.3g}: {count} cases</title></rect>"
                )
        middle = float(np.median(row.cases))
        x = left + (middle - low) * scale
        parts.append(
            f'<line class="{row.style} median" x1="{x:.1f}" x2="{x:.1f}" y1="{base - tall + 8}" y2="{base}"/>'
            f'<text class="value" x="{_WIDTH - _VALUE + 8}" y="{base - 6}">median {middle:.3g}</text>'
        )
    return _svg(title, height, parts, f"distribution of {title} over cases")


def _svg(title: str, height: float, parts: Sequence[str], alternative: str) -> str:
    return (
        f'<svg role="img" viewBox="0 0 {_WIDTH} {height:.0f}" aria-label="{escape(f"{title}: {alternative}")}">'
        + "".join(parts)
        + "</svg>"
    )

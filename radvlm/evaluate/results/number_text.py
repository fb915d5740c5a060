"""How the numbers of an evaluation are written: in its summary and on its page."""

from __future__ import annotations

from radvlm.evaluate.results.table import Estimate


def number(value: float | None) -> str:
    """Four significant digits at most, ``-`` for none; 100-scaled values get two decimals."""
    if value is None:
        return "-"
    return f"{value:.2f}" if abs(value) >= 10 else f"{value:.3f}"


def p_text(p: float | None) -> str:
    if p is None:
        return "-"
    return f"{p:.4f}" if p >= 0.001 else f"{p:.1e}"


def interval_text(estimate: Estimate) -> str:
    """Value with its interval, and how many cases are missing from it."""
    text = number(estimate.value)
    if estimate.value is not None:
        text += (
            f" [{number(estimate.low)}, {number(estimate.high)}]"
            if estimate.low is not None
            else f" (no interval: {estimate.no_interval})"
        )
    missing = [f"{n} {word}" for n, word in ((estimate.undefined, "undefined"), (estimate.failed, "failed")) if n]
    return text + (f" ({', '.join(missing)})" if missing else "")

"""Loss curves of a run as one picture (SVG written by hand: nothing to install, readable in a browser)."""

from __future__ import annotations

import json
from pathlib import Path

WIDTH, HEIGHT, PAD = 460, 240, 44


def plot_losses(folder: Path) -> Path | None:
    """``losses.svg`` from every ``*.log.jsonl`` in the folder; None when there is no log yet."""
    panels: list[str] = []
    for file in sorted(folder.glob("*.log.jsonl")):
        rows = [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines() if line.strip()]
        points = [(r["step"], r["loss"]) for r in rows if "loss" in r]
        if len(points) > 1:
            panels.append(_panel(file.name.split(".")[0], points, len(panels)))
    if not panels:
        return None
    target = folder / "losses.svg"
    target.write_text(
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{HEIGHT * len(panels)}" '
        'font-family="sans-serif" font-size="11"><rect width="100%" height="100%" fill="white"/>'
        + "".join(panels)
        + "</svg>",
        encoding="utf-8",
    )
    return target


def _panel(name: str, points: list[tuple[float, float]], number: int) -> str:
    top = HEIGHT * number
    smooth, value = [], points[0][1]
    for step, loss in points:
        value += 0.15 * (loss - value)
        smooth.append((step, value))
    last, high = points[-1][0], max(v for _, v in points)
    low = min(0.0, min(v for _, v in points))

    def place(step: float, loss: float) -> str:
        x = PAD + (WIDTH - 1.5 * PAD) * step / last
        y = top + HEIGHT - PAD - (HEIGHT - 1.7 * PAD) * (loss - low) / max(high - low, 1e-9)
        return f"{x:.1f},{y:.1f}"

    raw, line = (" ".join(place(*p) for p in series) for series in (points, smooth))
    return (
        f'<text x="{PAD}" y="{top + 18}" font-weight="bold">{name}: loss, last {smooth[-1][1]:.3f}</text>'
        f'<polyline points="{raw}" fill="none" stroke="#bbb"/><polyline points="{line}" fill="none" stroke="#05a" '
        f'stroke-width="1.5"/><text x="{PAD}" y="{top + HEIGHT - 26}">0</text>'
        f'<text x="{WIDTH - PAD}" y="{top + HEIGHT - 26}">{last:.0f} steps</text>'
        f'<text x="4" y="{top + 34}">{high:.2f}</text><text x="4" y="{top + HEIGHT - PAD}">{low:.2f}</text>'
    )

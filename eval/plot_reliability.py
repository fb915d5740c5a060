"""The reliability plot of the model that ships, from the journal that score_tiny.py left: docs/images/reliability.svg.

python eval/plot_reliability.py [--journal out/score] [--shift none]
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import numpy as np
from reliability import reliability, reliability_svg

PICTURE = Path(__file__).resolve().parents[1] / "docs" / "images" / "reliability.svg"


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    options.add_argument("--journal", type=Path, default=Path("out/score"))
    options.add_argument("--shift", default="none")
    options.add_argument("--picture", type=Path, default=PICTURE)
    chosen = options.parse_args()
    rows = {
        row["seed"]: row
        for file in sorted(chosen.journal.glob(f"{chosen.shift}.*.jsonl"))
        for row in map(json.loads, file.read_text().splitlines())
    }
    if not rows:
        raise SystemExit(f"no journal of shift {chosen.shift} in {chosen.journal}: run eval/score_tiny.py first")
    probability, truth, known = (
        np.array([row[key] for row in rows.values()]) for key in ("probability", "truth", "known")
    )
    keep = known.astype(bool)
    held = reliability(probability[keep], truth[keep])
    title = f"tiny on {len(rows)} phantoms that it never saw"
    chosen.picture.write_text(reliability_svg(held, title), encoding="utf-8")
    for b in held:
        print(
            f"{b.low:.2f}-{b.high:.2f}  n {b.n:6}  predicted {b.mean:.3f}  observed {b.share:.3f} "
            f"[{b.share_low:.3f}, {b.share_high:.3f}]"
        )


if __name__ == "__main__":
    main()

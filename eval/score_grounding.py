"""How well the regions of a model show where a finding is, on phantoms that it has never seen.

    python eval/score_grounding.py [--cases 60] [--model tiny]

Unusual: two questions are kept apart. Of the findings that are there and that the model calls present, how many does
its region meet (any common voxel), and how far does its center lie from the lesion? And Dice, which must stay low: the
maps have cells of 6 mm, so a region says where and not how large. The trivial baseline beside it is the host organ as a
whole, which is what a report without a voxel head could point at.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from eval.record import write_result
from radvlm.phantom.make import Phantom, make_phantom
from radvlm.quantify import region_mask
from radvlm.types.finding import Status
from radvlm.types.finding_kinds import finding_kinds
from radvlm.types.geometry import Geometry
from radvlm.types.model_output import FindingScore
from radvlm.types.segmentation import Segmentation
from radvlm.workflows.phantom_corpus import CorpusOptions, corpus_spec

FIRST_SEED = 6_000_000


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--cases", type=int, default=60)
    parser.add_argument("--model", default="tiny")
    chosen = parser.parse_args()
    from radvlm import load_model

    model = load_model(chosen.model)
    rows: list[dict[str, Any]] = []
    for seed in range(FIRST_SEED, FIRST_SEED + chosen.cases):
        spec = corpus_spec(seed, CorpusOptions(spacing_mm=3.0, noise_hu=(12.0, 12.0)))
        phantom = make_phantom(spec)
        model_output, own = model.read(phantom.volume)
        for score in model_output.scores:
            if score.status is Status.PRESENT and finding_kinds()[score.finding].structure:
                row = one(score, phantom, own)
                if row is not None:
                    rows.append({"finding": score.finding, "seed": seed, **row})
        print(f"{seed - FIRST_SEED + 1}/{chosen.cases}: {len(rows)} regions", file=sys.stderr)
    write_result("grounding", chosen.cases, summary(rows))


def one(score: FindingScore, phantom: Phantom, own: Segmentation | None) -> dict[str, Any] | None:
    """None for a finding that is not there: a wrong finding is counted elsewhere, not here."""
    kind = finding_kinds()[score.finding]
    side = "left" if score.site.endswith("_left") else "right" if score.site.endswith("_right") else ""
    true = mask_of(phantom.segmentation, kind.structure.format(side=side))
    if true is None or not true.any():
        return None
    if score.region is None or own is None:
        return {"shown": False}
    box, inside = region_mask(own, score.region)
    seen = np.zeros(true.shape, bool)
    seen[tuple(slice(a, b) for a, b in zip(box.start, box.stop, strict=True))] = inside
    host = mask_of(phantom.segmentation, score.site)
    return {
        "shown": True,
        "meets": bool((seen & true).any()),
        "dice": dice(seen, true),
        "away_mm": distance(seen, true, phantom.volume.geometry),
        "host_dice": None if host is None else dice(host | true, true),
        "host_away_mm": None if host is None else distance(host, true, phantom.volume.geometry),
    }


def mask_of(segmentation: Segmentation, name: str) -> np.ndarray | None:
    return segmentation.mask(name) if name in segmentation.places else None


def dice(one_mask: np.ndarray, other: np.ndarray) -> float:
    return float(2 * (one_mask & other).sum() / (one_mask.sum() + other.sum()))


def distance(seen: np.ndarray, true: np.ndarray, geometry: Geometry) -> float:
    """From the center of ``seen`` to the nearest voxel center of ``true``, mm; 0 inside."""
    center = geometry.to_world(np.argwhere(seen).mean(0))
    return float(np.linalg.norm(geometry.to_world(np.argwhere(true)) - center, axis=1).min())


def summary(rows: list[dict[str, Any]]) -> dict[str, Any]:
    shown = [r for r in rows if r["shown"]]
    hosts = [r for r in shown if r["host_away_mm"] is not None]
    rng = np.random.default_rng(0)
    seeds = sorted({r["seed"] for r in rows})

    def share(sample: list[dict[str, Any]]) -> float:
        return sum(r.get("meets", False) for r in sample) / max(1, len(sample))

    by_seed = {s: [r for r in rows if r["seed"] == s] for s in seeds}
    drawn = [share([r for s in rng.choice(seeds, len(seeds)) for r in by_seed[s]]) for _ in range(1000)]
    return {
        "regions": len(rows),
        "not_localized": len(rows) - len(shown),
        "region_meets_the_finding": {
            "value": round(share(rows), 4),
            "low": round(float(np.quantile(drawn, 0.025)), 4),
            "high": round(float(np.quantile(drawn, 0.975)), 4),
        },
        "median_distance_mm": round(float(np.median([r["away_mm"] for r in shown])), 2),
        "mean_dice": round(float(np.mean([r["dice"] for r in shown])), 4),
        "baseline_host_organ": {
            "n": len(hosts),
            "median_distance_mm": round(float(np.median([r["host_away_mm"] for r in hosts])), 2),
            "mean_dice": round(float(np.mean([r["host_dice"] for r in hosts])), 4),
        },
        "by_finding": {
            name: {"n": len(own), "meets": round(share(own), 3)}
            for name in finding_kinds()
            if (own := [r for r in rows if r["finding"] == name])
        },
    }


if __name__ == "__main__":
    main()

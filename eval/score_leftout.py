"""What a model makes of two kinds of lesion that it has never met: trained here without every phantom that has one.

    python eval/score_leftout.py --corpora out/tiny/corpus --out out/leftout [--minutes 20] [--without spleen_cyst ...]

The recipe is that of configs/tiny.yaml with fewer minutes of voxels (``--minutes``) and of heads, on its corpora
without the phantoms that have such a lesion. No loss asks about the two kinds, neither of voxels nor of wordings; that
reports deny them is all that training says of them. Scored on all validation phantoms (they choose the state of the
heads, by the other kinds alone): AUROC of the wordings of evaluation for the two kinds and for the others, and whether
the organ is called abnormal at all. ``tiny`` itself, which met both kinds, stands beside it.
"""

from __future__ import annotations

import argparse
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from eval.record import write_result
from radvlm.dataset.case import Corpus
from radvlm.dataset.sentences import organs
from radvlm.model.hashed_text import HashedTextConfig, HashedTextEncoder
from radvlm.train import tiny_run as stages
from radvlm.train.heads import HeadBatches, Heads, Tables, evidence_tables
from radvlm.train.loop import run_stage
from radvlm.train.tiny_config import TrainConfig
from radvlm.train.tiny_run import macro_auroc, prompt_scores
from radvlm.types.finding_kinds import finding_kinds

ROOT = Path(__file__).resolve().parents[1]
NAMES = tuple(finding_kinds())


def main() -> None:
    args = _arguments()
    corpora, out = Path(args.corpora), Path(args.out)
    out.mkdir(parents=True, exist_ok=True)
    config = TrainConfig.load(ROOT / "configs" / "tiny.yaml")
    torch.set_num_threads(config.threads)
    hidden = [NAMES.index(name) for name in args.without]
    kept = {use: _without(corpora / use, out / use, hidden) for use in ("voxels", "heads")}
    config = replace(
        config,
        voxel_scans=replace(config.voxel_scans, folder=str(out / "voxels")),
        voxels=replace(config.voxels, minutes=args.minutes),
    )
    encoder = stages.make_encoder(config)
    stages._voxels(config, encoder, out, _tell)
    taught = [*Corpus(out / "heads"), *Corpus(out / "voxels")][: args.scans]
    held_cases = list(Corpus(corpora / "validation"))
    options: dict[str, Any] = {"precision": "bfloat16", "workers": config.threads, "progress": _tell}
    tables = evidence_tables(encoder, taught, out / "evidence.heads.safetensors", **options)
    held = evidence_tables(encoder, held_cases, out / "evidence.validation.safetensors", **options)
    heads = _heads(config, encoder, tables, held, hidden, out, args.head_minutes)
    from radvlm import load_model

    tiny = load_model("tiny")
    theirs = evidence_tables(tiny.encoder, held_cases, out / f"evidence.tiny.{tiny.digest[:12]}.safetensors", **options)
    truth = np.stack([c.findings for c in held_cases])
    result = {
        "without": args.without,
        "voxel_minutes": args.minutes,
        "head_minutes": args.head_minutes,
        "phantoms_taught": {"voxels": kept["voxels"], "heads": len(taught)},
        "phantoms_with_it": {n: int(truth[:, NAMES.index(n)].sum()) for n in args.without},
        "left_out": score(encoder, heads.text, held, hidden),
        "tiny": score(tiny.encoder, tiny.text, theirs, hidden),
    }
    print(result)
    write_result("tiny_leftout", len(held_cases), result)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--corpora", required=True, help="folder with voxels/, heads/ and validation/ of the recipe")
    parser.add_argument("--out", required=True)
    parser.add_argument("--without", nargs="+", default=["spleen_cyst", "adrenal_lesion"], choices=NAMES)
    parser.add_argument("--minutes", type=float, default=20.0)
    parser.add_argument("--head-minutes", type=float, default=4.0)
    parser.add_argument("--scans", type=int, default=10**9, help="that the heads learn from, at the most")
    return parser.parse_args()


def _tell(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


def _without(corpus: Path, target: Path, hidden: list[int]) -> int:
    """Links to the phantoms of a corpus that have none of the findings; how many there are."""
    target.mkdir(exist_ok=True)
    for case in Corpus(corpus):
        if not case.findings[hidden].any() and not (target / case.name).exists():
            (target / case.name).symlink_to(Path(case.folder).resolve())
    return len(list(target.iterdir()))


def _heads(
    config: TrainConfig, encoder: Any, tables: Tables, held: Tables, hidden: list[int], out: Path, minutes: float
) -> Heads:
    torch.manual_seed(config.seed + 2)
    encoder.reader.fit_scale(tables.values)
    heads = Heads(encoder.reader, HashedTextEncoder(HashedTextConfig(embedding=config.encoder.embedding)))
    batches = HeadBatches(heads, tables, encoder.config, batch=config.head_batch.size, seed=config.seed + 3)
    batches.known[:, hidden] = 0  # no loss of findings or wordings asks about them
    others = [n for n in range(len(NAMES)) if n not in hidden]
    truth = np.stack([c.findings for c in held.cases])

    def validate() -> float:
        with torch.inference_mode():
            logits, embedding, _ = encoder.reader(held.values)
            asked = prompt_scores(heads.text, encoder.config.findings, embedding.numpy())
        return macro_auroc(logits.numpy()[:, others], truth[:, others]) + macro_auroc(
            asked[:, others], truth[:, others]
        )

    run_stage("heads", heads, batches, replace(config.heads, minutes=minutes), out, validate=validate, progress=_tell)
    return heads


def score(encoder: Any, text: Any, held: Tables, hidden: list[int]) -> dict[str, Any]:
    """AUROCs by wordings of evaluation, and of "something in that organ" by the findings that were taught."""
    encoder.eval()
    with torch.inference_mode():
        logits, embedding, _ = encoder.reader(held.values)
    zero, truth = prompt_scores(text, NAMES, embedding.numpy(), "heldout"), np.stack([c.findings for c in held.cases])
    others = [n for n in range(len(NAMES)) if n not in hidden]
    out: dict[str, Any] = {
        "zero_shot_macro_auroc_of_the_others": round(macro_auroc(zero[:, others], truth[:, others]), 4),
        "macro_auroc_of_the_others": round(macro_auroc(logits.numpy()[:, others], truth[:, others]), 4),
    }
    for n in hidden:
        organ = next(o for o, held_by in organs().items() if NAMES[n] in held_by)
        beside = [NAMES.index(f) for f in organs()[organ] if NAMES.index(f) in others]
        row = {"zero_shot_auroc": _interval(zero[:, n], truth[:, n])}
        if beside:  # phantoms with another finding of the organ would be called abnormal anyway
            alone = ~truth[:, beside].any(1)
            row["auroc_of_something_else_in_that_organ"] = _interval(
                logits.sigmoid().numpy()[alone][:, beside].max(1), truth[alone, n]
            )
        out[NAMES[n]] = row
    return out


def _interval(scores: np.ndarray, truth: np.ndarray) -> dict[str, float]:
    """AUROC with its 95 % percentile bootstrap (1,000 resamples, seed 0)."""
    rng, values = np.random.default_rng(0), []
    for _ in range(1000):
        rows = rng.integers(0, len(truth), len(truth))
        if 0 < truth[rows].sum() < len(rows):
            values.append(macro_auroc(scores[rows, None], truth[rows, None]))
    low, high = np.quantile(values, [0.025, 0.975])
    return {
        "value": round(macro_auroc(scores[:, None], truth[:, None]), 4),
        "low": round(float(low), 4),
        "high": round(float(high), 4),
        "positives": int(truth.sum()),
    }


if __name__ == "__main__":
    main()

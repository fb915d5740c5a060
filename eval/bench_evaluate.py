"""Time of the lexical metrics and the statistics on 1,000 CT-like pairs, beside the programs they equal.

    python eval/bench_evaluate.py [--radeval-python PYTHON] [--n 1000]

``--radeval-python`` is the interpreter of an environment of its own in which RadEval is installed; it is timed in this
run on the same pairs (its BLEU and ROUGE, the two of its metrics that need no weights). Times are wall clock, the best
of three (peers: of one); values are compared, so a fast wrong number cannot win. The machine's load is recorded.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import statistics as stdlib_statistics
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from record import write_result

from radvlm.evaluate.metrics.lexical import LexicalMetric
from radvlm.evaluate.run import evaluate
from radvlm.evaluate.statistics.resampling import Statistics, bootstrap_weights, interval, permutation_p_values
from radvlm.report_reader.report_text import ReportText

PLACES = (
    "right upper lobe",
    "left lower lobe",
    "segment VI of the liver",
    "lower pole of the left kidney",
    "pancreatic tail",
    "spleen",
    "right adrenal gland",
    "paraaortic region",
    "T11 vertebral body",
    "anterior mediastinum",
)
THINGS = (
    "hypodense lesion",
    "calcified nodule",
    "simple cyst",
    "subpleural opacity",
    "enlarged lymph node",
    "wedge-shaped defect",
    "sclerotic focus",
    "peripherally enhancing mass",
)
PHRASES = (
    "A {m} x {n} mm {t} is seen in the {p}, unchanged since the prior examination.",
    "There is a {t} of {m} mm in the {p} (mean attenuation {h} HU).",
    "No {t} is observed in the {p}.",
    "The {p} is of normal size and contour, without {t}.",
    "Mild, nonspecific changes of the {p}; correlate clinically.",
    "Compared with the prior, the {t} in the {p} has grown from {n} to {m} mm.",
)
RADEVAL = """
import json, sys, time, warnings
warnings.simplefilter("ignore")
refs, cands = json.load(open(sys.argv[1]))
start = time.perf_counter()
from radeval import RadEval
imported = time.perf_counter() - start
out = {"import_s": imported}
for name in ("bleu", "rouge"):
    metric = RadEval(metrics=[name])
    start, cpu = time.perf_counter(), time.process_time()
    values = metric(refs=refs, hyps=cands)
    out[name] = {"wall_s": time.perf_counter() - start, "cpu_s": time.process_time() - cpu,
                 "values": {k: float(v) for k, v in values.items() if isinstance(v, (int, float))}}
print("RESULT" + json.dumps(out))
"""


def make_pairs(n: int, seed: int = 0) -> tuple[list[str], list[str]]:
    """Pairs of about 150 words; candidates drop, change and reorder sentences."""
    rng = random.Random(seed)

    def sentence() -> str:
        return rng.choice(PHRASES).format(
            m=rng.randint(3, 40),
            n=rng.randint(3, 40),
            h=rng.randint(-20, 90),
            t=rng.choice(THINGS),
            p=rng.choice(PLACES),
        )

    refs, cands = [], []
    for _ in range(n):
        said = [sentence() for _ in range(10)]
        kept = [sentence() if rng.random() < 0.3 else s for s in said if rng.random() > 0.12]
        if rng.random() < 0.5:
            rng.shuffle(kept)
        refs.append(" ".join(said))
        cands.append(" ".join(kept or said[:1]))
    return refs, cands


def best_of(times: int, work: Callable[[], Any]) -> tuple[dict[str, float], Any]:
    """Wall and processor seconds of the fastest run, and the value."""
    seconds: list[tuple[float, float]] = []
    value = None
    for _ in range(times):
        start, cpu = time.perf_counter(), time.process_time()
        value = work()
        seconds.append((time.perf_counter() - start, time.process_time() - cpu))
    wall, cpu = min(seconds)
    return {"wall_s": round(wall, 4), "cpu_s": round(cpu, 4)}, value


def ours(refs: list[ReportText], cands: list[ReportText], profile: str) -> dict[str, float]:
    metric = LexicalMetric(profile).fit(refs)
    cases = metric.score_cases(refs, cands)
    return {
        o.name: float(o.aggregate(np.array([c[o.case_key].stats for c in cases]).sum(0)[None])[0])
        if o.aggregate
        else float(np.mean([c[o.case_key].value for c in cases]))
        for o in metric.outputs
    }


def peers(refs: list[str], cands: list[str]) -> dict[str, Any]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import sacrebleu
        from pycocoevalcap.cider.cider import Cider
        from rouge_score.rouge_scorer import RougeScorer

        scorer = RougeScorer(["rouge1", "rouge2", "rougeL"], use_stemmer=True)
        gts, res = ({i: [t] for i, t in enumerate(texts)} for texts in (refs, cands))
        bleu_s, bleu = best_of(1, lambda: sacrebleu.corpus_bleu(cands, [refs]).score)
        chrf_s, chrf = best_of(1, lambda: sacrebleu.corpus_chrf(cands, [refs]).score)
        rouge_s, rouges = best_of(1, lambda: [scorer.score(r, c) for r, c in zip(refs, cands, strict=True)])
        cider_s, (cider, _) = best_of(1, lambda: Cider().compute_score(gts, res))
    return {
        "sacrebleu_bleu": bleu_s,
        "sacrebleu_chrf": chrf_s,
        "rouge_score": rouge_s,
        "pycocoevalcap_cider": cider_s,
        "values": {
            "bleu-4": bleu,
            "chrf": chrf,
            "cider-d (whitespace)": cider,
            "rouge-l": stdlib_statistics.mean(s["rougeL"].fmeasure for s in rouges),
        },
    }


def radeval(python: str, refs: list[str], cands: list[str]) -> dict[str, Any]:
    with tempfile.TemporaryDirectory() as folder:
        data = Path(folder) / "pairs.json"
        data.write_text(json.dumps([refs, cands]))
        done = subprocess.run([python, "-c", RADEVAL, str(data)], capture_output=True, text=True, check=False)
    lines = [line for line in done.stdout.splitlines() if line.startswith("RESULT")]
    return json.loads(lines[0][6:]) if lines else {"failed": done.stderr[-500:]}


def import_seconds() -> float:
    code = "import time; t = time.perf_counter(); import radvlm.evaluate; print(time.perf_counter() - t)"
    return min(
        float(subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout)
        for _ in range(5)
    )


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--n", type=int, default=1000)
    parser.add_argument("--radeval-python", default="")
    args = parser.parse_args()
    refs, cands = make_pairs(args.n)
    a, b = ([ReportText.from_text(f"{i:05d}", t) for i, t in enumerate(texts)] for texts in (refs, cands))

    def three() -> None:
        """BLEU-1 to -4, ROUGE-1/2/L and CIDEr-D: the default profile without chrF."""
        metric = LexicalMetric().fit(a)
        metric.profile = replace(metric.profile, chrf=False)
        metric.score_cases(a, b)

    three_s, _ = best_of(3, three)
    default_s, values = best_of(3, lambda: ours(a, b, "default"))
    radeval_s, same_as_radeval = best_of(3, lambda: ours(a, b, "radeval"))
    rows = [np.array([s["bleu-4"].stats for s in LexicalMetric().score_cases(a, x)]) for x in (b, b[::-1])]
    aggregate = next(o.aggregate for o in LexicalMetric().outputs if o.name == "bleu-4")
    permutation_s, _ = best_of(3, lambda: permutation_p_values([rows[0]], [rows[1]], [aggregate], Statistics()))
    settings = Statistics(bootstraps=10_000)
    bootstrap_s, _ = best_of(3, lambda: interval(rows[0], aggregate, bootstrap_weights(args.n, settings), settings))
    whole_s, table = best_of(1, lambda: evaluate(refs, {"a": cands, "b": cands[::-1]}, ["lexical"]))
    write_result(
        "evaluate_lexical",
        args.n,
        {
            "load_average_1min": os.getloadavg()[0],
            "words_per_reference": float(np.mean([len(t.split()) for t in refs])),
            "radvlm": {
                "bleu_rouge_cider": three_s,
                "must_hold_s": 1.5,
                "bleu_rouge_cider_chrf": default_s,
                "bleu_rouge_of_radeval": radeval_s,
                "permutations_10000": permutation_s,
                "bootstraps_10000": bootstrap_s,
                "two_systems_three_baselines_with_statistics": whole_s,
                "estimates": len(table.estimates),
                "import_s": import_seconds(),
                "values": {
                    "bleu-4": values["bleu-4"],
                    "chrf": values["chrf"],
                    "rouge-l": values["rouge-l"],
                    "radeval bleu-4": same_as_radeval["bleu-4"],
                },
            },
            "peers": peers(refs, cands),
            "radeval": radeval(args.radeval_python, refs, cands) if args.radeval_python else "not installed",
        },
    )


if __name__ == "__main__":
    main()

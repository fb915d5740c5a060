"""Every figure of the model card: a model on phantoms that it has never seen, with intervals and trivial baselines.

    python eval/score_tiny.py --cases 500 [--model tiny] [--shift noise|spacing|phase ...] [--masks 60]

Unusual: the public calls are measured (``generate_report`` for the first ``--reports`` cases, ``classify``, the
decoder's answers), on volumes made here from seeds beyond those of training. Intervals are percentile bootstraps over
phantoms. Every case is one line of a journal, so a stopped run goes on.
"""

from __future__ import annotations

import argparse
import json
import shutil
import sys
import tempfile
import time
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from eval.record import write_result
from radvlm.dataset.case import Case
from radvlm.dataset.prompts import prompts
from radvlm.dataset.questions import balanced, constant_baseline, questions
from radvlm.dataset.sentences import report_text
from radvlm.errors import InputError
from radvlm.phantom.make import Phantom, make_phantom
from radvlm.types.finding import Source, Status
from radvlm.types.finding_kinds import finding_kinds
from radvlm.workflows.phantom_corpus import CorpusOptions, case_name, corpus_spec, write_truth

FIRST_SEED = 5_000_000
#: Questions asked of one phantom.
QUESTIONS = 18
#: Name of a shift -> how the phantoms differ from those of training.
SHIFTS: dict[str, dict[str, Any]] = {
    "none": {},
    "noise": {"noise_hu": (25.0, 25.0)},
    "spacing": {"spacing_mm": 4.5},
    "thin": {"spacing_mm": 2.0},
    "abdomen": {"region": "abdomen-pelvis"},
    "style": {"streak_hu": 40.0, "rotation_deg": (6.0, -8.0, 10.0)},  # of acquiring: streaks, an oblique grid
}
NAMES = tuple(finding_kinds())


def main() -> None:
    args = _arguments()
    from radvlm import generate_report, load_model

    model = load_model(args.model)
    folder = Path(args.journal)
    folder.mkdir(parents=True, exist_ok=True)
    journal = folder / f"{args.shift}.{args.part}of{args.parts}.jsonl"
    done = {}
    for file in sorted(folder.glob(f"{args.shift}.*.jsonl")):
        for line in file.read_text().splitlines():
            done[json.loads(line)["seed"]] = json.loads(line)
    seeds = [s for s in range(FIRST_SEED, FIRST_SEED + args.cases) if s % args.parts == args.part]
    for number, seed in enumerate(seeds):
        if seed in done:
            continue
        started = time.monotonic()
        try:
            phantom = _phantom(seed, SHIFTS[args.shift])
        except InputError as error:  # a finding that has no room in this patient; the next seeds go on
            print(f"{seed}: {error}", file=sys.stderr)
            continue
        row = _row(
            phantom,
            model,
            generate_report,
            with_report=number < args.reports // args.parts,
            with_masks=number < args.masks // args.parts,
            with_answers=number < args.answers // args.parts,
        )
        row.update(seed=seed, seconds=round(time.monotonic() - started, 2))
        done[seed] = row
        with journal.open("a", encoding="utf-8") as file:
            file.write(json.dumps(row) + "\n")
        print(f"{number + 1}/{len(seeds)} {row['seconds']} s", file=sys.stderr)
    if args.part == 0 and args.parts == 1:
        rows = [done[s] for s in seeds if s in done]
        result = summarize(rows, model)
        print(json.dumps(result, indent=1))
        write_result(f"tiny_{args.shift}", len(rows), result)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cases", type=int, default=500)
    parser.add_argument("--model", default="tiny")
    parser.add_argument("--shift", choices=sorted(SHIFTS), default="none")
    parser.add_argument("--reports", type=int, default=200, help="cases whose whole report is written")
    parser.add_argument("--masks", type=int, default=60, help="cases that are also reported with their masks")
    parser.add_argument("--answers", type=int, default=500, help="cases of which the public call is asked too")
    parser.add_argument("--journal", default="out/score")
    parser.add_argument("--part", type=int, default=0, help="of --parts processes; run once more without to summarize")
    parser.add_argument("--parts", type=int, default=1)
    return parser.parse_args()


def _phantom(seed: int, shift: dict[str, Any]) -> Phantom:
    options = dict(shift)
    region = options.pop("region", None)
    spec = corpus_spec(seed, CorpusOptions(options.pop("spacing_mm", None), options.pop("noise_hu", (12.0, 12.0))))
    if region:
        return Phantom.random(seed, region=region)
    return make_phantom(replace(spec, **options))


def _case(phantom: Phantom) -> Case:
    folder = Path(tempfile.mkdtemp()) / case_name(phantom.spec.seed)
    folder.mkdir()
    write_truth(folder, phantom)
    case = Case(folder)
    shutil.rmtree(folder.parent)
    return case


def _row(
    phantom: Phantom, model: Any, generate_report: Any, *, with_report: bool, with_masks: bool, with_answers: bool
) -> dict[str, Any]:
    case = _case(phantom)
    encoded = model.encode(phantom.volume)
    scores = model.classify(phantom.volume)
    peak = {n: max((s.probability for s in scores if s.finding == n), default=0.0) for n in NAMES}
    present = {s.finding for s in scores if s.status is Status.PRESENT}
    asked = balanced_pool(case)
    from radvlm.model.decoder.generation import WritingLimits, generate_sections
    from radvlm.model.decoder.prompts import question_prompt
    from radvlm.model.tiny.model import seen_in

    prefix = model.writer.prefix(encoded.table, _logits(encoded))
    seen = seen_in(scores)
    asking = [question_prompt(q["text"], seen) for q in asked]
    written = generate_sections(model.writer.decoder, prefix, asking, WritingLimits(max_new_tokens=24))
    row = {
        "truth": case.findings.astype(int).tolist(),
        "known": case.known.astype(int).tolist(),
        "logits": [round(float(v), 4) for v in encoded.logits],
        "probability": [round(peak[n], 5) for n in NAMES],
        "present": [int(n in present) for n in NAMES],
        "embedding": [round(float(v), 5) for v in encoded.embedding],
        "report": report_text(case, 991, "varied"),
        "answers": [{**q, "given": w.text.strip()} for q, w in zip(asked, written, strict=True)],
        "warned": any("unlike" in d.what for d in encoded.notes),
    }
    if with_answers:
        for a in row["answers"]:
            a["public"] = model.answer(phantom.volume, a["text"]).text
    if with_report:
        report = generate_report(phantom.volume, model=model)
        row["said"] = sorted(
            {
                str(f.model_term or f.kind)
                for f in report.findings
                if f.status is Status.PRESENT and f.source is Source.MODEL
            }
        )
        row["drafts"] = {d.section: d.text for d in report.model_output.drafts}
        row["replaced"], row["sentences"] = len(report.report.replacements), len(report.sentences)
    if with_masks:
        row["masks"] = _with_masks(phantom, model, generate_report)
    return row


def _logits(encoded: Any) -> Any:
    import torch

    return torch.from_numpy(encoded.logits)[None]


def balanced_pool(case: Case) -> list[dict[str, str]]:
    """Held-out wordings of ``QUESTIONS`` questions of a case, each kind of answer alike; balanced later."""
    rng = np.random.default_rng(int(case.name.split("-")[1]))
    pool = questions(case, 0, "heldout")
    counts = Counter((q.kind, q.answer) for q in pool)
    weight = np.array([1 / counts[q.kind, q.answer] for q in pool])
    chosen = rng.choice(len(pool), min(QUESTIONS, len(pool)), replace=False, p=weight / weight.sum())
    return [
        {
            "text": q.text,
            "answer": q.answer,
            "kind": q.kind,
            "subject": q.subject,
            "choices": list(q.choices),
            "case": q.case,
        }
        for q in (pool[n] for n in chosen)
    ]


def _with_masks(phantom: Phantom, model: Any, generate_report: Any) -> dict[str, Any]:
    """With masks: sentences that contradict them (as ``verify`` sees it), and how many were the decoder's own."""
    from radvlm.compose.verify.sentence import verify_sentence

    report = generate_report(phantom.volume, segmentation=phantom.segmentation, model=model)
    wrong = [s.text for s in report.sentences if verify_sentence(s)]
    return {
        "sentences": len(report.sentences),
        "contradicting": len(wrong),
        "replaced": len(report.report.replacements),
        "by_decoder": report.report.model.drafts.accepted,
    }


def summarize(rows: list[dict[str, Any]], model: Any) -> dict[str, Any]:
    """All figures with 95 % bootstrap intervals over cases (1,000 resamples, seed 0)."""
    truth, known = np.array([r["truth"] for r in rows]), np.array([r["known"] for r in rows]).astype(bool)
    logits, probability = np.array([r["logits"] for r in rows]), np.array([r["probability"] for r in rows])
    present = np.array([r["present"] for r in rows])
    written = [r for r in rows if "said" in r]
    said = np.array([[int(n in r["said"]) for n in NAMES] for r in written])
    told = np.array([r["truth"] for r in written])
    zero, limit = _zero_shot(rows, model)
    out: dict[str, Any] = {"n": len(rows), "positives": {n: int(truth[:, i].sum()) for i, n in enumerate(NAMES)}}
    auroc = [_auroc(logits[known[:, i], i], truth[known[:, i], i]) for i in range(len(NAMES))]
    out["auroc_by_finding"] = {n: None if a is None else round(a, 4) for n, a in zip(NAMES, auroc, strict=True)}
    out["macro_auroc"] = _with_interval(
        lambda k: _mean([_auroc(logits[k][:, i], truth[k][:, i]) for i in range(len(NAMES))]), len(rows), 200
    )
    for name, guess, true in (("finding_head", present, truth), ("report", said, told)):
        if not len(true):
            continue
        out[f"{name}_micro_f1"] = _with_interval(lambda k, g=guess, t=true: _f1(g[k], t[k]), len(true))
        out[f"{name}_macro_f1"] = _with_interval(lambda k, g=guess, t=true: _macro_f1(g[k], t[k]), len(true))
    out["reports_written"] = len(written)
    common = np.tile((truth.mean(0) >= np.sort(truth.mean(0))[-3]).astype(int), (len(rows), 1))
    out["baselines"] = {
        "constant_normal_micro_f1": _f1(np.zeros_like(truth), truth),
        "three_commonest_findings_micro_f1": round(_f1(common, truth), 4),
        "everything_present_micro_f1": round(_f1(np.ones_like(truth), truth), 4),
    }
    out["zero_shot_macro_f1"] = _with_interval(lambda k: _macro_f1((zero[k] >= limit).astype(int), truth[k]), len(rows))
    out["zero_shot_macro_auroc"] = round(_mean([_auroc(zero[:, i], truth[:, i]) for i in range(len(NAMES))]), 4)
    out["zero_shot_f1_by_finding"] = {
        n: round(_f1((zero[:, i] >= limit).astype(int), truth[:, i]), 3) for i, n in enumerate(NAMES)
    }
    out["calibration_error"] = _with_interval(
        lambda k: _ece(probability[k][known[k]], truth[k][known[k]]), len(rows), 200
    )
    out["calibration_error_of_prevalence"] = round(_ece(np.full(truth.shape, truth.mean()).ravel(), truth.ravel()), 4)
    out["calibration_error_confident"] = round(_ece_confident(probability[known], truth[known]), 4)
    out.update(_vqa([r for r in rows if "public" in r["answers"][0]], "public"))
    out["decoder_alone"] = _vqa(rows, "given")
    out.update(_retrieval(rows, model))
    masks = [r["masks"] for r in rows if "masks" in r]
    if masks:
        out["with_masks"] = {k: int(sum(m[k] for m in masks)) for k in masks[0]} | {"n": len(masks)}
    if written:
        drafted = _drafted(written)
        out["draft_micro_f1"] = _with_interval(lambda k: _f1(drafted[k], told[k]), len(written))
        out["sentences_replaced_without_masks"] = round(
            sum(r["replaced"] for r in written) / sum(r["sentences"] for r in written), 4
        )
    out["warned_unfamiliar"] = round(float(np.mean([r["warned"] for r in rows])), 4)
    out["seconds_per_case"] = round(float(np.median([r["seconds"] for r in rows])), 2)
    return out


def _drafted(rows: list[dict[str, Any]]) -> np.ndarray:
    """Findings that the decoder's prose affirms, unverified: its plain wording, read back word for word."""
    from radvlm.dataset.sentences import plain_words

    some = ("liver_segment_1", "liver_segment_2")  # two places make the plural; which ones is cut off
    words = {
        n: {
            plain_words(n, side, sites).rstrip(".").lower().split(" in segment")[0]
            for sites in ((), some)
            for side in ("", "left", "right")
        }
        for n in NAMES
    }
    table = []
    for r in rows:
        said = [s.strip().lower() for text in r["drafts"].values() for s in text.split(".") if s.strip()]
        said = [s for s in said if not s.startswith("no ") and " not " not in s and " normal " not in s]
        table.append([int(any(w in s for s in said for w in words[n])) for n in NAMES])
    return np.array(table)


def _zero_shot(rows: list[dict[str, Any]], model: Any) -> tuple[np.ndarray, float]:
    embeddings = np.array([r["embedding"] for r in rows])
    columns = []
    slope, offset, _, limit = model.settings.zero_shot
    for name in NAMES:
        held = prompts(name, "heldout")
        direction = model.embed_text(held.positive).mean(0) - model.embed_text(held.negative).mean(0)
        columns.append(1 / (1 + np.exp(-(slope * embeddings @ direction + offset))))
    return np.stack(columns, 1), limit


def _vqa(rows: list[dict[str, Any]], by: str) -> dict[str, Any]:
    """Accuracy of ``answer`` ("public"), or of what the decoder writes with nothing else ("given")."""
    from radvlm.dataset.questions import Question

    pool, given = [], {}
    for r in rows:
        for a in r["answers"]:
            q = Question(a["text"], a["answer"], a["kind"], a["subject"], tuple(a["choices"]), a["case"])
            pool.append(q)
            given[q] = a[by]
    if not pool:
        return {"vqa_accuracy": None}
    asked = balanced(pool, 0)
    cases = sorted({q.case for q in asked})
    right = {c: [given[q].lower() == q.answer.lower() for q in asked if q.case == c] for c in cases}
    hits = [np.array(right[c], float) for c in cases]
    kinds = {
        k: [given[q].lower() == q.answer.lower() for q in asked if q.kind == k] for k in sorted({q.kind for q in asked})
    }
    return {
        "vqa_accuracy": _with_interval(lambda k: float(np.concatenate([hits[i] for i in k]).mean()), len(hits)),
        "vqa_questions": len(asked),
        "vqa_by_kind": {k: [round(float(np.mean(v)), 4), len(v)] for k, v in kinds.items()},
        "vqa_best_constant": {g: round(constant_baseline(asked, g).accuracy, 4) for g in ("all", "kind", "subject")},
    }


def _retrieval(rows: list[dict[str, Any]], model: Any) -> dict[str, Any]:
    """Image to report among 100: blocks of 100 phantoms, recall@1 averaged over blocks; chance is 0.01."""
    image = np.array([r["embedding"] for r in rows])
    text = model.embed_text([r["report"] for r in rows])
    values, same = [], []
    for start in range(0, len(rows) - 99, 100):
        block = slice(start, start + 100)
        values.append(float((np.argmax(image[block] @ text[block].T, 1) == np.arange(100)).mean()))
        best = np.argmax(image[block] @ text[block].T, 1)
        truth = np.array([r["truth"] for r in rows[block]])
        same.append(float((truth[best] == truth).all(1).mean()))
    if not values:
        return {"image_to_report_recall_at_1_of_100": None}
    return {
        "image_to_report_recall_at_1_of_100": {"value": round(float(np.mean(values)), 4), "blocks": values},
        "image_to_report_same_findings_at_1": round(float(np.mean(same)), 4),
    }


def _with_interval(measure: Any, n: int, resamples: int = 1000) -> dict[str, float]:
    rng = np.random.default_rng(0)
    values = [measure(rng.integers(0, n, n)) for _ in range(resamples)]
    low, high = np.quantile(values, [0.025, 0.975])
    return {"value": round(float(measure(np.arange(n))), 4), "low": round(float(low), 4), "high": round(float(high), 4)}


def _auroc(scores: np.ndarray, truth: np.ndarray) -> float | None:
    positive, negative = scores[truth > 0], scores[truth == 0]
    if not positive.size or not negative.size:
        return None
    return float((positive[:, None] > negative).mean() + 0.5 * (positive[:, None] == negative).mean())


def _mean(values: list[float | None]) -> float:
    return float(np.mean([v for v in values if v is not None]))


def _f1(guess: np.ndarray, truth: np.ndarray) -> float:
    hit = float((guess * truth).sum())
    return 2 * hit / max(1.0, float(guess.sum() + truth.sum()))


def _macro_f1(guess: np.ndarray, truth: np.ndarray) -> float:
    return _mean([_f1(guess[:, i], truth[:, i]) if truth[:, i].any() else None for i in range(truth.shape[1])])


def _ece(probability: np.ndarray, truth: np.ndarray, bins: int = 15) -> float:
    """Expected calibration error, equal-width bins (Naeini et al. 2015)."""
    p, t = np.ravel(probability), np.ravel(truth)
    place = np.minimum((p * bins).astype(int), bins - 1)
    return float(
        sum(
            abs(p[place == b].mean() - t[place == b].mean()) * (place == b).mean()
            for b in range(bins)
            if (place == b).any()
        )
    )


def _ece_confident(probability: np.ndarray, truth: np.ndarray) -> float:
    """The same over predictions of at least 0.05 alone: easy negatives would hide the rest."""
    keep = probability >= 0.05
    return _ece(probability[keep], truth[keep])


if __name__ == "__main__":
    main()

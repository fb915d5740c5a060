"""Score the rule-based labeler on the held-out sentences and write eval/results/labeler_heldout.json.

    python eval/score_heldout.py

Macro F1 is the mean over labels of the F1 of the class ``present`` (an uncertain or absent sentence that is called
present is a false positive). The four statuses are also scored over all pairs of sentence and label. Not for tuning.
"""

from __future__ import annotations

import hashlib
import json
from collections import Counter, defaultdict
from pathlib import Path
from typing import Any

from record import write_result

from radvlm.evaluate import label_report

SENTENCES = Path(__file__).parent.parent / "tests" / "evaluate" / "heldout" / "sentences.jsonl"
STATUSES = ("present", "absent", "uncertain", "not mentioned")
Pair = tuple[str, str, str, str]  # label, gold, answer, style


def read_cases(path: Path = SENTENCES) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def pairs_of(case: dict[str, Any], scheme: str) -> list[Pair]:
    """Gold and answer for every label of the scheme; open labels left out, an implied one is right by either answer."""
    answers = label_report(case["text"], scheme=scheme)
    gold, opened = case["labels"][scheme], case.get("open", {}).get(scheme, ())
    implied = case.get("implied", {}).get(scheme, ())
    pairs = []
    for label, answer in answers.items():
        if label in opened:
            continue
        truth = gold.get(label, "not mentioned")
        if label in implied and answer in ("absent", "not mentioned"):
            truth = answer
        pairs.append((label, truth, answer, case["style"]))
    return pairs


def counts_for(pairs: list[Pair], status: str) -> tuple[int, int, int]:
    """(true positives, false positives, false negatives) of one status."""
    return (
        sum(gold == status == answer for _, gold, answer, _ in pairs),
        sum(answer == status != gold for _, gold, answer, _ in pairs),
        sum(gold == status != answer for _, gold, answer, _ in pairs),
    )


def scores(counts: tuple[int, int, int]) -> dict[str, Any]:
    """Precision, recall, F1 and n; None where the denominator is zero."""
    tp, fp, fn = counts
    return {
        "precision": round(tp / (tp + fp), 4) if tp + fp else None,
        "recall": round(tp / (tp + fn), 4) if tp + fn else None,
        "f1": round(2 * tp / (2 * tp + fp + fn), 4) if tp + fp + fn else None,
        "n": tp + fn,
    }


def score_scheme(cases: list[dict[str, Any]], scheme: str) -> dict[str, Any]:
    pairs = [pair for case in cases for pair in pairs_of(case, scheme)]
    by_label: dict[str, list[Pair]] = defaultdict(list)
    by_style: dict[str, list[Pair]] = defaultdict(list)
    for pair in pairs:
        by_label[pair[0]].append(pair)
        by_style[pair[3]].append(pair)
    per_label = {label: scores(counts_for(group, "present")) for label, group in by_label.items()}
    per_status = {status: scores(counts_for(pairs, status)) for status in STATUSES}
    confusion = Counter(f"{gold} -> {answer}" for _, gold, answer, _ in pairs if gold != answer)
    return {
        "macro_f1_present": round(sum(value["f1"] or 0.0 for value in per_label.values()) / len(per_label), 4),
        "micro_present": per_status["present"],
        "per_status": per_status,
        "per_label_present": per_label,
        "per_style_present": {style: scores(counts_for(group, "present")) for style, group in sorted(by_style.items())},
        "confusion": dict(sorted(confusion.items())),
    }


def score_heldout(path: Path = SENTENCES) -> dict[str, Any]:
    """Scheme -> scores on the held-out file."""
    cases = read_cases(path)
    return {scheme: score_scheme(cases, scheme) for scheme in ("ct-rate", "merlin")}


def main() -> None:
    cases = read_cases()
    write_result(
        "labeler_heldout",
        len(cases),
        {
            "sentences_sha256": hashlib.sha256(SENTENCES.read_bytes()).hexdigest(),
            "mentions": sum(len(labels) for case in cases for labels in case["labels"].values()),
            **score_heldout(),
        },
    )


if __name__ == "__main__":
    main()

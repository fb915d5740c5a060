"""Write the measured tables of docs/evaluation.md from eval/results; a test fails while they differ.

A table stands between ``<!-- measured: NAME -->`` and ``<!-- /measured -->``; the rest is left alone.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
DOCUMENT = ROOT / "docs" / "evaluation.md"
RESULTS = ROOT / "eval" / "results"
BLOCK = re.compile(r"(<!-- measured: (\w+) -->\n).*?(<!-- /measured -->)", re.S)
CATEGORIES = ("false_finding", "omission", "wrong_location", "wrong_severity", "false_comparison", "omitted_comparison")
#: Row of sensitivity.json -> how the documentation calls it.
METRICS = {
    "lexical bleu-4": "BLEU-4", "lexical rouge-l": "ROUGE-L", "lexical cider-d": "CIDEr-D", "lexical chrf": "chrF",
    "findings labels": "`findings` (CT-RATE's 18)", "findings:radvlm labels": "`findings:radvlm`",
    "errors total": "`errors` total", "errors significant": "`errors` significant",
}


def table(head: list[str], rows: list[list[str]]) -> str:
    return "\n".join(f"| {' | '.join(row)} |" for row in [head, ["---"] * len(head), *rows]) + "\n"


def sensitivity(results: Path) -> str:
    """What each metric notices, and what the counter finds."""
    data = _read(results, "sensitivity")
    words = [c.replace("_", " ") for c in CATEGORIES]
    rows = [[METRICS.get(name, name), *(f"{row[c]:.2f}" for c in CATEGORIES)]
            for name, row in data["auc_against_paraphrases"].items()]
    counter = data["error_counter"]
    rows += [[f"`errors`, {part} by kind", *(f"{counter[c][part]:.3f}" for c in CATEGORIES)]
             for part in ("precision", "recall")]
    clean = ", ".join(f"{name} {share:.1%}" for name, share in counter["controls_without_error"].items())
    return (f"n = {data['n']} pairs a column.\n\n{table(['', *words], rows)}\n"
            f"Controls without a counted error: {clean}.\n")


def labeler(results: Path) -> str:
    """Scores of the labeler on the held-out sentences."""
    data = _read(results, "labeler_heldout")
    rows = []
    for scheme in ("ct-rate", "merlin"):
        part = data[scheme]
        micro = part["micro_present"]
        rows.append([scheme, f"{part['macro_f1_present']:.3f}", f"{micro['f1']:.3f}", f"{micro['precision']:.3f}",
                     f"{micro['recall']:.3f}", str(micro["n"]), f"{part['per_status']['absent']['f1']:.3f}"])
    head = ["scheme", "macro F1", "micro F1", "precision", "recall", "n present", "F1 of absent"]
    return f"{data['n']} sentences.\n\n{table(head, rows)}"


def speed(results: Path) -> str:
    """Times of one run of each benchmark."""
    lexical, labels = _read(results, "evaluate_lexical"), _read(results, "labeler_speed")
    own, peers, radeval = lexical["radvlm"], lexical["peers"], lexical["radeval"]
    both = radeval["bleu"]["wall_s"] + radeval["rouge"]["wall_s"]
    rows = [
        ["BLEU-1 to 4, ROUGE-1/2/L, CIDEr-D", f"{own['bleu_rouge_cider']['wall_s']:.2f} s",
         f"sacrebleu {peers['sacrebleu_bleu']['wall_s']:.1f} s + rouge-score {peers['rouge_score']['wall_s']:.1f} s + "
         f"pycocoevalcap {peers['pycocoevalcap_cider']['wall_s']:.1f} s"],
        ["BLEU and ROUGE as RadEval has them", f"{own['bleu_rouge_of_radeval']['wall_s']:.2f} s",
         f"RadEval {both:.1f} s, after {radeval['import_s']:.0f} s of import"],
        ["10,000 permutations", f"{own['permutations_10000']['wall_s']:.2f} s", "-"],
        ["two systems, three trivial rows, all intervals and tests",
         f"{own['two_systems_three_baselines_with_statistics']['wall_s']:.1f} s", "-"],
        ["labels", f"{labels['labels_per_s']['every_sentence_new']:,.0f} to "
         f"{labels['labels_per_s']['all_seen_before']:,.0f} reports/s", "-"],
        ["errors", f"{labels['pairs_per_s']['every_sentence_new']:,.0f} to "
         f"{labels['pairs_per_s']['all_seen_before']:,.0f} pairs/s", "-"],
    ]
    pairs = f"{lexical['n']:,} pairs of {lexical['words_per_reference']:.0f} words"
    return (table([pairs, "radvlm", "others, in the same run"], rows)
            + f"\n{lexical['machine']['cores']} busy cores. Labels and errors: reports of {labels['words_per_report']} "
            f"words, pairs of {labels['pairs_per_s']['words_per_report']}; the lower number when every sentence is "
            "new, the higher when each was read before.\n")


BLOCKS: dict[str, Callable[[Path], str]] = {"sensitivity": sensitivity, "labeler": labeler, "speed": speed}


def _read(results: Path, name: str) -> dict[str, Any]:
    return json.loads((results / f"{name}.json").read_text(encoding="utf-8"))


def filled(document: str, results: Path = RESULTS) -> str:
    """The document with its measured blocks as the results have them. KeyError for a block that is not known."""
    return BLOCK.sub(lambda m: m[1] + BLOCKS[m[2]](results) + m[3], document)


if __name__ == "__main__":
    DOCUMENT.write_text(filled(DOCUMENT.read_text(encoding="utf-8")), encoding="utf-8")

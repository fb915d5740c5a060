"""Write the measured tables of docs/ from eval/results; a test fails while they differ.

A table stands between ``<!-- measured: NAME -->`` and ``<!-- /measured -->``; the rest is left alone.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
DOCUMENTS = (ROOT / "docs" / "evaluation.md", ROOT / "docs" / "tiny.md", ROOT / "docs" / "retrieval.md")
RESULTS = ROOT / "eval" / "results"
BLOCK = re.compile(r"(<!-- measured: (\w+) -->\n).*?(<!-- /measured -->)", re.S)
CATEGORIES = ("false_finding", "omission", "wrong_location", "wrong_severity", "false_comparison", "omitted_comparison")
#: Row of sensitivity.json -> how the documentation calls it.
METRICS = {
    "lexical bleu-4": "BLEU-4",
    "lexical rouge-l": "ROUGE-L",
    "lexical cider-d": "CIDEr-D",
    "lexical chrf": "chrF",
    "findings labels": "`findings` (CT-RATE's 18)",
    "findings:radvlm labels": "`findings:radvlm`",
    "errors total": "`errors` total",
    "errors significant": "`errors` significant",
}


def table(head: list[str], rows: list[list[str]]) -> str:
    return "\n".join(f"| {' | '.join(row)} |" for row in [head, ["---"] * len(head), *rows]) + "\n"


def sensitivity(results: Path) -> str:
    """What each metric notices, and what the counter finds."""
    data = _read(results, "sensitivity")
    words = [c.replace("_", " ") for c in CATEGORIES]
    rows = [
        [METRICS.get(name, name), *(f"{row[c]:.2f}" for c in CATEGORIES)]
        for name, row in data["auc_against_paraphrases"].items()
    ]
    counter = data["error_counter"]
    rows += [
        [f"`errors`, {part} by kind", *(f"{counter[c][part]:.3f}" for c in CATEGORIES)]
        for part in ("precision", "recall")
    ]
    clean = ", ".join(f"{name} {share:.1%}" for name, share in counter["controls_without_error"].items())
    return (
        f"n = {data['n']} pairs a column.\n\n{table(['', *words], rows)}\nControls without a counted error: {clean}.\n"
    )


def labeler(results: Path) -> str:
    """Scores of the labeler on the held-out sentences."""
    data = _read(results, "labeler_heldout")
    rows = []
    for scheme in ("ct-rate", "merlin"):
        part = data[scheme]
        micro = part["micro_present"]
        rows.append(
            [
                scheme,
                f"{part['macro_f1_present']:.3f}",
                f"{micro['f1']:.3f}",
                f"{micro['precision']:.3f}",
                f"{micro['recall']:.3f}",
                str(micro["n"]),
                f"{part['per_status']['absent']['f1']:.3f}",
            ]
        )
    head = ["scheme", "macro F1", "micro F1", "precision", "recall", "n present", "F1 of absent"]
    return f"{data['n']} sentences.\n\n{table(head, rows)}"


def speed(results: Path) -> str:
    """Times of one run of each benchmark."""
    lexical, labels = _read(results, "evaluate_lexical"), _read(results, "labeler_speed")
    own, peers, radeval = lexical["radvlm"], lexical["peers"], lexical["radeval"]
    both = radeval["bleu"]["wall_s"] + radeval["rouge"]["wall_s"]
    rows = [
        [
            "BLEU-1 to 4, ROUGE-1/2/L, CIDEr-D",
            f"{own['bleu_rouge_cider']['wall_s']:.2f} s",
            f"sacrebleu {peers['sacrebleu_bleu']['wall_s']:.1f} s + "
            f"rouge-score {peers['rouge_score']['wall_s']:.1f} s + "
            f"pycocoevalcap {peers['pycocoevalcap_cider']['wall_s']:.1f} s",
        ],
        [
            "BLEU and ROUGE as RadEval has them",
            f"{own['bleu_rouge_of_radeval']['wall_s']:.2f} s",
            f"RadEval {both:.1f} s, after {radeval['import_s']:.0f} s of import",
        ],
        ["10,000 permutations", f"{own['permutations_10000']['wall_s']:.2f} s", "-"],
        [
            "two systems, three trivial rows, all intervals and tests",
            f"{own['two_systems_three_baselines_with_statistics']['wall_s']:.1f} s",
            "-",
        ],
        [
            "labels",
            f"{labels['labels_per_s']['every_sentence_new']:,.0f} to "
            f"{labels['labels_per_s']['all_seen_before']:,.0f} reports/s",
            "-",
        ],
        [
            "errors",
            f"{labels['pairs_per_s']['every_sentence_new']:,.0f} to "
            f"{labels['pairs_per_s']['all_seen_before']:,.0f} pairs/s",
            "-",
        ],
    ]
    pairs = f"{lexical['n']:,} pairs of {lexical['words_per_reference']:.0f} words"
    return (
        table([pairs, "radvlm", "others, in the same run"], rows)
        + f"\n{lexical['machine']['cores']} busy cores. Labels and errors: reports of {labels['words_per_report']} "
        f"words, pairs of {labels['pairs_per_s']['words_per_report']}; the lower number when every sentence is "
        "new, the higher when each was read before.\n"
    )


def tiny(results: Path) -> str:
    """Every figure of the model that ships, on phantoms like its own and on shifted ones."""
    runs = {
        words: _read(results, f"tiny_{shift}")
        for shift, words in SHIFTS.items()
        if (results / f"tiny_{shift}.json").exists()
    }
    rows = []
    for run in runs.values():
        run["decoder_vqa"] = run["decoder_alone"]["vqa_accuracy"]
    for key, words, wanted in TINY:
        values = [_with_interval(run.get(key)) for run in runs.values()]
        rows.append([words, wanted, *values])
    first = next(iter(runs.values()))
    base = first["baselines"]
    constants = first["decoder_alone"]["vqa_best_constant"]
    head = ["figure", "asked for", *(f"{words} (n = {run['n']})" for words, run in runs.items())]
    text = table(head, rows)
    text += (
        "\nTrivial baselines, same phantoms: F1 of the constant normal report "
        f"{base['constant_normal_micro_f1']:.2f}, of the three commonest findings "
        f"{base['three_commonest_findings_micro_f1']:.2f}, of everything present "
        f"{base['everything_present_micro_f1']:.2f}; best constant answer {constants['all']:.2f}, by kind of "
        f"question {constants['kind']:.2f}, by kind and subject {constants['subject']:.2f}; recall by chance "
        f"0.01; calibration error of the prevalence {first['calibration_error_of_prevalence']:.3f}.\n"
    )
    if "with_masks" in first:
        m = first["with_masks"]
        text += (
            f"\nWith masks ({m['n']} phantoms): {m['contradicting']} of {m['sentences']} sentences contradict "
            f"them; {m['by_decoder']} are the decoder's own, {m['replaced']} drafts were replaced.\n"
        )
    return text


def tiny_findings(results: Path) -> str:
    """AUROC and number of cases by finding."""
    data = _read(results, "tiny_none")
    rows = sorted(
        ((n.replace("_", " "), v) for n, v in data["auroc_by_finding"].items() if v is not None), key=lambda r: r[1]
    )
    counts = {n.replace("_", " "): v for n, v in data["positives"].items()}
    return table(["finding", "phantoms with it", "AUROC"], [[n, str(counts[n]), f"{v:.3f}"] for n, v in rows])


def retrieval_speed(results: Path) -> str:
    """Single queries of every size measured, beside exact search of the same vectors in the same run."""
    data = _read(results, "retrieval")
    rows = []
    for n, kinds in data["curve"].items():
        for row in kinds.values():
            rows.append(
                [
                    f"{int(n):,}",
                    row["factory"] or "flat",
                    f"{row['single_query_ms']:.2g} ms",
                    f"{row['times_faster_than_exact']:.1f}",
                    f"{row['recall_at_10']:.3f}",
                    f"{row['build_s']:.0f} s",
                    f"{row['load_s'] * 1000:.1f} ms",
                    f"{row['peak_memory_gb']:.1f} GB",
                ]
            )
    head = ["vectors", "kind", "query", "times faster than exact", "recall@10", "build", "load", "peak memory so far"]
    text = f"{data['date']}, {data['machine']['cores']} cores, {data['queries']} queries.\n\n" + table(head, rows)
    hard = [(n, row) for n, kinds in data.get("without_topics", {}).items() for row in kinds.values()]
    for n, row in hard:
        text += (
            f"\nWithout topics (the hard case), {int(n):,} vectors, {row['factory'] or 'flat'}: "
            f"{row['single_query_ms']:.2g} ms, recall@10 {row['recall_at_10']:.3f}, "
            f"{row['times_faster_than_exact']:.1f} times exact search.\n"
        )
    if "whole_index" in data:
        whole = data["whole_index"]
        text += (
            f"\nA whole index of {whole['records']:,} reports with {whole['sentences']:,} sentences: build "
            f"{whole['build_s']:.0f} s, load {whole['load_s'] * 1000:.0f} ms, search {whole['search_ms']:.1f} ms, "
            f"of one organ {whole['search_one_organ_ms']:.1f} ms, {whole['disk_gb']:.2f} GB on disk.\n"
        )
    return text


def tiny_leftout(results: Path) -> str:
    """Two kinds of lesion for a model that never met them, and for ``tiny``, which did."""
    data = _read(results, "tiny_leftout")
    rows = []
    for name in data["without"]:
        for key, words in (
            ("zero_shot_auroc", "by its wordings of evaluation"),
            ("auroc_of_something_else_in_that_organ", "by the findings taught of that organ"),
        ):
            if key in data["left_out"][name]:
                rows.append(
                    [
                        f"{name.replace('_', ' ')}, {words}",
                        *(_with_interval(data[m][name][key]) for m in ("left_out", "tiny")),
                    ]
                )
    rows += [
        [words, *(_with_interval(data[m][key]) for m in ("left_out", "tiny"))]
        for key, words in (
            ("zero_shot_macro_auroc_of_the_others", "all other findings by wordings, macro"),
            ("macro_auroc_of_the_others", "all other findings by the finding head, macro"),
        )
    ]
    counts = ", ".join(f"{n} {k.replace('_', ' ')}" for k, n in data["phantoms_with_it"].items())
    return (
        f"{data['n']} validation phantoms ({counts}); {data['voxel_minutes']:.0f} minutes of voxels and "
        f"{data['head_minutes']:.0f} of heads on {data['phantoms_taught']['voxels']} and "
        f"{data['phantoms_taught']['heads']} phantoms without either.\n\n"
        + table(["AUROC of", "never met it", "`tiny`"], rows)
    )


#: Condition of eval/score_retrieval.py -> how the documentation calls it.
CONDITIONS = {
    "none": "no hints",
    "in-domain": "hints of the site's index",
    "poisoned": "poisoned index",
    "forced": "one wrong hint in every section",
}


def retrieval(results: Path) -> str:
    """Drafts and reports with and without prior texts, before and after preference tuning; votes; similar cases."""
    data = _read(results, "retrieval_tiny")
    rows = []
    for condition, words in CONDITIONS.items():
        for key, what in (
            ("report_micro_f1", "findings of reports, micro F1"),
            ("draft_micro_f1", "findings of drafts, micro F1"),
            ("copy_rate", "copy rate"),
            ("over_reliance", "over-reliance"),
            ("drafts_in_the_sites_wording", "drafted findings in the site's wording"),
        ):
            if key in data["hinted"][condition]:
                rows.append(
                    [f"{what}, {words}", *(_with_interval(data[m][condition][key]) for m in ("hinted", "preferred"))]
                )
    text = f"{data['n']} phantoms, {data['prior_reports']} prior reports.\n\n" + table(["", "before", "after"], rows)
    other = sum(data[m][c]["reports_with_another_finding"] for m in ("hinted", "preferred") for c in CONDITIONS)
    wrong = ", ".join(f"{n:,} ({CONDITIONS[c]})" for c, n in data["wrong_findings_in_hints"].items())
    text += (
        f"\nWrong findings in hints: {wrong}. Reports with a finding that they did not have without prior texts: "
        f"{other} of {2 * len(CONDITIONS) * data['n']}.\n\n"
    )
    rows = [
        [
            CONDITIONS[c],
            _with_interval(data[f"copy_rate_after_over_before_{c}"]),
            _with_interval(data[f"draft_f1_after_minus_before_{c}"]),
        ]
        for c in list(CONDITIONS)[1:]
    ]
    text += table(["", "copy rate, after over before", "draft F1, after minus before"], rows)
    if "public_call" in data:
        public = data["public_call"]
        rows = [
            [
                kind,
                *(
                    str(public[kind][k])
                    for k in ("with_hints", "reports_with_another_finding", "reworded", "orders_that_reached_the_model")
                ),
            ]
            for kind in ("in-domain", "poisoned", "orders")
        ]
        text += f"\n`generate_report` with an index, {public['n']} phantoms:\n\n" + table(
            ["index", "with hints", "with another finding", "reworded", "orders that reached the model"], rows
        )
    votes, base = data["votes"], data["baselines"]
    rows = [
        [words, _with_interval(value)]
        for words, value in (
            ("the decoder's drafts before hints were taught", data["draft_micro_f1_of_the_model_before_hints"]),
            ("finding head alone", votes["model_alone_micro_f1"]),
            ("finding head and calibrated vote of neighbors", votes["model_and_votes_micro_f1"]),
            ("that minus the finding head alone", votes["votes_minus_alone"]),
            ("vote alone", votes["votes_alone_micro_f1"]),
            (
                "votes of a poisoned index, calibrated anew, minus the head alone",
                votes["poisoned_fitted_anew_minus_alone"],
            ),
            ("copy of the nearest report", base["copy_of_nearest_report_micro_f1"]),
            ("random report", base["random_report_micro_f1"]),
            ("constant normal", base["constant_normal_micro_f1"]),
        )
    ]
    text += "\n" + table(["beside it", "micro F1"], rows)
    similar = data["similar_cases"]
    rows = [[str(k), _with_interval(similar[f"recall_at_{k}"]), f"{similar[f'chance_at_{k}']:.3f}"] for k in (1, 5, 10)]
    return text + "\n" + table(["similar cases, k", "recall@k of the same finding", "chance"], rows)


#: Shift of eval/score_tiny.py -> how the documentation calls it.
SHIFTS = {
    "none": "as in training",
    "noise": "noise 25 HU",
    "spacing": "4.5 mm voxels",
    "thin": "2 mm voxels",
    "abdomen": "abdomen and pelvis only",
    "style": "streaks 40 HU, oblique grid",
}
#: Key of the result, words, what was asked for.
TINY = (
    ("macro_auroc", "findings, macro AUROC", ">= 0.95"),
    ("report_micro_f1", "findings said in the report, F1", ">= 0.85"),
    ("finding_head_micro_f1", "findings above their threshold, F1", ""),
    ("zero_shot_macro_f1", "zero-shot, wordings never trained on, macro F1", ">= 0.80"),
    ("vqa_accuracy", "questions to `answer`, accuracy", ">= 0.90"),
    ("decoder_vqa", "the same by the decoder alone", ""),
    ("draft_micro_f1", "findings in the decoder's own prose, F1", ""),
    ("image_to_report_recall_at_1_of_100", "scan to report, recall@1 of 100", ">= 0.80"),
    ("calibration_error", "calibration error", "< 0.05"),
    ("calibration_error_confident", "the same where p >= 0.05", ""),
    ("warned_unfamiliar", "share called unlike the training", ""),
)


def _with_interval(value: Any) -> str:
    if value is None:
        return "not measured"
    if isinstance(value, float):
        return f"{value:.3f}"
    if "low" in value:
        return f"{value['value']:.3f} ({value['low']:.3f} to {value['high']:.3f})"
    return f"{value['value']:.3f}"


BLOCKS: dict[str, Callable[[Path], str]] = {
    "sensitivity": sensitivity,
    "labeler": labeler,
    "speed": speed,
    "tiny": tiny,
    "tiny_findings": tiny_findings,
    "tiny_leftout": tiny_leftout,
    "retrieval": retrieval,
    "retrieval_speed": retrieval_speed,
}


def _read(results: Path, name: str) -> dict[str, Any]:
    return json.loads((results / f"{name}.json").read_text(encoding="utf-8"))


def filled(document: str, results: Path = RESULTS) -> str:
    """The document with its measured blocks as the results have them. KeyError for a block that is not known."""
    return BLOCK.sub(lambda m: m[1] + BLOCKS[m[2]](results) + m[3], document)


if __name__ == "__main__":
    for document in DOCUMENTS:
        document.write_text(filled(document.read_text(encoding="utf-8")), encoding="utf-8")

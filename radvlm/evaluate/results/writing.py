"""The files of an evaluation: per-case JSONL, summary as JSON and Markdown, and the page.

Unusual: everything is written beside its place and moved there when complete, so a killed run leaves the old files or
the new ones, never half of one.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterable
from pathlib import Path

from radvlm.errors import FileFormatError, InputError
from radvlm.evaluate.results.table import Estimate, EvaluationTable, MetricInfo


def save(table: EvaluationTable, folder: Path, page: bool = True) -> Path:
    """Write every file of ``table`` into ``folder``, which is made if need be.

    Case files of an earlier evaluation in the same folder, as its summary lists them, are removed if they are not
    written again, so that all files belong together.
    """
    names = {s.name: f"cases-{file_name(s.name)}.jsonl" for s in table.systems}
    if len({name.lower() for name in names.values()}) != len(names):
        raise InputError("systems have names that differ as file names", ", ".join(names))
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for stale in _earlier(folder / "summary.json") - set(names.values()):
            folder.joinpath(stale).unlink(missing_ok=True)
        for system in table.systems:
            _write(
                folder / names[system.name],
                (json.dumps(record.to_dict(), ensure_ascii=False) + "\n" for record in system.records),
            )
        summary = {**table.to_dict(), "case_files": names}
        _write(folder / "summary.json", [json.dumps(summary, indent=2, ensure_ascii=False) + "\n"])
        _write(folder / "summary.md", [table.to_markdown()])
        if page:
            from radvlm.evaluate.results.page import page as make_page

            _write(folder / "evaluation.html", [make_page(table)])
    except OSError as error:
        raise FileFormatError("the output folder can be written", f"{folder}: {error.strerror or error}") from error
    return folder


def _earlier(summary: Path) -> set[str]:
    """Case files that an earlier summary lists; only plain names of this module's own form."""
    try:
        listed = json.loads(summary.read_text(encoding="utf-8"))["case_files"].values()
    except (OSError, ValueError, KeyError, AttributeError, TypeError):
        return set()
    return {n for n in listed if isinstance(n, str) and re.fullmatch(r"cases-[A-Za-z0-9._-]+\.jsonl", n)}


def file_name(name: str) -> str:
    """A system's name as part of a file name."""
    return re.sub(r"[^A-Za-z0-9._-]+", "-", name).strip("-") or "system"


def _write(path: Path, parts: Iterable[str]) -> None:
    beside = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        with beside.open("w", encoding="utf-8", errors="surrogatepass") as file:
            file.writelines(parts)
        beside.replace(path)
    finally:
        beside.unlink(missing_ok=True)


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


def markdown(table: EvaluationTable) -> str:
    """The summary for people: values, tests, collapse, signatures."""
    settings = table.statistics
    lines = [
        "# Evaluation",
        "",
        f"{table.cases} cases of {table.patients} patients; section: {table.section}; radvlm, {table.created}. "
        f"Values with {settings.confidence:.0%} intervals ({settings.interval}, {settings.bootstraps} bootstraps over "
        "patients). n is the number of cases behind a value; undefined and failed cases are counted beside it and "
        "never averaged in.",
        "",
    ]
    lines += [f"- {note}" for note in table.notes] + ([""] if table.notes else [])
    for metric in table.metrics:
        lines += _metric_table(table, metric)
    if table.comparisons:
        lines += [
            "## Paired tests",
            "",
            f"Difference = first - second, percentile interval; p from {settings.permutations} permutations by "
            "patient, (k+1)/(n+1); p (Holm) is adjusted over all tests of its kind (between systems, or against "
            "baselines).",
            "",
            "| first | second | output | difference | p | p (Holm) | n |",
            "|---|---|---|---|---|---|---|",
        ]
        lines += [
            f"| {_cell(c.first)} | {_cell(c.second)} | {_cell(c.metric)}/{c.output} | {number(c.difference)} "
            f"[{number(c.low)}, {number(c.high)}] | {p_text(c.p)} | {p_text(c.p_holm)} | {c.n} |"
            for c in table.comparisons
        ]
        lines.append("")
    lines += [*_collapse_table(table), "## Signatures", ""]
    for metric in table.metrics:
        lines.append(f"- `{metric.name}`: `{metric.signature}`")
        lines += [f"    - `{o.name}`: `{o.signature}`" for o in metric.outputs if o.signature]
    return "\n".join([*lines, "", "Research software, not a medical device.", ""])


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ")


def _metric_table(table: EvaluationTable, metric: MetricInfo) -> list[str]:
    names = [s.name for s in table.systems]
    lines = [
        f"## {metric.name}",
        "",
        "| output | " + " | ".join(_cell(n) for n in names) + " | n |",
        "|---|" + "---|" * (len(names) + 1),
    ]
    for output in metric.outputs:
        row = [table.estimate(name, metric.name, output.name) for name in names]
        arrow = {True: " ↑", False: " ↓", None: ""}[output.higher_is_better]
        ns = sorted({e.n for e in row})
        n = str(ns[0]) if len(ns) == 1 else " / ".join(str(e.n) for e in row)
        lines.append(f"| {output.name}{arrow} | " + " | ".join(interval_text(e) for e in row) + f" | {n} |")
    reasons = dict.fromkeys(f"{e.output}: {e.reason}" for e in table.estimates if e.metric == metric.name and e.reason)
    return [*lines, "", *[f"- {_cell(reason)}" for reason in reasons], *([""] if reasons else [])]


def _collapse_table(table: EvaluationTable) -> list[str]:
    rows = [("references", table.reference_collapse)] + [(s.name, s.collapse) for s in table.systems]
    lines = [
        "## How alike the reports of a system are",
        "",
        "| system | different reports | most common | different sentences | self-BLEU | mean words |",
        "|---|---|---|---|---|---|",
    ]
    for name, c in rows:
        if c is not None:
            lines.append(
                f"| {_cell(name)} | {c.distinct} of {c.n} | {c.most_common} times | {c.distinct_sentences} of "
                f"{c.sentences} | {number(c.self_bleu)} | {number(c.mean_words)} |"
            )
    return [*lines, ""]

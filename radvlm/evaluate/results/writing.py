"""The files of an evaluation: per-case JSONL, summary as JSON and Markdown, and the page.

Each file is whole or absent, so a killed run leaves the old files or the new ones, never half of one.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from pathlib import Path

from radvlm.errors import FileFormatError, InputError
from radvlm.evaluate.results.number_text import interval_text, number, p_text
from radvlm.evaluate.results.page import page as evaluation_page
from radvlm.evaluate.results.table import EvaluationTable, MetricInfo
from radvlm.files.atomic import whole_file


def save(table: EvaluationTable, folder: str | Path, page: bool = True) -> Path:
    """Write cases-NAME.jsonl, summary.json, summary.md and, with ``page``, evaluation.html; returns the folder.

    Case files of an earlier evaluation in the same folder, as its summary lists them, are removed if they are not
    written again, so that all files belong together.
    """
    folder = Path(folder)
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
        _write(folder / "summary.md", [markdown(table)])
        if page:
            _write(folder / "evaluation.html", [evaluation_page(table)])
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
    with whole_file(path) as beside, beside.open("w", encoding="utf-8", errors="surrogatepass") as file:
        file.writelines(parts)


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

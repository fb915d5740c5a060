"""``radvlm evaluate``: its arguments and what it does.

Nothing but the standard library is imported until the command runs, so that ``--help`` answers at once.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from radvlm.cli.arguments import output_argument

if TYPE_CHECKING:
    from radvlm.report_reader.report_text import ReportText
    from radvlm.types.region_map import RegionMap

#: Exit code when more cases failed than --max-failed allows; the files are written all the same.
EXIT_FAILED_CASES = 3


def add_parser(commands: Any) -> None:
    """Add the command."""
    parser = commands.add_parser(
        "evaluate",
        help="compare generated reports with reference reports",
        description="Score one or more systems against reference reports.",
    )
    add_arguments(parser)
    parser.set_defaults(run=run)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of ``radvlm evaluate`` to a parser."""
    from radvlm.cli.judge import add_judge_arguments

    files = parser.add_argument_group("reports")
    files.add_argument(
        "--reference",
        required=True,
        metavar="FILE",
        help="reference reports: .jsonl, .csv, .tsv, .parquet, or a folder of .txt files",
    )
    files.add_argument(
        "--candidate",
        required=True,
        action="append",
        metavar="[NAME=]FILE",
        help="reports of a system; give it again for each system (name: the file's, or NAME)",
    )
    files.add_argument(
        "--section",
        choices=("all", "findings", "impression"),
        default="all",
        help="score this part of each report (default all)",
    )
    files.add_argument("--id-column", default="", metavar="NAME", help="column of the case id (default: recognized)")
    files.add_argument("--text-column", default="", metavar="NAME", help="column of the whole report")
    files.add_argument("--findings-column", default="", metavar="NAME")
    files.add_argument("--impression-column", default="", metavar="NAME")
    files.add_argument(
        "--patient-column",
        default="",
        metavar="NAME",
        help="column of the patient id: cases of one patient are resampled together",
    )
    files.add_argument(
        "--patient-pattern",
        default="",
        metavar="REGEX",
        help="regular expression with one group that cuts the patient out of the id",
    )
    files.add_argument("--encoding", default="utf-8", help="of text files (default utf-8)")
    files.add_argument(
        "--allow-missing",
        action="store_true",
        help="count references without a candidate as failed cases instead of stopping",
    )
    files.add_argument("--allow-empty", action="store_true", help="score empty candidate reports instead of stopping")
    metrics = parser.add_argument_group("metrics and statistics")
    metrics.add_argument(
        "--metrics",
        default="",
        metavar="LIST",
        help="names with commas, such as lexical,findings,errors or lexical:coco "
        "(default: everything that needs no weights)",
    )
    metrics.add_argument("--no-baselines", action="store_true", help="leave the trivial systems out")
    metrics.add_argument("--bootstraps", type=int, default=2000, metavar="N", help="for intervals (default 2000)")
    metrics.add_argument("--permutations", type=int, default=10_000, metavar="N", help="for tests (default 10000)")
    metrics.add_argument("--confidence", type=float, default=0.95, help="of intervals (default 0.95)")
    metrics.add_argument("--interval", choices=("bca", "percentile"), default="bca")
    metrics.add_argument("--seed", type=int, default=0)
    add_judge_arguments(parser)
    out = parser.add_argument_group("output")
    output_argument(out, "folder to write")
    out.add_argument("--no-page", action="store_true", help="leave evaluation.html out (it holds report texts)")
    out.add_argument(
        "--max-failed",
        type=float,
        default=0.0,
        metavar="SHARE",
        help="exit with code 3 when a larger share of a system's cases failed (default 0)",
    )
    out.add_argument("-q", "--quiet", action="store_true", help="no progress, no summary on stdout")


def run(args: argparse.Namespace) -> int:
    """Evaluate and write the files; returns 0, or 3 when too many cases failed. Raises RadvlmError for bad input.

    For reports that are not folders which ``radvlm report`` wrote, grounding falls back to bounding boxes and its
    signature says so.
    """
    from radvlm.cli.judge import dry_run, open_judge, prices_of, save_judge, summary
    from radvlm.evaluate.inputs import Columns, read_reports
    from radvlm.evaluate.registry import DEFAULT_METRICS
    from radvlm.evaluate.results.writing import markdown, save
    from radvlm.evaluate.run import EvaluationOptions, evaluate, pair
    from radvlm.evaluate.statistics.resampling import Statistics

    statistics = Statistics(args.bootstraps, args.permutations, args.confidence, args.interval, args.seed)
    columns = Columns(
        args.id_column,
        args.text_column,
        args.findings_column,
        args.impression_column,
        args.patient_column,
        args.patient_pattern,
    )
    names: tuple[Any, ...] = tuple(n.strip() for n in args.metrics.split(",") if n.strip()) or DEFAULT_METRICS
    references = read_reports(args.reference, columns, args.encoding)
    candidates = {}
    for name, path in _systems(args.candidate):
        candidates[name] = read_reports(path, columns, args.encoding, args.allow_empty)
    given = [(Path(args.reference), references)]
    given += [(path, candidates[name]) for name, path in _systems(args.candidate)]
    folders = {
        id(r.report): place / r.id
        for place, reports in given
        if place.is_dir()
        for r in reports
        if r.report is not None
    }
    names = tuple(_with_masks(name, folders) for name in names)
    out = Path(args.output)
    judge = open_judge(args, out) if args.judge else None
    try:
        if judge is not None and args.dry_run:
            paired = {name: pair(references, reports, name, args.allow_missing) for name, reports in candidates.items()}
            print(dry_run(judge, references, paired, args.section, prices_of(args)))
            return 0
        table = evaluate(
            references,
            candidates,
            [*names, *([judge] if judge is not None else [])],
            EvaluationOptions(args.section, not args.no_baselines, statistics, allow_missing=args.allow_missing),
            journal=out / "journal.jsonl",
            progress=None if args.quiet else lambda step: print(step, file=sys.stderr),
        )
        save(table, out, page=not args.no_page)
        if judge is not None:
            card = save_judge(judge, table, out, prices_of(args))
            print(summary(card), file=sys.stderr)
    finally:
        if judge is not None:
            judge.runner.cache.close()
    if not args.quiet:
        print(markdown(table))
        print(f"Written to {out}", file=sys.stderr)
    worst = max((e.failed / table.cases for e in table.estimates), default=0.0)
    if worst > args.max_failed:
        print(f"radvlm: {worst:.1%} of the cases of a system failed; see summary.md", file=sys.stderr)
        return EXIT_FAILED_CASES
    return 0


def _with_masks(name: str, folders: dict[int, Path]) -> Any:
    """``grounding`` with the masks beside the reports, when every report is a folder that has them; else the name."""
    base, _, unit = name.partition(":")
    if base != "grounding" or not folders or not all((f / "regions.nii.gz").is_file() for f in folders.values()):
        return name
    from functools import lru_cache

    from radvlm.evaluate.metrics.grounding import GroundingMetric
    from radvlm.workflows.saved_report import load_regions

    read = lru_cache(maxsize=4)(load_regions)  # a reference is met once for each system

    def masks(text: ReportText) -> RegionMap | None:
        folder = folders.get(id(text.report))
        return None if folder is None else read(folder)

    return GroundingMetric(unit or "finding", masks)


def _systems(given: list[str]) -> list[tuple[str, Path]]:
    """(name, path) of each system; InputError when two have one name."""
    from radvlm.errors import InputError

    systems: list[tuple[str, Path]] = []
    for text in given:
        name, equals, path = text.partition("=")
        if not equals or Path(text).exists():
            name, path = Path(text).stem or Path(text).name, text
        if name in (known for known, _ in systems):
            raise InputError("systems have different names", repr(name), "Name them: --candidate NAME=FILE")
        systems.append((name, Path(path)))
    return systems

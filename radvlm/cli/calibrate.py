"""``radvlm calibrate``: how far a judge or a metric agrees with radiologists."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from radvlm.cli.arguments import output_argument
from radvlm.cli.judge import add_judge_arguments, dry_run, open_judge, prices_of, summary, write_card

if TYPE_CHECKING:
    from radvlm.evaluate.metric import Metric

#: Exit code when cases failed; the files are written all the same.
EXIT_FAILED_CASES = 3


def add_parser(commands: Any) -> None:
    """Add the command."""
    parser = commands.add_parser(
        "calibrate",
        help="agreement of a judge or a metric with radiologists",
        description="Compare the error counts of a judge or a metric with those of "
        "radiologists, on a rated set that you have downloaded.",
    )
    add_arguments(parser)
    parser.set_defaults(run=run)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of ``radvlm calibrate`` to a parser."""
    parser.add_argument(
        "--dataset",
        required=True,
        choices=("rexval", "radevalx", "chest2error", "table"),
        help="kind of the set that radiologists have rated",
    )
    parser.add_argument("--data", required=True, metavar="PATH", help="its folder or file, as you downloaded it")
    parser.add_argument(
        "--metric", default="", metavar="NAME", help="calibrate this metric (such as errors) instead of a judge"
    )
    parser.add_argument("--blank-is-zero", action="store_true", help="take empty counts for 0")
    parser.add_argument("--bootstraps", type=int, default=2000, metavar="N", help="for intervals (default 2000)")
    parser.add_argument("--confidence", type=float, default=0.95, help="of intervals (default 0.95)")
    output_argument(parser, "folder to write")
    parser.add_argument("-q", "--quiet", action="store_true", help="no progress, no summary on stdout")
    add_judge_arguments(parser)


def run(args: argparse.Namespace) -> int:
    """Calibrate and write calibration.json and .md; 0, or 3 when cases failed. Raises RadvlmError for bad input."""
    from radvlm.errors import InputError
    from radvlm.evaluate.judge.card import card_text
    from radvlm.evaluate.judge.rated_sets import load_calibration_set
    from radvlm.evaluate.registry import make_metric

    if bool(args.metric) == bool(args.judge):
        raise InputError(
            "a judge or a metric is calibrated, one of them",
            "both" if args.judge else "neither",
            "--judge openai --model NAME ..., or --metric errors",
        )
    dataset = load_calibration_set(args.dataset, args.data, args.blank_is_zero)
    out = Path(args.output)
    if args.metric:
        return _calibrate(make_metric(args.metric), dataset, out, args)
    metric = open_judge(args, out)
    try:
        from radvlm.report_reader.report_text import ReportText

        texts = [
            (ReportText.from_text(c.id, c.reference), ReportText.from_text(c.id, c.candidate)) for c in dataset.cases
        ]
        if args.dry_run:
            print(dry_run(metric, [r for r, _ in texts], {dataset.name: [c for _, c in texts]}, "all", prices_of(args)))
            return 0
        code = _calibrate(metric, dataset, out, args)
        _, card = metric.report([r for r, _ in texts], [c for _, c in texts], prices_of(args))
        write_card(card, card_text(card), out, metric.name)
        if not args.quiet:
            print(summary(card), file=sys.stderr)
        return code
    finally:
        metric.runner.cache.close()


def _calibrate(metric: Metric, dataset: Any, out: Path, args: argparse.Namespace) -> int:
    from radvlm.evaluate.judge.calibrate import calibrate
    from radvlm.evaluate.statistics.resampling import Statistics
    from radvlm.files.atomic import write_text

    result = calibrate(metric, dataset, Statistics(args.bootstraps, 0, args.confidence, "percentile"))
    out.mkdir(parents=True, exist_ok=True)
    write_text(out / "calibration.json", json.dumps(result.to_dict(), indent=2) + "\n")
    write_text(out / "calibration.md", result.to_markdown())
    if not args.quiet:
        print(result.to_markdown())
    return EXIT_FAILED_CASES if result.failed else 0

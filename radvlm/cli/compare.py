"""``radvlm compare``: two studies of one patient."""

from __future__ import annotations

import argparse
from typing import Any

from radvlm.cli.arguments import output_argument
from radvlm.cli.terminal import deliver


def add_parser(commands: Any) -> None:
    """Add the command."""
    compare = commands.add_parser(
        "compare",
        help="two studies of one patient: growth, new and gone lesions, RECIST",
        description="Compare the lesions of two studies. A study is a folder that `radvlm "
        "report` wrote, or a measurements.json of `radvlm measure --format json`.",
    )
    compare.add_argument("current", help="the later study")
    compare.add_argument("prior", help="the earlier study")
    compare.add_argument("--days", type=float, help="days between both (default: from the dates of the studies)")
    compare.add_argument(
        "--baseline-mm",
        type=float,
        metavar="MM",
        help="sum of diameters at baseline, when the prior study is not the baseline",
    )
    compare.add_argument("--nadir-mm", type=float, metavar="MM", help="smallest sum of diameters so far")
    compare.add_argument("--format", choices=("text", "csv", "json"), default="text")
    output_argument(compare, "default: standard output", folder=False, metavar="FILE", required=False)
    compare.set_defaults(run=run)


def run(args: argparse.Namespace) -> None:
    """Compare, and print or write what changed."""
    from radvlm.workflows.compare_studies import compare

    found = compare(args.current, args.prior, days=args.days, baseline_mm=args.baseline_mm, nadir_mm=args.nadir_mm)
    text = {"text": lambda: found.text, "csv": found.to_csv, "json": lambda: found.to_json() + "\n"}[args.format]()
    deliver(text, args.output)

"""``radvlm measure``: the numbers alone."""

from __future__ import annotations

import argparse
import sys
from typing import Any

from radvlm.cli.arguments import ct_argument, mask_arguments, output_argument, scan_arguments, settings_of
from radvlm.cli.terminal import deliver, print_cautions
from radvlm.errors import InputError


def add_parser(commands: Any) -> None:
    """Add the command."""
    measure = commands.add_parser(
        "measure",
        help="the numbers alone, JSON or CSV",
        description="Measure a CT and its masks. Without --masks: what thresholds find (body, fat, lung, table), "
        "and nothing of organs.",
    )
    ct_argument(measure, required=False, more="; leave it out for geometry without HU")
    mask_arguments(measure, required=False)
    scan_arguments(measure)
    measure.add_argument("--format", choices=("csv", "json"), default="csv")
    output_argument(measure, "default: standard output", folder=False, metavar="FILE", required=False)
    measure.add_argument("--config", metavar="YAML")
    measure.set_defaults(run=run)


def run(args: argparse.Namespace) -> None:
    """Measure, and print or write the table."""
    from radvlm.io import load_volume
    from radvlm.workflows.examine import measure

    if (args.series or args.acquisition or args.rescale) and not args.ct:
        raise InputError("--series, --acquisition and --rescale say how the CT is read", "no CT")
    if not args.ct and not args.masks:
        raise InputError("a CT, masks or both", "neither", "radvlm measure CT [--masks MASKS]")
    config = settings_of(args)
    rescale = args.rescale or config.reading.rescale
    acquisition = args.acquisition or config.reading.acquisition
    volume = None
    if args.ct:
        volume = load_volume(args.ct, series=args.series, acquisition=acquisition, rescale=rescale)
    numbers = measure(volume, args.masks, config=config, scheme=args.scheme, accept_misplaced=args.accept_misplaced)
    print_cautions(numbers.decisions)
    if not args.masks:
        print("note: no masks were given: what thresholds find is measured, and nothing of organs", file=sys.stderr)
    if volume is not None and volume.attenuation_doubt:
        print(f"note: attenuation not interpreted: {volume.attenuation_doubt}", file=sys.stderr)
    deliver(numbers.to_csv() if args.format == "csv" else numbers.to_json() + "\n", args.output)

"""The command line: ``radvlm report | demo | segment | measure | compare | classify | ask | index | train | evaluate |
calibrate | weights | doctor | series | info``. Here the commands are put together and errors are told; each has a
module.

Nothing but the standard library is imported before a command runs, so ``--help`` answers at once.
Errors that radvlm raises on purpose become one line on stderr and exit code 2; anything else is a bug and
keeps its traceback. Results go to stdout or files, progress and notes to stderr.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

from radvlm.cli import (
    calibrate,
    compare,
    doctor,
    evaluate,
    index,
    information,
    measure,
    models,
    report,
    segment,
    train,
    weights,
)
from radvlm.cli.arguments import refuse_empty_words, require_output, with_negative_slopes
from radvlm.cli.option_words import in_options
from radvlm.cli.parser import CommandParser
from radvlm.errors import RadvlmError
from radvlm.version import __version__

EXIT_ERROR = 2


def build_parser() -> argparse.ArgumentParser:
    """The parser with every command; building it imports nothing heavy."""
    parser = CommandParser(
        prog="radvlm",
        description="From a CT scan and its masks to a grounded structured report. "
        "Research software, not a medical device.",
    )
    parser.add_argument("--version", action="version", version=f"radvlm {__version__}")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    report.add_parsers(commands)
    models.add_parsers(commands)
    for command in (segment, index, train, measure, compare, evaluate, calibrate, weights, doctor):
        command.add_parser(commands)
    information.add_parsers(commands)
    return parser


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; returns the exit code.

    0 for success, 2 for bad input (argparse exits with 2 by itself), 3 when cases of an evaluation failed, 130 when
    stopped from the keyboard.
    """
    words = sys.argv[1:] if arguments is None else arguments
    try:
        refuse_empty_words(words)
    except RadvlmError as error:
        print(f"radvlm: {error}", file=sys.stderr)
        return EXIT_ERROR
    args = build_parser().parse_args(with_negative_slopes(words))
    try:
        require_output(args)
        return args.run(args) or 0
    except RadvlmError as error:
        print(f"radvlm: {in_options(str(error), vars(args))}", file=sys.stderr)
        return EXIT_ERROR
    except BrokenPipeError:
        sys.stderr.close()  # the reader of a pipe has gone; nothing is lost
        return 0
    except KeyboardInterrupt:
        print("radvlm: stopped; nothing half-written was left.", file=sys.stderr)
        return 130

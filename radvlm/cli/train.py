"""``radvlm train``: a model from a YAML file."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

from radvlm.cli.arguments import output_argument, remove_leftovers
from radvlm.errors import InputError


def add_parser(commands: Any) -> None:
    """Add the command."""
    train = commands.add_parser(
        "train",
        help="train a model from a YAML file",
        description="Train a model as a configuration says; see configs/ and docs/training.md.",
    )
    train.add_argument("config", metavar="CONFIG", help="YAML file, such as configs/tiny.yaml")
    output_argument(train, "folder of the run (default: out/ and the name of CONFIG)", required=False)
    train.add_argument("--resume", action="store_true", help="go on from the last checkpoint in the folder")
    train.add_argument("-q", "--quiet", action="store_true", help="no progress")
    train.set_defaults(run=run)


def run(args: argparse.Namespace) -> None:
    """Train, and say where the model is."""
    if not Path(args.config).is_file():
        raise InputError("a training configuration is a YAML file", args.config, "See configs/tiny.yaml")
    from radvlm.files.atomic import require_writable_folder
    from radvlm.workflows.train_model import train_model

    def show(*parts: object) -> None:
        print(*parts, file=sys.stderr)

    output = args.output or Path("out") / Path(args.config).stem
    require_writable_folder(output)
    remove_leftovers(output, files_inside=True)
    folder = train_model(args.config, output, resume=args.resume, progress=None if args.quiet else show)
    print(f"Written to {folder}", file=sys.stderr)

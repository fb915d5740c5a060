"""``radvlm doctor``: what this machine can run, and the command that adds what is missing."""

from __future__ import annotations

import argparse
import json
from typing import Any


def add_parser(commands: Any) -> None:
    """Add the command."""
    doctor = commands.add_parser(
        "doctor",
        help="what this machine can run, and what adds the rest",
        description="Versions, extras, GPU, memory, free space, weights on disk, and the commands that give a report "
        "with organs. Nothing is downloaded or changed.",
    )
    doctor.add_argument("--json", action="store_true", help="machine readable")
    doctor.set_defaults(run=run)


def run(args: argparse.Namespace) -> None:
    """Print the diagnosis."""
    from radvlm.workflows.doctor import diagnose, diagnosis_text

    found = diagnose()
    print(json.dumps(found.to_dict(), indent=2) if args.json else diagnosis_text(found))

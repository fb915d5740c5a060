"""``radvlm series`` and ``radvlm info``: what a folder holds, and what radvlm knows."""

from __future__ import annotations

import argparse
import json
from typing import Any


def add_parsers(commands: Any) -> None:
    """Add ``radvlm series`` and ``radvlm info``."""
    series = commands.add_parser("series", help="list the DICOM series of a folder")
    series.add_argument("folder", nargs="+", help="DICOM folder, zip or files")
    series.set_defaults(run=run_series)

    info = commands.add_parser("info", help="structures, label schemes, versions, licences")
    info.add_argument(
        "topic", nargs="?", default="all", choices=("all", "structures", "schemes", "rules", "versions", "licences")
    )
    info.add_argument("--json", action="store_true", help="machine readable")
    info.set_defaults(run=run_info)


def run_series(args: argparse.Namespace) -> None:
    """Print the series of a DICOM folder."""
    from radvlm.io.dicom_series import list_series

    listed = list_series(args.folder[0] if len(args.folder) == 1 else args.folder)
    print("    number  plane         slices  matrix     description / UID, or folder where it has none")
    for r in listed:
        mark = "*" if r.chosen else " "
        told = "".join(f" [{words}]" for words in (r.acquisition, "" if r.values == "HU" else r.values) if words)
        print(
            f"  {mark} {r.number or '-':<7} {r.plane:<13} {r.slices:>6}  {f'{r.columns}x{r.rows}':<9}  "
            f"{r.description or '-'}{told} {r.choice}".rstrip()
        )
    print(
        "* is what `radvlm report` takes without --series and --acquisition; "
        "[...] tells acquisitions of one series and values that are no HU; "
        "--series takes the UID, its end, or the folder"
    )


def run_info(args: argparse.Namespace) -> None:
    """Print structures, schemes, rules, versions and licences."""
    from radvlm.workflows.information import information, information_text

    facts = information(args.topic)
    if args.json:
        print(json.dumps(facts, indent=2))
    else:
        print(information_text(facts))

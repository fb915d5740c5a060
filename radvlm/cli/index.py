"""``radvlm index``: build, extend, thin out, check and search an index of prior reports."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from radvlm.cli.arguments import output_argument, rescale_argument, scan_arguments, scan_of
from radvlm.cli.terminal import print_doubts
from radvlm.files.atomic import write_text

if TYPE_CHECKING:
    from radvlm.retrieve.embedder import Embedder
    from radvlm.retrieve.records import Record
    from radvlm.types.volume import Volume

#: Exit code of ``radvlm index check`` when something is wrong.
EXIT_DAMAGED = 3
_HASHED = "hashed-text"


def add_parser(commands: Any) -> None:
    """Add the command."""
    parser = commands.add_parser(
        "index",
        help="prior reports: build, add, remove, check, search",
        description="An index of prior reports (and scans) for `radvlm report --index`; see docs/retrieval.md.",
    )
    add_arguments(parser)
    parser.set_defaults(run=run)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the commands of ``radvlm index`` to a parser."""
    actions = parser.add_subparsers(dest="action", required=True, metavar="ACTION")
    build = actions.add_parser("build", help="index reports (and scans)")
    _reports(build)
    build.add_argument(
        "--encoder",
        default=_HASHED,
        metavar="NAME",
        help=f"model or folder; {_HASHED} needs no weights and finds wording, not meaning (default); minilm is a "
        "sentence encoder (text only)",
    )
    output_argument(build, "folder to write", metavar="INDEX")
    build.add_argument("--overwrite", action="store_true", help="replace the index in the folder")
    build.add_argument(
        "--levels", metavar="LIST", help="default: image,report,paragraph,sentence; image for an encoder without text"
    )
    build.add_argument(
        "--kind",
        default="auto",
        choices=("auto", "flat", "hnsw", "ivf_flat", "ivf_sq8", "ivf_pq"),
        help="of index (default: chosen by size)",
    )
    build.add_argument("--transform", default="auto", choices=("auto", "none", "centre", "whiten"))
    build.add_argument(
        "--scrub",
        default="remove",
        choices=("remove", "refuse", "off"),
        help="dates, names and comparisons in the text (default: remove)",
    )
    add = actions.add_parser("add", help="append reports")
    add.add_argument("index", metavar="INDEX")
    _reports(add)
    remove = actions.add_parser("remove", help="hide reports at once; --rebuild takes them off the disk")
    remove.add_argument("index", metavar="INDEX")
    for name in ("id", "patient", "study"):
        remove.add_argument(f"--{name}", action="append", default=[], metavar=name.upper())
    remove.add_argument("--rebuild", action="store_true")
    check = actions.add_parser("check", help="read every byte, measure recall against exact search")
    check.add_argument("index", metavar="INDEX")
    search = actions.add_parser("search", help="find prior text")
    search.add_argument("index", metavar="INDEX")
    what = search.add_mutually_exclusive_group(required=True)
    what.add_argument("--text", metavar="WORDS")
    what.add_argument("--ct", metavar="CT", help="a scan; needs an encoder with an image side")
    scan_arguments(search)
    search.add_argument("-k", type=int, default=8)
    search.add_argument("--exclude-patient", action="append", default=[], metavar="PATIENT")
    search.add_argument("--patient-not-indexed", action="store_true", help="the scan is of nobody in the index")
    search.add_argument("--before", default="", metavar="YYYY-MM-DD", help="only studies before this date")
    search.add_argument("--split", default="")
    search.add_argument("--region", default="", help="section, organ or body region")
    search.add_argument("--level", default="", choices=("", "image", "report", "paragraph", "sentence"))
    search.add_argument("--json", action="store_true", help="the whole audit record")
    search.add_argument("--page", metavar="HTML", help="write a page of the cases")
    search.add_argument("--volumes", metavar="DIR", help="folder of the scans, for pictures on the page")
    for action in (build, add, remove, check):
        action.add_argument("-q", "--quiet", action="store_true")


def _reports(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--reports",
        required=True,
        metavar="JSONL",
        help="one object a line: patient, study, text; and id, date, section, organ, region, site, split, "
        "phase, kind, volume, patient_key",
    )
    parser.add_argument("--volumes", metavar="DIR", help="folder that the volume paths are relative to")
    rescale_argument(parser)


def run(args: argparse.Namespace) -> int:
    """Run ``radvlm index``; returns the exit code. Raises RadvlmError for bad input."""
    actions = {"build": _build, "add": _add, "remove": _remove, "check": _check, "search": _search}
    return actions[args.action](args)


def _say(args: argparse.Namespace) -> Callable[[str], None] | None:
    return None if args.quiet else lambda step: print(step, file=sys.stderr)


def _embedder(name: str) -> Embedder:
    from radvlm.retrieve.embedder import HashedText

    if name.startswith(_HASHED):
        size = name.removeprefix(_HASHED).lstrip("-")
        return HashedText(int(size)) if size.isdigit() else HashedText()
    from radvlm.workflows.open_index import open_embedder

    return open_embedder(name)


def _open(args: argparse.Namespace) -> Any:
    from radvlm.retrieve.index import ReportIndex

    index = ReportIndex.load(args.index)
    if index.embedder is None:
        index = index.with_embedder(_embedder(index.manifest["encoder"]["id"]))
    return index


def _volumes(args: argparse.Namespace) -> Callable[[Record], Volume | None] | None:
    if not args.volumes:
        return None
    from radvlm.io import load_volume

    folder, rescale = Path(args.volumes), args.rescale or "auto"

    def scan_of_record(record: Record) -> Volume | None:
        if not record.volume:
            return None
        scan = load_volume(folder / record.volume, rescale=rescale)
        print_doubts(scan, f"record {record.id}: ")
        return scan

    return scan_of_record


def _report(index: Any, args: argparse.Namespace) -> None:
    if args.quiet:
        return
    rows = ", ".join(f"{n:,} {level}" for level, n in index.counts().items())
    print(f"{len(index):,} records ({rows}) in {index.folder}")
    for part in index.manifest["segments"][-1:]:
        for level, facts in part["levels"].items():
            print(f"  {level}: {facts['kind']}; {facts['reason']}")
    t = index.manifest["transform"]
    copies = f"{index.manifest['in_duplicate_groups']:,} records have an exact or near duplicate"
    print(f"  transform: {t['kind']} from {t['n']:,} vectors; {copies}")
    if index.manifest["scrubbed"]:
        print("  removed from the text: " + ", ".join(f"{n} {k}" for k, n in index.manifest["scrubbed"].items()))
    if len(index.segments) > 8:
        print(f"  {len(index.segments)} segments; one is faster: `radvlm index remove INDEX --rebuild`")


def _build(args: argparse.Namespace) -> int:
    from radvlm.retrieve.embedder import reads_text
    from radvlm.retrieve.index import ReportIndex
    from radvlm.retrieve.records import read_records
    from radvlm.retrieve.settings import IndexSettings

    embedder = _embedder(args.encoder)
    if args.levels is not None:
        levels = tuple(name.strip() for name in args.levels.split(",") if name.strip())
    else:
        levels = IndexSettings().levels if reads_text(embedder) else ("image",)
    settings = IndexSettings(levels, args.kind, args.transform, scrub=args.scrub)
    _report(
        ReportIndex.build(
            read_records(args.reports),
            embedder,
            args.output,
            volumes=_volumes(args),
            settings=settings,
            overwrite=args.overwrite,
            progress=_say(args),
        ),
        args,
    )
    return 0


def _add(args: argparse.Namespace) -> int:
    from radvlm.retrieve.records import read_records

    _report(_open(args).add(read_records(args.reports), volumes=_volumes(args), progress=_say(args)), args)
    return 0


def _remove(args: argparse.Namespace) -> int:
    from radvlm.retrieve.index import ReportIndex

    index = ReportIndex.load(args.index)
    if args.id or args.patient or args.study or not args.rebuild:
        index = index.remove(ids=args.id, patients=args.patient, studies=args.study)
    _report(index.rebuild(progress=_say(args)) if args.rebuild else index, args)
    return 0


def _check(args: argparse.Namespace) -> int:
    from radvlm.retrieve.index import ReportIndex

    found = ReportIndex.load(args.index).check()
    if not args.quiet:
        print(json.dumps({**found, "duplicates": len(found["duplicates"])}, indent=2))
    return 0 if found["ok"] else EXIT_DAMAGED


def _search(args: argparse.Namespace) -> int:
    from radvlm.io import load_volume
    from radvlm.retrieve.search_options import SearchOptions
    from radvlm.retrieve.similar import similar_cases_page

    index = _open(args)
    query = args.text if args.text else scan_of(args)
    options = SearchOptions(
        exclude_patient=args.exclude_patient or None,
        patient_not_indexed=args.patient_not_indexed,
        before_date=args.before,
        split=args.split,
        region=args.region,
        level=args.level,
    )
    result = index.search(query, args.k, options)
    if args.page:
        from radvlm.export.scan_picture import scan_picture

        images = {}
        if args.volumes:
            images = {h.record: scan_picture(load_volume(Path(args.volumes) / h.volume)) for h in result if h.volume}
        asked = scan_picture(query) if args.ct else None
        write_text(args.page, similar_cases_page(result, query_image=asked, images=images))
    if args.json:
        print(json.dumps(result.to_dict(), indent=2))
        return 0
    for hit in result:
        above = "" if hit.z is None else f" z {hit.z:.1f}"
        print(f"{hit.rank:>3}. {hit.score:.3f}{above}  {hit.record}  [{hit.section or '-'}] {hit.text}")
    left = ", ".join(f"{n} {reason}" for reason, n in result.excluded.items())
    said = f"{len(result)} hits among {result.searched:,} {result.level}s; index {result.index_digest[:12]}"
    print(said + (f"; records left out: {left}" if left else ""), file=sys.stderr)
    return 0

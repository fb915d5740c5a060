"""``radvlm report`` and ``radvlm demo``: one CT, or a phantom, to a folder with its report."""

from __future__ import annotations

import argparse
import sys
from typing import Any

from radvlm.cli.arguments import (
    ct_argument,
    mask_arguments,
    model_argument,
    output_argument,
    patient_arguments,
    scan_arguments,
    segment_arguments,
    settings_of,
    whose_scan,
)
from radvlm.cli.option_words import in_options
from radvlm.cli.terminal import Steps, print_cautions


def add_parsers(commands: Any) -> None:
    """Add ``radvlm report`` and ``radvlm demo``."""
    report = commands.add_parser(
        "report",
        help="write the report of one CT",
        description="Write report.html, report.txt, report.json, measurements, regions.nii.gz "
        "and manifest.json of one CT into a folder.",
    )
    ct_argument(report)
    mask_arguments(report, required=False)
    segment_arguments(report)
    scan_arguments(report)
    _report_arguments(report)
    report.add_argument("--sex", choices=("F", "M"), help="overrides the DICOM header")
    report.add_argument("--age", type=float, metavar="YEARS", help="overrides the DICOM header")
    report.add_argument("--height", type=float, metavar="CM")
    report.add_argument("--weight", type=float, metavar="KG")
    report.set_defaults(run=run_report)

    demo = commands.add_parser(
        "demo",
        help="the same on a phantom with known lesions",
        description="Make a synthetic CT with known lesions and write its report: no download, no GPU.",
    )
    _report_arguments(demo)
    demo.add_argument(
        "--no-masks",
        action="store_true",
        help="hide the masks of the phantom, so that only thresholds and --model speak",
    )
    demo.add_argument("--seed", type=int, default=7, help="anatomy and lesions of the phantom (default 7)")
    demo.set_defaults(run=run_demo)


def _report_arguments(parser: argparse.ArgumentParser) -> None:
    output_argument(parser, "folder to write")
    model_argument(parser, None)
    parser.add_argument("--index", metavar="INDEX", help="look up prior texts of other patients; see `radvlm index`")
    patient_arguments(parser)
    parser.add_argument("--no-hints", action="store_true", help="record the prior texts, but keep them from the model")
    parser.add_argument("--config", metavar="YAML", help="settings, see configs/")
    parser.add_argument(
        "--style", choices=("full", "concise", "normal-in-one-word"), help="overrides the configuration"
    )
    parser.add_argument("--no-page", action="store_true", help="leave report.html out")
    parser.add_argument("-q", "--quiet", action="store_true", help="no progress, no report on stdout")


def run_report(args: argparse.Namespace) -> None:
    """Write the report of a CT."""
    from radvlm.types.study import Patient

    patient = Patient(args.sex, args.age, args.height, args.weight)
    _write_report(args, args.ct, args.masks, patient, Steps(args.quiet, 5 + 2 * bool(args.model) + bool(args.index)))


def run_demo(args: argparse.Namespace) -> None:
    """Write the report of a phantom."""
    from radvlm.phantom import make_phantom
    from radvlm.phantom.presets import demo_spec

    steps = Steps(args.quiet, 6 + 2 * bool(args.model) + bool(args.index))
    steps("Making the phantom")
    phantom = make_phantom(demo_spec(args.seed))
    masks = None if args.no_masks else phantom.segmentation
    _write_report(args, phantom.volume, masks, phantom.patient, steps)


def _write_report(args: argparse.Namespace, source: Any, masks: Any, patient: Any, steps: Steps) -> None:
    from radvlm.workflows.report import ReportOptions, generate_report

    options = ReportOptions(
        scheme=getattr(args, "scheme", None),
        series=getattr(args, "series", None),
        acquisition=getattr(args, "acquisition", None),
        accept_misplaced=getattr(args, "accept_misplaced", False),
        rescale=getattr(args, "rescale", None),
        use_hints=not args.no_hints,
        progress=steps,
    )
    try:
        generated = generate_report(
            source,
            segmentation=masks,
            segmenter=getattr(args, "segmenter", None),
            model=args.model,
            patient=patient,
            config=settings_of(args),
            index=args.index,
            search=whose_scan(args),
            options=options,
        )
        steps("Writing the page and the files")
        folder = generated.save(args.output, page=not args.no_page)
    finally:
        steps.close()
    if args.quiet:
        print_cautions(generated.decisions)
    else:
        for decision in generated.decisions:
            if decision.warning:
                print(f"note: {in_options(decision.what, vars(args))}", file=sys.stderr)
        print(generated.text)
        print(f"Written to {folder}" + ("" if args.no_page else f": open {folder / 'report.html'}"), file=sys.stderr)

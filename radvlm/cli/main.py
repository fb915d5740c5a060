"""The command line: ``radvlm report | demo | measure | compare | classify | ask | index | train | evaluate |
calibrate | series | info``.

Unusual: nothing but the standard library is imported before a command runs, so ``--help`` answers at once.
Errors that radvlm raises on purpose become one line on stderr and exit code 2; anything else is a bug and
keeps its traceback. Results go to stdout or files, progress and notes to stderr.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from radvlm.errors import InputError, RadvlmError

EXIT_ERROR = 2


def build_parser() -> argparse.ArgumentParser:
    """The parser with every command; building it imports nothing heavy."""
    from radvlm.cli.evaluate import add_arguments as add_evaluate_arguments
    from radvlm.cli.judge import add_calibrate_arguments, run_calibrate
    from radvlm.version import __version__

    parser = argparse.ArgumentParser(
        prog="radvlm",
        description="From a CT scan and its masks to a grounded structured report. "
        "Research software, not a medical device.",
    )
    parser.add_argument("--version", action="version", version=f"radvlm {__version__}")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")

    report = commands.add_parser(
        "report",
        help="write the report of one CT",
        description="Write report.html, report.txt, report.json, measurements, regions.nii.gz "
        "and manifest.json of one CT into a folder.",
    )
    report.add_argument("ct", help="DICOM folder, DICOM zip or NIfTI file")
    _mask_arguments(report, required=False)
    _report_arguments(report)
    report.add_argument("--sex", choices=("F", "M"), help="overrides the DICOM header")
    report.add_argument("--age", type=float, metavar="YEARS", help="overrides the DICOM header")
    report.add_argument("--height", type=float, metavar="CM")
    report.add_argument("--weight", type=float, metavar="KG")
    report.set_defaults(run=_report)

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
    demo.set_defaults(run=_demo)
    _add_model_commands(commands)

    measure = commands.add_parser("measure", help="the numbers alone, JSON or CSV")
    measure.add_argument("ct", nargs="?", help="DICOM folder or NIfTI file; leave it out for geometry without HU")
    _mask_arguments(measure, required=True)
    measure.add_argument("--format", choices=("csv", "json"), default="csv")
    measure.add_argument("-o", "--output", metavar="FILE", help="default: standard output")
    measure.add_argument("--config", metavar="YAML")
    measure.set_defaults(run=_measure)

    _add_compare(commands)

    evaluate = commands.add_parser(
        "evaluate",
        help="compare generated reports with reference reports",
        description="Score one or more systems against reference reports.",
    )
    add_evaluate_arguments(evaluate)
    evaluate.set_defaults(run=_evaluate)

    calibrate = commands.add_parser(
        "calibrate",
        help="agreement of a judge or a metric with radiologists",
        description="Compare the error counts of a judge or a metric with those of "
        "radiologists, on a rated set that you have downloaded.",
    )
    add_calibrate_arguments(calibrate)
    calibrate.set_defaults(run=run_calibrate)

    series = commands.add_parser("series", help="list the DICOM series of a folder")
    series.add_argument("folder")
    series.set_defaults(run=_series)

    info = commands.add_parser("info", help="structures, label schemes, versions, licences")
    info.add_argument(
        "topic", nargs="?", default="all", choices=("all", "structures", "schemes", "rules", "versions", "licences")
    )
    info.add_argument("--json", action="store_true", help="machine readable")
    info.set_defaults(run=_info)
    return parser


def _add_compare(commands: Any) -> None:
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
    compare.add_argument("-o", "--output", metavar="FILE", help="default: standard output")
    compare.set_defaults(run=_compare)


def _add_model_commands(commands: Any) -> None:
    """``classify``, ``ask``, ``index`` and ``train``: what a model does beside a report."""
    classify = commands.add_parser(
        "classify",
        help="probabilities of findings, from the images alone",
        description="Print how probable findings are in one CT: those of the model, or any text (zero-shot).",
    )
    classify.add_argument("ct", help="DICOM folder, DICOM zip or NIfTI file")
    _model_argument(classify, "tiny")
    classify.add_argument("--findings", nargs="+", metavar="TEXT", help="default: those the model was trained on")
    classify.add_argument("--series", help="DICOM series, as in `radvlm report`")
    classify.add_argument("--index", metavar="INDEX", help="the nearest scans of an index vote beside the model")
    _patient_arguments(classify)
    classify.add_argument("--json", action="store_true", help="machine readable")
    classify.set_defaults(run=_classify)

    ask = commands.add_parser(
        "ask",
        help="answer a question about one CT",
        description="Print the answer to a question, how sure the model is and what it rests on.",
    )
    ask.add_argument("ct", help="DICOM folder, DICOM zip or NIfTI file")
    ask.add_argument("question")
    _model_argument(ask, "tiny")
    _mask_arguments(ask, required=False)
    ask.add_argument("--json", action="store_true", help="machine readable")
    ask.set_defaults(run=_ask)

    from radvlm.cli.index import add_arguments as add_index_arguments

    index = commands.add_parser(
        "index",
        help="prior reports: build, add, remove, check, search",
        description="An index of prior reports (and scans) for `radvlm report --index`; see docs/retrieval.md.",
    )
    add_index_arguments(index)
    index.set_defaults(run=_index)

    train = commands.add_parser(
        "train",
        help="train a model from a YAML file",
        description="Train a model as a configuration says; see configs/ and docs/training.md.",
    )
    train.add_argument("config", metavar="CONFIG", help="YAML file, such as configs/tiny.yaml")
    train.add_argument("-o", "--output", metavar="OUT", help="folder of the run (default: out/ and the name of CONFIG)")
    train.add_argument("--resume", action="store_true", help="go on from the last checkpoint in the folder")
    train.add_argument("-q", "--quiet", action="store_true", help="no progress")
    train.set_defaults(run=_train)


def _model_argument(parser: argparse.ArgumentParser, default: str | None) -> None:
    shown = f" (default {default})" if default else ""
    parser.add_argument(
        "--model",
        metavar="NAME",
        default=default,
        help=f"tiny, a folder of save_pretrained, a checkpoint file or a hub id in the cache{shown}",
    )


def _mask_arguments(parser: argparse.ArgumentParser, *, required: bool) -> None:
    parser.add_argument(
        "--masks", required=required, metavar="MASKS", help="multi-label NIfTI, folder of binary masks, or DICOM SEG"
    )
    parser.add_argument("--scheme", help="label scheme of the masks (default: detected; see `radvlm info schemes`)")
    parser.add_argument("--series", help="DICOM series: UID or its end, number, or part of the description")


def _patient_arguments(parser: argparse.ArgumentParser) -> None:
    whose = parser.add_mutually_exclusive_group()
    whose.add_argument(
        "--exclude-patient",
        action="append",
        metavar="ID",
        help="whose scan it is: none of their reports in the index is used (can be repeated)",
    )
    whose.add_argument("--patient-not-indexed", action="store_true", help="the scan is of nobody in the index")


def _report_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("-o", "--output", required=True, metavar="OUT", help="folder to write")
    _model_argument(parser, None)
    parser.add_argument("--index", metavar="INDEX", help="look up prior texts of other patients; see `radvlm index`")
    _patient_arguments(parser)
    parser.add_argument("--no-hints", action="store_true", help="record the prior texts, but keep them from the model")
    parser.add_argument("--config", metavar="YAML", help="settings, see configs/")
    parser.add_argument(
        "--style", choices=("full", "concise", "normal-in-one-word"), help="overrides the configuration"
    )
    parser.add_argument("--no-page", action="store_true", help="leave report.html out")
    parser.add_argument("-q", "--quiet", action="store_true", help="no progress, no report on stdout")


def _config(args: argparse.Namespace) -> Any:
    from dataclasses import replace

    from radvlm.workflows.config import Config

    config = Config.load(args.config) if args.config else Config()
    if getattr(args, "style", None):
        config = replace(config, style=replace(config.style, detail=args.style))
    return config


class _Steps:
    """Progress on stderr: a bar on a terminal, plain lines otherwise, nothing when quiet."""

    def __init__(self, quiet: bool, total: int) -> None:
        self._bar: Any = None
        self._quiet = quiet
        if not quiet and sys.stderr.isatty():
            from tqdm import tqdm

            self._bar = tqdm(total=total, bar_format="{n}/{total} {desc} [{elapsed}]", leave=False)

    def __call__(self, step: str) -> None:
        if self._bar is not None:
            self._bar.update(1)
            self._bar.set_description_str(step)
        elif not self._quiet:
            print(step, file=sys.stderr)

    def close(self) -> None:
        if self._bar is not None:
            self._bar.close()


def _write_report(args: argparse.Namespace, source: Any, masks: Any, patient: Any, steps: _Steps) -> None:
    from radvlm.workflows.report import generate_report

    try:
        generated = generate_report(
            source,
            segmentation=masks,
            model=args.model,
            patient=patient,
            config=_config(args),
            scheme=getattr(args, "scheme", None),
            series=getattr(args, "series", None),
            index=args.index,
            exclude_patient=args.exclude_patient,
            patient_not_indexed=args.patient_not_indexed,
            use_hints=not args.no_hints,
            progress=steps,
        )
        steps("Writing the page and the files")
        folder = generated.save(args.output, page=not args.no_page)
    finally:
        steps.close()
    if not args.quiet:
        for decision in generated.decisions:
            if decision.warning:
                print(f"note: {decision.what}", file=sys.stderr)
        print(generated.text)
        print(f"Written to {folder}" + ("" if args.no_page else f": open {folder / 'report.html'}"), file=sys.stderr)


def _report(args: argparse.Namespace) -> None:
    from radvlm.types.study import Patient

    patient = Patient(args.sex, args.age, args.height, args.weight)
    _write_report(args, args.ct, args.masks, patient, _Steps(args.quiet, 5 + 2 * bool(args.model) + bool(args.index)))


def _demo(args: argparse.Namespace) -> None:
    from radvlm.phantom import make_phantom
    from radvlm.phantom.presets import demo_spec

    steps = _Steps(args.quiet, 6 + 2 * bool(args.model) + bool(args.index))
    steps("Making the phantom")
    phantom = make_phantom(demo_spec(args.seed))
    masks = None if args.no_masks else phantom.segmentation
    _write_report(args, phantom.volume, masks, phantom.patient, steps)


def _index(args: argparse.Namespace) -> int:
    from radvlm.cli.index import run
    from radvlm.export.scan_picture import scan_picture
    from radvlm.io import load_volume
    from radvlm.workflows.open_index import open_embedder

    return run(args, open_embedder, load_volume, scan_picture)


def _classify(args: argparse.Namespace) -> None:
    from radvlm.workflows.examine import classify_findings
    from radvlm.workflows.models import load_model, notice_of

    model = load_model(args.model)
    scores = classify_findings(
        args.ct,
        model=model,
        findings=args.findings,
        series=args.series,
        index=args.index,
        exclude_patient=args.exclude_patient,
        patient_not_indexed=args.patient_not_indexed,
    )
    notice = notice_of(model)
    if args.json:
        import json
        from dataclasses import asdict

        print(json.dumps({"model": model.name, "notice": notice, "scores": [asdict(s) for s in scores]}, indent=2))
        return
    from radvlm.types.anatomy import structure

    for score in sorted(scores, key=lambda s: -s.probability):
        where = structure(score.site).words if score.site else ""
        print(
            f"{score.probability:5.2f}  {score.status:<13}  {score.words}{f' ({where})' if where else ''}"
            f"{_vote_words(score)}"
        )
    if notice:
        print(f"note: {notice}", file=sys.stderr)


def _vote_words(score: Any) -> str:
    """What the neighbors of an index say of a finding; "" without an index."""
    if not hasattr(score, "neighbors"):
        return ""
    if score.share is None:
        return "; no neighbor votes"
    how = "counted" if score.is_calibrated else "uncalibrated, not counted"
    return f"; {score.share:.2f} of {score.neighbors} neighbors ({how})"


def _ask(args: argparse.Namespace) -> None:
    from radvlm.workflows.examine import answer
    from radvlm.workflows.models import load_model, notice_of

    model = load_model(args.model)
    found = answer(args.ct, args.question, model=model, segmentation=args.masks, scheme=args.scheme, series=args.series)
    notice = notice_of(model)
    if args.json:
        import json

        whole = {"model": model.name, "notice": notice, "question": args.question, **found.to_dict()}
        print(json.dumps(whole, indent=2))
        return
    print(_printable(found.text))
    print(f"confidence {found.confidence:.2f}; {found.status}")
    if found.region is not None:
        x, y, z = found.region.centroid_mm
        print(f"region: {found.region.structure}, center {x:.0f} {y:.0f} {z:.0f} mm (RAS+)")
    for line in found.evidence:
        print(f"- {_printable(line)}")
    if notice:
        print(f"note: {notice}", file=sys.stderr)


def _printable(text: str) -> str:
    """Text of a model without control characters, which a terminal would obey."""
    return "".join(c if c.isprintable() else " " for c in text)


def _train(args: argparse.Namespace) -> None:
    if not Path(args.config).is_file():
        raise InputError("a training configuration is a YAML file", args.config, "See configs/tiny.yaml")
    try:
        from radvlm.workflows.train_model import train_model
    except ModuleNotFoundError as error:
        if (error.name or "").startswith("radvlm"):
            raise
        from radvlm.errors import MissingPackageError

        raise MissingPackageError(
            "training needs the packages of the extra `model`", str(error.name), "pip install radvlm[model]"
        ) from error

    def show(*parts: object) -> None:
        print(*parts, file=sys.stderr)

    output = args.output or Path("out") / Path(args.config).stem
    folder = train_model(args.config, output, resume=args.resume, progress=None if args.quiet else show)
    print(f"Written to {folder}", file=sys.stderr)


def _measure(args: argparse.Namespace) -> None:
    from radvlm.files.atomic import write_text
    from radvlm.io import load_volume
    from radvlm.workflows.examine import measure

    if args.series and not args.ct:
        raise InputError("--series chooses a series of the CT", "no CT")
    volume = load_volume(args.ct, series=args.series) if args.ct else None
    numbers = measure(volume, args.masks, config=_config(args), scheme=args.scheme)
    text = numbers.to_csv() if args.format == "csv" else numbers.to_json() + "\n"
    if args.output:
        write_text(args.output, text)
    else:
        sys.stdout.write(text)


def _compare(args: argparse.Namespace) -> None:
    from radvlm.files.atomic import write_text
    from radvlm.workflows.compare_studies import compare

    found = compare(args.current, args.prior, days=args.days, baseline_mm=args.baseline_mm, nadir_mm=args.nadir_mm)
    text = {"text": lambda: found.text, "csv": found.to_csv, "json": lambda: found.to_json() + "\n"}[args.format]()
    if args.output:
        write_text(args.output, text)
    else:
        sys.stdout.write(text)


def _evaluate(args: argparse.Namespace) -> int:
    from radvlm.cli.evaluate import run
    from radvlm.workflows.saved_report import load_regions

    return run(args, load_regions)


def _series(args: argparse.Namespace) -> None:
    from radvlm.io.dicom_series import list_series

    print("    number  plane         slices  matrix     description / UID")
    for r in list_series(args.folder):
        mark = "*" if r.chosen else " "
        print(
            f"  {mark} {r.number or '-':<7} {r.plane:<13} {r.slices:>6}  {f'{r.columns}x{r.rows}':<9}  "
            f"{r.description or '-'} {r.series_uid}".rstrip()
        )
    print("* is what `radvlm report` takes without --series")


def _info(args: argparse.Namespace) -> None:
    from radvlm.workflows.information import information, information_text

    facts = information(args.topic)
    if args.json:
        import json

        print(json.dumps(facts, indent=2))
    else:
        print(information_text(facts))


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; returns the exit code.

    0 for success, 2 for bad input (argparse exits with 2 by itself), 3 when cases of an evaluation failed, 130 when
    stopped from the keyboard.
    """
    args = build_parser().parse_args(arguments)
    try:
        return args.run(args) or 0
    except RadvlmError as error:
        print(f"radvlm: {error}", file=sys.stderr)
        return EXIT_ERROR
    except BrokenPipeError:
        sys.stderr.close()  # the reader of a pipe has gone; nothing is lost
        return 0
    except KeyboardInterrupt:
        print("radvlm: stopped; nothing half-written was left.", file=sys.stderr)
        return 130

"""Arguments that several commands share, and the settings that they make."""

from __future__ import annotations

import argparse
import os
import re
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING

from radvlm.errors import InputError

if TYPE_CHECKING:
    from radvlm.retrieve import SearchOptions
    from radvlm.types.volume import Volume
    from radvlm.workflows.config import Config, Segmenting


def model_argument(parser: argparse.ArgumentParser, default: str | None) -> None:
    """``--model``."""
    shown = f" (default {default})" if default else ""
    parser.add_argument(
        "--model",
        metavar="NAME",
        default=default,
        help=f"tiny, a folder of save_pretrained, a checkpoint file or a hub id in the cache{shown}",
    )


def scan_arguments(parser: argparse.ArgumentParser) -> None:
    """``--series``, ``--acquisition`` and ``--rescale``: how a scan is read."""
    parser.add_argument("--series", help="DICOM series: UID or its end, number, folder, or part of the description")
    parser.add_argument(
        "--acquisition",
        metavar="WHICH",
        help="acquisition (phase, reconstruction) of a series that holds several, as `radvlm series` lists it",
    )
    rescale_argument(parser)


def output_argument(
    parser: argparse._ActionsContainer, help: str, *, folder: bool = True, metavar: str = "OUT", required: bool = True
) -> None:
    """``-o``: where a command writes; ``require_output`` asks whether it may before the command begins."""
    parser.add_argument("-o", "--output", required=required, metavar=metavar, help=help)
    parser.set_defaults(output_is_folder=folder)


def require_output(args: argparse.Namespace) -> None:
    """FileFormatError when what a command is to write cannot be written; asked before anything is read."""
    from radvlm.files.atomic import require_writable_file, require_writable_folder

    output, page = getattr(args, "output", None), getattr(args, "page", None)
    if output is not None and args.output_is_folder:
        if hasattr(args, "no_page"):
            from radvlm.files.report_folder import require_report_folder

            require_report_folder(output, page=not args.no_page)
        else:
            require_writable_folder(output)
    elif output is not None:
        require_writable_file(output)
    if isinstance(page, str):
        require_writable_file(page)
    if getattr(args, "action", None) in ("add", "remove"):
        require_writable_folder(args.index)
    for target in (output, page):
        if isinstance(target, str):
            remove_leftovers(
                target, files_inside=getattr(args, "output_is_folder", False) and not hasattr(args, "no_page")
            )


def remove_leftovers(target: str | os.PathLike[str], *, files_inside: bool) -> None:
    """Remove what killed runs left of an output, and say so on stderr; ``files_inside`` as in ``remove_abandoned``."""
    from radvlm.files.staging import remove_abandoned

    for path in remove_abandoned(target, files_inside=files_inside):
        print(f"note: Removed {path}, which a run that was stopped had left.", file=sys.stderr)


def ct_argument(parser: argparse.ArgumentParser, *, required: bool = True, more: str = "") -> None:
    """``ct``: one path, or the files of one scan."""
    parser.add_argument(
        "ct",
        nargs="+" if required else "*",
        metavar="CT",
        help=f"DICOM folder, zip or files, or a NIfTI, NRRD or MetaImage (.mha) file{more}",
    )


def rescale_argument(parser: argparse.ArgumentParser) -> None:
    """``--rescale``."""
    parser.add_argument(
        "--rescale",
        type=rescale_text,
        metavar="HOW",
        help="what makes the stored values HU: auto (default), none (they are HU), header, or SLOPE,INTERCEPT",
    )


def with_negative_slopes(arguments: Sequence[str]) -> list[str]:
    """Command line words with ``--rescale -1,0`` as one word, because argparse takes ``-1,0`` for an option."""
    words: list[str] = []
    for word in arguments:
        if words and words[-1] == "--rescale" and re.match(r"-[\d.]", word):
            words[-1] += f"={word}"
        else:
            words.append(word)
    return words


def refuse_empty_words(arguments: Sequence[str]) -> None:
    """InputError for an argument without a character, which is what a variable of the shell that is not set becomes.

    Read as a path it would be the current folder, and as an option it would pass for one that was not given.
    """
    for number, word in enumerate(arguments):
        if word and not re.fullmatch(r"--[a-z-]+=", word):
            continue
        before = arguments[number - 1] if number else ""
        option = word.rstrip("=") or (before if re.fullmatch(r"-\w|--[a-z-]+", before) else "")
        raise InputError(
            "every argument has at least one character",
            f"{option} with nothing after it" if option.strip() else f"an empty argument (number {number + 1})",
            "Is a variable of the shell not set? The current folder is .",
        )


def rescale_text(text: str) -> str:
    """``text`` as given when it says how to rescale; else argparse says what it may be, before anything is read."""
    import math

    if text in ("auto", "none", "header"):
        return text
    try:
        slope, intercept = (float(part) for part in text.split(","))
    except ValueError:
        slope, intercept = 0.0, 0.0
    if slope == 0 or not (math.isfinite(slope) and math.isfinite(intercept)):
        raise argparse.ArgumentTypeError(
            f"{text!r} is not auto, none, header or SLOPE,INTERCEPT (such as 1,-1024; a slope other than 0, a point as "
            "the decimal mark)"
        )
    return text


def scan_of(args: argparse.Namespace) -> Volume:
    """The scan that ``ct``, ``--series``, ``--acquisition`` and ``--rescale`` name."""
    from radvlm.cli.terminal import print_doubts
    from radvlm.io import load_volume

    scan = load_volume(args.ct, series=args.series, acquisition=args.acquisition, rescale=args.rescale or "auto")
    print_doubts(scan)
    return scan


def mask_arguments(parser: argparse.ArgumentParser, *, required: bool) -> None:
    """``--masks``, ``--scheme`` and ``--accept-misplaced``."""
    parser.add_argument(
        "--masks",
        required=required,
        metavar="MASKS",
        help="multi-label NIfTI, NRRD or MetaImage, .seg.nrrd, folder or zip of binary masks, DICOM SEG or RTSTRUCT",
    )
    parser.add_argument(
        "--scheme",
        type=scheme_argument,
        metavar="SCHEME",
        help="label scheme of the masks (default: detected; see `radvlm info schemes`), or LABEL=STRUCTURE,... "
        "with numbers or names; LABEL= leaves one out",
    )
    parser.add_argument(
        "--accept-misplaced",
        action="store_true",
        help="go on with masks that look mirrored, turned or shifted on the scan; the report says so in its head",
    )


def segment_arguments(parser: argparse.ArgumentParser, option: str = "--segment", *, required: bool = False) -> None:
    """``--segment`` (or another name for it) and how it is run."""
    parser.add_argument(
        option,
        dest="segmenter",
        action="append",
        required=required,
        metavar="WHAT",
        help="make the masks: tasks of TotalSegmentator (total,liver_lesions), nnunet:FOLDER[@scheme], "
        "bundle:FOLDER[@scheme], 'command:PROGRAM {ct} {out}', or best (what the region calls for); can be repeated. "
        "See docs/segmentation.md",
    )
    parser.add_argument("--fast", action="store_true", help="the coarser model of tasks that have one")
    parser.add_argument("--device", metavar="DEVICE", help="auto (default), cpu, gpu, gpu:1 ... or mps")
    parser.add_argument(
        "--allow-download", action="store_true", help="let packages download weights that are missing; else nothing is"
    )
    parser.add_argument(
        "--run-model-code",
        action="store_true",
        help="let a model run code that it brings; only where you trust its maker",
    )
    parser.add_argument("--no-cache", action="store_true", help="keep no masks for a later run, and use none")


def scheme_argument(text: str) -> str | dict[int, str] | dict[str, str]:
    """The name of a scheme, or {label: structure} from ``LABEL=STRUCTURE,...``."""
    if "=" not in text:
        return text
    pairs = [part.partition("=") for part in text.split(",") if part.strip()]
    table = {label.strip(): structure.strip() for label, found, structure in pairs if found and label.strip()}
    if len(table) != len(pairs):
        raise argparse.ArgumentTypeError(f"{text!r} is neither a name nor LABEL=STRUCTURE,... with each label once")
    if all(label.isdecimal() for label in table):
        return {int(label): structure for label, structure in table.items()}
    return table


def patient_arguments(parser: argparse.ArgumentParser) -> None:
    """Whose scan it is, so that no prior report of that patient is looked up."""
    whose = parser.add_mutually_exclusive_group()
    whose.add_argument(
        "--exclude-patient",
        action="append",
        metavar="ID",
        help="whose scan it is: none of their reports in the index is used (can be repeated)",
    )
    whose.add_argument("--patient-not-indexed", action="store_true", help="the scan is of nobody in the index")


def whose_scan(args: argparse.Namespace) -> SearchOptions | None:
    """What ``patient_arguments`` said, for the search of ``--index``; None without one."""
    from radvlm.retrieve import SearchOptions

    return SearchOptions(args.exclude_patient, args.patient_not_indexed) if args.index else None


def _segmenting(args: argparse.Namespace, base: Segmenting) -> Segmenting:
    """What the options of ``segment_arguments`` change of the settings."""
    from dataclasses import replace

    return replace(
        base,
        fast=args.fast or base.fast,
        device=args.device or base.device,
        allow_download=args.allow_download or base.allow_download,
        run_model_code=args.run_model_code or base.run_model_code,
        cache="off" if args.no_cache else base.cache,
    )


def settings_of(args: argparse.Namespace) -> Config:
    """The settings of ``--config``, with ``--style`` over them where a command has it."""
    from dataclasses import replace

    from radvlm.workflows.config import Config

    config = Config.load(args.config) if args.config else Config()
    if hasattr(args, "allow_download"):
        config = replace(config, segmenting=_segmenting(args, config.segmenting))
    if getattr(args, "style", None):
        config = replace(config, style=replace(config.style, detail=args.style))
    return config

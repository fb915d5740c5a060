"""``radvlm segment``: the masks of a scan alone, to a folder that ``radvlm report --masks`` reads."""

from __future__ import annotations

import argparse
import sys
from typing import Any

from radvlm.cli.arguments import ct_argument, output_argument, scan_arguments, segment_arguments, settings_of
from radvlm.cli.option_words import in_options
from radvlm.cli.terminal import Steps


def add_parser(commands: Any) -> None:
    """Add the command."""
    segment = commands.add_parser(
        "segment",
        help="make the masks of one CT",
        description="Write the masks of one CT into a folder: a file for 3D Slicer with every structure, a label map, "
        "and who made them. `radvlm report CT --masks FOLDER` reads it.",
    )
    ct_argument(segment)
    segment_arguments(segment, "--with", required=True)
    scan_arguments(segment)
    output_argument(segment, "folder to write")
    segment.add_argument("--config", metavar="YAML", help="settings, see configs/")
    segment.add_argument("-q", "--quiet", action="store_true", help="no progress")
    segment.set_defaults(run=run)


def run(args: argparse.Namespace) -> None:
    """Segment, and write the folder."""
    from radvlm.io import load_segmentation, load_volume
    from radvlm.io.saved_masks import save_masks
    from radvlm.workflows.segmenters import require_segmenters, segmented

    config = settings_of(args)
    require_segmenters(args.segmenter, config.segmenting)
    steps = Steps(args.quiet, 4)
    try:
        steps("Reading the CT")
        volume = load_volume(
            args.ct,
            series=args.series,
            acquisition=args.acquisition or config.reading.acquisition,
            rescale=args.rescale or config.reading.rescale,
        )
        made = segmented(volume, args.segmenter, config.segmenting, progress=steps)
        masks = load_segmentation(made, like=volume.geometry)
        steps("Writing the masks")
        folder = save_masks(args.output, masks, stored_axes=volume.stored_axes)
    finally:
        steps.close()
    for decision in masks.decisions:
        if decision.warning:
            print(f"note: {in_options(decision.what, vars(args))}", file=sys.stderr)
    if not args.quiet:
        print(f"{len(masks.places)} of {len(masks.searched)} structures found.")
        print(f"Written to {folder}: radvlm report CT --masks {folder} -o OUT", file=sys.stderr)

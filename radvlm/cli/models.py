"""``radvlm classify`` and ``radvlm ask``: what a model says of one CT beside a report."""

from __future__ import annotations

import argparse
import json
import sys
from dataclasses import asdict
from typing import Any

from radvlm.cli.arguments import (
    ct_argument,
    mask_arguments,
    model_argument,
    patient_arguments,
    scan_arguments,
    scan_of,
    whose_scan,
)
from radvlm.cli.terminal import printable


def add_parsers(commands: Any) -> None:
    """Add ``radvlm classify`` and ``radvlm ask``."""
    classify = commands.add_parser(
        "classify",
        help="probabilities of findings, from the images alone",
        description="Print how probable findings are in one CT: those of the model, or any text (zero-shot).",
    )
    ct_argument(classify)
    model_argument(classify, "tiny")
    classify.add_argument("--findings", nargs="+", metavar="TEXT", help="default: those the model was trained on")
    scan_arguments(classify)
    classify.add_argument("--index", metavar="INDEX", help="the nearest scans of an index vote beside the model")
    patient_arguments(classify)
    classify.add_argument("--json", action="store_true", help="machine readable")
    classify.set_defaults(run=run_classify)

    ask = commands.add_parser(
        "ask",
        help="answer a question about one CT",
        description="Print the answer to a question, how sure the model is and what it rests on.",
    )
    ct_argument(ask)
    ask.add_argument("question")
    model_argument(ask, "tiny")
    mask_arguments(ask, required=False)
    scan_arguments(ask)
    ask.add_argument("--json", action="store_true", help="machine readable")
    ask.set_defaults(run=run_ask)


def run_classify(args: argparse.Namespace) -> None:
    """Print how probable findings are."""
    from radvlm.workflows.examine import classify_findings
    from radvlm.workflows.models import load_model, notice_of

    model = load_model(args.model)
    scores = classify_findings(
        scan_of(args), model=model, findings=args.findings, index=args.index, search=whose_scan(args)
    )
    notice = notice_of(model)
    if args.json:
        print(json.dumps({"model": model.name, "notice": notice, "scores": [asdict(s) for s in scores]}, indent=2))
        return
    from radvlm.types.anatomy import structure
    from radvlm.types.finding import Status
    from radvlm.types.finding_kinds import is_listed
    from radvlm.types.model_output import OUTSIDE_ITS_DOMAIN

    for caution in dict.fromkeys(s.caution for s in scores if s.caution):
        print(f"caution: {caution}")  # in the stream of the numbers, before them, so that no file holds them without it
    unknown = {s.finding for s in scores if args.findings and s.finding == s.words and not is_listed(s.finding)}
    for score in sorted(scores, key=lambda s: -s.probability):
        where = structure(score.site).words if score.site else ""
        print(
            f"{score.probability:5.2f}  {score.status:<13}  {printable(score.words)}{f' ({where})' if where else ''}"
            f"{f'; {OUTSIDE_ITS_DOMAIN}' if score.status == Status.NOT_ASSESSED else ''}"
            f"{'; not a listed finding' if score.finding in unknown else ''}{_vote_words(score)}"
        )
    if unknown:
        print("note: of what is not a listed finding the number is the likeness of scan and text, of unknown error")
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


def run_ask(args: argparse.Namespace) -> None:
    """Print the answer to a question."""
    from radvlm.workflows.examine import answer
    from radvlm.workflows.models import load_model, notice_of

    model = load_model(args.model)
    found = answer(
        scan_of(args),
        args.question,
        model=model,
        segmentation=args.masks,
        scheme=args.scheme,
        accept_misplaced=args.accept_misplaced,
    )
    notice = notice_of(model)
    if args.json:
        whole = {"model": model.name, "notice": notice, "question": args.question, **found.to_dict()}
        print(json.dumps(whole, indent=2))
        return
    print(printable(found.text))
    print(f"confidence {found.confidence:.2f}; {found.status}")
    if found.region is not None:
        x, y, z = found.region.centroid_mm
        print(f"region: {found.region.structure}, center {x:.0f} {y:.0f} {z:.0f} mm (RAS+)")
    for line in found.evidence:
        print(f"- {printable(line)}")
    if notice:
        print(f"note: {notice}", file=sys.stderr)

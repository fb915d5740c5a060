"""``radvlm weights``: which published models exist, what of them is here, fetching and checking them."""

from __future__ import annotations

import argparse
import json
import sys
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from radvlm.cli.terminal import printable

if TYPE_CHECKING:
    from radvlm.model.published import PublishedModel


def add_parser(commands: Any) -> None:
    """Add ``radvlm weights``."""
    weights = commands.add_parser(
        "weights",
        help="published models: list, show, fetch, verify",
        description="Which published models exist, under which licence, what of them is on disk; fetch and check them. "
        "Nothing is downloaded but by `fetch`.",
    )
    actions = weights.add_subparsers(dest="action", required=True, metavar="ACTION")
    listing = actions.add_parser("list", help="every model, its licence, and what of it is here")
    listing.add_argument("--json", action="store_true", help="machine readable")
    listing.set_defaults(run=run_list)
    show = actions.add_parser("show", help="all that is known of one model")
    show.add_argument("name", metavar="NAME")
    show.add_argument("--json", action="store_true", help="machine readable")
    show.set_defaults(run=run_show)
    fetch = actions.add_parser("fetch", help="download a model, or take its files from --from")
    fetch.add_argument("name", metavar="NAME")
    fetch.add_argument("--from", dest="source", metavar="PATH", help="a file or folder of your own instead of the hub")
    fetch.add_argument("--revision", metavar="COMMIT", help="commit of the hub repository (40 hex digits)")
    fetch.set_defaults(run=run_fetch)
    check = actions.add_parser("verify", help="read what is here again and compare its sha256")
    check.add_argument("name", nargs="?", metavar="NAME", help="default: every model that is here")
    check.set_defaults(run=run_verify)
    where = actions.add_parser("where", help="print the folder of weights")
    where.set_defaults(run=run_where)


def run_list(args: argparse.Namespace) -> None:
    """Print every model with its licence and state."""
    from radvlm.model.weight_store import weights_folder, weights_on_disk

    found = weights_on_disk()
    if args.json:
        rows = [{**asdict(w.model), "state": w.state, "where": w.where} for w in found]
        print(json.dumps({"folder": str(weights_folder()), "models": rows}, indent=2))
        return
    width = max(len(w.model.name) for w in found)
    for group, heading in ((False, "MODELS"), (True, "SEGMENTATION (fetched by their own program)")):
        print(heading)
        for w in found:
            if ("segment" in w.model.offers) is group:
                task = _task_state(w.model) if group else ""
                state = w.words or ("on disk" if task.startswith("on disk") else "-")
                if state == "-" and w.model.how == "none" and not w.model.command:
                    state = "not usable yet"
                print(printable(f"  {w.model.name:<{width}}  {_offers(w.model):<42}  {w.model.licence}; {state}"))
    print(f"Folder of weights: {weights_folder()}. `radvlm weights show NAME` tells more of one.")


def run_show(args: argparse.Namespace) -> None:
    """Print all that is known of one model."""
    from radvlm.model.published import published_model
    from radvlm.model.weight_store import folder_of, recorded, state_of

    model = published_model(args.name)
    state = state_of(model)
    record = recorded(model)
    if args.json:
        held = {name: asdict(facts) for name, facts in record.items()}
        print(json.dumps({**asdict(model), "state": state.state, "where": state.where, "recorded": held}, indent=2))
        return
    lines = [
        ("", model.title),
        ("reads", model.reads),
        ("offers", _offers(model) + (f" ({model.outputs})" if model.outputs else "")),
        ("not offered", _not_offered(model)),
        ("licence", model.licence),
        ("input", model.input),
        ("needs", model.needs),
        ("from", _origin(model)),
        ("here", state.words or _task_state(model) or f"no (it would lie in {folder_of(model)})"),
        ("load", f"radvlm.load_model({model.load!r})" if model.load else "load_model does not open it"),
        ("tried here", model.verified),
        ("missing", model.missing),
        ("facts from", model.facts),
    ]
    print(printable(model.name))
    for name, words in lines:
        if words:
            print(printable(f"  {f'{name}:' if name else '':<13}{words}"))
    for file in model.files:
        known = record.get(file.name)
        digest = file.sha256 or (known.sha256 if known else "") or "unknown, recorded when it is first fetched"
        size = file.size_bytes or (known.size_bytes if known else 0)
        print(printable(f"  file:        {file.name}, {f'{size} bytes' if size else 'size unknown'}, sha256 {digest}"))


def run_fetch(args: argparse.Namespace) -> None:
    """Bring the files of a model to their folder."""
    from radvlm.model.weight_store import fetch

    place = fetch(args.name, args.source, revision=args.revision, say=lambda line: print(printable(line)))
    print(f"In {place}.")


def run_verify(args: argparse.Namespace) -> int:
    """Print what of each file is as it should be; 2 where something is not."""
    from radvlm.model.weight_store import verify, weights_folder

    found = verify(args.name)
    for one in found:
        print(printable(f"{one.state:<8} {one.model}: {one.file}: {one.words}"))
    if not found:
        print(f"Nothing to verify: no weights in {weights_folder()}.")
    bad = [one for one in found if one.state in ("differs", "missing")]
    if bad:
        print(
            f"radvlm: {len(bad)} of {len(found)} files are not what they should be. Fetch them again: "
            f"{', '.join(dict.fromkeys(f'radvlm weights fetch {one.model}' for one in bad))}.",
            file=sys.stderr,
        )
    return 2 if bad else 0


def run_where(args: argparse.Namespace) -> None:
    """Print the folder of weights."""
    from radvlm.model.weight_store import weights_folder

    print(weights_folder())


def _offers(model: PublishedModel) -> str:
    return ", ".join(model.offers) or "-"


def _task_state(model: PublishedModel) -> str:
    """Whether a task of TotalSegmentator could run now, where its program keeps its weights; "" for other models."""
    from radvlm.segment.totalsegmentator_weights import is_installed, task_state, weights_folder

    task = model.name.removeprefix("totalsegmentator-")
    if task == model.name:
        return ""
    if not is_installed():
        return f"not known without the package TotalSegmentator, which keeps them in {weights_folder()}"
    state = task_state(task, fast=False)
    return f"on disk, in {weights_folder()}" if state == "ready" else f"no ({state})"


def _not_offered(model: PublishedModel) -> str:
    from radvlm.model.protocol import METHODS

    return "" if "segment" in model.offers else ", ".join(m for m in METHODS if m not in model.offers)


def _origin(model: PublishedModel) -> str:
    if model.repository and model.how == "hub":
        return f"{model.repository} at {model.commit or 'a commit that is not known (recorded at the first fetch)'}"
    parts = [f"made from {model.repository}" if model.repository else "", model.install]
    return "; ".join(part for part in parts if part)

"""The judge of ``radvlm evaluate`` and ``radvlm calibrate``: its arguments, what it would cost, and its files.

Keys come from environment variables, never from arguments, which other users of the computer could read; and never go
to a server on this computer unless the variable was named.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from radvlm.files.atomic import write_text

if TYPE_CHECKING:
    from radvlm.evaluate.judge.backend import Backend
    from radvlm.evaluate.judge.cost import Prices
    from radvlm.evaluate.judge.metric import JudgeMetric
    from radvlm.evaluate.results.table import EvaluationTable
    from radvlm.report_reader.report_text import ReportText

BACKENDS = ("openai", "azure", "transformers", "offline-batch")


def add_judge_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the judge's arguments to a parser."""
    judge = parser.add_argument_group("judge (a language model lists the errors)")
    judge.add_argument(
        "--judge",
        choices=BACKENDS,
        help="add a judge: an OpenAI-compatible server, Azure, a model "
        "folder in this process, or files for a batch service",
    )
    judge.add_argument("--model", default="", metavar="NAME", help="model, deployment (azure) or folder (transformers)")
    judge.add_argument(
        "--base-url",
        default="",
        metavar="URL",
        help="such as http://localhost:8000/v1; for azure the endpoint of the resource",
    )
    judge.add_argument(
        "--allow-remote", action="store_true", help="consent to send the reports to a host that is not this computer"
    )
    judge.add_argument(
        "--api-key-env",
        default="",
        metavar="VARIABLE",
        help="environment variable that holds the key "
        "(default OPENAI_API_KEY or AZURE_OPENAI_API_KEY for remote hosts, none for this computer)",
    )
    judge.add_argument("--api-version", default="2024-10-21", help="of Azure (default 2024-10-21)")
    judge.add_argument(
        "--judge-prompt",
        default="ct-errors",
        metavar="NAME",
        help="ct-errors (default), chexprompt, or a YAML file of your own",
    )
    judge.add_argument(
        "--temperature", default="0", metavar="T", help="of sampling, or 'default' for the server's (default 0)"
    )
    judge.add_argument("--judge-seed", default="0", metavar="N", help="of sampling, or 'none' (default 0)")
    judge.add_argument("--max-tokens", type=int, default=4096, metavar="N", help="longest reply (default 4096)")
    judge.add_argument(
        "--judge-output",
        choices=("json_schema", "json_object", "text"),
        default="json_schema",
        help="what the server is asked to enforce; it falls back by itself (default json_schema)",
    )
    judge.add_argument("--votes", type=int, default=1, metavar="N", help="answers for each case (default 1)")
    judge.add_argument("--concurrency", type=int, default=8, metavar="N", help="requests at a time (default 8)")
    judge.add_argument("--rpm", type=float, metavar="N", help="at most N requests a minute")
    judge.add_argument("--tpm", type=float, metavar="N", help="at most N tokens a minute, as estimated")
    judge.add_argument("--timeout", type=float, default=120.0, metavar="S", help="for one reply (default 120)")
    judge.add_argument("--attempts", type=int, default=6, metavar="N", help="for one request (default 6)")
    judge.add_argument("--retry-failed", action="store_true", help="ask again where an earlier answer was not valid")
    judge.add_argument(
        "--no-resend-lost",
        action="store_true",
        help="do not ask again where a reply was lost and may have been paid for",
    )
    judge.add_argument("--judge-cache", default="", metavar="FILE", help="replies (default OUT/judge.sqlite)")
    judge.add_argument("--device", default="auto", help="for transformers: auto, cpu, cuda, mps")
    judge.add_argument("--price-input", type=float, metavar="P", help="price of a million input tokens")
    judge.add_argument("--price-output", type=float, metavar="P", help="price of a million output tokens")
    judge.add_argument("--dry-run", action="store_true", help="tell what the judge would cost, send nothing")


def prices_of(args: argparse.Namespace) -> Prices:
    from radvlm.evaluate.judge.cost import Prices

    return Prices(args.price_input, args.price_output)


def open_judge(args: argparse.Namespace, out: Path) -> JudgeMetric:
    """The judge that the arguments ask for. Its cache stands in ``out``; close it with ``metric.runner.cache.close()``.

    In a dry run nothing is created: without a cache file nothing is counted as kept. Raises InputError for arguments
    that do not fit together, or a remote host without consent.
    """
    from radvlm.errors import InputError
    from radvlm.evaluate.judge.cache import ReplyCache
    from radvlm.evaluate.judge.metric import JudgeMetric
    from radvlm.evaluate.judge.pace import Retry
    from radvlm.evaluate.judge.request import Params, load_prompt
    from radvlm.evaluate.judge.runner import JudgeSettings

    if not args.model:
        raise InputError("a judge has a model", "none", "--model NAME")
    params = Params(
        _number(args.temperature, "--temperature", "default"),
        None,
        args.max_tokens,
        _whole(_number(args.judge_seed, "--judge-seed", "none")),
    )
    model = Path(args.model).name if args.judge == "transformers" else args.model
    settings = JudgeSettings(
        model,
        load_prompt(args.judge_prompt),
        params,
        args.votes,
        args.concurrency,
        args.rpm,
        args.tpm,
        Retry(attempts=args.attempts),
        args.retry_failed,
        not args.no_resend_lost,
    )
    backend = _backend(args, out)
    path = Path(args.judge_cache) if args.judge_cache else out / "judge.sqlite"
    cache = ReplyCache() if args.dry_run and not path.is_file() else ReplyCache(path)
    quiet = getattr(args, "quiet", False) or args.judge == "offline-batch"
    return JudgeMetric(backend, settings, cache, progress=not quiet and sys.stderr.isatty())


def _backend(args: argparse.Namespace, out: Path) -> Backend:
    from radvlm.errors import InputError
    from radvlm.evaluate.judge.request import Wire

    wire = Wire(args.judge_output)
    if args.judge == "transformers":
        from radvlm.evaluate.judge.local_transformers import LocalTransformers

        return LocalTransformers(args.model, args.device)
    if args.judge == "offline-batch":
        from radvlm.evaluate.judge.offline_batch import OfflineBatch

        return OfflineBatch(out / "judge-batch", wire)
    if not args.base_url:
        raise InputError(
            f"the judge {args.judge} has an address",
            "none",
            "--base-url http://localhost:8000/v1 for a server on this computer; for a hosted service its "
            "URL and --allow-remote",
        )
    if args.judge == "azure":
        from radvlm.evaluate.judge.azure import azure

        key = _key(args.api_key_env or "AZURE_OPENAI_API_KEY", required=bool(args.api_key_env))
        token = os.environ.get("AZURE_OPENAI_AD_TOKEN", "")
        return azure(
            args.base_url,
            args.model,
            args.api_version,
            api_key=key,
            token=(lambda: token) if token and not key else None,
            allow_remote=args.allow_remote,
            timeout_s=args.timeout,
            wire=wire,
        )
    from radvlm.evaluate.judge.openai_compatible import OpenAICompatible
    from radvlm.evaluate.judge.wire import is_local

    name = args.api_key_env or ("" if is_local(args.base_url) else "OPENAI_API_KEY")
    return OpenAICompatible(
        args.base_url,
        _key(name, required=bool(args.api_key_env)),
        allow_remote=args.allow_remote,
        timeout_s=args.timeout,
        wire=wire,
    )


def _key(name: str, required: bool) -> str:
    from radvlm.errors import InputError

    key = os.environ.get(name, "").strip() if name else ""
    if required and not key:
        raise InputError("the environment variable of the key is set", name)
    return key


def _number(text: str, name: str, none: str) -> float | None:
    from radvlm.errors import InputError

    if text.strip().lower() == none:
        return None
    try:
        return float(text)
    except ValueError as error:
        raise InputError(f"{name} is a number or '{none}'", repr(text)) from error


def _whole(value: float | None) -> int | None:
    from radvlm.errors import InputError

    if value is not None and not value.is_integer():
        raise InputError("a seed is a whole number", str(value))
    return None if value is None else int(value)


def dry_run(
    metric: JudgeMetric,
    references: Sequence[ReportText],
    systems: Mapping[str, Sequence[ReportText | None]],
    section: str,
    prices: Prices,
) -> str:
    """What judging these systems would cost, as text; ``systems`` are paired with the references.

    Where ``section`` is not ``all``, that section alone is sent, as in the evaluation.
    """
    pairs = [
        (reference, candidate)
        for reports in systems.values()
        for reference, candidate in zip(references, reports, strict=True)
        if candidate is not None
    ]
    if section != "all":
        pairs = [(_only(r, section), _only(c, section)) for r, c in pairs if r.section(section)]
    estimate = metric.estimate([r for r, _ in pairs], [c for _, c in pairs], prices)
    backend = metric.runner.backend
    return (
        f"Dry run, nothing was sent. Judge: {metric.runner.settings.model} ({backend.name}, {backend.place})\n"
        + estimate.text()
    )


def _only(report: ReportText, section: str) -> ReportText:
    from dataclasses import replace

    return replace(report, text=report.section(section) or "", sections=(), report=None)


def save_judge(metric: JudgeMetric, table: EvaluationTable, out: Path, prices: Prices) -> dict[str, Any]:
    """Write judge-card.json, judge-card.md and judge-NAME.jsonl (status, errors, quotes of each case); gives the card.

    Sends nothing. Call it after ``table.save``, which makes the folder.
    """
    from radvlm.evaluate.judge.card import card_text
    from radvlm.evaluate.results.writing import file_name

    records = [
        (system.name, record.reference, record.candidate)
        for system in table.systems
        if system.kind == "system"
        for record in system.records
        if record.candidate is not None and record.reference.text.strip()
    ]
    outcomes, card = metric.report([r for _, r, _ in records], [c for _, _, c in records if c is not None], prices)
    lines: dict[str, list[str]] = {system.name: [] for system in table.systems if system.kind == "system"}
    for (name, reference, _), outcome in zip(records, outcomes, strict=True):
        lines[name].append(json.dumps({"id": reference.id, **outcome.to_dict()}, ensure_ascii=False) + "\n")
    for name, rows in lines.items():
        write_text(out / f"{metric.name}-{file_name(name)}.jsonl", "".join(rows))
    return write_card(card, card_text(card), out, metric.name)


def write_card(card: dict[str, Any], text: str, out: Path, name: str) -> dict[str, Any]:
    """Write NAME-card.json and NAME-card.md; gives the card."""
    write_text(out / f"{name}-card.json", json.dumps(card, indent=2, ensure_ascii=False) + "\n")
    write_text(out / f"{name}-card.md", text)
    return card


def summary(card: Mapping[str, Any]) -> str:
    """One or two lines about a finished judge for the terminal."""
    line = f"Judge {card['model']}: {card['judged']} of {card['cases']} cases judged"
    if card["failed"]:
        line += " (" + ", ".join(f"{n} {name}" for name, n in card["statuses"].items() if name != "ok") + ")"
    if card["statuses"].get("pending"):
        line += "\nBring the replies to judge-batch/requests.jsonl as judge-batch/responses.jsonl and run again"
    return line

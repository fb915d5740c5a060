"""The judge card: what judged, how, when, on how many cases, and what failed. Without it a judged number means little.

Models and fingerprints are those that the replies name, not those that were asked for.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from radvlm.evaluate.judge.backend import STATUSES
from radvlm.evaluate.judge.cost import NO_PRICES, Prices
from radvlm.evaluate.judge.request import digest, reply_schema
from radvlm.evaluate.judge.runner import CaseOutcome, JudgeRunner, Tally
from radvlm.files.atomic import utc_now
from radvlm.version import __version__


def judge_card(
    runner: JudgeRunner, outcomes: Sequence[CaseOutcome], results: Tally, prices: Prices = NO_PRICES
) -> dict[str, Any]:
    """JSON-ready card.

    Args:
        runner: with the tally of this run: what was sent, and what went wrong.
        outcomes: of all cases of the table.
        results: tally of the replies that these outcomes rest on, whenever they were paid for.
    """
    s = runner.settings
    events = runner.tally.events
    good = [o.judgment for o in outcomes if o.judgment is not None]
    errors = sum(j.total for j in good)
    votes = [o.consistency for o in outcomes if o.consistency is not None]
    statuses = Counter(o.status for o in outcomes)
    return {
        "date": utc_now()[:10],
        "radvlm": __version__,
        "model": s.model,
        "models_in_replies": dict(results.models.most_common()),
        "fingerprints_in_replies": dict(results.fingerprints.most_common(10)),
        "backend": runner.backend.name,
        "place": runner.backend.place,
        "backend_details": dict(runner.backend.describe()),
        "prompt": {"name": s.prompt.name, "digest": s.prompt.digest, "sources": list(s.prompt.sources)},
        "schema_digest": digest(reply_schema())[:12],
        "temperature": s.params.temperature,
        "top_p": s.params.top_p,
        "max_tokens": s.params.max_tokens,
        "seed": s.params.seed,
        "votes": s.votes,
        "cases": len(outcomes),
        "judged": len(good),
        "failed": len(outcomes) - len(good),
        "statuses": {name: statuses[name] for name in STATUSES if statuses[name]},
        "reasons": dict(Counter(f"{o.status}: {o.reason}" for o in outcomes if o.reason).most_common(10)),
        "repaired_cases": sum(bool(o.repaired) for o in outcomes),
        "errors": errors,
        "unlocated_errors": sum(j.unlocated for j in good),
        "vote_consistency": sum(votes) / len(votes) if votes else None,
        "requests": {
            "sent": events["sent"],
            "replies_new": events["replies_new"],
            "replies_in_results": results.events["replies_kept"],
            "lost_this_run": events["lost"],
            "interrupted_before": runner.cache.interrupted,
            "lost_all_runs": runner.cache.lost(),
            "failed_attempts": {
                k.removeprefix("failed_"): v for k, v in sorted(events.items()) if k.startswith("failed_")
            },
        },
        "usage": {
            "input_tokens": results.events["input_tokens"],
            "output_tokens": results.events["output_tokens"],
            "input_tokens_this_run": events["input_tokens_new"],
            "output_tokens_this_run": events["output_tokens_new"],
            "replies_without_usage": results.events["replies_without_usage"],
            "cost": prices.cost(results.events["input_tokens"], results.events["output_tokens"]),
            "cost_this_run": prices.cost(events["input_tokens_new"], events["output_tokens_new"]),
        },
    }


def card_text(card: Mapping[str, Any]) -> str:
    """The card in Markdown."""
    requests, usage, details = card["requests"], card["usage"], card["backend_details"]
    where = f"{card['backend']}, {card['place']}"
    if details.get("encrypted") is False and details.get("this_computer") is False:
        where += " (**not encrypted**)"
    rows = [
        ("date", card["date"]),
        ("model asked for", card["model"]),
        ("models in the replies", ", ".join(f"{m} ({n})" for m, n in card["models_in_replies"].items()) or "none"),
        ("backend", where),
        ("prompt", f"{card['prompt']['name']}, digest {card['prompt']['digest']}"),
        (
            "sampling",
            f"temperature {_said(card['temperature'])}, top_p {_said(card['top_p'])}, "
            f"seed {_said(card['seed'])}, at most {card['max_tokens']} tokens, votes {card['votes']}",
        ),
        ("cases", f"{card['cases']}: {card['judged']} judged, {card['failed']} failed"),
        ("statuses", ", ".join(f"{n} {name}" for name, n in card["statuses"].items()) or "none"),
        ("repaired", f"{card['repaired_cases']} cases"),
        ("unlocated errors", f"{card['unlocated_errors']} of {card['errors']} (quote not in the report)"),
        (
            "requests",
            f"{requests['sent']} sent, {requests['replies_new']} replies in this run; "
            f"the results rest on {requests['replies_in_results']} replies",
        ),
        ("possibly paid without a reply", f"{requests['lost_all_runs']} (timeouts, broken connections, killed runs)"),
        ("tokens of these results", f"{usage['input_tokens']:,} in, {usage['output_tokens']:,} out"),
    ]
    if card["vote_consistency"] is not None:
        rows.append(("votes with the same counts", f"{card['vote_consistency']:.0%}"))
    if usage["cost"] is not None:
        rows.append(("cost", f"{usage['cost']:.2f} for these results, {usage['cost_this_run']:.2f} in this run"))
    lines = ["# Judge card", "", "| | |", "|---|---|", *(f"| {name} | {_cell(value)} |" for name, value in rows), ""]
    if card["reasons"]:
        lines += ["Why cases failed:", "", *(f"- {n} x {_cell(reason)}" for reason, n in card["reasons"].items()), ""]
    lines += [
        "Failed cases have no score and are counted as failed; none of them counts as a report without errors.",
        "Research software, not a medical device.",
        "",
    ]
    return "\n".join(lines)


def _said(value: Any) -> str:
    return "of the server" if value is None else str(value)


def _cell(value: Any) -> str:
    return str(value).replace("|", "\\|").replace("\n", " ")

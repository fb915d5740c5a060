"""What this installation knows: structures, label schemes, rules, versions, licences. Never imports torch."""

from __future__ import annotations

import platform
from importlib import metadata
from typing import Any

from radvlm.files.optional import dependencies


def information(topic: str = "all") -> dict[str, Any]:
    """JSON-ready facts for one topic, or for all of them."""
    makers = {
        "structures": _structures,
        "schemes": _schemes,
        "rules": _rules,
        "versions": _versions,
        "licences": dependencies,
    }
    return {name: make() for name, make in makers.items() if topic in ("all", name)}


def _structures() -> list[dict[str, str]]:
    from radvlm.types.anatomy import structures

    return [
        {"name": s.name, "words": s.words, "kind": s.kind, "section": s.section, "snomed_ct": s.snomed_code}
        for s in structures().values()
    ]


def _schemes() -> list[dict[str, Any]]:
    from radvlm.types.label_scheme import schemes

    return [{"name": s.name, "structures": len(s.structures), "note": s.note} for s in schemes().values()]


def _rules() -> list[dict[str, Any]]:
    from radvlm.interpret import load_rules

    return [{"id": r.id, "source": r.source, "certainty": r.earned_certainty} for r in load_rules().rules]


def _versions() -> dict[str, str]:
    from radvlm.version import __version__

    found = {"radvlm": __version__, "python": platform.python_version()}
    for row in dependencies():
        if row["need"] != "dev":
            try:
                found[row["name"]] = metadata.version(row["name"])
            except metadata.PackageNotFoundError:
                found[row["name"]] = f"not installed ({row['need']})"
    return found


def information_text(facts: dict[str, Any]) -> str:
    """The facts as aligned text, one block a topic."""
    blocks = []
    for topic, rows in facts.items():
        if isinstance(rows, dict):
            rows = [{"name": key, "version": value} for key, value in rows.items()]
        columns = list(rows[0]) if rows else []
        widths = {c: max(len(c), *(len(str(r[c])) for r in rows)) for c in columns}
        lines = ["  ".join(str(r[c]).ljust(widths[c]) for c in columns).rstrip() for r in rows]
        blocks.append("\n".join([f"{topic.upper()} ({len(rows)})", *lines]))
    return "\n\n".join(blocks)

"""Structured findings and the text that says them, in pairs, from the report of a case: what a decoder learns from."""

from __future__ import annotations

from dataclasses import dataclass

from radvlm.dataset.case import Case
from radvlm.errors import FileFormatError, InputError
from radvlm.types.finding import citable
from radvlm.types.finding_json import findings_from_dicts
from radvlm.wording.fact_lines import fact_lines, facts_of

UNITS_OF_PAIRS = ("section", "sentence")


@dataclass(frozen=True)
class FactPair:
    """Facts and the text that says them. ``text`` may be one sentence or a whole section."""

    section: str
    facts: str
    text: str


def fact_pairs(case: Case, unit: str = "section") -> list[FactPair]:
    """Pairs from ``report.json`` of a case, in reading order; [] when the case has none.

    ``unit``: one pair for each ``section`` (its findings, its sentences), or for each ``sentence`` (what it cites).
    Raises FileFormatError when the report is not what ``radvlm.workflows.phantom_corpus`` writes.
    """
    if unit not in UNITS_OF_PAIRS:
        raise InputError(f"a unit is one of {', '.join(UNITS_OF_PAIRS)}", repr(unit))
    if case.report is None:
        return []
    try:
        held = {c.id: c for c in citable(findings_from_dicts(case.report["findings"].values()))}
        by_id = {i: held[i] for s in case.report["sentences"] for i in s["findings"]}
        said = [(s["section"], s["text"], [by_id[i] for i in s["findings"]]) for s in case.report["sentences"]]
    except (KeyError, TypeError, AttributeError) as error:
        raise FileFormatError(
            "report.json holds sentences and the findings they cite", f"{case.folder}: {type(error).__name__}: {error}"
        ) from error
    if unit == "sentence":
        return [FactPair(section, fact_lines(cited), text) for section, text, cited in said]
    own: dict[str, list[str]] = {}
    for section, text, _ in said:
        own.setdefault(section, []).append(text)
    return [FactPair(section, facts_of(by_id.values(), section), " ".join(texts)) for section, texts in own.items()]

"""One HTML page of an evaluation: systems side by side, distributions, worst cases with errors marked in the text.

The page is one file without any address in it, so it opens on a computer without network. It holds the texts
of the worst cases; leave it out (``--no-page``) where reports may not be copied.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from importlib.resources import files
from itertools import pairwise

from radvlm.evaluate.metric import Output
from radvlm.evaluate.results.number_text import interval_text, number, p_text
from radvlm.evaluate.results.plots import Row, distributions, intervals
from radvlm.evaluate.results.table import CaseRecord, EvaluationTable, MetricInfo, System
from radvlm.evaluate.score import Mark, Score

#: Cases shown for each system.
WORST = 5
#: Outputs that rank the worst cases, the first that is there.
_RANKING = (("errors", "significant"), ("errors", "total"), ("findings", "f1"), ("lexical", "rouge-l"))
_STYLES = 6


@dataclass(frozen=True)
class Panel:
    """One headline output: its name, what it means, its two figures."""

    title: str
    description: str
    signature: str
    intervals: str
    distributions: str


def page(table: EvaluationTable) -> str:
    """The page as text."""
    from jinja2 import Environment, StrictUndefined

    source = files("radvlm.evaluate").joinpath("assets", "evaluation.html.j2").read_text(encoding="utf-8")
    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    environment.filters.update(number=number, p=p_text, interval=interval_text)
    styles = _styles(table.systems)
    ranking = _ranking(table)
    worst = [(s, _worst(s, *ranking)) for s in table.systems if s.kind == "system"] if ranking else []
    return environment.from_string(source).render(
        table=table,
        styles=styles,
        panels=[_panel(table, m, o, styles) for m in table.metrics for o in m.outputs if o.headline],
        ranking=f"{ranking[0].name}/{ranking[1].name}" if ranking else "",
        worst=[
            (s, [(r, case_value(r, *ranking), marked(r, "reference"), marked(r, "candidate")) for r in records])
            for s, records in worst
            if ranking
        ],
        has_marks=any(r.marks for _, records in worst for r in records),
    )


def _styles(systems: Sequence[System]) -> dict[str, str]:
    real = [s.name for s in systems if s.kind == "system"]
    return {s.name: f"s{real.index(s.name) % _STYLES}" if s.kind == "system" else "baseline" for s in systems}


def _panel(table: EvaluationTable, metric: MetricInfo, output: Output, styles: dict[str, str]) -> Panel:
    rows = []
    for system in table.systems:
        e = table.estimate(system.name, metric.name, output.name)
        values = [output.case_value(r.scores[metric.name]).value for r in system.records]
        text = number(e.value) + (f" [{number(e.low)}, {number(e.high)}]" if e.low is not None else "")
        rows.append(
            Row(
                system.name,
                styles[system.name],
                e.value,
                e.low,
                e.high,
                text,
                tuple(v for v in values if v is not None),
            )
        )
    arrow = {True: "↑ higher is better", False: "↓ lower is better", None: ""}[output.higher_is_better]
    title = f"{metric.name}/{output.name}"
    return Panel(
        title,
        f"{output.description}; {arrow}".strip("; "),
        output.signature or metric.signature,
        intervals(title, rows),
        distributions(title, rows),
    )


def _ranking(table: EvaluationTable) -> tuple[MetricInfo, Output] | None:
    """The output that says which cases are worst."""
    there = {(m.name, o.name): (m, o) for m in table.metrics for o in m.outputs if o.higher_is_better is not None}
    for wanted in _RANKING:
        if wanted in there:
            return there[wanted]
    return next(iter(there.values()), None)


def case_value(record: CaseRecord, metric: MetricInfo, output: Output) -> Score:
    return output.case_value(record.scores[metric.name])


def _worst(system: System, metric: MetricInfo, output: Output) -> list[CaseRecord]:
    """The worst cases that have a value and a candidate, then failed ones if there is room."""
    sign = 1 if output.higher_is_better else -1
    known = [(r, v) for r in system.records if (v := case_value(r, metric, output).value) is not None]
    return [r for r, v in sorted(known, key=lambda pair: (sign * pair[1], pair[0].id))][:WORST]


def marked(record: CaseRecord, side: str) -> str:
    """One text of a case as HTML with its marks; overlapping marks are cut at their ends."""
    report = record.reference if side == "reference" else record.candidate
    if report is None:
        return "<em>no report</em>"
    text = report.text
    marks = [m for m in record.marks if m.side == side and m.start < m.stop <= len(text)]
    cuts = sorted({0, len(text), *(m.start for m in marks), *(m.stop for m in marks)})
    parts = []
    for start, stop in pairwise(cuts):
        here = [m for m in marks if m.start <= start and m.stop >= stop]
        body = escape(text[start:stop])
        parts.append(_mark(here, body) if here else body)
    return "".join(parts)


def _mark(marks: Sequence[Mark], body: str) -> str:
    told = [m.significant for m in marks if m.significant is not None]
    style = "significant" if any(told) else "insignificant" if told else "noted"
    why = "\n".join(
        dict.fromkeys(
            f"{m.kind.replace('_', ' ')}: {m.reason}" if m.reason else m.kind.replace("_", " ") for m in marks
        )
    )
    groups = " ".join(dict.fromkeys(m.group for m in marks if m.group))
    return f'<mark class="{style}" data-group="{escape(groups)}" title="{escape(why)}">{body}</mark>'

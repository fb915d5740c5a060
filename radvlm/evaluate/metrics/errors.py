"""Errors of a candidate report against a reference: six categories, each significant or not, without a model.

The categories are CheXprompt's and ReXVal's: false finding, omission, wrong location, wrong severity, false comparison,
omitted comparison. Every error is an object with spans in both texts and a reason, counts are derived; silence
is not negation (a normal statement in one report that the other leaves out is no error); a structured Report enters
with its measured numbers. Deterministic; swapped inputs swap false findings with omissions and false with omitted
comparisons, except that a contradiction in the change itself is a false comparison in both directions.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from radvlm.errors import InputError
from radvlm.evaluate.metric import Output
from radvlm.evaluate.metrics.clinical_significance import Significance, load_significance
from radvlm.evaluate.metrics.facts import NEIGHBORS, Fact, compatible, facts, places_agree
from radvlm.evaluate.score import Mark, Score
from radvlm.evaluate.statistics.resampling import mean_of_sums
from radvlm.report_reader.frame import Reading
from radvlm.report_reader.lexicon import Lexicon, load_lexicon
from radvlm.report_reader.reading import read_report
from radvlm.report_reader.report_text import ReportText

if TYPE_CHECKING:
    from radvlm.types.report import Report

#: The six categories in CheXprompt's order (A to F).
CATEGORIES = ("false_finding", "omission", "wrong_location", "wrong_severity", "false_comparison", "omitted_comparison")
#: A pair that costs more than twice this is two findings, not one told wrongly.
_UNMATCHED = 3.0
#: Up to this many findings of a family on the shorter side, the assignment is exact; beyond, greedy by cost.
_EXACT = 8


@dataclass(frozen=True, slots=True)
class ReportError:
    """One error.

    Attributes:
        category: one of ``CATEGORIES``.
        significant: likely to change treatment, management or outcome, by the table of significance.
        kind: finding concerned.
        reason: one sentence for a person, with the source of its significance.
        reference, candidate: half-open character spans in the two texts; () when it has no place in that text.
    """

    category: str
    significant: bool
    kind: str
    reason: str
    reference: tuple[tuple[int, int], ...] = ()
    candidate: tuple[tuple[int, int], ...] = ()


@dataclass(frozen=True, slots=True)
class ErrorCount:
    """Errors of one candidate, and how many findings agree.

    Attributes:
        errors: in the order of ``CATEGORIES``, then of the finding.
        matched: findings of the reference found again in the candidate, right or with an error of detail.
        correct: matched findings without any error.
        n_reference, n_candidate: findings on each side.
    """

    errors: tuple[ReportError, ...]
    matched: int
    correct: int
    n_reference: int
    n_candidate: int

    def count(self, category: str | None = None, significant: bool | None = None) -> int:
        """Number of errors, of one category or all, significant, insignificant or both."""
        return number_of_errors(self.errors, category, significant)

    @property
    def total(self) -> int:
        return len(self.errors)

    @property
    def significant(self) -> int:
        return sum(e.significant for e in self.errors)

    def to_dict(self) -> dict[str, Any]:
        """Counts by category and significance, and every error with its spans; JSON-ready."""
        return {
            "counts": counts_by_category(self),
            "total": self.total,
            "significant": self.significant,
            "matched": self.matched,
            "errors": [asdict(e) for e in self.errors],
        }


class CategorizedError(Protocol):
    """An error of either counter, the rules or a judge."""

    @property
    def category(self) -> str: ...

    @property
    def significant(self) -> bool: ...


class CountedErrors(Protocol):
    """The errors of one candidate, counted by rules or by a judge."""

    @property
    def matched(self) -> int: ...

    @property
    def total(self) -> int: ...

    @property
    def significant(self) -> int: ...

    def count(self, category: str | None = None, significant: bool | None = None) -> int: ...


def number_of_errors(errors: Sequence[CategorizedError], category: str | None, significant: bool | None) -> int:
    """Number of errors, of one category or all, significant, insignificant or both."""
    if category is not None and category not in CATEGORIES:
        raise InputError("a category is one of " + ", ".join(CATEGORIES), repr(category))
    return sum(
        (category is None or e.category == category) and (significant is None or e.significant == significant)
        for e in errors
    )


def counts_by_category(found: CountedErrors) -> dict[str, dict[str, int]]:
    return {c: {"significant": found.count(c, True), "insignificant": found.count(c, False)} for c in CATEGORIES}


def count_errors(
    reference: str | ReportText | Report | Mapping[str, str],
    candidate: str | ReportText | Report | Mapping[str, str],
    lexicon: Lexicon | None = None,
    table: Significance | None = None,
) -> ErrorCount:
    """Errors of the candidate against the reference.

    Args:
        reference, candidate: text, sections, ReportText or a structured radvlm Report; spans refer to
            ``ReportText.of("", report).text``, which for a string is the string.
        lexicon: defaults to the built-in one; ``load_lexicon(path)`` adds a user's terms.
        table: defaults to the built-in significance table; ``load_significance(path)`` overrides it.
    """
    lexicon, table = lexicon or load_lexicon(), table or load_significance()
    return compare(read_report(reference, lexicon), read_report(candidate, lexicon), lexicon, table)


def compare(reference: Reading, candidate: Reading, lexicon: Lexicon, table: Significance) -> ErrorCount:
    """Errors between two readings."""
    truth, said = facts(reference.frames, lexicon, table), facts(candidate.frames, lexicon, table)
    errors: list[ReportError] = []
    pairs = match(truth, said, lexicon, table)
    correct = 0
    for a, b in pairs:
        found = [*_location(a, b, lexicon, table), *_severity(a, b, lexicon, table), *_comparison(a, b, lexicon, table)]
        correct += not found
        errors += found
    matched_truth, matched_said = {id(a) for a, _ in pairs}, {id(b) for _, b in pairs}
    denied_by_reference, denied_by_candidate = _denied(reference, lexicon), _denied(candidate, lexicon)
    errors += [
        _unmatched("false_finding", f, denied_by_reference, lexicon, table) for f in said if id(f) not in matched_said
    ]
    errors += [
        _unmatched("omission", f, denied_by_candidate, lexicon, table) for f in truth if id(f) not in matched_truth
    ]
    errors += _general_comparison(reference, candidate, truth, said)
    rank = {c: i for i, c in enumerate(CATEGORIES)}
    errors.sort(key=lambda e: (rank[e.category], e.kind, e.reference, e.candidate))
    return ErrorCount(tuple(errors), len(pairs), correct, len(truth), len(said))


def _denied(reading: Reading, lexicon: Lexicon) -> dict[str, tuple[int, int]]:
    """Family -> span of a statement that it is absent."""
    return {
        lexicon.kinds[f.kind].family: (f.start, f.stop)
        for f in reversed(reading.frames)
        if f.status == "absent" and not f.locations and not f.sides
    }


def match(
    truth: Sequence[Fact], said: Sequence[Fact], lexicon: Lexicon, table: Significance
) -> list[tuple[Fact, Fact]]:
    """Pairs that are the same finding, at the least total disagreement; exact for up to eight of a family."""
    pairs: list[tuple[Fact, Fact]] = []
    for family in sorted({f.family for f in truth} & {f.family for f in said}):
        left, right = [f for f in truth if f.family == family], [f for f in said if f.family == family]
        costs = [[_cost(a, b, lexicon, table) for b in right] for a in left]
        pairs += [(left[i], right[j]) for i, j in assign(costs)]
    return pairs


def assign(costs: Sequence[Sequence[float]]) -> list[tuple[int, int]]:
    """Row-column pairs of the least total cost, where leaving a row and a column unpaired costs 2 x 3."""
    rows, columns = len(costs), len(costs[0])
    if rows == columns == 1:
        return [(0, 0)] if costs[0][0] <= 2 * _UNMATCHED else []
    if min(rows, columns) > _EXACT or rows * columns > 160:
        taken_rows: set[int] = set()
        taken_columns: set[int] = set()
        out = []
        for cost, i, j in sorted((costs[i][j], i, j) for i in range(rows) for j in range(columns)):
            if cost <= 2 * _UNMATCHED and i not in taken_rows and j not in taken_columns:
                taken_rows.add(i)
                taken_columns.add(j)
                out.append((i, j))
        return sorted(out)
    if columns > rows:
        return sorted((i, j) for j, i in assign([[costs[i][j] for i in range(rows)] for j in range(columns)]))

    @cache
    def best(row: int, used: int) -> tuple[float, int, tuple[tuple[int, int], ...]]:
        """Least cost of the rows from this one on, the rows left over (fewest of equal costs), and the pairs."""
        if row == rows:
            return 0.0, 0, ()
        rest, left, chosen = best(row + 1, used)
        winner = (rest + 2 * _UNMATCHED, left + 1, chosen)
        for j in range(columns):
            if not used >> j & 1 and costs[row][j] <= 2 * _UNMATCHED:
                rest, left, chosen = best(row + 1, used | 1 << j)
                total = costs[row][j] + rest
                if (round(total - winner[0], 9), left) < (0.0, winner[1]):
                    winner = (total, left, ((row, j), *chosen))
        return winner

    return list(best(0, 0)[2])


def _cost(a: Fact, b: Fact, lexicon: Lexicon, table: Significance) -> float:
    """Disagreement of two facts; above 6 they are not the same finding. Symmetric."""
    if not compatible(a.kind, b.kind, lexicon):
        return 99.0
    cost = 0.4 * (a.kind != b.kind) + 0.2 * (a.sure != b.sure)
    if a.sides and b.sides and a.sides != b.sides:
        cost += 1.5 if a.sides & b.sides else 3.0
    elif bool(a.sides) != bool(b.sides):
        cost += 0.2
    if not places_agree(a.locations, b.locations, lexicon):
        cost += 1.0 if _neighbors(a, b) else 2.0
    elif a.locations != b.locations:
        cost += 0.1
    if a.sizes_mm and b.sizes_mm:
        x, y = a.sizes_mm[0], b.sizes_mm[0]
        cost += (
            2.0 * min(1.0, abs(x - y) / min(x, y)) if table.sizes_differ(x, y) else -1.0 if abs(x - y) < 0.6 else -0.5
        )
    if a.grade is not None and b.grade is not None:
        cost += 0.25 * abs(a.grade - b.grade)
    if a.change != b.change:
        cost += 0.3
    return max(cost, 0.0)


def _neighbors(a: Fact, b: Fact) -> bool:
    return any(frozenset({x, y}) in NEIGHBORS for x in a.locations for y in b.locations)


def _words(fact: Fact, lexicon: Lexicon) -> str:
    """The finding as a person would call it: side, kind and place."""
    side = "bilateral " if len(fact.sides) == 2 else f"{next(iter(fact.sides))} " if fact.sides else ""
    return f"{side}{lexicon.kinds[fact.kind].words}"


def _place(fact: Fact) -> str:
    side = "both sides" if len(fact.sides) == 2 else next(iter(fact.sides), "")
    return " ".join(x for x in (side, ", ".join(sorted(fact.locations)).replace("_", " ")) if x) or "no place"


def _significant(a: Fact, b: Fact, table: Significance) -> bool:
    size = max((f.sizes_mm[0] for f in (a, b) if f.sizes_mm), default=None)
    return table.finding(a.kind, size) or table.finding(b.kind, size)


def _location(a: Fact, b: Fact, lexicon: Lexicon, table: Significance) -> list[ReportError]:
    sides = bool(a.sides and b.sides and a.sides != b.sides)
    places = not places_agree(a.locations, b.locations, lexicon)
    if not sides and not places:
        return []
    matters = _significant(a, b, table) and not (not sides and _neighbors(a, b))
    reason = f"{lexicon.kinds[a.kind].words}: the reference says {_place(a)}, the candidate {_place(b)}"
    return [ReportError("wrong_location", matters, a.kind, reason, a.spans, b.spans)]


def _severity(a: Fact, b: Fact, lexicon: Lexicon, table: Significance) -> list[ReportError]:
    if a.sizes_mm and b.sizes_mm:
        x, y = a.sizes_mm[0], b.sizes_mm[0]
        if table.sizes_differ(x, y):
            reason = f"{_words(a, lexicon)}: {x:.3g} mm in the reference, {y:.3g} mm in the candidate"
            reason += f" (difference {abs(x - y):.3g} mm)"
            return [
                ReportError(
                    "wrong_severity",
                    table.size_matters(a.kind, x, y) or table.size_matters(b.kind, x, y),
                    a.kind,
                    reason,
                    a.spans,
                    b.spans,
                )
            ]
        return []
    if a.grade is not None and b.grade is not None and abs(a.grade - b.grade) > table.severity["difference"]:
        matters = abs(a.grade - b.grade) >= table.severity["significant_difference"] and _significant(a, b, table)
        matters = matters or "urgent" in (table.tier(a.kind), table.tier(b.kind))
        reason = (
            f"{_words(a, lexicon)}: severity {_grade(a.grade)} in the reference, {_grade(b.grade)} in the candidate"
        )
        return [ReportError("wrong_severity", matters, a.kind, reason, a.spans, b.spans)]
    return []


def _grade(value: float) -> str:
    return {
        1.0: "trace",
        1.5: "mild",
        2.25: "mild to moderate",
        3.0: "moderate",
        3.5: "moderate to severe",
        4.0: "severe",
    }.get(value, f"{value:g}")


def _comparison(a: Fact, b: Fact, lexicon: Lexicon, table: Significance) -> list[ReportError]:
    if a.change == b.change:
        return []
    words = lexicon.kinds[a.kind].words
    relevant = _significant(a, b, table)
    category, matters = "false_comparison", relevant
    if a.change and b.change:
        if {a.change, b.change} == {"new", "increased"}:
            return []
        reason = f"{words}: {a.change} in the reference, {b.change} in the candidate"
    elif b.change:
        matters = relevant and b.change in table.change
        reason = f"{words}: the candidate says {b.change}, the reference compares with nothing"
    else:
        category, matters = "omitted_comparison", relevant and a.change in table.change
        reason = f"{words}: the reference says {a.change}, the candidate compares with nothing"
    # a report that does not compare has no words of change: its spans are those of the finding
    return [ReportError(category, matters, a.kind, reason, a.change_spans or a.spans, b.change_spans or b.spans)]


def _unmatched(
    category: str, fact: Fact, denied: Mapping[str, tuple[int, int]], lexicon: Lexicon, table: Significance
) -> ReportError:
    matters = table.finding(fact.kind, fact.size_mm) and (fact.sure or table.tier(fact.kind) == "urgent")
    words, where = _words(fact, lexicon), denied.get(fact.family)
    other = "reference" if category == "false_finding" else "candidate"
    reason = (
        f"{words} is {'stated, but the reference' if other == 'reference' else 'in the reference, but the candidate'} "
    )
    reason += "says it is absent" if where else "does not mention it"
    reason += f" ({table.tier(fact.kind)}, {table.source_id(fact.kind)})"
    spans = (where,) if where else ()
    if category == "false_finding":
        return ReportError(category, matters, fact.kind, reason, spans, fact.spans)
    return ReportError(category, matters, fact.kind, reason, fact.spans, spans)


def _general_comparison(
    reference: Reading, candidate: Reading, truth: Sequence[Fact], said: Sequence[Fact]
) -> list[ReportError]:
    """A comparison of the whole examination ("No significant interval change.") that only one report makes."""
    mine, other = reference.comparisons, candidate.comparisons
    kind = "comparison_statement"
    if other and not mine and not any(f.change for f in truth):
        a, b, change = other[0]
        reason = "the candidate compares with a prior examination, the reference does not"
        return [ReportError("false_comparison", change in ("new", "increased"), kind, reason, (), ((a, b),))]
    if mine and not other and not any(f.change for f in said):
        a, b, change = mine[0]
        reason = "the reference compares with a prior examination, the candidate does not"
        return [ReportError("omitted_comparison", change in ("new", "increased"), kind, reason, ((a, b),), ())]
    return []


class ErrorsMetric:
    """Errors per report in the six categories, for ``evaluate(..., metrics=["errors"])``.

    Args:
        table: path of a significance table laid over the built-in one.
        lexicon: path of a lexicon extension.
    """

    name = "errors"

    def __init__(self, table: str = "", lexicon: str = "") -> None:
        self.table = load_significance(Path(table) if table else None)
        self.lexicon = load_lexicon(Path(lexicon) if lexicon else None)
        self.signature = (
            f"errors|categories:6x2|lexicon:{self.lexicon.digest}|significance:{self.table.digest}|silence:not-negation"
        )
        self.outputs = error_outputs()

    def score_case(self, reference: ReportText, candidate: ReportText) -> Mapping[str, Score]:
        """Counts as scores; the marks of every error stand on ``total``."""
        found = compare(
            read_report(reference, self.lexicon), read_report(candidate, self.lexicon), self.lexicon, self.table
        )
        return error_scores(found, found.n_reference, marks(found), "no findings in either report")


def error_outputs() -> tuple[Output, ...]:
    """The outputs of every counter of errors, by rules or by a judge."""
    return (
        Output("total", False, perfect=0.0, description="errors per report, all six categories"),
        Output("significant", False, perfect=0.0, description="clinically significant errors per report"),
        Output("error_free", True, perfect=1.0, description="share of reports without a significant error"),
        Output(
            "agreement",
            True,
            aggregate=mean_of_sums,
            perfect=1.0,
            headline=False,
            description="matched findings / (matched + significant errors), over all reports (GREEN's ratio)",
        ),
        *(
            Output(c, False, perfect=0.0, headline=False, description=f"{c.replace('_', ' ')}s per report")
            for c in CATEGORIES
        ),
        *(
            Output(
                f"{c}_significant",
                False,
                perfect=0.0,
                headline=False,
                description=f"clinically significant {c.replace('_', ' ')}s per report",
            )
            for c in CATEGORIES
        ),
    )


def error_scores(found: CountedErrors, n: int, marks: tuple[Mark, ...], nothing: str) -> dict[str, Score]:
    """Scores of one case for ``error_outputs``.

    Args:
        n: findings that stand behind the counts.
        nothing: what both reports lack where there is nothing to agree on.
    """
    stats = (float(found.matched), float(found.matched + found.significant))
    scores = {
        "total": Score(found.total, n=n, marks=marks),
        "significant": Score(found.significant, n=n),
        "error_free": Score(float(found.significant == 0)),
        "agreement": Score(stats[0] / stats[1], n=n, stats=stats)
        if stats[1]
        else Score(None, f"{nothing}, so nothing to agree on", n=0, stats=stats),
    }
    for category in CATEGORIES:
        scores[category] = Score(found.count(category), n=n)
        scores[f"{category}_significant"] = Score(found.count(category, True), n=n)
    return scores


def marks(found: ErrorCount) -> tuple[Mark, ...]:
    """Every error as marks in the two texts; those of one error share a group."""
    out = []
    for number, error in enumerate(found.errors, 1):
        for side, spans in (("reference", error.reference), ("candidate", error.candidate)):
            out += [
                Mark(side, a, b, error.category, error.reason, error.significant, f"error {number}") for a, b in spans
            ]
    return tuple(out)

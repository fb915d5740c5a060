"""What a judge found in one pair: single errors and matched findings; every count is derived from them.

An error whose quote does not stand in the report is kept and marked ``unlocated``, not dropped: dropping it
would make a careless judge look mild. How often that happens is reported, because it tells how far to trust the judge.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from radvlm.errors import InputError
from radvlm.evaluate.metrics.errors import CATEGORIES, counts_by_category, number_of_errors

#: The side whose words an error of the category must quote. A finding that is only in one report has no other side.
NEEDED: Mapping[str, tuple[str, ...]] = {
    "false_finding": ("candidate",),
    "omission": ("reference",),
    "wrong_location": ("reference", "candidate"),
    "wrong_severity": ("reference", "candidate"),
    "false_comparison": ("candidate",),
    "omitted_comparison": ("reference",),
}


@dataclass(frozen=True)
class JudgedError:
    """One error as the judge tells it.

    Attributes:
        category: one of ``CATEGORIES``.
        significant: clinically significant in the judge's eyes.
        finding, reason: the judge's words.
        reference, candidate: half-open character spans; () when there is none.
        reference_quote, candidate_quote: what the judge quoted, found or not.
        unlocated: sides whose quote is needed or was given, but does not stand in the report.
    """

    category: str
    significant: bool
    finding: str
    reason: str
    reference: tuple[tuple[int, int], ...] = ()
    candidate: tuple[tuple[int, int], ...] = ()
    reference_quote: str = ""
    candidate_quote: str = ""
    unlocated: tuple[str, ...] = ()


@dataclass(frozen=True)
class MatchedFinding:
    """A finding that both reports state alike, with its spans."""

    finding: str
    reference: tuple[tuple[int, int], ...] = ()
    candidate: tuple[tuple[int, int], ...] = ()
    unlocated: tuple[str, ...] = ()


@dataclass(frozen=True)
class Judgment:
    """Errors in the order of ``CATEGORIES``, and matched findings."""

    errors: tuple[JudgedError, ...] = ()
    matched_findings: tuple[MatchedFinding, ...] = ()

    def count(self, category: str | None = None, significant: bool | None = None) -> int:
        """Number of errors, of one category or all, significant, insignificant or both."""
        return number_of_errors(self.errors, category, significant)

    @property
    def counts(self) -> tuple[int, ...]:
        """The twelve counts: significant then insignificant for each category."""
        return tuple(self.count(c, s) for c in CATEGORIES for s in (True, False))

    @property
    def total(self) -> int:
        return len(self.errors)

    @property
    def significant(self) -> int:
        return self.count(significant=True)

    @property
    def matched(self) -> int:
        return len(self.matched_findings)

    @property
    def unlocated(self) -> int:
        """Errors with a quote that is missing or does not stand in its report."""
        return sum(bool(e.unlocated) for e in self.errors)

    def to_dict(self) -> dict[str, Any]:
        """JSON form; the same keys as the rule-based ``ErrorCount`` where both have them."""
        return {
            "counts": counts_by_category(self),
            "total": self.total,
            "significant": self.significant,
            "matched": self.matched,
            "unlocated": self.unlocated,
            "errors": [asdict(e) for e in self.errors],
            "matched_findings": [asdict(m) for m in self.matched_findings],
        }


def central(judgments: Sequence[Judgment]) -> tuple[int, float]:
    """Number of the vote nearest to all others, and the share of votes with its twelve counts.

    Nearest by the sum of absolute differences of counts; of equals the first. An existing vote is taken rather than
    median counts, so that the counts always are those of errors that can be shown.
    """
    if not judgments:
        raise InputError("there is at least one vote", "none")
    counts = [j.counts for j in judgments]
    far = [sum(sum(abs(a - b) for a, b in zip(x, y, strict=True)) for y in counts) for x in counts]
    best = far.index(min(far))
    return best, sum(c == counts[best] for c in counts) / len(counts)

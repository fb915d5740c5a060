"""What a metric says about one case, and what it needs to speak about many.

A score is a number *or* a reason why there is none; an undefined score is counted, never averaged as 0. And a score may
carry ``stats``, the sums from which a corpus value follows (n-gram matches for BLEU, true positives for F1): the corpus
value is a function of the sum of ``stats`` over cases, so a bootstrap replicate or a permutation is a matrix product
and no metric is ever computed again.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

from radvlm.errors import InputError

#: The two texts of a case.
SIDES = ("reference", "candidate")


@dataclass(frozen=True)
class Mark:
    """A place in one of the two texts that a metric points at, such as an error.

    Attributes:
        side: ``reference`` or ``candidate``.
        start, stop: half-open character span in ``ReportText.text`` of that side.
        kind: short name of what is marked (``false_finding``, ``omission``, ...).
        reason: one sentence for a person.
        significant: clinically significant or not; None where the metric does not tell.
        group: marks of one error share a group (the same error seen in both texts); "" for none.
    """

    side: str
    start: int
    stop: int
    kind: str
    reason: str = ""
    significant: bool | None = None
    group: str = ""

    def __post_init__(self) -> None:
        if self.side not in SIDES:
            raise InputError("a mark is on the reference or the candidate", repr(self.side))
        if not 0 <= self.start <= self.stop:
            raise InputError("a mark is a span start <= stop of the text", f"{self.start}, {self.stop}")


@dataclass(frozen=True)
class Score:
    """One number of one case, or the reason why there is none.

    Attributes:
        value: finite, or None when undefined.
        reason: required when undefined; "" otherwise.
        n: how many items stand behind the value (labels, findings, sentences); 1 when that has no meaning.
        stats: sums from which a corpus value is made (see ``Output.aggregate``); () when the mean of values is
            the corpus value. A score may be undefined for the case alone and still carry stats.
        marks: places in the texts to show.
        failed: the value is missing because something broke (a crash, a lost reply), not because it has no meaning.
    """

    value: float | None
    reason: str = ""
    n: int = 1
    stats: tuple[float, ...] = ()
    marks: tuple[Mark, ...] = ()
    failed: bool = False

    def __post_init__(self) -> None:
        if self.value is None:
            if not self.reason:
                raise InputError("an undefined score says why", "value None, no reason")
            return
        if self.reason or self.failed:
            raise InputError("a defined score carries no reason and has not failed", self.reason)
        if not math.isfinite(self.value):
            raise InputError("a score is finite; one that is undefined is None with a reason", str(self.value))
        object.__setattr__(self, "value", float(self.value))

    @classmethod
    def undefined(cls, reason: str, n: int = 0, stats: tuple[float, ...] = ()) -> Score:
        """No value because it has no meaning for this case, and why."""
        return cls(None, reason, n, stats)

    @classmethod
    def failure(cls, reason: str) -> Score:
        """No value because something broke, and what."""
        return cls(None, reason, 0, failed=True)

    def to_dict(self) -> dict[str, Any]:
        """JSON form; empty fields are left out, marks are written once per case by the table."""
        out: dict[str, Any] = {"value": self.value}
        if self.reason:
            out["reason"] = self.reason
        if self.failed:
            out["failed"] = True
        if self.n != 1:
            out["n"] = self.n
        if self.stats:
            out["stats"] = [int(v) if float(v).is_integer() else float(v) for v in self.stats]
        return out

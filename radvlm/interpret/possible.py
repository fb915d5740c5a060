"""Which classes a number may belong to: judged as it is printed, and everywhere within its error.

One mechanism for all rules. The number that a rule sees is the number that a reader sees, so that "1.0 cm" is never
both enlarged and not enlarged; and where the stated error reaches a limit, the class is the least serious of those that
are possible, and its words say what else it may be. Nothing is dropped: the number is said in any case.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from radvlm.interpret.rules import Rule, RuleClass
from radvlm.types.measurement import Measurement
from radvlm.types.phrases import joined
from radvlm.types.urgency import Urgency, importance
from radvlm.wording.numbers import as_printed, printed_step, rounded

_SERIOUS = {"absent": 0, "indeterminate": 1, "present": 2}


@dataclass(frozen=True)
class Judged:
    """A number as rules see it.

    Attributes:
        value: as reports print it, in the unit of its measurement.
        error: half-width, rounded as the value is; a smaller one cannot be seen in print and counts as none.
        unit: that of the measurement.
        step: to which the value is printed.
    """

    value: float
    error: float
    unit: str
    step: str = "1"

    @property
    def least(self) -> float:
        return self.value - self.error

    @property
    def most(self) -> float:
        return self.value + self.error

    @property
    def error_words(self) -> str:
        """``the measurement error of 0.3 cm``."""
        return f"the measurement error of {amount(self.error, self.unit, self.step, in_cm=self.value >= 10)}"


def judged(measurement: Measurement) -> Judged:
    """The printed value with its error; a measurement that states none (the mean of many voxels) counts as exact."""
    step = printed_step(measurement.value, measurement.unit, measurement.quantity)
    error = float(rounded(abs(measurement.uncertainty or 0.0), step))
    return Judged(as_printed(measurement), error, measurement.unit, step)


def amount(value: float, unit: str, step: str, *, in_cm: bool) -> str:
    """A number with its unit as sentences write it; lengths in cm where ``in_cm``, areas in cm2, ratios alone."""
    if unit == "mm2":
        return f"{rounded(value / 100, '0.1')} cm2"
    if unit == "mm" and in_cm:
        return f"{rounded(value / 10, '0.1')} cm"
    words = {"degree": " degrees", "1": ""}.get(unit, f" {unit}")
    return f"{rounded(value, step)}{words}"


def possible_classes(classes: Sequence[RuleClass], least: float, most: float) -> tuple[RuleClass, ...]:
    """The classes that hold some value from ``least`` to ``most``, in ascending order."""
    first, last = (next(n for n, c in enumerate(classes) if c.holds(value)) for value in (least, most))
    return tuple(classes[first : last + 1])


def class_within(rule: Rule, found: Sequence[RuleClass], own: RuleClass, number: Judged) -> RuleClass:
    """The class that stands for all possible ones: itself where they say the same, else one whose words are hedged.

    The least serious class gives the first word, and the status is open where the statuses differ. Urgency is that
    of the most serious class; but where the printed value is ordinary, what is merely possible reaches the impression
    only as a degree of danger that must be known within days, so that a normal artery on a coarse grid does not.
    """
    worst = max(found, key=_seriousness)
    if len({(c.category, c.status) for c in found}) == 1:
        return worst
    base = min(found, key=_seriousness)
    others = [c for c in found if (c.category, c.status) != (base.category, base.status)]
    if base.category is None and (rule.detail or all(o.category is None for o in others)):
        return base
    within = f"within {number.error_words}"
    words = joined(list(dict.fromkeys(o.doubt or o.category or "neither" for o in others)), "or")
    heads = list(dict.fromkeys(o.headline for o in others if o.headline))
    statuses = {c.status if c.category is not None else "absent" for c in found}
    if base.category is None:
        category = f"possibly {words}, {within}"
    elif base.status == "absent":
        category = f"{base.category}, {words} {within}"
    elif rule.graded:
        category = f"at least {base.category}, {words} {within}"
    else:
        first = base.category if "{value}" in base.category else base.doubt or base.category
        category = f"{first} or {words}, {within}"
    if base.headline and rule.graded:
        headline = f"at least {base.headline}, {words} {within}"
    elif base.headline:
        headline = f"{joined([base.headline, *heads], 'or')}, {within}"
    else:
        headline = f"possible {joined(heads, 'or')}, {within}" if heads else ""
    silent = is_ordinary(own) and not (rule.graded and importance(worst.urgency) >= importance(Urgency.DAYS))
    return RuleClass(
        category=category,
        status=statuses.pop() if len(statuses) == 1 else "indeterminate",
        urgency=Urgency.NONE if silent or not headline else worst.urgency,
        headline=headline,
        reason=f"a limit lies {within}",
    )


def is_ordinary(item: RuleClass) -> bool:
    """A class that is no news."""
    return item.category is None or item.status == "absent"


def _seriousness(item: RuleClass) -> tuple[float, int]:
    return importance(item.urgency), _SERIOUS[item.status] if item.category is not None else 0

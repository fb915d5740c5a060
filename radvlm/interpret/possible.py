"""Which classes a number may belong to: judged as it is printed, and everywhere within its error.

One mechanism for all rules. The number that a rule sees is the number that a reader sees, so that "1.0 cm" is never
both enlarged and not enlarged; and where the stated error reaches a limit, every class that is possible is said
(``class_within``). Nothing is dropped: the number is said in any case.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

from radvlm.interpret.rules import Rule, RuleClass
from radvlm.types.finding import ClassLimits
from radvlm.types.measurement import Measurement
from radvlm.types.phrases import joined
from radvlm.types.urgency import Urgency, importance
from radvlm.wording.numbers import as_printed, printed_step, rounded

#: Words of a class that say no more than on which side of a limit a number is.
_PLAIN = ("above", "below", "between", "not", "wider", "larger", "over", "under")
_SERIOUS = {"absent": 0, "indeterminate": 1, "present": 2}


@dataclass(frozen=True)
class Judged:
    """A number as rules see it.

    Attributes:
        value: as reports print it, in the unit of its measurement.
        error: by how much the truth may be less, rounded as the value is; a smaller one cannot be seen in print and
            counts as none.
        unit: that of the measurement.
        step: to which the value is printed.
        rise: by how much the truth may be more; None where that is ``error``.
    """

    value: float
    error: float
    unit: str
    step: str = "1"
    rise: float | None = None

    @property
    def least(self) -> float:
        return self.value - self.error

    @property
    def most(self) -> float:
        return self.value + (self.error if self.rise is None else self.rise)

    def error_words(self, *, below: bool = True, above: bool = True) -> str:
        """``the measurement error of 0.3 cm``: the larger one of those towards the sides that are asked for."""
        error = max(self.value - self.least if below else 0.0, self.most - self.value if above else 0.0)
        return f"the measurement error of {amount(error, self.unit, self.step, in_cm=self.value >= 10)}"


def judged(measurement: Measurement) -> Judged:
    """The printed value with its error; a measurement that states none (the mean of many voxels) counts as exact."""
    step = printed_step(measurement.value, measurement.unit, measurement.quantity)
    error, rise = (float(rounded(abs(x or 0.0), step)) for x in (measurement.uncertainty, measurement.possible_excess))
    return Judged(as_printed(measurement), error, measurement.unit, step, None if rise == error else rise)


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


def limits_of(classes: Sequence[RuleClass], found: Sequence[RuleClass], round_to: float = 0.0) -> ClassLimits:
    """The limits between which a number belongs to one of neighboring classes.

    What is rounded before it is classed reaches half a step beyond a limit that belongs to the class.
    """
    first = next(n for n, c in enumerate(classes) if c is found[0])
    under, over = classes[first - 1] if first else RuleClass(), found[-1]
    if not round_to:
        return ClassLimits(above=under.up_to, at_least=under.below, below=over.below, up_to=over.up_to)
    half = round_to / 2
    low = [*([under.up_to + half] if under.up_to is not None else [])]
    low += [under.below - half] if under.below is not None else []
    high = [over.up_to + half] if over.up_to is not None else []
    high += [over.below - half] if over.below is not None else []
    return ClassLimits(at_least=min(low, default=None), below=min(high, default=None))


def class_within(rule: Rule, found: Sequence[RuleClass], own: RuleClass, number: Judged) -> RuleClass:
    """The class that stands for all possible ones: itself where they say the same, else one whose words are hedged.

    Degrees of a disease begin with the least ("at least ectatic"); where one of the classes is ordinary, that of the
    printed value comes first, and then the limit that it is near. The status is open where the statuses differ.
    Urgency is that of the most serious class; but where the printed value is ordinary, what is merely possible reaches
    the impression only if it must be known within days and its limit is within a quarter of the error, so that a
    normal artery on a coarse grid does not.
    """
    worst = max(found, key=_seriousness)
    if len({(c.category, c.status) for c in found}) == 1:
        return worst
    base = min(found, key=_seriousness)
    others = [c for c in found if (c.category, c.status) != (base.category, base.status)]
    if base.category is None and (rule.detail or all(o.category is None for o in others)):
        return base
    within = f"within {number.error_words(below=found[0] is not own, above=found[-1] is not own)}"
    where = within  # what follows a headline
    words = either([o.doubt or o.category for o in others if o.category])
    heads = [o.headline for o in others if o.headline]
    statuses = {c.status if c.category is not None else "absent" for c in found}
    if base.category is None:
        category = f"possibly {words}, {within}"
    elif any(c.status == "absent" for c in found):
        where = f"{_near(rule, found, own, number)} {within}"
        category = f"{own.category}, {where}"
    elif rule.graded:
        category = f"at least {base.category}, {words} {within}"
    else:
        first = base.category if "{value}" in base.category else base.doubt or base.category
        category = f"{either([first, *(o.doubt or o.category or '' for o in others)])}, {within}"
    if base.headline and rule.graded:
        headline = f"at least {base.headline}, {words} {where}"
    elif base.headline:
        headline = f"{either([base.headline, *heads])}, {where}"
    else:
        headline = f"possible {either(heads)}, {where}" if heads else ""
    silent = is_ordinary(own) and not (rule.graded and _is_at_danger(found, own, number))
    return RuleClass(
        category=category,
        status=statuses.pop() if len(statuses) == 1 else "indeterminate",
        urgency=Urgency.NONE if silent or not headline else worst.urgency,
        headline=headline,
        reason=f"a limit lies {within}",
    )


def _near(rule: Rule, found: Sequence[RuleClass], own: RuleClass, number: Judged) -> str:
    """``at or near the limit of 2.5 cm for ectatic``: the limits between the possible classes, in ascending order.

    A limit beyond which more is said than "not so" is said with its class. One that scales with the body has no number.
    """
    at = next(n for n, c in enumerate(found) if c is own)
    told: list[str] = []
    for n, (lower, upper) in enumerate(pairwise(found)):
        if (lower.category, lower.status) == (upper.category, upper.status) or lower.limit is None:
            continue
        beyond = upper if n >= at else lower
        words = beyond.doubt or beyond.category or ""
        named = beyond.status != "absent" and words and "{" not in words and words.split()[0] not in _PLAIN
        limit = "" if rule.scale else amount(lower.limit, number.unit, number.step, in_cm=number.value >= 10)
        told.append(" ".join(filter(None, (f"of {limit}" if limit else "", f"for {words}" if named else ""))))
    told = list(dict.fromkeys(told))
    return f"at or near the limit{'s' if len(told) > 1 else ''} {joined(told) if told else ''}".strip()


def either(phrases: Sequence[str]) -> str:
    """The phrases with "or"; all but a last word, or what follows a "by", is said once: ``Genant grade 1 or 2``.

    Example:
        >>> from radvlm.interpret.possible import either
        >>> either(["6 to 8 mm by mean diameter", "larger than 8 mm by mean diameter"])
        '6 to 8 mm or larger than 8 mm by mean diameter'
    """
    kept = list(dict.fromkeys(phrases))
    if len(kept) < 2:
        return "".join(kept)
    heads, tails = zip(*(p.rpartition(" ")[::2] for p in kept), strict=True)
    if heads[0] and len(set(heads)) == 1 and "not" not in heads[0].split():
        return f"{heads[0]} {joined(tails, 'or')}"
    firsts, _, lasts = zip(*(p.partition(" by ") for p in kept), strict=True)
    if lasts[0] and len(set(lasts)) == 1:
        return f"{joined(firsts, 'or')} by {lasts[0]}"
    return joined(kept, "or")


def _is_at_danger(found: Sequence[RuleClass], own: RuleClass, number: Judged) -> bool:
    """Whether a possible class that must be known within days begins within a quarter of the error of the value."""
    at = next(n for n, c in enumerate(found) if c is own)
    grave = [n for n, c in enumerate(found) if importance(c.urgency) >= importance(Urgency.DAYS)]
    limits = [found[n - 1].limit if n > at else found[n].limit for n in grave]
    reach = max(number.most - number.value, number.error) / 4
    return any(limit is not None and abs(limit - number.value) <= reach for limit in limits)


def is_ordinary(item: RuleClass) -> bool:
    """A class that is no news."""
    return item.category is None or item.status == "absent"


def _seriousness(item: RuleClass) -> tuple[float, int]:
    return importance(item.urgency), _SERIOUS[item.status] if item.category is not None else 0

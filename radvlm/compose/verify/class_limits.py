"""Whether a number lies within the limits of the class that is said of it: as findings hold it, as sentences write it.

A rule gives a class with the limits between which its words hold, all that are possible within the error together. A
sentence may write the number in another unit or rounding than the one that was judged; what a reader sees beside the
words is what has to lie within their limits.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from radvlm.compose.referents import category_words
from radvlm.compose.verify.claims import Number, Said, Token
from radvlm.types.finding import Assessment, ClassLimits
from radvlm.wording.numbers import as_printed, renderings

#: Digits that a printed number may have; what is beyond them is floating point alone.
_DIGITS = 6


def outside_class(judged: Assessment) -> bool:
    """Whether the number of an assessment, as it is printed, is none of its class."""
    if judged.limits is None or not judged.measurements:
        return False
    value = as_printed(judged.measurements[0])
    if judged.twin and len(judged.measurements) > 1:
        value = abs(value - as_printed(judged.measurements[1]))
    return not _holds(judged.limits, value)


def numbers_outside_class(tokens: Sequence[Token]) -> Iterator[tuple[str, str]]:
    """(number, class) of each single number of a sentence that is the judged one and lies outside the class it tells.

    Of several lesions with one class, a number is held against those whose own it may be, and one of them is enough.
    """
    numbers = [t for t in tokens if isinstance(t, Number) and len(t.values) == 1]
    for said in (t for t in tokens if isinstance(t, Said)):
        judged = [a for a in said.findings if isinstance(a, Assessment) and a.limits is not None and not a.twin]
        judged = [a for a in judged if tuple(said.text.split()) in category_words(a)]
        for number in numbers:
            mine = [
                a for a in judged if a.measurements and (number.values[0], number.unit) in renderings(a.measurements[0])
            ]
            value = float(number.values[0]) * (10 if number.unit == "cm" else 1)
            if mine and not any(_holds(a.limits, value) for a in mine if a.limits is not None):
                yield f"{number.values[0]} {number.unit}", said.text


def _holds(limits: ClassLimits, value: float) -> bool:
    return limits.hold(round(value, _DIGITS))

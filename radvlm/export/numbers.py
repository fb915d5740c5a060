"""Where the numbers of a sentence were measured: what a click on one of them shows in the viewer."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal

from radvlm.export.regions import Caliper
from radvlm.types.measurement import Measurement
from radvlm.types.report import Sentence
from radvlm.wording.numbers import renderings

_NUMBER = re.compile(r"(?<![\w.])(-?\d+(?:\.\d+)?)(?: x (\d+(?:\.\d+)?))? (cm|mm|mL|HU|degrees|percent)(?![\w])")
_UNITS = {"degrees": "degree"}


@dataclass(frozen=True)
class NumberPart:
    """A stretch of a sentence; a number of it with its caliper and region, each None where there is none."""

    text: str
    caliper: int | None = None
    region: int | None = None


def number_parts(sentence: Sentence, lines: Sequence[Caliper], index: Mapping[str, int]) -> list[NumberPart]:
    """The text of a sentence cut at its numbers, each with the caliper by which it was measured, else its region.

    Args:
        lines: calipers in the order in which the viewer has them.
        index: place of each region in the viewer.

    Of measurements that read alike each is taken once, in the order of the sentence.
    """
    held = [m for m in sentence.measurements if m.region_id in index]
    places = {(c.region_id, c.quantity, c.value): n for n, c in enumerate(lines)}
    parts: list[NumberPart] = []
    used: set[int] = set()
    at = 0
    for found in _NUMBER.finditer(sentence.text):
        own = _measured(found, held, used)
        if own is None:
            continue
        used.add(id(own))
        where = NumberPart(found[0], places.get((own.region_id, own.quantity, own.value)), index[own.region_id])
        parts += [NumberPart(sentence.text[at : found.start()]), where]
        at = found.end()
    return [p for p in (*parts, NumberPart(sentence.text[at:])) if p.text]


def _measured(found: re.Match[str], held: Sequence[Measurement], used: set[int]) -> Measurement | None:
    """The measurement that a number is of, the long axis of two; one that no number took yet, one with a line first."""
    first, second, unit = found[1], found[2], _UNITS.get(found[3], found[3])
    fits = [m for m in held if (first, unit) in renderings(m) and (second is None or m.quantity == "long_axis")]
    if second is not None:
        across = {m.region_id for m in held if m.quantity == "short_axis" and _reads(m, second, unit)}
        fits = [m for m in fits if m.region_id in across]
    fits.sort(key=lambda m: (id(m) in used, not m.points_mm))
    return fits[0] if fits else None


def _reads(measurement: Measurement, digits: str, unit: str) -> bool:
    """Whether a short axis reads so; beside a long axis in cm it is written in cm below 1 cm too."""
    if (digits, unit) in renderings(measurement):
        return True
    return unit == "cm" and abs(Decimal(digits) - Decimal(repr(measurement.value)) / 10) <= Decimal("0.051")

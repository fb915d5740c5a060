"""Are two short answers the same: exactly, after normalisation, or as numbers within a tolerance.

The reference decides how it is compared: yes or no, an option letter, a number with a unit, a list, words.
A count ("3") is compared exactly, a measured size within a tolerance and after its unit is converted. A number without
a unit is wrong where the reference has one, unless that is allowed: 12 is not 12 mm when the answer could be in cm.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

from radvlm.errors import InputError

_SPELLINGS = (
    ("mm", 1.0, "mm millimeter millimetre"),
    ("mm", 10.0, "cm centimeter centimetre"),
    ("mL", 1.0, "ml cc cm3 cm³"),
    ("mL", 0.001, "mm3 mm³"),
    ("mL", 1000.0, "l liter litre"),
    ("HU", 1.0, "hu"),
    ("percent", 1.0, "% percent"),
    ("mm2", 1.0, "mm2 mm²"),
    ("mm2", 100.0, "cm2 cm²"),
    ("degree", 1.0, "degree °"),
)
#: Unit as written (lower case) -> (canonical unit, factor).
UNITS: Mapping[str, tuple[str, float]] = MappingProxyType(
    {written: (unit, factor) for unit, factor, spellings in _SPELLINGS for written in spellings.split()}
)
_WORDS = {
    w: str(n)
    for n, w in enumerate(("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten"))
}
_SPELLING = (("haem", "hem"), ("oesoph", "esoph"), ("oedem", "edem"), ("tumour", "tumor"))
_YES, _NO = {"yes", "true", "present", "y"}, {"no", "false", "absent", "n", "none"}
_UNIT = "|".join(sorted((re.escape(u) for u in UNITS), key=len, reverse=True))
_NUMBER = re.compile(
    rf"^(?:about|approximately|approx\.?|around|roughly|~|≈|circa)?\s*(?P<value>[-+−]?\d+(?:\.\d+)?)"
    rf"\s*-?(?P<unit>{_UNIT})?s?$",
    re.IGNORECASE,
)
_OPTION = re.compile(r"^\(?([a-h])\)?(?:[).:]\s*(?P<text>.*))?$", re.IGNORECASE | re.DOTALL)


@dataclass(frozen=True)
class Tolerance:
    """How far a number may be from the true one: the larger of a share of it and a fixed amount.

    Attributes:
        relative: share of the true value, for numbers with a unit.
        absolute: unit -> amount in that unit; 0 for those not named.
        unit_optional: accept a number without a unit as being in the reference's.
    """

    relative: float = 0.1
    absolute: Mapping[str, float] = field(default_factory=lambda: MappingProxyType({"mm": 1.0, "HU": 5.0}))
    unit_optional: bool = False

    def __post_init__(self) -> None:
        if self.relative < 0 or any(v < 0 for v in self.absolute.values()):
            raise InputError("a tolerance is not negative", f"{self.relative}, {dict(self.absolute)}")
        strange = sorted(set(self.absolute) - {unit for unit, _ in UNITS.values()})
        if strange:
            raise InputError(
                "a tolerance is for a unit of " + ", ".join(sorted({u for u, _ in UNITS.values()})), ", ".join(strange)
            )

    def allows(self, true: float, given: float, unit: str) -> bool:
        if not unit:
            return given == true
        return abs(given - true) <= max(self.relative * abs(true), self.absolute.get(unit, 0.0)) + 1e-9

    @property
    def signature(self) -> str:
        fixed = "+".join(f"{v:g}{unit}" for unit, v in sorted(self.absolute.items()))
        return f"tol:{self.relative:g}|{fixed}{'|unit:optional' if self.unit_optional else ''}"


#: 10 % of a size, at least 1 mm or 5 HU.
DEFAULT_TOLERANCE = Tolerance()


def normalize(answer: str) -> str:
    """Lower case, US spelling, numbers in digits; articles, punctuation and repeated blanks gone."""
    text = answer.strip().lower()
    for uk, us in _SPELLING:
        text = text.replace(uk, us)
    words = re.findall(r"[^\W_]+(?:\.\d+)?", text.replace("-", " "))
    return " ".join(_WORDS.get(w, w) for w in words if w not in ("a", "an", "the"))


def number_of(answer: str) -> tuple[float, str] | None:
    """(value, canonical unit or "") of an answer that is one number; None for anything else."""
    text = answer.strip().rstrip(".").strip().lower()
    text = _WORDS.get(text, text)
    match = _NUMBER.match(text)
    if match is None:
        return None
    unit, factor = UNITS.get((match["unit"] or "").lower(), ("", 1.0))
    return float(match["value"].replace("−", "-")) * factor, unit


def same_answer(reference: str, candidate: str, tolerance: Tolerance = DEFAULT_TOLERANCE) -> bool:
    """Does the candidate answer what the reference answers; see the module docstring. An empty candidate never does."""
    if not candidate.strip():
        return False
    option = _OPTION.match(reference.strip())
    if option is not None:
        given = _OPTION.match(candidate.strip())
        if given is not None:
            return given[1].lower() == option[1].lower()
        return bool(option["text"]) and normalize(candidate) == normalize(option["text"])
    true = number_of(reference)
    if true is not None:
        found = number_of(candidate)
        if found is None:
            return False
        value, unit = found
        if unit != true[1] and (unit or not tolerance.unit_optional):
            return False
        return tolerance.allows(true[0], value, true[1])
    polar = _polar(reference, whole=True)
    if polar is not None:
        return _polar(candidate, whole=False) is polar
    parts, given_parts = _parts(reference), _parts(candidate)
    if len(parts) > 1:
        return parts == given_parts
    plain = normalize(reference)
    return plain == normalize(candidate) if plain else reference.strip() == candidate.strip()


def _polar(answer: str, whole: bool) -> bool | None:
    """True for yes, False for no; the whole answer, or only its first word ("Yes, there is one")."""
    words = normalize(answer).split()
    if not words or (whole and len(words) > 1):
        return None
    return True if words[0] in _YES else False if words[0] in _NO else None


def _parts(answer: str) -> frozenset[str]:
    """Members of a list, in any order."""
    return frozenset(p for p in map(normalize, re.split(r"[,;/]|\band\b", answer, flags=re.IGNORECASE)) if p)

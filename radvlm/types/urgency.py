"""How soon somebody must know of a finding: the one principle that orders the impression.

The levels are those of the ACR Actionable Reporting Work Group (Larson PA et al. J Am Coll Radiol 2014;11:552-558,
doi 10.1016/j.jacr.2013.12.016): findings to be communicated within minutes (category 1), hours (2) or days (3). Below
them come what needs no communication of its own, and what merely limits the examination. Which finding has which level
stands in ``interpret/thresholds.yaml``, ``interpret/foci.py`` and ``finding_kinds.csv``, and is this library's reading
of those categories.

Within a level, findings come by how far they are beyond their limit: a judged value by its ratio to the limit of its
class, a lesion by its size relative to 10 mm (the smallest that RECIST 1.1 measures), a collection by its volume
relative to 500 mL (a convention).
"""

from __future__ import annotations

from enum import StrEnum

#: Size of a lesion and volume of a collection to which others are compared.
REFERENCE_SIZE_MM, REFERENCE_VOLUME_ML = 10.0, 500.0


class Urgency(StrEnum):
    """When to tell: in minutes, hours, days; in the report only; what asks for nothing; what limits the scan; never."""

    IMMEDIATE = "immediate"
    HOURS = "hours"
    DAYS = "days"
    INCIDENTAL = "incidental"
    NO_ACTION = "no action"
    LIMITATION = "limitation"
    NONE = "none"


#: Where each level begins on the scale of importance; it ends where the one before begins, the first at 100.
_FLOORS = {
    Urgency.IMMEDIATE: 80,
    Urgency.HOURS: 60,
    Urgency.DAYS: 40,
    Urgency.INCIDENTAL: 20,
    Urgency.NO_ACTION: 5,
    Urgency.LIMITATION: 1,
    Urgency.NONE: 0,
}


#: What is said of a finding that somebody must be told of at once or soon; the other levels are said without a word.
_WORDS = {Urgency.IMMEDIATE: "critical", Urgency.HOURS: "urgent"}
_BASES = {
    Urgency.IMMEDIATE: "to be told within minutes (category 1 of the ACR Actionable Reporting Work Group)",
    Urgency.HOURS: "to be told within hours (category 2 of the ACR Actionable Reporting Work Group)",
}


def urgency_words(urgency: Urgency, is_certain: bool = True) -> str:
    """What an impression says before such a finding: "critical", "urgent, if confirmed", or "" below that.

    Example:
        >>> from radvlm.types.urgency import urgency_words
        >>> urgency_words("immediate"), urgency_words("hours", False), urgency_words("days")
        ('critical', 'urgent, if confirmed', '')
    """
    words = _WORDS.get(Urgency(urgency), "")
    return f"{words}, if confirmed" if words and not is_certain else words


def urgency_basis(urgency: Urgency) -> str:
    """How soon to tell, and whose category that is; "" where ``urgency_words`` says nothing."""
    return _BASES.get(Urgency(urgency), "")


def importance(urgency: Urgency | str, ratio: float = 1.0) -> float:
    """Place in the impression, larger first: where the level begins (80, 60, 40, 20, 5, 1), and more by the ratio.

    ``ratio`` is how many times the limit or the reference size it reaches; up to 1 adds nothing, and no ratio reaches
    the next level.

    Example:
        >>> from radvlm.types.urgency import importance
        >>> importance("hours"), importance("hours", 2.0), importance("days", 1000)
        (60.0, 70.0, 59.98)
    """
    level = Urgency(urgency)
    if level is Urgency.NONE:
        return 0.0
    low = _FLOORS[level]
    width = min((floor for floor in _FLOORS.values() if floor > low), default=100) - low
    return round(low + width * min(1 - 1 / max(ratio, 1.0), 0.999), 3)


def urgency_of(value: float) -> Urgency:
    """The level in which an importance lies.

    Example:
        >>> from radvlm.types.urgency import urgency_of
        >>> str(urgency_of(59.98)), str(urgency_of(60))
        ('days', 'hours')
    """
    return next(level for level, floor in _FLOORS.items() if value >= floor or level is Urgency.NONE)

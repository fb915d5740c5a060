"""How a report is worded: configuration, no facts."""

from __future__ import annotations

from dataclasses import dataclass

from radvlm.errors import InputError

DETAILS = ("full", "concise", "normal-in-one-word")


@dataclass(frozen=True)
class Style:
    """Wording of a report.

    Attributes:
        detail: ``full`` states volumes and attenuation; ``concise`` leaves out what is only descriptive;
            ``normal-in-one-word`` also shortens every normal organ.
        length_unit: ``auto`` writes cm from 1 cm on and whole mm below, ``mm`` and ``cm`` always that unit.
        spelling: ``us`` or ``uk``.
        volumes: state organ volumes.
        attenuation: state mean attenuation of solid organs and lesions (in ``full``; lesions always in ``full``).
        count_up_to: more lesions of one kind than this are counted, and the largest described.
        impression_items: most items in the impression, beside critical and urgent findings, which are all written out,
            and however many that somebody must know of within days; what is left to the body of the report is named in
            the last line.
    """

    detail: str = "full"
    length_unit: str = "auto"
    spelling: str = "us"
    volumes: bool = True
    attenuation: bool = True
    count_up_to: int = 5
    impression_items: int = 5

    def __post_init__(self) -> None:
        for name, allowed in (("detail", DETAILS), ("length_unit", ("auto", "mm", "cm")), ("spelling", ("us", "uk"))):
            if getattr(self, name) not in allowed:
                raise InputError(f"{name} is one of {', '.join(allowed)}", repr(getattr(self, name)))
        for name, low, high in (("count_up_to", 1, 12), ("impression_items", 1, 20)):
            value = getattr(self, name)
            if not isinstance(value, int) or isinstance(value, bool) or not low <= value <= high:
                raise InputError(f"{name} is a whole number from {low} to {high}", repr(value))
        for name in ("volumes", "attenuation"):
            if not isinstance(getattr(self, name), bool):
                raise InputError(f"{name} is true or false", repr(getattr(self, name)))

    @property
    def is_full(self) -> bool:
        return self.detail == "full"

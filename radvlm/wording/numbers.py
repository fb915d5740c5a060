"""Writing a number, and the closed set of ways in which a measured number may be written.

``verify`` does not parse a number and compare within a tolerance; it asks whether the text is one of the few renderings
that the measurement allows, so "2 cm" for 2.3 cm, "2.30 cm" and "2,3 cm" are all refused. Halves round away from zero,
as people round, not to even.
"""

from __future__ import annotations

from decimal import ROUND_HALF_UP, Decimal

from radvlm.types.measurement import Measurement
from radvlm.wording.style import Style


def rounded(value: float, step: str) -> str:
    """``value`` rounded half away from zero to a multiple of ``step`` ("1", "0.1", "10"), never "-0"."""
    quantum = Decimal(step)
    number = (Decimal(repr(float(value))) / quantum).quantize(Decimal(1), ROUND_HALF_UP) * quantum
    number = number.quantize(min(quantum, Decimal(1)))
    return str(abs(number)) if number == 0 else str(number)


def visible(value: float, step: str) -> str:
    """As ``rounded``, with finer steps until a measured amount does not read as none: 0.04 mL, not 0.0 mL."""
    text = rounded(value, step)
    while Decimal(text) == 0 and abs(value) > 1e-9:
        step = str(Decimal(step) / 10)
        text = rounded(value, step)
    return text


#: Quantities in mm that are printed to a hundredth.
_FINE = ("slice_spacing", "pixel_spacing")


def printed_step(value: float, unit: str, quantity: str = "") -> str:
    """The step to which reports round such a number, in its own unit: "1" for mm, HU, percent and degrees, "10" for
    mm2 (a tenth of a cm2) and from 1000 mL, "0.1" below 10 mL, "0.01" for a ratio."""
    if unit == "mL":
        return "10" if value >= 1000 else "1" if value >= 10 else "0.1"
    if unit == "1":
        return "1" if quantity == "count" else "0.01"
    return {"mm2": "10", "mm": "0.01" if quantity in _FINE else "1"}.get(unit, "1")


def as_printed(measurement: Measurement) -> float:
    """The number that a reader sees, in the unit of the measurement: what rules judge."""
    value, unit = measurement.value, measurement.unit
    shown = visible if unit in ("mm", "mL") else rounded
    return float(shown(value, printed_step(value, unit, measurement.quantity)))


#: Quantities that a sentence names in words of their own, with the number after them.
_NAMED = {
    "cardiothoracic_ratio": "cardiothoracic ratio",
    "tracheal_index": "tracheal index",
    "emphysema_index": "emphysema index",
    "midclavicular_length": "mid-clavicular length",
    "area_l3": "area at L3",
    "mean_hu_l3": "attenuation at L3",
    "body_width": "width",
    "body_depth": "anteroposterior diameter",
    "circumference": "circumference",
    "effective_diameter": "effective diameter",
    "water_equivalent_diameter": "water-equivalent diameter",
}


def named_number(measurement: Measurement, style: Style) -> str:
    """``cardiothoracic ratio 0.53``, ``mid-clavicular length 15.2 cm``; "" for what needs no such name."""
    name = _NAMED.get(measurement.quantity, "")
    if not name:
        return ""
    value, unit = measurement.value, measurement.unit
    if unit == "mm":
        return f"{name} {length_text(value, style)}"
    if unit == "mm2":
        return f"{name} {rounded(value / 100, '0.1')} cm2"
    return f"{name} {rounded(value, printed_step(value, unit))}{'' if unit == '1' else f' {unit}'}"


def uses_cm(value_mm: float, style: Style) -> bool:
    """Whether a length is written in cm: from 10 mm on, after rounding."""
    return style.length_unit == "cm" or (style.length_unit == "auto" and Decimal(rounded(value_mm, "1")) >= 10)


def length_text(value_mm: float, style: Style) -> str:
    """``2.3 cm`` or ``7 mm``."""
    return f"{visible(value_mm / 10, '0.1')} cm" if uses_cm(value_mm, style) else f"{visible(value_mm, '1')} mm"


def error_text(measurement: Measurement, style: Style) -> str:
    """``measurement error 3 mm`` of a length; "" where none is stated."""
    error = measurement.uncertainty
    return f"measurement error {length_text(error, style)}" if error and measurement.unit == "mm" else ""


def axes_text(long_mm: float, short_mm: float, style: Style) -> str:
    """``2.3 x 1.8 cm`` or ``7 x 5 mm``; the unit is that of the long axis."""
    if uses_cm(long_mm, style):
        return f"{visible(long_mm / 10, '0.1')} x {visible(short_mm / 10, '0.1')} cm"
    return f"{visible(long_mm, '1')} x {visible(short_mm, '1')} mm"


def volume_text(value_ml: float) -> str:
    """Three figures at most: ``1510 mL``, ``210 mL``, ``8.4 mL``, ``0.3 mL``."""
    step = "10" if value_ml >= 1000 else "1" if value_ml >= 10 else "0.1"
    return f"{visible(value_ml, step)} mL"


def hu_text(value_hu: float) -> str:
    return f"{rounded(value_hu, '1')} HU"


def spacing_text(value_mm: float) -> str:
    """``2 mm``, ``2.5 mm``, ``0.98 mm``."""
    text = rounded(value_mm, "0.01")
    return f"{text.rstrip('0').rstrip('.')} mm"


def signed(value: float, step: str = "1") -> str:
    """As ``rounded``, with a plus where it has no sign: ``+12``, ``-3``, ``0``."""
    text = rounded(value, step)
    return f"+{text}" if not text.startswith("-") and float(text) != 0 else text


def probability_text(value: float) -> str:
    """``0.93``; never "1.00" or "0.00", which no model can mean."""
    text = rounded(value, "0.01")
    return {"1.00": "over 0.99", "0.00": "under 0.01"}.get(text, text)


def renderings(measurement: Measurement) -> frozenset[tuple[str, str]]:
    """Every (digits, unit) in which the measurement may be written.

    mm: whole mm or one decimal, and cm with one decimal (spacing: up to two decimals in mm). mL: whole or one decimal,
    from 1000 mL also to the nearest 10. More decimals only where a length or volume would read as none. HU and degrees:
    whole. Counts: whole. Percent: whole or one decimal.
    """
    value, unit = measurement.value, measurement.unit
    if measurement.quantity in ("slice_spacing", "pixel_spacing", "thickness"):
        digits, name = spacing_text(value).split()
        whole = visible(value, "1") if value < 9.5 else ""
        also = {(whole, "mm"), (visible(value / 10, "0.1"), "cm")} if measurement.quantity == "thickness" else set()
        return frozenset({(digits, name), *(form for form in also if form[0])})
    if unit == "mm":
        found = {(visible(value, "1"), "mm"), (visible(value, "0.1"), "mm"), (visible(value / 10, "0.1"), "cm")}
    elif unit == "mL":
        found = {(visible(value, "1"), "mL"), (visible(value, "0.1"), "mL")}
        if value >= 1000:
            found.add((rounded(value, "10"), "mL"))
    elif unit == "HU":
        found = {(rounded(value, "1"), "HU")}
    elif unit == "percent":
        found = {(rounded(value, "1"), "percent"), (rounded(value, "0.1"), "percent")}
    elif unit == "degree":
        found = {(rounded(value, "1"), "degree")}
    elif measurement.quantity == "count":
        found = {(rounded(value, "1"), "1")}
    else:
        found = {(rounded(value, "0.01"), "1"), (rounded(value, "0.1"), "1")}
    return frozenset(found)

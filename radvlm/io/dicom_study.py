"""Facts about the study, the acquisition and the patient from one DICOM header; no names and no identifiers."""

from __future__ import annotations

import datetime
import re
from typing import Any

from radvlm.errors import InputError
from radvlm.io.dicom_files import PARSER_ERRORS, parsing
from radvlm.io.dicom_frames import patient_key, short_text
from radvlm.io.dicom_persons import DAYS_PER_UNIT
from radvlm.types.provenance import Decision
from radvlm.types.study import Patient, Study

#: A longer time from injection to image is that of another examination or of a clock that is wrong.
_LONGEST_DELAY_S = 3600.0
#: Stated age and that by the dates may differ by so many years where dates were shifted or rounded.
MOST_AGES_APART = 5.0


def study_of(dataset: Any, name: str, sop_instance_uids: tuple[str, ...]) -> Study:
    """Study from a slice's header. What is missing or not valid is left out, never guessed."""
    with parsing(name):
        return Study(
            modality=_text(dataset, "Modality"),
            description=_text(dataset, "StudyDescription") or _text(dataset, "SeriesDescription"),
            study_date=_date_text(dataset, "StudyDate"),
            body_part=_text(dataset, "BodyPartExamined"),
            patient_key=patient_key(dataset),
            study_uid=_text(dataset, "StudyInstanceUID"),
            series_uid=_text(dataset, "SeriesInstanceUID"),
            frame_of_reference_uid=_text(dataset, "FrameOfReferenceUID"),
            sop_instance_uids=sop_instance_uids,
            manufacturer=_text(dataset, "Manufacturer"),
            kernel=_text(dataset, "ConvolutionKernel"),
            kvp=_number(dataset, "KVP"),
            slice_thickness_mm=_number(dataset, "SliceThickness"),
            contrast_agent=_text(dataset, "ContrastBolusAgent"),
            contrast_route=_text(dataset, "ContrastBolusRoute"),
            contrast_delay_s=_contrast_delay_s(dataset),
            patient=patient_of(dataset),
        )


def patient_of(dataset: Any) -> Patient:
    """Sex, age, height and weight; each is None where the header has none or not a possible one."""
    sex = _text(dataset, "PatientSex").upper()
    height = _number(dataset, "PatientSize")
    facts: dict[str, Any] = {
        "sex": sex if sex in ("F", "M") else None,
        "age_years": _age_years(dataset),
        "height_cm": None if height is None else height * 100,
        "weight_kg": _number(dataset, "PatientWeight"),
    }
    if height is not None and height > 3:  # some consoles write cm where DICOM asks for meters
        facts["height_cm"] = height
    return Patient(**{name: value for name, value in facts.items() if value is not None and _possible(name, value)})


def patient_doubts(dataset: Any) -> tuple[Decision, ...]:
    """Warnings about an age, a height or a weight of the header that cannot be; none of the values is printed.

    A birth date on January 1st is taken for a placeholder, as anonymization writes it.
    """
    found: list[str] = []
    text, stated, by_dates = _text(dataset, "PatientAge"), _stated_age_years(dataset), _age_by_dates(dataset)
    birth = _date(dataset, "PatientBirthDate")
    is_real = birth is not None and (birth.month, birth.day) != (1, 1)
    if stated is not None and by_dates is not None and is_real and abs(stated - by_dates) > MOST_AGES_APART:
        found.append(
            f"PatientAge and the dates of birth and study disagree by {abs(stated - by_dates):.0f} years; "
            "PatientAge is taken: state the age (--age) if it is not right"
        )
    if stated is None and by_dates is None and re.fullmatch(r"0*[1-9]\d*", text):
        found.append("PatientAge has no unit (Y, M, W or D), so the age is not known: state it (--age)")
    for keyword, name in (("PatientSize", "height_cm"), ("PatientWeight", "weight_kg")):
        value = _number(dataset, keyword)
        if value is not None and getattr(patient_of(dataset), name) is None:
            found.append(f"{keyword} is no {name.split('_')[0]} that anybody has, so it was not used")
    return tuple(Decision("dicom", f"{what}.", warning=True) for what in found)


def _contrast_delay_s(dataset: Any) -> float | None:
    """Seconds from the start of the injection to this image; None where a time is missing or they make no sense."""
    start, image = (_seconds(dataset, name) for name in ("ContrastBolusStartTime", "AcquisitionTime"))
    if start is None or image is None:
        return None
    delay = (image - start) % 86400  # the two may lie on either side of midnight
    return delay if 0 < delay <= _LONGEST_DELAY_S else None


def _seconds(dataset: Any, name: str) -> float | None:
    """Seconds since midnight of a DICOM time (HHMMSS.FFFFFF)."""
    match = re.fullmatch(r"([01]\d|2[0-3])([0-5]\d)([0-5]\d(?:\.\d{1,6})?)", _text(dataset, name))
    return None if match is None else int(match[1]) * 3600 + int(match[2]) * 60 + float(match[3])


def _possible(name: str, value: Any) -> bool:
    try:
        Patient(**{name: value})
    except InputError:
        return False
    return True


def _age_years(dataset: Any) -> float | None:
    stated = _stated_age_years(dataset)
    return _age_by_dates(dataset) if stated is None else stated


def _stated_age_years(dataset: Any) -> float | None:
    match = re.fullmatch(r"(\d{1,3})([DWMY])", _text(dataset, "PatientAge").upper())
    if match:
        number, unit = float(match[1]), match[2]
        if number > 0:
            return number if unit == "Y" else number * DAYS_PER_UNIT[unit] / 365.25
    return None


def _age_by_dates(dataset: Any) -> float | None:
    birth, study = _date(dataset, "PatientBirthDate"), _date(dataset, "StudyDate")
    if birth is None or study is None or study < birth:
        return None
    return float(study.year - birth.year - ((study.month, study.day) < (birth.month, birth.day)))


def _date(dataset: Any, keyword: str) -> datetime.date | None:
    text = _text(dataset, keyword).replace(".", "")
    try:
        return datetime.date(int(text[:4]), int(text[4:6]), int(text[6:8])) if len(text) == 8 else None
    except ValueError:
        return None


def _date_text(dataset: Any, keyword: str) -> str:
    date = _date(dataset, keyword)
    return date.isoformat() if date else ""


def _text(dataset: Any, keyword: str) -> str:
    try:
        value = dataset.get(keyword)
    except PARSER_ERRORS:  # a malformed value of a tag that only informs
        return ""
    if value is None:
        return ""
    parts = [value] if isinstance(value, str) or not hasattr(value, "__iter__") else value
    return short_text(" ".join(str(part) for part in parts if part is not None), 128)


def _number(dataset: Any, keyword: str) -> float | None:
    try:
        value = float(dataset.get(keyword))
    except PARSER_ERRORS:
        return None
    return value if 0 < value < 1e6 else None

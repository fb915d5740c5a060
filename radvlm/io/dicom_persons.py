"""Whose image it is, where PatientID does not say: names, birth dates, sexes and ages, compared and never told.

A series is of one patient and of one study (DICOM PS3.3 A.1.2), so what its images state of both is one. Headers that
were put together by an export, or anonymized in part, state it otherwise. Only hashes of names and of dates are kept.
"""

from __future__ import annotations

import datetime
import hashlib
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from radvlm.errors import InputError
from radvlm.types.provenance import Decision

#: Attributes that say whose an image is, beside PatientID, and when it was made.
PERSON_TAGS = ("PatientName", "PatientBirthDate", "PatientSex", "PatientAge")
DATE_TAGS = ("StudyDate", "AcquisitionDate", "AcquisitionDateTime")
#: Ages of one patient in one series differ by no more (years): a birthday, or a rounding.
SAME_AGE_YEARS = 1.5
#: An examination goes on over midnight, and is completed the next day; not after so many days.
LONGEST_EXAMINATION_DAYS = 7
#: Names of nobody.
_NOBODY = re.compile(r"anon\w*|unknown|none|no ?name|removed|de ?identified|xx+")
#: Days in the units of PatientAge.
DAYS_PER_UNIT = {"D": 1.0, "W": 7.0, "M": 30.4375, "Y": 365.25}


@dataclass(frozen=True)
class Person:
    """What tells one patient from another: hashes of the words of the name and of the birth date, sex (F, M) and age;
    empty or None where the header does not say. ``days`` are the ordinal days of ``DATE_TAGS``."""

    name: frozenset[str] = frozenset()
    birth: str = ""
    sex: str = ""
    age_years: float | None = None
    days: tuple[int | None, ...] = (None,) * len(DATE_TAGS)


def person_of(header: Mapping[str, Any]) -> Person:
    """The person of a header, by its keywords."""
    birth = "".join(re.findall(r"\d", str(header.get("PatientBirthDate") or "")))
    sex = str(header.get("PatientSex") or "").strip().upper()[:1]
    age = re.fullmatch(r"(\d{1,3})([DWMY])", str(header.get("PatientAge") or "").strip().upper())
    return Person(
        frozenset(_hashed(word) for word in _words_of_name(str(header.get("PatientName") or ""))),
        _hashed(birth if len(birth) == 8 and len(set(birth)) > 1 else ""),
        sex if sex in ("F", "M") else "",
        float(age[1]) * DAYS_PER_UNIT[age[2]] / 365.25 if age and float(age[1]) else None,
        tuple(_day(header.get(name)) for name in DATE_TAGS),
    )


def check_one_person(persons: Sequence[Person], has_id: bool, name: str) -> list[Decision]:
    """Refuse the images of a series whose headers name several persons; a warning where they only disagree.

    Args:
        persons: of all images of the series.
        has_id: they have one PatientID. Then a single difference may be a correction or a fault of anonymization.
        name: of the series, for messages.
    """
    names = {person.name for person in persons if person.name}
    births, sexes = {p.birth for p in persons} - {""}, {p.sex for p in persons} - {""}
    each = [
        what
        for what, count in (("PatientName", len(names)), ("PatientBirthDate", len(births)))
        if count >= max(3, len(persons))
    ]
    differ = [] if "PatientName" in each or not _are_of_several(names) else ["PatientName"]
    differ += ["PatientBirthDate"] if len(births) > 1 and "PatientBirthDate" not in each else []
    differ += ["PatientSex"] if len(sexes) > 1 else []
    ages = [person.age_years for person in persons if person.age_years is not None]
    differ += ["PatientAge"] if ages and max(ages) - min(ages) > SAME_AGE_YEARS else []
    told = " and ".join((", ".join(differ[:-1]), differ[-1]) if len(differ) > 1 else differ)
    if len(differ) > 1 or (differ and not has_id):
        raise InputError(
            "the images of a series are of one patient",
            f"{name}: images that differ in {told}",
            "The series was mixed up by an export; export it again, or pass a list of the files of one patient",
        )
    if differ:
        what = f"The images of the series differ in {told}, with one PatientID. Check that they are of one patient."
        return [Decision("dicom", what, warning=True)]
    if each:
        what = f"Each image has a {' and a '.join(each)} of its own (a fault of an export). Check that they are of one "
        return [Decision("dicom", f"{what}patient.", warning=True)]
    return []


def check_one_study(persons: Sequence[Person], study_uids: Sequence[str]) -> list[Decision]:
    """Warnings about images of one series that state several studies, or dates far apart."""
    decisions = []
    studies = set(study_uids) - {""}
    if len(studies) > 1:
        if len(studies) >= max(3, len(study_uids)):
            what = "Each image of the series has a StudyInstanceUID of its own (a fault of an export)."
        else:
            what = f"The images of the series are of {len(studies)} studies by their StudyInstanceUIDs."
        decisions.append(Decision("dicom", f"{what} Check that they are of one patient and one scan.", warning=True))
    apart = max(
        (max(known) - min(known) for days in zip(*(p.days for p in persons), strict=True) if (known := _known(days))),
        default=0,
    )
    if apart > LONGEST_EXAMINATION_DAYS:
        what = (
            f"The images of the series state dates {apart} days apart: scans of several examinations "
            "may be put together. Pass the images of one of them (a list of files)."
        )
        decisions.append(Decision("dicom", what, warning=True))
    return decisions


def _are_of_several(names: set[frozenset[str]]) -> bool:
    """True for names of which one does not hold all words of the other, as it would with a middle name or a title."""
    ordered = sorted(names, key=len)
    return any(not shorter <= ordered[-1] for shorter in ordered[:-1])


def _known(days: Iterable[int | None]) -> list[int]:
    return [day for day in days if day is not None]


def _words_of_name(name: str) -> list[str]:
    """The words of a name without case, of its first spelling; none for the name of nobody."""
    words = re.findall(r"\w+", name.split("=")[0].casefold())
    return [] if _NOBODY.fullmatch(" ".join(words)) else words


def _hashed(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest() if text else ""


def _day(value: Any) -> int | None:
    digits = "".join(re.findall(r"\d", str(value or "")[:10]))[:8]
    try:
        day = datetime.date(int(digits[:4]), int(digits[4:6]), int(digits[6:8])) if len(digits) == 8 else None
    except ValueError:
        return None
    return day.toordinal() if day and 1970 <= day.year <= 2100 else None

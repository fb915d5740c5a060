"""Who was scanned and how: only what changes a measurement, a rule or the header of a report."""

from __future__ import annotations

from dataclasses import dataclass

from radvlm.errors import InputError

#: Attribute, its words, its unit, and the smallest and largest value.
_RANGES = (
    ("age_years", "age", "years", 0, 130),
    ("height_cm", "height", "cm", 20, 260),
    ("weight_kg", "weight", "kg", 0.3, 500),
)


@dataclass(frozen=True)
class Patient:
    """Facts about the patient that rules ask for; None means not known, and rules then say so.

    Attributes:
        sex: ``"F"`` or ``"M"``, or None.
        age_years: 0 to 130.
        height_cm: 20 to 260.
        weight_kg: 0.3 to 500.

    Example:
        >>> from radvlm import Patient
        >>> Patient(sex="F", age_years=63).weight_kg is None
        True
    """

    sex: str | None = None
    age_years: float | None = None
    height_cm: float | None = None
    weight_kg: float | None = None

    def __post_init__(self) -> None:
        if self.sex not in (None, "F", "M"):
            raise InputError('sex is "F", "M" or None', repr(self.sex), "Leave it out where it is unknown")
        for name, words, unit, low, high in _RANGES:
            value = getattr(self, name)
            if value is not None and not (isinstance(value, (int, float)) and low <= value <= high):
                option = f"--{words}"
                shown = f"{value:g}" if isinstance(value, (int, float)) else repr(value)
                remedy = f"Pass {option} in {unit} ({name}= in Python), or leave it out where it is not known"
                if name == "height_cm" and isinstance(value, (int, float)) and 0.2 <= value <= 2.6:
                    remedy = f"{shown} looks like meters: pass {option} {value * 100:g} ({name}= in Python)"
                article = "an" if words == "age" else "a"
                raise InputError(f"{article} {words} is {low} to {high} {unit}", f"{words} {shown}", remedy)


@dataclass(frozen=True)
class Study:
    """Identity and acquisition of one series, from DICOM where there is any; None or "" means not stated.

    ``patient_key`` is a one-way hash of PatientID and issuer, enough to notice a mask of another patient
    without carrying the identifier into the report.
    """

    modality: str = ""
    description: str = ""
    study_date: str = ""  # YYYY-MM-DD
    body_part: str = ""
    patient_key: str = ""
    study_uid: str = ""
    series_uid: str = ""
    frame_of_reference_uid: str = ""
    sop_instance_uids: tuple[str, ...] = ()
    manufacturer: str = ""
    kernel: str = ""
    kvp: float | None = None
    slice_thickness_mm: float | None = None
    contrast_agent: str = ""  # DICOM (0018,0010); empty means not stated, not "without contrast"
    contrast_route: str = ""  # DICOM (0018,1040), such as "IV" or "ORAL"
    contrast_delay_s: float | None = None  # from the start of the injection to the acquisition
    patient: Patient = Patient()

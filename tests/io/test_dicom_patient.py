"""Ages, heights and weights of a header that cannot be."""

from __future__ import annotations

import warnings

import pytest
from pydicom.dataset import Dataset

from radvlm.io.dicom_study import patient_doubts, patient_of


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"PatientAge": "063Y", "PatientBirthDate": "20150310", "StudyDate": "20221208"}, "disagree by 56 years"),
        ({"PatientAge": "063Y", "PatientBirthDate": "19600310", "StudyDate": "20221208"}, ""),
        ({"PatientAge": "063Y", "PatientBirthDate": "19000101", "StudyDate": "20221208"}, ""),  # a placeholder
        ({"PatientAge": "63"}, "no unit"),
        ({"PatientAge": "63", "PatientBirthDate": "19600310", "StudyDate": "20221208"}, ""),
        ({"PatientAge": "000"}, ""),
        ({"PatientWeight": "80000"}, "PatientWeight is no weight"),
        ({"PatientSize": "1.75", "PatientWeight": "80"}, ""),
        ({"PatientSize": "175"}, ""),  # cm, as some consoles write
        ({"PatientSize": "0", "PatientWeight": "0"}, ""),
        ({}, ""),
    ],
)
def test_what_a_header_says_of_a_patient(values, words) -> None:
    dataset = Dataset()
    for name, value in values.items():
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            setattr(dataset, name, value)
    told = " ".join(d.what for d in patient_doubts(dataset) if d.warning)
    assert bool(told) == bool(words) and words in told
    assert "1960" not in told and "80000" not in told


def test_a_stated_age_comes_before_that_of_the_dates() -> None:
    dataset = Dataset()
    dataset.PatientAge, dataset.PatientBirthDate, dataset.StudyDate = "063Y", "20150310", "20221208"
    assert patient_of(dataset).age_years == 63

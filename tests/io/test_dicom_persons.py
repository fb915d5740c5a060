"""One series is of one patient and one study: what its headers state of both is compared, and never printed."""

from __future__ import annotations

import pytest

from radvlm.errors import InputError
from radvlm.io import load_volume

SMALL, COUNT, BORDER = (8, 9), 12, 6


def half(lower, upper):
    return lambda k: upper if k >= BORDER else lower


def read(writer, folder, **attributes):
    def change(ds, k):
        for name, given in attributes.items():
            setattr(ds, name, given(k) if callable(given) else given)

    writer.write(folder, count=COUNT, size=SMALL, change=change)
    return load_volume(folder, rescale="header")


def warned(volume) -> str:
    return " | ".join(d.what for d in volume.decisions if d.warning)


@pytest.mark.parametrize(
    ("attributes", "named"),
    [
        ({"PatientName": half("A^B", "C^D")}, "PatientName"),
        ({"PatientName": lambda k: ("A^B", "C^D")[k % 2]}, "PatientName"),
        ({"PatientBirthDate": half("19500101", "19990101")}, "PatientBirthDate"),
        ({"PatientSex": half("F", "M")}, "PatientSex"),
        ({"PatientAge": half("073Y", "025Y")}, "PatientAge"),
    ],
)
def test_two_persons_without_an_id_are_refused_unnamed(writer, tmp_path, attributes, named) -> None:
    with pytest.raises(InputError, match=f"differ in {named}.*one patient") as caught:
        read(writer, tmp_path, PatientID="", **attributes)
    assert not any(secret in str(caught.value) for secret in ("A^B", "C^D", "1950", "1999"))


def test_two_persons_with_one_id_are_refused_and_one_difference_is_told(writer, tmp_path) -> None:
    with pytest.raises(InputError, match="differ in PatientName and PatientSex"):
        read(writer, tmp_path / "two", PatientID="ANON", PatientName=half("A^B", "C^D"), PatientSex=half("F", "M"))
    assert "differ in PatientName, with one PatientID" in warned(
        read(writer, tmp_path / "one", PatientName=half("A^B", "C^D"))
    )


@pytest.mark.parametrize(
    ("attributes", "told"),
    [
        ({"StudyInstanceUID": lambda k: f"1.2.{k}"}, "a StudyInstanceUID of its own"),
        ({"StudyInstanceUID": half("1.2.3", "1.2.4")}, "2 studies"),
        ({"StudyDate": half("20210101", "20240102")}, "1096 days apart"),
        ({"AcquisitionDate": half("20210101", "20210201")}, "31 days apart"),
        ({"PatientID": "", "PatientName": lambda k: f"X{k}^Y"}, "Each image has a PatientName of its own"),
    ],
)
def test_several_studies_or_dates_in_a_series_are_told(writer, tmp_path, attributes, told) -> None:
    assert told in warned(read(writer, tmp_path, **attributes))


@pytest.mark.parametrize(
    "attributes",
    [
        {"PatientName": half("DOE^JOHN^^", "Doe^John"), "PatientID": ""},
        {"PatientName": half("Doe^John", "Doe^John^Paul^^Dr"), "PatientID": ""},
        {"PatientName": half("", "Doe^John"), "PatientBirthDate": half("", "19500101"), "PatientSex": half("O", "F")},
        {"PatientName": half("Anonymous", "Doe^John"), "PatientAge": half("072Y", "073Y"), "PatientID": ""},
        {"StudyDate": half("20231231", "20240101"), "StudyInstanceUID": ""},
        {"StudyDate": "20100101", "AcquisitionDate": "20240101", "AcquisitionDateTime": "20240101120000"},
    ],
)
def test_one_person_spelled_differently_or_in_part_is_one(writer, tmp_path, attributes) -> None:
    assert not warned(read(writer, tmp_path, **attributes))

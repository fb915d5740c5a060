"""Headers that change along a stack, images that are promised and absent, and files that were slices once are told."""

from __future__ import annotations

import pytest

from radvlm.io import load_volume

SMALL, COUNT, BORDER = (8, 9), 20, 8


def written(writer, folder, count=COUNT, **attributes):
    """Slices 2.5 mm apart; an attribute may be a function of the slice."""

    def change(ds, k):
        ds.InstanceNumber = k + 1
        for name, given in attributes.items():
            setattr(ds, name, given(k) if callable(given) else given)

    return writer.write(folder, count=count, size=SMALL, change=change)


def warned(folder) -> list[str]:
    return [d.what for d in load_volume(folder, rescale="header").decisions if d.warning and d.step == "dicom"]


def from_border(lower, upper):
    return lambda k: upper if k >= BORDER else lower


@pytest.mark.parametrize(
    ("attribute", "lower", "upper"),
    [
        ("ConvolutionKernel", "B30f", "B70f"),
        ("ContrastBolusAgent", "", "Ultravist"),
        ("KVP", "80", "120"),
        ("ProtocolName", "Arterial", "Portal"),
        ("SeriesDescription", "Arterial", "Portal"),
        ("FilterType", "SOFT", "EDGE"),
    ],
)
def test_a_setting_that_changes_along_the_scan_is_told_with_its_places(
    writer, tmp_path, attribute, lower, upper
) -> None:
    written(writer, tmp_path, **{attribute: from_border(lower, upper)})
    (told,) = warned(tmp_path)
    assert told.startswith(f"{attribute} changes along the scan: {lower.casefold() or '(none)'} from -40 to -22 mm")
    assert f"{upper.casefold()} from -20 to 8 mm" in told


@pytest.mark.parametrize(
    "attributes",
    [
        {"KVP": from_border("120", "120.0"), "ConvolutionKernel": from_border("Br40", "BR40 ")},
        {"AcquisitionNumber": from_border("1", "2")},
        {"AcquisitionTime": lambda k: f"1000{k * 1.4:09.6f}", "ContrastBolusAgent": "Ultravist"},
        {"AcquisitionTime": from_border("100000", "100100")},
        {"AcquisitionTime": from_border("100000", "100008.5"), "ContrastBolusAgent": "Ultravist"},
        {"XRayTubeCurrent": lambda k: str(200 + k), "Exposure": from_border("90", "140")},
        {"ImagesInAcquisition": str(COUNT), "NumberOfSeriesRelatedInstances": str(COUNT)},
    ],
)
def test_what_changes_in_honest_scans_is_not_warned_of(writer, tmp_path, attributes) -> None:
    written(writer, tmp_path, **attributes)
    assert warned(tmp_path) == []


def test_table_runs_are_recorded_with_their_places(writer, tmp_path) -> None:
    written(writer, tmp_path, AcquisitionNumber=from_border("4", "5"))
    said = [d.what for d in load_volume(tmp_path, rescale="header").decisions]
    assert any(s.startswith("AcquisitionNumber changes along the scan") and "4 from -40 to -22 mm" in s for s in said)


@pytest.mark.parametrize("name", ["AcquisitionTime", "AcquisitionDateTime"])
def test_contrast_and_a_minute_between_two_slices_are_two_phases(writer, tmp_path, name) -> None:
    day = "20240102" if name == "AcquisitionDateTime" else ""
    given = {name: from_border(f"{day}100000", f"{day}100100"), "ContrastBolusAgent": "Ultravist"}
    written(writer, tmp_path, **given)
    (told,) = warned(tmp_path)
    assert "(60 s at -21 mm" in told and "different phases of contrast" in told


@pytest.mark.parametrize("kept", [slice(0, 13), slice(7, None)])
@pytest.mark.parametrize("name", ["ImagesInAcquisition", "NumberOfSeriesRelatedInstances"])
def test_images_that_the_header_promises_are_missed_at_the_ends(writer, tmp_path, kept, name) -> None:
    paths = written(writer, tmp_path, **{name: str(COUNT)})
    for path in set(paths) - set(paths[kept]):
        path.unlink()
    (told,) = warned(tmp_path)
    assert told.startswith("Only 13 of 20 images are here") and name in told


@pytest.mark.parametrize(
    "attributes",
    [
        {"ImagesInAcquisition": str(2 * COUNT)},  # two reconstructions
        {"ImagesInAcquisition": "33", "ImageType": ["DERIVED", "PRIMARY", "AXIAL"]},
        {"ImagesInAcquisition": "33", "AcquisitionNumber": from_border("1", "2")},
        {"ImagesInAcquisition": from_border("33", "40")},
        {"ImagesInAcquisition": "5"},
    ],
)
def test_a_count_of_something_else_is_no_promise(writer, tmp_path, attributes) -> None:
    written(writer, tmp_path, **attributes)
    assert not any("images are here" in told for told in warned(tmp_path))


def test_a_file_called_like_the_slices_that_is_none_is_counted(writer, tmp_path) -> None:
    written(writer, tmp_path)
    (tmp_path / "im777").write_bytes(b"")
    (tmp_path / "im778").write_bytes(b"\0" * 100)
    (tmp_path / "im779").write_bytes(b"<html>not found</html>")
    (told,) = warned(tmp_path)
    assert told.startswith("3 DICOM file(s), such as im777, are cut short or damaged")


def test_files_that_never_were_slices_are_left_out_in_silence(writer, tmp_path) -> None:
    written(writer, tmp_path)
    for name in (".gitkeep", "README", "DONE", "notes1.txt", "VERSION"):
        (tmp_path / name).write_bytes(b"")
    assert warned(tmp_path) == []

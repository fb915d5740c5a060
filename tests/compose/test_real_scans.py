"""The real scans from file to text: what a radiologist would check first."""

from __future__ import annotations

from pathlib import Path

import pytest

from radvlm.compose import compose_report
from radvlm.interpret import interpret
from radvlm.io import load_segmentation, load_volume
from radvlm.quantify import measure_scan
from radvlm.types.report import Report


def _report(folder: Path, ct: str, masks: str) -> Report:
    volume = load_volume(folder / ct)
    numbers = measure_scan(volume, load_segmentation(folder / masks, like=volume))
    return compose_report(interpret(numbers, patient=volume.study.patient, study=volume.study))


@pytest.mark.slow
def test_stack_of_40_mm(real_data: Path) -> None:
    text = _report(real_data, "upper_abdomen_dicom", "upper_abdomen_masks/segmentation.nii.gz").text
    assert "20 axial slices at 2 mm spacing, slice thickness 3 mm, coverage 40 mm. Portal venous phase" in text
    assert "The kidneys are not seen in the imaged range." in text
    assert "Limited coverage of 40 mm: the liver, spleen and pancreas are incompletely imaged." in text
    body = text.split("NOT ASSESSED")[0].replace("calcium attenuation along the wall of the aorta, volume 2.0 mL", "")
    assert "bdominal aorta" not in body, "the aorta beside T11 and T12 is that of the chest, whatever the age"
    assert " mL" not in body and "normal" not in body and "enlarged" not in body and "No " not in body


@pytest.mark.slow
@pytest.mark.parametrize("masks", ["plain_abdomen/segmentation.nii.gz", "plain_abdomen/segmentation_folder"])
def test_plain_abdomen(real_data: Path, masks: str) -> None:
    report = _report(real_data, "plain_abdomen/ct.nii.gz", masks)
    assert "Non-contrast, inferred from organ attenuation." in report.text
    assert "47 HU, up to 48 HU or above 48 HU, within the measurement error of 6 HU" in report.text
    assert not any("steatosis" in s.text for s in report.impression)
    assert "No renal cyst segmented in the imaged part." in report.text
    assert "T11, T12 and L2 are incompletely imaged." in report.text
    assert "liver size, spleen size: cut by the inferior and superior edges of the field of view" in report.text
    assert "brain" not in report.text and "renal lesions other than cysts" in report.text

"""A scan whose values cannot be trusted to be HU: sizes stand, and nothing is said of attenuation; --rescale."""

from __future__ import annotations

import json
from dataclasses import replace

import nibabel as nib
import numpy as np
import pytest

import radvlm
from radvlm.cli.main import main
from radvlm.phantom import LesionSpec, PhantomSpec, make_phantom
from radvlm.quantify.withheld import rests_on_attenuation
from radvlm.segment import segment_by_threshold
from radvlm.workflows.report import ReportOptions

pytestmark = pytest.mark.slow
DOUBT = "cut to a window of -160 to 240 HU"
REASON = f"attenuation not interpreted: {DOUBT}"


@pytest.fixture(scope="module")
def case():
    lesion = LesionSpec("liver_metastasis", 30, location="liver_segment_6")
    spec = PhantomSpec(seed=1, region="abdomen", spacing_mm=(8.0, 8.0, 8.0), sex="F", age_years=63, lesions=(lesion,))
    return make_phantom(spec)


@pytest.fixture(scope="module")
def doubted(case):
    volume = replace(case.volume, attenuation_doubt=DOUBT)
    return radvlm.generate_report(volume, segmentation=case.segmentation, patient=case.patient)


def test_sizes_stand_and_numbers_of_attenuation_are_omitted_with_the_reason(case, doubted) -> None:
    sure = radvlm.measure(case.volume, case.segmentation)
    for before, after in zip(
        (*sure.structures, *sure.lesions),
        (*doubted.measurements.structures, *doubted.measurements.lesions),
        strict=True,
    ):
        gone = {m.quantity for m in before.measurements} - {m.quantity for m in after.measurements}
        assert gone == {m.quantity for m in before.measurements if rests_on_attenuation(m.quantity)}
        assert {o.quantity for o in after.omissions if o.reason == REASON} >= gone - {"host_mean_hu", "host_sd_hu"}
        assert "no CT was given" not in {o.reason for o in after.omissions}
        assert after.volume_ml == before.volume_ml
    assert doubted.measurements.phase.name == "unknown" and doubted.measurements.phase.reason == REASON
    assert {lesion.attenuation for lesion in doubted.measurements.lesions} == {""}


def test_the_report_says_so_and_tells_no_hu(doubted) -> None:
    assert f"ATTENUATION: not interpreted: {DOUBT}." in doubted.text
    told = doubted.text.replace(DOUBT, "")
    assert " HU" not in told and "attenuating" not in told
    assert "hepatic steatosis" in doubted.text and REASON in doubted.text
    assert "Liver: Volume" in doubted.text


def test_thresholds_search_nothing_in_such_a_scan(case) -> None:
    found = segment_by_threshold(replace(case.volume, attenuation_doubt=DOUBT))
    assert not found.places and not found.searched
    assert DOUBT in found.decisions[0].what


def test_rescale_is_a_setting_an_option_and_an_argument(case, tmp_path, capsys) -> None:
    stored = (np.asarray(case.volume.hu, np.float64) / 2 + 700).astype(np.float32)
    path, masks = tmp_path / "ct.nii.gz", tmp_path / "masks.nii.gz"
    nib.save(nib.Nifti1Image(stored, case.volume.geometry.affine), path)
    labels = case.segmentation.mask("liver").astype(np.uint8)
    nib.save(nib.Nifti1Image(labels, case.volume.geometry.affine), masks)
    truth = float(np.mean(case.volume.hu[labels > 0], dtype=np.float64))
    scheme = {1: "liver"}
    for how in ([2, -1400], "2,-1400"):
        config = radvlm.Config.from_mapping({"reading": {"rescale": how}})
        assert config.reading.rescale in ((2.0, -1400.0), (2, -1400))
        liver = radvlm.measure(path, masks, config=config, scheme=scheme).structure("liver")
        assert liver.mean_hu == pytest.approx(truth, abs=0.5)
    options = ReportOptions(rescale=(2, -1400), scheme=scheme)
    made = radvlm.generate_report(path, segmentation=masks, options=options)
    assert made.measurements.structure("liver").mean_hu == pytest.approx(truth, abs=0.5)
    named = tmp_path / "liver.nii.gz"
    named.write_bytes(masks.read_bytes())
    assert main(["measure", str(path), "--masks", str(named), "--rescale", "2,-1400", "--format", "json"]) == 0
    told = json.loads(capsys.readouterr().out)["structures"][0]["measurements"]
    assert next(m["value"] for m in told if m["quantity"] == "mean_hu") == pytest.approx(truth, abs=0.5)
    with pytest.raises(SystemExit, match="2"):
        main(["measure", str(path), "--masks", str(named), "--rescale", "twice"])
    assert "'twice' is not auto, none, header or SLOPE,INTERCEPT" in capsys.readouterr().err


def test_what_a_model_says_of_such_a_scan_carries_the_caution(case) -> None:
    volume = replace(case.volume, attenuation_doubt=DOUBT)
    told = radvlm.answer(volume, "Is there a liver lesion?")
    assert any(DOUBT in line for line in told.evidence)
    head = radvlm.generate_report(volume, segmentation=case.segmentation, model="tiny").text.split("\n\n")[0]
    assert f"values that may not be HU ({DOUBT}): do not rely on what it says." in head

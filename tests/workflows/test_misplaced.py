"""Misplaced masks: refused by every command, and on request accepted, with the doubt in every output."""

from __future__ import annotations

import json
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

import radvlm
from radvlm.cli.main import main
from radvlm.phantom import Phantom, PhantomSpec, make_phantom

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("measured_once")]
SCHEME = {1: "liver", 2: "spleen", 3: "kidney_left", 4: "kidney_right", 5: "vertebrae_L1", 6: "aorta"}
SAID = "left and right are swapped"


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A CT without contrast and a folder of its masks, mirrored along x."""
    made: Phantom = make_phantom(
        PhantomSpec(seed=2, region="abdomen", spacing_mm=(6.0, 6.0, 8.0), phase="non-contrast", noise_hu=5.0)
    )
    folder = tmp_path_factory.mktemp("misplaced")
    affine = made.volume.geometry.affine
    nib.save(nib.Nifti1Image(np.asarray(made.volume.hu), affine), folder / "ct.nii.gz")
    (folder / "masks").mkdir()
    for name in SCHEME.values():
        mask = made.segmentation.mask(name).astype(np.uint8)
        nib.save(nib.Nifti1Image(mask[::-1].copy(), affine), folder / "masks" / f"{name}.nii.gz")
    return folder / "ct.nii.gz", folder / "masks"


def test_every_command_refuses_them(
    files: tuple[Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    ct, masks = files
    for command in (
        ["report", str(ct), "--masks", str(masks), "-o", str(tmp_path / "out")],
        ["measure", str(ct), "--masks", str(masks)],
    ):
        assert main(command) == 2
        assert SAID in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_accepted_they_are_said_in_every_output_and_not_interpreted(
    files: tuple[Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    ct, masks = files
    out = tmp_path / "out"
    command = ["report", str(ct), "--masks", str(masks), "-o", str(out), "--accept-misplaced", "-q"]
    assert main(command) == 0
    assert SAID in capsys.readouterr().err
    text = (out / "report.txt").read_text()
    assert f"CAUTION: Masks accepted although {SAID}" in text
    assert "attenuation not interpreted: the masks look misplaced" in text and "steatosis (" not in text
    assert SAID in (out / "report.html").read_text()
    report = json.loads((out / "report.json").read_text())
    assert any(SAID in line for line in report["provenance"]["warnings"])
    numbers = json.loads((out / "measurements.json").read_text())
    held = {m["quantity"] for s in numbers["structures"] for m in s["measurements"]}
    assert "volume" in held and not held & {"mean_hu", "median_hu"}


def test_the_interface_and_the_configuration_accept_them_too(files: tuple[Path, Path]) -> None:
    ct, masks = files
    config = radvlm.Config.from_mapping({"reading": {"accept_misplaced": True}})
    for numbers in (radvlm.measure(ct, masks, config=config), radvlm.measure(ct, masks, accept_misplaced=True)):
        assert any(SAID in d.what and d.warning for d in numbers.decisions)
        assert numbers.structure("liver").mean_hu is None
    scan = radvlm.load_volume(ct)
    accepted = radvlm.load_segmentation(masks, like=scan, accept_misplaced=True)
    assert SAID in radvlm.generate_report(scan, segmentation=accepted).text


def test_numbers_findings_and_comparisons_know_them(
    files: tuple[Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A report composed by hand and a comparison say in their heads what the report of the scan says in its own."""
    from radvlm.compose import compose_report
    from radvlm.interpret import interpret
    from radvlm.quantify import measure_scan

    ct, masks = files
    scan = radvlm.load_volume(ct)
    accepted = radvlm.load_segmentation(masks, like=scan, accept_misplaced=True)
    numbers = measure_scan(scan, accepted)
    by_hand = compose_report(interpret(numbers, patient=radvlm.Patient())).text
    head = by_hand.split("\n\n")[0]
    assert f"CAUTION: Masks accepted although {SAID}" in head
    assert "ATTENUATION: not interpreted: the masks look misplaced." in head
    made = radvlm.generate_report(scan, segmentation=accepted)
    assert made.text.count("CAUTION: ") == 1
    assert len({d.what for d in made.decisions}) == len(made.decisions)
    folder = made.save(tmp_path / "now", page=False)
    (tmp_path / "prior.json").write_text(numbers.to_json(), encoding="utf-8")
    for current, prior in ((made, numbers), (folder, tmp_path / "prior.json")):
        found = radvlm.compare(current, prior)
        for which in ("Current", "Prior"):
            assert f"CAUTION: {which} study: Masks accepted although {SAID}" in found.text
            assert f"CAUTION: {which} study: attenuation not interpreted: the masks look misplaced." in found.text
        assert len(json.loads(found.to_json())["cautions"]) == 4
    assert main(["compare", str(folder), str(tmp_path / "prior.json")]) == 0
    assert SAID in capsys.readouterr().out


def test_training_names_the_study_whose_masks_are_misplaced(files: tuple[Path, Path]) -> None:
    from radvlm.errors import InputError
    from radvlm.model.inputs import InputSpec
    from radvlm.model.organ_map import Organ
    from radvlm.train.data import Study
    from radvlm.train.prepared import PreparedScans

    ct, masks = files
    study = Study("case7", "p", ct, masks)
    spec = InputSpec(spacing_mm=(8.0, 8.0, 8.0), shape=(32, 32, 32))
    scans = PreparedScans(
        spec,
        radvlm.load_volume,
        load_masks=lambda path, scan: radvlm.load_segmentation(path, like=scan),
        organs=(Organ("liver", ("liver",), "liver"),),
    )
    with pytest.raises(InputError, match=f"case7.*{SAID}"):
        scans(study)

"""``radvlm report --segment``: a bare DICOM folder to a report with organs, in one process, stopped and resumed."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from radvlm.cli.main import main
from radvlm.phantom import make_phantom
from radvlm.phantom.spec import LesionSpec, PhantomSpec

#: From which HU on the stand-in network calls a voxel spleen, kidney, and so on.
PARTS = {
    291: [(30, "spleen"), (90, "liver")],
    292: [(600, "vertebrae_L3")],
    293: [(900, "heart")],
    294: [(900, "brain")],
    295: [(900, "sternum")],
    297: [(30, "spleen"), (90, "liver")],
    591: [(180, "liver_lesions")],
}


@pytest.fixture(scope="module")
def dicom(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A liver of 100 HU with a lesion of 200 HU and a spleen of 60 HU in water, 1.5 mm voxels, as an axial series."""
    from plausible import write_dicom

    hu = np.full((70, 60, 40), -1000, np.int16)
    i, j, k = np.indices(hu.shape)
    hu[((i - 35) / 32) ** 2 + ((j - 30) / 26) ** 2 <= 1] = 0
    hu[((i - 48) / 15) ** 2 + ((j - 32) / 14) ** 2 + ((k - 20) / 15) ** 2 <= 1] = 100
    hu[((i - 46) / 4) ** 2 + ((j - 32) / 4) ** 2 + ((k - 20) / 4) ** 2 <= 1] = 200
    hu[((i - 14) / 7) ** 2 + ((j - 24) / 7) ** 2 + ((k - 22) / 8) ** 2 <= 1] = 60
    return write_dicom(tmp_path_factory.mktemp("dicom") / "ct", hu, np.diag([1.5, 1.5, 1.5, 1.0]))


@pytest.fixture
def weights(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    pytest.importorskip("totalsegmentator", reason="the extra totalsegmentator is not installed")
    from stand_in_weights import write_totalsegmentator_weights

    folder = tmp_path / "home"
    folder.mkdir()
    write_totalsegmentator_weights(folder, PARTS)
    monkeypatch.setenv("TOTALSEG_HOME_DIR", str(folder))
    monkeypatch.setenv("RADVLM_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("TOTALSEG_WEIGHTS_PATH", raising=False)
    return folder


class Killed(BaseException):
    """What no ``except Exception`` catches, as a kill is not; files after one are proved in tests/files."""


@pytest.mark.slow
def test_dicom_to_report_killed_and_resumed(
    dicom: Path, weights: Path, tmp_path: Path, capsys: pytest.CaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    command = ["report", str(dicom), "--segment", "total,liver_lesions", "-o", str(tmp_path / "out"), "--no-page"]
    command += ["--device", "cpu", "--accept-misplaced"]
    import radvlm.segment.totalsegmentator as module

    ran: list[str] = []
    real = module.segment_with_totalsegmentator

    def stopped(volume: Any, **options: Any) -> Any:
        if options["task"] == "liver_lesions" and ran == ["total"]:
            raise Killed
        ran.append(options["task"])
        return real(volume, **options)

    monkeypatch.setattr(module, "segment_with_totalsegmentator", stopped)
    with pytest.raises(Killed):
        main(command)
    assert not (tmp_path / "out").exists()
    ran[:] = ["again"]
    capsys.readouterr()
    assert main(command) == 0
    told = capsys.readouterr().err
    assert (
        ran == ["again", "liver_lesions"] and "TotalSegmentator total: " in told and "kept from an earlier run" in told
    )
    report = json.loads((tmp_path / "out" / "report.json").read_text())
    manifest = json.loads((tmp_path / "out" / "manifest.json").read_text())
    assert [row["by"].split(", ")[1] for row in manifest["segmented_by"]] == ["task total", "task liver_lesions"]
    assert "TotalSegmentator 2." in (tmp_path / "out" / "report.txt").read_text()
    assert {row["site"] for row in report["findings"] if row["kind"] == "organ"} >= {"liver", "spleen"}
    lesions = [row for row in report["findings"] if row["kind"] == "liver_lesion"]
    assert len(lesions) == 1
    assert not [path for path in (tmp_path / "cache" / "masks").iterdir() if path.name.startswith(".")]


def test_errors_before_any_work(dicom: Path, tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    for what, expected in (("total,,nnunet:", "is followed by a folder"), ("command:x {ct}", "{out}")):
        assert main(["report", str(dicom), "--segment", what, "-o", str(tmp_path / "out")]) == 2
        assert expected in capsys.readouterr().err
    pytest.importorskip("totalsegmentator", reason="the extra totalsegmentator is not installed")
    for command in (["report", "no such scan", "--segment"], ["segment", "no such scan", "--with"]):
        assert main([*command, "liver_lesion", "-o", str(tmp_path / "out")]) == 2  # before the scan is looked for
        assert "Did you mean liver_lesions" in capsys.readouterr().err
    assert main(["report", str(dicom), "--segment", "total", "--device", "tpu", "-o", str(tmp_path / "out")]) == 2
    assert "device is auto" in capsys.readouterr().err


TOOL = """
import sys, nibabel, numpy
image = nibabel.load(sys.argv[1])
hu = numpy.asarray(image.dataobj)
for name, low, high in (("liver", 80, 250), ("liver_lesion", 180, 250), ("spleen", 40, 80), ("kidney_left", 400, 500)):
    mask = ((hu > low) & (hu < high)).astype("u1")
    nibabel.save(nibabel.Nifti1Image(mask, image.affine), f"{sys.argv[2]}/{name}.nii.gz")
"""


def test_masks_alone_and_the_report_from_them(dicom: Path, tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    tool = tmp_path / "tool.py"
    tool.write_text(TOOL)
    what = f"command:{sys.executable} {tool} {{ct}} {{out}}"
    masks, common = tmp_path / "masks", ["--no-page", "--accept-misplaced"]
    assert main(["segment", str(dicom), "--with", what, "-o", str(masks)]) == 0
    assert capsys.readouterr().out == "3 of 4 structures found.\n"
    assert sorted(path.name for path in masks.iterdir()) == ["labels.nii.gz", "masks.seg.nrrd", "segmentation.json"]
    assert main(["report", str(dicom), "--masks", str(masks), "-o", str(tmp_path / "a"), *common]) == 0
    assert main(["report", str(dicom), "--segment", what, "-o", str(tmp_path / "b"), *common]) == 0
    one, two = ((tmp_path / name / "report.txt").read_text() for name in "ab")
    assert one == two and "by command python" in one


def test_phantom_is_reported_alike_by_thresholds(tmp_path: Path) -> None:
    """Without --segment nothing changes."""
    case = make_phantom(
        PhantomSpec(seed=3, region="abdomen", spacing_mm=(8.0, 8.0, 8.0), lesions=(LesionSpec("liver_cyst", 30),))
    )
    from radvlm import generate_report

    assert generate_report(case.volume).segmentation.scheme == "threshold"

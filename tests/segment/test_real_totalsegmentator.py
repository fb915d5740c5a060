"""The real TotalSegmentator and nnU-Net, end to end, on weights that make the network a known function of HU."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("totalsegmentator", reason="the extra totalsegmentator is not installed")
from radvlm.errors import FileFormatError, InputError, MissingPackageError, StructureError
from radvlm.segment.protocol import SegmentOptions
from radvlm.segment.totalsegmentator import TotalSegmentatorTask
from radvlm.types.geometry import Geometry
from radvlm.types.volume import Volume
from stand_in_weights import write_totalsegmentator_weights

pytestmark = pytest.mark.slow
LIVER, SPLEEN, LESION = 100, 40, 140


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Weights of ``total --fast`` (also what lesions are cropped by) and of ``liver_lesions``."""
    folder = tmp_path_factory.mktemp("totalseg") / "home"
    folder.mkdir()
    write_totalsegmentator_weights(folder, {297: [(20, "spleen"), (80, "liver")], 591: [(120, "liver_lesions")]})
    return folder


@pytest.fixture(autouse=True)
def settings(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TOTALSEG_HOME_DIR", str(home))
    monkeypatch.delenv("TOTALSEG_WEIGHTS_PATH", raising=False)


def scan(spacing_mm: float = 3.0, tilt: float = 0.0) -> Volume:
    hu = np.full((24, 20, 18), -1000, np.int16)
    hu[2:10, 3:15, 2:14] = SPLEEN
    hu[12:22, 3:17, 4:16] = LIVER
    cosine, sine = np.cos(tilt), np.sin(tilt)
    affine = np.diag([spacing_mm] * 3 + [1.0])
    affine[:3, :3] = np.array([[1, 0, 0], [0, cosine, -sine], [0, sine, cosine]]) @ affine[:3, :3]
    affine[:3, 3] = (-30.0, 12.5, 400.0)
    return Volume(hu, Geometry(hu.shape, affine))


def test_masks_come_back_on_the_right_voxels() -> None:
    for volume in (scan(), scan(tilt=0.2)):
        found = TotalSegmentatorTask("total", SegmentOptions(fast=True, device="cpu")).segment(volume)
        assert set(found.places) == {"spleen", "liver"} and len(found.searched) == 117
        np.testing.assert_array_equal(found.mask("liver"), volume.hu == LIVER)
        np.testing.assert_array_equal(found.mask("spleen"), volume.hu == SPLEEN)
        assert found.origins[0].by.endswith("task total, fast") and found.origins[0].performance.startswith(
            "published Dice"
        )


def test_a_crop_by_another_model_puts_lesions_back() -> None:
    """``liver_lesions`` crops to the liver of the 3 mm model and runs at 0.75 x 0.75 x 1 mm."""
    volume = scan()
    hu = volume.hu.copy()
    hu[15:18, 8:11, 9:12] = LESION
    volume = Volume(hu, volume.geometry)
    found = TotalSegmentatorTask("liver_lesions", SegmentOptions(device="cpu")).segment(volume)
    np.testing.assert_array_equal(found.mask("liver_lesion"), hu == LESION)
    assert found.origins[0].performance == "performance not published"


def test_what_is_asked_before_any_work(home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    on_cpu = SegmentOptions(device="cpu")
    with pytest.raises(StructureError, match="Did you mean liver_lesions"):
        TotalSegmentatorTask("liver_lesion", on_cpu).require()
    with pytest.raises(InputError, match="which is for MR"):
        TotalSegmentatorTask("total_mr", on_cpu).require()
    with pytest.raises(MissingPackageError, match=r"licence number.*totalseg_set_license"):
        TotalSegmentatorTask("heartchambers_highres", on_cpu).require()
    with pytest.raises(
        MissingPackageError, match=r"Dataset913.*-t total`, `totalseg_download_weights -t lung_nodules`"
    ):
        TotalSegmentatorTask("lung_nodules", on_cpu).require()
    TotalSegmentatorTask("lung_nodules", SegmentOptions(device="cpu", allow_download=True)).require()
    TotalSegmentatorTask("liver_lesions", on_cpu).require()
    # half a download
    half = tmp_path / "half"
    (half / "Dataset297_TotalSegmentator_total_3mm_1559subj").mkdir(parents=True)
    monkeypatch.setenv("TOTALSEG_WEIGHTS_PATH", str(half))
    with pytest.raises(FileFormatError, match="download it again"):
        TotalSegmentatorTask("total", SegmentOptions(fast=True, allow_download=True)).require()


def test_a_checkpoint_that_brings_code_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It would write a file when it is unpickled; asked to trust it, nnU-Net does unpickle it."""

    class Writer:
        def __reduce__(self) -> tuple[object, tuple[object, ...]]:
            return Path.write_text, (tmp_path / "run", "code was run")

    folder = tmp_path / "home"
    folder.mkdir()
    monkeypatch.setenv("TOTALSEG_HOME_DIR", str(folder))
    results = write_totalsegmentator_weights(folder, {297: [(20, "spleen")]})
    checkpoint = next(results.glob("*/*/fold_0/*.pth"))
    import torch

    content = torch.load(checkpoint, weights_only=False)
    torch.save({**content, "more": Writer()}, checkpoint)
    task = TotalSegmentatorTask("total", SegmentOptions(fast=True, device="cpu"))
    with pytest.raises(FileFormatError, match=r"numbers alone.*run_model_code=True"):
        task.segment(scan())
    assert not (tmp_path / "run").exists()
    TotalSegmentatorTask("total", SegmentOptions(fast=True, device="cpu", run_model_code=True)).segment(scan())
    assert (tmp_path / "run").read_text() == "code was run"

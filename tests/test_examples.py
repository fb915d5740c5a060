"""Every example runs and does what it says."""

from __future__ import annotations

import csv
import importlib.util
import io
from pathlib import Path
from types import ModuleType

import pytest

from radvlm.io import save_labels
from radvlm.io.writing import save_volume
from radvlm.phantom import PhantomSpec, make_phantom

EXAMPLES = Path(__file__).resolve().parents[1] / "examples"
TESTED = {"report_from_arrays", "measure_many", "lesions_into_a_real_scan"}


def example(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(name, EXAMPLES / f"{name}.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_no_example_is_forgotten() -> None:
    assert {path.stem for path in EXAMPLES.glob("*.py")} == TESTED


def test_report_from_arrays(capsys: pytest.CaptureFixture[str]) -> None:
    report = example("report_from_arrays").main()
    lesion = report.measurements.lesions[0]
    assert lesion.structure == "spleen_cyst"
    assert abs(lesion.long_axis_mm - 17) <= 2  # a ball of 4 voxels radius, 2 mm each, edge to edge
    assert "splenic cyst" in capsys.readouterr().out


@pytest.mark.slow
def test_measure_many_survives_a_damaged_case(tmp_path: Path) -> None:
    phantom = make_phantom(PhantomSpec(seed=2, region="abdomen", shape=(64, 64, 64)))
    for name in ("a", "b"):
        (tmp_path / "cases" / name).mkdir(parents=True)
        save_volume(tmp_path / "cases" / name / "ct.nii.gz", phantom.volume)
        names = {p.label: n for n, p in phantom.segmentation.places.items() if p.layer == 0}
        save_labels(
            tmp_path / "cases" / name / "segmentation.nii.gz",
            phantom.segmentation.layers[0],
            phantom.segmentation.geometry,
            names=names,
        )
    (tmp_path / "cases" / "b" / "ct.nii.gz").write_bytes(b"damaged")
    assert example("measure_many").main(tmp_path / "cases", tmp_path / "out.csv") == 1
    rows = list(csv.DictReader(io.StringIO((tmp_path / "out.csv").read_text())))
    assert any(r["case"] == "a" and r["region"] == "liver" and r["quantity"] == "volume" for r in rows)
    assert [r["error"][:10] for r in rows if r["case"] == "b"] and all(r["error"] for r in rows if r["case"] == "b")


@pytest.mark.slow
def test_lesions_into_a_real_scan(real_data: Path) -> None:
    folder = real_data / "plain_abdomen"
    report, truth = example("lesions_into_a_real_scan").main(folder / "ct.nii.gz", folder / "segmentation.nii.gz")
    found = {lesion.structure: lesion for lesion in report.measurements.lesions}
    for known in truth.lesions:
        lesion = found[known.structure]
        assert abs(lesion.volume_ml - known.volume_ml) < 0.15 * known.volume_ml + 0.2
        core = lesion.measurement("core_mean_hu")
        assert core is not None and abs(core.value - known.mean_hu) < 20
    assert "hepatic cyst" in report.text and "liver metastasis" in report.text

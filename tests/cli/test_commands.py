"""The command line: outputs, exit codes, one line per error, nothing half-written."""

from __future__ import annotations

import csv
import io
import json
import subprocess
import sys
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

import fakes
from radvlm.cli.arguments import with_negative_slopes
from radvlm.cli.main import main
from radvlm.io import load_segmentation, save_labels
from radvlm.io.writing import save_volume
from radvlm.phantom import Phantom, PhantomSpec, make_phantom
from radvlm.types.finding import Status
from radvlm.types.model_output import FindingScore
from radvlm.types.report import Report
from radvlm.workflows.saved_report import OUTPUT_FILES

pytestmark = pytest.mark.usefixtures("measured_once")


@pytest.fixture(scope="session")
def phantom() -> Phantom:
    return make_phantom(PhantomSpec(seed=3, shape=(96, 96, 96), spacing_mm=(4.0, 4.0, 4.5)))


@pytest.fixture(scope="session")
def files(phantom: Phantom, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """The phantom as ct.nii.gz and one multi-label file of its first layer, in another axis order."""
    folder = tmp_path_factory.mktemp("case")
    save_volume(folder / "ct.nii.gz", phantom.volume)
    names = {p.label: name for name, p in phantom.segmentation.places.items() if p.layer == 0}
    save_labels(
        folder / "seg.nii.gz",
        phantom.segmentation.layers[0],
        phantom.segmentation.geometry,
        names=names,
        stored_axes="LPS",
    )
    return folder / "ct.nii.gz", folder / "seg.nii.gz"


def run(*arguments: object) -> int:
    return main([str(a) for a in arguments])


@pytest.mark.slow
def test_report_writes_every_file_and_prints_the_text(
    files: tuple[Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    ct, masks = files
    out = tmp_path / "out"
    assert run("report", ct, "--masks", masks, "-o", out, "--sex", "F", "--age", 63) == 0
    assert {p.name for p in out.iterdir()} == set(OUTPUT_FILES)
    text = (out / "report.txt").read_text()
    assert text in capsys.readouterr().out
    assert "IMPRESSION:" in text and "not a medical device" in text and "63 years" in text
    report = Report.from_json((out / "report.json").read_text())
    assert report.text == text
    regions = nib.load(out / "regions.nii.gz")
    assert np.allclose(regions.affine, nib.load(ct).affine, atol=1e-3)
    table = list(csv.DictReader(io.StringIO((out / "regions.csv").read_text())))
    assert {r.id for r in report.regions} <= {row["region"] for row in table}
    manifest = json.loads((out / "manifest.json").read_text())
    assert [row["role"] for row in manifest["inputs"]] == ["ct", "masks"]
    assert all(len(row["sha256"]) == 64 for row in manifest["inputs"])


@pytest.mark.slow
def test_a_second_run_replaces_the_first_and_leaves_other_files(files: tuple[Path, Path], tmp_path: Path) -> None:
    ct, masks = files
    out = tmp_path / "out"
    out.mkdir()
    (out / "notes.txt").write_text("mine")
    for arguments in ((), ("--no-page",)):
        assert run("report", ct, "--masks", masks, "-o", out, "-q", *arguments) == 0
    assert (out / "notes.txt").read_text() == "mine"
    assert not (out / "report.html").exists()
    assert list(tmp_path.iterdir()) == [out]


@pytest.mark.slow
def test_measure_prints_csv_or_json(
    files: tuple[Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    ct, masks = files
    assert run("measure", ct, "--masks", masks) == 0
    rows = list(csv.DictReader(io.StringIO(capsys.readouterr().out)))
    assert any(r["structure"] == "liver" and r["quantity"] == "volume" and float(r["value"]) > 500 for r in rows)
    assert any(r["quantity"] == "mean_hu" and r["value"] for r in rows)
    assert run("measure", "--masks", masks, "--format", "json", "-o", tmp_path / "m.json") == 0
    data = json.loads((tmp_path / "m.json").read_text())
    assert data["phase"] is None
    liver = next(s for s in data["structures"] if s["structure"] == "liver")
    assert not any(m["quantity"] == "mean_hu" for m in liver["measurements"])
    assert any(o["quantity"] == "mean_hu" and o["reason"] for o in liver["omissions"])


@pytest.mark.slow
def test_regions_file_reads_back_as_masks(files: tuple[Path, Path], tmp_path: Path) -> None:
    ct, masks = files
    run("report", ct, "--masks", masks, "-o", tmp_path / "out", "-q", "--no-page")
    raw = np.asarray(nib.load(tmp_path / "out" / "regions.nii.gz").dataobj)
    table = {row["region"]: row for row in csv.DictReader(io.StringIO((tmp_path / "out" / "regions.csv").read_text()))}
    given = load_segmentation(masks)
    labels = [int(v) for v in (table["spleen"]["label"] + " " + table["spleen"]["also"]).split()]
    assert int(np.isin(raw, labels).sum()) == given.voxel_count("spleen")


def _truncated(folder: Path, source: Path) -> Path:
    path = folder / "short.nii.gz"
    path.write_bytes(source.read_bytes()[: source.stat().st_size // 2])
    return path


def _text(folder: Path, _: Path) -> Path:
    path = folder / "text.nii"
    path.write_text("This is a letter, not a scan.")
    return path


def _photographs(folder: Path, _: Path) -> Path:
    from PIL import Image

    path = folder / "holiday"
    path.mkdir()
    for n in range(3):
        Image.new("RGB", (32, 32), (200, 100, n)).save(path / f"beach{n}.jpg")
    return path


def _nan(folder: Path, _: Path) -> Path:
    array = np.full((8, 8, 8), -1000, np.float32)
    array[3, 3, 3] = np.nan
    nib.save(nib.Nifti1Image(array, np.eye(4)), folder / "nan.nii.gz")
    return folder / "nan.nii.gz"


def _missing(folder: Path, _: Path) -> Path:
    return folder / "none.nii.gz"


@pytest.mark.parametrize("make", [_truncated, _text, _photographs, _nan, _missing], ids=lambda f: f.__name__.strip("_"))
def test_a_bad_ct_is_one_line_exit_2_and_nothing_written(
    make, files: tuple[Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    bad = make(tmp_path, files[0])
    before = sorted(p.name for p in tmp_path.iterdir())
    assert run("report", bad, "--masks", files[1], "-o", tmp_path / "out", "-q") == 2
    streams = capsys.readouterr()
    assert streams.err.startswith("radvlm: ") and streams.err.count("\n") == 1 and not streams.out
    assert sorted(p.name for p in tmp_path.iterdir()) == before


def _mask(folder: Path, array: np.ndarray, affine: np.ndarray) -> Path:
    nib.save(nib.Nifti1Image(array, affine), folder / "mask.nii.gz")
    return folder / "mask.nii.gz"


@pytest.mark.parametrize(
    "kind", ["zero", "unknown labels", "probabilities", "elsewhere", "negative", "4D", "another body"]
)
def test_bad_masks_are_one_line_exit_2_and_nothing_written(
    kind: str, files: tuple[Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    given = nib.load(files[0])
    shape, affine = given.shape, given.affine
    array = np.zeros(shape, np.uint8)
    array[40:50, 40:50, 40:50] = 5
    if kind == "zero":
        array[:] = 0
    elif kind == "unknown labels":
        array[array > 0] = 213
    elif kind == "probabilities":
        array = array.astype(np.float32) / 7
    elif kind == "elsewhere":
        affine = affine.copy()
        affine[:3, 3] += 5000
    elif kind == "negative":
        array = array.astype(np.int16) * -1
    elif kind == "4D":
        array = np.stack([array, array], -1)
    elif kind == "another body":  # every organ lies in the air beside this patient
        array[:] = 0
        for label in (1, 2, 3, 5, 7, 52):
            array[:6, label * 2 : label * 2 + 2, 40:60] = label
    bad = _mask(tmp_path, array, affine)
    assert run("report", files[0], "--masks", bad, "-o", tmp_path / "out", "-q") == 2
    streams = capsys.readouterr()
    assert streams.err.startswith("radvlm: ") and streams.err.count("\n") == 1
    assert [p.name for p in tmp_path.iterdir()] == ["mask.nii.gz"]


@pytest.mark.slow
def test_a_failure_while_writing_leaves_the_old_report(
    files: tuple[Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ct, masks = files
    out = tmp_path / "out"
    assert run("report", ct, "--masks", masks, "-o", out, "-q", "--no-page") == 0
    old = (out / "report.json").read_bytes()

    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("radvlm.io.save_labels", full, raising=False)
    assert run("report", ct, "--masks", masks, "-o", out, "-q", "--no-page", "--style", "concise") == 2
    assert (out / "report.json").read_bytes() == old
    assert list(tmp_path.iterdir()) == [out]


@pytest.mark.parametrize("arguments", [["nonsense"], ["report"], ["report", "x"], []])
def test_wrong_usage_exits_2(arguments: list[str]) -> None:
    with pytest.raises(SystemExit) as stop:
        main(arguments)
    assert stop.value.code == 2


@pytest.mark.slow
def test_a_file_where_the_folder_should_be(files: tuple[Path, Path], tmp_path: Path) -> None:
    (tmp_path / "out").write_text("x")
    assert run("report", files[0], "--masks", files[1], "-o", tmp_path / "out", "-q") == 2
    assert (tmp_path / "out").read_text() == "x"


@pytest.mark.slow
def test_python_dash_m(files: tuple[Path, Path], tmp_path: Path) -> None:
    """In a process of its own; the demo, which is larger, runs in test_readme.py."""
    ct, masks = map(str, files)
    done = subprocess.run(
        [sys.executable, "-m", "radvlm", "report", ct, "--masks", masks, "-o", str(tmp_path / "made")],
        capture_output=True,
        text=True,
        check=True,
    )
    assert "IMPRESSION:" in done.stdout
    assert {p.name for p in (tmp_path / "made").iterdir()} == set(OUTPUT_FILES)


def test_series_marks_what_report_would_take(real_data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("series", real_data / "upper_abdomen_dicom") == 0
    marked = [line for line in capsys.readouterr().out.splitlines() if line.startswith("  *")]
    assert len(marked) == 1 and "axial" in marked[0] and " 20 " in marked[0]


@pytest.mark.slow
def test_evaluate_grounds_report_folders_by_their_masks(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from radvlm.phantom import LesionSpec
    from radvlm.workflows.report import generate_report
    from radvlm.workflows.saved_report import load_regions

    for number in (1, 2):
        case = make_phantom(
            PhantomSpec(
                seed=number,
                region="abdomen",
                shape=(80, 80, 60),
                lesions=(LesionSpec("liver_cyst", 40), LesionSpec("splenomegaly", 500)),
            )
        )
        report = generate_report(case.volume, segmentation=case.segmentation, patient=case.patient)
        for system in ("ref", "same"):
            report.save(tmp_path / system / f"case{number}", page=False)
        eroded = np.asarray(case.segmentation.layers[-1]).copy()
        eroded[::2] = 0  # half of the lesion's voxels
        masks = type(case.segmentation)(
            (*case.segmentation.layers[:-1], eroded),
            case.segmentation.places,
            case.segmentation.searched,
            case.segmentation.geometry,
        )
        generate_report(case.volume, segmentation=masks, patient=case.patient).save(
            tmp_path / "half" / f"case{number}", page=False
        )
        regions = load_regions(tmp_path / "ref" / f"case{number}")
        assert regions is not None
        for row in regions.rows:
            assert int(np.isin(regions.labels, (row.label, *row.also)).sum()) == row.region.voxels
    assert (
        run(
            "evaluate",
            "--reference",
            tmp_path / "ref",
            "--candidate",
            tmp_path / "same",
            "--candidate",
            tmp_path / "half",
            "--metrics",
            "grounding",
            "-o",
            tmp_path / "out",
            "--no-page",
        )
        == 0
    )
    summary = json.loads((tmp_path / "out" / "summary.json").read_text())
    text = capsys.readouterr().out
    assert "regions:masks" in json.dumps(summary) and "dice" in text.lower()
    values = {e["system"]: e["value"] for e in summary["values"] if e["output"] == "dice"}
    assert values["same"] == pytest.approx(1.0) and values["half"] < 0.99


@pytest.fixture
def fake(monkeypatch: pytest.MonkeyPatch) -> object:
    """`--model anything` loads the fake."""
    import radvlm.workflows.models

    model = fakes.FakeModel({"liver_cyst": 0.93, "ascites": 0.5})
    monkeypatch.setattr(radvlm.workflows.models, "load_model", lambda name, **_: model)
    return model


@pytest.mark.slow
def test_report_with_a_model_says_who_saw_what(
    files: tuple[Path, Path], tmp_path: Path, fake: object, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    assert run("report", files[0], "--model", "fake", "-o", out, "--no-page") == 0
    captured = capsys.readouterr()
    assert "Hepatic cyst, seen by the model only, probability 0.93; not localized." in captured.out
    assert f"MODEL: fake. {fakes.NOTICE}" in captured.out and f"note: {fakes.NOTICE}" in captured.err
    assert json.loads((out / "manifest.json").read_text())["model"]["name"] == "fake"


def test_classify_prints_a_table_or_json(
    files: tuple[Path, Path], fake: object, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run("classify", files[0]) == 0
    captured = capsys.readouterr()
    assert captured.out.splitlines()[0].split() == ["0.93", "present", "hepatic", "cyst", "(liver)"]
    assert fakes.NOTICE in captured.err
    assert run("classify", files[0], "--model", "fake", "--findings", "a cyst", "a stone", "--json") == 0
    data = json.loads(capsys.readouterr().out)
    assert run("classify", files[0], "--findings", "ascites", "a banana in the liver") == 0
    rows = capsys.readouterr().out.splitlines()
    assert ["banana" in row for row in rows] == ["not a listed finding" in row for row in rows[:2]] + [False]
    assert "likeness of scan and text" in rows[2]
    assert data["notice"] == fakes.NOTICE and [s["finding"] for s in data["scores"]] == ["a cyst", "a stone"]


def test_the_caution_of_a_scan_outside_the_domain_stands_with_the_numbers(
    files: tuple[Path, Path], fake: object, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    score = FindingScore("ascites", "ascites", "peritoneum", "", 0.9, Status.NOT_ASSESSED, caution="unlike any other")
    monkeypatch.setattr(fakes.FakeModel, "classify", lambda *_: (score,))
    assert run("classify", files[0]) == 0
    rows = capsys.readouterr().out.splitlines()
    assert rows[0] == "caution: unlike any other" and "outside its domain" in rows[1]


@pytest.mark.slow
def test_ask_prints_the_answer_and_how_sure_it_is(
    files: tuple[Path, Path], fake: object, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run("ask", files[0], "Is there a cyst in the liver?") == 0
    captured = capsys.readouterr()
    assert captured.out.splitlines() == ["Yes", "confidence 0.87; present", "- hepatic cyst 0.93"]
    assert fakes.NOTICE in captured.err
    assert run("ask", files[0], "Is there a cyst?", "--masks", files[1], "--json") == 0
    assert json.loads(capsys.readouterr().out)["confidence"] == 0.87
    assert run("ask", files[0], " ") == 2 and "question has words" in capsys.readouterr().err


def test_train_needs_its_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("train", tmp_path / "none.yaml") == 2
    assert "training configuration" in capsys.readouterr().err


def test_help_of_every_command_imports_nothing_heavy() -> None:
    code = (
        "import sys, radvlm.cli.main as c\n"
        "for name in ('report', 'demo', 'classify', 'ask', 'train'):\n"
        "    try:\n        c.main([name, '--help'])\n    except SystemExit:\n        pass\n"
        "assert not {'torch', 'numpy', 'yaml', 'transformers'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True, capture_output=True)


@pytest.mark.parametrize(
    "arguments",
    [
        ["demo", "-o", "FILE"],
        ["report", "ct.nii", "-o", "FILE/out"],
        ["measure", "--masks", "m.nii", "-o", "absent/a.csv"],
        ["compare", "a", "b", "-o", "absent/a.txt"],
        ["evaluate", "--candidate", "a", "--reference", "b", "-o", "FILE"],
        ["index", "build", "--reports", "a", "-o", "FILE"],
        ["index", "add", "FILE", "--reports", "a"],
        ["calibrate", "--dataset", "table", "--data", "a", "-o", "FILE"],
    ],
)
def test_an_output_that_cannot_be_written_is_told_before_the_work(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], arguments: list[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("FILE").write_text("x")
    try:
        code = main(arguments)
    except SystemExit as stopped:  # argparse wants other arguments
        pytest.fail(f"{arguments}: {stopped}")
    shown = capsys.readouterr().err
    assert code == 2 and shown.count("\n") == 1
    assert "FILE is a file" in shown or "no folder" in shown
    assert sorted(path.name for path in tmp_path.iterdir()) == ["FILE"]


@pytest.mark.parametrize(
    ("given", "taken"),
    [
        (["--rescale", "-1,0"], ["--rescale=-1,0"]),
        (["--rescale", "-.5,10", "-q"], ["--rescale=-.5,10", "-q"]),
        (["--rescale", "1,-1024"], ["--rescale", "1,-1024"]),
        (["--rescale", "-o", "out"], ["--rescale", "-o", "out"]),
    ],
)
def test_a_negative_slope_is_no_option(given, taken) -> None:
    assert with_negative_slopes(["measure", "ct.nii.gz", *given]) == ["measure", "ct.nii.gz", *taken]

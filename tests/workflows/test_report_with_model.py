"""generate_report and its neighbors with a model: marked findings, overruled findings, regions, what is recorded."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

import fakes
import radvlm
from radvlm.errors import GridError, InputError, RadvlmError
from radvlm.phantom import LesionSpec, Phantom, PhantomSpec, make_phantom
from radvlm.types.finding import Source, Status
from radvlm.types.model_output import MODEL_REGION, Draft
from radvlm.types.report import Report, cited
from radvlm.workflows.saved_report import GeneratedReport, load_regions

pytestmark = pytest.mark.usefixtures("measured_once")


@pytest.fixture(scope="session")
def phantom() -> Phantom:
    """A liver cyst and a left renal cyst, coarse."""
    return make_phantom(
        PhantomSpec(
            seed=5,
            shape=(80, 80, 80),
            spacing_mm=(5.0, 5.0, 5.5),
            lesions=(LesionSpec("liver_cyst", size=40.0), LesionSpec("kidney_cyst", size=20.0, side="left")),
        )
    )


def _ball(phantom: Phantom, structure: str, radius: float = 3.0) -> np.ndarray:
    """A ball around the middle of a structure: where a model may point."""
    inside = np.argwhere(phantom.segmentation.mask(structure))
    center = inside[len(inside) // 2]
    grid = np.indices(phantom.volume.geometry.shape).reshape(3, -1).T
    return (np.linalg.norm(grid - center, axis=1) <= radius).reshape(phantom.volume.geometry.shape)


@pytest.fixture(scope="session")
def image_only(phantom: Phantom) -> GeneratedReport:
    model = fakes.FakeModel(
        {"liver_cyst": 0.932, "kidney_cyst@kidney_left": 0.81, "ascites": 0.5, "hydronephrosis@kidney_right": 0.75},
        (Draft("liver", "Hepatic cyst in segment VI. Hepatic cyst in segment II."),),
        {"liver_cyst": _ball(phantom, "liver"), "kidney_left": _ball(phantom, "kidney_left", 4)},
        {"liver_cyst": "liver_cyst", "kidney_cyst@kidney_left": "kidney_left"},
        {"liver_cyst": ("liver_segment_6",)},
        ("gallbladder",),
    )
    return radvlm.generate_report(phantom.volume, model=model)


@pytest.mark.slow
def test_without_masks_everything_of_the_model_is_marked(image_only: GeneratedReport) -> None:
    text = image_only.text
    assert "Hepatic cyst in segment VI, seen by the model only, probability 0.93." in text
    assert "Left renal cyst, seen by the model only, probability 0.81." in text
    assert "Right hydronephrosis, seen by the model only, probability 0.75; not localized." in text
    assert "Possible ascites seen by the model, probability 0.50; indeterminate." in text
    assert "No free intraperitoneal air seen by the model." in text
    assert "No gallstone" not in text and "gallstone: nothing shows the organ in this scan" in text
    for sentence in image_only.sentences:
        if any(f.source is Source.MODEL for f in sentence.findings):
            assert "seen by the model" in sentence.text
    cyst = next(f for f in image_only.findings if f.kind == "liver_cyst")
    assert (cyst.confidence, cyst.status, cyst.grounding) == (0.932, Status.PRESENT, "voxel head")
    kidney = next(f for f in image_only.findings if f.kind == "kidney_cyst_left")
    assert kidney.grounding == "organ" and kidney.regions[0].id == f"{MODEL_REGION}kidney_left"


def test_the_notice_stands_at_the_head_and_in_the_decisions(image_only: GeneratedReport) -> None:
    assert ("Model", f"fake. {fakes.NOTICE}") in image_only.report.examination
    assert f"MODEL: fake. {fakes.NOTICE}" in image_only.text
    assert "MODEL CAUTION: The field of view is unlike that of the training.\n" in image_only.text
    warned = [d.what for d in image_only.decisions if d.warning]
    assert warned[0] == fakes.NOTICE and "The field of view is unlike that of the training." in warned


def test_regions_of_the_model_are_painted_and_never_measured(
    image_only: GeneratedReport, phantom: Phantom, tmp_path: Path
) -> None:
    assert not any(r.structure in ("liver_cyst", "kidney_left") for r in image_only.measurements.structures)
    assert not any(f.measurements for f in image_only.findings if f.source is Source.MODEL)
    expected = {
        f"{MODEL_REGION}liver_cyst": _ball(phantom, "liver"),
        f"{MODEL_REGION}kidney_left": _ball(phantom, "kidney_left", 4),
    }
    folder = image_only.save(tmp_path / "out", page=False)
    read_back = load_regions(folder)
    assert read_back is not None
    for painted in (image_only.regions, read_back):
        for name, mask in expected.items():
            row = painted.row(name)
            assert row is not None
            assert np.array_equal(np.isin(painted.labels, (row.label, *row.also)), mask)
        for region in image_only.report.regions:
            row = painted.row(region.id)
            assert row is not None and int(np.isin(painted.labels, (row.label, *row.also)).sum()) == region.voxels


def test_what_the_run_records(image_only: GeneratedReport, tmp_path: Path) -> None:
    folder = image_only.save(tmp_path / "out", page=False)
    manifest = json.loads((folder / "manifest.json").read_text())
    model = manifest["model"]
    assert (model["name"], model["sha256"], model["notice"]) == ("fake", "0" * 64, fakes.NOTICE)
    assert model["thresholds"] == {"liver_cyst": [0.3, 0.7]}
    assert {
        "finding": "liver_cyst",
        "site": "liver",
        "probability": 0.932,
        "status": "present",
        "grounding": "voxel head",
    } in model["scores"]
    assert model["drafts"] == {"accepted": 1, "said_by_template": 0, "replaced": 1}
    report = Report.from_json((folder / "report.json").read_text())
    assert report == image_only.report
    assert report.model.notice == fakes.NOTICE
    assert report.replacements[0].rejected == "Hepatic cyst in segment II."


def test_the_report_follows_its_schema(image_only: GeneratedReport) -> None:
    import jsonschema

    schema = json.loads((Path(__file__).parents[2] / "docs" / "report.schema.json").read_text())
    jsonschema.validate(json.loads(image_only.report.to_json()), schema)


@pytest.mark.slow
def test_with_masks_the_masks_win(phantom: Phantom) -> None:
    model = fakes.FakeModel(
        {
            "liver_cyst": 0.95,
            "liver_metastasis": 0.9,
            "kidney_cyst@kidney_left": 0.1,
            "hydronephrosis@kidney_left": 0.88,
        }
    )
    alone = radvlm.generate_report(phantom.volume, segmentation=phantom.segmentation)
    both = radvlm.generate_report(phantom.volume, segmentation=phantom.segmentation, model=model)
    assert "Left hydronephrosis, seen by the model only, probability 0.88; not localized." in both.text
    body = both.text.split("FINDINGS:")[1]
    assert "metastasis, seen" not in body and "cyst, seen" not in body
    told = {s.text for s in both.sentences if s.section != "impression"}
    assert {s.text for s in alone.sentences if s.section != "impression"} <= told
    warned = [d.what for d in both.decisions if d.warning]
    assert any("saw liver metastasis (probability 0.90)" in w and "found none" in w for w in warned)
    assert any("did not see left renal cyst (probability 0.10)" in w for w in warned)
    assert both.report.model.agreements == ("The model also saw hepatic cyst (probability 0.95).",)
    given = next(findings for name, findings in model.calls if name == "read")
    assert given == cited(alone.sentences), "what the report without a model says, in its order"
    assert {"liver_cyst", "kidney_cyst_left"} <= {f.kind for f in given}


def test_without_masks_the_model_is_given_no_findings(phantom: Phantom) -> None:
    model = fakes.FakeModel()
    radvlm.generate_report(phantom.volume, model=model)
    assert model.calls == [("read", ())]


@pytest.mark.slow
def test_a_region_of_both_is_kept_apart(phantom: Phantom) -> None:
    """The model points at another liver than the masks show: two regions, each exactly its own."""
    ball = _ball(phantom, "liver", 5)
    model = fakes.FakeModel(
        {"hydronephrosis@kidney_right": 0.9}, masks={"liver": ball}, located={"hydronephrosis@kidney_right": "liver"}
    )
    made = radvlm.generate_report(phantom.volume, segmentation=phantom.segmentation, model=model)
    truth = phantom.segmentation.mask("liver")
    for name, mask in (("liver", truth), (f"{MODEL_REGION}liver", ball)):
        row = made.regions.row(name)
        assert row is not None and np.array_equal(np.isin(made.regions.labels, (row.label, *row.also)), mask)
    labels = np.unique(made.regions.labels)
    assert labels.tolist() == list(range(len(labels))), "labels run without gaps"


@pytest.mark.slow
def test_classify_answer_embed(phantom: Phantom) -> None:
    model = fakes.FakeModel({"liver_cyst": 0.9})
    found = radvlm.classify_findings(phantom.volume, model=model)
    assert next(s for s in found if s.finding == "liver_cyst").status is Status.PRESENT
    asked = radvlm.classify_findings(phantom.volume, model=model, findings=["a cyst", "a stone"])
    assert [s.finding for s in asked] == ["a cyst", "a stone"]
    assert radvlm.answer(phantom.volume, "Is there a cyst?", model=model).text == "Yes"
    assert model.calls[-1] == ("answer", ())
    radvlm.answer(phantom.volume, "Is there a cyst?", model=model, segmentation=phantom.segmentation)
    assert "liver_cyst" in {f.kind for f in model.calls[-1][1]}
    assert radvlm.embed(phantom.volume, model=model) @ radvlm.embed_text(["a", "b"], model=model)[1] == pytest.approx(1)


@pytest.mark.parametrize("question", ["", "  ?", 7, "why " * 200])
def test_bad_questions(question: object, phantom: Phantom) -> None:
    with pytest.raises(InputError):
        radvlm.answer(phantom.volume, question, model=fakes.FakeModel())  # type: ignore[arg-type]


@pytest.mark.parametrize("findings", ["liver cyst", [], [""], [3], ["a", "a"]])
def test_bad_findings(findings: object, phantom: Phantom) -> None:
    with pytest.raises(InputError):
        radvlm.classify_findings(phantom.volume, model=fakes.FakeModel(), findings=findings)  # type: ignore[arg-type]


@pytest.mark.slow
def test_what_is_no_model_is_refused(phantom: Phantom) -> None:
    with pytest.raises(InputError, match=r"object without .*read"):
        radvlm.generate_report(phantom.volume, model=object())
    other = make_phantom(PhantomSpec(seed=5, shape=(40, 40, 40), spacing_mm=(10.0, 10.0, 11.0)))

    class Elsewhere(fakes.FakeModel):  # type: ignore[name-defined]
        def read(self, volume: object, **_: object) -> object:
            return fakes.FakeModel(masks={"liver": _ball(other, "liver")}).read(other.volume)

    with pytest.raises(GridError, match="model's regions"):
        radvlm.generate_report(phantom.volume, model=Elsewhere())

    class Silent(fakes.FakeModel):  # type: ignore[name-defined]
        def read(self, volume: object, **_: object) -> object:
            return {}, None

    with pytest.raises(InputError, match="ModelOutput"):
        radvlm.generate_report(phantom.volume, model=Silent())


@pytest.mark.slow  # imports PyTorch
def test_a_model_that_does_not_exist_is_one_clear_error(phantom: Phantom) -> None:
    pytest.importorskip("radvlm.model.registry")
    with pytest.raises(RadvlmError):
        radvlm.generate_report(phantom.volume, model="no/such/model")

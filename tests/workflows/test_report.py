"""generate_report on every kind of input, on real scans, and its invariances."""

from __future__ import annotations

import itertools
from dataclasses import replace
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest

import radvlm
from radvlm.errors import GridError, InputError
from radvlm.phantom import Phantom, PhantomSpec, make_phantom
from radvlm.types.anatomy import structure
from radvlm.types.finding import Status, citable
from radvlm.types.geometry import reorder_array
from radvlm.types.study import Patient
from radvlm.workflows.report import ReportOptions, examination
from radvlm.workflows.saved_report import GeneratedReport


@pytest.fixture(scope="session")
def phantom() -> Phantom:
    return make_phantom(PhantomSpec(seed=5, shape=(80, 80, 80), spacing_mm=(5.0, 5.0, 5.5)))


@pytest.fixture(scope="module")
def generated(phantom: Phantom) -> GeneratedReport:
    return radvlm.generate_report(phantom.volume, segmentation=phantom.segmentation)


@pytest.mark.slow
def test_every_kind_of_input_gives_the_same_report(phantom: Phantom, tmp_path: Path) -> None:
    volume, masks = phantom.volume, phantom.segmentation
    affine = volume.geometry.affine
    image = nib.Nifti1Image(np.asarray(volume.hu), affine)
    nib.save(image, tmp_path / "ct.nii.gz")

    def body(source: object, **extra: Any) -> str:
        text = radvlm.generate_report(
            source, segmentation=masks, patient=phantom.patient, options=ReportOptions(**extra)
        ).text
        return text[text.index("TECHNIQUE") :]  # above it stands the DICOM title, which only a Volume carries

    expected = body(volume)
    assert len(expected) > 500
    for source, extra in (
        (tmp_path / "ct.nii.gz", {}),
        (str(tmp_path / "ct.nii.gz"), {}),
        (image, {}),
        (np.asarray(volume.hu), {"affine": affine}),
    ):
        assert body(source, **extra) == expected


@pytest.mark.slow
@pytest.mark.filterwarnings("default")  # importing MONAI warns
def test_a_monai_metatensor_is_read_by_its_own_affine(phantom: Phantom) -> None:
    import torch
    from monai.data import MetaTensor

    affine = phantom.volume.geometry.affine.copy()
    values = torch.from_numpy(np.asarray(phantom.volume.hu).copy())[None].float()
    tensor = MetaTensor(values, affine=torch.from_numpy(affine))
    volume = radvlm.load_volume(tensor)
    assert np.array_equal(volume.hu, phantom.volume.hu) and volume.geometry.same_grid(phantom.volume.geometry)


@pytest.mark.slow
def test_the_text_is_the_same_for_all_48_orientations(phantom: Phantom) -> None:
    """All that a report is made of is the same bit by bit for all 48; only the order in memory differs.

    The report itself is written for each order of the axes, twice, with every axis once as it is and once turned round.
    """
    hu, geometry = np.asarray(phantom.volume.hu), phantom.volume.geometry
    layer = phantom.segmentation.layers[0]
    mapping = {p.label: name for name, p in phantom.segmentation.places.items() if p.layer == 0}
    first: tuple[Any, Any] | None = None
    texts, seen = [], 0
    for number, order in enumerate(itertools.permutations(range(3))):
        turned = (-1 if number & 1 else 1, -1 if number & 2 else 1, -1 if number & 4 else 1)
        for signs in itertools.product((1, -1), repeat=3):
            stored = geometry.reordered(order, signs)
            volume = radvlm.load_volume(reorder_array(hu, order, signs).copy(), affine=stored.affine)
            masks = radvlm.load_segmentation(
                (reorder_array(layer, order, signs).copy(), stored.affine), like=volume, scheme=mapping
            )
            first = first or (volume, masks)
            assert np.array_equal(volume.hu, first[0].hu) and np.array_equal(volume.geometry.affine, geometry.affine)
            assert (volume.study, volume.decisions) == (first[0].study, first[0].decisions)
            assert volume.attenuation_doubt == first[0].attenuation_doubt
            assert len(masks.layers) == len(first[1].layers)
            assert all(np.array_equal(a, b) for a, b in zip(masks.layers, first[1].layers, strict=True))
            for name in ("places", "searched", "scheme", "decisions", "attenuation_doubt", "covered", "unsure"):
                assert getattr(masks, name) == getattr(first[1], name), name
            seen += 1
            if signs in (turned, tuple(-s for s in turned)):
                texts.append(radvlm.generate_report(volume, segmentation=masks).text)
    assert (seen, len(texts), len(set(texts))) == (48, 12, 1)


def test_without_masks_almost_everything_is_not_assessed(phantom: Phantom) -> None:
    report = radvlm.generate_report(phantom.volume)
    assert "not assessed" in report.text.lower()
    assert "unremarkable" not in report.text.lower() and "normal" not in report.text.lower()
    stated = {f.site for f in citable(report.findings) if f.status in (Status.PRESENT, Status.ABSENT) and f.site}
    assert stated <= {"body", "lung", "body_fat", "blood_before_spine"}, "what thresholds alone show"
    assert any(f.status is Status.NOT_ASSESSED for f in report.findings)


@pytest.mark.slow
def test_masks_alone_give_geometry_without_hu(phantom: Phantom) -> None:
    numbers = radvlm.measure(None, phantom.segmentation)
    full = radvlm.measure(phantom.volume, phantom.segmentation)
    assert numbers.phase is None
    for alone, both in zip(numbers.structures, full.structures, strict=True):
        assert alone.volume_ml == both.volume_ml and alone.mean_hu is None
        assert any(o.quantity == "mean_hu" for o in alone.omissions)


@pytest.mark.slow
def test_masks_on_another_grid_must_be_aligned_first(phantom: Phantom) -> None:
    other = make_phantom(PhantomSpec(seed=5, shape=(64, 64, 64), spacing_mm=(6.0, 6.0, 6.5)))
    report = radvlm.generate_report(phantom.volume, segmentation=other.segmentation)
    assert any("resampl" in d.what.lower() for d in report.decisions)
    with pytest.raises((GridError, InputError)):
        radvlm.generate_report(np.zeros((5, 5, 5)), segmentation=other.segmentation)


def test_the_callers_patient_wins_over_the_header(phantom: Phantom) -> None:
    from radvlm.workflows.report import merge_patient

    header = radvlm.Patient("M", 40)
    assert merge_patient(radvlm.Patient(age_years=63), header) == radvlm.Patient("M", 63)
    assert merge_patient(None, header) == header


@pytest.mark.slow
def test_every_sentence_is_grounded(generated: GeneratedReport) -> None:
    report = generated
    for sentence in report.sentences:
        assert sentence.finding_ids
        if any(f.status is Status.PRESENT and f.source == "masks" for f in sentence.findings):
            assert sentence.regions
    for region in report.report.regions:
        row = report.regions.row(region.id)
        assert row is not None
        assert int(np.isin(report.regions.labels, (row.label, *row.also)).sum()) == region.voxels


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("regions.csv", None),
        ("regions.csv", "a,b\n1,2\n"),
        ("regions.csv", "label,region,also\nx,liver,\n"),
        ("report.json", None),
        ("report.json", "{"),
        ("regions.nii.gz", "damaged"),
    ],
)
def test_damaged_regions_are_one_clear_error(
    name: str, content: str | None, generated: GeneratedReport, tmp_path: Path
) -> None:
    from radvlm.workflows.saved_report import load_regions

    folder = generated.save(tmp_path / "out", page=False)
    assert load_regions(folder) is not None
    if content is None:
        (folder / name).unlink()
    else:
        (folder / name).write_text(content)
    with pytest.raises(radvlm.RadvlmError):
        load_regions(folder)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("ct", "masks"),
    [
        ("upper_abdomen_dicom", "upper_abdomen_masks/segmentation.nii.gz"),
        ("plain_abdomen/ct.nii.gz", "plain_abdomen/segmentation.nii.gz"),
        ("plain_abdomen/ct.nii.gz", "plain_abdomen/segmentation_folder"),
    ],
)
def test_real_scans_are_reported_truthfully(ct: str, masks: str, real_data: Path) -> None:
    report = radvlm.generate_report(real_data / ct, segmentation=real_data / masks)
    text = report.text.lower()
    assert "incompletely imaged" in text
    for record in report.measurements.structures:
        if record.structure in ("liver", "spleen", "kidney_left", "kidney_right", "pancreas") and record.cut_by:
            sized = [
                f
                for f in citable(report.findings)
                if f.site == record.structure
                and f.status in (Status.PRESENT, Status.ABSENT)
                and ("size" in f.kind or "megaly" in f.kind)
            ]
            assert not sized, f"the size of the cut {record.structure} was judged"
    # TotalSegmentator `total` looks for no lesion but kidney cysts: no other lesion may be denied
    denied = [f for f in report.findings if f.status is Status.ABSENT and f.site and structure(f.site).kind == "lesion"]
    assert {f.site for f in denied} <= {"kidney_cyst_left", "kidney_cyst_right"}
    if "plain" in ct:
        assert report.measurements.phase is not None and report.measurements.phase.name == "non-contrast"
    for words in ("unremarkable liver", "no focal", "none"):
        assert words not in text.replace("comparison: none", "")


@pytest.mark.parametrize(
    ("kvp", "delay_s", "told"),
    [
        (120.0, 97.2, "120 kVp; 97 s after the injection, by the header."),
        (80.0, None, "80 kVp, by the header."),
        (None, 35.0, "35 s after the injection, by the header."),
        (None, None, None),
    ],
)
def test_the_head_says_tube_voltage_and_timing_of_the_header(phantom: Phantom, kvp, delay_s, told) -> None:
    study = replace(phantom.volume.study, kvp=kvp, contrast_delay_s=delay_s)
    head = dict(examination(replace(phantom.volume, study=study), phantom.segmentation, Patient()))
    assert head.get("Acquisition") == told

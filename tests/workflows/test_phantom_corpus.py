"""A corpus against the masks it was made from; resuming; nothing half done."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from radvlm.dataset.case import Case, Corpus
from radvlm.dataset.vocabulary import class_of, part_classes, voxel_classes
from radvlm.phantom import LesionSpec, Phantom, PhantomSpec, make_phantom
from radvlm.types.finding_kinds import finding_kinds
from radvlm.workflows import phantom_corpus as made_by
from radvlm.workflows.phantom_corpus import CorpusOptions, case_name, corpus_spec, voxel_labels, write_corpus

OPTIONS = CorpusOptions(spacing_mm=10.0, crowded=1.0, reports=False)


@pytest.fixture(scope="module")
def phantom() -> Phantom:
    """Findings of every kind of label: two that share a structure, fluids, a stone, one of a whole organ."""
    return make_phantom(
        PhantomSpec(
            seed=6,
            spacing_mm=(6.0, 6.0, 6.0),
            lesions=(
                LesionSpec("liver_cyst", 40),
                LesionSpec("liver_metastasis", 35),
                LesionSpec("kidney_cyst", 20, side="left"),
                LesionSpec("lytic_bone_lesion", 18, location="vertebrae_L3"),
                LesionSpec("sclerotic_bone_lesion", 14, location="vertebrae_T10"),
                LesionSpec("hydronephrosis", 28, side="right"),
                LesionSpec("pleural_effusion", 40, side="right"),
                LesionSpec("gallstone", 14),
                LesionSpec("splenomegaly", 600),
            ),
        )
    )


def _mask(phantom: Phantom, name: str) -> np.ndarray:
    if name not in phantom.segmentation.places:
        return np.zeros(phantom.volume.geometry.shape, bool)
    return phantom.segmentation.mask(name)


@pytest.mark.slow
def test_findings_are_exactly_their_masks(phantom: Phantom) -> None:
    """Every voxel of a lesion's mask is of a finding of that structure, and no other voxel is."""
    classes, _ = voxel_labels(phantom)
    names = voxel_classes()
    by_structure: dict[str, list[str]] = {}
    for f in finding_kinds().values():
        if f.structure:
            for side in ("left", "right"):
                by_structure.setdefault(f.structure.format(side=side), []).append(f.name)
    covered = np.zeros(classes.shape, bool)
    for structure, kinds in by_structure.items():
        mask = _mask(phantom, structure)
        found = np.isin(classes, [names.index(k) for k in kinds])
        assert not (mask & ~found).any(), structure
        covered |= mask
    assert np.array_equal(
        covered, np.isin(classes, [names.index(f.name) for f in finding_kinds().values() if f.structure])
    )
    held = {names[v] for v in np.unique(classes)}
    assert {
        "liver_cyst",
        "liver_metastasis",
        "kidney_cyst",
        "pleural_effusion",
        "lytic_bone_lesion",
        "sclerotic_bone_lesion",
    } <= held


def test_kinds_that_share_a_structure_are_told_apart_by_place(phantom: Phantom) -> None:
    classes, _ = voxel_labels(phantom)
    for kind in ("lytic_bone_lesion", "sclerotic_bone_lesion"):
        lesion = next(t for t in phantom.truth.lesions if t.kind == kind)
        where = np.argwhere(classes == voxel_classes().index(kind))
        distance = np.linalg.norm(phantom.volume.geometry.to_world(where) - np.array(lesion.center_mm), axis=1)
        assert len(where) and distance.max() < max(lesion.semi_axes_mm) + 6 * np.sqrt(3)


@pytest.mark.parametrize("organ", ["liver", "spleen", "kidney", "aorta", "lung", "urinary_bladder", "heart"])
def test_organs_are_their_masks_where_nothing_lies_in_them(phantom: Phantom, organ: str) -> None:
    classes, _ = voxel_labels(phantom)
    names = voxel_classes()
    mask = np.zeros(classes.shape, bool)
    for name in phantom.segmentation.places:
        if class_of(name) == names.index(organ):
            mask |= _mask(phantom, name)
    own = classes == names.index(organ)
    assert own.any() and not (own & ~mask).any()
    inside = {names[v] for v in np.unique(classes[mask])} - {organ}
    assert inside <= {f.name for f in finding_kinds().values()} | {"renal_pelvis"}, inside


def test_parts_are_their_masks(phantom: Phantom) -> None:
    _, parts = voxel_labels(phantom)
    for number, name in enumerate(part_classes()):
        if number and name in phantom.segmentation.places:
            assert np.array_equal(parts == number, _mask(phantom, name)), name
    assert {part_classes()[v] for v in np.unique(parts)} > {"liver_segment_6", "lung_upper_lobe_left", "vertebrae_L3"}


@pytest.mark.slow
def test_a_case_is_its_phantom_cut_to_the_body(tmp_path: Path) -> None:
    write_corpus(tmp_path, [3], OPTIONS)
    case = Case(tmp_path / case_name(3))
    spec = corpus_spec(3, OPTIONS)
    phantom = make_phantom(spec)
    offset = phantom.volume.geometry.to_index(case.affine_ras_mm[:3, 3])
    low = np.rint(offset).astype(int)
    assert np.allclose(offset, low)
    box = tuple(slice(a, a + n) for a, n in zip(low, case.shape, strict=True))
    assert np.array_equal(case.hu, phantom.volume.hu[box])
    classes, parts = voxel_labels(phantom)
    assert np.array_equal(case.classes, classes[box]) and np.array_equal(case.parts, parts[box])
    outside = np.ones(classes.shape, bool)
    outside[box] = False
    assert (phantom.volume.hu[outside] < -400).mean() > 0.99
    shown = {t.kind for t in phantom.truth.lesions if t.in_field != "outside"}
    assert {f for f, held in zip(finding_kinds(), case.findings, strict=True) if held} <= shown
    assert len(shown) >= 3, "a crowded phantom"
    assert (case.sex, case.phase) == (phantom.truth.sex, phantom.truth.phase)
    assert case.report is None


@pytest.mark.slow
def test_an_interrupted_corpus_goes_on_and_is_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[tuple[int, int]] = []
    write_corpus(tmp_path / "a", range(3), OPTIONS, progress=lambda done, of: told.append((done, of)))
    assert told == [(1, 3), (2, 3), (3, 3)]
    save, count = np.save, 0

    def failing(*args: Any, **kwargs: Any) -> None:
        nonlocal count
        count += 1
        if count == 5:  # in the middle of the second case
            raise KeyboardInterrupt
        save(*args, **kwargs)

    with monkeypatch.context() as patch:
        patch.setattr(made_by.np, "save", failing)
        with pytest.raises(KeyboardInterrupt):
            write_corpus(tmp_path / "b", range(3), OPTIONS)
    assert [p.name for p in (tmp_path / "b").iterdir()] == [case_name(0)], "complete or absent, nothing beside"
    before = (tmp_path / "b" / case_name(0) / "hu.npy").stat().st_mtime_ns
    told.clear()
    write_corpus(tmp_path / "b", range(3), OPTIONS, progress=lambda done, of: told.append((done, of)))
    assert told == [(2, 3), (3, 3)]
    assert (tmp_path / "b" / case_name(0) / "hu.npy").stat().st_mtime_ns == before
    for one, other in zip(Corpus(tmp_path / "a"), Corpus(tmp_path / "b"), strict=True):
        assert one.name == other.name
        for name in ("hu.npy", "classes.npy", "parts.npy", "case.json"):
            assert (one.folder / name).read_bytes() == (other.folder / name).read_bytes()


def test_specs() -> None:
    for seed in range(30):
        plain = corpus_spec(seed, CorpusOptions(spacing_mm=3.0, noise_hu=(7.0, 9.0), crowded=0.0))
        crowded = corpus_spec(seed, CorpusOptions(spacing_mm=3.0, noise_hu=(7.0, 9.0), crowded=1.0))
        assert 7 <= plain.noise_hu <= 9 and plain.spacing_mm == (3.0,) * 3
        kinds = {s.kind for s in crowded.lesions}  # type: ignore[union-attr]
        assert 6 <= len(kinds) <= 8 and len({s.kind for s in plain.lesions}) <= 5  # type: ignore[union-attr]
        without = corpus_spec(
            seed, CorpusOptions(spacing_mm=3.0, noise_hu=(7.0, 9.0), crowded=1.0, left_out=tuple(kinds))
        )
        assert without.lesions == () and without.healthy
        assert crowded == corpus_spec(seed, CorpusOptions(spacing_mm=3.0, noise_hu=(7.0, 9.0), crowded=1.0))
    assert corpus_spec(1, CorpusOptions(spacing_mm=None, noise_hu=(5, 5), crowded=0)).spacing_mm is None
    assert (
        len({corpus_spec(n, CorpusOptions(spacing_mm=3.0, noise_hu=(5, 16), crowded=0)).noise_hu for n in range(9)})
        == 9
    )


def test_left_out_kinds_are_left_out(tmp_path: Path) -> None:
    kinds = {s.kind for s in corpus_spec(4, OPTIONS).lesions}  # type: ignore[union-attr]
    gone = sorted(kinds)[:2]
    write_corpus(tmp_path, [4], replace(OPTIONS, left_out=tuple(gone)))
    held = {row["kind"] for row in json.loads((tmp_path / case_name(4) / "case.json").read_text())["truth"]["lesions"]}
    assert held and not held & set(gone)


@pytest.mark.slow
def test_reports_are_those_of_the_masks(tmp_path: Path) -> None:
    import radvlm

    write_corpus(tmp_path, [5], replace(OPTIONS, reports=True))
    case = Case(tmp_path / case_name(5))
    phantom = make_phantom(corpus_spec(5, OPTIONS))
    made = radvlm.generate_report(phantom.volume, segmentation=phantom.segmentation)
    assert case.report is not None
    assert [row["text"] for row in case.report["sentences"]] == [s.text for s in made.sentences]
    cited = {name for row in case.report["sentences"] for name in row["findings"]}
    stored = case.report["findings"]
    assert cited <= {*stored, *(a["id"] for row in stored.values() for a in row["assessments"])}

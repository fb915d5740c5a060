"""What attenuation alone shows: each detector finds what is there and nothing of what only looks like it."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from scipy.ndimage import binary_dilation, binary_erosion

from radvlm import Patient, generate_report
from radvlm.io import load_segmentation, load_volume
from radvlm.phantom import make_phantom
from radvlm.phantom.spec import PhantomSpec
from radvlm.quantify import measure_scan
from radvlm.quantify.foci import agatston
from radvlm.types.scan_measurements import Measurements

pytestmark = pytest.mark.slow
SPACING = (2.5, 2.5, 3.0)
AFFINE = np.diag([*SPACING, 1.0])
SHAPE = (88, 80, 48)
PLAIN = {"liver": 58, "spleen": 48, "kidney_left": 33, "pancreas": 42, "aorta": 42, "portal_vein": 42}
VENOUS = {"liver": 112, "spleen": 118, "kidney_left": 175, "pancreas": 95, "aorta": 160, "portal_vein": 172}


def _ball(center, radius_mm):
    grid = np.ogrid[: SHAPE[0], : SHAPE[1], : SHAPE[2]]
    return sum(((g - c) * s) ** 2 for g, c, s in zip(grid, center, SPACING, strict=True)) < radius_mm**2


def _tube(i, j, radius_mm):
    grid = np.ogrid[: SHAPE[0], : SHAPE[1], : SHAPE[2]]
    flat = ((grid[0] - i) * SPACING[0]) ** 2 + ((grid[1] - j) * SPACING[1]) ** 2 < radius_mm**2
    return np.broadcast_to(flat, SHAPE)


ORGANS = {
    "liver": _ball((58, 44, 24), 48),
    "spleen": _ball((16, 34, 26), 24),
    "kidney_left": _ball((22, 14, 16), 20),
    "pancreas": _ball((30, 50, 14), 16),
    "aorta": _tube(40, 16, 11),
    "portal_vein": _tube(36, 62, 7),
}


def _scan(levels, changes=(), noise_hu=10.0, extra=None):
    """The organs at these levels; each change is (mask, HU), ``extra`` further masks."""
    hu = np.where(_tube(44, 40, 105), -90.0, -1000.0)
    for name, mask in ORGANS.items():
        hu[mask] = levels[name]
    for mask, value in changes:
        hu[mask] = value
    hu += np.random.default_rng(0).normal(0, noise_hu, SHAPE)
    scan = load_volume(hu.astype(np.int16), affine=AFFINE)
    layers = {n: (m.astype(np.uint8), scan.geometry.affine) for n, m in (ORGANS | (extra or {})).items()}
    return scan, load_segmentation(layers, like=scan)


def _found(*args, **options):
    return {(f.kind, f.structure): f for f in measure_scan(*_scan(*args, **options)).foci}


@pytest.mark.parametrize("levels", [PLAIN, VENOUS])
@pytest.mark.parametrize("noise_hu", [25.0])
def test_nothing_is_found_in_even_organs(levels, noise_hu):
    assert _found(levels, noise_hu=noise_hu) == {}


@pytest.mark.parametrize(
    ("organ", "center"), [("kidney_left", (22, 14, 16)), ("liver", (60, 40, 20)), ("spleen", (16, 34, 24))]
)
def test_a_dense_focus_on_a_plain_scan(organ, center):
    stone = _ball(center, 5)
    (found,) = _found(PLAIN, [(stone, 900)]).values()
    assert (found.kind, found.structure, found.count) == ("high_attenuation_focus", organ, 1)
    numbers = {m.quantity: m.value for m in found.measurements}
    assert numbers["volume"] == pytest.approx(stone.sum() * np.prod(SPACING) / 1000)
    assert numbers["mean_hu"] == pytest.approx(900, abs=10) and 7.5 < numbers["diameter"] < 14
    assert _found(VENOUS, [(stone, 900)]) == {}, "with contrast a dense vessel looks the same"
    assert (
        _found(
            PLAIN,
            [(stone, 900)],
            extra={
                {"kidney_left": "kidney_stone_left", "liver": "liver_calcification"}.get(organ, "spleen_lesion"): stone
            },
        )
        == {}
    )


def test_bone_lung_and_bowel_that_reach_into_a_mask_are_no_focus():
    rib = _ball((6, 34, 26), 18)
    lung = _ball((58, 44, 46), 34)
    bowel = _ball((22, 4, 16), 16)
    assert _found(PLAIN, [(rib, 500), (lung, -850), (bowel, -900)]) == {}


def test_a_stone_that_the_mask_of_its_kidney_leaves_out_is_measured_whole():
    stone = _ball((22, 14, 16), 6)
    left_out = stone & (np.arange(SHAPE[0]) >= 24)[:, None, None]  # a quarter of it
    whole = _found(PLAIN, [(stone, 900)])["high_attenuation_focus", "kidney_left"]
    scan, masks = _scan(PLAIN, [(stone, 900)])
    kidney = masks.mask("kidney_left") & ~left_out
    layers = {"kidney_left": (kidney.astype(np.uint8), scan.geometry.affine)}
    layers |= {n: (m.astype(np.uint8), scan.geometry.affine) for n, m in ORGANS.items() if n != "kidney_left"}
    (found,) = measure_scan(scan, load_segmentation(layers, like=scan)).foci
    assert found.count == 1
    for quantity in ("volume", "diameter", "mean_hu"):
        values = [next(m.value for m in f.measurements if m.quantity == quantity) for f in (found, whole)]
        assert values[0] == pytest.approx(values[1], rel=0.02), quantity


@pytest.mark.parametrize("levels", [PLAIN, VENOUS])
def test_gas_in_an_organ_or_the_portal_vein(levels):
    liver = _found(levels, [(_ball((66, 46, 24), 6), -700)])
    assert list(liver) == [("gas_focus", "liver")]
    vein = _found(levels, [(_ball((36, 62, 20), 4), -600), (_ball((36, 62, 34), 4), -600)])
    assert list(vein) == [("gas_focus", "portal_vein")] and vein["gas_focus", "portal_vein"].count == 2


@pytest.mark.parametrize("value", [-320, -600])
def test_a_part_of_lung_in_the_outermost_voxels_of_the_spleen_is_no_gas(value):
    spleen = ORGANS["spleen"]
    edge = spleen & ~binary_erosion(spleen) & (np.arange(SHAPE[2]) > 30)[None, None, :]
    fluid = binary_dilation(spleen, iterations=4) & ~spleen
    changes = [(fluid, 5), (edge, value)]
    assert _found(VENOUS, changes, extra={"pleural_effusion_left": fluid}) == {}
    within = _found(VENOUS, [*changes, (_ball((16, 34, 26), 4), -600)], extra={"pleural_effusion_left": fluid})
    assert [(kind, name, f.count) for (kind, name), f in within.items()] == [("gas_focus", "spleen", 1)]


def test_what_only_passes_the_limit_of_gas_is_fat_or_a_part_of_gas():
    assert _found(VENOUS, [(_ball((60, 40, 20), 5), -320)]) == {}


@pytest.mark.parametrize(("levels", "low"), [(PLAIN, 5), (VENOUS, 40)])
def test_a_large_low_area_but_no_streak_and_nothing_that_a_mask_names(levels, low):
    area = _ball((62, 46, 24), 20)
    found = _found(levels, [(area, low)])
    assert list(found) == [("low_attenuation_area", "liver")]
    numbers = {m.quantity: m.value for m in found["low_attenuation_area", "liver"].measurements}
    assert numbers["mean_hu"] == pytest.approx(low, abs=14) and 10 < numbers["volume"] < 34
    assert _found(levels, [(area, low)], extra={"liver_cyst": area}) == {}
    streak = ORGANS["liver"] & (np.abs(np.arange(SHAPE[1]) - 42) < 2)[None, :, None]
    assert _found(levels, [(streak, low)]) == {}


def test_a_pancreas_of_fat_and_tissue():
    assert list(_found(PLAIN | {"pancreas": 10})) == [("low_attenuation_organ", "pancreas")]
    assert _found(PLAIN | {"pancreas": 38}) == {}
    assert _found(VENOUS | {"pancreas": 60}) == {}, "with contrast no limit is known"


@pytest.mark.parametrize("levels", [PLAIN, VENOUS])
def test_calcium_along_the_aorta_but_not_the_spine_beside_it(levels):
    wall = ORGANS["aorta"] & ~_tube(40, 16, 8.5) & (np.arange(SHAPE[1]) < 14)[None, :, None]
    wall = wall & (np.arange(SHAPE[2]) % 12 < 5)[None, None, :]
    found = _found(levels, [(wall, 800)])
    assert list(found) == [("wall_calcium", "aorta")]
    volume = found["wall_calcium", "aorta"].measurements[0].value
    assert volume == pytest.approx(wall.sum() * np.prod(SPACING) / 1000, rel=0.05)
    spine = _tube(40, 4, 20)
    assert _found(levels, [(spine & ~ORGANS["aorta"], 600)]) == {}
    assert _found(levels, [(spine & ~_tube(40, 17, 11), 600)]) == {}, "a mask that slipped onto bone"


def test_the_report_says_it_and_its_sentences_are_verified():
    changes = [(_ball((22, 14, 16), 5), 900), (_ball((36, 62, 20), 4), -600), (_ball((62, 46, 24), 20), 5)]
    scan, masks = _scan(PLAIN | {"pancreas": 8}, changes)
    report = generate_report(scan, segmentation=masks, patient=Patient(sex="F", age_years=50))
    said = [s.text for s in report.sentences]
    assert any(
        text.startswith("Focus of high attenuation in the interpolar region of the left kidney, ") for text in said
    )
    assert "focus of high attenuation in the left kidney; possible small pancreas" in said[-1]
    assert said[-1].endswith("attenuation in the range of tissue mixed with fat in the pancreas.")
    assert sum(text.startswith("Area of low attenuation in the liver, ") for text in said) == 2
    assert any(text.startswith("Parenchymal attenuation in the range of tissue mixed with fat, ") for text in said)
    assert "urinary stones other than dense foci of the kidneys" in report.text
    first = next(s.text for s in report.sentences if s.section == "impression")
    assert first.startswith("Focus of gas in the portal vein, ")
    again = Measurements.from_json(report.measurements.to_json())
    assert again.foci == report.measurements.foci and "gas_focus:portal_vein" in report.measurements.to_csv()


def test_each_sentence_from_voxels_has_its_own_region():
    first, second = _ball((18, 14, 18), 3.2), _ball((26, 16, 20), 3.8)
    area = _ball((62, 46, 24), 20)
    scan, masks = _scan(PLAIN | {"pancreas": 8}, [(first, 700), (second, 800), (area, 5)])
    report = generate_report(scan, segmentation=masks, patient=Patient(sex="F", age_years=50))
    (said,) = (s for s in report.sentences if "high attenuation" in s.text and s.section == "kidneys")
    numbers = {m.quantity: m.value for m in said.measurements}
    voxel_ml = np.prod(SPACING) / 1000
    assert numbers["count"] == 2 and numbers["mean_hu"] == pytest.approx(800, abs=10)
    assert numbers["volume"] == pytest.approx((first.sum() + second.sum()) * voxel_ml)
    assert said.text.startswith("Two foci of high attenuation in the left kidney, volume 0.3 mL; the largest "), said
    painted = report.regions
    row = painted.row(said.regions[0].id)
    assert np.array_equal(np.isin(painted.labels, (row.label, *row.also)), first | second)
    row = painted.row("low_attenuation_area:liver")
    held = np.isin(painted.labels, (row.label, *row.also))
    assert (held & ~area).sum() == 0 and held.sum() > 0.4 * area.sum()
    of_pancreas, last = (s for s in report.sentences if "mixed with fat" in s.text)
    assert [r.id for r in of_pancreas.regions] == ["pancreas"] and last.text.startswith("Also described")
    (difference,) = (s for s in report.sentences if s.text.startswith("Attenuation difference"))
    assert [r.id for r in difference.regions] == ["liver", "spleen"]
    for sentence in report.sentences:
        assert sentence.regions or sentence.section == "technique", sentence.text


@pytest.mark.parametrize(("spleen", "open_question"), [(24, True), (52, False)])
def test_criteria_of_steatosis_that_disagree_are_one_open_statement(spleen, open_question):
    scan, masks = _scan(PLAIN | {"liver": 36, "spleen": spleen})
    report = generate_report(scan, segmentation=masks, patient=Patient(sex="F", age_years=50))
    liver = next(f for f in report.findings if f.kind == "organ" and f.site == "liver")
    by_rule = {a.rule.id: a for a in liver.assessments}
    attenuation = by_rule["liver_attenuation"]
    assert (str(attenuation.status) == "indeterminate") == open_question
    headlines = [s.text for s in report.sentences if s.section == "impression" and "iver att" in s.text]
    assert bool(headlines) != open_question
    said = next(s.text for s in report.sentences if "parenchymal attenuation" in s.text)
    words = "moderate to severe steatosis, but not below the spleen, so that the criteria disagree."
    assert said.endswith(words) == open_question


def test_an_organ_has_one_attenuation_and_an_agent_of_the_header_is_told():
    scan, masks = _scan(PLAIN | {"pancreas": 8})
    report = generate_report(scan, segmentation=masks)
    assert sum("attenuation" in s.text for s in report.sentences if s.section == "pancreas") == 1
    scan = replace(scan, study=replace(scan.study, contrast_agent="Iohexol"))
    said = [s.text for s in generate_report(scan).sentences]
    assert "Contrast phase uncertain; contrast agent given by the header." in said


def test_nothing_is_found_in_a_healthy_phantom():
    spec = PhantomSpec(seed=5, region="abdomen", spacing_mm=(5, 5, 6), phase="non-contrast", noise_hu=30, healthy=True)
    phantom = make_phantom(spec)
    assert measure_scan(phantom.volume, phantom.segmentation).foci == ()


def test_the_score_of_a_made_lesion_is_that_of_its_definition():
    hu = np.zeros((20, 20, 4), np.int16)
    hu[2:6, 2:6, 1], hu[3, 3, 1] = 150, 250  # 16 pixels of 0.25 mm2, peak over 200: 4 mm2 x 2
    hu[10:14, 10:12, 2] = 420  # 2 mm2 x 4
    hu[0, 0, 3] = 900  # below 1 mm2
    assert agatston(hu, (0.5, 0.5, 3.0)) == pytest.approx(16.0)
    assert agatston(hu, (0.5, 0.5, 1.5)) == pytest.approx(8.0)


@pytest.mark.parametrize(("kvp", "why"), [(120.0, ""), (100.0, "at 120 kVp"), (None, "not stated")])
def test_calcium_in_the_heart_has_a_score_where_the_scan_allows(kvp, why):
    heart = _ball((60, 60, 36), 24)
    scan, masks = _scan(PLAIN, [(heart, 42), (_ball((60, 60, 38), 6), 500)], noise_hu=8, extra={"heart": heart})
    scan = replace(scan, study=replace(scan.study, kvp=kvp))
    (found,) = measure_scan(scan, masks).foci
    assert (found.kind, found.structure) == ("calcium_focus", "heart")
    quantities = {m.quantity for m in found.measurements}
    assert ("calcium_score" in quantities) == (not why)
    assert [why in o.reason for o in found.omissions] == ([True] if why else [])
    text = generate_report(scan, segmentation=masks).text
    assert "calcium attenuation in the heart" in text and ("calcium score of the heart: " in text) == bool(why)

"""Diameters of tubes whose size is known: straight, tilted, curved, with a bulge, a branch, or cut by the scan."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

import hand_made
import solids
from radvlm.compose.report import compose_report
from radvlm.interpret import interpret, load_rules
from radvlm.io import load_segmentation, load_volume
from radvlm.phantom import LesionSpec, PhantomSpec, make_phantom
from radvlm.quantify import measure_scan
from radvlm.quantify.vessel import measure_diameter, vessel_sections
from radvlm.types.finding import citable
from radvlm.types.measurement import Measurement, Omission
from radvlm.types.study import Patient

GRIDS = ((1.0, 1.0, 1.0), (0.7, 0.7, 3.0), (2.0, 2.0, 5.0))
TURN = np.array([[0.96, -0.28, 0.0], [0.28, 0.96, 0.0], [0.0, 0.0, 1.0]])


def drawn(points, radii, spacing, box=None) -> np.ndarray:
    """Voxels within ``radii`` (n,) of ``points`` (n, 3) in mm, or that part of them inside ``box`` (low, high)."""
    points, radii, spacing = np.asarray(points, float), np.broadcast_to(radii, len(points)), np.array(spacing)
    low, high = (points.min(0) - radii.max() - 9.3, points.max(0) + radii.max() + 9) if box is None else box
    counts = np.ceil((np.array(high) - low) / spacing).astype(int)
    axes = [low[a] + np.arange(counts[a]) * spacing[a] for a in range(3)]
    mask = np.zeros(counts, dtype=bool)
    for point, radius in zip(points, radii, strict=True):
        part = tuple(slice(*np.searchsorted(axes[a], (point[a] - radius, point[a] + radius))) for a in range(3))
        x, y, z = np.ix_(*[axes[a][part[a]] - point[a] for a in range(3)])
        mask[part] |= x**2 + y**2 + z**2 <= radius**2
    return mask


def straight(degrees: float, length: float = 160.0) -> np.ndarray:
    tilt = np.radians(degrees)
    return np.linspace(0, length, 240)[:, None] * [0.8 * np.sin(tilt), 0.6 * np.sin(tilt), np.cos(tilt)]


def arch(radius: float = 45.0) -> np.ndarray:
    turn = np.linspace(0, np.pi, 240)
    return np.column_stack([radius * np.cos(turn), 3 * turn, radius * np.sin(turn)])


def aorta(mask, spacing, rotation=None):
    return solids.segmentation({"aorta": mask}, solids.geometry(mask.shape, spacing, rotation))


def diameter_of(segmentation) -> Measurement:
    found, note = measure_diameter(segmentation, "aorta")
    assert isinstance(found, Measurement) and not note, (found, note)
    return found


@pytest.mark.slow
@pytest.mark.parametrize("spacing", GRIDS)
@pytest.mark.parametrize("radius", [8, 14, 25])
@pytest.mark.parametrize("shape", [0, 30, 45, "arch"])
def test_a_tube_has_its_diameter(shape, radius, spacing):
    points = arch() if shape == "arch" else straight(shape)
    segmentation = aorta(drawn(points, radius, spacing), spacing)
    assert diameter_of(segmentation).value == pytest.approx(2 * radius, abs=max(1.5, *spacing))
    sections = vessel_sections(segmentation, "aorta")[0]
    assert np.median([s.largest_mm for s in sections]) == pytest.approx(2 * radius, abs=max(1.0, max(spacing) / 2))


@pytest.mark.slow
@pytest.mark.parametrize("radius", [14, 20, 25])
def test_sections_near_the_flat_ends_of_a_tube_are_no_wider(radius):
    """Planes near an end are across the tube as well: its cap does not pull their directions to one side."""
    segmentation = aorta(drawn(straight(12), radius, (1, 1, 1)), (1, 1, 1))
    mask = segmentation.mask("aorta")
    inside = np.flatnonzero(mask.any((0, 1)))
    flat = np.zeros_like(mask)
    cut = slice(inside[0] + radius, inside[-1] - radius)
    flat[:, :, cut] = mask[:, :, cut]  # ends as a segmentation has them, not rounded
    sections = vessel_sections(aorta(flat, (1, 1, 1)), "aorta")[0]
    assert len(sections) > 15
    assert max(s.largest_mm for s in sections) == pytest.approx(2 * radius, abs=0.8)


@pytest.mark.slow
@pytest.mark.parametrize("spacing", GRIDS)
@pytest.mark.parametrize("degrees", [0, 40])
def test_a_bulge_is_measured_where_it_is_widest(degrees, spacing):
    points = straight(degrees)
    along = np.linspace(0, 160, len(points))
    mask = drawn(points, 10 + 10 * np.exp(-0.5 * ((along - 90) / 15) ** 2), spacing)
    segmentation = aorta(mask, spacing)
    found = diameter_of(segmentation)
    assert found.value == pytest.approx(40, abs=max(1.5, *spacing))
    first, second = map(np.array, found.points_mm)
    assert np.linalg.norm(first - second) == pytest.approx(found.value)
    low = points.min(0) - 20 - 9.3  # where `drawn` puts the first voxel; the geometry puts it at 0
    middle = (first + second) / 2 + low
    assert np.linalg.norm(middle - points[np.abs(along - 90).argmin()]) < 6
    direction = (points[-1] - points[0]) / np.linalg.norm(points[-1] - points[0])
    assert abs((second - first) @ direction) / found.value < 0.1  # perpendicular within 6 degrees
    assert min(spacing) - 1e-9 <= found.uncertainty <= max(spacing) + 1e-9
    assert found.slice_index is None and found.unit == "mm"


def test_an_oval_tube_gives_its_longer_diameter():
    x, y, z = np.ogrid[-20:20.5, -20:20.5, 0:80]
    mask = np.broadcast_to((x / 13) ** 2 + (y / 10) ** 2 <= 1, (41, 41, 80)) & (z > 3) & (z < 76)
    assert diameter_of(aorta(mask, (1, 1, 1))).value == pytest.approx(26, abs=1.2)


@pytest.mark.parametrize("reach", [12, 16, 32])
def test_a_side_branch_does_not_widen_its_parent(reach):
    spacing = (1.0, 1.0, 1.5)
    box = ((-20, -60, -15), (20, 20, 135))
    mask = drawn(straight(0, 120), 10, spacing, box)
    for height, radius in ((45, 2.5), (60, 3.0), (75, 3.5)):
        branch = np.linspace(0, 1, 60)[:, None] * [0, -reach, 0] + [0, 0, height]
        mask |= drawn(branch, radius, spacing, box)
    assert diameter_of(aorta(mask, spacing)).value == pytest.approx(20, abs=1.5)


@pytest.mark.slow
def test_an_oblique_grid_changes_little():
    mask = drawn(straight(30), 12, (1, 1, 2))
    plain, turned = diameter_of(aorta(mask, (1, 1, 2))), diameter_of(aorta(mask, (1, 1, 2), TURN))
    assert turned.value == pytest.approx(plain.value, abs=1e-6)
    assert np.array(turned.points_mm) == pytest.approx(np.array(plain.points_mm) @ TURN.T, abs=1e-6)


@pytest.mark.parametrize("degrees", [0, 30])
def test_a_vessel_cut_above_and_below_is_measured_between(degrees):
    points, spacing = straight(degrees), (1.0, 1.0, 2.0)
    mask = drawn(points, 12, spacing, (points.min(0) - [20, 20, -40], points.max(0) + np.array([20, 20, -40])))
    segmentation = aorta(mask, spacing)
    assert segmentation.cut_faces("aorta") == ("inferior", "superior")
    assert diameter_of(segmentation).value == pytest.approx(24, abs=2)


def test_sections_that_leave_the_field_of_view_are_left_out():
    points, spacing = straight(20), (1.0, 1.0, 1.0)
    mask = drawn(points, 12, spacing, (points.min(0) - [20, 20, 20], [points.max(0)[0] - 8, *(points.max(0)[1:] + 20)]))
    segmentation = aorta(mask, spacing)
    assert "right" in segmentation.cut_faces("aorta")
    sections = vessel_sections(segmentation, "aorta")[0]
    ends = np.array([s.ends_mm for s in sections])
    assert len(sections) > 20 and ends[..., 0].max() < mask.shape[0] - 1.5
    assert all(s.smallest_mm == pytest.approx(24, abs=1.2) for s in sections)


def test_what_cannot_be_measured_says_why():
    def reason(mask, spacing=(1.0, 1.0, 1.0)):
        found, _ = measure_diameter(aorta(mask, spacing), "aorta")
        assert isinstance(found, Omission) and found.quantity == "diameter"
        return found.reason

    flat = solids.ellipsoid((60, 60, 1), (1, 1, 5), (30, 30, 0), (12, 12, 5))
    assert "too short" in reason(flat, (1, 1, 5))
    assert "too short" in reason(solids.ellipsoid((60, 60, 4), (1, 1, 5), (30, 30, 7), (12, 12, 500)), (1, 1, 5))
    assert "too short" in reason(solids.ellipsoid((60, 60, 60), (1, 1, 1), (30, 30, 30), (15, 15, 15)))
    assert "too short" in reason(np.ones((8, 8, 8), dtype=bool))
    thread = np.zeros((9, 9, 60), dtype=bool)
    thread[4, 4, 4:56] = True
    assert "too narrow" in reason(thread, (1, 1, 3))
    slab = np.zeros((41, 30, 80), dtype=bool)
    slab[4:37, 12:20, 4:76] = True  # 33 by 8 mm
    assert "round" in reason(slab)


@pytest.mark.slow
def test_a_wider_section_that_is_not_round_is_mentioned():
    mask = drawn(straight(0), 8, (1, 1, 1), ((-45, -20, -15), (45, 20, 175)))
    x, y, z = np.ogrid[-45:45, -20:20, -15:175]
    mask |= ((x / 34) ** 2 + (y / 12) ** 2 <= 1) & (abs(z - 80) < 20)
    found, note = measure_diameter(aorta(mask, (1, 1, 1)), "aorta")
    assert isinstance(found, Measurement) and found.value < 45
    assert "sections of aorta wider" in note
    said = [d.what for d in measure_scan(None, aorta(mask, (1, 1, 1))).decisions]
    assert any("24 mm, is that of the largest ball inside" in what for what in said), "the plate is 24 mm thick"


@pytest.mark.slow
def test_the_aorta_counts_below_the_diaphragm_where_vertebrae_tell():
    points = straight(0, 240)
    along = np.linspace(0, 240, len(points))
    wide_above = 10 + 8 * np.exp(-0.5 * ((along - 180) / 15) ** 2) + 4 * np.exp(-0.5 * ((along - 60) / 15) ** 2)
    box = ((-40, -70, -20), (40, 40, 262))
    masks = {"aorta": drawn(points, wide_above, (2, 2, 2), box)}
    for name, height in (("L3", 40), ("L1", 90), ("T12", 120), ("T10", 180)):
        masks[f"vertebrae_{name}"] = drawn([[0, -50, height]], 11, (2, 2, 2), box)
    geometry = solids.geometry(masks["aorta"].shape, (2.0, 2.0, 2.0))
    every = measure_scan(None, solids.segmentation(masks, geometry)).structure("aorta").measurement("diameter")
    assert every.value == pytest.approx(28, abs=2)
    without = {name: mask for name, mask in masks.items() if name in ("aorta", "vertebrae_T10")}
    overall = measure_scan(None, solids.segmentation(without, geometry)).structure("aorta").measurement("diameter")
    assert overall.value == pytest.approx(28, abs=2), "the wider part is that at T10, which is thoracic"


def test_an_undivided_pulmonary_artery_is_a_trunk():
    mask = drawn(straight(0), 12, (2, 2, 2))
    record = measure_scan(None, solids.segmentation({"pulmonary_artery": mask})).structure("pulmonary_artery")
    assert record.measurement("diameter") is None  # of no part in particular
    assert {o.quantity for o in record.omissions} >= {"right_branch_diameter", "left_branch_diameter"}
    assert record.measurement("trunk_diameter").value == pytest.approx(12, abs=2)  # the grid is 1 mm


AROUND_THE_AORTA = ((0.3, 0.7), (0.1, 0.7), (0, 1))  # with the bodies of the vertebrae, and away from the scan's edge


def aneurysm_finding(phantom):
    """What is found where the aorta and the vertebrae are segmented, and nothing else."""
    masks = phantom.segmentation
    held = {n: masks.mask(n) for n in masks.present if n == "aorta" or n.startswith("vertebrae_")}
    found = interpret(measure_scan(None, solids.segmentation(held, masks.geometry)), patient=phantom.patient)
    return next(f for f in citable(found) if f.kind == "abdominal_aortic_aneurysm")


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(6))
def test_the_aneurysm_of_a_phantom(seed):
    phantom = make_phantom(
        PhantomSpec(
            seed=seed,
            region="abdomen-pelvis",
            spacing_mm=(2, 2, 3),
            crop=AROUND_THE_AORTA,
            lesions=(LesionSpec("aortic_aneurysm"),),
        )
    )
    finding = aneurysm_finding(phantom)
    truth = {name: value for name, value, _ in phantom.truth.lesions[0].facts}["diameter"]
    assert finding.category == "aneurysmal"
    assert finding.measurement("diameter").value == pytest.approx(truth, abs=1.5)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(10, 20))
def test_a_healthy_phantom_has_no_aneurysm(seed):
    region = "chest-abdomen-pelvis" if seed < 13 else "abdomen"
    phantom = make_phantom(
        PhantomSpec(seed=seed, region=region, spacing_mm=(2, 2, 3), crop=AROUND_THE_AORTA, lesions=(), healthy=True)
    )
    finding = aneurysm_finding(phantom)
    assert (finding.status, finding.category) == ("absent", "not dilated")


@pytest.mark.slow
def test_real_aortas(real_data):
    """Compared with the axial long axis of the same masks, which an oblique vessel can only lengthen."""
    volume = load_volume(real_data / "plain_abdomen" / "ct.nii.gz")
    masks = load_segmentation(real_data / "plain_abdomen" / "segmentation.nii.gz", like=volume)
    assert 19 < diameter_of(masks).value < 26
    volume = load_volume(real_data / "upper_abdomen_dicom")
    masks = load_segmentation(real_data / "upper_abdomen_masks" / "segmentation.nii.gz", like=volume)
    assert 27 < diameter_of(masks).value < 31.2


@pytest.mark.slow
@pytest.mark.parametrize(
    ("spacing", "sizes"),
    [
        ((1.0, 1.0, 1.0), (24, 30, 56)),
        ((3.0, 3.0, 3.0), (24, 25, 27, 29, 30, 31, 33, 40, 53, 55, 60)),
        ((5.0, 5.0, 5.0), (24, 25, 27, 29, 30, 31, 33, 40, 53, 55, 60)),
        ((1.5, 1.5, 5.0), (25, 30, 31, 55)),
    ],
)
def test_on_no_grid_is_an_aneurysm_silent(spacing, sizes):
    """The class of the true diameter is always among those that are said, and the number is said."""
    rule = load_rules().rule("abdominal_aorta_diameter")
    for size in sizes:
        points = straight(20, 110.0)[::3]
        found = diameter_of(aorta(drawn(points, size / 2, spacing), spacing))
        assert abs(found.value - size) <= found.uncertainty + 0.3, (size, spacing, found)
        record = hand_made.organ("aorta", 90, 150)
        record = replace(record, measurements=(*record.measurements, replace(found, points_mm=(), region_id="aorta")))
        findings = interpret(hand_made.numbers([record]), patient=Patient(sex="M", age_years=72))
        (said,) = [a for a in citable(findings) if a.kind == "abdominal_aortic_aneurysm"]
        truth = next(c for c in rule.classes if c.holds(size))
        assert truth.category in (said.possible or (said.category,)), (size, spacing, found.value, said.category)
        text = compose_report(findings).text
        assert f"{round(found.value / 10 + 1e-9, 1):.1f} cm" in text, (size, text)
        if size >= 30:
            assert "aneurysmal" in text.split("IMPRESSION")[1].lower(), (size, spacing, text)

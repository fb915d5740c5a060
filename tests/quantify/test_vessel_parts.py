"""Diameter, area and length of tubes and of the named parts of vessels."""

from __future__ import annotations

import numpy as np
import pytest

import analytic
import solids
from radvlm.phantom import PhantomSpec, make_phantom
from radvlm.quantify import measure_scan
from radvlm.quantify.vessel import vessel_sections
from radvlm.quantify.vessel_parts import measure_parts, whole_length


@pytest.mark.slow
@pytest.mark.parametrize("spacing", [(1.0, 1.0, 1.0), (0.7, 0.7, 3.0), (2.0, 2.0, 3.0)])
@pytest.mark.parametrize("kind", ["oblique", "curved"])
def test_area_and_length_of_a_tube(kind, spacing):
    mask = analytic.tube(kind, 10.0, spacing, np.random.default_rng(1))
    sections, _ = vessel_sections(solids.segmentation({"aorta": mask}, solids.geometry(mask.shape, spacing)), "aorta")
    assert np.median([s.area_mm2 for s in sections]) == pytest.approx(np.pi * 100, rel=0.06)
    # sections start one radius from the ends of the tube
    assert whole_length(sections) == pytest.approx(100, abs=6 + max(spacing))


@pytest.mark.slow
@pytest.mark.parametrize("spacing", [(1.0, 1.0, 1.0), (0.7, 0.7, 3.0), (2.0, 2.0, 3.0)])
@pytest.mark.parametrize("kind", ["straight", "oblique"])
def test_a_taper_and_an_aneurysm(kind, spacing):
    along = np.linspace(0, 1, 400)
    for radii, truth in ((12 - 5 * along, None), (9 + 8 * np.exp(-(((along - 0.5) / 0.13) ** 2)), 34.0)):
        mask = analytic.tube(kind, radii, spacing, np.random.default_rng(2))
        sections, _ = vessel_sections(
            solids.segmentation({"aorta": mask}, solids.geometry(mask.shape, spacing)), "aorta"
        )
        widths = [s.largest_mm for s in sections]
        if truth is not None:
            assert max(widths) == pytest.approx(truth, abs=1.0 + max(spacing) / 2)
        else:
            ends = sorted((widths[0], widths[-1]))
            assert 14 < ends[0] < 17.5 and 20.5 < ends[1] < 24.5


@pytest.mark.slow
def test_parts_of_the_aorta_of_a_phantom():
    """The truth is the spline that the phantom is made of: ascending 31, arch 29, descending 25 to 27 mm."""
    phantom = make_phantom(PhantomSpec(seed=1, region="chest-abdomen-pelvis", spacing_mm=(2.5, 2.5, 3), healthy=True))
    measured = measure_scan(None, phantom.segmentation)
    record = measured.structure("aorta")
    value = {m.quantity: m.value for m in record.measurements}
    assert value["ascending_diameter"] == pytest.approx(31, abs=2.5)
    assert value["arch_diameter"] == pytest.approx(29, abs=3)
    assert value["descending_diameter"] == pytest.approx(26.5, abs=3)
    assert value["infrarenal_diameter"] == pytest.approx(21, abs=2.5)
    assert value["ascending_area"] == pytest.approx(np.pi / 4 * value["ascending_diameter"] ** 2, rel=0.15)
    assert value["descending_length"] == pytest.approx(230, abs=40)
    whole = sum(v for q, v in value.items() if q.endswith("_length"))
    assert whole == pytest.approx(value["length"], rel=0.08)
    trunk = measured.structure("pulmonary_artery")
    assert trunk.measurement("trunk_diameter").value == pytest.approx(28, abs=3)
    assert {"right_branch_diameter", "left_branch_diameter"} <= {m.quantity for m in trunk.measurements}


def fork(spacing, left_up_mm=25):
    """A pulmonary artery: trunk of 24 mm, right branch of 16 mm, left one of 12 mm (RAS+: right is +x)."""
    low, high = np.array([-62.0, -30.0, -58.0]), np.array([62.0, 20.0, 36.0])
    axes = [np.arange(a, b, s) for a, b, s in zip(low, high, spacing, strict=True)]
    places = np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1)
    mask = np.zeros(places.shape[:3], bool)
    ends = (((0, 0, -50), 12.0), ((50, -15, 25), 8.0), ((-50, -15, left_up_mm), 6.0))
    for end, radius in ends:
        along = np.array(end, float)
        share = np.clip(places @ along / (along @ along), 0, 1)
        mask |= np.linalg.norm(places - share[..., None] * along, axis=-1) <= radius
    return solids.segmentation({"pulmonary_artery": mask}, solids.geometry(mask.shape, spacing, origin=low))


@pytest.mark.parametrize("spacing", [(1.0, 1.0, 1.0), (0.8, 0.8, 2.0), (1.5, 1.5, 3.0)])
def test_trunk_and_branches_of_a_fork(spacing):
    """The trunk is the part with the lowest point on every grid, whichever branch is the longer."""
    found = measure_parts(fork(spacing), "pulmonary_artery")
    value = {m.quantity: m.value for m in found.measurements}
    assert value["trunk_diameter"] == pytest.approx(24, abs=1.0 + max(spacing) / 2)
    assert value["right_branch_diameter"] == pytest.approx(16, abs=1.0 + max(spacing) / 2)
    assert value["left_branch_diameter"] == pytest.approx(12, abs=1.0 + max(spacing) / 2)


def test_the_trunk_is_measured_beside_its_bifurcation():
    """A root that is wider than the trunk, as above the valve, is not where its limit was found."""
    forked = fork((1.5, 1.5, 1.5))
    mask = forked.mask("pulmonary_artery").copy()
    low = np.array([-62.0, -30.0, -58.0])
    i, j, k = np.indices(mask.shape)
    x, y, z = (low[a] + 1.5 * index for a, index in enumerate((i, j, k)))
    mask |= (x**2 + y**2 <= 17.0**2) & (z > -52) & (z < -30)
    wide = solids.segmentation({"pulmonary_artery": mask}, solids.geometry(mask.shape, (1.5, 1.5, 1.5), origin=low))
    value = {m.quantity: m.value for m in measure_parts(wide, "pulmonary_artery").measurements}
    assert value["trunk_diameter"] == pytest.approx(24, abs=1.5)


@pytest.mark.parametrize("spacing", [(1.0, 1.0, 1.0), (1.5, 1.5, 3.0), (2.0, 2.0, 1.5)])
def test_a_branch_that_turns_down_is_no_trunk(spacing):
    """Its tip is near the lowest point, but the trunk's is lower; at the fork the right branch is as wide as it."""
    found = measure_parts(fork(spacing, left_up_mm=-35), "pulmonary_artery")
    value = {m.quantity: m.value for m in found.measurements}
    assert value["trunk_diameter"] == pytest.approx(24, abs=1.5)
    assert value["left_branch_diameter"] == pytest.approx(12, abs=1.5)


def test_parts_need_what_tells_them_apart():
    mask = analytic.tube("straight", 10.0, (2.0, 2.0, 3.0), np.random.default_rng(1))
    alone = measure_parts(solids.segmentation({"aorta": mask}, solids.geometry(mask.shape, (2.0, 2.0, 3.0))), "aorta")
    assert not alone.measurements
    reasons = {o.quantity: o.reason for o in alone.omissions}
    assert "no vertebrae" in reasons["infrarenal_diameter"] and "no section" in reasons["arch_diameter"]
    name = "portal_vein_and_splenic_vein"
    portal = measure_parts(solids.segmentation({name: mask}, solids.geometry(mask.shape, (2.0, 2.0, 3.0))), name)
    assert all("confluence" in o.reason for o in portal.omissions) and not portal.measurements


def test_flips_change_nothing():
    """The reader brings every orientation to RAS+; a shift of the grid and empty margins change nothing either."""
    spacing = (1.0, 1.0, 2.0)
    mask = analytic.tube("oblique", 9.0, spacing, np.random.default_rng(4), length=90)
    plain, _ = vessel_sections(solids.segmentation({"aorta": mask}, solids.geometry(mask.shape, spacing)), "aorta")
    wide = np.pad(mask, ((4, 1), (2, 6), (3, 5)))
    moved, _ = vessel_sections(solids.segmentation({"aorta": wide}, solids.geometry(wide.shape, spacing)), "aorta")
    assert [s.largest_mm for s in moved] == pytest.approx([s.largest_mm for s in plain])
    assert [s.area_mm2 for s in moved] == pytest.approx([s.area_mm2 for s in plain])


@pytest.mark.slow
def test_real_scans(real_data):
    """Two abdomens, cut above and below: the parts that are imaged, and no others."""
    from radvlm.io import load_segmentation, load_volume

    volume = load_volume(real_data / "plain_abdomen" / "ct.nii.gz")
    masks = load_segmentation(real_data / "plain_abdomen" / "segmentation.nii.gz", like=volume)
    record = measure_scan(volume, masks).structure("aorta")
    value = {m.quantity: m.value for m in record.measurements}
    assert 20 < value["descending_diameter"] < 27 and 19 < value["suprarenal_diameter"] < 25
    assert value["suprarenal_diameter"] > value["infrarenal_diameter"]
    assert 50 < value["length"] < 95 and set(record.cut_by) == {"inferior", "superior"}
    assert {o.quantity for o in record.omissions} >= {"ascending_diameter", "arch_diameter"}
    volume = load_volume(real_data / "upper_abdomen_dicom")
    masks = load_segmentation(real_data / "upper_abdomen_masks" / "segmentation.nii.gz", like=volume)
    record = measure_scan(volume, masks).structure("aorta")
    value = {m.quantity: m.value for m in record.measurements}
    assert 27 < value["descending_diameter"] < 31.2 and "infrarenal_diameter" not in value

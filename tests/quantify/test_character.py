"""Shape, texture, margin, neighbors, nodules, nodes: analytic truth and invariances."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

import solids
from radvlm.quantify import measure_scan
from radvlm.quantify.neighbors import contact_area, neighbors, node_station
from radvlm.quantify.shape import measure_shape, principal_axes, solidity, surface_area
from radvlm.quantify.texture import fit_step, signed_distance
from radvlm.types.study import Study
from radvlm.types.volume import Volume

BLUR_TO_WIDTH = 2.5631


def value(record, quantity):
    found = record.measurement(quantity)
    return None if found is None else found.value


@pytest.mark.parametrize("spacing", [(1.0, 1.0, 1.0), (0.7, 0.7, 3.0)], ids=["iso", "thick"])
def test_surface_of_a_ball_in_every_direction_of_the_grid(spacing):
    radius = 15.0
    shape = tuple(int(2 * radius / s) + 6 for s in spacing)
    center = [(n - 1) * s / 2 + 0.2 for n, s in zip(shape, spacing, strict=True)]
    mask = solids.ellipsoid(shape, spacing, center, (radius,) * 3)
    assert surface_area(mask, spacing) == pytest.approx(4 * np.pi * radius**2, rel=0.03)
    found = measure_shape(mask, spacing)
    assert found.sphericity > 0.98 and found.solidity == 1.0
    assert found.elongation > 0.97 and found.flatness > 0.95


def test_axes_of_a_tilted_ellipsoid():
    mask = solids.ellipsoid((60, 60, 60), (1, 1, 1), (30, 30, 30), (24, 12, 8), degrees=31)
    found = measure_shape(mask, (1.0, 1.0, 1.0))
    assert found.axes_mm == pytest.approx((48, 24, 16), rel=0.01)
    assert (found.elongation, found.flatness) == pytest.approx((0.5, 1 / 3), abs=0.01)


@pytest.mark.parametrize("spacing", [(1.0, 1.0, 1.0), (0.7, 1.3, 3.0), (2.0, 0.5, 0.5)])
@pytest.mark.parametrize("shape", [(6, 4, 2), (9, 1, 1), (1, 1, 1)])
def test_axes_of_a_box_are_exact_on_every_grid(shape, spacing):
    """A box of side a has the variance a^2 / 12 along it, a solid ellipsoid of axis d has d^2 / 20."""
    sides = sorted((n * s for n, s in zip(shape, spacing, strict=True)), reverse=True)
    assert principal_axes(np.ones(shape, bool), spacing) == pytest.approx([a * np.sqrt(20 / 12) for a in sides])


def test_two_balls_joined_by_a_bar_are_not_solid():
    x, y, z = np.meshgrid(*[np.arange(60)] * 3, indexing="ij")
    mask = ((x - 15) ** 2 + (y - 30) ** 2 + (z - 30) ** 2 < 100) | ((x - 45) ** 2 + (y - 30) ** 2 + (z - 30) ** 2 < 100)
    mask |= (abs(y - 30) < 2) & (abs(z - 30) < 2) & (x > 15) & (x < 45)
    assert solidity(mask, (1.0, 1.0, 1.0)) < 0.7
    assert measure_shape(mask, (1.0, 1.0, 1.0)).sphericity < 0.85


@pytest.mark.parametrize("shape", [(1, 1, 1), (5, 1, 1), (4, 4, 1)])
def test_a_voxel_a_line_and_a_plane_have_a_shape(shape):
    found = measure_shape(np.ones(shape, bool), (1.0, 1.0, 1.0))
    assert 0 < found.sphericity <= 1 and found.solidity == 1 and 0 < found.flatness <= 1


def test_signed_distance_to_a_plane_is_exact():
    mask = np.zeros((10, 6, 6), bool)
    mask[:4] = True
    distance, across = signed_distance(mask, (2.0, 1.0, 1.0))
    assert distance[:, 3, 3] == pytest.approx(2.0 * (np.arange(10) - 3.5))
    assert across[5, 3, 3] == pytest.approx(2.0)


@pytest.mark.parametrize("spread", [0.4, 1.0, 2.5])
def test_a_blurred_step_is_found_again(spread):
    from scipy.special import ndtr

    d = np.linspace(-6, 6, 40)
    inside, step, found = fit_step(d, 30 + 70 * ndtr((d - 0.3) / spread), np.ones(40))
    assert (inside, step, found) == pytest.approx((30, 70, spread), rel=0.05, abs=0.5)


def lesion_scene(blur=1.0, unevenness=0.0, noise=8.0, contrast=-60.0, seed=0):
    from scipy.ndimage import gaussian_filter
    from scipy.special import ndtr

    rng = np.random.default_rng(seed)
    shape = (48, 48, 48)
    x, y, z = np.meshgrid(*[np.arange(n) - 23.5 for n in shape], indexing="ij")
    share = ndtr((10 - np.sqrt(x**2 + y**2 + z**2)) / blur)
    field = gaussian_filter(rng.normal(size=shape), 1.5)
    hu = 100 + contrast * share + rng.normal(0, noise, shape) + share * field / field.std() * unevenness
    masks = {"liver": np.ones(shape, bool), "liver_lesion": share >= 0.5}
    return measure_scan(
        Volume(hu.round().astype(np.int16), solids.geometry(shape)), solids.segmentation(masks)
    ).lesions[0]


@pytest.mark.parametrize("blur", [0.8, 2.0])
def test_width_of_the_edge(blur):
    assert value(lesion_scene(blur), "edge_width") == pytest.approx(BLUR_TO_WIDTH * blur, rel=0.15)


def test_a_sharp_edge_on_a_coarse_grid_is_not_called_blurred():
    fine = 4  # parts of a 2 mm voxel along each axis
    x, y, z = np.meshgrid(*[(np.arange(32 * fine) + 0.5) / fine * 2 - 32.3] * 3, indexing="ij")
    share = (x**2 + y**2 + z**2 <= 15**2).reshape(32, fine, 32, fine, 32, fine).mean(axis=(1, 3, 5))
    hu = np.round(100 - 80 * share).astype(np.int16)
    geometry = solids.geometry(hu.shape, (2.0, 2.0, 2.0))
    masks = solids.segmentation({"liver": np.ones(hu.shape, bool), "liver_lesion": share >= 0.5}, geometry)
    found = measure_scan(Volume(hu, geometry), masks).lesions[0].measurement("edge_width")
    assert found.value < 1.5 and found.uncertainty == pytest.approx(2, abs=0.1)


@pytest.mark.parametrize("noise", [5.0, 20.0])
def test_unevenness_is_told_apart_from_noise(noise):
    even, uneven = (lesion_scene(unevenness=u, noise=noise) for u in (0.0, 25.0))
    assert value(even, "noise_hu") == pytest.approx(noise, rel=0.1)
    assert value(even, "heterogeneity") < 8 and value(uneven, "heterogeneity") == pytest.approx(25, rel=0.25)


def test_an_edge_without_contrast_is_omitted_with_the_reason():
    lesion = lesion_scene(contrast=-4.0)
    reason = next(o.reason for o in lesion.omissions if o.quantity == "edge_width")
    assert value(lesion, "edge_width") is None and "less than 20 HU" in reason


def test_without_a_ct_only_shape_is_measured():
    mask = solids.ellipsoid((30, 30, 30), (1, 1, 1), (15, 15, 15), (8, 8, 8))
    lesion = measure_scan(None, solids.segmentation({"liver": np.ones((30,) * 3, bool), "liver_lesion": mask})).lesions[
        0
    ]
    assert value(lesion, "sphericity") > 0.95
    assert {"core_sd_hu", "noise_hu", "heterogeneity", "edge_width"} <= {o.quantity for o in lesion.omissions}


def blocks():
    """A lesion in a liver; a stomach that touches it, a spleen 3 mm away, a colon beyond reach."""
    shape = (40, 20, 20)
    masks = {name: np.zeros(shape, bool) for name in ("liver", "liver_lesion", "stomach", "spleen", "colon")}
    masks["liver"][:, :5] = True
    masks["liver_lesion"][10:16, 5:11, 8:14] = True
    masks["stomach"][16:20, 5:11, 8:14] = True
    masks["spleen"][10:16, 14:18, 8:14] = True
    masks["colon"][30:36, 5:11, 8:14] = True
    return solids.segmentation(masks), masks


def test_neighbors_with_their_gaps_and_contact():
    segmentation, masks = blocks()
    box = segmentation.boxes["liver_lesion"]
    found = neighbors(segmentation, "liver_lesion", "liver", box, np.ones(box.shape, bool))
    assert [(n.structure, n.distance_mm) for n in found] == [("stomach", 0.0), ("spleen", 3.0)]
    assert found[0].contact_mm2 == pytest.approx(36 * 2 / 3) and found[1].contact_mm2 == 0
    assert contact_area(masks["liver_lesion"], masks["stomach"], (1.0, 1.0, 1.0)) == pytest.approx(24)


def test_station_is_that_of_the_nearest_landmark():
    shape = (50, 20, 20)
    masks = {name: np.zeros(shape, bool) for name in ("aorta", "spleen", "lymph_node")}
    masks["aorta"][5:12], masks["spleen"][40:] = True, True
    masks["lymph_node"][16:22, 8:14, 8:14] = True
    segmentation = solids.segmentation(masks)
    box = segmentation.boxes["lymph_node"]
    assert node_station(segmentation, box, np.ones(box.shape, bool)) == "para-aortic"
    assert measure_scan(None, segmentation).lesions[0].station == "para-aortic"
    del masks["aorta"]
    assert measure_scan(None, solids.segmentation(masks)).lesions[0].station == "splenic hilar"


def nodule_scene(solid: float, order=(0, 1, 2), signs=(1, 1, 1)):
    """A nodule of 9 mm radius, 6 mm from the pleura, with two vessels that end on it, and one airway beside."""
    shape = (60, 50, 50)
    x, y, z = np.meshgrid(*[np.arange(n) - c for n, c in zip(shape, (24, 25, 25), strict=True)], indexing="ij")
    far = np.sqrt(x**2 + y**2 + z**2)
    nodule, outside = far <= 9, x >= 15.5
    vessels = ((y**2 + z**2 <= 4) & (x < 0)) | ((x**2 + z**2 <= 4) & (y > 0))
    hu = np.where(outside, 40, -850)
    hu = np.where(nodule, -550, hu)
    hu = np.where(far <= solid, 40, hu)
    masks = {"lung_right": ~outside & ~nodule, "lung_nodule": nodule, "lung_vessels": vessels & ~nodule & ~outside}
    return measure_scan(solids.volume(hu.astype(np.int16)), solids.segmentation(masks)).lesions[0]


def test_nodule():
    found = nodule_scene(solid=6)
    assert value(found, "mean_diameter") == pytest.approx(18.5, abs=1)
    assert value(found, "solid_diameter") == pytest.approx(12.5, abs=1)
    assert value(found, "solid_fraction") == pytest.approx(100 * (6 / 7.45) ** 3, abs=6)
    assert value(found, "distance_to_pleura") == pytest.approx(6, abs=1.01)
    assert value(found, "vessels_touching") == 2 and value(found, "vessels_pointing") == 0
    reasons = {o.quantity: o.reason for o in found.omissions}
    assert "no mask of airways" in reasons["airways_touching"]


def test_ground_glass_has_no_solid_part_and_a_solid_nodule_has_no_other():
    glass, solid = nodule_scene(0), nodule_scene(9)
    assert value(glass, "solid_fraction") < 1
    assert (
        any(o.quantity == "solid_diameter" and o.reason == "it has no solid part" for o in glass.omissions)
        or value(glass, "solid_diameter") < 2
    )
    assert value(solid, "solid_fraction") == 100


def test_character_does_not_depend_on_the_orientation_or_on_a_shift():
    shape = (44, 40, 36)
    rng = np.random.default_rng(3)
    lesion = solids.ellipsoid(shape, (1, 1, 1), (21, 20, 18), (9, 6, 7), 30)
    stomach = solids.ellipsoid(shape, (1, 1, 1), (34, 20, 18), (6, 6, 6)) & ~lesion
    hu = (100 - 50 * lesion + rng.integers(-10, 10, shape)).astype(np.int16)
    masks = {"liver": ~stomach, "liver_lesion": lesion, "stomach": stomach}
    seen = []
    for signs in itertools.product((1, -1), repeat=3):
        flip = tuple(slice(None, None, s) for s in signs)
        flipped = solids.segmentation({n: np.ascontiguousarray(m[flip]) for n, m in masks.items()})
        record = measure_scan(solids.volume(np.ascontiguousarray(hu[flip])), flipped).lesions[0]
        seen.append(
            (
                sorted((m.quantity, round(m.value, 6)) for m in record.measurements),
                [(n.structure, round(n.distance_mm, 6), round(n.contact_mm2, 6)) for n in record.neighbors],
            )
        )
    assert all(s == seen[0] for s in seen)


def test_refining_the_grid_converges():
    errors = []
    for step in (2.0, 1.0, 0.5):
        shape = (int(44 / step),) * 3
        mask = solids.ellipsoid(shape, (step,) * 3, (21.7, 22.1, 21.4), (18, 9, 9), 20)
        found = measure_shape(mask, (step,) * 3)
        errors.append(abs(found.flatness - 0.5) + abs(found.elongation - 0.5))
    assert errors[-1] < 0.01 and errors[-1] <= errors[0]


def test_emphysema_needs_thin_slices_and_a_known_soft_kernel():
    hu = np.full((20, 20, 20), -860, np.int16)
    hu[:5] = -970
    masks = solids.segmentation({"lung_right": np.ones(hu.shape, bool)})

    def index(study, spacing=1.0):
        geometry = solids.geometry(hu.shape, (1, 1, spacing))
        grid = solids.segmentation({"lung_right": np.ones(hu.shape, bool)}, geometry)
        record = measure_scan(Volume(hu, geometry, study), grid).structure("lung_right")
        return value(record, "emphysema_index"), [o.reason for o in record.omissions if o.quantity == "emphysema_index"]

    assert masks.present == ("lung_right",)
    assert index(Study(kernel="B30f"))[0] == 25.0
    assert index(Study())[1] == ["the reconstruction kernel is not known"]
    assert "sharp" in index(Study(kernel="B70f"))[1][0] and "sharp" in index(Study(kernel="LUNG"))[1][0]
    assert "slices of 3 mm" in index(Study(kernel="B30f"), 3.0)[1][0]

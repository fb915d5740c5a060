"""Long axis, short axis and 3D diameter: hand-worked masks, brute force, analytic shapes."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy.spatial import ConvexHull
from scipy.spatial.distance import pdist

import solids
from radvlm.quantify.diameter import diameter_3d
from radvlm.quantify.outline import longest_chord, outline_segments, planar_axes


def mask_of(*rows: str) -> np.ndarray:
    """A one-slice mask from text: a row of text runs along axis 1, rows along axis 0."""
    return np.array([[c == "#" for c in row] for row in rows])[:, :, None]


def face_midpoints(mask: np.ndarray, spacing) -> np.ndarray:
    steps = 0.5 * np.concatenate([np.eye(mask.ndim), -np.eye(mask.ndim)])
    return np.concatenate([np.argwhere(mask) + step for step in steps]) * spacing


ISO = (1.0, 1.0, 1.0)


@pytest.mark.parametrize(
    ("mask", "spacing", "long_mm", "short_mm"),
    [
        (mask_of("#"), ISO, 1.0, 1.0),
        (mask_of("#"), (0.7, 0.7, 5.0), 0.7, 0.7),
        (mask_of("####"), ISO, 4.0, 1.0),
        (mask_of("####"), (2.0, 0.5, 1.0), 2.5, None),  # four pixels of 2 x 0.5 mm; (-1, 0) to (1, 1.5) mm
        (mask_of("##", "##"), ISO, np.sqrt(5), None),
        (mask_of("#.", ".#"), ISO, np.sqrt(5), None),  # touching at a corner: one piece; (-.5, 0) to (1.5, 1)
        (mask_of("#..", "...", "..#"), ISO, 1.0, 1.0),  # two pieces, each one pixel
    ],
    ids=["pixel", "small-pixel", "run", "flat-pixels", "square", "corner", "apart"],
)
def test_hand_worked(mask, spacing, long_mm, short_mm):
    axes = planar_axes(mask, spacing)
    assert axes.long_mm == pytest.approx(long_mm)
    if short_mm is not None:
        assert axes.short_mm == pytest.approx(short_mm, abs=1e-4)


def test_plus_shape_exactly():
    """Outline of a plus of five pixels: arms end at +-1.5, so both axes are 3 mm."""
    axes = planar_axes(mask_of(".#.", "###", ".#."), ISO)
    assert axes.long_mm == pytest.approx(3.0)
    assert axes.short_mm == pytest.approx(3.0, abs=1e-4)
    assert axes.area_mm2 == 5


def test_the_slice_with_the_longest_axis_is_chosen():
    mask = np.zeros((10, 10, 4), dtype=bool)
    mask[2:5, 2:5, 0] = True  # larger area
    mask[1:9, 5, 2] = True  # longer
    axes = planar_axes(mask, ISO)
    assert (axes.slice_index, axes.long_mm) == (2, 8.0)
    assert axes.long_ends == ((0.5, 5.0), (8.5, 5.0))
    assert axes.short_ends[0][0] == pytest.approx(axes.short_ends[1][0])


def test_equal_axes_go_to_the_larger_area():
    mask = np.zeros((12, 12, 3), dtype=bool)
    mask[1:9, 5, 0] = True
    mask[1:9, 5, 1] = True
    mask[3:6, 4:7, 1] = True
    mask[1:9, 5, 2] = True
    axes = planar_axes(mask, ISO)
    assert (axes.slice_index, axes.area_mm2) == (1, 14)


def test_u_shape_is_not_measured_across_its_opening():
    """Two legs of 4 mm, 12 mm apart, joined below: the chord stays in one leg or in the bar."""
    mask = np.zeros((20, 40, 1), dtype=bool)
    mask[2:18, 2:32] = True
    mask[6:14, 6:32] = False  # open to one side
    axes = planar_axes(mask, ISO)
    segments = outline_segments(mask[:, :, 0])
    across, _ = longest_chord(segments, np.ones(2), np.array([0.0, 1.0]))  # at a right angle to the legs
    assert across == pytest.approx(16.0, abs=1e-4)  # through the bar, the only place where it is allowed
    assert axes.long_mm == pytest.approx(np.hypot(30, 15), abs=1)
    length, ends = longest_chord(segments, np.ones(2), np.subtract(*axes.long_ends))
    assert _inside(np.linspace(ends[0], ends[1], 302)[1:-1], segments).all(), "the chord leaves the outline"
    assert length < 25


def test_chord_of_a_leg_is_its_thickness():
    mask = np.zeros((20, 40, 1), dtype=bool)
    mask[2:6, 2:32] = True
    mask[14:18, 2:32] = True
    mask[2:18, 2:4] = True
    length, ends = longest_chord(outline_segments(mask[4:, 10:, 0]), np.ones(2), np.array([0.0, 1.0]))
    assert length == pytest.approx(4.0, abs=1e-4)
    assert ends[0][1] == pytest.approx(ends[1][1])


def test_l_shape():
    """An L of 20 x 20 with arms of 5: long axis along the diagonal ends, chord no longer than an arm allows."""
    mask = np.zeros((24, 24, 1), dtype=bool)
    mask[2:22, 2:7] = True
    mask[2:7, 2:22] = True
    axes = planar_axes(mask, ISO)
    assert axes.long_mm == pytest.approx(np.hypot(20, 20), abs=1)
    assert axes.short_mm == pytest.approx(5 * np.sqrt(2), abs=1)  # from the inner to the outer corner


def test_a_hole_does_not_break_the_chord():
    ring = np.zeros((21, 21, 1), dtype=bool)
    yy, xx = np.mgrid[:21, :21]
    r = np.hypot(yy - 10, xx - 10)
    ring[:, :, 0] = (r <= 9) & (r >= 5)
    axes = planar_axes(ring, ISO)
    assert axes.short_mm > 17


@pytest.mark.slow
@given(
    arrays(bool, st.tuples(st.integers(1, 9), st.integers(1, 9), st.integers(1, 4)), elements=st.booleans()),
    st.sampled_from([ISO, (0.7, 0.7, 5.0), (0.5, 1.3, 2.0)]),
)
def test_long_axis_and_diameter_equal_brute_force(mask, spacing):
    from scipy.ndimage import label

    mask[0, 0, 0] = True
    axes = planar_axes(mask, spacing)
    best = 0.0
    for k in range(mask.shape[2]):
        pieces, n = label(mask[:, :, k], structure=np.ones((3, 3)))
        for piece in range(1, n + 1):
            best = max(best, pdist(face_midpoints(pieces == piece, spacing[:2])).max())
    assert axes.long_mm == pytest.approx(best, abs=1e-9)
    assert np.linalg.norm(np.subtract(*axes.long_ends) * spacing[:2]) == pytest.approx(best, abs=1e-9)
    step_long, step_short = np.subtract(*axes.long_ends) * spacing[:2], np.subtract(*axes.short_ends) * spacing[:2]
    assert abs(step_long @ step_short) <= 1e-6 * axes.long_mm * axes.short_mm
    assert np.linalg.norm(step_short) == pytest.approx(axes.short_mm, abs=1e-6)
    assert axes.short_mm <= axes.long_mm + 1e-6
    length, a, b = diameter_3d(mask, spacing)
    assert length == pytest.approx(pdist(face_midpoints(mask, spacing)).max(), abs=1e-9)
    assert np.linalg.norm(np.subtract(a, b) * spacing) == pytest.approx(length, abs=1e-9)


def _inside(points: np.ndarray, segments: np.ndarray) -> np.ndarray:
    """Even-odd rule: how many outline segments a ray to the right crosses."""
    x, y = points[:, 0, None], points[:, 1, None]
    (x0, y0), (x1, y1) = segments[:, 0].T, segments[:, 1].T
    spans = (y0 > y) != (y1 > y)
    with np.errstate(divide="ignore", invalid="ignore"):
        crossing = x0 + (y - y0) / (y1 - y0) * (x1 - x0)
    return (np.where(spans, crossing > x, False).sum(axis=1) % 2).astype(bool)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(6))
def test_chord_against_a_ray_march(seed):
    rng = np.random.default_rng(seed)
    from scipy.ndimage import binary_dilation, binary_fill_holes

    piece = binary_fill_holes(binary_dilation(rng.random((14, 14)) < 0.06, iterations=2))
    segments = outline_segments(piece)
    angle = rng.uniform(0, np.pi)
    direction = np.array([np.cos(angle), np.sin(angle)])
    length, ends = longest_chord(segments, np.ones(2), direction)
    assert _inside(np.linspace(ends[0], ends[1], 502)[1:-1], segments).all(), "the chord leaves the outline"
    assert abs((ends[1] - ends[0]) @ direction) < 1e-9
    across = np.array([-direction[1], direction[0]])
    steps, step = np.arange(-21, 21, 0.05), 0.05
    longest = 0.0
    for offset in np.arange(-21, 21, 0.1):
        inside = _inside(offset * direction + steps[:, None] * across, segments)
        runs = [sum(1 for _ in run) for value, run in itertools.groupby(inside) if value]
        longest = max(longest, max(runs, default=0) * step)
    assert longest > 4
    assert length >= longest - step, "a longer chord exists"


def test_outline_is_closed():
    """Every vertex of the outline ends an even number of segments."""
    rng = np.random.default_rng(5)
    segments = outline_segments(rng.random((20, 20)) < 0.5)
    _, counts = np.unique(segments.reshape(-1, 2), axis=0, return_counts=True)
    assert (counts % 2 == 0).all()


@pytest.mark.parametrize("spacing", [(1.0, 1.0, 1.0), (0.7, 0.7, 5.0), (0.8, 1.1, 2.0)])
@pytest.mark.parametrize("degrees", [0.0, 17.0, 45.0, 73.0])
def test_ellipses_within_one_voxel(spacing, degrees):
    radii = (18.0, 9.0, 14.0)
    shape = tuple(int(44 / s) + 3 for s in spacing)
    center = [(n - 1) * s / 2 + 0.21 * s for n, s in zip(shape, spacing, strict=True)]
    axes = planar_axes(solids.ellipsoid(shape, spacing, center, radii, degrees), spacing)
    pixel = max(spacing[:2])
    scale = np.sqrt(1 - (min(abs(np.arange(shape[2]) * spacing[2] - center[2])) / radii[2]) ** 2)
    assert axes.long_mm == pytest.approx(2 * radii[0] * scale, abs=pixel)
    assert axes.short_mm == pytest.approx(2 * radii[1] * scale, abs=pixel)


@pytest.mark.slow
@pytest.mark.parametrize("spacing", [(1.0, 1.0, 1.0), (0.7, 0.7, 5.0)])
def test_sphere_diameters_over_positions(spacing):
    """40 spheres at random sub-voxel positions: no error above one voxel.

    A largest distance over all directions is never too short by much and on average too long by most of a voxel;
    the chord in one direction is nearly without bias. docs/measurements.md gives these numbers.
    """
    rng = np.random.default_rng(2)
    errors = []
    for _ in range(40):
        radius = rng.uniform(6, 12)
        shape = tuple(int(2 * radius / s) + 5 for s in spacing)
        center = [(n - 1) * s / 2 + rng.uniform(-0.5, 0.5) * s for n, s in zip(shape, spacing, strict=True)]
        mask = solids.ellipsoid(shape, spacing, center, (radius,) * 3)
        nearest = min(abs(np.arange(shape[2]) * spacing[2] - center[2]))
        axes = planar_axes(mask, spacing)
        disc = 2 * np.sqrt(radius**2 - nearest**2)
        errors.append(
            [
                (axes.long_mm - disc) / spacing[0],
                (axes.short_mm - disc) / spacing[0],
                (diameter_3d(mask, spacing)[0] - 2 * radius) / max(spacing),
            ]
        )
    errors = np.array(errors)
    assert np.abs(errors).max() < 1.0
    bias = errors.mean(axis=0)
    assert 0.5 < bias[0] < 0.9
    assert abs(bias[1]) < 0.3
    assert 0.4 < bias[2] < 0.95


@pytest.mark.parametrize(
    "mask",
    [np.ones((1, 1, 1), bool), np.ones((7, 1, 1), bool), np.ones((9, 12, 1), bool), np.ones((1, 30, 30), bool)],
    ids=["voxel", "line", "plane", "large-plane"],
)
def test_flat_masks_have_a_diameter(mask):
    assert diameter_3d(mask, (1.0, 2.0, 3.0))[0] == pytest.approx(pdist(face_midpoints(mask, (1.0, 2.0, 3.0))).max())


def test_diameter_beside_scipy_hull_and_simpleitk():
    """ITK's Feret diameter joins voxel centers: about one voxel shorter than edge to edge."""
    import SimpleITK as sitk

    spacing = (0.9, 0.9, 1.5)
    mask = solids.ellipsoid((40, 40, 30), spacing, (17.1, 17.4, 21.9), (15, 8, 12), 30)
    length, _, _ = diameter_3d(mask, spacing)
    points = face_midpoints(mask, spacing)
    assert length == pytest.approx(pdist(points[ConvexHull(points).vertices]).max())
    image = sitk.GetImageFromArray(mask.astype(np.uint8).T)
    image.SetSpacing(spacing)
    shape = sitk.LabelShapeStatisticsImageFilter()
    shape.ComputeFeretDiameterOn()
    shape.Execute(image)
    assert 0.5 * min(spacing) < length - shape.GetFeretDiameter(1) < 1.2 * max(spacing)
    assert abs(length - 30) < max(spacing)


def test_chord_runs_through_pixels_that_touch_at_a_corner():
    segments = outline_segments(np.array([[True, False], [False, True]]))
    length, _ = longest_chord(segments, np.ones(2), np.array([1.0, -1.0]))
    assert length == pytest.approx(1.5 * np.sqrt(2), abs=1e-4)  # from (-.25, -.25) to (1.25, 1.25)


def test_area_decides_before_the_short_axis():
    mask = np.zeros((12, 12, 2), dtype=bool)
    mask[1:9, 5, :] = True
    mask[5, 4:7, 0] = True  # 10 pixels, 3 wide
    mask[2:8, 6, 1] = True  # 14 pixels, 2 wide
    axes = planar_axes(mask, ISO)
    assert (axes.slice_index, axes.long_mm, axes.area_mm2) == (1, 8.0, 14)

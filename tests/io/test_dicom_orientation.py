"""The phantom written in every position of the patient and every order of slices lands on its own grid, exactly."""

from __future__ import annotations

import numpy as np
import pytest

from radvlm.io import load_volume
from radvlm.phantom import PhantomSpec, make_phantom
from radvlm.types.geometry import Geometry, to_canonical

#: Patient position -> row and column direction in LPS+, for images as seen from the foot end of the table.
POSITIONS = {
    "HFS": (1, 0, 0, 0, 1, 0),
    "HFP": (-1, 0, 0, 0, -1, 0),
    "HFDL": (0, -1, 0, 1, 0, 0),
    "HFDR": (0, 1, 0, -1, 0, 0),
    "FFS": (-1, 0, 0, 0, 1, 0),
    "FFP": (1, 0, 0, 0, -1, 0),
    "FFDL": (0, -1, 0, -1, 0, 0),
    "FFDR": (0, 1, 0, 1, 0, 0),
    "coronal": (1, 0, 0, 0, 0, -1),
    "sagittal": (0, 1, 0, 0, 0, -1),
    "from the head": (-1, 0, 0, 0, 1, 0),
}
RAS_TO_LPS = np.array([-1.0, -1.0, 1.0])


@pytest.fixture(scope="module")
def cropped():
    """A small block of the phantom with liver and spleen in it: no symmetry, unequal spacings."""
    volume = make_phantom(PhantomSpec(seed=1, region="abdomen", spacing_mm=(6.0, 7.0, 8.0))).volume
    size = [min(n, 30) for n in volume.hu.shape]
    start = [(n - m) // 2 for n, m in zip(volume.hu.shape, size, strict=True)]
    block = volume.hu[tuple(slice(a, a + m) for a, m in zip(start, size, strict=True))][:, :, :14]
    affine = np.array(volume.geometry.affine)
    affine[:3, 3] = np.round(affine[:3, :3] @ start + affine[:3, 3], 2)
    return block, affine


def written(writer, folder, hu, affine, orientation, *, headward=True, change=None):
    """A series of ``hu`` on ``affine`` (RAS+, both reordered and flipped as ``orientation`` asks)."""
    directions = affine[:3, :3] / np.linalg.norm(affine[:3, :3], axis=0)
    row, column = (np.array(orientation[i : i + 3]) * RAS_TO_LPS for i in (0, 3))
    axes = [int(np.argmax(np.abs(directions.T @ vector))) for vector in (row, column)]
    axes.append(({0, 1, 2} - set(axes)).pop())
    flips = [float(directions[:, axis] @ vector) < 0 for axis, vector in zip(axes, (row, column), strict=False)]
    flips.append(not headward)
    moved = np.transpose(hu, axes)
    reordered = affine[:, [*axes, 3]].copy()
    for axis, flip in enumerate(flips):
        if flip:
            moved = np.flip(moved, axis)
            reordered[:3, 3] += reordered[:3, axis] * (moved.shape[axis] - 1)
            reordered[:3, axis] *= -1
    spacing = np.round(np.linalg.norm(reordered[:3, :3], axis=0), 6)
    lps = np.concatenate([reordered[:3, 0] / spacing[0] * RAS_TO_LPS, reordered[:3, 1] / spacing[1] * RAS_TO_LPS])
    places = [(reordered[:3, 3] + k * reordered[:3, 2]) * RAS_TO_LPS for k in range(moved.shape[2])]

    def fill(ds, k):
        ds.PixelData = (moved[:, :, k].T.astype(np.int32) + 1024).astype(np.uint16).tobytes()
        if change is not None:
            change(ds, k)

    writer.write(
        folder,
        positions=places,
        orientation=lps,
        spacing=(spacing[1], spacing[0]),
        size=(moved.shape[1], moved.shape[0]),
        hu=lambda world: np.zeros(world.shape[:-1]),
        change=fill,
    )


def same(volume, hu, affine):
    truth, geometry, _ = to_canonical(np.maximum(hu, -1024), affine)
    np.testing.assert_array_equal(volume.hu, truth)
    np.testing.assert_allclose(volume.geometry.affine, geometry.affine, atol=1e-4)


@pytest.mark.slow
@pytest.mark.parametrize("position", POSITIONS)
@pytest.mark.parametrize("headward", [True, False])
def test_every_position_of_the_patient(writer, tmp_path, cropped, position, headward):
    """PatientPosition is said as it is, or wrongly: it changes nothing."""
    hu, affine = cropped
    told = position if headward and position.isupper() else "HFS"
    written(
        writer,
        tmp_path / "s",
        hu,
        affine,
        POSITIONS[position],
        headward=headward,
        change=lambda ds, _: setattr(ds, "PatientPosition", told),
    )
    volume = load_volume(tmp_path / "s", rescale="header")
    same(volume, hu, affine)
    assert [d.what for d in volume.decisions if d.warning] == (
        [f"The series is {position}, not axial."] if position.islower() and position != "from the head" else []
    )


def turned(affine, degrees, axis):
    angle = np.radians(degrees)
    (a, b), rotation = [i for i in range(3) if i != axis], np.eye(4)
    rotation[a, a] = rotation[b, b] = np.cos(angle)
    rotation[a, b], rotation[b, a] = -np.sin(angle), np.sin(angle)
    return rotation @ affine


@pytest.mark.slow
@pytest.mark.parametrize(("degrees", "axis"), [(12, 0), (-25, 1), (33, 2), (20, 0)])
@pytest.mark.parametrize("position", ["HFS", "FFP", "HFDL"])
def test_oblique_series(writer, tmp_path, cropped, degrees, axis, position):
    hu, affine = cropped
    oblique = turned(affine, degrees, axis)
    written(writer, tmp_path / "s", hu, oblique, POSITIONS[position])
    volume = load_volume(tmp_path / "s", rescale="header")
    same(volume, hu, oblique)
    assert isinstance(volume.geometry, Geometry) and volume.geometry.is_canonical


@pytest.mark.parametrize(
    ("words", "is_wrong"),
    [
        (["L", "P"], False),
        (["R", "P"], True),
        (["L", "A"], True),
        (["P", "L"], True),
        (["LP", "PR"], False),
        (["AL", "P"], False),
        (["H", "F"], True),
        (["", ""], False),
        (None, False),
        (["HFS", ""], False),
        (["S", "I"], False),
    ],
)
def test_patient_orientation_is_a_cross_check(writer, tmp_path, is_linear, words, is_wrong):
    writer.write(tmp_path / "s", count=4, size=(8, 9), change=lambda ds, _: setattr(ds, "PatientOrientation", words))
    volume = load_volume(tmp_path / "s", rescale="header")
    is_linear(volume, 0.5)
    warned = " ".join(d.what for d in volume.decisions if d.warning)
    assert ("contradicts ImageOrientationPatient in 4 of 4" in warned) == is_wrong == bool(warned)


def test_patient_orientation_of_an_oblique_series(writer, tmp_path):
    writer.write(
        tmp_path / "s",
        count=4,
        size=(8, 9),
        orientation=(0.8, 0.6, 0, -0.6, 0.8, 0),
        change=lambda ds, _: setattr(ds, "PatientOrientation", ["LP", "PR"]),
    )
    assert not load_volume(tmp_path / "s", rescale="header").decisions


def test_two_patient_positions_in_one_series_are_said(writer, tmp_path):
    def change(ds, k):
        ds.PatientPosition = "HFS" if k < 6 else "HFP"

    writer.write(tmp_path / "s", count=12, size=(8, 9), change=change)
    assert "patient positions (HFP, HFS)" in load_volume(tmp_path / "s", rescale="header").decisions[0].what


@pytest.mark.parametrize(
    ("stated", "step", "orientation", "is_doubted"),
    [
        ("15", (0, 0, 2.5), (1, 0, 0, 0, 1, 0), True),  # neither the slices lean nor the stack
        ("-20.5", (0, 0, 2.5), (1, 0, 0, 0, 1, 0), True),
        ("30", (0, 0.67, 2.5), (1, 0, 0, 0, 1, 0), True),  # leans by 15 degrees
        ("15", (0, 0.67, 2.5), (1, 0, 0, 0, 1, 0), False),
        ("15", (0, 0, 2.5), (1, 0, 0, 0, 0.9659258, 0.2588190), False),  # tilted slices along the table
        ("-15", (0, -0.647, 2.415), (1, 0, 0, 0, 0.9659258, 0.2588190), False),  # resampled across
        ("0", (0, 0, 2.5), (1, 0, 0, 0, 1, 0), False),
        ("0.5", (0, 0, 2.5), (1, 0, 0, 0, 1, 0), False),
        ("", (0, 0, 2.5), (1, 0, 0, 0, 1, 0), False),
    ],
)
def test_a_gantry_tilt_that_the_positions_do_not_show(writer, tmp_path, stated, step, orientation, is_doubted):
    positions = [np.array([-20, -18, -40]) + k * np.array(step) for k in range(8)]
    writer.write(
        tmp_path,
        positions=positions,
        orientation=orientation,
        change=lambda ds, k: setattr(ds, "GantryDetectorTilt", stated),
    )
    told = [d for d in load_volume(tmp_path).decisions if "GantryDetectorTilt" in d.what]
    assert bool(told) == is_doubted
    assert not told or (told[0].warning and f"tilt of {float(stated):g} degrees" in told[0].what)

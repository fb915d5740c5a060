"""The encoder's input beside MONAI's own transforms in the order of the published preprocessing."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.ndimage import map_coordinates
from scipy.spatial.transform import Rotation

import radvlm
from radvlm.errors import InputError
from radvlm.model.inputs import (
    ASTRA_CHEST_INPUT,
    MERLIN_INPUT,
    InputSpec,
    average_area,
    prepare,
    resample_linear,
    resampling_grid,
    sample_linear,
)
from radvlm.types.geometry import Geometry, to_canonical
from radvlm.types.study import Study
from radvlm.types.volume import Volume

#: shape, spacing_mm, Euler degrees, order of the axes, their signs
CASES = {
    "padded": ((150, 130, 50), (0.9, 0.9, 4.0), (0, 0, 0), (0, 1, 2), (1, 1, 1)),
    "cropped, LPS": ((300, 290, 60), (1.4, 1.4, 9.0), (0, 0, 0), (0, 1, 2), (-1, -1, 1)),
    "cropped along z, LAS": ((40, 30, 420), (2.0, 2.2, 1.5), (0, 0, 0), (0, 1, 2), (-1, 1, 1)),
    "oblique, LAS": ((100, 120, 50), (2.2, 2.0, 5.0), (12, -7, 20), (0, 1, 2), (-1, 1, 1)),
    "oblique, sagittal slices": ((60, 120, 130), (5.0, 1.95, 1.95), (8, 3, -4), (2, 0, 1), (1, -1, 1)),
    "one axis within tolerance": ((60, 60, 80), (1.5004, 2.0, 2.9993), (5, 0, 0), (0, 1, 2), (1, 1, 1)),
    "all within tolerance": ((230, 60, 60), (1.5004, 1.4993, 3.0008), (5, 0, 0), (0, 1, 2), (1, 1, 1)),
    "nearly the spacing, same size": ((230, 60, 60), (1.5004, 1.4993, 3.0025), (0, 0, 0), (0, 1, 2), (1, 1, 1)),
    "half a voxel, rounded to even": ((64, 30, 41), (0.75, 0.75, 1.5), (0, 0, 0), (0, 1, 2), (1, 1, 1)),
}


def stored(case: str) -> tuple[np.ndarray, np.ndarray]:
    """Noise as in a file, (I, J, K) int16, and its affine."""
    shape, spacing, degrees, order, signs = CASES[case]
    affine = np.eye(4)
    rotation = Rotation.from_euler("xyz", degrees, degrees=True).as_matrix()
    affine[:3, :3] = rotation @ np.diag(signs) @ np.eye(3)[:, list(order)] @ np.diag(spacing)
    affine[:3, 3] = (-100, 50, -700)
    return np.random.default_rng(0).integers(-1100, 1400, shape).astype(np.int16), affine


def monai_input(array: np.ndarray, affine: np.ndarray) -> tuple[torch.Tensor, np.ndarray]:
    """MONAI's transforms in the order of the published preprocessing, (X, Y, Z) and affine."""
    from monai.data import MetaTensor
    from monai.transforms import CenterSpatialCrop, Compose, Orientation, ScaleIntensityRange, Spacing, SpatialPad

    labels = (("L", "R"), ("P", "A"), ("I", "S"))
    chain = Compose(
        [
            Orientation("RAS", labels=labels),
            Spacing((1.5, 1.5, 3.0), mode="bilinear"),
            ScaleIntensityRange(-1000, 1000, 0.0, 1.0, clip=True),
            SpatialPad((224, 224, 160)),
            CenterSpatialCrop((224, 224, 160)),
        ]
    )
    out = chain(MetaTensor(torch.from_numpy(array.astype(np.float32))[None], affine=affine))
    return out.as_tensor()[0], np.asarray(out.affine)


@pytest.mark.slow
@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("stored_as", ["float64", "float32"])
def test_same_tensor_and_place_as_monai(case: str, stored_as: str) -> None:
    """An affine rounded as in a file moves MONAI's grid where the scan is oblique, and ours with it."""
    array, affine = stored(case)
    affine = affine.astype(stored_as).astype(np.float64)
    expected, place = monai_input(array, affine)
    ours, geometry, _ = to_canonical(array, affine)
    prepared = prepare(Volume(ours, geometry))
    assert prepared.tensor.shape == (1, 1, 224, 224, 160) and prepared.tensor.dtype == torch.float32
    assert prepared.tensor.is_contiguous()
    assert float((prepared.tensor[0, 0] - expected).abs().max()) < 1e-5
    np.testing.assert_allclose(prepared.affine_ras_mm, place, atol=1e-4 if stored_as == "float32" else 1e-9)


def test_rounded_oblique_axes_move_the_grid_by_a_part_of_a_voxel() -> None:
    array, affine = stored("oblique, LAS")
    exact = prepare(Volume(*to_canonical(array, affine)[:2])).affine_ras_mm
    rounded = prepare(Volume(*to_canonical(array, affine.astype(np.float32))[:2])).affine_ras_mm
    shift = np.linalg.solve(exact, rounded)[:3, 3]  # voxels of the input
    # 100 voxels of 2.2 mm are 220 mm, 146 of 1.5 mm are 219 mm; 240 and 240 mm; 250 and 249 mm: half the rest each
    np.testing.assert_allclose(shift, [0.5 / 1.5, 0, 0.5 / 3], atol=1e-4)


def test_same_tensor_as_the_published_transforms_from_a_file(tmp_path: Path) -> None:
    pytest.importorskip("merlin", reason="merlin-vlm (test dependency) is not installed")
    import warnings

    import nibabel

    array, affine = stored("oblique, LAS")
    array = np.maximum(array, -1024)  # as the reader does, with a note, before anything is interpolated
    path = tmp_path / "ct.nii"
    nibabel.save(nibabel.Nifti1Image(array, affine), path)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from merlin.data.monai_transforms import ImageTransforms

        expected = ImageTransforms({"image": str(path)})["image"][0]
    volume = radvlm.load_volume(path, rescale="none")
    assert volume.stored_axes == "LAS"
    assert float((prepare(volume).tensor[0, 0] - torch.as_tensor(np.asarray(expected))).abs().max()) < 1e-5


@settings(max_examples=25)
@given(
    st.tuples(*[st.integers(1, 12)] * 3),
    st.tuples(*[st.floats(0.4, 6)] * 3),
    st.tuples(*[st.floats(0.4, 6)] * 3),
    st.permutations(range(3)),
    st.integers(0, 7),
)
def test_resampling_is_linear_interpolation_at_the_same_places(
    shape: tuple[int, ...], spacing: tuple[float, ...], wanted: tuple[float, ...], order: list[int], flips: int
) -> None:
    array = np.random.default_rng(1).normal(size=shape).astype(np.float32)
    view = array.transpose(order)[tuple(slice(None, None, -1 if flips >> axis & 1 else 1) for axis in range(3))]
    spacing = tuple(spacing[axis] for axis in order)
    ratios, sizes = resampling_grid(view.shape, spacing, wanted)
    grid = np.meshgrid(*[np.arange(n) * r for n, r in zip(sizes, ratios, strict=True)], indexing="ij")
    expected = map_coordinates(view.astype(float), grid, order=1, mode="nearest")
    np.testing.assert_allclose(resample_linear(view, spacing, wanted), expected, atol=1e-5)


def test_a_ramp_is_sampled_at_its_place() -> None:
    array = np.arange(5, dtype=np.int16)[:, None, None] * 10 + np.zeros((5, 4, 3), np.int16)
    out = sample_linear(array, [np.array([-1.0, 0.25, 3.5, 9.0]), np.array([0.0]), np.array([1.0, 1.5])])
    np.testing.assert_array_equal(out[:, 0], np.array([[0, 0], [2.5, 2.5], [35, 35], [40, 40]]))


def volume(hu: np.ndarray, spacing: tuple[float, float, float] = (3.0, 3.0, 3.0), modality: str = "CT") -> Volume:
    return Volume(hu, Geometry(hu.shape, np.diag([*spacing, 1.0])), Study(modality=modality))


def body(shape: tuple[int, int, int] = (60, 60, 40), margin: int = 8) -> np.ndarray:
    """Air with a block of soft tissue that keeps ``margin`` voxels from every side of the plane."""
    hu = np.full(shape, -1000, np.int16)
    hu[margin:-margin, margin:-margin] = 40
    hu[margin + 2, margin + 2] = 400
    return hu


SMALL = InputSpec((3.0, 3.0, 3.0), (48, 48, 40))


def test_air_that_is_cut_is_noted_and_body_that_is_cut_is_a_warning() -> None:
    assert prepare(volume(body()), InputSpec((3.0, 3.0, 3.0), (60, 60, 40))).notes == ()
    (air,) = prepare(volume(body()), SMALL).notes
    assert not air.warning and "18 mm left, 18 mm right, 18 mm posterior, 18 mm anterior" in air.what
    (lost,) = prepare(volume(body(margin=2)), SMALL).notes
    share = 1 - (48 / 56) ** 2  # 56 voxels of body, 48 kept
    assert lost.warning and f"{share:.0%}" in lost.what
    (ends,) = prepare(volume(body(shape=(40, 40, 80))), SMALL).notes
    assert ends.warning and "60 mm inferior, 60 mm superior" in ends.what and "50%" in ends.what


@pytest.mark.parametrize(
    ("hu", "words"),
    [
        ((body().astype(np.float32) + 1000) / 1400, "as if normalized"),
        (body() + np.int16(1024), "none is below 0"),
        (body() * np.int16(12), "below air"),
        (np.where(body() > 0, 9000, -1000).astype(np.int16), "above 4100"),
        (np.where(body() > 0, 900, -1000).astype(np.int16), "hardly any"),
    ],
)
def test_values_that_are_no_hu_are_a_warning(hu: np.ndarray, words: str) -> None:
    notes = prepare(volume(hu), InputSpec((3.0, 3.0, 3.0), (60, 60, 40))).notes
    assert [note.warning for note in notes] == [True] and words in notes[0].what


def test_coarse_slices_are_a_warning() -> None:
    notes = prepare(volume(body(), (3.0, 3.0, 10.0)), InputSpec((3.0, 3.0, 3.0), (60, 60, 140))).notes
    assert [note.warning for note in notes] == [True] and "10 mm apart along z" in notes[0].what


def test_what_cannot_be_read_is_refused() -> None:
    with pytest.raises(InputError, match="modality MR"):
        prepare(volume(body(), modality="MR"))
    with pytest.raises(InputError, match="every voxel is 0"):
        prepare(volume(np.zeros((8, 8, 8), np.int16)))
    with pytest.raises(InputError, match="nothing but air"):
        prepare(volume(np.random.default_rng(0).integers(-1024, -900, (8, 8, 8)).astype(np.int16)))
    broken = body().astype(np.float32)
    broken[30, 30, 20] = np.nan
    with pytest.raises(InputError, match="finite"):
        prepare(volume(broken), SMALL)
    for wrong in ({"spacing_mm": (0, 1, 1)}, {"shape": (3, 3)}, {"hu_window": (5, 5)}, {"multiple_of": 0}):
        with pytest.raises(InputError):
            InputSpec(**({"spacing_mm": (1, 1, 1)} | wrong))  # type: ignore[arg-type]


def test_without_a_shape_the_whole_scan_comes_padded_to_a_multiple() -> None:
    hu = body((33, 30, 20))
    prepared = prepare(volume(hu), InputSpec((3.0, 3.0, 3.0), hu_window=None, multiple_of=16))
    assert prepared.tensor.shape == (1, 1, 48, 32, 32)
    inner = prepared.tensor[0, 0, 7:40, 1:31, 6:26].numpy()
    np.testing.assert_array_equal(inner, hu)
    assert float(prepared.tensor.double().sum()) == hu.sum() - 1000.0 * (48 * 32 * 32 - hu.size)
    np.testing.assert_allclose(prepared.geometry.to_world((7, 1, 6)), 0, atol=1e-9)


def test_the_published_field_of_view() -> None:
    extent = [n * s for n, s in zip(MERLIN_INPUT.shape or (), MERLIN_INPUT.spacing_mm, strict=True)]
    assert extent == [336, 336, 480]


def squeezed_by_monai(hu: np.ndarray, affine: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """MONAI's transforms in the order of Astra's published preprocessing of a chest."""
    from monai.data import MetaTensor
    from monai.transforms import Compose, CropForeground, Orientation, Resize, ScaleIntensityRange

    chain = Compose(
        [
            Orientation("RAS", labels=(("L", "R"), ("P", "A"), ("I", "S"))),
            CropForeground(select_fn=lambda x: x > -1000),
            Resize((224, 224, 160)),
            ScaleIntensityRange(-1000, 200, 0.0, 1.0, clip=True),
        ]
    )
    out = chain(MetaTensor(torch.from_numpy(hu.astype(np.float32))[None], affine=affine))
    return out.as_tensor()[0].numpy(), np.asarray(out.affine)


@pytest.mark.slow
@pytest.mark.parametrize("shape", [(300, 260, 70), (60, 250, 190)])
def test_a_squeezed_scan_is_what_monai_gives(shape: tuple[int, int, int]) -> None:
    """Cropped to what is above -1000 HU and averaged, where there are more voxels than wanted and where fewer."""
    _, affine = stored("oblique, LAS")
    hu = np.full(shape, -1024, np.int16)
    inside = (slice(20, -13), slice(7, -9), slice(3, -6))
    hu[inside] = np.random.default_rng(3).integers(-1000, 1200, hu[inside].shape)
    expected, place = squeezed_by_monai(hu, affine)
    ours, geometry, _ = to_canonical(hu, affine)
    prepared = prepare(Volume(ours, geometry), ASTRA_CHEST_INPUT)
    np.testing.assert_allclose(prepared.tensor[0, 0].numpy(), expected, atol=1e-5)
    np.testing.assert_allclose(prepared.affine_ras_mm, place, atol=1e-3)


def test_averaging_keeps_the_mean_where_it_divides_and_any_order_of_axes() -> None:
    array = np.random.default_rng(0).integers(-1000, 1000, (8, 12, 6)).astype(np.int16)
    out = average_area(array, (4, 3, 2))
    np.testing.assert_allclose(out, array.reshape(4, 2, 3, 4, 2, 3).mean((1, 3, 5)), atol=1e-3)
    turned = average_area(array.transpose(2, 0, 1)[::-1], (2, 4, 3))
    np.testing.assert_allclose(turned, out.transpose(2, 0, 1)[::-1], atol=1e-3)


def test_what_squeezing_does_is_told_and_what_it_cannot_is_refused() -> None:
    spec = InputSpec(None, (20, 20, 40), foreground_above_hu=-900.0)
    hu = np.full((60, 60, 14), -1000, np.int16)
    hu[10:50, 5:55, 2:12] = np.arange(10, dtype=np.int16) * 10
    prepared = prepare(volume(hu), spec)
    assert prepared.notes[0].what.startswith("The scan was squeezed into 20 x 20 x 40 voxels of 6 x 7.5 x 0.75 mm")
    assert [n.what for n in prepared.notes if n.warning] == [
        "The scan has 10 voxels along z, and the model expects 40, so small lesions may lie between them."
    ]
    for wrong in (
        lambda: InputSpec(None),
        lambda: InputSpec((1.0, 1.0, 1.0), foreground_above_hu=-1000.0),
        lambda: InputSpec((1.0, 1.0), (8, 8, 8)),  # type: ignore[arg-type]
    ):
        with pytest.raises(InputError):
            wrong()
    assert MERLIN_INPUT.fixed_spacing_mm == MERLIN_INPUT.spacing_mm
    with pytest.raises(InputError, match="inputs of one spacing"):
        _ = spec.fixed_spacing_mm
    with pytest.raises(InputError, match="HU are finite"):
        prepare(volume(np.where(hu == 10, np.nan, hu).astype(np.float32)), spec)

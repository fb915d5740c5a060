"""Two acquisitions stacked slice by slice are seen in the voxels; one acquisition never looks like it."""

from __future__ import annotations

import numpy as np
import pytest

from radvlm.errors import GridError
from radvlm.io import load_volume
from radvlm.io.interleaving import MIN_ALTERNATION_HU, alternation
from radvlm.phantom import PhantomSpec, make_phantom


@pytest.fixture(scope="module")
def scan():
    volume = make_phantom(PhantomSpec(seed=1, region="abdomen", spacing_mm=(6.0, 6.0, 6.0))).volume
    return np.array(volume.hu), np.array(volume.geometry.affine)


@pytest.mark.parametrize("by_hu", [8, 15, 40, -30])
def test_two_exposures_by_turns(scan, by_hu):
    hu, affine = scan
    mixed = hu.copy()
    mixed[:, :, ::2] += by_hu
    assert alternation(mixed)[0] == pytest.approx(abs(by_hu), abs=3)
    with pytest.raises(GridError, match="by turns"):
        load_volume(mixed, affine=affine, rescale="none")


def test_two_phases_over_a_part(scan):
    """Blood and organs are brighter, fat and muscle hardly; only over the upper half."""
    hu, affine = scan
    mixed = hu.astype(np.int32)
    upper = mixed[:, :, mixed.shape[2] // 2 :: 2]
    upper[(upper > 60) & (upper < 250)] += 60
    upper[(upper > 20) & (upper <= 60)] += 8
    with pytest.raises(GridError, match="by turns"):
        load_volume(mixed.astype(np.int16), affine=affine, rescale="none")


@pytest.mark.parametrize("noise_hu", [0, 60])
@pytest.mark.parametrize("step", [1, 2, 3])
def test_one_acquisition(scan, noise_hu, step):
    hu = scan[0][:, :, ::step] + np.random.default_rng(step).normal(0, noise_hu, scan[0][:, :, ::step].shape)
    assert alternation(hu)[0] < MIN_ALTERNATION_HU / 2


def test_a_real_scan(real_data):
    volume = load_volume(real_data / "plain_abdomen" / "ct.nii.gz")
    assert alternation(volume.hu)[0] < MIN_ALTERNATION_HU / 2


@pytest.mark.slow
def test_numbers_of_images_divide_what_the_voxels_show_to_be_mixed(writer, tmp_path, scan):
    """All that is left of two series without identifiers: the numbers of the images, or nothing at all."""
    hu, _ = scan
    block = hu[:, :, :24]

    def write(folder, number, by_hu):
        def change(ds, k):
            ds.InstanceNumber, ds.SOPInstanceUID = number(k), f"1.2.{k}"
            stored = block[::-1, ::-1, k].T.astype(np.int32) + 1024 + by_hu * (k % 2)
            ds.PixelData = stored.astype(np.uint16).tobytes()

        writer.write(folder, count=24, size=block.shape[1::-1], change=change)

    write(tmp_path / "mixed", lambda k: k // 2 + 1 + 12 * (k % 2), 40)
    volume = load_volume(tmp_path / "mixed", rescale="header")
    assert volume.geometry.shape[2] == 12 and "by turns" in " ".join(d.what for d in volume.decisions if d.warning)
    write(tmp_path / "unknown", lambda k: k + 1, 40)
    with pytest.raises(GridError, match="by turns"):
        load_volume(tmp_path / "unknown", rescale="header")
    write(tmp_path / "one", lambda k: k // 2 + 1 + 12 * (k % 2), 0)
    assert load_volume(tmp_path / "one", rescale="header").geometry.shape[2] == 24


@pytest.mark.parametrize(
    ("step", "thickness", "is_said"), [(2, "2.5", True), (3, "", True), (2, "5", False), (1, "1", False)]
)
def test_every_second_image_missing_is_said(writer, tmp_path, step, thickness, is_said):
    def change(ds, k):
        ds.InstanceNumber, ds.SliceThickness = step * k + 1, thickness or None

    writer.write(tmp_path / "s", count=8, size=(8, 9), step=5.0, change=change)
    warned = " ".join(d.what for d in load_volume(tmp_path / "s", rescale="header").decisions if d.warning)
    assert (f"in steps of {step}" in warned) == is_said

"""Is it HU? The three mistakes in circulation, what must not be touched, and every way into load_volume."""

from __future__ import annotations

import struct

import nibabel as nib
import numpy as np
import pytest

from radvlm.errors import GridError, InputError, RadvlmError
from radvlm.io import load_volume
from radvlm.types.geometry import Geometry
from radvlm.types.volume import Volume

AFFINE = np.diag([0.8, 0.8, 2.5, 1.0])


def warned(volume) -> str:
    return " | ".join(d.what for d in volume.decisions if d.warning)


def with_header(tmp_path, array, slope, intercept):
    content = bytearray(nib.Nifti1Image(array, AFFINE).to_bytes())
    struct.pack_into("<ff", content, 112, slope, intercept)
    path = tmp_path / "ct.nii"
    path.write_bytes(content)
    return path


def test_plain_hu_is_untouched(body):
    before = body.copy()
    volume = load_volume(body, affine=AFFINE)
    np.testing.assert_array_equal(volume.hu, body)
    assert not volume.decisions and volume.hu.dtype == np.int16
    np.testing.assert_array_equal(body, before)


@pytest.mark.parametrize("dtype", [np.int16, np.int32, np.int64, np.float32, np.float64, ">i2", np.float16])
def test_dtype_of_the_result(body, dtype):
    volume = load_volume(body.astype(dtype), affine=AFFINE)
    assert volume.hu.dtype == np.int16
    np.testing.assert_array_equal(volume.hu, np.rint(body.astype(dtype).astype(float)))
    if np.dtype(dtype).kind == "f":
        assert load_volume(body * np.dtype(dtype).type(0.5), affine=AFFINE).hu.dtype == np.float32


def test_header_rescale_is_applied_once(tmp_path, body):
    path = with_header(tmp_path, (body + 1024).astype(np.int16), 1, -1024)
    for rescale in ("auto", "header", (1, -1024)):
        volume = load_volume(path, rescale=rescale)
        np.testing.assert_array_equal(volume.hu, body)
        assert len(volume.decisions) == 1 and not warned(volume)
    np.testing.assert_array_equal(load_volume(path, rescale="none").hu, body + 1024)


@pytest.mark.parametrize(("slope", "intercept"), [(1, -1024), (1, -1000), (1, -8192), (2, -1024)])
def test_hu_that_carries_a_rescale_again(tmp_path, body, slope, intercept):
    """The CT-RATE v2 trap: voxels are HU, the header still says x 1 - 1024."""
    volume = load_volume(with_header(tmp_path, body, slope, intercept))
    np.testing.assert_array_equal(volume.hu, body)
    assert "applied twice" in warned(volume)
    forced = load_volume(with_header(tmp_path, body, slope, intercept), rescale="header")
    assert forced.hu.max() == max(-1024, int(body.max()) * slope + intercept)


def test_hu_with_blanked_air_and_a_rescale_again(tmp_path, body):
    masked = np.where(body < -500, -1024, body).astype(np.int16)
    volume = load_volume(with_header(tmp_path, masked, 1, -1024))
    np.testing.assert_array_equal(volume.hu, masked)


def test_lung_and_tissue_without_air_and_a_rescale_again(tmp_path, body):
    inner = np.where(body < -500, -780, np.minimum(body, 300)).astype(np.int16)
    volume = load_volume(with_header(tmp_path, inner, 1, -1024))
    np.testing.assert_array_equal(volume.hu, inner)


def test_values_that_were_never_rescaled(body):
    volume = load_volume((body + 1024).astype(np.uint16), affine=AFFINE)
    np.testing.assert_array_equal(volume.hu, body)
    assert "1024 was subtracted" in warned(volume)


def test_never_rescaled_with_padding(body):
    stored = (body + 1024).astype(np.int16)
    stored[:3] = -2000
    volume = load_volume(stored, affine=AFFINE)
    np.testing.assert_array_equal(volume.hu[3:], body[3:])
    assert (volume.hu[:3] == -1024).all()


def test_real_scan_in_each_disguise(real_data, tmp_path):
    path = real_data / "plain_abdomen" / "ct.nii.gz"
    truth = load_volume(path)
    assert not warned(truth)
    hu = np.asarray(nib.load(path).dataobj)
    stored = np.maximum(hu, -1024) + 1024
    np.testing.assert_array_equal(load_volume(stored.astype(np.uint16), affine=np.diag([3, 3, 3, 1])).hu, truth.hu)
    np.testing.assert_array_equal(load_volume(with_header(tmp_path, hu, 1, -1024)).hu, truth.hu)
    np.testing.assert_array_equal(load_volume(with_header(tmp_path, stored.astype(np.int16), 1, -1024)).hu, truth.hu)


def test_padding_is_clipped_and_said(body):
    padded = body.copy()
    padded[:, :4] = -3024
    volume = load_volume(padded, affine=AFFINE)
    assert volume.hu.min() >= -1024 and (volume.hu[:, :4] == -1024).all()
    assert f"{(padded < -1024).sum()} voxels below -1024" in volume.decisions[0].what
    assert padded.min() == -3024  # the caller's array is left alone


def test_crops_and_clipped_scans_still_load(body):
    rng = np.random.default_rng(0)
    liver = np.rint(rng.normal(105, 18, (30, 30, 20))).astype(np.int16)
    assert not warned(load_volume(liver - 60, affine=AFFINE))
    np.testing.assert_array_equal(load_volume(liver, affine=AFFINE).hu, liver)
    quiet = np.rint(rng.normal(105, 4, (30, 30, 20))).astype(np.int16)
    assert "crop of soft tissue" in warned(load_volume(quiet, affine=AFFINE))
    for low, high in ((-160, 240), (-1000, 400), (-1024, 3071)):
        clipped = np.clip(body, low, high)
        np.testing.assert_array_equal(load_volume(clipped, affine=AFFINE).hu, clipped)
    lung = np.rint(rng.normal(-860, 60, (30, 30, 20))).clip(-1024).astype(np.int16)
    np.testing.assert_array_equal(load_volume(lung, affine=AFFINE).hu, lung)
    metal = body.copy()
    metal[:2, :2, :2] = 30000
    np.testing.assert_array_equal(load_volume(metal, affine=AFFINE).hu, metal)


def _mr():
    rng = np.random.default_rng(1)
    x, y, z = np.meshgrid(*(np.linspace(-1, 1, 32),) * 3, indexing="ij")
    head = x**2 + y**2 + z**2 < 0.8
    return np.where(head, np.abs(rng.normal(900 + 400 * x, 220)), np.abs(rng.normal(0, 15, x.shape)))


@pytest.mark.parametrize(
    ("array", "message"),
    [
        (np.rint(_mr()).astype(np.int16), "no values below 0"),
        (np.rint(_mr() / 3).astype(np.int16), "no values below 0"),
        ((_mr() - _mr().mean()) / _mr().std(), "normalized"),
        ((_mr() / _mr().max()).astype(np.float32), "normalized"),
        (np.clip(_mr() / 8, 0, 255).astype(np.uint8), "8-bit"),
        (np.zeros((5, 5, 5), np.int16), "every voxel"),
        (np.rint(np.random.default_rng(2).normal(1064, 15, (20, 20, 20))).astype(np.int16), "median 1064"),
    ],
)
def test_what_is_no_ct_is_refused_until_told_otherwise(array, message):
    with pytest.raises(InputError, match=message) as caught:
        load_volume(array, affine=AFFINE)
    assert "rescale='none'" in str(caught.value)
    assert load_volume(array, affine=AFFINE, rescale="none").hu.shape == array.shape


def test_rescaled_twice_for_good_is_refused(body):
    with pytest.raises(InputError, match="rescaled twice"):
        load_volume(body - 1024, affine=AFFINE)
    np.testing.assert_array_equal(load_volume(body - 1024, affine=AFFINE, rescale=(1, 1024)).hu, body)


def test_ambiguous_rescale_is_refused(tmp_path):
    soft = np.rint(np.random.default_rng(0).normal(60, 8, (20, 20, 20))).astype(np.int16)
    with pytest.raises(InputError, match="unambiguous"):
        load_volume(with_header(tmp_path, soft, 1, -1024))


@pytest.mark.parametrize("rescale", ["yes", (0, 1), (1,), (1, 2, 3), (np.nan, 0), None, 3])
def test_wrong_rescale_argument(body, rescale):
    with pytest.raises(InputError, match="rescale is"):
        load_volume(body, affine=AFFINE, rescale=rescale)


def test_dicom_in_hu_with_a_rescale_again(writer, tmp_path, body):
    """The same two mistakes in a DICOM series, where each slice was rescaled while reading."""

    def put(offset):
        def change(ds, k):
            ds.PixelData = (body[:, :, k].T + offset).astype(np.int16).tobytes()

        return change

    common = {"count": 30, "size": (36, 40), "signed": True}
    writer.write(tmp_path / "double", change=put(0), **common)
    writer.write(tmp_path / "raw", change=put(1024), intercept=0, **common)
    writer.write(tmp_path / "good", change=put(1024), **common)
    good = load_volume(tmp_path / "good")
    assert not good.decisions
    for name, said in (("double", "applied twice"), ("raw", "1024 was subtracted")):
        volume = load_volume(tmp_path / name)
        assert said in warned(volume)
        np.testing.assert_array_equal(volume.hu, good.hu)


# -- arrays, nibabel, tensors --------------------------------------------------------------------------------------


def test_array_needs_an_affine_and_three_axes(body):
    with pytest.raises(InputError, match="affine="):
        load_volume(body)
    volume = load_volume(body[None], affine=AFFINE)
    assert volume.hu.shape == body.shape and "(1, 40, 36, 30)" in volume.decisions[0].what
    assert load_volume(body[..., None], affine=AFFINE).hu.shape == body.shape
    for wrong in (np.stack([body, body]), body[0], body[..., :0]):
        with pytest.raises(GridError):
            load_volume(wrong, affine=AFFINE)
    for bad in (np.eye(3), np.full((4, 4), np.nan), np.zeros((4, 4)), "affine", [1, 2]):
        with pytest.raises(RadvlmError):
            load_volume(body, affine=bad)
    for wrong in (body.astype(complex), body.astype(str), body > 0):
        with pytest.raises(InputError, match="real numbers"):
            load_volume(wrong, affine=AFFINE)


def test_array_is_put_in_ras_order_by_its_affine(body):
    lps = np.diag([-0.8, -0.8, 2.5, 1.0])
    volume = load_volume(body, affine=lps)
    np.testing.assert_array_equal(volume.hu, body[::-1, ::-1])
    assert volume.stored_axes == "LPS" and np.shares_memory(volume.hu, body)


def test_nibabel_images(tmp_path, body):
    image = nib.Nifti1Image(body, AFFINE)
    np.testing.assert_array_equal(load_volume(image).hu, body)
    path = with_header(tmp_path, (body + 1024).astype(np.int16), 1, -1024)
    np.testing.assert_array_equal(load_volume(nib.load(path)).hu, body)
    trap = with_header(tmp_path, body, 1, -1024)
    volume = load_volume(nib.load(trap))
    np.testing.assert_array_equal(volume.hu, body)
    assert "applied twice" in warned(volume)
    with pytest.raises(InputError, match="affine= belongs"):
        load_volume(image, affine=AFFINE)


class FakeMetaTensor:
    """What radvlm asks of a MetaTensor, without torch."""

    def __init__(self, array, affine=None, meta=None):
        self._array, self.meta = array, meta or {}
        if affine is not None:
            self.affine = FakeMetaTensor(affine)

    def detach(self):
        return self

    def cpu(self):
        return self

    def __array__(self, dtype=None, copy=None):
        return self._array if dtype is None else self._array.astype(dtype)


def test_tensors(body):
    volume = load_volume(FakeMetaTensor(body[None].astype(np.float32), AFFINE))
    np.testing.assert_array_equal(volume.hu, body)
    lps = load_volume(FakeMetaTensor(body, np.diag([-1.0, -1, 1, 1]) @ AFFINE, {"space": "LPS"}))
    assert lps.geometry.same_grid(volume.geometry)
    np.testing.assert_array_equal(load_volume(FakeMetaTensor(body), affine=AFFINE).hu, body)
    with pytest.raises(InputError, match="affine="):
        load_volume(FakeMetaTensor(body))


@pytest.mark.slow
def test_a_real_metatensor(body):
    data = pytest.importorskip("monai.data")
    import torch

    values = torch.as_tensor(body[None].astype(np.float32))
    volume = load_volume(data.MetaTensor(values, affine=torch.as_tensor(AFFINE)))
    np.testing.assert_array_equal(volume.hu, body)


def test_a_volume_comes_back(body):
    volume = Volume(body, Geometry(body.shape, AFFINE))
    assert load_volume(volume) is volume


@pytest.mark.parametrize("source", [None, 3, {}, [], [1, 2], object()])
def test_what_is_no_source(source):
    with pytest.raises(InputError, match="a CT is"):
        load_volume(source)


def test_series_belongs_to_dicom(tmp_path, body):
    with pytest.raises(InputError, match="series="):
        load_volume(body, affine=AFFINE, series="1")
    with pytest.raises(InputError, match="series="):
        load_volume(with_header(tmp_path, body, 1, 0), series="1")


# -- the limits of the rules, on histograms made for them -----------------------------------------------------------


def histogram(*parts: tuple[float, float], n: int = 20_000) -> np.ndarray:
    """(n / 100, 10, 10) int16; each part (share, value) is spread evenly from 9 below the value to 9 above."""
    values = [np.rint(np.linspace(value - 9, value + 9, round(share * n))) for share, value in parts]
    return np.concatenate(values).astype(np.int16).reshape(-1, 10, 10)


def test_neither_air_nor_tissue_is_refused() -> None:
    odd = histogram((0.981, 600), (0.009, -800), (0.010, 100))
    with pytest.raises(InputError, match="neither air nor soft tissue between"):
        load_volume(odd, affine=AFFINE)
    # either of the two is enough
    load_volume(histogram((0.96, 600), (0.009, -800), (0.031, 100)), affine=AFFINE)
    load_volume(histogram((0.96, 600), (0.031, -800), (0.009, 100)), affine=AFFINE)

"""Padding lies outside and never in the body; pixel headers that contradict the pixels are undone or told."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import ndimage

from radvlm.errors import FileFormatError, InputError, RadvlmError
from radvlm.io import load_volume
from radvlm.io.slice_jumps import jumping_slices

AFFINE = np.diag([0.8, 0.8, 2.5, 1.0])
COMMON = {"count": 30, "size": (36, 40), "signed": True}


def put(hu, offset=0, kind=np.int16, **tags):
    """A change of a slice to these values (columns, rows, slices), and to tags."""

    def change(ds, k):
        ds.PixelData = (hu[:, :, k].T.astype(np.int64) + offset).astype(kind).tobytes()
        for name, (vr, value) in tags.items():
            ds.add_new(name, vr, value)

    return change


def read(writer, folder, change, **more):
    writer.write(folder, change=change, **{**COMMON, **more})
    return load_volume(folder)


@pytest.fixture(scope="module")
def oriented(writer, body, tmp_path_factory) -> np.ndarray:
    return np.array(read(writer, tmp_path_factory.mktemp("truth"), put(body), intercept=0).hu)


def test_a_padding_value_of_tissue_is_padding_only_at_the_edge(writer, tmp_path, body) -> None:
    """Stored as HU, PixelPaddingValue 0: water in the body is water."""
    checkered = np.add.outer(np.arange(40), np.arange(36))[..., None] % 2 == 0
    body = np.where((body > 30) & (body < 60) & checkered, 0, body).astype(np.int16)
    oriented = np.array(read(writer, tmp_path / "truth", put(body), intercept=0).hu)
    assert (oriented == 0).sum() > 500
    volume = read(writer, tmp_path / "a", put(body, PixelPaddingValue=("SS", 0)), intercept=0)
    np.testing.assert_array_equal(volume.hu, oriented)
    framed = np.where(body < -900, 0, body)
    volume = read(writer, tmp_path / "b", put(framed, PixelPaddingValue=("SS", 0)), intercept=0)
    truth = np.array(read(writer, tmp_path / "c", put(np.where(body < -900, -1024, body)), intercept=0).hu)
    np.testing.assert_array_equal(volume.hu, truth)


@pytest.mark.parametrize(
    ("values", "tags"),
    [
        ((-2000,), {"PixelPaddingValue": ("SS", -2000)}),
        ((-2000,), {}),
        ((-3024, -2000), {"PixelPaddingValue": ("SS", -3024), "PixelPaddingRangeLimit": ("SS", -2000)}),
        ((-3024, -2000), {}),
        ((-32768,), {}),
        ((3000,), {"PixelPaddingValue": ("SS", 3000)}),
    ],
)
def test_padding_of_any_value_is_air(writer, tmp_path, body, values, tags) -> None:
    x, y = np.meshgrid(np.linspace(-1, 1, 40), np.linspace(-1, 1, 36), indexing="ij")
    padded, truth = body.copy(), body.copy()
    for value, inner in zip(values, (1.05, 1.2), strict=False):
        padded[(x**2 + y**2 > inner)] = value
    truth[(x**2 + y**2 > 1.05)] = -1024
    volume = read(writer, tmp_path / "p", put(padded, **tags), intercept=0)
    expected = read(writer, tmp_path / "t", put(truth), intercept=0)
    np.testing.assert_array_equal(volume.hu, expected.hu)
    assert volume.attenuation_doubt == ""


@pytest.mark.parametrize("blur", ["resampled", "smoothed"])
@pytest.mark.parametrize("value", [-3024, -2000, -32768])
def test_padding_that_was_resampled_or_smoothed_is_a_ct(body, value, blur) -> None:
    x, y = np.meshgrid(np.linspace(-1, 1, 80), np.linspace(-1, 1, 72), indexing="ij")
    wide = np.repeat(np.repeat(body, 2, 0), 2, 1).astype(np.float32)
    wide[x**2 + y**2 > 0.93] = value
    made = ndimage.zoom(wide, (1.5, 1.5, 1), order=1) if blur == "resampled" else ndimage.gaussian_filter(wide, 0.7)
    volume = load_volume(made, affine=AFFINE)
    assert volume.hu.min() == -1024 and volume.attenuation_doubt == ""


def test_rescaled_twice_is_refused_with_padding_as_well(body) -> None:
    padded = np.maximum(body, -1024)
    padded[:12] = -1024
    with pytest.raises(InputError, match="rescaled twice"):
        load_volume(padded - 1024, affine=AFFINE)


def test_signed_values_under_an_unsigned_header_are_undone(writer, tmp_path, body, oriented) -> None:
    volume = read(writer, tmp_path / "u", put(body, PixelRepresentation=("US", 0)), intercept=0)
    np.testing.assert_array_equal(volume.hu, oriented)
    assert volume.hu.dtype == np.int16
    assert any("Negative values were stored as unsigned" in d.what for d in volume.decisions if d.warning)
    half = read(writer, tmp_path / "h", put(body, 500, PixelRepresentation=("US", 0)), intercept=-500)
    np.testing.assert_array_equal(half.hu, oriented)
    array = load_volume(body.astype(np.uint16), affine=AFFINE)
    np.testing.assert_array_equal(array.hu, body)


def test_unsigned_padding_is_air(body) -> None:
    stored = (body.astype(np.int64) + 1024).astype(np.uint16)
    stored[:, :4] = 63536
    volume = load_volume(stored, affine=AFFINE)
    np.testing.assert_array_equal(volume.hu[:, 4:], body[:, 4:])
    assert (volume.hu[:, :4] == -1024).all()


@pytest.mark.parametrize(
    ("kind", "tags"),
    [
        (">i2", {}),
        (np.int16, {"BitsStored": ("US", 8), "HighBit": ("US", 7)}),
        (np.int16, {"BitsStored": ("US", 10), "HighBit": ("US", 9)}),
    ],
)
def test_scrambled_pixels_are_an_error_or_not_interpreted(writer, tmp_path, body, kind, tags) -> None:
    try:
        volume = read(writer, tmp_path / "s", put(body, 1024, kind, **tags))
    except RadvlmError:
        return
    assert volume.attenuation_doubt


@pytest.mark.parametrize(("slope", "intercept"), [(1, 0), (1, -1000), (1, -2048), (0.1, -1024), (10, -1024)])
@pytest.mark.parametrize("where", [slice(11, 12), slice(17, None)])
def test_a_slice_with_another_rescale_is_not_interpreted(writer, tmp_path, body, slope, intercept, where) -> None:
    if slope != 1 and where.stop is None:
        pytest.skip("half of a scan at another slope has no step between two bodies")
    chosen = range(*where.indices(30))

    def wrong(ds, k):
        put(body, 1024)(ds, k)
        if k in chosen:
            ds.RescaleSlope, ds.RescaleIntercept = str(slope), str(intercept)

    try:
        volume = read(writer, tmp_path / "r", wrong)
    except InputError as error:
        assert "4100" in str(error) or "rescaled twice" in str(error)
        return
    assert volume.attenuation_doubt


def test_slices_whose_own_rescale_is_right_do_not_jump(real_data, writer, tmp_path, body, oriented) -> None:
    for thinned in (body, body[:, :, ::5], body[:, :, 10:]):
        assert not jumping_slices(np.ascontiguousarray(np.moveaxis(thinned, 2, 0)))
    assert not jumping_slices(np.moveaxis(load_volume(real_data / "upper_abdomen_dicom").hu, 2, 0))

    def own(ds, k):
        put(body, 1024 if k % 2 else 1000)(ds, k)
        ds.RescaleIntercept = "-1024" if k % 2 else "-1000"

    volume = read(writer, tmp_path / "own", own)
    np.testing.assert_array_equal(volume.hu, oriented)
    assert volume.attenuation_doubt == "" and not any(d.warning for d in volume.decisions)


@pytest.mark.parametrize("bits", [8, 10])
def test_bits_stored_that_drops_bits_of_the_values_is_refused(writer, tmp_path, body, bits) -> None:
    def change(ds, k):
        put(np.maximum(body, -1024), 1024, np.uint16)(ds, k)
        ds.BitsStored, ds.HighBit = bits, bits - 1

    with pytest.raises(FileFormatError, match=f"BitsStored is {bits}, but"):
        read(writer, tmp_path, change, signed=False)


def test_twelve_unsigned_bits_read_as_signed_are_undone(writer, tmp_path, body) -> None:
    """Bone above 1023 HU would lie below air."""
    x, y = np.meshgrid(np.arange(40), np.arange(36), indexing="ij")
    dense = np.clip(1700 - 150 * np.hypot(x - 20, y - 7), -3000, 1700)[..., None]
    hu = np.rint(np.maximum(body, dense)).astype(np.int16)
    right, wrong = {"intercept": -1024, "bits": 12, "signed": False}, {"intercept": -1024, "bits": 12, "signed": True}
    truth = read(writer, tmp_path / "right", put(hu, 1024), **right)
    volume = read(writer, tmp_path / "wrong", put(hu, 1024), **wrong)
    assert truth.hu.max() > 1500 and not any(d.warning for d in truth.decisions)
    np.testing.assert_array_equal(volume.hu, truth.hu)
    (told,) = (d.what for d in volume.decisions if d.warning)
    assert told.startswith("Stored values above 2047 were read as negative numbers")

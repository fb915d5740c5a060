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


def test_padding_whose_stored_value_looks_like_air_is_padding(tmp_path, body):
    """-2000 of a round field of view is stored as -976: the stored values look as if they had air of their own."""
    padded = body.astype(np.int16)
    padded[:, :3] = padded[:, -3:] = -2000
    volume = load_volume(with_header(tmp_path, (padded + 1024).astype(np.int16), 1, -1024))
    np.testing.assert_array_equal(volume.hu, np.maximum(padded, -1024))
    assert not warned(volume)


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


@pytest.mark.slow
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
    writer.write(tmp_path / "steep", change=put(0), slope=2, **common)
    for name, said in (("double", "applied twice"), ("raw", "1024 was subtracted"), ("steep", "applied twice")):
        volume = load_volume(tmp_path / name)
        assert said in warned(volume) and [d.step for d in volume.decisions] == ["dicom"]
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


def counted(*parts: tuple[int, float | tuple[float, float]]) -> np.ndarray:
    """(100, 10, 10) int16; each part is (number of voxels, value) or (number of voxels, (from, to)), spread evenly.

    What the parts leave of the 10 000 voxels is fat and soft tissue, -50 to 50.
    """
    rest = 10_000 - sum(count for count, _ in parts)
    ends = [
        (count, value if isinstance(value, tuple) else (value, value)) for count, value in (*parts, (rest, (-50, 50)))
    ]
    return (
        np.concatenate([np.rint(np.linspace(*end, count)) for count, end in ends]).astype(np.int16).reshape(100, 10, 10)
    )


AIR = (1000, -1000)
#: Rule -> the last histogram that is accepted as it is, and the first that is refused, with the reason.
LIMITS = {
    "1 % below -1100": ((AIR, (100, (-1900, -1101))), (AIR, (101, (-1900, -1101))), "1% of the voxels lie below"),
    "-1100 is air": ((AIR, (900, -1100), (100, (-1900, -1101))), (AIR, (900, -1101), (100, (-1900, -1101))), "10% of"),
    "20 values are varied": ((AIR, (190, (-1219, -1201))), (AIR, (200, (-1220, -1201))), "2% of the voxels"),
    "1 % above 4100": ((AIR, (100, 4101)), (AIR, (101, 4101)), "1% of the voxels lie above 4100"),
    "4100 is not above": ((AIR, (1000, 4100)), (AIR, (1000, 4101)), "10% of the voxels lie above 4100"),
    "2 % tissue": (((9800, 700), (200, (-150, 150))), ((9801, 700), (100, -150), (99, 150)), "neither air nor"),
    "2 % below -200": (((9800, 700), (200, -201)), ((9801, 700), (199, -201)), "neither air nor"),
    "-200 is tissue": (((9800, 700), (100, -150), (100, -200)), ((9800, 700), (100, -150), (100, -201)), "neither"),
    "250 is tissue": (((9700, 700), (100, -150), (200, 250)), ((9700, 700), (100, -150), (200, 251)), "neither"),
    "values below -10": (((11, -11), (300, 100), (9689, 301)), ((11, -10), (300, 100), (9689, 301)), "median 301"),
    "a crop spreads by 200": (((200, 50), (200, 250), (9600, 100)), ((200, 50), (200, 251), (9600, 100)), "no values"),
    "a crop's ends may stray": (((99, 0), (99, 900), (9802, 100)), ((101, 0), (101, 900), (9798, 100)), "no values"),
    "20 % of a crop is 0": (((2000, 0), (8000, 100)), ((2001, 0), (7999, 100)), "no values"),
    "a crop's median is 300": (((4900, 299), (5100, 300)), ((4900, 299), (5100, 301)), "median 301"),
}  # fmt: skip


@pytest.mark.parametrize("rule", LIMITS)
def test_each_limit_is_where_the_rules_say(rule: str) -> None:
    accepted, refused, reason = LIMITS[rule]
    array = counted(*accepted)
    np.testing.assert_array_equal(load_volume(array, affine=AFFINE).hu, np.maximum(array, -1024))
    with pytest.raises(InputError, match=reason):
        load_volume(counted(*refused), affine=AFFINE)


def test_what_is_no_whole_number_is_normalized_only_within_30() -> None:
    for spread, reason in ((29.5, "normalized"), (30.0, "")):
        values = np.linspace(-15.25, spread - 15.25, 10_000).reshape(100, 10, 10)
        if reason:
            with pytest.raises(InputError, match=f"fractions from -15.2 to 14.2, as if {reason}"):
                load_volume(values, affine=AFFINE)
        else:
            np.testing.assert_allclose(load_volume(values, affine=AFFINE).hu, values, atol=1e-5)


#: Rule -> scanner values without rescale from which 1024 is subtracted, and the first that are left to the refusals.
RAW_AIR = (3000, 20)
RAW_LIMITS = {
    "1 % air": (((100, 150), (9900, 1064)), ((99, 150), (9901, 1064))),
    "air ends at 150": (((3000, 150), (7000, 1064)), ((3000, 151), (7000, 1064))),
    "noise of air": (((11, -5), (2989, 20), (7000, 1064)), ((11, -6), (2989, 20), (7000, 1064))),
    "2 % body": (((9800, 0), (200, 1064)), ((9801, 0), (199, 1064))),
    "the body begins above 200": (((7000, 200), (1000, 20), (2000, 1064)), ((5000, 201), (1000, 20), (4000, 1064))),
    "60 % from 824 to 1274": ((RAW_AIR, (4200, 1064), (2800, 700)), (RAW_AIR, (4199, 1064), (2801, 700))),
    "824 belongs": ((RAW_AIR, (3000, 1064), (4000, 824)), (RAW_AIR, (3000, 1064), (4000, 823))),
    "1274 belongs": ((RAW_AIR, (3000, 1064), (4000, 1274)), (RAW_AIR, (3000, 1064), (4000, 1275))),
    "a third in one window": ((RAW_AIR, (2310, 1064), (4690, 850)), (RAW_AIR, (2309, 1064), (4691, 850))),
    "150 wide": ((RAW_AIR, (2000, 910), (2000, 1059), (3000, 850)), (RAW_AIR, (2000, 910), (2000, 1060), (3000, 850))),
    "windows begin at 900": ((RAW_AIR, (7000, 900)), (RAW_AIR, (7000, 899))),
    "windows end before 1200": ((RAW_AIR, (7000, 1199)), (RAW_AIR, (7000, 1200))),
    "padding aside": (((5000, -1100), (1000, 20), (4000, 1064)), ((5000, -1099), (1000, 20), (4000, 1064))),
}  # fmt: skip


@pytest.mark.parametrize("rule", RAW_LIMITS)
def test_each_limit_of_scanner_values_is_where_the_rules_say(rule: str) -> None:
    raw, other = (counted(*parts) for parts in RAW_LIMITS[rule])
    volume = load_volume(raw, affine=AFFINE)
    np.testing.assert_array_equal(volume.hu, np.maximum(raw.astype(int) - 1024, -1024))
    assert "air near 0, soft tissue near 1064): 1024 was subtracted" in warned(volume)
    try:
        volume = load_volume(other, affine=AFFINE)
    except InputError:
        return
    np.testing.assert_array_equal(volume.hu, np.maximum(other, -1024))


def test_scanner_values_are_whole_numbers() -> None:
    with pytest.raises(InputError, match="no values below 0"):
        load_volume(counted(RAW_AIR, (7000, 1064)) + np.float32(0.5), affine=AFFINE)


#: Rule -> HU whose header asks for x 1 - 1024 once more, recognized; and the first that is not.
TWICE_LIMITS = {
    "1 % air sinks": (((100, -1000),), ((99, -1000), (9901, 40))),
    "air from -1100": (((300, -1100), (200, 1100), (9500, 40)), ((300, -1101), (200, 1100), (9500, 40))),
    "air to -900": (((300, -900), (200, 1100), (9500, 40)), ((300, -899), (200, 1100), (9500, 40))),
    "5 % tissue": (((500, 40), (9500, -1000)), ((499, 40), (9501, -1000))),
    "1 % lung, no tissue left": (((100, -201), (9900, 40)), ((99, -201), (9901, 40))),
    "2 % tissue left": (((199, 824), (9701, 40), (100, -201)), ((200, 824), (9700, 40), (100, -201))),
    "1 % above": (((300, -1000), (100, 4101)), ((300, -1000), (101, 4101))),
    "1 % deep": (((300, -1000), (100, (-1900, -1101))), ((300, -1000), (101, (-1900, -1101)))),
}  # fmt: skip


@pytest.mark.parametrize("rule", TWICE_LIMITS)
def test_each_limit_of_a_second_rescale_is_where_the_rules_say(tmp_path, rule: str) -> None:
    double, once = (counted(*parts) for parts in TWICE_LIMITS[rule])
    volume = load_volume(with_header(tmp_path, double, 1, -1024))
    np.testing.assert_array_equal(volume.hu, np.maximum(double, -1024))
    assert "(x 1 -1024) would have been applied twice" in warned(volume)
    try:
        volume = load_volume(with_header(tmp_path, once, 1, -1024))
    except InputError:
        return
    assert "applied twice" not in warned(volume)
    np.testing.assert_array_equal(volume.hu, np.maximum(once.astype(int) - 1024, -1024))


def test_a_scan_that_the_header_turns_into_air_is_refused(tmp_path) -> None:
    """Half of it tissue without the header, half of it air and under 2 % tissue with it: no one can tell."""
    for parts, refused in (
        (((5000, 40), (5000, 300)), True),
        (((4999, 40), (5001, 300)), False),
        (((9801, 40), (199, 1100)), True),
        (((9800, 40), (200, 1100)), False),
        (((5000, 40), (5000, 200)), True),
        (((4999, 40), (5001, 200)), False),  # 200 - 1024 is lung, no air
    ):
        path = with_header(tmp_path, counted(*parts), 1, -1024)
        if refused:
            with pytest.raises(InputError, match="the rescale to HU is unambiguous"):
                load_volume(path)
        else:
            volume = load_volume(path)
            assert all(d.step == "attenuation" for d in volume.decisions if d.warning), parts


def test_every_decision_names_its_step_and_the_numbers(tmp_path, body) -> None:
    raw = (body + 1024).astype(np.int16)
    applied = "x 1 -1024"
    for array, header, rescale, told in (
        (raw, (1, -1024), "auto", f"Rescaled once by the header: {applied}."),
        (raw, (1, -1024), "header", f"Rescaled once by the header: {applied}."),
        (raw, (1, -1024), "none", f"The header's rescale ({applied}) was not applied, as asked for."),
        (raw, (1, 0), (1, -1024), f"Rescaled as asked for: {applied}."),
        (raw, (1, 0), "auto", "The values were never rescaled to HU (air near 0, soft tissue near 1064)"),
        (body, (1, -1024), "auto", f"The values are HU already; the header's rescale ({applied}) would have"),
        (raw, (1, 1024), "header", "Rescaled once by the header: x 1 +1024."),
    ):
        decisions = load_volume(with_header(tmp_path, array, *header), rescale=rescale).decisions
        doubts = {"attenuation"} if rescale == "none" or header == (1, 1024) else set()  # no body is left
        assert {d.step for d in decisions} == {"nifti"} | doubts and len(decisions) <= 2, told
        assert len(decisions) == 1 or doubts or decisions[1].what.startswith("Rescaled as asked for, although"), told
        assert decisions[0].what.startswith(told)
    padded = np.where(body < -900, -3024, body).astype(np.int16)
    (clip,) = load_volume(padded, affine=AFFINE).decisions
    assert (clip.step, clip.warning) == ("array", False) and "(lowest -3024: padding or overshoot)" in clip.what


def test_air_blanked_with_padding_is_told_from_a_second_rescale(tmp_path) -> None:
    """1 % of the voxels at one value far below air after the rescale: sunken air before it, or padding all along."""
    for blank, double in ((100, True), (99, False)):
        array = counted((blank, -1000), (400, 1100))
        told = warned(load_volume(with_header(tmp_path, array, 1, -1024)))
        assert ("applied twice" in told) is double
    one = counted((150, -990), (1, -1024))  # one voxel below -1100 after the rescale is no sunken air
    assert not warned(load_volume(with_header(tmp_path, one, 1, -100)))


def test_dicom_padding_without_a_rescale_is_only_clipped(writer, tmp_path, body) -> None:
    padded = body.copy()
    padded[:, :4] = -2000

    def put(ds, k):
        ds.PixelData = padded[:, :, k].T.astype(np.int16).tobytes()

    writer.write(tmp_path / "ct", count=30, size=(36, 40), signed=True, intercept=0, change=put)
    volume = load_volume(tmp_path / "ct")
    assert not warned(volume) and [d.step for d in volume.decisions] == ["dicom"]


def test_a_large_scan_is_judged_by_voxels_from_all_over_it() -> None:
    """A million voxels of three or four: every n-th along the longest axis, no axis thinned more than another."""
    array = np.full((300, 100, 100), 40, np.int16)
    array[:, :10] = -1000
    array[:, :, :3] = 5000
    with pytest.raises(InputError, match=r"3% of the voxels lie above 4100 \(highest 5000"):
        load_volume(array, affine=AFFINE)
    striped = np.full((200, 200, 100), 40, np.int16)
    striped[::4] = -1000
    np.testing.assert_array_equal(load_volume(striped, affine=AFFINE).hu, striped)

"""The air around the body, fat and soft tissue as rulers: what is no HU is told, and an honest scan never warned of."""

from __future__ import annotations

import nibabel as nib
import numpy as np
import pytest

from radvlm.errors import InputError
from radvlm.io import load_volume
from radvlm.io.hu_rulers import judged
from radvlm.phantom import PhantomSpec, make_phantom

AFFINE = np.diag([7.0, 7.0, 7.0, 1.0])


@pytest.fixture(scope="module")
def scan() -> np.ndarray:
    """Chest to pelvis, 7 mm, noise of 12 HU not cut off below."""
    hu = make_phantom(PhantomSpec(seed=3, region="chest-abdomen-pelvis", spacing_mm=(7.0, 7.0, 7.0))).volume.hu
    noisy = np.random.default_rng(1).normal(-1000, 12, hu.shape)
    return np.where(hu < -940, noisy, hu).round().astype(np.int16)


def padded(hu: np.ndarray, value: float, share: float = 0.95) -> np.ndarray:
    x, y = np.meshgrid(*(np.linspace(-1, 1, n) for n in hu.shape[:2]), indexing="ij")
    return np.where((x**2 + y**2 > share)[..., None], value, hu)


def window(low: float, high: float):
    return lambda hu: np.clip(hu, low, high)


#: What comes in -> a word of the doubt.
WRONG = {
    "soft tissue window": (window(-160, 240), "cut to a window of -160 to 240 HU"),
    "lung window": (window(-1350, 150), "all values above 150 HU were cut off"),
    "bone window": (window(-450, 1050), "all values below -450 HU were cut off"),
    "abdomen": (window(-200, 300), "cut to a window of -200 to 300"),
    "window as float": (lambda hu: np.clip(hu * 1.0, -135.5, 215.25), "-135.5 to 215.25"),
    "padded window": (lambda hu: padded(np.clip(hu, -160, 240), -2000), "-160 to 240 HU"),
    "24 too high": (lambda hu: hu + 24, "24 HU too high"),
    "24 too low": (lambda hu: hu - 24, "24 HU too low"),
    "24 too low, cut at -1024": (lambda hu: np.maximum(hu - 24, -1024), "HU too low"),
    "50 too high": (lambda hu: hu + 50, "50 HU too high"),
    "50 too low": (lambda hu: hu - 50, "50 HU too low"),
    "255 too high": (lambda hu: hu + 255, "255 HU too high"),
    "500 too high": (lambda hu: hu + 500, "500 HU too high"),
    "iodine map": (lambda hu: hu * 0.3, "derived map"),
    "iodine map without air": (
        lambda hu: np.clip(hu, 0, 300) * 0.3 + np.random.default_rng(0).normal(0, 3, hu.shape),
        "derived map",
    ),
    "slope 0.1": (lambda hu: (hu + 1024) * 0.1 - 1024, "everything lies near the air"),
    "slope 0.5": (lambda hu: (hu + 1024) * 0.5 - 1024, "slope of the rescale"),
    "slope 0.8": (lambda hu: (hu + 1024) * 0.8 - 1024, "slope of the rescale"),
    "slope 0.9": (lambda hu: (hu + 1024) * 0.9 - 1024, "slope of the rescale"),
    "slope 1.1": (lambda hu: (hu + 1024) * 1.1 - 1024, "slope of the rescale"),
    "slope 1.2": (lambda hu: (hu + 1024) * 1.2 - 1024, "slope of the rescale"),
    "slope 1.2, low dose": (
        lambda hu: (hu + 1024 + np.random.default_rng(2).normal(0, 25, hu.shape)) * 1.2 - 1024,
        "slope of the rescale",
    ),
    "values times 0.9": (lambda hu: hu * 0.9, "instead of -1000"),
    "values times 0.8": (lambda hu: hu * 0.8, "instead of -1000"),
    "z-score times 100": (lambda hu: ((hu - hu.mean()) / hu.std() * 100).round(), "instead of -1000"),
    "gray scale with air at -724": (lambda hu: np.sign(hu) * np.abs(hu * 1.0) ** 0.95, "instead of -1000"),
    "air set to 0": (lambda hu: np.where(hu < -900, 0, hu), "the air is missing"),
    "air and lung set to 0": (lambda hu: np.where(hu < -300, 0, hu), "the air is missing"),
    "air set to -100": (lambda hu: np.where(hu < -900, -100, hu), "the air is missing"),
    "slope 2": (lambda hu: (hu + 1024) * 2 - 1024, "much lies above"),
}
#: What comes in and is an honest scan.
HONEST = {
    "as it is": lambda hu: hu,
    "cut at -1024": lambda hu: np.maximum(hu, -1024),
    "cut at -1000 and 1000": window(-1000, 1000),
    "low dose": lambda hu: hu + np.random.default_rng(2).normal(0, 60, hu.shape),
    "low dose, cut": lambda hu: np.clip(hu + np.random.default_rng(2).normal(0, 60, hu.shape), -1000, 3071),
    "padding -1024": lambda hu: padded(hu, -1024),
    "padding -2000": lambda hu: padded(hu, -2000),
    "padding 0": lambda hu: padded(hu, 0, 1.1),
    "blanked background": lambda hu: np.where(hu < -900, -1024, hu),
    "stored sagittal": lambda hu: np.moveaxis(hu, 2, 0)[:, ::-1],
    "lung crop": lambda hu: hu[14:26, 20:36, -22:-6],
    "belly crop": lambda hu: hu[18:40, 20:36, 20:40],
    "air of -985": lambda hu: np.where(hu < -940, hu + 14, hu),
    "air of -1010": lambda hu: np.where(hu < -940, hu - 10, hu),
    "80 kVp": lambda hu: np.where((hu > -200) & (hu < -30), hu - 15, hu),
    "masked to 0, gas within": lambda hu: padded(hu, 0, 0.5),
    "no fat": lambda hu: hu[22:36, 22:34, 20:40] * (hu[22:36, 22:34, 20:40] > -40),
    "contrast": lambda hu: np.where((hu > 20) & (hu < 110), hu + 60, hu),
    "lean": lambda hu: np.where((hu > -140) & (hu < -50), hu + 150, hu),
    "obese": lambda hu: np.where((hu > 30) & (hu < 70) & (np.arange(hu.shape[2]) % 3 > 0), hu - 150, hu),
    "upper half": lambda hu: hu[:, :, hu.shape[2] // 2 :],
    "thick slices": lambda hu: hu[:, :, ::4],
}


@pytest.mark.parametrize("kind", WRONG)
def test_what_is_no_hu_is_not_interpreted_and_told(scan, kind) -> None:
    change, told = WRONG[kind]
    (decision,) = judged(np.asarray(change(scan), np.float32), "nifti")
    assert decision.step == "attenuation" and decision.warning and told in decision.what


@pytest.mark.parametrize("kind", HONEST)
def test_an_honest_scan_is_not_warned_of(scan, kind) -> None:
    assert judged(np.asarray(HONEST[kind](scan), np.float32), "nifti") == ()


def test_the_doubt_reaches_the_volume_and_what_was_asked_for_is_believed(scan) -> None:
    high = (scan + 50).astype(np.int16)
    volume = load_volume(high, affine=AFFINE)
    assert volume.attenuation_doubt.endswith("all values are about 50 HU too high")
    assert "--rescale 1,-50" in volume.decisions[-1].what or "--rescale 1,-50" in volume.decisions[0].what
    mended = load_volume(high, affine=AFFINE, rescale=(1, -50))
    assert mended.attenuation_doubt == "" and sum(d.warning for d in mended.decisions) == 0
    kept = load_volume(high, affine=AFFINE, rescale="none")
    assert kept.attenuation_doubt == "" and any("although" in d.what for d in kept.decisions if d.warning)
    cut = load_volume(np.clip(scan, -160, 240), affine=AFFINE, rescale="none")
    assert cut.attenuation_doubt == "the values were cut to a window of -160 to 240 HU"


@pytest.mark.parametrize(
    ("rescale", "told"),
    [
        ("10,0", "lie below air (lowest -10"),
        ("2,0", "lie below air"),
        ("1,-1024", "lie below air"),
        ("-1,0", "HU instead of -1000"),
        ("1,1000", "all values are about 10"),
    ],
)
def test_a_rescale_that_leaves_no_body_is_a_doubt_and_no_fault_of_the_masks(scan, rescale, told) -> None:
    volume = load_volume(scan, affine=AFFINE, rescale=rescale)
    assert told in volume.attenuation_doubt


@pytest.mark.parametrize(
    ("width", "is_told"), [(1, False), (2, False), (5, False), (20, True), (50, True), (100, True)]
)
def test_values_rounded_too_coarsely_are_told(scan, width, is_told) -> None:
    rounded = (np.rint(scan / width) * width).astype(np.int16)
    doubt = load_volume(rounded, affine=AFFINE).attenuation_doubt
    assert (doubt == f"the values are multiples of {width} HU, too coarse to measure") == is_told


@pytest.mark.parametrize("offset", [1000, 1024])
@pytest.mark.parametrize("noise_hu", [0, 25])
def test_values_never_rescaled_that_are_called_hu_are_told_with_their_offset(scan, offset, noise_hu) -> None:
    noisy = scan + np.random.default_rng(2).normal(0, noise_hu, scan.shape)
    stored = np.rint(np.maximum(noisy + offset, 0)).astype(np.uint16)
    kept = load_volume(stored, affine=AFFINE, rescale="none")
    assert f"HU + {offset}" in kept.attenuation_doubt
    assert any(f"--rescale 1,-{offset}" in d.what for d in kept.decisions)
    assert load_volume(stored, affine=AFFINE, rescale=(1, -offset)).attenuation_doubt == ""


@pytest.mark.parametrize("offset", [1000, 1024])
@pytest.mark.parametrize(
    "change",
    [lambda hu: hu, lambda hu: np.where(hu < -900, -3000, hu), lambda hu: padded(hu, -3000)],
    ids=["air", "blanked air", "padding"],
)
def test_the_offset_of_values_never_rescaled_is_1000_or_1024(scan, offset, change) -> None:
    """Cut off at 0, as unsigned values are: the air tells, or the fat where air was blanked."""
    truth = change(scan) if offset == 1024 else np.maximum(change(scan), -1000)
    stored = np.maximum(truth + offset, 0).astype(np.uint16)
    volume = load_volume(stored, affine=AFFINE)
    body = scan > -500
    np.testing.assert_array_equal(volume.hu[body], scan[body])
    assert f"{offset} was subtracted" in volume.decisions[0].what and volume.attenuation_doubt == ""


def test_an_offset_that_nothing_tells_is_a_doubt(scan) -> None:
    body = np.where(scan < -20, -3000, scan)  # neither air nor fat
    volume = load_volume(np.maximum(body + 1024, 0).astype(np.uint16), affine=AFFINE)
    assert "cannot be told" in volume.attenuation_doubt


def test_real_scans_as_they_are_and_shifted(real_data) -> None:
    for path in (real_data / "plain_abdomen" / "ct.nii.gz", real_data / "upper_abdomen_dicom"):
        volume = load_volume(path)
        assert volume.attenuation_doubt == ""
        for shift in (24, 50, 255):
            assert judged(volume.hu.astype(np.float32) + shift, "nifti"), (path, shift)
        assert judged(np.clip(volume.hu, -160, 240), "nifti")


def test_a_wrong_slope_in_dicom_is_an_error_or_a_doubt(writer, tmp_path, body) -> None:
    def put(ds, k):
        ds.PixelData = (body[:, :, k].T + 1024).astype(np.int16).tobytes()
        ds.PixelSpacing = ["9", "9"]

    for slope, doubt in ((0.1, True), (10, False)):
        folder = tmp_path / f"slope{slope}"
        writer.write(folder, count=30, size=(36, 40), signed=True, change=put, slope=slope, step=9.0)
        if doubt:
            assert load_volume(folder).attenuation_doubt
        else:
            with pytest.raises(InputError, match="above 4100"):
                load_volume(folder)
        mended = load_volume(folder, rescale=(1, -1024))
        np.testing.assert_array_equal(np.sort(mended.hu.ravel()), np.sort(np.maximum(body, -1024).ravel()))


def test_nifti_of_a_window_reads_with_the_doubt(scan, tmp_path) -> None:
    nib.save(nib.Nifti1Image(np.clip(scan, -160, 240).astype(np.int16), AFFINE), tmp_path / "w.nii.gz")
    assert "window of -160 to 240" in load_volume(tmp_path / "w.nii.gz").attenuation_doubt

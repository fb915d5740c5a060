"""Reports of scans without masks: what thresholds show, and that nothing is said where they cannot tell."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

import radvlm
from radvlm.interpret.bare_scan import FAT_ERROR_POINTS, LUNG_ERROR_PERCENT, SIZE_ERROR_PERCENT
from radvlm.quantify import measure_scan
from radvlm.quantify.body_size import BODY_SIZES
from radvlm.segment import segment_by_threshold
from radvlm.types.finding import Status
from radvlm.types.geometry import Geometry
from radvlm.types.scan_measurements import Measurements
from radvlm.types.volume import Volume

SHAPE, SPACING = (110, 90, 24), (4.0, 4.0, 5.0)
#: Half axes of the trunk in mm; its fat is 20 mm thick.
ACROSS, FRONT = 160.0, 110.0


def trunk(table: str = "posterior", noise: float = 10.0, lung_from: int | None = 16) -> np.ndarray:
    """HU of an elliptic trunk of fat around muscle, with a spine, lungs from a slice on and a table on one side."""
    x, y = np.meshgrid((np.arange(SHAPE[0]) - 55) * 4.0, (np.arange(SHAPE[1]) - 45) * 4.0, indexing="ij")
    flat = np.full(SHAPE[:2], -1000.0)
    flat[(x / ACROSS) ** 2 + (y / FRONT) ** 2 < 1] = -100
    flat[(x / (ACROSS - 20)) ** 2 + (y / (FRONT - 20)) ** 2 < 1] = 55
    flat[x**2 + (y + 60) ** 2 < 20**2] = 300
    lungs = sum(((x - s) / 45) ** 2 + (y / 60) ** 2 < 1 for s in (-70, 70)) > 0
    place = {
        "posterior": (..., slice(6, 8)),
        "anterior": (..., slice(82, 84)),
        "left": (slice(6, 8),),
        "right": (slice(102, 104),),
    }
    if table:
        band = place[table]
        flat[band] = np.where(flat[band] == -1000, -200, flat[band])
    hu = np.repeat(flat[:, :, None], SHAPE[2], axis=2)
    if lung_from is not None:
        hu[:, :, lung_from:][lungs] = -850
    return (hu + np.random.default_rng(0).normal(0, noise, SHAPE)).round().astype(np.int16)


def with_spine(hu: np.ndarray, blood_hu: float, tube_from: int = 0) -> np.ndarray:
    """The trunk with an arch around a canal, a vertebral body, and a vessel of 24 mm before it."""
    x, y = np.meshgrid((np.arange(SHAPE[0]) - 55) * 4.0, (np.arange(SHAPE[1]) - 45) * 4.0, indexing="ij")
    made = hu.copy()
    made[x**2 + (y + 60) ** 2 < 20**2] = 55
    made[x**2 + (y + 65) ** 2 < 15**2] = 350
    made[x**2 + (y + 65) ** 2 < 9**2] = 30
    made[(x**2 + (y + 41) ** 2 < 17**2) & (y > -56)] = 230
    made[(x + 12) ** 2 + (y - 4) ** 2 < 13**2, tube_from:] = blood_hu
    return (made + np.random.default_rng(1).normal(0, 10, made.shape)).round().astype(np.int16)


def scan_of(hu: np.ndarray) -> Volume:
    return Volume(hu, Geometry(hu.shape, np.diag([*SPACING, 1.0])))


def measured(hu: np.ndarray) -> Measurements:
    scan = scan_of(hu)
    return measure_scan(scan, segment_by_threshold(scan))


def value(numbers: Measurements, structure: str, quantity: str) -> float:
    record = numbers.structure(structure)
    assert record is not None, structure
    found = record.measurement(quantity)
    assert found is not None, (structure, quantity, record.omissions)
    return found.value


def test_size_of_the_trunk_is_that_of_its_ellipse() -> None:
    numbers = measured(trunk())
    assert value(numbers, "body", "body_width") == pytest.approx(2 * ACROSS, abs=4)
    assert value(numbers, "body", "body_depth") == pytest.approx(2 * FRONT, abs=4)
    ramanujan = np.pi * (3 * (ACROSS + FRONT) - np.sqrt((3 * ACROSS + FRONT) * (ACROSS + 3 * FRONT)))
    assert value(numbers, "body", "circumference") == pytest.approx(ramanujan, rel=0.01)
    assert value(numbers, "body", "effective_diameter") == pytest.approx(2 * np.sqrt(ACROSS * FRONT), rel=0.02)
    water = np.full(SHAPE, -1000, np.int16)
    water[trunk("", noise=0, lung_from=None) > -500] = 0
    disk = value(measured(water), "body", "water_equivalent_diameter")
    assert disk == pytest.approx(2 * np.sqrt(ACROSS * FRONT), rel=0.01)  # of water, it is the disk of its own area


def test_fat_share_is_that_of_the_rings() -> None:
    whole, inner = ACROSS * FRONT, (ACROSS - 20) * (FRONT - 20)
    assert value(measured(trunk(lung_from=None)), "body_fat", "fat_share") == pytest.approx(
        100 * (1 - inner / whole), abs=1.5
    )


def said(hu: np.ndarray) -> dict[str, str]:
    """Sentences by the kind of their first finding, and reasons of what was not assessed."""
    made = radvlm.generate_report(scan_of(hu))
    told = {s.findings[0].kind: s.text for s in made.report.sentences if s.section != "impression"}
    return {**{f.kind: f.reason for f in made.report.findings if f.status is Status.NOT_ASSESSED}, **told}


@pytest.mark.parametrize(
    ("side", "words"),
    [
        ("posterior", "on the back"),
        ("anterior", "on the front"),
        ("left", "on the left side"),
        ("right", "on the right"),
    ],
)
def test_position_by_the_table(side: str, words: str) -> None:
    assert words in said(trunk(side))["patient_position"]


def test_no_position_without_a_table_or_between_two() -> None:
    both = np.maximum(trunk("posterior", noise=0), trunk("anterior", noise=0))
    for hu in (trunk(""), both):
        assert said(hu)["patient_position"] == "no table was recognized on one side of the body"


@pytest.mark.parametrize(
    ("lung_from", "step", "words"),
    [
        (
            16,
            1,
            "Imaged part: lower chest and abdomen, perhaps part of the pelvis; 80 mm below the lungs, by thresholds.",
        ),
        (16, -1, "Imaged part: upper chest; 80 mm above the lungs, by thresholds."),
        (None, 1, "no aerated lung was recognized that would tell it"),
    ],
)
def test_imaged_part_by_the_lungs(lung_from: int | None, step: int, words: str) -> None:
    assert said(np.ascontiguousarray(trunk(lung_from=lung_from)[:, :, ::step]))["imaged_region"] == words


@pytest.mark.parametrize(
    ("blood_hu", "words"),
    [
        (44, "Blood before the spine is without contrast"),
        (150, "Blood before the spine holds contrast"),
        (350, "Blood before the spine holds contrast"),
        (88, "what lies before the spine is neither surely with contrast nor surely without"),
    ],
)
def test_contrast_by_the_blood_before_the_spine(blood_hu: int, words: str) -> None:
    told = said(with_spine(trunk(noise=0, lung_from=None), blood_hu))
    assert told["vessel_contrast"].startswith(words)
    if words.startswith("Blood"):
        number = int(told["vessel_contrast"].split("(")[1].split(" HU")[0])
        assert number == pytest.approx(blood_hu if blood_hu > 100 else 55, abs=6)  # unenhanced, muscle is denser
    assert told["imaged_region"].startswith("Imaged part: trunk with the spine; aerated lung was not recognized")


def test_contrast_in_a_part_of_the_slices_is_no_contrast_in_the_blood() -> None:
    hu = with_spine(trunk(noise=0, lung_from=None), 300, tube_from=SHAPE[2] - 7)  # a bowel that crosses
    assert "neither surely" in said(hu)["vessel_contrast"]
    assert said(trunk(lung_from=None))["vessel_contrast"].startswith("no spine of a trunk was recognized")


def test_the_canal_is_where_it_was_drawn() -> None:
    masks = segment_by_threshold(scan_of(with_spine(trunk(noise=0, lung_from=None), 44)))
    x, y, _ = masks.boxes["spinal_canal"].start
    i, j, _ = masks.boxes["spinal_canal"].stop
    assert ((x + i - 1) / 2 - 55) * 4 == pytest.approx(0, abs=4)
    assert ((y + j - 1) / 2 - 45) * 4 == pytest.approx(-65, abs=5)


def test_lungs_of_a_coarse_scan_are_whole_and_of_a_noisy_one_unknown() -> None:
    hu = trunk("", noise=0)
    fine = measured(hu)
    coarse = hu[::2, ::2]  # 8 mm: a chest wall is two voxels thick
    scan = Volume(np.ascontiguousarray(coarse), Geometry(coarse.shape, np.diag([8.0, 8.0, 5.0, 1.0])))
    rough = measure_scan(scan, segment_by_threshold(scan))
    assert value(rough, "lung", "volume") == pytest.approx(value(fine, "lung", "volume"), rel=0.06)
    assert measured(trunk("", noise=120)).structure("lung") is None


def test_a_body_cut_in_front_and_behind_has_no_table_beside_it() -> None:
    hu = trunk("", lung_from=None)[:, 35:55]
    hu[2:6] = 40  # an arm at its side
    assert said(np.ascontiguousarray(hu))["patient_position"] == "no table was recognized on one side of the body"


def test_mirrored_shifted_and_cropped_scans_measure_the_same() -> None:
    hu = trunk()
    first = measured(hu)
    for other in (hu[::-1], np.roll(hu, 3, axis=0), hu[5:-5, 3:], np.roll(hu, 2, axis=1)):
        second = measured(np.ascontiguousarray(other))
        for structure, quantity in (("body", "body_width"), ("body", "circumference"), ("body_fat", "fat_share")):
            assert value(second, structure, quantity) == pytest.approx(value(first, structure, quantity), rel=0.002)


def test_what_is_no_trunk_is_not_measured_as_one() -> None:
    water = trunk("posterior", lung_from=None)
    water[(water > -500) & (np.arange(SHAPE[1]) > 10)[None, :, None]] = 0  # a test object on a table
    told = said(water)
    assert "less than 3 percent of fat" in told["body_size"] and "patient_position" not in told

    x, y = np.meshgrid((np.arange(SHAPE[0]) - 55) * 4.0, (np.arange(SHAPE[1]) - 45) * 4.0, indexing="ij")
    legs = np.full(SHAPE, -1000, np.int16)
    for center in (-90, 90):
        for radius, hu in ((75, -100), (60, 55), (14, 900)):
            legs[(x - center) ** 2 + y**2 < radius**2] = hu
    legs[:55] = np.where(legs[:55] == -100, -101, legs[:55])
    assert said(legs)["body_size"] in (
        "another piece of about its size lies beside it, as with two legs",
        "less than 180 mm wide without lungs, as a head, a neck or a limb",
    )
    assert said(legs)["vessel_contrast"].startswith("no spine of a trunk")
    thigh = np.full(SHAPE, -1000, np.int16)  # one, of the width of a trunk
    for radius, density in ((100, -100), (85, 55), (18, 900), (9, 0)):
        thigh[x**2 + y**2 < radius**2] = density
    told = said(thigh)
    assert told["vessel_contrast"].startswith("no spine of a trunk") and "spine" not in told["imaged_region"]
    cut = np.ascontiguousarray(trunk("")[30:])
    assert said(cut)["body_size"] == "the field of view cuts the body in its middle slice"


def test_an_arm_that_touches_the_trunk_is_not_its_width() -> None:
    hu = trunk("", lung_from=None)
    x, y = np.meshgrid((np.arange(SHAPE[0]) - 55) * 4.0, (np.arange(SHAPE[1]) - 45) * 4.0, indexing="ij")
    for radius, density in ((28, -100), (22, 55), (9, 900)):
        hu[(x - 186) ** 2 + y**2 < radius**2] = density
    assert value(measured(hu), "body", "body_width") == pytest.approx(2 * ACROSS, abs=12)


def test_the_head_says_how_to_get_organs() -> None:
    head = dict(radvlm.generate_report(scan_of(trunk())).report.examination)
    assert "radvlm report CT --segment total" in head["More"] and "-o OUT" in head["More"]
    assert "by thresholds" in head["Masks"]


@pytest.mark.parametrize("installed", [False, True])
def test_what_is_installed_is_not_to_be_installed(
    installed: bool, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    import radvlm.segment.totalsegmentator_weights as weights
    from radvlm.workflows.doctor import commands_for_organs

    ready = {"fast": False}

    def require(task: str, *, fast: bool, allow_download: bool) -> None:
        if not (fast and ready["fast"]):
            raise radvlm.RadvlmError("weights", "none")

    monkeypatch.setattr(weights, "is_installed", lambda: installed)
    monkeypatch.setattr(weights, "require_task", require)
    first, last = commands_for_organs()
    assert ("pip install" in first) is not installed and ("totalseg_download_weights" in first) is installed
    assert last.startswith("radvlm report CT --segment total --fast") and last.endswith("-o OUT")
    ready["fast"] = True
    assert (commands_for_organs() == ("radvlm report CT --segment total --fast -o OUT",)) is installed


def test_what_thresholds_measure_is_asked_for_without_masks(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from radvlm.cli.main import main
    from radvlm.io.writing import save_volume

    scan = scan_of(trunk())
    assert radvlm.measure(scan).structures == measured(trunk()).structures
    save_volume(tmp_path / "ct.nii.gz", scan)
    assert main(["measure", str(tmp_path / "ct.nii.gz")]) == 0
    told = capsys.readouterr()
    assert (
        "body_width" in told.out
        and "by thresholds" not in told.out
        and "nothing of organs" in told.err
        and "liver" not in told.out
    )
    for words in (["measure"], ["measure", str(tmp_path / "ct.nii.gz"), "--scheme", "btcv"]):
        assert main(words) == 2
        assert "masks" in capsys.readouterr().err


def test_a_scan_with_masks_says_nothing_of_it() -> None:
    scan = scan_of(trunk())
    labels = np.zeros(SHAPE, np.uint8)
    labels[50:60, 40:50, 5:10] = 1
    masks = radvlm.load_segmentation((labels, scan.geometry.affine), like=scan, scheme={1: "liver"})
    kinds = {f.kind for f in radvlm.generate_report(scan, segmentation=masks).findings}
    assert not kinds & {"imaged_region", "patient_position", "vessel_contrast", "body_size", "body_fat", "aerated_lung"}


def test_printed_errors_are_not_below_those_that_were_measured() -> None:
    kept = Path(__file__).resolve().parents[2] / "eval" / "results" / "truth_thresholds.json"
    found = json.loads(kept.read_text(encoding="utf-8"))["phantoms"]
    assert max(abs(found[quantity]["worst"]) for quantity in BODY_SIZES) <= SIZE_ERROR_PERCENT
    assert abs(found["fat_share, points"]["worst"]) <= FAT_ERROR_POINTS
    assert abs(found["volume of aerated lung"]["worst"]) <= LUNG_ERROR_PERCENT
    assert not found["side of the table"]["wrong"]


@pytest.mark.slow
def test_real_scans(real_data: Path) -> None:
    plain = radvlm.load_volume(real_data / "plain_abdomen" / "ct.nii.gz")
    truth = radvlm.load_segmentation(real_data / "plain_abdomen" / "segmentation.nii.gz", like=plain)
    masks = segment_by_threshold(plain)
    fat = masks.mask("body_fat")
    for organ in ("liver", "spleen", "kidney_left", "autochthon_left", "autochthon_right"):
        inside = truth.mask(organ)
        assert (fat & inside).sum() < 0.03 * inside.sum(), organ
    texts = [s.text for s in radvlm.generate_report(plain).report.sentences]
    assert any(t.startswith("Imaged part: lower chest and abdomen; 54 mm below the lungs") for t in texts)
    assert any("lies on the back" in t for t in texts)
    assert any(t.startswith("Blood before the spine is without contrast (49 HU)") for t in texts)  # aorta 43 HU
    upper = radvlm.generate_report(real_data / "upper_abdomen_dicom")
    series = radvlm.load_segmentation(real_data / "upper_abdomen_masks" / "segmentation.nii.gz", like=upper.volume)
    aorta = np.median(upper.volume.hu[series.mask("aorta")])
    assert value(upper.measurements, "blood_before_spine", "median_hu") == pytest.approx(aorta, abs=10)
    blood = upper.segmentation.mask("blood_before_spine")
    vessels = series.mask("aorta") | series.mask("inferior_vena_cava") | series.mask("portal_vein_and_splenic_vein")
    assert (blood & vessels).sum() > 0.8 * blood.sum()
    assert upper.measurements.structure("body_extremities") is not None  # an arm beside the trunk
    width = value(upper.measurements, "body", "body_width")
    assert width == pytest.approx(349, abs=6)  # by ruler, without the arms

"""Nothing that masks mark vanishes: what is too small to be measured is told as that."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

import hand_made
import solids
from radvlm.compose import compose_report
from radvlm.compose.verify.sentence import overlooked, verify_sentence
from radvlm.interpret import interpret
from radvlm.quantify import measure_scan, region_mask
from radvlm.types.finding import Finding, Status
from radvlm.types.report import Report, Sentence
from radvlm.types.scan_measurements import Measurements
from radvlm.types.study import Patient

ADULT = Patient(sex="F", age_years=63)
SHAPE = (40, 40, 24)
#: What the checklist of a report asks for, and these masks answer.
ANSWERED = {
    "kidney_stone_left": "urinary_stone",
    "liver_metastasis": "focal_liver_lesion",
    "lung_nodule": "pulmonary_nodule",
    "ascites": "ascites",
}


def _measured(name: str, sizes: tuple[int, ...], spacing: float = 5.0, host: str = "liver") -> Measurements:
    """Areas of so many voxels of one structure, two voxels apart along i and stacked along k, in an organ."""
    organ = np.zeros(SHAPE, bool)
    organ[2:38, 2:38, 2:22] = True
    mask = np.zeros(SHAPE, bool)
    for n, voxels in enumerate(sizes):
        block = np.zeros((4, 4, 4), bool)
        block.reshape(-1)[:voxels] = True
        mask[4 + 6 * (n % 5) : 8 + 6 * (n % 5), 4 + 6 * (n // 5) : 8 + 6 * (n // 5), 4:8] = block
    geometry = solids.geometry(SHAPE, (spacing, spacing, spacing))
    return measure_scan(None, solids.segmentation({host: organ, name: mask}, geometry))


def _report(numbers: Measurements) -> Report:
    return compose_report(interpret(numbers, patient=ADULT))


def _open(report: Report, kind: str) -> list[Finding]:
    return [f for f in report.findings if f.kind == kind and f.status is Status.INDETERMINATE]


@pytest.mark.parametrize(
    ("name", "host", "voxels", "text"),
    [
        ("kidney_stone_left", "kidney_left", 3, "1 area of fewer than 4 voxels is labeled as left renal stone"),
        ("liver_metastasis", "liver", 2, "1 area of fewer than 4 voxels is labeled as liver metastasis"),
        ("lung_nodule", "lung_upper_lobe_left", 1, "1 area of fewer than 4 voxels is labeled as pulmonary nodule"),
        ("ascites", "liver", 3, "1 area of fewer than 4 voxels is labeled as ascites"),
    ],
)
def test_a_lesion_of_a_few_voxels_is_told_and_neither_measured_nor_denied(
    name: str, host: str, voxels: int, text: str
) -> None:
    numbers = _measured(name, (voxels,), host=host)
    assert numbers.lesions == () and numbers.searched(name) and name not in numbers.absent
    report = _report(numbers)
    (finding,) = _open(report, name)
    assert not finding.measurements and [r.voxels for r in finding.regions] == [voxels]
    told = [s for s in report.sentences if finding in s.findings]
    assert {s.text for s in told} == {f"{text}, not measured."}
    assert {s.section for s in told} == {finding.section, "impression"}
    assert not any(s.text.startswith("No ") and finding.kind in s.text for s in report.sentences)
    assert not any(f.kind == ANSWERED[name] for f in report.not_assessed)


def test_what_is_further_is_counted_beside_what_was_measured() -> None:
    report = _report(_measured("liver_metastasis", (53, 3, 2)))
    assert "2 further areas of fewer than 4 voxels are labeled as liver metastasis, not measured." in report.text
    assert [s.text[:2] for s in report.impression][1] == "2 "  # 9 and 8 mm on this grid: worth a look


def test_a_speck_beside_a_lesion_stays_out_of_the_impression() -> None:
    report = _report(_measured("liver_metastasis", (53, 3, 2), spacing=1.0))
    assert "2 further areas of fewer than 4 voxels are labeled as liver metastasis" in report.text
    assert not any("further area" in s.text for s in report.impression)


@pytest.mark.parametrize(
    ("name", "host", "voxels", "spacing", "told"),
    [
        ("lung_nodule", "lung_upper_lobe_left", 1, 3.56, True),  # a nodule of 5 mm on a grid of 3 x 3 x 5 mm
        ("kidney_stone_right", "kidney_right", 2, 2.92, True),  # a stone of 5 mm on a grid of 2.5 x 2.5 x 4 mm
        ("kidney_stone_right", "kidney_right", 3, 2.0, False),
        ("lung_nodule", "lung_upper_lobe_left", 1, 1.0, False),
    ],
)
def test_a_small_labeled_lesion_on_a_coarse_grid_is_hinted_at_in_the_impression(
    name: str, host: str, voxels: int, spacing: float, told: bool
) -> None:
    report = _report(_measured(name, (voxels,), spacing, host))
    assert any("1 area of fewer than 4 voxels is labeled as" in s.text for s in report.impression) is told


def test_thousands_of_specks_are_one_sentence_with_the_places_of_the_largest() -> None:
    numbers = _measured("liver_lesion", (3,) * 5 + (2,) * 15)
    (areas,) = numbers.unmeasured
    assert areas.count == 20 and [r.voxels for r in areas.regions] == [3] * 5 + [2] * 7
    assert sum("20 areas of" in s.text for s in _report(numbers).sentences) == 2


def test_a_limit_in_ml_is_told_in_ml() -> None:
    organ = np.ones((20, 20, 20), bool)
    mask = np.zeros_like(organ)
    mask[5:8, 5:8, 5:8] = True
    numbers = measure_scan(None, solids.segmentation({"liver": organ, "liver_cyst": mask}), min_lesion_ml=5.0)
    assert "1 area of fewer than 4 voxels or less than 5 mL is labeled as hepatic cyst" in _report(numbers).text


def test_fluid_is_told_as_a_whole() -> None:
    assert not _open(_report(_measured("ascites", (53, 3))), "ascites")


def test_regions_give_their_voxels_back_and_json_keeps_them() -> None:
    numbers = _measured("liver_metastasis", (53, 3, 2))
    assert Measurements.from_json(numbers.to_json()).unmeasured == numbers.unmeasured
    organ = np.ones(SHAPE, bool)
    mask = np.zeros(SHAPE, bool)
    mask[3, 3, 3:6] = mask[9:13, 9:13, 9:13] = True
    masks = solids.segmentation({"liver": organ, "liver_metastasis": mask})
    (areas,) = measure_scan(None, masks).unmeasured
    box, voxels = region_mask(masks, areas.regions[0])
    assert box.start == (3, 3, 3) and voxels.sum() == 3


@pytest.mark.parametrize(
    "words",
    [
        "3 further areas of fewer than 4 voxels are labeled as liver metastasis, not measured.",
        "2 further areas of fewer than 4 voxels are labeled as hepatic cyst, not measured.",
        "2 further areas of fewer than 5 voxels are labeled as liver metastasis, not measured.",
        "Two liver metastases.",
        "No liver metastasis segmented.",
    ],
)
def test_other_words_about_what_was_not_measured_are_refused(words: str) -> None:
    (finding,) = _open(_report(_measured("liver_metastasis", (53, 3, 2))), "liver_metastasis")
    assert verify_sentence(Sentence(words, "liver", (finding,))) is not None


def test_a_single_lesion_is_not_claimed_beside_areas_that_were_not_measured() -> None:
    report = _report(_measured("liver_metastasis", (53, 3)))
    measured = next(f for f in report.findings if f.kind == "liver_metastasis" and f.status is Status.PRESENT)
    sentence = Sentence("Single liver metastasis.", "liver", (measured,))
    assert verify_sentence(sentence) is None
    assert overlooked(sentence, report.findings) is not None
    assert overlooked(sentence, [replace(measured)]) is None


def test_what_has_no_place_in_the_impression_is_named_in_its_last_line() -> None:
    kinds = ("liver_lesion", "spleen_lesion", "kidney_lesion_left", "lung_nodule", "liver_cyst", "spleen_cyst")
    lesions = [hand_made.lesion(kind, 1, 30.0 - n, 20.0) for n, kind in enumerate((*kinds, "gallstone"))]
    report = compose_report(interpret(hand_made.numbers([], lesions), patient=ADULT))
    assert len(report.impression) == 5
    last = report.impression[-1]
    assert last.text == "Also described in the findings: gallstone; hepatic cyst; splenic cyst."
    for wrong in ("Also described in the findings: gallstone.", last.text.replace("gallstone", "renal stone")):
        assert verify_sentence(replace(last, text=wrong)) is not None
    assert verify_sentence(replace(last, findings=last.findings[:1])) is not None


def test_without_masks_the_impression_says_so_and_no_heading_is_empty() -> None:
    numbers = replace(hand_made.numbers([]), masks_given=False)
    report = _report(numbers)
    assert [s.text for s in report.impression] == ["Organs and lesions were not assessed: no masks were given."]
    assert "FINDINGS:" not in report.text

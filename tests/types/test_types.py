"""Volume, Segmentation, Study, Finding: a constructed object is valid, anything else is refused."""

from __future__ import annotations

import numpy as np
import pytest

from radvlm.errors import FileFormatError, GridError, InputError, RadvlmError, StructureError, VerificationError
from radvlm.types.anatomy import KINDS, SECTIONS, children, structure, structures
from radvlm.types.finding import Assessment, Finding, citable
from radvlm.types.geometry import Box, Geometry
from radvlm.types.measurement import Measurement
from radvlm.types.region import Region
from radvlm.types.report import Report, Sentence
from radvlm.types.segmentation import LabelPlace, Segmentation
from radvlm.types.study import Patient
from radvlm.types.volume import Volume

GRID = Geometry((4, 5, 6), np.diag([1.0, 2.0, 3.0, 1.0]))


def segmentation(searched: frozenset[str] = frozenset({"spleen"})) -> Segmentation:
    labels = np.zeros((4, 5, 6), np.uint8)
    labels[1:3, 1:4, 0:3] = 5
    inner = np.zeros((4, 5, 6), np.uint8)
    inner[1, 1, 1] = 1
    return Segmentation((labels, inner), {"liver": LabelPlace(0, 5), "liver_lesion": LabelPlace(1, 1)}, searched, GRID)


def test_an_error_states_rule_received_and_remedy() -> None:
    error = FileFormatError("a NIfTI file starts with a header", "an empty file", "Copy it again")
    assert str(error) == "Received: an empty file. Required: a NIfTI file starts with a header. Copy it again."
    assert isinstance(error, OSError) and isinstance(error, RadvlmError)
    assert isinstance(StructureError("x"), LookupError) and isinstance(InputError("x"), ValueError)


def test_the_anatomy_table_is_consistent() -> None:
    table = structures()
    assert len(table) > 450
    for item in table.values():
        assert item.kind in KINDS and item.section in SECTIONS and item.words
        assert item.side in ("left", "right", "")
        assert item.sex in ("F", "M", "")
        assert not item.parent or item.sex == table[item.parent].sex, f"{item.name}: the sex of what it is a part of"
        assert not item.parent or item.parent in table, item.name
        assert bool(item.snomed_code) == bool(item.snomed_meaning), item.name
        assert item.snomed_code.isdigit() or not item.snomed_code
        if item.side:
            assert item.side in item.words or item.kind in ("part", "lesion"), item.name
    assert {item.name for item in table.values() if item.sex == "F"} == {
        "uterus",
        "ovary_left",
        "ovary_right",
        "uterus_lesion",
    }
    assert {item.name for item in table.values() if item.sex == "M"} == {
        "prostate",
        "seminal_vesicle",
        "prostate_lesion",
    }
    assert structure("kidney_left").words == "left kidney"
    assert [s.words for s in children("liver", "part")] == [
        f"segment {n}" for n in ("I", "II", "III", "IV", "V", "VI", "VII", "VIII")
    ]


def test_an_unknown_structure_names_its_neighbors() -> None:
    with pytest.raises(StructureError, match="kidney_left"):
        structure("kidny_left")


def test_presence_absence_and_not_searched_are_three_things() -> None:
    masks = segmentation()
    assert masks.present == ("liver", "liver_lesion")
    assert masks.absent == ("spleen",)
    assert masks.voxel_count("liver") == 2 * 3 * 3
    assert masks.voxel_count("spleen") == 0
    with pytest.raises(StructureError, match="searched"):
        masks.voxel_count("pancreas")


def test_overlapping_structures_keep_their_own_voxels() -> None:
    masks = segmentation()
    assert masks.boxes["liver"] == Box((1, 1, 0), (3, 4, 3))
    assert masks.mask("liver").shape == GRID.shape
    assert np.argwhere(masks.mask("liver_lesion")).tolist() == [[1, 1, 1]]


def test_a_mask_is_the_whole_grid_and_a_boxed_one_says_so() -> None:
    masks = segmentation()
    whole, box = masks.mask("liver"), Box((0, 1, 0), (2, 5, 1))
    assert whole.sum() == masks.voxel_count("liver")
    assert masks.mask_in_box("liver").shape == masks.boxes["liver"].shape and masks.mask_in_box("liver").all()
    np.testing.assert_array_equal(masks.mask_in_box("liver", box), whole[box.slices])
    for asked in (masks.mask, masks.mask_in_box):
        with pytest.raises(StructureError, match="present in the masks"):
            asked("spleen")


def test_a_structure_at_the_edge_is_cut() -> None:
    masks = segmentation()
    assert masks.cut_faces("liver") == ("inferior",)
    assert masks.cut_faces("liver_lesion") == ()


def test_a_single_slice_does_not_cut_everything() -> None:
    grid = Geometry((4, 5, 1), np.eye(4))
    labels = np.zeros((4, 5, 1), np.uint8)
    labels[1, 1, 0] = 1
    assert Segmentation((labels,), {"liver": LabelPlace(0, 1)}, frozenset(), grid).cut_faces("liver") == ()


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_an_unnamed_label_is_refused(dtype: type) -> None:
    labels = np.zeros((4, 5, 6), dtype)
    labels[0, 0, 0], labels[1, 1, 1] = 7, 9
    with pytest.raises(StructureError, match=r"labels \[9\]"):
        Segmentation((labels,), {"liver": LabelPlace(0, 7)}, frozenset(), GRID)


def test_a_placed_structure_needs_voxels_and_the_right_grid() -> None:
    labels = np.zeros((4, 5, 6), np.uint8)
    with pytest.raises(InputError, match="at least one voxel"):
        Segmentation((labels,), {"liver": LabelPlace(0, 7)}, frozenset(), GRID)
    with pytest.raises(GridError, match="shape"):
        Segmentation((labels[:2],), {}, frozenset(), GRID)
    with pytest.raises(InputError, match="uint8 or uint16"):
        Segmentation((labels.astype(np.int32),), {}, frozenset(), GRID)
    lps = Geometry((4, 5, 6), np.diag([-1.0, -2.0, 3.0, 1.0]))
    with pytest.raises(GridError, match="RAS"):
        Segmentation((labels,), {}, frozenset(), lps)


def test_a_volume_is_read_only_and_in_order() -> None:
    hu = np.zeros((4, 5, 6), np.int16)
    volume = Volume(hu, GRID)
    with pytest.raises(ValueError, match="read-only"):
        volume.hu[0, 0, 0] = 1
    hu[0, 0, 0] = 1  # the caller's own array stays writable
    with pytest.raises(InputError, match="int16 or float32"):
        Volume(hu.astype(float), GRID)
    with pytest.raises(GridError, match="shape"):
        Volume(hu[:2], GRID)


@pytest.mark.parametrize(("name", "value"), [("sex", "x"), ("age_years", 200), ("height_cm", 1.7), ("weight_kg", -3)])
def test_impossible_patients_are_refused(name: str, value: object) -> None:
    with pytest.raises(InputError, match=name):
        Patient(**{name: value})


def region() -> Region:
    return Region("liver", "liver", Box((1, 1, 0), (3, 4, 3)), 18, 0.108, (1.5, 4.0, 3.0))


def finding(**changes: object) -> Finding:
    values = {
        "id": "F1",
        "kind": "organ",
        "status": "present",
        "site": "liver",
        "section": "liver",
        "regions": (region(),),
    }
    return Finding(**{**values, **changes})  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"regions": ()}, "has a region"),
        ({"status": "absent"}, "no region"),
        ({"status": "not assessed", "regions": ()}, "says why"),
        ({"status": "indeterminate"}, "says why"),
        ({"source": "model"}, "probability"),
        ({"confidence": 0.5}, "probability"),
        ({"source": "model", "confidence": 1.5}, "between 0 and 1"),
        ({"site": "lever"}, "anatomy table"),
        ({"section": "nowhere"}, "SECTIONS"),
    ],
)
def test_findings_that_contradict_themselves_are_refused(changes: dict, message: str) -> None:
    with pytest.raises(RadvlmError, match=message):
        finding(**changes)


def assessment(**changes: object) -> Assessment:
    values = {"id": "F2", "kind": "hepatomegaly", "status": "absent", "site": "liver", "section": "liver"}
    return Assessment(**{**values, "category": "normal", **changes})  # type: ignore[arg-type]


def test_only_what_is_seen_can_be_judged() -> None:
    judged = finding(assessments=(assessment(),))
    assert citable([judged]) == (judged, assessment())
    with pytest.raises(InputError, match="judges something that is seen"):
        finding(status="absent", regions=(), assessments=(assessment(),))
    with pytest.raises(InputError, match="judges something that is seen"):
        finding(assessments=(assessment(status="not assessed", reason="cut"),))
    with pytest.raises(InputError, match="has a region"):
        assessment(status="present")


def test_a_report_says_every_present_assessment() -> None:
    large = assessment(status="present", category="enlarged", regions=(region(),))
    liver = finding(assessments=(large,))
    with pytest.raises(VerificationError, match="unsaid"):
        Report((liver,), (Sentence("The liver is seen.", "liver", (liver,)),))
    said = Sentence("The liver is enlarged.", "liver", (liver, large))
    report = Report((liver,), (said,))
    assert said.finding_ids == ("F1", "F2") and said.regions == (region(),) and report.citable == (liver, large)
    with pytest.raises(VerificationError, match="of its own report"):
        Report((finding(),), (said,))
    with pytest.raises(VerificationError, match="unique"):
        Report((liver, finding(id="F2")), (said,))


def test_a_measurement_is_finite_and_named() -> None:
    assert Measurement("long_axis", 12, "x").unit == "mm"
    with pytest.raises(InputError, match="finite"):
        Measurement("long_axis", float("nan"), "x")
    with pytest.raises(InputError, match="QUANTITIES"):
        Measurement("lenght", 1.0, "x")


def test_a_report_says_every_present_finding_and_cites_only_its_own() -> None:
    one = finding()
    sentence = Sentence("The liver is seen.", "liver", (one,))
    assert Report((one,), (sentence,)).regions == (region(),)
    assert sentence.finding_ids == ("F1",)
    with pytest.raises(VerificationError, match="unsaid"):
        Report((one,), ())
    with pytest.raises(VerificationError, match="its own report"):
        Report((), (sentence,))
    with pytest.raises(VerificationError, match="its own report"):
        Report((finding(category="other"),), (sentence,))
    with pytest.raises(VerificationError, match="unique"):
        Report((one, one), (sentence,))
    with pytest.raises(InputError, match="cites"):
        Sentence("x", "liver", ())

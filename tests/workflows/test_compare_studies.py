"""Two studies: alignment, pairing, growth, RECIST 1.1, sentences that cite both and nothing else."""

from __future__ import annotations

import dataclasses
import json
import math

import numpy as np
import pytest

from radvlm.errors import InputError
from radvlm.quantify.alignment import align
from radvlm.quantify.change import doubling_time
from radvlm.quantify.recist import recist
from radvlm.types.geometry import Box, Geometry
from radvlm.types.measurement import Measurement
from radvlm.types.region import Region
from radvlm.types.scan_measurements import LesionMeasurements, Measurements, StructureMeasurements
from radvlm.workflows.compare_studies import ChangeSentence, compare, verify_change

GRID = Geometry((400, 400, 400), np.array([[1.0, 0, 0, -200], [0, 1, 0, -200], [0, 0, 1, -200], [0, 0, 0, 1]]))
ORGANS = {
    "liver": (60, 10, 20),
    "spleen": (-80, -20, 30),
    "kidney_right": (50, -40, -30),
    "kidney_left": (-50, -40, -25),
    "pancreas": (0, 20, 0),
    "vertebrae_L1": (0, -60, 0),
    "vertebrae_L3": (0, -62, -70),
    "heart": (-10, 20, 120),
}


def turned(degrees: float) -> np.ndarray:
    a = math.radians(degrees)
    return np.array([[math.cos(a), -math.sin(a), 0], [math.sin(a), math.cos(a), 0], [0, 0, 1]])


def lesion(
    number: int, center, long: float, kind="liver_metastasis", short: float | None = None, host="liver", cut=()
) -> LesionMeasurements:
    short = long * 0.8 if short is None else short
    ml = math.pi / 6 * long * short * short / 1000
    region = Region(f"{kind}/{number}", kind, Box((5, 5, 5), (9, 9, 9)), 60, ml, tuple(map(float, center)), (6, 6, 6))
    numbers = tuple(
        Measurement(q, v, "given", u, region.id)
        for q, v, u in (
            ("long_axis", long, 1.0),
            ("short_axis", short, 1.0),
            ("diameter_3d", long, 1.0),
            ("volume", ml, 0.05 * ml),
        )
    )
    return LesionMeasurements(kind, number, region, numbers, host, cut_by=cut)


def scan(lesions, matrix=None, shift=(0, 0, 0), absent=("liver_metastasis", "lymph_node"), organs=ORGANS, cut=()):
    matrix = np.eye(3) if matrix is None else matrix
    moved = []
    for name, center in organs.items():
        at = matrix @ np.array(center) + shift
        region = Region(name, name, Box((0, 0, 0), (9, 9, 9)), 5000, 200.0, tuple(map(float, at)))
        moved.append(
            StructureMeasurements(
                name, region, (Measurement("volume", 200.0, "given", 1.0, name),), ("inferior",) if name in cut else ()
            )
        )
    placed = [
        dataclasses.replace(
            x,
            region=dataclasses.replace(
                x.region, centroid_mm=tuple(map(float, matrix @ np.array(x.region.centroid_mm) + shift))
            ),
        )
        for x in lesions
    ]
    gone = tuple(n for n in absent if n not in {x.structure for x in lesions})
    present = [
        StructureMeasurements(n, Region(n, n, Box((0, 0, 0), (9, 9, 9)), 99, 9.0, (0.0, 0.0, 0.0)), ())
        for n in {x.structure for x in lesions}
    ]
    return Measurements((*moved, *present), tuple(placed), gone, None, GRID)


def test_rigid_alignment_is_exact_and_a_moved_organ_does_not_bend_it() -> None:
    organs = dict(ORGANS)
    prior = scan([], organs=organs)
    organs["liver"] = (60, 10, 32)  # breathing
    found, decision = align(scan([], turned(12), (20, -8, 30), organs=organs), prior)
    assert found.kind == "rigid" and np.allclose(found.matrix[:3, :3], turned(12), atol=0.03)
    assert found.error_mm < 3 and not decision.warning
    expected = turned(12) @ np.array([60, 10, 32]) + (20, -8, 30)
    assert np.allclose(found.apply((60, 10, 20), "liver"), expected, atol=1e-6), "a lesion moves with its organ"


@pytest.mark.parametrize(("organs", "kind"), [({}, "identity"), ({"liver": (60, 10, 20)}, "translation")])
def test_too_few_organs_are_said(organs, kind) -> None:
    found, decision = align(scan([], None, (5, 0, 0), organs=organs), scan([], organs=organs))
    assert found.kind == kind and decision.warning
    assert found.error_mm is None


def test_growth_percent_and_doubling_time() -> None:
    prior = scan([lesion(1, (70, 10, 20), 20.0), lesion(2, (40, 0, 40), 15.0)])
    current = scan([lesion(1, (70, 10, 20), 30.0), lesion(2, (41, 0, 40), 15.2)], turned(9), (12, 4, -7))
    found = compare(current, prior, days=100)
    grown, same = found.changes
    assert (grown.status, same.status) == ("grown", "unchanged")
    assert (grown.change_mm, grown.change_percent) == pytest.approx((10, 50))
    assert grown.doubling_days == pytest.approx(100 * math.log(2) / math.log(1.5**3)) and same.doubling_days is None
    assert doubling_time(1, 8, 90) == pytest.approx(30) and doubling_time(8, 1, 90) == pytest.approx(-30)
    assert "3.0 x 2.4 cm, previously 2.0 x 1.6 cm; long axis +10 mm (+50 percent)" in found.sentences[0].text
    assert found.sentences[0].current_regions == ("liver_metastasis/1",) == found.sentences[0].prior_regions


def test_each_lesion_is_used_once_and_the_pairs_are_nearest_together() -> None:
    prior = scan([lesion(1, (60, 0, 20), 12.0), lesion(2, (72, 0, 20), 12.0)])
    current = scan([lesion(1, (66, 0, 20), 13.0), lesion(2, (78, 0, 20), 13.0)])
    pairs = {c.current.instance: c.prior.instance for c in compare(current, prior).changes}
    assert pairs == {1: 1, 2: 2}


def test_a_cyst_is_not_paired_with_a_metastasis_and_sides_may_be_named_or_not() -> None:
    prior = scan(
        [lesion(1, (70, 10, 20), 20.0, "liver_cyst"), lesion(1, (50, -40, -30), 20.0, "kidney_cyst", host="")],
        absent=(),
    )
    current = scan(
        [lesion(1, (70, 10, 20), 20.0), lesion(1, (50, -40, -30), 21.0, "kidney_cyst_right", host="")],
        absent=("liver_cyst",),
    )
    by_kind = {c.lesion.structure: c for c in compare(current, prior).changes}
    assert by_kind["kidney_cyst_right"].prior is not None
    assert by_kind["liver_metastasis"].status == "not comparable", "the prior was not searched for metastases"
    assert by_kind["liver_cyst"].status == "resolved"


def test_new_needs_a_prior_that_was_searched_and_shows_the_place() -> None:
    here = [lesion(1, (70, 10, 20), 20.0)]
    assert compare(scan(here), scan([])).changes[0].status == "new"
    unsearched = compare(scan(here), scan([], absent=()))
    assert unsearched.changes[0].status == "not comparable" and "not searched" in unsearched.changes[0].reason
    outside = compare(scan([lesion(1, (70, 10, 250), 20.0)]), scan([]))
    assert "does not show the place" in outside.changes[0].reason


@pytest.mark.parametrize(
    ("now", "category"),
    [
        ([30.0, 20.0], "stable disease"),
        ([36.0, 24.0], "progressive disease"),
        ([20.0, 15.0], "partial response"),
        ([], "complete response"),
        ([35.0, 23.0], "stable disease"),
    ],
)
def test_recist_by_the_sum(now, category) -> None:
    places = [(70, 10, 20), (40, 0, 40)]
    prior = scan([lesion(n + 1, p, s) for n, (p, s) in enumerate(zip(places, (30.0, 20.0), strict=True))])
    current = scan([lesion(n + 1, p, s) for n, (p, s) in enumerate(zip(places, now, strict=False))])
    found = compare(current, prior).recist
    assert found.category == category and found.baseline_mm == 50


def test_recist_chooses_two_an_organ_five_in_all_and_nodes_by_short_axis() -> None:
    many = [lesion(n, (20 + 25 * n, 10, 20), 40.0 - n) for n in range(1, 4)]
    nodes = [lesion(n, (0, 0, -30 * n), 30.0, "lymph_node", short, "") for n, short in ((1, 18.0), (2, 14.0))]
    small = [lesion(1, (-50, -40, -25), 9.0, "kidney_tumor_left", host="kidney_left")]
    cyst = [lesion(1, (50, -40, -30), 60.0, "kidney_cyst_right", host="kidney_right")]
    prior = scan([*many, *nodes, *small, *cyst])
    found = compare(prior, prior).recist
    assert [t.prior_mm for t in found.targets] == [39.0, 38.0, 18.0], "9 mm, a third in the liver, a 14 mm node: no"
    assert found.category == "stable disease"


def test_recist_new_lesion_nadir_and_a_node_that_became_normal() -> None:
    prior = scan([lesion(1, (70, 10, 20), 20.0)])
    grown = scan([lesion(1, (70, 10, 20), 20.0), lesion(2, (30, 10, 60), 12.0)])
    assert compare(grown, prior).recist.reason == "1 new lesion"
    assert compare(prior, prior, baseline_mm=40, nadir_mm=14).recist.category == "progressive disease"
    assert compare(prior, prior, baseline_mm=40).recist.category == "partial response"
    node = scan([lesion(1, (0, 0, -30), 25.0, "lymph_node", 17.0, "")])
    healed = scan([lesion(1, (0, 0, -30), 12.0, "lymph_node", 8.0, "")])
    assert compare(healed, node).recist.category == "complete response"
    cut = scan([lesion(1, (70, 10, 20), 20.0, cut=("inferior",))])
    assert compare(cut, prior).recist.category == "not evaluable"
    assert recist(scan([]), ()).category == "not evaluable"


def test_a_changed_number_or_a_sentence_without_a_study_fails() -> None:
    prior, current = scan([lesion(1, (70, 10, 20), 20.0)]), scan([lesion(1, (70, 10, 20), 30.0)])
    found = compare(current, prior, days=100)
    sentence = found.sentences[0]
    assert verify_change(sentence, found.changes, found.recist) is None
    for old, new in (("+10 mm", "+11 mm"), ("2.0 x 1.6", "2.0 x 1.7"), ("+50", "-50")):
        wrong = dataclasses.replace(sentence, text=sentence.text.replace(old, new))
        assert wrong.text != sentence.text and verify_change(wrong, found.changes, found.recist)
    assert verify_change(ChangeSentence(sentence.text, (), ()), found.changes, found.recist)


def test_output_and_input_errors() -> None:
    study = scan([lesion(1, (70, 10, 20), 20.0)])
    found = compare(study, study)
    data = json.loads(found.to_json())
    assert data["lesions"][0]["change_mm"] == 0 and data["recist"]["category"] == "stable disease"
    assert found.to_csv().count("\n") == 2 and "RECIST 1.1" in found.text
    with pytest.raises(InputError, match="generate_report or measure"):
        compare(object(), study)
    with pytest.raises(InputError, match="earlier"):
        compare(study, study, days=-3)


def saved(folder, seed: int, date: str, long_mm: float, second: bool):
    """A report of one patient written to a folder: a metastasis of a size, and maybe a second one."""
    import radvlm
    from radvlm.phantom import LesionSpec, PhantomSpec, make_phantom

    lesions = [LesionSpec("liver_metastasis", long_mm, location="liver_segment_6")]
    lesions += [LesionSpec("liver_metastasis", 16, location="liver_segment_8")] if second else []
    case = make_phantom(PhantomSpec(seed=seed, region="abdomen", spacing_mm=(3.0, 3.0, 3.0), lesions=tuple(lesions)))
    study = dataclasses.replace(case.volume.study, study_date=date)
    volume = dataclasses.replace(case.volume, study=study)
    made = radvlm.generate_report(volume, segmentation=case.segmentation, patient=case.patient)
    return made, made.save(folder, page=False)


@pytest.mark.slow
def test_folders_of_reports_are_compared_as_the_studies_themselves(tmp_path, capsys) -> None:
    from radvlm import compare as facade
    from radvlm.cli.main import main

    now, new_folder = saved(tmp_path / "new", 4, "2026-06-01", 36.0, True)
    then, old_folder = saved(tmp_path / "old", 4, "2026-03-01", 24.0, False)
    found = facade(now, then)
    assert found.days == 92 and found.recist.category == "progressive disease"
    assert sorted(c.status for c in found.changes) == ["grown", "new"]
    grown = next(c for c in found.changes if c.status == "grown")
    assert grown.change_mm == pytest.approx(12, abs=3.5) and grown.doubling_days == pytest.approx(52, rel=0.35)
    sentence = next(s for s in found.sentences if s.prior_regions and not s.text.startswith("RECIST"))
    assert sentence.current_regions == (grown.current.region.id,) and sentence.prior_regions == (grown.prior.region.id,)
    assert facade(new_folder, old_folder).to_json() == found.to_json()
    assert main(["compare", str(new_folder), str(old_folder)]) == 0
    assert capsys.readouterr().out == found.text
    assert main(["compare", str(new_folder / "measurements.json"), str(old_folder), "--format", "csv"]) == 0
    assert capsys.readouterr().out.splitlines()[0].startswith("structure,status,current,prior")
    assert main(["compare", str(old_folder), str(new_folder)]) == 2  # the earlier one is not the current one


def test_measurements_read_back_the_same_and_nothing_else_is_read(tmp_path) -> None:
    numbers = scan([lesion(1, (70, 10, 20), 20.0, cut=("inferior",)), lesion(2, (40, 0, 40), 15.0)])
    back = Measurements.from_json(numbers.to_json())
    assert back.to_json() == numbers.to_json()
    assert back.lesions == numbers.lesions and back.structures == numbers.structures
    for text in ("", "[]", "{}", '{"structures": [{}]}', numbers.to_json().replace("long_axis", "longest")):
        with pytest.raises(InputError, match=r"measurements\.json is what radvlm wrote"):
            Measurements.from_json(text)
    with pytest.raises(InputError, match="a study is a folder"):
        compare(tmp_path, numbers)


def resized(record: LesionMeasurements, **uncertainty: float) -> LesionMeasurements:
    """The lesion with other uncertainties of its measurements."""
    return dataclasses.replace(
        record,
        measurements=tuple(
            dataclasses.replace(m, uncertainty=uncertainty.get(m.quantity, m.uncertainty)) for m in record.measurements
        ),
    )


@pytest.mark.parametrize(
    ("now_mm", "prior_doubt", "status"),
    [
        (25.0, 1.0, "grown"),  # 5 mm beyond hypot(1, 1)
        (25.0, 4.8, "grown"),  # hypot(1, 4.8) = 4.9
        (25.0, 4.9, "unchanged"),  # hypot(1, 4.9) = 5.001
        (15.0, 4.9, "unchanged"),
        (15.0, 4.8, "shrunk"),
    ],
)
def test_a_change_must_exceed_the_doubt_of_both_scans(now_mm: float, prior_doubt: float, status: str) -> None:
    old, new = lesion(1, (70, 10, 20), 20.0), lesion(1, (70, 10, 20), now_mm)
    forward = compare(scan([new]), scan([resized(old, long_axis=prior_doubt)])).changes[0]
    assert forward.status == status
    backward = compare(scan([resized(new, long_axis=prior_doubt)]), scan([old])).changes[0]
    assert backward.status == status, "the doubt of the present scan counts as much"


def test_a_doubling_time_needs_a_volume_change_beyond_the_doubt_of_both_scans() -> None:
    old, new = lesion(1, (70, 10, 20), 20.0), lesion(1, (70, 10, 20), 25.0)
    difference = new.measurement("volume").value - old.measurement("volume").value
    assert compare(scan([new]), scan([old]), days=100).changes[0].doubling_days > 0
    for a, b in ((0.0, 1.01 * difference), (1.01 * difference, 0.0), (0.8 * difference, 0.8 * difference)):
        found = compare(scan([resized(new, volume=a)]), scan([resized(old, volume=b)]), days=100).changes[0]
        assert found.doubling_days is None
    assert compare(scan([new]), scan([old]), days=0).changes[0].doubling_days is None


def test_a_lesion_that_the_prior_scan_cuts_is_no_target() -> None:
    whole, cut = lesion(1, (70, 10, 20), 20.0), lesion(2, (40, 0, 40), 40.0, cut=("superior",))
    found = compare(scan([whole, lesion(2, (40, 0, 40), 40.0)]), scan([whole, cut])).recist
    assert [t.prior_mm for t in found.targets] == [20.0] and found.baseline_mm == 20.0
    assert found.category == "stable disease"


@pytest.mark.parametrize(
    ("long", "spacing", "chosen"), [(10.0, 5.0, True), (9.99, 5.0, False), (11.9, 6.0, False), (12.0, 6.0, True)]
)
def test_thick_slices_ask_for_larger_targets(long: float, spacing: float, chosen: bool) -> None:
    prior = dataclasses.replace(
        scan([lesion(1, (70, 10, 20), long)]), geometry=Geometry((400, 400, 80), np.diag([1.0, 1.0, spacing, 1.0]))
    )
    assert bool(compare(prior, prior).recist.targets) == chosen


@pytest.mark.parametrize(("short", "chosen"), [(14.99, False), (15.0, True)])
def test_a_node_is_a_target_from_15_mm(short: float, chosen: bool) -> None:
    prior = scan([lesion(1, (0, 0, -30), 30.0, "lymph_node", short, "")])
    assert bool(compare(prior, prior).recist.targets) == chosen


@pytest.mark.parametrize(
    ("now", "nadir", "category"),
    [
        (24.0, None, "stable disease"),  # +20 percent, but only 4 mm
        (30.0, 25.0, "progressive disease"),  # exactly +5 mm and +20 percent from the smallest sum
        (29.9, 25.0, "stable disease"),
        (34.9, 29.9, "stable disease"),  # +5 mm, +16.7 percent
        (14.0, None, "partial response"),  # exactly -30 percent
        (14.1, None, "stable disease"),
    ],
)
def test_limits_of_response(now: float, nadir: float | None, category: str) -> None:
    prior = scan([lesion(1, (70, 10, 20), 20.0)])
    assert compare(scan([lesion(1, (70, 10, 20), now)]), prior, nadir_mm=nadir).recist.category == category


def test_a_healed_node_that_came_with_another_is_no_new_lesion() -> None:
    prior = scan([lesion(1, (70, 10, 20), 20.0)])
    target = lesion(1, (70, 10, 20), 20.0)
    for short, category in ((9.99, "stable disease"), (10.0, "progressive disease")):
        node = lesion(1, (0, 0, -30), 14.0, "lymph_node", short, "")
        assert compare(scan([target, node]), prior).recist.category == category


@pytest.mark.parametrize("cut_now", [True, False])
def test_a_lesion_cut_in_one_scan_is_shown_in_both_and_compared_in_none(cut_now: bool) -> None:
    now = lesion(1, (70, 10, 20), 30.0, cut=("superior",) if cut_now else ())
    then = lesion(1, (70, 10, 22), 20.0, cut=() if cut_now else ("superior",))
    (found,) = compare(scan([now]), scan([then])).changes
    assert (found.status, found.reason) == ("not comparable", "cut by the field of view in one of the scans")
    assert found.current == now and found.prior == then and found.size == "long_axis"
    assert found.distance_mm == pytest.approx(2.0) and found.doubling_days is None

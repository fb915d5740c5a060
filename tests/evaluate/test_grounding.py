"""Grounding and measurement errors against hand-worked voxels, brute force and properties."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from radvlm.errors import GridError, InputError
from radvlm.evaluate import EvaluationOptions, evaluate
from radvlm.evaluate.metrics.grounding import GroundingMetric, case_scores, masks_by_report
from radvlm.evaluate.metrics.grounding_case import (
    GroundedReport,
    GroundingRules,
    _assign,
    _Places,
    _weights,
    ground_case,
    statements_of,
)
from radvlm.evaluate.metrics.measurement_error import errors_against_truth, stated_sizes, summarize_errors
from radvlm.evaluate.metrics.overlap import Place, RegionMasks, dice, iou, on_grid, pointing_voxel, shared_voxels, union
from radvlm.evaluate.registry import make_metric
from radvlm.report_reader.report_text import ReportText
from radvlm.types.finding import Finding, Source, Status
from radvlm.types.geometry import Box, Geometry
from radvlm.types.measurement import Measurement
from radvlm.types.region import Region
from radvlm.types.region_map import RegionLabel, RegionMap
from radvlm.types.report import Report, Sentence

GRID = Geometry((20, 20, 20), np.diag([2.0, 2.0, 5.0, 1.0]))
Voxels = tuple[tuple[int, int, int], tuple[int, int, int]]


def region(
    id: str,
    start: tuple[int, int, int],
    stop: tuple[int, int, int],
    grid: Geometry = GRID,
    structure: str = "liver_lesion",
) -> Region:
    """A cuboid of voxels."""
    box = Box(start, stop)
    voxels = int(np.prod(box.shape))
    center = grid.to_world((np.array(start) + np.array(stop) - 1) / 2)
    return Region(id, structure, box, voxels, voxels * grid.voxel_volume_mm3 / 1000, tuple(center.tolist()), start)


def finding(
    id: str,
    where: Region | None = None,
    kind: str = "liver_lesion",
    status: Status = Status.PRESENT,
    site: str = "liver",
    sizes: Sequence[tuple[str, float]] = (),
) -> Finding:
    source = Source.MASKS if where or status is not Status.PRESENT else Source.MODEL
    return Finding(
        id,
        kind,
        status,
        site,
        "liver",
        (where,) if where else (),
        tuple(Measurement(q, v, "test") for q, v in sizes),
        source=source,
        confidence=0.9 if source is Source.MODEL else None,
    )


def report(*findings: Finding, texts: Sequence[str] = ()) -> Report:
    said = texts or [f"Statement {f.id}." for f in findings]
    return Report(findings, tuple(Sentence(t, "liver", (f,)) for t, f in zip(said, findings, strict=True)))


def grounded(r: Report, grid: Geometry = GRID) -> GroundedReport:
    """Masks are the full boxes: overlaps can be worked by hand."""
    return GroundedReport.of(r, RegionMasks(lambda x: (x.box, np.ones(x.box.shape, dtype=bool)), grid))


def scores(reference: Report, candidate: Report, **rules: Any) -> dict[str, float | None]:
    case = ground_case(grounded(reference), grounded(candidate), rules=GroundingRules(**rules))
    return {name: score.value for name, score in case_scores(case).items()}


A, B = region("liver_lesion/1", (2, 2, 2), (6, 6, 6)), region("liver_lesion/2", (10, 10, 10), (12, 12, 12))
#: A moved by one voxel along i: 48 of 64 voxels are shared.
A_MOVED = region("liver_lesion/1", (3, 2, 2), (7, 6, 6))


def test_overlap_of_moved_cuboids_is_as_worked_by_hand() -> None:
    a, b = (Place(r.box, np.ones(r.box.shape, dtype=bool)) for r in (A, A_MOVED))
    assert shared_voxels(a, b) == 48
    assert dice(a, b) == pytest.approx(2 * 48 / 128)
    assert iou(a, b) == pytest.approx(48 / 80)
    assert union([a, b]).voxels == 80 and union([]).voxels == 0


@settings(max_examples=40)
@given(st.data())
def test_overlap_equals_that_of_full_volumes(data: st.DataObject) -> None:
    rng = np.random.default_rng(data.draw(st.integers(0, 10_000)))
    places, volumes = [], []
    for _ in range(2):
        start = rng.integers(0, 12, 3)
        box = Box(tuple(start), tuple(start + rng.integers(1, 8, 3)))  # type: ignore[arg-type]
        mask = rng.random(box.shape) < 0.6
        volume = np.zeros(GRID.shape, dtype=bool)
        volume[box.slices] = mask
        places.append(Place(box, mask))
        volumes.append(volume)
    a, b = volumes
    assert shared_voxels(*places) == (a & b).sum()
    assert iou(*places) == pytest.approx((a & b).sum() / max((a | b).sum(), 1))
    assert dice(*places) == pytest.approx(2 * (a & b).sum() / max(a.sum() + b.sum(), 1))
    joined = union(places)
    whole = np.zeros(GRID.shape, dtype=bool)
    if joined.box is not None:
        whole[joined.box.slices] = joined.mask
    assert (whole == (a | b)).all()


def test_pointing_voxel_lies_in_a_ring() -> None:
    ring = np.ones((5, 5, 1), dtype=bool)
    ring[1:4, 1:4] = False
    voxel = pointing_voxel(Place(Box((4, 4, 4), (9, 9, 5)), ring))
    assert voxel is not None and ring[voxel[0] - 4, voxel[1] - 4, 0]
    assert pointing_voxel(Place(Box((0, 0, 0), (1, 1, 1)), np.zeros((1, 1, 1), dtype=bool))) is None


def test_a_mask_on_a_flipped_and_finer_grid_comes_back_on_the_reference_grid() -> None:
    fine = Geometry((40, 40, 40), np.array([[-1.0, 0, 0, 38.5], [0, 1.0, 0, -0.5], [0, 0, 2.5, -1.25], [0, 0, 0, 1]]))
    coarse = np.zeros(GRID.shape, dtype=bool)
    coarse[A.box.slices] = True
    centers = np.stack(np.meshgrid(*[np.arange(40)] * 3, indexing="ij"), -1).reshape(-1, 3)
    nearest = np.rint(GRID.to_index(fine.to_world(centers))).astype(int)
    inside = ((nearest >= 0) & (nearest < 20)).all(axis=1)
    mask = np.zeros(len(centers), dtype=bool)
    mask[inside] = coarse[tuple(nearest[inside].T)]
    back = on_grid(Place(Box((0, 0, 0), (40, 40, 40)), mask.reshape(fine.shape)), fine, GRID)
    assert back.voxels == 64 and shared_voxels(back, Place(A.box, np.ones((4, 4, 4), dtype=bool))) == 64
    finer = on_grid(Place(A.box, np.ones((4, 4, 4), dtype=bool)), GRID, fine)
    assert finer.voxels == 64 * 8  # each voxel of 2 x 2 x 5 mm is eight of 1 x 1 x 2.5 mm
    assert finer.box is not None and finer.mask is not None
    center = fine.to_world(np.argwhere(finer.mask).mean(axis=0) + np.array(finer.box.start))
    assert np.allclose(center, A.centroid_mm)
    away = Geometry((5, 5, 5), np.array([[2.0, 0, 0, 500], [0, 2, 0, 0], [0, 0, 5, 0], [0, 0, 0, 1]]))
    assert on_grid(Place(Box((0, 0, 0), (5, 5, 5)), np.ones((5, 5, 5), dtype=bool)), away, GRID).voxels == 0


def test_region_map_gives_back_a_region_under_another() -> None:
    labels = np.zeros(GRID.shape, dtype=np.uint8)
    liver = region("liver", (0, 0, 0), (8, 8, 8), structure="liver")
    labels[liver.box.slices] = 1
    labels[A.box.slices] = 2
    painted = RegionMap(labels, GRID, (RegionLabel(1, liver, (2,)), RegionLabel(2, A)))
    masks = RegionMasks.of(painted)
    assert masks.place([liver]).voxels == 512 and masks.place([A]).voxels == 64
    with pytest.raises(InputError, match="label map"):
        masks.place([B])
    far = replace(A, box=Box((18, 0, 0), (25, 1, 1)))
    with pytest.raises(GridError):
        masks.place([far])


def test_a_case_worked_by_hand() -> None:
    """Two lesions and an absent stone; the candidate moves one lesion, does not localise the other, invents a third."""
    far = region("liver_lesion/3", (15, 15, 15), (17, 17, 17))
    stone = finding("R3", None, "gallstone", Status.ABSENT, "gallbladder")
    reference = report(
        finding("R1", A, sizes=[("long_axis", 8.0), ("mean_hu", 20.0)]),
        finding("R2", B, sizes=[("long_axis", 4.0)]),
        stone,
    )
    candidate = report(
        finding("C1", A_MOVED, sizes=[("long_axis", 11.0), ("mean_hu", 15.0), ("volume", 1.0)]),
        finding("C2", None),
        finding("C3", far),
        replace(stone, id="C4"),
    )
    got = scores(reference, candidate)
    # Pairs: R1-C1 by place. R2 goes to the localized C3 rather than to C2: both agree in words, C3 lies nearer.
    assert got["logical-precision"] == pytest.approx(3 / 4) and got["logical-recall"] == 1.0
    assert got["logical-f1"] == pytest.approx(2 * 3 / 7)
    assert got["dice"] == pytest.approx((0.75 + 0.0) / 2) and got["iou"] == pytest.approx((0.6 + 0.0) / 2)
    assert got["hit-rate"] == pytest.approx(1 / 2)
    step = np.linalg.norm(np.array(far.centroid_mm) - np.array(B.centroid_mm))
    assert got["distance-mm"] == pytest.approx((2.0 + step) / 2)
    assert got["grounding-precision"] == pytest.approx(1 / 2)
    assert got["spatial-precision"] == pytest.approx(1 / 2) and got["spatial-recall"] == pytest.approx(1 / 2)
    assert got["instance-precision"] == pytest.approx(1 / 2) and got["instance-recall"] == pytest.approx(1 / 2)
    assert got["mm-error"] == 3.0 and got["mm-bias"] == 3.0 and got["hu-error"] == 5.0 and got["hu-bias"] == -5.0
    assert got["ml-error"] is None and got["not-localised"] == 0.0
    # With the invented lesion gone, the second lesion is matched without a place.
    kept = scores(reference, report(*candidate.findings[:2], candidate.findings[3]))
    assert kept["not-localised"] == pytest.approx(1 / 2) and kept["dice"] == pytest.approx(0.75)
    assert kept["hit-rate"] == pytest.approx(1 / 2) and kept["logical-f1"] == 1.0
    assert kept["spatial-precision"] == 1.0 and kept["spatial-recall"] == pytest.approx(1 / 2)


def test_thresholds_decide_and_dice_is_the_larger_of_the_two() -> None:
    pair = report(finding("R", A)), report(finding("C", A_MOVED))
    assert scores(*pair, instance_threshold=0.6)["instance-f1"] == 1.0
    assert scores(*pair, instance_threshold=0.61)["instance-f1"] == 0.0
    assert scores(*pair, spatial_threshold=0.7)["spatial-f1"] == 0.0
    assert scores(*pair, spatial_threshold=0.7, overlap="dice")["spatial-f1"] == 1.0
    with pytest.raises(InputError):
        GroundingRules(instance_threshold=0.0)
    with pytest.raises(InputError):
        GroundingRules(overlap="box")


def test_side_site_kind_and_status_keep_statements_apart() -> None:
    left = region("x", (2, 2, 2), (4, 4, 4), structure="kidney_left")
    right = region("x", (2, 2, 2), (4, 4, 4), structure="kidney_right")
    base = finding("R", left, "renal_cyst", site="kidney_left")
    for other in (
        finding("C", right, "renal_cyst", site="kidney_right"),
        replace(base, id="C", kind="renal_mass"),
        replace(base, id="C", status=Status.INDETERMINATE, reason="too small"),
        finding("C", None, "renal_cyst", site="spleen"),
    ):
        assert scores(report(base), report(other))["logical-f1"] == 0.0
    assert scores(report(base), report(replace(base, id="C")))["logical-f1"] == 1.0
    part = finding("C", None, "liver_lesion", site="liver_segment_6")
    assert scores(report(finding("R", A)), report(part))["logical-f1"] == 1.0


def test_only_present_findings_when_asked() -> None:
    stone = finding("R3", None, "gallstone", Status.ABSENT, "gallbladder")
    reference, candidate = report(finding("R1", A), stone), report(replace(stone, id="C"))
    assert scores(reference, candidate)["logical-recall"] == pytest.approx(1 / 2)
    assert scores(reference, candidate, statuses=("present",))["logical-recall"] == 0.0
    with pytest.raises(InputError):
        GroundingRules(statuses=("maybe",))


def test_organs_and_what_was_not_assessed_are_left_out() -> None:
    organ = finding("O", region("liver", (0, 0, 0), (9, 9, 9), structure="liver"), "organ")
    blind = Finding("N", "gallstone", Status.NOT_ASSESSED, "gallbladder", "liver", reason="outside")
    mine = Report((organ, blind), (Sentence("The liver.", "liver", (organ,)),))
    got = scores(mine, report(finding("C", A)))
    assert got["logical-precision"] == 0.0 and got["logical-recall"] is None and got["hit-rate"] is None


lesions = st.lists(
    st.tuples(st.integers(0, 12), st.integers(0, 12), st.integers(1, 6), st.booleans()), min_size=0, max_size=4
)


def _drawn(rows: list[tuple[int, int, int, bool]]) -> Report:
    return report(
        *[
            finding(
                f"F{n}", region(f"liver_lesion/{n}", (i, j, 3), (i + size, j + size, 3 + size)) if located else None
            )
            for n, (i, j, size, located) in enumerate(rows)
        ]
    )


@settings(max_examples=60)
@given(lesions, lesions)
def test_identical_is_perfect_and_swapping_swaps(first: list, second: list) -> None:
    a, b = _drawn(first), _drawn(second)
    same = scores(a, a)
    perfect = {o.name: o.perfect for o in GroundingMetric().outputs}
    for name, value in same.items():
        assert value is None or value == pytest.approx(perfect[name]), name
    one, two = scores(a, b), scores(b, a)
    for key in ("logical", "instance"):
        assert one[f"{key}-precision"] == two[f"{key}-recall"] and one[f"{key}-f1"] == two[f"{key}-f1"]
    assert one["logical-f1"] is None or 0 <= one["logical-f1"] <= 1


@settings(max_examples=40)
@given(lesions, lesions)
def test_assignment_is_the_best_of_all(first: list, second: list) -> None:
    a, b = grounded(_drawn(first)), grounded(_drawn(second))
    said, told = (statements_of(x.report, "finding", GroundingRules()) for x in (a, b))
    weights = _weights(said, told, _Places(a, b, True))
    pairs = _assign(weights)
    if not weights.size:
        assert pairs == []
        return
    wide = weights if weights.shape[0] <= weights.shape[1] else weights.T
    best = max(
        sum(wide[i, j] for i, j in enumerate(order))
        for order in itertools.permutations(range(wide.shape[1]), wide.shape[0])
    )
    assert sum(weights[i, j] for i, j in pairs) == pytest.approx(best)
    assert len(pairs) == min(weights.shape)  # all agree in words here: as many pairs as possible


def test_more_pairs_win_over_a_closer_pair() -> None:
    far = region("liver_lesion/3", (15, 15, 15), (17, 17, 17))
    reference = report(finding("R1", far, site="liver_segment_6"), finding("R2", A, site="liver_segment_8"))
    candidate = report(finding("C1", A, site="liver"), finding("C2", None, site="liver_segment_8"))
    case = ground_case(grounded(reference), grounded(candidate))
    assert {(p.reference.id, p.candidate.id) for p in case.matched if p.reference and p.candidate} == {
        ("R1", "C1"),
        ("R2", "C2"),
    }


def test_sentences_are_grounded_by_the_union_of_their_findings() -> None:
    first, second = finding("F1", A), finding("F2", B)
    both = Report(
        (first, second),
        (Sentence("Two lesions.", "liver", (first, second)), Sentence("Lesions.", "impression", (first, second))),
    )
    apart = report(first, second)
    case = ground_case(grounded(both), grounded(apart), "sentence")
    found = {k: v.value for k, v in case_scores(case).items()}
    assert found["logical-recall"] == 1.0 and found["logical-precision"] == pytest.approx(1 / 2)
    assert found["dice"] == pytest.approx(2 * 64 / (72 + 64))
    assert found["instance-f1"] == 1.0


def test_boxes_stand_in_for_masks_on_one_grid_only() -> None:
    metric = GroundingMetric()
    other = Geometry((20, 20, 20), np.diag([1.0, 1.0, 5.0, 1.0]))
    reference = ReportText.of("1", report(finding("R", A)))
    same = metric.score_case(reference, ReportText.of("1", report(finding("C", A_MOVED))))
    assert same["dice"].value == pytest.approx(0.75) and "regions:boxes" in metric.signature
    moved = region("liver_lesion/1", (2, 2, 2), (6, 6, 6), other)
    differ = metric.score_case(reference, ReportText.of("1", report(finding("C", moved))))
    assert differ["dice"].value is None and "different grids" in differ["dice"].reason
    assert differ["logical-f1"].value == 1.0 and differ["distance-mm"].value is not None
    text = metric.score_case(reference, ReportText.of("1", "A lesion."))
    assert all(s.value is None and "structured" in s.reason and not s.failed for s in text.values())


def test_metric_in_the_table_counts_failures_and_pools_pairs() -> None:
    references = {str(n): report(finding("R", A), finding("R2", B)) for n in range(6)}
    candidates = {str(n): report(finding("C", A_MOVED)) for n in range(6)}
    rows = [
        (r, RegionMasks(lambda x: (x.box, np.ones(x.box.shape, dtype=bool)), GRID))
        for r in (*references.values(), *list(candidates.values())[1:])
    ]
    table = evaluate(
        references, candidates, [GroundingMetric(masks=masks_by_report(rows))], EvaluationOptions(baselines=False)
    )
    found = table.estimate("candidate", "grounding", "dice")
    assert found.value == pytest.approx(0.75) and found.n == 5 and found.failed == 1
    assert table.value("candidate", "grounding", "hit-rate") == pytest.approx(1 / 2)
    assert table.value("candidate", "grounding", "instance-f1") == pytest.approx(2 / 3)
    assert table.value("candidate", "grounding", "logical-recall") == pytest.approx(1 / 2)


def test_registry_names() -> None:
    assert make_metric("grounding").name == "grounding"
    assert make_metric("grounding:sentence").name == "grounding-sentence"
    with pytest.raises(InputError):
        make_metric("grounding:word")


@dataclass(frozen=True)
class Lesion:
    id: str
    center_mm: tuple[float, float, float] | None
    long_axis_mm: float | None
    structure: str = "liver_lesion"
    short_axis_mm: float | None = None
    diameter_3d_mm: float | None = None
    volume_ml: float | None = None
    mean_hu: float | None = None
    in_field: str = "inside"


def test_errors_against_known_lesions() -> None:
    far = region("liver_lesion/3", (15, 2, 15), (17, 4, 17))
    mine = report(
        finding("F1", A, sizes=[("long_axis", 9.0), ("volume", 2.0), ("mean_hu", 30.0)]),
        finding("F2", B, sizes=[("long_axis", 3.0)]),
        finding("F3", far),
    )
    truth = [
        Lesion("L1", A.centroid_mm, 8.0, volume_ml=1.5, mean_hu=24.0, short_axis_mm=8.0),
        Lesion("L2", B.centroid_mm, 4.0),
        Lesion("L3", (0.0, 38.0, 0.0), 5.0),
        Lesion("L4", None, 5.0),
        Lesion("L5", (3.0, 3.0, 3.0), 5.0, in_field="cut"),
    ]
    found = errors_against_truth(mine, truth)
    assert {(e.finding_id, e.truth_id, e.quantity): e.error for e in found.errors} == {
        ("F1", "L1", "long_axis"): 1.0,
        ("F1", "L1", "volume"): 0.5,
        ("F1", "L1", "mean_hu"): 6.0,
        ("F2", "L2", "long_axis"): -1.0,
    }
    assert found.missed == ("L3",) and found.extra == ("F3",) and found.left_out == ("L4", "L5")
    assert found.unstated == (("F1", "short_axis"),)
    mm = summarize_errors(found.errors)["mm"]
    assert (mm.n, mm.bias, mm.mean_absolute, mm.root_mean_square, mm.largest) == (2, 0.0, 1.0, 1.0, 1.0)
    assert mm.mean_absolute_relative == pytest.approx((1 / 8 + 1 / 4) / 2)
    assert summarize_errors(found.errors)["HU"].mean_absolute_relative is None
    with pytest.raises(InputError):
        errors_against_truth(mine, truth, stated="guessed")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (
            "A lesion of 2.3 x 1.8 cm (-12 HU), volume 3.4 mL.",
            {"long_axis": 23.0, "short_axis": 18.0, "volume": 3.4, "mean_hu": -12.0},
        ),
        ("A 7 mm lesion, previously 5 mm.", {"long_axis": 7.0}),
        ("A lesion measuring 12 mm by 21 mm, 14 cc.", {"long_axis": 21.0, "short_axis": 12.0, "volume": 14.0}),
        ("Lesion of 2 x 3 x 4 cm.", {"long_axis": 40.0}),
        ("A small lesion in segment 6.", {}),
        ("Liver volume 4.0 cm3.", {"volume": 4.0}),
    ],
)
def test_numbers_printed_in_a_sentence(text: str, expected: dict[str, float]) -> None:
    one = finding("F1", A)
    assert {k: v for k, (v, _) in stated_sizes(report(one, texts=[text]), [one]).items()} == expected


def test_two_findings_of_one_region_are_one_lesion() -> None:
    cyst = finding("F1", A, "liver_cyst", sizes=[("long_axis", 9.0)])
    fluid = finding("F2", A, "fluid_attenuation", sizes=[("mean_hu", 8.0)])
    other = finding("F3", B)
    mine = Report(
        (cyst, fluid, other),
        (
            Sentence("A 9 mm cyst of 8 HU.", "liver", (cyst, fluid)),
            Sentence("Lesions of 9 mm and 77 mm.", "liver", (cyst, other)),
        ),
    )
    truth = [Lesion("L1", A.centroid_mm, 8.0, mean_hu=6.0)]
    for stated in ("measurements", "text"):
        found = errors_against_truth(mine, truth, stated=stated)
        assert {e.quantity: e.error for e in found.errors} == {"long_axis": 1.0, "mean_hu": 2.0}
        assert found.extra == ("F3",)


@pytest.mark.slow
def test_a_phantom_from_voxels_to_grounding() -> None:
    """A generated report points at its own lesions; one made from a scan with two of three missing finds a third."""
    import radvlm
    from radvlm.phantom import LesionSpec, PhantomSpec, make_phantom

    spec = PhantomSpec(
        seed=5,
        shape=(96, 84, 64),
        spacing_mm=(4.0, 4.0, 5.0),
        lesions=(
            LesionSpec("liver_cyst", size=32),
            LesionSpec("liver_metastasis", size=28),
            LesionSpec("kidney_cyst", size=28),
        ),
    )
    phantom = make_phantom(spec)
    whole = radvlm.generate_report(phantom.volume, segmentation=phantom.segmentation, patient=phantom.patient)
    truth = errors_against_truth(whole.report, phantom.truth.lesions)
    assert not truth.missed and not truth.extra and {e.truth_id for e in truth.errors} == {"L1", "L2", "L3"}
    summary = summarize_errors(truth.errors)
    assert summary["mm"].mean_absolute < 4.0 and summary["mL"].mean_absolute < 2.0
    same = ground_case(GroundedReport.of(whole.report, whole.regions), GroundedReport.of(whole.report, whole.regions))
    assert all(p.dice == 1.0 and p.hit for p in same.pairs if p.reference and p.reference.regions)
    assert same.instances == (3, 0, 0)
    fewer = make_phantom(replace(spec, lesions=spec.lesions[:1]))
    part = radvlm.generate_report(fewer.volume, segmentation=fewer.segmentation, patient=fewer.patient)
    found = case_scores(
        ground_case(GroundedReport.of(whole.report, whole.regions), GroundedReport.of(part.report, part.regions))
    )
    assert found["instance-recall"].value == pytest.approx(1 / 3) and found["instance-precision"].value == 1.0


def test_rounded_text_and_exact_measurement_differ() -> None:
    mine = report(finding("F1", A, sizes=[("long_axis", 23.417)]), texts=["A 2.3 cm lesion."])
    truth = [Lesion("L1", A.centroid_mm, 23.4)]
    assert errors_against_truth(mine, truth).errors[0].error == pytest.approx(0.017)
    assert errors_against_truth(mine, truth, stated="text").errors[0].error == pytest.approx(-0.4)

"""Errors in six categories: one row a pair, then the invariants, structured reports and the metric."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from radvlm.errors import InputError
from radvlm.evaluate.metrics.clinical_significance import TIERS, load_significance
from radvlm.evaluate.metrics.errors import CATEGORIES, ErrorsMetric, assign, count_errors
from radvlm.evaluate.metrics.labels import FindingsMetric
from radvlm.evaluate.score import Score
from radvlm.report_reader.report_text import ReportText
from radvlm.types.finding import Finding, Source, Status
from radvlm.types.measurement import Measurement
from radvlm.types.report import Report, Sentence

A, B, C, D, E, F = CATEGORIES
#: reference, candidate, expected errors as (category, significant).
PAIRS: list[tuple[str, str, list[tuple[str, bool]]]] = [
    ("No effusion.", "Small left pleural effusion.", [(A, True)]),
    ("Small left pleural effusion.", "No pleural effusion.", [(B, True)]),
    ("Normal chest CT.", "Simple renal cyst.", [(A, False)]),
    ("Simple renal cyst.", "The kidneys are normal.", [(B, False)]),
    ("4 mm nodule in the right upper lobe.", "Lungs are clear.", [(B, False)]),
    ("9 mm nodule in the right upper lobe.", "Lungs are clear.", [(B, True)]),
    ("9 mm nodule in the right upper lobe.", "9 mm nodule in the left upper lobe.", [(C, True)]),
    ("9 mm nodule in the right upper lobe.", "9 mm nodule in the right lower lobe.", [(C, True)]),
    ("2 cm lesion in hepatic segment VI.", "2 cm liver lesion in segment VII.", [(C, False)]),
    ("2 cm lesion in hepatic segment VI.", "2 cm liver lesion in segment II.", [(C, True)]),
    ("Compression fracture of T12.", "Compression fracture of L3.", [(C, True)]),
    ("Bilateral pleural effusions.", "Right pleural effusion.", [(C, True)]),
    ("12 mm nodule in the RUL.", "21 mm nodule in the right upper lobe.", [(D, True)]),
    ("12 mm nodule in the RUL.", "13 mm nodule in the right upper lobe.", []),
    ("Mild cardiomegaly.", "Severe cardiomegaly.", [(D, True)]),
    ("Mild emphysema.", "Severe emphysema.", [(D, False)]),
    ("Trace pericardial effusion.", "Small pericardial effusion.", []),
    ("Small right pneumothorax.", "Moderate right pneumothorax.", [(D, True)]),
    ("Right pleural effusion.", "Right pleural effusion, increased since the prior examination.", [(E, True)]),
    ("Hiatal hernia.", "Stable hiatal hernia.", [(E, False)]),
    ("New 9 mm nodule in the right upper lobe.", "9 mm nodule in the right upper lobe.", [(F, True)]),
    ("Unchanged hepatic cyst.", "Hepatic cyst.", [(F, False)]),
    ("The effusion on the right has increased.", "The right effusion has decreased.", [(E, True)]),
    ("No significant interval change.", "Normal.", [(F, False)]),
    ("Normal.", "No significant change from the prior examination.", [(E, False)]),
    (
        "FINDINGS: 2.3 cm mass in the pancreatic head.\nIMPRESSION: Pancreatic head mass.",
        "Mass in the head of the pancreas measuring 2.3 x 2.0 cm.",
        [],
    ),
    ("Cholelithiasis. Hepatosteatosis.", "Fatty infiltration of the liver. Stones in the gallbladder.", []),
    ("There is a 4 cm infrarenal aortic aneurysm.", "INFRARENAL AAA, 4.1 CM", []),
    ("Ground-glass opacities in both lungs.", "Bilateral ground glass densities.", []),
    (
        "5 mm nodule in the right upper lobe and 8 mm nodule in the left lower lobe.",
        "8 mm nodule in the left lower lobe. 5 mm right upper lobe nodule.",
        [],
    ),
    ("History of pneumonia. Normal lungs.", "Normal lungs.", []),
    ("Normal.", "The liver, spleen and kidneys are normal. No effusion.", []),
]


@pytest.mark.parametrize(("reference", "candidate", "wanted"), PAIRS)
def test_pair(reference: str, candidate: str, wanted: list[tuple[str, bool]]) -> None:
    found = count_errors(reference, candidate)
    assert [(e.category, e.significant) for e in found.errors] == wanted, found.errors
    for error in found.errors:
        assert error.reason
        assert all(0 <= a < b <= len(reference) for a, b in error.reference)
        assert all(0 <= a < b <= len(candidate) for a, b in error.candidate)
        assert error.candidate if error.category in (A, E) else error.reference


def test_spans_and_reasons_say_what_and_where() -> None:
    reference, candidate = (
        "No effusion. 12 mm nodule in the right upper lobe.",
        "Left effusion. 21 mm nodule in the right upper lobe.",
    )
    false, size = count_errors(reference, candidate).errors
    assert [candidate[a:b] for a, b in false.candidate] == ["effusion"]
    assert [reference[a:b] for a, b in false.reference] == ["effusion"]  # where the reference denies it
    assert "says it is absent" in false.reason
    assert [reference[a:b] for a, b in size.reference] == ["nodule"]
    assert "12 mm" in size.reason and "21 mm" in size.reason and "9 mm" in size.reason


_SENTENCES = st.lists(st.sampled_from([p[0] for p in PAIRS] + [p[1] for p in PAIRS]), min_size=0, max_size=6).map(
    " ".join
)


@settings(max_examples=80)
@given(_SENTENCES)
def test_identical_reports_have_no_errors(text: str) -> None:
    found = count_errors(text, text)
    assert found.total == 0
    assert found.matched == found.correct == found.n_reference == found.n_candidate


@settings(max_examples=80)
@given(_SENTENCES, _SENTENCES)
def test_swapped_reports_swap_false_findings_and_omissions(a: str, b: str) -> None:
    there, back = count_errors(a, b), count_errors(b, a)
    assert there.count(A) == back.count(B) and there.count(B) == back.count(A)
    assert there.count(A, True) == back.count(B, True)
    assert there.total == back.total
    assert there.matched == back.matched


@settings(max_examples=60)
@given(st.lists(st.lists(st.floats(0, 9), min_size=4, max_size=4), min_size=1, max_size=5))
def test_the_assignment_is_the_best_one(costs: list[list[float]]) -> None:
    from scipy.optimize import linear_sum_assignment

    n, m = len(costs), 4
    padded = np.full((n + m, n + m), 3.0)  # leaving one unpaired costs 3 on either side
    padded[:n, :m] = [[c if c <= 6 else 99 for c in row] for row in costs]
    padded[n:, m:] = 0.0
    rows, columns = linear_sum_assignment(padded)
    best = padded[rows, columns].sum()
    pairs = assign(costs)
    assert len({i for i, _ in pairs}) == len({j for _, j in pairs}) == len(pairs)
    assert sum(costs[i][j] for i, j in pairs) + 3.0 * (n + m - 2 * len(pairs)) == pytest.approx(best)


@pytest.mark.parametrize(("change", "n"), [("increased", 1), ("decreased", 2), ("remained stable", 2)])
def test_what_is_new_may_be_called_increased_in_the_same_report(change: str, n: int) -> None:
    told = ("New right upper lobe nodule.", f"The right upper lobe nodule has {change} since the prior examination.")
    for first, second in (told, told[::-1]):
        text = f"FINDINGS: {first}\nIMPRESSION: {second}"
        assert count_errors(text, text).n_reference == n


def test_many_findings_of_a_kind_are_matched_greedily_and_fast() -> None:
    text = " ".join(
        f"{n} mm nodule in the {side} {lobe} lobe."
        for n in range(3, 40, 2)
        for side in ("right", "left")
        for lobe in ("upper", "lower")
    )
    assert count_errors(text, text).total == 0


def test_counts_and_json() -> None:
    found = count_errors("9 mm nodule in the right upper lobe.", "Renal cyst.")
    assert (found.total, found.significant, found.count(A), found.count(B, True), found.count(A, True)) == (
        2,
        1,
        1,
        1,
        0,
    )
    assert json.loads(json.dumps(found.to_dict()))["counts"][B] == {"significant": 1, "insignificant": 0}
    with pytest.raises(InputError):
        found.count("hallucination")


# ---- structured reports ----


def nodule(size_mm: float, structure: str = "lung_upper_lobe_right", status: Status = Status.PRESENT) -> Report:
    finding = Finding(
        "F1",
        "lung_nodule",
        status,
        "lung_right",
        "lungs",
        measurements=(Measurement("long_axis", size_mm, "mask"), Measurement("short_axis", size_mm - 2, "mask")),
        locations=(structure,),
        source=Source.MODEL,
        confidence=0.9,
    )
    return Report((finding,), (Sentence(f"Nodule of the right upper lobe, {size_mm:.0f} mm.", "lungs", (finding,)),))


def test_structured_reports_are_compared_by_their_measurements() -> None:
    found = count_errors(nodule(12), nodule(21))
    assert [(e.category, e.significant) for e in found.errors] == [(D, True)]
    text = ReportText.of("", nodule(12)).text
    assert [text[a:b] for a, b in found.errors[0].reference] == ["Nodule of the right upper lobe, 12 mm."]
    assert count_errors(nodule(12), nodule(12.4)).total == 0


def test_a_structured_report_meets_a_plain_one() -> None:
    assert count_errors(nodule(12), "12 mm nodule in the right upper lobe.").total == 0
    assert [e.category for e in count_errors("12 mm nodule in the left upper lobe.", nodule(12)).errors] == [C]
    absent = Finding("F1", "lung_nodule", Status.ABSENT, "lung", "lungs")
    empty = Report((absent,), (Sentence("No nodule.", "lungs", (absent,)),))
    assert [e.category for e in count_errors("12 mm nodule in the left upper lobe.", empty).errors] == [B]


def test_every_lesion_of_the_anatomy_table_has_a_kind() -> None:
    from radvlm.report_reader.lexicon import load_lexicon
    from radvlm.types.anatomy import structures

    lexicon = load_lexicon()
    skipped = {"brain_lesion", "intracerebral_hemorrhage", "brain_aneurysm", "hip_implant"}
    for row in structures().values():
        if row.kind in ("lesion", "fluid") and row.name not in skipped:
            name = row.name.removesuffix("_left").removesuffix("_right")
            assert lexicon.report_kinds.get(name, name) in lexicon.kinds, row.name


# ---- the table of significance ----


def test_the_significance_table_is_sourced_and_names_known_kinds() -> None:
    from radvlm.report_reader.lexicon import load_lexicon

    table = load_significance()
    assert set(table.kinds) <= set(load_lexicon().kinds)
    for kind, row in table.kinds.items():
        assert row["tier"] in TIERS and table.source(kind)


def test_sizes_that_readers_differ_by_are_no_error() -> None:
    table = load_significance()
    assert not table.sizes_differ(6, 8)  # 2 mm
    assert table.sizes_differ(6, 8.5)
    assert not table.sizes_differ(50, 58)  # 8 mm, but 14 %
    assert table.sizes_differ(50, 70)
    assert table.size_matters("lung_nodule", 5, 9) and not table.size_matters("liver_cyst", 10, 60)


def test_a_users_table_overrides(tmp_path: Path) -> None:
    path = tmp_path / "table.json"
    path.write_text(json.dumps({"kinds": {"hiatal_hernia": {"tier": "actionable", "source": "own"}}}))
    assert count_errors("Normal.", "Hiatal hernia.").significant == 0
    assert count_errors("Normal.", "Hiatal hernia.", table=load_significance(path)).significant == 1
    path.write_text(json.dumps({"kinds": {"hiatal_hernia": {"tier": "grave", "source": "own"}}}))
    with pytest.raises(InputError, match="tier"):
        load_significance(path)


# ---- the metrics ----


def score(metric: ErrorsMetric | FindingsMetric, reference: str, candidate: str) -> dict[str, Score]:
    return dict(metric.score_case(ReportText.of("1", reference), ReportText.of("1", candidate)))


def test_the_errors_metric_gives_every_output_and_marks() -> None:
    metric = ErrorsMetric()
    scores = score(metric, "9 mm nodule in the right upper lobe.", "9 mm nodule in the left upper lobe. Renal cyst.")
    assert {o.case_key for o in metric.outputs} <= set(scores)
    assert (scores["total"].value, scores["significant"].value, scores["error_free"].value) == (2, 1, 0)
    assert scores["agreement"].stats == (1.0, 2.0)
    assert Counter(m.kind for m in scores["total"].marks) == {C: 2, A: 1}
    assert score(metric, "Normal.", "Normal.")["agreement"].value is None


def test_the_findings_metric_counts_labels_and_crg() -> None:
    metric = FindingsMetric("ct-rate")
    good = score(metric, "Emphysema. Cardiomegaly.", "Emphysema.")["labels"]
    assert good.value == pytest.approx(2 / 3)
    by_name = {o.name: o for o in metric.outputs}

    def value(name: str, *scores: Score) -> float:
        aggregate = by_name[name].aggregate
        assert aggregate is not None
        return float(aggregate(np.sum([s.stats for s in scores], axis=0)))

    perfect = score(metric, "Emphysema. Cardiomegaly.", "Emphysema. Cardiomegaly.")["labels"]
    silent = score(metric, "Emphysema. Cardiomegaly.", "Normal.")["labels"]
    assert value("crg", perfect) == pytest.approx(1.0)
    assert value("crg", silent) == pytest.approx(1 / 3)
    assert value("f1-micro", good, perfect) == pytest.approx(2 * 3 / (2 * 3 + 1))
    assert value("f1-macro", good, perfect) == pytest.approx((1.0 + 2 / 3) / 2)
    assert value("f1-weighted", good, perfect) == pytest.approx((2 * 1.0 + 2 * 2 / 3) / 4)
    assert np.isnan(value("f1 Bronchiectasis", good, perfect))
    assert value("recall-micro", good) == 0.5 and value("precision-micro", good) == 1.0
    assert score(metric, "Normal.", "Normal.")["labels"].value is None
    assert [m.side for m in good.marks] == ["reference"]


def test_an_uncertain_label_counts_as_asked() -> None:
    reference, candidate = "Possible emphysema.", "Emphysema."
    assert score(FindingsMetric("ct-rate"), reference, candidate)["labels"].value == 1.0
    assert score(FindingsMetric("ct-rate", "absent"), reference, candidate)["labels"].value == 0.0
    with pytest.raises(InputError):
        FindingsMetric("ct-rate", "maybe")


@pytest.mark.slow
@pytest.mark.parametrize("seed", [1, 5])
def test_a_generated_report_reads_back_as_its_own_findings(seed: int) -> None:
    import radvlm
    from radvlm.phantom import Phantom

    phantom = Phantom.random(seed, shape=(96, 96, 96))
    generated = radvlm.generate_report(phantom.volume, segmentation=phantom.segmentation)
    report = ReportText.of("1", getattr(generated, "report", generated))
    as_text = ReportText.of("1", report.text)
    found = count_errors(report, as_text)  # structured findings against the report's own words
    assert found.matched == found.n_reference >= 3
    assert found.total == 0, found.errors


# ---- limits at which a judgment turns, and rules that swapped reports cannot show ----


def judged(reference: str, candidate: str) -> list[tuple[str, bool]]:
    return [(e.category, e.significant) for e in count_errors(reference, candidate).errors]


@pytest.mark.parametrize(
    ("reference", "candidate", "wanted"),
    [
        # what grew may have been there for the other reader only now; what is new did not shrink
        ("New right pleural effusion.", "Right pleural effusion, increased since the prior examination.", []),
        ("Right pleural effusion, increased since the prior examination.", "New right pleural effusion.", []),
        (
            "New right pleural effusion.",
            "Right pleural effusion, decreased since the prior examination.",
            [("false_comparison", True)],
        ),
        # what is only possible matters when it is urgent, and not when it is merely actionable
        ("Normal.", "Possible pulmonary embolism.", [("false_finding", True)]),
        ("Possible pulmonary embolism.", "Normal.", [("omission", True)]),
        ("Normal.", "Possible pneumonia.", [("false_finding", False)]),
        ("Normal.", "Pneumonia.", [("false_finding", True)]),
        ("Possible pneumonia.", "Normal.", [("omission", False)]),
        # a whole-examination comparison is one error on whichever side alone makes it
        ("No significant interval change.", "Stable hiatal hernia. Stable renal cyst.", None),
    ],
)
def test_limits_of_judgment(reference: str, candidate: str, wanted: list[tuple[str, bool]] | None) -> None:
    if wanted is not None:
        assert judged(reference, candidate) == wanted
    else:
        assert not [e for e in count_errors(reference, candidate).errors if e.kind == "comparison_statement"]


def test_a_denial_of_one_side_denies_nothing_of_the_other() -> None:
    """ "No left effusion" does not say that the right one is absent; "no effusion" does."""
    general = count_errors("No pleural effusion.", "Right pleural effusion.").errors
    assert len(general) == 1 and "says it is absent" in general[0].reason and general[0].reference
    for one_sided in ("No left pleural effusion.", "No nodule in the right upper lobe."):
        candidate = "Right pleural effusion." if "effusion" in one_sided else "9 mm nodule in the left lower lobe."
        error = next(e for e in count_errors(one_sided, candidate).errors if e.category == "false_finding")
        assert "does not mention it" in error.reason and error.reference == ()
        missed = next(e for e in count_errors(candidate, one_sided).errors if e.category == "omission")
        assert "does not mention it" in missed.reason and missed.candidate == ()


# ---- every limit of the table of significance, from both sides ----


@pytest.mark.parametrize(
    ("a", "b", "differ"),
    [
        (8.0, 10.0, False),  # 2 mm are never a difference
        (8.0, 10.1, True),
        (20.0, 25.0, False),  # 20 % of the larger are none
        (20.0, 25.1, True),
        (3.0, 4.9, False),
    ],
)
def test_sizes_differ_beyond_both_tolerances(a: float, b: float, differ: bool) -> None:
    table = load_significance()
    assert table.sizes_differ(a, b) is table.sizes_differ(b, a) is differ
    said = "{} mm nodule in the right upper lobe."
    assert bool(judged(said.format(a), said.format(b))) is differ
    assert bool(judged(said.format(b), said.format(a))) is differ


@pytest.mark.parametrize(
    ("kind", "a", "b", "matters"),
    [
        ("lung_nodule", 5.9, 6.0, True),  # steps at 6, 8 and 30 mm
        ("lung_nodule", 6.0, 7.9, False),
        ("lung_nodule", 7.9, 8.0, True),
        ("lung_nodule", 8.0, 13.0, False),  # 5 mm more, and more than half
        ("lung_nodule", 8.0, 13.1, True),
        ("lung_nodule", 12.0, 18.0, False),  # half of the smaller
        ("lung_nodule", 12.0, 18.1, True),
        ("lung_nodule", 29.9, 30.0, True),
        ("liver_cyst", 10, 60, False),  # benign at any size
        ("liver_lesion", 3, 9.9, False),  # benign below 10 mm
        ("liver_lesion", 3, 10, True),
        ("lymph_node", 9, 10, True),  # minor below 10 mm
        ("lymph_node", 3, 9.9, False),
        ("nothing_known", 10, 60, False),  # the default is minor
    ],
)
def test_a_difference_matters_across_a_step_or_when_large(kind: str, a: float, b: float, matters: bool) -> None:
    table = load_significance()
    assert table.size_matters(kind, a, b) is table.size_matters(kind, b, a) is matters


@pytest.mark.parametrize(
    ("kind", "size", "significant"),
    [
        ("lung_nodule", None, True),
        ("lung_nodule", 5.9, False),
        ("lung_nodule", 6.0, True),
        ("lymph_node", None, False),
        ("lymph_node", 9.9, False),
        ("lymph_node", 10.0, True),
        ("liver_cyst", None, False),
        ("nothing_known", 50.0, False),
    ],
)
def test_a_finding_matters_from_its_size_on(kind: str, size: float | None, significant: bool) -> None:
    table = load_significance()
    assert table.finding(kind, size) is significant
    if kind == "nothing_known":
        assert (table.tier(kind), table.source_id(kind), bool(table.source(kind))) == ("minor", "own", True)


# ---- who is whose: several findings of a kind ----


@pytest.mark.parametrize(
    ("reference", "candidate", "wanted"),
    [
        # the nearer in side, place, size, grade, certainty or change is the same finding; the other is left over
        (
            "9 mm nodule in the right upper lobe.",
            "9 mm nodule in the left lower lobe. 9 mm nodule in the right upper lobe.",
            [(A, True)],
        ),
        ("9 mm nodule in the RUL. 30 mm nodule in the RUL.", "30 mm nodule in the RUL.", [(B, True)]),
        ("9 mm nodule. 30 mm nodule.", "31 mm nodule. 10 mm nodule.", []),
        ("9 mm nodule in the right upper lobe.", "9 mm nodule in the right lung.", []),
        ("9 mm nodule in the right upper lobe.", "9 mm lung nodule.", []),
        (
            "2 cm lesion in segment VI. 2 cm lesion in segment II.",
            "2 cm lesion in segment II. 2 cm lesion in segment VII.",
            [(C, False)],
        ),
        # so unlike that they are two: other side and another place, size and certainty
        ("4 mm nodule in the right upper lobe.", "40 mm nodule in the left lower lobe.", None),
        ("Possible pleural effusion.", "Pleural effusion.", []),
        ("Pleural effusion.", "Bilateral pleural effusions.", []),
        ("Right pleural effusion.", "Left pleural effusion.", [(C, True)]),
        ("Right pleural effusion.", "Bilateral pleural effusions.", [(C, True)]),
        ("Small right effusion. Large left effusion.", "Large left effusion. Small right effusion.", []),
        # ... in one sentence as in two, in either order
        ("Small right and large left pleural effusion.", "Large left and small right pleural effusion.", []),
        ("Small right and large left pleural effusion.", "Large left effusion. Small right effusion.", []),
        ("Small right and large left pleural effusion.", "Small right and small left pleural effusion.", None),
    ],
)  # fmt: skip
def test_findings_are_paired_with_the_nearest(
    reference: str, candidate: str, wanted: list[tuple[str, bool]] | None
) -> None:
    if wanted is not None:
        assert judged(reference, candidate) == wanted
    for a, b in ((reference, candidate), (candidate, reference)):
        found = count_errors(a, b)
        assert found.correct <= found.matched <= min(found.n_reference, found.n_candidate)
        assert found.count(B) == found.n_reference - found.matched
        assert found.count(A) == found.n_candidate - found.matched
        details = {e.reference for e in found.errors if e.category not in (A, B)}
        assert found.correct == found.matched - len(details)


def test_the_greedy_assignment_takes_the_cheapest_pairs_first() -> None:
    """More than eight of a kind on both sides: row 8 takes column 9 for less than row 0 asks, and row 0 another one."""
    costs = [[5.0] * 10 for _ in range(9)]
    for i in range(9):
        costs[i][9 - i] = 1.0
    costs[0][0], costs[8][9] = 6.0, 0.5
    assert assign(costs) == [(0, 1), *((i, 9 - i) for i in range(1, 8)), (8, 9)]
    apart = [[6.1] * 9 for _ in range(9)]
    assert assign(apart) == [] and assign([[6.1]]) == [] and assign([[6.0]]) == [(0, 0)]
    apart[3][4] = 5.9
    assert assign(apart) == [(3, 4)]
    assert assign([[6.1, 5.9]]) == [(0, 1)] and assign([[6.1], [5.9]]) == [(1, 0)]


@pytest.mark.parametrize("size", [(1, 1), (1, 2), (3, 2), (8, 9), (9, 9), (20, 9)])
def test_the_most_that_a_pair_may_cost_is_the_same_for_few_and_for_many(size: tuple[int, int]) -> None:
    """A pair may cost as much as leaving both unpaired does, 6; what costs more is two findings."""
    rows, columns = size
    costs = [[9.0] * columns for _ in range(rows)]
    costs[-1][-1] = 6.0
    assert assign(costs) == [(rows - 1, columns - 1)]
    costs[-1][-1] = 6.0 + 1e-6
    assert assign(costs) == []


@pytest.mark.parametrize(
    ("reference", "candidate", "reason"),
    [
        ("9 mm nodule in the RUL.", "9 mm nodule in the LUL.", "says right upper lobe, the candidate left upper lobe"),
        ("Bilateral pleural effusions.", "Right pleural effusion.", "says both sides, the candidate right"),
        ("Compression fracture of T12.", "Compression fracture of L3.", "the reference says T12, the candidate L3"),
        ("12 mm nodule in the RUL.", "21 mm nodule in the RUL.", "21 mm in the candidate (difference 9 mm)"),
        ("Mild cardiomegaly.", "Severe cardiomegaly.", "severity mild in the reference, severe in"),
        ("Small right pneumothorax.", "Moderate right pneumothorax.", "right pneumothorax: severity mild"),
        ("The right effusion has increased.", "The right effusion has decreased.", ": increased in the reference"),
        ("Hiatal hernia.", "Stable hiatal hernia.", "the candidate says stable, the reference compares with nothing"),
        ("New hiatal hernia.", "Hiatal hernia.", "the reference says new, the candidate compares with nothing"),
        ("No effusion.", "Left pleural effusion.", "is stated, but the reference says it is absent (actionable,"),
        ("Left pleural effusion.", "No effusion.", "but the candidate says it is absent (actionable,"),
        ("Normal.", "Bilateral pleural effusions.", "bilateral pleural effusion is stated, but the ref"),
    ],
)  # fmt: skip
def test_the_reason_tells_what_each_report_says(reference: str, candidate: str, reason: str) -> None:
    (error,) = count_errors(reference, candidate).errors
    assert reason in error.reason


def test_severity_alone_does_not_swap_sides() -> None:
    """A side weighs more than a grade: the right one changed, not the side."""
    reference = "Mild right pleural effusion. Severe left pleural effusion."
    assert [c for c, _ in judged(reference, "Severe right pleural effusion. Mild left pleural effusion.")] == [D, D]


def test_each_output_of_the_metric_counts_its_own_category() -> None:
    metric = ErrorsMetric()
    assert {o.name for o in metric.outputs if o.higher_is_better} == {"error_free", "agreement"}
    for reference, candidate, category, significant in (
        ("Normal.", "Renal cyst.", A, 0),
        ("Normal.", "Left pneumothorax.", A, 1),
        ("9 mm nodule in the RUL.", "9 mm nodule in the LUL.", C, 1),
        ("Unchanged hepatic cyst.", "Hepatic cyst.", F, 0),
    ):
        scores = score(metric, reference, candidate)
        for c in CATEGORIES:
            assert scores[c].value == (c == category), c
            assert scores[f"{c}_significant"].value == (significant if c == category else 0), c
        assert scores["significant"].value == significant and scores["error_free"].value == 1 - significant


def test_what_is_no_report_is_refused() -> None:
    for thing in (3, None, ["Normal."], type("Half", (), {"sentences": ()})(), type("Half", (), {"findings": ()})()):
        with pytest.raises(InputError, match="a report is a string"):
            ReportText.of("1", thing)

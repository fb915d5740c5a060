"""Agreement with radiologists: the statistics against scipy, and files in the formats of the public sets."""

from __future__ import annotations

import argparse
import csv
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy import stats

from radvlm.cli import calibrate as command
from radvlm.errors import FileFormatError, InputError
from radvlm.evaluate.judge.calibrate import calibrate, weighted_pearson, weighted_tau_b
from radvlm.evaluate.judge.rated_sets import COUNTS, REXVAL_RATINGS, REXVAL_REPORTS, RatedCase, RatedSet
from radvlm.evaluate.judge.rated_sets import load_calibration_set as load
from radvlm.evaluate.metric import Output
from radvlm.evaluate.score import Score
from radvlm.evaluate.statistics.resampling import Statistics
from radvlm.report_reader.report_text import ReportText


class Fixed:
    """A metric that reads its numbers from the candidate: ``total significant``; "fail" fails, "none" is undefined."""

    name, signature = "fixed", "fixed|v1"
    outputs = (Output("total", False), Output("significant", False))

    def score_case(self, reference: ReportText, candidate: ReportText) -> Mapping[str, Score]:
        if candidate.text == "fail":
            raise RuntimeError("broken")
        if candidate.text == "none":
            return dict.fromkeys(("total", "significant"), Score.undefined("no meaning"))
        total, significant = map(float, candidate.text.split())
        return {"total": Score(total), "significant": Score(significant)}


def rated(values: list[str], ratings: list[list[tuple[int, int]]], studies: list[str] | None = None) -> RatedSet:
    cases = [
        RatedCase(
            str(i),
            studies[i] if studies else str(i),
            "reference",
            value,
            {f"r{k}": {"total": float(t), "significant": float(s)} for k, (t, s) in enumerate(counts)},
        )
        for i, (value, counts) in enumerate(zip(values, ratings, strict=True))
    ]
    return RatedSet("made", tuple(cases))


def test_tau_and_pearson_are_those_of_scipy_also_in_each_replicate() -> None:
    rng = np.random.default_rng(0)
    x, y = rng.integers(0, 5, 40).astype(float), rng.integers(0, 4, 40) / 3
    draws = rng.integers(0, 40, (25, 40))
    weights = np.array([np.bincount(d, minlength=40) for d in draws], dtype=float)
    tau, r = weighted_tau_b(x, y, weights), weighted_pearson(x, y, weights)
    for b, draw in enumerate(draws):
        assert tau[b] == pytest.approx(stats.kendalltau(x[draw], y[draw]).statistic, abs=1e-12)
        assert r[b] == pytest.approx(stats.pearsonr(x[draw], y[draw]).statistic, abs=1e-9)
    assert np.isnan(weighted_tau_b(np.ones(5), np.arange(5.0), np.ones((1, 5)))[0])
    assert np.isnan(weighted_pearson(np.full(5, 0.1), np.arange(5.0), np.ones((1, 5)))[0])


def test_values_worked_out_by_hand() -> None:
    # Raters r0, r1; mean totals 1, 2, 4. The metric says 1, 3, 3.
    dataset = rated(["1 0", "3 1", "3 2"], [[(0, 0), (2, 0)], [(2, 1), (2, 1)], [(3, 2), (5, 2)]])
    result = calibrate(Fixed(), dataset, Statistics(0, 0))
    total, significant = result.rows
    assert total.mae.value == pytest.approx((0 + 1 + 1) / 3)
    # Left-in: against r1 alone |1-2|, |3-2|, |3-5| and against r0 alone |1-0|, |3-2|, |3-3|.
    assert total.mae_left_in.value == pytest.approx((4 / 3 + 2 / 3) / 2)
    assert total.human_mae.value == pytest.approx((2 + 0 + 2) / 3)
    assert total.tau.value == pytest.approx(2 / np.sqrt(2 * 3))
    assert total.human_tau.value == pytest.approx(stats.kendalltau([0, 2, 3], [2, 2, 5]).statistic)
    assert significant.mae.value == 0 and significant.pearson.value == pytest.approx(1.0)
    assert total.tau.low is None and (result.cases, result.raters, result.failed) == (3, 2, 0)


def test_failed_and_undefined_cases_are_left_out_and_counted() -> None:
    dataset = rated(["1 0", "fail", "none", "2 0", "3 0"], [[(n, 0)] for n in (1, 9, 9, 2, 3)])
    result = calibrate(Fixed(), dataset)
    assert (result.failed, result.undefined, result.rows[0].n) == (1, 1, 3)
    assert result.rows[0].mae.value == 0 and result.rows[0].tau.value == 1.0
    assert result.rows[0].human_mae.value is None  # one rater
    assert result.rows[1].tau.value is None  # constant
    assert "1 failed, 1 undefined" in result.to_markdown()
    everything = calibrate(Fixed(), rated(["fail"] * 3, [[(1, 0)]] * 3))
    assert everything.rows[0].n == 0 and everything.rows[0].mae.value is None


@pytest.mark.slow
def test_intervals_resample_studies_and_hold_the_value() -> None:
    rng = np.random.default_rng(1)
    truth = rng.integers(0, 6, 80)
    values = [f"{max(0, t + d)} 0" for t, d in zip(truth, rng.integers(-1, 2, 80), strict=True)]
    ratings = [[(int(t), 0), (int(t) + 1, 0)] for t in truth]
    single = calibrate(Fixed(), rated(values, ratings)).rows[0]
    grouped = calibrate(Fixed(), rated(values, ratings, [str(i // 8) for i in range(80)])).rows[0]
    for row in (single, grouped):
        assert row.tau.low is not None and row.tau.value is not None and row.tau.high is not None
        assert row.tau.low < row.tau.value < row.tau.high
    assert single.mae.value == grouped.mae.value and single.mae.low != grouped.mae.low
    assert single == calibrate(Fixed(), rated(values, ratings)).rows[0]


def test_a_metric_without_counts_is_rank_correlated() -> None:
    class Quality:
        name, signature = "quality", "quality|v1"
        outputs = (Output("score"), Output("hidden", headline=False))

        def score_case(self, reference: ReportText, candidate: ReportText) -> Mapping[str, Score]:
            return {"score": Score(-float(candidate.text.split()[0])), "hidden": Score(0)}

    result = calibrate(Quality(), rated(["1 0", "2 0", "3 1"], [[(n, n)] for n in (1, 2, 3)]))
    assert [(r.output, r.counts, r.tau.value, r.mae.value) for r in result.rows] == [
        ("score", "total", -1.0, None),
        ("score", "significant", -1.0, None),
    ]


# --- files


def write(path: Path, rows: list[dict[str, Any]]) -> None:
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)


def rexval(folder: Path, first: int = 0, **change: Any) -> None:
    kinds = ("radgraph", "bertscore", "s_emb", "bleu")
    write(
        folder / REXVAL_REPORTS,
        [
            {"study_id": f"s{i}", "gt_report": f"Reference {i}, with a\nline break.", **{k: f"{k} {i}" for k in kinds}}
            for i in range(3)
        ],
    )
    write(
        folder / REXVAL_RATINGS,
        [
            {
                "study_number": i + first,
                "candidate_type": k,
                "error_category": c,
                "clinically_significant": s,
                "rater_index": r,
                "num_errors": i + r if (c, s) in ((2, True), (4, False)) else 0,
            }
            | change
            for i in range(3)
            for k in kinds
            for c in range(1, 7)
            for s in (True, False)
            for r in range(2)
        ],
    )


@pytest.mark.parametrize("first", [0, 1])
def test_rexval(tmp_path: Path, first: int) -> None:
    rexval(tmp_path, first)
    data = load("rexval", tmp_path)
    assert len(data.cases) == 12 and data.raters == ("0", "1") and data.keys == COUNTS
    case = next(c for c in data.cases if c.id == "s2 s_emb")
    assert case.study == "s2" and case.candidate == "s_emb 2" and case.reference.startswith("Reference 2")
    assert case.ratings["1"]["total"] == 6 and case.ratings["1"]["significant"] == 3
    assert case.ratings["1"]["omission"] == case.ratings["1"]["omission_significant"] == 3
    assert case.ratings["1"]["wrong_severity"] == 3 and case.ratings["1"]["wrong_severity_significant"] == 0


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ({"error_category": 7}, "1 to 6"),
        ({"study_number": 40}, "counts the rows"),
        ({"num_errors": ""}, "empty count"),
        ({"num_errors": -1}, "not negative"),
        ({"clinically_significant": "perhaps"}, "true or false"),
        ({"candidate_type": "other"}, "names columns"),
        ({"num_errors": "two"}, "a number"),
    ],
)
def test_rexval_that_is_not_as_published(tmp_path: Path, change: dict[str, Any], problem: str) -> None:
    rexval(tmp_path, **change)
    with pytest.raises(FileFormatError, match=problem):
        load("rexval", tmp_path)


def test_missing_files_are_named(tmp_path: Path) -> None:
    with pytest.raises(FileFormatError, match=r"downloads none.*docs/judge.md"):
        load("rexval", tmp_path / "nowhere")
    with pytest.raises(FileFormatError, match=REXVAL_REPORTS):
        load("rexval", tmp_path)
    with pytest.raises(InputError, match="rexval, radevalx"):
        load("mine", tmp_path)


def test_radevalx_needs_a_word_about_empty_counts(tmp_path: Path) -> None:
    names = ("one", "two", "three", "four", "five", "six", "seven", "eight")
    for file, add in (
        ("RadEval_clinically_significant_errors.csv", 1),
        ("RadEval-clinically_insignificant_errors.csv", 0),
    ):
        write(
            tmp_path / file,
            [{"report_id": f"x{i}", **{n: (k + add if k < 2 else "") for k, n in enumerate(names)}} for i in range(3)],
        )
    with pytest.raises(FileFormatError, match=r"reports\.csv with id, reference"):
        load("radevalx", tmp_path, blank_is_zero=True)
    write(tmp_path / "reports.csv", [{"id": f"x{i}", "reference": f"R {i}", "candidate": f"C {i}"} for i in range(3)])
    with pytest.raises(FileFormatError, match="blank-is-zero"):
        load("radevalx", tmp_path)
    data = load("radevalx", tmp_path, blank_is_zero=True)
    assert data.cases[0].ratings == {"consensus": {"total": 4.0, "significant": 3.0}} and data.raters == ("consensus",)
    assert any("assumption" in note for note in data.notes)


def test_chest2error(tmp_path: Path) -> None:
    path = tmp_path / "bench.csv"
    write(
        path,
        [
            {
                "anchor_id": f"a{i // 2}",
                "reference_style": "GT-U",
                "variant_id": f"V{i}",
                "reference_report": "R",
                "candidate_report": "C",
                "rad_error_count": i,
                "rad_critical_count": 0,
                "rad_cat_count_2_omission": i,
            }
            for i in range(4)
        ],
    )
    data = load("chest2error", path)
    assert data.keys == ("total", "significant", "omission") and data.cases[3].study == "a1"
    assert data.cases[3].ratings["radiologist"] == {"total": 3, "significant": 0, "omission": 3}


def test_any_table(tmp_path: Path) -> None:
    path = tmp_path / "mine.jsonl"
    rows = [
        {"id": i, "reference": "R", "candidate": f"{i} 0", "rater": r, "total": i + r, "study": i // 2}
        for i in range(4)
        for r in (0, 1)
    ]
    path.write_text("".join(json.dumps(r) + "\n" for r in rows), encoding="utf-8")
    data = load("table", path)
    assert len(data.cases) == 4 and data.raters == ("0", "1") and data.keys == ("total",)
    assert calibrate(Fixed(), data, Statistics(0, 0)).rows[0].mae.value == 0.5
    path.write_text(path.read_text(encoding="utf-8") + json.dumps(rows[0]) + "\n", encoding="utf-8")
    with pytest.raises(FileFormatError, match="a pair once"):
        load("table", path)


def test_the_command_calibrates_the_rules_and_a_dry_run_costs_nothing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = [
        {
            "id": str(i),
            "reference": "There is a 12 mm nodule in the right upper lobe. Small left pleural effusion.",
            "candidate": "There is a 12 mm nodule in the left upper lobe."
            if i % 2
            else "There is a 12 mm nodule in the right upper lobe. Small left pleural effusion.",
            "total": 2 * (i % 2),
            "significant": i % 2,
        }
        for i in range(8)
    ]
    write(tmp_path / "rated.csv", rows)
    parser = argparse.ArgumentParser()
    command.add_arguments(parser)
    base = ["--dataset", "table", "--data", str(tmp_path / "rated.csv"), "-o", str(tmp_path / "out")]
    assert command.run(parser.parse_args([*base, "--metric", "errors"])) == 0
    made = json.loads((tmp_path / "out" / "calibration.json").read_text(encoding="utf-8"))
    assert made["rows"][0]["counts"] == "total" and made["rows"][0]["tau"]["value"] == 1.0
    assert "Agreement of errors with radiologists" in capsys.readouterr().out
    judged = [*base, "--judge", "offline-batch", "--model", "m"]
    assert command.run(parser.parse_args([*judged, "--dry-run"])) == 0
    assert "8 cases, 2 requests" in capsys.readouterr().out
    assert command.run(parser.parse_args([*judged, "-q"])) == 3  # all pending
    card = json.loads((tmp_path / "out" / "judge-card.json").read_text(encoding="utf-8"))
    assert card["statuses"] == {"pending": 8}
    assert len((tmp_path / "out/judge-batch/requests.jsonl").read_text(encoding="ascii").splitlines()) == 2
    with pytest.raises(InputError, match="one of them"):
        command.run(parser.parse_args(base))

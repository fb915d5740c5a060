"""``evaluate`` end to end: what is counted, what is written, and what may not change the result."""

from __future__ import annotations

import json
import random
import re
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest

from radvlm.errors import InputError
from radvlm.evaluate import (
    EvaluationOptions,
    EvaluationTable,
    Mark,
    Output,
    ReportText,
    Score,
    compare_systems,
    evaluate,
    save,
)
from radvlm.evaluate.results.writing import file_name
from radvlm.evaluate.statistics.resampling import Statistics
from radvlm.types.records import record_from

QUICK = Statistics(bootstraps=200, permutations=199)


class Lengths:
    """A toy metric: word counts, an F1 from stats, a mark on each number, undefined for texts that say so."""

    name, signature = "lengths", "toy"
    outputs = (
        Output("words", higher_is_better=None, perfect=None),
        Output(
            "f1",
            aggregate=lambda s: np.divide(
                2 * s[..., 0], s[..., 1], out=np.full(s.shape[:-1], np.nan), where=s[..., 1] > 0
            ),
        ),
    )
    calls = 0

    def score_case(self, reference: ReportText, candidate: ReportText) -> Mapping[str, Score]:
        type(self).calls += 1
        if "crash" in candidate.text:
            raise ZeroDivisionError("on purpose")
        if "undefined" in candidate.text:
            return {"words": Score.undefined("says undefined"), "f1": Score.undefined("says undefined")}
        a, b = set(reference.text.split()), set(candidate.text.split())
        marks = tuple(
            Mark("candidate", m.start(), m.end(), "false_finding", "a <number>", True, "g1")
            for m in re.finditer(r"\d+", candidate.text)
        )
        return {
            "words": Score(len(b), marks=marks),
            "f1": Score(2 * len(a & b) / (len(a) + len(b)), stats=(len(a & b), len(a) + len(b))),
        }


class SlowLengths(Lengths):
    name, slow = "slow", True


def _evaluate(refs, cands, **settings) -> EvaluationTable:
    metrics, journal = settings.pop("metrics", [Lengths()]), settings.pop("journal", None)
    return evaluate(refs, cands, metrics, EvaluationOptions(**{"statistics": QUICK, **settings}), journal=journal)


def test_corpus_values_come_from_sums_and_means() -> None:
    table = _evaluate(["a b", "a b c d"], ["a b", "a x"], baselines=False)
    assert table.value("candidate", "lengths", "words") == 2
    assert table.value("candidate", "lengths", "f1") == pytest.approx(2 * (2 + 1) / (4 + 6))
    estimate = table.estimate("candidate", "lengths", "f1")
    assert estimate.n == 2 and estimate.low is None and "fewer than 5 patients" in estimate.no_interval


def test_undefined_and_failed_cases_are_counted_and_never_zero() -> None:
    refs = ["a b"] * 10
    table = _evaluate(refs, ["a b"] * 7 + ["undefined", "crash", "undefined"], baselines=False)
    estimate = table.estimate("candidate", "lengths", "f1")
    assert (estimate.value, estimate.n, estimate.undefined, estimate.failed) == (1.0, 7, 2, 1)
    assert "undefined" in estimate.reason
    record = table.systems[0].records[8]
    crashed = record.scores["lengths"]["f1"]
    assert crashed.failed and "ZeroDivisionError: on purpose" in crashed.reason
    nothing = _evaluate(refs, ["undefined"] * 10, baselines=False).estimate("candidate", "lengths", "f1")
    assert nothing.value is None and nothing.n == 0 and nothing.reason == "says undefined"


def test_a_missing_candidate_is_an_error_or_a_failed_case() -> None:
    refs = {f"c{i}": "a b c" for i in range(8)}
    cands = {f"c{i}": "a b c" for i in range(7)}
    with pytest.raises(InputError, match="1 of 8 references have no candidate"):
        _evaluate(refs, cands)
    table = _evaluate(refs, cands, allow_missing=True, metrics=["lexical"], baselines=False)
    estimate = table.estimate("candidate", "lexical", "rouge-l")
    assert (estimate.n, estimate.failed, estimate.value) == (7, 1, 1.0)
    assert "1 of 8 cases" in table.notes[0]


@pytest.mark.slow
def test_the_order_of_cases_changes_nothing(pairs: tuple[list[str], list[str]], tmp_path: Path) -> None:
    ids = [f"case{i}" for i in range(len(pairs[0]))]
    patients = {id: f"p{i // 2}" for i, id in enumerate(ids)}
    refs, a, b = (dict(zip(ids, texts, strict=True)) for texts in (*pairs, pairs[1][::-1]))
    table = _evaluate(refs, {"A": a, "B": b}, metrics=["lexical"], patient_ids=patients)
    order = random.Random(1).sample(ids, len(ids))
    again = _evaluate(
        {i: refs[i] for i in order},
        {"A": a, "B": {i: b[i] for i in reversed(order)}},
        metrics=["lexical"],
        patient_ids=patients,
    )
    assert table.estimates == again.estimates and table.comparisons == again.comparisons
    assert table.patients == 30 and table.cases == 60


@pytest.mark.slow
def test_identical_reports_are_perfect_and_differ_from_every_baseline(pairs: tuple[list[str], list[str]]) -> None:
    table = _evaluate(pairs[0], {"copy": pairs[0], "model": pairs[1]}, metrics=["lexical"])
    for output in table.metrics[0].outputs:
        if output.perfect is not None:
            assert table.value("copy", "lexical", output.name) == pytest.approx(output.perfect)
    assert [s.name for s in table.systems] == ["copy", "model", "normal report", "random report", "nearest report"]
    tests = compare_systems(table, "copy", "model")
    assert len(tests) == 7 and all(c.p == 1 / 200 and c.p_holm == 7 / 200 for c in tests)
    assert all(c.low > 0 for c in tests)
    assert len(compare_systems(table, "model", "random report")) == 7
    with pytest.raises(InputError):
        compare_systems(table, "copy", "nobody")


def test_systems_are_compared_on_the_cases_that_both_have() -> None:
    refs = ["a b"] * 12
    first, second = ["a b"] * 6 + ["a x"] * 3 + ["undefined"] * 3, ["undefined"] * 3 + ["a b"] * 9
    [test] = compare_systems(_evaluate(refs, {"A": first, "B": second}, baselines=False), "A", "B")
    assert (test.n, test.patients) == (6, 6)
    assert test.difference == pytest.approx((3 * 1 + 3 * 0.5) / 6 - 1)


def test_a_section_can_be_scored_alone() -> None:
    ref = {"a": {"findings": "long words here", "impression": "normal"}, "b": "no sections at all"}
    cand = {"a": {"findings": "other things", "impression": "normal"}, "b": "whatever"}
    table = _evaluate(ref, cand, section="impression", baselines=False)
    estimate = table.estimate("candidate", "lengths", "f1")
    assert (estimate.value, estimate.n, estimate.undefined) == (1.0, 1, 1)
    assert estimate.reason == "the reference has no such section"
    silent = _evaluate(ref, {"a": "FINDINGS: x", "b": "y"}, section="impression", baselines=False, metrics=["lexical"])
    assert silent.value("candidate", "lexical", "rouge-l") == 0
    with pytest.raises(InputError, match="section"):
        _evaluate(["a"], ["a"], section="impression")
    with pytest.raises(InputError, match="all, findings, impression"):
        _evaluate(["a"], ["a"], section="conclusion")


@pytest.mark.parametrize(
    ("refs", "cands", "message"),
    [
        (["a", "b"], ["a"], "equally many"),
        ("a", ["a"], "one string"),
        ([], [], "at least one reference"),
        (["a"], {}, "at least one system"),
        (["a", " "], ["a", "b"], "number 2: id '2' is empty"),
        (["a"], [3], "string, a mapping"),
        (["a"], {"1": "a"}, "candidates are reports"),
        (["a b"] * 2, {"normal report": ["a", "b"]}, "baseline"),
    ],
)
def test_bad_arguments(refs, cands, message: str) -> None:
    with pytest.raises(InputError, match=message):
        _evaluate(refs, cands)


def test_unknown_metrics() -> None:
    for wrong, message in (("rougel", "a metric is one of"), ("lexical:x", "lexical profile")):
        with pytest.raises(InputError, match=message):
            evaluate(["a"], ["a"], [wrong])
    with pytest.raises(InputError, match="different names"):
        evaluate(["a"], ["a"], [Lengths(), Lengths()])
    with pytest.raises(InputError, match="at least one metric"):
        evaluate(["a"], ["a"], [])


def test_slow_metrics_resume_and_skip_baselines(tmp_path: Path) -> None:
    refs, cands = [f"a {i}" for i in range(40)], [f"a {i}" for i in range(38)] + ["crash", "a"]
    journal = tmp_path / "journal.jsonl"
    SlowLengths.calls = 0
    first = _evaluate(refs, cands, metrics=[SlowLengths()], journal=journal)
    assert SlowLengths.calls == 40
    assert first.value("normal report", "slow", "f1") is None and "slow metrics" in first.notes[0]
    lines = journal.read_text().splitlines()
    assert len(lines) == 39  # the crashed case is tried again
    journal.write_text("\n".join(lines[:30]) + "\n" + lines[30][:20])
    SlowLengths.calls = 0
    second = _evaluate(refs, cands, metrics=[SlowLengths()], journal=journal)
    assert SlowLengths.calls == 10
    assert second.estimates == first.estimates
    assert second.systems[0].records[3].marks == first.systems[0].records[3].marks != ()


def test_files(tmp_path: Path) -> None:
    refs = [f"The cyst of {i} mm & more <b>" for i in range(10)]
    table = _evaluate(refs, {"A/b <x>": [r + " 77" for r in refs], "B": refs}, metrics=[Lengths(), "lexical"])
    save(table, tmp_path)
    summary = json.loads((tmp_path / "summary.json").read_text())
    assert summary["cases"] == 10 and summary["case_files"]["A/b <x>"] == "cases-A-b-x.jsonl"
    values = {(v["system"], v["metric"], v["output"]): v["value"] for v in summary["values"]}
    assert values["B", "lexical", "bleu-4"] == pytest.approx(100)
    assert all(o["signature"] for m in summary["metrics"] for o in m["outputs"])
    records = [json.loads(line) for line in (tmp_path / "cases-A-b-x.jsonl").read_text().splitlines()]
    assert records[0]["marks"][0]["kind"] == "false_finding" and "text" not in records[0]
    restored = record_from(Score, records[0]["scores"]["lexical"]["bleu-4"])
    assert restored == table.systems[0].records[0].scores["lexical"]["bleu-4"]
    assert "| rouge-l ↑ |" in (tmp_path / "summary.md").read_text()
    assert not list(tmp_path.glob("*.part"))
    save(_evaluate(refs, {"B": refs}), tmp_path, page=False)
    assert sorted(p.name for p in tmp_path.glob("cases-*")) == [
        f"cases-{file_name(n)}.jsonl" for n in ("B", "nearest report", "normal report", "random report")
    ]
    same = _evaluate(refs, {"a b": refs, "A-b": refs}, baselines=False)
    with pytest.raises(InputError, match="differ as file names"):
        save(same, tmp_path)
    (tmp_path / "file").write_text("")
    with pytest.raises(OSError, match="can be written"):
        save(table, tmp_path / "file" / "below")


def test_the_page_is_offline_and_escapes_what_reports_say() -> None:
    refs = [f'<script>alert("{i}")</script> cyst of {i} mm' for i in range(10)]
    table = _evaluate(refs, {"<i>A</i>": [r + " and 77 more" for r in refs], "B": refs}, metrics=["lexical", Lengths()])
    from radvlm.evaluate.results.page import page

    html = page(table)
    assert not re.search(r"https?://|src=|@import|url\(", html)
    assert html.count("<script>") == 1 and "<i>A" not in html
    assert '<mark class="significant" data-group="g1" title="false finding: a &lt;number&gt;">77</mark>' in html
    assert "lexical/bleu-4" in html and "normal report" in html
    assert "Signatures" in html and "BLEU|nrefs:1" in html


def test_overlapping_marks_are_cut_at_their_ends() -> None:
    from radvlm.evaluate.results.page import marked
    from radvlm.evaluate.results.table import CaseRecord

    marks = (
        Mark("candidate", 0, 5, "omission", "first", False),
        Mark("candidate", 3, 8, "false_finding", "second", True),
    )
    text = ReportText("a", "abcdefgh<")
    html = marked(CaseRecord(text, text, {"m": {"x": Score(1, marks=marks)}}), "candidate")
    assert re.sub(r"<[^>]*>", "", html) == "abcdefgh&lt;"
    assert re.findall(r'class="(\w+)"[^>]*>(\w+)<', html) == [
        ("insignificant", "abc"),
        ("significant", "de"),
        ("significant", "fgh"),
    ]


def _command(tmp_path: Path, *arguments: str) -> int:
    import argparse

    from radvlm.cli.evaluate import add_arguments, run

    parser = argparse.ArgumentParser()
    add_arguments(parser)
    return run(
        parser.parse_args(
            [
                *arguments,
                "-o",
                str(tmp_path / "OUT"),
                "--metrics",
                "lexical",
                "--bootstraps",
                "50",
                "--permutations",
                "50",
            ]
        )
    )


@pytest.mark.slow
def test_the_command_writes_files_and_tells_of_failed_cases(tmp_path: Path, pairs, capsys) -> None:
    for name, texts in (("refs", pairs[0]), ("a", pairs[1]), ("b", pairs[1][:-3])):
        (tmp_path / f"{name}.jsonl").write_text(
            "".join(json.dumps({"id": str(i), "report": t}) + "\n" for i, t in enumerate(texts))
        )
    common = ("--reference", str(tmp_path / "refs.jsonl"), "--candidate", str(tmp_path / "a.jsonl"))
    assert _command(tmp_path, *common, "--candidate", f"late={tmp_path / 'a.jsonl'}", "-q") == 0
    assert capsys.readouterr().out == ""
    names = {p.name for p in (tmp_path / "OUT").iterdir()}
    assert {"summary.json", "summary.md", "evaluation.html", "cases-a.jsonl", "cases-late.jsonl"} <= names
    with pytest.raises(InputError, match=r"refs.jsonl line 58"):
        _command(tmp_path, *common, "--candidate", str(tmp_path / "b.jsonl"))
    missing = (*common, "--candidate", str(tmp_path / "b.jsonl"), "--allow-missing", "--no-baselines")
    assert _command(tmp_path, *missing) == 3
    assert "5.0% of the cases" in capsys.readouterr().err
    assert _command(tmp_path, *missing, "--max-failed", "0.1") == 0
    with pytest.raises(InputError, match="different names"):
        _command(tmp_path, *common, "--candidate", str(tmp_path / "a.jsonl"))


def test_importing_is_light() -> None:
    code = "import sys; import radvlm.evaluate, radvlm.cli.evaluate; print(*sys.modules)"
    modules = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert not {"torch", "numpy", "scipy", "transformers", "jinja2"} & set(modules.split())


def test_every_public_name_of_this_part_resolves() -> None:
    import radvlm.evaluate

    for name in set(radvlm.evaluate.__all__) - {"label_report", "count_errors"}:
        assert getattr(radvlm.evaluate, name) is not None
    with pytest.raises(AttributeError):
        radvlm.evaluate.nothing  # noqa: B018


def test_bertscore_without_its_package_is_one_message() -> None:
    from importlib.util import find_spec

    from radvlm.errors import MissingPackageError

    if find_spec("bert_score"):
        pytest.skip("bert-score is installed")
    with pytest.raises(MissingPackageError, match="bert-score"):
        evaluate(["a"], ["a"], ["bertscore"])


def test_scores_and_marks_are_checked() -> None:
    for make in (
        lambda: Score(None),
        lambda: Score(1.0, "reason"),
        lambda: Score(float("nan")),
        lambda: Mark("left", 0, 1, "x"),
        lambda: Mark("reference", 2, 1, "x"),
    ):
        with pytest.raises(InputError):
            make()

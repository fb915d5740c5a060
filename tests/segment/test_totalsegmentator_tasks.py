"""Every task that the installed TotalSegmentator offers has a scheme of radvlm with the same classes."""

from __future__ import annotations

import pytest

pytest.importorskip("totalsegmentator", reason="the extra totalsegmentator is not installed")

from totalsegmentator.map_to_binary import class_map

from radvlm.segment.totalsegmentator import _scheme_of
from radvlm.segment.totalsegmentator_weights import needed_weights, tasks
from radvlm.types.csv_tables import package_rows


@pytest.mark.parametrize("task", tasks())
def test_task_is_known_class_by_class(task: str) -> None:
    assert {entry.label: entry.name for entry in _scheme_of(task).entries} == class_map[task]
    assert all(weights.dataset.startswith("Dataset") for weights in needed_weights(task, fast=False))


def test_tables_name_tasks_that_there_are() -> None:
    known, licensed = tasks(), {name for name, row in tasks().items() if row.get("commercial")}
    for table in ("best_tasks.csv", "performance.csv", "run_times.csv"):
        rows = package_rows("radvlm.segment", table)
        assert {row["task"] for row in rows} <= set(known), table
        if table == "best_tasks.csv":
            assert not {row["task"] for row in rows} & licensed
    total = {weights.dataset.split("_")[0] for weights in needed_weights("total", fast=False)}
    assert total == {"Dataset291", "Dataset292", "Dataset293", "Dataset294", "Dataset295"}
    lesions = [weights.dataset.split("_")[0] for weights in needed_weights("liver_lesions", fast=False)]
    assert lesions == ["Dataset297", "Dataset591"]

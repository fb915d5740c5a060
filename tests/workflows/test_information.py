"""``radvlm info``: true, complete, and light."""

from __future__ import annotations

import subprocess
import sys
import tomllib
from pathlib import Path

from packaging.requirements import Requirement

from radvlm.workflows.information import dependencies, information, information_text

ROOT = Path(__file__).resolve().parents[2]


def test_the_licence_table_lists_exactly_the_declared_dependencies() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    declared = {(Requirement(line).name.lower(), "core") for line in project["dependencies"]}
    for extra, lines in project["optional-dependencies"].items():
        need = "dev" if extra == "dev" else f"extra:{extra}"
        declared |= {(Requirement(line).name.lower(), need) for line in lines}
    assert {(row["name"].lower(), row["need"]) for row in dependencies()} == declared


def test_no_gpl_and_lgpl_only_as_an_extra() -> None:
    for row in dependencies():
        assert "GPL" not in row["licence"].replace("LGPL", ""), row
        if "LGPL" in row["licence"]:
            assert row["need"].startswith("extra:"), row


def test_every_dependency_has_a_lower_and_an_upper_bound_or_is_for_development() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    for line in project["dependencies"]:
        operators = {spec.operator for spec in Requirement(line).specifier}
        assert {">=", "<"} <= operators, line


def test_constraints_pin_what_the_project_declares() -> None:
    pinned = {
        line.split("==")[0].lower().replace("_", "-")
        for line in (ROOT / "constraints.txt").read_text().splitlines()
        if "==" in line
    }
    for row in dependencies():
        if row["name"] not in ("TotalSegmentator", "pyarrow", "bert-score"):
            assert row["name"].lower().replace("_", "-") in pinned, row["name"]


def test_all_topics_have_rows_and_print() -> None:
    facts = information("all")
    assert set(facts) == {"structures", "schemes", "rules", "versions", "licences"}
    assert all(facts.values())
    text = information_text(facts)
    assert "kidney_left" in text and "totalsegmentator" in text and "Prassopoulos" in text


def test_info_never_imports_torch() -> None:
    code = (
        "import sys, radvlm.workflows.information as i; i.information(); "
        "assert not {'torch', 'monai', 'transformers'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)

"""docs/evaluation.md says what was measured and what the commands print."""

from __future__ import annotations

import importlib
import json
import re
import shlex
import shutil
from pathlib import Path
from types import ModuleType

import pytest

from radvlm.cli.main import main

ROOT = Path(__file__).parents[2]
DOCUMENT = ROOT / "docs" / "evaluation.md"


@pytest.fixture
def tables(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(str(ROOT / "eval"))
    return importlib.import_module("docs_tables")


def test_measured_tables_are_those_of_the_results(tables: ModuleType) -> None:
    texts = [document.read_text(encoding="utf-8") for document in tables.DOCUMENTS]
    assert {m[2] for text in texts for m in tables.BLOCK.finditer(text)} == set(tables.BLOCKS)
    for text in texts:
        assert tables.filled(text) == text, "run python eval/docs_tables.py"


def test_another_result_changes_the_table(tables: ModuleType, tmp_path: Path) -> None:
    shutil.copytree(ROOT / "eval" / "results", tmp_path / "results")
    path = tmp_path / "results" / "sensitivity.json"
    data = json.loads(path.read_text())
    data["auc_against_paraphrases"]["errors total"]["omission"] = 0.123
    path.write_text(json.dumps(data))
    text = DOCUMENT.read_text(encoding="utf-8")
    changed = tables.filled(text, tmp_path / "results")
    [(old, new)] = [(a, b) for a, b in zip(text.splitlines(), changed.splitlines(), strict=True) if a != b]
    assert old.startswith("| `errors` total | ") and "| 0.12 |" in new


@pytest.mark.slow
def test_the_first_run_prints_what_the_page_says(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    text = DOCUMENT.read_text(encoding="utf-8")
    console = re.search(r"```console\n\$ radvlm (.*?)\n```\n+```text\n(.*?)```", text, re.S)
    assert console is not None
    monkeypatch.chdir(ROOT)
    assert main([str(tmp_path) if a == "OUT" else a for a in shlex.split(console[1])]) == 0
    printed = capsys.readouterr().out
    for line in console[2].strip().splitlines():
        assert line in printed


def test_every_command_of_the_page_is_accepted(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[list[str]] = []
    monkeypatch.setattr("radvlm.cli.evaluate.run", lambda args: seen.append(args.reference) or 0)
    blocks = re.findall(r"```bash\n(.*?)```", DOCUMENT.read_text(encoding="utf-8"), re.S)
    lines = [line for block in blocks for line in block.splitlines() if line.startswith("radvlm evaluate")]
    assert len(lines) >= 4
    for line in lines:
        assert main(shlex.split(line, comments=True)[1:]) == 0, line
    assert len(seen) == len(lines)

"""README code is executed: every python block in one namespace, every `radvlm` line of the console blocks.

A python block may be followed by a text block with the lines that it prints; each of them must be printed.
"""

from __future__ import annotations

import contextlib
import io
import re
import shlex
from pathlib import Path

import pytest

from radvlm.cli.main import main
from radvlm.workflows.saved_report import OUTPUT_FILES

README = Path(__file__).resolve().parents[1] / "README.md"
BLOCK = re.compile(r"```(\w+)\n(.*?)```", re.S)


def blocks() -> list[tuple[str, str]]:
    return [(m[1], m[2]) for m in BLOCK.finditer(README.read_text(encoding="utf-8"))]


@pytest.mark.slow
@pytest.mark.usefixtures("measured_once")
def test_readme_runs_and_prints_what_it_says(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    namespace: dict[str, object] = {}
    printed, ran, ran_demo = "", 0, False
    for kind, code in blocks():
        if kind == "python" and "not executed by the tests" not in code:
            out = io.StringIO()
            with contextlib.redirect_stdout(out):
                exec(compile(code, "README.md", "exec"), namespace)
            printed, ran = out.getvalue(), ran + 1
        elif kind == "text":
            for line in filter(None, map(str.strip, code.splitlines())):
                if line != "...":
                    assert line in printed, f"README says that this is printed: {line}\nIt printed:\n{printed}"
        elif kind == "console":
            for line in code.splitlines():
                if line.startswith("$ radvlm "):
                    out = io.StringIO()
                    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(io.StringIO()):
                        assert main(shlex.split(line.removeprefix("$ radvlm "))) == 0, line
                    printed, ran = out.getvalue(), ran + 1
                    if line.startswith("$ radvlm demo "):
                        assert "IMPRESSION:" in printed
                        assert {path.name for path in Path(line.split()[-1]).iterdir()} == set(OUTPUT_FILES)
                        ran_demo = True
    assert ran >= 3 and ran_demo


def test_readme_links_point_to_files() -> None:
    for target in re.findall(r"\]\(([^)#]+)\)", README.read_text(encoding="utf-8")):
        if "://" not in target:
            assert (README.parent / target).exists(), target

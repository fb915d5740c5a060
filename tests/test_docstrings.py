"""Every name of the facade shows an example in its docstring, and each example prints what it says."""

from __future__ import annotations

import doctest
from pathlib import Path

import pytest

import radvlm

#: Examples that run the model.
MODEL = {"answer", "classify_findings", "embed", "embed_text", "load_model"}


@pytest.mark.parametrize(
    "name",
    [pytest.param(n, marks=pytest.mark.slow) if n in MODEL else n for n in radvlm.__all__ if not n.startswith("_")],
)
def test_the_example_of_each_public_name_runs(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    thing = getattr(radvlm, name)
    found = doctest.DocTestFinder(recurse=False).find(thing, name, globs={})
    examples = [test for test in found if test.examples]
    assert len(examples) == 1, f"{name} has no example in its docstring"
    said: list[str] = []
    result = doctest.DocTestRunner(optionflags=doctest.ELLIPSIS).run(examples[0], out=said.append)
    assert result.failed == 0, "".join(said)
    assert result.attempted >= 2
    assert not list(tmp_path.iterdir()), "an example leaves files behind"

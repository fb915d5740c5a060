"""Who may import whom, checked on the source."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

PACKAGE = Path(__file__).resolve().parents[1] / "radvlm"

NOUNS: dict[str, set[str]] = {
    "errors": set(),
    "provenance": set(),
    "geometry": {"errors"},
    "study": {"errors"},
    "anatomy": {"errors"},
    "scheme": {"anatomy", "errors"},
    "volume": {"errors", "geometry", "provenance", "study"},
    "segmentation": {"anatomy", "errors", "geometry", "provenance"},
    "finding": {"anatomy", "errors", "geometry"},
    "measurements": {"anatomy", "errors", "finding", "geometry", "provenance"},
    "report": {"anatomy", "errors", "finding", "geometry"},
    "region_map": {"errors", "finding", "geometry"},
    "reading": {"anatomy", "errors", "finding", "provenance", "report"},
}
STEPS: dict[str, set[str]] = {
    "io": set(NOUNS),
    "segment": set(NOUNS),
    "quantify": set(NOUNS),
    "interpret": {"anatomy", "errors", "finding", "geometry", "measurements", "study"},
    "compose": {"anatomy", "errors", "finding", "reading", "report", "study"},
    "export": set(NOUNS),
    "evaluate": {"anatomy", "errors", "finding", "geometry", "region_map", "report"},
    "dataset": set(NOUNS),
    "model": set(NOUNS),
    # the one step that joins two others: a training run is a model and the data that it is trained on
    "train": {*NOUNS, "model", "dataset"},
    "retrieve": {"anatomy", "errors", "finding", "geometry", "provenance", "reading", "report", "study"},
}
JOINS = {
    "__init__",
    "__main__",
    "config",
    "comparison",
    "phantom",
    "pipeline",
    "neural",
    "prior",
    "votes",
    "training",
    "cli",
    "info",
}
#: Third-party packages that cost too much to be imported before they are needed.
HEAVY = {"torch", "transformers", "peft", "monai", "open_clip", "faiss", "sentencepiece", "totalsegmentator"}
#: Packages whose modules (not their ``__init__``) may import them on top, because nothing else imports these on top.
NEURAL = {"model", "train", "retrieve"}
#: What a noun may import at module level beside the standard library.
NOUN_THIRD_PARTY = {"numpy"}


def _modules() -> list[tuple[str, Path]]:
    found = []
    for path in sorted(PACKAGE.rglob("*.py")):
        parts = path.relative_to(PACKAGE).with_suffix("").parts
        found.append((parts[0], path))
    return found


def _imports(path: Path, top_level_only: bool) -> set[str]:
    """Dotted names imported; with top_level_only those that run at import time."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    names: set[str] = set()

    def visit(node: ast.AST) -> None:
        for child in ast.iter_child_nodes(node):
            if isinstance(child, ast.If) and "TYPE_CHECKING" in ast.dump(child.test):
                continue
            if isinstance(child, ast.Import):
                names.update(alias.name for alias in child.names)
            elif isinstance(child, ast.ImportFrom):
                assert child.level == 0, f"{path}: relative import"
                names.add(child.module or "")
                names.update(f"{child.module}.{alias.name}" for alias in child.names)
            if top_level_only and isinstance(child, (ast.FunctionDef, ast.AsyncFunctionDef)):
                continue
            visit(child)

    visit(tree)
    return names


def _own(names: set[str]) -> set[str]:
    parts = [name.split(".") for name in names if name.startswith("radvlm.")]
    return {p[1] for p in parts if (PACKAGE / f"{p[1]}.py").exists() or (PACKAGE / p[1]).is_dir()}


@pytest.mark.parametrize(("module", "path"), _modules(), ids=lambda v: v if isinstance(v, str) else v.stem)
def test_imports_follow_the_architecture(module: str, path: Path) -> None:
    used = _own(_imports(path, top_level_only=False))
    if module in NOUNS:
        assert used <= NOUNS[module] | {module}, f"noun {path.name} may not import {used - NOUNS[module]}"
    elif module in STEPS:
        assert used <= STEPS[module] | {module}, f"step {path} may not import {used - STEPS[module]}"
    else:
        assert module in JOINS, f"{path} is neither noun, step nor join: add it to the table and docs/architecture.md"


@pytest.mark.parametrize(("module", "path"), _modules(), ids=lambda v: v if isinstance(v, str) else v.stem)
def test_heavy_packages_are_imported_late(module: str, path: Path) -> None:
    imported = _imports(path, top_level_only=True)
    names = {name.split(".")[0] for name in imported}
    if module not in NEURAL or path.name == "__init__.py":
        assert not names & HEAVY
    if module not in NEURAL:
        assert not _own(imported) & NEURAL, f"{path} imports {_own(imported) & NEURAL} on top: do so inside a function"
    if module in NOUNS:
        import sys

        outside = names - {"radvlm", "__future__", ""} - set(sys.stdlib_module_names)
        assert outside <= NOUN_THIRD_PARTY


def test_the_checker_sees_a_violation(tmp_path: Path) -> None:
    bad = tmp_path / "bad.py"
    bad.write_text("from radvlm import pipeline\ndef f():\n    from radvlm.io import nifti\n    import torch\n")
    assert _own(_imports(bad, top_level_only=False)) == {"pipeline", "io"}
    assert "torch" not in _imports(bad, top_level_only=True)

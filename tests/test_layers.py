"""Who may import whom, checked on the source: the table of floors, no circle, no private name of another file."""

from __future__ import annotations

import ast
import sys
from pathlib import Path

import pytest

PACKAGE = Path(__file__).resolve().parents[1] / "radvlm"
BELOW = {"errors", "version", "types", "files", "wording"}
#: Room -> the rooms that it may import beside itself. See docs/architecture.md.
ROOMS: dict[str, set[str]] = {
    "errors": set(),
    "version": set(),
    "types": {"errors", "version"},
    "files": {"errors", "version", "types"},
    "wording": {"errors", "version", "types", "files"},
    "report_reader": BELOW,
    # steps: none imports another, save those that read reports and training, which is a model joined with its data
    **dict.fromkeys(("io", "segment", "quantify", "interpret", "export", "model", "phantom"), BELOW),
    **{step: BELOW | {"report_reader"} for step in ("compose", "dataset", "evaluate", "retrieve")},
    "train": BELOW | {"model", "dataset", "report_reader"},
}
STEPS = set(ROOMS) - BELOW
WORKFLOWS = BELOW | STEPS | {"workflows"}
#: Third-party packages that cost too much to be imported before they are needed.
HEAVY = {
    "torch",
    "transformers",
    "peft",
    "monai",
    "open_clip",
    "faiss",
    "sentencepiece",
    "totalsegmentator",
    "nnunetv2",
}
#: Rooms whose modules (not their ``__init__``) may import them on top, because nothing else imports these on top.
NEURAL = {"model", "train", "retrieve"}
#: Modules of those rooms that are light, so that others may import them on top.
LIGHT = {"radvlm.model.protocol", "radvlm.model.calibration", "radvlm.model.published", "radvlm.model.weight_store"}
#: Folder of ``model`` -> the other folders of it that it may import. Modules outside these folders import none of them,
#: save the registry, which knows the families by name.
FAMILIES: dict[str, set[str]] = {
    "decoder": set(),
    "adapters": {"decoder", "merlin"},
    "tiny": {"decoder"},
    "tokens": {"adapters", "decoder"},
    "merlin": {"decoder"},
}
#: What a type may import at module level beside the standard library.
TYPES_THIRD_PARTY = {"numpy"}


def _name(path: Path) -> str:
    return ".".join(("radvlm", *path.relative_to(PACKAGE).with_suffix("").parts)).removesuffix(".__init__")


MODULES = {_name(path): path for path in sorted(PACKAGE.rglob("*.py"))}


def _room(module: str) -> str:
    return (module.split(".")[1:2] or [""])[0]


def _imports(path: Path, *, when_imported: bool = False) -> set[tuple[str, str]]:
    """(module, name) of each import, typing included; with ``when_imported`` only those that run at import time."""
    found: set[tuple[str, str]] = set()

    def visit(node: ast.AST) -> None:
        for child in ast.iter_child_nodes(node):
            if when_imported and isinstance(child, ast.If) and "TYPE_CHECKING" in ast.dump(child.test):
                continue
            if isinstance(child, ast.Import):
                found.update((alias.name, "") for alias in child.names)
            elif isinstance(child, ast.ImportFrom):
                assert child.level == 0, f"{path}: relative import"
                found.update((child.module or "", alias.name) for alias in child.names)
            if when_imported and isinstance(child, (ast.FunctionDef, ast.AsyncFunctionDef)):
                continue
            visit(child)

    visit(ast.parse(path.read_text(encoding="utf-8")))
    return found


def _own(path: Path, *, when_imported: bool = False) -> set[str]:
    """Modules of radvlm that a file imports."""
    pairs = _imports(path, when_imported=when_imported)
    return {f"{m}.{n}" if f"{m}.{n}" in MODULES else m for m, n in pairs if m.split(".")[0] == "radvlm"}


@pytest.mark.parametrize("module", MODULES)
def test_imports_follow_the_table(module: str) -> None:
    room = _room(module)
    used = {_room(name) for name in _own(MODULES[module])} - {room}
    if room in ROOMS:
        assert used <= ROOMS[room], f"{module} may not import {sorted(used - ROOMS[room])}"
    elif room == "workflows":
        assert used <= WORKFLOWS, f"{module} may not import {sorted(used - WORKFLOWS)}"
    else:
        assert room in ("", "__main__", "cli"), f"{module} is in no room of the table in docs/architecture.md"


@pytest.mark.parametrize("module", MODULES)
def test_heavy_packages_are_imported_late(module: str) -> None:
    room, path = _room(module), MODULES[module]
    packages = {name.split(".")[0] for name, _ in _imports(path, when_imported=True)}
    if room not in NEURAL or path.name == "__init__.py" or module in LIGHT:
        assert not packages & HEAVY
    if room not in NEURAL:
        heavy = {m for m in _own(path, when_imported=True) if _room(m) in NEURAL} - LIGHT
        assert not heavy, f"{module} imports {sorted(heavy)} on top: do so inside a function"
    if room == "types":
        assert packages - {"radvlm", "__future__"} - set(sys.stdlib_module_names) <= TYPES_THIRD_PARTY


@pytest.mark.parametrize("module", [m for m in MODULES if m.startswith("radvlm.model.")])
def test_no_model_family_imports_another(module: str) -> None:
    def family(name: str) -> str:
        folder = (name.removeprefix("radvlm.model.").split(".") if name.startswith("radvlm.model.") else [""])[0]
        return folder if folder in FAMILIES else ""

    if module == "radvlm.model.registry":
        return
    used = {family(name) for name in _own(MODULES[module])} - {family(module), ""}
    assert used <= FAMILIES.get(family(module), set()), f"{module} imports {sorted(used)}"


@pytest.mark.parametrize("module", MODULES)
def test_private_names_stay_in_their_file(module: str) -> None:
    taken = {(m, n) for m, n in _imports(MODULES[module]) if m.startswith("radvlm") and n.startswith("_")}
    assert {n for _, n in taken} <= {"__version__"}, f"{module} imports private names: {sorted(taken)}"


def _circles(graph: dict[str, set[str]]) -> list[list[str]]:
    """Strongly connected groups of more than one module (Tarjan 1972), and modules that import themselves."""
    index: dict[str, int] = {}
    low: dict[str, int] = {}
    stack: list[str] = []
    found: list[list[str]] = []

    def visit(node: str) -> None:
        index[node] = low[node] = len(index)
        stack.append(node)
        for other in sorted(graph[node]):
            if other not in index:
                visit(other)
                low[node] = min(low[node], low[other])
            elif other in stack:
                low[node] = min(low[node], index[other])
        if low[node] == index[node]:
            group = stack[stack.index(node) :]
            del stack[stack.index(node) :]
            if len(group) > 1 or node in graph[node]:
                found.append(sorted(group))

    for node in sorted(graph):
        if node not in index:
            visit(node)
    return found


def test_no_circle_of_any_kind() -> None:
    """Not even for typing or inside functions."""
    graph = {name: {m for m in _own(path) if m in MODULES} for name, path in MODULES.items()}
    assert _circles(graph) == []


def test_the_checker_sees_a_violation(tmp_path: Path) -> None:
    bad = tmp_path / "bad.py"
    bad.write_text("from radvlm import workflows\ndef f():\n    from radvlm.io import nifti\n    import torch\n")
    assert _own(bad) == {"radvlm.workflows", "radvlm.io.nifti"}
    assert ("torch", "") not in _imports(bad, when_imported=True)
    assert _circles({"a": {"b"}, "b": {"c"}, "c": {"a"}, "d": {"a"}, "e": {"e"}}) == [["a", "b", "c"], ["e"]]

"""Every module, name and file of the package that prose mentions is there: docs, docstrings, comments, tables."""

from __future__ import annotations

import ast
import re
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
DOTTED = re.compile(r"\bradvlm((?:\.[A-Za-z_]\w*)+)")
FILE = re.compile(r"\b(?:radvlm|eval|tests|examples)/[\w/.-]*\.(?:py|csv|yaml|json|md|ipynb|html)\b")
#: ``types/anatomy.csv``: a file of a room, without the package before it.
ROOMS = "|".join(path.name for path in (ROOT / "radvlm").iterdir() if path.is_dir())
IN_ROOM = re.compile(rf"(?<![\w/.-])((?:{ROOMS})/[\w/-]+\.(?:py|csv|yaml|json))\b")
#: ``compose.verify``: the same with dots; ``model.embed`` is a method of somebody's model.
SHORT = re.compile(rf"`((?!model\.)(?:{ROOMS})(?:\.[A-Za-z_]\w*)+)`")
SOURCES = [
    *ROOT.glob("*.md"),
    *ROOT.glob("docs/*.md"),
    *ROOT.glob("eval/*.md"),
    *ROOT.glob("configs/*.yaml"),
    *(path for kind in ("py", "csv", "yaml") for path in ROOT.glob(f"radvlm/**/*.{kind}")),
]
#: Ends of dotted texts that are no names: files beside the package, and formats of stored files.
NO_NAMES = {"git", "yaml", "json", "csv", "md", "py"}


@cache
def names_in(file: Path) -> frozenset[str]:
    """Top-level names of a module, and the attributes of its classes."""
    found: set[str] = set()
    nodes = list(ast.parse(file.read_text(encoding="utf-8")).body)
    while nodes:
        node = nodes.pop()
        if isinstance(node, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            found.add(node.name)
            nodes += node.body if isinstance(node, ast.ClassDef) else []
        elif isinstance(node, ast.Assign):
            found |= {target.id for target in node.targets if isinstance(target, ast.Name)}
        elif isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
            found.add(node.target.id)
        elif isinstance(node, ast.Import | ast.ImportFrom):
            found |= {alias.asname or alias.name for alias in node.names}
        elif isinstance(node, ast.If):
            nodes += node.body
    return frozenset(found)


def exists(dotted: str) -> bool:
    """Whether ``.io.masks.load_segmentation`` is a package, a module, or a name in one."""
    at = ROOT / "radvlm"
    parts = dotted.strip(".").split(".")
    for n, part in enumerate(parts):
        if (at / part).is_dir():
            at = at / part
        elif (at / f"{part}.py").is_file():
            rest = parts[n + 1 :]
            return all(name in names_in(at / f"{part}.py") for name in rest)
        else:
            init = at / "__init__.py"
            known = names_in(init) if init.is_file() else frozenset()
            lazy = f'"{part}"' in init.read_text(encoding="utf-8") if init.is_file() else False
            return part in known or lazy or part in NO_NAMES
    return True


@pytest.mark.parametrize("source", SOURCES, ids=lambda path: str(path.relative_to(ROOT)))
def test_what_prose_names_is_there(source: Path) -> None:
    text = source.read_text(encoding="utf-8")
    if source.name == "CHANGELOG.md":  # what was, had the names of its time
        text = text.split("\n## ")[1] if "\n## " in text else text
    missing = {f"radvlm{name}" for name in DOTTED.findall(text) if not exists(name)}
    missing |= {file for file in FILE.findall(text) if not (ROOT / file).exists()}
    missing |= {name for name in SHORT.findall(text) if not exists(name) and not (ROOT / "radvlm" / name).exists()}
    missing |= set(re.findall(r"\bradvlm\.[\w.]+/[\w/.-]+", text))  # neither a module nor a path
    missing |= {file for file in IN_ROOM.findall(text) if not (ROOT / "radvlm" / file).exists()}
    assert not missing


def test_a_name_that_is_not_there_is_noticed() -> None:
    assert exists(".io.load_volume") and exists(".types.study.Patient.age_years")
    assert not exists(".neural.facts_by_section") and not exists(".types.study.Patient.weight")

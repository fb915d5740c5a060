"""Packages: every import is declared, declared alike in every list, and a message advises only what exists."""

from __future__ import annotations

import ast
import importlib.metadata
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement

from radvlm.errors import FileFormatError, MissingPackageError
from radvlm.files.optional import dependencies, importing, install_command, require_package

ROOT = Path(__file__).resolve().parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
SOURCES = sorted((ROOT / "radvlm").rglob("*.py"))
#: Modules of optional packages that need not be installed where the tests run.
OPTIONAL = {"bert_score": "bert-score", "cc3d": "connected-components-3d", "totalsegmentator": "TotalSegmentator"}


def _imported(source: str) -> set[str]:
    """Top names of all imports in a source, inside functions, under TYPE_CHECKING and by ``import_module`` too."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            found.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            found.add(node.module or "")
        elif isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "import_module":
            found.update(a.value for a in node.args[:1] if isinstance(a, ast.Constant) and isinstance(a.value, str))
    return {name.split(".")[0] for name in found} - {"radvlm", *sys.stdlib_module_names}


def _plain(name: str) -> str:
    return name.lower().replace("_", "-")


@pytest.mark.slow
def test_every_import_is_a_declared_package() -> None:
    homes = importlib.metadata.packages_distributions()
    declared = {_plain(row["name"]) for row in dependencies() if row["need"] != "dev"}
    for path in SOURCES:
        for module in _imported(path.read_text(encoding="utf-8")):
            packages = {OPTIONAL[module]} if module in OPTIONAL else set(homes.get(module, ()))
            assert declared & {_plain(name) for name in packages}, f"{path.relative_to(ROOT)}: {module} of {packages}"


def test_the_walk_sees_imports_wherever_they_stand() -> None:
    source = "import a.b, os\ndef f():\n    from c.d import e\n    import radvlm.io\n    import_module('g.h')\n"
    assert _imported(source) == {"a", "c", "g"}


def test_the_licence_table_lists_exactly_the_declared_dependencies() -> None:
    declared = {(Requirement(line).name.lower(), "core") for line in PROJECT["dependencies"]}
    for extra, lines in PROJECT["optional-dependencies"].items():
        need = "dev" if extra == "dev" else f"extra:{extra}"
        declared |= {(Requirement(line).name.lower(), need) for line in lines}
    assert {(row["name"].lower(), row["need"]) for row in dependencies()} == declared


def test_no_gpl_and_lgpl_only_as_an_extra() -> None:
    for row in dependencies():
        assert "GPL" not in row["licence"].replace("LGPL", ""), row
        if "LGPL" in row["licence"]:
            assert row["need"].startswith("extra:"), row


def test_every_dependency_has_a_lower_and_an_upper_bound_or_is_for_development() -> None:
    for line in PROJECT["dependencies"]:
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


def test_every_extra_that_a_message_can_name_exists() -> None:
    extras = set(PROJECT["optional-dependencies"]) - {"dev"}
    advised = {extra for row in dependencies() for extra in re.findall(r"\[(\w+)\]", install_command(row["name"]))}
    assert advised == extras
    documents = [*SOURCES, ROOT / "README.md", *(ROOT / "docs").glob("*.md")]
    for path in documents:
        named = set(re.findall(r"radvlm\[(\w+)(?:,(\w+))*\]", path.read_text(encoding="utf-8")))
        assert {name for found in named for name in found if name} <= extras | {"dev"}, path


def test_only_one_file_writes_install_commands() -> None:
    """Save for networks of others that radvlm has no extra for (the cards of ``model_metrics``)."""
    written = {path.name for path in SOURCES if "pip install" in path.read_text(encoding="utf-8")}
    assert written == {"optional.py", "model_metrics.py"}


@pytest.mark.parametrize(
    ("package", "command"),
    [
        ("torch", "pip install --upgrade radvlm"),
        ("open_clip_torch", "pip install --upgrade radvlm"),
        ("bert_score", 'pip install "radvlm[bertscore]"'),
        ("totalsegmentator", 'pip install "radvlm[totalsegmentator]"'),
        ("pyarrow", 'pip install "radvlm[parquet]"'),
        ("pycocoevalcap", "pip install pycocoevalcap"),
        ("nobody-knows", "pip install nobody-knows"),
    ],
)
def test_what_installs_a_package(package: str, command: str) -> None:
    assert install_command(package) == command


def test_a_failed_import_is_one_message() -> None:
    with (
        pytest.raises(MissingPackageError, match=r"No module named 'no_such'.*It needs X\. .*radvlm\[lance\]\"\.$"),
        importing("lancedb", "It needs X"),
    ):
        import no_such  # noqa: F401
    with (
        pytest.raises(MissingPackageError, match=r"Received: t\.parquet\. .*\[parquet\]\", or save it as CSV\.$"),
        importing("pyarrow", "It needs X", "t.parquet", "save it as CSV"),
    ):
        raise ImportError("a library of another version")
    with pytest.raises(MissingPackageError, match="not installed"):
        require_package("no_such", "It needs X")
    require_package("numpy", "It needs X")


@pytest.mark.parametrize(
    "error",
    [
        MissingPackageError("weights"),
        ModuleNotFoundError("No module named 'radvlm.nothing'", name="radvlm.nothing"),
        FileFormatError("a file"),
    ],
)
def test_other_errors_go_through(error: Exception) -> None:
    with pytest.raises(type(error)) as caught, importing("lancedb", "It needs X"):
        raise error
    assert caught.value is error


@pytest.mark.parametrize(
    "arguments", [["train", "configs/tiny.yaml"], ["classify", "volume.nii.gz", "--model", "tiny"]]
)
def test_without_pytorch_the_remedy_is_to_install_radvlm_again(arguments: list[str]) -> None:
    code = f"import sys; sys.modules['torch'] = None; import radvlm.cli.main as m; sys.exit(m.main({arguments}))"
    done = subprocess.run([sys.executable, "-c", code], check=False, capture_output=True, text=True, cwd=ROOT)
    assert done.returncode == 2 and "torch" in done.stderr
    assert done.stderr.rstrip().endswith("pip install --upgrade radvlm.")

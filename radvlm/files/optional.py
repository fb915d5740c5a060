"""Packages that may be missing: which extra brings one, and the one message that says so.

An extra is looked up in ``dependencies.csv``, which a test keeps equal to ``pyproject.toml``: a message cannot advise
an extra that does not exist.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Iterator
from contextlib import contextmanager

from radvlm.errors import MissingPackageError
from radvlm.types.csv_tables import package_rows


def dependencies() -> list[dict[str, str]]:
    """Rows of dependencies.csv: name, need (core, extra:NAME, dev), licence, role."""
    return package_rows("radvlm.files", "dependencies.csv")


def install_command(package: str) -> str:
    """What installs a package (or the package of a module): radvlm again for one of its core, else its extra."""
    wanted = _plain(package)
    needs = [row["need"] for row in dependencies() if _plain(row["name"]) == wanted]
    if "core" in needs:
        return "pip install --upgrade radvlm"
    extra = next((need.removeprefix("extra:") for need in needs if need.startswith("extra:")), "")
    return f'pip install "radvlm[{extra}]"' if extra else f"pip install {package}"


@contextmanager
def importing(package: str, rule: str, received: str = "", alternative: str = "") -> Iterator[None]:
    """Imports inside the block that fail are one MissingPackageError, with the command that installs ``package``.

    ``received`` is the message of the import where it is left out; ``alternative`` is what else can be done.
    An error in radvlm itself, or one that is such a message already, goes through as it is.
    """
    try:
        yield
    except ImportError as error:
        if isinstance(error, MissingPackageError) or (error.name or "").split(".")[0] == "radvlm":
            raise
        raise missing_package(package, rule, received or str(error), alternative) from error


def require_package(module: str, rule: str, received: str = "it is not installed") -> None:
    """MissingPackageError when a module is not installed; it is not imported, because that may take seconds."""
    if importlib.util.find_spec(module) is None:
        raise missing_package(module, rule, received)


def missing_package(package: str, rule: str, received: str, alternative: str = "") -> MissingPackageError:
    """The message for one missing package."""
    remedy = install_command(package)
    return MissingPackageError(rule, received, f"{remedy}, or {alternative}" if alternative else remedy)


def _plain(package: str) -> str:
    return package.lower().replace("_", "-")

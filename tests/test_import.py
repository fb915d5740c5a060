"""The façade is light: nothing heavy is loaded before it is used."""

from __future__ import annotations

import subprocess
import sys

import radvlm


def _modules_after(code: str) -> set[str]:
    script = f"import sys\n{code}\nprint('\\n'.join(sys.modules))"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    return set(done.stdout.split())


def test_importing_radvlm_loads_neither_numpy_nor_torch() -> None:
    assert not _modules_after("import radvlm") & {"numpy", "torch", "scipy", "nibabel", "pydicom", "pydantic"}


def test_every_public_name_resolves() -> None:
    for name in radvlm.__all__:
        assert getattr(radvlm, name) is not None
    assert set(radvlm.__all__) <= set(dir(radvlm))


def test_an_unknown_name_is_an_attribute_error() -> None:
    import pytest

    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        radvlm.nothing  # noqa: B018


def test_measure_stays_a_function_after_the_steps_are_loaded() -> None:
    code = "import radvlm; import radvlm.workflows.report, radvlm.quantify; assert callable(radvlm.measure)"
    _modules_after(code)


def test_the_command_line_parses_without_numpy_or_torch() -> None:
    code = "import radvlm.cli.main; radvlm.cli.main.build_parser().format_help()"
    assert not _modules_after(code) & {"numpy", "torch", "scipy", "nibabel", "pydicom"}

"""Shared fixtures: the real scans, which are never copied into the repository."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import pytest

REAL_DATA = Path(__file__).resolve().parents[2] / "shared" / "data"


@pytest.fixture(scope="session")
def real_data() -> Path:
    """Folder of real CT scans beside the checkout; the test is skipped, visibly, where it is absent."""
    if not REAL_DATA.is_dir():
        pytest.skip("real CT scans are not beside this checkout")
    return REAL_DATA


@pytest.fixture(scope="session")
def fakes() -> ModuleType:
    """tests/fakes.py: a model that says what the test tells it to."""
    name = "radvlm_test_fakes"
    spec = importlib.util.spec_from_file_location(name, Path(__file__).parent / "fakes.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # dataclasses look their module up
    spec.loader.exec_module(module)
    return module

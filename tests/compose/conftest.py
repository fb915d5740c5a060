"""The hand-made measurements of tests/interpret, for the tests of composing."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from types import ModuleType

import pytest


@pytest.fixture(scope="session")
def hand_made() -> ModuleType:
    path = Path(__file__).parents[1] / "interpret" / "hand_made.py"
    spec = importlib.util.spec_from_file_location("hand_made_measurements", path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module

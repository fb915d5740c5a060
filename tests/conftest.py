"""Shared fixtures: the real scans, which are never copied into the repository."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import settings

settings.register_profile("radvlm", deadline=None)  # machines are noisy: an example may take its time
settings.load_profile("radvlm")

REAL_DATA = Path(__file__).resolve().parents[2] / "shared" / "data"


@pytest.fixture(scope="session")
def real_data() -> Path:
    """Folder of real CT scans beside the checkout; the test is skipped, visibly, where it is absent."""
    if not REAL_DATA.is_dir():
        pytest.skip("real CT scans are not beside this checkout")
    return REAL_DATA

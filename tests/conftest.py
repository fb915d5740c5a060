"""What holds for every test: the real scans, which are never copied into the repository, and one thread each."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import settings

settings.register_profile("radvlm", deadline=None)  # machines are noisy: an example may take its time
settings.load_profile("radvlm")

# The tests run in as many processes as there are cores: more threads than one in each wait for each other most of
# the time (test_decoder.py takes ten times as long). Read where numpy, torch and faiss are first imported, so here.
for _name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ.setdefault(_name, "1")

REAL_DATA = Path(__file__).resolve().parents[2] / "shared" / "data"


@pytest.fixture(scope="session")
def real_data() -> Path:
    """Folder of real CT scans beside the checkout; the test is skipped, visibly, where it is absent."""
    if not REAL_DATA.is_dir():
        pytest.skip("real CT scans are not beside this checkout")
    return REAL_DATA

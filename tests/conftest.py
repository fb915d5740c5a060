"""What holds for every test: the real scans, which are never copied into the repository, and one thread each."""

from __future__ import annotations

import io
import os
import pickle
from collections.abc import Iterator
from dataclasses import fields
from hashlib import sha256
from pathlib import Path
from types import MappingProxyType
from typing import Any

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


class _Writer(pickle.Pickler):
    """Writes read-only mappings, too."""

    def reducer_override(self, held: Any) -> Any:
        return (dict, (dict(held),)) if isinstance(held, MappingProxyType) else NotImplemented


@pytest.fixture(scope="module")
def measured_once() -> Iterator[None]:
    """Each scan with its masks is measured once in a module whose tests are of what is made of the numbers.

    What is equal in every voxel and every word is one scan; anything else is measured anew.
    """
    import radvlm.quantify

    measure = radvlm.quantify.measure_scan
    known: dict[bytes, Any] = {}

    def once(volume: Any, segmentation: Any, **limits: Any) -> Any:
        given = [{f.name: getattr(x, f.name) for f in fields(x)} for x in (volume, segmentation) if x is not None]
        written = io.BytesIO()
        _Writer(written).dump((given, sorted(limits.items())))
        key = sha256(written.getbuffer()).digest()
        if key not in known:
            known[key] = measure(volume, segmentation, **limits)
        return known[key]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(radvlm.quantify, "measure_scan", once)
        yield

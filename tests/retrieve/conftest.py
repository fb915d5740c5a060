"""A small world of reports and an encoder of text and scans that needs no weights."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pytest

from radvlm.retrieve import HashedText, Record
from radvlm.types.study import Study


@dataclass(frozen=True)
class Scan:
    """What stands for a volume: what it shows, and whose it is."""

    shows: str
    study: Study = field(default_factory=Study)


@dataclass(frozen=True)
class TwoSided:
    """Hashed words for text; a scan is embedded as what it shows, moved by one fixed step (the gap of modalities)."""

    dimension: int = 32
    name: str = "two-sided"

    @property
    def encoder_id(self) -> str:
        return self.name

    @property
    def digest(self) -> str:
        return "ab" * 32

    def embed_text(self, texts: Sequence[str]) -> np.ndarray:
        return HashedText(self.dimension).embed_text(texts)

    def embed_volume(self, volume: Any) -> np.ndarray:
        step = np.linspace(-1, 1, self.dimension, dtype=np.float32)
        return 3.0 * self.embed_text([volume.shows])[0] + step


THINGS = ("cyst", "metastasis", "hemangioma", "abscess", "calcification", "tumor", "infarct")
PLACES = ("liver", "spleen", "pancreas", "left kidney", "right kidney")


def sentence(i: int) -> str:
    return f"A {i % 17 + 3} mm {THINGS[i % 7]} is seen in the {PLACES[(i // 7) % 5]}."


@pytest.fixture(scope="session")
def records() -> Callable[..., list[Record]]:
    """records(n, first=0, patients=...) -> n reports of two sentences, patient Pj has every patients-th of them."""

    def make(n: int, first: int = 0, patients: int = 10, **fields: str) -> list[Record]:
        return [
            Record(
                f"P{i % patients}",
                f"S{i}",
                f"{sentence(i)} {sentence(3 * i + 5)}",
                **{"split": "train", "date": f"2020-{i % 12 + 1:02d}-{i % 28 + 1:02d}", **fields},
            )
            for i in range(first, first + n)
        ]

    return make


@pytest.fixture
def encoder() -> TwoSided:
    return TwoSided()


@pytest.fixture(scope="session")
def scan() -> type[Scan]:
    return Scan

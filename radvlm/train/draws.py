"""What the batches of a stage are drawn from: a seed and the step, never the state of a generator.

So a stage that was interrupted draws what it would have drawn, and what is drawn early in a thread changes nothing.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np
from torch import Tensor

from radvlm.train.gather import processes
from radvlm.train.throughput import Throughput


@dataclass(frozen=True)
class Draws:
    """How the batches of a stage are drawn, and where their losses are computed.

    Attributes:
        batch: scans or lessons of one process at a step. seed: of all that is drawn. device: of the losses.
        throughput: told when a step starts; None where speed is not measured.
    """

    batch: int
    seed: int
    device: str = "cpu"
    throughput: Throughput | None = None

    def start(self) -> None:
        """A step begins."""
        if self.throughput is not None:
            self.throughput.start()

    def speed(self) -> dict[str, Tensor]:
        """What the log says of the speed; {} where it is not measured."""
        return {} if self.throughput is None else self.throughput.values()

    def rows(self, total: int, rng: np.random.Generator) -> np.ndarray:
        """Numbers below ``total``, each once, for all processes together: the same count for each of them."""
        count = processes()[1]
        return rng.choice(total, min(self.batch * count, total - total % count), replace=False)


def generator(*parts: int) -> np.random.Generator:
    """A generator of random numbers that depends on these numbers alone, on every machine."""
    return np.random.Generator(np.random.PCG64(np.random.SeedSequence(list(parts))))


def own_share(rows: Sequence[int]) -> list[int]:
    """The part of rows that were drawn for all processes that this process has."""
    number, count = processes()
    share = len(rows) // count
    return [int(n) for n in rows[number * share : (number + 1) * share]]


class Ahead:
    """``make(step)``, with the next step made meanwhile in a thread and its rows in parallel.

    What is made depends on the step alone, so being early changes nothing.
    """

    def __init__(self, make: Callable[[int], Any]) -> None:
        self.make = make
        self.rows = ThreadPoolExecutor(min(8, os.cpu_count() or 1))
        self._thread = ThreadPoolExecutor(1)
        self._next: tuple[int, Future[Any]] | None = None

    def __call__(self, step: int) -> Any:
        early = self._next is not None and self._next[0] == step
        made = self._next[1].result() if early and self._next is not None else self.make(step)
        self._next = (step + 1, self._thread.submit(self.make, step + 1))
        return made

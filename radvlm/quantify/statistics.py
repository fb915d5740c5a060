"""Mean, SD and percentiles of HU that are exact and never hold a second copy of the scan.

Int16 values are counted in one bin per HU, so percentiles of millions of voxels are exact and cost one
pass; float32 values are collected and partitioned. Both give NumPy's ``linear`` percentile.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np

#: Quantity name -> percentile.
PERCENTILES = {"p05_hu": 5.0, "p25_hu": 25.0, "median_hu": 50.0, "p75_hu": 75.0, "p95_hu": 95.0}
_INT16_BINS, _INT16_OFFSET = 65536, 32768
_CHUNK = 1 << 20


@dataclass(frozen=True)
class HuStatistics:
    """Statistics of a set of voxels in HU; ``sd`` is that of the set itself (divided by n)."""

    count: int
    mean: float
    sd: float
    percentiles: dict[str, float]

    @property
    def median(self) -> float:
        return self.percentiles["median_hu"]


@dataclass
class HuTally:
    """Takes HU in pieces, in any order, and gives the statistics of all of them."""

    _histogram: np.ndarray | None = None
    _pieces: list[np.ndarray] = field(default_factory=list)

    def add(self, hu: np.ndarray) -> None:
        """Add voxels: any shape, int16 or float32 (one kind per tally)."""
        if hu.size == 0:
            return
        if hu.dtype != np.int16:
            self._pieces.append(hu.ravel())
            return
        if self._histogram is None:
            self._histogram = np.zeros(_INT16_BINS, dtype=np.int64)
        flat = hu.ravel()
        for start in range(0, flat.size, _CHUNK):
            shifted = flat[start : start + _CHUNK].astype(np.intp)
            shifted += _INT16_OFFSET
            self._histogram += np.bincount(shifted, minlength=_INT16_BINS)

    def result(self) -> HuStatistics | None:
        """Statistics of everything added, None when nothing was."""
        if self._histogram is not None:
            return _from_histogram(self._histogram)
        return _from_values(self._pieces) if self._pieces else None


def _from_histogram(histogram: np.ndarray) -> HuStatistics:
    bins = np.flatnonzero(histogram)
    weights = histogram[bins]
    levels = bins - _INT16_OFFSET
    count = int(weights.sum())
    mean = float(int((levels * weights).sum()) / count)
    sd = float(np.sqrt((((levels - mean) ** 2) * weights).sum() / count))
    ranks = np.cumsum(weights)

    def at(rank: int) -> float:
        return float(levels[np.searchsorted(ranks, rank, side="right")])

    return HuStatistics(count, mean, sd, {name: _linear(at, count, q) for name, q in PERCENTILES.items()})


def _from_values(pieces: list[np.ndarray]) -> HuStatistics:
    values = np.concatenate(pieces)
    count = values.size
    mean = float(values.sum(dtype=np.float64) / count)
    squares = 0.0
    for start in range(0, count, _CHUNK):
        squares += float(((values[start : start + _CHUNK].astype(np.float64) - mean) ** 2).sum())
    wanted = sorted({rank for q in PERCENTILES.values() for rank in _ranks(count, q)[:2]})
    values.partition(wanted)
    percentiles = {name: _linear(lambda rank: float(values[rank]), count, q) for name, q in PERCENTILES.items()}
    return HuStatistics(count, mean, float(np.sqrt(squares / count)), percentiles)


def _ranks(count: int, percentile: float) -> tuple[int, int, float]:
    """The two ranks (from 0) around a percentile and the weight of the upper one."""
    position = (count - 1) * percentile / 100
    low = int(position)
    return low, min(low + 1, count - 1), position - low


def _linear(at: Callable[[int], float], count: int, percentile: float) -> float:
    low, high, weight = _ranks(count, percentile)
    return at(low) + (at(high) - at(low)) * weight
